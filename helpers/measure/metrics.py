"""How good are the similarities? Each score comes with a bootstrap interval.

For labelled pairs every score is a function of two samples, the similarities of the similar pairs
and those of the dissimilar ones; for graded pairs of similarity and gold score; for retrieval of
one value a query. All are vectorised over leading axes, so a thousand resamples are one call.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from helpers.errors import CourseError

try:
    import pytrec_eval
except ImportError:  # it has no wheel for Linux and Windows on ARM
    pytrec_eval = None  # type: ignore[assignment]

Floats = NDArray[np.float64]
RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A score and the ends of its bootstrap interval (95% unless asked otherwise)."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def estimate(
    statistic: Callable[..., Any],
    *samples: Floats,
    paired: bool = False,
    seed: int = 0,
    n_resamples: int = RESAMPLES,
) -> Estimate:
    """A statistic and its percentile bootstrap interval (Efron and Tibshirani 1993, chapter 13).

    Args:
        statistic: takes the samples and `axis`, reduces that axis.
        samples: arrays of shape (n,); unpaired samples are resampled each on its own, so that the
            share of similar pairs stays as it is.
        paired: resample the same rows of every sample.
        seed: of the resampling.
        n_resamples: how many resamples.
    """
    value = float(statistic(*samples, axis=-1))
    largest = max(len(sample) for sample in samples)
    result = stats.bootstrap(
        samples,
        statistic,
        paired=paired,
        vectorized=True,
        n_resamples=n_resamples,
        batch=max(1, 4_000_000 // largest),
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    interval = result.confidence_interval
    return Estimate(value, float(interval.low), float(interval.high))


def ratio(logs: ArrayLike) -> Estimate:
    """A ratio from one log ratio a round: their mean, with the interval of Student's t.

    A bootstrap of so few values would be too narrow.

    Args:
        logs: (rounds,), such as the logs of the reference's seconds over the model's own.
    """
    values = np.asarray(logs, dtype=float)
    middle = float(np.mean(values))
    if len(values) < 2:
        return Estimate(math.exp(middle), 0.0, math.inf)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))
    return Estimate(*(math.exp(v) for v in (middle, middle - reach, middle + reach)))


def separation(similar: Floats, dissimilar: Floats, axis: int = -1) -> Floats:
    """mean(similar) - mean(dissimilar), in units of cosine.

    Easy to read, but no fair comparison between models: one trained at a low temperature keeps all
    its cosines close together and shows a small gap even when it ranks every pair rightly.
    """
    return np.asarray(similar.mean(axis=axis) - dissimilar.mean(axis=axis))


def roc_auc(similar: Floats, dissimilar: Floats, axis: int = -1) -> Floats:
    """The share of (similar, dissimilar) pairs of pairs in the right order; a tie counts a half.

    It is the Mann-Whitney U statistic over n1 * n2 (Hanley and McNeil 1982), from 0 to 1.
    """
    n1, n2 = similar.shape[axis], dissimilar.shape[axis]
    ranks = stats.rankdata(np.concatenate([similar, dissimilar], axis=axis), axis=axis)
    of_similar = np.take(ranks, range(n1), axis=axis).sum(axis=axis)
    return np.asarray((of_similar - n1 * (n1 + 1) / 2) / (n1 * n2))


def average_precision(similar: Floats, dissimilar: Floats, axis: int = -1) -> Floats:
    """The mean precision over the ranks of the similar pairs, from 0 to 1.

    Tied similarities share one threshold, as in scikit-learn's `average_precision_score`.
    """
    scores = np.moveaxis(np.concatenate([similar, dissimilar], axis=axis), axis, -1)
    n1, n = similar.shape[axis], scores.shape[-1]
    order = np.argsort(-scores, axis=-1, kind="stable")
    ordered = np.take_along_axis(scores, order, axis=-1)
    hit = order < n1
    precision = np.cumsum(hit, axis=-1) / np.arange(1, n + 1)
    ends = np.concatenate([ordered[..., 1:] != ordered[..., :-1], np.ones_like(hit[..., :1])], axis=-1)
    end_of_tie = np.where(ends, np.arange(n), n - 1)[..., ::-1]
    end_of_tie = np.minimum.accumulate(end_of_tie, axis=-1)[..., ::-1]
    shared = np.take_along_axis(precision, end_of_tie, axis=-1)
    return np.asarray((shared * hit).sum(axis=-1) / n1)


def spearman(similarity: Floats, gold: Floats, axis: int = -1) -> Floats:
    """Spearman's rank correlation, ties at their mean rank, from -1 to 1; 0 where one side is constant."""
    ranks = [stats.rankdata(side, axis=axis) for side in (similarity, gold)]
    x, y = (rank - rank.mean(axis=axis, keepdims=True) for rank in ranks)
    scale = np.sqrt((x**2).sum(axis=axis) * (y**2).sum(axis=axis))
    return np.asarray((x * y).sum(axis=axis) / np.where(scale > 0, scale, np.inf))


