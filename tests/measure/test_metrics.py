"""Every score agrees with an independent one, and its interval behaves as an interval."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from helpers.errors import CourseError
from helpers.measure import metrics
from helpers.measure.metrics import Estimate

Floats = NDArray[np.float64]

# Cosines rounded to one digit, so that ties are common.
cosines = st.lists(st.integers(-10, 10).map(lambda i: i / 10), min_size=1, max_size=30).map(np.array)
few = settings(max_examples=60, deadline=None)


def array(*values: float) -> Floats:
    return np.array(values, dtype=np.float64)


def labels(similar: Floats, dissimilar: Floats) -> Floats:
    return np.array([1.0] * len(similar) + [0.0] * len(dissimilar))


# Labelled pairs


@few
@given(cosines, cosines)
def test_roc_auc_agrees_with_scikit_learn(similar: Floats, dissimilar: Floats) -> None:
    expected = roc_auc_score(labels(similar, dissimilar), np.concatenate([similar, dissimilar]))
    assert metrics.roc_auc(similar, dissimilar) == pytest.approx(expected)


@few
@given(cosines, cosines)
def test_average_precision_agrees_with_scikit_learn(similar: Floats, dissimilar: Floats) -> None:
    expected = average_precision_score(labels(similar, dissimilar), np.concatenate([similar, dissimilar]))
    assert metrics.average_precision(similar, dissimilar) == pytest.approx(expected)


@few
@given(cosines, cosines)
def test_roc_auc_lies_between_0_and_1_and_turns_with_the_sign(similar: Floats, dissimilar: Floats) -> None:
    auc = float(metrics.roc_auc(similar, dissimilar))
    assert 0 <= auc <= 1
    assert metrics.roc_auc(-similar, -dissimilar) == pytest.approx(1 - auc)


@few
@given(cosines, cosines)
def test_scores_that_separate_perfectly_get_1(similar: Floats, dissimilar: Floats) -> None:
    assert metrics.roc_auc(similar + 3, dissimilar) == 1
    assert metrics.average_precision(similar + 3, dissimilar) == 1


@few
@given(cosines, cosines)
def test_ranking_scores_don_t_change_when_cosines_are_squeezed(similar: Floats, dissimilar: Floats) -> None:
    def squeezed(x: Floats) -> Floats:
        return 0.9 + 0.01 * x**3

    for score in (metrics.roc_auc, metrics.average_precision):
        assert score(squeezed(similar), squeezed(dissimilar)) == pytest.approx(score(similar, dissimilar))


def test_roc_auc_counts_a_tie_a_half() -> None:
    # 0.9 beats both; 0.5 ties with one and beats the other: (2 + 1.5) of 4
    assert metrics.roc_auc(array(0.9, 0.5), array(0.5, 0.1)) == 3.5 / 4


def test_average_precision_of_a_tie_is_that_of_its_last_rank() -> None:
    # ranks: 0.9 (hit, 1/1), then a tie of a hit and a miss (2/3 at its end)
    assert metrics.average_precision(array(0.9, 0.5), array(0.5, 0.1)) == pytest.approx((1 + 2 / 3) / 2)


def test_average_precision_of_hits_at_ranks_1_and_3() -> None:
    assert metrics.average_precision(array(0.9, 0.5), array(0.7, 0.1)) == pytest.approx((1 + 2 / 3) / 2)


def test_separation_is_the_difference_of_means() -> None:
    assert metrics.separation(array(0.9, 0.7), array(0.1, 0.2, 0.3)) == pytest.approx(0.6)


def test_equal_similarities_say_nothing() -> None:
    same, other = np.zeros(40), np.zeros(60)
    assert metrics.roc_auc(same, other) == 0.5
    assert metrics.average_precision(same, other) == pytest.approx(0.4)
    assert metrics.separation(same, other) == 0


def test_shuffled_similarities_get_no_good_score() -> None:
    rng = np.random.default_rng(0)
    gold = np.tile(array(0, 1), 200)
    scores = metrics.pair_scores(rng.permutation(gold + rng.normal(0, 0.1, 400)), gold, graded=False, n_resamples=200)
    assert 0.4 < scores["roc_auc"].value < 0.6
    assert 0.4 < scores["average_precision"].value < 0.6
    assert abs(scores["separation"].value) < 0.2


# Graded pairs


@few
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), min_size=2, max_size=30))
def test_spearman_agrees_with_scipy(rows: list[tuple[int, int]]) -> None:
    x, y = np.array(rows, dtype=np.float64).T
    if len(set(x)) > 1 and len(set(y)) > 1:
        assert metrics.spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)


def test_spearman_of_a_constant_side_is_0() -> None:
    assert metrics.spearman(np.ones(4), array(1, 2, 3, 4)) == 0


def test_spearman_gives_ties_their_mean_rank() -> None:
    # ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5
    assert metrics.spearman(array(0, 1, 1, 2), array(1, 2, 3, 4)) == pytest.approx(4.5 / math.sqrt(4.5 * 5))


def test_pair_scores_of_graded_pairs_are_spearman_alone() -> None:
    scores = metrics.pair_scores(array(0.1, 0.2, 0.4, 0.3), array(1, 2, 3, 4), graded=True, n_resamples=50)
    assert scores.keys() == {"spearman"}
    assert scores["spearman"].value == pytest.approx(0.8)


def test_pair_scores_of_labelled_pairs_are_the_three_of_two_groups() -> None:
    scores = metrics.pair_scores(array(0.9, 0.1, 0.8, 0.2), array(1, 0, 1, 0), graded=False, n_resamples=50)
    assert {name: round(e.value, 6) for name, e in scores.items()} == {
        "separation": 0.7,
        "roc_auc": 1,
        "average_precision": 1,
    }


@pytest.mark.parametrize("graded", [True, False])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_similarity_that_is_no_number_raises_and_names_the_pair(bad: float, graded: bool) -> None:
    with pytest.raises(CourseError, match=r"1 of 3 similarities aren't finite .*the first is pair 2"):
        metrics.pair_scores(array(0.1, bad, 0.3), array(0, 1, 1), graded=graded)


# One call for many resamples


@pytest.mark.parametrize("score", [metrics.separation, metrics.roc_auc, metrics.average_precision, metrics.spearman])
def test_leading_axes_give_what_a_loop_gives(score: Callable[..., Any]) -> None:
    rng = np.random.default_rng(1)
    first, second = (rng.integers(0, 6, (3, 4, 15)).astype(float) for _ in range(2))
    looped = [[score(first[i, j], second[i, j]) for j in range(4)] for i in range(3)]
    np.testing.assert_allclose(score(first, second), looped)


@pytest.mark.parametrize("score", [metrics.separation, metrics.roc_auc, metrics.average_precision, metrics.spearman])
def test_the_axis_to_reduce_can_be_any(score: Callable[..., Any]) -> None:
    rng = np.random.default_rng(2)
    first, second = (rng.integers(0, 6, (5, 15)).astype(float) for _ in range(2))
    np.testing.assert_allclose(score(first.T, second.T, axis=0), score(first, second))


# Retrieval, against formulas written down here a second time

Qrels = dict[str, dict[str, int]]
Run = dict[str, dict[str, float]]


def by_hand(run: Mapping[str, float], judged: Mapping[str, int], k: int) -> dict[str, float]:
    ranked = sorted(sorted(run, reverse=True), key=lambda d: -run[d])[:k]
    gains = [judged.get(d, 0) / math.log2(rank + 1) for rank, d in enumerate(ranked, start=1)]
    best = [r / math.log2(rank + 1) for rank, r in enumerate(sorted(judged.values(), reverse=True)[:k], start=1)]
    hits = [rank for rank, d in enumerate(ranked, start=1) if judged.get(d, 0) > 0]
    return {
        f"ndcg@{k}": sum(gains) / sum(best),
        f"recall@{k}": len(hits) / sum(r > 0 for r in judged.values()),
        f"mrr@{k}": 1 / hits[0] if hits else 0.0,
    }


@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize("seed", range(3))
def test_retrieval_scores_agree_with_the_formulas_ties_and_grades_included(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    documents = [f"d{i}" for i in range(30)]
    run: Run = {f"q{q}": {d: float(rng.integers(0, 12)) for d in documents} for q in range(20)}
    qrels: Qrels = {q: {d: int(rng.integers(0, 3)) for d in documents[:8]} | {"d9": 1} for q in run}
    found = metrics.per_query(run, qrels, k)
    for row, query in enumerate(qrels):
        expected = by_hand(run[query], qrels[query], k)
        assert {name: float(values[row]) for name, values in found.items()} == pytest.approx(expected)


def test_a_run_in_the_best_order_gets_1() -> None:
    found = metrics.per_query({"q": {"a": 3, "b": 2, "c": 1}}, {"q": {"a": 2, "b": 1, "c": 0}})
    assert {name: values.tolist() for name, values in found.items()} == {
        "ndcg@10": [1],
        "recall@10": [1],
        "mrr@10": [1],
    }


def test_a_relevant_document_at_rank_10_counts_and_one_at_rank_11_doesn_t() -> None:
    scores = {f"d{rank:02}": -float(rank) for rank in range(1, 13)}
    found = metrics.per_query({"a": scores, "b": scores}, {"a": {"d10": 1}, "b": {"d11": 1}})
    np.testing.assert_allclose(found["mrr@10"], [0.1, 0])
    np.testing.assert_allclose(found["recall@10"], [1, 0])
    np.testing.assert_allclose(found["ndcg@10"], [1 / math.log2(11), 0])


def test_documents_with_the_same_score_are_ordered_by_id_descending() -> None:
    assert metrics.per_query({"q": {"a": 0.5, "b": 0.5}}, {"q": {"a": 1}})["mrr@10"].tolist() == [0.5]
    assert metrics.per_query({"q": {"a": 0.5, "b": 0.5}}, {"q": {"b": 1}})["mrr@10"].tolist() == [1.0]


def test_values_come_in_the_order_of_the_judgements() -> None:
    run: Run = {"x": {"d": 1, "e": 0}, "a": {"d": 1, "e": 0}}
    assert metrics.per_query(run, {"x": {"e": 1}, "a": {"d": 1}})["mrr@10"].tolist() == [0.5, 1]
    assert metrics.per_query(run, {"a": {"d": 1}, "x": {"e": 1}})["mrr@10"].tolist() == [1, 0.5]


def test_retrieval_scores_are_means_over_the_queries() -> None:
    run: Run = {"x": {"d": 1, "e": 0}, "a": {"d": 1, "e": 0}}
    scores = metrics.retrieval_scores(run, {"x": {"e": 1}, "a": {"d": 1}}, n_resamples=50)
    assert scores["mrr@10"].value == 0.75


def test_a_single_query_leaves_its_interval_wide_open() -> None:
    scores = metrics.retrieval_scores({"q": {"a": 1, "b": 0}}, {"q": {"b": 1}})
    assert scores["mrr@10"] == Estimate(0.5, 0.0, 1.0)


# Intervals


def sample(n: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=n)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    assert metrics.estimate(metrics.mean, sample(50)) == metrics.estimate(metrics.mean, sample(50))
    assert metrics.estimate(metrics.mean, sample(50)) != metrics.estimate(metrics.mean, sample(50), seed=1)


@pytest.mark.parametrize("seed", range(5))
def test_an_interval_contains_its_value(seed: int) -> None:
    for score in (metrics.separation, metrics.roc_auc, metrics.average_precision):
        found = metrics.estimate(score, sample(60, seed) + 1, sample(40, seed + 100), n_resamples=300)
        assert found.low < found.value < found.high


def test_four_times_the_pairs_make_an_interval_half_as_wide() -> None:
    small, large = (metrics.estimate(metrics.roc_auc, sample(n) + 1, sample(n, 1)) for n in (60, 240))
    assert (small.high - small.low) / (large.high - large.low) == pytest.approx(2, rel=0.3)


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    values = sample(400)
    found = metrics.estimate(metrics.mean, values)
    half = 1.96 * values.std() / 20
    assert (found.value - found.low, found.high - found.value) == pytest.approx((half, half), rel=0.1)


def test_the_interval_holds_the_truth_about_95_times_of_100() -> None:
    intervals = [metrics.estimate(metrics.mean, sample(40, seed), n_resamples=200) for seed in range(200)]
    assert 0.88 <= np.mean([e.low <= 0 <= e.high for e in intervals]) <= 0.99


def test_the_interval_of_a_share_that_does_not_vary_has_no_width() -> None:
    assert metrics.estimate(metrics.mean, np.ones(20)) == Estimate(1, 1, 1)


def test_pairs_of_graded_data_are_resampled_together() -> None:
    values = sample(50)
    assert metrics.estimate(metrics.spearman, values, values, paired=True).low == pytest.approx(1)


def test_an_estimate_reads_as_value_and_interval() -> None:
    assert str(Estimate(0.61249, 0.5, 0.70051)) == "0.612 [0.500, 0.701]"


def test_the_interval_of_spearman_lies_around_it() -> None:
    x = np.arange(60) / 60
    found = metrics.pair_scores(x, x, graded=True)["spearman"]
    assert found.low == pytest.approx(1) and found.value == pytest.approx(1)
    noisy = x + np.random.default_rng(0).normal(0, 0.2, 60)
    found = metrics.pair_scores(noisy, x, graded=True)["spearman"]
    assert 0.4 < found.low <= found.value <= found.high < 1


def test_the_seed_reaches_the_intervals_of_pairs_and_of_retrieval() -> None:
    draw = np.random.default_rng(0)
    similarity, gold = draw.random(40), (draw.random(40) > 0.5).astype(np.float64)
    run = {f"q{i}": {f"d{j}": float(draw.random()) for j in range(5)} for i in range(20)}
    qrels = {query: {"d0": 1} for query in run}
    scores: tuple[Callable[[int], metrics.Estimate], ...] = (
        lambda seed: metrics.pair_scores(similarity, gold, graded=False, seed=seed)["separation"],
        lambda seed: metrics.retrieval_scores(run, qrels, seed=seed)["ndcg@10"],
    )
    for score in scores:
        assert score(0) == score(0) != score(1)
        assert score(0).value == score(1).value


def test_the_interval_is_of_percentiles_on_a_skewed_sample() -> None:
    sample = np.exp(np.random.default_rng(0).normal(0, 2.5, 30))
    found = metrics.estimate(metrics.mean, sample, n_resamples=2000)
    draws = np.random.default_rng(5).choice(sample, (20_000, 30)).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    assert [found.low, found.high] == pytest.approx([low, high], rel=0.08)
    assert 2 * found.value - high < low * 0.95  # where the "basic" interval would begin


def test_a_query_that_the_run_lacks_scores_0_and_an_unknown_one_is_an_error() -> None:
    qrels = {"q1": {"a": 1}, "q2": {"b": 1}, "q3": {}, "q4": {"a": 1}}
    found = metrics.per_query({"q1": {"a": 2.0, "b": 1.0}, "q4": {}}, qrels)
    assert all(values.tolist() == [1, 0, 0, 0] for values in found.values())
    assert metrics.per_query({}, {"q": {"a": 1}})["ndcg@10"].tolist() == [0]
    with pytest.raises(CourseError, match="query 'q9', which qrels don't judge"):
        metrics.per_query({"q9": {"a": 1.0}}, qrels)


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_names_its_document_and_query(score: float) -> None:
    with pytest.raises(CourseError, match="document 'b' for query 'q'"):
        metrics.per_query({"q": {"a": 1.0, "b": score}}, {"q": {"a": 1}})


def test_without_pytrec_eval_the_figures_are_the_same_ties_and_missing_queries_included(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("pytrec_eval")
    draw = np.random.default_rng(0)
    qrels = {
        f"q{i}": {f"d{j}": int(draw.integers(0, 4)) for j in draw.choice(30, int(draw.integers(1, 8)), replace=False)}
        for i in range(200)
    }
    run = {
        query: {
            f"d{j}": float(draw.integers(0, 6)) / 7 for j in draw.choice(30, int(draw.integers(1, 25)), replace=False)
        }
        for query in list(qrels)[:190]
    }
    for k in (1, 5, 10):
        theirs = metrics.per_query(run, qrels, k)
        with monkeypatch.context() as bare:
            bare.setattr(metrics, "pytrec_eval", None)
            ours = metrics.per_query(run, qrels, k)
        for name, values in theirs.items():
            np.testing.assert_allclose(ours[name], values, atol=1e-9, err_msg=name)
