"""Exercise 15: chunks that lose nothing, the faults of a deployment, and whether latencies keep a promise."""

import itertools
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy import stats

from helpers.checks.judges import ByBehaviour, ByReference, Exactly, Form, InTurn, MalformedError, Number
from helpers.checks.tasks import Case, Task

SPECIAL = 2


# 15.1


def chunks(token_ids: Sequence[int], max_seq_length: int, overlap: int) -> list[list[int]]:
    """Reference: windows as long as the model reads, each beginning `overlap` tokens before the last one's end."""
    size = max_seq_length - SPECIAL
    starts = range(0, max(1, len(token_ids) - overlap), size - overlap)
    return [list(token_ids[start : start + size]) for start in starts]


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


def _chunk_faults(case: Case, value: Any) -> Iterator[str]:
    ids, limit, overlap = case
    got = [np.asarray(chunk).ravel().tolist() for chunk in value]
    if len(set(ids)) == len(ids):
        yield from (
            f"{len(ids)} tokens, max_seq_length {limit}, overlap {overlap}: {fault}"
            for fault in _cut(ids, limit, overlap, got)
        )
    repeats = "your cuts are right where every token occurs once, and wrong where tokens repeat"
    for number, chunk in enumerate(got, start=1):
        if _start(ids, chunk) is None:
            left_out = len(set(chunk)) == len(chunk)
            why = "a token that occurs again is left out" if left_out else "it is no run of the text"
            yield f"{repeats}: look at chunk {number}, {why}."
    if any(_cut(ids, limit, overlap, got)):
        yield f"{repeats}: a place that is looked up by its token is the first place that holds such a token."


def _start(ids: list[int], chunk: list[int]) -> int | None:
    """Where a chunk begins; so many tokens occur together once."""
    return next((i for i in range(len(ids)) if chunk and ids[i : i + len(chunk)] == chunk), None)


def _cut(ids: list[int], limit: int, overlap: int, got: list[list[int]]) -> Iterator[str]:
    """What is wrong with chunks, the gravest first."""
    if not got:
        yield f"a text of {len(ids)} tokens gives no chunk at all: a short text is one chunk."
    for number, chunk in enumerate(got, start=1):
        if not chunk:
            yield f"chunk {number} is empty."
        if set(chunk) - set(ids):
            yield f"chunk {number} has tokens that aren't in the text; add none, neither padding nor special tokens."
        if _start(ids, chunk) is None:
            yield f"chunk {number} isn't a run of neighbouring tokens in the order of the text."
    longest, size = max(map(len, got)), limit - SPECIAL
    if longest > limit:
        yield f"a chunk has {longest} tokens, more than the model reads."
    if longest > size:
        yield f"a chunk has {longest} tokens, and the model puts {SPECIAL} of its own to them: leave room for those."
    runs = [range(start := _start(ids, chunk) or 0, start + len(chunk)) for chunk in got]
    yield from _lost(runs, len(ids))
    yield from _shared(runs, overlap)
    needed = max(1, math.ceil((len(ids) - overlap) / (size - overlap)))
    if len(runs) > needed:
        yield f"{len(runs)} chunks where {needed} would do: neighbours share more than they need."


def _lost(runs: list[range], tokens: int) -> Iterator[str]:
    missing = sorted(set(range(tokens)).difference(*runs))
    if missing and len(runs) == 1:
        yield f"only the first chunk is there, and {len(missing)} tokens are lost, as by truncation."
    if missing and missing[0] >= max(run.stop for run in runs):
        yield f"the last {len(missing)} tokens are in no chunk."
    if missing:
        yield f"{len(missing)} tokens between two chunks are in neither."


def _shared(runs: list[range], overlap: int) -> Iterator[str]:
    for number, (before, after) in enumerate(itertools.pairwise(runs), start=2):
        common = before.stop - after.start
        if after.start < before.start:
            yield f"chunk {number} begins before the one before it; keep the order of the text."
        if after.stop <= before.stop:
            yield f"chunk {number} lies wholly in the one before it and adds nothing."
        if common <= 0:
            yield f"chunks {number - 1} and {number} share nothing: an answer across the cut is whole in neither."
        if common < overlap:
            yield f"chunks {number - 1} and {number} share {common} tokens, fewer than the overlap."


# 15.2

Rule = Callable[[SimpleNamespace], bool]  # of a deployment


def _reaches(config: SimpleNamespace) -> int:
    """Tokens of the longest text that is handed to the model, after chunking if there is any."""
    return int(min(config.longest_text, config.chunk_tokens or config.longest_text))


