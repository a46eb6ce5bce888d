"""Encode a file that is larger than the memory, in chunks, so that it can be killed and goes on.

`stream` reads a table (Parquet, JSONL, CSV ...) and writes a folder that any Parquet reader takes whole:

    vectors/_manifest.json         what was encoded with what
    vectors/part-00000.parquet     columns `row` (in the source) and `embedding`

A part is written under another name, forced to the disk, and renamed: it is there whole or not at all.
Whatever the moment of a crash, the parts that are there are right, and the next call writes the others.
"""

import itertools
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from sentence_transformers import SentenceTransformer
from tqdm.auto import tqdm

from helpers import files, models
from helpers.data import rows
from helpers.data.characters import suffix_of, text_fault
from helpers.encode import TOKEN_BUDGET, encode
from helpers.encode.auto import AS_LOADED, chosen_way
from helpers.encode.batching import RowError
from helpers.errors import CourseError

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError:
    raise CourseError('pyarrow is missing; install it with pip install "embedding-models-course[fast]".') from None

CHUNK_TEXTS = 4096
# What their vectors say about a model, its parameters don't: pooling, another runtime, int8.
PROBE = ("Where did the train to the coast stop?", "At noon the ferry left with 214 passengers and one dog.")
PROBE_TOLERANCE = 1e-3  # of the largest number; other CPUs round otherwise by less, int8 and bfloat16 by more


def stream(
    model: SentenceTransformer,
    source: str | Path,
    target: str | Path,
    *,
    column: str = "text",
    chunk_texts: int = CHUNK_TEXTS,
    token_budget: int = TOKEN_BUDGET,
    prompt: str | None = None,
    precision: str | None = None,
    loss: float = 0.0,
) -> int:
    """Encode a column of texts into a folder of Parquet files; called again, it goes on where it stopped.

    Args:
        model: any Sentence Transformers model.
        source: a table: Parquet, JSONL, CSV and what else `helpers.data.rows` reads; empty lines are passed over.
        target: the folder to write; made if it isn't there.
        column: the column, or key of each line, that holds the text.
        chunk_texts: texts a part; what a crash costs at most, and what the memory holds at a time.
        token_budget: tokens a batch; see `encode`.
        prompt: put before each text; None is the model's default.
        precision: as of `encode`; what "auto" came to is written into the manifest, and a folder goes on with it.
        loss: as of `encode`.

    Returns:
        How many texts this call encoded.

    Raises:
        CourseError: the source can't be read, a row has no text, the folder belongs to another model or
            source, another process writes to it, or it can't be written.
    """
    source, target = Path(source).expanduser(), Path(target).expanduser()
    if chunk_texts < 1:
        raise CourseError(f"chunk_texts is {chunk_texts}; it must be 1 or more.")
    sha256, count = _fingerprint(source, column)
    way = _begun_in(target / "_manifest.json") if precision == "auto" else precision
    way = way or chosen_way(model, precision or AS_LOADED, loss, encode)
    vectors_of = partial(encode, model, token_budget=token_budget, prompt=prompt, precision=way)
    try:
        probe = np.asarray(vectors_of(list(PROBE)), dtype=np.float64)
    except RowError as error:
        raise CourseError(f"The model fails on a test sentence, which {error.problem}") from None
    manifest = {
        "model": str(models.weights(model)),
        "probe": probe.round(6).tolist(),
        "dtype": str(model.dtype),
        "max_seq_length": model.max_seq_length,
        "truncate_dim": model.truncate_dim,
        "prompt": prompt if prompt is not None else model.prompts.get(model.default_prompt_name or ""),
        "source": source.name,
        "source_sha256": sha256,
        "column": column,
        "chunk_texts": chunk_texts,
        "precision": way,
    }
    try:
        target.mkdir(parents=True, exist_ok=True)
        with FileLock(target / ".lock", timeout=0):
            _agree(target / "_manifest.json", manifest)
            return _encode_missing(_texts(source, column), target, count, chunk_texts, vectors_of)
    except Timeout:
        raise CourseError(f"{target}: another process is writing here; wait for it, or name another folder.") from None
    except OSError as error:
        raise CourseError(
            f"{target}: a file can't be written ({error.strerror or error}); make room, then call again: "
            "the parts that are there are kept."
        ) from error


