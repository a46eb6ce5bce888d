"""Pairs of sentences from a table: labelled 0 and 1 or graded, or triples of anchor, positive and negative."""

import math
from array import array
from pathlib import Path
from typing import Any

import numpy as np

from helpers.data import names
from helpers.data.characters import is_blank, text_fault
from helpers.data.dataset import Pairs
from helpers.data.names import Reading
from helpers.data.rows import Table, open_table
from helpers.errors import CourseError

TRUE, FALSE = frozenset({"1", "true", "yes"}), frozenset({"0", "false", "no"})


def pairs_of(table: Table, reading: Reading) -> Pairs:
    """The labelled or graded pairs of a table.

    Raises:
        CourseError: names the file, the line and the mend.
    """
    found = names.pair(table, reading)
    if found is None:
        needed = "sentence1" if names.find(table, "sentence1", reading) is None else "sentence2"
        raise names.no_column(table, needed)
    one, two = found
    gold_column, graded = _gold_column(table, reading)
    kind_column, group_column, id_column = (names.find(table, role, reading) for role in ("kind", "group", "id"))
    understood = {"sentence1": one, "sentence2": two, "score" if graded else "label": gold_column}
    names.understood(reading, table, understood | {"the clusters that are compared on": group_column})
    first: list[str] = []
    second: list[str] = []
    kinds: list[str] = []
    groups: list[str] = []
    gold, ids = array("d"), array("q")
    for line, row in table:
        first.append(text_of(table, line, row.get(one), one))
        second.append(text_of(table, line, row.get(two), two))
        gold.append(_gold(table, line, row.get(gold_column), gold_column, graded=graded))
        if kind_column:
            kinds.append(str(row.get(kind_column) or ""))
        if group_column:
            named = row.get(group_column)
            groups.append("" if named is None else str(named).strip())
        if id_column and row.get(id_column) not in (None, ""):
            ids.append(hash(id_of(table, line, row[id_column], id_column)))
    if not first:
        raise CourseError(f"{table.path} has no rows; it needs at least two pairs.")
    values = np.frombuffer(gold, dtype=np.float64)
    if values.min() == values.max():
        raise CourseError(
            f"{table.path}: every {gold_column} is {values[0]:g}; a model can only be judged on pairs that differ "
            "(for labels: both 0 and 1)."
        )
    if id_column:
        _unique(table, id_column, np.frombuffer(ids, dtype=np.int64))
    kind, group = (tuple(column) if any(column) else None for column in (kinds, groups))
    return Pairs(_tuple(first), _tuple(second), values, graded, kind, group)


def read_pairs(path: str | Path, *, columns: Any = None, encoding: str | None = None) -> Pairs:
    """Read pairs from a table: CSV, TSV, JSONL, JSON or Parquet.

    Columns: `sentence1`, `sentence2` and either `label` (0 or 1) or `score` (graded, any scale), or the field's usual
    names for them; others are ignored, but `kind` and `group` are kept and `id`, where there is one, must be unique.
    CSV follows the usual quoting; in TSV a quotation mark is text, as in the field's STS files.

    Args:
        path: of the file.
        columns: role -> column, for other names; see `names.ROLES`.
        encoding: of a text file that is neither UTF-8 nor UTF-16 with its mark.

    Raises:
        CourseError: names the file, the line and the mend.
    """
    reading = Reading(names.mapping(columns), encoding)
    table = open_table(path, encoding)
    reading.note(*table.notes)
    found = pairs_of(table, reading)
    say(reading)
    return found


def say(reading: Reading) -> None:
    """Print what was understood and left out, a line each."""
    for sentence in reading.notes:
        print(sentence)


def text_of(table: Table, line: int, value: Any, column: str) -> str:
    """A text that may not be empty.

    Raises:
        CourseError: it is empty, no text, or holds what no tokenizer takes.
    """
    if not isinstance(value, str):
        said = f" (it is {names.kind_of_value(value)})" if value is not None else ""
        raise CourseError(f"{table.place(line)}: {column} is empty or no text{said}; fill it or drop the line.")
    if is_blank(value):
        raise CourseError(f"{table.place(line)}: {column} is empty or no text; fill it or drop the line.")
    if fault := text_fault(value):
        raise CourseError(f"{table.place(line)}: {column} {fault}.")
    return value


