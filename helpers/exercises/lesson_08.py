"""Exercise 08: a filter with three answers, and a ranking that keeps to one benchmark."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from helpers import catalog
from helpers.checks.judges import ByReference, Exactly, Listed, Places, Rows
from helpers.checks.tasks import Case, Task

Row = dict[str, Any]
Verdict = bool | None
COMMERCIAL = {"mit": True, "apache-2.0": True, "cc-by-nc-4.0": False}
BENCHMARKS: dict[str, int] = {name: tasks for name, (_, _, tasks) in catalog.BENCHMARKS.items() if "eng" in name}


# 08.1


def verdicts(
    models: Sequence[Row],
    tokens: int,
    memory_mb: float,
    *,
    size: str = "parameters",
    terms: Verdict = None,
    unknown: Verdict = None,
) -> list[tuple[Verdict, Verdict, Verdict]]:
    """Reference: for each model whether licence, context and memory meet the need; None where unknown."""
    return [
        (
            COMMERCIAL.get(model["license"], terms),
            unknown if model["max_tokens"] is None else model["max_tokens"] >= tokens,
            unknown if model[size] is None else model[size] * 4 / 1e6 <= memory_mb,
        )
        for model in models
    ]


def _verdict_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for tokens, memory_mb in ((512, 480.0), (2048, 1300.0)):
        models: list[Row] = [
            {"license": "mit", "max_tokens": tokens, "parameters": 33_000_000, "dims": 384},
            {"license": "apache-2.0", "max_tokens": 8192, "parameters": int(memory_mb * 400_000), "dims": 768},
            {"license": "cc-by-nc-4.0", "max_tokens": 128, "parameters": int(memory_mb * 250_000), "dims": 384},
            {"license": "gemma", "max_tokens": 256, "parameters": int(memory_mb * 255_000), "dims": 768},
            {"license": None, "max_tokens": 8192, "parameters": 7_000_000_000, "dims": 384},
            {"license": "mit", "max_tokens": None, "parameters": None, "dims": 384},
        ]
        for model in models:
            if model["parameters"] and model["parameters"] > 50_000_000:
                model["parameters"] -= int(draw.integers(1, 1000)) * 4
        cases.append(([models[i] for i in draw.permutation(len(models))], tokens, memory_mb))
    return cases


VERDICTS = Rows(Places(("licence", "tokens", "memory"), Exactly()), "every model gets one, the refused too")


def _verdict_words(got: list[Any], right: list[Any], models: Sequence[Row], tokens: int, memory_mb: float) -> str:
    row = VERDICTS.differing(got, right)
    need = f"{tokens} tokens and {memory_mb:g} MB asked for"
    return f"{VERDICTS.of.difference(got[row], right[row])} for {models[row]}, with {need}"


VERDICT = ByReference(
    verdicts,
    VERDICTS,
    "Compare each row with its model.",
    words=_verdict_words,
    mistakes={
        "what is unknown counts as met; say None, and let the reader decide": {"terms": True, "unknown": True},
        "what is unknown counts as failed; then nobody learns that a fact is missing: say None": {
            "terms": False,
            "unknown": False,
        },
        "memory is computed from the embedding's dimensions; they say nothing of a model's size": {"size": "dims"},
        "a parameter is counted with two bytes; float32 has four": (
            lambda models, tokens, memory_mb: verdicts(models, tokens, memory_mb * 2)
        ),
        "memory is counted in MiB (1024 * 1024 bytes); here an MB is 10^6 bytes": (
            lambda models, tokens, memory_mb: verdicts(models, tokens, memory_mb * 2**20 / 1e6)
        ),
        "a context of exactly what is asked for is refused; 'at least' includes it": (
            lambda models, tokens, memory_mb: verdicts(models, tokens + 1, memory_mb)
        ),
        "terms of its own are taken for a permission; nobody has read them yet: None": {"terms": True},
        "terms of its own are taken for a refusal; nobody has read them yet: None": {"terms": False},
    },
)


# 08.2


def ranked(
    models: Sequence[Row],
    benchmark: str,
    tasks: int,
    *,
    whole: bool = True,
    instead: Sequence[str] = (),
    unknown: float | None = None,
    sign: int = -1,
) -> list[int]:
    """Reference: complete runs by falling score, then the others in their order."""
    scores = []
    for model in models:
        runs = [(model["runs"].get(name, (None, None)), BENCHMARKS[name]) for name in (benchmark, *instead)]
        known = [score for (score, run), full in runs if score is not None and (run == full or not whole)]
        scores.append(known[0] if known else unknown)
    return sorted(range(len(models)), key=lambda i: (scores[i] is None, sign * (scores[i] or 0)))


def _without_the_unranked(models: Sequence[Row], benchmark: str, tasks: int) -> list[int]:
    runs = [model["runs"].get(benchmark, (None, None)) for model in models]
    return [i for i in ranked(models, benchmark, tasks) if runs[i][0] is not None and runs[i][1] == tasks]


def _rank_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for benchmark, other in (("MTEB(eng, v1)", "MTEB(eng, v2)"), ("MTEB(eng, v2)", "MTEB(eng, v1)")):
        full, elsewhere = BENCHMARKS[benchmark], BENCHMARKS[other]
        score = [float(s) for s in draw.permutation(np.arange(40, 75, 2.5)) + draw.uniform(0.1, 0.9, 14).round(2)]
        runs: list[dict[str, tuple[float | None, int | None]]] = [
            {benchmark: (score[0], full), other: (score[1], elsewhere)},
            {benchmark: (score[2], full)},
            {benchmark: (score[3], full)},
            {benchmark: (78.2, full - int(draw.integers(1, 9)))},  # an incomplete run, flattering
            {other: (76.4, elsewhere)},
            {benchmark: (None, None), other: (None, None)},
            {benchmark: (score[4], full)},
            {benchmark: (-1.5, full)},  # a mean of correlations may lie below zero
        ]
        order = draw.permutation(len(runs))
        cases.append(([{"name": f"model-{i}", "runs": runs[i]} for i in order], benchmark, full))
    return cases


RANKED = ByReference(
    ranked,
    Listed(),
    "Complete runs by falling score, then the others as they came, every position once.",
    mistakes={
        "the lowest score comes first": {"sign": 1},
        "a model without a complete run is dropped; keep it, at the end": _without_the_unranked,
        "a gap is filled with a score of another benchmark version": {"instead": tuple(BENCHMARKS)},
        "a mean over some of the tasks is ranked among means over all": {"whole": False},
        "the models without a complete run come first": {"unknown": math.inf},
        "an unknown score is sorted as 0, above what is known to be lower": {"unknown": 0},
    },
)


TASKS = {task.id: task for task in (Task("08.1", _verdict_cases, VERDICT), Task("08.2", _rank_cases, RANKED))}
