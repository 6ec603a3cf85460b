"""Swap and stop as a table of cases: what was found -> what is done next."""

import copy
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biasunlearn.config import DebiasConfig
from biasunlearn.unlearn.swap import Check, Decision, StopScore, begin, decide, distance, start, takes_its_place


def config(**changes: Any) -> DebiasConfig:
    """The numbers that the tables below are worked with, whatever the defaults are."""
    pinned = {
        "swap": "proportional", "swap_band": 6.0, "focus": "all", "stop_rule": "point", "margin": 2.0, "confirm": 1,
        "interval_margin": 6.0, "lms_floor": 1.5, "collapse_lms": 8.0, "collapse_ratio": 60.0,
    }  # fmt: skip
    return DebiasConfig(**{**pinned, **changes})


CONFIG = config()


def check(scores: dict[str, float], *, width: float = 3.0, **others: Any) -> Check:
    """A check at step 20 whose intervals reach `width` points to both sides."""
    values = {"step": 20, "lms": 90.0, "lms_before": 90.0, **others}
    return Check(scores={b: StopScore(ss, ss - width, ss + width) for b, ss in scores.items()}, **values)


def test_start_is_full_push_on_every_bias_type() -> None:
    assert start(("race", "gender")) == Decision({"race": 1.0, "gender": 1.0})


# --- push ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("swap", "ss", "push"),
    [
        # hard (paper): exchanged below 50, and only below
        ("hard", 100.0, 1.0),
        ("hard", 50.1, 1.0),
        ("hard", 50.0, 1.0),
        ("hard", 49.9, -1.0),
        ("hard", 0.0, -1.0),
        # proportional, band 6: (SS - 50) / 6, at most 1 either way
        ("proportional", 100.0, 1.0),
        ("proportional", 56.0, 1.0),
        ("proportional", 53.0, 0.5),
        ("proportional", 50.0, 0.0),
        ("proportional", 48.5, -0.25),
        ("proportional", 44.0, -1.0),
        ("proportional", 0.0, -1.0),
        # none: never exchanged
        ("none", 60.0, 1.0),
        ("none", 50.0, 1.0),
        ("none", 40.0, 1.0),
    ],
)
def test_push(swap: str, ss: float, push: float) -> None:
    found = decide(start(["race"]), check({"race": ss}), config(swap=swap, swap_band=6.0))
    assert found.push == {"race": pytest.approx(push)}


def test_steady_goes_on_from_the_last_push_by_gap_and_movement() -> None:
    """Band 4, gains 0.15 and 0.25, looks 25 steps apart. From 60, full push. 54, six points lower: 1 + 0.15 - 0.375 =
    0.775. 50, four lower: 0.775 + 0 - 0.25 = 0.525. 50 again: at 50 and at rest the push stays. 46: 0.525 - 0.15 - 0.25
    = 0.125. 44: 0.125 - 0.225 - 0.125 = -0.225, which exchanges the sets."""
    settings = config(swap="steady", swap_band=4.0)
    decision = begin(check({"race": 60.0}, step=0), settings)
    assert decision.push == {"race": 1.0}
    course = [(54.0, 0.775), (50.0, 0.525), (50.0, 0.525), (46.0, 0.125), (44.0, -0.225)]
    for number, (ss, push) in enumerate(course, 1):
        decision = decide(decision, check({"race": ss}, step=25 * number), settings)
        assert decision.push == {"race": pytest.approx(push)}, ss
        assert decision.swapped == (("race",) if push < 0 else ())


def test_steady_never_pushes_beyond_full_and_comes_back_at_once() -> None:
    """Long far away, the push does not pile up beyond 1: 1 + 0.15 * 16 / 4 is 1, and the next fall lowers it."""
    settings = config(swap="steady", swap_band=4.0)
    decision = begin(check({"race": 66.0}, step=0), settings)
    for number in range(5):
        decision = decide(decision, check({"race": 66.0}, step=25 * (number + 1)), settings)
    assert decision.push == {"race": 1.0}
    fallen = decide(decision, check({"race": 52.0}, step=150), settings)
    assert fallen.push["race"] == pytest.approx(1 + 0.15 / 2 - 0.25 * 3.5)


