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
# equal weights, cut with an overlap. This lesson tries such rules on texts that differ, and teaches how to find out on
# yours.

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
print(f"device {mini.device}; weights {weights(mini).kind}; bm25s {bm25s.__version__}")

# %% [markdown]
# ## Three kinds of queries
#
# The course's queries say what they want in other words than the passages do, on purpose. Its codes ask for the same
# passages and some more by a code, a name or a part number. In scipy's docstrings the summary line asks for the rest
# of its docstring, and both name the same functions. Searches of all three kinds exist.

# %%
searches = {"the course's texts": data.retrieval(), "the course's codes": data.retrieval("codes")}
searches["scipy's docstrings"] = data.docstrings("dev", limit=200)
passages = list(dict.fromkeys(text for s in searches.values() for text in s.corpus.values()))  # each once
asked = {where: mini.encode_query(list(s.queries.values())) for where, s in searches.items()}
vector = dict(zip(passages, mini.encode_document(passages), strict=True))
dense = {w: asked[w] @ np.stack([vector[text] for text in s.corpus.values()]).T for w, s in searches.items()}
for where, s in searches.items():
    query = next(iter(s.queries))
    right = next(d for d, grade in s.qrels[query].items() if grade > 0)
    tokens = mini.tokenizer(list(s.corpus.values()), verbose=False)["input_ids"]
    cut = np.mean([len(ids) > mini.max_seq_length for ids in tokens])
    print(
        f"{where}: {len(s.queries)} queries, {len(s.corpus)} documents, {cut:.0%} cut to {mini.max_seq_length} tokens"
    )
    print(f"  query     {s.queries[query][:100]}\n  document  {s.corpus[right][:100]} ...")

# %% [markdown]
# ## The floor: BM25
#
# **BM25** counts words. A word of the query is worth more the rarer it is among the documents (*IDF*, inverse document
# frequency); more occurrences in a document add less and less (`k1`); and a long document has to have more of them
# (`b`). No model, no training, for thirty years the one to beat; and it reads what MiniLM cuts off. Ten lines:


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
# on which of the three sets does BM25 come closest, or win?

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
# Where a query has the document's own rare words, a name or a code, BM25 tends to do well; where it has other words for
# the same thing, the model does. A tendency, with exceptions in the table. So why not both?
#
# ## Fusion
#
# Scores of two kinds aren't on one scale: a cosine lies below one, a BM25 score has no upper end, and their sum is
# nearly BM25 alone. Two ways out. **Reciprocal rank fusion** (RRF) forgets the scores and adds up `1 / (60 + rank)`.
# **Score fusion** brings each query's scores to the same scale first, here to the range from zero to one, and then
# mixes them.


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
# **Decide, then run:** equal weights are the default of most engines. On how many of the three sets will they help?

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
curves = {where: np.array([ndcg(mix(where, share), where) for share in shares]) for where in searches}
figure, axes = plt.subplots(figsize=(8, 3.8), layout="constrained")
for where, colour in zip(searches, ("#0072b2", "#009e73", "#d55e00"), strict=True):
    axes.plot(shares, curves[where].mean(axis=1), color=colour, marker="o", markersize=3, label=f"{where}, scaled")
    equal = ndcg(rrf(dense[where], lexical[where]), where).mean()
    axes.axhline(equal, color=colour, linestyle=":", label=f"{where}, RRF with equal weights")
axes.set(xlabel="share of BM25 (0: MiniLM alone, 1: BM25 alone)", ylabel="nDCG@10")
axes.legend(fontsize=8)
plt.show()

# %% [markdown]
# Where has each curve its top? A share that is read off there is flattered: it was chosen on the queries that judge it.
# So choose it on one half of the queries, judge it on the other, and the other way round. Beside MiniLM alone there is
# a second thing to beat, the better *leg*: legs are the rankings that are fused, and the half that chooses the share
# says which of the two is the better one.

# %%
rows, tuned = {}, {}
for where in searches:
    chosen, gain = [], np.empty((5, 2, len(dense[where])))  # over MiniLM alone, over the better leg
    for split in range(5):
        halves = np.array_split(np.random.default_rng(split).permutation(len(dense[where])), 2)
        for tuning, judging in (halves, halves[::-1]):
            curve = curves[where][:, tuning].mean(axis=1)
            best, leg = curve.argmax(), (-1 if curve[-1] > curve[0] else 0)
            gain[split][:, judging] = curves[where][best, judging] - curves[where][[0, leg]][:, judging]
            chosen.append(shares[best])
    told = sum(metrics.estimate(metrics.mean, one).low > 0 for one in gain[:, 0])
    tuned[where], legs = (metrics.estimate(metrics.mean, side) for side in gain.mean(axis=0))
    rows[where] = [f"{min(chosen):.2f} to {max(chosen):.2f}", f"{told} of 5", tuned[where], legs]
pd.DataFrame(rows, index=["shares chosen", "splits that gain", "to MiniLM", "to the better leg"]).T

