"""`compare`: finished runs against the first of them, item by item, without a model."""

import json
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from biasunlearn.commands.run_stages import (
    Stage,
    check_same_data,
    ideal_of,
    more_compared,
    outcomes_by_score,
    over_clusters,
    own_scores,
    read_stage,
)
from biasunlearn.errors import RequestError
from biasunlearn.runs.atomic import whole_file
from biasunlearn.runs.comparison import (
    Compared,
    ComparedBenchmark,
    DistanceOverTypes,
    JudgedArms,
    Nearer,
    OverviewLine,
    RunComparison,
    SeedGroup,
    SeedSpread,
    SpreadOfBenchmark,
    TestedRow,
    TestedScore,
    ValueChange,
)
from biasunlearn.runs.folder import SCHEMA, RunFolder, environment, new_run
from biasunlearn.runs.lock import releasing_locks
from biasunlearn.runs.results import BenchmarkResult, Interval, JudgedResult, Metric, ScoredPart, StereoSetResult
from biasunlearn.runs.scores import hides_polarisation
from biasunlearn.stats.effect import nearer_to_50
from biasunlearn.stats.judging import FAR_APART, unscored_share
from biasunlearn.stats.paired import Pairs, Units, by_unit, compare_score, pair_units

FILE = "compare.json"


@releasing_locks()
def compare(
    runs: str | Path | Sequence[str | Path], *, out: str | Path | None = None, seed: int = 0
) -> RunComparison:
    """Compares runs with the first one: paired tests per benchmark, score and bias type, and a verdict in words.

    Args:
        runs: two or more run folders. RUN is the result of a `debias` run, RUN:before its base model.
        out: a folder for compare.json and items.parquet (the values of every unit).
        seed: of the bootstrap.
    Returns:
        The comparison of every other run with the first one, an overview with one line per benchmark and score, and
        the spread between runs that differ in their seed only.
    Raises:
        RequestError: no finished run, nothing in common, or runs measured on different data.
    """
    names = [str(run) for run in ([runs] if isinstance(runs, str | Path) else runs)]
    if len(names) < 2:
        raise RequestError("compare needs two runs or more; for one debias run write RUN:before RUN")
    stages = [read_stage(name) for name in names]
    again = [f"{name} ({names[:place].count(name) + 1})" for place, name in enumerate(names)]
    stages = [replace(s, name=a) if a != f"{s.name} (1)" else s for s, a in zip(stages, again, strict=True)]
    folder = _new_folder(out) if out is not None else None
    pairs = paired_with_first(stages)
    result = compare_stages(stages, pairs, seed)
    if folder is not None:
        _write_items(folder.path / "items.parquet", pairs)
        folder.write_json(FILE, result.to_dict())
    return result


def paired_with_first(
    stages: Sequence[Stage], *, for_page: bool = False
) -> dict[str, dict[str, dict[str, Pairs]]]:
    """Every other stage paired with the first one, unit by unit: {stage: {benchmark: {score: pairs}}}.

    Args:
        for_page: only the first score of a benchmark and those of the overview, which a page of several runs shows.
    """
    known = {name: {score: by_unit(found) for score, found in outcomes_by_score(stages[0], name).items()}
             for name in stages[0].entries if any(name in other.entries for other in stages[1:])}  # fmt: skip
    return {other.name: dict(_paired(stages[0], other, known, for_page)) for other in stages[1:]}


def compare_stages(
    stages: Sequence[Stage],
    pairs: Mapping[str, Mapping[str, Mapping[str, Pairs]]],
    seed: int = 0,
    *,
    for_page: bool = False,
) -> RunComparison:
    """The result of `compare`, for stages that are already read.

    Args:
        for_page: only what a page of several runs shows: of scores that have no table by bias type and no mean
            distance, the test of all bias types together, and no spread between seeds.
    """
    comparisons = [_comparison(stages[0], other, pairs[other.name], seed, for_page) for other in stages[1:]]
    return RunComparison(
        schema=SCHEMA,
        runs=[stage.facts() for stage in stages],
        baseline=stages[0].name,
        overview=[line for comparison in comparisons for line in overview(comparison)],
        comparisons=comparisons,
        nearer=nearer_runs({stage.name: [stage] for stage in stages}, seed),
        seeds=[] if for_page else seed_groups(stages),
        environment=environment(),
    )


