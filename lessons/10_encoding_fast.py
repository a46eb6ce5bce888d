# %% [markdown]
# # 10 · Fast encoding
#
# After this lesson you can
# - **use** the options of `encode` knowing what each of them does, and which cost or save time,
# - **explain** each rung from one text a call to unpadded and quantised encoding, and what limits the last,
# - **encode** a large file so that it can be killed at any moment and goes on.
#
# {{minutes}} minutes · up to {{memory_mb}} MB of memory · up to {{download_mb}} MB to download, nothing without a hub
#
# A collection is encoded once, and again with each change of model. On a CPU that can take days, and most of them
# are lost to *padding*: numbers that fill a batch and are thrown away. This lesson finds that loss and takes it out,
# one step at a time.

# %%
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from sentence_transformers.util import quantize_embeddings

from helpers import data, environment, load, metrics, speed
from helpers.encode import batches, cpu_has_bfloat16, encode, padding_share, to_openvino
from helpers.errors import CourseError
from helpers.stream import stream

torch.set_num_threads(1)  # one thread, so that CPU seconds can be compared
model = load("all-MiniLM-L6-v2", device="cpu")
print(f"device {model.device}, torch {torch.__version__}, one thread, {environment.hardware()['cpu']}")

# %% [markdown]
# ## The texts, and a clock
#
# Real collections mix titles with articles. So do these: two of three texts are cut to their first sentence. The clock
# counts CPU seconds of this process, so that other programs on the machine disturb it little.

# %%
texts = [text.split(". ")[0] if i % 3 else text for i, text in enumerate(data.texts()[::5])]
lengths = speed.token_counts(model, texts)
print(f"{len(texts)} texts, {np.mean(lengths):.0f} tokens on average, from {min(lengths)} to {max(lengths)}")


def cpu_seconds(way: Callable[[], object], repeats: int = 1) -> float:
    """CPU seconds of one run, the median of the repeats."""
    found = []
    for _ in range(repeats):
        start = time.process_time()
        way()
        found.append(time.process_time() - start)
    return float(np.median(found))


reference = model.encode(texts)  # also the warm-up

# %% [markdown]
# ## The options of `encode`
#
# `batch_size` is how many texts go through the model together. **Decide, then run:** is a larger batch always
# faster on a CPU?

# %%
sizes = [1, 8, 32]
options = pd.DataFrame({"batch_size": sizes})
options["CPU s"] = [cpu_seconds(lambda size=size: model.encode(texts, batch_size=size)) for size in sizes]
best = int(options.loc[options["CPU s"].idxmin(), "batch_size"])
print(f"fastest here: batch_size={best}")
options.round(2)

# %% [markdown]
# On a GPU a larger batch helps until the device is busy. On one CPU thread it is busy from the start, and a larger
# batch has more padding and needs more memory. Measure it on your texts; it changes nothing in the vectors beyond
# rounding.
#
# `convert_to_tensor` decides the type of what comes back, `normalize_embeddings` divides each vector by its length,
# and `device` says where it runs.

# %%
few = texts[:16]
tensor = model.encode(few, convert_to_tensor=True)
print(f"without options: {type(model.encode(few)).__name__}; ", end="")
print(f"convert_to_tensor: {type(tensor).__name__} on {tensor.device}")
features = model.preprocess(few)
for module in list(model)[:2]:  # the encoder and the pooling, without the last module
    features = module(features)
long = features["sentence_embedding"].detach()
print(f"vector lengths: {np.linalg.norm(long, axis=1).mean():.2f} after pooling, ", end="")
print(f"{np.linalg.norm(model.encode(few), axis=1).mean():.2f} from the model")
same = np.allclose(model.encode(few), model.encode(few, normalize_embeddings=True), atol=1e-6)
print(f"normalize_embeddings changes this model's vectors: {not same}")

# %% [markdown]
# MiniLM ends in a `Normalize` module, so the option has nothing left to do. Others do not: say
# `normalize_embeddings=True` where a dot product will stand in for the cosine. A tensor stays on its device, which
# spares a copy if you go on computing there; for a file or an index take NumPy.
#
# `show_progress_bar` prints a bar and costs next to nothing. Asking for a device that isn't there is an error at
# once, not a slow run:

# %%
model.encode(few, show_progress_bar=True)
try:
    load("all-MiniLM-L6-v2", device="cuda:7")
except CourseError as error:
    print(error)

# %% [markdown]
# ## Where the time goes: padding
#
# A batch is a rectangle. Short texts are filled up to the longest, and the filling is computed like the rest. Here
# are three plans for the same texts: arrival order, the library's (it sorts by length first), and a *token budget*,
# which puts similar lengths together and closes a batch when its rectangle is full.

