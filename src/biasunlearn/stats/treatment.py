"""Treatment minus control: the effect of a condition on a mean, as values of single units.

The difference of two means is not a mean over units, which every interval and every paired test of this package needs.
Each unit is therefore given the value by which it contributes to the difference (its influence value plus the effect):

    treatment   effect + n / n_t * (x - mean of the treatment)
    control     effect - n / n_c * (x - mean of the control)          n = n_t + n_c

The mean of these values is exactly the effect, and the variance of their cluster sums is the linearized variance of a
difference of two means (the delta method), also where a cluster has units of one arm only.
"""

from collections.abc import Hashable, Mapping
from statistics import fmean
from typing import TypeVar

Unit = TypeVar("Unit", bound=Hashable)


def treatment_values(treatment: Mapping[Unit, float], control: Mapping[Unit, float]) -> dict[Unit, float]:
    """The values of all units, whose mean is mean(treatment) - mean(control); empty where an arm has no unit.

    By hand: treatment 1, 0 and control 0, 0: effect 0.5 and n / n_t = 2, so the values are 1.5, -0.5, 0.5, 0.5.
    """
    if not treatment or not control:
        return {}
    high, low = fmean(treatment.values()), fmean(control.values())
    effect, n = high - low, len(treatment) + len(control)
    found = {unit: effect + n / len(treatment) * (value - high) for unit, value in treatment.items()}
    return found | {unit: effect - n / len(control) * (value - low) for unit, value in control.items()}
