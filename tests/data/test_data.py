"""The course's data is what its lessons say, and a mistake in the reader's own is named with its mend."""

import json
import unicodedata
from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from helpers import data
from helpers.data.dataset import _json_pieces
from helpers.data.rows import open_table
from helpers.errors import CourseError

HARD = {"same_words", "negation", "swapped_roles", "numbers_changed"}
Write = Callable[..., Path]


def words(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()


def runs_of_words(text: str, n: int = 8) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[i : i + n]) for i in range(len(found) - n + 1)}


def repeated(texts: tuple[str, ...]) -> list[str]:
    return [text for text, times in Counter(" ".join(words(t)) for t in texts).items() if times > 1]


# The course's pairs


def test_the_course_has_at_least_240_pairs_in_six_domains() -> None:
    rows = [row for _, row in open_table(data.DATASETS / "pairs.csv")]
    assert len(data.pairs()) == len(rows) >= 240
    domains = Counter(row["domain"] for row in rows)
    assert len(domains) == 6
    assert min(domains.values()) >= 30


def test_each_domain_has_similar_and_dissimilar_pairs() -> None:
    rows = [row for _, row in open_table(data.DATASETS / "pairs.csv")]
    assert len({(row["domain"], row["label"]) for row in rows}) == 12


def test_the_labels_are_balanced() -> None:
    assert 0.4 <= data.pairs().gold.mean() <= 0.6


def test_a_third_of_the_dissimilar_pairs_are_hard() -> None:
    pairs = data.pairs()
    assert pairs.kind is not None
    dissimilar = [kind for kind, gold in zip(pairs.kind, pairs.gold, strict=True) if gold == 0]
    assert 0.33 <= sum(kind in HARD for kind in dissimilar) / len(dissimilar) <= 0.4
    assert set(dissimilar) >= HARD


def test_similar_pairs_are_never_of_a_hard_kind() -> None:
    pairs = data.pairs()
    assert pairs.kind is not None
    assert not {kind for kind, gold in zip(pairs.kind, pairs.gold, strict=True) if gold == 1} & HARD


def overlap(first: str, second: str) -> float:
    one, two = set(words(first)), set(words(second))
    return len(one & two) / len(one | two)


def test_hard_pairs_share_more_words_than_similar_ones() -> None:
    pairs = data.pairs()
    assert pairs.kind is not None
    shared = [overlap(*both) for both in zip(pairs.sentence1, pairs.sentence2, strict=True)]
    hard = [share for share, kind in zip(shared, pairs.kind, strict=True) if kind in HARD]
    similar = [share for share, gold in zip(shared, pairs.gold, strict=True) if gold == 1]
    assert np.mean(hard) > np.mean(similar)


def test_no_sentence_of_the_course_s_pairs_occurs_twice() -> None:
    pairs = data.pairs()
    assert repeated((*pairs.sentence1, *pairs.sentence2)) == []


# The course's retrieval set


def test_the_course_has_at_least_200_passages_and_80_queries() -> None:
    search = data.retrieval()
    assert len(search.corpus) >= 200
    assert len(search.queries) >= 80


def test_no_passage_and_no_query_occurs_twice() -> None:
    search = data.retrieval()
    assert repeated((*search.corpus.values(), *search.queries.values())) == []


def test_every_query_has_a_relevant_passage_in_the_corpus() -> None:
    search = data.retrieval()
    assert search.qrels.keys() == search.queries.keys()
    for judged in search.qrels.values():
        assert judged.keys() <= search.corpus.keys()
        assert max(judged.values()) > 0


# The course's queries with codes


def test_queries_with_codes_are_apart_from_the_others_and_at_least_30() -> None:
    codes, others = data.retrieval("codes"), data.retrieval()
    assert len(codes.queries) >= 30 and not codes.queries.keys() & others.queries.keys()
    assert others.corpus.items() < codes.corpus.items()
    assert repeated((*codes.corpus.values(), *codes.queries.values())) == []
    assert all(judged.keys() <= codes.corpus.keys() for judged in codes.qrels.values())


def test_each_query_with_a_code_repeats_a_number_or_name_of_its_passage() -> None:
    codes = data.retrieval("codes")
    for query, judged in codes.qrels.items():
        for document in judged:
            shared = {*words(codes.queries[query])} & {*words(codes.corpus[document])}
            assert any(c.isdigit() for word in shared for c in word) or "Alder" in codes.queries[query], query


