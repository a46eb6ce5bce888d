"""A text that can't be encoded, or gets no finite vector, is named by its row; a folder of parts is of one sort."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from helpers import models
from helpers.encode import encode
from helpers.encode.batching import RowError
from helpers.encode.stream import stream
from helpers.encode.tokens import TokenizedModel
from helpers.errors import CourseError
from helpers.models.unpadded import packs

HALF = "half \ud83d emoji"


@pytest.fixture
def zebra_is_nan(minilm: SentenceTransformer) -> Callable[[str], SentenceTransformer]:
    """MiniLM, or the static model, with NaN or infinity for one word."""

    def make(name: str, value: float = float("nan")) -> SentenceTransformer:
        model = models.load(name, device="cpu")
        embeddings = model[0].model.embeddings.word_embeddings if name == "all-MiniLM-L6-v2" else model[0].embedding
        with torch.no_grad():
            embeddings.weight[minilm.tokenizer.convert_tokens_to_ids("zebra")] = value
        return model

    return make


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_vector_that_is_not_finite_names_its_text(
    zebra_is_nan: Callable[..., SentenceTransformer], value: float
) -> None:
    model = zebra_is_nan("all-MiniLM-L6-v2", value)
    with pytest.raises(RowError, match=r"texts\[2\] \('the zebra left'\) gets a vector with NaN or infinity"):
        encode(model, ["a cat", "a dog", "the zebra left", "a very much longer text than all of the others"])
    assert np.isfinite(encode(model, ["a cat"])).all()


def test_a_stream_names_the_row_that_is_not_finite_and_keeps_the_parts_before(
    zebra_is_nan: Callable[..., SentenceTransformer], tmp_path: Path
) -> None:
    source = tmp_path / "texts.jsonl"
    source.write_text("".join(json.dumps({"text": t}) + "\n" for t in ["a", "b", "c", "the zebra", "d"]))
    with pytest.raises(CourseError, match=r"Row 4 of the source .*'the zebra'.* NaN"):
        stream(zebra_is_nan("all-MiniLM-L6-v2"), source, tmp_path / "out", chunk_texts=2)
    assert [path.name for path in (tmp_path / "out").glob("part*")] == ["part-00000.parquet"]


def test_half_a_character_names_its_row(minilm: SentenceTransformer, tmp_path: Path) -> None:
    with pytest.raises(RowError, match=r"texts\[1\] holds half a character \('\\ud83d'\) at place 6"):
        encode(minilm, ["whole", HALF])
    source = tmp_path / "texts.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in ("whole", HALF)))
    with pytest.raises(CourseError, match=r"texts.jsonl, line 2: 'text' holds half a character"):
        stream(minilm, source, tmp_path / "out")


def test_an_empty_line_is_passed_over(minilm: SentenceTransformer, tmp_path: Path) -> None:
    source = tmp_path / "texts.jsonl"
    source.write_text('{"text": "a"}\n\n{"text": "b"}\n\n')
    assert stream(minilm, source, tmp_path / "out") == 2


@pytest.mark.parametrize(("text", "told"), [("the zebra", "NaN or infinity"), (None, "has no 'text'")])
def test_an_actor_names_the_row(
    zebra_is_nan: Callable[..., SentenceTransformer],
    monkeypatch: pytest.MonkeyPatch,
    text: str | None,
    told: str,
) -> None:
    scale = pytest.importorskip("helpers.encode.scale")
    import pyarrow as pa

    model = zebra_is_nan("all-MiniLM-L6-v2")
    monkeypatch.setattr(scale.models, "load", lambda *_, **__: model)
    actor = scale.Encoder("all-MiniLM-L6-v2", "text")
    with pytest.raises(CourseError, match=rf"\{{'id': 'second'\}}.*{told}"):
        actor(pa.table({"id": ["first", "second"], "text": ["a", text]}))


OTHER: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "model": lambda given: given | {"model": models.load("all-MiniLM-L6-v2-int8", device="cpu")},
    "column": lambda given: given | {"column": "title"},
    "chunk_texts": lambda given: given | {"chunk_texts": 3},
    "prompt": lambda given: given | {"prompt": "query: "},
}


def test_what_made_a_folder_of_parts_is_all_told_apart(
    minilm: SentenceTransformer, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    source, out = tmp_path / "texts.jsonl", tmp_path / "out"
    source.write_text("".join(json.dumps({"text": f"a {i}", "title": f"b {i}"}) + "\n" for i in range(4)))
    given: dict[str, Any] = {"model": minilm, "source": source, "target": out, "chunk_texts": 2}
    stream(**given)
    manifest = json.loads((out / "_manifest.json").read_text())
    for key, change in OTHER.items():
        with subtests.test(key), pytest.raises(CourseError, match="was begun with something else"):
            stream(**change(given))
    for key in manifest.keys() - {"probe"}:
        with subtests.test(key):
            (out / "_manifest.json").write_text(json.dumps(manifest | {key: "another"}))
            with pytest.raises(CourseError, match=f"begun with something else: {key} was 'another'"):
                stream(**given)


@pytest.mark.parametrize("how", ["all-MiniLM-L6-v2", "all-MiniLM-L6-v2@bfloat16", "all-MiniLM-L6-v2@unpadded-int8"])
def test_copied_weights_are_forgotten_and_the_vectors_stay(how: str) -> None:
    model = models.load(how, device="cpu")
    tokenized = TokenizedModel(model)
    rows = sorted(tokenized.tokenize(["a text", "and a longer one, of a few more words"]), key=len, reverse=True)
    before, size = tokenized.encode(rows), sum(p.numel() for p in model.parameters())
    tokenized.release()
    np.testing.assert_array_equal(tokenized.encode(rows), before)
    if how == "all-MiniLM-L6-v2" and packs(torch.nn.Linear(8, 8)):
        assert sum(p.numel() for p in model.parameters()) < 0.6 * size
