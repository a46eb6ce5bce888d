"""Numbers and model folders, fuzzed: right numbers, or a sentence that names the text, the row or the file.

pytest -m execution tests/test_fuzz_numbers.py        ten minutes
"""

import contextlib
import io
import json
import math
import shutil
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from helpers import benchmark, data, models
from helpers.benchmark import running
from helpers.encode import batching, encode
from helpers.encode import stream as stream_module
from helpers.errors import CourseError
from helpers.measure import metrics, speed
from helpers.models import folder
from tests import fuzzing
from tests.benchmark.test_benchmark import PAIRS, STATIC, TFIDF
from tests.fuzzing import ANY_JSON, Kind
from tests.models.test_folder import whole  # noqa: F401, a fixture

WORDS = ("a cat", "the ferry leaves", "bread", "naïve 猫", "")
NOT_FINITE, HALF = "zebra", "\ud83d"
FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "modules.json", "model.safetensors")
FAULTS = (
    TypeError("forward() got 2"),
    ValueError,
    RuntimeError("CUDA"),
    KeyError("weights"),
    MemoryError(),
    OSError(5),
)


def said(error: CourseError) -> str:
    """The error's text, which is a sentence or two in one line."""
    text = str(error)
    assert "\n" not in text and 20 < len(text) < 1500, text
    return text


@pytest.fixture(scope="module")
def poisoned() -> SentenceTransformer:
    """A static model that gives no finite vector for one word."""
    model = models.load(STATIC, device="cpu")
    (marked,) = model.tokenizer.encode(NOT_FINITE, add_special_tokens=False).ids
    with torch.no_grad():
        model[0].embedding.weight[marked] = torch.tensor([math.nan, math.inf, -math.inf, 1.0] * 64)
    return model


lists = st.lists(st.sampled_from([*WORDS, f"the {NOT_FINITE} left", f"half {HALF}"]), min_size=1, max_size=9)


def bad_rows(texts: list[str]) -> list[int]:
    """The rows of the first trouble: half characters are looked for before anything is encoded."""
    half = [i for i, text in enumerate(texts) if HALF in text]
    return half[:1] or [i for i, text in enumerate(texts) if NOT_FINITE in text]


def encodes(model: SentenceTransformer) -> Callable[[list[str]], None]:
    def right(texts: list[str]) -> None:
        try:
            vectors = encode(model, texts)
        except batching.RowError as error:
            assert error.row in bad_rows(texts) and said(error)
        else:
            assert not bad_rows(texts) and np.isfinite(vectors).all()
            np.testing.assert_allclose(vectors, model.encode(texts), atol=1e-5)

    return right


def streams(model: SentenceTransformer) -> Callable[[list[str]], None]:
    def right(texts: list[str]) -> None:
        texts = [text or "w" for text in texts]
        with tempfile.TemporaryDirectory() as place:
            source = Path(place) / "m.jsonl"
            source.write_text("\n".join(json.dumps({"text": text}) for text in texts))
            try:
                stream_module.stream(model, source, Path(place) / "out", chunk_texts=3)
            except CourseError as error:
                rows = [i + 1 for i, text in enumerate(texts) if HALF in text or NOT_FINITE in text]
                assert any(f"ow {row} " in said(error) or f"line {row}:" in str(error) for row in rows), error
            else:
                assert not bad_rows(texts)
                parts = sorted((Path(place) / "out").glob("*.parquet"))
                found = np.concatenate([np.stack(pd.read_parquet(part)["embedding"].to_numpy()) for part in parts])
                np.testing.assert_allclose(found, encode(model, texts), atol=1e-5)

    return right


