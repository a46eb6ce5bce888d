"""Embed a Parquet corpus with Ray Data: a pool of actors, each with a model of its own (extra `scale`).

`pipeline` is the job as Ray sees it, on this machine or on a cluster; `embed` runs it here, from Parquet to
Parquet, with Ray bound to 127.0.0.1 and stopped at the end; called again after a crash, it goes on with the rows that
have no vector yet. What it costs, and when more machines pay, is in `costs.jobs`. Without Ray, `stream` once for each
shard does the same work.
"""

import logging
import os
import re
import shutil
import tempfile
import threading
import warnings
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from tqdm.auto import tqdm

from helpers import models
from helpers.data.characters import is_blank, suffix_of, text_fault
from helpers.data.rows import SUFFIXES, open_table
from helpers.encode import begun, encode
from helpers.encode.batching import TOKEN_BUDGET, RowError, batches, full_batches
from helpers.encode.tokens import TokenizedModel
from helpers.errors import CourseError

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import dataset
except ImportError:
    raise CourseError('pyarrow is missing; install it with pip install "embedding-models-course[scale]".') from None

TASK_CPUS = 1.0  # what Ray asks for each task that reads or writes
GRAIN = 10_000  # Ray counts CPUs and GPUs in ten-thousandths
MANY = 1_000_000_000  # actors that fit where each asks for nothing
ROWS_PER_FILE = 20_000  # at least; with 384 dimensions, a file of 30 MB
RETRIES = 3  # of a batch whose process died; Ray's default is for ever, also where the batch is what kills it
GPU_TOKENS = 16_384  # a batch: what keeps a GPU busy; the default of text-embeddings-inference
LOCK = ".lock"
TOKENS = "tokens"  # the column in which ids travel from the CPUs that tokenize to the GPUs
ATTEMPTS = 3  # a busy machine can be too slow for the 30 seconds that Ray waits for its own processes
RAY_INIT: dict[str, Any] = {
    "address": "local",
    "_node_ip_address": "127.0.0.1",
    "object_store_memory": 200_000_000,
    "include_dashboard": False,
    "logging_level": logging.ERROR,
    "log_to_driver": False,
}


class Node(NamedTuple):
    """What a machine has for Ray to give out."""

    cpus: float
    gpus: float = 0.0


class Tokenizer:
    """One actor on a CPU: turns texts into token ids, so that a GPU doesn't wait for them."""

    def __init__(self, model: str, column: str, prompt_name: str | None = None) -> None:
        loaded = models.load(model, device="cpu")
        self.column, self.rows = column, TokenizedModel(loaded)
        self.prompt = loaded.prompts.get(prompt_name or _document_prompt(loaded) or "", "") or ""

    def __call__(self, table: pa.Table) -> pa.Table:
        """The table with `tokens` in place of the texts, cut at what the model reads.

        Raises:
            CourseError: a row has no text (names its first other column).
        """
        rows = self.rows.tokenize([self.prompt + text for text in _texts(table, self.column)])
        ids = pa.array([self.rows.cut(row) for row in rows], pa.list_(pa.int32()))
        return table.drop_columns([self.column]).append_column(TOKENS, ids)


