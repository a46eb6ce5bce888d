"""Right answers to exercise 12, written without the reference."""

import math
from fractions import Fraction
from typing import Any

import numpy as np

from helpers.exercises import lesson_12 as twelve


def in_two_parts(counts: Any, texts: Any, usd: Any, share: Any, discount: Any) -> Any:
    """The batch part and the rest, in numpy, rounded to cents."""
    parts = np.array([share, 1 - share]) * texts * np.mean(counts)
    return np.round(parts @ np.array([usd * (1 - discount), usd]) / 1e6, 2)


def by_seconds(texts: Any, speed: Any, used: Any, peak: Any, spare: Any) -> Any:
    """From the rate at the peak, as a float."""
    peak_rate = texts / (730 * 3600) * peak
    return float(-(-peak_rate // (speed * used)) + spare)


def by_fractions(usd: Any, care: Any, tokens: Any, price: Any, capacity: Any) -> Any:
    texts = (Fraction(usd) * 730 + Fraction(care)) * 1_000_000 / (Fraction(tokens) * Fraction(price))
    return float("inf") if texts > Fraction(capacity) else float(texts)


def by_bills(usd: Any, care: Any, tokens: Any, price: Any, capacity: Any) -> Any:
    """Whether the API's bill at full capacity covers the machine; whole texts."""
    fixed, bill = usd * 730 + care, capacity * tokens * price / 1e6
    return int(fixed / bill * capacity) if fixed <= bill else math.inf


RIGHT: dict[str, list[Any]] = {
    "12.1": [twelve.monthly_bill, in_two_parts],
    "12.2": [twelve.machines_needed, by_seconds],
    "12.3": [twelve.reachable_break_even, by_fractions, by_bills],
}
