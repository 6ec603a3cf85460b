"""Two models on the same units: paired tests, the difference with its interval, and a verdict.

The test flips the signs of the differences of whole clusters (Fisher's randomization test; exact up to 16 clusters,
else 10,000 draws with the observed one counted, Phipson and Smyth 2010). Over bias types its p-values are adjusted by
Holm (1979). For scores with two values (SS, accuracy) McNemar's exact test (1947) is stored beside it. It assumes
independent units and is wrong when whole target terms change together; where every cluster is a single unit, both are
the same test.

Whether there is a change and whether it is an improvement are two questions: for SS, better means nearer to 50, and
|SS - 50| is not a mean over items, so that no test on items applies to it. The verdict therefore has two conditions:
the test is significant, and the clustered paired bootstrap interval of the change of the distance from the ideal,
|SS_b - 50| - |SS_a - 50|, lies on one side of 0. SS 60 -> 40 is a difference, and neither better nor worse.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from biasunlearn.errors import RequestError
from biasunlearn.stats.bootstrap import (
    Average,
    ClusteredEstimate,
    Estimate,
    Floats,
    Integers,
    Sample,
    grouped,
    percentile,
    resample,
    with_intervals,
)
from biasunlearn.stats.normal import DETECTABLE
from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.stereoset import smallest_difference

Verdict = Literal["better", "worse", "no evidence", "too few items", "changed"]
"""`changed`: a difference in a score of which nobody said what its ideal is."""

LEVEL = 0.05
EXACT_CLUSTERS = 16
FLIPS = 10_000

SIGNS_AT_ONCE = 1_000_000
"""Signs that are multiplied at a time: bounds the memory of a test of very many clusters."""

KEPT_SIGNS = 2**24
"""Longest sequence of signs that is kept for the next test."""

TOO_COARSE = 0.1
"""A score with two values has too few items if a change of a tenth of its range (10 points of SS) is undetectable."""

TOO_COARSE_SPREADS = 0.2
"""For any other score: a fifth of its standard deviation, which is the same for an SS of 50."""



@dataclass(frozen=True, slots=True)
class Pairs:
    """One score of two models, unit by unit."""

    values: Floats  # [n, 2]
    clusters: tuple[str, ...]
    bias_types: tuple[str, ...]
    units: tuple[str, ...]
    unpaired: int = 0
    """Units on which the score is defined for one of the two models only."""

    def of(self, bias_type: str) -> "Pairs":
        """The units of one bias type."""
        return self._at([place for place, name in enumerate(self.bias_types) if name == bias_type])

    def by_type(self) -> "dict[str, Pairs]":
        """The units of every bias type, by name."""
        places: dict[str, list[int]] = defaultdict(list)
        for place, name in enumerate(self.bias_types):
            places[name].append(place)
        return {name: self._at(places[name]) for name in sorted(places)}

    def _at(self, places: Sequence[int]) -> "Pairs":
        clusters, types, units = (
            tuple([names[n] for n in places]) for names in (self.clusters, self.bias_types, self.units)
        )
        return Pairs(self.values[places], clusters, types, units)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTest:
    """Two models, a and b, on the same units under one score."""

    n: int
    clusters: int
    few_clusters: bool
    a: ClusteredEstimate
    b: ClusteredEstimate
    difference: ClusteredEstimate
    """b - a."""
    distance_change: ClusteredEstimate | None
    """|b - ideal| - |a - ideal|; None without an ideal."""
    test: str
    p: float
    up: int | None = None
    """Of a score of two values: units whose value is higher for b."""
    down: int | None = None
    p_mcnemar: float | None = None
    """Of a score of two values: McNemar's p, which takes all units for independent."""
    smallest_difference: float | None
    """That such data can detect (80 % power); None if it is unknown, since nothing differs."""
    too_few: bool
    """Whether that is too large for a conclusion."""
    identical: bool
    over_debiased: bool
    """For an ideal of 50: the interval of b lies below it."""
    verdict: Verdict
    p_holm: float | None = None
    """p adjusted over bias types."""


