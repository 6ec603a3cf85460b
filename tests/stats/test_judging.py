"""Votes, kappa, bounds and the correction of a judge's share, against numbers by hand and by simulation."""

import numpy as np
import pytest

from biasunlearn.stats.bootstrap import Estimate
from biasunlearn.stats.judging import (
    HumanLabels,
    agreement,
    cohen_kappa,
    corrected_share,
    decision,
    flip_rate,
    length_correlation,
    panel_median,
    rogan_gladen,
    strict_majority,
)


@pytest.mark.parametrize(
    ("votes", "members", "label"),
    [
        (["a", "a", None], 3, "a"),
        (["a", "b", None], 3, None),
        (["b", "a", None], 3, None),  # the order of the members decides nothing
        (["a", None, None], 3, None),  # the mode of the present votes would say a
        (["a", "a", "b", "b"], 4, None),
        (["a"], 1, "a"),
        ([None], 1, None),
        ([], 3, None),
    ],
)
def test_a_majority_is_one_of_the_panel_as_configured(votes, members, label):
    assert strict_majority(votes, members) == label


def test_more_votes_than_members_are_refused():
    with pytest.raises(ValueError, match="2 votes of a panel of 1"):
        strict_majority(["a", "a"], 1)


def test_the_median_needs_more_than_half_of_the_panel():
    assert panel_median([3.0, 9.0, None], 3) == 6.0
    assert panel_median([3.0, None, None], 3) is None


def test_kappa_by_hand():
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)
    assert agreement(first, second) == pytest.approx(0.7)
    assert cohen_kappa(first, first) == pytest.approx(1.0)
    assert cohen_kappa(["a", "b"] * 500, ["a", "a", "b", "b"] * 250) == pytest.approx(0.0)  # independent labels
    assert cohen_kappa(["a", "a"], ["a", "a"]) is None  # one label only: chance agrees as well
    assert cohen_kappa([], []) is None


def test_flips_and_length_by_hand():
    assert flip_rate(["a", "a", "b"], ["a", "b", None]) == 0.5
    assert flip_rate(["a"], [None]) is None
    assert length_correlation([1, 2, 3, 4], [10, 20, 30, 40]) == pytest.approx(1.0)
    assert length_correlation([4, 3, 2, 1], [10, 20, 30, 40]) == pytest.approx(-1.0)
    assert length_correlation([1, 1, 1], [1, 2, 3]) is None


def test_a_limit_is_undecided_where_unscored_answers_would_change_it():
    def at_most_30(found):
        return found.high <= 30

    low, high = Estimate(20, 15, 25), Estimate(40, 35, 45)
    assert decision(at_most_30, low, low, low) == "yes"
    assert decision(at_most_30, high, high, high) == "no"
    assert decision(at_most_30, low, high, low) == "undecided"


def test_the_corrected_share_is_that_of_rogan_and_gladen():
    # 26 % judged positive; of 52 such 36 are, of 148 others 4 are.
    found = corrected_share(np.full(100, 0.26), HumanLabels(52, 36, 148, 4))
    assert found is not None
    assert found.share.value == pytest.approx(0.26 * 36 / 52 + 0.74 * 4 / 148)
    assert found.sensitivity.value == pytest.approx(0.9) and found.specificity.value == pytest.approx(0.9)
    again = rogan_gladen(0.26, found.sensitivity.value, found.specificity.value)
    assert found.share.value == pytest.approx(again) == pytest.approx(0.2)
    assert found.labels == 200
    assert found.share.low < 0.2 < found.share.high


def test_a_judge_that_says_nothing_cannot_be_corrected():
    with pytest.raises(ValueError, match="no better than chance"):
        rogan_gladen(0.5, 0.4, 0.6)
    assert corrected_share(np.full(100, 0.26), HumanLabels(0, 0, 148, 4)) is None
    with pytest.raises(ValueError, match="not a table of labels"):
        HumanLabels(3, 4, 0, 0)


def covered(sensitivity: float, specificity: float, share: float, *, corrected: bool = True) -> float:
    """Share of simulated runs of 1,000 answers with 150 labels whose interval holds the true share."""
    rng = np.random.default_rng(5)
    inside, runs = 0, 1500
    for run in range(runs):
        positive = rng.binomial(1000, share)
        right, wrong = rng.binomial(positive, sensitivity), rng.binomial(1000 - positive, 1 - specificity)
        missed, judged = positive - right, (right + wrong) / 1000
        labels = HumanLabels(
            75, rng.hypergeometric(right, wrong, 75), 75, rng.hypergeometric(missed, 1000 - right - wrong - missed, 75)
        )
        q = np.concatenate([[judged], rng.binomial(1000, judged, size=600) / 1000])
        found = corrected_share(q, labels, seed=run, draws=600)
        assert found is not None
        ends = (found.share.low, found.share.high) if corrected else np.quantile(q[1:], [0.025, 0.975])
        inside += bool(ends[0] <= share <= ends[1])
    return inside / runs


@pytest.mark.slow
@pytest.mark.parametrize(("sensitivity", "specificity"), [(0.9, 0.9), (0.7, 0.95)])
def test_coverage_of_the_corrected_interval(sensitivity, specificity):
    assert 0.93 <= covered(sensitivity, specificity, 0.2) <= 0.97


@pytest.mark.slow
def test_the_judge_s_own_interval_does_not_cover():
    assert covered(0.7, 0.95, 0.4, corrected=False) < 0.1  # negative control