def nearer_runs(stages: Mapping[str, Sequence[Stage]], seed: int = 0) -> list[Nearer]:
    """Every two runs whose mean |SS - 50| a test distinguishes, of those that have items of StereoSet.

    Args:
        stages: {name: the last stages of all seeds}; of a single run one.
    """
    found = {name: [outcomes_by_score(one, "stereoset").get("ss", []) for one in of] for name, of in stages.items()}
    tests = nearer_to_50({name: states for name, states in found.items() if all(states)}, seed=seed)
    return [Nearer(nearer=one.nearer, farther=one.farther, p_holm=one.p_holm) for one in tests]


def overview(comparison: Compared) -> Iterator[OverviewLine]:
    """One line for each main score of every benchmark, base against run; scores are never combined into one number.

    Where the ideal is 50, the mean distances follow: bias types or target terms at 40 and 60 average to 50.
    """
    for benchmark, found in comparison.benchmarks.items():
        where: dict[str, Any] = {"benchmark": benchmark, "run": comparison.run}
        for name, value in found.values.items():
            a, b, change = value.a, value.b, value.change_percent
            yield OverviewLine(**where, score=name, a=a, b=b, change_percent=change, verdict=None)
        for score, parts in found.scores.items():
            if not _in_overview(benchmark, score):
                continue
            yield _line(where, score, parts.ideal, parts.overall)
            if _has_distances(benchmark, score, parts.ideal) and len(parts.bias_types) > 1 and parts.distance:
                for over, row in parts.distance.parts.items():
                    yield _line(where, f"mean |{score} - 50|, {over.replace('_', ' ')}", 0.0, row)


def seed_groups(stages: Sequence[Stage]) -> list[SeedGroup]:
    """Runs that differ in their seed only: mean and standard deviation of every score, overall and per bias type.

    The mean interval of a single run is given as well: it covers the variation of items, not that of training.
    """
    groups: dict[str, list[Stage]] = defaultdict(list)
    for stage in stages:
        if key := _all_but_seed(stage):
            groups[key].append(stage)
    found = []
    for group in groups.values():
        configs = [stage.results.config for stage in group]
        seeds = [config.seed for config in configs if config and config.seed is not None]
        if len(set(seeds)) < 2:
            continue
        benchmarks = [name for name in group[0].entries if all(name in stage.entries for stage in group)]
        spreads = {name: _spread([stage.entries[name] for stage in group]) for name in benchmarks}
        found.append(SeedGroup(runs=[stage.name for stage in group], seeds=seeds, benchmarks=spreads))
    return found


def _paired(
    first: Stage, other: Stage, known: Mapping[str, Mapping[str, Units]], for_page: bool
) -> Iterator[tuple[str, dict[str, Pairs]]]:
    """Every common benchmark, with the pairs of every score. `known`: the outcomes of the first stage."""
    shared = [name for name in first.entries if name in other.entries]
    if not shared:
        lists = (", ".join(stage.entries) for stage in (first, other))
        raise RequestError(f"{first.name} and {other.name} have no benchmark in common: {' against '.join(lists)}")
    for name in shared:
        check_same_data(name, first, other)
        theirs = outcomes_by_score(other, name)
        joined: dict[str, Pairs] = {}
        for score, ours in known[name].items():
            if score not in theirs or (for_page and joined and not _in_overview(name, score)):
                continue
            pairs = pair_units(ours, theirs[score])
            if pairs is not None:
                joined[score] = pairs
        yield name, joined


def _in_overview(benchmark: str, score: str) -> bool:
    return score in own_scores(benchmark) or score in more_compared(benchmark)


