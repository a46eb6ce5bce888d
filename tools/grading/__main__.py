"""`python -m tools.grading SUBMISSIONS`: from a folder or zip of submissions to marks and feedback, in one go."""

import argparse
import io
import json
import os
import re
import secrets
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from tqdm import tqdm

from helpers.errors import CourseError
from tools.grading import sandbox
from tools.grading.collect import Found, collect
from tools.grading.export import Row, table, write
from tools.grading.gradebook import Course
from tools.grading.judge import Exercise, Verdict, judge_apart
from tools.grading.notebooks import whole

ROOT = Path(__file__).parent.parent.parent
STUB = re.compile(r'^check\("(?P<task>[\d.]+)", (?P<function>\w+)', re.MULTILINE)


def exercises(root: Path = ROOT) -> dict[str, Exercise]:
    """Each exercise with its tasks and the names of their functions, from the learners' copies."""
    found = {}
    for lesson in tomllib.loads((root / "course.toml").read_text(encoding="utf-8"))["lesson"]:
        if "exercise" in lesson:
            name = lesson["name"]
            cells = json.loads((root / "exercises" / name / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
            sources = ["".join(cell["source"]) for cell in cells]
            stubs = {m["task"]: m["function"] for source in sources for m in STUB.finditer(source)}
            ids = {i for cell in cells if (i := cell["metadata"].get("nbgrader", {}).get("grade_id"))}
            found[name] = Exercise(name, stubs, frozenset(ids))
    return found


def seed_of(folder: Path) -> int:
    """The class's seed, drawn once and kept: learners can't know it, and a second run gives the same marks."""
    path = folder / "seed.txt"
    if not path.exists():
        path.write_text(f"{secrets.randbelow(2**31)}\n", encoding="ascii")
    return int(path.read_text(encoding="ascii"))


def grade(
    source: Path, *, root: Path = ROOT, workers: int = 2, unsafe: bool = False, limits: sandbox.Limits | None = None
) -> list[Row]:
    """Collect, run, judge, file and export; one row for each submission.

    Raises:
        CourseError: there are no submissions, or no sandbox can be had and `unsafe` isn't asked for.
    """
    if not unsafe and (trouble := sandbox.trouble()):
        raise CourseError(f"Submissions can't run in a sandbox: {trouble}. With --unsafe they run as you do.")
    course, known = Course(root), exercises(root)
    submissions = collect(source, course.folder / "unpacked", {name: set(e.cells) for name, e in known.items()})
    if not submissions:
        raise CourseError(f"There is no submission in {source}; it holds folders with notebooks, or a platform's zip.")
    seed = seed_of(course.folder)
    for exercise in {found.exercise for found in submissions if not found.problem}:
        course.release(exercise)  # what fails here is no learner's fault
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(workers) as pool:
        rooms = sandbox.furnish(Path(folder))

        def verdict(found: Found) -> Verdict:
            if found.problem:
                return Verdict(failed=found.problem)
            cells = [(i, c["source"]) for i, c in enumerate(found.cells) if c["cell_type"] == "code"]
            try:
                return judge_apart(cells, known[found.exercise], seed, limits or sandbox.Limits(), rooms, unsafe=unsafe)
            except CourseError:
                raise
            except Exception as error:  # whatever it is, the others are graded
                return Verdict(failed=f"judging it ended early ({type(error).__name__}: {error})"[:300])

        bar = tqdm(pool.map(verdict, submissions), "run", total=len(submissions), unit="submission")
        verdicts = list(bar)
    pairs = zip(submissions, verdicts, strict=True)
    rows = [_filed(course, *pair) for pair in tqdm(pairs, "file", total=len(submissions), unit="submission")]
    write(rows, course.folder / "marks.csv")
    return rows


def _filed(course: Course, found: Found, verdict: Verdict) -> Row:
    """The submission's row, also where it can't be filed: the others are."""
    try:
        return course.file(found, verdict)
    except Exception as error:
        reason = whole(f"it can't be filed ({type(error).__name__}: {error})"[:300])
        try:
            return course.fail(found, reason)
        except Exception:
            return Row(found.student, found.exercise, "failed", "", "", "", reason)


def main() -> None:
    """Read the command line, grade, print the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.grading", description=__doc__)
    parser.add_argument("submissions", type=Path, help="a folder, or the zip of Moodle or Canvas")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) // 2), help="submissions at a time")
    parser.add_argument("--unsafe", action="store_true", help="run submissions without a sandbox, as yourself")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.unsafe:
        print("Without a sandbox, what learners wrote runs as you, with all that you may do.")
    try:
        rows = grade(options.submissions, workers=options.workers, unsafe=options.unsafe)
    except CourseError as error:
        raise SystemExit(str(error)) from None
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # of names that this terminal has no letters for
    print(table(rows))
    print("\nWritten: grading/marks.csv, grading/feedback/")


if __name__ == "__main__":
    main()
