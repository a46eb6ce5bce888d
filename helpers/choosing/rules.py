"""Choose a model from the catalogue: first a filter, then a trade-off. The last word has a measurement.

`RULES` are the filter, in order; `choose` applies them, and `tree` draws them, so that the two
can't differ. Nothing is guessed: a fact that the catalogue doesn't know leaves a model out, and
the reason says so. Measuring on the reader's own data is left to `benchmark`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

import pandas as pd

from helpers.catalog import BENCHMARKS, RETRIEVAL, Benchmark, Card, cards
from helpers.errors import CourseError
from helpers.measure.ranking import Place, placed
from helpers.models import twins

SPEED = "tokens/s (twin, CPU)"
LEAD = 1.5  # points; two publications of one model's mean differ by up to 1.2, so that a smaller lead tells nothing
COMMERCIAL = {"apache-2.0": True, "mit": True, "cc-by-nc-4.0": False}

# The column of each benchmark's zero-shot share, where mteb states one.
ZERO_SHOT: dict[Benchmark, str] = {
    "MTEB(eng, v2)": "zero_shot_pct_eng_v2",
    "MTEB(Multilingual, v2)": "zero_shot_pct_multilingual_v2",
}


@dataclass(frozen=True)
class Needs:
    """What a use asks of a model.

    Attributes:
        benchmark: the one whose published mean is traded against speed, by its exact name.
        search: whether the use is search, so that the mean over the benchmark's retrieval tasks alone counts.
        commercial: whether the licence must allow use in a business.
        languages: how many languages the model must claim, at least. The catalogue counts them and
            doesn't name them: look up yours.
        tokens: how long a text it must read whole, at least.
        memory_mb: what the weights may take in float32, in MB (10^6 bytes); None is no limit.
        remote_code: whether the model may run code from its own repository.

    Raises:
        CourseError: a number is below 1, or there is no such benchmark.
    """

    benchmark: Benchmark = "MTEB(eng, v2)"
    commercial: bool = True
    languages: int = 1
    tokens: int = 1
    memory_mb: float | None = None
    remote_code: bool = False
    search: bool = False

    def __post_init__(self) -> None:
        if self.benchmark not in BENCHMARKS:
            raise CourseError(f"benchmark is {self.benchmark!r}; it must be one of {'; '.join(BENCHMARKS)}.")
        if self.search and self.benchmark not in RETRIEVAL:
            known = "; ".join(RETRIEVAL)
            raise CourseError(f"The catalogue has no mean of retrieval on {self.benchmark}; name one of {known}.")
        for name in ("languages", "tokens", "memory_mb"):
            value = getattr(self, name)
            if value is not None and not value >= 1:
                raise CourseError(f"{name} is {value!r}; it must be at least 1.")

    @property
    def score(self) -> str:
        """What the score is called that these needs trade against speed."""
        return f"{self.benchmark}{', retrieval' if self.search else ''}"


@dataclass(frozen=True)
class Rule:
    """One question of the filter: how it reads, whether it is asked at all, and why a model fails it, or None."""

    question: Callable[[Needs], str]
    asked: Callable[[Needs], bool]
    fails: Callable[[Card, Needs], str | None]


def weights_mb(card: Card) -> float | None:
    """The weights' size in float32, in MB (10^6 bytes): four bytes a parameter; None if their number is unknown."""
    return None if card.params_total is None else card.params_total * 4 / 1e6


def _licence(card: Card, needs: Needs) -> str | None:
    if card.license is None:
        return "licence unknown"
    if card.license not in COMMERCIAL:
        return f"licence has terms of its own to be read first ({card.license})"
    return None if COMMERCIAL[card.license] else f"licence forbids commercial use ({card.license})"


def _code(card: Card, needs: Needs) -> str | None:
    if card.trust_remote_code is None:
        return "unknown whether it runs code of its own"
    return "runs code of its own" if card.trust_remote_code else None


def _languages(card: Card, needs: Needs) -> str | None:
    if card.languages_mteb is None:
        return "languages unknown"
    enough = card.languages_mteb >= needs.languages
    return None if enough else f"too few languages ({card.languages_mteb} of {needs.languages})"


