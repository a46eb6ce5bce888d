"""What a task is, and the one outcome of an answer: right, wrong, error or not attempted.

A task is judged on values alone: `probe` runs the learner's function on each case and collects what it returns,
`judge` looks only at those. So the two can run in different processes, as they do in `tools.grading`.
"""

import importlib
import itertools
import tomllib
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, MappingView, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from helpers.errors import CourseError, nearest

Case = tuple[Any, ...]
Status = Literal["right", "wrong", "error", "not attempted"]
SIGNS = {"right": "✔", "wrong": "✘", "error": "⚠", "not attempted": "○"}
HELPERS = Path(__file__).parent.parent
TEXTS = HELPERS / "exercises" / "tasks.toml"
MESSAGE_CHARACTERS = 600
ITEMS = 100_000  # of an iterator, as in the sandbox of tools.grading
COMPLEX = "it returns complex numbers, and real ones are asked for."


def call(answer: Any, case: Case) -> Any:
    """The usual probe: call the learner's function with the case's arguments."""
    return answer(*case)


@dataclass(frozen=True)
class Task:
    """One task of an exercise; its title, points and hints are text, in `exercises/tasks.toml`.

    Attributes:
        id: lesson and number, such as "01.2".
        cases: seed to the arguments to try.
        judge: cases and what the answer returned for each, to None for a right answer, else a sentence for the learner.
        probe: runs the learner's function on a case.
    """

    id: str
    cases: Callable[[int], Sequence[Case]]
    judge: Callable[[Sequence[Case], Sequence[Any]], str | None]
    probe: Callable[[Any, Case], Any] = call

    @property
    def title(self) -> str:
        """What is asked for, in a few words."""
        return str(_texts()[self.id]["title"])

    @property
    def points(self) -> int:
        """What a right answer earns."""
        return int(_texts()[self.id]["points"])

    @property
    def hints(self) -> tuple[str, ...]:
        """From a nudge to nearly the answer."""
        return tuple(_texts()[self.id]["hints"])


@cache
def _texts() -> dict[str, Any]:
    return tomllib.loads(TEXTS.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Outcome:
    """What a check found. In a notebook it shows as its sentence; half a character in it stands as its escape."""

    task: str
    status: Status
    message: str
    points: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", self.message.encode("utf-8", "backslashreplace").decode())

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


def outcome(
    task: Task,
    answer: Any,
    *,
    seed: int = 0,
    order: Sequence[int] | None = None,
    described: Callable[[Exception], str] | None = None,
) -> Outcome:
    """Run an answer on a task's cases and judge what it returns; the same in a notebook and while grading.

    Args:
        task: what to judge it by.
        answer: the learner's function or class, or what stands for it in another process.
        seed: of the cases.
        order: in which the cases are tried; as drawn if None.
        described: an exception that running the answer raised, in words; `raised` if None.
    """
    cases, given = task.cases(seed), task.cases(seed)  # an answer may change what it is given
    values: list[Any] = [None] * len(cases)
    try:
        for i in order if order is not None else range(len(cases)):
            values[i] = settled(task.probe(answer, given[i]))
    except NotImplementedError:
        return Outcome(task.id, "not attempted", f"{task.title}: replace the stub with your code.", 0)
    except Exception as error:
        return Outcome(task.id, "error", f"{(described or raised)(error)}.", 0)
    if all(value is None or value is Ellipsis for value in values):
        return Outcome(task.id, "not attempted", f"{task.title}: it returns nothing yet.", 0)
    try:
        message = COMPLEX if any(map(imaginary, values)) else task.judge(cases, values)
    except Exception as error:
        shown = f"{type(values[0]).__name__}, {_short(values[0])}"
        message = f"it returns {shown}, which isn't what the task asks for ({type(error).__name__}): see its docstring."
    if message:
        return Outcome(task.id, "wrong", message[:MESSAGE_CHARACTERS], 0)
    return Outcome(task.id, "right", f"{task.title}.", task.points)


def raised(error: Exception) -> str:
    """What the learner's code raised and in which of its lines; or that what it returned can't be used."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not Path(f.filename).is_relative_to(HELPERS)]
    if not frames:
        return f"your code returned what can't be used ({type(error).__name__})"
    line = f" in line {frames[-1].lineno}: {frames[-1].line}" if frames[-1].line else ""
    text = " ".join(text_of(error).split())[:300]
    return f"your code raised {type(error).__name__}{f' ({text})' if text else ''}{line}"


def _short(value: Any) -> str:
    """The beginning of a value as text; of one that has none, nothing."""
    try:
        return str(value)[:60]
    except Exception:
        return "..."


def text_of(error: Exception) -> str:
    """An exception's text; of one whose text can't be had, that."""
    try:
        return str(error)
    except Exception:
        return "its text can't be shown: making it raises"


def settled(value: Any) -> Any:
    """What an answer returned, as it arrives where a class is graded: what is read once, or is a view, is a list."""
    if isinstance(value, Iterator | MappingView | deque | range):
        items: Iterable[Any] = value  # type: ignore[assignment]  # a MappingView says of itself no more than its length
        return list(itertools.islice(items, ITEMS))
    if type(value) in (list, tuple):
        return type(value)(map(settled, value))
    return value


def imaginary(value: Any) -> bool:
    """Whether there is a complex number in a value: NumPy and torch drop the imaginary part and compare the rest."""
    if isinstance(value, complex):
        return True
    if isinstance(value, Mapping):
        return any(map(imaginary, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(imaginary, value))
    dtype = getattr(value, "dtype", None)  # of NumPy, torch or pandas
    return dtype is not None and "complex" in str(dtype)
