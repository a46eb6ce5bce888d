# %% [markdown]
# # 10 · Fast encoding
#
# After this lesson you can
# - **use** the options of `encode` knowing what each of them does, and which cost or save time,
# - **explain** each rung, on one CPU thread, from one text a call to unpadded and quantised encoding,
# - **encode** a large file so that it can be killed at any moment and goes on.
#
# {{minutes}} minutes · up to {{memory_mb}} MB of memory · {{download}}
#
# A collection is encoded once, and again with each change of model. On a CPU that can take days, and part of
# them goes into *padding*: numbers that fill a batch and are thrown away. This lesson finds that part and takes it
# out, one step at a time.

# %%
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import rich
import torch
from matplotlib import pyplot as plt
from sentence_transformers.util import quantize_embeddings

from helpers import benchmark, data, load
from helpers.encode import TOKEN_BUDGET, batches, cpu_has_bfloat16, encode, padding_share, to_openvino, token_counts
from helpers.encode.stream import stream
from helpers.errors import CourseError
from helpers.measure import claims, environment, metrics, speed
from helpers.models import twins
from helpers.models.int8 import available as int8_products
from helpers.models.ways import to_unpadded

torch.set_num_threads(1)  # one thread, so that CPU seconds can be compared
model = load("all-MiniLM-L6-v2", device="cpu")
print(f"device {model.device}, torch {torch.__version__}, one thread, {environment.hardware()['cpu']}")

# %% [markdown]
# ## The texts, and a clock
#
# Real collections mix titles with articles. So do these: two of three texts are cut to their first sentence. The clock
# counts CPU seconds of this process, so that other programs on the machine disturb it little; what is compared takes
# turns, round by round, so that a slow moment hits all alike. A ratio of two ways has an interval over the rounds.

# %%
collection = [text.split(". ")[0] if i % 3 else text for i, text in enumerate(data.texts())]
here = [i for i in range(len(collection)) if i % 5 in (2, 4)]  # without those that an int8 model is calibrated on
texts = [collection[i] for i in here]
lengths = token_counts(model, texts)
print(f"{len(texts)} texts, {np.mean(lengths):.0f} tokens on average, from {min(lengths)} to {max(lengths)}")

# %%
Ways = dict[str, Callable[[], np.ndarray]]
vectors: dict[str, np.ndarray] = {}


def measure(ways: Ways, rounds: int = 3) -> pd.DataFrame:
    """CPU seconds of each way (column) in each round (row); the vectors are kept by name."""
    runs = []
    for _ in range(rounds):
        runs.append({})
        for name, way in ways.items():
            start = time.process_time()
            vectors[name] = way()
            runs[-1][name] = time.process_time() - start
    return pd.DataFrame(runs)


# %% [markdown]
# ## The options of `encode`
#
# `batch_size` is how many texts go through the model together. **Decide, then run:** which is faster on one CPU thread,
# batches of two or of eight? (The default, 32, would make four batches of this sample, too few to time.)


# %%
def times(name: str, base: str, runs: pd.DataFrame) -> metrics.Estimate:
    """How many times as fast as `base`, with Student's interval over the rounds."""
    return metrics.ratio(np.log(runs[base] / runs[name]))


reference = model.encode(texts, batch_size=8)  # also the warm-up
base, two, default = "encode, batch_size=8", "encode, batch_size=2", "encode, batch_size=32"
swept = measure({base: lambda: model.encode(texts, batch_size=8), two: lambda: model.encode(texts, batch_size=2)})
took = {"here": times(two, base, swept)}
print(claims.Claim("two", "A batch of 2", "one of 8", "CPU seconds", took, **claims.FASTER))

# %% [markdown]
# On a GPU a larger batch helps until the device is busy. One CPU thread is busy from the start. If a smaller batch
# wins on your sample, look where its gain comes from, as the next section does for 8 against 32: a sample isn't a
# collection. `batch_size` changes nothing in the vectors beyond rounding.
#
# `convert_to_tensor` decides the type of what comes back, `normalize_embeddings` divides each vector by its length,
# and `device` says where it runs.

# %%
few = texts[:8]
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
# `show_progress_bar` draws a bar when you run it, and costs next to nothing.
#
# ## Where the time goes: padding
#
# A batch is a rectangle. Short texts are filled up to the longest, and the filling is computed like the rest. Here
# are plans for the same texts: arrival order, the library's (it sorts by length first), and a *token budget*, which
# puts similar lengths together and closes a batch when its rectangle is full. `1024` tokens are the default of
# `helpers.encode`: four texts of MiniLM's longest. The share of padding is padding over all tokens computed.


