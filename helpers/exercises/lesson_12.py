"""Exercise 12: a bill by the token, a number of machines, and a break-even that a machine can reach."""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from helpers.checks import Task

Case = tuple[Any, ...]
Answer = Callable[..., float]
HOURS = 730


def monthly_bill(
    token_counts: Sequence[float], texts: float, usd_per_million: float, batch_share: float, batch_discount: float
) -> float:
    """Reference: mean tokens, at the list price, less the discount on the share that waits."""
    return texts * float(np.mean(token_counts)) / 1e6 * usd_per_million * (1 - batch_share * batch_discount)


def _at_list(counts: Sequence[float], texts: float, usd: float) -> float:
    return monthly_bill(counts, texts, usd, 0, 0)


BILL_MISTAKES: dict[str, Answer] = {
    "the price is for a million tokens, and you count thousands": lambda *c: monthly_bill(*c) * 1000,
    "the price is for a million tokens, and you take it for one": lambda *c: monthly_bill(*c) * 1e6,
    "texts are billed as if each were one token": lambda n, t, u, s, d: monthly_bill([1], t, u, s, d),
    "the median stands for the mean, and long texts are paid in full": lambda n, *c: monthly_bill([median(n)], *c),
    "the longest text stands for the mean": lambda n, *c: monthly_bill([max(n)], *c),
    "the discount is left out": lambda n, t, u, s, d: _at_list(n, t, u),
    "the discount is given on every text, and only a share of them waits": lambda n, t, u, s, d: (
        _at_list(n, t, u) * (1 - d)
    ),
    "the batch share pays the discount instead of what the discount leaves": lambda n, t, u, s, d: (
        _at_list(n, t, u) * (1 - s + s * d)
    ),
    "the share that waits isn't billed at all": lambda n, t, u, s, d: _at_list(n, t, u) * (1 - s),
}


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


def machines_needed(texts: float, texts_per_s: float, utilisation: float, peak_factor: float, spare: int) -> int:
    """Reference: the volume over one machine's capacity, rounded up, and the spares."""
    return math.ceil(_load(texts, texts_per_s, utilisation, peak_factor)) + spare


def _load(texts: float, texts_per_s: float, utilisation: float, peak_factor: float) -> float:
    return texts * peak_factor / (texts_per_s * utilisation * HOURS * 3600)


MACHINES_MISTAKES: dict[str, Answer] = {
    "part of a machine is rounded to the nearest number; round up": lambda t, s, u, p, r: round(_load(t, s, u, p)) + r,
    "part of a machine is cut off, and the texts it would do are left": lambda t, s, u, p, r: (
        int(_load(t, s, u, p)) + r
    ),
    "the number isn't whole": lambda t, s, u, p, r: _load(t, s, u, p) + r,
    "the peak is on the wrong side: a higher peak needs more": lambda t, s, u, p, r: machines_needed(t, s, u, 1 / p, r),
    "the peak is left out": lambda t, s, u, p, r: machines_needed(t, s, u, 1, r),
    "utilisation is on the wrong side: a lower one needs more": lambda t, s, u, p, r: machines_needed(
        t, s, 1 / u, p, r
    ),
    "utilisation is left out": lambda t, s, u, p, r: machines_needed(t, s, 1, p, r),
    "the spare machines are missing": lambda t, s, u, p, r: machines_needed(t, s, u, p, 0),
    "an hour has 3600 seconds, and you count 60": lambda t, s, u, p, r: machines_needed(t * 60, s, u, p, r),
    "a month is taken for 720 hours": lambda t, s, u, p, r: machines_needed(t * HOURS / 720, s, u, p, r),
}


def _machines_cases(seed: int) -> list[Case]:
    """Cases whose load has a part below one half, so that rounding shows, and one above."""
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for part in (draw.uniform(0.2, 0.4), draw.uniform(0.6, 0.8), draw.uniform(0.1, 0.4)):
        speed, used, peak = float(draw.integers(50, 400)), float(draw.uniform(0.4, 0.6)), float(draw.uniform(2, 4))
        load = int(draw.integers(80, 150)) + part
        cases.append((load * speed * used * HOURS * 3600 / peak, speed, used, peak, int(draw.integers(1, 4))))
    return cases


def reachable_break_even(
    usd_per_hour: float, engineering: float, tokens: float, usd_per_million: float, capacity: float
) -> float:
    """Reference: the month's fixed sum over what the API bills a text; infinite above the capacity."""
    return _within(_break_even(usd_per_hour * HOURS + engineering, tokens, usd_per_million), capacity)