# %%
ordered = np.argsort([-len(text) for text in texts])  # by characters, as the library sorts
plans = {
    "arrival order, 32": [range(i, min(i + 32, len(texts))) for i in range(0, len(texts), 32)],
    "SentenceTransformer.encode, 32": [ordered[i : i + 32] for i in range(0, len(texts), 32)],
    "token budget, 1024": batches(lengths, 1024),
}
waste = pd.Series({name: padding_share(lengths, plan) for name, plan in plans.items()}, name="padding (share)")
waste.round(3).to_frame()

# %%
figure, panels = plt.subplots(1, 3, figsize=(11, 3.4), sharey=True, layout="constrained")
for axes, (name, plan) in zip(panels, plans.items(), strict=True):
    places = [i for batch in plan for i in batch]
    padded = [max(lengths[i] for i in batch) for batch in plan for _ in batch]
    axes.bar(range(len(places)), padded, width=1, color="#e69f00", label="padding")
    axes.bar(range(len(places)), [lengths[i] for i in places], width=1, color="#0072b2", label="tokens")
    axes.set_title(f"{name}: {waste[name]:.0%} padding", fontsize=9)
    axes.set_xlabel("text, in the order of computing")
panels[0].set_ylabel("length (tokens)")
panels[0].legend(fontsize=8)
plt.show()

# %% [markdown]
# Padding isn't the whole story. A batch of thirty-two long texts is too large for the processor's cache, and its
# numbers wait for the memory; a batch of one has no padding but pays the cost of a call for each text. A budget of
# tokens keeps every batch at about one size.
#
# ## Without any padding
#
# Most of a BERT doesn't know which text a token belongs to: its linear layers treat each token alone. So all
# tokens of a batch can stand in one long row. Only attention must not cross from text to text, and runs once for
# each length. First the idea in small: a linear layer gives the same on a padded rectangle and on the packed row.

# %%
draw = torch.Generator().manual_seed(0)
linear = torch.nn.Linear(8, 8)
short, longer = torch.randn(2, 8, generator=draw), torch.randn(5, 8, generator=draw)
rectangle = torch.nn.utils.rnn.pad_sequence([short, longer], batch_first=True)
packed = linear(torch.cat([short, longer]))
assert torch.allclose(linear(rectangle)[0, :2], packed[:2], atol=1e-6)
assert torch.allclose(linear(rectangle)[1], packed[2:], atol=1e-6)
print(f"rows computed: {rectangle.shape[0] * rectangle.shape[1]} padded, {len(packed)} packed; the same result")

# %% [markdown]
# `helpers.encode.encode` does this for any BERT. It is meant to give the library's vectors, so that is what is
# checked, on mixed lengths, with an empty text among them:

# %%
checked = ["", *texts[:40], "word " * 600]
worst = np.abs(encode(model, checked) - model.encode(checked)).max()
assert worst < 1e-5
print(f"largest difference in any number of any vector: {worst:.1e}")

# %% [markdown]
# ## Fewer bits
#
# *Quantising a model* means to compute with smaller numbers: int8 instead of float32. It needs processor
# instructions for int8 to pay (VNNI or AMX on x86), and it changes the vectors. ONNX Runtime and OpenVINO are
# *runtimes*: they run the same network without PyTorch, in float32 or int8. bfloat16 needs instructions too.

# %%
onnx_int8 = load("all-MiniLM-L6-v2-int8", device="cpu")
openvino = to_openvino(model)
openvino_int8 = to_openvino(model, int8=True)
capabilities = torch.cpu.get_capabilities()
print({name: capabilities.get(name, False) for name in ("avx2", "avx512_vnni", "avx512_bf16", "amx_int8")})
if not cpu_has_bfloat16():
    try:
        encode(load("all-MiniLM-L6-v2", device="cpu", dtype="bfloat16"), few)
    except CourseError as error:
        print(error)

# %% [markdown]
# ## The ladder
#
# All ways on the same texts, one after the other within each repeat, so that a slow moment of the machine hits all
# of them. They are set against the library at its fastest `batch_size` from above, not at its default: whoever
# measures a gain should give the other side its best. **Decide, then run:** which step gains most here?


# %%
def with_budget() -> np.ndarray:
    """Token-budget batches, padded, by the library's own forward; order restored."""
    vectors = np.empty_like(reference)
    for batch in plans["token budget, 1024"]:
        vectors[batch] = model.encode([texts[i] for i in batch], batch_size=len(batch))
    return vectors


