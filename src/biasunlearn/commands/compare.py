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
    outcomes_by_score,
    over_clusters,
    own_scores,
    read_stage,
)
from biasunlearn.errors import RequestError
from biasunlearn.runs.atomic import whole_file
from biasunlearn.runs.folder import SCHEMA, RunFolder, environment, new_run
from biasunlearn.runs.lock import releasing_locks
from biasunlearn.runs.results import BenchmarkResult, Interval, Metric, ScoredPart
from biasunlearn.stats.paired import Pairs, compare_score, pair

FILE = "compare.json"


@releasing_locks()
def compare(runs: Sequence[str | Path], *, out: str | Path | None = None, seed: int = 0) -> dict[str, Any]:
    """Compares runs with the first one: paired tests per benchmark, score and bias type, and a verdict in words.

    Args:
        runs: two or more run folders. RUN is the result of a `debias` run, RUN:before its base model.
        out: a folder for compare.json and items.parquet (the values of every unit).
        seed: of the bootstrap.
    Returns:
        {"schema", "runs", "baseline", "comparisons": [{"run", "benchmarks": {name: {"scores": {...}} or
         {"values": {...}}}, "not_shared"}], "overview": one line per benchmark and score, "seeds": spread between
         runs that differ in their seed only, "environment"}
    Raises:
        RequestError: no finished run, nothing in common, or runs measured on different data.
    """
    names = [str(run) for run in runs]
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
        folder.write_json(FILE, result)
    return result


def paired_with_first(stages: Sequence[Stage]) -> dict[str, dict[str, dict[str, Pairs]]]:
    """Every other stage paired with the first one, unit by unit: {stage: {benchmark: {score: pairs}}}."""
    return {other.name: dict(_paired(stages[0], other)) for other in stages[1:]}


def compare_stages(
    stages: Sequence[Stage], pairs: Mapping[str, Mapping[str, Mapping[str, Pairs]]], seed: int = 0
) -> dict[str, Any]:
    """The result of `compare`, for stages that are already read."""
    comparisons = [_comparison(stages[0], other, pairs[other.name], seed) for other in stages[1:]]
    return {
        "schema": SCHEMA,
        "runs": [stage.facts() for stage in stages],
        "baseline": stages[0].name,
        "overview": [line for comparison in comparisons for line in overview(comparison)],
        "comparisons": comparisons,
        "seeds": seed_groups(stages),
        "environment": environment().to_dict(),
    }


