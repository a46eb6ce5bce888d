# %% [markdown]
# # 11 · Self-hosting
#
# After this lesson you can
# - **measure** an embedding server under load, and say from three numbers whether it is full,
# - **find** what breaks a small server: load, a long text, an empty list, a client without a key,
# - **decide** between a server of your own and a ready one, and size the machine for it.
#
# {{minutes}} minutes · up to {{memory_mb}} MB of memory · {{download}}
#
# Twenty lines of Python make a model into a service. This lesson starts with these twenty lines, breaks them one by
# one, mends what broke, and ends at `helpers/server`, which speaks OpenAI's protocol. Every server in here runs
# on your own machine, listens on `127.0.0.1` only, and is gone when its cell ends.

# %% tags=["parameters"]
clients: int = 12  # how many clients ask at once in the load tests
texts_each: int = 4  # texts that each client sends, one a request

# %%
import base64
import runpy
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fastapi
import httpx
import numpy as np
import openai
import pandas as pd
import uvicorn
from fastapi.testclient import TestClient
from IPython.display import display
from matplotlib import pyplot as plt

from helpers import catalog, data, encode, load, weights
from helpers.encode import token_counts
from helpers.models import twins
from helpers.server.trial import load_test, serving

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
# None of them. A 500 says "my fault" for what is the client's; a 200 says that all is well, even to whoever came
# without a key (a secret that each client sends along, so that a server knows its own) or sent a megabyte of which
# nearly nothing was read. The worst is the second: the model cut the text and nobody was told. Here are two documents
# with the same beginning:

# %%
limit = minilm.max_seq_length
tokens = len(minilm.tokenizer(long_text, verbose=False)["input_ids"])
one, other = long_text + " The contract is valid.", long_text + " The contract is void."
found = np.array(small.post("/embed", json={"texts": [one, other]}).json()["embeddings"])
print(f"{tokens} tokens were sent, the model reads {limit}; cosine of the two: {found[0] @ found[1]:.6f}")
print(f"read of each: {limit / tokens:.0%}")

# %% [markdown]
# Both texts have the same vector, because what makes them differ was never read. A server must either refuse a long
# text or cut it and say so: quietly is the one wrong way. And it can't tell a query from a document. For MiniLM that
# doesn't matter; for many models it does, as lessons 02 to 06 showed.
#
# ## Under load
#
# Now as a real process, with clients that ask at the same time. `serving` starts it on a free port, waits until it
# answers, and ends it whatever happens; each call of the model computes in one thread. `load_test` has the workers of a
# batch job: each sends one text, waits for its answer, and sends the next. What counts: how many texts a second in all,
# the *latency* that a client sees (median, p50, and p90, which one request in ten exceeds), and how many texts a second
# of the server's own CPU time buys, which is what you pay for. (Both stand in `helpers/server/trial.py`.)
#
# **Decide, then run:** with many clients instead of one, what grows: the throughput, the latency, or both?

# %%
read = token_counts(minilm, data.texts())
fitting = [text for text, count in zip(data.texts(), read, strict=True) if count < limit]
sent, STEPS = fitting[: clients * texts_each], sorted({1, 4, clients})
with serving("small_app:app", path=folder.name) as server:
    rows = [load_test(server, sent, at_once, route="/embed", field="texts") for at_once in STEPS]
small_load = pd.DataFrame(rows).set_index("clients")
small_load["inside, by Little's law"] = small_load["texts/s"] * small_load["mean (ms)"] / 1000
small_load.round(1)

# %% [markdown]
# The last column is *Little's law*: the requests inside a system are its throughput times their mean stay. In a
# *closed loop* like this one, where every client is always inside, it only checks the clock. But it says what comes
# next: once throughput rises no more, every client more is paid in mean latency. No server is exempt. A good one does
# two things: it computes less for each text, and it refuses early what it can't do in time.
#
# A closed loop flatters: a slow server is asked less often, so the requests that would have waited longest are never
# sent (*coordinated omission*). Under mend 2 texts arrive whether it is ready or not.
#
# ## Mend 1: compute less
#
# The small app runs one `encode` a request, many of them at once, in threads that share the same cores. Put
# together into batches, texts share the cost of each call. But a batch is a rectangle: short texts are padded to the
# longest. What do batches cost in tokens: in order of arrival, sorted by length, and with a *token budget* in place of
# a number of texts?

