# %% [markdown]
# # 17 · An index and what it loses
#
# After this lesson you can
# - **build** the two usual indexes, a graph and a partition, and measure their recall against exact search,
# - **tell apart** what quantisation, graph and filter each lose, and what that costs or saves,
# - **decide** whether you need an index at all.
#
# {{minutes}} minutes · up to {{memory_mb}} MB of memory · {{download}}
#
# A search compares a query with every vector. That is exact and simple, and its time grows with their number. An
# *index* looks at few of them and misses some: approximate nearest neighbours (ANN). Whoever measures only the final
# quality never learns which part lost what.

# %% tags=["parameters"]
vectors_at_most: int = 20_000  # sentences in the index; all of them take a few minutes longer

# %%
import re
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from sentence_transformers.util import quantize_embeddings
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits  # it comes with scikit-learn
from usearch.index import Index

from helpers import data, load, weights
from helpers.measure import claims, environment, metrics

torch.set_num_threads(1)
threadpool_limits(1)  # NumPy has threads of its own, and exact search is a matrix product
model = load("all-MiniLM-L6-v2-static-256", device="cpu")
print(f"{environment.hardware()['cpu']}, one thread; weights {weights(model).kind}")

# %% [markdown]
# ## Vectors and queries
#
# Each sentence of the docstrings of four packages is a vector, and summary lines are the queries. The model is the
# static one, because it is quick; an index doesn't care who made its vectors, only how they lie.

# %%
docs = data.docstrings()
sentences = [s for text in docs.corpus.values() for s in re.split(r"(?<=[.:;]) ", text) if 6 <= len(s.split()) <= 60]
sentences = list(dict.fromkeys(sentences))
every = max(1, len(sentences) // vectors_at_most)
vectors, others = (model.encode(sentences[i::every][:vectors_at_most], batch_size=256) for i in (0, every - 1))
queries, other_queries = (model.encode(list(docs.queries.values())[i::25]) for i in (0, 12))
print(f"{len(vectors):,} vectors of {vectors.shape[1]} numbers, {vectors.nbytes / 1e6:.0f} MB; {len(queries)} queries")
assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)  # so that a dot product is the cosine

# %% [markdown]
# ## Exact search
#
# One matrix product and the ten best. Everything that follows is measured against it: **recall@10** is the share of the
# ten true neighbours that an index finds. It says nothing of labels. Whether the true neighbours answer the question is
# the model's business, and no index can mend it.

# %%
K, GOAL = 10, 0.95
Search = Callable[[np.ndarray], np.ndarray]


def exact(asked: np.ndarray, among: np.ndarray = vectors) -> np.ndarray:
    """(queries, K) numbers of the nearest vectors, best first."""
    scores = asked @ among.T
    best = np.argpartition(-scores, K, axis=1)[:, :K]
    return np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1), axis=1)


truth = exact(queries)


def recall(found: np.ndarray, right: np.ndarray = truth) -> np.ndarray:
    """(queries,) share of the true neighbours that were found."""
    return np.array([len({*one} & {*other}) / len(other) for one, other in zip(found, right, strict=True)])


# %% [markdown]
# Time is CPU time of one query at a time, as a server meets them, on one thread. The ways take turns in each round, so
# that whatever else the machine does slows all of them; what counts is their ratio in each round. The intervals are of
# these rounds: another machine, or another neighbour in its caches, has other ratios.


# %%
def timed(ways: dict[str, Search], rounds: int = 30, many: int = 20) -> pd.DataFrame:
    """Microseconds of CPU a query, of each way (column) in each round (row)."""
    table = []
    for turn in range(rounds):
        asked = [queries[(turn * many + i) % len(queries)][None] for i in range(many)]
        took = {}
        for name, way in ways.items():
            way(asked[0])  # not timed: another way has had the processor's caches
            begin = time.process_time()
            for query in asked:
                way(query)
            took[name] = 1e6 * (time.process_time() - begin) / many
        table.append(took)
    return pd.DataFrame(table)


# %% [markdown]
# ## A graph: HNSW
#
# *HNSW* (hierarchical navigable small world) links each vector to some near ones. A search walks from neighbour to
# neighbour and keeps the best `ef` that it has met. `M` is the number of links, fixed when it is built; `ef` can be
# turned at each search. The library is `usearch`: it installs as a wheel everywhere and brings no threads of its own
# that quarrel with PyTorch's. **Decide, then run:** how many of the ten true neighbours with `ef=10`?


