"""How fast a model encodes, how much memory it takes, and how much of the machine it uses.

Speed is measured as it is met in practice: batches, a mixture of lengths, a warm-up, several
repeats, the median of them, the device waited for, `perf_counter` as the clock.
"""

import gc
import math
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch.utils.flop_counter import FlopCounterMode

from helpers.encode.tokens import token_counts
from helpers.encode.unpadded import packed
from helpers.errors import CourseError

SHORTEST_REPEAT_S = 0.2


@dataclass(frozen=True)
class Speed:
    """One model's encoding speed. Rates are medians over the repeats; `slowest` and `fastest` bound them.

    `tokens_per_s` counts the tokens the model reads, after truncation and without padding; None for a
    model without a tokenizer. `peak_share` is the arithmetic those tokens need, a second, over what
    the device does in a large matrix product of the same dtype; None where it can't be counted.
    """

    texts_per_s: float
    slowest: float
    fastest: float
    tokens_per_s: float | None
    peak_share: float | None
    repeats: int
    texts: int
    batch_size: int


@dataclass
class Memory:
    """Memory in MB above what was in use before: of the process, and of the GPU if there is one."""

    process_mb: float = 0.0
    gpu_mb: float | None = None
    _stop: threading.Event = field(default_factory=threading.Event, repr=False)


def measure(model: SentenceTransformer, texts: Sequence[str], *, batch_size: int = 32, repeats: int = 3) -> Speed:
    """Encode `texts` again and again, and report the median rate.

    Args:
        model: any Sentence Transformers model.
        texts: what to encode; use lengths like those you will meet.
        batch_size: texts a batch.
        repeats: how often to measure, after one warm-up. A repeat encodes the texts as many times
            as it takes to last a fifth of a second, by the first run after the warm-up.

    Raises:
        CourseError: no texts, or no repeats.
    """
    if not texts or repeats < 1 or batch_size < 1:
        raise CourseError("Speed needs at least one text, one repeat and a batch size of 1 or more.")
    texts = list(texts)

    def run(times: int) -> float:
        start = time.perf_counter()
        for _ in range(times):
            model.encode(texts, batch_size=batch_size, show_progress_bar=False)
        synchronize(model.device)
        return (time.perf_counter() - start) / times

    run(1)  # the warm-up: a GPU's first pass takes many times as long as the next, so it can't set how often
    first = run(1)
    times = max(1, math.ceil(SHORTEST_REPEAT_S / first))
    seconds = [first if times == 1 else run(times), *(run(times) for _ in range(repeats - 1))]
    middle = statistics.median(seconds)
    lengths = token_counts(model, texts)
    share = None
    cost = flops_per_text(model)
    if lengths and cost is not None:
        needed = float(np.polyval(cost, lengths).sum())
        share = needed / middle / matrix_peak(model.device.type, model.dtype or torch.float32)
    return Speed(
        texts_per_s=len(texts) / middle,
        slowest=len(texts) / max(seconds),
        fastest=len(texts) / min(seconds),
        tokens_per_s=sum(lengths) / middle if lengths else None,
        peak_share=share,
        repeats=repeats,
        texts=len(texts),
        batch_size=batch_size,
    )


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def flops_per_text(model: SentenceTransformer) -> NDArray[np.float64] | None:
    """The arithmetic of one text as a polynomial in its number of tokens n, in FLOP, for `np.polyval`.

    The coefficients are those of n^2 (attention), n (linear layers) and 1, counted by PyTorch's own
    counter on short inputs. None for a model that PyTorch doesn't run, or that multiplies no matrices.
    """
    encoder: Any = getattr(model[0], "model", None)
    if not isinstance(encoder, torch.nn.Module):
        return None
    lengths = (16, 32, 64)
    counted = [_count_flops(encoder, n, model.device) for n in lengths]
    if not any(counted):
        return None
    return np.linalg.solve(np.vander(lengths), np.array(counted, dtype=float))


def _count_flops(encoder: Any, length: int, device: torch.device) -> int:
    """FLOP of one forward pass; attention is run in its plain form, whose products are counted."""
    ids = torch.ones((1, length), dtype=torch.long, device=device)
    usual = encoder.config._attn_implementation
    encoder.set_attn_implementation("eager")
    try:
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            encoder(input_ids=ids, attention_mask=torch.ones_like(ids))
    finally:
        encoder.set_attn_implementation(usual)
    return int(counter.get_total_flops())


@cache
def matrix_peak(
    device: str, dtype: torch.dtype = torch.float32, clock: Callable[[], float] = time.perf_counter
) -> float:
    """FLOP/s of a large matrix product on this device: the most that an encoder could use.

    The median of five products of 2048 x 2048 matrices (8192 on a GPU), after a warm-up; on a CPU the better of
    PyTorch's product and oneDNN's.

    Args:
        device: cuda, mps or cpu.
        dtype: of the numbers.
        clock: seconds; `time.process_time`, on one thread, where CPU seconds are what it is set against.
    """
    size = 2048 if device == "cpu" else 8192
    right = torch.nn.Linear(size, size, device=device, dtype=dtype)
    left = torch.randn(size, size, device=device).to(dtype)
    medians = []
    with torch.inference_mode():
        for product in (right, packed(right))[: 2 if device == "cpu" else 1]:
            seconds = []
            for _ in range(6):
                start = clock()
                product(left)
                synchronize(left.device)
                seconds.append(clock() - start)
            medians.append(statistics.median(seconds[1:]))
    return 2 * size**3 / min(medians)


@contextmanager
def peak_memory(interval_s: float = 0.01) -> Iterator[Memory]:
    """Watch how much memory the process takes beyond what it holds at the start.

    Reads the resident set every few milliseconds; memory that an earlier model freed and the
    process kept is reused unseen, so the first model of a process is the one measured best.
    """
    gc.collect()
    memory, process = Memory(), psutil.Process()
    before = process.memory_info().rss
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()

    def watch() -> None:
        while True:
            memory.process_mb = max(memory.process_mb, (process.memory_info().rss - before) / 1e6)
            if memory._stop.wait(interval_s):
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield memory
    finally:
        memory._stop.set()
        watcher.join()
        if torch.cuda.is_available():
            memory.gpu_mb = torch.cuda.max_memory_allocated() / 1e6
