"""What a run found: its results, who is told apart from whom, the ranking in a table, and the files that hold them.

Sentences are left to `words`, figures to `plots`.
"""

import contextlib
import io
import json
import re
import sys
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from helpers import files
from helpers.benchmark.parameters import Settings
from helpers.errors import CourseError
from helpers.measure import comparing, metrics
from helpers.measure.comparing import Comparison
from helpers.measure.metrics import Estimate
from helpers.measure.ranking import Place, combined_score, places
from helpers.measure.speed import Speed

MEASURES = {
    "ndcg@10": "nDCG@10",
    "recall@10": "recall@10",
    "mrr@10": "MRR@10",
    "roc_auc": "ROC-AUC",
    "average_precision": "average precision",
    "spearman": "Spearman",
    "separation": "separation",
}
DRAWN, ANCHORS = 200, 50  # of texts without labels: so many are drawn, and so many are compared with the others
OF_PAIRS = {
    "roc_auc": metrics.roc_auc,
    "average_precision": metrics.average_precision,
    "separation": metrics.separation,
}


@dataclass(frozen=True)
class Scored:
    """How good one model is. Scores have their intervals; times are in seconds.

    Attributes:
        per_query: for each score of retrieval its value for each query, in the order of `Data.queries`.
        similarities: of each pair, in the file's order; of texts without labels, of each of `ANCHORS` drawn ones to
            every other of `DRAWN`.
        parameters: None for a model that has none.
        load_s: loading, without the time of making a derived model.
        prepare_s: making a derived model, the first time on a machine.
    """

    name: str
    weights: str
    device: str
    dtype: str
    dims: int
    parameters: int | None
    scores: dict[str, Estimate]
    per_query: dict[str, tuple[float, ...]]
    similarities: tuple[float, ...] | None
    load_s: float
    prepare_s: float
    gpu_memory_mb: float | None


@dataclass(frozen=True)
class Result(Scored):
    """How good and how fast one model is."""

    speed: Speed


@dataclass(frozen=True)
class Data:
    """What a run's data were: enough to read its scores, and to test them again, without the texts.

    Attributes:
        texts: how many distinct texts were encoded.
        words: words a text, median and 95th percentile.
        gold: the pairs' labels or graded scores.
        pair_groups: the cluster of each pair, where pairs share sentences or the file has a column `group`.
        queries: ids of the judged queries.
        query_groups: the cluster of each query, where queries share relevant documents.
        judged: how many documents are relevant to some query, counted for each query.
    """

    texts: int
    words: tuple[float, float]
    pairs: int
    gold: tuple[float, ...] | None
    graded: bool
    pair_groups: tuple[int, ...] | None
    documents: int
    queries: tuple[str, ...]
    query_groups: tuple[int, ...] | None
    judged: int


@dataclass(frozen=True)
class Report:
    """A whole run: results, the models that gave none and why, and what they were measured on."""

    settings: Settings
    dataset: str
    dataset_sha256: str
    data: Data
    results: tuple[Result, ...]
    unavailable: dict[str, str]
    environment: dict[str, Any]
    at: str

    @property
    def judged(self) -> bool:
        """Whether there are labels; without them models have a speed and agree more or less, and none is better."""
        return bool(self.results[0].scores)

    @property
    def quality(self) -> str:
        """The score that ranks: the one asked for, else the first of `MEASURES` that was measured.

        Raises:
            CourseError: there are no labels.
        """
        if not self.judged:
            raise CourseError(f"'{self.dataset}' holds texts without labels, so no score ranks models on it.")
        return self.settings.quality or next(m for m in MEASURES if m in self.results[0].scores)

    @property
    def of_pairs(self) -> bool:
        """Whether the score that ranks is one of pairs."""
        return self.quality not in self.results[0].per_query

    @property
    def groups(self) -> tuple[int, ...] | None:
        """The cluster of each item that is compared on."""
        return self.data.pair_groups if self.of_pairs else self.data.query_groups

    @property
    def items(self) -> tuple[int, str]:
        """How many items models are compared on, and what they are called."""
        return (self.data.pairs, "pairs") if self.of_pairs else (len(self.data.queries), "queries")

    @cached_property
    def comparison(self) -> Comparison:
        """The models set against one another on the same items, in the order of `results`."""
        return compared(self, self.results)

    @cached_property
    def places(self) -> list[Place]:
        """Where each model stands in the trade of quality for speed, in the order of `results`."""
        return places(self.comparison, [r.speed for r in self.results])