def _break_even(fixed_usd: float, tokens: float, usd_per_million: float) -> float:
    return fixed_usd / (tokens * usd_per_million / 1e6)


def _within(texts: float, capacity: float) -> float:
    return texts if texts <= capacity else math.inf


BREAK_EVEN_MISTAKES: dict[str, Answer] = {
    "the capacity isn't looked at, and a break-even above it is no break-even": lambda g, e, t, u, c: _break_even(
        g * HOURS + e, t, u
    ),
    "a break-even above the capacity is cut to it; the sums aren't equal there": lambda g, e, t, u, c: min(
        _break_even(g * HOURS + e, t, u), c
    ),
    "engineering is left out": lambda g, e, t, u, c: reachable_break_even(g, 0, t, u, c),
    "the rent of one hour stands for the month": lambda g, e, t, u, c: _within(_break_even(g + e, t, u), c),
    "the price is for a million tokens, and you take it for a thousand": lambda g, e, t, u, c: _within(
        _break_even(g * HOURS + e, t, u) / 1000, c
    ),
    "tokens are returned, and texts are asked for": lambda g, e, t, u, c: t * reachable_break_even(g, e, t, u, c),
    "a month is taken for 720 hours": lambda g, e, t, u, c: _within(_break_even(g * 720 + e, t, u), c),
    "the comparison with the capacity is the wrong way round": lambda g, e, t, u, c: (
        x if (x := _break_even(g * HOURS + e, t, u)) > c else math.inf
    ),
}


def _break_even_cases(seed: int) -> list[Case]:
    """Two that one machine reaches and two that it doesn't, in an order that the seed draws."""
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for room in draw.permutation([0.4, 0.7, 1.6, 4.0]):
        usd, engineering = float(draw.uniform(0.5, 2)), float(draw.integers(3, 20) * 100)
        tokens, price = float(draw.integers(60, 300)), float(draw.choice([0.02, 0.13]))
        capacity = _break_even(usd * HOURS + engineering, tokens, price) * float(room)
        cases.append((usd, engineering, tokens, price, capacity))
    return cases


def _judge(
    reference: Answer, mistakes: Mapping[str, Answer], unit: str, tolerance: float = 1e-6
) -> Callable[[Sequence[Case], Sequence[Any]], str | None]:
    """Compares numbers; a mistake is named if it explains every value."""

    def same(one: float, other: float) -> bool:
        return math.isclose(one, other, rel_tol=tolerance)

    def judge(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
        got = [float(np.asarray(v, dtype=float).reshape(())) for v in values]
        right = [reference(*case) for case in cases]
        off = next((i for i, (g, r) in enumerate(zip(got, right, strict=True)) if not same(g, r)), None)
        if off is None:
            return None
        told = f"case {off + 1} gives {got[off]:,.2f} instead of {right[off]:,.2f} {unit}"
        for sentence, mistake in mistakes.items():
            if all(same(g, mistake(*case)) for g, case in zip(got, cases, strict=True)):
                return f"{sentence}: {told}."
        return f"{told}. Write the unit of each factor beside it and see what is left."

    return judge


TASKS = {
    "12.1": Task(
        "12.1",
        "A bill with a batch share",
        4,
        _bill_cases,
        _judge(monthly_bill, BILL_MISTAKES, "dollars", 1e-3),  # rounding to cents is right as well
        (
            "What does the API count: texts, or something in them?",
            "The month's tokens are the texts times the mean of token_counts; the price is for 1,000,000 of them.",
            "The share that waits pays (1 - batch_discount), the rest pays 1.",
            "bill at list price * (1 - batch_share * batch_discount)",
        ),
    ),
    "12.2": Task(
        "12.2",
        "How many machines",
        4,
        _machines_cases,
        _judge(machines_needed, MACHINES_MISTAKES, "machines"),
        (
            "First ask what one machine can do in a month, then how many of those you need.",
            "Utilisation makes a machine's capacity smaller, and so does a peak. An hour has 3600 seconds.",
            "Divide, round up with math.ceil, then add the spare machines.",
            "math.ceil(texts_per_month / (texts_per_s * utilisation * 730 * 3600 / peak_factor)) + spare",
        ),
    ),
    "12.3": Task(
        "12.3",
        "A break-even that one machine can reach",
        4,
        _break_even_cases,
        _judge(reachable_break_even, BREAK_EVEN_MISTAKES, "texts a month"),
        (
            "Which costs are there whatever the volume, and what does the API bill for one text?",
            "Fixed: the rent of all 730 hours, and engineering. One text: its tokens times the price, over 1,000,000.",
            "Divide the one by the other. If that is more than the capacity, return math.inf.",
        ),
    ),
}
