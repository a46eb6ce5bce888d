"""The course's own rules, held against what is committed: built files, cells, prose, the manifest."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from helpers import checks
from tools.build import ROOT, STUB, manifest, outputs, source_of

LESSONS = manifest()
SOURCES = sorted((ROOT / "lessons").rglob("*.py"))
BUILT = [(path, notebook) for lesson in LESSONS for path, notebook in outputs(lesson)]
IDS = [str(path.relative_to(ROOT)) for path, _ in BUILT]
EXERCISES = [lesson for lesson in LESSONS if "exercise" in lesson]

# A number that looks measured: a decimal, a share, or a count with a unit.
MEASURED = re.compile(r"\d+\.\d+|\d+(?:,\d{3})+|\d\s?(?:%|×|x\b|ms\b|s\b|texts/s|MB\b|GB\b|GFLOP)|\d+ times\b")
# What may hold such a number in prose: task ids, code, links and the combined score's formula.
ALLOWED = re.compile(r"\{\{[\w.]+\}\}|`[^`]*`|\]\([^)]*\)|quality × \(0\.7 \+ 0\.3 ×[^)]*\)", re.MULTILINE)


def test_a_built_file_is_what_its_source_gives(subtests: pytest.Subtests) -> None:
    for path, expected in BUILT:
        with subtests.test(str(path.relative_to(ROOT))):
            committed = nbformat.read(path, as_version=4)
            assert source_of(committed) == source_of(expected), f"{path.name} is out of date: run make build"


def test_notebooks_and_solutions_are_executed_and_exercises_are_not(subtests: pytest.Subtests) -> None:
    for path, _ in BUILT:
        with subtests.test(str(path.relative_to(ROOT))):
            code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
            counts = [cell.execution_count for cell in code]
            if path.is_relative_to(ROOT / "exercises"):
                assert set(counts) == {None} and not any(cell.outputs for cell in code)
            else:
                assert counts == list(range(1, len(code) + 1))
                assert not [o for cell in code for o in cell.outputs if o.output_type == "error"]


def test_nothing_lies_in_the_built_folders_that_no_lesson_gives() -> None:
    found = {p for folder in ("notebooks", "solutions", "exercises") for p in (ROOT / folder).rglob("*.ipynb")}
    assert {p for p in found if ".ipynb_checkpoints" not in p.parts} == {path for path, _ in BUILT}


def test_prose_holds_no_measured_number(subtests: pytest.Subtests) -> None:
    for source in SOURCES:
        with subtests.test(str(source.relative_to(ROOT))):
            lines = source.read_text(encoding="utf-8").split("\n")
            said = (line for line in lines if line.startswith("# ") and not line.startswith(("# %%", "# hint(")))
            prose = "\n".join(line[2:] for line in said)
            assert not MEASURED.findall(ALLOWED.sub("", prose))


def test_the_rule_on_prose_finds_what_it_looks_for() -> None:
    for sentence in ("it is 3.5 better", "about 40 % of them", "in 12 ms", "20 times as fast", "1,200 texts", "5 GB"):
        assert MEASURED.search(sentence), sentence
    assert not MEASURED.search(ALLOWED.sub("", "`batch_size=0.5` of 5"))


def test_cells_install_nothing_and_change_no_folder_or_path(subtests: pytest.Subtests) -> None:
    for source in SOURCES:
        with subtests.test(str(source.relative_to(ROOT))):
            code = "\n".join(
                line for line in source.read_text(encoding="utf-8").split("\n") if not line.startswith("#")
            )
            for forbidden in ("pip install", "%pip", "chdir", "%cd", "sys.path", ".cuda()"):
                assert forbidden not in code, forbidden
            assert not re.search(r"^\s*!|=\s*!(?!=)", code, re.MULTILINE), "a shell command"


def test_a_lesson_goes_from_objectives_to_recap(subtests: pytest.Subtests) -> None:
    for lesson in LESSONS:
        with subtests.test(lesson["name"]):
            text = (ROOT / "lessons" / f"{lesson['name']}.py").read_text(encoding="utf-8")
            head = text.split("# %%")[1]
            assert len(re.findall(r"^# - \*\*\w", head, re.MULTILINE)) == 3
            assert "{{minutes}}" in head and "{{memory_mb}}" in head and "{{download}}" in head
            for part in ("## Recap", "Test yourself:", "Before you" if "Before you" in text else "Decide, then run"):
                assert part in text


AROUND = re.compile(r"\s*#|import |from ")  # comments and imports carry no idea of their own


def test_the_core_of_a_lesson_has_at_most_twenty_cells_of_fifteen_lines_and_all_take_at_most_eight_hours(
    subtests: pytest.Subtests,
) -> None:
    for lesson in LESSONS:
        with subtests.test(lesson["name"]):
            cells = nbformat.read(ROOT / "notebooks" / f"{lesson['name']}.ipynb", as_version=4).cells
            rest = next((i for i, cell in enumerate(cells) if "\n## For a second reading" in cell.source), len(cells))
            code = [c for c in cells[:rest] if c.cell_type == "code" and "parameters" not in c.metadata.get("tags", [])]
            assert len(code) <= 20
            for cell in code:
                lines = [line for line in cell.source.splitlines() if line.strip() and not AROUND.match(line)]
                assert len(lines) <= 15, cell.source
    assert sum(lesson["minutes"] for lesson in LESSONS if lesson["name"] < "16") <= 8 * 60


def test_outputs_name_no_path_of_the_machine_that_built_them() -> None:
    for path, _ in BUILT:
        text = path.read_text(encoding="utf-8")
        for trace in (str(ROOT), str(Path.home()), "/tmp/", "site-packages"):
            assert trace not in text, f"{path.name}: {trace}"


@pytest.mark.parametrize("lesson", EXERCISES, ids=lambda entry: entry["name"])
def test_an_exercise_has_a_stub_a_check_and_hints_for_each_task(lesson: dict[str, Any]) -> None:
    name = lesson["name"]
    exercise = (ROOT / "exercises" / name / f"{name}.ipynb").read_text(encoding="utf-8")
    assert "BEGIN SOLUTION" not in exercise
    assert exercise.count(STUB) >= len(lesson["exercise"]["tasks"])
    for task_id in lesson["exercise"]["tasks"]:
        task = checks.task(task_id)
        assert f'check(\\"{task_id}\\"' in exercise and f"({task.points} points)" in exercise
        assert len(task.hints) >= 2


@pytest.mark.parametrize("folder", ["exercises", "solutions"])
@pytest.mark.parametrize("lesson", EXERCISES, ids=lambda entry: entry["name"])
def test_every_stub_is_not_attempted_and_every_solution_right(lesson: dict[str, Any], folder: str) -> None:
    name = lesson["name"]
    notebook = nbformat.read(ROOT / folder / name / f"{name}.ipynb", as_version=4)
    expected = "right" if folder == "solutions" else "not attempted"
    namespace: dict[str, Any] = {}
    outcomes = []
    for cell in notebook.cells:
        if cell.cell_type != "code" or cell.source.startswith(("# hint(", "try:", "def run_benchmark")):
            continue
        if cell.source.startswith("check("):
            outcomes.append(eval(cell.source, namespace))
        else:
            exec(cell.source, namespace)
    assert [o.task for o in outcomes] == lesson["exercise"]["tasks"]
    assert {o.status for o in outcomes} == {expected}
    assert sum(o.points for o in outcomes) == (
        sum(checks.task(t).points for t in lesson["exercise"]["tasks"]) if folder == "solutions" else 0
    )
