"""Answers to exercise 10. `MISTAKES` maps a task to {part of the sentence it must get: answer}."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from helpers.exercises import lesson_10 as ten

Encode = Callable[[list[str]], Any]


def planned(
    close: Callable[[list[int], int], bool],
    *,
    key: Callable[[int], int] = int,
    restore: bool = True,
    skip: bool = False,
) -> Callable[..., Any]:
    """An answer that sorts by `key` of the length and opens a batch when `close(lengths in it, budget)` says so."""

    def answer(encode: Encode, texts: list[str], lengths: list[int], token_budget: int) -> Any:
        batches: list[list[int]] = []
        for i in sorted(range(len(texts)), key=lambda i: key(lengths[i])):
            if skip and lengths[i] > token_budget:
                continue
            if not batches or close([lengths[j] for j in [*batches[-1], i]], token_budget):
                batches.append([])
            batches[-1].append(i)
        rows = np.concatenate([encode([texts[i] for i in batch]) for batch in batches])
        vectors = np.zeros((len(texts), rows.shape[1]))
        vectors[[i for batch in batches for i in batch]] = rows
        return vectors if restore else rows

    return answer


def full(lengths: list[int], budget: int) -> bool:
    return len(lengths) * max(lengths) > budget


def twice(encode: Encode, texts: list[str], lengths: list[int], token_budget: int) -> Any:
    encode(texts)
    return planned(full)(encode, texts, lengths, token_budget)


def cheapest(encode: Encode, texts: list[str], lengths: list[int], token_budget: int) -> Any:
    """The fewest padded tokens plus a cost for each call, by dynamic programming."""
    order = sorted(range(len(texts)), key=lambda i: lengths[i])
    best: list[tuple[float, list[list[int]]]] = [(0, [])]
    for stop in range(1, len(order) + 1):
        ways = []
        for start in range(stop):
            size = (stop - start) * lengths[order[stop - 1]]
            if size <= token_budget or stop - start == 1:
                ways.append((best[start][0] + size + token_budget / 4, [*best[start][1], order[start:stop]]))
        best.append(min(ways, key=lambda way: way[0]))
    batches = best[-1][1]
    vectors = np.concatenate([encode([texts[i] for i in batch]) for batch in batches])
    return vectors[np.argsort([i for batch in batches for i in batch])]


def to_torch(encode: Encode, texts: list[str], lengths: list[int], token_budget: int) -> Any:
    return torch.tensor(planned(full)(encode, texts, lengths, token_budget)).float()


def rectangles(lengths: list[int], batches: list[list[int]]) -> int:
    return sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)


def by_numpy(lengths: list[int], batches: list[list[int]]) -> Any:
    parts = [np.array(lengths)[batch] for batch in batches]
    return np.float64(sum((part.max() - part).sum() for part in parts) / rectangles(lengths, batches))


def by_split(token_embeddings: Any, lengths: list[int]) -> Any:
    return torch.stack([part.mean(0) for part in torch.tensor(token_embeddings).split(lengths)])


def by_numbers(names: list[str], rows: int, chunk: int) -> list[list[int]]:
    done = {int(match[1]) for name in names if (match := re.fullmatch(r"part-(\d+)\.parquet", name))}
    return [[a, min(a + chunk, rows)] for a in range(0, rows, chunk) if a // chunk not in done]


MISTAKES: dict[str, dict[str, Any]] = {
    "10.1": {
        "stand in the order of encoding": planned(full, restore=False),
        "counts its tokens without padding": planned(lambda lengths, budget: sum(lengths) > budget),
        "more than the budget allows": planned(lambda lengths, budget: len(lengths) > 32),
        "encoded on its own": planned(lambda lengths, budget: True),
        "short and long texts share batches": planned(full, key=lambda length: 0),
        "never encoded": planned(full, skip=True),
        "each goes in once": twice,
        "closed too soon": planned(lambda lengths, budget: len(lengths) * max(lengths) >= budget),
        "batches are too small": planned(lambda lengths, budget: len(lengths) > 2 or full(lengths, budget)),
    },
    "10.2": {"divided by the real tokens": lambda n, b: rectangles(n, b) / sum(n) - 1},
    "10.3": {"a row for each text": lambda s, n: by_split(s, n)[1:]},
    "10.4": {
        "parts are counted": lambda names, rows, chunk: [
            (start, min(start + chunk, rows))
            for start in range(chunk * sum(name.startswith("part-") for name in names), rows, chunk)
        ],
        "is missing": lambda *case: by_numbers(*case)[:2] + by_numbers(*case)[3:],
        "(0, 78) doesn't belong there": lambda *case: [*by_numbers(*case), (0, case[2])],
        "[(": lambda *case: by_numbers(*case)[::-1],
    },
}

RIGHT: dict[str, list[Any]] = {
    "10.1": [ten.encode_in_budget, planned(full), cheapest, to_torch],
    "10.2": [ten.padding_share, by_numpy],
    "10.3": [ten.packed_mean, by_split],
    "10.4": [ten.still_to_do, by_numbers],
}
