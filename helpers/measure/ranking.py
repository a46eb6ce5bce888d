"""Who is worth taking: the Pareto front of quality and speed, by what is told apart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from helpers.measure import speed
from helpers.measure.comparing import Comparison
from helpers.measure.speed import Speed

Front = Literal["yes", "not told apart", ""]


@dataclass(frozen=True)
class Place:
    """Where a model stands in the trade of quality for speed.

    Attributes:
        front: "yes" if no other model beats it; "not told apart" if another is ahead by its numbers at both, but not
            beyond what chance does; "" if another beats it.
        slower_than: the models that are told to be faster.
        beaten_by: the models that put it off the front.
    """

    front: Front
    slower_than: frozenset[int]
    beaten_by: frozenset[int]


def places(compared: Comparison, speeds: Sequence[Speed]) -> list[Place]:
    """The place of each model, by what is told apart on the same items and in the same rounds."""
    return placed(
        compared.scores.tolist(),
        [s.rate for s in speeds],
        compared.better,
        lambda one, other: speed.faster(speeds[one], speeds[other]),
    )


def placed(
    quality: Sequence[float],
    rates: Sequence[float],
    better: Callable[[int, int], bool],
    faster: Callable[[int, int], bool],
) -> list[Place]:
    """The place of each model.

    A model is off the front if another isn't told to be worse and is told to be faster, or is told to be better and
    isn't told to be slower.

    Args:
        quality: of each model, by its numbers.
        rates: of each model, by its numbers.
        better: whether the first of two models is told to be better than the second.
        faster: whether it is told to be faster.
    """
    models = range(len(quality))
    quicker = [frozenset(o for o in models if o != m and faster(o, m)) for m in models]
    found = []
    for m in models:
        beaten = frozenset(
            o
            for o in models
            if o != m and ((not better(m, o) and o in quicker[m]) or (better(o, m) and m not in quicker[o]))
        )
        ahead = any(
            quality[o] >= quality[m] and rates[o] >= rates[m] and (quality[o] > quality[m] or rates[o] > rates[m])
            for o in models
        )
        found.append(Place("" if beaten else "not told apart" if ahead else "yes", quicker[m], beaten))
    return found


def combined_score(quality: float, texts_per_s: float, speed_cap: float = 500.0) -> float:
    """Quality and speed in one number: quality * (0.7 + 0.3 * min(texts_per_s / speed_cap, 1)).

    One number hides the trade-off and depends on the cap; read it beside the Pareto front.
    """
    return quality * (0.7 + 0.3 * min(texts_per_s / speed_cap, 1.0))
