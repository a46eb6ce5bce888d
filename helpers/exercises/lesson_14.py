"""Exercise 14: the benchmark, built in steps.

The cases use a made-up encoder that counts its calls and moves its own clock, so that what is
judged (one call for many texts, a warm-up, a median) doesn't hang on the speed of the machine.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from helpers import data, models
from helpers.checks.judges import ByBehaviour, ByReference, Entries, MalformedError, Number
from helpers.checks.tasks import Case, Task
from helpers.models import hub

STAND_IN = "bge-small-en-v1.5"  # with the hub held out of reach while the check runs
SMALL = ("all-MiniLM-L6-v2-static-256", "tfidf-4096", "all-MiniLM-L6-v2-pca-128")
Floats = NDArray[np.float64]


class CountingEncoder:
    """Encodes by a fixed random vector for each text, notes every call, and takes made-up time: some seconds a call."""

    def __init__(self, seconds: Sequence[float] = ()) -> None:
        self.calls: list[list[str]] = []
        self.seconds = list(seconds)
        self.now = 100.0

    def encode(self, sentences: Any, **options: Any) -> Floats:
        """(n, 8) for a list, (8,) for one text."""
        texts = [sentences] if isinstance(sentences, str) else list(sentences)
        self.calls.append(texts)
        if self.seconds:
            self.now += self.seconds[min(len(self.calls), len(self.seconds)) - 1]
        vectors = np.stack([_vector(text) for text in texts])
        return vectors[0] if isinstance(sentences, str) else vectors

    def clock(self) -> float:
        """Seconds, as `time.perf_counter` would give them."""
        return self.now


def _vector(text: str) -> NDArray[np.float64]:
    vector = np.random.default_rng(random.Random(text).getrandbits(32)).normal(size=8)
    return vector / np.linalg.norm(vector)


# 14.1


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


def _embedding_faults(case: Case, value: Any) -> Iterator[str]:
    first, second = case
    *sides, calls = value
    for side, got, right in zip(("sentence1", "sentence2"), sides, embed_pairs(CountingEncoder(), *case), strict=True):
        if got.shape != right.shape:
            yield f"{side} has shape {got.shape}, and it should be {right.shape}: a row for each pair."
        if not np.allclose(got, right):
            wrong = int((~np.isclose(got, right).all(axis=1)).sum())
            yield (
                f"{wrong} of {len(got)} rows of {side} belong to another text: look each text's row up; "
                "a set has no order to rely on."
            )
    encoded, distinct = sum(map(len, calls)), len({*first, *second})
    if len(calls) == encoded:
        yield f"encode was called {len(calls)} times with one text each: give it the whole list at once."
    if encoded > distinct:
        yield f"{encoded} texts were encoded where only {distinct} are distinct: encode each text once."
    if len(calls) > 1:
        yield f"encode was called {len(calls)} times: one call with all distinct texts makes fuller batches."


# 14.2


def separation(similarities: Floats, labels: NDArray[np.int64], *, typical: Callable[[Floats], Any] = np.mean) -> float:
    """Reference: mean similarity of the similar pairs minus that of the dissimilar ones."""
    return float(typical(similarities[labels == 1]) - typical(similarities[labels == 0]))


def _separation_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    labels = (np.arange(25) % 5 < 2).astype(np.int64)
    return [(draw.uniform(-0.2, 0.6, size=25) + shift * labels, labels) for shift in (0.4, -0.3)]


SEPARATION = ByReference(
    separation,
    Number(rtol=1e-5),
    "mean(similarities where the label is 1) - mean(where it is 0).",
    mistakes={
        "a model that has it the wrong way round must come out negative: no abs()": (
            lambda *case: abs(separation(*case))
        ),
        "the sign is turned round; similar minus dissimilar": lambda s, y: separation(s, 1 - y),
        "these are medians, and the measure is a difference of means": {"typical": np.median},
        "that is the mean over all similar pairs only; take away that of the dissimilar ones": (
            lambda s, y: s[y == 1].mean()
        ),
        "these are sums, and there are more dissimilar pairs than similar ones; take means": {"typical": np.sum},
    },
)


# 14.3


def texts_per_second(
    model: Any,
    texts: list[str],
    repeats: int,
    clock: Callable[[], float],
    *,
    warm: bool = True,
    at_once: bool = True,
    rate: Callable[[int, float], float] = lambda texts, seconds: texts / seconds,
    typical: Callable[[list[float]], Any] = np.median,
) -> float:
    """Reference: the median rate over the repeats, after one warm-up."""
    if warm:
        model.encode(texts)
    rates = []
    for _ in range(repeats):
        start = clock()
        for batch in [texts] if at_once else [[text] for text in texts]:
            model.encode(batch)
        rates.append(rate(len(texts), clock() - start))
    return float(typical(rates))


def _speed_cases(seed: int) -> list[Case]:
    """The first call is by far the slowest and the last the fastest, so that every usual mistake shows."""
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for repeats in (3, 5):
        fastest, *others = np.sort(draw.uniform(0.2, 2, repeats)).tolist()
        seconds = [draw.uniform(5, 9), *draw.permutation(others).tolist(), fastest]
        cases.append(([f"text {i}" for i in range(draw.integers(12, 30))], repeats, seconds))
    return cases


def _speed_probe(answer: Any, case: Case) -> Any:
    texts, repeats, seconds = case
    encoder = CountingEncoder(seconds)
    return answer(encoder, list(texts), repeats, encoder.clock)


SPEED = ByReference(
    texts_per_second,
    Number(rtol=1e-5, show=".3g", unit=" texts/s"),
    "One warm-up, `repeats` timed calls, the median of len(texts) / seconds.",
    probe=_speed_probe,
    mistakes={
        "the timer holds a call for each text; time one call with all texts": {"at_once": False},
        "the first call is cold and shouldn't count; encode once before the timer starts": {"warm": False},
        "one slow repeat drags the mean; take the median over the repeats": {"typical": np.mean},
        "that is all texts over all seconds, which one slow repeat drags; take the median over the repeats": {
            "typical": lambda rates: len(rates) / sum(1 / rate for rate in rates)
        },
        "that is the best repeat; take the median": {"typical": max},
        "that is seconds a text; texts a second is the other way round": {
            "rate": lambda texts, seconds: seconds / texts
        },
        "that is runs a second; multiply by the number of texts": {"rate": lambda texts, seconds: 1 / seconds},
    },
)


# 14.4


def rank_models(
    rows: list[tuple[str, float, float]],
    speed_cap: float,
    *,
    factor: Callable[[float, float], float] = lambda speed, cap: min(speed / cap, 1),
    sign: int = -1,
) -> list[tuple[str, float]]:
    """Reference: (name, combined score), best first."""
    scores = [(name, quality * (0.7 + 0.3 * factor(speed, speed_cap))) for name, quality, speed in rows]
    return sorted(scores, key=lambda pair: sign * pair[1])


def _rank_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    rows = [("slow-and-good", 0.62, 90.0), ("fast", 0.52, 310.0), ("middle", 0.6, 95.0), ("static", 0.5, 9000.0)]
    drawn = [(f"model-{i}", float(draw.uniform(0.1, 0.7)), float(draw.uniform(10, 3000))) for i in range(6)]
    return [(rows, 500.0), (rows, 2000.0), (drawn, 1000.0)]


class BestFirst(Entries):
    """Pairs of a name and a number, in an order that counts; read as a dict."""

    def read(self, value: Any, right: Any) -> dict[Any, Any]:
        """The pairs as a dict in their order."""
        scores = {str(name): self.of.read(score, None) for name, score in value}
        if len(value) != len(right) or scores.keys() != dict(right).keys():
            raise MalformedError(f"{len(value)} models come back where {len(right)} went in: each once.")
        return scores

    def same(self, one: dict[Any, Any], other: dict[Any, Any]) -> bool:
        """Whether names, numbers and order are the same."""
        return list(one) == list(other) and super().same(one, other)

    def difference(self, got: dict[Any, Any], right: dict[Any, Any]) -> str:
        """The first score that is off, or the first name."""
        if not super().same(got, right):
            return super().difference(got, right)
        one, other = next((one, other) for one, other in zip(got, right, strict=True) if one != other)
        return f"{one} stands where {other} should"


RANK = ByReference(
    rank_models,
    BestFirst(Number(rtol=1e-5, show=".4f")),
    "quality * (0.7 + 0.3 * min(speed / speed_cap, 1)).",
    about=lambda rows, cap: f" at a cap of {cap:g}",
    mistakes={
        "the scores are right and the order isn't; sort falling": {"sign": 1},
        "speed above the cap must not count; use min(speed / speed_cap, 1)": {"factor": lambda speed, cap: speed / cap},
        "the cap is a parameter, and not always 500": {"factor": lambda speed, cap: min(speed / 500, 1)},
        "that is quality alone": {"factor": lambda speed, cap: 1},
        "the models stand in their first order; sort them by the score, falling": {"sign": 0},
    },
)


# 14.5


def _benchmark_cases(seed: int) -> list[Case]:
    pairs = data.pairs()
    picked = np.random.default_rng(seed).permutation(len(pairs))[:60]
    labels = pairs.gold[picked].astype(np.int64)
    return [
        (
            [*SMALL, STAND_IN, "no-such-model"],
            [pairs.sentence1[i] for i in picked],
            [pairs.sentence2[i] for i in picked],
            labels,
            list(data.texts()[:16]),
        )
    ]


def _benchmark_probe(answer: Any, case: Case) -> Any:
    names, *pairs = case
    benchmark = answer(names)
    if benchmark is None:
        return None
    with patch.object(hub, "hub_reachable", lambda: False), patch.object(hub, "in_cache", lambda *args: False):
        benchmark.load_models()
    rows = benchmark.benchmark(*pairs)
    if rows is None:
        return None
    unavailable = getattr(benchmark, "unavailable", None)
    results = [(str(row[0]), float(row[1]), float(row[2]), float(row[3])) for row in rows]
    return results, unavailable if isinstance(unavailable, dict) else {}


def _benchmark_faults(case: Case, value: Any) -> Iterator[str]:
    (_, first, second, labels, _), (rows, unavailable) = case, value
    if STAND_IN in {row[0] for row in rows}:
        yield (
            f"{STAND_IN} is ranked, and its weights were out of reach: that is MiniLM under another's name. Refuse a "
            "model whose `weights(model).real` is False."
        )
    if STAND_IN not in unavailable:
        yield f"{STAND_IN} was refused without a word: keep its name and the reason in self.unavailable."
    if {row[0] for row in rows} != set(SMALL):
        names = ", ".join(sorted(row[0] for row in rows)) or "no model"
        yield f"results came back for {names}; expected are {', '.join(SMALL)}."
    if "no-such-model" not in unavailable:
        yield "one model couldn't be loaded; keep its name and the reason in self.unavailable, and go on."
    for name, quality, speed, combined in rows:
        right = separation_of(name, first, second, labels)
        if abs(quality - right) > 1e-6:
            yield f"the quality of {name} is {quality:.6f} instead of {right:.6f}: is it cosine, on the right rows?"
        if not speed > 0:
            yield f"the speed of {name} is {speed:g} texts/s; time encode with `texts_per_second`."
        if not np.isclose(combined, rank_models([(name, quality, speed)], 500)[0][1], atol=1e-6):
            yield f"the combined score of {name} is {combined:.4f} and doesn't follow from its quality and speed."
    if rows != sorted(rows, key=lambda row: -row[3]):
        yield f"{rows[0][0]} stands first, but it hasn't the highest combined score: sort falling."


def separation_of(name: str, first: list[str], second: list[str], labels: NDArray[np.int64]) -> float:
    """The separation of a real model on pairs, by the reference functions."""
    one, two = (np.asarray(v, dtype=np.float64) for v in embed_pairs(models.load(name, device="cpu"), first, second))
    cosine = (one * two).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)
    return separation(cosine, labels)


TASKS = {
    task.id: task
    for task in (
        Task("14.1", _embedding_cases, ByBehaviour(_embedding_faults), _embedding_probe),
        Task("14.2", _separation_cases, SEPARATION),
        Task("14.3", _speed_cases, SPEED, _speed_probe),
        Task("14.4", _rank_cases, RANK),
        Task("14.5", _benchmark_cases, ByBehaviour(_benchmark_faults), _benchmark_probe),
    )
}
