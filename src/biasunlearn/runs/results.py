"""The types of everything that a run stores: results.json, rows of metrics.jsonl, config.yaml. Items: stats.stereoset.

`Results` is what `measure`, `debias` and the other commands return and what is read back from a run folder. Attributes
are the keys of results.json; a key that a run did not write is None (or empty), and `to_dict` leaves it out again.
The JSON Schema beside this file (results.schema.json) is generated from these types (`json_schema`).

Schema 1 is read as well: it lacks the fields that are marked as new in schema 2.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from biasunlearn.errors import RequestError
from biasunlearn.runs.schema import Count, Number, Positive, Record, Whole, read_as, read_json, wrong_at
from biasunlearn.stats.stereoset import Estimate, Item

__all__ = ["Item"]  # rows of items.parquet

SCHEMA: Final = 2
"""What is written."""
READABLE = (1, 2)

Text = str | None


# --- scores ----------------------------------------------------------------------------------------------------------


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

    def contains(self, value: float) -> bool:
        return self.low <= value <= self.high


class Distance(Interval):
    """A mean |SS - 50|, and what would be expected for an unbiased model."""

    if_fair: Number


class Metric(Record):
    """A value whose interval may be unknown: a metric of an lm-eval task, or a mean over seeds."""

    value: Number
    low: Number | None = None
    high: Number | None = None


Score = Interval | Metric | float | None
"""A score as it stands in results.json; None: not defined there."""


def _alternative(value: Any) -> str:
    return "interval" if isinstance(value, Record) or (isinstance(value, Mapping) and "value" in value) else "other"


Extra = Annotated[Annotated[Interval, Tag("interval")] | Annotated[Any, Tag("other")], Discriminator(_alternative)]
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


def _scores(record: Record) -> dict[str, Score]:
    return {
        name: value for name, value in record.given.items()
        if value is None or isinstance(value, Interval | Metric | float)
    }  # fmt: skip


def _counts(record: Record) -> dict[str, int]:
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

    @property
    def scores(self) -> dict[str, Score]:
        """Every score by its name, in the order of the file; None where it is not defined."""
        return _scores(self)

    @property
    def part(self) -> ScoredPart:
        return ScoredPart(self.n, self.scores, _counts(self))

    def interval(self, score: str) -> Interval | None:
        """A score with its interval; None where it is not defined or was not measured."""
        found = self.scores.get(score)
        return found if isinstance(found, Interval) else None


class CountedScore(Record):
    """SS of a subset of the pairs, and how many there are. New in schema 2."""

    n: Count
    ss: Interval | None = None


class Unseen(Record):
    """SS by what the model has seen in training of a pair's two attribute words. New in schema 2."""

    both: CountedScore | None = None
    one: CountedScore | None = None
    neither: CountedScore | None = None


class Equivalence(Record):
    """Does the whole interval of SS lie within `margin` points of 50? New in schema 2."""

    margin: Number
    within: bool


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
    # new in schema 2
    ss_group: Interval | None = None
    margin_group: Interval | None = None
    margin_wording: Interval | None = None
    unseen_wording: Unseen | None = None
    spread: Interval | None = None
    subgroups: Mapping[str, CountedScore] | None = None
    polarised: bool | None = None
    equivalence: Equivalence | None = None


class BBQScores(BiasTypeScores):
    counts: Mapping[str, Mapping[str, Count]] | None = None
    """{ambig, disambig: {role of the answer given: how often}}"""


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


# --- benchmarks ------------------------------------------------------------------------------------------------------


class Contamination(Record):
    """How many triplets of the benchmark the adapter has seen in training."""

    clusters: Count
    of: Count


class BenchmarkResult(Record):
    """What one benchmark gave. Every benchmark has a class of its own below, with what only it has."""

    version: Whole | None = None
    data: Text = None
    """Path of the data file."""
    sha256: Text = None
    skipped: Count = 0
    skipped_rows: Sequence[str] = ()
    contaminated: Contamination | None = None
    notes: Sequence[str] = ()

    @property
    def ideals(self) -> Mapping[str, float | None]:
        """Every score of the benchmark with its ideal value; None where there is none to name."""
        return {}

    @property
    def shown_scores(self) -> Sequence[str]:
        """The scores that a table has columns for."""
        return list(self.ideals)

    @property
    def whole(self) -> ScoredPart:
        """Every score over all bias types."""
        return ScoredPart(0, _scores(self), _counts(self))

    @property
    def parts(self) -> dict[str, ScoredPart]:
        """Every score of each bias type; empty for a benchmark without bias types."""
        return {}


