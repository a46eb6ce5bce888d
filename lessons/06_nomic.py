# %% [markdown]
# # 06 · Nomic Embed
#
# After this lesson you can
# - **prefix** every text with its task, and shorten vectors by Nomic's recipe: layer norm, slice, normalise,
# - **choose** how many dimensions and bytes to keep from a curve with intervals,
# - **decide** whether a long document is truncated, cut into passages or read whole, and what each costs.
#
# {{minutes}} minutes · up to {{memory_mb}} MB of memory · {{download}}
#
# Nomic Embed is known for three things: vectors that may be shortened, a context of 8192 tokens, and openness
# beyond the weights. Each is a claim that you can test. Outside this course you would install what is needed
# with `pip install sentence-transformers einops`; Nomic's own model code imports the second.

# %% tags=["parameters"]
source: str = "auto"  # where the family's weights come from: auto, hub or stand-in
trust_remote_code: bool = False  # allow the model's own code from the hub; read it first

# %%
import time

import numpy as np
import pandas as pd
import torch
import transformers
from IPython.display import display
from matplotlib import pyplot as plt
from scipy.optimize import nnls
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import LayerNorm
from sentence_transformers.util import quantize_embeddings
from torch.nn import functional
from transformers import BertModel, NomicBertConfig, NomicBertModel

from helpers import bundled, catalog, data, load, models
from helpers.measure import environment, metrics
from helpers.models import twins

NOMIC = "nomic-ai/nomic-embed-text-v1.5"
wanted = "stand-in" if source == "auto" and not trust_remote_code else source  # real weights need Nomic's code
minilm, nomic = load("all-MiniLM-L6-v2"), load(NOMIC, source=wanted, trust_remote_code=trust_remote_code)
versions = environment.versions()
print(f"device {minilm.device}", *(f"{name} {versions[name]}" for name in ("sentence-transformers", "transformers")))

# %% [markdown]
# ## The family
#
# Four models, by their full ids on the hub. `tokens` is where a text is cut. Look at that column first: the
# newest of Nomic's own models reads far less than the one before it.

# %%
names = ["nomic-embed-text-v1", "nomic-embed-text-v1.5", "nomic-embed-text-v2-moe", "modernbert-embed-base"]
family = [catalog.card(name) for name in names]
v15, v2 = family[1], family[2]
display(
    pd.DataFrame(
        {
            "model": [c.hub_id for c in family],
            "dimensions": [c.dims for c in family],
            "tokens": [c.max_tokens for c in family],
            "parameters (M)": [f"{c.params_total / 1e6:.0f}" if c.params_total else "unknown" for c in family],
            "languages": [c.languages_mteb or "unknown" for c in family],
            "Matryoshka": [{True: "yes", False: "no"}.get(c.matryoshka, "unknown") for c in family],
            "own code": [{True: "yes", False: "no"}.get(c.trust_remote_code, "unknown") for c in family],
            "licence": [c.license or "unknown" for c in family],
        }
    )
)
print(f"{v2.name} reads {v2.max_tokens} tokens, {v15.name} {v15.max_tokens}")

# %% [markdown]
# Their scores, one table a benchmark: each is a mean over other tasks, so a number from one table must not be
# held against a number from another. `computed` is the mean of mteb's public results, `tasks` how many of the
# benchmark's tasks were run; without a complete run, or nearly, there is no mean.


