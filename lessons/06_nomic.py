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
from matplotlib import pyplot as plt
from scipy.optimize import nnls
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import LayerNorm
from sentence_transformers.util import quantize_embeddings
from torch.nn import functional
from transformers import BertModel, NomicBertConfig, NomicBertModel

from helpers import benchmark, bundled, catalog, data, load, models
from helpers.measure import claims, environment, metrics
from helpers.models import twins

NOMIC = "nomic-ai/nomic-embed-text-v1.5"
wanted = "stand-in" if source == "auto" and not trust_remote_code else source  # real weights need Nomic's code
minilm, nomic = load("all-MiniLM-L6-v2"), load(NOMIC, source=wanted, trust_remote_code=trust_remote_code)
versions = environment.versions()
print(f"device {minilm.device}", *(f"{name} {versions[name]}" for name in ("sentence-transformers", "transformers")))

# %% [markdown]
# ## The family
#
# Four models. `tokens` is where a text is cut: look at that column first, for the newest of Nomic's own models reads
# far less than the one before it. The scores are means over a benchmark's tasks, computed from mteb's public results
# (`nan` where tasks are missing); a number from one column must not be held against one from another.

# %%
names = ["nomic-embed-text-v1", "nomic-embed-text-v1.5", "nomic-embed-text-v2-moe", "modernbert-embed-base"]
family = [catalog.card(name) for name in names]
v15, v2 = family[1], family[2]
table = {
    "dimensions": [c.dims for c in family],
    "tokens": [c.max_tokens for c in family],
    "parameters (M)": [f"{c.params_total / 1e6:.0f}" if c.params_total else "unknown" for c in family],
    "languages": [c.languages_mteb or "unknown" for c in family],
    "Matryoshka": [{True: "yes", False: "no"}.get(c.matryoshka, "unknown") for c in family],
    "MTEB(eng, v2)": [c.eng_v2_computed_mean_task for c in family],
    "MTEB(Multilingual, v2)": [c.multilingual_v2_computed_mean_task for c in family],
}
pd.DataFrame(table, index=names).round(2)

# %% [markdown]
# Two implementations of `nomic-embed-text-v1.5` exist. The pinned revision brings Nomic's own code, which runs on your
# machine if you pass `trust_remote_code=True`: read it once, then allow it. Transformers 5 also has a class of its
# own, `NomicBertModel`, which needs no foreign code; it is documented with a branch of a pull request, which can
# change, and that its vectors equal those of the pinned revision has not been tested here. So this course takes the
# first:

# %%
print(models.code(NOMIC))

# %% [markdown]
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
# deviation; the division cancels when the vector is normalised. What is left of it is the mean: the nearer a vector's
# numbers come to a mean of nought, the less it changes (a second reading below shows that). For `nomic-embed-text-v1.5`
# do it, on queries and documents: it is how its short vectors are meant to be made. The safest place is the model's own
# pipeline: one more module, so that nobody who loads the model can forget it.

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
# The last line is a trap. The slice of a unit vector is shorter than one. `normalize_embeddings=True` comes
# after the slice and mends it; a `Normalize` module inside the pipeline comes before and doesn't.
#
# ## How short?
#
# Plain slicing of MiniLM stands for a model that was not trained for it. *PCA* (principal component analysis) finds new
# axes for the vectors, the one along which they spread most first; turning vectors onto them changes no cosine, and
# then the first numbers say most. The axes were found on texts that are in none of the test sets.
#
# The score is *nDCG@10*: from 0 to 1, high if the right documents stand at the top of a query's first ten; a change is
# taken query by query and has a *bootstrap interval* in brackets (lesson 02). What is lost may hang on the texts and on
# how many there are, so it is tried three times: the course's passages; the same queries with the passages of long
# documents as further rivals; and scipy's docstrings.