# %%
waiting = read[:128]


def by_count(lengths: list[int], size: int) -> list[list[int]]:
    """Batches of `size` texts, in the order given."""
    return [lengths[i : i + size] for i in range(0, len(lengths), size)]


ways = {
    "one a request": by_count(waiting, 1),
    "16, by arrival": by_count(waiting, 16),
    "16, sorted": by_count(sorted(waiting), 16),
    "1024 tokens, sorted": [[waiting[i] for i in batch] for batch in encode.batches(waiting, token_budget=1024)],
}

# %%
rectangles = {way: [max(batch) * len(batch) for batch in batches] for way, batches in ways.items()}
padding = {
    "calls": {way: len(sizes) for way, sizes in rectangles.items()},
    "tokens computed": {way: sum(sizes) for way, sizes in rectangles.items()},
    "of it padding": {way: 1 - sum(waiting) / sum(sizes) for way, sizes in rectangles.items()},
    "largest call (tokens)": {way: max(sizes) for way, sizes in rectangles.items()},
}
pd.DataFrame(padding).round(2)

# %% [markdown]
# Sorting does most; the budget bounds the time and memory of a call, whatever texts come. Padded batches never compute
# fewer tokens than one text a request; what they save is calls, and by arrival they pay dearly for it. The helper pays
# this padding only for other architectures: a BERT or its kin it runs unpadded (lesson 10). No timer is needed to fill
# batches: while one is computed the next one gathers by itself.
#
# ## Mend 2: refuse early
#
# A queue without an end answers everybody, too late. Let texts arrive at random, as they do, at some share of what
# the machine can compute. One server lets everything wait; the other refuses what would wait longer than two seconds,
# with status 429 and the header `Retry-After`. The queue is counted in tokens, since ten long texts are not ten short
# ones. This is a simulation of two minutes, with MiniLM's speed from the table of twins below:

# %%
known = twins.measured().query("device == 'cpu'").set_index("hub_id")["tokens_per_s"]
RATE, DURATION = float(known.groupby(level=0).max()["sentence-transformers/all-MiniLM-L6-v2"]), 120.0


def simulate(share: float, max_wait: float, seed: int = 0) -> tuple[float, float]:
    """The p95 of the time that accepted texts stay, in seconds, and the share refused."""
    draw, mean = np.random.default_rng(seed), np.mean(waiting) / RATE
    work = draw.choice(waiting, size=int(share * DURATION / mean)) / RATE
    arrives = np.cumsum(draw.exponential(mean / share, size=len(work)))
    free, stays = 0.0, []
    for now, seconds in zip(arrives, work, strict=True):
        if free - now <= max_wait:
            free = max(free, now) + seconds
            stays.append(free - now)
    return float(np.quantile(stays, 0.95)), 1 - len(stays) / len(work)


# %%
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
print(f"at {shares[-1]:.1f} of the capacity, after {DURATION:.0f} s of load: p95 ", end="")
print(f"{simulated['no limit'][-1][0]:.0f} s without a limit, and growing as long as it lasts; ", end="")
print(f"{stay:.1f} s with one, which refuses {lost:.0%} and says when to come back")

# %% [markdown]
# Whoever is refused comes back, and that is load too: a good client waits at least `Retry-After`, longer after each
# refusal, and a random bit more, lest all come at once (*back-off with jitter*).
#
# ## The helper
#
# `helpers/server` has both mends, and an answer for each of the four requests above. It speaks OpenAI's protocol, so
# clients in any language exist already. It is started as you would start it, `uvicorn helpers.server:create_app
# --factory`, and set by environment variables that begin with `EMBED_`. Its limit is in seconds, like the
# simulation's: the tokens that wait, divided by the tokens a second that it measures of itself. One block asks it
# everything, and ends with a burst:

