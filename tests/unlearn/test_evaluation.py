"""The scores of the stop split: SS over items, LMS over target terms, and the standard error by hand."""

import numpy as np
import pytest

from biasunlearn.stats.stereoset import Comparison
from biasunlearn.unlearn.evaluation import BaseAnswers, Evaluation, StopScores, lms_fall_error, stop_scores


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


# --- how far a fall of LMS may be chance ---------------------------------------------------------------------------


def test_the_error_of_a_fall_by_hand() -> None:
    """Three terms of one item, one of which falls: t(0.95, 2) * 0.5774 / sqrt(3) = 2.920 * 0.3333 = 97.3 points."""
    before = {"x/a": (1.0,), "x/b": (1.0,), "x/c": (1.0,)}
    assert lms_fall_error(before, {**before, "x/c": (0.0,)}) == pytest.approx(97.33, abs=0.01)
    assert lms_fall_error(before, before) == 0.0
    assert lms_fall_error({}, {}) == 0.0


def test_terms_that_agree_by_chance_do_not_hide_the_error_of_items() -> None:
    """Two terms of nine items, of which two each fall: the terms agree exactly, the items do not.

    Four falls of 18: variance 4 / 18 * 14 / 18 * 18 / 17 = 0.183, standard error 0.1008, t(0.95, 17) = 1.7396.
    """
    before = {"x/a": (1.0,) * 9, "x/b": (1.0,) * 9}
    after = dict.fromkeys(before, (0.0,) * 2 + (1.0,) * 7)
    assert lms_fall_error(before, after) == pytest.approx(100 * 1.7396 * 0.1008, abs=0.05)


def test_the_error_shrinks_with_the_number_of_items() -> None:
    def error(terms: int) -> float:
        before = {f"x/{n}": (1.0,) * 10 for n in range(terms)}
        return lms_fall_error(before, {t: (float(int(t[2:]) % 10 > 0),) * 10 for t in before})

    assert error(20) > 10 > error(500) > 1.5 > error(2000) / 2


def test_the_items_of_two_evaluations_are_compared_in_the_same_order() -> None:
    rows = [Comparison("x", "a", 1.0, value, 1.0, f"item-{n}") for n, value in enumerate((1.0, 0.0, 0.5))]
    for order in (rows, rows[::-1]):
        assert stop_scores(order, seed=0).meaningful == {"x/a": (1.0, 0.0, 0.5)}


def test_few_terms_that_agree_by_chance_do_not_hide_the_error_of_ss() -> None:
    """Three terms of four pairs, each with SS 50: drawing terms alone would find no error, pairs 14.4 points."""
    rows = [comparison("x", f"t{n % 3}", n < 6) for n in range(12)]
    assert stop_scores(rows, seed=0).bias_types["x"].standard_error == pytest.approx(14.4, abs=1.5)


# --- with the base model's answers to the training pairs -----------------------------------------------------------


def pairs(start: int, stereotyped: list[bool]) -> list[Comparison]:
    """A pair of each of these target terms."""
    return [
        Comparison("x", f"t{start + n}", float(one), 1.0, 1.0, f"item-{start + n}") for n, one in enumerate(stereotyped)
    ]


def test_ss_is_the_base_on_all_pairs_plus_the_change_on_the_stop_pairs() -> None:
    """Stop: 5 of 20, later 3 of 20, all of which were stereotyped before. Training: 27 of 40. Base 32 / 60 = 53.3.

    Before any change the error is that of 60 independent pairs: sqrt(0.5333 * 0.4667 / 59) = 6.50 points.
    """
    stop, train = pairs(0, [True] * 5 + [False] * 15), pairs(20, [True] * 27 + [False] * 13)
    base = BaseAnswers(stop, train)
    first = stop_scores(stop, seed=0, base=base)
    assert first.bias_types["x"].ss == pytest.approx(100 * 32 / 60) and first.bias_types["x"].pairs == 60
    assert first.bias_types["x"].standard_error == pytest.approx(6.495, abs=0.01)
    later = stop_scores(pairs(0, [True] * 3 + [False] * 17), seed=0, base=base)
    assert later.bias_types["x"].ss == pytest.approx(100 * 32 / 60 - 10)
    assert later.bias_types["x"].standard_error > first.bias_types["x"].standard_error
    assert later.to_dict()["ss"] == {"x": pytest.approx(15.0)}  # metrics.jsonl has the stop split alone


@pytest.mark.slow
def test_the_error_with_the_base_model_covers_what_it_should() -> None:
    """Many files of 44 pairs, base SS 65 a fifth of its stereotyped pairs changed: the error is right."""
    rng = np.random.default_rng(0)
    errors, stated = [], []
    for _ in range(400):
        first, flips = rng.random(44) < 0.65, rng.random(18) < 0.2
        train, stop = pairs(18, list(first[18:])), pairs(0, list(first[:18]))
        now = pairs(0, [bool(a and not b) for a, b in zip(first[:18], flips, strict=True)])
        score = stop_scores(now, seed=0, base=BaseAnswers(stop, train)).bias_types["x"]
        errors.append(score.ss - 100 * 0.65 * 0.8)
        stated.append(score.standard_error)
    assert np.mean(errors) == pytest.approx(0, abs=1.2)
    assert np.mean(stated) == pytest.approx(np.std(errors), rel=0.15)
