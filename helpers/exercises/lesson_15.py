"""Exercise 15: chunks that lose nothing, the faults of a deployment, and whether latencies keep a promise."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from helpers.checks import Task

Case = tuple[Any, ...]
SPECIAL = 2


def chunks(token_ids: Sequence[int], max_seq_length: int, overlap: int) -> list[list[int]]:
    """Reference: windows as long as the model reads, each beginning `overlap` tokens before the last one's end."""
    size = max_seq_length - SPECIAL
    return windows(token_ids, size, size - overlap, len(token_ids) - overlap)


def windows(token_ids: Sequence[int], size: int, step: int, end: int) -> list[list[int]]:
    """Runs of at most `size` tokens, one each `step` tokens, the first at 0, all begun before `end`."""
    return [list(token_ids[i : i + size]) for i in range(0, max(1, end), step)]


def _chunk_cases(seed: int) -> list[Case]:
    """Token ids that occur once each, and last a text whose tokens repeat, as those of real texts do."""
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for limit, overlap in ((66, 16), (130, 25)):
        size = limit - SPECIAL
        step = size - overlap
        exact = overlap + step * int(draw.integers(3, 6))
        for tokens in (exact + int(draw.integers(5, step - 5)), exact, size + 1, size, size - 5, overlap - 3):
            cases.append(([int(i) for i in 1000 + draw.permutation(20_000)[:tokens]], limit, overlap))
    cases.append(([int(i) for i in draw.integers(1000, 1040, 300)], 66, 16))
    return cases


