# %% [markdown]
# # 16 · Search: the floor, the fusion, the reranker
#
# After this lesson you can
# - **hold** any embedding model against the floor that costs nothing, BM25,
# - **fuse** several rankings, and find out on your own data whether that helps and with which weight,
# - **place** the rest of a search: sparse vectors, one vector a token, a reranker, and where to cut long documents.
#
# {{minutes}} minutes · up to {{memory_mb}} MB of memory · {{download}}
#
# An embedding model is one part of a search engine. Most courses teach the other parts as rules: add BM25, fuse with
# equal weights, rerank the best hundred. On two sets of texts these rules come out in opposite ways, so this lesson
# teaches how to find out.

# %%
import re
import time
from itertools import chain

import bm25s
import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from scipy.stats import rankdata
from sentence_transformers import CrossEncoder, MultiVectorEncoder, SparseEncoder
from sentence_transformers.base.modules import Normalize
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding
from transformers import BertConfig, BertForSequenceClassification

from helpers import bundled, catalog, data, load, models, weights
from helpers.measure import claims, metrics

torch.set_num_threads(1)
mini = load("all-MiniLM-L6-v2", device="cpu")
mini.max_seq_length = 128  # of a text; enough for these, and quicker
print(f"device {mini.device}; weights {weights(mini).kind}; bm25s {bm25s.__version__}")

# %% [markdown]
# ## Two sets of texts
#
# The course's queries say what they want in other words than the passages do, on purpose. In scipy's docstrings the
# summary line asks for the rest of its docstring, and both name the same functions. Searches of both kinds exist.

# %%
searches = {"the course's texts": data.retrieval(), "scipy's docstrings": data.docstrings("dev", limit=200)}
asked = {where: mini.encode_query(list(s.queries.values())) for where, s in searches.items()}
stored = {where: mini.encode_document(list(s.corpus.values())) for where, s in searches.items()}
dense = {where: asked[where] @ stored[where].T for where in searches}
for where, s in searches.items():
    query = next(iter(s.queries))
    right = next(d for d, grade in s.qrels[query].items() if grade > 0)
    print(f"{where}: {len(s.queries)} queries, {len(s.corpus)} documents, such as")
    print(f"  query     {s.queries[query][:100]}\n  document  {s.corpus[right][:100]} ...")

# %% [markdown]
# ## The floor: BM25
#
# **BM25** counts words. A word of the query is worth more the rarer it is among the documents (*IDF*, inverse document
# frequency); more occurrences in a document add less and less (`k1`); and a long document has to have more of them
# (`b`). No model, no training, and for thirty years the one to beat. Ten lines:


# %%
def bm25(queries: list[list[str]], documents: list[list[str]], k1: float = 1.2, b: float = 0.75) -> np.ndarray:
    """(queries, documents) scores of lists of words, in Lucene's variant."""
    length = np.array([len(words) for words in documents])
    scores = np.zeros((len(queries), len(documents)))
    for word in {word for query in queries for word in query}:
        tf = np.array([words.count(word) for words in documents])  # term frequency
        idf = np.log(1 + (len(documents) - (tf > 0).sum() + 0.5) / ((tf > 0).sum() + 0.5))
        gain = idf * tf / (tf + k1 * (1 - b + b * length / length.mean()))
        scores += np.outer([query.count(word) for query in queries], gain)
    return scores


# %% [markdown]
# `bm25s` does the same on sparse matrices. First that both agree, then the floor against MiniLM. **Decide, then run:**
# on which of the two sets does BM25 come closer?

# %%
words, lexical = {}, {}
for where, s in searches.items():
    sides = (list(s.queries.values()), list(s.corpus.values()))
    words[where] = [bm25s.tokenize(side, stopwords="en", return_ids=False, show_progress=False) for side in sides]
    lexical[where] = bm25(*words[where])
    index = bm25s.BM25(k1=1.2, b=0.75, method="lucene")
    index.index(words[where][1], show_progress=False)
    library = np.stack([index.get_scores(query) for query in words[where][0]])
    assert np.allclose(library, lexical[where], atol=1e-4)


