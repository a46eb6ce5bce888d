"""Answers to exercise 01. `MISTAKES` maps a task to {part of the sentence it must get: answer}."""

from typing import Any

import numpy as np
import torch

from helpers.exercises import lesson_01 as one

normalize = torch.nn.functional.normalize


def mask3(mask: torch.Tensor) -> torch.Tensor:
    return mask.unsqueeze(-1).float()


def ids(tokenizer: Any, text: str, **options: Any) -> int:
    return len(tokenizer(text, verbose=False, **options)["input_ids"])


MISTAKES: dict[str, dict[str, Any]] = {
    "01.1": {
        "includes the padding": lambda t, m: t.mean(dim=1),
        "a sum, not a mean": lambda t, m: (t * mask3(m)).sum(dim=1),
        "counted in the division": lambda t, m: (t * mask3(m)).mean(dim=1),
        "CLS pooling": lambda t, m: t[:, 0],
        "unit vectors": lambda t, m: normalize(one.mean_pooling(t, m), dim=1),
        "maximum over the tokens": lambda t, m: t.masked_fill(m.unsqueeze(-1) == 0, -torch.inf).amax(dim=1),
        "reduce the axis of the tokens": lambda t, m: t.mean(dim=2),
    },
    "01.2": {
        "order of dot products": lambda q, d: np.argsort(-(d @ q)),
        "turned round": lambda q, d: one.rank_documents(q, d)[::-1],
        "not similarities": lambda q, d: d @ q,
        "Euclidean distances": lambda q, d: np.argsort(np.linalg.norm(d - q, axis=1)),
        "their first order": lambda q, d: list(range(len(d))),
        "every document's number": lambda q, d: one.rank_documents(q, d)[:3],
    },
    "01.3": {
        "counts words": lambda t, k, m: max(0, len(t.split()) - m),
        "special tokens [CLS] and [SEP]": lambda t, k, m: max(0, ids(k, t, add_special_tokens=False) - m),
        "counts characters": lambda t, k, m: max(0, len(t) - m),
        "never go below 0": lambda t, k, m: ids(k, t) - m,
        "take away what fits": lambda t, k, m: ids(k, t),
        "truncate before you counted": lambda t, k, m: max(0, ids(k, t, truncation=True, max_length=m) - m),
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
