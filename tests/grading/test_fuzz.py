"""Grading, fuzzed: whatever one student hands in, the others' rows, marks and pages are as they would be without it.

pytest -m execution tests/grading/test_fuzz.py        ten minutes
"""

import base64
import contextlib
import json
import socket
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import strategies as st

if sys.platform != "linux":
    pytest.skip("grading runs on Linux", allow_module_level=True)

from helpers.checks import outcome, task, tasks
from helpers.checks.judges import ByReference, Places
from tests import fuzzing
from tests.fuzzing import ANY_JSON, Kind
from tests.grading.test_collect import ANNA, BEN, IDS, NAME, broken, notebook, zipped
from tests.grading.test_grading import EXERCISE, LIMITS, LOOSE, SEED, TROUBLE, live_in
from tests.grading.wired import Wired, probe
from tests.grading.zoo import notebook as answered
from tests.grading.zoo import solved
from tests.grading.zoo_hostile import CELLS
from tools.grading import notebooks, pages, places, remote, sandbox
from tools.grading.collect import collect
from tools.grading.gradebook import safe
from tools.grading.judge import judge_apart, judged
from tools.grading.sandbox import Rooms

MINE = notebook("mine")
NAMES = ("", "-9", "-Copy1", " (1)", "-99999999999999999999")
INSIDE = (
    "",
    "a/",
    "anna/",
    f"{ANNA}/",
    f"submitted/anna/{NAME}/",
    "../",
    "/etc/",
    "x" * 300 + "/",
    "\ud83d/",
    "__MACOSX/",
)


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Rooms:
    return sandbox.furnish(tmp_path_factory.mktemp("rooms"))


# What is handed in, and whose it is


@st.composite
def handed_in(draw: st.DrawFn) -> dict[str, bytes]:
    """What ben's folder holds: notebooks of all sorts, in folders and in zips."""
    content = st.sampled_from(
        [notebook("ben's"), notebook("y", 300_000), b"", b"{", b"[" * 100_000, b"PK\x03\x04", "{}".encode("utf-16")]
    ) | ANY_JSON.map(lambda value: json.dumps({"cells": value}).encode())
    held: dict[str, bytes] = {}
    for _ in range(draw(st.integers(1, 3))):
        inside = draw(st.sampled_from(INSIDE)).encode("utf-8", "replace").decode()
        suffix = draw(st.sampled_from([".ipynb", ".IPYNB", ".ipynb.txt", ".zip", ".pdf"]))
        name, made = (
            f"{draw(st.sampled_from([NAME, NAME.upper(), 'other']))}{draw(st.sampled_from(NAMES))}{suffix}",
            draw(content),
        )
        for _ in range(draw(st.integers(0, 4))):
            packed = draw(st.sampled_from([zipped, broken, _cut, _two]))
            how = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2]))
            made, name, inside = packed({f"{inside}{name}": made + b" " * 400}, how), "work.zip", ""
        safe_inside = inside if inside in ("a/", "anna/", f"{ANNA}/") else ""
        held[f"{safe_inside}{name}"] = made
    return held


def _cut(members: dict[str, bytes], how: int) -> bytes:
    return zipped(members, how)[:-30]


def _two(members: dict[str, bytes], how: int) -> bytes:
    """A member and a folder of one name."""
    (name, content), *_ = members.items()
    return zipped({name: content, f"{name}/{NAME}.ipynb": MINE}, how)


def collects(drawn: tuple[dict[str, bytes], str]) -> None:
    """Anna's notebook is hers and graded, ben has a row, and nothing lies outside the folder for what was unpacked."""
    held, layout = drawn
    anna, ben = (ANNA, BEN) if layout == "Moodle" else ("anna", "ben")
    files = {f"{anna}/{NAME}.ipynb": MINE} | {f"{ben}/{name}": content for name, content in held.items()}
    with tempfile.TemporaryDirectory() as place:
        source, unpacked = Path(place) / "class", Path(place) / "unpacked"
        if layout == "zip":
            source = Path(place) / "all.zip"
            source.write_bytes(zipped(files))
        else:
            for name, content in files.items():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                (source / name).write_bytes(content)
        before = sorted(Path(place).rglob("*"))
        found = collect(source, unpacked, IDS)
        new = [path for path in Path(place).rglob("*") if path not in before and path != unpacked]
        assert all(path.is_relative_to(unpacked) and not path.is_symlink() for path in new), new
    hers = [one for one in found if one.student.casefold().startswith("anna")]
    assert [one.problem for one in hers] == [None] and hers[0].cells[0]["source"] == "mine", found
    assert {one.student.casefold()[:3] for one in found} == {"ann", "ben"}, found
    for one in found:
        str(one.problem).encode()
        assert one.problem is None or ("\n" not in one.problem and len(one.problem) < 600), one.problem