@dataclass(frozen=True, slots=True)
class MeanDistances:
    """The mean distance from the ideal over bias types, of a and of b, and its change."""

    n: int
    a: float
    b: float
    difference: Estimate
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class ScoreTest:
    """One score of two models, overall and per bias type, and the mean distances if the ideal is a number."""

    unpaired: int
    ideal: float | None
    overall: PairedTest
    bias_types: Mapping[str, PairedTest]
    over_types: MeanDistances | None
    over_clusters: PairedTest | None
    """Mean distance over clusters (target terms); only for a score that is a mean over them."""


def pair(first: Sequence[Outcome], second: Sequence[Outcome]) -> Pairs | None:
    """Joins the outcomes of one score by bias type and unit; None where no unit is shared.

    Raises:
        RequestError: one of the two holds a unit twice.
    """
    return pair_units(by_unit(first), second)


Units = Mapping[tuple[str, str], Outcome]
"""The outcomes of one score by bias type and unit."""


def by_unit(outcomes: Sequence[Outcome]) -> Units:
    """The outcomes of one score, sorted by bias type and unit. RequestError where a unit is there twice."""
    return dict(sorted(_by_unit(outcomes).items(), key=lambda found: found[0]))


def _by_unit(outcomes: Sequence[Outcome]) -> dict[tuple[str, str], Outcome]:
    found = {(o.bias_type, o.unit): o for o in outcomes}
    if len(found) < len(outcomes):
        counts = Counter((o.bias_type, o.unit) for o in outcomes)
        twice = next(key for key, count in counts.items() if count > 1)
        raise RequestError(f"{outcomes[0].score}: item {twice[1]!r} of bias type {twice[0]!r} is there twice")
    return found


def pair_units(a: Units, second: Sequence[Outcome]) -> Pairs | None:
    """`pair` of outcomes of which the first are sorted already, as those of a run that is compared with many."""
    b = _by_unit(second)
    keys = [key for key in a if key in b]
    if not keys:
        return None
    values = ([found[key].value for key in keys] for found in (a, b))
    return Pairs(
        np.column_stack([np.array(column, np.float64) for column in values]),
        tuple([a[key].cluster for key in keys]),
        tuple([bias_type for bias_type, _ in keys]),
        tuple([unit for _, unit in keys]),
        unpaired=len(a) + len(b) - 2 * len(keys),
    )


def compare_score(
    pairs: Pairs, ideal: float | None, average: Average = "units", *, overall_only: bool = False, seed: int = 0
) -> ScoreTest:
    """One score of two models: overall, per bias type, and the mean distance from an ideal that is a number.

    Args:
        overall_only: without bias types and mean distances, which are then empty.
    """
    overall = compare_pairs(pairs, ideal, average, seed=seed)
    if overall_only:
        return ScoreTest(pairs.unpaired, ideal, overall, {}, None, None)
    names, parts = zip(*pairs.by_type().items(), strict=True)
    found = [compare_pairs(part, ideal, average, seed=seed) for part in parts]
    adjusted = holm([test.p for test in found])
    over_clusters = None
    if ideal is not None and average == "clusters":
        over_clusters = compare_pairs(_distances_of_clusters(pairs, ideal), 0.0, seed=seed)
    return ScoreTest(
        unpaired=pairs.unpaired,
        ideal=ideal,
        overall=overall,
        bias_types={
            name: replace(test, p_holm=p, verdict=_verdict(p, test.distance_change, test.too_few))
            for name, test, p in zip(names, found, adjusted, strict=True)
        },
        over_types=None if ideal is None else _distance_over_types(parts, ideal, average, seed),
        over_clusters=over_clusters,
    )


def compare_pairs(pairs: Pairs, ideal: float | None, average: Average = "units", *, seed: int = 0) -> PairedTest:
    """b against a: both with intervals, their difference, a test, and a verdict."""
    sample = resample(pairs.values, pairs.clusters, pairs.bias_types, average=average, seed=seed)
    a, b, difference, *distances = with_intervals(sample, lambda means: _compared(means, ideal))
    change = distances[0] if distances else None
    smallest, coarse = _smallest(pairs, sample)
    tested = _test(pairs, average, seed)
    return PairedTest(
        n=sample.units,
        clusters=sample.clusters,
        few_clusters=sample.few,
        a=a,
        b=b,
        difference=difference,
        distance_change=change,
        **tested,
        smallest_difference=smallest,
        too_few=coarse,
        identical=bool((pairs.values[:, 0] == pairs.values[:, 1]).all()),
        over_debiased=ideal == 50 and b.high < 50,
        verdict=_verdict(tested["p"], change, coarse),
    )


