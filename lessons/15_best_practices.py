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
import json
import math
import os
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from scipy import stats
from sentence_transformers import SentenceTransformer, util

from helpers import benchmark, bundled, catalog, costs, data, load, weights
from helpers.encode import encode, token_counts
from helpers.measure import claims, environment, metrics
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
found: dict[str, str] = {}
SIGNS = {True: "for", False: "against", None: "open"}


def conclude(saying: str, cases: dict[str, bool | None], *, can: bool = False) -> None:
    """Print what each case says of a saying (None: open) and the verdict, and keep it for the end."""
    said = {True} if can and True in cases.values() else set(cases.values())
    verdict = "it depends" if {True, False} <= said else "open" if None in said else "true" if True in said else "false"
    print(*(f"{SIGNS[holds]}: {case}" for case, holds in cases.items()), sep="\n")
    print(f"verdict on '{saying}': {verdict}")
    found[saying] = verdict


def above(low: float, high: float, limit: float = 0) -> bool | None:
    """Whether an interval lies above a limit: True, False (below it), or None (on both sides)."""
    return True if low > limit else False if high < limit else None


def worse(change: Estimate) -> bool | None:
    """Whether a change is shown to be a loss."""
    return above(-change.high, -change.low)


# %% [markdown]
# ## Weights on disk, and a process that stays warm
#
# **Decide, then run:** a new process has its weights on the disk. What takes longest until its first vector: the
# imports, the loading of the weights, or the vector? And a process that is running and loads the model again?

# %%
CHILD = """
import json, sys, time
start = time.perf_counter()
from sentence_transformers import SentenceTransformer
parts = {"imports": time.perf_counter() - start}
for turn in ("", " again"):
    start = time.perf_counter()
    model = SentenceTransformer(sys.argv[1], device="cpu", local_files_only=True)
    parts["load" + turn] = time.perf_counter() - start
    start = time.perf_counter()
    model.encode("where is my parcel")
    parts["first vector" + turn] = time.perf_counter() - start
print(json.dumps(parts))
"""

# %%
command = [sys.executable, "-c", CHILD, str(bundled.minilm_folder())]
one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
runs = [subprocess.run(command, capture_output=True, text=True, check=True, env=one_thread) for _ in range(3)]
parts = pd.DataFrame([json.loads(run.stdout.splitlines()[-1]) for run in runs])
parts.agg(["min", "max"]).round(2).rename_axis("seconds, of three processes")

# %%
cold, again = parts.iloc[:, :3].sum(axis=1), parts.iloc[:, 3:].sum(axis=1)
cases = {
    f"{what}: {took.min():.2f} to {took.max():.2f} s": above(took.min(), took.max(), latency_target_ms / 1000)
    for what, took in {"a new process": cold, "loaded again": again}.items()
}
conclude("Starting anew misses the latency target", cases)
seconds = {
    name: 8 * catalog.card(name).params_total * 4 / 1e6 / download_mbit_per_s
    for name in ("all-MiniLM-L6-v2", "bge-base-en-v1.5", "bge-m3", "Qwen3-Embedding-0.6B")
}
print(f"A download at {download_mbit_per_s:g} Mbit/s adds (float32):", {n: f"{s:.0f} s" for n, s in seconds.items()})

# %% [markdown]
# The files may lie in the system's memory already, so a first start after a boot is slower than this. Weights in the
# safetensors format are *memory-mapped*: a part is read when it is touched, so loading looks quick and the first
# vectors pay for the rest. What is slow is to start at all. Download in advance for another reason than time: a start
# that asks the hub fails when the hub does; `HF_HUB_OFFLINE=1` makes sure that none does.
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
quick = {"static, 256 dims": "all-MiniLM-L6-v2-static-256", "MiniLM int8": "all-MiniLM-L6-v2-int8"}
contestants = {what: load(name, device="cpu") for what, name in quick.items()}
contestants |= {"MiniLM": mini, f"mpnet ({weights(mpnet).kind} weights)": mpnet}


def latencies_ms(model: SentenceTransformer) -> np.ndarray:
    """(2, requests): sorted milliseconds of each query on its own, by the clock and in CPU time, after a warm-up."""
    took = []
    for query in [*queries[:5], *queries]:
        clock, cpu = time.perf_counter(), time.process_time()
        model.encode_query(query, show_progress_bar=False)
        took.append([1000 * (time.perf_counter() - clock), 1000 * (time.process_time() - cpu)])
    return np.sort(np.array(took[5:]).T)


