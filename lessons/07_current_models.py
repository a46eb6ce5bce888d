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
from matplotlib import pyplot as plt
from transformers import AutoModel

from helpers import catalog, data, load, models
from helpers.measure import metrics, speed
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
# - **Decoders**: language models put to embedding, in which a token sees only the tokens before it. Qwen3-Embedding
#   and jina v5 small; harrier and the F2LLM that the catalogue can take apart start from such models too. ("Unknown"
#   in the table: of the insides of the others the catalogue knows only the size.)
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
# clustering, similarity), one score from 0 to 100 for each, and the mean of them. The catalogue has such a mean for
# most models, so sort it: for each model the first that is known, in the order of the list below. `published` is
# what the publisher states, `computed` the mean over the public result files. **Decide, then run:** what could be
# wrong with that?

# %%
order = ["eng_v2_published", "eng_v1_published", "multilingual_v2_published"]
order += ["multilingual_v2_computed_mean_task", "eng_v2_computed_mean_task", "eng_v1_computed"]
facts["some score"] = facts[order].bfill(axis=1).iloc[:, 0]
facts["where it comes from"] = facts[order].notna().idxmax(axis=1)
naive = facts.sort_values("some score", ascending=False)[["some score", "where it comes from"]]
naive.head(12)

# %% [markdown]
# The second column gives it away: one list, several benchmarks. MTEB(eng, v1) has 56 English tasks, MTEB(eng, v2)
# has 41, some of them the same and some newer, MTEB(Multilingual, v2) has 131 in many languages. A mean over harder
# tasks is lower, so a model is punished for the benchmark it was run on. How often does the mixed list contradict a
# benchmark in which both models have a complete run? First a function that keeps to one benchmark.

# %%
BENCHMARKS = catalog.BENCHMARKS  # name: (column of the mean, column of the tasks run, tasks of a complete run)
for name, columns in BENCHMARKS.items():
    print(name, *columns, sep=", ")


def complete(benchmark: str) -> pd.DataFrame:
    """The models with a complete run of one benchmark, best first, their mean as `score`."""
    mean, tasks_run, tasks = BENCHMARKS[benchmark]
    rows = facts[(facts[tasks_run] == tasks) & facts[mean].notna()]
    return rows.assign(score=rows[mean]).sort_values("score", ascending=False)


# %% [markdown]
# Then every pair of models: who is ahead on the benchmark, and who is ahead in the mixed list?

# %%
for benchmark in BENCHMARKS:
    rows = complete(benchmark)
    here, mixed = rows["score"], rows["some score"]
    couples = [(a, b) for a, b in combinations(rows.index, 2) if here[a] > here[b]]
    turned = [(a, b) for a, b in couples if mixed[a] < mixed[b]]
    print(f"{benchmark}: {len(turned)} of {len(couples)} pairs of models are turned round, such as")
    for name in max(turned, key=lambda couple: here[couple[0]] - here[couple[1]], default=()):
        print(f"    {name}: {here[name]:.2f} here, {mixed[name]:.2f} in the mixed list")

# %% [markdown]
# `complete` is the mend, and every score below goes through it: **one benchmark, by its exact name and version,
# and only runs with all its tasks.** (Of the 131 multilingual tasks no run in this snapshot has more than 130, so
# 130 counts as complete there.) The snapshot is the public results repository of 2026-08-20, with means computed
# the same way for all.
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

# %%
few = facts[facts[mean].isna() & (facts[tasks_run] > 0)].sort_values(tasks_run, ascending=False)
told = [f"{name} {n:.0f}" for name, n in few[tasks_run].head(5).items()]
print(f"{len(few)} more models have run some of the {tasks} tasks and get no mean, such as {', '.join(told)}.")
print(f"BAAI/bge-m3 has run {facts.loc['bge-m3', tasks_run]:.0f} of them.")
newest = facts[facts[tasks_run].isna()].sort_values("release_date_mteb", na_position="first")
print(f"No run at all is known of {len(newest)} models, the newest of them {', '.join(newest.index[-3:])}.")

