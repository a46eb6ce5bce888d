# %% [markdown]
# # 03 · BGE-M3
#
# After this lesson you can
# - **compute** the dense, the lexical and the ColBERT score by hand, and get what the library gets,
# - **fuse** the three with weights that you chose on some queries and judged on others,
# - **budget** tokens and bytes: what is cut off, what is stored, what half precision changes.
#
# {{minutes}} minutes · up to {{memory_mb}} MB of memory · {{download}}
#
# Outside this course you would install the library with `pip install FlagEmbedding`. Minutes and memory above are
# for the bundled model. With the hub in reach the second cell fetches BGE-M3 itself, a large download, and on a CPU
# every cell takes many times as long; `source = "stand-in"` prevents that.

# %% tags=["parameters"]
source: str = "auto"  # where BGE-M3's weights come from: auto, hub or stand-in

# %%
import inspect
from importlib.metadata import version

import numpy as np
import pandas as pd
from FlagEmbedding import BGEM3FlagModel
from matplotlib import pyplot as plt
from scipy.stats import rankdata
from sklearn.feature_extraction.text import CountVectorizer

from helpers import bundled, catalog, data, models
from helpers.measure import claims, metrics
from helpers.models import bge_m3

facts = catalog.card("BAAI/bge-m3")
model = bge_m3.load(source)
name = bge_m3.label(model)
print(f"device {model.target_devices[0]}, FlagEmbedding {version('FlagEmbedding')}, numbers below describe: {name}")

# %% [markdown]
# Read the last line before you read any number. Without the hub, the model is all-MiniLM-L6-v2, moved without
# loss into the classes that BGE-M3 is made of, with two small *heads* (layers on top of the transformer) fitted on
# the course's unlabelled texts. It is a real model and answers the same calls with the same three outputs; but it
# is small and English, and its scores say nothing about how good BGE-M3 is.
#
# Without the course you would load the real weights with the first part of what the next cell prints.
# `BGEM3FlagModel` takes no revision, so the pinned files are fetched first. The second part loads the same
# repository into Sentence Transformers, which gives its dense vector only. (That library has classes for the other two
# kinds, `SparseEncoder` and `MultiVectorEncoder`, for models that were saved for them; M3's heads aren't.)

# %%
print(bge_m3.code())
print("\n# ------ dense vectors only ------\n")
print(models.code(facts.hub_id))

# %% [markdown]
# A trap lies in that folder: if `sparse_linear.pt` or `colbert_linear.pt` is missing, FlagEmbedding draws both
# heads at random and raises no error. A copy that another library saved may lack them.
#
# ## One pass, three outputs
#
# The name stands for three times multi: many languages, many lengths, many functions. This is the third. One
# pass through the transformer gives a hidden state a token, and three heads read the same hidden states:
#
# - **dense**: one vector a text, as in lesson 01,
# - **lexical** (sparse): one weight for each different token of the text, a bag of words whose weights are learned,
# - **ColBERT** (multi-vector): one vector for each token.
#
# BGE-M3 needs no prompt, so `encode_queries`, `encode_corpus` and `encode` give the same vectors, as long as
# `query_max_length` equals `passage_max_length`. By default only the dense vector is returned.
#
# **Decide, then run:** how does the number of ColBERT vectors follow from the number of tokens?

# %%
query = "Does my travel insurance pay if the dog falls ill?"
passages = [
    "The travel policy covers a cancelled trip when a pet needs urgent treatment by a vet.",
    "Dogs travel in the guard's van and need a ticket of their own.",
]
texts = [query, *passages]
output = model.encode(texts, return_dense=True, return_sparse=True, return_colbert_vecs=True)
dense, lexical, colbert = output["dense_vecs"], output["lexical_weights"], output["colbert_vecs"]
assert np.allclose(model.encode_queries(query)["dense_vecs"], dense[0], atol=1e-5)
ids = model.tokenizer(texts)["input_ids"]
print("dense  ", dense.shape, dense.dtype)
print("tokens ", [len(text) for text in ids], model.tokenizer.convert_ids_to_tokens(ids[0]))
print("lexical", [len(weights) for weights in lexical], "weights a text, kept as a dict")
print("ColBERT", [vectors.shape for vectors in colbert])
assert all(len(vectors) == len(text) - 1 for vectors, text in zip(colbert, ids, strict=True))