# %%
def score(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


columns = {
    "MTEB(eng, v1), 56 tasks": ("eng_v1_published", "eng_v1_computed", "eng_v1_n_of_56"),
    "MTEB(eng, v2), 41 tasks": ("eng_v2_published", "eng_v2_computed_mean_task", "eng_v2_n_of_41"),
    "MTEB(Multilingual, v2), 131 tasks": (
        "multilingual_v2_published", "multilingual_v2_computed_mean_task", "multilingual_v2_n_of_131",
    ),
}  # fmt: skip
for benchmark, (published, computed, tasks) in columns.items():
    rows = [(score(getattr(c, published)), score(getattr(c, computed)), getattr(c, tasks)) for c in family]
    display(pd.DataFrame(rows, index=names, columns=["published", "computed", "tasks"]).rename_axis(benchmark))
print(f"{v2.name}: {v2.eng_v2_computed_mean_task} on MTEB(eng, v2),", end=" ")
print(f"{v2.multilingual_v2_computed_mean_task} on MTEB(Multilingual, v2)")

# %% [markdown]
# ### Which code runs
#
# Two implementations of `nomic-embed-text-v1.5` exist. The pinned revision brings Nomic's own code, which runs on
# your machine if you pass `trust_remote_code=True`. Transformers 5 also has a class of its own, `NomicBertModel`,
# which needs no foreign code. The cell prints what the catalogue says about the two, and the call to use.

# %%
print("needs its own code:", v15.trust_remote_code_source)
print(f"transformers {transformers.__version__} has {NomicBertModel.__name__}, for", end=" ")
print(f"{NomicBertConfig().max_position_embeddings} positions; encoder loaded here: {type(nomic[0].model).__name__}")
print(models.code(NOMIC))

# %% [markdown]
# This course takes the pinned revision with Nomic's code: a commit can't change, and these weights were published
# with that code. The native class is documented with `refs/pr/57`, the branch of a pull request, which can
# change; that its vectors equal those of the pinned revision has not been tested here. So read the code at the
# pinned revision once, then allow it. We do use the native class where weights don't matter: in the twin below.
#
# Without your permission this notebook takes a stand-in: MiniLM behind Nomic's prompts and shape. It shows how
# the calls work and says nothing of Nomic's quality. Every quality in this lesson is measured on MiniLM and
# models made from it, which are real, and on Nomic only if its real weights were loaded.
#
# ## Task prefixes
#
# Nomic's models were trained with a task in front of every text. Two prefixes are for search, one for grouping
# texts, one for vectors that a classifier will use. In Sentence Transformers they are `prompts`, and the two
# search prefixes have methods of their own. **Decide, then run:** does the missing prefix of the last line raise
# an error?

# %%
tasks = {
    "query": "search_query: ",
    "document": "search_document: ",
    "clustering": "clustering: ",
    "classification": "classification: ",
}
assert tasks["query"] == nomic.prompts["query"] and tasks["document"] == nomic.prompts["document"]
nomic.prompts.update(tasks)
sentence = "The harbour is closed to sailing boats until Friday."
by_task = {name: nomic.encode(sentence, prompt_name=name) for name in tasks}
by_task["no prefix"] = nomic.encode(sentence)
similarity = nomic.similarity(np.stack(list(by_task.values())), np.stack(list(by_task.values())))
pd.DataFrame(similarity.numpy(), index=list(by_task), columns=list(by_task)).round(3)

# %% [markdown]
# One sentence, five vectors, no error. (On the stand-in the numbers are MiniLM's, which reads a prefix as words of
# the text; with real weights they are Nomic's.) Vectors from different tasks belong in different places: documents of a
# search index get `search_document: `, and queries against it `search_query: `; texts that are compared with one
# another get one and the same prefix. Glued on by hand, once, the prefix gives the library's vectors. The name of
# a prompt is a key, not the prefix itself; the wrong key does raise an error.

# %%
for name, prefix in tasks.items():
    assert np.allclose(nomic.encode(prefix + sentence), by_task[name], atol=1e-5)
assert np.allclose(nomic.encode_query(sentence), by_task["query"], atol=1e-5)
assert np.allclose(nomic.encode_document(sentence), by_task["document"], atol=1e-5)
try:
    nomic.encode(sentence, prompt_name="search_query")
except ValueError as error:
    print(error)

# %% [markdown]
# ## Vectors that may be shortened
#
# A Matryoshka model (named after the nested dolls) is trained with its loss computed on the first numbers of a
# vector as well as on all of them. So the first numbers say most, and you may keep only those. Nomic's recipe has
# three steps after the prefix: layer norm over the full vector, then the slice, then L2 normalisation.


# %%
def matryoshka(embeddings: torch.Tensor, dims: int) -> torch.Tensor:
    """Nomic's recipe, (n, d) to (n, dims): layer norm over all d numbers, slice, unit length."""
    normed = functional.layer_norm(embeddings, (embeddings.shape[1],))
    return functional.normalize(normed[:, :dims], dim=1)


sample = list(data.retrieval().corpus.values())[:8]
full = nomic.encode_document(sample, convert_to_tensor=True)
recipe = matryoshka(full, 256)
centred = full - full.mean(dim=1, keepdim=True)
assert torch.allclose(recipe, functional.normalize(centred[:, :256], dim=1), atol=1e-5)
print(f"{tuple(full.shape)} -> {tuple(recipe.shape)}, shortest length {recipe.norm(dim=1).min():.3f}")

# %% [markdown]
# The assert says what layer norm does here. It takes each vector's own mean away and divides by its standard
# deviation; the division cancels when the vector is normalised. What is left of it is the mean. `truncate_dim=`
# of Sentence Transformers slices and does nothing else. So the two agree where a vector's numbers have a mean of
# zero. We try four kinds of vectors. PCA (principal component analysis) finds new axes for the vectors, the one
# along which they spread most first; turning vectors onto such axes changes no cosine. The axes were found on texts
# that are in none of the test sets. **Decide, then run:** for which of the four do recipe and slice agree best?

# %%
plain = torch.from_numpy(minilm.encode(sample))
rotated = bundled.pca(dims=384)
four = {
    "MiniLM": plain,
    "MiniLM rotated by PCA": torch.from_numpy(rotated.encode(sample)),
    f"{v15.name} ({models.weights(nomic).kind})": full.cpu(),
    "MiniLM, 0.05 added to every number": plain + 0.05,
}

# %%
sliced = {name: functional.normalize(e[:, :128], dim=1) for name, e in four.items()}
agreement = pd.DataFrame(
    {
        "mean / standard deviation, largest": [(e.mean(1) / e.std(1)).abs().max().item() for e in four.values()],
        "recipe and slice, lowest cosine": [
            (sliced[name] * matryoshka(e, 128)).sum(1).min().item() for name, e in four.items()
        ],
    },
    index=list(four),
)
display(agreement.round(4))
order = agreement.sort_values(agreement.columns[0])
print(f"smallest mean: {order.index[0]}, lowest cosine {order.iloc[0, 1]:.4f};", end=" ")
print(f"largest: {order.index[-1]}, {order.iloc[-1, 1]:.4f}")

# %% [markdown]
# The smaller the mean against the spread, the less the layer norm changes. Which kind of vectors a model gives, only
# its real weights can tell. So for `nomic-embed-text-v1.5` do the layer norm yourself: it is how its short vectors
# are meant to be made. Queries and documents must both get it. The safest place is the model's own pipeline: one
# more module, so that nobody who loads the model can forget it.

# %%
shortened = SentenceTransformer(
    modules=[*nomic, LayerNorm(nomic.get_embedding_dimension())],
    prompts=nomic.prompts,
    truncate_dim=256,
    device=str(nomic.device),
)
library = shortened.encode_document(sample, normalize_embeddings=True)
assert np.allclose(library, recipe.cpu().numpy(), atol=1e-5)
print(f"as a module: {library.shape}, equal to the recipe by hand")
short = nomic.encode_document(sample, truncate_dim=256)
print(f"truncate_dim alone: lengths {np.linalg.norm(short, axis=1).min():.3f}", end="")
print(f" to {np.linalg.norm(short, axis=1).max():.3f}")

# %% [markdown]
# The last line is the trap. The slice of a unit vector is shorter than one. `normalize_embeddings=True` comes
# after the slice and mends it; a `Normalize` module inside the pipeline comes before and doesn't. To see what a
# dot product makes of that, the next cells use real vectors: the course's retrieval set, encoded by MiniLM, and
# rotated by PCA so that the first numbers say most.
#
# The score is *nDCG@10*: from 0 to 1, high if the right documents stand at the top of a query's first ten. A mean
# over queries hangs on which queries were asked, so it comes with a *bootstrap interval* in brackets: draw as many
# queries as there are, with repeats, take their mean, do it many times, and keep the middle 95 percent of the means.

# %%
search, pairs = data.retrieval(), data.pairs()
documents = minilm.encode_document(list(search.corpus.values()))
queries = minilm.encode_query(list(search.queries.values()))
one, two = minilm.encode(list(pairs.sentence1)), minilm.encode(list(pairs.sentence2))
rotation = rotated[-2].linear.weight.detach().cpu().numpy().T
assert np.allclose(rotated.encode(sample), documents[:8] @ rotation, atol=1e-5)


# %%
def ndcg(scores: np.ndarray, found: data.Retrieval = search) -> np.ndarray:
    """nDCG@10 of each query, from scores of shape (queries, documents)."""
    run = {q: dict(zip(found.corpus, row.tolist(), strict=True)) for q, row in zip(found.queries, scores, strict=True)}
    return metrics.per_query(run, found.qrels)["ndcg@10"]


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return minilm.similarity(a, b).numpy()


full_length = ndcg(cosine(queries, documents))
same = np.abs(cosine(queries @ rotation, documents @ rotation) - cosine(queries, documents)).max()
print(f"{len(queries)} queries, {len(documents)} documents; largest change of a cosine by rotation: {same:.0e}")


# %%
def verdict(change: metrics.Estimate) -> str:
    if change.low > 0:
        return "higher"
    return "lower" if change.high < 0 else "no difference that this data can show"


for dims in (128, 64, 32):
    q, d = (queries @ rotation)[:, :dims], (documents @ rotation)[:, :dims]
    by_dot, by_cosine = ndcg(q @ d.T), ndcg(cosine(q, d))
    change = metrics.estimate(metrics.mean, by_dot - by_cosine)
    print(f"{dims} dimensions: dot {by_dot.mean():.3f}, cosine {by_cosine.mean():.3f};", end=" ")
    print(f"dot against cosine {change}: {verdict(change)}")

# %% [markdown]
# Each line compares the two query by query and gives the interval of the difference. That paired interval is
# narrower than the intervals of the two scores, because the same hard queries are in both. It is the one to
# decide by, and this lesson uses it wherever two settings ran on the same queries. The mend is to normalise after
# the slice.
#
# ## How short?
#
# Now the whole curve. Plain slicing of MiniLM stands for a model that was not trained for it, rotated MiniLM for
# one in which the first numbers say most. Beside retrieval stand the course's pairs, scored by *ROC-AUC*: the chance
# that a similar pair gets a higher cosine than another pair. **Decide, then run:** down to how many of 384
# dimensions does the rotated model lose nothing that can be seen in retrieval?

# %%
sizes = [384, 256, 192, 128, 96, 64, 48, 32, 16]
curve = {}
for name, turn in {"plain slice": np.eye(384, dtype=np.float32), "rotated by PCA": rotation}.items():
    for dims in sizes:
        q, d, a, b = (e @ turn[:, :dims] for e in (queries, documents, one, two))
        each = ndcg(cosine(q, d))
        similarity = minilm.similarity_pairwise(a, b).numpy().astype(float)
        auc = metrics.estimate(metrics.roc_auc, similarity[pairs.gold == 1], similarity[pairs.gold == 0])
        curve[name, dims] = {
            "bytes, fp32": 4 * dims,
            "nDCG@10": metrics.estimate(metrics.mean, each),
            "change against 384": metrics.estimate(metrics.mean, each - full_length),
            "pairs: ROC-AUC": auc,
            "each": each,
            "cosines": similarity,
        }
pd.DataFrame(curve).T.drop(columns=["each", "cosines"])

# %%
figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharex=True, layout="constrained")
styles = {"plain slice": ("#d55e00", "s", 0.97), "rotated by PCA": ("#0072b2", "o", 1.03)}
for axes, what in zip(panels, ("nDCG@10", "pairs: ROC-AUC"), strict=True):
    for name, (colour, marker, shift) in styles.items():
        points = [curve[name, dims][what] for dims in sizes]
        errors = np.array([[p.value - p.low, p.high - p.value] for p in points]).T
        x = [dims * shift for dims in sizes]  # side by side, so that the intervals can be told apart
        axes.errorbar(x, [p.value for p in points], errors, color=colour, marker=marker, capsize=3, label=name)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes[::2], [str(dims) for dims in sizes[::2]])
    axes.set_xlabel("dimensions kept (log scale)")
    axes.set_ylabel(f"{what.removeprefix('pairs: ')}, with 95% interval")
    axes.grid(alpha=0.25)
