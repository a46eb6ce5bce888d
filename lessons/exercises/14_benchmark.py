# %% [markdown]
# # Exercise 14 · {{exercise_title}}
#
# Difficulty {{exercise_difficulty}} of 5 · importance {{exercise_importance}} of 5 · {{exercise_minutes}} minutes ·
# {{exercise_points}} points
#
# Build a benchmark that compares three or more models on the same pairs: quality as separation, speed in texts a
# second, ranked by both. Four functions, then the class that puts them together.

# %% tags=["parameters"]
device: str = "auto"  # auto, cuda, mps or cpu

# %%
import time
from collections.abc import Callable

import numpy as np
from sentence_transformers import SentenceTransformer

from helpers import data, load, weights
from helpers.checks import check, hint

# %% [markdown]
# ## {{14.1}}
#
# Pairs repeat sentences. Encode each distinct text once, all in one call.


# %%
def embed_pairs(
    model: SentenceTransformer, sentence1: list[str], sentence2: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of both sides of each pair.

    Args:
        model: has `encode(list of texts) -> (n, d)`.
        sentence1: n texts, repeats among them.
        sentence2: n texts.

    Returns:
        Two arrays of shape (n, d), row i belonging to pair i.

    >>> one, two = embed_pairs(load("tfidf-4096"), ["a cat", "a dog"], ["a cat", "a cat"])
    >>> one.shape, bool((one[0] == two[1]).all())
    ((2, 4096), True)
    """
    ### BEGIN SOLUTION
    distinct = list(dict.fromkeys([*sentence1, *sentence2]))
    row = {text: i for i, text in enumerate(distinct)}
    vectors = model.encode(distinct)
    return vectors[[row[t] for t in sentence1]], vectors[[row[t] for t in sentence2]]
    ### END SOLUTION


# %%
check("14.1", embed_pairs)

# %%
# hint("14.1", 1)  # take the first # away for a nudge; hint("14.1", 2) says more

# %% [markdown]
# ## {{14.2}}


# %%
def separation(similarities: np.ndarray, labels: np.ndarray) -> float:
    """Mean similarity of the similar pairs minus that of the dissimilar ones.

    Args:
        similarities: (n,) cosine similarities.
        labels: (n,) with 1 for similar and 0 for dissimilar; both occur.

    >>> round(separation(np.array([0.9, 0.7, 0.2]), np.array([1, 1, 0])), 6)
    0.6
    """
    ### BEGIN SOLUTION
    return float(similarities[labels == 1].mean() - similarities[labels == 0].mean())
    ### END SOLUTION


# %%
check("14.2", separation)

# %%
# hint("14.2", 1)  # take the first # away for a nudge; hint("14.2", 2) says more

# %% [markdown]
# ## {{14.3}}
#
# The clock is a parameter, so that it can be checked with a made-up one.


# %%
def texts_per_second(
    model: SentenceTransformer,
    texts: list[str],
    repeats: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """The median encoding rate over the repeats, after one warm-up.

    Args:
        model: has `encode(list of texts)`.
        texts: what to encode, all in one call each time.
        repeats: how many timed runs.
        clock: returns seconds.

    >>> texts_per_second(load("tfidf-4096"), ["one", "two"]) > 0
    True
    """
    ### BEGIN SOLUTION
    model.encode(texts)
    rates = []
    for _ in range(repeats):
        start = clock()
        model.encode(texts)
        rates.append(len(texts) / (clock() - start))
    return float(np.median(rates))
    ### END SOLUTION


# %%
check("14.3", texts_per_second)

# %%
# hint("14.3", 1)  # take the first # away for a nudge; hint("14.3", 2) says more

# %% [markdown]
# ## {{14.4}}
#
# Combined score: quality × (0.7 + 0.3 × speed factor), where the speed factor is speed / cap and never above 1.


# %%
def rank_models(rows: list[tuple[str, float, float]], speed_cap: float = 500.0) -> list[tuple[str, float]]:
    """Models by falling combined score.

    Args:
        rows: (name, quality, texts per second).
        speed_cap: texts per second above which speed adds nothing.

    Returns:
        (name, combined score), best first.

    >>> rank_models([("a", 0.5, 50.0), ("b", 0.5, 5000.0)])[0]
    ('b', 0.5)
    """
    ### BEGIN SOLUTION
    scored = [(name, quality * (0.7 + 0.3 * min(speed / speed_cap, 1.0))) for name, quality, speed in rows]
    return sorted(scored, key=lambda pair: -pair[1])
    ### END SOLUTION


# %%
check("14.4", rank_models)

# %%
# hint("14.4", 1)  # take the first # away for a nudge; hint("14.4", 2) says more

# %% [markdown]
# ## {{14.5}}
#
# Put the four together. A model that can't be loaded must not end the run.


# %%
class OpenSourceEmbeddingBenchmark:
    """Compares embedding models on labelled pairs.

    `load_models()` loads each name with `load(name, device=self.device)`, keeps them in `self.models`, puts
    what can't be loaded into `self.unavailable` (name -> reason), and returns the names it has. Where a model's weights
    are out of reach, `load` gives a stand-in, whose quality is another model's: it is unavailable too. `weights(model)`
    tells what was loaded, and `weights(model).real` whether it may be ranked.

    `benchmark(sentence1, sentence2, labels, speed_texts)` returns a list of
    (name, quality, texts per second, combined score), highest combined score first.
    """

    def __init__(self, names: list[str], device: str | None = None) -> None:
        self.names = names
        self.device = device
        self.models: dict[str, SentenceTransformer] = {}
        self.unavailable: dict[str, str] = {}

    def load_models(self) -> list[str]:
        ### BEGIN SOLUTION
        for name in self.names:
            try:
                model = load(name, device=self.device)
            except ValueError as reason:
                self.unavailable[name] = str(reason)
                continue
            if weights(model).real:
                self.models[name] = model
            else:
                self.unavailable[name] = f"its weights are out of reach, and these are a {weights(model).kind}'s"
        return list(self.models)
        ### END SOLUTION

    def benchmark(self, sentence1, sentence2, labels, speed_texts) -> list[tuple[str, float, float, float]]:
        ### BEGIN SOLUTION
        measured = {}
        for name, model in self.models.items():
            one, two = embed_pairs(model, sentence1, sentence2)
            cosine = (one * two).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)
            measured[name] = (separation(cosine, np.asarray(labels)), texts_per_second(model, speed_texts))
        ranked = rank_models([(name, *numbers) for name, numbers in measured.items()])
        return [(name, *measured[name], combined) for name, combined in ranked]
        ### END SOLUTION


# %%
check("14.5", OpenSourceEmbeddingBenchmark)

# %%
# hint("14.5", 1)  # take the first # away for a nudge; hint("14.5", 2) says more

# %% [markdown]
# ## Run it on the whole data set


# %%
def run_benchmark(names: list[str]) -> None:
    """Print the ranked table of these models on the course's labelled pairs."""
    bench = OpenSourceEmbeddingBenchmark(names, device=None if device == "auto" else device)
    print("loaded:", ", ".join(bench.load_models()))
    pairs = data.pairs()
    results = bench.benchmark(list(pairs.sentence1), list(pairs.sentence2), pairs.gold, list(data.texts()[:64]))
    for place, (name, quality, speed, combined) in enumerate(results, start=1):
        print(f"{place}. {name:<30} quality {quality:6.3f}   {speed:8.0f} texts/s   combined {combined:6.3f}")
    for name, reason in bench.unavailable.items():
        print(f"not ranked: {name}: {reason}")


try:
    run_benchmark(["all-MiniLM-L6-v2", "all-MiniLM-L6-v2-static-256", "tfidf-4096", "BAAI/bge-small-en-v1.5"])
except NotImplementedError:
    print("Write the functions above first.")

# %% [markdown]
# Compare with `helpers.benchmark`, which gives the same separation, compares models on the same pairs and times them in
# rounds: [lesson 14](../../notebooks/14_benchmark.ipynb).
#
# <details><summary>Solution</summary>
#
# The reference solution, executed, is in [solutions/14_benchmark](../../solutions/14_benchmark/14_benchmark.ipynb).
# </details>
