"""Whether two bias types use the same directions of the hidden states: angles in degrees, with reference values.

Two quantities are computed from the differences stereotype - anti-stereotype of the pairs of each bias type. The
*direction* is their mean, the difference of the two class means; the angle between two directions is 0 (the same) to
180 degrees (opposite). The *subspace* is spanned by their first principal components, as in sentence_debias (arXiv
2007.08100). A component does not change if some differences change their sign, so the subspace contains where the
sentences of a pair differ, but not which of them is the stereotype.

An angle alone is hard to interpret, since two means of few noisy differences are far from parallel. Every angle is
therefore computed between halves of the pairs, split by target term, and compared with the angle between two halves of
one bias type. Two bias types share a direction to the extent that their angle is close to those within each of them.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from biasunlearn.stats.bootstrap import Estimate

Floats = NDArray[np.float64]

COMPONENTS = 3
"""Principal components of a subspace."""

SPLITS = 10
"""Random splits into halves; their mean is reported, with the smallest and the largest value."""


def angle(one: Floats, other: Floats) -> float:
    """Between two vectors, 0 to 180 degrees. By hand: (1, 0) and (0, 2) -> 90; (1, 0) and (-1, 0) -> 180"""
    length = np.linalg.norm(one) * np.linalg.norm(other)
    if length == 0:
        return 90.0
    return float(np.degrees(np.arccos(np.clip(one @ other / length, -1, 1))))


def subspace_angle(one: Floats, other: Floats) -> float:
    """The mean of the principal angles between two subspaces, 0 to 90 degrees. Bases as columns: [hidden, k]."""
    return float(np.degrees(scipy.linalg.subspace_angles(one, other)).mean())


def components(differences: Floats, count: int = COMPONENTS) -> Floats:
    """The first principal components of differences, without centring: [hidden, count]."""
    rows, width = differences.shape
    count = min(count, rows, width)
    if width <= rows:
        _, found = scipy.linalg.eigh(differences.T @ differences, subset_by_index=(width - count, width - 1))
        return np.asarray(found)
    _, found = scipy.linalg.eigh(differences @ differences.T, subset_by_index=(rows - count, rows - 1))
    return np.linalg.qr(differences.T @ found).Q


def halves(terms: Sequence[str], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which rows are in the first half: [n]. Whole target terms, each assigned in random order to the smaller half."""
    members: dict[str, list[int]] = defaultdict(list)
    for row, term in enumerate(terms):
        members[term].append(row)
    names = sorted(members)
    rng.shuffle(names)
    first, sizes = np.zeros(len(terms), bool), [0, 0]
    for name in names:
        side = int(sizes[1] < sizes[0])
        first[members[name]] = side == 0
        sizes[side] += len(members[name])
    return first


AngleTable = Mapping[str, Mapping[str, Estimate]]
"""Bias type -> bias type -> degrees; on the diagonal between two halves of one type."""


@dataclass(frozen=True, slots=True)
class AnglesFound:
    """Angles in degrees: means over random splits, with the smallest and the largest in place of an interval."""

    direction: AngleTable
    subspace: AngleTable
    chance_direction: Estimate
    """Halves of a type whose differences have random signs."""
    chance_subspace: Estimate
    """Random subspaces."""


def angles(
    differences: Mapping[str, Floats], terms: Mapping[str, Sequence[str]], *, count: int = COMPONENTS, seed: int = 0
) -> AnglesFound:
    """Angles between every two bias types and between halves of each.

    Args:
        differences: bias type -> [pairs, hidden].
        terms: bias type -> the target term of each pair; at least two different ones.
    """
    rng = np.random.default_rng(seed)
    seen: dict[str, dict[tuple[str, str], list[float]]] = {
        "direction": defaultdict(list), "subspace": defaultdict(list)}  # fmt: skip
    chance: dict[str, list[float]] = {"direction": [], "subspace": []}
    names = list(differences)
    for _ in range(SPLITS):
        parts = {}
        for name in names:
            first = halves(terms[name], rng)
            parts[name] = (differences[name][first], differences[name][~first])
            signed = differences[name] * rng.choice([-1.0, 1.0], size=(len(first), 1))
            chance["direction"].append(angle(signed[first].mean(0), signed[~first].mean(0)))
        means = {name: [half.mean(0) for half in both] for name, both in parts.items()}
        bases = {name: [components(half, count) for half in both] for name, both in parts.items()}
        width = differences[names[0]].shape[1]
        strange = [rng.standard_normal((width, min(count, width))) for _ in range(2)]
        chance["subspace"].append(subspace_angle(*strange))
        for one in names:
            for other in names:
                seen["direction"][one, other].append(angle(means[one][0], means[other][1]))
                seen["subspace"][one, other].append(subspace_angle(bases[one][0], bases[other][1]))

    def table(found: Mapping[tuple[str, str], Sequence[float]]) -> AngleTable:
        return {one: {other: _spread([*found[one, other], *found[other, one]]) for other in names} for one in names}

    return AnglesFound(
        table(seen["direction"]), table(seen["subspace"]), _spread(chance["direction"]), _spread(chance["subspace"])
    )


def turned(before: Floats, after: Floats) -> float:
    """The angle between the directions of a bias type before and after, from the same pairs."""
    return angle(before.mean(0), after.mean(0))


def _spread(found: Sequence[float]) -> Estimate:
    return Estimate(float(np.mean(found)), min(found), max(found))
