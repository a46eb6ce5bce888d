"""Grading: every submission of the zoo gets the marks it deserves, and nothing outside its folder changes."""

import csv
import errno
import hashlib
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

if sys.platform != "linux":
    pytest.skip("grading runs on Linux", allow_module_level=True)
from nbgrader.api import Gradebook

from helpers.checks import check, outcome, task
from helpers.checks.judges import ByReference, Places
from helpers.errors import CourseError
from tests.checks.test_exercises import MISTAKES, RIGHT, TASKS, declared
from tests.grading.wired import Wired
from tests.grading.zoo import ALL, FUNCTIONS, NAME, POINTS, RELEASED, ROOT, ZOO, Animal, notebook, solved
from tests.grading.zoo_hostile import CELLS
from tools.build import manifest
from tools.grading import __main__ as grading
from tools.grading import judge as judge_module
from tools.grading import pages, sandbox
from tools.grading.__main__ import exercises, grade
from tools.grading.collect import Found, collect
from tools.grading.export import Row, table, write
from tools.grading.gradebook import Course
from tools.grading.inside import wire
from tools.grading.judge import Exercise, Verdict, judge_apart, judged
from tools.grading.notebooks import read
from tools.grading.sandbox import Limits, Rooms

TROUBLE = sandbox.trouble()
needs_sandbox = pytest.mark.skipif(TROUBLE is not None, reason=f"no sandbox here: {TROUBLE}")
LIMITS = Limits(memory_mb=2500, disk_mb=16, cell_s=10, call_s=5, wall_s=45)
SEED = 20_261
EXERCISE = Exercise(NAME, FUNCTIONS)


@pytest.fixture(scope="session")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Rooms:
    return sandbox.furnish(tmp_path_factory.mktemp("rooms"))


@pytest.fixture(scope="session")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course's folder with what a hostile submission looks for."""
    course = tmp_path_factory.mktemp("course")
    for folder, source in (
        ("solutions", ROOT / "solutions" / NAME),
        ("grading/submitted/anna", ROOT / "solutions" / NAME),
    ):
        (course / folder).mkdir(parents=True)
        (course / folder / f"{NAME}.ipynb").write_bytes((source / f"{NAME}.ipynb").read_bytes())
    (course / "tests").mkdir()
    (course / "tests" / "lesson_09.py").write_bytes((ROOT / "helpers" / "exercises" / "lesson_09.py").read_bytes())
    (course / "grading" / "gradebook.db").write_text("marks")
    return course


