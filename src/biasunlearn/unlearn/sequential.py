"""Sequential evaluations: score a part of the stop split, and more of it only where the decision is not yet clear.

An evaluation predicts what the evaluation of the whole stop split would give. Every bias type (with `swap_by: subgroup`
every subgroup) is a stratum, whose items are scored in random blocks: 20 % of them first, then 35, 50, 70 and 100 %. A
block has the target terms in their proportions. An item that has not been scored is predicted from its last known
answer, by a linear regression of the answers on the last ones among the scored items of the stratum. The mean of
answers and predictions is the regression estimator of survey sampling (Cochran, Sampling Techniques, 1977, chapter 7).
Adjacent evaluations agree on nine of ten items, so that a small part of them tells most of what has changed.

After each block the decision is also taken with the SS of each stratum, and with LMS, moved by up to 1.645 errors of
its prediction to both sides, within which the whole stop split lies with a probability of 90 %. A stratum is scored no
further when the direction of its swap weight and whether it meets the stop rule do not change. A decision that would
end the training is only taken on the whole stop split. The order of the items depends on the seed and the step alone,
and the last answers are in the checkpoint, so that a resumed run is the same run.
"""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from biasunlearn.config import DebiasConfig
from biasunlearn.stats.stereoset import Comparison
from biasunlearn.unlearn.decision import Decision, decide
from biasunlearn.unlearn.evaluation import BiasTypeScore, Evaluation, StopScores
from biasunlearn.unlearn.stop import stop_reason

SHARES = (0.2, 0.35, 0.5, 0.7, 1.0)
"""Shares of the items of a stratum that have been scored after each block."""

FEWEST = 40
"""Items of a stratum in its first block, or all that it has."""

REACH = 1.645
"""Prediction errors to both sides within which the decision must be the same: 90 % of a normal distribution."""

SHIFTS = (-1.0, -0.5, 0.5, 1.0)
"""Where between these two ends the decision is compared with that of the prediction."""

PRIOR = 0.5
"""Added to the sum of the squared residuals: one that no scored item has changed does not know that none has."""

Answers = Sequence[tuple[float, float | None]]
"""What is known of each item of the stop split, in order: `Comparison.stereotyped` and `Comparison.meaningful`."""


@dataclass(frozen=True, slots=True)
class SequentialEvaluator:
    """Evaluates a model on as many items of the stop split as the decision needs."""

    base: Sequence[Comparison]
    """The base model's comparison of every item of the stop split, in order."""
    compare: Callable[[Sequence[str]], Sequence[Comparison]]
    """Scores the items with these clusters (`Comparison.cluster`) with the model as it is, in this order."""
    summarise: Callable[[Sequence[Comparison]], StopScores]
    """The scores of comparisons of the whole stop split (`stop_scores`)."""
    stratum: Callable[[str, str], str] = lambda bias_type, target: bias_type
    """(bias type, target term) -> stratum: what has a swap weight of its own."""
    reach: float = REACH
    """Prediction errors to both sides within which the decision must be the same."""

    def base_scores(self) -> StopScores:
        """The scores of the base model."""
        return self.summarise(self.base)

    def evaluate(
        self,
        step: int,
        before: Decision,
        known: Answers,
        evaluation: Callable[[StopScores], Evaluation],
        config: DebiasConfig,
    ) -> tuple[StopScores, Answers]:
        """The scores of the model, and what is then known of all items.

        Args:
            before: the last decision, on which the next one depends.
            known: the last known answers; empty: those of the base model.
            evaluation: makes the evaluation at this step of scores.
        """
        known = known or [(one.stereotyped, one.meaningful) for one in self.base]
        last = [_answered(one, y, m) for one, (y, m) in zip(self.base, known, strict=True)]
        strata = [self.stratum(one.bias_type, one.target) for one in last]
        blocks = _blocks(strata, [one.target for one in last], np.random.default_rng([config.seed, step]))
        undecided: Collection[str] = set(blocks)
        scored: dict[int, Comparison] = {}
        while True:
            wanted = [number for name in sorted(undecided) for number in blocks[name].pop(0)]
            scored |= zip(wanted, self.compare([last[number].cluster for number in wanted]), strict=True)
            prediction = predict(last, scored, strata)
            scores = replace(prediction.restated(self.summarise(prediction.rows)), evaluated=len(scored))
            left = {name for name, parts in blocks.items() if parts}
            open_to = undecided_strata(before, evaluation(scores), prediction, config, self.reach) if left else set()
            # All of them: also a subgroup without training pairs, which has no swap weight.
            undecided = left if open_to >= set(scores.controlled) else left & open_to
            if not undecided:
                rows = [scored.get(number, one) for number, one in enumerate(last)]
                return scores, [(row.stereotyped, row.meaningful) for row in rows]


