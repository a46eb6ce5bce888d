# %% [markdown]
# # 02 · BGE
#
# After this lesson you can
# - **pool** as a model was trained, and read from a loaded model which pooling it uses,
# - **place** the query instruction on the right side, and get the same vectors from two libraries,
# - **decide** by order or by a threshold of your own, never by a borrowed one, and choose a size.
#
# {{minutes}} minutes · up to {{memory_mb}} MB of memory · {{download}}
#
# BGE is the embedding family of the Beijing Academy of Artificial Intelligence (BAAI). Its English models are
# plain BERT encoders, the smallest at home on a CPU. What goes wrong with them goes wrong with other families
# too: the wrong pooling, a misplaced instruction, somebody else's threshold. Outside this course you would
# install both libraries with `pip install sentence-transformers FlagEmbedding`.

# %% tags=["parameters"]
source: str = "auto"  # where the family's weights come from: auto, hub or stand-in

# %%
import numpy as np
import pandas as pd
import torch
from FlagEmbedding import FlagModel
from matplotlib import pyplot as plt
from sentence_transformers import SentenceTransformer, util
from sentence_transformers.sentence_transformer.evaluation import BinaryClassificationEvaluator
from sentence_transformers.sentence_transformer.modules import Pooling
from sklearn.model_selection import train_test_split
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from helpers import benchmark, bundled, catalog, data, load, models
from helpers.measure import claims, environment, metrics
from helpers.models import twins

minilm, versions = load("all-MiniLM-L6-v2"), environment.versions()
libraries = (f"{name} {versions[name]}" for name in ("sentence-transformers", "FlagEmbedding"))
print(f"device {minilm.device}", *libraries, sep=", ")

# %% [markdown]
# ## The family
#
# Which BGE for what:
#
# | model | for |
# |---|---|
# | `bge-small-en-v1.5`, `bge-base-en-v1.5`, `bge-large-en-v1.5` | English search; this lesson |
# | `bge-small-zh-v1.5` and its larger sizes | Chinese search, with a Chinese instruction of their own |
# | `bge-m3` | many languages, long texts, exact words beside meaning; lesson 03 |
# | `bge-multilingual-gemma2`, `bge-en-icl` | decoders of billions of parameters; the second takes examples |
# | `bge-reranker-v2-m3`, `bge-reranker-large` | cross-encoders: no vectors, one score for a query and a document |
#
# Four of them from the course's catalogue. `tokens` is where a text is cut. The scores are means over the tasks of a
# benchmark of MTEB, as its public results give them; benchmarks have different tasks, so a number from one column
# must not be held against one from another, and without a complete run there is no mean.

# %%
names = ["bge-small-en-v1.5", "bge-base-en-v1.5", "bge-large-en-v1.5", "bge-m3"]


def known(score: float | None) -> str:
    return "unknown" if score is None else f"{score:.2f}"


family = [catalog.card(name) for name in names]
small, base, large, m3 = family
table = {
    "dimensions": [c.dims for c in family],
    "tokens": [c.max_tokens for c in family],
    "parameters (M)": [f"{c.params_total / 1e6:.0f}" for c in family],
    "pooling": [c.pooling for c in family],
    "query instruction": ["yes" if c.prompts["query"] else "none" for c in family],
    "MTEB(eng, v2)": [known(c.eng_v2_computed_mean_task) for c in family],
    "MTEB(Multilingual, v2)": [known(c.multilingual_v2_computed_mean_task) for c in family],
}
pd.DataFrame(table, index=names)

# %% [markdown]
# This is how to load one without the course. The revision pins the weights; the prompts are part of the call,
# because an older folder may not bring its own (`print(model.prompts)` tells). With the course, `load` does the same
# where the hub can be reached. Elsewhere it gives a stand-in: MiniLM behind BGE's prompts and shapes. A stand-in shows
# how the calls work and says nothing of BGE's quality, so every quality in this lesson is measured on MiniLM and its
# derivatives, which are real, and on BGE only if its real weights were loaded.

