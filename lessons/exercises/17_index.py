# %% [markdown]
# # Exercise 17 · {{exercise_title}}
#
# Difficulty {{exercise_difficulty}} of 5 · importance {{exercise_importance}} of 5 · {{exercise_minutes}} minutes ·
# {{exercise_points}} points
#
# Three functions of an index that you would trust: how much it misses, how it searches in a thirty-second of the
# memory, and what a filter leaves of it.

# %%
from collections.abc import Callable

import numpy as np

from helpers.checks import check, hint

# %% [markdown]
# ## {{17.1}}
#
# An index was asked for the `k` nearest by **cosine** and gave some. How many of the true ones are among them? The
# vectors come from a model that doesn't normalise.


# %%
def index_recall(found: np.ndarray, queries: np.ndarray, vectors: np.ndarray) -> float:
    """The mean share of the k true neighbours that an index found.

    Args:
        found: (q, k) row numbers in `vectors`, in any order.
        queries: (q, d), of any length but 0.
        vectors: (n, d), of any length but 0.

    Returns:
        Recall@k, 0 to 1.

    >>> vectors = np.array([[1.0, 0.0], [9.0, 9.0], [0.0, 1.0]])
    >>> index_recall(np.array([[0, 2]]), np.array([[1.0, 0.1]]), vectors)
    0.5
    """
    ### BEGIN SOLUTION
    queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    k = found.shape[1]
    true = np.argsort(-(queries @ vectors.T), axis=1)[:, :k]
    return float(np.mean([len({*one} & {*other}) / k for one, other in zip(found, true, strict=True)]))
    ### END SOLUTION


# %%
check("17.1", index_recall)

# %%
# hint("17.1", 1)  # take the first # away for a nudge; hint("17.1", 2) says more

# %% [markdown]
# ## {{17.2}}
#
# One bit a number: whether it lies above the mean of that number over all vectors. The nearest by bits are those of
# which the fewest bits differ; of equally many, the one with the lower number. The pool is then put in order by the
# full dot product.


# %%
def search_bits(query: np.ndarray, vectors: np.ndarray, k: int, pool: int) -> list[int]:
    """The k nearest vectors by bits with rescoring.

    Args:
        query: (d,), a unit vector.
        vectors: (n, d), unit vectors.
        k: how many are wanted.
        pool: how many are taken by bits and rescored, k or more.

    Returns:
        Row numbers, best first.

    >>> vectors = np.array([[0.6, 0.8], [0.8, 0.6], [-1.0, 0.0], [0.0, -1.0]])
    >>> search_bits(np.array([0.8, 0.6]), vectors, k=1, pool=2)
    [1]
    """
    ### BEGIN SOLUTION
    centre = vectors.mean(axis=0)
    apart = ((vectors > centre) != (query > centre)).sum(axis=1)
    best = np.argsort(apart, kind="stable")[:pool]
    return best[np.argsort(-(vectors[best] @ query), kind="stable")][:k].tolist()
    ### END SOLUTION


# %%
check("17.2", search_bits)

# %%
# hint("17.2", 1)  # take the first # away for a nudge; hint("17.2", 2) says more

# %% [markdown]
# ## {{17.3}}
#
# This index can't filter. It can only be asked for more.


# %%
def filtered(search: Callable[[int], list[int]], allowed: set[int], k: int, n: int) -> list[int]:
    """The k nearest that are allowed, or all of them where there are fewer.

    Args:
        search: a count to the numbers of so many nearest vectors, best first.
        allowed: the numbers that may be returned.
        k: how many are wanted.
        n: how many vectors there are; `search` takes no more.

    Returns:
        Numbers, best first.

    >>> filtered(lambda count: [3, 1, 4, 0, 2][:count], {0, 2}, k=1, n=5)
    [0]
    """
    ### BEGIN SOLUTION
    fetch = min(k, n)
    while True:
        kept = [number for number in search(fetch) if number in allowed]
        if len(kept) >= k or fetch >= n:
            return kept[:k]
        fetch = min(2 * fetch, n)
    ### END SOLUTION


# %%
check("17.3", filtered)

# %%
# hint("17.3", 1)  # take the first # away for a nudge; hint("17.3", 2) says more

# %% [markdown]
# <details><summary>Solution</summary>
#
# The reference solution, executed, is in
# [solutions/17_index](../../solutions/17_index/17_index.ipynb).
# </details>
