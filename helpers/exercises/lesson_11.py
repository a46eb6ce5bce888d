"""Exercise 11: an admission decision, batches by token budget, and an answer in OpenAI's shape."""

import base64
import binascii
import json
import math
import string
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helpers.checks import Task

Case = tuple[Any, ...]
Floats = NDArray[np.float32]
Encode = Callable[[list[str]], Floats]
CALL = 20  # what a call of the encoder costs by itself, in tokens


def admit(tokens: int, queued: int, limit: int, tokens_per_s: float) -> tuple[int, int | None]:
    """Reference: the status of a request, and the seconds after which to try again."""
    if tokens > limit:
        return 413, None
    excess = queued + tokens - limit
    if excess <= 0:
        return 200, None
    return 429, math.ceil(excess / tokens_per_s)


def _admit_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for _ in range(3):
        limit = int(draw.integers(4_000, 9_000))
        rate = int(draw.integers(900, 1_500)) + 0.5
        tokens = int(draw.integers(300, 900))
        cases += [
            (tokens, limit // 3, limit, rate),  # room
            (tokens, limit - tokens, limit, rate),  # fits exactly
            (tokens, limit - tokens + 1, limit, rate),  # one token too many
            (limit - 100, limit - 50, limit, rate),  # has to wait for seconds
            (limit + 1, 0, limit, rate),  # never fits
            (limit, 0, limit, rate),  # fills the queue exactly
            (limit, limit // 2, limit, rate),  # would fill an empty one exactly
            (int(2 * rate) + 100, limit - 100, limit, rate),  # has to wait for exactly two seconds
        ]
    return cases


def _judge_admit(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    for (tokens, queued, limit, rate), value in zip(cases, values, strict=True):
        if not isinstance(value, tuple | list) or len(value) != 2:
            return f"it returns {type(value).__name__}; return two things, the status and the seconds or None."
        status, wait = value
        right, seconds = admit(tokens, queued, limit, rate)
        told = f"{tokens} tokens, {queued} queued, limit {limit}: status {status}, and it should be {right}"
        if status != right:
            return f"{told}. {_wrong_status(status, right, tokens, queued, limit)}"
        if seconds is None:
            if wait is not None:
                return f"with status {status} it says to try again after {wait}; only a 429 is worth a second try."
            continue
        if problem := _wrong_wait(wait, seconds, (queued + tokens - limit, queued + tokens, rate)):
            return problem
    return None


def _wrong_status(status: Any, right: int, tokens: int, queued: int, limit: int) -> str:
    if right == 413:
        return "A request larger than the whole queue never fits: a 413 says so, once and for all."
    if status == 413:
        if tokens == limit:
            return "A request as large as the queue still fits: 413 is for more than the limit."
        return "It would fit into an empty queue, so it is not too large, only too early."
    if right == 200:
        full = queued + tokens == limit
        return "It fits exactly: the limit itself is allowed." if full else "There is room for it."
    if status == 200:
        return "The request's own tokens belong in the sum: queued + tokens is over the limit."
    return "The code for 'later, please' is 429."


def _wrong_wait(wait: Any, seconds: int, facts: tuple[int, int, float]) -> str | None:
    excess, everything, rate = facts
    if wait is None:
        return "a 429 without Retry-After leaves the client to guess; return the seconds."
    if isinstance(wait, bool | str) or float(wait) != int(wait):
        return f"Retry-After is {wait!r}; the header holds whole seconds, so round up to an int."
    if int(wait) == seconds:
        return None
    told = f"Retry-After is {wait} and it should be {seconds}:"
    mistakes = {
        "rounded down, the client comes back before there is room": math.floor(excess / rate),
        "that is when the queue is empty, and it need only have shrunk by the excess": math.ceil(everything / rate),
        "those are milliseconds, and the header holds seconds": math.ceil(1000 * excess / rate),
    }
    if excess % rate == 0:
        mistakes["a wait in whole seconds needs no second more, and math.ceil leaves it"] = seconds + 1
    for sentence, wrong in mistakes.items():
        if int(wait) == wrong:
            return f"{told} {sentence}."
    return f"{told} divide the tokens that are too many by the tokens a second, and round up."


def serve(encode: Encode, requests: list[list[str]], budget: int) -> list[Floats]:
    """Reference: texts of all requests sorted by length, cut into batches, scattered back."""
    places = [(r, t) for r, texts in enumerate(requests) for t in range(len(texts))]
    places.sort(key=lambda place: words(requests[place[0]][place[1]]))
    batches: list[list[tuple[int, int]]] = []
    for r, t in places:
        if batches and (len(batches[-1]) + 1) * words(requests[r][t]) <= budget:
            batches[-1].append((r, t))
        else:
            batches.append([(r, t)])
    found: dict[tuple[int, int], Floats] = {}
    for batch in batches:
        found.update(zip(batch, encode([requests[r][t] for r, t in batch]), strict=True))
    return [np.stack([found[r, t] for t in range(len(texts))]) for r, texts in enumerate(requests)]


def words(text: str) -> int:
    """The length of a text of the exercise: its words."""
    return len(text.split())


def toy(texts: list[str]) -> Floats:
    """A vector that knows its text: length, first and last number in it, scaled."""
    rows = [[words(t), int(t.split()[0]), int(t.split()[-1]), len(t)] for t in texts]
    scaled: Floats = (np.array(rows).reshape(len(texts), 4) / 100).astype(np.float32)
    return scaled


def _serve_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for budget in (200, 400):
        requests = []
        for _ in range(14):
            lengths = draw.choice([3, 4, 5, 6, 7, 8, 40, 44], size=int(draw.integers(3, 9)))
            requests.append([" ".join(map(str, draw.integers(10, 99, size=n))) for n in lengths])
        requests[2].insert(1, " ".join(map(str, draw.integers(10, 99, size=budget + 30))))
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


def _padded(calls: list[list[int]]) -> int:
    return sum(len(call) * max(call) for call in calls if call)


def _cost(calls: list[list[int]]) -> int:
    """What a plan costs, in tokens: those that are computed, and the fixed cost of each call."""
    return _padded(calls) + CALL * len(calls)


def _filled(lengths: list[int], budget: int) -> list[list[int]]:
    """Batches filled in the order given, each up to the budget."""
    calls: list[list[int]] = []
    for length in lengths:
        if calls and (len(calls[-1]) + 1) * max(*calls[-1], length) <= budget:
            calls[-1].append(length)
        else:
            calls.append([length])
    return calls


def _judge_serve(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    for case, (value, calls) in zip(cases, values, strict=True):
        if problem := _wrong_vectors(case, value) or _wrong_calls(case, calls):
            return problem
    return None


def _wrong_vectors(case: Case, value: Any) -> str | None:
    _, requests, _ = case
    if not isinstance(value, list | tuple) or len(value) != len(requests):
        what = f"a {type(value).__name__} of {len(value)}" if hasattr(value, "__len__") else type(value).__name__
        return f"it returns {what}; return one array of vectors for each of the {len(requests)} requests."
    got = [np.asarray(vectors, dtype=float) for vectors in value]
    right = [toy(texts) for texts in requests]
    for i, (have, want) in enumerate(zip(got, right, strict=True)):
        if have.shape != want.shape:
            return f"request {i} gets vectors of shape {have.shape} for {len(want)} texts; none may be lost."
    if all(np.allclose(*both, atol=1e-5) for both in zip(got, right, strict=True)):
        return None
    have_rows, want_rows = (np.concatenate(side) for side in (got, right))
    if np.allclose(np.sort(have_rows, axis=0), np.sort(want_rows, axis=0), atol=1e-5):
        own = all(
            np.allclose(np.sort(h, axis=0), np.sort(w, axis=0), atol=1e-5) for h, w in zip(got, right, strict=True)
        )
        if own:
            return "each request gets its own vectors in another order than its texts; scatter them back."
        return "requests get each other's vectors: sorting moved the texts, so remember where each one came from."
    return "some vectors aren't those of their text; return what encode gave, unchanged."


def _wrong_calls(case: Case, calls: list[list[int]]) -> str | None:
    _, requests, budget = case
    texts = sum(map(len, requests))
    if sum(map(len, calls)) > texts:
        return f"{sum(map(len, calls))} texts were encoded for {texts}: some were computed more than once."
    over = [call for call in calls if len(call) > 1 and len(call) * max(call) > budget]
    if over:
        worst = max(over, key=lambda call: len(call) * max(call))
        told = f"a batch of {len(worst)} texts, the longest of {max(worst)} tokens, costs {len(worst) * max(worst)}"
        if len(calls) == 1:
            return f"everything goes in one batch, which costs {_padded(calls)} padded tokens; the budget is {budget}."
        if all(sum(call) <= budget for call in over):
            return f"{told} padded, over the budget of {budget}: padding costs too, so count longest x texts."
        return f"{told}, over the budget of {budget}."
    return _wasteful(requests, budget, calls)


def _wasteful(requests: list[list[str]], budget: int, calls: list[list[int]]) -> str | None:
    if all(len(call) == 1 for call in calls):
        return f"each text goes through the encoder alone, and each call costs {CALL} tokens; fill up the budget."
    lengths = sorted(words(text) for request in requests for text in request)
    reference, other = (_filled(order, budget) for order in (lengths, lengths[::-1]))
    if [len(call) for call in calls] == [len(request) for request in requests]:
        return "there is one batch a request; texts of different requests may share one."
    enough, found = max(_cost(reference), _cost(other)), _cost(calls)
    if found <= 1.1 * enough:
        return None
    told = f"it costs {found} tokens, {CALL} a call among them, where {enough} would do:"
    if _padded(calls) > 1.1 * max(_padded(reference), _padded(other)):
        return f"{told} short texts are padded to long neighbours. Sort by length first."
    return f"{told} {len(calls)} calls where {len(reference)} suffice; fill each up to the budget."


def answer(vectors: Floats, tokens: list[int], model: str, encoding_format: str) -> dict[str, Any]:
    """Reference: the body that OpenAI's API gives back for embeddings."""
    rows = np.asarray(vectors, dtype="<f4")
    coded = [base64.b64encode(r.tobytes()).decode() if encoding_format == "base64" else r.tolist() for r in rows]
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(coded)],
        "model": model,
        "usage": {"prompt_tokens": sum(tokens), "total_tokens": sum(tokens)},
    }


def _answer_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for encoding_format in ("base64", "float"):
        vectors = draw.normal(size=(5, 8)).astype(np.float32)
        cases.append((vectors, [int(n) for n in draw.integers(3, 200, size=5)], "all-MiniLM-L6-v2", encoding_format))
    return cases


def _judge_answer(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    for (vectors, tokens, model, encoding_format), value in zip(cases, values, strict=True):
        if not isinstance(value, dict):
            return f"it returns {type(value).__name__}; return a dict, which the framework turns into JSON."
        if missing := [key for key in ("object", "data", "model", "usage") if key not in value]:
            return f"the body lacks {', '.join(missing)}; clients look these up by name."
        if value["object"] != "list" or value["model"] != model:
            return f"object is {value['object']!r} and model {value['model']!r}; they should be 'list' and {model!r}."
        if problem := _wrong_usage(value["usage"], tokens) or _wrong_data(value["data"], vectors, encoding_format):
            return problem
        try:
            json.dumps(value)
        except TypeError as error:
            return f"json can't write the body: {error}. int(...) and float(...) make Python's own numbers."
    return None


def _wrong_usage(usage: Any, tokens: list[int]) -> str | None:
    if not isinstance(usage, dict) or {"prompt_tokens", "total_tokens"} - set(usage):
        return "usage holds prompt_tokens and total_tokens; without them nobody can bill or plan."
    right, got = sum(tokens), (usage["prompt_tokens"], usage["total_tokens"])
    if got == (right, right):
        return None
    if len(tokens) in got:
        return f"usage counts the {len(tokens)} texts, and it should count tokens, {right}."
    if got[0] == right:
        return f"total_tokens is {got[1]}; an embedding generates nothing, so it equals prompt_tokens, {right}."
    return f"usage is {got}, and both should be {right}, the sum over the texts."


def _wrong_data(data: Any, vectors: Floats, encoding_format: str) -> str | None:
    if not isinstance(data, list) or len(data) != len(vectors):
        return f"data should be a list of {len(vectors)} entries, one a text."
    for i, (entry, vector) in enumerate(zip(data, vectors, strict=True)):
        if not isinstance(entry, dict) or {"object", "index", "embedding"} - set(entry):
            return "an entry of data holds object, index and embedding."
        if entry["index"] != i:
            return f"the entry at place {i} has index {entry['index']!r}; clients sort by it, and it counts from 0."
        if entry["object"] != "embedding":
            return f"an entry's object is {entry['object']!r}; it should be 'embedding'."
        problem = (_wrong_base64 if encoding_format == "base64" else _wrong_floats)(entry["embedding"], vector)
        if problem:
            return problem
    return None


def _wrong_floats(got: Any, vector: Floats) -> str | None:
    if isinstance(got, str):
        return "encoding_format is float, and it returns text; base64 only where it was asked for."
    if not isinstance(got, list):
        return f"an embedding is a {type(got).__name__}, which json can't write; use .tolist()."
    if len(got) != len(vector) or not np.allclose(got, vector, atol=1e-5):
        return "an embedding's numbers aren't those of its vector."
    if not all(isinstance(number, float) for number in got):
        return f"an embedding's numbers are {type(got[0]).__name__}, NumPy's own, which json can't write."
    return None


def _wrong_base64(got: Any, vector: Floats) -> str | None:
    if isinstance(got, bytes):
        return "b64encode gives bytes, which json can't write; decode them to str."
    if not isinstance(got, str):
        return f"encoding_format is base64, and it returns {type(got).__name__}; encode the vector's bytes."
    if got.startswith(("b'", 'b"')):
        return "it keeps the b'' of Python's bytes; .decode() makes them text, str() doesn't."
    if len(got) == 8 * len(vector) and set(got) <= set(string.hexdigits):
        return "the bytes are written in hex, which isn't base64; use base64.b64encode."
    try:
        raw = base64.b64decode(got, validate=True)
    except binascii.Error as error:
        return f"an embedding isn't base64 as clients read it ({error}); use base64.b64encode."
    return _wrong_bytes(raw, vector)


def _wrong_bytes(raw: bytes, vector: Floats) -> str | None:
    if raw[:1] == b"[" and raw[-1:] == b"]":
        return "base64 holds the printed numbers; it should hold the four bytes of each float32."
    if len(raw) != 4 * len(vector):
        kind = {8: "that is float64. ", 2: "that is float16. "}.get(len(raw) // len(vector), "")
        return f"{len(raw)} bytes for {len(vector)} numbers: {kind}Clients read float32, four bytes each."
    if np.allclose(np.frombuffer(raw, dtype="<f4"), vector, atol=1e-6):
        return None
    if np.allclose(np.frombuffer(raw, dtype=">f4"), vector, atol=1e-6):
        return "the bytes are big-endian; clients read little-endian, '<f4' in NumPy."
    return "the bytes decode to other numbers than the vector's."


TASKS = {
    task.id: task
    for task in (
        Task("11.1", _admit_cases, _judge_admit),
        Task("11.2", _serve_cases, _judge_serve, _probe_serve),
        Task("11.3", _answer_cases, _judge_answer),
    )
}
