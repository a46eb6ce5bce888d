"""How often a 95% interval holds the truth: candidates for nDCG@10, ROC-AUC and Spearman, by simulation.

    python -m benchmarks.coverage [draws]

Scores lie in the middle (0.8) or near the ceiling (0.96), on 30, 100 and 1,000 items. The truth is the score of a
very large draw of the same kind. What holds 93 to 97% is good; near the ceiling of few items nothing does.
"""

import sys
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from helpers.measure import metrics

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], tuple[Floats, ...]]
Ends = tuple[float, float]


def ndcg(level: float) -> Draw:
    """Values as nDCG@10 has them: many ones, some zeros, what a first hit at rank 2 to 10 gives between."""
    steps = np.array([1.0, *(1 / np.log2(rank + 1) for rank in range(2, 11)), 0.0])
    share = np.array([0.0, *np.geomspace(1, 0.2, 9), 1.5])
    rest = share / share.sum()
    ones = (level - rest @ steps) / (1 - rest @ steps)
    chances = rest * (1 - ones)
    chances[0] = ones

    def draw(rng: np.random.Generator, n: int) -> tuple[Floats, ...]:
        return (rng.choice(steps, size=n, p=chances),)

    return draw


def auc(level: float) -> Draw:
    """Two normal groups whose distance gives the wanted ROC-AUC, half of the pairs each."""
    distance = float(np.sqrt(2) * stats.norm.ppf(level))

    def draw(rng: np.random.Generator, n: int) -> tuple[Floats, ...]:
        return rng.normal(distance, 1, n // 2), rng.normal(0, 1, n - n // 2)

    return draw


def correlated(level: float) -> Draw:
    """Two normal variables whose rank correlation is as wanted."""
    rho = 2 * np.sin(np.pi * level / 6)

    def draw(rng: np.random.Generator, n: int) -> tuple[Floats, ...]:
        x = rng.normal(size=n)
        return x, rho * x + np.sqrt(1 - rho**2) * rng.normal(size=n)

    return draw


def bootstrapped(statistic: Callable[..., Floats], samples: tuple[Floats, ...], method: str, seed: int) -> Ends:
    """scipy's bootstrap: percentile or BCa."""
    found = stats.bootstrap(
        samples,
        statistic,
        paired=statistic is metrics.spearman,
        vectorized=True,
        n_resamples=999,
        method=method,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def intervals(kind: str, samples: tuple[Floats, ...], seed: int) -> Iterator[tuple[str, Ends]]:
    """Each candidate's name and interval."""
    of: dict[str, Callable[..., Floats]] = {
        "nDCG@10": metrics.mean,
        "ROC-AUC": metrics.roc_auc,
        "Spearman": metrics.spearman,
    }
    statistic = of[kind]
    yield "percentile", bootstrapped(statistic, samples, "percentile", seed)
    if sum(map(len, samples)) <= 200:  # its jackknife is slow beyond, and it differs little there
        yield "BCa", bootstrapped(statistic, samples, "BCa", seed)
    if kind == "nDCG@10":
        yield "Student's t", metrics.mean_interval(samples[0])
    elif kind == "ROC-AUC":
        yield "DeLong on the logit", metrics.auc_interval(*samples)
    else:
        yield "Fisher's z, Bonett and Wright", metrics.spearman_interval(float(statistic(*samples)), len(samples[0]))


def main() -> None:
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print(f"{'score':9s}{'level':>6s}{'items':>7s}  coverage (and mean width) in {draws} draws")
    for kind, make in {"nDCG@10": ndcg, "ROC-AUC": auc, "Spearman": correlated}.items():
        for level in (0.8, 0.96):
            for n in (30, 100, 1000):
                draw, rng = make(level), np.random.default_rng(n)
                held: dict[str, list[tuple[bool, float]]] = {}
                for turn in range(draws):
                    for name, (low, high) in intervals(kind, draw(rng, n), turn):
                        held.setdefault(name, []).append((low <= level <= high, high - low))
                told = [
                    f"{name} {100 * np.mean([h for h, _ in found]):.1f}% ({np.mean([w for _, w in found]):.3f})"
                    for name, found in held.items()
                ]
                print(f"{kind:9s}{level:6.2f}{n:7d}  {'; '.join(told)}", flush=True)


if __name__ == "__main__":
    main()
