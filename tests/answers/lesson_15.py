"""Answers to exercise 15. `MISTAKES` maps a task to {part of the sentence it must get: answer}."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats

from helpers.exercises import lesson_15 as fifteen

SPECIAL = 2


def evenly(ids: Any, limit: Any, overlap: Any) -> Any:
    """As few chunks, spread evenly, as arrays."""
    size = limit - SPECIAL
    count = max(1, math.ceil((len(ids) - overlap) / (size - overlap)))
    starts = np.linspace(0, max(0, len(ids) - size), count).round().astype(int)
    return [np.array(ids)[start : start + size] for start in starts]


def unfolded(ids: Any, limit: Any, overlap: Any) -> Any:
    """Tensors in a tuple; the last chunk reaches back so that it is full."""
    size, cut, start = limit - SPECIAL, [], 0
    while True:
        start = min(start, max(0, len(ids) - size))
        cut.append(torch.tensor(ids[start : start + size]))
        if start + size >= len(ids):
            return tuple(cut)
        start += size - overlap


def chunked(
    size: Callable[[int], int] = lambda limit: limit - SPECIAL,
    step: Callable[[int, int], int] = lambda size, overlap: size - overlap,
    end: Callable[[int, int, int], int] = lambda n, size, overlap: n - overlap,
) -> Callable[..., Any]:
    def answer(ids: Any, limit: Any, overlap: Any) -> Any:
        long = size(limit)
        starts = range(0, max(1, end(len(ids), long, overlap)), step(long, overlap))
        return [ids[start : start + long] for start in starts]

    return answer


def unguarded(ids: Any, limit: Any, overlap: Any) -> Any:
    size = limit - SPECIAL
    return [ids[i : i + size] for i in range(0, len(ids) - overlap, size - overlap)]


def padded(ids: Any, limit: Any, overlap: Any) -> Any:
    return [chunk + [0] * (limit - SPECIAL - len(chunk)) for chunk in chunked()(ids, limit, overlap)]


def without_repeats(ids: Any, limit: Any, overlap: Any) -> Any:
    return [list(dict.fromkeys(chunk)) for chunk in chunked()(ids, limit, overlap)]


def by_token(ids: Any, limit: Any, overlap: Any) -> Any:
    """Each chunk begins where its first token does, as `index` finds it."""
    starts = [ids.index(chunk[0]) for chunk in chunked()(ids, limit, overlap)]
    return [ids[start : start + limit - SPECIAL] for start in starts]


def as_numpy(deployment: Any) -> Any:
    """Written anew, with numpy's booleans."""
    d = deployment
    unit = d["model_ends_in_normalize"] or d["normalize_embeddings"]
    reaches = min(length for length in (d["longest_text"], d["chunk_tokens"]) if length is not None)
    faults = {
        "padding": d["mixed_lengths"] and "arrival" in d["batches"],
        "cold": not (d["model_loaded"] == "at start" and d["weights"] == "disk"),
        "lengths": not unit and d["metric"] == "dot",
        "truncation": d["max_seq_length"] < reaches,
        "untrained": d["trained_tokens"] < d["max_seq_length"],
        "prompts": any(d["prompts"][side] != d["trained_prompts"][side] for side in ("query", "document")),
    }
    return {fault: np.bool_(there) for fault, there in faults.items()}


def as_a_set(deployment: Any) -> Any:
    return {fault for fault, there in as_numpy(deployment).items() if there}


def assessed(interval: Callable[[Any, float], tuple[float, ...]], method: Any = "inverted_cdf") -> Callable[..., Any]:
    """A percentile of numpy's, and another interval of the share."""

    def answer(deployments: Any, objective_ms: Any, share: Any) -> Any:
        rows = {}
        for name, latencies in deployments.items():
            ms = np.array(latencies)
            with np.errstate(invalid="ignore"):  # between two infinite ones
                p50, p95, p99 = np.quantile(ms, [0.5, 0.95, 0.99], method=method)
            low, high = interval(ms <= objective_ms, share)
            verdict = "open" if low < share <= high else "meets" if high >= share else "misses"
            rows[name] = {"p50": p50, "p95": p95, "p99": p99, "low": low, "high": high, "verdict": verdict}
        return rows

    return answer


def as_a_frame(*case: Any) -> Any:
    """A data frame with a column a deployment."""
    return pd.DataFrame(assessed(by_wilson)(*case))


def as_rows(*case: Any) -> Any:
    """A Series for each deployment, with its name and the number of its requests too."""
    rows = assessed(by_wilson)(*case)
    return {name: pd.Series(row | {"name": name, "requests": len(case[0][name])}) for name, row in rows.items()}


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
    "15.3": [fifteen.assess, assessed(by_wilson), assessed(by_jeffreys), as_a_frame, as_rows],
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
        "isn't a run of neighbouring tokens": lambda *case: [sorted(c) for c in chunked()(*case)],
    },
    "15.2": {
        "'speed' is no fault": lambda deployment: as_numpy(deployment) | {"speed": True},
        "'cold' is no dict": lambda deployment: "cold",
        "'cold' isn't in": lambda deployment: {k: v for k, v in as_numpy(deployment).items() if k != "cold"},
        "neither True nor False": lambda deployment: as_numpy(deployment) | {"cold": 0.5},
        "only a missing prompt is reported": lambda deployment: (
            as_numpy(deployment)
            | {"prompts": any(deployment["trained_prompts"].values()) and not any(deployment["prompts"].values())}
        ),
    },
    "15.3": {
        "from each deployment": lambda *case: list(assessed(by_wilson)(*case).values()),
        "interpolation": assessed(by_wilson, method="linear"),
        "standard errors, or a bootstrap": assessed(by_bootstrap),
        "z = 1.645": assessed(lambda within, share: by_wilson(within, share, 1.645)),
        "in percent": assessed(lambda within, share: tuple(100 * end for end in by_wilson(within, share))),
    },
}
