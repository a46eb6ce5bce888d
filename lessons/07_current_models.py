# %% [markdown]
# # 07 · Current models
#
# After this lesson you can
# - **read** a leaderboard: one benchmark at a time, complete runs only, with the zero-shot share and the licence
#   beside each score,
# - **explain** how the current architectures differ, and compute a static model's vectors by hand,
# - **compare** models from a catalogue of facts, and check a model's card against the model itself.
#
# {{minutes}} minutes · up to {{memory_mb}} MB of memory · {{download}}
#
# Most models of the lessons before date from 2021 to 2024. This one is about what came after, and about how to
# read such news. It ends before the decision: lesson 08 chooses.

# %% tags=["parameters"]
source: str = "auto"  # where the family's weights come from: auto, hub or stand-in

# %%
from itertools import combinations

import numpy as np
import pandas as pd
import sentence_transformers
import torch
from IPython.display import display
from matplotlib import pyplot as plt
from transformers import AutoModel

from helpers import benchmark as benchmarks
from helpers import catalog, data, load, models
from helpers.measure import claims, metrics, speed
from helpers.models import twins

mini, static = load("all-MiniLM-L6-v2"), load("all-MiniLM-L6-v2-static-256")
facts = pd.DataFrame([c.model_dump() for c in catalog.cards()], index=[c.name for c in catalog.cards()])
print(f"device {mini.device}, sentence-transformers {sentence_transformers.__version__}; {len(facts)} models")

# %% [markdown]
# ## The current generation
#
# All facts here come from the course's catalogue, `helpers/facts/models.csv`, which names a source for each. An
# empty cell means unknown, and stays unknown. First the families you will meet, oldest first. (Some release
# dates are a paper's.)

# %%
families = "static-retrieval potion-retrieval snowflake-arctic-embed-l modernbert gte-modernbert Qwen3-Embedding "
families += "granite embeddinggemma KaLM-Embedding-Gemma jina-embeddings-v5 F2LLM harrier"
current = facts.index[facts.index.str.startswith(tuple(families.split()))]
generation = facts.loc[current].sort_values("release_date_mteb", kind="stable")
pd.DataFrame(
    {
        "released": generation["release_date_mteb"],
        "parameters (M)": (generation["params_total"] / 1e6).round().astype("Int64"),
        "tokens": generation["max_tokens"].astype("Int64").astype(object).where(generation["layers"] != 0, "no limit"),
        "architecture": generation["arch_family"].fillna("unknown"),
        "pooling": generation["pooling"].fillna("unknown"),
    }
).fillna("unknown")

# %% [markdown]
# Four kinds of model share the field. (Pooling is how token vectors become one vector: lesson 01.)
# - **Decoders**: language models put to embedding, in which a token sees only the tokens before it. Qwen3-Embedding,
#   jina v5 small, harrier and F2LLM are of this kind.
# - **EmbeddingGemma**: from a language model as well, but every token sees both sides, and the vectors are averaged;
#   in the 300m the mean then passes two dense layers.
# - **Encoders** in the line of BERT, rebuilt for long texts: ModernBERT (granite r2, gte-modernbert,
#   modernbert-embed) and EuroBERT (jina v5 nano). Older in kind: snowflake's arctic v2, an XLM-RoBERTa with a longer
#   position table.
# - **Static** models: a table of token vectors, no layers at all. potion, static-retrieval.
#
# ## A ranking that goes wrong
#
# Which leads? **MTEB** is the benchmark that nearly all publishers quote: many tasks (search, classification,
# clustering, similarity), one score from 0 to 100 for each, and the mean of them. There are several benchmarks of that
# name: MTEB(eng, v1) with 56 English tasks, MTEB(eng, v2) with 41, some of them the same, MTEB(Multilingual, v2) with
# 131 in many languages. The catalogue has some mean for most models, so sort by that: for each model the first that is
# known. **Decide, then run:** what could be wrong with that?

