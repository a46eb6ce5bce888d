"""Exercise 18: a guard against leaks, hard negatives without the false ones, and a decision that minds forgetting."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helpers.checks.judges import ByReference, Decisions, Listed, Rows
from helpers.checks.tasks import Case, Task

Floats = NDArray[np.float64]


# 18.1


def shingles(text: str, n: int = 3, fold: Callable[[str], str] = str.lower) -> set[tuple[str, ...]]:
    """The runs of n words in a row."""
    words = fold(text).split()
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def leaks(
    train: list[str],
    test: list[str],
    limit: float,
    *,
    n: int = 3,
    fold: Callable[[str], str] = str.lower,
    over: Callable[[set[Any], set[Any]], float] = lambda one, other: len(one | other),
    enough: Callable[[float, float], bool] = lambda share, limit: share >= limit,
) -> list[int]:
    """Reference: positions of test texts whose Jaccard similarity with some training text reaches the limit."""
    known = [shingles(text, n, fold) for text in train]
    found = []
    for place, text in enumerate(test):
        own = shingles(text, n, fold)
        if any(enough(len(own & other) / max(over(own, other), 1), limit) for other in known):
            found.append(place)
    return found


def _leak_cases(seed: int) -> list[Case]:
    """Copies, copies in capitals, cut copies, shuffled words, texts at and around the limit; new ones."""
    draw, vocabulary = np.random.default_rng(seed), [f"w{i}" for i in range(400)]

    def text(words: int) -> list[str]:
        return [str(w) for w in draw.choice(vocabulary, words, replace=False)]

    def mixed(source: list[str], keep: int) -> list[str]:
        return source[:keep] + text(len(source) - keep)

    cases: list[Case] = []
    for limit in (0.5, 0.4, 0.5):
        train = [text(22) for _ in range(6)]
        test = [
            train[0],
            [word.upper() for word in train[1]],
            mixed(train[2], 20),
            train[3][:8],  # all of it stands there, and it is a small part of that
            [str(w) for w in draw.permutation(train[4])],  # the same words, none in a row
            mixed(train[5], 9),
            text(22),
            [*train[0][:6], *text(3)],
        ]
        order = draw.permutation(len(test))
        cases.append(([" ".join(words) for words in train], ["  ".join(test[i]) for i in order], limit))
    exact = text(12)  # 10 shingles, of which 5 are shared with a text of 10: 5 of 15, a third
    cases.append(([" ".join(exact)], [" ".join([*exact[:7], *text(5)]), " ".join(exact)], 1 / 3))
    return cases


LEAKS = ByReference(
    leaks,
    Listed("positions in `test`"),
    "Lower case, split into words, runs of three; shared over all of both is the Jaccard similarity.",
    mistakes={
        "a similarity at the limit counts as a leak": {"enough": lambda share, limit: share > limit + 1e-12},
        "only copies were found; a near-copy leaks too": lambda train, test, limit: [
            i for i, text in enumerate(test) if text.lower().split() in [other.lower().split() for other in train]
        ],
        "texts in other case weren't found": {"fold": str},
        "single words were compared; other texts of the same words aren't copies. Compare runs of three": {"n": 1},
        "shared runs are divided by those of the shorter text; Jaccard divides by all of both": {
            "over": lambda one, other: min(len(one), len(other))
        },
        "these are the texts that are new": lambda train, test, limit: [
            i for i in range(len(test)) if i not in leaks(train, test, limit)
        ],
    },
)


# 18.2


def hard_negatives(
    queries: Floats,
    documents: Floats,
    margin: float,
    k: int,
    *,
    limit: Callable[[Floats, float], Floats] = lambda own, margin: own * margin,
    own_out: bool = True,
    hardest: int = -1,
) -> list[list[int]]:
    """Reference: of each query the k most similar documents whose similarity is at most margin times its own's."""
    scores = queries @ documents.T
    ceiling = limit(scores.diagonal(), margin)
    rows = []
    for i, row in enumerate(scores):
        possible = [j for j in range(len(row)) if row[j] <= ceiling[i] and not (own_out and j == i)]
        rows.append(sorted(possible, key=lambda j, row=row: (hardest * row[j], j))[:k])  # type: ignore[misc]
    return rows


