"""Answers to exercise 13. `MISTAKES` maps a task to {part of the sentence it must get: answer}."""

import math
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
    shard_of = np.zeros(len(counts), dtype=int)
    there_and_back = [*range(shards), *reversed(range(shards))]
    for rank, row in enumerate(np.argsort(counts)):
        shard_of[row] = there_and_back[rank % (2 * shards)]
    return shard_of.tolist()


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
    plan = in_hours(*case)
    return plan if plan[0] else None


def never_late(texts: Any, rate: Any, startup: Any, usd: Any, deadline: Any) -> Any:
    """A mistake: a deadline within the start-up gets a plan all the same."""
    machines = max(1, math.ceil(texts / rate / (deadline * 3600 - startup or 1)))
    hours = (startup + texts / rate / machines) / 3600
    return machines, hours, machines * hours * usd


RIGHT: dict[str, list[Any]] = {
    "13.1": [thirteen.assign, by_cuts, by_ranks],
    "13.2": [thirteen.most_actors, by_trying],
    "13.3": [thirteen.fewest_machines, by_counting_up, in_hours],
}
MISTAKES: dict[str, dict[str, Any]] = {
    "13.1": {
        "shards are numbered from 0": lambda counts, n: by_cuts(counts, n) + 1,
        "there are more shards than asked for": lambda counts, n: by_cuts(counts, n + 1),
        "there is not one number for each row": lambda counts, n: by_cuts(counts, n)[1:],
        "the number of a shard is whole": lambda counts, n: by_cuts(counts, n) + 0.5,
        "give each row, the longest first": lambda counts, n: by_cuts(np.sqrt(counts), n),
    },
    "13.3": {
        "no number of machines is done before its own start-up ends": never_late,
        "where no machines are enough, (0, math.inf, math.inf), not None": none_where_none_is_enough,
    },
}