# %%
lists = {
    "whatever is known": [
        "multilingual_v2_computed_mean_task", "eng_v2_computed_mean_task", "eng_v1_computed", "eng_v1_published",
    ],
    "English only, v2 before v1": ["eng_v2_computed_mean_task", "eng_v1_computed"],
    "as published, v1 beside v2": ["eng_v1_published", "eng_v2_published"],
}  # fmt: skip
mixed = {name: facts[order].bfill(axis=1).iloc[:, 0] for name, order in lists.items()}
naive = pd.DataFrame({"some score": mixed["whatever is known"]})
naive["where it comes from"] = facts[lists["whatever is known"]].notna().idxmax(axis=1)
naive.sort_values("some score", ascending=False).head(8)

# %% [markdown]
# The second column gives it away: one list, several benchmarks. How often does such a list contradict a benchmark in
# which both models have a complete run? For every two models: who is ahead on the benchmark, and who in the list?

# %%
BENCHMARKS = catalog.BENCHMARKS  # name: (column of the mean, column of the tasks run, tasks of a complete run)


def complete(benchmark: str) -> pd.DataFrame:
    """The models with a complete run of one benchmark, best first, their mean as `score`."""
    mean, tasks_run, tasks = BENCHMARKS[benchmark]
    rows = facts[(facts[tasks_run] == tasks) & facts[mean].notna()]
    return rows.assign(score=rows[mean]).sort_values("score", ascending=False)


def turned(benchmark: str, some: pd.Series) -> str:
    """How many couples of models the list has the other way round."""
    here = complete(benchmark)["score"]
    couples = [(a, b) for a, b in combinations(here.index[some[here.index].notna()], 2) if here[a] > here[b]]
    wrong = sum(some[a] < some[b] for a, b in couples)
    return f"{wrong} of {len(couples)}, {wrong / len(couples):.0%}"


pd.DataFrame({name: {b: turned(b, some) for b in BENCHMARKS} for name, some in mixed.items()}).T

# %% [markdown]
# The count depends on how the list was made, so no single one of these shares is *the* error. Two effects are in it.
# Versions with other tasks lie on other levels, which turns couples round wherever levels are mixed. And models that
# know English only are judged on many languages, or the other way round, which shows where an English list meets the
# last column. (Nought means that the list *is* that benchmark, wherever both models have a run.)
#
# `complete` is the mend for both, and every score below goes through it: **one benchmark, by its exact name and
# version, and only runs with all its tasks.** (Of the 131 multilingual tasks no run in this snapshot has more than
# 130, so 130 counts as complete there.) The snapshot is the public results repository of 2026-08-20, with means
# computed the same way for all.
#
# ### An incomplete run has no rank
#
# A mean over some of the tasks is a mean of another benchmark. How far can it be off? One missing task may lie
# anywhere from 0 to 100. That gives each incomplete mean a range, and each range a span of ranks.

# %%
mean, tasks_run, tasks = BENCHMARKS["MTEB(eng, v2)"]
partial = facts[facts[mean].notna() & (facts[tasks_run] < tasks)]
done, ranked = partial[tasks_run].astype(int), complete("MTEB(eng, v2)").score.to_numpy()
low, high = partial[mean] * done / tasks, (partial[mean] * done + 100 * (tasks - done)) / tasks
pd.DataFrame(
    {
        "MTEB(eng, v2) tasks run": done.astype(str) + f" of {tasks}",
        "mean of those": partial[mean],
        "true mean, at least": low.round(2),
        "at most": high.round(2),
        f"best rank beside the {len(ranked)}": [int((ranked > x).sum()) + 1 for x in high],
        "worst rank": [int((ranked > x).sum()) + 1 for x in low],
    }
)

# %% [markdown]
# A famous model may thus be absent from a ranking not because it is bad, but because nobody has published all its
# tasks, or because it is newer than the snapshot.
#
# ## Who leads, and on what
#
# The two current rankings, each on its own. Some scores exist twice, published and computed, and the ranking goes by
# the second kind.