# %%
def passages(text: str, size: int = 150, overlap: int = 30) -> list[str]:
    """A text cut into passages of `size` words, each sharing `overlap` words with the one before."""
    words = text.split()
    return [" ".join(words[i : i + size]) for i in range(0, max(1, len(words) - overlap), size - overlap)]


search, long, strings = data.retrieval(), data.long_documents(), data.docstrings("dev", limit=250)
cut = [passages(text) for text in long.corpus.values()]
flat = [part for parts in cut for part in parts]
rivals = {f"rival {i}": part for i, part in enumerate(flat)}
more = data.Retrieval(search.corpus | rivals, search.queries, search.qrels)
sets = {f"{len(search.corpus)} passages": search, f"{len(more.corpus)} passages": more, "docstrings": strings}
passage_vectors, documents = minilm.encode_document(flat), minilm.encode_document(list(search.corpus.values()))
queries = minilm.encode_query(list(search.queries.values()))
both = minilm.encode_query(list(strings.queries.values())), minilm.encode_document(list(strings.corpus.values()))
vectors = dict(zip(sets, [(queries, documents), (queries, np.vstack([documents, passage_vectors])), both], strict=True))

# %% [markdown]
# **Decide, then run:** down to how many of 384 dimensions does the rotated model lose nothing that can be seen, and
# will it be the same number in all three?

# %%
rotated = bundled.pca(dims=384)
turns = {"plain slice": np.eye(384, dtype=np.float32)}
turns["rotated by PCA"] = rotated[-2].linear.weight.detach().cpu().numpy().T
sizes = [384, 256, 192, 128, 96, 64, 48, 32]


def unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v, axis=1, keepdims=True)


curve = {
    (turn, dims, where): benchmark.ndcg(search, *(unit((v @ axes)[:, :dims]) for v in vectors[where]))
    for turn, axes in turns.items()
    for dims in sizes
    for where, search in sets.items()
}


def change(turn: str, dims: int, where: str, keep: float = 1.0) -> metrics.Estimate:
    """nDCG@10 of short vectors less (a share of) that of the full ones."""
    return metrics.estimate(metrics.mean, curve[turn, dims, where] - keep * curve[turn, 384, where])


# %%
figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
looks = dict(zip(sets, [("#0072b2", "o", 0.96), ("#d55e00", "s", 1.0), ("#009e73", "^", 1.04)], strict=True))
for axes, turn in zip(panels, turns, strict=True):
    for where, (colour, marker, shift) in looks.items():
        points = [change(turn, dims, where) for dims in sizes]
        errors = np.array([[p.value - p.low, p.high - p.value] for p in points]).T
        x = [dims * shift for dims in sizes]  # side by side, so that the intervals can be told apart
        axes.errorbar(x, [p.value for p in points], errors, color=colour, marker=marker, capsize=3, label=where)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes[::2], [str(dims) for dims in sizes[::2]])
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set(xlabel="dimensions kept (log scale)", title=turn)
panels[0].set_ylabel("change of nDCG@10 from 384, 95% interval")
panels[0].legend()
plt.show()

# %% [markdown]
# The order of the numbers matters: where the first ones say most, fewer may do. How much is lost differs from one set
# of texts and rivals to the next (these differences weren't tested): so a verdict on a few hundred documents is not
# one on a million.
#
# To choose a size you need a rule that you set before you look. Here: the smallest that surely keeps 95 percent of
# the full score, where "surely" means that the lower end of the interval does. The exercise has you write it.

