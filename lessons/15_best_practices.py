# %% [markdown]
# # 15 · Best practices, measured
#
# After this lesson you can
# - **turn** a rule of thumb into cases that could contradict it, and measure them,
# - **tell** which of the usual rules hold here, which don't, and on what the others depend,
# - **decide** with percentiles and intervals whether a deployment keeps what was promised.
#
# {{minutes}} minutes · up to {{memory_mb}} MB of memory · {{download}}
#
# Lists of dos and don'ts go from page to page. Most of their lines are true of some model, some load and some
# machine, and are repeated as if of all. This last lesson takes the best known and measures each in a few lines of
# code. It shows how to check such a saying; the lessons it links to say why it comes out as it does.

# %% tags=["parameters"]
latency_target_ms: float = 100.0  # what a search may spend on the vector of its query; your own figure
download_mbit_per_s: float = 200.0  # assumed bandwidth of a download from the hub
queries_per_s: float = 20.0  # assumed load, where cost is computed

# %%
import gc
import inspect
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import torch
from matplotlib import pyplot as plt
from scipy import stats
from sentence_transformers import SentenceTransformer

from helpers import bundled, catalog, costs, data, load, models, weights
from helpers.encode import encode, token_counts
from helpers.measure import environment, metrics, speed
from helpers.measure.metrics import Estimate
from helpers.models import twins

torch.set_num_threads(1)  # one thread, so that figures compare
mini = load("all-MiniLM-L6-v2", device="cpu")
search = data.retrieval()
queries, passages = list(search.queries.values()), list(search.corpus.values())
print(f"{environment.hardware()['cpu']}, one thread, torch {torch.__version__}, target {latency_target_ms:g} ms")

# %% [markdown]
# ## A rule for verdicts
#
# A saying is taken at its word and tried on several cases. Each speaks for it, against it, or leaves it open: an
# interval with zero inside shows no difference, and doesn't show that there is none. All "for" is "true", all
# "against" is "false", both together is "it depends"; and where open cases could still turn it, the verdict is
# "open". A saying that something *can* happen is true as soon as one case shows it. That is a verdict on these cases,
# so look at which they are.

# %%
found: list[dict[str, str]] = []
SIGNS = {True: "for", False: "against", None: "open"}


def conclude(saying: str, cases: dict[str, bool | None], lesson: str, *, can: bool = False) -> None:
    """Print what each case says of a saying (None: open) and the verdict, and keep both for the table at the end."""
    lines = [f"{SIGNS[holds]}: {case}" for case, holds in cases.items()]
    said = {True} if can and True in cases.values() else set(cases.values())
    verdict = "it depends" if {True, False} <= said else "open" if None in said else "true" if True in said else "false"
    print("\n".join(lines), f"verdict on '{saying}': {verdict}", sep="\n")
    deeper = f'<a href="{lesson}.ipynb">{lesson[:2]}</a>'
    found.append({"saying": saying, "verdict": verdict, "measured": "<br>".join(lines), "deeper": deeper})


def above(low: float, high: float, limit: float = 0) -> bool | None:
    """Whether an interval lies above a limit: True, False (below it), or None (on both sides)."""
    return True if low > limit else False if high < limit else None


def gained(change: Estimate) -> bool | None:
    """Whether a change is shown to be a gain."""
    return above(change.low, change.high)


def opposite(holds: bool | None) -> bool | None:
    return None if holds is None else not holds


def interval(change: Estimate) -> str:
    return f"{change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}]"


# %% [markdown]
# ## Weights on disk, and a process that stays warm
#
# **Decide, then run:** a new process has its weights on the disk. What takes longest until its first vector: the
# imports, the loading of the weights, or the vector?
#
# It is measured on a copy of MiniLM. The operating system keeps what was read lately in memory (the *page cache*),
# so that a second load needn't touch the disk. For the rows "from the disk", the copy is dropped from that cache
# first, and the bytes that the process then had to fetch prove that it was.

# %%
can_drop = hasattr(os, "posix_fadvise") and hasattr(psutil.Process, "io_counters")  # Linux


