"""Find the submissions in a folder or in the zip of a learning platform: whose, of which exercise, and what is wrong.

Understood are nbgrader's own folders (`student/exercise/exercise.ipynb`), a folder a student
(`student/exercise.ipynb`), Moodle's names (`Name_123_assignsubmission_file_/exercise.ipynb`) and Canvas's
(`name_123_456_exercise.ipynb`, with `LATE_` and `-1` where it adds them). Where files lie and whose they are is
`places`' to say, what a notebook holds `notebooks`'.
"""

import hashlib
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from helpers.errors import CourseError, nearest
from tools.grading.notebooks import read
from tools.grading.places import UNKNOWN, Held, held, plain, student_id

ATTEMPT = re.compile(r"(?:-(?P<dash>\d{1,6})| ?\((?P<bracket>\d{1,6})\))$")
COPY = re.compile(r"[-_ ]+copy(?:[-_ ]?\(?\d*\)?)$", re.IGNORECASE)  # JupyterLab's, macOS's, Windows's
COPY_OF = re.compile(r"^copy of ", re.IGNORECASE)  # Colab's


@dataclass(frozen=True)
class Found:
    """A file that somebody handed in. `problem` says why it can't be graded; `cells` are its cells otherwise.

    `place` is where a person finds it, through zips too; `exercise` is empty where a student handed in no notebook.
    """

    student: str
    exercise: str
    path: Path
    cells: tuple[dict[str, Any], ...] = ()
    problem: str | None = None
    place: str = ""


def collect(source: Path, unpacked: Path, exercises: Mapping[str, set[str]]) -> list[Found]:
    """Every submission in a folder or a zip, one for each student and exercise, in order.

    Every student of the source has at least one row; what is wrong with one's files touches no other's.

    Args:
        source: the folder, which may hold zips, or the zip.
        unpacked: a folder for the notebooks that zips hold; emptied first.
        exercises: the names of the exercises, each with the ids of its cells.

    Raises:
        CourseError: there is no such folder or zip, or the zip is not to be trusted.
    """
    if not source.exists():
        raise CourseError(f"There is no folder or zip {source}.")
    shutil.rmtree(unpacked, ignore_errors=True)
    files = sorted(held(source, unpacked, exercises), key=lambda file: (file.owner, file.place))
    names = _ids({file.owner for file in files})
    best: dict[tuple[str, str, str], tuple[int, str, Found]] = {}
    for file in files:
        if file.nothing:
            continue
        attempt, found = _identified(file, names[file.owner], exercises)
        key = file.owner, found.exercise, found.place if file.owner == UNKNOWN or file.is_zip else ""
        before = best.get(key)
        if before and (before[1] != file.origin or before[0] == attempt) and not _same(before[2], found):
            told = before[2].problem or f"two files are both theirs, {before[2].place} and {found.place}: keep one"
            best[key] = attempt, file.origin, replace(found, cells=(), problem=told)
        elif before is None or attempt > before[0]:
            best[key] = attempt, file.origin, found
    rows = [found for *_, found in best.values()]
    with_rows = {owner for owner, *_ in best}
    for file in files:
        if file.nothing and file.owner not in with_rows:
            rows.append(Found(names[file.owner], "", file.path, problem=file.problem, place=file.place))
            with_rows.add(file.owner)
    return sorted(rows, key=lambda found: (found.student, found.exercise, found.place))


def _same(one: Found, other: Found) -> bool:
    """Whether it is one notebook, handed in twice."""
    return not one.problem and not other.problem and one.cells == other.cells


def _ids(owners: set[str]) -> dict[str, str]:
    """Each owner's id, another for each; where two names become one, what was changed in them tells them apart."""
    ids: dict[str, str] = {}
    taken: dict[str, list[str]] = {}
    for owner in owners:
        taken.setdefault(_id(owner), []).append(owner)
    for same in taken.values():
        for owner in same:
            name = _id(owner)
            marked = len(same) > 1 and owner != name
            ids[owner] = f"{name}-{hashlib.sha256(repr(owner).encode()).hexdigest()[:6]}" if marked else name
    return ids


def _id(owner: str) -> str:
    return "unknown" if owner == UNKNOWN else student_id(owner) or "unnamed"


def _identified(file: Held, student: str, exercises: Mapping[str, set[str]]) -> tuple[int, Found]:
    """(attempt, submission) of a file, by its name and the folder that it lies in."""
    named = {name.casefold(): name for name in exercises}
    folder = named.get(file.folders[-1].casefold()) if file.folders else None

    def troubled(exercise: str, problem: str) -> Found:
        return Found(student, exercise, file.path, problem=problem, place=file.place)

    if file.owner == UNKNOWN or file.is_zip:
        return 0, troubled(student_id(file.name) or "unnamed", str(file.problem))
    attempt, stem = _stem(file.name, named)
    exercise = named.get(stem.casefold(), "")
    if file.problem:
        return attempt, troubled(exercise or folder or student_id(stem) or "unnamed", file.problem)
    cells, unread = read(file.path)
    if exercise:
        return attempt, Found(student, exercise, file.path, tuple(cells), unread, file.place)
    if folder:
        return attempt, troubled(folder, f"no exercise has the name {stem!r}; name it {folder}.ipynb")
    own = {cell["metadata"].get("nbgrader", {}).get("grade_id") for cell in cells}
    alike = max(exercises, key=lambda name: len(exercises[name] & own))
    hint = f" Its cells are those of {alike}: name it {alike}.ipynb." if exercises[alike] & own else ""
    told = f"no exercise has the name {stem!r}.{hint or nearest(stem, list(exercises))}"
    return attempt, troubled(student_id(stem) or "unnamed", told)


def _stem(name: str, named: Mapping[str, str]) -> tuple[int, str]:
    """(attempt, name without what platforms and systems add) of a file."""
    if name.casefold() in named:
        return 0, name
    match = ATTEMPT.search(name)
    attempt, bare = (int(match["dash"] or match["bracket"]), name[: match.start()]) if match else (0, name)
    for stem in (bare, COPY.sub("", bare), COPY.sub("", name), COPY_OF.sub("", bare)):
        if stem.casefold() in named:
            return attempt, stem
    return attempt, plain(bare)
