"""Train / stop / report: disjoint by term family, seeded, and identified by their hashes."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter

import numpy as np

from biasunlearn.data.families import Families, family_of
from biasunlearn.data.normal_text import normal_text
from biasunlearn.data.records import Triplet


@dataclass(frozen=True, slots=True)
class Split:
    """Training pairs and stop pairs of one run. The report split is another file, and is never read here."""

    train: tuple[Triplet, ...]
    stop: tuple[Triplet, ...]


def group_of(triplet: Triplet, families: Families | None = None) -> tuple[str, str]:
    """What must not be on both sides: the bias type and the target term, or the context where there is none, in
    their normal form, since another spelling is the same term.

    Args:
        families: where they are given, the family of the target term in place of the term: another word for the same
            group is the same group.
    """
    return _group(triplet.bias_type, triplet.target, _group_text(triplet), families)


def _group(bias_type: str, target: str | None, text: str, families: Families | None) -> tuple[str, str]:
    return bias_type, family_of(bias_type, target, families) if families is not None and target else _normal(text)


def group_counts(triplets: Iterable[Triplet], families: Families | None = None) -> Counter[tuple[str, str]]:
    """How many of the triplets each group of `group_of` has."""
    triplets = tuple(triplets)
    counts: Counter[tuple[str, str]] = Counter()
    for (bias_type, target), count in Counter(map(_named, triplets)).items():
        if target:
            counts[_group(bias_type, target, target, families)] += count
    counts.update(group_of(triplet, families) for triplet in triplets if not triplet.target)
    return counts


_named = attrgetter("bias_type", "target")


def groups_of(triplets: Iterable[Triplet], families: Families | None = None) -> Iterator[tuple[str, str]]:
    """`group_of` of each triplet. A file has few target terms, and each of them in many rows."""
    known: dict[tuple[str, str], tuple[str, str]] = {}
    for triplet in triplets:
        named = triplet.bias_type, triplet.target or ""
        group = known.get(named)
        if group is None:
            group = group_of(triplet, families)
            if triplet.target:
                known[named] = group
        yield group


_normal = lru_cache(maxsize=2**16)(normal_text)
"""A file has few target terms, and each of them in many rows."""


def _group_text(triplet: Triplet) -> str:
    return triplet.target or triplet.context or triplet.stereotype.text


def split(triplets: Sequence[Triplet], *, stop_share: float, seed: int, families: Families | None = None) -> Split:
    """Moves whole groups to the stop split until it holds about `stop_share` of each bias type's pairs.

    Within a bias type the groups are shuffled, then taken while they fit into the share; a group that would
    overshoot by more than it fills is passed over, so that a few large terms (religion) do not take it all.
    A pair whose target term is unknown may be about a term that is trained on. It is used for training, unless the
    pairs with known terms cannot fill the share. Groups are those of `group_of`.
    """
    group = list(groups_of(triplets, families))
    by_type: dict[str, dict[tuple[str, str], list[Triplet]]] = defaultdict(lambda: defaultdict(list))
    for key, triplet in zip(group, triplets, strict=True):
        by_type[triplet.bias_type][key].append(triplet)
    held_out: set[tuple[str, str]] = set()
    for bias_type, groups in sorted(by_type.items()):
        # In the order of their texts as they are spelt, on which the seeded draw of every earlier run depends.
        keys = list(groups)
        keys.sort(key=lambda key: _group_text(groups[key][0]).casefold())
        wanted = stop_share * sum(len(groups[key]) for key in keys)
        known = [key for key in keys if groups[key][0].target]
        if sum(len(groups[key]) for key in known) >= wanted:
            keys = known
        np.random.default_rng([seed, *bias_type.encode()]).shuffle(keys)
        taken = 0
        for key in keys:
            if abs(taken + len(groups[key]) - wanted) < abs(taken - wanted):
                held_out.add(key)
                taken += len(groups[key])
    parts: tuple[list[Triplet], list[Triplet]] = [], []
    for key, triplet in zip(group, triplets, strict=True):
        parts[key in held_out].append(triplet)
    return Split(tuple(parts[False]), tuple(parts[True]))
