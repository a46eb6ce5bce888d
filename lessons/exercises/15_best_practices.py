# %% [markdown]
# # Exercise 15 · {{exercise_title}}
#
# Difficulty {{exercise_difficulty}} of 5 · importance {{exercise_importance}} of 5 · {{exercise_minutes}} minutes ·
# {{exercise_points}} points
#
# Three things to have ready before a deployment: a cutter for long texts, a list of faults to look for, and a fair
# answer to the question whether it is fast enough.

# %%
import math

from scipy import stats

from helpers.checks import check, hint

# %% [markdown]
# ## {{15.1}}
#
# A text of more tokens than the model reads is cut off in silence. Cut it yourself, so that each token is in some
# chunk, and an answer of up to `overlap` tokens that lies across a cut is whole in one of its two neighbours.
# `token_ids` are the text's own tokens; when a chunk is encoded, the model puts two more to it (`[CLS]` and `[SEP]`),
# and they count.


# %%
def chunks(token_ids: list[int], max_seq_length: int, overlap: int) -> list[list[int]]:
    """A text cut into overlapping chunks, in the order of the text.

    Neighbours share at least `overlap` tokens, no chunk lies wholly in another, and there are as few
    chunks as that allows.

    Args:
        token_ids: the text's tokens, at least one, without special tokens; most occur more than once.
        max_seq_length: tokens that the model reads, its two special tokens included.
        overlap: tokens that a chunk shares with the next, fewer than half of a chunk.

    >>> chunks([11, 12, 13, 14, 15, 16, 17], max_seq_length=6, overlap=1)
    [[11, 12, 13, 14], [14, 15, 16, 17]]
    >>> chunks([11], max_seq_length=6, overlap=1)
    [[11]]
    """
    ### BEGIN SOLUTION
    size = max_seq_length - 2
    starts = range(0, max(1, len(token_ids) - overlap), size - overlap)
    return [token_ids[start : start + size] for start in starts]
    ### END SOLUTION


# %%
check("15.1", chunks)

# %%
# hint("15.1", 1)  # take the first # away for a nudge; hint("15.1", 2) says more

# %% [markdown]
# ## {{15.2}}
#
# None of these raises an error. A deployment is a dict; these are its entries:
#
# | entry | what it says |
# |---|---|
# | `metric` | `"cosine"` or `"dot"`: how the index compares vectors |
# | `model_ends_in_normalize`, `normalize_embeddings` | its last module makes unit vectors; `encode` was asked to |
# | `trained_prompts`, `prompts` | `{"query": ..., "document": ...}`: of the training, and in use; `""` is none |
# | `trained_tokens`, `max_seq_length` | how far the model read in training; where texts are cut now |
# | `longest_text`, `chunk_tokens` | tokens, special ones included, of the longest text; of a chunk (`None`: none) |
# | `batches` | `"arrival order, by count"`, `"sorted by length, by count"` or `"token budget"` |
# | `mixed_lengths` | whether short and long texts come together |
# | `model_loaded`, `weights` | `"at start"` or `"per request"`; from `"disk"` or from the `"hub"` |
#
# And these are the faults:
#
# | fault | it is one if |
# |---|---|
# | `lengths` | a dot product compares vectors that nothing made unit vectors |
# | `prompts` | the prompts in use aren't those of the training |
# | `truncation` | something longer than `max_seq_length` reaches the model |
# | `untrained` | the model is made to read further than it did in training |
# | `padding` | texts of mixed lengths go into batches by count, in the order in which they arrive |
# | `cold` | a request waits for the loading of the model, or a start depends on the hub |


# %%
def audit(deployment: dict) -> dict[str, bool]:
    """Which faults a deployment has.

    Returns:
        Each of the six names, in any order, with True or False.

    >>> good = {
    ...     "metric": "dot", "model_ends_in_normalize": True, "normalize_embeddings": False,
    ...     "trained_prompts": {"query": "", "document": ""}, "prompts": {"query": "", "document": ""},
    ...     "trained_tokens": 512, "max_seq_length": 256, "longest_text": 900, "chunk_tokens": 200,
    ...     "batches": "token budget", "mixed_lengths": True, "model_loaded": "at start", "weights": "disk",
    ... }
    >>> any(audit(good).values())
    False
    >>> [fault for fault, there in audit(good | {"chunk_tokens": 300}).items() if there]
    ['truncation']
    """
    ### BEGIN SOLUTION
    d = deployment
    unit = d["model_ends_in_normalize"] or d["normalize_embeddings"]
    reaches = min(d["longest_text"], d["chunk_tokens"] or d["longest_text"])
    return {
        "lengths": d["metric"] == "dot" and not unit,
        "prompts": d["prompts"] != d["trained_prompts"],
        "truncation": reaches > d["max_seq_length"],
        "untrained": d["max_seq_length"] > d["trained_tokens"],
        "padding": d["batches"] == "arrival order, by count" and d["mixed_lengths"],
        "cold": d["model_loaded"] == "per request" or d["weights"] == "hub",
    }
    ### END SOLUTION


# %%
check("15.2", audit)

# %%
# hint("15.2", 1)  # take the first # away for a nudge; hint("15.2", 2) says more

# %% [markdown]
# ## {{15.3}}
#
# "Nine of ten requests within so many milliseconds" is a promise about all requests to come, and you measured some
# hundred. A request that got no answer has an infinite latency. Say of each deployment what was measured, between
# which ends the true share lies, and whether the promise is kept, broken, or still open.


# %%
def assess(deployments: dict[str, list[float]], objective_ms: float, share: float) -> dict[str, dict]:
    """What the latencies of some deployments say about a promise.

    Args:
        deployments: name to the latencies of its requests in ms, as they came; `math.inf` for no answer.
        objective_ms: a request within it took at most as long.
        share: the share of requests promised to be within it, 0 to 1.

    Returns:
        Name to a dict of
        - "p50", "p95", "p99": the smallest measured latency that at least this share of the requests don't exceed;
        - "low", "high": the 95% interval of the share within the objective: exact (Clopper and Pearson), Wilson's
          or Jeffreys', which hold for shares near 1 as well;
        - "verdict": "meets" if the whole interval is at or above `share`, "misses" if all of it is below, else "open".

    >>> row = assess({"one": [5.0, 1.0, 3.0, math.inf]}, objective_ms=3.0, share=0.9)["one"]
    >>> row["p50"], row["p95"], round(row["low"], 3), round(row["high"], 3), row["verdict"]
    (3.0, inf, 0.068, 0.932, 'open')
    """
    ### BEGIN SOLUTION
    rows = {}
    for name, latencies in deployments.items():
        ordered, n = sorted(latencies), len(latencies)
        row = {f"p{q}": ordered[math.ceil(q * n / 100) - 1] for q in (50, 95, 99)}
        interval = stats.binomtest(sum(ms <= objective_ms for ms in ordered), n).proportion_ci(0.95, method="exact")
        low, high = interval.low, interval.high
        verdict = "meets" if low >= share else "misses" if high < share else "open"
        rows[name] = row | {"low": low, "high": high, "verdict": verdict}
    return rows
    ### END SOLUTION


# %%
check("15.3", assess)

# %%
# hint("15.3", 1)  # take the first # away for a nudge; hint("15.3", 2) says more

# %% [markdown]
# <details><summary>Solution</summary>
#
# The reference solution, executed, is in
# [solutions/15_best_practices](../../solutions/15_best_practices/15_best_practices.ipynb).
# </details>