def compared(report: Report, results: tuple[Result, ...]) -> Comparison:
    """Set results on the same data against one another."""
    by, seed = report.quality, report.settings.seed
    if not report.of_pairs:
        values = np.array([r.per_query[by] for r in results])
        return comparing.compare(comparing.of_queries(values, report.groups), seed=seed)
    similarities, gold = np.array([r.similarities for r in results]), np.array(report.data.gold)

    def statistic(similarity: NDArray[np.float64], labels: NDArray[np.float64]) -> NDArray[np.float64]:
        if report.data.graded:
            return metrics.spearman(similarity, np.broadcast_to(labels, similarity.shape))
        return OF_PAIRS[by](similarity[:, labels == 1], similarity[:, labels == 0])

    return comparing.compare(comparing.of_pairs(statistic, similarities, gold, report.groups), seed=seed)


def ranking(report: Report) -> pd.DataFrame:
    """The ranked table: one row a model, best first; a model that gave no result isn't in it.

    Sorted by rank; inside a rank the faster comes first, if it is told to be faster, else the list's order stays. Of
    texts without labels it is the list's order, without ranks and scores.
    """
    if not report.judged:
        rows = [
            {"number": n, "model": _short(r.name), **_timed(r), **_took(r)}
            for n, r in enumerate(report.results, start=1)
        ]
        return pd.DataFrame(rows).astype({"parameters": "Int64"})
    results, by, compared_ = report.results, report.quality, report.comparison
    ranks, places_ = compared_.ranks, report.places
    best = int(compared_.scores.argmax())

    def order(i: int) -> tuple[int, int, int]:
        ahead = sum(j in places_[i].slower_than and ranks[j] == ranks[i] for j in range(len(results)))
        return ranks[i], ahead, i

    numbers = {i: number for number, i in enumerate(sorted(range(len(results)), key=order), start=1)}
    rows = [
        {
            "number": numbers[i],
            "rank": ranks[i],
            "model": _short(r.name),
            **{f"{m}{end}": v for m, e in r.scores.items() for end, v in _ends(e)},
            **{f"to_best{end}": v for end, v in _ends(compared_.interval(i, best))},
            "not_told_apart_from": ", ".join(str(n) for n in sorted(numbers[j] for j in compared_.same(i))),
            **_timed(r),
            "combined": combined_score(r.scores[by].value, r.speed.texts_per_s, report.settings.speed_cap),
            "front": places_[i].front,
            **_took(r),
        }
        for i, r in enumerate(results)
    ]
    made = pd.DataFrame(rows).sort_values("number", ignore_index=True)
    return made.astype({"parameters": "Int64"})


def _timed(r: Result) -> dict[str, Any]:
    return {
        **{f"speed_ratio{end}": v for end, v in _ends(r.speed.ratio)},
        **{f"wall_ratio{end}": v for end, v in _ends(r.speed.wall_ratio)},
        "rate": r.speed.rate,
        "clock": r.speed.clock,
        "texts_per_s": r.speed.texts_per_s,
        "tokens_per_s": r.speed.tokens_per_s,
        "tokens_per_text": r.speed.tokens_per_text,
        "computed_per_token": r.speed.computed_per_token,
        "batch_size": r.speed.batch_size,
        "rounds": r.speed.rounds,
        "peak_share": r.speed.peak_share,
        "latency_ms": r.speed.latency_ms,
        "latency_p95_ms": r.speed.latency_p95_ms,
    }


def _took(r: Result) -> dict[str, Any]:
    return {
        "dims": r.dims,
        "parameters": r.parameters,
        "load_s": r.load_s,
        "prepare_s": r.prepare_s,
        "gpu_memory_mb": r.gpu_memory_mb,
        "device": r.device,
        "dtype": r.dtype,
        "weights": r.weights,
        "name": r.name,
    }


def _ends(estimate: Estimate) -> list[tuple[str, float]]:
    return [("", estimate.value), ("_low", estimate.low), ("_high", estimate.high)]


