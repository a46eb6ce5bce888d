"""Who is better: ranks that honour intervals, the Pareto front, and quality and speed in one number."""

from collections.abc import Sequence

from helpers.measure.metrics import Estimate


def combined_score(quality: float, texts_per_s: float, speed_cap: float = 500.0) -> float:
    """Quality and speed in one number: quality * (0.7 + 0.3 * min(texts_per_s / speed_cap, 1)).

    One number hides the trade-off and depends on the cap; read it beside the Pareto front.
    """
    return quality * (0.7 + 0.3 * min(texts_per_s / speed_cap, 1.0))


def rank_groups(estimates: Sequence[Estimate]) -> list[int]:
    """The rank of each estimate: 1 plus the number of others whose whole interval lies above its own.

    Where intervals overlap, models share a rank: the data doesn't tell them apart.
    """
    return [1 + sum(other.low > mine.high for other in estimates) for mine in estimates]


def pareto_front(quality: Sequence[float], texts_per_s: Sequence[float]) -> list[bool]:
    """For each model, whether no other is at least as good and as fast, and better at one of the two."""
    points = list(zip(quality, texts_per_s, strict=True))
    return [not any(q >= a and s >= b and (q > a or s > b) for q, s in points) for a, b in points]
