"""Every lesson runs from top to bottom as it does with the hub in reach; minutes each, so on demand only.

A hub cache is filled with stand-ins, saved under the names and pinned revisions of the real models.
What is computed on them is thrown away; that every cell works on weights of the kind `hub` is what
counts. What a lesson costs is measured where nbval runs it (tests/budgets.py).
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from nbclient import NotebookClient
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from helpers import bundled, catalog, models
from helpers.models import bge_m3
from tools.build import ROOT, manifest


def families_models() -> list[catalog.Card]:
    """The catalogue's models that a lesson may load from the hub."""
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "lessons").glob("*.py"))
    named = set(re.findall(r"[\w.-]+/[\w.-]+", sources))
    return [c for c in catalog.cards() if c.hub_id in named and c.revision and c.name not in bundled.MODELS]


@pytest.fixture(scope="session")
def hub_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub cache in which each family's models lie at their pinned revisions; all are stand-ins."""
    cache = tmp_path_factory.mktemp("hub")
    for facts in families_models():
        snapshot = cache / huggingface_hub.constants.REPO_ID_SEPARATOR.join(["models", *facts.hub_id.split("/")])
        snapshot = snapshot / "snapshots" / str(facts.revision)
        if facts.hub_id == bge_m3.HUB_ID:
            shutil.copytree(bge_m3.folder(), snapshot)
            continue
        model = models.load(facts.hub_id, source="stand-in", device="cpu")
        model.save_pretrained(str(snapshot), create_model_card=False)
        weights = snapshot / "model.safetensors"
        weights.unlink()
        weights.symlink_to(bundled.minilm_folder() / "model.safetensors")
    return cache


def parameters(notebook: Any) -> dict[str, Any]:
    """What a reader with the hub in reach passes to this lesson."""
    cell = next((c.source for c in notebook.cells if "parameters" in c.metadata.get("tags", ())), "")
    wished = {"source": "hub", "trust_remote_code": True} if "source: str" in cell and "dataset" not in cell else {}
    return {name: value for name, value in wished.items() if f"{name}: " in cell}


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A copy of what a notebook reads beside itself, so that nothing is written into the project."""
    (tmp_path / "notebooks").mkdir()
    shutil.copy(ROOT / "course.toml", tmp_path)
    yield tmp_path / "notebooks"


@pytest.mark.execution
@pytest.mark.parametrize("lesson", manifest(), ids=lambda lesson: lesson["name"])
def test_a_lesson_runs_on_weights_from_the_hub(
    lesson: dict[str, Any], hub_cache: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(hub_cache))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = load_notebook_node(str(ROOT / "notebooks" / f"{lesson['name']}.ipynb"))
    notebook = parameterize_notebook(notebook, parameters(notebook))
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(scratch)}}).execute()