def _judge_chunks(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    for (ids, limit, overlap), value in zip(cases, values, strict=True):
        if len(value) == 0:
            return f"a text of {len(ids)} tokens gives no chunk at all: a short text is one chunk."
        found = [np.asarray(chunk).ravel().tolist() for chunk in value]
        if len(set(ids)) < len(ids):
            if problem := _repeated(found, ids, limit, overlap):
                return f"your cuts are right where every token occurs once, and wrong where tokens repeat: {problem}"
            continue
        places = {token: place for place, token in enumerate(ids)}
        at = [[places.get(token) for token in chunk] for chunk in found]
        runs = [[place for place in chunk if place is not None] for chunk in at]
        problem = _no_run(at) or _length(runs, limit) or _lost(runs, len(ids))
        if problem or (problem := _shared(runs, len(ids), limit - SPECIAL, overlap)):
            return f"{len(ids)} tokens, max_seq_length {limit}, overlap {overlap}: {problem}"
    return None


def _repeated(found: list[list[int]], ids: Sequence[int], limit: int, overlap: int) -> str | None:
    """What is wrong with chunks whose place is known by what stands in them: so many tokens occur together once."""
    runs: list[list[int]] = []
    for number, chunk in enumerate(found, start=1):
        start = next((i for i in range(len(ids)) if list(ids[i : i + len(chunk)]) == chunk), None)
        if not chunk or start is None:
            lost = (
                "a token that occurs again is left out" if len(set(chunk)) == len(chunk) else "it is no run of the text"
            )
            return f"look at chunk {number}, {lost}."
        runs.append(list(range(start, start + len(chunk))))
    if _length(runs, limit) or _lost(runs, len(ids)) or _shared(runs, len(ids), limit - SPECIAL, overlap):
        return "a place that is looked up by its token is the first place that holds such a token."
    return None


def _no_run(found: list[list[int | None]]) -> str | None:
    for number, chunk in enumerate(found, start=1):
        if not chunk:
            return f"chunk {number} is empty."
        if None in chunk:
            return f"chunk {number} has tokens that aren't in the text; add none, neither padding nor special tokens."
        if chunk != list(range(chunk[0] or 0, (chunk[0] or 0) + len(chunk))):
            return f"chunk {number} isn't a run of neighbouring tokens in the order of the text."
    return None


def _length(runs: list[list[int]], limit: int) -> str | None:
    longest = max(map(len, runs))
    if longest > limit:
        return f"a chunk has {longest} tokens, more than the model reads."
    if longest + SPECIAL > limit:
        return f"a chunk has {longest} tokens, and the model puts {SPECIAL} of its own to them: leave room for those."
    return None


def _lost(runs: list[list[int]], tokens: int) -> str | None:
    missing = sorted(set(range(tokens)) - {place for run in runs for place in run})
    if not missing:
        return None
    if len(runs) == 1:
        return f"only the first chunk is there, and {len(missing)} tokens are lost, as by truncation."
    if missing[0] > max(run[-1] for run in runs):
        return f"the last {len(missing)} tokens are in no chunk."
    return f"{len(missing)} tokens between two chunks are in neither."


def _shared(runs: list[list[int]], tokens: int, size: int, overlap: int) -> str | None:
    for number, (before, after) in enumerate(itertools.pairwise(runs), start=2):
        if after[0] < before[0]:
            return f"chunk {number} begins before the one before it; keep the order of the text."
        if after[-1] <= before[-1]:
            return f"chunk {number} lies wholly in the one before it and adds nothing."
        common = before[-1] - after[0] + 1
        if common <= 0:
            return f"chunks {number - 1} and {number} share nothing: an answer across the cut is whole in neither."
        if common < overlap:
            return f"chunks {number - 1} and {number} share {common} tokens, fewer than the overlap."
    needed = max(1, math.ceil((tokens - overlap) / (size - overlap)))
    if len(runs) > needed:
        return f"{len(runs)} chunks where {needed} would do: neighbours share more than they need."
    return None


Config = Mapping[str, Any]
Rule = Callable[[Config], bool]


def _reaches(config: Config) -> int:
    """Tokens of the longest text that is handed to the model, after chunking if there is any."""
    return int(min(config["longest_text"], config["chunk_tokens"] or config["longest_text"]))


def _unit(config: Config) -> bool:
    return bool(config["model_ends_in_normalize"] or config["normalize_embeddings"])


def _one_side(side: str) -> Rule:
    return lambda c: bool(c["prompts"][side] != c["trained_prompts"][side])


FAULTS: dict[str, Rule] = {
    "lengths": lambda c: c["metric"] == "dot" and not _unit(c),
    "prompts": lambda c: c["prompts"] != c["trained_prompts"],
    "truncation": lambda c: _reaches(c) > c["max_seq_length"],
    "untrained": lambda c: c["max_seq_length"] > c["trained_tokens"],
    "padding": lambda c: c["batches"] == "arrival order, by count" and c["mixed_lengths"],
    "cold": lambda c: c["model_loaded"] == "per request" or c["weights"] == "hub",
}
# What is usually taken for each fault, and what to say of it.
AUDIT_MISTAKES: dict[str, tuple[str, Rule]] = {
    "cosine divides by the lengths itself, so it needs no unit vectors": ("lengths", lambda c: not _unit(c)),
    "a model that ends in Normalize gives unit vectors whether you ask or not": (
        "lengths",
        lambda c: c["metric"] == "dot" and not c["normalize_embeddings"],
    ),
    "normalize_embeddings makes unit vectors of any model's": (
        "lengths",
        lambda c: c["metric"] == "dot" and not c["model_ends_in_normalize"],
    ),
    "every dot product is reported, and on unit vectors it is the cosine": ("lengths", lambda c: c["metric"] == "dot"),
    "only the query's prompt is looked at, and documents have one too": ("prompts", _one_side("query")),
    "only the document's prompt is looked at, and queries have one too": ("prompts", _one_side("document")),
    "a prompt is also wrong where the model was trained without": (
        "prompts",
        lambda c: c["prompts"] != c["trained_prompts"] and any(c["trained_prompts"].values()),
    ),
    "only a missing prompt is reported, and another model's is wrong too": (
        "prompts",
        lambda c: any(c["trained_prompts"].values()) and not any(c["prompts"].values()),
    ),
    "chunks can be longer than max_seq_length, and are cut then": (
        "truncation",
        lambda c: c["chunk_tokens"] is None and c["longest_text"] > c["max_seq_length"],
    ),
    "a long text that is cut into chunks that fit loses nothing": (
        "truncation",
        lambda c: c["longest_text"] > c["max_seq_length"],
    ),
    "the size of chunks is no matter where every text is shorter": (
        "truncation",
        lambda c: (c["chunk_tokens"] or c["longest_text"]) > c["max_seq_length"],
    ),
    "what is exactly as long as max_seq_length is read whole": (
        "truncation",
        lambda c: _reaches(c) >= c["max_seq_length"],
    ),
    "the special tokens are in these lengths already": (
        "truncation",
        lambda c: _reaches(c) + SPECIAL > c["max_seq_length"],
    ),
    "what cuts is max_seq_length, not what the model could read": (
        "truncation",
        lambda c: _reaches(c) > c["trained_tokens"],
    ),
    "a limit below what the model was trained for is no fault of this kind": (
        "untrained",
        lambda c: c["max_seq_length"] != c["trained_tokens"],
    ),
    "the two limits are the wrong way round: the fault is to read further than in training": (
        "untrained",
        lambda c: c["max_seq_length"] < c["trained_tokens"],
    ),
    "texts of one length have nothing to pad": ("padding", lambda c: c["batches"] == "arrival order, by count"),
    "batches of similar lengths hold little padding, whatever the mixture": ("padding", lambda c: c["mixed_lengths"]),
    "weights on the disk don't help a model that is loaded for each request": (
        "cold",
        lambda c: c["weights"] == "hub",
    ),
    "no request waits where the model is loaded at start, but from the hub the start fails when the hub does": (
        "cold",
        lambda c: c["model_loaded"] == "per request",
    ),
    "either of the two makes it cold, it doesn't take both": (
        "cold",
        lambda c: c["model_loaded"] == "per request" and c["weights"] == "hub",
    ),
}
E5, NONE = {"query": "query: ", "document": "passage: "}, {"query": "", "document": ""}
BGE = {"query": "Represent this sentence for searching relevant passages: ", "document": ""}
# Trained with, used with.
PROMPTS = (
    (E5, E5),
    (NONE, NONE),
    (BGE, BGE),
    (E5, NONE),
    (NONE, E5),
    (BGE, E5),
    (E5, E5 | {"document": ""}),
    (E5, E5 | {"query": ""}),
)
# max_seq_length, trained tokens, longest text, tokens of a chunk; each a number of times a base length. SHORT is a text
# one token below the limit.
SHORT = "one less"
TOKENS: tuple[tuple[int, int, int | str, int | None], ...] = (
    (4, 4, 3, None),
    (4, 8, 7, None),
    (4, 4, 9, None),
    (4, 4, 9, 3),
    (4, 4, 9, 6),
    (4, 4, 3, 6),
    (8, 4, 7, None),
    (8, 4, 12, 7),
    (4, 8, 3, 2),
    (4, 4, 4, None),
    (4, 4, 9, 4),
    (4, 8, SHORT, None),
)


def audit(deployment: Config) -> dict[str, bool]:
    """Reference: each fault's name, and whether the deployment has it."""
    return {fault: bool(rule(deployment)) for fault, rule in FAULTS.items()}


def _audit_cases(seed: int) -> list[Case]:
    """Deployments in which each situation of each part occurs as often as the others, mixed by the seed."""
    draw = np.random.default_rng(seed)
    count = 144

    def spread(kinds: int) -> list[int]:
        return [int(i) for i in draw.permutation(np.arange(count) % kinds)]

    columns = zip(spread(8), spread(len(PROMPTS)), spread(len(TOKENS)), spread(6), spread(4), strict=True)
    return [(_deployment(kinds, base=int(draw.integers(50, 130))),) for kinds in columns]


def _deployment(kinds: tuple[int, ...], base: int) -> dict[str, Any]:
    vectors, prompts, tokens, batches, loading = kinds
    limit, trained, longest, chunk = TOKENS[tokens]
    return {
        "metric": ("cosine", "dot")[vectors % 2],
        "model_ends_in_normalize": vectors // 2 % 2 == 1,
        "normalize_embeddings": vectors // 4 == 1,
        "trained_prompts": dict(PROMPTS[prompts][0]),
        "prompts": dict(PROMPTS[prompts][1]),
        "trained_tokens": trained * base,
        "max_seq_length": limit * base,
        "longest_text": limit * base - 1 if longest == SHORT else int(longest) * base,
        "chunk_tokens": None if chunk is None else chunk * base,
        "batches": ("arrival order, by count", "sorted by length, by count", "token budget")[batches % 3],
        "mixed_lengths": batches // 3 == 1,
        "model_loaded": ("at start", "per request")[loading % 2],
        "weights": ("disk", "hub")[loading // 2],
    }


def _judge_audit(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    configs = [config for (config,) in cases]
    for value in values:
        if isinstance(value, str | int | float) or (strange := set(value) - set(FAULTS)):
            name = repr(sorted(map(str, strange))[0]) if not isinstance(value, str | int | float) else repr(value)
            return f"{name} is no fault of the table; return a dict of its six names, each True or False."
        if isinstance(value, Mapping) and (missing := set(FAULTS) - set(value)):
            return f"{sorted(missing)[0]!r} isn't in what you return: each fault gets True or False."
        if isinstance(value, Mapping) and any(said not in (True, False) for said in value.values()):
            return "a fault is neither True nor False."
    for fault, rule in FAULTS.items():
        said = [bool(value[fault]) if isinstance(value, Mapping) else fault in value for value in values]
        right = [bool(rule(config)) for config in configs]
        if said == right:
            continue
        wrong = [i for i, (one, other) in enumerate(zip(said, right, strict=True)) if one != other]
        told = f"{fault}: wrong for {len(wrong)} of {len(configs)} deployments."
        for sentence, (of, mistake) in AUDIT_MISTAKES.items():
            if of == fault and said == [bool(mistake(config)) for config in configs]:
                return f"{told} Mind this: {sentence}."
        first = wrong[0]
        return f"{told} For {dict(configs[first])} you say {said[first]}, and it is {right[first]}."
    return None


Row = dict[str, Any]
Latencies = Mapping[str, Sequence[float]]
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
TOLERANCE = 0.0025  # of an interval's ends, such as by z = 2 for 1.96
EXPLAINED = 0.003  # of the ends, where a mistake's own are told from others'


def assess(deployments: Latencies, objective_ms: float, share: float) -> dict[str, Row]:
    """Reference: nearest-rank percentiles, the exact interval of the share within the objective, and a verdict."""
    return {name: _row(latencies, objective_ms, share) for name, latencies in deployments.items()}


def nearest_rank(latencies: Sequence[float], share: float) -> float:
    """The smallest latency that at least this share of the requests don't exceed."""
    return sorted(latencies)[math.ceil(round(share * len(latencies), 9)) - 1]


def exact_interval(within: int, requests: int, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share."""
    found = stats.binomtest(within, requests).proportion_ci(confidence, method="exact")
    return float(found.low), float(found.high)


def wilson(within: int, requests: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share."""
    found = stats.binomtest(within, requests).proportion_ci(confidence, method="wilson")
    return float(found.low), float(found.high)


def jeffreys(within: int, requests: int) -> tuple[float, float]:
    """Jeffreys' interval of a share, 95%: quantiles of a beta distribution, 0 and 1 where none or all were within."""
    low, high = stats.beta.ppf((0.025, 0.975), within + 0.5, requests - within + 0.5)
    return float(low) if within else 0.0, float(high) if within < requests else 1.0


def bell_interval(within: int, requests: int) -> tuple[float, float]:
    """Wald's interval: the share plus and minus 1.96 standard errors."""
    rate = within / requests
    half = 1.96 * math.sqrt(rate * (1 - rate) / requests)
    return rate - half, rate + half


METHODS = (exact_interval, wilson, jeffreys)


def promise(low: float, high: float, share: float) -> str:
    """ "meets" if the whole interval keeps the promise, "misses" if none of it does, else "open"."""
    return "meets" if low >= share else "misses" if high < share else "open"


def _row(
    latencies: Sequence[float],
    objective_ms: float,
    share: float,
    *,
    percentile: Callable[[Sequence[float], float], float] = nearest_rank,
    strict: bool = False,
    interval: Callable[[int, int], tuple[float, float]] = exact_interval,
    decide: Callable[[Row, float, float, float], str] = lambda row, rate, share, limit: promise(
        row["low"], row["high"], share
    ),
    drop: bool = False,
) -> Row:
    """The reference, and with an argument changed one of the usual mistakes."""
    counted = [ms for ms in latencies if ms < math.inf] if drop else latencies
    within = sum(ms < objective_ms if strict else ms <= objective_ms for ms in counted)
    row: Row = {name: float(percentile(latencies, q)) for name, q in SHARES.items()}
    row["low"], row["high"] = interval(within, len(counted))
    return row | {"verdict": decide(row, within / len(counted), share, objective_ms)}


def _wrongly(**change: Any) -> Callable[..., dict[str, Row]]:
    return lambda deployments, objective, share: {
        name: _row(latencies, objective, share, **change) for name, latencies in deployments.items()
    }


def _bell(latencies: Sequence[float], share: float) -> float:
    known = np.array([ms for ms in latencies if ms < math.inf])
    return float(known.mean() + stats.norm.ppf(share) * known.std())


def _interpolated(latencies: Sequence[float], share: float) -> float:
    with np.errstate(invalid="ignore"):  # between two infinite ones
        return float(np.quantile(latencies, share))


PERCENTILE_MISTAKES = {
    "the latencies aren't sorted before one is picked": _wrongly(
        percentile=lambda ms, q: ms[math.ceil(round(q * len(ms), 9)) - 1]
    ),
    "a value between two requests is made up by interpolation; take the nearest rank": _wrongly(
        percentile=_interpolated
    ),
    "the place is one too far: the k-th smallest has index k - 1": _wrongly(
        percentile=lambda ms, q: sorted(ms)[min(len(ms) - 1, math.floor(q * len(ms) + 1e-9))]
    ),
    "requests that got no answer (infinite) are left out, and they are the slowest of all": _wrongly(
        percentile=lambda ms, q: nearest_rank([x for x in ms if x < math.inf], q), drop=True
    ),
    "mean and standard deviation describe a bell curve, and latencies have a long tail": _wrongly(percentile=_bell),
}
INTERVAL_MISTAKES = {
    "a request that takes exactly the objective is within it": _wrongly(strict=True),
    "the share is of the answered requests; those without an answer weren't within the objective": _wrongly(drop=True),
    "both ends are the measured share; say how far the true one may lie from it": _wrongly(
        interval=lambda k, n: (k / n, k / n)
    ),
    "the ends are in percent; give shares from 0 to 1": _wrongly(
        interval=lambda k, n: (100 * exact_interval(k, n)[0], 100 * exact_interval(k, n)[1]),
        decide=lambda row, rate, share, limit: promise(row["low"] / 100, row["high"] / 100, share),
    ),
    "the interval is that of the share outside the objective": _wrongly(interval=lambda k, n: exact_interval(n - k, n)),
    "an interval of 95% leaves 2.5% outside on each side, and yours leaves 5%": _wrongly(
        interval=lambda k, n: exact_interval(k, n, 0.9)
    ),
    "z = 1.645 leaves 5% outside on each side; 95% takes 1.96": _wrongly(interval=lambda k, n: wilson(k, n, 0.9)),
    "that is a bound on one side alone": _wrongly(interval=lambda k, n: (exact_interval(k, n, 0.9)[0], 1.0)),
    "standard errors, or a bootstrap, leave no doubt where every request was within, and there is some": _wrongly(
        interval=bell_interval
    ),
}
VERDICT_MISTAKES = {
    "the measured share alone decides, and luck may have made it": _wrongly(
        decide=lambda row, rate, share, limit: "meets" if rate >= share else "misses"
    ),
    "p95 decides, whatever share was promised": _wrongly(
        decide=lambda row, rate, share, limit: "meets" if row["p95"] <= limit else "misses"
    ),
    "the ends are swapped: to meet it, even the low end must reach the share": _wrongly(
        decide=lambda row, rate, share, limit: "meets" if row["high"] >= share else "misses"
    ),
    "the median decides, and half of the people wait longer": _wrongly(
        decide=lambda row, rate, share, limit: "meets" if row["p50"] <= limit else "misses"
    ),
}


def _assess_cases(seed: int) -> list[Case]:
    """Deployments: requests, those within the objective, those without an answer. The last has none beyond it."""
    draw = np.random.default_rng(seed)
    plans = (
        (0.9, {"steady": (400, 377, 0, 0.7), "spiky": (400, 336, 0, 0.3)}),
        (0.95, {"steady": (333, 320, 0, 0.7), "spiky": (333, 299, 0, 0.3)}),
        (0.9, {"steady": (400, 353, 32, 0.7), "spiky": (400, 384, 5, 0.3)}),
        (0.97, {"few": (60, 60, 0, 0.5)}),
    )
    cases: list[Case] = []
    for share, deployments in plans:
        objective = float(draw.integers(100, 300))
        drawn = {}
        for name, (requests, about, lost, typical) in deployments.items():
            within = min(requests, about + int(draw.integers(-1, 2))) if about < requests else requests
            fast = np.exp(draw.normal(math.log(typical * objective), 0.15, within)).clip(1, 0.99 * objective)
            fast[: requests // 16] = objective
            slow = objective * (1.05 + draw.exponential(0.6, requests - within))
            slow[:lost] = math.inf
            mixed = draw.permutation(np.concatenate([fast, slow]))
            drawn[name] = [float(round(ms, 3)) for ms in mixed]
        cases.append((drawn, objective, share))
    return cases


def _judge_assess(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    got = [{name: _checked(value[name]) for name in case[0]} for case, value in zip(cases, values, strict=True)]
    by_method = [[_wrongly(interval=method)(*case) for case in cases] for method in METHODS]
    right = next((rows for rows in by_method if _agree(got, rows, ("low", "high"))), by_method[0])
    stages = (
        (tuple(SHARES), PERCENTILE_MISTAKES, "look at its definition in the docstring"),
        (("low", "high"), INTERVAL_MISTAKES, "count the requests within, divide by all, and take an interval of 95%"),
        (("verdict",), VERDICT_MISTAKES, "hold both ends against the share"),
    )
    for keys, mistakes, advice in stages:
        wrong = next(
            (
                (i, name, key)
                for i, rows in enumerate(right)
                for name in rows
                for key in keys
                if not _same(key, got[i][name][key], rows[name][key])
            ),
            None,
        )
        if wrong is None:
            continue
        i, name, key = wrong
        told = f"{key} of {name!r} is {_shown(got[i][name][key])} and should be {_shown(right[i][name][key])}"
        for sentence, mistake in mistakes.items():
            if _agree(got, [mistake(*case) for case in cases], keys, tolerance=EXPLAINED):
                return f"{told}: {sentence}."
        return f"{told}: {advice}."
    return None


def _checked(row: Mapping[str, Any]) -> Row:
    return {key: str(row[key]) if key == "verdict" else float(row[key]) for key in (*SHARES, "low", "high", "verdict")}


def _agree(
    got: list[dict[str, Row]], rows: list[dict[str, Row]], keys: Sequence[str], *, tolerance: float = TOLERANCE
) -> bool:
    """Whether all rows of all cases say the same."""
    return all(
        _same(key, mine[name][key], theirs[name][key], tolerance)
        for mine, theirs in zip(got, rows, strict=True)
        for name in theirs
        for key in keys
    )


def _same(key: str, one: Any, other: Any, tolerance: float = TOLERANCE) -> bool:
    if key == "verdict":
        return bool(one == other)
    if key in SHARES:
        return math.isclose(one, other, rel_tol=1e-6) or (math.isnan(other) and not math.isfinite(one))
    return bool(abs(one - other) <= tolerance * max(1, abs(other)))


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) else f"{value:.3f}"


TASKS = {
    task.id: task
    for task in (
        Task("15.1", _chunk_cases, _judge_chunks),
        Task("15.2", _audit_cases, _judge_audit),
        Task("15.3", _assess_cases, _judge_assess),
    )
}
