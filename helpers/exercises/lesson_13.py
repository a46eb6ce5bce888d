"""Exercise 13: shards of equal tokens, a pool of actors that doesn't starve its tasks, machines for a deadline."""

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helpers.checks.judges import ByReference, MalformedError, Number, Places, array
from helpers.checks.tasks import Case, Task

UNEVEN = 0.05  # how much more than the mean the heaviest shard may hold
GRAIN = 10_000  # Ray counts CPUs in ten-thousandths


# 13.1


def assign(token_counts: Sequence[int], shards: int) -> list[int]:
    """Reference: the longest row first, each to the shard that has fewest tokens so far."""
    loads = [(0, shard) for shard in range(shards)]
    shard_of = [0] * len(token_counts)
    for row in sorted(range(len(token_counts)), key=lambda r: -token_counts[r]):
        load, shard_of[row] = heapq.heappop(loads)
        heapq.heappush(loads, (load + token_counts[row], shard_of[row]))
    return shard_of


def _assign_cases(seed: int) -> list[Case]:
    """Rows sorted by length, rows whose long ones come at regular places, and rows in no order."""
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for kind in ("sorted", "regular", "mixed"):
        shards, rows = int(draw.integers(6, 9)), int(draw.integers(1400, 1600))
        counts = draw.lognormal(3.6, 0.9, rows).clip(5, 256).astype(int)
        if kind == "sorted":
            counts = np.sort(counts)
        if kind == "regular":
            counts[::shards] = draw.integers(200, 256, len(counts[::shards]))
        cases.append(([int(n) for n in counts], shards))
    return cases


@dataclass(frozen=True)
class Shards:
    """The shard of each row; all that are even enough are the same."""

    def read(self, value: Any, right: Any) -> NDArray[np.float64]:
        """One number a row."""
        return array(value)

    def loads(self, shard_of: NDArray[np.float64], counts: Sequence[int], n: int) -> tuple[list[float], str]:
        """The shard of each row, none if they are even enough; and the heaviest in words.

        Raises:
            MalformedError: these aren't numbers of shards.
        """
        rows, top = len(counts), shard_of.max(initial=0)
        if shard_of.shape != (rows,):
            shape = f"there are {rows} rows, and you return the shape {shard_of.shape}"
            raise MalformedError(f"there is not one number for each row: {shape}.")
        if (odd := shard_of[shard_of != np.round(shard_of)]).size:
            raise MalformedError(f"the number of a shard is whole, but one is {odd[0]:g}.")
        if shard_of.min() == 1 and top == n:
            raise MalformedError(f"shards are numbered from 0, so up to {n - 1}, and yours from 1 to {n}.")
        if shard_of.min() < 0 or top >= n:
            numbers = f"{n} are, and you number them {shard_of.min():g} to {top:g}"
            raise MalformedError(f"there are more shards than asked for: {numbers}.")
        loads = np.bincount(shard_of.astype(int), weights=counts, minlength=n)
        excess = loads.max() / loads.mean() - 1
        words = f"shard {loads.argmax()} has {loads.max():,.0f} tokens, {excess:.0%} more than the mean"
        return [] if excess <= UNEVEN else shard_of.tolist(), f"{words} {loads.mean():,.0f}"

    def same(self, one: tuple[list[float], str], other: tuple[list[float], str]) -> bool:
        """Whether both are even, or equal."""
        return one[0] == other[0]

    def difference(self, got: tuple[list[float], str], right: tuple[list[float], str]) -> str:
        """The heaviest shard."""
        return got[1]


SHARDS = ByReference(
    assign,
    Shards(),
    "No shard may have 5% more than the mean: give each row, the longest first, to the one with fewest tokens so far.",
    judged=Shards().loads,
    mistakes={
        "each shard has equally many rows, and rows differ in length": lambda counts, n: [
            row * n // len(counts) for row in range(len(counts))
        ],
        "rows are dealt out in turn, and here the long ones come at regular places": lambda counts, n: [
            row % n for row in range(len(counts))
        ],
        "sorting puts the long rows together in the last shard": lambda counts, n: (
            np.argsort(np.argsort(counts, kind="stable")) * n // len(counts)
        ),
        "everything lies in one shard": lambda counts, n: [0] * len(counts),
        "a shard stays empty, and its machine has nothing to do": lambda counts, n: assign(counts, n - 1),
    },
)