def _blocks(strata: Sequence[str], terms: Sequence[str], rng: np.random.Generator) -> dict[str, list[list[int]]]:
    """The items of each stratum in a random order, in blocks.

    An item whose term has n items is put at a random place in one of n equal parts of the order, so that every block
    has the terms in their proportions.
    """
    members: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, (stratum, term) in enumerate(zip(strata, terms, strict=True)):
        members[stratum][term].append(number)
    blocks = {}
    for stratum in sorted(members):
        places: dict[int, float] = {}
        for term in sorted(members[stratum]):
            items = members[stratum][term]
            drawn = (rng.permutation(len(items)) + rng.random(len(items))) / len(items)
            places |= zip(items, drawn.tolist(), strict=True)
        order = sorted(places, key=lambda number: places[number])
        ends = sorted({min(len(order), max(FEWEST, math.ceil(share * len(order)))) for share in SHARES})
        blocks[stratum] = [order[first:end] for first, end in itertools.pairwise([0, *ends])]
    return blocks


@dataclass(frozen=True, slots=True)
class Prediction:
    """The whole stop split as far as it is known: answers of the scored items, and predictions of the others."""

    rows: Sequence[Comparison]
    missing: Mapping[str, float]
    """Points^2 of SS: what the variance of SS lacks since predictions vary less than answers; by bias type, stratum."""
    errors: Mapping[str, float]
    """Points of SS: the standard error of the prediction of the SS of all items; by bias type and stratum."""
    lms_error: float
    """The same of LMS."""

    def restated(self, scores: StopScores) -> StopScores:
        """The scores of `rows`, with the standard errors that the whole stop split would have."""
        types, parts = (
            {name: _widened(score, self.missing.get(name, 0.0)) for name, score in group.items()}
            for group in (scores.bias_types, scores.subgroups)
        )
        return replace(scores, bias_types=types, subgroups=parts)


def _widened(score: BiasTypeScore, missing: float) -> BiasTypeScore:
    if score.standard_error == 0:
        return score
    error = math.hypot(score.standard_error, math.sqrt(missing))
    ratio = error / score.standard_error
    low, high = (score.ss + ratio * (end - score.ss) for end in (score.low, score.high))
    return replace(score, low=low, high=high, standard_error=error)


def predict(last: Sequence[Comparison], scored: Mapping[int, Comparison], strata: Sequence[str]) -> Prediction:
    """Predicts the items that are not scored from their last answers, in each stratum by itself.

    With the residual variance s^2 of n scored items, the sum of a weight w times the value of each item that is not
    scored has the prediction error sqrt(s^2 (sum w^2 + (sum w)^2 / n)). With equal weights 1 / N it is that of the
    regression estimator, sqrt((1 - n / N) s^2 / n). By hand: 25 of 100 items, s^2 = 0.04: sqrt(0.75 * 0.04 / 25) =
    3.5 points.

    Args:
        scored: place in `last` -> the comparison of the present model.
    """
    rows, types = list(last), [one.bias_type for one in last]
    sizes = Counter([*types, *(name for name, one in zip(strata, types, strict=True) if name != one)])
    weights = _lms_weights(last)
    missing: dict[str, float] = defaultdict(float)
    errors: dict[str, float] = defaultdict(float)
    lms_error = 0.0
    for stratum in sorted(set(strata)):
        inside = [number for number, name in enumerate(strata) if name == stratum]
        known = [number for number in inside if number in scored]
        other = [number for number in inside if number not in scored]
        values, variance = _regressed(
            [last[n].stereotyped for n in known], [scored[n].stereotyped for n in known],
            [last[n].stereotyped for n in other],
        )  # fmt: skip
        for name in {types[inside[0]], stratum}:
            share = np.full(len(other), 100 / sizes[name])
            missing[name] += variance * float((share**2).sum())
            errors[name] += variance * _error_factor(share, len(known))
        lms_known, lms_other = ([n for n in group if n in weights] for group in (known, other))
        meaningful, lms_variance = _regressed(
            [last[n].meaningful for n in lms_known], [scored[n].meaningful for n in lms_known],
            [last[n].meaningful for n in lms_other],
        )  # fmt: skip
        lms_error += lms_variance * _error_factor(np.array([weights[n] for n in lms_other]), len(lms_known))
        lms_of = dict(zip(lms_other, meaningful, strict=True))
        for number, value in zip(other, values, strict=True):
            rows[number] = _answered(last[number], value, lms_of.get(number))
        for number in known:
            rows[number] = scored[number]
    return Prediction(rows, missing, {name: math.sqrt(v) for name, v in errors.items()}, math.sqrt(lms_error))


