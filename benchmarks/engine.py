"""The benchmark's scoring against one-by-one scoring, on the same model and 1,000 pairs.

    python -m benchmarks.engine

One-by-one is what a first attempt looks like: each sentence of each pair encoded in a call of its
own. Both are timed in this one process; read the ratio, not the seconds.
"""

import time

import numpy as np
from sentence_transformers.util import cos_sim
from tqdm import tqdm

from helpers import benchmark, data, load

PAIRS = 1000


def sample(seed: int = 0) -> data.Pairs:
    """1,000 pairs whose sentences repeat, as they do in real pair sets."""
    pairs = data.pairs()
    draw = np.random.default_rng(seed).integers(0, len(pairs), PAIRS)
    other = np.random.default_rng(seed + 1).permutation(draw)
    mixed = np.where(np.arange(PAIRS) % 2, draw, other)
    return data.Pairs(
        tuple(pairs.sentence1[i] for i in draw),
        tuple(pairs.sentence2[i] for i in mixed),
        np.array([pairs.gold[i] if i == j else 0.0 for i, j in zip(draw, mixed, strict=True)]),
        graded=False,
    )


def main() -> None:
    model = load("all-MiniLM-L6-v2", device="cpu")
    pairs = sample()
    model.encode(list(pairs.sentence1[:64]))

    wall, cpu = time.perf_counter(), time.process_time()
    _, batched = benchmark.score(model, data.Dataset("sample", pairs=pairs))
    ours = time.perf_counter() - wall, time.process_time() - cpu

    wall, cpu = time.perf_counter(), time.process_time()
    single = [
        cos_sim(model.encode(first), model.encode(second)).item()
        for first, second in zip(pairs.sentence1, tqdm(pairs.sentence2, unit="pair"), strict=True)
    ]
    naive = time.perf_counter() - wall, time.process_time() - cpu

    assert batched is not None
    difference = float(np.abs(batched - np.array(single)).max())
    assert difference <= 1e-5, difference
    print(f"one by one:         {naive[0]:6.1f} s wall, {naive[1]:6.1f} s CPU")
    print(f"helpers.benchmark:  {ours[0]:6.1f} s wall, {ours[1]:6.1f} s CPU (scores and intervals included)")
    print(f"ratio: {naive[0] / ours[0]:.1f} wall, {naive[1] / ours[1]:.1f} CPU; largest difference {difference:.1e}")


if __name__ == "__main__":
    main()
