"""Exercise 13: shards of equal tokens, a pool of actors that doesn't starve its tasks, machines for a deadline."""

import heapq
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from helpers.checks import Task

Case = tuple[Any, ...]
UNEVEN = 0.05  # how much more than the mean the heaviest shard may hold
GRAIN = 10_000  # Ray counts CPUs in ten-thousandths


def assign(token_counts: Sequence[int], shards: int) -> list[int]:
    """Reference: the longest row first, each to the shard that has fewest tokens so far."""
    loads = [(0, shard) for shard in range(shards)]
    found = [0] * len(token_counts)
    for row in sorted(range(len(token_counts)), key=lambda r: -token_counts[r]):
        load, shard = heapq.heappop(loads)
        found[row] = shard
        heapq.heappush(loads, (load + token_counts[row], shard))
    return found


def _equal_rows(counts: Sequence[int], n: int) -> list[int]:
    return [row * n // len(counts) for row in range(len(counts))]


def _sorted_rows(counts: Sequence[int], n: int) -> list[int]:
    ranks = np.argsort(np.argsort(counts, kind="stable"))
    return [int(rank) * n // len(counts) for rank in ranks]


ASSIGN_MISTAKES: dict[str, Callable[[Sequence[int], int], list[int]]] = {
    "each shard has equally many rows, and rows differ in length": _equal_rows,
    "rows are dealt out in turn, and here the long ones come at regular places": lambda c, n: [
        row % n for row in range(len(c))
    ],
    "sorting puts the long rows together in the last shard": _sorted_rows,
    "everything lies in one shard": lambda c, n: [0] * len(c),
    "shards are numbered from 0": lambda c, n: [shard + 1 for shard in assign(c, n)],
    "there are more shards than asked for": lambda c, n: assign(c, n + 1),
    "a shard stays empty": lambda c, n: assign(c, n - 1),
    "there is not one number for each row": lambda c, n: assign(c[: len(c) // n * n - n], n),
}


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


def _judge_assign(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    answers = [np.asarray(value, dtype=float) for value in values]
    for number, ((counts, n), got) in enumerate(zip(cases, answers, strict=True), start=1):
        if wrong := _misnumbered(got, len(counts), n):
            return f"{wrong} (case {number})."
    told = [_unevenness(counts, n, got) for (counts, n), got in zip(cases, answers, strict=True)]
    worst = int(np.argmax([excess for excess, _ in told]))
    if told[worst][0] <= UNEVEN:
        return None
    for sentence, mistake in list(ASSIGN_MISTAKES.items())[:4]:
        if all((got == mistake(*case)).all() for case, got in zip(cases, answers, strict=True)):
            return f"{sentence}: in case {worst + 1} {told[worst][1]}"
    empty = any(len(np.unique(got)) < n for (_, n), got in zip(cases, answers, strict=True))
    what = "a shard stays empty, and its machine has nothing to do" if empty else "the shards aren't even"
    return f"{what}: in case {worst + 1} {told[worst][1]}"


def _misnumbered(got: Any, rows: int, shards: int) -> str | None:
    """What is wrong with the numbers of the shards, whatever lies in them."""
    if got.shape != (rows,):
        return f"there is not one number for each row: there are {rows} rows, and you return the shape {got.shape}"
    if (odd := got[got != np.round(got)]).size:
        return f"the number of a shard is whole, but one is {odd[0]:g}"
    if got.min() == 1 and got.max() == shards:
        return f"shards are numbered from 0, so up to {shards - 1}, and yours from 1 to {shards}"
    if got.min() < 0 or got.max() >= shards:
        return f"there are more shards than asked for: {shards} are, and you number them {got.min():g} to {got.max():g}"
    return None


def _unevenness(counts: Sequence[int], n: int, shard_of: Any) -> tuple[float, str]:
    """How much more than the mean the heaviest shard holds, as a share, and in words."""
    loads = np.bincount(shard_of.astype(int), weights=counts, minlength=n)
    excess = float(loads.max() / loads.mean() - 1)
    words = (
        f"shard {loads.argmax()} has {loads.max():,.0f} tokens, {excess:.0%} more than the mean {loads.mean():,.0f}."
    )
    return excess, words


def most_actors(nodes: Sequence[float], cpus_each: float, task_cpus: float) -> int:
    """Reference: in whole ten-thousandths, the best place for the task, and all other room for actors."""
    units = [round(cpus * GRAIN) for cpus in nodes]
    actor, task = round(cpus_each * GRAIN), round(task_cpus * GRAIN)
    full = sum(cpus // actor for cpus in units)
    return max((full - cpus // actor + (cpus - task) // actor for cpus in units if cpus >= task), default=0)


def _floor(share: float) -> int:
    return math.floor(share + 1e-9)


def _in_floats(nodes: Sequence[float], each: float, task: float) -> int:
    full = [int(cpus / each) for cpus in nodes]
    rooms = [sum(full) - f + int((cpus - task) / each) for f, cpus in zip(full, nodes, strict=True) if cpus >= task]
    return max(rooms, default=0)


def _anywhere(clamp: Callable[[int], int]) -> Callable[..., int]:
    """The task on any machine, if it has room or not."""

    def pool(nodes: Sequence[float], each: float, task: float) -> int:
        full = [_floor(cpus / each) for cpus in nodes]
        return max(sum(full) - f + clamp(_floor((c - task) / each)) for f, c in zip(full, nodes, strict=True))

    return pool


ACTOR_MISTAKES: dict[str, Callable[..., int]] = {
    "the task that reads is left out, and it would never start": lambda n, a, t: sum(_floor(c / a) for c in n),
    "the machines' CPUs are added up, and an actor can't lie on two machines": lambda n, a, t: max(
        0, _floor((sum(n) - t) / a)
    ),
    "the task takes its CPUs on every machine, and it runs on one": lambda n, a, t: sum(
        max(0, _floor((c - t) / a)) for c in n
    ),
    "the task lies on the first machine, and another may lose fewer actors": lambda n, a, t: (
        sum(_floor(c / a) for c in n[1:]) + max(0, _floor((n[0] - t) / a))
    ),
    "part of an actor is rounded up": lambda n, a, t: max(
        (
            sum(math.ceil(c / a - 1e-9) for c in n) - math.ceil(c / a - 1e-9) + math.ceil((c - t) / a - 1e-9)
            for c in n
            if c >= t
        ),
        default=0,
    ),
    "an actor is lost to the rounding of decimals": _in_floats,
    "where the task has no room you count actors below zero": _anywhere(lambda actors: actors),
    "a machine without room for the task gets it for nothing": _anywhere(lambda actors: max(0, actors)),
    "where no machine has room for the task, you fill them all, and it would never start": lambda n, a, t: (
        most_actors(n, a, t) if max(n) >= t else sum(_floor(c / a) for c in n)
    ),
    "the task is counted as one actor": lambda n, a, t: max(0, sum(_floor(c / a) for c in n) - 1),
}


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


def _judge_actors(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    got = [float(np.asarray(v, dtype=float).reshape(())) for v in values]
    right = [most_actors(*case) for case in cases]
    off = next((i for i, (g, r) in enumerate(zip(got, right, strict=True)) if g != r), None)
    if off is None:
        return None
    nodes, each, task = cases[off]
    room = " + ".join(f"{cpus:g}" for cpus in nodes)
    told = f"{room} CPUs, actors of {each:g}, a task of {task:g}: you say {got[off]:g}, and {right[off]} is right"
    for sentence, mistake in ACTOR_MISTAKES.items():
        if all(g == mistake(*case) for g, case in zip(got, cases, strict=True)):
            return f"{sentence}: {told}."
    return f"{told}. Put the task on one machine, fill up the rest with actors, and try every machine."


Plan = tuple[float, float, float]
NEVER: Plan = (0, math.inf, math.inf)


def fewest_machines(
    texts: float, texts_per_s: float, startup_s: float, usd_per_hour: float, deadline_hours: float
) -> Plan:
    """Reference: what the start-up leaves of the deadline, the machines that use it, their hours and dollars."""
    work_s = texts / texts_per_s
    left_s = deadline_hours * 3600 - startup_s
    if left_s <= 0:
        return NEVER
    machines = math.ceil(work_s / left_s)
    return _plan(machines, startup_s + work_s / machines, usd_per_hour)


def _plan(machines: float, seconds: float, usd_per_hour: float) -> Plan:
    return machines, seconds / 3600, machines * seconds / 3600 * usd_per_hour


def _rounded(rounding: Callable[[float], float]) -> Callable[..., Plan]:
    def plan(texts: float, rate: float, startup: float, usd: float, deadline: float) -> Plan:
        left = deadline * 3600 - startup
        machines = rounding(texts / rate / left) if left > 0 else 0
        return _plan(machines, startup + texts / rate / machines, usd) if machines else NEVER

    return plan


def _but(change: Callable[[Plan, Case], Plan]) -> Callable[..., Plan]:
    """The reference's plan, changed where there is one."""
    return lambda *case: plan if (plan := fewest_machines(*case)) == NEVER else change(plan, case)


MACHINES_MISTAKES: dict[str, Callable[..., Plan]] = {
    "the start-up is left out": lambda t, r, s, u, d: fewest_machines(t, r, 0, u, d),
    "the start-up is shared out, and every machine has its own": lambda t, r, s, u, d: _plan(
        m := math.ceil((t / r + s) / (d * 3600)), (t / r + s) / m, u
    ),
    "the start-up is billed once, and every machine is rented while it starts": _but(
        lambda p, c: (p[0], p[1], (c[2] + c[0] / c[1]) / 3600 * c[3])
    ),
    "only one machine is billed": _but(lambda p, c: (p[0], p[1], p[1] * c[3])),
    "the whole deadline is billed, and the machines stop when they are done": _but(
        lambda p, c: (p[0], p[1], p[0] * c[4] * c[3])
    ),
    "the deadline is returned for the hours, and they may be fewer": _but(lambda p, c: (p[0], c[4], p[2])),
    "the hours of the start-up are missing in what is returned": _but(
        lambda p, c: _plan(p[0], p[1] * 3600 - c[2], c[3])
    ),
    "part of a machine is rounded to the nearest number, and the deadline is missed": _rounded(round),
    "part of a machine is cut off, and the deadline is missed": _rounded(int),
    "one machine is too many where the work divides evenly: round up, don't add one": _rounded(
        lambda share: math.floor(share) + 1
    ),
    "hours and seconds are mixed: an hour has 3600 seconds": _but(lambda p, c: (p[0], p[1] * 3600, p[2] * 3600)),
}


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


def _judge_machines(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    right = [fewest_machines(*case) for case in cases]
    if any(value is None for value in values):
        first = next(i for i, value in enumerate(values) if value is None)
        if right[first] == NEVER:
            return f"no machines are enough for {_asked(cases[first])}: return (0, math.inf, math.inf), not None."
        return f"{_asked(cases[first])}: you return None, and {_words(right[first])} is right."
    got = [tuple(float(x) for x in np.asarray(v, dtype=float).reshape(3)) for v in values]

    def same(one: Sequence[float], other: Sequence[float]) -> bool:
        return all(math.isclose(a, b, rel_tol=1e-6) for a, b in zip(one, other, strict=True))

    off = next((i for i, (g, r) in enumerate(zip(got, right, strict=True)) if not same(g, r)), None)
    if off is None:
        return None
    told = f"{_asked(cases[off])}: you say {_words(got[off])}, and {_words(right[off])} is right"
    for sentence, mistake in MACHINES_MISTAKES.items():
        if all(same(g, mistake(*case)) for g, case in zip(got, cases, strict=True)):
            return f"{sentence}: {told}."
    if right[off] == NEVER:
        return f"no number of machines is done before its own start-up ends: return (0, math.inf, math.inf); {told}."
    return f"{told}. First the time that the start-up leaves, then the machines, then their hours, then the bill."


def _words(plan: Sequence[float]) -> str:
    return f"{plan[0]:g} machines, {plan[1]:,.3f} hours, {plan[2]:,.2f} dollars"


def _asked(case: Case) -> str:
    texts, rate, startup, usd, deadline = case
    return f"{texts:,.0f} texts, {rate:g} a second, start-up {startup:g} s, ${usd:g} an hour, {deadline:g} hours"


def never_late(*case: float) -> Plan:
    """A mistake: a deadline within the start-up gets a plan all the same."""
    texts, rate, startup, usd, deadline = case
    machines = max(1, math.ceil(texts / rate / (deadline * 3600 - startup or 1)))
    return _plan(machines, startup + texts / rate / machines, usd)


TASKS = {
    task.id: task
    for task in (
        Task("13.1", _assign_cases, _judge_assign),
        Task("13.2", _actor_cases, _judge_actors),
        Task("13.3", _machines_cases, _judge_machines),
    )
}
