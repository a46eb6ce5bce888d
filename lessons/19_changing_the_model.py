# %% [markdown]
# # 19 · Changing the model
#
# After this lesson you can
# - **keep** the vectors of two models apart, whose dimensions agree and whose spaces don't,
# - **change** a model under a live index: estimate, backfill, shadow, switch, and back if need be,
# - **judge** the short cuts: a map from the old space to the new one, fewer dimensions, an old threshold.
#
# {{minutes}} minutes · up to {{memory_mb}} MB of memory · {{download}}
#
# Sooner or later the model changes: a better one, one that was withdrawn, another revision behind the same name. An
# index of its vectors can't be changed in place, since every vector is of the old model, and every query would be of
# the new one. `helpers.migrate` is a small index that does it in the open: one SQLite file, two spaces side by side.

# %%
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt

from helpers import benchmark, bundled, costs, data, load, weights
from helpers.encode import token_counts
from helpers.errors import CourseError
from helpers.measure import claims, environment, metrics
from helpers.migrate import CANARIES, Index

torch.set_num_threads(1)
old, new = (load(name, device="cpu") for name in ("all-MiniLM-L6-v2-static-256", "all-MiniLM-L6-v2"))
new.max_seq_length = 128
print(f"{environment.hardware()['cpu']}, one thread; weights {weights(old).kind}, {weights(new).kind}")

# %% [markdown]
# ## Equal dimensions, another space
#
# The mistake that nothing reports: half of the index is of one model, half of another with as many dimensions. Here the
# other is MiniLM with its vectors turned: every cosine *within* it is MiniLM's own. **Decide, then run:** what does
# search lose if every second document comes from the turned one?

# %%
searches = {"the course's texts": data.retrieval(), "scipy's docstrings": data.docstrings("dev", limit=200)}
turn = bundled.pca(dims=384)[-2].linear.weight.detach().numpy().T
asked = {where: new.encode(list(s.queries.values())) for where, s in searches.items()}
stored = {where: new.encode(list(s.corpus.values())) for where, s in searches.items()}
whole = {where: benchmark.ndcg(s, asked[where], stored[where]) for where, s in searches.items()}
mixed = {}
for where, s in searches.items():
    both = stored[where].copy()
    both[::2] = both[::2] @ turn
    mixed[where] = metrics.estimate(metrics.mean, benchmark.ndcg(s, asked[where], both) - whole[where])
    alone = benchmark.ndcg(s, asked[where] @ turn, stored[where] @ turn)
    print(
        f"{where}: one model {whole[where].mean():.3f}, the turned one alone {alone.mean():.3f}, mixed {mixed[where]}"
    )

# %% [markdown]
# No error, no warning, half a search. So an index keeps a **fingerprint** of the model that made it: its vectors of a
# few sentences, as queries and as documents, at rest. Whoever comes to write or to ask is held against them, now and
# then again: *canaries* that notice another revision behind the same name too. Never let the new model judge itself:
# its own vectors always agree with its own.

# %%
folder = Path(tempfile.mkdtemp())
index = Index(folder / "index.db")
corpus = searches["the course's texts"].corpus
index.add(corpus)
index.backfill("static", old)
index.switch("static")


class Turned:
    """MiniLM, turned."""

    def encode_query(self, texts: list[str]) -> np.ndarray:
        return new.encode(texts) @ turn

    encode_document = encode_query


# %%
index.begin("minilm", new)
for space, model in (("static", new), ("minilm", Turned())):
    try:
        index.search("a lost parcel", model, space=space)
    except CourseError as error:
        print(f"Refused on purpose: {error}")

# %% [markdown]
# ## Estimate first
#
# What the change costs is known before it begins: tokens, at the speed of this model on this machine. Lessons 12 and
# 13 turn hours into money more carefully.

# %%
texts = list(corpus.values())
sample, rates = texts[:64], []
for part in np.array_split(np.arange(64), 16):
    begin = time.process_time()
    new.encode([sample[i] for i in part])
    rates.append(sum(token_counts(new, [sample[i] for i in part])) / (time.process_time() - begin))
rate, tokens = np.median(rates), np.mean(token_counts(new, texts))
low, high = np.quantile(rates, [0.1, 0.9])
print(f"{tokens:.0f} tokens a text, {rate:,.0f} tokens/s of one core (most batches {low:,.0f} to {high:,.0f})")
machine = costs.price("Hugging Face Inference Endpoints", "aws intel-spr x8")  # eight vCPUs, taken as four cores
for n in (len(texts), 1_000_000, 100_000_000):
    hours = n * tokens / rate / 3600
    print(f"{n:>11,} texts: {hours:,.1f} hours of one core, about ${hours / 4 * machine.price_usd:,.2f} rented")

# %% [markdown]
# ## Backfill, and a kill
#
# The new space is filled while the old one answers. Each batch is one transaction, so whatever happens it is there
# whole or not at all. The process below is killed by `SIGKILL` somewhere in between.

