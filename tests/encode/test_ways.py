"""Models by name with the way to run them behind an `@`: the same vectors, or int8's, and clear refusals."""

import re

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from helpers import load, models
from helpers.encode import ways
from helpers.errors import CourseError
from helpers.measure import speed
from helpers.models import packages
from helpers.packages import E5_Q4

MINILM = "all-MiniLM-L6-v2"
TEXTS = ["a short one", "", "one of several more words, which is padded least of all of these " * 3, "two words"]


@pytest.fixture(scope="module")
def minilm() -> SentenceTransformer:
    return load(MINILM, device="cpu")


@pytest.mark.parametrize(("way", "least"), [("unpadded", 1 - 1e-6), ("openvino", 1 - 1e-5), ("onnx-int8", 0.97)])
def test_a_way_gives_the_model_s_vectors_within_its_precision(
    minilm: SentenceTransformer, way: str, least: float
) -> None:
    made = ways.load(f"{MINILM}@{way}", device="cpu")
    for encode in ("encode", "encode_query", "encode_document"):
        vectors, right = getattr(made, encode)(TEXTS), getattr(minilm, encode)(TEXTS)
        assert vectors.shape == right.shape and (vectors * right).sum(axis=1).min() > least
    known = models.weights(made)
    assert known.kind == "bundled" and known.real and str(known).endswith(f"; run by {way})")
    assert models.precision(made) == ("int8" if "int8" in way else "float32")
    assert made.get_embedding_dimension() == 384 and made.max_seq_length == minilm.max_seq_length


def test_onnx_int8_is_the_bundled_int8() -> None:
    made, bundled = ways.load(f"{MINILM}@onnx-int8", device="cpu"), load(f"{MINILM}-int8", device="cpu")
    assert np.allclose(made.encode(TEXTS), bundled.encode(TEXTS), atol=1e-6)


@pytest.mark.skipif(not packages.here(E5_Q4), reason=f"{E5_Q4.name} isn't in the cache: `make weights` with a network")
@pytest.mark.parametrize("way", ["unpadded", "openvino"])
def test_a_tokenizer_without_types_of_token_suits_as_well(way: str) -> None:
    made, right = ways.load(f"{E5_Q4.name}@{way}", device="cpu"), load(E5_Q4.name, device="cpu")
    assert np.allclose(made.encode_query(TEXTS), right.encode_query(TEXTS), atol=1e-4)
    assert models.weights(made).kind == "quantised"


def test_what_is_run_unpadded_computes_no_token_more_than_it_reads(minilm: SentenceTransformer) -> None:
    both = {"padded": minilm, "unpadded": ways.load(f"{MINILM}@unpadded", device="cpu")}
    timed = speed.measure(both, TEXTS, budget_s=0)
    assert timed["unpadded"].computed_per_token == 1 <= (timed["padded"].computed_per_token or 0)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (f"{MINILM}@openvno-int8", "no way 'openvno-int8' to run a model. Did you mean openvino-int8"),
        (f"{MINILM}@fast", "After the @ of a name can stand: openvino, openvino-int8, onnx-int8, unpadded."),
        ("all-MiniLM-L6-v3@unpadded", "There is no model 'all-MiniLM-L6-v3'"),
        ("all-MiniLM-L6-v3@fast", "There is no model 'all-MiniLM-L6-v3'"),
        ("org/name@abc123", "the revision's 40 hex digits"),
        ("all-MiniLM-L6-v3", "There is no model 'all-MiniLM-L6-v3'"),
    ],
)
def test_what_can_t_be_had_is_told_before_anything_is_loaded(name: str, told: str) -> None:
    with pytest.raises(CourseError, match=re.escape(told)):
        ways.split(name)


@pytest.mark.parametrize("way", ways.WAYS)
def test_a_model_that_a_way_does_not_suit_is_refused_with_a_reason(way: str) -> None:
    with pytest.raises(CourseError, match=r"^Only a BERT .*run it as it is\.$"):
        ways.load(f"{MINILM}-static-256@{way}", device="cpu")


def test_a_revision_is_no_way() -> None:
    name = f"org/name@{'a' * 40}"
    assert ways.split(name) == (name, None)
    assert ways.split(f"{name}@unpadded") == (name, "unpadded")