# %% [markdown]
# The last two columns say how many ranks the missing tasks leave open. A famous model may thus be absent from a
# ranking not because it is bad, but because nobody has published all its tasks, or because it is newer than the
# snapshot.
#
# ## Who leads, and on what
#
# Now the two current rankings, each on its own. Some scores exist twice, published and computed: two columns with
# two names, and the ranking goes by the second kind. An older model of the same purpose stands by for comparison.


# %%
def leaders(benchmark: str, published: str, older: str) -> pd.DataFrame:
    """The eight best complete runs of one benchmark, with a sentence on them."""
    rows = complete(benchmark)
    small, gap = rows[rows.params_total < 1e9].iloc[0], (rows[published] - rows.score).abs().max()
    print(
        f"{rows.index[0]} leads with {rows.score.iloc[0]:.2f}; below 1B parameters {small.name} with {small.score:.2f};"
    )
    print(f"the older {older} has {rows.score[older]:.2f}. Published and computed differ by at most {gap:.2f}.")
    columns = {
        f"{benchmark}, computed": rows.score,
        "published": rows[published].astype(object),
        "parameters (M)": (rows.params_total / 1e6).round().astype("Int64"),
        "licence": rows.license.str.replace("http.*", "its own text", regex=True),
        "released": rows.release_date_mteb,
    }
    return pd.DataFrame(columns).head(8).fillna("unknown")


# %%
leaders("MTEB(Multilingual, v2)", "multilingual_v2_published", older="multilingual-e5-large")

# %%
leaders("MTEB(eng, v2)", "eng_v2_published", older="bge-large-en-v1.5")

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

# %%
of = facts.loc[current]
table = pd.DataFrame(
    {
        "MTEB(Multilingual, v2)": complete("MTEB(Multilingual, v2)").score.reindex(current),
        "zero-shot % of that": of["zero_shot_pct_multilingual_v2"].astype("Int64"),
        "MTEB(eng, v2)": complete("MTEB(eng, v2)").score.reindex(current),
        "zero-shot % of this": of["zero_shot_pct_eng_v2"].astype("Int64"),
    }
)
table = table.sort_values(list(table.columns[:2]), ascending=[False, True]).astype(object)
table.where(table.notna(), "unknown")

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
one, other = "harrier-oss-v1-0.6b", "Qwen3-Embedding-0.6B"
print(f"Of nearly the same size: {one} {rows.score[one]:.2f} at {share[one]:.0f} %, ", end="")
print(f"{other} {rows.score[other]:.2f} at {share[other]:.0f} %.")
pure = rows[share >= 99]
print(f"Best of the {len(pure)} models with a share of at least 99 %: {pure.index[0]}, {pure.score.iloc[0]:.2f}.")

# %% [markdown]
# What to conclude: compare models of a like share, and trust a score at a low share less as a forecast for *your*
# data. What not to conclude: that a low share is cheating (the training parts of public sets are there to be
# used), or that it explains a gap. The models also differ in languages, size, age and base model, and families hang
# together, so the intervals above are too narrow. The share rests on what publishers declare: a model without
# declared data may have seen everything. What to rely on are data of your own that were never published.
#
# ## Open has degrees
#
# "Open" may mean the weights, the training code, the training data, or the right to use it all in a business.
# Here is the catalogue by licence. Public code and public data are counted where mteb knows a link to them.

# %%
licence = facts["license"].fillna("unknown").str.replace("http.*", "its own text", regex=True)
public = facts[["training_code", "training_data"]].apply(lambda column: column.str.startswith("http").eq(True))
degrees = pd.DataFrame(
    {
        "models": licence.value_counts(),
        "code public": public.training_code.groupby(licence).sum(),
        "data public": public.training_data.groupby(licence).sum(),
        "code and data public": public.all(axis=1).groupby(licence).sum(),
    }
).sort_values("models", ascending=False)
use = {"apache-2.0": "yes", "mit": "yes", "cc-by-nc-4.0": "no", "unknown": "unknown"}
degrees["commercial use"] = [use.get(name, "read its terms") for name in degrees.index]
degrees

