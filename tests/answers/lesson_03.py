"""Answers to exercise 03. `MISTAKES` maps a task to {part of the sentence it must get: answer}."""

from typing import Any

import numpy as np
import torch
from FlagEmbedding import BGEM3FlagModel
from scipy import stats
from scipy.spatial import distance
from sklearn.preprocessing import minmax_scale

from helpers.exercises import lesson_03 as three

Weights = dict[str, float]
Scores = dict[str, Any]


def both(query: Weights, document: Weights) -> set[str]:
    return set(query) & set(document)


def falling(values: Any) -> Any:
    return np.argsort(-np.asarray(values), kind="stable")


def scaled(scores: Scores, weights: Weights, scale: Any) -> Any:
    return falling(sum(weights[kind] * scale(values) for kind, values in scores.items()))


def min_max_without_care(values: Any) -> Any:
    with np.errstate(invalid="ignore"):
        return (values - values.min()) / (values.max() - values.min())


def standardized(values: Any) -> Any:
    return (values - values.mean()) / (values.std() or 1)


def costs(tokens: int, entries: int, dims: int, dtype: str, **other: int) -> dict[str, int]:
    return three.bytes_per_document(tokens, entries, dims, dtype) | other


def width(dtype: str) -> int:
    return np.dtype(dtype).itemsize


MISTAKES: dict[str, dict[str, Any]] = {
    "03.1": {
        "counts the shared tokens": lambda q, d: len(both(q, d)),
        "adds the two weights": lambda q, d: sum(q[t] + d[t] for t in both(q, d)),
        "the query's weights alone": lambda q, d: sum(q[t] for t in both(q, d)),
        "the document's weights alone": lambda q, d: sum(d[t] for t in both(q, d)),
        "a mean over the shared": lambda q, d: np.mean([q[t] * d[t] for t in both(q, d)] or [0]),
        "a cosine": lambda q, d: (
            three.lexical_score(q, d) / np.linalg.norm(list(q.values())) / np.linalg.norm(list(d.values()))
        ),
        "largest product alone": lambda q, d: max((q[t] * d[t] for t in both(q, d)), default=0),
        "only equal tokens meet": lambda q, d: sum(q.values()) * sum(d.values()),
        "place in the dict": lambda q, d: sum(a * b for a, b in zip(q.values(), d.values(), strict=False)),
        "share no token": lambda q, d: three.lexical_score(q, d) or -1.0,
        "return one number": lambda q, d: [q[t] * d[t] for t in both(q, d)],
    },
    "03.2": {
        "begin with the query's": lambda q, d: (q @ d.T).max(axis=0).mean(),
        "the sum of the best": lambda q, d: (q @ d.T).max(axis=1).sum(),
        "a mean over all pairs": lambda q, d: (q @ d.T).mean(),
        "the one best pair": lambda q, d: (q @ d.T).max(),
        "divides by the number of document tokens": lambda q, d: (q @ d.T).max(axis=1).sum() / len(d),
        "dense retrieval": lambda q, d: 1 - distance.cosine(q.mean(axis=0), d.mean(axis=0)),
        "the worst partner": lambda q, d: (q @ d.T).min(axis=1).mean(),
        "dropped [CLS] already": lambda q, d: (q[1:] @ d.T).max(axis=1).mean(),
        "still to be taken": lambda q, d: (q @ d.T).max(axis=1),
    },
    "03.3": {
        "turned round": lambda s, w: three.fuse(s, w)[::-1],
        "each document's rank": lambda s, w: np.argsort(three.fuse(s, w)),
        "adds the scores unscaled": lambda s, w: scaled(s, w, lambda values: values),
        "weights are left out": lambda s, w: three.fuse(s, dict.fromkeys(s, 1.0)),
        "divides by the highest": lambda s, w: scaled(s, w, lambda values: values / (values.max() or 1)),
        "divides by the standard deviation": lambda s, w: scaled(s, w, standardized),
        "adds up ranks": lambda s, w: scaled(s, w, lambda values: values.argsort().argsort() * (np.ptp(values) > 0)),
        "a single kind": lambda s, w: falling(s["dense"]),
        "0 divided by 0": lambda s, w: scaled(s, w, min_max_without_care),
        "not scores": three._fused,
        "every document's number": lambda s, w: three.fuse(s, w)[:3],
    },
    "03.4": {
        "these are bits": lambda t, e, d, k: {kind: 8 * value for kind, value in costs(t, e, d, k).items()},
        "takes 2 bytes, not 4": lambda t, e, d, k: costs(t, e, d, "float32"),
        "one vector fewer": lambda t, e, d, k: costs(t, e, d, k, colbert=t * d * width(k)),
        "both special tokens": lambda t, e, d, k: costs(t, e, d, k, colbert=(t - 2) * d * width(k)),
        "the token ids are missing": lambda t, e, d, k: costs(t, e, d, k, lexical=e * width(k)),
        "keeps its 4 bytes": lambda t, e, d, k: costs(t, e, d, k, lexical=2 * e * width(k)),
        "has all the dimensions": lambda t, e, d, k: costs(t, e, d, k, colbert=(t - 1) * width(k)),
        "numbers, not bytes": lambda t, e, d, k: {"dense": d, "lexical": e, "colbert": (t - 1) * d},
        "with the keys": lambda t, e, d, k: tuple(costs(t, e, d, k).values()),
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
        lambda s, w: falling(sum(w[kind] * minmax_scale(values) for kind, values in s.items())),
        lambda s, w: sum(
            w[k] * ((t := torch.tensor(v, dtype=torch.float32)) - t.min()) / (t.max() - t.min()).clamp(min=1e-9)
            for k, v in s.items()
        ).argsort(descending=True),
        lambda s, w: tuple(int(i) for i in stats.rankdata(-three._fused(s, w), method="ordinal").argsort()),
    ],
    "03.4": [
        three.bytes_per_document,
        lambda t, e, d, k: {
            "colbert": float(np.zeros((t - 1, d), dtype=k).nbytes),
            "dense": np.int64(torch.zeros(d, dtype=getattr(torch, k)).nbytes),
            "lexical": 4 * e + np.zeros(e, dtype=k).nbytes,
        },
    ],
}