# %%
print(models.code("BAAI/bge-small-en-v1.5"), end="\n\n")
bge = load("BAAI/bge-small-en-v1.5", source=source)
queries = ["how long can I return shoes", "is the ring road closed on Sunday"]
documents = ["Shoes may be sent back within thirty days.", "The ring road is closed every first Sunday."]
query_vectors, document_vectors = bge.encode_query(queries), bge.encode_document(documents)
print(f"queries {query_vectors.shape}, lengths {np.linalg.norm(query_vectors, axis=1).round(3)}")
print(f"similarity {tuple(bge.similarity(query_vectors, document_vectors).shape)}")
print(f"quality is measured on this model: {'yes' if models.weights(bge).real else 'no, it is a stand-in'}")

# %% [markdown]
# ## CLS pooling
#
# BERT puts a token `[CLS]` before every text. BGE was trained with the vector of that first token as the vector
# of the text; MiniLM was trained with the mean of all tokens. In code the difference is one line, here by hand on
# MiniLM's encoder, then with the library's `Pooling`.

# %%
features = util.batch_to_device(minilm.preprocess(documents), minilm.device)
with torch.inference_mode():
    tokens = minilm[0](features)
    by_hand = tokens["token_embeddings"][:, 0]
    library = Pooling(384, pooling_mode="cls")(dict(tokens))["sentence_embedding"]
assert torch.allclose(by_hand, library)
print(f"token embeddings {tuple(tokens['token_embeddings'].shape)} -> one vector a text {tuple(by_hand.shape)}")

# %% [markdown]
# Nothing in the result tells which pooling made it: the shape is the same. The model tells. A loaded model is a
# list of modules, and one of them is its `Pooling`. The third model below is a twin: BGE's architecture, built
# from the catalogue, with random weights.


# %%
def pooling_of(model: SentenceTransformer) -> str:
    return next(module.pooling_mode for module in model if isinstance(module, Pooling))


for model in (minilm, bge, load("BAAI/bge-small-en-v1.5", source="twin")):
    print(f"{pooling_of(model):4} is the pooling of: {models.weights(model)}")
print(f"{small.pooling:4} is what the catalogue says of {small.name}")
if pooling_of(bge) != small.pooling:
    print("the second differs from the catalogue: it is MiniLM behind BGE's shape, and pools as MiniLM does")

# %% [markdown]
# What does the wrong pooling cost? We need texts to search: the course's passages, and, since one set of texts is one
# set, the docstrings of scipy, where a summary line asks for the rest of its docstring. The score is nDCG@10, from
# nought to one, high if the right documents stand at the top of the ten best.
#
# **Decide, then run:** MiniLM was trained with the mean. How far does its nDCG@10 fall if you pool it like BGE, or
# take the maximum? `Pooling` accepts several modes and puts their vectors side by side, so one pass is enough.

# %%
searches = {"the course's texts": data.retrieval(), "scipy's docstrings": data.docstrings("dev", limit=150)}
three = SentenceTransformer(modules=[minilm[0], Pooling(384, ("cls", "max", "mean"))], device=str(minilm.device))
parts = {"cls": slice(0, 384), "max": slice(384, 768), "mean": slice(768, 1152)}


