# %% [markdown]
# # Exercise 19 · {{exercise_title}}
#
# Difficulty {{exercise_difficulty}} of 5 · importance {{exercise_importance}} of 5 · {{exercise_minutes}} minutes ·
# {{exercise_points}} points
#
# Three small functions that stand between a change of model and an index that silently answers nonsense.

# %%
import numpy as np

from helpers.checks import check, hint

# %% [markdown]
# ## {{19.1}}
#
# Each index keeps its model's vectors of a few sentences. Which of these indexes may the model of `now` write to?


# %%
def same_model(kept: list[np.ndarray], now: np.ndarray) -> list[bool]:
    """Which fingerprints are this model's.

    Args:
        kept: fingerprints, each (sentences, d) of its own d, of any length but 0; the same sentences throughout.
        now: (n, d), this model's vectors of those sentences, of any length but 0.

    Returns:
        True where the shape is the same and every sentence's two vectors have a cosine of 0.999 or more.

    >>> now = np.array([[1.0, 0.0], [0.0, 2.0]])
    >>> same_model([now * 2, now[:, ::-1], np.ones((2, 3))], now)
    [True, False, False]
    """

    ### BEGIN SOLUTION
    def cosines(one: np.ndarray) -> np.ndarray:
        return (one * now).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(now, axis=1)

    return [bool(one.shape == now.shape and cosines(one).min() >= 0.999) for one in kept]
    ### END SOLUTION


# %%
check("19.1", same_model)

# %%
# hint("19.1", 1)  # take the first # away for a nudge; hint("19.1", 2) says more

# %% [markdown]
# ## {{19.2}}
#
# The backfill was killed, and meanwhile texts changed and others were deleted.


# %%
def to_encode(texts: list[str], encoded: dict[int, str]) -> list[int]:
    """What is left to do.

    Args:
        texts: the texts as they are now; a text's id is its position.
        encoded: id to the wording that its vector in the new space was made of.

    Returns:
        Positions in `texts`, rising, of those that have no vector, or one of another wording.

    >>> to_encode(["a", "b", "c"], {0: "a", 1: "B", 9: "gone"})
    [1, 2]
    """
    ### BEGIN SOLUTION
    return [i for i, text in enumerate(texts) if encoded.get(i) != text]
    ### END SOLUTION


# %%
check("19.2", to_encode)

# %%
# hint("19.2", 1)  # take the first # away for a nudge; hint("19.2", 2) says more

# %% [markdown]
# ## {{19.3}}
#
# A pair counted as alike from a cosine of `threshold` on. The same pairs were scored by the new model.


# %%
def carried(threshold: float, old: np.ndarray, new: np.ndarray) -> float:
    """The threshold of the new model that as many pairs reach as reached the old one.

    Args:
        threshold: of the old model; at least two pairs reach it.
        old: (pairs,) cosines by the old model.
        new: (pairs,) cosines of the same pairs by the new model, all different.

    Returns:
        The lowest of the new cosines that still counts as alike.

    >>> carried(0.5, np.array([0.9, 0.1, 0.6]), np.array([0.99, 0.7, 0.95]))
    0.95
    """
    ### BEGIN SOLUTION
    many = int((old >= threshold).sum())
    return float(np.sort(new)[-many])
    ### END SOLUTION


# %%
check("19.3", carried)

# %%
# hint("19.3", 1)  # take the first # away for a nudge; hint("19.3", 2) says more

# %% [markdown]
# <details><summary>Solution</summary>
#
# The reference solution, executed, is in
# [solutions/19_changing_the_model](../../solutions/19_changing_the_model/19_changing_the_model.ipynb).
# </details>
