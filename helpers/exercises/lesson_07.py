"""Exercise 07: a static model by hand, and three readings of a catalogue that leave the unknown unknown."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helpers import catalog
from helpers.checks import Task

Case = tuple[Any, ...]
Row = dict[str, Any]
Runs = dict[str, tuple[float | None, int | None]]
Floats = NDArray[np.float64]

WORDS = ("the", "invoice", "is", "late", "scanner", "prints", "tea", "hot", "parcel", "not", "key", "cellar")
OPEN = ("mit", "apache-2.0")
TASKS_OF: dict[str, int] = {name: tasks for name, (_, _, tasks) in catalog.BENCHMARKS.items()}


def static_embeddings(
    texts: Sequence[Sequence[str]], vocabulary: dict[str, int], table: Floats, weights: Floats
) -> Floats:
    """Reference: the weighted mean of each text's known tokens, of length 1; zeros where none is known."""
    return _static(texts, vocabulary, table, weights)


def _static(
    texts: Sequence[Sequence[str]],
    vocabulary: dict[str, int],
    table: Floats,
    weights: Floats,
    *,
    unit: bool = True,
    unknown: int | None = None,
    once: bool = False,
    weighted: bool = True,
    unit_tokens: bool = False,
    skip: bool = False,
) -> Floats:
    """The reference, and with an argument changed one of the usual mistakes."""
    vectors = table / np.linalg.norm(table, axis=1, keepdims=True) if unit_tokens else table
    factors = weights if weighted else np.ones_like(weights)
    rows = []
    for tokens in texts:
        chosen = list(dict.fromkeys(tokens)) if once else tokens
        found = [vocabulary.get(token, unknown) for token in chosen]
        ids = [i for i in found if i is not None]
        mean = (vectors[ids] * factors[ids][:, None]).mean(axis=0) if ids else np.zeros(table.shape[1])
        length = np.linalg.norm(mean)
        if not (skip and length == 0):
            rows.append(mean / length if unit and length > 0 else mean)
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


STATIC_MISTAKES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("the vectors aren't normalised: divide each mean by its length", {"unit": False}),
    ("the weights are missing: multiply each token's vector by its weight before the mean", {"weighted": False}),
    ("an unknown token is given the table's first row; leave it out", {"unknown": 0}),
    ("an unknown token is given the table's last row (row -1); leave it out", {"unknown": -1}),
    ("a token that occurs twice is counted once; keep repeats", {"once": True}),
    (
        "the tokens' own vectors are normalised first, which throws their lengths away; normalise the mean only",
        {"unit_tokens": True},
    ),
)