# 13.2


def most_actors(
    nodes: Sequence[float],
    cpus_each: float,
    task_cpus: float,
    *,
    fit: Callable[[float, float], int] = lambda cpus, each: round(cpus * GRAIN) // round(each * GRAIN),
    room: Callable[[float, float], bool] = lambda cpus, task: cpus >= task,
) -> int:
    """Reference: in whole ten-thousandths, the best place for the task, and all other room for actors."""
    full = sum(fit(cpus, cpus_each) for cpus in nodes)
    pools = [full - fit(cpus, cpus_each) + fit(cpus - task_cpus, cpus_each) for cpus in nodes if room(cpus, task_cpus)]
    return max(pools, default=0)


def _actor_cases(seed: int) -> list[Case]:
    """Clusters on which each mistake gives another number than the reference somewhere."""
    draw = np.random.default_rng(seed)
    many = [float(c) for c in draw.permutation([2, 3, 5, 7])[:3]]
    cases: list[Case] = [
        ([2.0], float(draw.choice([0.3, 0.4])), 1.0),
        (many, float(draw.choice([0.7, 0.8, 1.5])), 1.0),
        ([1.0] * int(draw.integers(2, 6)), 0.2, 0.4),  # (1 - 0.4) / 0.2 is below 3 in floats
        ([4.0, 4.0, float(draw.integers(5, 8))], float(draw.choice([1.8, 1.9])), 0.5),
        ([8.0, 2.5, 8.0], 2.0, float(draw.choice([0.3, 0.5]))),  # the second machine has room to spare
        ([3.0] * int(draw.integers(3, 6)), 2.0, 1.0),  # a CPU is left on each, and two of them hold no actor
        ([float(draw.integers(12, 17))], 0.5, 3.0),
        ([2.0], 0.8, 3.0),  # no room for the task
        ([1.0, 4.0], 1.0, 2.0),  # room on one alone
        ([1.0, 4.0], 0.8, 3.0),
    ]
    return [cases[i] for i in draw.permutation(len(cases))]