# %%
def leaders(benchmark: str, published: str) -> pd.DataFrame:
    """The six best complete runs of one benchmark."""
    rows = complete(benchmark).head(6)
    columns = {
        f"{benchmark}, computed": rows.score,
        "published": rows[published].astype(object),
        "parameters (M)": (rows.params_total / 1e6).round().astype("Int64"),
        "licence": rows.license.str.replace("http.*", "its own text", regex=True),
        "released": rows.release_date_mteb,
    }
    return pd.DataFrame(columns).fillna("unknown")


display(leaders("MTEB(Multilingual, v2)", "multilingual_v2_published"))
leaders("MTEB(eng, v2)", "eng_v2_published")

# %% [markdown]
# A leaderboard mean comes without an interval, so a small difference between neighbours decides nothing. Nor can
# the catalogue say *why* a model leads. But it shows two things that the score hides.
#
# ## The zero-shot share
#
# A model may have been trained on data that belongs to a benchmark's tasks. mteb keeps a list of each model's
# training sets and computes the **zero-shot share**: the share of the benchmark's tasks whose data the model has
# *not* been trained on. 100 means none is known to be used. No declared training data means no share: unknown.
#
# The share depends on the benchmark as much as the score does: one column for each.

# %% [markdown]
# **Decide, then run:** do models with a lower share score higher?

# %%
rows = complete("MTEB(Multilingual, v2)").dropna(subset=["zero_shot_pct_multilingual_v2"])
share, english = rows["zero_shot_pct_multilingual_v2"], rows.languages_mteb == 1
figure, axes = plt.subplots(figsize=(9, 5.2), layout="constrained")
axes.scatter(share[~english], rows.score[~english], c="tab:blue", alpha=0.7, label="not English only")
axes.scatter(share[english], rows.score[english], c="tab:orange", marker="s", alpha=0.7, label="English only")
for name in [*rows.index[share < 95], "Qwen3-Embedding-8B", "Qwen3-Embedding-0.6B", "embeddinggemma-300m"]:
    axes.annotate(name, (share[name], rows.score[name]), (7, -3), textcoords="offset points", fontsize=8)
axes.set(xlim=(71, 106), xticks=range(75, 101, 5))
axes.set_xlabel("zero-shot share of MTEB(Multilingual, v2) (% of its tasks)")
axes.set_ylabel("mean over tasks (0 to 100)")
axes.legend(loc="lower left")
plt.show()

# %% [markdown]
# A number for it is Spearman's correlation: 1 if the two orders agree, -1 if they are opposite, 0 if neither. In
# brackets stands its interval, from models drawn again and again out of these (the bootstrap, at 95 percent): where
# it holds 0, no connection is shown. And the squares are models that know English only. They score low on many
# languages for a reason of their own, so the question is put with and without them.

# %%
for group, chosen in {"all": rows, "not English only": rows[~english]}.items():
    x = chosen["zero_shot_pct_multilingual_v2"].to_numpy(float)
    trend = metrics.estimate(metrics.spearman, x, chosen.score.to_numpy(float), paired=True)
    shown = "lower shares go with higher scores" if trend.high < 0 else "no such connection is shown"
    print(f"{group}, {len(chosen)} models: Spearman {trend}; {shown}")

# %% [markdown]
# What to conclude: compare models of a like share, and trust a score at a low share less as a forecast for *your*
# data. What not to conclude: that a low share is cheating (the training parts of public sets are there to be
# used), or that it explains a gap. The models also differ in languages, size, age and base model, and families hang
# together, so the intervals above are too narrow. The share rests on what publishers declare: a model without
# declared data may have seen everything. What to rely on are data of your own that were never published.
#
# ## Open has degrees
#
# "Open" may mean the weights, the training code, the training data, or the right to use it all in a business. Here is
# the catalogue by licence. (Whether code and data are public, mteb's metadata often don't say; a missing link there is
# no proof that there is none. Lesson 06 looks closer at one family.)

