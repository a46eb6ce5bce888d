"""Answers to exercise 18, by scikit-learn, torch and SciPy among others."""

from typing import Any

import numpy as np
import torch
from scipy import stats
from sklearn.feature_extraction.text import CountVectorizer

from helpers.exercises import lesson_18 as eighteen


def by_counts(train: Any, test: Any, limit: float) -> Any:
    runs = CountVectorizer(token_pattern=r"\S+", ngram_range=(3, 3), binary=True).fit([*train, *test])
    one, other = (runs.transform(texts).toarray().astype(bool) for texts in (test, train))
    shared, either = ((f(one[:, None], other[None])).sum(axis=2) for f in (np.logical_and, np.logical_or))
    return np.flatnonzero((shared / either >= limit).any(axis=1))


def with_torch(queries: Any, documents: Any, margin: float, k: int) -> Any:
    scores = torch.from_numpy(queries @ documents.T)
    barred = scores > margin * scores.diagonal()[:, None]
    barred.fill_diagonal_(True)
    return [
        [int(j) for j in row.argsort(descending=True)[: min(k, int((~no).sum()))]]
        for row, no in zip(scores.masked_fill(barred, -torch.inf), barred, strict=True)
    ]


def by_t(gains: Any, changes: Any, loss: float) -> Any:
    """Student's interval, hardly wider than the normal one."""
    low = [[stats.ttest_1samp(v, 0).confidence_interval().low for v in side] for side in (gains, changes)]
    return (np.array(low[0]) > 0) & (np.array(low[1]) >= -loss)


MISTAKES: dict[str, dict[str, Any]] = {
    "18.1": {"positions in `test`": lambda train, test, limit: test[:1]},
    "18.2": {"one list a query": lambda q, d, margin, k: eighteen.hard_negatives(q, d, margin, k)[:-1]},
    "18.3": {"one True or False a model": lambda gains, changes, loss: True},
}

RIGHT: dict[str, list[Any]] = {
    "18.1": [eighteen.leaks, by_counts],
    "18.2": [eighteen.hard_negatives, with_torch],
    "18.3": [eighteen.accepted, by_t],
}
