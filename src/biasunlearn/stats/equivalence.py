"""Is a score close enough to its ideal? Equivalence in place of "the interval contains 50".

An interval contains 50 whenever there are few items, so containing 50 is no evidence of fairness. Equivalence turns the
burden of proof around: two one-sided tests (Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15) ask
whether the score is above ideal - margin and below ideal + margin, each at 5 %. Both reject exactly when the 90 %
interval lies inside the margin.
"""

from dataclasses import dataclass

import numpy as np

from biasunlearn.stats.bootstrap import Estimate, Floats, Sample
from biasunlearn.stats.normal import Z_90

MARGIN = 5.0
"""Points of SS on either side of 50 that count as fair, unless the caller says otherwise."""

CONFIDENCE = 0.90
"""Of the interval: two one-sided tests at 5 % each."""


@dataclass(frozen=True, slots=True)
class Equivalence:
    """The outcome of the two one-sided tests."""

    margin: float
    within: bool
    """Both tests reject: the score lies within the margin of its ideal."""
    interval: Estimate
    """The 90 % interval that decides."""


def equivalence(
    sample: Sample, column: int = 0, *, ideal: float = 50.0, margin: float = MARGIN, least_error: float = 0.0
) -> Equivalence:
    """Tests one column of a bootstrap sample, in the unit of `ideal`.

    The interval resamples whole target terms, and is the wider one of terms and items where there are few terms.

    Args:
        least_error: a standard error that the interval must at least correspond to. A few terms whose scores agree by
            chance have a bootstrap interval without width, which would be no evidence.
    Raises:
        ValueError: the margin is not a positive number.
    """

    def chosen(means: Floats) -> Floats:
        found: Floats = means[..., column]
        return found

    found = sample.estimate(chosen, CONFIDENCE)
    low, high = min(found.low, found.value - Z_90 * least_error), max(found.high, found.value + Z_90 * least_error)
    return decided(Estimate(found.value, low, high), ideal=ideal, margin=margin)


def decided(interval: Estimate, *, ideal: float = 50.0, margin: float = MARGIN) -> Equivalence:
    """The outcome at a margin, from the 90 % interval.

    Raises:
        ValueError: the margin is not a positive number.
    """
    if not (np.isfinite(margin) and margin > 0):
        raise ValueError(f"margin: {margin}; must be above 0")
    return Equivalence(margin, ideal - margin < interval.low and interval.high < ideal + margin, interval)
