"""What several rooms do with files and addresses: replace a file as a whole, its sha256, the cache, who answers."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

HUB_TIMEOUT_S = 3.0
CACHE_VARIABLE = "EMBEDDING_COURSE_CACHE"


def cache_folder() -> Path:
    """Where what was built once is kept: `$EMBEDDING_COURSE_CACHE`, or the user's cache folder."""
    from platformdirs import user_cache_path

    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen).expanduser() if chosen else user_cache_path("embedding-course", appauthor=False)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write in `path`'s place: it takes the name, whole and on the disk, when the block ends well.

    A reader sees the old content or the new, never a part; after an error, or a crash, the old file is still there.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    if os.name == "posix":  # Windows can't open a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def replace(path: Path, content: bytes) -> None:
    """Write a file as a whole or not at all; see `replacing`.

    Raises:
        OSError: it can't be written; the old file is still there.
    """
    with replacing(path) as part:
        part.write_bytes(content)


def sha256(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def answers(address: str) -> bool:
    """Whether a server answers within 3 seconds."""
    answered = threading.Event()

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=HUB_TIMEOUT_S):
                answered.set()
        except (OSError, ValueError):
            pass

    asking = threading.Thread(target=ask, daemon=True)  # looking up a name has no time limit of its own
    asking.start()
    asking.join(HUB_TIMEOUT_S)
    return answered.is_set()
