"""`sweep`: the best settings for a model, searched on the stop split; only the chosen point is run on the report split.

The search is done by Optuna (extra `[sweep]`). Its study is a journal file in the output folder, or a database given by
URL, which several processes and machines may share. Killed and called again, a sweep continues with the missing trials.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from biasunlearn.commands.repeated_runs import Common, Experiment, experiment_of
from biasunlearn.config import DebiasConfig, to_dict
from biasunlearn.errors import RequestError
from biasunlearn.report.sweep import sweep_page
from biasunlearn.runs.folder import RunFolder
from biasunlearn.runs.identity import first_difference, identity
from biasunlearn.runs.places import check_out
from biasunlearn.runs.results import MetricsRow, Results
from biasunlearn.runs.series import ChosenRun, Knee, Sweep, SweepRequest, Trial
from biasunlearn.unlearn.prepare import Prepared
from biasunlearn.unlearn.stop import distance

SPACE: Mapping[str, tuple[Any, ...]] = {
    "beta": ("log", 0.03, 0.5),
    "lora_rank": ("one of", 4, 8, 16, 32),
    "adversarial_share": ("linear", 0.0, 0.5),
    "forget_weight": ("linear", 0.2, 0.8),
    "retain_weight": ("linear", 0.2, 0.8),
    "kl_weight": ("log", 0.3, 8.0),
    "learning_rate": ("log", 1e-4, 3e-3),
    "margin": ("linear", 1.0, 4.0),
}
"""{key of the recipe: scale and range from which it is drawn}. The other keys are those of the recipe."""

Watch = Callable[[float, tuple[float, float]], None]
"""Called at each evaluation with the distance from the goal and (mean |SS - 50|, LMS lost)."""

PRUNED_FROM = 2
"""The first evaluation at which a trial may be pruned."""

COMPARED_WITH = 4
"""Finished trials that are needed before a trial may be pruned."""


def sweep(
    model: str,
    *,
    train: str,
    out: str | Path,
    config: DebiasConfig | None = None,
    trials: int = 30,
    seeds: Sequence[int] = (0,),
    storage: str | None = None,
    search_only: bool = False,
    **common: Unpack[Common],
) -> Sweep:
    """Searches until the study has `trials` finished trials, then runs the knee of the front with every seed.

    Args:
        model: a folder, or a name on the hub.
        train: pairs to learn from, as for `debias`.
        out: folder to write; every run has a folder of its own in it.
        config: the recipe (default: the default recipe).
        trials: of the whole study, including those of other processes and of earlier calls.
        seeds: every trial trains with each of them, and its values are the means.
        storage: Optuna's URL of a database; default: `out`/study.journal.
        search_only: only add trials, for the second and further machines.
        common: report, unrelated, benchmarks and so on, as for `debias` (commands/repeated_runs.py).
    Returns:
        The content of `out`/sweep.json: trials, front, knee, importance, and the runs of the chosen point; report.html
        beside it shows the same.
    Raises:
        RequestError: as `debias`; Optuna is not installed; a method without a gradient; a recipe that stops on the
            report split; a study of another request.
        Interrupted: Ctrl-C; call again to continue.
    """
    check_out(out, model)
    optuna, config = _optuna(), config or DebiasConfig()
    if trials < 1 or not seeds:
        raise RequestError("sweep: needs at least one trial and one seed")
    if config.lora_rank == 0:
        raise RequestError("lora_rank: 0; a sweep trains adapters: --set lora_rank=8 or the like")
    if config.stop_on == "report":
        raise RequestError("stop_on: report; a sweep would choose the settings on the report split: use held_out")
    experiment = experiment_of(model, common)
    config = _with_rate(experiment, config)
    prepared = experiment.prepared(train, config)
    parts = prepared.facts.splits.parts if prepared.facts.splits else {}
    splits = {name: part.sha256 for name, part in parts.items()}
    read = {"model": model, "train": train, "report": common["report"], "unrelated": common.get("unrelated")}
    request = {"model": model, "recipe": to_dict(config), "seeds": [*seeds], "splits": splits}
    request["identity"] = identity({**request, "sweep": read, "model": None})
    study = _study(optuna, Path(out), storage, request)
    _search(optuna, study, _objective(optuna, study, experiment, config, train, seeds), trials)
    result = _result(optuna, study, SweepRequest.model_validate(request))
    if not search_only and result.knee is not None:
        best, params = result.front[result.knee.place], dict[str, Any](result.front[result.knee.place].params)
        chosen = _run_chosen(experiment, best, replace(config, **params), train, seeds, Path(out))
        result = result.with_values(chosen=chosen)
    folder = RunFolder(Path(out))
    folder.write_json("sweep.json", result.to_dict())
    folder.write_text("report.html", sweep_page(result))
    return result


def _with_rate(experiment: Experiment, config: DebiasConfig) -> DebiasConfig:
    """The recipe with a learning rate, so that the first trial can be the recipe itself."""
    from biasunlearn.models.load import load
    from biasunlearn.unlearn.learning_rate import with_rate

    if config.learning_rate:
        return config
    return with_rate(config, load(replace(experiment.model, dtype=config.dtype)).model)


def _search(optuna: Any, study: Any, objective: Any, trials: int) -> None:
    """Adds trials until the study has that many finished ones."""
    finished = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    if len(study.get_trials(deepcopy=False, states=finished)) < trials:
        study.optimize(objective, callbacks=[optuna.study.MaxTrialsCallback(trials, states=finished)])


def _objective(
    optuna: Any, study: Any, experiment: Experiment, config: DebiasConfig, train: str, seeds: Sequence[int]
) -> Callable[[Any], tuple[float, float]]:
    """The function of a trial that draws settings, trains with every seed, and returns the means of `_trained`."""

    def objective(trial: Any) -> tuple[float, float]:
        drawn = replace(config, **{key: _draw(trial, key) for key in SPACE})
        values = ", ".join(f"{key} {trial.params[key]:.4g}" for key in SPACE)
        experiment.callbacks.message(f"trial {trial.number}: {values}")
        ends = []
        for number, seed in enumerate(seeds):
            watch = _watch(optuna, trial, study) if number == 0 else None
            # Each seed splits the sets in its own way, as when the chosen point is run.
            sets = experiment.prepared(train, replace(drawn, seed=seed))
            ends.append(_trained(experiment, sets, replace(drawn, seed=seed), watch))
        return tuple(statistics.fmean(column) for column in zip(*ends, strict=True))  # type: ignore[return-value]

    return objective


def _run_chosen(
    experiment: Experiment,
    point: Trial,
    config: DebiasConfig,
    train: str,
    seeds: Sequence[int],
    out: Path,
) -> list[ChosenRun]:
    """The runs of the chosen point with every seed: their scores on the report split."""
    chosen = []
    for seed in seeds:
        folder = out / f"trial-{point.trial}" / f"seed-{seed}"
        results = experiment.run(
            f"trial {point.trial}, seed {seed}", folder, replace(config, seed=seed), train=train
        )
        chosen.append(_chosen_run(results, seed, folder))
    return chosen


def _chosen_run(results: Results, seed: int, folder: Path) -> ChosenRun:
    entry = results.benchmarks.stereoset
    scores = entry.overall.given if entry else {}
    return ChosenRun.model_validate({**scores, "seed": seed, "run": str(folder)})


def _trained(
    experiment: Experiment, prepared: Prepared, config: DebiasConfig, watch: Watch | None
) -> tuple[float, float]:
    """Mean |SS - 50| and the points of LMS lost, both on the stop split, of the checkpoint that a run would save."""
    from biasunlearn.benchmarks.stereoset import score_triplets
    from biasunlearn.commands.debias import Interrupted
    from biasunlearn.models.load import Loaded, load
    from biasunlearn.stats.stereoset import comparisons
    from biasunlearn.unlearn.checkpoint import Checkpointer
    from biasunlearn.unlearn.evaluation import Evaluation, StopScores, lms_fall_error, stop_scores
    from biasunlearn.unlearn.methods import METHODS, Task
    from biasunlearn.unlearn.objectives import OBJECTIVES

    if config.method not in OBJECTIVES:
        raise RequestError(f"method: {config.method}; only methods with gradient descent can be swept")
    loaded = load(replace(experiment.model, dtype=config.dtype, batch_tokens=config.batch_tokens))

    def scored(scorer: Loaded) -> StopScores:
        found = score_triplets(scorer, prepared.stop)
        return stop_scores(comparisons(found), seed=config.seed)

    def evaluate_stop(state: Any) -> StopScores:
        scores = scored(loaded.in_training(state))
        if watch:
            error = lms_fall_error(first.meaningful, scores.meaningful)
            far = distance(Evaluation(0, scores, lms_before=first.lms, fall_error=error), config)
            watch(far, _objectives(scores.ss, first.lms, scores.lms))
        return scores

    first, keep = scored(loaded.with_cache(experiment.base_scores.restarted())), Checkpointer(None)
    task = Task(loaded, prepared.sets, config, keep, evaluate_stop, first, on_step=experiment.callbacks.on_step)
    outcome = METHODS[config.method](task).outcome
    if outcome.interrupted:
        raise Interrupted("stopped; finished trials are stored, and the same command continues")
    evaluated = {row.step: row for row in map(MetricsRow.model_validate, keep.rows) if row.ss}
    best, first_row = evaluated[outcome.best_step], evaluated[0]
    return _objectives(best.ss or {}, first_row.lms, best.lms)


def _objectives(ss: Mapping[str, float], before: float | None, after: float | None) -> tuple[float, float]:
    """Mean |SS - 50| over bias types, and the points of LMS lost (0 where there are no unrelated sentences)."""
    lost = 0.0 if before is None or after is None else before - after
    return statistics.fmean(abs(value - 50) for value in ss.values()), lost


def _watch(optuna: Any, trial: Any, study: Any) -> Watch:
    """Prunes a trial at an evaluation where the median of the finished trials was nearer to the goal.

    This is the median rule of Golovin et al. (2017); Optuna's own pruners support a single objective only.
    """
    course: list[float] = []

    def watch(far: float, objectives: tuple[float, float]) -> None:
        course.append(far)
        trial.set_user_attr("course", course)
        trial.set_user_attr("last", [*objectives])
        states = (optuna.trial.TrialState.COMPLETE,)
        others = [t.user_attrs.get("course", []) for t in study.get_trials(deepcopy=False, states=states)]
        there = [other[len(course) - 1] for other in others if len(other) >= len(course)]
        if len(course) >= PRUNED_FROM and len(there) >= COMPARED_WITH and far > statistics.median(there):
            raise optuna.TrialPruned(f"at evaluation {len(course)}: {far:.1f} from the goal")

    return watch


def knee(front: Sequence[tuple[float, float]]) -> tuple[int, str]:
    """The index of the front's knee, and the reason for it.

    With both axes scaled to the extent of the front, the knee is the point farthest below the straight line between its
    ends: beyond it a reduction of bias costs more LMS than on average over the front, before it less. Gained LMS is no
    reason for more bias: of the points that lose none only the one with the smallest bias counts. A front of two points
    has no knee: the one with the smaller bias is chosen.

    Args:
        front: (mean |SS - 50|, LMS lost) of points none of which is worse than another one in both.
    """
    order = sorted(range(len(front)), key=lambda place: front[place])
    if len(front) > 1 and len(set(front)) == 1:
        return order[0], "the first of its points, which are all equal"
    order = order[: 1 + next((at for at, place in enumerate(order) if front[place][1] <= 0), len(order))]
    if len(front) > 1 and len(order) == 1:
        return order[0], "the smallest bias, and it costs no LMS"
    if len(order) < 3:
        return order[0], "the smallest bias: a front of fewer than three points has no knee"
    (low, most), (high, least) = front[order[0]], (front[order[-1]][0], max(0.0, front[order[-1]][1]))

    def below(place: int) -> float:
        bias, lost = front[place][0], max(0.0, front[place][1])
        return 1 - (bias - low) / ((high - low) or 1) - (lost - least) / ((most - least) or 1)

    best = max(order, key=below)
    if below(best) <= 0:
        return order[0], "the smallest bias: no point lies below the line between the ends of the front"
    return best, f"farthest below the line between the ends of the front, by {below(best):.2f} of its extent"


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise RequestError("sweep needs Optuna: pip install 'biasunlearn[sweep]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _study(optuna: Any, out: Path, storage: str | None, request: Mapping[str, Any]) -> Any:
    """The study of this request, created if there is none; the recipe's own settings are its first trial."""
    if storage is None:
        out.mkdir(parents=True, exist_ok=True)
        backend = optuna.storages.journal.JournalFileBackend(str(out / "study.journal"))
        store: Any = optuna.storages.JournalStorage(backend)
    else:
        store = storage
    try:
        study = optuna.create_study(
            study_name="biasunlearn", storage=store, directions=["minimize", "minimize"], load_if_exists=True,
            sampler=optuna.samplers.TPESampler(constant_liar=True),  # unseeded: machines must not draw the same values
        )  # fmt: skip
    except Exception as error:  # whatever a database or its driver raises
        raise RequestError(f"--storage {storage or out}: no study there: {str(error).splitlines()[0]}") from None
    stored = study.user_attrs.get("request")
    if stored is not None and (found := first_difference(stored.get("identity", {}), request["identity"])):
        where = storage or out
        raise RequestError(
            f"{where}: holds a study of another request ({found}); repeat that one, or choose another place"
        )
    study.set_user_attr("request", request)
    begun = (trial for trial in study.get_trials(deepcopy=False) if trial.state != optuna.trial.TrialState.FAIL)
    if next(begun, None) is None and all(_holds(key, request["recipe"][key]) for key in SPACE):
        study.enqueue_trial({key: request["recipe"][key] for key in SPACE})  # again, if Ctrl-C ended the first one
    return study


