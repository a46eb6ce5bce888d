"""What embedding costs: the brief's figures, the corrected ones, and what must hold for any numbers."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt

from helpers import catalog, costs
from helpers.costs import Fleet, plots
from helpers.errors import CourseError

volumes = st.floats(0, 1e11)
tokens = st.floats(1, 1e4)
api_prices = st.floats(1e-3, 1)
factors = st.floats(1, 100)
fleets = st.builds(
    Fleet,
    usd_per_hour=st.floats(0.01, 50),
    tokens_per_s=st.floats(50, 1e7),
    tokens_per_text=st.floats(1, 1e4),
    utilisation=st.floats(0.05, 1),
    peak_factor=st.floats(1, 20),
    spare_machines=st.integers(0, 4),
    engineering_hours_per_month=st.floats(0, 200),
    usd_per_engineering_hour=st.floats(0, 300),
)


# The brief's figures and their corrections


def test_the_briefs_inputs_give_the_briefs_figures() -> None:
    assert f"{costs.api_usd_per_month(10_000_000, 100, 0.02):.2f}" == "20.00"
    assert f"{costs.api_usd_per_month(10_000_000, 100, 0.13):.2f}" == "130.00"
    assert round(costs.break_even_texts_per_month(300, 100, 0.02)) == 150_000_000


@pytest.mark.parametrize(
    ("provider", "item", "month", "texts"), [("AWS", "g5.xlarge", 734, 367), ("Lambda", "1x A10 24GB", 942, 471)]
)
def test_a_rented_a10_costs_what_its_hours_cost_and_breaks_even_later(
    provider: str, item: str, month: int, texts: int
) -> None:
    api = costs.price("OpenAI", "text-embedding-3-small")
    rent = costs.gpu_usd_per_month(costs.price(provider, item).price_usd or 0)
    assert round(rent) == month
    break_even = costs.break_even_texts_per_month(rent, 100, api.price_usd or 0)
    assert round(break_even / 1e6) == texts
    assert costs.break_even_texts_per_month(rent, 100, api.batch_price_usd or 0) == pytest.approx(2 * break_even)


@pytest.mark.parametrize(("texts_per_s", "capacity"), [(500, 1314), (200, 526), (100, 263), (20, 53)])
def test_one_gpu_at_the_briefs_speeds_has_this_capacity(texts_per_s: float, capacity: int) -> None:
    assert round(costs.capacity_texts_per_month(texts_per_s) / 1e6) == capacity


def test_the_large_model_cannot_reach_its_break_even_on_one_gpu() -> None:
    found = Fleet(1.006, 10000, 100).break_even(0.02)
    assert not found.on_one_machine and "unreachable on one machine" not in str(
        Fleet(1.006, 50000, 100).break_even(0.02)
    )
    assert str(found) == "never pays"  # a second GPU costs more than the API bills for what it does
    with_people = Fleet(1.006, 50000, 100, engineering_hours_per_month=30, usd_per_engineering_hour=100).break_even(
        0.02
    )
    assert with_people.machines == 2 and "unreachable on one machine: it takes 2" in str(with_people)


# The prices


def test_every_price_has_source_date_and_unit_and_the_months_are_730_hours() -> None:
    for p in catalog.prices():
        assert p.source and p.source_date
        if p.monthly_730h_usd and p.price_usd and p.unit == "per hour" and "8x" not in p.item:
            assert p.monthly_730h_usd == pytest.approx(costs.gpu_usd_per_month(p.price_usd), abs=0.01)
        if p.batch_price_usd:
            assert p.price_usd and p.batch_price_usd < p.price_usd


def test_a_row_that_does_not_validate_is_named(tmp_path: Path) -> None:
    text = (catalog.FACTS / "prices.csv").read_text(encoding="utf-8").replace(",0.02,per", ",-0.02,per", 1)
    (tmp_path / "prices.csv").write_text(text, encoding="utf-8")
    with pytest.raises(CourseError, match=r"prices\.csv, row 2, price_usd"):
        catalog.prices(tmp_path / "prices.csv")


def test_an_unknown_name_and_an_unknown_price_are_told() -> None:
    with pytest.raises(CourseError, match="Did you mean text-embedding-3-small"):
        costs.price("OpenAI", "text-embeding-3-smal")
    with pytest.raises(CourseError, match="Did you mean OpenAI"):
        costs.price("OpenIA", "text-embedding-3-small")
    with pytest.raises(CourseError, match="is unknown: state your own"):
        costs.price("RunPod", "L4")


# What holds for any numbers


@given(volumes, tokens, api_prices, factors)
def test_an_api_bill_is_never_negative_and_scales_with_each_of_its_numbers(
    texts: float, each: float, usd: float, by: float
) -> None:
    bill = costs.api_usd_per_month(texts, each, usd)
    assert bill >= 0
    for more in ((texts * by, each, usd), (texts, each * by, usd), (texts, each, usd * by)):
        assert costs.api_usd_per_month(*more) == pytest.approx(bill * by)
    assert costs.api_usd_per_month(texts, each, usd) == pytest.approx(  # a price per thousand is a thousandth
        costs.api_usd_per_month(texts / 1000, each, usd * 1000)
    )


@given(fleets, volumes, volumes)
def test_more_texts_never_need_fewer_machines_or_less_money(fleet: Fleet, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 1 <= fleet.machines(low) <= fleet.machines(high)
    assert 0 < fleet.usd_per_month(low) <= fleet.usd_per_month(high)
    assert high <= fleet.machines(high) * fleet.capacity_texts_per_month * (1 + 1e-6)


@given(fleets, factors)
def test_capacity_scales_with_throughput_and_hours_and_falls_with_the_peak(fleet: Fleet, by: float) -> None:
    def capacity(speed: float = 1, hours: float = 1, peak: float = 1) -> float:
        return costs.capacity_texts_per_month(
            fleet.tokens_per_s / fleet.tokens_per_text * speed,
            utilisation=fleet.utilisation,
            peak_factor=fleet.peak_factor * peak,
            hours_per_month=fleet.hours_per_month * hours,
        )

    assert capacity(speed=by) == pytest.approx(capacity(hours=by)) == pytest.approx(capacity() * by)
    assert capacity(peak=by) == pytest.approx(capacity() / by)


@given(st.floats(0, 1e6), tokens, api_prices)
def test_at_the_break_even_both_cost_the_same(usd: float, each: float, price: float) -> None:
    texts = costs.break_even_texts_per_month(usd, each, price)
    assert costs.api_usd_per_month(texts, each, price) == pytest.approx(usd)


@settings(max_examples=300)
@given(fleets, api_prices, st.floats(0.01, 0.999))
def test_a_fleets_break_even_is_the_first_volume_at_which_it_costs_no_more(
    fleet: Fleet, price: float, before: float
) -> None:
    found, each = fleet.break_even(price), fleet.tokens_per_text

    def own_minus_api(texts: float) -> float:
        return fleet.usd_per_month(texts) / costs.api_usd_per_month(texts, each, price) - 1

    if found.machines is None:
        assert math.isinf(found.texts_per_month)
        for k in (1, 2, 10, 1000):
            assert own_minus_api(k * fleet.capacity_texts_per_month) > -1e-6
    else:
        assert abs(own_minus_api(found.texts_per_month)) < 1e-6
        assert fleet.machines(found.texts_per_month) == found.machines
        assert own_minus_api(found.texts_per_month * before) > -1e-6


def test_a_step_can_make_the_api_cheaper_again() -> None:
    fleet = Fleet(1.006, 20_000, 100)
    at = fleet.break_even(0.02)
    assert at.on_one_machine
    above = fleet.capacity_texts_per_month * 1.001
    assert fleet.machines(above) == 2
    assert fleet.usd_per_month(above) > costs.api_usd_per_month(above, 100, 0.02)


def test_nothing_breaks_even_with_an_api_that_is_free() -> None:
    assert costs.break_even_texts_per_month(300, 100, 0) == math.inf
    assert Fleet(1, 10_000, 100).break_even(0).machines is None


@given(fleets, api_prices, factors)
def test_longer_texts_sell_no_machine(fleet: Fleet, price: float, by: float) -> None:
    """An API bills tokens and a machine computes them: whether it pays doesn't hang on their number in a text."""
    longer = replace(fleet, tokens_per_text=fleet.tokens_per_text * by)
    assert longer.capacity_texts_per_month * by == pytest.approx(fleet.capacity_texts_per_month)
    one, other = fleet.break_even(price), longer.break_even(price)
    if one.machines and other.machines:
        assert other.texts_per_month * by == pytest.approx(one.texts_per_month)


