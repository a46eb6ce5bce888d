"""File verdicts with nbgrader: submissions in its folders, marks in its gradebook, feedback as HTML.

nbgrader runs no code of a submission here. In the place of its own execution stands `FileVerdicts`, which puts the
sandbox's outputs into the cells, the judge's sentence under each check, and the points into the gradebook. Marks and
comments given by hand are nbgrader's own and stay.
"""

import html
import json
import logging
import os
import re
import shutil
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.apps import NbGraderAPI
from nbgrader.preprocessors import SaveAutoGrades
from traitlets.config.loader import PyFileConfigLoader

from helpers.checks.tasks import SIGNS
from helpers.errors import CourseError
from tools.grading import pages
from tools.grading.collect import Found
from tools.grading.export import Row
from tools.grading.judge import Verdict
from tools.grading.notebooks import whole

logging.getLogger("traitlets").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="nbgrader")  # SQLAlchemy's, of how nbgrader goes about its tables


class FileVerdicts(SaveAutoGrades):  # type: ignore[misc]
    """nbgrader's step between a submission and its marks."""

    def preprocess(self, nb: Any, resources: Any) -> Any:
        """Fill the cells' outputs and save the marks, from the file beside the submission."""
        who, what = resources["nbgrader"]["student"], resources["nbgrader"]["assignment"]
        root = Path(resources["nbgrader"]["db_url"].removeprefix("sqlite:///")).parent
        self.filed = json.loads((root / "verdicts" / who / f"{what}.json").read_text(encoding="utf-8"))
        return super().preprocess(nb, resources)

    def preprocess_cell(self, cell: Any, resources: Any, cell_index: int) -> Any:
        """One cell's outputs; a check shows what the judge found, whatever it showed in the sandbox."""
        number = cell.metadata.pop("sandbox_cell", None)
        if cell.cell_type == "code":
            outputs = self.filed["outputs"].get(str(number), [])
            if outcome := self.filed["outcomes"].get(cell.metadata.get("nbgrader", {}).get("grade_id")):
                outputs = [_stream(outcome["text"])]
            cell.outputs = [nbformat.from_dict(output) for output in outputs]
        return super().preprocess_cell(cell, resources, cell_index)

    def _add_score(self, cell: Any, resources: Any) -> None:
        grade_id = cell.metadata["nbgrader"]["grade_id"]
        grade = self.gradebook.find_grade(grade_id, self.notebook_id, self.assignment_id, self.student_id)
        outcome = self.filed["outcomes"].get(grade_id)
        grade.auto_score = outcome and outcome["points"]
        unmarked = grade.manual_score is None or grade_id in self.filed["changed"]
        grade.needs_manual_grade = grade.auto_score is None and unmarked
        self.gradebook.db.commit()


class Course:
    """nbgrader's folders under `root`, whose settings are in nbgrader_config.py there."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / "grading"
        self.folder.mkdir(exist_ok=True)
        beside = str(Path(sys.executable).parent)  # nbgrader calls alembic, which pip put there
        os.environ["PATH"] = os.pathsep.join([beside, os.environ.get("PATH", os.defpath)])
        config = PyFileConfigLoader("nbgrader_config.py", path=str(root)).load_config()
        self.api = NbGraderAPI(config=config)
        self.api.log.setLevel(logging.CRITICAL)
        self.releases: dict[str, Any] = {}

    def release(self, exercise: str) -> Any:
        """The exercise as nbgrader releases it, entered in the gradebook.

        Raises:
            CourseError: nbgrader can't make it.
        """
        if exercise not in self.releases:
            result = self.api.generate_assignment(exercise, force=True, create=True)
            if not result["success"]:
                raise CourseError(f"nbgrader can't release {exercise}: {result.get('error') or result.get('log')}")
            path = self.folder / "release" / exercise / f"{exercise}.ipynb"
            self.releases[exercise] = nbformat.read(path, as_version=4)
        return self.releases[exercise]

    def file(self, found: Found, verdict: Verdict) -> Row:
        """Enter a submission and its verdict; write the feedback; say what became of it."""
        if verdict.failed or found.problem:
            return self.fail(found, verdict.failed or str(found.problem))
        release = self.release(found.exercise)
        notebook = cleaned(found.cells, release)
        changed = self._changed(found, notebook)
        outcomes = {
            f"check-{o.task.replace('.', '-')}": {
                "points": o.points,
                "text": f"{SIGNS[o.status]} {o.status}: {o.message}",
            }
            for o in verdict.outcomes
        }
        outputs = {number: safe(outputs) for number, outputs in verdict.outputs.items()}
        self._write(
            f"verdicts/{found.student}/{found.exercise}.json",
            {"outcomes": outcomes, "outputs": outputs, "changed": changed},
        )
        shutil.rmtree(self.folder / "submitted" / found.student / found.exercise, ignore_errors=True)
        self._write(f"submitted/{found.student}/{found.exercise}/{found.exercise}.ipynb", notebook)
        for step in (self.api.autograde, self.api.generate_feedback):
            result = step(found.exercise, found.student, force=True)
            if not result["success"]:
                told = str(result.get("error") or result.get("log")).strip().splitlines() or ["no reason given"]
                return self.fail(found, f"nbgrader can't file it: {told[-1]}"[:500])
        page = self.folder / "feedback" / found.student / found.exercise / f"{found.exercise}.html"
        page.write_text(pages.locked(page.read_text(encoding="utf-8")), encoding="utf-8")
        return self._row(found, verdict)

    def fail(self, found: Found, reason: str) -> Row:
        """Enter that a submission has failed: no mark, and the mark of a run before is taken back.

        Of a student who handed in no notebook at all there is a row and nothing to file.
        """
        reason = whole(reason)
        row = Row(found.student, found.exercise, "failed", "", "", "", reason)
        if not found.exercise:
            return row
        for folder in ("submitted", "autograded", "feedback"):
            shutil.rmtree(self.folder / folder / found.student / found.exercise, ignore_errors=True)
        with Gradebook(self.api.coursedir.db_url) as book:
            try:
                before = book.find_submission(found.exercise, found.student)
                for grade in (grade for notebook in before.notebooks for grade in notebook.grades):
                    grade.auto_score, grade.needs_manual_grade = None, True
                book.db.commit()
            except MissingEntry:
                pass
        head = f"<head>{pages.NO_SCRIPT}<meta charset='utf-8'><title>{html.escape(found.exercise)}</title></head>"
        page = f"<!doctype html>{head}<p>Not graded: "
        path = f"feedback/{found.student}/{found.exercise}/{Path(found.exercise).stem}.html"
        self._write(path, f"{page}{html.escape(reason)}.</p>\n")
        return row

    def _row(self, found: Found, verdict: Verdict) -> Row:
        with Gradebook(self.api.coursedir.db_url) as book:
            entry = book.find_submission(found.exercise, found.student)
            status = "needs manual grading" if entry.needs_manual_grade else "graded"
            tasks = "; ".join(f"{o.task} {o.status} {o.points}" for o in verdict.outcomes)
            points = entry.score - (entry.notebooks[0].late_submission_penalty or 0)
            return Row(found.student, found.exercise, status, f"{points:g}", f"{entry.max_score:g}", tasks, "")

    def _changed(self, found: Found, notebook: Any) -> list[str]:
        """The cells whose text isn't that of the last grading, so that a mark given by hand needs another look."""
        path = self.folder / "autograded" / found.student / found.exercise / f"{found.exercise}.ipynb"
        before = _by_id(nbformat.read(path, as_version=4)) if path.exists() else {}
        now = _by_id(notebook)
        return [name for name in before if name in now and before[name].source != now[name].source]

    def _write(self, name: str, content: Any) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content, indent=1, ensure_ascii=False)
        path.write_text(whole(text), encoding="utf-8")