def _tokens(card: Card, needs: Needs) -> str | None:
    if card.layers == 0:  # a static model reads a text of any length
        return None
    if card.max_tokens is None:
        return "context length unknown"
    return None if card.max_tokens >= needs.tokens else f"context too short ({card.max_tokens} of {needs.tokens})"


def _memory(card: Card, needs: Needs) -> str | None:
    size = weights_mb(card)
    if size is None:
        return "parameters unknown"
    limit = needs.memory_mb or inf
    return None if size <= limit else f"weights too large ({size:,.0f} of {limit:,.0f} MB)"


RULES = (
    Rule(lambda n: "Licence allows commercial use?", lambda n: n.commercial, _licence),
    Rule(lambda n: "Runs without code of its own?", lambda n: not n.remote_code, _code),
    Rule(lambda n: f"Claims {n.languages} languages or more?", lambda n: n.languages > 1, _languages),
    Rule(lambda n: f"Reads {n.tokens} tokens or more?", lambda n: n.tokens > 1, _tokens),
    Rule(lambda n: f"Float32 weights within {n.memory_mb:,.0f} MB?", lambda n: n.memory_mb is not None, _memory),
)


@dataclass(frozen=True)
class Choice:
    """What the filter left, in the catalogue's order, and every reason why each of the others is out."""

    needs: Needs
    candidates: tuple[Card, ...]
    excluded: dict[str, tuple[str, ...]]

    def table(self) -> pd.DataFrame:
        """The trade-off: one row a candidate, those without a score last; NaN and NA are unknown.

        The score is the mean over the tasks of one benchmark, 0 to 100: all of them, complete runs only, or those of
        retrieval as published. The zero-shot share is the percentage of all tasks that the model wasn't trained on.
        Tokens a second were measured on twins on a CPU (`twins.speeds`). `front` is a `Place`'s: "yes", "not told
        apart", or "" for a model that another beats; NA where a figure is missing. A published mean comes without an
        interval, so a model is told to be better by `LEAD`, and to be faster by more than equal twins differ.
        """
        speeds, noise = twins.speeds()
        columns = {
            self.needs.score: [score(c, self.needs.benchmark, search=self.needs.search) for c in self.candidates],
            SPEED: [speeds.get(c.hub_id) for c in self.candidates],
            "zero-shot (%)": [zero_shot(c, self.needs.benchmark) for c in self.candidates],
            "float32 weights (MB)": [weights_mb(c) for c in self.candidates],
            "tokens": ["no limit" if c.layers == 0 else c.max_tokens for c in self.candidates],
            "languages": [c.languages_mteb for c in self.candidates],
            "licence": [c.license for c in self.candidates],
        }
        names = pd.Index([c.hub_id for c in self.candidates], name="model")
        table = pd.DataFrame(columns, index=names)
        figures = list(table.columns[:4])
        table[figures] = table[figures].astype(float)
        known = table[figures[:2]].dropna()
        made = _placed(known[figures[0]].tolist(), known[figures[1]].tolist(), noise)
        table["front"] = pd.Series([place.front for place in made], index=known.index, dtype=object).reindex(names)
        return table.sort_values(figures[0], ascending=False, kind="stable")

    def front(self) -> list[str]:
        """The hub ids that no other candidate is told to beat in score and speed, best score first."""
        shown = self.table()["front"].dropna()
        return [str(name) for name, front in shown.items() if front]

    def verdict(self) -> str:
        """What the trade-off says, in words: whom it leaves, whom it puts out, and who can't be placed."""
        shown = self.table()
        seen = shown["front"].dropna()
        front, beaten = [_short(n) for n in seen.index[seen != ""]], [_short(n) for n in seen.index[seen == ""]]
        if seen.empty:
            said = "Nobody has both figures, so this decides nothing."
        elif not beaten:
            said = f"It excludes nobody: all {len(seen)} that have both figures are on the front, so measure them all."
        else:
            said = f"On the front: {', '.join(front)}. Beaten by another: {', '.join(beaten)}."
        unplaced = len(shown) - len(seen)
        return f"{said} {unplaced} more have no place, since a figure of theirs is unknown." if unplaced else said