def _compared(means: Floats, ideal: float | None) -> Floats:
    """[..., 3 or 4]: a, b, their difference and, with an ideal, the change of the distance from it."""
    a, b = means[..., 0], means[..., 1]
    changes = [] if ideal is None else [distance(b, ideal) - distance(a, ideal)]
    return np.stack([a, b, b - a, *changes], axis=-1)


def distance(values: Floats, ideal: float) -> Floats:
    """Absolute distance from the ideal."""
    return np.abs(values - ideal)


@lru_cache(maxsize=4096)  # small counts recur among bias types and runs
def mcnemar(up: int, down: int) -> float:
    """Exact two-sided p-value of so many units going up and down, if both directions are equally likely.

    By hand: 12 up, 3 down: 2 * (1 + 15 + 105 + 455) / 2^15 = 0.0352.
    """
    from scipy.stats import binom

    n, fewer = up + down, min(up, down)
    if 2 * fewer == n:
        return 1.0
    return min(1.0, float(binom.cdf(fewer, n, 0.5) + binom.sf(n - fewer - 1, n, 0.5)))


def sign_flips(sums: Floats, *, seed: int = 0) -> float:
    """Two-sided p-value of a sum of differences of clusters, if the sign of each difference is random.

    By hand: differences 1, 2, 3: of the 8 sums only +6 and -6 are as far from 0, so p = 2 / 8.
    """
    sums = sums[sums != 0]
    if not len(sums):
        return 1.0
    least = abs(sums.sum()) * (1 - 1e-9)
    if len(sums) <= EXACT_CLUSTERS:
        return float((np.abs(_all_signs(len(sums)) @ sums) >= least).mean())
    beyond = 0
    numbers = np.empty(0)  # one block of memory for all parts
    for signs in _drawn_signs(len(sums), seed):
        numbers = numbers if len(numbers) >= len(signs) else np.empty(signs.shape)
        np.copyto(numbers[: len(signs)], signs)
        beyond += int((np.abs(numbers[: len(signs)] @ sums) >= least).sum())
    return (1 + beyond) / (1 + FLIPS)


@lru_cache(maxsize=EXACT_CLUSTERS)
def _all_signs(clusters: int) -> NDArray[np.int8]:
    """[2 ** clusters, clusters]: every combination of 1 and -1."""
    return (1 - 2 * ((np.arange(2**clusters)[:, None] >> np.arange(clusters)) & 1)).astype(np.int8)


