"""Answers to exercise 13. `MISTAKES` maps a task to {part of the sentence it must get: answer}."""

from fractions import Fraction
from typing import Any

import numpy as np

from helpers.exercises import lesson_13 as thirteen


def by_cuts(counts: Any, shards: Any) -> Any:
    """Contiguous shards: where the middle of each row lies in the sum of all tokens; numpy."""
    ends = np.cumsum(counts)
    return ((ends - np.asarray(counts) / 2) * shards / ends[-1]).astype(int)


def by_ranks(counts: Any, shards: Any) -> Any:
    """Sorted by length, then dealt out to and fro."""
    found = np.zeros(len(counts), dtype=int)
    there_and_back = [*range(shards), *reversed(range(shards))]
    for rank, row in enumerate(np.argsort(counts)):
        found[row] = there_and_back[rank % (2 * shards)]
    return found.tolist()


def by_trying(nodes: Any, each: Any, task: Any) -> Any:
    """One actor more, as long as there is room; exact fractions."""

    def room(cpus: Any) -> int:
        return int(cpus // actor)

    exact = [Fraction(str(cpus)) for cpus in nodes]
    actor, reads = Fraction(str(each)), Fraction(str(task))
    pools = [sum(map(room, exact[:i] + exact[i + 1 :])) + room(c - reads) for i, c in enumerate(exact) if c >= reads]
    return np.float64(max([0, *pools]))


def by_counting_up(texts: Any, rate: Any, startup: Any, usd: Any, deadline: Any) -> Any:
    """Machine after machine until the deadline is met; a numpy array."""
    for machines in range(1, 10_000):
        hours = (startup + texts / (machines * rate)) / 3600
        if hours <= deadline:
            return np.array([machines, hours, machines * hours * usd])
    return np.array([0, np.inf, np.inf])


def in_hours(texts: Any, rate: Any, startup: Any, usd: Any, deadline: Any) -> Any:
    """All in hours; a list."""
    work, left = texts / (rate * 3600), deadline - startup / 3600
    if left <= 0:
        return [0, float("inf"), float("inf")]
    machines = -int(-work // left)
    hours = startup / 3600 + work / machines
    return [machines, hours, machines * hours * usd]


def none_where_none_is_enough(*case: Any) -> Any:
    """A mistake: nothing comes back where no number of machines is enough."""
    plan = thirteen.fewest_machines(*case)
    return None if plan == thirteen.NEVER else plan


RIGHT: dict[str, list[Any]] = {
    "13.1": [thirteen.assign, by_cuts, by_ranks],
    "13.2": [thirteen.most_actors, by_trying],
    "13.3": [thirteen.fewest_machines, by_counting_up, in_hours],
}
MISTAKES: dict[str, dict[str, Any]] = {
    "13.1": dict(thirteen.ASSIGN_MISTAKES),
    "13.2": dict(thirteen.ACTOR_MISTAKES),
    "13.3": thirteen.MACHINES_MISTAKES
    | {
        "no number of machines is done before its own start-up ends": thirteen.never_late,
        "return (0, math.inf, math.inf), not None": none_where_none_is_enough,
    },
}
