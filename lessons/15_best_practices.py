# %% [markdown]
# # 15 · Best practices, measured
#
# After this lesson you can
# - **turn** a rule of thumb into cases that could contradict it, and measure them,
# - **tell** which of the usual rules hold always, which never, and on what the others depend,
# - **decide** with percentiles and intervals whether a deployment keeps what was promised.
#
# {{minutes}} minutes · up to {{memory_mb}} MB of memory · up to {{download_mb}} MB to download, nothing without a hub
#
# Lists of dos and don'ts go from page to page. Most of their lines are true of some model, some load and some
# machine, and are repeated as if of all. This last lesson takes nine of them and measures each in a few lines of
# code. It shows how to check such a saying; the lessons it links to say why it comes out as it does.

# %% tags=["parameters"]
latency_target_ms: float = 100.0  # what a search may spend on the vector of its query; your own figure
download_mbit_per_s: float = 200.0  # assumed bandwidth of a download from the hub
queries_per_s: float = 20.0  # assumed load, where cost is computed

# %%
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from scipy import stats
from sentence_transformers import SentenceTransformer

from helpers import adapters, bundled, catalog, costs, data, environment, load, metrics, speed, twins
from helpers.encode import encode
from helpers.metrics import Estimate

torch.set_num_threads(1)  # one thread, so that figures compare
mini = load("all-MiniLM-L6-v2", device="cpu")
search = data.retrieval()
queries, passages = list(search.queries.values()), list(search.corpus.values())
print(f"{environment.hardware()['cpu']}, one thread, torch {torch.__version__}, target {latency_target_ms:g} ms")

# %% [markdown]
# ## A rule for verdicts
#
# A saying is tried on several cases. Each case bears it out ("yes"), contradicts it ("no"), or leaves it open: an
# interval with zero inside shows no difference, and doesn't show that there is none. All "yes" is "true", all "no"
# is "false", both together is "it depends"; and where open cases could still turn it, the verdict is "open".
# That is a verdict on these cases, so look at which they are.

# %%
found: list[dict[str, str]] = []
SIGNS = {True: "yes", False: "no", None: "open"}


def conclude(saying: str, cases: dict[str, bool | None], lesson: str) -> None:
    """Print what each case says of a saying (None: open) and the verdict, and keep both for the table at the end."""
    lines = [f"{SIGNS[holds]}: {case}" for case, holds in cases.items()]
    said = set(cases.values())
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
# A second process measures it on a copy of MiniLM. The operating system keeps what was read lately in memory (the
# *page cache*), so that a second load needn't touch the disk. For the rows "from the disk", the copy is dropped
# from that cache first, and the bytes that the process then had to fetch prove that it was. Imports are counted in
# CPU time, the rest by the clock, a reload as the fastest of three. First the program of that process:

# %%
CHILD = """
import gc, json, os, sys, time
from sentence_transformers import SentenceTransformer
imports = time.process_time()
import psutil

folder, process = sys.argv[1], psutil.Process()
weights = os.path.join(folder, "model.safetensors")

def in_memory():
    maps = process.memory_maps() if hasattr(process, "memory_maps") else []
    return sum(part.rss for part in maps if part.path.endswith("model.safetensors")) / 1e6

def once(from_disk):
    if from_disk and hasattr(os, "posix_fadvise"):
        with open(weights, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    fetched = process.io_counters().read_bytes if hasattr(process, "io_counters") else 0
    begin = time.perf_counter()
    model = SentenceTransformer(folder, device="cpu", local_files_only=True)
    load = time.perf_counter() - begin
    mapped = [in_memory()]
    begin = time.perf_counter()
    model.encode("where is my parcel")
    vector = time.perf_counter() - begin
    mapped.append(in_memory())
    if hasattr(process, "io_counters"):
        fetched = process.io_counters().read_bytes - fetched
    return model, {"load": load, "a vector": vector, "fetched MB": fetched / 1e6}, mapped

model, first, mapped = once(True)
warm = []
for _ in range(50):
    begin = time.perf_counter()
    model.encode("where is my parcel")
    warm.append(time.perf_counter() - begin)
again = {True: [], False: []}
for _ in range(3):
    for from_disk in (True, False):
        model = None
        gc.collect()
        model, took, _ = once(from_disk)
        again[from_disk].append(took)
first["Python, imports"] = imports
print(json.dumps([first, again[True], again[False], warm, mapped]))
"""

