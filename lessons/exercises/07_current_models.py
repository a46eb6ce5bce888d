# %% [markdown]
# # Exercise 07 · {{exercise_title}}
#
# Difficulty {{exercise_difficulty}} of 5 · importance {{exercise_importance}} of 5 · {{exercise_minutes}} minutes ·
# {{exercise_points}} points
#
# A static model by hand, then three functions that keep you from misreading a catalogue: a Pareto front, a filter,
# and a comparison that is made only where it is fair. Unknown values are `None` throughout; they are neither good
# nor bad, they are unknown.

# %%
from typing import Any

import numpy as np

from helpers.checks import check, hint

# %% [markdown]
# ## {{07.1}}
#
# Look up each token's vector, weight it, average, and give the result length one. The tokens come ready cut.


# %%
def static_embeddings(
    texts: list[list[str]], vocabulary: dict[str, int], table: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """One unit vector a text: the weighted mean of its tokens' vectors, normalised.

    Args:
        texts: the tokens of each text; a token that occurs twice counts twice.
        vocabulary: token to its row in the table. A token that isn't in it is left out.
        table: (v, d), one vector a token.
        weights: (v,), the weight of each token's vector, above 0.

    Returns:
        (len(texts), d), rows of length 1; zeros for a text without a known token.

    >>> static_embeddings([["hot", "tea"]], {"hot": 0, "tea": 1}, np.eye(2), np.array([3.0, 4.0]))
    array([[0.6, 0.8]])
    """
    ### BEGIN SOLUTION
    embeddings = np.zeros((len(texts), table.shape[1]))
    for row, tokens in enumerate(texts):
        ids = [vocabulary[token] for token in tokens if token in vocabulary]
        if ids:
            mean = (table[ids] * weights[ids][:, None]).mean(axis=0)
            embeddings[row] = mean / np.linalg.norm(mean)
    return embeddings
    ### END SOLUTION


# %%
check("07.1", static_embeddings)

# %%
# hint("07.1", 1)  # take the first # away for a nudge; hint("07.1", 2) says more

# %% [markdown]
# ## {{07.2}}
#
# A model is on the front if no other model is at least as good *and* at most as large, with one of the two better.
# Only models with a complete run, a known score and a known size take part.


# %%
def pareto_front(models: list[dict[str, Any]], tasks: int) -> list[int]:
    """The numbers of the models on the front of score and parameters.

    Args:
        models: each with `score` (float or None), `parameters` (int or None) and `tasks_run` (int or None).
        tasks: how many tasks a complete run of this benchmark has.

    Returns:
        Positions in `models`, smallest model first. Two models that are equal in both are both on the front,
        the earlier one first.

    >>> small = {"score": 60.0, "parameters": 30, "tasks_run": 41}
    >>> large = {"score": 65.0, "parameters": 300, "tasks_run": 41}
    >>> pareto_front([large, small, {"score": 70.0, "parameters": 20, "tasks_run": 40}], 41)
    [1, 0]
    """
    ### BEGIN SOLUTION
    ranked = [
        i
        for i, m in enumerate(models)
        if m["tasks_run"] == tasks and m["score"] is not None and m["parameters"] is not None
    ]

    def beats(a: dict[str, Any], b: dict[str, Any]) -> bool:
        no_worse = a["score"] >= b["score"] and a["parameters"] <= b["parameters"]
        return no_worse and (a["score"], a["parameters"]) != (b["score"], b["parameters"])

    front = [i for i in ranked if not any(beats(models[j], models[i]) for j in ranked)]
    return sorted(front, key=lambda i: models[i]["parameters"])
    ### END SOLUTION


# %%
check("07.2", pareto_front)

# %%
# hint("07.2", 1)  # take the first # away for a nudge; hint("07.2", 2) says more

# %% [markdown]
# ## {{07.3}}
#
# Your company ships a product, reads long texts, and runs no code from a model's repository. What it doesn't know,
# it doesn't ship.


# %%
def shortlist(models: list[dict[str, Any]], tokens: int) -> list[int]:
    """The numbers of the models that may be used.

    Args:
        models: rows of the catalogue, each with `license` (str or None), `max_tokens` (int or None) and
            `trust_remote_code` (bool or None).
        tokens: how many tokens a model must read, at least.

    Returns:
        Positions in `models`, rising: licence "mit" or "apache-2.0", context of at least `tokens`, and known
        to need no code of its own.

    >>> row = {"license": "mit", "max_tokens": 512, "trust_remote_code": False}
    >>> shortlist([row, row | {"license": None}, row | {"max_tokens": 256}], 512)
    [0]
    """
    ### BEGIN SOLUTION
    return [
        i
        for i, model in enumerate(models)
        if model["license"] in ("mit", "apache-2.0")
        and (model["max_tokens"] or 0) >= tokens
        and model["trust_remote_code"] is False
    ]
    ### END SOLUTION


# %%
check("07.3", shortlist)

# %%
# hint("07.3", 1)  # take the first # away for a nudge; hint("07.3", 2) says more

# %% [markdown]
# ## {{07.4}}
#
# Two models, their runs of several benchmarks. How far is one ahead of the other, on each benchmark that both have
# completed?

# %%
Runs = dict[str, tuple[float | None, int | None]]


# %%
def fair_differences(one: Runs, other: Runs, tasks: dict[str, int]) -> dict[str, float]:
    """Score of `one` minus score of `other` for each benchmark that both have run completely.

    Args:
        one: benchmark to (mean score or None, tasks run or None); a benchmark that wasn't run may be missing.
        other: the same for the other model.
        tasks: benchmark to the number of tasks of a complete run.

    Returns:
        Benchmark to difference; empty where no fair comparison can be made.

    >>> tasks = {"MTEB(eng, v1)": 56, "MTEB(eng, v2)": 41}
    >>> one = {"MTEB(eng, v2)": (70.5, 41)}
    >>> fair_differences(one, {"MTEB(eng, v2)": (66.0, 41), "MTEB(eng, v1)": (64.0, 56)}, tasks)
    {'MTEB(eng, v2)': 4.5}
    """
    ### BEGIN SOLUTION
    differences = {}
    for benchmark, full in tasks.items():
        (a, a_run), (b, b_run) = one.get(benchmark, (None, None)), other.get(benchmark, (None, None))
        if a is not None and b is not None and a_run == b_run == full:
            differences[benchmark] = a - b
    return differences
    ### END SOLUTION


# %%
check("07.4", fair_differences)

# %%
# hint("07.4", 1)  # take the first # away for a nudge; hint("07.4", 2) says more

# %% [markdown]
# <details><summary>Solution</summary>
#
# The reference solution, executed, is in
# [solutions/07_current_models](../../solutions/07_current_models/07_current_models.ipynb).
# </details>
