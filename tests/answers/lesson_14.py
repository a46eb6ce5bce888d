"""Answers to exercise 14. `MISTAKES` maps a task to {part of the sentence it must get: answer}."""

from collections.abc import Callable
from typing import Any

import numpy as np

from helpers import models
from helpers.errors import CourseError
from helpers.exercises import lesson_14 as fourteen


def unordered(model: Any, first: list[str], second: list[str]) -> Any:
    distinct = sorted({*first, *second}, reverse=True)
    row = {text: i for i, text in enumerate(dict.fromkeys([*first, *second]))}
    vectors = model.encode(distinct)
    return vectors[[row[t] for t in first]], vectors[[row[t] for t in second]]


def timed(reduce: Callable[[list[float]], float], *, warm: bool = True, single: bool = False) -> Any:
    def answer(model: Any, texts: list[str], repeats: int, clock: Any) -> float:
        if warm:
            model.encode(texts)
        rates = []
        for _ in range(repeats):
            start = clock()
            if single:
                for text in texts:
                    model.encode([text])
            else:
                model.encode(texts)
            rates.append(len(texts) / (clock() - start))
        return reduce(rates)

    return answer


def scored(rows: Any, cap: float) -> Any:
    pairs = [(name, quality * (1 - 0.3 * max(0, 1 - speed / cap))) for name, quality, speed in rows]
    return sorted(pairs, key=lambda pair: pair[1], reverse=True)


MISTAKES: dict[str, dict[str, Any]] = {
    "14.1": {
        "one text each": lambda m, a, b: (
            np.stack([m.encode(t) for t in a]),
            np.stack([m.encode(t) for t in b]),
        ),
        "only": lambda m, a, b: (m.encode(a), m.encode(b)),
        "belong to another text": unordered,
        "a row for each pair": lambda m, a, b: (m.encode(list(dict.fromkeys(a))), m.encode(list(dict.fromkeys(b)))),
    },
    "14.2": {"no abs()": lambda s, y: abs(s[y == 1].mean() - s[y == 0].mean())},
    "14.3": {
        "a call for each text": timed(np.median, single=True),
        "first call is cold": timed(np.median, warm=False),
        "all texts over all seconds": timed(lambda rates: len(rates) / sum(1 / rate for rate in rates)),
    },
    "14.4": {
        "not always 500": lambda rows, cap: scored(rows, 500),
        "each once": lambda rows, cap: scored(rows, cap)[:2],
    },
}


class Bench:
    """A right answer to 14.5, which the mistakes below change in one place each."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.loaded: dict[str, Any] = {}
        self.unavailable: dict[str, str] = {}

    def load_models(self) -> list[str]:
        for name in self.names:
            try:
                self.take(name, models.load(name, device="cpu"))
            except CourseError as reason:
                self.unavailable[name] = str(reason)
        return list(self.loaded)

    def take(self, name: str, model: Any) -> None:
        if models.weights(model).real:
            self.loaded[name] = model
        else:
            self.unavailable[name] = f"only a {models.weights(model).kind} is at hand"

    def quality(self, model: Any, first: list[str], second: list[str], labels: Any) -> float:
        one_side, other = fourteen.embed_pairs(model, first, second)
        lengths = np.linalg.norm(one_side, axis=1) * np.linalg.norm(other, axis=1)
        return fourteen.separation((one_side * other).sum(axis=1) / lengths, labels)

    def benchmark(self, first: list[str], second: list[str], labels: Any, texts: list[str]) -> Any:
        rows = [(n, self.quality(m, first, second, labels), 1000.0) for n, m in self.loaded.items()]
        measured = {name: (quality, speed) for name, quality, speed in rows}
        return [(name, *measured[name], score) for name, score in fourteen.rank_models(rows, 500.0)]


class OneModelOnly(Bench):
    def benchmark(self, *args: Any) -> Any:
        return super().benchmark(*args)[:1]


class RanksStandIns(Bench):
    def take(self, name: str, model: Any) -> None:
        self.loaded[name] = model


class DropsStandIns(Bench):
    def take(self, name: str, model: Any) -> None:
        if models.weights(model).real:
            self.loaded[name] = model


class SilentLoss(Bench):
    def load_models(self) -> list[str]:
        loaded = super().load_models()
        del self.unavailable["no-such-model"]
        return loaded


class Uncombined(Bench):
    def benchmark(self, *args: Any) -> Any:
        return [(n, q, s / 4, c) for n, q, s, c in super().benchmark(*args)]


class Rising(Bench):
    def benchmark(self, *args: Any) -> Any:
        return super().benchmark(*args)[::-1]


class ShuffledRows(Bench):
    def quality(self, model: Any, first: list[str], second: list[str], labels: Any) -> float:
        return super().quality(model, first, second[::-1], labels)


MISTAKES["14.5"] = {
    "results came back for": OneModelOnly,
    "is MiniLM under another's name": RanksStandIns,
    "was refused without a word": DropsStandIns,
    "one model couldn't be loaded": SilentLoss,
    "doesn't follow from its quality and speed": Uncombined,
    "hasn't the highest": Rising,
    "on the right rows": ShuffledRows,
}

RIGHT: dict[str, list[Any]] = {
    "14.1": [fourteen.embed_pairs],
    "14.2": [fourteen.separation, lambda s, y: float(np.average(s, weights=y) - np.average(s, weights=1 - y))],
    "14.3": [fourteen.texts_per_second, timed(lambda rates: float(sorted(rates)[len(rates) // 2]))],
    "14.4": [fourteen.rank_models, scored],
    "14.5": [Bench],
}
