# %% [markdown]
# # Exercise 12 · {{exercise_title}}
#
# Difficulty {{exercise_difficulty}} of 5 · importance {{exercise_importance}} of 5 · {{exercise_minutes}} minutes ·
# {{exercise_points}} points
#
# Three sums that a budget rests on: a bill by the token, the number of machines, and a break-even that a machine
# can reach. All amounts are in US dollars, and a month has 730 hours, a twelfth of a year.

# %%
import math

from helpers.checks import check, hint

HOURS_PER_MONTH = 730

# %% [markdown]
# ## {{12.1}}
#
# You counted the tokens of a sample of your texts. Part of the month's texts can wait for the batch price. The
# batch discount is the share of the price that is taken off.


# %%
def monthly_bill(
    token_counts: list[int],
    texts_per_month: float,
    usd_per_million_tokens: float,
    batch_share: float,
    batch_discount: float,
) -> float:
    """What an API bills a month, in US dollars.

    Args:
        token_counts: the tokens of each text of a sample; the month's texts are like it.
        texts_per_month: how many texts.
        usd_per_million_tokens: list price of a million tokens.
        batch_share: share of the texts that go through the batch API, 0 to 1.
        batch_discount: what the batch API takes off the list price, 0 to 1.

    >>> monthly_bill([50, 150], 10_000_000, 0.02, 0.5, 0.25)
    17.5
    """
    ### BEGIN SOLUTION
    tokens_per_text = sum(token_counts) / len(token_counts)
    list_price = texts_per_month * tokens_per_text / 1_000_000 * usd_per_million_tokens
    return list_price * (1 - batch_share * batch_discount)
    ### END SOLUTION


# %%
check("12.1", monthly_bill)

# %%
# hint("12.1", 1)  # take the first # away for a nudge; hint("12.1", 2) says more

# %% [markdown]
# ## {{12.2}}
#
# Machines are bought whole, for the busiest hour, with room to spare, and some stand by in case one fails.


# %%
def machines_needed(
    texts_per_month: float,
    texts_per_s: float,
    utilisation: float,
    peak_factor: float,
    spare: int,
) -> int:
    """Machines that work, and the spare ones with them.

    Args:
        texts_per_month: how many texts; above 0.
        texts_per_s: what one machine does at full throughput.
        utilisation: the share of that throughput to plan for at the peak, 0 to 1.
        peak_factor: the busiest rate over the mean rate, at least 1.
        spare: machines beside those that work.

    >>> machines_needed(100_000_000, 100, 0.5, 2.0, 1)
    3
    """
    ### BEGIN SOLUTION
    capacity = texts_per_s * utilisation * HOURS_PER_MONTH * 3600 / peak_factor
    return math.ceil(texts_per_month / capacity) + spare
    ### END SOLUTION


# %%
check("12.2", machines_needed)

# %%
# hint("12.2", 1)  # take the first # away for a nudge; hint("12.2", 2) says more

# %% [markdown]
# ## {{12.3}}
#
# A break-even above the machine's capacity is no break-even: say so with infinity.


# %%
def reachable_break_even(
    usd_per_hour: float,
    engineering_usd_per_month: float,
    tokens_per_text: float,
    usd_per_million_tokens: float,
    capacity_texts_per_month: float,
) -> float:
    """Texts a month at which one machine and its care cost what the API bills.

    Args:
        usd_per_hour: rent of the machine, busy or idle.
        engineering_usd_per_month: what its care costs.
        tokens_per_text: mean tokens of a text.
        usd_per_million_tokens: price of the API.
        capacity_texts_per_month: what the machine can do.

    Returns:
        Texts a month; `math.inf` if the machine can't do as many.

    >>> reachable_break_even(0.5, 35, 100, 0.02, 500_000_000)
    200000000.0
    >>> reachable_break_even(0.5, 35, 100, 0.02, 100_000_000)
    inf
    """
    ### BEGIN SOLUTION
    fixed = usd_per_hour * HOURS_PER_MONTH + engineering_usd_per_month
    texts = fixed / (tokens_per_text * usd_per_million_tokens / 1_000_000)
    return texts if texts <= capacity_texts_per_month else math.inf
    ### END SOLUTION


# %%
check("12.3", reachable_break_even)

# %%
# hint("12.3", 1)  # take the first # away for a nudge; hint("12.3", 2) says more

# %% [markdown]
# <details><summary>Solution</summary>
#
# The reference solution, executed, is in
# [solutions/12_costs](../../solutions/12_costs/12_costs.ipynb).
# </details>