@pytest.fixture
def port() -> Iterator[tuple[int, socket.socket]]:
    """A server on this machine, which no submission may reach."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server.getsockname()[1], server


def fingerprint(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


def graded(cells: list[str], rooms: Rooms, limits: Limits = LIMITS) -> Verdict:
    return judge_apart(list(enumerate(cells)), EXERCISE, SEED, limits, rooms)


@needs_sandbox
@pytest.mark.parametrize("animal", ZOO, ids=lambda animal: animal.name)
def test_each_submission_of_the_zoo_gets_what_it_deserves(
    animal: Animal,
    rooms: Rooms,
    course: Path,
    port: tuple[int, socket.socket],
    record_property: Callable[[str, object], None],
) -> None:
    before = fingerprint(course), fingerprint(rooms.helpers)
    cells = [
        c.replace("COURSE", str(course)).replace("ROOT", str(ROOT)).replace("PORT", str(port[0])) for c in animal.cells
    ]
    patient = "ignores every interrupt" not in animal.name  # that one is waited for to the last second
    verdict = graded(cells, rooms, LIMITS if patient else replace(LIMITS, wall_s=15))
    earned = "failed" if verdict.failed else "+".join(str(o.points) for o in verdict.outcomes)
    said = verdict.failed or "; ".join(o.message for o in verdict.outcomes if o.status != "right")
    record_property("zoo", f"{animal.name:58} {earned:8} {said[:110]}")
    if animal.points is None:
        assert verdict.failed and verdict.points is None, verdict
    else:
        assert not verdict.failed, verdict
        assert [o.points for o in verdict.outcomes] == list(animal.points), verdict.outcomes
    assert animal.told in said
    assert re.search(animal.shown, str(verdict.outputs)), verdict.outputs
    assert len(str(verdict.outputs)) < 2_500_000
    assert (fingerprint(course), fingerprint(rooms.helpers)) == before
    with pytest.raises(BlockingIOError):
        port[1].accept()


def test_the_zoo_is_large_and_its_marks_are_those_of_the_tasks() -> None:
    assert len(ZOO) >= 30 and len({animal.name for animal in ZOO}) == len(ZOO)
    assert all(p in (0, POINTS[t]) for a in ZOO if a.points for t, p in zip(POINTS, a.points, strict=True))


# What travels


@pytest.mark.parametrize(
    "value",
    [
        None,
        ...,
        True,
        3,
        float("inf"),
        "text",
        b"bytes",
        [1, (2, {3}), {"a": {4: None}}],
        np.float32(0.1),
        np.array([[1, 2], [3, 4]], dtype=np.int16),
        np.array([True, False]),
        torch.tensor([[0.5, 1.5]]),
        pd.Series({"a": 1, "b": 2}),
        pd.DataFrame({"a": [1.5, 2.5], "b": ["x", "y"]}, index=["m", "n"]),
    ],
    ids=repr,
)
def test_a_value_travels_as_it_is(value: Any) -> None:
    there = json.loads(json.dumps(wire.pack(value, pytest.fail)))
    back = wire.unpack(there, pytest.fail)
    assert type(back) is type(value)
    assert repr(back) == repr(value)


@pytest.mark.parametrize(
    "packed",
    [
        [1],
        {"a": 1, "b": 2},
        {"array": ["|O", [1], ""]},
        {"array": ["<f8", [2], "AAAA"]},
        {"array": ["<f8", [-1], ""]},
        {"array": 3},
        {"dict": [1]},
        {"set": [{"list": []}]},
        {"tuple": [{"tuple": [{"unknown": 1}]}]},
        {"bytes": "no base64!"},
        {"series": [{"list": [1]}, 3]},
        {"frame": [{"list": [1]}, {"list": [{"list": [1, 2]}]}, {"list": ["a"]}]},
    ],
    ids=repr,
)
def test_what_no_grader_packed_is_refused(packed: Any) -> None:
    def unknown(kind: str, content: Any) -> Any:
        raise wire.WireError(kind)

    with pytest.raises(wire.WireError):
        wire.unpack(packed, unknown)


HEAVY = ("01.3", "02.2", "04.1", "06.3", "06.4", "14.5")  # models: two mistakes of each stand for all


@pytest.mark.parametrize(
    "task_id",
    [
        task if task.endswith(".2") and task not in HEAVY else pytest.param(task, marks=pytest.mark.execution)
        for task in TASKS
    ],
)
def test_over_the_wire_an_answer_gets_the_sentence_status_and_points_of_the_notebook(
    task_id: str, rooms: Rooms
) -> None:
    mistakes = MISTAKES.get(task_id, {}) | declared(task_id)
    functions = dict(list(mistakes.items())[: 2 if task_id in HEAVY else None])
    functions |= {f"right {i}": answer for i, answer in enumerate(RIGHT[task_id])}
    with Wired(functions, rooms) as submission:
        for name, function in functions.items():
            (answer,) = submission.answers(name, task_id)
            outcome = judged(task(task_id), answer, SEED)
            assert outcome == check(task_id, function, seed=SEED), name
            assert outcome.status == ("wrong" if name in mistakes else "right"), outcome


# From files to marks: the handful that goes through nbgrader


TEXT_CELL = {
    "cell_type": "markdown",
    "id": "why",
    "source": "Why?",
    "metadata": {
        "nbgrader": {
            "grade": True,
            "grade_id": "why",
            "locked": False,
            "points": 2,
            "schema_version": 3,
            "solution": True,
            "task": False,
        }
    },
}


def as_notebook(cells: list[str], ids: bool = True) -> dict[str, Any]:
    """A notebook of these code cells, with the released cells' grading metadata where it has them."""
    released = json.loads((ROOT / "exercises" / NAME / f"{NAME}.ipynb").read_text(encoding="utf-8"))
    known = {"".join(c["source"]).split("(")[0]: c["metadata"] for c in released["cells"] if c["cell_type"] == "code"}
    made = [
        {
            "cell_type": "code",
            "metadata": known.get(source.split("(")[0], {}) if not source.startswith("check") else {},
            "source": source,
            "outputs": [],
            "execution_count": None,
        }
        for source in cells
    ]
    return {"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course of exercise 09 alone, with a text answer to be marked by hand, and what a class handed in."""
    root = tmp_path_factory.mktemp("school")
    lesson = next(lesson for lesson in manifest() if lesson["name"] == NAME)
    tasks = ", ".join(f'"{t}"' for t in lesson["exercise"]["tasks"])
    (root / "course.toml").write_text(f'[[lesson]]\nname = "{NAME}"\nexercise = {{ tasks = [{tasks}] }}\n')
    shutil.copy(ROOT / "nbgrader_config.py", root)
    for folder in ("exercises", "solutions"):
        content = json.loads((ROOT / folder / NAME / f"{NAME}.ipynb").read_text(encoding="utf-8"))
        content["cells"].append(TEXT_CELL)
        (root / folder / NAME).mkdir(parents=True)
        (root / folder / NAME / f"{NAME}.ipynb").write_text(json.dumps(content))
    solved_ = json.loads((root / "solutions" / NAME / f"{NAME}.ipynb").read_text())
    script = {
        "cell_type": "markdown",
        "metadata": {},
        "source": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    }
    loud = (
        "print('x' * 80_000_000)\nfrom IPython.display import HTML, display\ndisplay(HTML('<script>alert(2)</script>'))"
    )
    files = {
        f"anna/{NAME}/{NAME}.ipynb": solved_,
        f"Ben Ode_17_assignsubmission_file_/{NAME}.ipynb": as_notebook(RELEASED + RELEASED),
        f"carl_4_5_{NAME}-2.ipynb": as_notebook(notebook(**solved("09.1"))),
        f"=1+1/{NAME}.ipynb": as_notebook(["import os; os._exit(0)"]),
        f"eve/{NAME}.ipynb": as_notebook([loud, *notebook(**solved("09.2"))]) | {"cells": []},
        "finn/homework.ipynb": solved_,
    }
    files[f"eve/{NAME}.ipynb"]["cells"] = [script, *as_notebook([loud, *notebook(**solved("09.2"))])["cells"]]
    for name, content in files.items():
        path = root / "class" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    hidden = "a" + "".join(f"[{x}]({x}:alert(3)) ![{x}]({x}:alert(4)) " for x in ("javascript", "vbscript", "data"))
    hidden += '\n\n[r]: javascript:alert(10)\n\n[r] ![t](http://evil.example/t.png) <a href="javascript:1">q</a>\n\n'
    hidden += "$\\href{javascript:alert(1)}{x}$\n\n```python\nif a < b:\n\n    pass\n```\n"
    hal = as_notebook(["print('a\\ud800b')", "x = '\ud800'", *notebook(**solved("09.1"))])
    hal["cells"].insert(0, {"cell_type": "markdown", "metadata": {}, "source": hidden})
    files = {"hal/09_mteb-Copy1.ipynb": hal}
    forged = [CELLS[name] for name in CELLS if name.startswith("forges a cell's number")]
    for student, cell in zip(("ida", "jo"), forged, strict=True):
        files[f"{student}/{NAME}.ipynb"] = as_notebook([cell.strip()])
    files[f"kim/{NAME}.ipynb"] = as_notebook([CELLS["forges outputs that are none"].strip(), *notebook()])
    for name, content in files.items():
        (root / "class" / name).parent.mkdir(parents=True)
        (root / "class" / name).write_text(json.dumps(content))
    (root / "class" / "lea").mkdir()
    (root / "class" / "lea" / "work.zip").write_bytes(b"PK no zip")
    (root / "class" / "gina").mkdir()
    (root / "class" / "gina" / f"{NAME}.ipynb").write_text('{"cells": [')
    return root


def tree(folder: Path) -> dict[str, str]:
    return {name.removeprefix(str(folder)): found for name, found in fingerprint(folder).items()}


def live_in(page: str) -> list[str]:
    """What in a page runs, is fetched, or leads elsewhere than to a page or a mail."""
    found = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            for name, value in attrs:
                text = str(value).strip()
                fetched = name in ("src", "srcset", "data", "poster") and not text.startswith("data:image/png")
                linked = name == "href" and not re.match(r"https?:|mailto:|#", text)
                if fetched or linked or name.startswith("on"):
                    found.append(f"{tag} {name}={text[:80]}")
            if tag in ("script", "iframe", "object", "embed", "svg", "form", "base"):
                found.append(tag)

    Reader().feed(page)
    return found


@needs_sandbox
def test_a_class_goes_from_files_to_marks_and_feedback_and_a_second_run_gives_the_same(school: Path) -> None:
    rows = {row.student: row for row in grade(school / "class", root=school, limits=LIMITS)}
    assert {name: (row.points, row.status) for name, row in rows.items()} == {
        "=1+1": ("", "failed"),
        "Ben Ode_17": ("0", "needs manual grading"),
        "anna": ("10", "needs manual grading"),
        "carl_4": ("3", "needs manual grading"),
        "eve": ("3", "needs manual grading"),
        "finn": ("", "failed"),
        "gina": ("", "failed"),
        "hal": ("3", "needs manual grading"),
        "ida": ("", "failed"),
        "jo": ("", "failed"),
        "kim": ("0", "needs manual grading"),
        "lea": ("", "failed"),
    }
    assert "its process ended" in rows["=1+1"].reason
    assert "10 of 12  needs manual grading" in table(list(rows.values()))
    assert f"name it {NAME}.ipynb" in rows["finn"].reason and "JSON" in rows["gina"].reason
    marks = (school / "grading" / "marks.csv").read_text(encoding="utf-8")
    assert '"\'=1+1","09_mteb","failed","",""' in marks
    assert all(len(line) == 7 for line in csv.reader(marks.splitlines()))
    feedback = (school / "grading" / "feedback" / "eve" / NAME / f"{NAME}.html").read_text(encoding="utf-8")
    assert "<script>alert" not in feedback and "<img src=x" not in feedback
    assert "right: Two means" in feedback and "cut" in feedback and len(feedback) < 2_000_000
    feedback = (school / "grading" / "feedback" / "hal" / NAME / f"{NAME}.html").read_text(encoding="utf-8")
    assert not live_in(feedback)
    assert "default-src 'none'" in feedback.split("<style", 1)[0]
    assert "&amp;lt;" not in feedback and re.search(r'class="o">&lt;</span>', feedback)
    filed = json.loads((school / "grading" / "autograded" / "hal" / NAME / f"{NAME}.ipynb").read_text())
    shown = next("".join(cell["source"]) for cell in filed["cells"] if "evil" in "".join(cell["source"]))
    assert shown.startswith('<div class="tex2jax_ignore') and not live_in(shown)

    with Gradebook(f"sqlite:///{school}/grading/gradebook.db") as book:  # by hand, as formgrader does
        mark = book.find_grade("why", NAME, NAME, "anna")
        mark.manual_score, mark.needs_manual_grade = 1.5, False
        book.find_comment("why", NAME, NAME, "anna").manual_comment = "Nearly."
        book.db.commit()
    kept = [school / "grading" / name for name in ("marks.csv", "feedback")]
    rows = {row.student: row for row in grade(school / "class", root=school, limits=LIMITS)}
    assert (rows["anna"].points, rows["anna"].status) == ("11.5", "graded")
    assert "Nearly." in (school / "grading" / "feedback" / "anna" / NAME / f"{NAME}.html").read_text(encoding="utf-8")
    first = kept[0].read_bytes(), tree(kept[1])
    grade(school / "class", root=school, limits=LIMITS)
    assert (kept[0].read_bytes(), tree(kept[1])) == first

    with Gradebook(f"sqlite:///{school}/grading/gradebook.db") as book:
        assert book.find_submission(NAME, "anna").score == 11.5
    text = json.loads((school / "class" / "anna" / NAME / f"{NAME}.ipynb").read_text())
    text["cells"][-1]["source"] = "Because."
    anna = school / "class" / "anna" / NAME / f"{NAME}.ipynb"
    anna.write_text(json.dumps(text))
    rows = {row.student: row for row in grade(school / "class", root=school, limits=LIMITS)}
    assert (rows["anna"].points, rows["anna"].status) == ("11.5", "needs manual grading")  # another text: look again
    anna.write_text(json.dumps(as_notebook(["import os; os._exit(0)"])))
    rows = {row.student: row for row in grade(school / "class", root=school, limits=LIMITS)}
    assert (rows["anna"].points, rows["anna"].status) == ("", "failed")  # not 0, and not the 11.5 of before
    assert "Not graded" in (school / "grading" / "feedback" / "anna" / NAME / f"{NAME}.html").read_text(
        encoding="utf-8"
    )


# Zips and names


IDS = {NAME: {"means", "borda"}, "02_bge": {"pool"}}


def zipped(path: Path, *names: str, link: bool = False) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o120777 if link else 0o100644) << 16
            archive.writestr(info, json.dumps(as_notebook(["1"])))
    return path