# %%
with tempfile.TemporaryDirectory() as folder:
    copy = Path(shutil.copytree(bundled.minilm_folder(), Path(folder, "model"), copy_function=shutil.copyfile))
    with (copy / "model.safetensors").open("rb+") as file:
        os.fsync(file.fileno())  # what isn't on the disk yet can't be dropped
    command = [sys.executable, "-c", CHILD, str(copy)]
    said = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
first, from_disk, from_memory, warm, mapped = json.loads(said.stdout.splitlines()[-1])
starts = pd.DataFrame(
    {
        "new process, weights from the disk": first,
        "reload, from the disk": pd.DataFrame(from_disk).min(),
        "reload, from the page cache": pd.DataFrame(from_memory).min(),
        "warm model": {"a vector": np.median(warm)},
    }
).T.fillna(0)[["Python, imports", "load", "a vector", "fetched MB"]]
starts["seconds"] = starts.drop(columns="fetched MB").sum(axis=1)
starts.round(3)

# %%
cold, reload_disk, reload_memory, ready = starts["seconds"]
if starts["fetched MB"].iloc[1] < 1:
    print("This system fetched nothing from the disk: both rows of reloading are from memory.")
slow = latency_target_ms / 1000
cases = {
    f"a reload for each request takes {1000 * reload_memory:.0f} ms, from the page cache": bool(reload_memory > slow),
    f"and {1000 * reload_disk:.0f} ms from the disk": bool(reload_disk > slow),
    f"loading ({first['load']:.1f} s) is most of a new process's {cold:.1f} s": bool(first["load"] > cold / 2),
}
conclude("Don't keep models on disk only: reloading is slow", cases, "11_self_hosting")
if mapped[0] > 0:
    print(f"of the weights' file, {mapped[0]:.0f} MB are in memory after loading, {mapped[1]:.0f} MB after one vector")
print(f"a warm model: {1000 * ready:.1f} ms; a reload from memory takes {reload_memory / ready:.0f} times as long")

# %% [markdown]
# The disk is where weights belong. What is slow is to start at all, so start once and keep the process. Weights in
# the safetensors format are *memory-mapped*: a part of the file is read when it is touched, so that loading looks
# quick, the first vectors pay for the rest, and processes on one machine share what was read. Encode something of
# every length before the first request comes. After a reboot the imports come from the disk too, which wasn't
# measured here.
#
# What would a download add? This is arithmetic and no measurement: the catalogue's size of the weights over the
# bandwidth assumed in the parameters. Larger models also load longer than MiniLM, whose start is set beside it.

# %%
cases = {}
for name in ("all-MiniLM-L6-v2", "bge-base-en-v1.5", "bge-m3", "Qwen3-Embedding-0.6B", "Qwen3-Embedding-8B"):
    megabytes = catalog.card(name).memory_mb_mteb * 2**20 / 1e6  # mteb counts in MiB
    seconds = 8 * megabytes / download_mbit_per_s
    cases[f"{name}, {megabytes:,.0f} MB: {seconds:.0f} s of download, against {cold:.1f} s of start"] = seconds > cold
cases[f"with the weights on disk, the first answer comes within {latency_target_ms:g} ms"] = bool(cold <= slow)
print(f"at {download_mbit_per_s:g} Mbit/s, by arithmetic; 'yes': the download is the longer part")
conclude("Download in advance: no cold start", cases, "11_self_hosting")

