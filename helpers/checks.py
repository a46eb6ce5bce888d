"""What an exercise calls to check an answer in place, and to ask for a hint.

A check has four outcomes: right, wrong (with a sentence that says what was measured and what to
look at), error (the learner's code raised), and not attempted. The tasks themselves, with their
reference answers and usual mistakes, live in `helpers.exercises`, one module a lesson.

A task is judged on values alone: `probe` runs the learner's function on each case and collects
what it returns, `judge` looks only at those. So the two can run in different processes.
"""

import importlib
import pkgutil
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from helpers import doctor, record
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
        said = "not attempted yet" if self.status == "not attempted" else self.status
        return f"{SIGNS[self.status]} {self.task} {said}: {self.message}"


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

    What a person tries is kept for `progress`; what papermill, nbval or nbgrader run is not.

    Args:
        task_id: such as "01.2".
        answer: the function or class that the task asks for, under any name.
        seed: of the cases; another seed tries other inputs.
    """
    outcome = _outcome(task_id, answer, seed)
    if outcome.status != "not attempted" and _someone_is_there():
        record.keep(task_id, outcome.status)
    return outcome


def progress() -> Any:
    """How far a learner has come: a table of done, open and points by lesson, and where it is kept.

    Returns:
        A data frame, a row a lesson and the sum below.
    """
    import pandas as pd

    kept = record.read()
    titles = {lesson["name"][:2]: lesson["title"] for lesson in doctor.course().get("lesson", [])}
    exercises = pkgutil.iter_modules(importlib.import_module("helpers.exercises").__path__)
    rows, every = {}, []
    for name in sorted(found.name for found in exercises):
        tasks = list(importlib.import_module(f"helpers.exercises.{name}").TASKS.values())
        number = tasks[0].id[:2]
        rows[f"{number} {titles.get(number, '')}".strip()] = _row(tasks, kept)
        every += tasks
    rows["all"] = _row(every, kept) | {"open": ""}
    print(f"Kept in {str(record.place()).replace(str(Path.home()), '~')}; delete that file to begin anew.")
    return pd.DataFrame.from_dict(rows, orient="index")


def _row(tasks: list[Task], kept: dict[str, record.Tried]) -> dict[str, str]:
    """A line of the table: how many are done, which are open (and tried), the points."""
    done = [t for t in tasks if kept.get(t.id) == "right"]
    still = [f"{t.id} (tried)" if t.id in kept else t.id for t in tasks if t not in done]
    return {
        "done": f"{len(done)} of {len(tasks)}",
        "points": f"{sum(t.points for t in done)} of {sum(t.points for t in tasks)}",
        "open": ", ".join(still),
    }


def _someone_is_there() -> bool:
    """Whether a person runs this in a notebook. What executes notebooks says that nobody can answer a question."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return bool(getattr(getattr(shell, "kernel", None), "_allow_stdin", False))


def _outcome(task_id: str, answer: Any, seed: int) -> Outcome:
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
