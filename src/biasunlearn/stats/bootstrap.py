"""The bootstrap behind every interval: pure functions of arrays. No model, no files.

The interval of a score is a percentile bootstrap, stratified by bias type, that draws whole clusters with replacement:
items about the same target term, or made from the same template, are not independent (Davison and Hinkley 1997). The
percentiles are widened for the number of clusters, which a plain percentile interval ignores (the expanded percentile
interval, Hesterberg 2015). With fewer than ten clusters the clustered interval is unreliable even so; the interval from
drawing single items is then computed as well, and the wider of the two is reported.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from biasunlearn.stats.outcome import Outcome

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

Average = Literal["units", "clusters"]
"""Every unit counts the same, or every cluster does (the official SS: a mean over target terms)."""

DRAWS = 2000
"""Bootstrap draws of an interval."""

FEW_CLUSTERS = 10
"""With fewer clusters a clustered interval is unreliable; the interval from drawing items is then computed as well."""

CELLS = 1_000_000
"""Numbers drawn at a time: bounds the memory of a bootstrap over very many clusters."""

KEPT_CELLS = 4_000_000
"""Numbers drawn for one bootstrap up to which they are kept for the next one over as many clusters."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ClusteredEstimate(Estimate):
    """An estimate that, with few clusters, also has both of the intervals of which it takes the wider one."""

    clustered: Estimate | None = None
    """The interval from drawing clusters."""
    items: Estimate | None = None
    """The interval from drawing single items."""

    def to_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {"value": self.value, "low": self.low, "high": self.high}
        beside = {"clustered": self.clustered, "items": self.items}
        return found | {name: {"low": e.low, "high": e.high} for name, e in beside.items() if e is not None}


@dataclass(frozen=True, slots=True)
class Summary:
    """The mean of every score over some outcomes. `units`: score -> how many units have it."""

    n: int
    clusters: int
    few_clusters: bool
    scores: Mapping[str, ClusteredEstimate]
    units: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SummaryByType:
    """The same of all outcomes, and of those of each bias type. `n`: units in all."""

    n: int
    overall: Summary
    bias_types: Mapping[str, Summary]


