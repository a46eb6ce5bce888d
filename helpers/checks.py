"""What an exercise calls to check an answer in place, and to ask for a hint.

A check has four outcomes: right, wrong (with a sentence that says what was measured and what to
look at), error (the learner's code raised), and not attempted. The tasks themselves, with their
reference answers and usual mistakes, live in `helpers.exercises`, one module a lesson.

A task is judged on values alone: `probe` runs the learner's function on each case and collects
what it returns, `judge` looks only at those. So the two can run in different processes.
"""

import importlib
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from helpers.catalog import nearest
from helpers.errors import CourseError

Status = Literal["right", "wrong", "error", "not attempted"]
SIGNS = {"right": "✔", "wrong": "✘", "error": "⚠", "not attempted": "○"}


def call(answer: Any, case: tuple[Any, ...]) -> Any:
    """The usual probe: call the learner's function with the case's arguments."""
    return answer(*case)


@dataclass(frozen=True)
class Task:
    """One task of an exercise.

    `cases(seed)` draws the arguments to try; `judge(cases, values)` returns None for a right answer,
    else a sentence for the learner. `hints` go from a nudge to nearly the answer.
    """

    id: str
    title: str
    points: int
    cases: Callable[[int], Sequence[tuple[Any, ...]]]
    judge: Callable[[Sequence[tuple[Any, ...]], Sequence[Any]], str | None]
    hints: tuple[str, ...]
    probe: Callable[[Any, tuple[Any, ...]], Any] = call


@dataclass(frozen=True)
class Outcome:
    """What a check found. In a notebook it shows as its sentence."""

    task: str
    status: Status
    message: str
    points: int

    def __repr__(self) -> str:
        return f"{SIGNS[self.status]} {self.task} {self.status}: {self.message}"


def task(task_id: str) -> Task:
    """The task of an id such as "01.2".

    Raises:
        CourseError: there is no such task; proposes the nearest.
    """
    lesson = task_id.split(".", maxsplit=1)[0]
    try:
        tasks: dict[str, Task] = importlib.import_module(f"helpers.exercises.lesson_{lesson}").TASKS
    except ModuleNotFoundError:
        raise CourseError(f"There is no exercise for lesson {lesson!r}.") from None
    if task_id not in tasks:
        raise CourseError(f"There is no task {task_id!r}.{nearest(task_id, list(tasks))} It has {', '.join(tasks)}.")
    return tasks[task_id]


def check(task_id: str, answer: Any, *, seed: int = 0) -> Outcome:
    """Check an answer: run it on the task's cases and judge what it returns.

    Args:
        task_id: such as "01.2".
        answer: the function or class that the task asks for, under any name.
        seed: of the cases; another seed tries other inputs.
    """
    found = task(task_id)
    cases = found.cases(seed)
    try:
        values = [found.probe(answer, case) for case in found.cases(seed)]
    except NotImplementedError:
        return Outcome(task_id, "not attempted", f"{found.title}: replace the stub with your code.", 0)
    except Exception as error:
        return Outcome(task_id, "error", f"your code raised {_where(error)}.", 0)
    if all(value is None or value is Ellipsis for value in values):
        return Outcome(task_id, "not attempted", f"{found.title}: it returns nothing yet.", 0)
    try:
        message = found.judge(cases, values)
    except Exception as error:
        kind = type(values[0]).__name__
        return Outcome(task_id, "wrong", f"what it returns ({kind}) can't be compared: {error}.", 0)
    if message:
        return Outcome(task_id, "wrong", message, 0)
    return Outcome(task_id, "right", f"{found.title}.", found.points)


def hint(task_id: str, number: int = 1) -> None:
    """Print a hint; the later ones say more.

    Raises:
        CourseError: there is no hint of that number.
    """
    hints = task(task_id).hints
    if not 1 <= number <= len(hints):
        raise CourseError(f"Task {task_id} has hints 1 to {len(hints)}; there is no hint {number}.")
    print(f"Hint {number} of {len(hints)}: {hints[number - 1]}")


def _where(error: Exception) -> str:
    """The error, its message, and the line of the learner's code that raised it."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "helpers" not in f.filename]
    line = f" in line {frames[-1].lineno}: {frames[-1].line}" if frames and frames[-1].line else ""
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}{f' ({text})' if text else ''}{line}"