# %%
print("Not for commercial use:", ", ".join(facts.index[licence == "cc-by-nc-4.0"]))
fully = facts.index[public.all(axis=1) & licence.isin(["apache-2.0", "mit"])]
print("Weights, code and data public, licence MIT or Apache 2.0:", ", ".join(fully))
print("Other terms, to be read first:", ", ".join(facts.index[~licence.isin(use)]))
print("Licence unknown to the catalogue:", ", ".join(facts.index[licence == "unknown"]))

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
query, document = "How do I return a parcel?", "Parcels go back free of charge within thirty days."
loaded = {}
for name in called:
    model = loaded[name] = load(name, source=source)
    print(f"\n{models.code(name)}")
    for side, text in {"query": query, "document": document}.items():
        print(f"# encode_{side} reads", repr((model.prompts.get(side) or "") + text))
    print(f"# {models.weights(model).kind}: {model.encode_query(query).shape}", end="")
    print(f", with truncate_dim=256 {model.encode_query(query, truncate_dim=256).shape}")

# %% [markdown]
# Without the hub these are stand-ins: the calls, prompts and shapes are those of the real models, the vectors say
# nothing of their quality. `truncate_dim` keeps a vector's first dimensions; it serves models trained for it
# (Matryoshka, lesson 06). Two checks that hold with any weights: a prompt glued on by hand gives the same vector as
# `encode_query`, and leaving it out gives another one.

# %%
for name, model in loaded.items():
    prompt = model.prompts.get("query") or ""
    right, glued, bare = model.encode_query(query), model.encode(prompt + query), model.encode(query)
    assert np.allclose(right, glued, atol=1e-5)
    print(f"{name}: by hand equal; without the prompt", "equal" if np.allclose(right, bare, atol=1e-5) else "another")
task = "Given a complaint of a customer, retrieve the rule that settles it"
own = loaded[called[0]].encode_query(query, prompt=f"Instruct: {task}\nQuery:")
print(f"{called[0]} with an instruction of your own: {own.shape}")

# %% [markdown]
# gte-modernbert-base takes no prompt, so there is nothing to leave out. EmbeddingGemma wants one on *both* sides,
# in a form of its own (`task: ... | query: ` and `title: none | text: `). Qwen3 wants an instruction on the query
# only, and no space after `Query:`.
#
# ## A static model, by hand
#
# At the other end stand models without attention. The one used here is real: distilled from MiniLM by model2vec's
# recipe. Each token of the vocabulary went through MiniLM once, on its own; PCA cut the vectors to the dimensions
# in which they differ most; and a weight made frequent tokens small. What is left is a table.

# %%
table = static[0].embedding.weight.detach().numpy()
sentence = "The printer doesn't print, and nobody knows why."
tokens = static[0].tokenizer.encode(sentence, add_special_tokens=False)
print(f"table: {table.shape} (tokens, dimensions)")
pd.DataFrame({"token": tokens.tokens, "length of its vector": np.linalg.norm(table[tokens.ids], axis=1).round(2)}).T

# %% [markdown]
# The lengths are the weights at work: the full stop and the apostrophe hardly count, and `the` counts less than
# `printer`. (A token's rank in the vocabulary stands for its frequency here.) The whole model is now three steps:
# look up, average, make the length one.

# %%
by_hand = table[tokens.ids].mean(axis=0)
by_hand = by_hand / np.linalg.norm(by_hand)
assert np.allclose(by_hand, static.encode(sentence), atol=1e-6)
print(f"largest difference from encode(): {np.abs(by_hand - static.encode(sentence)).max():.1e}")

# %% [markdown]
# No layer, no multiplication of matrices: how much faster is that? `speed.measure` warms both up and lets them take
# turns on the same batches, round by round, so that what else the machine is doing slows both.

# %%
both = {"MiniLM": mini, "static": static}
timed = speed.measure(both, data.texts()[:64], budget_s=10)
for name, model in both.items():
    print(f"{name}: {sum(p.numel() for p in model.parameters()) / 1e6:.1f}M parameters")
ratio = timed["static"].ratio
print(
    f"On this machine ({mini.device}) the static model is {ratio.value:.0f} times as fast, "
    f"{ratio.low:.0f} to {ratio.high:.0f} (95%), in {timed['static'].clock}."
)

# %% [markdown]
# **Decide, then run:** what can't a mean of token vectors know?