@dataclass(frozen=True, slots=True)
class Sample:
    """Means of k columns and the same means in each bootstrap draw, from which any function of them has an interval."""

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

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the clustered interval: each stratum takes one."""
        return self.clusters - self.strata

    def estimate(self, function: Callable[[Floats], Floats], confidence: float = 0.95) -> Estimate:
        """The clustered interval or, with few clusters, the wider of the two. `function` maps [..., k] to [...]."""
        found = list(self.intervals(function, confidence).values())
        value = float(function(self.means))
        return Estimate(value, min(e.low for e in found), max(e.high for e in found))

    def intervals(self, function: Callable[[Floats], Floats], confidence: float = 0.95) -> dict[str, Estimate]:
        """{"clustered": interval} and, with few clusters, also {"items": interval}."""
        value = float(function(self.means))
        drawn = function(self.clustered)
        found = {"clustered": percentile(value, drawn, self.freedom, self.clusters, confidence)}
        if self.items is not None:
            drawn = function(self.items)
            found["items"] = percentile(value, drawn, self.units - self.strata, self.units, confidence)
        return found

    def widest(self, function: Callable[[Floats], Floats]) -> Floats:
        """[draws] of a function, from drawing clusters or, with few clusters, items: whichever spreads more."""
        drawn = [function(part) for part in (self.clustered, self.items) if part is not None]
        return max(drawn, key=lambda values: float(np.std(values)))


def resample(
    rows: Floats,
    clusters: Sequence[str],
    strata: Sequence[str],
    *,
    average: Average = "units",
    draws: int = DRAWS,
    seed: int | Sequence[int] = 0,
) -> Sample:
    """Bootstrap means of columns. Only the sums of each cluster are drawn, so the cost does not grow with the rows.

    Args:
        rows: [n, k], k numbers for each of n units, n > 0. Columns of one unit are drawn together (paired).
        clusters: [n], the cluster of each unit; the same name in another stratum is another cluster.
        strata: [n]; within each stratum as many clusters are drawn as it has.
        average: whether every unit or every cluster has the same weight in a mean.
    """
    groups = grouped(clusters, strata)
    ordered = np.asarray(rows, np.float64)[groups.order]
    sums = np.add.reduceat(ordered, groups.starts)
    weights = groups.sizes.astype(np.float64)
    if average == "clusters":
        sums, weights = sums / weights[:, None], np.ones_like(weights)
    plans = [groups.blocks]
    if _few(len(groups.sizes), len(groups.blocks)):
        plans += groups.each() if average == "clusters" else [groups.rows()]
    drawn = iter(_counts(tuple(plans), draws, seed))
    found = _sums(np.column_stack([sums, weights]), next(drawn), draws)
    items = None
    if len(plans) > 1:
        items = (
            _sums_within(ordered, groups, drawn, draws)
            if average == "clusters"
            else _means(_sums(np.column_stack([ordered, np.ones(len(ordered))]), next(drawn), draws))
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
    draws: int = DRAWS,
    seed: int = 0,
) -> Estimate:
    """A statistic of rows with its 95 % interval.

    Args:
        rows: [n, k], k numbers for each of n units.
        clusters: [n], the cluster of each unit; whole clusters are drawn with replacement.
        strata: [n]; within each stratum as many clusters are drawn as it has.
        statistic: rows -> number; draws for which it is nan are left out. None: the mean of the first column, which is
            much faster, since it needs only the sums of the clusters.
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
    """The expanded percentile interval of bootstrap draws. Nan draws are left out; nan everywhere gives nan."""
    known = drawn[~np.isnan(drawn)]
    if not len(known):
        return Estimate(value, float("nan"), float("nan"))
    tail = expanded_tail(freedom, clusters, confidence)
    low, high = np.quantile(known, [tail, 1 - tail])
    return Estimate(value, float(low), float(high))


def expanded_tail(freedom: int, clusters: int, confidence: float = 0.95) -> float:
    """The share of draws beyond each end of an expanded percentile interval (Hesterberg 2015).

    That is the tail of the normal distribution beyond sqrt(clusters / freedom) * t(0.975, freedom), which is 1.96 for
    very many clusters. By hand, 10 clusters in one stratum: sqrt(10 / 9) * 2.262 = 2.38, so 0.86 % instead of 2.5 %.
    """
    quantile = (1 + confidence) / 2
    return float(ndtr(-np.sqrt(clusters / freedom) * stdtrit(freedom, quantile))) if freedom > 0 else 0.0


def summarize(outcomes: Sequence[Outcome], *, seed: int = 0) -> SummaryByType:
    """Means of all scores, overall and per bias type, each with its interval and its counts."""
    by_type: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in sorted(outcomes, key=lambda o: (o.bias_type, o.cluster, o.unit)):
        by_type[outcome.bias_type].append(outcome)
    return SummaryByType(
        n=len({outcome.unit for outcome in outcomes}),
        overall=_summary([o for group in by_type.values() for o in group], seed),
        bias_types={name: _summary(group, seed) for name, group in by_type.items()},
    )


def _summary(outcomes: Sequence[Outcome], seed: int) -> Summary:
    clusters = {(outcome.bias_type, outcome.cluster) for outcome in outcomes}
    by_score: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_score[outcome.score].append(outcome)
    samples = {
        score: resample(
            np.array([[outcome.value] for outcome in chosen]),
            [outcome.cluster for outcome in chosen],
            [outcome.bias_type for outcome in chosen],
            seed=seed,
        )
        for score, chosen in by_score.items()
    }
    return Summary(
        n=len({outcome.unit for outcome in outcomes}),
        clusters=len(clusters),
        few_clusters=_few(len(clusters), len({bias_type for bias_type, _ in clusters})),
        scores={score: with_interval(sample, _first) for score, sample in samples.items()},
        units={score: sample.units for score, sample in samples.items()},
    )


