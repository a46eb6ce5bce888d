"""Exercise 03: the lexical and the ColBERT score, their fusion, and what storing them costs."""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from helpers.checks.judges import ByReference, Entries, Number, Ranking
from helpers.checks.tasks import Case, Task

Floats = NDArray[Any]
Weights = Mapping[str, float]


# 03.1


def lexical_score(
    query: Weights,
    document: Weights,
    *,
    pair: Callable[[float, float], float] = operator.mul,
    over: Callable[[Sequence[float]], float] = sum,
) -> float:
    """Reference: the sum over shared tokens of the product of weights (Chen et al. 2024)."""
    return float(over([pair(weight, document[token]) for token, weight in query.items() if token in document]))


def _lexical_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for shared in (4, 9, 0):
        names = [str(i) for i in draw.permutation(30_000)[: 5 + shared + 12]]
        only_query, both, only_document = names[:5], names[5 : 5 + shared], names[5 + shared :]
        sides = (draw.permutation([*only_query, *both]), draw.permutation([*only_document, *both]))
        cases.append(tuple({str(token): float(draw.uniform(0.05, 1.4)) for token in side} for side in sides))
    return cases


LEXICAL = ByReference(
    lexical_score,
    Number("return one number for the pair", rtol=1e-3, atol=1e-6),  # float16 may round it
    "Multiply the two weights of each token that both have, and add the products.",
    traps={"the two texts share no token; such a pair scores 0": lambda q, d: not q.keys() & d.keys()},
    mistakes={
        "that counts the shared tokens; their weights are asked for": {"over": len},
        "that adds the two weights of a shared token; multiply them": {"pair": operator.add},
        "that takes the query's weights alone; multiply by the document's": {"pair": lambda q, d: q},
        "that takes the document's weights alone; multiply by the query's": {"pair": lambda q, d: d},
        "that is a mean over the shared tokens; take the sum": {"over": lambda products: np.mean(products or 0)},
        "that is a cosine; the sum of products isn't divided by lengths": lambda q, d: (
            lexical_score(q, d) / np.linalg.norm([*q.values()]) / np.linalg.norm([*d.values()])
        ),
        "that is the largest product alone; add all of them": {"over": lambda products: max(products, default=0)},
        "that multiplies all weights of one text with all of the other; only equal tokens meet": lambda q, d: (
            sum(q.values()) * sum(d.values())
        ),
        "that pairs the weights by their place in the dict; pair them by token": lambda q, d: sum(
            map(operator.mul, q.values(), d.values())
        ),
    },
)


# 03.2


def colbert_score(
    query_vectors: Floats, document_vectors: Floats, *, over: Callable[[Floats], Any] = lambda s: s.max(axis=1).mean()
) -> float:
    """Reference: the mean over query tokens of the largest similarity (Khattab and Zaharia 2020, as a mean)."""
    return float(over(query_vectors @ document_vectors.T))


def _colbert_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for query, document in ((5, 12), (9, 4), (7, 7)):
        sides = [draw.normal(size=(rows, 24)) + 0.3 for rows in (query, document)]
        cases.append(tuple((s / np.linalg.norm(s, axis=1, keepdims=True)).astype(np.float32) for s in sides))
    return cases


COLBERT = ByReference(
    colbert_score,
    Number("return one number: the mean over the query's tokens is still to be taken", atol=1e-3),  # float16
    "Of all document tokens take the most similar one for each query token; then the mean.",
    mistakes={
        "that goes from each document token to its best query token; begin with the query's": {
            "over": lambda s: s.max(axis=0).mean()
        },
        "that is the sum of the best similarities; divide by the number of query tokens": {
            "over": lambda s: s.max(axis=1).sum()
        },
        "that is a mean over all pairs of tokens; each query token keeps its best partner alone": {"over": np.mean},
        "that is the one best pair of tokens; every query token has a say": {"over": np.max},
        "that divides by the number of document tokens; the mean runs over the query's": {
            "over": lambda s: s.max(axis=1).sum() / s.shape[1]
        },
        "that compares two averaged vectors, which is dense retrieval; compare token by token": lambda q, d: (
            q.mean(axis=0) @ d.mean(axis=0) / np.linalg.norm(q.mean(axis=0)) / np.linalg.norm(d.mean(axis=0))
        ),
        "that takes the worst partner; take the most similar": {"over": lambda s: s.min(axis=1).mean()},
        "the first query token is left out; FlagEmbedding dropped [CLS] already": {
            "over": lambda s: s[1:].max(axis=1).mean()
        },
    },
)


# 03.3


def fuse(scores: Mapping[str, Floats], weights: Weights, **options: Any) -> list[int]:
    """Reference: document numbers by falling weighted sum of min-max scaled scores."""
    return _falling(fused(scores, weights, **options))