def reads(content: bytes) -> None:
    """A file is cells, or has a reason in one line."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "x.ipynb"
        path.write_bytes(content)
        cells, problem = notebooks.read(path)
    assert (problem is None) or (not cells and "\n" not in problem and problem.encode())
    json.dumps(cells, ensure_ascii=False).encode()


SOURCE = st.text(max_size=9) | st.text("a\n\ud800", max_size=9) | ANY_JSON
CELL = st.fixed_dictionaries(
    {"cell_type": st.sampled_from(["code", "markdown", "raw", 3]), "source": SOURCE},
    optional={"metadata": ANY_JSON, "outputs": ANY_JSON},
)
files = st.one_of(
    st.binary(max_size=99),
    ANY_JSON.map(lambda value: json.dumps(value).encode()),
    st.lists(CELL, max_size=3).map(lambda cells: json.dumps({"cells": cells, "nbformat": 4}).encode()),
    st.integers(100, 100_000).map(lambda deep: b'{"cells": ' + b"[" * deep),
    st.sampled_from(["utf-16", "utf-8-sig", "cp1252"]).map(lambda code: MINE.decode().encode(code)),
)


# What comes out of the sandbox


class Ended:
    """A process that has ended."""

    def wait(self, seconds: float) -> int:
        return 1


def hears(rooms: Rooms) -> Callable[[list[Any]], None]:
    """Frames that nobody's probe sends end that submission alone, in a sentence."""

    def right(frames: list[Any]) -> None:
        ours, theirs = socket.socketpair()
        submission = remote.Submission([(0, "1"), (3, "2")], replace(LIMITS, wall_s=5, call_s=1), rooms)
        submission.connection, submission.functions, submission.process = ours, [len], Ended()  # type: ignore[assignment]

        def forge() -> None:
            with theirs, contextlib.suppress(OSError):  # it may be hung up on
                for frame in frames:
                    body = frame if isinstance(frame, bytes) else json.dumps(frame).encode()
                    theirs.sendall(len(body).to_bytes(4, "big") + body)
                theirs.shutdown(socket.SHUT_WR)
                while theirs.recv(1 << 16):
                    pass

        thread = threading.Thread(target=forge, daemon=True)
        thread.start()
        try:
            submission.load()
            for number, outputs in submission.outputs.items():
                assert type(number) is int and json.dumps(safe(outputs)).encode()
            for answer in submission.answers("means", "09.2"):
                said = judged(task("09.2"), answer, SEED)
                assert said.points == 0 and said.message, said
        except remote.EndedError as error:
            assert "\n" not in str(error)
        except (remote.LearnersError, NotImplementedError):
            pass
        finally:
            ours.close()
            thread.join(10)

    return right


packed = st.one_of(
    ANY_JSON,
    st.sampled_from(
        ["list", "tuple", "set", "dict", "bytes", "complex", "ellipsis", "array", "scalar", "tensor"]
    ).flatmap(lambda kind: st.fixed_dictionaries({kind: ANY_JSON})),
    st.tuples(
        st.sampled_from(["<f8", "|O", "<M8[s]", "V8", "<c16", 3]),
        st.lists(st.integers(-2, 3), max_size=3),
        st.binary(max_size=24),
    ).map(lambda drawn: {"array": [drawn[0], drawn[1], base64.b64encode(drawn[2]).decode()]}),
    st.fixed_dictionaries(
        {"series": st.lists(st.fixed_dictionaries({"list": st.lists(ANY_JSON, max_size=3)}), max_size=3)}
    ),
)
frames = st.tuples(
    st.lists(
        st.fixed_dictionaries(
            {
                "cell": st.sampled_from([0, 3, 3.0, True, "0", -1, None]),
                "outputs": st.lists(ANY_JSON, max_size=3) | ANY_JSON,
            }
        )
        | ANY_JSON
        | st.binary(max_size=30),
        max_size=2,
    ),
    st.lists(
        st.one_of(
            st.fixed_dictionaries({"value": packed}),
            st.fixed_dictionaries({"error": ANY_JSON, "text": ANY_JSON, "kinds": ANY_JSON, "line": ANY_JSON}),
            st.fixed_dictionaries(
                {"call": st.sampled_from([0, 1, 0.0, True, -1]), "method": ANY_JSON, "args": packed, "options": packed}
            ),
            st.fixed_dictionaries({"unfit": ANY_JSON}),
        ),
        min_size=1,
        max_size=4,
    ),
).map(lambda drawn: [*drawn[0], {"loaded": True}, {"value": {"list": [0]}}, *drawn[1]])