def start(folder: str, drop: bool) -> dict[str, float]:
    """Seconds until a model is loaded and from there to a vector, and the MB that the process fetched."""
    process = psutil.Process()
    if drop:
        gc.collect()  # a model that isn't collected yet would keep its pages
        with open(f"{folder}/model.safetensors", "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # out of the page cache
    fetched = process.io_counters().read_bytes if drop else 0
    begin = time.perf_counter()
    model = SentenceTransformer(folder, device="cpu", local_files_only=True)
    loaded = time.perf_counter()
    model.encode("where is my parcel")
    took = {"load (s)": loaded - begin, "vector (s)": time.perf_counter() - loaded}
    return took | {"fetched (MB)": (process.io_counters().read_bytes - fetched) / 1e6 if drop else 0.0}


# %% [markdown]
# The same function runs in a new process, and three times in this one for a reload. Imports are counted in CPU time,
# which doesn't depend on what the disk's cache holds of Python's own files; the rest by the clock.

# %%
CHILD = f"""
import gc, json, os, sys, time
import psutil
from sentence_transformers import SentenceTransformer
imports = time.process_time()
{inspect.getsource(start)}
print(json.dumps({{"imports (CPU s)": imports}} | start(sys.argv[1], {can_drop})))
"""
with tempfile.TemporaryDirectory() as folder:
    copy = Path(shutil.copytree(bundled.minilm_folder(), Path(folder, "model"), copy_function=shutil.copyfile))
    with (copy / "model.safetensors").open("rb+") as file:
        os.fsync(file.fileno())  # what isn't on the disk yet can't be dropped
    command = [sys.executable, "-c", CHILD, str(copy)]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=one_thread)
    drops = (can_drop, False) * 3
    reloads = pd.DataFrame([start(str(copy), drop) for drop in drops])
new = json.loads(said.stdout.splitlines()[-1])

# %%
reloads["sum (s)"] = reloads["load (s)"] + reloads["vector (s)"]
disk, memory = reloads[reloads["fetched (MB)"] >= 1], reloads[reloads["fetched (MB)"] < 1]
cold = new["imports (CPU s)"] + new["load (s)"] + new["vector (s)"]
rows = {"new process": new | {"sum (s)": cold}}
for where, kind in {"reload, from the disk": disk, "reload, from memory": memory}.items():
    if len(kind):  # nothing comes from the disk where the system can't drop, or the folder is in memory
        rows[f"{where} (fastest of {len(kind)})"] = kind.loc[kind["sum (s)"].idxmin()].to_dict()
longest = max(("imports (CPU s)", "load (s)", "vector (s)"), key=lambda part: new[part])
print(f"longest in a new process: {longest.split(' (')[0]}, {new[longest]:.1f} of {cold:.1f} s")
columns = ["imports (CPU s)", "load (s)", "vector (s)", "sum (s)", *["fetched (MB)"] * can_drop]
pd.DataFrame(rows).T[columns].round(3).astype(object).fillna("–")

# %%
cases = {}
for where, kind in {"the disk": disk, "memory": memory}.items():
    if len(kind):
        low, high = 1000 * kind["sum (s)"].min(), 1000 * kind["sum (s)"].max()
        line = f"a reload from {where} takes {low:.0f} to {high:.0f} ms, the target is {latency_target_ms:g}"
        cases[line] = above(low, high, latency_target_ms)
if not len(disk):
    print("nothing was fetched from the disk here: every reload is from memory")
conclude("Don't keep models on disk only: reloading is slow", cases, "11_self_hosting")
warm = []
for _ in range(50):
    begin = time.perf_counter()
    mini.encode("where is my parcel")
    warm.append(time.perf_counter() - begin)
print(f"a warm model needs {1000 * np.median(warm):.1f} ms, ", end="")
print(f"a reload from memory {memory['sum (s)'].min() / np.median(warm):.0f} times as long")

