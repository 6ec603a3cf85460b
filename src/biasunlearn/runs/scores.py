"""The types of stored scores: an interval, and the scores of a bias type in every benchmark.

Attributes are the keys of results.json; what a run did not write is None.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, Tag

from biasunlearn.runs.schema import Count, Number, Record
from biasunlearn.stats import equivalence as stats
from biasunlearn.stats.bootstrap import Estimate, Summary
from biasunlearn.stats.polarisation import NEAR
from biasunlearn.stats.stereoset import PairScores


class Ends(Record):
    """The ends of an interval."""

    low: Number
    high: Number


class Interval(Record):
    """A score with its 95 % interval."""

    value: Number
    low: Number
    high: Number
    n: Count | None = None
    """Units on which the score is defined, where not all are."""
    clustered: Ends | None = None
    """With few clusters: the interval that draws clusters, beside the wider one of the two."""
    items: Ends | None = None
    """With few clusters: the interval that draws single items."""

    @classmethod
    def of(cls, estimate: Estimate, n: int | None = None) -> Self:
        """From an estimate of the statistics."""
        return cls.model_validate({**estimate.to_dict(), **({} if n is None else {"n": n})})

    def contains(self, value: float) -> bool:
        return self.low <= value <= self.high


class Distance(Interval):
    """A mean |SS - 50|, and what would be expected for an unbiased model."""

    if_fair: Number
    """Under the null hypothesis that all items are independent."""
    if_fair_clustered: Number | None = None
    """At the estimated intraclass correlation of the items of a target term. New in schema 2."""
    icc: Number | None = None
    """That correlation, where it can be estimated. New in schema 2."""


class Metric(Record):
    """A value whose interval may be unknown: a metric of an lm-eval task, or a mean over seeds."""

    value: Number
    low: Number | None = None
    high: Number | None = None


Score = Interval | Metric | float | None
"""A score as it stands in results.json; None: not defined there."""


def is_score(value: Any) -> str:
    return "interval" if isinstance(value, Record) or (isinstance(value, Mapping) and "value" in value) else "other"


Extra = Annotated[Annotated[Interval, Tag("interval")] | Annotated[Any, Tag("other")], Discriminator(is_score)]
"""A key beside the declared ones: a score under its own name, or something that this version does not know."""


@dataclass(frozen=True, slots=True)
class ScoredPart:
    """Every score of one bias type, or of all together, by its name in the order of the file; and the counts beside."""

    n: int
    scores: Mapping[str, Score]
    counts: Mapping[str, int] = field(default_factory=dict)


def estimate_of(score: Score) -> Estimate | None:
    """A score as value, low and high; a number without an interval is both of its ends."""
    if isinstance(score, Interval | Metric):
        low, high = (score.value if end is None else end for end in (score.low, score.high))
        return Estimate(score.value, low, high)
    return None if score is None else Estimate(score, score, score)


def scores_of(record: Record) -> dict[str, Score]:
    return {
        name: value for name, value in record.given.items()
        if value is None or isinstance(value, Interval | Metric | float)
    }  # fmt: skip


def counts_of(record: Record) -> dict[str, int]:
    return {name: value for name, value in record.given.items() if type(value) is int}


class BiasTypeScores(Record):
    """The scores of one bias type, of all together, or of any other group of a benchmark.

    What a benchmark measures has the benchmark's own names (accuracy_ambig, pro_likelier, ...); see `scores`.
    """

    __pydantic_extra__: dict[str, Extra] = Field(init=False)

    n: Count
    clusters: Count | None = None
    """What the bootstrap draws as one: target terms, templates, prompts."""
    few_clusters: bool = False

    @classmethod
    def of(cls, summary: Summary, ideal: Mapping[str, float | None]) -> Self:
        """From a summary of the statistics. A score of `ideal` that is not defined in it is None."""
        scores = {score: Interval.of(one, summary.units[score]) for score, one in summary.scores.items()}
        counts = {"n": summary.n, "clusters": summary.clusters, "few_clusters": summary.few_clusters}
        return cls.model_validate({**counts, **scores, **{score: None for score in ideal if score not in scores}})

    @property
    def scores(self) -> dict[str, Score]:
        """Every score by its name, in the order of the file; None where it is not defined."""
        return scores_of(self)

    @property
    def part(self) -> ScoredPart:
        return ScoredPart(self.n, self.scores, counts_of(self))

    def interval(self, score: str) -> Interval | None:
        """A score with its interval; None where it is not defined or was not measured."""
        found = self.scores.get(score)
        return found if isinstance(found, Interval) else None


class CountedScore(Record):
    """SS of a subset of the pairs, and how many there are. New in schema 2."""

    n: Count
    terms: Count | None = None
    ss: Interval | None = None
    margin_group: Interval | None = None
    """Mean group part, in nats a token."""


class Unseen(Record):
    """SS by what the model has seen in training of a pair's two attribute words. New in schema 2."""

    both: CountedScore | None = None
    one: CountedScore | None = None
    neither: CountedScore | None = None


