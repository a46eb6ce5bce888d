"""What embedding texts costs a month: by an API that bills tokens, or on machines that bill hours.

The sums are plain functions with the unit in every name; `Fleet` adds what a sum of two prices leaves
out (capacity, peaks, spare machines, people). Prices come from `catalog.prices()`, each with source and
date. Figures and the panel are in `plots`. A month has 730 hours, a twelfth of a year.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import pandas as pd

from helpers import catalog
from helpers.errors import CourseError, nearest

HOURS_PER_MONTH = 730.0


def price(provider: str, item: str) -> catalog.Price:
    """The price row of a provider whose item begins with `item`, in any case.

    Raises:
        CourseError: there is no such row, or its price is unknown.
    """
    of = [p for p in catalog.prices() if p.provider.lower() == provider.lower()]
    offer = next((p for p in of if p.item.lower().startswith(item.lower())), None)
    if offer is None:
        known = [p.item for p in of] if of else [p.provider for p in catalog.prices()]
        wanted = item if of else provider
        raise CourseError(f"The prices have no {provider} {item!r}.{nearest(wanted, known)}")
    if offer.price_usd is None:
        raise CourseError(f"The price of {offer.name} is unknown: state your own.")
    return offer


def api_usd_per_month(texts_per_month: float, tokens_per_text: float, usd_per_million_tokens: float) -> float:
    """What an API bills a month, in US dollars: tokens in millions times the price of a million.

    Raises:
        CourseError: a number is negative or not finite.
    """
    _check(texts_per_month=texts_per_month, tokens_per_text=tokens_per_text)
    _check(usd_per_million_tokens=usd_per_million_tokens)
    return texts_per_month * tokens_per_text / 1_000_000 * usd_per_million_tokens


def gpu_usd_per_month(usd_per_hour: float, hours_per_month: float = HOURS_PER_MONTH) -> float:
    """What one rented machine costs a month, in US dollars, busy or idle.

    Raises:
        CourseError: a number is negative or not finite.
    """
    _check(usd_per_hour=usd_per_hour, hours_per_month=hours_per_month)
    return usd_per_hour * hours_per_month


def break_even_texts_per_month(
    self_hosted_usd_per_month: float, tokens_per_text: float, usd_per_million_tokens: float
) -> float:
    """The texts a month at which an API bills as much as a fixed monthly sum, whatever a machine can do.

    Infinite where the API costs nothing and the fixed sum does.

    Raises:
        CourseError: a number is negative or not finite.
    """
    _check(self_hosted_usd_per_month=self_hosted_usd_per_month)
    usd_per_text = api_usd_per_month(1, tokens_per_text, usd_per_million_tokens)
    if self_hosted_usd_per_month == 0:
        return 0.0
    return self_hosted_usd_per_month / usd_per_text if usd_per_text > 0 else math.inf


def capacity_texts_per_month(
    texts_per_s: float,
    *,
    utilisation: float = 1.0,
    peak_factor: float = 1.0,
    hours_per_month: float = HOURS_PER_MONTH,
) -> float:
    """How many texts a month one machine can do: texts/s x utilisation x hours x 3600 / peak factor.

    Args:
        texts_per_s: throughput on texts like yours, measured or stated.
        utilisation: the share of that throughput you plan to use at the peak, above 0 and at most 1.
        peak_factor: the busiest rate over the mean rate, at least 1. A fleet is built for its peak.
        hours_per_month: hours it runs.

    Raises:
        CourseError: a number is out of its range.
    """
    _check(texts_per_s=texts_per_s, hours_per_month=hours_per_month, utilisation=utilisation, peak_factor=peak_factor)
    if not 0 < utilisation <= 1:
        raise CourseError(f"utilisation is a share above 0 and at most 1, but it is {utilisation:g}.")
    if peak_factor < 1:
        raise CourseError(f"peak_factor is the peak over the mean, so at least 1, but it is {peak_factor:g}.")
    return texts_per_s * utilisation * hours_per_month * 3600 / peak_factor


@dataclass(frozen=True)
class BreakEven:
    """Where a fleet first costs no more than an API.

    `texts_per_month` is infinite and `machines` None where it never does. `machines` counts those that work,
    without spares.
    """

    texts_per_month: float
    machines: int | None

    @property
    def on_one_machine(self) -> bool:
        """Whether one machine's capacity reaches it."""
        return self.machines == 1

    def __str__(self) -> str:
        if self.machines is None:
            return "never pays"
        reached = f"break-even at {millions(self.texts_per_month)} texts a month"
        if self.on_one_machine:
            return f"{reached}, within one machine's capacity"
        return f"{reached}, unreachable on one machine: it takes {self.machines}"


