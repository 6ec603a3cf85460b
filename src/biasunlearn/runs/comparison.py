"""The types of compare.json, and of the result of `gate`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field

from biasunlearn.runs.schema import Count, Number, Record, Text, Whole
from biasunlearn.runs.scores import Interval, Metric
from biasunlearn.runs.sections import Environment
from biasunlearn.runs.verdict_results import Verdict

if TYPE_CHECKING:  # heavy, and only named here
    from biasunlearn.stats.paired import PairedTest, ScoreTest


class ComparedRun(Record):
    """One of the runs that are compared, at one stage."""

    name: str
    stage: Text = None
    model: Text = None
    adapter: Text = None
    method: Text = None
    seed: Whole | None = None
    verdict: Verdict | None = None
    """Of a run at its last stage, against its own base model."""


class TestedRow(Record):
    """One score of the baseline (a) and of the run (b) on the same units: stats.paired.PairedTest."""

    n: Count
    clusters: Count
    few_clusters: bool = False
    a: Interval
    b: Interval
    difference: Interval
    distance_change: Interval | None = None
    test: str = ""
    p: Number
    up: Count | None = None
    down: Count | None = None
    p_mcnemar: Number | None = None
    """Of a score of two values; wrong when the items of a cluster change together."""
    smallest_difference: Number | None = None
    """The smallest difference that such data can detect."""
    too_few: bool = False
    identical: bool = False
    over_debiased: bool = False
    polarised: bool = False
    """Of SS: the run's own value is near 50 and hides differences between target terms or subgroups."""
    verdict: str
    p_holm: Number | None = None

    @classmethod
    def of(cls, test: "PairedTest") -> Self:
        """From a test of the statistics; what the kind of test does not have is left out."""
        scores = {name: Interval.of(getattr(test, name)) for name in ("a", "b", "difference")}
        optional = {name: getattr(test, name) for name in ("up", "down", "p_mcnemar", "p_holm")}
        plain = ("n", "clusters", "few_clusters", "test", "p", "smallest_difference", "too_few", "identical",
                 "over_debiased", "verdict")  # fmt: skip
        return cls.model_validate({
            **{name: getattr(test, name) for name in plain},
            **scores,
            "distance_change": test.distance_change and Interval.of(test.distance_change),
            **{name: value for name, value in optional.items() if value is not None},
        })  # fmt: skip


class DistanceOverTypes(Record):
    """The mean distance from the ideal over bias types."""

    n: Count
    a: Metric
    b: Metric
    difference: Interval
    verdict: str


class Distances(Record):
    """Mean distances from an ideal, over bias types and, for a mean over them, over target terms."""

    bias_types: DistanceOverTypes
    terms: TestedRow | None = None

    @property
    def parts(self) -> dict[str, DistanceOverTypes | TestedRow]:
        """Those that there are, by what they are over."""
        return {"bias_types": self.bias_types, **({"terms": self.terms} if self.terms else {})}


class TestedScore(Record):
    """One score of two runs."""

    unpaired: Count = 0
    """Units on which the score is defined for one of the two runs only."""
    ideal: Number | None = None
    overall: TestedRow
    bias_types: Mapping[str, TestedRow] = {}
    distance: Distances | None = None

    @classmethod
    def of(cls, test: "ScoreTest") -> Self:
        """From a test of the statistics."""
        types = {name: TestedRow.of(one) for name, one in test.bias_types.items()}
        values = {"unpaired": test.unpaired, "ideal": test.ideal, "overall": TestedRow.of(test.overall)}
        return cls.model_validate({**values, "bias_types": types, **_distances(test)})


def _distances(test: "ScoreTest") -> dict[str, Any]:
    if test.over_types is None:
        return {}
    over = test.over_types
    types = DistanceOverTypes(
        n=over.n, a=Metric(value=over.a), b=Metric(value=over.b), difference=Interval.of(over.difference),
        verdict=over.verdict,
    )  # fmt: skip
    terms = {} if test.over_clusters is None else {"terms": TestedRow.of(test.over_clusters)}
    return {"distance": Distances(bias_types=types, **terms)}


class ValueChange(Record):
    """A value without items, of both runs."""

    a: Metric
    b: Metric
    change_percent: Number | None


class JudgedArms(Record):
    """What became of the answers of both runs to a judged benchmark: {state: answers}."""

    a: Mapping[str, Count] = {}
    b: Mapping[str, Count] = {}
    apart: Sequence[str] = ()
    """Why a difference of scores may come from the judging: other judges, or other shares of unscored answers."""


class ComparedBenchmark(Record):
    """One benchmark of two runs: scores that were tested, or values that have no items to test."""

    judged: JudgedArms | None = None
    """Of a judged benchmark."""
    scores: Mapping[str, TestedScore] = {}
    values: Mapping[str, ValueChange] = {}


class Compared(Record):
    """A run against the baseline."""

    run: str
    benchmarks: Mapping[str, ComparedBenchmark] = {}
    not_shared: Sequence[str] = ()


class OverviewLine(Record):
    """One benchmark and score of a run against the baseline. A value that was not tested has no verdict."""

    benchmark: str
    run: str
    score: str
    ideal: Number | None = None
    a: Metric
    b: Metric
    difference: Interval | None = None
    p: Number | None = None
    smallest_difference: Number | None = None
    over_debiased: bool | None = None
    polarised: bool | None = None
    base_over_debiased: bool | None = None
    change_percent: Number | None = None
    verdict: Text = None
    """In words (stats/paired.py); None for a single value, which cannot be tested."""


class SeedSpread(Record):
    """A score of several seeds; `low` and `high` are the means of their intervals' ends."""

    values: Sequence[Number]
    mean: Number
    sd: Number
    low: Number | None = None
    high: Number | None = None


class SpreadOfBenchmark(Record):
    overall: Mapping[str, SeedSpread] = {}
    bias_types: Mapping[str, Mapping[str, SeedSpread]] = {}


class SeedGroup(Record):
    """Runs that differ in their seed only."""

    runs: Sequence[str]
    seeds: Sequence[Whole]
    benchmarks: Mapping[str, SpreadOfBenchmark] = {}


class Nearer(Record):
    """Of two runs or methods, the one whose mean |SS - 50| over bias types is significantly smaller."""

    nearer: str
    farther: str
    p_holm: Number
    """Adjusted over every two that were tested."""


class RunComparison(Record):
    """What `compare` returns, as stored in compare.json."""

    schema_version: Literal[1, 2] = Field(alias="schema", default=1)
    runs: Sequence[ComparedRun]
    baseline: str = ""
    overview: Sequence[OverviewLine] = ()
    comparisons: Sequence[Compared] = ()
    nearer: Sequence[Nearer] = ()
    """Every two runs whose distances from 50 a test distinguishes."""
    seeds: Sequence[SeedGroup] = ()
    environment: Environment = Environment()


class GateRule(Record):
    """One rule of a policy, and the number that decided."""

    rule: str
    passed: bool
    found: str
    benchmark: Text = None
    score: Text = None
    allowed: Text = None
    """The limit alone, as "within [44, 56]"."""
    missing: bool = False
    """Whether the rule fails because its score was not measured."""


class GateResult(Record):
    """What `gate` returns."""

    run: str
    base: Text = None
    policy: str
    passed: bool
    rules: Sequence[GateRule]
    notes: Sequence[str] = ()
    """Where the limits come from, and how they differ from published ones."""