# %%
def ndcg(scores: np.ndarray, where: str) -> np.ndarray:
    """nDCG@10 of each query; a document of score 0 isn't found."""
    s = searches[where]
    run = {q: {d: v for d, v in zip(s.corpus, row, strict=True) if v} for q, row in zip(s.queries, scores, strict=True)}
    return metrics.per_query(run, s.qrels)["ndcg@10"]


def change(scores: np.ndarray, other: np.ndarray, where: str) -> metrics.Estimate:
    """The difference in nDCG@10, query by query, with its interval."""
    return metrics.estimate(metrics.mean, ndcg(scores, where) - ndcg(other, where))


floor = {where: change(lexical[where], dense[where], where) for where in searches}
rows = {w: [f"{ndcg(m[w], w).mean():.3f}" for m in (dense, lexical)] + [str(floor[w])] for w in searches}
pd.DataFrame(rows, index=["MiniLM, nDCG@10", "BM25", "difference"]).T

# %% [markdown]
# A mean hides that the two fail on different queries. For each set, the query on which BM25 does most for you, and the
# one on which it does least:

# %%
rows = []
for where, s in searches.items():
    both = ndcg(dense[where], where), ndcg(lexical[where], where)
    for i in (np.argmax(both[1] - both[0]), np.argmin(both[1] - both[0])):
        rows.append([where, list(s.queries.values())[i][:70], both[0][i], both[1][i]])
pd.DataFrame(rows, columns=["texts", "query", "MiniLM", "BM25"]).round(2).style.hide(axis="index").format(precision=2)

# %% [markdown]
# Names, codes and rare words are BM25's; other words for the same thing are the model's. So why not both?
#
# ## Fusion
#
# Scores of two kinds can't be added as they are: a cosine lies below one, a BM25 score has no upper end. Two ways out.
# **Reciprocal rank fusion** (RRF) forgets the scores and adds up `1 / (60 + rank)`. **Score fusion** brings each
# query's scores to the same scale first, here to the range from zero to one, and then mixes them.


# %%
def rrf(*scores: np.ndarray, weights: tuple[float, ...] = (1, 1), k: int = 60) -> np.ndarray:
    """Reciprocal rank fusion of (queries, documents) scores; the best rank is 1."""
    ranks = [rankdata(-matrix, axis=1, method="ordinal") for matrix in scores]
    return sum(weight / (k + rank) for weight, rank in zip(weights, ranks, strict=True))


def scaled(scores: np.ndarray) -> np.ndarray:
    """Each query's scores, from 0 for its worst document to 1 for its best."""
    low, high = scores.min(axis=1, keepdims=True), scores.max(axis=1, keepdims=True)
    return (scores - low) / np.maximum(high - low, 1e-9)


def mix(where: str, share: float) -> np.ndarray:
    """Score fusion, with this share of BM25."""
    return (1 - share) * scaled(dense[where]) + share * scaled(lexical[where])


# %% [markdown]
# **Decide, then run:** equal weights are the default of most engines. Will they help on both sets, on one, on none?

# %%
ways = {
    "RRF, equal weights": lambda w: rrf(dense[w], lexical[w]),
    "RRF, BM25 weighs a fifth": lambda w: rrf(dense[w], lexical[w], weights=(1, 0.2)),
    "scores added as they are": lambda w: dense[w] + lexical[w],
    "scaled scores, half and half": lambda w: mix(w, 0.5),
    "scaled scores, a fifth of BM25": lambda w: mix(w, 0.2),
}
fused = {way: {where: change(make(where), dense[where], where) for where in searches} for way, make in ways.items()}
pd.DataFrame(fused).T.rename_axis("change of nDCG@10 from MiniLM alone")

# %%
shares = np.linspace(0, 1, 21)
figure, axes = plt.subplots(figsize=(8, 3.8), layout="constrained")
for where, colour in zip(searches, ("#0072b2", "#d55e00"), strict=True):
    curve = [ndcg(mix(where, share), where).mean() for share in shares]
    axes.plot(shares, curve, color=colour, marker="o", markersize=3, label=f"{where}, scaled scores")
    equal = ndcg(rrf(dense[where], lexical[where]), where).mean()
    axes.axhline(equal, color=colour, linestyle=":", label=f"{where}, RRF with equal weights")
