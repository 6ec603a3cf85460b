"""The types of objective.json: a causal and a masked model of one origin, debiased under one budget."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from biasunlearn.runs.schema import Count, Number, Record, Text, Whole
from biasunlearn.runs.scores import Metric
from biasunlearn.runs.sections import Environment
from biasunlearn.runs.series import SeedScore


class ObjectiveRun(Record):
    """The run of one seed: scores on the report split, and when the stop split first was fair."""

    seed: Whole
    run: str
    before: Mapping[str, Metric | None]
    after: Mapping[str, Metric | None]
    steps: Count
    best_step: Count | None = None
    reason: str = ""
    collapsed: bool = False
    tokens: Number
    """Tokens that the model read in training, without those of the reference and of evaluations."""
    fair_step: Count | None = None
    """First evaluation of the stop split with every SS within `fair_margin` of 50; None: not reached."""
    fair_tokens: Number | None = None
    seconds: Number | None = None
    verdict: Text = None


class RelearnedStep(Record):
    """The debiased model and its base after some steps of further training, with the first seed."""

    step: Count
    debiased: Number
    base: Number
    """SS on the report split."""
    kept: Metric | None = None
    """Share of the debiasing that is left (docs/lasting.md)."""


class ProbeChange(Record):
    """Balanced accuracy of a linear probe of the last layer that was read, in percent."""

    asks: str
    bias_type: str = ""
    chance: Number
    before: Metric
    after: Metric


class AngleMeans(Record):
    """Mean angles between the bias directions of halves of the pairs, in degrees."""

    between: Number | None = None
    """Of two bias types; None with a single type."""
    within: Number
    chance: Number


class HiddenStates(Record):
    """Linear probes and angles of the last layer that was read, with the first seed."""

    layer: Count
    pairs: Count = 0
    before: AngleMeans | None = None
    after: AngleMeans | None = None
    turned: Mapping[str, Number] = {}
    """Degrees by which the direction of a bias type has turned."""
    probes: Sequence[ProbeChange] = ()


class ObjectiveSide(Record):
    """One of the two models."""

    model: str
    masked: bool
    before: Mapping[str, SeedScore | None]
    after: Mapping[str, SeedScore | None]
    """Means over seeds."""
    runs: Sequence[ObjectiveRun]
    relearned: Sequence[RelearnedStep] = ()
    hidden: HiddenStates | None = None


class TriedTransfer(Record):
    """The adapter of one model on the other: the share of the effect that is kept, or why it was left out."""

    of: Literal["causal", "masked"]
    kept: Metric | None = None
    before: Number | None = None
    after: Number | None = None
    """SS of the target on the report split."""
    left_out: str = ""


class ObjectiveStudy(Record):
    """objective.json."""

    schema_version: Literal[1] = Field(alias="schema", default=1)
    train: str
    report: str
    seeds: Sequence[Whole]
    fair_margin: Number
    sides: Mapping[Literal["causal", "masked"], ObjectiveSide]
    transfers: Sequence[TriedTransfer] = ()
    relearned_on: str = ""
    left_out: Sequence[str] = ()
    """Parts that could not be measured, with the reason."""
    recipe: Mapping[str, Any] = {}
    environment: Environment = Environment()
