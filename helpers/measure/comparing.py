"""Which of several models are told apart on the same items, and by how much they differ.

Every model answers the same items, so models are compared on the same items. The decision is a randomisation test:
if models are equal, their labels may be exchanged within an item (Fisher 1935; for search systems Carterette 2012 and
Sakai 2018), and the largest studentised difference of any two models (max-T) says how large a difference chance makes
somewhere among all of them, which corrects for the number of comparisons. The size of a difference comes from a paired
bootstrap.

`scipy.stats.permutation_test(..., permutation_type="samples")` gives the same test, and a test holds this module to
it; it draws a permutation for each item, where a cyclic shift for each makes the sums matrix products.
`scipy.stats.tukey_hsd` knows no items, and ranx tests each pair of models alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from helpers.measure.metrics import CONFIDENCE, Estimate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ALPHA = 1 - CONFIDENCE
EXCHANGES = 10_000  # a corrected p of 0.05 is then known to 0.004 (95%)
RESAMPLES = 2_000
BORDERLINE = (0.04, 0.06)
POWER = 0.8
BLOCKS = 1000
FEW_CLUSTERS = 15
CHUNK = 1000


@dataclass(frozen=True, eq=False)
class Comparison:
    """Models set against one another on the same items.

    Attributes:
        scores: (m,) the score of each model.
        difference: (m, m) the score of the row's model minus that of the column's.
        low: (m, m) lower ends of the differences' 95% intervals, each for this one difference.
        high: (m, m) upper ends.
        p: (m, m) how often equal models would show such a difference somewhere; corrected for all comparisons.
        standard_error: (m, m) of the differences.
        critical: the standard errors by which a difference must pass 0 to be told.
        units: how many items, or clusters of items, were exchanged and resampled.
    """

    scores: Floats
    difference: Floats
    low: Floats
    high: Floats
    p: Floats
    standard_error: Floats
    critical: float
    units: int

    def better(self, one: int, other: int) -> bool:
        """Whether the first model is told to be better than the second."""
        return bool(self.p[one, other] <= ALPHA and self.difference[one, other] > 0)

    def apart(self, one: int, other: int) -> bool:
        """Whether the two are told apart."""
        return bool(self.p[one, other] <= ALPHA)

    def borderline(self, one: int, other: int) -> bool:
        """Whether another draw of resamples might decide otherwise."""
        return bool(BORDERLINE[0] <= self.p[one, other] <= BORDERLINE[1])

    def interval(self, one: int, other: int) -> Estimate:
        """The difference, first minus second, with its 95% interval."""
        return Estimate(float(self.difference[one, other]), float(self.low[one, other]), float(self.high[one, other]))

    def not_worse(self, one: int, other: int, margin: float) -> bool:
        """Whether the first is surely worse by less than `margin`, if at all (non-inferior)."""
        return bool(self.low[one, other] > -margin)

    @property
    def ranks(self) -> list[int]:
        """1 plus the number of models that are told to be better. Equal rank doesn't mean equal quality."""
        models = range(len(self.scores))
        return [1 + sum(self.better(other, one) for other in models) for one in models]

    def same(self, one: int) -> list[int]:
        """The models from which this one isn't told apart, itself left out."""
        return [other for other in range(len(self.scores)) if other != one and not self.apart(one, other)]

    @property
    def decides(self) -> bool:
        """Whether any two models are told apart."""
        return bool((self.p <= ALPHA).any())

    @property
    def _typical_error(self) -> float:
        best = int(self.scores.argmax())
        errors = np.delete(self.standard_error[best], best)
        return float(np.median(errors[errors > 0])) if (errors > 0).any() else 0.0

    @property
    def detectable(self) -> float:
        """The difference to the best model that these data find with 80% power.

        It follows from how much differences vary from item to item, never from the differences that were observed
        (Hoenig and Heisey 2001).
        """
        return (self.critical + float(stats.norm.ppf(POWER))) * self._typical_error

    def units_for(self, difference: float) -> int:
        """How many items (or clusters) would find `difference` with 80% power."""
        return int(np.ceil(self.units * (self.detectable / difference) ** 2))


def compare(contributions: Floats, *, seed: int = 0, n_exchanges: int = EXCHANGES) -> Comparison:
    """Set models against one another.

    Args:
        contributions: (m, g) what each item (or cluster of items) adds to each model's score, which is the mean of
            its row; see `of_queries` and `of_pairs`.
        seed: of the exchanges and of the bootstrap.
        n_exchanges: how many exchanges.
    """
    models, units = contributions.shape
    scores = contributions.mean(axis=1)
    upper = np.triu_indices(models, 1)
    draw = np.random.default_rng(seed)
    null = np.sort(_largest(contributions, upper, draw, n_exchanges))
    observed = _studentised(contributions[upper[0]] - contributions[upper[1]])
    reached = n_exchanges - np.searchsorted(null, observed * (1 - 1e-9), side="left")
    p = np.ones((models, models))
    p[upper] = (1 + reached) / (1 + n_exchanges)
    p.T[upper] = p[upper]
    resampled = _bootstrap(contributions, draw, RESAMPLES)
    low, high = np.zeros((models, models)), np.zeros((models, models))
    # Percentile intervals are too narrow for few items; at these levels they have the width of Student's t (Hesterberg
    # 2015, "What teachers should know about the bootstrap", section 5.3).
    tail = float(stats.norm.cdf(np.sqrt(units / max(units - 1, 1)) * stats.t.ppf(ALPHA / 2, max(units - 1, 1))))
    for one, other in zip(*upper, strict=True):
        ends = np.quantile(resampled[one] - resampled[other], [tail, 1 - tail])
        low[one, other], high[one, other] = ends
        low[other, one], high[other, one] = -ends[::-1]
    apart = contributions[:, None] - contributions[None]
    return Comparison(
        scores=scores,
        difference=scores[:, None] - scores[None],
        low=low,
        high=high,
        p=p,
        standard_error=apart.std(axis=2, ddof=1) / np.sqrt(units),
        critical=float(np.quantile(null, CONFIDENCE)) if models > 1 else 0.0,
        units=units,
    )