# %%
def percentile(ms: np.ndarray, share: float) -> float:
    """The smallest latency that at least this share of the requests don't exceed."""
    return float(np.quantile(ms, share, method="inverted_cdf"))


took, by_clock, within = {}, {}, {}
for name, model in contestants.items():
    by_clock[name], took[name] = latencies_ms(model)
    in_time = int((took[name] <= latency_target_ms).sum())
    ends = stats.binomtest(in_time, len(queries)).proportion_ci(method="exact")
    within[name] = Estimate(in_time / len(queries), ends.low, ends.high)
table = pd.DataFrame({"requests": dict.fromkeys(took, len(queries))})
table["p50 (ms)"] = [percentile(ms, 0.5) for ms in took.values()]
table["p95 (ms)"] = [percentile(ms, 0.95) for ms in took.values()]
table["p95 by the clock (ms)"] = [percentile(ms, 0.95) for ms in by_clock.values()]
table["share within the target (95% interval)"] = [str(share) for share in within.values()]
table.round(2)

# %% [markdown]
# A model speaks for "too slow" if the whole interval of its share lies below `0.95`, against it if above. For a model
# of billions of parameters it is arithmetic: the tokens of a query, its prompt included, over the tokens a second that
# the course keeps from measurements on twins. Those ran in batches on one thread of another machine, of the largest
# models only the first layers; a query alone is no faster.

# %%
kept = twins.measured().query("device == 'cpu' and dtype == 'float32'").set_index("hub_id")


def query_ms(name: str, share: float | None = 0.95) -> float:
    """A query behind the model's prompt at this percentile (None: the mean), at the stored speed of one thread."""
    counts = token_counts(mini, [catalog.card(name).prompts["query"] + query for query in queries])
    tokens = np.mean(counts) if share is None else percentile(np.sort(counts), share)
    return float(1000 * tokens / kept.tokens_per_s[catalog.card(name).hub_id])


large = "Qwen3-Embedding-8B"
cases: dict[str, bool | None] = {
    f"{name}: {s} within the target": above(-s.high, -s.low, -0.95) for name, s in within.items()
}
cases[f"{large}: {query_ms(large):,.0f} ms a query, by arithmetic"] = query_ms(large) > latency_target_ms
conclude("A CPU is too slow for real time", cases)

# %% [markdown]
# Now the GPU. "Faster" and "worth its price" are two claims, and a ratio without its two machines is none. Lesson 12
# has published speeds of one. Whether it pays is a question of memory, then of the target, then of price: a machine
# that misses the target is no option, however cheap. Assumed and not measured: a core does what the one thread of the
# stored measurements did, six tenths of it are used, and one GPU copes with the load. The load decides as much as the
# model, so each line has three.

# %%
cpu, gpu = (costs.price("Hugging Face Inference Endpoints", item) for item in ("aws intel-spr x8", "aws nvidia-l4"))
CPU_CORES, loads = 4, (queries_per_s / 4, queries_per_s, 4 * queries_per_s)  # 8 vCPU are 4 cores with two threads each
cases = {}
for name in ("all-MiniLM-L6-v2", "bge-base-en-v1.5", "bge-large-en-v1.5", "Qwen3-Embedding-0.6B"):
    slow, mean = query_ms(name), query_ms(name, None)
    if slow > latency_target_ms:
        cases[f"{name}: p95 of {slow:.0f} ms on a core, so CPUs are no option"] = True
        continue
    usd = [cpu.price_usd * math.ceil(load * mean / 1000 / 0.6 / CPU_CORES) for load in loads]
    said = f"{name}: dollars an hour on CPUs {', '.join(f'{u:.2f}' for u in usd)}; {gpu.item} {gpu.price_usd:.2f}"
    cases[said] = above(min(usd), max(usd), gpu.price_usd)
print(f"at {', '.join(f'{load:g}' for load in loads)} queries/s; prices of {cpu.source_date}; float32 on CPUs")
conclude("A GPU pays", cases)

# %% [markdown]
# ## Batches
#
# The course's texts, every second cut to its first sentence, in batches of eight: in the order of arrival, and sorted
# by length, as `encode` does by itself when it gets all at once. CPU seconds of one thread, 16 batches, in rounds.

