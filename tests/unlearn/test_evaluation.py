"""The scores of the stop split: SS over items, LMS over target terms, and the standard error by hand."""

import numpy as np
import pytest

from biasunlearn.stats.stereoset import Comparison
from biasunlearn.unlearn.evaluation import Evaluation, StopScores, stop_scores


def comparison(bias_type: str, target: str, stereotyped: bool, meaningful: float | None = 1.0) -> Comparison:
    return Comparison(bias_type, target, float(stereotyped), meaningful, 1.0 if stereotyped else -1.0)


def test_ss_is_the_mean_over_items_and_lms_the_mean_over_terms() -> None:
    """Term a: 1 of 1, b: 1 of 4. SS 2 of 5 = 40. LMS of a 100, of b (1 + 0.5 + 0 + 0.5) / 4 = 50: mean 75."""
    found = stop_scores(
        [comparison("x", "a", True)]
        + [comparison("x", "b", n == 0, meaningful) for n, meaningful in enumerate((1.0, 0.5, 0.0, 0.5))],
        seed=0,
    )
    assert found.ss == {"x": 40.0} and found.lms == 75.0
    assert found.to_dict() == {"ss": {"x": 40.0}, "lms": 75.0}


def test_the_standard_error_of_independent_items_is_that_of_a_coin() -> None:
    """400 terms of one pair each, SS 50: sqrt(0.5 * 0.5 / 400) = 2.5 points. The interval is 1.96 of them, widened."""
    rows = [comparison("x", f"t{n}", n % 2 == 0) for n in range(400)]
    score = stop_scores(rows, seed=0).bias_types["x"]
    assert score.standard_error == pytest.approx(2.5, abs=0.2)
    assert score.high - score.ss == pytest.approx(1.96 * 2.5, abs=0.5)


def test_pairs_that_agree_within_a_term_make_the_error_larger() -> None:
    """40 terms of ten equal pairs: no more is known than from 40 pairs, sqrt(0.25 / 40) = 7.9 points."""
    rows = [comparison("x", f"t{n}", n % 2 == 0) for n in range(40) for _ in range(10)]
    assert stop_scores(rows, seed=0).bias_types["x"].standard_error == pytest.approx(7.9, abs=0.8)


def test_the_seed_and_nothing_else_decides_the_draws() -> None:
    rng = np.random.default_rng(0)
    rows = [comparison("xy"[n % 2], f"t{n % 14}", bool(rng.random() < 0.6)) for n in range(90)]
    assert stop_scores(rows, seed=1) == stop_scores(rows[::-1], seed=1)
    assert stop_scores(rows, seed=1) != stop_scores(rows, seed=2)


def test_lms_that_is_not_measured_has_not_fallen() -> None:
    assert Evaluation(1, StopScores({}, None), lms_before=90.0).lms_fall == 0.0
    assert Evaluation(1, StopScores({}, 88.0), lms_before=None).lms_fall == 0.0
    assert Evaluation(1, StopScores({}, 88.0), lms_before=90.0).lms_fall == 2.0
