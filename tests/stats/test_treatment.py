"""Treatment minus control: values by hand, and the standard error of a difference of two means."""

import numpy as np
import pytest

from biasunlearn.stats.bootstrap import resample
from biasunlearn.stats.treatment import treatment_values


def test_values_by_hand():
    found = treatment_values({"a": 1.0, "b": 0.0}, {"c": 0.0, "d": 0.0})
    assert found == {"a": 1.5, "b": -0.5, "c": 0.5, "d": 0.5}


def test_the_mean_is_the_effect_for_arms_of_different_size():
    treatment = {f"t{n}": float(n % 3 == 0) for n in range(30)}
    control = {f"c{n}": float(n % 7 == 0) for n in range(14)}
    found = treatment_values(treatment, control)
    assert sum(found.values()) / len(found) == pytest.approx(10 / 30 - 2 / 14)


def test_an_arm_without_units_has_no_effect():
    assert treatment_values({}, {"c": 1.0}) == {} == treatment_values({"t": 1.0}, {})


def test_the_bootstrap_has_the_standard_error_of_a_difference_of_means():
    rng = np.random.default_rng(0)
    first, second = rng.normal(2, 1, 120), rng.normal(0, 3, 40)
    found = treatment_values({f"t{n}": v for n, v in enumerate(first)}, {f"c{n}": v for n, v in enumerate(second)})
    drawn = resample(np.array([[v] for v in found.values()]), list(found), ["all"] * len(found)).clustered[:, 0]
    assert drawn.std() == pytest.approx(np.sqrt(first.var() / 120 + second.var() / 40), rel=0.1)