# %% [markdown]
# There is a better reason than time to download in advance: a start that asks the hub fails when the hub does.
# `HF_HUB_OFFLINE=1` makes sure that none does.
#
# ## A CPU, and when a GPU pays
#
# **Decide, then run:** one query at a time, on one thread of this CPU. Which of these models answer within the
# target?
#
# A *percentile* says how slow the slow ones are: p95 is the smallest latency that ninety-five of a hundred requests
# don't exceed. A hundred requests are a sample: their p99 is nearly their maximum, and the share within the target
# gets an exact interval (Clopper and Pearson). bge-base is here as a twin: its speed, with random weights. Counted
# is CPU time, which on one thread is the latency of a machine that does nothing else; the last column has the
# clock's, with all that else ran here meanwhile.

# %%
contestants = {
    "static, 256 dims": load("all-MiniLM-L6-v2-static-256", device="cpu"),
    "MiniLM int8": load("all-MiniLM-L6-v2-int8", device="cpu"),
    "MiniLM": mini,
    "bge-base (twin)": load("bge-base-en-v1.5", source="twin", device="cpu"),
}


def latencies_ms(model: SentenceTransformer, requests: list[str]) -> np.ndarray:
    """(2, requests): sorted milliseconds of each query on its own, in CPU time and by the clock, after a warm-up."""
    took = []
    for query in [*requests[:5], *requests]:
        cpu, clock = time.process_time(), time.perf_counter()
        model.encode_query(query, show_progress_bar=False)
        took.append([1000 * (time.process_time() - cpu), 1000 * (time.perf_counter() - clock)])
    return np.sort(np.array(took[5:]).T)


def percentile(ordered: np.ndarray, share: float) -> float:
    """The smallest latency that at least this share of the requests don't exceed."""
    return float(ordered[math.ceil(share * len(ordered)) - 1])


measured = {name: latencies_ms(m, queries[:30] if "twin" in name else queries) for name, m in contestants.items()}
took = {name: both[0] for name, both in measured.items()}
for ms in took.values():
    assert percentile(ms, 0.95) == np.quantile(ms, 0.95, method="inverted_cdf")
within = {
    name: stats.binomtest(int((ms <= latency_target_ms).sum()), len(ms)).proportion_ci(method="exact")
    for name, ms in took.items()
}
table = pd.DataFrame({"requests": {name: len(ms) for name, ms in took.items()}})
for share in (0.5, 0.95, 0.99):
    table[f"p{100 * share:.0f} (ms)"] = [percentile(ms, share) for ms in took.values()]
table["share within the target, 95%"] = [f"{i.low:.3f} to {i.high:.3f}" for i in within.values()]
table["p95 by the clock (ms)"] = [percentile(clock, 0.95) for _, clock in measured.values()]
table.round(2)

# %%
figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
for (name, ms), colour, line in zip(took.items(), ("#0072b2", "#e69f00", "#009e73", "#cc79a7"), "-:-:", strict=True):
    axes.step(ms, np.arange(1, len(ms) + 1) / len(ms), where="post", color=colour, linestyle=line, label=name)
axes.axvline(latency_target_ms, color="grey", linestyle="--", label="target")
axes.axhline(0.95, color="grey", linewidth=0.5)
axes.set_xscale("log")
axes.set_xlabel("latency of one query (ms of CPU time, log scale), one thread")
axes.set_ylabel("share answered by then")
axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
plt.show()

# %% [markdown]
# The same for a model of billions of parameters is arithmetic again: tokens of a query over the tokens a second that
# the course keeps from measurements on twins. Those ran in batches on one thread, of the largest models only the
# first layers; a query alone is no faster.