axes.set(xlabel="share of BM25 (0: MiniLM alone, 1: BM25 alone)", ylabel="nDCG@10")
axes.legend(fontsize=8)
plt.show()

# %% [markdown]
# The same rule, opposite outcomes; and the curve has its top at another share. A share read off such a curve is
# flattered, though: it was chosen on the queries that judge it. So choose it on one half of the queries and judge it
# on the other, several times:


# %%
def held_out(where: str, seed: int) -> tuple[float, np.ndarray, np.ndarray]:
    """The share chosen on one half; its nDCG@10 on the other, less MiniLM's there and less that of the better leg."""
    tuning, judging = np.array_split(np.random.default_rng(seed).permutation(len(dense[where])), 2)
    curve = {share: ndcg(mix(where, share), where) for share in shares}
    best = max(shares, key=lambda share: curve[share][tuning].mean())
    leg = max((0.0, 1.0), key=lambda share: curve[share][tuning].mean())
    return best, (curve[best] - curve[0.0])[judging], (curve[best] - curve[leg])[judging]


drawn = {f"{where}, half {seed}": held_out(where, seed) for where in searches for seed in range(5)}
tuned = {name: metrics.estimate(metrics.mean, gain) for name, (_, gain, _) in drawn.items()}
rows = {name: [f"{share:.2f}", tuned[name], leg.mean()] for name, (share, _, leg) in drawn.items()}
pd.DataFrame(rows, index=["share", "to MiniLM", "to the better leg"]).T

# %% [markdown]
# Fifty queries a half are few, so the share jumps and a gain on the course's texts can't be told from none. This is the
# lesson's rule: **a fusion is a model with one parameter**. It is fitted on queries of yours, judged on others of
# yours, and taken if it isn't worse there. The benchmark takes one as an entrant, by RRF: `make run
# MODELS="bm25,all-MiniLM-L6-v2,bm25+all-MiniLM-L6-v2,bm25:0.2+all-MiniLM-L6-v2"`.
#
# ## Sparse vectors
#
# A *sparse* vector has a place for each word of a vocabulary, and nearly all are zero: what an inverted index stores.
# BM25 is one. *Learned sparse* models (SPLADE, and lesson 03's lexical weights of BGE-M3) let a network say how much
# each word counts, and add words that the text doesn't hold. Sentence Transformers' class for them is `SparseEncoder`.
# Their weights are on the hub; this one's are the IDFs of the texts, counted here, so it is real, and no more than IDF:

# %%
where, tokenizer = "scipy's docstrings", mini.tokenizer
ids = [
    set(row) for row in tokenizer(list(searches[where].corpus.values()), truncation=True, max_length=512)["input_ids"]
]
found = np.bincount(list(chain(*ids)), minlength=len(tokenizer))
idf = torch.tensor(np.log(1 + (len(ids) - found + 0.5) / (found + 0.5)), dtype=torch.float32)
idf[tokenizer.all_special_ids] = 0
sparse = SparseEncoder(modules=[SparseStaticEmbedding(tokenizer, weight=idf, frozen=True)], device="cpu")
one = sparse.encode_query(next(iter(searches[where].queries.values())))
s, queries, documents = searches[where], list(searches[where].queries.values()), list(searches[where].corpus.values())
scores = sparse.similarity(sparse.encode_query(queries), sparse.encode_document(documents)).numpy()
print(f"{len(one)} places, {int((one.to_dense() != 0).sum())} not zero; the heaviest: {sparse.decode(one, top_k=4)}")
print(f"nDCG@10 {ndcg(scores, where).mean():.3f}; BM25, which counts too, {ndcg(lexical[where], where).mean():.3f}")

# %% [markdown]
# ## One vector a token
#
# A dense model squeezes a text into one vector. **Late interaction** (ColBERT) keeps one a token: each token of the
# query looks for its most similar token of the document, and these maxima are added up, *MaxSim*. The library's class
# is `MultiVectorEncoder`. Any encoder can be run so; MiniLM's own token vectors will do, though it was never trained
# for it.

# %%
late = MultiVectorEncoder(modules=[mini[0], Normalize("token_embeddings"), MultiVectorMask()], device="cpu")
tokens, maxsim = {}, {}
for where, s in searches.items():
    tokens[where] = late.encode_query(list(s.queries.values())), late.encode_document(list(s.corpus.values()))
    maxsim[where] = late.similarity(*tokens[where]).numpy()
