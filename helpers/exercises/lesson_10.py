"""Exercise 10: a token budget, the share of padding, packed pooling, and what a crash left to do."""

import operator
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helpers.checks.judges import ByBehaviour, ByReference, Listed, Number, Vectors
from helpers.checks.tasks import Case, Task

Floats = NDArray[np.float64]
Encode = Callable[[list[str]], Floats]


# 10.1


def toy_encode(texts: list[str]) -> Floats:
    """Three numbers that tell texts apart; (n, 3)."""
    seeds = [[zlib.crc32(f"{place}{text}".encode()) % 1000 for place in range(3)] for text in texts]
    return np.array(seeds, dtype=float).reshape(-1, 3)


def encode_in_budget(encode: Encode, texts: list[str], lengths: list[int], token_budget: int) -> Floats:
    """Reference: the longest first, a batch closed when its rectangle is full, vectors put in their places."""
    batches: list[list[int]] = []
    for i in sorted(range(len(texts)), key=lambda i: -lengths[i]):
        if not batches or lengths[batches[-1][0]] * (len(batches[-1]) + 1) > token_budget:
            batches.append([])
        batches[-1].append(i)
    vectors = {i: row for batch in batches for i, row in zip(batch, encode([texts[i] for i in batch]), strict=True)}
    return np.stack([vectors[i] for i in range(len(texts))])


def _budget_probe(answer: Any, case: Case) -> Any:
    """What the answer returns, and the batches it encoded."""
    encode, texts, lengths, token_budget = case
    calls: list[list[str]] = []

    def watched(batch: list[str]) -> Floats:
        calls.append([str(text) for text in batch])
        return np.asarray(encode(list(batch)))

    value = answer(watched, list(texts), list(lengths), token_budget)
    return None if value is None else (value, calls)


def _budget_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for budget in (200, 120):
        lengths = [*draw.integers(2, 12, 20).tolist(), *draw.integers(30, 60, 20).tolist(), 150, 260]
        lengths = [int(n) for n in draw.permutation(lengths)]
        cases.append((toy_encode, [f"text {i}" for i in range(len(lengths))], lengths, budget))
    exact = (toy_encode, [f"text {i}" for i in range(12)], [10] * 12, 40)  # three batches, filled to the last token
    return [*cases, exact]


def _budget_faults(case: Case, value: Any) -> Iterator[str]:
    """What is wrong with the vectors, then with the batches."""
    encode, texts, lengths, budget = case
    rows, calls = value
    encoded = [text for call in calls for text in call]
    if missing := [lengths[i] for i, text in enumerate(texts) if text not in encoded]:
        yield (
            f"{len(missing)} of {len(texts)} texts were never encoded, the longest of {max(missing)} tokens at a "
            f"budget of {budget}: a text beyond the budget makes a batch of its own."
        )
    if len(encoded) > len(texts):
        yield f"{len(encoded)} texts were encoded instead of {len(texts)}; each goes in once."
    rows, right = np.asarray(rows, dtype=float), encode(texts)
    if rows.shape != right.shape:
        yield f"the shape is {rows.shape} instead of {right.shape}, a row for each text."
    if not np.allclose(rows, right):
        if np.allclose(rows, encode(encoded)):
            yield "the rows stand in the order of encoding; put each vector back at the place of its text."
        yield f"{int((~np.isclose(rows, right).all(axis=1)).sum())} rows aren't the vector of their text."
    length = dict(zip(texts, lengths, strict=True))
    fewest = [[length[text] for text in call] for call in _budget_probe(encode_in_budget, case)[1]]
    yield from _batch_faults([[length[text] for text in call] for call in calls if call], fewest, budget)