rungs = {
    "arrival order, 32": lambda: np.concatenate([model.encode(texts[i : i + 32]) for i in range(0, len(texts), 32)]),
    "one text a call": lambda: np.stack([model.encode(text) for text in texts]),
    "encode, batch_size=32": lambda: model.encode(texts),
    f"encode, batch_size={best}": lambda: model.encode(texts, batch_size=best),
    "token budget": with_budget,
    "unpadded": lambda: encode(model, texts),
    "OpenVINO float32": lambda: encode(openvino, texts),
    "ONNX Runtime int8": lambda: encode(onnx_int8, texts),
    "OpenVINO int8": lambda: encode(openvino_int8, texts),
}
if cpu_has_bfloat16():
    half = load("all-MiniLM-L6-v2", device="cpu", dtype="bfloat16")
    rungs["unpadded, bfloat16"] = lambda: encode(half, texts)
deviation = {name: (1 - (way() * reference).sum(axis=1)).max() for name, way in rungs.items()}  # the warm-up
runs = pd.DataFrame([{name: cpu_seconds(way) for name, way in rungs.items()} for _ in range(2)])

# %%
needed = np.polyval(speed.flops_per_text(model), lengths).sum()
peak = speed.matrix_peak("cpu", clock=time.process_time)
ladder = pd.DataFrame({"CPU s": runs.median(), "worst cosine deviation": pd.Series(deviation)})
base = f"encode, batch_size={best}"
ladder["speed"] = ladder.loc[base, "CPU s"] / ladder["CPU s"]
ladder["share of float32 peak"] = needed / ladder["CPU s"] / peak
print(f"{environment.hardware()['cpu']}, one thread: a large float32 matrix product does {peak / 1e9:.0f} GFLOP/s")
ladder.round({"CPU s": 2, "speed": 2, "share of float32 peak": 2})

# %%
figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
exact = ladder["worst cosine deviation"] < 1e-5
axes.barh(ladder.index[exact], ladder["speed"][exact], color="#0072b2", label="the same vectors")
axes.barh(ladder.index[~exact], ladder["speed"][~exact], color="#e69f00", label="other vectors")
axes.axvline(1, color="grey", linestyle="--", label=base)
axes.set_yticks(range(len(ladder)), [*ladder.index[exact], *ladder.index[~exact]])
axes.invert_yaxis()
axes.set_xlabel(f"speed (times {base}, CPU seconds)")
axes.set_ylabel("way to encode")
axes.legend(fontsize=8)
plt.show()

# %%
gain = ladder["speed"]
print(
    f"similar lengths and small batches: {gain['token budget']:.2f} times the library's speed; without padding: ",
    end="",
)
print(f"{gain['unpadded']:.2f}; best with the same vectors: {gain[exact].idxmax()}, {gain[exact].max():.2f}")
used = ladder["share of float32 peak"]
print(f"unpadded uses {used['unpadded']:.0%} of what a matrix product reaches, the library ", end="")
print(f"{used[base]:.0%}: float32 could gain {1 / used[base]:.2f} at most")
vnni = capabilities.get("avx512_vnni", False) or capabilities.get("avx_vnni", False)
print(f"int8: {gain['ONNX Runtime int8']:.2f} (ONNX Runtime) and {gain['OpenVINO int8']:.2f} (OpenVINO), ", end="")
print("with VNNI" if vnni else "on a CPU without VNNI, which int8 is made for")

# %% [markdown]
# With so few texts the library's default batches mix many lengths; in a large collection they match better, and the
# steps are smaller (`python -m benchmarks.encoding` takes more texts). Measure on as many as you will encode.
#
# The share of the peak says how much is left. What is near the peak can become faster only by computing less or
# with smaller numbers. Int8 is set against the float32 peak, so its share may exceed it.
#
# ## Is int8 still good?
#
# Its vectors differ, and a cosine deviation doesn't say whether search suffers. A retrieval set does: nDCG@10 of
# the same queries with both models, and the difference query by query, with its interval.

# %%
search = data.retrieval()


def ndcg(vectors_of: Callable[[list[str]], np.ndarray]) -> np.ndarray:
    """nDCG@10 of each query."""
    scores = vectors_of(list(search.queries.values())) @ vectors_of(list(search.corpus.values())).T
    rows = zip(search.queries, scores.tolist(), strict=True)
    run = {query: dict(zip(search.corpus, row, strict=True)) for query, row in rows}
    return metrics.per_query(run, search.qrels)["ndcg@10"]


full = ndcg(lambda part: encode(model, part))
print(f"float32: nDCG@10 {metrics.estimate(metrics.mean, full)}, {len(full)} queries")
for name, quantised in {"ONNX Runtime int8": onnx_int8, "OpenVINO int8": openvino_int8}.items():
    change = metrics.estimate(metrics.mean, ndcg(lambda part, quantised=quantised: encode(quantised, part)) - full)
    verdict = "worse" if change.high < 0 else "better" if change.low > 0 else "no difference found"
    print(f"{name}: change {change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}]: {verdict}")

# %% [markdown]
# "No difference found" is no proof of none: the interval says how large a loss could still hide. Run the same cell
# on your own texts before you ship int8.
#
# ## A quantised model isn't quantised vectors
#
# `encode(precision="int8")` sounds alike and is another thing. The model computes in float32 as before; only its
# results are rounded afterwards, to save memory in the index. It saves no computing time.

