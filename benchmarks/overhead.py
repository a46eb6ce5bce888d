"""What a run costs beside encoding: reading, metrics with 1,000 resamples, ranking, report.

    python -m benchmarks.overhead

About 2,000 distinct texts, written to a file and read back as a reader's own would be.
"""

import csv
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from helpers import benchmark, data, load
from helpers.benchmark import plots
from helpers.measure.speed import Speed


def write_pairs(path: Path, texts: int = 2000) -> None:
    """Labelled pairs over about `texts` distinct sentences, drawn from the course's own."""
    pairs = data.pairs()
    distinct = list(dict.fromkeys((*pairs.sentence1, *pairs.sentence2)))
    sentences = [f"{text} ({turn})" if turn else text for turn in range(3) for text in distinct][:texts]
    draw = np.random.default_rng(0).permutation(len(sentences)).reshape(2, -1)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sentence1", "sentence2", "label"])
        for row, (i, j) in enumerate(draw.T):
            writer.writerow([sentences[i], sentences[j], row % 2])


def main() -> None:
    spent = {"encoding": 0.0}
    model = load("all-MiniLM-L6-v2", device="cpu")
    encode: Callable[..., Any] = model.encode

    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return encode(*args, **kwargs)
        finally:
            spent["encoding"] += time.perf_counter() - start

    model.encode = timed  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.csv"
        write_pairs(path)
        start = time.perf_counter()
        dataset = data.read(path)
        scores, similarities = benchmark.score(model, dataset)
        assert similarities is not None and dataset.pairs is not None
        timing = Speed(1.0, 1.0, 1.0, None, None, 1, 1, 1)
        result = benchmark.Result(
            "model", "", "cpu", "float32", 384, 0, scores, timing, 0.0, 0.0, None, tuple(similarities.tolist())
        )
        report = benchmark.Report(
            benchmark.Settings(output_dir=Path(folder) / "out"),
            dataset.name,
            dataset.sha256,
            False,
            tuple(dataset.pairs.gold.tolist()),
            (result,),
            {},
            {"hardware": {"accelerator": None, "cpu": "this machine"}},
        )
        figure, _ = plots.pareto(report)
        benchmark.save(report, figure)
        benchmark.summary(report)
        total = time.perf_counter() - start
    rest = total - spent["encoding"]
    print(f"{len(dataset.texts)} texts: {total:.1f} s, of which encoding {spent['encoding']:.1f} s")
    print(f"everything else: {rest:.2f} s, {100 * rest / total:.1f}% of the run")


if __name__ == "__main__":
    main()
