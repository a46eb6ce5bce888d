"""What texts cost: at an API and on machines (`money`), a whole corpus (`jobs`), in figures (`plots`)."""

from helpers.costs.money import (
    HOURS_PER_MONTH,
    BreakEven,
    Fleet,
    Range,
    api_usd_per_month,
    break_even_quantiles,
    break_even_texts_per_month,
    capacity_texts_per_month,
    draw_break_even,
    gpu_usd_per_month,
    millions,
    price,
    scenarios,
)

__all__ = [
    "HOURS_PER_MONTH",
    "BreakEven",
    "Fleet",
    "Range",
    "api_usd_per_month",
    "break_even_quantiles",
    "break_even_texts_per_month",
    "capacity_texts_per_month",
    "draw_break_even",
    "gpu_usd_per_month",
    "millions",
    "price",
    "scenarios",
]
