"""How much of an effect is kept: by hand, its interval, and where there is nothing to keep."""

import numpy as np
import pytest

from biasunlearn.benchmarks import stereoset
from biasunlearn.report.tables.transfer import effect_line
from biasunlearn.runs.sections import Effect
from biasunlearn.stats.bootstrap import Estimate
from biasunlearn.stats.effect import effect_kept, nearer_to_50
from biasunlearn.stats.outcome import Outcome
from tests import made_runs


def ss(**hits):
    outcomes = stereoset.outcomes(made_runs.items({"age": hits["age"], "work": hits["work"]}))
    return [outcome for outcome in outcomes if outcome.score == "ss"]


def both(count):
    return ss(age=count, work=count)


def test_half_is_kept():
    """120 pairs a bias type: 84 -> 60 is 70 -> 50 (20 points); 84 -> 72 is 70 -> 60 (10 points). 10 / 20 = 0.5."""
    found = effect_kept([both(84), both(60), both(84), both(72)])
    assert found.n == 240 and found.base.value == pytest.approx(20)
    assert found.target.value == pytest.approx(10) and found.kept.value == pytest.approx(0.5)
    assert found.kept.low <= 0.5 <= found.kept.high


def test_a_target_that_is_less_biased_cannot_show_all_of_it():
    """84 -> 66 is 20 -> 5 points; from 72 (10 points) to 60 (none) is 10 of 15, and there is no more to be had."""
    found = effect_kept([both(84), both(66), both(72), both(60)])
    assert found.kept.value == pytest.approx(10 / 15) and found.most == pytest.approx(10 / 15)
    line = effect_line(Effect.of(found))
    assert "Effect transferred: 67 %" in line and "at most 67 % is possible" in line
    whole = effect_kept([both(84), both(66), both(84), both(60)])
    assert "at most" not in effect_line(Effect.of(whole))


def test_an_identical_target_keeps_all_of_it_exactly():
    found = effect_kept([both(84), both(66), both(84), both(66)])
    assert found.kept == Estimate(1.0, 1.0, 1.0)


def test_an_overshoot_is_not_an_effect():
    """40 and 60 average to 50, and are 10 away all the same: nothing is gained over 60 and 60."""
    found = effect_kept([both(84), both(60), both(72), ss(age=48, work=72)])
    assert found.target.value == pytest.approx(0) and found.kept.value == pytest.approx(0)


def test_signed_takes_what_is_past_50_for_a_gain():
    """Base 70 -> 50 (20 points), target 70 -> 40: 10 nearer to 50, 30 away from the stereotype. 30 / 20 = 1.5."""
    states = [both(84), both(60), both(84), both(48)]
    assert effect_kept(states).kept.value == pytest.approx(0.5)
    found = effect_kept(states, signed=True)
    assert found.target.value == pytest.approx(30) and found.kept.value == pytest.approx(1.5)
    # the side is each bias type's own: one that leant to the anti-stereotype gains by rising
    mixed = [ss(age=84, work=36), both(60), ss(age=84, work=36), ss(age=72, work=48)]
    assert effect_kept(mixed, signed=True).kept.value == pytest.approx(0.5)


def test_nothing_to_keep_is_said():
    assert "cannot be distinguished from zero" in effect_kept([both(84), both(84), both(84), both(60)]).reason
    other = stereoset.outcomes(made_runs.items({"age": 60, "work": 60}, prefix="x"))
    assert "no report items in common" in effect_kept([both(84), both(60), other, other]).reason


# --- which of several runs is nearest -------------------------------------------------------------------------------


def runs(rng, *shares, terms=30, size=20):
    """SS outcomes of two bias types for each share of stereotyped pairs, on the same items."""
    return [
        [Outcome(f"{b}{t}-{n}", f"t{t}", b, "ss", 100.0 * (rng.random() < share))
         for b in "ab" for t in range(terms) for n in range(size)]
        for share in shares
    ]  # fmt: skip


def test_only_runs_that_differ_are_ordered_and_the_nearer_one_is_named():
    near, far, same = runs(np.random.default_rng(0), 0.5, 0.65, 0.65)
    found = nearer_to_50({"far": [far], "near": [near], "same": [same]})
    assert {(one.nearer, one.farther) for one in found} == {("near", "far"), ("near", "same")}
    assert all(one.p_holm < 0.01 for one in found)
    assert nearer_to_50({}) == [] and nearer_to_50({"far": [far]}) == []


def test_the_distances_of_seeds_are_averaged():
    near, far, middle, other = runs(np.random.default_rng(1), 0.5, 0.66, 0.58, 0.58)
    assert nearer_to_50({"two seeds": [near, far], "one": [middle]}) == []
    assert {one.farther for one in nearer_to_50({"two seeds": [middle, other], "one": [near]})} == {"two seeds"}


@pytest.mark.slow
def test_equal_runs_are_rarely_ordered():
    """Five runs of one SS, ten pairs: Holm keeps the chance of any order at 5 %; 8 of 60 would be 13 %."""
    rng = np.random.default_rng(2)
    worlds = [nearer_to_50({str(n): [one] for n, one in enumerate(runs(rng, *[0.6] * 5, terms=12, size=6))})
              for _ in range(60)]  # fmt: skip
    assert sum(bool(found) for found in worlds) <= 8