ACTORS = ByReference(
    most_actors,
    Number("return one number", rtol=0, show="g", unit=" actors"),
    "Put the task on one machine, fill up the rest with actors, and try every machine.",
    about=lambda nodes, each, task: (
        f" on {' + '.join(f'{cpus:g}' for cpus in nodes)} CPUs, with {each:g} for each actor and {task:g} for the task"
    ),
    mistakes={  # those that are wrong for few clusters come first
        "where the task has no room you count actors below zero": {"room": lambda cpus, task: True},
        "a machine without room for the task gets it for nothing": {
            "room": lambda cpus, task: True,
            "fit": lambda cpus, each: max(0, round(cpus * GRAIN) // round(each * GRAIN)),
        },
        "where no machine has room for the task, you fill them all, and it would never start": lambda n, a, t: (
            most_actors(n, a, t if max(n) >= t else 0)
        ),
        "the task that reads is left out, and it would never start": lambda n, a, t: most_actors(n, a, 0),
        "the machines' CPUs are added up, and an actor can't lie on two machines": lambda n, a, t: most_actors(
            [sum(n)], a, t
        ),
        "the task takes its CPUs on every machine, and it runs on one": lambda n, a, t: sum(
            most_actors([cpus], a, t) for cpus in n
        ),
        "the task lies on the first machine, and another may lose fewer actors": lambda n, a, t: (
            most_actors(n[:1], a, t) + most_actors(n[1:], a, 0)
        ),
        "part of an actor is rounded up": {"fit": lambda cpus, each: math.ceil(cpus / each - 1e-9)},
        "an actor is lost to the rounding of decimals": {"fit": lambda cpus, each: int(cpus / each)},
        "the task is counted as one actor": lambda n, a, t: most_actors(n, a, 0) - 1,
    },
)


# 13.3

Plan = tuple[float, float, float]
NEVER: Plan = (0, math.inf, math.inf)


def fewest_machines(
    texts: float,
    texts_per_s: float,
    startup_s: float,
    usd_per_hour: float,
    deadline_hours: float,
    *,
    rounded: Callable[[float], int] = math.ceil,
) -> Plan:
    """Reference: what the start-up leaves of the deadline, the machines that use it, their hours and dollars."""
    work_s = texts / texts_per_s
    left_s = deadline_hours * 3600 - startup_s
    machines = rounded(work_s / left_s) if left_s > 0 else 0
    if not machines:
        return NEVER
    hours = (startup_s + work_s / machines) / 3600
    return machines, hours, machines * hours * usd_per_hour


def _but(change: Callable[..., Plan]) -> Callable[..., Plan]:
    """The reference's plan, changed where there is one."""
    return lambda *case: NEVER if fewest_machines(*case) == NEVER else change(*fewest_machines(*case), *case)


def _machines_cases(seed: int) -> list[Case]:
    """Deadlines that need part of a machine below one half, and above, and none; two that the start-up alone takes."""
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for part in (draw.uniform(0.2, 0.4), draw.uniform(0.6, 0.8), draw.uniform(0.1, 0.4)):
        rate, startup = float(draw.integers(100, 900)), float(draw.integers(5, 11) * 120)
        usd, deadline = round(float(draw.uniform(0.5, 4)), 2), float(draw.integers(2, 5))
        load = int(draw.integers(5, 30)) + part
        cases.append((float(round(load * (deadline * 3600 - startup) * rate)), rate, startup, usd, deadline))
    even, rate, deadline = int(draw.integers(3, 9)), float(draw.integers(100, 900)), float(draw.integers(2, 5))
    cases.append((even * (deadline * 3600 - 1800) * rate, rate, 1800.0, 1.5, deadline))  # exact in hours, too
    cases.append((1e8, 500.0, float(draw.integers(20, 40) * 60), 1.0, 0.25))
    cases.append((1e8, 500.0, 1800.0, 1.0, 0.5))
    return [cases[i] for i in draw.permutation(len(cases))]


MACHINES = ByReference(
    fewest_machines,
    Places(
        ("machines", "hours", "dollars"),
        Number("return three numbers"),
        "; where no machines are enough, (0, math.inf, math.inf), not None",
    ),
    "First the time that the start-up leaves, then the machines, then their hours, then the bill.",
    about=lambda texts, rate, startup, usd, deadline: (
        f" for {texts:,.0f} texts, {rate:g} a second, start-up {startup:g} s, ${usd:g} an hour, {deadline:g} hours"
    ),
    mistakes={
        "the start-up is left out": lambda t, r, s, u, d: fewest_machines(t, r, 0, u, d),
        "the start-up is shared out, and every machine has its own": lambda t, r, s, u, d: fewest_machines(
            t + s * r, r, 0, u, d
        ),
        "the start-up is billed once, and every machine is rented while it starts": _but(
            lambda machines, hours, _, t, r, s, u, d: (machines, hours, (s + t / r) / 3600 * u)
        ),
        "only one machine is billed": _but(lambda machines, hours, _, t, r, s, u, d: (machines, hours, hours * u)),
        "the whole deadline is billed, and the machines stop when they are done": _but(
            lambda machines, hours, _, t, r, s, u, d: (machines, hours, machines * d * u)
        ),
        "the deadline is returned for the hours, and they may be fewer": _but(
            lambda machines, hours, dollars, t, r, s, u, d: (machines, d, dollars)
        ),
        "the hours of the start-up are missing in what is returned": _but(
            lambda machines, hours, _, t, r, s, u, d: (
                machines,
                hours - s / 3600,
                machines * (hours - s / 3600) * u,
            )
        ),
        "part of a machine is rounded to the nearest number, and the deadline is missed": {"rounded": round},
        "part of a machine is cut off, and the deadline is missed": {"rounded": int},
        "one machine is too many where the work divides evenly: round up, don't add one": {
            "rounded": lambda machines: math.floor(machines) + 1
        },
        "hours and seconds are mixed: an hour has 3600 seconds": _but(
            lambda machines, hours, dollars, *_: (machines, hours * 3600, dollars * 3600)
        ),
    },
    traps={
        "no number of machines is done before its own start-up ends: return (0, math.inf, math.inf)": lambda *case: (
            fewest_machines(*case) == NEVER
        )
    },
)


TASKS = {
    task.id: task
    for task in (
        Task("13.1", _assign_cases, SHARDS),
        Task("13.2", _actor_cases, ACTORS),
        Task("13.3", _machines_cases, MACHINES),
    )
}