class Encoder:
    """One actor: loads its model once, then turns tables with texts, or token ids, into tables with vectors."""

    def __init__(
        self,
        model: str,
        column: str,
        prompt_name: str | None = None,
        *,
        device: str = "cpu",
        dtype: str | None = None,
        batch_tokens: int = TOKEN_BUDGET,
    ) -> None:
        self.model, self.column = models.load(model, device=device, dtype=dtype), column
        weights = models.weights(self.model)
        if not weights.real:
            raise CourseError(f"{model}: an actor has no real weights, only a {weights.kind}; put them on its machine.")
        self.prompt_name = prompt_name or _document_prompt(self.model)
        self.batch_tokens = batch_tokens
        self.tokenized: TokenizedModel | None = None
        self.made_with = {"model": model, "weights": str(weights), "prompt_name": self.prompt_name or ""}

    def __call__(self, table: pa.Table) -> pa.Table:
        """The table with `embedding` in place of the texts or ids; its schema's metadata say what made them.

        Raises:
            CourseError: a row has no text (names its first other column), or the model no such prompt.
        """
        tokenized = TOKENS in table.column_names and self.column not in table.column_names
        rest = table.drop_columns([TOKENS if tokenized else self.column]).replace_schema_metadata(self.made_with)
        try:
            vectors = self._of_ids(table) if tokenized else self._of_texts(table)
        except RowError as error:
            row = rest.slice(error.row, 1).to_pylist()[0]
            raise CourseError(f"The row {row}: its {self.column!r} {error.problem}") from None
        flat = pa.array(vectors.ravel())
        return rest.append_column("embedding", pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]))

    def _of_texts(self, table: pa.Table) -> NDArray[np.float32]:
        texts = _texts(table, self.column)
        return encode(self.model, texts, prompt_name=self.prompt_name, token_budget=self.batch_tokens)

    def _of_ids(self, table: pa.Table) -> NDArray[np.float32]:
        rows = table.column(TOKENS).to_pylist()
        self.tokenized = model = self.tokenized or TokenizedModel(self.model)
        vectors = np.empty((len(rows), model.dims), dtype=np.float32)
        for batch in (batches if model.pads else full_batches)([len(row) for row in rows], self.batch_tokens):
            vectors[batch] = model.encode([rows[i] for i in batch])
        if not np.isfinite(vectors).all():
            raise RowError(
                int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0]), "gives numbers that aren't finite."
            )
        return vectors


def _document_prompt(model: SentenceTransformer) -> str | None:
    """The prompt that `encode_document` takes."""
    return next((name for name in ("document", "passage", "corpus") if name in model.prompts), None)


def _texts(table: pa.Table, column: str) -> list[str]:
    texts: list[Any] = table.column(column).to_pylist()
    if None in texts:
        row = table.drop_columns([column]).slice(texts.index(None), 1).to_pylist()[0]
        raise CourseError(f"The row {row} has no {column!r}; mend or drop it.")
    return texts


def start(cpus: int | None = None) -> None:
    """Start Ray on this machine: reachable from 127.0.0.1 alone, quiet, no dashboard, no usage statistics.

    Nothing happens if this process is connected to a Ray already. `ray.shutdown()` ends it.

    Args:
        cpus: how many CPUs Ray may give out; None is what the machine has, and at least 2.

    Raises:
        CourseError: Ray isn't installed, or the machine is too busy to start it.
    """
    ray = _ray()
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray._private.worker._worker_logs_enabled = False  # else the raylet's reports are printed, raw, at any time
    warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")  # there is no other way to limit retries
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", "60000")  # else ended and started in turn
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns
    others = set(psutil.Process().children(recursive=True))
    for _ in range(ATTEMPTS):
        try:
            with _lean():
                ray.init(num_cpus=cpus or _own_cpus(), **RAY_INIT)
            return
        except Exception as error:  # Ray raises no narrower one
            if "timed out during startup" not in str(error):
                raise
            for process in set(psutil.Process().children(recursive=True)) - others:
                process.kill()
    raise CourseError(f"Ray didn't start in {ATTEMPTS} times 30 seconds; end what else keeps this machine busy.")


@contextmanager
def _lean() -> Iterator[None]:
    """Let Ray keep 127.0.0.1, and its processes start without a grammar that none of them uses.

    For 127.0.0.1 Ray on Linux takes the machine's network address, and then listens to all. And where Jupyter's extra
    of jsonschema is installed, each of Ray's processes parses the grammar of IRIs at its start, for about two seconds.
    """
    from ray._private import ray_constants

    enabled, path = ray_constants.ENABLE_RAY_CLUSTER, os.environ.get("PYTHONPATH")
    ray_constants.ENABLE_RAY_CLUSTER = False
    os.environ["PYTHONPATH"] = os.pathsep.join([_without_iri_grammar(), *([path] if path else [])])
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = enabled
        os.environ.pop("PYTHONPATH")
        if path:
            os.environ["PYTHONPATH"] = path