# %%
budget = f"token budget, {TOKEN_BUDGET} tokens"


def plans(chosen: range | np.ndarray) -> dict[str, list[np.ndarray]]:
    """The batches of each plan, as places in `chosen`."""
    arrival = np.arange(len(chosen))
    ordered = np.argsort([-len(collection[i]) for i in chosen])  # by characters, as the library sorts
    cut = {"arrival order, 32 texts": (arrival, 32), default: (ordered, 32), base: (ordered, 8)}
    found = {name: [order[i : i + k] for i in range(0, len(order), k)] for name, (order, k) in cut.items()}
    return found | {budget: batches(counts[chosen], TOKEN_BUDGET)}


def with_budget() -> np.ndarray:
    """Token-budget batches, padded, by the library's own forward; order restored."""
    rows = np.empty_like(reference)
    for batch in batches(token_counts(model, texts), TOKEN_BUDGET):
        rows[batch] = model.encode([texts[i] for i in batch], batch_size=len(batch))
    return rows


# %%
counts = np.array(token_counts(model, collection))
draw = np.random.default_rng(0)
larger = {n: draw.integers(len(collection), size=n) for n in (2000, 20_000)}  # lengths like these, drawn again
waste = pd.DataFrame(
    {n: {name: padding_share(counts[some], plan) for name, plan in plans(some).items()} for n, some in larger.items()}
)
computed = {name: sum(len(b) * max(counts[here][b]) for b in plan) for name, plan in plans(here).items()}
waste.insert(0, len(texts), 1 - sum(lengths) / pd.Series(computed))
saved = (1 - waste.loc[base]) / (1 - waste.loc[default])  # of the tokens that the default computes
print(f"tokens of the default over those of batch_size=8: {saved.iloc[0]:.2f} with {len(texts)} texts, ", end="")
print(f"{saved.iloc[-1]:.2f} with 20,000: in a large collection ", end="")
print("the small batch has little to gain" if saved.iloc[-1] < 1.05 else "a small batch still computes fewer")
waste.columns = [f"padding, {n} texts" for n in waste.columns]
waste.insert(0, f"tokens computed, {len(texts)} texts", computed)
waste.round(3)

# %%
figure, panels = plt.subplots(1, len(computed), figsize=(11, 3.4), sharey=True, layout="constrained")
for axes, (name, plan) in zip(panels, plans(here).items(), strict=True):
    own = [lengths[i] for batch in plan for i in batch]
    padded = [max(lengths[i] for i in batch) for batch in plan for _ in batch]
    axes.bar(range(len(own)), padded, width=1, color="#e69f00", label="padding")
    axes.bar(range(len(own)), own, width=1, color="#0072b2", label="tokens")
    axes.set_title(f"{name}\n{1 - sum(own) / sum(padded):.0%} padding", fontsize=9)
    axes.set_xlabel("text, in order of computing", fontsize=9)
panels[0].set_ylabel("length (tokens)")
panels[0].legend(fontsize=8)
plt.show()

# %% [markdown]
# With few texts a sorted batch still mixes lengths; the more texts, the better they match, and only arrival order
# stays as it is. So what a `batch_size` gains on a sample is no rule for a collection. The budget's merit is that no
# batch is too large or too small, whatever the lengths.
#
# ## Without any padding
#
# Most of a BERT doesn't know which text a token belongs to: its linear layers treat each token alone. So all
# tokens of a batch can stand in one long row. Only attention, the step in which a token reads other tokens, would
# read other texts' there. So it runs apart, texts of equal length together: a rectangle without padding.

# %% [markdown]
# `helpers.encode.encode` does this for a BERT, RoBERTa, XLM-R or MPNet. On a CPU it also *packs* the weights: it copies
# them once into the order in which oneDNN, a library inside PyTorch, reads them fastest. It is meant to give the
# library's vectors, so that is what is checked, on mixed lengths, with an empty text among them:

# %%
checked = ["", *texts[:16], "word " * 600]
worst = np.abs(encode(model, checked) - model.encode(checked, batch_size=4)).max()
assert worst < 1e-5
print(f"largest difference in any number of any vector: {worst:.1e}")

# %% [markdown]
# ## Fewer bits
#
# *Quantising a model* means to compute with smaller numbers. *int8* writes a number as a whole one from -128 to 127
# times a scale: one byte instead of float32's four; *bfloat16* takes two. Both pay most where the processor has
# instructions for them. *Runtimes* such as ONNX Runtime and OpenVINO run the same network without PyTorch.

