"""The decision after each evaluation of the stop split: which swap weights to train with next, and whether to stop.

Pure: scores in, decision out. The rules themselves are in unlearn/swap.py and unlearn/stop.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from biasunlearn.config import DebiasConfig
from biasunlearn.unlearn.evaluation import Evaluation
from biasunlearn.unlearn.stop import collapse_reason, meets_stop_rule, stop_reason
from biasunlearn.unlearn.swap import SwapState, exchanged, initial_swap_weights, swap_weights


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do until the next evaluation."""

    swap_weights: Mapping[str, float]
    """Bias type -> weight in [-1, 1]; the sets of those below 0 are exchanged."""
    passed: int = 0
    """Evaluations in a row that met the stop rule, this one included."""
    stop: bool = False
    collapsed: bool = False
    reason: str = ""
    swapped: tuple[str, ...] = field(default=())
    """Bias types whose sets this decision exchanges: their swap weight changed its sign."""
    ss: Mapping[str, float] = field(default_factory=dict)
    """SS at this evaluation, with which the next one is compared."""
    step: int = 0
    """The step of this evaluation."""


def first_decision(evaluation: Evaluation, config: DebiasConfig) -> Decision:
    """The decision before the first step, from the scores of the base model."""
    return Decision(initial_swap_weights(evaluation, config), ss=evaluation.scores.ss, step=evaluation.step)


def decide(before: Decision, evaluation: Evaluation, config: DebiasConfig) -> Decision:
    """The decision after an evaluation. Pure: the same inputs give the same decision."""
    if reason := collapse_reason(evaluation, config):
        return Decision(before.swap_weights, stop=True, collapsed=True, reason=reason)
    weights = swap_weights(SwapState(before.swap_weights, before.ss, before.step), evaluation, config)
    passed = before.passed + 1 if meets_stop_rule(evaluation, config) else 0
    stop = passed >= config.confirm
    return Decision(
        weights,
        passed,
        stop,
        reason=stop_reason(config) if stop else "",
        swapped=exchanged(before.swap_weights, weights),
        ss=evaluation.scores.ss,
        step=evaluation.step,
    )