# %%
def built(among: np.ndarray) -> Index:
    """A graph of these vectors."""
    index = Index(ndim=among.shape[1], metric="ip", dtype="f32", connectivity=16, expansion_add=128)
    index.add(np.arange(len(among)), among, threads=1)
    return index


begin = time.process_time()
graph = built(vectors)
built_s = time.process_time() - begin


def hnsw(asked: np.ndarray, ef: int = 64, index: Index = graph) -> np.ndarray:
    """(queries, K) numbers found."""
    index.expansion_search = ef
    return index.search(asked, K, threads=1).keys.reshape(len(asked), K).astype(int)


print(f"built in {built_s:.0f} s of CPU, {graph.memory_usage / 1e6:.0f} MB with the vectors")

# %% [markdown]
# `ef` must be at least `K`: what wasn't kept can't be returned. A larger one visits more and is usually dearer:

# %%
efs = [10, 16, 32, 64, 128, 256]
found = {ef: recall(hnsw(queries, ef)) for ef in efs}
walks = {f"HNSW, ef={ef}": lambda asked, ef=ef: hnsw(asked, ef) for ef in efs}
costs = timed({"exact": exact} | walks)
table = pd.DataFrame(
    {
        "recall@10": ["1, by definition", *(str(metrics.estimate(metrics.mean, found[ef])) for ef in efs)],
        "µs a query": costs.median().round().astype(int),
        "times as fast as exact": [str(metrics.ratio(np.log(costs["exact"] / costs[name]))) for name in costs],
    },
    index=costs.columns,
)
table

# %% [markdown]
# ## A partition: IVF
#
# The other usual index cuts the space into cells by *k-means* and looks only into the cells whose centres are nearest
# to the query (*IVF*, inverted file). Nearest by Euclidean distance, by which k-means made the cells: centres aren't
# unit vectors, and by the dot product the long ones would win. **Decide, then run:** which of the two indexes looks at
# fewer vectors for the same recall?

# %%
cells = MiniBatchKMeans(128, random_state=0, n_init=1).fit(vectors)
members = [np.flatnonzero(cells.labels_ == cell) for cell in range(128)]


def inside(asked: np.ndarray, probe: int) -> list[np.ndarray]:
    """For each query, the numbers of the vectors in the `probe` nearest cells."""
    far = (cells.cluster_centers_**2).sum(axis=1) / 2 - asked @ cells.cluster_centers_.T
    return [np.concatenate([members[cell] for cell in row]) for row in np.argsort(far, axis=1)[:, :probe]]


def ivf(asked: np.ndarray, probe: int) -> np.ndarray:
    """(queries, K) numbers found; -1 where the cells hold too few."""
    among = zip(asked, inside(asked, probe), strict=True)
    best = [own[np.argsort(-(vectors[own] @ query))[:K]] for query, own in among]
    return np.array([np.pad(row, (0, K - len(row)), constant_values=-1) for row in best])


# %%
looked, met = {}, {f"HNSW, ef={ef}": share for ef, share in found.items()}
for ef in efs:
    graph.expansion_search = ef
    looked[f"HNSW, ef={ef}"] = graph.search(queries, K, threads=1).computed_distances / len(queries)
for probe in (1, 4, 16, 32, 64, 128):
    met[f"IVF, {probe} of 128 cells"] = recall(ivf(queries, probe))
    looked[f"IVF, {probe} of 128 cells"] = 128 + np.mean([len(row) for row in inside(queries, probe)])
assert met["IVF, 128 of 128 cells"].mean() > 0.999  # all cells: nothing is lost but ties
for kind in ("HNSW", "IVF"):
    least = min((looked[way] for way in met if way.startswith(kind) and met[way].mean() >= GOAL), default=None)
    print(f"{kind}, recall {GOAL}: " + (f"{least / len(vectors):.1%} of the vectors" if least else "not reached"))
rows = {way: [f"{looked[way] / len(vectors):.1%}", metrics.estimate(metrics.mean, met[way])] for way in met}
pd.DataFrame(rows, index=["distances computed, in % of the vectors", "recall@10"]).T

# %% [markdown]
# The work is counted, not timed: one of the two is a compiled library, the other a few lines of Python, and centres
# count as vectors. What the count leaves out speaks for the partition: it takes next to no memory beside the vectors,
# and its cells can lie on a disk.
#
# ## When no index is right
#
# **Decide, then run:** from how many vectors on is the graph faster, where its recall is `0.95`?


