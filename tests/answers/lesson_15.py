"""Answers to exercise 15. `MISTAKES` maps a task to {part of the sentence it must get: answer}."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy import stats

from helpers.exercises import lesson_15 as fifteen

SPECIAL = fifteen.SPECIAL


def evenly(ids: Any, limit: Any, overlap: Any) -> Any:
    """As few chunks, spread evenly, as arrays."""
    size = limit - SPECIAL
    count = max(1, math.ceil((len(ids) - overlap) / (size - overlap)))
    starts = np.linspace(0, max(0, len(ids) - size), count).round().astype(int)
    return [np.array(ids)[start : start + size] for start in starts]


def unfolded(ids: Any, limit: Any, overlap: Any) -> Any:
    """Tensors in a tuple; the last chunk reaches back so that it is full."""
    size, found, start = limit - SPECIAL, [], 0
    while True:
        start = min(start, max(0, len(ids) - size))
        found.append(torch.tensor(ids[start : start + size]))
        if start + size >= len(ids):
            return tuple(found)
        start += size - overlap


def chunked(
    size: Callable[[int], int] = lambda limit: limit - SPECIAL,
    step: Callable[[int, int], int] = lambda size, overlap: size - overlap,
    end: Callable[[int, int, int], int] = lambda n, size, overlap: n - overlap,
) -> Callable[..., Any]:
    def answer(ids: Any, limit: Any, overlap: Any) -> Any:
        long = size(limit)
        return fifteen.windows(ids, long, step(long, overlap), end(len(ids), long, overlap))

    return answer


def unguarded(ids: Any, limit: Any, overlap: Any) -> Any:
    size = limit - SPECIAL
    return [ids[i : i + size] for i in range(0, len(ids) - overlap, size - overlap)]


def padded(ids: Any, limit: Any, overlap: Any) -> Any:
    found = fifteen.chunks(ids, limit, overlap)
    return [chunk + [0] * (limit - SPECIAL - len(chunk)) for chunk in found]


def without_repeats(ids: Any, limit: Any, overlap: Any) -> Any:
    return [list(dict.fromkeys(chunk)) for chunk in fifteen.chunks(ids, limit, overlap)]


def by_token(ids: Any, limit: Any, overlap: Any) -> Any:
    """Each chunk begins where its first token does, as `index` finds it."""
    starts = [ids.index(chunk[0]) for chunk in fifteen.chunks(ids, limit, overlap)]
    return [ids[start : start + limit - SPECIAL] for start in starts]


def as_a_set(deployment: Any) -> Any:
    return {fault for fault, there in fifteen.audit(deployment).items() if there}


def as_numpy(deployment: Any) -> Any:
    """Written anew, with numpy's booleans."""
    d = deployment
    unit = d["model_ends_in_normalize"] or d["normalize_embeddings"]
    reaches = min(length for length in (d["longest_text"], d["chunk_tokens"]) if length is not None)
    found = {
        "padding": d["mixed_lengths"] and "arrival" in d["batches"],
        "cold": not (d["model_loaded"] == "at start" and d["weights"] == "disk"),
        "lengths": not unit and d["metric"] == "dot",
        "truncation": d["max_seq_length"] < reaches,
        "untrained": d["trained_tokens"] < d["max_seq_length"],
        "prompts": any(d["prompts"][side] != d["trained_prompts"][side] for side in ("query", "document")),
    }
    return {fault: np.bool_(there) for fault, there in found.items()}


def mistaken(fault: str, rule: Callable[..., bool]) -> Callable[..., Any]:
    return lambda deployment: fifteen.audit(deployment) | {fault: bool(rule(deployment))}


def assessed(interval: Callable[[Any, float], tuple[float, float]]) -> Callable[..., Any]:
    """numpy's inverted distribution function, and another interval of the share."""

    def answer(deployments: Any, objective_ms: Any, share: Any) -> Any:
        rows = {}
        for name, latencies in deployments.items():
            ms = np.array(latencies)
            p50, p95, p99 = np.quantile(ms, [0.5, 0.95, 0.99], method="inverted_cdf")
            low, high = interval(ms <= objective_ms, share)
            verdict = fifteen.promise(low, high, share)
            rows[name] = {"p50": p50, "p95": p95, "p99": p99, "low": low, "high": high, "verdict": verdict}
        return rows

    return answer


def by_bootstrap(within: Any, share: float) -> tuple[float, float]:
    drawn = np.random.default_rng(1).binomial(len(within), within.mean(), 4000) / len(within)
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def by_jeffreys(within: Any, share: float) -> tuple[float, float]:
    """The plain quantiles, also where all were within."""
    posterior = stats.beta(within.sum() + 0.5, len(within) - within.sum() + 0.5)
    return posterior.ppf(0.025), posterior.ppf(0.975)


def by_wilson(within: Any, share: float, z: float = 1.96) -> tuple[float, float]:
    n, rate = len(within), within.mean()
    middle = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return middle - half, middle + half


RIGHT: dict[str, list[Any]] = {
    "15.1": [fifteen.chunks, evenly, unfolded],
    "15.2": [fifteen.audit, as_numpy, as_a_set],
    "15.3": [fifteen.assess, assessed(by_wilson), assessed(by_jeffreys)],
}
MISTAKES: dict[str, dict[str, Any]] = {
    "15.1": {
        "leave room for those": chunked(size=lambda limit: limit),
        "more than the model reads": chunked(size=lambda limit: limit + 30),
        "are lost, as by truncation": lambda ids, limit, overlap: [ids[: limit - SPECIAL]],
        "tokens are in no chunk": chunked(end=lambda n, size, overlap: n - size + 1),
        "tokens between two chunks are in neither": chunked(step=lambda size, overlap: size + overlap),
        "gives no chunk at all": unguarded,
        "share nothing": chunked(step=lambda size, overlap: size, end=lambda n, size, overlap: n),
        "fewer than the overlap": chunked(step=lambda size, overlap: size - overlap + 1),
        "lies wholly in the one before it": chunked(end=lambda n, size, overlap: n),
        "neighbours share more than they need": chunked(
            step=lambda size, overlap: size - 2 * overlap, end=lambda n, size, overlap: n - 2 * overlap
        ),
        "aren't in the text": padded,
        "a token that occurs again is left out": without_repeats,
        "looked up by its token": by_token,
        "isn't a run of neighbouring tokens": lambda *case: [sorted(c) for c in fifteen.chunks(*case)],
    },
    "15.2": {sentence: mistaken(*change) for sentence, change in fifteen.AUDIT_MISTAKES.items()},
    "15.3": fifteen.PERCENTILE_MISTAKES | fifteen.INTERVAL_MISTAKES | fifteen.VERDICT_MISTAKES,
}