def _unit(config: SimpleNamespace) -> bool:
    return bool(config.model_ends_in_normalize or config.normalize_embeddings)


def _one_side(side: str) -> Rule:
    return lambda c: bool(c.prompts[side] != c.trained_prompts[side])


FAULTS: dict[str, Rule] = {
    "lengths": lambda c: c.metric == "dot" and not _unit(c),
    "prompts": lambda c: c.prompts != c.trained_prompts,
    "truncation": lambda c: _reaches(c) > c.max_seq_length,
    "untrained": lambda c: c.max_seq_length > c.trained_tokens,
    "padding": lambda c: c.batches == "arrival order, by count" and c.mixed_lengths,
    "cold": lambda c: c.model_loaded == "per request" or c.weights == "hub",
}


def audit(deployment: Mapping[str, Any], **rules: Rule) -> dict[str, bool]:
    """Reference: each fault's name, and whether the deployment has it."""
    return {fault: bool(rule(SimpleNamespace(**deployment))) for fault, rule in (FAULTS | rules).items()}


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


@dataclass(frozen=True)
class Fault:
    """Whether a deployment has one of the faults, from a dict of all, or from a set or list of those that it has."""

    name: str

    def read(self, value: Any, right: Any) -> bool:
        """True or False."""
        if not isinstance(value, set | list | tuple | Mapping):
            raise MalformedError(f"{str(value)[:60]!r} is no dict of the table's six faults, each True or False.")
        names = set(value)
        if strange := sorted(map(repr, names - FAULTS.keys())):
            raise MalformedError(
                f"{strange[0]:.60} is no fault of the table; return a dict of its six names, each True or False."
            )
        if not isinstance(value, Mapping):
            return self.name in names
        if missing := sorted(FAULTS.keys() - names):
            raise MalformedError(f"{missing[0]!r} isn't in what you return: each fault gets True or False.")
        if value[self.name] not in (True, False):
            raise MalformedError(f"{self.name} is neither True nor False.")
        return bool(value[self.name])

    def same(self, one: bool, other: bool) -> bool:
        """Whether both are said or neither."""
        return one == other

    def difference(self, got: bool, right: bool) -> str:
        """Both, with the name."""
        return f"{self.name} is {got} instead of {right}"


# What is usually taken for each fault.
MISTAKES: dict[str, dict[str, Rule]] = {
    "lengths": {
        "cosine divides by the lengths itself, so it needs no unit vectors": lambda c: not _unit(c),
        "a model that ends in Normalize gives unit vectors whether you ask or not": lambda c: (
            c.metric == "dot" and not c.normalize_embeddings
        ),
        "normalize_embeddings makes unit vectors of any model's": lambda c: (
            c.metric == "dot" and not c.model_ends_in_normalize
        ),
        "every dot product is reported, and on unit vectors it is the cosine": lambda c: c.metric == "dot",
    },
    "prompts": {
        "only the query's prompt is looked at, and documents have one too": _one_side("query"),
        "only the document's prompt is looked at, and queries have one too": _one_side("document"),
        "a prompt is also wrong where the model was trained without": lambda c: (
            c.prompts != c.trained_prompts and any(c.trained_prompts.values())
        ),
        "only a missing prompt is reported, and another model's is wrong too": lambda c: (
            any(c.trained_prompts.values()) and not any(c.prompts.values())
        ),
    },
    "truncation": {
        "chunks can be longer than max_seq_length, and are cut then": lambda c: (
            c.chunk_tokens is None and c.longest_text > c.max_seq_length
        ),
        "a long text that is cut into chunks that fit loses nothing": lambda c: c.longest_text > c.max_seq_length,
        "the size of chunks is no matter where every text is shorter": lambda c: (
            (c.chunk_tokens or c.longest_text) > c.max_seq_length
        ),
        "what is exactly as long as max_seq_length is read whole": lambda c: _reaches(c) >= c.max_seq_length,
        "the special tokens are in these lengths already": lambda c: _reaches(c) + SPECIAL > c.max_seq_length,
        "what cuts is max_seq_length, not what the model could read": lambda c: _reaches(c) > c.trained_tokens,
    },
    "untrained": {
        "a limit below what the model was trained for is no fault of this kind": lambda c: (
            c.max_seq_length != c.trained_tokens
        ),
        "the two limits are the wrong way round: the fault is to read further than in training": lambda c: (
            c.max_seq_length < c.trained_tokens
        ),
    },
    "padding": {
        "texts of one length have nothing to pad": lambda c: c.batches == "arrival order, by count",
        "batches of similar lengths hold little padding, whatever the mixture": lambda c: c.mixed_lengths,
    },
    "cold": {
        "weights on the disk don't help a model that is loaded for each request": lambda c: c.weights == "hub",
        "no request waits where the model is loaded at start, but from the hub the start fails when the hub does": (
            lambda c: c.model_loaded == "per request"
        ),
        "either of the two makes it cold, it doesn't take both": lambda c: (
            c.model_loaded == "per request" and c.weights == "hub"
        ),
    },
}
AUDIT = InTurn(
    *(
        ByReference(
            audit,
            Fault(name),
            "Its line of the table compares two or three entries.",
            {sentence: {name: rule} for sentence, rule in mistakes.items()},
            about=lambda deployment: f" for {deployment}",
        )
        for name, mistakes in MISTAKES.items()
    )
)