# %%
def compared(n: int) -> tuple[int, pd.DataFrame]:
    """Of the first n vectors: the smallest ef that reaches the goal, 0 if none does, and each round's microseconds."""
    among, right, small = vectors[:n], exact(queries, vectors[:n]), built(vectors[:n])
    ef = next((ef for ef in efs if recall(hnsw(queries, ef, small), right).mean() >= GOAL), 0)
    return ef, timed({"exact": lambda q: exact(q, among), "graph": lambda q: hnsw(q, ef or efs[-1], small)})


sizes = [n for n in (500, 1000, 2000, 5000, 10_000, 50_000) if n < len(vectors)] + [len(vectors)]
measured = {n: compared(n) for n in sizes}
times = {n: metrics.ratio(np.log(took["exact"] / took["graph"])) for n, (ef, took) in measured.items() if ef}
side = {n: "faster" if r.low > 1 else "slower" if r.high < 1 else "not told apart" for n, r in times.items()}
for word in dict.fromkeys(side.values()):
    print(f"the graph against exact search, {word}: {', '.join(f'{n:,}' for n in side if side[n] == word)} vectors")
rows = {n: [ef or "not reached", *took.median().round(), times.get(n, "")] for n, (ef, took) in measured.items()}
pd.DataFrame(rows.values(), rows, ["ef", "exact (µs)", "graph (µs)", "times as fast"])

# %% [markdown]
# Where the two can't be told apart, the clock decides nothing; but exact search has nothing to tune, to build or to
# keep, and misses nothing. Not measured here: batches of queries and a GPU speak for it too, since one matrix product
# serves many queries.
#
# ## Fewer bytes, and a second look
#
# Vectors needn't be stored in full. *int8* takes a quarter. *Bits* keep only each number's sign, a thirty-second, and
# compare by counting those that differ. A usual advice is to subtract the mean first, so that about half of each
# number's signs are positive; the recap says where that helps. And the best can be *rescored* with the full vectors,
# which may lie on a disk. **Decide, then run:** how many must be rescored until bits lose less than `0.02` of the
# recall?

# %%
centre = vectors.mean(axis=0)
bits = quantize_embeddings(vectors - centre, "ubinary").view(np.uint64)
ranges = np.stack([vectors.min(axis=0), vectors.max(axis=0)])
bytes_ = quantize_embeddings(vectors, "int8", ranges=ranges)
step = (ranges[1] - ranges[0]) / 255
rounded = (bytes_.astype(np.float32) + 128.5) * step + ranges[0]  # what int8 stands for


# %%
def by_bits(asked: np.ndarray, rescore: int = 0, stored=bits, middle=centre, among=vectors) -> np.ndarray:
    """(queries, K) nearest by bits that differ; the best `rescore` of them in order of the full vectors."""
    rows = []
    for query, own in zip(asked, quantize_embeddings(asked - middle, "ubinary").view(np.uint64), strict=True):
        apart = np.bitwise_count(stored ^ own).sum(axis=1)
        best = np.argpartition(apart, max(K, rescore))[: max(K, rescore)]
        order = np.argsort(-(among[best] @ query)) if rescore else np.argsort(apart[best], kind="stable")
        rows.append(best[order[:K]])
    return np.array(rows)


# %%
small_d = PCA(64, svd_solver="covariance_eigh").fit(vectors)  # the first numbers say most, as in a Matryoshka model
short = small_d.transform(vectors).astype(np.float32)


def by_short(asked: np.ndarray, rescore: int = 100) -> np.ndarray:
    """(queries, K): the best `rescore` by 64 dimensions, in order of all 256."""
    scores = small_d.transform(asked).astype(np.float32) @ short.T - (short**2).sum(axis=1) / 2
    best = np.argpartition(-scores, rescore, axis=1)[:, :rescore]
    return np.array([row[np.argsort(-(vectors[row] @ query))[:K]] for row, query in zip(best, asked, strict=True)])


# %%
plain = quantize_embeddings(vectors, "ubinary").view(np.uint64)
again = (40, 100, 400, 1000, 2000)
stages = {"int8": (256, 0, lambda q: exact(q, rounded)), "bits": (32, 0, by_bits)}
stages["bits, not centred, 100 rescored"] = (32, 100, lambda q: by_bits(q, 100, plain, 0.0))
stages |= {f"bits, {n} rescored": (32, n, lambda q, n=n: by_bits(q, n)) for n in again}
stages["64 of 256 dimensions, 100 rescored"] = (256, 100, by_short)
quantised = {name: metrics.estimate(metrics.mean, recall(way(queries))) for name, (*_, way) in stages.items()}
enough = next((n for n in again if quantised[f"bits, {n} rescored"].low >= 1 - claims.MARGIN), None)
print(f"enough, where the whole interval lies above {1 - claims.MARGIN}: {enough or 'none of these'} rescored")
pd.DataFrame({name: [stages[name][0], quantised[name]] for name in stages}, index=["bytes a vector", "recall@10"]).T

