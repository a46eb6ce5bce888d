"""Answers to exercise 16, by bm25s and pandas among others."""

from typing import Any

import bm25s
import numpy as np
import pandas as pd

from helpers.exercises import lesson_16 as sixteen


def by_library(query: Any, documents: Any, k1: float = 1.2, b: float = 0.75) -> Any:
    index = bm25s.BM25(k1=k1, b=b, method="lucene", dtype="float64")
    index.index(documents, show_progress=False)
    return index.get_scores(query)


def okapi(query: Any, documents: Any, k1: float = 1.2, b: float = 0.75) -> list[float]:
    """With the factor k1 + 1, which changes no ranking."""
    return [float((k1 + 1) * score) for score in sixteen.bm25(query, documents, k1, b)]


def with_pandas(rankings: Any, weights: Any, k: int) -> Any:
    parts = [pd.Series(w / (k + np.arange(1, len(r) + 1)), index=r) for r, w in zip(rankings, weights, strict=True)]
    return pd.concat(parts).groupby(level=0).sum()


def by_loop(dense: Any, lexical: Any, quality: Any, tuning: Any) -> float:
    best, found = -1.0, 0.0
    for tenth in range(11):
        mixed = [
            (1 - tenth / 10) * (d - d.min()) / np.ptp(d) + tenth / 10 * (w - w.min()) / np.ptp(w)
            for d, w in zip(dense, lexical, strict=True)
        ]
        value = quality(np.array(mixed))[tuning].mean()
        if value > best + 1e-12:
            best, found = value, tenth / 10
    return found


MISTAKES: dict[str, dict[str, Any]] = {
    "16.1": {"one score a document": lambda q, docs, k1, b: sixteen.bm25(q, docs, k1, b)[:-1]},
    "16.3": {
        "fitted on the queries that shall judge it": lambda d, w, quality, tuning: sixteen.fitted_share(
            d, w, quality, [i for i in range(len(d)) if i not in tuning]
        ),
        "one share": lambda d, w, quality, tuning: [0.1, 0.2],
    },
}

RIGHT: dict[str, list[Any]] = {
    "16.1": [sixteen.bm25, by_library, okapi],
    "16.2": [sixteen.rrf, with_pandas],
    "16.3": [sixteen.fitted_share, by_loop],
}