def test_another_kind_of_queries_is_refused() -> None:
    with pytest.raises(CourseError, match="kind is 'numbers'; it can be words or codes"):
        data.retrieval("numbers")


# The course's unlabelled texts


def test_no_unlabelled_text_occurs_twice() -> None:
    assert repeated(data.texts()) == []


@pytest.mark.parametrize("other", ["pairs", "retrieval"])
def test_unlabelled_texts_share_no_text_and_no_eight_words_in_a_row_with(other: str) -> None:
    labelled = data.Dataset("", **{other: getattr(data, other)()}).texts
    assert not {" ".join(words(t)) for t in data.texts()} & {" ".join(words(t)) for t in labelled}
    mine = set(chain.from_iterable(map(runs_of_words, data.texts())))
    theirs = set(chain.from_iterable(map(runs_of_words, labelled)))
    assert mine
    assert not mine & theirs


def test_unlabelled_texts_are_from_5_to_over_200_tokens_long(minilm: SentenceTransformer) -> None:
    lengths = [len(ids) for ids in minilm.tokenizer(list(data.texts()), verbose=False)["input_ids"]]
    assert 5 <= min(lengths) <= 10
    assert max(lengths) > 200
    assert sum(length > 100 for length in lengths) >= 10


# The course's parallel sentences


def test_parallel_sentences_come_in_at_least_six_languages_beside_english() -> None:
    sentences = data.parallel()
    assert next(iter(sentences)) == "en" and len(sentences) >= 7
    assert {len(column) for column in sentences.values()} == {60}


def test_no_parallel_sentence_occurs_twice_and_none_is_left_in_english() -> None:
    sentences = data.parallel()
    for column in sentences.values():
        assert len(set(column)) == len(column) and all(text.strip() for text in column)
    for language in sentences.keys() - {"en"}:
        assert not set(sentences[language]) & set(sentences["en"])


@pytest.mark.parametrize(("language", "script"), [("ru", "CYRILLIC"), ("ar", "ARABIC"), ("zh", "CJK"), ("de", "LATIN")])
def test_parallel_sentences_are_in_the_script_of_their_language(language: str, script: str) -> None:
    letters = [c for text in data.parallel()[language] for c in text if c.isalpha()]
    assert sum(unicodedata.name(c).startswith(script) for c in letters) > 0.97 * len(letters)


# The course's long documents


def test_long_documents_are_longer_than_what_a_bert_reads(minilm: SentenceTransformer) -> None:
    lengths = [
        len(ids) for ids in minilm.tokenizer(list(data.long_documents().corpus.values()), verbose=False)["input_ids"]
    ]
    assert len(lengths) == 24 and min(lengths) > 2 * 512


def test_each_answer_stands_in_its_document_alone_and_where_it_is_said_to_stand() -> None:
    found = data.long_documents()
    for query, judged in found.qrels.items():
        [document] = judged
        holders = [name for name, text in found.corpus.items() if found.answers[query] in text]
        assert holders == [document]
        text = found.corpus[document]
        place = text.index(found.answers[query]) / len(text)
        low, high = {"beginning": (0, 0.25), "middle": (0.35, 0.65), "end": (0.75, 1)}[found.where[query]]
        assert low <= place <= high, (query, place)


def test_answers_stand_as_often_at_the_beginning_as_in_the_middle_and_at_the_end() -> None:
    assert Counter(data.long_documents().where.values()) == {"beginning": 24, "middle": 24, "end": 24}


def test_no_query_quotes_eight_words_of_a_long_document() -> None:
    found = data.long_documents()
    written = set(chain.from_iterable(map(runs_of_words, found.corpus.values())))
    assert not written & set(chain.from_iterable(map(runs_of_words, found.queries.values())))


# Datasets


def test_a_dataset_s_texts_are_distinct_and_in_order_of_appearance() -> None:
    pairs = data.Pairs(("b", "a"), ("a", "c"), np.array([0.0, 1.0]), graded=False)
    search = data.Retrieval({"d": "c", "e": "f"}, {"q": "g"}, {"q": {"d": 1}})
    assert data.Dataset("x", pairs, search).texts == ("b", "a", "c", "g", "f")