# What is refused


@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
def test_a_number_that_cannot_be_is_named(value: float) -> None:
    with pytest.raises(CourseError, match="tokens_per_text must be a finite number"):
        costs.api_usd_per_month(1, value, 1)
    with pytest.raises(CourseError, match="usd_per_hour must be a finite number"):
        Fleet(value, 10_000, 100)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"utilisation": 60}, "a share above 0"),
        ({"utilisation": 0}, "a share above 0"),
        ({"peak_factor": 0.5}, "at least 1"),
        ({"spare_machines": 0.5}, "whole number"),
        ({"tokens_per_s": 0}, "must be above 0"),
        ({"tokens_per_text": 0}, "must be above 0"),
    ],
)
def test_a_fleet_that_cannot_be_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(CourseError, match=says):
        Fleet(**{"usd_per_hour": 1, "tokens_per_s": 1e4, "tokens_per_text": 100} | wrong)


# Uncertainty, figures and the panel

RANGES = {
    "usd_per_hour": (0.5, 1.3),
    "tokens_per_s": (1e4, 1e5),
    "tokens_per_text": (50.0, 200.0),
    "spare_machines": (0, 2),
}


def test_draws_stay_in_their_ranges_and_the_same_seed_draws_the_same() -> None:
    drawn = costs.draw_break_even(RANGES, (0.02, 0.02), draws=200, seed=3)
    assert drawn.equals(costs.draw_break_even(RANGES, (0.02, 0.02), draws=200, seed=3))
    for name, (low, high) in RANGES.items():
        assert drawn[name].between(low, high).all()
    assert set(drawn["spare_machines"]) == {0, 1, 2}


