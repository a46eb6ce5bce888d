"""What a job of `scale` that was broken off left behind: the files that are whole, and the rows without a vector."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import dataset

from helpers import files
from helpers.errors import CourseError

MANIFEST, REST = "_job.json", "_rest.parquet"  # readers of Parquet folders pass over such names


def agree(folder: Path, source: Path, **about: Any) -> None:
    """Write into a job's folder what the job is, or hold that against what was begun there.

    Args:
        folder: of the job; made if it isn't there.
        source: a Parquet file or folder; its contents are part of what the job is.
        about: what else decides which vectors come out.

    Raises:
        CourseError: another job was begun there.
    """
    found = [source] if source.is_file() else sorted(source.rglob("*.parquet"))
    job = about | {"source": {file.name: files.sha256(file) for file in found}}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MANIFEST
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() and whole_files(folder) else job
    if changed := [name for name in job if before.get(name) != job[name]]:
        raise CourseError(
            f"{folder} holds a part of another job, whose {', '.join(changed)} differ; remove it to begin anew, or "
            "name another target."
        )
    files.replace(path, json.dumps(job).encode())


def whole_files(folder: Path) -> list[Path]:
    """The files that were written to their end; those that were cut off are removed."""
    found = []
    for file in sorted(folder.glob("[!_.]*.parquet")):
        try:
            pq.read_metadata(file)
            found.append(file)
        except (OSError, pa.ArrowInvalid):
            file.unlink()
    return found


def rest(source: Path, folder: Path, column: str, key: str) -> Path | None:
    """The rows whose keys no file holds yet, as a Parquet file in the folder; None if there are none.

    Without whole files, or where keys repeat, it is the source itself.
    """
    there = whole_files(folder)
    if not there:
        return source
    done = dataset.dataset(there).to_table(columns=[key]).column(key).combine_chunks()
    every = dataset.dataset(source, format="parquet")
    scanner = every.scanner(columns=[key, column], filter=~dataset.field(key).isin(done))
    with pq.ParquetWriter(folder / REST, scanner.projected_schema) as writer:
        for batch in scanner.to_batches():
            writer.write_batch(batch)
    left = pq.read_metadata(folder / REST).num_rows
    if left + len(done) != every.count_rows():  # keys repeat: which of their rows were written isn't known
        for file in there:
            file.unlink()
        return source
    return folder / REST if left else None
