"""Answers to exercise 01. `MISTAKES` maps a task to {part of the sentence it must get: answer}."""

from typing import Any

import numpy as np
import torch

from helpers.exercises import lesson_01 as one

MISTAKES: dict[str, dict[str, Any]] = {
    "01.1": {
        "CLS pooling": lambda t, m: [row[0].tolist() for row in t],
        "maximum over the tokens": lambda t, m: [
            row[keep.bool()].max(dim=0).values for row, keep in zip(t, m, strict=True)
        ],
        "reduce the axis of the tokens": lambda t, m: t.mean(dim=2),
    },
    "01.2": {
        "not similarities": lambda q, d: d @ q,
        "every document's number": lambda q, d: np.argsort(d @ q)[:3],
        "least similar comes first": lambda q, d: torch.cosine_similarity(
            torch.tensor(d), torch.tensor(q)[None]
        ).argsort(),
    },
    "01.3": {
        "[CLS] and [SEP]": lambda t, k, m: max(0, len(k.tokenize(t)) - m),
        "truncate before you counted": lambda t, k, m: len(k(t, truncation=True, max_length=m)["input_ids"][m:]),
        "below 0": lambda t, k, m: len(k.encode(t, verbose=False)) - m,
    },
}

RIGHT: dict[str, list[Any]] = {
    "01.1": [
        one.mean_pooling,
        lambda t, m: torch.stack([row[keep.bool()].mean(dim=0) for row, keep in zip(t, m, strict=True)]),
        lambda t, m: np.einsum("btd,bt->bd", t.numpy(), m.numpy()) / m.numpy().sum(1, keepdims=True),
    ],
    "01.2": [
        one.rank_documents,
        lambda q, d: sorted(range(len(d)), key=lambda i: -float(d[i] @ q / np.linalg.norm(d[i]))),
        lambda q, d: torch.cosine_similarity(torch.tensor(d), torch.tensor(q)[None]).argsort(descending=True),
    ],
    "01.3": [one.tokens_lost, lambda t, k, m: max(0, len(k.tokenize(t)) + 2 - m)],
}
