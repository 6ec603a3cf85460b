"""The types of the sections of results.json beside the benchmarks: provenance, and what single commands add to it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from biasunlearn.runs.benchmark_results import Measured
from biasunlearn.runs.schema import Count, Number, Positive, Record, Text, Whole, wrong_at
from biasunlearn.runs.scores import Interval

if TYPE_CHECKING:  # heavy, and only named here
    from biasunlearn.stats.effect import EffectKept
    from biasunlearn.stats.linear_probe import ProbeScores
    from biasunlearn.stats.subspaces import AnglesFound


class Quantised(Record):
    """A base whose linear layers are held in 4 or 8 bits."""

    kind: str
    layers: Count | None = None
    rest: Text = None
    bytes: Count | None = None


class ScoringProtocol(Record):
    """How texts were given to the model."""

    text: str = "raw"
    dtype: Text = None
    masked: bool = False
    quantised: Quantised | None = None
    notes: Sequence[str] = ()
    """What the results have to be read with: no start token, an adapter that changes nothing."""


class PartialBenchmark(Record):
    """How many items of a benchmark were measured, and how many it has."""

    n: Count
    of: Count


class Partial(Record):
    """Of a run that measured a random sample of the items, on request."""

    limit: Count | None = None
    seed: Whole | None = None
    benchmarks: Mapping[str, PartialBenchmark] = {}

    @property
    def headline(self) -> str:
        """The first line of terminal and page."""
        parts = [f"{one.n} of {one.of} items of {name}" for name, one in self.benchmarks.items()]
        return f"PARTIAL: {', '.join(parts)} were measured"


class Stopped(Record):
    """How training ended."""

    step: Count
    reason: str = ""
    best_step: Count | None = None


class Cost(Record):
    """Of training and of choosing the checkpoint. Memory: peak in bytes."""

    seconds: Number
    processor_seconds: Number
    memory: Number
    memory_of: str = ""
    resumed: bool = False


class Candidate(Record):
    """One candidate of a method's search on the stop split."""

    candidate: Any = None
    ss: Mapping[str, Number] = {}
    lms: Number | None = None
    distance: Number


class FileFacts(Record):
    """A data file of a run."""

    path: Text = None
    sha256: Text = None
    rows: Count | None = None
    sentences: Count | None = None
    skipped: Sequence[str] = ()


class SplitFacts(Record):
    pairs: Count = 0
    sha256: Text = None
    bias_types: Mapping[str, Count] = {}


class Splits(Record):
    train: SplitFacts | None = None
    stop: SplitFacts | None = None
    shared_with_report: Count = 0
    """Pairs that were left out because of a target term or family of the report file."""
    train_in_report_families: Mapping[str, Count] | None = None
    """Pairs of the training split that share a term family with the report file, by bias type. New in schema 2."""
    report_in_train_families: Mapping[str, Count] | None = None
    """Pairs of the report file that share a term family with the training split, by bias type. New in schema 2."""
    unused: Whole = 0
    without_target_term: Count = 0

    @property
    def common_families(self) -> str:
        """How many training pairs share a term family with the report file, as a sentence; "" where it is unknown."""
        if self.train_in_report_families is None or self.train is None:
            return ""
        found = self.train_in_report_families
        counts = ", ".join(f"{name} {count}" for name, count in found.items())
        which = f" ({counts})" if counts else ""
        shared = f"{sum(found.values())} of {self.train.pairs} training pairs{which} share a term family"
        report = sum((self.report_in_train_families or {}).values())
        if not report and not sum(found.values()):
            return f"None of {self.train.pairs} training pairs shares a term family with the report file."
        return f"{shared} with the report file, and {report} of its pairs with the training pairs."

    @property
    def parts(self) -> dict[str, SplitFacts]:
        """The splits by name."""
        return {name: part for name, part in self if isinstance(part, SplitFacts)}


class DataFacts(Record):
    """What a run was made from: files with their hashes, splits, and findings of the checks."""

    train: FileFacts | None = None
    unrelated: FileFacts | None = None
    report: FileFacts | None = None
    splits: Splits | None = None
    overlap_with_report: Count = 0
    stopped_on_report: bool = False
    findings: Sequence[str] = ()

    def split(self, name: str) -> SplitFacts | None:
        """A split by its name (train, stop); None where the run has none."""
        return self.splits.parts.get(name) if self.splits else None

    @property
    def files(self) -> dict[str, FileFacts]:
        """The files by what they are for, those that have a path."""
        named = {"train": self.train, "unrelated": self.unrelated, "report": self.report}
        return {name: file for name, file in named.items() if file is not None and file.path}


