"""Lesson 09's cell on NanoBEIR, run as with the hub in reach: the data's loader is stubbed, mteb is real."""

from typing import Any

import jupytext
import mteb
import pandas as pd
import pytest
from datasets import Dataset
from mteb.abstasks import retrieval_dataset_loaders as loaders
from mteb.types import PromptType
from sentence_transformers import SentenceTransformer

from helpers import benchmark, catalog, data, load, models
from tools.build import ROOT

NANO = mteb.get_benchmark("NanoBEIR")
STATIC = "all-MiniLM-L6-v2-static-256"


def cell() -> str:
    cells = jupytext.read(ROOT / "lessons" / "09_mteb.py", fmt="py:percent").cells
    [found] = [c.source for c in cells if c.cell_type == "code" and '"NanoBEIR"' in c.source]
    return str(found)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A hub that has the course's retrieval set under each of NanoBEIR's names; returns the revisions asked for."""
    search, asked = data.retrieval(), dict[str, str]()
    judged = [(query, document, score) for query, docs in search.qrels.items() for document, score in docs.items()]
    parts = {
        "corpus": {"_id": list(search.corpus), "text": list(search.corpus.values())},
        "queries": {"_id": list(search.queries), "text": list(search.queries.values())},
        "qrels": dict(zip(("query-id", "corpus-id", "score"), zip(*judged, strict=True), strict=True)),
    }

    def load_dataset(path: str, config: str, *, split: str, revision: str, **rest: Any) -> Dataset:
        asked[path] = revision
        assert split == "train" and not rest["trust_remote_code"]
        return Dataset.from_dict({name: list(column) for name, column in parts[config].items()})

    monkeypatch.setattr(loaders, "get_dataset_config_names", lambda path, revision: list(parts))
    monkeypatch.setattr(loaders, "get_dataset_split_names", lambda path, **chosen: ["train"])
    monkeypatch.setattr(loaders, "load_dataset", load_dataset)
    return asked


def run(
    nano: str,
    *,
    source: str = "auto",
    reachable: bool = True,
    bge_small: models.Weights | None = None,
    monkeypatch: pytest.MonkeyPatch,
) -> list[Any]:
    """Run the cell with two quick models in the place of the real ones; what it displays."""
    shown: list[Any] = []

    def quick(name: str, **_: Any) -> SentenceTransformer:
        model = load(STATIC, device="cpu")
        if bge_small and "bge-small" in name:
            models.mark(model, bge_small)
        return model

    monkeypatch.setattr(models, "hub_reachable", lambda: reachable)
    names = {
        "mteb": mteb,
        "pd": pd,
        "models": models,
        "load": quick,
        "weights": models.weights,
        "display": shown.append,
        "nano": nano,
        "source": source,
    }
    exec(cell(), names)
    return shown


def test_the_cell_scores_each_task_as_the_helpers_do_on_data_at_mtebs_pinned_revision(
    hub: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ["NanoQuoraRetrieval", "NanoNQRetrieval"]
    [table] = run(",".join(chosen), monkeypatch=monkeypatch)
    ours = benchmark.score(load(STATIC, device="cpu"), data.Dataset("course", retrieval=data.retrieval()))[0]["ndcg@10"]
    assert table.index.tolist() == chosen and table.columns.tolist() == ["MiniLM", "bge-small"]
    assert (table - ours.value).abs().max().max() < 1e-4
    pinned = {task.metadata.dataset["path"]: task.metadata.dataset["revision"] for task in NANO.tasks}
    assert len(hub) == 2 and hub.items() <= pinned.items()
    assert all(len(revision) == 40 for revision in pinned.values())


def test_all_means_every_task_of_the_benchmark_and_nothing_is_run_out_of_reach(
    hub: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("all", reachable=False, monkeypatch=monkeypatch) == []
    assert run("all", source="bundled", monkeypatch=monkeypatch) == []
    assert hub == {}
    assert capsys.readouterr().out.count("13 of 13 tasks: NanoArguAnaRetrieval") == 2


def test_a_task_that_does_not_exist_is_an_error(hub: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyError, match="NanoQuorra"):
        run("NanoQuorra", monkeypatch=monkeypatch)


def test_a_stand_in_is_not_scored(hub: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = models.Weights("stand-in", "says nothing")
    [table] = run("NanoNQRetrieval", bge_small=stand_in, monkeypatch=monkeypatch)
    assert table.columns.tolist() == ["MiniLM"]


# The catalogue's prompts


def of_loader(meta: Any) -> dict[str, str]:
    """The prompts that mteb's loader of a model holds, in the catalogue's spelling; empty where it holds none.

    Loaders with prompts by task keep those that are text; adapters' names aren't, so Jina's are left out.
    """
    held = meta.loader_kwargs or {}
    found = {}
    if template := held.get("instruction_template"):
        if callable(template):
            sides = {"query": template("{task}", PromptType.query), "document": template("{task}", PromptType.document)}
        else:
            sides = {"query": template.replace("{instruction}", "{task}"), "document": ""}
        found = sides
    elif (texts := held.get("model_prompts")) and "Jina" not in str(meta.loader) and "query" in texts:
        found = {"query": texts["query"], "document": texts.get("document", "")}
    return {side: text.replace("\n", "\\n") or "none" for side, text in found.items()}


def test_every_prompt_that_mteb_s_loaders_hold_is_the_catalogue_s() -> None:
    known, wrong = 0, []
    for each in catalog.cards():
        try:
            held = of_loader(mteb.get_model_meta(each.hub_id))
        except KeyError:  # mteb doesn't know it
            continue
        known += bool(held)
        mine = {"query": each.query_prompt, "document": each.document_prompt}
        wrong += [(each.name, side, text, mine[side]) for side, text in held.items() if text != mine[side]]
    assert not wrong and known > 30, (known, wrong)
