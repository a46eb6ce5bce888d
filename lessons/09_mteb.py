# %% [markdown]
# # 09 · MTEB
#
# After this lesson you can
# - **navigate** the leaderboard from code: benchmarks, tasks, and the filters that decide,
# - **check** a model's metadata and its zero-shot share before you believe a score,
# - **evaluate** a model on a task of your own with `mteb`, and get the same figure from the course's helpers.
#
# {{minutes}} minutes · up to {{memory_mb}} MB of memory · {{download}}
#
# The [leaderboard](https://huggingface.co/spaces/mteb/leaderboard) is a page over a Python library, `mteb`. All that
# it filters by is in the library, and the library works offline. Lesson 08 used the scores; here is where they come
# from.

# %% tags=["parameters"]
source: str = "auto"  # where the hub answers, two real models are run on NanoBEIR; "bundled" leaves that out
nano: str = "NanoQuoraRetrieval"  # which of its tasks, with commas between; "all" takes hours on a CPU

# %%
import logging
import warnings
from dataclasses import replace
from typing import Any

import datasets
import huggingface_hub
import mteb
import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib import pyplot as plt
from mteb.abstasks import AbsTaskRetrieval, AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata

from helpers import benchmark, catalog, choosing, data, load, models, weights
from helpers.measure import metrics

# The next four lines keep this lesson quiet without a network; a program of yours doesn't need them.
huggingface_hub.constants.HF_HUB_OFFLINE = not models.hub_reachable()  # no waiting for a hub that doesn't answer
warnings.filterwarnings("ignore", category=FutureWarning)
logging.getLogger("mteb").setLevel(logging.ERROR)
datasets.disable_progress_bars()
mini = load("all-MiniLM-L6-v2", device="cpu")
print(f"device {mini.device}, mteb {mteb.__version__}; weights {weights(mini).kind}")

# %% [markdown]
# ## A benchmark is a list of tasks
#
# The first choice on the page is the benchmark, and it decides more than any filter. In code it has an exact name. A
# task has a type: `Retrieval` is search, `STS` compares pairs of sentences, `Clustering` groups texts, and so on.

# %%
names = ["MTEB(eng, v1)", "MTEB(eng, v2)", "MTEB(Multilingual, v2)"]
boards = {name: mteb.get_benchmark(name) for name in names}
kinds = {name: pd.Series([t.metadata.type for t in board.tasks]).value_counts() for name, board in boards.items()}
table = pd.DataFrame(kinds).fillna(0).astype(int)
table.loc["all tasks"] = table.sum()
table

# %% [markdown]
# A "mean over tasks" weights each type by its number of tasks, so it depends on this table; the page also shows the
# mean over the types' means. Its rank is by neither but by **Borda count**: each task is a voter, and gives a model a
# point for every other model that it beats there. **Decide, then run:** v2 is the newer English benchmark. How many of
# v1's tasks are still in it?

# %%
tasks = {name: {t.metadata.name for t in board.tasks} for name, board in boards.items()}
one, two = tasks["MTEB(eng, v1)"], tasks["MTEB(eng, v2)"]
print(f"in both {len(one & two)}, only in v1 {len(one - two)}, only in v2 {len(two - one)}")
print("only in v1:", ", ".join(sorted(one - two)[:5]), "...")
print("only in v2:", ", ".join(sorted(two - one)[:5]), "...")

# %% [markdown]
# Tasks with a new ending are new data. So the two means are over different things, and **v1 and v2 never share a
# column**. **Decide, then run:** of models that ran both, do the levels differ, or the order, or both?

