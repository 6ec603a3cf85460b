"""Forget set with its adversarial subset, retain set, unrelated set; and the swap that exchanges the first two.

A role is data: a set is a tuple of sentences per bias type, and no code path depends on which role it has.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from biasunlearn.data.records import Passage, Triplet
from biasunlearn.unlearn.swap_parts import SwapParts

Context = tuple[Passage, ...]
"""One sentence and its versions about other groups; the first is the sentence as it is in the data."""

PerType = Mapping[str, tuple[Passage, ...]]
"""By bias type or, with `swap_by: subgroup`, by part of one (unlearn/swap_parts.py)."""


@dataclass(frozen=True, slots=True)
class TrainingSets:
    """The sentences of each loss. Forget and retain sets are stored per bias type, since a swap exchanges one type."""

    forget: PerType
    retain: PerType
    pairs: Mapping[str, tuple[tuple[Passage, Passage], ...]]
    """Every sentence of the forget set with the retain sentence of the same pair: its anti-stereotype or, for an
    adversarial sentence, itself. The gradients of the parts that the two sentences share cancel."""
    unrelated: tuple[Passage, ...]
    contexts: tuple[Context, ...] = ()
    """Training sentences with their versions about other groups (unlearn/contexts.py)."""
    guard: tuple[Passage, ...] = ()
    """Sentences that hold for one group by meaning, and the same about others: the KL term keeps them as they are."""
    protected: Mapping[str, tuple[tuple[Passage, Passage], ...]] = field(default_factory=dict)
    """Pairs of bias types that are not trained on and whose directions are kept (unlearn/bias_directions.py)."""
    unrelated_sizes: tuple[int, ...] = ()
    """Where the unrelated sentences come from several sources: how many come from each, in order."""
    exchanged: frozenset[str] = frozenset()
    """Bias types whose forget and retain sets are exchanged."""

    @property
    def compared(self) -> PerType:
        """The sets whose whole distributions are compared with those of the reference, by name."""
        members = tuple(passage for context in self.contexts for passage in context)
        return {"unrelated": self.unrelated, "contexts": members, "guard": self.guard}

    @property
    def bias_types(self) -> tuple[str, ...]:
        return tuple(self.forget)


def training_sets(
    triplets: Sequence[Triplet],
    unrelated: Iterable[str],
    *,
    adversarial_share: float,
    seed: int,
    supervised_to: Literal["end", "difference"] = "end",
    parts: SwapParts | None = None,
) -> TrainingSets:
    """Builds the sets of the paper from training triplets.

    forget    = stereotypes + adversarial subset: a seeded sample of the anti-stereotypes of the same bias type.
                Its gradient is opposite, which prevents the SS from falling below 50. (The released code takes the
                first quarter instead of a sample.)
    retain    = anti-stereotypes, including the adversarial ones (as in the released code).
    unrelated = sentences for the KL term, supervised as a whole.

    Args:
        supervised_to: where the supervised part of a sentence ends (`Triplet.supervised`).
        parts: parts of bias types that take the place of the bias types; None: the bias types.
    """
    by_type: dict[str, list[Triplet]] = defaultdict(list)
    for triplet in triplets:
        by_type[parts.of(triplet.bias_type, triplet.target) if parts else triplet.bias_type].append(triplet)
    forget: dict[str, tuple[Passage, ...]] = {}
    retain: dict[str, tuple[Passage, ...]] = {}
    pairs: dict[str, tuple[tuple[Passage, Passage], ...]] = {}
    for bias_type, group in sorted(by_type.items()):
        stereotypes, anti = zip(*(c.supervised_sides(supervised_to) for c in group), strict=True)
        rng = np.random.default_rng([seed, *bias_type.encode()])
        chosen = sorted(rng.choice(len(anti), round(adversarial_share * len(anti)), replace=False))
        forget[bias_type] = stereotypes + tuple(anti[i] for i in chosen)
        retain[bias_type] = anti
        partners = anti + tuple(anti[i] for i in chosen)
        pairs[bias_type] = tuple(zip(forget[bias_type], partners, strict=True))
    return TrainingSets(forget, retain, pairs, tuple(Passage("", text) for text in unrelated))


def swapped(sets: TrainingSets, bias_types: Iterable[str]) -> TrainingSets:
    """Exchanges the forget and retain sets of these bias types. Applied twice, it changes nothing."""
    chosen = frozenset(bias_types)
    return replace(
        sets,
        forget={b: sets.retain[b] if b in chosen else sets.forget[b] for b in sets.bias_types},
        retain={b: sets.forget[b] if b in chosen else sets.retain[b] for b in sets.bias_types},
        pairs={b: tuple((r, f) for f, r in sets.pairs[b]) if b in chosen else sets.pairs[b] for b in sets.bias_types},
        exchanged=sets.exchanged ^ chosen,
    )
