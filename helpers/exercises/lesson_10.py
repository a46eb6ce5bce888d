"""Exercise 10: a token budget, the share of padding, packed pooling, and what a crash left to do."""

import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helpers.checks import Task

Case = tuple[Any, ...]
Floats = NDArray[np.float64]
Encode = Callable[[list[str]], Floats]


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


def _probe_budget(answer: Any, case: Case) -> Any:
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


def _judge_budget(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    for case, (value, calls) in zip(cases, values, strict=True):
        if found := _misplaced(case, value, calls) or _badly_cut(case, calls):
            return found
    return None


def _misplaced(case: Case, value: Any, calls: list[list[str]]) -> str | None:
    """What is wrong with the vectors themselves."""
    encode, texts, lengths, budget = case
    seen = [text for call in calls for text in call]
    if missing := [lengths[i] for i, text in enumerate(texts) if text not in seen]:
        return (
            f"{len(missing)} of {len(texts)} texts were never encoded, the longest of {max(missing)} tokens at a "
            f"budget of {budget}: a text beyond the budget makes a batch of its own."
        )
    if len(seen) > len(texts):
        return f"{len(seen)} texts were encoded instead of {len(texts)}; each goes in once."
    rows, right = np.asarray(value, dtype=float), encode(texts)
    if rows.shape != right.shape:
        return f"the shape is {rows.shape} instead of {right.shape}, a row for each text."
    if np.allclose(rows, right):
        return None
    if np.allclose(rows, encode(seen)):
        return "the rows stand in the order of encoding; put each vector back at the place of its text."
    return f"{int((~np.isclose(rows, right).all(axis=1)).sum())} rows aren't the vector of their text."


def _badly_cut(case: Case, calls: list[list[str]]) -> str | None:
    """What is wrong with the batches."""
    encode, texts, lengths, budget = case
    length = dict(zip(texts, lengths, strict=True))
    sizes = [[length[text] for text in call] for call in calls if call]
    wide = [size for size in sizes if len(size) > 1 and len(size) * max(size) > budget]
    if wide:
        size = max(wide, key=lambda one: len(one) * max(one))
        told = f"{len(size)} texts padded to {max(size)} are {len(size) * max(size)} tokens, the budget is {budget}"
        if all(sum(one) <= budget for one in wide):
            return f"a batch counts its tokens without padding: {told}. Multiply the count by the longest."
        return f"a batch holds more than the budget allows: {told}."
    if len(sizes) == len(texts):
        return f"every text is encoded on its own, {len(sizes)} calls; fill each batch up to the budget."
    reference = _probe_budget(encode_in_budget, (encode, texts, lengths, budget))[1]
    best = sum(len(call) * max(length[text] for text in call) for call in reference)
    computed = sum(len(size) * max(size) for size in sizes)
    if computed > 1.2 * best:
        return (
            f"short and long texts share batches: {computed} tokens are computed where {best} do, the texts have "
            f"{sum(lengths)}. Sort by length first."
        )
    return _too_small(sizes, len(reference), budget)


def _too_small(sizes: list[list[int]], fewest: int, budget: int) -> str | None:
    """What is wrong if there are more batches than the budget asks for; texts all alike fill it exactly."""
    if len(sizes) > 1.6 * fewest:
        return f"the batches are too small: {len(sizes)} calls where {fewest} do. Close one when it is full."
    alike = {length for size in sizes for length in size}
    if len(alike) == 1 and len(sizes) > fewest:
        length = alike.pop()
        return (
            f"a batch is closed too soon: {max(map(len, sizes))} texts of {length} tokens where "
            f"{budget // length} fill the budget of {budget} exactly. Close one only when it would hold more."
        )
    return None


def padding_share(lengths: list[int], batches: list[list[int]]) -> float:
    """Reference: what is computed and isn't a text's own token, over what is computed."""
    computed = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    return 1 - sum(lengths[i] for batch in batches for i in batch) / computed


def _padding_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for count in (24, 31):
        lengths = [int(n) for n in draw.integers(3, 200, count)]
        order = [int(i) for i in draw.permutation(count)]
        cuts = [0, 3, 10, 18, count]
        cases.append((lengths, [order[a:b] for a, b in pairwise(cuts)]))
    return cases


def _judge_padding(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    for (lengths, batches), value in zip(cases, values, strict=True):
        got, right = float(value), padding_share(lengths, batches)
        if abs(got - right) < 1e-6:
            continue
        told = f"{got:.3f} instead of {right:.3f}"
        whole = len(lengths) * max(lengths)
        computed = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
        each = [1 - sum(lengths[i] for i in b) / (len(b) * max(lengths[i] for i in b)) for b in batches]
        mistakes = {
            "that is the share of real tokens, 1 minus the padding": 1 - right,
            "every text is padded to the longest of all; a batch is padded to its own longest": 1
            - sum(lengths) / whole,
            "that is the mean of the batches' shares; a large batch counts more, so divide the sums": np.mean(each),
            "padding is divided by the real tokens; divide by all that is computed": computed / sum(lengths) - 1,
            "that is the number of padding tokens, not their share": computed - sum(lengths),
        }
        for sentence, wrong in mistakes.items():
            if np.isclose(got, wrong, atol=1e-6):
                return f"{sentence}: {told}."
        return f"the share is {told}. A batch computes its count of texts times its longest."
    return None


def packed_mean(token_embeddings: Floats, lengths: list[int]) -> Floats:
    """Reference: sums between the starts of the texts, divided by their lengths."""
    starts = np.cumsum([0, *lengths[:-1]])
    return np.asarray(np.add.reduceat(token_embeddings, starts, axis=0) / np.array(lengths)[:, None])


def _packed_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for count in (5, 8):
        lengths = [1, *(int(n) for n in draw.permutation(np.arange(2, 2 + 3 * count, 3)))]
        cases.append((draw.normal(size=(sum(lengths), 6)) + 1, lengths))
    return cases


def _judge_packed(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    for (states, lengths), value in zip(cases, values, strict=True):
        got, right = np.asarray(value, dtype=float), packed_mean(states, lengths)
        if got.shape != right.shape:
            return f"the shape is {got.shape} instead of {right.shape}, a row for each text."
        if np.allclose(got, right, atol=1e-4):
            continue
        counts, starts = np.array(lengths), np.cumsum([0, *lengths[:-1]])
        ends = starts + counts
        width = max(lengths)
        told = f"off by up to {np.abs(got - right).max():.2f}"
        mistakes = {
            "that is the sum of each text's token embeddings; divide by its length": right * counts[:, None],
            "each sum is divided by the longest length, as if padding counted": right * counts[:, None] / width,
            "that is each text's first token embedding; take the mean of all of them": states[starts],
            "that is each text's last token embedding, not its mean": states[ends - 1],
            "every row is the mean of all texts together; stop where a text ends": np.tile(
                states.mean(0), (len(lengths), 1)
            ),
            "it sums from the first text on; start anew where each text starts": (
                np.cumsum(states, axis=0)[ends - 1] / counts[:, None]
            ),
        }
        for sentence, wrong in mistakes.items():
            if np.allclose(got, wrong, atol=1e-4):
                return f"{sentence}: {told}."
        return f"the means are {told}. Text i owns lengths[i] rows, behind those of the texts before it."
    return None


def still_to_do(names: list[str], rows: int, chunk: int) -> list[tuple[int, int]]:
    """Reference: the row ranges of all parts whose final name isn't there."""
    parts = range(-(-rows // chunk))
    return [(k * chunk, min((k + 1) * chunk, rows)) for k in parts if f"part-{k:05}.parquet" not in names]


def _resume_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for rows, chunk in ((1234, 100), (20, 2)):
        parts = -(-rows // chunk)
        gap = int(draw.integers(2, 5))
        done = [f"part-{k:05}.parquet" for k in range(parts - 3) if k != gap]
        names = [*done, f".part-{parts - 3:05}.parquet.tmp", "_manifest.json"]
        cases.append(([str(name) for name in draw.permutation(names)], rows, chunk))
    complete = [f"part-{k:05}.parquet" for k in range(4)]
    return [*cases, (complete, 400, 100)]


def _judge_resume(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    for (names, rows, chunk), value in zip(cases, values, strict=True):
        got = [(int(a), int(b)) for a, b in value]
        right = still_to_do(names, rows, chunk)
        if got == right:
            continue
        parts = -(-rows // chunk)
        count = sum(name.startswith("part-") for name in names)
        temporary = {int(name[6:11]) for name in names if name.endswith(".tmp")}
        first = right[0][0] if right else rows
        last = max((int(name[5:10]) for name in names if name.startswith("part-")), default=-1)

        def ranges(wanted: Sequence[int], rows: int = rows, chunk: int = chunk) -> list[tuple[int, int]]:
            return [(k * chunk, min((k + 1) * chunk, rows)) for k in wanted]

        mistakes = {
            "the unfinished file (.tmp) is taken for a whole part": [
                one for one in right if one[0] // chunk not in temporary
            ],
            "parts are counted, so the gap in the middle is passed over and a finished part is done again": (
                ranges(range(count, parts))
            ),
            "it starts after the last part, so the gap before it is never filled": [
                one for one in right if one[0] >= last * chunk
            ],
            "everything behind the gap is done again; keep the parts that are there": (
                ranges(range(first // chunk, parts)) if right else []
            ),
            "the last range runs beyond the rows": [(a, a + chunk) for a, _ in right],
            "the last part, which has fewer rows, is left out": [one for one in right if one[1] - one[0] == chunk],
            "an empty range stands at the end; when the last part is full, there is none behind it": [
                *right,
                (rows, rows),
            ],
            "the stop is the last row itself; let it be one more": [(a, b - 1) for a, b in right],
            "these parts are there already": ranges([k for k in range(parts) if f"part-{k:05}.parquet" in names]),
        }
        for sentence, wrong in mistakes.items():
            if got == wrong:
                return f"{sentence}: {len(got)} ranges for {rows} rows in chunks of {chunk}, {len(right)} are right."
        missing, surplus = [one for one in right if one not in got], [one for one in got if one not in right]
        told = "the ranges aren't in order, or one stands there twice"
        if missing or surplus:
            told = f"{missing[0]} is missing" if missing else f"{surplus[0]} is too much"
        return f"{told}: {rows} rows in chunks of {chunk}. Go through every part number; keep those without a file."
    return None


TASKS = {
    task.id: task
    for task in (
        Task("10.1", _budget_cases, _judge_budget, _probe_budget),
        Task("10.2", _padding_cases, _judge_padding),
        Task("10.3", _packed_cases, _judge_packed),
        Task("10.4", _resume_cases, _judge_resume),
    )
}