def with_interval(sample: Sample, function: Callable[[Floats], Floats]) -> ClusteredEstimate:
    """A function of the means with its interval, and with few clusters with both intervals."""
    found = sample.estimate(function)
    beside = sample.intervals(function) if sample.few else {}
    return ClusteredEstimate(found.value, found.low, found.high, beside.get("clustered"), beside.get("items"))


def with_intervals(sample: Sample, function: Callable[[Floats], Floats]) -> list[ClusteredEstimate]:
    """`with_interval` of several functions at once, which takes a third of the time.

    Args:
        function: maps [..., k] to [..., m]; none of its values is nan.
    """
    values = function(sample.means)
    ends = [_ends(function(sample.clustered), sample.freedom, sample.clusters)]
    if sample.items is not None:
        ends.append(_ends(function(sample.items), sample.units - sample.strata, sample.units))
    low, high = np.min([low for low, _ in ends], axis=0), np.max([high for _, high in ends], axis=0)
    found = []
    for place, value in enumerate(map(float, values)):
        both = [Estimate(value, float(first[place]), float(last[place])) for first, last in ends]
        clustered, items = (both[0], both[1]) if sample.few else (None, None)
        found.append(ClusteredEstimate(value, float(low[place]), float(high[place]), clustered, items))
    return found


def _ends(drawn: Floats, freedom: int, clusters: int) -> tuple[Floats, Floats]:
    """Both ends of the expanded percentile interval of each column."""
    tail = expanded_tail(freedom, clusters)
    low, high = np.quantile(np.ascontiguousarray(drawn.T), [tail, 1 - tail], axis=1)
    return low, high


def _first(means: Floats) -> Floats:
    return means[..., 0]


