# %% [markdown]
# # Exercise 08 · {{exercise_title}}
#
# Difficulty {{exercise_difficulty}} of 5 · importance {{exercise_importance}} of 5 · {{exercise_minutes}} minutes ·
# {{exercise_points}} points
#
# The two halves of a choice: a filter that says what it doesn't know, and a ranking that keeps to one benchmark.
# Unknown values are `None` throughout.

# %%
from typing import Any

from helpers.checks import check, hint

# %% [markdown]
# ## {{08.1}}
#
# A need is met, failed, or nobody knows. Keep the three apart: the first goes on, the second is out, and the third
# is a question that a person can answer.


# %%
def verdicts(
    models: list[dict[str, Any]], tokens: int, memory_mb: float
) -> list[tuple[bool | None, bool | None, bool | None]]:
    """Whether each model meets three needs: True, False, or None where a fact is unknown.

    Args:
        models: each with `license` (str or None), `max_tokens` (int or None), `parameters` (int or None) and
            `dims` (int).
        tokens: how many tokens a model must read, at least.
        memory_mb: what its weights may take in float32 (four bytes a parameter), at most; an MB is 10^6 bytes.

    Returns:
        One tuple a model, (licence, tokens, memory). The licence is True for "mit" and "apache-2.0", False for
        "cc-by-nc-4.0" (the model is for a product), and None for any other: unknown, or terms not read yet.

    >>> verdicts([{"license": "mit", "max_tokens": None, "parameters": 33_000_000, "dims": 384}], 512, 100)
    [(True, None, False)]
    """
    ### BEGIN SOLUTION
    commercial = {"mit": True, "apache-2.0": True, "cc-by-nc-4.0": False}
    return [
        (
            commercial.get(model["license"]),
            None if model["max_tokens"] is None else model["max_tokens"] >= tokens,
            None if model["parameters"] is None else model["parameters"] * 4 / 1e6 <= memory_mb,
        )
        for model in models
    ]
    ### END SOLUTION


# %%
check("08.1", verdicts)

# %%
# hint("08.1", 1)  # take the first # away for a nudge; hint("08.1", 2) says more

# %% [markdown]
# ## {{08.2}}
#
# Rank by one benchmark. A model without a complete run has no rank there, good or bad. Don't lose it, though: it
# goes to the end, to be measured.


# %%
def ranked(models: list[dict[str, Any]], benchmark: str, tasks: int) -> list[int]:
    """The positions of all models: complete runs by falling score, then the others in their order.

    Args:
        models: each with `runs`, a dict of benchmark name to (score, tasks run). A benchmark may be missing there,
            or both values be None.
        benchmark: the one to rank by.
        tasks: how many tasks a complete run of it has.

    >>> runs = [{}, {"MTEB(eng, v2)": (60.0, 41)}, {"MTEB(eng, v2)": (70.0, 40)}, {"MTEB(eng, v2)": (65.0, 41)}]
    >>> ranked([{"runs": run} for run in runs], "MTEB(eng, v2)", 41)
    [3, 1, 0, 2]
    """
    ### BEGIN SOLUTION
    known = {}
    for position, model in enumerate(models):
        score, tasks_run = model["runs"].get(benchmark, (None, None))
        if score is not None and tasks_run == tasks:
            known[position] = score
    best_first = sorted(known, key=lambda position: -known[position])
    return best_first + [position for position in range(len(models)) if position not in known]
    ### END SOLUTION


# %%
check("08.2", ranked)

# %%
# hint("08.2", 1)  # take the first # away for a nudge; hint("08.2", 2) says more

# %% [markdown]
# <details><summary>Solution</summary>
#
# The reference solution, executed, is in
# [solutions/08_choosing_a_model](../../solutions/08_choosing_a_model/08_choosing_a_model.ipynb).
# </details>
