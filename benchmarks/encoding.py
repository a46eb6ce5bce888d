"""The ladder of ways to encode on one CPU thread, each against `SentenceTransformer.encode`.

    python -m benchmarks.encoding

One run, one thread, mixed lengths (the course's texts, cut so that their mean is about 54 tokens), the
ways interleaved in each repeat, CPU seconds, medians. The last column is the arithmetic that the texts
need, over what a large float32 matrix product does on this machine.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from helpers import data, load
from helpers.encode import batches, cpu_has_bfloat16, encode, to_openvino, token_counts
from helpers.measure import environment, speed

REPEATS, TEXTS, MEAN_TOKENS = 5, 400, 54


def corpus() -> list[str]:
    """The course's texts and, between them, their first sentences, until the mean length is as wanted."""
    model = load("all-MiniLM-L6-v2", device="cpu")
    found = list(data.texts())
    draw = np.random.default_rng(0)
    texts = [found[i] for i in draw.permutation(len(found))[:TEXTS]]
    for i in range(TEXTS):
        if np.mean(token_counts(model, texts)) <= MEAN_TOKENS:
            break
        texts[i] = texts[i].split(". ")[0]
    return texts


def ways() -> dict[str, Callable[[list[str]], Any]]:
    """Each way by its name: texts to vectors."""
    model = load("all-MiniLM-L6-v2", device="cpu")
    onnx = load("all-MiniLM-L6-v2-int8", device="cpu")
    openvino, openvino_int8 = to_openvino(model), to_openvino(model, int8=True)

    def one_by_one(texts: list[str]) -> Any:
        return np.stack([model.encode(text) for text in texts])

    def arrival(texts: list[str]) -> Any:
        return np.concatenate([model.encode(texts[i : i + 32]) for i in range(0, len(texts), 32)])

    def budget(texts: list[str]) -> Any:
        vectors = np.empty((len(texts), 384), dtype=np.float32)
        for batch in batches(token_counts(model, texts), 1024):
            vectors[batch] = model.encode([texts[i] for i in batch], batch_size=len(batch))
        return vectors

    found = {
        "SentenceTransformer.encode": model.encode,
        "arrival order, batches of 32": arrival,
        "one text a call": one_by_one,
        "token budget": budget,
        "unpadded": lambda texts: encode(model, texts, pack=False),
        "unpadded, packed": lambda texts: encode(model, texts),
        "ONNX Runtime int8, token budget": lambda texts: encode(onnx, texts),
        "OpenVINO float32, token budget": lambda texts: encode(openvino, texts),
        "OpenVINO int8, token budget": lambda texts: encode(openvino_int8, texts),
    }
    if cpu_has_bfloat16():
        half = load("all-MiniLM-L6-v2", device="cpu", dtype="bfloat16")
        found["unpadded, packed, bfloat16"] = lambda texts: encode(half, texts)
    return found  # type: ignore[return-value]


def main() -> None:
    torch.set_num_threads(1)
    texts, known = corpus(), ways()
    model = load("all-MiniLM-L6-v2", device="cpu")
    lengths = token_counts(model, texts)
    reference = model.encode(texts)
    seconds: dict[str, list[float]] = {name: [] for name in known}
    deviation = {}
    for repeat in range(REPEATS + 1):  # the first warms up
        for name, way in known.items():
            start = time.process_time()
            vectors = way(texts)
            if repeat:
                seconds[name].append(time.process_time() - start)
            else:
                norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(reference, axis=1)
                deviation[name] = float(np.max(1 - (vectors * reference).sum(axis=1) / norms))
    cost = speed.flops_per_text(model)
    assert cost is not None
    needed, peak = float(np.polyval(cost, lengths).sum()), speed.matrix_peak("cpu", clock=time.process_time)
    print(
        f"{environment.hardware()['cpu']}, one thread, torch {torch.__version__}, {peak / 1e9:.0f} GFLOP/s in float32"
    )
    print(f"{len(texts)} texts, {np.mean(lengths):.0f} tokens on average, {max(lengths)} at most, {REPEATS} repeats\n")
    print(f"{'way':34} {'CPU s':>7} {'ratio':>6} {'worst cosine deviation':>23} {'share of peak':>14}")
    base = statistics.median(seconds["SentenceTransformer.encode"])
    for name, runs in seconds.items():
        middle = statistics.median(runs)
        print(f"{name:34} {middle:7.2f} {base / middle:6.2f} {deviation[name]:23.1e} {needed / middle / peak:14.0%}")
    if not cpu_has_bfloat16():
        print("unpadded, packed, bfloat16: not measured, this CPU has no instructions for it")


if __name__ == "__main__":
    main()
