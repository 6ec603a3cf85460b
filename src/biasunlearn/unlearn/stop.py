"""The stop rule, collapse, and which checkpoint is the best: pure functions of an evaluation of the stop split.

The paper (arXiv 2509.25673) stops when the SS of every bias type is within 2 points of 50. The stop rule here also
requires that LMS has not fallen by more than `lms_floor` points; a run whose model breaks is stopped as collapsed.
Both limits know how many items LMS was measured with: one item of 18 is 6 points of LMS and no collapse.
With a swap rule that has no weight within the noise of the stop split, SS cannot come nearer to 50 than that, and a
bias type within it counts as having reached 50. With `swap_by: subgroup` the same is required of each subgroup.
"""

from biasunlearn.config import DebiasConfig
from biasunlearn.unlearn.evaluation import Evaluation
from biasunlearn.unlearn.swap import IDEAL, noise

LMS_PRICE = 10
"""Points of SS that one point of LMS below the floor costs: no gain in SS makes up for a broken model."""


def stop_reason(evaluation: Evaluation, config: DebiasConfig) -> str:
    """In what way an evaluation meets the stop rule, for results.json; empty if it does not."""
    if beyond_floor(evaluation, config) > 0:
        return ""
    scores = evaluation.scores.controlled.values()
    what = "subgroups" if evaluation.scores.subgroups else "bias types"
    if config.stop_rule == "interval":
        lowest, highest = IDEAL - config.interval_margin, IDEAL + config.interval_margin
        met = all(lowest <= score.low and score.high <= highest for score in scores)
        return f"all {what}' intervals within {config.interval_margin:g} of 50" if met else ""
    if all(abs(score.ss - IDEAL) <= config.margin for score in scores):
        return f"all {what} within {config.margin:g} of 50"
    if all(abs(score.ss - IDEAL) <= max(config.margin, noise(score, config)) for score in scores):
        return f"all {what} within {config.margin:g} of 50 or within the noise of the stop split"
    return ""


def collapse_reason(evaluation: Evaluation, config: DebiasConfig) -> str:
    """Why the run has collapsed, with what to change; empty if it has not."""
    if not evaluation.finite:
        return "collapse: a loss is not finite; lower the learning rate"
    if evaluation.lms_fall - evaluation.fall_error > config.collapse_lms:
        fall = evaluation.lms_fall
        return f"collapse: LMS fell by {fall:.1f} points; lower the learning rate or raise retain_weight"
    if abs(evaluation.log_ratio) > config.collapse_ratio:
        return (
            f"collapse: the forget loss diverged (mean log ratio {evaluation.log_ratio:.0f} nats); "
            "raise retain_weight or kl_weight"
        )
    return ""


def distance(evaluation: Evaluation, config: DebiasConfig) -> float:
    """How far a model is from the goal, in points of SS; the best checkpoint is the one with the smallest.

    Mean |SS - 50| over bias types (with `swap_by: subgroup` over their subgroups), plus
    `LMS_PRICE` for every point that LMS fell below its floor.
    """
    scores = evaluation.scores.controlled.values()
    gap = sum(abs(score.ss - IDEAL) for score in scores) / len(scores)
    return gap + LMS_PRICE * beyond_floor(evaluation, config)


def beyond_floor(evaluation: Evaluation, config: DebiasConfig) -> float:
    """Points of LMS lost beyond `lms_floor`, and beyond what a stop split of this size loses by chance."""
    return max(0.0, evaluation.lms_fall - max(config.lms_floor, evaluation.fall_error))


def is_best(candidate: float, smallest: float, config: DebiasConfig, *, trained: bool) -> bool:
    """Whether a model at distance `candidate` replaces the best checkpoint, `smallest` being the smallest so far.

    The smallest of many noisy distances is too small by chance, so a distance within half the margin of it counts as
    equal, and the latest of equals is kept. The base model (`trained` false) is only replaced by a smaller distance.
    """
    return candidate < smallest or trained and candidate <= smallest + config.margin / 2
