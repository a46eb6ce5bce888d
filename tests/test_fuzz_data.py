"""Own data, fuzzed: whatever is drawn is read as what it is, or refused in one sentence that names the file.

| kind | strategy |
|---|---|
| tables of pairs | `tables`: quotes, separators, line breaks, any script; each dialect, suffix and encoding |
| names | `tables`: each pair of usual names, in any case, with blanks, hyphens and underscores |
| labels and scores | `tables`: 0 and 1, true and false, yes and no; decimal points and commas |
| retrieval layouts | `sets`: BEIR, TREC (blanks, tabs), headless TSV, ids inline as list, mapping and text, one JSON |
| published sets | `sets`: empty documents, judgements outside, judged 0, queries that are documents |
| broken files | `broken`: bytes cut, swapped, put in; any JSON; NUL, surrogates; under another suffix |

`pytest tests/test_fuzz_data.py --hypothesis-profile=long` takes about ten minutes; without it a few seconds.
"""

import contextlib
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from helpers import data
from helpers.data import characters, judged, labelled, names, rows
from helpers.errors import CourseError

settings.register_profile("long", max_examples=4000, deadline=None, suppress_health_check=list(HealthCheck))
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
def tables(draw: st.DrawFn) -> tuple[dict[str, str | bytes], list[tuple[str, str]], list[float]]:
    """A file of pairs, the pairs in it, and their gold values."""
    extra = st.sampled_from(["", ',"', ";", "\n", "'", "é–", "日本", "\U0001f600"])
    cell = st.tuples(TEXT, extra, TEXT).map("".join)
    made = draw(st.lists(st.tuples(cell, cell), min_size=2, max_size=5))
    suffix = draw(st.sampled_from(["csv", "tsv", "jsonl", "json"]))
    separator = {"tsv": "\t"}.get(suffix) or draw(st.sampled_from(",;\t"))
    graded = draw(st.booleans())
    gold = [0.0, 1.0, *(draw(st.sampled_from([0.0, 0.5, 1.0] if graded else [0.0, 1.0])) for _ in made[2:])]
    spelt = draw(st.sampled_from([("0", "1"), ("false", "TRUE"), ("No", "yes")]))
    point = "," if separator == ";" and draw(st.booleans()) else "."
    cells = [str(v).replace(".", point) if graded else spelt[int(v)] for v in gold]
    one, two = draw(st.sampled_from(names.PAIRS))
    style = draw(st.sampled_from([str, str.upper, str.title, lambda n: f" {n} ", lambda n: n[:-1] + "_" + n[-1]]))
    header = [style(one), style(two), "score" if graded else "label"]
    if suffix == "tsv":
        made = [(a.replace("\n", " ").replace("\t", " "), b.replace("\n", " ").replace("\t", " ")) for a, b in made]
        text = "\n".join("\t".join(r) for r in [header, *([*p, g] for p, g in zip(made, cells, strict=True))])
    elif suffix == "csv":
        body = [quoted([*p, g], separator) for p, g in zip(made, cells, strict=True)]
        text = "\n".join([separator.join(header), *body])
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
    return {f"m.{suffix}": raw}, made, gold


def right_table(case: tuple[dict[str, str | bytes], list[tuple[str, str]], list[float]]) -> None:
    content, made, gold = case
    found = written(content, data.read).pairs
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
    documents = [{"_id": i, "text": t} for i, t in corpus.items()]
    inline = [{"_id": q, "text": t, "relevant_ids": qrels[q]} for q, t in queries.items()]
    lines = "\n".join(map(json.dumps, documents))
    triples = [(q, d, r) for q, found in qrels.items() for d, r in found.items()]
    content: dict[str, str | bytes] = {
        "corpus.jsonl": lines,
        "queries.jsonl": "\n".join(json.dumps({"_id": q, "text": t}) for q, t in queries.items()),
    }
    layout = draw(st.sampled_from(["beir", "trec", "trec with tabs", "headless", "inline", "json"]))
    if layout == "json":
        return (
            {"m.json": json.dumps({"queries": queries, "corpus": corpus, "relevant_docs": qrels})},
            corpus,
            qrels,
            own,
        )
    if layout == "inline":
        content["queries.jsonl"] = "\n".join(map(json.dumps, inline))
    elif layout.startswith("trec"):
        gap = "\t" if "tabs" in layout else " "
        content["qrels.tsv"] = "".join(gap.join((q, "0", d, str(r))) + "\n" for q, d, r in triples)
    else:
        rows_ = "".join(f"{q}\t{d}\t{r}.0\n" for q, d, r in triples)
        content["qrels.tsv"] = "query-id\tcorpus-id\tscore\n" + rows_
    if layout == "headless":
        del content["queries.jsonl"]
        content["queries.tsv"] = "".join(f"{q}\t{t}\n" for q, t in queries.items())
    return content, corpus, qrels, own


def right_set(case: Any) -> None:
    content, corpus, qrels, own = case
    found = written(content, data.read).retrieval
    assert found is not None
    assert found.corpus == corpus
    assert found.qrels == qrels
    assert found.own_documents == own


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
    [(name, raw)] = content.items()
    assert isinstance(raw, bytes)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(raw)))
        raw = (
            raw[:at]
            + draw(st.sampled_from([b"", b"\0", b"\xff", b'"', b"\n", b"{", b"\x1f\x8b", b"\xed\xa0\x80"]))
            + raw[at + draw(st.integers(0, 3)) :]
        )
    return {draw(st.sampled_from([name, "m.csv", "m.json", "m.parquet", "m.csv.gz"])): raw}


def refused_well(content: dict[str, str | bytes]) -> None:
    [name] = content
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
