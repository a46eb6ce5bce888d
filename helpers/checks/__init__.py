"""Exercises that check themselves: `check` an answer in place, ask for a `hint`, see your `progress`.

The tasks with their references and usual mistakes are in `helpers.exercises`; marks for a class are `tools.grading`'s.
"""

from helpers.checks.notebook import check, hint, progress
from helpers.checks.tasks import Outcome, Task, outcome, task

__all__ = ["Outcome", "Task", "check", "hint", "outcome", "progress", "task"]