def judges(model: SentenceTransformer) -> Callable[[list[str]], None]:
    """On pairs and on retrieval: the score of a model with such a vector is refused and names a text."""

    def right(texts: list[str]) -> None:
        texts = [f"{text} {i}".replace(HALF, "") for i, text in enumerate([*texts, *"abcdefgh"])]
        half = len(texts) // 2 * 2
        gold = np.array([i % 2 for i in range(half // 2)], dtype=np.float64)
        pairs = data.Pairs(tuple(texts[:half:2]), tuple(texts[1:half:2]), gold, graded=False)
        corpus = {str(i): text for i, text in enumerate(texts)}
        search = data.Retrieval(corpus, {"q": texts[0], "r": texts[-1]}, {"q": {"0": 1}, "r": {"1": 1}})
        for dataset, seen in (
            (data.Dataset("p", pairs=pairs), texts[:half]),
            (data.Dataset("r", retrieval=search), texts),
        ):
            bad = [text for text in seen if NOT_FINITE in text]
            try:
                scores = benchmark.score(model, dataset)[0]
            except CourseError as error:
                assert any(repr(text) in said(error) for text in bad), error
            else:
                assert not bad and all(s.low <= s.value <= s.high for s in scores.values())

    return right


def goes_on(monkeypatch: pytest.MonkeyPatch) -> Callable[[tuple[Any, str]], None]:
    """Whatever a model's own code raises, and wherever, the other model has its row."""
    load = models.load

    def right(drawn: tuple[Any, str]) -> None:
        fault, where = drawn

        def fail(*args: Any, **options: Any) -> Any:
            raise fault

        def loaded(name: str, **options: Any) -> SentenceTransformer:
            model = load(name, **options)
            if name == STATIC:
                if where == "load":
                    fail()
                setattr(model, where, fail)
            return model

        with (
            tempfile.TemporaryDirectory() as place,
            monkeypatch.context() as patch,
            contextlib.redirect_stdout(io.StringIO()),
        ):
            patch.setattr(models, "load", loaded)
            patch.setattr(speed, "SHORTEST_VISIT_S", 0.0)
            (Path(place) / "m.csv").write_text(PAIRS)
            asked: dict[str, Any] = {"models": (TFIDF, STATIC), "device": "cpu", "speed_s": 0}
            report = benchmark.run(
                benchmark.Settings(dataset=f"{place}/m.csv", output_dir=Path(place) / "out", **asked)
            )
        assert [result.name for result in report.results] == [TFIDF]
        kind = (fault if isinstance(fault, type) else type(fault)).__name__
        assert report.unavailable[STATIC].startswith(f"{kind}"), report.unavailable

    return right


@st.composite
def spoils(draw: st.DrawFn) -> tuple[str, Any]:
    """One thing done to a model's folder."""
    what = draw(st.sampled_from(["cut", "bytes", "header", "gone", "field", "module", "json", "link"]))
    name = draw(st.sampled_from(FILES))
    part = st.floats(0, 0.999)
    given: dict[str, st.SearchStrategy[Any]] = {
        "cut": st.tuples(st.just(name), part),
        "bytes": st.tuples(st.just(name), part, st.binary(min_size=1, max_size=8)),
        "header": st.integers(0, 2**64 - 1),
        "gone": st.just(name),
        "field": st.tuples(
            st.sampled_from([*folder.SIZES, "model_type", "auto_map", "hidden_act", "pad_token_id", "dtype"]), ANY_JSON
        ),
        "module": st.tuples(
            st.sampled_from(["type", "path", "idx"]),
            ANY_JSON | st.sampled_from(["os.system", "../..", "/etc", "evil.Evil"]),
        ),
        "json": st.tuples(st.sampled_from(["config.json", "modules.json", "tokenizer_config.json"]), ANY_JSON),
        "link": st.just(name),
    }
    return what, draw(given[what])


def spoil(path: Path, what: str, how: Any) -> None:
    """Do it."""
    file = next(
        path.rglob(how[0] if isinstance(how, tuple) else how if isinstance(how, str) else FILES[-1]), path / "no"
    )
    if what == "cut":
        file.write_bytes(file.read_bytes()[: int(how[1] * file.stat().st_size)])
    elif what == "bytes":
        content = bytearray(file.read_bytes())
        at = int(how[1] * len(content)) if file.suffix != ".safetensors" else int(how[1] * 4000)
        content[at : at + len(how[2])] = how[2]
        file.write_bytes(content)
    elif what == "header":
        file.write_bytes(struct.pack("<Q", how) + file.read_bytes()[8:])
    elif what == "gone":
        file.unlink()
    elif what == "field":
        config = next(path.rglob("config.json"))
        config.write_text(json.dumps(json.loads(config.read_text()) | {how[0]: how[1]}))
    elif what == "module":
        modules = json.loads((path / "modules.json").read_text())
        modules[0] |= {how[0]: how[1]}
        (path / "modules.json").write_text(json.dumps(modules))
    elif what == "json":
        file.write_text(json.dumps(how[1]))
    else:
        file.unlink()
        file.symlink_to("/etc/hostname")


def seen_at_once(what: str, how: Any) -> bool:
    """Whether it is seen before any library reads the folder: weights cut off, and sizes that ask for the machine."""
    absurd = what == "field" and how[0] in folder.SIZES and not (type(how[1]) is int and 1 <= how[1] <= folder.LARGEST)
    return what == "header" or (what == "cut" and how[0] == FILES[-1]) or absurd


def loads(source: Path) -> Callable[[tuple[str, Any]], None]:
    """A folder loads and gives finite vectors, or is refused in a sentence that names it."""

    def right(drawn: tuple[str, Any]) -> None:
        with tempfile.TemporaryDirectory() as place, contextlib.redirect_stdout(io.StringIO()):
            path = Path(shutil.copytree(source, Path(place) / "copy"))
            spoil(path, *drawn)
            try:
                found = encode(models.load(str(path), device="cpu"), ["a cat"])
            except batching.RowError:
                return  # a NaN among the weights, and the text is named
            except CourseError as error:
                assert str(path) in said(error), error
                assert not seen_at_once(*drawn) or "can't be loaded" not in str(error), error
            else:
                assert found.shape[0] == 1 and np.isfinite(found).all() and not seen_at_once(*drawn)

    return right


IDS, DOCUMENTS = st.sampled_from(["q1", "q2", "q3", "0", "é"]), st.sampled_from(["a", "b", "c", "0", "q1"])
runs = st.tuples(
    st.dictionaries(
        IDS, st.dictionaries(DOCUMENTS, st.sampled_from([0.0, 0.5, 1.0, -1.0, math.nan, math.inf]) | st.integers(-3, 3))
    ),
    st.dictionaries(IDS, st.dictionaries(DOCUMENTS, st.integers(0, 3)), min_size=1),
    st.integers(1, 5),
)


def scores_a_run(drawn: tuple[dict[str, dict[str, float]], dict[str, dict[str, int]], int]) -> None:
    """nDCG, recall and MRR by their formulas, ties by id; 0 for what the run lacks; a clear no for what is no run."""
    run, qrels, k = drawn
    unknown = [query for query in run if query not in qrels]
    odd = [score for found in run.values() for score in found.values() if not math.isfinite(score)]
    try:
        found = metrics.per_query(run, qrels, k)
    except CourseError as error:
        assert unknown or odd, said(error)
        return
    assert not unknown and not odd
    for place, (query, judged) in enumerate(qrels.items()):
        ranked = sorted(run.get(query, {}), key=lambda d: (run[query][d], d), reverse=True)
        gains = [judged.get(document, 0) for document in ranked]
        best = sorted(judged.values(), reverse=True)
        ideal = sum(gain / math.log2(i + 2) for i, gain in enumerate(best[:k]))
        dcg = sum(gain / math.log2(i + 2) for i, gain in enumerate(gains[:k]))
        hits = [i for i, gain in enumerate(gains[:k]) if gain > 0]
        relevant = sum(gain > 0 for gain in best)
        wanted = dcg / ideal if ideal else 0, len(hits) / relevant if relevant else 0, 1 / (hits[0] + 1) if hits else 0
        assert [values[place] for values in found.values()] == pytest.approx(wanted)


similarities = st.lists(
    st.tuples(
        st.sampled_from([0.1, 0.5, 0.9, 1.0, -1.0, 0.0]) | st.floats(-1, 1) | st.just(math.nan), st.integers(0, 1)
    ),
    min_size=4,
    max_size=12,
).map(lambda rows: [*rows, (0.25, 0), (0.75, 1), (0.3, 0), (0.6, 1)])


def scores_pairs(rows: list[tuple[float, int]]) -> None:
    """Every score lies within its own interval, and a similarity that isn't finite has none."""
    similarity, gold = (np.array(side, dtype=np.float64) for side in zip(*rows, strict=True))
    try:
        found = [metrics.pair_scores(similarity, gold, graded=graded, n_resamples=50) for graded in (False, True)]
    except CourseError as error:
        assert np.isnan(similarity).any() and f"pair {int(np.isnan(similarity).argmax()) + 1}" in said(error)
        return
    assert np.isfinite(similarity).all()
    for name, score in (item for scores in found for item in scores.items()):
        assert np.isfinite(score.value), name
        assert name in ("separation", "average_precision") or score.low <= score.value <= score.high, (name, score)


@pytest.fixture(scope="module")
def kinds(poisoned: SentenceTransformer, whole: Path) -> dict[str, Kind]:  # noqa: F811
    patch = pytest.MonkeyPatch()
    faults = st.tuples(st.sampled_from(FAULTS), st.sampled_from(["load", "encode"]))
    return {
        "vectors that aren't finite and half characters, in encode": Kind(lists, encodes(poisoned)),
        "the same in a stream": Kind(lists, streams(poisoned)),
        "the same in the benchmark, on pairs and on retrieval": Kind(lists, judges(poisoned)),
        "what a model's own code raises": Kind(faults, goes_on(patch), dear=True),
        "a model's folder": Kind(spoils(), loads(whole)),
        "runs and judgements": Kind(runs, scores_a_run),
        "similarities": Kind(similarities, scores_pairs),
    }


def test_a_short_run_over_all_kinds_finds_nothing(kinds: dict[str, Kind]) -> None:
    made = fuzzing.run(kinds, examples=15)
    assert set(made) == set(kinds)


@pytest.mark.execution
def test_ten_minutes_find_nothing(kinds: dict[str, Kind]) -> None:
    print(fuzzing.run(kinds, examples=60, seconds=600, first=1))


per_query = metrics.per_query
TAKEN_BACK: dict[str, tuple[Any, str, Any, str]] = {
    "half characters": (batching, "half_character", lambda text: None, "vectors that"),
    "vectors that aren't finite": (running, "finite", lambda vectors, texts: vectors, "the same in the benchmark"),
    "a look at the folder": (folder, "check", lambda path, **_: None, "a model's folder"),
    "queries that the run lacks": (
        metrics,
        "per_query",
        lambda run, qrels, k: per_query({query: run[query] for query in qrels}, qrels, k),
        "runs and",
    ),
    "similarities that aren't finite": (metrics, "_finite", lambda values: values, "similarities"),
}


@pytest.mark.parametrize("mend", TAKEN_BACK)
def test_with_a_mend_taken_back_it_finds_that(
    kinds: dict[str, Kind], monkeypatch: pytest.MonkeyPatch, mend: str
) -> None:
    fuzzing.finds_without(TAKEN_BACK[mend], kinds, monkeypatch, examples=100)
