"""Does a server answer as the debiased model? Decisions from numbers; no model, no network.

Log-probabilities: the differences between debiased and base model at the server, regressed on those here. Slope 1 and
correlation 1 are expected of a server with the adapter on, 0 of the base. Continuations: exact matches.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

SLOPE = (0.8, 1.2)
CORRELATION = 0.95
"""What a server with the adapter on must reach."""

OFF = 0.2
"""Below this slope the adapter is off."""

MATCHES = 0.8
"""Share of the continuations that must match exactly: in half precision, near ties fall the other way."""

LEVEL = 0.01
"""The p-value must be at most this for "applied"."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How differences at the server agree with those here."""

    slope: float
    correlation: float
    nearer: int
    p: float


def agreement(reference: Sequence[float], served: Sequence[float]) -> Agreement:
    """Slope through the origin, correlation, and a one-sided sign test of the answers that are nearer to the reference.

    By hand: reference 2, -2, 4 and served 1, -1, 2 -> slope .5, correlation 1, none nearer to the reference (all are in
    the middle), p 1.

    Args:
        reference: log p by the debiased model less that by the base, here, of each text.
        served: the same at the server; 0 where it is the base.
    """
    x, y = np.asarray(reference, dtype=float), np.asarray(served, dtype=float)
    slope = float(x @ y / (x @ x)) if x.any() else 0.0
    spread = float(x.std() * y.std())
    correlation = float(((x - x.mean()) * (y - y.mean())).mean() / spread) if spread else 0.0
    nearer = int((np.abs(y - x) < np.abs(y)).sum())
    return Agreement(slope, correlation, nearer, sign_test(nearer, len(x)))


def sign_test(successes: int, trials: int) -> float:
    """P(at least so many successes | each has the probability 1/2). By hand: 5 of 5 -> 1/32; 0 of 5 -> 1; none -> 1."""
    return float(binomtest(successes, trials, 0.5, alternative="greater").pvalue) if trials else 1.0


def is_on(found: Agreement) -> bool:
    """Whether the adapter is applied in full."""
    return SLOPE[0] <= found.slope <= SLOPE[1] and found.correlation > CORRELATION and found.p <= LEVEL