# %%
both = {c.name: (choosing.score(c, "MTEB(eng, v1)"), choosing.score(c, "MTEB(eng, v2)")) for c in catalog.cards()}
both = pd.DataFrame({n: v for n, v in both.items() if None not in v}, index=names[:2]).T
shift = both[names[1]] - both[names[0]]
print(f"{len(both)} models have complete runs of both; v2 minus v1 is {shift.min():+.2f} to {shift.max():+.2f}.")
ranks, points = both.rank(ascending=False), both.to_numpy()
gaps = points[:, None] - points[None]  # of every two models, on both benchmarks
turned = np.triu(gaps[..., 0] * gaps[..., 1] < 0)
clear = turned & (np.abs(gaps).min(axis=2) > 1)
order = both.corr("spearman").iloc[0, 1]
print(f"Their order: rank correlation {order:.3f}; of {len(both) * (len(both) - 1) // 2} pairs of models ", end="")
print(f"{turned.sum()} are turned round, {clear.sum()} of them with a gap above one point on both.")
print("The levels can't be compared; the order", "nearly can." if order > 0.95 and not clear.any() else "can't either.")

# %%
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.scatter(both[names[0]], both[names[1]], color="tab:blue", label="a model with both runs")
ends = [both.min().min(), both.max().max()]
axes.plot(ends, ends, color="grey", linestyle="--", label="equal")
axes.set(xlabel="MTEB(eng, v1), mean over tasks (0 to 100)", ylabel="MTEB(eng, v2), mean over tasks (0 to 100)")
axes.legend()
plt.show()
pd.DataFrame({"rank on v1": ranks[names[0]], "rank on v2": ranks[names[1]]}).astype(int).sort_values(
    "rank on v2"
).head()

# %% [markdown]
# ### Your use as a filter on tasks
#
# `get_tasks` filters as the page does: by type, language and domain. A score on the tasks like yours says more than
# the mean of all.

# %%
wanted = {"task_types": ["Retrieval"], "languages": ["deu"], "domains": ["Legal"]}
for until in range(1, len(wanted) + 1):
    chosen = dict(list(wanted.items())[:until])
    print(f"{len(mteb.get_tasks(**chosen)):4d} tasks for {chosen}")

# %% [markdown]
# ### nDCG@10 by hand
#
# Search tasks are judged by nDCG@10, so work it out once. A right document at rank one counts one; further down it
# counts one over the logarithm to base two of its rank plus one; below the tenth it counts nothing. The sum is divided
# by what the best possible order would have got. **Decide, then run:** two right documents, found at ranks two and
# five: more than one half, or less?

# %%
found, right = ["d7", "d1", "d9", "d4", "d2", "d8"], {"d1", "d2"}
gain = sum(1 / np.log2(rank + 1) for rank, document in enumerate(found[:10], start=1) if document in right)
ideal = sum(1 / np.log2(rank + 1) for rank in range(1, len(right) + 1))
run = {"q": {document: -float(rank) for rank, document in enumerate(found)}}
library = metrics.per_query(run, {"q": dict.fromkeys(right, 1)})["ndcg@10"][0]
assert np.isclose(gain / ideal, library)
print(f"gain {gain:.3f} of at most {ideal:.3f}: nDCG@10 {gain / ideal:.3f}, and by trec_eval {library:.3f}")

# %% [markdown]
# ## The filters on models
#
# Today's page has: availability (open weights), compatibility (Sentence Transformers), parameters, instructions,
# zero-shot, model type. The same in code; each filter alone, then those of a careful reader together.

# %%
board = list(boards["MTEB(eng, v2)"].tasks)
filters: dict[str, dict[str, Any]] = {
    "all": {},
    "availability": {"open_weights": True},
    "compatibility": {"frameworks": ["Sentence Transformers"]},
    "parameters": {"n_parameters_range": (None, 600_000_000)},
    "instructions": {"use_instructions": False},
    "model type": {"model_types": ["dense"]},
}
found = {name: len(mteb.get_model_metas(**chosen)) for name, chosen in filters.items()}
careful = mteb.get_model_metas(**filters["availability"], **filters["compatibility"], **filters["parameters"])
pd.Series(found | {"the first three together": len(careful)}, name="models that mteb knows").to_frame()

# %% [markdown]
# "Open weights" isn't "free to use". The page has no filter for the licence; the metadata has it.

# %%
licences = pd.Series([meta.license or "unknown" for meta in careful]).astype(str)
licences.str.replace("http.*", "its own text", regex=True).value_counts().head(8).to_frame("models")

