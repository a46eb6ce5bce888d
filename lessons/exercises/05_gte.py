# %% [markdown]
# # Exercise 05 · {{exercise_title}}
#
# Difficulty {{exercise_difficulty}} of 5 · importance {{exercise_importance}} of 5 · {{exercise_minutes}} minutes ·
# {{exercise_points}} points
#
# Four functions that stand between you and a model that is silently wrong. Write each body, run the cell, then the
# check below it. Hints go from a nudge to nearly the answer.

# %%
from collections.abc import Callable

import numpy as np
import torch

from helpers.checks import check, hint

# %% [markdown]
# ## {{05.1}}
#
# The vectors are of any length, as with many models. The result goes into a log line, so it must be a number.


# %%
def similarity_score(a: np.ndarray, b: np.ndarray) -> float:
    """The cosine similarity of two vectors.

    Args:
        a: (d,), not all zero.
        b: (d,), not all zero.

    Returns:
        A number from -1 to 1: a Python or NumPy float, not an array or a tensor.

    >>> f"{similarity_score(np.array([3.0, 0.0]), np.array([4.0, 4.0])):.4f}"
    '0.7071'
    """
    ### BEGIN SOLUTION
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    ### END SOLUTION


# %%
check("05.1", similarity_score)

# %%
# hint("05.1", 1)  # take the first # away for a nudge; hint("05.1", 2) says more

# %% [markdown]
# ## {{05.2}}
#
# gte-Qwen2 and Qwen3-Embedding take an instruction, in two forms that differ by one space. `encode` is any
# encoder; the one in the check sees every character.


# %%
def instructed(
    encode: Callable[[list[str]], np.ndarray],
    queries: list[str],
    documents: list[str],
    task: str,
    family: str,
) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of queries and documents, with the family's instruction where it belongs.

    Args:
        encode: takes n texts, returns (n, d).
        queries: n texts.
        documents: m texts.
        task: one sentence that says what is asked for.
        family: "gte-Qwen2" or "Qwen3".

    Returns:
        The queries' vectors (n, d) and the documents' vectors (m, d).

    >>> lengths = lambda texts: np.array([[len(text)] for text in texts])
    >>> instructed(lengths, ["abc"], ["abcd"], "Find it", "gte-Qwen2")
    (array([[28]]), array([[4]]))
    """
    ### BEGIN SOLUTION
    forms = {"gte-Qwen2": f"Instruct: {task}\nQuery: ", "Qwen3": f"Instruct: {task}\nQuery:"}
    return encode([forms[family] + query for query in queries]), encode(documents)
    ### END SOLUTION


# %%
check("05.2", instructed)

# %%
# hint("05.2", 1)  # take the first # away for a nudge; hint("05.2", 2) says more

# %% [markdown]
# ## {{05.3}}
#
# The tokenizer's mask says which tokens are real. Make of it the mask that attention needs: who may look at whom.
# Padding can stand on the right or on the left.


# %%
def visible(attention_mask: torch.Tensor, causal: bool) -> torch.Tensor:
    """Which token may look at which.

    Args:
        attention_mask: (texts, tokens), 1 for a real token, 0 for padding on either side.
        causal: whether a token may look only at itself and at what stands before it.

    Returns:
        (texts, tokens, tokens) of True and False; [t, i, j] says whether token i of text t may look at token j.
        Nobody looks at padding. What padding itself looks at is up to you: the check leaves those rows out.

    >>> visible(torch.tensor([[1, 1, 0]]), causal=True)[0, :2].int()
    tensor([[1, 0, 0],
            [1, 1, 0]], dtype=torch.int32)
    """
    ### BEGIN SOLUTION
    tokens = attention_mask.shape[1]
    looks = torch.ones(tokens, tokens, dtype=torch.bool)
    if causal:
        looks = looks.tril()
    return attention_mask.bool().unsqueeze(1) & looks
    ### END SOLUTION


# %%
check("05.3", visible)

# %%
# hint("05.3", 1)  # take the first # away for a nudge; hint("05.3", 2) says more

# %% [markdown]
# ## {{05.4}}
#
# You get a model as a function and may call it as often as you like. Find out whether it is causal. One of the
# models in the check looks only at its neighbours, one looks at nothing but the token itself, and one rounds
# differently at each call.


# %%
def is_causal(hidden_states: Callable[[torch.Tensor], torch.Tensor], vocab_size: int) -> bool:
    """Whether no hidden state depends on a later token.

    Args:
        hidden_states: takes token ids (texts, tokens), returns states (texts, tokens, d).
        vocab_size: ids go from 0 to vocab_size - 1.

    Returns:
        True if changing a token never moves an earlier state by more than rounding. Differences up to 1e-5 are
        rounding, real ones are above 1e-3.

    >>> is_causal(lambda ids: ids.cumsum(dim=1).unsqueeze(-1).float(), 50)
    True
    """
    ### BEGIN SOLUTION
    ids = torch.arange(1, 9) % vocab_size
    other = ids.clone()
    other[-1] = 0
    states = hidden_states(torch.stack([ids, other]))
    return bool((states[0, :-1] - states[1, :-1]).abs().max() < 1e-4)
    ### END SOLUTION


# %%
check("05.4", is_causal)

# %%
# hint("05.4", 1)  # take the first # away for a nudge; hint("05.4", 2) says more

# %% [markdown]
# <details><summary>Solution</summary>
#
# The reference solution, executed, is in [solutions/05_gte](../../solutions/05_gte/05_gte.ipynb).
# </details>
