"""`study objective`: a causal and a masked model of the same origin, debiased under one budget.

Both are ordinary `debias` runs with one recipe on the same pairs, followed by what `relearn`, `probe` and `transfer`
measure of the run of the first seed. Finished parts are not repeated.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Unpack

from biasunlearn.commands.probe import probe
from biasunlearn.commands.relearn import STEREOTYPES, relearn
from biasunlearn.commands.repeated_runs import Common, Experiment, experiment_of
from biasunlearn.commands.survey import scores_of
from biasunlearn.commands.transfer import transfer
from biasunlearn.config import DebiasConfig, to_dict
from biasunlearn.errors import DataError, RequestError
from biasunlearn.models.spec import ModelSpec
from biasunlearn.report.objective_study import objective_page
from biasunlearn.runs.folder import RunFolder, environment
from biasunlearn.runs.objective_study import (
    AngleMeans,
    HiddenStates,
    ObjectiveRun,
    ObjectiveSide,
    ObjectiveStudy,
    ProbeChange,
    RelearnedStep,
    TriedTransfer,
)
from biasunlearn.runs.places import check_out
from biasunlearn.runs.results import Results
from biasunlearn.runs.run_files import MetricsRow
from biasunlearn.runs.scores import Metric
from biasunlearn.runs.sections import Angles
from biasunlearn.runs.series import mean_over_seeds
from biasunlearn.unlearn.swap import IDEAL

Objective = Literal["causal", "masked"]

RELEARN_STEPS = (0, 10, 25)


@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    """What is measured of the run of the first seed once it has finished."""

    relearn_on: str = STEREOTYPES
    relearn_steps: Sequence[int] = RELEARN_STEPS
    layers: Sequence[int] | None = None
    transfer: bool = False
    """Carry the adapter of each model to the other although their objectives differ."""


def study_objective(
    causal: str,
    masked: str,
    *,
    train: str,
    out: str | Path,
    config: DebiasConfig | None = None,
    seeds: Sequence[int] = (0,),
    after: After | None = None,
    **common: Unpack[Common],
) -> ObjectiveStudy:
    """Runs in `out`/causal/seed-N and `out`/masked/seed-N, and their further measurements beside them.

    Args:
        causal, masked: folders, or names on the hub, of a causal and a masked model.
        train: pairs to learn from, as for `debias`.
        out: folder to write; every run has a folder of its own in it.
        config: the recipe of both models (default: the default recipe).
        seeds: both models are trained with each of them.
        after: relearning, probes and transfer.
        common: report, unrelated, benchmarks and so on, as for `debias` (commands/repeated_runs.py).
    Returns:
        Both models side by side, as stored in `out`/objective.json; report.html shows the same.
    Raises:
        RequestError: as `debias`; a model that is not of the kind that it was given as.
        Interrupted: Ctrl-C; call again to continue.
    """
    if not seeds:
        raise RequestError("study: nothing to run; give at least one seed")
    config, after = config or DebiasConfig(), after or After()
    check_out(out, causal)
    sides: dict[Objective, ObjectiveSide] = {}
    left_out: list[str] = []
    for kind, model in _models(causal, masked):
        experiment = experiment_of(model, common)
        _check_kind(experiment.model, is_masked=kind == "masked")
        study = _Side(kind, experiment, Path(out) / kind, config, after, common, left_out)
        sides[kind] = study.measured(train, seeds)
    transfers = [
        _transferred(kind, Path(out), sides, after, common, seeds[0])
        for kind, _ in _models(causal, masked)
    ]
    result = ObjectiveStudy(
        schema=1, train=str(train), report=str(common["report"]), seeds=[*seeds], fair_margin=config.fair_margin,
        sides=sides, transfers=transfers, relearned_on=after.relearn_on, left_out=left_out, recipe=to_dict(config),
        environment=environment(),
    )  # fmt: skip
    folder = RunFolder(Path(out))
    folder.write_json("objective.json", result.to_dict())
    folder.write_text("report.html", objective_page(result))
    return result


def _models(causal: str, masked: str) -> list[tuple[Objective, str]]:
    return [("causal", causal), ("masked", masked)]


def _check_kind(spec: ModelSpec, *, is_masked: bool) -> None:
    """RequestError, before anything is trained, for a causal model in place of the masked one, or the reverse."""
    from biasunlearn.models.load import stored_as_masked

    if stored_as_masked(spec) != is_masked:
        wanted, other = ("masked", "causal") if is_masked else ("causal", "masked")
        raise RequestError(f"{spec.model}: a {other} model in the place of the {wanted} one; give CAUSAL, then MASKED")


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two models while it is studied."""

    kind: Objective
    experiment: Experiment
    folder: Path
    config: DebiasConfig
    after: After
    common: Common
    left_out: list[str]

    def measured(self, train: str, seeds: Sequence[int]) -> ObjectiveSide:
        """Trains with every seed, then measures what follows on the run of the first one."""
        runs = [self._run(train, seed) for seed in seeds]
        hidden, relearned = self._hidden(runs[0]), self._relearned(runs[0])
        return ObjectiveSide(
            model=self.experiment.model.model, masked=self.kind == "masked", runs=runs,
            before=mean_over_seeds([run.before for run in runs]), after=mean_over_seeds([run.after for run in runs]),
            relearned=relearned, hidden=hidden,
        )  # fmt: skip

    def _run(self, train: str, seed: int) -> ObjectiveRun:
        folder = self.folder / f"seed-{seed}"
        changed = replace(self.config, seed=seed)
        results = self.experiment.run(f"{self.kind}, seed {seed}", folder, changed, train=train)
        rows = RunFolder(folder).read_metrics()
        fair = first_fair(rows, self.config.fair_margin)
        assert results.stopped is not None
        verdict = results.shown_verdict
        return ObjectiveRun(
            seed=seed, run=str(folder), before=_scores(results, "before"), after=_scores(results, "after"),
            steps=results.stopped.step, best_step=results.stopped.best_step, reason=results.stopped.reason,
            collapsed=results.collapsed, tokens=tokens_until(rows, results.stopped.step), fair_step=fair,
            fair_tokens=None if fair is None else tokens_until(rows, fair),
            seconds=results.cost.seconds if results.cost else None, verdict=verdict.headline if verdict else None,
        )  # fmt: skip

    def _relearned(self, run: ObjectiveRun) -> list[RelearnedStep]:
        """SS of both models on the way of further training, and the share of the debiasing that is left."""
        out = self.folder / "relearned"
        results = self._try("relearning", lambda: relearn(
            run.run, on=self.after.relearn_on, out=out, steps=self.after.relearn_steps, seeds=(run.seed,),
            device=self.common.get("device"), limit=self.common.get("limit"), resume=out.exists(),
            progress=self.common.get("progress"),
        ))  # fmt: skip
        if results is None or results.relearned is None:
            return []
        ss = {(point.model, point.step): point.overall.ss.value for point in results.relearned.points}
        return [
            RelearnedStep(
                step=one.step, debiased=ss["debiased", one.step], base=ss["base", one.step], kept=_metric(one.kept)
            )
            for one in results.relearned.kept
        ]

    def _hidden(self, run: ObjectiveRun) -> HiddenStates | None:
        """Linear probes and the angles between bias directions, before and after debiasing."""
        out = self.folder / "probed"
        results = self._try("probes", lambda: probe(
            self.experiment.model.model, data=str(self.common["report"]), out=out, adapter=f"{run.run}/adapter",
            layers=self.after.layers, seed=run.seed, dtype=self.config.dtype, device=self.common.get("device"),
            limit=self.common.get("limit"), skip_invalid=self.common.get("skip_invalid", False),
            trust_remote_code=self.common.get("trust_remote_code", False), resume=out.exists(),
            progress=self.common.get("progress"),
        ))  # fmt: skip
        return None if results is None else hidden_states(results)

    def _try(self, what: str, measure: Callable[[], Results]) -> Results | None:
        """A further measurement; one that cannot be made is noted with its reason, and the study goes on."""
        self.experiment.callbacks.message(f"{self.kind}: {what}")
        try:
            return measure()
        except DataError:
            raise
        except RequestError as error:
            self.left_out.append(f"{what} of the {self.kind} model: {error}")
            return None


