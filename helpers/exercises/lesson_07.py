"""Exercise 07: a static model by hand, and three readings of a catalogue that leave the unknown unknown."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helpers import catalog
from helpers.checks.judges import ByReference, Entries, Listed, Number, Vectors
from helpers.checks.tasks import Case, Task

Row = dict[str, Any]
Runs = dict[str, tuple[float | None, int | None]]
Floats = NDArray[np.float64]

WORDS = ("the", "invoice", "is", "late", "scanner", "prints", "tea", "hot", "parcel", "not", "key", "cellar")
OPEN = ("mit", "apache-2.0")
TASKS_OF: dict[str, int] = {name: tasks for name, (_, _, tasks) in catalog.BENCHMARKS.items()}


# 07.1


def static_embeddings(
    texts: Sequence[Sequence[str]],
    vocabulary: dict[str, int],
    table: Floats,
    weights: Floats,
    *,
    unit: bool = True,
    unknown: int | None = None,
    once: bool = False,
    no_length: float = 1,
) -> Floats:
    """Reference: the weighted mean of each text's known tokens, of length 1; zeros where none is known."""
    weighted, rows = table * weights[:, None], []
    for tokens in texts:
        places = [vocabulary.get(token, unknown) for token in (dict.fromkeys(tokens) if once else tokens)]
        ids = [place for place in places if place is not None]
        mean = weighted[ids].sum(axis=0) / max(1, len(ids))
        rows.append(mean / (np.linalg.norm(mean) or no_length) if unit else mean)
    return np.array(rows)


def _static_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for dims in (5, 8):
        vocabulary = {word: int(i) for word, i in zip(WORDS, draw.permutation(len(WORDS)), strict=True)}
        table = draw.normal(size=(len(WORDS), dims)) * draw.uniform(0.5, 3, size=(len(WORDS), 1))
        weights = draw.uniform(0.1, 1.0, size=len(WORDS))
        texts = [[str(w) for w in draw.choice(WORDS, int(n), replace=False)] for n in draw.integers(3, 7, size=5)]
        texts[0].append(texts[0][0])  # a token twice
        texts[1].insert(1, "zyzzyva")  # a token that nobody knows
        texts.insert(int(draw.integers(2, 5)), ["zyzzyva"])  # and nothing else
        cases.append((texts, vocabulary, table, weights))
    return cases


def _static_words(got: Floats, right: Floats, texts: Sequence[Sequence[str]], *_: Any) -> str:
    row = int(np.abs(got - right).max(axis=1).argmax())
    return f"text {row} ({' '.join(texts[row])}) begins {got[row, 0]:.3f} instead of {right[row, 0]:.3f}"


STATIC = ByReference(
    static_embeddings,
    Vectors("one row a text, zeros for a text without a known token", atol=2e-3),  # half precision is right as well
    "Look up, weight, average, then divide by the length.",
    words=_static_words,
    mistakes={
        "the vectors aren't normalised: divide each mean by its length": {"unit": False},
        "the weights are missing: multiply each token's vector by its weight before the mean": (
            lambda t, v, table, weights: static_embeddings(t, v, table, np.ones_like(weights))
        ),
        "an unknown token is given the table's first row; leave it out": {"unknown": 0},
        "an unknown token is given the table's last row (row -1); leave it out": {"unknown": -1},
        "a token that occurs twice is counted once; keep repeats": {"once": True},
        "the tokens' own vectors are normalised first, which throws their lengths away; normalise the mean only": (
            lambda t, v, table, w: static_embeddings(t, v, table / np.linalg.norm(table, axis=1, keepdims=True), w)
        ),
        "a text without a known token becomes NaN (a division by zero); its row should be zeros, so test before you "
        "divide": {"no_length": math.nan},
    },
)


# 07.2


def _beats(a: Row, b: Row) -> bool:
    return _as_good(a, b) and (a["score"], a["parameters"]) != (b["score"], b["parameters"])


def _as_good(a: Row, b: Row) -> bool:
    return bool(a["score"] >= b["score"] and a["parameters"] <= b["parameters"])


