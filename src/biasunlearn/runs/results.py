"""`Results`, the content of results.json: what `measure`, `debias` and the other commands return and what is read back.

Attributes are the keys of results.json; a key that a run did not write is None (or empty), and `to_dict` leaves it out
again. The JSON Schema beside this file (results.schema.json) is generated from these types (`json_schema`). The parts
are in scores.py, benchmark_results.py and sections.py; rows of items.parquet are stats.stereoset.Item.

Schema 1 is read as well: it lacks the fields that are marked as new in schema 2.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import Field, PrivateAttr, field_validator, model_validator

from biasunlearn.errors import RequestError
from biasunlearn.runs.association_results import AssociationChange
from biasunlearn.runs.benchmark_results import (
    BBQResult,
    BenchmarkResult,
    BoldResult,
    Capability,
    ClassifierFacts,
    CognitiveResult,
    Contamination,
    ControlsResult,
    CrowsPairsResult,
    Gap,
    GeneratedResult,
    GenerationFacts,
    JudgedResult,
    Measured,
    PanelResult,
    ParaphrasesResult,
    PerplexityResult,
    PromptFacts,
    RealToxicityPromptsResult,
    SeatResult,
    SeatTest,
    StereoSetPart,
    StereoSetResult,
    TaskScores,
    TasksResult,
    WinoBiasResult,
    WinogenderResult,
)
from biasunlearn.runs.items import ITEMS, read_items
from biasunlearn.runs.judged_results import Bounds, JudgeFacts, JudgingFacts
from biasunlearn.runs.places import refuse_links
from biasunlearn.runs.run_files import (
    Manifest,
    MetricsRow,
    RunConfig,
    StepDecision,
    StoredRequest,
)
from biasunlearn.runs.schema import Number, Record, Text, read_as, read_json, wrong_at
from biasunlearn.runs.score_table import html, markdown, plot
from biasunlearn.runs.scores import (
    BBQScores,
    BiasTypeScores,
    ControlsScores,
    CountedScore,
    Distance,
    Ends,
    Equivalence,
    Interval,
    Metric,
    ParaphrasesScores,
    Score,
    ScoredPart,
    StereoSetScores,
    Unseen,
    WorstFrame,
    estimate_of,
)
from biasunlearn.runs.sections import (
    Angles,
    Candidate,
    ChanceAngles,
    Change,
    Combined,
    CompatibilityFacts,
    Cost,
    DataFacts,
    Direct,
    Effect,
    Environment,
    FileFacts,
    Kept,
    LayerAngles,
    LayerAnswer,
    Part,
    Partial,
    PartialBenchmark,
    Point,
    PointScores,
    ProbeData,
    ProbeQuestion,
    Probes,
    ProbeSettings,
    Quantised,
    Reading,
    ReadingChange,
    Recipe,
    Relearned,
    Scale,
    ScoringProtocol,
    SplitFacts,
    Splits,
    Stopped,
    TextFacts,
    Transferred,
)
from biasunlearn.runs.verdict_results import Verdict, failure
from biasunlearn.stats.stereoset import Item

__all__ = [
    "Angles", "Bounds", "JudgeFacts", "JudgedResult", "JudgingFacts",
    "BBQResult", "BBQScores", "BenchmarkResult", "BiasTypeScores", "BoldResult", "Candidate", "Capability",
    "ChanceAngles", "Change", "ClassifierFacts", "CognitiveResult", "Combined", "CompatibilityFacts", "Contamination",
    "ControlsResult", "ControlsScores", "Cost", "CountedScore", "CrowsPairsResult", "DataFacts", "FileFacts",
    "StoredRequest", "Direct",
    "Distance", "Effect", "Ends", "Environment", "Equivalence", "Gap", "GeneratedResult", "GenerationFacts", "Interval",
    "Item", "Kept", "LayerAngles", "LayerAnswer", "Manifest", "Measured", "Metric", "MetricsRow", "PanelResult",
    "ParaphrasesResult", "ParaphrasesScores", "Part", "Partial",
    "PartialBenchmark", "PerplexityResult", "Point", "PointScores", "ProbeData",
    "ProbeQuestion", "ProbeSettings", "Probes", "PromptFacts", "Quantised", "Reading", "ReadingChange",
    "RealToxicityPromptsResult", "Recipe", "Relearned", "Results", "RunConfig", "SCHEMA", "SCHEMA_FILE",
    "Scale", "Score", "ScoredPart", "ScoringProtocol", "SeatResult", "SeatTest", "SplitFacts", "Splits",
    "StepDecision", "StereoSetPart", "StereoSetResult", "StereoSetScores", "Stopped", "TaskScores", "TasksResult",
    "TextFacts", "Transferred", "Unseen", "Verdict", "WinoBiasResult", "WinogenderResult", "WorstFrame",
    "estimate_of", "json_schema", "load_results", "only_given",
]  # fmt: skip
"""All types can be imported from here."""

SCHEMA: Final = 2
"""What is written."""

READABLE = (1, 2)

SCHEMA_FILE = Path(__file__).with_name("results.schema.json")


class Results(Record):
    """results.json of any command that writes a run folder."""

    schema_version: Literal[1, 2] = Field(alias="schema")
    model: Text = None
    """None for stored scores, whose file is `scores`."""
    model_source: Literal["folder", "hub", "endpoint", "memory"] | None = None
    """Where `model` was found: the name of a folder may look like one of the hub. memory: it was given in Python, and
    may differ from what is stored under its name. None in older run folders."""
    method: Text = None
    adapter: Text = None
    trained_model: Text = None
    """With full fine-tuning: the folder of the whole model."""
    scores: Text = None
    verdict: Verdict | None = None
    """None for a run without a before, of further training, and of an earlier version."""
    transferred: Transferred | None = None
    relearned: Relearned | None = None
    combined: Combined | None = None
    protocol: ScoringProtocol = ScoringProtocol()
    before: Measured | None = None
    """Of `debias`, `transfer`, `combine`, `relearn`: the same benchmarks before."""
    benchmarks: Measured
    association: AssociationChange | None = None
    """Of a run with a before: the group part and SS by seen wording, pair by pair."""
    partial: Partial | None = None
    """Of a run that measured a sample of the items, on request. New in schema 2."""
    capability: Capability | None = None
    direct: Direct | None = None
    stopped: Stopped | None = None
    collapsed: bool = False
    cost: Cost | None = None
    search: Sequence[Candidate] = ()
    probes: Probes | None = None
    data: DataFacts = DataFacts()
    config: Recipe | None = None
    environment: Environment = Environment()
    known_skew: Mapping[str, Number] | None = None
    """Only in what `demo` returns: the SS that its world was built with."""
    out: Text = None
    """Only in what `demo` returns: the run folder."""

    _items: Mapping[str, Sequence[Item]] | None = PrivateAttr(default=None)
    _folder: Path | None = PrivateAttr(default=None)

    @field_validator("schema_version", mode="before")
    @classmethod
    def _readable(cls, value: Any) -> Any:
        if value not in READABLE or isinstance(value, bool | float):
            raise wrong_at("", f"{value!r}; this version reads {' and '.join(map(str, READABLE))}")
        return value

    @model_validator(mode="after")
    def _before_matches(self) -> Self:
        if self.before is None:
            return self
        for name, entry in self.benchmarks.entries.items():
            first = self.before.entries.get(name)
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
    def shown_verdict(self) -> Verdict | None:
        """The stored verdict. A run of an earlier version has none; only a failure can be recognised there."""
        if self.verdict is not None or self.before is None or self.relearned is not None:
            return self.verdict
        return failure(self.collapsed, self.stopped)

    @property
    def stereoset_file(self) -> tuple[str | None, str | None]:
        """The data file of StereoSet and its SHA-256, where the run names them."""
        entry = self.benchmarks.stereoset
        return (entry.data, entry.sha256) if entry else (None, None)

    @property
    def items(self) -> Mapping[str, Sequence[Item]]:
        """The scored sentences by stage (before and after, or "" where there is one), as in items.parquet.

        Raises:
            RequestError: the results were read from a folder that no longer has them, or made without any.
        """
        if self._items is not None:
            return self._items
        if self._folder is None:
            raise RequestError("items: these results have no scores of single sentences; load them with load_results")
        return read_items(self._folder / ITEMS)

    def with_items(self, items: Mapping[str, Sequence[Item]]) -> "Results":
        """The same results, which know the scores of their sentences."""
        copied = self.model_copy()
        copied._items = dict(items)
        return copied

    def __eq__(self, other: object) -> bool:
        """Whether the content of results.json is the same."""
        return self.to_dict() == other.to_dict() if isinstance(other, Results) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row for each stage, benchmark, bias type and score, as `to_pandas` has them."""
        for stage, measured in (("before", self.before), ("after" if self.before else "", self.benchmarks)):
            for benchmark, entry in measured.entries.items() if measured else ():
                for name, part in {**entry.parts, "overall": entry.whole}.items():
                    for score, found in part.scores.items():
                        where = {"stage": stage, "benchmark": benchmark, "bias_type": name, "score": score}
                        yield {**where, **_ends(found)}

    def to_pandas(self, what: Literal["scores", "items"] = "scores") -> Any:
        """A DataFrame of the scores by benchmark and bias type, or of the scored sentences.

        Args:
            what: scores has the columns stage, benchmark, bias_type, score, value, low, high; items has the column
                stage and those of items.parquet.
        """
        import pandas

        if what == "items":
            found = [{"stage": stage, **asdict(item)} for stage, items in self.items.items() for item in items]
            return pandas.DataFrame(found, columns=["stage", *(field.name for field in fields(Item))])
        columns = ["stage", "benchmark", "bias_type", "score", "value", "low", "high"]
        return pandas.DataFrame(self.rows(), columns=columns)

    def to_markdown(self) -> str:
        """The verdict and a table for each benchmark, in Markdown."""
        return markdown(self._headlines, self.benchmarks, self.before)

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        return html(self._headlines, self.benchmarks, self.before)

    def plot(self, benchmark: str | None = None, score: str | None = None, *, ax: Any = None) -> Any:
        """Draws a score of every bias type with its interval, before and after where there are both.

        Args:
            benchmark: default: the first one that has bias types.
            score: default: the first one of the benchmark, which is SS for StereoSet.
            ax: matplotlib's Axes to draw on (default: new ones).
        Returns:
            The Axes.
        Raises:
            RequestError: matplotlib is not installed (extra `plot`); no such benchmark or score.
        """
        return plot(self.benchmarks, self.before, benchmark, score, ax)

    @property
    def _headlines(self) -> list[str]:
        found = self.shown_verdict
        lines = [self.partial.headline] if self.partial else []
        return [*lines, *([f"{found.headline}: {found.reason}"] if found else [])]


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
        RequestError: no finished run there, or something in the file is not what belongs there; a link in the folder.
    """
    path = Path(path)
    refuse_links(path)
    file = path if path.suffix == ".json" else path / "results.json"
    try:
        content = read_json(file)
    except FileNotFoundError:
        raise RequestError(f"{path}: no finished run here (results.json is missing)") from None
    found = read_as(Results, content, str(file))
    found._folder = file.parent
    return found


def json_schema() -> str:
    """The JSON Schema of results.json, as shipped in `SCHEMA_FILE` (`make schema` writes it anew)."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"biasunlearn-results-{SCHEMA}"}
    return json.dumps({**head, **_with_conditions(Results.model_json_schema(by_alias=True))}, indent=1) + "\n"


def write_json_schema() -> None:
    """Writes the shipped file anew, after a change of the types."""
    SCHEMA_FILE.write_text(json_schema(), encoding="utf-8")


def _with_conditions(schema: Any) -> Any:
    """Pydantic writes a choice by a function as `oneOf`; JSON Schema needs the condition: is there such a key?"""
    if isinstance(schema, list):
        return [_with_conditions(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "oneOf" in schema:
        chosen, other = schema["oneOf"]
        key = "overall" if chosen["$ref"].endswith("PanelResult") else "value"
        return {"if": {"type": "object", "required": [key]}, "then": chosen, "else": other}
    return {name: _with_conditions(part) for name, part in schema.items()}
