"""Models x data -> results, ranking, report.

Every model is loaded, encodes each distinct text once, is scored, timed, and freed before the
next. What it scored is written down at once, so that an interrupted run goes on with the models
that are missing. A model that can't be had, or fails, is named with the reason, and the others
go on. Figures are left to `plots`.
"""

import contextlib
import gc
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from IPython import get_ipython
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import semantic_search
from tqdm.auto import tqdm

from helpers import bundled, data, metrics, models, speed
from helpers.catalog import nearest
from helpers.environment import environment
from helpers.errors import CourseError
from helpers.metrics import Estimate
from helpers.models import Source

SPEED_TEXTS = 64
TOP_K = 100
MEASURES = {
    "ndcg@10": "nDCG@10",
    "recall@10": "recall@10",
    "mrr@10": "MRR@10",
    "roc_auc": "ROC-AUC",
    "average_precision": "average precision",
    "spearman": "Spearman",
    "separation": "separation",
}


class Settings(BaseModel):
    """What a run is told; the parameters of the benchmark notebook."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tuple[str, ...] = tuple(bundled.MODELS)
    dataset: str = "course"
    source: Source = "auto"
    device: str | None = None
    dtype: str | None = None
    batch_size: int = Field(default=32, ge=1)
    repeats: int = Field(default=3, ge=1)
    seed: int = Field(default=0, ge=0)
    output_dir: Path = Path("results")
    quality: str | None = None
    speed_cap: float = Field(default=500.0, gt=0)
    trust_remote_code: bool = False

    @field_validator("models", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        """A list of names, or one text with commas; "bundled" stands for every bundled model."""
        if not isinstance(value, str | list | tuple):
            raise ValueError("give names with commas between, or a list of names")
        parts = value.split(",") if isinstance(value, str) else value
        found = [n for part in parts for n in (bundled.MODELS if part == "bundled" else [str(part).strip()])]
        return tuple(dict.fromkeys(name for name in found if name))

    @field_validator("device", "dtype", "quality", mode="before")
    @classmethod
    def _optional(cls, value: Any) -> Any:
        """The word "auto" and an empty text mean: choose for me."""
        return None if value in ("", "auto") else value


def notebook_variables() -> dict[str, Any]:
    """The variables that the cells of this notebook have set so far."""
    shell: Any = get_ipython()
    return {name: value for name, value in shell.user_ns.items() if name not in shell.user_ns_hidden}


def settings(namespace: Mapping[str, Any]) -> Settings:
    """Settings from variables; what isn't a setting is an error, not a silent no-op.

    Args:
        namespace: name -> value; modules, functions and private names are passed over.

    Raises:
        CourseError: an unknown parameter, or a value of the wrong kind; names it and the mend.
    """
    given = {
        name: value
        for name, value in namespace.items()
        if not name.startswith("_") and not callable(value) and not hasattr(value, "__loader__")
    }
    try:
        made = Settings(**given)
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0])
        if problem["type"] == "extra_forbidden":
            known = list(Settings.model_fields)
            raise CourseError(
                f"There is no parameter {name!r}.{nearest(name, known)} Known are: {', '.join(known)}."
            ) from None
        raise CourseError(f"Parameter {name} is {problem['input']!r}: {problem['msg']}.") from None
    if not made.models:
        raise CourseError("Parameter models is empty; name at least one, or 'bundled'.")
    return made


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


def run(chosen: Settings) -> Report:
    """Benchmark the models of `chosen` on its dataset, one after the other, with a progress bar.

    Results of finished models lie in `output_dir/unfinished/` until the run is complete; a run
    with the same settings, data and machine picks up there.

    Raises:
        CourseError: the data or a setting is wrong, the output folder can't be written, or not one
            model could be measured.
    """
    dataset = data.read(chosen.dataset)
    _check_quality(chosen.quality, dataset)
    device, where = models.choose_device(chosen.device), environment()
    models.choose_dtype(chosen.dtype)
    unfinished = chosen.output_dir / "unfinished"
    results: list[Result] = []
    unavailable: dict[str, str] = {}
    with writing(chosen.output_dir):
        unfinished.mkdir(parents=True, exist_ok=True)
    with tqdm(chosen.models, unit="model") as bar:
        for name in bar:
            bar.set_postfix_str(name)
            kept = unfinished / f"{_fingerprint(name, chosen, dataset, device, where)}.json"
            result = _read_result(kept)
            if result is None:
                try:
                    result = measure(name, dataset, chosen)
                except (CourseError, RuntimeError, OSError, ImportError, ValueError, MemoryError) as error:
                    unavailable[name] = " ".join(str(error).split())[:500] or type(error).__name__
                    continue
                with writing(chosen.output_dir):
                    write(kept, TypeAdapter(Result).dump_json(result))
            results.append(result)
    if not results:
        reasons = " ".join(f"{name}: {reason}" for name, reason in unavailable.items())
        raise CourseError(f"No model could be measured. {reasons}")
    shutil.rmtree(unfinished, ignore_errors=True)
    return Report(
        settings=chosen,
        dataset=dataset.name,
        dataset_sha256=dataset.sha256,
        graded=bool(dataset.pairs and dataset.pairs.graded),
        gold=tuple(dataset.pairs.gold.tolist()) if dataset.pairs else None,
        results=tuple(results),
        unavailable=unavailable,
        environment=where,
    )


def measure(name: str, dataset: data.Dataset, chosen: Settings) -> Result:
    """Load one model, score it and time it.

    Raises:
        CourseError: its weights aren't real, so that its quality would mean nothing.
    """
    with speed.peak_memory() as memory:
        start = time.perf_counter()
        model = models.load(
            name,
            source=chosen.source,
            device=chosen.device,
            dtype=chosen.dtype,
            trust_remote_code=chosen.trust_remote_code,
        )
        load_s = time.perf_counter() - start
        found = models.weights(model)
        if not found.real:
            raise CourseError(
                f"its weights are out of reach (hub and local cache); a {found.kind} is at hand, "
                "and that says nothing of its quality."
            )
        scores, similarities = score(model, dataset, batch_size=chosen.batch_size, seed=chosen.seed)
        timed = speed.measure(
            model,
            speed_sample(dataset, chosen.seed),
            batch_size=chosen.batch_size,
            repeats=chosen.repeats,
        )
    result = Result(
        name=name,
        weights=str(found),
        device=str(model.device),
        dtype="int8" if name.endswith("int8") else str(model.dtype or torch.float32).removeprefix("torch."),
        dims=int(model.get_embedding_dimension() or 0),
        parameters=sum(p.numel() for p in model.parameters()),
        scores=scores,
        speed=timed,
        load_s=load_s,
        memory_mb=memory.process_mb,
        gpu_memory_mb=memory.gpu_mb,
        similarities=tuple(similarities.tolist()) if similarities is not None else None,
    )
    del model
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return result


def score(
    model: SentenceTransformer, dataset: data.Dataset, *, batch_size: int = 32, seed: int = 0
) -> tuple[dict[str, Estimate], NDArray[np.float64] | None]:
    """Every score of a model on a dataset, and the (n,) similarities of its pairs, if it has any.

    Each distinct text is encoded once: sentences of pairs without a prompt, queries and documents
    with theirs. Similarity is cosine.
    """
    scores: dict[str, Estimate] = {}
    similarities = None

    def unit(encode: Any, texts: Sequence[str]) -> NDArray[np.float32]:
        made = encode(list(texts), batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False)
        return cast(NDArray[np.float32], np.asarray(made, dtype=np.float32))

    if dataset.pairs:
        pairs = dataset.pairs
        distinct = {text: row for row, text in enumerate(dict.fromkeys((*pairs.sentence1, *pairs.sentence2)))}
        vectors = unit(model.encode, list(distinct))
        first, second = ([distinct[t] for t in side] for side in (pairs.sentence1, pairs.sentence2))
        similarities = np.einsum("nd,nd->n", vectors[first], vectors[second], dtype=np.float64)
        scores |= metrics.pair_scores(similarities, pairs.gold, graded=pairs.graded, seed=seed)
    if dataset.retrieval:
        search = dataset.retrieval
        scores |= metrics.retrieval_scores(
            retrieve(
                search,
                unit(model.encode_query, list(search.queries.values())),
                unit(model.encode_document, list(search.corpus.values())),
            ),
            search.qrels,
            seed=seed,
        )
    return scores, similarities


def retrieve(
    search: data.Retrieval, queries: NDArray[np.float32], documents: NDArray[np.float32], k: int = TOP_K
) -> dict[str, dict[str, float]]:
    """The k best documents of each query by dot product: query id -> document id -> score.

    Args:
        search: names the rows of the two arrays, in its own order.
        queries: (q, d) unit vectors.
        documents: (n, d) unit vectors.
    """
    ids = list(search.corpus)
    hits = semantic_search(torch.from_numpy(queries), torch.from_numpy(documents), top_k=min(k, len(ids)))
    return {
        query: {ids[int(hit["corpus_id"])]: float(hit["score"]) for hit in found}
        for query, found in zip(search.queries, hits, strict=True)
    }


def speed_sample(dataset: data.Dataset, seed: int = 0) -> list[str]:
    """Up to 64 texts to time on: the course's mixture of lengths, or a draw from the reader's own texts."""
    texts = data.texts() if dataset.name == "course" else dataset.texts
    draw = np.random.default_rng(seed).permutation(len(texts))[:SPEED_TEXTS]
    return [texts[i] for i in draw]


def combined_score(quality: float, texts_per_s: float, speed_cap: float = 500.0) -> float:
    """Quality and speed in one number: quality * (0.7 + 0.3 * min(texts_per_s / speed_cap, 1)).

    One number hides the trade-off and depends on the cap; read it beside the Pareto front.
    """
    return quality * (0.7 + 0.3 * min(texts_per_s / speed_cap, 1.0))


def rank_groups(estimates: Sequence[Estimate]) -> list[int]:
    """The rank of each estimate: 1 plus the number of others whose whole interval lies above its own.

    Where intervals overlap, models share a rank: the data doesn't tell them apart.
    """
    return [1 + sum(other.low > mine.high for other in estimates) for mine in estimates]


def pareto_front(quality: Sequence[float], texts_per_s: Sequence[float]) -> list[bool]:
    """For each model, whether no other is at least as good and as fast, and better at one of the two."""
    points = list(zip(quality, texts_per_s, strict=True))
    return [not any(q >= a and s >= b and (q > a or s > b) for q, s in points) for a, b in points]


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
        write(written[0], ranking(report).to_csv(index=False).encode())
        write(written[1], TypeAdapter(Report).dump_json(report, indent=1))
        if figure is not None:
            written.append(folder / "benchmark.png")
            with tempfile.NamedTemporaryFile(dir=folder, suffix=".png", delete=False) as scratch:
                figure.savefig(scratch, dpi=150, bbox_inches="tight")
            os.replace(scratch.name, written[-1])
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


def write(path: Path, content: bytes) -> None:
    """Write a file as a whole or not at all."""
    scratch = path.with_name(path.name + ".part")
    scratch.write_bytes(content)
    os.replace(scratch, path)


@contextlib.contextmanager
def writing(folder: Path) -> Any:
    """Turn what the disk says into a sentence."""
    try:
        yield
    except OSError as error:
        raise CourseError(
            f"{folder}: results can't be written there ({error.strerror}); name another folder as output_dir."
        ) from error


def _check_quality(quality: str | None, dataset: data.Dataset) -> None:
    there = [] if not dataset.retrieval else ["ndcg@10", "recall@10", "mrr@10"]
    if dataset.pairs:
        there += ["spearman"] if dataset.pairs.graded else ["roc_auc", "average_precision", "separation"]
    if quality is not None and quality not in there:
        raise CourseError(f"quality is {quality!r}; on {dataset.name!r} it can be {', '.join(there)}.")


def _fingerprint(name: str, chosen: Settings, dataset: data.Dataset, device: str, where: Mapping[str, Any]) -> str:
    """What a kept result depends on; a change of any of it measures the model again."""
    relevant = chosen.model_dump(mode="json", exclude={"models", "output_dir", "quality", "speed_cap"})
    content = json.dumps([name, relevant, dataset.sha256, device, where], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _read_result(path: Path) -> Result | None:
    try:
        return TypeAdapter(Result).validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