def fused(
    scores: Mapping[str, Floats],
    weights: Weights,
    *,
    scaled: Callable[[Floats], Floats] = lambda values: (values - values.min()) / np.ptp(values),
) -> Floats:
    """(n,): the weighted sum over the kinds of score, but those whose scores are all equal."""
    parts = [weights[kind] * scaled(values) for kind, values in scores.items() if np.ptp(values)]
    return np.asarray(np.sum(parts, axis=0))


def _falling(values: Floats) -> list[int]:
    return [int(i) for i in np.argsort(-values, kind="stable")]


def _fusion_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    while len(cases) < 3:
        n = (12, 30, 12)[len(cases)]
        dense = draw.uniform(-0.15, 0.75, n)
        scores = {
            "dense": dense,
            "lexical": draw.gamma(0.8, 2.0, n) + dense + 0.15,
            "colbert": 0.3 + 0.25 * dense + draw.uniform(0, 0.3, n),
        }
        if len(cases) == 2:
            scores["lexical"] = np.zeros(n)  # a query whose tokens no document has
        weights = dict(
            zip(scores, draw.permutation(draw.uniform((0.2, 0.5, 1.0), (0.4, 0.9, 1.5))).tolist(), strict=True)
        )
        clear = np.diff(np.sort(fused(scores, weights))).min() > 1e-4  # float32 must not decide
        if clear and fuse(scores, weights) != [*range(n)] and (len(cases) == 2 or FUSION.tells_apart(scores, weights)):
            cases.append((scores, weights))
    return cases


FUSION = ByReference(
    fuse,
    Ranking(),
    "Scale each kind by its own lowest and highest score, weigh, add, sort falling.",
    traps={
        "every lexical score is equal: 0 divided by 0 gives nan there. Let such a kind count as 0": lambda scores, _: (
            not np.ptp(scores["lexical"])
        )
    },
    mistakes={
        "the order is turned round; the best document comes first": lambda s, w: fuse(s, w)[::-1],
        "these are each document's rank; return the documents in the order of their ranks": lambda s, w: np.argsort(
            fuse(s, w)
        ),
        "that adds the scores unscaled, so the kind with the widest range decides; scale each to 0-1 first": {
            "scaled": lambda values: values
        },
        "the weights are left out; multiply each scaled kind by its own": lambda s, w: fuse(s, dict.fromkeys(s, 1.0)),
        "that divides by the highest score only; take the lowest away first, also from the highest": {
            "scaled": lambda values: values / values.max()
        },
        "that divides by the standard deviation; here the range from 0 to 1 is asked for": {"scaled": stats.zscore},
        "that adds up ranks; the distances between scores count too": {"scaled": stats.rankdata},
        "that ranks by a single kind; add all of them": lambda s, w: _falling(s["dense"]),
    },
)


# 03.4


def bytes_per_document(
    tokens: int,
    entries: int,
    dims: int,
    dtype: str,
    *,
    width: Callable[[str], int] = lambda dtype: np.dtype(dtype).itemsize,
    with_id: Callable[[int], int] = lambda width: width + 4,
    dropped: int = 1,
) -> dict[str, int]:
    """Reference: vectors times dimensions times bytes; ColBERT has no vector for the first token."""
    each = width(dtype)
    return {"dense": dims * each, "lexical": entries * with_id(each), "colbert": (tokens - dropped) * dims * each}


def _bytes_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for dtype in ("float32", "float16"):
        tokens = int(draw.integers(40, 500))
        cases.append((tokens, int(tokens * draw.uniform(0.4, 0.8)), int(draw.choice([384, 768, 1024])), dtype))
    return cases


BYTES = ByReference(
    bytes_per_document,
    Entries(Number("return one number an index", rtol=0, show=".0f")),
    "Count the numbers that are stored, then multiply by the bytes of each.",
    about=lambda tokens, entries, dims, dtype: f" for {tokens} tokens, {dims} dimensions and {dtype}",
    mistakes={
        "these are bits": {"width": lambda dtype: 8 * np.dtype(dtype).itemsize, "with_id": lambda width: width + 32},
        "a float16 takes 2 bytes, not 4": {"width": lambda dtype: 4},
        "FlagEmbedding drops the first token, so there is one vector fewer than tokens": {"dropped": 0},
        "both special tokens are left out, but FlagEmbedding drops only the first": {"dropped": 2},
        "the token ids are missing; each weight is stored with one": {"with_id": lambda width: width},
        "a token id keeps its 4 bytes whatever the dtype": {"with_id": lambda width: 2 * width},
        "each token's vector has all the dimensions": lambda t, e, d, k: (
            bytes_per_document(t, e, d, k) | {"colbert": bytes_per_document(t, e, 1, k)["colbert"]}
        ),
        "these are numbers, not bytes; a float32 takes 4": {"width": lambda dtype: 1, "with_id": lambda width: 1},
    },
)


TASKS = {
    task.id: task
    for task in (
        Task("03.1", _lexical_cases, LEXICAL),
        Task("03.2", _colbert_cases, COLBERT),
        Task("03.3", _fusion_cases, FUSION),
        Task("03.4", _bytes_cases, BYTES),
    )
}