# %%
tests = {
    "word order": ("The dog bit the man.", "The man bit the dog."),
    "negation": ("The scanner is not working.", "The scanner is working."),
    "numbers": ("The invoice is due in 10 days.", "The invoice is due in 60 days."),
}
for what, (one, other) in tests.items():
    told = [f"{name} {m.similarity(*m.encode([one, other])).item():.3f}" for name, m in both.items()]
    print(f"{what:11s} {', '.join(told)}   {one} / {other}")

# %% [markdown]
# A mean has no order, so the first cosine is one for any static model. Three pairs prove nothing about quality,
# so now the course's labelled pairs: true paraphrases against six kinds of pairs that mean different things. The
# measure is ROC-AUC: how often a paraphrase gets a higher cosine than a pair of the other kind. One half is
# guessing; below that, the other pairs look *more* alike than the paraphrases.

# %%
pairs = data.pairs()
kind, same = np.array(pairs.kind), np.flatnonzero(pairs.gold == 1)
cosine = {}
for name, model in both.items():
    one, other = model.encode(list(pairs.sentence1)), model.encode(list(pairs.sentence2))
    cosine[name] = (one * other).sum(axis=1).astype(float)  # both models return unit vectors
hard = ["unrelated", "related", "same_words", "negation", "numbers_changed", "swapped_roles"]
auc = {
    (name, negatives): metrics.estimate(metrics.roc_auc, values[same], values[kind == negatives])
    for name, values in cosine.items()
    for negatives in hard
}

# %%
figure, axes = plt.subplots(figsize=(8, 3.8), layout="constrained")
for name, offset, colour, marker in (("MiniLM", -0.12, "tab:blue", "o"), ("static", 0.12, "tab:orange", "s")):
    scores = [auc[name, negatives] for negatives in hard]
    value = np.array([s.value for s in scores])
    ends = np.array([[s.value - s.low for s in scores], [s.high - s.value for s in scores]])
    axes.errorbar(value, np.arange(len(hard)) + offset, xerr=ends, fmt=marker, color=colour, capsize=3, label=name)
axes.axvline(0.5, color="grey", linestyle="--", label="guessing")
axes.set(yticks=range(len(hard)), yticklabels=hard, xlabel="ROC-AUC against all true paraphrases, with 95% interval")
axes.invert_yaxis()
axes.legend(loc="lower right")
plt.show()
pd.DataFrame({name: [str(auc[name, negatives]) for negatives in hard] for name in both}, index=hard)

# %% [markdown]
# Two intervals that overlap don't say whether the models differ, since both saw the same pairs. The difference,
# with the same pairs drawn for both, does. (Six intervals are read here, each at 95 percent on its own, so take one
# that only just misses 0 with care.)


# %%
def difference(similar: np.ndarray, dissimilar: np.ndarray, axis: int = -1) -> np.ndarray:
    """AUC of MiniLM minus that of the static model, on the pairs with these numbers."""
    numbers = similar.astype(int), dissimilar.astype(int)
    scores = (metrics.roc_auc(*(cosine[name][n] for n in numbers), axis=axis) for name in both)
    return np.subtract(*scores)


for negatives in hard:
    found = metrics.estimate(difference, same, np.flatnonzero(kind == negatives))
    verdict = "MiniLM better" if found.low > 0 else "static better" if found.high < 0 else "no difference shown"
    below = " (both below guessing)" if all(auc[name, negatives].high < 0.5 for name in cosine) else ""
    print(f"{negatives:16s} MiniLM - static: {found}  {verdict}{below}")

# %% [markdown]
# Read the last column with the figure. A model can be "better" and still useless for a distinction: where both lie
# below guessing, neither should decide alone. And plain search? The same two on the course's retrieval set, by
# nDCG@10: 1 if the right documents stand first, less the further down they stand, 0 if none is among the first ten.

# %%
search, ndcg = data.retrieval(), {}
for name, model in both.items():
    queries = model.encode_query(list(search.queries.values()))
    rows = model.similarity(queries, model.encode_document(list(search.corpus.values()))).tolist()
    run = {q: dict(zip(search.corpus, row, strict=True)) for q, row in zip(search.queries, rows, strict=True)}
    ndcg[name] = metrics.per_query(run, search.qrels)["ndcg@10"]
    print(f"{name}: nDCG@10 {metrics.estimate(metrics.mean, ndcg[name])}")
