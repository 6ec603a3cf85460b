"""Stop, collapse and the best checkpoint as tables of cases: scores of the stop split -> what is done next."""

import math
from typing import Any

import pytest

from biasunlearn.unlearn.decision import Decision, decide
from biasunlearn.unlearn.stop import distance, is_best
from tests.unlearn.evaluations import config, evaluation, start


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
    found = decide(start(list(scores)), evaluation(scores), config(margin=2.0))
    assert (found.stop, found.collapsed, found.passed) == (stop, False, int(stop))
    assert found.reason == ("all bias types within 2 of 50" if stop else "")


@pytest.mark.parametrize(
    ("swap", "swap_noise", "stop"), [("pi", 1.0, True), ("pi", 0.9, False), ("pi", 0.0, False), ("hard", 1.0, False)]
)
def test_point_rule_stops_where_the_swap_rule_has_no_weight_left(swap: str, swap_noise: float, stop: bool) -> None:
    """A standard error of 4 and a distance of 3.8: within the noise of one standard error, not of 0.9 (3.6)."""
    rule = config(swap=swap, swap_noise=swap_noise, margin=2.0)
    found = decide(start(["age", "race"]), evaluation({"age": 53.8, "race": 51.0}, width=1.96 * 4), rule)
    assert found.stop is stop
    assert found.reason == ("all bias types within 2 of 50 or within the noise of the stop split" if stop else "")


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
    found = decide(start(["race"]), evaluation({"race": ss}, width=width), rule)
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
        start(["race"]), evaluation({"race": 50.0}, lms=lms, lms_before=before), config(stop_rule=rule, lms_floor=1.5)
    )
    assert (found.stop, found.collapsed) == (stop, False)


def test_confirm_counts_evaluations_in_a_row() -> None:
    decision, stops, passed = start(["race"]), [], []
    for ss in (50.0, 51.0, 55.0, 50.0, 49.0, 50.0):
        decision = decide(decision, evaluation({"race": ss}), config(confirm=3))
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
    decision = decide(before, evaluation({"race": 50.0}, **found), config())  # SS 50: a collapsed model looks fair
    assert decision.stop and decision.collapsed
    assert decision.reason.startswith("collapse: ") and cause in decision.reason
    assert decision.swap_weights == before.swap_weights and decision.swapped == () and decision.passed == 0


@pytest.mark.parametrize("found", [{"lms": 82.0}, {"log_ratio": -60.0}, {"log_ratio": 60.0}, {"lms": None}])
def test_no_collapse_at_the_limits(found: dict[str, Any]) -> None:
    assert not decide(start(["race"]), evaluation({"race": 55.0}, **found), config()).collapsed


@pytest.mark.parametrize(("error", "collapsed"), [(0.0, True), (8.6, True), (8.8, False)])
def test_a_fall_of_lms_is_a_collapse_only_beyond_its_error(error: float, collapsed: bool) -> None:
    """A fall of 16.7 points, three items of 18, with a limit of 8."""
    found = decide(start(["race"]), evaluation({"race": 55.0}, lms=73.3, fall_error=error), config())
    assert found.collapsed is collapsed


@pytest.mark.parametrize(("error", "lost"), [(0.0, 4.1), (1.4, 4.1), (3.0, 2.6), (6.0, 0.0)])
def test_the_floor_of_lms_is_at_least_its_error(error: float, lost: float) -> None:
    """A fall of 5.6 points, one item of 18; the floor is 1.5 points, or the error where that is larger."""
    asked = evaluation({"race": 50.0}, lms=84.4, fall_error=error)
    assert distance(asked, config(lms_floor=1.5)) == pytest.approx(10 * lost)
    assert decide(start(["race"]), asked, config(lms_floor=1.5)).stop is (lost == 0.0)


def test_a_log_ratio_that_is_no_number_is_a_collapse() -> None:
    assert decide(start(["race"]), evaluation({"race": 50.0}, log_ratio=math.nan, finite=False), config()).collapsed


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
    assert distance(evaluation(scores, lms=lms), config(lms_floor=1.5)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("candidate", "smallest", "trained", "best"),
    [
        (1.9, 2.0, False, True),  # nearer than the base model
        (2.0, 2.0, False, False),  # as near is not enough
        (1.9, 2.0, True, True),
        (3.0, 2.0, True, True),  # within half the margin of 2: equal, and later
        (3.1, 2.0, True, False),
    ],
)
def test_of_equals_the_latest_is_the_best(candidate: float, smallest: float, trained: bool, best: bool) -> None:
    assert is_best(candidate, smallest, config(margin=2.0), trained=trained) is best
