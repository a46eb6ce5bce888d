"""Readers for the reader's own data: pairs in a table, a retrieval set in BEIR layout.

What is wrong with a file is said once, with the file, the line and the mend, before any model is loaded.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from helpers.data.dataset import Pairs, Retrieval
from helpers.data.rows import csv_rows, hint, jsonl_rows, must_exist
from helpers.errors import CourseError


def read_pairs(path: str | Path) -> Pairs:
    """Read pairs from a CSV, TSV or JSONL file.

    Columns: `sentence1`, `sentence2` and either `label` (0 or 1) or `score` (graded, any scale);
    others are ignored, but `kind` is kept and `id`, where there is one, must be unique. CSV follows
    the usual quoting; in TSV a quotation mark is text, as in the field's STS files.

    Raises:
        CourseError: names the file, the line and the mend.
    """
    path = Path(path).expanduser()
    suffix = path.suffix.lower()
    if suffix not in {".csv", ".tsv", ".jsonl"}:
        must_exist(path)
        raise CourseError(f"{path}: pairs are read from .csv, .tsv or .jsonl; rename or convert the file.")
    rows = list(jsonl_rows(path) if suffix == ".jsonl" else csv_rows(path, tab=suffix == ".tsv"))
    if not rows:
        raise CourseError(f"{path} has no rows; it needs at least two pairs.")
    gold_column = _gold_column(path, list(rows[0][1]))
    first, second, gold, kinds = [], [], [], []
    ids: dict[str, int] = {}
    for line, row in rows:
        first.append(_text(path, line, row, "sentence1"))
        second.append(_text(path, line, row, "sentence2"))
        gold.append(_gold(path, line, row, gold_column))
        kinds.append(str(row.get("kind") or ""))
        if row.get("id") and ids.setdefault(str(row["id"]), line) != line:
            raise CourseError(
                f"{path}, line {line}: id {row['id']!r} was used in line {ids[str(row['id'])]}; give each pair its own."
            )
    values = np.array(gold)
    if len(set(gold)) < 2:
        raise CourseError(
            f"{path}: every {gold_column} is {values[0]:g}; a model can only be judged on pairs that differ "
            "(for labels: both 0 and 1)."
        )
    return Pairs(tuple(first), tuple(second), values, gold_column == "score", tuple(kinds) if any(kinds) else None)


def read_beir(folder: str | Path) -> Retrieval:
    """Read a retrieval set in BEIR layout: corpus.jsonl, queries.jsonl, qrels.tsv (or qrels/test.tsv).

    Queries without a judgement are left out, as BEIR does (its queries.jsonl holds every split).

    Raises:
        CourseError: names the file, the line and the mend.
    """
    folder = Path(folder).expanduser()
    corpus = _beir_texts(folder / "corpus.jsonl")
    queries = _beir_texts(folder / "queries.jsonl")
    path = folder / "qrels.tsv"
    if not path.exists():
        path = folder / "qrels" / "test.tsv"
    if not path.exists():
        raise CourseError(f"{folder} has neither qrels.tsv nor qrels/test.tsv; add the relevance judgements.")
    qrels: dict[str, dict[str, int]] = {}
    for line, row in csv_rows(path, tab=True):
        missing = {"query-id", "corpus-id", "score"} - row.keys()
        if missing:
            raise CourseError(
                f"{path}, line 1: no column {', '.join(sorted(missing))}; "
                "the header must be query-id, corpus-id, score, with tabs between."
            )
        query, document, score = row["query-id"], row["corpus-id"], row["score"]
        for what, name, known in (("query", query, queries), ("document", document, corpus)):
            if name not in known:
                where = "queries.jsonl" if what == "query" else "corpus.jsonl"
                raise CourseError(f"{path}, line {line}: {what} {name!r} isn't in {where}; add it or drop the line.")
        if document in qrels.get(query, {}):
            raise CourseError(
                f"{path}, line {line}: query {query!r} and document {document!r} were judged before; "
                "keep one of the two."
            )
        try:
            qrels.setdefault(query, {})[document] = int(score)
        except ValueError:
            raise CourseError(
                f"{path}, line {line}: the score is {score!r}; it must be a whole number, 0 for not relevant."
            ) from None
    relevant = {query: judged for query, judged in qrels.items() if any(s > 0 for s in judged.values())}
    if not relevant:
        raise CourseError(f"{path} names no relevant document (a score above 0); nothing could be measured.")
    return Retrieval(corpus, {query: queries[query] for query in relevant}, relevant)


def _gold_column(path: Path, columns: list[str]) -> str:
    for needed in ("sentence1", "sentence2"):
        if needed not in columns:
            raise CourseError(
                f"{path}, line 1: no column {needed!r} among {', '.join(columns)};{hint(needed, columns)}"
            )
    found = [column for column in ("label", "score") if column in columns]
    if len(found) == 1:
        return found[0]
    if found:
        raise CourseError(f"{path}, line 1: has both label and score; keep the one to judge by.")
    raise CourseError(
        f"{path}, line 1: no column 'label' (0 or 1) or 'score' (graded) among {', '.join(columns)}; rename or add one."
    )


def _text(path: Path, line: int, row: dict[str, Any], column: str) -> str:
    value = row.get(column)
    if not isinstance(value, str) or not value.strip():
        raise CourseError(f"{path}, line {line}: {column} is empty or no text; fill it or drop the line.")
    return value


def _gold(path: Path, line: int, row: dict[str, Any], column: str) -> float:
    cell = row.get(column)
    try:
        value = float(cell) if isinstance(cell, str | int | float) else math.nan
    except ValueError:
        value = math.nan
    if column == "label" and value not in (0, 1):
        raise CourseError(
            f"{path}, line {line}: label is {cell!r}; it must be 0 or 1 (a graded value belongs in 'score')."
        )
    if not math.isfinite(value):
        raise CourseError(f"{path}, line {line}: score is {cell!r}; it must be a finite number.")
    return value


def _beir_texts(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for line, row in jsonl_rows(path):
        identity = row.get("_id")
        if not isinstance(identity, str | int) or identity == "":
            raise CourseError(f"{path}, line {line}: no '_id'; give each line its own.")
        if str(identity) in found:
            raise CourseError(f"{path}, line {line}: _id {identity!r} was used before; give each its own.")
        text = _text(path, line, row, "text")
        found[str(identity)] = f"{row['title']} {text}" if row.get("title") else text
    if not found:
        raise CourseError(f"{path} has no rows.")
    return found