print(f"MiniLM - static, query by query: {metrics.estimate(metrics.mean, ndcg['MiniLM'] - ndcg['static'])}")

# %% [markdown]
# And what the catalogue says of static models beside MiniLM, on one benchmark:

# %%
rows = complete("MTEB(eng, v2)")
rows = rows[(rows.layers == 0) | (rows.index == "all-MiniLM-L6-v2")]
pd.DataFrame({"MTEB(eng, v2)": rows.score, "parameters (M)": (rows.params_total / 1e6).round(1)})

# %% [markdown]
# So when speed is what counts, MiniLM isn't the end of the line: static models cost far less, and give up quality
# that these numbers let you weigh. They fit a first filter, deduplication, or a device without room.
#
# ## Score against size
#
# A model is worth a look if no other is at most as large and at least as good, with one of the two better: then it
# lies on the **Pareto front**. One benchmark at a time, complete runs and known sizes only. First by the definition,
# every model against every other; then by one sweep from the smallest to the largest.

# %%
rows = complete("MTEB(eng, v2)").dropna(subset=["params_total"])
by_definition = set()
for name, m in rows.iterrows():
    no_worse = (rows.params_total <= m.params_total) & (rows.score >= m.score)
    if not (no_worse & ((rows.params_total < m.params_total) | (rows.score > m.score))).any():
        by_definition.add(name)
print(f"{len(by_definition)} of {len(rows)} models are on the front of MTEB(eng, v2)")


# %%
def front(rows: pd.DataFrame) -> list[str]:
    """The models on the Pareto front of parameters and score, smallest first."""
    best, size, found = -np.inf, 0, []
    for name, row in rows.sort_values(["params_total", "score"], ascending=[True, False]).iterrows():
        if row.score > best or (row.score, row.params_total) == (best, size):
            best, size, found = row.score, row.params_total, [*found, name]
    return found


assert by_definition == set(front(rows))
print("the sweep finds the same models")


# %%
def draw_front(rows: pd.DataFrame, benchmark: str) -> None:
    """Score against parameters, the front as a line with names."""
    size, names = rows.params_total / 1e6, front(rows)
    axes = plt.figure(figsize=(9, 5.4), layout="constrained").gca()
    axes.step(size[names], rows.score[names], where="post", color="grey", alpha=0.6, label="Pareto front", zorder=1)
    terms = licence[rows.index].replace({"mit": "MIT or Apache 2.0", "apache-2.0": "MIT or Apache 2.0"})
    for (label, group), marker in zip(size.groupby(terms), "os^Dv*P", strict=False):
        axes.scatter(group, rows.score[group.index], marker=marker, alpha=0.75, label=label)
    place = {"ha": "right", "va": "bottom", "rotation": -32, "rotation_mode": "anchor", "fontsize": 7.5}
    for name in names:
        axes.annotate(name, (size[name], rows.score[name]), (-3, 3), textcoords="offset points", **place)
    axes.set(xscale="log", xlabel="parameters (millions, log scale)", ylabel=f"{benchmark}, mean over tasks")
    axes.set(xlim=(1.5, size.max() * 2), ylim=(rows.score.min() - 2, rows.score.max() + 0.3 * np.ptp(rows.score)))
    axes.legend(loc="lower right")
    plt.show()


# %%
def show_front(benchmark: str) -> pd.DataFrame:
    """Draw the front of one benchmark, say what the licence changes, and return it as a table."""
    rows = complete(benchmark).dropna(subset=["params_total"])
    names, allowed = front(rows), front(rows[licence[rows.index].isin(["mit", "apache-2.0"])])
    draw_front(rows, benchmark)
    for what, one, other in (("leave the front", names, allowed), ("come onto it", allowed, names)):
        print(f"With MIT and Apache 2.0 alone {what}: {', '.join(n for n in one if n not in other) or 'none'}")
    shown = rows.loc[names]
    table = pd.DataFrame({"parameters (M)": (shown.params_total / 1e6).round(1), benchmark: shown.score})
    languages = shown.languages_mteb.astype("Int64").astype(object).fillna("unknown")
    return table.assign(licence=licence[names], languages=languages)


