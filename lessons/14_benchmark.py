# %% [markdown]
# # 14 · The benchmark
#
# After this lesson you can
# - **run** a benchmark of embedding models on the course's data or your own,
# - **read** its ranking: shared ranks, intervals, and the front of quality and speed,
# - **judge** what it leaves open.
#
# {{minutes}} minutes · up to {{memory_mb}} MB of memory · {{download}}
#
# This notebook is also the report: papermill fills the next cell with your parameters and keeps the executed
# copy. `papermill --help-notebook notebooks/14_benchmark.ipynb` lists them.

# %% tags=["parameters"]
models: str = "bundled"  # names with commas between; "bundled" is every offline model
dataset: str = "course"  # "course", a pairs file (.csv, .tsv, .jsonl) or a BEIR folder
source: str = "auto"  # where weights come from: auto, hub or bundled
device: str = "auto"  # auto, cuda, mps or cpu
dtype: str = "auto"  # auto, float32, bfloat16 or float16
batch_size: int = 32  # texts a batch
repeats: int = 3  # timed runs a model, after a warm-up
seed: int = 0  # of the bootstrap and of the draw of texts to time
output_dir: str = "results"  # folder for the table, the figure and all numbers
quality: str = "auto"  # the score that ranks: auto, ndcg@10, roc_auc, average_precision, spearman, separation, ...
speed_cap: float = 500.0  # texts/s above which speed adds nothing to the combined score
trust_remote_code: bool = False  # let models whose catalogue row says so run their own code

# %%
from IPython.display import display

from helpers import benchmark
from helpers.benchmark import plots

chosen = benchmark.settings(benchmark.notebook_variables())
print(f"{len(chosen.models)} models on '{chosen.dataset}': {', '.join(chosen.models)}")

# %% [markdown]
# ## Run
#
# Each model is loaded, encodes every distinct text once, is scored and timed. What is finished is kept: if the
# run is interrupted, the next one goes on with the models that are missing. A model that can't be had is named
# with its reason, and the others go on.

# %%
report = benchmark.run(chosen)
print(benchmark.summary(report))

# %% [markdown]
# **Rank** is one more than the number of models whose whole interval lies above: models that the data can't
# tell apart share it. **Combined** is quality × (0.7 + 0.3 × speed / cap), with speed counted up to the cap; it
# depends on the cap, so read it beside the figure. Every score, with its interval:

# %%
benchmark.table(report).style.hide(axis="index")

# %% [markdown]
# ## Quality against speed
#
# **Before you look:** which models does nothing else beat at both?

# %%
figure, shown = plots.pareto(report)
display(figure)
shown

# %%
front = shown.loc[shown["on the front"], "model"].tolist()
print(f"On the front: {', '.join(front)}. Every other model is matched or beaten at both by one of these.")

# %% [markdown]
# ## How the similarities lie
#
# For labelled pairs: the two distributions that separation, ROC-AUC and average precision sum up. The overlap is
# the share of pairs that even the best threshold gets wrong.

# %%
if report.gold is not None and not report.graded:
    distributions, overlap = plots.similarities(report)
    display(distributions)
    display(overlap)
else:
    print(f"'{report.dataset}' has no pairs with labels 0 and 1, so there are no two groups to show.")

# %% [markdown]
# Separation is a difference of means on the model's own scale. A model whose cosines lie close together can
# order every pair rightly and still show a small gap; the next cell does that to the first model's
# similarities. Its separation collapses, and its ROC-AUC stays: so compare models by the second.

# %%
import numpy as np

from helpers.measure import metrics

if report.gold is not None and not report.graded:
    similarity, gold = np.array(report.results[0].similarities), np.array(report.gold)
    for name, values in {"as measured": similarity, "squeezed into 0.8 to 1": 0.9 + similarity / 10}.items():
        scores = metrics.pair_scores(values, gold, graded=False)
        print(f"{name:>22}: separation {scores['separation']}, ROC-AUC {scores['roc_auc']}")

# %% [markdown]
# ## Keep
#
# The table as CSV, everything (settings, environment, each similarity) as JSON, the figure as PNG.

# %%
for path in benchmark.save(report, figure):
    print(path.as_posix())

# %% [markdown]
# ## Recap
#
# - **Run**: name models and data in the parameters; on the command line,
#   `papermill notebooks/14_benchmark.ipynb results/benchmark.ipynb -p dataset my_pairs.csv`.
# - **Read**: first the intervals, then the front, last the combined number.
# - **Judge**: a few hundred pairs tell big differences from none; they don't tell the second decimal. Speed holds
#   for this machine, these lengths and this batch size. And data of another field may turn the order round:
#   bring your own.
#
# Test yourself: Two models share a rank; what would it take to tell them apart? Why is separation no fair
# comparison? What happens to the combined score on a GPU if the cap stays as it is?
#
# Now build it yourself: [exercise 14](../exercises/14_benchmark/14_benchmark.ipynb)
#
# Sources: Efron and Tibshirani 1993, *An Introduction to the Bootstrap*; Järvelin and Kekäläinen 2002 (nDCG);
# Thakur et al. 2021, *BEIR* ([arXiv](https://arxiv.org/abs/2104.08663)).