queries, documents = (side[:5] for side in tokens[where])
by_hand = [[(query @ document.T).max(dim=1).values.sum().item() for document in documents] for query in queries]
assert np.allclose(by_hand, maxsim[where][:5, :5], atol=1e-5)
many = {where: change(maxsim[where], dense[where], where) for where in searches}
size = np.mean([len(document) for document in tokens[where][1]])
print(f"bytes a document in float32: {4 * 384:,} with one vector, {4 * 384 * size:,.0f} with one a token")
pd.DataFrame({"change of nDCG@10 from one vector": many})

# %% [markdown]
# The price is the index. So engines take a first stage over one vector a document and *rescore* its best few with all.
# How many are enough?


# %%
def rescored(first: np.ndarray, second: np.ndarray, depth: int) -> np.ndarray:
    """The best `depth` documents of the first scores in the order of the second, before all others."""
    best = np.argsort(-first, axis=1)[:, :depth]
    scores = scaled(first)
    np.put_along_axis(scores, best, 2 + scaled(np.take_along_axis(second, best, axis=1)), axis=1)
    return scores


depths = [5, 10, 20, 50]
rows = {f"best {n}": {w: change(rescored(dense[w], maxsim[w], n), maxsim[w], w) for w in searches} for n in depths}
pd.DataFrame(rows).T.rename_axis("change of nDCG@10 from MaxSim over everything")

# %% [markdown]
# ## A reranker
#
# A **cross-encoder** reads query and document together and gives one number. Nothing can be computed beforehand, so it
# sees only the best of a first stage, and its price is time: one forward pass a document. What it costs first, on one
# of MiniLM's shape with random weights (a *twin*: its speed is real, its numbers mean nothing):

# %%
folder = bundled.cache_folder() / "reranker-twin"
if not (folder / "config.json").exists():
    with bundled.quiet():
        config = mini[0].model.config.to_dict() | {"num_labels": 1}
        BertForSequenceClassification(BertConfig(**config)).save_pretrained(folder)
        mini.tokenizer.save_pretrained(folder)
with bundled.quiet():
    reranker = CrossEncoder(str(folder), max_length=256, device="cpu")
s, took = searches["the course's texts"], []
for query in list(s.queries.values())[:16]:
    begin = time.process_time()
    reranker.predict([(query, text) for text in list(s.corpus.values())[:10]], show_progress_bar=False)
    took.append(time.process_time() - begin)
each_ms = 100 * np.median(took)
print(f"{each_ms:.0f} ms of one core a document; {50 * each_ms:,.0f} ms a query for the best fifty")

# %% [markdown]
# What it wins has to be measured on real weights. They are on the hub only; where it answers, the next cell reranks
# with Ettin, seventeen million parameters, made by the people behind Sentence Transformers. To train one here was tried
# as well: `python -m benchmarks.training reranker` does it on docstring pairs, and the file that it leaves says what
# came out.

# %%
name, revision = "cross-encoder/ettin-reranker-17m-v1", "9e4aa35321a6dd1a43ca313f500c4b4f7cfb5cc6"
deep: dict[int, dict[str, metrics.Estimate]] = {}
if models.hub_reachable():
    ettin = CrossEncoder(name, revision=revision, max_length=256, device="cpu")
    for where, s in searches.items():
        best, texts = np.argsort(-dense[where], axis=1)[:, :50], list(s.corpus.values())
        pairs = [(query, texts[i]) for query, row in zip(s.queries.values(), best, strict=True) for i in row]
        scores = np.full(dense[where].shape, -np.inf)
        np.put_along_axis(scores, best, ettin.predict(pairs, show_progress_bar=False).reshape(best.shape), axis=1)
        for n in (10, 20, 50):
            deep.setdefault(n, {})[where] = change(rescored(dense[where], scores, n), dense[where], where)
print("Ettin was not measured: the hub doesn't answer here" if not deep else pd.DataFrame(deep).T)
facts = pd.read_csv(catalog.FACTS / "training.csv").query("recipe == 'reranker'")
columns = ["texts", "before", "change", "low", "high", "cpu_s", "machine", "date"]
facts[columns].round(3).style.hide(axis="index").format(precision=3)