# %% [markdown]
# The disk is where weights belong. What is slow is to start at all, so start once and keep the process. Weights in
# the safetensors format are *memory-mapped*: a part of the file is read when it is touched. So loading looks quick,
# the first vectors pay for the rest, the vectors of words that never occur aren't read at all, and processes on one
# machine share what was read. Encode something of every length before the first request comes.
#
# What would a download add? This is arithmetic and no measurement: the catalogue's size of the weights over the
# bandwidth assumed in the parameters.

# %%
cases = {}
for name in ("all-MiniLM-L6-v2", "bge-base-en-v1.5", "bge-m3", "Qwen3-Embedding-0.6B", "Qwen3-Embedding-8B"):
    megabytes = catalog.card(name).memory_mb_mteb * 2**20 / 1e6  # mteb counts in MiB
    seconds = 8 * megabytes / download_mbit_per_s
    cases[f"{name}, {megabytes:,.0f} MB: {seconds:,.1f} s less"] = 1000 * seconds > latency_target_ms
print(f"at {download_mbit_per_s:g} Mbit/s; 'for': it saves a first request more than {latency_target_ms:g} ms")
conclude("Download in advance: it saves the wait", cases, "11_self_hosting")
print()
cases = {f"MiniLM, weights here: {cold:.1f} s to the first vector": cold <= latency_target_ms / 1000}
conclude("Download in advance: no cold start", cases, "11_self_hosting")

# %% [markdown]
# There is a better reason than time to download in advance: a start that asks the hub fails when the hub does.
# `HF_HUB_OFFLINE=1` makes sure that none does.
#
# ## A CPU, and when a GPU pays
#
# Four models: static word vectors of MiniLM, MiniLM in int8, MiniLM, and all-mpnet-base-v2, five times its size.
# **Decide, then run:** one query at a time, on one thread of this CPU. Which of them answer nearly always within the
# target?
#
# A *percentile* says how slow the slow ones are: p95 is the smallest latency that ninety-five of a hundred requests
# don't exceed. A hundred requests are a sample, too small for a p99, and the share within the target gets an exact
# interval (Clopper and Pearson). It takes requests as independent. They came one after another here, so that none
# waited in a queue. Where mpnet's weights aren't here (`make weights`), its twin has its speed. CPU time decides: on
# one thread it is what the clock shows where nothing else runs. The clock stands beside it, and where the two differ,
# something else ran here meanwhile.

# %%
mpnet = load("all-mpnet-base-v2", device="cpu")
if not weights(mpnet).real:
    mpnet = load("all-mpnet-base-v2", source="twin", device="cpu")
contestants = {
    "static, 256 dims": load("all-MiniLM-L6-v2-static-256", device="cpu"),
    "MiniLM int8": load("all-MiniLM-L6-v2-int8", device="cpu"),
    "MiniLM": mini,
    f"mpnet ({weights(mpnet).kind} weights)": mpnet,
}


def latencies_ms(model: SentenceTransformer) -> np.ndarray:
    """(2, requests): sorted milliseconds of each query on its own, by the clock and in CPU time, after a warm-up."""
    took = []
    for query in [*queries[:5], *queries]:
        clock, cpu = time.perf_counter(), time.process_time()
        model.encode_query(query, show_progress_bar=False)
        took.append([1000 * (time.perf_counter() - clock), 1000 * (time.process_time() - cpu)])
    return np.sort(np.array(took[5:]).T)


def percentile(ordered: np.ndarray, share: float) -> float:
    """The smallest latency that at least this share of the requests don't exceed."""
    return float(ordered[math.ceil(share * len(ordered)) - 1])


# %%
took, by_clock, within = {}, {}, {}
for name, model in contestants.items():
    by_clock[name], took[name] = latencies_ms(model)
    assert percentile(took[name], 0.95) == np.quantile(took[name], 0.95, method="inverted_cdf")
    in_time = int((took[name] <= latency_target_ms).sum())
    ends = stats.binomtest(in_time, len(queries)).proportion_ci(method="exact")
    within[name] = Estimate(in_time / len(queries), ends.low, ends.high)