def first_fair(rows: Sequence[MetricsRow], margin: float) -> int | None:
    """The first evaluation of the stop split at which every SS lies within `margin` of 50; None: there is none.

    By hand: {a: 61, b: 52} at step 0 and {a: 54, b: 47} at step 25 -> 25 with a margin of 5, None with one of 3.
    """
    fair = (row.step for row in rows if row.ss and all(abs(ss - IDEAL) <= margin for ss in row.ss.values()))
    return next(fair, None)


def tokens_until(rows: Sequence[MetricsRow], step: int) -> float:
    """Tokens that the model read in the steps up to this one."""
    return sum(row.tokens or 0.0 for row in rows if row.step <= step)


def hidden_states(results: Results) -> HiddenStates | None:
    """The last layer of a probe of two stages. Angles are None where fewer than two target terms have pairs."""
    probes = results.probes
    if probes is None or len(probes.stages) < 2:
        return None
    layer = str(max(probes.layers))
    angles = probes.angles.get(layer)
    means = [_angle_means(stage) for stage in angles.stages] if angles else [None, None]
    return HiddenStates(
        layer=int(layer), pairs=probes.pairs, before=means[0], after=means[-1], turned=angles.turned if angles else {},
        probes=[
            ProbeChange(
                asks=one.asks, bias_type=one.bias_type, chance=one.chance,
                before=_of(one.layers[layer].stages[0].accuracy), after=_of(one.layers[layer].stages[-1].accuracy),
            )
            for one in probes.questions
        ],
    )  # fmt: skip