def test_without_uncertainty_every_draw_is_the_fleet() -> None:
    drawn = costs.draw_break_even(
        {"usd_per_hour": (1, 1), "tokens_per_s": (50000, 50000), "tokens_per_text": (100, 100)}, (0.02, 0.02), draws=3
    )
    expected = Fleet(1, 50_000, 100).break_even(0.02).texts_per_month
    assert drawn["break_even_texts_per_month"].tolist() == pytest.approx([expected] * 3)


def test_a_range_the_wrong_way_round_or_of_no_field_is_told() -> None:
    with pytest.raises(CourseError, match="swap its ends"):
        costs.draw_break_even(
            {"usd_per_hour": (2, 1), "tokens_per_s": (100, 100), "tokens_per_text": (100, 100)}, (1, 1)
        )
    with pytest.raises(CourseError, match="no field 'speed'"):
        costs.draw_break_even({"speed": (1, 2)}, (1, 1))


def test_each_figure_has_labelled_axes_and_a_table_of_the_same_numbers() -> None:
    fleet = Fleet(1.006, 50_000, 100)
    figure, table = plots.cost_curves({"own": fleet}, {"api": 0.02}, 100, (1e7, 1e9))
    assert "texts a month" in figure.axes[0].get_xlabel() and "US dollars" in figure.axes[0].get_ylabel()
    assert table["api"].tolist() == [20.0, 2000.0] and table["own"].tolist() == [734.38, 734.38]
    drawn = costs.draw_break_even(RANGES, (0.02, 0.02), draws=50)
    figure, table = plots.break_even_region(drawn, (1e3, 1e10))
    assert table["own costs no more"].iloc[0] == 0 and figure.axes[0].get_ylim() == (0, 1)


def test_the_quantiles_of_the_break_even_count_never_as_infinite() -> None:
    drawn = costs.draw_break_even(
        {"usd_per_hour": (1, 1), "tokens_per_s": (2000, 200000), "tokens_per_text": (100, 100)}, (0.02, 0.02)
    )
    low, middle, high = costs.break_even_quantiles(drawn)
    assert low <= middle <= high == math.inf
    assert costs.break_even_quantiles(drawn, (0.0, 1.0))[0] == drawn["break_even_texts_per_month"].min()
    always = costs.draw_break_even(
        {"usd_per_hour": (1, 1), "tokens_per_s": (9000000.0, 9000000.0), "tokens_per_text": (100, 100)},
        (0.02, 0.02),
        draws=9,
    )
    assert costs.break_even_quantiles(always) == pytest.approx([365e6] * 3)


