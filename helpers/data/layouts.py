"""Which layout a path has: a table of pairs, of positives, of texts alone; a folder in parts, in shards, by splits."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from helpers.data import judged, names
from helpers.data.characters import must_exist, suffix_of
from helpers.data.dataset import Dataset, Retrieval
from helpers.data.judged import Documents, Queries
from helpers.data.labelled import pairs_of, text_of, triples_of
from helpers.data.names import Reading, plain
from helpers.data.rows import (
    SUFFIXES,
    Table,
    joined,
    json_object,
    of_dataset,
    open_table,
    rows_of,
    saved,
    starts_as_object,
)
from helpers.errors import CourseError

PARTS = {
    "corpus": ("corpus", "collection", "documents", "docs", "passages", "document"),
    "queries": ("queries", "query", "questions", "topics"),
    "qrels": ("qrels", "qrel", "relevance", "judgements", "judgments"),
}
SPLITS = {"test": "test", "dev": "dev", "validation": "dev", "valid": "dev", "val": "dev", "train": "train"}
PROSE = (".txt", ".md")
JSON_KEYS = {"relevantdocs": "qrels", "relevantdocuments": "qrels"} | {
    name: part for part, known in PARTS.items() for name in known
}


def read_path(path: Path, reading: Reading) -> Dataset:
    """A data set from a file or a folder; see the package's README section for what is understood.

    Raises:
        CourseError: names the file, the row and the mend.
    """
    must_exist(path)
    if path.is_dir():
        return read_folder(path, reading)
    if suffix_of(path) not in SUFFIXES:
        raise CourseError(
            f"{path}: pairs are read from .csv, .tsv or .jsonl, .json, .parquet (or these and .gz); "
            "rename or convert the file."
        )
    name = path.with_suffix("").stem if path.suffix.lower() == ".gz" else path.stem
    if suffix_of(path) == ".json" and (found := _in_one_json(path, reading)) is not None:
        return Dataset(name, retrieval=found)
    return read_table(name, open_table(path, reading.encoding), reading)


def read_table(name: str, table: Table, reading: Reading) -> Dataset:
    """A data set from one table: what it is follows from its columns.

    Raises:
        CourseError: names the file, the row and the mend.
    """
    reading.note(*table.notes)
    pair = names.pair(table, reading)
    labelled = any(names.find(table, role, reading) for role in ("label", "score"))
    if pair and (labelled or plain(pair[0]) != "anchor"):
        return Dataset(name, pairs=pairs_of(table, reading))
    query, positive = names.find(table, "query", reading), names.find(table, "positive", reading)
    if query and positive:
        return Dataset(name, triples_of(table, reading), judged.rows_of_positives(table, reading))
    if query and names.relevant_ids(table, reading):
        raise CourseError(
            f"{table.path}: it names relevant documents by id, but the documents aren't there; put it into a folder as "
            f"queries{suffix_of(table.path)}, beside them as corpus.jsonl or as .txt files."
        )
    text = names.find(table, "text", reading)
    if query and text and labelled:
        both = {"sentence1": query, "sentence2": text}
        told = Reading({**reading.columns, **both}, reading.encoding, reading.notes)
        return Dataset(name, pairs=pairs_of(table, told))
    if text and not any(plain(column).endswith(("1", "2")) for column in table.columns):
        return Dataset(name, alone=_alone(table, text, reading))
    return Dataset(name, pairs=pairs_of(table, reading))


def read_folder(folder: Path, reading: Reading) -> Dataset:
    """A data set from a folder: a retrieval set in parts, shards or splits of one table, texts, or an Arrow data set.

    Raises:
        CourseError: names the file, the row and the mend.
    """
    if any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
        return _arrow(folder, reading)
    if any(_part(entry) in ("corpus", "queries", "qrels") for entry in folder.iterdir() if not _hidden(entry)):
        return Dataset(folder.name, retrieval=read_parts(folder, reading))
    files = [f for f in sorted(folder.rglob("*")) if f.is_file() and not _hidden(f, folder)]
    tables = [f for f in files if suffix_of(f) in SUFFIXES and suffix_of(f) not in PROSE and "info" not in f.stem]
    if tables:
        chosen = choose_split(tables, folder, reading)
        table = joined([open_table(file, reading.encoding) for file in chosen])
        return read_table(folder.name, table, reading)
    prose = _prose(files, folder)
    if not prose:
        raise CourseError(f"{folder} holds no table and no text; it needs corpus.jsonl, queries.jsonl and qrels.tsv.")
    made = Documents(str(folder))
    judged.note_empty(*judged.text_documents(folder, prose, reading, made), reading, made)
    return Dataset(folder.name, alone=_enough(folder, tuple(text for text in made.texts.values() if text), reading))


def read_parts(folder: Path, reading: Reading) -> Retrieval:
    """A retrieval set from a folder with a corpus, queries, and judgements or relevant ids beside the queries.

    Raises:
        CourseError: names the file, the row and the mend.
    """
    if not folder.is_dir():
        must_exist(folder)
        raise CourseError(f"{folder} is a file; name the folder that holds it.")
    parts = {part: _files_of(folder, part) for part in PARTS}
    prose = _prose([f for f in sorted(folder.rglob("*")) if f.is_file() and not _hidden(f, folder)], folder)
    if not parts["qrels"] and parts["queries"] and parts["corpus"]:
        parts["qrels"] = [f for name in ("default", "data") for f in _tables(folder / name)]
    if not parts["corpus"] and not prose:
        raise CourseError(f"{folder / 'corpus.jsonl'} doesn't exist; a retrieval set needs its documents.")
    if not parts["queries"]:
        raise CourseError(f"{folder / 'queries.jsonl'} doesn't exist; a retrieval set needs its queries.")
    qrels_files = choose_split(parts["qrels"], folder, reading) if parts["qrels"] else []
    split = _split(qrels_files[0]) if qrels_files else None
    queries = Queries(parts["queries"][0].name)
    for file in _of_split(parts["queries"], split, folder, reading):
        judged.queries_of(judged.part_table(file, "queries", reading), reading, queries)
    if not qrels_files and not queries.inline:
        raise CourseError(f"{folder} has neither qrels.tsv nor qrels/test.tsv; add the relevance judgements.")
    documents = Documents(parts["corpus"][0].name if parts["corpus"] else str(folder))
    empty, first = 0, ""
    for file in parts["corpus"]:
        count, place = judged.documents_of(
            judged.part_table(file, "corpus", reading), reading, documents, queries.texts
        )
        empty, first = empty + count, first or place
    if not parts["corpus"]:
        root = next((folder / name for name in PARTS["corpus"] if (folder / name).is_dir()), folder)
        inside = [file for file in prose if file.is_relative_to(root)]
        empty, first = judged.text_documents(root, inside, reading, documents)
    judged.note_empty(empty, first, reading, documents)
    qrels: dict[str, dict[str, int]] = {}
    for file in qrels_files:
        table = judged.trec_table(file, reading.encoding) or _qrels_table(file, reading)
        for query, found in judged.qrels_of(table, reading, queries, documents).items():
            qrels.setdefault(query, {}).update(found)
    if not qrels_files:
        qrels = judged.inline_qrels(queries, documents)
    source = qrels_files[0] if qrels_files else parts["queries"][0]
    return judged.assembled(queries, documents, qrels, reading, str(source))


def choose_split(files: Sequence[Path], folder: Path, reading: Reading) -> list[Path]:
    """The files to judge on: those of the test split, else of dev, else the only ones; said where that isn't plain.

    Raises:
        CourseError: there are several files and no split among them is test or dev.
    """
    groups: dict[str | None, list[Path]] = {}
    for file in files:
        groups.setdefault(_split(file), []).append(file)
    for split in ("test", "dev"):
        if split in groups:
            if len(groups) > 1 or split != "test":
                reading.note(f"{folder.name}: judged on the split {split!r}; the others are passed over.")
            return groups[split]
    if len(groups) > 1:
        groups = {split: found for split, found in groups.items() if split != "train"}
    if len(groups) > 1:
        raise CourseError(
            f"{folder} has the splits {', '.join(str(split) for split in groups)}; name the file to judge on."
        )
    [(only, found)] = groups.items()
    if only == "train":
        reading.note(f"{folder.name}: judged on the split 'train', the only one.")
    return found


def _of_split(files: Sequence[Path], split: str | None, folder: Path, reading: Reading) -> Sequence[Path]:
    """The files of a split where files are named by splits; else all of them."""
    if len(files) < 2 or len({_split(file) for file in files}) < 2:
        return files
    same = [file for file in files if _split(file) == split]
    return same or choose_split(files, folder, reading)


def _split(file: Path) -> str | None:
    for name in (file.name, file.parent.name):
        for token in re.split(r"[^a-z0-9]+", name.lower()):
            if token in SPLITS:
                return SPLITS[token]
    return None


def _part(entry: Path) -> str | None:
    """Which part of a retrieval set a file or folder is, by its name."""
    if entry.is_file() and suffix_of(entry) not in (*SUFFIXES, ".qrels", ".trec"):
        return None
    first = re.split(r"[^a-z]+", entry.name.lower(), maxsplit=1)[0]
    return next((part for part, known in PARTS.items() if first in known), None)


def _files_of(folder: Path, part: str) -> list[Path]:
    """The files of a part: tables at the top, or else in a folder of its name."""
    entries = [entry for entry in sorted(folder.iterdir()) if not _hidden(entry) and _part(entry) == part]
    files = [
        e
        for e in entries
        if (e / "state.json").is_file() or (e.is_file() and (part == "qrels" or suffix_of(e) not in PROSE))
    ]
    named = [file for file in files if re.split(r"\.", file.name.lower())[0] == part]
    if part != "qrels" and len(named) == 1:  # corpus.jsonl beside documents.csv: BEIR's own name is meant
        return named
    if part == "qrels" and (plain_one := [f for f in named if f.stem.lower() == "qrels"]):
        return plain_one[:1]
    return files or [file for entry in entries if entry.is_dir() for file in _tables(entry, part == "qrels")]


def _tables(folder: Path, prose: bool = False) -> list[Path]:
    if not folder.is_dir():
        return []
    files = sorted(file for file in folder.rglob("*") if file.is_file() and not _hidden(file, folder))
    return [f for f in files if suffix_of(f) in SUFFIXES and (prose or suffix_of(f) not in PROSE)]


def _prose(files: Iterable[Path], folder: Path) -> list[Path]:
    """The .txt and .md files that are documents; a README at the top isn't one, nor are judgements."""
    return [
        file
        for file in files
        if file.suffix.lower() in PROSE
        and not (file.parent == folder and (file.stem.lower() == "readme" or _part(file)))
        and "qrels" not in file.parent.name
    ]