def pareto_front(
    models: Sequence[Row], tasks: int, *, beats: Callable[[Row, Row], bool] = _beats, whole: bool = True
) -> list[int]:
    """Reference: who is beaten by nobody in score and size, among complete and known runs; smallest first."""
    ranked = [
        i
        for i, m in enumerate(models)
        if (m["tasks_run"] == tasks or not whole) and m["score"] is not None and m["parameters"] is not None
    ]
    front = [i for i in ranked if not any(beats(models[j], models[i]) for j in ranked if j != i)]
    return sorted(front, key=lambda i: (models[i]["parameters"], i))


def _filled(models: Sequence[Row], column: str) -> list[Row]:
    """The models with 0 for what is unknown in a column."""
    return [m | {column: m[column] or 0} for m in models]


def _first_of_equals(models: Sequence[Row], tasks: int) -> list[int]:
    front = pareto_front(models, tasks)
    return [i for i in front if not any(_as_good(models[j], models[i]) for j in front[: front.index(i)])]


def _front_cases(seed: int) -> list[Case]:
    """The catalogue on two benchmarks, shuffled, and drawn models with ties, gaps and incomplete winners."""
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    benchmarks: tuple[catalog.Benchmark, ...] = ("MTEB(eng, v2)", "MTEB(Multilingual, v2)")
    for benchmark in benchmarks:
        mean, run, tasks = catalog.BENCHMARKS[benchmark]
        rows = [
            {"score": getattr(c, mean), "parameters": c.params_total, "tasks_run": getattr(c, run)}
            for c in catalog.cards()
        ]
        cases.append(([rows[i] for i in draw.permutation(len(rows))], tasks))
    sizes = np.sort(draw.choice(np.arange(20, 900), 12, replace=False))
    scores = np.sort(draw.uniform(45, 70, size=12)).round(2)
    steps = [_row(score, size, 41) for score, size in zip(scores, sizes, strict=True)]  # each of them on the front
    behind = [_row(s["score"] - draw.uniform(1, 3), s["parameters"] + 1, 41) for s in steps[::2]]
    planted = [
        dict(steps[3]),  # equal in both: on the front as well
        _row(steps[5]["score"], steps[5]["parameters"] + 5, 41),  # as good, but larger: beaten
        _row(steps[8]["score"] - 0.5, steps[8]["parameters"], 41),  # as large, but worse: beaten
        _row(75.0, 60, int(draw.integers(20, 41))),  # would beat nearly all, had it run every task
        _row(77.0, None, 41),
        _row(None, 10, 41),
        _row(None, 40, None),
    ]
    mixed = [*steps, *behind, *planted]
    cases.append(([mixed[i] for i in draw.permutation(len(mixed))], 41))
    return cases


def _row(score: float | None, parameters: float | None, tasks_run: int | None) -> Row:
    return {
        "score": None if score is None else round(float(score), 2),
        "parameters": None if parameters is None else int(parameters),
        "tasks_run": tasks_run,
    }


def _model_words(got: Sequence[int], right: Sequence[int], models: Sequence[Row], *_: Any) -> str:
    """The first model too many or too few, with its facts."""
    odd = next((i for i in [*got, *right] if i not in right or i not in got), None)
    if odd is None:
        return "these are the right models in another order, or one of them twice"
    model = f"model {odd} {models[odd] if 0 <= odd < len(models) else '(there is none)'}"
    return f"{model} is missing" if odd in right else f"{model} doesn't belong there"