def mute(*_: Any) -> str:
    raise ValueError


ODD = type(
    "Odd", (), {"__str__": mute, "__repr__": mute, "__eq__": lambda self, other: True, "__hash__": lambda self: 1}
)


def _nested(deep: int) -> Any:
    value: Any = 1.0
    for _ in range(deep):
        value = [value]
    return value


plain = st.one_of(
    st.sampled_from([400, 4250, 4500]).map(lambda digits: 10**digits),  # drawn so, since hypothesis would show them
    st.just(0).map(lambda _: ODD()),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.sampled_from([..., "\ud800", np.float32(1.5), np.array([1.0, 2.0]), np.array(["a", None], dtype=object)]),
    st.sampled_from(
        [
            torch.tensor([1.0, 2.0]),
            torch.tensor(3j),
            pd.Series({"a": 1.0}),
            pd.DataFrame({"a": [1.0]}),
            pd.NA,
            mute,
        ]
    ),
)
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
        | st.lists(inner, max_size=2).map(iter)
    ),
    max_leaves=6,
) | st.integers(10, 60).map(_nested)


def returning(value: Any) -> Callable[[], Any]:
    """An answer that returns a value, or an iterator of its items each time."""
    items = list(value) if hasattr(value, "__next__") else None
    return lambda: value if items is None else iter(items)


def travels(rooms: Rooms) -> Callable[[Any], None]:
    """The same value gets the same mark in a notebook and in grading, and a sentence wherever it gets none."""
    judge = ByReference(lambda: (1.0, 2.0), Places(("first", "second")), "Return both.", {})
    wanted = replace(task("09.2"), cases=lambda seed: [()], judge=judge)

    def right(answer: Callable[[], Any]) -> None:
        here = outcome(wanted, answer)
        with Wired({"answer": answer}, rooms) as submission:
            (far,) = submission.answers("answer", "09.2")
            there = outcome(wanted, far)
        assert here.points == there.points and len(there.message) > 5, (here, there)
        assert (here.status == "not attempted") == (there.status == "not attempted"), (here, there)
        for said in (here.message, there.message):
            assert "Traceback" not in said and "ended its process" not in said, said

    return right


def files_outputs(outputs: Any) -> None:
    """Outputs of a sandbox become text and pictures that a file can hold."""
    for output in safe(outputs if isinstance(outputs, list) else [outputs]):
        assert output["output_type"] in ("stream", "error", "display_data")
        assert set(output.get("data", {})) <= {"text/plain", "image/png"}


outputs = st.lists(
    ANY_JSON
    | st.fixed_dictionaries(
        {"output_type": st.sampled_from(["stream", "error", "display_data", "execute_result", 3])},
        optional={
            "data": st.dictionaries(
                st.sampled_from(["text/plain", "text/html", "image/png", "image/svg+xml"]), ANY_JSON
            ),
            "text": ANY_JSON,
            "name": ANY_JSON,
            "traceback": ANY_JSON,
            "ename": ANY_JSON,
        },
    ),
    max_size=3,
)
# What a page shows