# %%
KEY = "a-key-for-this-lesson"
headers, on_cpu = {"Authorization": f"Bearer {KEY}"}, {"EMBED_DEVICE": "cpu", "EMBED_DTYPE": "float32"}


def post(http: httpx.Client, headers: dict, **body: object) -> httpx.Response:
    """Ask for embeddings."""
    return http.post("/v1/embeddings", json={"model": "all-MiniLM-L6-v2"} | body, headers=headers)


# %%
with serving("helpers.server:create_app", "--factory", EMBED_API_KEYS=KEY, EMBED_MAX_WAIT_S="2", **on_cpu) as server:
    rows = [load_test(server, sent, n, route="/v1/embeddings", field="input", headers=headers) for n in STEPS]
    with httpx.Client(base_url=server[0], timeout=60, trust_env=False) as http, ThreadPoolExecutor(40) as pool:
        told = {
            what: post(http, {} if what == "no key" else headers, input=request["json"]["texts"])
            for what, request in probes.items()
        }
        allowed = post(http, headers, input=long_text, truncate=True, input_type="query", encoding_format="base64")
        burst = list(pool.map(lambda i: post(http, headers, input=fitting[:32]), range(40)))
        metric_lines = http.get("/metrics", headers=headers).text.splitlines()
        client = openai.OpenAI(base_url=f"{server[0]}/v1", api_key=KEY, max_retries=0, http_client=http)
        by_client = client.embeddings.create(model="all-MiniLM-L6-v2", input=["Where are the keys?"])
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
# With `"truncate": true` a long text is cut, and `truncated` in the answer says which were. The prompt goes by
# `"input_type"`, `"query"` or `"document"`: the server puts the model's own before each text (MiniLM has none). A
# body, shortened in the middle, and what came of the burst (an empty queue takes any request):

# %%
print(f"{allowed.text[:90]} ... {allowed.text[-115:]}")
statuses = pd.Series([response.status_code for response in burst]).value_counts().to_dict()
print(f"{len(burst)} requests at once, 32 texts each, by status: {statuses}")
for refused in [response for response in burst if response.status_code == 429][-1:]:
    print(f"one of them, Retry-After {refused.headers['Retry-After']}: {refused.json()['error']['message']}")
if 429 not in statuses:
    print("nothing was refused: this machine does the burst within the limit")

# %% [markdown]
# And the load, side by side. Read the CPU time first: the clients here share the machine with the server, so texts a
# second are those of both together.

# %%
helper_load = pd.DataFrame(rows).set_index("clients")
figure, panels = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for axes, column in zip(panels, ("texts/CPU-s", "p90 (ms)"), strict=True):
    axes.plot(small_load.index, small_load[column], marker="o", color="#d55e00", label="small app")
    axes.plot(helper_load.index, helper_load[column], marker="s", color="#0072b2", label="helper")
    axes.set(xlabel="clients at once", ylabel=column)
    axes.set_ylim(bottom=0)  # after all lines, or it keeps the limits of the first
panels[0].legend(fontsize=8)
plt.show()
columns = ["texts/s", "texts/CPU-s", "cores used", "p50 (ms)", "p90 (ms)", "memory (MB)", "answered"]
pd.concat({"small app": small_load[columns], "helper": helper_load[columns]}, names=["server"]).round(2)

# %% [markdown]
# One short run each: differences of a few milliseconds are noise; `python -m benchmarks.serving` measures longer. One
# thread a call isn't one core: FastAPI runs each request in a thread of a pool of forty, so the small app takes as
# many cores as it finds, and the helper one. Where the small app answers sooner with more cores, it pays for them in
# CPU time. `EMBED_THREADS` gives the helper more.
#
# ## What a server tells its keeper
#
# Prometheus is a program that reads `/metrics` every few seconds and keeps each number's history, for charts and
# alarms. Four questions it answers: is it full (queue), does it pay (batch sizes), whom does it fail (statuses); and,
# not printed here, how long does it take (`embed_request_seconds`)?

# %%
shown = ("embed_requests_total", "embed_batch_texts_sum", "embed_batch_texts_count", "embed_queue_tokens")
print("\n".join(line for line in metric_lines if line.startswith(shown)))

