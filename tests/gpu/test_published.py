"""Real weights give the published figures: run where the hub can be reached, `pytest -m hub tests/gpu`.

The tolerance of half a point covers another device, batch size and library version than the
publisher's; a wrong pooling, prompt or revision moves a score by more. mteb takes the prompts of the
`SentenceTransformer` it is given, so that `helpers.load` is what is judged, not mteb's own loader.
Nothing is read from or written to mteb's cache of results.
"""

import csv
from typing import Any

import pytest

import helpers
from helpers.catalog import FACTS, card

TOLERANCE = 0.005
ROWS = list(csv.DictReader((FACTS / "published.csv").open(encoding="utf-8")))


def agrees(measured: float, published: float) -> bool:
    """Whether two figures on a scale of 0 to 1 are within the tolerance."""
    return abs(measured - published) <= TOLERANCE


def test_a_figure_that_is_off_by_a_point_does_not_agree() -> None:
    assert agrees(0.8203, 0.8203247) and not agrees(0.8303, 0.8203247) and not agrees(0.0, 0.8203247)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['hub_id']}-{row['task']}")
def test_published_rows_name_the_pinned_revision(row: dict[str, str]) -> None:
    assert card(row["hub_id"]).revision == row["revision"] and row["revision"] in row["source"]


@pytest.mark.hub
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['hub_id']}-{row['task']}")
def test_the_measured_figure_is_the_published_one(row: dict[str, str], record_property: Any) -> None:
    import mteb

    model = helpers.load(row["hub_id"], source="hub")
    result = mteb.evaluate(model, mteb.get_task(row["task"]), cache=None)
    scores = result.task_results[0].scores[row["split"]][0]
    measured = float(scores[row["metric"]])
    record_property("measured", measured)
    record_property("published", row["value"])
    assert agrees(measured, float(row["value"])), f"{row['task']}: {measured:.4f}, published {row['value']}"
