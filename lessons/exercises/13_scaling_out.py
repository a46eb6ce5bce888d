# %% [markdown]
# # Exercise 13 · {{exercise_title}}
#
# Difficulty {{exercise_difficulty}} of 5 · importance {{exercise_importance}} of 5 · {{exercise_minutes}} minutes ·
# {{exercise_points}} points
#
# Three plans that a job on several machines needs before it starts: who does which rows, how many actors there may
# be, and how many machines meet a deadline. Nothing is run on several machines here.

# %%
import heapq
import math

from helpers.checks import check, hint

# %% [markdown]
# ## {{13.1}}
#
# A job ends when its slowest shard does. A shard's time follows its tokens, not its rows. Corpora are often sorted,
# or have their long rows at regular places: neither slices of equal rows nor dealing out in turn is safe. No shard
# may have more than `1.05` times the mean of the shards' tokens.


# %%
def assign(token_counts: list[int], shards: int) -> list[int]:
    """The shard of each row.

    Args:
        token_counts: tokens of each of n rows; n is much larger than `shards`.
        shards: how many shards there are.

    Returns:
        n numbers from 0 to `shards - 1`; any that are even enough are right.

    >>> assign([9, 1, 5, 5], 2)
    [0, 0, 1, 1]
    """
    ### BEGIN SOLUTION
    loads = [(0, shard) for shard in range(shards)]
    found = [0] * len(token_counts)
    for row in sorted(range(len(token_counts)), key=lambda row: -token_counts[row]):
        tokens, shard = heapq.heappop(loads)
        found[row] = shard
        heapq.heappush(loads, (tokens + token_counts[row], shard))
    return found
    ### END SOLUTION


# %%
check("13.1", assign)

# %%
# hint("13.1", 1)  # take the first # away for a nudge; hint("13.1", 2) says more

# %% [markdown]
# ## {{13.2}}
#
# Actors hold their CPUs until the job ends. A task that reads asks for CPUs too, and if no machine has them left, it
# never starts and the actors wait for it for ever. How large may the pool be?
#
# No actor may be split over two machines, nor may the task; different actors may lie on different machines. Assume
# that all are placed as well as can be. Ray counts CPUs in whole ten-thousandths, so `0.2` is exact there, which it
# isn't in a float: count as Ray does.


# %%
def most_actors(nodes: list[float], cpus_each: float, task_cpus: float) -> int:
    """The largest pool that leaves room for one task.

    Args:
        nodes: the CPUs of each machine of the cluster.
        cpus_each: the CPUs that each actor asks for; above 0.
        task_cpus: the CPUs that the task asks for.

    Returns:
        How many actors; 0 if no machine has room for the task.

    >>> most_actors([2.0], 0.8, 1.0)
    1
    >>> most_actors([1.0, 4.0], 0.8, 1.0)
    5
    """
    ### BEGIN SOLUTION
    units = [round(cpus * 10_000) for cpus in nodes]
    actor, task = round(cpus_each * 10_000), round(task_cpus * 10_000)
    full = sum(cpus // actor for cpus in units)
    pools = [full - cpus // actor + (cpus - task) // actor for cpus in units if cpus >= task]
    return max(pools, default=0)
    ### END SOLUTION


# %%
check("13.2", most_actors)

# %%
# hint("13.2", 1)  # take the first # away for a nudge; hint("13.2", 2) says more

# %% [markdown]
# ## {{13.3}}
#
# A corpus must be embedded by a deadline. Every machine first starts up, then does its equal part of the texts; all
# are rented, by the second, from the first boot to the last vector.


# %%
def fewest_machines(
    texts: float,
    texts_per_s: float,
    startup_s: float,
    usd_per_hour: float,
    deadline_hours: float,
) -> tuple[int, float, float]:
    """The fewest machines that meet a deadline, and what they take.

    Args:
        texts: texts of the corpus; above 0.
        texts_per_s: what one machine does.
        startup_s: seconds from a machine's boot to its first text.
        usd_per_hour: rent of one machine.
        deadline_hours: hours from the first boot.

    Returns:
        Machines, hours that the job takes, US dollars; `(0, math.inf, math.inf)` if no number of machines is enough.

    >>> fewest_machines(3_600_000, 500, 1800, 2.0, 1.5)
    (2, 1.5, 6.0)
    """
    ### BEGIN SOLUTION
    work_s = texts / texts_per_s
    left_s = deadline_hours * 3600 - startup_s
    if left_s <= 0:
        return 0, math.inf, math.inf
    machines = math.ceil(work_s / left_s)
    hours = (startup_s + work_s / machines) / 3600
    return machines, hours, machines * hours * usd_per_hour
    ### END SOLUTION


# %%
check("13.3", fewest_machines)

# %%
# hint("13.3", 1)  # take the first # away for a nudge; hint("13.3", 2) says more

# %% [markdown]
# <details><summary>Solution</summary>
#
# The reference solution, executed, is in
# [solutions/13_scaling_out](../../solutions/13_scaling_out/13_scaling_out.ipynb).
# </details>
