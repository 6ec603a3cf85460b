"""The decision after each evaluation of the stop split: which swap weights to train with next, and whether to stop.

Pure: scores in, decision out. The rules themselves are in unlearn/swap.py and unlearn/stop.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from biasunlearn.config import DebiasConfig
from biasunlearn.unlearn.evaluation import Evaluation
from biasunlearn.unlearn.stop import collapse_reason, stop_reason
from biasunlearn.unlearn.swap import SwapState, exchanged, initial_swap, next_swap

EVEN = "nothing to unlearn: the SS of no bias type can be told from 50 on the pairs of this run"


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
    outputs: Mapping[str, float] = field(default_factory=dict)
    """Output of the pi controller for each bias type, which it remembers while the swap weight is 0."""
    held: tuple[str, ...] = field(default=())
    """Bias types that the stop split could not tell from 50 before training."""

    @property
    def swap_state(self) -> SwapState:
        """What the swap rule needs of this decision for the next one."""
        return SwapState(self.swap_weights, self.ss, self.step, self.outputs or self.swap_weights, self.held)


def first_decision(evaluation: Evaluation, config: DebiasConfig, *, invariance: bool = False) -> Decision:
    """The decision before the first step, from the scores of the base model.

    Training does not begin if no bias type has a swap weight: no evaluation would give it a goal. It does begin if it
    has an invariance loss, whose goal is the same whatever SS is: a mean of 50 can hide an association with the group.

    Args:
        invariance: whether there are sentences for the invariance loss.
    """
    swap = initial_swap(evaluation, config)
    even = not any(swap.weights.values()) and not (invariance and config.invariance_weight)
    return Decision(
        swap.weights, stop=even, reason=EVEN if even else "",
        ss=swap.ss, step=swap.step, outputs=swap.outputs, held=swap.held,
    )  # fmt: skip


def decide(before: Decision, evaluation: Evaluation, config: DebiasConfig) -> Decision:
    """The decision after an evaluation. Pure: the same inputs give the same decision."""
    if reason := collapse_reason(evaluation, config):
        return Decision(before.swap_weights, stop=True, collapsed=True, reason=reason)
    swap = next_swap(before.swap_state, evaluation, config)
    met = stop_reason(evaluation, config)
    passed = before.passed + 1 if met else 0
    stop = passed >= config.confirm
    return Decision(
        swap.weights,
        passed,
        stop,
        reason=met if stop else "",
        swapped=exchanged(before.swap_weights, swap.weights),
        ss=swap.ss,
        step=swap.step,
        outputs=swap.outputs,
        held=swap.held,
    )