def _few(clusters: int, strata: int) -> bool:
    return clusters - strata < FEW_CLUSTERS - 1


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows sorted by stratum and cluster: where each cluster begins, and how many clusters each stratum has."""

    order: Integers  # [n]
    starts: Integers  # [clusters]
    sizes: Integers  # [clusters], rows of each
    blocks: tuple[int, ...]  # clusters of each stratum

    def rows(self) -> tuple[int, ...]:
        """Rows of each stratum."""
        ends = np.cumsum(self.blocks)
        return tuple(int(self.sizes[end - size : end].sum()) for end, size in zip(ends, self.blocks, strict=True))

    def each(self) -> list[tuple[int, ...]]:
        """Rows of each cluster, each of them a stratum of its own."""
        return [(int(size),) for size in self.sizes]

    def alone(self) -> "Groups":
        """The same rows, each of them a cluster of its own."""
        n = len(self.order)
        return Groups(self.order, np.arange(n), np.ones(n, np.int64), self.rows())


def grouped(clusters: Sequence[str], strata: Sequence[str]) -> Groups:
    """Sorts rows by stratum, then by cluster, both by name."""
    return _grouped(tuple(clusters), tuple(strata))


@lru_cache(maxsize=64)  # the scores of a benchmark, and runs that are compared, have the same units
def _grouped(clusters: tuple[str, ...], strata: tuple[str, ...]) -> Groups:
    keys = list(zip(strata, clusters, strict=True))
    names = sorted(set(keys))
    code = {key: number for number, key in enumerate(names)}
    codes = np.fromiter((code[key] for key in keys), np.int64, len(keys))
    sizes = np.bincount(codes, minlength=len(names))
    blocks: dict[str, int] = defaultdict(int)
    for stratum, _ in names:
        blocks[stratum] += 1
    return Groups(np.argsort(codes, kind="stable"), np.cumsum(sizes) - sizes, sizes, tuple(blocks.values()))


Plan = tuple[int, ...]
"""How many clusters each stratum has; as many are drawn from it."""

Counted = tuple[slice, slice, NDArray[Any]]
"""Some draws, the clusters of a stratum, and how often each of these draws has each of these clusters."""


def _counts(plans: tuple[Plan, ...], draws: int, seed: int | Sequence[int]) -> Iterable[Iterable[Counted]]:
    """How often each draw has each cluster, for plans that are drawn one after the other with one generator.

    The same seed and the same plans give the same draws, whatever the rows are. The scores of a benchmark, and the runs
    that are compared, have the same clusters, so that the counts are kept: to draw takes most of the time.
    """
    if draws * sum(map(sum, plans)) <= KEPT_CELLS:
        return _kept_counts(plans, draws, seed if isinstance(seed, int) else tuple(seed))
    rng = np.random.default_rng(seed)
    return (_counted(plan, draws, rng) for plan in plans)


@lru_cache(maxsize=64)
def _kept_counts(
    plans: tuple[Plan, ...], draws: int, seed: int | tuple[int, ...]
) -> tuple[tuple[Counted, ...], ...]:
    rng = np.random.default_rng(seed)
    return tuple(
        tuple((part, clusters, counts.astype(np.min_scalar_type(counts.shape[1])))  # a byte for most
              for part, clusters, counts in _counted(plan, draws, rng))
        for plan in plans
    )  # fmt: skip


def _counted(plan: Plan, draws: int, rng: np.random.Generator) -> Iterator[Counted]:
    """The counts of one plan, drawn with replacement, about `CELLS` at a time."""
    first = 0
    for size in plan:
        step = max(1, CELLS // size)
        for begin in range(0, draws, step):
            number = min(step, draws - begin)
            pick = rng.integers(size, size=(number, size), dtype=np.int32)
            pick += np.arange(number, dtype=np.int32)[:, None] * size
            counts = np.bincount(pick.ravel(), minlength=pick.size).reshape(pick.shape)
            yield slice(begin, begin + number), slice(first, first + size), counts
        first += size


def _sums(sums: Floats, counted: Iterable[Counted], draws: int) -> Floats:
    """[draws, columns]: sums over drawn clusters. `sums`: [clusters, columns], those of each cluster."""
    total = np.zeros((draws, sums.shape[1]))
    for part, clusters, counts in counted:
        total[part] += counts.astype(np.float64) @ sums[clusters]
    return total


def _sums_within(ordered: Floats, groups: Groups, drawn: Iterator[Iterable[Counted]], draws: int) -> Floats:
    """[draws, k]: means over clusters of their means; the items of each cluster are drawn, the clusters are fixed."""
    total = np.zeros((draws, ordered.shape[1]))
    for start, size in zip(groups.starts, groups.sizes, strict=True):
        total += _sums(ordered[start : start + size], next(drawn), draws) / size
    return total / len(groups.sizes)


def _means(drawn: Floats) -> Floats:
    return drawn[:, :-1] / drawn[:, -1:]


def _each_draw(
    ordered: Floats, groups: Groups, statistic: Callable[[Floats], float], draws: int, rng: np.random.Generator
) -> Floats:
    """[draws]: any statistic, computed from the rows of each draw."""
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


@dataclass(frozen=True, slots=True)
class SeedEstimate:
    """A score over several seeds: its mean, the interval that covers those of all seeds, and the value of each."""

    value: float
    low: float | None
    high: float | None
    seeds: tuple[float, ...]


def over_seeds(estimates: Sequence[Estimate | float | None]) -> SeedEstimate | None:
    """Combines the estimates of several seeds; numbers have no interval.

    By hand: 48 (44-52) and 52 (47-57) -> 50 (44-57). None if no seed has an estimate.
    """
    known = [one for one in estimates if one is not None]
    if not known:
        return None
    values = tuple(one.value if isinstance(one, Estimate) else one for one in known)
    intervals = [one for one in known if isinstance(one, Estimate)]
    low = min((one.low for one in intervals), default=None)
    high = max((one.high for one in intervals), default=None)
    return SeedEstimate(sum(values) / len(values), low, high, values)