def test_a_fingerprint_changes_with_a_label_a_text_and_a_judgement() -> None:
    def fingerprint(label: float = 1, text: str = "a", relevance: int = 1) -> str:
        pairs = data.Pairs((text, "b"), ("c", "d"), np.array([0, label]), graded=True)
        return data.Dataset("x", pairs, data.Retrieval({"d": "e"}, {"q": "f"}, {"q": {"d": relevance}})).sha256

    assert fingerprint() == fingerprint()
    assert len({fingerprint(), fingerprint(label=2), fingerprint(text="z"), fingerprint(relevance=2)}) == 4


def test_the_word_course_reads_pairs_and_retrieval() -> None:
    dataset = data.read("course")
    assert (dataset.name, dataset.pairs is None, dataset.retrieval is None) == ("course", False, False)


# Reading the reader's own pairs


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file below the test's folder."""

    def put(name: str, *lines: str, encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes("\n".join(lines).encode(encoding))
        return path

    return put


CSV = ("sentence1,sentence2,label", '"one, two",three,1', "four,five,0")
READ = (("one, two", "four"), ("three", "five"))


def test_csv_follows_the_usual_quoting(write: Write) -> None:
    dataset = data.read(write("mine.csv", *CSV))
    assert dataset.name == "mine"
    assert dataset.pairs is not None
    assert (dataset.pairs.sentence1, dataset.pairs.sentence2) == READ
    assert dataset.pairs.gold.tolist() == [1, 0]
    assert not dataset.pairs.graded


def test_a_csv_cell_may_hold_a_line_break_and_a_doubled_quotation_mark(write: Write) -> None:
    pairs = data.read_pairs(write("mine.csv", CSV[0], '"a\nb","say ""hi""",1', "c,d,0"))
    assert (pairs.sentence1[0], pairs.sentence2[0]) == ("a\nb", 'say "hi"')


def test_in_tsv_a_quotation_mark_is_text(write: Write) -> None:
    pairs = data.read_pairs(write("mine.tsv", "sentence1\tsentence2\tscore", '"Yes\tno"\t2.5', 'a, "b"\tc\t0'))
    assert pairs.sentence1 == ('"Yes', 'a, "b"')
    assert pairs.sentence2 == ('no"', "c")
    assert pairs.gold.tolist() == [2.5, 0]
    assert pairs.graded


def test_jsonl_takes_numbers_and_numbers_as_text(write: Write) -> None:
    pairs = data.read_pairs(
        write(
            "mine.jsonl",
            '{"sentence1": "a", "sentence2": "b", "label": 1}',
            "",
            '{"sentence1": "c", "sentence2": "d", "label": "0", "other": [1]}',
        )
    )
    assert pairs.gold.tolist() == [1, 0]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_byte_order_mark_windows_line_ends_and_blank_lines_change_nothing(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(ending.join(["", *CSV, "", ""]).encode("utf-8-sig"))
    pairs = data.read_pairs(path)
    assert (pairs.sentence1, pairs.sentence2) == READ


def test_kind_is_kept_and_other_columns_are_ignored(write: Write) -> None:
    pairs = data.read_pairs(write("m.csv", "kind,label,sentence2,sentence1,x", "hard,1,b,a,9", ",0,d,c,9"))
    assert pairs.kind == ("hard", "")
    assert pairs.sentence1 == ("a", "c")


def test_without_a_kind_column_there_are_no_kinds(write: Write) -> None:
    assert data.read_pairs(write("m.csv", *CSV)).kind is None


HEAD = "sentence1,sentence2,label"
LONG_ENOUGH = '{"sentence1": "a", "sentence2": "b", "label": 1}'


@pytest.mark.parametrize(
    ("name", "lines", "sentence"),
    [
        ("m.csv", ["sentence1,sentence_two,label", "a,b,1"], r"line 1: no column 'sentence2' .*rename.*sentence_two"),
        ("m.csv", ["x,y,label", "a,b,1"], r"line 1: no column 'sentence1' among x, y, label; rename or add"),
        ("m.csv", ["sentence1,sentence2", "a,b"], r"line 1: no column 'label' .*'score' .*rename or add one"),
        ("m.csv", [HEAD + ",score", "a,b,1,2"], r"line 1: has both label and score; keep the one"),
        ("m.csv", [HEAD, "a,b,1", "c,d,2"], r"line 3: label is '2'; it must be 0 or 1 .*'score'"),
        ("m.csv", [HEAD, "a,b,1", "c,d,maybe"], r"line 3: label is 'maybe'; it must be 0 or 1"),
        ("m.csv", [HEAD, "a,b,1", "c,d,"], r"line 3: label is ''; it must be 0 or 1"),
        ("m.csv", [HEAD, "a,b,nan", "c,d,0"], r"line 2: label is 'nan'; it must be 0 or 1"),
        ("m.csv", ["sentence1,sentence2,score", "a,b,1.5", "c,d,NaN"], r"line 3: score is 'NaN'; it must be a finite"),
        ("m.csv", ["sentence1,sentence2,score", "a,b,inf", "c,d,1"], r"line 2: score is 'inf'; it must be a finite"),
        ("m.csv", [HEAD, "a,b,1", "c,d,1"], r": every label is 1; .*both 0 and 1"),
        ("m.csv", ["sentence1,sentence2,score", "a,b,3", "c,d,3"], r": every score is 3; .*differ"),
        ("m.csv", [HEAD], r" has no rows; it needs at least two pairs"),
        ("m.csv", ["id," + HEAD, "7,a,b,1", "7,c,d,0"], r"line 3: id '7' was used in line 2; give each pair its own"),
        ("m.csv", [HEAD, "a,b,1", " ,d,0"], r"line 3: sentence1 is empty.*fill it or drop the line"),
        ("m.csv", [HEAD, "a,,1", "c,d,0"], r"line 2: sentence2 is empty.*fill it or drop the line"),
        ("m.csv", [HEAD, "a,b,c,1"], r"line 2: 4 columns where the header has 3; quote a text that holds a comma"),
        ("m.csv", [HEAD, "a,1"], r"line 2: 2 columns where the header has 3"),
        ("m.csv", [HEAD, "a,b,1", 'c,"d,0'], r"line 3: .*check the quotation marks"),
        ("m.tsv", ["sentence1\tsentence2\tlabel", "a b\t1"], r"line 2: 2 columns where .* 3; a tab may be missing"),
        ("m.jsonl", [LONG_ENOUGH, "", "{oops}"], r"line 3: not JSON \(.*\); one object a line"),
        ("m.jsonl", [LONG_ENOUGH, "[1]"], r"line 2: not a JSON object; one object a line"),
        ("m.jsonl", [LONG_ENOUGH, '{"sentence1": "a", "label": 0}'], r"line 2: sentence2 is empty or no text"),
        ("m.jsonl", [LONG_ENOUGH, LONG_ENOUGH.replace('"b"', "3")], r"line 2: sentence2 is empty or no text"),
        ("m.jsonl", [LONG_ENOUGH, LONG_ENOUGH.replace("1}", "null}")], r"line 2: label is None; it must be 0 or 1"),
        ("m.jsonl", [LONG_ENOUGH, LONG_ENOUGH.replace("1}", "NaN}")], r"line 2: label is nan; it must be 0 or 1"),
    ],
)
def test_a_mistake_in_pairs_is_named_with_file_line_and_mend(
    write: Write, name: str, lines: list[str], sentence: str
) -> None:
    path = write(name, *lines)
    with pytest.raises(CourseError, match=sentence) as raised:
        data.read(path)
    assert str(raised.value).startswith(str(path))


@pytest.mark.parametrize("name", ["m.csv", "m.tsv", "m.jsonl", "folder", "m"])
def test_a_missing_file_is_named_with_its_mend(tmp_path: Path, name: str) -> None:
    with pytest.raises(CourseError, match=rf"{name} doesn't exist; check the path .*'course'"):
        data.read(tmp_path / name)


@pytest.mark.parametrize("name", ["m.csv", "m.tsv", "m.jsonl"])
def test_an_empty_file_is_named_with_its_mend(write: Write, name: str) -> None:
    with pytest.raises(CourseError, match=rf"{name} is empty; fill it or name another"):
        data.read(write(name))


def test_a_file_of_another_kind_is_refused(write: Write) -> None:
    with pytest.raises(CourseError, match=r"m\.xlsx: pairs are read from \.csv, \.tsv or \.jsonl"):
        data.read(write("m.xlsx", *CSV))


def test_what_isnt_utf_8_is_read_as_cp1252_and_its_first_foreign_line_shown(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = data.read(write("m.csv", HEAD, "a,b,1", "café – 5 €,d,0", encoding="cp1252"))
    assert dataset.pairs is not None and dataset.pairs.sentence1[1] == "café – 5 €"
    assert "m.csv isn't UTF-8; read as cp1252 (Western Windows): 'café – 5 €,d,0'" in capsys.readouterr().out


def test_a_byte_of_neither_encoding_is_named_with_its_line(write: Write) -> None:
    path = write("m.csv", HEAD, "a,b,1")
    path.write_bytes(path.read_bytes() + b"\nx\x81\xff,d,0")
    with pytest.raises(CourseError, match=r"m\.csv, line 3: byte 0x81 is neither UTF-8 nor cp1252; save .* or name"):
        data.read(path)


def test_a_line_is_counted_as_an_editor_counts_it_after_a_line_break_in_a_cell(write: Write) -> None:
    with pytest.raises(CourseError, match=r"m\.csv, line 4: label is 'x'"):
        data.read(write("m.csv", HEAD, '"a\nb",c,1', "d,e,x"))


# Reading the reader's own retrieval set

CORPUS = ('{"_id": "d1", "title": "T", "text": "one"}', '{"_id": "d2", "text": "two"}')
QUERIES = ('{"_id": "q1", "text": "first"}', '{"_id": "q2", "text": "second"}', '{"_id": "q3", "text": "no judgement"}')
QRELS = ("query-id\tcorpus-id\tscore", "q1\td1\t2", "q2\td2\t1", "q2\td1\t0")


@pytest.fixture
def beir(write: Write, tmp_path: Path) -> Callable[..., Path]:
    """A small BEIR folder, with one of its files replaced."""

    def make(qrels_name: str = "qrels.tsv", **replaced: tuple[str, ...]) -> Path:
        write("set/corpus.jsonl", *replaced.get("corpus", CORPUS))
        write("set/queries.jsonl", *replaced.get("queries", QUERIES))
        write(f"set/{qrels_name}", *replaced.get("qrels", QRELS))
        return tmp_path / "set"

    return make


@pytest.mark.parametrize("place", ["qrels.tsv", "qrels/test.tsv"])
def test_a_beir_folder_is_read_with_its_judgements_in_either_place(beir: Callable[..., Path], place: str) -> None:
    dataset = data.read(beir(place))
    assert dataset.name == "set"
    assert dataset.retrieval == data.Retrieval(
        corpus={"d1": "T one", "d2": "two"},
        queries={"q1": "first", "q2": "second"},
        qrels={"q1": {"d1": 2}, "q2": {"d2": 1, "d1": 0}},
    )


def test_a_query_judged_only_0_stays_as_in_beir_and_one_without_judgement_is_left_out(
    beir: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    search = data.read_beir(beir(qrels=("query-id\tcorpus-id\tscore", "q1\td1\t1", "q2\td2\t0")))
    assert list(search.queries) == list(search.qrels) == ["q1", "q2"]
    assert "1 queries without a judgement are left out" in capsys.readouterr().out


def test_a_tilde_is_the_readers_home(write: Write, beir: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    home, folder = write("mine.csv", *CSV).parent, beir()
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    assert len(data.read_pairs("~/mine.csv")) == 2
    assert data.read("~/mine.csv").pairs is not None
    assert data.read_beir(f"~/{folder.name}").qrels


def test_an_id_that_is_a_number_matches_its_text(beir: Callable[..., Path]) -> None:
    folder = beir(corpus=('{"_id": 5, "text": "one"}',), qrels=("query-id\tcorpus-id\tscore", "q1\t5\t1"))
    assert data.read_beir(folder).qrels == {"q1": {"5": 1}}


@pytest.mark.parametrize(
    ("part", "lines", "sentence"),
    [
        ("qrels", (QRELS[0], "q1\td1\t1001"), r"qrels\.tsv, line 2: the score is 1001; a relevance is at most 1,000"),
        ("qrels", (*QRELS, "q9\td1\t1"), r"qrels\.tsv, line 5: query 'q9' isn't in queries\.jsonl; add it or drop"),
        ("qrels", (*QRELS, "q1\td1\t1"), r"qrels\.tsv, line 5: query 'q1' and document 'd1' were judged before"),
        ("qrels", (QRELS[0], "q1\td1\t0.5"), r"qrels\.tsv, line 2: the score is '0\.5'; it must be a whole number"),
        ("qrels", (QRELS[0], "q1\td1"), r"qrels\.tsv, line 2: 2 columns where the header has 3; a tab may be missing"),
        ("qrels", ("q1\td1\t1", "q2\td2\t1"), r"qrels\.tsv, line 1: no column corpus-id, query-id, score; the header"),
        ("qrels", (QRELS[0], "q1\td1\t0"), r"qrels\.tsv names no relevant document"),
        ("qrels", (QRELS[0],), r"qrels\.tsv names no relevant document"),
        ("qrels", (), r"qrels\.tsv is empty"),
        ("corpus", (*CORPUS, CORPUS[0]), r"corpus\.jsonl, line 3: _id 'd1' was used before; give each its own"),
        (
            "corpus",
            ('{"_id": "5", "text": "a"}', '{"_id": 5, "text": "b"}'),
            r"line 2: _id '5' was used before; give each",
        ),
        ("queries", (QUERIES[0], QUERIES[0]), r"queries\.jsonl, line 2: _id 'q1' was used before; give each its own"),
        ("corpus", ('{"text": "one"}',), r"corpus\.jsonl, line 1: no '_id'; give each line its own"),
        ("corpus", ('{"_id": "d1", "text": " "}',), r"corpus\.jsonl, line 1: text is empty.*fill it or drop"),
        ("corpus", ('{"_id": "d1"}',), r"corpus\.jsonl, line 1: text is empty or no text"),
        ("queries", ('{"_id": "q1", "text": "a"',), r"queries\.jsonl, line 1: not JSON"),
        ("queries", ("", " "), r"queries\.jsonl has no rows"),
    ],
)
def test_a_mistake_in_a_beir_folder_is_named_with_file_line_and_mend(
    beir: Callable[..., Path], part: str, lines: tuple[str, ...], sentence: str
) -> None:
    folder = beir(**{part: lines})
    with pytest.raises(CourseError, match=sentence) as raised:
        data.read(folder)
    assert str(raised.value).startswith(str(folder))


@pytest.mark.parametrize("missing", ["corpus.jsonl", "queries.jsonl"])
def test_a_beir_folder_without_its_texts_is_named(beir: Callable[..., Path], missing: str) -> None:
    folder = beir()
    (folder / missing).unlink()
    with pytest.raises(CourseError, match=rf"{missing} doesn't exist"):
        data.read(folder)


def test_a_beir_folder_without_judgements_is_told_where_they_belong(beir: Callable[..., Path]) -> None:
    folder = beir()
    (folder / "qrels.tsv").unlink()
    with pytest.raises(CourseError, match=r"neither qrels\.tsv nor qrels/test\.tsv; add the relevance judgements"):
        data.read(folder)


def test_what_is_read_can_be_written_and_read_again(write: Write) -> None:
    pairs = data.pairs()
    lines = [
        json.dumps({"sentence1": one, "sentence2": two, "label": gold})
        for one, two, gold in zip(pairs.sentence1, pairs.sentence2, pairs.gold.tolist(), strict=True)
    ]
    again = data.read_pairs(write("again.jsonl", *lines))
    assert (again.sentence1, again.sentence2, again.gold.tolist()) == (
        pairs.sentence1,
        pairs.sentence2,
        pairs.gold.tolist(),
    )


def test_the_fingerprint_forgets_nothing_that_a_result_depends_on() -> None:
    def made(**change: str) -> str:
        text = {name: name for name in ("sentence1", "sentence2", "document", "document_id", "query", "query_id")}
        text |= change
        pairs = data.Pairs((text["sentence1"],), (text["sentence2"],), np.array([1.0]), False)
        corpus, queries = {text["document_id"]: text["document"]}, {text["query_id"]: text["query"]}
        qrels = {text["query_id"]: {text["document_id"]: 1}}
        return data.Dataset("x", pairs, data.Retrieval(corpus, queries, qrels)).sha256

    names = ("sentence1", "sentence2", "document", "document_id", "query", "query_id")
    assert len({made(), *(made(**{name: "another"}) for name in names)}) == len(names) + 1


def test_a_cell_may_be_longer_than_csv_allows_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(f"sentence1,sentence2,label\n{'x' * 200_000},b,1\nc,d,0\n", encoding="utf-8")
    assert len(data.read(path).pairs.sentence1[0]) == 200_000


def test_a_fingerprint_is_that_of_the_whole_as_json_read_in_pieces() -> None:
    parts: list[list[Any]] = [[["a", "b"], {"d": "x", "e": "y"}, [0.5, 1]], [{}], [[]]]
    assert "".join(_json_pieces(parts)) == json.dumps(parts)


def test_a_part_of_the_docstrings_counts_what_was_dropped_of_its_own_packages() -> None:
    assert {key.partition(": ")[0] for key in data.docstrings("dev").dropped} == {"scipy"}
