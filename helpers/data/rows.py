"""The one reader of tables: CSV in its dialects, TSV, JSONL, JSON, Parquet, Arrow folders, each also as .gz.

Rows come one at a time, each with its line (its row, where a file has no lines) for an error to name, so that reading
needs little more memory than what is kept. Python's csv and json parse text, since they know the line; pyarrow and
datasets the rest. Bytes and encodings are left to `characters`, what the columns mean to `names`.
"""

import csv
import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO, TypeVar, cast

from helpers.data.characters import (
    BLANKS,
    PIECE,
    decoding,
    is_blank,
    must_exist,
    opened,
    opened_text,
    suffix_of,
    text_fault,
    text_lines,
    undecoded,
)
from helpers.errors import CourseError, nearest

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".txt")
LONGEST_CELL = 1 << 24  # characters; an open quotation mark would else take the rest of the file for one cell
PEEKED = 200  # rows of a JSONL file whose keys are taken for its columns
SLOW_BYTES = 50_000_000  # above this, a bar shows how far reading is
Rows = Iterator[tuple[int, dict[str, Any]]]


@dataclass(frozen=True)
class Table:
    """A table, read anew each time it is iterated: (line, row) for each row that isn't blank.

    Attributes:
        path: what an error names.
        columns: the names of its columns, as they are written.
        unit: what a row's number counts: "line" or "row".
        read: opens it and yields its rows.
        decimal_comma: whether "3,5" is a number in it.
        headed: whether its first line names the columns.
        notes: what was assumed to read it.
        where: tells a row's place where the table is made of several files.
    """

    path: Path
    columns: tuple[str, ...]
    unit: str
    read: Callable[[], Rows]
    decimal_comma: bool = False
    headed: bool = True
    notes: tuple[str, ...] = ()
    where: Callable[[int], str] | None = None

    def __post_init__(self) -> None:
        """CourseError where the name of a column can't be written down."""
        for column in self.columns:
            if fault := text_fault(str(column)):
                raise CourseError(f"{self.path}: the name of the column {str(column)[:40]!r} {fault}.")

    def __iter__(self) -> Rows:
        return self.read()

    def place(self, number: int) -> str:
        """Where a row stands, for an error."""
        return self.where(number) if self.where else f"{self.path}, {self.unit} {number}"


def open_table(path: str | Path, encoding: str | None = None, header: Sequence[str] | None = None) -> Table:
    """Open a file as a table; its head is read, its rows not yet.

    Args:
        path: of a file with one of `SUFFIXES`, or one of these and `.gz`; or of a folder that `datasets` saved.
        encoding: of a text file; None is UTF-8, or UTF-16 where its mark says so, else cp1252.
        header: names of the columns of a text file that has none.

    Raises:
        CourseError: there is no such file, it is of another kind, or its head can't be read.
    """
    path = Path(path).expanduser()
    must_exist(path)
    suffix = suffix_of(path)
    if (path / "state.json").is_file():
        return of_dataset(path, saved(path))
    if suffix not in SUFFIXES:
        raise CourseError(
            f"{path}: tables are read from .csv, .tsv or .jsonl, .json and .parquet; rename or convert the file."
        )
    if suffix == ".parquet":
        return _parquet(path)
    encoding, notes = decoding(path, encoding)
    if suffix in (".jsonl", ".ndjson"):
        return _jsonl(path, encoding, notes)
    if suffix == ".json":
        return _json(path, encoding, notes)
    if suffix == ".txt":
        return Table(path, ("text",), "line", lambda: _lines(path, encoding), headed=False, notes=notes)
    return _csv(path, encoding, notes, tab=suffix == ".tsv", header=header)


def hint(needed: str, columns: Sequence[str]) -> str:
    """What to do about a column that is missing: rename one that looks like it, or add it."""
    guess = nearest(needed, list(columns))
    return f" rename one to {needed}.{guess}" if guess else f" rename or add {needed}."


def jsonl_rows(path: Path) -> Rows:
    """(line number, object) for each line of a JSONL file that isn't blank."""
    return iter(open_table(path))


SHARD = 1 << 40  # more rows than a file has


