"""How continuations of prompts are drawn, and what comes back. No torch: the command line imports this."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Settings of generation. The defaults of number and length are those of RealToxicityPrompts."""

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
