"""The types of erasure.json: what erasing each bias type does to all of them, beside random erasures."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Self

from biasunlearn.runs.schema import Count, Number, Record, Text, Whole
from biasunlearn.runs.scores import Interval
from biasunlearn.stats.erasure_effects import ErasureEffect


class ErasureCell(Record):
    """The effect of erasing one bias type on one score of a bias type."""

    erased: Text
    bias_type: Text
    change: Interval
    """Erased less base model, paired by item."""
    random: Interval
    """The mean of the random erasures, and where 95 % of further ones would lie."""
    p: Number | None = None
    """That the erasure is one more random one; absent where the random ones do not differ from each other."""
    p_holm: Number | None = None
    """p adjusted over all cells of other bias types than the erased one."""

    @classmethod
    def of(cls, effect: ErasureEffect) -> Self:
        """From the statistics."""
        return cls.model_validate(asdict(effect))


class ErasureMatrix(Record):
    """erasure.json."""

    model: Text = None
    layer: Count
    """The layer behind which states were erased: 1 is the first."""
    ranks: Mapping[str, Count]
    """Directions that were erased, by bias type; the random erasures have the same number."""
    draws: Count
    seed: Whole
    pairs: Mapping[str, Count]
    """Training pairs from which the erasures were computed, by bias type."""
    before: Mapping[str, Interval]
    """SS of the base model."""
    ss: Sequence[ErasureCell]
    """Points of SS."""
    moved: Sequence[ErasureCell]
    """Mean absolute change of the margins of pairs, in nats per token."""
    group: Sequence[ErasureCell] = ()
    """The group part of the margins, in nats per token; empty where it was not measured."""
