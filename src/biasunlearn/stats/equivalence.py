"""Is a score close enough to its ideal? Equivalence in place of "the interval contains 50".

An interval contains 50 whenever there are few items, so containing 50 is no evidence of fairness. Equivalence turns the
burden of proof around: two one-sided tests (Schuirmann 1987) ask whether the score is above ideal - margin and below
ideal + margin, each at 5 %. Both reject exactly when the 90 % interval lies inside the margin.
"""

from dataclasses import dataclass

import numpy as np

from biasunlearn.stats.bootstrap import Estimate, Floats, Sample

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


def equivalence(sample: Sample, column: int = 0, *, ideal: float = 50.0, margin: float = MARGIN) -> Equivalence:
    """Tests one column of a bootstrap sample, in the unit of `ideal`.

    The interval resamples whole target terms, and is the wider one of terms and items where there are few terms.

    Raises:
        ValueError: the margin is not a positive number.
    """
    if not (np.isfinite(margin) and margin > 0):
        raise ValueError(f"margin: {margin}; must be above 0")

    def chosen(means: Floats) -> Floats:
        found: Floats = means[..., column]
        return found

    found = sample.estimate(chosen, CONFIDENCE)
    return Equivalence(margin, ideal - margin < found.low and found.high < ideal + margin, found)
