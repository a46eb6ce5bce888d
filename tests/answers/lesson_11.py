"""Answers to exercise 11. `MISTAKES` maps a task to {part of the sentence it must get: answer}."""

import base64
import itertools
import json
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


def waiting(wait: Callable[[int, int, int, float], Any]) -> Callable[..., Any]:
    """An answer with the right status and another Retry-After."""

    def admit(tokens: int, queued: int, limit: int, tokens_per_s: float) -> Any:
        status, seconds = eleven.admit(tokens, queued, limit, tokens_per_s)
        return status, seconds and wait(tokens, queued, limit, tokens_per_s)

    return admit


def own_tokens_forgotten(tokens: int, queued: int, limit: int, tokens_per_s: float) -> Any:
    status, seconds = eleven.admit(tokens, queued, limit, tokens_per_s)
    return (200, None) if status == 429 and queued <= limit else (status, seconds)


def never_too_large(tokens: int, queued: int, limit: int, tokens_per_s: float) -> Any:
    if queued + tokens <= limit:
        return 200, None
    return 429, math.ceil((queued + tokens - limit) / tokens_per_s)


def below_the_limit(tokens: int, queued: int, limit: int, tokens_per_s: float) -> Any:
    return (429, 1) if queued + tokens == limit else eleven.admit(tokens, queued, limit, tokens_per_s)


def full_is_too_large(tokens: int, queued: int, limit: int, tokens_per_s: float) -> Any:
    return (413, None) if tokens >= limit else eleven.admit(tokens, queued, limit, tokens_per_s)


def always_a_wait(tokens: int, queued: int, limit: int, tokens_per_s: float) -> Any:
    status, seconds = eleven.admit(tokens, queued, limit, tokens_per_s)
    return status, seconds or 0


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


def gathered(requests: list[list[str]], found: dict[tuple[int, int], Any]) -> list[Any]:
    return [[np.asarray(found[r, t]) for t in range(len(texts))] for r, texts in enumerate(requests)]


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
        found: dict[tuple[int, int], Any] = {}
        for size in plan(sorted(length.values()), budget):
            batch = list(itertools.islice(order, size))
            found.update(zip(batch, encode([requests[r][t] for r, t in batch]), strict=True))
        return gathered(requests, found)

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


def changed(change: Callable[[dict[str, Any], Any, list[int], str], Any]) -> Callable[..., Any]:
    """The right body with something changed in it."""

    def answer(vectors: Any, tokens: list[int], model: str, encoding_format: str) -> Any:
        body = eleven.answer(vectors, tokens, model, encoding_format)
        change(body, vectors, tokens, encoding_format)
        return body

    return answer


def coded(code: Callable[[Any], Any]) -> Callable[..., Any]:
    """The right body, with the vectors put into base64 in another way."""

    def change(body: dict[str, Any], vectors: Any, tokens: list[int], encoding_format: str) -> None:
        if encoding_format == "base64":
            for entry, row in zip(body["data"], vectors, strict=True):
                entry["embedding"] = code(row)

    return changed(change)


def text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def usage(prompt: Callable[[list[int]], int], total: Callable[[list[int]], int]) -> Callable[..., Any]:
    return changed(
        lambda body, v, tokens, e: body.update(usage={"prompt_tokens": prompt(tokens), "total_tokens": total(tokens)})
    )


RIGHT: dict[str, list[Any]] = {
    "11.1": [eleven.admit, by_room],
    "11.2": [eleven.serve, longest_first, planned(cheapest), planned(equal_lengths)],
    "11.3": [eleven.answer, by_struct],
}

MISTAKES: dict[str, dict[str, Any]] = {
    "11.1": {
        "own tokens belong in the sum": own_tokens_forgotten,
        "never fits: a 413": never_too_large,
        "It fits exactly": below_the_limit,
        "A request as large as the queue still fits": full_is_too_large,
        "only a 429 is worth a second try": always_a_wait,
        "comes back before there is room": waiting(lambda t, q, limit, rate: int((q + t - limit) / rate)),
        "a wait in whole seconds needs no second more": waiting(
            lambda t, q, limit, rate: int((q + t - limit) / rate) + 1
        ),
        "when the queue is empty": waiting(lambda t, q, limit, rate: math.ceil((q + t) / rate)),
        "those are milliseconds": waiting(lambda t, q, limit, rate: math.ceil(1000 * (q + t - limit) / rate)),
        "holds whole seconds": waiting(lambda t, q, limit, rate: (q + t - limit) / rate),
        "leaves the client to guess": waiting(lambda t, q, limit, rate: None),
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
        "that is float64": coded(lambda row: text(row.astype("<f8").tobytes())),
        "that is float16": coded(lambda row: text(row.astype("<f2").tobytes())),
        "big-endian": coded(lambda row: text(row.astype(">f4").tobytes())),
        "holds the printed numbers": coded(lambda row: text(json.dumps(row.tolist()).encode())),
        "b64encode gives bytes": coded(lambda row: base64.b64encode(row.tobytes())),
        "keeps the b'' of Python's bytes": coded(lambda row: str(base64.b64encode(row.tobytes()))),
        "hex, which isn't base64": coded(lambda row: row.tobytes().hex()),
        "isn't base64 as clients read it": coded(lambda row: base64.encodebytes(row.tobytes()).decode()),
        "encoding_format is base64, and it returns list": coded(lambda row: row.tolist()),
        "usage counts the 5 texts": usage(len, len),
        "Object of type int64": usage(np.sum, np.sum),
        "an embedding generates nothing": usage(sum, lambda tokens: 0),
        "it counts from 0": changed(lambda body, v, t, e: [d.update(index=d["index"] + 1) for d in body["data"]]),
        "use .tolist()": changed(
            lambda body, v, t, e: (
                [d.update(embedding=row) for d, row in zip(body["data"], v, strict=True)] if e == "float" else None
            )
        ),
        "NumPy's own": changed(
            lambda body, v, t, e: (
                [d.update(embedding=list(row)) for d, row in zip(body["data"], v, strict=True)]
                if e == "float"
                else None
            )
        ),
    },
}
