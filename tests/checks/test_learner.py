"""A learner's loop: an untouched exercise runs without a traceback, and what is tried is kept.

All exercises run here in one process, cell by cell as IPython runs them; one of them, and what is kept, in a real
kernel. Solutions run under nbval (`make test`), and JupyterLab itself in a browser test.
"""

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from filelock import FileLock
from IPython.core.interactiveshell import InteractiveShell
from nbclient import NotebookClient
from traitlets.config import Config

from helpers import checks
from helpers.checks import notebook, record
from tests.answers import lesson_09
from tools.build import ROOT, manifest

EXERCISES = [lesson for lesson in manifest() if "exercise" in lesson]
QUIET = Config({"HistoryManager": {"enabled": False}})


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A record of progress of this test's own."""
    monkeypatch.setenv(record.VARIABLE, str(tmp_path / "progress.json"))
    return tmp_path / "progress.json"


def cells(name: str) -> list[str]:
    notebook = nbformat.read(ROOT / "exercises" / name / f"{name}.ipynb", as_version=4)
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


# Restart and Run All


@pytest.mark.parametrize("lesson", EXERCISES, ids=lambda lesson: lesson["name"])
def test_an_untouched_exercise_runs_through_and_calls_each_task_not_attempted_yet(
    lesson: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    shell: Any = InteractiveShell(config=QUIET)  # type: ignore[no-untyped-call]
    for source in cells(lesson["name"]):
        assert shell.run_cell(source, store_history=False).success, capsys.readouterr().out
    shown = capsys.readouterr().out
    assert re.findall(r"○ ([\d.]+) not attempted yet: ", shown) == lesson["exercise"]["tasks"]
    assert "Traceback" not in shown and "NotImplementedError" not in shown


@pytest.mark.parametrize("lesson", EXERCISES, ids=lambda lesson: lesson["name"])
def test_every_exercise_has_the_same_head_hints_after_each_check_and_its_solution_folded(
    lesson: dict[str, Any],
) -> None:
    name, facts = lesson["name"], lesson["exercise"]
    notebook = nbformat.read(ROOT / "exercises" / name / f"{name}.ipynb", as_version=4)
    head, *_, last = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    points = sum(checks.task(task).points for task in facts["tasks"])
    expected = (
        f"Difficulty {facts['difficulty']} of 5 · importance {facts['importance']} of 5 · {facts['minutes']} minutes"
    )
    assert head.startswith(f"# Exercise {name[:2]} · {facts['title']}") and expected in head
    assert f"{points} points" in " ".join(head.split())
    code = cells(name)
    for task in facts["tasks"]:
        (at,) = [number for number, source in enumerate(code) if source.startswith(f'check("{task}"')]
        assert code[at + 1].startswith(f'# hint("{task}", 1)')
    assert "<details><summary>Solution</summary>" in last and f"(../../solutions/{name}/{name}.ipynb)" in last


def test_a_real_kernel_shows_the_same_and_keeps_only_what_a_person_tries(kept: Path) -> None:
    notebook = nbformat.read(ROOT / "exercises" / "09_mteb" / "09_mteb.ipynb", as_version=4)
    client = NotebookClient(notebook, timeout=120)
    with client.setup_kernel():
        for number, cell in enumerate(notebook.cells):
            client.execute_cell(cell, number)
        outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
        texts = [output.data["text/plain"] for output in outputs if output.output_type == "execute_result"]
        assert [text.split(":")[0] for text in texts] == [f"○ 09.{n} not attempted yet" for n in (1, 2, 3)]
        assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
        for person in (False, True):
            client.kc.allow_stdin = person
            notebook.cells[-1] = nbformat.v4.new_code_cell('check("09.2", lambda scores, types: (1.0, 1.0))')
            client.execute_cell(notebook.cells[-1], len(notebook.cells) - 1)
            assert kept.exists() is person
    assert json.loads(kept.read_text(encoding="utf-8")) == {"09.2": "wrong"}


def test_a_check_after_a_cell_that_is_no_python_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    shell: Any = InteractiveShell.instance(config=QUIET)  # type: ignore[no-untyped-call]
    try:
        shell.run_cell("from helpers.checks import check\ndef means(scores, types): ...", store_history=False)
        for source in ("def means(scores, types)\n    return 1", "check('09.2', means)", "check('09.2', means)"):
            shell.run_cell(source, store_history=False)
    finally:
        InteractiveShell.clear_instance()
    first, second = re.findall(r"[⚠○✘✔] 09.2 .*", capsys.readouterr().out)
    assert first.startswith("⚠ 09.2 error: the cell you ran last isn't Python (SyntaxError in line 1: expected ':')")
    assert second.startswith("○ 09.2 not attempted yet")


# What is kept, and of whom


@pytest.mark.parametrize("runner", ["papermill", "nbval", "nbclient"])
def test_what_executes_notebooks_is_no_person(runner: str, tmp_path: Path) -> None:
    cell = nbformat.v4.new_code_cell("assert get_ipython().kernel._allow_stdin is False")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, tmp_path / "cell.ipynb")
    if runner == "papermill":
        papermill.execute_notebook(tmp_path / "cell.ipynb", None, progress_bar=False)
    elif runner == "nbclient":
        NotebookClient(notebook).execute()
    else:
        alone = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        command = [sys.executable, "-m", "pytest", "-p", "nbval.plugin", "--nbval-lax", str(tmp_path)]
        done = subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True, check=False)
        assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_a_check_outside_a_notebook_keeps_nothing(kept: Path) -> None:
    assert checks.check("09.2", lambda scores, types: (1.0, 1.0)).status == "wrong"
    assert not kept.exists()


