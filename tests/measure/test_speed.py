"""Speed and memory: what is counted, not how fast anything is."""

import math

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from helpers import models
from helpers.encode import token_counts
from helpers.errors import CourseError
from helpers.measure import speed
from helpers.measure.metrics import Floats


@pytest.fixture(scope="module")
def static() -> SentenceTransformer:
    return models.load("all-MiniLM-L6-v2-static-256", device="cpu")


@pytest.fixture(scope="module")
def tfidf() -> SentenceTransformer:
    return models.load("tfidf-4096", device="cpu")


@pytest.fixture(scope="module")
def cost(minilm: SentenceTransformer) -> Floats:
    found = speed.flops_per_text(minilm)
    assert found is not None
    return found


# Tokens


def test_token_counts_include_the_special_tokens(minilm: SentenceTransformer) -> None:
    assert token_counts(minilm, ["", "cat", "the cat sat"]) == [2, 3, 5]


def test_token_counts_stop_where_the_model_stops_reading(minilm: SentenceTransformer) -> None:
    assert token_counts(minilm, ["cat " * 253, "cat " * 254, "cat " * 255, "cat " * 1000]) == [255, 256, 256, 256]


def test_token_counts_follow_a_changed_limit(tfidf: SentenceTransformer) -> None:
    model = models.load("all-MiniLM-L6-v2", device="cpu")
    model.max_seq_length = 10
    assert token_counts(model, ["cat", "cat " * 100]) == [3, 10]


def test_a_static_model_has_no_special_tokens_and_no_limit(static: SentenceTransformer) -> None:
    assert token_counts(static, ["cat", "cat " * 1000]) == [1, 1000]


def test_a_model_without_a_tokenizer_has_no_tokens(tfidf: SentenceTransformer) -> None:
    assert token_counts(tfidf, ["cat"]) == []


# Arithmetic


def test_attention_of_minilm_costs_9216_operations_per_squared_token(cost: Floats) -> None:
    # 6 layers x 2 products (scores, mixing) x 2 operations x 384 dimensions
    assert cost[0] == pytest.approx(9216)


def test_linear_layers_of_minilm_cost_21_million_operations_per_token(cost: Floats) -> None:
    # 6 layers x 2 operations x (4 x 384 x 384 + 2 x 384 x 1536)
    assert cost[1] == pytest.approx(21.2e6, rel=0.02)


def test_what_doesn_t_grow_with_the_text_is_its_pooler_at_most(cost: Floats) -> None:
    assert 0 <= round(cost[2]) <= 2 * 384 * 384


def test_the_polynomial_tells_the_operations_of_a_length_that_was_not_counted(
    minilm: SentenceTransformer, cost: Floats
) -> None:
    assert np.polyval(cost, 200) == pytest.approx(speed._count_flops(minilm[0].model, 200, minilm.device), rel=1e-6)


def test_counting_leaves_the_model_s_attention_as_it_was(minilm: SentenceTransformer) -> None:
    encoder = minilm[0].model
    before = encoder.config._attn_implementation
    speed.flops_per_text(minilm)
    assert encoder.config._attn_implementation == before != "eager"


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2-static-256", "tfidf-4096", "all-MiniLM-L6-v2-int8"])
def test_a_model_that_pytorch_doesn_t_run_has_no_count(name: str) -> None:
    assert speed.flops_per_text(models.load(name, device="cpu")) is None


# Rates


@pytest.fixture(scope="module")
def measured(minilm: SentenceTransformer) -> speed.Speed:
    return speed.measure(minilm, ["the cat sat"] * 6, batch_size=4, repeats=3)


def test_the_median_lies_between_the_slowest_and_the_fastest_repeat(measured: speed.Speed) -> None:
    assert 0 < measured.slowest <= measured.texts_per_s <= measured.fastest < math.inf


def test_tokens_per_second_are_texts_per_second_times_tokens_per_text(measured: speed.Speed) -> None:
    assert measured.tokens_per_s == pytest.approx(5 * measured.texts_per_s)


def test_the_share_of_the_peak_is_the_arithmetic_done_over_the_arithmetic_possible(
    measured: speed.Speed, cost: Floats
) -> None:
    done = float(np.polyval(cost, 5)) * measured.texts_per_s
    assert measured.peak_share == pytest.approx(done / speed.matrix_peak("cpu", torch.float32))


def test_a_measurement_says_how_it_was_made(measured: speed.Speed) -> None:
    assert (measured.texts, measured.batch_size, measured.repeats) == (6, 4, 3)


def test_a_model_without_tokens_has_a_rate_of_texts_alone(tfidf: SentenceTransformer) -> None:
    found = speed.measure(tfidf, ["a cat"], repeats=1)
    assert found.texts_per_s == found.slowest == found.fastest
    assert (found.tokens_per_s, found.peak_share) == (None, None)


def test_every_text_is_encoded_in_every_repeat_and_in_the_warm_up(
    tfidf: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []
    encode = tfidf.encode
    monkeypatch.setattr(tfidf, "encode", lambda texts, **kwargs: (calls.append(texts), encode(texts, **kwargs))[1])
    monkeypatch.setattr(speed, "SHORTEST_REPEAT_S", 0.0)
    speed.measure(tfidf, ("a", "b"), repeats=2)
    assert calls == [["a", "b"]] * 3


def test_a_slow_first_call_doesn_t_shorten_the_repeats(
    tfidf: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, calls = 0.0, 0  # in seconds that floats hold exactly

    def encode(texts: list[str], **options: object) -> None:
        nonlocal now, calls
        now, calls = now + (8.0 if calls == 0 else 1 / 64), calls + 1

    monkeypatch.setattr(tfidf, "encode", encode)
    monkeypatch.setattr("helpers.measure.speed.time.perf_counter", lambda: now)
    found = speed.measure(tfidf, ["a cat"], repeats=3)
    assert calls == 1 + 1 + 3 * 13  # the warm-up, a run to time it, and repeats of a fifth of a second
    assert found.slowest == pytest.approx(found.fastest) == pytest.approx(64)


@pytest.mark.parametrize(
    ("texts", "options"), [([], {}), (["a"], {"repeats": 0}), (["a"], {"batch_size": 0}), (["a"], {"repeats": -1})]
)
def test_nothing_to_measure_is_an_error(tfidf: SentenceTransformer, texts: list[str], options: dict[str, int]) -> None:
    with pytest.raises(CourseError, match="at least one text, one repeat and a batch size of 1 or more"):
        speed.measure(tfidf, texts, **options)


# Memory


def test_memory_that_is_taken_is_seen() -> None:
    with speed.peak_memory(0.001) as memory:
        block = np.ones(200_000_000, dtype=np.uint8)  # more than other threads of the tests free meanwhile
        seen = _wait_until(memory, 40)
        del block
    assert seen >= 40


def test_watching_ends_when_the_block_ends_even_by_an_error() -> None:
    with pytest.raises(RuntimeError), speed.peak_memory(0.001) as memory:
        raise RuntimeError
    assert memory._stop.is_set()


def _wait_until(memory: speed.Memory, mb: float) -> float:
    for _ in range(2000):
        if memory.process_mb >= mb:
            break
        memory._stop.wait(0.005)
    return memory.process_mb