# %% [markdown]
# One fewer than tokens: FlagEmbedding drops the first token (`[CLS]` or `<s>`) and keeps the last. The lexical
# weights are fewer still: the special tokens have none, a token that occurs twice counts once, with its larger
# weight, and a weight that isn't above zero is left out.
#
# ## Three scores by hand
#
# **Dense**: the vectors have unit length, so the dot product is the cosine. BGE-M3 takes the hidden state of the
# first token as the text's vector; the stand-in, being MiniLM, takes the mean (`pooling_method="mean"`).

# %%
by_hand = {"dense": float(dense[0] @ dense[1])}
if not models.weights(model).real:
    minilm = bundled.minilm().encode(texts)
    print(f"largest difference from MiniLM's own vectors: {np.abs(dense - minilm).max():.1e}")
    assert np.allclose(dense, minilm, atol=1e-6)
print(f"dense score: {by_hand['dense']:.4f}")

# %% [markdown]
# **Lexical**: for each token that both texts have, the product of its two weights; then the sum. A token that
# only one side has adds nothing. The keys are token ids, written as strings.

# %%
shared = lexical[0].keys() & lexical[1].keys()
products = {token: float(lexical[0][token] * lexical[1][token]) for token in shared}
by_hand["sparse"] = sum(products.values())
assert np.isclose(by_hand["sparse"], model.compute_lexical_matching_score(lexical[0], lexical[1]), rtol=1e-5)
named = {model.tokenizer.decode([int(token)]): product for token, product in products.items()}
print("shared:", {token: round(product, 4) for token, product in sorted(named.items(), key=lambda item: -item[1])})
print(f"lexical score: {by_hand['sparse']:.4f}")

# %% [markdown]
# **ColBERT**, also called late interaction or MaxSim: each query token looks for its most similar token in the
# passage; the score is the mean of these maxima. First as slow loops that say exactly that, then as one matrix
# product.

# %%
best = []
for query_vector in colbert[0]:
    best.append(max(float(query_vector @ passage_vector) for passage_vector in colbert[1]))
by_hand["colbert"] = sum(best) / len(best)
token_similarity = colbert[0] @ colbert[1].T
assert np.isclose(by_hand["colbert"], token_similarity.max(axis=1).mean(), atol=1e-5)
assert np.isclose(by_hand["colbert"], model.colbert_score(colbert[0], colbert[1]).item(), atol=1e-5)
back = token_similarity.max(axis=0).mean()
print(f"ColBERT score: {by_hand['colbert']:.4f}; with query and passage exchanged: {back:.4f}")

# %% [markdown]
# The two differ: the mean runs over the query's tokens, so ColBERT isn't symmetric, and it matters which text is
# called the query.
#
# The library computes all of this for pairs of texts with `compute_score`. Its weights stand in the order dense,
# sparse, ColBERT.

# %%
weights = [0.4, 0.2, 0.4]
scores = model.compute_score([(query, passages[0])], weights_for_different_modes=weights)
for kind, value in by_hand.items():
    assert np.isclose(value, scores[kind][0], atol=1e-4), kind
mixed = sum(weight * value for weight, value in zip(weights, by_hand.values(), strict=True)) / sum(weights)
assert np.isclose(mixed, scores["colbert+sparse+dense"][0], atol=1e-4)
only_colbert = model.compute_score([(query, passages[0])], weights_for_different_modes=[0, 0, 1])
print({kind: round(values[0], 4) for kind, values in scores.items()})
print("with weights 0, 0, 1:", {kind: round(values[0], 4) for kind, values in only_colbert.items()})

# %% [markdown]
# All three equal what was done by hand, and the mix is their weighted mean. Where the weights of dense and sparse
# are both zero, `sparse+dense` divides by zero: check for `nan` before you sort by it.
#
# `compute_score` encodes both texts of each pair again, so it suits a few pairs. For a search, encode once and keep
# the outputs, as below.
#
# ## What ColBERT compares
#
# The matrix of token similarities, with the best partner of each query token framed.

