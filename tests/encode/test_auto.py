"""The way to run a model is chosen by trying, kept, and never changed under what was begun in it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from helpers import files, load
from helpers.encode import auto, encode
from helpers.encode.auto import AS_LOADED, Choice, choose, run_as
from helpers.encode.stream import stream
from helpers.errors import CourseError
from helpers.models import ways

TEXTS = ["a short text", "and one that is somewhat longer than the one before it"]


@pytest.fixture
def minilm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SentenceTransformer:
    """A model that nobody has chosen a way for, and an empty cache of choices."""
    made = load("all-MiniLM-L6-v2", device="cpu")
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path / "cache")
    return made


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Ways whose vectors are moved by so much; what they take is counted in `clock`."""
    taken = {AS_LOADED: 1.0, "openvino": 0.5, "openvino-int8": 0.2, "onnx-int8": 0.1, "bfloat16": 0.4}
    moved = {"openvino": 0.0, "openvino-int8": 0.01, "onnx-int8": 0.1, "bfloat16": 1e-3}
    clock = [0.0]

    def made(name: str) -> Any:
        return lambda model: Moved(model, name)

    class Moved(SentenceTransformer):
        def __init__(self, model: SentenceTransformer, name: str) -> None:
            super().__init__(modules=list(model), device="cpu")
            self.name = name

    def run(model: SentenceTransformer, texts: list[str]) -> np.ndarray:
        name = getattr(model, "name", AS_LOADED)
        clock[0] += taken[name]
        vectors = np.tile(np.eye(1, 8, dtype=np.float32), (len(texts), 1))
        vectors[:, 1] = np.sqrt(2 * moved.get(name, 0.0))
        return vectors

    monkeypatch.setattr(ways, "WAYS", {name: made(name) for name in moved})
    monkeypatch.setattr(ways, "LOSSY", [name for name, by in moved.items() if by])
    monkeypatch.setattr(auto.time, "process_time", lambda: clock[0])
    monkeypatch.setattr(auto, "run", run, raising=False)
    return taken


def chosen(model: SentenceTransformer, loss: float) -> Choice:
    return choose(model, auto.run, loss)  # type: ignore[attr-defined]


def test_without_a_loss_only_equal_ways_are_tried(minilm: SentenceTransformer, fake: dict[str, float]) -> None:
    choice = chosen(minilm, 0.0)
    assert choice.way == "openvino" and set(choice.ratios) == {AS_LOADED, "openvino"}
    assert choice.ratios["openvino"] == pytest.approx(2)


def test_the_fastest_within_the_loss_is_taken(minilm: SentenceTransformer, fake: dict[str, float]) -> None:
    choice = chosen(minilm, 0.02)
    assert choice.way == "openvino-int8" and "onnx-int8" in choice.refused and "a loss of 0.02" in str(choice)
    assert chosen(minilm, 0.002).way == "bfloat16"
    fake["bfloat16"] = 0.97  # of a second: no reason to change a vector
    fake["openvino"] = 1.2
    assert chosen(load("all-MiniLM-L6-v2", device="cpu"), 0.003).way == AS_LOADED


def test_a_choice_is_kept_and_holds_for_the_next_process(minilm: SentenceTransformer, fake: dict[str, float]) -> None:
    assert chosen(minilm, 0.0).way == "openvino"
    [kept] = (files.cache_folder() / "ways").glob("*.json")
    assert json.loads(kept.read_text())["way"] == "openvino"
    fake["openvino"] = 9.0  # nobody looks
    assert chosen(load("all-MiniLM-L6-v2", device="cpu"), 0.0).way == "openvino"
    kept.write_text("half a fi")
    assert chosen(load("all-MiniLM-L6-v2", device="cpu"), 0.0).way == AS_LOADED


@pytest.mark.parametrize("loss", [-0.1, 1.0, float("nan")])
def test_what_is_no_loss_is_refused(minilm: SentenceTransformer, loss: float) -> None:
    with pytest.raises(CourseError, match="loss is"):
        encode(minilm, TEXTS, precision="auto", loss=loss)
    with pytest.raises(CourseError, match=r"no way 'fastest'.*auto, openvino"):
        encode(minilm, TEXTS, precision="fastest")


def test_a_way_keeps_prompts_cut_and_names(minilm: SentenceTransformer) -> None:
    minilm.truncate_dim, minilm.prompts, minilm.default_prompt_name = 64, {"query": "q: "}, "query"
    right = encode(minilm, TEXTS)
    assert right.shape == (2, 64)
    np.testing.assert_allclose(encode(minilm, TEXTS, precision="openvino"), right, atol=1e-5)
    np.testing.assert_allclose(run_as(minilm, "openvino").encode(TEXTS), minilm.encode(TEXTS), atol=1e-5)


def test_another_runtime_is_left_as_it_is() -> None:
    int8 = load("all-MiniLM-L6-v2-int8", device="cpu")
    assert chosen_for_real(int8).way == AS_LOADED
    with pytest.raises(CourseError, match="another runtime already"):
        run_as(int8, "openvino")


def chosen_for_real(model: SentenceTransformer) -> Choice:
    return choose(model, encode, 0.05)


def test_a_folder_goes_on_in_the_way_that_it_was_begun_in(
    minilm: SentenceTransformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "texts.jsonl", tmp_path / "vectors"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    monkeypatch.setattr("helpers.encode.stream.chosen_way", lambda *_: "openvino")
    assert stream(minilm, source, target, precision="auto", chunk_texts=1) == 2
    assert json.loads((target / "_manifest.json").read_text())["precision"] == "openvino"
    monkeypatch.setattr("helpers.encode.stream.chosen_way", lambda *_: "bfloat16")  # as another machine would
    (target / "part-00001.parquet").unlink()
    assert stream(minilm, source, target, precision="auto", chunk_texts=1) == 1
    with pytest.raises(CourseError, match="precision was 'openvino' and is 'bfloat16'"):
        stream(minilm, source, target, precision="bfloat16", chunk_texts=1)
