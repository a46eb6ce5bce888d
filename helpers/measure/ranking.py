"""Who is worth taking: the Pareto front of quality and speed, by what is told apart and by numbers alone."""

from collections.abc import Sequence
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
    """The place of each model.

    A model is off the front if another isn't told to be worse and is told to be faster, or is told to be better and
    isn't told to be slower.
    """
    models = range(len(speeds))
    quicker = [frozenset(o for o in models if o != m and speed.faster(speeds[o], speeds[m])) for m in models]
    found = []
    for m in models:
        beaten = frozenset(
            o
            for o in models
            if o != m
            and ((not compared.better(m, o) and o in quicker[m]) or (compared.better(o, m) and m not in quicker[o]))
        )
        quality, rate = compared.scores, [s.rate for s in speeds]
        ahead = any(
            quality[o] >= quality[m] and rate[o] >= rate[m] and (quality[o] > quality[m] or rate[o] > rate[m])
            for o in models
        )
        found.append(Place("" if beaten else "not told apart" if ahead else "yes", quicker[m], beaten))
    return found


def combined_score(quality: float, texts_per_s: float, speed_cap: float = 500.0) -> float:
    """Quality and speed in one number: quality * (0.7 + 0.3 * min(texts_per_s / speed_cap, 1)).

    One number hides the trade-off and depends on the cap; read it beside the Pareto front.
    """
    return quality * (0.7 + 0.3 * min(texts_per_s / speed_cap, 1.0))


def pareto_front(quality: Sequence[float], rates: Sequence[float]) -> list[bool]:
    """For each model, whether no other is at least as good and as fast, and better at one of the two.

    For published figures that come without intervals; what is measured here has `places`.
    """
    points = list(zip(quality, rates, strict=True))
    return [not any(q >= a and s >= b and (q > a or s > b) for q, s in points) for a, b in points]
