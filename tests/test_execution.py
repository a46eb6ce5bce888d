"""Every lesson runs from top to bottom in the time and memory that course.toml declares.

Where a lesson loads a family's models, it runs here as it does with the hub in reach: a hub cache is
filled with stand-ins, saved under the names and pinned revisions of the real models. What is
computed on them is thrown away; that every cell works on weights of the kind `hub` is what counts.
"""

import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import psutil
import pytest
from nbclient import NotebookClient
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from helpers import bge_m3, bundled, catalog, models
from tools.build import ROOT, manifest

MARGIN = 3  # other machines are slower, and others run on them


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


class Watch:
    """CPU seconds and peak memory of a process, looked at a few times a second."""

    def __init__(self, pid: int) -> None:
        self.process, self.cpu_s, self.peak_mb = psutil.Process(pid), 0.0, 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            try:
                times, memory = self.process.cpu_times(), self.process.memory_info()
                self.cpu_s = times.user + times.system
                self.peak_mb = max(self.peak_mb, memory.rss / 1e6)
            except psutil.Error:
                return

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


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
def test_a_lesson_runs_with_the_hub_s_weights_within_its_budget(
    lesson: dict[str, Any], hub_cache: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch, record_property: Any
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(hub_cache))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # threads that wait for one another burn seconds too
    notebook = load_notebook_node(str(ROOT / "notebooks" / f"{lesson['name']}.ipynb"))
    notebook = parameterize_notebook(notebook, parameters(notebook))
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(scratch)}})
    with client.setup_kernel():
        watch = Watch(client.km.provisioner.pid)
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
        watch.stop()
    record_property("cpu_s", watch.cpu_s)
    record_property("peak_mb", watch.peak_mb)
    assert 0 < watch.cpu_s <= MARGIN * lesson["cpu_s"], f"{watch.cpu_s:.0f} s of CPU, {lesson['cpu_s']} s declared"
    assert 0 < watch.peak_mb <= 1.25 * lesson["memory_mb"], f"{watch.peak_mb:.0f} MB, {lesson['memory_mb']} MB declared"


def test_what_a_lesson_declares_is_within_the_course_s_limits() -> None:
    for lesson in manifest():
        assert lesson["cpu_s"] <= 120 and lesson["memory_mb"] <= 3000, lesson["name"]  # 60 s on two cores