# %%
keep = 0.95
smallest = {
    turn: {
        where: min(dims for dims in sizes if dims == 384 or change(turn, dims, where, keep).low >= 0) for where in sets
    }
    for turn in turns
}
pd.DataFrame(smallest).T.rename_axis(f"dimensions that surely keep {keep:.0%}")

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
stored, axes = {}, turns["rotated by PCA"]
for where, (q, d) in vectors.items():
    ways = {
        "int8, 384 bytes": (q, int8(d)),
        "bits, query fp32, 48 bytes": (q, signs(d)),
        "bits on both sides, 48 bytes": (signs(q), signs(d)),
        "rotated, bits on both sides, 48 bytes": (signs(q @ axes), signs(d @ axes)),
    }
    for way, both in ways.items():
        each = benchmark.ndcg(sets[where], *(unit(v).astype(np.float32) for v in both))
        lost = each - curve["plain slice", 384, where]
        stored.setdefault(way, {})[where] = metrics.estimate(metrics.mean, lost)
pd.DataFrame(stored).T.rename_axis("change of nDCG@10 from fp32, 1536 bytes")

# %% [markdown]
# Rotation is made for slicing, not for bits: it moves the information into the first numbers, while Hamming distance
# counts every bit alike. (A *random* rotation after it spreads the information again; ITQ does so.) In production, bits
# serve as a first pass over everything, and the best hundred or so are scored again with better vectors.
#
# ## The right passage, deep in a long document
#
# Long documents in confusable series, such as annual reports of one museum, and queries whose answer stands at the
# beginning, in the middle or at the end. MiniLM reads 256 tokens. Ways out: truncate, which happens silently;
# cut into overlapping passages and score a document by its best; add both scores; or read it whole, as a static model
# does (fixed token vectors, averaged), or as the mean of a document's passage vectors.

# %%
whole, questions = list(long.corpus.values()), list(long.queries.values())
owner = np.repeat(np.arange(len(cut)), [len(parts) for parts in cut])
tokenized = (minilm.tokenizer(texts, truncation=False, verbose=False)["input_ids"] for texts in (whole, flat))
in_documents, in_passages = (np.array([len(ids) for ids in rows]) for rows in tokenized)
assert in_passages.max() <= minilm.max_seq_length
print(
    f"{len(whole)} documents of {in_documents.min()} to {in_documents.max()} tokens, {len(questions)} queries;", end=" "
)
print(f"{len(flat)} passages; {in_passages.sum() / in_documents.sum() - 1:.0%} of the tokens are read twice")
static = load("all-MiniLM-L6-v2-static-256")
asked, truncated = minilm.encode_query(questions), minilm.encode_document(whole)
of_passages = asked @ passage_vectors.T
means = unit(np.stack([passage_vectors[owner == i].mean(axis=0) for i in range(len(whole))]))


# %%
def by_document(scores: np.ndarray, which: np.ndarray) -> np.ndarray:
    """(queries, passages) to (queries, documents): a document scores what the best of these passages scores."""
    return np.stack([scores[:, which & (owner == i)].max(axis=1) for i in range(len(whole))], axis=1)


# %%
every, first = np.ones(len(flat), dtype=bool), np.diff(owner, prepend=-1) > 0
relevant = np.array([[d in long.qrels[q] for d in long.corpus] for q in long.queries])
best = by_document(of_passages, every)
ways = {
    "truncated": asked @ truncated.T,
    "best passage": best,
    "truncated + best passage": asked @ truncated.T + best,
    "mean of passages": asked @ means.T,
    "static, whole": static.similarity(static.encode_query(questions), static.encode_document(whole)).numpy(),
    "best passage, rivals' first passages only": np.where(relevant, best, by_document(of_passages, first)),
}
if models.weights(nomic).real:
    ways[f"{v15.name}, whole"] = (
        nomic.similarity(nomic.encode_query(questions), nomic.encode_document(whole)).cpu().numpy()
    )

# %% [markdown]
# **Decide, then run:** where does truncation lose, and where do passages? nDCG@10 by where the answer stands. (The row
# of rivals' first passages is no way to search, since it knows the answers: it shows what a document's many passages
# do as rivals.)

