"""Answers to exercise 08. `MISTAKES` maps a task to {part of the sentence it must get: answer}."""

from typing import Any

import numpy as np
import pandas as pd

from helpers.exercises import lesson_08 as eight


def with_pandas(models: Any, tokens: int, memory_mb: float) -> list[list[Any]]:
    frame = pd.DataFrame(models)
    columns = [
        frame.license.map({"mit": True, "apache-2.0": True, "cc-by-nc-4.0": False}),
        (frame.max_tokens >= tokens).where(frame.max_tokens.notna()),
        (frame.parameters * 4 <= memory_mb * 1e6).where(frame.parameters.notna()),
    ]
    return [[None if pd.isna(v) else np.bool_(v) for v in row] for row in zip(*columns, strict=True)]


def only_the_kept(models: Any, tokens: int, memory_mb: float) -> Any:
    return [row for row in eight.verdicts(models, tokens, memory_mb) if all(row)]


def one_verdict(models: Any, tokens: int, memory_mb: float) -> Any:
    return [(all(row),) for row in eight.verdicts(models, tokens, memory_mb)]


def sorted_frame(models: Any, benchmark: str, tasks: int) -> Any:
    scores = [m["runs"][benchmark][0] if m["runs"].get(benchmark, (0, 0))[1] == tasks else np.nan for m in models]
    return pd.Series(scores, dtype=float).sort_values(ascending=False, kind="stable").index.to_numpy()


def by_numpy(models: Any, benchmark: str, tasks: int) -> tuple[int, ...]:
    scores = [eight._score(m, benchmark, tasks) for m in models]
    return tuple(np.argsort([np.inf if s is None else -s for s in scores], kind="stable"))


def verdict_mistake(part: str) -> Any:
    return next(wrong for sentence, wrong in eight.VERDICT_MISTAKES.items() if part in sentence)


def rank_mistake(part: str) -> Any:
    return next(wrong for sentence, wrong in eight.RANK_MISTAKES.items() if part in sentence)


MISTAKES: dict[str, dict[str, Any]] = {
    "08.1": {
        part: verdict_mistake(part)
        for part in (
            "counts as met",
            "counts as failed",
            "the embedding's dimensions",
            "with two bytes",
            "in MiB",
            "exactly what is asked for",
            "taken for a permission",
            "taken for a refusal",
        )
    }
    | {"every model gets one": only_the_kept, "it needs three": one_verdict},
    "08.2": {
        part: rank_mistake(part)
        for part in (
            "the lowest score comes first",
            "is dropped",
            "another benchmark version",
            "over some of the tasks",
            "run come first",
            "sorted as 0",
        )
    },
}

RIGHT: dict[str, list[Any]] = {
    "08.1": [eight.verdicts, with_pandas],
    "08.2": [eight.ranked, sorted_frame, by_numpy],
}