# %%
onnx_int8 = load("all-MiniLM-L6-v2-int8", device="cpu")
openvino = to_openvino(model)
rich.reconfigure(force_jupyter=False)  # or the quantiser leaves empty bars behind
openvino_int8 = to_openvino(model, int8=True)
known = ("vnni", "amx_int8", "dot", "i8mm")  # x86 and Arm
found = [name for name, there in torch.cpu.get_capabilities().items() if there and any(k in name for k in known)]
print(f"instructions for int8: {', '.join(found) or 'none found'}; for bfloat16: {cpu_has_bfloat16()}")
more = {"unpadded int8": to_unpadded(model, int8=True)} if int8_products() else {}
if cpu_has_bfloat16():
    more["unpadded, packed, bfloat16"] = load("all-MiniLM-L6-v2", device="cpu", dtype="bfloat16")

# %% [markdown]
# ## The ladder
#
# All ways on the same texts. They are set against the library at `batch_size=8`, which pads this sample less than the
# default does: whoever measures a gain should give the other side its best. The runtimes get the padded batches of the
# token budget, so that rung is their neighbour. **Decide, then run:** which step gains most here?

# %%
unpadded, packed = "unpadded", "unpadded, packed"
rungs: Ways = {
    "one text a call": lambda: np.stack([model.encode(text) for text in texts]),
    base: lambda: model.encode(texts, batch_size=8),
    budget: with_budget,
    unpadded: lambda: encode(model, texts, pack=False),
    packed: lambda: encode(model, texts),
    "OpenVINO float32, token budget": lambda: encode(openvino, texts),
    "OpenVINO int8, token budget": lambda: encode(openvino_int8, texts),
    "ONNX Runtime int8, token budget": lambda: encode(onnx_int8, texts),
}
rungs |= {name: partial(encode, other, texts) for name, other in more.items()}
runs = measure(rungs)

# %% [markdown]
# A *FLOP* is one addition or multiplication. The *peak* is how many a second a large matrix product does: about
# the most that any encoder can reach.

# %%
needed = np.polyval(speed.flops_per_text(model), lengths).sum()
peak, seconds = speed.matrix_peak("cpu", clock=time.process_time), runs.median()
ladder = pd.DataFrame({"CPU s": seconds, "tokens/s": sum(lengths) / seconds})
ladder["computed of each token"] = [
    computed.get(name, computed[budget] if "budget" in name else sum(lengths)) / sum(lengths) for name in ladder.index
]
ladder["times baseline"] = [str(times(name, base, runs)) for name in ladder.index]
ladder["share of peak"] = needed / seconds / peak
deviation = pd.Series({name: (1 - (vectors[name] * reference).sum(axis=1)).max() for name in ladder.index})
ladder["1 - cosine, worst vector"] = deviation.map("{:.0e}".format)
print(f"{environment.hardware()['cpu']}, one thread: a large float32 matrix product does {peak / 1e9:.0f} GFLOP/s")
ladder.round(2)

# %%
exact, gain = deviation < 1e-5, seconds[base] / seconds
figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
for same, colour, label in ((exact, "#0072b2", "the same vectors"), (~exact, "#e69f00", "other vectors")):
    axes.barh(ladder.index[same], gain[same], color=colour, label=label)
axes.axvline(1, color="grey", linestyle="--", label=f"baseline: {base}")
axes.set_xlabel("speed (times the baseline, CPU seconds)")
axes.set_ylabel("way to encode")
axes.invert_yaxis()
axes.legend(fontsize=8)
plt.show()

# %%
speeds, _ = twins.speeds()
run = twins.measured().query("device == 'cpu'").iloc[0]
bridge = {
    "this sample, the library": (f"{np.mean(lengths):.0f}", ladder.loc[base, "tokens/s"], "batches of 8, padded"),
    "this sample, unpadded, packed": (f"{np.mean(lengths):.0f}", ladder.loc[packed, "tokens/s"], "nothing padded"),
    "one short text a call": ("8", 0.0, "a call for each text, as a search box does"),
    "the course's table": (run.tokens, speeds["sentence-transformers/all-MiniLM-L6-v2"], f"one length; {run.hardware}"),
}
question = "where does the ring road begin"
start = time.process_time()
for _ in range(64):
    model.encode(question)
bridge["one short text a call"] = ("8", 64 * 8 / (time.process_time() - start), bridge["one short text a call"][2])
assert token_counts(model, [question]) == [8]
pd.DataFrame(bridge, index=["tokens a text", "tokens/s", "how"]).T