# %%
where = np.array([long.where[query] for query in long.queries])
places = ["beginning", "middle", "end"]
results = {}
for name, scores in ways.items():
    run = {q: dict(zip(long.corpus, row, strict=True)) for q, row in zip(long.queries, scores.tolist(), strict=True)}
    results[name] = metrics.per_query(run, long.qrels)["ndcg@10"]
table = {
    name: {place: metrics.estimate(metrics.mean, each[where == place]) for place in places}
    | {"all": metrics.estimate(metrics.mean, each)}
    for name, each in results.items()
}
pd.DataFrame(table).T

# %%
figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
palette = ["#d55e00", "#0072b2", "#009e73", "#7f7f7f"]
shown = ["truncated", "best passage", "truncated + best passage", "static, whole"]
for i, (name, colour) in enumerate(zip(shown, palette, strict=True)):
    points = [table[name][place] for place in places]
    error = np.array([[p.value - p.low, p.high - p.value] for p in points]).T
    axes.bar(
        np.arange(3) + (i - 1.5) * 0.2, [p.value for p in points], 0.18, yerr=error, color=colour, label=name, capsize=3
    )
axes.set_xticks(range(3), [f"{place}\n({(where == place).sum()} queries)" for place in places])
axes.set_xlabel("where in the document the answer stands")
axes.set_ylabel("nDCG@10, with 95% interval")
axes.set_ylim(0, 1)
axes.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.15))
plt.show()

# %% [markdown]
# Truncation looks harmless as long as you test it with answers that stand early. Where the answer comes later, what
# remains is the subject of the series, and that doesn't tell one report from the next. Passages aren't free of loss
# either: a document is as good as its best passage, so every passage of every look-alike competes, while truncation
# leaves one rival a document. The two scores together have both, for one vector a document more. Size and overlap are
# settings, not laws: change them in `passages` and run again. A model with a long context can read the document whole
# and pool each passage from token vectors that have seen all of it (late chunking).
#
# ## Recap
#
# - **Prefix**: `search_query: `, `search_document: `, `clustering: ` and `classification: ` are `prompts`; a
#   missing one raises no error. Shorten by layer norm, slice, normalise; `truncate_dim=` only slices.
# - **Choose**: the paired difference and its lower end tell how short is short enough, on your own task and with as
#   many documents as you will have; fewer bits a number are the other way to fewer bytes.
# - **Decide**: test with answers at every depth, or truncation goes unseen; passages reach all of a document, at
#   the price of more vectors and more rivals; a long context pays for attention, and needs positions that it was
#   made for.
#
# What was found, each sentence chosen by its result. Several queries share a long document, so there documents were
# drawn, not queries:


# %%
def drawn(one: str, other: str, which: np.ndarray = where != "") -> dict[str, metrics.Estimate]:
    apart = np.where(which, results[one] - results[other], np.nan)
    each = [np.nanmean(apart[relevant[:, i]]) for i in range(len(whole)) if which[relevant[:, i]].any()]
    return {"the long documents": metrics.estimate(metrics.mean, np.array(each))}


short = {turn: {name: change(turn, 128, name) for name in sets} for turn in turns}
late, summed = drawn("best passage", "truncated", where != "beginning"), "truncated + best passage"
uncut, fp32, bits = "MiniLM in full", "MiniLM in fp32", "bits on both sides, 48 bytes"
claims.recap(
    claims.Claim("slice-128", "MiniLM cut to 128 of 384", uncut, "nDCG@10", short["plain slice"]),
    claims.Claim("pca-128", "MiniLM turned by PCA and cut to 128", uncut, "nDCG@10", short["rotated by PCA"]),
    claims.Claim("int8", "MiniLM in int8", fp32, "nDCG@10", stored["int8, 384 bytes"]),
    claims.Claim("bits", "MiniLM in bits on both sides", fp32, "nDCG@10", stored[bits]),
    claims.Claim("late-answers", "Where the answer isn't early, passages", "truncation", "nDCG@10", late),
    claims.Claim("sum", "Both together", "passages alone", "nDCG@10", drawn(summed, "best passage")),
)

