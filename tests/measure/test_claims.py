"""The sentence of a claim follows from its tries, whatever the lesson hoped for."""

from pathlib import Path
from typing import Any

import nbformat
import pytest

from helpers.measure import claims
from helpers.measure.claims import Claim
from helpers.measure.metrics import Estimate

UP, DOWN, OPEN = Estimate(0.1, 0.05, 0.15), Estimate(-0.1, -0.15, -0.05), Estimate(0.01, -0.02, 0.04)


def claim(*tries: Estimate, **more: Any) -> Claim:
    names = ("the course’s set", "docstrings", "a third")
    return Claim("short", "A", "B", "nDCG@10", dict(zip(names, tries, strict=False)), **more)


@pytest.mark.parametrize(
    ("tries", "verdict", "said"),
    [
        ((UP, UP), "higher", "A is better than B in nDCG@10 (the course’s set +0.100 [+0.050, +0.150], docstrings"),
        ((DOWN, DOWN), "lower", "A is worse than B"),
        ((UP, OPEN), "higher", "; not told apart elsewhere (docstrings +0.010 [-0.020, +0.040])."),
        ((UP,), "higher", "seen there alone."),
        ((UP, DOWN), "depends", "better than B in nDCG@10 on one side (the course’s set +0.100"),
        ((OPEN, OPEN), "not told apart", "A can't be told apart from B"),
    ],
)
def test_the_sentence_is_chosen_by_the_tries(tries: tuple[Estimate, ...], verdict: str, said: str) -> None:
    made = claim(*tries)
    assert made.verdict == verdict and said in str(made)


def test_what_is_told_apart_only_one_way_is_contradicted_by_the_other_way_alone() -> None:
    assert claim(UP, OPEN).opposite(DOWN) and not claim(UP, OPEN).opposite(OPEN) and not claim(UP).opposite(UP)
    assert claim(DOWN).opposite(UP)
    assert not claim(OPEN).opposite(DOWN) and not claim(UP, DOWN).opposite(DOWN)


def test_half_the_width_needs_a_quarter_of_the_data_and_the_difference_seen_plays_no_part() -> None:
    wide, narrow = Estimate(0.0, -0.04, 0.04), Estimate(0.0, -0.02, 0.02)
    assert claim(wide).times_the_data == pytest.approx(4 * claim(narrow).times_the_data)
    assert claim(wide).times_the_data == claim(Estimate(0.03, -0.01, 0.07)).times_the_data
    assert claim(wide).times_the_data == pytest.approx((2.8016 * 0.0204 / 0.02) ** 2, rel=1e-2)
    assert "8.2 times as much test data would find a difference of 0.02" in str(claim(wide))


def test_data_that_suffice_are_said_to() -> None:
    assert "these data would have found a difference of 0.02" in str(claim(Estimate(0.0, -0.001, 0.001)))


def test_ratios_are_held_to_1_and_many_tries_are_counted() -> None:
    twice = {f"seed {seed}": Estimate(2 + seed / 10, 1.8, 2.6) for seed in range(5)}
    made = Claim("fast", "A", "B", "tokens/s", twice, ("faster", "slower"), "seeds", neutral=1)
    assert str(made) == "A is faster than B in tokens/s (5 of 5 seeds, 2.00 times to 2.40 times)."


def test_a_notebook_keeps_its_claims(tmp_path: Path) -> None:
    bundle = claims.recap(claim(UP, OPEN), claim(UP, words=("higher", "lower")))._repr_mimebundle_()
    assert bundle["text/markdown"].startswith("- A is better")
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [
        nbformat.v4.new_markdown_cell("no outputs"),
        nbformat.v4.new_code_cell("recap", outputs=[nbformat.v4.new_output("execute_result", bundle)]),
    ]
    nbformat.write(notebook, tmp_path / "a.ipynb")
    assert claims.kept(tmp_path / "a.ipynb")["short"] == claim(UP, words=("higher", "lower"))