def of_queries(values: Floats, groups: Sequence[Any] | Ints | None = None) -> Floats:
    """Contributions (m, g) to means over queries.

    Args:
        values: (m, n) one value a model and query.
        groups: the cluster of each query; None where each stands for itself.
    """
    blocks = _blocks(values.shape[1], groups)
    sums = np.stack([np.bincount(blocks, weights=row) for row in values])
    return np.asarray(sums * sums.shape[1] / values.shape[1])


def of_pairs(
    statistic: Callable[[Floats, Floats], Floats],
    similarities: Floats,
    gold: Floats,
    groups: Sequence[Any] | Ints | None = None,
) -> Floats:
    """Contributions (m, g) to any score of pairs, by leaving each pair, or cluster of pairs, out (jackknife).

    For ROC-AUC these are the placements of DeLong et al. (1988), so that similar and dissimilar pairs count as the two
    samples that they are.

    Args:
        statistic: takes similarities (m, n) and gold (n,), gives (m,).
        similarities: (m, n) of each model and pair.
        gold: (n,) labels or graded scores.
        groups: the cluster of each pair; None where each stands for itself.
    """
    blocks = _blocks(len(gold), groups)
    units = int(blocks.max()) + 1
    whole = np.asarray(statistic(similarities, gold), dtype=np.float64)
    without = np.stack([statistic(similarities[:, keep], gold[keep]) for keep in (blocks != g for g in range(units))])
    influence = (units - 1) * (whole - np.where(np.isnan(without), whole, without)).T
    return np.asarray(whole[:, None] + influence - influence.mean(axis=1, keepdims=True))


def linked(*sides: Sequence[Any]) -> Ints | None:
    """The cluster of each item, where items that share something on any side belong together; None if none do.

    Args:
        sides: n things of each item (a sentence, a document), or n collections of them.
    """
    number: dict[Any, int] = {}
    items, things = [], []
    for side in sides:
        for item, thing in enumerate(side):
            for one in thing if isinstance(thing, set | frozenset | list | tuple | dict) else (thing,):
                items.append(item)
                things.append(number.setdefault(one, len(number)))
    n = len(sides[0])
    ends = (np.array(items), n + np.array(things))
    graph = coo_array((np.ones(len(items)), ends), shape=(n + len(number),) * 2)
    clusters = connected_components(graph, directed=False)[1][:n]
    found = np.unique(clusters, return_inverse=True)[1]
    return None if found.max() + 1 == n else np.asarray(found, dtype=np.int64)


def _blocks(n: int, groups: Sequence[Any] | Ints | None) -> Ints:
    """Which unit each item belongs to: its cluster, or itself; of more than 1,000 units, some are joined at random.

    Joined units are exchanged together, which leaves the test as exact as it is and bounds its time.
    """
    labels = np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    units = int(labels.max()) + 1
    if units > BLOCKS:
        labels = (np.random.default_rng(0).permutation(units) % BLOCKS)[labels]
    return np.asarray(labels, dtype=np.int64)


def _studentised(differences: Floats) -> Floats:
    """|mean| / standard error of each row; 0 where nothing differs, infinite where all differ by the same."""
    return _ratio(differences.sum(axis=1), (differences**2).sum(axis=1), differences.shape[1])


def _ratio(sums: Floats, squares: Floats, units: int) -> Floats:
    spread = np.maximum(units * squares - sums**2, 0)
    spread[spread < 1e-9 * units * squares] = 0  # what rounding leaves of nothing
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.nan_to_num(np.abs(sums) * np.sqrt((units - 1) / spread), nan=0.0, posinf=np.inf))


def _largest(contributions: Floats, upper: tuple[Ints, ...], draw: np.random.Generator, n_resamples: int) -> Floats:
    """The largest studentised difference of any two models in each of n exchanges of labels within items.

    An exchange shifts the models of each item on by a number drawn for it: the shifts are a group, so the test is
    exact, and the sums over items of one shift are one matrix product.
    """
    models, units = contributions.shape
    if models < 2:
        return np.zeros(n_resamples)
    shifted = np.stack([np.roll(contributions, -shift, axis=0) for shift in range(models)])
    differences = shifted[:, upper[0]] - shifted[:, upper[1]]  # (shifts, pairs of models, units)
    both = np.concatenate([differences, differences**2], axis=1)
    found = []
    for start in range(0, n_resamples, CHUNK):
        shift = draw.integers(models, size=(min(CHUNK, n_resamples - start), units), dtype=np.uint8)
        sums = sum((shift == s).astype(np.float64) @ both[s].T for s in range(models))
        pairs = len(upper[0])
        found.append(_ratio(sums[:, :pairs], sums[:, pairs:], units).max(axis=1))
    return np.concatenate(found)


def _bootstrap(contributions: Floats, draw: np.random.Generator, n_resamples: int) -> Floats:
    """(m, n_resamples) scores of resampled items, the same items for every model."""
    units = contributions.shape[1]
    found = []
    for start in range(0, n_resamples, CHUNK):
        picked = draw.integers(units, size=(min(CHUNK, n_resamples - start), units))
        rows = np.arange(len(picked))[:, None] * units
        counts = np.bincount((picked + rows).ravel(), minlength=picked.size).reshape(picked.shape)
        found.append(contributions @ counts.T / units)
    return np.concatenate(found, axis=1)
