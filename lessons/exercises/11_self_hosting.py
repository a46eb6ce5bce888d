# %% [markdown]
# # Exercise 11 · {{exercise_title}}
#
# Difficulty {{exercise_difficulty}} of 5 · importance {{exercise_importance}} of 5 · {{exercise_minutes}} minutes ·
# {{exercise_points}} points
#
# Three functions from inside a server: whom it lets in, how it shares the machine among those it let in, and what
# it sends back. Write each body, run the cell, then the check below it. Hints go from a nudge to nearly the answer.

# %%
import base64
import math
from collections.abc import Callable

import numpy as np

from helpers.checks import check, hint

# %% [markdown]
# ## {{11.1}}
#
# A queue is measured in tokens, since that is what computing costs. A request that fits goes in (200). One that
# doesn't fit now, but would fit into an empty queue, is told when there will be room: 429, and in the header
# `Retry-After` the whole seconds until the queue has shrunk far enough. One that is larger than the whole queue is
# told that waiting won't help: 413.


# %%
def admit(tokens: int, queued: int, limit: int, tokens_per_s: float) -> tuple[int, int | None]:
    """What a request is told.

    Args:
        tokens: of the request.
        queued: tokens that are waiting already.
        limit: tokens that may wait at once, this request's included.
        tokens_per_s: how fast the queue is worked off, above 0.

    Returns:
        The status (200, 413 or 429), and the seconds of Retry-After with a 429, else None.

    >>> admit(tokens=300, queued=900, limit=1000, tokens_per_s=150.0)
    (429, 2)
    """
    ### BEGIN SOLUTION
    if tokens > limit:
        return 413, None
    excess = queued + tokens - limit
    if excess <= 0:
        return 200, None
    return 429, math.ceil(excess / tokens_per_s)
    ### END SOLUTION


# %%
check("11.1", admit)

# %%
# hint("11.1", 1)  # take the first # away for a nudge; hint("11.1", 2) says more

# %% [markdown]
# ## {{11.2}}
#
# The texts of all waiting requests go through the encoder together. A batch costs its longest text times its number
# of texts, since the shorter ones are padded, and every call of `encode` costs as much as `20` tokens more. Keep every
# batch within the budget, a text above it alone, and the sum of all costs low: little padding, few calls (the check
# allows a tenth more than full batches of sorted texts cost). Then give each request its own vectors, in the order of
# its texts. Here a token is a word: `len(text.split())`.


# %%
def serve(
    encode: Callable[[list[str]], np.ndarray],
    requests: list[list[str]],
    budget: int,
) -> list[np.ndarray]:
    """The vectors of several requests, computed in shared batches.

    Args:
        encode: takes n texts, at least one, and returns (n, d); each call has its price.
        requests: the texts of each request, at least one each.
        budget: the most that a batch may cost, longest text times number of texts.

    Returns:
        For each request an array (its number of texts, d).

    >>> lengths = lambda texts: np.array([[len(text.split())] for text in texts])
    >>> [vectors.tolist() for vectors in serve(lengths, [["a b", "a"], ["a b c"]], budget=4)]
    [[[2], [1]], [[3]]]
    """
    ### BEGIN SOLUTION
    places = [(r, t) for r, texts in enumerate(requests) for t in range(len(texts))]
    length = {(r, t): len(requests[r][t].split()) for r, t in places}
    batches = []
    for place in sorted(places, key=length.get):
        if batches and (len(batches[-1]) + 1) * length[place] <= budget:
            batches[-1].append(place)
        else:
            batches.append([place])
    vectors = {}
    for batch in batches:
        vectors.update(zip(batch, encode([requests[r][t] for r, t in batch]), strict=True))
    return [np.stack([vectors[r, t] for t in range(len(texts))]) for r, texts in enumerate(requests)]
    ### END SOLUTION


# %%
check("11.2", serve)

# %%
# hint("11.2", 1)  # take the first # away for a nudge; hint("11.2", 2) says more

# %% [markdown]
# ## {{11.3}}
#
# The default of OpenAI's API is `float`; its Python client asks for `base64`, which is shorter than printed numbers
# and quicker to read: the bytes of the vector as little-endian float32, in base64. The body is
# `{"object": "list", "data": [...], "model": ..., "usage": {"prompt_tokens": ..., "total_tokens": ...}}`, and each
# entry of `data` is `{"object": "embedding", "index": ..., "embedding": ...}`. Both usages are the sum of `tokens`.


# %%
def answer(vectors: np.ndarray, tokens: list[int], model: str, encoding_format: str) -> dict:
    """The body of an answer, ready for `json.dumps`.

    Args:
        vectors: (n, d), float32.
        tokens: how many each of the n texts has.
        model: its name.
        encoding_format: "float" or "base64".

    >>> answer(np.array([[1.0]], dtype=np.float32), [3], "m", "base64")["data"][0]["embedding"]
    'AACAPw=='
    """

    ### BEGIN SOLUTION
    def coded(row: np.ndarray) -> list[float] | str:
        return base64.b64encode(row.tobytes()).decode() if encoding_format == "base64" else row.tolist()

    rows = np.asarray(vectors, dtype="<f4")
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": i, "embedding": coded(row)} for i, row in enumerate(rows)],
        "model": model,
        "usage": {"prompt_tokens": sum(tokens), "total_tokens": sum(tokens)},
    }
    ### END SOLUTION


# %%
check("11.3", answer)

# %%
# hint("11.3", 1)  # take the first # away for a nudge; hint("11.3", 2) says more

# %% [markdown]
# <details><summary>Solution</summary>
#
# The reference solution, executed, is in
# [solutions/11_self_hosting](../../solutions/11_self_hosting/11_self_hosting.ipynb).
# </details>
