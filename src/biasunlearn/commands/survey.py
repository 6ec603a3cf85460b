"""`survey`: every method under one budget, on several seeds, in one table.

Each method and seed is an ordinary `debias` run in a folder of its own. A method has defaults of its own
(method_defaults.py); sets, splits, steps, evaluations and stop rule are the same for all.
"""

import math
import statistics
import typing
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from biasunlearn.benchmarks import JUDGED
from biasunlearn.commands.compare import nearer_runs
from biasunlearn.commands.evaluation import CONTINUATIONS
from biasunlearn.commands.measure import measure
from biasunlearn.commands.repeated_runs import Common, Experiment, experiment_of
from biasunlearn.commands.run_stages import own_scores, read_stage
from biasunlearn.commands.shared_queue import run_when_free
from biasunlearn.config import DebiasConfig, Method, load_config
from biasunlearn.errors import DataError, RequestError
from biasunlearn.report.charts.pareto import front
from biasunlearn.report.survey import survey_page
from biasunlearn.report.tables.survey import BASE_MODEL, OF_TYPE, point_of
from biasunlearn.runs.benchmark_results import JudgedResult, Measured, PanelResult, PerplexityResult
from biasunlearn.runs.comparison import Nearer
from biasunlearn.runs.folder import SCHEMA, RunFolder, environment
from biasunlearn.runs.lock import FolderInUse
from biasunlearn.runs.places import check_out
from biasunlearn.runs.results import Results, only_given
from biasunlearn.runs.scores import Interval, hides_polarisation
from biasunlearn.runs.sections import Cost
from biasunlearn.runs.series import EndedRun, MeanCost, SeedScore, Survey, SurveyedMethod, mean_over_seeds
from biasunlearn.scoring.prompt_baseline import check_baseline
from biasunlearn.scoring.protocol import EvalOptions

KNOWN: tuple[str, ...] = typing.get_args(Method)

METHODS = tuple(method for method in KNOWN if not method.startswith("trl:"))
"""What is run where no methods are named. The trainers of TRL are an outside check, and run where they are named."""

ON_TEXT = ("cda", "dropout")
"""Methods that train on ordinary text, which is given to them as unrelated sentences."""


def survey(
    model: str,
    *,
    train: str,
    out: str | Path,
    text: str | None = None,
    methods: Sequence[str] = METHODS,
    seeds: Sequence[int] = (0, 1, 2),
    config: str | Path | None = None,
    changes: Sequence[str] = (),
    baselines: Sequence[str] = (),
    **common: Unpack[Common],
) -> Survey:
    """Runs every method with every seed in `out`/METHOD/seed-N, and compares them with each other and with the base.

    Called again, it continues: finished runs are read, and one that was killed is resumed. Called by several processes
    at the same time with the same `out`, each takes runs that no other has taken, and all end with all results. A
    method that cannot run (its package is missing, or the model does not fit) is listed with the reason, and the others
    continue.

    Args:
        model: a folder, or a name on the hub.
        train: pairs to learn from, as for `debias`.
        out: folder to write; every run has a folder of its own in it.
        text: ordinary sentences for `cda` and `dropout`, in place of `unrelated`.
        methods: names of methods (default: all but those of TRL: trl:dpo, trl:orpo, trl:kto).
        seeds: every method is run with each of them.
        config: a recipe, by name or file; its values take precedence over the methods' defaults.
        changes: key=value, for all methods; they take precedence over both.
        baselines: prompting baselines, measured on the judged benchmarks without training
            (scoring/prompt_baseline.py); stored in `out`/prompting.
        common: report, unrelated, benchmarks and so on, as for `debias` (commands/repeated_runs.py).
    Returns:
        Every method with its scores, nearest to 50 first where a test distinguishes them, as stored in
        `out`/survey.json; report.html shows the same.
    Raises:
        RequestError: as `debias`; an unknown method; none of the methods could run.
        Interrupted: Ctrl-C; call again to continue.
    """
    check_out(out, model)
    configs = _configs(methods, seeds, config, changes)
    common = _sharing_replies(common, Path(out))
    experiment = experiment_of(model, common)
    _check_baselines(experiment, baselines)
    found, refused = _run_all(experiment, configs, Path(out), train, text)
    if not found:
        raise next(iter(refused.values()))
    prompting = _prompting(experiment, baselines, Path(out), next(iter(configs.values()))[0])
    nearer = _nearer(Path(out), {method: [one.seed for one in configs[method]] for method in found})
    rows = _nearest_first({method: _row(runs) for method, runs in found.items()}, nearer)
    points = [point for method, row in rows.items() if (point := point_of(method, row.scores))]
    result = Survey(
        schema=SCHEMA,
        base=scores_of(next(iter(found.values()))[0].before),
        methods=rows,
        front=[point.letter for point in front(points)],
        nearer=nearer,
        refused={method: str(error) for method, error in refused.items()},
        **({"prompting": prompting} if prompting else {}),
        environment=environment(),
        model=model,
        seeds=[*seeds],
        changes=[*changes],
        text=text,
    )
    folder = RunFolder(Path(out))
    folder.write_json("survey.json", result.to_dict())
    folder.write_text("report.html", survey_page(result))
    return result


