"""What a learner calls in a notebook: `check`, `hint` and `progress`.

A check has four outcomes: right, wrong (with a sentence that says what was measured and what to look at), error (the
learner's code raised), and not attempted.
"""

import importlib
import pkgutil
import sys
from pathlib import Path
from typing import Any

from helpers import doctor
from helpers.checks import record
from helpers.checks.tasks import Outcome, Task, outcome, task
from helpers.errors import CourseError


def check(task_id: str, answer: Any, *, seed: int = 0, keep: bool = True) -> Outcome:
    """Check an answer: run it on the task's cases and judge what it returns.

    What a person tries is kept for `progress`; what papermill, nbval or nbgrader run is not.

    Args:
        task_id: such as "01.2".
        answer: the function or class that the task asks for, under any name.
        seed: of the cases; another seed tries other inputs.
        keep: whether it counts as tried; lesson 00 only shows what a check says.
    """
    result = outcome(task(task_id), answer, seed=seed)
    if result.status != "right" and (broken := _syntax_error()):
        message = f"the cell you ran last isn't Python ({broken}), so this is about what was defined before it."
        return Outcome(task_id, "error", message, 0)
    if keep and result.status != "not attempted" and someone_is_there():
        record.keep(task_id, result.status)
        if result.status == "right":
            print(_standing(task_id, result.points))
    return result


def _syntax_error() -> str:
    """What was wrong with the cell that was run before this one, if it never ran; a learner looks elsewhere for it."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    error = getattr(getattr(shell, "last_execution_result", None), "error_before_exec", None)
    return f"{type(error).__name__} in line {error.lineno}: {error.msg}" if isinstance(error, SyntaxError) else ""


def _standing(task_id: str, points: int) -> str:
    """What a right answer earned, how much of its exercise is left, and what comes next."""
    tried = record.read()
    tasks = list(importlib.import_module(f"helpers.exercises.lesson_{task_id[:2]}").TASKS)
    left = [other for other in tasks if tried.get(other) != "right"]
    following = f"{len(left)} of {len(tasks)} tasks left, next {left[0]}" if left else "the exercise is done"
    return f"{points} points; {following}. progress() shows the whole course."


def progress() -> Any:
    """How far a learner has come: a table of done, open and points by lesson, and where it is kept.

    Returns:
        A data frame, a row a lesson and the sum below.
    """
    import pandas as pd

    tried = record.read()
    titles = {lesson["name"][:2]: lesson["title"] for lesson in doctor.course().get("lesson", [])}
    exercises = pkgutil.iter_modules(importlib.import_module("helpers.exercises").__path__)
    rows, every = {}, []
    for name in sorted(module.name for module in exercises):
        tasks = list(importlib.import_module(f"helpers.exercises.{name}").TASKS.values())
        number = tasks[0].id[:2]
        rows[f"{number} {titles.get(number, '')}".strip()] = _row(tasks, tried)
        every += tasks
    rows["all"] = _row(every, tried) | {"open": ""}
    print(f"Kept in {str(record.place()).replace(str(Path.home()), '~')}; delete that file to begin anew.")
    return pd.DataFrame.from_dict(rows, orient="index")


def _row(tasks: list[Task], tried: dict[str, record.Tried]) -> dict[str, str]:
    """A line of the table: how many are done, which are open (and tried), the points."""
    done = [t for t in tasks if tried.get(t.id) == "right"]
    still = [f"{t.id} (tried)" if t.id in tried else t.id for t in tasks if t not in done]
    return {
        "done": f"{len(done)} of {len(tasks)}",
        "points": f"{sum(t.points for t in done)} of {sum(t.points for t in tasks)}",
        "open": ", ".join(still),
    }


def someone_is_there() -> bool:
    """Whether a person runs this in a notebook. What executes notebooks says that nobody can answer a question."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return bool(getattr(getattr(shell, "kernel", None), "_allow_stdin", False))


def hint(task_id: str, number: int = 1) -> None:
    """Print a hint; the later ones say more.

    Raises:
        CourseError: there is no hint of that number.
    """
    hints = task(task_id).hints
    if not 1 <= number <= len(hints):
        raise CourseError(f"Task {task_id} has hints 1 to {len(hints)}; there is no hint {number}.")
    print(f"Hint {number} of {len(hints)}: {hints[number - 1]}")
