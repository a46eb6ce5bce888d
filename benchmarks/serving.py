"""The course's server under load, beside the brief's app and infinity-emb; all on 127.0.0.1, all bounded.

    python -m benchmarks.serving                        the table; --infinity PYTHON adds infinity-emb
    python -m benchmarks.serving --minute               32 clients for 60 s: nothing lost, nothing mixed up
    python -m benchmarks.serving --soak                 ten minutes: memory at the start, and after each
    python -m benchmarks.serving --loading              what /health takes to answer while the model loads

The table counts texts per CPU-second of the server's process: what a core gives, whatever the clients take. All
servers are up, and in each round each has its turn; ratios are of the same round, with the lowest and the highest.
Each server gets one compute thread, MiniLM, 32 clients of one text a request, after a warm-up. "Outside" is the share
of the CPU that other threads take than the one that computes: HTTP, JSON, tokenizing. PYTHON is that of an environment
of its own, with `infinity-emb[server,torch]==0.0.78` and `transformers<5`.
"""

import argparse
import itertools
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import numpy as np
import psutil
from sentence_transformers import SentenceTransformer

from helpers import data, load
from helpers.bundled import minilm_folder
from helpers.encode import encode, token_counts
from helpers.measure import environment

CLIENTS, ROUNDS, SECONDS, MINUTES, MODEL = 32, 5, 6, 10, "all-MiniLM-L6-v2"
LOSS = "0.01"  # 1 - cosine, for the row in which the server may choose among lossy ways
OURS, LOSSY, APP, INFINITY = "helpers.server", f"helpers.server, loss {LOSS}", "the brief's app", "infinity-emb"
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
def started(command: list[str], **env: str) -> Iterator[tuple[str, psutil.Process]]:
    """A server's address, on a free port, and its process; ended afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    threads = dict.fromkeys(LIBRARIES, "1") | {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    command = [part.replace("{port}", port) for part in command]
    with open(os.devnull, "wb") as nothing:
        process = psutil.Popen(command, env=os.environ | threads | {"PORT": port} | env, stdout=nothing, stderr=nothing)
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def running(command: list[str], ready: str, **env: str) -> Iterator[tuple[str, psutil.Process]]:
    """A server, once `ready` answers 200."""
    with started(command, **env) as (url, process):
        for _ in range(600):
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                raise SystemExit(f"{command[0]} ended before it answered")
            try:
                if httpx.get(f"{url}{ready}", timeout=5).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        yield url, process


COMMAND = [sys.executable, "-m", "uvicorn", "helpers.server:create_app", "--factory"]
COMMAND += ["--host", "127.0.0.1", "--port", "{port}"]
SETTINGS = {"EMBED_THREADS": "1", "EMBED_DEVICE": "cpu", "EMBED_TRUNCATE": "true"}


def ours(**env: str) -> Any:
    return running(COMMAND, "/health", **SETTINGS, **env)


def brief() -> Any:
    return running([sys.executable, "-c", BRIEF], "/openapi.json")


def infinity(python: str) -> Any:
    program = "import torch; torch.set_num_threads(1); torch.set_num_interop_threads(1)"
    program += "; from infinity_emb.cli import cli; cli()"
    arguments = ["v2", "--model-id", str(minilm_folder()), "--served-model-name", MODEL, "--engine", "torch"]
    arguments += ["--device", "cpu", "--dtype", "float32", "--no-bettertransformer", "--host", "127.0.0.1"]
    return running([python, "-c", program, *arguments, "--port", "{port}"], "/health", DO_NOT_TRACK="1")


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
                    told = response.json()
                    check(text, told["embeddings"][0] if brief_api else told["data"][0]["embedding"])
                answered += 1
        return answered

    with ThreadPoolExecutor(CLIENTS) as pool:
        return sum(pool.map(client, range(CLIENTS)))


def cpu_seconds(process: psutil.Process) -> dict[tuple[int, int], float]:
    """So far, by thread of the process and its children."""
    found = [process, *process.children(recursive=True)]
    return {(p.pid, thread.id): thread.user_time + thread.system_time for p in found for thread in p.threads()}


def spent(before: dict[tuple[int, int], float], process: psutil.Process) -> tuple[float, float]:
    """CPU seconds since then, and those of the busiest thread."""
    each = [seconds - before.get(thread, 0) for thread, seconds in cpu_seconds(process).items()]
    return sum(each), max(each)


def vectors(url: str, corpus: list[str]) -> Any:
    """What a server answers to each text, (n, d)."""
    found: dict[str, Any] = {}
    drive(url, corpus, seconds=600, limit=len(corpus), check=lambda text, vector: found.update({text: vector}))
    return np.array([found[text] for text in corpus])


def table(infinity_python: str | None) -> None:
    model = load(MODEL, device="cpu")
    servers: dict[str, Callable[[], Any]] = {OURS: ours, APP: brief}
    servers[LOSSY] = lambda: ours(EMBED_PRECISION="auto", EMBED_LOSS=LOSS)
    if infinity_python:
        servers[INFINITY] = lambda: infinity(infinity_python)
    corpora = {kind: texts(model, kind) for kind in MEAN_TOKENS}
    for kind, corpus in corpora.items():
        lengths = token_counts(model, corpus)
        print(f"{kind}: {np.mean(lengths):.0f} tokens on average, {min(lengths)} to {max(lengths)}")
    rates, outside = defaultdict[tuple[str, str], list[float]](list), defaultdict[tuple[str, str], list[float]](list)
    with ExitStack() as stack:
        up = {name: stack.enter_context(start()) for name, start in servers.items()}
        print(f"{LOSSY} runs {httpx.get(f'{up[LOSSY][0]}/v1/models', timeout=10).json()['data'][0]['precision']}")
        right = model.encode(corpora["mixed"])
        for name, (url, _) in up.items():
            drive(url, corpora["short"], seconds=3)
            found = vectors(url, corpora["mixed"])
            cosines = (found * right).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(right, axis=1)
            print(f"{name}: a vector's 1 - cosine to the library's is at most {1 - cosines.min():.0e}", flush=True)
        for _ in range(ROUNDS):
            for kind, corpus in corpora.items():
                for name, (url, process) in up.items():
                    before = cpu_seconds(process)
                    answered = drive(url, corpus, seconds=SECONDS)
                    total, busiest = spent(before, process)
                    rates[name, kind].append(answered / total)
                    outside[name, kind].append(1 - busiest / total)
    others = [name for name in (INFINITY, APP) if name in up]
    heads = "".join(f"{f'against {name}':>32}" for name in others)
    print(f"\n{'server':28} {'lengths':8} {'texts/CPU-s':>12} {'outside':>8}{heads}")
    for (name, kind), each in rates.items():
        middle, beside = statistics.median(each), statistics.median(outside[name, kind])
        shown = f"{beside:8.1%}" if name in (OURS, LOSSY) else f"{'':8}"
        for other in others:
            ratios = [one / base for one, base in zip(each, rates[other, kind], strict=True)]
            column = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            shown += f"{column:>32}"
        print(f"{name:28} {kind:8} {middle:12.1f} {shown}")


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


def memory(process: psutil.Process) -> float:
    """MB that are resident."""
    return float(process.memory_info().rss / 1e6)


def soak() -> None:
    model = load(MODEL, device="cpu")
    corpus = texts(model, "mixed")
    weights = sum(parameter.nbytes for parameter in model.parameters()) / 1e6
    program = "import helpers.server.service, psutil; print(psutil.Process().memory_info().rss / 1e6)"
    libraries = float(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)
    with brief() as (url, process):
        drive(url, corpus, seconds=60)
        library = memory(process) - libraries
    with ours() as (url, process):
        held = [memory(process)]
        for _ in range(MINUTES):
            drive(url, corpus, seconds=60)
            held.append(memory(process))
            print(f"{held[-1]:.0f} MB", flush=True)
    own = held[-1] - libraries
    print(f"libraries alone {libraries:.0f} MB, weights {weights:.0f} MB; MB at the start and after each minute:")
    print(", ".join(f"{mb:.0f}" for mb in held))
    print(
        f"beside the libraries {own:.0f} MB, {own / weights:.2f} of the weights; the brief's app after a minute ",
        end="",
    )
    print(f"{library:.0f} MB, {library / weights:.2f}")
    assert held[-1] < 1.03 * held[1], "memory grows"


def loading() -> None:
    begin, waits, first = time.perf_counter(), list[float](), 0.0
    with started(COMMAND, **SETTINGS) as (url, _), httpx.Client(base_url=url, timeout=60) as client:
        while time.perf_counter() - begin < 120:
            asked = time.perf_counter()
            try:
                status = client.get("/health").status_code
            except httpx.TransportError:
                time.sleep(0.01)
                continue
            waits.append(time.perf_counter() - asked)
            first = first or asked - begin
            if status == 200:
                break
            time.sleep(0.01)
        ready = time.perf_counter() - begin
    ms = [1000 * wait for wait in waits]
    print(
        f"/health answers after {first:.1f} s, the time of the imports, and is 200 after {ready:.1f} s; in between ",
        end="",
    )
    print(
        f"{len(ms)} answers took {statistics.median(ms):.0f} ms, 95% {np.percentile(ms, 95):.0f}, at most {max(ms):.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--infinity", metavar="PYTHON")
    parser.add_argument("--minute", action="store_true")
    parser.add_argument("--soak", action="store_true")
    parser.add_argument("--loading", action="store_true")
    chosen = parser.parse_args()
    machine = environment.hardware()
    print(f"{machine['cpu']} ({', '.join(machine['cpu_features'])}), one compute thread each, {CLIENTS} clients")
    if chosen.minute:
        minute()
    elif chosen.soak:
        soak()
    elif chosen.loading:
        loading()
    else:
        table(chosen.infinity)


if __name__ == "__main__":
    main()
