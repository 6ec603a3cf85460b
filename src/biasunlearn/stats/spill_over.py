"""Spill-over: whether debiasing some bias types changed others, cell by cell and as a whole.

A cell is a run and a bias type that the run was not trained on. The base model is the same for all runs, and the pairs
of a target term are in all of them, so that the cells are not independent: the overall test treats all of them at once.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from biasunlearn.stats.bootstrap import Estimate
from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.paired import EXACT_CLUSTERS, FLIPS, Pairs, compare_pairs, holm, pair
from biasunlearn.stats.stereoset import Comparison

Floats = npt.NDArray[np.float64]

Stages = tuple[Sequence[Comparison], Sequence[Comparison]]
"""The comparisons of a run before and after."""


@dataclass(frozen=True, slots=True)
class SpillOver:
    """The change of one score of one bias type by a run that was not trained on it."""

    run: str
    bias_type: str
    change: Estimate
    """After less before, paired by item: points of SS, or nats per token of the group part."""
    p: float
    """From flipping the signs of the changes of whole target terms."""
    p_holm: float
    """p adjusted over all cells of this score."""


@dataclass(frozen=True, slots=True)
class SpillOverScores:
    """All cells of one score, and the test of the hypothesis that there is no spill-over at all."""

    cells: tuple[SpillOver, ...]
    p: float


def spill_over(
    runs: Mapping[str, Sequence[Stages]], trained_on: Mapping[str, Sequence[str]], *, group: bool = False, seed: int = 0
) -> SpillOverScores | None:
    """The changes of the bias types that each run was not trained on; None where there are none.

    Args:
        runs: the stages of every run by seed. Over seeds, the values after training are averaged item by item.
        trained_on: the bias types that each run was trained on.
        group: the group part of the margins (nats per token, a mean over pairs) instead of SS (percent, a mean over
            target terms).
    """
    found: dict[tuple[str, str], Pairs] = {}
    for run, stages in runs.items():
        joined = pair(_outcomes([stages[0][0]], group), _outcomes([after for _, after in stages], group))
        if joined is not None:
            others = sorted(set(joined.bias_types) - set(trained_on[run]))
            found |= {(run, bias_type): joined.of(bias_type) for bias_type in others}
    if not found:
        return None
    tests = [compare_pairs(pairs, None, "units" if group else "clusters", seed=seed) for pairs in found.values()]
    changes = [_by_term(pairs, means=not group) for pairs in found.values()]
    cells = []
    for (run, bias_type), test in zip(found, tests, strict=True):
        change = Estimate(test.difference.value, test.difference.low, test.difference.high)
        cells.append(SpillOver(run, bias_type, change, test.p, test.p))
    adjusted = holm([cell.p for cell in cells])
    cells = [replace(cell, p_holm=p) for cell, p in zip(cells, adjusted, strict=True)]
    return SpillOverScores(tuple(cells), overall_test(_matrix(changes), seed=seed))


def overall_test(changes: Floats, *, seed: int = 0) -> float:
    """p of the hypothesis that no cell changed: the sign of all changes of a target term is as likely plus as minus.

    The statistic is the sum over the cells of (sum of the changes)^2 / (sum of their squares), the squared distance
    from 0 in standard errors. The sign of a target term is flipped in all cells at once, which keeps the dependence of
    the cells. All signs are tried where there are few target terms, else `FLIPS` random ones.

    By hand, one cell with changes 1 and 1: 4 / 2 = 2 for the signs ++ and --, 0 for the other two: p = 2 / 4.

    Args:
        changes: [target terms, cells]; 0 where a target term has no pair in a cell.
    """
    changes = changes[(changes != 0).any(axis=1)]
    if not len(changes):
        return 1.0
    scale = np.square(changes).sum(axis=0)
    changes = changes[:, scale > 0] / np.sqrt(scale[scale > 0])

    def statistic(signs: npt.NDArray[np.int8]) -> Floats:
        found: Floats = np.square(signs @ changes).sum(axis=-1)
        return found

    least = float(statistic(np.ones(len(changes), dtype=np.int8))) * (1 - 1e-9)
    if len(changes) <= EXACT_CLUSTERS:
        signs = 1 - 2 * ((np.arange(2 ** len(changes))[:, None] >> np.arange(len(changes))) & 1)
        return float((statistic(signs.astype(np.int8)) >= least).mean())
    rng = np.random.default_rng(seed)
    beyond, step = 0, max(1, 1_000_000 // len(changes))
    for begin in range(0, FLIPS, step):
        signs = 1 - 2 * rng.integers(2, size=(min(step, FLIPS - begin), len(changes)), dtype=np.int8)
        beyond += int((statistic(signs) >= least).sum())
    return (1 + beyond) / (1 + FLIPS)


def _outcomes(seeds: Sequence[Sequence[Comparison]], group: bool) -> list[Outcome]:
    """The values of every item, averaged over seeds; those without a group part are left out if it is the score."""
    rows: dict[tuple[str, str], Comparison] = {}
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for comparisons in seeds:
        for row in comparisons:
            value = row.group if group else 100 * row.stereotyped
            if value is not None:
                rows[row.bias_type, row.cluster] = row
                values[row.bias_type, row.cluster].append(value)
    score = "group part" if group else "ss"
    return [
        Outcome(row.cluster, row.target, row.bias_type, score, sum(values[key]) / len(values[key]))
        for key, row in rows.items()
    ]


def _by_term(pairs: Pairs, *, means: bool) -> dict[tuple[str, str], float]:
    """The mean change of each target term, or its sum: what the score averages."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for bias_type, term, (before, after) in zip(pairs.bias_types, pairs.clusters, pairs.values, strict=True):
        found[bias_type, term].append(float(after - before))
    return {key: sum(changes) / (len(changes) if means else 1) for key, changes in found.items()}


def _matrix(cells: Sequence[Mapping[tuple[str, str], float]]) -> Floats:
    terms = sorted({term for cell in cells for term in cell})
    return np.array([[cell.get(term, 0.0) for cell in cells] for term in terms])
