"""What a fine-tuning leaves of a debiasing: pure functions of what was measured at each step, no model.

The debiased model and, as the control, its base learn the same rows in the same order: what the text alone does to SS
shows in the base, and what is left of the difference between the two is what was kept.
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
class Look:
    """One model measured after some steps of one seed's course. Step 0 is the same for every seed."""

    model: Literal["debiased", "base"]
    seed: int
    step: int
    loss: float | None
    """Mean loss of the steps since the look before, in nats a token; None at step 0."""
    items: Sequence[Item]
    measured: Measured
    """What each benchmark gave."""

    @property
    def stereoset(self) -> StereoSetResult:
        """Every evaluation has it."""
        found = self.measured.stereoset
        assert found is not None
        return found


def stage_of(look: Look, first_seed: int, last_step: int) -> str:
    """What items.parquet calls it: before and after are the debiased model's first and last look."""
    if look.step == 0:
        return "before" if look.model == DEBIASED else f"{BASE}, step 0"
    if (look.model, look.seed, look.step) == (DEBIASED, first_seed, last_step):
        return "after"
    return f"{look.model}, seed {look.seed}, step {look.step}"


def points(looks: Sequence[Look]) -> list[Point]:
    """A row for each model and step: SS and LMS with intervals, perplexity, loss.

    Over several seeds every value, and every end of an interval, is the mean of theirs; `seeds` has each one's SS.
    """
    found = []
    for model, step in dict.fromkeys((look.model, look.step) for look in looks):
        chosen = [look for look in looks if (look.model, look.step) == (model, step)]
        entries = [look.stereoset for look in chosen]
        texts = [look.measured.perplexity.per_token for look in chosen if look.measured.perplexity]
        losses = [look.loss for look in chosen if look.loss is not None]
        found.append(Point(
            model=model, step=step,
            overall=_row([entry.overall for entry in entries]),
            bias_types={name: _row([entry.bias_types[name] for entry in entries]) for name in entries[0].bias_types},
            perplexity=_mean(texts) if texts else None,
            loss=_mean(losses) if losses else None,
            seeds={str(look.seed): look.stereoset.overall.ss.value for look in chosen},
        ))  # fmt: skip
    return found


def kept(looks: Sequence[Look]) -> list[Kept]:
    """For each step: how far both models have moved from where they began, and the share of the debiasing that is left.

    The share at step k is gap(k) / gap(0), with gap the mean over bias types of SS(base) - SS(debiased), toward the
    side that the base leans to at step 0: 1 at step 0 by definition, 0 where the two models prefer the same. What the
    text does to both is no loss of the debiasing: the base at the same step is what counts, not the base as it was.
    A step past 50 widens the gap and is no gain: `distance` is therefore the same share of mean |SS - 50|. That one is
    a little too high where bias comes back from 50, since noise only adds to a distance near 0.

    Returns:
        A row for each step: `returned` is by how many points of mean |SS - 50| the debiased model has gone back since
        step 0, `drift` the same of the base.
    """
    states = {(look.model, look.seed, look.step): _ss(look) for look in looks}
    first = {model: next(states[key] for key in states if key[0] == model and key[2] == 0) for model in MODELS}
    found = []
    for step in dict.fromkeys(look.step for look in looks):
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


def _ss(look: Look) -> list[Outcome]:
    chosen = outcomes([item for item in look.items if item.benchmark == "stereoset"])
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
