"""Fast encoding gives the library's vectors, and a stream survives being killed at any moment."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import (
    BertConfig,
    BertModel,
    MPNetConfig,
    MPNetModel,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from helpers import data, load
from helpers.encode import batches, cpu_has_bfloat16, encode, padding_share, to_openvino
from helpers.encode import stream as stream_module
from helpers.encode.batching import full_batches
from helpers.encode.stream import stream
from helpers.encode.tokens import TokenizedModel
from helpers.errors import CourseError
from helpers.models import packages
from helpers.models.unpadded import Unpadded, _filler, packed, runs_unpadded
from helpers.packages import MPNET

MIXED = ["", *data.texts()[:40:2], "one word", "cat " * 600, "naïve café 猫 🙂", " spaces  around ", "one word"]


KINDS: dict[str, tuple[Any, Any]] = {
    "bert": (BertModel, BertConfig),
    "roberta": (RobertaModel, RobertaConfig),
    "xlm-roberta": (XLMRobertaModel, XLMRobertaConfig),
    "mpnet": (MPNetModel, MPNetConfig),
}


def small_bert(
    minilm: SentenceTransformer, pooling: str, *after: torch.nn.Module, is_decoder: bool = False, kind: str = "bert"
) -> SentenceTransformer:
    """A model of two layers with random weights and MiniLM's tokenizer."""
    torch.manual_seed(0)
    encoder = Transformer(minilm[0].model.config._name_or_path)
    shape: dict[str, Any] = {
        "hidden_size": 48,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "max_position_embeddings": 520,
        "is_decoder": is_decoder,
    }
    model, config = KINDS[kind]
    encoder.model = model(config(vocab_size=len(minilm.tokenizer), **shape)).eval()
    for name, weight in encoder.model.named_parameters():  # a new model's biases are 0, and would hide an omission
        if name.endswith(".bias") or "relative_attention" in name:
            torch.nn.init.normal_(weight, std=0.3)
    return SentenceTransformer(modules=[encoder, Pooling(48, pooling_mode=pooling), *after], device="cpu")


# Vectors


@pytest.mark.parametrize("token_budget", [1, 100, 1024, 1_000_000])
def test_vectors_and_their_order_are_the_librarys_at_mixed_lengths(
    minilm: SentenceTransformer, token_budget: int
) -> None:
    texts = MIXED if token_budget > 1 else MIXED[:8]
    assert runs_unpadded(minilm)
    found = encode(minilm, texts, token_budget=token_budget)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, minilm.encode(texts), atol=1e-5, rtol=0)


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_other_poolings_and_models_without_normalize_agree_too(minilm: SentenceTransformer, pooling: str) -> None:
    for model in (small_bert(minilm, pooling), small_bert(minilm, pooling, Normalize())):
        assert runs_unpadded(model) == (pooling != "max")
        np.testing.assert_allclose(encode(model, MIXED), model.encode(MIXED), atol=1e-5, rtol=0)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta", "mpnet"])
def test_other_families_have_the_librarys_vectors_too(minilm: SentenceTransformer, kind: str, pooling: str) -> None:
    model = small_bert(minilm, pooling, Normalize(), kind=kind)
    assert runs_unpadded(model)
    right = model.encode(MIXED)
    np.testing.assert_allclose(encode(model, MIXED), right, atol=1e-5, rtol=0)
    ids = model.tokenizer(MIXED, truncation=True, max_length=model.max_seq_length)["input_ids"]
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    np.testing.assert_allclose(Unpadded(model)([ids[i] for i in order]), right[order], atol=1e-5, rtol=0)
    half = small_bert(minilm, pooling, Normalize(), kind=kind)
    half[0].model.embeddings.position_embeddings.weight.data.zero_()
    assert np.abs(encode(half, MIXED) - right).max() > 1e-3  # places count in these weights


