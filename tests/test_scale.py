"""Embedding with Ray: the loop's vectors, nothing that waits for ever, nothing left behind; and what machines cost."""

import contextlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from helpers import data, scale, scale_costs
from helpers.encode import encode
from helpers.errors import CourseError
from helpers.scale_costs import Job

TEXTS = ["", "two words", *data.texts()[:120:8]]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files; the ids are in no order, so that only the source's order can be kept."""
    folder = tmp_path_factory.mktemp("scale") / "corpus"
    folder.mkdir()
    rows = pd.DataFrame({"id": [f"{(7 * i) % len(TEXTS)}" for i in range(len(TEXTS))], "text": TEXTS, "other": 1})
    rows[:9].to_parquet(folder / "a.parquet")
    rows[9:].to_parquet(folder / "b.parquet")
    return folder


def children() -> list[psutil.Process]:
    found: list[psutil.Process] = psutil.Process().children(recursive=True)
    return found


# One real run with two actors, watched from within


@pytest.fixture(scope="module")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    ray = pytest.importorskip("ray")
    before, target = {p.pid for p in children()}, tmp_path_factory.mktemp("out") / "vectors"
    seen: dict[str, Any] = {"target": target}
    scale.start(cpus=2)
    started = [p for p in children() if p.pid not in before]
    sockets = [c for p in started for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    seen["addresses"] = {c.laddr.ip.removeprefix("::ffff:") for c in sockets}
    seen["names"] = " ".join(" ".join(p.cmdline()) for p in started)
    with pytest.raises(CourseError) as refused:
        scale.embed(corpus, target, actors=2, cpus_each=0.8)
    seen["refused"] = str(refused.value)
    try:
        with scale_costs.used() as seen["used"]:
            seen["rows"] = scale.embed(corpus, target, actors=2, batch_texts=4)
        seen["still"] = ray.is_initialized()
    finally:
        processes = [p for p in children() if p.pid not in before]
        ray.shutdown()
    seen["left"] = psutil.wait_procs(processes, timeout=20)[1]
    yield seen


@pytest.mark.execution
def test_a_pool_gives_the_vectors_of_the_plain_loop_in_the_sources_order(
    run: dict[str, Any], corpus: Path, minilm: SentenceTransformer
) -> None:
    files = sorted(run["target"].glob("*.parquet"))
    written = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
    assert run["rows"] == len(TEXTS) and len(files) > 1
    assert written["id"].tolist() == pd.read_parquet(corpus)["id"].tolist()
    vectors = np.stack(list(written["embedding"]))
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, encode(minilm, TEXTS), atol=1e-6)
    np.testing.assert_allclose(vectors, minilm.encode(TEXTS), atol=1e-5)


@pytest.mark.execution
def test_ray_listens_on_this_machine_alone_and_without_a_dashboard(run: dict[str, Any]) -> None:
    assert run["addresses"] == {"127.0.0.1"}
    assert "--include-dashboard=True" not in run["names"]


@pytest.mark.execution
def test_a_pool_that_would_starve_its_readers_is_refused_with_what_would_do(run: dict[str, Any]) -> None:
    assert "2 actors with 0.8 CPUs each leave 0.4 of 2" in run["refused"]
    assert "Give each actor 0.5 or less" in run["refused"]


@pytest.mark.execution
def test_a_ray_that_was_running_is_left_running_and_none_of_it_outlives_its_end(run: dict[str, Any]) -> None:
    assert run["still"] and not run["left"]
    assert [p.name for p in run["target"].parent.iterdir()] == ["vectors"]  # no scratch folder


@pytest.mark.execution
def test_what_a_run_used_counts_the_processes_it_started(run: dict[str, Any]) -> None:
    assert run["used"].processes >= 4  # this one, Ray's head and machine, an actor
    assert run["used"].cpu_s > 1 and run["used"].peak_mb > 500


