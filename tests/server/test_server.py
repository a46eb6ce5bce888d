"""The server, started as its users start it, answers the field's clients, and a bad request gets a clear 4xx."""

import asyncio
import base64
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import schemathesis
import torch
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings, strategies
from langchain_openai import OpenAIEmbeddings
from pydantic import SecretStr
from schemathesis import GenerationMode
from schemathesis import checks as schema_checks
from sentence_transformers import SentenceTransformer
from torch.nn.functional import layer_norm, normalize

from helpers import data
from helpers.encode import encode
from helpers.server import Settings, create_app
from helpers.server.batcher import HALF_LIFE, Batcher, Job, QueueFullError
from helpers.server.wire import EmbeddingRequest, answer

MODEL, KEY, BODY_LIMIT, QUEUE_LIMIT = "all-MiniLM-L6-v2", "a-key", 2_000_000, 20_000
TEXTS = sorted(data.texts(), key=len)[:160:8]
CHECKED = [
    schema_checks.not_a_server_error,
    schema_checks.status_code_conformance,
    schema_checks.content_type_conformance,
    schema_checks.response_schema_conformance,
]


@contextmanager
def serving(log: Path, *target: str, **env: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server on a free port of this machine: its address and its process, killed at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    target = target or ("helpers.server:create_app", "--factory")
    command = [sys.executable, "-m", "uvicorn", *target, "--app-dir", str(log.parent), "--port", str(port)]
    env = {f"EMBED_{name.upper()}": value for name, value in env.items()} | {"OMP_NUM_THREADS": "1"}
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=os.environ | env, stdout=out, stderr=out)
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.kill()
        process.wait(30)


def wait_until_ready(url: str, process: subprocess.Popen[bytes], seconds: float = 90) -> list[int]:
    """The statuses of /health on the way to 200."""
    seen: list[int] = []
    for _ in range(int(seconds / 0.1)):
        try:
            seen.append(httpx.get(f"{url}/health", timeout=5).status_code)
        except httpx.TransportError:
            assert process.poll() is None, "the server ended"
        if seen[-1:] == [200]:
            return seen
        time.sleep(0.1)
    raise AssertionError(f"not ready after {seconds} s: {seen}")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server") / "log"


@pytest.fixture(scope="module")
def server(log: Path) -> Iterator[httpx.Client]:
    limits = {"max_body_bytes": str(BODY_LIMIT), "max_queue_tokens": str(QUEUE_LIMIT)}
    with serving(log, api_keys=f"other,{KEY}", **limits) as (url, process):
        assert 503 in wait_until_ready(url, process), "/health must say 503 while the model loads"
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60) as client:
            yield client


@pytest.fixture(scope="module")
def client(server: httpx.Client) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.base_url}/v1", api_key=KEY, max_retries=0, timeout=60)


def post(server: httpx.Client, **body: Any) -> httpx.Response:
    return server.post("/v1/embeddings", json={"model": MODEL} | body)


