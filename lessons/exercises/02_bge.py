# %% [markdown]
# # Exercise 02 · {{exercise_title}}
#
# Difficulty {{exercise_difficulty}} of 5 · importance {{exercise_importance}} of 5 · {{exercise_minutes}} minutes ·
# {{exercise_points}} points
#
# Four functions around the three mistakes that cost BGE's users most: the wrong pooling, the instruction on the
# wrong side, a threshold from elsewhere. Write each body, run the cell, then the check below it. Hints go from a
# nudge to nearly the answer.

# %%
import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from helpers import load
from helpers.checks import check, hint

model = load("BAAI/bge-small-en-v1.5")

# %% [markdown]
# ## {{02.1}}
#
# BGE takes the first token, MiniLM the mean, some models the maximum; after it comes unit length. Some tokenizers
# put the padding in front, and then the first token isn't in the first place.


# %%
def pool(token_embeddings: torch.Tensor, attention_mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """One unit vector a text.

    Args:
        token_embeddings: (texts, tokens, dimensions), floating point; padding rows hold numbers too.
        attention_mask: (texts, tokens), 1 for a real token, 0 for padding, which may be on either side.
        pooling: "cls" (the first real token), "mean" or "max" (over the real tokens).

    Returns:
        (texts, dimensions), each row of length 1.

    >>> pool(torch.tensor([[[9.0, 9.0], [3.0, 4.0], [0.0, 1.0]]]), torch.tensor([[0, 1, 1]]), "cls")
    tensor([[0.6000, 0.8000]])
    """
    ### BEGIN SOLUTION
    mask = attention_mask.unsqueeze(-1).bool()
    if pooling == "cls":
        vectors = token_embeddings[torch.arange(len(token_embeddings)), attention_mask.int().argmax(dim=1)]
    elif pooling == "max":
        vectors = token_embeddings.masked_fill(~mask, -torch.inf).amax(dim=1)
    else:
        vectors = (token_embeddings * mask).sum(dim=1) / mask.sum(dim=1)
    return torch.nn.functional.normalize(vectors, dim=1)
    ### END SOLUTION


# %%
check("02.1", pool)

# %%
# hint("02.1", 1)  # take the first # away for a nudge; hint("02.1", 2) says more

# %% [markdown]
# ## {{02.2}}
#
# Queries and documents arrive mixed, as they do in a service. Each gets the prompt of its own side, and some
# models have none for one of the sides.


# %%
def embed(model: SentenceTransformer, texts: list[str], roles: list[str]) -> np.ndarray:
    """Embed each text with the prompt of its role.

    Args:
        model: its `prompts` has the keys "query" and "document"; an empty text means no prompt.
        texts: n texts.
        roles: n times "query" or "document".

    Returns:
        (n, dimensions), in the order of the texts.

    >>> embed(model, ["Shoes may be sent back.", "return shoes"], ["document", "query"]).shape
    (2, 384)
    """
    ### BEGIN SOLUTION
    return model.encode([model.prompts[role] + text for text, role in zip(texts, roles, strict=True)])
    ### END SOLUTION


# %%
check("02.2", embed)

# %%
# hint("02.2", 1)  # take the first # away for a nudge; hint("02.2", 2) says more

# %% [markdown]
# ## {{02.3}}
#
# Find the threshold from labelled pairs. Similar pairs are rare here, as duplicates are, so the measure is F1: the
# harmonic mean of precision (how many of the pairs called similar are) and recall (how many of the similar pairs
# were found). Accuracy would praise a threshold that finds hardly any.


# %%
def calibrate_threshold(similarity: np.ndarray, label: np.ndarray) -> float:
    """A threshold with the best F1 when `similarity >= threshold` means similar.

    Args:
        similarity: (n,), in any band; values may occur more than once.
        label: (n,), 1 for similar, 0 for not; at least one is 1.

    Returns:
        Any threshold that reaches the best F1.

    >>> 0.2 < calibrate_threshold(np.array([0.9, 0.7, 0.2, 0.1]), np.array([1, 1, 0, 0])) <= 0.7
    True
    """
    ### BEGIN SOLUTION
    thresholds = np.unique(similarity)
    similar = similarity >= thresholds[:, None]
    hits = (similar & (label == 1)).sum(axis=1)
    f1 = 2 * hits / (similar.sum(axis=1) + (label == 1).sum())
    return float(thresholds[f1.argmax()])
    ### END SOLUTION


# %%
check("02.3", calibrate_threshold)

# %%
# hint("02.3", 1)  # take the first # away for a nudge; hint("02.3", 2) says more

# %% [markdown]
# ## {{02.4}}
#
# You have a service's embeddings and can run the same encoder, but nobody remembers the pooling. Find out from
# numbers, with your `pool` of the first task: where the lowest cosine is 1 (but for rounding), that was it.


# %%
def pooling_evidence(
    token_embeddings: torch.Tensor, attention_mask: torch.Tensor, embeddings: torch.Tensor
) -> dict[str, float]:
    """For "cls", "mean" and "max": the lowest cosine, over the texts, with the embeddings in hand.

    Args:
        token_embeddings: (texts, tokens, dimensions), as in 02.1.
        attention_mask: (texts, tokens), as in 02.1.
        embeddings: (texts, dimensions), of any length but 0.

    Returns:
        A dict with the three keys.

    >>> tokens, mask = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.tensor([[1, 1]])
    >>> pooling_evidence(tokens, mask, torch.tensor([[5.0, 0.0]]))["cls"]
    1.0
    """
    ### BEGIN SOLUTION
    evidence = {}
    for pooling in ("cls", "mean", "max"):
        mine = pool(token_embeddings, attention_mask, pooling)
        evidence[pooling] = torch.cosine_similarity(mine, embeddings).min().item()
    return evidence
    ### END SOLUTION


# %%
check("02.4", pooling_evidence)

# %%
# hint("02.4", 1)  # take the first # away for a nudge; hint("02.4", 2) says more

# %% [markdown]
# <details><summary>Solution</summary>
#
# The reference solution, executed, is in [solutions/02_bge](../../solutions/02_bge/02_bge.ipynb).
# </details>
