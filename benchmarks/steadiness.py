"""Does a second run say the same? Ten runs while something else burns one core, on and off at random.

    python -m benchmarks.steadiness [runs]

Prints the front of each run, PCA over MiniLM and int8 over MiniLM in CPU seconds, and the wall ratio's interval.
"""

import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from helpers import benchmark

BURN = """
import random, time
draw = random.Random(0)
while True:
    end = time.perf_counter() + draw.uniform(0.5, 8)
    while time.perf_counter() < end:
        pass
    time.sleep(draw.uniform(0.5, 8))
"""
MINILM, PCA, INT8 = "all-MiniLM-L6-v2", "all-MiniLM-L6-v2-pca-128", "all-MiniLM-L6-v2-int8"


def main(runs: int) -> None:
    fronts, pca, int8, holds = [], [], [], 0
    with tempfile.TemporaryDirectory() as folder, subprocess.Popen([sys.executable, "-c", BURN]) as burner:
        try:
            for run in range(runs):
                report = benchmark.run(benchmark.Settings(device="cpu", output_dir=Path(folder) / str(run)))
                speeds = {r.name: r.speed for r in report.results}
                front = [r.name for r, place in zip(report.results, report.places, strict=True) if place.front]
                fronts.append(tuple(front))
                pca.append(speeds[PCA].ratio.value)
                int8.append(speeds[INT8].ratio.value)
                wall = speeds[PCA].wall_ratio
                holds += wall.low <= 1 <= wall.high
                print(
                    f"{run + 1}: PCA/MiniLM {speeds[PCA].ratio} in CPU seconds, {wall} on the wall; int8/MiniLM "
                    f"{speeds[INT8].ratio}; front: {', '.join(front)}",
                    flush=True,
                )
        finally:
            burner.kill()
    [(_, same)] = Counter(fronts).most_common(1)
    middle = float(np.median(int8))
    print(f"The front is the same in {same} of {runs}.")
    print(
        f"PCA/MiniLM lies within {min(pca):.3f} and {max(pca):.3f}; the wall's interval holds 1 in {holds} of {runs}."
    )
    print(f"int8/MiniLM lies within {min(int8) / middle - 1:+.1%} and {max(int8) / middle - 1:+.1%} of its median.")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
