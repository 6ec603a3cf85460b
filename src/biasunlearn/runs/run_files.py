"""The types of a run folder's other files: metrics.jsonl, config.yaml, and the two JSON files of the adapter."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import AliasChoices, Field, model_validator

from biasunlearn.runs.schema import LARGEST, Count, Number, Record, Text, Whole, wrong_at
from biasunlearn.runs.sections import FileFacts, Splits


class StepDecision(Record):
    """What was decided at an evaluation on the stop split."""

    swap_weights: Mapping[str, Number] = Field(default={}, validation_alias=AliasChoices("swap_weights", "push"))
    """`push` in run folders of version 0.1.0."""
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
    loss_invariance: float | None = None
    loss_orthogonal: float | None = None
    log_ratio: float | None = None
    tokens: float | None = None
    """Tokens that the model read in the step, without those of the reference."""
    lr: Number | None = None
    ss: Mapping[str, Number] | None = None
    subgroups: Mapping[str, Number] | None = None
    """SS of the subgroups that have a swap weight of their own, shrunk towards that of their bias type."""
    lms: Number | None = None
    evaluated_items: Count | None = None
    """Items of the stop split that a sequential evaluation scored; the others were predicted."""
    decision: StepDecision | None = None


class StoredRequest(Record):
    """What a `debias` run was asked for: model, data and options, without the recipe."""

    model: str
    revision: Text = None
    train: str
    report: str
    unrelated: str | Sequence[str] | None = None
    """A path, or several."""
    benchmarks: Mapping[str, str] = {}
    skip_invalid: bool = False
    trust_remote_code: bool = False
    options: Mapping[str, Any] = {}
    """As scoring.protocol.EvalOptions."""


class RunConfig(Record):
    """config.yaml: the request under the name of its command, and with `debias` the recipe."""

    debias: StoredRequest | None = None
    recipe: Mapping[str, Any] | None = None

    @model_validator(mode="after")
    def _recipe_beside_debias(self) -> Self:
        if (self.debias is None) != (self.recipe is None):
            raise wrong_at("debias, recipe", "must stand beside each other")
        return self

    @property
    def revision(self) -> str | None:
        """The revision of the model that the run loaded, whichever command it was."""
        requests = (one.to_dict() if isinstance(one, Record) else one for one in self.given.values())
        found = (request.get("revision") for request in requests if isinstance(request, Mapping))
        return next((str(revision) for revision in found if revision), None)


class Manifest(Record):
    """training_data.json in an adapter's folder: hashes of the pairs that it has seen."""

    train: FileFacts | None = None
    unrelated: FileFacts | None = None
    splits: Splits | None = None
    seed: Whole | None = None
    pairs: Sequence[str] = ()
    words: Sequence[str] | None = None
    """Hashes of the words in which the training pairs differ (data/wording.py); None in older folders."""
    parts: Sequence["Manifest"] = ()
    """Of a combination: the manifests of its adapters."""

    @property
    def all_words(self) -> frozenset[str] | None:
        """The hashes of `words`, of all parts of a combination; None where one of them does not have any."""
        if self.words is not None:
            return frozenset(self.words)
        found = [part.all_words for part in self.parts]
        known = [words for words in found if words is not None]
        return frozenset().union(*known) if known and len(known) == len(found) else None


class AdapterConfig(Record):
    """adapter_config.json of a PEFT adapter of any kind: what this package reads or changes. The other keys are PEFT's.

    LoRA alone has a rank and a strength; prefix and prompt tuning have neither, and OFT with blocks has the rank 0.
    """

    peft_type: str
    base_model_name_or_path: Text = None
    revision: Text = None
    r: Annotated[int, Field(ge=0, le=LARGEST)] | None = None
    lora_alpha: Number | None = None
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    target_modules: str | Sequence[str] | None = None
    rank_pattern: Mapping[str, Count] | None = None
    alpha_pattern: Mapping[str, Number] | None = None

    def scaled(self, scale: float) -> Self:
        """The same LoRA at another strength."""
        patterns = {name: alpha * scale for name, alpha in (self.alpha_pattern or {}).items()}
        return self.with_values(lora_alpha=(self.lora_alpha or 0.0) * scale, alpha_pattern=patterns)
