"""How fast models encode, how much memory one takes, and how much of the machine it uses.

Models are compared in rounds. Within a round every batch goes to every model, in an order drawn anew for each batch, so
that what the machine does meanwhile meets all of them alike. What counts is the ratio to a reference, the first model.
"""

import gc
import math
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from scipy import stats
from sentence_transformers import SentenceTransformer
from torch.utils.flop_counter import FlopCounterMode

from helpers.encode.batching import TOKEN_BUDGET, batches
from helpers.encode.tokens import token_counts
from helpers.errors import CourseError
from helpers.measure import metrics
from helpers.measure.metrics import CONFIDENCE, Estimate
from helpers.models.unpadded import packed

BATCHES = 16
BUDGET_S = 45.0
ROUNDS = range(3, 16)  # at least, and at most
WANTED_ROUNDS = 7
SHORTEST_VISIT_S = 0.1
SINGLES = 5
WORTH = 1.05  # a smaller ratio of speeds is no reason to prefer a model

Clock = Literal["CPU seconds", "seconds"]


@dataclass(frozen=True)
class Speed:
    """One model's encoding speed, measured in rounds with others.

    Attributes:
        texts_per_s: by the clock on the wall, the median over the rounds.
        tokens_per_s: tokens that the model reads, after truncation and without padding; None without a tokenizer.
        peak_share: the arithmetic those tokens need, a second, over what the device does in a large matrix product of
            the same dtype; None where it can't be counted.
        latency_ms: of one text on its own, median and 95th percentile.
        latency_p95_ms: see `latency_ms`.
        tokens_per_text: mean over the texts; None without a tokenizer.
        computed_per_token: tokens computed, padding included, over tokens read; None without a tokenizer.
        batch_size: texts of the largest batch.
        texts: how many texts a whole visit encodes.
        clock: which seconds decide: CPU seconds where all models run on a CPU, else seconds on the wall.
        wall_s: seconds a text on the wall, one value a round.
        cpu_s: seconds a text of the process on all its cores, one value a round.
        reference: the model to which ratios are.
        reference_wall_s: that model's `wall_s` in the same rounds.
        reference_cpu_s: that model's `cpu_s` in the same rounds.
    """

    texts_per_s: float
    tokens_per_s: float | None
    peak_share: float | None
    latency_ms: float
    latency_p95_ms: float
    tokens_per_text: float | None
    computed_per_token: float | None
    batch_size: int
    texts: int
    clock: Clock
    wall_s: tuple[float, ...]
    cpu_s: tuple[float, ...]
    reference: str
    reference_wall_s: tuple[float, ...]
    reference_cpu_s: tuple[float, ...]

    @property
    def rounds(self) -> int:
        """How many rounds were measured."""
        return len(self.wall_s)

    @property
    def rate(self) -> float:
        """Texts a second of the clock that decides."""
        return 1 / statistics.median(self._seconds)

    @property
    def ratio(self) -> Estimate:
        """How many times as fast as the reference, by the clock that decides, with its 95% interval."""
        return metrics.ratio(self._logs)

    @property
    def wall_ratio(self) -> Estimate:
        """The same by the clock on the wall."""
        return metrics.ratio(np.log(self.reference_wall_s) - np.log(self.wall_s))

    @property
    def _seconds(self) -> tuple[float, ...]:
        return self.cpu_s if self.clock == "CPU seconds" else self.wall_s

    @property
    def _reference_seconds(self) -> tuple[float, ...]:
        return self.reference_cpu_s if self.clock == "CPU seconds" else self.reference_wall_s

    @property
    def _logs(self) -> NDArray[np.float64]:
        return np.asarray(np.log(self._reference_seconds) - np.log(self._seconds))


def against(one: Speed, other: Speed) -> Estimate:
    """How many times as fast the first model is as the second, with its 95% interval.

    Round by round where both were measured in the same rounds; else through the reference of both, by Welch's t.
    """
    if one._reference_seconds == other._reference_seconds:
        return metrics.ratio(one._logs - other._logs)
    first, second = one._logs, other._logs
    if min(len(first), len(second)) < 2:
        return Estimate(float(np.exp(first.mean() - second.mean())), 0.0, math.inf)
    interval = stats.ttest_ind(first, second, equal_var=False).confidence_interval(CONFIDENCE)
    return Estimate(*(float(np.exp(v)) for v in (first.mean() - second.mean(), interval.low, interval.high)))