class PanelResult(BenchmarkResult):
    """A benchmark that has scores overall, by bias type, and by other groups."""

    formulation: str = ""
    ideal: Mapping[str, Number | None]
    n: Count
    overall: BiasTypeScores
    bias_types: Mapping[str, BiasTypeScores]
    groups: Mapping[str, Mapping[str, BiasTypeScores]] = {}
    """{grouping: {group: scores}}, e.g. by direction."""
    shown: Sequence[str] | None = None

    @property
    def ideals(self) -> Mapping[str, float | None]:
        return self.ideal

    @property
    def shown_scores(self) -> Sequence[str]:
        return list(self.ideal) if self.shown is None else self.shown

    @property
    def whole(self) -> ScoredPart:
        return self.overall.part

    @property
    def parts(self) -> dict[str, ScoredPart]:
        return {name: row.part for name, row in self.bias_types.items()}

    @model_validator(mode="after")
    def _every_row_has_every_score(self) -> Self:
        rows = {"overall": self.overall, **{f"bias_types.{name}": row for name, row in self.bias_types.items()}}
        rows |= {f"groups.{by}.{name}": row for by, group in self.groups.items() for name, row in group.items()}
        for place, row in rows.items():
            for score in self.ideal:
                if score not in row.scores:
                    raise wrong_at(f"{place}.{score}", "must be an object with value, low and high, or null")
        return self


class StereoSetPart(Record):
    """Pairs of whole sentences (intersentence), beside the official score."""

    formulation: str = ""
    n: Count
    overall: StereoSetScores
    bias_types: Mapping[str, StereoSetScores]


class StereoSetResult(BenchmarkResult):
    formulation: str = ""
    ideal: Mapping[str, Number | None] = {}
    n: Count
    overall: StereoSetScores
    bias_types: Mapping[str, StereoSetScores]
    intersentence: StereoSetPart | None = None
    unscored_clusters: Count = 0
    """`rescore` only: triplets of the data file without a stored score."""

    @property
    def ideals(self) -> Mapping[str, float | None]:
        return self.ideal

    @property
    def whole(self) -> ScoredPart:
        return self.overall.part

    @property
    def parts(self) -> dict[str, ScoredPart]:
        return {name: row.part for name, row in self.bias_types.items()}


class CrowsPairsResult(PanelResult):
    ties: Count = 0


class BBQResult(PanelResult):
    overall: BBQScores
    bias_types: Mapping[str, BBQScores]
    untold: Count = 0
    """Questions whose stereotyped answer the file does not tell."""
    ties: Count = 0


class WinoBiasResult(PanelResult):
    occupations: Mapping[str, Mapping[str, Number]] = {}
    improper: Count = 0
    """Pairs that differ in more than the pronoun."""


class WinogenderResult(PanelResult):
    occupations: Mapping[str, Mapping[str, Number]] = {}
    correlation: Interval | None = None


class SeatTest(Record):
    """One association test; the fields with `_last` are about the vector of the last token."""

    bias_type: str
    attributes: str = ""
    sentences: bool = False
    n: Sequence[Count]
    """Sentences of the two target groups."""
    effect_size: Number | None
    p: Number
    exact: bool
    divisions: Count = 0
    by_chance: Number | None = None
    effect_size_last: Number | None
    p_last: Number
    exact_last: bool
    divisions_last: Count = 0
    by_chance_last: Number | None = None


class SeatResult(PanelResult):
    tests: Mapping[str, SeatTest] = {}


class Gap(Interval):
    """Largest less smallest mean of the groups of a domain, beside what chance gives."""

    by_chance: Number
    p: Number
    highest: str
    lowest: str
    groups: Count = 0


class PromptFacts(Record):
    asked: Count
    of: Count
    seed: Whole = 0


class GenerationFacts(Record):
    continuations: Count
    new_tokens: Count
    temperature: Number
    top_p: Number
    seed: Whole = 0


