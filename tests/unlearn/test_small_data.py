"""What fits a small file: the number of steps, the warm-up and the learning rate by hand."""

import dataclasses

import pytest

from biasunlearn.config import DebiasConfig
from biasunlearn.data.records import Passage
from biasunlearn.unlearn.sets import TrainingSets
from biasunlearn.unlearn.small_data import fitted, pair_count, small_data_finding
from biasunlearn.unlearn.trainer import evaluation_schedule, rate_at

RECIPE = DebiasConfig(max_steps=200, learning_rate=1e-3)
"""The numbers below are worked out for 200 steps."""


def sets(pairs: int) -> TrainingSets:
    one = tuple((Passage("a", str(n)), Passage("b", str(n))) for n in range(pairs))
    return TrainingSets({"x": ()}, {"x": ()}, {"x": one}, ())


def test_44_pairs_have_steps_and_a_rate_that_fit() -> None:
    """26 of them train: 30 * 26 / 16 = 48.75 steps, 49 of 200; the rate is 1e-3 * sqrt(0.245), the warm-up 2 steps."""
    found = fitted(RECIPE, sets(26))
    assert pair_count(sets(26)) == 26 and (found.max_steps, found.warmup) == (49, 2)
    assert found.learning_rate == pytest.approx(4.95e-4, abs=1e-6)
    assert rate_at(49, found) == pytest.approx(0.02 * found.learning_rate)  # the schedule ends with the steps
    schedule = evaluation_schedule(sets(26), found)
    assert [step for step in range(1, 50) if schedule.due(step)] == [*range(4, 49, 4), 49]
    assert small_data_finding(RECIPE, sets(26)) == [
        "26 training pairs: at most 49 steps (30 epochs) instead of 200, at a learning rate of 0.00049 instead of 0.001"
    ]


@pytest.mark.parametrize(("pairs", "steps"), [(1, 2), (53, 100), (106, 199), (107, 200), (5000, 200)])
def test_the_number_of_steps(pairs: int, steps: int) -> None:
    found = fitted(RECIPE, sets(pairs))
    assert found.max_steps == steps and (found == RECIPE) is (steps == 200)
    assert bool(small_data_finding(RECIPE, sets(pairs))) is (steps < 200)
    many = dataclasses.replace(RECIPE, max_epochs=1000)
    assert fitted(many, sets(26)) == many
