"""Quantiles of the standard normal distribution. No other module writes these numbers down."""

from statistics import NormalDist

Z_95 = NormalDist().inv_cdf(0.975)
"""1.959964: standard errors on each side of a two-sided 95 % interval."""

Z_90 = NormalDist().inv_cdf(0.95)
"""1.644854: standard errors on each side of a two-sided 90 % interval."""

Z_POWER_80 = NormalDist().inv_cdf(0.80)
"""0.841621: what 80 % power adds to the critical value."""

DETECTABLE = Z_95 + Z_POWER_80
"""2.801585: the difference, in standard errors, that a two-sided test at 5 % detects with 80 % power."""
