"""Models x data -> results, ranking, report: right numbers, nothing lost, nothing made up."""

import dataclasses
import json
import math
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from safetensors import SafetensorError
from sentence_transformers import SentenceTransformer

from helpers import benchmark, bundled, data, models
from helpers.benchmark import Report, Scored, Settings, plots, running
from helpers.benchmark.progress import SILENCE_S, Progress
from helpers.errors import CourseError
from helpers.measure import comparing, ranking, speed
from helpers.measure.comparing import Comparison
from helpers.measure.metrics import Estimate
from helpers.measure.speed import Speed

TFIDF, STATIC = "tfidf-4096", "all-MiniLM-L6-v2-static-256"
PAIRS = """sentence1,sentence2,label
The cat sat on the mat.,A cat was sitting on the mat.,1
The train leaves at noon.,The train departs at noon.,1
She bought a red bicycle.,She purchased a red bicycle.,1
Prices rose in March.,Prices went up in March.,1
The shop opens at nine.,The store opens at nine.,1
He fixed the leaking tap.,He repaired the leaking tap.,1
The cat sat on the mat.,Interest rates fell again.,0
The train leaves at noon.,The soup needs more salt.,0
She bought a red bicycle.,Our server runs Linux.,0
Prices rose in March.,The dog barked all night.,0
The shop opens at nine.,Whales are mammals.,0
He fixed the leaking tap.,The film was too long.,0
"""
DISTINCT = 18
ENDS = ("", "_low", "_high")
CHAIN_SEED, CHAIN_SHIFT = 8, 0.14


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.csv"
    path.write_text(PAIRS, encoding="utf-8")
    return path