class Recipe(Record):
    """The DebiasConfig of a run, as stored. Other versions have other keys, so only what is read is declared."""

    seed: Whole | None = None
    margin: Positive | None = None
    beta: Positive | None = None
    lms_floor: Number | None = None
    fair_margin: Positive | None = None


class Environment(Record):
    """What produced a result."""

    command: Text = None
    python: Text = None
    platform: Text = None
    versions: Mapping[str, Text] = {}


class Effect(Record):
    """The share of the debiasing effect that is kept, after further training or on another model."""

    n: Count = 0
    base: Interval | None = None
    target: Interval | None = None
    """Fall of mean |SS - 50|, in points."""
    kept: Interval | None = None
    """A share; None where it is not defined, and `reason` says why."""
    most: Number | None = None
    reason: str = ""
    states: Sequence[str] = ()
    protocols: Mapping[str, str] = {}

    @classmethod
    def of(cls, effect: "EffectKept", **own: Any) -> Self:
        """From an effect of the statistics, with the other fields of the class."""
        known = {name: value for name, value in asdict(effect).items() if value is not None and value != ""}
        return cls.model_validate({"kept": None, **known, **own})

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.kept is not None and (self.base is None or self.target is None):
            raise wrong_at("kept", "needs base and target beside it")
        return self


class Scale(Record):
    """The stop split at one strength of the adapter."""

    scale: Number
    ss: Number
    distance: Number
    lms: Number | None = None


class CompatibilityFacts(Record):
    refusals: Sequence[str] = ()
    doubts: Sequence[str] = ()
    notes: Sequence[str] = ()
    distances: Mapping[str, Number] = {}


class Change(Record):
    """Points after less before."""

    ss: Number | None = None
    lms: Number | None = None


class Transferred(Record):
    """The adapter of a transfer, its target, and the share of the effect that is kept."""

    run: str
    base: str
    target_kind: str = ""
    own_adapter: Text = None
    scale: Number
    scales: Sequence[Scale] = ()
    compatibility: CompatibilityFacts = CompatibilityFacts()
    forced: bool = False
    effect: Effect
    change: Change | None = None


class Direct(Record):
    """A run on the transfer's target itself, beside the transfer."""

    run: str
    before: Measured
    benchmarks: Measured
    stopped: Stopped | None = None


class PointScores(Record):
    n: Count
    ss: Interval
    lms: Interval | None = None
    over_debiased: bool = False


class Point(Record):
    """The debiased model, or its base, after some steps of further training."""

    model: Literal["debiased", "base"]
    step: Count
    overall: PointScores
    bias_types: Mapping[str, PointScores]
    perplexity: Positive | None = None
    loss: Number | None = None
    seeds: Mapping[str, Number] = {}


class Kept(Effect):
    """What is left of a debiasing after some steps; the effect itself is that of the gap in SS."""

    step: Count
    distance: Effect
    bias_types: Mapping[str, Effect] = {}
    target: Interval
    returned: Interval
    drift: Interval


class TextFacts(Record):
    path: str = ""
    sha256: Text = None
    rows: Count | None = None
    passes: Number | None = None


class Relearned(Record):
    """Does a debiasing last? Both models at every step."""

    run: str
    on: str
    text: TextFacts = TextFacts()
    steps: Sequence[Count] = ()
    seeds: Sequence[Whole]
    rate: Number | None = None
    batch: Count | None = None
    length: Count | None = None
    points: Annotated[Sequence[Point], Field(min_length=1)]
    kept: Annotated[Sequence[Kept], Field(min_length=1)]

    @model_validator(mode="after")
    def _same_bias_types_at_every_point(self) -> Self:
        if {point.model for point in self.points} != {"debiased", "base"}:
            raise wrong_at("points", "must hold the debiased model and the base")
        for place, point in enumerate(self.points):
            for name in {*self.points[0].bias_types} ^ {*point.bias_types}:
                raise wrong_at(f"points.{place}.bias_types.{name}", "must be in every point or in none")
        return self


