# %% [markdown]
# # 00 · Start here
#
# After this lesson you can
# - **search** five sentences by meaning, which is what all of this is for,
# - **tell** the kinds of weights apart, and what may be concluded from each,
# - **find** your way: machine, lessons, paths, exercises, times.
#
# {{minutes}} minutes · up to {{memory_mb}} MB of memory · {{download}}
#
# A program that looks for words finds "car" and misses "vehicle". An *embedding model* turns a text into a list of
# numbers so that texts of like meaning get like numbers. Search, deduplication, recommendation and the retrieval
# before a language model's answer rest on it. You can buy embeddings by the million tokens from an API. Or you can run
# an open model yourself: no text leaves your house, nobody limits the rate or withdraws the model, nothing is billed
# by the token; in return the machine, its updates and its nights are yours. This course shows the open models, how to
# choose one, how to run it and what that costs, and it measures what it says. At its end stands a benchmark that ranks
# models on your own texts.
#
# What stands under the cells was printed on the authors' machine, until you run them on yours. The first cell of each
# lesson imports the libraries: some seconds, up to a minute the first time. While a cell runs it shows `[*]`.

# %%
import pandas as pd

from helpers import bundled, doctor, load, models, weights
from helpers.measure.environment import environment

print(f"device {models.choose_device()}, torch {environment()['versions']['torch']}")

# %% [markdown]
# ## A first search
#
# Five sentences and a question. **Before you run it:** which sentence answers the question, and which words do the two
# share?

# %%
sentences = [
    "Bread keeps longest in a linen bag at room temperature.",
    "The ferry does not sail when the wind is above force nine.",
    "Our vehicle would not start on the coldest morning of the year.",
    "Parcels are handed out until eight in the evening.",
    "He plays the cello in a small orchestra.",
]
question = "Why did my car refuse to go in winter?"
minilm = load("all-MiniLM-L6-v2")
similarity = minilm.similarity(minilm.encode_query(question), minilm.encode_document(sentences))[0]
pd.DataFrame({"similarity": similarity, "sentence": sentences}).sort_values("similarity", ascending=False).round(3)

# %% [markdown]
# That is the whole idea. Lesson 01 takes it apart, and the [glossary](../docs/glossary.md) has the words.
#
# ## The map
#
# Each lesson is a notebook in `notebooks/`. An exercise has the number of its lesson: work in `exercises/`,
# look into `solutions/` afterwards. 00 and 01 come first; then take the path that you came for.

# %%
course = doctor.course()
lessons = {entry["name"][:2]: entry for entry in course["lesson"]}
minutes = {n: (entry["minutes"], entry.get("exercise", {}).get("minutes", 0)) for n, entry in lessons.items()}
print(f"all {len(lessons)} lessons: {sum(a for a, _ in minutes.values()) / 60:.1f} hours,", end=" ")
print(f"with their exercises {sum(map(sum, minutes.values())) / 60:.1f}")
for path in course["paths"].values():
    hours = [sum(minutes[n][kind] for n in path["lessons"]) / 60 for kind in (0, 1)]
    print(f"{path['title']}: {', '.join(path['lessons'])}; {hours[0]:.1f} hours and {hours[1]:.1f} of exercises")

# %%
rows = [(f"{n} {entry['title']}", *minutes[n], entry["memory_mb"]) for n, entry in lessons.items()]
table = pd.DataFrame(rows, columns=["lesson", "minutes", "exercise", "memory (MB)"])
axes = table[::-1].plot.barh(x="lesson", y=["minutes", "exercise"], stacked=True, figsize=(8, 1 + len(table) / 3))
axes.set_xlabel("minutes (lesson, then exercise)")
table.style.hide(axis="index")

# %% [markdown]
# ## Is this machine ready?
#
# The next cell looks for the usual troubles: an untested Python, missing packages, a build of PyTorch that doesn't
# fit, a kernel of another environment, too little memory or disk, a hub out of reach. Each comes with its mend.
# Before anything is installed, `make doctor` runs the same checks.

# %%
found = doctor.findings()
print("\n".join(map(str, found)) if found else "Nothing was found.")
must = sum(not finding.harmless for finding in found)
print(f"\n{must} to mend first." if must else "\nNothing stands in the way.")

# %% [markdown]
# If something breaks later, put this table into your bug report. It holds no user name and no path.

