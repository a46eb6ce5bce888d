"""Models x data -> results. Every model is loaded, encodes each distinct text once and is scored; then all are timed.

What a model scored is written down at once, so that an interrupted run goes on with the models that are missing. A
model that can't be had, or fails, is named with the reason, and the others go on.
"""

import contextlib
import datetime
import gc
import hashlib
import json
import re
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import semantic_search

from helpers import data, files, models
from helpers.benchmark.entrants import Entrant, counter, entrant
from helpers.benchmark.large import expected_s, refuse_hours
from helpers.benchmark.parameters import Settings
from helpers.benchmark.progress import Progress
from helpers.benchmark.report import ANCHORS, DRAWN, MEASURES, Data, Report, Result, Scored, writing
from helpers.bundled import cache
from helpers.errors import CourseError
from helpers.measure import comparing, metrics, speed
from helpers.measure.environment import environment
from helpers.measure.metrics import Estimate
from helpers.models.loading import way

TOP_K = 100
MANY_TEXTS = 2_000  # below this, nobody needs to be told how long it takes
SIDE_BY_SIDE = 0.5  # of the memory that is free at the start, for models that are timed in the same rounds
OURS = Path(__file__).parent.parent
Scores = tuple[dict[str, Estimate], dict[str, tuple[float, ...]], NDArray[np.float64] | None]


def run(settings: Settings) -> Report:
    """Benchmark the models of `settings` on its dataset, and say on stderr what is being done.

    What finished models scored lies in `output_dir/unfinished/` until the run is complete; a run with the same
    settings, data and machine picks up there. Nothing else is written, but for `output_dir/errors/`, where the
    traceback of a model that failed lies.

    Raises:
        CourseError: the data or a setting is wrong, the output folder can't be written, or not one model could be
            measured.
    """
    dataset = data.read(
        settings.dataset,
        columns=settings.columns,
        encoding=settings.encoding,
        limit=settings.limit,
        seed=settings.seed,
    )
    dataset.check()
    _check_quality(settings.quality, dataset)
    device, machine = models.choose_device(settings.device), environment()
    models.choose_dtype(settings.dtype)
    unfinished = settings.output_dir / "unfinished"
    with writing(settings.output_dir):
        unfinished.mkdir(parents=True, exist_ok=True)
    session = _Session(settings, dataset)
    kept: list[Path] = []
    load_before = _load_average()
    with Progress() as progress:
        session.progress = progress
        progress.say(f"Ctrl-C is safe: what is finished is kept in {unfinished}, and the next run goes on from there.")
        for name in settings.models:
            session.look_up(name)
        paths = {
            name: unfinished / f"{_fingerprint(name, settings, dataset, device, machine)}.json"
            for name in settings.models
            if name not in session.unavailable
        }
        session.foresee([name for name, path in paths.items() if not path.exists()])
        scored: dict[str, Scored] = {}
        for name, path in paths.items():
            if name in session.unavailable:
                continue
            kept.append(path)
            if (found := read_result(path)) is None:
                with session.spared(name):
                    found = session.score(name)
                    with writing(settings.output_dir):
                        files.replace(path, TypeAdapter(Scored).dump_json(found))
            if found is not None:
                scored[name] = found
                session.tell(found)
        speeds = session.time(list(scored))
    results = tuple(Result(**vars(scored[name]), speed=speeds[name]) for name in scored if name in speeds)
    if not results:
        reasons = " ".join(f"{name}: {reason}" for name, reason in session.unavailable.items())
        raise CourseError(f"No model could be measured. {reasons}")
    for path in kept:
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # another run in this folder has something there
        unfinished.rmdir()
    return Report(
        settings=settings,
        dataset=_name(settings, dataset),
        dataset_sha256=dataset.sha256,
        data=describe(dataset),
        results=results,
        unavailable=session.unavailable,
        environment=machine | {"load_average": [load_before, _load_average()]},
        at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def measure(name: str, dataset: data.Dataset, settings: Settings) -> Scored:
    """Load one model, score it, and free it whether it succeeded or not.

    Raises:
        CourseError: its weights aren't real, so that its quality would mean nothing, or its vectors aren't finite.
    """
    session = _Session(settings, dataset)
    try:
        return session.score(name)
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)  # they hold the model
        raise
    finally:
        session.free()