@pytest.fixture
def chosen(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Two fast models on twelve pairs."""
    monkeypatch.setattr(speed, "SHORTEST_VISIT_S", 0.0)
    return Settings(models=(TFIDF, STATIC), dataset=str(tiny), device="cpu", speed_s=0, output_dir=tmp_path / "results")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A finished run of the two."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "tiny.csv").write_text(PAIRS, encoding="utf-8")
    return benchmark.run(
        Settings(
            models=(TFIDF, STATIC),
            dataset=str(folder / "tiny.csv"),
            device="cpu",
            speed_s=0,
            output_dir=folder / "results",
        )
    )


def timed(*rates: float, spread: float = 0.0, reference: float = 100.0) -> list[Speed]:
    """Speeds of seven rounds, in texts a second; `spread` is that of log seconds from round to round."""
    noise = spread * np.array([-1, 1, -0.5, 0.5, 0, 0.7, -0.7])
    of_reference = tuple(np.full(7, 1 / reference))
    return [
        Speed(
            texts_per_s=rate,
            tokens_per_s=50 * rate,
            peak_share=None,
            latency_ms=1000 / rate,
            latency_p95_ms=2000 / rate,
            tokens_per_text=50.0,
            computed_per_token=1.1,
            batch_size=8,
            texts=128,
            clock="CPU seconds",
            wall_s=(own := tuple(np.exp(noise * (i + 1)) / rate)),
            cpu_s=own,
            reference="a",
            reference_wall_s=of_reference,
            reference_cpu_s=of_reference,
        )
        for i, rate in enumerate(rates)
    ]


def with_values(report: Report, values: Any, rates: tuple[float, ...], spread: float = 0.0, **change: Any) -> Report:
    """The report with one result a row of `values` (nDCG of each query), named a, b, c, ..."""
    rows = np.asarray(values, dtype=float)
    results = [
        dataclasses.replace(
            report.results[0],
            name="abcdefghij"[i],
            scores={"ndcg@10": Estimate(row.mean(), row.mean() - 0.05, min(row.mean() + 0.05, 1.0))},
            per_query={"ndcg@10": tuple(row)},
            similarities=None,
            speed=made,
        )
        for i, (row, made) in enumerate(zip(rows, timed(*rates, spread=spread), strict=True))
    ]
    data_ = dataclasses.replace(
        report.data, pairs=0, gold=None, queries=tuple(f"q{i}" for i in range(rows.shape[1])), documents=30, judged=40
    )
    changed = report.settings.model_copy(update=change)
    return dataclasses.replace(report, results=tuple(results), data=data_, settings=changed)


def answers(*means: float, queries: int = 100, noise: float = 0.1, seed: int = 0) -> NDArray[np.float64]:
    """Values of each query, most of their spread common to all models."""
    draw = np.random.default_rng(seed)
    common = draw.uniform(-0.2, 0.2, size=queries)
    common -= common.mean()
    own = draw.normal(0, noise, size=(len(means), queries))
    values: NDArray[np.float64] = np.clip(
        np.array(means)[:, None] + common + own - own.mean(axis=1, keepdims=True), 0, 1
    )
    return values


# Settings


def test_without_parameters_every_bundled_model_runs_on_the_course_s_data() -> None:
    default = benchmark.settings({})
    assert (default.models, default.dataset) == ((*bundled.MODELS, "bm25"), "course")


def test_parameters_are_taken_from_variables_and_python_s_own_names_passed_over() -> None:
    made = benchmark.settings({"speed_s": 5, "_hidden": 1, "print": print, "os": os, "Path": Path})
    assert made.speed_s == 5


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("a, b ,c", ("a", "b", "c")),
        (["a", "b"], ("a", "b")),
        ("a,a,,b", ("a", "b")),
        ("bundled", (*bundled.MODELS, "bm25")),
        (["e5-small-v2", "bundled"], ("e5-small-v2", *bundled.MODELS, "bm25")),
        ("bundled, tfidf-4096, x", (*bundled.MODELS, "bm25", "x")),
    ],
)
def test_models_are_a_list_or_one_text_with_commas_and_bundled_stands_for_all(
    value: Any, names: tuple[str, ...]
) -> None:
    assert benchmark.settings({"models": value}).models == names


@pytest.mark.parametrize("value", ["", "auto", None])
def test_auto_and_an_empty_text_mean_choose_for_me(value: str | None) -> None:
    made = benchmark.settings({"device": value, "dtype": value, "quality": value})
    assert (made.device, made.dtype, made.quality) == (None, None, None)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"margins": 3}, r"no parameter 'margins'\. Did you mean margin\? Known are: models, dataset, "),
        ({"speed_s": "many"}, r"Parameter speed_s is 'many': "),
        ({"speed_s": -1}, r"Parameter speed_s is -1: "),
        ({"speed_s": math.nan}, r"Parameter speed_s is nan: "),
        ({"margin": 0}, r"Parameter margin is 0: "),
        ({"batch_size": 1.5}, r"Parameter batch_size is 1\.5: "),
        ({"speed_cap": 0}, r"Parameter speed_cap is 0: "),
        ({"source": "web"}, r"Parameter source is 'web': "),
        ({"seed": -1}, r"Parameter seed is -1: "),
        ({"models": ""}, r"Parameter models is empty; name at least one"),
        ({"models": [" "]}, r"Parameter models is empty; name at least one"),
        ({"models": 3}, r"Parameter models"),
        ({"models": None}, r"Parameter models"),
    ],
)
def test_a_wrong_parameter_is_named(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CourseError, match=sentence):
        benchmark.settings(given)


# Ranking


@pytest.mark.parametrize(
    ("quality", "rate", "combined"), [(0.6234, 89.3, 0.4698), (0.5234, 312.5, 0.4645), (0.5987, 95.2, 0.4533)]
)
def test_the_combined_score_of_the_course_s_example(quality: float, rate: float, combined: float) -> None:
    assert round(ranking.combined_score(quality, rate), 4) == combined


def test_speed_above_the_cap_earns_nothing_more_and_the_cap_is_a_parameter() -> None:
    assert ranking.combined_score(0.5, 500) == ranking.combined_score(0.5, 5000) == 0.5
    assert ranking.combined_score(0.5, 500, speed_cap=1000) == pytest.approx(0.5 * 0.85)


@pytest.mark.parametrize(
    ("quality", "rates", "front"),
    [
        ([0.9, 0.8, 0.7], [10, 20, 30], [True, True, True]),
        ([0.9, 0.8, 0.7], [30, 20, 10], [True, False, False]),
        ([0.9, 0.7, 0.8], [10, 20, 30], [True, False, True]),
        ([0.9, 0.9], [10, 20], [False, True]),
        ([0.9, 0.8], [10, 10], [True, False]),
        ([0.9, 0.9], [10, 10], [True, True]),
    ],
)
def test_the_front_holds_what_nothing_else_beats_at_both(
    quality: list[float], rates: list[float], front: list[bool]
) -> None:
    made = ranking.placed(
        quality,
        rates,
        better=lambda one, other: quality[one] > quality[other],
        faster=lambda one, other: rates[one] > rates[other],
    )
    assert [bool(place.front) for place in made] == front


def compared(ranks_better: dict[tuple[int, int], bool], scores: tuple[float, ...]) -> Comparison:
    """A comparison in which the named pairs (better, worse) are told apart."""
    many = len(scores)
    p = np.ones((many, many))
    for one, other in ranks_better:
        p[one, other] = p[other, one] = 0.001
    value = np.array(scores)
    apart = value[:, None] - value[None]
    return Comparison(value, apart, apart - 0.01, apart + 0.01, p, np.full((many, many), 0.01), 2.5, 100)


@pytest.mark.parametrize(
    ("scores", "better", "rates", "fronts"),
    [
        ((0.9, 0.7), {(0, 1): True}, (10, 100), ["yes", "yes"]),  # a trade
        ((0.9, 0.7), {(0, 1): True}, (100, 10), ["yes", ""]),  # worse and slower
        ((0.9, 0.89), {}, (10, 100), ["", "yes"]),  # not told worse, and faster
        ((0.9, 0.89), {}, (100, 99), ["yes", "not told apart"]),  # behind at both, by nothing that is told
        ((0.9, 0.7), {(0, 1): True}, (100, 100), ["yes", ""]),  # better, and not slower
        ((0.9, 0.9), {}, (100, 100), ["yes", "yes"]),  # nobody is ahead
        ((0.9, 0.8, 0.7), {(0, 1): True, (0, 2): True}, (10, 100, 1000), ["yes", "", "yes"]),
    ],
)
def test_a_model_is_off_the_front_only_by_what_is_told(
    scores: tuple[float, ...], better: dict[tuple[int, int], bool], rates: tuple[float, ...], fronts: list[str]
) -> None:
    assert [place.front for place in ranking.places(compared(better, scores), timed(*rates))] == fronts


def test_a_faster_model_that_the_rounds_don_t_tell_leaves_nobody_off_the_front() -> None:
    noisy = timed(100, 130, spread=0.8)
    assert [place.front for place in ranking.places(compared({}, (0.9, 0.89)), noisy)] == ["yes", "yes"]


def test_equal_ranks_say_nothing_and_a_column_names_from_whom_a_model_isn_t_told_apart(report: Report) -> None:
    made = with_values(report, chain(), (10, 10, 10))
    ranked = benchmark.ranking(made)
    assert ranked["model"].tolist() == ["a", "b", "c"]
    assert ranked["rank"].tolist() == [1, 1, 2]
    assert ranked["not_told_apart_from"].tolist() == ["2", "1, 3", "2"]


def chain() -> NDArray[np.float64]:
    """A isn't told apart from B, nor B from C, but A is from C."""
    draw = np.random.default_rng(CHAIN_SEED)
    base = draw.normal(size=60)
    raw = np.stack([base + CHAIN_SHIFT * k + 0.5 * draw.normal(size=60) for k in (2, 1, 0)])
    return np.asarray((raw - raw.min()) / (raw.max() - raw.min()))


def test_inside_a_rank_the_faster_comes_first_if_it_is_told_else_the_list_s_order_stays(report: Report) -> None:
    values = answers(0.5, 0.8, 0.8, 0.8)
    ranked = benchmark.ranking(with_values(report, values, (900, 100, 101, 300)))
    assert ranked["model"].tolist() == ["d", "b", "c", "a"]
    assert ranked["rank"].tolist() == [1, 1, 1, 4]
    assert ranked["number"].tolist() == [1, 2, 3, 4]


def test_the_difference_to_the_best_has_its_interval_and_the_best_has_none(report: Report) -> None:
    ranked = benchmark.ranking(with_values(report, answers(0.6, 0.8), (10, 10)))
    assert ranked["to_best"].tolist() == pytest.approx([0, -0.2], abs=0.02)
    assert ranked["to_best_low"][1] < ranked["to_best"][1] < ranked["to_best_high"][1] < 0
    assert ranked["to_best_low"][0] == ranked["to_best_high"][0] == 0


def test_the_cap_of_the_settings_is_the_one_the_ranking_uses(report: Report) -> None:
    made = with_values(report, [[0.5] * 20], (500,), speed_cap=1000.0)
    assert benchmark.ranking(made)["combined"].tolist() == pytest.approx([0.5 * 0.85])


def test_a_valid_quality_is_what_ranks_and_is_shown(chosen: Settings) -> None:
    made = benchmark.run(chosen.model_copy(update={"quality": "separation"}))
    assert made.quality == "separation"
    ranked = benchmark.ranking(made)
    values = {r.name: r.scores["separation"].value for r in made.results}
    assert made.comparison.scores == pytest.approx(list(values.values()))
    assert ranked["to_best"].tolist() == pytest.approx([values[m] - max(values.values()) for m in ranked["model"]])
    assert "separation" in benchmark.verdict(made) and "separation" in benchmark.table(made)


# What is said


def test_a_cheaper_model_that_is_surely_within_the_margin_is_taken(report: Report) -> None:
    made = with_values(report, answers(0.800, 0.798, 0.5, noise=0.02), (100, 210, 7000), spread=0.02)
    said = benchmark.verdict(made)
    assert said.startswith("Best: **a** (nDCG@10 0.80")
    assert "b can't be told apart from it" in said and re.search(r"is 2\.1 \[[12]\.\d, 2\.\d\] times as fast", said)
    assert re.search(r"c loses 0\.3\d\d \[0\.\d+, 0\.\d+\] and is 70 \[", said)
    assert re.search(r"Take \*\*b\*\*, unless a loss of up to 0\.0\d\d matters to you", said)


def test_told_apart_isn_t_worth_it_where_the_difference_is_surely_below_the_margin(report: Report) -> None:
    made = with_values(report, answers(0.810, 0.800, noise=0.01), (100, 300))
    assert made.comparison.better(0, 1)
    assert "Take **b**" in benchmark.advice(made)
    assert "Take **a**" in benchmark.advice(
        with_values(report, answers(0.810, 0.800, noise=0.01), (100, 300), margin=0.005)
    )


def test_what_may_lose_more_than_the_margin_is_not_taken_and_is_said(report: Report) -> None:
    said = benchmark.advice(with_values(report, answers(0.80, 0.79, noise=0.2), (100, 300)))
    assert said.startswith("Take **a**, unless you can bear that b may lose up to 0.")


def test_data_that_decide_nothing_say_so_first_and_how_many_queries_would(report: Report) -> None:
    made = with_values(report, answers(0.80, 0.79, queries=20, noise=0.2), (100, 300))
    assert benchmark.verdict(made).startswith("These data decide nothing: no two of the 2 models are told apart")
    [power] = [line for line in benchmark.limits(made) if line.startswith("Power")]
    found = re.fullmatch(
        r"Power: 20 queries find a difference of (0\.\d+) to the best model four times in five; "
        r"about ([\d,]+) queries would find one of 0\.02\.",
        power,
    )
    assert found
    assert int(found[2].replace(",", "")) == pytest.approx(20 * (float(found[1]) / 0.02) ** 2, rel=0.02)


def test_a_set_that_every_model_answers_is_too_easy_to_rank(report: Report) -> None:
    made = with_values(report, np.ones((2, 30)), (100, 300))
    assert "Every model answers every one of the queries: this set is too easy to rank." in benchmark.verdict(made)
    assert benchmark.table(made)["nDCG@10"].tolist() == ["1.000, no error in 30 queries"] * 2


def test_few_failures_and_few_clusters_are_said(report: Report) -> None:
    values = np.ones((1, 30))
    values[0, :3] = 0.5
    made = with_values(report, values, (100,))
    assert "Few queries on which a model fails: a (3): below about 10" in " ".join(benchmark.limits(made))
    grouped = dataclasses.replace(made, data=dataclasses.replace(made.data, query_groups=tuple(np.arange(30) // 3)))
    said = " ".join(benchmark.limits(grouped))
    assert "form 10 clusters of queries" in said and "fewer than 15" in said


def test_an_unsteady_machine_is_said(report: Report) -> None:
    made = with_values(report, answers(0.8), (100,))
    assert "The machine was steady" in " ".join(benchmark.method(made))
    shaken = dataclasses.replace(made.results[0].speed, reference_wall_s=(0.01, 0.02) * 3 + (0.01,))
    made = dataclasses.replace(made, results=(dataclasses.replace(made.results[0], speed=shaken),))
    assert "The machine was not steady" in " ".join(benchmark.method(made))


def test_the_cap_s_doing_is_shown_by_two_models_that_it_turns_round(report: Report) -> None:
    said = benchmark.method(with_values(report, answers(0.82, 0.64), (30, 5000)))[-1]
    assert re.search(r"with a cap of 500 it puts b \(0\.6\d\d at 5,000 .*\) above a \(0\.8\d\d at 30: 0\.5\d\d\)", said)


def test_a_borderline_pair_is_named(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    made = with_values(report, answers(0.8, 0.79), (10, 10))
    monkeypatch.setattr(comparing, "BORDERLINE", (0.0, 1.0))
    assert "a and b" in " ".join(line for line in benchmark.limits(made) if line.startswith("Borderline"))


# Two reports


def test_two_reports_of_the_same_data_are_tested_on_the_same_items(report: Report) -> None:
    one = with_values(report, answers(0.8, 0.6), (100, 300))
    other = with_values(report, answers(0.7, 0.6, 0.9), (200, 300, 50))
    made = benchmark.compare(one, other)
    assert made[["first", "second", "told better"]].values.tolist() == [
        ["a", "a", "first"],
        ["b", "b", ""],
        ["a", "c", "second"],
    ]
    assert made["speed"].tolist() == pytest.approx([2, 1, 0.5])
    assert made["score of second"][0] - made["score of first"][0] == pytest.approx(-0.1, abs=0.02)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"dataset_sha256": "0"}, "are of different data"),
        ({"quality": "mrr@10"}, "ranks by ndcg@10, the other by mrr@10"),
    ],
)
def test_reports_that_have_nothing_in_common_are_refused(report: Report, change: dict[str, Any], sentence: str) -> None:
    one = with_values(report, answers(0.8), (100,))
    if "quality" in change:
        other = dataclasses.replace(one, settings=one.settings.model_copy(update=change))
    else:
        other = dataclasses.replace(one, **change)
    with pytest.raises(CourseError, match=sentence):
        benchmark.compare(one, other)


# A run


def test_a_run_gives_one_result_a_model_with_scores_speed_and_size(report: Report) -> None:
    assert [r.name for r in report.results] == [TFIDF, STATIC]
    assert [r.dims for r in report.results] == [4096, 256]
    assert report.unavailable == {}
    for result in report.results:
        assert result.scores.keys() == {"separation", "roc_auc", "average_precision"}
        assert result.weights.startswith("bundled (")
        assert (result.speed.texts, result.speed.reference) == (DISTINCT - 2, TFIDF)
        assert len(result.similarities or ()) == 12


def test_easy_pairs_are_told_apart_by_words_alone(report: Report) -> None:
    assert report.results[0].scores["roc_auc"].value == 1
    assert report.data.gold == (1.0,) * 6 + (0.0,) * 6


def test_results_are_frozen(report: Report) -> None:
    for thing, field in ((report, "results"), (report.results[0], "name"), (report.results[0].speed, "texts")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, field, None)
    with pytest.raises(ValueError, match="frozen"):
        report.settings.seed = 2  # type: ignore[misc]


def test_a_finished_run_leaves_nothing_unfinished(report: Report) -> None:
    assert not (report.settings.output_dir / "unfinished").exists()


def test_the_same_run_gives_the_same_scores(chosen: Settings, report: Report) -> None:
    assert [r.scores for r in benchmark.run(chosen).results] == [r.scores for r in report.results]


def test_each_distinct_text_is_encoded_once(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = models.load(TFIDF, device="cpu")
    encoded: Counter[str] = Counter()
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda texts, **kwargs: (encoded.update(texts), encode(texts, **kwargs))[1])
    dataset = data.read(tiny)
    benchmark.score(model, dataset)
    assert encoded == dict.fromkeys(dataset.texts, 1)
    assert len(encoded) == DISTINCT


def test_retrieval_encodes_queries_and_documents_each_once_and_with_their_prompts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = models.load("e5-base-v2", source="stand-in", device="cpu")
    read: Counter[str] = Counter()
    preprocess = model.preprocess

    def watch(texts: list[str], prompt: str | None = None, **kwargs: Any) -> Any:
        read.update((prompt or "") + text for text in texts)
        return preprocess(texts, prompt=prompt, **kwargs)

    monkeypatch.setattr(model, "preprocess", watch)
    search = data.Retrieval({"a": "cats purr", "b": "rates rose"}, {"q": "what purrs?"}, {"q": {"a": 1}})
    scores, similarities = benchmark.score(model, data.Dataset("x", retrieval=search))
    assert read == {"query: what purrs?": 1, "passage: cats purr": 1, "passage: rates rose": 1}
    assert scores["ndcg@10"].value == 1
    assert similarities is None


def test_retrieve_takes_the_best_by_cosine_in_the_order_of_ids() -> None:
    search = data.Retrieval({"x": "", "y": "", "z": ""}, {"p": "", "q": ""}, {})
    documents = np.array([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32)
    found = benchmark.retrieve(search, documents[[0, 1]], documents, k=2)
    assert found == {"p": {"x": 1.0, "z": pytest.approx(0.6)}, "q": {"y": 1.0, "z": pytest.approx(0.8)}}


def test_similarity_is_cosine_even_where_vectors_are_not_of_unit_length(tiny: Path) -> None:
    model = models.load("e5-base-v2", source="stand-in", device="cpu")
    expected = benchmark.score(model, data.read(tiny))[1]
    longer = SentenceTransformer(modules=list(model)[:-2], device="cpu")
    found = benchmark.score(longer, data.read(tiny))[1]
    assert expected is not None
    assert found is not None
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_graded_pairs_are_scored_by_spearman(tmp_path: Path, chosen: Settings) -> None:
    path = tmp_path / "graded.csv"
    path.write_text(PAIRS.replace("label", "score").replace(",1\n", ",4.5\n"), encoding="utf-8")
    report = benchmark.run(chosen.model_copy(update={"dataset": str(path)}))
    assert (report.quality, report.data.graded) == ("spearman", True)
    assert report.comparison.scores[0] == pytest.approx(report.results[0].scores["spearman"].value)
    assert report.results[0].scores["spearman"].value > 0.5
    with pytest.raises(CourseError, match=r"'graded.csv' has no pairs with labels 0 and 1"):
        plots.similarities(report)


def test_a_reader_s_own_course_csv_isn_t_taken_for_the_course_s_data(tmp_path: Path, chosen: Settings) -> None:
    path = tmp_path / "course.csv"
    path.write_text(PAIRS, encoding="utf-8")
    assert set(benchmark.speed_texts(data.read(path), course=False)) == set(data.read(path).texts)
    assert benchmark.speed_texts(data.read("course"), course=True) == list(data.texts())
    own = benchmark.run(chosen.model_copy(update={"dataset": str(path)}))
    assert own.dataset == "course.csv" and own.results[0].speed.texts == DISTINCT - 2


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (PAIRS.split("\n")[1:2] + PAIRS.split("\n")[7:8], "has 1 similar and 1 dissimilar pairs; a benchmark needs at"),
        (PAIRS.split("\n")[1:8], "has 6 similar and 1 dissimilar pairs"),
        ([row[:-1] + f"{i}.5" for i, row in enumerate(PAIRS.split("\n")[1:4])], "has 3 graded pairs; a correlation"),
    ],
)
def test_too_few_pairs_are_told_in_a_sentence(chosen: Settings, tiny: Path, rows: list[str], sentence: str) -> None:
    head = "sentence1,sentence2,score" if ".5" in rows[-1] else "sentence1,sentence2,label"
    tiny.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    with pytest.raises(CourseError, match=sentence):
        benchmark.run(chosen)


