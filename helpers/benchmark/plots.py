"""Figures of a benchmark report, each with the table that says the same in numbers."""

import base64
import html
import io
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from helpers.benchmark import MEASURES, Report, agreement, ranking, verdict
from helpers.errors import CourseError

SIMILAR, DISSIMILAR, FRONT, OFF = "#0072b2", "#d55e00", "#009e73", "#7f7f7f"  # Okabe and Ito, colour-blind safe
OFFSETS = [(9, 9), (9, -9), (-9, 9), (-9, -9), (20, 0), (-20, 0), (0, 22), (0, -22), (24, 18), (-24, 18), (24, -18)]


def pareto(report: Report) -> tuple[Figure, pd.DataFrame]:
    """Quality against speed, with intervals, and the front of models that nothing else beats.

    Points bear the numbers of the ranking. Filled and green: on the front. Hollow: on it only because the data, or the
    rounds, don't tell it apart from a model that is ahead by its numbers at both. Grey: beaten by another.

    Returns:
        The figure, and a table of what it shows: one row a model, fastest first.
    """
    by, title = report.quality, MEASURES[report.quality]
    shown = ranking(report).sort_values("rate", ascending=False, ignore_index=True)
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    plt.close(figure)
    reference = float((shown["rate"] / shown["speed_ratio"]).median())
    for _, row in shown.iterrows():
        ends = [row[f"speed_ratio{end}"] for end in ("_low", "", "_high")]
        low, middle, high = (reference * min(max(end, ends[1] / 10), ends[1] * 10) for end in ends)
        axes.errorbar(
            middle,
            row[by],
            xerr=[[middle - low], [high - middle]],
            yerr=[[row[by] - row[f"{by}_low"]], [row[f"{by}_high"] - row[by]]],
            fmt="o",
            color=FRONT if row["front"] else OFF,
            markerfacecolor=FRONT if row["front"] == "yes" else "white" if row["front"] else OFF,
            capsize=3,
        )
    axes.set_xscale("log")
    axes.margins(x=0.12, y=0.15)
    hardware = report.environment["hardware"]
    clock = "CPU second" if shown["clock"][0] == "CPU seconds" else "second"
    axes.set_xlabel(f"texts a {clock} (log scale) on {hardware['accelerator'] or hardware['cpu']}")
    axes.set_ylabel(f"{title} with 95% interval")
    axes.set_title(f"Quality and speed on '{report.dataset}'")
    axes.grid(alpha=0.25)
    handles = [
        Line2D([], [], linestyle="", marker="o", color=colour, markerfacecolor=face, label=label)
        for colour, face, label in (
            (FRONT, FRONT, "on the front"),
            (FRONT, "white", "not told apart from the front"),
            (OFF, OFF, "beaten by another"),
        )
    ]
    axes.legend(handles=handles, loc="lower left", fontsize=8)
    _number_points(axes, [(reference * r["speed_ratio"], r[by], str(r["number"])) for _, r in shown.iterrows()])
    columns = {"number": "#", "model": "model", by: title, "rate": f"texts/{clock}", "front": "front"}
    return figure, shown[list(columns)].rename(columns=columns).round({title: 3, f"texts/{clock}": 1})


def alike(report: Report) -> tuple[Figure, pd.DataFrame]:
    """How far models agree on texts without labels: Kendall's tau of each two, in a square; and the same as a table."""
    taus = agreement(report)
    shown = pd.DataFrame(taus.round(2), index=ranking(report)["model"], columns=range(1, len(taus) + 1))
    figure, axes = plt.subplots(figsize=(3 + 0.8 * len(taus), 1.2 + 0.6 * len(taus)), layout="constrained")
    plt.close(figure)
    drawn = axes.imshow(taus, cmap="cividis", vmin=0, vmax=1)
    for (i, j), tau in np.ndenumerate(taus):
        colour = "black" if tau > 0.5 else "white"
        axes.text(j, i, "" if np.isnan(tau) else f"{tau:.2f}", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(taus)), [str(n) for n in shown.columns])
    axes.set_yticks(range(len(taus)), [f"{model}  {n}" for n, model in zip(shown.columns, shown.index, strict=True)])
    axes.set_title(f"How alike models order the texts of '{report.dataset}'")
    figure.colorbar(drawn, label="Kendall's tau (1: the same order)")
    return figure, shown


