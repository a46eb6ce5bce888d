"""The two adapters of lesson 04: real, as the script writes them, and as far apart in cosine as their README says."""

import re
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

from helpers import data, models
from helpers.errors import CourseError
from helpers.models import adapters
from tools import train_temperature as script

MAX_BYTES = 1_000_000
README = (adapters.FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def loaded() -> dict[float, SentenceTransformer]:
    return {temperature: adapters.load(temperature) for temperature in adapters.TEMPERATURES}


def mean_cosine(model: SentenceTransformer) -> float:
    vectors = model.encode_document(list(data.retrieval().corpus.values())[:48])
    return float((vectors @ vectors.T)[np.triu_indices(len(vectors), 1)].mean())


def test_each_is_a_bundled_model_with_e5s_prefixes(loaded: dict[float, SentenceTransformer]) -> None:
    for temperature, model in loaded.items():
        found = models.weights(model)
        assert found.kind == "bundled" and found.real and f"temperature {temperature:g}" in found.detail
        assert model.prompts == {"query": "query: ", "document": "passage: "}
        glued = model.encode(["query: one text", "passage: one text"])
        named = np.stack([model.encode_query("one text"), model.encode_document("one text")])
        assert np.allclose(glued, named, atol=1e-5)
        assert np.allclose(np.linalg.norm(named, axis=1), 1, atol=1e-5)


def test_the_weights_have_the_shapes_that_the_training_script_writes() -> None:
    untrained: Any = adapters.start()
    untrained.add_adapter(script.adapter())
    expected = sorted(tuple(p.shape) for name, p in untrained.named_parameters() if "lora" in name)
    for temperature in adapters.TEMPERATURES:
        path = adapters.folder(temperature) / "adapter_model.safetensors"
        assert path.stat().st_size < MAX_BYTES
        assert sorted(tuple(tensor.shape) for tensor in load_file(path).values()) == expected


def test_the_two_differ_in_every_weight() -> None:
    one, two = (load_file(adapters.folder(t) / "adapter_model.safetensors") for t in adapters.TEMPERATURES)
    assert one.keys() == two.keys()
    assert not any(np.allclose(one[name], two[name]) for name in one)


def test_the_config_names_the_base_on_the_hub_and_no_path_of_a_machine() -> None:
    for temperature in adapters.TEMPERATURES:
        config = (adapters.folder(temperature) / "adapter_config.json").read_text(encoding="utf-8")
        assert f'"base_model_name_or_path": "{script.BASE}"' in config
        assert "site-packages" not in config and "/home" not in config


def test_the_readme_holds_the_scripts_own_numbers() -> None:
    assert script.readme() == README
    assert re.search(rf"\| steps \| {script.STEPS} \|", README) and re.search(rf"\| seed \| {script.SEED} \|", README)


def test_the_data_is_the_unlabelled_texts_and_nothing_that_judges() -> None:
    seen = {sentence for text in script.sentences() for sentence in text}
    assert seen and all(any(sentence in text for text in data.texts()) for sentence in list(seen)[:50])
    pairs, search = data.pairs(), data.retrieval()
    assert not seen & {*pairs.sentence1, *pairs.sentence2, *search.queries.values(), *search.corpus.values()}


def test_batches_are_the_same_for_the_same_seed_and_hold_no_query_in_its_passage() -> None:
    (queries, passages), (again, _) = next(script.batches(script.SEED)), next(script.batches(script.SEED))
    assert queries == again and len(queries) == script.BATCH_SIZE
    assert not any(query in passage for query, passage in zip(queries, passages, strict=True))


def test_the_low_temperature_keeps_cosines_high_and_the_high_one_spreads_them(
    loaded: dict[float, SentenceTransformer],
) -> None:
    low, high = (mean_cosine(loaded[t]) for t in adapters.TEMPERATURES)
    assert low > high + 0.3


def test_a_temperature_that_was_not_trained_is_named() -> None:
    with pytest.raises(CourseError, match=r"0\.01, 0\.1"):
        adapters.load(0.5)
