"""Swap and stop: scores in, decision out. No model, no torch, no randomness.

The paper: a bias type whose SS falls below 50 has its forget and retain sets exchanged; training stops when
every bias type is within 2 points of 50. Here the push of a bias type is a number: its sign says which set is
forgotten (negative: exchanged), its size weighs the two role losses.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from biasunlearn.config import DebiasConfig

IDEAL = 50.0

BY_GAP, BY_MOVE, PER_STEPS = 0.15, 0.25, 25
"""swap: steady. What the push gains for a band of distance from 50 that lasts `PER_STEPS` steps, and for a band of
movement since the last check. The first is a rate: a small file is looked at every few steps, and a gain per look would
swing the push from end to end before the model has answered."""


@dataclass(frozen=True, slots=True)
class StopScore:
    """One bias type on the stop split: SS with its interval, in percent."""

    ss: float
    low: float
    high: float

    @property
    def error(self) -> float:
        """Standard error in points: the interval spans 2 * 1.96 of them."""
        return (self.high - self.low) / 3.92


@dataclass(frozen=True, slots=True)
class Check:
    """What one look at the stop split found. LMS is None where no stop triplet has an unrelated sentence."""

    step: int
    scores: Mapping[str, StopScore]
    lms: float | None
    lms_before: float | None
    log_ratio: float = 0.0
    """Mean log p_theta - log p_ref of the forget sentences since the last check, in nats."""
    finite: bool = True
    """Were all losses since the last check finite?"""

    @property
    def lms_fall(self) -> float:
        """Points of LMS lost since the start; 0 where it is not measured."""
        return 0.0 if self.lms is None or self.lms_before is None else self.lms_before - self.lms


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do next. `push` maps each bias type to [-1, 1]."""

    push: Mapping[str, float]
    passed: int = 0
    """Checks in a row that met the stop rule, this one included."""
    stop: bool = False
    collapsed: bool = False
    reason: str = ""
    swapped: tuple[str, ...] = field(default=())
    """Bias types whose sets this decision exchanges (their push changed its sign)."""
    ss: Mapping[str, float] = field(default_factory=dict)
    """What the check found, which the next one is compared with."""
    step: int = 0
    """The step of the check."""


def start(bias_types: "list[str] | tuple[str, ...]") -> Decision:
    """The paper's start: every bias type at full push, nothing exchanged."""
    return Decision({bias_type: 1.0 for bias_type in bias_types})


def begin(check: Check, config: DebiasConfig) -> Decision:
    """The decision before the first step: full push (paper), or as far as the untrained model is from 50."""
    if config.swap in ("steady", "proportional"):
        push = {b: _share(score, config) for b, score in check.scores.items()}
        return Decision(push, ss=_ss(check), step=check.step)
    return start(tuple(check.scores))


def decide(before: Decision, check: Check, config: DebiasConfig) -> Decision:
    """The decision after a check. Pure: the same inputs give the same decision."""
    if cause := _collapse(check, config):
        return Decision(before.push, stop=True, collapsed=True, reason=cause)
    push = {b: _push(b, check, before, config) for b in check.scores}
    if config.focus == "farthest":
        farthest = max(check.scores, key=lambda b: abs(check.scores[b].ss - IDEAL))
        push = {b: value if b == farthest else 0.0 for b, value in push.items()}
    push = {b: value if value else math.copysign(0.0, before.push.get(b, 1.0)) for b, value in push.items()}
    # A push of 0 keeps the sign of the one before it: it says which way round the sets still stand.
    swapped = tuple(b for b in push if math.copysign(1, push[b]) != math.copysign(1, before.push.get(b, 1.0)))
    passed = before.passed + 1 if _within(check, config) else 0
    done = passed >= config.confirm
    reason = _reason(config) if done else ""
    return Decision(push, passed, done, reason=reason, swapped=swapped, ss=_ss(check), step=check.step)


def distance(check: Check, config: DebiasConfig) -> float:
    """How far a check is from the goal, for keeping the best checkpoint: lower is better.

    Mean |SS - 50| over bias types; every point of LMS lost beyond the floor counts as much as ten points of SS,
    so that no gain in SS buys a broken model.
    """
    gap = sum(abs(score.ss - IDEAL) for score in check.scores.values()) / len(check.scores)
    return gap + 10 * max(0.0, check.lms_fall - config.lms_floor)


def takes_its_place(far: float, nearest: float, config: DebiasConfig, *, trained: bool) -> bool:
    """Is a check at distance `far` kept in place of the one kept so far, where the nearest yet was at `nearest`?

    The nearest of many checks is the luckiest, so what is within half the margin of it counts as equal, and of equals
    the latest is kept. The untrained model (`trained` false) only gives way to what is nearer.
    """
    return far < nearest or trained and far <= nearest + config.margin / 2


def _push(bias_type: str, check: Check, before: Decision, config: DebiasConfig) -> float:
    score = check.scores[bias_type]
    if config.swap == "none":
        return 1.0
    if config.swap == "hard":  # the paper: below 50 the sets are exchanged, from 50 up they are not
        return -1.0 if score.ss < IDEAL else 1.0
    if config.swap == "proportional":
        return _share(score, config)
    # A push that were 0 at 50 would let KL pull the bias back. This one settles where SS stays at 50: it goes on
    # from the last one, more by what is missing, less by how fast SS already falls.
    moved = score.ss - before.ss.get(bias_type, score.ss)
    lasted = (check.step - before.step) / PER_STEPS
    gain = (BY_GAP * lasted * (score.ss - IDEAL) + BY_MOVE * moved) / _band(score, config)
    return max(-1.0, min(1.0, before.push.get(bias_type, 1.0) + gain))


def _share(score: StopScore, config: DebiasConfig) -> float:
    return max(-1.0, min(1.0, (score.ss - IDEAL) / _band(score, config)))


def _band(score: StopScore, config: DebiasConfig) -> float:
    """Points of SS that count as far. A gap within its own standard error may be noise, and chasing noise would bias
    a fair model."""
    return max(config.swap_band, score.error)


def _ss(check: Check) -> dict[str, float]:
    return {b: score.ss for b, score in check.scores.items()}


def _within(check: Check, config: DebiasConfig) -> bool:
    if check.lms_fall > config.lms_floor:
        return False
    scores = check.scores.values()
    if config.stop_rule == "interval":
        return all(IDEAL - config.interval_margin <= s.low and s.high <= IDEAL + config.interval_margin for s in scores)
    return all(abs(score.ss - IDEAL) <= config.margin for score in scores)


def _collapse(check: Check, config: DebiasConfig) -> str:
    if not check.finite:
        return "collapse: a loss is not finite; lower the learning rate"
    if check.lms_fall > config.collapse_lms:
        return f"collapse: LMS fell by {check.lms_fall:.1f} points; lower the learning rate or raise retain_weight"
    if abs(check.log_ratio) > config.collapse_ratio:
        return (
            f"collapse: the forget loss ran away (mean log ratio {check.log_ratio:.0f} nats); "
            "raise retain_weight or kl_weight"
        )
    return ""


def _reason(config: DebiasConfig) -> str:
    if config.stop_rule == "interval":
        return f"all bias types' intervals within {config.interval_margin:g} of 50"
    return f"all bias types within {config.margin:g} of 50"
