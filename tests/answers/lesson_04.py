"""Answers to exercise 04. `MISTAKES` maps a task to {part of the sentence it must get: answer}."""

from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from helpers.exercises import lesson_04 as four

normalize = torch.nn.functional.normalize


def naive_loss(q: torch.Tensor, p: torch.Tensor, t: float) -> float:
    shares = torch.exp(normalize(q, dim=1) @ normalize(p, dim=1).T / t)
    return float(-torch.log(shares.diagonal() / shares.sum(dim=1)).mean())


def numpy_loss(q: torch.Tensor, p: torch.Tensor, t: float) -> np.float64:
    a, b = (x.numpy().astype(np.float64) for x in (q, p))
    logits = (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (b / np.linalg.norm(b, axis=1, keepdims=True)).T / t
    logits -= logits.max(axis=1, keepdims=True)
    return np.float64((np.log(np.exp(logits).sum(axis=1)) - logits.diagonal()).mean())


def cosines(q: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    return normalize(q, dim=1) @ normalize(p, dim=1).T


def entropy(logits: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits, torch.arange(len(logits)), reduction=reduction)


def glued(m: SentenceTransformer, texts: list[str], prefix: str) -> Any:
    return m.encode([prefix + text for text in texts])


def without_positive(q: torch.Tensor, p: torch.Tensor, t: float) -> torch.Tensor:
    logits = cosines(q, p) / t
    others = logits - torch.diag(torch.full((len(q),), torch.inf))
    return -(logits.diagonal() - others.logsumexp(dim=1)).mean()


def last_by_loop(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return torch.stack([row[torch.nonzero(keep).max()] for row, keep in zip(states, mask, strict=True)])


MISTAKES: dict[str, dict[str, Any]] = {
    "04.1": {
        "adds none": lambda m, a, b, s: (m.encode(a), m.encode(b)),
        "the second side takes 'passage: '": lambda m, a, b, s: (m.encode_query(a), m.encode_query(b)),
        "both take 'query: '": lambda m, a, b, s: (m.encode_query(a), m.encode_document(b)),
        "stands there twice": lambda m, a, b, s: (
            m.encode_query([f"query: {t}" for t in a]),
            m.encode_query([f"query: {t}" for t in b]) if s else m.encode_document([f"passage: {t}" for t in b]),
        ),
        "fit no usual pair": lambda m, a, b, s: (m.encode_query(a)[::-1], m.encode_document(b)[::-1]),
        "one row a text": lambda m, a, b, s: (m.encode_query(a[0]), m.encode_document(b[0])),
        "return 2 values": lambda m, a, b, s: m.encode_query(a),
    },
    "04.2": {
        "too large for float32": naive_loss,
        "left out": lambda q, p, t: entropy(cosines(q, p)),
        "queries of each passage": lambda q, p, t: entropy(cosines(q, p).T / t),
        "missing from the denominator": without_positive,
        "return one, the mean": lambda q, p, t: entropy(cosines(q, p) / t, "none"),
    },
    "04.3": {
        "last column": lambda h, m: h[:, -1],
        "counts from the left edge": lambda h, m: h[torch.arange(len(h)), m.sum(dim=1) - 1],
        "unit vectors": lambda h, m: normalize(last_by_loop(h, m), dim=1),
        "one vector a text": lambda h, m: h * m.unsqueeze(-1),
    },
    "04.4": {
        "fixed limit of about 0.8 ": lambda c, b, f: c >= 0.8,
        "decision is turned round": lambda c, b, f: c < np.quantile(b, 1 - f),
        "not a score": lambda c, b, f: (c[:, None] > b).mean(axis=1),
        "of higher cosine isn't": lambda c, b, f: np.arange(len(c)) % 2 == 0,
    },
}

RIGHT: dict[str, list[Any]] = {
    "04.1": [
        four.embed_sides,
        lambda m, a, b, s: (glued(m, a, "query: "), glued(m, b, "query: " if s else "passage: ")),
        lambda m, a, b, s: [
            m.encode(a, prompt_name="query", convert_to_tensor=True),
            m.encode(b, prompt_name="query" if s else "document", convert_to_tensor=True),
        ],
    ],
    "04.2": [four.info_nce, numpy_loss, lambda q, p, t: entropy(cosines(q, p) / t)],
    "04.3": [
        four.last_token_pooling,
        last_by_loop,
        lambda h, m: h.numpy()[np.arange(len(h)), (m.numpy() * np.arange(1, m.shape[1] + 1)).argmax(axis=1)],
    ],
    "04.4": [
        four.call_alike,
        lambda c, b, f: (b[None] >= c[:, None]).mean(axis=1) <= f,
        lambda c, b, f: [float(x) > np.sort(b)[int((1 - f) * len(b))] for x in c],
    ],
}