def both(encode, search: data.Retrieval) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of the queries and of the documents."""
    return encode(list(search.queries.values())), encode(list(search.corpus.values()))


def ndcg(queries: np.ndarray, documents: np.ndarray, search: data.Retrieval) -> np.ndarray:
    """nDCG@10 of each query, documents ranked by cosine."""
    return benchmark.ndcg(search, *(v / np.linalg.norm(v, axis=1, keepdims=True) for v in (queries, documents)))


# %%
vectors = {name: both(three.encode, search) for name, search in searches.items()}
pooled = {
    mode: {name: ndcg(*(v[:, part] for v in vectors[name]), search) for name, search in searches.items()}
    for mode, part in parts.items()
}
of_queries, of_documents = vectors["the course's texts"]
search = searches["the course's texts"]
asked, corpus = list(search.queries.values()), list(search.corpus.values())
same_as_encode = util.pairwise_cos_sim(of_queries[:8, parts["mean"]], minilm.encode(asked[:8]))
assert same_as_encode.min() > 1 - 1e-5, "the last third is what MiniLM's own pooling gives"

# %% [markdown]
# A mean over queries hangs on which queries were asked. So each comes with its *bootstrap interval*: draw as many
# queries from ours, with repetition, again and again, and note between which two values nearly all the means lie.
# Two ways are compared query by query: the mean of the differences, with an interval of its own. Only
# if that interval leaves out nought are the two told apart. `Claim` is the course's small piece for that: it takes the
# differences, wherever they were tried, and chooses the sentence.


# %%
def difference(ways: dict[str, dict[str, np.ndarray]], way: str, reference: str) -> dict[str, metrics.Estimate]:
    """Of two ways, on each set of texts: the mean difference of nDCG@10, query by query, with its interval."""
    return {name: metrics.estimate(metrics.mean, ways[way][name] - ways[reference][name]) for name in searches}


def table(ways: dict[str, dict[str, np.ndarray]]) -> pd.DataFrame:
    return pd.DataFrame(
        {w: {n: metrics.estimate(metrics.mean, v) for n, v in each.items()} for w, each in ways.items()}
    ).T


by_cls = claims.Claim(
    "cls", "MiniLM pooled by its first token", "MiniLM pooled by the mean", "nDCG@10", difference(pooled, "cls", "mean")
)
by_max = claims.Claim(
    "max", "MiniLM pooled by the maximum", "MiniLM pooled by the mean", "nDCG@10", difference(pooled, "max", "mean")
)
print(by_cls, by_max, sep="\n")
table(pooled)

# %% [markdown]
# The same weights, the same texts, no warning. For BGE it is the mean that is wrong, and its authors warn of a
# large loss. So never copy a pooling from one model's example to another model: load the whole folder and let
# its modules decide.
#
# ## The query instruction
#
# The English `v1.5` models have a sentence that goes before a query, and nothing before a document. You need not
# glue it yourself: it is one of the model's `prompts`, and `encode_query` applies it. **Decide, then run:**
# which of the three calls below give the vectors of `encode_query`?

# %%
instruction = small.prompts["query"]
calls = {
    "encode, prompt_name": bge.encode(queries, prompt_name="query"),
    "glued by hand": bge.encode([instruction + query for query in queries]),
    "plain encode": bge.encode(queries),
}
print(bge.prompts)
for name, made in calls.items():
    print(f"{name:20} lowest cosine with encode_query {util.pairwise_cos_sim(made, query_vectors).min():.4f}")
assert np.allclose(calls["encode, prompt_name"], query_vectors, atol=1e-5)
assert np.allclose(calls["glued by hand"], query_vectors, atol=1e-5)
taken = len(bge.tokenizer(instruction)["input_ids"]) - 2  # [CLS] and [SEP] are there anyway
print(f"{taken} tokens of {small.max_tokens} go to the instruction in every query; documents keep all of theirs")

# %% [markdown]
# The first two do. The last one forgot the instruction, and nothing warned. (How far it is off says nothing
# of BGE where a stand-in computed it.)
#
# ### The wrong side
#
# What if it lands on the documents, or on both sides? On BGE that is a question for real weights. MiniLM is real
# but never saw this instruction, so it can show something else: what a *foreign* instruction does to a model
# that was trained without one. **Decide, then run:** query only, documents only, or both: which is worst?

# %%
led = {name: both(lambda texts: minilm.encode(texts, prompt=instruction), s) for name, s in searches.items()}
plain = {name: tuple(v[:, parts["mean"]] for v in vectors[name]) for name in searches}
sides = {
    "neither": {n: ndcg(*plain[n], s) for n, s in searches.items()},
    "query only": {n: ndcg(led[n][0], plain[n][1], s) for n, s in searches.items()},
    "documents only": {n: ndcg(plain[n][0], led[n][1], s) for n, s in searches.items()},
    "both sides": {n: ndcg(*led[n], s) for n, s in searches.items()},
}
foreign = [
    claims.Claim(f"foreign-{side.split()[0]}", f"MiniLM with BGE's instruction ({side})", "MiniLM without it", by, gain)
    for side, by in dict.fromkeys(list(sides)[1:], "nDCG@10").items()
    for gain in [difference(sides, side, "neither")]
]
print(*foreign, sep="\n")
table(sides)

# %% [markdown]
# "Can't be told apart" means that these queries can't say whether it helped or harmed; they do not show that it makes
# no difference. The last figure of such a sentence says how many times as many queries would notice a true difference
# of that size four times in five. A prompt also moves every cosine, since the same words stand before every text:
# remember that when we come to thresholds.
#
# Now the family itself, if it is here. Its authors say that `v1.5` loses little without the instruction,
# recommend it for short queries against long passages, and advise to decide on your own data. This cell does so:

# %%
if models.weights(bge).real:
    asked = {n: bge.encode_query(list(s.queries.values())) for n, s in searches.items()}
    bare = {n: both(bge.encode, s) for n, s in searches.items()}
    own = {
        "query only": {n: ndcg(asked[n], bare[n][1], s) for n, s in searches.items()},
        "neither": {n: ndcg(*bare[n], s) for n, s in searches.items()},
    }
    with_it = difference(own, "query only", "neither")
    print(claims.Claim("bge-instruction", "BGE with its instruction", "BGE without it", "nDCG@10", with_it))
else:
    print("not measured: these are not BGE's weights")

# %% [markdown]
# ## The same through FlagEmbedding
#
# Which library do you take? **Sentence Transformers** for dense embeddings, of BGE and of everybody else.
# **FlagEmbedding**, BAAI's own, for M3's lexical and token vectors (lesson 03), for their training scripts, and for
# rerankers that only it knows; a reranker with a usual head loads as a `CrossEncoder` of Sentence Transformers.
# The same weights give the same vectors in both, if the call says everything:

# %%
folder = str(bundled.minilm_folder())
options = {"use_fp16": False, "devices": str(minilm.device), "batch_size": 32}
with bundled.quiet():
    flag = FlagModel(folder, pooling_method="mean", query_instruction_for_retrieval=instruction, **options)
differences = {
    "encode_queries": flag.encode_queries(asked[:8]) - minilm.encode(asked[:8], prompt=instruction),
    "encode_corpus": flag.encode_corpus(documents) - minilm.encode_document(documents),
}
for call, off in differences.items():
    assert np.abs(off).max() < 1e-5
    print(f"{call}: largest difference of any coordinate, in fp32, {np.abs(off).max():.1e}")

# %% [markdown]
# Equal up to rounding. Two things FlagEmbedding would not have told us: `FlagModel` does not read which pooling a
# folder asks for, and takes CLS unless told; and a misspelt parameter is accepted in silence. Below, `pooling_mode`
# should be `pooling_method`.

# %%
with bundled.quiet():
    careless = FlagModel(folder, pooling_mode="mean", revision="no such revision", **options)
off = util.pairwise_cos_sim(careless.encode(documents), minilm.encode(documents))
print(f"it pools by {careless.pooling_method}; cosine with the right vectors {off.min():.3f} to {off.max():.3f}")

# %% [markdown]
# ## Similarity has no absolute scale
#
# The first BGE models kept nearly all their cosines between about `0.6` and 1: even unrelated texts lay high. The
# authors name the cause, contrastive training at a very low temperature (lesson 04 shows it), and their cards say
# that `v1.5` has a more reasonable distribution. A high, narrow band looks alarming. So let us squeeze MiniLM's
# cosines into such a band, by putting one constant number more into every vector, and look at two measures on the
# course's pairs. *Gap* is the mean cosine of similar pairs less that of the others. *ROC-AUC* is the chance that
# a similar pair lies above one that isn't. **Decide, then run:** which of the two will suffer?

# %%
pairs = data.pairs()
same = pairs.gold == 1
first, second = three.encode(list(pairs.sentence1)), three.encode(list(pairs.sentence2))
one, two = (util.normalize_embeddings(torch.tensor(side[:, parts["mean"]])).numpy() for side in (first, second))
cosine = util.pairwise_cos_sim(one, two).numpy()
constant = np.full((len(pairs), 1), np.sqrt(2), dtype=np.float32)
squeezed = util.pairwise_cos_sim(np.hstack([one, constant]), np.hstack([two, constant])).numpy()
assert np.allclose(squeezed, (cosine + 2) / 3, atol=1e-5)
for name, values in {"as it is": cosine, "squeezed": squeezed}.items():
    found = metrics.pair_scores(values, pairs.gold, graded=False)
    print(f"{name}: {values.min():.2f} to {values.max():.2f}, gap {found['separation']}, ROC-AUC {found['roc_auc']}")

# %% [markdown]
# The gap shrank and the order stayed, so ROC-AUC is what it was. A narrow band is no flaw for search, which only
# needs the order. It breaks whatever compares a cosine with a number.
#
# ### A borrowed threshold
#
# "Same meaning if the cosine is at least `t`": which `t`? Take the one with the most right answers on half of the
# course's pairs, and judge it on the other half. The next cell finds it by trying every cosine there is, then
# with the library. (Most right answers, or accuracy, will do where about half of the pairs are similar. Where
# they are rare it rewards a `t` that never says yes; use F1 there, as the exercise does.)

# %%
tune, test = train_test_split(np.arange(len(pairs)), test_size=0.5, random_state=0, stratify=pairs.kind)


def calibrate(cosine: np.ndarray, same: np.ndarray) -> float:
    """The threshold with the most right answers: at or above it means the same."""
    candidates = np.unique(cosine)
    right = ((cosine >= candidates[:, None]) == same).mean(axis=1)
    return float(candidates[right.argmax()])


threshold = calibrate(cosine[tune], same[tune])
best, other = BinaryClassificationEvaluator.find_best_acc_and_threshold(cosine[tune], same[tune], True)
right = (cosine >= threshold) == same
assert np.isclose(right[tune].mean(), best)
print(f"threshold {threshold:.3f} by hand, {other:.3f} by the library; right on its own half: {best:.3f}", end=", ")
print(f"on the other: {metrics.estimate(metrics.mean, right[test].astype(float))}")

# %% [markdown]
# The hard negatives of lesson 01 share most words with their pair, and keep every threshold from going far. Now
# the same threshold in other hands, all with real weights: MiniLM's vectors cut to their 32 widest directions
# (PCA), MiniLM pooled by CLS, a static model, one that only counts words (TF-IDF), and BGE if it is here.
# **Decide, then run:** which of them will the threshold suit?

# %%
cosines = {"MiniLM": cosine}
directions = bundled.pca(dims=32)[3].linear.weight.detach().numpy().T
cosines["PCA to 32"] = util.pairwise_cos_sim(one @ directions, two @ directions).numpy()
cosines["MiniLM by CLS"] = util.pairwise_cos_sim(first[:, parts["cls"]], second[:, parts["cls"]]).numpy()
whole = {"static-256": load("all-MiniLM-L6-v2-static-256"), "tfidf-4096": load("tfidf-4096")}
if models.weights(bge).real:
    whole[small.name] = bge
for name, model in whole.items():
    sides_of = model.encode(list(pairs.sentence1)), model.encode(list(pairs.sentence2))
    cosines[name] = util.pairwise_cos_sim(*sides_of).numpy()

# %% [markdown]
# Each model decides twice: by MiniLM's threshold, `borrowed`, and by its `own`, calibrated on the same half. The shares
# of right answers are from the other half. Halves can be drawn in many ways, so it is done for five draws.


# %%
def halves(name: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Right answers on one half, by MiniLM's threshold and by the model's own, both calibrated on the other."""
    tune, test = train_test_split(np.arange(len(pairs)), test_size=0.5, random_state=seed, stratify=pairs.kind)
    values = cosines[name]
    limits = calibrate(cosine[tune], same[tune]), calibrate(values[tune], same[tune])
    return tuple(((values >= limit) == same)[test].astype(float) for limit in limits)