def _hidden(entry: Path, folder: Path | None = None) -> bool:
    inner = entry.relative_to(folder).parts if folder else (entry.name,)
    return any(name.startswith((".", "_")) for name in inner)


def _qrels_table(file: Path, reading: Reading) -> Table:
    if suffix_of(file) not in SUFFIXES or suffix_of(file) == ".txt":
        raise CourseError(f"{file}: TREC's judgements have four columns: query, 0, document, relevance.")
    return open_table(file, reading.encoding)


def _alone(table: Table, column: str, reading: Reading) -> tuple[str, ...]:
    names.understood(reading, table, {"the text": column})
    return _enough(table.path, tuple(text_of(table, line, row.get(column), column) for line, row in table), reading)


def _enough(path: Path, texts: tuple[str, ...], reading: Reading) -> tuple[str, ...]:
    if len(texts) < 2:
        raise CourseError(f"{path} has {len(texts)} texts; there must be two or more.")
    reading.note(
        f"{path.name}: {len(texts):,} texts without labels: models are compared in speed and in how far they agree, "
        "not in quality. For that, add a few hundred pairs with a label, or 50 queries with their relevant documents."
    )
    return texts


def _in_one_json(path: Path, reading: Reading) -> Retrieval | None:
    """The retrieval set in a JSON file with queries, corpus and relevant_docs; None where it holds something else."""
    if not starts_as_object(path, reading.encoding):
        return None
    made = json_object(path, reading.encoding)
    parts = {JSON_KEYS[plain(key)]: value for key, value in made.items() if plain(key) in JSON_KEYS}
    if not {"queries", "corpus"} <= parts.keys():
        return None
    asked, held = (_records(path, parts[part], part) for part in ("queries", "corpus"))
    queries, documents = Queries(f"{path.name} (queries)"), Documents(f"{path.name} (corpus)")
    judged.queries_of(asked, reading, queries)
    judged.note_empty(*judged.documents_of(held, reading, documents, queries.texts), reading, documents)
    relevant = parts.get("qrels")
    if isinstance(relevant, Mapping):
        for query, cell in relevant.items():
            if query not in queries.texts:
                raise CourseError(
                    f"{path}: relevant_docs names query {query!r}, which isn't among the queries; add it."
                )
            queries.inline[query] = (f"{path}, relevant_docs of query {query!r}", cell)
        qrels = judged.inline_qrels(queries, documents)
    elif isinstance(relevant, list):
        table = rows_of(path, {"qrels": relevant})
        qrels = judged.qrels_of(table, reading, queries, documents)
    elif queries.inline:
        qrels = judged.inline_qrels(queries, documents)
    else:
        raise CourseError(f"{path} has no relevant_docs; add them as query id -> list of document ids.")
    return judged.assembled(queries, documents, qrels, reading, f"{path} (relevant_docs)")


