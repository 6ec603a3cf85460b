"""The simulation of error rates, small: an unbiased model is called fair more often than one at the margin."""

import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "perf/verdict_errors.py"


@pytest.fixture
def errors(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import verdict_errors

    yield verdict_errors
    sys.modules.pop("verdict_errors")


@pytest.mark.slow
@pytest.mark.by_day("0.0", "15.0")
@pytest.mark.parametrize("sd", [0.0, 8.0, 15.0])
def test_a_model_at_the_margin_is_rarely_shown_to_lie_within_it(errors, sd):
    """At 55 the error is 5 % by construction: of 40 worlds more than 6 would have a chance of 0.3 %."""
    shape = {"race": (40, 25)}
    at_margin = errors.equivalence_rates(shape, 55.0, sd, 40)
    assert at_margin["race"] <= 15.0
    if sd == 0:
        assert errors.equivalence_rates(shape, 50.0, sd, 10)["race"] >= 50.0  # the negative control


@pytest.mark.slow
@pytest.mark.parametrize("sd", [0.0, 15.0])
def test_a_run_that_changed_nothing_on_average_is_neither_improved_nor_worse(errors, sd):
    shape = {"race": (30, 10), "gender": (12, 20)}
    rates = errors.verdict_rates(shape, 60.0, 60.0, sd, 30)
    assert rates.get("improved", 0) + rates.get("worse", 0) + rates.get("fair", 0) <= 20.0
    assert errors.verdict_rates(shape, 75.0, 52.0, 0.0, 6).get("no evidence", 0.0) == 0.0  # the negative control


@pytest.mark.slow
def test_mcnemar_finds_differences_where_whole_terms_move_and_no_mean_does(errors):
    rates = errors.compare_rates({"race": (30, 20)}, 15.0, 25)
    assert rates["McNemar"] >= 2 * max(rates["clusters"], 8.0)