def test_the_tests_never_touch_a_reader_s_own_record(monkeypatch: pytest.MonkeyPatch) -> None:
    here = record.place()
    monkeypatch.delenv(record.VARIABLE)
    assert here != record.place()


# The record


def test_a_task_once_right_stays_right(kept: Path) -> None:
    for tried in ("wrong", "error", "right", "wrong"):
        record.keep("01.1", tried)
    assert record.read() == {"01.1": "right"}


def test_a_record_that_cannot_be_read_is_set_aside_with_a_sentence(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for broken in ('{"01.1": "rig', '["01.1"]', '{"01.1": "excellent"}'):
        kept.write_text(broken, encoding="utf-8")
        record.keep("01.2", "right")
        assert "it is now progress.broken.json, and a new one begins" in capsys.readouterr().out
        assert record.read() == {"01.2": "right"}
        assert (kept.parent / "progress.broken.json").read_text(encoding="utf-8") == broken


def test_a_record_that_cannot_be_written_costs_a_sentence_and_no_check(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept.write_text("a file", encoding="utf-8")
    monkeypatch.setenv(record.VARIABLE, str(kept / "below" / "progress.json"))
    record.keep("01.1", "right")
    assert "Your progress isn't kept, progress.json can't be written" in capsys.readouterr().out
    assert record.read() == {}


def test_a_record_held_by_another_program_is_waited_for_and_then_left(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(record, "WAIT_S", 0.1)
    with FileLock(kept.with_suffix(".lock")):
        record.keep("01.1", "right")
    assert "another program holds it" in capsys.readouterr().out


def test_several_notebooks_at_once_lose_nothing(kept: Path) -> None:
    tasks = [f"{lesson:02d}.{n}" for lesson in range(1, 5) for n in range(1, 6)]
    threads = [threading.Thread(target=record.keep, args=(task, "right")) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert record.read() == dict.fromkeys(tasks, "right")
    assert {path.suffix for path in kept.parent.iterdir()} <= {".json", ".lock"}


# The table


def test_a_right_answer_says_what_it_earned_and_what_comes_next(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(notebook, "someone_is_there", lambda: True)
    lines = []
    for task_id, right in lesson_09.RIGHT.items():
        assert checks.check(task_id, right[0]).status == "right"
        lines.append(capsys.readouterr().out)
    assert "3 points; 2 of 3 tasks left, next 09.2." in lines[0] and "the exercise is done" in lines[2]
    assert checks.check("09.1", lambda *case: None).status == "not attempted"
    assert not capsys.readouterr().out


def test_progress_shows_done_open_and_points_by_lesson(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record.keep("09.1", "right")
    record.keep("09.3", "wrong")
    table = checks.progress()
    points = {task: checks.task(task).points for task in ("09.1", "09.2", "09.3")}
    assert table.loc["09 MTEB"].to_dict() == {
        "done": "1 of 3",
        "points": f"{points['09.1']} of {sum(points.values())}",
        "open": "09.2, 09.3 (tried)",
    }
    every = [task for lesson in EXERCISES for task in lesson["exercise"]["tasks"]]
    total = sum(checks.task(task).points for task in every)
    assert table.loc["all"].to_dict() == {
        "done": f"1 of {len(every)}",
        "points": f"{points['09.1']} of {total}",
        "open": "",
    }
    assert "progress.json; delete that file to begin anew." in capsys.readouterr().out
    assert "<table" in table._repr_html_() and "09.2, 09.3 (tried)" in table.to_string()


def test_deleting_the_file_begins_anew(kept: Path) -> None:
    record.keep("09.1", "right")
    kept.unlink()
    assert checks.progress().loc["09 MTEB", "done"] == "0 of 3"