# %% [markdown]
# The table sets side by side what the course says of MiniLM's speed in several places: same model, one thread, and the
# figures differ by what is in a batch and by the machine. So a speed means something only with tokens a text, padding
# and way beside it; tokens/s travel better than texts/s.
#
# In the ladder, compare the tokens computed with the CPU seconds. One text a call computes no padding, and pays for
# each call. What is near the peak can become faster only by computing less or with smaller numbers. Int8 and bfloat16
# are set against the float32 peak, so their share may exceed it.
#
# `export_dynamic_quantized_onnx_model`, `unpad_inputs` on a GPU with FlashAttention, `encode(device=[...])` and
# `chunk_size` for several devices ([speeding up
# inference](https://sbert.net/docs/sentence_transformer/usage/efficiency.html)). `helpers.encode` is for BERTs and
# their kin on a CPU, and for understanding.
#
# ## Is int8 still good?
#
# Its vectors differ, and a cosine deviation doesn't say whether search suffers. A retrieval set does: nDCG@10 of
# the same queries with both models, and the difference query by query, with its interval, on two sets of texts.

# %%
searches = {"the course's texts": data.retrieval(), "scipy's docstrings": data.docstrings("dev", limit=150)}


def ndcg(other: object, search: data.Retrieval) -> np.ndarray:
    """nDCG@10 of each query."""
    return benchmark.ndcg(search, *(encode(other, list(part.values())) for part in (search.queries, search.corpus)))


full = {where: ndcg(model, search) for where, search in searches.items()}
int8 = {
    name: {w: metrics.estimate(metrics.mean, ndcg(other, search) - full[w]) for w, search in searches.items()}
    for name, other in ({"ONNX Runtime int8": onnx_int8, "OpenVINO int8": openvino_int8} | more).items()
}
pd.DataFrame(int8).T.rename_axis("change of nDCG@10 from float32")

# %% [markdown]
# Rounding adds no knowledge, so an interval just above nought on one set is more likely luck than a gain; if the recap
# says "better" of an int8 model, read it so. Say before you look how large a loss you would take for the speed, and
# read the lower end: a loss beyond it is unlikely. Int8 results also depend on the processor: encode the index and the
# queries on the same kind, and run this cell there, on your own texts, before you ship int8.
#
# `encode(model, texts, precision="auto", loss=0.01)` climbs the ladder for you: it tries the ways that a machine has,
# once, keeps the fastest whose vectors of a sample move by no more than the loss, and says which; without a loss none
# may move.
#
# ## A file larger than the memory
#
# `stream` reads Parquet or JSONL and writes one Parquet file for each chunk of texts. A chunk is written as
# `.part-00003.parquet.tmp`, forced to the disk, then renamed to `part-00003.parquet`; a rename is whole or not at
# all. So a file with its final name is complete, and a process that starts again writes only what is missing. Here
# it is killed without warning by `SIGKILL` (the signal of `kill -9`, which no program can catch). What forcing to the
# disk guards against, a power cut, isn't shown.

# %%
scratch = tempfile.TemporaryDirectory()
folder = Path(scratch.name)
many = [text[:200] for text in data.texts()]
(folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in many), encoding="utf-8")
PROGRAM = """
import sys
from helpers import load
from helpers.encode.stream import stream
stream(load("all-MiniLM-L6-v2-static-256", device="cpu"), sys.argv[1], sys.argv[2], chunk_texts=10)
"""
command = [sys.executable, "-c", PROGRAM, str(folder / "texts.jsonl"), str(folder / "vectors")]

# %%
with (folder / "errors.txt").open("w") as errors:
    child = subprocess.Popen(command, stdout=errors, stderr=errors)
    while child.poll() is None and len(list((folder / "vectors").glob("part-*"))) < 3:
        time.sleep(0.001)
    child.kill()
    code = child.wait()
done = len(list((folder / "vectors").glob("part-*")))
assert code in (0, 1 if os.name == "nt" else -9), (folder / "errors.txt").read_text()
print(f"{'killed' if code else 'it had finished before the signal'}: {done} parts of {-(-len(many) // 10)} are there")

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
# knows what it was begun with, and refuses.

# %%
try:
    stream(load("tfidf-4096", device="cpu"), folder / "texts.jsonl", folder / "vectors", chunk_texts=10)
except CourseError as error:
    changes, mend = str(error).split("something else: ")[1].rsplit(". ", 1)
    print(f"Refused on purpose: {next(c for c in changes.split('; ') if c.startswith('model '))} ... {mend}")