class Part(Record):
    run: str
    weight: Number


class Combined(Record):
    """Adapters that were added up."""

    parts: Sequence[Part]
    how: str = ""


class Reading(Record):
    """What a probe reads at one layer of one stage: balanced accuracies in percent."""

    accuracy: Interval
    control: Interval
    shuffled: Interval
    selectivity: Interval


class ReadingChange(Record):
    accuracy: Interval | None = None
    selectivity: Interval | None = None


class LayerAnswer(Record):
    stages: Sequence[Reading]
    change: ReadingChange = ReadingChange()

    @classmethod
    def of(cls, found: "ProbeScores") -> Self:
        """From probes of the statistics."""
        changed = {"accuracy": found.accuracy_change, "selectivity": found.selectivity_change}
        change = {name: asdict(one) for name, one in changed.items() if one is not None}
        return cls.model_validate({"stages": [asdict(stage) for stage in found.stages], "change": change})


class ProbeQuestion(Record):
    """What is read from the hidden states, layer by layer."""

    asks: str
    bias_type: str = ""
    classes: Sequence[str] = ()
    chance: Number
    sentences: Count = 0
    clusters: Count = 0
    layers: Mapping[str, LayerAnswer]


class ChanceAngles(Record):
    direction: Interval
    subspace: Interval


class Angles(Record):
    """Angles between every two bias types, in degrees; on the diagonal between halves of one."""

    direction: Mapping[str, Mapping[str, Interval]]
    subspace: Mapping[str, Mapping[str, Interval]]
    chance: ChanceAngles

    @classmethod
    def of(cls, found: "AnglesFound") -> Self:
        """From angles of the statistics."""
        values = asdict(found)
        chance = {"direction": values["chance_direction"], "subspace": values["chance_subspace"]}
        return cls.model_validate(
            {"direction": values["direction"], "subspace": values["subspace"], "chance": chance}
        )

    @model_validator(mode="after")
    def _square(self) -> Self:
        for what, table in (("direction", self.direction), ("subspace", self.subspace)):
            for one in self.direction:
                if one not in table or any(other not in table[one] for other in self.direction):
                    raise wrong_at(f"{what}.{one}", "must have an angle with every bias type")
        return self


class LayerAngles(Record):
    stages: Annotated[Sequence[Angles], Field(min_length=1)]
    turned: Mapping[str, Number] = {}

    @model_validator(mode="after")
    def _same_bias_types(self) -> Self:
        if any({*stage.direction} != {*self.stages[0].direction} for stage in self.stages):
            raise wrong_at("stages", "must have the same bias types")
        return self


class ProbeSettings(Record):
    C: Number
    folds: Count
    draws: Count
    components: Count
    splits: Count
    seed: Whole = 0


class ProbeData(Record):
    data: Text = None
    sha256: Text = None
    skipped: Count = 0
    skipped_rows: Sequence[str] = ()


class Probes(Record):
    """What linear probes read from the hidden states, and angles between bias types."""

    layers: Annotated[Sequence[Count], Field(min_length=1)]
    stages: Annotated[Sequence[Literal["", "before", "after"]], Field(min_length=1)]
    pooling: str = ""
    data: ProbeData = ProbeData()
    pairs: Count = 0
    left_out: Sequence[str] = ()
    settings: ProbeSettings
    questions: Sequence[ProbeQuestion]
    angles: Mapping[str, LayerAngles] = {}

    @model_validator(mode="after")
    def _every_layer_and_stage(self) -> Self:
        for place, question in enumerate(self.questions):
            for layer in map(str, self.layers):
                found = question.layers.get(layer)
                if found is None or len(found.stages) != len(self.stages):
                    raise wrong_at(f"questions.{place}.layers.{layer}", f"must have {len(self.stages)} stages")
                if len(self.stages) > 1 and found.change.accuracy is None:
                    raise wrong_at(f"questions.{place}.layers.{layer}.change.accuracy", "is missing")
        for layer, angles in self.angles.items():
            if len(angles.stages) != len(self.stages):
                raise wrong_at(f"angles.{layer}", f"must have {len(self.stages)} stages")
        return self