@pytest.mark.parametrize("price", [0.02, 0.13, 1e-6], ids=["some never", "few never", "all never"])
def test_the_region_says_its_median_and_the_share_that_never_breaks_even(price: float) -> None:
    ranges = {
        "usd_per_hour": (1, 1),
        "tokens_per_s": (5000, 200000),
        "tokens_per_text": (100, 100),
        "peak_factor": (1, 3),
    }
    drawn = costs.draw_break_even(ranges, (price, price), draws=60)
    figure, _ = plots.break_even_region(drawn)
    legend = figure.axes[0].get_legend()
    told = " | ".join(text.get_text() for text in legend.get_texts()) if legend else ""
    assert f"never, at any volume ({drawn.machines.isna().mean():.0%})" in told
    middle = costs.break_even_quantiles(drawn)[1]
    assert (f"its median, {costs.millions(middle)}" in told) == math.isfinite(middle)


def test_the_panel_leaves_nothing_behind_however_often_it_moves() -> None:
    shown = plots.panel({"api": 0.02, "other": 0.13}, {"gpu": 1.006, "dear": 10.0})
    controls, result = shown.children[:-1], shown.children[-1]
    open_before, seen = plt.get_fignums(), set()
    for control in controls:
        options = getattr(control, "options", None)
        control.value = options[-1] if options else control.max
        seen.add(result.value)
    assert len(seen) == len(controls)  # each of them moves the result
    assert plt.get_fignums() == open_before and shown.children == (*controls, result)
    assert not any(isinstance(child, widgets.Output) for child in shown.children)
    assert all(not c.continuous_update for c in controls if hasattr(c, "continuous_update"))


def test_the_panel_starts_at_the_readers_numbers_however_small_or_large() -> None:
    shown = plots.panel({"api": 0.02}, {"gpu": 1}, texts_per_month=5e3, tokens_per_text=2e4, tokens_per_s=0.5)
    assert [slider.value for slider in shown.children[2:5]] == pytest.approx([5e3, 2e4, 0.5])


def test_the_panel_moves_its_sentence_with_its_sliders() -> None:
    shown = plots.panel({"api": 0.02}, {"gpu": 1.006}, texts_per_month=1e8)
    texts, result = shown.children[2], shown.children[-1]
    assert "At 100M texts a month, the API costs less" in result.value and "<img" in result.value
    texts.value = 1e10
    assert re.search(r"At 10,000M texts a month", result.value)


def test_draws_lie_evenly_on_a_log_scale() -> None:
    ranges = {"usd_per_hour": (1.0, 100.0), "tokens_per_s": (100000.0, 100000.0), "tokens_per_text": (100, 100)}
    drawn = costs.draw_break_even(ranges, (0.1, 0.1), draws=2000)
    assert drawn["usd_per_hour"].median() == pytest.approx(10, rel=0.15)
    assert ((drawn["usd_per_hour"] >= 1) & (drawn["usd_per_hour"] <= 100)).all()


def test_a_quantile_of_draws_is_one_of_the_draws() -> None:
    drawn = pd.DataFrame({"break_even_texts_per_month": [1.0, 2.0, 10.0, math.inf]})
    assert costs.break_even_quantiles(drawn, (0.0, 0.4, 0.5, 1.0)) == [1.0, 2.0, 10.0, math.inf]


@pytest.mark.parametrize(
    ("texts", "shown"), [(0.4e6, "0.40M"), (367e6, "367M"), (12e9, "12,000M"), (1e7, "10M"), (math.inf, "never")]
)
def test_a_volume_is_written_as_its_docstring_says(texts: float, shown: str) -> None:
    assert costs.millions(texts) == shown


def test_nothing_is_dearer_than_an_api_that_costs_nothing_or_is_where_the_fleet_is_free() -> None:
    assert costs.break_even_texts_per_month(0, 100, 0) == 0
    assert costs.break_even_texts_per_month(1, 100, 0) == math.inf


SUMS: dict[str, Callable[[float], float]] = {
    "texts_per_month": lambda bad: costs.api_usd_per_month(bad, 1, 1),
    "tokens_per_text": lambda bad: costs.api_usd_per_month(1, bad, 1),
    "usd_per_million_tokens": lambda bad: costs.api_usd_per_month(1, 1, bad),
    "usd_per_hour": costs.gpu_usd_per_month,
    "hours_per_month": lambda bad: costs.gpu_usd_per_month(1, bad),
    "self_hosted_usd_per_month": lambda bad: costs.break_even_texts_per_month(bad, 1, 1),
}


@pytest.mark.parametrize("name", SUMS)
def test_each_number_of_a_sum_is_looked_at(name: str) -> None:
    for bad in (-1.0, math.nan, math.inf, True):
        with pytest.raises(CourseError, match=f"{name} must be a finite number"):
            SUMS[name](bad)