# 15.3

Row = dict[str, Any]
Latencies = Mapping[str, Sequence[float]]
Interval = tuple[float, float]
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
TOLERANCE = 0.003  # of an interval's ends, such as by z = 2 for 1.96, or a bootstrap's from a mistake's


def nearest_rank(latencies: Sequence[float], share: float) -> float:
    """The smallest latency that at least this share of the requests don't exceed."""
    return sorted(latencies)[math.ceil(round(share * len(latencies), 9)) - 1]


def exact_interval(within: int, requests: int, confidence: float = 0.95, method: str = "exact") -> Interval:
    """Clopper and Pearson's interval of a share, or another of SciPy's."""
    interval = stats.binomtest(within, requests).proportion_ci(confidence, method=method)
    return float(interval.low), float(interval.high)


def wilson(within: int, requests: int, confidence: float = 0.95) -> Interval:
    """Wilson's interval of a share."""
    return exact_interval(within, requests, confidence, "wilson")


def jeffreys(within: int, requests: int) -> Interval:
    """Jeffreys' interval of a share, 95%: quantiles of a beta distribution, 0 and 1 where none or all were within."""
    low, high = stats.beta.ppf((0.025, 0.975), within + 0.5, requests - within + 0.5)
    return float(low) if within else 0.0, float(high) if within < requests else 1.0


def bell_interval(within: int, requests: int) -> Interval:
    """Wald's interval: the share plus and minus 1.96 standard errors."""
    rate = within / requests
    half = 1.96 * math.sqrt(rate * (1 - rate) / requests)
    return rate - half, rate + half


def promise(row: Row, within: float, share: float, objective_ms: float) -> str:
    """ "meets" if the whole interval keeps the promise, "misses" if none of it does, else "open"."""
    return "meets" if row["low"] >= share else "misses" if row["high"] < share else "open"


def assess(
    deployments: Latencies,
    objective_ms: float,
    share: float,
    *,
    percentile: Callable[[Sequence[float], float], float] = nearest_rank,
    counts: Callable[[float, float], bool] = lambda ms, objective_ms: ms <= objective_ms,
    interval: Callable[[int, int], Interval] = exact_interval,
    verdict: Callable[[Row, float, float, float], str] = promise,
    answered: bool = False,
) -> dict[str, Row]:
    """Reference: nearest-rank percentiles, the exact interval of the share within the objective, and a verdict."""
    rows: dict[str, Row] = {}
    for name, latencies in deployments.items():
        requests = [ms for ms in latencies if ms < math.inf] if answered else latencies
        within = sum(counts(ms, objective_ms) for ms in requests)
        row: Row = {key: float(percentile(latencies, q)) for key, q in SHARES.items()}
        row["low"], row["high"] = interval(within, len(requests))
        rows[name] = row | {"verdict": verdict(row, within / len(requests), share, objective_ms)}
    return rows


def _interpolated(latencies: Sequence[float], share: float) -> float:
    with np.errstate(invalid="ignore"):  # between two infinite ones
        return float(np.quantile(latencies, share))


def _bell(latencies: Sequence[float], share: float) -> float:
    known = np.array([ms for ms in latencies if ms < math.inf])
    return float(known.mean() + stats.norm.ppf(share) * known.std())


def _decided(key: str, meets: Callable[[Any, float, float], bool]) -> dict[str, Any]:
    """The verdict by one number of a row, the share and the objective, which is never open."""

    def verdict(row: Row, within: float, share: float, objective_ms: float) -> str:
        return "meets" if meets((row | {"within": within})[key], share, objective_ms) else "misses"

    return {"verdict": verdict}


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