# %%
tokens = [model.tokenizer.convert_ids_to_tokens(text_ids)[1:] for text_ids in ids]
partner = token_similarity.argmax(axis=1)
figure, axes = plt.subplots(figsize=(9, 5.5), layout="constrained")
picture = axes.imshow(token_similarity, cmap="Greys", aspect="auto")
axes.scatter(partner, range(len(partner)), s=170, marker="s", facecolors="none", edgecolors="#d55e00", linewidths=2)
axes.set_xticks(range(len(tokens[1])), tokens[1], rotation=60, ha="right")
axes.set_yticks(range(len(tokens[0])), tokens[0])
axes.set(xlabel="passage tokens", ylabel="query tokens", title=f"{name}; orange: best partner of a query token")
figure.colorbar(picture, label="cosine of two token vectors")
plt.show()
matches = pd.DataFrame({"query token": tokens[0], "best partner": [tokens[1][i] for i in partner], "cosine": best})
first, last = (matches.loc[end] for end in (matches["cosine"].idxmax(), matches["cosine"].idxmin()))
print(f"best matched: '{first['query token']}' by '{first['best partner']}' ({first['cosine']:.3f});", end=" ")
print(f"worst: '{last['query token']}' by '{last['best partner']}' ({last['cosine']:.3f})")
matches.round(3).T

# %% [markdown]
# A token vector knows its context, so a token can be matched by a different one. That is the difference from the
# lexical score, which needs the very same token. The last token of the query counts as well, although it stands
# for no word.
#
# ## Which tokens carry lexical weight
#
# **Decide, then run:** which tokens of the first passage weigh most, and which nothing?

# %%
readable = model.convert_id_to_token(lexical[1])
order = sorted(readable.items(), key=lambda item: -item[1])
print(f"{name}:", " ".join(f"{token}:{weight:.2f}" for token, weight in order))
kept = set(model.tokenizer.convert_ids_to_tokens([int(token) for token in lexical[1]]))
print("tokens without any weight:", sorted(set(model.tokenizer.tokenize(passages[0])) - kept) or "none")

# %% [markdown]
# The head is one linear layer on each hidden state, and what is negative becomes zero (a ReLU). The stand-in's was
# fitted by ridge regression, which keeps coefficients small, to the token's inverse document frequency: a token
# that few texts have weighs much. BGE-M3's was trained on whether the passage answers the query, which is more than
# rarity.
#
# A lexical score of zero doesn't mean "not relevant"; it means "no common token". One pair proves nothing about how
# often that matters. For that, sets of queries: the course's, which were written to avoid the passages' words, and
# scipy's docstrings, where a summary line asks for the rest of its docstring and uses its words.
#
# ## Three rankings
#
# Encode every passage and every query once, with all three outputs, and score every query with every passage.

# %%
sets = {"the course's texts": data.retrieval(), "scipy's docstrings": data.docstrings("dev", limit=100)}
three = {"return_dense": True, "return_sparse": True, "return_colbert_vecs": True, "batch_size": 8}
encoded = {
    where: [model.encode(list(texts.values()), **three) for texts in (search.queries, search.corpus)]
    for where, search in sets.items()
}


def scored(queries: dict, documents: dict) -> dict[str, np.ndarray]:
    """The scores of each kind, (queries, passages)."""
    maxima = [[(q @ d.T).max(axis=1).mean() for d in documents["colbert_vecs"]] for q in queries["colbert_vecs"]]
    sparse = model.compute_lexical_matching_score(queries["lexical_weights"], documents["lexical_weights"])
    return {"dense": queries["dense_vecs"] @ documents["dense_vecs"].T, "lexical": sparse, "ColBERT": np.array(maxima)}


raws = {where: scored(*both) for where, both in encoded.items()}

# %% [markdown]
# Is the learned lexical score better than what every search engine has? That is *BM25*: for each word that query and
# document share, its rarity in the corpus times how often the document has it, less and less for each repetition, and
# less in a long document. Ten lines.