# %% [markdown]
# ## Filters
#
# "The nearest that belong to this customer." A filter *after* the search throws away what isn't allowed, and may leave
# nothing. Here the filter keeps one vector in a hundred. Ways out: search for more until ten are left; or search
# exactly among those that are allowed, which are few. (Some engines filter *inside* the graph's walk; usearch's Python
# door doesn't offer it. A walk that meets few allowed nodes loses its way too, so measure it.)

# %%
allowed = np.flatnonzero(np.random.default_rng(0).random(len(vectors)) < 0.01)
right = allowed[exact(queries, vectors[allowed])]


def afterwards(asked: np.ndarray, fetch: int) -> np.ndarray:
    """(queries, K) allowed ones among the `fetch` nearest of the graph; -1 where there are too few."""
    graph.expansion_search = max(64, fetch)
    keys = graph.search(asked, fetch, threads=1).keys.reshape(len(asked), fetch).astype(int)
    kept = [row[np.isin(row, allowed)][:K] for row in keys]
    return np.array([np.pad(row, (0, K - len(row)), constant_values=-1) for row in kept])


filtered = {f"graph, {n} fetched, then filtered": recall(afterwards(queries, n), right) for n in (10, 100, 1000)}
filtered["exact among the allowed"] = recall(allowed[exact(queries, vectors[allowed])], right)
pd.Series({name: str(metrics.estimate(metrics.mean, r)) for name, r in filtered.items()}, name="recall@10").to_frame()

# %% [markdown]
# ## Where everything stands
#
# Work and memory against recall: what no other beats at both is worth having. Work is the bytes of vectors that a query
# reads, which no language and no compiler changes; the graph reads its links besides, and jumps about. The number at a
# sign is what can be turned: `ef`, cells, vectors rescored. Bits, int8 and short vectors take less memory too.

# %%
read = {"exact": 4 * vectors.size} | {way: 1024 * count for way, count in looked.items()}
read |= {way: size * len(vectors) + 1024 * n for way, (size, n, _) in stages.items()}
height = {"exact": 1.0} | {w: met[w].mean() for w in met} | {w: quantised[w].value for w in stages}
kinds = {"HNSW": "C0o-", "IVF": "C1s-", "bits,": "C2^:", "int8": "C3v", "64 of 256 dimensions": "C4D", "exact": "k*"}
figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
for kind, sign in kinds.items():
    ways = [way for way in read if way.startswith(kind) and "not centred" not in way]
    axes.plot([read[w] for w in ways], [height[w] for w in ways], sign, label=kind.strip(","))
    away = (-8, 6) if kind == "HNSW" else (4, -10)
    for way in (w for w in ways if kind in ("HNSW", "IVF", "bits,")):
        number = re.search(r"\d+", way)[0]
        axes.annotate(number, (read[way], height[way]), textcoords="offset points", xytext=away)
axes.set(xscale="log", xlabel="bytes of vectors read for a query (log scale)", ylabel="recall@10")
axes.legend()
plt.show()

# %% [markdown]
# ## Recap
#
# - **Build**: a graph with `M` and `ef`, a partition with cells and probes; recall is against exact search.
# - **Tell apart**: each part on its own, the others exact; losses need not add up, so measure the combination too.
# - **Decide**: by the crossing on your machine, and by how many vectors you will have.
#
# Each sentence is chosen by its result:


# %%
def losses(among: np.ndarray, asked: np.ndarray) -> dict[str, np.ndarray]:
    """(queries,) what each part alone changes in recall@10."""
    right, low, width = exact(asked, among), among.min(axis=0), np.ptp(among, axis=0)
    coarse = (np.round((among - low) / width * 255) / 255 * width + low).astype(np.float32)
    bit = {}
    for name, middle in {"centred": among.mean(axis=0), "plain": 0 * low}.items():
        stored = quantize_embeddings(among - middle, "ubinary").view(np.uint64)
        bit[name] = {n: recall(by_bits(asked, n, stored, middle, among), right) for n in (100, 400)}
    lost = {"graph": recall(hnsw(asked, 64, built(among)), right) - 1, "int8": recall(exact(asked, coarse), right) - 1}
    both = recall(hnsw(asked, 64, built(coarse)), right) - 1
    lost |= {"rescored": bit["centred"][400] - 1, "centred": bit["centred"][100] - bit["plain"][100]}
    return lost | {"together": both - (lost["graph"] + lost["int8"])}


