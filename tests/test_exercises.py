"""Each exercise's answers, right and wrong: every usual mistake gets its own sentence."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from helpers import benchmark, data, models
from helpers.checks import check, hint, task
from helpers.errors import CourseError
from helpers.exercises import lesson_01 as one
from helpers.exercises import lesson_14 as fourteen

normalize = torch.nn.functional.normalize


def mask3(mask: torch.Tensor) -> torch.Tensor:
    return mask.unsqueeze(-1).float()


def ids(tokenizer: Any, text: str, **options: Any) -> int:
    return len(tokenizer(text, verbose=False, **options)["input_ids"])


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


def scored(rows: Any, cap: float, factor: Callable[[float, float], float], sign: int = -1) -> Any:
    pairs = [(n, q * (0.7 + 0.3 * factor(s, cap))) for n, q, s in rows]
    return sorted(pairs, key=lambda pair: sign * pair[1])


def capped(speed: float, cap: float) -> float:
    return min(speed / cap, 1.0)


MISTAKES: dict[str, dict[str, Any]] = {
    "01.1": {
        "includes the padding": lambda t, m: t.mean(dim=1),
        "a sum, not a mean": lambda t, m: (t * mask3(m)).sum(dim=1),
        "counted in the division": lambda t, m: (t * mask3(m)).mean(dim=1),
        "CLS pooling": lambda t, m: t[:, 0],
        "unit vectors": lambda t, m: normalize(one.mean_pooling(t, m), dim=1),
        "maximum over the tokens": lambda t, m: t.masked_fill(m.unsqueeze(-1) == 0, -torch.inf).amax(dim=1),
        "reduce the axis of the tokens": lambda t, m: t.mean(dim=2),
    },
    "01.2": {
        "order of dot products": lambda q, d: np.argsort(-(d @ q)),
        "turned round": lambda q, d: one.rank_documents(q, d)[::-1],
        "not similarities": lambda q, d: d @ q,
        "Euclidean distances": lambda q, d: np.argsort(np.linalg.norm(d - q, axis=1)),
        "their first order": lambda q, d: list(range(len(d))),
        "every document's number": lambda q, d: one.rank_documents(q, d)[:3],
    },
    "01.3": {
        "counts words": lambda t, k, m: max(0, len(t.split()) - m),
        "special tokens [CLS] and [SEP]": lambda t, k, m: max(0, ids(k, t, add_special_tokens=False) - m),
        "counts characters": lambda t, k, m: max(0, len(t) - m),
        "never go below 0": lambda t, k, m: ids(k, t) - m,
        "take away what fits": lambda t, k, m: ids(k, t),
        "truncate before you counted": lambda t, k, m: max(0, ids(k, t, truncation=True, max_length=m) - m),
    },
    "14.1": {
        "one text each": lambda m, a, b: (
            np.stack([m.encode(t) for t in a]),
            np.stack([m.encode(t) for t in b]),
        ),
        "only": lambda m, a, b: (m.encode(a), m.encode(b)),
        "belong to another text": unordered,
        "a row for each pair": lambda m, a, b: (m.encode(list(dict.fromkeys(a))), m.encode(list(dict.fromkeys(b)))),
    },
    "14.2": {
        "sign is turned round": lambda s, y: s[y == 0].mean() - s[y == 1].mean(),
        "no abs()": lambda s, y: abs(fourteen.separation(s, y)),
        "medians": lambda s, y: np.median(s[y == 1]) - np.median(s[y == 0]),
        "similar pairs only": lambda s, y: s[y == 1].mean(),
        "sums": lambda s, y: s[y == 1].sum() - s[y == 0].sum(),
    },
    "14.3": {
        "one text each": timed(np.median, single=True),
        "first call is cold": timed(np.median, warm=False),
        "drags the mean": timed(np.mean),
        "best repeat": timed(max),
        "seconds a text": timed(lambda rates: float(1 / np.median(rates))),
        "runs a second": lambda m, t, r, c: timed(np.median)(m, t, r, c) / len(t),
    },
    "14.4": {
        "Sort falling": lambda rows, cap: scored(rows, cap, capped, sign=1),
        "above the cap must not count": lambda rows, cap: scored(rows, cap, lambda s, c: s / c),
        "not always 500": lambda rows, cap: scored(rows, cap, lambda s, c: min(s / 500, 1)),
        "quality alone": lambda rows, cap: sorted(((n, q) for n, q, _ in rows), key=lambda pair: -pair[1]),
        "each once": lambda rows, cap: scored(rows, cap, capped)[:2],
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
                self.loaded[name] = models.load(name, device="cpu")
            except CourseError as reason:
                self.unavailable[name] = str(reason)
        return list(self.loaded)

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


class SilentLoss(Bench):
    def load_models(self) -> list[str]:
        found = super().load_models()
        self.unavailable = {}
        return found


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
    "self.unavailable": SilentLoss,
    "doesn't follow from its quality and speed": Uncombined,
    "hasn't the highest": Rising,
    "on the right rows": ShuffledRows,
}

RIGHT: dict[str, list[Any]] = {
    "01.1": [
        one.mean_pooling,
        lambda t, m: torch.stack([row[keep.bool()].mean(dim=0) for row, keep in zip(t, m, strict=True)]),
        lambda t, m: np.einsum("btd,bt->bd", t.numpy(), m.numpy()) / m.numpy().sum(1, keepdims=True),
    ],
    "01.2": [
        one.rank_documents,
        lambda q, d: sorted(range(len(d)), key=lambda i: -float(d[i] @ q / np.linalg.norm(d[i]))),
        lambda q, d: torch.cosine_similarity(torch.tensor(d), torch.tensor(q)[None]).argsort(descending=True),
    ],
    "01.3": [one.tokens_lost, lambda t, k, m: max(0, len(k.tokenize(t)) + 2 - m)],
    "14.1": [fourteen.embed_pairs],
    "14.2": [fourteen.separation, lambda s, y: float(np.average(s, weights=y) - np.average(s, weights=1 - y))],
    "14.3": [fourteen.texts_per_second, timed(lambda rates: float(sorted(rates)[len(rates) // 2]))],
    "14.4": [fourteen.rank_models, lambda rows, cap: scored(rows, cap, capped)],
    "14.5": [Bench],
}
ALL = list(MISTAKES)


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("task_id", ALL)
def test_right_answers_pass_whatever_library_they_use(task_id: str, seed: int) -> None:
    for answer in RIGHT[task_id]:
        outcome = check(task_id, answer, seed=seed)
        assert outcome.status == "right", outcome
        assert outcome.points == task(task_id).points


@pytest.mark.parametrize(("task_id", "sentence"), [(t, s) for t in ALL for s in MISTAKES[t]])
def test_a_usual_mistake_gets_its_own_sentence(task_id: str, sentence: str) -> None:
    outcome = check(task_id, MISTAKES[task_id][sentence])
    assert outcome.status == "wrong" and outcome.points == 0
    assert sentence in outcome.message


@pytest.mark.parametrize("task_id", ALL)
def test_there_are_at_least_four_usual_mistakes(task_id: str) -> None:
    assert len(MISTAKES[task_id]) >= 4


def like(task_id: str, fill: Callable[[Any], Any]) -> Callable[..., Any]:
    """An answer of the right shape with other numbers in it."""
    reference = RIGHT[task_id][0]
    return lambda *case: fill(reference(*case))


@pytest.mark.parametrize("task_id", ["01.1", "01.2", "01.3", "14.2", "14.3"])
def test_zeros_random_numbers_and_shuffles_never_pass(task_id: str) -> None:
    draw = np.random.default_rng(0)
    for fill in (
        lambda right: np.zeros_like(np.asarray(right)),
        lambda right: draw.normal(size=np.shape(right)),
        lambda right: draw.permutation(np.asarray(right).ravel()).reshape(np.shape(right)),
    ):
        if task_id in ("01.3", "14.2", "14.3") and fill(np.float64(3.0)) == 3.0:
            continue  # one number can't be shuffled
        assert check(task_id, like(task_id, fill)).status == "wrong"


def test_zeros_and_random_vectors_never_pass_for_pairs_and_rankings() -> None:
    shape = len(fourteen._embedding_cases(0)[0][0]), 8
    assert check("14.1", lambda m, a, b: (np.zeros(shape), np.zeros(shape))).status == "wrong"
    assert check("14.1", lambda m, a, b: (np.random.rand(*shape), np.random.rand(*shape))).status == "wrong"
    assert check("14.4", lambda rows, cap: [(n, 0.0) for n, _, _ in rows]).status == "wrong"
    assert check("14.4", lambda rows, cap: fourteen.rank_models(rows, cap)[::-1]).status == "wrong"


def test_an_answer_that_returns_nothing_is_not_attempted() -> None:
    for task_id in ALL:
        assert check(task_id, lambda *case: None).status == "not attempted"


def test_an_answer_that_raises_is_an_error_with_its_message() -> None:
    outcome = check("14.2", lambda s, y: s["label"])
    assert outcome.status == "error" and "IndexError" in outcome.message


def test_an_answer_of_the_wrong_type_is_wrong_and_not_a_traceback() -> None:
    assert check("01.2", lambda q, d: "best first").status == "wrong"
    assert check("14.4", lambda rows, cap: 3).status == "wrong"


def test_hints_are_numbered_and_a_wrong_number_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    hint("01.1", 2)
    assert "Hint 2 of 3" in capsys.readouterr().out
    with pytest.raises(CourseError, match="hints 1 to 3"):
        hint("01.1", 4)
    with pytest.raises(CourseError, match="no task"):
        task("01.9")


def test_solution_and_helpers_agree_on_quality() -> None:
    pairs = data.pairs()
    for name in fourteen.SMALL:
        mine = fourteen.separation_of(name, list(pairs.sentence1), list(pairs.sentence2), pairs.gold.astype(np.int64))
        scores, _ = benchmark.score(models.load(name, device="cpu"), data.Dataset("pairs", pairs=pairs))
        assert mine == pytest.approx(scores["separation"].value, abs=1e-6)
