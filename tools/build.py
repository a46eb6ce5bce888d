"""Build notebooks/, solutions/ and exercises/ from lessons/, the only place where they are edited.

Run it as `make build`, or `python -m tools.build 01_sentence_transformers` for one lesson.
`lessons/NAME.py` becomes `notebooks/NAME.ipynb`, executed. `lessons/exercises/NAME.py` becomes
`solutions/NAME/NAME.ipynb`, executed, and `exercises/NAME/NAME.ipynb`, in which nbgrader has put a
stub where each solution was. Cell ids follow from the text, so an unchanged cell keeps its id.
"""

import copy
import hashlib
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient
from nbgrader.preprocessors import ClearSolutions
from tqdm import tqdm

from helpers import checks

ROOT = Path(__file__).parent.parent
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
CHECK = re.compile(r'^check\("(?P<task>[\d.]+)"', re.MULTILINE)
STUB = "raise NotImplementedError"


def manifest(root: Path = ROOT) -> list[dict[str, Any]]:
    """The lessons of course.toml, in order."""
    lessons: list[dict[str, Any]] = tomllib.loads((root / "course.toml").read_text(encoding="utf-8"))["lesson"]
    return lessons


def outputs(lesson: dict[str, Any], root: Path = ROOT) -> Iterator[tuple[Path, Any]]:
    """(path, notebook without outputs) for each file that a lesson gives."""
    name = lesson["name"]
    yield root / "notebooks" / f"{name}.ipynb", _notebook(root / "lessons" / f"{name}.py", lesson)
    if "exercise" in lesson:
        solved = _notebook(root / "lessons" / "exercises" / f"{name}.py", lesson)
        stubbed = _stubbed(solved)  # before the solution is handed out and executed
        yield root / "solutions" / name / f"{name}.ipynb", solved
        yield root / "exercises" / name / f"{name}.ipynb", stubbed


def source_of(notebook: Any) -> list[Any]:
    """What must agree between a built notebook and its source: all but outputs and counts."""
    return [notebook.metadata, *((c.cell_type, c.id, c.metadata, c.source) for c in notebook.cells)]


def build(lesson: dict[str, Any], root: Path = ROOT) -> None:
    """Write a lesson's files; notebooks and solutions are executed top to bottom in their folder."""
    for path, notebook in outputs(lesson, root):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_relative_to(root / "exercises"):
            nbformat.write(notebook, path)
            continue
        NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
        _tidy(notebook)
        nbformat.write(notebook, path)


def _notebook(source: Path, lesson: dict[str, Any]) -> Any:
    text = source.read_text(encoding="utf-8")
    facts = {k: str(v) for k, v in lesson.items()} | {
        f"exercise_{k}": str(v) for k, v in lesson.get("exercise", {}).items()
    }
    megabytes = lesson["download_mb"]
    facts["download"] = (
        f"up to {megabytes} MB to download, nothing without a hub" if megabytes else "nothing to download"
    )
    tasks = [checks.task(task_id) for task_id in lesson.get("exercise", {}).get("tasks", [])]
    facts["exercise_points"] = str(sum(task.points for task in tasks))
    facts |= {task.id: f"{task.id} {task.title} ({task.points} points)" for task in tasks}
    text = re.sub(r"\{\{([\w.]+)\}\}", lambda match: facts[match[1]], text)
    notebook = jupytext.reads(text, fmt="py:percent")
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        digest = hashlib.sha256(f"{source.stem}\n{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:10]
        seen[digest] = seen.get(digest, 0) + 1
        cell.id = f"{digest}-{seen[digest]}"
        if cell.cell_type == "code":
            _mark_for_grading(cell)
    return notebook


def _mark_for_grading(cell: Any) -> None:
    """nbgrader's metadata: solutions are the learner's to edit, checks carry the points."""
    found = CHECK.search(cell.source)
    if found:
        task = checks.task(found["task"])
        cell.metadata["nbgrader"] = _grading(f"check-{task.id}", grade=True, solution=False) | {"points": task.points}
    elif "### BEGIN SOLUTION" in cell.source:
        name = re.search(r"^(?:def|class) (\w+)", cell.source, re.MULTILINE)
        cell.metadata["nbgrader"] = _grading(name[1] if name else cell.id, grade=False, solution=True)


def _grading(grade_id: str, *, grade: bool, solution: bool) -> dict[str, Any]:
    return {
        "grade": grade,
        "grade_id": grade_id.replace(".", "-"),
        "locked": grade,
        "schema_version": 3,
        "solution": solution,
        "task": False,
    }


def _stubbed(solved: Any) -> Any:
    cleared, _ = ClearSolutions(code_stub={"python": STUB}).preprocess(copy.deepcopy(solved), {})
    return cleared


def _tidy(notebook: Any) -> None:
    """Keep what a reader sees; drop progress bars, timestamps and what else differs from run to run."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        cell.outputs = [
            output
            for output in cell.outputs
            if output.get("name") != "stderr"
            and "application/vnd.jupyter.widget-view+json" not in output.get("data", {})
        ]
    notebook.metadata["language_info"] = {"name": "python"}


def main(names: list[str]) -> None:
    """Build the lessons of these names, or all."""
    chosen = [lesson for lesson in manifest() if not names or lesson["name"] in names]
    if missing := set(names) - {lesson["name"] for lesson in chosen}:
        raise SystemExit(f"course.toml has no lesson {', '.join(sorted(missing))}.")
    for lesson in (bar := tqdm(chosen, unit="lesson")):
        bar.set_postfix_str(lesson["name"])
        build(lesson)


if __name__ == "__main__":
    main(sys.argv[1:])