# %%
licence = facts["license"].fillna("unknown").str.replace("http.*", "its own text", regex=True)
use = {"apache-2.0": "yes", "mit": "yes", "cc-by-nc-4.0": "no", "unknown": "unknown"}
degrees = licence.value_counts().rename("models").to_frame()
degrees["commercial use"] = [use.get(name, "read its terms") for name in degrees.index]
print("Not for commercial use:", ", ".join(facts.index[licence == "cc-by-nc-4.0"]))
degrees

# %% [markdown]
# A licence decides before any score does. `cc-by-nc-4.0` excludes a product, however good the model. EmbeddingGemma
# stands under Gemma's own terms ([read them](https://ai.google.dev/gemma/terms)), and its files are gated: the hub
# hands them out once you have accepted those terms. An unknown licence is no permission. And the base model and the
# data may carry terms of their own. (This is reading help, no legal advice.)
#
# ## What changed inside
#
# A model is a stack of layers. In each, attention mixes into a token's vector what the token sees of the others.
# The shapes below are built from the catalogue's numbers by transformers' own configuration classes, for one model
# of each kind and one BERT. A `full_attention` layer sees the whole text, a `sliding_attention` layer the
# surroundings only. To know the order of the tokens, BERT adds a vector for each position, from a table that ends;
# the others turn the vectors inside attention by an angle that grows with the position (RoPE).

# %%
shapes = {}
blueprints = ["bge-base-en-v1.5", "gte-modernbert-base", "embeddinggemma-300m", "Qwen3-Embedding-0.6B"]
for name in blueprints:
    config = twins.config(name)
    kinds = list(getattr(config, "layer_types", ["full_attention"] * config.num_hidden_layers))
    shapes[name] = {
        "layers": len(kinds),
        "full_attention": kinds.count("full_attention"),
        "sliding_attention": kinds.count("sliding_attention"),
        "the first seven (F full, s sliding)": "".join("F" if kind[0] == "f" else "s" for kind in kinds[:7]),
        "positions": "RoPE" if getattr(config, "rope_parameters", None) else "a table",
        "tokens by the catalogue": catalog.card(name).max_tokens,
        "pooling": catalog.card(name).pooling or "unknown",
    }
pd.DataFrame(shapes)

# %% [markdown]
# What a layer lets through can be measured on one layer with random weights: change one token in the middle of a
# text, and see at which places the output changes. **Decide, then run:** in which of these models does the last
# token know all the others, and the first token too?