# %%
texts = data.texts()[::5] + data.texts()[1::5]
mixed = [text.split(". ")[0] if i % 2 else " ".join(text.split()[:80]) for i, text in enumerate(texts)]
sets = {"short queries": (queries * 2)[:128], "mixed lengths": mixed[:128]}
ways = {
    "one by one": lambda texts: [mini.encode(text) for text in texts],
    "by arrival": lambda texts: [mini.encode(texts[i : i + 8], batch_size=8) for i in range(0, len(texts), 8)],
    "sorted": lambda texts: mini.encode(texts, batch_size=8),
}
spent: dict[tuple[str, str], list[float]] = {(which, way): [] for which in sets for way in ways}
for _ in range(4):
    for (which, way), took_s in spent.items():
        begin = time.process_time()
        ways[way](sets[which])
        took_s.append(time.process_time() - begin)


# %%
def times(which: str, way: str) -> Estimate:
    """How many times as fast as one by one, with Student's interval over the rounds after the first."""
    return metrics.ratio(np.log(np.array(spent[which, "one by one"][1:]) / spent[which, way][1:]))


batched = {(which, way): times(which, way) for which, way in spent if way != "one by one"}
conclude(
    "Batches are faster",
    {
        f"{which}, {way}: {gain} times one by one": above(gain.low, gain.high, 1)
        for (which, way), gain in batched.items()
    },
)

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
asked, stored = encode(unnormalised, queries), encode(unnormalised, passages)
unit_asked, unit_stored = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (asked, stored))
assert np.allclose(unit_asked[:8], unnormalised.encode(queries[:8], normalize_embeddings=True), atol=1e-5)
by_cosine = util.cos_sim(asked, stored).numpy()
cases = {
    f"{what}: cosines move by {np.abs(util.cos_sim(made, stored).numpy() - by_cosine).max():.0e}": False
    for what, made in {"unit vectors": unit_asked, "seven times as long": 7 * asked}.items()
}
for what, dot in {"as they are": asked @ stored.T, "unit vectors": unit_asked @ unit_stored.T}.items():
    n = (dot.argmax(axis=1) != by_cosine.argmax(axis=1)).sum()
    cases[f"dot product, {what}: another document is first for {n} of {len(queries)} queries"] = bool(n)
conclude("Vectors must have unit length", cases)

# %% [markdown]
# Cosine divides by the lengths itself. A dot product doesn't, and many indexes compute one. Another order needn't be a
# worse one; that wasn't measured here. Normalising costs next to nothing and does no harm under a cosine: a good habit
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
searches = {"the course's texts": search, "scipy's docstrings": data.docstrings("dev", limit=150)}


def ndcg(model: SentenceTransformer, where: str, before_query: str, before_document: str) -> np.ndarray:
    """nDCG@10 of each query with these prefixes; 48 tokens of a text are read."""
    limit, model.max_seq_length = model.max_seq_length, 48
    texts, found = (searches[where].queries, searches[where].corpus), []
    for side, prefix in zip(texts, (before_query, before_document), strict=True):
        found.append(model.encode(list(side.values()), prompt=prefix, normalize_embeddings=True))
    model.max_seq_length = limit
    return benchmark.ndcg(searches[where], *found)


changed: dict[str, dict[str, Estimate]] = {}
if weights(e5).real:
    own = {where: ndcg(e5, where, *right) for where in searches}
    for way, (one, two) in {"no prefix": ("", ""), "exchanged": right[::-1]}.items():
        changed[way] = {w: metrics.estimate(metrics.mean, ndcg(e5, w, one, two) - own[w]) for w in searches}

# %%
cases = {f"E5, {way}, {w}: {c}": worse(c) for way, by in changed.items() for w, c in by.items()}
nobody = {"no model that was trained with prefixes has its weights here (make weights)": None}
conclude("Another prefix than the model's own can do harm", cases or nobody, can=True)
bare, foreign = {where: ndcg(mini, where, "", "") for where in searches}, {}
for name in ("e5-base-v2", "bge-base-en-v1.5", "gte-Qwen2-1.5B-instruct"):
    prompt = catalog.card(name).prompts["query"]
    foreign[name] = {w: metrics.estimate(metrics.mean, ndcg(mini, w, prompt, "") - bare[w]) for w in searches}