@pytest.mark.parametrize("every", [1, 5, 25])
def test_steady_does_not_depend_on_how_often_it_is_looked_at(every: int) -> None:
    """From 60 (full push) down to 46 at step 25, then 46 for 25 steps: 1 - 0.15 - 0.875 = -0.025, then -0.175."""
    settings = config(swap="steady", swap_band=4.0)
    decision = decide(begin(check({"race": 60.0}, step=0), settings), check({"race": 46.0}, step=25), settings)
    assert decision.push == {"race": pytest.approx(-0.025)}
    for step in range(25 + every, 51, every):
        decision = decide(decision, check({"race": 46.0}, step=step), settings)
    assert decision.push == {"race": pytest.approx(-0.175)}


def test_each_bias_type_is_pushed_on_its_own() -> None:
    scores = {"gender": 56.0, "race": 47.0, "religion": 50.0}
    assert decide(start(list(scores)), check(scores), CONFIG).push == {"gender": 1.0, "race": -0.5, "religion": 0.0}


@pytest.mark.parametrize(
    ("scores", "push"),
    [
        ({"gender": 56.0, "race": 47.0}, {"gender": 1.0, "race": 0.0}),
        ({"gender": 52.0, "race": 46.0}, {"gender": 0.0, "race": -1.0}),  # farthest below: exchanged
        ({"gender": 53.0, "race": 47.0}, {"gender": 1.0, "race": 0.0}),  # a tie: the first
    ],
)
def test_farthest_focus_trains_one_bias_type(scores: dict[str, float], push: dict[str, float]) -> None:
    assert decide(start(list(scores)), check(scores), config(swap="hard", focus="farthest")).push == push


# --- swapped -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("course", "swapped"),
    [
        # a course of SS, and at each check: is this decision one that exchanges the sets?
        ([60.0, 55.0, 49.0], [False, False, True]),
        ([49.0, 48.0, 51.0, 52.0, 49.0], [True, False, True, False, True]),
        ([50.0, 49.0], [False, True]),
        ([49.0, 50.0, 49.0], [True, False, False]),  # at 50 the sets stay as they are: exchanged
        ([49.0, 50.0, 51.0], [True, False, True]),
        ([51.0, 50.0, 51.0], [False, False, False]),
        ([49.0, 50.0, 50.0, 51.0], [True, False, False, True]),
    ],
)
def test_swapped_says_when_the_sets_are_exchanged_and_when_back(course: list[float], swapped: list[bool]) -> None:
    decision, found = start(["race"]), []
    for ss in course:
        decision = decide(decision, check({"race": ss}), CONFIG)
        found.append(decision.swapped == ("race",))
    assert found == swapped


def test_swapped_remembers_a_bias_type_that_was_out_of_focus() -> None:
    """race is exchanged, then gender has the focus, then race again, still below 50: nothing new is exchanged."""
    settings, decision = config(swap="hard", focus="farthest"), start(["gender", "race"])
    course = [
        ({"gender": 52.0, "race": 44.0}, ("race",)),
        ({"gender": 57.0, "race": 47.0}, ()),
        ({"gender": 52.0, "race": 44.0}, ()),
        ({"gender": 52.0, "race": 56.0}, ("race",)),
    ]
    for scores, swapped in course:
        decision = decide(decision, check(scores), settings)
        assert decision.swapped == swapped, scores


def test_swapped_names_all_that_are() -> None:
    scores = {"gender": 40.0, "race": 60.0, "religion": 45.0}
    assert decide(start(list(scores)), check(scores), CONFIG).swapped == ("gender", "religion")
    assert decide(start(list(scores)), check(scores), config(swap="none")).swapped == ()


# --- stop ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "stop"),
    [
        ({"gender": 50.0, "race": 50.0}, True),
        ({"gender": 52.0, "race": 48.0}, True),  # the margin belongs to the goal
        ({"gender": 52.01, "race": 50.0}, False),
        ({"gender": 50.0, "race": 47.99}, False),  # one is enough to go on
    ],
)
def test_point_rule_stops_within_the_margin(scores: dict[str, float], stop: bool) -> None:
    found = decide(start(list(scores)), check(scores), config(margin=2.0))
    assert (found.stop, found.collapsed, found.passed) == (stop, False, int(stop))
    assert found.reason == ("all bias types within 2 of 50" if stop else "")