# %% [markdown]
# ## The zero-shot share
#
# `training_datasets` names what a model was trained on, as far as its publisher says. The share is counted by tasks:
# the part of the benchmark that is *not* among them. First by hand, then mteb's own.


# %%
def share_by_hand(model: str, name: str) -> int | None:
    """The percentage of a benchmark's tasks that a model wasn't trained on; None if nothing is declared."""
    trained = mteb.get_model_meta(model).get_training_datasets()
    return None if trained is None else int(100 - 100 * len(trained & tasks[name]) / len(tasks[name]))


asked = ["BAAI/bge-small-en-v1.5", "Qwen/Qwen3-Embedding-0.6B", "nomic-ai/nomic-embed-text-v1.5", "thenlper/gte-small"]
asked += [c.hub_id for c in catalog.cards() if c.name in ("F2LLM-v2-0.6B", "harrier-oss-v1-0.6b")]
shares = {}
for model in asked:
    meta = mteb.get_model_meta(model)
    shares[model] = {name: meta.zero_shot_percentage(list(boards[name].tasks)) for name in names[1:]}
    assert shares[model] == {name: share_by_hand(model, name) for name in names[1:]}
    shares[model]["zero-shot on eng, v2"] = meta.is_zero_shot_on(board)
pd.DataFrame(shares).T.astype(object).fillna("unknown")

# %% [markdown]
# `is_zero_shot_on` is strict: one shared task makes it false. Nothing declared gives `None`: unknown, neither 0 nor
# 100. A low share isn't cheating, but such a score says less about *your* data.
#
# ## Data that leaked
#
# A share counts declared training sets. Public data also get into training undeclared: by crawls, by models that write
# training texts. Two answers were tried. **RTEB** keeps some of its tasks private; the column of their scores was
# withdrawn in January 2026, since one vendor had their data (mteb, issue 3934). And there are **decontaminated** copies
# of search tasks, without the queries that were found in public training data. What is left of them:


# %%
def queries_of(name: str) -> int:
    """Queries in the test split of a task, from mteb's own statistics."""
    stats = mteb.get_task(name).metadata.descriptive_stats["test"]
    return stats.get("num_queries") or stats["queries_text_statistics"]["unique_texts"]


left = {name: queries_of(name + "Decontaminated") for name in ("SciFact", "NFCorpus", "ArguAna", "FiQA")}
whole_names = {name: {"FiQA": "FiQA2018"}.get(name, name) for name in left}
before = {name: queries_of(full) for name, full in whole_names.items()}
rtebs = [b.name for b in mteb.get_benchmarks() if b.name.startswith("RTEB")]
print(f"{len(rtebs)} benchmarks are called RTEB: {', '.join(rtebs)}")
pd.DataFrame({"queries": before, "left": left})

# %% [markdown]
# Some keep nearly all their queries, some a few dozen. A score on so few has a wide interval, so those tell cheating
# from luck only where the gap is large. What nobody can have trained on is data of your own that were never published.
#
# ## Metadata can be wrong
#
# The metadata are typed in by people. The course's catalogue was checked against configurations and model cards, so
# hold one against the other.

# %%
rows, absent = [], []
for card in catalog.cards():
    try:
        meta = mteb.get_model_meta(card.hub_id)
    except KeyError:
        absent.append(card.name)
        continue
    dims = meta.embed_dim if isinstance(meta.embed_dim, list) else [meta.embed_dim]
    if card.dims not in dims:
        rows.append((card.name, "dimensions", meta.embed_dim, card.dims))
    if card.max_tokens and meta.max_tokens != card.max_tokens:
        rows.append((card.name, "tokens", int(meta.max_tokens or 0), card.max_tokens))
print(f"{len(rows)} disagreements; mteb doesn't know {', '.join(absent) or 'none of ours'}.")
pd.DataFrame(rows, columns=["model", "what", "mteb says", "the catalogue says"])

