"""Answers to exercise 06. `MISTAKES` maps a task to {part of the sentence it must get: answer}."""

from typing import Any

import numpy as np
import torch
from sklearn.preprocessing import scale
from torch.nn import functional

from helpers.exercises import lesson_06 as six
from helpers.measure import metrics


def unit(vectors: Any) -> Any:
    return functional.normalize(vectors, dim=1)


def centred_slice(vectors: torch.Tensor, dims: int) -> Any:
    return centred(vectors[:, :dims], dims)


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


def paired(short: Any, full: Any, keep: float) -> metrics.Estimate:
    return metrics.estimate(metrics.mean, short - keep * full)


def fits(scores: Any, keep: float) -> list[int]:
    """All sizes that will do, by a normal interval, in the dictionary's order."""
    differences = {dims: short - keep * scores[max(scores)] for dims, short in scores.items()}
    return [dims for dims, d in differences.items() if d.mean() >= 1.96 * d.std() / len(d) ** 0.5]


def step_by_step(query: Any, documents: Any, encode: Any, size: int, overlap: int, *, reduce: str = "amax") -> Any:
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
    return torch.zeros(len(documents)).scatter_reduce(
        0, torch.tensor(owner), similarity.float(), reduce, include_self=False
    )


def by_method(model: Any, texts: Any, task: str) -> Any:
    if task == "search_query":
        return model.encode_query(texts, convert_to_tensor=True)
    if task == "search_document":
        return model.encode_document(texts, convert_to_tensor=True)
    return model.encode(texts, prompt=f"{task}: ", convert_to_tensor=True)


MISTAKES: dict[str, dict[str, Any]] = {
    "06.1": {
        "without the layer norm": lambda e, d: unit(e[:, :d]),
        "came after the slice": centred_slice,
        "ran down the columns": lambda e, d: unit(torch.from_numpy(scale(e))[:, :d]),
        "columns of every row": lambda e, d: centred(e, d)[:d],
    },
    "06.2": {
        "looked at the mean alone": smallest(lambda s, f, k: s.mean() >= k * f.mean()),
        "looked at the upper end": smallest(lambda s, f, k: paired(s, f, k).high >= 0),
        "an absolute score": smallest(lambda s, f, k: paired(s, f, 0).low >= k),
        "the short scores on their own": smallest(lambda s, f, k: paired(s, f, 0).low >= k * f.mean()),
        "asks for all of the quality": smallest(lambda s, f, k: paired(s, f, 1).low >= 0),
        "the largest that will do": lambda s, k: max(fits(s, k)),
        "dictionary's order": lambda s, k: fits(s, k)[0],
        "return one of the sizes": lambda s, k: sorted(s).index(min(fits(s, k))),
    },
    "06.3": {
        "the mean over the passages": lambda *case: step_by_step(*case, reduce="mean"),
        "the sum over the passages": lambda *case: step_by_step(*case, reduce="sum"),
        "the passages don't overlap": lambda q, docs, encode, size, overlap: step_by_step(q, docs, encode, size, 0),
        "gaps between": lambda q, docs, encode, size, overlap: step_by_step(q, docs, encode, size, -overlap),
        "a ranking": lambda *case: step_by_step(*case).argsort(descending=True),
        "one score a document": lambda *case: step_by_step(*case).max(),
    },
    "06.4": {
        "encoded as a query": lambda m, t, k: m.encode_query(t),
        "encoded as a document": lambda m, t, k: m.encode_document(t),
        "arrived twice": lambda m, t, k: m.encode([f"{k}: {x}" for x in t], prompt=f"{k}: "),
        "changed places": lambda m, t, k: m.encode(
            t, prompt_name={"search_query": "document", "search_document": "query"}.get(k, k)
        ),
        "one row a text": lambda m, t, k: by_method(m, t, k)[0],
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
        smallest(lambda s, f, k: paired(s, f, k).low >= 0),
        lambda s, k: min(fits(s, k)),
    ],
    "06.3": [six.best_passage_scores, step_by_step],
    "06.4": [
        six.encode_for,
        lambda m, t, k: m.encode([f"{k}: {text}" for text in t]),
        by_method,
    ],
}
