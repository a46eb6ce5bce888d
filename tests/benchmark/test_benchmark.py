"""Models x data -> results, ranking, report: right numbers, nothing lost, nothing made up."""

import dataclasses
import math
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sentence_transformers import SentenceTransformer

from helpers import benchmark, bundled, data, models
from helpers.benchmark import Report, Result, Settings, plots, running
from helpers.errors import CourseError
from helpers.measure import ranking, speed
from helpers.measure.metrics import Estimate

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


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.csv"
    path.write_text(PAIRS, encoding="utf-8")
    return path


@pytest.fixture
def chosen(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Two fast models on twelve pairs."""
    monkeypatch.setattr(speed, "SHORTEST_REPEAT_S", 0.0)
    return Settings(models=(TFIDF, STATIC), dataset=str(tiny), device="cpu", repeats=1, output_dir=tmp_path / "results")


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
            repeats=1,
            output_dir=folder / "results",
        )
    )


def with_scores(report: Report, *points: tuple[float, float, float, float]) -> Report:
    """The report with one result for each (quality, low, high, texts a second), named a, b, c..."""
    base = report.results[0]
    results = [
        dataclasses.replace(
            base,
            name="abcdef"[i],
            scores={"roc_auc": Estimate(value, low, high)},
            speed=dataclasses.replace(base.speed, texts_per_s=rate, slowest=rate, fastest=rate),
        )
        for i, (value, low, high, rate) in enumerate(points)
    ]
    return dataclasses.replace(report, results=tuple(results))


# Settings


def test_without_parameters_every_bundled_model_runs_on_the_course_s_data() -> None:
    default = benchmark.settings({})
    assert (default.models, default.dataset) == (tuple(bundled.MODELS), "course")


def test_parameters_are_taken_from_variables_and_python_s_own_names_passed_over() -> None:
    made = benchmark.settings({"repeats": 5, "_hidden": 1, "print": print, "os": os, "Path": Path})
    assert made.repeats == 5


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("a, b ,c", ("a", "b", "c")),
        (["a", "b"], ("a", "b")),
        ("a,a,,b", ("a", "b")),
        ("bundled", tuple(bundled.MODELS)),
        (["e5-small-v2", "bundled"], ("e5-small-v2", *bundled.MODELS)),
        ("bundled, tfidf-4096, x", (*bundled.MODELS, "x")),
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
        ({"repeat": 3}, r"no parameter 'repeat'\. Did you mean repeats\? Known are: models, dataset, "),
        ({"repeats": "many"}, r"Parameter repeats is 'many': "),
        ({"repeats": 0}, r"Parameter repeats is 0: "),
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
    ("intervals", "ranks"),
    [
        ([(0.8, 0.9), (0.5, 0.6), (0.1, 0.2)], [1, 2, 3]),
        ([(0.1, 0.2), (0.8, 0.9), (0.5, 0.6)], [3, 1, 2]),
        ([(0.7, 0.9), (0.6, 0.8), (0.1, 0.2)], [1, 1, 3]),
        ([(0.7, 0.9), (0.5, 0.75), (0.4, 0.6)], [1, 1, 2]),
        ([(0.5, 0.6), (0.6, 0.7)], [1, 1]),
        ([(0.5, 0.6)], [1]),
    ],
)
def test_models_share_a_rank_where_their_intervals_overlap(
    intervals: list[tuple[float, float]], ranks: list[int]
) -> None:
    assert ranking.rank_groups([Estimate((a + b) / 2, a, b) for a, b in intervals]) == ranks


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
    assert ranking.pareto_front(quality, rates) == front


def test_the_ranking_goes_by_rank_and_then_by_combined_score(report: Report) -> None:
    made = with_scores(report, (0.3, 0.2, 0.4, 500), (0.80, 0.7, 0.9, 50), (0.75, 0.65, 0.85, 500))
    ranked = benchmark.ranking(made)
    assert ranked["model"].tolist() == ["c", "b", "a"]
    assert ranked["rank"].tolist() == [1, 1, 3]
    assert ranked["pareto"].tolist() == [True, True, False]
    assert ranked["combined"].tolist() == pytest.approx([0.75, 0.8 * 0.73, 0.3])


def test_the_cap_of_the_settings_is_the_one_the_ranking_uses(report: Report) -> None:
    made = with_scores(report, (0.5, 0.4, 0.6, 500))
    made = dataclasses.replace(made, settings=made.settings.model_copy(update={"speed_cap": 1000.0}))
    assert benchmark.ranking(made)["combined"].tolist() == pytest.approx([0.5 * 0.85])


# A run


def test_a_run_gives_one_result_a_model_with_scores_speed_and_size(report: Report) -> None:
    assert [r.name for r in report.results] == [TFIDF, STATIC]
    assert [r.dims for r in report.results] == [4096, 256]
    assert report.unavailable == {}
    for result in report.results:
        assert result.scores.keys() == {"separation", "roc_auc", "average_precision"}
        assert result.weights.startswith("bundled (")
        assert result.speed.texts == DISTINCT
        assert len(result.similarities or ()) == 12


def test_easy_pairs_are_told_apart_by_words_alone(report: Report) -> None:
    assert report.results[0].scores["roc_auc"].value == 1
    assert report.gold == (1.0,) * 6 + (0.0,) * 6


def test_results_are_frozen(report: Report) -> None:
    for thing, field in ((report, "results"), (report.results[0], "name"), (report.results[0].speed, "repeats")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, field, None)
    with pytest.raises(ValueError, match="frozen"):
        report.settings.repeats = 2  # type: ignore[misc]


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
    assert (report.quality, report.graded) == ("spearman", True)
    assert report.results[0].scores["spearman"].value > 0.5
    with pytest.raises(CourseError, match=r"'graded' has no pairs with labels 0 and 1"):
        plots.similarities(report)


def test_the_speed_sample_of_the_course_is_drawn_from_its_unlabelled_texts() -> None:
    sample = benchmark.speed_sample(data.read("course"))
    assert len(set(sample)) == running.SPEED_TEXTS
    assert set(sample) <= set(data.texts())
    assert sample == benchmark.speed_sample(data.read("course")) != benchmark.speed_sample(data.read("course"), seed=1)


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


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA out of memory"), OSError("gone"), MemoryError(), ImportError("no module"), ValueError]
)
def test_a_model_that_fails_is_named_and_the_others_go_on(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    measure = benchmark.measure

    def fail(name: str, *args: Any) -> Result:
        if name == "bad":
            raise error
        return measure(name, *args)

    monkeypatch.setattr(running, "measure", fail)
    report = benchmark.run(chosen.model_copy(update={"models": ("bad", TFIDF)}))
    assert [r.name for r in report.results] == [TFIDF]
    assert list(report.unavailable) == ["bad"]
    assert report.unavailable["bad"]


def test_an_unknown_model_is_named_with_the_nearest_and_the_others_go_on(chosen: Settings) -> None:
    report = benchmark.run(chosen.model_copy(update={"models": ("tfidf-409", TFIDF)}))
    assert "Did you mean tfidf-4096" in report.unavailable["tfidf-409"]


def test_when_no_model_can_be_measured_the_run_says_why(chosen: Settings) -> None:
    with pytest.raises(CourseError, match=r"No model could be measured\. e5-base-v2: its weights are out of reach"):
        benchmark.run(chosen.model_copy(update={"models": ("e5-base-v2",)}))


# Interruptions


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of models measured; the first time STATIC comes, the reader interrupts."""
    names: list[str] = []
    measure = benchmark.measure

    def watch(name: str, *args: Any) -> Result:
        names.append(name)
        if name == STATIC and names.count(STATIC) == 1:
            raise KeyboardInterrupt
        return measure(name, *args)

    monkeypatch.setattr(running, "measure", watch)
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
    assert benchmark.run(chosen).results[0] == expected


@pytest.mark.parametrize("change", [{"repeats": 2}, {"seed": 1}, {"batch_size": 7}])
def test_a_kept_result_of_other_settings_is_not_used(
    chosen: Settings, measured: list[str], change: dict[str, Any]
) -> None:
    interrupt(chosen)
    benchmark.run(chosen.model_copy(update=change))
    assert measured == [TFIDF, STATIC, TFIDF, STATIC]


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
        "rank",
        "model",
        *(f"{m}{end}" for m in ("separation", "roc_auc", "average_precision") for end in ("", "_low", "_high")),
        *("texts_per_s", "texts_per_s_slowest", "texts_per_s_fastest", "tokens_per_s", "peak_share"),
        *("combined", "pareto", "dims", "parameters", "load_s", "memory_mb", "device", "dtype", "weights"),
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
    monkeypatch.setattr(running, "measure", lambda *args: pytest.fail("measured"))
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
    monkeypatch.setattr(running, "measure", lambda *args: pytest.fail("measured"))
    with pytest.raises(CourseError, match=sentence):
        benchmark.run(chosen.model_copy(update=change))
    assert [path.name for path in chosen.output_dir.iterdir()] == ["benchmark.json"]
    assert earlier.read_text() == "earlier"


# Tables and figures


def test_the_table_for_people_shows_scores_with_their_intervals(report: Report) -> None:
    shown = benchmark.table(with_scores(report, (0.8, 0.7, 0.9, 1234.4)))
    assert shown.iloc[0].to_dict() == {
        "rank": 1,
        "model": "a",
        "ROC-AUC": "0.800 [0.700, 0.900]",
        "texts/s": "1,234",
        "combined": "0.800",
        "Pareto": "yes",
        "dims": 4096,
    }


def test_the_summary_says_what_was_ranked_by_and_measured_on(report: Report) -> None:
    text = benchmark.summary(report)
    assert "Ranked by ROC-AUC on 'tiny'" in text
    assert f"median of 1 over {DISTINCT} texts, batches of 32" in text
    assert TFIDF in text


def test_the_pareto_figure_and_its_table_show_the_same_models(report: Report) -> None:
    made = with_scores(report, (0.9, 0.8, 1.0, 10), (0.8, 0.7, 0.9, 300), (0.7, 0.6, 0.8, 30))
    figure, shown = plots.pareto(made)
    assert shown["model"].tolist() == ["b", "c", "a"]
    assert shown["on the front"].tolist() == [True, False, True]
    assert shown["ROC-AUC"].tolist() == [0.8, 0.7, 0.9]
    [axes] = figure.axes
    assert [text.get_text() for text in axes.texts] == ["b", "c", "a"]
    assert sorted(float(c[0].get_xdata()[0]) for c in axes.containers) == [10, 30, 300]


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
            repeats=1,
            output_dir=tmp_path / "results",
        )
    )
    assert report.gold is not None and len(report.gold) == 10
