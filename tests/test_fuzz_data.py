"""Own data, fuzzed: whatever is drawn is read as what it is, or refused in one sentence that names the file.

| kind | strategy |
|---|---|
| tables of pairs | `tables`: quotes, separators, line breaks, any script; each dialect, suffix and encoding, .gz |
| Parquet, shards, splits, a folder that `datasets` saved | `tables` |
| names | `tables`: each pair of usual names, in any case, with blanks and underscores; any name, with `columns` |
| names in retrieval sets | `sets`: those of ids, texts, queries and relevant ids |
| labels and scores | `tables`: 0 and 1, true and false, yes and no; decimal points and commas |
| retrieval layouts | `sets`: BEIR, TREC (blanks, tabs), TSV without header, .txt documents, one JSON, several splits |
| relevant ids inline | `sets`: as list, mapping, JSON as text, text with commas |
| rows of query, positive and negatives | `positives` |
| published sets | `sets`: empty documents, judgements outside, judged 0, queries that are documents |
| texts alone | `alone` |
| broken files | `broken`: bytes cut, swapped, put in; any JSON; NUL, surrogates; under another suffix |
| by name (mteb, hf) | not fuzzed, since they come from a hub; `test_hub_data.py` |

`pytest tests/test_fuzz_data.py --hypothesis-profile=long` takes up to ten minutes; without it half a minute.
"""

import contextlib
import gzip
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from helpers import data
from helpers.data import characters, judged, labelled, names, rows
from helpers.data.dataset import Retrieval
from helpers.errors import CourseError

datasets.disable_progress_bars()
FAST = settings(deadline=None, suppress_health_check=list(HealthCheck))
TEXT = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Cf", "Zl", "Zp"), exclude_characters=characters.BLANKS),
    min_size=1,
    max_size=12,
).map(lambda text: f"w {text}")
IDS = st.text("abcxyz0123456789-", min_size=1, max_size=5)


