"""Memory and speed of every model that has a twin, kept as `helpers/facts/measured_DEVICE.csv`.

    python -m benchmarks.twins            # all
    python -m benchmarks.twins NAME ...   # these alone; the rows of the others stay

On a CPU: fp32, one thread, and the clock is CPU time, so that a busy machine measures the same. On a
GPU: bf16, and wall time. Each model runs in a process of its own, so that its peak of memory is its own.
Random weights take the time that trained ones take; nothing here says anything about quality.

A model of more than 2 billion parameters is too large for most machines: it runs with its first 2
and 4 layers, and the time of all of them is extrapolated, since every layer takes the same. That is
checked on a model that can be run both ways.
"""

import csv
import datetime
import gc
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch
from tqdm import tqdm

from helpers import catalog, models
from helpers.encode import token_counts
from helpers.measure import environment, speed
from helpers.models import twins

TOKENS, TEXTS, REPEATS = 128, 4, 3
LARGE = 2_000_000_000
CHECKED = "thenlper/gte-base"
DTYPE = {"cpu": torch.float32, "cuda": torch.bfloat16, "mps": torch.bfloat16}


def seconds(name: str, device: str, layers: int | None) -> tuple[float, float]:
    """(seconds to encode the texts, MB at the peak, weights included) of a twin or its first layers."""
    torch.set_num_threads(1)
    clock = time.process_time if device == "cpu" else time.perf_counter
    texts = ["cat " * (TOKENS - 2)] * TEXTS
    with speed.peak_memory() as memory:
        model = twins.twin(name, device=device, dtype=DTYPE[device], layers=layers)
        assert token_counts(model, texts) == [TOKENS] * TEXTS
        runs = []
        for _ in range(REPEATS + 1):
            start = clock()
            model.encode(texts, batch_size=TEXTS)
            speed.synchronize(model.device)
            runs.append(clock() - start)
    return statistics.median(runs[1:]), memory.gpu_mb or memory.process_mb


def measure(name: str, device: str, extrapolate: bool) -> dict[str, Any]:
    """The row of one model."""
    facts, dtype = catalog.card(name), DTYPE[device]
    parameters = twins.parameter_count(name)
    row: dict[str, Any] = {
        "hub_id": facts.hub_id,
        "parameters": parameters,
        "layers": facts.layers,
        "layers_run": 4 if extrapolate else facts.layers,
        "dtype": str(dtype).removeprefix("torch."),
        "weights_mb": round(parameters * dtype.itemsize / 1e6),
    }
    if extrapolate:
        two, _ = seconds(name, device, 2)
        gc.collect()
        four, _ = seconds(name, device, 4)
        time_s, row["peak_mb"] = two + (four - two) / 2 * ((facts.layers or 0) - 2), None
    else:
        time_s, peak = seconds(name, device, None)
        row["peak_mb"] = round(peak)
    hardware = environment.hardware()
    return row | {
        "tokens": TOKENS,
        "batch_size": TEXTS,
        "tokens_per_s": round(TOKENS * TEXTS / time_s, 1),
        "device": device,
        "hardware": hardware["accelerator"] or hardware["cpu"],
        "threads": 1,
        "torch": torch.__version__.split("+")[0],
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
    }


def alone(*arguments: Any) -> dict[str, Any]:
    """`measure` in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def with_twin() -> Iterator[str]:
    for facts in catalog.cards():
        try:
            twins.config(facts.hub_id)
        except ValueError:
            continue
        yield facts.hub_id


def main(names: list[str]) -> None:
    device = models.choose_device()
    path = catalog.FACTS / f"measured_{device}.csv"
    rows: dict[str, dict[str, Any]] = {}
    if names and path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            rows = {row["hub_id"]: row for row in csv.DictReader(file)}
    if not names:
        whole, part = (alone(CHECKED, device, way)["tokens_per_s"] for way in (False, True))
        print(f"{CHECKED}: {whole:.0f} tokens/s run whole, {part:.0f} extrapolated, ratio {part / whole:.3f}")
    for name in (bar := tqdm(names or list(with_twin()), unit="model")):
        bar.set_postfix_str(name)
        large = (catalog.card(name).params_total or 0) > LARGE
        row = alone(name, device, large and device == "cpu")
        rows[row["hub_id"]] = row
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows.values())
    print(f"written: {path.name}")


if __name__ == "__main__":
    main(sys.argv[1:])
