"""Exercise 12: a bill by the token, a number of machines, and a break-even that a machine can reach."""

import math
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np

from helpers.checks.judges import ByReference, Number
from helpers.checks.tasks import Case, Task

HOURS = 730
ADVICE = "Write the unit of each factor beside it and see what is left."


# 12.1


def monthly_bill(
    counts: Sequence[float],
    texts: float,
    usd: float,
    share: float,
    discount: float,
    *,
    per: float = 1e6,
    typical: Callable[[Any], Any] = np.mean,
    pays: Callable[[float, float], float] = lambda share, discount: 1 - share * discount,
) -> float:
    """Reference: mean tokens, at the list price, less the discount on the share that waits."""
    return texts * float(typical(counts)) / per * usd * pays(share, discount)


def _bill_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    return [
        (
            [int(n) for n in draw.lognormal(4, 1, 9) + 5] + [1500],
            float(draw.integers(2, 90) * 1_000_000),
            float(draw.choice([0.02, 0.06, 0.13])),
            float(draw.uniform(0.55, 0.85)),
            float(draw.choice([0.2, 0.33])),
        )
        for _ in range(3)
    ]


BILL = ByReference(
    monthly_bill,
    Number("return one number", rtol=1e-3, show=",.2f", unit=" dollars"),  # rounding to cents is right as well
    ADVICE,
    mistakes={
        "the price is for a million tokens, and you count thousands": {"per": 1e3},
        "the price is for a million tokens, and you take it for one": {"per": 1},
        "texts are billed as if each were one token": {"typical": lambda counts: 1},
        "the median stands for the mean, and long texts are paid in full": {"typical": median},
        "the longest text stands for the mean": {"typical": max},
        "the discount is left out": {"pays": lambda share, discount: 1},
        "the discount is given on every text, and only a share of them waits": {
            "pays": lambda share, discount: 1 - discount
        },
        "the batch share pays the discount instead of what the discount leaves": {
            "pays": lambda share, discount: 1 - share + share * discount
        },
        "the share that waits isn't billed at all": {"pays": lambda share, discount: 1 - share},
    },
)


# 12.2


def machines_needed(
    texts: float,
    texts_per_s: float,
    utilisation: float,
    peak: float,
    spare: int,
    *,
    rounded: Callable[[float], float] = math.ceil,
    hours: float = HOURS,
) -> float:
    """Reference: the volume over one machine's capacity, rounded up, and the spares."""
    return rounded(texts * peak / (texts_per_s * utilisation * hours * 3600)) + spare


def _machines_cases(seed: int) -> list[Case]:
    """Cases whose load has a part below one half, so that rounding shows, and one above."""
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for part in (draw.uniform(0.2, 0.4), draw.uniform(0.6, 0.8), draw.uniform(0.1, 0.4)):
        speed, used, peak = float(draw.integers(50, 400)), float(draw.uniform(0.4, 0.6)), float(draw.uniform(2, 4))
        load = int(draw.integers(80, 150)) + part
        cases.append((load * speed * used * HOURS * 3600 / peak, speed, used, peak, int(draw.integers(2, 5))))
    return cases


MACHINES = ByReference(
    machines_needed,
    Number("return one number", show=",.2f", unit=" machines"),
    ADVICE,
    mistakes={
        "part of a machine is rounded to the nearest number; round up": {"rounded": round},
        "part of a machine is cut off, and the texts it would do are left": {"rounded": int},
        "the number isn't whole": {"rounded": float},
        "the peak is on the wrong side: a higher peak needs more": lambda t, s, u, p, r: machines_needed(
            t, s, u, 1 / p, r
        ),
        "the peak is left out": lambda t, s, u, p, r: machines_needed(t, s, u, 1, r),
        "utilisation is on the wrong side: a lower one needs more": lambda t, s, u, p, r: machines_needed(
            t, s, 1 / u, p, r
        ),
        "utilisation is left out": lambda t, s, u, p, r: machines_needed(t, s, 1, p, r),
        "the spare machines are missing": lambda t, s, u, p, r: machines_needed(t, s, u, p, 0),
        "an hour has 3600 seconds, and you count 60": {"hours": HOURS / 60},
        "a month is taken for 720 hours": {"hours": 720},
    },
)


# 12.3


def reachable_break_even(
    usd_per_hour: float,
    engineering: float,
    tokens: float,
    usd_per_million: float,
    capacity: float,
    *,
    hours: float = HOURS,
    per: float = 1e6,
    beyond: Callable[[float, float], float] = lambda texts, capacity: texts if texts <= capacity else math.inf,
) -> float:
    """Reference: the month's fixed sum over what the API bills a text; infinite above the capacity."""
    return beyond((usd_per_hour * hours + engineering) / (tokens * usd_per_million / per), capacity)


def _break_even_cases(seed: int) -> list[Case]:
    """Two that one machine reaches and two that it doesn't, in an order that the seed draws."""
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for room in draw.permutation([0.4, 0.7, 1.6, 4.0]):
        usd, engineering = float(draw.uniform(0.5, 2)), float(draw.integers(3, 20) * 100)
        tokens, price = float(draw.integers(60, 300)), float(draw.choice([0.02, 0.13]))
        capacity = reachable_break_even(usd, engineering, tokens, price, math.inf) * float(room)
        cases.append((usd, engineering, tokens, price, capacity))
    return cases


BREAK_EVEN = ByReference(
    reachable_break_even,
    Number("return one number", show=",.2f", unit=" texts a month"),
    ADVICE,
    mistakes={
        "the capacity isn't looked at, and a break-even above it is no break-even": {
            "beyond": lambda texts, capacity: texts
        },
        "a break-even above the capacity is cut to it; the sums aren't equal there": {"beyond": min},
        "engineering is left out": lambda g, e, t, u, c: reachable_break_even(g, 0, t, u, c),
        "the rent of one hour stands for the month": {"hours": 1},
        "the price is for a million tokens, and you take it for a thousand": {"per": 1e3},
        "tokens are returned, and texts are asked for": lambda g, e, t, u, c: t * reachable_break_even(g, e, t, u, c),
        "a month is taken for 720 hours": {"hours": 720},
        "the comparison with the capacity is the wrong way round": {
            "beyond": lambda texts, capacity: texts if texts > capacity else math.inf
        },
    },
)


TASKS = {
    task.id: task
    for task in (
        Task("12.1", _bill_cases, BILL),
        Task("12.2", _machines_cases, MACHINES),
        Task("12.3", _break_even_cases, BREAK_EVEN),
    )
}
