# %% [markdown]
# # Exercise 16 · {{exercise_title}}
#
# Difficulty {{exercise_difficulty}} of 5 · importance {{exercise_importance}} of 5 · {{exercise_minutes}} minutes ·
# {{exercise_points}} points
#
# The three pieces of a search that every engine has, and that every tutorial gets slightly wrong.

# %%
from collections.abc import Callable

import numpy as np

from helpers.checks import check, hint

# %% [markdown]
# ## {{16.1}}
#
# The floor. A word of the query adds `idf * tf / (tf + k1 * (1 - b + b * length / mean length))`, where `tf` says how
# often the document has it, and `idf` is `log(1 + (n - found + 0.5) / (found + 0.5))` for a word that `found` of `n`
# documents have.


# %%
def bm25(query: list[str], documents: list[list[str]], k1: float = 1.2, b: float = 0.75) -> np.ndarray:
    """BM25 in Lucene's variant.

    Args:
        query: its words; one that stands twice counts twice.
        documents: n lists of words, none empty.
        k1: how soon further occurrences stop to count.
        b: how much a document's length counts, 0 to 1.

    Returns:
        (n,) scores.

    >>> bm25(["cat"], [["cat", "sat"], ["dog", "sat"]]).round(3)
    array([0.315, 0.   ])
    """
    ### BEGIN SOLUTION
    length = np.array([len(words) for words in documents])
    scores = np.zeros(len(documents))
    for word in query:
        tf = np.array([words.count(word) for words in documents])
        found = (tf > 0).sum()
        idf = np.log(1 + (len(documents) - found + 0.5) / (found + 0.5))
        scores += idf * tf / (tf + k1 * (1 - b + b * length / length.mean()))
    return scores
    ### END SOLUTION


# %%
check("16.1", bm25)

# %%
# hint("16.1", 1)  # take the first # away for a nudge; hint("16.1", 2) says more

# %% [markdown]
# ## {{16.2}}
#
# Rankings from several searches, each a list of ids, best first, and each of another length: a search returns what it
# found.


# %%
def rrf(rankings: list[list[str]], weights: list[float], k: int) -> dict[str, float]:
    """Reciprocal rank fusion.

    Args:
        rankings: ids, best first, each id once in a ranking.
        weights: one a ranking.
        k: added to each rank; 60 in most engines.

    Returns:
        Each id that stands in some ranking, with its score.

    >>> rrf([["a", "b"], ["b"]], [1.0, 1.0], k=1)
    {'a': 0.5, 'b': 0.8333333333333333}
    """
    ### BEGIN SOLUTION
    scores: dict[str, float] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, document in enumerate(ranking, start=1):
            scores[document] = scores.get(document, 0) + weight / (k + rank)
    return scores
    ### END SOLUTION


# %%
check("16.2", rrf)

# %%
# hint("16.2", 1)  # take the first # away for a nudge; hint("16.2", 2) says more

# %% [markdown]
# ## {{16.3}}
#
# A mixture `(1 - share) * dense + share * lexical` of scaled scores has one parameter. Fit it on the queries that are
# for fitting, so that the others can judge it.


# %%
def fitted_share(
    dense: np.ndarray, lexical: np.ndarray, quality: Callable[[np.ndarray], np.ndarray], tuning: list[int]
) -> float:
    """The share of BM25 that does best on the tuning queries.

    Args:
        dense: (q, n) cosines.
        lexical: (q, n) BM25 scores.
        quality: (q, n) scores to (q,), how good each query's ranking is; higher is better.
        tuning: positions of the queries to fit on.

    Returns:
        One of 0, 0.1, ... 1; the smallest of equally good ones. Scores are scaled first: each query's from 0 for its
        worst document to 1 for its best.

    >>> dense, lexical = np.array([[0.9, 0.1], [0.5, 0.4]]), np.array([[0.0, 7.0], [1.0, 3.0]])
    >>> fitted_share(dense, lexical, lambda scores: scores[:, 0] > scores[:, 1], tuning=[0, 1])
    0.0
    """
    ### BEGIN SOLUTION
    both = []
    for scores in (dense, lexical):
        low, high = scores.min(axis=1, keepdims=True), scores.max(axis=1, keepdims=True)
        both.append((scores - low) / (high - low))
    shares = [i / 10 for i in range(11)]
    return max(shares, key=lambda share: quality((1 - share) * both[0] + share * both[1])[tuning].mean())
    ### END SOLUTION


# %%
check("16.3", fitted_share)

# %%
# hint("16.3", 1)  # take the first # away for a nudge; hint("16.3", 2) says more

# %% [markdown]
# <details><summary>Solution</summary>
#
# The reference solution, executed, is in
# [solutions/16_search](../../solutions/16_search/16_search.ipynb).
# </details>