def _angle_means(found: Angles) -> AngleMeans:
    between = [found.direction[a][b].value for a in found.direction for b in found.direction if a < b]
    within = [found.direction[name][name].value for name in found.direction]
    return AngleMeans(
        between=sum(between) / len(between) if between else None, within=sum(within) / len(within),
        chance=found.chance.direction.value,
    )  # fmt: skip


def _transferred(
    kind: Objective, out: Path, sides: Mapping[Objective, ObjectiveSide], after: After, common: Common, seed: int
) -> TriedTransfer:
    """The adapter of one model, as it was learned, on the other."""
    to: Objective = "masked" if kind == "causal" else "causal"
    folder = out / kind / f"transferred-to-{to}"
    try:
        results = transfer(
            out / kind / f"seed-{seed}", to=sides[to].model, report=str(common["report"]), out=folder, scales=(1.0,),
            force=after.transfer, device=common.get("device"), skip_invalid=common.get("skip_invalid", False),
            resume=folder.exists(), options=experiment_of(sides[to].model, common).plan.options,
            progress=common.get("progress"),
        )  # fmt: skip
    except DataError:
        raise
    except RequestError as error:
        return TriedTransfer(of=kind, left_out=str(error))
    assert results.transferred and results.before and results.before.stereoset and results.benchmarks.stereoset
    return TriedTransfer(
        of=kind, kept=_metric(results.transferred.effect.kept), before=results.before.stereoset.overall.ss.value,
        after=results.benchmarks.stereoset.overall.ss.value,
    )  # fmt: skip


def _scores(results: Results, stage: Literal["before", "after"]) -> dict[str, Metric | None]:
    """What the survey shows of a run, and the share of pairs with a group part above 0."""
    measured = results.before if stage == "before" else results.benchmarks
    found: dict[str, Metric | None] = dict(scores_of(measured))
    if measured and measured.stereoset and (group := measured.stereoset.overall.ss_group):
        found["ss_group"] = _of(group)
    return found


def _of(score: Any) -> Metric:
    return Metric(value=score.value, low=score.low, high=score.high)


def _metric(score: Any) -> Metric | None:
    return None if score is None else _of(score) if hasattr(score, "value") else Metric(value=float(score))
