# %% [markdown]
# # Exercise 06 · {{exercise_title}}
#
# Difficulty {{exercise_difficulty}} of 5 · importance {{exercise_importance}} of 5 · {{exercise_minutes}} minutes ·
# {{exercise_points}} points
#
# Four functions between a long-context Matryoshka model and a search that works. Write each body, run the cell,
# then the check below it. Hints go from a nudge to nearly the answer.

# %%
from collections.abc import Callable

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from torch.nn import functional

from helpers import load
from helpers.checks import check, hint

nomic = load("nomic-ai/nomic-embed-text-v1.5", source="stand-in")
nomic.prompts |= {"clustering": "clustering: ", "classification": "classification: "}

# %% [markdown]
# ## {{06.1}}
#
# Layer norm over the full vector, then the slice, then unit length. The vectors below come from no model that
# you know: their numbers have no mean of zero.


# %%
def matryoshka(embeddings: torch.Tensor, dims: int) -> torch.Tensor:
    """Shorten vectors as `nomic-embed-text-v1.5` wants it.

    Args:
        embeddings: (n, d), floating point, rows of any length but 0.
        dims: how many numbers to keep, 1 to d.

    Returns:
        (n, dims), unit vectors.

    >>> matryoshka(torch.tensor([[4.0, 1.0, 1.0, 2.0]]), 1)
    tensor([[1.]])
    """
    ### BEGIN SOLUTION
    normed = functional.layer_norm(embeddings, (embeddings.shape[1],))
    return functional.normalize(normed[:, :dims], dim=1)
    ### END SOLUTION


# %%
check("06.1", matryoshka)

# %%
# hint("06.1", 1)  # take the first # away for a nudge; hint("06.1", 2) says more

# %% [markdown]
# ## {{06.2}}
#
# The same queries were scored at several sizes. Take the differences query by query, `short - keep * full`, and
# the 95 percent interval of their mean (mean ± `1.96` standard errors, or a bootstrap). A size will do if the
# lower end isn't below 0.


# %%
def smallest_size(scores: dict[int, np.ndarray], keep: float) -> int:
    """The fewest dimensions that keep a share of the full quality, with the interval's lower end.

    Args:
        scores: dimensions -> the score of each query, shape (queries,), queries in the same order throughout.
            The largest number of dimensions is the full length.
        keep: the share of the full length's quality to keep, such as 0.95.

    Returns:
        One of the keys; the full length if nothing shorter will do.

    >>> every = np.array([0.9, 0.8, 1.0, 0.7])
    >>> smallest_size({64: every / 2, 256: every * 0.99, 768: every}, keep=0.95)
    256
    """
    ### BEGIN SOLUTION
    full = max(scores)
    for dims in sorted(scores):
        difference = np.asarray(scores[dims]) - keep * np.asarray(scores[full])
        error = difference.std(ddof=1) / np.sqrt(len(difference))
        if difference.mean() - 1.96 * error >= 0:
            return dims
    return full
    ### END SOLUTION


# %%
check("06.2", smallest_size)

# %%
# hint("06.2", 1)  # take the first # away for a nudge; hint("06.2", 2) says more

# %% [markdown]
# ## {{06.3}}
#
# Cut each document into overlapping passages, encode them, and let a document score what its best passage
# scores. Passages begin at words 0, `size - overlap`, `2 * (size - overlap)` and so on; the first one that
# reaches the end of the document is its last.


# %%
def best_passage_scores(
    query: np.ndarray,
    documents: list[str],
    encode: Callable[[list[str]], np.ndarray],
    size: int,
    overlap: int,
) -> np.ndarray:
    """Cosine similarity of a query with the best passage of each document.

    Args:
        query: (d,), a unit vector.
        documents: texts; words are what `str.split` gives, joined by one space again.
        encode: a list of n texts to unit vectors, (n, d).
        size: words a passage.
        overlap: words that a passage shares with the one before it, fewer than `size`.

    Returns:
        (documents,), in the order given.

    >>> texts = ["a b c d e", "b b"]
    >>> count = lambda some: np.array([[1.0, 0.0] if "c d" in text else [0.0, 1.0] for text in some])
    >>> best_passage_scores(np.array([1.0, 0.0]), texts, count, size=3, overlap=1)
    array([1., 0.])
    """
    ### BEGIN SOLUTION
    scores = []
    for text in documents:
        words = text.split()
        starts = range(0, max(1, len(words) - overlap), size - overlap)
        parts = [" ".join(words[start : start + size]) for start in starts]
        scores.append(float((encode(parts) @ query).max()))
    return np.array(scores)
    ### END SOLUTION


# %%
check("06.3", best_passage_scores)

# %%
# hint("06.3", 1)  # take the first # away for a nudge; hint("06.3", 2) says more

# %% [markdown]
# ## {{06.4}}
#
# Nomic's documentation names four tasks, `search_query`, `search_document`, `clustering` and `classification`.
# `nomic.prompts` calls the first two `query` and `document`. Print it, then bridge the two.


# %%
def encode_for(model: SentenceTransformer, texts: list[str], task: str) -> np.ndarray:
    """Encode texts for one of Nomic's four tasks, with the task's prefix, once.

    Args:
        model: a model with the prompts of `nomic` above.
        texts: n texts, without prefix.
        task: "search_query", "search_document", "clustering" or "classification".

    Returns:
        (n, d).

    >>> encode_for(nomic, ["one text", "two"], "clustering").shape
    (2, 768)
    """
    ### BEGIN SOLUTION
    return model.encode(texts, prompt_name=task.removeprefix("search_"))
    ### END SOLUTION


# %%
check("06.4", encode_for)

# %%
# hint("06.4", 1)  # take the first # away for a nudge; hint("06.4", 2) says more

# %% [markdown]
# <details><summary>Solution</summary>
#
# The reference solution, executed, is in
# [solutions/06_nomic](../../solutions/06_nomic/06_nomic.ipynb).
# </details>
