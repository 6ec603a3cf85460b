"""The types of what several runs give together: survey.json, sweep.json, ablation.json and matrix.json."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal, Self

from pydantic import Field

from biasunlearn.runs.comparison import Nearer
from biasunlearn.runs.schema import Count, Number, Record, Text, Whole
from biasunlearn.runs.scores import Interval, Metric
from biasunlearn.runs.sections import Environment, Stopped
from biasunlearn.stats.bootstrap import Estimate, SeedEstimate, over_seeds
from biasunlearn.stats.spill_over import SpillOverScores

# --- survey ----------------------------------------------------------------------------------------------------------


class SeedScore(Metric):
    """A score as the mean over seeds."""

    seeds: Sequence[Number] = ()

    @classmethod
    def of(cls, found: SeedEstimate) -> Self:
        """From an estimate of the statistics."""
        ends = {} if found.low is None else {"low": found.low, "high": found.high}
        return cls.model_validate({"value": found.value, **ends, "seeds": found.seeds})


def mean_over_seeds(rows: Sequence[Mapping[str, Metric | None]]) -> dict[str, SeedScore | None]:
    """Every score of the first row as its mean over the seeds that have it, of which each has a row; else None."""
    found = {name: over_seeds([_estimate(row.get(name)) for row in rows]) for name in rows[0]}
    return {name: SeedScore.of(one) if one else None for name, one in found.items()}


def _estimate(score: Metric | None) -> Estimate | float | None:
    """A score with its interval, where it has one."""
    if score is None:
        return None
    return score.value if score.low is None or score.high is None else Estimate(score.value, score.low, score.high)


class MeanCost(Record):
    """Mean over seeds of training and of choosing the checkpoint. Memory: peak in bytes."""

    seconds: Number
    processor_seconds: Number | None = None
    memory: Number


class EndedRun(Stopped):
    """How the run of one seed ended."""

    seed: Whole | None


class SurveyedMethod(Record):
    """One method on all seeds."""

    scores: Mapping[str, SeedScore | None]
    unchanged: Count = 0
    """Seeds with which it kept the base model."""
    collapsed: Count = 0
    polarised: Mapping[str, Count] = {}
    """{score: seeds with which an SS near 50 hides differences between target terms or subgroups}"""
    steps: Number | None = None
    cost: MeanCost | None = None
    runs: Sequence[EndedRun] = ()


class Survey(Record):
    """survey.json: every method under one budget, those first that no method is shown to be nearer to 50 than."""

    schema_version: Literal[1, 2] = Field(alias="schema", default=1)
    model: str
    text: Text = None
    """Ordinary sentences for the methods that train on text."""
    seeds: Sequence[Whole]
    changes: Sequence[str] = ()
    base: Mapping[str, SeedScore | None]
    methods: Mapping[str, SurveyedMethod]
    front: Sequence[str] = ()
    """Methods on the Pareto front of bias and ability."""
    nearer: Sequence[Nearer] = ()
    """Every two methods whose distances from 50 a test distinguishes."""
    refused: Mapping[str, str] = {}
    """Methods that could not run, with the reason."""
    prompting: Mapping[str, Mapping[str, SeedScore | None]] = {}
    """{prompting baseline: its scores on judged benchmarks}. New in schema 2."""
    environment: Environment = Environment()


# --- sweep -----------------------------------------------------------------------------------------------------------


class Trial(Record):
    """One trial: mean |SS - 50| and points of LMS lost on the stop split."""

    trial: Count
    bias: Number
    lms_lost: Number
    params: Mapping[str, Whole | Number]
    look: Count | None = None
    """The evaluation at which it was pruned."""


class Knee(Record):
    """The chosen point of the front."""

    place: Count
    trial: Count
    reason: str = ""


class SweepRequest(Record):
    model: str
    seeds: Sequence[Whole]
    splits: Mapping[str, str] = {}
    recipe: Mapping[str, Any] = {}


class ChosenRun(Record):
    """The chosen settings with one seed, on the report split."""

    seed: Whole
    run: str
    ss: Interval
    ss_distance: Interval | None = None
    lms: Interval | None = None
    over_debiased: bool = False


class Sweep(Record):
    """sweep.json."""

    request: SweepRequest
    complete: Count
    pruned: Count
    front: Sequence[Trial] = ()
    trials: Sequence[Trial] = ()
    """All that ran to their end."""
    given_up: Sequence[Trial] = ()
    knee: Knee | None = None
    importance: Mapping[str, Mapping[str, Number]] = {}
    chosen: Sequence[ChosenRun] = ()


# --- ablation and disentanglement ------------------------------------------------------------------------------------


class AblatedVariant(Record):
    """Means over seeds of one variant, beside what the paper reports."""

    mean: Mapping[str, Number | None]
    seeds: Mapping[str, Sequence[Number]] = {}
    """The values of each seed."""
    collapsed: Count = 0
    paper: Mapping[str, Number] = {}
    verdict: str = ""


class Ablation(Record):
    """ablation.json."""

    model: Text = None
    seeds: Sequence[Whole]
    variants: Mapping[str, AblatedVariant]
    recipe: Mapping[str, Any] = {}


class SpillOverCell(Record):
    """The change of one score of a bias type by a run that was not trained on it."""

    run: Text
    bias_type: Text
    change: Interval
    """After less before, paired: points of SS, or nats per token of the group part."""
    p: Number
    p_holm: Number
    """p adjusted over all cells of this score."""


class SpillOverMatrix(Record):
    """All cells of one score."""

    cells: Sequence[SpillOverCell]
    p: Number
    """Of the hypothesis that no cell changed."""

    @classmethod
    def of(cls, found: SpillOverScores) -> Self:
        """From the statistics."""
        return cls.model_validate(asdict(found))


class Disentanglement(Record):
    """matrix.json: SS of every bias type after training on each of them."""

    model: Text = None
    leave_out: bool = False
    seeds: Sequence[Whole]
    before: Mapping[str, Metric | None]
    after: Mapping[str, Mapping[str, Metric | None]]
    by_seed: Mapping[str, Sequence[Mapping[str, Metric]]] = {}
    spill_over: SpillOverMatrix | None = None
    """Changes of SS of the bias types that a run was not trained on."""
    spill_over_group: SpillOverMatrix | None = None
    """The same of the group part of the margins."""
    trained_on: Mapping[str, Sequence[str]]
    recipe: Mapping[str, Any] = {}