def test_the_batch_size_and_the_seed_that_a_run_is_told_reach_the_models(
    chosen: Settings, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: set[int] = set()
    encode = SentenceTransformer.encode

    def watch(self: Any, texts: Any, **options: Any) -> Any:
        sizes.add(options["batch_size"])
        return encode(self, texts, **options)

    monkeypatch.setattr(SentenceTransformer, "encode", watch)
    made = benchmark.run(chosen.model_copy(update={"batch_size": 1, "seed": 1, "speed_s": 0}))
    assert sizes == {1} and {r.speed.batch_size for r in made.results} == {1}
    assert made.results[1].scores["separation"].low != report.results[1].scores["separation"].low


def test_kinds_of_numbers_and_counts_of_parameters_are_those_of_the_model(tiny: Path) -> None:
    def found(name: str) -> tuple[str, int | None]:
        scored = benchmark.measure(name, data.read(tiny), Settings(device="cpu"))
        return scored.dtype, scored.parameters

    assert found("all-MiniLM-L6-v2-int8") == ("int8", 22_713_216)
    assert found(TFIDF)[1] is None


# Models that give no result


def test_a_stand_in_is_never_ranked_and_is_named_with_the_reason(chosen: Settings) -> None:
    report = benchmark.run(chosen.model_copy(update={"models": ("e5-base-v2", TFIDF)}))
    assert benchmark.ranking(report)["model"].tolist() == [TFIDF]
    assert list(report.unavailable) == ["e5-base-v2"]
    assert "out of reach" in report.unavailable["e5-base-v2"]
    assert "Not ranked: e5-base-v2: its weights are out of reach" in benchmark.summary(report)


@pytest.mark.parametrize("source", ["stand-in", "twin"])
def test_a_model_without_real_weights_is_not_measured_even_when_asked_for(tiny: Path, source: models.Source) -> None:
    with pytest.raises(CourseError, match=f"a {source} is at hand, and that says nothing of its quality"):
        benchmark.measure("bge-small-en-v1.5", data.read(tiny), Settings(source=source, device="cpu"))


class OwnError(Exception):
    """What a model's own code may raise."""


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA out of memory"),
        OSError("gone"),
        MemoryError(),
        ImportError("no module"),
        ValueError,
        TypeError("forward() got 2"),
        SafetensorError("HeaderTooLarge"),
        KeyError("weights"),
        OwnError("it is"),
    ],
)
def test_a_model_that_fails_is_named_with_the_kind_of_error_and_a_traceback_and_the_others_go_on(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    load = models.load

    def fail(name: str, **options: Any) -> SentenceTransformer:
        if name == STATIC:
            raise error
        return load(name, **options)

    monkeypatch.setattr(models, "load", fail)
    report = benchmark.run(chosen)
    assert [r.name for r in report.results] == [TFIDF]
    reason = report.unavailable[STATIC]
    kind = (error if isinstance(error, type) else type(error)).__name__
    assert reason.startswith(f"{kind}: ")
    [path] = (chosen.output_dir / "errors").glob("*.txt")
    assert path.as_posix() in reason and "in fail" in path.read_text(encoding="utf-8")
    benchmark.save(report)
    assert path.exists()
    benchmark.save(dataclasses.replace(report, unavailable={}))
    assert not path.parent.exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_process_ends_the_run(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def end(name: str, **options: Any) -> None:
        raise error

    monkeypatch.setattr(models, "load", end)
    with pytest.raises(error):
        benchmark.run(chosen)


def test_a_bug_of_our_own_shows(chosen: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "parameters", None)
    with pytest.raises(TypeError, match="not callable"):
        benchmark.run(chosen)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("kind", ["pairs", "retrieval"])
def test_a_vector_that_isn_t_finite_names_its_text_and_stops_that_model_alone(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bad: float, kind: str
) -> None:
    load, source = models.load, chosen.dataset
    if kind == "retrieval":
        source = str(beir(tmp_path / "set"))

    def broken(name: str, **options: Any) -> SentenceTransformer:
        model = load(name, **options)
        if name == STATIC:
            encode = model.encode

            def poisoned(texts: list[str], *args: Any, **kwargs: Any) -> Any:
                vectors = encode(texts, *args, **kwargs)
                vectors[1, 3] = bad
                return vectors

            for method in ("encode", "encode_query", "encode_document"):
                monkeypatch.setattr(model, method, poisoned)
        return model

    monkeypatch.setattr(models, "load", broken)
    report = benchmark.run(chosen.model_copy(update={"dataset": source}))
    assert [r.name for r in report.results] == [TFIDF]
    text = "The train leaves at noon." if kind == "pairs" else "query 1"
    assert f"aren't finite numbers (NaN or infinity); the first is that of {text!r}" in report.unavailable[STATIC]


def beir(folder: Path) -> Path:
    """A tiny retrieval set of three queries and documents."""
    (folder / "qrels").mkdir(parents=True)
    rows = [{"_id": str(i), "text": f"{what} {i}"} for what in ("query", "document") for i in range(3)]
    for name, part in (("queries", rows[:3]), ("corpus", rows[3:])):
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in part), encoding="utf-8")
    judged = "\n".join(f"{i}\t{i}\t1" for i in range(3))
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}\n", encoding="utf-8")
    return folder


