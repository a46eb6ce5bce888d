"""Texts that nobody judged give speed and agreement, and no ranking; before much is encoded, the time is told."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from helpers import benchmark, data, models
from helpers.benchmark import Report, Settings, large, plots, running
from helpers.errors import CourseError

TFIDF, STATIC = "tfidf-4096", "all-MiniLM-L6-v2-static-256"
TEXTS = data.texts()[:60]


def chosen(folder: Path, texts: tuple[str, ...] = TEXTS, **more: Any) -> Settings:
    path = folder / "texts.txt"
    path.write_text("\n".join(text.replace("\n", " ") for text in texts), encoding="utf-8")
    asked: dict[str, Any] = {
        "models": (TFIDF, STATIC),
        "device": "cpu",
        "speed_s": 0.0,
        "output_dir": folder / "results",
    }
    return Settings(dataset=str(path), **asked | more)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return benchmark.run(chosen(tmp_path_factory.mktemp("alone")))


def test_without_labels_a_report_holds_speed_and_agreement_and_no_score(report: Report) -> None:
    assert not report.judged and all(r.scores == {} for r in report.results)
    assert list(benchmark.table(report)) == ["#", "model", "speed", "texts/s", "one text (ms)"]
    assert benchmark.ranking(report)["model"].tolist() == [TFIDF, STATIC]
    assert not {"rank", "combined", "front", "to_best"} & set(benchmark.ranking(report))
    with pytest.raises(CourseError, match="holds texts without labels, so no score ranks models on it"):
        benchmark.compare(report, report)


def test_agreement_is_kendalls_tau_of_the_orders_around_each_drawn_text(report: Report) -> None:
    texts = list(dict.fromkeys(text.replace("\n", " ") for text in TEXTS))
    drawn = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))]
    vectors = [models.load(name).encode(drawn, normalize_embeddings=True) for name in (TFIDF, STATIC)]
    taus = []
    for row in range(50):
        sides = [np.delete(found @ found[row], row) for found in vectors]
        taus.append(stats.kendalltau(*sides).statistic)
    found = benchmark.agreement(report)
    assert found[0, 1] == found[1, 0] == pytest.approx(np.nanmean(taus), abs=0.02)
    assert found.diagonal() == pytest.approx([1, 1])
    shown = benchmark.scores(report)
    assert shown["tau with 2"][0] == shown["tau with 1"][1] == pytest.approx(found[0, 1], abs=5e-4)


def test_the_words_rank_nobody_and_say_what_labels_would_take(report: Report) -> None:
    said = benchmark.verdict(report)
    assert "**no model is ranked by quality**" in said and "Fastest: **" in said
    assert f"Most alike: {TFIDF} and {STATIC} (tau 0." in said
    assert "label a few hundred pairs as alike or not, or write 50 queries" in said
    assert not [word for word in ("Best", "Take", "rank  ", "nDCG") if word in benchmark.summary(report)]
    assert "59 texts by similarity" in " ".join(benchmark.limits(report))
    assert not [line for line in benchmark.method(report) if line.startswith(("Quality", "Combined"))]


def test_the_figure_shows_the_agreement_and_says_so_in_words(report: Report) -> None:
    figure, shown = plots.alike(report)
    assert {text.get_text() for text in figure.axes[0].texts} == {f"{tau:.2f}" for tau in shown.to_numpy().ravel()}
    assert "Most alike" in plots.described(report)


def test_a_report_without_labels_is_written_and_read_again(report: Report) -> None:
    benchmark.save(report)
    assert benchmark.read(report.settings.output_dir) == report


def test_a_score_to_rank_by_and_two_texts_are_refused_before_a_model_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "load", lambda *args, **options: pytest.fail("loaded"))
    with pytest.raises(CourseError, match="quality is 'ndcg@10', but 'texts' holds texts without labels"):
        benchmark.run(chosen(tmp_path, quality="ndcg@10"))
    with pytest.raises(CourseError, match="holds 2 distinct texts; models can agree on three or more"):
        benchmark.run(chosen(tmp_path, ("a", "b", "a")))


# Large data


def test_the_time_is_expected_from_a_draw_of_64(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Model:
        def encode(self, texts: list[str], **_: Any) -> None:
            seen.extend(texts)

    ticks = iter([0.0, 1.0, 2.0, 3.0, 3.2])
    monkeypatch.setattr(large.time, "perf_counter", lambda: next(ticks))
    model: Any = Model()
    assert large.expected_s(model, [str(n) for n in range(1000)], 32) == pytest.approx(3.2 * 1000 / 64)
    assert len(seen) == 4 + 64 and len(set(seen)) == 64


def test_above_an_hour_a_limit_is_asked_for_and_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "MANY_TEXTS", 10)
    monkeypatch.setattr(running, "expected_s", lambda *_: 3 * 3600.0)
    asked: dict[str, Any] = {"models": (TFIDF, STATIC), "speed_s": 0.0, "output_dir": tmp_path}
    wanted = (
        r"would take about 6\.0 hours here; set limit=42 for half an hour: .*a smaller corpus is easier.*limit=504 all"
    )
    with pytest.raises(CourseError, match=wanted):
        benchmark.run(Settings(dataset="course", **asked))
    assert benchmark.run(Settings(dataset="course", limit=10, **asked)).results


def test_the_time_of_many_texts_is_said_before_they_are_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(running, "MANY_TEXTS", 10)
    benchmark.run(Settings(models=(TFIDF,), limit=10, speed_s=0, output_dir=tmp_path))
    said = capsys.readouterr().err
    assert said.index("texts takes about 0.0 minutes (tfidf-4096 0.0)") < said.index("encoding")


def test_a_report_names_a_set_by_name_with_its_revision() -> None:
    found = data.Dataset("mteb:SciFact@0123", alone=("a", "b"))
    assert running._name(Settings(dataset="mteb:SciFact"), found) == "mteb:SciFact@0123"
    assert running._name(Settings(dataset=__file__), data.Dataset("test_unlabelled")) == "test_unlabelled.py"
