"""Exercise 16: a floor by hand, a fusion of ranks, and the share of a mixture, fitted where it isn't judged."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helpers.checks.judges import ByReference, Entries, Number, Vectors
from helpers.checks.tasks import Case, Task

Floats = NDArray[np.float64]
SHARES = [i / 10 for i in range(11)]


# 16.1


def bm25(
    query: list[str],
    documents: list[list[str]],
    k1: float = 1.2,
    b: float = 0.75,
    *,
    rarity: Callable[[int, int], float] = lambda n, found: float(np.log(1 + (n - found + 0.5) / (found + 0.5))),
    relative: Callable[[Floats], Floats] = lambda length: length / length.mean(),
    saturated: Callable[[Floats, Floats], Floats] = lambda tf, limit: tf / (tf + limit),
    asked: Callable[[list[str]], Sequence[str]] = list,
) -> Floats:
    """Reference: BM25 in Lucene's variant."""
    lengths = relative(np.array([len(words) for words in documents], dtype=float))
    scores = np.zeros(len(documents))
    for word in asked(query):
        tf = np.array([words.count(word) for words in documents], dtype=float)
        scores += rarity(len(documents), int((tf > 0).sum())) * saturated(tf, k1 * (1 - b + b * lengths))
    return scores


def _bm25_cases(seed: int) -> list[Case]:
    draw, words = np.random.default_rng(seed), [f"w{i}" for i in range(12)]
    often = 1 / np.arange(1, 13)
    cases: list[Case] = []
    for k1, b in ((1.2, 0.75), (1.6, 0.5), (0.9, 0.4)):
        documents = [
            [str(w) for w in draw.choice(words, n, p=often / often.sum())] for n in draw.permutation(range(4, 22, 2))
        ]
        query = [str(w) for w in draw.choice(words[1:], 3, replace=False)]
        cases.append(([*query, query[0], words[0]], documents, k1, b))
    return cases


def _with_factor(value: Floats, query: list[str], documents: list[list[str]], k1: float, b: float) -> Floats:
    """Scores without the factor k1 + 1 that some variants have: it is the same for all and changes no ranking."""
    plain = bm25(query, documents, k1, b)
    return value / (k1 + 1) if np.allclose(value, plain * (k1 + 1)) else value


FLOOR = ByReference(
    bm25,
    Vectors("one score a document", atol=1e-6),
    "A word adds idf * tf / (tf + k1 * (1 - b + b * length / mean length)).",
    mistakes={
        "IDF is forgotten: a rare word must count for more than a common one": {"rarity": lambda n, found: 1.0},
        "the IDF is that of other variants and can be below 0; take log(1 + (n - found + 0.5) / (found + 0.5))": {
            "rarity": lambda n, found: float(np.log((n - found + 0.5) / (found + 0.5)))
        },
        "the length of a document isn't used; b is for that": {"relative": np.ones_like},
        "lengths are compared with the longest document; compare them with the mean": {
            "relative": lambda length: length / length.max()
        },
        "occurrences add up without limit; k1 is for that": {"saturated": lambda tf, limit: tf},
        "it only counts whether a word occurs, not how often": {"saturated": lambda tf, limit: np.minimum(tf, 1)},
        "a word that the query has twice counts once": {"asked": lambda query: list(dict.fromkeys(query))},
    },
    judged=_with_factor,
)


# 16.2


def rrf(
    rankings: list[list[str]],
    weights: list[float],
    k: int,
    *,
    first: int = 1,
    lacking: Callable[[int], float] = lambda length: float("inf"),
    weigh: Callable[[list[float]], list[float]] = list,
    constant: Callable[[int], int] = lambda k: k,
    order: Callable[[list[str]], list[str]] = list,
) -> dict[str, float]:
    """Reference: weight / (k + rank), summed over the rankings that have the document."""
    scores: defaultdict[str, float] = defaultdict(float)
    everything = dict.fromkeys(d for ranking in rankings for d in ranking)
    for ranking, weight in zip(rankings, weigh(weights), strict=True):
        ranks = {d: rank for rank, d in enumerate(order(ranking), start=first)}
        for d in everything:
            scores[d] += weight / (constant(k) + ranks.get(d, lacking(len(ranking))))
    return dict(scores)


def _fused_cases(seed: int) -> list[Case]:
    draw, names = np.random.default_rng(seed), [f"d{i}" for i in range(9)]
    cases: list[Case] = []
    for k in (60, 10, 1):
        rankings = [[str(d) for d in draw.choice(names, n, replace=False)] for n in (5, 6, 4)]
        cases.append((rankings, [float(w) for w in draw.permutation([1.0, 0.4, 2.0])], k))
    return cases