def mean(values: Floats, axis: int = -1) -> Floats:
    """The mean over queries."""
    return np.asarray(values.mean(axis=axis))


def mean_interval(values: Floats) -> tuple[float, float]:
    """The 95% interval of a mean by Student's t; for two values or more."""
    error = float(values.std(ddof=1)) / np.sqrt(len(values))
    reach = error * float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return float(values.mean()) - reach, float(values.mean()) + reach


def auc_interval(similar: Floats, dissimilar: Floats) -> tuple[float, float]:
    """The 95% interval of ROC-AUC: the variance of DeLong et al. (1988), symmetric on the logit's scale.

    Where no pair is in the wrong order the variance says nothing; there the lower end is that of one wrong pair of the
    rarer sort in all (as if half a pair were misplaced).
    """
    n1, n0 = len(similar), len(dissimilar)
    value = float(roc_auc(similar, dissimilar))
    every = stats.rankdata(np.concatenate([similar, dissimilar]))
    placed1 = (every[:n1] - stats.rankdata(similar)) / n0
    placed0 = 1 - (every[n1:] - stats.rankdata(dissimilar)) / n1
    variance = placed1.var(ddof=1) / n1 + placed0.var(ddof=1) / n0
    least = 1 / (2 * min(n1, n0))
    inside = min(max(value, least), 1 - least)
    error = max(float(np.sqrt(variance)), least / 2) / (inside * (1 - inside))
    centre, reach = float(np.log(inside / (1 - inside))), float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * error
    low, high = (1 / (1 + np.exp(-(centre + sign * reach))) for sign in (-1, 1))
    return min(float(low), value), max(float(high), value)


def spearman_interval(value: float, n: int) -> tuple[float, float]:
    """The 95% interval of Spearman's correlation by Fisher's z, with the error of Bonett and Wright (2000)."""
    if n < 4 or abs(value) >= 1:
        return (-1.0, 1.0) if n < 4 else (value, value)
    reach = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * np.sqrt((1 + value**2 / 2) / (n - 3))
    return float(np.tanh(np.arctanh(value) - reach)), float(np.tanh(np.arctanh(value) + reach))


def pair_scores(
    similarity: Floats,
    gold: Floats,
    *,
    graded: bool,
    seed: int = 0,
    n_resamples: int = RESAMPLES,
) -> dict[str, Estimate]:
    """Every score of one model on pairs, each with its interval.

    Args:
        similarity: (n,) cosine similarity of each pair.
        gold: (n,) labels 0 and 1, or graded scores.
        graded: which of the two.

    Raises:
        CourseError: a similarity isn't a finite number.
    """
    similarity = _finite(similarity)
    if graded:
        value = float(spearman(similarity, gold))
        return {"spearman": Estimate(value, *spearman_interval(value, len(gold)))}
    samples = similarity[gold == 1], similarity[gold == 0]
    found = {
        score.__name__: estimate(score, *samples, seed=seed, n_resamples=n_resamples)
        for score in (separation, roc_auc, average_precision)
    }
    return found | {"roc_auc": Estimate(found["roc_auc"].value, *auc_interval(*samples))}


