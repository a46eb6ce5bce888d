# %% [markdown]
# # 00 · Start here
#
# After this lesson you can
# - **check** whether this machine is ready, and quote what it is in a bug report,
# - **tell** the kinds of weights apart, and what may be concluded from each,
# - **find** your way: lessons, exercises, times.
#
# {{minutes}} minutes · up to {{memory_mb}} MB of memory · {{download}}
#
# What stands under the cells was printed on the authors' machine, until you run them on yours. The first cell of each
# lesson imports the libraries: some seconds, up to a minute the first time. While a cell runs it shows `[*]`.

# %%
import pandas as pd

from helpers import bundled, doctor, load, models, weights
from helpers.measure.environment import environment, hub_cache

print(f"device {models.choose_device()}, torch {environment()['versions']['torch']}")

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
# No lesson needs a network, and no number pretends. So every model says what its weights are, once, when it
# is loaded:
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
print("hub reachable:", models.hub_reachable(), "· models in the local hub cache:", len(hub_cache()))

# %% [markdown]
# A stand-in has the right shape and the right prompts, so the code you write with it is the code you will run
# with the real model. Its quality is MiniLM's, so the benchmark refuses to rank it. The next cell shows that
# refusal: it is a failure on purpose, and the mend is to ask for a model whose weights are here.

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
# ## The map
#
# Each lesson is a notebook in `notebooks/`. An exercise has the number of its lesson: work in `exercises/`,
# look into `solutions/` afterwards. The figure shows how the minutes are spread.

# %%
lessons = doctor.course()["lesson"]
course = pd.DataFrame(
    {
        "lesson": [f"{entry['name'][:2]} {entry['title']}" for entry in lessons],
        "minutes": [entry["minutes"] for entry in lessons],
        "exercise": [entry.get("exercise", {}).get("minutes", 0) for entry in lessons],
        "memory_mb": [entry["memory_mb"] for entry in lessons],
    }
)
axes = course[::-1].plot.barh(x="lesson", y=["minutes", "exercise"], stacked=True, figsize=(8, 1 + len(course) / 3))
axes.set_xlabel("minutes (lesson, then exercise)")
course

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
print(check("01.1", careless))
hint("01.1", 1)

# %% [markdown]
# What you try is kept in a small file on this machine, and `progress()` shows it: run by you, the cell above made
# `01.1` a task that was tried. A task once right stays right, whatever you try afterwards. Delete the file to begin
# anew.

# %%
progress()

# %% [markdown]
# ## Recap
#
# - **Check**: `doctor.findings()` names what stands in the way, `environment()` is what to quote.
# - **Tell apart**: `hub`, `bundled`, `quantised` and `local` are real; a `stand-in` shows mechanics, a `twin`
#   speed.
# - **Find**: lesson, exercise and solution share a number; `course.toml` is the list, `progress()` your place in it.
#
# Test yourself: Why may a stand-in not be ranked? What does a twin tell you before you rent a GPU? What does
# `check` say about a function that returns nothing?
#
# Next: [01 Sentence Transformers](01_sentence_transformers.ipynb)
