"""Sentences that hold for one group by the meaning of the words: what debiasing must leave as it is."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import yaml

PAIRS = Path(__file__).with_name("definitional.yaml")


@dataclass(frozen=True, slots=True)
class DefinitionalPair:
    """A sentence that is true by the meaning of its words, and the same about another group."""

    bias_type: str
    holds: str
    does_not: str


@lru_cache(maxsize=2)
def definitional_pairs(part: Literal["guard", "control"]) -> tuple[DefinitionalPair, ...]:
    """The shipped pairs in English: `guard` for training, `control` for measuring only. No sentence is in both."""
    content = yaml.safe_load(PAIRS.read_text(encoding="utf-8"))
    return tuple(
        DefinitionalPair(bias_type, holds, does_not)
        for bias_type, pairs in content[part].items()
        for holds, does_not in pairs
    )
