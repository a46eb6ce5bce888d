"""Answers to exercise 17, by scikit-learn, torch and usearch's own way among others."""

from typing import Any

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors

from helpers.exercises import lesson_17 as seventeen


def by_neighbours(found: Any, queries: Any, vectors: Any) -> Any:
    true = NearestNeighbors(n_neighbors=found.shape[1], metric="cosine").fit(vectors).kneighbors(queries)[1]
    return torch.tensor([np.isin(one, other).mean() for one, other in zip(true, found, strict=True)]).mean()


def with_torch(query: Any, vectors: Any, k: int, pool: int) -> Any:
    rows, asked = torch.from_numpy(vectors), torch.from_numpy(query)
    middle = rows.mean(dim=0)
    apart = ((rows > middle) ^ (asked > middle)).sum(dim=1)
    best = torch.argsort(apart, stable=True)[:pool]
    return best[torch.topk(rows[best] @ asked, k).indices]


def all_at_once(search: Any, allowed: Any, k: int, n: int) -> Any:
    return np.array([i for i in search(n) if i in allowed][:k])


MISTAKES: dict[str, dict[str, Any]] = {
    "17.1": {"return one share": lambda found, queries, vectors: np.ones(len(found))},
    "17.2": {"positions in `vectors`": lambda q, v, k, pool: v[:k]},
    "17.3": {"as `search` gives them": lambda search, allowed, k, n: len(allowed)},
}

RIGHT: dict[str, list[Any]] = {
    "17.1": [seventeen.index_recall, by_neighbours],
    "17.2": [seventeen.search_bits, with_torch],
    "17.3": [seventeen.filtered, all_at_once],
}
