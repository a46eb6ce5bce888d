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
from helpers.benchmark.running import describe
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


def measured(name: str) -> Speed:
    """A made-up speed: encoding for the clock isn't overhead, it is what the reader asked for."""
    seconds = (0.1,) * 7
    return Speed(
        texts_per_s=10,
        tokens_per_s=None,
        peak_share=None,
        latency_ms=1,
        latency_p95_ms=1,
        tokens_per_text=None,
        computed_per_token=None,
        batch_size=8,
        texts=128,
        clock="CPU seconds",
        wall_s=seconds,
        cpu_s=seconds,
        reference=name,
        reference_wall_s=seconds,
        reference_cpu_s=seconds,
    )


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
        settings = benchmark.Settings(models=("all-MiniLM-L6-v2", "copy"), output_dir=Path(folder) / "out")
        results = []
        for name in settings.models:
            scores, per_query, similarities = benchmark.evaluate(model, dataset)
            assert similarities is not None and dataset.pairs is not None
            made_up = measured(name)
            results.append(
                benchmark.Result(
                    name,
                    "",
                    "cpu",
                    "float32",
                    384,
                    0,
                    scores,
                    per_query,
                    tuple(similarities),
                    0.0,
                    0.0,
                    None,
                    made_up,
                )
            )
        report = benchmark.Report(
            settings,
            dataset.name,
            dataset.sha256,
            describe(dataset),
            tuple(results),
            {},
            {
                "hardware": {"accelerator": None, "cpu": "this machine", "cores": 1, "threads": 1, "memory_gb": 1},
                "load_average": [0, 0],
            },
            "",
        )
        figure, _ = plots.pareto(report)
        benchmark.save(report, figure)
        benchmark.summary(report)
        total = time.perf_counter() - start
    rest = total - spent["encoding"]
    print(f"{len(dataset.texts)} texts, twice: {total:.1f} s, of which encoding {spent['encoding']:.1f} s")
    print(f"everything else: {rest:.2f} s, {100 * rest / total:.1f}% of the run")


if __name__ == "__main__":
    main()