def _mined_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for margin, k in ((0.9, 3), (0.8, 2), (0.95, 4)):
        documents = draw.normal(size=(14, 12)) + 1.2
        documents /= np.linalg.norm(documents, axis=1, keepdims=True)
        queries = documents + draw.normal(0, 0.12, documents.shape)
        documents[7:] = documents[:7] + draw.normal(0, 0.05, (7, 12))  # near-copies: false negatives
        documents /= np.linalg.norm(documents, axis=1, keepdims=True)
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        cases.append((queries, documents, margin, k))
    return cases


NEGATIVES = ByReference(
    hard_negatives,
    Rows(Listed("positions in `documents`"), "one list a query"),
    "Leave out the query's own document and all above margin * its similarity; the most similar k of the rest.",
    mistakes={
        "false negatives weren't left out: all above margin * the right one's similarity": {
            "limit": lambda own, margin: np.full(len(own), np.inf)
        },
        "the query's own document is among the negatives, and nothing is left out": {
            "limit": lambda own, margin: np.full(len(own), np.inf),
            "own_out": False,
        },
        "the margin is an absolute similarity there; it is a share of the right document's": {
            "limit": lambda own, margin: np.full(len(own), margin)
        },
        "the margin is subtracted; it is a share": {"limit": lambda own, margin: own - margin},
        "these are the easiest; the most similar are hard": {"hardest": 1},
    },
)


# 18.3


def ends(values: Floats, spread: Callable[[Floats], float]) -> tuple[float, float]:
    """The 95% interval of a mean."""
    half = 1.96 * spread(values)
    return float(values.mean() - half), float(values.mean() + half)


def accepted(
    gains: Sequence[Floats],
    changes: Sequence[Floats],
    loss: float,
    *,
    spread: Callable[[Floats], float] = lambda values: float(values.std(ddof=1) / np.sqrt(len(values))),
    gained: Callable[[tuple[float, float]], bool] = lambda interval: interval[0] > 0,
    kept: Callable[[tuple[float, float], float], bool] = lambda interval, loss: interval[0] >= -loss,
) -> list[bool]:
    """Reference: whether the gain is surely above 0 and what is forgotten surely at most the loss allowed."""
    return [
        gained(ends(gain, spread)) and kept(ends(change, spread), loss)
        for gain, change in zip(gains, changes, strict=True)
    ]


def _accepted_cases(seed: int) -> list[Case]:
    """Models of all sorts, exactly as far from 0 and from the loss as is meant, in standard errors."""
    draw = np.random.default_rng(seed)

    def values(mean: float, error: float, n: int) -> Floats:
        raw = draw.normal(size=n)
        raw = (raw - raw.mean()) / raw.std(ddof=1)
        return np.asarray(mean + raw * error * np.sqrt(n))

    cases: list[Case] = []
    for loss in (0.02, 0.03):
        plans = [
            (0.05, 0.01, 0.0, 0.005),  # gains, keeps
            (0.05, 0.01, -0.08, 0.005),  # gains, forgets
            (0.012, 0.01, 0.0, 0.005),  # may gain
            (0.05, 0.01, -loss / 2, 0.75 * loss),  # gains, and may forget
            (-0.03, 0.01, 0.01, 0.005),  # loses
            (0.09, 0.02, 0.012, 0.004),  # gains twice
        ]
        order = draw.permutation(len(plans))
        n, m = int(draw.integers(60, 90)), int(draw.integers(60, 90))
        cases.append(
            (
                [values(plans[i][0], plans[i][1], n) for i in order],
                [values(plans[i][2], plans[i][3], m) for i in order],
                loss,
            )
        )
    return cases


DECISION = ByReference(
    accepted,
    Decisions("decisions are wrong", "one True or False a model"),
    "The gain's lower end above 0, and the change's lower end not below -loss.",
    mistakes={
        "what the model forgot wasn't looked at": {"kept": lambda interval, loss: True},
        "the means alone decide; their intervals reach further": {"spread": lambda values: 0.0},
        "the upper end of the change is the best that could be hoped for; the lower end counts": {
            "kept": lambda interval, loss: interval[1] >= -loss
        },
        "nothing may be forgotten; a loss up to `loss` is allowed": {"kept": lambda interval, loss: interval[0] >= 0},
        "that is the spread of single queries; the mean's standard error is smaller by the root of their number": {
            "spread": lambda values: float(values.std(ddof=1))
        },
        "the gain's upper end was taken; the lower end counts": {"gained": lambda interval: interval[1] > 0},
    },
)


TASKS = {
    task.id: task
    for task in (
        Task("18.1", _leak_cases, LEAKS),
        Task("18.2", _mined_cases, NEGATIVES),
        Task("18.3", _accepted_cases, DECISION),
    )
}