panels[0].set_title(f"retrieval, {len(queries)} queries")
panels[1].set_title(f"pairs, {len(pairs)} with hard negatives")
panels[0].legend(loc="lower right")
plt.show()


# %%
def change_of_auc(few: np.ndarray, many: np.ndarray) -> metrics.Estimate:
    """ROC-AUC of one set of cosines less that of another, with the same pairs in each resample."""

    def gap(yes: np.ndarray, no: np.ndarray, axis: int = -1) -> np.ndarray:
        return metrics.roc_auc(few[yes], few[no], axis) - metrics.roc_auc(many[yes], many[no], axis)

    return metrics.estimate(gap, np.flatnonzero(pairs.gold == 1), np.flatnonzero(pairs.gold == 0))


for name in styles:
    shorter = [str(dims) for dims in sizes[1:] if curve[name, dims]["change against 384"].high < 0]
    print(f"{name}: retrieval is lower than at 384, by the whole interval, at {', '.join(shorter) or 'no size'}")
    change = change_of_auc(curve[name, 16]["cosines"], curve[name, 384]["cosines"])
    print(f"  pairs: ROC-AUC at 16 against 384 dimensions {change}: {verdict(change)}")
gain = metrics.estimate(metrics.mean, curve["rotated by PCA", 64]["each"] - curve["plain slice", 64]["each"])
print(f"at 64 dimensions the rotated model against the plain slice: {gain}: {verdict(gain)}")

