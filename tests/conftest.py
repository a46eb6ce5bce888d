"""What every test shares: no network, no record of a reader's progress, and one MiniLM for all."""

import gc
import os
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["EMBEDDING_COURSE_PROGRESS"] = os.path.join(tempfile.gettempdir(), f"progress-{os.getpid()}.json")

import pytest
import torch
from hypothesis import HealthCheck, settings
from sentence_transformers import SentenceTransformer

import helpers
from tests.grading.zoo_report import pytest_terminal_summary  # noqa: F401, a hook: the zoo's table

torch.set_num_threads(1)  # on shared cores, threads that wait for one another take longer than one alone

# For --hypothesis-profile=long, which is looked for before any test is read.
settings.register_profile("long", max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))

LONG = ("test_jupyterlab", "test_papermill", "test_site", "test_grading")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests first, so that none of them is left to one worker at the end."""
    items.sort(key=lambda item: item.path.stem not in LONG)


def pytest_collection_finish() -> None:
    """Spare `gc.collect`, which the benchmark calls twice a model, half a second over imported modules."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def minilm() -> SentenceTransformer:
    return helpers.load("all-MiniLM-L6-v2", device="cpu")
