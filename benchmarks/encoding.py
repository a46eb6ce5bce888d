"""The ladder of ways to encode on one CPU thread, each against `SentenceTransformer.encode`.

    python -m benchmarks.encoding

First the bound: what the linear layers alone reach, and what each of the rest costs beside them. Then the ways: mixed
lengths (the course's texts, cut so that their mean is about 54 tokens), interleaved in each repeat, CPU seconds,
medians, ratios with the lowest and the highest of the repeats. The last column is the arithmetic that the texts need,
over what a large float32 matrix product does on this machine. A model reads every fourth text or fewer, and the library
gets batches smaller by as much: they hold the share of padding that batches of 32 have with all the texts.
To see what another processor would do: ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2
MKL_ENABLE_INSTRUCTIONS=AVX2 (ONNX Runtime heeds none of them).
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch.profiler import profile

from helpers import data, load
from helpers.encode import batches, cpu_has_bfloat16, encode, to_openvino, token_counts
from helpers.encode.batching import full_batches
from helpers.errors import CourseError
from helpers.measure import environment, speed
from helpers.models.unpadded import Unpadded, packed

REPEATS, TEXTS, MEAN_TOKENS = 5, 400, 54
LIBRARY = "SentenceTransformer.encode"
PARTS = {"all-MiniLM-L6-v2": 4, "multilingual-e5-small-q4": 8, "all-mpnet-base-v2": 10}  # one text of so many
# What the profiler calls the parts of a pass, by a piece of the name.
STEPS = {
    "linear": "linear layers",
    "attention": "attention",
    "gelu": "GELU",
    "add": "sums and norms",
    "norm": "sums and norms",
    "embedding": "look-ups",
    "index": "look-ups",
}
Way = Callable[[list[str]], NDArray[np.float32]]


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


def ways(name: str, model: SentenceTransformer) -> dict[str, Way]:
    """Each way by its name: texts to vectors. The slow ones and other runtimes only for MiniLM."""
    found: dict[str, Way] = {LIBRARY: partial(model.encode, batch_size=32 // PARTS[name])}

    def one_by_one(texts: list[str]) -> NDArray[np.float32]:
        return np.stack([model.encode(text) for text in texts])

    def arrival(texts: list[str]) -> NDArray[np.float32]:
        return np.concatenate([model.encode(texts[i : i + 32]) for i in range(0, len(texts), 32)])

    def budget(texts: list[str]) -> NDArray[np.float32]:
        vectors = np.empty((len(texts), 384), dtype=np.float32)
        for batch in batches(token_counts(model, texts), 1024):
            vectors[batch] = model.encode([texts[i] for i in batch], batch_size=len(batch))
        return vectors

    def run(made: SentenceTransformer, pack: bool = True) -> Way:
        return partial(encode, made, pack=pack)

    if name == "all-MiniLM-L6-v2":
        found["arrival order, batches of 32"] = arrival
        found["one text a call"] = one_by_one
        found["token budget"] = budget
        found["unpadded"] = run(model, False)
    found["unpadded, packed"] = run(model)
    if _half():
        found["unpadded, packed, bfloat16"] = run(load(name, device="cpu", dtype="bfloat16"))
    found["unpadded, int8"] = run(load(f"{name}@unpadded-int8", device="cpu"))
    if name == "all-MiniLM-L6-v2":
        found["ONNX Runtime int8"] = run(load(f"{name}-int8", device="cpu"))
        found["OpenVINO float32"] = run(to_openvino(model))
        found["OpenVINO int8"] = run(to_openvino(model, int8=True))
    return found


def _half() -> bool:
    """Whether bfloat16 runs in hardware, and PyTorch wasn't told to do without."""
    return cpu_has_bfloat16() and torch.backends.cpu.get_cpu_capability() != "AVX2"


def bound(width: int, wide: int, rows: int) -> float:
    """FLOP/s of an encoder's linear layers alone on so many tokens: six layers' weights, none of them warm."""
    sizes = [(width, width)] * 4 + [(width, wide), (wide, width)]
    layers = [[packed(torch.nn.Linear(*size)) for size in sizes] for _ in range(6)]
    states = {size: torch.randn(rows, size) for size in (width, wide)}
    seconds = []
    with torch.inference_mode():
        for _ in range(REPEATS + 1):
            start = time.process_time()
            for layer in layers:
                for (size, _), product in zip(sizes, layer, strict=True):
                    product(states[size])
            seconds.append(time.process_time() - start)
    flops = sum(2 * rows * a * b for a, b in sizes) * len(layers)
    return flops / statistics.median(seconds[1:])


