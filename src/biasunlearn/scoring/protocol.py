"""How a model is evaluated: benchmarks, options, sampling. No torch: the command line imports this."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from biasunlearn.data.tables import MemoryTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Settings of text generation. The defaults are those of RealToxicityPrompts."""

    continuations: int = 25
    """Of each prompt."""
    new_tokens: int = 20
    """At most; a model may end earlier."""
    temperature: float = 1.0
    top_p: float = 0.9
    """Tokens are drawn from the likeliest ones that together have this probability."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Continuation:
    """A text that a model generated for a prompt."""

    text: str
    """With the space between prompt and continuation; empty where it would be white space only."""
    tokens: int
    ended: bool
    """The model ended the text itself, before the limit of tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalOptions:
    """The conditions of an evaluation. None: the benchmark's own default."""

    chat_template: bool = False
    """Put texts to the model through its chat template (scoring/chat.py) instead of as raw text."""
    classifiers: Mapping[str, str] = field(default_factory=dict)
    """{name of the score: folder or hub name of a classifier}, with #LABEL if its label has another name."""
    limit_prompts: int | None = None
    """Size of a seeded sample of the prompts."""
    continuations: int | None = None
    """Of each prompt."""
    new_tokens: int | None = None
    """Of a continuation, at most."""
    seed: int = 0
    """Of the sample of prompts and of the continuations."""
    cache: Path | None = None
    """Folder of stored continuations, which are not generated again."""
    limit: int | None = None
    """Items of each benchmark, a sample stratified by bias type and drawn with `seed`. None: all."""
    lm_eval: tuple[str, ...] = ()
    """Tasks of lm-eval: names, patterns, .yaml files, folders (scoring/lm_eval.py)."""
    lm_eval_limit: int | None = None
    """Documents of each task."""
    replacements: int = 4
    """Versions of every pair of StereoSet about others, for the group part of its margin; 0: none are scored."""
    term_lists: tuple[str, ...] = ()
    """The user's term lists, which name subgroups and what a term may be replaced by (data/subgroups.py)."""

    judges: tuple[str, ...] = ()
    """The panel: "rule", folders or hub names of models, or endpoints as URL#MODEL; (): the benchmark's own default."""
    minimum_kappa: float = 0.6
    """Agreement with the gold set beyond chance, below which a judge's verdicts are not used."""
    stop_if_unusable: bool = False
    """Whether judges that are not usable by the gold set are spared the answers."""
    judge_tokens: int | None = None
    """Of a judge's reply, at most. None: 64 for a label, 512 for a rating."""
    budget: int | None = None
    """Calls to endpoints, at most. None: no limit."""
    concurrency: int = 8
    """Calls to an endpoint at the same time, at most."""
    call_timeout: float = 120.0
    """Seconds of a call to an endpoint."""
    prompting: str | None = None
    """Baseline of judged benchmarks that changes what the model is asked (scoring/prompt_baseline.py)."""

    written_answers: bool = False
    """Benchmarks of cognitive biases also let the model write its answer, and read it."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for config.yaml."""
        values = asdict(self)
        names = ("lm_eval", "term_lists", "judges")
        lists = {name: list(values[name]) for name in names}
        if self.limit is None:  # a run of an earlier version, which had no such option, can be resumed
            del values["limit"]
        if not self.stop_if_unusable:  # likewise
            del values["stop_if_unusable"]
        if not self.written_answers:
            del values["written_answers"]
        return {**values, "cache": None if self.cache is None else str(self.cache), **lists}


@dataclass(frozen=True, slots=True)
class EvalPlan:
    """What a model is evaluated on, and how."""

    benchmarks: Mapping[str, str | MemoryTable] = field(default_factory=dict)
    """{name: path of its data, or its rows in memory}"""
    skip_invalid: bool = False
    """Leave out wrong rows of the data instead of refusing the file; they are counted and listed."""
    options: EvalOptions = field(default_factory=EvalOptions)
    data: Mapping[str, Any] = field(default_factory=dict)
    """{name: what its benchmark has read}, where the data has been read (commands/evaluation.py)."""
    unlimited: Mapping[str, Any] = field(default_factory=dict)
    """{name: all that was read}, of benchmarks of which `options.limit` leaves only a part in `data`."""
    trained_words: frozenset[str] | None = None
    """Hashes of the words in which the adapter's training pairs differ (data/wording.py); None where unknown."""

    def source(self, benchmark: str) -> Any:
        """The data of a benchmark: what was read, else its path."""
        return self.data.get(benchmark, self.benchmarks[benchmark])

    def whole(self, benchmark: str) -> Any:
        """The same without the limit on the number of items."""
        return self.unlimited.get(benchmark, self.source(benchmark))