class _Session:
    """The models that a run holds in memory, and what it says and notes of each."""

    def __init__(self, settings: Settings, dataset: data.Dataset) -> None:
        self.settings, self.dataset = settings, dataset
        self.progress: Progress | None = None
        self.unavailable: dict[str, str] = {}
        self.held: dict[str, SentenceTransformer] = {}
        self.room_mb = SIDE_BY_SIDE * psutil.virtual_memory().available / 1e6
        if torch.cuda.is_available():
            self.room_mb = min(self.room_mb, SIDE_BY_SIDE * torch.cuda.mem_get_info()[0] / 1e6)

    def look_up(self, name: str) -> None:
        """Note a name that nothing can be loaded by, and say so, before any model is run."""
        beside = entrant(name)
        try:
            if beside:
                beside.suits(self.dataset, self.settings.quality)
            if not beside or beside.model:
                way(beside.model if beside else name, self.settings.source)
        except CourseError as reason:
            self.unavailable[name] = str(reason)
            self.say(f"{self.head(name)}: left out. {reason}")

    def head(self, name: str) -> str:
        """`[2/5] name`."""
        listed = self.settings.models
        return f"[{listed.index(name) + 1}/{len(listed)}] {short_name(name)}" if name in listed else short_name(name)

    def say(self, line: str) -> None:
        """A line to whoever waits."""
        if self.progress:
            self.progress.say(line)

    def state(self, line: str) -> None:
        """What is done now."""
        if self.progress:
            self.progress.update(line)

    def begin(self, line: str) -> None:
        """What begins now."""
        if self.progress:
            self.progress.begin(line)

    def foresee(self, names: Sequence[str]) -> None:
        """Say how long some models will take to encode many texts.

        Raises:
            CourseError: more than an hour, and nobody set a limit.
        """
        seconds: dict[str, float] = {}
        for name in names if not self.dataset.alone else ():
            if len(self.dataset.texts) < MANY_TEXTS:
                return
            with self.spared(name):
                model, _ = self.load(name)
                seconds[name] = expected_s(model, self.dataset.texts, self.settings.batch_size)
                del model
            self.drop(name)
        if seconds:
            each = ", ".join(f"{short_name(name)} {s / 60:.1f}" for name, s in seconds.items())
            total = sum(seconds.values()) / 60
            self.say(f"Encoding {len(self.dataset.texts):,} texts takes about {total:.1f} minutes ({each}).")
        if self.settings.limit is None:
            refuse_hours(sum(seconds.values()), self.dataset)

    def tell(self, scored: Scored) -> None:
        """A line for a model that is scored."""
        if not scored.scores:
            return
        by = self.settings.quality or next(m for m in MEASURES if m in scored.scores)
        self.say(f"{self.head(scored.name)}: {MEASURES[by]} {scored.scores[by]}")

    @contextlib.contextmanager
    def spared(self, name: str) -> Iterator[None]:
        """Turn what one model raises into its reason; a bug of this package's own, and Ctrl-C, still show."""
        try:
            yield
        except Exception as error:
            traceback_ = "".join(traceback.format_exception(error))
            own = _is_ours(error)
            traceback.clear_frames(error.__traceback__)  # they hold the model
            self.drop(name)
            if own:
                raise
            reason = " ".join(str(error).split())[:500]
            if not isinstance(error, CourseError):
                path = self.settings.output_dir / "errors" / (re.sub(r"[^\w.-]+", "_", name) + ".txt")
                with writing(self.settings.output_dir):
                    path.parent.mkdir(exist_ok=True)
                    files.replace(path, traceback_.encode("utf-8", "backslashreplace"))
                reason = f"{type(error).__name__}: {reason or 'no message'} (traceback in {path.as_posix()})"
            self.unavailable[name] = reason
            self.say(f"{self.head(name)}: left out. {reason}")

    def load(self, name: str) -> tuple[SentenceTransformer, float]:
        """A model, held if there is room for it beside the others, and the seconds that loading took."""
        self.begin(f"{self.head(name)}: loading")
        start, beside = time.perf_counter(), entrant(name)
        if beside and not beside.model:
            model = counter()
        else:
            model = models.load(
                beside.model if beside else name,
                source=self.settings.source,
                device=self.settings.device,
                dtype=self.settings.dtype,
                trust_remote_code=self.settings.trust_remote_code,
            )
        spent = time.perf_counter() - start
        weights = models.weights(model)
        if not weights.real:
            raise CourseError(
                f"its weights are out of reach (hub and local cache); a {weights.kind} is at hand, "
                "and that says nothing of its quality."
            )
        if not self.held or sum(map(size_mb, (*self.held.values(), model))) <= self.room_mb:
            self.held[name] = model
        return model, spent

    def score(self, name: str) -> Scored:
        """Load one model and score it."""
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        built = sum(cache.building_s.values())
        model, load_s = self.load(name)
        prepare_s = sum(cache.building_s.values()) - built
        with counted(model) as count:
            self.begin(f"{self.head(name)}: encoding")
            total = len(self.dataset.texts)
            count.told = lambda done: self.state(f"{self.head(name)}: encoding {min(done, total)} of {total} texts")
            scores, per_query, similarities = evaluate(
                model, self.dataset, batch_size=self.settings.batch_size, seed=self.settings.seed, beside=entrant(name)
            )
        return Scored(
            name=name,
            weights=str(models.weights(model)),
            device=str(model.device),
            dtype=models.precision(model),
            dims=int(model.get_embedding_dimension() or 0),
            parameters=parameters(model),
            scores=scores,
            per_query=per_query,
            similarities=tuple(similarities.tolist()) if similarities is not None else None,
            load_s=load_s - prepare_s,
            prepare_s=prepare_s,
            gpu_memory_mb=torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else None,
        )

    def time(self, names: Sequence[str]) -> dict[str, speed.Speed]:
        """Time the models: all that fit side by side in the same rounds, any other in turns with the first alone."""
        alone = []
        for name in names:
            if name not in self.held:
                with self.spared(name):
                    self.load(name)
                    if name not in self.held:
                        alone.append(name)
                self.free_unheld()
        speeds: dict[str, speed.Speed] = {}
        ready = [name for name in names if name in self.held]
        if not ready:
            return {}
        try:
            speeds = self.rounds({name: self.held[name] for name in ready})
        except Exception:
            for name in ready:  # which of them was it?
                with self.spared(name):
                    speed.measure({name: self.held[name]}, self.texts[:1], budget_s=0)
            if all(name in self.held for name in ready):
                raise
            return self.time([name for name in names if name not in self.unavailable])
        for name in alone:
            with self.spared(name):
                model, _ = self.load(name)
                speeds[name] = self.rounds({ready[0]: self.held[ready[0]], name: model})[name]
                del model
            self.free_unheld()
        return speeds

    @property
    def texts(self) -> list[str]:
        """What is timed."""
        return speed_texts(self.dataset, course=self.settings.dataset == "course")

    def rounds(self, together: Mapping[str, SentenceTransformer]) -> dict[str, speed.Speed]:
        """Time some models together."""
        what = "timing" if len(together) > 2 else f"timing {short_name(list(together)[-1])}"
        search = self.dataset.retrieval
        return speed.measure(
            together,
            self.texts,
            singles=list(search.queries.values()) if search else (),
            batch_size=self.settings.batch_size,
            budget_s=self.settings.speed_s,
            seed=self.settings.seed,
            say=lambda line: self.begin(f"{what}, {line}"),
        )

    def drop(self, name: str) -> None:
        """Free one model."""
        self.held.pop(name, None)
        self.free_unheld()

    def free(self) -> None:
        """Free every model."""
        self.held.clear()
        self.free_unheld()

    def free_unheld(self) -> None:
        """Give back what nobody holds any more."""
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def short_name(name: str) -> str:
    """A model's name as people read it: a local one goes by its folder's last name."""
    path = Path(name).expanduser()
    return path.resolve().name if path.is_dir() else name