def _placed(scores: list[float], rates: list[float], noise: float) -> list[Place]:
    return placed(
        scores,
        rates,
        lambda one, other: scores[one] >= scores[other] + LEAD,
        lambda one, other: rates[one] > rates[other] * noise,
    )


def _short(name: object) -> str:
    return str(name).split("/")[1]


def score(card: Card, benchmark: Benchmark, *, search: bool = False) -> float | None:
    """The mean over a benchmark's tasks, or over those of retrieval, 0 to 100; None where it isn't known.

    A mean over all tasks is known from a complete run alone.
    """
    if search:
        found: float | None = getattr(card, RETRIEVAL[benchmark])
        return found
    mean, tasks_run, tasks = BENCHMARKS[benchmark]
    value: float | None = getattr(card, mean)
    return value if getattr(card, tasks_run) == tasks else None


def zero_shot(card: Card, benchmark: Benchmark) -> float | None:
    """The percentage of a benchmark's tasks that a model wasn't trained on; None where nobody says."""
    value: float | None = getattr(card, ZERO_SHOT[benchmark]) if benchmark in ZERO_SHOT else None
    return value


def asked(needs: Needs) -> tuple[Rule, ...]:
    """The rules that these needs ask, in order."""
    return tuple(rule for rule in RULES if rule.asked(needs))


def choose(needs: Needs, models: Sequence[Card] | None = None) -> Choice:
    """The models that meet all needs, and for each of the others every reason against it.

    Args:
        needs: what the use asks for.
        models: to choose from; None is the whole catalogue.
    """
    candidates, excluded = [], {}
    for card in cards() if models is None else models:
        reasons = [reason for rule in asked(needs) if (reason := rule.fails(card, needs))]
        if reasons:
            excluded[card.hub_id] = tuple(reasons)
        else:
            candidates.append(card)
    return Choice(needs, tuple(candidates), excluded)


@dataclass(frozen=True)
class Step:
    """One question of the filter as asked: how many models leave at it, for what reason, and how many go on."""

    question: str
    no: int
    unknown: int
    yes: int


def steps(needs: Needs, models: Sequence[Card] | None = None) -> list[Step]:
    """The filter question by question; a model leaves at the first that it fails."""
    left, taken = list(cards() if models is None else models), []
    for rule in asked(needs):
        reasons = [rule.fails(card, needs) for card in left]
        left = [card for card, reason in zip(left, reasons, strict=True) if reason is None]
        unknown = sum("unknown" in (reason or "") for reason in reasons)
        taken.append(Step(rule.question(needs), len(reasons) - len(left) - unknown, unknown, len(left)))
    return taken


def tree(needs: Needs, models: Sequence[Card] | None = None) -> str:
    """The same decision as a mermaid flow chart: each question, how many leave at it, and who is left.

    The leaves' counts add up to the catalogue; a leaf that nobody reaches isn't drawn.
    """
    choice, asked_for = choose(needs, models), steps(needs, models)
    everyone = len(choice.candidates) + len(choice.excluded)
    lines = ["flowchart TD", f'    start["{everyone} models"] --> {"q0" if asked_for else "kept"}']
    for number, step in enumerate(asked_for):
        then = f"q{number + 1}" if number + 1 < len(asked_for) else "kept"
        lines.append(f'    q{number}{{"{step.question}"}} -->|yes| {then}')
        leaves = {"no": ("out", step.no), "unknown": ("unknown", step.unknown)}
        lines += [f'    q{number} -->|{why}| {leaf}{number}["{n} out"]' for why, (leaf, n) in leaves.items() if n]
    front = "<br>".join(choice.front()) or "none: no candidate has both figures"
    return "\n".join(
        [
            *lines,
            f'    kept["{len(choice.candidates)} candidates"] --> tradeoff{{"{needs.score} against speed"}}',
            f'    tradeoff -->|on the front| front["{front}"]',
            '    tradeoff -->|a figure unknown| ask["find it out, or measure"]',
            '    front --> measure["measure on your own data"]',
            "    ask --> measure",
        ]
    )
