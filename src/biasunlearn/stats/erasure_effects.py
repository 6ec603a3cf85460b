"""What erasing the subspace of one bias type does to the others, beside random erasures of equal rank.

A cell is an erased bias type and a measured one. Its effect has an interval from drawing whole target terms. Any
erasure damages a model, and the random ones show by how much: the test asks whether the erasure of the bias type could
be one more of them. Their effects are taken as normally distributed, so that a further draw lies within

    mean +- t sd sqrt(1 + 1 / draws)

with the given probability, t from Student's distribution with draws - 1 degrees of freedom (a prediction interval).
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import scipy.stats

from biasunlearn.stats.bootstrap import Average, Estimate
from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.paired import Pairs, compare_pairs, holm, pair
from biasunlearn.stats.stereoset import Comparison

Score = Literal["ss", "group", "moved"]
"""ss: points of SS, a mean over target terms. group: the group part, and moved: the absolute change of the margin, both
in nats per token and means over pairs."""


@dataclass(frozen=True, slots=True)
class ErasureEffect:
    """The effect of erasing one bias type on one score of a bias type."""

    erased: str
    bias_type: str
    change: Estimate
    """Erased less base model, paired by item."""
    random: Estimate
    """The mean of the random erasures, and where 95 % of further ones would lie."""
    p: float | None
    """That the erasure is one more random one; None where the random ones do not differ from each other."""
    p_holm: float | None = None
    """p adjusted over the cells of other bias types than the erased one; None in the others."""


def erasure_effects(
    base: Sequence[Comparison],
    erased: Mapping[str, Sequence[Comparison]],
    random: Mapping[str, Sequence[Sequence[Comparison]]],
    score: Score,
    *,
    seed: int = 0,
) -> list[ErasureEffect]:
    """One cell for each erased and each measured bias type; none where no pair has the score.

    Args:
        base: the comparisons of the base model.
        erased: erased bias type -> comparisons.
        random: erased bias type -> the comparisons of every random erasure of the same rank; at least two.
    """
    average: Average = "clusters" if score == "ss" else "units"
    effects = []
    for name, after in erased.items():
        joined = _joined(base, after, score)
        draws = [_joined(base, one, score) for one in random[name]]
        for bias_type in sorted(set(joined.bias_types)) if joined else []:
            assert joined is not None
            test = compare_pairs(joined.of(bias_type), None, average, seed=seed)
            drawn = [_mean(one.of(bias_type), average) for one in draws if one is not None]
            change = Estimate(test.difference.value, test.difference.low, test.difference.high)
            further, p = further_draw(change.value, drawn)
            effects.append(ErasureEffect(name, bias_type, change, further, p))
    others = [n for n, one in enumerate(effects) if one.erased != one.bias_type and one.p is not None]
    adjusted = dict(zip(others, holm([effects[n].p or 0.0 for n in others]), strict=True))
    return [replace(one, p_holm=adjusted.get(n)) for n, one in enumerate(effects)]


def further_draw(value: float, drawn: Sequence[float]) -> tuple[Estimate, float | None]:
    """The mean of draws with the interval of a further one, and p of the hypothesis that `value` is one.

    By hand, draws -1 and 1 (mean 0, sd 1.4142) and value 0: p = 1. With value 1.7321 = sd sqrt(1.5): t = 1 with one
    degree of freedom, p = 0.5; the interval is +- 12.7062 * 1.7321 = 22.008.
    """
    mean, count = float(np.mean(drawn)), len(drawn)
    scale = float(np.std(drawn, ddof=1)) * math.sqrt(1 + 1 / count)
    half = float(scipy.stats.t.ppf(0.975, count - 1)) * scale
    p = float(2 * scipy.stats.t.sf(abs(value - mean) / scale, count - 1)) if scale > 0 else None
    return Estimate(mean, mean - half, mean + half), p


def _joined(base: Sequence[Comparison], after: Sequence[Comparison], score: Score) -> Pairs | None:
    """The values of the base model and of another one, pair by pair."""
    if score == "moved":
        margins = {(row.bias_type, row.cluster): row.margin for row in base}
        moved = [row for row in after if (row.bias_type, row.cluster) in margins]
        return pair(
            _outcomes(moved, lambda _row: 0.0),
            _outcomes(moved, lambda row: abs(row.margin - margins[row.bias_type, row.cluster])),
        )
    value: Callable[[Comparison], float | None] = (
        (lambda row: 100 * row.stereotyped) if score == "ss" else (lambda row: row.group)
    )
    return pair(_outcomes(base, value), _outcomes(after, value))


def _outcomes(rows: Sequence[Comparison], value: Callable[[Comparison], float | None]) -> list[Outcome]:
    found = []
    for row in rows:
        one = value(row)
        if one is not None:
            found.append(Outcome(row.cluster, row.target, row.bias_type, "", one))
    return found


def _mean(pairs: Pairs, average: Average) -> float:
    """The mean difference over pairs, or over target terms."""
    by_term: dict[str, list[float]] = defaultdict(list)
    for place, (term, (before, after)) in enumerate(zip(pairs.clusters, pairs.values, strict=True)):
        by_term[term if average == "clusters" else str(place)].append(float(after - before))
    return float(np.mean([np.mean(changes) for changes in by_term.values()]))
