# %% [markdown]
# # Exercise 09 · {{exercise_title}}
#
# Difficulty {{exercise_difficulty}} of 5 · importance {{exercise_importance}} of 5 · {{exercise_minutes}} minutes ·
# {{exercise_points}} points
#
# Three figures of a leaderboard, by hand: the zero-shot share, the two means, and the points behind its rank.

# %%
from helpers.checks import check, hint

# %% [markdown]
# ## {{09.1}}
#
# How much of a benchmark has a model not been trained on?


# %%
def zero_shot_share(training: set[str] | None, tasks: list[str]) -> float | None:
    """The percentage of tasks, 0 to 100, that aren't among the training sets.

    Args:
        training: names of the data that the model was trained on; None if nothing is declared.
        tasks: names of the benchmark's tasks, each once, at least one.

    Returns:
        The share, not rounded; None where it is unknown.

    >>> zero_shot_share({"MSMARCO", "Mine"}, ["MSMARCO", "NQ", "HotpotQA", "FEVER"])
    75.0
    """
    ### BEGIN SOLUTION
    if training is None:
        return None
    return 100 * sum(task not in training for task in tasks) / len(tasks)
    ### END SOLUTION


# %%
check("09.1", zero_shot_share)

# %%
# hint("09.1", 1)  # take the first # away for a nudge; hint("09.1", 2) says more

# %% [markdown]
# ## {{09.2}}
#
# The leaderboard shows a mean over tasks, and a mean over task types. They differ where a type has many tasks.


# %%
def means(scores: dict[str, float], types: dict[str, str]) -> tuple[float, float]:
    """The mean over tasks, and the mean over the means of the types.

    Args:
        scores: task to score, of the tasks that were run.
        types: task to type, for these and other tasks. What wasn't run takes no part.

    >>> means({"a": 40.0, "b": 60.0, "c": 80.0}, {"a": "STS", "b": "STS", "c": "Retrieval"})
    (60.0, 65.0)
    """
    ### BEGIN SOLUTION
    by_type: dict[str, list[float]] = {}
    for task, score in scores.items():
        by_type.setdefault(types[task], []).append(score)
    of_types = [sum(some) / len(some) for some in by_type.values()]
    return sum(scores.values()) / len(scores), sum(of_types) / len(of_types)
    ### END SOLUTION


# %%
check("09.2", means)

# %%
# hint("09.2", 1)  # take the first # away for a nudge; hint("09.2", 2) says more

# %% [markdown]
# ## {{09.3}}
#
# The leaderboard ranks by Borda count: each task is a voter, and a model gets a point for every model it beats there.


# %%
def borda(scores: dict[str, dict[str, float]]) -> dict[str, int]:
    """The points of each model, summed over the tasks that *all* models have run.

    Args:
        scores: model to task to score. Some models have run tasks that others haven't.

    Returns:
        Model to points: in each task, one for every other model with a strictly lower score.

    >>> borda({"m": {"a": 60.0, "b": 50.0}, "n": {"a": 55.0, "b": 70.0, "c": 99.0}, "o": {"a": 40.0, "b": 45.0}})
    {'m': 3, 'n': 3, 'o': 0}
    """
    ### BEGIN SOLUTION
    tasks = set.intersection(*(set(runs) for runs in scores.values()))
    return {
        model: sum(other[task] < runs[task] for task in tasks for other in scores.values())
        for model, runs in scores.items()
    }
    ### END SOLUTION


# %%
check("09.3", borda)

# %%
# hint("09.3", 1)  # take the first # away for a nudge; hint("09.3", 2) says more

# %% [markdown]
# <details><summary>Solution</summary>
#
# The reference solution, executed, is in
# [solutions/09_mteb](../../solutions/09_mteb/09_mteb.ipynb).
# </details>