def _sharing_replies(common: Common, out: Path) -> Common:
    """The same with one folder of stored texts for all runs, so that a judge reads nothing twice."""
    options = common.get("options") or EvalOptions()
    shared: Common = {**common, "options": replace(options, cache=options.cache or out / CONTINUATIONS)}
    return shared


def _check_baselines(experiment: Experiment, baselines: Sequence[str]) -> None:
    """RequestError, before anything is trained, for an unknown baseline or one without a benchmark to measure it on."""
    for name in baselines:
        check_baseline(name)
    if baselines and not set(experiment.plan.benchmarks) & set(JUDGED):
        raise RequestError("--baselines: prompting needs a judged benchmark; add --responses NAME=PATH")


def _prompting(
    experiment: Experiment, baselines: Sequence[str], out: Path, config: DebiasConfig
) -> dict[str, dict[str, SeedScore | None]]:
    """The scores of every prompting baseline on the judged benchmarks, without training."""
    judged = {name: path for name, path in experiment.plan.benchmarks.items() if name in JUDGED}
    names, found = [*dict.fromkeys(baselines)], {}

    def run(name: str) -> None:
        folder, spec = out / "prompting" / name, experiment.model
        experiment.callbacks.message(f"{name}: {folder}")
        results = measure(
            spec.model, judged, out=folder, dtype=config.dtype, batch_tokens=config.batch_tokens, device=spec.device,
            revision=spec.revision,
            trust_remote_code=spec.trust_remote_code, skip_invalid=experiment.plan.skip_invalid,
            resume=folder.exists(), options=replace(experiment.plan.options, prompting=name),
        )  # fmt: skip
        found[name] = _judged_scores(results.benchmarks)

    run_when_free(names, run, experiment.callbacks)
    return {name: found[name] for name in names}


def _judged_scores(measured: Measured) -> dict[str, SeedScore | None]:
    """Every shown score of the judged benchmarks."""
    return {
        f"{benchmark} {score}": _seed_score(entry.overall.interval(score))
        for benchmark, entry in measured.entries.items() if isinstance(entry, JudgedResult)
        for score in entry.shown_scores
    }  # fmt: skip


def _run_all(
    experiment: Experiment, configs: Mapping[str, Sequence[DebiasConfig]], out: Path, train: str, text: str | None
) -> tuple[dict[str, list[Results]], dict[str, RequestError]]:
    """The results of every method by seed, and why other methods cannot run."""
    found: dict[tuple[str, int], Results] = {}
    refused: dict[str, RequestError] = {}

    def run(task: tuple[str, DebiasConfig]) -> None:
        method, config = task
        if method in refused:
            return
        what, folder = f"{method}, seed {config.seed}", out / method / f"seed-{config.seed}"
        own_text = text if method in ON_TEXT else None
        try:
            found[method, config.seed] = experiment.run(what, folder, config, train=train, unrelated=own_text)
        except (DataError, FolderInUse):
            raise
        except RequestError as error:
            refused[method] = error
            experiment.callbacks.message(f"{method} is left out: {error}")

    run_when_free([(method, one) for method, each in configs.items() for one in each], run, experiment.callbacks)
    kept = {method: each for method, each in configs.items() if method not in refused}
    return {method: [found[method, one.seed] for one in each] for method, each in kept.items()}, refused


def _nearer(out: Path, seeds: Mapping[str, Sequence[int]]) -> list[Nearer]:
    """Every two methods, and the base model, whose distances from 50 a test distinguishes."""
    folders = {method: [str(out / method / f"seed-{seed}") for seed in of] for method, of in seeds.items()}
    base = read_stage(f"{next(iter(folders.values()))[0]}:before")
    return nearer_runs({BASE_MODEL: [base], **{method: [*map(read_stage, of)] for method, of in folders.items()}})


