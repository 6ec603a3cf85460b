"""SS by subgroup of the target terms, and which bias types are polarised, from the comparisons of a result."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from biasunlearn.stats.bootstrap import Estimate, resample
from biasunlearn.stats.polarisation import Difference, Spread, TermCount, differences, is_polarised, spread
from biasunlearn.stats.stereoset import Comparison


@dataclass(frozen=True, slots=True)
class SubgroupScore:
    """SS of the pairs about the terms of one subgroup: the mean over its terms, in percent."""

    n: int
    terms: int
    ss: Estimate


@dataclass(frozen=True, slots=True)
class Polarisation:
    """Whether target terms, or subgroups of them, differ behind one mean SS."""

    spread: Spread | None
    difference: Difference | None
    subgroups: Mapping[str, SubgroupScore]
    polarised: bool


def polarisation(rows: Sequence[Comparison], *, seed: int = 0) -> Polarisation:
    """The spread between target terms, and SS by subgroup with the test of its differences.

    Subgroups belong to a bias type. Of rows of several bias types only the spread is computed, with the same term
    under another bias type as another one.
    """
    terms: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        terms[row.bias_type, row.target].append(row.stereotyped)
    counts = [TermCount(term, sum(values), len(values)) for (_, term), values in sorted(terms.items())]
    found = spread(counts)
    if len({bias_type for bias_type, _ in terms}) > 1:
        return Polarisation(found, None, {}, is_polarised(found, None))
    difference = differences(counts, {row.target: row.subgroup for row in rows if row.subgroup})
    names = sorted({row.subgroup for row in rows if row.subgroup})
    subgroups = {name: _subgroup_score([row for row in rows if row.subgroup == name], seed) for name in names}
    return Polarisation(found, difference, subgroups, is_polarised(found, difference))


def polarised_types(rows: Sequence[Comparison]) -> tuple[str, ...]:
    """Bias types whose target terms or subgroups differ beyond chance (`is_polarised`), by name."""
    names = sorted({row.bias_type for row in rows})
    return tuple(name for name in names if polarisation([row for row in rows if row.bias_type == name]).polarised)


def _subgroup_score(rows: Sequence[Comparison], seed: int) -> SubgroupScore:
    terms = [row.target for row in rows]
    values = np.array([[100 * row.stereotyped] for row in rows])
    sample = resample(values, terms, [""] * len(rows), average="clusters", seed=seed)
    return SubgroupScore(len(rows), len(set(terms)), sample.estimate(lambda means: means[..., 0]))