def test_encode_that_gives_no_vectors_is_that_model_s_fault() -> None:
    for wrong in (None, ["a"], np.zeros(3), np.zeros((2, 4))):
        with pytest.raises(CourseError, match="encode gave no vector for each of 3 texts"):
            running.finite(wrong, ["a", "b", "c"])


def test_a_model_that_fails_while_it_is_timed_is_named_and_the_others_are_timed(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = speed.measure

    def fail(together: dict[str, SentenceTransformer], *args: Any, **options: Any) -> dict[str, Speed]:
        if STATIC in together:
            raise ValueError("it is hot")
        return measure(together, *args, **options)

    monkeypatch.setattr(speed, "measure", fail)
    report = benchmark.run(chosen)
    assert [r.name for r in report.results] == [TFIDF]
    assert report.unavailable[STATIC].startswith("ValueError: it is hot")


def test_models_that_don_t_fit_side_by_side_take_turns_with_the_first(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "SIDE_BY_SIDE", 0.0)
    together: list[list[str]] = []
    measure = speed.measure

    def watch(models_: dict[str, SentenceTransformer], *args: Any, **options: Any) -> dict[str, Speed]:
        together.append(list(models_))
        return measure(models_, *args, **options)

    monkeypatch.setattr(speed, "measure", watch)
    report = benchmark.run(chosen)
    assert together == [[TFIDF], [TFIDF, STATIC]]
    assert [r.speed.reference for r in report.results] == [TFIDF, TFIDF]
    assert report.places  # ratios meet in the reference


def test_an_unknown_model_is_told_before_any_is_run_and_the_others_go_on(
    chosen: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    report = benchmark.run(chosen.model_copy(update={"models": (TFIDF, "tfidf-409")}))
    assert "Did you mean tfidf-4096" in report.unavailable["tfidf-409"]
    said = capsys.readouterr().err
    assert said.index("[2/2] tfidf-409: left out. There is no model") < said.index(f"[1/2] {TFIDF}: loading")


# What is said while it runs


def test_the_first_line_says_that_it_may_be_interrupted_and_a_line_when_a_model_is_done(
    chosen: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark.run(chosen)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Ctrl-C is safe: what is finished is kept in ")
    assert f"[1/2] {TFIDF}: ROC-AUC 1.000" in "\n".join(lines) and f"[2/2] {STATIC}: ROC-AUC " in "\n".join(lines)


def test_while_texts_are_encoded_their_number_is_counted(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = models.load(STATIC, device="cpu")
    seen: list[int] = []
    with running.counted(model) as count:
        count.told = seen.append
        model.encode(["one", "two", "three"], batch_size=2)
    model.encode(["four"])
    assert seen == [2, 3]


def test_a_sign_of_life_comes_while_nothing_else_does(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(silence_s=0.05) as progress:
        progress.begin("[1/1] x: encoding")
        time.sleep(0.2)
        progress.update("[1/1] x: encoding 312 of 744 texts")
        time.sleep(0.2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "[1/1] x: encoding" and lines[1].startswith("[1/1] x: encoding (")
    assert lines[-1].startswith("[1/1] x: encoding 312 of 744 texts (")
    assert SILENCE_S < 5


def test_when_no_model_can_be_measured_the_run_says_why(chosen: Settings) -> None:
    with pytest.raises(CourseError, match=r"No model could be measured\. e5-base-v2: its weights are out of reach"):
        benchmark.run(chosen.model_copy(update={"models": ("e5-base-v2",)}))


# Interruptions


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of models scored; the first time STATIC comes, the reader interrupts."""
    names: list[str] = []
    score = running._Session.score

    def watch(self: Any, name: str) -> Scored:
        names.append(name)
        if name == STATIC and names.count(STATIC) == 1:
            raise KeyboardInterrupt
        return score(self, name)

    monkeypatch.setattr(running._Session, "score", watch)
    yield names


def interrupt(chosen: Settings) -> None:
    with pytest.raises(KeyboardInterrupt):
        benchmark.run(chosen)


def test_an_interrupted_run_goes_on_with_the_models_that_are_missing(chosen: Settings, measured: list[str]) -> None:
    interrupt(chosen)
    assert len(list((chosen.output_dir / "unfinished").glob("*.json"))) == 1
    report = benchmark.run(chosen)
    assert measured == [TFIDF, STATIC, STATIC]
    assert [r.name for r in report.results] == [TFIDF, STATIC]


def test_a_kept_result_is_as_it_was_measured(chosen: Settings, measured: list[str]) -> None:
    interrupt(chosen)
    [kept] = (chosen.output_dir / "unfinished").glob("*.json")
    expected = running.read_result(kept)
    assert expected is not None
    found = benchmark.run(chosen).results[0]
    assert {f: getattr(found, f) for f in vars(expected)} == vars(expected)


@pytest.mark.parametrize("change", [{"seed": 1}, {"batch_size": 7}, {"dtype": "float32"}])
def test_a_kept_result_of_other_settings_is_not_used(
    chosen: Settings, measured: list[str], change: dict[str, Any]
) -> None:
    interrupt(chosen)
    benchmark.run(chosen.model_copy(update=change))
    assert measured == [TFIDF, STATIC, TFIDF, STATIC]


@pytest.mark.parametrize("change", [{"speed_s": 0.01}, {"margin": 0.1}, {"speed_cap": 9.0}, {"quality": "separation"}])
def test_a_change_that_no_score_depends_on_keeps_what_is_finished(
    chosen: Settings, measured: list[str], change: dict[str, Any]
) -> None:
    interrupt(chosen)
    benchmark.run(chosen.model_copy(update=change))
    assert measured == [TFIDF, STATIC, STATIC]


def test_one_model_more_in_the_list_keeps_what_is_finished(chosen: Settings, measured: list[str]) -> None:
    interrupt(chosen)
    benchmark.run(chosen.model_copy(update={"models": ("bge-small-en-v1.5", TFIDF, STATIC)}))
    assert measured == [TFIDF, STATIC, "bge-small-en-v1.5", STATIC]


@pytest.mark.parametrize("what", ["environment", "choose_device"])
def test_a_kept_result_of_another_machine_is_not_used(
    chosen: Settings, measured: list[str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    interrupt(chosen)
    if what == "environment":
        other = running.environment() | {"hardware": running.environment()["hardware"] | {"cpu": "another"}}
        monkeypatch.setattr(running, "environment", lambda: other)
    else:
        monkeypatch.setattr(models, "choose_device", lambda device: "another")
        chosen = chosen.model_copy(update={"device": None})
        load = models.load
        monkeypatch.setattr(models, "load", lambda name, **options: load(name, **options | {"device": "cpu"}))
        monkeypatch.setattr("helpers.models.loading.choose_device", lambda device: "cpu")
    benchmark.run(chosen)
    assert measured == [TFIDF, STATIC, TFIDF, STATIC]


def test_two_runs_in_one_folder_leave_each_other_s_finished_models_alone(chosen: Settings, measured: list[str]) -> None:
    interrupt(chosen)
    [mine] = (chosen.output_dir / "unfinished").glob("*.json")
    benchmark.run(chosen.model_copy(update={"seed": 3}))
    assert [path.name for path in (chosen.output_dir / "unfinished").iterdir()] == [mine.name]


def test_a_kept_result_of_other_data_is_not_used(chosen: Settings, measured: list[str], tiny: Path) -> None:
    interrupt(chosen)
    tiny.write_text(PAIRS.replace("noon", "midnight"), encoding="utf-8")
    benchmark.run(chosen)
    assert measured == [TFIDF, STATIC, TFIDF, STATIC]


def test_a_broken_kept_result_is_measured_again(chosen: Settings, measured: list[str]) -> None:
    interrupt(chosen)
    [kept] = (chosen.output_dir / "unfinished").glob("*.json")
    kept.write_text("{")
    benchmark.run(chosen)
    assert measured == [TFIDF, STATIC, TFIDF, STATIC]


def test_half_a_file_of_an_interrupted_write_doesn_t_cost_the_run(chosen: Settings, measured: list[str]) -> None:
    interrupt(chosen)
    (chosen.output_dir / "unfinished" / "0123.json.part").write_text("{")
    assert [r.name for r in benchmark.run(chosen).results] == [TFIDF, STATIC]


# Files


def test_a_saved_report_is_read_as_it_was(report: Report) -> None:
    written = benchmark.save(report)
    assert [path.name for path in written] == ["benchmark.csv", "benchmark.json"]
    assert benchmark.read(report.settings.output_dir) == report


def test_the_csv_holds_the_ranking_with_an_interval_for_each_score(report: Report) -> None:
    table = pd.read_csv(benchmark.save(report)[0])
    assert table.columns.tolist() == [
        "number",
        "rank",
        "model",
        *(f"{m}{end}" for m in ("separation", "roc_auc", "average_precision", "to_best") for end in ENDS),
        "not_told_apart_from",
        *(f"{m}{end}" for m in ("speed_ratio", "wall_ratio") for end in ENDS),
        *("rate", "clock", "texts_per_s", "tokens_per_s", "tokens_per_text", "computed_per_token", "batch_size"),
        *("rounds", "peak_share", "latency_ms", "latency_p95_ms", "combined", "front", "dims", "parameters"),
        *("load_s", "prepare_s", "gpu_memory_mb", "device", "dtype", "weights", "name"),
    ]
    assert sorted(table["model"]) == sorted([TFIDF, STATIC])
    assert (table["roc_auc_low"] <= table["roc_auc"]).all()


def test_the_figure_is_saved_beside_the_tables(report: Report) -> None:
    written = benchmark.save(report, plots.pareto(report)[0])
    assert written[-1].read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in report.settings.output_dir.iterdir()) == [
        "benchmark.csv",
        "benchmark.json",
        "benchmark.png",
    ]


def test_a_second_run_on_the_same_data_takes_the_place_of_the_first(
    report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark.save(report)
    benchmark.save(dataclasses.replace(report, at="2026-01-02T03:04:05+00:00"))
    assert benchmark.read(report.settings.output_dir).at.startswith("2026-01-02")
    assert "other data" not in capsys.readouterr().err


def test_a_run_on_other_data_sets_the_earlier_report_aside_and_says_where(
    report: Report, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = report.settings.model_copy(update={"output_dir": tmp_path / "out"})
    first = dataclasses.replace(report, settings=here, dataset="mteb:First", at="2026-01-02T03:04:05+00:00")
    benchmark.save(first)
    (tmp_path / "out" / "benchmark.html").write_text("the page")
    second = dataclasses.replace(first, dataset="tiny.csv", dataset_sha256="another")
    benchmark.save(second)
    kept = tmp_path / "out" / "mteb_First-2026-01-02T030405"
    assert benchmark.read(kept) == first and benchmark.read(tmp_path / "out") == second
    assert (kept / "benchmark.html").read_text() == "the page" and not (tmp_path / "out" / "benchmark.html").exists()
    assert f"('mteb:First'); it is now in {kept.as_posix()}. OUT=folder" in capsys.readouterr().err


def test_pairs_of_a_named_group_are_compared_as_one_cluster_and_no_group_is_none(tmp_path: Path) -> None:
    groups = ["", "", "north", "north", "south", "south"]
    rows = [f"first {i},second {i},{i % 2},{group}" for i, group in enumerate(groups)]
    path = tmp_path / "grouped.csv"
    path.write_text("\n".join(["sentence1,sentence2,label,Cluster_ID", *rows]), encoding="utf-8")
    read = data.read(str(path))
    found = running.describe(read).pair_groups
    assert found is not None and len(set(found)) == 4 and found[2] == found[3] and found[4] == found[5]
    assert "`Cluster_ID` as the clusters that are compared on" in read.notes[0]
    assert data.read(str(path), limit=4).pairs.group is not None  # type: ignore[union-attr]


def test_a_missing_and_a_broken_report_are_told_with_the_mend(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match=r"benchmark\.json doesn't exist; run the benchmark first"):
        benchmark.read(tmp_path)
    (tmp_path / "benchmark.json").write_text("{}")
    with pytest.raises(CourseError, match=r"isn't a report of this version; run the benchmark again"):
        benchmark.read(tmp_path)


@pytest.fixture
def earlier(chosen: Settings) -> Path:
    """The file of an earlier run, to be left alone."""
    chosen.output_dir.mkdir()
    path = chosen.output_dir / "benchmark.json"
    path.write_text("earlier")
    return path


def test_a_full_disk_leaves_earlier_results_untouched(
    chosen: Settings, report: Report, earlier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CourseError, match=r"results can't be written there \(No space left.*as output_dir"):
        benchmark.save(dataclasses.replace(report, settings=chosen))
    assert earlier.read_text() == "earlier"


def test_an_output_folder_below_a_file_is_told_before_any_model_is_loaded(
    chosen: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "load", lambda *args, **options: pytest.fail("loaded"))
    (tmp_path / "file").write_text("")
    with pytest.raises(CourseError, match=r"results can't be written there \(.*\); name another folder as output_dir"):
        benchmark.run(chosen.model_copy(update={"output_dir": tmp_path / "file" / "results"}))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"dataset": "missing.csv"}, "missing.csv doesn't exist"),
        ({"quality": "ndcg@10"}, r"quality is 'ndcg@10'; on 'tiny' it can be roc_auc, average_precision, separation"),
        ({"device": "abacus"}, "no device 'abacus' here"),
        ({"dtype": "int3"}, "dtype is 'int3'"),
    ],
)
def test_a_wrong_setting_is_told_before_any_model_is_loaded_and_leaves_earlier_results(
    chosen: Settings, earlier: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], sentence: str
) -> None:
    monkeypatch.setattr(models, "load", lambda *args, **options: pytest.fail("loaded"))
    with pytest.raises(CourseError, match=sentence):
        benchmark.run(chosen.model_copy(update=change))
    assert [path.name for path in chosen.output_dir.iterdir()] == ["benchmark.json"]
    assert earlier.read_text() == "earlier"


# Tables and figures


def test_the_table_for_people_shows_scores_with_their_intervals(report: Report) -> None:
    made = with_values(report, answers(0.8, 0.5), (1234.4, 20))
    shown = benchmark.table(made)
    first = shown.iloc[0].to_dict()
    assert {k: first[k] for k in ("#", "rank", "model", "to the best", "not told apart from", "texts/s", "front")} == {
        "#": 1,
        "rank": 1,
        "model": "a",
        "to the best": "",
        "not told apart from": "",
        "texts/s": "1,234",
        "front": "yes",
    }
    best = made.results[0].scores["ndcg@10"]
    assert first["nDCG@10"] == f"{best.value:.3f} [{best.low:.3f}, {best.high:.3f}]"
    assert re.fullmatch(r"-0\.\d{3} \[-0\.\d{3}, -0\.\d{3}\]", shown["to the best"][1])
    assert benchmark.scores(made)["nDCG@10"].tolist() == shown["nDCG@10"].tolist()


def test_the_summary_says_what_was_ranked_by_and_measured_on(report: Report) -> None:
    text = benchmark.summary(report)
    assert "ROC-AUC" in text and TFIDF in text and "The machine was" in text and "**" not in text
    assert "'tiny.csv': 18 distinct texts" in " ".join(benchmark.description(report))
    assert f"the same {DISTINCT - 2} texts in batches of up to 1" in " ".join(benchmark.method(report))


def test_a_local_model_goes_by_its_folder_s_last_name_and_keeps_its_path(report: Report, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    made = dataclasses.replace(report, results=(dataclasses.replace(report.results[0], name=str(folder)),))
    row = benchmark.ranking(made).iloc[0]
    assert (row["model"], row["name"]) == ("mine", str(folder))


def test_the_pareto_figure_and_its_table_show_the_same_models(report: Report) -> None:
    made = with_values(report, answers(0.9, 0.8, 0.5), (10, 300, 30))
    figure, shown = plots.pareto(made)
    assert shown["model"].tolist() == ["b", "c", "a"]
    assert shown["front"].tolist() == ["yes", "", "yes"]
    [axes] = figure.axes
    assert [text.get_text() for text in axes.texts] == [str(number) for number in shown["#"]]
    assert sorted(float(c[0].get_xdata()[0]) for c in axes.containers) == pytest.approx([10, 30, 300])


def test_a_model_that_noise_alone_holds_on_the_front_is_hollow(report: Report) -> None:
    made = with_values(report, answers(0.8, 0.795), (100, 99))
    figure, shown = plots.pareto(made)
    assert dict(zip(shown["model"], shown["front"], strict=True)) == {"a": "yes", "b": "not told apart"}
    faces = [c[0].get_markerfacecolor() for c in figure.axes[0].containers]
    assert faces == [plots.FRONT, "white"]


def test_numbers_don_t_overlap_even_where_points_do(report: Report) -> None:
    figure, _ = plots.pareto(with_values(report, answers(*[0.8] * 6), (100, 101, 99, 100, 102, 98)))
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


def test_the_figure_has_words_for_who_can_t_see_it(report: Report) -> None:
    made = with_values(report, answers(0.9, 0.5), (10, 300))
    told = plots.described(made)
    assert "1 a: 0." in told and "2 b: 0." in told and "on the front" in told
    shown = plots.picture(plots.pareto(made)[0], 'a "quoted" text').data
    assert 'alt="a &quot;quoted&quot; text"' in shown and "base64" in shown


def test_the_similarity_figure_has_a_panel_and_a_row_for_each_model(report: Report) -> None:
    figure, shown = plots.similarities(report)
    assert [axes.get_title(loc="left") for axes in figure.axes] == shown["model"].tolist() == [TFIDF, STATIC]
    first = np.array(report.results[0].similarities)
    assert shown["mean similar"][0] == pytest.approx(first[:6].mean(), abs=5e-4)
    assert shown["sd dissimilar"][0] == pytest.approx(first[6:].std(ddof=1), abs=5e-4)
    drawn = sum(patch.get_height() for patch in figure.axes[0].patches)
    assert drawn == 12


@pytest.mark.parametrize(
    ("similarity", "overlap"),
    [
        ([0.9, 0.8, 0.2, 0.1], 0),
        ([0.9, 0.2, 0.8, 0.1], 0.25),
        ([0.1, 0.2, 0.8, 0.9], 0.5),
        ([0.5, 0.5, 0.5, 0.5], 0.5),
        ([0.9, 0.5, 0.5, 0.1], 0.25),
    ],
)
def test_the_overlap_is_the_share_that_the_best_threshold_gets_wrong(similarity: list[float], overlap: float) -> None:
    assert math.isclose(plots._overlap(np.array(similarity), np.array([1, 1, 0, 0])), overlap)


# The reader's own retrieval sets


def test_a_query_that_is_a_document_too_isnt_its_own_answer(tmp_path: Path) -> None:
    search = data.Retrieval(
        {"q1": "reset a password", "p1": "how a password is reset", "x": "bread"},
        {"q1": "reset a password"},
        {"q1": {"p1": 1}},
    )
    vectors = np.eye(3, dtype=np.float32)
    found = running.retrieve(
        search, vectors[:1], np.array([[1, 0, 0], [0.8, 0.6, 0], [0, 0, 1]], dtype=np.float32), k=2
    )
    assert list(found["q1"]) == ["p1", "x"]


def test_columns_encoding_and_limit_reach_the_reader(tmp_path: Path) -> None:
    made = benchmark.settings({"columns": "sentence1=a, sentence2=b", "encoding": "cp1252", "limit": 5})
    assert (made.columns, made.encoding, made.limit) == ("sentence1=a, sentence2=b", "cp1252", 5)
    path = tmp_path / "m.csv"
    path.write_text("a,b,same\n" + "".join(f"text {i},other {i},{i % 2}\n" for i in range(20)), encoding="utf-8")
    report = benchmark.run(
        Settings(
            models=(TFIDF,),
            dataset=str(path),
            columns="sentence1=a, sentence2=b, label=same",
            limit=10,
            device="cpu",
            speed_s=0,
            output_dir=tmp_path / "results",
        )
    )
    assert report.data.gold is not None and len(report.data.gold) == 10
