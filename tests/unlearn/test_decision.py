"""Properties of every decision, for any scores and any rule."""

import copy

from hypothesis import given
from hypothesis import strategies as st

from biasunlearn.config import DebiasConfig
from biasunlearn.unlearn.decision import decide
from biasunlearn.unlearn.stop import distance
from tests.unlearn.evaluations import config, evaluation, start

PERCENT = st.floats(0, 100)
SETTINGS = st.builds(
    DebiasConfig,
    swap=st.sampled_from(["pi", "proportional", "hard", "none"]),
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
        asked = evaluation(scores, lms=lms)
        given_before, given_evaluation = copy.deepcopy(decision), copy.deepcopy(asked)
        found = decide(decision, asked, settings)
        assert found == decide(decision, asked, settings)
        assert (decision, asked) == (given_before, given_evaluation)  # nothing it was given is changed
        assert found.swap_weights.keys() == set("abcd")
        assert all(-1.0 <= value <= 1.0 for value in found.swap_weights.values())
        assert not (found.collapsed and not found.stop)
        assert bool(found.reason) == found.stop
        assert distance(asked, settings) >= 0
        if not found.collapsed:
            for bias_type, value in found.swap_weights.items():
                assert value * (scores[bias_type] - 50) >= 0 or settings.swap in ("pi", "none")
        decision = found
        if found.stop:
            break


@given(PERCENT)
def test_a_higher_score_never_has_a_lower_weight(ss: float) -> None:
    for swap in ("hard", "proportional"):
        settings = config(swap=swap)
        low, high = (decide(start("a"), evaluation({"a": value}), settings).swap_weights["a"] for value in (ss, ss + 1))
        assert low <= high