# What is refused before anything starts


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"column": "body"}, "there is no 'body'; it has id, text, other"),
        ({"key": "name"}, "there is no 'name'.*Set key="),
        ({"column": "other"}, "'other' holds int64, not text"),
        ({"key": "text"}, "column and key are both 'text'"),
        ({"batch_texts": 0}, "batch_texts is 0"),
        ({"actors": 0}, "actors is 0"),
        ({"cpus_each": -1.0}, "cpus_each is -1"),
        ({"actors": 1000, "cpus_each": 1.0}, "would wait in vain"),
    ],
)
def test_a_bad_request_is_told_in_a_sentence_and_starts_nothing(
    corpus: Path, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    with pytest.raises(CourseError, match=told):
        scale.embed(corpus, tmp_path / "out", **change)
    assert not list(tmp_path.iterdir())


def test_a_source_that_is_not_there_or_no_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no parquet")
    for name in ("none.parquet", "text.parquet"):
        with pytest.raises(CourseError, match=name):
            scale.embed(tmp_path / name, tmp_path / "out")


def test_a_target_that_is_there_is_never_written_over(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    with pytest.raises(CourseError, match="there already"):
        scale.embed(corpus, tmp_path)
    assert (tmp_path / "kept").read_text() == "kept"


def test_without_ray_the_error_says_how_to_install_it(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(CourseError, match=r"\[scale\]"):
        scale.embed(corpus, tmp_path / "out")


def test_a_row_without_text_is_named_by_its_key(minilm: SentenceTransformer) -> None:
    table = pa.table({"id": ["a", "b"], "text": ["a text", None]})
    with pytest.raises(CourseError, match=r"'id': 'b'.*has no 'text'"):
        scale.Encoder("all-MiniLM-L6-v2", "text")(table)


def test_an_actors_table_keeps_its_keys_and_gets_vectors_for_its_texts(minilm: SentenceTransformer) -> None:
    found = scale.Encoder("all-MiniLM-L6-v2", "text")(pa.table({"id": [2, 1], "text": TEXTS[1:3]}))
    assert found.column_names == ["id", "embedding"] and found["id"].to_pylist() == [2, 1]
    np.testing.assert_allclose(found["embedding"].to_pylist(), minilm.encode(TEXTS[1:3]), atol=1e-5)


# Shares of CPUs


@given(st.integers(1, 500), st.integers(2, 500))
def test_the_largest_share_leaves_room_for_one_task_and_a_little_more_does_not(actors: int, cpus: int) -> None:
    share = scale.cpus_per_actor(actors, cpus)
    assert 0 < share <= 1
    scale.refuse_starvation(actors, share, cpus)
    if share < 1:
        with pytest.raises(CourseError, match="would wait in vain"):
            scale.refuse_starvation(actors, share + 2e-4, cpus)


def test_two_actors_on_two_cpus_starve_their_readers_from_half_a_cpu_on() -> None:
    assert scale.cpus_per_actor(2, 2) == 0.5
    scale.refuse_starvation(2, 0.4, 2)
    for share in (0.51, 0.8, 1.0):
        with contextlib.suppress(CourseError):
            scale.refuse_starvation(2, share, 2)
            pytest.fail(f"{share} is let through")


def test_one_cpu_has_no_room_for_an_actor_beside_a_task() -> None:
    with pytest.raises(CourseError, match="so no actor has any; start more"):
        scale.cpus_per_actor(1, 1)


# Hours and dollars

jobs = st.builds(
    Job,
    texts=st.floats(0, 1e11),
    texts_per_s=st.floats(0.5, 1e5),
    usd_per_hour=st.floats(0.01, 100),
    startup_s=st.floats(0, 7200),
    redone_share=st.floats(0, 2),
)
machines = st.integers(1, 10_000)


def test_a_job_by_hand() -> None:
    job = Job(3_600_000, 500, 2.0, startup_s=1800)  # two hours of work, half an hour of start
    assert job.hours(1) == 2.5 and job.usd(1) == 5
    assert job.hours(4) == 1 and job.usd(4) == 8
    assert job.machines_for(1) == 4 and job.machines_for(2.4) == 2 and job.machines_for(0.5) is None
    assert job.pays_from_texts(2, alone_startup_s=0) == 1800 * 500 * 2


@given(jobs, machines, machines)
def test_more_machines_are_never_slower_and_never_cheaper(job: Job, one: int, other: int) -> None:
    few, many = sorted((one, other))
    assert job.startup_s / 3600 <= job.hours(many) <= job.hours(few) * (1 + 1e-9)
    assert job.usd(few) <= job.usd(many) * (1 + 1e-9)


@given(jobs, machines)
def test_a_bill_is_the_work_and_a_start_up_for_each_machine(job: Job, count: int) -> None:
    work = job.texts * (1 + job.redone_share) / job.texts_per_s
    assert job.usd(count) == pytest.approx((work + count * job.startup_s) / 3600 * job.usd_per_hour)


@given(jobs, st.floats(0.01, 1000))
def test_the_fewest_machines_meet_the_deadline_and_one_less_does_not(job: Job, deadline: float) -> None:
    count = job.machines_for(deadline)
    if count is None:
        assert deadline * 3600 <= job.startup_s
        return
    assert job.hours(count) <= deadline * (1 + 1e-6)
    if count > 1:
        assert job.hours(count - 1) > deadline * (1 - 1e-6)


@given(jobs, st.integers(2, 1000), st.floats(0, 100))
def test_from_the_size_where_machines_pay_they_end_sooner_and_below_it_later(
    job: Job, count: int, alone_startup_s: float
) -> None:
    assume(job.startup_s - alone_startup_s > 0.001)  # a millisecond; less of two hours is lost in rounding
    texts = job.pays_from_texts(count, alone_startup_s)

    def gained(size: float) -> float:
        many = Job(size, job.texts_per_s, 1, job.startup_s, job.redone_share)
        alone = Job(size, job.texts_per_s, 1, alone_startup_s, job.redone_share)
        return alone.hours(1) - many.hours(count)

    assert gained(texts * 1.01) > 0 > gained(texts * 0.99)


def test_one_machine_never_ends_sooner_than_itself() -> None:
    assert math.isinf(Job(1, 1, 1, startup_s=10).pays_from_texts(1, 5))
    assert Job(1, 1, 1, startup_s=5).pays_from_texts(2, 5) == 0


def test_egress_is_billed_once_whatever_the_number_of_machines() -> None:
    plain, moved = Job(1e6, 500, 1), Job(1e6, 500, 1, egress_gb=scale_costs.vectors_gb(1e6, 384), usd_per_gb=0.1)
    for count in (1, 7):
        assert moved.usd(count) - plain.usd(count) == pytest.approx(1e6 * 384 * 4 / 1e9 * 0.1)


@pytest.mark.parametrize("change", [{"texts": -1}, {"texts_per_s": 0}, {"startup_s": math.inf}, {"usd_per_hour": True}])
def test_a_number_out_of_its_range_is_told_by_name(change: dict[str, Any]) -> None:
    with pytest.raises(CourseError, match=next(iter(change))):
        Job(**({"texts": 1, "texts_per_s": 1, "usd_per_hour": 1} | change))


@pytest.mark.parametrize("count", [0, 1.5])
def test_machines_come_whole(count: Any) -> None:
    with pytest.raises(CourseError, match="whole number"):
        Job(1, 1, 1).hours(count)
