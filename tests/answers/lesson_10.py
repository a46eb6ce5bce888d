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
    return ten.encode_in_budget(encode, texts, lengths, token_budget)


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
    return torch.tensor(ten.encode_in_budget(encode, texts, lengths, token_budget)).float()


def rectangles(lengths: list[int], batches: list[list[int]]) -> int:
    return sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)


def by_numpy(lengths: list[int], batches: list[list[int]]) -> Any:
    parts = [np.array(lengths)[batch] for batch in batches]
    return np.float64(sum((part.max() - part).sum() for part in parts) / rectangles(lengths, batches))


def sums(token_embeddings: Any, lengths: list[int]) -> Any:
    return ten.packed_mean(token_embeddings, lengths) * np.array(lengths)[:, None]


def by_split(token_embeddings: Any, lengths: list[int]) -> Any:
    return torch.stack([part.mean(0) for part in torch.tensor(token_embeddings).split(lengths)])


def ends(lengths: list[int]) -> Any:
    return np.cumsum(lengths)


def by_numbers(names: list[str], rows: int, chunk: int) -> list[list[int]]:
    done = {int(found[1]) for name in names if (found := re.fullmatch(r"part-(\d+)\.parquet", name))}
    return [[a, min(a + chunk, rows)] for a in range(0, rows, chunk) if a // chunk not in done]


def unfinished_too(names: list[str], rows: int, chunk: int) -> Any:
    return ten.still_to_do([name.removeprefix(".").removesuffix(".tmp") for name in names], rows, chunk)


def counted(names: list[str], rows: int, chunk: int) -> Any:
    start = sum(name.startswith("part-") for name in names)
    return [(a, min(a + chunk, rows)) for a in range(start * chunk, rows, chunk)]


def after_the_last(names: list[str], rows: int, chunk: int) -> Any:
    last = max(int(name[5:10]) for name in names if name.startswith("part-"))
    return [(a, min(a + chunk, rows)) for a in range((last + 1) * chunk, rows, chunk)]


def from_the_gap(names: list[str], rows: int, chunk: int) -> Any:
    first = min((a for a, _ in ten.still_to_do(names, rows, chunk)), default=rows)
    return [(a, min(a + chunk, rows)) for a in range(first, rows, chunk)]


def missing_of(names: list[str], parts: int, rows: int, chunk: int) -> Any:
    wanted = [k for k in range(parts) if f"part-{k:05}.parquet" not in names]
    return [(k * chunk, min((k + 1) * chunk, rows)) for k in wanted]


def already_there(names: list[str], rows: int, chunk: int) -> Any:
    missing = ten.still_to_do(names, rows, chunk)
    return [one for one in ten.still_to_do([], rows, chunk) if one not in missing]


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
    "10.2": {
        "the share of real tokens": lambda n, b: 1 - ten.padding_share(n, b),
        "padded to the longest of all": lambda n, b: 1 - sum(n) / (len(n) * max(n)),
        "the mean of the batches' shares": lambda n, b: float(np.mean([ten.padding_share(n, [one]) for one in b])),
        "divided by the real tokens": lambda n, b: rectangles(n, b) / sum(n) - 1,
        "the number of padding tokens": lambda n, b: rectangles(n, b) - sum(n),
    },
    "10.3": {
        "the sum of each text's token embeddings": sums,
        "as if padding counted": lambda s, n: sums(s, n) / max(n),
        "each text's first token embedding": lambda s, n: s[ends(n) - np.array(n)],
        "each text's last token embedding": lambda s, n: s[ends(n) - 1],
        "the mean of all texts together": lambda s, n: np.tile(s.mean(axis=0), (len(n), 1)),
        "sums from the first text on": lambda s, n: np.cumsum(s, axis=0)[ends(n) - 1] / np.array(n)[:, None],
    },
    "10.4": {
        "taken for a whole part": unfinished_too,
        "parts are counted": counted,
        "starts after the last part": after_the_last,
        "keep the parts that are there": from_the_gap,
        "runs beyond the rows": lambda n, r, c: [(a, a + c) for a, _ in ten.still_to_do(n, r, c)],
        "which has fewer rows, is left out": lambda n, r, c: missing_of(n, r // c, r, c),
        "an empty range stands at the end": lambda n, r, c: missing_of(n, r // c + 1, r, c),
        "is missing": lambda n, r, c: ten.still_to_do(n, r, c)[:2] + ten.still_to_do(n, r, c)[3:],
        "is too much": lambda n, r, c: [*ten.still_to_do(n, r, c), (0, c)],
        "one stands there twice": lambda n, r, c: ten.still_to_do(n, r, c)[::-1],
        "the last row itself": lambda n, r, c: [(a, b - 1) for a, b in ten.still_to_do(n, r, c)],
        "are there already": already_there,
    },
}

RIGHT: dict[str, list[Any]] = {
    "10.1": [ten.encode_in_budget, planned(full), cheapest, to_torch],
    "10.2": [ten.padding_share, by_numpy],
    "10.3": [ten.packed_mean, by_split],
    "10.4": [ten.still_to_do, by_numbers],
}
