"""Perplexity of a text: how well the model still predicts ordinary text, which debiasing must not change.

Formulation    strided windows: each token is predicted once, from at least `window - stride` tokens before it (less
               at the start of the text). Per token: exp(mean negative log-probability). Per byte: the same sum over
               the UTF-8 bytes of the text, comparable between tokenizers.
               Masked models: pseudo-perplexity (arXiv 1910.14659), from the pseudo-log-likelihood in rows of 64
               tokens that do not overlap; `pseudo` marks it, and it is not comparable with a perplexity.
               Always of raw text: a chat template has no place in it
Deviations     transformers' documented recipe weighs a window's mean by one token less than it is a mean over, except
               where its first token is among them; here every token counts once. With windows that do not overlap the
               two are the same
Ideal          lower; what matters is the ratio after / before
Version        1
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from biasunlearn.data.files import hash_of, read_file
from biasunlearn.data.tables import data_facts
from biasunlearn.errors import RequestError
from biasunlearn.runs.results import PerplexityResult, only_given
from biasunlearn.scoring.protocol import EvalPlan
from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.stereoset import Item

if TYPE_CHECKING:
    from biasunlearn.models.load import Loaded

VERSION = 1
STRIDE = 2
"""A window advances by window / STRIDE tokens."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text file that was read."""

    path: str
    text: str
    sha256: str


def read(source: str | Path | Text, *, skip_invalid: bool = False) -> Text:
    """The text of a file, .gz read through. RequestError where it cannot be read or is empty."""
    if isinstance(source, Text):
        return source
    content = read_file(source)
    text = content.text()
    if not text.strip():
        raise RequestError(f"{source}: empty; perplexity needs text")
    return Text(str(source), text, hash_of([content]))


def run(loaded: "Loaded", source: str | Path | Text, plan: EvalPlan) -> tuple[list[Item], PerplexityResult]:
    """Perplexity of a text file. It has no item rows."""
    data = read(source, skip_invalid=plan.skip_invalid)
    found = perplexity(loaded, data.text)
    return [], found.with_values(**data_facts(data.path, data.sha256, ()))


def outcomes(items: Sequence[Item]) -> list[Outcome]:
    """None: a text is one long item."""
    return []


def perplexity(
    loaded: "Loaded",
    text: str,
) -> PerplexityResult:
    """Perplexity of a text, per token and per byte; of a masked model its pseudo-perplexity."""
    from biasunlearn.scoring.log_prob import score_hidden, score_windows

    if loaded.masked:
        log_prob, tokens = score_hidden(loaded, text)
    else:
        log_prob, tokens = score_windows(loaded, text, stride=STRIDE)
    size = len(text.encode())
    return PerplexityResult(
        version=VERSION,
        per_token=math.exp(-log_prob / tokens),
        per_byte=math.exp(-log_prob / size),
        tokens=tokens,
        bytes=size,
        **only_given(pseudo=True if loaded.masked else None),
    )
