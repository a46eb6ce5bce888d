"""What one model leaves behind in a run: nothing in memory, and its own word on its numbers."""

import weakref
from pathlib import Path

import pytest
import torch
from sentence_transformers import SentenceTransformer

from helpers import bundled, data, models
from helpers.benchmark import Settings, measure, running

STATIC = "all-MiniLM-L6-v2-static-256"


def test_a_model_that_fails_is_freed_as_one_that_succeeds_is(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[weakref.ref[SentenceTransformer]] = []
    load, emptied = models.load, []

    def watched(*args: object, **options: object) -> SentenceTransformer:
        model = load(*args, **options)  # type: ignore[arg-type]
        loaded.append(weakref.ref(model))
        return model

    def out_of_memory(*args: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(models, "load", watched)
    monkeypatch.setattr(running, "evaluate", out_of_memory)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (8e9, 8e9))
    with pytest.raises(torch.OutOfMemoryError):
        measure(STATIC, data.read("course"), Settings(models=(STATIC,), device="cpu"))
    assert loaded and loaded[0]() is None and emptied


def test_a_folder_s_name_says_nothing_of_its_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "my-model-int8"
    bundled.static().save(str(folder))
    assert models.precision(models.load(str(folder), device="cpu")) == "float32"


def test_a_model_that_another_runtime_runs_says_its_own_precision() -> None:
    assert models.precision(bundled.int8()) == "int8"