@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta", "mpnet"])
def test_a_padding_token_written_in_a_text_has_the_place_that_the_library_gives_it(
    minilm: SentenceTransformer, kind: str
) -> None:
    model = small_bert(minilm, "mean", kind=kind)
    pad = model.tokenizer.convert_ids_to_tokens(model[0].model.embeddings.padding_idx)
    texts = [f"one {pad} two", f"{pad} {pad}", "one two"]
    np.testing.assert_allclose(encode(model, texts), model.encode(texts), atol=1e-5, rtol=0)


@pytest.mark.skipif(not packages.here(MPNET), reason=f"{MPNET.name} isn't in the cache: `make weights` with a network")
def test_the_real_mpnet_runs_unpadded_with_the_librarys_vectors() -> None:
    model = load(MPNET.name, device="cpu")
    assert runs_unpadded(model)
    np.testing.assert_allclose(encode(model, MIXED), model.encode(MIXED), atol=1e-5, rtol=0)


def test_a_bert_that_looks_only_back_runs_its_own_forward(minilm: SentenceTransformer) -> None:
    model = small_bert(minilm, "mean", is_decoder=True)
    assert not runs_unpadded(model)
    np.testing.assert_allclose(encode(model, MIXED), model.encode(MIXED), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_packed_layer_gives_the_layers_own_product(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(48, 96, dtype=dtype)
    for rows in (1, 7, 1500):
        states = torch.randn(rows, 48).to(dtype)
        with torch.inference_mode():
            torch.testing.assert_close(packed(linear)(states), linear(states))


def test_few_numbers_of_rows_reach_onednn_and_an_eighth_more_at_most() -> None:
    padded = {tokens + _filler(tokens) for tokens in range(1, 1025)}
    assert len(padded) < 80
    assert all(_filler(tokens) <= tokens / 8 for tokens in range(1, 1025))


def test_with_packed_weights_or_without_the_vectors_are_the_same(minilm: SentenceTransformer) -> None:
    rows = sorted(minilm.tokenizer(MIXED, truncation=True, max_length=256)["input_ids"], key=len, reverse=True)
    plain = Unpadded(minilm, pack=False)
    np.testing.assert_allclose(Unpadded(minilm)(rows), plain(rows), atol=1e-5, rtol=0)
    for name in ("mix", "widen", "narrow"):
        assert isinstance(getattr(plain.layers[0], name), torch.nn.Linear)
        assert not isinstance(getattr(Unpadded(minilm).layers[0], name), torch.nn.Linear)


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2-static-256", "all-MiniLM-L6-v2-pca-128"])
def test_a_model_of_another_kind_runs_its_own_forward(name: str) -> None:
    model = load(name, device="cpu")
    assert not runs_unpadded(model)
    np.testing.assert_allclose(encode(model, MIXED), model.encode(MIXED), atol=1e-5, rtol=0)


def test_prompts_are_the_librarys(minilm: SentenceTransformer) -> None:
    model = SentenceTransformer(modules=list(minilm), prompts={"query": "query: "}, device="cpu")
    texts = ["a cat", "", "a dog and a cat"]
    choices: list[dict[str, Any]] = [
        {"prompt_name": "query"},
        {"prompt": "find: "},
        {"prompt": "", "prompt_name": "query"},
    ]
    for chosen in choices:
        np.testing.assert_allclose(encode(model, texts, **chosen), model.encode(texts, **chosen), atol=1e-5)
    model.default_prompt_name = "query"
    np.testing.assert_allclose(encode(model, texts), model.encode(texts), atol=1e-5)
    with pytest.raises(CourseError, match="no prompt 'no such'"):
        encode(model, texts, prompt_name="no such")


def test_truncated_dimensions_are_the_librarys(minilm: SentenceTransformer) -> None:
    model = SentenceTransformer(modules=list(minilm), truncate_dim=64, device="cpu")
    np.testing.assert_allclose(encode(model, MIXED), model.encode(MIXED), atol=1e-5)


def test_no_texts_give_no_rows_and_one_string_is_refused(minilm: SentenceTransformer) -> None:
    assert encode(minilm, []).shape == (0, 384)
    with pytest.raises(CourseError, match=r"write \[text\]"):
        encode(minilm, "a text")
    with pytest.raises(CourseError, match="token_budget is 0"):
        encode(minilm, ["a text"], token_budget=0)


def test_bfloat16_runs_where_the_cpu_has_it_and_is_refused_elsewhere(minilm: SentenceTransformer) -> None:
    model = small_bert(minilm, "mean", Normalize()).to(torch.bfloat16)
    if cpu_has_bfloat16():
        cosines = (encode(model, MIXED) * model.float().encode(MIXED)).sum(axis=1)
        assert cosines.min() > 0.99
    else:
        with pytest.raises(CourseError, match="no instructions for bfloat16"):
            encode(model, MIXED)


def test_openvino_gives_the_same_vectors(minilm: SentenceTransformer) -> None:
    pytest.importorskip("openvino")
    model = small_bert(minilm, "mean", Normalize())
    np.testing.assert_allclose(encode(to_openvino(model), MIXED), model.encode(MIXED), atol=1e-5, rtol=0)
    with pytest.raises(CourseError, match="Only a BERT"):
        to_openvino(load("all-MiniLM-L6-v2-static-256", device="cpu"))


# Batches


def test_every_text_is_in_one_batch_within_the_budget_unless_it_alone_exceeds_it() -> None:
    lengths = np.random.default_rng(0).integers(1, 300, 500).tolist()
    plan = batches(lengths, 200)
    assert sorted(np.concatenate(plan).tolist()) == list(range(500))
    for batch in plan:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 200


@pytest.mark.parametrize("budget", [1, 50, 200, 1024])
def test_batches_without_padding_are_as_full_as_the_texts_allow(budget: int) -> None:
    lengths = np.random.default_rng(0).integers(1, 300, 500).tolist()
    plan = full_batches(lengths, budget)
    assert sorted(np.concatenate(plan).tolist()) == list(range(500))
    for batch in plan:
        of_each = [lengths[i] for i in batch]
        assert sum(of_each) <= budget or len(batch) == 1
        assert of_each == sorted(of_each, reverse=True)
    left = [lengths[i] for i in np.concatenate([*plan[1:], [plan[0][0]]])]
    assert sum(lengths[i] for i in plan[0]) + min(left) > budget  # nothing more would have gone in
    assert len(plan) <= len(batches(lengths, budget))
    assert full_batches([], budget) == []


def test_similar_lengths_together_waste_less_than_arrival_order() -> None:
    lengths = [10, 100] * 32
    arrival = [list(range(i, i + 32)) for i in (0, 32)]
    assert padding_share(lengths, arrival) == pytest.approx(0.45)
    assert padding_share(lengths, batches(lengths, 1000)) < 0.2


# Streams

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="a process can't be forked here")

TEXTS = [text[:200] for text in data.texts()] * 3


@pytest.fixture(scope="module")
def static() -> SentenceTransformer:
    return load("all-MiniLM-L6-v2-static-256", device="cpu")


@pytest.fixture(params=["parquet", "jsonl"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"texts.{request.param}"
    if request.param == "parquet":
        pd.DataFrame({"id": range(len(TEXTS)), "text": TEXTS}).to_parquet(path, row_group_size=333)
    else:
        path.write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS), encoding="utf-8")
    return path


def assert_whole(folder: Path, model: SentenceTransformer) -> None:
    """The folder holds every row once, with the vector that a plain run gives it."""
    table = pd.read_parquet(folder)
    assert table["row"].tolist() == list(range(len(TEXTS)))
    np.testing.assert_allclose(np.stack(list(table["embedding"])), model.encode(TEXTS), atol=1e-5)
    assert not list(folder.glob("*.tmp")) and not list(folder.glob(".part*"))


def test_a_stream_gives_every_row_once_and_a_second_call_has_nothing_to_do(
    source: Path, tmp_path: Path, static: SentenceTransformer
) -> None:
    assert stream(static, source, tmp_path / "out", chunk_texts=50) == len(TEXTS)
    assert_whole(tmp_path / "out", static)
    assert stream(static, source, tmp_path / "out", chunk_texts=50) == 0


@needs_fork
def test_a_stream_killed_at_random_moments_goes_on_with_nothing_lost_or_doubled(
    tmp_path: Path, static: SentenceTransformer
) -> None:
    source, out = tmp_path / "texts.jsonl", tmp_path / "out"
    source.write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS), encoding="utf-8")
    draw, killed = random.Random(0), 0
    for wanted in (0, 1, 2, 4, 7, 9):  # parts that are there when it is killed, at the least
        child = multiprocessing.get_context("fork").Process(
            target=stream, args=(static, source, out), kwargs={"chunk_texts": 50}
        )
        child.start()
        until = time.monotonic() + 20
        while len(list(out.glob("part-*"))) < wanted and child.is_alive() and time.monotonic() < until:
            time.sleep(0.0005)
        time.sleep(draw.random() * 0.005)
        child.kill()
        child.join()
        killed += child.exitcode == -signal.SIGKILL
    assert killed >= 1
    before = {part: part.stat().st_mtime_ns for part in out.glob("part-*")}
    stream(static, source, out, chunk_texts=50)
    assert_whole(out, static)
    assert all(part.stat().st_mtime_ns == written for part, written in before.items())