def written(content: dict[str, str | bytes], read: Callable[[Path], Any]) -> Any:
    """Write files into a folder of their own and read it (or the only file), without a word."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        for name, text in content.items():
            path = Path(folder) / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read(path if len(content) == 1 else Path(folder) / "set")


def quoted(cells: list[str], separator: str) -> str:
    return separator.join('"' + cell.replace('"', '""') + '"' for cell in cells)


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, str | bytes], list[tuple[str, str]], list[float], dict[str, str]]:
    """A file of pairs, the pairs in it, their gold values, and what `columns` must say."""
    extra = st.sampled_from(["", ',"', ";", "\n", "'", "é–", "日本", "\U0001f600"])
    cell = st.tuples(TEXT, extra, TEXT).map("".join)
    made = draw(st.lists(st.tuples(cell, cell), min_size=2, max_size=5))
    suffix = draw(st.sampled_from(["csv", "tsv", "jsonl", "json", "parquet", "arrow", "shards", "splits"]))
    separator = {"tsv": "\t"}.get(suffix) or draw(st.sampled_from(",;\t"))
    graded = draw(st.booleans())
    gold = [0.0, 1.0, *(draw(st.sampled_from([0.0, 0.5, 1.0] if graded else [0.0, 1.0])) for _ in made[2:])]
    spelt = draw(st.sampled_from([("0", "1"), ("false", "TRUE"), ("No", "yes")]))
    point = "," if separator == ";" and draw(st.booleans()) else "."
    cells = [str(v).replace(".", point) if graded else spelt[int(v)] for v in gold]
    one, two = draw(st.sampled_from(names.PAIRS))
    style = draw(st.sampled_from([str, str.upper, str.title, lambda n: f" {n} ", lambda n: n[:-1] + "_" + n[-1]]))
    header, columns = [style(one), style(two), "score" if graded else "label"], {}
    if draw(st.integers(0, 3)) == 0:
        names_ = draw(st.lists(TEXT, min_size=3, max_size=3, unique_by=names.plain))
        columns = dict(zip(("sentence1", "sentence2", header[2]), map(str.strip, names_), strict=True))
        header = list(columns.values())
    if suffix in ("parquet", "arrow", "shards", "splits"):
        values = dict(zip(header, (*zip(*made, strict=True), gold), strict=True))
        return _of_arrow(suffix, pa.table({name: list(column) for name, column in values.items()})), made, gold, columns
    if suffix == "tsv":
        made = [(a.replace("\n", " ").replace("\t", " "), b.replace("\n", " ").replace("\t", " ")) for a, b in made]
        text = "\n".join("\t".join(r) for r in [header, *([*p, g] for p, g in zip(made, cells, strict=True))])
    elif suffix == "csv":
        body = [quoted([*p, g], separator) for p, g in zip(made, cells, strict=True)]
        text = "\n".join([quoted(header, separator) if columns else separator.join(header), *body])
    else:
        objects = [dict(zip(header, (*p, g), strict=True)) for p, g in zip(made, gold, strict=True)]
        text = json.dumps(objects) if suffix == "json" else "\n\n".join(map(json.dumps, objects))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]))
    try:
        raw = text.encode(encoding)
    except UnicodeEncodeError:
        raw = text.encode()
    if encoding == "cp1252":
        with contextlib.suppress(UnicodeDecodeError):
            raw.decode()
            raw = text.encode()  # also right as UTF-8, and then meant so
    if draw(st.booleans()):
        return {f"m.{suffix}.gz": gzip.compress(raw)}, made, gold, columns
    return {f"m.{suffix}": raw}, made, gold, columns


def _of_arrow(kind: str, table: pa.Table) -> dict[str, str | bytes]:
    def parquet(part: pa.Table) -> bytes:
        written = io.BytesIO()
        pq.write_table(part, written)
        return written.getvalue()

    if kind == "parquet":
        return {"m.parquet": parquet(table)}
    if kind == "shards":
        return {f"test-{n}-of-2.parquet": parquet(part) for n, part in enumerate((table[:1], table[1:]))}
    if kind == "splits":
        return {"train.parquet": parquet(table[:1]), "test.parquet": parquet(table)}
    with tempfile.TemporaryDirectory() as folder:
        datasets.Dataset(table).save_to_disk(folder)
        return {file.name: file.read_bytes() for file in Path(folder).iterdir()}


def right_table(case: tuple[dict[str, str | bytes], list[tuple[str, str]], list[float], dict[str, str]]) -> None:
    content, made, gold, columns = case
    found = written(content, lambda path: data.read(path, columns=columns)).pairs
    assert found is not None
    assert list(zip(found.sentence1, found.sentence2, strict=True)) == made
    assert found.gold.tolist() == gold


@st.composite
def sets(draw: st.DrawFn) -> tuple[dict[str, str | bytes], dict[str, str], dict[str, dict[str, int]], frozenset[str]]:
    """Files of a retrieval set, its corpus, its judgements, and the queries that are their own documents."""
    ids = draw(st.lists(IDS, min_size=2, max_size=5, unique=True))
    corpus = {name: draw(st.one_of(TEXT, TEXT, st.just(""))) for name in ids}
    corpus[ids[0]] = draw(TEXT)
    asked = draw(st.lists(IDS | st.sampled_from(ids), min_size=1, max_size=4, unique=True))
    queries = {name: corpus[name] if corpus.get(name) and draw(st.booleans()) else draw(TEXT) for name in asked}
    outside = "outside-the-corpus"
    qrels = {q: {draw(st.sampled_from([*ids, outside])): draw(st.sampled_from([0, 1, 2]))} for q in asked}
    qrels[asked[0]] = {ids[0]: 1}
    own = frozenset(q for q in asked if q in corpus and queries[q].strip() == corpus[q].strip() and q not in qrels[q])
    identity, body, asks, ids_in = (
        draw(st.sampled_from(usual))
        for usual in (
            ("_id", "id", "docid", "doc_id", "pid"),
            ("text", "contents", "passage", "content"),
            ("query", "question", "user_input", "text"),
            ("expected_ids", "gold", "relevant_doc_ids", "positive_ids", "relevant_ids"),
        )
    )
    documents = [{identity: i, body: t} for i, t in corpus.items()]
    forms: list[Callable[[Any], Any]] = [dict, list, lambda found: json.dumps(list(found)), ", ".join]
    spelt = {q: draw(st.sampled_from(forms))(found) for q, found in qrels.items()}
    inline = [{"_id": q, asks: t, ids_in: spelt[q]} for q, t in queries.items()]
    lines = "\n".join(map(json.dumps, documents))
    triples = [(q, d, r) for q, found in qrels.items() for d, r in found.items()]
    content: dict[str, str | bytes] = {
        "corpus.jsonl": lines,
        "queries.jsonl": "\n".join(json.dumps({"_id": q, asks: t}) for q, t in queries.items()),
    }
    layout = draw(
        st.sampled_from(["beir", "trec", "trec with tabs", "headless", "inline", "json", "texts", "splits", "parquet"])
    )
    if layout == "json":
        return (
            {"m.json": json.dumps({"queries": queries, "corpus": corpus, "relevant_docs": qrels})},
            corpus,
            qrels,
            own,
        )
    if layout == "inline":
        content["queries.jsonl"] = "\n".join(map(json.dumps, inline))
        qrels = {q: found if isinstance(spelt[q], dict) else dict.fromkeys(found, 1) for q, found in qrels.items()}
        own = frozenset(q for q in own if q not in qrels[q])
    elif layout.startswith("trec"):
        gap = "\t" if "tabs" in layout else " "
        content["qrels.tsv"] = "".join(gap.join((q, "0", d, str(r))) + "\n" for q, d, r in triples)
    else:
        rows_ = "".join(f"{q}\t{d}\t{r}.0\n" for q, d, r in triples)
        content["qrels.tsv"] = "query-id\tcorpus-id\tscore\n" + rows_
    if layout == "headless":
        del content["queries.jsonl"]
        content["queries.tsv"] = "".join(f"{q}\t{t}\n" for q, t in queries.items())
    elif layout == "texts":
        del content["corpus.jsonl"]
        content |= {f"documents/{name}.txt": text for name, text in corpus.items()}
    elif layout == "splits":
        content["qrels/test.tsv"] = content.pop("qrels.tsv")
        content["qrels/train.tsv"] = "query-id\tcorpus-id\tscore\nnobody\tnothing\t1\n"
    elif layout == "parquet":
        del content["corpus.jsonl"]
        content |= {f"corpus{n}": c for n, c in _of_arrow("parquet", pa.Table.from_pylist(documents)).items()}
        content = {name.replace("corpusm", "corpus"): c for name, c in content.items()}
    return content, corpus, qrels, own


def right_set(case: Any) -> None:
    content, corpus, qrels, own = case
    found = written(content, data.read).retrieval
    assert found is not None
    assert found.corpus == corpus
    assert found.qrels == qrels
    assert found.own_documents == own


@st.composite
def positives(draw: st.DrawFn) -> tuple[dict[str, str | bytes], list[tuple[str, list[str], list[str]]]]:
    """Rows of a query, its positives and its negatives."""
    pool = draw(st.lists(TEXT, min_size=3, max_size=8, unique=True))
    some = st.lists(st.sampled_from(pool), min_size=1, max_size=3, unique=True)
    made = draw(st.lists(st.tuples(TEXT, some, some), min_size=2, max_size=4))
    made[0] = (made[0][0], pool[:1], pool[1:2])
    header = draw(st.sampled_from([("query", "positive", "negatives"), ("anchor", "positive", "negative")]))
    if single := draw(st.booleans()):
        made = [(q, p[:1], n[:1]) for q, p, n in made]
    rows_ = [(q, p[0], n[0]) if single else (q, p, n) for q, p, n in made]
    return {"m.jsonl": "\n".join(json.dumps(dict(zip(header, row, strict=True))) for row in rows_)}, made


def right_positives(case: Any) -> None:
    content, made = case
    found = written(content, data.read).retrieval
    assert found is not None
    assert set(found.corpus.values()) == {text for _, p, n in made for text in (*p, *n)}
    said = {found.queries[q]: {found.corpus[d] for d in judged} for q, judged in found.qrels.items()}
    assert said == {query: {text for q, p, _ in made if q == query for text in p} for query, _, _ in made}
    if '"anchor"' in content["m.jsonl"] and "[" not in content["m.jsonl"]:
        pairs = written(content, data.read).pairs
        drawn = [(a, b, 1.0 - n) for a, p, negative in made for n, b in enumerate((*p, *negative))]
        assert pairs is not None
        assert list(zip(pairs.sentence1, pairs.sentence2, pairs.gold, strict=True)) == drawn


@st.composite
def alone(draw: st.DrawFn) -> tuple[dict[str, str | bytes], list[str]]:
    """Texts without labels."""
    made = draw(st.lists(TEXT, min_size=2, max_size=6))
    layout = draw(st.sampled_from(["m.txt", "m.csv", "m.jsonl", "folder"]))
    if layout == "folder":
        return {f"{n}.md": text for n, text in enumerate(made)}, made
    lines = {
        "m.txt": "\n".join(made),
        "m.csv": "\n".join(["text", *(quoted([text], ",") for text in made)]),
        "m.jsonl": "\n".join(json.dumps({"contents": text}) for text in made),
    }
    return {layout: lines[layout]}, made


def right_texts(case: Any) -> None:
    content, made = case
    found = written(content, data.read)
    assert list(found.alone) == made and found.pairs is None and found.retrieval is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("\ud800") | st.just("\0"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["sentence1", "sentence2", "label", "text", "query", "positive", "id"]), inner, max_size=5
        )
    ),
    max_leaves=12,
)


@st.composite
def broken(draw: st.DrawFn) -> dict[str, str | bytes]:
    """A file that was right, with bytes cut, swapped or put in; or JSON of any shape."""
    if draw(st.integers(0, 3)) == 0:  # right but for one character
        bad = draw(st.sampled_from(["\ud83d", "\0", "\udfff"]))
        made = [{"sentence1": f"{draw(TEXT)}{bad}", "sentence2": "b", "label": n} for n in (0, 1)]
        return {"m.jsonl": "\n".join(map(json.dumps, made))}
    if draw(st.booleans()):
        suffix = draw(st.sampled_from(["json", "jsonl"]))
        made = draw(st.lists(cast(Any, JSON), min_size=1, max_size=4))
        return {f"m.{suffix}": json.dumps(made) if suffix == "json" else "\n".join(map(json.dumps, made))}
    content, *_ = draw(tables())
    name = draw(st.sampled_from(sorted(content)))
    raw = content[name]
    assert isinstance(raw, bytes)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(raw)))
        raw = (
            raw[:at]
            + draw(st.sampled_from([b"", b"\0", b"\xff", b'"', b"\n", b"{", b"\x1f\x8b", b"\xed\xa0\x80"]))
            + raw[at + draw(st.integers(0, 3)) :]
        )
    if len(content) > 1:
        return content | {name: raw}
    return {draw(st.sampled_from([name, "m.csv", "m.json", "m.parquet", "m.csv.gz"])): raw}


def refused_well(content: dict[str, str | bytes]) -> None:
    name = next(iter(content)) if len(content) == 1 else "/set"
    try:
        dataset = written(content, data.read)
    except CourseError as error:
        assert name in str(error) and "\n" not in str(error) and len(str(error)) < 1500, str(error)
        return
    for text in dataset.texts:
        assert characters.text_fault(text) is None
        text.encode()


@FAST
@given(tables())
def test_a_table_of_pairs_is_read_as_it_was_meant(case: Any) -> None:
    right_table(case)


@FAST
@given(sets())
def test_a_retrieval_set_is_read_as_published_ones_are(case: Any) -> None:
    right_set(case)


@FAST
@given(positives())
def test_rows_of_positives_are_a_retrieval_set(case: Any) -> None:
    right_positives(case)


@FAST
@given(alone())
def test_texts_alone_are_read_as_they_are(case: Any) -> None:
    right_texts(case)


@FAST
@given(broken())
def test_a_broken_file_is_read_or_refused_in_one_sentence_that_names_it(content: dict[str, str | bytes]) -> None:
    refused_well(content)


# Mends, each taken back: the strategies must find it
TAKEN_BACK: dict[str, tuple[Any, str, Any, Any, Callable[[Any], None]]] = {
    "surrogates and NUL": (labelled, "text_fault", lambda text: None, broken, refused_well),
    "empty documents": (judged, "is_blank", lambda text: False, sets, right_set),
    "the separator": (rows, "_delimiter", lambda head: ",", tables, right_table),
    "marks of UTF-16": (characters, "MARKS", (), tables, right_table),
    "TREC's columns": (judged, "trec_table", lambda path, encoding: None, sets, right_set),
    "names without case": (names, "plain", str, tables, right_table),
    "cells of Arrow": (rows, "_batch", lambda path, before, batch: iter(()), tables, right_table),
    "lists as text": (judged, "_literal", lambda cell: None, sets, right_set),
    "their own documents": (Retrieval, "own_documents", frozenset(), sets, right_set),
}


@pytest.mark.parametrize("mend", TAKEN_BACK)
def test_with_a_mend_taken_back_the_fuzz_finds_it(mend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, other, strategy, check = TAKEN_BACK[mend]
    monkeypatch.setattr(module, name, other)
    quick = settings(
        max_examples=1000,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    @quick
    @given(strategy())
    def fuzz(case: Any) -> None:
        check(case)

    with pytest.raises((AssertionError, CourseError, UnicodeError, ExceptionGroup)):
        fuzz()