def _overwritten(rankings: list[list[str]], weights: list[float], k: int) -> dict[str, float]:
    scores = dict.fromkeys((d for ranking in rankings for d in ranking), 0.0)
    for ranking, weight in zip(rankings, weights, strict=True):
        scores |= {d: weight / (k + rank) for rank, d in enumerate(ranking, start=1)}
    return scores


FUSION = ByReference(
    rrf,
    Entries(Number(rtol=0, atol=1e-9, show=".5f")),
    "Each ranking that has a document adds weight / (k + rank); the best rank is 1.",
    mistakes={
        "ranks are counted from 0; the best rank is 1": {"first": 0},
        "the weights aren't used": {"weigh": lambda weights: [1.0] * len(weights)},
        "a document that a ranking lacks gets a rank there all the same; it gets nothing": {
            "lacking": lambda length: length + 1
        },
        "k is always 60; take the one that is given": {"constant": lambda k: 60},
        "the last of a ranking gets most": {"order": lambda ranking: ranking[::-1]},
        "a later ranking overwrites an earlier one; add them up": _overwritten,
    },
)


# 16.3


def scaled(scores: Floats, axis: int | None = 1) -> Floats:
    """Scores from 0 for the worst to 1 for the best, of each query."""
    low, high = scores.min(axis=axis, keepdims=True), scores.max(axis=axis, keepdims=True)
    return np.asarray((scores - low) / np.maximum(high - low, 1e-12))


def fitted_share(
    dense: Floats,
    lexical: Floats,
    quality: Callable[[Floats], Floats],
    tuning: list[int],
    *,
    scale: Callable[[Floats], Floats] = scaled,
    judged_on: Callable[[int, list[int]], Any] = lambda n, tuning: tuning,
    of_dense: bool = False,
) -> float:
    """Reference: the share of BM25 in a mixture of scaled scores that is best on the tuning queries."""
    one, other, rows = scale(dense), scale(lexical), judged_on(len(dense), tuning)
    if of_dense:
        one, other = other, one
    values = [float(np.asarray(quality((1 - s) * one + s * other))[rows].mean()) for s in SHARES]
    return SHARES[int(np.argmax(np.round(values, 12)))]


class Quality:
    """(queries, documents) scores to one over the rank of the right document of each query."""

    def __init__(self, right: NDArray[np.int64]) -> None:
        self.right = right

    def __call__(self, scores: Any) -> Floats:
        """(queries,)."""
        values = np.asarray(scores, dtype=float)
        own = values[np.arange(len(values)), self.right][:, None]
        return np.asarray(1 / (1 + (values > own).sum(axis=1)))


def _share_cases(seed: int) -> list[Case]:
    """Drawn again until the mistakes and the right answer give different shares over the cases."""
    draw = np.random.default_rng(seed)
    while True:
        cases: list[Case] = []
        for noise in (0.06, 0.1, 0.16, 0.25):
            right = draw.integers(25, size=60)
            dense = 0.5 + draw.normal(0, noise, (60, 25)) + draw.normal(0, 0.2, (60, 1))
            lexical = np.maximum(draw.gamma(2, 2, (60, 25)) * draw.uniform(0.3, 3, (60, 1)), 0)
            dense[np.arange(60), right] += 0.13
            lexical[np.arange(60), right] *= np.where(np.arange(60) < 30, 2.6, 1.2)
            tuning = sorted(int(i) for i in draw.permutation(60)[:30])
            cases.append((dense, lexical, Quality(right), tuning))
        answers = (SHARE.reference, *map(SHARE.mistaken, SHARE.mistakes))
        given = {tuple(answer(*case) for case in cases) for answer in answers}
        if len(given) == len(answers):
            return cases


SHARE = ByReference(
    fitted_share,
    Number("return one share, 0 to 1", rtol=0, atol=1e-6, show=".1f"),
    "Scale both, mix at each share, and take the best mean over the tuning queries.",
    mistakes={
        "the scores were mixed as they are; scale each query's to the range 0 to 1 first": {"scale": np.asarray},
        "all scores were scaled together; a query's best should be 1": {"scale": lambda s: scaled(s, axis=None)},
        "it was fitted on all queries, those that shall judge it among them": {
            "judged_on": lambda n, tuning: list(range(n))
        },
        "it was fitted on the queries that shall judge it": {
            "judged_on": lambda n, tuning: sorted(set(range(n)) - set(tuning))
        },
        "that is the share of the dense scores; BM25's is asked for": {"of_dense": True},
        "equal weights are a guess; try each share on the tuning queries": lambda *case: 0.5,
    },
)


TASKS = {
    task.id: task
    for task in (
        Task("16.1", _bm25_cases, FLOOR),
        Task("16.2", _fused_cases, FUSION),
        Task("16.3", _share_cases, SHARE),
    )
}
