"""Which tasks a learner has tried and solved: one small JSON file, which may be deleted at any time.

`helpers.checks` writes it when a person runs `check`, and `helpers.checks.progress` shows it.
"""

import os
from pathlib import Path
from typing import Literal

from filelock import FileLock
from platformdirs import user_data_path
from pydantic import TypeAdapter, ValidationError

from helpers import files

VARIABLE = "EMBEDDING_COURSE_PROGRESS"
WAIT_S = 5.0  # for another notebook that writes at this moment

Tried = Literal["right", "wrong", "error"]
RECORD = TypeAdapter(dict[str, Tried])


def place() -> Path:
    """The file: `$EMBEDDING_COURSE_PROGRESS`, or `progress.json` in the user's data folder."""
    chosen = os.environ.get(VARIABLE)
    return (
        Path(chosen).expanduser() if chosen else user_data_path("embedding-course", appauthor=False) / "progress.json"
    )


def read() -> dict[str, Tried]:
    """The best outcome of each task that was tried; a file that can't be understood is set aside, with a sentence."""
    file = place()
    try:
        return RECORD.validate_json(file.read_bytes())
    except ValidationError:
        broken = file.with_suffix(".broken.json")
        try:
            file.replace(broken)
        except OSError:
            return {}
        print(f"The record of your progress couldn't be read; it is now {broken.name}, and a new one begins.")
    except OSError:
        pass  # nothing was tried yet
    return {}


def keep(task: str, tried: Tried) -> None:
    """Note how a task went. A task once right stays right, whatever is tried afterwards.

    Where the file can't be written a sentence says so, and nothing is lost but the note.
    """
    file = place()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock"), timeout=WAIT_S):
            record = read()
            if record.get(task) in ("right", tried):
                return
            files.replace(file, RECORD.dump_json(dict(sorted((record | {task: tried}).items())), indent=1))
    except OSError as error:
        reason = error.strerror or "another program holds it"
        print(f"Your progress isn't kept, {file.name} can't be written ({reason}); set {VARIABLE} to a file that can.")
