"""BM25 and fusion, and what takes part in the benchmark beside models."""

from pathlib import Path

import pytest

from helpers import benchmark, data, search
from helpers.benchmark import plots
from helpers.benchmark.entrants import entrant
from helpers.data.structured import pairs_from, split_off
from helpers.errors import CourseError
from helpers.exercises import lesson_16

STATIC = "all-MiniLM-L6-v2-static-256"
SMALL = data.Retrieval(
    {"d1": "the red bicycle stands in the shed", "d2": "a blue boat", "d3": "", "d4": "red red wine"},
    {"q1": "where is my red bicycle", "q2": "the of and", "q3": "zeppelin"},
    {"q1": {"d1": 1}, "q2": {"d2": 1}, "q3": {"d4": 1}},
)


def test_bm25_is_the_formula_on_the_words_that_it_counts() -> None:
    course = data.retrieval()
    documents, queries = (search.words(list(side.values())) for side in (course.corpus, course.queries))
    run = search.bm25(course)
    for query, words in list(zip(course.queries, queries, strict=True))[:10]:
        by_hand = lesson_16.bm25(words, documents, search.K1, search.B)
        expected = dict(zip(course.corpus, by_hand, strict=True))
        assert run[query] == pytest.approx({d: expected[d] for d in run[query]}, abs=1e-4)
        assert max(expected.values()) == pytest.approx(max(run[query].values()), abs=1e-4)


def test_bm25_finds_what_shares_a_word_and_nothing_for_a_query_without_words() -> None:
    assert list(search.bm25(SMALL)["q1"]) == ["d1", "d4"]
    assert search.bm25(SMALL)["q2"] == search.bm25(SMALL)["q3"] == {}
    assert search.bm25(data.Retrieval({"d": ""}, {"q": "x"}, {"q": {"d": 1}})) == {"q": {}}
    assert list(search.bm25(SMALL, k=1)["q1"]) == ["d1"]


def test_a_query_that_is_a_document_is_not_among_its_own_answers() -> None:
    own = data.Retrieval({"a": "red bicycle", "b": "red wheel"}, {"a": "red bicycle"}, {"a": {"b": 1}})
    assert own.own_documents == {"a"} and list(search.bm25(own)["a"]) == ["b"]


def test_fusion_adds_up_one_over_the_ranks_and_honours_weights() -> None:
    one, other = {"q": {"a": 9.0, "b": 8.0}}, {"q": {"b": 0.2, "c": 0.1}}
    assert search.rrf([one, other], k=1)["q"] == pytest.approx({"b": 1 / 3 + 1 / 2, "a": 1 / 2, "c": 1 / 3})
    assert next(iter(search.rrf([one, other], [1, 0.1], k=1)["q"])) == "a"
    assert list(search.rrf([one, other], [1, 0])["q"]) == ["a", "b", "c"]
    assert search.rrf([{"q": {}}, one])["q"].keys() == {"a", "b"}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("bm25", ("", 1.0)),
        ("BM25+x", ("x", 1.0)),
        ("bm25:0.2+org/x@openvino", ("org/x@openvino", 0.2)),
        ("bm25:.5+x", ("x", 0.5)),
    ],
)
def test_a_name_says_what_is_fused(name: str, found: tuple[str, float]) -> None:
    read = entrant(name)
    assert read is not None and (read.model, read.weight) == found


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "bm25s", "my/bm25+x", "bm25:x+y", "bm25+"])
def test_other_names_are_models(name: str) -> None:
    assert entrant(name) is None


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> benchmark.Report:
    names = [STATIC, "bm25", f"bm25+{STATIC}", f"bm25:0+{STATIC}", "bm25+nobody"]
    given = {"models": names, "speed_s": 0, "output_dir": tmp_path_factory.mktemp("report")}
    return benchmark.run(benchmark.settings(given))


