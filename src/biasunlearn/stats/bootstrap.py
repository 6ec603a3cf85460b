"""Intervals on outcomes: pure functions, no model, no files.

The interval of every score is a percentile bootstrap, stratified by bias type, that draws whole clusters with
replacement: items about the same target term or made from the same template do not speak independently (Davison and
Hinkley 1997). Its percentiles are widened for the number of clusters, which a plain percentile interval ignores (the
expanded percentile interval, Hesterberg 2015). With fewer than ten clusters it is unreliable all the same; the interval
that draws items is then given too, and the wider of the two is shown.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.stereoset import BOOTSTRAP, FEW_TERMS, Estimate

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

Average = Literal["units", "clusters"]
"""Every unit counts the same, or every cluster does (the official SS: a mean over target terms)."""

CELLS = 1_000_000
"""Numbers drawn at a time: bounds the memory of a bootstrap over very many clusters."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Means of k columns, and the same means of bootstrap draws: what intervals of any function of them come from."""

    means: Floats  # [k]
    clustered: Floats  # [draws, k], whole clusters drawn
    items: Floats | None  # [draws, k], items drawn; only with few clusters
    units: int
    clusters: int
    strata: int

    @property
    def few(self) -> bool:
        """Fewer than ten clusters; with several strata, as many fewer as one stratum of ten would leave free."""
        return _few(self.clusters, self.strata)

    def estimate(self, function: Callable[[Floats], Floats], confidence: float = 0.95) -> Estimate:
        """The wider of the intervals that there are. `function` maps [..., k] to [...]."""
        found = list(self.intervals(function, confidence).values())
        value = float(function(self.means))
        return Estimate(value, min(e.low for e in found), max(e.high for e in found))

    def intervals(self, function: Callable[[Floats], Floats], confidence: float = 0.95) -> dict[str, Estimate]:
        """{"clustered": interval, "items": interval where there are few clusters}"""
        value, clusters = float(function(self.means)), self.clusters
        drawn = function(self.clustered)
        found = {"clustered": percentile(value, drawn, clusters - self.strata, clusters, confidence)}
        if self.items is not None:
            drawn = function(self.items)
            found["items"] = percentile(value, drawn, self.units - self.strata, self.units, confidence)
        return found


def resample(
    rows: Floats,
    clusters: Sequence[str],
    strata: Sequence[str],
    *,
    average: Average = "units",
    draws: int = BOOTSTRAP,
    seed: int = 0,
) -> Sample:
    """Bootstrap means of columns. Only sums per cluster are drawn, so that no draw touches the rows.

    Args:
        rows: [n, k], k numbers for each of n units, n > 0. Columns of one unit are drawn together (paired).
        clusters: [n], the cluster of each unit; a name stands for another cluster in another stratum.
        strata: [n], clusters are drawn within each stratum, as many as it has.
        average: what counts the same in a mean.
    """
    groups = grouped(clusters, strata)
    rng = np.random.default_rng(seed)
    ordered = np.asarray(rows, np.float64)[groups.order]
    sums = np.add.reduceat(ordered, groups.starts)
    weights = groups.sizes.astype(np.float64)
    if average == "clusters":
        sums, weights = sums / weights[:, None], np.ones_like(weights)
    found = _draw(np.column_stack([sums, weights]), groups.blocks, draws, rng)
    items = None
    if _few(len(groups.sizes), len(groups.blocks)):
        items = (
            _draw_within(ordered, groups, draws, rng)
            if average == "clusters"
            else _means(_draw(np.column_stack([ordered, np.ones(len(ordered))]), groups.rows(), draws, rng))
        )
    return Sample(
        means=sums.sum(0) / weights.sum(),
        clustered=_means(found),
        items=items,
        units=len(ordered),
        clusters=len(groups.sizes),
        strata=len(groups.blocks),
    )


