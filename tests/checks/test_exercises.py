"""The exercises' checks, held against the answers in `tests/answers`: right ones pass, each mistake is told."""

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch

from helpers import benchmark, data, models
from helpers.checks import check, hint, task
from helpers.checks import notebook as notebook_module
from helpers.checks.judges import ByReference, InTurn
from helpers.errors import CourseError
from helpers.exercises import lesson_14 as fourteen
from tools.build import manifest

RIGHT: dict[str, list[Any]] = {}
MISTAKES: dict[str, dict[str, Any]] = {}
for lesson in manifest():
    if "exercise" in lesson:
        answers = import_module(f"tests.answers.lesson_{lesson['name'][:2]}")
        RIGHT |= answers.RIGHT
        MISTAKES |= getattr(answers, "MISTAKES", {})  # those that no task declares
TASKS = [task_id for lesson in manifest() for task_id in lesson.get("exercise", {}).get("tasks", [])]
FUNCTIONS = [task_id for task_id in TASKS if not inspect.isclass(RIGHT[task_id][0])]


def test_every_task_of_the_manifest_has_answers() -> None:
    assert list(RIGHT) == TASKS and MISTAKES.keys() <= RIGHT.keys()


@pytest.mark.parametrize("task_id", TASKS)
def test_right_answers_pass_whatever_library_they_use(task_id: str) -> None:
    outcomes = [check(task_id, answer, seed=seed) for answer in RIGHT[task_id] for seed in (0, 7)]
    assert [o for o in outcomes if (o.status, o.points) != ("right", task(task_id).points)] == []


def declared(task_id: str) -> dict[str, Any]:
    """The mistakes that a task's own block declares: sentence to an answer that makes it."""
    judge = task(task_id).judge
    return {s: judge.mistaken(s) for s in judge.mistakes} if isinstance(judge, ByReference | InTurn) else {}


@pytest.mark.parametrize("task_id", TASKS)
def test_every_usual_mistake_gets_its_own_sentence(task_id: str) -> None:
    offenders = []
    for sentence, answer in MISTAKES.get(task_id, {}).items():
        outcome = check(task_id, answer)
        others = [other for other in MISTAKES[task_id] if other != sentence and other in outcome.message]
        if outcome.status != "wrong" or outcome.points or sentence not in outcome.message or others:
            offenders.append((sentence, outcome))
    for seed in (0, 7):
        for sentence, answer in declared(task_id).items():
            outcome = check(task_id, answer, seed=seed)
            if outcome.status != "wrong" or not outcome.message.startswith(sentence):
                offenders.append((f"{sentence}, seed {seed}", outcome))
    assert not offenders


def test_every_task_has_at_least_four_usual_mistakes() -> None:
    assert not [t for t in TASKS if len(MISTAKES.get(t, {})) + len(declared(t)) < 4]


# No check passes on numbers that were not computed


def zeros(numbers: Any) -> Any:
    return np.zeros_like(numbers)


def noise(numbers: Any) -> Any:
    return np.random.default_rng(0).normal(size=numbers.shape)


def shuffled(numbers: Any) -> Any:
    return np.random.default_rng(0).permutation(numbers.ravel()).reshape(numbers.shape)


def refill(value: Any, fill: Callable[[Any], Any]) -> Any:
    """A value with its structure kept and its numbers filled anew; `shuffled` shuffles its lists too."""
    if isinstance(value, dict):
        return dict(zip(value, refill(list(value.values()), fill), strict=True))
    if isinstance(value, torch.Tensor | np.ndarray):
        filled = fill(np.asarray(value, dtype=float))
        return torch.as_tensor(filled) if isinstance(value, torch.Tensor) else filled
    if isinstance(value, int | float | np.number):
        return type(value)(fill(np.asarray(value, dtype=float)).item())
    if isinstance(value, list | tuple) and all(isinstance(item, int | float | np.number) for item in value):
        return type(value)(fill(np.asarray(value)).tolist())
    if isinstance(value, list | tuple):
        order = np.random.default_rng(0).permutation(len(value)) if fill is shuffled else range(len(value))
        return type(value)(refill(value[i], fill) for i in order)
    return value


