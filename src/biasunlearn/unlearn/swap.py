"""The swap rule: an evaluation of the stop split -> the swap weight of each bias type, in [-1, 1]. Pure.

In the paper (arXiv 2509.25673) a bias type whose SS falls below 50 has its forget and retain sets exchanged. Here that
decision is a number, the swap weight u: its sign says which set is forgotten (negative: exchanged), and its size weighs
the two role losses of the bias type. With the error e = (SS - 50) / band, clipped to [-1, 1] where it is used alone:

    none           u = 1
    hard           u = 1 for SS >= 50, else -1 (the paper)
    proportional   u = e
    pi             u <- u + KI * (steps / 25) * e + KP * (e - e of the last evaluation), clipped to [-1, 1]

The last is a proportional-integral controller in its incremental form: at SS = 50 a proportional weight is 0, and the
KL term would pull the bias back, whereas the integral part keeps the weight at which SS stays at 50.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from biasunlearn.config import DebiasConfig
from biasunlearn.unlearn.evaluation import BiasTypeScore, Evaluation

IDEAL = 50.0

KP = 0.25
"""Proportional gain: change of the swap weight per band by which SS moved since the last evaluation."""

KI = 0.15
"""Integral gain: change of the swap weight per band of distance from 50 that lasts `INTEGRAL_STEPS` steps. It is a
rate, because small files are evaluated every few steps, and a gain per evaluation would make the weight oscillate."""

INTEGRAL_STEPS = 25


@dataclass(frozen=True, slots=True)
class SwapState:
    """What the rule remembers of the last evaluation."""

    weights: Mapping[str, float]
    ss: Mapping[str, float]
    step: int


def initial_swap_weights(evaluation: Evaluation, config: DebiasConfig) -> dict[str, float]:
    """The weights before the first step: 1 (paper), or in proportion to how far the base model is from 50."""
    scores = evaluation.scores.bias_types
    if config.swap in ("pi", "proportional"):
        return {name: _proportional(score, config) for name, score in scores.items()}
    return dict.fromkeys(scores, 1.0)


def swap_weights(last: SwapState, evaluation: Evaluation, config: DebiasConfig) -> dict[str, float]:
    """The weights after an evaluation."""
    scores = evaluation.scores.bias_types
    chosen = {name: _weight(name, last, evaluation, config) for name in scores}
    if config.focus == "farthest":
        farthest = max(scores, key=lambda name: abs(scores[name].ss - IDEAL))
        chosen = {name: weight if name == farthest else 0.0 for name, weight in chosen.items()}
    # A weight of 0 keeps the sign of the last one, which says whether the sets are exchanged at present.
    return {name: weight or math.copysign(0.0, last.weights.get(name, 1.0)) for name, weight in chosen.items()}


def exchanged(before: Mapping[str, float], after: Mapping[str, float]) -> tuple[str, ...]:
    """Bias types whose sets are exchanged between the two: their weight changes its sign (0 and -0 included)."""
    return tuple(name for name in after if math.copysign(1, after[name]) != math.copysign(1, before.get(name, 1.0)))


def _weight(name: str, last: SwapState, evaluation: Evaluation, config: DebiasConfig) -> float:
    score = evaluation.scores.bias_types[name]
    if config.swap == "none":
        return 1.0
    if config.swap == "hard":
        return -1.0 if score.ss < IDEAL else 1.0
    if config.swap == "proportional":
        return _proportional(score, config)
    moved = score.ss - last.ss.get(name, score.ss)
    lasted = (evaluation.step - last.step) / INTEGRAL_STEPS
    change = (KI * lasted * (score.ss - IDEAL) + KP * moved) / _band(score, config)
    return _clipped(last.weights.get(name, 1.0) + change)


def _proportional(score: BiasTypeScore, config: DebiasConfig) -> float:
    return _clipped((score.ss - IDEAL) / _band(score, config))


def _clipped(weight: float) -> float:
    return max(-1.0, min(1.0, weight))


def _band(score: BiasTypeScore, config: DebiasConfig) -> float:
    """Points of SS that count as far. Never below the standard error: to follow noise would bias an unbiased model."""
    return max(config.swap_band, score.standard_error)
