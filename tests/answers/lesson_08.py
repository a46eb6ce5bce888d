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


def sorted_frame(models: Any, benchmark: str, tasks: int) -> Any:
    scores = [m["runs"][benchmark][0] if m["runs"].get(benchmark, (0, 0))[1] == tasks else np.nan for m in models]
    return pd.Series(scores, dtype=float).sort_values(ascending=False, kind="stable").index.to_numpy()


def by_numpy(models: Any, benchmark: str, tasks: int) -> tuple[int, ...]:
    runs = [m["runs"].get(benchmark, (None, None)) for m in models]
    scores = [np.nan if run != tasks or score is None else -score for score, run in runs]
    return tuple(np.argsort(scores, kind="stable"))


MISTAKES: dict[str, dict[str, Any]] = {
    "08.1": {
        "every model gets one": lambda *case: [row for row in with_pandas(*case) if all(row)],
        "return 3 values": lambda *case: [(all(row),) for row in with_pandas(*case)],
        "Compare each row": lambda models, *needs: [[False] * 3] * len(models),
    },
    "08.2": {
        "without a complete run is dropped": lambda models, benchmark, tasks: [
            i
            for i in by_numpy(models, benchmark, tasks)
            if models[i]["runs"].get(benchmark, (None, None))[0] is not None
            and models[i]["runs"][benchmark][1] == tasks
        ],
        "doesn't belong there": lambda *case: [len(case[0]), *by_numpy(*case)],
        "list of whole numbers": lambda *case: [str(i) for i in by_numpy(*case)],
    },
}

RIGHT: dict[str, list[Any]] = {
    "08.1": [eight.verdicts, with_pandas],
    "08.2": [eight.ranked, sorted_frame, by_numpy],
}
