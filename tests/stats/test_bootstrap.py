"""Intervals: what they cover, by hand and by simulation, with the interval that ignores clusters as the control."""

import time

import numpy as np
import pytest

from biasunlearn.stats import bootstrap
from biasunlearn.stats.bootstrap import interval, percentile, resample, summarize, with_interval
from biasunlearn.stats.outcome import Outcome


def first(means):
    return means[..., 0]


def terms(rng, *, count=30, size=10, mean=0.6, correlation=0.1):
    """Beta-binomial: `count` terms of about `size` items, whose chances differ (intraclass correlation)."""
    strength = (1 - correlation) / correlation
    chances = rng.beta(mean * strength, (1 - mean) * strength, count)
    sizes = np.maximum(1, rng.poisson(size, count))
    values = np.concatenate([100.0 * (rng.random(n) < chance) for n, chance in zip(sizes, chances, strict=True)])
    return values[:, None], [f"t{term}" for term, n in enumerate(sizes) for _ in range(n)]


def coverage(worlds, truth, *, alone=False, average="units", **shape):
    """Share of 95 % intervals, in percent, that hold the truth."""
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(worlds):
        rows, clusters = terms(rng, **shape)
        names = [str(n) for n in range(len(rows))] if alone else clusters
        found = resample(rows, names, ["x"] * len(rows), average=average, draws=1000).estimate(first)
        hits += found.low <= truth <= found.high
    return 100 * hits / worlds


@pytest.mark.slow
@pytest.mark.by_day("10-units", "30-clusters")
@pytest.mark.parametrize("average", ["units", "clusters"])
@pytest.mark.parametrize("count", [10, 30])
def test_a_95_percent_interval_covers_92_to_98(count, average):
    assert 92 <= coverage(500, 60, count=count, average=average) <= 98


@pytest.mark.slow
def test_the_interval_that_ignores_clusters_undercovers():
    """Negative control: 30 terms of 10 items, correlation 0.1: the variance is 1 + 9 * 0.1 = 1.9 times as large."""
    assert coverage(200, 60, alone=True) < 88


@pytest.mark.slow
def test_without_clustering_both_cover():
    """And where items do speak independently, nothing is lost by drawing terms."""
    assert 92 <= coverage(200, 60, alone=True, count=15, correlation=1e-4) <= 98
    assert 92 <= coverage(300, 60, correlation=1e-4) <= 98


def test_tails_by_hand():
    """10 clusters in one stratum: sqrt(10 / 9) * t(0.975, 9) = 1.0541 * 2.2622 = 2.3846; beyond it lie 0.855 %."""
    drawn = np.arange(100_001) / 1000.0  # quantile q is 100 q
    found = percentile(50.0, drawn, 9, 10)
    assert (found.low, found.high) == (pytest.approx(0.855, abs=0.002), pytest.approx(99.145, abs=0.002))
    many = percentile(50.0, drawn, 10**6, 10**6 + 1)
    assert (many.low, many.high) == (pytest.approx(2.5, abs=0.001), pytest.approx(97.5, abs=0.001))


def test_two_clusters_are_drawn_whole():
    """Clusters of all 0 and of all 100, equally large: a draw of whole clusters is 0, 50 or 100 and nothing else."""
    rows, clusters = np.repeat([[0.0], [100.0]], 30, axis=0), ["a"] * 30 + ["b"] * 30
    sample = resample(rows, clusters, ["x"] * 60)
    assert set(sample.clustered[:, 0]) == {0.0, 50.0, 100.0}
    assert sample.few and (sample.units, sample.clusters, sample.strata) == (60, 2, 1)
    found = sample.intervals(first)
    assert (found["clustered"].low, found["clustered"].high) == (0, 100)
    # Items alone: standard error 50 / sqrt(60) = 6.45, so about 50 +- 13.
    assert found["items"].low == pytest.approx(50 - 12.7, abs=2.5)
    assert sample.estimate(first) == found["clustered"]  # the wider one


def test_averages_by_hand():
    """Triplet a: 100; b: 100, 0, 0, 0. Units: 200 / 5 = 40. Clusters: (100 + 25) / 2 = 62.5."""
    rows, clusters = np.array([[100.0], [100], [0], [0], [0]]), list("abbbb")
    assert resample(rows, clusters, ["x"] * 5).means == pytest.approx(40)
    assert resample(rows, clusters, ["x"] * 5, average="clusters").means == pytest.approx(62.5)


def test_strata_keep_their_size():
    """One stratum all 0, the other all 100, four clusters each: every draw has mean 50."""
    rows = np.repeat([[0.0], [100.0]], 4, axis=0)
    sample = resample(rows, list("abcdabcd"), ["x"] * 4 + ["y"] * 4)
    assert sample.clusters == 8  # a name stands for another cluster in another stratum
    assert np.all(sample.clustered == 50)


def test_columns_are_drawn_together():
    """The difference of two equal columns has no spread at all; a paired interval sees that."""
    rows, clusters = terms(np.random.default_rng(0))
    sample = resample(np.hstack([rows, rows]), clusters, ["x"] * len(rows))
    found = sample.estimate(lambda means: means[..., 1] - means[..., 0])
    assert (found.value, found.low, found.high) == (0, 0, 0)


