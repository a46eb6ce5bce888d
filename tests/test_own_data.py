"""Data as people have it is read, and what was understood is said; see tests/test_data.py for mistakes in it."""

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers import data
from helpers.data import names
from helpers.errors import CourseError

Put = Callable[..., Path]
ROWS = [("a cat", "a kitten", 1), ("one, two; three", "four", 0)]
TEXTS = {"d1": "ferry times", "d2": "bread recipe", "d3": "tax form"}
ASKED = {"q1": "when does the boat leave", "q2": "how to bake"}


@pytest.fixture
def put(tmp_path: Path) -> Put:
    def write(name: str, content: str | bytes, encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return write


def lines(rows: list[dict[str, Any]]) -> str:
    return "\n".join(json.dumps(row) for row in rows)


def pairs(source: Path, **asked: Any) -> data.Pairs:
    found = data.read(source, **asked).pairs
    assert found is not None
    return found


def search(source: Path, **asked: Any) -> data.Retrieval:
    found = data.read(source, **asked).retrieval
    assert found is not None
    return found


def frame(names: tuple[str, ...] = ("sentence1", "sentence2", "label")) -> pd.DataFrame:
    return pd.DataFrame(ROWS, columns=list(names))


# Tables

DIALECTS: dict[str, Callable[[Path], Path]] = {
    "comma": lambda p: _csv(p / "m.csv"),
    "semicolon": lambda p: _csv(p / "m.csv", sep=";"),
    "tab in .csv": lambda p: _csv(p / "m.csv", sep="\t"),
    "tsv": lambda p: _csv(p / "m.tsv", sep="\t"),
    "utf-16": lambda p: _csv(p / "m.csv", encoding="utf-16"),
    "utf-8 with mark": lambda p: _csv(p / "m.csv", encoding="utf-8-sig"),
    "csv.gz": lambda p: _csv(p / "m.csv.gz"),
    "gzip named csv": lambda p: _csv(p / "x.csv.gz").rename(p / "m.csv"),
    "jsonl": lambda p: _write(p / "m.jsonl", frame().to_json(orient="records", lines=True)),
    "jsonl.gz": lambda p: _write(p / "m.jsonl.gz", frame().to_json(orient="records", lines=True)),
    "jsonl named json": lambda p: _write(p / "m.json", frame().to_json(orient="records", lines=True)),
    "json array": lambda p: _write(p / "m.json", frame().to_json(orient="records", indent=1)),
    "json columns": lambda p: _write(p / "m.json", json.dumps(frame().to_dict(orient="list"))),
    "json array under a name": lambda p: _write(p / "m.json", json.dumps({"v": 1, "data": frame().to_dict("records")})),
    "parquet": lambda p: frame().to_parquet(p / "m.parquet") or p / "m.parquet",
    "parquet.gz": lambda p: _write(p / "m.parquet.gz", frame().to_parquet()),
    "shards": lambda p: _shards(p / "m"),
    "splits": lambda p: _splits(p / "m"),
    "arrow folder": lambda p: _arrow(p / "m"),
}


def _csv(path: Path, **how: Any) -> Path:
    plain: dict[str, Any] = {"quoting": 3, "quotechar": "\x01"} if path.suffix == ".tsv" else {}
    frame().to_csv(path, index=False, **plain, **how)
    return path


def _write(path: Path, content: str | bytes) -> Path:
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def _shards(folder: Path) -> Path:
    folder.mkdir()
    for number in (0, 1):
        frame().iloc[number : number + 1].to_parquet(folder / f"test-{number:05}-of-00002.parquet")
    return folder


def _splits(folder: Path) -> Path:
    folder.mkdir()
    frame().to_csv(folder / "dev.csv", index=False)
    frame().iloc[::-1].to_csv(folder / "train.csv", index=False)
    return folder


def _arrow(folder: Path) -> Path:
    split = datasets.Dataset.from_pandas(frame())
    datasets.DatasetDict({"train": split.select([1, 0]), "test": split}).save_to_disk(str(folder))
    return folder


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_table_reads_the_same_in_every_dialect(dialect: str, tmp_path: Path) -> None:
    found = pairs(DIALECTS[dialect](tmp_path))
    assert list(zip(found.sentence1, found.sentence2, found.gold.tolist(), strict=True)) == ROWS


def test_excels_line_that_names_the_separator_is_passed_over(put: Put) -> None:
    assert len(pairs(put("m.csv", "sep=;\r\nsentence1;sentence2;label\r\na;b;1\r\nc;d;0\r\n"))) == 2


def test_an_encoding_can_be_named(put: Put) -> None:
    path = put("m.csv", "sentence1,sentence2,label\nčaj,b,1\nc,d,0", encoding="iso8859_2")
    assert pairs(path, encoding="iso8859_2").sentence1[0] == "čaj"
    with pytest.raises(CourseError, match="There is no encoding 'utf-99'"):
        data.read(path, encoding="utf-99")


@pytest.mark.parametrize("words", [("1", "0"), ("true", "False"), ("YES", "no"), ("1.0", "0.0"), (" 1 ", " 0")])
def test_labels_are_numbers_truth_values_or_yes_and_no(put: Put, words: tuple[str, str]) -> None:
    path = put("m.csv", f"sentence1,sentence2,label\na,b,{words[0]}\nc,d,{words[1]}")
    assert pairs(path).gold.tolist() == [1, 0]
    assert pairs(put("m.jsonl", lines([{"sentence1": "a", "sentence2": "b", "label": v} for v in (True, False)])))


def test_a_decimal_comma_is_read_where_semicolons_cut_the_columns(put: Put) -> None:
    assert pairs(put("m.csv", "sentence1;sentence2;score\na;b;3,5\nc;d;0,25")).gold.tolist() == [3.5, 0.25]
    with pytest.raises(CourseError, match=r"line 2: score is '3,5'; it must be a finite number \(with a decimal point"):
        data.read(put("m.tsv", "sentence1\tsentence2\tscore\na\tb\t3,5"))


def test_case_and_stray_blanks_in_a_header_change_nothing(put: Put) -> None:
    assert len(pairs(put("m.csv", " Sentence1 ,SENTENCE_2,Label\na,b,1\nc,d,0"))) == 2


WRONG_TABLES = {
    "a header twice": ("m.csv", "sentence1,sentence1,sentence2,label\na,b,c,1", r"line 1: the column 'sentence1' is"),
    "a key twice": (
        "m.jsonl",
        '{"sentence1": "a", "sentence1": "b"}',
        r"line 1: the column 'sentence1' is there twice",
    ),
    "a number for a text": ("m.jsonl", lines([{"sentence1": 3, "sentence2": "b", "label": 1}]), r"line 1: .* number 3"),
    "deep nesting": ("m.jsonl", '{"a":' + "[" * 100_000, r"line 1: not JSON"),
    "endless digits": ("m.jsonl", '{"sentence1": ' + "9" * 10_000 + "}", r"line 1: not JSON"),
    "a score without bounds": (
        "m.jsonl",
        '{"sentence1": "a", "sentence2": "b", "score": 1' + "0" * 400 + "}",
        r"line 1: score is a number of more than 40 digits; it must be a finite",
    ),
    "a lone surrogate": (
        "m.jsonl",
        r'{"sentence1": "a\ud800", "sentence2": "b", "label": 1}',
        r"line 1: .*half a char",
    ),
    "a NUL": ("m.csv", "sentence1,sentence2,label\na\0b,c,1", r"line 2: sentence1 holds a NUL character; take it out"),
    "blanks of no width": ("m.csv", "sentence1,sentence2,label\n\u200b\u3000,c,1", r"line 2: sentence1 is empty or no"),
    "an id that is a list": (
        "m.jsonl",
        lines([{"id": [1], "sentence1": "a", "sentence2": "b", "label": 1}]),
        r"line 1: id is a list; an id must be a text or a whole number",
    ),
    "half a gzip": ("m.csv.gz", gzip.compress(b"x" * 1000)[:20], r"is no whole gzip file .*; pack it again"),
    "an old sheet": ("m.csv", b"\xd0\xcf\x11\xe0" + b"\0" * 40, r"is an old Excel file; save the sheet as \.csv"),
    "a zip": ("m.csv", b"PK\x03\x04" + b"x" * 40, r"is a zip archive \(as \.xlsx is\); unpack it"),
    "no Parquet": ("m.parquet", b"PAR1 but no more", r"it is no Parquet file"),
    "an open array": ("m.json", '[{"sentence1": "a"}, {"sentence1": ', r"row 2: not JSON"),
    "an array of texts": ("m.json", '["a", "b"]', r"row 1: not a JSON object; write a list of objects"),
    "a JSON number": ("m.json", "42", r"no table was found in it"),
    "an open quotation mark": ("m.csv", 'sentence1,sentence2,label\na,"b,1\nc,d,0', r"line 2: .*quotation marks"),
    "utf-16 without its mark": ("m.csv", "sentence1,sentence2,label\na,b,1".encode("utf-16-le"), r"UTF-16|NUL"),
}


@pytest.mark.parametrize("case", WRONG_TABLES)
def test_a_wrong_table_gives_one_sentence_with_file_and_row(put: Put, case: str) -> None:
    name, content, sentence = WRONG_TABLES[case]
    with pytest.raises(CourseError, match=sentence) as raised:
        data.read(put(name, content))
    assert name in str(raised.value) and len(str(raised.value)) < 500


# What no tokenizer takes, in every format

FAULTS = {"half a character": "a\ud83d", "a NUL": "a\0", "is empty or no text": " \u200b\t"}
RIGHT: dict[str, list[Any]] = {"sentence1": ["a", "b", "c"], "sentence2": ["d", "e", "f"], "label": [1, 0, 1]}


def _arrow_table(columns: dict[str, list[Any]]) -> pa.Table:
    """A table of Arrow with texts as they are, halves of characters too."""
    made = {}
    for name, values in columns.items():
        raw = [v.encode("utf-8", "surrogatepass") if isinstance(v, str) else v for v in values]
        array = pa.array(raw)
        made[name] = pa.Array.from_buffers(pa.string(), 3, array.buffers()) if array.type == pa.binary() else array
    return pa.table(made)


def _put_rows(folder: Path, kind: str, columns: dict[str, list[Any]]) -> tuple[Path, str]:
    """Write a table; and how its second row is called."""
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    cells = [list(columns), *([str(v) for v in row.values()] for row in rows)]
    path = folder / f"m.{kind}"
    if kind == "parquet":
        pq.write_table(_arrow_table(columns), path)
        return path, "row 2"
    if kind == "arrow":
        datasets.Dataset(_arrow_table(columns)).save_to_disk(str(path))
        return path, "row 2"
    if kind == "json":
        text, place = json.dumps(rows), "row 2"
    elif kind.startswith("jsonl"):
        text, place = lines(rows), "line 2"
    else:
        separator = "\t" if kind.startswith("tsv") else ","
        text, place = "\n".join(separator.join(row) for row in cells), "line 3"
    encoding = "utf-16" if "utf-16" in kind else "utf-8"
    path = folder / f"m.{kind.partition(' ')[0]}"
    raw = text.encode(encoding, "surrogatepass")
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path, place


KINDS = ("csv", "csv utf-16", "csv.gz", "tsv", "jsonl", "json", "parquet", "arrow")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_text_that_no_tokenizer_takes_gives_a_sentence_with_file_and_row(
    tmp_path: Path, kind: str, fault: str
) -> None:
    bad = FAULTS[fault].replace("\t", " ") if kind == "tsv" else FAULTS[fault]
    path, place = _put_rows(tmp_path, kind, RIGHT | {"sentence2": ["d", bad, "f"]})
    with pytest.raises(
        CourseError, match=f"{re.escape(str(path))}, {place}: sentence2 .*{fault}|sentence2 isn't UTF-8"
    ):
        data.read(path)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", [*KINDS, "one json"])
@pytest.mark.parametrize("part", ["corpus", "queries"])
def test_in_a_retrieval_set_too(
    tmp_path: Path, part: str, kind: str, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = FAULTS[fault].replace("\t", " ") if kind == "tsv" else FAULTS[fault]
    right: dict[str, list[Any]] = {"_id": ["1", "2", "3"], "text": ["a", "b", "c"]}
    folder, place = tmp_path, "row 2"
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n1\t1\t1\n2\t2\t1\n")
    held = {name: right | {"text": ["a", bad, "c"]} if name == part else right for name in ("corpus", "queries")}
    if kind == "one json":
        texts = {name: dict(zip(one["_id"], one["text"], strict=True)) for name, one in held.items()}
        folder = tmp_path / "m.json"
        folder.write_text(json.dumps(texts | {"relevant_docs": {"1": ["1"]}}))
    else:
        for name, one in held.items():
            path, place = _put_rows(tmp_path, kind, one)
            path.rename(path.with_name(path.name.replace("m.", f"{name}.")))
    if part == "corpus" and fault == "is empty or no text":  # as in FiQA
        data.read(folder)
        assert re.search(rf"1 documents have no text \(the first: .*corpus.*, {place}\)", capsys.readouterr().out)
        return
    with pytest.raises(CourseError, match=rf"{part}.*, {place}: text .*{fault}"):
        data.read(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_the_name_of_a_column_can_be_written_down(tmp_path: Path, kind: str) -> None:
    path, _ = _put_rows(tmp_path, kind.replace("arrow", "csv"), {"sentence1\0": ["a", "b", "c"], "label": [1, 0, 1]})
    with pytest.raises(CourseError, match=r"the name of the column 'sentence1\\x00' holds a NUL"):
        data.read(path)


# Names


@pytest.mark.parametrize("both", names.PAIRS)
def test_the_usual_names_of_a_pair_are_understood_and_said(
    put: Put, both: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    found = pairs(put("m.csv", f"{both[0]},{both[1]},is_duplicate\na,b,1\nc,d,0"))
    assert (found.sentence1, found.sentence2) == (("a", "c"), ("b", "d"))
    assert "`is_duplicate` as label" in capsys.readouterr().out


def test_names_of_the_course_are_read_without_a_word(put: Put, capsys: pytest.CaptureFixture[str]) -> None:
    data.read(put("m.csv", "sentence1,sentence2,label\na,b,1\nc,d,0"))
    data.read("course")
    assert capsys.readouterr().out == ""


def test_two_columns_that_could_be_meant_are_an_error_that_lists_them(put: Put) -> None:
    path = put("m.csv", "text1,text2,premise,hypothesis,label\na,b,c,d,1\ne,f,g,h,0")
    with pytest.raises(
        CourseError, match=r"'text1' with 'text2' or 'premise' with 'hypothesis'; say which with columns"
    ):
        data.read(path)
    assert pairs(path, columns={"sentence1": "premise", "sentence2": "hypothesis"}).sentence1 == ("c", "g")
    with pytest.raises(CourseError, match=r"'question' and 'user_input' could each be the query"):
        data.read(put("n.csv", "question,user_input,expected_ids\na,b,d1"))


@pytest.mark.parametrize(
    "columns",
    [
        {"sentence1": "Frage A", "sentence2": "Frage B", "label": "gleich"},
        {"Frage A": "sentence1", "Frage B": "sentence2", "gleich": "label"},
        "sentence1=Frage A, sentence2=frage_b, label=gleich",
    ],
)
def test_a_mapping_settles_any_other_name(put: Put, columns: Any) -> None:
    assert len(pairs(put("m.csv", "Frage A,Frage B,gleich\na,b,1\nc,d,0"), columns=columns)) == 2


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"sentenc1": "a"}, r"columns names 'sentenc1'\. Did you mean sentence1"),
        ({"sentence1": "Frge"}, r"columns says that the sentence1 is 'Frge', but the columns are Frage"),
        ("sentence1", r"columns is 'sentence1'; write role=column"),
        ({"sentence1": 3}, r"it must map a role to the name of a column"),
    ],
)
def test_a_wrong_mapping_is_named(put: Put, columns: Any, sentence: str) -> None:
    with pytest.raises(CourseError, match=sentence):
        data.read(put("m.csv", "Frage,sentence2,label\na,b,1\nc,d,0"), columns=columns)