def size_mb(model: SentenceTransformer) -> float:
    """What a model's weights take, in MB."""
    return float(sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))) / 1e6


def parameters(model: SentenceTransformer) -> int | None:
    """How many parameters a model has, those that another runtime holds included; None where it has none."""
    source = getattr(model[0], "source", ())
    return sum(p.numel() for module in (model, *source) for p in module.parameters()) or None


class _Count:
    def __init__(self) -> None:
        self.done = 0
        self.told: Callable[[int], None] = lambda done: None


@contextlib.contextmanager
def counted(model: SentenceTransformer) -> Iterator[_Count]:
    """Count the texts that a model encodes, batch by batch."""
    count = _Count()

    def add(module: Any, given: Any, features: Any) -> None:
        found = features.get("sentence_embedding") if isinstance(features, Mapping) else None
        count.done += len(found) if found is not None else 0
        count.told(count.done)

    handle = model[-1].register_forward_hook(add)
    try:
        yield count
    finally:
        handle.remove()


def evaluate(
    model: SentenceTransformer,
    dataset: data.Dataset,
    *,
    batch_size: int = 32,
    seed: int = 0,
    beside: Entrant | None = None,
) -> Scores:
    """Every score of a model on a dataset, the values a query behind them, and the (n,) similarities of its pairs.

    Each distinct text is encoded once: sentences of pairs without a prompt, queries and documents
    with theirs. Similarity is cosine. Texts that nobody judged have no score, but the similarities of up to `ANCHORS`
    drawn texts to each other one of `DRAWN`. With BM25 `beside` (or alone) only retrieval is scored.

    Raises:
        CourseError: a vector isn't finite; names the text.
    """
    scores: dict[str, Estimate] = {}
    per_query: dict[str, tuple[float, ...]] = {}
    similarities = None

    def unit(encode: Any, texts: Sequence[str]) -> NDArray[np.float32]:
        made = encode(list(texts), batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False)
        return finite(made, texts)

    if dataset.alone:
        texts = [dataset.texts[i] for i in np.random.default_rng(seed).permutation(len(dataset.texts))[:DRAWN]]
        vectors = unit(model.encode, texts)
        other = ~np.eye(len(texts), dtype=bool)[:ANCHORS]
        similarities = (vectors[:ANCHORS] @ vectors.T)[other].astype(np.float64)
    if dataset.pairs and not beside:
        pairs = dataset.pairs
        distinct = {text: row for row, text in enumerate(dict.fromkeys((*pairs.sentence1, *pairs.sentence2)))}
        vectors = unit(model.encode, list(distinct))
        first, second = ([distinct[t] for t in side] for side in (pairs.sentence1, pairs.sentence2))
        similarities = np.einsum("nd,nd->n", vectors[first], vectors[second], dtype=np.float64)
        scores |= metrics.pair_scores(similarities, pairs.gold, graded=pairs.graded, seed=seed)
    if dataset.retrieval:
        search = dataset.retrieval
        found: dict[str, dict[str, float]] = {}
        if not beside or beside.model:
            distinct = {text: row for row, text in enumerate(dict.fromkeys(search.corpus.values()))}
            queries = unit(model.encode_query, list(search.queries.values()))
            documents = unit(model.encode_document, list(distinct))[[distinct[t] for t in search.corpus.values()]]
            found = retrieve(search, queries, documents)
        if beside:
            found = beside.run(found, search)
        scores |= metrics.retrieval_scores(found, search.qrels, seed=seed)
        per_query = {name: tuple(v.tolist()) for name, v in metrics.per_query(found, search.qrels).items()}
    return scores, per_query, similarities