@pytest.mark.parametrize("average", ["units", "clusters"])
@pytest.mark.parametrize("count", [5, 40])
def test_draws_that_are_kept_are_those_of_a_generator_of_its_own(average, count, monkeypatch):
    """Runs that are compared share their draws; the numbers are those of drawing anew for each of them."""
    rows, clusters = terms(np.random.default_rng(4), count=count)
    more = np.random.default_rng(5).normal(size=rows.shape)
    strata = ["x" if name < "t3" else "y" for name in clusters]

    def samples(seed):
        return [resample(values, clusters, strata, average=average, seed=seed) for values in (rows, more, rows)]

    kept = samples(7)
    assert not np.array_equal(samples(8)[1].clustered, kept[1].clustered)
    monkeypatch.setattr(bootstrap, "KEPT_CELLS", 0)
    for one, other in zip(kept, samples(7), strict=True):
        assert np.array_equal(one.clustered, other.clustered)
        assert (one.items is None) == (other.items is None) == (count == 40)
        assert one.items is None or np.array_equal(one.items, other.items)


def test_draws_by_hand():
    """A draw of single units is the mean of as many of them as there are, chosen by NumPy's generator."""
    values = np.arange(30.0) ** 2
    sample = resample(values[:, None], [f"{n:02}" for n in range(30)], ["x"] * 30, draws=50, seed=3)
    pick = np.random.default_rng(3).integers(30, size=(50, 30), dtype=np.int32)
    assert sample.clustered[:, 0] == pytest.approx(values[pick].mean(1))


@pytest.mark.parametrize("average", ["units", "clusters"])
@pytest.mark.parametrize("count", [4, 30])
def test_intervals_at_once_are_those_of_each_function(average, count):
    rows, clusters = terms(np.random.default_rng(6), count=count)
    more = np.random.default_rng(7).normal(size=rows.shape)
    sample = resample(np.hstack([rows, more]), clusters, ["x"] * len(rows), average=average)
    found = bootstrap.with_intervals(sample, lambda means: np.stack([first(means), means[..., 1] - first(means)], -1))
    assert found == [with_interval(sample, first), with_interval(sample, lambda means: means[..., 1] - means[..., 0])]
    assert (found[0].items is None) == (count == 30) and found[0].low < found[0].value < found[0].high


def test_any_statistic_agrees_with_the_fast_mean():
    rows, clusters = terms(np.random.default_rng(2))
    fast = interval(rows, clusters, ["x"] * len(rows))
    general = interval(rows, clusters, ["x"] * len(rows), lambda chosen: float(chosen.mean()))
    assert general.value == pytest.approx(fast.value)
    assert (general.low, general.high) == (pytest.approx(fast.low, abs=0.7), pytest.approx(fast.high, abs=0.7))
    median = interval(rows, clusters, ["x"] * len(rows), lambda chosen: float(np.median(chosen)))
    assert (median.value, median.high) == (100, 100)


def test_a_statistic_of_whole_clusters_and_undefined_draws():
    """Clusters of 2 and 3 rows: a draw of two clusters has 4, 5 or 6 rows. Nan draws do not count."""
    rows, clusters = np.arange(5.0)[:, None], list("aabbb")
    seen = set()

    def count(chosen):
        seen.add(len(chosen))
        return float("nan") if len(chosen) == 4 else float(len(chosen))

    found = interval(rows, clusters, ["x"] * 5, count)
    assert seen == {4, 5, 6} and (found.low, found.high) == (5, 6)
    assert np.isnan(interval(rows, clusters, ["x"] * 5, lambda chosen: float("nan")).low)


def outcomes(rng, score="accuracy", bias_types=("x", "y"), count=12):
    return [
        Outcome(f"{b}{t}-{n}", f"t{t}", b, score, float(rng.random() < 0.7))
        for b in bias_types for t in range(count) for n in range(6)
    ]  # fmt: skip


def test_summary_states_counts_and_marks_few_clusters():
    rng = np.random.default_rng(0)
    rows = outcomes(rng) + outcomes(rng, bias_types=("z",), count=3)
    summary = summarize(rows)
    assert summary.n == 2 * 72 + 18
    assert summary.overall.clusters == 27 and not summary.overall.few_clusters
    assert summary.bias_types["x"].n == 72 and not summary.bias_types["x"].few_clusters
    few = summary.bias_types["z"]
    assert few.few_clusters and few.clusters == 3
    entry = few.scores["accuracy"]
    assert entry.low == min(entry.clustered.low, entry.items.low) and few.units["accuracy"] == 18
    assert entry.high == max(entry.clustered.high, entry.items.high)
    assert entry.value == pytest.approx(np.mean([o.value for o in rows if o.bias_type == "z"]))


def ends(found):
    return found.value, found.low, found.high


def test_summary_does_not_depend_on_the_order():
    rng = np.random.default_rng(0)
    rows = outcomes(rng) + outcomes(rng, "gap")
    shuffled = [rows[place] for place in rng.permutation(len(rows))]
    one, other = summarize(rows), summarize(shuffled)
    for score in ("accuracy", "gap"):
        assert ends(one.overall.scores[score]) == pytest.approx(ends(other.overall.scores[score]))
        assert ends(one.bias_types["x"].scores[score]) == pytest.approx(ends(other.bias_types["x"].scores[score]))


def test_many_rows_are_fast():
    """58,000 rows in 325 clusters, as in a large multiple-choice benchmark."""
    rows = np.random.default_rng(0).random((58_000, 1))
    clusters = [f"c{n % 325}" for n in range(58_000)]
    begin = time.perf_counter()
    interval(rows, clusters, ["x"] * 58_000)
    assert time.perf_counter() - begin < 3
