"""What training on docstring pairs gains and forgets, recipe by recipe, three seeds each: `helpers/facts/training.csv`.

    python -m benchmarks.training                     half an hour of one core; lessons 16 and 18 print the file
    python -m benchmarks.training static lora         only recipes whose names begin so; the others' rows stay

Trained on torch and transformers, judged on scipy and scikit-learn (packages that no training saw) and on the course's
own retrieval set, where a loss is what the model has forgotten. A change is from the `reference`: the untrained model
or, for hard negatives, the model of the same seed trained on the same pairs without them.
"""

import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from peft import LoraConfig
from sentence_transformers import CrossEncoder, SentenceTransformer, SentenceTransformerTrainer
from sentence_transformers import SentenceTransformerTrainingArguments as Arguments
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss, MultipleNegativesRankingLoss
from sentence_transformers.util import mine_hard_negatives

from helpers import benchmark, bundled, catalog, data, load
from helpers.measure import environment, metrics

FILE = Path(catalog.FACTS) / "training.csv"
SETS = {
    "scipy": data.docstrings("dev", limit=400),
    "scikit-learn": data.docstrings("test", limit=400),
    "the course's texts": data.retrieval(),
}
COMMON: dict[str, Any] = {
    "warmup_steps": 0.1, "report_to": "none", "save_strategy": "no", "logging_strategy": "no", "use_cpu": True,
    "disable_tqdm": True,
}  # fmt: skip
STATIC, MINI = "all-MiniLM-L6-v2-static-256", "all-MiniLM-L6-v2"
EPOCHS = {STATIC: 3, MINI: 1}
SEEDS = 3
COLUMNS = [
    "recipe", "reference", "rows", "epochs", "seed", "texts", "queries", "dims", "measure", "before", "change", "low",
    "high", "cpu_s", "machine", "date",
]  # fmt: skip


def per_query(model: SentenceTransformer, dims: int | None = None) -> dict[str, dict[str, np.ndarray]]:
    """nDCG@10 and recall@10 of each query, by set."""
    found = {}
    for where, search in SETS.items():
        sides = search.queries, search.corpus
        both = [
            model.encode(list(side.values()), normalize_embeddings=True, truncate_dim=dims, show_progress_bar=False)
            for side in sides
        ]
        found[where] = metrics.per_query(benchmark.retrieve(search, both[0], both[1]), search.qrels)
    return found


def pairs(limit: int | None = None) -> Dataset:
    train = data.docstrings("train", limit=limit)
    return Dataset.from_dict({"anchor": list(train.queries.values()), "positive": list(train.corpus.values())})


def mined(given: Dataset, filtered: bool) -> Dataset:
    """The pairs with the hardest wrong document of each; filtered, or with the false negatives among them.

    Filtered as documented for NV-Retriever (arXiv 2407.15831): at most 95% of the right document's similarity. Looked
    for among all documents: the default, the nearest dozen, drops most pairs, and those that the model does worst.
    """
    guard: Any = {"relative_margin": 0.05, "range_max": len(given)} if filtered else {}
    model = load(STATIC, device="cpu")
    return mine_hard_negatives(
        given, model, num_negatives=1, sampling_strategy="top", batch_size=256, verbose=False, **guard
    )


def static(
    seed: int, given: Dataset, lr: float = 0.01, scale: float = 20, matryoshka: bool = False
) -> SentenceTransformer:
    model = load(STATIC, device="cpu")
    loss: Any = MultipleNegativesRankingLoss(model, scale=scale)
    if matryoshka:
        loss = MatryoshkaLoss(model, loss, [256, 128, 64, 32])
    with TemporaryDirectory() as folder:
        arguments = Arguments(
            output_dir=folder, num_train_epochs=EPOCHS[STATIC], per_device_train_batch_size=64, learning_rate=lr,
            seed=seed, batch_sampler="no_duplicates", **COMMON,
        )  # fmt: skip
        SentenceTransformerTrainer(model=model, args=arguments, train_dataset=given, loss=loss).train()
    return model


def minilm(seed: int, given: Dataset, lora: bool = True, lr: float = 1e-3) -> SentenceTransformer:
    model = load(MINI, device="cpu")
    model.max_seq_length = 64
    if lora:
        model.add_adapter(
            LoraConfig(task_type="FEATURE_EXTRACTION", r=8, lora_alpha=16, target_modules=["query", "value"])
        )
    with TemporaryDirectory() as folder:
        arguments = Arguments(
            output_dir=folder, num_train_epochs=EPOCHS[MINI], per_device_train_batch_size=32, learning_rate=lr,
            seed=seed, batch_sampler="no_duplicates", **COMMON,
        )  # fmt: skip
        SentenceTransformerTrainer(
            model=model, args=arguments, train_dataset=given, loss=MultipleNegativesRankingLoss(model)
        ).train()
    return model


Rows = Iterator[dict[str, Any]]
PerQuery = dict[str, dict[str, np.ndarray]]


def changes(after: PerQuery, before: PerQuery, measures: tuple[str, ...] = ("ndcg@10", "recall@10")) -> Rows:
    """The mean change of the queries, by set and measure."""
    for where, search in SETS.items():
        for measure in measures:
            change = metrics.estimate(metrics.mean, after[where][measure] - before[where][measure])
            yield {
                "texts": where, "queries": len(search.queries), "measure": measure,
                "before": before[where][measure].mean(), "change": change.value, "low": change.low,
                "high": change.high,
            }  # fmt: skip