# %% [markdown]
# ## Ready-made servers
#
# You needn't write one. What three of them say of themselves, in the documents that `helpers/facts/servers.csv` names,
# beside the course's. "not read" means that those documents don't say, not that the feature is missing: ask the version
# that you would run.

# %%
facts = pd.read_csv(catalog.FACTS / "servers.csv")
ready = facts.pivot(index="feature", columns="server", values="says").fillna("not read")
with pd.option_context("display.max_colwidth", None):
    display(ready.loc[facts["feature"].unique(), facts["server"].unique()])
print(f"read: {', '.join(sorted(facts['read'].unique()))}")

# %% [markdown]
# - **Text Embeddings Inference**, for an encoder on a GPU in production: its images and its batching by tokens are
#   made for that.
# - **vLLM**, if you run it already for language models, or your embedding model is a language model of billions of
#   parameters.
# - **infinity**, for several models, or images and audio, behind one address.
# - **A server of your own**, when the answer must say which texts were cut, when clients of OpenAI's route must choose
#   the prompt (`input_type`), or when you must be able to read every line of it.
#
# One command each, after their documentation; none of them was run here. Whichever it is, the client of this lesson
# changes its `base_url` and the model's name, and nothing else.
#
# ```bash
# # Text Embeddings Inference; on a CPU the image cpu-1.8, without --gpus
# docker run --gpus all -p 127.0.0.1:8080:80 -v "$PWD/data:/data" \
#   ghcr.io/huggingface/text-embeddings-inference:1.8 --model-id BAAI/bge-base-en-v1.5
# # vLLM
# vllm serve Qwen/Qwen3-Embedding-0.6B --runner pooling --host 127.0.0.1 --port 8080
# # infinity
# docker run --gpus all -p 127.0.0.1:7997:7997 -v "$PWD/data:/app/.cache" michaelf34/infinity:0.0.70 \
#   v2 --model-id nomic-ai/nomic-embed-text-v1.5 --dtype float16 --engine torch --port 7997
# ```
#
# | production also asks | in short |
# |---|---|
# | probes | Kubernetes doesn't read `HEALTHCHECK`: give it `/health` as readiness probe (503 until it is ready) |
# | replicas | equal servers behind a balancer that counts open requests; each has a queue and limits of its own |
# | repeated queries | a cache by text, prompt and revision: often the cheapest speed-up there is |
# | a new model | its vectors fit no old index: embed anew beside the old one, then switch server and index together |
# | TLS, slow clients | a proxy in front, as `deploy/README.md` says |
#
# Measure your own texts before you believe any of this, ours included.
#
# ## How large a machine?
#
# A common rule sorts machines by the vector's width: so many dimensions, so many gigabytes. Look at what is measured
# on twins (a model's architecture with random weights: its speed and memory, without its quality). `peak_mb` is the
# most that the model takes while it computes one batch, its weights included; Python, PyTorch and the server come on
# top:

# %%
measured = twins.measured().query("device == 'cpu' and dtype == 'float32'")
dims = {card.hub_id: card.dims for card in catalog.cards()}
machine = measured.assign(
    model=measured["hub_id"].str.split("/").str[-1],
    dims=measured["hub_id"].map(dims),
    parameters_m=measured["parameters"] / 1e6,
    bf16_mb=measured["parameters"] * 2 / 1e6,
    time=np.where(measured["layers_run"] < measured["layers"], "extrapolated", "measured"),
).drop_duplicates("model", keep="last")
SHOW = ["all-MiniLM-L6-v2", "bge-small-en-v1.5", "multilingual-e5-small", "bge-base-en-v1.5", "bge-large-en-v1.5"]
SHOW += ["bge-m3", "Qwen3-Embedding-0.6B", "Qwen3-Embedding-4B", "Qwen3-Embedding-8B"]
columns = ["model", "dims", "parameters_m", "weights_mb", "bf16_mb", "peak_mb", "tokens_per_s", "time"]
one = machine.iloc[0]
print(f"{one['hardware']}, {one['threads']} thread, texts of {one['tokens']} tokens; weights_mb and peak_mb in float32")
machine[machine["model"].isin(SHOW)].sort_values("parameters")[columns].set_index("model").round(0)

