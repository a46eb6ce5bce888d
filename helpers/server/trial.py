"""Try a server as its users meet it: a process of its own, and clients that all ask at once. On 127.0.0.1 only."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil

from helpers.errors import CourseError

READY_S, END_S = 60, 10


@contextlib.contextmanager
def serving(*target: str, path: str = "", **settings: str) -> Iterator[tuple[str, psutil.Process]]:
    """A server under uvicorn on a free port: its address and its process; ended when the block ends.

    Each call of a model computes in one thread.

    Args:
        target: what uvicorn is given, such as "helpers.server:create_app", "--factory".
        path: a folder to import from.
        settings: environment variables, such as EMBED_API_KEYS.

    Raises:
        CourseError: it ended, or didn't answer within a minute; with the end of its log.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", *target, "--port", str(port), "--log-level", "error"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path} | settings
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        log = Path(folder, "server.log")
        with log.open("w", encoding="utf-8") as out:
            process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
        try:
            _wait_until_ready(f"http://127.0.0.1:{port}", process, log)
            yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
        finally:
            process.terminate()
            try:
                process.wait(timeout=END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Ask for /health; an app that has none says with its 404 that it is there."""
    end = time.monotonic() + READY_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{address}/health", timeout=2, trust_env=False).status_code in (200, 404):
                return
        time.sleep(0.2)
    ending = log.read_text(encoding="utf-8")[-500:]
    raise CourseError(f"The server didn't answer within {READY_S} s; its log ends: {ending}")


def load_test(
    server: tuple[str, psutil.Process],
    texts: Sequence[str],
    at_once: int,
    *,
    route: str,
    field: str,
    headers: Mapping[str, str] | None = None,
) -> dict[str, float]:
    """So many clients, each of which sends one text, waits for its answer and sends the next (a closed loop).

    Args:
        server: what `serving` gives.
        texts: sent once each, after a warm-up.
        at_once: how many clients.
        route: such as "/v1/embeddings".
        field: of the body that holds the texts.
        headers: of each request.

    Returns:
        The share answered with 200; texts a second, and a second of the server's own CPU time; cores used; median, 90th
        percentile and mean of the latency in ms; memory in MB.
    """
    address, process = server
    with httpx.Client(base_url=address, headers=headers, timeout=60, trust_env=False) as http:

        def ask(text: str) -> tuple[int, float]:
            begin = time.perf_counter()
            status = http.post(route, json={field: [text], "model": "all-MiniLM-L6-v2"}).status_code
            return status, time.perf_counter() - begin

        ask(texts[0])
        (cpu, _), begin = _used(process), time.perf_counter()
        with ThreadPoolExecutor(at_once) as pool:
            answers = list(pool.map(ask, texts))
        wall, (spent, memory) = time.perf_counter() - begin, _used(process)
    seconds = 1000 * np.array([took for _, took in answers])
    return {
        "clients": at_once,
        "answered": sum(status == 200 for status, _ in answers) / len(answers),
        "texts/s": len(texts) / wall,
        "texts/CPU-s": len(texts) / max(spent - cpu, 0.01),  # the clock's step
        "cores used": (spent - cpu) / wall,
        "p50 (ms)": float(np.median(seconds)),
        "p90 (ms)": float(np.quantile(seconds, 0.9)),
        "mean (ms)": float(seconds.mean()),
        "memory (MB)": memory,
    }


def _used(process: psutil.Process) -> tuple[float, float]:
    """CPU seconds and MB of memory, children included: in a venv of Windows python.exe only starts another one."""
    family = [process, *process.children(recursive=True)]
    return sum(sum(p.cpu_times()[:2]) for p in family), sum(p.memory_info().rss for p in family) / 1e6
