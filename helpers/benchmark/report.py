"""What a run found: its results, the ranking in a table and in words, and the files that hold them.

Figures are left to `plots`.
"""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError

from helpers import files
from helpers.benchmark.parameters import Settings
from helpers.errors import CourseError
from helpers.measure import speed
from helpers.measure.metrics import Estimate
from helpers.measure.ranking import combined_score, pareto_front, rank_groups

MEASURES = {
    "ndcg@10": "nDCG@10",
    "recall@10": "recall@10",
    "mrr@10": "MRR@10",
    "roc_auc": "ROC-AUC",
    "average_precision": "average precision",
    "spearman": "Spearman",
    "separation": "separation",
}


@dataclass(frozen=True)
class Result:
    """What one model did. Scores have their intervals; sizes are in MB, times in seconds."""

    name: str
    weights: str
    device: str
    dtype: str
    dims: int
    parameters: int
    scores: dict[str, Estimate]
    speed: speed.Speed
    load_s: float
    memory_mb: float
    gpu_memory_mb: float | None
    similarities: tuple[float, ...] | None


@dataclass(frozen=True)
class Report:
    """A whole run: results, the models that gave none and why, and what they were measured on."""

    settings: Settings
    dataset: str
    dataset_sha256: str
    graded: bool
    gold: tuple[float, ...] | None
    results: tuple[Result, ...]
    unavailable: dict[str, str]
    environment: dict[str, Any]

    @property
    def quality(self) -> str:
        """The score that ranks: the one asked for, else the first of `MEASURES` that was measured."""
        return self.settings.quality or next(m for m in MEASURES if m in self.results[0].scores)


def ranking(report: Report) -> pd.DataFrame:
    """The ranked table: one row a model, best first; a model that gave no result isn't in it.

    Sorted by rank group on `report.quality`, then by combined score.
    """
    results, by = report.results, report.quality
    ranked = [r.scores[by] for r in results]
    front = pareto_front([e.value for e in ranked], [r.speed.texts_per_s for r in results])
    rows = [
        {
            "rank": rank,
            "model": r.name,
            **{f"{m}{end}": v for m, e in r.scores.items() for end, v in _ends(e)},
            "texts_per_s": r.speed.texts_per_s,
            "texts_per_s_slowest": r.speed.slowest,
            "texts_per_s_fastest": r.speed.fastest,
            "tokens_per_s": r.speed.tokens_per_s,
            "peak_share": r.speed.peak_share,
            "combined": combined_score(r.scores[by].value, r.speed.texts_per_s, report.settings.speed_cap),
            "pareto": on_front,
            "dims": r.dims,
            "parameters": r.parameters,
            "load_s": r.load_s,
            "memory_mb": r.memory_mb,
            "device": r.device,
            "dtype": r.dtype,
            "weights": r.weights,
        }
        for r, rank, on_front in zip(results, rank_groups(ranked), front, strict=True)
    ]
    return pd.DataFrame(rows).sort_values(["rank", "combined"], ascending=[True, False], ignore_index=True)


def _ends(estimate: Estimate) -> list[tuple[str, float]]:
    return [("", estimate.value), ("_low", estimate.low), ("_high", estimate.high)]


def table(report: Report) -> pd.DataFrame:
    """The ranking as people read it: scores with intervals, few columns."""
    full = ranking(report)
    shown = pd.DataFrame({"rank": full["rank"], "model": full["model"]})
    for measure_name, title in MEASURES.items():
        if measure_name in full:
            shown[title] = [
                f"{row[measure_name]:.3f} [{row[measure_name + '_low']:.3f}, {row[measure_name + '_high']:.3f}]"
                for _, row in full.iterrows()
            ]
    shown["texts/s"] = [f"{value:,.0f}" for value in full["texts_per_s"]]
    shown["combined"] = full["combined"].map("{:.3f}".format)
    shown["Pareto"] = np.where(full["pareto"], "yes", "")
    shown["dims"] = full["dims"]
    return shown


def summary(report: Report) -> str:
    """The ranked table and what to know beside it, as plain text."""
    used = report.results[0].speed
    shown = table(report)
    narrow = shown[[c for c in shown if c in ("rank", "model", "texts/s", "combined", "Pareto", "dims")]].copy()
    narrow.insert(2, MEASURES[report.quality], shown[MEASURES[report.quality]])
    lines = [
        narrow.to_string(index=False),
        "",
        f"Ranked by {MEASURES[report.quality]} on '{report.dataset}'; models whose 95% intervals overlap share a "
        f"rank. Speed: median of {used.repeats} over {used.texts} texts, batches of {used.batch_size}, on "
        f"{report.environment['hardware']['accelerator'] or report.environment['hardware']['cpu']}.",
    ]
    lines += [f"Not ranked: {name}: {reason}" for name, reason in report.unavailable.items()]
    return "\n".join(lines)


def save(report: Report, figure: Any = None) -> list[Path]:
    """Write benchmark.csv (the ranking), benchmark.json (everything) and benchmark.png (the figure).

    Each file is replaced as a whole or not at all.

    Returns:
        The paths written.

    Raises:
        CourseError: the output folder can't be written.
    """
    folder = report.settings.output_dir
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        written = [folder / "benchmark.csv", folder / "benchmark.json"]
        files.replace(written[0], ranking(report).to_csv(index=False).encode())
        files.replace(written[1], TypeAdapter(Report).dump_json(report, indent=1))
        if figure is not None:
            written.append(folder / "benchmark.png")
            picture = io.BytesIO()
            figure.savefig(picture, format="png", dpi=150, bbox_inches="tight")
            files.replace(written[-1], picture.getvalue())
    return written


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