# %%
def bm25(search: data.Retrieval, k1: float = 1.2, b: float = 0.75) -> np.ndarray:
    """BM25 of every query with every document (Robertson and Zaragoza 2009)."""
    words = CountVectorizer(token_pattern=r"\w+").fit(search.corpus.values())
    counts = words.transform(search.corpus.values()).toarray()
    found = (counts > 0).sum(axis=0)
    rarity = np.log(1 + (len(counts) - found + 0.5) / (found + 0.5))
    long = counts.sum(axis=1, keepdims=True) / counts.sum(axis=1).mean()
    weights = rarity * counts * (k1 + 1) / (counts + k1 * (1 - b + b * long))
    return words.transform(search.queries.values()).toarray() @ weights.T


def ndcg(scores: np.ndarray, where: str) -> np.ndarray:
    """(queries,) nDCG@10 of each query, by trec_eval."""
    search = sets[where]
    ranked = (dict(zip(search.corpus, row, strict=True)) for row in scores)
    return metrics.per_query(dict(zip(search.queries, ranked, strict=True)), search.qrels)["ndcg@10"]


# %% [markdown]
# A ranking is judged by nDCG@10: it is 1 where the relevant passages lead the first ten, and falls the lower they
# stand. Behind each mean over queries stands its interval, from drawing the queries again and again (the bootstrap).

# %%
ranked = {where: {kind: ndcg(m, where) for kind, m in raw.items()} for where, raw in raws.items()}
for where, search in sets.items():
    ranked[where]["BM25"] = ndcg(bm25(search), where)
alone, raw = ranked["the course's texts"], raws["the course's texts"]
table = {w: {kind: metrics.estimate(metrics.mean, v) for kind, v in each.items()} for w, each in ranked.items()}
spread = {kind: f"{m.min():.2f} to {m.max():.2f}" for kind, m in raw.items()}
pd.DataFrame(table | {"scores run from": spread}).fillna("").rename_axis(f"nDCG@10 of {name}")

# %% [markdown]
# The last column says that the three live on different scales: dense and ColBERT are cosines, the lexical
# score is a sum without an upper end.
#
# ## Fusion
#
# Several rankings are joined either by their scores or by their ranks. Scores must be brought to one scale first.
# *RRF* (reciprocal rank fusion), which vector databases offer, needs no scale: each ranking gives a document one over
# its rank plus sixty. It also gives each ranking an equal say, whether it deserves it or not.
#
# **Decide, then run:** `compute_score` without weights adds the three as they are. Better than dense alone, or worse?


# %%
def rrf(*scores: np.ndarray, k: int = 60) -> np.ndarray:
    """Reciprocal rank fusion of scores (Cormack, Clarke and Büttcher 2009); ranks begin at 1."""
    return sum(1 / (k + rankdata(-each, axis=1, method="ordinal")) for each in scores)


def fused(raw: dict[str, np.ndarray], search: data.Retrieval) -> dict[str, np.ndarray]:
    dense, lexical, colbert = raw.values()
    return {
        "no weights: 1, 1, 1": dense + lexical + colbert,
        "weights 0.4, 0.2, 0.4": 0.4 * dense + 0.2 * lexical + 0.4 * colbert,
        "weights 1, 0.3, 1": dense + 0.3 * lexical + colbert,
        "each over its standard deviation": sum(each / each.std() for each in raw.values()),
        "RRF of the three": rrf(*raw.values()),
        "RRF of dense and BM25": rrf(dense, bm25(search)),
    }


# %%
ways = {w: {way: ndcg(s, w) for way, s in fused(raws[w], search).items()} for w, search in sets.items()}
to_dense = {
    way: {w: metrics.estimate(metrics.mean, ways[w][way] - ranked[w]["dense"]) for w in sets}
    for way in ways["the course's texts"]
}
pd.DataFrame(to_dense).T.rename_axis("change of nDCG@10 from dense alone, query by query")

# %% [markdown]
# Look at the two columns. Whether fusing helps hangs on the queries: where they avoid the documents' words a lexical
# score can take much away; where they use them, look whether any rule here is told apart from dense alone. A rule from
# somebody else's data (the default, equal weights, RRF) can cost more than it gives. So find out on your own.
#
# ## Choose the weights on one half, judge on the other
#
# Each kind is divided by its standard deviation, every mix in steps of a tenth is tried on half of the queries, and
# the best is kept. Of equally good mixes it is the one with more dense, the cheapest kind. The other half judges it,
# against dense and against the kind that was best alone: a mix that only beats dense may owe it all to ColBERT.