drawn = {name: [halves(name, seed) for seed in range(5)] for name in cosines}
gains = {
    name: {f"draw {i}": metrics.estimate(metrics.mean, own - borrowed) for i, (borrowed, own) in enumerate(each)}
    for name, each in drawn.items()
}
shares = {name: np.mean([[b.mean(), o.mean()] for b, o in each], axis=0) for name, each in drawn.items()}
pd.DataFrame(shares, index=["borrowed", "own"]).T.round(3).rename_axis("share of right answers")

# %% [markdown]
# Kinship is no guarantee: look at what MiniLM's own vectors gain by a threshold of their own once they are cut or
# pooled in another way. And a threshold of its own is no help to a model that orders the pairs badly: for one that
# only counts words, a hard negative has the same words, and a reworded pair hardly any in common. The figure shows the
# bands. A bar holds the middle half of the cosines, its whiskers reach from the 5th to the 95th percentile, the black
# line is the median.

# %%
figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
meanings = {"same meaning": (same, "#56b4e9", -0.17), "another meaning": (~same, "#e69f00", 0.17)}
for label, (chosen, colour, shift) in meanings.items():
    axes.boxplot(
        [values[chosen] for values in cosines.values()], positions=np.arange(len(cosines)) + shift,
        orientation="horizontal", widths=0.3, whis=(5, 95), showfliers=False, manage_ticks=False, label=label,
        patch_artist=True, boxprops={"facecolor": colour}, medianprops={"color": "black", "linewidth": 2},
    )  # fmt: skip