# %%
facts = {what: value for part in environment().values() for what, value in part.items()}
here = [", ".join(value) if isinstance(value, list) else str(value) for value in facts.values()]
pd.DataFrame({"what": [what.replace("_", " ") for what in facts], "here": here}).style.hide(axis="index")

# %% [markdown]
# ## Five kinds of weights
#
# A model's *weights* are the numbers that its training found. *MiniLM* (all-MiniLM-L6-v2) is the small model that
# comes with the course and searched above, *BGE* another family (lesson 02); a *prompt* is a fixed text that some
# models expect before another. No lesson needs a network, and no number pretends. So every model says what its weights
# are, once, when it is loaded:
#
# | kind | what it is | what may be concluded |
# |---|---|---|
# | `hub` | the real weights, pinned, from the Hugging Face hub, or the same bytes from a package | everything |
# | `bundled` | real weights that were installed with the course, or really derived from those | everything |
# | `quantised` | real weights that somebody rounded, under a name that says so | everything of the rounded model |
# | `stand-in` | MiniLM behind another model's prompts and dimensions | mechanics only: shapes, prompts, calls |
# | `twin` | another model's exact architecture with random weights | speed and memory only |
#
# (A folder of your own is called `local`, and counts as real.)
#
# **Before you run it:** the cell loads BGE by its hub name. Which kind will you get, with and without a network?

# %%
model = load("BAAI/bge-small-en-v1.5")
print(f"\nvectors of {model.get_embedding_dimension()} dimensions, weights: {weights(model).kind}")
print("hub reachable:", models.hub_reachable())

# %% [markdown]
# A stand-in has the right shape and the right prompts, so the code you write with it is the code you will run with the
# real model. Its quality is MiniLM's, so the benchmark refuses to rank it. Without a hub the next cell shows that
# refusal, a failure on purpose, and the mend is to ask for a model whose weights are here; with a hub it measures BGE
# itself.

# %%
from helpers import benchmark, data

pairs_only = data.Dataset("course pairs", pairs=data.pairs())
chosen = benchmark.Settings()
for name in ("bge-small-en-v1.5", "all-MiniLM-L6-v2-static-256"):
    try:
        result = benchmark.measure(name, pairs_only, chosen)
        print(f"{name}: measured, {result.weights}")
    except ValueError as refusal:
        print(f"{name}: refused, {refusal}")

# %% [markdown]
# Whole models without a hub: which are here, and which one command away, as packages of data of which nothing is run.

# %%
pd.DataFrame(doctor.real_weights()).style.hide(axis="index")

# %% [markdown]
# These are made of the first, or of words alone, and always here. All are real; their quality and speed differ, which
# is what lesson 14 measures.

# %%
pd.DataFrame([(n, b.dims, b.what) for n, b in bundled.MODELS.items()], columns=["model", "dims", "what it is"])

# %% [markdown]
# ## How exercises work
#
# A task is a function with its signature and docstring and no body. `check("01.1", your_function)` has four
# outcomes: **right**, **wrong** (with what was measured and what to look at), **error** (your code raised) and
# **not attempted**. `hint("01.1", 1)` nudges, later hints say more.

# %%
from helpers.checks import check, hint, progress


def untouched(token_embeddings, attention_mask):
    """A stub, as you will find it."""


def careless(token_embeddings, attention_mask):
    """The most usual mistake."""
    return token_embeddings.mean(dim=1)


print(check("01.1", untouched))
print(check("01.1", careless, keep=False))
hint("01.1", 1)

# %% [markdown]
# What you try is kept in a small file on this machine (these two were a show and are not), and `progress()` shows it.
# A task once right stays right, whatever you try afterwards. Delete the file to begin anew.

# %%
progress()

# %% [markdown]
# ## Recap
#
# - **Search**: encode the texts, encode the question, sort by similarity.
# - **Tell apart**: `hub`, `bundled`, `quantised` and `local` are real; a `stand-in` shows mechanics, a `twin`
#   speed.
# - **Find**: `doctor.findings()` names what stands in the way, `environment()` is what to quote; lesson, exercise and
#   solution share a number, and `progress()` is your place among them.
#
# Test yourself: Why may a stand-in not be ranked? What does a twin tell you before you rent a GPU? What does
# `check` say about a function that returns nothing?
#
# Next: [01 Sentence Transformers](01_sentence_transformers.ipynb)