def embedded(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return np.array([item["embedding"] for item in response.json()["data"]])


def told(response: httpx.Response, status: int) -> str:
    """The message of an error in OpenAI's shape."""
    assert response.status_code == status, response.text[:300]
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return str(error["message"])


def metric(server: httpx.Client, name: str) -> float:
    """A figure of /metrics, or 0 for a series that nothing has been counted in."""
    lines = server.get("/metrics").text.splitlines()
    return float(next((line.split()[-1] for line in lines if line.startswith(f"{name} ")), 0))


def requests(server: httpx.Client, route: str, status: int) -> tuple[float, float]:
    """How many requests were counted, and how many were timed."""
    labels = f'{{route="{route}",status="{status}"}}'
    return metric(server, f"embed_requests_total{labels}"), metric(server, f"embed_request_seconds_count{labels}")


# Clients


@pytest.mark.parametrize("encoding_format", ["float", "base64", None])
def test_the_openai_client_gets_the_librarys_vectors(
    client: openai.OpenAI, minilm: SentenceTransformer, encoding_format: Any
) -> None:
    given: Any = openai.omit if encoding_format is None else encoding_format
    found = client.embeddings.create(input=TEXTS, model=MODEL, encoding_format=given, extra_body={"truncate": True})
    vectors: Any = [item.embedding for item in found.data]
    if encoding_format == "base64":
        vectors = [np.frombuffer(base64.b64decode(vector), "<f4") for vector in vectors]
    np.testing.assert_allclose(vectors, minilm.encode(TEXTS), atol=1e-5, rtol=0)
    assert [item.index for item in found.data] == list(range(len(TEXTS)))


def test_a_text_token_ids_and_lists_of_either_give_the_same_vector_and_usage(
    client: openai.OpenAI, minilm: SentenceTransformer
) -> None:
    ids = minilm.tokenizer("where are the keys?")["input_ids"]
    for form in ("where are the keys?", ["where are the keys?"], ids, [ids]):
        found = client.embeddings.create(input=form, model=MODEL)
        np.testing.assert_allclose(found.data[0].embedding, minilm.encode("where are the keys?"), atol=1e-5, rtol=0)
        assert found.usage.prompt_tokens == found.usage.total_tokens == len(ids)


def test_langchain_gets_the_librarys_vectors_from_texts(client: openai.OpenAI, minilm: SentenceTransformer) -> None:
    chain = OpenAIEmbeddings(
        model=MODEL,
        base_url=str(client.base_url),
        api_key=SecretStr(KEY),
        check_embedding_ctx_length=False,  # type: ignore[arg-type]
    )
    np.testing.assert_allclose(chain.embed_documents(["one", "two"]), minilm.encode(["one", "two"]), atol=1e-5, rtol=0)
    np.testing.assert_allclose(chain.embed_query("three"), minilm.encode("three"), atol=1e-5, rtol=0)


def test_langchains_default_sends_ids_of_another_tokenizer_and_is_told_what_to_set(
    client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tiktoken

    pattern, ranks = r"\w+|\W", {bytes([i]): i for i in range(256)}
    bytewise = tiktoken.Encoding("bytes", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: bytewise)  # the real one is a download
    chain = OpenAIEmbeddings(model=MODEL, base_url=str(client.base_url), api_key=SecretStr(KEY))
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
        chain.embed_documents(["these ids are all in MiniLM's vocabulary, and mean something else"])


def test_the_models_list_says_what_the_weights_are(client: openai.OpenAI) -> None:
    (found,) = client.models.list()
    assert found.id == MODEL
    assert found.model_extra is not None and found.model_extra["weights"].startswith("bundled")
    assert found.model_extra["dimensions"] == 384


def test_the_catalogues_full_name_is_the_same_model(server: httpx.Client) -> None:
    assert len(embedded(post(server, input="a", model=f"sentence-transformers/{MODEL}"))) == 1


# Requests that are wrong

WRONG: dict[str, tuple[bytes, int, str]] = {
    "no JSON": (b"{", 400, "no JSON"),
    "invalid UTF-8": (b'{"model": "%s", "input": "\xff\xfe"}' % MODEL.encode(), 400, "UTF-8"),
    "a lone surrogate": (b'{"model": "%s", "input": "\\ud800"}' % MODEL.encode(), 400, "UTF-8"),
    "NaN": (b'{"model": "%s", "input": NaN}' % MODEL.encode(), 400, "input must be"),
    "NaN among texts": (b'{"model": "%s", "input": ["a", NaN]}' % MODEL.encode(), 400, "input must be"),
    "an array": (b"[]", 400, "body"),
    "no body": (b"", 400, "no JSON"),
    "no input": (json.dumps({"model": MODEL}).encode(), 400, "input"),
    "no model": (json.dumps({"input": "a"}).encode(), 400, "model"),
} | {
    f"{name}": (json.dumps({"model": MODEL, "input": "a"} | body).encode(), status, words)
    for name, body, status, words in [
        ("an empty text", {"input": ""}, 400, "none of them empty"),
        ("an empty list", {"input": []}, 400, "none of them empty"),
        ("an empty list in a list", {"input": [[]]}, 400, "none of them empty"),
        ("an empty text among others", {"input": ["a", ""]}, 400, "none of them empty"),
        ("texts and ids mixed", {"input": ["a", 3]}, 400, "input must be"),
        ("true as an id", {"input": [True]}, 400, "input must be"),
        ("null", {"input": None}, 400, "input must be"),
        ("a negative id", {"input": [101, -4, 102]}, 400, "input must be"),
        ("an id beyond the vocabulary", {"input": [101, 99_999, 102]}, 400, "no token ids of all-MiniLM"),
        ("an id beyond all numbers", {"input": [101, 10**30, 102]}, 400, "input must be"),
        ("10,000 inputs", {"input": ["a"] * 10_000}, 400, "at most 2048"),
        ("a text of 1 MB", {"input": "word " * 200_000}, 400, "200002 tokens and the model reads 256"),
        ("a body of 3 MB", {"input": "word " * 600_000}, 413, "larger than 2000000 bytes"),
        ("more tokens than the queue holds", {"input": ["word " * 200] * 200}, 413, "at most 20000"),
        ("another model", {"model": "text-embedding-3-small"}, 404, "there is 'all-MiniLM-L6-v2'"),
        ("dimensions of a model that isn't Matryoshka", {"dimensions": 128}, 400, "isn't trained to be cut"),
        ("no dimensions", {"dimensions": 0}, 400, "dimensions"),
        ("an unknown format", {"encoding_format": "int8"}, 400, "encoding_format"),
        ("an unknown input type", {"input_type": "passage"}, 400, "input_type"),
        ("a misspelt field", {"input_typ": "query"}, 400, "no field 'input_typ'"),
    ]
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_request_is_told_what_is_wrong(server: httpx.Client, name: str) -> None:
    body, status, words = WRONG[name]
    assert words in told(server.post("/v1/embeddings", content=body), status)


def test_a_body_without_a_declared_length_meets_the_same_limit(server: httpx.Client) -> None:
    chunks = (b" " * 100_000 for _ in range(30))
    assert "larger than" in told(server.post("/v1/embeddings", content=chunks), 413)


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer", "Basic a-key", "Bearer a-key2", "Bearer ключ", None])
def test_without_a_valid_key_nothing_but_health_answers(server: httpx.Client, header: str | None) -> None:
    headers = {} if header is None else {b"Authorization": header.encode()}
    with httpx.Client(base_url=server.base_url, headers=headers) as stranger:
        for response in (stranger.get("/v1/models"), stranger.get("/metrics"), post(stranger, input="a")):
            assert "key is missing or wrong" in told(response, 401)
            assert response.headers["WWW-Authenticate"] == "Bearer"
        assert stranger.get("/health").status_code == 200


def test_the_openai_client_knows_these_errors(server: httpx.Client, client: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").embeddings.create(input="a", model=MODEL)
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(input="a", model="gpt")
    with pytest.raises(openai.BadRequestError, match="shorten it") as caught:
        client.embeddings.create(input="word " * 400, model=MODEL)
    assert (caught.value.param, caught.value.code) == ("input", "context_length_exceeded")


def test_unknown_paths_and_methods_answer_in_the_same_shape(server: httpx.Client) -> None:
    assert "/nothing" in told(server.get("/nothing"), 404)
    assert "Not Allowed" in told(server.get("/v1/embeddings"), 405)


def test_every_answer_is_counted_and_timed_by_route_and_status(server: httpx.Client) -> None:
    asked: dict[tuple[str, int], Callable[[], httpx.Response]] = {
        ("/v1/embeddings", 200): lambda: post(server, input="a"),
        ("/v1/embeddings", 400): lambda: post(server, input=""),
        ("/v1/embeddings", 401): lambda: server.post("/v1/embeddings", headers={"Authorization": "Bearer wrong"}),
        ("/v1/embeddings", 405): lambda: server.get("/v1/embeddings"),
        ("/v1/models", 401): lambda: server.get("/v1/models", headers={"Authorization": "Bearer wrong"}),
        ("none", 404): lambda: server.get("/a-path-of-a-stranger"),
    }
    before = {which: requests(server, *which) for which in asked}
    for which, ask in asked.items():
        assert ask().status_code == which[1]
        count = before[which][0] + 1
        assert requests(server, *which) == (count, count), which
    assert "stranger" not in server.get("/metrics").text


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        *(("/v1/embeddings", mode) for mode in GenerationMode),
        *((path, GenerationMode.POSITIVE) for path in ("/v1/models", "/health", "/metrics")),  # nothing to get wrong
    ],
)
def test_schemathesis_finds_no_request_that_breaks_the_server(
    server: httpx.Client, path: str, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_url(f"{server.base_url}/openapi.json")
    tried: Counter[tuple[str, int]] = Counter()

    examples = 60 if path == "/v1/embeddings" else 10

    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(strategies.data())
    def each(drawn: Any) -> None:
        case = drawn.draw(operation.as_strategy(generation_mode=mode))
        response = case.call(headers=dict(server.headers))
        assert response.status_code < 500, response.text
        case.validate_response(response, checks=CHECKED)
        tried[case.path, response.status_code] += 1

    operation = schema[path]["POST" if path == "/v1/embeddings" else "GET"]
    each()
    assert sum(tried.values()) >= (40 if path == "/v1/embeddings" else 1), tried


# Long texts


def test_a_text_cut_on_request_is_the_librarys_and_is_counted_and_told(
    server: httpx.Client, minilm: SentenceTransformer
) -> None:
    before = metric(server, "embed_truncated_texts_total")
    response = post(server, input=["short", "word " * 400], truncate=True)
    np.testing.assert_allclose(embedded(response), minilm.encode(["short", "word " * 400]), atol=1e-5, rtol=0)
    assert response.json()["truncated"] == [1] and response.headers["X-Truncated-Inputs"] == "1"
    assert response.json()["usage"]["total_tokens"] == 3 + 256
    assert metric(server, "embed_truncated_texts_total") == before + 1


# Load


def test_under_concurrency_each_answer_is_that_texts_own_vector(
    server: httpx.Client, minilm: SentenceTransformer
) -> None:
    wanted = dict(zip(TEXTS, encode(minilm, TEXTS), strict=True))

    def ask(seed: int) -> int:
        draw = random.Random(seed)
        with httpx.Client(base_url=server.base_url, headers=server.headers, timeout=60) as one:
            for _ in range(4):
                texts = draw.sample(TEXTS, draw.choice([1, 1, 1, 3]))
                found = embedded(post(one, input=texts, truncate=True))
                np.testing.assert_allclose(found, [wanted[text] for text in texts], atol=1e-5, rtol=0)
        return seed

    with ThreadPoolExecutor(16) as pool:
        assert len(list(pool.map(ask, range(16)))) == 16
    assert metric(server, "embed_queue_tokens") == 0
    assert metric(server, "embed_batch_texts_count") < metric(server, "embed_texts_total"), "nothing was batched"
    assert "_created" not in server.get("/metrics").text


def test_a_full_queue_answers_429_with_retry_after_and_large_requests_count_in_tokens(server: httpx.Client) -> None:
    def large(_: int) -> httpx.Response:
        return httpx.post(
            f"{server.base_url}/v1/embeddings",
            headers=server.headers,
            json={"model": MODEL, "input": ["word " * 100] * 100},
            timeout=60,
        )

    with ThreadPoolExecutor(4) as pool:
        responses = list(pool.map(large, range(4)))
    refused = [response for response in responses if response.status_code != 200]
    assert 1 <= len(refused) < 4
    for response in refused:
        assert "queue is full" in told(response, 429)
        assert 1 <= int(response.headers["Retry-After"]) <= 60


def test_a_request_whose_client_went_away_is_never_encoded(server: httpx.Client) -> None:
    gone = metric(server, "embed_abandoned_requests_total")
    encoded = metric(server, "embed_batch_tokens_sum")
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{server.base_url}/v1/embeddings",
            headers=server.headers,
            json={"model": MODEL, "input": ["word " * 100] * 150},
            timeout=0.5,
        )
    for _ in range(100):
        if metric(server, "embed_queue_tokens") == 0:
            break
        time.sleep(0.1)
    assert metric(server, "embed_abandoned_requests_total") == gone + 1
    assert metric(server, "embed_batch_tokens_sum") - encoded < 102 * 150


def test_logs_are_json_and_hold_no_text(server: httpx.Client, log: Path) -> None:
    post(server, input="a secret sentence about a pelican")
    post(server, input="another pelican", dimensions=3)
    time.sleep(0.2)
    written = log.read_text()
    assert "pelican" not in written
    requests = [json.loads(line) for line in written.splitlines() if '"message": "request"' in line]
    assert {"id", "texts", "tokens", "truncated", "status", "ms"} <= set(requests[-1])
    assert [line["status"] for line in requests[-2:]] == [200, 400]


@pytest.mark.skipif(sys.platform == "win32", reason="there SIGTERM ends a process at once")
def test_sigterm_under_load_answers_all_that_was_accepted_and_then_ends(tmp_path: Path) -> None:
    with serving(tmp_path / "log", max_wait_s="60") as (url, process):
        wait_until_ready(url, process)
        with ThreadPoolExecutor(8) as pool, httpx.Client(base_url=url, timeout=60) as one:
            waiting = [
                pool.submit(httpx.post, f"{url}/v1/embeddings", json={"model": MODEL, "input": [text] * 10}, timeout=60)
                for text in ["word " * 100] * 8
            ]
            for _ in range(100):  # until all eight are accepted
                if metric(one, "embed_queue_tokens") > 7 * 10 * 102:
                    break
                time.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            assert [len(embedded(future.result(60))) for future in waiting] == [10] * 8
        assert process.wait(30) in (0, -signal.SIGTERM)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/health")


def test_when_the_worker_dies_those_who_wait_are_told_and_the_process_ends_with_code_1(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        """
from helpers.server import create_app
from helpers.encode.tokens import TokenizedModel

works = TokenizedModel.encode


def encode(self, rows):
    if len(rows) > 1:
        raise SystemExit
    return works(self, rows)


TokenizedModel.encode = encode
app = create_app()
"""
    )
    with serving(tmp_path / "log", "broken:app") as (url, process):
        wait_until_ready(url, process)
        with httpx.Client(base_url=url, timeout=60) as one:
            assert len(embedded(post(one, input="a"))) == 1
            assert "its log has" in told(post(one, input=["a", "b"]), 500)
        assert process.wait(30) == 1
    assert "The worker has died" in (tmp_path / "log").read_text()


# The queue, with an encoder that works when it is told to


class Slow:
    """An encoder that takes one batch a permit, and a clock that shows `seconds` a batch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.seconds, self.now, self.permits = seconds, 0.0, threading.Semaphore(0)
        monkeypatch.setattr("helpers.server.batcher.time.perf_counter", lambda: self.now)

    def encode(self, rows: list[list[int]]) -> Any:
        assert self.permits.acquire(timeout=30)
        self.now += self.seconds
        return np.zeros((len(rows), 2), np.float32)

    def run(self, behave: Callable[[Batcher], Awaitable[None]], max_queue_tokens: int = 10_000) -> None:
        """Run what a test does with a batcher of 10 tokens a batch and 5 seconds to wait."""

        async def within() -> None:
            batcher = Batcher(self.encode, dims=2, token_budget=10, max_queue_tokens=max_queue_tokens, max_wait_s=5)
            try:
                await behave(batcher)
            finally:
                self.permits.release(1000)
                batcher.close()

        asyncio.run(within())

    async def finish(self, *jobs: Job) -> None:
        """Let the encoder do these jobs, of ten tokens a row."""
        self.permits.release(sum(len(job.rows) for job in jobs))
        for job in jobs:
            await asyncio.wait_for(job.future, 30)


def rows(count: int) -> list[list[int]]:
    return [[1] * 10] * count


def test_before_anything_is_measured_only_the_limit_in_tokens_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    async def behave(batcher: Batcher) -> None:
        jobs = [batcher.submit(rows(40)), batcher.submit(rows(60))]
        with pytest.raises(QueueFullError) as refused:
            batcher.submit(rows(1))
        assert refused.value.retry_after_s == 1
        await slow.finish(*jobs)

    slow = Slow(monkeypatch, seconds=1)
    slow.run(behave, max_queue_tokens=1000)


def test_what_would_wait_too_long_is_refused_and_told_when_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def behave(batcher: Batcher) -> None:
        await slow.finish(batcher.submit(rows(1)))
        assert batcher.rate == 10
        jobs = [batcher.submit(rows(3)), batcher.submit(rows(2))]  # 50 tokens at 10 a second: the 5 seconds
        for count, wait in ((1, 1), (2, 2), (1000, 5)):
            with pytest.raises(QueueFullError) as refused:
                batcher.submit(rows(count))
            assert refused.value.retry_after_s == wait
        await slow.finish(*jobs)
        assert batcher.queue_tokens == 0

    slow = Slow(monkeypatch, seconds=1)
    slow.run(behave)


def test_the_fixed_cost_of_a_small_batch_is_not_taken_for_the_models_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def behave(batcher: Batcher) -> None:
        await slow.finish(batcher.submit([[1]]))
        assert batcher.rate == 10 / 2

    slow = Slow(monkeypatch, seconds=1)
    slow.run(behave)


def test_an_empty_queue_takes_a_request_however_slow_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    async def behave(batcher: Batcher) -> None:
        await slow.finish(batcher.submit(rows(1)))
        large = batcher.submit(rows(50))
        with pytest.raises(QueueFullError):
            batcher.submit(rows(1))
        await slow.finish(large)

    slow = Slow(monkeypatch, seconds=3600)
    slow.run(behave)


def test_a_slow_start_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    async def behave(batcher: Batcher) -> None:
        await slow.finish(batcher.submit(rows(1)))
        assert batcher.rate == 0.1
        slow.seconds = 0.01
        for _ in range(12 * HALF_LIFE):
            await slow.finish(batcher.submit(rows(1)))
        assert batcher.rate > 500  # of 1000 at last
        await slow.finish(batcher.submit(rows(1)), batcher.submit(rows(200)))

    slow = Slow(monkeypatch, seconds=100)
    slow.run(behave)


# Models and settings, without a socket


def test_one_failing_batch_fails_its_requests_and_not_the_server() -> None:
    with started() as app_client:
        batcher = app_client.app.state.service.batcher
        works, batcher.encode = batcher.encode, lambda rows: 1 / 0
        assert "its log has" in told(post(app_client, input="a"), 500)
        batcher.encode = works
        assert app_client.get("/health").status_code == 200
        assert len(embedded(post(app_client, input="a"))) == 1


def test_a_large_answer_is_written_beside_the_event_loop_even_if_its_request_was_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = []

    def noted(*args: Any, **given: Any) -> bytes:
        threads.append(threading.current_thread())
        return answer(*args, **given)

    monkeypatch.setattr("helpers.server.service.answer", noted)
    with started() as app_client:
        for count in (1, 100, 1):
            assert len(embedded(post(app_client, input=["a"] * count))) == count
    loop, beside, again = threads
    assert loop is again and beside is not loop


def test_input_type_puts_the_models_prompt_before_a_text() -> None:
    with started(model="intfloat/e5-small-v2", source="stand-in") as app_client:
        plain, query, by_hand = (
            embedded(post(app_client, model="e5-small-v2", **body))[0]
            for body in ({"input": "keys"}, {"input": "keys", "input_type": "query"}, {"input": "query: keys"})
        )
        np.testing.assert_allclose(query, by_hand, atol=1e-6)
        assert np.abs(query - plain).max() > 0.01
        (listed,) = app_client.get("/v1/models").json()["data"]
        assert listed["weights"].startswith("stand-in") and listed["prompts"]["document"] == "passage: "


def test_dimensions_of_a_matryoshka_model_are_cut_and_normalised() -> None:
    with started(model="google/embeddinggemma-300m", source="stand-in") as app_client:
        body = {"model": "google/embeddinggemma-300m", "input": ["keys", "and a longer text"]}
        full, short = embedded(post(app_client, **body)), embedded(post(app_client, **body, dimensions=128))
        assert short.shape == (2, 128)
        np.testing.assert_allclose(
            short, full[:, :128] / np.linalg.norm(full[:, :128], axis=1, keepdims=True), atol=1e-6
        )
        told(post(app_client, **body, dimensions=769), 400)


def test_nomics_dimensions_are_cut_after_a_layer_norm_as_they_were_trained() -> None:
    name = "nomic-ai/nomic-embed-text-v1.5"
    with started(model=name, source="stand-in") as app_client:
        body = {"model": name, "input": ["search_query: keys", "search_document: a longer text"]}
        full, short = embedded(post(app_client, **body)), embedded(post(app_client, **body, dimensions=256))
    by_hand = normalize(layer_norm(torch.tensor(full), [full.shape[1]])[:, :256], dim=1)
    np.testing.assert_allclose(short, by_hand, atol=1e-6)
    assert np.abs(short - full[:, :256] / np.linalg.norm(full[:, :256], axis=1, keepdims=True)).max() > 1e-5


def test_a_stand_in_is_not_served_unless_asked_for(tmp_path: Path) -> None:
    with serving(tmp_path / "log", model="BAAI/bge-small-en-v1.5", source="auto") as (_, process):
        assert process.wait(90) != 0
    assert "EMBED_SOURCE=stand-in" in (tmp_path / "log").read_text()


def test_settings_are_read_from_the_environment_and_each_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBED_API_KEYS", "one, two")
    monkeypatch.setenv("EMBED_TOKEN_BUDGET", "64")
    found = Settings()
    assert found.keys == [b"one", b"two"] and found.token_budget == 64
    assert "one, two" not in repr(found)
    assert all(field.description for field in Settings.model_fields.values())
    assert all(field.description for field in EmbeddingRequest.model_fields.values())


@contextmanager
def started(**given: Any) -> Iterator[Any]:
    """A client of an application in this process, once its model is ready."""
    with TestClient(create_app(Settings(**given)), raise_server_exceptions=False) as app_client:
        for _ in range(300):
            if app_client.get("/health").status_code == 200:
                break
            time.sleep(0.1)
        yield app_client