def interval(
    rows: Floats,
    clusters: Sequence[str],
    strata: Sequence[str],
    statistic: Callable[[Floats], float] | None = None,
    *,
    draws: int = BOOTSTRAP,
    seed: int = 0,
) -> Estimate:
    """A statistic of rows with its 95 % interval.

    Args:
        rows: [n, k], k numbers for each of n units.
        clusters: [n], the cluster of each unit; whole clusters are drawn with replacement.
        strata: [n], clusters are drawn within each stratum, as many as it has.
        statistic: rows -> number; nan where it is not defined, such draws do not count. None: the mean of the first
            column, which is much faster, since it needs only the sums of the clusters.
    """
    if statistic is None:
        return resample(rows, clusters, strata, draws=draws, seed=seed).estimate(lambda means: means[..., 0])
    groups = grouped(clusters, strata)
    ordered = np.asarray(rows, np.float64)[groups.order]
    rng = np.random.default_rng(seed)
    found = [_each_draw(ordered, groups, statistic, draws, rng)]
    count, strata_count = len(groups.sizes), len(groups.blocks)
    freedom = [(count - strata_count, count)]
    if _few(count, strata_count):
        found.append(_each_draw(ordered, groups.alone(), statistic, draws, rng))
        freedom.append((len(ordered) - strata_count, len(ordered)))
    value = float(statistic(ordered))
    ends = [percentile(value, drawn, *free) for drawn, free in zip(found, freedom, strict=True)]
    return Estimate(value, min(e.low for e in ends), max(e.high for e in ends))


def percentile(value: float, drawn: Floats, freedom: int, clusters: int, confidence: float = 0.95) -> Estimate:
    """The expanded percentile interval of bootstrap draws.

    Its two tails are those of the normal distribution beyond sqrt(clusters / freedom) * t(0.975, freedom): 1.96 for
    very many clusters, 2.38 for 10 in one stratum (sqrt(10 / 9) * 2.262), so 0.86 % in place of 2.5 %. Nan draws do
    not count; nan everywhere gives nan.
    """
    known = drawn[~np.isnan(drawn)]
    if not len(known):
        return Estimate(value, float("nan"), float("nan"))
    quantile = (1 + confidence) / 2
    tail = float(ndtr(-np.sqrt(clusters / freedom) * stdtrit(freedom, quantile))) if freedom > 0 else 0.0
    low, high = np.quantile(known, [tail, 1 - tail])
    return Estimate(value, float(low), float(high))


def summarize(outcomes: Sequence[Outcome], *, seed: int = 0) -> dict[str, Any]:
    """Means of all scores, overall and per bias type, each with its interval and its counts.

    Returns:
        {"n", "overall": {score: {"value", "low", "high", "n"}, "n", "clusters", "few_clusters"},
         "bias_types": {name: {"n", "clusters", "few_clusters", score: {...}}}}
        A score with few clusters has its two intervals beside the wider one, as "clustered" and "items".
    """
    by_type: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in sorted(outcomes, key=lambda o: (o.bias_type, o.cluster, o.unit)):
        by_type[outcome.bias_type].append(outcome)
    return {
        "n": len({outcome.unit for outcome in outcomes}),
        "overall": _summary([o for group in by_type.values() for o in group], seed),
        "bias_types": {name: _summary(group, seed) for name, group in by_type.items()},
    }


def _summary(outcomes: Sequence[Outcome], seed: int) -> dict[str, Any]:
    clusters = {(outcome.bias_type, outcome.cluster) for outcome in outcomes}
    summary: dict[str, Any] = {
        "n": len({outcome.unit for outcome in outcomes}),
        "clusters": len(clusters),
        "few_clusters": _few(len(clusters), len({bias_type for bias_type, _ in clusters})),
    }
    by_score: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_score[outcome.score].append(outcome)
    for score, chosen in by_score.items():
        sample = resample(
            np.array([[outcome.value] for outcome in chosen]),
            [outcome.cluster for outcome in chosen],
            [outcome.bias_type for outcome in chosen],
            seed=seed,
        )
        summary[score] = with_interval(sample, _first) | {"n": sample.units}
    return summary


def with_interval(sample: Sample, function: Callable[[Floats], Floats]) -> dict[str, Any]:
    """{"value", "low", "high"}; with few clusters also both intervals, as {"clustered": {...}, "items": {...}}."""
    entry: dict[str, Any] = dict(sample.estimate(function).to_dict())
    if sample.few:
        entry |= {name: {"low": e.low, "high": e.high} for name, e in sample.intervals(function).items()}
    return entry


def _first(means: Floats) -> Floats:
    return means[..., 0]