# %% [markdown]
# Two lessons lie in this figure. The order of the numbers matters: where the first ones say most, far fewer do.
# And the curve depends on the task: the two panels don't have the same shape, and a cut that costs retrieval need
# not cost the pairs. Measure the cut on what you do with the vectors.
#
# To choose a size you need a rule that you set before you look. Here: the smallest that surely keeps 95 percent of
# the full score, where "surely" means that the lower end of the interval does. The exercise has you write it.

# %%
keep = 0.95
for name in styles:
    sure = [
        dims for dims in sizes
        if metrics.estimate(metrics.mean, curve[name, dims]["each"] - keep * full_length).low >= 0
    ]  # fmt: skip
    likely = [dims for dims in sizes if curve[name, dims]["nDCG@10"].value >= keep * full_length.mean()]
    print(f"{name}: {min(likely)} dimensions keep {keep:.0%} by the value alone,", end=" ")
    print(f"{min(sure)} surely: {384 / min(sure):.1f} times as small as 384")

# %% [markdown]
# ### Fewer bits instead of fewer numbers
#
# A vector shrinks in two ways: fewer numbers, or fewer bits a number. `quantize_embeddings` does the second. `int8`
# maps each dimension's range to 256 steps; the range comes from the documents, never from a batch of queries.
# `ubinary` keeps one bit a number, its sign. Queries stay in fp32 (four bytes a number) here, since only documents
# are stored; "bits on both sides" compares by Hamming distance, the count of bits that differ, which is what makes
# binary search fast.


# %%
def int8(vectors: np.ndarray) -> np.ndarray:
    """Through int8 and back: what the search sees of vectors stored in one byte a number."""
    ranges = np.stack([vectors.min(axis=0), vectors.max(axis=0)])
    codes = quantize_embeddings(vectors, "int8", ranges=ranges).astype(np.float32)
    return (codes + 128.5) * (ranges[1] - ranges[0]) / 255 + ranges[0]


def signs(vectors: np.ndarray) -> np.ndarray:
    """Through packed bits and back, as -1 and 1; dimensions a multiple of 8."""
    return np.unpackbits(quantize_embeddings(vectors, "ubinary"), axis=1).astype(np.float32) * 2 - 1


# %%
turned = {"MiniLM": (queries, documents), "rotated": (queries @ rotation, documents @ rotation)}
stored = {}
for name, dims in (("MiniLM", 384), ("rotated", 384), ("rotated", 128)):
    q, d = (e[:, :dims] for e in turned[name])
    stored[f"{name} {dims}, int8"] = dims, ndcg(cosine(q, int8(d)))
    stored[f"{name} {dims}, bits, query fp32"] = dims // 8, ndcg(q @ signs(d).T)
    stored[f"{name} {dims}, bits on both sides"] = dims // 8, ndcg(signs(q) @ signs(d).T)
quantised = {
    name: {
        "bytes": size,
        "nDCG@10": metrics.estimate(metrics.mean, each),
        "change against fp32, 384": metrics.estimate(metrics.mean, each - full_length),
    }
    for name, (size, each) in stored.items()
}
pd.DataFrame(quantised).T

# %%
figure, axes = plt.subplots(figsize=(8.5, 4.5), layout="constrained")
for name, (colour, marker, _) in styles.items():
    points = [curve[name, dims]["nDCG@10"].value for dims in sizes]
    axes.plot([4 * dims for dims in sizes], points, color=colour, marker=marker, label=f"{name}, fp32")
