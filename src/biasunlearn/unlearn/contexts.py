"""Counterfactual contexts: the same training sentence about its own target term, about other groups, and about a
neutral referent. The invariance loss compares what the model expects behind them (unlearn/losses.py)."""

import difflib
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from biasunlearn.data.families import Families, family_of
from biasunlearn.data.records import Passage, Triplet
from biasunlearn.data.referents import replacements
from biasunlearn.unlearn.sets import Context

if TYPE_CHECKING:
    from biasunlearn.models.batches import TokenRow

TermFamilies = frozenset[tuple[str, str]]
"""(bias type, family) of target terms."""


def term_families(triplets: Sequence[Triplet], families: Families | None = None) -> TermFamilies:
    """The families of the target terms of these pairs; `families`: the shipped ones by default."""
    named = {(triplet.bias_type, triplet.target) for triplet in triplets if triplet.target}  # each in many pairs
    return frozenset((bias_type, family_of(bias_type, target, families)) for bias_type, target in named)


def counterfactual_contexts(
    triplets: Sequence[Triplet], *, count: int, seed: int, without: TermFamilies = frozenset()
) -> dict[str, tuple[Context, ...]]:
    """By bias type, the contexts of both sentences of every pair whose target term can be replaced.

    Intersentence pairs name their target term in the context, which both sentences share; they have no contexts here.

    Args:
        count: versions of each sentence beside its own.
        without: families that must not be used as replacements, since later data are to stay unseen.
    """
    found: dict[str, list[Context]] = {}
    for triplet in triplets:
        if triplet.kind == "intersentence":
            continue
        versions = replacements(triplet, count=count, seed=seed, without=without)
        if versions:
            own = (triplet.stereotype.text, triplet.anti_stereotype.text)
            texts = ((version.stereotype, version.anti_stereotype) for version in versions)
            for column in zip(own, *texts, strict=True):
                members = tuple(Passage("", text) for text in dict.fromkeys(column))
                if len(members) > 1:
                    found.setdefault(triplet.bias_type, []).append(members)
    return {bias_type: tuple(contexts) for bias_type, contexts in sorted(found.items())}


@lru_cache(maxsize=2**14)
def aligned(rows: "tuple[TokenRow, ...]") -> tuple[tuple[int, ...], ...]:
    """The tokens that all members of a context have in common behind the place where they begin to differ.

    The first token behind a difference is left out: it depends on the grammar of the term ("Islam is", "Muslim man"),
    and its loss is several times that of the others.

    Returns:
        For each common token its numbers among the scored tokens of the members.
    """
    first, *others = rows
    matches = []
    for other in others:
        blocks = difflib.SequenceMatcher(None, first.ids, other.ids, autojunk=False).get_matching_blocks()
        matches.append({b.a + i: b.b + i for b in blocks for i in range(b.size)})
    begin = next((i for i in range(len(first.ids)) if any(match.get(i) != i for match in matches)), len(first.ids))
    return tuple(
        (i - first.first_scored, *(match[i] - row.first_scored for match, row in zip(matches, others, strict=True)))
        for i in range(max(begin, first.first_scored), len(first.ids))
        if all(
            match.get(i, -1) >= row.first_scored and match.get(i - 1) == match[i] - 1
            for match, row in zip(matches, others, strict=True)
        )
    )