# %%
kept = twins.measured().query("device == 'cpu' and dtype == 'float32'").set_index("hub_id")["tokens_per_s"]
tokens = float(np.mean(speed.token_counts(mini, queries)))
large = 1000 * tokens / kept["Qwen/Qwen3-Embedding-8B"]
cases = {
    f"{name}: p95 {percentile(took[name], 0.95):.1f} ms": opposite(above(share.low, share.high, 0.95))
    for name, share in within.items()
}
cases[f"Qwen3-Embedding-8B: {large:,.0f} ms by arithmetic"] = bool(large > latency_target_ms)
print("'yes': the whole interval of the share within the target lies below 0.95; 'no': above it")
conclude("No CPU in production: too slow for real time", cases, "10_encoding_fast")

# %% [markdown]
# Now the GPU. If there is one here, the next cell measures it. Whether it pays is a question of price: from the
# price table, a CPU machine and a small GPU machine of one provider. The sum assumes three things that weren't
# measured: that each virtual core does what the one thread of the stored measurements did, that six tenths of it are
# used, and that one GPU copes with the load whatever the model. And it is about throughput alone: CPUs that keep up
# with a load can still miss the latency target.

# %%
ratio = None
if torch.cuda.is_available():
    texts = list(data.texts()[::4])
    on_gpu = speed.measure(load("all-MiniLM-L6-v2", device="cuda"), texts).texts_per_s
    ratio = on_gpu / speed.measure(mini, texts).texts_per_s
cpu, gpu = (costs.price("Hugging Face Inference Endpoints", item) for item in ("aws intel-spr x8", "aws nvidia-t4"))
told = f"the GPU does {ratio:.0f} times one thread's texts" if ratio else "no GPU figure was measured here"
cases = {told: None if ratio is None else 10 <= ratio <= 50}
for name in ("all-MiniLM-L6-v2", "bge-base-en-v1.5", "bge-large-en-v1.5", "Qwen3-Embedding-8B"):
    threads = queries_per_s * tokens / kept[catalog.card(name).hub_id] / 0.6
    usd = cpu.price_usd * math.ceil(threads / 8)
    cases[f"{name}: {usd:.2f} dollars an hour for CPUs, {gpu.price_usd:.2f} for the GPU"] = usd > gpu.price_usd
print(f"{queries_per_s:g} queries/s; {cpu.name} ({cpu.source_date}), {gpu.name} ({gpu.source_date})")
conclude("Use a GPU: 10 to 50 times a CPU, so it pays", cases, "12_costs")
pays = 8 * gpu.price_usd / cpu.price_usd
print(f"fully used, that GPU is cheaper if it does more than {pays:.0f} times one thread's texts")

# %% [markdown]
# "Faster" and "needed" are two claims, and a ratio without its two machines is none: against one thread, all cores,
# or an int8 model, the same GPU has three ratios.
#
# ## Batches
#
# Short queries against a mixture of short and long texts, in batches of sixteen: in the order of arrival, and sorted
# by length, as `encode` does by itself when it gets all at once. Measured in CPU seconds of one thread, three times
# in turn; a way counts as faster (or slower) if it was so every time.

# %%
texts = data.texts()[::10]
mixed = [text.split(". ")[0] if i % 2 else " ".join(text.split()[:80]) for i, text in enumerate(texts)]
sets = {"short queries": queries[:48], "mixed lengths": mixed}
ways = {
    "one by one": lambda texts: [mini.encode(text) for text in texts],
    "by arrival": lambda texts: [mini.encode(texts[i : i + 16], batch_size=16) for i in range(0, len(texts), 16)],
    "sorted": lambda texts: mini.encode(texts, batch_size=16),
}
gains: dict[tuple[str, str], list[float]] = {}
for _ in range(3):
    for which, texts in sets.items():
        spent = {}
        for way, run in ways.items():
            begin = time.process_time()
            run(texts)
            spent[way] = time.process_time() - begin
            gains.setdefault((which, way), []).append(spent["one by one"] / spent[way])
