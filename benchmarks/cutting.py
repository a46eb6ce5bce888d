"""The course's server under 64 clients of which half cut their requests: memory, answers, errors.

    python -m benchmarks.cutting                ten minutes; --seconds 180 for three

Every other request is cut: in its headers, in its body or after it, by closing or by a reset. Each answer is held
against its text's own vector. The server has one compute thread and listens on 127.0.0.1 only.
"""

import argparse
import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import psutil

from benchmarks.serving import MODEL, ours, own_vector, texts
from helpers import load

CLIENTS, TENTHS = 64, 10
PATIENCE = 300  # seconds, for machines that others use; an answer that takes longer is lost


def cut(url: str, body: bytes, draw: random.Random) -> None:
    """Send a part of a request, or all of it, and go away."""
    where = httpx.URL(url)
    head = f"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    whole = head + body
    end = draw.choice([20, len(head) + 5, len(whole)])
    with socket.create_connection((where.host, where.port or 80), timeout=PATIENCE) as one:
        one.sendall(whole[:end])
        if draw.random() < 0.5:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def main(seconds: float) -> None:
    model = load(MODEL, device="cpu")
    corpus = texts(model, "mixed")
    check, seen, memory, waits = own_vector(model, corpus), Counter[str](), list[float](), list[float]()
    end, lock = time.monotonic() + seconds, threading.Lock()

    def client(seed: int, url: str) -> None:
        draw = random.Random(seed)
        with httpx.Client(base_url=url, timeout=PATIENCE) as one:
            while time.monotonic() < end:
                asked = draw.sample(corpus, draw.choice([1, 1, 1, 8]))
                body = json.dumps({"model": MODEL, "input": asked}).encode()
                if draw.random() < 0.5:
                    cut(url, body, draw)
                    what = "cut"
                else:
                    begun = time.monotonic()
                    response = one.post("/v1/embeddings", content=body)
                    waits.append(time.monotonic() - begun)
                    what = str(response.status_code)
                    if response.status_code == 200:
                        for text, item in zip(asked, response.json()["data"], strict=True):
                            check(text, item["embedding"])
                with lock:
                    seen[what] += 1

    with ours() as (url, process), ThreadPoolExecutor(CLIENTS) as pool:
        end = time.monotonic() + seconds
        running = [pool.submit(client, seed, url) for seed in range(CLIENTS)]
        for _ in range(TENTHS):
            time.sleep(seconds / TENTHS)
            memory.append(psutil.Process(process.pid).memory_info().rss / 1e6)
        for one in running:
            one.result()
        counted = httpx.get(f"{url}/metrics", timeout=PATIENCE).text
    print(f"{seconds:.0f} s, {CLIENTS} clients: {dict(seen)}; each 200 held its own texts' vectors")
    print(f"seconds to an answer: median {np.median(waits):.2f}, longest {max(waits):.2f}")
    print("resident MB after each tenth: " + ", ".join(f"{found:.0f}" for found in memory))
    print(f"highest of the second half against that of the first: {max(memory[5:]) / max(memory[:5]):.3f}")
    lines = [
        line for line in counted.splitlines() if line.startswith(("embed_requests_total", "embed_queue", "embed_ab"))
    ]
    print("\n".join(lines))
    errors = [line for line in lines if 'status="5' in line and "/health" not in line]  # 503 until it is ready
    assert not errors, errors
    assert np.isfinite(memory).all() and "embed_queue_tokens 0.0" in counted


if __name__ == "__main__":
    given = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    given.add_argument("--seconds", type=float, default=600)
    main(given.parse_args().seconds)