def _short(name: str) -> str:
    """A local model goes by its folder's last name; the path stands in `name`."""
    return Path(name).name if Path(name).expanduser().is_dir() else name


def interval(value: float, low: float, high: float, digits: int = 3) -> str:
    """`0.822 [0.770, 0.870]`."""
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def table(report: Report) -> pd.DataFrame:
    """The ranking as people read it: few columns, scores and ratios with their intervals."""
    full = ranking(report)
    shown = pd.DataFrame({"#": full["number"], "model": full["model"]})
    if report.judged:
        shown.insert(1, "rank", full["rank"])
        shown[MEASURES[report.quality]] = [_score(report, row) for _, row in full.iterrows()]
        shown["to the best"] = [
            ""
            if row["to_best"] == row["to_best_low"] == row["to_best_high"] == 0
            else f"{row['to_best']:+.3f} [{row['to_best_low']:+.3f}, {row['to_best_high']:+.3f}]"
            for _, row in full.iterrows()
        ]
        shown["not told apart from"] = full["not_told_apart_from"].map(lambda told: f"# {told}" if told else "")
    shown["speed"] = [
        "1"
        if row["speed_ratio_low"] == row["speed_ratio_high"] == 1
        else interval(
            row["speed_ratio"], row["speed_ratio_low"], row["speed_ratio_high"], 2 if row["speed_ratio"] < 10 else 0
        )
        for _, row in full.iterrows()
    ]
    shown["texts/s"] = [f"{value:,.0f}" if value >= 10 else f"{value:.1f}" for value in full["texts_per_s"]]
    shown["one text (ms)"] = [
        f"{row['latency_ms']:.1f}, 95%: {row['latency_p95_ms']:.1f}" for _, row in full.iterrows()
    ]
    if report.judged:
        shown["combined"] = full["combined"].map("{:.3f}".format)
        shown["front"] = full["front"]
    return shown


def scores(report: Report) -> pd.DataFrame:
    """Every score of every model with its own interval; models are compared by `table`, on the same items.

    Of texts without labels: how far it agrees with each other model.
    """
    full = ranking(report)
    shown = pd.DataFrame({"#": full["number"], "model": full["model"]})
    if not report.judged:
        taus = agreement(report)
        shown = shown.assign(**{f"tau with {n}": taus[:, n - 1].round(3) for n in full["number"]})
    for name, title in MEASURES.items():
        if name in full:
            shown[title] = [
                "none" if np.isnan(r[name]) else interval(r[name], r[f"{name}_low"], r[f"{name}_high"])
                for _, r in full.iterrows()
            ]
    return shown.assign(dims=full["dims"], weights=full["weights"])


def agreement(report: Report) -> NDArray[np.float64]:
    """How far models agree on texts without labels, (m, m) of m results: 1 is the same order, 0 is none.

    Kendall's tau-b between two models' orders of all drawn texts by similarity to one of them, the mean over `ANCHORS`
    such texts; NaN where a model finds all texts equally near.
    """
    rows = min(ANCHORS, report.data.texts)
    orders = np.array([r.similarities for r in report.results]).reshape(len(report.results), rows, -1)
    taus: list[list[list[float]]] = [
        [[stats.kendalltau(a, b).statistic for a, b in zip(one, other, strict=True)] for other in orders]
        for one in orders
    ]
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # a mean of nothing
        return np.asarray(np.nanmean(taus, axis=2))


def _score(report: Report, row: pd.Series) -> str:
    by = report.quality
    if row[by] >= 1 and by != "separation":
        return f"1.000, no error in {report.items[0]} {report.items[1]}"
    return interval(row[by], row[f"{by}_low"], row[f"{by}_high"])


