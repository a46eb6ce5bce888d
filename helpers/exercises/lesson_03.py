"""Exercise 03: the lexical and the ColBERT score, their fusion, and what storing them costs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helpers.checks import Task

Case = tuple[Any, ...]
Floats = NDArray[Any]
KINDS = ("dense", "lexical", "colbert")


def lexical_score(query: Mapping[str, float], document: Mapping[str, float]) -> float:
    """Reference: the sum over shared tokens of the product of weights (Chen et al. 2024)."""
    return float(sum(weight * document[token] for token, weight in query.items() if token in document))


def _lexical_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for shared in (4, 9, 0):
        names = [str(i) for i in draw.permutation(30_000)[: 5 + shared + 12]]
        only_query, both, only_document = names[:5], names[5 : 5 + shared], names[5 + shared :]
        sides = (draw.permutation([*only_query, *both]), draw.permutation([*only_document, *both]))
        cases.append(tuple({str(token): float(draw.uniform(0.05, 1.4)) for token in side} for side in sides))
    return cases


def _judge_lexical(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    for (query, document), value in zip(cases, values, strict=True):
        right, got = lexical_score(query, document), np.asarray(value, dtype=float)
        if got.shape != ():
            return f"the shape is {got.shape}; return one number for the pair."
        if np.isclose(got, right, rtol=1e-3, atol=1e-6):  # float16 may round it
            continue
        told = f"{got:.3f} instead of {right:.3f}"
        shared = query.keys() & document.keys()
        if not shared:
            return f"{told} for two texts that share no token: such a pair scores 0."
        lengths = [float(np.linalg.norm(list(side.values()))) for side in (query, document)]
        known = {
            "that counts the shared tokens; their weights are asked for": len(shared),
            "that adds the two weights of a shared token; multiply them": sum(query[t] + document[t] for t in shared),
            "that takes the query's weights alone; multiply by the document's": sum(query[t] for t in shared),
            "that takes the document's weights alone; multiply by the query's": sum(document[t] for t in shared),
            "that is a mean over the shared tokens; take the sum": right / len(shared),
            "that is a cosine; the sum of products isn't divided by lengths": right / (lengths[0] * lengths[1]),
            "that is the largest product alone; add all of them": max(query[t] * document[t] for t in shared),
            "that multiplies all weights of one text with all of the other; only equal tokens meet": (
                sum(query.values()) * sum(document.values())
            ),
            "that pairs the weights by their place in the dict; pair them by token": sum(
                a * b for a, b in zip(query.values(), document.values(), strict=False)
            ),
        }
        for sentence, wrong in known.items():
            if np.isclose(got, wrong, rtol=1e-4, atol=1e-6):
                return f"{sentence}: {told}."
        return f"{told}. Multiply the two weights of each token that both have, and add the products."
    return None


def colbert_score(query_vectors: Floats, document_vectors: Floats) -> float:
    """Reference: the mean over query tokens of the largest similarity (Khattab and Zaharia 2020, as a mean)."""
    return float((query_vectors @ document_vectors.T).max(axis=1).mean())


def _colbert_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for query, document in ((5, 12), (9, 4), (7, 7)):
        sides = [draw.normal(size=(rows, 24)) + 0.3 for rows in (query, document)]
        cases.append(tuple((s / np.linalg.norm(s, axis=1, keepdims=True)).astype(np.float32) for s in sides))
    return cases


def _judge_colbert(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    for (query, document), value in zip(cases, values, strict=True):
        right, got = colbert_score(query, document), np.asarray(value, dtype=float)
        if got.shape != ():
            return (
                f"the shape is {got.shape}; return one number: the mean over the query's tokens is still to be taken."
            )
        if np.isclose(got, right, atol=1e-3):  # float16 may round it
            continue
        told = f"{got:.3f} instead of {right:.3f}"
        similarity = query @ document.T
        best = similarity.max(axis=1)
        means = query.mean(axis=0), document.mean(axis=0)
        known = {
            "that goes from each document token to its best query token; begin with the query's": (
                similarity.max(axis=0).mean()
            ),
            "that is the sum of the best similarities; divide by the number of query tokens": best.sum(),
            "that is a mean over all pairs of tokens; each query token keeps its best partner alone": similarity.mean(),
            "that is the one best pair of tokens; every query token has a say": similarity.max(),
            "that divides by the number of document tokens; the mean runs over the query's": best.sum() / len(document),
            "that compares two averaged vectors, which is dense retrieval; compare token by token": (
                means[0] @ means[1] / (np.linalg.norm(means[0]) * np.linalg.norm(means[1]))
            ),
            "that takes the worst partner; take the most similar": similarity.min(axis=1).mean(),
            "the first query token is left out; FlagEmbedding dropped [CLS] already": best[1:].mean(),
        }
        for sentence, wrong in known.items():
            if np.isclose(got, wrong, atol=1e-5):
                return f"{sentence}: {told}."
        return f"{told}. Of all document tokens take the most similar one for each query token; then the mean."
    return None


def fuse(scores: Mapping[str, Floats], weights: Mapping[str, float]) -> list[int]:
    """Reference: document numbers by falling weighted sum of min-max scaled scores."""
    return _falling(_fused(scores, weights))


def _fused(scores: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    total = np.zeros(len(next(iter(scores.values()))))
    for kind, values in scores.items():
        low, high = values.min(), values.max()
        if high > low:
            total += weights[kind] * (values - low) / (high - low)
    return total


def _falling(values: Floats) -> list[int]:
    return [int(i) for i in np.argsort(-values, kind="stable")]


def _other_orders(scores: Mapping[str, Floats], weights: Mapping[str, float]) -> dict[str, list[int]]:
    """The orders that usual mistakes give, by the sentence for each."""
    spread = {kind: values for kind, values in scores.items() if values.max() > values.min()}

    def total(scaled: Mapping[str, Floats]) -> list[int]:
        return _falling(np.sum([weights[kind] * values for kind, values in scaled.items()], axis=0))

    return {
        "the order is turned round; the best document comes first": fuse(scores, weights)[::-1],
        "these are each document's rank; return the documents in the order of their ranks": [
            int(i) for i in np.argsort(fuse(scores, weights))
        ],
        "that adds the scores unscaled, so the kind with the widest range decides; scale each to 0-1 first": total(
            scores
        ),
        "the weights are left out; multiply each scaled kind by its own": _falling(
            _fused(scores, dict.fromkeys(scores, 1.0))
        ),
        "that divides by the highest score only; take the lowest away first, also from the highest": total(
            {kind: values / values.max() for kind, values in spread.items()}
        ),
        "that divides by the standard deviation; here the range from 0 to 1 is asked for": total(
            {kind: (values - values.mean()) / values.std() for kind, values in spread.items()}
        ),
        "that adds up ranks; the distances between scores count too": total(
            {kind: values.argsort().argsort().astype(float) for kind, values in spread.items()}
        ),
        "that ranks by a single kind; add all of them": _falling(scores["dense"]),
    }


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
            zip(KINDS, draw.permutation(draw.uniform((0.2, 0.5, 1.0), (0.4, 0.9, 1.5))).tolist(), strict=True)
        )
        others = _other_orders(scores, weights)
        orders = [fuse(scores, weights), *others.values()]
        clear = np.diff(np.sort(_fused(scores, weights))).min() > 1e-4  # float32 must not decide
        varied = len({tuple(order) for order in orders}) == len(orders) and list(range(n)) not in orders
        if clear and (varied or len(cases) == 2) and (orders[0] != list(range(n))):
            cases.append((scores, weights))
    return cases


def _judge_fusion(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    for (scores, weights), value in zip(cases, values, strict=True):
        right, got = fuse(scores, weights), np.asarray(value)
        n = len(right)
        if got.shape != (n,):
            return f"the shape is {got.shape}, and it should be ({n},): every document's number, best first."
        if not np.array_equal(np.sort(got), np.arange(n)):
            return f"these aren't the numbers 0 to {n - 1}, each once: return positions (argsort), not scores."
        if got.tolist() == right:
            continue
        first = f"document {got[0]:.0f} is first, and {right[0]} should be"
        if got[0] == right[0]:
            place = next(i for i in range(n) if got[i] != right[i])
            first = f"document {got[place]:.0f} is at rank {place + 1}, and {right[place]} should be"
        for sentence, wrong in _other_orders(scores, weights).items():
            if got.tolist() == wrong:
                return f"{sentence}: {first}."
        if not np.ptp(scores["lexical"]):
            return (
                f"{first}, in a case where every lexical score is equal: 0 divided by 0 gives nan there. "
                "Let such a kind count as 0."
            )
        return f"{first}. Scale each kind by its own lowest and highest score, weigh, add, sort falling."
    return None


def bytes_per_document(tokens: int, entries: int, dims: int, dtype: str) -> dict[str, int]:
    """Reference: vectors times dimensions times bytes; ColBERT has no vector for the first token."""
    width = np.dtype(dtype).itemsize
    return {"dense": dims * width, "lexical": entries * (4 + width), "colbert": (tokens - 1) * dims * width}


def _bytes_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for dtype in ("float32", "float16"):
        tokens = int(draw.integers(40, 500))
        cases.append((tokens, int(tokens * draw.uniform(0.4, 0.8)), int(draw.choice([384, 768, 1024])), dtype))
    return cases


def _judge_bytes(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    for (tokens, entries, dims, dtype), value in zip(cases, values, strict=True):
        if not isinstance(value, Mapping) or set(value) != set(KINDS):
            return f"return a dict with the keys dense, lexical and colbert; this is {str(value)[:60]}."
        right = bytes_per_document(tokens, entries, dims, dtype)
        got = {kind: float(value[kind]) for kind in KINDS}
        wrong_kinds = [kind for kind in KINDS if got[kind] != right[kind]]
        if not wrong_kinds:
            continue
        kind = wrong_kinds[0]
        told = f"{kind} is {got[kind]:.0f} instead of {right[kind]} for {tokens} tokens, {dims} dimensions and {dtype}"
        width = np.dtype(dtype).itemsize
        known = {
            "these are bits": {k: 8 * v for k, v in right.items()},
            "a float16 takes 2 bytes, not 4": bytes_per_document(tokens, entries, dims, "float32"),
            "FlagEmbedding drops the first token, so there is one vector fewer than tokens": right
            | {"colbert": tokens * dims * width},
            "both special tokens are left out, but FlagEmbedding drops only the first": right
            | {"colbert": (tokens - 2) * dims * width},
            "the token ids are missing: each weight is stored with one": right | {"lexical": entries * width},
            "a token id keeps its 4 bytes whatever the dtype": right | {"lexical": entries * 2 * width},
            "each token's vector has all the dimensions": right | {"colbert": (tokens - 1) * width},
            "these are numbers, not bytes: a float32 takes 4": {
                "dense": dims,
                "lexical": entries,
                "colbert": (tokens - 1) * dims,
            },
        }
        for sentence, wrong in known.items():
            if got == {k: float(v) for k, v in wrong.items()}:
                return f"{sentence}: {told}."
        return f"{told}. Count the numbers that are stored, then multiply by the bytes of each."
    return None


TASKS = {
    task.id: task
    for task in (
        Task("03.1", _lexical_cases, _judge_lexical),
        Task("03.2", _colbert_cases, _judge_colbert),
        Task("03.3", _fusion_cases, _judge_fusion),
        Task("03.4", _bytes_cases, _judge_bytes),
    )
}
