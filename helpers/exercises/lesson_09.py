"""Exercise 09: the figures of a leaderboard by hand: zero-shot share, two means, Borda points."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from helpers.checks import Task

Case = tuple[Any, ...]


def zero_shot_share(training: set[str] | None, tasks: Sequence[str]) -> float | None:
    """Reference: the percentage of tasks that aren't among the training sets; None if those are unknown."""
    return None if training is None else 100 * sum(t not in training for t in tasks) / len(tasks)


def _share_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    tasks = [f"Task{i}" for i in draw.permutation(20)]
    used = {*tasks[: int(draw.integers(3, 8))], *(f"Other{i}" for i in range(7))}
    return [(used, tasks), (None, tasks), (set(), tasks), (set(tasks[:1]), tasks[:4])]


SHARE_MISTAKES: dict[str, Callable[..., Any]] = {
    "the share is turned round: that is what the model was trained on": lambda u, t: (
        None if u is None else 100 - (zero_shot_share(u, t) or 0)
    ),
    "it is divided by the training sets; the share is one of the tasks": lambda u, t: (
        None if u is None else 100 - 100 * len(u & set(t)) / max(len(u), 1)
    ),
    "nothing declared counts as 100; it is unknown": lambda u, t: 100.0 if u is None else zero_shot_share(u, t),
    "nothing declared counts as 0; it is unknown": lambda u, t: 0.0 if u is None else zero_shot_share(u, t),
    "an empty set is a declaration, not unknown": lambda u, t: zero_shot_share(u, t) if u else None,
    "it lies between 0 and 1; give a percentage": lambda u, t: (
        None if u is None else (zero_shot_share(u, t) or 0) / 100
    ),
}


def means(scores: dict[str, float], types: dict[str, str]) -> tuple[float, float]:
    """Reference: the mean over tasks, and the mean over the types' means."""
    kinds = {types[t] for t in scores}
    by_type = [np.mean([s for t, s in scores.items() if types[t] == kind]) for kind in kinds]
    return float(np.mean(list(scores.values()))), float(np.mean(by_type))


def _means_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for sizes in ((6, 3, 1), (8, 2, 2)):
        types = {f"{kind}{i}": kind for kind, n in zip("ABC", sizes, strict=True) for i in range(n)}
        low = {"A": 50, "B": 65, "C": 80}
        scores = {t: float(low[kind] + draw.uniform(0, 10)) for t, kind in types.items()}
        cases.append((scores, types | {"A-not-run": "A", "D-not-run": "D"}))
    return cases


def _over_types(scores: dict[str, float], types: dict[str, str], *, divisor: str) -> float:
    sums = means(scores, types)[1] * len({types[t] for t in scores})
    return sums / len(set(types.values())) if divisor == "all types" else sums


MEANS_MISTAKES: dict[str, Callable[..., Any]] = {
    "the two are swapped; the mean over tasks comes first": lambda s, t: means(s, t)[::-1],
    "both are the mean over tasks; for the second, average each type first": lambda s, t: (means(s, t)[0],) * 2,
    "both are the mean over types; the first gives each task the same weight": lambda s, t: (means(s, t)[1],) * 2,
    "a type without a run counts as 0": lambda s, t: (means(s, t)[0], _over_types(s, t, divisor="all types")),
    "a task without a run counts as 0": lambda s, t: (sum(s.values()) / len(t), means(s, t)[1]),
}


def borda(scores: dict[str, dict[str, float]]) -> dict[str, int]:
    """Reference: for each model, how many others it beats, summed over the tasks that all have run."""
    return _borda(scores)


def _borda(
    scores: dict[str, dict[str, float]], *, sign: int = 1, common: bool = True, add: int = 0, ties: bool = False
) -> dict[str, int]:
    every = set.intersection(*(set(runs) for runs in scores.values()))
    shared = every if common else set().union(*scores.values())
    total = dict.fromkeys(scores, 0)
    for name, runs in scores.items():
        for task in shared:
            mine = sign * runs.get(task, 0.0)
            others = [sign * r.get(task, 0.0) for n, r in scores.items() if n != name]
            total[name] += add + sum(other <= mine if ties else other < mine for other in others)
    return total


def _borda_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for _ in range(2):
        names, tasks = [f"model-{i}" for i in draw.permutation(4)], [f"task-{i}" for i in range(5)]
        scores = {n: {t: float(s) for t, s in zip(tasks, draw.uniform(40, 80, 5), strict=True)} for n in names}
        for rank, name in enumerate(names):
            scores[name]["task-0"] = 90.0 - rank
        scores[names[1]]["task-1"] = scores[names[0]]["task-1"]
        scores[names[0]]["only-mine"] = 99.0
        cases.append((scores,))
    return cases


BORDA_MISTAKES: dict[str, Callable[..., Any]] = {
    "the worst model gets most: rank by falling score": lambda s: _borda(s, sign=-1),
    "a task that only some have run takes part": lambda s: _borda(s, common=False),
    "every model has a point too many a task: it doesn't beat itself": lambda s: _borda(s, add=1),
    "a tie counts as a victory": lambda s: _borda(s, ties=True),
}


def _close(one: Any, other: Any) -> bool:
    """Whether two answers hold the same numbers; None only equals None."""
    if isinstance(other, dict):
        return one.keys() == other.keys() and all(_close(one[k], other[k]) for k in other)
    if isinstance(other, tuple):
        return len(one) == len(other) and all(map(_close, one, other))
    if one is None or other is None:
        return one is other
    return abs(float(one) - float(other)) < 1e-3


def _judge(
    right: Callable[..., Any], mistakes: dict[str, Callable[..., Any]], told: str
) -> Callable[[Sequence[Case], Sequence[Any]], str | None]:
    """A judge that names the mistake which gives the same values, or else the first value that is off."""

    def judge(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
        off = [i for i, case in enumerate(cases) if not _close(values[i], right(*case))]
        if not off:
            return None
        for sentence, wrong in mistakes.items():
            if all(_close(value, wrong(*case)) for value, case in zip(values, cases, strict=True)):
                return f"{sentence} (you return {values[off[0]]}, it is {right(*cases[off[0]])})."
        return f"you return {values[off[0]]} instead of {right(*cases[off[0]])}; {told}"

    return judge


TASKS = {
    task.id: task
    for task in (
        Task(
            "09.1",
            _share_cases,
            _judge(zero_shot_share, SHARE_MISTAKES, "count the tasks that the model has not been trained on."),
        ),
        Task("09.2", _means_cases, _judge(means, MEANS_MISTAKES, "only tasks that were run take part.")),
        Task(
            "09.3",
            _borda_cases,
            _judge(borda, BORDA_MISTAKES, "in each task that all have run, a model gets a point a model it beats."),
        ),
    )
}