# %%
PROGRAM = """
import sys
from helpers import load
from helpers.migrate import Index
model = load("all-MiniLM-L6-v2", device="cpu")
model.max_seq_length = 128
Index(sys.argv[1]).backfill("minilm", model, batch=4)
"""
with (folder / "log.txt").open("w") as log:
    command = [sys.executable, "-c", PROGRAM, str(folder / "index.db")]
    child = subprocess.Popen(command, stdout=log, stderr=log)
    while child.poll() is None and len(index.missing("minilm")) > len(corpus) // 2:
        time.sleep(0.01)
    child.kill()
    code = child.wait()
assert code in (0, 1 if os.name == "nt" else -9), (folder / "log.txt").read_text()

# %%
left = len(index.missing("minilm"))
print(f"killed: {len(corpus) - left} of {len(corpus)} texts have their new vector; live is {index.live!r}")
try:
    index.switch("minilm")
except CourseError as error:
    print(f"Refused on purpose: {error}")
index.add({"late": "A text that came during the change."}, {"static": old, "minilm": new})
print(f"called again it encodes {index.backfill('minilm', new)}")
vectors = dict(zip(*index.vectors("minilm"), strict=True))
assert np.allclose([vectors[name] for name in corpus], new.encode(texts), atol=1e-5)

# %% [markdown]
# A text that comes meanwhile is written into both spaces (*dual write*), else one of them falls behind.
#
# ## The shadow
#
# Before the switch, the new space answers in the shadow of the old one. **Overlap** is what needs no labels: how many
# of the ten answers are the same. **Decide, then run:** the overlap is low: is the new model worse?

# %%
s = searches["the course's texts"]
overlap = index.overlap(list(s.queries.values()), {"static": old, "minilm": new})
before = benchmark.ndcg(s, old.encode(list(s.queries.values())), old.encode(texts))
better = metrics.estimate(metrics.mean, whole["the course's texts"] - before)
print(
    f"overlap of the ten answers {metrics.estimate(metrics.mean, overlap.astype(float))}; nDCG@10 changes by {better}"
)
print(f"queries whose overlap is below a half: {(overlap < 0.5).sum()}; look at some of them by eye")

# %% [markdown]
# Overlap says how much will change for users, not whether it gets better; that takes labels, or eyes. Then the switch,
# which is one row in one transaction, and the way back:

# %%
was = [index.search(query, old) for query in s.queries.values()]
index.switch("minilm")
print(f"live: {index.live}; first answer now: {index.search('a lost parcel', new, 1)}")
index.rollback()
assert [index.search(query, old) for query in s.queries.values()] == was  # to the bit
print(f"live again: {index.live}, every answer as it was")

# %% [markdown]
# ## Short cuts
#
# **A map.** Both models' vectors of some texts are known; a linear map from the old space to the new one is least
# squares. Then the old vectors need not be computed again. **Decide, then run:** a map from the static model to MiniLM,
# learnt on sentences of the course's pairs: how much of MiniLM's gain arrives, and do more sentences help?

# %%
pairs = data.pairs()
known = list(dict.fromkeys([*pairs.sentence1, *pairs.sentence2]))
by_old, by_new = ({t: v for t, v in zip(known, m.encode(known), strict=True)} for m in (old, new))
a, b = (np.stack(list(made.values())) for made in (by_old, by_new))


def mapped(where: str, n: int) -> np.ndarray:
    """nDCG@10 of each query, the documents' old vectors brought over by a map learnt on n sentences."""
    matrix, *_ = np.linalg.lstsq(a[:n], b[:n], rcond=None)
    made = old.encode(list(searches[where].corpus.values())) @ matrix
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return benchmark.ndcg(searches[where], asked[where], made.astype(np.float32))


