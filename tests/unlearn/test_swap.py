"""The swap rule as a table of cases: scores of the stop split -> the swap weight of each bias type."""

import pytest

from biasunlearn.config import DebiasConfig
from biasunlearn.unlearn.decision import decide, first_decision
from tests.unlearn.evaluations import config, evaluation, start


@pytest.mark.parametrize(
    ("swap", "ss", "weight"),
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
def test_the_weight_after_an_evaluation(swap: str, ss: float, weight: float) -> None:
    found = decide(start(["race"]), evaluation({"race": ss}), config(swap=swap, swap_band=6.0))
    assert found.swap_weights == {"race": pytest.approx(weight)}


def test_pi_changes_the_last_weight_by_the_distance_and_the_movement() -> None:
    """Band 4, KI 0.15, KP 0.25, evaluations 25 steps apart. From 60, weight 1. 54, six points lower: 1 + 0.15 - 0.375 =
    0.775. 50, four lower: 0.775 + 0 - 0.25 = 0.525. 50 again, without movement: unchanged. 46: 0.525 - 0.15 - 0.25
    = 0.125. 44: 0.125 - 0.225 - 0.125 = -0.225, which exchanges the sets."""
    settings = config(swap="pi", swap_band=4.0)
    decision = first_decision(evaluation({"race": 60.0}, step=0), settings)
    assert decision.swap_weights == {"race": 1.0}
    course = [(54.0, 0.775), (50.0, 0.525), (50.0, 0.525), (46.0, 0.125), (44.0, -0.225)]
    for number, (ss, weight) in enumerate(course, 1):
        decision = decide(decision, evaluation({"race": ss}, step=25 * number), settings)
        assert decision.swap_weights == {"race": pytest.approx(weight)}, ss
        assert decision.swapped == (("race",) if weight < 0 else ())


def test_pi_is_clipped_and_does_not_wind_up() -> None:
    """However long SS is far away, the weight stays at 1: 1 + 0.15 * 16 / 4 is clipped, and the next fall lowers it."""
    settings = config(swap="pi", swap_band=4.0)
    decision = first_decision(evaluation({"race": 66.0}, step=0), settings)
    for number in range(5):
        decision = decide(decision, evaluation({"race": 66.0}, step=25 * (number + 1)), settings)
    assert decision.swap_weights == {"race": 1.0}
    fallen = decide(decision, evaluation({"race": 52.0}, step=150), settings)
    assert fallen.swap_weights["race"] == pytest.approx(1 + 0.15 / 2 - 0.25 * 3.5)


@pytest.mark.parametrize("every", [1, 5, 25])
def test_pi_does_not_depend_on_the_number_of_evaluations(every: int) -> None:
    """From 60 (weight 1) down to 46 at step 25, then 46 for 25 steps: 1 - 0.15 - 0.875 = -0.025, then -0.175."""
    settings = config(swap="pi", swap_band=4.0)
    decision = first_decision(evaluation({"race": 60.0}, step=0), settings)
    decision = decide(decision, evaluation({"race": 46.0}, step=25), settings)
    assert decision.swap_weights == {"race": pytest.approx(-0.025)}
    for step in range(25 + every, 51, every):
        decision = decide(decision, evaluation({"race": 46.0}, step=step), settings)
    assert decision.swap_weights == {"race": pytest.approx(-0.175)}


def test_each_bias_type_has_its_own_weight() -> None:
    scores = {"gender": 56.0, "race": 47.0, "religion": 50.0}
    found = decide(start(scores), evaluation(scores), config()).swap_weights
    assert found == {"gender": 1.0, "race": -0.5, "religion": 0.0}


@pytest.mark.parametrize(
    ("scores", "weights"),
    [
        ({"gender": 56.0, "race": 47.0}, {"gender": 1.0, "race": 0.0}),
        ({"gender": 52.0, "race": 46.0}, {"gender": 0.0, "race": -1.0}),  # farthest below: exchanged
        ({"gender": 53.0, "race": 47.0}, {"gender": 1.0, "race": 0.0}),  # a tie: the first
    ],
)
def test_farthest_focus_trains_one_bias_type(scores: dict[str, float], weights: dict[str, float]) -> None:
    settings = config(swap="hard", focus="farthest")
    assert decide(start(scores), evaluation(scores), settings).swap_weights == weights


# --- swapped -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("course", "swapped"),
    [
        # a course of SS; after each evaluation: does the decision exchange the sets?
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
        decision = decide(decision, evaluation({"race": ss}), config())
        found.append(decision.swapped == ("race",))
    assert found == swapped


def test_a_bias_type_out_of_focus_stays_exchanged() -> None:
    """race is exchanged, then gender has the focus, then race again, still below 50: nothing new is exchanged."""
    settings, decision = config(swap="hard", focus="farthest"), start(["gender", "race"])
    course = [
        ({"gender": 52.0, "race": 44.0}, ("race",)),
        ({"gender": 57.0, "race": 47.0}, ()),
        ({"gender": 52.0, "race": 44.0}, ()),
        ({"gender": 52.0, "race": 56.0}, ("race",)),
    ]
    for scores, swapped in course:
        decision = decide(decision, evaluation(scores), settings)
        assert decision.swapped == swapped, scores


def test_swapped_names_all_that_are() -> None:
    scores = {"gender": 40.0, "race": 60.0, "religion": 45.0}
    assert decide(start(list(scores)), evaluation(scores), config()).swapped == ("gender", "religion")
    assert decide(start(list(scores)), evaluation(scores), config(swap="none")).swapped == ()


# --- noise of the stop split ---------------------------------------------------------------------------------------


def test_a_distance_within_its_standard_error_does_not_have_full_weight() -> None:
    """Half-width 19.6 is a standard error of 10 points: a distance of 5 has weight 0.5, one of 5 +- 1 has weight 1."""
    settings, before = config(swap_band=2.0), start(["age"])
    noisy, precise = evaluation({"age": 55.0}, width=19.6), evaluation({"age": 55.0}, width=2.0)
    assert decide(before, noisy, settings).swap_weights["age"] == pytest.approx(0.5)
    assert decide(before, precise, settings).swap_weights["age"] == 1.0


@pytest.mark.parametrize(("swap", "weight"), [("pi", 0.0), ("proportional", 0.0), ("hard", 1.0), ("none", 1.0)])
def test_an_unbiased_model_is_not_changed_from_the_first_step_on(swap: str, weight: float) -> None:
    unbiased = evaluation({"age": 50.0}, width=10.0, step=0)
    assert first_decision(unbiased, DebiasConfig(swap=swap)).swap_weights == {"age": weight}


@pytest.mark.parametrize("swap", ["hard", "none"])
def test_the_paper_starts_with_full_weight_on_every_bias_type(swap: str) -> None:
    """Also on one below 50: the first exchange follows the first evaluation."""
    found = first_decision(evaluation({"race": 45.0, "gender": 60.0}, step=0), config(swap=swap))
    assert found.swap_weights == {"race": 1.0, "gender": 1.0} and found.swapped == ()
