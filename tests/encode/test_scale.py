"""Embedding with Ray: the loop's vectors, nothing that waits for ever, nothing left behind; and what machines cost."""

import math
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from helpers import data, models
from helpers.costs import jobs
from helpers.costs.jobs import Job
from helpers.encode import begun, encode, scale
from helpers.encode.scale import Node
from helpers.errors import CourseError
from helpers.exercises import lesson_13

JOB = {"model": "all-MiniLM-L6-v2", "column": "text", "key": "id", "prompt_name": None}
TEXTS = ["", "two words", *data.texts()[:120:8]]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files; the ids are in no order, so that a vector can only be found by its id."""
    folder = tmp_path_factory.mktemp("scale") / "corpus"
    folder.mkdir()
    rows = pd.DataFrame({"id": [f"{(7 * i) % len(TEXTS)}" for i in range(len(TEXTS))], "text": TEXTS, "other": 1})
    rows[:9].to_parquet(folder / "a.parquet")
    rows[9:].to_parquet(folder / "b.parquet")
    return folder


class Poison:
    """An actor's class whose every batch ends its process, as one that takes too much memory does."""

    def __init__(self, *_: Any) -> None: ...

    def __call__(self, table: pa.Table) -> pa.Table:
        os._exit(1)


def children() -> list[psutil.Process]:
    found: list[psutil.Process] = psutil.Process().children(recursive=True)
    return found


# One real run with two actors, watched from within


@pytest.fixture(scope="module")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    ray = pytest.importorskip("ray")
    before, target = {p.pid for p in children()}, tmp_path_factory.mktemp("out") / "vectors"
    seen: dict[str, Any] = {"target": target}
    offline = pytest.MonkeyPatch()
    offline.setenv("HF_HUB_OFFLINE", "1")  # and no cache: what an actor on a machine without the hub finds
    offline.setenv("HF_HUB_CACHE", str(target))
    scale.start(cpus=2)
    offline.undo()
    started = [p for p in children() if p.pid not in before]
    sockets = [c for p in started for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    seen["addresses"] = {c.laddr.ip.removeprefix("::ffff:") for c in sockets}
    seen["names"] = " ".join(" ".join(p.cmdline()) for p in started)
    with pytest.raises(CourseError) as refused:
        scale.embed(corpus, target, actors=2, cpus_each=0.8)
    seen["refused"] = str(refused.value)
    try:
        with jobs.used() as seen["used"]:
            seen["rows"] = scale.embed(corpus, target, actors=2, batch_texts=4)
        seen["still"] = ray.is_initialized()
        begun.agree(again := target.parent / ".again.begun", corpus, **JOB)
        pq.write_table(pq.read_table(target)[:5], again / "kept.parquet")
        seen["again"] = scale.embed(corpus, target.parent / "again", actors=1, cpus_each=0.4)
        seen["files"] = {file.name for file in (target.parent / "again").iterdir()}
        with pytest.raises(CourseError) as unreal:
            scale.embed(corpus, target.parent / "unreal", "BAAI/bge-small-en-v1.5", actors=1, cpus_each=0.4)
        seen["unreal"] = str(unreal.value)
        with pytest.MonkeyPatch.context() as patched, pytest.raises(CourseError) as poison:
            patched.setattr(scale, "Encoder", Poison)
            patched.setattr(scale, "RETRIES", 1)
            scale.embed(corpus, target.parent / "poison", actors=1, cpus_each=0.4)
        seen["poison"] = str(poison.value)
    finally:
        processes = [p for p in children() if p.pid not in before]
        ray.shutdown()
    seen["left"] = psutil.wait_procs(processes, timeout=20)[1]
    yield seen


@pytest.mark.execution
def test_a_pool_gives_the_vectors_of_the_plain_loop_each_beside_its_id(
    run: dict[str, Any], corpus: Path, minilm: SentenceTransformer
) -> None:
    written = pd.read_parquet(run["target"]).set_index("id")
    ids = pd.read_parquet(corpus)["id"]
    assert run["rows"] == len(TEXTS) and sorted(written.index) == sorted(ids)
    vectors = np.stack(list(written.loc[ids, "embedding"]))
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, encode(minilm, TEXTS), atol=1e-6)
    np.testing.assert_allclose(vectors, minilm.encode(TEXTS), atol=1e-5)


@pytest.mark.execution
def test_a_job_that_was_broken_off_goes_on_with_the_rows_that_have_no_vector(run: dict[str, Any]) -> None:
    whole, again = (pd.read_parquet(run["target"].parent / name).set_index("id") for name in ("vectors", "again"))
    assert run["again"] == len(TEXTS) and sorted(again.index) == sorted(whole.index)
    np.testing.assert_allclose(
        np.stack(list(again.embedding)), np.stack(list(whole.loc[again.index, "embedding"])), atol=1e-6
    )
    assert len(run["files"]) == 3 and {"kept.parquet", begun.MANIFEST} < run["files"]


