"""Exercise 08: a filter with three answers, and a ranking that keeps to one benchmark."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from helpers import catalog
from helpers.checks import Task

Case = tuple[Any, ...]
Row = dict[str, Any]
Verdict = bool | None
NEEDS = ("licence", "tokens", "memory")
COMMERCIAL = {"mit": True, "apache-2.0": True, "cc-by-nc-4.0": False}
BENCHMARKS: dict[str, int] = {name: tasks for name, (_, _, tasks) in catalog.BENCHMARKS.items() if "eng" in name}


def verdicts(models: Sequence[Row], tokens: int, memory_mb: float) -> list[tuple[Verdict, Verdict, Verdict]]:
    """Reference: for each model whether licence, context and memory meet the need; None where unknown."""
    return [_verdict(model, tokens, memory_mb) for model in models]


def _verdict(
    model: Row,
    tokens: int,
    memory_mb: float,
    *,
    size: str = "parameters",
    bytes_each: float = 4,
    strict: bool = False,
    terms: Verdict = None,
) -> tuple[Verdict, Verdict, Verdict]:
    """The reference, and with an argument changed one of the usual mistakes."""
    length, number = model["max_tokens"], model[size]
    fits = None if number is None else number * bytes_each / 1e6 <= memory_mb
    long = None if length is None else (length > tokens if strict else length >= tokens)
    return COMMERCIAL.get(model["license"], terms), long, fits


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


def _all(**change: Any) -> Callable[..., Any]:
    return lambda models, *needs: [_verdict(model, *needs, **change) for model in models]


def _filled(value: bool) -> Callable[..., Any]:
    return lambda *case: [tuple(value if v is None else v for v in row) for row in verdicts(*case)]


VERDICT_MISTAKES: dict[str, Callable[..., Any]] = {
    "what is unknown counts as met; say None, and let the reader decide": _filled(True),
    "what is unknown counts as failed; then nobody learns that a fact is missing: say None": _filled(False),
    "memory is computed from the embedding's dimensions; they say nothing of a model's size": _all(size="dims"),
    "a parameter is counted with two bytes; float32 has four": _all(bytes_each=2),
    "memory is counted in MiB (1024 * 1024 bytes); here an MB is 10^6 bytes": _all(bytes_each=4 * 1e6 / 2**20),
    "a context of exactly what is asked for is refused; 'at least' includes it": _all(strict=True),
    "terms of its own are taken for a permission; nobody has read them yet: None": _all(terms=True),
    "terms of its own are taken for a refusal; nobody has read them yet: None": _all(terms=False),
}


def _judge_verdicts(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    got = [[tuple(None if v is None else bool(v) for v in row) for row in value] for value in values]
    right = [verdicts(*case) for case in cases]
    if got == right:
        return None
    for sentence, wrong in VERDICT_MISTAKES.items():
        if got == [wrong(*case) for case in cases]:
            return f"{sentence}."
    for case, mine, expected in zip(cases, got, right, strict=True):
        if len(mine) != len(expected):
            return f"there are {len(mine)} rows for {len(expected)} models: every model gets one, the refused too."
        for model, row, wanted in zip(case[0], mine, expected, strict=True):
            if len(row) != 3:
                return f"a row has {len(row)} verdicts; it needs three: licence, tokens, memory."
            for need, one, other in zip(NEEDS, row, wanted, strict=True):
                if one != other:
                    return f"of {model} you say {one} on {need}, with {case[1:]} asked for; it is {other}."
    return "compare each row with its model."


def ranked(models: Sequence[Row], benchmark: str, tasks: int) -> list[int]:
    """Reference: complete runs by falling score, then the others in their order."""
    known = [_score(model, benchmark, tasks) for model in models]
    complete = sorted((i for i, s in enumerate(known) if s is not None), key=lambda i: -(known[i] or 0))
    return complete + [i for i, s in enumerate(known) if s is None]


def _score(model: Row, benchmark: str, tasks: int | None) -> float | None:
    score, run = model["runs"].get(benchmark, (None, None))
    return score if tasks is None or run == tasks else None


def _by(scores: Sequence[float | None], *, fill: float | None = None) -> list[int]:
    known = [fill if s is None else s for s in scores]
    return sorted(range(len(known)), key=lambda i: (known[i] is None, -(known[i] or 0)))


def _some(model: Row, benchmark: str, tasks: int) -> float | None:
    """A score of whatever benchmark, the one asked for first."""
    own = _score(model, benchmark, tasks)
    others = (_score(model, b, n) for b, n in BENCHMARKS.items())
    return own if own is not None else next((s for s in others if s is not None), None)


RANK_MISTAKES: dict[str, Callable[..., Any]] = {
    "the lowest score comes first": lambda m, b, n: [
        *sorted(_complete(m, b, n), key=lambda i: _score(m[i], b, n) or 0),
        *ranked(m, b, n)[len(_complete(m, b, n)) :],
    ],
    "a model without a complete run is dropped; keep it, at the end": lambda m, b, n: ranked(m, b, n)[
        : len(_complete(m, b, n))
    ],
    "a gap is filled with a score of another benchmark version": lambda m, b, n: _by([_some(x, b, n) for x in m]),
    "a mean over some of the tasks is ranked among means over all": lambda m, b, n: _by(
        [_score(x, b, None) for x in m]
    ),
    "the models without a complete run come first": lambda m, b, n: _by([_score(x, b, n) for x in m], fill=101.0),
    "an unknown score is sorted as 0, above what is known to be lower": lambda m, b, n: _by(
        [_score(x, b, n) for x in m], fill=0.0
    ),
}


def _complete(models: Sequence[Row], benchmark: str, tasks: int) -> list[int]:
    return [i for i, model in enumerate(models) if _score(model, benchmark, tasks) is not None]


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


def _judge_ranked(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    got = [[int(i) for i in value] for value in values]
    right = [ranked(*case) for case in cases]
    if got == right:
        return None
    for sentence, wrong in RANK_MISTAKES.items():
        if got == [wrong(*case) for case in cases]:
            return f"{sentence}: {got[0]} instead of {right[0]}."
    if any(sorted(mine) != sorted(expected) for mine, expected in zip(got, right, strict=True)):
        return f"every position belongs into the list once; you return {got[0]} for {len(right[0])} models."
    return f"you return {got[0]} instead of {right[0]}; complete runs by falling score, then the others as they came."


TASKS = {
    task.id: task
    for task in (
        Task("08.1", _verdict_cases, _judge_verdicts),
        Task("08.2", _rank_cases, _judge_ranked),
    )
}