table = pd.DataFrame({"requests": dict.fromkeys(took, len(queries))})
table["p50 (ms)"] = [percentile(ms, 0.5) for ms in took.values()]
table["p95 (ms)"] = [percentile(ms, 0.95) for ms in took.values()]
table["p95 by the clock (ms)"] = [percentile(ms, 0.95) for ms in by_clock.values()]
table["share within the target (95% interval)"] = [str(share) for share in within.values()]
table.round(2)

# %%
figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
for (name, ms), colour, line in zip(took.items(), ("#0072b2", "#e69f00", "#009e73", "#cc79a7"), "-:-:", strict=True):
    axes.step(ms, np.arange(1, len(ms) + 1) / len(ms), where="post", color=colour, linestyle=line, label=name)
axes.axvline(latency_target_ms, color="grey", linestyle="--", label="target")
axes.axhline(0.95, color="grey", linewidth=0.5, label="95 of 100")
axes.set_xscale("log")
axes.xaxis.set_major_formatter("{x:g}")
axes.xaxis.set_minor_formatter("")
axes.set_xlabel("CPU time of one query (ms, log scale), one thread")
axes.set_ylabel("share answered by then")
axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
plt.show()

# %% [markdown]
# A model speaks for "too slow" if the whole interval of its share lies below `0.95`, against it if above. For a model
# of billions of parameters it is arithmetic: the tokens of a query, its prompt included, over the tokens a second that
# the course keeps from measurements on twins. Those ran in batches on one thread of another machine, of the largest
# models only the first layers; a query alone is no faster.

# %%
slowest = max(took, key=lambda name: percentile(took[name], 0.5))
print(f"slowest: {slowest}; half of its requests take {percentile(took[slowest], 0.5):.1f} ms or less, ", end="")
print(f"and {within[slowest].value:.0%} are within {latency_target_ms:g} ms")
kept = twins.measured().query("device == 'cpu' and dtype == 'float32'").set_index("hub_id")


def query_tokens(name: str) -> float:
    """Mean tokens of a query behind the model's prompt, by MiniLM's tokenizer."""
    prompt = catalog.card(name).prompts["query"]
    return float(np.mean(token_counts(mini, [prompt + query for query in queries])))


large = "Qwen3-Embedding-8B"
large_ms = 1000 * query_tokens(large) / kept.tokens_per_s[catalog.card(large).hub_id]
cases = {f"{name}: {s} within the target": opposite(above(s.low, s.high, 0.95)) for name, s in within.items()}
cases[f"{large}: {large_ms:,.0f} ms a query, by arithmetic"] = bool(large_ms > latency_target_ms)
conclude("No CPU in production: too slow for real time", cases, "10_encoding_fast")

# %% [markdown]
# Now the GPU. "Faster" and "worth its price" are two claims, and a ratio without its two machines is none. If there
# is a GPU here, it is set against one thread and against all cores.

# %%
device, cores_here = models.choose_device(), environment.hardware()["cores"]
cases = {}
if device != "cpu":
    texts = list(data.texts()[::4])
    on_gpu = load("all-MiniLM-L6-v2", device=device)
    for threads in sorted({1, cores_here}):
        torch.set_num_threads(threads)
        ratio = speed.measure({"CPU": mini, "GPU": on_gpu}, texts, budget_s=20)["GPU"].wall_ratio.value
        cases[f"MiniLM on {device}: {ratio:.1f} times the texts of {threads} thread(s)"] = 10 <= ratio <= 50
    torch.set_num_threads(1)
conclude("A GPU is 10 to 50 times as fast", cases or {"there is no GPU here": None}, "10_encoding_fast")

# %% [markdown]
# Whether it pays is a question of memory first, then of price. The machines are one provider's. Assumed and not
# measured: a core does what the one thread of the stored measurements did, six tenths of it are used, a quarter more
# memory than the weights is needed, and one GPU copes with the load. And it is about throughput alone: CPUs that keep
# up with a load can still miss the latency target.