# %% [markdown]
# XLM-R's position table has two rows more than it can use, and somebody typed in the table's size, for `e5-large-v2`
# too, which isn't even XLM-R. The dimensions of `gte-Qwen2-1.5B` are its inner width, not its vector's. If such a
# number goes into your index, it breaks: ask the model itself, `model.get_embedding_dimension()` and
# `model.max_seq_length`.
#
# ## Tasks of your own
#
# A benchmark can't know your data. An mteb task is a class: some metadata, and a `load_data` that fills `dataset`.
# Nothing is downloaded. First an **STS** task (semantic textual similarity): pairs of sentences with a score, and the
# question is whether a model orders the pairs as people did. Every third of the course's pairs, to be quick.

# %%
everything = data.pairs()
pairs = data.Pairs(everything.sentence1[::3], everything.sentence2[::3], everything.gold[::3], graded=True)


def described(name: str, kind: str, main_score: str) -> TaskMetadata:
    """The metadata that a task can't do without."""
    origin = {"path": f"local/{name}", "revision": "1"}
    kinds = {"type": kind, "main_score": main_score, "eval_splits": ["test"], "eval_langs": ["eng-Latn"]}
    return TaskMetadata(name=name, description="Data of the course.", dataset=origin, **kinds)


# %%
class CourseSTS(AbsTaskSTS):
    """The course's pairs as an mteb task: 1 is similar, 0 is not."""

    metadata = described("CourseSTS", "STS", "cosine_spearman")
    min_score, max_score = 0, 1

    def load_data(self, *args: Any, **kwargs: Any) -> None:
        """Fill the one split by hand."""
        rows = {"sentence1": pairs.sentence1, "sentence2": pairs.sentence2, "score": pairs.gold}
        self.dataset = {"test": datasets.Dataset.from_dict({name: list(side) for name, side in rows.items()})}
        self.data_loaded = True


# %% [markdown]
# Its main score is **Spearman's** rank correlation of cosine similarity and gold score. (Where the gold score has two
# values only, as here, it can't reach 1, and these pairs are full of look-alikes: compare models by it, not data
# sets.) Then a **retrieval** task, judged by nDCG@10. Its documents are cut to their first 25 words, to be quick.

# %%
whole = data.retrieval()
search = replace(whole, corpus={name: " ".join(text.split()[:25]) for name, text in whole.corpus.items()})


class CourseRetrieval(AbsTaskRetrieval):
    """The course's retrieval set as an mteb task."""

    metadata = described("CourseRetrieval", "Retrieval", "ndcg_at_10")

    def load_data(self, *args: Any, **kwargs: Any) -> None:
        """Fill the one subset and split by hand."""
        corpus = {"id": list(search.corpus), "text": list(search.corpus.values())}
        corpus["title"] = [""] * len(search.corpus)
        queries = {"id": list(search.queries), "text": list(search.queries.values())}
        split = {"corpus": datasets.Dataset.from_dict(corpus), "queries": datasets.Dataset.from_dict(queries)}
        self.dataset = {"default": {"test": {**split, "relevant_docs": search.qrels, "top_ranked": None}}}
        self.data_loaded = True


# %% [markdown]
# **Decide, then run:** mteb and the course's `benchmark.score` encode, rank and score on their own. Will the figures
# be equal?

# %%
static = load("all-MiniLM-L6-v2-static-256", device="cpu")
course = data.Dataset("course", pairs=pairs, retrieval=search)
rows = []
for name, model in {"MiniLM": mini, "static": static}.items():
    ours = benchmark.score(model, course)[0]
    for task, score in ((CourseSTS(), "spearman"), (CourseRetrieval(), "ndcg@10")):
        result = mteb.evaluate(model, task, cache=None, show_progress_bar=False)
        theirs = float(result.task_results[0].get_score())
        assert abs(theirs - ours[score].value) < 1e-4, (score, theirs, ours[score])  # mteb rounds
        rows.append((name, score, theirs, ours[score].value, str(ours[score])))
pd.DataFrame(rows, columns=["model", "score", "mteb", "helpers.benchmark", "with its interval"])

