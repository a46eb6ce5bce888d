"""Models that were built once, kept in the user's cache folder and checked when they are taken from it."""

import contextlib
import errno
import json
import logging
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock
from tqdm.auto import tqdm

from helpers.errors import CourseError
from helpers.files import CACHE_VARIABLE, cache_folder, sha256

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# A change of recipe gives a new folder in the cache, so that nobody keeps an old build.
RECIPE = "1"
building_s: dict[str, float] = {}  # what was built in this process, and how long it took


def cached(name: str, build: Callable[[Path], None]) -> Path:
    """The folder of a built model; builds it if it isn't there, or isn't as it was written.

    Args:
        name: of the folder in the cache.
        build: writes the model's files into the empty folder it is given.

    Raises:
        CourseError: the cache folder can't be written, or is full.
    """

    def with_sums(fresh: Path) -> None:
        with quiet():
            build(fresh)
        sums = {str(f.relative_to(fresh)): sha256(f) for f in sorted(fresh.rglob("*")) if f.is_file()}
        (fresh / "sha256.json").write_text(json.dumps(sums), encoding="utf-8")

    folder = cache_folder() / f"{name}-{MINILM_SHA256[:8]}-{RECIPE}"
    return kept(name, folder, with_sums, intact=lambda: _intact(folder), doing=f"building {name}, once")


def kept(
    name: str,
    folder: Path,
    build: Callable[[Path], None],
    *,
    intact: Callable[[], bool],
    doing: str,
    free_mb: int = 100,
) -> Path:
    """A folder of the cache, made where it isn't there or isn't intact.

    Two processes that want the same folder make it once: the second waits. What is broken off leaves no folder behind.

    Args:
        name: of the lock.
        folder: in the cache folder.
        build: writes the files into the empty folder it is given.
        intact: whether the folder is there as it was written.
        doing: shown while it is made.
        free_mb: how much room it takes, for the sentence that asks for it.

    Raises:
        CourseError: the cache folder can't be written, or is full.
    """
    root = folder.parent
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f"{name}.lock"):
            if intact():
                return folder
            shutil.rmtree(folder, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=root, prefix=f"{name}-") as scratch:
                fresh = Path(scratch) / "model"
                fresh.mkdir()
                with tqdm(total=1, desc=doing, bar_format="{desc} [{elapsed}]") as bar:
                    start = time.perf_counter()
                    build(fresh)
                    building_s[name] = time.perf_counter() - start
                    bar.update()
                fresh.rename(folder)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
        raise CourseError(
            f"{root}: the cache folder {'is full' if full else f'can not be written ({error.strerror})'}; "
            f"make room there, or set {CACHE_VARIABLE} to a folder with {free_mb} MB free."
        ) from error
    return folder


def _intact(folder: Path) -> bool:
    """Whether every file of a built model is as it was written."""
    try:
        sums = json.loads((folder / "sha256.json").read_text(encoding="utf-8"))
        return all(sha256(folder / name) == expected for name, expected in sums.items())
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hold back what libraries say to their developers: progress of loading, export notes."""
    from transformers.utils import logging as transformers_logging

    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)
        if bars:
            transformers_logging.enable_progress_bar()