def _few(clusters: int, strata: int) -> bool:
    return clusters - strata < FEW_TERMS - 1


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows in the order of their strata and clusters: where each cluster begins, and how many a stratum has."""

    order: Integers  # [n]
    starts: Integers  # [clusters]
    sizes: Integers  # [clusters], rows of each
    blocks: tuple[int, ...]  # clusters of each stratum

    def rows(self) -> tuple[int, ...]:
        """Rows of each stratum."""
        ends = np.cumsum(self.blocks)
        return tuple(int(self.sizes[end - size : end].sum()) for end, size in zip(ends, self.blocks, strict=True))

    def alone(self) -> "Groups":
        """The same rows with every row its own cluster."""
        n = len(self.order)
        return Groups(self.order, np.arange(n), np.ones(n, np.int64), self.rows())


def grouped(clusters: Sequence[str], strata: Sequence[str]) -> Groups:
    """Rows by stratum, then by cluster, both in the order of their names."""
    keys = list(zip(strata, clusters, strict=True))
    names = sorted(set(keys))
    code = {key: number for number, key in enumerate(names)}
    codes = np.fromiter((code[key] for key in keys), np.int64, len(keys))
    sizes = np.bincount(codes, minlength=len(names))
    blocks: dict[str, int] = defaultdict(int)
    for stratum, _ in names:
        blocks[stratum] += 1
    return Groups(np.argsort(codes, kind="stable"), np.cumsum(sizes) - sizes, sizes, tuple(blocks.values()))


def _draw(sums: Floats, blocks: Sequence[int], draws: int, rng: np.random.Generator) -> Floats:
    """[draws, columns]: `sums` [clusters, columns] added up over as many clusters as each block has, drawn from it."""
    total = np.zeros((draws, sums.shape[1]))
    first = 0
    for size in blocks:
        step = max(1, CELLS // size)
        for begin in range(0, draws, step):
            part = total[begin : begin + step]
            pick = rng.integers(size, size=(len(part), size), dtype=np.int32)
            pick += np.arange(len(part), dtype=np.int32)[:, None] * size
            counts = np.bincount(pick.ravel(), minlength=pick.size).reshape(pick.shape)
            part += counts.astype(np.float64) @ sums[first : first + size]
        first += size
    return total


def _draw_within(ordered: Floats, groups: Groups, draws: int, rng: np.random.Generator) -> Floats:
    """[draws, k]: the clusters stay, the items of each are drawn again; the mean over clusters of their means."""
    total = np.zeros((draws, ordered.shape[1]))
    for start, size in zip(groups.starts, groups.sizes, strict=True):
        total += _draw(ordered[start : start + size], [int(size)], draws, rng) / size
    return total / len(groups.sizes)


def _means(drawn: Floats) -> Floats:
    return drawn[:, :-1] / drawn[:, -1:]


def _each_draw(
    ordered: Floats, groups: Groups, statistic: Callable[[Floats], float], draws: int, rng: np.random.Generator
) -> Floats:
    """[draws]: any statistic, of the rows themselves."""
    found = np.empty(draws)
    ends = np.cumsum(groups.blocks)
    for number in range(draws):
        pick = np.concatenate(
            [rng.integers(end - size, end, size=size) for end, size in zip(ends, groups.blocks, strict=True)]
        )
        lengths = groups.sizes[pick]
        offsets = np.repeat(groups.starts[pick] - (np.cumsum(lengths) - lengths), lengths)
        found[number] = statistic(ordered[offsets + np.arange(len(offsets))])
    return found


def over_seeds(estimates: Sequence[Mapping[str, float] | None]) -> dict[str, Any] | None:
    """Estimates of several seeds as one: their mean, an interval that reaches as far as theirs do, and each value.

    By hand: 48 (44-52) and 52 (47-57) -> 50 (44-57). None where no seed has one.
    """
    known = [one for one in estimates if one is not None]
    if not known:
        return None
    values = [one["value"] for one in known]
    ends = [(one["low"], one["high"]) for one in known if "low" in one]
    reach = {"low": min(low for low, _ in ends), "high": max(high for _, high in ends)} if ends else {}
    return {"value": sum(values) / len(values), **reach, "seeds": values}
