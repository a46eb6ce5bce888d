"""The course's server under load, beside the brief's app and infinity-emb; all on 127.0.0.1, all bounded.

    python -m benchmarks.serving                        the table; --infinity PYTHON adds infinity-emb
    python -m benchmarks.serving --minute               32 clients for 60 s: nothing lost, nothing mixed up
    python -m benchmarks.serving --soak                 20,000 requests: memory before, and after each tenth

The table counts texts per CPU-second of the server's process: what a core gives, whatever the clients take.
Each server gets one compute thread, MiniLM, 32 clients of one text a request, after a warm-up. PYTHON is that
of an environment of its own, with `infinity-emb[server,torch]==0.0.78` and `transformers<5`.
"""

import argparse
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import psutil
from sentence_transformers import SentenceTransformer

from helpers import data, load
from helpers.bundled import minilm_folder
from helpers.encode import cpu_has_bfloat16, encode, token_counts
from helpers.measure import environment

CLIENTS, SECONDS, MODEL = 32, 12, "all-MiniLM-L6-v2"
MEAN_TOKENS = {"short": 20, "mixed": 54}
LIBRARIES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
BRIEF = """
import os
import torch
from fastapi import FastAPI
from pydantic import BaseModel
from helpers import load

torch.set_num_threads(1)
app = FastAPI()
model = load("all-MiniLM-L6-v2", device="cpu")

class EmbedRequest(BaseModel):
    texts: list[str]

class EmbedResponse(BaseModel):
    embeddings: list[list[float]]
    dimensions: int

@app.post("/embed", response_model=EmbedResponse)
def embed(request: EmbedRequest):
    embeddings = model.encode(request.texts, normalize_embeddings=True)
    return EmbedResponse(embeddings=embeddings.tolist(), dimensions=embeddings.shape[1])

import uvicorn
uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")
"""


def texts(model: SentenceTransformer, kind: str) -> list[str]:
    """Course texts of about 20 tokens each, or of mixed lengths with a mean of about 54."""
    found = list(data.texts())
    draw = np.random.default_rng(0)
    chosen = [found[i] for i in draw.permutation(len(found))[:400]]
    if kind == "short":
        return [" ".join(text.split()[:15]) for text in chosen]
    for i in range(len(chosen)):
        if np.mean(token_counts(model, chosen)) <= MEAN_TOKENS[kind]:
            break
        chosen[i] = chosen[i].split(". ")[0]
    return [chosen[i] for i in draw.permutation(len(chosen))]


