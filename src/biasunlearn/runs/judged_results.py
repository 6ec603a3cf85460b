"""The types of what a benchmark of judged answers stores beside its scores: states, bounds, and the judges."""

from collections.abc import Mapping, Sequence

from biasunlearn.runs.schema import Count, Number, Record, Text
from biasunlearn.runs.scores import Interval


class Bounds(Record):
    """A score where all unscored answers get the verdict that makes it the lowest, and the highest."""

    lowest: Interval
    highest: Interval


class Corrected(Record):
    """A share corrected for the judge's errors by labels of people (stats/judging.py), all in percent."""

    judged: Interval | None
    """As the judge has it."""
    share: Interval | None
    """Corrected. The interval includes the uncertainty of the judge's errors."""
    sensitivity: Interval | None = None
    specificity: Interval | None = None
    labels: Count
    drawn: Count = 0
    """Answers that were drawn to be labelled; those without a label are left out."""
    judged_change: Interval | None = None
    """Of a run with a before: debiased - base, as the judge has it, in points."""
    change: Interval | None = None
    """Corrected. The interval includes the uncertainty of the judge's errors about both models."""


class JudgeFacts(Record):
    """One judge: how it agrees with the gold set, with itself, and with the other order."""

    judge: str
    kind: str
    """rule, local or endpoint."""
    gold: Count = 0
    """Answers of the gold set."""
    gold_scored: Count = 0
    """Of these, the ones that the judge scored; agreement and kappa are about them."""
    gold_agreement: Number | None = None
    gold_kappa: Number | None = None
    repeated: Count = 0
    repeat_kappa: Number | None = None
    """Of the answers that it judged twice in the same order."""
    flipped: Number | None = None
    """Share of the repeated answers whose verdict changes with the order of the labels."""
    verdicts: Mapping[str, Count] = {}
    """{label, or the reason for no verdict: how often}"""


class JudgingFacts(Record):
    """How the answers were judged."""

    rubric: str
    template: str
    """Hash of the rubric's words."""
    judges: Sequence[JudgeFacts]
    minimum_kappa: Number
    kappa: Number | None = None
    """Of the panel's verdicts and the gold set."""
    usable: bool
    """Whether kappa reaches the minimum; else no verdict of the judges becomes a score."""
    asked: bool = True
    """Whether the judges were asked about the answers; not so if they are not usable and `stop_if_unusable` is set."""
    between_judges: Mapping[str, Number | None] = {}
    """{"judge | other judge": kappa}"""
    length_correlation: Number | None = None
    """Spearman's rank correlation of the score and the length of the answers."""
    arms: Count = 1
    """Models whose answers were shuffled together and judged in one pass: 2 before and after debiasing."""
    calls: Count = 0
    """Calls to endpoints, by the model under test and the judges, that the run's record holds."""
    note: Text = None


class EstimateRow(Record):
    """What one model is asked for one benchmark."""

    benchmark: str
    model: str
    endpoint: bool
    calls: Count
    tokens_in: Count
    tokens_out: Count
    """At most."""


class Estimate(Record):
    """What a run of judged benchmarks needs, before it is made."""

    rows: Sequence[EstimateRow]

    @property
    def paid_calls(self) -> int:
        """Calls to endpoints."""
        return sum(row.calls for row in self.rows if row.endpoint)