# %%
own = [*data.texts(), *data.retrieval().corpus.values(), *data.long_documents().corpus.values()]
own = model.encode(list(dict.fromkeys(s for text in own for s in re.split(r"(?<=[.:;]) ", text) if len(s.split()) > 5)))
sets = {"the sentences above": (vectors, queries), "other sentences": (others, other_queries)}
sets["the course's texts"] = own, model.encode(list(data.retrieval().queries.values()))
tried = {where: losses(*both) for where, both in sets.items()}

# %%
parts = {
    p: {w: metrics.estimate(metrics.mean, each[p]) for w, each in tried.items()} for p in tried["the course's texts"]
}
after = metrics.estimate(metrics.mean, filtered["graph, 100 fetched, then filtered"] - 1)
speed = {f"{n:,} vectors": ratio for n, ratio in times.items()}
by = ("exact search", "recall@10")
claims.recap(
    claims.Claim("graph", "HNSW with ef=64", *by, parts["graph"]),
    claims.Claim("int8", "int8", *by, parts["int8"]),
    claims.Claim("together", "int8 inside the graph", "the sum of both losses", "recall@10", parts["together"]),
    claims.Claim("rescored", "A search by bits with the best 400 rescored", *by, parts["rescored"]),
    claims.Claim("centred", "A search by centred bits", "one by bits as they are", "recall@10", parts["centred"]),
    claims.Claim("filter", "A filter after the search", *by, {"one vector in a hundred kept": after}),
    claims.Claim("crossing", "The graph", "exact search", "CPU time", speed, unit="sizes", **claims.FASTER),
)

# %% [markdown]
# ## In a database
#
# The same parts under other names; from their documentation, not run here. Whichever it is, measure recall against its
# own exact search: pgvector's is a query without the index (`SET enable_indexscan = off`), Qdrant's is `exact: true`.
#
# ```text
# -- PostgreSQL with pgvector
# CREATE TABLE passages (id bigint PRIMARY KEY, body text, customer int, embedding vector(384));
# CREATE INDEX ON passages USING hnsw (embedding vector_ip_ops) WITH (m = 16, ef_construction = 64);
# SET hnsw.ef_search = 100;
# SET hnsw.iterative_scan = strict_order;  -- goes on where a filter leaves too few
# SELECT id FROM passages WHERE customer = 7 ORDER BY embedding <#> $1 LIMIT 10;
# ```
#
# ```python
# # Qdrant: the full vectors on disk, the bits in memory, and the filter's index before anything is loaded
# client.create_collection("passages", vectors_config=VectorParams(size=384, distance=Distance.DOT, on_disk=True),
#     quantization_config=BinaryQuantization(binary=BinaryQuantizationConfig(always_ram=True)))
# client.create_payload_index("passages", "customer", PayloadSchemaType.INTEGER)
# client.query_points("passages", query=vector, limit=10, query_filter=only_this_customer,
#     search_params=SearchParams(hnsw_ef=128, quantization=QuantizationSearchParams(rescore=True, oversampling=4.0)))
# ```
#
# Oversampling by four means that for ten results forty are taken by bits and rescored: the table of bits has a row for
# that. Qdrant builds its graph with the filter in mind only if the filter's index is there first; from version `1.19`
# on, `memory` says what `on_disk` and `always_ram` say.
#
# Test yourself: Somebody reports a recall of an index against the labelled answers: what has been measured? Why can
# `ef` not be smaller than the number of results? Ten thousand documents, a few queries a second: which index?
#
# Now the exercise: [recall, bits, a filter](../exercises/17_index/17_index.ipynb). Next, in
# [lesson 18](18_your_own_model.ipynb), the model itself.
#
# Sources: Malkov and Yashunin 2018, *HNSW* ([arXiv](https://arxiv.org/abs/1603.09320)); Jégou, Douze and Schmid 2011,
# *Product Quantization* ([doi](https://doi.org/10.1109/TPAMI.2010.57)); Aumüller, Bernhardsson and Faithfull 2018,
# *ANN-Benchmarks* ([arXiv](https://arxiv.org/abs/1807.05614)); Yamada et al. 2021, *BPR*, bits with rescoring
# ([arXiv](https://arxiv.org/abs/2106.00882)); documentation of [usearch](https://github.com/unum-cloud/USearch),
# [pgvector](https://github.com/pgvector/pgvector) and [Qdrant](https://qdrant.tech/documentation/concepts/search/).
