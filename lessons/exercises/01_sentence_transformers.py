# %% [markdown]
# # Exercise 01 · {{exercise_title}}
#
# Difficulty {{exercise_difficulty}} of 5 · importance {{exercise_importance}} of 5 · {{exercise_minutes}} minutes ·
# {{exercise_points}} points
#
# Three small functions that every `encode` and every search rests on. Write each body, run the cell, then the
# check below it. Hints go from a nudge to nearly the answer.

# %%
import numpy as np
import torch

from helpers import load
from helpers.checks import check, hint

model = load("all-MiniLM-L6-v2")

# %% [markdown]
# ## {{01.1}}
#
# A transformer returns one vector a token, padding included. Make one vector a text.


# %%
def mean_pooling(token_embeddings: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """The mean of each text's real tokens.

    Args:
        token_embeddings: (texts, tokens, dimensions), floating point.
        attention_mask: (texts, tokens), 1 for a real token, 0 for padding; each text has at least one real token.

    Returns:
        (texts, dimensions), not normalised.

    >>> mean_pooling(torch.tensor([[[1.0], [3.0], [100.0]]]), torch.tensor([[1, 1, 0]]))
    tensor([[2.]])
    """
    ### BEGIN SOLUTION
    mask = attention_mask.unsqueeze(-1).to(token_embeddings.dtype)
    return (token_embeddings * mask).sum(dim=1) / mask.sum(dim=1)
    ### END SOLUTION


# %%
check("01.1", mean_pooling)

# %%
# hint("01.1", 1)  # take the first # away for a nudge; hint("01.1", 2) says more

# %% [markdown]
# ## {{01.2}}
#
# The vectors below aren't normalised, as with many models.


# %%
def rank_documents(query: np.ndarray, documents: np.ndarray) -> list[int]:
    """The documents' numbers, most similar to the query first, by cosine similarity.

    Args:
        query: (d,).
        documents: (n, d), rows of any length but 0.

    Returns:
        The numbers 0 to n - 1, best first.

    >>> rank_documents(np.array([1.0, 0.0]), np.array([[5.0, 5.0], [0.1, 0.0]]))
    [1, 0]
    """
    ### BEGIN SOLUTION
    cosine = documents @ query / np.linalg.norm(documents, axis=1) / np.linalg.norm(query)
    return [int(i) for i in np.argsort(-cosine)]
    ### END SOLUTION


# %%
check("01.2", rank_documents)

# %%
# hint("01.2", 1)  # take the first # away for a nudge; hint("01.2", 2) says more

# %% [markdown]
# ## {{01.3}}
#
# `encode` cuts a text at `max_seq_length` tokens and says nothing. Count the loss before you trust it.


# %%
def tokens_lost(text: str, tokenizer, max_seq_length: int) -> int:
    """How many of a text's tokens, special ones included, lie beyond the limit.

    Args:
        text: any text.
        tokenizer: a Hugging Face tokenizer, such as `model.tokenizer`.
        max_seq_length: how many tokens the model reads, [CLS] and [SEP] among them.

    >>> tokens_lost("one two three four", model.tokenizer, 5)
    1
    """
    ### BEGIN SOLUTION
    tokens = tokenizer(text, truncation=False, verbose=False)["input_ids"]
    return max(0, len(tokens) - max_seq_length)
    ### END SOLUTION


# %%
check("01.3", tokens_lost)

# %%
# hint("01.3", 1)  # take the first # away for a nudge; hint("01.3", 2) says more

# %% [markdown]
# <details><summary>Solution</summary>
#
# The reference solution, executed, is in
# [solutions/01_sentence_transformers](../../solutions/01_sentence_transformers/01_sentence_transformers.ipynb).
# </details>