@pytest.mark.parametrize(
    ("name", "student", "exercise"),
    [
        (f"anna/{NAME}/{NAME}.ipynb", "anna", NAME),
        (f"submitted/anna/{NAME}/{NAME}.ipynb", "anna", NAME),
        ("anna/02_bge.ipynb", "anna", "02_bge"),
        (f"Anna Ode_123_assignsubmission_file_/{NAME}.ipynb", "Anna Ode_123", NAME),
        (f"Anna Ode_123_assignsubmission_file_{NAME}.ipynb", "Anna Ode_123", NAME),
        (f"odeanna_LATE_123_456_{NAME}-3.ipynb", "odeanna_123", NAME),
        (f"odeanna_123_456_{NAME}.ipynb", "odeanna_123", NAME),
        (f"anna/{NAME} (1).ipynb", "anna", NAME),
    ],
)
def test_a_platforms_zip_tells_whose_it_is_and_of_what(tmp_path: Path, name: str, student: str, exercise: str) -> None:
    (found,) = collect(zipped(tmp_path / "all.zip", name), tmp_path / "unpacked", IDS)
    assert (found.student, found.exercise, found.problem) == (student, exercise, None)


def test_of_several_attempts_the_last_counts(tmp_path: Path) -> None:
    names = [f"ode_1_{i}_{NAME}{suffix}.ipynb" for i, suffix in enumerate(("-2", "", "-10", "-9"))]
    (found,) = collect(zipped(tmp_path / "all.zip", *names), tmp_path / "unpacked", IDS)
    assert found.path.stem.endswith("-10")