def id_of(table: Table, line: int, value: Any, column: str) -> str:
    """An id: a text or a whole number.

    Raises:
        CourseError: it is empty or something else.
    """
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)  # pandas makes numbers with a gap into floats
    if isinstance(value, bool) or not isinstance(value, str | int) or (isinstance(value, int) and abs(value) > 10**40):
        raise CourseError(
            f"{table.place(line)}: {column} is {names.kind_of_value(value)}; an id must be a text or a whole number."
        )
    made = str(value).strip()
    if not made:
        raise CourseError(f"{table.place(line)}: no {column!r}; give each line its own.")
    if fault := text_fault(made):
        raise CourseError(f"{table.place(line)}: {column} {fault}.")
    return made


def number_of(value: Any, *, decimal_comma: bool = False) -> float:
    """A cell as a number; NaN where it is none."""
    if isinstance(value, str):
        value = value.strip()
        if decimal_comma and value.count(",") == 1 and "." not in value:
            value = value.replace(",", ".")
        if "_" in value:  # Python would take 1_000
            return math.nan
    try:
        return float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        return math.nan


def triples_of(table: Table, reading: Reading) -> Pairs | None:
    """The pairs in rows of anchor, positive (1) and negative (0); None where a row has no single negative."""
    anchor, positive = names.find(table, "sentence1", reading, ("anchor",)), names.find(table, "positive", reading)
    negative = names.find(table, "negative", reading)
    if anchor is None or positive is None or negative is None:
        return None
    first: list[str] = []
    second: list[str] = []
    for line, row in table:
        if not all(isinstance(row.get(column), str) for column in (anchor, positive, negative)):
            return None
        for column in (positive, negative):
            first.append(text_of(table, line, row[anchor], anchor))
            second.append(text_of(table, line, row[column], column))
    gold = np.tile([1.0, 0.0], len(first) // 2)
    return Pairs(_tuple(first), _tuple(second), gold, False) if len(gold) else None


def _tuple(made: list[str]) -> tuple[str, ...]:
    found = tuple(made)
    made.clear()  # millions of places, which nobody needs twice
    return found


def _gold_column(table: Table, reading: Reading) -> tuple[str, bool]:
    """The column to judge by, and whether it is graded."""
    label, score = (names.find(table, role, reading) for role in ("label", "score"))
    if label and score:
        if ("label" in reading.columns) != ("score" in reading.columns):
            return (label, False) if "label" in reading.columns else (score, True)
        raise CourseError(
            f"{table.path}, {table.unit} 1: has both {label} and {score}; keep the one to judge by, "
            f"or name it with columns={{'label': {label!r}}}."
        )
    if label or score:
        return label or score or "", not label
    raise CourseError(
        f"{table.path}, {table.unit} 1: no column 'label' (0 or 1) or 'score' (graded) among "
        f"{', '.join(map(str, table.columns))}; rename or add one, or map it with columns={{'label': ...}}."
    )


def _gold(table: Table, line: int, cell: Any, column: str, *, graded: bool) -> float:
    if not graded:
        word = str(cell).strip().casefold() if isinstance(cell, str | bool) else ""
        value = 1.0 if word in TRUE else 0.0 if word in FALSE else number_of(cell, decimal_comma=table.decimal_comma)
        if value not in (0, 1):
            raise CourseError(
                f"{table.place(line)}: {column} is {_shown(cell)}; it must be 0 or 1 "
                "(a graded value belongs in 'score')."
            )
        return value
    value = math.nan if isinstance(cell, bool) else number_of(cell, decimal_comma=table.decimal_comma)
    if not math.isfinite(value):
        mend = " (with a decimal point, where columns are not cut by semicolons)" if "," in str(_shown(cell)) else ""
        raise CourseError(f"{table.place(line)}: {column} is {_shown(cell)}; it must be a finite number{mend}.")
    return value


def _shown(cell: Any) -> str:
    if isinstance(cell, int) and not isinstance(cell, bool) and abs(cell) > 10**40:
        return "a number of more than 40 digits"
    shown = repr(cell)
    return shown if len(shown) <= 80 else shown[:80] + "..."


def _unique(table: Table, column: str, hashes: np.ndarray) -> None:
    """CourseError where two rows have the same id; only their hashes were kept, so it reads once more to name them."""
    ordered = np.sort(hashes)
    suspects = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    seen: dict[str, int] = {}
    for line, row in table if suspects else ():
        if row.get(column) in (None, ""):
            continue
        identity = id_of(table, line, row[column], column)
        if hash(identity) in suspects and seen.setdefault(identity, line) != line:
            raise CourseError(
                f"{table.place(line)}: {column} {identity!r} was used in {table.unit} {seen[identity]}; "
                "give each pair its own."
            )