def _draw(trial: Any, key: str) -> Any:
    how, *values = SPACE[key]
    if how == "one of":
        return trial.suggest_categorical(key, values)
    return trial.suggest_float(key, *values, log=how == "log")


def _holds(key: str, value: Any) -> bool:
    how, *values = SPACE[key]
    return value in values if how == "one of" else values[0] <= value <= values[1]


def _result(optuna: Any, study: Any, request: SweepRequest) -> Sweep:
    """The study as it is stored."""
    states = optuna.trial.TrialState
    every = study.get_trials(deepcopy=False)
    complete = [trial for trial in every if trial.state == states.COMPLETE]
    front = [_point(trial) for trial in sorted(study.best_trials, key=lambda trial: trial.values)]
    place, reason = knee([(point.bias, point.lms_lost) for point in front]) if front else (None, "")
    return Sweep(
        request=request,
        complete=len(complete),
        pruned=sum(trial.state == states.PRUNED for trial in every),
        trials=[_point(trial) for trial in complete],
        given_up=[_where(trial) for trial in every if trial.state == states.PRUNED],
        front=front,
        knee=None if place is None else Knee(place=place, trial=front[place].trial, reason=reason),
        importance=_importance(optuna, study) if len(complete) >= COMPARED_WITH else {},
    )


def _point(trial: Any) -> Trial:
    bias, lost = trial.values
    return Trial(trial=trial.number, bias=bias, lms_lost=lost, params=dict(trial.params))


def _where(trial: Any) -> Trial:
    """The values of a trial when it was pruned, and at which evaluation."""
    (bias, lost), course = trial.user_attrs["last"], trial.user_attrs["course"]
    return Trial(trial=trial.number, bias=bias, lms_lost=lost, look=len(course), params=dict(trial.params))


def _importance(optuna: Any, study: Any) -> dict[str, dict[str, float]]:
    """PED-ANOVA (Watanabe et al. 2023) for both objectives: the keys that distinguish good trials from others."""
    found = {}
    for place, name in enumerate(("bias", "lms_lost")):

        def target(trial: Any, place: int = place) -> float:
            return float(trial.values[place])

        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        try:
            found[name] = optuna.importance.get_param_importances(study, evaluator=evaluator, target=target)
        except (RuntimeError, ValueError):  # all trials have the same values
            found[name] = {}
    return found