class ClassifierFacts(Record):
    model: str
    texts_cut: Count = 0


class GeneratedResult(PanelResult):
    """A benchmark of what a model writes."""

    prompts: PromptFacts | None = None
    generation: GenerationFacts | None = None
    classifiers: Mapping[str, ClassifierFacts] = {}


class BoldResult(GeneratedResult):
    gaps: Mapping[str, Mapping[str, Gap]] = {}
    """{classifier: {domain: gap}}"""


class RealToxicityPromptsResult(GeneratedResult):
    pass


class ControlsResult(PanelResult):
    overall: ControlsScores
    bias_types: Mapping[str, ControlsScores]
    made: Mapping[str, Count] = {}
    left_out: Count = 0


class ParaphrasesResult(PanelResult):
    overall: ParaphrasesScores
    bias_types: Mapping[str, ParaphrasesScores]
    frames: Mapping[str, str] = {}
    made: Mapping[str, Count] = {}
    left_out: Count = 0


class PerplexityResult(BenchmarkResult):
    """Perplexity of a text: it has neither pairs nor bias types."""

    per_token: Positive
    per_byte: Positive
    tokens: Count
    bytes: Count | None = None


class TaskScores(Record):
    """A task of lm-eval: its metrics have lm-eval's own names."""

    __pydantic_extra__: dict[str, Annotated[
        Annotated[Metric, Tag("interval")] | Annotated[Any, Tag("other")], Discriminator(_alternative)
    ]] = Field(init=False)  # fmt: skip

    n: Count | None = None
    shots: Whole | None = None
    version: Any = None

    @property
    def metrics(self) -> dict[str, Metric]:
        return {name: value for name, value in (self.model_extra or {}).items() if isinstance(value, Metric)}


class Capability(Record):
    """Tasks of lm-eval, after debiasing and before."""

    lm_eval: str = ""
    limit: Count | None = None
    chat_template: bool = False
    tasks: Mapping[str, TaskScores]
    before: Mapping[str, TaskScores] | None = None


class TasksResult(BenchmarkResult):
    """Tasks of lm-eval as a benchmark like any other: a part for each task, and all of their metrics overall."""

    tasks: Mapping[str, TaskScores]

    @property
    def whole(self) -> ScoredPart:
        metrics = {f"{task} {name}": one for task, row in self.tasks.items() for name, one in row.metrics.items()}
        return ScoredPart(0, metrics)

    @property
    def parts(self) -> dict[str, ScoredPart]:
        return {task: ScoredPart(row.n or 0, row.metrics) for task, row in self.tasks.items()}


def _shape(value: Any) -> str:
    return "panel" if isinstance(value, PanelResult) or (isinstance(value, Mapping) and "overall" in value) else "plain"


Unknown = Annotated[
    Annotated[PanelResult, Tag("interval")] | Annotated[BenchmarkResult, Tag("other")],
    Discriminator(lambda value: "interval" if _shape(value) == "panel" else "other"),
]
"""A benchmark of another version."""


class Measured(Record):
    """What every benchmark gave, by its name. `entries` has them in the order in which they were measured."""

    __pydantic_extra__: dict[str, Unknown] = Field(init=False)

    stereoset: StereoSetResult | None = None
    crows_pairs: CrowsPairsResult | None = None
    bbq: BBQResult | None = None
    winobias: WinoBiasResult | None = None
    winogender: WinogenderResult | None = None
    seat: SeatResult | None = None
    bold: BoldResult | None = None
    realtoxicityprompts: RealToxicityPromptsResult | None = None
    controls: ControlsResult | None = None
    paraphrases: ParaphrasesResult | None = None
    perplexity: PerplexityResult | None = None

    _order: tuple[str, ...] = ()

    @model_validator(mode="wrap")
    @classmethod
    def _note_order(cls, value: Any, handler: Any) -> Self:
        made: Self = handler(value)
        if isinstance(value, Mapping):
            made._order = tuple(value)
        return made

    @property
    def entries(self) -> dict[str, BenchmarkResult]:
        found = {name: one for name, one in self if one is not None}
        return {name: found[name] for name in (*self._order, *found) if name in found}

    def marked(self, seen: Mapping[str, Contamination]) -> "Measured":
        """The same, with these benchmarks marked as contaminated."""
        entries = self.entries
        return Measured.model_validate({
            name: entry.with_values(contaminated=seen[name]) if name in seen else entry
            for name, entry in entries.items()
        })  # fmt: skip

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def __getitem__(self, name: str) -> BenchmarkResult:
        return self.entries[name]

    def __len__(self) -> int:
        return len(self.entries)

    def to_dict(self) -> dict[str, Any]:
        return {name: one.to_dict() for name, one in self.entries.items()}


