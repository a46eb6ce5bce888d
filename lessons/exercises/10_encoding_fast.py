# %% [markdown]
# # Exercise 10 · {{exercise_title}}
#
# Difficulty {{exercise_difficulty}} of 5 · importance {{exercise_importance}} of 5 · {{exercise_minutes}} minutes ·
# {{exercise_points}} points
#
# Four parts of a fast and safe encoder. Write each body, run the cell, then the check below it. Hints go from a
# nudge to nearly the answer.

# %%
from collections.abc import Callable

import numpy as np

from helpers.checks import check, hint

# %% [markdown]
# ## {{10.1}}
#
# Put texts of similar length together, in as few calls as the budget allows, and give the vectors back in the order
# of the texts. The check watches what you pass to `encode`.


# %%
def encode_in_budget(
    encode: Callable[[list[str]], np.ndarray], texts: list[str], lengths: list[int], token_budget: int
) -> np.ndarray:
    """Vectors of all texts, by batches of similar lengths.

    Args:
        encode: takes k texts, returns (k, d).
        texts: n texts.
        lengths: tokens of each text.
        token_budget: how many tokens a batch may hold, padding included: the number of its texts times its
            longest. A batch may fill it exactly; a text beyond it makes a batch of its own.

    Returns:
        (n, d), row i for text i.

    >>> first_letters = lambda texts: np.array([[ord(text[0])] for text in texts])
    >>> encode_in_budget(first_letters, ["a", "b b b", "c"], [1, 3, 1], 3).ravel().tolist()
    [97, 98, 99]
    """
    ### BEGIN SOLUTION
    batches: list[list[int]] = []
    for i in sorted(range(len(texts)), key=lambda i: -lengths[i]):
        if not batches or lengths[batches[-1][0]] * (len(batches[-1]) + 1) > token_budget:
            batches.append([])
        batches[-1].append(i)
    order = [i for batch in batches for i in batch]
    vectors = np.concatenate([encode([texts[i] for i in batch]) for batch in batches])
    return vectors[np.argsort(order)]
    ### END SOLUTION


# %%
check("10.1", encode_in_budget)

# %%
# hint("10.1", 1)  # take the first # away for a nudge; hint("10.1", 2) says more

# %% [markdown]
# ## {{10.2}}
#
# How much of what a plan computes is thrown away?


# %%
def padding_share(lengths: list[int], batches: list[list[int]]) -> float:
    """Share of the computed tokens that are padding.

    Args:
        lengths: tokens of each text.
        batches: indices of the texts in each batch; a batch is padded to its longest text.

    Returns:
        A number from 0 to below 1.

    >>> padding_share([1, 3, 2], [[0, 1], [2]])
    0.25
    """
    ### BEGIN SOLUTION
    computed = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    return 1 - sum(lengths[i] for batch in batches for i in batch) / computed
    ### END SOLUTION


# %%
check("10.2", padding_share)

# %%
# hint("10.2", 1)  # take the first # away for a nudge; hint("10.2", 2) says more

# %% [markdown]
# ## {{10.3}}
#
# The token embeddings of all texts stand in one long row, one text behind the other. There is no mask: only lengths.


# %%
def packed_mean(token_embeddings: np.ndarray, lengths: list[int]) -> np.ndarray:
    """The mean of each text's token embeddings.

    Args:
        token_embeddings: (sum of lengths, d), the texts one behind the other.
        lengths: tokens of each of n texts, 1 or more.

    Returns:
        (n, d).

    >>> packed_mean(np.array([[2.0], [4.0], [9.0]]), [2, 1]).tolist()
    [[3.0], [9.0]]
    """
    ### BEGIN SOLUTION
    starts = np.cumsum([0, *lengths[:-1]])
    return np.add.reduceat(token_embeddings, starts, axis=0) / np.array(lengths)[:, None]
    ### END SOLUTION


# %%
check("10.3", packed_mean)

# %%
# hint("10.3", 1)  # take the first # away for a nudge; hint("10.3", 2) says more

# %% [markdown]
# ## {{10.4}}
#
# Suppose that, unlike with `stream`, several workers share a folder, and the power went. Part k is
# `part-{k:05}.parquet`; a file that ends in `.tmp` was not finished. Which rows are still to be encoded?


# %%
def still_to_do(names: list[str], rows: int, chunk: int) -> list[tuple[int, int]]:
    """Row ranges of the parts that are missing.

    Args:
        names: of the files in the folder, in any order; some are no parts.
        rows: how many rows the source has.
        chunk: rows a part; the last part may have fewer.

    Returns:
        (start, stop) of each missing part in order, stop not included.

    >>> still_to_do(["part-00001.parquet", ".part-00000.parquet.tmp"], 25, 10)
    [(0, 10), (20, 25)]
    """
    ### BEGIN SOLUTION
    parts = range(-(-rows // chunk))
    return [(k * chunk, min((k + 1) * chunk, rows)) for k in parts if f"part-{k:05}.parquet" not in names]
    ### END SOLUTION


# %%
check("10.4", still_to_do)

# %%
# hint("10.4", 1)  # take the first # away for a nudge; hint("10.4", 2) says more

# %% [markdown]
# <details><summary>Solution</summary>
#
# The reference solution, executed, is in
# [solutions/10_encoding_fast](../../solutions/10_encoding_fast/10_encoding_fast.ipynb).
# </details>
