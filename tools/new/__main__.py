"""`python -m tools.new task 03.5`, `lesson 20_something`, `model org/name`: write a beginning, build it, say the rest.

What is written passes the project's tests, so that from there on every change is a small one. CONTRIBUTING.md has the
recipes.
"""

import subprocess
import sys

from helpers.errors import CourseError
from tools.build import ROOT

USAGE = "Say what to begin: make new-task NAME=03.5, make new-lesson NAME=20_something, make new-model MODEL=org/name."


def main(arguments: list[str]) -> None:
    """Write one scaffold, and build what is built of it."""
    match arguments:
        case ["model", name] if name:
            from tools.new import model

            print(model.add(name, ROOT))
        case [("task" | "lesson") as kind, name] if name:
            from tools.new import lesson, task

            added, left = (task if kind == "task" else lesson).add(name, ROOT)
            for command in (["tools.build", added], ["tools.instructors"]):
                subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=True)
            print(left)
        case _:
            raise SystemExit(USAGE)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except CourseError as error:
        raise SystemExit(str(error)) from None
