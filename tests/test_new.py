"""The scaffolds, in a copy of the repository: what each leaves passes; what it can't do it says, and writes nothing."""

import csv
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from helpers.catalog import cards
from helpers.errors import CourseError
from tools.build import ROOT, manifest
from tools.new import lesson, model, task

UNUSED = shutil.ignore_patterns(
    ".git", ".venv", ".*_cache", "__pycache__", "*.egg-info", "results", "wheelhouse", "weights", "_build"
)
CATALOGUE = list(csv.DictReader((ROOT / "helpers" / "facts" / "models.csv").open(encoding="utf-8", newline="")))
# What the catalogue has from mteb and from nowhere else.
FROM_MTEB = (
    "hub_id", "revision", "release_date_mteb", "dims", "params_embedding", "memory_mb_mteb", "license",
    "languages_mteb", "training_code", "training_data", "query_prompt", "document_prompt", "trust_remote_code",
    "zero_shot_pct_eng_v2", "zero_shot_pct_multilingual_v2",
)  # fmt: skip
CORRECTED = {("Alibaba-NLP/gte-Qwen2-1.5B-instruct", "dims"), ("nomic-ai/modernbert-embed-base", "trust_remote_code")}
NEW = "Snowflake/snowflake-arctic-embed-xs"  # mteb knows it, the catalogue doesn't


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The repository's files in a folder of their own."""
    return Path(shutil.copytree(ROOT, tmp_path / "course", ignore=UNUSED))


def run(copy: Path, *command: str) -> str:
    """What a Python program of the copy prints; it must succeed."""
    alone = os.environ | {"PYTHONPATH": str(copy), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *command], cwd=copy, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def next_tasks(copy: Path) -> list[str]:
    return [f"{e['name'][:2]}.{1 + len(e['exercise']['tasks'])}" for e in manifest(copy) if "exercise" in e]