# %%
PROVIDER, CPU_CORES, CPU_GB = "Hugging Face Inference Endpoints", 4, 16  # 8 vCPU are 4 cores with two threads each
GPU_GB = {"aws nvidia-t4": 14, "aws nvidia-l4": 24, "aws nvidia-a100": 80}  # memory by the page the prices are from
cpu = costs.price(PROVIDER, "aws intel-spr x8")
cases = {}
for name in ("all-MiniLM-L6-v2", "bge-base-en-v1.5", "bge-large-en-v1.5", "Qwen3-Embedding-0.6B", large):
    model = kept.loc[catalog.card(name).hub_id]
    gb = 1.25 * model.parameters / 1e9
    gpu = costs.price(PROVIDER, next(item for item, room in GPU_GB.items() if 2 * gb <= room))  # 16 bit
    if 4 * gb > CPU_GB:  # 32 bit
        print(f"{name} needs {4 * gb:.0f} GB on a CPU, that machine has {CPU_GB}: no price to set against {gpu.item}")
        continue
    usd = cpu.price_usd * math.ceil(queries_per_s * query_tokens(name) / model.tokens_per_s / 0.6 / CPU_CORES)
    cases[f"{name}: {usd:.2f} dollars an hour on CPUs, {gpu.price_usd:.2f} on {gpu.item}"] = usd > gpu.price_usd
print(f"{queries_per_s:g} queries/s; {PROVIDER}, {cpu.item}, prices of {cpu.source_date}")
conclude("A GPU pays", cases, "12_costs")

# %% [markdown]
# The load decides as much as the model: change `queries_per_s` and look again.
#
# ## Batches
#
# Short queries against a mixture of short and long texts, in batches of eight: in the order of arrival, and sorted
# by length, as `encode` does by itself when it gets all at once.

# %%
texts = data.texts()[::20]
mixed = [text.split(". ")[0] if i % 2 else " ".join(text.split()[:80]) for i, text in enumerate(texts)]
sets = {"short queries": queries[: len(mixed)], "mixed lengths": mixed}
ways = {
    "one by one": lambda texts: [mini.encode(text) for text in texts],
    "by arrival": lambda texts: [mini.encode(texts[i : i + 8], batch_size=8) for i in range(0, len(texts), 8)],
    "sorted": lambda texts: mini.encode(texts, batch_size=8),
}


def cpu_seconds(way: str, texts: list[str]) -> float:
    begin = time.process_time()
    ways[way](texts)
    return time.process_time() - begin


# %% [markdown]
# Measured in CPU seconds of one thread, in seven rounds, each beginning with another way; the first round warms up. A
# way counts as faster (or slower) if it was so in all six others.

# %%
rounds = 6
gains = {(which, way): [] for which in sets for way in ways if way != "one by one"}
for turn in range(rounds + 1):
    order = [list(ways)[(turn + i) % len(ways)] for i in range(len(ways))]
    for which, texts in sets.items():
        spent = {way: cpu_seconds(way, texts) for way in order}
        for way in set(ways) - {"one by one"} if turn else ():
            gains[which, way].append(spent["one by one"] / spent[way])
cases = {
    f"{which}, {way}: {min(gain):.2f} to {max(gain):.2f} times one by one": above(min(gain), max(gain), 1)
    for (which, way), gain in gains.items()
}
conclude("Batch: more throughput", cases, "10_encoding_fast")
print(f"two equal ways would differ alike in all rounds in 1 of {2 ** (rounds - 1)} comparisons")

# %% [markdown]
# A batch saves calls and computes padding. Which weighs more depends on the lengths, the order and the device. A GPU
# is mostly idle with one text, so there the balance is another one: measure it there.
#
# ## Normalisation
#
# **Decide, then run:** vectors of all lengths, once as they are and once made unit vectors. Does the cosine change?
# MiniLM ends in a `Normalize` module, so the cell takes that off to have something to measure. First by hand, then
# the library's.

# %%
unnormalised = SentenceTransformer(modules=list(mini)[:2], device="cpu")
begin = time.process_time()
asked, stored = encode(unnormalised, queries), encode(unnormalised, passages)
encoding_s = time.process_time() - begin
begin = time.process_time()
unit_asked, unit_stored = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (asked, stored))
normalising_s = time.process_time() - begin
assert np.allclose(unit_asked[:8], unnormalised.encode(queries[:8], normalize_embeddings=True), atol=1e-5)
assert np.allclose(unit_asked[:8], mini.encode_query(queries[:8]), atol=1e-5)


