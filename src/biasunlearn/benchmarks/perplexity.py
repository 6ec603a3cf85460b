"""Perplexity of a text: what debiasing must not raise.

Formulation    strided windows: each token is predicted once, from at least `window - stride` tokens before it (less
               at the start of the text). Per token: exp(mean negative log-probability). Per byte: the same sum over
               the UTF-8 bytes of the text, comparable between tokenizers.
               Always of raw text: a chat template has no place in it
Deviations     transformers' documented recipe weighs a window's mean by one token less than it is a mean over, except
               where its first token is among them; here every token counts once. With windows that do not overlap the
               two are the same
Ideal          lower; what matters is the ratio after / before
Version        1
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from biasunlearn.data.tables import data_facts, file_hash, read_text
from biasunlearn.errors import RequestError
from biasunlearn.runs.results import PerplexityResult
from biasunlearn.scoring.protocol import EvalPlan
from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.stereoset import Item

if TYPE_CHECKING:
    from biasunlearn.models.load import Loaded

VERSION = 1
STRIDE = 2
"""A window advances by window / STRIDE tokens."""


def run(loaded: "Loaded", path: str, plan: EvalPlan) -> tuple[list[Item], PerplexityResult]:
    """Perplexity of a text file. It has no item rows."""
    text = read_text(path)
    if not text.strip():
        raise RequestError(f"{path}: empty; perplexity needs text")
    found = perplexity(loaded, text)
    return [], found.with_values(**data_facts(path, file_hash([Path(path)]), ()))


def outcomes(items: Sequence[Item]) -> list[Outcome]:
    """None: a text is one long item."""
    return []


def perplexity(
    loaded: "Loaded",
    text: str,
) -> PerplexityResult:
    """Perplexity of a text, per token and per byte."""
    from biasunlearn.scoring.log_prob import score_windows

    if loaded.masked:
        raise RequestError("perplexity needs a causal model; a masked one has no likelihood of a text")
    log_prob, tokens = score_windows(loaded, text, stride=STRIDE)
    size = len(text.encode())
    return PerplexityResult(
        version=VERSION,
        per_token=math.exp(-log_prob / tokens),
        per_byte=math.exp(-log_prob / size),
        tokens=tokens,
        bytes=size,
    )
