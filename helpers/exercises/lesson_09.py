"""Exercise 09: the figures of a leaderboard by hand: zero-shot share, two means, Borda points."""

import operator
from collections.abc import Callable, Sequence

import numpy as np

from helpers.checks.judges import ByReference, Entries, Number, Places
from helpers.checks.tasks import Case, Task

# 09.1


def zero_shot_share(
    training: set[str] | None,
    tasks: Sequence[str],
    *,
    unknown: float | None = None,
    seen: bool = False,
    whole: float = 100,
) -> float | None:
    """Reference: the percentage of tasks that aren't among the training sets; None if those are unknown."""
    return unknown if training is None else whole * sum((t in training) == seen for t in tasks) / len(tasks)


def _share_cases(seed: int) -> list[Case]:
    """Two models trained on fewer than half of the tasks and on more sets than there are tasks, and the borders."""
    draw = np.random.default_rng(seed)
    cases: list[Case] = [(None, [f"Task{i}" for i in range(int(draw.integers(3, 30)))])]
    for size in draw.permutation(np.arange(13, 40))[:3]:
        tasks = [f"Task{i}" for i in draw.permutation(int(size))]
        others = {f"Other{i}" for i in range(size + int(draw.integers(1, 9)))}
        cases += [({*tasks[: int(draw.integers(1, size / 2))], *others}, tasks)]
    cases += [(set(), cases[1][1]), (set(cases[2][1][:1]), cases[2][1][: int(draw.integers(3, 12))])]
    return [cases[i] for i in draw.permutation(len(cases))]


SHARE = ByReference(
    zero_shot_share,
    Number("return a percentage", rtol=1e-6, atol=1e-3, show=".2f", optional=True),
    "Count the tasks that the model has not been trained on.",
    mistakes={
        "the share is turned round: that is what the model was trained on": {"seen": True},
        "it is divided by the training sets; the share is one of the tasks": lambda training, tasks: (
            None if training is None else 100 - 100 * len(training & set(tasks)) / max(len(training), 1)
        ),
        "nothing declared counts as 100; it is unknown": {"unknown": 100},
        "nothing declared counts as 0; it is unknown": {"unknown": 0},
        "an empty set is a declaration, not unknown": lambda training, tasks: zero_shot_share(training or None, tasks),
        "it lies between 0 and 1; give a percentage": {"whole": 1},
    },
)


# 09.2


def means(scores: dict[str, float], types: dict[str, str]) -> tuple[float, float]:
    """Reference: the mean over tasks, and the mean over the types' means."""
    kinds = {types[t] for t in scores}
    by_type = [np.mean([s for t, s in scores.items() if types[t] == kind]) for kind in kinds]
    return float(np.mean(list(scores.values()))), float(np.mean(by_type))


def _zero_for_a_type(scores: dict[str, float], types: dict[str, str]) -> tuple[float, float]:
    over_tasks, over_types = means(scores, types)
    return over_tasks, over_types * len({types[t] for t in scores}) / len(set(types.values()))


def _means_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for sizes in ((6, 3, 1), (8, 2, 2)):
        types = {f"{kind}{i}": kind for kind, n in zip("ABC", sizes, strict=True) for i in range(n)}
        low = {"A": 50, "B": 65, "C": 80}
        scores = {t: float(low[kind] + draw.uniform(0, 10)) for t, kind in types.items()}
        cases.append((scores, types | {"A-not-run": "A", "D-not-run": "D"}))
    return cases


MEANS = ByReference(
    means,
    Places(("the mean over tasks", "the mean over types"), Number(atol=1e-3)),
    "Only tasks that were run take part.",
    mistakes={
        "the two are swapped; the mean over tasks comes first": lambda s, t: means(s, t)[::-1],
        "both are the mean over tasks; for the second, average each type first": lambda s, t: (means(s, t)[0],) * 2,
        "both are the mean over types; the first gives each task the same weight": lambda s, t: (means(s, t)[1],) * 2,
        "a type without a run counts as 0": _zero_for_a_type,
        "a task without a run counts as 0": lambda s, t: (sum(s.values()) / len(t), means(s, t)[1]),
    },
)


# 09.3


def borda(
    scores: dict[str, dict[str, float]],
    *,
    beats: Callable[[float, float], bool] = operator.gt,
    voters: Callable[..., set[str]] = set.intersection,
    itself: int = 0,
) -> dict[str, int]:
    """Reference: for each model, how many others it beats, summed over the tasks that all have run."""
    tasks = voters(*map(set, scores.values()))
    return {
        name: sum(
            beats(runs.get(task, 0), other.get(task, 0)) if other is not runs else itself
            for task in tasks
            for other in scores.values()
        )
        for name, runs in scores.items()
    }


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


BORDA = ByReference(
    borda,
    Entries(Number(rtol=0, atol=1e-3, show="g", unit=" points")),
    "In each task that all have run, a model gets a point for each model that it beats.",
    mistakes={
        "the worst model gets most: rank by falling score": {"beats": operator.lt},
        "a task that only some have run takes part": {"voters": set.union},
        "every model has a point too many a task: it doesn't beat itself": {"itself": 1},
        "a tie counts as a victory": {"beats": operator.ge},
        "a tie counts as a victory, and each model ties with itself": {"beats": operator.ge, "itself": 1},
    },
)


TASKS = {
    task.id: task
    for task in (
        Task("09.1", _share_cases, SHARE),
        Task("09.2", _means_cases, MEANS),
        Task("09.3", _borda_cases, BORDA),
    )
}
