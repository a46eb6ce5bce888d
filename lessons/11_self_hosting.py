# %% [markdown]
# # 11 · Self-hosting
#
# After this lesson you can
# - **measure** an embedding server under load, and say from three numbers whether it is full,
# - **find** what breaks a small server: load, a long text, an empty list, a stranger,
# - **decide** between a server of your own and a ready one, and size the machine for it.
#
# {{minutes}} minutes · up to {{memory_mb}} MB of memory · up to {{download_mb}} MB to download, nothing without a hub
#
# Twenty lines of Python make a model into a service. This lesson starts with these twenty lines, breaks them one by
# one, mends what broke, and ends at `helpers/server.py`, which speaks OpenAI's protocol. Every server in here runs
# on your own machine, listens on `127.0.0.1` only, and is gone when its cell ends.

# %% tags=["parameters"]
clients: int = 12  # how many clients ask at once in the load tests
texts_each: int = 4  # texts that each client sends, one a request

# %%
import base64
import contextlib
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fastapi
import httpx
import numpy as np
import openai
import pandas as pd
import psutil
import uvicorn
from fastapi.testclient import TestClient
from IPython.display import display
from matplotlib import pyplot as plt

from helpers import catalog, data, encode, load, twins, weights

minilm = load("all-MiniLM-L6-v2", device="cpu")
print(f"fastapi {fastapi.__version__}, uvicorn {uvicorn.__version__}, weights: {weights(minilm).kind}")

# %% [markdown]
# ## The small app
#
# This is a whole service: FastAPI turns a function into a route, checks the request's shape, and writes JSON. The
# model is loaded once, when the process starts, and stays warm; that is what a server is for. uvicorn runs it.

# %%
SMALL_APP = """
from fastapi import FastAPI
from pydantic import BaseModel

from helpers import load

app = FastAPI()
model = load("all-MiniLM-L6-v2", device="cpu")


class Texts(BaseModel):
    texts: list[str]


@app.post("/embed")
def embed(request: Texts):
    vectors = model.encode(request.texts, normalize_embeddings=True)
    return {"embeddings": vectors.tolist(), "dimensions": vectors.shape[1]}
"""
folder = tempfile.TemporaryDirectory()
Path(folder.name, "small_app.py").write_text(SMALL_APP, encoding="utf-8")
print(f"{len(SMALL_APP.strip().splitlines())} lines")

# %% [markdown]
# FastAPI can be asked without a network, which is how you would test it. The vectors are those of the model:

# %%
small = TestClient(runpy.run_path(str(Path(folder.name, "small_app.py")))["app"], raise_server_exceptions=False)
answer = small.post("/embed", json={"texts": ["Where are the keys?", "Die Schlüssel liegen hier."]})
vectors = np.array(answer.json()["embeddings"])
assert np.allclose(vectors, minilm.encode(["Where are the keys?", "Die Schlüssel liegen hier."]), atol=1e-5)
print(f"status {answer.status_code}, vectors {vectors.shape}, {len(answer.content):,} bytes of JSON")
print(f"the same as float32 in base64: {len(base64.b64encode(vectors.astype('<f4').tobytes())):,} bytes")

# %% [markdown]
# ## What breaks it without any load
#
# **Decide, then run:** four requests that will come on the first day. Which of them gets an honest answer?

# %%
long_text = " ".join(data.texts()[:12])
probes = {
    "an empty list": {"json": {"texts": []}},
    "a text longer than the model reads": {"json": {"texts": [long_text]}},
    "a text of 1 MB": {"json": {"texts": ["word " * 200_000]}},
    "no key": {"json": {"texts": ["hello"]}},
}
small_status = {what: small.post("/embed", **request).status_code for what, request in probes.items()}
pd.Series(small_status, name="small app's status").to_frame()

# %% [markdown]
# A status of 500 says "my fault" for what is the client's; 200 says that all is well. The worst of them is the
# second: the model cut the text and nobody was told. Here are two documents with the same beginning:

# %%
limit = minilm.max_seq_length
tokens = len(minilm.tokenizer(long_text, verbose=False)["input_ids"])
one, other = long_text + " The contract is valid.", long_text + " The contract is void."
found = np.array(small.post("/embed", json={"texts": [one, other]}).json()["embeddings"])
print(f"{tokens} tokens were sent, the model reads {limit}; cosine of the two: {found[0] @ found[1]:.6f}")
print(f"read of each: {limit / tokens:.0%}")