# %% [markdown]
# The same figures, to mteb's rounding. The helpers add the interval over pairs or queries, which a leaderboard doesn't
# show.
#
# A benchmark of your own takes any model. Real weights of two more families may be here (packages, `make weights`):
# all-mpnet-base-v2, and multilingual-e5-small rounded to 4 bits. A stand-in is left out. **Decide, then run:** on the
# leaderboard mpnet stands above MiniLM; here too, on both tasks?

# %%
others = {name: load(name, device="cpu") for name in ("all-mpnet-base-v2", "multilingual-e5-small-q4")}
names_of = {"spearman": "CourseSTS", "ndcg@10": "CourseRetrieval"}
mine: dict[str, dict[str, float]] = {}
for name, score, theirs, *_ in rows:
    mine.setdefault(name, {})[names_of[score]] = theirs
for name, model in others.items():
    for task in (CourseSTS(), CourseRetrieval()) if weights(model).real else ():
        result = mteb.evaluate(model, task, cache=None, show_progress_bar=False)
        mine.setdefault(name, {})[task.metadata.name] = float(result.task_results[0].get_score())
made = pd.DataFrame(mine).T
print("; ".join(f"{task}: {', '.join(made[task].sort_values(ascending=False).index)}" for task in made))
made.assign(rank=made.rank(ascending=False).mean(axis=1)).round(4)

# %% [markdown]
# The last column is the mean of the ranks, near to what Borda's count makes of them. Two tasks are two voters, and
# where they disagree no mean tells you which of them is your use. Whether two models that stand side by side differ at
# all, the page doesn't say either: that takes the same queries, compared one by one (lessons 08 and 14).
#
# A leaderboard for a task of your choice, with everybody's public results, is three lines where the network is
# (mteb's documentation; not run here, since the results repository is large):
#
#     cache = mteb.ResultCache()
#     cache.download_from_remote()
#     cache.load_results(models=["BAAI/bge-m3", "thenlper/gte-small"], tasks=["SciFact"]).to_dataframe()
#
# ## The real models, when the hub is in reach
#
# NanoBEIR is a small benchmark of search tasks, each with few queries and a few thousand documents. mteb pins the
# revision of each data set, as the catalogue does that of each model. One task needs a download and a few minutes of
# a CPU; the page's numbers are over all of them.

# %%
board = mteb.get_benchmark("NanoBEIR")
chosen = list(board.tasks) if nano == "all" else mteb.get_tasks(tasks=nano.split(","))
print(f"{len(chosen)} of {len(board.tasks)} tasks: {', '.join(task.metadata.name for task in chosen)}")
if source == "bundled" or not models.hub_reachable():
    print("Not run here; with the hub in reach, this would be.")
else:
    loaded = {"MiniLM": load("all-MiniLM-L6-v2"), "bge-small": load("BAAI/bge-small-en-v1.5", source=source)}
    real = {n: m for n, m in loaded.items() if weights(m).real}  # a stand-in has no quality to measure
    results = {n: mteb.evaluate(m, chosen, cache=None, show_progress_bar=False) for n, m in real.items()}
    scored = {n: {r.task_name: r.get_score() for r in found.task_results} for n, found in results.items()}
    display(pd.DataFrame(scored).round(4))

# %% [markdown]
# ## Recap
#
# - **Navigate**: a benchmark is a list of tasks under an exact name; other lists give other means. Then filter by
#   weights, compatibility and parameters, and read the licence yourself.
# - **Check**: the zero-shot share is counted by tasks and may be unknown; metadata are typed in and may be wrong.
# - **Evaluate**: a task is a class with your data in it, and two programs give the same figure.
#
# Test yourself: Why can a mean rise from v1 to v2 though the model is the same? What does a share of `None` mean?
# Why is an mteb task of your own data worth more to you than the model's rank?
#
# Now the exercise: [shares, means and ranks](../exercises/09_mteb/09_mteb.ipynb)
#
# Sources: mteb ([code](https://github.com/embeddings-benchmark/mteb)); Muennighoff and others 2022, *MTEB*
# ([arXiv](https://arxiv.org/abs/2210.07316)); Enevoldsen and others 2025, *MMTEB*
# ([arXiv](https://arxiv.org/abs/2502.13595)); the catalogue `helpers/facts/models.csv`.