def _has_distances(benchmark: str, score: str, ideal: float | None) -> bool:
    """Whether the overview has the mean distances of a score. Where the ideal is 50, bias types can average out."""
    return score in own_scores(benchmark) and ideal == 50


def _comparison(
    first: Stage, other: Stage, paired: Mapping[str, Mapping[str, Pairs]], seed: int, for_page: bool
) -> Compared:
    benchmarks = {}
    for name, by_score in paired.items():
        entries = first.entries[name], other.entries[name]
        if not by_score:
            benchmarks[name] = ComparedBenchmark(values=_values(*entries))
            continue
        scores: dict[str, TestedScore] = {}
        for score, pairs in by_score.items():
            average: Any = "clusters" if over_clusters(name, score) else "units"
            ideal = ideal_of(name, score)
            alone = for_page and bool(scores) and not _has_distances(name, score, ideal)
            tested = compare_score(pairs, ideal, average, overall_only=alone, seed=seed)
            scores[score] = _as_stored(TestedScore.of(tested), score, *entries)
        found = ComparedBenchmark(scores=scores)
        arms = _judged_arms(*entries)
        benchmarks[name] = found.with_values(judged=arms) if arms else found
    apart = sorted(first.entries.keys() ^ other.entries.keys())
    return Compared(run=other.name, benchmarks=benchmarks, not_shared=apart)


def _judged_arms(first: BenchmarkResult, other: BenchmarkResult) -> JudgedArms | None:
    """The states of the answers of both runs; None where the benchmark is not judged."""
    if not isinstance(first, JudgedResult) or not isinstance(other, JudgedResult):
        return None
    a, b = (entry.states.get("overall", {}) for entry in (first, other))
    apart = []
    if _judges_of(first) != _judges_of(other):
        apart.append("the answers were judged by other judges, or with another wording of the task")
    if abs(unscored_share(a) - unscored_share(b)) > FAR_APART:
        apart.append(
            f"{unscored_share(a):.1f} % and {unscored_share(b):.1f} % of the answers are unscored; they may differ by "
            f"{FAR_APART:g} points"
        )
    return JudgedArms(a=a, b=b, apart=apart)


def _judges_of(entry: JudgedResult) -> tuple[str, set[str]] | None:
    known = entry.judging
    return None if known is None else (known.template, {judge.judge for judge in known.judges})


def _as_stored(
    found: TestedScore, score: str, first: BenchmarkResult, other: BenchmarkResult
) -> TestedScore:
    """Replaces intervals by those of the runs' own results, so that no score has two."""
    types = {
        name: _with_stored(row, score, first.parts.get(name), other.parts.get(name))
        for name, row in found.bias_types.items()
    }
    overall = _with_stored(found.overall, score, first.whole, other.whole)
    if score == "ss" and isinstance(other, StereoSetResult):
        overall = overall.with_values(polarised=hides_polarisation(other.overall))
        types = {
            name: row.with_values(polarised=hides_polarisation(other.bias_types[name])) if name in other.bias_types
            else row
            for name, row in types.items()
        }  # fmt: skip
    return found.with_values(overall=overall, bias_types=types)


def _with_stored(row: TestedRow, score: str, a: ScoredPart | None, b: ScoredPart | None) -> TestedRow:
    """Only of the same value: the stored score may be a mean over more units than the paired ones."""
    stored = {}
    for side, part, own in (("a", a, row.a), ("b", b, row.b)):
        known = part.scores.get(score) if part else None
        if isinstance(known, Interval) and abs(known.value - own.value) < 1e-6:
            stored[side] = known
    return row.with_values(**stored)


def _values(first: BenchmarkResult, other: BenchmarkResult) -> dict[str, ValueChange]:
    """Scores without items: the two values, and the change in percent."""
    found = {}
    theirs = _main_scores(other.whole)
    for name, one in _main_scores(first.whole).items():
        if name in theirs:
            a, b = one.value, theirs[name].value
            change = 100 * (b / a - 1) if a else None
            found[name] = ValueChange(a=Metric(value=a), b=Metric(value=b), change_percent=change)
    return found


