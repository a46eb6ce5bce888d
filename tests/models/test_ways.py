"""Models by name with the way to run them behind an `@`: the same vectors, or int8's, and clear refusals."""

import re

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from helpers import data, load, models
from helpers.bundled.runtime import bert_inputs
from helpers.encode import encode
from helpers.errors import CourseError
from helpers.measure import speed
from helpers.models import int8, packages, ways
from helpers.models.loading import way
from helpers.models.sources import Pinned, Rerun
from helpers.models.unpadded import Unpadded
from helpers.packages import E5_Q4

MINILM = "all-MiniLM-L6-v2"
TEXTS = ["a short one", "", "one of several more words, which is padded least of all of these " * 3, "two words"]


@pytest.fixture(scope="module")
def minilm() -> SentenceTransformer:
    return load(MINILM, device="cpu")


@pytest.mark.parametrize(("how", "least"), [("unpadded", 1 - 1e-6), ("openvino", 1 - 1e-5)])
def test_a_way_gives_the_model_s_vectors_within_its_precision(
    minilm: SentenceTransformer, how: str, least: float
) -> None:
    made = load(f"{MINILM}@{how}", device="cpu")
    for kind in ("encode", "encode_query", "encode_document"):
        vectors, right = getattr(made, kind)(TEXTS), getattr(minilm, kind)(TEXTS)
        assert vectors.shape == right.shape and (vectors * right).sum(axis=1).min() > least
    known = models.weights(made)
    assert known.kind == "bundled" and known.real and str(known).endswith(f"; run by {how})")
    assert models.precision(made) == "float32"
    assert made.get_embedding_dimension() == 384 and made.max_seq_length == minilm.max_seq_length


@pytest.mark.skipif(not int8.available(), reason="this PyTorch has no 8-bit products")
def test_unpadded_int8_stays_near_the_model_at_every_length(minilm: SentenceTransformer) -> None:
    made, texts = load(f"{MINILM}@unpadded-int8", device="cpu"), [*TEXTS, *data.texts()[:40]]
    vectors, right = encode(made, texts), minilm.encode(texts)
    assert (vectors * right).sum(axis=1).min() > 1 - 2e-2 and not np.allclose(vectors, right, atol=1e-4)
    assert models.precision(made) == "int8"
    with pytest.raises(CourseError, match=r"^Only a model in float32 on the CPU can be rounded to int8; load it"):
        Unpadded(load(MINILM, device="cpu", dtype="bfloat16"), int8=True)


@pytest.mark.skipif(not int8.available(), reason="this PyTorch has no 8-bit products")
@pytest.mark.parametrize("most", [63, 127])
def test_a_product_of_8_bits_is_off_by_no_more_than_its_rounding(most: int) -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(128, 48)
    states = torch.randn(70, 128) * torch.logspace(-3, 3, 70)[:, None] + 5  # each token has a scale of its own
    states[0], states[1] = 0, 7
    if most == 127 and int8.overflows():
        pytest.skip("this processor can't add such products")
    with torch.inference_mode():
        found, right = int8.Quantised(linear.weight, linear.bias, most)(states), linear(states)
        spread = states.amax(1, keepdim=True) - states.amin(1, keepdim=True)
        largest = states.abs().amax(1, keepdim=True)
        rounding = 128 * (spread / 510 * linear.weight.abs().max() + largest * linear.weight.abs().max() / most / 2)
    assert ((found - right).abs() <= rounding + 1e-5).all() and torch.allclose(found[0], right[0], atol=1e-6)
    assert ((found - right).norm(dim=1) < 0.05 * right.norm(dim=1))[2:].all()


def test_onnx_int8_is_the_bundled_int8() -> None:
    made, bundled = load(f"{MINILM}@onnx-int8", device="cpu"), load(f"{MINILM}-int8", device="cpu")
    assert np.allclose(made.encode(TEXTS), bundled.encode(TEXTS), atol=1e-6)
    assert models.precision(made) == "int8"


@pytest.mark.skipif(not packages.here(E5_Q4), reason=f"{E5_Q4.name} isn't in the cache: `make weights` with a network")
def test_the_packaged_model_runs_unpadded_with_its_prompts() -> None:
    made, right = load(f"{E5_Q4.name}@unpadded", device="cpu"), load(E5_Q4.name, device="cpu")
    assert np.allclose(made.encode_query(TEXTS), right.encode_query(TEXTS), atol=1e-4)
    assert models.weights(made).kind == "quantised"


def test_a_tokenizer_without_types_of_token_means_type_0() -> None:
    ids = torch.tensor([[5, 6], [7, 0]])
    given = bert_inputs({"attention_mask": ids > 0, "modality": "text", "input_ids": ids})
    assert list(given) == ["input_ids", "attention_mask", "token_type_ids"] and not given["token_type_ids"].any()


def test_what_is_run_unpadded_computes_no_token_more_than_it_reads(minilm: SentenceTransformer) -> None:
    both = {"padded": minilm, "unpadded": load(f"{MINILM}@unpadded", device="cpu")}
    timed = speed.measure(both, TEXTS, budget_s=0)
    assert timed["unpadded"].computed_per_token == 1 <= (timed["padded"].computed_per_token or 0)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (f"{MINILM}@openvno-int8", "no way 'openvno-int8' to run a model. Did you mean openvino-int8"),
        (
            f"{MINILM}@fast",
            "of a name can stand: openvino, openvino-int8, onnx-int8, unpadded, unpadded-int8, bfloat16, or a revision",
        ),
        ("all-MiniLM-L6-v3@unpadded", "There is no model 'all-MiniLM-L6-v3'"),
        ("all-MiniLM-L6-v3@fast", "There is no model 'all-MiniLM-L6-v3@fast'"),
        ("org/name@abc123", "the revision's 40 hex digits"),
        ("all-MiniLM-L6-v3", "There is no model 'all-MiniLM-L6-v3'"),
    ],
)
def test_what_can_t_be_had_is_told_before_anything_is_loaded(name: str, told: str) -> None:
    with pytest.raises(CourseError, match=re.escape(told)):
        way(name)


@pytest.mark.parametrize("how", ways.WAYS)
def test_a_model_that_a_way_does_not_suit_is_refused_with_a_reason(how: str) -> None:
    with pytest.raises(CourseError, match=r"^Only a BERT\b.*run it as it is\.$"):
        load(f"{MINILM}-static-256@{how}", device="cpu")


def test_a_revision_is_no_way() -> None:
    revision = Pinned("org/name", "a" * 40)
    assert way(f"org/name@{'a' * 40}") == revision
    assert way(f"org/name@{'a' * 40}@unpadded") == Rerun(revision, "unpadded")