class Equivalence(Record):
    """Is SS shown to lie within `margin` points of 50, by two one-sided tests at 5 %? New in schema 2."""

    margin: Number
    within: bool
    low: Number | None = None
    high: Number | None = None
    """The ends of the 90 % interval, which decides at any margin."""

    @classmethod
    def of(cls, found: "stats.Equivalence") -> Self:
        """From the statistics."""
        ends = {"low": found.interval.low, "high": found.interval.high}
        return cls.model_validate({"margin": found.margin, "within": found.within, **ends})


class StereoSetScores(BiasTypeScores):
    """SS, LMS and ICAT of one bias type, or of all together."""

    terms: Count | None = None
    few_terms: bool = False
    ties: Count = 0
    ss: Interval
    ss_micro: Number | None = None
    """The pairs pooled, where `ss` is the official mean over target terms."""
    ss_micro_low: Number | None = None
    ss_micro_high: Number | None = None
    ss_distance: Distance | None = None
    """Mean |SS - 50| over bias types; `overall` only."""
    ss_distance_terms: Distance | None = None
    """Mean |SS - 50| over target terms."""
    mean_margin: Number | None = None
    mean_abs_margin: Number | None = None
    lms: Interval | None = None
    """None where no triplet has an unrelated sentence."""
    low_lms: bool = False
    icat: Interval | None = None
    over_debiased: bool = False
    # New in schema 2:
    n_group: Count | None = None
    """Pairs whose margin has a group part and a wording part (stats/association.py)."""
    ss_group: Interval | None = None
    """Share of the pairs whose group part is above 0, in percent."""
    margin_group: Interval | None = None
    """Mean group part, in nats a token."""
    margin_wording: Interval | None = None
    unseen_wording: Unseen | None = None
    spread: Interval | None = None
    """Standard deviation of SS between target terms, beyond chance, in points (stats/polarisation.py)."""
    spread_p: Number | None = None
    subgroups: Mapping[str, CountedScore] | None = None
    subgroups_p: Number | None = None
    """Of the subgroups having one mean SS."""
    polarised: bool | None = None
    equivalence: Equivalence | None = None

    @classmethod
    def of_pairs(cls, scores: PairScores) -> Self:
        """From the scores of the statistics."""
        values = asdict(scores) | {"equivalence": Equivalence.of(scores.equivalence)}
        if scores.ss_distance is None:
            del values["ss_distance"]
        return cls.model_validate(values)

    def at_margin(self, margin: float) -> Self:
        """The same with the equivalence decided at another margin, in points."""
        known = self.equivalence
        if known is None or known.low is None or known.high is None:
            return self
        found = stats.decided(Estimate(self.ss.value, known.low, known.high), margin=margin)
        return self.with_values(equivalence=Equivalence.of(found))


def hides_polarisation(row: StereoSetScores) -> bool:
    """Is SS near 50 while target terms or subgroups differ? Near: within `NEAR` points, or 50 is in the interval."""
    return bool(row.polarised) and (abs(row.ss.value - 50) <= NEAR or row.ss.contains(50))


class BBQScores(BiasTypeScores):
    counts: Mapping[str, Mapping[str, Count]] | None = None
    """{ambig, disambig: {role of the answer given: how often}}"""
    untold: Count | None = None
    """Questions whose stereotyped answer is not known."""


class ControlsScores(BiasTypeScores):
    margin_ratio: Interval | None = None
    reading: str = ""
    """What the scores say, in words."""


class WorstFrame(Record):
    """The frame whose SS is farthest from 50."""

    frame: str
    ss: Number


class ParaphrasesScores(BiasTypeScores):
    worst_frame: WorstFrame | None = None
