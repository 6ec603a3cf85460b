"""The quantiles against a table, and against the integral that defines them."""

import math

import pytest

from biasunlearn.stats.normal import DETECTABLE, Z_95, Z_POWER_80


def share_below(z: float) -> float:
    return (1 + math.erf(z / math.sqrt(2))) / 2


def test_quantiles_of_the_printed_tables() -> None:
    assert Z_95 == pytest.approx(1.959964, abs=1e-6)
    assert Z_POWER_80 == pytest.approx(0.841621, abs=1e-6)
    assert DETECTABLE == pytest.approx(2.801585, abs=1e-6)


def test_the_shares_below_them() -> None:
    assert share_below(Z_95) == pytest.approx(0.975)
    assert share_below(Z_POWER_80) == pytest.approx(0.8)