_folders: list[tempfile.TemporaryDirectory[str]] = []  # there until this process ends


def _without_iri_grammar() -> str:
    """A folder for PYTHONPATH in which `rfc3987_syntax` can't be imported; jsonschema then does without."""
    if not _folders:
        _folders.append(tempfile.TemporaryDirectory(prefix="embedding-course-"))
        (Path(_folders[0].name) / "rfc3987_syntax.py").write_text("raise ImportError\n", encoding="utf-8")
    return _folders[0].name


def most_actors(nodes: Sequence[Node], cpus_each: float, gpus_each: float = 0.0, task_cpus: float = TASK_CPUS) -> int:
    """The largest pool that leaves room for a task that reads or writes, if all are placed as well as can be.

    Args:
        nodes: the machines; an actor lies whole on one, and so does the task.
        cpus_each: CPUs that an actor asks for.
        gpus_each: GPUs that an actor asks for.
        task_cpus: what the task asks for.
    """

    def fit(cpus: float, gpus: float) -> int:
        return min(_times(cpus, cpus_each), _times(gpus, gpus_each))

    full = sum(fit(*node) for node in nodes)
    return max((full - fit(*n) + fit(n.cpus - task_cpus, n.gpus) for n in nodes if n.cpus >= task_cpus), default=0)


def _times(room: float, each: float) -> int:
    units = round(each * GRAIN)
    return round(room * GRAIN) // units if units else MANY