def cosine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(n, m) cosines, the lengths divided out."""
    return one @ other.T / np.linalg.norm(one, axis=1)[:, None] / np.linalg.norm(other, axis=1)


def ndcg(scores: np.ndarray) -> np.ndarray:
    """nDCG@10 of each query of the retrieval set."""
    rows = zip(search.queries, scores.tolist(), strict=True)
    run = {query: dict(zip(search.corpus, row, strict=True)) for query, row in rows}
    return metrics.per_query(run, search.qrels)["ndcg@10"]


before, after = (np.linalg.norm(vectors, axis=1) for vectors in (stored, unit_stored))
print(f"lengths before: {before.min():.2f} to {before.max():.2f}; after: {after.min():.2f} to {after.max():.2f}")
print(f"cost of normalising: {normalising_s / encoding_s:.3%} of the CPU seconds of encoding")
flags = pd.Series([c.outputs_normalized for c in catalog.cards()]).map({True: "yes", False: "no"}).fillna("unknown")
print(f"catalogue, returns unit vectors: {flags.value_counts().to_dict()}")

# %%
by_cosine, by_dot, by_unit_dot = cosine(asked, stored), asked @ stored.T, unit_asked @ unit_stored.T
moves = {
    "made unit vectors": np.abs(cosine(unit_asked, unit_stored) - by_cosine).max(),
    "queries seven times as long": np.abs(cosine(7 * asked, stored) - by_cosine).max(),
}
cases = {f"{what}: cosines move by up to {move:.0e}": bool(move > 1e-5) for what, move in moves.items()}
conclude("Cosine needs unit vectors", cases, "01_sentence_transformers")
print()
moved, still = ((dot.argmax(axis=1) != by_cosine.argmax(axis=1)).sum() for dot in (by_dot, by_unit_dot))
cases = {
    f"as they are: another document is first for {moved} of {len(queries)} queries": bool(moved > 0),
    f"unit vectors: another document is first for {still} of {len(queries)} queries": bool(still == 0),
}
conclude("A dot product needs them to stand in for cosine", cases, "01_sentence_transformers")
change = metrics.estimate(metrics.mean, ndcg(by_dot) - ndcg(by_cosine))
print(f"nDCG@10 of the dot product without them, less that of cosine: {interval(change)}")

# %% [markdown]
# Cosine divides by the lengths itself. A dot product doesn't, and many indexes compute one. Another order needn't be
# a worse one, as the last line shows. Normalising costs next to nothing and does no harm under a cosine: a good habit
# with a wrong reason. (Some models are trained for the dot product of vectors that aren't unit; leave those as they
# are.)
#
# ## Prefixes
#
# MiniLM was trained on bare text, so a prefix is foreign to it. E5 was trained with `query: ` and `passage: `, and here
# are its real weights, rounded to 4 bits (`multilingual-e5-small-q4`; without them the cell says so, since a stand-in
# has no quality). As in lesson 04 it reads at most 48 tokens of a text, and each way is compared with the right one
# query by query. **Decide, then run:** which costs more, no prefix at all, or the two exchanged?

# %%
e5, right = load("multilingual-e5-small-q4", device="cpu"), ("query: ", "passage: ")
changed: dict[str, Estimate] = {}
if weights(e5).real:
    e5.max_seq_length = 48
    ways = {"right": right, "no prefix": ("", ""), "exchanged": right[::-1]}
    of_query = {
        way: ndcg(e5.encode(queries, prompt=one) @ e5.encode(passages, prompt=other).T)
        for way, (one, other) in ways.items()
    }
    changed = {w: metrics.estimate(metrics.mean, of_query[w] - of_query["right"]) for w in list(ways)[1:]}
    print(f"{weights(e5).kind} weights; nDCG@10 with the right prefixes {of_query['right'].mean():.3f}")
known = [card for card in catalog.cards() if card.query_prompt]
wants = sum(card.query_prompt != "none" for card in known)
print(f"the catalogue knows of {len(known)} models whether they want a prompt before a query: {wants} do")

# %%
cases = {f"E5, {way}: {interval(change)}": opposite(gained(change)) for way, change in changed.items()}
print("change of nDCG@10 against the model's own prefixes, each on its side")
none = {"no model that was trained with prefixes has its weights here (make weights)": None}
conclude("Use the model's own prefixes: others can do harm", cases or none, "04_e5", can=True)
if changed:
    lost = changed["no prefix"]
    print(f"without any, a loss above {max(0, -lost.low):.3f} is unlikely in these {len(queries)} queries\n")
plain, foreign = ndcg(by_cosine), {}
for name in ("e5-base-v2", "bge-base-en-v1.5", "gte-Qwen2-1.5B-instruct"):
    vectors = encode(mini, queries, prompt=catalog.card(name).prompts["query"])
    foreign[name] = metrics.estimate(metrics.mean, ndcg(vectors @ unit_stored.T) - plain)
cases = {f"MiniLM with that of {name}: {interval(c)}": opposite(gained(c)) for name, c in foreign.items()}
print("change of nDCG@10 by a foreign prefix before the query, against none")
conclude("Another model's prefix can do harm", cases, "04_e5", can=True)

# %% [markdown]
# A prefix belongs to the training: take the model's own (`model.prompts`), on the side where training had it, and no
# other model's. An open case isn't "no harm": a hundred queries leave a wide interval. And an exchanged prefix raises
# no error: `encode_query` and `encode_document` are what keeps each on its side.
#
# ## Context limits
#
# Long documents in series, such as annual reports of one museum, and queries that one passage answers. MiniLM reads
# the beginning of each and drops the rest. The mend: chunks of whole words by the tokenizer's own count, with overlap,
# and a document scores what its best chunk does. **Decide, then run:** whose rank suffers from the cut? MiniLM in int8
# computes it, a real model with the same limit, because it is quicker here.

# %%
long = data.long_documents()
whole, asked_long = list(long.corpus.values()), list(long.queries.values())
model, limit, size = contestants["MiniLM int8"], mini.max_seq_length, 128


def chunks(text: str, size: int, overlap: int = 16) -> list[str]:
    """Pieces of whole words, of at most `size` tokens with the special ones; neighbours share up to `overlap`."""
    tokens = mini.tokenizer(text, return_offsets_mapping=True, add_special_tokens=False, verbose=False)
    places, words = tokens["offset_mapping"], [*tokens.word_ids(), None]
    bounds = [i for i, word in enumerate(words) if i == 0 or word != words[i - 1]]  # where a word begins, and the end
    begin, pieces = 0, []
    while True:
        end = max(i for i in bounds if i <= begin + size - 2)
        pieces.append(text[places[begin][0] : places[end - 1][1]])
        if end == bounds[-1]:
            return pieces
        begin = next(i for i in bounds if i > begin and i >= end - overlap)


# %%
def count(texts: list[str]) -> np.ndarray:
    """Tokens of each text, nothing cut off."""
    return np.array([len(ids) for ids in mini.tokenizer(texts, verbose=False)["input_ids"]])


cut = [chunks(text, size) for text in whole]
flat = [chunk for pieces in cut for chunk in pieces]
owner = np.repeat(np.arange(len(cut)), [len(pieces) for pieces in cut])
assert count(flat).max() <= size <= limit
print(f"{len(whole)} documents of {count(whole).min()} to {count(whole).max()} tokens, limit {limit}, ", end="")
print(f"{len(flat)} chunks of at most {count(flat).max()}, {len(asked_long)} queries")

# %%
vectors = encode(model, asked_long)
truncated, of_chunks = vectors @ encode(model, whole).T, vectors @ encode(model, flat).T
chunked = np.stack([of_chunks[:, owner == i].max(axis=1) for i in range(len(whole))], axis=1)
ids = list(long.corpus)
right = np.array([next(ids.index(d) for d, grade in long.qrels[q].items() if grade > 0) for q in long.queries])
rank = {  # of the document that holds the answer; 1 is first
    how: 1 + (scores > scores[np.arange(len(right)), right][:, None]).sum(axis=1)
    for how, scores in {"truncated": truncated, "in chunks": chunked}.items()
}
ahead = [whole[i][: whole[i].index(long.answers[query])] for query, i in zip(long.queries, right, strict=True)]
places = {"before": count(ahead) <= limit, "behind": count(ahead) > limit}
rows = [
    {"answer": f"{where} the limit", "queries": there.sum(), "document": how, "found first": (r[there] == 1).mean()}
    | {"mean rank": r[there].mean(), "worst rank": r[there].max()}
    for where, there in places.items()
    for how, r in rank.items()
]
pd.DataFrame(rows).round(2).style.hide(axis="index").format(precision=2)

# %%
first = (rank["truncated"][places["behind"]] == 1).mean()
print(f"answer cut off: {first:.0%} of the documents are found first all the same, by what their beginning tells")
gain = {
    where: metrics.estimate(metrics.mean, (1 / rank["in chunks"] - 1 / rank["truncated"])[there])
    for where, there in places.items()
}
print("change of reciprocal rank (1 / rank, 1 is best) by chunks, against truncation")
dropped = 1 - np.minimum(count(whole), limit).sum() / count(whole).sum()
cases = {
    f"{dropped:.0%} of the tokens of the long documents aren't read": bool(dropped > 0),
    f"answers behind the limit, reciprocal rank by chunks: {interval(gain['behind'])}": gained(gain["behind"]),
}
conclude("Mind the context limit: truncation loses information", cases, "06_nomic")
over = (count(passages) > limit).sum()
print(f"answers before the limit, by chunks: {interval(gain['before'])}")
print(f"texts longer than the limit among the {len(passages)} passages of the retrieval set: {over}")

# %% [markdown]
# Truncation loses what is behind the limit, always and in silence; whether a search notices depends on where its
# answers stand. And the mend has a price: a chunk no longer says which document it is from, so where documents look
# alike, chunks can rank an answer at the beginning lower than truncation does. Lesson 06 goes into that. Count tokens
# before you encode, and judge with answers at every depth.
#
# ## All verdicts
#
# As they came out on this machine, in this run:

# %%
verdicts = pd.DataFrame(found)
counts = verdicts["verdict"].value_counts()
print(f"{len(verdicts)} sayings: " + ", ".join(f"{count} {verdict!r}" for verdict, count in counts.items()))
left = [{"selector": "td, th", "props": "text-align: left; vertical-align: top"}]
verdicts.style.hide(axis="index").set_table_styles(left)

# %% [markdown]
# ## Recap
#
# - **Turn**: a saying becomes a claim about cases; one claim at a time, and cases that could contradict it.
# - **Tell**: what holds here is in the table above, and so is what it depends on: lengths, training, load, price.
# - **Decide**: percentiles for the slow ones, an interval for the share within the target, and "open" where the
#   measurements can't tell.
#
# Test yourself: Why does dropping the page cache need a proof? A colleague reports a GPU that is "so many times
# faster": what do you ask first? Which of the sayings would come out otherwise in your own deployment, and how would
# you know?
#
# The last exercise: [chunks, an audit, a promise](../exercises/15_best_practices/15_best_practices.ipynb). The
# lessons that go deeper: [01](01_sentence_transformers.ipynb), [04](04_e5.ipynb), [06](06_nomic.ipynb),
# [10](10_encoding_fast.ipynb), [11](11_self_hosting.ipynb), [12](12_costs.ipynb).
#
# Sources: Clopper and Pearson 1934, *The Use of Confidence or Fiducial Limits*
# ([doi](https://doi.org/10.1093/biomet/26.4.404)); Dean and Barroso 2013, *The Tail at Scale*
# ([doi](https://doi.org/10.1145/2408776.2408794)); prices, sizes and stored speeds from the course's tables in
# `helpers/facts/`, with the source of each.