def _batch_faults(batches: list[list[int]], fewest: list[list[int]], budget: int) -> Iterator[str]:
    """What is wrong with batches, given as their texts' lengths, beside the fewest that do."""
    widest = max(batches, key=lambda batch: (len(batch) > 1) * _rectangle(batch))
    if len(widest) > 1 and _rectangle(widest) > budget:
        size = f"{len(widest)} texts padded to {max(widest)} are {_rectangle(widest)} tokens, the budget is {budget}"
        if all(sum(batch) <= budget for batch in batches if len(batch) > 1):
            yield f"a batch counts its tokens without padding: {size}. Multiply the count by the longest."
        yield f"a batch holds more than the budget allows: {size}."
    if all(len(batch) == 1 for batch in batches):
        yield f"every text is encoded on its own, {len(batches)} calls; fill each batch up to the budget."
    computed, best = sum(map(_rectangle, batches)), sum(map(_rectangle, fewest))
    if computed > 1.2 * best:
        yield (
            f"short and long texts share batches: {computed} tokens are computed where {best} do, the texts have "
            f"{sum(map(sum, batches))}. Sort by length first."
        )
    if len(batches) > 1.6 * len(fewest):
        yield f"the batches are too small: {len(batches)} calls where {len(fewest)} do. Close one when it is full."
    alike = len({length for batch in batches for length in batch}) == 1  # such texts fill the budget exactly
    if alike and len(batches) > len(fewest):
        yield (
            f"a batch is closed too soon: {max(map(len, batches))} texts of {batches[0][0]} tokens where "
            f"{max(map(len, fewest))} fill the budget of {budget} exactly. Close one only when it would hold more."
        )


def _rectangle(batch: list[int]) -> int:
    return len(batch) * max(batch)


# 10.2


def padding_share(lengths: list[int], batches: list[list[int]]) -> float:
    """Reference: what is computed and isn't a text's own token, over what is computed."""
    return 1 - sum(lengths[i] for batch in batches for i in batch) / _computed(lengths, batches)


def _computed(lengths: list[int], batches: list[list[int]]) -> int:
    return sum(_rectangle([lengths[i] for i in batch]) for batch in batches)


def _padding_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for count in (24, 31):
        lengths = [int(n) for n in draw.integers(3, 200, count)]
        order = [int(i) for i in draw.permutation(count)]
        cuts = [0, 3, 10, 18, count]
        cases.append((lengths, [order[a:b] for a, b in pairwise(cuts)]))
    return cases


PADDING = ByReference(
    padding_share,
    Number(rtol=0, atol=1e-6),
    "A batch computes its count of texts times its longest.",
    mistakes={
        "that is the share of real tokens, 1 minus the padding": lambda n, b: sum(n) / _computed(n, b),
        "every text is padded to the longest of all; a batch is padded to its own longest": (
            lambda n, b: 1 - sum(n) / (len(n) * max(n))
        ),
        "that is the mean of the batches' shares; a large batch counts more, so divide the sums": (
            lambda n, b: np.mean([padding_share(n, [batch]) for batch in b])
        ),
        "padding is divided by the real tokens; divide by all that is computed": (
            lambda n, b: _computed(n, b) / sum(n) - 1
        ),
        "that is the number of padding tokens, not their share": lambda n, b: _computed(n, b) - sum(n),
    },
)


# 10.3


def packed_mean(token_embeddings: Floats, lengths: list[int]) -> Floats:
    """Reference: sums between the starts of the texts, divided by their lengths."""
    return np.asarray(_packed_sum(token_embeddings, lengths) / np.array(lengths)[:, None])


def _packed_sum(token_embeddings: Floats, lengths: list[int]) -> Floats:
    return np.asarray(np.add.reduceat(token_embeddings, np.cumsum([0, *lengths[:-1]]), axis=0))


def _packed_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for count in (5, 8):
        lengths = [1, *(int(n) for n in draw.permutation(np.arange(2, 2 + 3 * count, 3)))]
        cases.append((draw.normal(size=(sum(lengths), 6)) + 1, lengths))
    return cases


