"""A change of model can be killed at any moment: nothing is lost, nothing is mixed, and the way back is open."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import migrate
from helpers.errors import CourseError
from helpers.migrate import CANARIES, Index
from tests.migrate.drill import DIMS, NEW, OLD, QUERIES, TEXTS, Hashed, before, change

pytestmark = pytest.mark.skipif(os.name == "nt", reason="kill -9 is of POSIX")
MODELS = {"old": OLD, "new": NEW}


def quiet(line: str) -> None:
    pass


def drill(path: Path, point: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.migrate.drill", str(path), str(point)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def answers(path: Path, space: str, models: dict[str, Any] | None = None) -> list[list[tuple[str, float]]]:
    index = Index(path)
    found = [index.search(query, (models or MODELS)[space], 10, space) for query in QUERIES]
    index.close()
    return found


def by_hand(space: str, extra: dict[str, str]) -> dict[str, np.ndarray]:
    texts = TEXTS | extra
    return dict(zip(texts, MODELS[space].encode_document(list(texts.values())), strict=True))


def check(path: Path) -> None:
    """What must hold at any moment, whoever was killed."""
    index = Index(path)
    live = index.live
    assert live in ("old", "new") and (live == "old" or not index.missing("new"))
    assert index.missing("old") in ([], ["t900"])  # it was added whole, or not at all
    extra = {"t900": "a text that came during the change"}
    for space in ("old", "new"):
        try:
            names, vectors = index.vectors(space)
        except CourseError as error:  # killed before it was begun
            assert "no space 'new'" in str(error)
            continue
        right = by_hand(space, extra)
        assert all(np.array_equal(vector, right[name]) for name, vector in zip(names, vectors, strict=True))
    other = "new" if live == "old" else "old"
    with pytest.raises(CourseError, match="Another model made"):
        index.search("text number 7", MODELS[other])
    index.close()


def test_killed_at_every_point_nothing_is_lost_or_mixed_and_the_way_back_is_open(tmp_path: Path) -> None:
    first = tmp_path / "first.db"
    before(str(first))
    whole = tmp_path / "whole.db"
    whole.write_bytes(first.read_bytes())
    points = int(drill(whole, 0).stdout)
    assert points > 20
    for point in range(1, points + 1):
        path = tmp_path / f"{point}.db"
        path.write_bytes(first.read_bytes())
        assert drill(path, point).returncode == -signal.SIGKILL
        check(path)
        change(str(path), quiet)  # called again
        check(path)
        index = Index(path)
        assert index.live == "new" and index.missing("new") == index.missing("old") == []
        assert index.rollback() == "old"
        index.close()
        assert answers(path, "old") == answers(whole, "old")


def killed_at_random(tmp_path: Path, kills: int, seed: int) -> None:
    from helpers import load

    models = [load(name, device="cpu") for name in ("all-MiniLM-L6-v2-static-256", "all-MiniLM-L6-v2")]
    both = dict(zip(("old", "new"), models, strict=True))
    path, draw = tmp_path / "real.db", np.random.default_rng(seed)
    index = Index(path)
    index.add(TEXTS)
    index.backfill("old", both["old"], say=quiet)
    index.switch("old")
    index.close()
    was = answers(path, "old", both)
    for _ in range(kills):
        command = [sys.executable, "-m", "tests.migrate.drill", str(path), "minilm"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and any("ready" in line for line in process.stdout)
        time.sleep(float(draw.uniform(0, 0.4)))
        process.kill()
        process.wait()
        index = Index(path)
        assert index.live in ("old", "new") and len(index.vectors("old")[0]) >= len(TEXTS)
        if index.live == "new":
            index.rollback()
        index.close()
    change(str(path), quiet, both["old"], both["new"])
    index = Index(path)
    assert index.live == "new" and not index.missing("new")
    np.testing.assert_allclose(
        index.vectors("new")[1], both["new"].encode([*TEXTS.values(), "a text that came during the change"]), atol=1e-5
    )
    assert index.rollback() == "old"
    index.close()
    again = answers(path, "old", both)
    for one, other in zip(was, again, strict=True):
        scores = dict(other)
        assert all(scores.get(name, score) == score for name, score in one)  # to the bit; a text came in between


def test_three_kills_at_random_with_real_models(tmp_path: Path) -> None:
    killed_at_random(tmp_path, 3, 0)


@pytest.mark.execution
def test_fifty_kills_at_random_with_real_models(tmp_path: Path) -> None:
    killed_at_random(tmp_path, 50, 1)


class Wide(Hashed):
    """A model of other dimensions."""

    def __init__(self) -> None:
        super().__init__("wide")

    def encode_document(self, texts: list[str]) -> np.ndarray:
        return np.ones((len(texts), 5))


@pytest.fixture
def index(tmp_path: Path) -> Index:
    before(str(tmp_path / "index.db"))
    return Index(tmp_path / "index.db")


def test_a_space_that_lacks_texts_can_not_answer(index: Index) -> None:
    index.begin("new", NEW)
    with pytest.raises(CourseError, match="lacks 40 texts"):
        index.switch("new")
    with pytest.raises(CourseError, match="no space 'nobody'"):
        index.switch("nobody")
    assert index.live == "old"


def test_equal_dimensions_are_no_equal_model(index: Index) -> None:
    for work in (lambda: index.begin("old", NEW), lambda: index.search("x", NEW), lambda: index.backfill("old", NEW)):
        with pytest.raises(CourseError, match="as many dimensions, but"):
            work()
    with pytest.raises(CourseError, match="has 16 dimensions, and this model 5"):
        index.search("x", Wide())


def test_a_changed_text_is_encoded_again_in_every_space(index: Index) -> None:
    index.backfill("new", NEW, say=quiet)
    index.add({"t001": "changed"}, {"new": NEW})
    assert index.missing("old") == ["t001"] and index.missing("new") == []
    index.add({"t001": "changed"})
    assert index.missing("new") == []
    index.backfill("old", OLD, say=quiet)
    [(found, score)] = index.search("changed", OLD, 1)
    assert found == "t001" and score == pytest.approx(1)


class Meddling(Hashed):
    """The old model, but while it encodes documents, another process does something."""

    def __init__(self, meddle: Callable[[], None]) -> None:
        super().__init__("old")
        self.meddle = meddle

    def encode_document(self, texts: list[str]) -> np.ndarray:
        if "changed elsewhere" not in texts and len(texts) < 40 and texts != list(CANARIES):
            self.meddle()
        return super().encode_document(texts)


def test_a_text_that_changes_while_it_is_encoded_gets_no_vector_of_its_old_wording(
    index: Index, tmp_path: Path
) -> None:
    def meddle() -> None:
        other = Index(tmp_path / "index.db")
        other.add({"t007": "changed elsewhere"})
        other.close()

    model = Meddling(meddle)
    index.backfill("second", model, batch=8, say=quiet)
    names, vectors = index.vectors("second")
    assert index.missing("second") == [] and names == list(TEXTS)
    right = OLD.encode_document(list((TEXTS | {"t007": "changed elsewhere"}).values()))
    np.testing.assert_array_equal(vectors, right)
    index.add({"t008": "written here"}, {"old": Meddling(lambda: elsewhere(tmp_path, {"t008": "written there"}))})
    assert index.missing("old") == ["t007"] and index.search("written here", OLD, 1)[0][0] == "t008"


def elsewhere(tmp_path: Path, texts: dict[str, str]) -> None:
    other = Index(tmp_path / "index.db")
    other.add(texts)
    other.close()


def test_a_space_that_another_process_begins_anew_is_not_written_by_the_model_before(
    index: Index, tmp_path: Path
) -> None:
    index.begin("new", NEW)

    class Dropping(Hashed):
        def encode_document(self, texts: list[str]) -> np.ndarray:
            if texts != list(CANARIES):
                other = Index(tmp_path / "index.db")
                other.drop("new")
                other.begin("new", Hashed("newer"))
                other.close()
            return super().encode_document(texts)

    with pytest.raises(CourseError, match="Another model made 'new'"):
        index.backfill("new", Dropping("new"), say=quiet)
    assert index.vectors("new")[0] == []
    with pytest.raises(CourseError, match="Another model made 'new'"):
        index.search("x", NEW, space="new")  # though it was the right one a moment ago


def test_a_model_that_changes_behind_its_name_is_noticed(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "RECHECK", 3)
    model = Hashed("old")
    for _ in range(2):
        index.search("x", model)
    model.seed = "another revision"
    with pytest.raises(CourseError, match="Another model made 'old'"):
        for _ in range(4):
            index.search("x", model)


def test_a_prompt_is_of_its_side_and_part_of_the_model(tmp_path: Path) -> None:
    index, prompted = Index(tmp_path / "prompted.db"), Hashed("e5", prompt="query: ")
    index.add({"a": "query: where", "b": "where"})
    index.backfill("e5", prompted, say=quiet)
    index.switch("e5")
    [(found, score)] = index.search("where", prompted, 1)
    assert found == "a" and score == pytest.approx(1)
    with pytest.raises(CourseError, match="Another model made 'e5'"):
        index.search("where", Hashed("e5"))  # the prompt was forgotten
    assert index.vectors("e5")[1].shape == (2, DIMS)


def test_a_text_that_comes_while_a_switch_looks_is_not_lost(index: Index, tmp_path: Path) -> None:
    index.backfill("new", NEW, say=quiet)
    seen: list[str] = []

    def late(point: str) -> None:  # the last moment before the switch takes the lock
        if point == "before switch":
            elsewhere(tmp_path, {"t999": "late"})
            seen.append(point)

    switching = Index(tmp_path / "index.db", late)
    with pytest.raises(CourseError, match="lacks 1 texts"):
        switching.switch("new")
    assert seen and index.live == "old"


def test_an_index_that_another_process_keeps_locked_says_so(index: Index, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "index.db")
    other.execute("BEGIN IMMEDIATE")
    index._db.execute("PRAGMA busy_timeout = 10")
    with pytest.raises(CourseError, match=r"can't be written now .*locked"):
        index.add({"t1": "x"})
    other.rollback()
    index.add({"t1": "x"})
    assert "t1" in index.missing("old")
    other.close()


def test_the_shadow_says_how_many_answers_two_spaces_share(index: Index) -> None:
    twin = Hashed("old")
    index.backfill("new", NEW, say=quiet)
    index.backfill("twin", twin, say=quiet)
    assert index.overlap(QUERIES, {"old": OLD, "twin": twin}).tolist() == [1, 1, 1]
    assert index.overlap(QUERIES, {"old": OLD, "new": NEW}).mean() < 0.6


def test_the_live_space_stays_and_the_way_back_ends_with_what_was_dropped(index: Index) -> None:
    with pytest.raises(CourseError, match="'old' is live"):
        index.drop("old")
    with pytest.raises(CourseError, match="no space to go back to"):
        index.rollback()
    index.backfill("new", NEW, say=quiet)
    index.switch("new")
    index.drop("old")
    with pytest.raises(CourseError, match="no space to go back to"):
        index.rollback()


def test_what_is_no_index_is_said(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_text("this is no database, and long enough to be looked at as one " * 20)
    with pytest.raises(CourseError, match="can't be opened as an index"):
        Index(path)
    with pytest.raises(CourseError, match="No space is live yet"):
        Index(tmp_path / "fresh.db").search("x", OLD)
