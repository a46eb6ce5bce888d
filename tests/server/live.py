"""Servers to test: as their users start them, or within this process; and how to ask them."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn
from fastapi.testclient import TestClient

from helpers import data
from helpers.server import Settings, create_app
from helpers.server.service import Service

MODEL, KEY, BODY_LIMIT, QUEUE_LIMIT, BODY_SECONDS = "all-MiniLM-L6-v2", "a-key", 2_000_000, 20_000, 3
TEXTS = sorted(data.texts(), key=len)[:160:8]


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


@contextmanager
def started(**given: Any) -> Iterator[Any]:
    """A client of an application in this process, once its model is ready."""
    with TestClient(create_app(Settings(**given)), raise_server_exceptions=False) as app_client:
        for _ in range(300):
            if app_client.get("/health").status_code == 200:
                break
            time.sleep(0.1)
        yield app_client


@contextmanager
def within(**given: Any) -> Iterator[tuple[str, Service]]:
    """A server with real sockets in a thread of this process, so that a test can reach into it: address and service."""
    app = create_app(Settings(**given))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        service: Service = app.state.service
        for _ in range(900):
            if service.ready:
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", service
    finally:
        server.should_exit = True
        thread.join(30)


def request_of(body: bytes, **headers: str) -> bytes:
    """An HTTP request for embeddings, as bytes."""
    given = {"Host": "test", "Authorization": f"Bearer {KEY}", "Content-Length": str(len(body))} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    lines = [f"{name}: {value}" for name, value in given.items() if value]
    return "\r\n".join(["POST /v1/embeddings HTTP/1.1", *lines, "", ""]).encode() + body


def connected(url: str, seconds: float = 30) -> socket.socket:
    """A connection to a server."""
    where = httpx.URL(url)
    return socket.create_connection((where.host, where.port or 80), timeout=seconds)


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