def cpus_per_actor(actors: int, nodes: Sequence[Node], gpus_each: float = 0.0, task_cpus: float = TASK_CPUS) -> float:
    """The most CPUs that each of a pool may ask for, so that one task beside them can run; whole ones above 1.

    Ray lets PyTorch open as many threads as an actor has whole CPUs, and one for a part of a CPU.

    Raises:
        CourseError: no room is left beside such a task, or there are no actors.
    """
    if actors < 1:
        raise CourseError(f"actors is {actors}; there must be 1 or more.")
    shares = range(1, round(max(node.cpus for node in nodes) * GRAIN) + 1)
    most = bisect_left(shares, True, key=lambda s: most_actors(nodes, s / GRAIN, gpus_each, task_cpus) < actors)
    if most == 0:
        raise CourseError(
            f"{_words(nodes)} have no room for {_pool(actors, 0, gpus_each)} beside a task that reads and takes "
            f"{task_cpus:g} CPU; start fewer, or more machines."
        )
    return float(most // GRAIN) if most > GRAIN else most / GRAIN


def refuse_starvation(
    actors: int, cpus_each: float, nodes: Sequence[Node], gpus_each: float = 0.0, task_cpus: float = TASK_CPUS
) -> None:
    """Refuse a pool that holds so many CPUs that the tasks which feed it never start, or more GPUs than there are.

    Raises:
        CourseError: it would; says what would do.
    """
    if cpus_each < 0 or gpus_each < 0:
        raise CourseError(f"cpus_each is {cpus_each:g} and gpus_each {gpus_each:g}; both must be 0 or more.")
    most = cpus_per_actor(actors, nodes, gpus_each, task_cpus)
    fit = most_actors(nodes, cpus_each, gpus_each, task_cpus)
    if fit < actors:
        raise CourseError(
            f"{_words(nodes)} hold a task that reads or writes ({task_cpus:g} CPU) and {fit} of your "
            f"{_pool(actors, cpus_each, gpus_each)}: the job would wait in vain. Give each actor {most:g} CPUs or less."
        )


def _words(nodes: Sequence[Node]) -> str:
    cpus, gpus = (" + ".join(f"{n:g}" for n in numbers) for numbers in zip(*nodes, strict=True))
    return f"{cpus} CPUs" + (f" and {gpus} GPUs" if any(node.gpus for node in nodes) else "")


def _pool(actors: int, cpus_each: float, gpus_each: float) -> str:
    asked = [f"{n:g} {what}" for n, what in ((cpus_each, "CPUs"), (gpus_each, "GPUs")) if n]
    return f"{actors} actors" + (f" with {' and '.join(asked)} each" if asked else "")


def pipeline(
    source: str | Path,
    model: str,
    *,
    actors: int,
    cpus_each: float,
    gpus_each: float = 0.0,
    column: str = "text",
    key: str = "id",
    prompt_name: str | None = None,
    batch_texts: int = 256,
    tokenizers: int = 0,
    dtype: str | None = None,
    batch_tokens: int | None = None,
) -> Any:
    """The job, not yet run: a `ray.data.Dataset` with the columns `key` and `embedding`, in any order.

    Args:
        source: a Parquet file or folder, or an address such as `s3://...`.
        model: a name for `helpers.load`; each actor loads it, and fails if it has no real weights.
        actors: how many models there are at a time.
        cpus_each: CPUs that an actor asks Ray for. It reserves no core, but decides what may start, and how many
            threads PyTorch opens: as many as there are whole CPUs, at least one (unless OMP_NUM_THREADS is set).
        gpus_each: GPUs that an actor asks for; with 0 it computes on the CPU, else on a GPU that Ray gives it.
        column: the column with the texts.
        key: the column that names a row.
        prompt_name: of one of the model's prompts; None is that of `encode_document`, if it has one.
        batch_texts: texts that `encode` sees at a time.
        tokenizers: actors of one CPU each that turn texts into token ids, so that a GPU only computes; with 0 each
            encoder does it itself.
        dtype: of the weights and the computation; None is bfloat16 on a GPU and float32 on a CPU.
        batch_tokens: tokens a batch; None is 16,384 on a GPU and 1,024 on a CPU.
    """
    from ray import data

    device = "cuda" if gpus_each else "cpu"
    dtype = dtype or ("bfloat16" if gpus_each else "float32")
    batch_tokens = batch_tokens or (GPU_TOKENS if gpus_each else TOKEN_BUDGET)
    alike: dict[str, Any] = {"batch_format": "pyarrow", "batch_size": batch_texts, "max_task_retries": RETRIES}
    read = data.read_parquet(str(source)).select_columns([key, column])
    job = read.repartition(target_num_rows_per_block=batch_texts)  # else small files make one block
    if tokenizers:
        arguments, pool = (model, column, prompt_name), data.ActorPoolStrategy(size=tokenizers)
        job = job.map_batches(Tokenizer, fn_constructor_args=arguments, compute=pool, num_cpus=1, **alike)
    job = job.map_batches(
        Encoder,
        fn_constructor_args=(model, column, prompt_name),
        fn_constructor_kwargs={"device": device, "dtype": dtype, "batch_tokens": batch_tokens},
        compute=data.ActorPoolStrategy(size=actors),
        num_cpus=cpus_each,
        num_gpus=gpus_each or None,
        **alike,
    )
    job.context.raise_original_map_exception = True
    job.context.enable_progress_bars = False  # without a terminal, Ray's own are log lines
    job.context.print_on_execution_start = False
    return job


def embed(
    source: str | Path,
    target: str | Path,
    model: str = "all-MiniLM-L6-v2",
    *,
    column: str = "text",
    key: str = "id",
    prompt_name: str | None = None,
    actors: int = 2,
    cpus_each: float | None = None,
    gpus_each: float = 0.0,
    batch_texts: int = 256,
) -> int:
    """Embed a Parquet file or folder into a folder of Parquet files, by a pool of actors.

    The vectors are those of `encode`, each beside its key, in any order; each file's schema says which weights made
    them. The folder appears when all of it is there. Until then its files lie in `.NAME.begun` beside it, and after a
    crash the next call goes on with the rows that are in none of them: what it cost is the files that were being
    written. Ray is started and stopped, unless this process is connected to one.

    Args:
        source: a Parquet file or folder on a disk that every machine sees; or another table that `helpers.data.rows`
            reads, which is first written as Parquet beside the target (its empty lines are passed over).
        target: the folder to write; it must not exist, or be empty.
        model: a name for `helpers.load`.
        column: the column with the texts.
        key: the column that names a row.
        prompt_name: of one of the model's prompts; None is that of `encode_document`, if it has one.
        actors: how many models work at a time.
        cpus_each: CPUs that an actor asks for; None is the most that leaves room for reading and writing.
        gpus_each: GPUs that an actor asks for; with 0 it computes on the CPU.
        batch_texts: texts that an actor encodes at a time.

    Returns:
        How many texts were embedded.

    Raises:
        CourseError: Ray isn't installed, the pool would starve the tasks that feed it, the source has no such
            columns or a row without text, the target is there, another job was begun or is being written there, an
            actor has no real weights, or a batch ended its process again and again.
    """
    ray = _ray()
    source, target = Path(source).expanduser(), Path(target).expanduser()
    if source.is_file() and suffix_of(source) in SUFFIXES and suffix_of(source) != ".parquet":
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
            return embed(
                _as_parquet(source, Path(folder) / f"{source.stem}.parquet", column, key),
                target,
                model,
                column=column,
                key=key,
                prompt_name=prompt_name,
                actors=actors,
                cpus_each=cpus_each,
                gpus_each=gpus_each,
                batch_texts=batch_texts,
            )
    rows = _checked(source, column, key)
    if batch_texts < 1:
        raise CourseError(f"batch_texts is {batch_texts}; it must be 1 or more.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CourseError(f"{target} is there already; name another folder, or remove it.")
    own = not ray.is_initialized()
    nodes = [Node(_own_cpus(), torch.cuda.device_count())] if own else _nodes(ray)
    each = cpus_per_actor(actors, nodes, gpus_each) if cpus_each is None else cpus_each
    refuse_starvation(actors, each, nodes, gpus_each)
    scratch = target.parent / f".{target.name}.begun"
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(scratch / LOCK, timeout=0):
            begun.agree(scratch, source, model=model, column=column, key=key, prompt_name=prompt_name)
            try:
                if left := begun.rest(source, scratch, column, key):
                    start()
                    job = pipeline(
                        left,
                        model,
                        actors=actors,
                        cpus_each=each,
                        gpus_each=gpus_each,
                        column=column,
                        key=key,
                        prompt_name=prompt_name,
                        batch_texts=batch_texts,
                    )
                    with _progress(scratch, rows, target.name):
                        job.write_parquet(str(scratch), min_rows_per_file=ROWS_PER_FILE)
                _made_alike(scratch)
                (scratch / begun.REST).unlink(missing_ok=True)
            except ray.exceptions.RayError as error:
                raise _for_a_person(error, source) from None
            finally:
                if not begun.whole_files(scratch):
                    shutil.rmtree(scratch, ignore_errors=True)
                if own:
                    ray.shutdown()
    except Timeout:
        raise CourseError(f"{target}: another process is writing here; wait for it, or name another folder.") from None
    (scratch / LOCK).unlink(missing_ok=True)
    scratch.replace(target)
    return rows


def _own_cpus() -> int:
    return max(2, os.cpu_count() or 1)


def _nodes(ray: Any) -> list[Node]:
    """The machines of the Ray that this process is connected to."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Node(found.get("CPU", 0.0), found.get("GPU", 0.0)) for found in alive]


def _for_a_person(error: Exception, source: Path) -> Exception:
    """Our own error out of an actor's traceback, or what it means that a batch ended its process."""
    if found := re.search(r"helpers\.errors\.\w+: (.+)", str(error)):
        return CourseError(f"{source}: {found[1]}")
    if isinstance(error, _ray().exceptions.RayActorError):
        return CourseError(
            f"{source}: an actor's process ended as it started, or {RETRIES + 1} times on the same batch; look for "
            f"what takes its memory. Ray says: {str(error).splitlines()[0]}"
        )
    return error


def _made_alike(folder: Path) -> None:
    """Refuse files whose vectors come from different weights or prompts."""
    made = {str(pq.read_schema(file).metadata) for file in begun.whole_files(folder)}
    if len(made) > 1:
        raise CourseError(f"The actors had different weights: {'; '.join(sorted(made))}. Give them all the same.")


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError:
        raise CourseError('Ray is missing; install it with pip install "embedding-models-course[scale]".') from None
    return ray


def _as_parquet(source: Path, target: Path, column: str, key: str) -> Path:
    """The key and text columns of a table as a Parquet file; keys become texts."""
    table = open_table(source)
    for sentence in table.notes:
        print(sentence)
    for name, argument in ((column, "column"), (key, "key")):
        if name not in table.columns:
            raise CourseError(f"{source}: there is no {name!r}; it has {', '.join(table.columns)}. Set {argument}=.")
    schema = pa.schema([(key, pa.string()), (column, pa.string())])
    with pq.ParquetWriter(target, schema) as writer:
        entries = iter(table)
        while chunk := list(islice(entries, ROWS_PER_FILE)):
            for number, row in chunk:
                text = row.get(column)
                fault = "is no text" if not isinstance(text, str) or is_blank(text) else text_fault(text)
                if fault:
                    raise CourseError(f"{table.place(number)}: {column!r} {fault}; mend or drop the row.")
            made = [{key: str(row.get(key)), column: row[column]} for _, row in chunk]
            writer.write_table(pa.Table.from_pylist(made, schema=schema))
    return target


def _checked(source: Path, column: str, key: str) -> int:
    """How many rows a source has, if it is Parquet with both columns."""
    if not source.exists():
        raise CourseError(f"{source}: there is no such file or folder.")
    try:
        found = dataset.dataset(source, format="parquet")
        schema, rows = found.schema, found.count_rows()
    except pa.ArrowInvalid as error:
        raise CourseError(f"{source}: it is no Parquet, or not a whole one ({error}).") from None
    for name, argument in ((column, "column"), (key, "key")):
        if name not in schema.names:
            raise CourseError(f"{source}: there is no {name!r}; it has {', '.join(schema.names)}. Set {argument}=.")
    kind = schema.field(column).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise CourseError(f"{source}: {column!r} holds {kind}, not text; name another with column=.")
    if column == key:
        raise CourseError(f"column and key are both {column!r}; the key names a row and stays beside its vector.")
    empty = dataset.field(column).is_null()
    if missing := found.count_rows(filter=empty):
        first = found.head(1, columns=[key], filter=empty).to_pylist()[0]
        raise CourseError(f"{source}: {missing} rows have no {column!r}, the first is {first}; mend or drop them.")
    return int(rows)


@contextmanager
def _progress(folder: Path, rows: int, name: str) -> Iterator[None]:
    """A bar of the rows in a folder's finished files, while a job writes there."""
    stop, seen = threading.Event(), set(begun.whole_files(folder))
    there = sum(pq.read_metadata(file).num_rows for file in seen)

    def watch() -> None:
        with tqdm(total=rows, initial=there, unit="text", desc=name) as bar:
            while True:
                last = stop.wait(0.5)
                for file in set(folder.glob("[!_.]*.parquet")) - seen:
                    try:
                        bar.update(pq.read_metadata(file).num_rows)
                        seen.add(file)
                    except (OSError, pa.ArrowInvalid):
                        pass  # being written
                if last:
                    return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