FRONT = ByReference(
    pareto_front,
    Listed(),
    "Leave out whoever is beaten, and sort the others by size, the smallest first.",
    words=_model_words,
    mistakes={
        "an incomplete run is ranked; a mean over some of the tasks is no rank": {"whole": False},
        "an unknown size is taken for 0, and nothing is smaller; leave such models out": (
            lambda models, tasks: pareto_front(_filled(models, "parameters"), tasks)
        ),
        "an unknown score is taken for 0, and the smallest such model comes in; leave it out": (
            lambda models, tasks: pareto_front(_filled(models, "score"), tasks)
        ),
        "of two models equal in score and size only one is kept; neither beats the other": _first_of_equals,
        "a tie in one of the two counts as no defeat; a model as good and larger is beaten": {
            "beats": lambda a, b: a["score"] > b["score"] and a["parameters"] < b["parameters"]
        },
        "a model may not be beaten by its equal: one of the two must be better": {"beats": _as_good},
        "large counts as good here; a model is better when it is smaller": {
            "beats": lambda a, b: _beats(a | {"parameters": -a["parameters"]}, b | {"parameters": -b["parameters"]})
        },
        "every complete run is there; leave out whoever is beaten": {"beats": lambda a, b: False},
        "the front is complete, but the largest comes first": lambda *case: pareto_front(*case)[::-1],
        "the front is complete, but in the order of `models`": lambda *case: sorted(pareto_front(*case)),
    },
)


# 07.3


def shortlist(
    models: Sequence[Row],
    tokens: int,
    *,
    permits: Callable[[str | None], bool] = lambda name: name in OPEN,
    unknown: float = 0,
    code: tuple[bool | None, ...] = (False,),
) -> list[int]:
    """Reference: permissive licence, known context of at least `tokens`, known to need no remote code."""
    return [
        i
        for i, m in enumerate(models)
        if permits(m["license"]) and (m["max_tokens"] or unknown) >= tokens and m["trust_remote_code"] in code
    ]


def _shortlist_cases(seed: int) -> list[Case]:
    """The catalogue in a drawn order, with one row for each trap."""
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for tokens in draw.choice([512, 2048, 8192], 2, replace=False):
        good: Row = {"license": "mit", "max_tokens": int(tokens) + 1, "trust_remote_code": False}
        traps = [
            good | {"max_tokens": int(tokens)},
            good | {"max_tokens": None},
            good | {"license": None},
            good | {"license": "cc-by-nc-4.0"},
            good | {"license": "gemma"},
            good | {"trust_remote_code": None},
            good | {"trust_remote_code": True},
        ]
        rows = [
            {"license": c.license, "max_tokens": c.max_tokens, "trust_remote_code": c.trust_remote_code}
            for c in catalog.cards()
        ] + traps
        cases.append(([rows[i] for i in draw.permutation(len(rows))], int(tokens)))
    return cases


SHORTLIST = ByReference(
    shortlist,
    Listed(),
    "Write each of the three conditions so that what is unknown fails it, and keep the order of `models`.",
    words=_model_words,
    mistakes={
        "an unknown licence is no permission": {"permits": lambda name: name in (None, *OPEN)},
        "CC BY-NC forbids commercial use": {"permits": lambda name: name in ("cc-by-nc-4.0", *OPEN)},
        "every known licence is taken for a permission, and CC BY-NC forbids commercial use": {
            "permits": lambda name: name is not None
        },
        "whatever isn't CC BY-NC is let in, and an unknown licence is no permission": {
            "permits": lambda name: name != "cc-by-nc-4.0"
        },
        "a licence with terms of its own isn't MIT or Apache 2.0": {
            "permits": lambda name: name not in (None, "cc-by-nc-4.0")
        },
        "both mit and apache-2.0 may be used, and mit is missing": {"permits": lambda name: name == "apache-2.0"},
        "both mit and apache-2.0 may be used, and apache-2.0 is missing": {"permits": lambda name: name == "mit"},
        "whether remote code is needed isn't known, and None isn't False": {"code": (None, False)},
        "models that need remote code are let in": {"code": (True, False)},
        "whether a model needs remote code isn't looked at": {"code": (None, True, False)},
        "an unknown context isn't a long one": {"unknown": math.inf},
        "a context of exactly what is asked for is enough ('at least')": (
            lambda models, tokens: shortlist(models, tokens + 1)
        ),
    },
)


# 07.4