def faster(one: Speed, other: Speed) -> bool:
    """Whether the first model is told to be faster by more than 5%: a smaller difference is worth nothing."""
    return against(one, other).low > WORTH


def spread(speed: Speed) -> float:
    """How unsteady the machine was: the reference's spread on the wall from round to round, 0.1 for about 10%."""
    logs = np.log(speed.reference_wall_s)
    return float(np.exp(logs.std(ddof=1)) - 1) if len(logs) > 1 else math.inf


def plan(model: SentenceTransformer, texts: Sequence[str], batch_size: int = 32, seed: int = 0) -> list[list[str]]:
    """Sixteen batches that stand for a corpus: sorted by length, cut by tokens or `batch_size`, drawn evenly.

    Args:
        model: whose tokens count; words, where it has no tokenizer.
        texts: the corpus; fewer than 16 texts are a batch each.
        batch_size: texts a batch at most; also fewer, so that there are 16 batches.
        seed: of the draw.
    """
    lengths = token_counts(model, texts) or [len(text.split()) + 1 for text in texts]
    most = min(batch_size, max(1, len(texts) // BATCHES))
    whole = [
        piece
        for part in batches(lengths, TOKEN_BUDGET)
        for piece in np.array_split(part, math.ceil(len(part) / most))  # of about equal size, none of one text
    ]
    many = min(BATCHES, len(whole))
    places = (np.arange(many) + np.random.default_rng(seed).random(many)) * len(whole) / many
    return [[texts[int(i)] for i in whole[int(place)]] for place in places]


def measure(
    models: Mapping[str, SentenceTransformer],
    texts: Sequence[str],
    *,
    singles: Sequence[str] = (),
    batch_size: int = 32,
    budget_s: float = BUDGET_S,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Speed]:
    """Encode the same batches with every model, round by round, until the time is used.

    A round takes the batches of `plan`, or every second, fourth, ... of them in turn where seven rounds wouldn't fit
    the time; a fast model encodes each batch as often as makes a tenth of a second a round. All models are warmed up
    first.

    Args:
        models: name to model; the first is the reference.
        texts: a corpus with lengths like those you will meet.
        singles: texts that come one by one, such as queries; from `texts` where none are given.
        batch_size: texts a batch at most.
        budget_s: seconds for everything; there are three rounds at least, fifteen at most.
        seed: of the batches and of the order of models.
        say: told the number of each round as it begins.

    Raises:
        CourseError: no model, no texts, or a batch size below 1.
    """
    if not models or not texts or batch_size < 1:
        raise CourseError("Speed needs at least one model, one text and a batch size of 1 or more.")
    start = time.perf_counter()
    draw = np.random.default_rng(seed)
    first = next(iter(models))
    batched = plan(models[first], list(texts), batch_size, seed)
    alone = list(singles or texts)
    alone = [alone[i] for i in draw.permutation(len(alone))]
    needed = {name: _warm_up(model, batched) for name, model in models.items()}
    left = budget_s - (time.perf_counter() - start)
    parts = next((p for p in (1, 2, 4, 8) if sum(needed.values()) * WANTED_ROUNDS / p <= left), BATCHES)
    parts = min(parts, len(batched))
    times = {name: max(1, math.ceil(SHORTEST_VISIT_S * parts / second)) for name, second in needed.items()}
    visits: dict[str, list[_Visit]] = {name: [] for name in models}
    for turn in range(ROUNDS.stop - 1):
        begun = time.perf_counter()
        say(f"round {turn + 1}")
        part = batched[turn % parts :: parts]
        single = [alone[(turn * SINGLES + i) % len(alone)] for i in range(SINGLES)]
        for name, visit in _round(models, part, single, times, draw).items():
            visits[name].append(visit)
        now = time.perf_counter()
        if turn + 1 >= ROUNDS.start and now + (now - begun) - start > budget_s:
            break
    clock: Clock = "CPU seconds" if all(m.device.type == "cpu" for m in models.values()) else "seconds"
    return {
        name: _speed(model, visits[name], visits[first], batched, clock=clock, name=first)
        for name, model in models.items()
    }


@dataclass(frozen=True)
class _Visit:
    wall_s: float
    cpu_s: float
    single_s: tuple[float, ...]


def _encode(model: SentenceTransformer, batch: list[str]) -> None:
    model.encode(batch, batch_size=len(batch), show_progress_bar=False)


def _warm_up(model: SentenceTransformer, batched: list[list[str]]) -> float:
    """Run what a first call pays for, and estimate the seconds of a whole visit from the middle batch."""
    for batch in (batched[0], batched[-1], [batched[-1][0]]):
        _encode(model, batch)
    synchronize(model.device)
    start = time.perf_counter()
    _encode(model, batched[len(batched) // 2])
    synchronize(model.device)
    return max((time.perf_counter() - start) * len(batched), 1e-9)


def _round(
    models: Mapping[str, SentenceTransformer],
    part: list[list[str]],
    single: list[str],
    times: Mapping[str, int],
    draw: np.random.Generator,
) -> dict[str, _Visit]:
    """Each batch, then each text on its own, with every model before the next one; seconds a text."""
    wall, cpu = dict.fromkeys(models, 0.0), dict.fromkeys(models, 0.0)
    latencies: dict[str, list[float]] = {name: [] for name in models}
    for batch in part:
        for name in draw.permutation(list(models)):
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            for _ in range(times[name]):
                _encode(models[name], batch)
            synchronize(models[name].device)
            wall[name] += (time.perf_counter() - wall_s) / times[name]
            cpu[name] += (time.process_time() - cpu_s) / times[name]
    for text in single:
        for name in draw.permutation(list(models)):
            begun = time.perf_counter()
            _encode(models[name], [text])
            synchronize(models[name].device)
            latencies[name].append(time.perf_counter() - begun)
    texts = sum(map(len, part))
    return {name: _Visit(wall[name] / texts, max(cpu[name], 1e-9) / texts, tuple(latencies[name])) for name in models}


def _speed(
    model: SentenceTransformer,
    own: list[_Visit],
    reference: list[_Visit],
    batched: list[list[str]],
    *,
    clock: Clock,
    name: str,
) -> Speed:
    counted = [token_counts(model, batch) for batch in batched]
    lengths = [n for batch in counted for n in batch]
    texts = sum(map(len, batched))
    wall_s = tuple(visit.wall_s for visit in own)
    middle = statistics.median(wall_s)
    share = None
    cost = flops_per_text(model)
    if lengths and cost is not None:
        needed = float(np.polyval(cost, lengths).mean())
        share = needed / middle / matrix_peak(model.device.type, model.dtype or torch.float32)
    tokenizer = getattr(model[0], "tokenizer", None)
    padded = hasattr(tokenizer, "pad") and not hasattr(model[0], "unpadded")  # a static model's tokenizer doesn't
    computed = sum(len(batch) * max(batch) for batch in counted) if padded else sum(lengths)
    alone = [1000 * second for visit in own for second in visit.single_s]
    return Speed(
        texts_per_s=1 / middle,
        tokens_per_s=sum(lengths) / texts / middle if lengths else None,
        peak_share=share,
        latency_ms=float(np.median(alone)),
        latency_p95_ms=float(np.quantile(alone, 0.95)),
        tokens_per_text=sum(lengths) / texts if lengths else None,
        computed_per_token=computed / sum(lengths) if lengths else None,
        batch_size=max(map(len, batched)),
        texts=texts,
        clock=clock,
        wall_s=wall_s,
        cpu_s=tuple(visit.cpu_s for visit in own),
        reference=name,
        reference_wall_s=tuple(visit.wall_s for visit in reference),
        reference_cpu_s=tuple(visit.cpu_s for visit in reference),
    )


@dataclass
class Memory:
    """Memory in MB above what was in use before: of the process, and of the GPU if there is one."""

    process_mb: float = 0.0
    gpu_mb: float | None = None
    _stop: threading.Event = field(default_factory=threading.Event, repr=False)


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
