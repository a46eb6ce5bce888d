"""One server for all tests of this folder, and OpenAI's client for it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from tests.server.live import BODY_LIMIT, BODY_SECONDS, KEY, QUEUE_LIMIT, serving, wait_until_ready


@pytest.fixture(scope="package")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server") / "log"


@pytest.fixture(scope="package")
def server(log: Path) -> Iterator[httpx.Client]:
    limits = {"max_body_bytes": str(BODY_LIMIT), "max_queue_tokens": str(QUEUE_LIMIT), "max_body_s": str(BODY_SECONDS)}
    with serving(log, api_keys=f"other,{KEY}", **limits) as (url, process):
        assert 503 in wait_until_ready(url, process), "/health must say 503 while the model loads"
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60) as client:
            yield client


@pytest.fixture(scope="package")
def client(server: httpx.Client) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.base_url}/v1", api_key=KEY, max_retries=0, timeout=60)
