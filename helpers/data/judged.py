"""A retrieval set from tables: documents, queries, and judgements, in a table of their own or inline."""

import ast
import json
import re
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from helpers.data import names
from helpers.data.characters import decoding, is_blank, opened, suffix_of, text_fault, text_lines
from helpers.data.dataset import Retrieval
from helpers.data.labelled import id_of, number_of, text_of
from helpers.data.names import Reading, plain
from helpers.data.rows import Rows, Table, open_table
from helpers.errors import CourseError

MOST_RELEVANT = 1000  # trec_eval allots memory by the largest relevance
BEIR_COLUMNS = ("query-id", "corpus-id", "score")
TREC_COLUMNS = ("query-id", "iteration", "corpus-id", "score")
HEADLESS = {"corpus": ("_id", "text"), "queries": ("_id", "text")}


@dataclass(frozen=True)
class Queries:
    """Queries, where they were read, and the relevant ids that stood beside them: query id -> (place, cell)."""

    source: str
    texts: dict[str, str] = field(default_factory=dict)
    inline: dict[str, tuple[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Documents:
    """Documents, where they were read, and the titles of those with a query's id."""

    source: str
    texts: dict[str, str] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)

    def id(self, name: str) -> str:
        """The id that is meant by a name: that of a file may stand with or without its suffix."""
        if name not in self.texts and name.lower().endswith((".txt", ".md")):
            bare = name.rsplit(".", 1)[0]
            return bare if bare in self.texts else name
        return name


def part_table(path: Path, part: str, reading: Reading) -> Table:
    """A table of a part of a retrieval set, with or without a header: ids and texts in TSV, as MS MARCO has them."""
    if part in HEADLESS and suffix_of(path) == ".tsv":
        head = _first_cells(path, reading.encoding)
        known = {*names.SYNONYMS["document_id"], *names.SYNONYMS["query_id"]}
        mapped = {plain(column) for column in reading.columns.values()}
        if len(head) == 2 and not {plain(cell) for cell in head} & (known | mapped):
            reading.note(f"{path.name} has no header; read its columns as id and text.")
            return open_table(path, reading.encoding, HEADLESS[part])
    return open_table(path, reading.encoding)


def queries_of(table: Table, reading: Reading, made: Queries) -> None:
    """Add the queries of a table, with the relevant ids that stand beside them.

    Raises:
        CourseError: names the file, the line and the mend.
    """
    reading.note(*table.notes)
    if not table.columns:
        raise CourseError(f"{table.path} has no rows.")
    column = _text_column(table, reading, "query", (*names.SYNONYMS["query"], *names.SYNONYMS["text"]))
    inline = names.relevant_ids(table, reading)
    identity = names.find(table, "query_id", reading)
    if identity is None and inline is None:
        raise CourseError(f"{table.place(1)}: no '_id'; give each line its own.")
    if column is None:
        raise _no_text(table)
    names.understood(reading, table, {"the query": column, "its id": identity, "its relevant documents": inline})
    for count, (line, row) in enumerate(table, start=1):
        name = f"query-{count}" if identity is None else _identity(table, line, row, identity)
        if name in made.texts:
            raise CourseError(f"{table.place(line)}: {identity} {name!r} was used before; give each its own.")
        made.texts[name] = text_of(table, line, row.get(column), column)
        if inline is not None:
            made.inline[name] = (table.place(line), row.get(inline))


def documents_of(table: Table, reading: Reading, made: Documents, queries: Mapping[str, str]) -> tuple[int, str]:
    """Add the documents of a table; how many are empty, and where the first of them is.

    Raises:
        CourseError: names the file, the line and the mend.
    """
    reading.note(*table.notes)
    if not table.columns:
        raise CourseError(f"{table.path} has no rows.")
    identity = names.find(table, "document_id", reading)
    if identity is None:
        raise CourseError(f"{table.place(1)}: no '_id'; give each line its own.")
    column, title = _text_column(table, reading, "text", names.SYNONYMS["text"]), names.find(table, "title", reading)
    if column is None and title is None:
        raise _no_text(table)
    names.understood(reading, table, {"a document's id": identity, "its text": column, "its title": title})
    empty, first = 0, ""
    for line, row in table:
        name = _identity(table, line, row, identity)
        if name in made.texts:
            raise CourseError(f"{table.place(line)}: {identity} {name!r} was used before; give each its own.")
        text = _maybe_empty(table, line, row.get(column or "text"), column or "text")
        heading = _maybe_empty(table, line, row.get(title or "title"), title or "title")
        if not heading and not text:
            empty, first = empty + 1, first or table.place(line)
        if heading and name in queries:
            made.titles[name] = heading
        made.texts[name] = f"{heading} {text}" if heading and text else heading or text
    return empty, first


def qrels_of(table: Table, reading: Reading, queries: Queries, documents: Documents) -> dict[str, dict[str, int]]:
    """The judgements of a table: query id -> document id -> relevance.

    Raises:
        CourseError: names the file, the line and the mend.
    """
    reading.note(*table.notes)
    roles = ("judged_query", "judged_document", "relevance")
    found = [names.find(table, role, reading) for role in roles]
    if missing := [name for name, column in zip(BEIR_COLUMNS, found, strict=True) if column is None]:
        raise CourseError(
            f"{table.path}, {table.unit} 1: no column {', '.join(sorted(missing))}; "
            "the header must be query-id, corpus-id, score, with tabs between."
        )
    query_column, document_column, score_column = (str(column) for column in found)
    names.understood(
        reading, table, dict(zip(("the query's id", "the document's id", "relevance"), found, strict=True))
    )
    qrels: dict[str, dict[str, int]] = {}
    for line, row in table:
        query = id_of(table, line, row.get(query_column), query_column)
        document = documents.id(id_of(table, line, row.get(document_column), document_column))
        if query not in queries.texts:
            raise CourseError(
                f"{table.place(line)}: query {query!r} isn't in {queries.source}; add it or drop the line."
            )
        relevance = relevance_of(table.place(line), row.get(score_column))
        if qrels.setdefault(query, {}).setdefault(document, relevance) != relevance:
            raise CourseError(
                f"{table.place(line)}: query {query!r} and document {document!r} were judged before; "
                "keep one of the two."
            )
    return qrels


def relevance_of(place: str, cell: Any) -> int:
    """A relevance: a whole number, also as "1.0".

    Raises:
        CourseError: it is none, or above 1,000.
    """
    value = number_of(cell)
    if isinstance(cell, bool) or not value.is_integer():
        raise CourseError(f"{place}: the score is {str(cell)[:60]!r}; it must be a whole number, 0 for not relevant.")
    if abs(value) > MOST_RELEVANT:
        raise CourseError(
            f"{place}: the score is {value:g}; a relevance is at most {MOST_RELEVANT:,} "
            "(trec_eval allots memory by its size); write grades such as 0, 1, 2."
        )
    return int(value)


def inline_qrels(queries: Queries, documents: Documents) -> dict[str, dict[str, int]]:
    """The judgements that stand beside the queries: a list of ids, id -> relevance, or such a list as text.

    Raises:
        CourseError: a cell holds none.
    """
    qrels = {}
    for query, (place, cell) in queries.inline.items():
        value = _list_in(cell, documents)
        judged = value if isinstance(value, dict) else dict.fromkeys(map(_hashable, value), 1)
        made: dict[str, int] = {}
        for name, relevance in judged.items():
            if isinstance(name, bool) or not isinstance(name, str | int) or not str(name).strip():
                raise CourseError(f"{place}: {str(name)[:60]!r} among the relevant documents is no id; list their ids.")
            made[documents.id(str(name).strip())] = relevance_of(place, relevance)
        if made:
            qrels[query] = made
    if qrels and not any(document in documents.texts for judged in qrels.values() for document in judged):
        place, cell = next(iter(queries.inline.values()))
        raise CourseError(
            f"{place}: {str(cell)[:60]!r} names no document of {documents.source}; the ids must be the same in both."
        )
    return qrels


def assembled(
    queries: Queries, documents: Documents, qrels: dict[str, dict[str, int]], reading: Reading, judged_in: str
) -> Retrieval:
    """The retrieval set, as published sets are: what is left out or odd is counted in a sentence each.

    Raises:
        CourseError: nothing is relevant, or every judged document is missing.
    """
    corpus = documents.texts
    if not any(relevance > 0 for judged in qrels.values() for relevance in judged.values()):
        raise CourseError(f"{judged_in} names no relevant document (a score above 0); nothing could be measured.")
    outside = [(q, d) for q, judged in qrels.items() for d in judged if d not in corpus]
    if len(outside) == sum(map(len, qrels.values())):
        raise CourseError(
            f"{judged_in}: no judgement names a document of {documents.source} (the first: document {outside[0][1]!r}, "
            f"where the corpus has {next(iter(corpus))!r}); the ids must be the same in both."
        )
    if outside:
        reading.note(
            f"{len(outside)} of {sum(map(len, qrels.values()))} judgements name a document outside the corpus "
            f"(the first: query {outside[0][0]!r}, document {outside[0][1]!r}); they are kept and count as "
            "never found, as in BEIR."
        )
    kept = {query: text for query, text in queries.texts.items() if query in qrels}
    if len(kept) < len(queries.texts):
        reading.note(f"{len(queries.texts) - len(kept):,} queries without a judgement are left out.")
    found = Retrieval(corpus, kept, {query: qrels[query] for query in kept}, titles=documents.titles)
    if found.own_documents:
        reading.note(
            f"{len(found.own_documents):,} queries are documents too (same id, same text); each is left out of its own "
            "answers, as BEIR does."
        )
    _twins(corpus, reading)
    return found


def note_empty(count: int, first: str, reading: Reading, documents: Documents) -> None:
    """Say how many documents are empty.

    Raises:
        CourseError: all of them are.
    """
    if count and count == len(documents.texts):
        raise CourseError(f"{first}: text is empty, as it is in every document; fill it or drop the line.")
    if count:
        reading.note(f"{count:,} documents have no text (the first: {first}); they are kept, as in BEIR.")


def rows_of_positives(table: Table, reading: Reading) -> Retrieval:
    """Rows of a query with its positives (and negatives): a retrieval set over all of them.

    A positive is a text, a list of texts or of objects with a text; the same text is one document.

    Raises:
        CourseError: names the file, the line and the mend.
    """
    query, positive = names.find(table, "query", reading), names.find(table, "positive", reading)
    negative = names.find(table, "negative", reading)
    if query is None or positive is None:
        raise names.no_column(table, "positive" if query else "query")
    names.understood(reading, table, {"the query": query, "its relevant texts": positive, "texts beside": negative})
    documents: dict[str, str] = {}
    asked: dict[str, str] = {}
    judged: dict[str, dict[str, int]] = {}
    for line, row in table:
        text = text_of(table, line, row.get(query), query)
        name = asked.setdefault(text, f"q{len(asked) + 1}")
        relevant = _texts_in(table, line, row.get(positive), positive)
        if not relevant:
            raise CourseError(f"{table.place(line)}: {positive} is empty or no text; fill it or drop the line.")
        for found in relevant:
            judged.setdefault(name, {})[documents.setdefault(found, f"d{len(documents) + 1}")] = 1
        for found in _texts_in(table, line, row.get(negative), negative) if negative else ():
            documents.setdefault(found, f"d{len(documents) + 1}")
    if len(documents) < 2:
        raise CourseError(f"{table.path} has {len(documents)} distinct documents; there must be two or more to rank.")
    reading.note(
        f"{table.path.name}: read as a retrieval set, {len(asked):,} queries over all "
        f"{len(documents):,} distinct texts."
    )
    return Retrieval(
        {name: text for text, name in documents.items()}, {name: text for text, name in asked.items()}, judged
    )


def trec_table(path: Path, encoding: str | None) -> Table | None:
    """TREC's qrels, four columns cut by blanks or tabs, with or without a header; None where it isn't that."""
    cells = _first_cells(path, encoding, blanks=True)
    if len(cells) != 4 or suffix_of(path) not in (".tsv", ".txt", ".qrels", ".trec", ""):
        return None
    headed = re.fullmatch(r"[+-]?\d+(\.0+)?", cells[3]) is None

    def read() -> Rows:
        text = open_table(path, encoding) if suffix_of(path) == ".txt" else None
        lines = iter(text) if text else _text_lines(path, encoding)
        for count, (number, row) in enumerate(lines):
            if count == 0 and headed:
                continue
            found = row["text"].split()
            if len(found) != 4:
                raise CourseError(
                    f"{path}, line {number}: {len(found)} columns where TREC's judgements have 4; "
                    "write query, 0, document, relevance."
                )
            yield number, dict(zip(TREC_COLUMNS, found, strict=True))

    return Table(path, TREC_COLUMNS, "line", read)


def text_documents(folder: Path, files: Iterable[Path], reading: Reading, made: Documents) -> tuple[int, str]:
    """Add a folder of .txt and .md files, whose names are the ids; how many are empty, and the first of them."""
    found = sorted(files)
    stems = [str(file.relative_to(folder).with_suffix("").as_posix()) for file in found]
    empty, first = 0, ""
    for file, stem in zip(found, stems, strict=True):
        name = stem if stems.count(stem) == 1 else file.relative_to(folder).as_posix()
        text = "" if file.stat().st_size == 0 else whole_text(file, reading)
        if fault := text_fault(text):
            raise CourseError(f"{file}: the text {fault}.")
        made.texts[name] = "" if is_blank(text) else text
        if not made.texts[name]:
            empty, first = empty + 1, first or str(file)
    return empty, first


def whole_text(file: Path, reading: Reading) -> str:
    """A text file as one text."""
    encoding, notes = decoding(file, reading.encoding)
    reading.note(*notes)
    return "".join(text_lines(file, encoding))


def _text_lines(path: Path, encoding: str | None) -> Rows:
    for number, line in enumerate(text_lines(path, decoding(path, encoding)[0]), start=1):
        if not is_blank(line):
            yield number, {"text": line}


def _first_cells(path: Path, encoding: str | None, *, blanks: bool = False) -> list[str]:
    """The cells of the first line that isn't blank, cut by tabs, or by any blanks."""
    with opened(path) as file:
        head = b""
        while not head.strip() and (piece := file.readline(1 << 20)):
            head = piece
    text = head.decode(encoding or "utf-8-sig", errors="replace")
    return text.split() if blanks else text.rstrip("\r\n").split("\t")


def _text_column(table: Table, reading: Reading, role: str, known: Iterable[str]) -> str | None:
    other = "text" if role == "query" else None
    if other and other in reading.columns and role not in reading.columns and reading.columns[other] in table.columns:
        role = "text"
    if role not in reading.columns and {"_id", "text"} <= set(table.columns):
        return "text"  # BEIR's own names leave no doubt
    return names.find(table, role, reading, known)


def _no_text(table: Table) -> CourseError:
    return CourseError(
        f"{table.place(1)}: text is empty or no text: there is no column for it among "
        f"{', '.join(map(str, table.columns))}; rename one, or map it with columns={{'text': ...}}."
    )


def _identity(table: Table, line: int, row: Mapping[str, Any], column: str) -> str:
    if row.get(column) in (None, ""):
        raise CourseError(f"{table.place(line)}: no {column!r}; give each line its own.")
    return id_of(table, line, row[column], column)


def _maybe_empty(table: Table, line: int, value: Any, column: str) -> str:
    if value is None or (isinstance(value, str) and is_blank(value)):
        return ""
    return text_of(table, line, value, column)


def _texts_in(table: Table, line: int, cell: Any, column: str) -> list[str]:
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        cell = _literal(cell) or cell
    if cell is None or (isinstance(cell, str) and is_blank(cell)):
        return []
    found = []
    for item in cell if isinstance(cell, list | tuple) else [cell]:
        if isinstance(item, dict):
            title, text = item.get("title") or "", item.get("text") or item.get("contents") or ""
            strings = isinstance(title, str) and isinstance(text, str)
            found.append(text_of(table, line, f"{title} {text}".strip() if strings else item, column))
        else:
            found.append(text_of(table, line, item, column))
    return found


def _literal(cell: str) -> Any:
    """A list or mapping that was written as text, by JSON or by Python; None where it is neither."""
    for read in (json.loads, ast.literal_eval):
        try:
            made = read(cell)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(made, list | tuple | dict | set):
            return made
    return None


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str | int) and not isinstance(value, bool) else repr(value)


