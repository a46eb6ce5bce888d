"""What every test shares: no network, and one MiniLM for all."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
from sentence_transformers import SentenceTransformer

import helpers


@pytest.fixture(scope="session")
def minilm() -> SentenceTransformer:
    return helpers.load("all-MiniLM-L6-v2", device="cpu")