@pytest.mark.execution
def test_batches_smaller_than_a_file_share_one_whose_schema_names_the_weights(
    run: dict[str, Any], minilm: SentenceTransformer
) -> None:
    (file,) = run["target"].glob("*.parquet")
    made = pq.read_schema(file).metadata
    assert made[b"weights"].decode() == str(models.weights(minilm)) and made[b"model"] == b"all-MiniLM-L6-v2"


@pytest.mark.execution
def test_an_actor_without_real_weights_ends_the_job_and_leaves_no_vectors(run: dict[str, Any]) -> None:
    assert "no real weights, only a stand-in" in run["unreal"] and "\n" not in run["unreal"]


@pytest.mark.execution
def test_a_batch_that_always_ends_its_process_is_given_up(run: dict[str, Any]) -> None:
    assert "2 times on the same batch" in run["poison"]


@pytest.mark.execution
def test_ray_listens_on_this_machine_alone_and_without_a_dashboard(run: dict[str, Any]) -> None:
    assert run["addresses"] == {"127.0.0.1"}
    assert "--include-dashboard=True" not in run["names"]


@pytest.mark.execution
def test_a_pool_that_would_starve_its_readers_is_refused_with_what_would_do(run: dict[str, Any]) -> None:
    assert "2 CPUs hold a task that reads or writes (1 CPU) and 1 of your 2 actors with 0.8 CPUs" in run["refused"]
    assert "Give each actor 0.5 CPUs or less" in run["refused"]


