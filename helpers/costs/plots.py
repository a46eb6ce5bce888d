"""Figures of what embedding costs, each with the table that says the same, and the panel for one's own numbers."""

import base64
import html
import io
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from helpers.costs import Fleet, api_usd_per_month, break_even_quantiles, millions, scenarios
from helpers.errors import CourseError

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")  # Okabe and Ito, colour-blind safe
VOLUMES = (1e6, 1e7, 1e8, 3e8, 1e9, 3e9)


def cost_curves(
    fleets: dict[str, Fleet],
    usd_per_million_tokens: dict[str, float],
    tokens_per_text: float,
    volumes: Sequence[float] = VOLUMES,
) -> tuple[Figure, pd.DataFrame]:
    """Dollars a month against texts a month, on two log scales; each further machine is a step.

    Returns:
        The figure from the smallest to the largest of `volumes`, and a table of dollars a month at each.

    Raises:
        CourseError: there are not two volumes above 0.
    """
    if len(volumes) < 2 or min(volumes) <= 0:
        raise CourseError("A cost curve needs at least two volumes, all above 0 texts a month.")
    lines: dict[str, Callable[[float], float]] = {name: fleet.usd_per_month for name, fleet in fleets.items()}
    for name, usd in usd_per_million_tokens.items():
        lines[name] = partial(api_usd_per_month, tokens_per_text=tokens_per_text, usd_per_million_tokens=usd)
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    plt.close(figure)
    grid = np.geomspace(min(volumes), max(volumes), 800)
    for number, (name, usd_per_month) in enumerate(lines.items()):
        axes.plot(
            grid,
            [usd_per_month(v) for v in grid],
            color=COLOURS[number % len(COLOURS)],
            linestyle="-" if name in fleets else "--",
            label=name,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(f"texts a month (log scale), {tokens_per_text:.0f} tokens each")
    axes.set_ylabel("US dollars a month (log scale)")
    axes.legend(fontsize=8, loc="lower right")
    axes.grid(alpha=0.25)
    table = pd.DataFrame({name: [f(v) for v in volumes] for name, f in lines.items()}).round(2)
    table.insert(0, "texts a month", [millions(v) for v in volumes])
    return figure, table


def break_even_region(drawn: pd.DataFrame, volumes: Sequence[float] = VOLUMES) -> tuple[Figure, pd.DataFrame]:
    """In how many of the drawn situations the own fleet costs no more than the API, against volume.

    A bar marks the median break-even and 95% of the draws; an arrow at its end, that some of those never
    break even. Their share is what the region leaves free at the top.

    Args:
        drawn: what `draw_break_even` returned.
        volumes: texts a month for the table, all above 0.

    Returns:
        The figure, and a table of the share (0 to 1) at each volume.
    """
    situations = scenarios(drawn)

    def share(texts: float) -> float:
        own = [f.usd_per_month(texts) <= api_usd_per_month(texts, f.tokens_per_text, usd) for f, usd in situations]
        return float(np.mean(own))

    grid = np.geomspace(min(volumes), max(volumes), 40)
    shares = [share(v) for v in grid]
    figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
    plt.close(figure)
    axes.plot(grid, shares, color=COLOURS[0])
    axes.fill_between(grid, shares, color=COLOURS[0], alpha=0.2, label="own machines cost no more")
    axes.fill_between(grid, shares, 1, color=COLOURS[1], alpha=0.2, label="the API costs less")
    low, middle, high = break_even_quantiles(drawn)
    never = float(drawn["machines"].isna().mean())
    axes.axhline(1 - never, color="black", linestyle=":", label=f"above: never, at any volume ({never:.0%})")
    end = grid[-1]
    if low < end:
        axes.plot([low, min(high, end)], [0.05, 0.05], color="black", label="break-even, 95% of the draws")
    if middle < end:
        axes.plot([middle], [0.05], "o", color="black", label=f"its median, {millions(middle)}")
    if low < end < high:
        axes.plot([end], [0.05], ">", color="black", label=f"up to {millions(high)}")
    axes.set_xscale("log")
    axes.set_ylim(0, 1)
    axes.set_xlabel("texts a month (log scale)")
    axes.set_ylabel("share of drawn situations")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    table = pd.DataFrame({"texts a month": [millions(v) for v in volumes], "own costs no more": map(share, volumes)})
    return figure, table.round(3)


def verdict(fleet: Fleet, texts_per_month: float, usd_per_million_tokens: float) -> str:
    """What one's own numbers say, in three sentences."""
    own = fleet.usd_per_month(texts_per_month)
    api = api_usd_per_month(texts_per_month, fleet.tokens_per_text, usd_per_million_tokens)
    cheaper = "own machines cost less" if own < api else "the API costs less" if api < own else "both cost the same"
    return (
        f"At {millions(texts_per_month)} texts a month, {cheaper}: ${own:,.2f} for {fleet.machines(texts_per_month)} "
        f"working and {fleet.spare_machines} spare machines and engineering, ${api:,.2f} for the API. "
        f"One machine does {millions(fleet.capacity_texts_per_month)} texts a month. "
        f"Over all volumes: {fleet.break_even(usd_per_million_tokens)}."
    )


def panel(
    usd_per_million_tokens: dict[str, float],
    usd_per_hour: dict[str, float],
    *,
    texts_per_month: float = 1e8,
    tokens_per_text: float = 100,
    tokens_per_s: float = 50_000,
) -> Any:
    """Sliders for one's own numbers over a sentence and a figure.

    Without a live kernel nothing moves, but the sentence and figure of the first values can be had from
    `verdict` and `cost_curves`, which the panel calls too.

    Args:
        usd_per_million_tokens: the API prices to choose from, by name.
        usd_per_hour: the machines to choose from, by name.
        texts_per_month, tokens_per_text, tokens_per_s: where the sliders start.
    """
    import ipywidgets as widgets

    wide = {
        "style": {"description_width": "190px"},
        "layout": widgets.Layout(width="560px"),
        "continuous_update": False,
    }
    choice = {k: v for k, v in wide.items() if k != "continuous_update"}
    api = widgets.Dropdown(options=list(usd_per_million_tokens), description="API", **choice)
    gpu = widgets.Dropdown(options=list(usd_per_hour), description="machine", **choice)

    def log(value: float, low: int, high: int, text: str) -> Any:
        start = math.log10(value) if value > 0 else low
        return widgets.FloatLogSlider(
            value=value,
            min=min(low, start),
            max=max(high, start),
            step=0.05,
            description=text,
            readout_format=",.0f",
            **wide,
        )

    texts = log(texts_per_month, 5, 10, "texts a month")
    tokens = log(tokens_per_text, 0, 4, "tokens a text")
    speed = log(tokens_per_s, 2, 7, "tokens/s of one machine")
    used = widgets.FloatSlider(value=0.6, min=0.05, max=1, step=0.05, description="utilisation at the peak", **wide)
    peak = widgets.FloatSlider(value=3, min=1, max=20, step=0.5, description="peak over mean", **wide)
    spare = widgets.IntSlider(value=1, min=0, max=4, description="spare machines", **wide)
    hours = widgets.FloatSlider(value=10, min=0, max=160, step=1, description="engineering hours a month", **wide)
    rate = widgets.FloatSlider(value=100, min=0, max=300, step=5, description="US dollars an hour of it", **wide)
    shown = widgets.HTML()

    def show(*_: object) -> None:
        rent, each = usd_per_hour[gpu.value], tokens.value
        fleet = Fleet(rent, speed.value, each, used.value, peak.value, spare.value, hours.value, rate.value)
        usd = usd_per_million_tokens[api.value]
        figure, _table = cost_curves({gpu.value: fleet}, {api.value: usd}, tokens.value, (1e5, 1e10))
        figure.axes[0].axvline(texts.value, color="#7f7f7f", linestyle=":")
        text = html.escape(verdict(fleet, texts.value, usd))
        shown.value = f'<p>{text}</p><img alt="cost against volume" src="{_png(figure)}"/>'

    controls = [api, gpu, texts, tokens, speed, used, peak, spare, hours, rate]
    for control in controls:
        control.observe(show, names="value")
    show()
    return widgets.VBox([*controls, shown])


def _png(figure: Figure) -> str:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=80)
    return "data:image/png;base64," + base64.b64encode(drawn.getvalue()).decode()
