"""Embed a Parquet corpus with Ray Data: a pool of actors, each with a model of its own (extra `scale`).

`pipeline` is the job as Ray sees it, on this machine or on a cluster; `embed` runs it here, from Parquet to
Parquet, with Ray bound to 127.0.0.1 and stopped at the end. What it costs, and when more machines pay, is in
`scale_costs`. Without Ray, `stream` once for each shard does the same work.
"""

import logging
import math
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from tqdm.auto import tqdm

from helpers import models
from helpers.encode import encode
from helpers.errors import CourseError

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import dataset
except ImportError:
    raise CourseError('pyarrow is missing; install it with pip install "embedding-models-course[scale]".') from None

OBJECT_STORE_BYTES = 200_000_000
TASK_CPUS = 1.0  # what Ray asks for each task that reads or writes
ATTEMPTS = 3  # a busy machine can be too slow for the 30 seconds that Ray waits for its own processes


class Encoder:
    """One actor: loads its model once, then turns tables with texts into tables with vectors."""

    def __init__(self, model: str, column: str) -> None:
        self.model, self.column = models.load(model), column

    def __call__(self, table: pa.Table) -> pa.Table:
        """The table with `embedding` in place of the texts.

        Raises:
            CourseError: a row has no text; names its first other column.
        """
        texts = table.column(self.column).to_pylist()
        rest = table.drop_columns([self.column])
        if None in texts:
            row = rest.slice(texts.index(None), 1).to_pylist()[0]
            raise CourseError(f"The row {row} has no {self.column!r}; mend or drop it.")
        vectors = encode(self.model, texts)
        flat = pa.array(vectors.ravel())
        return rest.append_column("embedding", pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]))


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
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", "60000")  # else ended and started in turn
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns
    others = set(psutil.Process().children(recursive=True))
    for _ in range(ATTEMPTS):
        try:
            with _lean():
                ray.init(
                    address="local",
                    num_cpus=cpus or max(2, os.cpu_count() or 1),
                    object_store_memory=OBJECT_STORE_BYTES,
                    include_dashboard=False,
                    _node_ip_address="127.0.0.1",
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                )
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


def cpus_per_actor(actors: int, cpus: float, task_cpus: float = TASK_CPUS) -> float:
    """The CPUs that each of a pool may ask for, so that one task beside them can run; at most 1.

    Args:
        actors: how many actors there are.
        cpus: what Ray has to give out.
        task_cpus: what a task that reads or writes asks for.

    Raises:
        CourseError: no room is left beside such a task, or there are no actors.
    """
    if actors < 1:
        raise CourseError(f"actors is {actors}; there must be 1 or more.")
    if cpus <= task_cpus:
        raise CourseError(f"Of {cpus:g} CPUs a task that reads takes {task_cpus:g}, so no actor has any; start more.")
    return min(1.0, math.floor((cpus - task_cpus) / actors * 1e4) / 1e4)  # Ray counts in ten-thousandths


def refuse_starvation(actors: int, cpus_each: float, cpus: float, task_cpus: float = TASK_CPUS) -> None:
    """Refuse a pool that holds so many CPUs that the tasks which feed it never start.

    Raises:
        CourseError: it would; says what would do.
    """
    most = cpus_per_actor(actors, cpus, task_cpus)
    if cpus_each < 0:
        raise CourseError(f"cpus_each is {cpus_each:g}; it must be 0 or more.")
    left = cpus - actors * cpus_each
    if left < task_cpus - 1e-9:
        raise CourseError(
            f"{actors} actors with {cpus_each:g} CPUs each leave {left:.4g} of {cpus:g}, and each task that reads or "
            f"writes asks for {task_cpus:g}: the job would wait in vain. Give each actor {most:g} or less."
        )


def pipeline(
    source: str | Path,
    model: str,
    *,
    actors: int,
    cpus_each: float,
    column: str = "text",
    key: str = "id",
    batch_texts: int = 256,
) -> Any:
    """The job, not yet run: a `ray.data.Dataset` with the columns `key` and `embedding`, in the source's order.

    Args:
        source: a Parquet file or folder, or an address such as `s3://...`.
        model: a name for `helpers.load`; each actor loads it.
        actors: how many models there are at a time.
        cpus_each: CPUs that an actor asks Ray for. It is a share in Ray's books and limits nothing.
        column: the column with the texts.
        key: the column that names a row.
        batch_texts: texts that `encode` sees at a time.
    """
    from ray import data

    read = data.read_parquet(str(source)).select_columns([key, column])
    job = read.repartition(target_num_rows_per_block=batch_texts).map_batches(  # else small files make one block
        Encoder,
        fn_constructor_args=(model, column),
        batch_format="pyarrow",
        batch_size=batch_texts,
        compute=data.ActorPoolStrategy(size=actors),
        num_cpus=cpus_each,
    )
    job.context.execution_options.preserve_order = True
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
    actors: int = 2,
    cpus_each: float | None = None,
    batch_texts: int = 256,
) -> int:
    """Embed a Parquet file or folder into a folder of Parquet files, by a pool of actors.

    The vectors are those of `encode`, each beside its key; files sorted by name keep the source's order. The folder
    appears when all of it is there. Ray is started and stopped, unless this process is connected to one.

    Args:
        source: a Parquet file or folder on a disk that every machine sees.
        target: the folder to write; it must not exist, or be empty.
        model: a name for `helpers.load`.
        column: the column with the texts.
        key: the column that names a row.
        actors: how many models work at a time.
        cpus_each: CPUs that an actor asks for; None is the most that leaves room for reading and writing.
        batch_texts: texts that an actor encodes at a time.

    Returns:
        How many texts were embedded.

    Raises:
        CourseError: Ray isn't installed, the pool would starve the tasks that feed it, the source has no such
            columns or a row without text, or the target is there.
    """
    ray = _ray()
    source, target = Path(source).expanduser(), Path(target).expanduser()
    rows = _checked(source, column, key)
    if batch_texts < 1:
        raise CourseError(f"batch_texts is {batch_texts}; it must be 1 or more.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CourseError(f"{target} is there already; name another folder, or remove it.")
    own = not ray.is_initialized()
    cpus = max(2, os.cpu_count() or 1) if own else ray.cluster_resources()["CPU"]
    each = cpus_per_actor(actors, cpus) if cpus_each is None else cpus_each
    refuse_starvation(actors, each, cpus)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        start()
        job = pipeline(source, model, actors=actors, cpus_each=each, column=column, key=key, batch_texts=batch_texts)
        with _progress(scratch, rows, target.name):
            job.write_parquet(str(scratch))
        scratch.chmod(0o755)
        scratch.replace(target)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, CourseError):
            raise CourseError(f"{source}: {str(error.cause).splitlines()[0]}") from None  # Ray adds lines
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if own:
            ray.shutdown()
    return rows


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError:
        raise CourseError('Ray is missing; install it with pip install "embedding-models-course[scale]".') from None
    return ray


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
    return int(rows)


@contextmanager
def _progress(folder: Path, rows: int, name: str) -> Iterator[None]:
    """A bar of the rows in a folder's finished files, while a job writes there."""
    stop = threading.Event()

    def watch() -> None:
        seen: set[Path] = set()
        with tqdm(total=rows, unit="text", desc=name) as bar:
            while True:
                last = stop.wait(0.5)
                for file in set(folder.glob("*.parquet")) - seen:
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
