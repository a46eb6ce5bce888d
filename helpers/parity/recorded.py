"""References on disk, for models whose weights aren't here: right vectors and those under each single fault."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from helpers import catalog
from helpers.errors import CourseError
from helpers.parity import probes
from helpers.parity.examining import LIMITS
from helpers.parity.reference import RIGHT, Floats, Reference, Side, Variant

FOLDER = catalog.FACTS / "parity"
_KEPT = ("dims", "limit", "positions", "pooling", "prompts", "normalises", "lowers", "strips", "before", "after")


class Recorded(Reference):
    """A reference read from a file; of two faults at once it knows nothing."""

    def __init__(self, path: Path) -> None:
        """Read it.

        Raises:
            CourseError: there is no such file.
        """
        if not path.exists():
            known = ", ".join(sorted(p.stem for p in path.parent.glob("*.npz")))
            raise CourseError(f"No reference is recorded of {path.stem}; recorded are: {known or 'none'}.")
        with np.load(path) as kept:
            about = json.loads(str(kept["about"]))
            self._known = dict(zip(map(tuple, about["keys"]), kept["vectors"].astype(np.float64), strict=True))
            self._padded = kept["padded"].astype(np.float64)
        self.revision = str(about["revision"])
        for name in _KEPT:
            setattr(self, name, about[name])

    def vectors(self, texts: list[str], variant: Variant = RIGHT, side: Side = "") -> Floats:
        """(n, d) unit vectors; NaN where nothing was recorded."""
        return np.stack([self._kept(text, variant, side) for text in texts])

    def _kept(self, text: str, variant: Variant, side: Side) -> Floats:
        if text in probes.BATCH:  # plain and short: case, accents and limits change nothing
            variant = replace(variant, casing="own", accents="own", limit=0)
        found: Floats = self._known.get((text, repr(variant), side), np.full(self.dims, np.nan))
        return found

    def padded_mean(self, texts: list[str], variant: Variant = RIGHT) -> Floats:
        """(n, d) of the texts of `probes.BATCH`."""
        padded: Floats = self._padded
        return padded


def record(reference: Reference, path: Path, revision: str) -> None:
    """Write what an examination asks of a reference, in half precision."""
    made: dict[tuple[str, str, str], Any] = {}

    def keep(texts: Any, variant: Variant) -> None:
        for side in reference.sides:
            for text, vector in zip(texts, reference.vectors(list(texts), variant, side), strict=True):
                made[text, repr(variant), side] = vector.astype(np.float16)

    long = probes.long_text(min(reference.limit, 8192) + 100)
    keep([*probes.BATCH, *probes.CASED, *probes.ACCENTED, *probes.OTHERS.values(), long], RIGHT)
    for fault, variants in reference.variants().items():
        texts = {"casing": probes.CASED, "accents": probes.ACCENTED}.get(fault, probes.PLAIN)
        for variant in variants:
            keep(texts, variant)
    for tokens in LIMITS:
        if tokens <= reference.positions and tokens != reference.limit:
            keep([long], Variant(limit=tokens))
    about = {name: getattr(reference, name) for name in _KEPT} | {"keys": list(made), "revision": revision}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        about=json.dumps(about),
        vectors=np.stack(list(made.values())),
        padded=reference.padded_mean(list(probes.BATCH)).astype(np.float16),
    )


def reference_of(name: str) -> Reference:
    """The reference of a model by its name: from its weights where real ones are here, else from the record.

    Raises:
        CourseError: neither is here.
    """
    from helpers.models import load, weights

    try:
        model = load(name, device="cpu")
        if weights(model).real:
            return Reference(model)
    except CourseError:
        pass
    return Recorded(FOLDER / f"{name.rsplit('/', maxsplit=1)[-1]}.npz")
