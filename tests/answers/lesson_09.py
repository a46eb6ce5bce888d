"""Answers to exercise 09. `MISTAKES` maps a task to {part of the sentence it must get: answer}."""

from typing import Any

import numpy as np
import pandas as pd

from helpers.exercises import lesson_09 as nine


def by_sets(training: Any, tasks: Any) -> Any:
    return None if training is None else np.float32(100 * len(set(tasks) - training) / len(tasks))


def with_pandas(scores: Any, types: Any) -> list[Any]:
    series = pd.Series(scores)
    return [series.mean(), series.groupby(types).mean().mean()]


def by_ranks(scores: Any) -> dict[str, Any]:
    frame = pd.DataFrame(scores).dropna().T
    return dict((frame.rank(method="min") - 1).sum(axis=1))


def mistake(among: dict[str, Any], part: str) -> Any:
    return next(wrong for sentence, wrong in among.items() if part in sentence)


PARTS = {
    "09.1": (
        nine.SHARE_MISTAKES,
        ("turned round", "divided by the training", "counts as 100", "counts as 0", "an empty set", "between 0 and 1"),
    ),
    "09.2": (
        nine.MEANS_MISTAKES,
        ("swapped", "both are the mean over tasks", "both are the mean over types", "a type without", "a task without"),
    ),
    "09.3": (nine.BORDA_MISTAKES, ("the worst model", "only some have run", "a point too many", "a tie counts")),
}
MISTAKES: dict[str, dict[str, Any]] = {
    task: {part: mistake(among, part) for part in parts} for task, (among, parts) in PARTS.items()
}
RIGHT: dict[str, list[Any]] = {
    "09.1": [nine.zero_shot_share, by_sets],
    "09.2": [nine.means, with_pandas],
    "09.3": [nine.borda, by_ranks],
}