# %%
def reach(name: str, kind: str) -> tuple[int, int]:
    """The first and the last place whose output changes when the token in the middle changes; one layer."""
    config = twins.config(name, layers=1)
    config.vocab_size, config.layer_types = 1000, [kind]  # a small vocabulary: only the layer is of interest
    torch.manual_seed(0)
    layer = AutoModel.from_config(config).eval()
    tokens = torch.randint(10, 1000, (1, min(1024, config.max_position_embeddings))).repeat(2, 1)
    middle = tokens.shape[1] // 2
    tokens[:, middle] = torch.tensor([5, 6])
    with torch.inference_mode():
        before, after = layer(input_ids=tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state
    changed = torch.nonzero((before - after).abs().amax(dim=1) > 0).flatten() - middle
    return int(changed.min()), int(changed.max())


# %%
reached = []
for name in blueprints:
    for kind in sorted(set(getattr(twins.config(name), "layer_types", ["full_attention"]))):
        first, last = reach(name, kind)
        reached.append((name, kind, first, last, "both sides" if first < 0 else "later tokens only: causal"))
pd.DataFrame(reached, columns=["model", "layer", "first place changed", "last place changed", "a token is seen by"])

# %% [markdown]
# Places are counted from the changed token (in a text of 1024, or of 512 where BERT's table ends). In the decoder
# nothing *before* it changes: attention is **causal**, only the last token has read the whole text, and so the
# text's vector is the last token's (`last_token` pooling). In the others both sides change, and a mean or the first
# token's vector (`cls`) can stand for the text. Sliding layers pass on a neighbourhood only. They are cheap on long
# texts, and the full layers between them carry what is far away.
#
# ## How each is called
#
# The exact code comes from the catalogue, revision and prompts included. For Sentence Transformers all three are
# the same call; what differs is the prompts, and leaving them out raises no error. (For `embeddinggemma-300m`,
# accept the terms on the hub and log in first; without that you get a stand-in and the reason.) With the hub in reach
# the cell downloads their weights, some gigabytes that then also want memory; the parameter `source = "stand-in"`
# spares you both.

# %%
called = ["Qwen/Qwen3-Embedding-0.6B", "google/embeddinggemma-300m", "Alibaba-NLP/gte-modernbert-base"]
query = "How do I return a parcel?"
loaded = {name: load(name, source=source) for name in called}
for name, model in loaded.items():
    prompt = model.prompts.get("query") or ""
    right, glued, bare = model.encode_query(query), model.encode(prompt + query), model.encode(query)
    assert np.allclose(right, glued, atol=1e-5)
    same = "equal" if np.allclose(right, bare, atol=1e-5) else "another vector, no error"
    print(f"\n{models.code(name)}\n# encode_query reads {prompt + query!r}; without the prompt: {same}")

# %% [markdown]
# Without the hub these are stand-ins: the calls, prompts and shapes are those of the real models, the vectors say
# nothing of their quality. gte-modernbert-base takes no prompt. EmbeddingGemma wants one on *both* sides,
# in a form of its own (`task: ... | query: ` and `title: none | text: `). Qwen3 wants an instruction on the query
# only, and no space after `Query:`.
#
# Which families still move? By the catalogue's dates, Sentence Transformers' own models are of 2019 to the beginning
# of 2025, the first E5, BGE and GTE older than 2025; Qwen3-Embedding, EmbeddingGemma, granite, jina v5, F2LLM, KaLM
# and harrier came after.
#
#
# At the other end stand models without attention. The one used here is real: distilled from MiniLM by model2vec's
# recipe. Each token of the vocabulary went through MiniLM once, on its own; PCA cut the vectors to the dimensions
# in which they differ most; and a weight made frequent tokens small. What is left is a table.

# %%
table = static[0].embedding.weight.detach().numpy()
sentence = "The printer doesn't print, and nobody knows why."
tokens = static[0].tokenizer.encode(sentence, add_special_tokens=False)
by_hand = table[tokens.ids].mean(axis=0)
by_hand = by_hand / np.linalg.norm(by_hand)
assert np.allclose(by_hand, static.encode(sentence), atol=1e-6)
print(f"table: {table.shape} (tokens, dimensions); looked up, averaged, made of length one: what encode() gives")
pd.DataFrame({"token": tokens.tokens, "length of its vector": np.linalg.norm(table[tokens.ids], axis=1).round(2)}).T

# %% [markdown]
# The lengths are the weights at work: the full stop and the apostrophe hardly count, and `the` counts less than
# `printer`. (A token's rank in the vocabulary stands for its frequency here.)
#
# No layer, no multiplication of matrices: how much faster is that? `speed.measure` gives every batch to both models in
# turn, so that what else the machine is doing slows both. **Decide, then run:** and what can't a mean of token vectors
# know?

# %%
both = {"MiniLM": mini, "static": static}
timed = speed.measure(both, data.texts(), budget_s=10)
tests = {
    "word order": ("The dog bit the man.", "The man bit the dog."),
    "negation": ("The scanner is not working.", "The scanner is working."),
    "numbers": ("The invoice is due in 10 days.", "The invoice is due in 60 days."),
}
told = {w: {n: m.similarity(*m.encode(list(pair))).item() for n, m in both.items()} for w, pair in tests.items()}
rate = {name: f"{timed[name].tokens_per_s:,.0f}" for name in both}
print(f"tokens/s by the clock on the wall, each model's own tokens ({mini.device}): {rate}")
pd.DataFrame(told).T.round(3)

# %% [markdown]
# A mean has no order, so the first cosine is one for any static model. Three pairs prove nothing about quality,
# so now the course's labelled pairs: true paraphrases against six kinds of pairs that mean different things. The
# measure is ROC-AUC: how often a paraphrase gets a higher cosine than a pair of the other kind. One half is
# guessing; below that, the other pairs look *more* alike than the paraphrases. In brackets, the difference of the two
# models with the same pairs drawn for both. (Six intervals: take one that only just misses nought with care.)

# %%
pairs = data.pairs()
kind, same = np.array(pairs.kind), np.flatnonzero(pairs.gold == 1)
cosine = {}
for name, model in both.items():
    one, other = model.encode(list(pairs.sentence1)), model.encode(list(pairs.sentence2))
    cosine[name] = (one * other).sum(axis=1).astype(float)  # both models return unit vectors
hard = ["unrelated", "related", "same_words", "negation", "numbers_changed", "swapped_roles"]
auc = {n: [metrics.estimate(metrics.roc_auc, v[same], v[kind == h]) for h in hard] for n, v in cosine.items()}


def gap(similar: np.ndarray, dissimilar: np.ndarray, axis: int = -1) -> np.ndarray:
    """AUC of the static model minus that of MiniLM, on the pairs with these numbers."""
    i, j = similar.astype(int), dissimilar.astype(int)
    return np.subtract(*(metrics.roc_auc(cosine[n][i], cosine[n][j], axis=axis) for n in ("static", "MiniLM")))


apart = {negatives: metrics.estimate(gap, same, np.flatnonzero(kind == negatives)) for negatives in hard}
pd.DataFrame(auc | {"static - MiniLM": apart.values()}, index=hard)

# %% [markdown]
# Where both lie below one half, a model can be "better" and still useless for the distinction: neither should decide
# alone. Plain search is in the recap. Static models fit a first filter, deduplication, or a device without room.
#
# ## Score against size
#
# A model is worth a look if no other is at most as large and at least as good, with one of the two better: then it
# lies on the **Pareto front**. One benchmark at a time, complete runs and known sizes only, by one sweep from the
# smallest to the largest.


# %%
def front(rows: pd.DataFrame) -> list[str]:
    """The models on the Pareto front of parameters and score, smallest first."""
    best, size, found = -np.inf, 0, []
    for name, row in rows.sort_values(["params_total", "score"], ascending=[True, False]).iterrows():
        if row.score > best or (row.score, row.params_total) == (best, size):
            best, size, found = row.score, row.params_total, [*found, name]
    return found


fronts = {}
for benchmark in ("MTEB(eng, v2)", "MTEB(Multilingual, v2)"):
    rows = complete(benchmark).dropna(subset=["params_total"])
    names, free = front(rows), front(rows[licence[rows.index].isin(["mit", "apache-2.0"])])
    print(f"{benchmark}: {len(names)} of {len(rows)} models; with MIT and Apache 2.0 alone, {len(free)}")
    fronts[benchmark] = rows, names

# %%
figure, panels = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
for axes, (benchmark, (rows, names)) in zip(panels, fronts.items(), strict=True):
    size = rows.params_total / 1e6
    axes.scatter(size, rows.score, color="#bbbbbb", label="other models")
    axes.step(size[names], rows.score[names], "o-", where="post", color="#0072b2", label="front, numbered by size")
    for number, name in enumerate(names, start=1):
        axes.annotate(str(number), (size[name], rows.score[name]), (-4, 5), textcoords="offset points")
    axes.set(xscale="log", xlabel="parameters (millions, log scale)", ylabel=f"{benchmark}, mean over tasks")
panels[0].legend(loc="lower right")
plt.show()
numbered = {b: pd.Series(names, index=range(1, len(names) + 1)) for b, (_, names) in fronts.items()}
pd.DataFrame(numbered).fillna("")

# %% [markdown]
# The two fronts differ: a model's place depends on the benchmark. A model of one language can stand on the multilingual
# front only because no smaller model was better there. And the axis decides too: parameters stand for memory, and not
# for speed, since token tables are looked up and not multiplied.
#
# ## Don't trust the card: check
#
# Public metadata are typed in by people. Check what your code relies on, once the model is loaded; and the check must
# be able to fail, so it also meets a card with the two usual mistakes: the size of the position table taken for the
# context, and the width inside a layer for the dimensions.


# %%
def compare(model: sentence_transformers.SentenceTransformer, card: catalog.Card) -> pd.DataFrame:
    """A loaded model beside what its card says; unknown facts are left out."""
    norms = np.linalg.norm(model.encode(["one text", "another, somewhat longer text"]), axis=1)
    rows = {
        "dims": (card.dims, model.get_embedding_dimension()),
        "tokens": (card.max_tokens, model.max_seq_length),
        "parameters": (card.params_total, sum(p.numel() for p in model.parameters())),
        "unit vectors": (card.outputs_normalized, bool(np.allclose(norms, 1, atol=1e-2))),
    }
    table = pd.DataFrame(rows, index=["card", "model"], dtype=object).T
    return table.assign(agree=table.card == table.model)[table.card.notna()]


inside, card = mini[0].model.config, catalog.card("all-MiniLM-L6-v2")
false = card.model_copy(update={"max_tokens": inside.max_position_embeddings, "dims": inside.intermediate_size})
pd.concat({"its card": compare(mini, card), "a false card": compare(mini, false)})

# %% [markdown]
# ## When this table is old
#
# New models come every month, and this catalogue stops at its date. To keep up:
# - **Read** the MTEB leaderboard with the benchmark chosen *first* (the language and the kind of task that are
#   yours), then the results repository behind it, the model's card, its licence file and its pull requests.
# - **Ask for these columns**: exact benchmark name and version, tasks run of all, zero-shot share, parameters,
#   maximum tokens, licence, remote code, prompts on both sides, and the pinned revision.
# - **Distrust** a score without a benchmark's name, a mean without a number of tasks, and any list that mixes
#   versions.
# - **Then measure** the two or three that are left on your own data, with intervals: lessons 08, 09 and 14.
#
# ## Recap
#
# - **Read**: one benchmark and complete runs; a zero-shot share below 100 means that data of some tasks were
#   training material; the licence decides before the score.
# - **Explain**: decoders see backwards only and pool the last token, EmbeddingGemma and ModernBERT see both sides
#   and mix local with full layers, a static model is a table and a mean, and knows no order.
# - **Compare**: a matrix of facts with unknowns left unknown, a Pareto front for one benchmark at a time, and a
#   function that holds the loaded model against its card.
#
# What was found, each sentence chosen by its result:

# %%
searches = {"the course's texts": data.retrieval(), "scipy's docstrings": data.docstrings("dev", limit=150)}


def scored(model: sentence_transformers.SentenceTransformer, s: data.Retrieval) -> np.ndarray:
    texts = list(s.queries.values()), list(s.corpus.values())
    return benchmarks.ndcg(s, model.encode_query(texts[0]), model.encode_document(texts[1]))


gaps = {w: scored(both["static"], s) - scored(both["MiniLM"], s) for w, s in searches.items()}
lost = {w: metrics.estimate(metrics.mean, gap) for w, gap in gaps.items()}
two, took = ("The static model", "MiniLM"), timed["static"]
clocks = {took.clock: took.ratio, "on the wall": took.wall_ratio}
telling = "telling paraphrases from unrelated pairs (ROC-AUC)"
claims.recap(
    claims.Claim("static-search", *two, "nDCG@10", lost),
    claims.Claim("static-unrelated", *two, telling, {"the course's pairs": apart["unrelated"]}),
    claims.Claim("static-speed", *two, "speed", clocks, **claims.FASTER),
)

# %% [markdown]
# Test yourself: Why is a score at a low zero-shot share not to be read like one at a high share? Why can't a causal
# model use the first token's vector? Two models, one with 40 and one with 41 of 41 tasks: what can you say?
#
# Now the exercise: [fronts, filters and a static model](../exercises/07_current_models/07_current_models.ipynb)
#
# ## For a second reading
#
# **Other kinds of model.** The catalogue is about models that give one vector a text. The families have other members,
# and search has other kinds (lesson 01 names their classes). This table is mteb's metadata alone, without a word of
# ours: `python -m tools.catalogue` writes it anew. `dims` is a vector's length, for late interaction each token's, for
# sparse models the vocabulary; a reranker gives a score.

# %%
kinds = pd.read_csv(catalog.FACTS / "kinds.csv")
kinds["parameters (M)"] = (kinds["params_total"] / 1e6).round()
columns = ["hub_id", "kind", "modalities", "dims", "max_tokens", "parameters (M)", "released"]
kinds.groupby("kind").head(4)[columns].style.hide(axis="index").format(precision=0, na_rep="not said")

# %% [markdown]
# **The comparison matrix.** About a dozen current models and three older ones as a reference; bf16 means weights of two
# bytes a parameter. The last column was measured on **twins**: the architecture with random weights, fp32, one CPU
# thread, the median of those of one shape. It says how fast, never how good.

# %%
older = ["all-MiniLM-L6-v2", "bge-small-en-v1.5", "multilingual-e5-large"]
compared = [*older, "potion-retrieval-32M", "gte-modernbert-base", "snowflake-arctic-embed-l-v2.0"]
compared += ["Qwen3-Embedding-0.6B", "Qwen3-Embedding-8B", "embeddinggemma-300m", "embeddinggemma-2"]
compared += ["granite-embedding-311m-multilingual-r2", "jina-embeddings-v5-text-small", "harrier-oss-v1-0.6b"]
rows, (speeds, noise) = facts.loc[compared], twins.speeds()
matrix = {
    "dims": rows.dims,
    "tokens": rows.max_tokens.astype("Int64").astype(object).where(rows.layers != 0, "no limit"),
    "bf16 (MB)": (rows.params_total * 2 / 1e6).round().astype("Int64"),
    "licence": licence[compared],
    "languages": rows.languages_mteb.astype("Int64"),
    "Matryoshka": rows.matryoshka.map({True: "yes", False: "no"}),
    "remote code": rows.trust_remote_code.map({True: "yes", False: "no"}),
    "tokens/s (CPU)": [f"{speeds[i]:.0f}" if i in speeds else "not measured" for i in rows.hub_id],
}
print(f"Twins of the same shape differ by a factor of up to {noise:.2f}.")
pd.DataFrame(matrix).astype(object).fillna("unknown")

# %% [markdown]
# **Where the catalogue departs from mteb's metadata:**

# %%
wrong = {"gte-Qwen2-1.5B-instruct": "dims_note"}
wrong |= dict.fromkeys(
    ["multilingual-e5-large", "paraphrase-multilingual-mpnet-base-v2", "granite-embedding-311m-multilingual-r2"],
    "max_tokens_note",
)
for name, note in wrong.items():
    column = note.removesuffix("_note")
    print(f"{name}: {column} is {facts.loc[name, column]:.0f}; {facts.loc[name, note]}")

# %% [markdown]
# Sources: the catalogue `helpers/facts/models.csv` with a source for each figure (mteb's model metadata; the
# results repository embeddings-benchmark/results of 2026-08-20; model cards); Warner and others 2024,
# *ModernBERT* ([arXiv](https://arxiv.org/abs/2412.13663)); Zhang and others 2025, *Qwen3 Embedding*
# ([arXiv](https://arxiv.org/abs/2506.05176)); Tulkens and van Dongen 2024, *Model2Vec*
# ([code](https://github.com/MinishLab/model2vec)); Arora and others 2017, *A simple but tough-to-beat baseline for
# sentence embeddings*.