@pytest.mark.execution
def test_a_ray_that_was_running_is_left_running_and_none_of_it_outlives_its_end(run: dict[str, Any]) -> None:
    assert run["still"] and not run["left"]
    assert {p.name for p in run["target"].parent.iterdir()} == {"vectors", "again"}  # no scratch folder


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
        ({"actors": 1000, "gpus_each": 1.0}, "no room for 1000 actors with 1 GPUs each"),
    ],
)
def test_a_bad_request_is_told_in_a_sentence_and_starts_nothing(
    corpus: Path, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    with pytest.raises(CourseError, match=told):
        scale.embed(corpus, tmp_path / "out", **change)
    assert not list(tmp_path.iterdir())


def test_rows_without_text_are_counted_before_anything_starts_and_the_first_is_named(tmp_path: Path) -> None:
    pd.DataFrame({"id": ["a", "b", "c"], "text": ["a text", None, None]}).to_parquet(tmp_path / "texts.parquet")
    with pytest.raises(CourseError, match=r"texts.parquet: 2 rows have no 'text', the first is .*'b'"):
        scale.embed(tmp_path / "texts.parquet", tmp_path / "out")
    assert not (tmp_path / "out").exists()


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


@pytest.mark.parametrize("source", ["stand-in", "twin"])
def test_an_actor_refuses_weights_that_are_not_real(source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    load = partial(models.load, source=source)
    monkeypatch.setattr(models, "load", load)
    with pytest.raises(CourseError, match=f"e5-small-v2: an actor has no real weights, only a {source}"):
        scale.Encoder("intfloat/e5-small-v2", "text")


def test_an_actor_takes_the_prompt_of_encode_document_or_the_one_it_is_told(
    minilm: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minilm, "prompts", {"query": "query: ", "document": "passage: "})
    monkeypatch.setattr(models, "load", lambda *_, **__: minilm)
    table = pa.table({"id": [1, 2], "text": TEXTS[1:3]})
    for told, by_library in ((None, minilm.encode_document), ("query", minilm.encode_query)):
        found = scale.Encoder("any", "text", told)(table)
        np.testing.assert_allclose(found["embedding"].to_pylist(), by_library(TEXTS[1:3]), atol=1e-5)
        assert found.schema.metadata[b"prompt_name"].decode() == (told or "document")
    with pytest.raises(CourseError, match="no prompt 'nothing'"):
        scale.Encoder("any", "text", "nothing")(table)


def test_files_made_by_different_weights_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        pq.write_table(pa.table({"id": [1]}).replace_schema_metadata({"weights": name}), tmp_path / f"{name}.parquet")
    with pytest.raises(CourseError, match="different weights"):
        scale._made_alike(tmp_path)


def test_an_actors_table_keeps_its_keys_and_gets_vectors_for_its_texts(minilm: SentenceTransformer) -> None:
    found = scale.Encoder("all-MiniLM-L6-v2", "text")(pa.table({"id": [2, 1], "text": TEXTS[1:3]}))
    assert found.column_names == ["id", "embedding"] and found["id"].to_pylist() == [2, 1]
    np.testing.assert_allclose(found["embedding"].to_pylist(), minilm.encode(TEXTS[1:3]), atol=1e-5)


@pytest.mark.parametrize("batch_tokens", [8, 1024])
def test_texts_tokenized_apart_get_the_vectors_of_encode_document(
    minilm: SentenceTransformer, monkeypatch: pytest.MonkeyPatch, batch_tokens: int
) -> None:
    monkeypatch.setattr(minilm, "prompts", {"document": "passage: "})
    monkeypatch.setattr(models, "load", lambda *_, **__: minilm)
    texts = ["short", "", "a text that is a little longer", "word " * 600]
    ids = scale.Tokenizer("any", "text")(pa.table({"id": range(4), "text": texts}))
    assert ids.column_names == ["id", "tokens"] and max(map(len, ids["tokens"].to_pylist())) == minilm.max_seq_length
    found = scale.Encoder("any", "text", batch_tokens=batch_tokens)(ids)
    assert found.column_names == ["id", "embedding"] and found["id"].to_pylist() == [0, 1, 2, 3]
    np.testing.assert_allclose(found["embedding"].to_pylist(), minilm.encode_document(texts), atol=1e-5)
    assert found.schema.metadata[b"prompt_name"] == b"document"


def test_the_tokenizer_too_names_the_row_without_text(minilm: SentenceTransformer) -> None:
    table = pa.table({"id": ["a", "b"], "text": ["a text", None]})
    with pytest.raises(CourseError, match=r"'id': 'b'.*has no 'text'"):
        scale.Tokenizer("all-MiniLM-L6-v2", "text")(table)


# What was begun


def test_only_rows_that_no_whole_file_holds_are_left(corpus: Path, tmp_path: Path) -> None:
    begun.agree(tmp_path, corpus, **JOB)
    assert begun.rest(corpus, tmp_path, "text", "id") == corpus
    rows = pd.read_parquet(corpus)
    rows[["id"]][:3].to_parquet(tmp_path / "a.parquet")
    rows[["id"]][5:9].to_parquet(tmp_path / "b.parquet")
    cut_off = tmp_path / "c.parquet"
    cut_off.write_bytes((tmp_path / "b.parquet").read_bytes()[:-9])
    left = begun.rest(corpus, tmp_path, "text", "id")
    assert left and not cut_off.exists()
    wanted = rows[["id", "text"]].drop(index=rows.index[[0, 1, 2, 5, 6, 7, 8]])
    assert pd.read_parquet(left).to_dict("list") == wanted.to_dict("list")
    assert {file.name for file in begun.whole_files(tmp_path)} == {"a.parquet", "b.parquet"}  # not the rest itself
    rows[["id"]].to_parquet(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").unlink()
    assert begun.rest(corpus, tmp_path, "text", "id") is None


def test_where_keys_repeat_it_begins_anew(tmp_path: Path) -> None:
    source = tmp_path / "source.parquet"
    pd.DataFrame({"id": ["a", "a", "b"], "text": ["one", "two", "three"]}).to_parquet(source)
    begun.agree(tmp_path / "job", source, **JOB)
    pd.DataFrame({"id": ["a"]}).to_parquet(tmp_path / "job" / "a.parquet")
    assert begun.rest(source, tmp_path / "job", "text", "id") == source and not begun.whole_files(tmp_path / "job")


def test_a_part_of_another_job_is_kept_and_named(corpus: Path, tmp_path: Path) -> None:
    folder, other = tmp_path / ".out.begun", JOB | {"model": "another", "prompt_name": "query"}
    begun.agree(folder, corpus, **other)
    begun.agree(folder, corpus, **JOB)  # no file has been written, so nothing is lost
    pd.DataFrame({"id": ["0"]}).to_parquet(folder / "a.parquet")
    for job, told in ((other, "model, prompt_name differ"), (JOB, "source differ")):
        with pytest.raises(CourseError, match=rf"\.out\.begun holds a part of another job, whose {told}"):
            begun.agree(folder, corpus / "a.parquet" if job is JOB else corpus, **job)
    with pytest.raises(CourseError, match="holds a part of another job"):
        scale.embed(corpus, tmp_path / "out", prompt_name="query")
    assert begun.whole_files(folder)


# Shares of CPUs


clusters = st.lists(st.builds(Node, st.integers(1, 64), st.integers(0, 8)), min_size=1, max_size=5)


@given(clusters, st.integers(1, 100), st.sampled_from([0.0, 0.5, 1.0]))
def test_the_largest_share_leaves_room_for_one_task_and_a_little_more_does_not(
    nodes: list[Node], actors: int, gpus_each: float
) -> None:
    try:
        share = scale.cpus_per_actor(actors, nodes, gpus_each)
    except CourseError:
        assert scale.most_actors(nodes, 1e-4, gpus_each) < actors
        return
    scale.refuse_starvation(actors, share, nodes, gpus_each)
    assert share < 1 or share == int(share)
    more = share + 1e-4 if share < 1 else share + 1
    with pytest.raises(CourseError, match="would wait in vain"):
        scale.refuse_starvation(actors, more, nodes, gpus_each)


@given(st.lists(st.sampled_from([1.0, 2.0, 2.5, 4.0, 7.0]), min_size=1), st.sampled_from([0.2, 0.8, 1.0, 1.5]))
def test_the_largest_pool_is_that_of_the_exercise(cpus: list[float], each: float) -> None:
    assert scale.most_actors([Node(c) for c in cpus], each) == lesson_13.most_actors(cpus, each, 1.0)


def test_each_actor_and_the_task_lie_on_one_machine() -> None:
    assert scale.most_actors([Node(1), Node(1), Node(1)], 0.5) == 4  # of 3 CPUs, a third is the task's
    assert scale.most_actors([Node(2), Node(2)], 1.5) == 1  # one has no room beside the task, and half a CPU is left
    assert scale.most_actors([Node(8, 1), Node(8, 1)], 1, 1) == 2  # a GPU each, CPUs to spare
    with pytest.raises(CourseError, match=r"2 \+ 2 CPUs hold .* 1 of your 2 actors with 1.5 CPUs each"):
        scale.refuse_starvation(2, 1.5, [Node(2), Node(2)])


def test_two_actors_on_two_cpus_starve_their_readers_above_half_a_cpu_each() -> None:
    assert scale.cpus_per_actor(2, [Node(2)]) == 0.5
    scale.refuse_starvation(2, 0.4, [Node(2)])
    for share in (0.51, 0.8, 1.0):
        with pytest.raises(CourseError):
            scale.refuse_starvation(2, share, [Node(2)])


def test_a_large_machine_gives_an_actor_whole_cpus() -> None:
    assert scale.cpus_per_actor(2, [Node(16)]) == 7


def test_one_cpu_has_no_room_for_an_actor_beside_a_task() -> None:
    with pytest.raises(CourseError, match="1 CPUs have no room for 1 actors beside a task"):
        scale.cpus_per_actor(1, [Node(1)])


# Hours and dollars

any_job = st.builds(
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


@given(any_job, machines, machines)
def test_more_machines_are_never_slower_and_never_cheaper(job: Job, one: int, other: int) -> None:
    few, many = sorted((one, other))
    assert job.startup_s / 3600 <= job.hours(many) <= job.hours(few) * (1 + 1e-9)
    assert job.usd(few) <= job.usd(many) * (1 + 1e-9)


@given(any_job, machines)
def test_a_bill_is_the_work_and_a_start_up_for_each_machine(job: Job, count: int) -> None:
    work = job.texts * (1 + job.redone_share) / job.texts_per_s
    assert job.usd(count) == pytest.approx((work + count * job.startup_s) / 3600 * job.usd_per_hour)


@given(any_job, st.floats(0.01, 1000))
def test_the_fewest_machines_meet_the_deadline_and_one_less_does_not(job: Job, deadline: float) -> None:
    count = job.machines_for(deadline)
    if count is None:
        assert deadline * 3600 <= job.startup_s
        return
    assert job.hours(count) <= deadline * (1 + 1e-6)
    if count > 1:
        assert job.hours(count - 1) > deadline * (1 - 1e-6)


@given(any_job, st.integers(2, 1000), st.floats(0, 100))
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
    plain, moved = Job(1e6, 500, 1), Job(1e6, 500, 1, egress_gb=jobs.vectors_gb(1e6, 384), usd_per_gb=0.1)
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


def test_a_table_that_isnt_parquet_is_read_as_data_are_and_written_as_parquet(tmp_path: Path) -> None:
    source = tmp_path / "t.csv"
    source.write_text("id,text\n1,a\n\n2,b\n", encoding="utf-8")
    made = scale._as_parquet(source, tmp_path / "t.parquet", "text", "id")
    assert pd.read_parquet(made).to_dict("list") == {"id": ["1", "2"], "text": ["a", "b"]}
    source.write_text("id,text\n1,\n2,b\n", encoding="utf-8")
    with pytest.raises(CourseError, match=r"t\.csv, line 2: 'text' is no text; mend or drop the row"):
        scale.embed(source, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"t.csv", "t.parquet"}
