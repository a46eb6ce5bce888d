"""BGE-M3's stand-in through FlagEmbedding's own class, and where real weights would be taken from."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from huggingface_hub.utils import filter_repo_objects
from sentence_transformers import SentenceTransformer
from transformers import AutoModel

from helpers import bundled, catalog, data, models
from helpers.errors import CourseError
from helpers.models import bge_m3
from helpers.models import hub as hub_module

TEXTS = ["Error E-417 on every start.", "The cat sat on the mat, and the mat was red.", "Interest rates rose in March."]
ALL = {"return_dense": True, "return_sparse": True, "return_colbert_vecs": True}
REVISION = "5617a9f61b028005a4858fdac845db406aefb181"


class DroppedError(Exception):
    """A broken connection, as HTTP libraries raise it: no OSError, no message."""


@pytest.fixture(scope="module")
def model() -> Any:
    return bge_m3.load("stand-in", device="cpu")


@pytest.fixture(scope="module")
def output(model: Any) -> Any:
    return model.encode(TEXTS, **ALL)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is asked of the hub: nothing is in the local cache, the hub 'answers' with the stand-in's files."""
    asked: list[dict[str, Any]] = []

    def download(repo_id: str, **kwargs: Any) -> str:
        asked.append({"repo_id": repo_id} | kwargs)
        if kwargs.get("local_files_only"):
            raise LocalEntryNotFoundError("not in the cache")
        return str(bge_m3.folder())

    monkeypatch.setattr(bge_m3, "snapshot_download", download)
    monkeypatch.setattr(hub_module, "hub_reachable", lambda: True)
    return asked


# The stand-in is MiniLM


def test_hidden_states_equal_minilm_to_the_last_bit(model: Any) -> None:
    bert = AutoModel.from_pretrained(bundled.minilm_folder()).eval()
    batch = model.tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        one = bert(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        other = model.model.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    real = batch["attention_mask"].bool()
    assert torch.equal(one[real], other.last_hidden_state[real])


def test_dense_vectors_equal_minilm(model: Any, minilm: SentenceTransformer) -> None:
    some = [text for text in data.texts() if len(text.split()) < 60][:12]
    assert np.abs(model.encode(some)["dense_vecs"] - minilm.encode(some)).max() < 1e-6


def test_its_limit_is_minilm_position_table_and_more_is_an_error(model: Any) -> None:
    assert bge_m3.max_tokens(model) == 512
    assert len(model.encode("cat " * 600, max_length=512, **ALL)["colbert_vecs"]) == 511
    with pytest.raises(IndexError):
        model.encode("cat " * 600, max_length=600)


# Three outputs


def test_shapes_of_the_three_outputs(output: Any) -> None:
    assert output["dense_vecs"].shape == (3, 384) and output["dense_vecs"].dtype == np.float32
    assert [vectors.shape[1] for vectors in output["colbert_vecs"]] == [384] * 3
    assert len(output["lexical_weights"]) == 3


def test_colbert_has_one_vector_fewer_than_tokens_because_flagembedding_drops_the_first(
    model: Any, output: Any
) -> None:
    tokens = [len(ids) for ids in model.tokenizer(TEXTS)["input_ids"]]
    assert [len(vectors) for vectors in output["colbert_vecs"]] == [n - 1 for n in tokens]


def test_dense_and_colbert_vectors_have_unit_length(output: Any) -> None:
    for vectors in (output["dense_vecs"], *output["colbert_vecs"]):
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_lexical_weights_belong_to_the_words_of_the_text_each_once(model: Any, output: Any) -> None:
    for text, weights in zip(TEXTS, output["lexical_weights"], strict=True):
        ids = {str(i) for i in model.tokenizer(text, add_special_tokens=False)["input_ids"]}
        assert set(weights) <= ids and all(weight > 0 for weight in weights.values())


def test_rare_tokens_weigh_more_than_common_ones(model: Any, output: Any) -> None:
    code, cat = (model.convert_id_to_token(weights) for weights in output["lexical_weights"][:2])
    assert code["417"] > code["on"]
    assert cat["cat"] > cat["the"]


def test_compute_score_is_the_weighted_mean_of_the_three_scores_done_by_hand(model: Any, output: Any) -> None:
    scores = model.compute_score([(TEXTS[1], TEXTS[0])], weights_for_different_modes=[1, 2, 3])
    lexical, vectors = output["lexical_weights"], output["colbert_vecs"]
    by_hand = {
        "dense": output["dense_vecs"][1] @ output["dense_vecs"][0],
        "sparse": sum(weight * lexical[0].get(token, 0) for token, weight in lexical[1].items()),
        "colbert": (vectors[1] @ vectors[0].T).max(axis=1).mean(),
    }
    for kind, value in by_hand.items():
        assert scores[kind][0] == pytest.approx(value, abs=1e-5)
    mixed = (by_hand["dense"] + 2 * by_hand["sparse"] + 3 * by_hand["colbert"]) / 6
    assert scores["colbert+sparse+dense"][0] == pytest.approx(mixed, abs=1e-5)


def test_fp16_rounds_the_weights_on_a_cpu_and_still_computes_in_fp32(model: Any, output: Any) -> None:
    rounded = bge_m3.load("stand-in", device="cpu", use_fp16=True).encode(TEXTS)["dense_vecs"]
    assert rounded.dtype == np.float32
    assert 0 < np.abs(rounded - output["dense_vecs"]).max() < 1e-2


# Which weights


def test_the_stand_in_says_that_it_is_one(model: Any) -> None:
    assert models.weights(model).kind == "stand-in" and not models.weights(model).real
    assert "says nothing of BGE-M3's quality" in str(models.weights(model))
    assert bge_m3.label(model) == "MiniLM with three heads"


def test_without_a_hub_auto_gives_the_stand_in_and_hub_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "hub_reachable", lambda: False)
    assert models.weights(bge_m3.load(device="cpu")).kind == "stand-in"
    with pytest.raises(CourseError, match="the hub doesn't answer"):
        bge_m3.load("hub", device="cpu")