@pytest.mark.parametrize(
    "name", ["../evil.ipynb", "/etc/evil.ipynb", "a/../../evil.ipynb", "C:/evil.ipynb", "..\\evil.ipynb"]
)
def test_a_zip_that_reaches_outside_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CourseError, match="outside"):
        collect(zipped(tmp_path / "all.zip", name), tmp_path / "unpacked", IDS)
    assert not list(tmp_path.rglob("evil*"))


def test_a_zip_with_a_link_is_refused_and_of_one_student_no_trouble_for_the_others(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match="link"):
        collect(zipped(tmp_path / "all.zip", f"anna/{NAME}.ipynb", link=True), tmp_path / "unpacked", IDS)
    (tmp_path / "class" / "mallory").mkdir(parents=True)
    zipped(tmp_path / "class" / "mallory" / "mine.zip", f"../anna/{NAME}.ipynb")
    zipped(tmp_path / "class" / "rest.zip", f"anna/{NAME}.ipynb")
    problems = {found.student: found.problem for found in collect(tmp_path / "class", tmp_path / "unpacked", IDS)}
    assert problems["anna"] is None and "outside" in str(problems["mallory"])


def test_a_link_to_a_neighbour_and_an_empty_folder_are_reported(tmp_path: Path) -> None:
    (tmp_path / "class" / "anna").mkdir(parents=True)
    (tmp_path / "class" / "ben").mkdir()
    (tmp_path / "class" / "carl").mkdir()
    file = tmp_path / "class" / "anna" / f"{NAME}.ipynb"
    file.write_text(json.dumps(as_notebook(["1"])))
    (tmp_path / "class" / "ben" / f"{NAME}.ipynb").symlink_to(file)
    problems = {found.student: found.problem for found in collect(tmp_path / "class", tmp_path / "unpacked", IDS)}
    assert problems["anna"] is None and "link" in str(problems["ben"]) and "no notebook" in str(problems["carl"])


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"cells": 3}', '{"cells": [3]}', '{"worksheets": []}', "[" * 100_000, "\ud800"]
)
def test_what_is_no_notebook_has_a_reason(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.ipynb"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert read(path)[1]


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_of_the_marks_is_a_formula(tmp_path: Path, cell: str) -> None:
    write([Row(cell, NAME, "graded", "3", "10", "", 'says "hello", twice')], tmp_path / "marks.csv")
    with (tmp_path / "marks.csv").open(encoding="utf-8", newline="") as file:
        _, row = csv.reader(file)
    assert row[0] == f"'{cell}" and row[6] == 'says "hello", twice'


def test_without_a_sandbox_grading_is_refused_with_the_mend(school: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CourseError, match=r"apt-get install bubblewrap.*--unsafe"):
        grade(school / "class", root=school)


def test_two_files_that_are_both_one_students_are_reported_not_chosen_from(tmp_path: Path) -> None:
    names = (f"anna/first/{NAME}.ipynb", f"anna/second/{NAME}.ipynb")
    path = zipped(tmp_path / "all.zip", *names)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(names[0].replace("first", "third"), json.dumps(as_notebook(["2"])))
    (found,) = collect(path, tmp_path / "unpacked", IDS)
    assert "two files" in str(found.problem)


def test_a_file_name_of_dots_stays_in_its_folder(tmp_path: Path) -> None:
    (found,) = collect(zipped(tmp_path / "all.zip", "anna/...ipynb"), tmp_path / "unpacked", IDS)
    assert found.problem and "." not in found.exercise


def test_what_encode_is_told_from_the_sandbox_starts_no_processes_here(rooms: Rooms) -> None:
    submission = Wired({}, rooms)
    submission.functions = [lambda *args, **options: options]
    told = {"call": 0, "method": "", "args": {"list": []}, "options": {"dict": [["device", {"list": ["cpu", "cpu"]}]]}}
    assert "refused" in submission._called(told)


@needs_sandbox
def test_an_exercise_with_a_model_and_torch_is_graded_in_the_sandbox(rooms: Rooms) -> None:
    name = "01_sentence_transformers"
    cells = json.loads((ROOT / "solutions" / name / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [(i, "".join(cell["source"])) for i, cell in enumerate(cells) if cell["cell_type"] == "code"]
    verdict = judge_apart(code, exercises()[name], SEED, Limits(), rooms)
    assert verdict.points == 10, verdict


def test_asked_for_unsafe_grading_needs_no_sandbox(rooms: Rooms) -> None:
    cells = list(enumerate(notebook(**solved("09.1", "09.3"))))
    assert judge_apart(cells, EXERCISE, SEED, LIMITS, rooms, unsafe=True).points == 7


FILTERED = r"""
import ctypes, os, socket, struct, sys
from pathlib import Path
rules = Path(sys.argv[1]).read_bytes()
libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(rules)
program = struct.pack("HxxxxxxP", len(rules) // 8, ctypes.addressof(buffer))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0
for call in sys.argv[2:]:
    number, *args = map(int, call.split(","))
    given = libc.syscall(number, *args, *[0] * (6 - len(args)))
    print(0 if given >= 0 else ctypes.get_errno())
"""


@pytest.mark.skipif(platform.machine() not in sandbox.ARCHITECTURE, reason="the filter knows other machines")
def test_the_filter_refuses_each_call_that_it_names(tmp_path: Path) -> None:
    machine = platform.machine()
    (tmp_path / "rules").write_bytes(sandbox.call_filter(machine))
    socket_, pair = sandbox.SOCKET[machine], sandbox.SOCKETPAIR[machine]
    wanted = {f"{number}": errno.EPERM for number in sandbox.REFUSED[machine]}
    wanted |= {f"{number}": errno.EAGAIN for number in sandbox.FORK[machine]}
    wanted |= {f"{sandbox.CLONE[machine]},17": errno.EAGAIN, f"{sandbox.CLONE3}": errno.ENOSYS}
    wanted |= {f"{socket_},{family},2": errno.EPERM for family in (0, 3, 4, 9, 11, 16, 17, 29, 31, 38, 40, 44)}
    wanted |= {f"{socket_},{family},2": 0 for family in (socket.AF_UNIX, socket.AF_INET)}
    wanted |= {f"{pair},40,1": errno.EPERM}
    wanted |= {f"{0x40000000 + 39}": errno.EPERM} if machine == "x86_64" else {}
    command = [sys.executable, "-c", FILTERED, str(tmp_path / "rules"), *wanted]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert dict(zip(wanted, map(int, told), strict=True)) == wanted


def test_what_a_judge_trips_over_costs_that_task_alone(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    def trips(task_: Any, answer: Any, seed: int) -> Any:
        if task_.id == "09.2":
            raise MemoryError
        if task_.id == "09.1":
            os._exit(9)
        return judged(task_, answer, seed)

    monkeypatch.setattr(judge_module, "judged", trips)
    cells = list(enumerate(notebook(**ALL)))
    verdict = judge_apart(cells, EXERCISE, SEED, LIMITS, rooms, unsafe=True)
    assert [outcome.points for outcome in verdict.outcomes] == [0, 0, 4], verdict
    assert all("can't be judged" in outcome.message for outcome in verdict.outcomes[:2])


def test_what_can_not_be_filed_is_a_row_and_the_others_are_graded(
    school: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def file(self: Course, found: Found, verdict: Verdict) -> Row:
        raise RuntimeError("half \ud800")

    def judging(*_: Any, **__: Any) -> Verdict:
        raise ValueError("no number")

    (folder := school / "two" / "mia").mkdir(parents=True)
    (folder / f"{NAME}.ipynb").write_text(json.dumps(as_notebook(["1"])))
    monkeypatch.setattr(grading, "judge_apart", judging)
    (row,) = grade(school / "two", root=school, limits=LIMITS, unsafe=True)
    assert row.status == "failed" and "no number" in row.reason
    monkeypatch.setattr(Course, "file", file)
    monkeypatch.setattr(Course, "fail", file)
    (row,) = grade(school / "two", root=school, limits=LIMITS, unsafe=True)
    assert row.status == "failed" and "half ?" in row.reason


@pytest.mark.parametrize(
    "value",
    [
        pd.Series({"a": 1.5, "b": 2.0}),
        pd.Series(["x", None], index=[("a", 1), ("b", 2)]),
        pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}, index=["r", "s"]),
        pd.DataFrame({"a": []}),
        1 + 2j,
    ],
    ids=["series", "texts", "frame", "empty", "complex"],
)
def test_what_pandas_holds_travels_as_it_is(value: Any) -> None:
    back = wire.unpack(json.loads(json.dumps(wire.pack(value, pytest.fail))), pytest.fail)
    assert type(back) is type(value)
    assert back.to_dict() == value.to_dict() if hasattr(value, "to_dict") else back == value


LOOSE = {
    "a generator": lambda: (x for x in (1.0, 2.0)),
    "a map": lambda: map(float, (1, 2)),
    "a deque": lambda: deque([1.0, 2.0]),
    "values of a dict": {"a": 1.0, "b": 2.0}.values,
    "a Series": lambda: pd.Series([1.0, 2.0]),
    "a tensor": lambda: torch.tensor([1.0, 2.0]),
    "complex numbers": lambda: [1 + 1j, 2.0],
    "a complex array": lambda: np.array([1, 2]) + 1j,
    "a complex Series": lambda: pd.Series([1.0, 2.0]) + 1j,
}


@pytest.mark.parametrize("what", LOOSE)
def test_the_same_value_gets_the_same_mark_in_a_notebook_and_in_grading(what: str, rooms: Rooms) -> None:
    right = Places(("first", "second"))
    judge = ByReference(lambda: (1.0, 2.0), right, "Return both.", {})
    wanted = replace(task("09.2"), cases=lambda seed: [()], judge=judge)
    here = outcome(wanted, LOOSE[what])
    with Wired({"answer": LOOSE[what]}, rooms) as submission:
        (answer,) = submission.answers("answer", "09.2")
        there = outcome(wanted, answer)
    assert (here.status, here.message) == (there.status, there.message)
    assert ("complex" in here.message) == ("complex" in what)


@pytest.mark.parametrize("text", ["[" * 20_000, "*a" * 9_000, "x" * 3_000_000, "![](" * 4000, "> " * 9000])
def test_markdown_that_is_hard_to_read_is_shown_all_the_same(text: str) -> None:
    assert pages.clean(text).startswith("<div class=")


def test_markdown_becomes_html_that_stays_what_it_is() -> None:
    from nbconvert.filters import markdown2html

    made = pages.clean(
        "# A\n\n| a | b |\n|---|---|\n| 1 | `x*y*z` |\n\n```python\nif a < b:\n\n    c\n```\n\n[ok](https://x.y)"
    )
    assert markdown2html(made).strip() == made and "\n" not in made
    assert 'href="https://x.y"' in made and "&lt;" in made and "<table>" in made and "&amp;lt;" not in made