def _configs(
    methods: Sequence[str], seeds: Sequence[int], config: str | Path | None, changes: Sequence[str]
) -> dict[str, list[DebiasConfig]]:
    """Every method with its configuration for each seed."""
    if unknown := sorted(set(methods) - set(KNOWN)):
        raise RequestError(f"--methods {unknown[0]}: unknown; known: {', '.join(KNOWN)}")
    if not methods or not seeds:
        raise RequestError("survey: nothing to run; give at least one method and one seed")
    if set_by := next((one for one in changes if one.partition("=")[0].strip() in ("method", "seed")), None):
        raise RequestError(f"--set {set_by}: a survey runs several of them: use --methods and --seeds")
    return {
        method: [load_config(config, [*changes, f"method={method}", f"seed={seed}"]) for seed in seeds]
        for method in dict.fromkeys(methods)
    }


def _nearest_first(rows: Mapping[str, SurveyedMethod], nearer: Sequence[Nearer]) -> dict[str, SurveyedMethod]:
    """Those first that few methods are shown to be nearer than; in the order requested where no test decides."""
    behind = Counter(one.farther for one in nearer)
    return {method: rows[method] for method in sorted(rows, key=lambda method: behind[method])}


def _row(runs: Sequence[Results]) -> SurveyedMethod:
    """A method's seeds as one row; scores are combined by `over_seeds`."""
    each = [scores_of(run.benchmarks) for run in runs]
    costs = [run.cost for run in runs if run.cost and not run.cost.resumed]
    ends = [run.stopped for run in runs if run.stopped]
    seeds = [run.config.seed if run.config else None for run in runs]
    return SurveyedMethod(
        scores=mean_over_seeds(each),
        unchanged=sum(_same(scores_of(run.before), after) for run, after in zip(runs, each, strict=True)),
        collapsed=sum(run.collapsed for run in runs),
        polarised=_polarised(runs),
        steps=statistics.fmean(end.step for end in ends),
        cost=_mean_cost(costs) if costs else None,
        runs=[EndedRun(seed=seed, **end.given) for seed, end in zip(seeds, ends, strict=True)],
    )


def _polarised(runs: Sequence[Results]) -> dict[str, int]:
    """{score: seeds with which it is an SS near 50 that hides differences between target terms or subgroups}"""
    counts: Counter[str] = Counter()
    for run in runs:
        if entry := run.benchmarks.stereoset:
            rows = {"ss": entry.overall, **{f"{OF_TYPE}{name}": row for name, row in entry.bias_types.items()}}
            counts.update(name for name, row in rows.items() if hides_polarisation(row))
    return dict(counts)


def _mean_cost(costs: Sequence[Cost]) -> MeanCost:
    return MeanCost(
        seconds=statistics.fmean(cost.seconds for cost in costs),
        processor_seconds=statistics.fmean(cost.processor_seconds for cost in costs),
        memory=statistics.fmean(cost.memory for cost in costs),
    )


def scores_of(measured: Measured | None) -> dict[str, SeedScore | None]:
    """The scores of a run that the table shows.

    SS of every bias type, SS, distance, LMS, ICAT, group part and SS of unseen wording of StereoSet, the first score of
    every other benchmark, and perplexity by token.
    """
    if measured is None or measured.stereoset is None:
        return {}
    overall, rows = measured.stereoset.overall, measured.stereoset.bias_types
    found: dict[str, Interval | None] = {f"{OF_TYPE}{name}": row.ss for name, row in rows.items()}
    found |= {"ss": overall.ss, "distance": overall.ss_distance, "lms": overall.lms, "icat": overall.icat}
    found |= only_given(margin_group=overall.margin_group)
    if seen := overall.unseen_wording:
        parts = {"ss_one_seen": seen.one, "ss_none_seen": seen.neither}
        found |= {name: part.ss if part else None for name, part in parts.items()}
    shown = {name: _seed_score(one) for name, one in found.items()}
    for benchmark, entry in measured.entries.items():
        if isinstance(entry, PerplexityResult):
            shown[benchmark] = SeedScore(value=entry.per_token)
        elif isinstance(entry, JudgedResult):
            shown |= _judged_scores(Measured.model_validate({benchmark: entry}))
        elif isinstance(entry, PanelResult) and (score := next(iter(own_scores(benchmark)), None)):
            one = entry.overall.interval(score)
            shown[f"{benchmark} {score}"] = _seed_score(one)
    return shown


def _seed_score(score: Interval | None) -> SeedScore | None:
    return None if score is None else SeedScore.model_validate(score.to_dict())


def _same(one: Mapping[str, SeedScore | None], other: Mapping[str, SeedScore | None]) -> bool:
    """Whether the scores are equal up to rounding, which differs with an adapter that does nothing."""
    both = [(a, b) for name in one if (a := one[name]) and (b := other.get(name))]
    return all(math.isclose(a.value, b.value, rel_tol=1e-5) for a, b in both)
