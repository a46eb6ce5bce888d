"""Exercise 14: the benchmark, built in steps.

The cases use a made-up encoder that counts its calls and moves its own clock, so that what is
judged (one call for many texts, a warm-up, a median) doesn't hang on the speed of the machine.
"""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helpers import data, models
from helpers.checks import Task

Case = tuple[Any, ...]
SMALL = ("all-MiniLM-L6-v2-static-256", "tfidf-4096", "all-MiniLM-L6-v2-pca-128")


class CountingEncoder:
    """Encodes by a fixed random vector for each text, notes every call, and takes made-up time."""

    def __init__(self, seconds: Sequence[float] = ()) -> None:
        self.calls: list[list[str]] = []
        self.seconds = list(seconds)
        self.now = 100.0

    def encode(self, sentences: Any, **options: Any) -> NDArray[np.float64]:
        """(n, 8) for a list, (8,) for one text."""
        texts = [sentences] if isinstance(sentences, str) else list(sentences)
        self.calls.append(texts)
        if self.seconds:
            self.now += self.seconds[min(len(self.calls), len(self.seconds)) - 1] * len(texts)
        vectors = np.stack([_vector(text) for text in texts])
        return vectors[0] if isinstance(sentences, str) else vectors

    def clock(self) -> float:
        """Seconds, as `time.perf_counter` would give them."""
        return self.now


def _vector(text: str) -> NDArray[np.float64]:
    vector = np.random.default_rng(random.Random(text).getrandbits(32)).normal(size=8)
    return vector / np.linalg.norm(vector)


def embed_pairs(model: Any, sentence1: list[str], sentence2: list[str]) -> tuple[Any, Any]:
    """Reference: the vectors of both sides, each distinct text encoded once, in one call."""
    distinct = list(dict.fromkeys([*sentence1, *sentence2]))
    row = {text: i for i, text in enumerate(distinct)}
    vectors = model.encode(distinct)
    return vectors[[row[t] for t in sentence1]], vectors[[row[t] for t in sentence2]]


def _embedding_cases(seed: int) -> list[Case]:
    pool = [f"text {i} of draw {seed}" for i in range(12)]
    draw = random.Random(seed)
    return [(draw.choices(pool, k=20), draw.choices(pool, k=20))]


def _embedding_probe(answer: Any, case: Case) -> Any:
    encoder = CountingEncoder()
    value = answer(encoder, *case)
    return None if value is None else (np.asarray(value[0]), np.asarray(value[1]), encoder.calls)