show_front("MTEB(eng, v2)")

# %%
show_front("MTEB(Multilingual, v2)")

# %% [markdown]
# The two fronts differ: a model's place depends on the benchmark. Mind the column of languages: a model of one
# language can stand on the multilingual front only because no smaller model was better there. And the axis decides
# too. Parameters stand for memory; how far they stand for speed, we shall see.
#
# ## The comparison matrix
#
# About a dozen current models and three older ones as a reference; bf16 means weights of two bytes a parameter. The
# last column was measured on **twins**: the architecture with random weights, fp32, one CPU thread, the median of
# those of one shape. It says how fast, never how good. "About" marks what was extrapolated from a model's first
# layers; some models have no twin, and some haven't been measured.

# %%
older = ["all-MiniLM-L6-v2", "bge-small-en-v1.5", "multilingual-e5-large"]
compared = [*older, "potion-retrieval-32M", "gte-modernbert-base", "snowflake-arctic-embed-l-v2.0"]
compared += ["Qwen3-Embedding-0.6B", "Qwen3-Embedding-8B", "embeddinggemma-300m", "embeddinggemma-2"]
compared += ["granite-embedding-english-r2", "granite-embedding-311m-multilingual-r2", "jina-embeddings-v5-text-small"]
compared += ["harrier-oss-v1-0.6b", "F2LLM-v2-0.6B", "KaLM-Embedding-Gemma3-12B-2511"]
rows = facts.loc[compared]
measured = twins.measured().query("device == 'cpu' and dtype == 'float32'").drop_duplicates("hub_id", keep="last")
measured = measured.set_index("hub_id")
speeds, noise = twins.speeds()
on = measured.iloc[0]
print(f"{rows.hub_id.isin(speeds).sum()} of {len(rows)} measured on {on.hardware}, {on.threads} thread, ", end="")
print(f"{on.tokens} tokens a text, torch {on.torch}, {on.date}")


# %%
def sides(name: str) -> str:
    """On which sides a model wants a prompt, as far as the catalogue knows."""
    card = catalog.card(name)
    known = card.query_prompt is not None
    return " + ".join(side for side, text in card.prompts.items() if text) or ("none" if known else "unknown")


def tokens_a_second(hub_id: str) -> str:
    """What was measured on a model's twin, in words."""
    if hub_id not in speeds:
        return "not measured"
    extrapolated = hub_id in measured.index and measured.layers_run[hub_id] < measured.layers[hub_id]
    return f"{'about ' if extrapolated else ''}{speeds[hub_id]:.0f}"


# %%
matrix = pd.DataFrame(
    {
        "dims": rows.dims,
        "tokens": rows.max_tokens.astype("Int64").astype(object).where(rows.layers != 0, "no limit"),
        "params (M)": (rows.params_total / 1e6).round().astype("Int64"),
        "bf16 (MB)": (rows.params_total * 2 / 1e6).round().astype("Int64"),
        "licence": licence[compared],
        "languages": rows.languages_mteb.astype("Int64"),
        "Matryoshka": rows.matryoshka.map({True: "yes", False: "no"}),
        "remote code": rows.trust_remote_code.map({True: "yes", False: "no"}),
        "prompts": [sides(name) for name in compared],
        "tokens/s (CPU)": [tokens_a_second(hub_id) for hub_id in rows.hub_id],
    }
).astype(object)
matrix.where(matrix.notna(), "unknown")

# %% [markdown]
# Languages are the number that mteb lists; publishers often claim more. And is the larger model always the slower
# one? **Decide, then run,** over all that was measured. Twins of the same shape don't come out quite alike, so only
# what goes beyond that counts.

# %%
size, pace = measured.parameters.to_numpy(), measured.tokens_per_s.to_numpy()
surprises = np.argwhere((size[:, None] > size) & (pace[:, None] > noise * pace))
print(f"Twins of the same shape differ by a factor of up to {noise:.2f}.")
print(f"Pairs in which the larger model is faster by more than that: {len(surprises)}")
if len(surprises):
    a, b = max(surprises, key=lambda couple: pace[couple[0]] / pace[couple[1]])
    for i in (a, b):
        table = (catalog.card(measured.index[i]).params_embedding or float("nan")) / 1e6
        print(f"    {measured.index[i]}: {pace[i]:.0f} tokens/s, {size[i] / 1e6:.0f}M parameters, ", end="")
        print(f"{table:.0f}M of them in the token table")