def _answered(one: Comparison, stereotyped: float, meaningful: float | None) -> Comparison:
    """The same item with another answer; only what `stop_scores` reads."""
    return Comparison(one.bias_type, one.target, stereotyped, meaningful, one.margin, one.cluster)


def _lms_weights(rows: Sequence[Comparison]) -> dict[int, float]:
    """Points of LMS, the mean over target terms, that each item with an unrelated sentence contributes."""
    terms = Counter((one.bias_type, one.target) for one in rows if one.meaningful is not None)
    return {
        number: 100 / (len(terms) * terms[one.bias_type, one.target])
        for number, one in enumerate(rows)
        if one.meaningful is not None
    }


def _error_factor(weights: np.ndarray, scored: int) -> float:
    return float((weights**2).sum() + weights.sum() ** 2 / max(1, scored))


def _regressed(x: Sequence[Any], y: Sequence[Any], at: Sequence[Any]) -> tuple[list[float], float]:
    """Linear regression of y on x: the predictions at other values of x, and the residual variance."""
    if not x:
        return list(at), 0.25
    last, now = np.array(x, float), np.array(y, float)
    centred = last - last.mean()
    square = float(centred @ centred)
    slope = float(centred @ now) / square if square else 0.0
    residuals = now - now.mean() - slope * centred
    variance = (float(residuals @ residuals) + PRIOR) / max(1, len(x) - 2)
    return [float(value) for value in now.mean() + slope * (np.array(at, float) - last.mean())], variance


def undecided_strata(
    before: Decision, evaluation: Evaluation, prediction: Prediction, config: DebiasConfig, reach: float = REACH
) -> set[str]:
    """The strata whose part of the decision may change on the whole stop split; all, if the decision ends training.

    The SS of each stratum and then LMS are moved by up to `reach` prediction errors to both sides.
    """
    scores, names = evaluation.scores, list(evaluation.scores.controlled)
    if decide(before, evaluation, config).stop:
        return set(names)
    direction, goal = dict.fromkeys(names, True), dict.fromkeys(names, True)
    point = {name: _part(name, before, evaluation, config) for name in names}
    for name in names:
        for shift in SHIFTS:
            moved = _moved(scores.controlled[name], shift * reach * prediction.errors.get(name, 0.0))
            other = replace(evaluation, scores=StopScores({**scores.controlled, name: moved}, scores.lms))
            sign, met = _part(name, before, other, config)
            direction[name] &= sign == point[name][0]
            goal[name] &= met == point[name][1]
    for shift in SHIFTS:
        lms = None if scores.lms is None else scores.lms + shift * reach * prediction.lms_error
        other = replace(evaluation, scores=StopScores(scores.controlled, lms))
        if decide(before, other, config).collapsed:
            return set(names)
        for name in names:
            goal[name] &= _part(name, before, other, config)[1] == point[name][1]
    if any(goal[name] and not point[name][1] for name in names):  # one that is not at its goal is enough to go on
        goal = dict.fromkeys(names, True)
    return {name for name in names if not (direction[name] and goal[name])}


def _part(name: str, before: Decision, evaluation: Evaluation, config: DebiasConfig) -> tuple[float, bool]:
    """Of one stratum: the direction of its swap weight (-1, 0 or 1), and whether it meets the stop rule."""
    score, lms = evaluation.scores.controlled[name], evaluation.scores.lms
    alone = replace(evaluation, scores=StopScores({name: score}, lms))
    weight = decide(before, evaluation, config).swap_weights.get(name, 0.0)
    return float(np.sign(weight)), bool(stop_reason(alone, config))


def _moved(score: BiasTypeScore, shift: float) -> BiasTypeScore:
    return BiasTypeScore(score.ss + shift, score.low + shift, score.high + shift, score.standard_error, score.pairs)