def _list_in(cell: Any, documents: Documents) -> Any:
    """The ids in a cell: a list, a mapping to relevance, one id, or a text that holds one of these."""
    if cell is None:
        return []
    if isinstance(cell, str):
        if documents.id(cell.strip()) in documents.texts:
            return [cell.strip()]
        made = _literal(cell) if cell.strip()[:1] in "[{(" and cell.strip() else None
        if made is None:
            return [part for part in re.split(r"[,;|\s]+", cell.strip()) if part]
        cell = made
    if isinstance(cell, dict):
        return cell
    return list(cell) if isinstance(cell, list | tuple | set) else [cell]


def _twins(corpus: Mapping[str, str], reading: Reading) -> None:
    """Note how many documents repeat another's text; only hashes are held."""
    hashes = np.frombuffer(array("q", map(hash, filter(None, corpus.values()))), dtype=np.int64)
    repeated = len(hashes) - len(np.unique(hashes))
    if repeated:
        seen: dict[str, str] = {}
        for name, text in corpus.items():
            if text and seen.setdefault(text, name) != name:
                reading.note(
                    f"{repeated:,} documents repeat the text of another (the first: {name!r} that of {seen[text]!r}); "
                    "each text is encoded once, and such documents tie: only the judged one counts, and ties go by id."
                )
                return