@pytest.mark.parametrize(
    ("ss", "width", "stop"),
    [
        (50.0, 6.0, True),  # 44 .. 56
        (50.0, 6.1, False),
        (51.0, 5.0, True),  # 46 .. 56
        (51.0, 5.1, False),
        (49.0, 5.1, False),
        (50.0, 20.0, False),  # at 50, and far too few items to know
        (53.0, 1.0, True),  # beyond the point margin, within the interval's
    ],
)
def test_interval_rule_asks_for_the_whole_interval(ss: float, width: float, stop: bool) -> None:
    rule = config(stop_rule="interval", interval_margin=6.0, margin=2.0)
    found = decide(start(["race"]), check({"race": ss}, width=width), rule)
    assert found.stop is stop
    assert found.reason == ("all bias types' intervals within 6 of 50" if stop else "")


@pytest.mark.parametrize("rule", ["point", "interval"])
@pytest.mark.parametrize(
    ("lms", "before", "stop"),
    [
        (90.0, 90.0, True),
        (95.0, 90.0, True),  # a rise is no fall
        (88.5, 90.0, True),  # the floor itself
        (88.4, 90.0, False),  # below it the run is not done, however fair it looks
        (None, None, True),  # not measured
        (None, 90.0, True),
    ],
)
def test_a_fall_of_lms_blocks_the_stop(lms: float | None, before: float | None, stop: bool, rule: str) -> None:
    found = decide(
        start(["race"]), check({"race": 50.0}, lms=lms, lms_before=before), config(stop_rule=rule, lms_floor=1.5)
    )
    assert (found.stop, found.collapsed) == (stop, False)


def test_confirm_counts_checks_in_a_row() -> None:
    decision, stops, passed = start(["race"]), [], []
    for ss in (50.0, 51.0, 55.0, 50.0, 49.0, 50.0):
        decision = decide(decision, check({"race": ss}), config(confirm=3))
        stops.append(decision.stop)
        passed.append(decision.passed)
    assert passed == [1, 2, 0, 1, 2, 3]
    assert stops == [False] * 5 + [True]


# --- collapse ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "cause"),
    [
        ({"finite": False}, "a loss is not finite"),
        ({"lms": 81.9}, "LMS fell by 8.1 points"),
        ({"log_ratio": -60.1}, "mean log ratio -60 nats"),
        ({"log_ratio": 61.0}, "mean log ratio 61 nats"),
    ],
)
def test_collapse_stops_with_its_cause_and_is_no_success(found: dict[str, Any], cause: str) -> None:
    before = Decision({"race": -0.5}, passed=2)
    decision = decide(before, check({"race": 50.0}, **found), CONFIG)  # SS 50: a collapsed model looks fair
    assert decision.stop and decision.collapsed
    assert decision.reason.startswith("collapse: ") and cause in decision.reason
    assert decision.push == before.push and decision.swapped == () and decision.passed == 0


@pytest.mark.parametrize("found", [{"lms": 82.0}, {"log_ratio": -60.0}, {"log_ratio": 60.0}, {"lms": None}])
def test_no_collapse_at_the_limits(found: dict[str, Any]) -> None:
    assert not decide(start(["race"]), check({"race": 55.0}, **found), CONFIG).collapsed


def test_a_log_ratio_that_is_no_number_is_a_collapse() -> None:
    assert decide(start(["race"]), check({"race": 50.0}, log_ratio=math.nan, finite=False), CONFIG).collapsed


