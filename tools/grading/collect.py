"""Find the submissions in a folder or in the zip of a learning platform: whose, of which exercise, and what is wrong.

Understood are nbgrader's own folders (`student/exercise/exercise.ipynb`), a folder a student
(`student/exercise.ipynb`), Moodle's names (`Name_123_assignsubmission_file_/exercise.ipynb`) and Canvas's
(`name_123_456_exercise.ipynb`, with `LATE_` and `-1` where it adds them).
"""

import json
import re
import shutil
import stat
import unicodedata
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from helpers.errors import CourseError, nearest

FILE_BYTES = 20_000_000  # of one notebook
ZIP_BYTES, ZIP_FILES = 2_000_000_000, 5_000  # of all that one zip unpacks to
CELLS = 1_000
IGNORED = {"__MACOSX", ".ipynb_checkpoints"}
MOODLE = re.compile(r"(?P<student>.+?_\d+)_assignsubmission_(?:file|onlinetext)_?(?P<file>.*)")
CANVAS = re.compile(r"(?P<student>[^_]+)_(?:LATE_)?(?P<number>\d+)_\d+_(?P<file>.+)")
ATTEMPT = re.compile(r"(?:-(?P<dash>\d+)| \((?P<bracket>\d+)\))$")


@dataclass(frozen=True)
class Found:
    """A file that somebody handed in. `problem` says why it can't be graded; `cells` are its cells otherwise."""

    student: str
    exercise: str
    path: Path
    cells: tuple[dict[str, Any], ...] = ()
    problem: str | None = None


def collect(source: Path, unpacked: Path, exercises: dict[str, set[str]]) -> list[Found]:
    """Every submission in a folder or a zip, one for each student and exercise, in order.

    Args:
        source: the folder, which may hold zips, or the zip.
        unpacked: a folder for what zips hold; emptied first.
        exercises: the names of the exercises, each with the ids of its cells.

    Raises:
        CourseError: there is no such folder or zip, or the zip is not to be trusted.
    """
    if not source.exists():
        raise CourseError(f"There is no folder or zip {source}.")
    shutil.rmtree(unpacked, ignore_errors=True)
    zips = [source] if source.is_file() else sorted(p for p in source.rglob("*.zip") if not p.is_symlink())
    roots = [] if source.is_file() else [source]
    best: dict[tuple[str, str], tuple[int, Found]] = {}
    for number, path in enumerate(zips):
        inside = path.parent.relative_to(source) if source.is_dir() else Path()
        roots.append(unpacked / str(number))
        try:
            extract(path, roots[-1] / inside)
        except CourseError as error:
            if path == source:
                raise
            who = student_id(inside.parts[0] if inside.parts else path.stem)
            name = student_id(path.name)
            best[who, name] = 0, Found(who, name, path, problem=str(error).rstrip("."))
    for root in roots:
        for path in sorted(root.rglob("*")):
            parts = path.relative_to(root).parts
            if path.suffix != ".ipynb" or IGNORED & set(parts) or (path.is_dir() and not path.is_symlink()):
                continue
            attempt, found = _identified(path, parts, exercises)
            key = found.student, found.exercise
            if key in best and attempt == best[key][0] and found.path != best[key][1].path:
                told = f"two files are both theirs, {best[key][1].path.name} and {found.path.name}: keep one"
                best[key] = attempt, Found(*key, path, problem=told)
            elif key not in best or attempt > best[key][0]:
                best[key] = attempt, found
        for name in _empty_handed(root):
            best.setdefault((name, ""), (0, Found(name, "", root / name, problem="there is no notebook in it")))
    return [found for _, (_, found) in sorted(best.items())]


def _empty_handed(root: Path) -> Iterator[str]:
    """Students whose folder holds no notebook at all."""
    for path in root.iterdir() if root.exists() else ():
        held = any(inside.suffix in (".ipynb", ".zip") for inside in path.rglob("*"))
        if path.is_dir() and path.name not in IGNORED and not held:
            yield student_id(match["student"] if (match := MOODLE.fullmatch(path.name)) else path.name)