def score(
    model: SentenceTransformer, dataset: data.Dataset, *, batch_size: int = 32, seed: int = 0
) -> tuple[dict[str, Estimate], NDArray[np.float64] | None]:
    """Every score of a model on a dataset, and the (n,) similarities of its pairs, if it has any; see `evaluate`."""
    scores, _, similarities = evaluate(model, dataset, batch_size=batch_size, seed=seed)
    return scores, similarities


def finite(vectors: Any, texts: Sequence[str]) -> NDArray[np.float32]:
    """(n, d) vectors of n texts, held to be finite numbers.

    Raises:
        CourseError: they aren't n rows of numbers, or one isn't finite.
    """
    try:
        found: NDArray[np.float32] = np.asarray(vectors, dtype=np.float32)
    except (TypeError, ValueError):
        found = np.empty(0, dtype=np.float32)
    if found.ndim != 2 or len(found) != len(texts):
        raise CourseError(f"encode gave no vector for each of {len(texts)} texts, but {type(vectors).__name__}.")
    bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(bad):
        raise CourseError(
            f"{len(bad)} of {len(texts)} vectors aren't finite numbers (NaN or infinity); the first is that of "
            f"{texts[bad[0]][:80]!r}."
        )
    return found


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


def ndcg(search: data.Retrieval, queries: NDArray[np.float32], documents: NDArray[np.float32]) -> NDArray[np.float64]:
    """nDCG@10 of each query, (q,), where documents are ranked by dot product; arguments as for `retrieve`."""
    return metrics.per_query(retrieve(search, queries, documents), search.qrels)["ndcg@10"]


