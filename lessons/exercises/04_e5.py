# %% [markdown]
# # Exercise 04 · {{exercise_title}}
#
# Difficulty {{exercise_difficulty}} of 5 · importance {{exercise_importance}} of 5 · {{exercise_minutes}} minutes ·
# {{exercise_points}} points
#
# Four small functions: what goes before a text, what a model is trained on, where a decoder's vector comes from,
# and what to do with cosines that all lie high. Hints go from a nudge to nearly the answer.

# %%
import numpy as np
import torch

from helpers.checks import check, hint
from helpers.models import adapters

model = adapters.load(0.01)  # a small real model, trained with E5's prefixes
print(model.prompts)

# %% [markdown]
# ## {{04.1}}
#
# In search the two sides play different parts. In a symmetric task, such as finding duplicates, they play the same.


# %%
def embed_sides(model, first: list[str], second: list[str], symmetric: bool) -> tuple[np.ndarray, np.ndarray]:
    """Both sides of a task, each text encoded with the prefix of its role.

    Args:
        model: a `SentenceTransformer` with E5's prompts, `query: ` for queries and `passage: ` for documents.
        first: the queries, or the first texts of a symmetric task.
        second: the passages, or the second texts of a symmetric task.
        symmetric: whether both sides play the same part.

    Returns:
        Two arrays, (len(first), d) and (len(second), d).

    >>> [side.shape for side in embed_sides(model, ["a question"], ["one answer", "another"], False)]
    [(1, 384), (2, 384)]
    """
    ### BEGIN SOLUTION
    return model.encode_query(first), model.encode_query(second) if symmetric else model.encode_document(second)
    ### END SOLUTION


# %%
check("04.1", embed_sides)

# %%
# hint("04.1", 1)  # take the first # away for a nudge; hint("04.1", 2) says more

# %% [markdown]
# ## {{04.2}}
#
# The loss behind E5. The vectors below aren't normalised, and one batch comes with E5's own temperature: mind what
# `exp` makes of large numbers.


# %%
def info_nce(queries: torch.Tensor, passages: torch.Tensor, temperature: float) -> float:
    """The mean over the queries of -log softmax(cosine / temperature) of the right passage.

    Args:
        queries: (n, d), float32, rows of any length but 0.
        passages: (n, d), float32; row i belongs to query i, all other rows are its negatives.
        temperature: what the cosines are divided by, above 0.

    Returns:
        The loss, a number from 0 up.

    >>> round(float(info_nce(torch.eye(2), torch.eye(2), 1.0)), 4)
    0.3133
    """
    ### BEGIN SOLUTION
    normalize = torch.nn.functional.normalize
    logits = normalize(queries, dim=1) @ normalize(passages, dim=1).T / temperature
    return torch.nn.functional.cross_entropy(logits, torch.arange(len(queries))).item()
    ### END SOLUTION


# %%
check("04.2", info_nce)

# %%
# hint("04.2", 1)  # take the first # away for a nudge; hint("04.2", 2) says more

# %% [markdown]
# ## {{04.3}}
#
# A batch comes padded on the right or on the left, and your function isn't told which.


# %%
def last_token_pooling(token_embeddings: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """The vector of each text's last real token.

    Args:
        token_embeddings: (texts, tokens, dimensions), floating point.
        attention_mask: (texts, tokens), 1 for a real token, 0 for padding; the ones of a text stand together, and
            padding is on the right or on the left.

    Returns:
        (texts, dimensions), not normalised.

    >>> last_token_pooling(torch.tensor([[[1.0], [2.0], [0.0]]]), torch.tensor([[1, 1, 0]]))
    tensor([[2.]])
    """
    ### BEGIN SOLUTION
    last = attention_mask.shape[1] - 1 - attention_mask.flip(dims=[1]).argmax(dim=1)
    return token_embeddings[torch.arange(len(token_embeddings)), last]
    ### END SOLUTION


# %%
check("04.3", last_token_pooling)

# %%
# hint("04.3", 1)  # take the first # away for a nudge; hint("04.3", 2) says more

# %% [markdown]
# ## {{04.4}}
#
# Decide which pairs to call alike, for models whose cosines lie anywhere. You have cosines of unrelated pairs by the
# same model, the *background*, and the share of unrelated pairs that you are willing to let through.


# %%
def call_alike(cosines: np.ndarray, background: np.ndarray, false_alarms: float) -> np.ndarray:
    """Which pairs have a cosine that only a share of `false_alarms` of the unrelated pairs reaches.

    Args:
        cosines: (n,), of the pairs to decide on.
        background: (m,), of unrelated pairs, by the same model.
        false_alarms: the share of the background to let through, such as 0.05.

    Returns:
        (n,) of True (alike) and False.

    >>> call_alike(np.array([0.91, 0.97]), np.linspace(0.80, 0.95, 101), 0.05).tolist()
    [False, True]
    """
    ### BEGIN SOLUTION
    return cosines > np.quantile(background, 1 - false_alarms)
    ### END SOLUTION


# %%
check("04.4", call_alike)

# %%
# hint("04.4", 1)  # take the first # away for a nudge; hint("04.4", 2) says more

# %% [markdown]
# <details><summary>Solution</summary>
#
# The reference solution, executed, is in
# [solutions/04_e5](../../solutions/04_e5/04_e5.ipynb).
# </details>
