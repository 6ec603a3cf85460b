"""Intervals and tests on outcomes: pure functions, no model, no files.

The interval of every score is a percentile bootstrap, stratified by bias type, that draws whole clusters: items about
the same target term or made from the same template do not speak independently.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .metrics import BOOTSTRAP, FEW_TERMS, Estimate
from .records import Outcome

Floats = NDArray[np.float64]


def interval(
    rows: Floats,
    clusters: Sequence[str],
    strata: Sequence[str],
    statistic: Callable[[Floats], float],
    *,
    draws: int = BOOTSTRAP,
    seed: int = 0,
) -> Estimate:
    """A statistic of rows with its 95 % interval.

    Args:
        rows: [n, k], k numbers for each of n units.
        clusters: [n], the cluster of each unit; whole clusters are drawn with replacement.
        strata: [n], clusters are drawn within each stratum, as many as it has.
        statistic: rows -> number; nan where it is not defined, such draws do not count.
    """
    by_stratum: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for place, (stratum, cluster) in enumerate(zip(strata, clusters, strict=True)):
        by_stratum[stratum][cluster].append(place)
    groups = [[np.array(places) for places in named.values()] for _, named in sorted(by_stratum.items())]
    rng = np.random.default_rng(seed)
    drawn = np.empty(draws)
    for number in range(draws):
        chosen = [group[i] for group in groups for i in rng.integers(len(group), size=len(group))]
        drawn[number] = statistic(rows[np.concatenate(chosen)])
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Estimate(float(statistic(rows)), float(low), float(high))


def summarize(outcomes: Sequence[Outcome], *, seed: int = 0) -> dict[str, Any]:
    """Means of all scores, overall and per bias type, each with its interval and its counts.

    Returns:
        {"n", "overall": {score: {"value", "low", "high"}, "clusters", "few_clusters"},
         "bias_types": {name: {"n", "clusters", "few_clusters", score: {...}}}}
    """
    by_type: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_type[outcome.bias_type].append(outcome)
    return {
        "n": len({outcome.unit for outcome in outcomes}),
        "overall": _means(outcomes, seed),
        "bias_types": {name: _means(group, seed) for name, group in sorted(by_type.items())},
    }


def _means(outcomes: Sequence[Outcome], seed: int) -> dict[str, Any]:
    clusters = len({outcome.cluster for outcome in outcomes})
    summary: dict[str, Any] = {
        "n": len({outcome.unit for outcome in outcomes}),
        "clusters": clusters,
        "few_clusters": clusters < FEW_TERMS,
    }
    for score in dict.fromkeys(outcome.score for outcome in outcomes):
        chosen = [outcome for outcome in outcomes if outcome.score == score]
        summary[score] = interval(
            np.array([[outcome.value] for outcome in chosen]),
            [outcome.cluster for outcome in chosen],
            [outcome.bias_type for outcome in chosen],
            lambda rows: float(rows.mean()),
            seed=seed,
        ).to_dict()
    return summary