cases = {
    f"{which}, {way}: {min(gain):.2f} to {max(gain):.2f} times one by one": above(min(gain), max(gain), 1)
    for (which, way), gain in gains.items()
    if way != "one by one"
}
conclude("Batch: much more throughput", cases, "10_encoding_fast")

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
by_cosine, by_dot = cosine(asked, stored), asked @ stored.T
change = metrics.estimate(metrics.mean, ndcg(by_dot) - ndcg(by_cosine))
moved = (by_dot.argmax(axis=1) != by_cosine.argmax(axis=1)).sum()
same_unit = np.allclose(by_cosine, unit_asked @ unit_stored.T, atol=1e-5)
same_long = np.allclose(by_cosine, cosine(7 * asked, stored), atol=1e-5)
cases = {
    "unit vectors have other cosines than the vectors before": not same_unit,
    "vectors seven times as long have other cosines": not same_long,
    f"without it, a dot product puts another document first: {moved} of {len(queries)} queries": bool(moved > 0),
    f"without it, a dot product has less nDCG@10: {interval(change)}": opposite(gained(change)),
}
conclude("Normalise: cosine needs it", cases, "01_sentence_transformers")

# %% [markdown]
# Cosine divides by the lengths itself. A dot product doesn't, and many indexes compute one. Since normalising costs
# next to nothing and does no harm under a cosine, it is a good habit with a wrong reason. (Some models are trained
# for the dot product of vectors that aren't unit; leave those as they are.)
#
# ## Prefixes
#
# MiniLM was trained on bare text, so a prefix is foreign to it. The course's small model of lesson 04 was trained
# with `query: ` and `passage: `. Both are real, so their quality may be measured; a stand-in's never is. Each change
# is taken query by query, with its interval.

# %%
bare = ndcg(by_cosine)
foreign = {}
for name in ("e5-base-v2", "bge-base-en-v1.5", "gte-Qwen2-1.5B-instruct"):
    vectors = encode(mini, queries, prompt=catalog.card(name).prompts["query"])
    foreign[name] = metrics.estimate(metrics.mean, ndcg(vectors @ unit_stored.T) - bare)

trained = adapters.load(0.01)
asked_with, stored_with = trained.encode_query(queries), trained.encode_document(passages)
asked_bare, stored_bare = (trained.encode(texts, prompt="") for texts in (queries, passages))
skipped = {
    "both sides": asked_bare @ stored_bare.T,
    "the query": asked_bare @ stored_with.T,
    "the passage": asked_with @ stored_bare.T,
}
own = ndcg(asked_with @ stored_with.T)
lost = {side: metrics.estimate(metrics.mean, own - ndcg(scores)) for side, scores in skipped.items()}
known = [card for card in catalog.cards() if card.query_prompt]
stated = [card.name for card in known if card.query_prompt != "none"]
print(f"prompt before a query: {len(stated)} of the {len(known)} models of which the catalogue knows it want one:")
print(textwrap.fill(", ".join(stated), 110))

# %%
cases = {f"the model trained with them, own against none: {interval(lost['both sides'])}": gained(lost["both sides"])}
for name, change in foreign.items():
    cases[f"MiniLM, trained without, with {name}'s: {interval(change)}"] = gained(change)
conclude("Use prefixes: a marked gain", cases, "04_e5")
print()
cases = {f"trained with them, none on {side}: own ones win {interval(c)}": gained(c) for side, c in lost.items()}
conclude("Don't skip prefixes: retrieval gets worse", cases, "04_e5")
harm = [name for name, change in foreign.items() if gained(change) is False]
intervals = len(foreign) + len(lost)
print(f"\nforeign prefixes shown to do harm: {', '.join(harm) or 'none'}; ", end="")
print(f"a loss above {lost['both sides'].high:.3f} without own ones is ruled out")
print(f"all are changes of nDCG@10; of {intervals} intervals, about {0.05 * intervals:.1f} leave out zero by chance")