def trec_eval(scores: Mapping[str, float], judged: Mapping[str, int], k: int) -> dict[str, float]:
    """nDCG@k, recall@k and reciprocal rank of one query as trec_eval computes them (gain: the relevance itself).

    Args:
        scores: document id -> score.
        judged: document id -> relevance; below 1 isn't relevant.
        k: the cut of nDCG and recall.

    Returns:
        `ndcg_cut_k`, `recall_k` and `recip_rank`; each 0 where nothing is relevant.
    """
    ranked = sorted(scores, key=lambda document: (np.float32(scores[document]), document), reverse=True)
    gains = np.array([max(judged.get(document, 0), 0) for document in ranked], dtype=np.float64)
    best = np.sort([max(relevance, 0) for relevance in judged.values()])[::-1].astype(np.float64)
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = float(best[:k] @ discount[: len(best[:k])])
    first = np.flatnonzero(gains > 0)
    return {
        f"ndcg_cut_{k}": float(gains[:k] @ discount[: len(gains[:k])]) / ideal if ideal else 0.0,
        f"recall_{k}": float((gains[:k] > 0).sum()) / max(1, int((best > 0).sum())),
        "recip_rank": 1 / (1 + int(first[0])) if len(first) else 0.0,
    }


def per_query(
    run: Mapping[str, Mapping[str, float]], qrels: Mapping[str, Mapping[str, int]], k: int = 10
) -> dict[str, Floats]:
    """nDCG@k, recall@k and MRR@k of each query, by trec_eval (through pytrec_eval, or `trec_eval` where it is missing).

    Documents with the same score are ordered by id, descending, which is trec_eval's rule. MRR@k is
    the reciprocal rank of the first relevant document, 0 if that lies below rank k. A query that the run lacks, or
    that has no relevant document, scores 0, as `trec_eval -c` has it.

    Args:
        run: query id -> document id -> score, at least the k best documents of each query.
        qrels: query id -> document id -> relevance.

    Returns:
        For each of `ndcg@k`, `recall@k`, `mrr@k` an array of shape (queries,), in the order of qrels.

    Raises:
        CourseError: the run has a query that isn't judged, or a score that isn't finite.
    """
    if unknown := [query for query in run if query not in qrels]:
        raise CourseError(f"The run has the query {unknown[0]!r}, which qrels don't judge; leave it out, or judge it.")
    for query, scores in run.items():
        for document, score in scores.items():
            if not np.isfinite(score):
                raise CourseError(
                    f"The score of document {document!r} for query {query!r} is {score}; it must be a finite number."
                )
    both = [query for query in qrels if run.get(query) and qrels[query]]
    judged = {query: dict(qrels[query]) for query in both}
    scored = {query: {document: float(score) for document, score in run[query].items()} for query in both}
    if pytrec_eval is None:
        found = {query: trec_eval(scored[query], judged[query], k) for query in both}
    else:
        measures = {f"ndcg_cut.{k}", f"recall.{k}", "recip_rank"}
        found = pytrec_eval.RelevanceEvaluator(judged, measures).evaluate(scored)

    def values(measure: str) -> Floats:
        return np.array([found[query][measure] if query in found else 0.0 for query in qrels])

    reciprocal = values("recip_rank")
    return {
        f"ndcg@{k}": values(f"ndcg_cut_{k}"),
        f"recall@{k}": values(f"recall_{k}"),
        f"mrr@{k}": np.where(reciprocal * k >= 1 - 1e-6, reciprocal, 0.0),
    }


def retrieval_scores(
    run: Mapping[str, Mapping[str, float]],
    qrels: Mapping[str, Mapping[str, int]],
    *,
    k: int = 10,
    seed: int = 0,
    n_resamples: int = RESAMPLES,
) -> dict[str, Estimate]:
    """The mean of `per_query` over the queries, each with its interval (queries are resampled)."""
    return {
        name: estimate(mean, values, seed=seed, n_resamples=n_resamples)
        if len(values) > 1
        else Estimate(float(values[0]), 0.0, 1.0)
        for name, values in per_query(run, qrels, k).items()
    }


def _finite(similarity: Floats) -> Floats:
    similarity = np.asarray(similarity, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(similarity))
    if len(bad):
        raise CourseError(
            f"{len(bad)} of {len(similarity)} similarities aren't finite numbers (the first is pair "
            f"{bad[0] + 1}); the model returned NaN or infinity."
        )
    return similarity
