"""Many clients at once, large requests beside short ones, clients that go away, and the end of the server."""

import asyncio
import http.client
import json
import random
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import psutil
import pytest
from sentence_transformers import SentenceTransformer

from helpers.encode import encode
from helpers.encode.tokens import TokenizedModel
from tests.server.live import (
    BODY_SECONDS,
    MODEL,
    QUEUE_LIMIT,
    TEXTS,
    connected,
    embedded,
    metric,
    post,
    request_of,
    requests,
    serving,
    told,
    wait_until_ready,
    within,
)


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until something is true, or fail."""
    for _ in range(int(seconds / 0.05)):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


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
    batches = metric(server, "embed_batch_texts_count")
    assert 0 < batches < metric(server, "embed_texts_total"), "nothing was batched"
    assert "_created" not in server.get("/metrics").text


def test_the_tokens_of_the_batches_are_those_that_are_answered(server: httpx.Client) -> None:
    before = metric(server, "embed_batch_tokens_sum")
    used = post(server, input=TEXTS, truncate=True).json()["usage"]["total_tokens"]
    assert metric(server, "embed_batch_tokens_sum") == before + used > before


def test_a_request_of_many_batches_gets_the_librarys_vectors(server: httpx.Client, minilm: SentenceTransformer) -> None:
    texts = [f"{i} " + "word " * 100 for i in range(60)]
    np.testing.assert_allclose(embedded(post(server, input=texts)), minilm.encode(texts), atol=1e-5, rtol=0)


@pytest.mark.execution
def test_64_short_requests_are_answered_beside_large_ones_and_before_them() -> None:
    # The encoder stands still until all are there, and nobody waits too long: so no speed of a machine matters.
    begin, encoded = threading.Event(), list[int]()
    large = {"input": ["a " * 5_000] * 60, "truncate": True}  # 300,000 tokens to count, 15,360 to encode

    def ask(url: str, body: dict[str, Any]) -> int:
        with httpx.Client(base_url=url, timeout=600) as one:
            return post(one, **body).status_code

    with within(max_wait_s=600, max_queue_tokens=QUEUE_LIMIT) as (url, service), ThreadPoolExecutor(72) as pool:
        _, batcher = service.model()
        works = batcher.encode

        def encode_in_time(rows: Any) -> Any:
            begin.wait(600)
            encoded.extend(map(len, rows))
            return works(rows)

        batcher.encode = encode_in_time
        try:
            first = pool.submit(ask, url, large)
            until(lambda: any(job.taken for job in list(batcher._queue)), 300)
            short = [pool.submit(ask, url, {"input": f"short {i}"}) for i in range(64)]
            more = [pool.submit(ask, url, large) for _ in range(7)]
            until(lambda: len(batcher._queue) == 1 + 64 and all(future.done() for future in more), 300)
        finally:
            begin.set()
        assert [future.result() for future in short] == [200] * 64
        assert (first.result(), {future.result() for future in more}) == (200, {429})
        assert sum(tokens < 256 for tokens in encoded) == 64
        assert max(i for i, tokens in enumerate(encoded) if tokens < 256) < len(encoded) - 20


@pytest.mark.execution
def test_twelve_of_the_largest_bodies_whose_clients_hang_up_leave_no_work_and_no_memory(tmp_path: Path) -> None:
    body = json.dumps({"model": MODEL, "input": ["a " * 5_000] * 190, "truncate": True}).encode()
    with serving(tmp_path / "log", threads="1") as (url, process), httpx.Client(base_url=url, timeout=60) as one:
        wait_until_ready(url, process)
        assert len(embedded(post(one, input=["word " * 200] * 30))) == 30
        memory = psutil.Process(process.pid).memory_info
        before, highest = memory().rss, 0
        for _ in range(12):
            with connected(url) as client:
                client.sendall(request_of(body))
        for _ in range(20):
            assert len(embedded(post(one, input="short"))) == 1
            highest = max(highest, memory().rss)
            time.sleep(0.1)
        until(lambda: metric(one, "embed_queue_tokens") == 0)
        assert highest - before < 300e6, f"{(highest - before) / 1e6:.0f} MB more"
        gone, refused = (requests(one, "/v1/embeddings", status)[0] for status in (499, 429))
        assert gone + refused == 12 and gone == metric(one, "embed_abandoned_requests_total") > 0


def test_who_hung_up_while_others_were_tokenized_is_dropped_before_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenized: list[int] = []
    works = TokenizedModel.tokenize

    def noted(self: TokenizedModel, texts: Any) -> Any:
        tokenized.append(len(texts))
        return works(self, texts)

    with within() as (url, service), httpx.Client(base_url=url, timeout=60) as one:
        monkeypatch.setattr(TokenizedModel, "tokenize", noted)
        turn = threading.Event()
        service.large.submit(turn.wait)
        with connected(url) as client:
            client.sendall(request_of(json.dumps({"model": MODEL, "input": ["word " * 50] * 100}).encode()))
            until(lambda: service.large._work_queue.qsize() == 1)
        until(lambda: metric(one, "embed_abandoned_requests_total") == 1)
        turn.set()
        assert len(embedded(post(one, input=["word " * 50] * 50))) == 50
        assert 100 not in tokenized and metric(one, "embed_queue_tokens") == 0
        assert requests(one, "/v1/embeddings", 499) == (1, 1)


IN_CHUNKS = {"Content_Length": "", "Transfer_Encoding": "chunked"}
CUT = {
    "a body shorter than declared": request_of(b"{", Content_Length="1000"),
    "a body in chunks, broken off": request_of(b"5\r\n{{{{{\r\n", **IN_CHUNKS),
    "a body in chunks, and nonsense": request_of(b"5\r\n{{{{{\r\nZZ\r\n", **IN_CHUNKS),
}


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_goes_away_inside_its_body_is_a_499_and_no_error(
    server: httpx.Client, log: Path, reset: bool
) -> None:
    for name, sent in CUT.items():
        before, errors = requests(server, "/v1/embeddings", 499)[0], log.read_text().count('"error"')
        gone = metric(server, "embed_abandoned_requests_total")
        with connected(str(server.base_url)) as client:
            client.sendall(sent)
            time.sleep(0.1)
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        until(lambda before=before: requests(server, "/v1/embeddings", 499)[0] == before + 1)  # type: ignore[misc]
        assert metric(server, "embed_abandoned_requests_total") == gone + 1, name
        assert requests(server, "/v1/embeddings", 500) == (0, 0), name
        assert log.read_text().count('"error"') == errors, name


def test_a_body_that_comes_too_slowly_is_a_408_and_its_connection_closed(server: httpx.Client) -> None:
    start = time.monotonic()
    with connected(str(server.base_url)) as client:
        client.sendall(request_of(b"", Content_Length="1000"))
        for _ in range(BODY_SECONDS * 2 - 1):  # a byte now and then, never long silent
            client.sendall(b" ")
            time.sleep(0.5)
        answer = b""
        while more := client.recv(10_000):  # until it is closed
            answer += more
    assert BODY_SECONDS - 0.5 <= time.monotonic() - start < BODY_SECONDS + 10
    assert answer.startswith(b"HTTP/1.1 408") and b"didn't arrive within 3 s" in answer


def test_large_bodies_have_a_limit_together_and_small_ones_are_read_all_the_same() -> None:
    with within(max_body_bytes=30_000) as (url, service), httpx.Client(base_url=url, timeout=60) as one:
        service.bodies.held = 64 * 30_000
        large = post(one, input=["word " * 100] * 50)
        assert "Too many large requests" in told(large, 429)
        assert large.headers["Retry-After"] == "1"
        assert len(embedded(post(one, input=["word " * 100] * 20))) == 20
        service.bodies.held = 0
        assert len(embedded(post(one, input=["word " * 100] * 50))) == 50
        until(lambda: service.bodies.held == 0)


@pytest.mark.execution
def test_a_client_that_keeps_its_connection_is_told_with_its_last_answer_when_the_server_ends(tmp_path: Path) -> None:
    last: list[str | None] = []

    def keep(url: str) -> int:
        where, answered, closing = httpx.URL(url), 0, None
        one = http.client.HTTPConnection(where.host, where.port, timeout=60)
        body = json.dumps({"model": MODEL, "input": "short"})
        while closing is None:
            one.request("POST", "/v1/embeddings", body)  # an error here is a client that met a closed connection
            response = one.getresponse()
            assert response.status == 200 and response.read()
            answered, closing = answered + 1, response.headers["Connection"]
        last.append(closing)
        return answered

    with serving(tmp_path / "log") as (url, process):
        wait_until_ready(url, process)
        with ThreadPoolExecutor(12) as pool:
            clients = [pool.submit(keep, url) for _ in range(12)]
            time.sleep(2)
            process.send_signal(signal.SIGTERM)
            assert min(client.result(60) for client in clients) > 1
        assert last == ["close"] * 12
        assert process.wait(30) in (0, -signal.SIGTERM)


@pytest.mark.execution
def test_200_openai_clients_of_one_short_text_each_all_get_through_on_one_core(tmp_path: Path) -> None:
    async def ask(url: str) -> list[int]:
        async def one(i: int) -> int:
            async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=2, timeout=60) as client:
                found = await client.embeddings.create(model=MODEL, input=f"text {i} " + "short " * 20)
            return len(found.data[0].embedding)

        return await asyncio.gather(*(one(i) for i in range(200)))

    with serving(tmp_path / "log", threads="1", max_queue_tokens="1500") as (url, process):
        wait_until_ready(url, process)
        assert asyncio.run(ask(url)) == [384] * 200
        with httpx.Client(base_url=url, timeout=60) as one:
            assert requests(one, "/v1/embeddings", 429)[0] > 20, "nobody was refused, so nobody came back"


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
    until(lambda: metric(server, "embed_queue_tokens") == 0)
    assert metric(server, "embed_abandoned_requests_total") == gone + 1
    assert metric(server, "embed_batch_tokens_sum") - encoded < 102 * 150


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
