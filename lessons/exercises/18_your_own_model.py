# %% [markdown]
# # Exercise 18 · {{exercise_title}}
#
# Difficulty {{exercise_difficulty}} of 5 · importance {{exercise_importance}} of 5 · {{exercise_minutes}} minutes ·
# {{exercise_points}} points
#
# The three places where a training of one's own goes wrong without an error: what stands on both sides, what is called
# wrong though it is right, and what was forgotten.

# %%
import numpy as np

from helpers.checks import check, hint

# %% [markdown]
# ## {{18.1}}
#
# A test text leaks if it, or nearly it, stands in training. Compare runs of three words in a row, in lower case; the
# similarity of two texts is the number of runs that both have over the number that either has.


# %%
def leaks(train: list[str], test: list[str], limit: float) -> list[int]:
    """Which test texts are too similar to some training text.

    Args:
        train: texts; words are what `str.split` gives.
        test: texts, of three words or more.
        limit: the similarity from which on a text leaks, 0 to 1.

    Returns:
        Positions in `test`, in order.

    >>> leaks(["The cat sat on the mat today"], ["the CAT sat on the mat now", "the dog sat on the mat"], limit=0.5)
    [0]
    """

    ### BEGIN SOLUTION
    def runs(text: str) -> set[tuple[str, ...]]:
        words = text.lower().split()
        return {tuple(words[i : i + 3]) for i in range(len(words) - 2)}

    known = [runs(text) for text in train]
    found = []
    for place, own in enumerate(map(runs, test)):
        if any(len(own & other) >= limit * len(own | other) for other in known):
            found.append(place)
    return found
    ### END SOLUTION


# %%
check("18.1", leaks)

# %%
# hint("18.1", 1)  # take the first # away for a nudge; hint("18.1", 2) says more

# %% [markdown]
# ## {{18.2}}
#
# Document i is right for query i. A document nearly as similar as the right one may be right as well, so it is no
# negative.


# %%
def hard_negatives(queries: np.ndarray, documents: np.ndarray, margin: float, k: int) -> list[list[int]]:
    """For each query the hardest negatives that are surely negatives.

    Args:
        queries: (n, d), unit vectors.
        documents: (n, d), unit vectors; the right one of query i is document i.
        margin: a share, such as 0.9: negatives have at most so much of the right document's similarity.
        k: how many for each query.

    Returns:
        n lists of up to k positions in `documents`, the most similar first; fewer where there are no more.

    >>> vectors = np.array([[1.0, 0.0], [0.96, 0.28], [0.6, 0.8]])
    >>> hard_negatives(vectors, vectors, margin=0.9, k=1)
    [[2], [2], [1]]
    """
    ### BEGIN SOLUTION
    scores = queries @ documents.T
    rows = []
    for i, row in enumerate(scores):
        possible = [j for j in np.argsort(-row).tolist() if j != i and row[j] <= margin * row[i]]
        rows.append(possible[:k])
    return rows
    ### END SOLUTION


# %%
check("18.2", hard_negatives)

# %%
# hint("18.2", 1)  # take the first # away for a nudge; hint("18.2", 2) says more

# %% [markdown]
# ## {{18.3}}
#
# Several models were trained. Of each there are the changes query by query: on the domain, and on what it should not
# forget. Take the mean's 95 percent interval, mean ± `1.96` standard errors.


# %%
def accepted(gains: list[np.ndarray], changes: list[np.ndarray], loss: float) -> list[bool]:
    """Which models to take: those that surely gain, and surely forget no more than is allowed.

    Args:
        gains: for each model (q,) changes of the domain's queries; above 0 is better.
        changes: for each model (p,) changes of the other queries.
        loss: how much the mean of those may fall, such as 0.02.

    Returns:
        True or False for each model.

    >>> steady = np.array([0.09, 0.11, 0.10, 0.10])
    >>> accepted([steady, steady], [steady - 0.1, -steady], loss=0.02)
    [True, False]
    """

    ### BEGIN SOLUTION
    def lower(values: np.ndarray) -> float:
        return values.mean() - 1.96 * values.std(ddof=1) / np.sqrt(len(values))

    return [bool(lower(g) > 0 and lower(c) >= -loss) for g, c in zip(gains, changes, strict=True)]
    ### END SOLUTION


# %%
check("18.3", accepted)

# %%
# hint("18.3", 1)  # take the first # away for a nudge; hint("18.3", 2) says more

# %% [markdown]
# <details><summary>Solution</summary>
#
# The reference solution, executed, is in
# [solutions/18_your_own_model](../../solutions/18_your_own_model/18_your_own_model.ipynb).
# </details>