# %% [markdown]
# A reranker that was trained on little can be worse than the ranking it is given. So it is treated like a fusion: the
# change query by query, at several depths, against the milliseconds that each depth costs.
#
# ## Where to cut
#
# Long documents are cut into *chunks*, and somebody reads the best of them: a person, or a language model. So judge a
# way of cutting by what is handed on: how much of the sentence with the answer (the *evidence*) does it hold, **at an
# equal number of words handed on**? A score on whole documents can't tell, and more words handed on always hold more.
# Four ways: a window of 80 words that shares 20 with the next; sentences, never across a paragraph; the same with the
# document's title before each; and *late chunking* (lesson 06), where a chunk's vector is the mean of its tokens after
# the model has read what stands around.

# %%
long = data.long_documents()
SIZE = 80  # words


def windows(text: str, overlap: int = 20) -> list[str]:
    """Pieces of SIZE words."""
    words = text.split()
    return [" ".join(words[i : i + SIZE]) for i in range(0, len(words) - overlap, SIZE - overlap)]


def sentences(text: str) -> list[str]:
    """Whole sentences up to SIZE words, none across a paragraph."""
    pieces = []
    for paragraph in text.split("\n\n"):
        pieces.append("")
        for sentence in re.split(r"(?<=[.?!]) ", paragraph):
            fits = len((pieces[-1] + sentence).split()) <= SIZE
            pieces[-1:] = [f"{pieces[-1]} {sentence}".strip()] if fits else [pieces[-1], sentence]
    return [" ".join(piece.split()) for piece in pieces if piece]


# %%
def together(pieces: list[str]) -> np.ndarray:
    """(chunks, d): the mean of each chunk's token vectors, up to 510 tokens read together."""
    ids, rows, window = mini.tokenizer(pieces, add_special_tokens=False, verbose=False)["input_ids"], [], []
    for i, own in enumerate(ids):
        window.append(own)
        if i + 1 == len(ids) or sum(map(len, [*window, ids[i + 1]])) > 510:
            row = torch.tensor([[mini.tokenizer.cls_token_id, *chain(*window), mini.tokenizer.sep_token_id]])
            with torch.inference_mode():
                states = mini[0].model(input_ids=row, attention_mask=torch.ones_like(row)).last_hidden_state[0, 1:-1]
            rows += [part.mean(dim=0) for part in states.split([len(each) for each in window])]
            window = []
    return torch.nn.functional.normalize(torch.stack(rows)).numpy()


# %% [markdown]
# **Decide, then run:** which of the four finds most evidence? And is it worth the word to add a document's own score to
# that of its chunks?

# %%
texts, questions = list(long.corpus.values()), mini.encode_query(list(long.queries.values()))
cut = {"windows": [windows(text) for text in texts], "sentences": [sentences(text) for text in texts]}
titles = [" ".join(text.split()[:8]) for text in texts]
cut["title and sentences"] = [[f"{t}. {c}" for c in parts] for t, parts in zip(titles, cut["sentences"], strict=True)]
vectors = {way: mini.encode_document([c for parts in every for c in parts]) for way, every in cut.items()}
cut["late chunking"] = cut["sentences"]
vectors["late chunking"] = np.vstack([together(parts) for parts in cut["sentences"]])
scores = {way: questions @ v.T for way, v in vectors.items()}
owner = {way: np.repeat(np.arange(len(texts)), [len(parts) for parts in every]) for way, every in cut.items()}
whole = questions @ mini.encode_document(texts).T  # of each document's beginning
for way in ("sentences", "late chunking"):
    cut[f"{way}, document added"] = cut[way]
    scores[f"{way}, document added"] = scores[way] + whole[:, owner[way]]


# %%
def runs(text: str) -> set[tuple[str, ...]]:
    return set(zip(text.split(), text.split()[1:], text.split()[2:], strict=False))


