"""The course's own sets, written for it (CC BY 4.0), and any set by its name."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from helpers.data.dataset import Dataset, LongDocuments, Pairs, Retrieval
from helpers.data.drawn import limited
from helpers.data.labelled import read_pairs, say
from helpers.data.layouts import read_parts, read_path
from helpers.data.mined import docstrings
from helpers.data.names import Reading, mapping
from helpers.data.rows import jsonl_rows
from helpers.data.structured import read_pairs_from
from helpers.errors import CourseError

DATASETS = Path(__file__).parent.parent / "datasets"


def pairs() -> Pairs:
    """The course's labelled pairs: six domains, similar and dissimilar, hard negatives among them."""
    return read_pairs(DATASETS / "pairs.csv")


def retrieval(kind: str = "words") -> Retrieval:
    """The course's retrieval set: passages with near-duplicates, queries, relevance judgements.

    Args:
        kind: "words", queries that avoid their passages' words; or "codes", queries with a code, a name or a part
            number, over the same passages and some more that hold such. What a model does on one says little of the
            other, so they are never pooled.

    Raises:
        CourseError: there is no such kind.
    """
    if kind == "words":
        return read_beir(DATASETS / "retrieval")
    if kind != "codes":
        raise CourseError(f"kind is {kind!r}; it can be words or codes.")
    words, codes = read_beir(DATASETS / "retrieval"), read_beir(DATASETS / "retrieval_codes")
    return Retrieval(words.corpus | codes.corpus, codes.queries, codes.qrels)


def parallel() -> dict[str, tuple[str, ...]]:
    """The course's parallel sentences: language code to sentences, the same one at the same place in each.

    They come in threes that share a subject and differ in the detail that matters.
    """
    rows = [row for _, row in jsonl_rows(DATASETS / "parallel.jsonl")]
    languages = [key for key in rows[0] if key not in ("_id", "group")]
    return {language: tuple(row[language] for row in rows) for language in languages}


def long_documents() -> LongDocuments:
    """The course's long documents: series of look-alikes, answers at their beginning, middle and end."""
    folder = DATASETS / "long_documents"
    found = read_parts(folder, Reading({}, None))  # the same, without saying how it was understood
    rows = {row["_id"]: row for _, row in jsonl_rows(folder / "queries.jsonl")}
    return LongDocuments(
        found.corpus,
        found.queries,
        found.qrels,
        answers={query: rows[query]["answer"] for query in found.queries},
        where={query: rows[query]["where"] for query in found.queries},
    )


def texts() -> tuple[str, ...]:
    """The course's unlabelled texts of mixed genre and length, disjoint from `pairs` and `retrieval`."""
    return tuple(row["text"] for _, row in jsonl_rows(DATASETS / "texts.jsonl"))


def read(
    source: str | Path,
    *,
    columns: Mapping[str, str] | str | None = None,
    encoding: str | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Dataset:
    """The course's data, a published set by name, or the reader's own; what was understood is printed, a line each.

    Args:
        source: "course", "codes" or "docstrings"; "mteb:SciFact"; "hf:org/name@revision"; a file (CSV, TSV, JSONL,
            JSON, Parquet, a text a line; each also .gz); or a folder (BEIR, MS MARCO, TREC, shards, splits, texts).
            "pairs-from:" before a path makes a search of texts without labels, their titles asking for them.
        columns: role -> column, where the names are none of the usual ones; see `names.ROLES`. Also as a text:
            "query=frage, text=inhalt".
        encoding: of text files that are neither UTF-8 nor UTF-16 with its mark.
        limit: at most so many pairs, documents and texts, drawn by `seed`; judged documents are kept.
        seed: of the draw.

    Raises:
        CourseError: there is no such set, or something in it is wrong; names the file, the row and the mend.
    """
    reading = Reading(mapping(columns), encoding)
    found = _read(str(source), reading)
    found = replace(found, notes=tuple(reading.notes))
    if limit is not None:
        found = limited(found, limit, seed)
    for sentence in found.notes:
        print(sentence)
    return found


def _read(source: str, reading: Reading) -> Dataset:
    if source == "course":
        return Dataset("course", pairs(), retrieval())
    if source in ("codes", "retrieval_codes"):
        return Dataset("codes", retrieval=retrieval("codes"))
    if source.partition(":")[0] == "docstrings":
        return Dataset(source, retrieval=docstrings(source.partition(":")[2] or "test"))
    scheme, _, name = source.partition(":")
    if name and scheme == "pairs-from":
        return read_pairs_from(name, reading)
    if name and scheme in ("mteb", "hf"):
        from helpers.data import hubs

        return (hubs.read_mteb if scheme == "mteb" else hubs.read_hub)(name, reading)
    return read_path(Path(source).expanduser(), reading)


def read_beir(
    folder: str | Path, *, columns: Mapping[str, str] | str | None = None, encoding: str | None = None
) -> Retrieval:
    """Read a retrieval set from a folder, such as BEIR's: corpus.jsonl, queries.jsonl, qrels.tsv (or qrels/test.tsv).

    Queries without a judgement are left out, as BEIR does (its queries.jsonl holds every split); those that are
    judged only 0 stay and score 0, as in BEIR. Documents may be empty, and judged ones may be missing: they count as
    never found.

    Args:
        folder: of the set.
        columns: role -> column, for names that aren't usual; see `names.ROLES`.
        encoding: of text files that are neither UTF-8 nor UTF-16 with its mark.

    Raises:
        CourseError: names the file, the line and the mend.
    """
    reading = Reading(mapping(columns), encoding)
    found = read_parts(Path(folder).expanduser(), reading)
    say(reading)
    return found
