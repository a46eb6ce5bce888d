"""What a lesson concludes, as data: the sentence is chosen by the result, so that a false one can't be printed.

A claim sets one way against another on the same items and says how often that was tried: on data sets, with seeds,
in repeats. A built notebook keeps its claims beside their sentences, and a test tries them once more on data that the
lesson doesn't use.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from scipy import stats

from helpers.measure.metrics import CONFIDENCE, Estimate

Verdict = Literal["higher", "lower", "depends", "not told apart"]

MIME = "application/vnd.embedding-course.claims+json"
MARGIN = 0.02
POWER = 0.8
FEW = 3  # tries that a sentence lists one by one
FASTER: dict[str, Any] = {"words": ("faster", "slower"), "neutral": 1}  # what a claim about a ratio of speeds has


@dataclass(frozen=True)
class Claim:
    """One way against another, tried once or several times.

    Attributes:
        name: what a test calls it; one word or several with hyphens.
        subject: what is set against the other, as a sentence begins.
        reference: the other.
        measure: in what they differ.
        tries: the difference (or ratio) subject against reference with its interval, by where it was tried.
        words: what the subject is if the difference is above `neutral`, and below.
        unit: what the tries are, in the plural.
        neutral: 0 for differences, 1 for ratios.
        margin: the difference that matters.
    """

    name: str
    subject: str
    reference: str
    measure: str
    tries: Mapping[str, Estimate]
    words: tuple[str, str] = ("better", "worse")
    unit: str = "data sets"
    neutral: float = 0
    margin: float = MARGIN

    def _side(self, tried: Estimate) -> int:
        return int(tried.low > self.neutral) - int(tried.high < self.neutral)

    @property
    def verdict(self) -> Verdict:
        """What the tries show together; "depends" where two of them are told apart in opposite directions."""
        sides = {self._side(tried) for tried in self.tries.values()} - {0}
        if len(sides) > 1:
            return "depends"
        return "not told apart" if not sides else "higher" if sides == {1} else "lower"

    @property
    def times_the_data(self) -> float:
        """How many times the items of the widest try would find a difference of `margin` with 80% power.

        It follows from the interval's width, never from the difference that was observed (Hoenig and Heisey 2001).
        """
        width = max(tried.high - tried.low for tried in self.tries.values())
        tail = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
        return float(((tail + stats.norm.ppf(POWER)) * width / (2 * tail) / self.margin) ** 2)

    def opposite(self, elsewhere: Estimate) -> bool:
        """Whether another try is told apart in the direction that this verdict excludes."""
        return self._side(elsewhere) * {"higher": 1, "lower": -1}.get(self.verdict, 0) < 0

    def __str__(self) -> str:
        told = [where for where, tried in self.tries.items() if self._side(tried)]
        verdict, measured = self.verdict, f"{self.reference} in {self.measure}"
        if verdict == "not told apart":
            said = f"{self.subject} can't be told apart from {measured} ({self._listed(self.tries)})"
            if not self.neutral:
                said += f"; {self._needed()} a difference of {self.margin:g}"
            return said + "."
        if verdict == "depends":
            above, below = ([w for w in told if self._side(self.tries[w]) == side] for side in (1, -1))
            return (
                f"{self.subject} is {self.words[0]} than {measured} on one side "
                f"({self._listed(above)}) and {self.words[1]} on another ({self._listed(below)}): it depends."
            )
        said = f"{self.subject} is {self.words[verdict == 'lower']} than {measured} ({self._listed(told)})"
        if open_ := [where for where in self.tries if where not in told]:
            return f"{said}; not told apart elsewhere ({self._listed(open_)})."
        return f"{said}." if len(self.tries) > 1 else f"{said}, seen there alone."

    def _listed(self, where: Any) -> str:
        if len(where) > FEW:
            values = [self.tries[w].value for w in where]
            ends = f"{self._number(min(values))} to {self._number(max(values))}"
            return f"{len(where)} of {len(self.tries)} {self.unit}, {ends}"
        return ", ".join(f"{w} {self._interval(self.tries[w])}" for w in where)

    def _number(self, value: float) -> str:
        return f"{value:.2f} times" if self.neutral else f"{value:+.3f}"

    def _interval(self, tried: Estimate) -> str:
        if self.neutral:
            return f"{tried.value:.2f} times [{tried.low:.2f}, {tried.high:.2f}]"
        return f"{tried.value:+.3f} [{tried.low:+.3f}, {tried.high:+.3f}]"

    def _needed(self) -> str:
        times = self.times_the_data
        if times <= 1:
            return "these data would have found"
        return f"{f'{times:.1f}' if times < 10 else f'{times:,.0f}'} times as much test data would find"


class Recap:
    """Claims as a list in a notebook, which keeps them for the test beside the sentences that a reader sees."""

    def __init__(self, *claims: Claim) -> None:
        """The claims of a lesson; a second `recap` in the same lesson has claims of other names."""
        self.claims = claims

    def __repr__(self) -> str:
        return "\n".join(f"- {claim}" for claim in self.claims)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        kept = [asdict(claim) | {"sentence": str(claim)} for claim in self.claims]
        return {"text/plain": repr(self), "text/markdown": repr(self), MIME: kept}


def recap(*claims: Claim) -> Recap:
    """What a lesson found, each sentence chosen by its result; shown as the last line of a cell."""
    return Recap(*claims)


def kept(notebook: Path) -> dict[str, Claim]:
    """The claims that a built notebook keeps, by name."""
    found = {}
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            for row in output.get("data", {}).get(MIME, []):
                tries = {where: Estimate(**tried) for where, tried in row["tries"].items()}
                told = {key: value for key, value in row.items() if key != "sentence"}
                found[row["name"]] = Claim(**told | {"tries": tries, "words": tuple(row["words"])})
    return found