def extract(path: Path, to: Path) -> None:
    """Unpack a zip; no member may leave the folder, be a link, or be out of proportion.

    Raises:
        CourseError: it isn't a zip, or has such a member.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            if len(members) > ZIP_FILES or sum(m.file_size for m in members) > ZIP_BYTES:
                raise CourseError(f"{path.name} unpacks to more than {ZIP_FILES} files or {ZIP_BYTES / 1e9:g} GB.")
            for member in members:
                inside = PurePosixPath(member.filename.replace("\\", "/"))
                if inside.is_absolute() or ".." in inside.parts or ":" in member.filename[:3]:
                    raise CourseError(f"{path.name} holds {member.filename!r}, which lies outside; it isn't unpacked.")
                if stat.S_ISLNK(member.external_attr >> 16):
                    raise CourseError(f"{path.name} holds the link {member.filename!r}; it isn't unpacked.")
                if member.file_size > FILE_BYTES:
                    continue
                target = to / inside
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as packed, target.open("wb") as file:
                    file.write(packed.read(FILE_BYTES))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise CourseError(f"{path.name} can't be unpacked: {error}.") from None


def _identified(path: Path, parts: tuple[str, ...], exercises: dict[str, set[str]]) -> tuple[int, Found]:
    """(attempt, submission) of a file, by its place and its name."""
    folders, stem, student = parts[:-1], path.stem, ""
    for part in (*folders, stem):
        if match := MOODLE.fullmatch(part):
            student, stem = match["student"], match["file"] or stem
    if not student and (match := CANVAS.fullmatch(stem)):
        student, stem = f"{match['student']}_{match['number']}", match["file"]
    if not student and folders:
        student = folders[-2] if len(folders) > 1 and folders[-1] in exercises else folders[-1]
    attempt = 0
    if stem not in exercises and (match := ATTEMPT.search(stem)):
        attempt, stem = int(match["dash"] or match["bracket"]), stem[: match.start()]
    student, stem = student_id(student), stem if stem in exercises else student_id(stem) or "unnamed"
    if not student or student in exercises:
        problem = "whose it is can't be told: put it into a folder with the student's name"
        return attempt, Found("unknown", student_id(path.name), path, problem=problem)
    if path.is_symlink() or not path.is_file():
        return attempt, Found(student, stem, path, problem="it is a link, not a file")
    cells, unread = read(path)
    if stem not in exercises and not (folders and folders[-1] in exercises):
        own = {c["metadata"].get("nbgrader", {}).get("grade_id") for c in cells}
        alike = max(exercises, key=lambda name: len(exercises[name] & own))
        hint = f" Its cells are those of {alike}: name it {alike}.ipynb." if exercises[alike] & own else ""
        told = f"no exercise has the name {stem!r}.{hint or nearest(stem, list(exercises))}"
        return attempt, Found(student, stem, path, problem=told)
    if stem not in exercises:
        told = f"no exercise has the name {stem!r}; name it {folders[-1]}.ipynb"
        return attempt, Found(student, folders[-1], path, problem=told)
    return attempt, Found(student, stem, path, tuple(cells), unread)


def student_id(name: str) -> str:
    """A name that is safe as a folder's."""
    name = unicodedata.normalize("NFC", name).strip()
    return re.sub(r"[^\w.@+=,' -]", "_", name)[:80].strip(" .")


def read(path: Path) -> tuple[list[dict[str, Any]], str | None]:
    """A notebook's cells (type, source, metadata), and why it can't be read."""
    if path.stat().st_size > FILE_BYTES:
        return [], f"the file has {path.stat().st_size / 1e6:.0f} MB, and {FILE_BYTES / 1e6:.0f} MB is the limit"
    try:
        notebook = json.loads(path.read_bytes())
        cells = [_cell(cell) for cell in notebook["cells"]]
    except json.JSONDecodeError as error:
        return [], f"it isn't JSON, so no notebook: line {error.lineno}, {error.msg}"
    except (ValueError, RecursionError):
        return [], "it isn't text in UTF-8 that holds a notebook"
    except (KeyError, TypeError, AttributeError):
        return [], "it is JSON, but no notebook of format 4: save it again with Jupyter"
    if len(cells) > CELLS:
        return [], f"it has {len(cells)} cells, and {CELLS} is the limit"
    return cells, None


def _cell(cell: dict[str, Any]) -> dict[str, Any]:
    source = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
    kind = cell["cell_type"] if cell["cell_type"] in ("code", "markdown") else "raw"
    grading = (cell.get("metadata") or {}).get("nbgrader")
    grade_id = grading.get("grade_id") if isinstance(grading, dict) else None
    kept = {"nbgrader": {"grade_id": grade_id}} if isinstance(grade_id, str) else {}
    return {"cell_type": kind, "source": source, "metadata": kept}