PACKED = ByReference(
    packed_mean,
    Vectors("a row for each text", atol=1e-4),
    "Text i owns lengths[i] rows, behind those of the texts before it.",
    mistakes={
        "that is the sum of each text's token embeddings; divide by its length": _packed_sum,
        "each sum is divided by the longest length, as if padding counted": lambda s, n: _packed_sum(s, n) / max(n),
        "that is each text's first token embedding; take the mean of all of them": (
            lambda s, n: s[np.cumsum([0, *n[:-1]])]
        ),
        "that is each text's last token embedding, not its mean": lambda s, n: s[np.cumsum(n) - 1],
        "every row is the mean of all texts together; stop where a text ends": (
            lambda s, n: np.tile(s.mean(axis=0), (len(n), 1))
        ),
        "it sums from the first text on; start anew where each text starts": (
            lambda s, n: np.cumsum(s, axis=0)[np.cumsum(n) - 1] / np.array(n)[:, None]
        ),
    },
)


# 10.4


def still_to_do(
    names: list[str],
    rows: int,
    chunk: int,
    *,
    missing: Callable[[set[int], int], Iterable[int]] = lambda done, parts: sorted({*range(parts)} - done),
    parts: Callable[[int, int], int] = lambda rows, chunk: -(-rows // chunk),
) -> list[tuple[int, int]]:
    """Reference: the row ranges of all parts whose final name isn't there."""
    done = {int(match[1]) for name in names if (match := re.fullmatch(r"part-(\d{5})\.parquet", name))}
    return [(k * chunk, min((k + 1) * chunk, rows)) for k in missing(done, parts(rows, chunk))]


def _resume_cases(seed: int) -> list[Case]:
    """A folder whose last part is shorter, one whose last is full, and one that is complete."""
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for shorter in (True, False):
        parts, chunk = int(draw.integers(9, 16)), int(draw.integers(5, 120))
        gap, unfinished = int(draw.integers(1, parts - 5)), int(draw.integers(2, 4))
        names = [f"part-{k:05}.parquet" for k in range(parts - unfinished) if k != gap]
        names += [f".part-{parts - unfinished:05}.parquet.tmp", "_manifest.json"]
        rows = parts * chunk - shorter * int(draw.integers(1, chunk))
        cases.append(([str(name) for name in draw.permutation(names)], rows, chunk))
    parts, chunk = int(draw.integers(3, 9)), int(draw.integers(5, 120))
    return [*cases, ([f"part-{k:05}.parquet" for k in draw.permutation(parts)], parts * chunk, chunk)]


RESUME = ByReference(
    still_to_do,
    Listed("(start, stop) ranges", width=2),
    "Go through every part number in order, and keep those without a file.",
    about=lambda names, rows, chunk: f", with {rows} rows in chunks of {chunk}",
    mistakes={
        "the unfinished file (.tmp) is taken for a whole part": lambda names, rows, chunk: still_to_do(
            [name.removeprefix(".").removesuffix(".tmp") for name in names], rows, chunk
        ),
        "parts are counted, so the gap in the middle is passed over and a finished part is done again": {
            "missing": lambda done, parts: range(len(done), parts)
        },
        "it starts after the last part, so the gap before it is never filled": {
            "missing": lambda done, parts: range(max(done) + 1, parts)
        },
        "everything behind the gap is done again; keep the parts that are there": {
            "missing": lambda done, parts: range(min({*range(parts)} - done, default=parts), parts)
        },
        "the last range runs beyond the rows": lambda names, rows, chunk: [
            (start, start + chunk) for start, _ in still_to_do(names, rows, chunk)
        ],
        "the last part, which has fewer rows, is left out": {"parts": operator.floordiv},
        "an empty range stands at the end; when the last part is full, there is none behind it": {
            "parts": lambda rows, chunk: rows // chunk + 1
        },
        "the stop is the last row itself; let it be one more": lambda *case: [
            (start, stop - 1) for start, stop in still_to_do(*case)
        ],
        "these parts are there already": {"missing": lambda done, parts: sorted(done)},
    },
)


TASKS = {
    task.id: task
    for task in (
        Task("10.1", _budget_cases, ByBehaviour(_budget_faults), _budget_probe),
        Task("10.2", _padding_cases, PADDING),
        Task("10.3", _packed_cases, PACKED),
        Task("10.4", _resume_cases, RESUME),
    )
}
