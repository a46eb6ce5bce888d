"""Models are told apart when they differ, seldom when they don't, and the words follow from that."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from helpers.measure import comparing, metrics
from helpers.measure.comparing import Comparison

Floats = NDArray[np.float64]


def correlated(draw: np.random.Generator, models: int, queries: int, *lead: float) -> Floats:
    """(m, n) values as nDCG has them, most of their spread common to all models; the last models lead by `lead`."""
    common = draw.normal(size=queries)
    raw = 0.8 + 0.35 * (np.sqrt(0.7) * common + np.sqrt(0.3) * draw.normal(size=(models, queries)))
    raw[len(raw) - len(lead) :] += np.array(lead).reshape(-1, 1)
    return np.asarray(np.clip(raw, 0, 1))


def told(values: Floats, seed: int = 0, exchanges: int = 1000) -> Comparison:
    return comparing.compare(comparing.of_queries(values), seed=seed, n_exchanges=exchanges)


def chain() -> Comparison:
    """A isn't told apart from B, nor B from C, but A is from C."""
    draw = np.random.default_rng(8)
    base = draw.normal(size=60)
    return told(np.stack([base + 0.14 * k + 0.5 * draw.normal(size=60) for k in (2, 1, 0)]), exchanges=10_000)


# The test


@pytest.mark.parametrize("queries", [30, 100])
def test_equal_models_are_told_apart_family_wise_about_5_times_of_100(queries: int) -> None:
    draw = np.random.default_rng(queries)
    hits = sum(told(correlated(draw, 5, queries), seed, 400).decides for seed in range(300))
    assert stats.binomtest(hits, 300, 0.05, alternative="greater").pvalue > 0.001, hits


@pytest.mark.execution
@pytest.mark.parametrize("queries", [30, 100])
def test_equal_models_are_told_apart_in_at_most_6_and_a_half_percent_of_2_000_simulations(queries: int) -> None:
    draw = np.random.default_rng(queries)
    assert np.mean([told(correlated(draw, 5, queries), seed).decides for seed in range(2000)]) <= 0.065


@pytest.mark.parametrize("graded", [False, True])
def test_equal_models_are_seldom_told_apart_on_pairs(graded: bool) -> None:
    draw, hits = np.random.default_rng(7), 0

    def auc(similarity: Floats, gold: Floats) -> Floats:
        return metrics.roc_auc(similarity[:, gold == 1], similarity[:, gold == 0])

    def rho(similarity: Floats, gold: Floats) -> Floats:
        return metrics.spearman(similarity, np.broadcast_to(gold, similarity.shape))

    for seed in range(150):
        gold = draw.normal(size=60) if graded else (np.arange(60) % 2).astype(float)
        similarity = gold + draw.normal(size=60) + draw.normal(size=(4, 60))
        hits += comparing.compare(
            comparing.of_pairs(rho if graded else auc, similarity, gold), seed=seed, n_exchanges=400
        ).decides
    assert stats.binomtest(hits, 150, 0.05, alternative="greater").pvalue > 0.001, hits


def test_one_plainly_worse_of_20_models_is_found() -> None:
    compared = told(correlated(np.random.default_rng(0), 20, 100, -0.3))
    assert all(compared.better(other, 19) for other in range(19))
    assert compared.ranks[19] == 20
    assert not any(compared.apart(a, b) for a in range(19) for b in range(a))


def test_a_small_difference_is_found_five_times_as_often_as_by_intervals_that_overlap() -> None:
    draw, paired, overlap = np.random.default_rng(1), 0, 0
    for seed in range(200):
        values = correlated(draw, 2, 100, 0.065)
        paired += told(values, seed, 400).decides
        reach = 1.96 * values.std(axis=1, ddof=1) / 10
        overlap += bool(abs(np.diff(values.mean(axis=1))[0]) > reach.sum())
    assert paired >= 5 * max(overlap, 1) and 60 <= paired <= 160, (paired, overlap)


def test_the_p_of_a_pair_is_that_of_scipy_s_permutation_test_of_the_largest_difference() -> None:
    values = correlated(np.random.default_rng(3), 3, 40, 0.05, -0.1)

    def largest(*models: Floats, axis: int = -1) -> Floats:
        one = np.stack(np.broadcast_arrays(*models))
        apart = [one[i] - one[j] for i, j in ((0, 1), (0, 2), (1, 2))]
        return np.asarray(np.max([abs(d.mean(axis)) / stats.sem(d, axis=axis) for d in apart], axis=0))

    theirs = stats.permutation_test(
        tuple(values),
        largest,
        permutation_type="samples",
        alternative="greater",
        vectorized=True,
        n_resamples=4999,
        batch=500,
        rng=0,
    )
    ours = told(values, exchanges=4999)
    assert ours.p.min() == pytest.approx(theirs.pvalue, abs=0.006)


def test_the_test_of_two_models_is_exact() -> None:
    values = np.array([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.0] * 6])
    assert told(values, exchanges=20_000).p[0, 1] == pytest.approx(2 / 2**6, abs=0.004)


def test_over_20_seeds_the_same_pairs_are_told_apart_but_for_borderline_ones() -> None:
    values = correlated(np.random.default_rng(5), 6, 100, 0.02, 0.04, 0.06, 0.08, 0.12)
    made = [comparing.compare(comparing.of_queries(values), seed=seed) for seed in range(20)]
    for a in range(6):
        for b in range(a):
            if len({c.apart(a, b) for c in made}) > 1:
                assert any(c.borderline(a, b) for c in made), (a, b)