SCHEMES = (
    "javascript:",
    "JaVaScript:",
    " javascript:",
    "java\tscript:",
    "&#106;avascript:",
    "vbscript:",
    "data:text/html,",
    "//evil/",
)
PIECES = (
    *(
        "[a](%s1)",
        "![a](%s1)",
        "[r]: %s1\n\n[r] ![r]",
        "<%s1>",
        '<a href="%s1">',
        "<img src=%s1>",
        "<svg onload=%s1>",
        "[a](<%s1>)",
    ),
    *(
        "<script>%s1</script>",
        "```\n%s\n```",
        "$\\href{%s1}{x}$",
        "| a |\n|---|\n| %s |",
        "<iframe srcdoc='%s'>",
        '# h" onclick="%s',
    ),
    *(
        "<math><a xlink:href=%s>",
        "<!-- %s",
        "</div></body>%s",
        "a %s b",
        "<style>@import '%s'</style>",
        "<form action=%s>",
    ),
)
markdown = st.lists(
    st.tuples(
        st.sampled_from(PIECES), st.sampled_from(SCHEMES) | st.text("<>&\"'`[]()!$\\#*_|-: \n\ud800\0", max_size=8)
    ).map(lambda drawn: drawn[0].replace("%s", drawn[1]))
    | st.text(max_size=5),
    min_size=1,
    max_size=4,
).map("\n".join)


def shows(text: str) -> None:
    """Nothing in a cell's page runs or is fetched, read as HTML or as Markdown again."""
    from nbconvert.filters import markdown2html

    made = pages.clean(notebooks.whole(text))
    for page in (made, markdown2html(made)):
        assert not live_in(page), (live_in(page), page)


def stays_put(rooms: Rooms) -> Callable[[tuple[str, ...]], None]:
    """Two hostile cells together earn no more than was solved, and end with a verdict."""

    def right(names: tuple[str, ...]) -> None:
        first, *rest = answered(**solved("09.1"))
        cells = [first, *(CELLS[name].strip().replace("PORT", "9") for name in names), *rest]
        verdict = judge_apart(list(enumerate(cells)), EXERCISE, SEED, replace(LIMITS, wall_s=15), rooms)
        assert verdict.failed or [o.points for o in verdict.outcomes][1:] == [0, 0], verdict
        assert len(str(verdict.outputs)) < 2_500_000

    return right


@pytest.fixture(scope="module")
def kinds(rooms: Rooms) -> Iterator[dict[str, Kind]]:
    loose = st.sampled_from(list(LOOSE.values()))
    two = st.tuples(st.sampled_from(sorted(CELLS)), st.sampled_from(sorted(CELLS)))
    layouts = st.sampled_from(["folder", "Moodle", "zip"])
    found = {
        "whose it is: folders, zips, names": Kind(st.tuples(handed_in(), layouts), collects),
        "files that are no notebook, or hardly": Kind(files, reads),
        "forged frames": Kind(frames, hears(rooms)),
        "values, in a notebook and over the wire": Kind(values.map(returning) | loose, travels(rooms)),
        "outputs": Kind(outputs, files_outputs),
        "Markdown": Kind(markdown, shows),
    }
    yield found | ({} if TROUBLE else {"two hostile cells of the zoo together": Kind(two, stays_put(rooms), dear=True)})


def test_a_short_run_over_all_kinds_finds_nothing(kinds: dict[str, Kind]) -> None:
    made = fuzzing.run({name: kind for name, kind in kinds.items() if not kind.dear}, examples=25)
    assert len(made) == 6


@pytest.mark.execution
def test_ten_minutes_find_nothing(kinds: dict[str, Kind]) -> None:
    print(fuzzing.run(kinds, examples=60, seconds=600, first=1))


def innermost(entry: Any, of: Any) -> Any:
    return owner(replace(entry, parts=entry.parts[-2:]), of)


def as_it_is(text: str) -> str:
    return text


owner = places._owner
HTML = type("Html", (), {"sanitize_html_tags": lambda self, text: text})
TAKEN_BACK: dict[str, tuple[Any, str, Any, str]] = {
    "the outermost folder decides": (places, "_owner", innermost, "whose it is"),
    "damaged zips": (places, "BROKEN", (zipfile.BadZipFile, NotImplementedError, RuntimeError), "whose it is"),
    "half characters": (notebooks, "whole", as_it_is, "files that are"),
    "cleaning": (pages, "_cleaner", HTML, "Markdown"),
    "what is read once": (tasks, "settled", as_it_is, "values"),
}


@pytest.mark.parametrize("mend", TAKEN_BACK)
def test_with_a_mend_taken_back_it_finds_that(
    kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch, mend: str
) -> None:
    fuzzing.finds_without(TAKEN_BACK[mend], kinds, monkeypatch, examples=300)


def test_a_cell_that_ended_in_time_is_not_interrupted_afterwards() -> None:
    with probe.within(0.2):
        pass
    time.sleep(0.3)
