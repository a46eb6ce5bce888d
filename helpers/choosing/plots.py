"""The figure of a choice: published score against measured speed, for any number of candidates."""

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers.choosing import SPEED, Choice

FRONT, OFF = "#0072b2", "#7f7f7f"  # Okabe and Ito, colour-blind safe
LINE = 0.2  # inches a name takes
KINDS = (
    ("yes", FRONT, FRONT, "on the front"),
    ("not told apart", FRONT, "white", "not told apart from the front"),
    ("", OFF, OFF, "beaten by another candidate"),
)


def trade_off(choice: Choice) -> Figure:
    """The candidates with both figures, and the front; `choice.table()` is the same in numbers.

    Names stand in a column at the right, best score first, each tied to its point, so that however
    many there are, none is cut and none covers another.
    """
    score = choice.needs.score
    shown = choice.table().dropna(subset=["front"])
    height = max(4.5, LINE * len(shown) + 1.2)
    figure, axes = plt.subplots(figsize=(9, height), layout="constrained")
    plt.close(figure)
    axes.set(xlabel="tokens/s of the twin (one CPU core, log scale)", ylabel=f"{score}, mean over its tasks")
    if shown.empty:
        axes.text(0.5, 0.5, "no candidate has both figures", transform=axes.transAxes, ha="center")
        axes.set(xticks=[], yticks=[])
        return figure
    for front, colour, fill, label in KINDS:
        some = shown[shown["front"] == front]
        if len(some):
            axes.scatter(some[SPEED], some[score], edgecolor=colour, color=fill, marker="o", label=label, zorder=2)
    axes.set_xscale("log")
    axes.margins(x=0.08, y=0.08)
    low, high = axes.get_ylim()
    places = _apart([(y - low) / (high - low) for y in shown[score]], LINE / (height - 1))
    for (name, row), place in zip(shown.iterrows(), places, strict=True):
        colour = FRONT if row["front"] else OFF
        _name(axes, str(name).split("/")[1], (row[SPEED], row[score]), place, colour)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False)
    return figure


def _apart(places: list[float], gap: float) -> list[float]:
    """Falling places from 1 to 0, moved as little as it takes to lie `gap` apart."""
    moved: list[float] = []
    for place in places:
        moved.append(min(place, moved[-1] - gap) if moved else place)
    floor = 0.0
    for i in reversed(range(len(moved))):
        moved[i] = max(moved[i], floor)
        floor = moved[i] + gap
    return moved


def _name(axes: Axes, name: str, point: tuple[float, float], place: float, colour: str) -> None:
    axes.annotate(
        name,
        point,
        xytext=(1.03, place),
        textcoords="axes fraction",
        va="center",
        fontsize=8,
        color=colour,
        annotation_clip=False,
        arrowprops={"arrowstyle": "-", "relpos": (0, 0.5), "color": colour, "alpha": 0.35, "shrinkA": 0, "shrinkB": 3},
    )
