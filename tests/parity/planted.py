"""Faults, planted one by one into a sound model, and what each must be called."""

from collections.abc import Callable
from typing import Any

import numpy as np

from helpers.parity import Ask, Reference, Variant
from helpers.parity.examining import unit
from helpers.parity.reference import Floats, Side, joined


def rows(ask: Ask, change: Callable[[Floats], Any]) -> Ask:
    def asked(texts: list[str], side: Side = "") -> Floats:
        return np.asarray(change(ask(texts, side)))

    return asked


def shaken(ask: Ask, amount: float) -> Ask:
    """Rounding of a certain size, the same for the same vector."""

    def asked(texts: list[str], side: Side = "") -> Floats:
        found = []
        for vector in ask(texts, side):
            draw = np.random.default_rng(abs(hash(unit(vector).round(4).tobytes())))
            found.append(
                unit(unit(vector) + draw.normal(0, amount * (384 / len(vector)) ** 0.5, len(vector)))
                * np.linalg.norm(vector)
            )
        return np.stack(found)

    return asked


def leaning(ask: Ask) -> Ask:
    """Each vector takes in a little of its neighbours in the batch."""
    return rows(ask, lambda v: v + 0.2 * v.mean(axis=0) * (len(v) > 1))


def turn(dims: int) -> Floats:
    """(dims, dims), a rotation."""
    made, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(dims, dims)))
    return np.asarray(made)


# What changes the model's inside; the name that it must get.
INSIDE: dict[str, Variant] = {
    "closing": Variant(closing=False),
    "opening": Variant(opening=False),
    "pooling": Variant(pooling="max"),
    "casing": Variant(casing="kept"),
    "accents": Variant(accents="kept"),
    "cut": Variant(limit=128),
    "prompt": Variant(prompt="added: query: "),
}
# What happens to the vectors afterwards.
OUTSIDE: dict[str, Callable[[Ask], Ask]] = {
    "not normalised": lambda ask: rows(ask, lambda v: 7.3 * v),
    "dimension cut": lambda ask: rows(ask, lambda v: [unit(r) for r in v[:, :256]]),
    "order lost": lambda ask: rows(ask, lambda v: v[::-1]),
    "batch-dependent": leaning,
    "precision 16 bits": lambda ask: shaken(ask, 6e-4),
    "precision 8 bits": lambda ask: shaken(ask, 6e-3),
    "precision 4 bits": lambda ask: shaken(ask, 2e-2),
    "precision 1 bit": lambda ask: rows(ask, lambda v: np.sign(v) / v.shape[1] ** 0.5),
    "turned": lambda ask: rows(ask, lambda v: v @ turn(v.shape[1])),
    "other weights": lambda ask: shaken(ask, 7e-2),
}
NAMES = [*INSIDE, *OUTSIDE, "padding counted"]


def sick(reference: Reference, *faults: str) -> Ask:
    """A model with these faults."""
    variant = joined(*(INSIDE[fault] for fault in faults if fault in INSIDE))
    padded = "padding counted" in faults

    def ask(texts: list[str], side: Side = "") -> Floats:
        if padded and len(texts) > 1:
            return reference.padded_mean(texts, variant)
        return reference.vectors(texts, variant, side)

    made: Ask = ask
    for fault in faults:
        if fault in OUTSIDE:
            made = OUTSIDE[fault](made)
    return made


def healed(faults: tuple[str, ...], named: str) -> tuple[str, ...]:
    """What is left when one fault is mended."""
    return tuple(fault for fault in faults if fault != named)