@pytest.mark.parametrize("source", ["auto", "hub"])
def test_the_hub_is_asked_for_the_pinned_revision_and_no_onnx_copy(hub: list[dict[str, Any]], source: str) -> None:
    loaded = bge_m3.load(source, device="cpu")
    assert [(a["repo_id"], a["revision"]) for a in hub] == [("BAAI/bge-m3", REVISION)] * 2
    assert [a.get("local_files_only", False) for a in hub] == [True, False]
    copy = ["onnx/config.json", "onnx/tokenizer.json", "onnx/sentencepiece.bpe.model", "onnx/model.onnx_data"]
    assert not list(filter_repo_objects(copy, allow_patterns=hub[1]["allow_patterns"]))
    assert str(models.weights(loaded)) == f"hub (revision {REVISION[:12]})"
    assert bge_m3.label(loaded) == "BGE-M3" and loaded.pooling_method == "cls"


def test_a_complete_local_cache_is_taken_without_asking_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bge_m3, "snapshot_download", lambda *a, local_files_only, **k: str(bge_m3.folder()))
    monkeypatch.setattr(hub_module, "hub_reachable", lambda: pytest.fail("asked the hub"))
    assert bge_m3.label(bge_m3.load(device="cpu")) == "BGE-M3"


def test_weights_saved_by_torch_load_as_well_as_safetensors(model: Any, tmp_path: Path, output: Any) -> None:
    shutil.copytree(bge_m3.folder(), tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.model.model.state_dict(), tmp_path / "pytorch_model.bin")
    assert bge_m3._complete(tmp_path)
    same = bge_m3.BGEM3FlagModel(str(tmp_path), use_fp16=False, devices="cpu", pooling_method="mean")
    assert np.array_equal(same.encode(TEXTS)["dense_vecs"], output["dense_vecs"])


@pytest.mark.parametrize("missing", bge_m3.HEADS)
def test_a_folder_without_a_head_is_refused_because_flagembedding_would_draw_one_at_random(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str, output: Any
) -> None:
    shutil.copytree(bge_m3.folder(), tmp_path, dirs_exist_ok=True)
    (tmp_path / missing).unlink()
    drawn = bge_m3.BGEM3FlagModel(str(tmp_path), use_fp16=False, devices="cpu", pooling_method="mean")
    vectors = drawn.encode(TEXTS, **ALL)["colbert_vecs"]
    assert not np.allclose(vectors[0], output["colbert_vecs"][0], atol=1e-2)
    monkeypatch.setattr(bge_m3, "snapshot_download", lambda *a, **k: str(tmp_path))
    monkeypatch.setattr(hub_module, "hub_reachable", lambda: True)
    with pytest.raises(CourseError, match="lacks a file that FlagEmbedding needs"):
        bge_m3.load("hub", device="cpu")


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        (OSError("no room on the disk\nand more"), r"can't be loaded: no room on the disk$"),
        (DroppedError(), r"can't be loaded: DroppedError$"),
    ],
)
def test_a_failed_download_is_one_sentence_and_auto_goes_on_with_the_stand_in(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], failure: Exception, sentence: str
) -> None:
    def download(*args: Any, local_files_only: bool = False, **kwargs: Any) -> str:
        raise LocalEntryNotFoundError("not here") if local_files_only else failure

    monkeypatch.setattr(bge_m3, "snapshot_download", download)
    monkeypatch.setattr(hub_module, "hub_reachable", lambda: True)
    with pytest.raises(CourseError, match=sentence):
        bge_m3.load("hub", device="cpu")
    assert models.weights(bge_m3.load(device="cpu")).kind == "stand-in"
    assert "can't be loaded" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "sentence"), [({"source": "twin"}, "must be one of"), ({"device": "cuda:99"}, "There is no device")]
)
def test_a_wrong_source_or_device_is_refused_in_one_sentence(wrong: dict[str, str], sentence: str) -> None:
    with pytest.raises(CourseError, match=sentence):
        bge_m3.load(**wrong)  # type: ignore[arg-type]


def test_the_code_for_readers_is_python_and_names_the_pinned_revision() -> None:
    compile(bge_m3.code(), "code", "exec")
    assert catalog.card("bge-m3").revision == REVISION
    assert REVISION in bge_m3.code() and "BGEM3FlagModel(folder" in bge_m3.code()
