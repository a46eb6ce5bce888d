"""The course's own sets, written for it (CC BY 4.0), and any set by its name."""

from pathlib import Path

from helpers.data.dataset import Dataset, LongDocuments, Pairs, Retrieval
from helpers.data.formats import read_beir, read_pairs
from helpers.data.rows import jsonl_rows

DATASETS = Path(__file__).parent.parent / "datasets"


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
    rows = [row for _, row in jsonl_rows(DATASETS / "parallel.jsonl")]
    languages = [key for key in rows[0] if key not in ("_id", "group")]
    return {language: tuple(row[language] for row in rows) for language in languages}


def long_documents() -> LongDocuments:
    """The course's long documents: series of look-alikes, answers at their beginning, middle and end."""
    folder = DATASETS / "long_documents"
    found = read_beir(folder)
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