@dataclass(frozen=True)
class Fleet:
    """Equal machines that embed, and what they need beside their rent.

    A machine computes tokens, so its capacity in texts follows from their length: `tokens_per_s` is what one does at
    full load, `tokens_per_text` the mean. `utilisation` and `peak_factor` are those of `capacity_texts_per_month`;
    `spare_machines` run beside the working ones so that one may fail; engineering is paid each month, whatever the
    volume.

    Raises:
        CourseError: a number is out of its range.
    """

    usd_per_hour: float
    tokens_per_s: float
    tokens_per_text: float
    utilisation: float = 1.0
    peak_factor: float = 1.0
    spare_machines: int = 0
    engineering_hours_per_month: float = 0.0
    usd_per_engineering_hour: float = 0.0
    hours_per_month: float = HOURS_PER_MONTH

    def __post_init__(self) -> None:
        _check(**{f.name: getattr(self, f.name) for f in fields(self)})
        if self.spare_machines != int(self.spare_machines):
            raise CourseError(f"spare_machines is a whole number, but it is {self.spare_machines:g}.")
        if 0 in (self.tokens_per_s, self.tokens_per_text, self.hours_per_month):
            raise CourseError("A fleet that embeds nothing has no cost a text: tokens and hours must be above 0.")
        _ = self.capacity_texts_per_month  # refuses what is out of its range

    @cached_property
    def capacity_texts_per_month(self) -> float:
        """Texts a month that one machine can do at this utilisation and peak."""
        return capacity_texts_per_month(
            self.tokens_per_s / self.tokens_per_text,
            utilisation=self.utilisation,
            peak_factor=self.peak_factor,
            hours_per_month=self.hours_per_month,
        )

    def machines(self, texts_per_month: float) -> int:
        """Machines that work for this volume, spares not counted; at least one."""
        _check(texts_per_month=texts_per_month)
        return max(1, math.ceil(texts_per_month / self.capacity_texts_per_month - 1e-9))

    def usd_per_month(self, texts_per_month: float) -> float:
        """Rent of working and spare machines, and engineering, in US dollars a month."""
        return self._usd(self.machines(texts_per_month))

    def break_even(self, usd_per_million_tokens: float) -> BreakEven:
        """The smallest volume at which this fleet costs no more than the API.

        With k working machines the fleet costs fixed + k x rent and can do k x capacity, for which the API
        bills k x capacity x price a text: the smallest k that gives the API the larger sum decides.
        Just above each further step the API may be cheaper again for a while.
        """
        usd_per_text = api_usd_per_month(1, self.tokens_per_text, usd_per_million_tokens)
        rent = self._usd(2) - self._usd(1)
        fixed = self._usd(1) - rent
        saved = usd_per_text * self.capacity_texts_per_month - rent
        if usd_per_text == 0 or saved < 0 or (saved == 0 and fixed > 0):
            return BreakEven(math.inf, None)
        ratio = fixed / saved if saved > 0 else 0.0
        if not math.isfinite(ratio):
            return BreakEven(math.inf, None)
        k = max(1, math.ceil(ratio - 1e-9))
        return BreakEven(min(self._usd(k) / usd_per_text, k * self.capacity_texts_per_month), k)

    def _usd(self, working: int) -> float:
        rent = gpu_usd_per_month(self.usd_per_hour, self.hours_per_month) * (working + self.spare_machines)
        return rent + self.engineering_hours_per_month * self.usd_per_engineering_hour


Range = tuple[float, float]


def draw_break_even(
    ranges: Mapping[str, Range],
    usd_per_million_tokens: Range,
    *,
    draws: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Break-even where nothing is known but ranges: each draw takes a value from each range, and sums.

    Args:
        ranges: a field of `Fleet` to its lowest and highest value; (a, a) for what is known. Values are drawn
            evenly on a log scale, or evenly where the range touches 0; `spare_machines` is a whole number.
        usd_per_million_tokens: lowest and highest.
        draws: how many.
        seed: of the draws.

    Returns:
        One row a draw: the drawn values, `break_even_texts_per_month` (inf: never), and `machines` (NaN: never).

    Raises:
        CourseError: a range has its ends the wrong way round, or a name is no field of `Fleet`.
    """
    every = {**ranges, "usd_per_million_tokens": usd_per_million_tokens}
    for name, (low, high) in every.items():
        _check(**{name: low})
        _check(**{name: high})
        if low > high:
            raise CourseError(f"The range of {name} goes from {low:g} down to {high:g}: swap its ends.")
    if unknown := set(ranges) - {f.name for f in fields(Fleet)}:
        raise CourseError(f"Fleet has no field {sorted(unknown)[0]!r}.")
    if draws < 1:
        raise CourseError(f"At least one draw is needed, but draws is {draws}.")
    random = np.random.default_rng(seed)
    drawn = pd.DataFrame(
        {
            name: random.integers(int(low), int(high) + 1, draws)
            if name == "spare_machines"
            else np.exp(random.uniform(np.log(low), np.log(high), draws)).clip(low, high)
            if low > 0
            else random.uniform(low, high, draws)
            for name, (low, high) in every.items()
        }
    )
    results = [fleet.break_even(usd) for fleet, usd in scenarios(drawn)]
    drawn["break_even_texts_per_month"] = [b.texts_per_month for b in results]
    drawn["machines"] = [math.nan if b.machines is None else b.machines for b in results]
    return drawn


def break_even_quantiles(drawn: pd.DataFrame, shares: tuple[float, ...] = (0.025, 0.5, 0.975)) -> list[float]:
    """Quantiles of the break-even over all draws, in texts a month; infinite where that draw never breaks even."""
    texts = drawn["break_even_texts_per_month"]
    return [float(texts.quantile(share, interpolation="nearest")) for share in shares]


def scenarios(drawn: pd.DataFrame) -> list[tuple[Fleet, float]]:
    """Each row of `draw_break_even` as a fleet, and dollars per million tokens."""
    names = [f.name for f in fields(Fleet) if f.name in drawn]
    rows = drawn.to_dict("records")
    return [(Fleet(**{n: r[n] for n in names}), r["usd_per_million_tokens"]) for r in rows]


def millions(texts: float) -> str:
    """A volume for a person: `367M`, `12,000M`, `0.40M`, `never` (infinite)."""
    if math.isinf(texts):
        return "never"
    return f"{texts / 1e6:,.0f}M" if texts >= 1e7 else f"{texts / 1e6:,.2f}M"


def _check(**numbers: float) -> None:
    for name, value in numbers.items():
        if isinstance(value, bool) or not math.isfinite(value) or value < 0:
            raise CourseError(f"{name} must be a finite number of 0 or more, but it is {value!r}.")