def compare(a: Report, b: Report) -> pd.DataFrame:
    """Two reports of the same data (another day, another machine, a new model), tested on the same items.

    Returns:
        One row a pair of results that belongs together: a model that stands in both; a model that is in one alone,
        against the best of the other. `difference` is the second score minus the first; `told` names the better one,
        if one is told, corrected for all models of both reports. `speed` is the second model's rate over the first's
        with no interval where the reports are of two machines, or two days.

    Raises:
        CourseError: the data, or the scores that rank, aren't the same.
    """
    if a.dataset_sha256 != b.dataset_sha256:
        raise CourseError(
            f"The reports are of different data ('{a.dataset}' and '{b.dataset}', or another version of it), so no "
            "item is common to them; run one of the two again."
        )
    if a.quality != b.quality:
        raise CourseError(
            f"One report ranks by {a.quality}, the other by {b.quality}; run one again with quality={a.quality!r}."
        )
    together = compared(a, (*a.results, *b.results))
    first = {r.name: i for i, r in enumerate(a.results)}
    second = {r.name: len(a.results) + i for i, r in enumerate(b.results)}
    best_a, best_b = (max(side, key=lambda name: together.scores[side[name]]) for side in (first, second))
    both = [(name, name) for name in first if name in second]
    both += [(best_a, name) for name in second if name not in first]
    both += [(name, best_b) for name in first if name not in second]
    rows = []
    for one, other in both:
        i, j = first[one], second[other]
        told = "first" if together.better(i, j) else "second" if together.better(j, i) else ""
        speeds = a.results[i].speed, b.results[j - len(a.results)].speed
        rows.append(
            {
                "first": _short(one),
                "second": _short(other),
                **dict(zip(("score of first", "score of second"), together.scores[[i, j]], strict=True)),
                "difference": str(together.interval(j, i)),
                "p": together.p[i, j],
                "told better": told,
                "speed": speeds[1].rate / speeds[0].rate,
            }
        )
    return pd.DataFrame(rows)


def save(report: Report, figure: Any = None) -> list[Path]:
    """Write benchmark.csv (the ranking), benchmark.json (everything) and benchmark.png (the figure).

    All are made before the first takes its place, so that a folder holds files of one run; what an earlier run left of
    models that failed goes. A report on other data that lies there is moved into a folder of its own, and that is said.

    Returns:
        The paths written.

    Raises:
        CourseError: the output folder can't be written.
    """
    folder = report.settings.output_dir
    contents = {
        "benchmark.csv": ranking(report).to_csv(index=False).encode(),
        "benchmark.json": TypeAdapter(Report).dump_json(report, indent=1),
    }
    if figure is not None:
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=150, bbox_inches="tight")
        contents["benchmark.png"] = picture.getvalue()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as together:  # each takes its place when the stack unwinds, one after the other
            for name, content in contents.items():
                together.enter_context(files.replacing(folder / name)).write_bytes(content)
            _set_aside(folder, report)
        told = " ".join(report.unavailable.values())
        for old in (folder / "errors").glob("*.txt"):
            if old.as_posix() not in told:
                old.unlink()
        with contextlib.suppress(OSError):
            (folder / "errors").rmdir()
    return [folder / name for name in contents]


def _set_aside(folder: Path, report: Report) -> None:
    """Move what `make run` left in a folder out of the way, if it was on other data than this report."""
    try:
        old = json.loads((folder / "benchmark.json").read_bytes())
        name, at = str(old["dataset"]), str(old["at"])
        if old["dataset_sha256"] == report.dataset_sha256:
            return
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        name, at = "unknown", "earlier"
    place = folder / re.sub(r"[^\w.-]+", "_", f"{name}-{at[:19].replace(':', '')}")
    place.mkdir(exist_ok=True)
    for file in folder.glob("benchmark.*"):
        file.replace(place / file.name)
    print(
        f"{folder} held a report on other data ('{name}'); it is now in {place.as_posix()}. OUT=folder, or output_dir, "
        "keeps reports apart.",
        file=sys.stderr,
    )


def read(folder: str | Path = "results") -> Report:
    """The report that `save` wrote into a folder.

    Raises:
        CourseError: there is none, or it can't be read.
    """
    path = Path(folder) / "benchmark.json"
    try:
        return TypeAdapter(Report).validate_json(path.read_bytes())
    except FileNotFoundError:
        raise CourseError(f"{path} doesn't exist; run the benchmark first: make run.") from None
    except ValidationError as error:
        raise CourseError(f"{path} isn't a report of this version; run the benchmark again.") from error


@contextlib.contextmanager
def writing(folder: Path) -> Any:
    """Turn what the disk says into a sentence."""
    try:
        yield
    except OSError as error:
        raise CourseError(
            f"{folder}: results can't be written there ({error.strerror}); name another folder as output_dir."
        ) from error