# %%
plain = cpu_seconds(lambda: model.encode(few))
rounded = cpu_seconds(lambda: model.encode(few, precision="binary"))
vectors = encode(model, list(search.corpus.values())[:100])
small = quantize_embeddings(vectors, precision="int8", calibration_embeddings=vectors)
bits = quantize_embeddings(vectors, precision="ubinary")
print(f"CPU s: {plain:.3f} plain, {rounded:.3f} with precision='binary'")
print(f"bytes a vector: {vectors[0].nbytes} float32, {small[0].nbytes} int8, {bits[0].nbytes} binary")
one_by_one = quantize_embeddings(vectors[:1], precision="int8", calibration_embeddings=vectors[:50])
print(f"the same text with other calibration vectors: same int8 numbers: {np.array_equal(one_by_one[0], small[0])}")

# %% [markdown]
# Int8 vectors need `calibration_embeddings`, or ranges, fixed once and kept with the index: as the last line shows,
# the same text gets other numbers with another calibration, and the two can't be compared.
#
# ## A file larger than the memory
#
# `stream` reads Parquet or JSONL and writes one Parquet file for each chunk of texts. A chunk is written under
# another name, forced to the disk, then renamed; a rename is whole or not at all. So a file with its final name is
# complete, and a process that starts again writes only what is missing. Here it is killed without warning by
# `SIGKILL` (the signal of `kill -9`, which no program can catch).

# %%
folder = Path(tempfile.mkdtemp())
many = [text[:200] for text in data.texts()]
(folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in many), encoding="utf-8")
PROGRAM = """
import sys
from helpers import load
from helpers.stream import stream
stream(load("all-MiniLM-L6-v2-static-256", device="cpu"), sys.argv[1], sys.argv[2], chunk_texts=10)
"""
files = [str(folder / "texts.jsonl"), str(folder / "vectors")]
child = subprocess.Popen([sys.executable, "-c", PROGRAM, *files], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
while child.poll() is None and len(list((folder / "vectors").glob("part-*"))) < 3:
    time.sleep(0.001)
child.kill()
child.wait()
done = len(list((folder / "vectors").glob("part-*")))
print(f"killed: {done} parts of {-(-len(many) // 10)} are there")

# %% [markdown]
# Now call it again. It takes up the work, and the bar shows the rate and the time left. Is every row there, once,
# with the vector that a plain run gives?

# %%
static = load("all-MiniLM-L6-v2-static-256", device="cpu")
encoded = stream(static, folder / "texts.jsonl", folder / "vectors", chunk_texts=10)
table = pd.read_parquet(folder / "vectors")
assert table["row"].tolist() == list(range(len(many)))
assert np.allclose(np.stack(list(table["embedding"])), static.encode(many), atol=1e-5)
print(f"this call encoded {encoded} of {len(many)} texts; every row is there once, equal to a plain run")

# %% [markdown]
# One danger is left: to go on with another model and mix two kinds of vector in one index. The folder's manifest
# knows what it was begun with.

# %%
try:
    stream(load("tfidf-4096", device="cpu"), folder / "texts.jsonl", folder / "vectors", chunk_texts=10)
except CourseError as error:
    print(str(error).split(": ", 1)[1][:160], "...")

# %% [markdown]
# ## Recap
#
# - **Use**: `batch_size` is worth a measurement; `normalize_embeddings` matters for models that don't end in
#   `Normalize`; `convert_to_tensor` and `show_progress_bar` are comfort; `precision` shrinks vectors, not time.
# - **Explain**: similar lengths together, a budget of tokens, then no padding at all give the same vectors in less
#   time. What is near the machine's peak gains only from smaller numbers, and those need the right CPU and a
#   retrieval check.
# - **Encode**: chunks, written aside, synced and renamed, with a manifest. A crash costs one chunk at most.
#
# Test yourself: Why can a batch of one be faster than a batch of thirty-two? Why must attention, and not the linear
# layers, know where a text ends? What goes wrong if a part is written straight under its final name?
#
# Now the exercise: [batches, packing, resuming](../exercises/10_encoding_fast/10_encoding_fast.ipynb)
#
# Sources: Reimers, *Sentence Transformers*, [computing embeddings](https://sbert.net/docs/sentence_transformer/usage/usage.html)
# and [embedding quantization](https://sbert.net/examples/sentence_transformer/applications/embedding-quantization/README.html);
# Jacob et al. 2018, *Quantization and Training of Neural Networks*
# ([arXiv](https://arxiv.org/abs/1712.05877)); [OpenVINO](https://docs.openvino.ai) and its quantiser
# [nncf](https://github.com/openvinotoolkit/nncf).