looks = {"int8": ("#009e73", "D"), "bits, query fp32": ("#cc79a7", "^"), "bits on both sides": ("black", "v")}
for way, (colour, marker) in looks.items():
    for model_name, filled in (("MiniLM 384", False), ("rotated 384", True), ("rotated 128", True)):
        point = quantised[f"{model_name}, {way}"]
        e, shift = point["nDCG@10"], 0.96 if filled else 1.04
        axes.errorbar(
            point["bytes"] * shift, e.value, [[e.value - e.low], [e.high - e.value]], color=colour, marker=marker,
            linestyle="none", capsize=3, markersize=8, markerfacecolor=colour if filled else "white",
            label=None if filled else f"{way} (hollow: not rotated)",
        )  # fmt: skip
axes.set_xscale("log", base=2)
axes.set_xticks([16, 32, 64, 128, 256, 512, 1024], ["16", "32", "64", "128", "256", "512", "1024"])
axes.set_xlabel("bytes a vector (log scale)")
axes.set_ylabel("nDCG@10, 95% interval on quantised points")
axes.legend(fontsize=8)
axes.grid(alpha=0.25)
plt.show()

# %%
for name, point in quantised.items():
    print(f"{name}: {1536 / point['bytes']:.0f} times as small, {verdict(point['change against fp32, 384'])}")
hamming = [stored[f"{name} 384, bits on both sides"][1] for name in ("rotated", "MiniLM")]
change = metrics.estimate(metrics.mean, hamming[0] - hamming[1])
print(f"bits on both sides, rotated against not rotated: {change}: {verdict(change)}")

# %% [markdown]
# Rotation is made for slicing, not for bits: it moves the information into the first numbers, while Hamming distance
# counts every bit alike. In production, bits serve as a first pass over everything, and the best
# hundred or so are scored again with better vectors.
#
# ## The right passage, deep in a long document
#
# Long documents in confusable series, such as annual reports of one museum, and queries whose answer stands at the
# beginning, in the middle or at the end. MiniLM reads 256 tokens. Three ways out: truncate, which happens silently;
# cut into overlapping passages and score a document by its best; or read it whole. For "whole" we have two real
# candidates without a limit: a static model (fixed token vectors, averaged), and the mean of a document's passage
# vectors.


# %%
def passages(text: str, size: int = 150, overlap: int = 30) -> list[str]:
    """A text cut into passages of `size` words, each sharing `overlap` words with the one before."""
    words = text.split()
    return [" ".join(words[i : i + size]) for i in range(0, max(1, len(words) - overlap), size - overlap)]


long = data.long_documents()
whole, questions = list(long.corpus.values()), list(long.queries.values())
cut = [passages(text) for text in whole]
owner = np.repeat(np.arange(len(cut)), [len(parts) for parts in cut])
flat = [part for parts in cut for part in parts]


# %%
def count_tokens(texts: list[str]) -> np.ndarray:
    return np.array([len(ids) for ids in minilm.tokenizer(texts, truncation=False, verbose=False)["input_ids"]])


limit, in_documents, in_passages = minilm.max_seq_length, count_tokens(whole), count_tokens(flat)
assert in_passages.max() <= limit
print(f"{len(whole)} documents of {in_documents.min()} to {in_documents.max()} tokens, {len(questions)} queries")
print(f"{len(flat)} passages, the longest of {in_passages.max()} tokens; the limit is {limit}")

# %%
static = load("all-MiniLM-L6-v2-static-256")


def timed(model: SentenceTransformer, texts: list[str]) -> tuple[np.ndarray, float]:
    start = time.process_time()
    vectors = model.encode_document(texts, batch_size=8)  # small batches: on a CPU they are quicker here
    return vectors, time.process_time() - start


def best(scores: np.ndarray) -> np.ndarray:
    """(queries, passages) to (queries, documents): a document scores what its best passage scores."""
    return np.stack([scores[:, owner == i].max(axis=1) for i in range(len(whole))], axis=1)


# %%
asked, asked_static = minilm.encode_query(questions), static.encode_query(questions)
truncated, passage_vectors = timed(minilm, whole), timed(minilm, flat)
static_whole, static_cut = timed(static, whole), timed(static, flat)
means = np.stack([passage_vectors[0][owner == i].mean(axis=0) for i in range(len(whole))])
ways = {  # name: (scores, vectors, tokens read, CPU seconds)
    "truncated": (cosine(asked, truncated[0]), len(whole), np.minimum(in_documents, limit).sum(), truncated[1]),
    "best passage": (best(cosine(asked, passage_vectors[0])), len(flat), in_passages.sum(), passage_vectors[1]),
    "mean of passages": (cosine(asked, means), len(whole), in_passages.sum(), passage_vectors[1]),
    "static, whole": (cosine(asked_static, static_whole[0]), len(whole), in_documents.sum(), static_whole[1]),
    "static, best passage": (best(cosine(asked_static, static_cut[0])), len(flat), in_passages.sum(), static_cut[1]),
}
if models.weights(nomic).real:
    vectors, seconds = timed(nomic, whole)
    scores = nomic.similarity(nomic.encode_query(questions), vectors).cpu().numpy()
    ways[f"{v15.name}, whole"] = scores, len(whole), in_documents.sum(), seconds

# %% [markdown]
# **Decide, then run:** where does truncation lose, and where do passages? nDCG@10 by where the answer stands:

# %%
where = np.array([long.where[query] for query in long.queries])
places = ["beginning", "middle", "end"]
relevant = np.array([[document in long.qrels[query] for document in long.corpus] for query in long.queries])
results, first_right = {}, {}
for name, (scores, *_) in ways.items():
    results[name] = ndcg(scores, long)
    first_right[name] = relevant[np.arange(len(scores)), scores.argmax(axis=1)].astype(float)

# %%
figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
palette = ["#d55e00", "#0072b2", "#56b4e9", "#7f7f7f", "#e69f00", "#009e73"]
for i, (name, each) in enumerate(results.items()):
    points = [metrics.estimate(metrics.mean, each[where == place]) for place in places]
    axes.bar(
        np.arange(3) + (i - (len(ways) - 1) / 2) * 0.15, [p.value for p in points], 0.13, color=palette[i], label=name,
        yerr=np.array([[p.value - p.low, p.high - p.value] for p in points]).T, capsize=3,
    )  # fmt: skip
axes.set_xticks(range(3), [f"{place}\n({(where == place).sum()} queries)" for place in places])
axes.set_xlabel("where in the document the answer stands")
axes.set_ylabel("nDCG@10, with 95% interval")
axes.set_ylim(0, 1)
axes.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.2))
plt.show()

# %%
table = {}
for name, each in results.items():
    row = {place: metrics.estimate(metrics.mean, each[where == place]) for place in places}
    row["all"] = metrics.estimate(metrics.mean, each)
    row["accuracy@1"] = metrics.estimate(metrics.mean, first_right[name])
    table[name] = row
pd.DataFrame(table).T

# %%
for place in places:
    change = metrics.estimate(metrics.mean, (results["best passage"] - results["truncated"])[where == place])
    print(f"{place}: best passage against truncated {change}: {verdict(change)}")
for one_way, other in (
    ("best passage", "truncated"),
    ("best passage", "mean of passages"),
    ("best passage", "static, best passage"),
    ("static, best passage", "static, whole"),
):
    change = metrics.estimate(metrics.mean, results[one_way] - results[other])
    print(f"all queries: {one_way} against {other} {change}: {verdict(change)}")

# %% [markdown]
# Truncation looks harmless as long as you test it with answers that stand early. Where the answer comes later, what
# remains is the subject of the series, and that doesn't tell one report from the next. Passages aren't free of loss
# either. The likely reason: a document is now as good as its best passage, so every passage of every look-alike
# competes, while truncation leaves one rival a document. Several queries share a document and aren't quite
# independent, so take an interval that barely leaves out 0 with caution. And one vector for a whole document has to
# hold all that it says. Size and overlap are settings, not laws: change them in `passages`, run again, and watch the
# intervals before you prefer one. A model with a long context offers a fourth way, to read the document whole and
# pool each passage from token vectors that have seen all of it (late chunking).
#
# Passages cost as well, in vectors to store and search, and in overlap that is read twice:

# %%
wide = {name: 256 if name.startswith("static") else 768 if "nomic" in name else 384 for name in ways}
shown = {name: (n, f"{n * wide[name] * 4 / 1e3:.0f}", int(read), f"{s:.2f}") for name, (_, n, read, s) in ways.items()}
cost = pd.DataFrame(shown, index=["vectors", "kB in fp32", "tokens read", "CPU s to encode"]).T
display(cost)
ratio = len(flat) / len(whole)
print(f"passages: {ratio:.1f} times the vectors of one a document,", end=" ")
print(f"and {in_passages.sum() / in_documents.sum() - 1:.0%} of the tokens read twice (overlap and special tokens)")

# %% [markdown]
# ## What 8192 tokens cost
#
# A long context removes the limit, not the price. In attention every token looks at every other, so that part
# grows with the square of the length. We measure one layer of `nomic-embed-text-v1.5`'s twin (its architecture
# with random weights), on one core. **Decide, then run:** twice the tokens, how many times the seconds?

# %%
layer, threads = twins.twin(NOMIC, layers=1), torch.get_num_threads()
torch.set_num_threads(1)
lengths, took = [256, 512, 1024, 2048, 4096], []
layer.encode("cat " * 254)  # warm-up
for length in lengths:
    text = "cat " * (length - 2)  # one token a word, and two special ones
    start = time.process_time()
    layer.encode(text)
    took.append(time.process_time() - start)
torch.set_num_threads(threads)
n = np.array([*lengths, 8192], dtype=float)
# a, b >= 0 of a * tokens + b * tokens**2, by least squares of the relative error
fit, _ = nnls(np.stack([n[:-1], n[:-1] ** 2], axis=1) / np.array(took)[:, None], np.ones(len(lengths)))
predicted = fit[0] * n + fit[1] * n**2
linear, attention = 8 * v15.hidden**2 + 6 * v15.hidden * v15.intermediate, 4 * v15.hidden * n
growth = pd.DataFrame({"tokens": n.astype(int), "CPU s a layer": [*took, np.nan], "fit": predicted})
growth["fit, all layers"] = predicted * v15.layers
growth["attention's share of the operations"] = [f"{share:.0%}" for share in attention / (linear + attention)]
growth.round(3)