# --- parts of results.json -------------------------------------------------------------------------------------------


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


class DataFile(Record):
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
    unused: Whole = 0
    without_target_term: Count = 0

    @property
    def parts(self) -> dict[str, SplitFacts]:
        """The splits by name."""
        return {name: part for name, part in self if isinstance(part, SplitFacts)}


class RunData(Record):
    """What a run was made from: files with their hashes, splits, and findings of the checks."""

    train: DataFile | None = None
    unrelated: DataFile | None = None
    report: DataFile | None = None
    splits: Splits | None = None
    overlap_with_report: Count = 0
    stopped_on_report: bool = False
    findings: Sequence[str] = ()

    def split(self, name: str) -> SplitFacts | None:
        """A split by its name (train, stop); None where the run has none."""
        return self.splits.parts.get(name) if self.splits else None

    @property
    def files(self) -> dict[str, DataFile]:
        """The files by what they are for, those that have a path."""
        named = {"train": self.train, "unrelated": self.unrelated, "report": self.report}
        return {name: file for name, file in named.items() if file is not None and file.path}


class Recipe(Record):
    """The DebiasConfig of a run, as stored. Other versions have other keys, so only what is read is declared."""

    seed: Whole | None = None
    margin: Positive | None = None
    beta: Positive | None = None
    lms_floor: Number | None = None


class Environment(Record):
    """What produced a result."""

    command: Text = None
    python: Text = None
    platform: Text = None
    versions: Mapping[str, Text] = {}


class Verdict(Record):
    """What a run with a before came to. New in schema 2."""

    value: Literal["fair", "improved", "no evidence", "worse", "failed"]
    reason: str = ""


class Effect(Record):
    """The share of a debiasing that is left, or that arrived elsewhere: stats.effect.effect_kept."""

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
    """What a transfer took where, and how much of it arrived."""

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


# --- results.json ----------------------------------------------------------------------------------------------------


