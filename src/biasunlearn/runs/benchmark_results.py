"""The types of what a benchmark gives: a class for each benchmark, and `Measured`, which has all of a run."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, Tag, model_validator

from biasunlearn.runs.association_results import ReplacedFacts
from biasunlearn.runs.judged_results import Bounds, Corrected, JudgingFacts
from biasunlearn.runs.schema import Count, Number, Positive, Record, Text, Whole, wrong_at
from biasunlearn.runs.scores import (
    BBQScores,
    BiasTypeScores,
    ControlsScores,
    Interval,
    Metric,
    ParaphrasesScores,
    ScoredPart,
    StereoSetScores,
    counts_of,
    is_score,
    scores_of,
)


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
        return ScoredPart(0, scores_of(self), counts_of(self))

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
    replaced: ReplacedFacts | None = None
    """None where no target terms were replaced. New in schema 2."""
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


class JudgedResult(PanelResult):
    """A benchmark of answers that judges read. New in schema 2."""

    prompts: PromptFacts | None = None
    states: Mapping[str, Mapping[str, Count]] = {}
    """{"overall" or a bias type: {scored, refused, or "unscored: reason": answers}}"""
    bounds: Mapping[str, Mapping[str, Bounds]] = {}
    """{"overall" or a bias type: {score: bounds}}, where some answers are unscored."""
    judging: JudgingFacts | None = None
    corrected: Mapping[str, Corrected] = {}
    """{share: the share corrected by labels of people}; empty without labels."""
    without_judge: Mapping[str, Mapping[str, Number | None]] = {}
    """{judge: {score: its value by the panel without this judge}}; empty without a panel."""
    new_tokens: Count | None = None
    """Of an answer, at most."""
    gaps: Mapping[str, Mapping[str, Gap]] = {}
    """ceb: {"statistical parity" or "equal opportunity": {set: gap between the groups of its rows}}"""

    @property
    def unscored(self) -> dict[str, int]:
        """{reason: answers without a verdict}"""
        found = self.states.get("overall", {})
        return {name: count for name, count in found.items() if name.startswith("unscored")}


class CognitiveResult(PanelResult):
    """A benchmark of a cognitive bias: treatment less control. New in schema 2."""

    malformed: Count = 0
    """Items that are not what they claim to be, and are left out of all scores."""
    undecided: Mapping[str, Count] = {}
    """{arm: written answers in which no verdict was found}; empty where none were written."""


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
    pseudo: bool | None = None
    """From pseudo-log-likelihoods, of a masked model. Not comparable with the perplexity of a causal one."""


class TaskScores(Record):
    """A task of lm-eval: its metrics have lm-eval's own names."""

    __pydantic_extra__: dict[str, Annotated[
        Annotated[Metric, Tag("interval")] | Annotated[Any, Tag("other")], Discriminator(is_score)
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
    bbq_text: JudgedResult | None = None
    mt_bench: JudgedResult | None = None
    responses: JudgedResult | None = None
    fairmt: JudgedResult | None = None
    cab: JudgedResult | None = None
    ceb: JudgedResult | None = None
    belief_bias: CognitiveResult | None = None
    certainty_effect: CognitiveResult | None = None
    decoy_effect: CognitiveResult | None = None
    cognitive_tests: CognitiveResult | None = None

    _order: tuple[str, ...] = ()

    @model_validator(mode="wrap")
    @classmethod
    def _note_order(cls, value: Any, handler: Any) -> Self:
        made: Self = handler(value)
        if isinstance(value, Mapping):
            made._order = tuple(value)
        return made

    @property
    def given(self) -> dict[str, Any]:
        return dict(self.entries)

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
