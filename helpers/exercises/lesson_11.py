"""Exercise 11: an admission decision, batches by token budget, and an answer in OpenAI's shape."""

import base64
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helpers.checks.judges import ByBehaviour, ByReference, InTurn, Json, Number, Part
from helpers.checks.tasks import Case, Task

Floats = NDArray[np.float32]
Encode = Callable[[list[str]], Floats]
CALL = 20  # what a call of the encoder costs by itself, in tokens


# 11.1


def admit(
    tokens: int,
    queued: int,
    limit: int,
    tokens_per_s: float,
    *,
    too_large: Callable[[int, int], bool] = lambda tokens, limit: tokens > limit,
    too_early: Callable[[int, int, int], bool] = lambda tokens, queued, limit: queued + tokens > limit,
    code: int = 429,
    seconds: Callable[[int, int, float], float | None] = lambda excess, total, rate: math.ceil(excess / rate),
    otherwise: int | None = None,
) -> tuple[int, float | None]:
    """Reference: the status of a request, and the seconds after which to try again."""
    if too_large(tokens, limit):
        return 413, otherwise
    if not too_early(tokens, queued, limit):
        return 200, otherwise
    return code, seconds(queued + tokens - limit, queued + tokens, tokens_per_s)


def _admit_cases(seed: int) -> list[Case]:
    """Requests of each sort, in an order that the seed draws, and some that wait for seconds or minutes."""
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for _ in range(3):
        limit, rate = int(draw.integers(4_000, 9_000)), int(draw.integers(90, 900)) + 0.5
        tokens = int(draw.integers(300, 900))
        cases += [
            (tokens, limit // 3, limit, rate),  # room
            (tokens, limit - tokens, limit, rate),  # fits exactly
            (tokens, limit - tokens + 1, limit, rate),  # one token too many
            (limit + int(draw.integers(1, 900)), 0, limit, rate),  # never fits
            (limit, 0, limit, rate),  # fills the queue exactly
            (limit, limit // 2, limit, rate),  # would fill an empty one exactly
            (int(2 * rate) + 100, limit - 100, limit, rate),  # has to wait for exactly two seconds
        ]
        waiting = zip(draw.integers(limit // 2, limit, 4), draw.integers(limit // 2, limit, 4), strict=True)
        cases += [(int(tokens), int(queued), limit, rate) for tokens, queued in waiting]
    return [cases[i] for i in draw.permutation(len(cases))]


def _request(tokens: int, queued: int, limit: int, tokens_per_s: float) -> str:
    return f" for {tokens} tokens, {queued} queued, a limit of {limit} and {tokens_per_s} a second"


PAIR = "return two things, the status and the seconds or None"
ADMIT = InTurn(
    ByReference(
        admit,
        Part(0, "the status", PAIR, Number(show="g")),
        "Compare the request with the limit, then the queue and the request together with it.",
        about=_request,
        mistakes={
            "a request larger than the whole queue never fits: a 413 says so, once and for all": {
                "too_large": lambda tokens, limit: False
            },
            "a request as large as the queue still fits: 413 is for more than the limit": {
                "too_large": lambda tokens, limit: tokens >= limit
            },
            "it would fit into an empty queue, so it is not too large, only too early": {"code": 413},
            "it fits exactly: the limit itself is allowed": {"too_early": lambda t, q, limit: q + t >= limit},
            "the request's own tokens belong in the sum: queued + tokens is over the limit": {
                "too_early": lambda tokens, queued, limit: queued > limit
            },
            "the code for 'later, please' is 429": {"code": 503},
        },
        traps={"there is room for it": lambda tokens, queued, limit, rate: queued + tokens <= limit},
    ),
    ByReference(
        admit,
        Part(1, "Retry-After", PAIR, Number("return whole seconds", show="g", optional=True)),
        "Divide the tokens that are too many by the tokens a second, and round up.",
        about=_request,
        mistakes={
            "only a 429 is worth a second try": {"otherwise": 0},
            "a 429 without Retry-After leaves the client to guess; return the seconds": {"seconds": lambda *_: None},
            "the header holds whole seconds, so round up to an int": {"seconds": lambda e, t, r: e / r},
            "rounded down, the client comes back before there is room": {"seconds": lambda e, t, r: e // r},
            "a wait in whole seconds needs no second more, and math.ceil leaves it": {
                "seconds": lambda e, t, r: e // r + 1
            },
            "that is when the queue is empty, and it need only have shrunk by the excess": {
                "seconds": lambda e, t, r: math.ceil(t / r)
            },
            "those are milliseconds, and the header holds seconds": {
                "seconds": lambda e, t, r: math.ceil(1000 * e / r)
            },
        },
        traps={"only a 429 is worth a second try": lambda *case: admit(*case)[1] is None},
    ),
)


# 11.2


def serve(encode: Encode, requests: list[list[str]], budget: int) -> list[Floats]:
    """Reference: texts of all requests sorted by length, cut into batches, scattered back."""
    places = [(r, t) for r, texts in enumerate(requests) for t in range(len(texts))]
    places.sort(key=lambda place: words(requests[place[0]][place[1]]))
    vectors: dict[tuple[int, int], Floats] = {}
    start = 0
    for batch in filled([words(requests[r][t]) for r, t in places], budget):
        some = places[start : start + len(batch)]
        vectors.update(zip(some, encode([requests[r][t] for r, t in some]), strict=True))
        start += len(batch)
    return [np.stack([vectors[r, t] for t in range(len(texts))]) for r, texts in enumerate(requests)]


def words(text: str) -> int:
    """The length of a text of the exercise: its words."""
    return len(text.split())


def filled(lengths: list[int], budget: int) -> list[list[int]]:
    """Batches filled in the order given, each up to the budget."""
    batches: list[list[int]] = []
    for length in lengths:
        if batches and (len(batches[-1]) + 1) * max(*batches[-1], length) <= budget:
            batches[-1].append(length)
        else:
            batches.append([length])
    return batches


def toy(texts: list[str]) -> Floats:
    """A vector that knows its text: length, first and last number in it, scaled."""
    rows = [[words(t), int(t.split()[0]), int(t.split()[-1]), len(t)] for t in texts]
    scaled: Floats = (np.array(rows).reshape(len(texts), 4) / 100).astype(np.float32)
    return scaled


def _serve_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)

    def text(length: int) -> str:
        return " ".join(map(str, draw.integers(10, 99, size=length)))

    cases: list[Case] = []
    for budget in (200, 400):
        sizes = draw.integers(3, 9, size=14)
        requests = [[text(n) for n in draw.choice([3, 4, 5, 6, 7, 8, 40, 44], size=size)] for size in sizes]
        requests[2].insert(1, text(budget + 30))
        cases.append((toy, requests, budget))
    return cases


def _probe_serve(answer: Any, case: Case) -> Any:
    """What the answer returns, and the lengths of the texts in each of its calls of the encoder."""
    encode, requests, budget = case
    calls: list[list[int]] = []

    def recorded(texts: list[str]) -> Floats:
        calls.append([words(text) for text in texts])
        vectors: Floats = encode(list(texts))
        return vectors

    value = answer(recorded, requests, budget)
    return None if value is None else (value, calls)


def _padded(*calls: list[int]) -> int:
    return sum(len(call) * max(call) for call in calls if call)


def _cost(calls: list[list[int]]) -> int:
    """What calls cost, in tokens: those that are computed, and the fixed cost of each call."""
    return _padded(*calls) + CALL * len(calls)


def _serve_faults(case: Case, value: tuple[Any, list[list[int]]]) -> Iterator[str]:
    _, requests, budget = case
    yield from _wrong_vectors(value[0], requests)
    yield from _over_budget(value[1], sum(map(len, requests)), budget)
    yield from _wasteful(value[1], requests, budget)


def _wrong_vectors(vectors: Any, requests: list[list[str]]) -> Iterator[str]:
    if not isinstance(vectors, list | tuple) or len(vectors) != len(requests):
        size = f" of {len(vectors)}" if hasattr(vectors, "__len__") else ""
        kind = type(vectors).__name__
        yield f"it returns a {kind}{size}; return one array of vectors for each of the {len(requests)} requests."
    got, right = [np.asarray(rows, dtype=float) for rows in vectors], [toy(texts) for texts in requests]
    for i, (mine, due) in enumerate(zip(got, right, strict=True)):
        if mine.shape != due.shape:
            yield f"request {i} gets vectors of shape {mine.shape} for {len(due)} texts; none may be lost."
    if all(map(_close, got, right)):
        return
    if all(_close(np.sort(mine, axis=0), np.sort(due, axis=0)) for mine, due in zip(got, right, strict=True)):
        yield "each request gets its own vectors in another order than its texts; scatter them back."
    if _close(*(np.sort(np.concatenate(side), axis=0) for side in (got, right))):
        yield "requests get each other's vectors: sorting moved the texts, so remember where each one came from."
    yield "some vectors aren't those of their text; return what encode gave, unchanged."


def _close(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return np.allclose(one, other, atol=1e-5)


def _over_budget(calls: list[list[int]], texts: int, budget: int) -> Iterator[str]:
    if (encoded := sum(map(len, calls))) > texts:
        yield f"{encoded} texts were encoded for {texts}: some were computed more than once."
    over = [call for call in calls if len(call) > 1 and _padded(call) > budget]
    if not over:
        return
    if len(calls) == 1:
        yield f"everything goes in one batch, which costs {_padded(*calls)} padded tokens; the budget is {budget}."
    worst = max(over, key=_padded)
    batch = f"a batch of {len(worst)} texts, the longest of {max(worst)} tokens, costs {_padded(worst)}"
    if all(sum(call) <= budget for call in over):
        yield f"{batch} padded, over the budget of {budget}: padding costs too, so count longest x texts."
    yield f"{batch}, over the budget of {budget}."


def _wasteful(calls: list[list[int]], requests: list[list[str]], budget: int) -> Iterator[str]:
    if all(len(call) == 1 for call in calls):
        yield f"each text goes through the encoder alone, and each call costs {CALL} tokens; fill up the budget."
    if [len(call) for call in calls] == [len(request) for request in requests]:
        yield "there is one batch a request; texts of different requests may share one."
    lengths = sorted(words(text) for request in requests for text in request)
    plans = [filled(order, budget) for order in (lengths, lengths[::-1])]
    enough, cost = max(map(_cost, plans)), _cost(calls)
    if cost <= 1.1 * enough:
        return
    costs = f"it costs {cost} tokens, {CALL} a call among them, where {enough} would do:"
    if _padded(*calls) > 1.1 * max(_padded(*plan) for plan in plans):
        yield f"{costs} short texts are padded to long neighbours. Sort by length first."
    yield f"{costs} {len(calls)} calls where {len(plans[0])} suffice; fill each up to the budget."


# 11.3


def _base64(dtype: str = "<f4") -> Callable[[Floats], str]:
    """What writes a vector's numbers of a type in base64."""
    return lambda row: base64.b64encode(row.astype(dtype).tobytes()).decode()


def answer(
    vectors: Floats,
    tokens: list[int],
    model: str,
    encoding_format: str,
    *,
    packed: Callable[[Floats], Any] = _base64(),  # noqa: B008, a function
    plain: Callable[[Floats], Any] = lambda row: row.tolist(),
    prompt_tokens: Callable[[list[int]], int] = sum,
    total_tokens: Callable[[list[int]], int] = sum,
    first: int = 0,
) -> dict[str, Any]:
    """Reference: the body that OpenAI's API gives back for embeddings."""
    rows = map(packed if encoding_format == "base64" else plain, np.asarray(vectors, dtype="<f4"))
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(rows, start=first)],
        "model": model,
        "usage": {"prompt_tokens": prompt_tokens(tokens), "total_tokens": total_tokens(tokens)},
    }


def _answer_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for encoding_format in ("base64", "float"):
        vectors = draw.normal(size=(5, 8)).astype(np.float32)
        cases.append((vectors, [int(n) for n in draw.integers(3, 200, size=5)], "all-MiniLM-L6-v2", encoding_format))
    return cases


ANSWER = InTurn(
    ByReference(
        answer,
        Json("usage"),
        "Both numbers are the sum over the texts; without them nobody can bill or plan.",
        mistakes={
            "usage counts the texts, and it should count tokens": {"prompt_tokens": len, "total_tokens": len},
            "an embedding generates nothing, so total_tokens equals prompt_tokens": {"total_tokens": lambda tokens: 0},
            "json can't write NumPy's own numbers; int(...) and float(...) make Python's": {
                "prompt_tokens": np.sum,
                "total_tokens": np.sum,
            },
        },
    ),
    ByReference(
        answer,
        Json("data"),
        "Each text has an entry of object, index and embedding: the numbers of its vector by .tolist(), or its bytes "
        "as little-endian float32 by base64.b64encode, decoded to str.",
        mistakes={
            "that is float64, and clients read float32, four bytes each": {"packed": _base64("<f8")},
            "that is float16, and clients read float32, four bytes each": {"packed": _base64("<f2")},
            "the bytes are big-endian; clients read little-endian, '<f4' in NumPy": {"packed": _base64(">f4")},
            "base64 holds the printed numbers; it should hold the four bytes of each float32": {
                "packed": lambda row: base64.b64encode(json.dumps(row.tolist()).encode()).decode()
            },
            "b64encode gives bytes, which json can't write; decode them to str": {
                "packed": lambda row: base64.b64encode(row.tobytes())
            },
            "it keeps the b'' of Python's bytes; .decode() makes them text, str() doesn't": {
                "packed": lambda row: str(base64.b64encode(row.tobytes()))
            },
            "the bytes are written in hex, which isn't base64; use base64.b64encode": {
                "packed": lambda row: row.tobytes().hex()
            },
            "an embedding isn't base64 as clients read it, without line breaks; use base64.b64encode": {
                "packed": lambda row: base64.encodebytes(row.tobytes()).decode()
            },
            "encoding_format is base64, and it returns a list; encode the vector's bytes": {
                "packed": np.ndarray.tolist
            },
            "encoding_format is float, and it returns text; base64 only where it was asked for": {"plain": _base64()},
            "an embedding is an array, which json can't write; use .tolist()": {"plain": np.asarray},
            "an embedding's numbers are NumPy's own, which json can't write; use .tolist()": {"plain": list},
            "the first entry's index isn't 0; clients sort by it, and it counts from 0": {"first": 1},
        },
    ),
    ByReference(answer, Json(), "Clients look up object, data, model and usage by name.", mistakes={}),
)


TASKS = {
    task.id: task
    for task in (
        Task("11.1", _admit_cases, ADMIT),
        Task("11.2", _serve_cases, ByBehaviour(_serve_faults), _probe_serve),
        Task("11.3", _answer_cases, ANSWER),
    )
}
