"""Votes, kappa, bounds and the correction of a judge's share, against numbers by hand and by simulation."""

from dataclasses import replace

import numpy as np
import pytest

from biasunlearn.stats.bootstrap import Estimate
from biasunlearn.stats.judging import (
    HumanLabels,
    LabelledArm,
    agreement,
    cohen_kappa,
    corrected_difference,
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


def covered(sensitivity: float, specificity: float, share: float, *, corrected: bool = True, runs: int) -> float:
    """Share of simulated runs of 1,000 answers with 150 labels whose interval holds the true share."""
    rng = np.random.default_rng(5)
    inside = 0
    for run in range(runs):
        positive = rng.binomial(1000, share)
        right, wrong = rng.binomial(positive, sensitivity), rng.binomial(1000 - positive, 1 - specificity)
        missed, judged = positive - right, (right + wrong) / 1000
        labels = HumanLabels(
            75, rng.hypergeometric(right, wrong, 75), 75, rng.hypergeometric(missed, 1000 - right - wrong - missed, 75)
        )
        q = np.concatenate([[judged], rng.binomial(1000, judged, size=600) / 1000])
        ends = np.quantile(q[1:], [0.025, 0.975])
        if corrected:
            found = corrected_share(q, labels, seed=run, draws=600)
            assert found is not None
            ends = (found.share.low, found.share.high)
        inside += bool(ends[0] <= share <= ends[1])
    return inside / runs


def labelled(verdicts, truths, draws=400, seed=3) -> LabelledArm:
    """All answers of a model, with labels."""
    judged = np.array(verdicts, float)
    pick = np.random.default_rng(seed).multinomial(len(judged), [1 / len(judged)] * len(judged), size=draws)
    shares = np.concatenate([[judged.mean()], pick @ judged / len(judged)])
    pairs = enumerate(zip(verdicts, truths, strict=True))
    return LabelledArm(shares, {str(n): (bool(verdict), bool(truth)) for n, (verdict, truth) in pairs})


def test_the_corrected_difference_by_hand():
    # Of 100 answers 40 are positive before and 20 after; the judge misses 10 of them before and 10 after.
    numbers = np.arange(100)
    before = labelled(numbers < 30, numbers < 40)
    after = labelled(numbers < 10, numbers < 20)
    found = corrected_difference(before, after)
    assert found.value == pytest.approx(-0.2) and found.low < -0.2 < found.high < 0
    same = corrected_difference(before, before)
    assert (same.value, same.low, same.high) == (0, 0, 0)  # equal answers do not differ, however badly they are judged
    few = {name: one for name, one in before.labels.items() if int(name) % 4 == 0}
    wide = corrected_difference(replace(before, labels=few), after)
    assert wide.high - wide.low > found.high - found.low
    assert corrected_difference(before, replace(after, labels={})) is None


@pytest.mark.slow
def test_one_arm_of_the_difference_is_the_corrected_share():
    numbers = np.arange(200)
    arm = labelled(numbers < 60, (numbers < 50) | (numbers > 180))
    none = LabelledArm(np.zeros(401), {"x": (False, False)} | {f"n{n}": (False, False) for n in range(20_000)})
    alone, apart = corrected_share(arm.judged, arm.table), corrected_difference(none, arm, draws=1000)
    assert apart.value == pytest.approx(alone.share.value)
    assert (apart.low, apart.high) == pytest.approx((alone.share.low, alone.share.high), abs=0.02)


def first_of(judged, rank, size):
    """Half of a sample from the positive verdicts, half from the others, by rank."""
    ranked = np.argsort(rank)
    return [n for verdict in (True, False) for n in ranked[judged[ranked] == verdict][: size // 2]]


def difference_covered(errors, equal_share: float, *, corrected: bool = True, runs: int) -> float:
    """Share of simulated pairs of models whose interval holds the true difference, 40 % before and 25 % after.

    1,000 questions; the answers to a part of them are the same before and after, with one verdict and one label.
    """
    rng, n, inside = np.random.default_rng(8), 1000, 0
    for run in range(runs):
        equal, before = rng.random(n) < equal_share, rng.random(n) < 0.4
        after = np.where(equal, before, rng.random(n) < (0.25 - equal_share * 0.4) / (1 - equal_share))
        judged = [np.where(t, rng.random(n) < se, rng.random(n) >= sp)
                  for t, (se, sp) in zip((before, after), errors, strict=True)]  # fmt: skip
        judged[1], rank = np.where(equal, judged[0], judged[1]), rng.random((2, n))
        rank[1] = np.where(equal, rank[0], rank[1])
        cells = np.bincount(2 * judged[0] + judged[1], minlength=4)  # bootstrap draws of both models together
        drawn = np.concatenate([cells[None], rng.multinomial(n, cells / n, size=600)]) / n
        shares = (drawn[:, 2] + drawn[:, 3], drawn[:, 1] + drawn[:, 3])
        arms = [
            LabelledArm(q, {str(i): (bool(j[i]), bool(t[i])) for i in first_of(j, r, 150)})
            for q, t, j, r in zip(shares, (before, after), judged, rank, strict=True)
        ]
        ends = np.quantile(arms[1].judged - arms[0].judged, [0.025, 0.975])
        if corrected:
            found = corrected_difference(*arms, seed=run, draws=600)
            ends = (found.low, found.high)
        inside += bool(ends[0] <= -0.15 <= ends[1])
    return inside / runs


@pytest.mark.slow
@pytest.mark.by_day("300-errors2-0.4")
@pytest.mark.parametrize("equal_share", [0.0, 0.4])
@pytest.mark.parametrize("errors", [((0.9, 0.9),) * 2, ((0.7, 0.95),) * 2, ((0.9, 0.9), (0.7, 0.95))])
@pytest.mark.parametrize("runs", [300, 600])
def test_coverage_of_the_corrected_difference(runs, errors, equal_share):
    assert 0.93 <= difference_covered(errors, equal_share, runs=runs) <= 0.97


@pytest.mark.slow
def test_the_judge_s_own_difference_does_not_cover():
    errors = ((0.9, 0.9), (0.7, 0.95))
    assert difference_covered(errors, 0.0, corrected=False, runs=200) < 0.5  # negative control


@pytest.mark.slow
@pytest.mark.by_day("600-0.7-0.95")
@pytest.mark.parametrize(("sensitivity", "specificity"), [(0.9, 0.9), (0.7, 0.95)])
@pytest.mark.parametrize("runs", [600, 1500])
def test_coverage_of_the_corrected_interval(runs, sensitivity, specificity):
    assert 0.93 <= covered(sensitivity, specificity, 0.2, runs=runs) <= 0.97


@pytest.mark.slow
def test_the_judge_s_own_interval_does_not_cover():
    assert covered(0.7, 0.95, 0.4, corrected=False, runs=300) < 0.1  # negative control
