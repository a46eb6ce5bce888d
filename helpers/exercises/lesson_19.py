"""Exercise 19: whether a model made an index, what has to be encoded again, and a threshold that means the same."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from helpers.checks.judges import ByReference, Decisions, Listed, Number
from helpers.checks.tasks import Case, Task

Floats = NDArray[np.float64]
NEAR = 1e-3


# 19.1


def unit(vectors: Floats) -> Floats:
    """Each row of length 1."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def same_model(
    kept: list[Floats],
    now: Floats,
    *,
    off: Callable[[Floats, Floats], Floats] = lambda kept, now: 1 - (unit(kept) * unit(now)).sum(axis=1),
    together: Callable[[Floats], float] = np.max,
    shapes_alone: bool = False,
) -> list[bool]:
    """Reference: for each fingerprint whether it has the same shape and no row that points elsewhere."""
    return [one.shape == now.shape and (shapes_alone or bool(together(off(one, now)) <= NEAR)) for one in kept]


def _model_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for n, d in ((4, 24), (5, 16)):
        now = draw.normal(size=(n, d)) * draw.uniform(0.5, 4, (n, 1))
        elsewhere = now.copy()
        elsewhere[int(draw.integers(n))] = draw.normal(size=d)  # one row alone
        slightly = unit(now) + draw.normal(0, 0.09 / np.sqrt(d), (n, d))  # every row a little, more than rounding
        kept = [
            now + draw.normal(0, 1e-4, (n, d)) * np.linalg.norm(now, axis=1, keepdims=True) / np.sqrt(d),
            3 * now,  # the same directions, other lengths
            now @ np.linalg.qr(draw.normal(size=(d, d)))[0],  # turned: every cosine within is the same
            elsewhere,
            slightly,
            now[:, : d // 2],
            now[::-1],
        ]
        cases.append(([kept[i] for i in draw.permutation(len(kept))], now))
    return cases


def _within(kept: list[Floats], now: Floats) -> list[bool]:
    """By the cosines among the sentences, which a turned space has too."""
    inside = unit(now) @ unit(now).T
    return [one.shape == now.shape and bool(np.abs(unit(one) @ unit(one).T - inside).max() < 0.02) for one in kept]


SAME = ByReference(
    same_model,
    Decisions("fingerprints are judged wrongly", "one True or False a fingerprint"),
    "Equal shape, and for every sentence a cosine of at least 0.999 between the two vectors.",
    mistakes={
        "equal dimensions are taken for an equal model": {"shapes_alone": True},
        "the mean over the sentences hides one that points elsewhere; every sentence counts": {"together": np.median},
        "one sentence that agrees isn't enough; every sentence counts": {"together": np.min},
        "other lengths are no other model here; compare directions": {
            "off": lambda kept, now: np.abs(kept - now).max(axis=1) / np.abs(now).max()
        },
        "cosines among the sentences are the same in a turned space; compare each vector with its own": _within,
    },
)


# 19.2


def to_encode(
    texts: list[str],
    encoded: dict[int, str],
    *,
    changed: bool = True,
    lacking: bool = True,
    deleted: bool = False,
) -> list[int]:
    """Reference: positions of texts that a space hasn't, or has of another wording."""
    found = [
        i
        for i, text in enumerate(texts)
        if (lacking and i not in encoded) or (changed and i in encoded and encoded[i] != text)
    ]
    return sorted([*found, *(i for i in encoded if deleted and i >= len(texts))])


def _encode_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for n in (9, 12):
        texts = [f"text {i} in version {int(draw.integers(3))}" for i in range(n)]
        have = sorted(int(i) for i in draw.permutation(n)[: n - 3])
        encoded = {i: texts[i] for i in have} | {n + 1: "a text that is gone"}
        for i in have[:2]:
            encoded[i] = f"text {i} as it was"
        encoded[have[2]] = ""
        cases.append((texts, encoded))
    return cases


ENCODE = ByReference(
    to_encode,
    Listed("positions in `texts`"),
    "A text is due if the space hasn't it, or was given another wording of it.",
    mistakes={
        "a text whose wording changed is due again": {"changed": False},
        "texts that the space hasn't at all are due": {"lacking": False},
        "a text that is gone has nothing to encode": {"deleted": True},
        "everything again costs everything again": lambda texts, encoded: list(range(len(texts))),
        "these are the ones that are there": lambda texts, encoded: sorted(
            set(range(len(texts))) - set(to_encode(texts, encoded))
        ),
    },
)


# 19.3


def carried(
    threshold: float,
    old: Floats,
    new: Floats,
    *,
    share: Callable[[Floats, float], float] = lambda old, threshold: float((old >= threshold).sum()),
    place: Callable[[Floats, float], float] = lambda new, many: float(np.sort(new)[::-1][round(many) - 1]),
) -> float:
    """Reference: the new threshold that as many pairs reach as reached the old one."""
    return place(new, share(old, threshold))


def _threshold_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for middle, width, threshold in ((0.82, 0.06, 0.55), (0.3, 0.12, 0.62), (0.6, 0.2, 0.48)):
        truth = draw.normal(size=60)
        old = np.clip(0.45 + 0.2 * truth + draw.normal(0, 0.05, 60), -1, 1)
        new = np.clip(middle + width * np.sinh(truth) / 1.4 + draw.normal(0, 0.01, 60), -1, 1)
        cases.append((threshold, old, new))
    return cases


THRESHOLD = ByReference(
    carried,
    Number("return one cosine", rtol=0, atol=1e-6),
    "Count the pairs that reach the old threshold; the new one is the lowest cosine of as many of the new.",
    mistakes={
        "the old threshold was carried over; the new model's cosines lie elsewhere": lambda t, old, new: t,
        "the means were shifted; the spreads differ too": lambda t, old, new: t + new.mean() - old.mean(),
        "means and spreads were matched; only the count of pairs says how many pass": lambda t, old, new: (
            new.mean() + (t - old.mean()) * new.std() / old.std()
        ),
        "that lets pass as many as were refused": {"share": lambda old, threshold: float((old < threshold).sum())},
        "the pairs were counted on the new model's cosines": lambda t, old, new: carried(t, new, new),
        "it lies a pair too high": {"place": lambda new, many: float(np.sort(new)[::-1][round(many) - 2])},
    },
)


TASKS = {
    task.id: task
    for task in (
        Task("19.1", _model_cases, SAME),
        Task("19.2", _encode_cases, ENCODE),
        Task("19.3", _threshold_cases, THRESHOLD),
    )
}