def speed_texts(dataset: data.Dataset, *, course: bool) -> list[str]:
    """What models are timed on: the course's unlabelled texts of mixed lengths, or the reader's own texts.

    Args:
        dataset: whose texts.
        course: whether it is the course's data, whose sentences are all short; a reader's file isn't, whatever its
            name.
    """
    return list(data.texts() if course else dataset.texts)


def _name(settings: Settings, dataset: data.Dataset) -> str:
    """The data set as people know it: a file or folder by its last name, any other by its own, with its revision."""
    path = Path(settings.dataset).expanduser()
    return path.name if settings.dataset != "course" and path.exists() else dataset.name


def describe(dataset: data.Dataset) -> Data:
    """What a report keeps of the data."""
    pairs, search = dataset.pairs, dataset.retrieval
    words = [len(text.split()) for text in dataset.texts]
    return Data(
        texts=len(dataset.texts),
        words=(float(np.median(words)), float(np.quantile(words, 0.95))),
        pairs=len(pairs) if pairs else 0,
        gold=tuple(pairs.gold.tolist()) if pairs else None,
        graded=bool(pairs and pairs.graded),
        pair_groups=_pair_groups(pairs) if pairs else None,
        documents=len(search.corpus) if search else 0,
        queries=tuple(search.qrels) if search else (),
        query_groups=_query_groups(search) if search else None,
        judged=sum(sum(r > 0 for r in found.values()) for found in search.qrels.values()) if search else 0,
    )


def _groups(found: NDArray[np.int64] | None) -> tuple[int, ...] | None:
    return None if found is None else tuple(found.tolist())


def _pair_groups(pairs: data.Pairs) -> tuple[int, ...] | None:
    """Pairs that share a sentence, or a group of the file, belong together."""
    named = [{("group", name)} if name else set() for name in pairs.group or ()]
    return _groups(comparing.linked(pairs.sentence1, pairs.sentence2, *([named] if named else [])))


def _query_groups(search: data.Retrieval) -> tuple[int, ...] | None:
    """Queries that share a relevant document belong together, where that leaves enough clusters to compare on."""
    found = comparing.linked([{d for d, r in judged.items() if r > 0} for judged in search.qrels.values()])
    return _groups(found) if found is not None and found.max() + 1 >= comparing.FEW_CLUSTERS else None


def _check_quality(quality: str | None, dataset: data.Dataset) -> None:
    there = [] if not dataset.retrieval else ["ndcg@10", "recall@10", "mrr@10"]
    if dataset.pairs:
        there += ["spearman"] if dataset.pairs.graded else ["roc_auc", "average_precision", "separation"]
    if quality is not None and not there:
        raise CourseError(
            f"quality is {quality!r}, but '{dataset.name}' holds texts without labels, so no model can be ranked by "
            "quality; leave it out, or add labels."
        )
    if quality is not None and quality not in there:
        raise CourseError(f"quality is {quality!r}; on {dataset.name!r} it can be {', '.join(there)}.")


def _is_ours(error: Exception) -> bool:
    """Whether an error is a fault of this package's own code, and no model's, disk's or memory's."""
    if isinstance(error, CourseError | OSError | MemoryError | ImportError | RuntimeError):
        return False
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).is_relative_to(OURS)


def _load_average() -> float:
    return round(float(psutil.getloadavg()[0]), 2)


def _fingerprint(name: str, settings: Settings, dataset: data.Dataset, device: str, machine: Mapping[str, Any]) -> str:
    """What a kept score depends on; a change of any of it measures the model again."""
    depends = ("source", "dtype", "batch_size", "seed", "trust_remote_code")
    relevant = {key: settings.model_dump(mode="json")[key] for key in depends}
    content = json.dumps([name, relevant, dataset.sha256, device, machine], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def read_result(path: Path) -> Scored | None:
    """What an interrupted run kept; None where there is nothing that can be read."""
    try:
        return TypeAdapter(Scored).validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