def overview(comparison: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One line for each main score of every benchmark, base against run; scores are never combined into one number.

    Where the ideal is 50, the mean distances follow: bias types or target terms at 40 and 60 average to 50.
    """
    for benchmark, found in comparison["benchmarks"].items():
        where = {"benchmark": benchmark, "run": comparison["run"]}
        for name, value in found.get("values", {}).items():
            yield {**where, "score": name, **value, "verdict": None}
        for score, parts in found.get("scores", {}).items():
            if score not in own_scores(benchmark):
                continue
            yield {**where, "score": score, "ideal": parts["ideal"], **_line(parts["overall"])}
            if parts["ideal"] == 50 and len(parts["bias_types"]) > 1:
                for over, entry in parts["distance"].items():
                    label = f"mean |{score} - 50|, {over.replace('_', ' ')}"
                    yield {**where, "score": label, "ideal": 0.0, **_line(entry)}


def seed_groups(stages: Sequence[Stage]) -> list[dict[str, Any]]:
    """Runs that differ in their seed only: mean and standard deviation of every score, overall and per bias type.

    The mean interval of a single run is given as well: it covers the variation of items, not that of training.
    """
    groups: dict[str, list[Stage]] = defaultdict(list)
    for stage in stages:
        if key := _all_but_seed(stage):
            groups[key].append(stage)
    found = []
    for group in groups.values():
        seeds = [stage.results.config.seed for stage in group if stage.results.config]
        if len(set(seeds)) < 2:
            continue
        benchmarks = [name for name in group[0].entries if all(name in stage.entries for stage in group)]
        found.append(
            {
                "runs": [stage.name for stage in group],
                "seeds": seeds,
                "benchmarks": {name: _spread([stage.entries[name] for stage in group]) for name in benchmarks},
            }
        )
    return found


def _paired(first: Stage, other: Stage) -> Iterator[tuple[str, dict[str, Pairs]]]:
    """Every common benchmark, with the pairs of every score."""
    shared = [name for name in first.entries if name in other.entries]
    if not shared:
        lists = (", ".join(stage.entries) for stage in (first, other))
        raise RequestError(f"{first.name} and {other.name} have no benchmark in common: {' against '.join(lists)}")
    for name in shared:
        check_same_data(name, first, other)
        ours, theirs = outcomes_by_score(first, name), outcomes_by_score(other, name)
        joined = {score: pair(ours[score], theirs[score]) for score in ours if score in theirs}
        yield name, {score: pairs for score, pairs in joined.items() if pairs is not None}


def _comparison(first: Stage, other: Stage, paired: Mapping[str, Mapping[str, Pairs]], seed: int) -> dict[str, Any]:
    benchmarks: dict[str, Any] = {}
    for name, by_score in paired.items():
        if not by_score:
            benchmarks[name] = {"values": _values(first.entries[name], other.entries[name])}
            continue
        scores = {}
        for score, pairs in by_score.items():
            average: Any = "clusters" if over_clusters(name, score) else "units"
            scores[score] = compare_score(pairs, ideal_of(name, score), average, seed=seed)
            _as_stored(scores[score], score, first.entries[name], other.entries[name])
        benchmarks[name] = {"scores": scores}
    apart = sorted(first.entries.keys() ^ other.entries.keys())
    return {"run": other.name, "benchmarks": benchmarks, "not_shared": apart}


def _as_stored(found: dict[str, Any], score: str, first: BenchmarkResult, other: BenchmarkResult) -> None:
    """Replaces intervals by those of the runs' own results, so that no score has two."""
    for key, entry in (("a", first), ("b", other)):
        parts = entry.parts
        rows = [(found["overall"], entry.whole)]
        rows += [(row, parts[name]) for name, row in found["bias_types"].items() if name in parts]
        for row, part in rows:
            known = part.scores.get(score)
            if isinstance(known, Interval) and abs(known.value - row[key]["value"]) < 1e-6:
                row[key] = known.to_dict()


def _values(first: BenchmarkResult, other: BenchmarkResult) -> dict[str, Any]:
    """Scores without items: the two values, and the change in percent."""
    found = {}
    theirs = _main_scores(other.whole)
    for name, one in _main_scores(first.whole).items():
        if name in theirs:
            a, b = one.value, theirs[name].value
            found[name] = {"a": {"value": a}, "b": {"value": b}, "change_percent": 100 * (b / a - 1) if a else None}
    return found


def _main_scores(part: ScoredPart) -> dict[str, Metric]:
    """The scores of a part that have an interval; its plain numbers where none has."""
    found = {
        name: Metric(value=one.value, low=one.low, high=one.high)
        for name, one in part.scores.items() if isinstance(one, Interval | Metric)
    }  # fmt: skip
    return found or {name: Metric(value=one) for name, one in part.scores.items() if isinstance(one, float)}


def _line(entry: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("a", "b", "difference", "p", "smallest_difference", "over_debiased", "verdict")
    return {key: entry.get(key) for key in kept}


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


def _spread(entries: Sequence[BenchmarkResult]) -> dict[str, Any]:
    parts = [entry.parts for entry in entries]
    names = [name for name in parts[0] if all(name in own for own in parts)]
    return {
        "overall": _spread_of([entry.whole for entry in entries]),
        "bias_types": {name: _spread_of([own[name] for own in parts]) for name in names},
    }


def _spread_of(parts: Sequence[ScoredPart]) -> dict[str, Any]:
    found = {}
    rows = [_main_scores(part) for part in parts]
    for score in rows[0]:
        shown = [row[score] for row in rows if score in row]
        if len(shown) < len(rows):
            continue
        values = [one.value for one in shown]
        spread = {"values": values, "mean": statistics.fmean(values), "sd": statistics.stdev(values)}
        for end in ("low", "high"):
            known = [value for one in shown if (value := getattr(one, end)) is not None]
            spread |= {end: statistics.fmean(known)} if len(known) == len(shown) else {}
        found[score] = spread
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