def _judge_static(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    for case, value in zip(cases, values, strict=True):
        right, got = static_embeddings(*case), np.asarray(value, dtype=float)
        if got.shape != right.shape:
            if got.shape == _static(*case, skip=True).shape:
                return (
                    f"{len(right) - len(got)} text has no known token and gets no row; every text gets one, "
                    "zeros if need be."
                )
            return f"the shape is {got.shape}, and it should be {right.shape}: one row a text."
        if np.allclose(got, right, atol=2e-3):  # half precision is right as well
            continue
        if not np.isfinite(got).all():
            return (
                "a text without a known token becomes NaN (a division by zero); its row should be zeros. "
                "Test before you divide."
            )
        off = int(np.abs(got - right).max(axis=1).argmax())
        told = f"text {off} ({' '.join(case[0][off])}) begins {got[off, 0]:.3f} instead of {right[off, 0]:.3f}"
        for sentence, change in STATIC_MISTAKES:
            if np.allclose(got, _static(*case, **change), atol=1e-5):
                return f"{sentence}: {told}."
        return f"{told}. Look up, weight, average, then divide by the length."
    return None


def pareto_front(models: Sequence[Row], tasks: int) -> list[int]:
    """Reference: who is beaten by nobody in score and size, among complete and known runs; smallest first."""
    return _front(models, _complete(models, tasks))


def _complete(models: Sequence[Row], tasks: int) -> list[int]:
    return [
        i
        for i, m in enumerate(models)
        if m["tasks_run"] == tasks and m["score"] is not None and m["parameters"] is not None
    ]


def _beats(a: Row, b: Row) -> bool:
    no_worse = bool(a["score"] >= b["score"] and a["parameters"] <= b["parameters"])
    return no_worse and (a["score"], a["parameters"]) != (b["score"], b["parameters"])


def _front(models: Sequence[Row], among: Sequence[int], beats: Callable[[Row, Row], bool] = _beats) -> list[int]:
    found = [i for i in among if not any(beats(models[j], models[i]) for j in among if j != i)]
    return sorted(found, key=lambda i: (models[i]["parameters"], i))


def _known(models: Sequence[Row], **filled: float) -> list[Row]:
    """The models with what is unknown filled in."""
    return [{key: filled.get(key) if value is None else value for key, value in m.items()} for m in models]


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


def _front_mistakes(models: Sequence[Row], tasks: int) -> dict[str, list[int]]:
    """What each usual mistake gives, by its sentence."""
    everyone = range(len(models))
    complete = _complete(models, tasks)
    scored = [i for i in everyone if models[i]["score"] is not None and models[i]["parameters"] is not None]
    sized = [i for i in everyone if models[i]["tasks_run"] == tasks and models[i]["score"] is not None]
    zero_sized, zero_scored = _known(models, parameters=0), _known(models, score=0)
    unscored = [i for i in everyone if models[i]["tasks_run"] == tasks and models[i]["parameters"] is not None]
    right = _front(models, complete)
    swept: list[int] = []
    for i in sorted(complete, key=lambda i: (models[i]["parameters"], -models[i]["score"], i)):
        if not swept or models[i]["score"] > models[swept[-1]]["score"]:
            swept.append(i)
    return {
        "an incomplete run is ranked; a mean over some of the tasks is no rank": _front(models, scored),
        "an unknown size is taken for 0, and nothing is smaller; leave such models out": _front(zero_sized, sized),
        "an unknown score is taken for 0, and the smallest such model comes in; leave it out": _front(
            zero_scored, unscored
        ),
        "of two models equal in score and size only one is kept; neither beats the other": swept,
        "a tie in one of the two counts as no defeat; a model as good and larger is beaten": _front(
            models, complete, lambda a, b: a["score"] > b["score"] and a["parameters"] < b["parameters"]
        ),
        "a model may not be beaten by its equal: one of the two must be better": _front(
            models, complete, lambda a, b: bool(a["score"] >= b["score"] and a["parameters"] <= b["parameters"])
        ),
        "large counts as good here; a model is better when it is smaller": _front(
            models,
            complete,
            lambda a, b: (
                a["score"] >= b["score"]
                and a["parameters"] >= b["parameters"]
                and (a["score"], a["parameters"]) != (b["score"], b["parameters"])
            ),
        ),
        "every complete run is there; leave out whoever is beaten": sorted(
            complete, key=lambda i: (models[i]["parameters"], i)
        ),
        "the front is complete, but the largest comes first": right[::-1],
    }


def _judge_front(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    got = [_numbers(value) for value in values]
    if None in got:
        return f"that ({type(values[got.index(None)]).__name__}) is no list of whole numbers, positions in `models`."
    right = [pareto_front(*case) for case in cases]
    if got == right:
        return None
    mistakes = [_front_mistakes(*case) for case in cases]
    for sentence in mistakes[0]:
        if got == [case[sentence] for case in mistakes]:
            return f"{sentence}. {_missing(got[-1] or [], right[-1], cases[-1][0])}"
    for case, mine, expected in zip(cases, got, right, strict=True):
        if mine != expected and set(mine or []) == set(expected):
            return "these are the right models in another order; sort them by size, the smallest first."
        if mine != expected:
            return f"the front is wrong: {_missing(mine or [], expected, case[0])}"
    return None


def _missing(got: Sequence[int], right: Sequence[int], models: Sequence[Row]) -> str:
    """The first model too many or too few, in words."""
    for i in got:
        if i not in right:
            if not 0 <= i < len(models):
                return f"There is no model {i}."
            return f"Model {i} {models[i]} doesn't belong there."
    for i in right:
        if i not in got:
            return f"Model {i} {models[i]} is missing."
    return f"You have {len(got)} models, and {len(right)} belong there."


def _numbers(value: Any) -> list[int] | None:
    """A list of whole numbers, from whatever sequence of them it came; None where it is none."""
    if isinstance(value, str | dict | set) or not hasattr(value, "__len__"):
        return None
    array = np.asarray(value)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        return None
    return [int(i) for i in array]


def shortlist(models: Sequence[Row], tokens: int) -> list[int]:
    """Reference: permissive licence, known context of at least `tokens`, known to need no remote code."""
    return [
        i
        for i, m in enumerate(models)
        if m["license"] in OPEN and (m["max_tokens"] or 0) >= tokens and m["trust_remote_code"] is False
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


def _judge_shortlist(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    got = [_numbers(value) for value in values]
    if None in got:
        return f"that ({type(values[got.index(None)]).__name__}) is no list of whole numbers, positions in `models`."
    told = (_shortlist_message(case[0], case[1], mine or []) for case, mine in zip(cases, got, strict=True))
    return next((message for message in told if message), None)


REASONS = (
    ("license", (None,), "an unknown licence is no permission"),
    ("license", ("cc-by-nc-4.0",), "CC BY-NC forbids commercial use"),
    ("license", ("gemma",), "a licence with terms of its own isn't MIT or Apache 2.0"),
    ("trust_remote_code", (None,), "whether remote code is needed isn't known, and None isn't False"),
    ("trust_remote_code", (True,), "models that need remote code are let in"),
    ("max_tokens", (None,), "an unknown context isn't a long one"),
)


def _shortlist_message(models: Sequence[Row], tokens: int, got: Sequence[int]) -> str | None:
    right = shortlist(models, tokens)
    extra, gone = [i for i in got if i not in right], [i for i in right if i not in got]
    message = None
    if any(not 0 <= i < len(models) for i in extra):
        message = f"there is no model {max(extra, key=abs)}; return positions from 0 to {len(models) - 1}."
    elif extra and gone:
        message = f"model {extra[0]} {models[extra[0]]} doesn't belong there; {gone[0]} {models[gone[0]]} is missing."
    elif gone and all(models[i]["max_tokens"] == tokens for i in gone):
        message = f"a context of exactly {tokens} tokens is enough ('at least'); missing are {len(gone)}."
    elif gone and len({models[i]["license"] for i in gone}) == 1:
        message = f"both mit and apache-2.0 may be used; missing are {len(gone)} of {models[gone[0]]['license']}."
    elif gone:
        message = f"model {gone[0]} {models[gone[0]]} is missing, and {len(gone) - 1} more."
    elif extra:
        wrong = [models[i] for i in extra]
        known = [(sentence, row) for column, cells, sentence in REASONS for row in wrong if row[column] in cells]
        sentence, row = known[0] if known else ("such a model doesn't belong there", wrong[0])
        message = f"{sentence}: {len(wrong)} too many, such as {row}."
    elif got != right:
        message = "these are the right models in another order; keep the order of `models`, each once."
    return message


def fair_differences(one: Runs, other: Runs, tasks: dict[str, int]) -> dict[str, float]:
    """Reference: one minus other for each benchmark that both have run with all its tasks."""
    return _differences(one, other, tasks)


def _differences(
    one: Runs, other: Runs, tasks: dict[str, int], *, whole: bool = True, sign: int = 1, fill: float | None = None
) -> dict[str, float]:
    """The reference, and with an argument changed one of the usual mistakes."""
    found = {}
    for benchmark, full in tasks.items():
        (a, a_run), (b, b_run) = one.get(benchmark, (None, None)), other.get(benchmark, (None, None))
        if fill is not None:
            a = fill if a is None or a_run != full else a
            b = fill if b is None or b_run != full else b
        elif a is None or b is None or (whole and not a_run == b_run == full):
            continue
        found[benchmark] = sign * (a - b)
    return found


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


def _judge_fair(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    for value in values:
        if not isinstance(value, dict):
            return f"it returns {type(value).__name__}; return a dict, benchmark to difference."
    right = [fair_differences(*case) for case in cases]
    mistakes: dict[str, dict[str, Any]] = {
        "a mean over some of the tasks is compared with a mean over all": {"whole": False},
        "that is other minus one; turn it round": {"sign": -1},
        "a benchmark that one of them hasn't run completely counts as 0 there; leave it out": {"fill": 0.0},
    }
    if all(_same(value, expected) for value, expected in zip(values, right, strict=True)):
        return None
    for sentence, change in mistakes.items():
        if all(_same(value, _differences(*case, **change)) for value, case in zip(values, cases, strict=True)):
            return f"{sentence}."
    if all(
        _same(value, {b: abs(d) for b, d in expected.items()}) for value, expected in zip(values, right, strict=True)
    ):
        return "the sign is lost: a negative difference says that the other model is ahead."
    told = (_fair_message(case, value, expected) for case, value, expected in zip(cases, values, right, strict=True))
    return next(message for message in told if message)


def _fair_message(case: Case, value: dict[str, Any], expected: dict[str, float]) -> str | None:
    one, other, tasks = case
    extra, gone = [b for b in value if b not in expected], [b for b in expected if b not in value]
    off = [b for b in expected if b in value and not _close(value[b], expected[b])]
    if extra and extra[0] not in tasks:
        return f"{extra[0]!r} isn't a benchmark of `tasks`; compare within one benchmark at a time."
    if extra:
        return (
            f"{extra[0]} is compared, with runs {one.get(extra[0])} and {other.get(extra[0])}; "
            "that is no fair pair, and no key of the answer."
        )
    if gone:
        return f"{gone[0]} is missing, though both have completed it: {one[gone[0]]} and {other[gone[0]]}."
    if off:
        return f"{off[0]} differs by {expected[off[0]]:.2f}, and you return {value[off[0]]}: one minus other, no more."
    return None


def _same(value: dict[str, Any], expected: dict[str, float]) -> bool:
    return value.keys() == expected.keys() and all(_close(value[b], expected[b]) for b in expected)


def _close(value: Any, expected: float) -> bool:
    return value is not None and abs(float(value) - expected) < 1e-4


TASKS = {
    task.id: task
    for task in (
        Task("07.1", _static_cases, _judge_static),
        Task("07.2", _front_cases, _judge_front),
        Task("07.3", _shortlist_cases, _judge_shortlist),
        Task("07.4", _fair_cases, _judge_fair),
    )
}