# %%
def tuned(where: str, seed: int) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
    """The mix chosen on one half; its nDCG@10 on the other less dense's there, and less that of the best kind."""
    raw, n = raws[where], len(sets[where].queries)
    tuning, judging = np.split(np.random.default_rng(seed).permutation(n), [n // 2])
    scale = {kind: float(matrix[tuning].std()) for kind, matrix in raw.items()}
    values = {mix: ndcg(sum(w * raw[k] / scale[k] for w, k in zip(mix, raw, strict=True)), where) for mix in grid}
    mix = max(grid, key=lambda m: values[m][tuning].mean())
    best = max(raw, key=lambda kind: ranked[where][kind][tuning].mean())
    gains = (values[mix][judging] - ranked[where][kind][judging] for kind in ("dense", best))
    return dict(zip(raw, mix, strict=True)), *gains


grid = [(a / 10, b / 10, (10 - a - b) / 10) for a in range(10, -1, -1) for b in range(11 - a)]
drawn = {f"{where}, half {seed}": tuned(where, seed) for where in sets for seed in range(5)}
gain = {name: metrics.estimate(metrics.mean, to_dense) for name, (_, to_dense, _) in drawn.items()}
rows = {n: mix | {"to dense": d.mean(), "to the best kind": b.mean()} for n, (mix, d, b) in drawn.items()}
pd.DataFrame(rows).T.round(3)

# %% [markdown]
# Only the half that did not choose counts: the winner of many mixes is partly lucky on the queries that picked it.
# Which kinds get weight, and whether the mix is worth it, differs from half to half and from set to set. BGE-M3's
# three heads were trained together, and its authors report that the three together beat each alone; the stand-in's
# lexical head is a simple one.
#
# ## Vectors and bytes a document
#
# What was encoded is still in memory, so its size is measured, not guessed: a dense vector is dimensions × bytes;
# ColBERT is that times (tokens - 1); a lexical weight needs its value and a token id of four bytes. A number takes
# four bytes in single precision (float32, fp32) and two in half precision (float16, fp16).

# %%
retrieval, documents = sets["the course's texts"], encoded["the course's texts"][1]
lengths = np.array([len(i) for i in model.tokenizer(list(retrieval.corpus.values()))["input_ids"]])
entries = np.mean([len(weights) for weights in documents["lexical_weights"]])
vectors = np.array([len(v) for v in documents["colbert_vecs"]])
assert vectors.tolist() == (np.minimum(lengths, model.passage_max_length) - 1).tolist()
size = pd.DataFrame({"vectors or weights": [1, entries, vectors.mean()]}, index=["dense", "lexical", "ColBERT"])
for dtype in (np.float32, np.float16):
    dense_bytes = documents["dense_vecs"].astype(dtype).nbytes / len(lengths)
    colbert_bytes = np.mean([v.astype(dtype).nbytes for v in documents["colbert_vecs"]])
    size[f"bytes, {dtype.__name__}"] = [dense_bytes, entries * (4 + np.dtype(dtype).itemsize), colbert_bytes]
print(
    f"{name}, {documents['dense_vecs'].shape[1]} dimensions, {lengths.mean():.0f} tokens a passage on average;", end=" "
)
print(f"ColBERT takes {colbert_bytes / dense_bytes:.0f} times the bytes of dense")
size.round(0).astype(int)

# %% [markdown]
# For M3 the factor between ColBERT and dense is the number of tokens less one, since its token vectors are as long as
# its dense one. Most ColBERT models project to 128 dimensions or fewer and store one or two bits each. GB (10⁹ bytes)
# for a million documents, no index counted:

# %%
million = {
    f"{tokens} tokens": {
        "dense, fp16": facts.dims * 2,
        f"{facts.name}'s ColBERT, fp16": (tokens - 1) * facts.dims * 2,
        "a ColBERT of 128 dimensions, 2 bits": (tokens - 1) * 128 / 4,
    }
    for tokens in (128, 512, facts.max_tokens)
}
(pd.DataFrame(million).T * 1_000_000 / 1e9).round(1)

# %% [markdown]
# That is why ColBERT vectors are seldom searched whole: a first stage with the dense vector picks candidates, and
# ColBERT *reranks* them, puts them into a new order, with vectors that are stored, compressed or computed for the
# candidates alone. How many candidates does it take?

# %%
first_stage = np.argsort(-raw["dense"], axis=1)
reranked = {}
for k in (10, 20, 50):
    candidate = np.zeros(raw["dense"].shape, dtype=bool)
    np.put_along_axis(candidate, first_stage[:, :k], True, axis=1)
    reranked[k] = ndcg(np.where(candidate, raw["ColBERT"] + 10, raw["dense"]), "the course's texts")  # by ColBERT first
changes = {k: metrics.estimate(metrics.mean, values - alone["ColBERT"]) for k, values in reranked.items()}
print(f"of {len(retrieval.corpus)} passages, reranked:", {k: f"{v.mean():.3f}" for k, v in reranked.items()})
pd.Series(changes, name="nDCG@10 less that of ColBERT over all").rename_axis("candidates").to_frame()

# %% [markdown]
# This set is small, so these candidates are a large share of it. Among a million passages it takes more: measure it
# on your own.
#
# Before you build on three outputs, look where they can be served and stored:
#
# | where | dense | lexical | ColBERT |
# |---|---|---|---|
# | FlagEmbedding, in your process | yes | yes | yes |
# | TEI (lesson 11) | yes | no, [asked for](https://github.com/huggingface/text-embeddings-inference/issues/141) | no |
# | Qdrant, Milvus, Vespa as the store | yes | as sparse vectors, by token id | Qdrant and Vespa: multi-vectors |
# | an inverted index (Elasticsearch, Lucene) | yes | as term weights | no |
#
# ## 8192 tokens, if you ask for them
#
# The catalogue gives BGE-M3 a context of 8192 tokens. FlagEmbedding doesn't use it unless told.

# %%
signature = inspect.signature(BGEM3FlagModel.__init__).parameters
default, positions = signature["passage_max_length"].default, bge_m3.max_tokens(model)
print(f"{facts.name}: {facts.max_tokens} tokens; FlagEmbedding's default passage_max_length: {default}")
print(f"loaded here: {name}, with positions for {positions} tokens")
for limit in (default, facts.max_tokens):
    if limit > positions and model.target_devices[0] != "cpu":
        print(f"a longer text with max_length={limit}: not tried on {model.target_devices[0]}")
        continue
    try:
        read = len(model.encode("cat " * 600, max_length=limit, return_colbert_vecs=True)["colbert_vecs"]) + 1
        print(f"a longer text with max_length={limit}: {read} tokens were read")
    except IndexError as error:
        print(f"a longer text with max_length={limit}: IndexError, {error}")

# %% [markdown]
# The default cuts a long text without a word. (The `IndexError` is the stand-in's, which has fewer positions than M3;
# the real model has room for all of its context.)
#
# ## Recap
#
# - **Compute**: dense is a dot product, lexical a sum over shared tokens, ColBERT a mean of maxima over the query's
#   tokens; the vectors are one fewer than the tokens.
# - **Fuse**: bring scores to one scale first; choose weights on some queries, judge on others, against the best
#   single kind too. The default of `compute_score` is a choice as well.
# - **Budget**: ColBERT costs as many dense vectors as there are tokens; `max_length` is 512 until you say otherwise;
#   `use_fp16` rounds the weights on a CPU too, for nothing.
#
# What was found of the model named above, each sentence chosen by its result:

# %%
to_bm25 = {w: metrics.estimate(metrics.mean, ranked[w]["lexical"] - ranked[w]["BM25"]) for w in sets}
to_colbert = {w: metrics.estimate(metrics.mean, ranked[w]["ColBERT"] - ranked[w]["dense"]) for w in sets}
claims.recap(
    claims.Claim("lexical", "The learned lexical score", "BM25", "nDCG@10", to_bm25),
    claims.Claim("colbert", "ColBERT", "dense", "nDCG@10", to_colbert),
    claims.Claim("default", "The sum without weights", "dense alone", "nDCG@10", to_dense["no weights: 1, 1, 1"]),
    claims.Claim("rrf", "RRF of dense and BM25", "dense alone", "nDCG@10", to_dense["RRF of dense and BM25"]),
    claims.Claim("tuned", "A mix tuned on one half", "dense alone on the other", "nDCG@10", gain, unit="halves"),
)

# %% [markdown]
# Test yourself: Why does a lexical score of zero not mean "irrelevant"? Why is the gain on the tuning queries no
# estimate of the gain on new ones? Your documents double in length: which of the three indexes doubles with them?
#
# Now the exercise: [three scores, fused and paid for](../exercises/03_bge_m3/03_bge_m3.ipynb)
#
# ## For a second reading
#
# **How many queries to tune on?** One split is a matter of luck. The next cells draw many, and ask how the luck depends
# on the number of queries.

# %%
random = np.random.default_rng(1)
parts = [m / m.std() for m in raw.values()]
mixes = [ndcg(sum(w * m for w, m in zip(mix, parts, strict=True)), "the course's texts") for mix in grid]
gains, curve = np.array(mixes) - alone["dense"], []
for size in (3, 5, 10, 20, 50):
    seen, unseen = [], []
    for _ in range(400):
        order = random.permutation(len(retrieval.queries))
        few, rest = order[:size], order[50:]
        winner = int(gains[:, few].mean(axis=1).argmax())
        seen.append(gains[winner, few].mean())
        unseen.append(gains[winner, rest].mean())
    curve.append([size, np.mean(seen), np.mean(unseen), np.std(unseen)])
overfit = pd.DataFrame(curve, columns=["queries to tune on", "gain seen", "gain on others", "spread on others"])
overfit.round(3).set_index("queries to tune on").T

# %%
where, others, spread = overfit["queries to tune on"], overfit["gain on others"], overfit["spread on others"]
figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
axes.plot(where, overfit["gain seen"], "o--", color="#d55e00", label="on the queries it was chosen on")
axes.plot(where, others, "s-", color="#0072b2", label="on other queries")
band = "one standard deviation over draws"
axes.fill_between(where, others - spread, others + spread, color="#0072b2", alpha=0.15, label=band)
axes.axhline(0, color="gray", linewidth=1)
axes.set_xscale("log")
axes.set_xticks(where, where)
axes.minorticks_off()
axes.set_xlabel("queries to tune on (log scale)")
axes.set_ylabel("gain in nDCG@10 over dense")
axes.set_title(name)
axes.legend()
plt.show()

# %% [markdown]
# The distance between the two lines is the luck. The band shows how much draws of the same queries differ; new queries
# differ more.
#
# **What a cut does to each kind.** A sentence that answers a question is put deep into a long text. To compare moves
# of scores on different scales, each is divided by the standard deviation that its kind has on the retrieval set.
# **Decide, then run:** which of the three scores moves most once the sentence is read?

# %%
answer, ask = "The spare key to the cellar hangs behind the blue door.", "Where is the spare key?"
words = " ".join(sorted(data.texts(), key=len)[-3:]).split()
long_text = " ".join([*words[:250], answer, *words[250:]])
begins = len(model.tokenizer(" ".join(words[:250])).input_ids)
table = []
for limit in (n for n in (64, 128, 256, 512, 1024) if n <= positions):
    pair = model.compute_score([(ask, long_text)], max_passage_length=limit)
    table.append([limit, begins < limit, pair["dense"][0], pair["sparse"][0], pair["colbert"][0]])
cut = pd.DataFrame(table, columns=["max_length", "answer read", *raw]).set_index("max_length")
before, after = cut[~cut["answer read"]].iloc[-1], cut[cut["answer read"]].iloc[0]
moves = {kind: (after[kind] - before[kind]) / matrix.std() for kind, matrix in raw.items()}
print(f"{name}: the answer begins at token {begins} of {len(model.tokenizer(long_text).input_ids)};", end=" ")
print("once read, in standard deviations:", ", ".join(f"{kind} {move:+.1f}" for kind, move in moves.items()))
cut.round(3)

# %% [markdown]
# The dense vector has to say the whole text in one point, and one sentence is a small part of it. ColBERT and the
# lexical weights keep each token apart, so a sentence can be found in a long text, at the price of the bytes above.
#
# A larger `max_length` has its own price: a batch is padded to its longest text, so its memory grows with batch size
# × length. FlagEmbedding's default of 256 texts a batch suits short ones; at sixteen times the length, take a
# sixteenth. It tries the longest batch first, and takes a quarter off the batch size until it fits on the GPU. On a
# CPU that is no guard: the system ends a process that takes too much. And as that first batch is computed twice, a
# single batch of everything costs double.
#
# **What `use_fp16` does.** In half precision (fp16, or bf16 with `use_bf16`) the model computes with two bytes a
# number instead of four. It is easy to believe that `use_fp16=True` speeds up GPUs and is ignored on a CPU. The source
# says otherwise.

# %%
print(f"default of BGEM3FlagModel: use_fp16={signature['use_fp16'].default}")
lines = inspect.getsource(BGEM3FlagModel.encode_single_device).splitlines()
at = next(i for i, line in enumerate(lines) if 'device == "cpu"' in line)
print("\n".join(line.strip() for line in lines[at : at + 2]))
sample = list(retrieval.queries.values())[:20]
compared = []
for device in sorted({"cpu", model.target_devices[0]}):
    for option in ("use_fp16", "use_bf16"):
        rounded = bge_m3.load(source, device=device, **{option: True})
        vectors = rounded.encode(sample, batch_size=8)["dense_vecs"]
        moved = np.abs(vectors.astype(np.float32) @ documents["dense_vecs"].T - raw["dense"][:20]).max()
        compared.append([device, option, str(rounded.model.model.dtype)[6:], f"{moved:.1e}"])
        del rounded
pd.DataFrame(compared, columns=["device", "option", "computes in", f"largest change of a dense score, {name}"])

# %% [markdown]
# On a CPU the weights are first rounded to half precision and then turned back into fp32: you pay with a little
# accuracy, and get neither speed nor memory for it. So pass `use_fp16=False` on a CPU. On a GPU the model stays in
# half precision, at half the memory for its weights. Whether such a change matters is a question of how close your
# scores lie.
#
# **Languages.** The course's parallel sentences come in threes that share a subject and differ in a detail. Each
# translation looks for its English original among all of them. The sentences of a group resemble each other, so the
# interval resamples groups, not sentences. **Decide, then run:** where will the model loaded here still find its way?

# %%
parallel = data.parallel()
english = model.encode(list(parallel["en"]), batch_size=8)["dense_vecs"]
table, lost, chance = [], [], 1 / len(english)
for language, sentences in parallel.items():
    found = model.encode(list(sentences), batch_size=8)["dense_vecs"] @ english.T
    hits = (found.argmax(axis=1) == np.arange(len(english))).astype(float)
    accuracy = metrics.estimate(metrics.mean, hits.reshape(-1, 3).mean(axis=1))  # one value a group of three
    lost += [language] if accuracy.low <= chance else []
    language_ids = model.tokenizer(list(sentences))["input_ids"]
    unknown = np.mean([token == model.tokenizer.unk_token_id for text in language_ids for token in text])
    table.append([language, str(accuracy), round(np.mean([len(text) for text in language_ids])), f"{unknown:.0%}"])
print(f"{name}, chance {chance:.3f}; not shown to be above chance: {', '.join(lost) or 'none'}")
if not models.weights(model).real:
    print(f"An English model is at its limits here. Languages of {facts.name}: {facts.languages_note}.")
pd.DataFrame(table, columns=["language", "accuracy at rank 1", "tokens a sentence", "unknown tokens"])

# %% [markdown]
# English finds itself, as a check. For the others the tokens say part of why. A vocabulary made for English cuts other
# languages into small pieces, or into unknown tokens that are all alike; what is left to go by are names, numbers and
# words that both languages share. BGE-M3's vocabulary is XLM-RoBERTa's, made for a hundred languages; that is what its
# many embedding parameters are for. Set `source = "hub"` in the first code cell and run all cells to measure it: they
# then carry BGE-M3's name.
#
# Sources: Chen et al. 2024, *M3-Embedding* ([arXiv](https://arxiv.org/abs/2402.03216)); Khattab and Zaharia 2020,
# *ColBERT* ([arXiv](https://arxiv.org/abs/2004.12832)); [FlagEmbedding](https://github.com/FlagOpen/FlagEmbedding),
# read as installed; the catalogue `helpers/facts/models.csv` with a source for each figure.
