# %% [markdown]
# # Exercise 03 · {{exercise_title}}
#
# Difficulty {{exercise_difficulty}} of 5 · importance {{exercise_importance}} of 5 · {{exercise_minutes}} minutes ·
# {{exercise_points}} points
#
# Two scores of BGE-M3, their fusion, and the bill for storing them. Write each body, run the cell, then the check
# below it. Hints go from a nudge to nearly the answer.

# %%
import numpy as np

from helpers.checks import check, hint

# %% [markdown]
# ## {{03.1}}
#
# The weights are what `encode(..., return_sparse=True)["lexical_weights"]` gives for one text.


# %%
def lexical_score(query: dict[str, float], document: dict[str, float]) -> float:
    """How well two texts match by their weighted tokens.

    Args:
        query: token id, as a string, to weight; every weight is above 0.
        document: the same for the document.

    Returns:
        The sum of the products of weights over the tokens that both have; 0 if they share none.

    >>> lexical_score({"17": 0.5, "4": 2.0}, {"4": 0.25, "99": 1.0})
    0.5
    """
    ### BEGIN SOLUTION
    return float(sum(weight * document[token] for token, weight in query.items() if token in document))
    ### END SOLUTION


# %%
check("03.1", lexical_score)

# %%
# hint("03.1", 1)  # take the first # away for a nudge; hint("03.1", 2) says more

# %% [markdown]
# ## {{03.2}}
#
# The ColBERT score, from what `encode(..., return_colbert_vecs=True)["colbert_vecs"]` gives for two texts.


# %%
def colbert_score(query_vectors: np.ndarray, document_vectors: np.ndarray) -> float:
    """The mean over the query's tokens of the similarity to the best document token.

    Args:
        query_vectors: (query tokens, dimensions), rows of unit length.
        document_vectors: (document tokens, dimensions), rows of unit length.

    >>> colbert_score(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]]))
    0.9
    """
    ### BEGIN SOLUTION
    return float((query_vectors @ document_vectors.T).max(axis=1).mean())
    ### END SOLUTION


# %%
check("03.2", colbert_score)

# %%
# hint("03.2", 1)  # take the first # away for a nudge; hint("03.2", 2) says more

# %% [markdown]
# ## {{03.3}}
#
# Three kinds of score for one query live on three scales. Bring each to the range 0 to 1, weigh, add, rank.


# %%
def fuse(scores: dict[str, np.ndarray], weights: dict[str, float]) -> list[int]:
    """The documents' numbers, best first, by the weighted sum of min-max scaled scores.

    Args:
        scores: kind of score, such as "dense", to (n,) scores of one query with n documents.
        weights: the same kinds to their weights, none below 0.

    Each kind is scaled on its own: its lowest score becomes 0, its highest 1. A kind whose scores are all equal
    says nothing and counts as 0 for every document.

    Returns:
        The numbers 0 to n - 1, best first.

    >>> fuse({"dense": np.array([0.7, 0.6, 0.5]), "lexical": np.array([0.0, 9.0, 3.0])}, {"dense": 2, "lexical": 1})
    [0, 1, 2]
    """
    ### BEGIN SOLUTION
    total = np.zeros(len(next(iter(scores.values()))))
    for kind, values in scores.items():
        low, high = values.min(), values.max()
        if high > low:
            total += weights[kind] * (values - low) / (high - low)
    return [int(i) for i in np.argsort(-total, kind="stable")]
    ### END SOLUTION


# %%
check("03.3", fuse)

# %%
# hint("03.3", 1)  # take the first # away for a nudge; hint("03.3", 2) says more

# %% [markdown]
# ## {{03.4}}
#
# What one document costs in each of the three indexes, before any compression.


# %%
def bytes_per_document(tokens: int, entries: int, dims: int, dtype: str) -> dict[str, int]:
    """The bytes of one document's dense vector, lexical weights and ColBERT vectors, as FlagEmbedding returns them.

    Args:
        tokens: how many tokens the text has, the first and the last special one included.
        entries: how many lexical weights it has; each is stored with its token id, a whole number of 4 bytes.
        dims: dimensions of the dense vector and of each ColBERT vector.
        dtype: of vectors and weights, "float32" or "float16".

    Returns:
        The bytes under the keys "dense", "lexical" and "colbert".

    >>> bytes_per_document(tokens=11, entries=8, dims=100, dtype="float32")
    {'dense': 400, 'lexical': 64, 'colbert': 4000}
    """
    ### BEGIN SOLUTION
    width = np.dtype(dtype).itemsize
    return {"dense": dims * width, "lexical": entries * (4 + width), "colbert": (tokens - 1) * dims * width}
    ### END SOLUTION


# %%
check("03.4", bytes_per_document)

# %%
# hint("03.4", 1)  # take the first # away for a nudge; hint("03.4", 2) says more

# %% [markdown]
# <details><summary>Solution</summary>
#
# The reference solution, executed, is in [solutions/03_bge_m3](../../solutions/03_bge_m3/03_bge_m3.ipynb).
# </details>
