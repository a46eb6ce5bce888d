"""Answers to exercise 03. `MISTAKES` maps a task to {part of the sentence it must get: answer}."""

from typing import Any

import numpy as np
import torch
from FlagEmbedding import BGEM3FlagModel
from scipy import stats
from scipy.spatial import distance
from sklearn.preprocessing import minmax_scale, scale

from helpers.exercises import lesson_03 as three

Weights = dict[str, float]
Scores = dict[str, Any]


def both(query: Weights, document: Weights) -> set[str]:
    return set(query) & set(document)


def falling(values: Any) -> Any:
    return np.argsort(-np.asarray(values), kind="stable")


def scaled(scores: Scores, weights: Weights, scale: Any = minmax_scale) -> Any:
    return sum(weights[kind] * scale(values) for kind, values in scores.items())


def min_max_without_care(values: Any) -> Any:
    with np.errstate(invalid="ignore"):
        return (values - values.min()) / (values.max() - values.min())


def nbytes(tokens: int, entries: int, dims: int, dtype: str) -> dict[str, Any]:
    return {
        "colbert": float(np.zeros((tokens - 1, dims), dtype=dtype).nbytes),
        "dense": np.int64(torch.zeros(dims, dtype=getattr(torch, dtype)).nbytes),
        "lexical": 4 * entries + np.zeros(entries, dtype=dtype).nbytes,
    }


MISTAKES: dict[str, dict[str, Any]] = {
    "03.1": {
        "counts the shared tokens": lambda q, d: len(both(q, d)),
        "adds the two weights": lambda q, d: sum(q[t] + d[t] for t in both(q, d)),
        "a mean over the shared": lambda q, d: np.mean([q[t] * d[t] for t in both(q, d)] or [0]),
        "a cosine": lambda q, d: (
            BGEM3FlagModel.compute_lexical_matching_score(None, q, d)
            / (np.linalg.norm(list(q.values())) * np.linalg.norm(list(d.values())))
        ),
        "place in the dict": lambda q, d: sum(a * b for a, b in zip(q.values(), d.values(), strict=False)),
        "share no token": lambda q, d: BGEM3FlagModel.compute_lexical_matching_score(None, q, d) or -1.0,
        "return one number": lambda q, d: [q[t] * d[t] for t in both(q, d)],
    },
    "03.2": {
        "begin with the query's": lambda q, d: np.mean([max(q @ one) for one in d]),
        "dense retrieval": lambda q, d: 1 - distance.cosine(q.mean(axis=0), d.mean(axis=0)),
        "dropped [CLS] already": lambda q, d: BGEM3FlagModel.colbert_score(None, q[1:], d),
        "still to be taken": lambda q, d: (q @ d.T).max(axis=1),
    },
    "03.3": {
        "each document's rank": lambda s, w: stats.rankdata(-scaled(s, w), method="ordinal") - 1,
        "adds the scores unscaled": lambda s, w: falling(scaled(s, w, np.asarray)),
        "divides by the standard deviation": lambda s, w: falling(scaled(s, w, scale)),
        "0 divided by 0": lambda s, w: falling(scaled(s, w, min_max_without_care)),
        "not scores": scaled,
        "every document's number": lambda s, w: falling(scaled(s, w))[:3],
    },
    "03.4": {
        "these are bits": lambda t, e, d, k: {kind: 8 * value for kind, value in nbytes(t, e, d, k).items()},
        "takes 2 bytes, not 4": lambda t, e, d, k: nbytes(t, e, d, "float32"),
        "keeps its 4 bytes": lambda t, e, d, k: nbytes(t, e, d, k) | {"lexical": np.zeros((2, e), dtype=k).nbytes},
        "all the dimensions": lambda t, e, d, k: nbytes(t, e, d, k) | {"colbert": np.zeros(t - 1, dtype=k).nbytes},
        "with the keys": lambda t, e, d, k: tuple(nbytes(t, e, d, k).values()),
    },
}

RIGHT: dict[str, list[Any]] = {
    "03.1": [
        three.lexical_score,
        lambda q, d: BGEM3FlagModel.compute_lexical_matching_score(None, q, d),
        lambda q, d: torch.tensor([q[token] * d.get(token, 0.0) for token in q]).sum(),
        lambda q, d: np.float16(three.lexical_score(q, d)),
    ],
    "03.2": [
        three.colbert_score,
        lambda q, d: BGEM3FlagModel.colbert_score(None, q, d),
        lambda q, d: sum(max(float(x @ y) for y in d) for x in q) / len(q),
        lambda q, d: (q.astype(np.float16) @ d.astype(np.float16).T).max(axis=1).mean(),
    ],
    "03.3": [
        three.fuse,
        lambda s, w: falling(scaled(s, w)),
        lambda s, w: sum(
            w[k] * ((t := torch.tensor(v, dtype=torch.float32)) - t.min()) / (t.max() - t.min()).clamp(min=1e-9)
            for k, v in s.items()
        ).argsort(descending=True),
        lambda s, w: tuple(int(i) for i in stats.rankdata(-scaled(s, w), method="ordinal").argsort()),
    ],
    "03.4": [
        three.bytes_per_document,
        nbytes,
    ],
}