def same(one: Any, other: Any) -> bool:
    """Whether two values hold the same numbers, which a fill may give back by chance."""
    return repr(one) == repr(other)


@pytest.mark.parametrize("task_id", FUNCTIONS)
def test_zeros_random_numbers_and_shuffles_never_pass(task_id: str) -> None:
    for fill in (zeros, noise, shuffled):
        changed: list[bool] = []

        def answer(*case: Any, fill: Callable[[Any], Any] = fill, changed: list[bool] = changed) -> Any:
            right = RIGHT[task_id][0](*case)
            changed.append(not same(refilled := refill(right, fill), right))
            return refilled

        outcome = check(task_id, answer)
        if any(changed):
            assert outcome.status == "wrong", outcome
        else:
            assert fill is shuffled  # one number can't be shuffled


def test_the_fills_change_every_number_in_a_nested_value() -> None:
    value = [("a", np.array([1.0, 2.0])), ("b", {"c": torch.tensor([3.0, 4.0]), "d": 5.0})]
    blank = refill(value, zeros)
    assert blank[0][1].tolist() == [0, 0] and blank[1][1]["c"].tolist() == [0, 0] and blank[1][1]["d"] == 0
    assert refill([3, 1, 2, 5, 4], shuffled) != [3, 1, 2, 5, 4]
    assert [name for name, _ in refill([(c, 0.0) for c in "abcdef"], shuffled)] != list("abcdef")


@pytest.mark.parametrize("task_id", FUNCTIONS)
def test_what_was_right_for_one_seed_is_wrong_for_another(task_id: str) -> None:
    known: list[Any] = []
    assert check(task_id, lambda *case: known.append(RIGHT[task_id][0](*case)) or known[-1]).status == "right"
    for seed in (1, 2):
        turn = iter(known)
        outcome = check(task_id, lambda *case, turn=turn: next(turn, known[-1]), seed=seed)
        assert outcome.status != "right", seed


def test_zeros_and_random_vectors_never_pass_for_pairs_of_texts() -> None:
    shape = len(task("14.1").cases(0)[0][0]), 8
    for vectors in (np.zeros(shape), np.random.default_rng(0).random(shape)):
        assert check("14.1", lambda m, a, b, vectors=vectors: (vectors, vectors)).status == "wrong"


# The other outcomes, and hints


def test_an_answer_that_returns_nothing_is_not_attempted() -> None:
    assert not [t for t in TASKS if check(t, lambda *case: None).status != "not attempted"]


def test_an_answer_that_raises_is_an_error_with_its_message() -> None:
    outcome = check("14.2", lambda s, y: s["label"])
    assert outcome.status == "error" and "IndexError" in outcome.message


@pytest.mark.parametrize("task_id", FUNCTIONS)
def test_an_answer_of_the_wrong_type_gets_a_sentence_and_not_a_traceback(task_id: str) -> None:
    values: list[Any] = ["best first", 3, [None], {}]
    outcomes = [check(task_id, lambda *case, value=value: value) for value in values]
    assert not [o for o in outcomes if o.status not in ("wrong", "error") or len(o.message) < 20]
    kept = [o for o in outcomes if "argument must be" in o.message or "object is not" in o.message]  # Python's words
    assert not kept


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


@pytest.mark.parametrize("number", [0, -1])
def test_there_is_no_hint_below_the_first(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CourseError, match="hints 1 to 3"):
        hint("01.1", number)
    assert not capsys.readouterr().out


def test_what_raises_is_told_by_the_learners_innermost_line() -> None:
    def inner() -> float:
        return 1 / 0

    def outer(*case: Any) -> float:
        return inner()

    assert check("09.2", outer).message.endswith("return 1 / 0.")


def test_an_untouched_stub_is_not_kept_as_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[str] = []
    monkeypatch.setattr(notebook_module, "someone_is_there", lambda: True)
    monkeypatch.setattr(notebook_module.record, "keep", lambda task_id, status: kept.append(status))
    check("09.2", lambda *case: None)
    check("09.2", lambda *case: 3)
    assert kept == ["wrong"]


def test_an_exception_whose_text_raises_is_told_all_the_same() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise ValueError

    def mute(*case: Any) -> None:
        raise MuteError

    assert "can't be shown" in check("09.2", mute).message
