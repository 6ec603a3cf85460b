"""The parts of the training data that have a swap weight of their own: bias types, or subgroups of them. No torch.

A mean SS of 50 can hide a subgroup at 35 beside one at 65, and one weight for both cannot bring either to 50. With
`swap_by: subgroup` a bias type is divided by the subgroups of its target terms (data/subgroups.py); each part has its
forget set, its retain set and its swap weight. What belongs to no subgroup, or to one that has too few pairs on the
stop split, is one more part, called as the bias type.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from biasunlearn.config import DebiasConfig
from biasunlearn.data.records import Triplet
from biasunlearn.data.subgroups import load_subgroups, subgroup_of

FEWEST_PAIRS = 8
"""Pairs of a subgroup on the stop split with which it is a part of its own."""


@dataclass(frozen=True, slots=True)
class SwapParts:
    """Which part a pair belongs to."""

    subgroups: Mapping[tuple[str, str], str]
    """(bias type, target term) -> part, where it is not the one called as the bias type."""
    bias_types: Mapping[str, str]
    """Part -> its bias type."""

    def of(self, bias_type: str, target: str | None) -> str:
        """The part of a pair."""
        return self.subgroups.get((bias_type, target or ""), bias_type)


def swap_parts(
    train: Sequence[Triplet], stop: Sequence[Triplet], config: DebiasConfig, term_lists: Sequence[str] = ()
) -> SwapParts | None:
    """The parts of the training pairs; None where the bias types themselves have the swap weights.

    Args:
        term_lists: files of the user with subgroups, beside the shipped ones.
    Raises:
        RequestError: a term list cannot be read.
    """
    if config.swap_by == "bias_type" or config.swap == "none":
        return None
    known = load_subgroups(term_lists)
    named = {
        (pair.bias_type, pair.target or ""): subgroup_of(pair.bias_type, pair.target or "", known)
        for pair in (*train, *stop)
    }
    on_stop = Counter((pair.bias_type, named[pair.bias_type, pair.target or ""]) for pair in stop)
    enough: dict[str, list[str]] = defaultdict(list)
    for (bias_type, subgroup), pairs in sorted(on_stop.items()):
        if subgroup and pairs >= FEWEST_PAIRS:
            enough[bias_type].append(subgroup)
    chosen = {
        (bias_type, target): f"{bias_type}/{subgroup}"
        for (bias_type, target), subgroup in named.items()
        if len(enough[bias_type]) > 1 and subgroup in enough[bias_type]
    }
    parts = {chosen.get((pair.bias_type, pair.target or ""), pair.bias_type): pair.bias_type for pair in train}
    return SwapParts(chosen, dict(sorted(parts.items())))