# %%
figure, axes = plt.subplots(figsize=(8, 3.8), layout="constrained")
axes.plot(lengths, took, "o", color="#0072b2", label="measured, one layer of the twin")
axes.plot(n, predicted, color="#d55e00", label="fit: a · tokens + b · tokens²")
axes.plot(n, predicted[0] * n / n[0], color="#7f7f7f", linestyle="--", label="in proportion to the tokens")
axes.set(xscale="log", yscale="log", xlabel="tokens in one text (log scale)", ylabel="CPU seconds a layer (log scale)")
axes.set_xticks(n, [str(int(x)) for x in n], minor=False)
axes.minorticks_off()
axes.legend()
axes.grid(alpha=0.25)
plt.show()
sixteen = 16 * predicted[1] * v15.layers
print(f"all {v15.layers} layers, by the fit: one text of 8192 tokens {predicted[-1] * v15.layers:.1f} s on this core,")
print(f"the same tokens as 16 passages of 512 {sixteen:.1f} s; at 8192 the fit is an extrapolation")
print(f"one layer's attention weights, if they are kept: {v15.heads * 8192**2 * 4 / 1e9:.1f} GB in fp32")

# %% [markdown]
# The share in the table is counted from the catalogue's sizes: operations of the matrix products, in which
# attention alone grows with length. `sdpa`, the attention used here, works block by block and never keeps the
# whole of what the last line counts; an `eager` attention does.
#
# ### Positions beyond 2048
#
# BERT looks positions up in a table, and beyond its end there is nothing to look up. Nomic's models turn vectors
# by an angle that grows with the position (RoPE, rotary position embeddings), and an angle exists for every
# position, also for those never seen in training.