axes.axvline(threshold, color="black", linestyle="--", label="MiniLM's threshold")
axes.set_yticks(range(len(cosines)), list(cosines))
axes.invert_yaxis()
axes.set_xlabel("cosine of a pair")
figure.legend(loc="outside upper center", ncols=3)
plt.show()

# %% [markdown]
# So: for search and reranking use the order alone. Where a yes or no is needed (duplicates, a cache, an alarm), label
# pairs of your own, hard ones among them, calibrate on them and on resamples of them (the end of this lesson shows how
# loose a few hundred pairs leave it), and do it again whenever the model, its prompt or the kind of text changes.
#
# ## Which size?
#
# Speed and memory of the family come from twins: the same architecture with random weights, which computes as
# long as the trained one. They were measured once by `benchmarks/twins.py`. The last column is what a million
# vectors take in an index of fp32 numbers.

# %%
twin = twins.measured().query("device == 'cpu' and dtype == 'float32'").set_index("hub_id")
twin = twin.loc[[c.hub_id for c in family]].set_axis(names)
machine = twin.iloc[0]
print(f"{machine['hardware']}, {machine['threads']} thread, fp32, texts of {machine['tokens']} tokens")
pd.DataFrame(
    {
        "MTEB(eng, v2)": [known(c.eng_v2_computed_mean_task) for c in family],
        "parameters (M)": (twin["parameters"] / 1e6).round().astype(int),
        "peak memory (MB)": twin["peak_mb"].round().astype("Int64"),
        "tokens/s": twin["tokens_per_s"].round().astype(int),
        "1M vectors (GB)": [round(c.dims * 4 * 1e6 / 1e9, 1) for c in family],
    }
)