class Results(Record):
    """results.json of any command that writes a run folder."""

    schema_version: Literal[1, 2] = Field(alias="schema")
    model: Text = None
    """None for stored scores, whose file is `scores`."""
    method: Text = None
    adapter: Text = None
    trained_model: Text = None
    """With full fine-tuning: the folder of the whole model."""
    scores: Text = None
    verdict: Verdict | None = None
    """None for a run without a before, and until it is computed."""
    transferred: Transferred | None = None
    relearned: Relearned | None = None
    combined: Combined | None = None
    protocol: ScoringProtocol = ScoringProtocol()
    before: Measured | None = None
    """Of `debias`, `transfer`, `combine`, `relearn`: the same benchmarks before."""
    benchmarks: Measured
    capability: Capability | None = None
    direct: Direct | None = None
    stopped: Stopped | None = None
    collapsed: bool = False
    cost: Cost | None = None
    search: Sequence[Candidate] = ()
    probes: Probes | None = None
    data: RunData = RunData()
    config: Recipe | None = None
    environment: Environment = Environment()
    known_skew: Mapping[str, Number] | None = None
    """Only in what `demo` returns: the SS that its world was built with."""
    out: Text = None
    """Only in what `demo` returns: the run folder."""

    @field_validator("schema_version", mode="before")
    @classmethod
    def _readable(cls, value: Any) -> Any:
        if value not in READABLE or isinstance(value, bool | float):
            raise wrong_at("", f"{value!r}; this version reads {' and '.join(map(str, READABLE))}")
        return value

    @model_validator(mode="after")
    def _before_matches(self) -> Self:
        for name, entry in self.benchmarks.entries.items() if self.before else ():
            first = self.before and self.before.entries.get(name)
            if first is None or type(first) is not type(entry):
                raise wrong_at(f"before.{name}", "is missing, though benchmarks has it")
            for one in {*entry.parts} ^ {*first.parts}:
                raise wrong_at(f"before.{name}.bias_types.{one}", "must be in before and benchmarks, or in neither")
        return self

    def to_dict(self) -> dict[str, Any]:
        """The content of results.json."""
        found = super().to_dict()
        found |= {key: getattr(self, key).to_dict() for key in ("before", "benchmarks") if found.get(key) is not None}
        return found

    @property
    def stereoset_file(self) -> tuple[str | None, str | None]:
        """The data file of StereoSet and its SHA-256, where the run names them."""
        entry = self.benchmarks.stereoset
        return (entry.data, entry.sha256) if entry else (None, None)

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row for each stage, benchmark, bias type and score, as `to_pandas` has them."""
        for stage, measured in (("before", self.before), ("after" if self.before else "", self.benchmarks)):
            for benchmark, entry in measured.entries.items() if measured else ():
                for name, part in {**entry.parts, "overall": entry.whole}.items():
                    for score, found in part.scores.items():
                        where = {"stage": stage, "benchmark": benchmark, "bias_type": name, "score": score}
                        yield {**where, **_ends(found)}

    def to_pandas(self) -> Any:
        """A DataFrame with the columns stage, benchmark, bias_type, score, value, low, high."""
        import pandas

        columns = ["stage", "benchmark", "bias_type", "score", "value", "low", "high"]
        return pandas.DataFrame(self.rows(), columns=columns)


def _ends(found: Score) -> dict[str, float | None]:
    if isinstance(found, Interval | Metric):
        return {"value": found.value, "low": found.low, "high": found.high}
    return {"value": found, "low": None, "high": None}


def only_given(**values: Any) -> dict[str, Any]:
    """The values that are not None: a key of results.json without a value is left out."""
    return {name: value for name, value in values.items() if value is not None}


def load_results(path: str | Path) -> Results:
    """The results of a run.

    Args:
        path: the run folder, or its results.json.
    Raises:
        RequestError: no finished run there, or something in the file is not what belongs there.
    """
    path = Path(path)
    file = path if path.suffix == ".json" else path / "results.json"
    try:
        content = read_json(file)
    except FileNotFoundError:
        raise RequestError(f"{path}: no finished run here (results.json is missing)") from None
    return read_as(Results, content, str(file))


def json_schema() -> dict[str, Any]:
    """The JSON Schema of results.json, as shipped in results.schema.json."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Results.model_json_schema(by_alias=True)}


# --- metrics.jsonl, config.yaml, training_data.json ----------------------------------------------------------------


class StepDecision(Record):
    """What was decided at an evaluation on the stop split."""

    push: Mapping[str, Number] = {}
    passed: Count = 0
    stop: bool = False
    collapsed: bool = False
    reason: str = ""
    swapped: Sequence[str] = ()


class MetricsRow(Record):
    """A row of metrics.jsonl: an optimizer step, an evaluation on the stop split, or both. Losses may be NaN."""

    step: Count
    loss_forget: float | None = None
    loss_retain: float | None = None
    loss_kl: float | None = None
    log_ratio: float | None = None
    lr: Number | None = None
    ss: Mapping[str, Number] | None = None
    lms: Number | None = None
    decision: StepDecision | None = None


class DebiasRequest(Record):
    """What a `debias` run was asked for: data and options, without the recipe."""

    model: str
    train: str
    report: str
    unrelated: Text = None
    benchmarks: Mapping[str, str] = {}
    skip_invalid: bool = False
    trust_remote_code: bool = False
    asking: Mapping[str, Any] = {}


class RunConfig(Record):
    """config.yaml: the request under the name of its command, and with `debias` the recipe."""

    debias: DebiasRequest | None = None
    recipe: Mapping[str, Any] | None = None

    @model_validator(mode="after")
    def _recipe_beside_debias(self) -> Self:
        if (self.debias is None) != (self.recipe is None):
            raise wrong_at("debias, recipe", "must stand beside each other")
        return self


class Manifest(Record):
    """training_data.json in an adapter's folder: hashes of the pairs that it has seen."""

    pairs: Sequence[str] = ()
    parts: Sequence["Manifest"] = ()
    """Of a combination: the manifests of its adapters."""