# %% [markdown]
# Both texts have the same vector, because what makes them differ was never read. A server must either refuse a long
# text or cut it and say so: quietly is the one wrong way.
#
# And it can't tell a query from a document. For MiniLM that doesn't matter; for many models it does, as lessons 02
# to 06 showed. The catalogue knows what each of them wants before its text:

# %%
for name in ("all-MiniLM-L6-v2", "bge-base-en-v1.5", "e5-base-v2", "nomic-embed-text-v1.5"):
    print(f"{name}: {catalog.card(name).prompts}")

# %% [markdown]
# ## Under load
#
# Now as a real process, with clients that ask at the same time. `serving` starts one on a free port, waits until it
# answers, and ends it whatever happens. One compute thread, so that figures compare.


# %%
@contextlib.contextmanager
def serving(target: str, **settings: str) -> Iterator[tuple[str, psutil.Process]]:
    """A server on 127.0.0.1: its address and its process; ended when the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", target, "--port", str(port), "--log-level", "error"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": folder.name} | settings
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=environment, **quiet)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()


def wait_until_ready(address: str, process: subprocess.Popen) -> None:
    """Ask for /health (the small app has none, and its 404 says at least that it is there)."""
    for _ in range(300):
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with code {process.returncode} before it answered")
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{address}/health", timeout=2).status_code in (200, 404):
                return
        time.sleep(0.2)
    raise RuntimeError("the server didn't answer within a minute")


# %% [markdown]
# Each client sends one text after the other, as a search page does. What counts: how many texts a second in all, the
# *latency* that a client sees (median, and p95, which only one request in twenty exceeds), and the server's own CPU
# time a text, which is what you pay for.

# %%
lengths = minilm.tokenizer(list(data.texts()), truncation=False, verbose=False)["input_ids"]
fitting = [text for text, ids in zip(data.texts(), lengths, strict=True) if len(ids) <= limit]


def measure(server: tuple[str, psutil.Process], at_once: int, route: str, field: str, headers: dict) -> dict:
    """Send the same texts from so many clients at once; what came of it."""
    (address, process), texts = server, fitting[: clients * texts_each]
    with httpx.Client(base_url=address, headers=headers, timeout=60, trust_env=False) as http:

        def ask(text: str) -> tuple[int, float]:
            begin = time.perf_counter()
            status = http.post(route, json={field: [text], "model": "all-MiniLM-L6-v2"}).status_code
            return status, time.perf_counter() - begin

        ask(texts[0])  # warm-up
        cpu, begin = sum(process.cpu_times()[:2]), time.perf_counter()
        with ThreadPoolExecutor(at_once) as pool:
            answers = list(pool.map(ask, texts))
        wall, spent = time.perf_counter() - begin, sum(process.cpu_times()[:2]) - cpu
    seconds = np.array([took for _, took in answers])
    return {
        "clients": at_once,
        "answered": sum(status == 200 for status, _ in answers) / len(answers),
        "texts/s": len(texts) / wall,
        "texts/CPU-s": len(texts) / spent,
        "p50 (ms)": 1000 * np.median(seconds),
        "p95 (ms)": 1000 * np.quantile(seconds, 0.95),
        "mean (ms)": 1000 * seconds.mean(),
        "memory (MB)": process.memory_info().rss / 1e6,
    }


# %% [markdown]
# **Decide, then run:** with many clients instead of one, what grows: the throughput, the latency, or both?

# %%
STEPS = sorted({1, 4, clients})
with serving("small_app:app") as server:
    rows = [measure(server, at_once, "/embed", "texts", {}) for at_once in STEPS]
small_load = pd.DataFrame(rows).set_index("clients")
small_load.round(1)

# %%
few, many = small_load.iloc[0], small_load.iloc[-1]
print(f"{clients} clients instead of one: {many['texts/s'] / few['texts/s']:.1f} times the texts a second, ", end="")
print(f"{many['p50 (ms)'] / few['p50 (ms)']:.1f} times the median latency")
for at_once, row in small_load.iterrows():
    inside = row["texts/s"] * row["mean (ms)"] / 1000
    print(f"{at_once} clients: throughput x mean latency = {inside:.1f} requests in the server")

# %% [markdown]
# The last lines are *Little's law*: the requests inside a system are its throughput times their mean stay (it
# assumes nothing but that what goes in comes out). Once the machine is full, throughput stands still, so every client
# more is paid in latency. No server is exempt. A good one does two things: it computes less for each text, and it
# refuses early what it can't do in time.
#
# ## Mend 1: compute less
#
# The small app runs one `encode` a request, and many of them at once, in threads that share the same cores. Put
# together into batches, texts share the cost of each call. But a batch is a rectangle: short texts are padded to the
# longest. What do batches of sixteen in order of arrival cost in tokens, and what do batches by a *token budget*,
# similar lengths together?

# %%
waiting = [min(len(ids), limit) for ids in lengths[:128]]


def by_count(lengths: list[int], size: int) -> list[list[int]]:
    """Batches of `size` texts, in order of arrival."""
    return [lengths[i : i + size] for i in range(0, len(lengths), size)]


def by_budget(lengths: list[int], budget: int) -> list[list[int]]:
    """Batches of similar lengths, each as large as the budget of padded tokens allows."""
    batches: list[list[int]] = []
    for length in sorted(lengths):
        if batches and (len(batches[-1]) + 1) * length <= budget:
            batches[-1].append(length)
        else:
            batches.append([length])
    return batches


def computed(batches: list[list[int]]) -> int:
    """Tokens that the encoder computes: the longest of each batch, as often as it has texts."""
    return sum(max(batch) * len(batch) for batch in batches)


ways = {"one a request": by_count(waiting, 1), "16 by arrival": by_count(waiting, 16)}
ways["sorted, 1024 tokens"] = by_budget(waiting, 1024)
assert all(sum(map(sum, batches)) == sum(waiting) for batches in ways.values())
theirs = [[waiting[i] for i in batch] for batch in encode.batches(waiting, token_budget=1024)]
ways["helpers.encode.batches"] = theirs
assert sorted(length for batch in theirs for length in batch) == sorted(waiting)
assert all(len(batch) == 1 or len(batch) * max(batch) <= 1024 for batch in theirs)
padding = pd.DataFrame(
    {
        "calls": {way: len(batches) for way, batches in ways.items()},
        "tokens computed": {way: computed(batches) for way, batches in ways.items()},
        "of it padding": {way: 1 - sum(waiting) / computed(batches) for way, batches in ways.items()},
    }
)
padding.round(2)

# %%
arrival, budgeted = padding.loc["16 by arrival"], padding.loc["sorted, 1024 tokens"]
print(f"by arrival, {arrival['of it padding']:.0%} of the work is padding; by budget {budgeted['of it padding']:.0%}, ")
print(f"in {budgeted['calls']:.0f} calls where one a request makes {padding.loc['one a request', 'calls']:.0f}")

# %% [markdown]
# Batching by count can be slower than no batching, once lengths differ. And no timer is needed: while one batch is
# computed the next one gathers by itself.
#
# ## Mend 2: refuse early
#
# A queue without an end answers everybody, too late. Let texts arrive at random, as they do, at some share of what
# the machine can compute. One server lets everything wait; the other refuses what would wait longer than two seconds,
# with status 429 and the header `Retry-After`. The queue is counted in tokens, since ten long texts are not ten short
# ones. This is a simulation, with MiniLM's speed from the table of twins below:

# %%
RATE = float(twins.measured().set_index("hub_id").loc["sentence-transformers/all-MiniLM-L6-v2", "tokens_per_s"].max())


def simulate(share: float, max_wait: float, arrivals: int = 4000, seed: int = 0) -> tuple[float, float]:
    """The p95 of the time that accepted texts stay, in seconds, and the share refused."""
    draw = np.random.default_rng(seed)
    work = draw.choice(waiting, size=arrivals) / RATE
    arrives = np.cumsum(draw.exponential(work.mean() / share, size=arrivals))
    free, stays = 0.0, []
    for now, seconds in zip(arrives, work, strict=True):
        if free - now <= max_wait:
            free = max(free, now) + seconds
            stays.append(free - now)
    return float(np.quantile(stays, 0.95)), 1 - len(stays) / arrivals


shares = [0.5, 0.7, 0.9, 1.0, 1.1, 1.3]
queues = {"no limit": np.inf, "limit": 2.0}
simulated = {name: [simulate(share, wait) for share in shares] for name, wait in queues.items()}
table = {f"p95 (s), {name}": [stay for stay, _ in found] for name, found in simulated.items()}
pd.DataFrame(table | {"refused, limit": [lost for _, lost in simulated["limit"]]}, index=shares).round(2)

# %%
figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
for (name, found), colour, marker in zip(simulated.items(), ("#d55e00", "#0072b2"), "os", strict=True):
    axes.plot(shares, [stay for stay, _ in found], marker=marker, color=colour, label=f"queue with {name}")
axes.set_yscale("log")
axes.set_xlabel("texts arriving, as a share of what can be computed")
axes.set_ylabel("p95 of the stay (s)")
axes.axvline(1, color="grey", linestyle="--", label="full")
axes.legend(fontsize=8)
plt.show()
stay, lost = simulated["limit"][-1]
print(
    f"at {shares[-1]:.1f} of the capacity: p95 {simulated['no limit'][-1][0]:.0f} s without a limit (and growing with "
)
print(f"every minute it lasts), {stay:.1f} s with one, which refuses {lost:.0%} and says when to come back")

# %% [markdown]
# ## The helper
#
# `helpers/server.py` has both mends, and an answer for each of the four requests above. It speaks OpenAI's protocol,
# so clients in any language exist already. It is started as you would start it, `uvicorn helpers.server:app`, and set
# by environment variables that begin with `EMBED_`. One block asks it everything:

# %%
KEY = "a-key-for-this-lesson"
headers = {"Authorization": f"Bearer {KEY}"}
with serving("helpers.server:app", EMBED_API_KEYS=KEY, EMBED_MODEL="all-MiniLM-L6-v2") as server:
    address, _ = server
    rows = [measure(server, at_once, "/v1/embeddings", "input", headers) for at_once in STEPS]
    with httpx.Client(base_url=address, timeout=60, trust_env=False) as http:
        told = {}
        for what, request in probes.items():
            body = {"input": request["json"]["texts"], "model": "all-MiniLM-L6-v2"}
            told[what] = http.post("/v1/embeddings", json=body, headers={} if what == "no key" else headers)
        metric_lines = http.get("/metrics", headers=headers).text.splitlines()
    with openai.OpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0) as client:
        by_client = client.embeddings.create(model="all-MiniLM-L6-v2", input=["Where are the keys?"])
helper_load = pd.DataFrame(rows).set_index("clients")
own = minilm.encode(["Where are the keys?"], normalize_embeddings=True)[0]
print(f"openai's client: cosine with our own vector {own @ np.array(by_client.data[0].embedding):.6f}, ", end="")
print(f"usage {by_client.usage.total_tokens} tokens")

# %% [markdown]
# The same four requests, and what a person at the other end reads:

# %%
for what, response in told.items():
    message = response.json().get("error", {}).get("message", "")[:150]
    print(f"{what}: {small_status[what]} before, {response.status_code} now. {message}")

# %% [markdown]
# And the load, side by side. Read the CPU time first: the clients here share the machine with the server, so texts a
# second are those of both together.

# %%
columns = ["texts/s", "texts/CPU-s", "p50 (ms)", "p95 (ms)", "memory (MB)", "answered"]
both = pd.concat({"small app": small_load[columns], "helper": helper_load[columns]}, names=["server"])
both.round(2)

# %%
figure, panels = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for (name, frame), colour, marker in zip(
    {"small app": small_load, "helper": helper_load}.items(), ("#d55e00", "#0072b2"), "os", strict=True
):
    for axes, column in zip(panels, ("texts/CPU-s", "p95 (ms)"), strict=True):
        axes.plot(frame.index, frame[column], marker=marker, color=colour, label=name)
        axes.set(xlabel="clients at once", ylabel=column, ylim=(0, None))
panels[0].legend(fontsize=8)
plt.show()
gain = helper_load["texts/CPU-s"].iloc[-1] / small_load["texts/CPU-s"].iloc[-1]
print(f"{clients} clients: the helper does {gain:.2f} times the small app's texts in a second of CPU (one short run)")

# %% [markdown]
# ## What a server tells its keeper
#
# `/metrics` is read by Prometheus every few seconds. These are the families, and four questions they answer: is it
# full (queue), does it pay (batch sizes), whom does it fail (statuses), how long does it take (latency)?

# %%
for line in metric_lines:
    if line.startswith("# HELP") and "python_" not in line and "process_" not in line:
        print(line.removeprefix("# HELP "))

# %% [markdown]
# ## Ready-made servers
#
# You needn't write one. What three of them say of themselves, in the documents named under Sources, beside the
# course's. An empty field means that those documents don't say, not that the feature is missing: ask the version that
# you would run.

# %%
READY = pd.DataFrame(
    {
        "Text Embeddings Inference": {
            "made for": "embedding models: BERT, XLM-R, MPNet, Nomic, GTE, ModernBERT, Qwen3, Gemma3",
            "batches": "by tokens (--max-batch-tokens)",
            "too much load": "refused beyond --max-concurrent-requests",
            "limits a request": "--payload-limit, --max-client-batch-size",
            "long texts": "cut with --auto-truncate",
            "prompts": "one for all requests: --default-prompt-name",
            "key": "--api-key",
            "hardware": "CPU, Metal, CUDA images by GPU generation",
            "observability": "Prometheus metrics, OpenTelemetry traces",
            "also": "re-ranking, classification, gRPC",
        },
        "vLLM": {
            "made for": "language models; pooling models 'primarily for convenience'",
            "OpenAI's API": "yes",
            "dimensions": "refused unless the model is Matryoshka",
            "key": "--api-key",
            "also": "classification, scoring",
        },
        "infinity": {
            "made for": "Sentence Transformers models, several in one process",
            "OpenAI's API": "yes",
            "batches": "by number of texts, sorted by length if several batches wait",
            "hardware": "CPU, CUDA, ROCm, AWS Inferentia, Apple MPS",
            "key": "--api-key",
            "also": "re-ranking, CLIP, CLAP, ColBERT, ColPali",
        },
        "helpers.server": {
            "made for": "one Sentence Transformers model",
            "OpenAI's API": "yes",
            "batches": "by tokens, similar lengths together, no padding for a BERT",
            "too much load": "429 beyond EMBED_MAX_QUEUE_TOKENS, with Retry-After",
            "limits a request": "EMBED_MAX_BODY_BYTES, EMBED_MAX_INPUTS",
            "long texts": "refused, or cut and told, by request",
            "prompts": "by request: input_type",
            "dimensions": "refused unless the model is Matryoshka",
            "key": "EMBED_API_KEYS, several",
            "hardware": "what PyTorch runs on; one device",
            "observability": "Prometheus metrics, logs in JSON",
        },
    }
).fillna("")
with pd.option_context("display.max_colwidth", None):
    display(READY)

# %% [markdown]
# - **Text Embeddings Inference**, for an encoder on a GPU in production: its images and its batching by tokens are
#   made for that.
# - **vLLM**, if you run it already for language models, or your embedding model is a language model of billions of
#   parameters. Its documentation promises no gain over Sentence Transformers for pooling models.
# - **infinity**, for several models, or images and audio, behind one address.
# - **A server of your own**, when the texts are mixed in length and the machine is a CPU, when prompts or truncation
#   must be yours to decide, or when you must be able to read every line of it.
#
# Measure your own texts before you believe any of this, ours included.
#
# ## How large a machine?
#
# A common rule sorts machines by the vector's width: so many dimensions, so many gigabytes. Look at what is measured
# on twins (a model's architecture with random weights: its speed and memory, without its quality):

# %%
measured = twins.measured()
dims = {card.hub_id: card.dims for card in catalog.cards()}
machine = measured.assign(
    model=measured["hub_id"].str.split("/").str[-1],
    dims=measured["hub_id"].map(dims),
    parameters_m=measured["parameters"] / 1e6,
    texts_per_s=measured["tokens_per_s"] / measured["tokens"],
)
shown = ["model", "device", "dims", "parameters_m", "weights_mb", "peak_mb", "texts_per_s"]
SHOW = ["all-MiniLM-L6-v2", "multilingual-e5-small", "bge-base-en-v1.5", "multilingual-e5-base", "bge-large-en-v1.5"]
SHOW += ["bge-m3", "Qwen3-Embedding-0.6B", "Qwen3-Embedding-4B", "Qwen3-Embedding-8B"]
machine[machine["model"].isin(SHOW)].sort_values("parameters")[shown].set_index("model").round(1)

# %%
for hardware, rows in machine.groupby(["device", "hardware", "threads"]):
    print(f"measured on {hardware[0]} ({hardware[1]}), threads: {hardware[2]}, {rows['tokens'].iloc[0]} tokens a text")
if "cuda" not in set(machine["device"]):
    print("no GPU rows yet: benchmarks/twins.py writes measured_cuda.csv on a machine that has one")
for width, rows in machine[machine["device"] == "cpu"].groupby("dims"):
    if len(rows) > 2:
        small_model, large_model = rows.loc[rows["parameters"].idxmin()], rows.loc[rows["parameters"].idxmax()]
        print(
            f"{width} dims: {small_model['parameters_m']:.0f} to {large_model['parameters_m']:.0f}M parameters, ",
            end="",
        )
        print(f"{rows['texts_per_s'].min():.1f} to {rows['texts_per_s'].max():.1f} texts/s")

# %% [markdown]
# One width, and a wide range of sizes and speeds: dimensions size your index, parameters size your machine. What a
# text costs follows the layers, not the vocabulary, whose rows are only looked up: compare multilingual-e5-small with
# MiniLM. Peak memory without a value means that only the model's first layers were run, since all of it doesn't fit,
# and the time extrapolated. And "a CPU is too slow" isn't a fact but a sum: your texts a second against the last
# column.
#
# ## Into an image
#
# The usual Dockerfile of five lines installs whatever is newest, runs as root, and says nothing about its health. In
# `deploy/` of the course each of its gaps has its line:
#
# | gap | line in `deploy/Dockerfile.server` |
# |---|---|
# | other versions on every build | a base image with its full tag; every package held by `requirements.lock` |
# | a CUDA build nobody uses | `PIP_EXTRA_INDEX_URL` as build argument, for PyTorch's CPU index |
# | pip, caches and sources in the image | two stages: only the environment and the weights are copied over |
# | weights downloaded at every start | in the image, at the pinned revision; the hub is off at run time |
# | root | `USER 10001:10001`; compose adds a read-only file system and drops all capabilities |
# | a dead worker goes unnoticed | `HEALTHCHECK` on `/health`, which answers 503 when the worker died |
# | requests lost at each new version | exec form, so that SIGTERM reaches uvicorn, which finishes what it accepted |
# | no limit | `mem_limit` in `compose.yml`, and the queue's limit in the server |
#
# `compose.yml` puts Prometheus beside it. [deploy/README.md](../deploy/README.md) says how to build it, and what of it
# was checked.
#
# ## Recap
#
# - **Measure**: throughput, p95 and CPU time a text. When more clients only raise the latency, the server is full;
#   Little's law ties the three together.
# - **Find**: an empty list, a long text, a huge one and a stranger all got the wrong answer from the small app; under
#   load it computed one text at a time and let everybody wait.
# - **Decide**: take a ready server where its strengths are yours; size the machine by parameters, layers and measured
#   tokens a second, never by the width of the vector.
#
# Test yourself: Why does batching by count lose once lengths differ? A server is full and you double its queue: what
# gets better, and what worse? Why is a cut text worse than a refused one?
#
# Now the exercise: [admission, batches, answers](../exercises/11_self_hosting/11_self_hosting.ipynb)
#
# Sources: Little 1961, *A Proof for the Queuing Formula L = λW* ([doi](https://doi.org/10.1287/opre.9.3.383));
# [Text Embeddings Inference](https://huggingface.co/docs/text-embeddings-inference), its
# [README](https://github.com/huggingface/text-embeddings-inference),
# [supported models and hardware](https://huggingface.co/docs/text-embeddings-inference/supported_models) and
# [command line](https://huggingface.co/docs/text-embeddings-inference/cli_arguments); [vLLM, pooling models](https://docs.vllm.ai/en/v0.18.0/models/pooling_models/);
# [infinity's README and `inference/queue.py`](https://github.com/michaelfeil/infinity), all three read in November
# 2026; OpenAI's
# [embeddings API](https://platform.openai.com/docs/api-reference/embeddings).
