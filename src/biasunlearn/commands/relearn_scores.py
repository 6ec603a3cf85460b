"""What remains of a debiasing after fine-tuning: pure functions of the evaluations, without a model.

The debiased model and its base, as a control, are trained on the same rows in the same order: the base shows the effect
of the text alone, and what remains of the difference between the two models is the remaining effect of the debiasing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from biasunlearn.benchmarks.stereoset import outcomes
from biasunlearn.runs.results import (
    Effect,
    Interval,
    Kept,
    Measured,
    Point,
    PointScores,
    StereoSetResult,
    StereoSetScores,
)
from biasunlearn.stats.effect import distance_change, effect_kept
from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.stereoset import Item

DEBIASED: Literal["debiased"] = "debiased"
BASE: Literal["base"] = "base"
MODELS = (DEBIASED, BASE)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One model measured after some training steps with one seed. Step 0 is the same for every seed."""

    model: Literal["debiased", "base"]
    seed: int
    step: int
    loss: float | None
    """Mean loss of the steps since the previous evaluation, in nats a token; None at step 0."""
    items: Sequence[Item]
    measured: Measured
    """The results of each benchmark."""

    @property
    def stereoset(self) -> StereoSetResult:
        """The results of StereoSet, which every evaluation has."""
        found = self.measured.stereoset
        assert found is not None
        return found


def stage_of(evaluation: Measurement, first_seed: int, last_step: int) -> str:
    """Its stage in items.parquet: before and after are the first and last evaluation of the debiased model."""
    if evaluation.step == 0:
        return "before" if evaluation.model == DEBIASED else f"{BASE}, step 0"
    if (evaluation.model, evaluation.seed, evaluation.step) == (DEBIASED, first_seed, last_step):
        return "after"
    return f"{evaluation.model}, seed {evaluation.seed}, step {evaluation.step}"


def points(evaluations: Sequence[Measurement]) -> list[Point]:
    """A row for each model and step: SS and LMS with intervals, perplexity, loss.

    With several seeds every value and every end of an interval is the mean over them; `seeds` holds the SS of each.
    """
    found = []
    for model, step in dict.fromkeys((evaluation.model, evaluation.step) for evaluation in evaluations):
        chosen = [evaluation for evaluation in evaluations if (evaluation.model, evaluation.step) == (model, step)]
        entries = [evaluation.stereoset for evaluation in chosen]
        texts = [evaluation.measured.perplexity.per_token for evaluation in chosen if evaluation.measured.perplexity]
        losses = [evaluation.loss for evaluation in chosen if evaluation.loss is not None]
        found.append(Point(
            model=model, step=step,
            overall=_row([entry.overall for entry in entries]),
            bias_types={name: _row([entry.bias_types[name] for entry in entries]) for name in entries[0].bias_types},
            perplexity=_mean(texts) if texts else None,
            loss=_mean(losses) if losses else None,
            seeds={str(evaluation.seed): evaluation.stereoset.overall.ss.value for evaluation in chosen},
        ))  # fmt: skip
    return found


def kept(evaluations: Sequence[Measurement]) -> list[Kept]:
    """For each step: how far both models have moved since step 0, and the share of the debiasing that remains.

    The share at step k is gap(k) / gap(0), where gap is the mean over bias types of SS(base) - SS(debiased), toward the
    side that the base prefers at step 0: it is 1 at step 0 by definition, and 0 where both models prefer the same. An
    effect of the text on both models is no loss of the debiasing: the gap is that to the base at the same step. SS
    beyond 50 widens the gap and is no gain: `distance` is therefore the same share of mean |SS - 50|. It is slightly
    too high where bias returns from 50, since noise only increases a distance near 0.

    Returns:
        A row for each step: `returned` is by how many points of mean |SS - 50| the debiased model has gone back since
        step 0, `drift` the same of the base.
    """
    states = {(evaluation.model, evaluation.seed, evaluation.step): _ss(evaluation) for evaluation in evaluations}
    first = {model: next(states[key] for key in states if key[0] == model and key[2] == 0) for model in MODELS}
    found = []
    for step in dict.fromkeys(evaluation.step for evaluation in evaluations):
        at = {model: [states[key] for key in states if key[0] == model and key[2] == step] for model in MODELS}
        both = [state for pair in zip(at[BASE], at[DEBIASED], strict=True) for state in pair]
        whole = [first[BASE], first[DEBIASED], *both]
        names = dict.fromkeys(outcome.bias_type for outcome in first[BASE])
        types = {name: effect_kept([_of(state, name) for state in whole], signed=True) for name in names}
        found.append(Kept.of(
            effect_kept(whole, signed=True),
            step=step,
            distance=Effect.of(effect_kept(whole)),
            bias_types={name: Effect.of(one) for name, one in types.items()},
            returned=Interval.of(distance_change(first[DEBIASED], at[DEBIASED])),
            drift=Interval.of(distance_change(first[BASE], at[BASE])),
        ))  # fmt: skip
    return found


def _ss(evaluation: Measurement) -> list[Outcome]:
    chosen = outcomes([item for item in evaluation.items if item.benchmark == "stereoset"])
    return [outcome for outcome in chosen if outcome.score == "ss"]


def _of(state: Sequence[Outcome], bias_type: str) -> list[Outcome]:
    return [outcome for outcome in state if outcome.bias_type == bias_type]


def _row(rows: Sequence[StereoSetScores]) -> PointScores:
    ss = _mean_interval([row.ss for row in rows])
    lms = [row.lms for row in rows if row.lms is not None]
    return PointScores(n=rows[0].n, ss=ss, lms=_mean_interval(lms) if lms else None, over_debiased=ss.high < 50)


def _mean_interval(given: Sequence[Interval]) -> Interval:
    return Interval(
        value=_mean([one.value for one in given]), low=_mean([one.low for one in given]),
        high=_mean([one.high for one in given]),
    )  # fmt: skip


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