def _main_scores(part: ScoredPart) -> dict[str, Metric]:
    """The scores of a part that have an interval; its plain numbers where none has."""
    found = {
        name: Metric(value=one.value, low=one.low, high=one.high)
        for name, one in part.scores.items() if isinstance(one, Interval | Metric)
    }  # fmt: skip
    return found or {name: Metric(value=one) for name, one in part.scores.items() if isinstance(one, float)}


def _line(
    where: Mapping[str, Any], score: str, ideal: float | None, row: TestedRow | DistanceOverTypes
) -> OverviewLine:
    a, b = (Metric.model_validate(side.to_dict()) for side in (row.a, row.b))
    names = ("p", "smallest_difference", "over_debiased", "polarised")
    tested: dict[str, Any] = {name: getattr(row, name, None) for name in names}
    if tested["over_debiased"] is not None and isinstance(row, TestedRow):
        tested["base_over_debiased"] = ideal == 50 and row.a.high < 50
    return OverviewLine(
        **where, score=score, ideal=ideal, a=a, b=b, difference=row.difference, **tested, verdict=row.verdict
    )


def _all_but_seed(stage: Stage) -> str | None:
    """Everything that a trained run depends on except its seed, as one string; None for an untrained one."""
    results = stage.results
    if stage.label != "after" or results.config is None or results.config.seed is None:
        return None
    data = results.data
    files = [file.sha256 if file else None for file in (data.train, data.unrelated, data.report)]
    recipe = {key: value for key, value in results.config.to_dict().items() if key != "seed"}
    made_of = [results.model, results.method, files, recipe]
    return json.dumps(made_of, sort_keys=True, default=str)


def _spread(entries: Sequence[BenchmarkResult]) -> SpreadOfBenchmark:
    parts = [entry.parts for entry in entries]
    names = [name for name in parts[0] if all(name in own for own in parts)]
    return SpreadOfBenchmark(
        overall=_spread_of([entry.whole for entry in entries]),
        bias_types={name: _spread_of([own[name] for own in parts]) for name in names},
    )


def _spread_of(parts: Sequence[ScoredPart]) -> dict[str, SeedSpread]:
    found = {}
    rows = [_main_scores(part) for part in parts]
    for score in rows[0]:
        shown = [row[score] for row in rows if score in row]
        if len(shown) < len(rows):
            continue
        values = [one.value for one in shown]
        ends: dict[str, Any] = {}
        for end in ("low", "high"):
            known = [value for one in shown if (value := getattr(one, end)) is not None]
            ends |= {end: statistics.fmean(known)} if len(known) == len(shown) else {}
        found[score] = SeedSpread(values=values, mean=statistics.fmean(values), sd=statistics.stdev(values), **ends)
    return found


def _new_folder(out: str | Path) -> RunFolder:
    if (Path(out) / FILE).exists():
        raise RequestError(f"{out}: already holds a comparison; choose another --out or remove it")
    return new_run(out)


def _write_items(path: Path, pairs: Mapping[str, Mapping[str, Mapping[str, Pairs]]]) -> None:
    """One row per run, benchmark, score and unit: the value of the baseline (a), of the run (b), and b - a."""
    import pyarrow
    import pyarrow.parquet

    parts = [
        pyarrow.table(
            {
                "run": [run] * len(found.units), "benchmark": [benchmark] * len(found.units),
                "score": [score] * len(found.units), "unit": found.units, "cluster": found.clusters,
                "bias_type": found.bias_types, "a": found.values[:, 0], "b": found.values[:, 1],
                "difference": found.values[:, 1] - found.values[:, 0],
            }
        )
        for run, benchmarks in pairs.items()
        for benchmark, scores in benchmarks.items()
        for score, found in scores.items()
    ]  # fmt: skip
    with whole_file(path) as temporary:
        pyarrow.parquet.write_table(pyarrow.concat_tables(parts) if parts else pyarrow.table({}), temporary)
