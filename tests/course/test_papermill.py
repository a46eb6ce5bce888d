"""The notebooks under papermill: parameters in, a report out, and one sentence when something is wrong."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import benchmark
from tests import ROOT

LESSON = ROOT / "notebooks" / "14_benchmark.ipynb"
QUICK = {"models": "all-MiniLM-L6-v2-static-256,tfidf-4096", "speed_s": "0"}

Papermill = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def papermill(tmp_path: Path) -> Papermill:
    def run(notebook: Path = LESSON, **parameters: str) -> subprocess.CompletedProcess[str]:
        given = [part for name, value in parameters.items() for part in ("-p", name, value)]
        command = [sys.executable, "-m", "papermill", str(notebook), str(tmp_path / "run.ipynb"), *given]
        command += ["--cwd", str(tmp_path), "--no-progress-bar"]
        return subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")

    return run


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.strip().split("\n")[-1]


def test_the_report_is_written_and_can_be_read_back(papermill: Papermill, tmp_path: Path) -> None:
    done = papermill(**QUICK, output_dir="out")
    assert done.returncode == 0, done.stderr
    report = benchmark.read(tmp_path / "out")
    assert [r.name for r in report.results] == QUICK["models"].split(",")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"benchmark.csv", "benchmark.json", "benchmark.png"}
    raw = json.loads((tmp_path / "out" / "benchmark.json").read_text(encoding="utf-8"))
    assert raw["environment"]["versions"]["torch"] and raw["environment"]["hardware"]["cpu"]
    assert raw["settings"]["seed"] == 0 and raw["results"][0]["weights"].startswith("bundled")


def test_own_pairs_are_ranked_and_a_missing_model_is_named(papermill: Papermill, tmp_path: Path) -> None:
    rows = "\n".join(f"{i}\tthe {i} red cats\tthe {i} {'red cats' if i % 2 else 'blue dogs'} here" for i in range(8))
    (tmp_path / "mine.tsv").write_text("score\tsentence1\tsentence2\n" + rows, encoding="utf-8")
    done = papermill(models="tfidf-4096,bge-m3,bge-mm3", source="bundled", speed_s="0", dataset="mine.tsv")
    assert done.returncode == 0, done.stderr
    report = benchmark.read(tmp_path / "results")
    assert report.data.graded and report.quality == "spearman"
    assert set(report.unavailable) == {"bge-m3", "bge-mm3"}


def test_a_wrong_parameter_ends_with_one_sentence_and_keeps_finished_results(
    papermill: Papermill, tmp_path: Path
) -> None:
    finished = tmp_path / "results" / "benchmark.csv"
    finished.parent.mkdir()
    finished.write_text("finished before", encoding="utf-8")
    done = papermill(**QUICK, model="x")
    assert done.returncode != 0
    assert last_line(done).startswith("CourseError: There is no parameter 'model'. Did you mean models")
    assert finished.read_text(encoding="utf-8") == "finished before"


def test_the_parameters_explain_themselves() -> None:
    command = [sys.executable, "-m", "papermill", "--help-notebook", str(LESSON)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8").stdout
    for name in benchmark.Settings.model_fields:
        assert f"{name}: " in told and "Unknown type" not in told
    assert "BEIR or TREC" in told


@pytest.mark.execution
@pytest.mark.parametrize("folder", ["exercises", "solutions"])
def test_exercise_and_solution_run_with_a_device(papermill: Papermill, folder: str) -> None:
    done = papermill(ROOT / folder / "14_benchmark" / "14_benchmark.ipynb", device="cpu")
    assert done.returncode == 0, done.stderr
