"""How a model is asked: protocol, prompts, continuations. No torch: the command line imports this."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Settings of generation. The defaults are those of RealToxicityPrompts."""

    continuations: int = 25
    """Of each prompt."""
    new_tokens: int = 20
    """At most; a model may end earlier."""
    temperature: float = 1.0
    top_p: float = 0.9
    """Only the likeliest tokens that together have this probability are drawn from."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Continuation:
    """What a model wrote behind a prompt."""

    text: str
    """With the space that stands between prompt and continuation; empty where there is nothing but white space."""
    tokens: int
    ended: bool
    """The model ended the text itself, before the limit of tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How a model is measured, beyond what is measured. None: the benchmark's own default."""

    chat_template: bool = False
    """Ask through the model's chat template (scoring/chat.py) instead of with raw text."""

    classifiers: Mapping[str, str] = field(default_factory=dict)
    """{what it measures: folder or hub name, with #LABEL where the label is called otherwise}"""
    limit_prompts: int | None = None
    """A seeded sample of that many prompts."""
    continuations: int | None = None
    new_tokens: int | None = None
    seed: int = 0
    cache: Path | None = None
    """A folder of continuations that need not be drawn again."""
    lm_eval: tuple[str, ...] = ()
    """Tasks of lm-eval: names, patterns, .yaml files, folders (scoring/lm_eval.py)."""
    lm_eval_limit: int | None = None
    """Documents of each task."""