def _drawn_signs(clusters: int, seed: int) -> Iterator[NDArray[np.int8]]:
    """[draws, clusters] of 1 and -1: `FLIPS` draws in all, about `SIGNS_AT_ONCE` signs at a time.

    They are cut from one sequence, whatever the number of clusters is, since to draw them takes most of the time. Each
    part begins at a multiple of four, as if it were drawn by itself: NumPy makes four small numbers from one of its
    generator's, and drops what is left of it at the end of a part.
    """
    step = min(FLIPS, max(1, SIGNS_AT_ONCE // clusters))
    rows = [min(step, FLIPS - begin) for begin in range(0, FLIPS, step)]
    apart = -(-step * clusters // 4) * 4
    needed = apart * len(rows)
    if needed > KEPT_SIGNS:
        rng = np.random.default_rng(seed)
        yield from (_signs(rng, (number, clusters)) for number in rows)
        return
    sequence = _sign_sequence(seed, 1 << (needed - 1).bit_length())
    for place, number in enumerate(rows):
        yield sequence[place * apart : place * apart + number * clusters].reshape(number, clusters)


@lru_cache(maxsize=8)
def _sign_sequence(seed: int, length: int) -> NDArray[np.int8]:
    return _signs(np.random.default_rng(seed), (length,))


def _signs(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.int8]:
    return 1 - 2 * rng.integers(2, size=shape, dtype=np.int8)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment, in the order given.

    By hand: 0.01, 0.04, 0.03 -> 3 * 0.01, then 2 * 0.03, then max(0.06, 1 * 0.04): 0.03, 0.06, 0.06.
    """
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda n: p_values[n])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = running
    return adjusted


def _test(pairs: Pairs, average: Average, seed: int) -> dict[str, Any]:
    before, after = pairs.values.T
    groups = grouped(pairs.clusters, pairs.bias_types)
    sums = np.add.reduceat((after - before)[groups.order], groups.starts)
    test = "sign flips of clusters"
    if len(np.unique(pairs.values)) > 2:
        return {"test": test, "p": sign_flips(_means_or_sums(sums, groups.sizes, average), seed=seed)}
    up, down = int((after > before).sum()), int((after < before).sum())
    exact = mcnemar(up, down)
    alone = len(groups.sizes) == len(before)  # every cluster is a single unit: all sign flips, without drawing them
    p = exact if alone else sign_flips(_means_or_sums(sums, groups.sizes, average), seed=seed)
    return {"test": test, "p": p, "up": up, "down": down, "p_mcnemar": exact}


def _means_or_sums(sums: Floats, sizes: Integers, average: Average) -> Floats:
    """Of the differences of each cluster: what the score averages."""
    return sums / sizes if average == "clusters" else sums


def _smallest(pairs: Pairs, sample: Sample) -> tuple[float | None, bool]:
    """The smallest difference that can be detected, and whether it is too large for a conclusion."""
    drawn = [part for part in (sample.clustered, sample.items) if part is not None]
    found = DETECTABLE * max(float(np.std(part[:, 1] - part[:, 0])) for part in drawn)
    never = 2.0 ** (1 - sample.clusters) > LEVEL  # not significant even if all clusters agree
    if len(np.unique(pairs.values)) > 2:
        return found or None, never or found > TOO_COARSE_SPREADS * float(pairs.values.std())
    span = float(np.ptp(pairs.values) or np.abs(pairs.values).max())
    smallest = max(found, smallest_difference(len(pairs.values)) / 100 * span)
    return smallest or None, never or smallest > TOO_COARSE * span


def _verdict(p: float, change: Estimate | None, too_few: bool) -> Verdict:
    if p <= LEVEL:
        if change is None:
            return "changed"
        if change.high < 0:
            return "better"
        if change.low > 0:
            return "worse"
    return "too few items" if too_few else "no evidence"


def _distance_over_types(parts: Sequence[Pairs], ideal: float, average: Average, seed: int) -> MeanDistances:
    """The mean distances over bias types; the verdict is from the interval of their change alone."""
    samples = [
        resample(p.values, p.clusters, p.bias_types, average=average, seed=seed + place)
        for place, p in enumerate(parts)
    ]
    means = distance(np.array([sample.means for sample in samples]), ideal).mean(0)
    drawn = distance(np.stack([_wider(sample) for sample in samples], axis=1), ideal).mean(1)  # [draws, 2]
    clusters = sum(sample.clusters for sample in samples)
    change = percentile(float(means[1] - means[0]), drawn[:, 1] - drawn[:, 0], clusters - len(parts), clusters)
    verdict: Verdict = "better" if change.high < 0 else "worse" if change.low > 0 else "no evidence"
    return MeanDistances(len(parts), float(means[0]), float(means[1]), change, verdict)


def _wider(sample: Sample) -> Floats:
    """[draws, 2], from drawing clusters or, with few clusters, items: whichever spreads more."""
    parts = [part for part in (sample.clustered, sample.items) if part is not None]
    return max(parts, key=lambda part: float(np.std(part[:, 1] - part[:, 0])))


def _distances_of_clusters(pairs: Pairs, ideal: float) -> Pairs:
    """Clusters as units: the distance of the mean of each from the ideal."""
    groups = grouped(pairs.clusters, pairs.bias_types)
    means = np.add.reduceat(pairs.values[groups.order], groups.starts) / groups.sizes[:, None]
    firsts = groups.order[groups.starts]
    return Pairs(
        distance(means, ideal),
        clusters := tuple(pairs.clusters[n] for n in firsts),
        tuple(pairs.bias_types[n] for n in firsts),
        clusters,
    )