# %% [markdown]
# A token table is only looked up: a large vocabulary costs memory and hardly any time. What costs time is the rest,
# the number of layers and their width.
#
# ## Don't trust the card: check
#
# Public metadata are typed in by people. The catalogue keeps a note where it had to correct one:

# %%
wrong = {"gte-Qwen2-1.5B-instruct": "dims_note"}
wrong |= dict.fromkeys(
    ["multilingual-e5-large", "paraphrase-multilingual-mpnet-base-v2", "granite-embedding-311m-multilingual-r2"],
    "max_tokens_note",
)
for name, note in wrong.items():
    column = note.removesuffix("_note")
    print(f"{name}: {column} is {facts.loc[name, column]:.0f}; {facts.loc[name, note]}")
twin_count, known = twins.parameter_count("gte-Qwen2-1.5B-instruct"), facts.params_total["gte-Qwen2-1.5B-instruct"]
print(f"gte-Qwen2-1.5B-instruct rebuilt with 1536 dimensions: {twin_count:,} parameters, published {known:,.0f}")

# %% [markdown]
# Check yourself what your code relies on, once the model is loaded. One function does it for most
# Sentence Transformers models.


# %%
def compare(model: sentence_transformers.SentenceTransformer, card: catalog.Card) -> pd.DataFrame:
    """A loaded model beside what its card says; unknown facts are left out."""
    norms = np.linalg.norm(model.encode(["one text", "another, somewhat longer text"]), axis=1)
    prompt = (card.prompts["query"] or "none") if card.query_prompt else None
    rows = {
        "dims": (card.dims, model.get_embedding_dimension()),
        "tokens": (card.max_tokens, model.max_seq_length),
        "parameters": (card.params_total, sum(p.numel() for p in model.parameters())),
        "unit vectors": (card.outputs_normalized, bool(np.allclose(norms, 1, atol=1e-2))),
        "query prompt": (prompt, model.prompts.get("query") or "none"),
    }
    table = pd.DataFrame(rows, index=["card", "model"], dtype=object).T
    return table.assign(agree=table.card == table.model)[table.card.notna()]


compare(mini, catalog.card("all-MiniLM-L6-v2"))

# %% [markdown]
# And the check must be able to fail. The same model held against a card with the two usual mistakes: the size of
# the position table taken for the context, and the width inside a layer for the dimensions.

# %%
inside = mini[0].model.config
false = {"max_tokens": inside.max_position_embeddings, "dims": inside.intermediate_size}
checked = compare(mini, catalog.card("all-MiniLM-L6-v2").model_copy(update=false))
print("wrong on the false card:", ", ".join(checked.index[~checked.agree.astype(bool)]))
for name, model in loaded.items():
    if models.weights(model).real:
        checked = compare(model, catalog.card(name))
        print(f"{name}: differs in {', '.join(checked.index[~checked.agree.astype(bool)]) or 'nothing'}")
    else:
        print(f"{name}: a stand-in; this check needs the hub's weights")

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
# Test yourself: Why is a score at a low zero-shot share not to be read like one at a high share? Why can't a causal
# model use the first token's vector? Two models, one with 40 and one with 41 of 41 tasks: what can you say?
#
# Now the exercise: [fronts, filters and a static model](../exercises/07_current_models/07_current_models.ipynb)
#
# Sources: the catalogue `helpers/facts/models.csv` with a source for each figure (mteb's model metadata; the
# results repository embeddings-benchmark/results of 2026-08-20; model cards); Warner and others 2024,
# *ModernBERT* ([arXiv](https://arxiv.org/abs/2412.13663)); Zhang and others 2025, *Qwen3 Embedding*
# ([arXiv](https://arxiv.org/abs/2506.05176)); Tulkens and van Dongen 2024, *Model2Vec*
# ([code](https://github.com/MinishLab/model2vec)); Arora and others 2017, *A simple but tough-to-beat baseline for
# sentence embeddings*.