def _encode_missing(
    texts: Iterator[str], target: Path, count: int | None, chunk_texts: int, vectors_of: Callable[[list[str]], Any]
) -> int:
    """Encode the chunks that have no part yet; how many texts that were."""
    encoded, first = 0, 0
    with tqdm(total=count, unit="text", desc=target.name) as bar:
        for number in itertools.count():
            chunk = list(itertools.islice(texts, chunk_texts))
            if not chunk:
                return encoded
            part = target / f"part-{number:05}.parquet"
            if _complete(part, len(chunk)):
                bar.initial += len(chunk)  # not counted in the rate
                bar.update(len(chunk))
            else:
                try:
                    vectors = vectors_of(chunk)
                except RowError as error:
                    raise CourseError(f"Row {first + error.row + 1} of the source {error.problem}") from None
                _write_part(part, first, vectors)
                encoded += len(chunk)
                bar.update(len(chunk))
            first += len(chunk)
    raise AssertionError("never reached")


def _complete(part: Path, rows: int) -> bool:
    """Whether a part is there, with a readable footer and all its rows."""
    try:
        return bool(pq.read_metadata(part).num_rows == rows)
    except (OSError, pa.ArrowInvalid):
        return False


def _write_part(part: Path, first: int, vectors: Any) -> None:
    """Write rows `first`, `first + 1` ... with their vectors (n, d), whole or not at all."""
    flat = pa.array(np.ascontiguousarray(vectors).ravel())
    embedding = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    table = pa.table({"row": pa.array(np.arange(first, first + len(vectors))), "embedding": embedding})
    with files.replacing(part) as scratch:
        pq.write_table(table, scratch, compression="none")


def _agree(path: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest of a new folder, or hold it against that of an old one."""
    if not path.exists():
        if any(path.parent.glob("part-*.parquet")):
            raise CourseError(f"{path.parent}: there are parts but no {path.name}; name an empty folder.")
        files.replace(path, json.dumps(manifest, indent=1).encode())
        return
    before = {"precision": AS_LOADED} | json.loads(path.read_text(encoding="utf-8"))
    changed = [key for key in manifest if key != "probe" and before.get(key) != manifest[key]]
    differences = [f"{key} was {before.get(key)!r} and is {manifest[key]!r}" for key in changed]
    if not _alike(before.get("probe"), manifest["probe"]):
        differences.append("the vectors of two test sentences are others")
    if differences:
        raise CourseError(
            f"{path.parent} was begun with something else: {'; '.join(differences)}. Name another folder."
        )


def _begun_in(path: Path) -> str | None:
    """The way that a folder was begun in; None where there is none yet."""
    return json.loads(path.read_text(encoding="utf-8")).get("precision", AS_LOADED) if path.exists() else None


def _alike(before: Any, now: list[list[float]]) -> bool:
    """Whether two models that gave these vectors (2, d) may fill one folder."""
    old, new = np.array(before, dtype=np.float64), np.array(now)
    return old.shape == new.shape and bool(np.abs(old - new).max() <= PROBE_TOLERANCE * np.abs(new).max())


def _fingerprint(source: Path, column: str) -> tuple[str, int | None]:
    """The sha256 of the source, read in pieces, and how many rows it has, where that is known without reading them."""
    if not source.is_file():
        raise CourseError(f"{source}: there is no such file.")
    table = rows.open_table(source)
    for sentence in table.notes:
        print(sentence)
    if column not in table.columns:
        raise CourseError(
            f"{source}: there is no {column!r}; it has {', '.join(table.columns)}. Name one with column=."
        )
    known = rows.parquet_file(source).metadata.num_rows if suffix_of(source) == ".parquet" else None
    return files.sha256(source), known


def _texts(source: Path, column: str) -> Iterator[str]:
    """The texts of a source, one after the other, empty lines passed over."""
    table = rows.open_table(source)
    found = rows.parquet_rows(source, [column]) if suffix_of(source) == ".parquet" else iter(table)
    for number, row in found:
        text = row.get(column)
        if not isinstance(text, str):
            raise CourseError(
                f"{table.place(number)}: {column!r} holds {text!r}, which is no text; mend or drop the row."
            )
        if fault := text_fault(text):
            raise CourseError(f"{table.place(number)}: {column!r} {fault}.")
        yield text
