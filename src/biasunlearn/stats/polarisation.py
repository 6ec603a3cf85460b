"""Do target terms differ beyond chance? A mean SS of 50 can hide terms at 30 beside terms at 70.

Each target term's share of stereotyped pairs is a binomial proportion around the term's own probability, and these
probabilities have a mean mu and a variance tau^2 (a random-effects model). `spread` estimates tau by the method of
Paule and Mandel (1982) and gives its 95 % interval by inverting Cochran's Q (the Q-profile method, Viechtbauer 2007,
Statistics in Medicine 26, 37-52). `differences` tests whether subgroups (female and male terms) share one mean.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biasunlearn.stats.bootstrap import Estimate

Floats = NDArray[np.float64]

CLEAR = 5.0
"""Points of SS: a spread whose interval lies above this is called polarised."""

NEAR = 5.0
"""Points of SS to either side of 50: what a mean near 50 may hide is said beside it."""


@dataclass(frozen=True, slots=True)
class TermCount:
    """Pairs of one target term, and how many of them the model answers with the stereotype."""

    term: str
    stereotyped: float
    pairs: int


@dataclass(frozen=True, slots=True)
class Spread:
    """Between-term standard deviation of SS beyond chance, in points, and the p-value of there being none."""

    estimate: Estimate
    p: float


@dataclass(frozen=True, slots=True)
class Difference:
    """Means of subgroups, each over the terms' SS in points, and the p-value of them being one mean."""

    means: Mapping[str, float]
    terms: Mapping[str, int]
    p: float


def spread(counts: Sequence[TermCount], confidence: float = 0.95) -> Spread | None:
    """The between-term standard deviation of SS beyond chance.

    Within a term of n pairs and probability pi the share has variance pi (1 - pi) / n, whose expectation over terms is
    (mu (1 - mu) - tau^2) / n. With weights w_i = 1 / (tau^2 + (mu (1 - mu) - tau^2) / n_i) the statistic
    Q(tau^2) = sum w_i (p_i - mu_w)^2 has about a chi-squared distribution with (terms - 1) degrees of freedom at the
    true tau^2, and falls as tau^2 grows. The estimate solves Q = terms - 1, the ends of the interval solve Q = its
    quantiles, each 0 where Q(0) is already below.

    Args:
        counts: one entry for each target term, pairs > 0.
        confidence: of the interval.
    Returns:
        None with fewer than three terms or where every pair of every term has the same answer.
    """
    from scipy.optimize import brentq  # slow to import
    from scipy.stats import chi2

    n = np.array([count.pairs for count in counts], np.float64)
    share = np.array([count.stereotyped for count in counts], np.float64) / n
    freedom = len(counts) - 1
    pooled = float((share * n).sum() / n.sum()) if len(n) else 0.0
    if freedom < 2 or not 0 < pooled < 1:
        return None
    largest = pooled * (1 - pooled)

    def q(variance: float) -> float:
        weights = 1 / (variance + (largest - variance) / n)
        mean = (weights * share).sum() / weights.sum()
        return float((weights * (share - mean) ** 2).sum())

    def solve(level: float) -> float:
        if q(0.0) <= level:
            return 0.0
        top = largest * (1 - 1e-9)
        return top if q(top) >= level else float(brentq(lambda variance: q(variance) - level, 0.0, top))

    beyond = (1 - confidence) / 2
    value, low, high = (
        100 * math.sqrt(solve(level))
        for level in (freedom, float(chi2.ppf(1 - beyond, freedom)), float(chi2.ppf(beyond, freedom)))
    )
    return Spread(Estimate(value, low, high), float(chi2.sf(q(0.0), freedom)))


def differences(counts: Sequence[TermCount], subgroup: Mapping[str, str]) -> Difference | None:
    """Whether the subgroups' mean SS differ: an analysis of variance with target terms as the units.

    A term counts once however many pairs it has, so that the test asks about terms that were not drawn. Terms without
    a subgroup do not count.

    Args:
        counts: one entry for each target term.
        subgroup: {term: its subgroup}.
    Returns:
        None where fewer than two subgroups have two terms each.
    """
    from scipy.stats import f  # slow to import

    values: dict[str, list[float]] = defaultdict(list)
    for count in counts:
        if count.term in subgroup:
            values[subgroup[count.term]].append(100 * count.stereotyped / count.pairs)
    groups = {name: np.array(found) for name, found in sorted(values.items()) if len(found) >= 2}
    if len(groups) < 2:
        return None
    means = {name: float(found.mean()) for name, found in groups.items()}
    sizes = {name: len(found) for name, found in groups.items()}
    everything = np.concatenate(list(groups.values()))
    between = sum(sizes[name] * (means[name] - everything.mean()) ** 2 for name in groups) / (len(groups) - 1)
    freedom = len(everything) - len(groups)
    within = sum(float(((found - found.mean()) ** 2).sum()) for found in groups.values()) / freedom
    p = float(f.sf(between / within, len(groups) - 1, freedom)) if within > 0 else float(between == 0)
    return Difference(means, sizes, p)


def is_polarised(found: Spread | None, difference: Difference | None, level: float = 0.05) -> bool:
    """Terms lie apart beyond chance by more than `CLEAR` points, or subgroups lie on both sides of 50 and differ."""
    if found is not None and found.estimate.low > CLEAR:
        return True
    if difference is None or difference.p >= level:
        return False
    return min(difference.means.values()) < 50 < max(difference.means.values())