# %%
rows = {}
for where, s in searches.items():
    before = benchmark.ndcg(s, *(old.encode(list(side.values())) for side in (s.queries, s.corpus)))
    after = {n: mapped(where, n) for n in (len(known) // 3, len(known))}
    for n, each in after.items():
        rows[where, n] = [metrics.estimate(metrics.mean, each - other) for other in (whole[where], before)]
    print(f"{where}: all sentences against a third {metrics.estimate(metrics.mean, each - after[len(known) // 3])}")
columns = ["against the new model", "against the old one"]
pd.DataFrame(rows, index=columns).T.rename_axis(["change of nDCG@10 by a map, on", "sentences"])

# %% [markdown]
# **Fewer dimensions.** Where a model was trained for it (Matryoshka), or its vectors were turned by PCA, the first
# numbers are a smaller space of the *same* model: a migration that computes nothing. Queries are cut the same way.

# %%
short = {}
for where, s in searches.items():
    cut = (side[where] @ turn[:, :192] for side in (asked, stored))
    made = [(v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32) for v in cut]
    short[where] = metrics.estimate(metrics.mean, benchmark.ndcg(s, *made) - whole[where])
print(f"half of the dimensions, nothing computed again: {', '.join(f'{w} {c}' for w, c in short.items())}")

# %% [markdown]
# **An old threshold.** "Similar" was a cosine above some number. **Decide, then run:** does the same number let the
# same pairs pass?

# %%
cosines = {
    name: np.array([made[x] @ made[y] for x, y in zip(pairs.sentence1, pairs.sentence2, strict=True)])
    for name, made in (("old", by_old), ("new", by_new))
}
passed = {name: values >= 0.7 for name, values in cosines.items()}
moved = float(np.sort(cosines["new"])[-passed["old"].sum()])
print(f"at 0.7 {passed['old'].mean():.0%} of pairs pass by the old model, {passed['new'].mean():.0%} by the new")
print(f"{(passed['old'] != passed['new']).sum()} of {len(pairs)} pairs change sides")
print(f"the new model passes as many pairs as the old one did at a threshold of {moved:.2f}")

# %%
figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
for name, colour in (("old", "#0072b2"), ("new", "#d55e00")):
    axes.hist(cosines[name], bins=40, alpha=0.6, color=colour, label=f"{name} model")
axes.axvline(0.7, color="grey", linestyle="--", label="the old threshold")
axes.set(xlabel="cosine of a pair", ylabel="pairs")
axes.legend(fontsize=8)
plt.show()

# %% [markdown]
# Even where the share hardly moves, *which* pairs pass does. So a threshold is set anew on labelled pairs of yours, not
# carried over by its number, nor by its share.
#
# ## Is this the model I think it is?
#
# The fingerprint says "another". What is other, a lost token, another pooling, a cut, is what [lesson
# 20](20_parity.ipynb) finds out, in this notebook's spirit and as `make parity`. Its canaries are texts on which faults
# show; so are these:

# %%
print(*(f"{len(text):>5} characters: {text[:60]!r}" for text in CANARIES), sep="\n")
index.close()

# %% [markdown]
# ## In a database
#
# The same steps elsewhere; from their documentation, not run here.
#
# ```text
# -- PostgreSQL with pgvector: columns are named after their models
# ALTER TABLE passages ADD COLUMN minilm_c9745ed vector(384);
# -- from now on whoever writes a passage writes both columns; then, until it updates nothing:
# UPDATE passages SET minilm_c9745ed = ... WHERE id = ... AND body = ...;  -- only if the text is still the same
# CREATE INDEX CONCURRENTLY ON passages USING hnsw (minilm_c9745ed vector_ip_ops);
# SELECT count(*) FROM passages WHERE minilm_c9745ed IS NULL;  -- 0, or don't switch
# -- the switch is in the application: encoder and column are one setting, so that neither changes alone
# ```
#
# ```python
# # Qdrant: collections passages_1 and passages_2; queries use the alias passages_live, and it moves in one call
# client.create_collection("passages_2", vectors_config=VectorParams(size=384, distance=Distance.DOT))
# # dual write, backfill, then client.count("passages_2").count == client.count("passages_1").count, then:
# client.update_collection_aliases(change_aliases_operations=[
#     DeleteAliasOperation(delete_alias=DeleteAlias(alias_name="passages_live")),
#     CreateAliasOperation(create_alias=CreateAlias(collection_name="passages_2", alias_name="passages_live")),
# ])  # a process asks with the encoder of the collection behind the alias: keep its fingerprint in a point of its own
# ```
#
# ## Recap
#
# - **Keep**: a fingerprint beside the index; equal dimensions say nothing.
# - **Change**: estimate, backfill in transactions, dual write, shadow, switch when complete, keep the old space until
#   nobody wants it back.
# - **Judge**: short cuts by what they lose; thresholds anew.
#
# Each sentence is chosen by its result:

# %%
to_new, to_old = ({w: rows[w, len(known)][i] for w in searches} for i in (0, 1))
claims.recap(
    claims.Claim("mixed", "An index of two spaces", "one of one space", "nDCG@10", mixed),
    claims.Claim("map", "An index of old vectors brought over by a map", "one of new vectors", "nDCG@10", to_new),
    claims.Claim("map-old", "An index of old vectors brought over by a map", "the old index", "nDCG@10", to_old),
    claims.Claim("half", "MiniLM turned and cut to 192", "MiniLM in full", "nDCG@10", short),
)

# %% [markdown]
# Test yourself: The new model has as many dimensions as the old one: what would go wrong if the queries were switched
# first? Why is a canary no canary if the new model judges it? The overlap of old and new answers is six in ten: what do
# you know, and what not?
#
# Now the exercise: [a fingerprint, a backfill, a
# threshold](../exercises/19_changing_the_model/19_changing_the_model.ipynb).
#
# Sources: [SQLite on atomic commit](https://www.sqlite.org/atomiccommit.html); the documentation of
# [pgvector](https://github.com/pgvector/pgvector) and of [Qdrant's
# aliases](https://qdrant.tech/documentation/concepts/collections/#collection-aliases); LightRAG issue
# [3966](https://github.com/HKUDS/LightRAG/issues/3966), equal dimensions taken for an equal model.