def test_over_20_halves_no_pair_is_told_apart_in_both_directions() -> None:
    draw = np.random.default_rng(6)
    values = correlated(draw, 5, 100, 0.05, 0.1)
    halves = [told(values[:, draw.permutation(100)[:50]], seed) for seed in range(20)]
    for a in range(5):
        for b in range(a):
            assert not (any(c.better(a, b) for c in halves) and any(c.better(b, a) for c in halves)), (a, b)


def test_models_that_give_the_same_answers_are_never_told_apart() -> None:
    compared = told(np.tile(np.random.default_rng(0).random(50), (3, 1)))
    assert compared.ranks == [1, 1, 1] and not compared.decides
    assert compared.p.min() == 1 and compared.detectable == 0


def test_a_difference_that_is_the_same_on_every_item_is_told() -> None:
    values = np.linspace(0.1, 0.7, 30)
    assert told(np.stack([values, values + 0.125])).ranks == [2, 1]


# Ranks


def test_equal_ranks_are_no_equality_and_a_list_says_from_whom_a_model_isn_t_told_apart() -> None:
    compared = chain()
    assert [compared.apart(a, b) for a, b in ((0, 1), (1, 2), (0, 2))] == [False, False, True]
    assert compared.ranks == [1, 1, 2]
    assert [compared.same(i) for i in range(3)] == [[1], [0, 2], [1]]


def test_one_model_has_rank_1_and_nobody_beside_it() -> None:
    compared = told(np.random.default_rng(0).random((1, 20)))
    assert compared.ranks == [1] and compared.same(0) == [] and not compared.decides


# Sizes of differences


def test_the_interval_of_a_difference_holds_the_truth_about_95_times_of_100() -> None:
    draw, held = np.random.default_rng(8), 0
    for seed in range(300):
        found = told(draw.normal(size=(2, 30)) + draw.normal(size=30) + np.array([[0.3], [0.0]]), seed, 10)
        held += found.low[0, 1] <= 0.3 <= found.high[0, 1]
    assert 0.91 <= held / 300 <= 0.985


def test_an_interval_is_turned_round_with_its_models() -> None:
    compared = chain()
    one, other = compared.interval(0, 2), compared.interval(2, 0)
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))
    assert one.low <= one.value <= one.high


def test_not_worse_by_the_margin_is_read_from_the_lower_end() -> None:
    compared = chain()
    low = float(compared.low[1, 0])
    assert compared.not_worse(1, 0, -low + 0.001) and not compared.not_worse(1, 0, -low - 0.001)


def test_the_power_that_is_promised_is_had() -> None:
    draw = np.random.default_rng(9)
    promised = told(correlated(draw, 3, 100)).detectable
    found = sum(told(draw.normal(0, 0.1, size=(3, 80)), s, 400).decides for s in range(5))
    assert found <= 3 and 0.03 < promised < 0.3
    noise = [draw.normal(0, 0.1, size=(2, 80)) for _ in range(200)]
    size = told(noise[0]).detectable
    hits = sum(told(v + np.array([[size], [0]]), s, 400).better(0, 1) for s, v in enumerate(noise))
    assert 0.65 <= hits / 200 <= 0.92


def test_four_times_the_items_find_half_the_difference() -> None:
    compared = told(correlated(np.random.default_rng(4), 3, 100))
    assert compared.units_for(compared.detectable / 2) == pytest.approx(4 * compared.units, abs=1)


# What is compared on


def test_contributions_are_scores_and_their_spread_that_of_delong() -> None:
    draw = np.random.default_rng(0)
    gold = (np.arange(90) % 3 == 0).astype(float)
    similarity = gold + draw.normal(size=(2, 90))

    def auc(values: Floats, labels: Floats) -> Floats:
        return metrics.roc_auc(values[:, labels == 1], values[:, labels == 0])

    found = comparing.of_pairs(auc, similarity, gold)
    assert found.mean(axis=1) == pytest.approx(auc(similarity, gold))
    for row, values in zip(found, similarity, strict=True):
        above = values[gold == 1][:, None] > values[gold == 0][None]
        variance = above.mean(axis=1).var(ddof=1) / 30 + above.mean(axis=0).var(ddof=1) / 60
        assert row.var(ddof=1) / 90 == pytest.approx(variance, rel=0.05)


def test_clusters_are_exchanged_as_wholes() -> None:
    values = np.repeat(correlated(np.random.default_rng(0), 2, 20, 0.05), 10, axis=1)
    alone, clustered = comparing.of_queries(values), comparing.of_queries(values, np.repeat(np.arange(20), 10))
    assert (alone.shape, clustered.shape) == ((2, 200), (2, 20))
    assert clustered.mean(axis=1) == pytest.approx(values.mean(axis=1))
    assert comparing.compare(alone).p[0, 1] < comparing.compare(clustered).p[0, 1]


def test_more_than_a_thousand_items_are_joined_so_that_time_is_bounded() -> None:
    values = np.random.default_rng(0).random((2, 2500))
    found = comparing.of_queries(values)
    assert found.shape == (2, 1000) and found.mean(axis=1) == pytest.approx(values.mean(axis=1))


@pytest.mark.parametrize(
    ("sides", "clusters"),
    [
        ((["a", "b", "c"], ["d", "e", "f"]), None),
        ((["a", "b", "c"], ["d", "a", "f"]), [0, 0, 1]),
        ((["a", "b", "c"], ["b", "c", "d"]), [0, 0, 0]),
        (([{"x"}, {"y", "z"}, {"z"}],), [0, 1, 1]),
        (([{"x"}, set(), set()],), None),
    ],
)
def test_items_that_share_something_are_one_cluster(sides: tuple[list[str], ...], clusters: list[int] | None) -> None:
    found = comparing.linked(*sides)
    assert (found is None) == (clusters is None)
    if found is not None:
        assert found.tolist() == clusters
