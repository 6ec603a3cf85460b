"""The margin of a pair divided into what is tied to the group and what the words bring along by themselves.

For a pair about target term t let m(t) = score(stereotype) - score(anti-stereotype), in nats a token.

    wording part = mean of m over the same pair with t replaced by other terms of its bias type and neutral referents
    group part   = m(t) - wording part

The group part is a difference in differences: what both the words and the sentence contribute whoever they are about
cancels. A model that only finds some words likelier than others has a group part of 0 and may still have any SS.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from biasunlearn.stats.bootstrap import Estimate, Floats, resample


@dataclass(frozen=True, slots=True)
class MarginParts:
    """The two parts of one pair's margin, in nats a token."""

    unit: str
    bias_type: str
    target: str
    group: float
    wording: float


@dataclass(frozen=True, slots=True)
class AssociationScores:
    """Scores of the group part and the wording part over pairs that have both."""

    n: int
    ss_group: Estimate
    """Share of pairs whose group part is above 0, in percent; 50 is even. Ties count half."""
    margin_group: Estimate
    """Mean group part, nats a token."""
    margin_wording: Estimate
    """Mean wording part, nats a token."""


def margin_parts(unit: str, bias_type: str, target: str, margin: float, replaced: Sequence[float]) -> MarginParts:
    """Divides a margin. `replaced`: the margins of the same pair about others, at least one.

    By hand: margin 0.5, replaced 0.1 and 0.3 -> wording 0.2, group 0.3.
    """
    wording = math.fsum(replaced) / len(replaced)
    return MarginParts(unit, bias_type, target, margin - wording, wording)


def association_scores(parts: Iterable[MarginParts], *, seed: int = 0) -> AssociationScores | None:
    """Shares and means with 95 % intervals that resample whole target terms within each bias type.

    The mean is over pairs, not over target terms: a term whose pairs are hard to replace has few of them.
    None where no pair has parts.
    """
    chosen = sorted(parts, key=lambda part: (part.bias_type, part.target, part.unit))
    if not chosen:
        return None
    rows = np.array([[50 * (1 + np.sign(part.group)), part.group, part.wording] for part in chosen])
    sample = resample(rows, [part.target for part in chosen], [part.bias_type for part in chosen], seed=seed)

    def column(number: int) -> Estimate:
        def chosen_mean(means: Floats) -> Floats:
            found: Floats = means[..., number]
            return found

        return sample.estimate(chosen_mean)

    return AssociationScores(len(chosen), column(0), column(1), column(2))


def by_bias_type(parts: Iterable[MarginParts], *, seed: int = 0) -> Mapping[str, AssociationScores]:
    """The same for each bias type."""
    grouped: dict[str, list[MarginParts]] = defaultdict(list)
    for part in parts:
        grouped[part.bias_type].append(part)
    found = {name: association_scores(group, seed=seed) for name, group in sorted(grouped.items())}
    return {name: scores for name, scores in found.items() if scores is not None}