# %% [markdown]
# Read this as a rule of thumb, then let your own data decide (lesson 14):
#
# - **small** first: the table says what the next size adds in points, and by tokens/s what that costs in time.
# - **base** if on your own queries the interval of its gain over small leaves out nought, and twice the index is no
#   matter.
# - **large** with a GPU, or for a corpus encoded once; but every query waits for it as well.
# - **bge-m3** for other languages, long texts, or exact words beside meaning: lesson 03.
#
# All three English models are of 2023. Lesson 07 holds the current generation against them.
#
# ## Recap
#
# - **Pool**: the `Pooling` module says how; another pooling than that of the training raises no error. FlagEmbedding
#   doesn't read it from the folder, so pass `pooling_method`.
# - **Place**: the instruction goes before queries only, by `prompts` and `encode_query`, or by
#   `query_instruction_for_retrieval` and `encode_queries`.
# - **Decide**: cosines order, they don't measure. Use the order, or a threshold calibrated for this model, prompt and
#   text. Start with small, and pay for more only where your data shows the gain.
#
# What was found, each sentence chosen by its result:

# %%
own = [
    claims.Claim(
        f"own-{name.split('-')[0].split()[0].lower()}",
        f"A threshold of its own for {name}",
        "MiniLM's threshold",
        "the share of right answers",
        gains[name],
        unit="draws",
    )
    for name in ("MiniLM by CLS", "PCA to 32", "static-256")
]
claims.recap(by_cls, by_max, *foreign, *own)