@contextmanager
def running(command: list[str], ready: str, **env: str) -> Iterator[tuple[str, psutil.Process]]:
    """A server on a free port, once `ready` answers 200; ended afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    threads = dict.fromkeys(LIBRARIES, "1") | {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    command = [part.replace("{port}", port) for part in command]
    with open(os.devnull, "wb") as nothing:
        process = subprocess.Popen(
            command, env=os.environ | threads | {"PORT": port} | env, stdout=nothing, stderr=nothing
        )
    try:
        for _ in range(600):
            if process.poll() is not None:
                raise SystemExit(f"{command[0]} ended with {process.returncode} before it answered")
            try:
                if httpx.get(f"http://127.0.0.1:{port}{ready}", timeout=5).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def ours(**env: str) -> Any:
    command = [sys.executable, "-m", "uvicorn", "helpers.server:create_app", "--factory"]
    command += ["--host", "127.0.0.1", "--port", "{port}"]
    return running(command, "/health", EMBED_THREADS="1", EMBED_DEVICE="cpu", EMBED_TRUNCATE="true", **env)


def brief() -> Any:
    return running([sys.executable, "-c", BRIEF], "/openapi.json")


def infinity(python: str) -> Any:
    program = f"import torch; torch.set_num_threads(1); torch.set_num_interop_threads(1); {INFINITY}"
    arguments = ["v2", "--model-id", str(minilm_folder()), "--served-model-name", MODEL, "--engine", "torch"]
    arguments += ["--device", "cpu", "--dtype", "float32", "--no-bettertransformer", "--host", "127.0.0.1"]
    return running([python, "-c", program, *arguments, "--port", "{port}"], "/health", DO_NOT_TRACK="1")


INFINITY = "from infinity_emb.cli import cli; cli()"


def drive(
    url: str, corpus: list[str], *, seconds: float, limit: int = 10**9, check: Callable[[str, Any], None] | None = None
) -> int:
    """Send one text a request from 32 clients until time or number is up; returns how many were answered."""
    brief_api = httpx.get(f"{url}/openapi.json", timeout=10).text.count('"/embed"') > 0
    path, turns, lock = "/embed" if brief_api else "/v1/embeddings", itertools.count(), threading.Lock()
    path = "/embeddings" if not brief_api and httpx.get(f"{url}{path}", timeout=10).status_code == 404 else path
    end = time.monotonic() + seconds

    def client(_: int) -> int:
        answered = 0
        with httpx.Client(base_url=url, timeout=60) as one:
            while time.monotonic() < end:
                with lock:
                    turn = next(turns)
                if turn >= limit:
                    break
                text = corpus[turn % len(corpus)]
                body = {"texts": [text]} if brief_api else {"model": MODEL, "input": [text]}
                response = one.post(path, json=body)
                response.raise_for_status()
                if check:
                    check(text, response.json()["data"][0]["embedding"])
                answered += 1
        return answered

    with ThreadPoolExecutor(CLIENTS) as pool:
        return sum(pool.map(client, range(CLIENTS)))


def cpu_seconds(process: psutil.Process) -> float:
    """Of the process and its children so far."""
    found = [process, *process.children(recursive=True)]
    return float(sum(p.cpu_times().user + p.cpu_times().system for p in found))


def table(infinity_python: str | None) -> None:
    model = load(MODEL, device="cpu")
    servers: dict[str, Callable[[], Any]] = {"the brief's app": brief, "helpers.server, float32": ours}
    if cpu_has_bfloat16():
        servers["helpers.server, bfloat16"] = lambda: ours(EMBED_DTYPE="bfloat16")
    if infinity_python:
        servers["infinity-emb"] = lambda: infinity(infinity_python)
    rates: dict[tuple[str, str], float] = {}
    corpora = {kind: texts(model, kind) for kind in MEAN_TOKENS}
    for kind, corpus in corpora.items():
        lengths = token_counts(model, corpus)
        print(f"{kind}: {np.mean(lengths):.0f} tokens on average, {min(lengths)} to {max(lengths)}")
    print(f"\n{'server':28} {'lengths':8} {'answered':>9} {'texts/CPU-s':>12} {'against the brief':>18}")
    for name, start in servers.items():
        with start() as (url, process):
            for kind, corpus in corpora.items():
                drive(url, corpus, seconds=3)
                before = cpu_seconds(process)
                answered = drive(url, corpus, seconds=SECONDS)
                rates[name, kind] = answered / (cpu_seconds(process) - before)
                ratio = rates[name, kind] / rates["the brief's app", kind]
                print(f"{name:28} {kind:8} {answered:9d} {rates[name, kind]:12.1f} {ratio:18.2f}", flush=True)
    if infinity_python:
        for kind in corpora:
            ratio = rates["helpers.server, float32", kind] / rates["infinity-emb", kind]
            print(f"helpers.server, float32, against infinity-emb, {kind}: {ratio:.2f}")
    if not cpu_has_bfloat16():
        print("bfloat16: not measured, this CPU has no instructions for it")


def own_vector(model: SentenceTransformer, corpus: list[str]) -> Callable[[str, Any], None]:
    """A check that an answer is its text's own vector."""
    wanted = dict(zip(corpus, encode(model, corpus), strict=True))

    def check(text: str, vector: Any) -> None:
        difference = float(np.abs(wanted[text] - np.asarray(vector)).max())
        assert difference < 1e-5, f"another text's vector: {difference}"

    return check


def minute() -> None:
    model = load(MODEL, device="cpu")
    corpus = texts(model, "mixed")
    with ours() as (url, _):
        answered = drive(url, corpus, seconds=60, check=own_vector(model, corpus))
        counted = httpx.get(f"{url}/metrics", timeout=10).text
    wanted = 'embed_requests_total{route="/v1/embeddings",status="200"}'
    line = next(line for line in counted.splitlines() if line.startswith(wanted))
    served = int(float(line.split()[1]))
    print(f"60 s: {answered} requests answered, each with its own text's vector; the server counted {served}")
    assert answered == served


def soak(requests: int) -> None:
    model = load(MODEL, device="cpu")
    corpus = texts(model, "short")
    with ours() as (url, process):
        drive(url, corpus, seconds=60, limit=1000)
        memory, answered = [process.memory_info().rss / 1e6], 0
        for _ in range(10):
            answered += drive(url, corpus, seconds=120, limit=requests // 10)
            memory.append(process.memory_info().rss / 1e6)
    shown = ", ".join(f"{mb:.0f}" for mb in memory)
    print(f"{answered} requests after a warm-up of 1000; MB at the start and after each tenth: {shown}")
    assert answered == requests
    assert memory[-1] < 1.03 * memory[1], "memory grows"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--infinity", metavar="PYTHON")
    parser.add_argument("--minute", action="store_true")
    parser.add_argument("--soak", action="store_true")
    chosen = parser.parse_args()
    print(f"{environment.hardware()['cpu']}, one compute thread each, {CLIENTS} clients")
    if chosen.minute:
        minute()
    elif chosen.soak:
        soak(20_000)
    else:
        table(chosen.infinity)


if __name__ == "__main__":
    main()
