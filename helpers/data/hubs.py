"""Data sets by name: `mteb:SciFact` through mteb, `hf:org/name@revision` through datasets; offline from caches."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from helpers.data import judged
from helpers.data.dataset import Dataset, Retrieval
from helpers.data.judged import Documents, Queries
from helpers.data.layouts import of_parts, of_splits
from helpers.data.names import Reading
from helpers.data.rows import Table, of_dataset
from helpers.errors import CourseError, OutOfReachError, nearest

KINDS = ("STS", "PairClassification", "Retrieval")
ENGLISH = ("default", "en", "en-en", "eng", "eng-eng", "eng-Latn", "english")


def read_mteb(name: str, reading: Reading) -> Dataset:
    """An mteb task: STS, pair classification or retrieval, at the revision that mteb pins.

    Args:
        name: of the task, with `/subset` where it has several and none is English.
        reading: takes what is to be said.

    Raises:
        CourseError: there is no such task, it is of another kind, or it can't be had.
    """
    try:
        import mteb
    except ImportError:
        raise CourseError('mteb is missing; install it with pip install "embedding-models-course[mteb]".') from None
    wanted, _, subset = name.partition("/")
    try:
        task: Any = mteb.get_task(wanted)
    except (KeyError, ValueError):
        known = sorted(found.metadata.name for found in mteb.get_tasks(task_types=cast(Any, list(KINDS))))
        raise CourseError(f"mteb has no task {wanted!r}.{nearest(wanted, known)}") from None
    kind, revision = task.metadata.type, task.metadata.dataset["revision"]
    if kind not in KINDS:
        raise CourseError(f"mteb:{wanted} is a task of kind {kind}; models are judged here on {', '.join(KINDS)}.")
    try:
        task.load_data()
    except Exception as error:  # a hub's failures have no common class
        raise OutOfReachError(_out_of_reach(f"mteb:{wanted}", error)) from None
    found = f"mteb:{wanted}@{revision}"
    place = Path(found)
    split = "test" if "test" in task.metadata.eval_splits else task.metadata.eval_splits[0]
    if len(task.metadata.eval_splits) > 1 or split != "test":
        reading.note(f"mteb:{wanted}: judged on the split {split!r}.")
    if kind == "Retrieval":
        return Dataset(found, retrieval=_mteb_retrieval(task, subset, split, place, reading))
    rows = task.dataset
    if split not in rows:
        rows = rows[_subset(rows, subset, wanted)]
    columns = {plain: getattr(task, f"{side}_column_name", plain) for plain, side in _sides(task)}
    return of_splits(found, place, {split: _flat(rows[split], columns)}, reading)


def read_hub(name: str, reading: Reading) -> Dataset:
    """A data set of the Hugging Face hub: `org/name`, with `/config` and `@revision` where wanted.

    Raises:
        CourseError: it can't be had, or isn't understood.
    """
    import datasets

    address, _, revision = name.partition("@")
    parts = address.split("/")
    if not 1 <= len(parts) <= 3 or not all(parts):
        raise CourseError(f"hf:{name}: write hf:org/name, with /config and @revision where wanted.")
    repository, config = "/".join(parts[:2]), parts[2] if len(parts) == 3 else None
    try:
        configs = datasets.get_dataset_config_names(repository, revision=revision or None)
        beir = config is None and {"corpus", "queries"} <= set(configs)
        if config is None and not beir and len(configs) > 1 and "default" not in configs:
            raise CourseError(
                f"hf:{repository} has several parts; name one: hf:{repository}/{configs[0]}, ... {configs}"
            )
        wanted = [c for c in ("corpus", "queries", "qrels", "default") if c in configs] if beir else [config]
        loaded = {c: datasets.load_dataset(repository, c, revision=revision or None) for c in wanted}
    except CourseError:
        raise
    except Exception as error:  # a hub's failures have no common class
        raise OutOfReachError(_out_of_reach(f"hf:{name}", error)) from None
    if len(revision) != 40:
        revision = _revision(loaded) or revision
        if not revision:
            reading.note(
                f"hf:{repository}: its revision isn't known; name one with @ for a report that others can repeat."
            )
    found = f"hf:{address}" + (f"@{revision}" if revision else "")
    place = Path(found)
    if not beir:
        return of_splits(found, place, loaded[config], reading)
    one = {c: next(iter(loaded[c].values())) for c in ("corpus", "queries")}
    rest = loaded.get("qrels") or loaded.get("default") or {}
    return Dataset(found, retrieval=of_parts(place, one, rest, reading))


def _mteb_retrieval(task: Any, subset: str, split: str, place: Path, reading: Reading) -> Retrieval:
    if not task.dataset and hasattr(task, "convert_v1_dataset_format_to_v2"):
        task.convert_v1_dataset_format_to_v2()
    held = task.dataset[_subset(task.dataset, subset, task.metadata.name)]
    held = held[split] if split in held else held[next(iter(held))]
    queries, documents = Queries(str(place / "queries")), Documents(str(place / "corpus"))
    judged.queries_of(of_dataset(place / "queries", held["queries"]), reading, queries)
    corpus = of_dataset(place / "corpus", held["corpus"])
    judged.note_empty(*judged.documents_of(corpus, reading, documents, queries.texts), reading, documents)
    rows = [
        (count, {"query-id": query, "corpus-id": document, "score": relevance})
        for count, (query, document, relevance) in enumerate(
            ((q, d, r) for q, found in held["relevant_docs"].items() for d, r in found.items()), start=1
        )
    ]
    table = Table(place / "qrels", judged.BEIR_COLUMNS, "row", lambda: iter(rows))
    return judged.assembled(
        queries, documents, judged.qrels_of(table, reading, queries, documents), reading, str(table.path)
    )


def _subset(held: Mapping[str, Any], wanted: str, task: str) -> str:
    if wanted:
        if wanted in held:
            return wanted
        raise CourseError(f"mteb:{task} has no subset {wanted!r}; it has {', '.join(held)}.")
    found = next((name for name in ENGLISH if name in held), None)
    if found is None and len(held) == 1:
        found = next(iter(held))
    if found is None:
        raise CourseError(
            f"mteb:{task} has the subsets {', '.join(held)}; name one, as in mteb:{task}/{next(iter(held))}."
        )
    return found


def _sides(task: Any) -> list[tuple[str, str]]:
    gold = "score" if task.metadata.type == "STS" else "label"
    return [("sentence1", "input1"), ("sentence2", "input2"), (gold, "label")]


def _flat(rows: Any, columns: Mapping[str, str]) -> Any:
    """A split with the course's column names; old pair classification keeps all its pairs in the lists of one row."""
    import datasets

    names = {ours: theirs if theirs in rows.column_names else ours for ours, theirs in columns.items()}
    if "labels" in rows.column_names and names.get("label") not in rows.column_names:
        names["label"] = "labels"
    chosen = {ours: list(rows[theirs]) for ours, theirs in names.items() if theirs in rows.column_names}
    if len(rows) == 1 and all(isinstance(value[0], list) for value in chosen.values()):
        chosen = {ours: value[0] for ours, value in chosen.items()}
    return datasets.Dataset.from_dict(chosen)


def _revision(loaded: Mapping[Any, Any]) -> str | None:
    """The revision in the addresses that `datasets` noted as it loaded."""
    for splits in loaded.values():
        for rows in splits.values():
            for address in getattr(rows.info, "download_checksums", None) or {}:
                if found := re.search(r"@([0-9a-f]{40})", address):
                    return found[1]
    return None


def _out_of_reach(name: str, error: Exception) -> str:
    said = " ".join(str(error).split())[:300] or type(error).__name__
    return (
        f"{name} can't be had: {said}. Check the name and the network; what was loaded before is read from the cache."
    )
