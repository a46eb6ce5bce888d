"""A change of model can be killed at any moment: nothing is lost, nothing is mixed, and the way back is open."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.errors import CourseError
from helpers.migrate import Index
from tests.migrate.drill import NEW, OLD, QUERIES, TEXTS, before, change, hashed

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
    return dict(zip(texts, MODELS[space](list(texts.values())), strict=True))


def check(path: Path) -> None:
    """What must hold at any moment, whoever was killed."""
    index = Index(path)
    live = index.live
    assert live in ("old", "new") and (live == "old" or not index.missing("new"))
    assert index.missing("old") in ([], ["t900"])  # it was added whole, or not at all
    extra = {"t900": "a text that came during the change"}
    for space in ("old", "new"):
        names, vectors = index.vectors(space)
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

    models = [load(name, device="cpu").encode for name in ("all-MiniLM-L6-v2-static-256", "all-MiniLM-L6-v2")]
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
        index.vectors("new")[1], both["new"]([*TEXTS.values(), "a text that came during the change"]), atol=1e-5
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
        index.search("x", lambda texts: np.ones((len(texts), 5)))


def test_a_changed_text_is_encoded_again_in_every_space(index: Index) -> None:
    index.backfill("new", NEW, say=quiet)
    index.add({"t001": "changed"}, {"new": NEW})
    assert index.missing("old") == ["t001"] and index.missing("new") == []
    index.add({"t001": "changed"})
    assert index.missing("new") == []
    index.backfill("old", OLD, say=quiet)
    [(found, score)] = index.search("changed", OLD, 1)
    assert found == "t001" and score == pytest.approx(1)


def test_the_shadow_says_how_many_answers_two_spaces_share(index: Index) -> None:
    twin = hashed("old")
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
