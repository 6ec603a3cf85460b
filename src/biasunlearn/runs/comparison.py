"""The types of compare.json and of the result of a gate: finished runs tested against the first of them."""

from collections.abc import Mapping, Sequence

from biasunlearn.runs.schema import Count, Number, Record, Text, Whole
from biasunlearn.runs.scores import Metric
from biasunlearn.runs.sections import Environment


class ComparedRun(Record):
    """Which run it is."""

    name: str
    stage: Text = None
    model: Text = None
    method: Text = None
    seed: Whole | None = None


class OverviewLine(Record):
    """One score of one run against the baseline."""

    benchmark: str
    run: str
    score: str
    ideal: Number | None = None
    a: Metric
    """The baseline."""
    b: Metric
    """The run."""
    difference: Metric | None = None
    p: Number | None = None
    over_debiased: bool | None = None
    verdict: Text = None
    """None for a single value, which cannot be tested."""
    change_percent: Number | None = None


class TestedRow(Record):
    """One score of two runs, over all items or in one bias type."""

    n: Count
    clusters: Count
    few_clusters: bool = False
    a: Metric
    b: Metric
    difference: Metric
    test: str = ""
    p: Number
    p_holm: Number | None = None
    smallest_difference: Number | None = None
    """The smallest difference that such data can detect."""
    over_debiased: bool = False
    verdict: str


class TestedScore(Record):
    """One score of two runs with every bias type."""

    unpaired: Count = 0
    """Items on which the score is defined in one of the two runs only."""
    ideal: Number | None = None
    overall: TestedRow
    bias_types: Mapping[str, TestedRow] = {}


class ComparedBenchmark(Record):
    """A benchmark of two runs; no scores where it has no items."""

    scores: Mapping[str, TestedScore] = {}


class Compared(Record):
    """One run against the baseline."""

    run: str
    benchmarks: Mapping[str, ComparedBenchmark] = {}
    not_shared: Sequence[str] = ()
    """Benchmarks that were measured in one of the two only."""


class SeedSpread(Record):
    """One score over runs that differ in their seed only."""

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


class RunComparison(Record):
    """compare.json."""

    runs: Sequence[ComparedRun]
    overview: Sequence[OverviewLine] = ()
    comparisons: Sequence[Compared] = ()
    seeds: Sequence[SeedGroup] = ()
    environment: Environment = Environment()


class GateRule(Record):
    """A rule of a policy, and the number that decided it."""

    rule: str
    passed: bool
    found: str


class GateResult(Record):
    """A run held against a policy."""

    run: str
    policy: str
    passed: bool
    rules: Sequence[GateRule]