# %% [markdown]
# Five splits of the same queries aren't five experiments: they share all queries. So the intervals count each query
# once, by the mean of its five gains, and the column of splits only says how much hangs on the draw. This is the
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
vectors = dict(zip(passages, late.encode_document(passages), strict=True))
for where, s in searches.items():
    tokens[where] = late.encode_query(list(s.queries.values())), [vectors[text] for text in s.corpus.values()]
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
deep = {n: {w: change(rescored(dense[w], maxsim[w], n), maxsim[w], w) for w in searches} for n in depths}
least = {w: next((n for n in depths if deep[n][w].low >= -claims.MARGIN), "none of these") for w in searches}
enough = "; ".join(f"{where} {depth}" for where, depth in least.items())
print(f"deep enough, where the whole interval lies above {-claims.MARGIN}: {enough}")
pd.DataFrame({f"best {n}": row for n, row in deep.items()}).T.rename_axis(
    "change of nDCG@10 from MaxSim over everything"
)

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
for query in list(s.queries.values())[:8]:
    begin = time.process_time()
    reranker.predict([(query, text) for text in list(s.corpus.values())[:10]], show_progress_bar=False)
    took.append(time.process_time() - begin)
each_ms = 100 * np.median(took)
print(f"{each_ms:.0f} ms of one core a document; {50 * each_ms:,.0f} ms a query for the best fifty")

# %% [markdown]
# What it wins has to be measured on real weights. They are on the hub only; where it answers, the next cell reranks
# with Ettin, seventeen million parameters, made by the people behind Sentence Transformers. The last sentence is about
# another one, which the course trained itself (`python -m benchmarks.training reranker`): MiniLM's weights, a few
# hundred docstring pairs, one pass. It reorders MiniLM's best ten.

# %%
name, revision = "cross-encoder/ettin-reranker-17m-v1", "9e4aa35321a6dd1a43ca313f500c4b4f7cfb5cc6"
won: dict[str, dict[str, metrics.Estimate]] = {}
if models.hub_reachable():
    ettin = CrossEncoder(name, revision=revision, max_length=256, device="cpu")
    for where, s in searches.items():
        best, texts = np.argsort(-dense[where], axis=1)[:, :50], list(s.corpus.values())
        pairs = [(query, texts[i]) for query, row in zip(s.queries.values(), best, strict=True) for i in row]
        scores = np.full(dense[where].shape, -np.inf)
        np.put_along_axis(scores, best, ettin.predict(pairs, show_progress_bar=False).reshape(best.shape), axis=1)
        for n in (10, 20, 50):
            won.setdefault(f"best {n}", {})[where] = change(rescored(dense[where], scores, n), dense[where], where)
print("Ettin wasn't measured: the hub doesn't answer here" if not won else pd.DataFrame(won).T)
facts = pd.read_csv(catalog.FACTS / "training.csv").query("recipe == 'reranker'")
own = {row.texts: metrics.Estimate(row.change, row.low, row.high) for row in facts.itertuples()}
print(claims.Claim("own", "The course's own reranker", "MiniLM's order of its best ten", "nDCG@10", own))

# %% [markdown]
# Which reranker, trained on what, decides what it is worth. So treat it like a fusion: the change query by query, at
# several depths, against the milliseconds that each depth costs.
#
# ## Where to cut
#
# Long documents are cut into *chunks*, and somebody reads the best of them: a person, or a language model. So judge a
# way of cutting by what is handed on: how much of the sentence with the answer (the *evidence*) does it hold, **at an
# equal number of words handed on**? A score on whole documents can't tell, and more words handed on always hold more.
# Four ways: a window of 80 words that shares 20 with the next; sentences, never across a paragraph; the same with a
# title before each, here the document's first eight words; and *late chunking* (lesson 06), where a chunk's vector is
# the mean of its tokens after the model has read what stands around, here up to 510 tokens, beyond MiniLM's own limit.

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
# The recap sets each way against the one that differs from it in one thing only. The answers were written into these
# documents by people, seventy-two of them, and the intervals are wide: where it says "can't be told apart", it means
# too few queries, not that cutting doesn't matter.
#
# ## Recap
#
# - **Hold**: compute BM25 first. Whatever doesn't beat it on your queries isn't worth a vector.
# - **Fuse**: by ranks or by scaled scores; the weight is fitted on some queries and judged on others.
# - **Place**: a reranker and one vector a token go behind a first stage; chunks are judged by evidence at equal words.
#
# Each sentence is chosen by its result:

# %%
against = {"sentences": "windows", "late chunking, document added": "sentences, document added"}
against |= dict.fromkeys(("title and sentences", "late chunking", "sentences, document added"), "sentences")
chunks = []
for way, other in against.items():
    apart = {f"{n} words": metrics.estimate(metrics.mean, recalled[way][n] - recalled[other][n]) for n in budgets}
    said = way.replace(",", "").replace(" ", "-"), f'"{way.capitalize()}"', f'"{other}"', "evidence handed on"
    chunks.append(claims.Claim(*said, apart, unit="budgets"))
claims.recap(
    claims.Claim("floor", "BM25", "MiniLM", "nDCG@10", floor),
    claims.Claim("equal-rrf", "RRF with equal weights", "MiniLM alone", "nDCG@10", fused["RRF, equal weights"]),
    claims.Claim("raw-sum", "A sum of raw scores", "MiniLM alone", "nDCG@10", fused["scores added as they are"]),
    claims.Claim("tuned", "A share fitted on other queries", "MiniLM alone", "nDCG@10", tuned),
    claims.Claim("maxsim", "MaxSim over MiniLM's tokens", "one vector", "nDCG@10", many),
    *chunks,
)

# %% [markdown]
# Test yourself: What does the sum of a BM25 score and a cosine amount to? You fitted the share on all your queries:
# what does the nDCG on them say? A reranker sees the best ten of a first stage that has the right document at rank
# twelve: what can it do?
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