cases = {f"MiniLM with {name}'s, {w}: {c}": worse(c) for name, by in foreign.items() for w, c in by.items()}
conclude("A model without prompts is harmed by a foreign one", cases, can=True)

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
vectors = encode(model, asked_long)
truncated, of_chunks = vectors @ encode(model, whole).T, vectors @ encode(model, flat).T
chunked = np.stack([of_chunks[:, owner == i].max(axis=1) for i in range(len(whole))], axis=1)

# %%
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
gain = {
    where: metrics.estimate(metrics.mean, (1 / rank["in chunks"] - 1 / rank["truncated"])[there])
    for where, there in places.items()
}
dropped = 1 - np.minimum(count(whole), limit).sum() / count(whole).sum()
print(f"{dropped:.0%} of the tokens of the long documents aren't read; change of 1 / rank by chunks:")
conclude(
    "Long texts must be cut into chunks",
    {f"answers {where} the limit: {change}": above(change.low, change.high) for where, change in gain.items()},
)

# %% [markdown]
# Truncation loses what is behind the limit, always and in silence; whether a search notices depends on where its
# answers stand. And the mend has a price: a chunk no longer says which document it is from, so where documents look
# alike, chunks can rank an answer at the beginning lower than truncation does. Lesson 06 goes into that.
#
# ## What to do
#
# The verdicts are on these cases, on this machine, in this run; the advice is what follows for a system of yours.

# %%
left = [{"selector": "td, th", "props": "text-align: left; vertical-align: top"}]
advice = pd.read_csv(catalog.FACTS / "sayings.csv", index_col="saying")
table = pd.DataFrame({"verdict": found}).join(advice).rename(columns={"notice": "how you would notice"})
table.rename_axis("saying").reset_index().style.hide(axis="index").set_table_styles(left)

# %% [markdown]
# ## Recap
#
# - **Turn**: a saying becomes a claim about cases; one claim at a time, and cases that could contradict it.
# - **Tell**: what holds here is in the table above, and so is what it depends on: lengths, training, load, price.
# - **Decide**: percentiles for the slow ones, an interval for the share within the target, and "open" where the
#   measurements can't tell.
#
# What was compared on two sets of texts or in rounds, as claims:

# %%
told, cpu_name = [], environment.hardware()["cpu"]
for which in sets:
    subject, ratio = f"A batch of eight sorted by length, {which},", {cpu_name: batched[which, "sorted"]}
    called = f"batch-{which.split()[0]}"
    told.append(claims.Claim(called, subject, "one text a call", "CPU seconds", ratio, **claims.FASTER))
for way, by in changed.items():
    subject = f"E5 with {way}" if way == "no prefix" else f"E5 with prefixes {way}"
    told.append(claims.Claim(f"e5-{way.split()[-1]}", subject, "E5 with its own", "nDCG@10", by))
for name, by in foreign.items():
    called, subject = f"foreign-{name.split('-')[0]}", f"MiniLM with {name}'s query prefix"
    told.append(claims.Claim(called, subject, "MiniLM bare", "nDCG@10", by))
claims.recap(*told)

# %% [markdown]
# Test yourself: Why does a first start after a boot take longer than a second? A colleague reports a GPU that is "so
# many times faster": what do you ask first? Which of the sayings would come out otherwise in your own deployment, and
# how would you know?
#
# The last exercise: [chunks, an audit, a promise](../exercises/15_best_practices/15_best_practices.ipynb). The
# lessons that go deeper: [01](01_sentence_transformers.ipynb), [04](04_e5.ipynb), [06](06_nomic.ipynb),
# [10](10_encoding_fast.ipynb), [11](11_self_hosting.ipynb), [12](12_costs.ipynb).
#
# Sources: Clopper and Pearson 1934, *The Use of Confidence or Fiducial Limits*
# ([doi](https://doi.org/10.1093/biomet/26.4.404)); Dean and Barroso 2013, *The Tail at Scale*
# ([doi](https://doi.org/10.1145/2408776.2408794)); prices, sizes and stored speeds from the course's tables in
# `helpers/facts/`, with the source of each.
#
# ## For a second reading
#
# The latencies of the four models as a picture: where a curve is right of the target, those requests came too late.

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
