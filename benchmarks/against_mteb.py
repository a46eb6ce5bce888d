"""The same pairs and model through mteb's own evaluation and through helpers.benchmark.

    python -m benchmarks.against_mteb

Each is run twice in this process and the second run is read, so that neither pays for imports.
"""

import time
from typing import Any

import mteb
import numpy as np
from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata

from helpers import benchmark, data, load


def graded() -> data.Pairs:
    """The course's pairs with a graded score: their label, and the kind's closeness beside it."""
    pairs = data.pairs()
    nearness = {"unrelated": 0.0, "related": 1.5, "reworded": 4.5, "paraphrase": 5.0}
    score = np.array([nearness.get(kind, 2.5) for kind in pairs.kind or ()])
    return data.Pairs(pairs.sentence1, pairs.sentence2, score, graded=True)


class CoursePairs(AbsTaskSTS):
    """The course's pairs as an STS task."""

    min_score = 0
    max_score = 5
    metadata = TaskMetadata(
        name="CoursePairs",
        description="The course's pairs, graded by kind.",
        reference=None,
        dataset={"path": "local/course-pairs", "revision": "1"},
        type="STS",
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="cosine_spearman",
        date=("2026-01-01", "2026-12-31"),
        domains=["Written"],
        task_subtypes=[],
        license="cc-by-4.0",
        annotations_creators="expert-annotated",
        dialect=[],
        sample_creation="created",
        bibtex_citation="",
    )

    def load_data(self, *args: Any, **kwargs: Any) -> None:
        pairs = graded()
        rows = {"sentence1": pairs.sentence1, "sentence2": pairs.sentence2, "score": pairs.gold}
        self.dataset = DatasetDict({"test": Dataset.from_dict({name: list(column) for name, column in rows.items()})})
        self.data_loaded = True


def main() -> None:
    model = load("all-MiniLM-L6-v2", device="cpu")
    pairs = graded()
    for _ in range(2):
        start = time.perf_counter()
        result = mteb.evaluate(model, CoursePairs(), cache=None, show_progress_bar=False)
        theirs = time.perf_counter() - start
        start = time.perf_counter()
        scores, _similarities = benchmark.score(model, data.Dataset("pairs", pairs=pairs))
        ours = time.perf_counter() - start
    published = float(result.task_results[0].get_score())
    mine = scores["spearman"].value
    print(f"mteb:              {theirs:5.1f} s, Spearman {published:.6f}")
    print(f"helpers.benchmark: {ours:5.1f} s, Spearman {mine:.6f}, with an interval")
    assert abs(published - mine) < 1e-4, (published, mine)
    print(f"ratio of times {theirs / ours:.2f}, difference {abs(published - mine):.1e}")


if __name__ == "__main__":
    main()