# Retrieval layouts

CORPUS = lines([{"_id": name, "text": text} for name, text in TEXTS.items()])
QUERIES = lines([{"_id": name, "text": text} for name, text in ASKED.items()])
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t1.0\nq2\td2\t1\n"
EXPECTED = {"q1": {"d1": 1}, "q2": {"d2": 1}}


def tsv(texts: dict[str, str]) -> str:
    return "".join(f"{name}\t{text}\n" for name, text in texts.items())


LAYOUTS: dict[str, dict[str, str]] = {
    "beir": {},
    "trec without header": {"qrels.tsv": "q1 0 d1 1\nq2 0 d2 1\n"},
    "trec with tabs": {"qrels.tsv": "q1\t0\td1\t1\nq2\tQ0\td2\t1\n"},
    "trec with header": {"qrels.tsv": "topic iteration docno relevancy\nq1 0 d1 1\nq2 0 d2 1\n"},
    "trec in .txt": {"qrels.tsv": "", "qrels.txt": "q1 0 d1 1\nq2 0 d2 1\n"},
    "qrels in csv": {"qrels.tsv": "", "qrels.csv": "qid,docid,relevance\nq1,d1,1\nq2,d2,1\n"},
    "ms marco": {"corpus.jsonl": "", "collection.tsv": tsv(TEXTS), "queries.jsonl": "", "queries.tsv": tsv(ASKED)},
    "csv": {"corpus.csv": "doc_id,contents\n" + "".join(f"{i},{t}\n" for i, t in TEXTS.items())},
    "ids inline": {
        "qrels.tsv": "",
        "queries.jsonl": lines(
            [{"id": q, "question": ASKED[q], "expected_ids": list(judged)} for q, judged in EXPECTED.items()]
        ),
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_retrieval_set_reads_the_same_in_every_layout(put: Put, tmp_path: Path, layout: str) -> None:
    parts = {"corpus.jsonl": CORPUS, "queries.jsonl": QUERIES, "qrels.tsv": QRELS} | LAYOUTS[layout]
    if "corpus.csv" in parts:
        del parts["corpus.jsonl"]
    for name, text in parts.items():
        if text:
            put(f"set/{name}", text)
    found = search(tmp_path / "set")
    assert (found.corpus, found.queries, found.qrels) == (TEXTS, ASKED, EXPECTED)


@pytest.mark.parametrize(
    "column",
    ["expected_ids", "gold", "relevant_doc_ids", "positive_ids", "gold_doc_ids", "Relevant Documents", "reference_ids"],
)
@pytest.mark.parametrize("cell", [["d1", "d2"], {"d1": 1, "d2": 1}, '["d1", "d2"]', "['d1', 'd2']", "d1;d2", "d1, d2"])
def test_relevant_ids_stand_beside_their_query_in_any_usual_form(put: Put, column: str, cell: Any) -> None:
    put("set/corpus.jsonl", CORPUS)
    path = put("set/questions.jsonl", lines([{"question": "which two", column: cell}]))
    assert list(search(path.parent).qrels.values()) == [{"d1": 1, "d2": 1}]


def test_judgements_that_all_name_missing_documents_are_an_error(put: Put) -> None:
    put("set/corpus.csv", "id,text\n1.0,a\n2.0,b")
    put("set/queries.csv", "id,text\n7,x")
    path = put("set/qrels.csv", "query-id,corpus-id,score\n7,1,1")
    with pytest.raises(
        CourseError, match=r"names a document of corpus\.csv \(the first: document '1', where .* '1\.0'"
    ):
        data.read(path.parent)


def test_ids_beside_queries_that_name_no_document_are_named(put: Put) -> None:
    put("set/corpus.jsonl", CORPUS)
    path = put("set/queries.jsonl", lines([{"question": "which", "gold": ["x9"]}]))
    with pytest.raises(CourseError, match=r"line 1: \"\['x9'\]\" names no document of corpus\.jsonl; the ids must"):
        data.read(path.parent)


def test_queries_that_name_documents_need_them_beside_them(put: Put) -> None:
    with pytest.raises(CourseError, match=r"the documents aren't there; put it into a folder as queries\.csv"):
        data.read(put("m.csv", "question,expected_ids\nwhich,d1\n"))


@pytest.mark.parametrize("place", ["set", "set/documents"])
@pytest.mark.parametrize("suffix", ["", ".txt"])
def test_a_folder_of_text_files_are_documents_whose_names_are_the_ids(put: Put, place: str, suffix: str) -> None:
    for name, text in TEXTS.items():
        put(f"{place}/{name}{'.md' if name == 'd2' else '.txt'}", text)
    put("set/README.md", "about this set")
    put("set/queries.tsv", tsv(ASKED))
    ends = {"d1": ".txt", "d2": ".md"}
    rows = [f"{q} 0 {d}{ends[d] if suffix else ''} 1\n" for q, judged in EXPECTED.items() for d in judged]
    path = put("set/qrels.txt", "".join(rows))
    found = search(path.parent)
    assert (found.corpus, found.qrels) == (TEXTS, EXPECTED)


@pytest.mark.parametrize("relevant", [{"q1": ["d1"], "q2": ["d2"]}, EXPECTED, {"q1": "d1", "q2": "d2"}])
@pytest.mark.parametrize("key", ["relevant_docs", "qrels"])
def test_one_json_holds_queries_corpus_and_relevant_documents(put: Put, key: str, relevant: Any) -> None:
    found = search(
        put("m.json", json.dumps({"queries": ASKED, "corpus": TEXTS, key: relevant, "mode": "text"}, indent=1))
    )
    assert (found.corpus, found.queries, found.qrels) == (TEXTS, ASKED, EXPECTED)


@pytest.mark.parametrize(
    "names", [("query", "positive", "negatives"), ("anchor", "positive", "negative"), ("query", "pos", "neg")]
)
def test_rows_of_positives_are_a_retrieval_set_over_all_of_them(put: Put, names: tuple[str, ...]) -> None:
    rows = [
        dict(zip(names, row, strict=True))
        for row in (("q a", "text a", "text c"), ("q b", "text b", "text a"), ("q a", "text d", "text c"))
    ]
    dataset = data.read(put("m.jsonl", lines(rows)))
    found = dataset.retrieval
    assert found is not None and list(found.corpus.values()) == ["text a", "text c", "text b", "text d"]
    assert found.qrels == {"q1": {"d1": 1, "d4": 1}, "q2": {"d3": 1}}
    assert (dataset.pairs is not None) == (names[0] == "anchor")


def test_rows_of_anchor_positive_and_negative_are_pairs_too(put: Put) -> None:
    found = pairs(put("m.csv", "anchor,positive,negative\na,b,c\nd,e,f"))
    assert list(zip(found.sentence1, found.sentence2, found.gold.tolist(), strict=True)) == [
        ("a", "b", 1),
        ("a", "c", 0),
        ("d", "e", 1),
        ("d", "f", 0),
    ]


@pytest.mark.parametrize("encoding", ["hex", "utf-99", "utf\0"])
def test_an_encoding_that_isnt_there_is_named(put: Put, encoding: str) -> None:
    with pytest.raises(CourseError, match="There is no encoding"):
        data.read(put("m.csv", "sentence1,sentence2,label\na,b,1"), encoding=encoding)


def test_positives_may_be_passages_with_a_title(put: Put) -> None:
    passages = [{"title": "Ferry", "text": "It leaves at nine."}, {"text": "x"}, {"title": "Tax", "contents": "y"}]
    rows = [{"query": "a", "positives": passages}, {"query": "b", "positives": [{"title": "Alone"}]}]
    found = search(put("m.jsonl", lines(rows)))
    assert list(found.corpus.values()) == ["Ferry It leaves at nine.", "x", "Tax y", "Alone"]


def test_lists_of_positives_and_negatives_are_read(put: Put) -> None:
    rows = [{"query": "a", "positives": ["x", "y"], "negatives": ["z"]}, {"query": "b", "positives": ["z"]}]
    assert search(put("m.jsonl", lines(rows))).qrels == {"q1": {"d1": 1, "d2": 1}, "q2": {"d3": 1}}


@pytest.mark.parametrize(
    ("there", "used", "said"),
    [
        (("test", "dev", "train"), "test", "judged on the split 'test'"),
        (("dev", "train"), "dev", "judged on the split 'dev'"),
        (("train",), "train", "judged on the split 'train', the only one"),
        (("test",), "test", ""),
    ],
)
def test_of_several_splits_the_test_is_taken_else_dev_else_the_only_one(
    put: Put, there: tuple[str, ...], used: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    put("set/corpus.jsonl", CORPUS)
    path = put("set/queries.jsonl", QUERIES)
    for split in there:
        put(f"set/qrels/{split}.tsv", QRELS if split == used else QRELS.replace("d1", "d3"))
    assert search(path.parent).qrels == EXPECTED
    out = capsys.readouterr().out
    assert said in out and bool(out) == bool(said)


# As published sets are


def test_documents_without_text_or_with_a_title_alone_are_kept(put: Put, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"_id": "d1", "title": "", "text": ""},
        {"_id": "d2", "title": "Bread", "text": ""},
        {"_id": "d3", "text": "x"},
    ]
    put("set/corpus.jsonl", lines(rows))
    put("set/queries.jsonl", QUERIES)
    path = put("set/qrels.tsv", QRELS)
    assert search(path.parent).corpus == {"d1": "", "d2": "Bread", "d3": "x"}
    assert "1 documents have no text (the first: " in capsys.readouterr().out


def test_judgements_outside_the_corpus_are_kept_and_counted_in_one_line(
    put: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    put("set/corpus.jsonl", CORPUS)
    put("set/queries.jsonl", QUERIES)
    path = put("set/qrels.tsv", QRELS + "q1\td9\t1\nq2\td8\t1\n")
    assert search(path.parent).qrels["q1"] == {"d1": 1, "d9": 1}
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and out.startswith("2 of 4 judgements name a document outside the corpus")


def own(
    put: Put, documents: list[dict[str, str]], qrels: str = "query-id\tcorpus-id\tscore\n1\t2\t1\n"
) -> data.Retrieval:
    put("set/corpus.jsonl", lines(documents))
    put("set/queries.jsonl", lines([{"_id": "1", "text": "how to reset a password"}]))
    return search(put("set/qrels.tsv", qrels).parent)


SAME, OTHER = {"_id": "1", "text": "how to reset a password"}, {"_id": "2", "text": "resetting passwords"}


def test_a_document_with_the_querys_id_and_text_is_no_answer_to_it(put: Put) -> None:
    assert own(put, [SAME, OTHER]).own_documents == {"1"}
    assert own(put, [SAME | {"title": "Passwords"}, OTHER]).own_documents == {"1"}


def test_an_equal_id_alone_means_nothing_since_both_are_often_numbered_from_1(put: Put) -> None:
    assert own(put, [{"_id": "1", "text": "another text"}, OTHER]).own_documents == frozenset()


def test_a_judged_document_is_an_answer_whatever_its_id(put: Put) -> None:
    judged = "query-id\tcorpus-id\tscore\n1\t1\t1\n"
    assert own(put, [SAME, OTHER], judged).own_documents == frozenset()


def test_repeated_texts_in_a_corpus_are_warned_of(put: Put, capsys: pytest.CaptureFixture[str]) -> None:
    own(put, [OTHER, OTHER | {"_id": "3"}, OTHER | {"_id": "4"}])
    assert "2 documents repeat the text of another (the first: '3' that of '2')" in capsys.readouterr().out


# Texts alone, and large data


@pytest.mark.parametrize("name", ["m.txt", "m.csv", "m.jsonl", "folder"])
def test_texts_alone_are_read_and_it_is_said_what_labels_would_take(
    put: Put, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "folder":
        path = [put(f"folder/{i}.txt", text) for i, text in TEXTS.items()].pop().parent
    else:
        made = {"m.txt": "\n".join(TEXTS.values()), "m.csv": "text\n" + "\n".join(TEXTS.values()), "m.jsonl": CORPUS}
        path = put(name, made[name])
    dataset = data.read(path)
    assert dataset.alone == dataset.texts == tuple(TEXTS.values())
    assert dataset.pairs is None and dataset.retrieval is None
    assert "For that, add a few hundred pairs with a label, or 50 queries" in capsys.readouterr().out


def test_a_limit_draws_by_the_seed_and_keeps_the_judged_documents(capsys: pytest.CaptureFixture[str]) -> None:
    whole = data.read("course")
    small = data.read("course", limit=150, seed=3)
    assert small.retrieval and whole.retrieval and small.pairs and whole.pairs
    assert len(small.retrieval.corpus) == len(small.pairs) == 150 < len(whole.retrieval.corpus)
    for query, judged in small.retrieval.qrels.items():
        assert judged.keys() <= small.retrieval.corpus.keys() and judged == whole.retrieval.qrels[query]
    assert (
        small.sha256 == data.read("course", limit=150, seed=3).sha256 != data.read("course", limit=150, seed=4).sha256
    )
    assert set(np.unique(small.pairs.gold)) == {0, 1}
    assert "a smaller corpus is easier" in capsys.readouterr().out


@pytest.mark.parametrize("limit", [1, 0, -3])
def test_a_limit_below_two_is_refused(limit: int) -> None:
    with pytest.raises(CourseError, match=f"limit is {limit}; it must be 2 or more"):
        data.read("course", limit=limit)


MEASURE = """
import sys
from helpers import data
def peak():  # that of this process; getrusage's is the parent's too
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
import numpy
before = peak()
made = data.read(sys.argv[1])
print(1024 * (peak() - before))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
@pytest.mark.parametrize("name", ["m.csv", "m.jsonl", "m.json"])
def test_reading_takes_at_most_three_times_the_file_in_memory(put: Put, name: str) -> None:
    row = {"sentence1": "The ferry left the harbour at noon with {}", "sentence2": "At noon the boat departed, {}"}
    made = [{key: text.format(i) for key, text in row.items()} | {"label": i % 2} for i in range(100_000)]
    if name == "m.csv":
        content = pd.DataFrame(made).to_csv(index=False)
    else:
        content = lines(made) if name == "m.jsonl" else json.dumps(made)
    path = put(name, content)
    ran = subprocess.run([sys.executable, "-c", MEASURE, path], capture_output=True, text=True, check=True)
    used = int(ran.stdout.splitlines()[-1])
    print(used / path.stat().st_size)
    assert path.stat().st_size / 2 < used <= 3 * path.stat().st_size


def test_the_data_room_loads_nothing_heavy() -> None:
    code = (
        "import sys, helpers.data; print({'torch','pandas','pyarrow','datasets','mteb','sklearn'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_shards_of_different_columns_are_no_data_set(tmp_path: Path) -> None:
    folder = _shards(tmp_path / "m")
    frame().iloc[1:2].rename(columns={"label": "gold"}).to_parquet(folder / "test-00001-of-00002.parquet")
    with pytest.raises(CourseError, match=r"test-00001-of-00002\.parquet has the columns .*gold.* belong together"):
        data.read(folder)