def test_bm25_and_fusions_are_ranked_beside_models_on_the_same_queries(report: benchmark.Report) -> None:
    by_name = {r.name: r for r in report.results}
    course = data.retrieval()
    assert by_name[f"bm25:0+{STATIC}"].per_query == by_name[STATIC].per_query
    assert len(by_name["bm25"].per_query["ndcg@10"]) == len(course.queries)
    assert by_name["bm25"].scores["ndcg@10"].value == pytest.approx(0.508, abs=0.01)
    assert "Did you mean" in report.unavailable["bm25+nobody"] or "no model" in report.unavailable["bm25+nobody"]


def test_they_have_no_score_on_pairs_and_the_report_stands_all_the_same(report: benchmark.Report) -> None:
    by_name = {r.name: r for r in report.results}
    assert "roc_auc" in by_name[STATIC].scores and "roc_auc" not in by_name["bm25"].scores
    assert by_name["bm25"].similarities is None and by_name["bm25"].dims == 0
    scores = benchmark.scores(report).set_index("model")
    assert scores.loc["bm25", "ROC-AUC"] == "none" and "0." in scores.loc[STATIC, "ROC-AUC"]
    figure, table = plots.similarities(report)
    assert list(table["model"]) == [STATIC] and len(figure.axes) == 1
    saved = benchmark.read(benchmark.save(report, figure)[0].parent)
    assert [r.name for r in saved.results] == [r.name for r in report.results]


@pytest.mark.parametrize(
    ("rows", "quality", "reason"),
    [
        ("text1,text2,label\na,b,1\nc,d,0\ne,f,1\ng,h,0\n", "auto", "has no queries"),
        (None, "roc_auc", "so it has no roc_auc"),
    ],
)
def test_where_nothing_is_ranked_bm25_is_named_and_the_models_go_on(
    tmp_path: Path, rows: str | None, quality: str, reason: str
) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(rows or "")
    given = {"models": f"tfidf-4096,bm25+{STATIC}", "speed_s": 0, "output_dir": tmp_path / "out", "quality": quality}
    found = benchmark.run(benchmark.settings(given | {"dataset": str(path) if rows else "course"}))
    assert [r.name for r in found.results] == ["tfidf-4096"] and reason in found.unavailable[f"bm25+{STATIC}"]


# Pairs from structure


def article(number: int, title: str = "") -> str:
    body = " ".join(f"w{number}x{i}" for i in range(30))
    return f"{title or f'What article number {number} says'}\n\n{body}"


def test_texts_with_a_title_become_queries_that_ask_for_the_rest(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number}.txt").write_text(article(number))
    found = data.read(f"pairs-from:{folder}")
    assert found.retrieval is not None and len(found.retrieval.queries) == 40 and found.name == "pairs-from:texts"
    query, asked = next(iter(found.retrieval.queries.items()))
    [document] = found.retrieval.qrels[query]
    assert asked.startswith("What article") and asked not in found.retrieval.corpus[document]
    assert not any("without labels" in note for note in found.notes)


def test_copies_near_copies_and_texts_that_say_too_little_are_left_out_and_counted() -> None:
    near = article(1).replace("w1x5", "other")
    texts = [
        article(1),
        article(2),
        near.replace("What article number 1", "Another title for number 1"),
        "short",
        article(3, "What article number 2 says"),
    ]
    found, dropped = pairs_from(texts)
    assert len(found.queries) == 2
    assert list(dropped.values()) == [1, 1, 1]


def test_a_first_sentence_serves_where_there_is_no_title() -> None:
    made = split_off("Kiln one reached its heat at noon. " + "word " * 25)
    assert made is not None and made[0] == "Kiln one reached its heat at noon."
    assert split_off("Too short. " + "word " * 25) is None and split_off("") is None


def test_too_few_pairs_are_an_error_that_says_what_a_text_needs(tmp_path: Path) -> None:
    path = tmp_path / "few.txt"
    path.write_text("\n".join(f"line {i} is no article" for i in range(50)))
    with pytest.raises(CourseError, match=r"only 0 texts give a pair \(50 without a title or too short\)"):
        data.read(f"pairs-from:{path}")
