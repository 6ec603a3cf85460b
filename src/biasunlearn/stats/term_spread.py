"""Counts of the target terms of a result, and how alike the items of a term are."""

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np

from biasunlearn.stats.polarisation import TermCount, spread


class Answer(Protocol):
    """The answer to one pair, as in stats.stereoset.Comparison."""

    @property
    def bias_type(self) -> str: ...

    @property
    def target(self) -> str: ...

    @property
    def stereotyped(self) -> float: ...


def term_counts(rows: Sequence[Answer]) -> list[TermCount]:
    """One entry for each target term, in the order of their names. The rows are of one bias type."""
    stereotyped: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        stereotyped[row.target].append(row.stereotyped)
    return [TermCount(term, sum(values), len(values)) for term, values in sorted(stereotyped.items())]


def intraclass_correlation(counts: Sequence[TermCount]) -> float | None:
    """How alike the answers to the pairs of a term are: tau^2 / (mu (1 - mu)) of the random-effects model of `spread`.

    0 means that pairs of one term are as different as pairs of different terms. None where it cannot be estimated:
    fewer than three terms, no term with two pairs, or the same answer everywhere.
    """
    found = spread(counts) if any(count.pairs > 1 for count in counts) else None
    if found is None:
        return None
    mean = sum(count.stereotyped for count in counts) / sum(count.pairs for count in counts)
    return min(1.0, (found.estimate.value / 100) ** 2 / (mean * (1 - mean)))


def clustered_variance(pairs: int, icc: float) -> float:
    """Variance of the SS of a term with so many pairs, in points squared, around a mean SS of 50.

    By hand: 4 pairs, no correlation: 2500 / 4 = 625; correlation 1: 2500, as with one pair.
    """
    return 2500 * (1 + (pairs - 1) * icc) / pairs


@lru_cache(maxsize=1024)  # most terms of a file have as many pairs as others
def clustered_fair_distance(pairs: int, icc: float) -> float:
    """Expected |SS - 50| of a term, in points, if the terms' SS vary around 50 with this intraclass correlation.

    Exact for a beta-binomial distribution with mean 1/2, whose parameters are both (1 - icc) / (2 icc); for icc 0 the
    binomial one. By hand: 2 pairs, icc 1: both pairs agree, so the distance is always 50; icc 0: 25.
    """
    from scipy.stats import betabinom, binom

    hits = np.arange(pairs + 1)
    if icc >= 1:
        return 50.0
    if icc > 1e-6:
        shape = (1 - icc) / (2 * icc)
        chances = betabinom.pmf(hits, pairs, shape, shape)
    else:
        chances = binom.pmf(hits, pairs, 0.5)
    return float((chances * np.abs(100 * hits / pairs - 50)).sum())
