"""Exercise 17: recall against exact neighbours, a search by bits with rescoring, and a filter that leaves enough."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from helpers.checks.judges import ByReference, Listed, Number
from helpers.checks.tasks import Case, Task

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


# 17.1


def unit(vectors: Floats) -> Floats:
    """Each row of length 1."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def index_recall(
    found: Ints,
    queries: Floats,
    vectors: Floats,
    *,
    scores: Callable[[Floats, Floats], Floats] = lambda queries, vectors: unit(queries) @ unit(vectors).T,
    share: Callable[[set[int], set[int]], float] = lambda got, true: len(got & true) / len(true),
    best: int = 0,
) -> float:
    """Reference: the mean share of the k nearest by cosine that an index found."""
    k = found.shape[1]
    order = np.argsort(-scores(queries, vectors), axis=1)[:, : best or k]
    return float(np.mean([share({*row.tolist()}, {*true.tolist()}) for row, true in zip(found, order, strict=True)]))


def _recall_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for k, kept in ((5, 0.7), (8, 0.5), (3, 0.8)):
        vectors = draw.normal(size=(60, 6)) * draw.gamma(2, 1, (60, 1)) + 0.4
        queries = draw.normal(size=(9, 6)) + 0.4
        true = np.argsort(-(unit(queries) @ unit(vectors).T), axis=1)
        found = np.array(
            [
                [int(i) if draw.random() < kept else int(true[q, 59 - n]) for n, i in enumerate(true[q, :k])]
                for q in range(9)
            ]
        )
        cases.append((draw.permuted(found, axis=1), queries, vectors))
    return cases


def _by_position(found: Ints, queries: Floats, vectors: Floats) -> float:
    order = np.argsort(-(unit(queries) @ unit(vectors).T), axis=1)[:, : found.shape[1]]
    return float((order == found).mean())


RECALL = ByReference(
    index_recall,
    Number("return one share, 0 to 1", rtol=0, atol=1e-6),
    "Find the k nearest of each query by cosine yourself, and count how many of them the index found.",
    mistakes={
        "vectors of other lengths than 1 need a cosine; a dot product favours the long ones": {
            "scores": lambda queries, vectors: queries @ vectors.T
        },
        "that is Euclidean distance, and the index was asked for cosines": {
            "scores": lambda queries, vectors: -((queries[:, None] - vectors[None]) ** 2).sum(axis=2)
        },
        "it counts only neighbours at the same rank; recall doesn't mind the order": _by_position,
        "it asks only whether the nearest was found; all k count": {"best": 1},
        "a query counts only if all its neighbours were found; take the share": {
            "share": lambda got, true: float(true <= got)
        },
        "a query counts if any of its neighbours was found; take the share": {
            "share": lambda got, true: float(bool(true & got))
        },
    },
)


# 17.2


def search_bits(
    query: Floats,
    vectors: Floats,
    k: int,
    pool: int,
    *,
    middle: Callable[[Floats], Floats] = lambda vectors: vectors.mean(axis=0),
    of_query: bool = True,
    rescored: bool = True,
    nearest: int = 1,
    kept: Callable[[int, int], int] = lambda k, pool: pool,
) -> list[int]:
    """Reference: the `pool` nearest by bits that differ, the k best of them by the full vectors."""
    centre = middle(vectors)
    bits = (vectors - centre > 0) != (query - (centre if of_query else 0) > 0)
    best = np.argsort(nearest * bits.sum(axis=1), kind="stable")[: kept(k, pool)]
    if rescored:
        best = best[np.argsort(-(vectors[best] @ query), kind="stable")]
    return [int(i) for i in best[:k]]


def _bits_cases(seed: int) -> list[Case]:
    """Drawn again until each mistake shows in some case."""
    draw = np.random.default_rng(seed)
    while True:
        cases: list[Case] = []
        for k, pool in ((4, 14), (5, 20), (3, 12)):
            vectors = unit(draw.normal(size=(80, 16)) + draw.normal(0, 0.7, 16))
            query = unit(vectors[int(draw.integers(80))][None] + draw.normal(0, 0.15, (1, 16)))[0]
            cases.append((query, vectors, k, pool))
        answers = (BITS.reference, *map(BITS.mistaken, BITS.mistakes))
        given = {tuple(map(tuple, (answer(*case) for case in cases))) for answer in answers}
        if len(given) == len(answers):
            return cases


BITS = ByReference(
    search_bits,
    Listed("whole numbers, positions in `vectors`"),
    "Signs of centred vectors, the pool with the fewest that differ, then the full dot product inside the pool.",
    mistakes={
        "the vectors weren't centred, so a sign says less": {"middle": lambda vectors: np.zeros(vectors.shape[1])},
        "the query wasn't centred as the vectors were": {"of_query": False},
        "the pool wasn't rescored with the full vectors": {"rescored": False},
        "the pool holds the farthest": {"nearest": -1},
        "only k were taken by bits, so there was nothing to choose from; take `pool`": {"kept": lambda k, pool: k},
        "that is exact search over everything; look at the pool only": lambda q, v, k, pool: [
            int(i) for i in np.argsort(-(v @ q), kind="stable")[:k]
        ],
    },
)


# 17.3


def filtered(
    search: Callable[[int], list[int]],
    allowed: set[int],
    k: int,
    n: int,
    *,
    wider: Callable[[int, int], int] = lambda fetch, n: min(2 * fetch, n),
    once: bool = False,
    cut: bool = True,
    order: Callable[[list[int]], list[int]] = list,
) -> list[int]:
    """Reference: search for more until k are allowed, or everything has been looked at."""
    fetch = min(k, n)
    while True:
        kept = [i for i in search(fetch) if i in allowed]
        if once or len(kept) >= k or fetch >= n:
            return order(kept)[:k] if cut else kept
        fetch = wider(fetch, n)


class Nearest:
    """An index's door: the numbers of the `count` nearest, best first."""

    def __init__(self, order: list[int]) -> None:
        self.order = order

    def __call__(self, count: int) -> list[int]:
        """(count,) numbers."""
        return self.order[:count]


def _filter_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for n, k, share in ((200, 5, 0.04), (90, 4, 0.03), (120, 6, 0.3), (60, 8, 0.08)):
        order = [int(i) for i in draw.permutation(n)]
        number = max(2, int(share * n))
        early = [0] if n > 100 else []  # a first search that finds some, and one that finds none
        places = [*early, *sorted(int(i) for i in draw.choice(np.arange(12, n), number, replace=False))]
        cases.append((Nearest(order), {order[p] for p in places}, k, n))
    return cases


FILTER = ByReference(
    filtered,
    Listed("whole numbers, as `search` gives them"),
    "Keep what is allowed, and search for more while that is fewer than k.",
    mistakes={
        "it stops when a search finds nothing allowed; the next may": lambda s, a, k, n: (
            [i for i in s(k) if i in a] and filtered(s, a, k, n)
        ),
        "only the k nearest were looked at, and the filter left fewer than k": {"once": True},
        "ten times k isn't always enough; go on until k are left, or all have been looked at": lambda s, a, k, n: [
            i for i in s(min(10 * k, n)) if i in a
        ][:k],
        "there are more than k; return the k nearest": {"cut": False},
        "they aren't in the order of the search any more": {"order": sorted},
    },
)


TASKS = {
    task.id: task
    for task in (
        Task("17.1", _recall_cases, RECALL),
        Task("17.2", _bits_cases, BITS),
        Task("17.3", _filter_cases, FILTER),
    )
}