def joined(tables: Sequence[Table]) -> Table:
    """Several files of the same columns as one table.

    Raises:
        CourseError: the columns of two files differ.
    """
    first = tables[0]
    if len(tables) == 1:
        return first
    for other in tables[1:]:
        if set(other.columns) != set(first.columns):
            raise CourseError(
                f"{other.path} has the columns {', '.join(other.columns)} and {first.path.name} has "
                f"{', '.join(first.columns)}; files that belong together have the same ones."
            )

    def read() -> Rows:
        for shard, table in enumerate(tables):
            for number, row in table:
                yield shard * SHARD + number, row

    return replace(
        first,
        read=read,
        notes=tuple(note for table in tables for note in table.notes),
        where=lambda number: tables[number // SHARD].place(number % SHARD),
    )


T = TypeVar("T")


def _progress(path: Path, rows: Iterator[T]) -> Iterator[T]:
    """The rows, with a bar that counts them where a file is so large that reading takes a while."""
    if path.stat().st_size < SLOW_BYTES:
        return rows
    from tqdm.auto import tqdm

    size = f"{path.stat().st_size / 1e9:.2f} GB"
    return iter(tqdm(rows, unit="row", unit_scale=True, desc=f"reading {path.name} ({size})", mininterval=0.5))


# CSV and TSV


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written: its encoding, separator, whether quotation marks quote, lines before its header."""

    encoding: str
    delimiter: str
    quoted: bool
    skip: int = 0


def _csv(path: Path, encoding: str, notes: tuple[str, ...], *, tab: bool, header: Sequence[str] | None) -> Table:
    skip = 0
    with opened_text(path, encoding) as file:
        try:
            head = next((line for line in file if not is_blank(line)), "")
            if not tab and re.fullmatch(r"sep=.\s*", head):  # Excel's own line
                skip, head = 1, next((line for line in file if not is_blank(line)), "")
        except UnicodeDecodeError:
            raise undecoded(path, 0, encoding) from None
    dialect = Dialect(encoding, "\t" if tab else _delimiter(head), not tab, skip)
    if header is not None:
        columns = tuple(header)
        return Table(path, columns, "line", lambda: _csv_rows(path, dialect, columns), headed=False, notes=notes)
    line, cells = next(_csv_cells(path, dialect), (1, []))
    columns = tuple(cell.strip(BLANKS) for cell in cells)
    _once(path, line, columns)
    return Table(path, columns, "line", lambda: _csv_rows(path, dialect), dialect.delimiter == ";", notes=notes)


def _delimiter(head: str) -> str:
    """Comma, semicolon or tab: the one that cuts a header into most cells."""
    bare = re.sub(r'"(?:[^"]|"")*"', "", head)
    return max(",;\t", key=bare.count)  # the first of equals


def _once(path: Path, line: int, columns: Sequence[str]) -> None:
    seen: set[str] = set()
    for column in filter(None, columns):
        if column.casefold() in seen:
            raise CourseError(f"{path}, line {line}: the column {column!r} is there twice; rename or drop one.")
        seen.add(column.casefold())


def _csv_cells(path: Path, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(LONGEST_CELL)
    with opened_text(path, dialect.encoding) as file:
        if dialect.quoted:
            reader = csv.reader(file, delimiter=dialect.delimiter, strict=True)
        else:
            reader = csv.reader(file, delimiter=dialect.delimiter, quoting=csv.QUOTE_NONE)
        before, skip = 0, dialect.skip
        try:
            for cells in reader:
                before = reader.line_num
                if any(cell and not is_blank(cell) for cell in cells):
                    if skip:
                        skip -= 1
                        continue
                    yield before, cells
        except csv.Error as error:
            raise CourseError(f"{path}, line {before + 1}: {error}; check the quotation marks there.") from None
        except UnicodeDecodeError:
            raise undecoded(path, before, dialect.encoding) from None


def _csv_rows(path: Path, dialect: Dialect, columns: tuple[str, ...] | None = None) -> Rows:
    separator = {",": "comma", ";": "semicolon", "\t": "tab"}[dialect.delimiter]
    mend = f"quote a text that holds a {separator}." if dialect.quoted else "a tab may be missing."
    for line, cells in _progress(path, _csv_cells(path, dialect)):
        if columns is None:
            columns = tuple(cell.strip(BLANKS) for cell in cells)
            continue
        if len(cells) != len(columns):
            raise CourseError(f"{path}, line {line}: {len(cells)} columns where the header has {len(columns)}; {mend}")
        yield line, dict(zip(columns, cells, strict=True))


def _lines(path: Path, encoding: str) -> Rows:
    """A text a line."""
    for number, line in enumerate(text_lines(path, encoding), start=1):
        if not is_blank(line):
            yield number, {"text": line.rstrip("\r\n")}


# JSON


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _TwiceError(twice)
    return made


class _TwiceError(ValueError):
    """An object holds a key twice."""


DECODER = json.JSONDecoder(object_pairs_hook=_no_twins)


def _json_fault(where: str, error: Exception, mend: str) -> CourseError:
    if isinstance(error, _TwiceError):
        return CourseError(f"{where}: the column {str(error)!r} is there twice; rename or drop one.")
    said = error.msg if isinstance(error, json.JSONDecodeError) else "a number or a nesting without end"
    return CourseError(f"{where}: not JSON ({said}); {mend}")


def _jsonl_rows(path: Path, encoding: str) -> Rows:
    with opened_text(path, encoding, "\n") as file:
        yield from _progress(path, _jsonl_objects(path, encoding, file))


def _jsonl_objects(path: Path, encoding: str, file: TextIO) -> Rows:
    number = 0
    try:
        for number, line in enumerate(file, start=1):
            if is_blank(line):
                continue
            try:
                row = DECODER.decode(line.strip(BLANKS))
            except (ValueError, RecursionError) as error:
                raise _json_fault(f"{path}, line {number}", error, "one object a line.") from None
            if not isinstance(row, dict):
                raise CourseError(f"{path}, line {number}: not a JSON object; one object a line.")
            yield number, row
    except UnicodeDecodeError:
        raise undecoded(path, number, encoding) from None


def _jsonl(path: Path, encoding: str, notes: tuple[str, ...]) -> Table:
    head = itertools.islice(_jsonl_rows(path, encoding), PEEKED)
    return Table(path, _keys(row for _, row in head), "line", lambda: _jsonl_rows(path, encoding), notes=notes)


def _keys(rows: Iterator[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(itertools.chain.from_iterable(rows)))


def _json(path: Path, encoding: str, notes: tuple[str, ...]) -> Table:
    """A JSON array of objects; lines of objects under the name .json; or an object that holds one table."""
    start = _start(path, encoding)
    if start.startswith("["):
        head = itertools.islice(_array_rows(path, encoding), PEEKED)
        return Table(path, _keys(row for _, row in head), "row", lambda: _array_rows(path, encoding), notes=notes)
    if _lines_of_objects(start):
        return _jsonl(path, encoding, notes)
    return rows_of(path, json_object(path, encoding), notes)


def _start(path: Path, encoding: str) -> str:
    with opened_text(path, encoding) as file:
        try:
            return file.read(PIECE).lstrip(BLANKS)
        except UnicodeDecodeError:
            raise undecoded(path, 0, encoding) from None


def starts_as_object(path: Path, encoding: str | None = None) -> bool:
    """Whether a JSON file holds one object, not an array and not an object a line."""
    must_exist(path)
    start = _start(path, decoding(path, encoding)[0])
    return start.startswith("{") and not _lines_of_objects(start)


def _lines_of_objects(start: str) -> bool:
    first, ended, rest = start.partition("\n")
    try:
        made = json.loads(first)
    except (ValueError, RecursionError):
        return False
    flat = isinstance(made, dict) and not any(isinstance(value, dict | list) for value in made.values())
    return isinstance(made, dict) and (flat or (bool(ended) and rest.lstrip().startswith("{")))


def json_object(path: Path, encoding: str | None = None) -> Any:
    """A JSON file as a whole.

    Raises:
        CourseError: it isn't JSON.
    """
    with opened_text(path, encoding or decoding(path, None)[0]) as file:
        try:
            return DECODER.decode(file.read().strip())
        except UnicodeDecodeError:
            raise undecoded(path, 0, encoding or "utf-8") from None
        except (ValueError, RecursionError) as error:
            line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
            raise _json_fault(f"{path}{line}", error, "write it again with a JSON library.") from None


def rows_of(path: Path, made: Any, notes: tuple[str, ...] = ()) -> Table:
    """The table in a JSON object: columns as lists, or one list of rows under some name."""
    lists = {key: value for key, value in made.items() if isinstance(value, list)} if isinstance(made, dict) else {}
    tables = [value for value in lists.values() if value and all(isinstance(row, dict) for row in value)]
    if len(tables) == 1:
        rows = tables[0]
    elif lists and not tables and len({len(value) for value in lists.values()}) == 1:
        rows = [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]
    else:
        raise CourseError(
            f"{path}: no table was found in it; write a list of objects, or queries, corpus and relevant_docs."
        )
    return Table(path, _keys(iter(rows[:PEEKED])), "row", lambda: iter(enumerate(rows, start=1)), notes=notes)


def _array_rows(path: Path, encoding: str) -> Rows:
    """(row number, object) of a JSON array, which is never in memory as a whole."""
    with opened_text(path, encoding) as file:
        yield from _progress(path, _array_objects(path, encoding, file))


def _array_objects(path: Path, encoding: str, file: TextIO) -> Rows:
    held, at, number = file.read(PIECE).lstrip(BLANKS)[1:], 0, 0
    blank = re.compile(r"[\s,]*")
    while True:
        at = cast(re.Match[str], blank.match(held, at)).end()
        if at < len(held) and held[at] == "]":
            return
        try:
            if at >= len(held):
                raise json.JSONDecodeError("the closing ] is missing", "", 0)
            row, after = DECODER.raw_decode(held, at)
        except (ValueError, RecursionError) as error:
            hopeless = isinstance(error, _TwiceError | RecursionError) or len(held) - at > LONGEST_CELL
            try:
                more = "" if hopeless else file.read(max(PIECE, len(held) - at))
            except UnicodeDecodeError:
                raise undecoded(path, number, encoding) from None
            if not more:
                raise _json_fault(f"{path}, row {number + 1}", error, "write a list of objects.") from None
            held, at = held[at:] + more, 0
            continue
        number += 1
        if not isinstance(row, dict):
            raise CourseError(f"{path}, row {number}: not a JSON object; write a list of objects.")
        yield number, row
        at = after


# Parquet and Arrow


def parquet_file(path: Path) -> Any:
    """A Parquet file, opened by pyarrow.

    Raises:
        CourseError: it is none, or not a whole one; or pyarrow is missing.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise CourseError('pyarrow is missing; install it with pip install "embedding-models-course[fast]".') from None
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        source: Any = path
        if packed:
            with opened(path) as file:
                source = pa.BufferReader(file.read())
        found = pq.ParquetFile(source)
        found.schema_arrow.names  # noqa: B018, that of a broken file can't be decoded
        return found
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CourseError(f"{path}: it is no Parquet file, or not a whole one ({_said(error)}).") from None


def _parquet(path: Path) -> Table:
    columns = tuple(parquet_file(path).schema_arrow.names)
    _once(path, 1, columns)
    return Table(path, tuple(c.strip(BLANKS) for c in columns), "row", lambda: parquet_rows(path))


def parquet_rows(path: Path, columns: Sequence[str] | None = None) -> Rows:
    """(row number, row) of a Parquet file, in batches of 1,024."""
    import pyarrow as pa

    number = 0
    file = parquet_file(path)
    try:
        for batch in file.iter_batches(batch_size=1024, columns=columns):
            yield from _batch(path, number, batch)
            number += len(batch)
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise CourseError(f"{path}, after row {number}: it can't be read on ({_said(error)}).") from None


def _batch(path: Path, before: int, batch: Any) -> Rows:
    """(row number, row) of a batch of Arrow; `before` rows were read already."""
    import pyarrow as pa

    names = [name.strip(BLANKS) for name in batch.schema.names]
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        for place, (name, column) in itertools.product(range(len(batch)), zip(names, batch.columns, strict=True)):
            try:
                column.slice(place, 1).validate(full=True)
            except pa.ArrowInvalid as error:
                raise CourseError(
                    f"{path}, row {before + place + 1}: {name} can't be read, as where half a character of a cut emoji "
                    f"is in it; take it out ({_said(error)})."
                ) from None
        raise
    for number, values in enumerate(zip(*(column.to_pylist() for column in batch.columns), strict=True), before + 1):
        yield number, dict(zip(names, values, strict=True))


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def saved(folder: Path) -> Any:
    """What `datasets` saved into a folder: a `Dataset`, or a `DatasetDict`.

    Raises:
        CourseError: it is no such folder, or not a whole one.
    """
    import datasets

    try:
        return datasets.load_from_disk(str(folder))
    except Exception as error:  # what a broken folder raises has no common class
        raise CourseError(
            f"{folder}: it is no data set that `datasets` saved, or not a whole one ({_said(error)})."
        ) from None


def of_dataset(path: Path, rows: Any) -> Table:
    """A `datasets.Dataset` as a table; `path` is what an error names."""
    import pyarrow as pa

    def read() -> Rows:
        number = 0
        try:
            for batch in rows.with_format("arrow").iter(batch_size=1024):
                yield from _batch(path, number, batch)
                number += len(batch)
        except (pa.ArrowException, OSError, UnicodeError) as error:
            raise CourseError(f"{path}, after row {number}: it can't be read on ({_said(error)}).") from None

    return Table(path, tuple(name.strip(BLANKS) for name in rows.column_names), "row", read)