@dataclass(frozen=True)
class Columns:
    """Some columns of a report with a row a deployment: dicts in a dict, or a data frame of pandas."""

    names: tuple[str, ...]
    of: Form

    def read(self, value: Any, right: Any) -> dict[str, Row]:
        """Name to the columns."""
        try:
            return {row: {name: self.of.read(value[row][name], None) for name in self.names} for row in right}
        except (LookupError, TypeError):
            names = ", ".join(self.names)
            raise MalformedError(f"return a dict from each deployment to a dict with {names} in it.") from None

    def same(self, one: dict[str, Row], other: dict[str, Row]) -> bool:
        """Whether nothing differs."""
        return not self._differing(one, other)

    def difference(self, got: dict[str, Row], right: dict[str, Row]) -> str:
        """The first that differs."""
        row, name = self._differing(got, right)[0]
        return f"{name} of {row!r} is {self.of.difference(got[row][name], right[row][name])}"

    def _differing(self, one: dict[str, Row], other: dict[str, Row]) -> list[tuple[str, str]]:
        places = itertools.product(other, self.names)
        return [(row, name) for row, name in places if not self.of.same(one[row][name], other[row][name])]


METHODS = ({"interval": wilson}, {"interval": jeffreys})
ASSESS = InTurn(
    ByReference(
        assess,
        Columns(tuple(SHARES), Number()),
        "Look at its definition in the docstring.",
        mistakes={
            "the latencies aren't sorted before one is picked": {
                "percentile": lambda ms, q: ms[math.ceil(round(q * len(ms), 9)) - 1]
            },
            "a value between two requests is made up by interpolation; take the nearest rank": {
                "percentile": _interpolated
            },
            "the place is one too far: the k-th smallest has index k - 1": {
                "percentile": lambda ms, q: sorted(ms)[min(len(ms) - 1, math.floor(q * len(ms) + 1e-9))]
            },
            "requests that got no answer (infinite) are left out, and they are the slowest of all": {
                "percentile": lambda ms, q: nearest_rank([x for x in ms if x < math.inf], q)
            },
            "mean and standard deviation describe a bell curve, and latencies have a long tail": {"percentile": _bell},
        },
    ),
    ByReference(
        assess,
        Columns(("low", "high"), Number(rtol=TOLERANCE, atol=TOLERANCE)),
        "Count the requests within, divide by all, and take an interval of 95%.",
        alternatives=METHODS,
        mistakes={
            "a request that takes exactly the objective is within it": {"counts": operator.lt},
            "the share is of the answered requests; those without an answer weren't within the objective": {
                "answered": True
            },
            "both ends are the measured share; say how far the true one may lie from it": {
                "interval": lambda k, n: (k / n, k / n)
            },
            "the ends are in percent; give shares from 0 to 1": {
                "interval": lambda k, n: tuple(100 * end for end in exact_interval(k, n))
            },
            "the interval is that of the share outside the objective": {
                "interval": lambda k, n: exact_interval(n - k, n)
            },
            "an interval of 95% leaves 2.5% outside on each side, and yours leaves 5%": {
                "interval": lambda k, n: exact_interval(k, n, 0.9)
            },
            "z = 1.645 leaves 5% outside on each side; 95% takes 1.96": {"interval": lambda k, n: wilson(k, n, 0.9)},
            "that is a bound on one side alone": {"interval": lambda k, n: (exact_interval(k, n, 0.9)[0], 1.0)},
            "standard errors, or a bootstrap, leave no doubt where every request was within, and there is some": {
                "interval": bell_interval
            },
        },
    ),
    ByReference(
        assess,
        Columns(("verdict",), Exactly()),
        "Hold both ends against the share.",
        alternatives=METHODS,
        mistakes={
            "the measured share alone decides, and luck may have made it": _decided(
                "within", lambda within, share, objective_ms: within >= share
            ),
            "p95 decides, whatever share was promised": _decided(
                "p95", lambda p95, share, objective_ms: p95 <= objective_ms
            ),
            "the ends are swapped: to meet it, even the low end must reach the share": _decided(
                "high", lambda high, share, objective_ms: high >= share
            ),
            "the median decides, and half of the people wait longer": _decided(
                "p50", lambda p50, share, objective_ms: p50 <= objective_ms
            ),
        },
    ),
)


TASKS = {
    task.id: task
    for task in (
        Task("15.1", _chunk_cases, ByBehaviour(_chunk_faults)),
        Task("15.2", _audit_cases, AUDIT),
        Task("15.3", _assess_cases, ASSESS),
    )
}