def _judge_embedding(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    for (first, second), (one, two, calls) in zip(cases, values, strict=True):
        right = embed_pairs(CountingEncoder(), first, second)
        asked, distinct = sum(map(len, calls)), len({*first, *second})
        for side, got in (("sentence1", one), ("sentence2", two)):
            expected = right[0] if side == "sentence1" else right[1]
            if got.shape != expected.shape:
                return f"{side} has shape {got.shape}, and it should be {expected.shape}: a row for each pair."
            if not np.allclose(got, expected):
                wrong = int((~np.isclose(got, expected).all(axis=1)).sum())
                return (
                    f"{wrong} of {len(got)} rows of {side} belong to another text: look each text's row up; "
                    "a set has no order to rely on."
                )
        if len(calls) > 4 and asked == len(calls):
            return f"encode was called {len(calls)} times with one text each: give it the whole list at once."
        if asked > distinct:
            return f"{asked} texts were encoded where only {distinct} are distinct: encode each text once."
        if len(calls) > 1:
            return f"encode was called {len(calls)} times: one call with all distinct texts makes fuller batches."
    return None


def separation(similarities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Reference: mean similarity of the similar pairs minus that of the dissimilar ones."""
    return float(similarities[labels == 1].mean() - similarities[labels == 0].mean())


def _separation_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    labels = (np.arange(25) % 5 < 2).astype(np.int64)
    return [(draw.uniform(-0.2, 0.6, size=25) + shift * labels, labels) for shift in (0.4, -0.3)]


def _judge_separation(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    right = [separation(*case) for case in cases]
    got = [float(value) for value in values]
    if np.allclose(got, right, atol=1e-9):
        return None
    told = f"{got[0]:.3f} instead of {right[0]:.3f}"
    mistakes = {
        f"the sign is turned round: {told}. Similar minus dissimilar.": [-r for r in right],
        f"a model that has it the wrong way round must come out negative ({right[1]:.3f}, you have {got[1]:.3f}): "
        "no abs().": [abs(r) for r in right],
        f"these are medians: {told}. The measure is a difference of means.": [
            float(np.median(s[y == 1]) - np.median(s[y == 0])) for s, y in cases
        ],
        f"that is the mean over all similar pairs only: {told}. Take away that of the dissimilar ones.": [
            float(s[y == 1].mean()) for s, y in cases
        ],
        f"these are sums: {told}. There are more dissimilar pairs than similar ones, so take means.": [
            float(s[y == 1].sum() - s[y == 0].sum()) for s, y in cases
        ],
    }
    for sentence, mistake in mistakes.items():
        if np.allclose(got, mistake, atol=1e-9):
            return sentence
    return f"{told}. mean(similarities where the label is 1) - mean(where it is 0)."


def texts_per_second(model: Any, texts: list[str], repeats: int, clock: Any) -> float:
    """Reference: the median rate over the repeats, after one warm-up."""
    model.encode(texts)
    rates = []
    for _ in range(repeats):
        start = clock()
        model.encode(texts)
        rates.append(len(texts) / (clock() - start))
    return float(np.median(rates))


def _speed_cases(seed: int) -> list[Case]:
    return [([f"text {i}" for i in range(20)], 3, (0.5, 0.01, 0.02, 0.08)), (["one", "two"], 5, (3, 1, 9, 1, 2, 1))]


def _speed_probe(answer: Any, case: Case) -> Any:
    texts, repeats, seconds = case
    encoder = CountingEncoder(seconds)
    value = answer(encoder, list(texts), repeats, encoder.clock)
    return None if value is None else (float(value), [len(call) for call in encoder.calls])


def _judge_speed(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    for (texts, repeats, seconds), (got, calls) in zip(cases, values, strict=True):
        n = len(texts)
        rates = [1 / s for s in seconds[1 : repeats + 1]]
        right = float(np.median(rates))
        told = f"{got:.1f} instead of {right:.1f} texts/s"
        if n > 1 and calls.count(1) >= n * repeats:
            return f"the timer holds {n} calls with one text each: time one call with all texts."
        if np.isclose(got, right) and len(calls) == repeats + 1:
            continue
        if got > 0 and np.isclose(1 / got, right):
            return "that is seconds a text; texts a second is the other way round."
        if got > 0 and np.isclose(got * n, right):
            return f"that is runs a second ({told}): multiply by the number of texts."
        if len(calls) <= repeats:
            return f"the first call is cold and shouldn't count ({told}): encode once before the timer starts."
        if np.isclose(got, np.mean(rates)) or np.isclose(got, repeats / sum(seconds[1 : repeats + 1])):
            return f"one slow repeat drags the mean: {told}. Take the median over the repeats."
        if np.isclose(got, max(rates)):
            return f"that is the best repeat: {told}. Take the median."
        return f"{told}. One warm-up, `repeats` timed calls, the median of len(texts) / seconds."
    return None


def rank_models(rows: list[tuple[str, float, float]], speed_cap: float) -> list[tuple[str, float]]:
    """Reference: (name, combined score), best first."""
    scored = [(name, quality * (0.7 + 0.3 * min(speed / speed_cap, 1.0))) for name, quality, speed in rows]
    return sorted(scored, key=lambda pair: -pair[1])


def _rank_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    rows = [("slow-and-good", 0.62, 90.0), ("fast", 0.52, 310.0), ("middle", 0.6, 95.0), ("static", 0.5, 9000.0)]
    drawn = [(f"model-{i}", float(draw.uniform(0.1, 0.7)), float(draw.uniform(10, 3000))) for i in range(6)]
    return [(rows, 500.0), (rows, 2000.0), (drawn, 1000.0)]


def _judge_rank(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    for (rows, cap), value in zip(cases, values, strict=True):
        got = [(str(name), float(score)) for name, score in value]
        right = rank_models(rows, cap)
        if [n for n, _ in got] == [n for n, _ in right] and np.allclose([s for _, s in got], [s for _, s in right]):
            continue
        if sorted(n for n, _ in got) != sorted(n for n, _ in right):
            return f"{len(got)} models come back where {len(right)} went in: each once."
        scores, wanted = dict(got), dict(right)
        if np.allclose([scores[n] for n in wanted], list(wanted.values())):
            return f"the scores are right and the order isn't: {got[0][0]} stands first, {right[0][0]} should. Sort falling."
        by_name = {name: (quality, speed) for name, quality, speed in rows}
        fastest = max(by_name, key=lambda n: by_name[n][1])
        told = f"{fastest} gets {scores[fastest]:.4f} instead of {wanted[fastest]:.4f}"
        quality, speed = by_name[fastest]
        if np.isclose(scores[fastest], quality * (0.7 + 0.3 * speed / cap)):
            return f"speed above the cap must not count: {told}. Use min(speed / speed_cap, 1)."
        if cap != 500 and np.isclose(scores[fastest], quality * (0.7 + 0.3 * min(speed / 500, 1))):
            fixed = [n for n in wanted if not np.isclose(scores[n], wanted[n])]
            return f"the cap is a parameter, here {cap:g}, and not always 500: {fixed[0]} gets {scores[fixed[0]]:.4f}."
        if np.isclose(scores[fastest], quality):
            other = next(n for n in wanted if not np.isclose(scores[n], wanted[n]))
            if np.isclose(scores[other], by_name[other][0]):
                return f"that is quality alone: {other} gets {scores[other]:.4f} instead of {wanted[other]:.4f}."
            if np.isclose(scores[other], by_name[other][0] * (0.7 + 0.3 * min(by_name[other][1] / 500, 1))):
                return f"the cap is a parameter, here {cap:g}, and not always 500: {other} gets {scores[other]:.4f}."
        return f"{told}. quality * (0.7 + 0.3 * min(speed / speed_cap, 1))."
    return None


def _benchmark_cases(seed: int) -> list[Case]:
    pairs = data.pairs()
    picked = np.random.default_rng(seed).permutation(len(pairs))[:60]
    labels = pairs.gold[picked].astype(np.int64)
    return [
        (
            [*SMALL, "no-such-model"],
            [pairs.sentence1[i] for i in picked],
            [pairs.sentence2[i] for i in picked],
            labels,
            list(data.texts()[:16]),
        )
    ]


def _benchmark_probe(answer: Any, case: Case) -> Any:
    names, first, second, labels, texts = case
    made = answer(names)
    if made is None:
        return None
    loaded = made.load_models()
    rows = made.benchmark(first, second, labels, texts)
    if rows is None:
        return None
    missing = made.unavailable if isinstance(getattr(made, "unavailable", None), dict) else None
    return sorted(loaded or []), [(str(r[0]), float(r[1]), float(r[2]), float(r[3])) for r in rows], missing


def _judge_benchmark(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    for (names, first, second, labels, _), (_loaded, rows, missing) in zip(cases, values, strict=True):
        if {row[0] for row in rows} != set(SMALL):
            return f"results came back for {', '.join(sorted(r[0] for r in rows)) or 'no model'}; expected are {', '.join(SMALL)}."
        if not missing or "no-such-model" not in missing:
            return "one model couldn't be loaded; keep its name and the reason in self.unavailable, and go on."
        for name, quality, speed, combined in rows:
            right = separation_of(name, first, second, labels)
            if abs(quality - right) > 1e-6:
                return f"the quality of {name} is {quality:.6f}, and it should be {right:.6f}: is it cosine, on the right rows?"
            if not speed > 0:
                return f"the speed of {name} is {speed:g} texts/s; time encode with `texts_per_second`."
            if not np.isclose(combined, quality * (0.7 + 0.3 * min(speed / 500, 1)), atol=1e-6):
                return f"the combined score of {name} is {combined:.4f} and doesn't follow from its quality and speed."
        if [r[3] for r in rows] != sorted((r[3] for r in rows), reverse=True):
            return f"{rows[0][0]} stands first, but it hasn't the highest combined score: sort falling."
    return None


def separation_of(name: str, first: list[str], second: list[str], labels: NDArray[np.int64]) -> float:
    """The separation of a real model on pairs, by the reference functions."""
    one, two = (np.asarray(v, dtype=np.float64) for v in embed_pairs(models.load(name, device="cpu"), first, second))
    cosine = (one * two).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)
    return separation(cosine, labels)


TASKS = {
    task.id: task
    for task in (
        Task("14.1", _embedding_cases, _judge_embedding, _embedding_probe),
        Task("14.2", _separation_cases, _judge_separation),
        Task("14.3", _speed_cases, _judge_speed, _speed_probe),
        Task("14.4", _rank_cases, _judge_rank),
        Task("14.5", _benchmark_cases, _judge_benchmark, _benchmark_probe),
    )
}