def _records(path: Path, value: Any, part: str) -> Table:
    if isinstance(value, Mapping):
        value = [
            {**entry, "_id": name} if isinstance(entry, Mapping) else {"_id": name, "text": entry}
            for name, entry in value.items()
        ]
    if not isinstance(value, list) or not value:
        raise CourseError(f"{path}: {part} is empty or no mapping of ids to texts; write id -> text.")
    return rows_of(path / part, {part: value})


def _arrow(folder: Path, reading: Reading) -> Dataset:
    """A folder that `datasets` saved."""
    found = saved(folder)
    if isinstance(found, dict):
        return of_splits(folder.name, folder, found, reading)
    return read_table(folder.name, of_dataset(folder, found), reading)


def of_splits(name: str, place: Path, splits: Mapping[str, Any], reading: Reading) -> Dataset:
    """A data set from a mapping of splits, or of the parts of a retrieval set, to `datasets.Dataset`."""
    parts = {part: value for key, value in splits.items() if (part := _part_name(key))}
    if {"corpus", "queries"} <= parts.keys():
        rest = {str(key): value for key, value in splits.items() if not _part_name(key)}
        return Dataset(name, retrieval=of_parts(place, parts, rest, reading))
    [chosen] = choose_split([place / split for split in splits], place, reading)
    return read_table(name, of_dataset(chosen, splits[chosen.name]), reading)


def of_parts(place: Path, parts: Mapping[str, Any], rest: Mapping[str, Any], reading: Reading) -> Retrieval:
    """A retrieval set from `datasets.Dataset`s: corpus, queries, and qrels (or the split that holds them)."""
    queries, documents = Queries(str(place / "queries")), Documents(str(place / "corpus"))
    judged.queries_of(of_dataset(place / "queries", parts["queries"]), reading, queries)
    corpus = of_dataset(place / "corpus", parts["corpus"])
    judged.note_empty(*judged.documents_of(corpus, reading, documents, queries.texts), reading, documents)
    if "qrels" in parts:
        chosen, rows = place / "qrels", parts["qrels"]
    elif rest:
        [chosen] = choose_split([place / split for split in rest], place, reading)
        rows = rest[chosen.name]
    else:
        qrels = judged.inline_qrels(queries, documents)
        return judged.assembled(queries, documents, qrels, reading, str(place / "queries"))
    qrels = judged.qrels_of(of_dataset(chosen, rows), reading, queries, documents)
    return judged.assembled(queries, documents, qrels, reading, str(chosen))


def _part_name(key: str) -> str | None:
    return next((part for part, known in PARTS.items() if key.lower() in known), None)
