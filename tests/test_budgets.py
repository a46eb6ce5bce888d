"""What lessons declare, and the plugin that holds nbval's runs against it."""

import subprocess
import sys
from pathlib import Path

import nbformat

from tests import budgets
from tools.build import manifest


def test_what_a_lesson_declares_is_within_the_course_s_limits() -> None:
    for lesson in manifest():
        limit = 180 if lesson.get("nightly") else 120  # 60 s on two cores in `make test`
        assert lesson["cpu_s"] <= limit and lesson["memory_mb"] <= 3000, lesson["name"]


def test_a_lesson_that_takes_more_than_the_margin_is_named() -> None:
    lesson = {"cpu_s": 10, "memory_mb": 100}
    assert budgets.exceeded("a", 10 * budgets.CPU_MARGIN, 100 * budgets.MEMORY_MARGIN, lesson) == []
    slow, large = budgets.exceeded("a", 31, 126, lesson)
    assert "31 s of CPU" in slow and "126 MB" in large


def test_a_notebook_over_its_budget_fails_a_run_in_which_every_cell_passes(tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    cell = nbformat.v4.new_code_cell("block = b'1' * 200_000_000")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "notebooks" / "heavy.ipynb")
    (tmp_path / "course.toml").write_text('[[lesson]]\nname = "heavy"\ncpu_s = 60\nmemory_mb = 150\n', encoding="utf-8")
    plugin = f"import pathlib, pytest, sys; from tests import budgets; budgets.ROOT = pathlib.Path({str(tmp_path)!r}); "
    run = "sys.exit(pytest.main(['-p', 'tests.budgets', '-p', 'no:cacheprovider', '--nbval-lax', 'notebooks'], []))"
    command = [sys.executable, "-c", f"{plugin}import os; os.chdir(budgets.ROOT); {run}"]
    done = subprocess.run(
        command, cwd=budgets.__file__.rsplit("tests", 1)[0], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 passed" in done.stdout and "FAILED notebooks/heavy.ipynb took" in done.stdout