scratch.cleanup()

# %% [markdown]
# ## Recap
#
# - **Use**: what a `batch_size` wins on a sample may be padding that a large collection doesn't have: count it;
#   `normalize_embeddings` matters for models that don't end in `Normalize`; `convert_to_tensor` and `show_progress_bar`
#   are comfort; `encode(precision=...)`, which the second reading explains, rounds the finished vectors.
# - **Explain**: similar lengths in a batch, then no padding at all, give the same vectors in less time; what packing
#   adds, the ladder shows. What is near the machine's peak gains only from smaller numbers, and those want the right
#   CPU and a retrieval check.
# - **Encode**: chunks, written aside, synced and renamed, with a manifest. A crash costs one chunk at most.
#
# What was found on this machine, each sentence chosen by its result:


# %%
def faster(name: str, subject: str, way: str, reference: str = base) -> claims.Claim:
    ratio = {environment.hardware()["cpu"]: times(way, reference, runs)}
    return claims.Claim(name, subject, reference, "CPU seconds", ratio, **claims.FASTER)


claims.recap(
    faster("one-a-call", "One text a call", "one text a call"),
    faster("packed", "Unpadded and packed", packed),
    faster("packing-alone", "Packing on top of it", packed, unpadded),
    faster("unpadded", "Unpadded", unpadded, budget),
    faster("openvino-int8", "OpenVINO's int8", "OpenVINO int8, token budget", "OpenVINO float32, token budget"),
    claims.Claim("openvino-int8-search", "OpenVINO's int8", "float32", "nDCG@10", int8["OpenVINO int8"], margin=0.01),
    claims.Claim(
        "onnx-int8-search", "ONNX Runtime's int8", "float32", "nDCG@10", int8["ONNX Runtime int8"], margin=0.01
    ),
)

# %% [markdown]
# Test yourself: Why can batches of 8 compute far fewer tokens than batches of 32 on few texts, and not on many? Why
# must attention, and not the linear layers, know where a text ends? What goes wrong if a part is written straight
# under its final name?
#
# Now the exercise: [batches, packing, resuming](../exercises/10_encoding_fast/10_encoding_fast.ipynb)
#
# ## For a second reading
#
# **The long row in small.** A linear layer gives the same on a padded rectangle and on the long row:

# %%
random = torch.Generator().manual_seed(0)
linear = torch.nn.Linear(8, 8)
short, longer = torch.randn(2, 8, generator=random), torch.randn(5, 8, generator=random)
rectangle = torch.nn.utils.rnn.pad_sequence([short, longer], batch_first=True)
row = linear(torch.cat([short, longer]))
assert torch.allclose(linear(rectangle)[0, :2], row[:2], atol=1e-6)
assert torch.allclose(linear(rectangle)[1], row[2:], atol=1e-6)
print(f"tokens computed: {rectangle.shape[0] * rectangle.shape[1]} padded, {len(row)} in a row; the same result")

# %% [markdown]
# **A quantised model isn't quantised vectors.** `encode(precision="int8")` sounds alike and is another thing. The
# model computes in float32 as before; only its results are rounded afterwards (`"binary"` keeps each number's sign),
# to save memory in the index.

# %%
passages = encode(model, list(searches["the course's texts"].corpus.values())[:100])
small = quantize_embeddings(passages, precision="int8", calibration_embeddings=passages)
bits = quantize_embeddings(passages, precision="ubinary")
print(f"bytes a vector: {passages[0].nbytes} float32, {small[0].nbytes} int8, {bits[0].nbytes} binary")
one_by_one = quantize_embeddings(passages[:1], precision="int8", calibration_embeddings=passages[:50])
print(f"the same text with other calibration vectors: same int8 numbers: {np.array_equal(one_by_one[0], small[0])}")

# %% [markdown]
# Int8 vectors need `calibration_embeddings`, or ranges, fixed once and kept with the index: as the last line shows,
# the same text gets other numbers with another calibration, and the two can't be compared.
#
# Sources: Reimers, *Sentence Transformers*, [computing
# embeddings](https://sbert.net/docs/sentence_transformer/usage/usage.html) and [embedding
# quantization](https://sbert.net/examples/sentence_transformer/applications/embedding-quantization/README.html); Jacob
# et al. 2018, *Quantization and Training of Neural Networks* ([arXiv](https://arxiv.org/abs/1712.05877));
# [OpenVINO](https://docs.openvino.ai) and its quantiser [nncf](https://github.com/openvinotoolkit/nncf).