# %% [markdown]
# Test yourself: Two libraries give different vectors for the same weights; which four settings do you compare
# first? A colleague adds the instruction to the documents "to be symmetrical"; what do you tell them? Why can a
# model with all its cosines above `0.6` be the better one for search?
#
# Now the exercise: [pooling, instruction, threshold](../exercises/02_bge/02_bge.ipynb)
#
# ## For a second reading
#
# Where the two libraries differ: one setting at a time, the lowest cosine of their vectors of the same texts (1 means
# the same direction) and the largest difference of any coordinate.

# %%
some, long = asked[:8], " ".join(data.texts()[:10])
with bundled.quiet():
    half = FlagModel(folder, pooling_method="mean", devices=options["devices"], batch_size=32)
one_off = {
    "use_fp16 left on, its default": (half.encode(some), minilm.encode(some)),
    "encode for encode_queries: no instruction": (flag.encode(some), minilm.encode(some, prompt=instruction)),
    "a long text, each library's own limit": (flag.encode([long]), minilm.encode([long])),
    "pooling_method left out": (careless.encode(some), minilm.encode(some)),
}
rows = [(f"{util.pairwise_cos_sim(a, b).min():.4f}", f"{np.abs(a - b).max():.0e}") for a, b in one_off.values()]
pd.DataFrame(rows, index=list(one_off), columns=["lowest cosine", "largest difference"])

# %% [markdown]
# On a CPU, FlagEmbedding computes in fp32 even with `use_fp16`, but with weights that were rounded to 16 bits: no
# faster, only less exact. The limits deserve a closer look, for the same text is cut at four lengths:

# %%
tokenizer = AutoTokenizer.from_pretrained(folder)
cut = {
    "transformers, tokenizer(text)": len(tokenizer(long, verbose=False)["input_ids"]),
    "transformers, truncation=True": len(tokenizer(long, truncation=True)["input_ids"]),
    "FlagEmbedding, default": flag.passage_max_length,
    "Sentence Transformers": minilm.preprocess([long])["input_ids"].shape[1],
    "tokenizers, tokenizer.json alone": len(Tokenizer.from_file(f"{folder}/tokenizer.json").encode(long).ids),
}
pd.Series(cut, name="tokens kept of one text")

# %% [markdown]
# MiniLM's folder asks for 256; only Sentence Transformers reads the file that says so. The first line cuts
# nothing at all, and the encoder then fails on a text with more tokens than it has positions. For BGE set
# `query_max_length` and `passage_max_length` to the model's own limit, which is FlagEmbedding's default anyway.
# Two more defaults of FlagEmbedding to know in production: a batch is 256 texts, and without `devices` it takes
# every GPU it finds, one process each.
#
# A calibrated threshold is itself an estimate. Calibrate again on resamples, to see how much of it is chance:

# %%
draw = np.random.default_rng(0)
resamples = [draw.choice(tune, len(tune)) for _ in range(300)]
low, high = np.quantile([calibrate(cosine[drawn], same[drawn]) for drawn in resamples], [0.025, 0.975])
print(f"{len(tune)} labelled pairs give {threshold:.3f}; calibrated on resamples of them: {low:.3f} to {high:.3f}")

# %% [markdown]
# Sources: Xiao et al. 2023, *C-Pack* ([arXiv](https://arxiv.org/abs/2309.07597)); the authors' [notes on pooling,
# similarity and instruction](https://github.com/FlagOpen/FlagEmbedding/tree/master/research/baai_general_embedding);
# the models' [cards](https://huggingface.co/BAAI/bge-small-en-v1.5); the installed sources of both libraries;
# `helpers/facts/models.csv` with a source for each figure.
