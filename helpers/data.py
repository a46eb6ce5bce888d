"""Data to judge a model on: the course's own sets, and readers for the reader's own.

Two shapes, named as the field names them: labelled or graded pairs of sentences, and a retrieval
set (corpus, queries, qrels) in BEIR layout. What is wrong with a file is said once, with the file,
the line and the mend, before any model is loaded. Scoring is left to `metrics`.
"""

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helpers.catalog import nearest
from helpers.errors import CourseError

DATASETS = Path(__file__).parent / "datasets"
csv.field_size_limit(2**31 - 1)


@dataclass(frozen=True)
class Pairs:
    """Pairs of sentences with what people said of them.

    `gold` has shape (n,): 0 or 1 (`graded` is False) or a graded score on any scale (True).
    `kind` names the sort of each pair, where the file has such a column.
    """

    sentence1: tuple[str, ...]
    sentence2: tuple[str, ...]
    gold: NDArray[np.float64]
    graded: bool
    kind: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.gold)


@dataclass(frozen=True)
class Retrieval:
    """A retrieval set in BEIR's terms.

    `corpus` and `queries` map an id to its text (a title is put before the text, with a space);
    `qrels` maps a query id to the ids of its judged documents and their relevance.
    """

    corpus: dict[str, str]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]


@dataclass(frozen=True)
class LongDocuments(Retrieval):
    """A retrieval set of long documents, each query answered by one passage deep in one of them.

    `answers` maps a query id to that passage, word for word; `where` to "beginning", "middle" or
    "end", the fifth of the document in which it stands.
    """

    answers: dict[str, str]
    where: dict[str, str]


@dataclass(frozen=True)
class Dataset:
    """What a benchmark runs on: pairs, a retrieval set, or both."""

    name: str
    pairs: Pairs | None = None
    retrieval: Retrieval | None = None

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Every distinct text, in order of first appearance."""
        pairs = (*self.pairs.sentence1, *self.pairs.sentence2) if self.pairs else ()
        search = (*self.retrieval.queries.values(), *self.retrieval.corpus.values()) if self.retrieval else ()
        return tuple(dict.fromkeys((*pairs, *search)))

    @cached_property
    def sha256(self) -> str:
        """A fingerprint of texts, labels and judgements: two datasets with the same one are the same."""
        content: list[Any] = []
        if self.pairs:
            content.append([self.pairs.sentence1, self.pairs.sentence2, self.pairs.gold.tolist()])
        if self.retrieval:
            content.append([self.retrieval.corpus, self.retrieval.queries, self.retrieval.qrels])
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def pairs() -> Pairs:
    """The course's labelled pairs: six domains, similar and dissimilar, hard negatives among them."""
    return read_pairs(DATASETS / "pairs.csv")


def retrieval() -> Retrieval:
    """The course's retrieval set: passages with near-duplicates, queries, relevance judgements."""
    return read_beir(DATASETS / "retrieval")


def parallel() -> dict[str, tuple[str, ...]]:
    """The course's parallel sentences: language code to sentences, the same one at the same place in each.

    They come in threes that share a subject and differ in the detail that matters.
    """
    rows = [row for _, row in _jsonl_rows(DATASETS / "parallel.jsonl")]
    languages = [key for key in rows[0] if key not in ("_id", "group")]
    return {language: tuple(row[language] for row in rows) for language in languages}


def long_documents() -> LongDocuments:
    """The course's long documents: series of look-alikes, answers at their beginning, middle and end."""
    folder = DATASETS / "long_documents"
    found = read_beir(folder)
    rows = {row["_id"]: row for _, row in _jsonl_rows(folder / "queries.jsonl")}
    return LongDocuments(
        found.corpus,
        found.queries,
        found.qrels,
        answers={query: rows[query]["answer"] for query in found.queries},
        where={query: rows[query]["where"] for query in found.queries},
    )


def texts() -> tuple[str, ...]:
    """The course's unlabelled texts of mixed genre and length, disjoint from `pairs` and `retrieval`."""
    return tuple(row["text"] for _, row in _jsonl_rows(DATASETS / "texts.jsonl"))


def read(source: str | Path) -> Dataset:
    """The course's data or the reader's own.

    Args:
        source: "course", a pairs file (.csv, .tsv, .jsonl), or a BEIR folder.

    Raises:
        CourseError: there is no such file, or something in it is wrong.
    """
    if str(source) == "course":
        return Dataset("course", pairs(), retrieval())
    path = Path(source).expanduser()
    if path.is_dir():
        return Dataset(path.name, retrieval=read_beir(path))
    return Dataset(path.stem, pairs=read_pairs(path))


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
        _must_exist(path)
        raise CourseError(f"{path}: pairs are read from .csv, .tsv or .jsonl; rename or convert the file.")
    rows = list(_jsonl_rows(path) if suffix == ".jsonl" else _csv_rows(path, tab=suffix == ".tsv"))
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
    for line, row in _csv_rows(path, tab=True):
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


def _must_exist(path: Path) -> None:
    if not path.exists():
        raise CourseError(f"{path} doesn't exist; check the path (the course's own data is called 'course').")
    if path.is_file() and path.stat().st_size == 0:
        raise CourseError(f"{path} is empty; fill it or name another file.")


def _decoded(path: Path) -> str:
    _must_exist(path)
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


def _csv_rows(path: Path, *, tab: bool) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, row) for each row that isn't blank."""
    lines = io.StringIO(_decoded(path), newline="")
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


def _jsonl_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) for each line that isn't blank."""
    for number, line in enumerate(_decoded(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise CourseError(f"{path}, line {number}: not JSON ({error.msg}); one object a line.") from None
        if not isinstance(row, dict):
            raise CourseError(f"{path}, line {number}: not a JSON object; one object a line.")
        yield number, row


def _gold_column(path: Path, columns: list[str]) -> str:
    for needed in ("sentence1", "sentence2"):
        if needed not in columns:
            raise CourseError(
                f"{path}, line 1: no column {needed!r} among {', '.join(columns)};{_hint(needed, columns)}"
            )
    found = [column for column in ("label", "score") if column in columns]
    if len(found) == 1:
        return found[0]
    if found:
        raise CourseError(f"{path}, line 1: has both label and score; keep the one to judge by.")
    raise CourseError(
        f"{path}, line 1: no column 'label' (0 or 1) or 'score' (graded) among {', '.join(columns)}; rename or add one."
    )


def _hint(needed: str, columns: list[str]) -> str:
    guess = nearest(needed, columns)
    return f" rename one to {needed}.{guess}" if guess else f" rename or add {needed}."


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
    for line, row in _jsonl_rows(path):
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
