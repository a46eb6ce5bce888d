"""Figures of a benchmark report, each with the table that says the same in numbers."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers.benchmark import MEASURES, Report, ranking
from helpers.errors import CourseError

SIMILAR, DISSIMILAR, FRONT, OFF = "#0072b2", "#d55e00", "#009e73", "#7f7f7f"  # Okabe and Ito, colour-blind safe


def pareto(report: Report) -> tuple[Figure, pd.DataFrame]:
    """Quality against speed, with intervals, and the front of models that nothing else beats at both.

    Returns:
        The figure, and a table of what it shows: one row a model, fastest first.
    """
    by, title = report.quality, MEASURES[report.quality]
    shown = ranking(report).sort_values("texts_per_s", ascending=False, ignore_index=True)
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    plt.close(figure)
    front = shown[shown["pareto"]]
    axes.step(front["texts_per_s"], front[by], where="pre", color=FRONT, alpha=0.5, zorder=1, label="Pareto front")
    for _, row in shown.iterrows():
        colour = FRONT if row["pareto"] else OFF
        axes.errorbar(
            row["texts_per_s"],
            row[by],
            xerr=[[row["texts_per_s"] - row["texts_per_s_slowest"]], [row["texts_per_s_fastest"] - row["texts_per_s"]]],
            yerr=[[row[by] - row[f"{by}_low"]], [row[f"{by}_high"] - row[by]]],
            fmt="o",
            color=colour,
            capsize=3,
        )
    _label_points(axes, shown, by)
    axes.set_xscale("log")
    axes.margins(x=0.12, y=0.12)
    hardware = report.environment["hardware"]
    axes.set_xlabel(f"speed (texts/s, log scale) on {hardware['accelerator'] or hardware['cpu']}")
    axes.set_ylabel(f"{title} with 95% interval")
    axes.set_title(f"Quality and speed on '{report.dataset}'")
    axes.legend(loc="lower left")
    axes.grid(alpha=0.25)
    columns = {"model": "model", by: title, "texts_per_s": "texts/s", "pareto": "on the front"}
    return figure, shown[list(columns)].rename(columns=columns).round({title: 3, "texts/s": 0})


def _label_points(axes: Axes, shown: pd.DataFrame, by: str) -> None:
    """Names beside the points; where points lie close together, names above and below in turn."""
    previous = None
    above = True
    for _, row in shown.iterrows():
        close = previous is not None and abs(np.log10(row["texts_per_s"] / previous)) < 0.35
        above = not above if close else True
        axes.annotate(
            row["model"],
            (row["texts_per_s"], row[by] if not close else row[f"{by}_high" if above else f"{by}_low"]),
            xytext=(6, 10 if above else -14),
            textcoords="offset points",
            fontsize=8,
        )
        previous = row["texts_per_s"]


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
    if report.gold is None or report.graded:
        raise CourseError(
            f"'{report.dataset}' has no pairs with labels 0 and 1, so there are no two groups to compare."
        )
    label = np.array(report.gold)
    figure, drawn = plt.subplots(
        len(report.results), 1, figsize=(8, 1 + 1.3 * len(report.results)), sharex=True, layout="constrained"
    )
    plt.close(figure)
    panels = np.atleast_1d(drawn)
    lowest = min(min(r.similarities or (0.0,)) for r in report.results)
    bins = np.linspace(min(lowest, 0.0), 1.0, 41)
    rows = []
    for axes, result in zip(panels, report.results, strict=True):
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
