"""The swap rule: an evaluation of the stop split -> the swap weight of each bias type, in [-1, 1]. Pure.

In the paper (arXiv 2509.25673) a bias type whose SS falls below 50 has its forget and retain sets exchanged. Here that
decision is a number, the swap weight u: its sign says which set is forgotten (negative: exchanged), and its size weighs
the two role losses of the bias type. With the error e = (SS - 50) / band, clipped to [-1, 1] where it is used alone:

    none           u = 1
    hard           u = 1 for SS >= 50, else -1 (the paper)
    proportional   u = e
    pi             u <- u + KI * (steps / 25) * e + KP * (e - e of the last evaluation), clipped to [-1, 1]

The last is a proportional-integral controller in its incremental form: the integral part finds the weight at which SS
stays where it is against the KL term, which pulls the bias back.

The last two rules act only on what the stop split can tell from 50 (`_effective`), since to follow its noise would bias
an unbiased model: the first version trained a bias type whose stop split had an SS of 48.9, 0.4 standard errors from
50, towards the stereotype. Therefore

- the swap weight is 0 while |SS - 50| lies within `swap_noise` standard errors;
- a negative weight, which trains towards the stereotype, requires an interval of SS that lies below 50;
- a weight never pushes SS further away from 50;
- a bias type that has no weight at the start is held: it has none until its interval excludes 50, on either side;
- the integral of the pi rule does not grow while its weight is 0 (anti-windup).

With `swap_noise: 0` the weight is the output of the rule, as in version 0.1.0.

With `swap_by: subgroup` each subgroup of a bias type has a swap weight of its own, by the same rules.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from biasunlearn.config import DebiasConfig
from biasunlearn.unlearn.evaluation import BiasTypeScore, Evaluation, ss_of

IDEAL = 50.0

KP = 0.25
"""Proportional gain: change of the swap weight per band by which SS moved since the last evaluation."""

KI = 0.15
"""Integral gain: change of the swap weight per band of distance from 50 that lasts `INTEGRAL_STEPS` steps. It is a
rate, because small files are evaluated every few steps, and a gain per evaluation would make the weight oscillate."""

INTEGRAL_STEPS = 25

KNOWS_NOISE = ("pi", "proportional")
"""Swap rules that act only on what the stop split can tell from 50. The other two are those of the paper."""


@dataclass(frozen=True, slots=True)
class SwapState:
    """The swap weights, and what the rule remembers of an evaluation."""

    weights: Mapping[str, float]
    """Bias type -> weight in [-1, 1]."""
    ss: Mapping[str, float]
    """SS at the evaluation, with which the next one is compared."""
    step: int
    outputs: Mapping[str, float]
    """Output of the pi controller, which is the weight except where the weight is 0 because of noise."""
    held: tuple[str, ...] = ()
    """Bias types that the stop split could not tell from 50 before training."""


def initial_swap(evaluation: Evaluation, config: DebiasConfig) -> SwapState:
    """The weights before the first step: 1 (paper), or in proportion to how far the base model is from 50."""
    scores = evaluation.scores.controlled
    if config.swap in KNOWS_NOISE:
        weights = {name: _effective(_proportional(score, config), score, config) for name, score in scores.items()}
        held = tuple(name for name, weight in weights.items() if weight == 0 and knows_noise(config))
    else:
        weights, held = dict.fromkeys(scores, 1.0), ()
    return SwapState(weights, ss_of(scores), evaluation.step, dict(weights), held)


def next_swap(last: SwapState, evaluation: Evaluation, config: DebiasConfig) -> SwapState:
    """The weights after an evaluation."""
    scores = evaluation.scores.controlled
    outputs = {name: _output(name, last, evaluation, config) for name in scores}
    chosen = {name: _effective(outputs[name], scores[name], config, held=name in last.held) for name in scores}
    if config.focus == "farthest":
        farthest = max(scores, key=lambda name: abs(scores[name].ss - IDEAL))
        chosen = {name: weight if name == farthest else 0.0 for name, weight in chosen.items()}
    # A weight of 0 keeps the sign of the last one, which says whether the sets are exchanged at present.
    weights = {name: weight or math.copysign(0.0, last.weights.get(name, 1.0)) for name, weight in chosen.items()}
    return SwapState(weights, ss_of(scores), evaluation.step, outputs, last.held)


def exchanged(before: Mapping[str, float], after: Mapping[str, float]) -> tuple[str, ...]:
    """Bias types whose sets are exchanged between the two: their weight changes its sign (0 and -0 included)."""
    return tuple(name for name in after if math.copysign(1, after[name]) != math.copysign(1, before.get(name, 1.0)))


def knows_noise(config: DebiasConfig) -> bool:
    """Whether the swap rule acts only on what the stop split can tell from 50."""
    return config.swap in KNOWS_NOISE and config.swap_noise > 0


def noise(score: BiasTypeScore, config: DebiasConfig) -> float:
    """Points of SS around 50 that the swap rule takes for noise of the stop split."""
    return config.swap_noise * score.standard_error if knows_noise(config) else 0.0


def _output(name: str, last: SwapState, evaluation: Evaluation, config: DebiasConfig) -> float:
    """What the rule would choose if the stop split had no noise."""
    score = evaluation.scores.controlled[name]
    if config.swap == "none":
        return 1.0
    if config.swap == "hard":
        return -1.0 if score.ss < IDEAL else 1.0
    if config.swap == "proportional":
        return _proportional(score, config)
    before = last.outputs.get(name, 1.0)
    moved = KP * (score.ss - last.ss.get(name, score.ss)) / _band(score, config)
    lasted = (evaluation.step - last.step) / INTEGRAL_STEPS
    grown = KI * lasted * (score.ss - IDEAL) / _band(score, config)
    output = _clipped(before + moved + grown)
    idle = knows_noise(config) and _effective(output, score, config, held=name in last.held) == 0.0
    return _clipped(before + moved) if idle and abs(output) > abs(before + moved) else output


def _effective(output: float, score: BiasTypeScore, config: DebiasConfig, *, held: bool = False) -> float:
    """The weight that the stop split justifies: the output of the rule where SS can be told from 50, else 0."""
    if not knows_noise(config):
        return output
    if abs(score.ss - IDEAL) <= noise(score, config):
        return 0.0
    if score.ss > IDEAL:
        return 0.0 if held and score.low <= IDEAL else max(0.0, output)
    return min(0.0, output) if score.high < IDEAL else 0.0


def _proportional(score: BiasTypeScore, config: DebiasConfig) -> float:
    return _clipped((score.ss - IDEAL) / _band(score, config))


def _clipped(weight: float) -> float:
    return max(-1.0, min(1.0, weight))


def _band(score: BiasTypeScore, config: DebiasConfig) -> float:
    """Points of SS that count as far, at least one standard error."""
    return max(config.swap_band, score.standard_error)
