"""Answers to exercise 11. `MISTAKES` maps a task to {part of the sentence it must get: answer}."""

import base64
import itertools
import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from helpers.exercises import lesson_11 as eleven

Encode = Callable[[list[str]], Any]
Places = list[tuple[int, int]]


def by_room(tokens: int, queued: int, limit: int, tokens_per_s: float) -> list[Any]:
    room = limit - queued
    if tokens <= min(room, limit):
        return [np.int64(200), None]
    return [413, None] if tokens > limit else [429, np.int64(-((room - tokens) // tokens_per_s))]


def never_too_large(tokens: int, queued: int, limit: int, tokens_per_s: float) -> Any:
    if queued + tokens <= limit:
        return 200, None
    return 429, math.ceil((queued + tokens - limit) / tokens_per_s)


def places(requests: list[list[str]]) -> Places:
    return [(r, t) for r, texts in enumerate(requests) for t in range(len(texts))]


def in_batches(
    encode: Encode, requests: list[list[str]], budget: int, *, sort: bool = True, padded: bool = True
) -> dict[tuple[int, int], Any]:
    """The vector of each place, from batches filled up to a budget, longest first."""
    length = {(r, t): len(requests[r][t].split()) for r, t in places(requests)}
    order = sorted(length, key=lambda place: -length[place]) if sort else list(length)
    batches: list[Places] = [[]]
    for place in order:
        sizes = [length[p] for p in [*batches[-1], place]]
        cost = len(sizes) * max(sizes) if padded else sum(sizes)
        if batches[-1] and cost > budget:
            batches.append([])
        batches[-1].append(place)
    return {
        place: vector
        for batch in batches
        for place, vector in zip(batch, encode([requests[r][t] for r, t in batch]), strict=True)
    }


def gathered(requests: list[list[str]], vectors: dict[tuple[int, int], Any]) -> list[Any]:
    return [[np.asarray(vectors[r, t]) for t in range(len(texts))] for r, texts in enumerate(requests)]


def longest_first(encode: Encode, requests: list[list[str]], budget: int) -> Any:
    return tuple(gathered(requests, in_batches(encode, requests, budget)))


def not_scattered(encode: Encode, requests: list[list[str]], budget: int) -> Any:
    rows = iter(in_batches(encode, requests, budget).values())
    return [np.stack([next(rows) for _ in texts]) for texts in requests]


def sorted_inside(encode: Encode, requests: list[list[str]], budget: int) -> Any:
    mine = [sorted(texts, key=lambda text: len(text.split())) for texts in requests]
    return gathered(mine, in_batches(encode, mine, budget))


def arrival_order(encode: Encode, requests: list[list[str]], budget: int) -> Any:
    return gathered(requests, in_batches(encode, requests, budget, sort=False))


def without_padding(encode: Encode, requests: list[list[str]], budget: int) -> Any:
    return gathered(requests, in_batches(encode, requests, budget, sort=False, padded=False))


def one_batch(encode: Encode, requests: list[list[str]], budget: int) -> Any:
    rows = iter(encode([text for texts in requests for text in texts]))
    return [np.stack([next(rows) for _ in texts]) for texts in requests]


def one_by_one(encode: Encode, requests: list[list[str]], budget: int) -> Any:
    return [np.concatenate([encode([text]) for text in texts]) for texts in requests]


def planned(plan: Callable[[list[int], int], list[int]]) -> Callable[..., Any]:
    """An answer that sorts, then takes as many texts a call as the plan says of the lengths and the budget."""

    def serve(encode: Encode, requests: list[list[str]], budget: int) -> Any:
        length = {(r, t): len(requests[r][t].split()) for r, t in places(requests)}
        order = iter(sorted(length, key=lambda place: length[place]))
        vectors: dict[tuple[int, int], Any] = {}
        for size in plan(sorted(length.values()), budget):
            batch = list(itertools.islice(order, size))
            vectors.update(zip(batch, encode([requests[r][t] for r, t in batch]), strict=True))
        return gathered(requests, vectors)

    return serve


def cheapest(lengths: list[int], budget: int) -> list[int]:
    """The plan of least cost, by dynamic programming."""
    best: list[tuple[int, list[int]]] = [(0, [])]
    for end in range(1, len(lengths) + 1):
        longest = lengths[end - 1]
        most = max(1, budget // longest)
        options = range(max(0, end - most), end)
        best.append(min((best[i][0] + longest * (end - i) + 20, [*best[i][1], end - i]) for i in options))
    return best[-1][1]


def equal_lengths(lengths: list[int], budget: int) -> list[int]:
    """Calls without any padding: texts of one length each."""
    sizes = []
    for length, group in itertools.groupby(lengths):
        many, most = len(list(group)), max(1, budget // length)
        sizes += [min(most, many - start) for start in range(0, many, most)]
    return sizes


def pairs(lengths: list[int], budget: int) -> list[int]:
    """Two texts a call: hardly any padding, and many calls."""
    sizes: list[int] = []
    while sum(sizes) < len(lengths):
        following = lengths[sum(sizes) + 1 : sum(sizes) + 2]
        sizes.append(2 if following and 2 * following[0] <= budget else 1)
    return sizes


def long_ones_dropped(encode: Encode, requests: list[list[str]], budget: int) -> Any:
    fitting = [[text for text in texts if len(text.split()) <= budget] for texts in requests]
    return gathered(fitting, in_batches(encode, fitting, budget))


def twice(encode: Encode, requests: list[list[str]], budget: int) -> Any:
    for texts in requests[:1]:
        encode(texts[:1])
    return longest_first(encode, requests, budget)


def by_struct(vectors: Any, tokens: list[int], model: str, encoding_format: str) -> dict[str, Any]:
    data = []
    for index, row in enumerate(vectors):
        numbers = [float(x) for x in row]
        packed = base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode("ascii")
        entry = packed if encoding_format == "base64" else numbers
        data.append({"embedding": entry, "index": index, "object": "embedding"})
    total = int(np.sum(tokens))
    usage = {"prompt_tokens": total, "total_tokens": total}
    return {"data": data, "usage": usage, "model": model, "object": "list"}


def with_bytes(code: Callable[[Any], Any]) -> Callable[..., Any]:
    """The right body, with the vectors put into base64 in another way."""

    def answer(vectors: Any, tokens: list[int], model: str, encoding_format: str) -> Any:
        body = by_struct(vectors, tokens, model, encoding_format)
        if encoding_format == "base64":
            for entry, row in zip(body["data"], vectors, strict=True):
                entry["embedding"] = code(row)
        return body

    return answer


RIGHT: dict[str, list[Any]] = {
    "11.1": [eleven.admit, by_room],
    "11.2": [eleven.serve, longest_first, planned(cheapest), planned(equal_lengths)],
    "11.3": [eleven.answer, by_struct],
}

MISTAKES: dict[str, dict[str, Any]] = {
    "11.1": {
        "never fits: a 413": never_too_large,
        "return two things": lambda *case: by_room(*case)[0],
        "it is True": lambda *case: (by_room(*case)[0], True),
        "not made of real numbers": lambda *case: ["200", None],
    },
    "11.2": {
        "get each other's vectors": not_scattered,
        "in another order than its texts": sorted_inside,
        "padded to long neighbours": arrival_order,
        "count longest x texts": without_padding,
        "everything goes in one batch": one_batch,
        "goes through the encoder alone": one_by_one,
        "calls where": planned(pairs),
        "none may be lost": long_ones_dropped,
        "computed more than once": twice,
    },
    "11.3": {
        "that is float64": with_bytes(lambda row: base64.b64encode(row.astype(float).tobytes()).decode()),
        "holds the printed numbers": with_bytes(lambda row: base64.b64encode(str(row.tolist()).encode()).decode()),
        "b64encode gives bytes": with_bytes(base64.b64encode),
        "return a dict": lambda *case: list(by_struct(*case).values()),
        "look up object, data, model and usage by name": lambda *case: by_struct(*case) | {"object": "embeddings"},
        "data is a list of 4 instead of a list of 5": lambda v, t, m, e: by_struct(v[1:], t, m, e),
    },
}
