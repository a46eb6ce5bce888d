"""Answers to exercise 06. `MISTAKES` maps a task to {part of the sentence it must get: answer}."""

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from helpers.exercises import lesson_06 as six
from helpers.measure import metrics


def unit(vectors: Any) -> Any:
    return functional.normalize(vectors, dim=1)


def layer_norm(vectors: torch.Tensor) -> torch.Tensor:
    return functional.layer_norm(vectors, (vectors.shape[1],))


def centred(vectors: torch.Tensor, dims: int) -> Any:
    """The recipe in NumPy: only the mean of layer norm survives the last step."""
    array = vectors.double().numpy()
    short = (array - array.mean(axis=1, keepdims=True))[:, :dims]
    return (short / np.linalg.norm(short, axis=1, keepdims=True)).tolist()


def smallest(enough: Any) -> Any:
    """The first size in rising order that is good enough, by a rule on (short, full, keep)."""

    def answer(scores: Any, keep: float) -> Any:
        full = max(scores)
        return next((d for d in sorted(scores) if enough(scores[d], scores[full], keep)), full)

    return answer


def low(values: Any) -> float:
    return float(values.mean() - 1.96 * values.std() / len(values) ** 0.5)


def high(values: Any) -> float:
    return float(values.mean() + 1.96 * values.std() / len(values) ** 0.5)


def fits(scores: Any, keep: float) -> list[int]:
    full = scores[max(scores)]
    return [dims for dims, each in scores.items() if low(each - keep * full) >= 0]


def passages(starts: Any, combine: Any = max) -> Any:
    """Scores over passages that begin at `starts(words, size, overlap)`."""

    def answer(query: Any, documents: Any, encode: Any, size: int, overlap: int) -> Any:
        scores = []
        for text in documents:
            words = text.split()
            parts = [" ".join(words[i : i + size]) for i in starts(len(words), size, overlap)]
            scores.append(combine([float(row @ query) for row in encode(parts)]))
        return scores

    return answer


def step_by_step(query: Any, documents: Any, encode: Any, size: int, overlap: int) -> Any:
    """All passages of all documents in one call, in a loop that stops at the end of each text."""
    parts, owner = [], []
    for number, text in enumerate(documents):
        words, start = text.split(), 0
        while True:
            parts.append(" ".join(words[start : start + size]))
            owner.append(number)
            if start + size >= len(words):
                break
            start += size - overlap
    similarity = torch.from_numpy(encode(parts)) @ torch.as_tensor(query)
    best = torch.full((len(documents),), -1.0)
    return best.scatter_reduce(0, torch.tensor(owner), similarity, "amax")


def proper(n: int, size: int, overlap: int) -> range:
    return range(0, max(1, n - overlap), size - overlap)


def by_method(model: Any, texts: Any, task: str) -> Any:
    if task == "search_query":
        return model.encode_query(texts, convert_to_tensor=True)
    if task == "search_document":
        return model.encode_document(texts, convert_to_tensor=True)
    return model.encode(texts, prompt=f"{task}: ", convert_to_tensor=True)


MISTAKES: dict[str, dict[str, Any]] = {
    "06.1": {
        "without the layer norm": lambda e, d: unit(e[:, :d]),
        "came after the slice": lambda e, d: unit(layer_norm(e[:, :d])),
        "ran down the columns": lambda e, d: unit(layer_norm(e.T).T[:, :d]),
        "aren't unit vectors yet": lambda e, d: layer_norm(e)[:, :d],
        "normalised before the slice": lambda e, d: unit(layer_norm(e))[:, :d],
        "kept the last numbers": lambda e, d: unit(layer_norm(e)[:, -d:]),
        "columns of every row": lambda e, d: unit(layer_norm(e)[:d]),
    },
    "06.2": {
        "looked at the mean alone": smallest(lambda s, f, k: s.mean() >= k * f.mean()),
        "looked at the upper end": smallest(lambda s, f, k: high(s - k * f) >= 0),
        "an absolute score": smallest(lambda s, f, k: low(s) >= k),
        "the short scores on their own": smallest(lambda s, f, k: low(s) >= k * f.mean()),
        "asks for all of the quality": smallest(lambda s, f, k: low(s - f) >= 0),
        "the spread of single queries": smallest(lambda s, f, k: (s - k * f).mean() >= 1.96 * (s - k * f).std()),
        "the largest that will do": lambda s, k: max(fits(s, k)),
        "dictionary's order": lambda s, k: fits(s, k)[0],
        "return one of the sizes": lambda s, k: sorted(s).index(six.smallest_size(s, k)),
    },
    "06.3": {
        "the mean over the passages": passages(proper, np.mean),
        "the sum over the passages": passages(proper, sum),
        "whole documents, uncut": lambda q, docs, encode, size, overlap: encode(docs) @ q,
        "only the first passage": passages(lambda n, size, overlap: [0]),
        "the passages don't overlap": passages(lambda n, size, overlap: range(0, n, size)),
        "gaps between the passages": passages(lambda n, size, overlap: range(0, n, size + overlap)),
        "the end of a document is cut off": passages(
            lambda n, size, overlap: range(0, max(1, n - size + 1), size - overlap)
        ),
        "a scrap hangs on": passages(lambda n, size, overlap: range(0, n, size - overlap)),
        "a ranking": lambda *case: np.argsort(-six.best_passage_scores(*case)),
        "one score a document": lambda *case: six.best_passage_scores(*case).max(),
    },
    "06.4": {
        "no prefix arrived": lambda m, t, k: m.encode(t),
        "arrived twice": lambda m, t, k: m.encode([six.PREFIXES[k] + x for x in t], prompt=six.PREFIXES[k]),
        "encoded as a query": lambda m, t, k: m.encode_query(t),
        "encoded as a document": lambda m, t, k: m.encode_document(t),
        "without its colon": lambda m, t, k: m.encode(t, prompt=f"{k} "),
        "the key of the prompt": lambda m, t, k: m.encode([f"{k.removeprefix('search_')}: {x}" for x in t]),
        "changed places": lambda m, t, k: m.encode(
            t, prompt_name={"search_query": "document", "search_document": "query"}.get(k, k)
        ),
        "only the search tasks": lambda m, t, k: m.encode(t, prompt=f"{k}: " if "search" in k else ""),
        "one row a text": lambda m, t, k: six.encode_for(m, t, k)[0],
    },
}

RIGHT: dict[str, list[Any]] = {
    "06.1": [
        six.matryoshka,
        centred,
        lambda e, d: unit(torch.nn.LayerNorm(e.shape[1])(e)[:, :d]),
        lambda e, d: six.matryoshka(e, d).double(),
    ],
    "06.2": [
        six.smallest_size,
        smallest(lambda s, f, k: metrics.estimate(metrics.mean, s - k * f).low >= 0),
        lambda s, k: min(fits(s, k)),
    ],
    "06.3": [six.best_passage_scores, step_by_step],
    "06.4": [
        six.encode_for,
        lambda m, t, k: m.encode([f"{k}: {text}" for text in t]),
        by_method,
    ],
}