def state(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Tasks and lessons


CHECK = """
import json, sys
from helpers.checks import outcome, task
from tools.build import ROOT, manifest, outputs

found = {}
for task_id in ("99.1", "99.2"):
    one = task(task_id)
    found[task_id] = [outcome(one, one.judge.reference).status, outcome(one, lambda rows: [0.0] * len(rows)).status]
    for seed in (0, 7):
        for sentence in one.judge.mistakes:
            assert outcome(one, one.judge.mistaken(sentence), seed=seed).message.startswith(sentence), sentence
(lesson,) = [entry for entry in manifest() if entry["name"] == "99_something"]
for path, notebook in outputs(lesson):
    names, said = {}, []
    for cell in notebook.cells:
        if cell.source.startswith("check("):
            said.append(eval(cell.source, names).status)
        elif cell.cell_type == "code" and not cell.source.startswith("# hint("):
            exec(cell.source, names)
    found[path.relative_to(ROOT).parts[0]] = said
print(json.dumps(found))
"""


def test_a_new_lesson_with_two_tasks_holds_together_before_anything_is_changed(copy: Path) -> None:
    lesson.add("99_something", copy)
    task.add("99.1", copy)
    _, left = task.add("99.2", copy)
    assert json.loads(run(copy, "-c", CHECK).splitlines()[-1]) == {
        "99.1": ["right", "wrong"],
        "99.2": ["right", "wrong"],
        "notebooks": [],
        "solutions": ["right", "right"],
        "exercises": ["not attempted", "not attempted"],
    }
    for path in ("lessons/exercises/99_something.py", "helpers/exercises/lesson_99.py", "tests/answers/lesson_99.py"):
        assert path in left and '"99.2"' in (copy / path).read_text(encoding="utf-8")


def test_a_task_can_be_added_to_every_exercise_and_leaves_the_style_as_it_was(copy: Path) -> None:
    due, before = next_tasks(copy), state(copy)
    for task_id in due:
        task.add(task_id, copy)
    assert [entry["exercise"]["tasks"][-1] for entry in manifest(copy) if "exercise" in entry] == due
    written = [path for path, content in state(copy).items() if path.endswith(".py") and before.get(path) != content]
    run(copy, "-m", "ruff", "check", *written)
    run(copy, "-m", "ruff", "format", "--check", *written)


def test_a_lesson_takes_its_place_by_its_number(copy: Path) -> None:
    last = manifest(copy)[-1]["name"]
    gone = manifest(copy)[2]["name"]
    course = copy / "course.toml"
    text = course.read_text(encoding="utf-8")
    start = text.index(f'[[lesson]]\nname = "{gone}"')
    end = text.index("[[lesson]]", start + 1)
    course.write_text(text[:start] + text[end:], encoding="utf-8")
    lesson.add(f"{gone[:2]}_other", copy)
    assert [entry["name"] for entry in manifest(copy)][1:4:2] == [manifest()[1]["name"], manifest()[3]["name"]]
    assert manifest(copy)[2]["name"] == f"{gone[:2]}_other" and manifest(copy)[-1]["name"] == last


@pytest.mark.parametrize(
    ("kind", "name", "sentence"),
    [
        (task, "98.1", "There is no lesson '98'; make new-lesson NAME=98_something begins one."),
        (task, "01.9", "'01.9' isn't the next task of lesson 01: that is 01."),
        (task, "1", "There is no lesson '1'"),
        (lesson, "Search", "'Search' is no name for a lesson: two digits, _, a subject in small letters"),
        (lesson, "01_other", "Lesson 01 is 01_sentence_transformers; the next free number is "),
        (model, "BAAI/bge-m3", "The catalogue has BAAI/bge-m3 in row "),
        (model, "BAAI/bge-m4", "doesn't know 'BAAI/bge-m4'. Did you mean BAAI/bge-m3? Write the row by hand"),
        (model, "openai/text-embedding-3-small", "can't be in the catalogue: mteb has no open weights"),
    ],
)
def test_what_cannot_be_begun_is_said_and_nothing_is_written(
    kind: object, name: str, sentence: str, copy: Path
) -> None:
    before = state(copy)
    with pytest.raises(CourseError) as refused:
        kind.add(name, copy)
    assert sentence in str(refused.value) and state(copy) == before


def test_a_file_without_a_place_for_a_task_is_named_and_nothing_is_written(copy: Path) -> None:
    (copy / "tests" / "answers" / "lesson_03.py").write_text("ANSWERS = {}\n", encoding="utf-8")
    before = state(copy)
    with pytest.raises(CourseError, match=r"^lesson_03\.py has no place for a task"):
        task.add(next(i for i in next_tasks(copy) if i.startswith("03")), copy)
    assert state(copy) == before


# Models


@pytest.mark.skipif(
    f"mteb=={version('mteb')}\n" not in (ROOT / "requirements.lock").read_text(encoding="utf-8"),
    reason="another mteb than the lock's may say other things",
)
def test_the_cells_written_for_a_model_are_those_that_the_catalogue_has_from_mteb() -> None:
    written = {}
    for known in CATALOGUE:
        try:
            written[known["hub_id"]] = model.row(known["hub_id"])
        except CourseError:  # mteb no longer has it
            continue
    assert len(written) > 0.9 * len(CATALOGUE)
    differ = {
        (known["hub_id"], column)
        for known in CATALOGUE
        for column in FROM_MTEB
        if (cell := written.get(known["hub_id"], {}).get(column)) and cell != known[column]
    }
    assert differ == CORRECTED


def test_a_row_is_appended_as_the_catalogue_writes_rows_and_what_it_leaves_open_is_said(copy: Path) -> None:
    path = copy / "helpers" / "facts" / "models.csv"
    before = path.read_bytes()
    left = model.add(NEW, copy)
    assert path.read_bytes().startswith(before) and path.read_bytes().count(b"\n") == before.count(b"\n") + 1
    *_, card = cards(path)
    assert (card.hub_id, card.dims, card.pooling) == (NEW, 384, None)
    assert "Empty, so unknown: " in left and "pooling," in left


# All of it, as a contributor does it


@pytest.mark.execution
def test_what_the_scaffolds_leave_passes_the_tests_of_the_project(copy: Path) -> None:
    tests = "-m", "pytest", "-q", "-p", "no:cacheprovider"
    for begun in (["lesson", "99_something"], ["task", "99.1"], ["task", "99.2"], ["model", NEW]):
        run(copy, "-m", "tools.new", *begun)
    whole = "course/test_lessons.py", "checks", "choosing", "test_catalog.py", "test_instructors.py", "test_weights.py"
    run(copy, *tests, *(f"tests/{name}" for name in whole))
    run(copy, *tests, "tests/grading/test_grading.py", "-k", "over_the_wire and 99")
    for task_id in next_tasks(copy):
        task.add(task_id, copy)
    run(copy, *tests, "tests/checks/test_exercises.py")