# %%
facts = {"vocab_size": 100, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
facts["intermediate_size"] = 128
far = torch.arange(4096)[None] % 99 + 1
with torch.inference_mode():
    try:
        BertModel(transformers.BertConfig(**facts))(input_ids=far)
    except (RuntimeError, IndexError) as error:
        print("BERT, 512 positions, 4096 tokens:", str(error).splitlines()[0][:90])
    tiny = NomicBertModel(NomicBertConfig(**facts)).eval()
    shape = tuple(tiny(input_ids=far).last_hidden_state.shape)
print(f"NomicBERT, {tiny.config.max_position_embeddings} positions, 4096 tokens: {shape}, no error")
print("catalogue:", v15.max_tokens_note)

# %% [markdown]
# No error isn't the same as right: the native class was configured for 2048 positions. Longer texts need dynamic
# RoPE, which slows the angles down as the text grows: `rope_parameters` as below, from the documentation of
# transformers. It has a side effect worth knowing. The angles follow the longest text of a batch.

# %%
dynamic = {"rope_theta": 1000.0, "rope_type": "dynamic", "factor": 2.0}
batch = torch.zeros(2, 4096, dtype=torch.long)
batch[0, :20], batch[1] = far[0, :20], far[0]
mask = (batch > 0).long()
for name, rope in {"default": None, "dynamic": dynamic}.items():
    torch.manual_seed(0)
    tiny = NomicBertModel(NomicBertConfig(**facts, rope_parameters=rope)).eval()
    with torch.inference_mode():
        alone = tiny(input_ids=far[:, :20]).last_hidden_state[0]
        beside = tiny(input_ids=batch, attention_mask=mask).last_hidden_state[0, :20]
    print(f"{name}: a short text beside a long one changes by up to {(alone - beside).abs().max():.0e}")

# %% [markdown]
# With the default the change is rounding. With dynamic RoPE it is more than that: the same short text gets
# another vector when a long one shares its batch. How much that matters depends on the weights, and these are
# random. The mend is to keep texts beyond 2048 tokens in batches of their own.
#
# ## A mixture of experts
#
# `nomic-embed-text-v2-moe` is the multilingual model of the family. In every second layer it has eight
# feed-forward blocks (experts) instead of one, and a router that sends each token through two of them. Ten lines
# show the idea: first all experts computed and most results thrown away, then only the chosen ones.

# %%
draw = torch.Generator().manual_seed(0)
tokens, router = torch.randn(6, 16, generator=draw), torch.randn(16, 8, generator=draw)
experts = torch.randn(8, 16, 16, generator=draw)
weight, chosen = torch.softmax(tokens @ router, dim=1).topk(2)  # (tokens, 2): how much of which expert

every = torch.einsum("td,edh->teh", tokens, experts)
naive = (every.gather(1, chosen[:, :, None].expand(-1, -1, 16)) * weight[:, :, None]).sum(dim=1)
sparse = torch.zeros_like(tokens)
for e in range(8):
    token, place = (chosen == e).nonzero(as_tuple=True)
    sparse[token] += weight[token, place, None] * (tokens[token] @ experts[e])
assert torch.allclose(naive, sparse, atol=1e-5)
print(f"experts of each token: {chosen.tolist()}")
print(f"experts that these {len(tokens)} tokens need between them: {chosen.unique().numel()} of 8")

# %% [markdown]
# Computing falls to two experts a token. Memory doesn't fall, because different tokens want different experts and
# all must be at hand. This is why such a model has two sizes. The cell works the second out of the first: it
# takes XLM-R base's layers, on which v2 is built, from the catalogue's row of a model of that shape.

# %%
xlmr = catalog.card("multilingual-e5-base")
expert = 2 * v2.hidden * xlmr.intermediate
idle = xlmr.layers // 2 * (8 - 2) * expert
active = v2.params_total - idle
print(f"total {v2.params_total / 1e6:.0f}M, idle for any one token {idle / 1e6:.0f}M, active {active / 1e6:.0f}M")
print(f"of the active ones {v2.params_embedding / 1e6:.0f}M are the table of token vectors, which costs no arithmetic")
print("catalogue:", v2.notes)
half = (v2.params_total - v2.params_embedding) / 2
print(f"mteb's {v2.params_active / 1e6:.1f}M is half of all parameters outside that table: {half == v2.params_active}")

# %% [markdown]
# So the card's figure follows from the architecture, with the table counted. The catalogue's `params_active`
# leaves the table out, and where the last line says True it is simply a half, which two of eight experts in every
# second layer doesn't give. When you compare "active parameters", ask whether the table is in.
#
# ## Degrees of openness
#
# Weights under a free licence let you run a model. Training code and training data let you find out what it has
# seen, or train it again. The catalogue has a link for each where mteb's metadata or the publisher's page lists
# one. "None listed" means just that; it is no proof that there is none.

# %%
others = [
    "bge-base-en-v1.5", "bge-m3", "multilingual-e5-base", "gte-base", "gte-modernbert-base", "all-MiniLM-L6-v2",
    "Qwen3-Embedding-0.6B", "embeddinggemma-300m", "jina-embeddings-v5-text-nano", "F2LLM-v2-0.6B",
]  # fmt: skip
cards = [*family, *(catalog.card(name) for name in others)]


def listed(cell: str | None) -> bool:
    return bool(cell and cell.startswith("http"))


openness = pd.DataFrame(
    {
        "model": [c.hub_id for c in cards],
        "licence of the weights": [c.license or "unknown" for c in cards],
        "training code": ["link" if listed(c.training_code) else "none listed" for c in cards],
        "training data": ["link" if listed(c.training_data) else "none listed" for c in cards],
        "linked, of two": [listed(c.training_code) + listed(c.training_data) for c in cards],
    }
)
openness.sort_values("linked, of two", ascending=False, kind="stable", ignore_index=True)

# %%
for c in (v15, v2):
    code, links = (cell if listed(cell) else "none listed" for cell in (c.training_code, c.training_data))
    print(f"{c.hub_id}: licence {c.license}\n  code: {code}\n  data: {links}")

# %% [markdown]
# A link is where the work begins. The one for v2's data leads to a section of the `contrastors` README that
# offers the data set of `nomic-embed-text-v1`, for an account with Nomic; so "none listed" beside v1 is a gap in the
# list, and whether the same data made v2 is for you to ask. The licence decides first of all:
# `cc-by-nc` forbids commercial use, `gemma` brings terms of its own, Apache and MIT ask for little.
#
# ## Size and speed
#
# Measured beforehand on twins, on one CPU core. A twin has random weights and the model's exact architecture, so
# it has its speed and its memory, and says nothing of its quality. MiniLM stands beside for scale.

# %%
measured = twins.measured()
wanted_ids = [*(c.hub_id for c in family), minilm_id := "sentence-transformers/all-MiniLM-L6-v2"]
mine = measured[measured["hub_id"].isin(wanted_ids) & (measured["device"] == "cpu")]
display(mine[["hub_id", "parameters", "layers", "dtype", "weights_mb", "peak_mb", "tokens", "tokens_per_s"]])
print(f"{mine['hardware'].iloc[0]}, {mine['threads'].iloc[0]} thread, torch {mine['torch'].iloc[0]}")
print("not measured:", ", ".join(i for i in wanted_ids if i not in set(mine["hub_id"])) or "none")
speeds = mine.set_index("hub_id")["tokens_per_s"]
if NOMIC in speeds:
    print(f"{v15.name} reads {speeds[NOMIC] / speeds[minilm_id]:.2f} of MiniLM's tokens a second")

# %% [markdown]
# `nomic-embed-text-v2-moe` has no twin, because transformers has no class for its experts.
#
# ## Recap
#
# - **Prefix**: `search_query: `, `search_document: `, `clustering: ` and `classification: ` are `prompts`; a
#   missing one raises no error. Shorten by layer norm, slice, normalise; `truncate_dim=` only slices.
# - **Choose**: the paired difference and its lower end tell how short is short enough, on your own task; fewer bits
#   a number are the other way to fewer bytes.
# - **Decide**: test with answers at every depth, or truncation goes unseen; passages reach all of a document, at
#   the price of more vectors and more rivals; a long context pays for attention, and needs positions that it was
#   made for.
#
# Test yourself: Why does the division in layer norm not matter, and why does the mean? Which interval do you
# look at when two settings ran on the same queries? What makes a document's best passage fail where the truncated
# document succeeded?
#
# Now the exercise: [recipe, size, passages, tasks](../exercises/06_nomic/06_nomic.ipynb)
#
# Sources: Nussbaum and others 2024, *Nomic Embed* ([arXiv](https://arxiv.org/abs/2402.01613)); Kusupati and
# others 2022, *Matryoshka Representation Learning* ([arXiv](https://arxiv.org/abs/2205.13147)); Su and others
# 2021, *RoFormer* ([arXiv](https://arxiv.org/abs/2104.09864)); Günther and others 2024, *Late Chunking*
# ([arXiv](https://arxiv.org/abs/2409.04701)); the
# [NomicBERT page](https://huggingface.co/docs/transformers/model_doc/nomic_bert) of transformers; Nomic's
# [contrastors](https://github.com/nomic-ai/contrastors); the catalogue `helpers/facts/models.csv` with a source
# for each figure.