# %% [markdown]
# Test yourself: Why does the division in layer norm not matter, and why does the mean? Which interval do you
# look at when two settings ran on the same queries? What makes a document's best passage fail where the truncated
# document succeeded?
#
# Now the exercise: [recipe, size, passages, tasks](../exercises/06_nomic/06_nomic.ipynb)
#
# ## For a second reading
#
# **When layer norm matters.** `truncate_dim=` of Sentence Transformers slices and does nothing else. Recipe and slice
# agree where a vector's numbers have a mean of nought. Four kinds of vectors:

# %%
plain = torch.from_numpy(minilm.encode(sample))
four = {
    "MiniLM": plain,
    "MiniLM rotated by PCA": torch.from_numpy(rotated.encode(sample)),
    f"{v15.name} ({models.weights(nomic).kind})": full.cpu(),
    "MiniLM, 0.05 added to every number": plain + 0.05,
}

# %%
sliced = {name: functional.normalize(e[:, :128], dim=1) for name, e in four.items()}
agreement = {
    "mean / standard deviation, largest": [(e.mean(1) / e.std(1)).abs().max().item() for e in four.values()],
    "recipe and slice, lowest cosine": [(sliced[n] * matryoshka(e, 128)).sum(1).min().item() for n, e in four.items()],
}
pd.DataFrame(agreement, index=list(four)).round(4)

# %% [markdown]
# **What 8192 tokens cost.** A long context removes the limit, not the price. In attention every token looks at every
# other, so that part grows with the square of the length. We measure one layer of `nomic-embed-text-v1.5`'s twin (its
# architecture with random weights), on one core. **Decide, then run:** twice the tokens, how many times the seconds?

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
# **Positions beyond 2048.** BERT looks positions up in a table, and beyond its end there is nothing to look up.
# Nomic's models turn vectors by an angle that grows with the position (RoPE, rotary position embeddings), and an angle
# exists for every position, also for those never seen in training.

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
# **A mixture of experts.** `nomic-embed-text-v2-moe` is the multilingual model of the family. In every second layer it
# has eight feed-forward blocks (experts) instead of one, and a router that sends each token through two of them. Ten
# lines show the idea: first all experts computed and most results thrown away, then only the chosen ones.

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
# all must be at hand. So such a model has two sizes; and when you compare "active parameters", ask whether the table of
# token vectors, which costs no arithmetic, is counted.
#
# **Degrees of openness.** Weights under a free licence let you run a model. Training code and training data let you
# find out what it has seen, or train it again. The links are those in mteb's metadata or on the publisher's page;
# where none is listed, that is no proof that there is none. (The link for v2's data leads to a section of the
# `contrastors` README that offers the data of v1, for an account with Nomic.) `cc-by-nc` forbids commercial use,
# `gemma` brings terms of its own, Apache and MIT ask for little.

# %%
for c in family:
    links = (cell if cell and cell.startswith("http") else "none listed" for cell in (c.training_code, c.training_data))
    print(f"{c.hub_id}: licence {c.license}", *links, sep="\n  ")

# %% [markdown]
# Sources: Nussbaum and others 2024, *Nomic Embed* ([arXiv](https://arxiv.org/abs/2402.01613)); Kusupati and others
# 2022, *Matryoshka Representation Learning* ([arXiv](https://arxiv.org/abs/2205.13147)); Su and others 2021,
# *RoFormer* ([arXiv](https://arxiv.org/abs/2104.09864)); Günther and others 2024, *Late Chunking*
# ([arXiv](https://arxiv.org/abs/2409.04701)); the [NomicBERT
# page](https://huggingface.co/docs/transformers/model_doc/nomic_bert) of transformers; Nomic's
# [contrastors](https://github.com/nomic-ai/contrastors); the catalogue `helpers/facts/models.csv` with a source for
# each figure.