# --- distance ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "lms", "expected"),
    [
        ({"a": 50.0}, 90.0, 0.0),
        ({"a": 53.0, "b": 46.0}, 90.0, 3.5),  # (3 + 4) / 2
        ({"a": 50.0}, 88.5, 0.0),  # a fall of 1.5: the floor
        ({"a": 50.0}, 87.5, 10.0),  # one point beyond: ten points of SS
        ({"a": 52.0}, 95.0, 2.0),  # a rise of LMS buys nothing
        ({"a": 47.0}, None, 3.0),
    ],
)
def test_distance(scores: dict[str, float], lms: float | None, expected: float) -> None:
    assert distance(check(scores, lms=lms), config(lms_floor=1.5)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("far", "nearest", "trained", "kept"),
    [
        (1.9, 2.0, False, True),  # nearer than the untrained model
        (2.0, 2.0, False, False),  # as near is not enough
        (1.9, 2.0, True, True),
        (3.0, 2.0, True, True),  # within half the margin of 2: equal, and later
        (3.1, 2.0, True, False),
    ],
)
def test_of_equals_the_latest_is_kept(far: float, nearest: float, trained: bool, kept: bool) -> None:
    assert takes_its_place(far, nearest, config(margin=2.0), trained=trained) is kept


# --- properties ----------------------------------------------------------------------------------------------------

PERCENT = st.floats(0, 100)
SETTINGS = st.builds(
    DebiasConfig,
    swap=st.sampled_from(["steady", "proportional", "hard", "none"]),
    focus=st.sampled_from(["all", "farthest"]),
    stop_rule=st.sampled_from(["point", "interval"]),
    confirm=st.integers(1, 3),
)


@given(
    st.lists(st.dictionaries(st.sampled_from("abcd"), PERCENT, min_size=4, max_size=4), min_size=1, max_size=5),
    PERCENT,
    SETTINGS,
)
def test_decide_is_pure_and_keeps_within_its_bounds(
    course: list[dict[str, float]], lms: float, settings: DebiasConfig
) -> None:
    decision = start("abcd")
    for scores in course:
        asked = check(scores, lms=lms)
        given_before, given_check = copy.deepcopy(decision), copy.deepcopy(asked)
        found = decide(decision, asked, settings)
        assert found == decide(decision, asked, settings)
        assert (decision, asked) == (given_before, given_check)  # nothing it was given is changed
        assert found.push.keys() == set("abcd")
        assert all(-1.0 <= value <= 1.0 for value in found.push.values())
        assert not (found.collapsed and not found.stop)
        assert bool(found.reason) == found.stop
        assert distance(asked, settings) >= 0
        if not found.collapsed:
            for bias_type, value in found.push.items():
                assert value * (scores[bias_type] - 50) >= 0 or settings.swap in ("steady", "none")
        decision = found
        if found.stop:
            break


@given(PERCENT)
def test_a_higher_score_is_never_pushed_less(ss: float) -> None:
    for swap in ("hard", "proportional"):
        low, high = (decide(start("a"), check({"a": value}), config(swap=swap)).push["a"] for value in (ss, ss + 1))
        assert low <= high


# --- what the noise of the stop split may not do -------------------------------------------------------------------


def test_a_gap_within_its_own_error_is_not_pushed_at_full_strength() -> None:
    """Half-width 19.6 is a standard error of 10 points: a gap of 5 gets half the push; a gap of 5 +- 1 all of it."""
    config = DebiasConfig(swap="proportional", swap_band=2.0)
    noisy = Check(step=1, scores={"age": StopScore(55.0, 35.4, 74.6)}, lms=None, lms_before=None)
    sure = Check(step=1, scores={"age": StopScore(55.0, 53.0, 57.0)}, lms=None, lms_before=None)
    before = start(["age"])
    assert decide(before, noisy, config).push["age"] == pytest.approx(0.5)
    assert decide(before, sure, config).push["age"] == 1.0


@pytest.mark.parametrize(("swap", "push"), [("steady", 0.0), ("proportional", 0.0), ("hard", 1.0), ("none", 1.0)])
def test_an_unbiased_model_is_left_alone_from_the_first_step(swap: str, push: float) -> None:
    fair = Check(step=0, scores={"age": StopScore(50.0, 40.0, 60.0)}, lms=None, lms_before=None)
    assert begin(fair, DebiasConfig(swap=swap)).push == {"age": push}
