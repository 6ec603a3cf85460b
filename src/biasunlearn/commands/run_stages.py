"""A finished run at one stage: its results and items, for comparison with another."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter, eq
from pathlib import Path

from biasunlearn.benchmarks import BENCHMARKS, NAMES
from biasunlearn.errors import RequestError
from biasunlearn.runs.comparison import ComparedRun
from biasunlearn.runs.folder import RunFolder
from biasunlearn.runs.items import read_items
from biasunlearn.runs.results import BenchmarkResult, Capability, Results, TasksResult
from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.stereoset import Item

CAPABILITY = "capability"
"""Name of lm-eval's tasks beside the benchmarks."""

MORE_IDEALS = {"stereoset": {"margin": 0.0}}
"""Ideals of further scores in a benchmark's outcomes."""

_identity = attrgetter("item_id", "cluster_id", "bias_type", "target", "kind", "role")
"""The attributes of an item that two measurements of the same data have in common."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One measurement of a run: a `debias` run has two stages, before and after; others have one."""

    name: str
    """As it was requested: RUN, RUN:before or RUN:after."""
    label: str
    """before, after, or "" where there is only one."""
    results: Results
    entries: dict[str, BenchmarkResult]
    items: dict[str, list[Item]]
    outcomes: dict[str, dict[str, list[Outcome]]] = field(default_factory=dict, repr=False, compare=False)
    """By benchmark what `outcomes_by_score` has found: the first of many runs is compared with each of the others."""

    def facts(self) -> ComparedRun:
        """Which run it is, for results."""
        run = self.results
        return ComparedRun(
            name=self.name,
            stage=self.label,
            model=run.model or run.scores,  # stored scores of a model that was not loaded
            adapter=run.adapter,
            method=run.method,
            seed=run.config.seed if run.config else None,
            **({"verdict": found} if self.label == "after" and (found := run.shown_verdict) else {}),
        )


def read_stage(name: str) -> Stage:
    """RUN is the last stage of a run, RUN:before the one before debiasing.

    Raises:
        RequestError: no finished run there, no such stage, items that cannot be read.
    """
    path, label = name, "after"
    if not Path(name).exists() and name.rpartition(":")[2] in ("before", "after"):
        path, _, label = name.rpartition(":")
    results = RunFolder(Path(path)).read_results()
    return stage_of(name, label, results, read_items(Path(path) / "items.parquet"))


def stage_of(name: str, label: str, results: Results, items: Mapping[str, Sequence[Item]]) -> Stage:
    """The stage `label` (before, after) of a run that is already read. `items`: by stage.

    Raises:
        RequestError: the run has no such stage, or no benchmarks.
    """
    both = results.before is not None
    if label == "before" and not both:
        raise RequestError(f"{name}: this run has no stage before; it measured once, without debiasing")
    measured = results.before if label == "before" and results.before else results.benchmarks
    if not measured.entries:
        raise RequestError(f"{name}: results.json holds no benchmarks")
    entries = {**measured.entries, **_capability(results.capability, label if both else "")}
    by_benchmark: dict[str, list[Item]] = defaultdict(list)
    for item in items.get(label if both else "", ()):
        by_benchmark[item.benchmark].append(item)
    return Stage(name, label if both else "", results, entries, dict(by_benchmark))


def _capability(found: Capability | None, label: str) -> dict[str, BenchmarkResult]:
    """Tasks of lm-eval as a benchmark like any other."""
    if found is None:
        return {}
    return {CAPABILITY: TasksResult(tasks=(found.before or {}) if label == "before" else found.tasks)}


def outcomes_by_score(stage: Stage, benchmark: str) -> dict[str, list[Outcome]]:
    """The outcomes of a benchmark, its own scores first; none where it has no items."""
    if benchmark in stage.outcomes:
        return stage.outcomes[benchmark]
    items = stage.items.get(benchmark, [])
    if not items:
        return {}
    if benchmark not in BENCHMARKS:
        raise RequestError(f"{stage.name}: items of {benchmark}, which this version does not know: {', '.join(NAMES)}")
    found: dict[str, list[Outcome]] = {score: [] for score in own_scores(benchmark)}
    for outcome in BENCHMARKS[benchmark].outcomes(items):
        found.setdefault(outcome.score, []).append(outcome)
    stage.outcomes[benchmark] = {score: chosen for score, chosen in found.items() if chosen}
    return stage.outcomes[benchmark]


def own_scores(benchmark: str) -> dict[str, float | None]:
    """The scores that a benchmark's entry shows, with their ideal values."""
    return dict(getattr(BENCHMARKS.get(benchmark), "IDEAL", {}))


def more_compared(benchmark: str) -> dict[str, float]:
    """Scores beside those that are compared as well, with their ideal values."""
    return dict(getattr(BENCHMARKS.get(benchmark), "MORE_COMPARED", {}))


def ideal_of(benchmark: str, score: str) -> float | None:
    """The ideal of a score; a variant of a score (accuracy_mean) has the ideal of the score itself."""
    known = {**own_scores(benchmark), **more_compared(benchmark), **MORE_IDEALS.get(benchmark, {})}
    return known.get(score, next((ideal for name, ideal in known.items() if score.startswith(f"{name}_")), None))


def over_clusters(benchmark: str, score: str) -> bool:
    """Whether the score is a mean over clusters of their means, as the official SS is over target terms."""
    return score in getattr(BENCHMARKS.get(benchmark), "OVER_CLUSTERS", ())


def check_same_data(benchmark: str, first: Stage, second: Stage) -> None:
    """RequestError unless both stages measured the benchmark on the same data, item by item and label by label."""
    digests = [stage.entries[benchmark].sha256 for stage in (first, second)]
    items = [stage.items.get(benchmark, ()) for stage in (first, second)]
    sizes = [getattr(stage.entries[benchmark], "bytes", None) for stage in (first, second)]  # a text has no items
    if (None in digests or digests[0] == digests[1]) and sizes[0] == sizes[1] and _same_items(*items):
        return
    ids = [{item.item_id for item in measured} for measured in items]
    shared = f"{len(ids[0] & ids[1])} items are shared, of {len(ids[0])} and {len(ids[1])}"
    hashes = " and ".join(str(digest)[:12] for digest in digests)
    raise RequestError(
        f"{benchmark}: {first.name} and {second.name} were measured on different data ({shared}; sha256 {hashes}); "
        "measure both on one file"
    )


def _same_items(first: Sequence[Item], second: Sequence[Item]) -> bool:
    """Whether both hold the same items, which runs on the same file have in the same order."""
    in_order = len(first) == len(second) and all(map(eq, map(_identity, first), map(_identity, second)))
    return in_order or set(map(_identity, first)) == set(map(_identity, second))
