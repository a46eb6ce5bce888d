"""Data sets by name: mteb's tasks and the hub's data sets, with the loaders stubbed; mteb and datasets are real."""

import builtins
from pathlib import Path
from typing import Any

import datasets
import mteb
import pytest
from mteb.abstasks import retrieval_dataset_loaders as loaders

from helpers import data
from helpers.errors import CourseError, OutOfReachError

PARTS = {
    "corpus": {"_id": ["d1", "d2"], "title": ["", "Bread"], "text": ["ferry times", ""]},
    "queries": {"_id": ["q1", "q2"], "text": ["when does it leave", "how to bake"]},
    "default": {"query-id": ["q1", "q2", "q2"], "corpus-id": ["d1", "d2", "gone"], "score": [1, 1, 1]},
}
REVISION = "a" * 40


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """A hub on which every data set is a small one in BEIR's parts; returns what was asked for."""
    asked: list[tuple[Any, ...]] = []

    def load(path: str, config: str | None = None, *, split: str | None = None, revision: Any = None, **_: Any) -> Any:
        asked.append((path, config, revision))
        made = datasets.Dataset.from_dict(PARTS[config or "default"])
        return made if split else datasets.DatasetDict({"test" if config == "default" else config or "test": made})

    monkeypatch.setattr(loaders, "get_dataset_config_names", lambda path, revision: list(PARTS))
    monkeypatch.setattr(loaders, "get_dataset_split_names", lambda path, **chosen: ["test"])
    monkeypatch.setattr(loaders, "load_dataset", load)
    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(datasets, "get_dataset_config_names", lambda path, revision=None: list(PARTS))
    return asked


def test_an_mteb_retrieval_task_is_read_at_the_revision_that_mteb_pins(hub: list[tuple[Any, ...]]) -> None:
    dataset = data.read("mteb:SciFact")
    revision = mteb.get_task("SciFact").metadata.dataset["revision"]
    assert dataset.name == f"mteb:SciFact@{revision}" and {asked[2] for asked in hub} == {revision}
    assert dataset.retrieval is not None
    assert dataset.retrieval.corpus == {"d1": "ferry times", "d2": "Bread"}
    assert dataset.retrieval.qrels == {"q1": {"d1": 1}, "q2": {"d2": 1, "gone": 1}}


def test_a_hub_data_set_in_beirs_parts_is_read_at_the_revision_named(hub: list[tuple[Any, ...]]) -> None:
    dataset = data.read(f"hf:some/set@{REVISION}")
    assert dataset.name == f"hf:some/set@{REVISION}" and {asked[2] for asked in hub} == {REVISION}
    assert dataset.retrieval is not None and dataset.retrieval.qrels["q1"] == {"d1": 1}


def test_an_mteb_task_of_graded_pairs_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    task = mteb.get_task("STSBenchmark")
    rows = datasets.Dataset.from_dict({"sentence1": ["a", "c"], "sentence2": ["b", "d"], "score": [4.5, 1.0]})

    def load_data(**_: Any) -> None:
        task.dataset = datasets.DatasetDict({"test": rows})

    monkeypatch.setattr(mteb, "get_task", lambda name: task)
    monkeypatch.setattr(task, "load_data", load_data)
    pairs = data.read("mteb:STSBenchmark").pairs
    assert pairs is not None and pairs.graded and pairs.gold.tolist() == [4.5, 1.0]


@pytest.mark.parametrize(("splits", "judged"), [(["dev", "test"], "test"), (["dev", "other"], "dev")])
def test_a_task_is_judged_on_its_test_split_where_it_has_one(
    monkeypatch: pytest.MonkeyPatch, splits: list[str], judged: str
) -> None:
    task = mteb.get_task("STSBenchmark")
    rows = {
        s: datasets.Dataset.from_dict({"sentence1": [s, s], "sentence2": ["a", "b"], "score": [2.0, 5.0]})
        for s in splits
    }
    monkeypatch.setattr(mteb, "get_task", lambda name: task)
    monkeypatch.setattr(task, "metadata", task.metadata.model_copy(update={"eval_splits": splits}))
    monkeypatch.setattr(task, "load_data", lambda **_: setattr(task, "dataset", datasets.DatasetDict(rows)))
    found = data.read("mteb:STSBenchmark")
    assert found.pairs is not None and found.pairs.sentence1 == (judged, judged)
    assert any(f"judged on the split '{judged}'" in note for note in found.notes)


def test_pair_classification_in_the_lists_of_one_row_is_unfolded(monkeypatch: pytest.MonkeyPatch) -> None:
    task = mteb.get_task("SprintDuplicateQuestions")
    rows = datasets.Dataset.from_dict({"sentence1": [["a", "c"]], "sentence2": [["b", "d"]], "labels": [[1, 0]]})
    monkeypatch.setattr(mteb, "get_task", lambda name: task)
    monkeypatch.setattr(task, "load_data", lambda **_: setattr(task, "dataset", {"test": rows}))
    pairs = data.read("mteb:SprintDuplicateQuestions").pairs
    assert pairs is not None and pairs.sentence1 == ("a", "c") and pairs.gold.tolist() == [1, 0]


def test_a_task_of_another_kind_is_refused_by_name() -> None:
    with pytest.raises(CourseError, match=r"mteb:Banking77Classification is a task of kind Classification"):
        data.read("mteb:Banking77Classification")


def test_an_unknown_task_is_named_with_one_that_looks_like_it() -> None:
    with pytest.raises(CourseError, match=r"mteb has no task 'SciFct'\. Did you mean .*SciFact"):
        data.read("mteb:SciFct")


@pytest.mark.parametrize("name", ["hf:some/set", "mteb:SciFact"])
def test_what_is_out_of_reach_is_said_in_a_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(loaders, "get_dataset_config_names", refuse)
    monkeypatch.setattr(datasets, "get_dataset_config_names", refuse)
    with pytest.raises(OutOfReachError, match=rf"{name} can't be had: no network\. Check the name and the network"):
        data.read(name)


def test_without_mteb_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name == "mteb":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(CourseError, match=r"embedding-models-course\[mteb\]"):
        data.read("mteb:SciFact")


def test_docstrings_are_built_once_alike_and_parts_share_no_package(tmp_path: Path, monkeypatch: Any) -> None:
    from helpers import files
    from helpers.data import mined

    monkeypatch.setenv(files.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(mined, "PARTS", {"train": ("joblib",), "dev": ("platformdirs",), "test": ("tqdm",)})
    built = mined.build()
    assert built == mined.build()
    whole = mined.docstrings()
    assert mined.fingerprint() in next(tmp_path.glob("docstrings-*.json.gz")).name
    monkeypatch.setattr(mined, "build", lambda: pytest.fail("it was built already"))
    parts = {part: mined.docstrings(part) for part in mined.PARTS}
    assert sum(len(found.corpus) for found in parts.values()) == len(whole.corpus) > 20
    assert set(parts["train"].package.values()) == {"joblib"}
    with pytest.raises(
        CourseError, match="There is no part 'valid' of the docstrings; it can be all, train, dev, test"
    ):
        mined.docstrings("valid")


def test_near_duplicates_are_dropped_and_texts_that_share_little_stay() -> None:
    from helpers.data import mined

    text = "returns the mean of the values along the axis that was asked for and keeps the type of the input"
    other = "draws a figure with one panel for each model and saves it under the name that was given before"
    assert mined.distinct([text, text.replace("mean", "median"), other]) == [True, False, True]