# %% [markdown]
# No GPU was measured: don't size one by this table; lesson 12 has published speeds of one.
#
# One width, and a wide range of sizes and speeds. Memory follows the parameters and their `dtype`: in 16 bits, as a GPU
# runs them, the weights take half of what float32 does. Speed follows the layers and their width. Compare bge-small and
# multilingual-e5-small: as many layers, as wide, nearly as fast, and the one several times the size of the other, by a
# vocabulary whose rows are only looked up. The vector's width sizes your index; it doesn't tell the model's memory.
# "Extrapolated": all of the model doesn't fit, so only its first layers were run. And "a CPU is too slow" isn't a fact
# but a sum: your tokens a second against `tokens_per_s`.
#
# ## Into an image
#
# An *image* is a file system with all that a program needs, ready to start; a *container* is a process that runs from
# one, shut off from the rest of the machine; *compose* starts several by one file. SIGTERM is the signal that asks a
# process to end. In *exec form*, a list instead of a line for a shell, the server itself gets it.
#
# The usual Dockerfile of five lines installs whatever is newest, runs as root, and says nothing about its health. In
# `deploy/` of the course each of its gaps has its line:
#
# | gap | line in `deploy/Dockerfile.server` |
# |---|---|
# | other versions on every build | a base image by full tag (which can move, a digest can't); `requirements.lock` |
# | a CUDA build nobody uses | `PIP_EXTRA_INDEX_URL` as build argument, for PyTorch's CPU index |
# | pip, caches and sources in the image | two stages: only the environment and the weights are copied over |
# | weights downloaded at every start | in the image, at the pinned revision; the hub is off at run time |
# | root | `USER 10001:10001`; compose adds a read-only file system and drops all capabilities |
# | asked before it is ready | `HEALTHCHECK` on `/health`, which only reports: 503 until the model is loaded |
# | a dead worker goes unnoticed | the server ends itself, and `restart` in `compose.yml` starts it again |
# | requests lost at each new version | exec form, so that SIGTERM reaches uvicorn, which finishes what it accepted |
# | no limit | `mem_limit` in `compose.yml`, and the queue's limits in the server |
#
# `compose.yml` puts Prometheus beside it. The images were not built here: they were linted, and the server's
# install steps run; [deploy/README.md](../deploy/README.md) says how to build them and what was checked.
#
# ## Recap
#
# - **Measure**: throughput, latency and CPU time a text. When more clients only raise the latency, the server is full;
#   Little's law ties throughput and mean latency to the requests inside.
# - **Find**: an empty list, a long text, a huge one and a client without a key all got the wrong answer from the small
#   app; under load it computed each text in a call of its own, and let everybody in.
# - **Decide**: take a ready server where its strengths are yours; size memory by parameters, speed by layers and their
#   width, or better by measured tokens a second; the width of the vector alone tells neither.
#
# Test yourself: What do batches by arrival lose once lengths differ? A server is full and you double its queue: what
# gets better, and what worse? Why is a cut text worse than a refused one?
#
# Now the exercise: [admission, batches, answers](../exercises/11_self_hosting/11_self_hosting.ipynb)
#
# Sources: Little 1961, *A Proof for the Queuing Formula L = λW* ([doi](https://doi.org/10.1287/opre.9.3.383));
# [Text Embeddings Inference](https://huggingface.co/docs/text-embeddings-inference), its
# [supported models and hardware](https://huggingface.co/docs/text-embeddings-inference/supported_models),
# [command line](https://huggingface.co/docs/text-embeddings-inference/cli_arguments) and
# [`router/src/http/types.rs`](https://github.com/huggingface/text-embeddings-inference);
# [vLLM, pooling models](https://docs.vllm.ai/en/v0.18.0/models/pooling_models/); infinity's
# [README, `infinity_server.py` and `inference/queue.py`](https://github.com/michaelfeil/infinity); OpenAI's
# [embeddings API](https://platform.openai.com/docs/api-reference/embeddings).