def cleaned(cells: Sequence[dict[str, Any]], release: Any) -> Any:
    """A submission with the release's grading cells: what is locked as released, once each, nothing missing.

    Edited checks are put back, second copies lose their marks, deleted cells return behind the cell they followed.
    """
    known = _by_id(release)
    texts = {cell.source for cell in release.cells if cell.cell_type == "markdown"}
    taken: dict[str, int] = {}
    made: list[Any] = []
    size = 0
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            new = nbformat.v4.new_code_cell(cell["source"])
        else:
            own = cell["source"] not in texts
            new = nbformat.v4.new_markdown_cell(pages.clean(cell["source"], size) if own else cell["source"])
            size += len(cell["source"]) if own else 0
        name = cell["metadata"].get("nbgrader", {}).get("grade_id")
        original = known.get(name)
        if original is not None and name not in taken and original.cell_type == cell["cell_type"]:
            new = nbformat.from_dict(original | {"source": original.source if _locked(original) else new.source})
            taken[name] = number
        if cell["cell_type"] == "code":
            new.metadata["sandbox_cell"] = number
        made.append(new)
    before = None
    for name, original in known.items():
        if name not in taken:
            missing = nbformat.from_dict(dict(original))
            if not _locked(original) and original.cell_type == "code":
                missing.source = "# This cell is missing from the submission."
            place = next((i for i, cell in enumerate(made) if _grade_id(cell) == before), -1) if before else -1
            made.insert(place + 1, missing)
        before = name
    for number, cell in enumerate(made):
        cell.id = f"cell-{number}"
    return nbformat.v4.new_notebook(cells=made, metadata=release.metadata)


def _grade_id(cell: Any) -> str | None:
    name: str | None = cell.metadata.get("nbgrader", {}).get("grade_id")
    return name


def _by_id(notebook: Any) -> dict[str, Any]:
    return {name: cell for cell in notebook.cells if (name := _grade_id(cell))}


def _locked(cell: Any) -> bool:
    return bool(cell.metadata["nbgrader"]["locked"])


def safe(outputs: Sequence[Any]) -> list[dict[str, Any]]:
    """Outputs that came out of a sandbox, as a notebook may hold them: text and pictures, nothing that is executed."""
    kept: list[dict[str, Any]] = []
    for output in (output for output in outputs[:50] if isinstance(output, dict)):
        kind, data = output.get("output_type"), output.get("data")
        if kind == "stream":
            kept.append(_stream(_text(output.get("text")), "stderr" if output.get("name") == "stderr" else "stdout"))
        elif kind == "error":
            facts = {key: _text(output.get(key)) for key in ("ename", "evalue")}
            kept.append({"output_type": "error", **facts, "traceback": _text(output.get("traceback")).split("\n")})
        elif kind == "display_data" and isinstance(data, dict):
            shown = {"text/plain": _text(data["text/plain"])} if "text/plain" in data else {}
            picture = data.get("image/png")
            if isinstance(picture, str) and re.fullmatch(r"[A-Za-z0-9+/=\s]{1,500000}", picture):
                shown["image/png"] = picture
            kept.append({"output_type": "display_data", "data": shown, "metadata": {}})
    return kept


def _text(value: Any) -> str:
    """At most 25,000 characters, and 500 in a line."""
    lines = (line if len(line) <= 500 else f"{line[:500]} ... cut" for line in str(value)[:25_000].split("\n"))
    return re.sub(r"0x[0-9a-f]{6,}", "0x...", "\n".join(lines))  # addresses differ from run to run


def _stream(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}
