"""What `make run` asks first, as a program: in a sentence, with a status, and without torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from helpers import data
from tests import ROOT


def preflight(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.preflight", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_it_says_what_it_understood(tmp_path: Path) -> None:
    done = preflight("course", "bundled", str(tmp_path / "new folder"))
    assert done.returncode == 0 and done.stdout.splitlines()[0] == str(data.read("course")), done.stderr
    assert "504 pairs, labels 252/252; 100 queries, 240 documents" in done.stdout


@pytest.mark.parametrize(
    ("content", "sentence"),
    {
        "sentence1,sentence2,label\na,b,maybe\n": "line 2: label is 'maybe'",
        "sentence1,sentence2,label\na,b,1\nc,d,0\n": "has 1 similar and 1 dissimilar pairs",
        "sentence1,sentence2,score\na,b,0.3\nc,d,0.1\n": "has 2 graded pairs",
    }.items(),
)
def test_data_that_decide_nothing_end_it_with_2_and_one_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "own data.csv").write_text(content, encoding="utf-8")
    done = preflight(str(tmp_path / "own data.csv"), "bundled", str(tmp_path / "out"))
    assert done.returncode == 2 and sentence in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cant_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("", encoding="utf-8")
    done = preflight("codes", "bundled", str(tmp_path / "taken"))
    assert done.returncode == 2 and "results can't be written there" in done.stderr and done.stderr.count("\n") == 1


def test_it_needs_no_torch(tmp_path: Path) -> None:
    code = "import sys; from tools import preflight; preflight.main('codes', 'bundled', sys.argv[1])"
    code += "; assert not {'torch', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=True, capture_output=True)


def test_how_the_data_are_read_is_taken_from_the_parameters(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("a,b,c\nx,y,1\nz,v,0\nk,l,1\nm,n,0\n", encoding="utf-16-le")
    told = ("-p", "seed", "3", "-p", "columns", "sentence1=a, sentence2=b, label=c", "-p", "encoding", "utf-16-le")
    done = preflight(str(tmp_path / "m.csv"), "bundled", str(tmp_path / "out"), *told)
    assert done.returncode == 0 and "4 pairs, labels 2/2" in done.stdout, done.stderr


def test_texts_without_labels_pass(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text("a\nb\nc\n", encoding="utf-8")
    done = preflight(str(tmp_path / "m.txt"), "bundled", str(tmp_path / "out"))
    assert done.returncode == 0 and "'m': no labels; 3 distinct texts." in done.stdout, done.stderr
