"""Answers to exercise 05. `MISTAKES` maps a task to {part of the sentence it must get: answer}."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.spatial import distance
from sentence_transformers import util

from helpers.exercises import lesson_05 as five

Encode = Callable[[list[str]], Any]
Form = Callable[[str, str, str], str]


def with_form(form: Form, *, documents_too: bool = False) -> Callable[..., Any]:
    """An answer that writes a query as `form(task, query, space)`; documents stay bare unless asked otherwise."""

    def answer(encode: Encode, queries: list[str], documents: list[str], task: str, family: str) -> Any:
        space = " " if family == "gte-Qwen2" else ""
        written = [form(task, text, space) for text in documents] if documents_too else documents
        return encode([form(task, query, space) for query in queries]), encode(written)

    return answer


def right_form(task: str, query: str, space: str) -> str:
    return f"Instruct: {task}\nQuery:{space}{query}"


def one_by_one(encode: Encode, queries: list[str], documents: list[str], task: str, family: str) -> Any:
    head = "\n".join([f"Instruct: {task}", "Query: "])
    head = head if family == "gte-Qwen2" else head.rstrip(" ")
    rows = [
        torch.tensor(np.vstack([encode([text]) for text in side])) for side in ([head + q for q in queries], documents)
    ]
    return [row.float() for row in rows]


def square(mask: torch.Tensor) -> torch.Tensor:
    return torch.ones(len(mask), mask.shape[1], mask.shape[1], dtype=torch.bool)


def by_loops(mask: torch.Tensor, causal: bool) -> list[list[list[bool]]]:
    places = range(mask.shape[1])
    return [[[bool(row[j]) and (j <= i or not causal) for j in places] for i in places] for row in mask]


def by_numpy(mask: torch.Tensor, causal: bool) -> Any:
    n = mask.shape[1]
    ahead = np.triu(np.ones((n, n)), 1) if causal else np.zeros((n, n))
    return (mask.numpy()[:, None, :] * (1 - ahead)).astype(np.float32)


def moved(states: Any, size: int, *, place: int = -1, length: int = 10) -> torch.Tensor:
    """How far each state moves when the token at `place` changes."""
    ids = torch.arange(length) % size
    other = ids.clone()
    other[place] = (other[place] + 17) % size
    moves: torch.Tensor = (states(ids[None]) - states(other[None])).abs()[0].amax(dim=1)
    return moves


def by_random_ids(states: Any, size: int) -> Any:
    draw = torch.Generator().manual_seed(3)
    ids = torch.randint(0, size, (4, 15), generator=draw)
    other = ids.clone()
    other[:, -1] = (ids[:, -1] + 1) % size
    return np.bool_(np.allclose(states(ids)[:, :-1], states(other)[:, :-1], rtol=0, atol=1e-4))


MISTAKES: dict[str, dict[str, Any]] = {
    "05.1": {
        "of shape (1, 1)": util.cos_sim,
        "cosine distance": lambda a, b: float(distance.cosine(a, b)),
        "Euclidean distance": lambda a, b: float(distance.euclidean(a, b)),
        "the sign is lost": lambda a, b: abs(util.cos_sim(a, b).item()),
        "returns the text": lambda a, b: f"{util.cos_sim(a, b).item():.4f}",
    },
    "05.2": {
        "before the documents too": with_form(right_form, documents_too=True),
        "one space too many": with_form(lambda task, query, space: f"Instruct: {task}\nQuery: {query}"),
        "space after 'Query:' is missing": with_form(lambda task, query, space: f"Instruct: {task}\nQuery:{query}"),
        "placeholder {task} was left in": with_form(lambda task, query, space: right_form("{task}", query, space)),
        "line break is a space": with_form(lambda task, query, space: f"Instruct: {task} Query:{space}{query}"),
        "a backslash and an n": with_form(lambda task, query, space: f"Instruct: {task}\\nQuery:{space}{query}"),
        "behind the query": with_form(lambda task, query, space: query + right_form(task, "", space)),
        "the queries before the documents": lambda *case: with_form(right_form)(*case)[::-1],
    },
    "05.3": {
        "padding can be looked at": lambda m, c: (square(m).tril() if c else square(m)) & m.bool().unsqueeze(2),
        "True and False are swapped": lambda m, c: 1 - by_numpy(m, c),
        "the future is visible": lambda m, c: by_loops(m, False),
        "causal although causal=False": lambda m, c: by_loops(m, True),
        "an additive mask": lambda m, c: np.where(by_numpy(m, c), 0.0, -np.inf),
        "(texts, looking, looked at)": lambda m, c: by_numpy(m, c)[0],
    },
    "05.4": {
        "the opposite": lambda h, v: not by_random_ids(h, v),
        "own state always moves": lambda h, v: bool((moved(h, v) < 1e-4).all()),
        "look ahead": lambda h, v: bool((moved(h, v, place=-1)[:0] < 1e-4).all()),
        "a later state feels an earlier token": lambda h, v: bool((moved(h, v, place=0)[1:] < 1e-4).all()),
        "differ by rounding": lambda h, v: bool((moved(h, v)[:-1] == 0).all()),
        "swallows a faint influence": lambda h, v: bool((moved(h, v)[:-1] < 5e-2).all()),
        "not the first alone": lambda h, v: bool(moved(h, v)[0] < 1e-4),
        "return True or False": lambda h, v: moved(h, v)[:-1].max(),
    },
}

RIGHT: dict[str, list[Any]] = {
    "05.1": [
        five.similarity_score,
        lambda a, b: util.cos_sim(a, b).item(),
        lambda a, b: np.float32(util.pairwise_cos_sim(a[None], b[None])[0]),
    ],
    "05.2": [five.instructed, with_form(right_form), one_by_one],
    "05.3": [five.visible, by_loops, by_numpy, lambda m, c: five.visible(m, c).unsqueeze(1)],
    "05.4": [five.is_causal, lambda h, v: bool((moved(h, v)[:-1] < 1e-4).all()), by_random_ids],
}