def test_a_full_disk_is_told_and_the_stream_goes_on_once_there_is_room(
    source: Path, tmp_path: Path, static: SentenceTransformer
) -> None:
    resource: Any = pytest.importorskip("resource")
    out = tmp_path / "out"
    stream_part = 50 * 256 * 4
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a write gives EFBIG, as a full disk ENOSPC
    resource.setrlimit(resource.RLIMIT_FSIZE, (stream_part // 2, limits[1]))
    try:
        with pytest.raises(CourseError, match="make room, then call again"):
            stream(static, source, out, chunk_texts=50)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not list(out.glob("part-*"))
    stream(static, source, out, chunk_texts=50)
    assert_whole(out, static)


FULL_DISK = """
import subprocess, sys
from helpers import load
from helpers.errors import CourseError
from helpers.encode.stream import stream
from helpers.encode.tokens import TokenizedModel

source, disk = sys.argv[1:]
mount = ["mount", "-t", "tmpfs", "disk", disk, "-o"]
subprocess.run([*mount, "size=200k"], check=True)
model = load("all-MiniLM-L6-v2-static-256", device="cpu")
try:
    stream(model, source, disk, chunk_texts=50)
except CourseError as error:
    print(error)
subprocess.run([*mount, "remount,size=50m"], check=True)
print(stream(model, source, disk, chunk_texts=50), "more")
subprocess.run(["cp", "-a", f"{disk}/.", sys.argv[1] + ".out"], check=True)
"""


def test_on_a_disk_that_really_runs_full_what_is_written_is_kept(tmp_path: Path, static: SentenceTransformer) -> None:
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("a small disk can't be mounted here: no user namespaces")
    source, disk = tmp_path / "texts.jsonl", tmp_path / "disk"
    source.write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS), encoding="utf-8")
    disk.mkdir()
    command = ["unshare", "-rm", sys.executable, "-c", FULL_DISK, str(source), str(disk)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "No space left" in told and "make room, then call again" in told
    assert 0 < int(told.splitlines()[-1].removesuffix(" more")) < len(TEXTS)
    assert_whole(tmp_path / f"{source.name}.out", static)


@needs_fork
def test_memory_stays_flat_however_long_the_file_is(tmp_path: Path, static: SentenceTransformer) -> None:
    source, used = tmp_path / "long.jsonl", tmp_path / "used"
    with source.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": TEXTS[i % len(TEXTS)][:60]}) + "\n" for i in range(60_000))

    def child() -> None:
        write, memory = stream_module._write_part, []

        def watched(part: Path, first: int, vectors: Any) -> None:
            write(part, first, vectors)
            memory.append(psutil.Process().memory_info().rss / 1e6)

        stream_module._write_part = watched
        stream(static, source, tmp_path / "out", chunk_texts=2000)
        used.write_text(json.dumps(memory))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(120)
    memory = json.loads(used.read_text())
    assert len(memory) == 30
    vectors_mb = 60_000 * 256 * 4 / 1e6
    assert memory[-1] - memory[4] < vectors_mb / 4, memory


def test_a_part_that_a_crash_of_the_machine_cut_is_written_anew(
    source: Path, tmp_path: Path, static: SentenceTransformer
) -> None:
    out = tmp_path / "out"
    stream(static, source, out, chunk_texts=50)
    part = out / "part-00002.parquet"
    part.write_bytes(part.read_bytes()[:1000])
    assert stream(static, source, out, chunk_texts=50) == 50
    assert_whole(out, static)


def test_a_folder_begun_with_something_else_is_refused(tmp_path: Path, static: SentenceTransformer) -> None:
    source, out = tmp_path / "texts.jsonl", tmp_path / "out"
    source.write_text('{"text": "one"}\n{"text": "two"}', encoding="utf-8")
    assert stream(static, source, out) == 2
    with pytest.raises(CourseError, match="model was"):
        stream(load("tfidf-4096", device="cpu"), source, out)
    with pytest.raises(CourseError, match="chunk_texts was 4096 and is 7"):
        stream(static, source, out, chunk_texts=7)
    with pytest.raises(CourseError, match="prompt was"):
        stream(static, source, out, prompt="query: ")
    source.write_text('{"text": "one"}\n{"text": "three"}\n', encoding="utf-8")
    with pytest.raises(CourseError, match="source_sha256 was"):
        stream(static, source, out)


@pytest.mark.execution
def test_a_folder_begun_with_the_same_weights_but_other_vectors_is_refused(
    tmp_path: Path, minilm: SentenceTransformer
) -> None:
    source = tmp_path / "texts.jsonl"
    source.write_text('{"text": "one"}\n{"text": "two"}\n', encoding="utf-8")
    by_cls = SentenceTransformer(modules=[minilm[0], Pooling(minilm.get_embedding_dimension(), "cls"), minilm[2]])
    for begun, other in ((to_openvino(minilm), to_openvino(minilm, int8=True)), (minilm, by_cls)):
        out = tmp_path / str(id(begun))
        assert stream(begun, source, out) == 2 and stream(begun, source, out) == 0
        with pytest.raises(CourseError, match="vectors of two test sentences are others"):
            stream(other, source, out)


def test_bad_sources_are_told_with_file_and_row(tmp_path: Path, static: SentenceTransformer) -> None:
    cases = {
        '{"text": "a"}\n{"text": null}\n': "line 2: 'text' holds None",
        '{"text": "a"}\nnot json\n': "line 2: not JSON",
        '{"body": "a"}\n': "there is no 'text'; it has body",
        "[1]\n": "not a JSON object",
        '{"text": "half a character: \\ud83d"}\n': "line 1: 'text' holds half a character",
    }
    for i, (content, message) in enumerate(cases.items()):
        path = tmp_path / f"{i}.jsonl"
        path.write_text(content, encoding="latin-1")
        with pytest.raises(CourseError, match=message):
            stream(static, path, tmp_path / f"out{i}")
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(CourseError, match="no Parquet file"):
        stream(static, broken, tmp_path / "out")
    with pytest.raises(CourseError, match="no such file"):
        stream(static, tmp_path / "missing.jsonl", tmp_path / "out")


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv", "t.json"])
def test_empty_lines_are_passed_over_and_any_table_is_read(
    tmp_path: Path, static: SentenceTransformer, name: str
) -> None:
    made = {"t.jsonl": '{"text": "a"}\n\n{"text": "b"}\n \n', "t.csv": "id,text\n1,a\n\n2,b\n"}
    path = tmp_path / name
    path.write_text(made.get(name, '[{"text": "a"}, {"text": "b"}]'), encoding="utf-8")
    assert stream(static, path, tmp_path / "out") == 2
    assert sorted(pd.read_parquet(tmp_path / "out")["row"]) == [0, 1]


def test_no_ids_are_cut_even_after_the_library_has_truncated() -> None:
    minilm = load("all-MiniLM-L6-v2", device="cpu")
    minilm.encode("word " * 400)  # leaves a limit on the tokenizer
    [row] = TokenizedModel(minilm).tokenize(["word " * 400])
    assert len(row) == 402