def evidence(way: str, budget: int) -> np.ndarray:
    """(queries,) the share of the answer's runs of words that stand in the best chunks that fit the budget of words."""
    pieces, found = [c for parts in cut[way] for c in parts], []
    sizes = np.array([len(piece.split()) for piece in pieces])
    for row, answer in zip(scores[way], long.answers.values(), strict=True):
        order = np.argsort(-row)
        fits = order[np.cumsum(sizes[order]) <= budget]
        found.append(len(runs(answer) & {run for i in fits for run in runs(pieces[i])}) / len(runs(answer)))
    return np.array(found)


budgets = [160, 320, 640]
recalled = {way: {n: evidence(way, n) for n in budgets} for way in cut}
table = {w: {f"{n} words": metrics.estimate(metrics.mean, e) for n, e in by.items()} for w, by in recalled.items()}
pd.DataFrame(table).T.rename_axis("share of the evidence that is handed on, mean over the queries")

# %% [markdown]
# The answers were written into these documents by people, seventy-two of them, and the intervals are wide: where the
# recap says "can't be told apart", it means too few queries, not that cutting doesn't matter.
#
# ## Recap
#
# - **Hold**: compute BM25 first. Whatever doesn't beat it on your queries isn't worth a vector.
# - **Fuse**: by ranks or by scaled scores; the weight is fitted on some queries and judged on others.
# - **Place**: a reranker and one vector a token go behind a first stage; chunks are judged by evidence at equal words.
#
# Each sentence is chosen by its result:

# %%
long_told = {
    way: {f"{n} words": metrics.estimate(metrics.mean, recalled[way][n] - recalled["windows"][n]) for n in budgets}
    for way in ("title and sentences", "late chunking, document added")
}
handed, window = "evidence handed on", "a window of words"
claims.recap(
    claims.Claim("floor", "BM25", "MiniLM", "nDCG@10", floor),
    claims.Claim("equal-rrf", "RRF with equal weights", "MiniLM alone", "nDCG@10", fused["RRF, equal weights"]),
    claims.Claim("raw-sum", "A sum of raw scores", "MiniLM alone", "nDCG@10", fused["scores added as they are"]),
    claims.Claim("tuned-share", "A share fitted on other queries", "MiniLM alone", "nDCG@10", tuned, unit="halves"),
    claims.Claim("maxsim", "MaxSim over MiniLM's tokens", "one vector", "nDCG@10", many),
    claims.Claim("titles", "A chunk of sentences behind its title", window, handed, long_told["title and sentences"]),
    claims.Claim("late", "Late chunking, document added,", window, handed, long_told["late chunking, document added"]),
)

# %% [markdown]
# Test yourself: Why can't a BM25 score and a cosine be added? You fitted the share on all your queries: what does the
# nDCG on them say? A reranker sees the best ten of a first stage that has the right document at rank twelve: what can
# it do?
#
# Now the exercise: [a floor, a fusion, a share](../exercises/16_search/16_search.ipynb). Next, in
# [lesson 17](17_index.ipynb), the search without looking at every vector.
#
# Sources: Robertson and Zaragoza 2009, *The Probabilistic Relevance Framework: BM25 and Beyond*
# ([doi](https://doi.org/10.1561/1500000019)); Kamphuis et al. 2020, *Which BM25 Do You Mean?*
# ([doi](https://doi.org/10.1007/978-3-030-45442-5_4)); Lù 2024, *BM25S* ([arXiv](https://arxiv.org/abs/2407.03618));
# Cormack, Clarke and Büttcher 2009, *Reciprocal Rank Fusion* ([doi](https://doi.org/10.1145/1571941.1572114)); Bruch,
# Gai and Ingber 2023, *An Analysis of Fusion Functions for Hybrid Retrieval*
# ([arXiv](https://arxiv.org/abs/2210.11934)); Khattab and Zaharia 2020, *ColBERT*
# ([arXiv](https://arxiv.org/abs/2004.12832)); Formal et al. 2021, *SPLADE* ([arXiv](https://arxiv.org/abs/2107.05720));
# Günther et al. 2024, *Late Chunking* ([arXiv](https://arxiv.org/abs/2409.04701)); Sentence Transformers'
# documentation of [sparse](https://sbert.net/docs/sparse_encoder/usage/usage.html) and
# [cross-encoders](https://sbert.net/docs/cross_encoder/usage/usage.html).