def fair_differences(one: Runs, other: Runs, tasks: dict[str, int], *, whole: bool = True) -> dict[str, float]:
    """Reference: one minus other for each benchmark that both have run with all its tasks."""
    a, b = (_scores(runs, tasks, whole=whole) for runs in (one, other))
    return {benchmark: a[benchmark] - b[benchmark] for benchmark in tasks if benchmark in a and benchmark in b}


def _scores(runs: Runs, tasks: dict[str, int], *, whole: bool = True) -> dict[str, float]:
    return {b: s for b, (s, run) in runs.items() if s is not None and (run == tasks[b] or not whole)}


def _zero_where_unknown(one: Runs, other: Runs, tasks: dict[str, int]) -> dict[str, float]:
    return {b: _scores(one, tasks).get(b, 0) - _scores(other, tasks).get(b, 0) for b in tasks}


def _fair_cases(seed: int) -> list[Case]:
    """Pairs of catalogue models, some with a hole, and drawn runs of every sort."""
    draw = np.random.default_rng(seed)
    cards = [catalog.cards()[i] for i in draw.choice(len(catalog.cards()), 6, replace=False)]
    columns = catalog.BENCHMARKS.items()
    runs: list[Runs] = [{b: (getattr(c, mean), getattr(c, run)) for b, (mean, run, _) in columns} for c in cards]
    cases: list[Case] = [(one, other, dict(TASKS_OF)) for one, other in zip(runs[::2], runs[1::2], strict=True)]
    names = [str(b) for b in draw.permutation(list(TASKS_OF))]
    low, high = draw.uniform(50, 60, size=3).round(2), draw.uniform(61, 70, size=3).round(2)
    full = {b: (float(s), TASKS_OF[b]) for b, s in zip(names, high, strict=True)}
    behind = {b: (float(s), TASKS_OF[b]) for b, s in zip(names, low, strict=True)}
    part = behind | {names[0]: (float(low[0]), TASKS_OF[names[0]] - int(draw.integers(1, 9)))}
    hole = {b: run for b, run in full.items() if b != names[1]}
    cases += [
        (behind, full, dict(TASKS_OF)),
        (full, part, dict(TASKS_OF)),
        (part, full, dict(TASKS_OF)),
        (hole, behind | {names[2]: (None, None)}, dict(TASKS_OF)),
        ({names[0]: full[names[0]]}, {names[1]: behind[names[1]]}, dict(TASKS_OF)),
    ]
    return cases


DIFFERENCES = Entries(Number(rtol=0, atol=1e-4, show=".2f"), free=True)


def _fair_words(got: dict[str, float], right: dict[str, float], one: Runs, other: Runs, _: Any) -> str:
    benchmark = DIFFERENCES.differing(got, right)
    return f"{DIFFERENCES.difference(got, right)}, with runs {one.get(benchmark)} and {other.get(benchmark)}"


FAIR = ByReference(
    fair_differences,
    DIFFERENCES,
    "Keep the benchmarks of `tasks` that both have completed; one minus other, no more.",
    words=_fair_words,
    mistakes={
        "only the first model's number of tasks is looked at; both runs must be complete": (
            lambda one, other, tasks: {
                b: s - other[b][0] for b, s in _scores(one, tasks).items() if other.get(b, (None, None))[0] is not None
            }
        ),
        "a mean over some of the tasks is compared with a mean over all": {"whole": False},
        "the sign is lost: a negative difference says that the other model is ahead": (
            lambda *case: {b: abs(difference) for b, difference in fair_differences(*case).items()}
        ),
        "that is other minus one; turn it round": lambda one, other, tasks: fair_differences(other, one, tasks),
        "a benchmark that one of them hasn't run completely counts as 0 there; leave it out": _zero_where_unknown,
    },
)


TASKS = {
    task.id: task
    for task in (
        Task("07.1", _static_cases, STATIC),
        Task("07.2", _front_cases, FRONT),
        Task("07.3", _shortlist_cases, SHORTLIST),
        Task("07.4", _fair_cases, FAIR),
    )
}