def costs(model: SentenceTransformer, texts: list[str]) -> dict[str, float]:
    """Time of each part of encoding over that of the linear layers, by PyTorch's profiler."""
    rows = model.tokenizer(texts, truncation=True, max_length=model.max_seq_length)["input_ids"]
    plan = full_batches([len(row) for row in rows], 1024)
    unpadded = Unpadded(model)
    unpadded([rows[i] for i in plan[0]])
    found: defaultdict[str, float] = defaultdict(float)
    with profile() as seen:
        for batch in plan:
            unpadded([rows[i] for i in batch])
    for event in seen.key_averages():
        step = next((step for part, step in STEPS.items() if part in event.key), "the rest, such as copies and views")
        found[step] += event.self_cpu_time_total
    start = time.process_time()
    model.tokenizer(texts, truncation=True, max_length=model.max_seq_length)
    found["tokenizing"] = 1e6 * (time.process_time() - start)
    linears = found.pop("linear layers")
    return {step: spent / linears for step, spent in sorted(found.items(), key=lambda item: -item[1])}


def table(name: str, model: SentenceTransformer, texts: list[str], peak: float) -> None:
    """Measure the ways to run a model, and print a line for each."""
    known = ways(name, model)
    reference = model.encode(texts)
    seconds: dict[str, list[float]] = {way: [] for way in known}
    deviation = {}
    for repeat in range(REPEATS + 1):  # the first warms up
        for way, compute in known.items():
            start = time.process_time()
            vectors = compute(texts)
            if repeat:
                seconds[way].append(time.process_time() - start)
            else:
                norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(reference, axis=1)
                deviation[way] = float(np.max(1 - (vectors * reference).sum(axis=1) / norms))
    cost, lengths = speed.flops_per_text(model), token_counts(model, texts)
    assert cost is not None
    needed = float(np.polyval(cost, lengths).sum())
    print(f"\n{name}: {len(texts)} texts, {np.mean(lengths):.0f} tokens on average, {max(lengths)} at most")
    print(
        f"{'way':30} {'CPU s':>7} {'ratio':>6} {'of repeats':>12} {'worst cosine deviation':>23} {'share of peak':>14}"
    )
    for way, runs in seconds.items():
        middle = statistics.median(runs)
        ratios = sorted(base / own for base, own in zip(seconds[LIBRARY], runs, strict=True))
        spread = f"{ratios[0]:.2f}-{ratios[-1]:.2f}"
        print(
            f"{way:30} {middle:7.2f} {statistics.median(ratios):6.2f} {spread:>12} {deviation[way]:23.1e} "
            f"{needed / middle / peak:14.0%}"
        )


def main() -> None:
    torch.set_num_threads(1)
    machine, peak = environment.hardware(), speed.matrix_peak("cpu", clock=time.process_time)
    told = os.environ.get("ONEDNN_MAX_CPU_ISA")
    print(f"{machine['cpu']} ({', '.join(machine['cpu_features'])}), one thread, torch {torch.__version__}")
    print(f"PyTorch uses {torch.backends.cpu.get_cpu_capability()}{f', oneDNN at most {told}' if told else ''}")
    print(f"{peak / 1e9:.0f} GFLOP/s in a large float32 product; {REPEATS} repeats\n")
    for width, wide in ((384, 1536), (768, 3072)):
        shares = ", ".join(f"{bound(width, wide, rows) / peak:.2f} of it at {rows:,} tokens" for rows in (1024, 256))
        print(f"linear layers alone, {width} to {wide} wide: {shares}")
    texts = corpus()
    for name, part in PARTS.items():
        try:
            model = load(name, device="cpu")
        except CourseError as error:
            print(f"\n{name}: not measured, {error}")
            continue
        if name == "all-MiniLM-L6-v2":
            beside = ", ".join(f"{step} {share:.1%}" for step, share in costs(model, texts).items())
            print(f"beside them, over their time, {name}: {beside}")
        table(name, model, texts[::part], peak)
    if not _half():
        print("\nbfloat16: not measured, there are no instructions for it")


if __name__ == "__main__":
    main()
