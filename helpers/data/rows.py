"""Rows of a text file: CSV, TSV and JSONL, decoded, each with its line for an error to name."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from helpers.errors import CourseError, nearest


def must_exist(path: Path) -> None:
    """CourseError where there is no such file, or an empty one."""
    if not path.exists():
        raise CourseError(f"{path} doesn't exist; check the path (the course's own data is called 'course').")
    if path.is_file() and path.stat().st_size == 0:
        raise CourseError(f"{path} is empty; fill it or name another file.")


def decoded(path: Path) -> str:
    """The text of a file in UTF-8, with or without a byte order mark.

    Raises:
        CourseError: it isn't there, can't be read, or isn't UTF-8; names the line.
    """
    must_exist(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CourseError(f"{path} can't be read: {error.strerror}.") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise CourseError(
            f"{path}, line {line}: byte 0x{raw[error.start]:02x} isn't UTF-8; save the file as UTF-8."
        ) from None


def csv_rows(path: Path, *, tab: bool) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, row) for each row that isn't blank."""
    csv.field_size_limit(2**31 - 1)  # a text may be longer than the 131,072 characters that csv allows
    lines = io.StringIO(decoded(path), newline="")
    reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if tab else csv.reader(lines, strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                continue
            if len(cells) != len(header):
                raise CourseError(
                    f"{path}, line {reader.line_num}: {len(cells)} columns where the header has "
                    f"{len(header)}; " + ("a tab may be missing." if tab else "quote a text that holds a comma.")
                )
            yield reader.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise CourseError(f"{path}, line {reader.line_num}: {error}; check the quotation marks there.") from None


def jsonl_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) for each line that isn't blank."""
    for number, line in enumerate(decoded(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise CourseError(f"{path}, line {number}: not JSON ({error.msg}); one object a line.") from None
        if not isinstance(row, dict):
            raise CourseError(f"{path}, line {number}: not a JSON object; one object a line.")
        yield number, row


def hint(needed: str, columns: list[str]) -> str:
    """What to do about a column that is missing: rename one that looks like it, or add it."""
    guess = nearest(needed, columns)
    return f" rename one to {needed}.{guess}" if guess else f" rename or add {needed}."
