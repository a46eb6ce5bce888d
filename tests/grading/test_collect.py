"""Collecting submissions: whose each is, that nobody vanishes, and that nobody's fault touches another."""

import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("grading runs on Linux", allow_module_level=True)

from helpers.errors import CourseError
from tools.grading import notebooks, places
from tools.grading.collect import Found, collect

NAME = "09_mteb"
IDS = {NAME: {"means", "borda"}, "02_bge": {"pool"}}
ANNA, BEN = "Anna Ode_123_assignsubmission_file_", "Ben Fu_124_assignsubmission_file_"


def notebook(source: str = "1", outputs: int = 0) -> bytes:
    shown = [{"output_type": "stream", "name": "stdout", "text": "x" * outputs}] if outputs else []
    cell: dict[str, Any] = {
        "cell_type": "code",
        "source": source,
        "metadata": {},
        "outputs": shown,
        "execution_count": None,
    }
    return json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}).encode()


MINE, OTHER = notebook("mine"), notebook("other")


def zipped(members: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def broken(members: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip whose first member's data are damaged."""
    content = bytearray(zipped(members, how))
    start = 30 + len(next(iter(members)))
    content[start + 4 : start + 30] = bytes(b ^ 0x5A for b in content[start + 4 : start + 30])
    return bytes(content)


def collected(tmp_path: Path, files: dict[str, bytes]) -> dict[tuple[str, str], Found]:
    """What is found in a class's folder that holds these files, by student and exercise."""
    folder = tmp_path / "class"
    folder.mkdir()
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    found = collect(folder, tmp_path / "unpacked", IDS)
    assert len({(one.student, one.exercise, one.place) for one in found}) == len(found)
    return {(one.student, one.exercise): one for one in found}


def source_of(found: Found) -> str:
    return str(found.cells[0]["source"])


@pytest.mark.parametrize("name", [f"{NAME}.ipynb", f"{NAME}-9.ipynb"])
@pytest.mark.parametrize(
    ("anna", "ben", "inside"),
    [
        ("anna", "ben", "anna/"),
        ("anna", "ben", f"{ANNA}/"),
        ("anna", "ben", f"submitted/anna/{NAME}/"),
        (ANNA, BEN, f"{ANNA}/"),
        (ANNA, BEN, "anna_1_2_"),
    ],
)
@pytest.mark.parametrize("zips", [0, 1, 2])
def test_nobody_hands_in_for_another(  # noqa: PLR0917, a product of all ways
    tmp_path: Path, name: str, anna: str, ben: str, inside: str, zips: int
) -> None:
    content, where = OTHER, f"{ben}/{inside}{name}"
    for _ in range(zips):
        content, where = zipped({f"{inside}{name}": content}), f"{ben}/work.zip"
        inside, name = "", "work.zip"
    found = collected(tmp_path, {f"{anna}/{NAME}.ipynb": MINE, where: content})
    students = {student for student, _ in found}
    annas = next(student for student in students if student.lower().startswith("anna"))
    assert source_of(found[annas, NAME]) == "mine" and len(students) == 2, found
    assert next(student for student in students if student.lower().startswith("ben"))


def test_a_zip_beside_the_folders_that_names_another_replaces_nothing(tmp_path: Path) -> None:
    files = {f"anna/{NAME}.ipynb": MINE, "ben.zip": zipped({f"anna/{NAME}-9.ipynb": OTHER})}
    problem = str(collected(tmp_path, files)["anna", NAME].problem)
    assert f"anna/{NAME}.ipynb and ben.zip/anna/{NAME}-9.ipynb" in problem


def test_a_clash_names_both_paths_and_the_same_notebook_twice_is_none(tmp_path: Path) -> None:
    files = {f"anna/{NAME}.ipynb": MINE, f"anna/new/{NAME}.ipynb": OTHER, f"ben/{NAME}.ipynb": MINE}
    found = collected(tmp_path, files | {"ben/all.zip": zipped({f"{NAME}.ipynb": MINE})})
    assert f"two files are both theirs, anna/{NAME}.ipynb and anna/new/{NAME}.ipynb" in str(found["anna", NAME].problem)
    assert found["ben", NAME].problem is None


LARGE = notebook("large", 25_000_000)
NO_ROW = {
    "a right notebook with 25 MB of outputs": (LARGE, None),
    "in a zip": (zipped({f"{NAME}.ipynb": LARGE}), None),
    "in a zip in a zip": (zipped({"a/inner.ZIP": zipped({f"b/{NAME}.ipynb": MINE})}), None),
    "in too many zips": (
        zipped({"1.zip": zipped({"2.zip": zipped({"3.zip": zipped({f"{NAME}.ipynb": MINE})})})}),
        "too deep",
    ),
    "a zip without a notebook": (zipped({"readme.txt": b"hello"}), "no notebook"),
    "an empty zip": (zipped({}), "no notebook"),
    "what is no zip": (b"PK\x03\x04 no zip", "can't be unpacked"),
    "half a zip": (zipped({f"{NAME}.ipynb": MINE})[:-30], "can't be unpacked"),
    "damaged deflate data": (broken({f"{NAME}.ipynb": notebook("x" * 500)}), "can't be unpacked"),
    "damaged LZMA data": (broken({f"{NAME}.ipynb": notebook("x" * 500)}, zipfile.ZIP_LZMA), "can't be unpacked"),
    "damaged bzip2 data": (broken({f"{NAME}.ipynb": notebook("x" * 500)}, zipfile.ZIP_BZIP2), "can't be unpacked"),
    "a member's name of 300 characters": (zipped({f"{'x' * 300}/{NAME}.ipynb": MINE}), None),
    "a file and a folder of one name": (zipped({"a": b"", f"a/{NAME}.ipynb": MINE}), None),
    "a member outside": (zipped({f"../{NAME}.ipynb": MINE}), "lies outside"),
}


@pytest.mark.parametrize("what", NO_ROW)
@pytest.mark.parametrize("layout", ["folder", "Moodle's zip", "Canvas's zip"])
def test_nobody_vanishes_and_no_fault_touches_another(tmp_path: Path, what: str, layout: str) -> None:
    content, told = NO_ROW[what]
    name = f"{NAME}.ipynb" if content is LARGE else "work.zip"
    files = {f"anna/{NAME}.ipynb": MINE, f"ben/{name}": content}
    if layout == "Moodle's zip":
        files = {"all.zip": zipped({f"{ANNA}/{NAME}.ipynb": MINE, f"{BEN}/{name}": content})}
    elif layout == "Canvas's zip":
        files = {"all.zip": zipped({f"anna_1_2_{NAME}.ipynb": MINE, f"ben_3_4_{name}": content})}
    found = collected(tmp_path, files)
    assert len(found) == 2, found
    (_, annas), (_, bens) = sorted(found.items())
    assert annas.problem is None and source_of(annas) == "mine"
    assert (bens.problem is None) if told is None else (told in str(bens.problem)), bens


def test_links_of_every_sort_have_a_row(tmp_path: Path) -> None:
    (tmp_path / "work.zip").write_bytes(zipped({f"{NAME}.ipynb": MINE}))
    (tmp_path / "away").mkdir()
    folder = tmp_path / "class"
    for student in ("anna", "ben", "carl"):
        (folder / student).mkdir(parents=True)
    (folder / "anna" / f"{NAME}.ipynb").write_bytes(MINE)
    (folder / "ben" / "work.zip").symlink_to(tmp_path / "work.zip")
    (folder / "carl" / f"{NAME}.ipynb").symlink_to(folder / "anna" / f"{NAME}.ipynb")
    (folder / "di").symlink_to(tmp_path / "away")
    problems = {found.student: found.problem for found in collect(folder, tmp_path / "unpacked", IDS)}
    assert problems.pop("anna") is None
    assert problems.keys() == {"ben", "carl", "di"} and all("it is a link" in str(p) for p in problems.values())


def test_a_folder_with_nothing_that_counts_has_a_row_that_says_what_is_there(tmp_path: Path) -> None:
    files = {f"anna/{NAME}.ipynb": MINE, "ben/report.pdf": b"", f"carl/.ipynb_checkpoints/{NAME}.ipynb": MINE}
    found = collected(tmp_path, files)
    assert found["ben", ""].problem == "there is no notebook in it, only report.pdf"
    assert "no notebook" in str(found["carl", ""].problem)


@pytest.mark.parametrize(
    "name",
    [
        f"{NAME}-Copy1.ipynb",
        f"{NAME}-Copy1-2.ipynb",
        f"{NAME}.IPYNB",
        f"{NAME.upper()}.ipynb",
        f"{NAME} (1).ipynb",
        f"{NAME}(1).ipynb",
        f"{NAME} copy.ipynb",
        f"{NAME} - Copy (2).ipynb",
        f"Copy of {NAME}.ipynb",
        f"{NAME}.ipynb.txt",
        f"a/b/c/{NAME}.ipynb",
    ],
)
def test_names_are_understood_as_platforms_and_systems_make_them(tmp_path: Path, name: str) -> None:
    (found,) = collected(tmp_path, {f"ben/{name}": MINE}).values()
    assert (found.student, found.exercise, found.problem) == ("ben", NAME, None)


@pytest.mark.parametrize(
    "names",
    [
        ("ben*", "ben?"),
        ("ben.", "ben"),
        ("Jose\u0301", "Jos\u00e9"),
        ("\U0001f600", "\U0001f601"),
        ("x" * 99, "x" * 98),
    ],
)
def test_two_students_whose_names_become_one_keep_two_rows(tmp_path: Path, names: tuple[str, str]) -> None:
    found = collected(tmp_path, {f"{name}/{NAME}.ipynb": notebook(name) for name in names})
    assert len({student for student, _ in found}) == 2
    assert {source_of(one) for one in found.values()} == set(names)


def test_whose_it_is_cant_be_told_without_a_students_folder(tmp_path: Path) -> None:
    files = {f"{NAME}/{NAME}.ipynb": MINE, f"{NAME}.ipynb": MINE, f"02_bge/anna/{NAME}.ipynb": MINE}
    found = collected(tmp_path, files)
    assert found["anna", NAME].problem is None
    assert {p for (s, _), one in found.items() if s == "unknown" and (p := one.problem)} == {places.NOT_TOLD}


def test_the_folder_that_a_zip_was_made_of_is_nobody(tmp_path: Path) -> None:
    path = tmp_path / "class.zip"
    path.write_bytes(zipped({f"class/anna/{NAME}.ipynb": MINE, f"class/ben/{NAME}.ipynb": OTHER, "__MACOSX/x": b""}))
    assert [found.student for found in collect(path, tmp_path / "unpacked", IDS)] == ["anna", "ben"]


@pytest.mark.parametrize(("limit", "value"), [("ZIP_FILES", 2), ("ZIP_BYTES", 1000)])
def test_one_students_zip_bomb_is_refused_and_touches_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    bomb = zipped({f"{i}/{NAME}.ipynb": notebook("x" * 400) for i in range(6)})
    monkeypatch.setattr(places, limit, value)
    found = collected(tmp_path, {"anna.zip": zipped({f"{NAME}.ipynb": MINE}), "ben/bomb.zip": bomb})
    assert found["anna", NAME].problem is None
    assert "which is the limit" in str(found["ben", "bomb.zip"].problem)
    alone = tmp_path / "alone.zip"
    alone.write_bytes(zipped({f"{i}/{NAME}.ipynb": notebook("x" * 2000) for i in range(3)}))
    monkeypatch.setattr(places, limit, 0)
    with pytest.raises(CourseError, match="which is the limit"):
        collect(alone, tmp_path / "unpacked", IDS)


def test_a_member_of_a_zip_that_is_too_large_has_a_row_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = notebook("x" * 1_400_000)
    monkeypatch.setattr(places, "RAW_BYTES", 1_000_000)
    found = collected(
        tmp_path, {"anna.zip": zipped({f"{NAME}.ipynb": MINE}), "ben.zip": zipped({f"{NAME}.ipynb": large})}
    )
    assert found["anna", NAME].problem is None
    assert {str(row.problem) for who, row in found.items() if who[0] == "ben"} == {
        "the file has 1 MB, and 1 MB is the limit"
    }


def test_the_limit_is_for_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.ipynb"
    path.write_bytes(notebook("small", 30_000_000))
    assert notebooks.read(path)[1] is None
    path.write_bytes(notebook("x" * 21_000_000))
    assert "21 MB without outputs, and 20 MB is the limit" in str(notebooks.read(path)[1])
    monkeypatch.setattr(notebooks, "RAW_BYTES", 1000)
    assert "is the limit" in str(notebooks.read(path)[1])
    monkeypatch.undo()
    path.write_bytes(b'{"cells": [' + b"[]," * 10_000_000 + b"[]]}")
    monkeypatch.setattr(notebooks, "READ_MB", 300)
    assert "GB of memory" in str(notebooks.read(path)[1])


@pytest.mark.parametrize("text", [b"[" * 200_000, b'{"cells": [' + b"1" * 10_000 + b"]}", "{}".encode("utf-16")])
def test_what_python_reads_no_further_has_a_reason(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "x.ipynb"
    path.write_bytes(text)
    assert notebooks.read(path)[1]


def test_half_a_character_is_replaced_where_it_is_read(tmp_path: Path) -> None:
    content: dict[str, Any] = json.loads(notebook())
    content["cells"][0]["source"] = ["x = '\ud800'"]
    (found,) = collected(tmp_path, {f"anna/{NAME}.ipynb": json.dumps(content).encode()}).values()
    assert source_of(found) == "x = '?'"
