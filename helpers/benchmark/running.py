"""Models x data -> results. Every model is loaded, encodes each distinct text once, is scored, timed and freed.

What it scored is written down at once, so that an interrupted run goes on with the models that are missing. A model
that can't be had, or fails, is named with the reason, and the others go on.
"""

import gc
import hashlib
import json
import shutil
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import semantic_search
from tqdm.auto import tqdm

from helpers import data, files, models
from helpers.benchmark.parameters import Settings
from helpers.benchmark.report import Report, Result, writing
from helpers.errors import CourseError
from helpers.measure import metrics, speed
from helpers.measure.environment import environment
from helpers.measure.metrics import Estimate

SPEED_TEXTS = 64
TOP_K = 100


def run(settings: Settings) -> Report:
    """Benchmark the models of `settings` on its dataset, one after the other, with a progress bar.

    Results of finished models lie in `output_dir/unfinished/` until the run is complete; a run
    with the same settings, data and machine picks up there.

    Raises:
        CourseError: the data or a setting is wrong, the output folder can't be written, or not one
            model could be measured.
    """
    dataset = data.read(
        settings.dataset,
        columns=settings.columns,
        encoding=settings.encoding,
        limit=settings.limit,
        seed=settings.seed,
    )
    _check_quality(settings.quality, dataset)
    device, machine = models.choose_device(settings.device), environment()
    models.choose_dtype(settings.dtype)
    unfinished = settings.output_dir / "unfinished"
    results: list[Result] = []
    unavailable: dict[str, str] = {}
    with writing(settings.output_dir):
        unfinished.mkdir(parents=True, exist_ok=True)
    with tqdm(settings.models, unit="model") as bar:
        for name in bar:
            bar.set_postfix_str(name)
            kept = unfinished / f"{_fingerprint(name, settings, dataset, device, machine)}.json"
            result = read_result(kept)
            if result is None:
                try:
                    result = measure(name, dataset, settings)
                except (CourseError, RuntimeError, OSError, ImportError, ValueError, MemoryError) as error:
                    unavailable[name] = " ".join(str(error).split())[:500] or type(error).__name__
                    continue
                with writing(settings.output_dir):
                    files.replace(kept, TypeAdapter(Result).dump_json(result))
            results.append(result)
    if not results:
        reasons = " ".join(f"{name}: {reason}" for name, reason in unavailable.items())
        raise CourseError(f"No model could be measured. {reasons}")
    shutil.rmtree(unfinished, ignore_errors=True)
    return Report(
        settings=settings,
        dataset=dataset.name,
        dataset_sha256=dataset.sha256,
        graded=bool(dataset.pairs and dataset.pairs.graded),
        gold=tuple(dataset.pairs.gold.tolist()) if dataset.pairs else None,
        results=tuple(results),
        unavailable=unavailable,
        environment=machine,
    )


def measure(name: str, dataset: data.Dataset, settings: Settings) -> Result:
    """Load one model, score it, time it, and free it whether it succeeded or not.

    Raises:
        CourseError: its weights aren't real, so that its quality would mean nothing.
    """
    try:
        return _measured(name, dataset, settings)
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)  # they hold the model
        raise
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _measured(name: str, dataset: data.Dataset, settings: Settings) -> Result:
    with speed.peak_memory() as memory:
        start = time.perf_counter()
        model = models.load(
            name,
            source=settings.source,
            device=settings.device,
            dtype=settings.dtype,
            trust_remote_code=settings.trust_remote_code,
        )
        load_s = time.perf_counter() - start
        weights = models.weights(model)
        if not weights.real:
            raise CourseError(
                f"its weights are out of reach (hub and local cache); a {weights.kind} is at hand, "
                "and that says nothing of its quality."
            )
        scores, similarities = score(model, dataset, batch_size=settings.batch_size, seed=settings.seed)
        timed = speed.measure(
            model,
            speed_sample(dataset, settings.seed),
            batch_size=settings.batch_size,
            repeats=settings.repeats,
        )
    return Result(
        name=name,
        weights=str(weights),
        device=str(model.device),
        dtype=models.precision(model),
        dims=int(model.get_embedding_dimension() or 0),
        parameters=sum(p.numel() for p in model.parameters()),
        scores=scores,
        speed=timed,
        load_s=load_s,
        memory_mb=memory.process_mb,
        gpu_memory_mb=memory.gpu_mb,
        similarities=tuple(similarities.tolist()) if similarities is not None else None,
    )


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
        distinct = {text: row for row, text in enumerate(dict.fromkeys(search.corpus.values()))}
        documents = unit(model.encode_document, list(distinct))[[distinct[t] for t in search.corpus.values()]]
        scores |= metrics.retrieval_scores(
            retrieve(search, unit(model.encode_query, list(search.queries.values())), documents),
            search.qrels,
            seed=seed,
        )
    return scores, similarities


def retrieve(
    search: data.Retrieval, queries: NDArray[np.float32], documents: NDArray[np.float32], k: int = TOP_K
) -> dict[str, dict[str, float]]:
    """The k best documents of each query by dot product: query id -> document id -> score.

    A query that is a document too isn't among its own answers, as in BEIR; see `data.Retrieval.own_documents`.

    Args:
        search: names the rows of the two arrays, in its own order.
        queries: (q, d) unit vectors.
        documents: (n, d) unit vectors.
    """
    ids = list(search.corpus)
    own = search.own_documents
    wanted = min(k + bool(own), len(ids))
    hits = semantic_search(torch.from_numpy(queries), torch.from_numpy(documents), top_k=wanted)
    found = {}
    for query, best in zip(search.queries, hits, strict=True):
        named = [(ids[int(hit["corpus_id"])], float(hit["score"])) for hit in best]
        found[query] = dict([(d, s) for d, s in named if not (d == query and query in own)][:k])
    return found


def speed_sample(dataset: data.Dataset, seed: int = 0) -> list[str]:
    """Up to 64 texts to time on: the course's mixture of lengths, or a draw from the reader's own texts."""
    texts = data.texts() if dataset.name == "course" else dataset.texts
    draw = np.random.default_rng(seed).permutation(len(texts))[:SPEED_TEXTS]
    return [texts[i] for i in draw]


def _check_quality(quality: str | None, dataset: data.Dataset) -> None:
    there = [] if not dataset.retrieval else ["ndcg@10", "recall@10", "mrr@10"]
    if dataset.pairs:
        there += ["spearman"] if dataset.pairs.graded else ["roc_auc", "average_precision", "separation"]
    if quality is not None and quality not in there:
        raise CourseError(f"quality is {quality!r}; on {dataset.name!r} it can be {', '.join(there)}.")


def _fingerprint(name: str, settings: Settings, dataset: data.Dataset, device: str, machine: Mapping[str, Any]) -> str:
    """What a kept result depends on; a change of any of it measures the model again."""
    relevant = settings.model_dump(mode="json", exclude={"models", "output_dir", "quality", "speed_cap"})
    content = json.dumps([name, relevant, dataset.sha256, device, machine], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def read_result(path: Path) -> Result | None:
    """A result that an interrupted run kept; None where there is none that can be read."""
    try:
        return TypeAdapter(Result).validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
