"""Is the advice right? Chosen on one random half of the data, judged on the other, many times.

    python -m benchmarks.advice results [more results folders]

Takes reports that `make run` left (their per-query scores, similarities and seconds), so that nothing is encoded again.
The advice is right if the model taken loses less than the margin to the best of the other half; its regret is what it
loses. Beside it: the regret of always taking the model with the highest score on the first half.
"""

import dataclasses
import sys

import numpy as np
from numpy.typing import NDArray

from helpers import benchmark
from helpers.benchmark import Report, words

HALVES = 200


def part(report: Report, rows: NDArray[np.int64]) -> Report:
    """The report on some of its items alone."""
    groups = tuple(np.array(report.groups)[rows].tolist()) if report.groups else None
    if report.of_pairs:
        gold = np.array(report.data.gold)[rows]
        data = dataclasses.replace(report.data, pairs=len(rows), gold=tuple(gold.tolist()), pair_groups=groups)
        results = [
            dataclasses.replace(r, similarities=tuple(np.array(r.similarities)[rows].tolist())) for r in report.results
        ]
    else:
        queries = tuple(np.array(report.data.queries)[rows].tolist())
        data = dataclasses.replace(report.data, queries=queries, query_groups=groups)
        results = [
            dataclasses.replace(r, per_query={m: tuple(np.array(v)[rows].tolist()) for m, v in r.per_query.items()})
            for r in report.results
        ]
    return dataclasses.replace(report, data=data, results=tuple(results))


def main(folders: list[str]) -> None:
    for folder in folders:
        whole = benchmark.read(folder)
        measures = ["ndcg@10"] if whole.data.queries else []
        measures += [("spearman" if whole.data.graded else "roc_auc")] if whole.data.pairs else []
        for by in measures:
            report = dataclasses.replace(whole, settings=whole.settings.model_copy(update={"quality": by}))
            draw, regret, naive = np.random.default_rng(0), [], []
            for _ in range(HALVES):
                rows = draw.permutation(report.items[0])
                first, second = part(report, rows[: len(rows) // 2]), part(report, rows[len(rows) // 2 :])
                truth = benchmark.compared(second, second.results).scores
                regret.append(truth.max() - truth[words.choice(first)])
                naive.append(truth.max() - truth[int(first.comparison.scores.argmax())])
            right = np.mean(np.array(regret) < report.settings.margin)
            print(
                f"{folder}, {by}: right {100 * right:.0f}% of {HALVES}, regret {np.mean(regret):.4f} (95%: "
                f"{np.quantile(regret, 0.95):.4f}); taking the highest score: {np.mean(naive):.4f}"
            )


if __name__ == "__main__":
    main(sys.argv[1:] or ["results"])
