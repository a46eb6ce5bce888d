"""Speed and memory: what is counted, not how fast anything is."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy import stats
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


# Rounds


class Timed:
    """A model whose calls move a clock of its own: seconds a text, drifting with every call of any model."""

    device = torch.device("cpu")
    clock = 0.0
    calls: ClassVar[list[tuple[str, int]]] = []

    def __init__(self, name: str, seconds: float, drift: float = 1.0) -> None:
        self.name, self.seconds, self.drift = name, seconds, drift

    def encode(self, texts: list[str], **options: object) -> None:
        Timed.clock += self.seconds * len(texts) * self.drift ** len(Timed.calls)
        Timed.calls.append((self.name, len(texts)))

    def __getitem__(self, index: int) -> object:
        return None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    Timed.clock, Timed.calls = 0.0, []
    monkeypatch.setattr("helpers.measure.speed.time.perf_counter", lambda: Timed.clock)
    monkeypatch.setattr("helpers.measure.speed.time.process_time", lambda: Timed.clock)


TEXTS = [" ".join(["word"] * (1 + i % 40)) for i in range(160)]


def rounds(budget_s: float = 1e9, **seconds: float) -> dict[str, speed.Speed]:
    return speed.measure({name: Timed(name, s) for name, s in seconds.items()}, TEXTS, budget_s=budget_s)  # type: ignore[misc]


def test_ratios_are_to_the_first_model_and_rates_are_texts_a_second(clock: None) -> None:
    found = rounds(slow=0.1, fast=0.025)
    assert (found["slow"].reference, found["fast"].reference) == ("slow", "slow")
    assert found["fast"].ratio.value == pytest.approx(4) and found["slow"].ratio.value == 1
    assert found["slow"].texts_per_s == pytest.approx(10) and found["fast"].rate == pytest.approx(40)
    assert found["fast"].latency_ms == pytest.approx(25)


def test_every_batch_goes_to_every_model_before_the_next_in_an_order_drawn_anew(clock: None) -> None:
    found = rounds(a=0.1, b=0.1, c=0.1)
    batched = [call for call in Timed.calls if call[1] > 1]
    last = batched[-3 * speed.BATCHES * (found["a"].rounds - 1) :]  # the first round comes after the warm-up
    threes = [last[i : i + 3] for i in range(0, len(last), 3)]
    assert all(len({n for _, n in three}) == 1 and {name for name, _ in three} == set("abc") for three in threes)
    assert len({tuple(name for name, _ in three) for three in threes}) == 6
    assert found["a"].rounds == 15 and {found[name].texts for name in "abc"} == {found["a"].texts}


def test_what_takes_the_machine_for_seconds_at_a_time_makes_no_difference_between_equal_models(
    clock: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode(self: Timed, texts: list[str], **options: object) -> None:
        Timed.clock += 0.01 * len(texts) * (2 if int(Timed.clock / 7) % 2 else 1)

    monkeypatch.setattr(Timed, "encode", encode)
    ratio = rounds(a=0, b=0)["b"].ratio
    assert ratio.low <= 1 <= ratio.high and ratio.high / ratio.low < 1.1


def test_a_machine_that_slows_down_makes_no_difference_between_equal_models(clock: None) -> None:
    models_ = {name: Timed(name, 0.1, drift=1.0005) for name in "abc"}
    found = speed.measure(models_, TEXTS, budget_s=1e9)  # type: ignore[arg-type]
    for name in "bc":
        assert found[name].ratio.low <= 1 <= found[name].ratio.high
    assert speed.spread(found["a"]) > 0.1


@pytest.mark.parametrize(("budget", "least", "most"), [(0.0, 3, 3), (60.0, 3, 15), (1e9, 15, 15)])
def test_rounds_stop_where_the_time_is_used(clock: None, budget: float, least: int, most: int) -> None:
    found = rounds(budget, a=0.01, b=0.01)
    assert least <= found["a"].rounds <= most
    if budget == 60.0:
        assert Timed.clock <= budget * 1.1


def test_the_batches_of_slow_models_are_split_over_rounds(clock: None) -> None:
    found = rounds(100.0, a=0.1)  # a whole visit takes about 13 s, so that seven don't fit
    assert found["a"].rounds >= 7 and Timed.clock <= 110


def test_a_fast_model_s_batches_last_a_tenth_of_a_second_a_round(clock: None) -> None:
    found = rounds(fast=1e-5)
    per_visit = sum(n for _, n in Timed.calls) / found["fast"].rounds
    assert per_visit * 1e-5 == pytest.approx(0.1, rel=0.1)


def test_the_rate_is_that_of_the_median_round() -> None:
    made = measured_speed((1.0, 1.0, 10.0))
    assert made.rate == 1


def measured_speed(seconds: tuple[float, ...], reference: tuple[float, ...] | None = None) -> speed.Speed:
    reference = reference or (1.0,) * len(seconds)
    return speed.Speed(
        1.0, None, None, 1.0, 1.0, None, None, 8, 128, "CPU seconds", seconds, seconds, "a", reference, reference
    )


def test_the_median_of_the_rounds_is_what_is_reported(clock: None, monkeypatch: pytest.MonkeyPatch) -> None:
    model, turn = Timed("a", 0.5), iter([1.0, 1.0, 10.0])
    whole = speed._round

    def slower(*args: object) -> object:
        model.seconds = next(turn)
        return whole(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(speed, "_round", slower)
    assert speed.measure({"a": model}, TEXTS, budget_s=0)["a"].texts_per_s == pytest.approx(1)  # type: ignore[dict-item]


def test_an_interval_of_ratios_is_student_s_t_of_their_logs() -> None:
    found = measured_speed((0.5, 0.4, 0.625)).ratio
    logs = np.log([2, 2.5, 1.6])
    interval = stats.t.interval(0.95, 2, loc=logs.mean(), scale=stats.sem(logs))
    assert (found.value, found.low, found.high) == pytest.approx((2.0, *np.exp(interval)))
    assert (measured_speed((0.5,)).ratio.low, measured_speed((0.5,)).ratio.high) == (0, math.inf)


def test_models_of_the_same_rounds_are_compared_round_by_round() -> None:
    shaken = np.array([1.0, 2.0, 4.0, 1.0, 3.0])
    reference = tuple(shaken)
    one, other = measured_speed(tuple(shaken / 2), reference), measured_speed(tuple(shaken / 2.4), reference)
    assert speed.against(other, one).low == pytest.approx(1.2) == speed.against(other, one).high
    assert speed.faster(other, one) and not speed.faster(one, other)


def test_models_of_other_rounds_are_compared_through_the_reference_and_less_surely() -> None:
    one = measured_speed((0.5, 0.52, 0.48), (1.0, 1.01, 0.99))
    other = measured_speed((0.25, 0.26, 0.24, 0.25), (1.0, 1.02, 0.98, 1.0))
    found = speed.against(other, one)
    assert found.low < 2 < found.high and found.value == pytest.approx(2, rel=0.02)


def test_a_difference_of_less_than_five_percent_makes_nobody_faster() -> None:
    assert not speed.faster(measured_speed((0.97,) * 5), measured_speed((1.0,) * 5))
    assert speed.faster(measured_speed((0.9,) * 5), measured_speed((1.0,) * 5))


def test_batches_stand_for_the_sorted_corpus_so_that_they_hold_little_padding(minilm: SentenceTransformer) -> None:
    batched = speed.plan(minilm, TEXTS)
    counts = [token_counts(minilm, batch) for batch in batched]
    assert len(batched) == 16
    assert sum(len(c) * max(c) for c in counts) / sum(map(sum, counts)) < 1.2
    assert all(len(c) * max(c) <= 1024 for c in counts)
    assert batched == speed.plan(minilm, TEXTS) and batched != speed.plan(minilm, TEXTS, seed=1)


@pytest.mark.parametrize(
    ("many", "batch_size", "batches", "largest"), [(5, 32, 5, 1), (40, 32, 16, 3), (160, 4, 16, 4)]
)
def test_there_are_sixteen_batches_wherever_there_are_sixteen_texts(
    tfidf: SentenceTransformer, many: int, batch_size: int, batches: int, largest: int
) -> None:
    batched = speed.plan(tfidf, TEXTS[:many], batch_size)
    assert len(batched) == batches and max(map(len, batched)) <= largest


@pytest.fixture(scope="module")
def measured(minilm: SentenceTransformer) -> speed.Speed:
    return speed.measure({"m": minilm}, ["the cat sat"] * 6, batch_size=4, budget_s=0)["m"]


def test_tokens_per_second_are_texts_per_second_times_tokens_per_text(measured: speed.Speed) -> None:
    assert measured.tokens_per_s == pytest.approx(5 * measured.texts_per_s)
    assert (measured.tokens_per_text, measured.computed_per_token) == (5, 1)


def test_the_share_of_the_peak_is_the_arithmetic_done_over_the_arithmetic_possible(
    measured: speed.Speed, cost: Floats
) -> None:
    done = float(np.polyval(cost, 5)) * measured.texts_per_s
    assert measured.peak_share == pytest.approx(done / speed.matrix_peak("cpu", torch.float32))


def test_the_peak_is_two_operations_for_each_product_of_the_faster_library() -> None:
    def clock(step: list[float]) -> Callable[[], float]:
        times = iter(np.cumsum(step).tolist())
        return lambda: next(times)

    # twelve products, each read before and after: torch's take 2 s each, oneDNN's 1 s
    steps = [step for seconds in (2.0, 1.0) for _ in range(6) for step in (0.0, seconds)]
    assert speed.matrix_peak("cpu", torch.float32, clock(steps)) == 2 * 2048**3


def test_a_model_without_tokens_has_a_rate_of_texts_alone(tfidf: SentenceTransformer) -> None:
    found = speed.measure({"t": tfidf}, ["a cat"], budget_s=0)["t"]
    assert found.texts_per_s > 0
    assert (found.tokens_per_s, found.peak_share, found.computed_per_token) == (None, None, None)


@pytest.mark.parametrize(("texts", "options"), [([], {}), (["a"], {"batch_size": 0})])
def test_nothing_to_measure_is_an_error(tfidf: SentenceTransformer, texts: list[str], options: dict[str, Any]) -> None:
    with pytest.raises(CourseError, match="at least one model, one text and a batch size of 1 or more"):
        speed.measure({"t": tfidf}, texts, **options)


# Memory


def test_memory_that_is_taken_is_seen() -> None:
    with speed.peak_memory(0.001) as memory:
        block = np.ones(200_000_000, dtype=np.uint8)  # more than other threads of the tests free meanwhile
        seen = _wait_until(memory, 40)
        del block
    assert 40 <= seen <= memory.process_mb <= 600


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