# %% [markdown]
# A prefix belongs to the training: take the model's own (`model.prompts`), on the side where training had it, and no
# other model's. What it is worth can only be measured on the model itself, and a hundred queries leave a wide
# interval: "open" means that the small model here can neither bear the saying out nor refute it. Lesson 04 measures
# E5 itself where its weights are in reach.
#
# ## Context limits
#
# Long documents in look-alike series, and queries that one passage answers. MiniLM reads the beginning of each and
# drops the rest. The mend: chunks by the tokenizer's own count, with overlap, and a document scores what its best
# chunk does. **Decide, then run:** whose rank suffers from the cut? MiniLM in int8 computes it, a real model with
# the same limit, because it is the quickest here.

# %%
long = data.long_documents()
whole, asked_long = list(long.corpus.values()), list(long.queries.values())
model, limit = contestants["MiniLM int8"], mini.max_seq_length


def chunks(text: str, size: int = 128, overlap: int = 16) -> list[str]:
    """A text in pieces of at most `size` tokens, special ones included, that share `overlap` tokens."""
    options = {"max_length": size, "stride": overlap, "truncation": True, "return_overflowing_tokens": True}
    pieces = mini.tokenizer(text, return_offsets_mapping=True, **options)["offset_mapping"]
    return [text[piece[1][0] : piece[-2][1]] for piece in pieces]


def count(texts: list[str]) -> np.ndarray:
    """Tokens of each text, nothing cut off."""
    return np.array([len(ids) for ids in mini.tokenizer(texts, verbose=False)["input_ids"]])


cut = [chunks(text) for text in whole]
flat = [chunk for pieces in cut for chunk in pieces]
owner = np.repeat(np.arange(len(cut)), [len(pieces) for pieces in cut])
assert count(flat).max() <= limit
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
dropped = 1 - np.minimum(count(whole), limit).sum() / count(whole).sum()
over = (count(passages) > limit).sum()
cases = {f"of the long documents, {dropped:.0%} of the tokens aren't read": bool(dropped > 0)}
for where, there in places.items():
    change = metrics.estimate(metrics.mean, (1 / rank["in chunks"] - 1 / rank["truncated"])[there])
    cases[f"answer {where} the limit, chunks win {interval(change)} in reciprocal rank"] = gained(change)
cases[f"of the {len(passages)} short passages of the retrieval set, {over} are longer than the limit"] = bool(over > 0)
conclude("Mind the context limit: truncation loses information", cases, "06_nomic")

# %% [markdown]
# Truncation loses what is behind the limit, always and in silence; whether a search notices depends on where its
# answers stand. And the mend has a price: a chunk no longer says which document it is from, so where documents look
# alike, chunks can rank an answer at the beginning lower than truncation does. Lesson 06 goes into that. Count tokens
# before you encode, and judge with answers at every depth.
#
# ## All nine
#
# The verdicts as they came out on this machine, in this run:

# %%
verdicts = pd.DataFrame(found)
counts = verdicts["verdict"].value_counts()
print(f"{len(verdicts)} sayings: " + ", ".join(f"{count} {verdict!r}" for verdict, count in counts.items()))
left = [{"selector": "td, th", "props": "text-align: left; vertical-align: top"}]
verdicts.style.hide(axis="index").set_table_styles(left)

# %% [markdown]
# ## Recap
#
# - **Turn**: a saying becomes a claim about cases; choose cases that could contradict it, one of each kind.
# - **Tell**: what holds or not is in the table above, and so is what it depends on: lengths, training, load, price.
# - **Decide**: percentiles for the slow ones, an interval for the share within the target, and "open" where the
#   measurements can't tell.
#
# Test yourself: Why does dropping the page cache need a proof? A colleague reports a GPU that is "so many times
# faster": what do you ask first? Which of the nine would come out otherwise in your own deployment, and how would
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