def _number_points(axes: Axes, points: list[tuple[float, float, str]]) -> None:
    """The number of each point beside it, where neither a number nor a point is yet."""
    figure: Any = axes.figure
    figure.draw_without_rendering()
    taken = [axes.transData.transform((x, y)) for x, y, _ in points]
    scale = figure.dpi / 72
    for x, y, number in points:
        at = axes.transData.transform((x, y))
        free = [
            offset
            for offset in OFFSETS
            if all(np.hypot(*(at + np.multiply(offset, scale) - other)) > 11 * scale for other in taken)
        ]
        offset = (free or OFFSETS)[0]
        taken.append(at + np.multiply(offset, scale))
        axes.annotate(
            number,
            (x, y),
            xytext=offset,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=9,
            fontweight="bold",
            arrowprops={"arrowstyle": "-", "color": OFF, "linewidth": 0.6} if np.hypot(*offset) > 16 else None,
        )


def described(report: Report) -> str:
    """The figure of quality and speed, or of agreement, in words, for who can't see it."""
    if not report.judged:
        return verdict(report).replace("**", "")
    _, shown = pareto(report)
    rate = shown.columns[3]
    told = "; ".join(
        f"{row['#']} {row['model']}: {row.iloc[2]:.3f} at {row[rate]:,.0f} {rate}"
        f"{', on the front' if row['front'] == 'yes' else ', not told apart from the front' if row['front'] else ''}"
        for _, row in shown.iterrows()
    )
    return f"Quality ({shown.columns[2]}) against speed of {len(shown)} models. {told}."


def unbroken(table: pd.DataFrame) -> Any:
    """A table without its index, in which no cell is broken into lines."""
    rules = [{"selector": "td, th", "props": "white-space: nowrap; text-align: left"}]
    return table.style.hide(axis="index").format(precision=3).set_table_styles(rules)


def picture(figure: Figure, alt: str) -> Any:
    """A figure with its alternative text, which nbconvert has no place for in an image's output."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110, bbox_inches="tight")
    data = base64.b64encode(content.getvalue()).decode()
    show: Any = HTML
    return show(f'<img src="data:image/png;base64,{data}" alt="{html.escape(alt, quote=True)}" style="max-width:100%">')


def similarities(report: Report) -> tuple[Figure, pd.DataFrame]:
    """How similar each model finds similar and dissimilar pairs: two distributions a model.

    The less they overlap, the better a model tells them apart; where they lie on the axis differs
    from model to model, which is why no threshold carries over.

    Returns:
        The figure, and a table: means, standard deviations and the overlap (the share of pairs that
        the best single threshold puts on the wrong side).

    Raises:
        CourseError: the dataset has no labelled pairs.
    """
    if report.data.gold is None or report.data.graded:
        raise CourseError(
            f"'{report.dataset}' has no pairs with labels 0 and 1, so there are no two groups to compare."
        )
    label = np.array(report.data.gold)
    results = [r for r in report.results if r.similarities]  # BM25 has none
    figure, drawn = plt.subplots(
        len(results), 1, figsize=(8, 1 + 1.3 * len(results)), sharex=True, layout="constrained"
    )
    plt.close(figure)
    panels = np.atleast_1d(drawn)
    lowest = min(min(r.similarities or (0.0,)) for r in results)
    bins = np.linspace(min(lowest, 0.0), 1.0, 41)
    rows = []
    for axes, result in zip(panels, results, strict=True):
        similarity = np.array(result.similarities)
        row: dict[str, str | float] = {"model": result.name}
        for name, value, colour in (("similar", 1, SIMILAR), ("dissimilar", 0, DISSIMILAR)):
            group = similarity[label == value]
            axes.hist(group, bins=bins, alpha=0.55, color=colour, label=name)
            axes.axvline(group.mean(), color=colour, linestyle="--", linewidth=1)
            row |= {f"mean {name}": group.mean(), f"sd {name}": group.std(ddof=1)}
        row["overlap"] = _overlap(similarity, label)
        rows.append(row)
        axes.set_title(result.name, fontsize=9, loc="left")
        axes.set_ylabel("pairs")
    panels[0].legend(fontsize=8, loc="upper left")
    panels[-1].set_xlabel("cosine similarity (dashed: the mean of each group)")
    return figure, pd.DataFrame(rows).round(3)


def _overlap(similarity: np.ndarray, label: np.ndarray) -> float:
    """The smallest share of pairs that any threshold gets wrong."""
    order = np.argsort(similarity)
    similar_below = np.concatenate([[0], np.cumsum(label[order] == 1)])
    dissimilar_above = np.concatenate([[0], np.cumsum(label[order] == 0)])
    wrong = similar_below + (label == 0).sum() - dissimilar_above
    ends = np.concatenate([[True], np.diff(similarity[order]) > 0, [True]])
    return float(wrong[ends].min() / len(label))