def embedder(
    train: Callable[[int, Dataset], SentenceTransformer],
    base: str,
    made: Callable[[], Dataset] = pairs,
    dims: tuple[int | None, ...] = (None,),
) -> Rows:
    """The changes by seed and set; of short vectors from the untrained ones by PCA."""
    untrained = load(base, device="cpu")
    if base == MINI:
        untrained.max_seq_length = 64
    before = {n: per_query(untrained, n) for n in dims}
    for seed in range(SEEDS):
        began = time.process_time()
        given = made()
        model = train(seed, given)
        spent = {"seed": seed, "rows": len(given), "epochs": EPOCHS[base], "cpu_s": time.process_time() - began}
        model.eval()
        references = {"untrained": before}
        if "negative" in given.column_names:
            plain = train(seed, given.remove_columns("negative")).eval()
            references["without mined negatives"] = {n: per_query(plain, n) for n in dims}
        for n in dims:
            after = per_query(model, n)
            for reference, of in references.items():
                said = spent | {"reference": reference, "dims": n or "all"}
                yield from (said | row for row in changes(after, of[n]))


def reranker(limit: int = 600) -> Rows:
    """A cross-encoder from MiniLM's weights, its change on the best ten of MiniLM."""
    first = load(MINI, device="cpu")
    first.max_seq_length = 96
    given = mine_hard_negatives(
        pairs(limit), first, num_negatives=2, range_max=20, relative_margin=0.05, output_format="labeled-pair",
        verbose=False,
    )  # fmt: skip
    torch.manual_seed(0)
    began = time.process_time()
    with TemporaryDirectory() as folder, bundled.quiet():
        model = CrossEncoder(str(bundled.minilm_folder()), num_labels=1, max_length=96, device="cpu")
        arguments = CrossEncoderTrainingArguments(
            output_dir=folder, num_train_epochs=1, per_device_train_batch_size=16, learning_rate=5e-5, seed=0, **COMMON
        )
        CrossEncoderTrainer(
            model=model, args=arguments, train_dataset=given, loss=BinaryCrossEntropyLoss(model)
        ).train()
    cpu_s = time.process_time() - began
    ranked: tuple[PerQuery, PerQuery] = ({}, {})
    for where, search in SETS.items():
        asked, stored = (first.encode(list(side.values())) for side in (search.queries, search.corpus))
        scores, ids = asked @ stored.T, list(search.corpus)
        best = np.argsort(-scores, axis=1)[:, :10]
        given_ = [
            (query, search.corpus[ids[i]])
            for query, row in zip(search.queries.values(), best, strict=True)
            for i in row
        ]
        again = model.predict(given_, show_progress_bar=False).reshape(best.shape)
        for found, of in zip(ranked, (np.take_along_axis(scores, best, axis=1), again), strict=True):
            run = {
                q: {ids[i]: float(v) for i, v in zip(row, values, strict=True)}
                for q, row, values in zip(search.queries, best, of, strict=True)
            }
            found[where] = metrics.per_query(run, search.qrels)
    spent = {"reference": "MiniLM", "dims": "all", "seed": 0, "rows": len(given), "epochs": 1, "cpu_s": cpu_s}
    yield from (spent | row for row in changes(ranked[1], ranked[0], ("ndcg@10",)))


few = partial(pairs, 1000)
RECIPES: dict[str, Callable[[], Rows]] = {
    "static": lambda: embedder(static, STATIC),
    "static, five times the learning rate": lambda: embedder(partial(static, lr=0.05), STATIC),
    "static, scale 5": lambda: embedder(partial(static, scale=5), STATIC),
    "static, scale 60": lambda: embedder(partial(static, scale=60), STATIC),
    "static, hard negatives unfiltered": lambda: embedder(static, STATIC, lambda: mined(pairs(), False)),
    "static, hard negatives filtered": lambda: embedder(static, STATIC, lambda: mined(pairs(), True)),
    "static, Matryoshka loss": lambda: embedder(partial(static, matryoshka=True), STATIC, dims=(None, 128, 64, 32)),
    "static without Matryoshka loss, cut": lambda: embedder(static, STATIC, dims=(128, 64, 32)),
    "lora": lambda: embedder(minilm, MINI, few),
    "lora, the learning rate of a full fine-tune": lambda: embedder(partial(minilm, lr=2e-5), MINI, few),
    "full fine-tune": lambda: embedder(partial(minilm, lora=False, lr=2e-5), MINI, few),
    "reranker": reranker,
}


def main(wanted: list[str]) -> None:
    torch.set_num_threads(1)
    kept = pd.read_csv(FILE) if FILE.exists() else pd.DataFrame({"recipe": []})
    place = {recipe: i for i, recipe in enumerate(RECIPES)}
    kept = kept[kept["recipe"].isin(RECIPES)]
    for recipe, run in RECIPES.items():
        if wanted and not recipe.startswith(tuple(wanted)):
            continue
        rows = pd.DataFrame(list(run())).round(4)
        rows = rows.assign(recipe=recipe, machine=environment.hardware()["cpu"], date=date.today().isoformat())
        kept = pd.concat([kept[kept["recipe"] != recipe], rows[COLUMNS]])
        kept = kept.sort_values("recipe", key=lambda names: names.map(place), kind="stable")
        kept.to_csv(FILE, index=False)
        print(f"{recipe}: {rows['rows'].iloc[0]} rows")
        parts = rows.groupby(["reference", "texts", "dims", "measure"], sort=False)
        print(parts["change"].agg(["mean", "min", "max"]).to_string(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
