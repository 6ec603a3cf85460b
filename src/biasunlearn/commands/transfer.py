"""`transfer`: the adapter of a run on another model: checked, scaled, measured, and saved for that model."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from biasunlearn.benchmarks.association import association_change
from biasunlearn.commands.debias import DebiasJob, run_debias
from biasunlearn.commands.evaluation import (
    MANIFEST,
    apply_protocol,
    evaluate_before_judging,
    judge_together,
    mark_contamination,
    partial_facts,
    read_manifest,
    validate_plan,
    with_data,
)
from biasunlearn.commands.run_context import Callbacks, OnStep, Progress, RunContext, Say, run_context
from biasunlearn.commands.run_stages import outcomes_by_score, read_stage
from biasunlearn.config import DebiasConfig, as_it_was_split, config_from, to_dict
from biasunlearn.data.records import Triplet
from biasunlearn.errors import RequestError
from biasunlearn.models.adapter_files import check_adapter
from biasunlearn.models.adapter_scale import ScaleScores, check_scales, nearest, save_scaled, scaled, search
from biasunlearn.models.compatibility import compatibility, require
from biasunlearn.models.spec import ModelSpec
from biasunlearn.runs.benchmark_results import BenchmarkResult, Measured
from biasunlearn.runs.folder import SCHEMA, RunFolder, environment
from biasunlearn.runs.results import Results, only_given
from biasunlearn.runs.run_files import StoredRequest
from biasunlearn.runs.sections import (
    Change,
    CompatibilityFacts,
    Direct,
    Effect,
    FileFacts,
    Recipe,
    Scale,
    ScoringProtocol,
    Transferred,
)
from biasunlearn.scoring.protocol import EvalOptions, EvalPlan
from biasunlearn.stats.effect import STATES, effect_kept
from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.stereoset import Item, comparisons, stereoset_scores
from biasunlearn.unlearn.prepare import Prepared, prepare

DIRECT = "direct"
"""Folder of a transfer: the run that was trained on the target itself, for comparison."""


@dataclass(frozen=True, slots=True)
class DebiasRun:
    """A finished `debias` run: its folder, its request, its recipe and its results."""

    folder: RunFolder
    request: StoredRequest
    recipe: DebiasConfig
    results: Results

    def base(self, *, device: str | None = None, trust_remote_code: bool = False) -> ModelSpec:
        """The base model, as the run loaded it."""
        return ModelSpec(
            self.request.model, dtype=self.recipe.dtype, device=device, revision=self.request.revision,
            trust_remote_code=trust_remote_code, batch_tokens=self.recipe.batch_tokens,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferJob:
    """Everything that a transfer depends on, except its folder."""

    run: str
    target: ModelSpec
    plan: EvalPlan
    """Its benchmark stereoset is the report file."""
    scales: tuple[float, ...] | None
    force: bool
    also_train: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for config.yaml."""
        benchmarks = dict(self.plan.benchmarks)
        report = benchmarks.pop("stereoset")
        request = {
            "run": self.run, "to": self.target.model, "revision": self.target.revision, "report": report,
            "scales": None if self.scales is None else list(self.scales), "force": self.force,
            "also_train": self.also_train, "dtype": self.target.dtype, "benchmarks": benchmarks,
            "skip_invalid": self.plan.skip_invalid, "trust_remote_code": self.target.trust_remote_code,
            "options": self.plan.options.to_dict(),
        }  # fmt: skip
        return {"transfer": request}


def transfer(
    run: str | Path,
    *,
    to: str,
    report: str,
    out: str | Path,
    scales: Sequence[float] | None = None,
    force: bool = False,
    also_train: bool = False,
    dtype: str | None = None,
    device: str | None = None,
    revision: str | None = None,
    batch_tokens: int | None = None,
    benchmarks: Mapping[str, str] | None = None,
    skip_invalid: bool = False,
    trust_remote_code: bool = False,
    resume: bool = False,
    options: EvalOptions | None = None,
    progress: Progress | None = None,
    say: Say | None = None,
    on_step: OnStep | None = None,
) -> Results:
    """Applies the adapter of a run to another model, and reports before and after there.

    Args:
        run: a finished `debias` run with an adapter.
        to: the target: a complete model, or an adapter (LoRA, prefix or prompt tuning) that names its base.
        report: StereoSet triplets or pairs, as for `debias`.
        out: run folder to write.
        scales: how strongly the adapter acts. None: searched on the run's stop split; several: the best of them there;
            one: that one, and no stop split is needed.
        force: continue although the transfer is doubtful. What cannot work is refused in any case.
        also_train: debias the target itself as well, with the run's recipe, in OUT/direct.
        dtype: of the target's weights (default: as in the run's recipe); 4bit, 8bit: quantised while loading.
        device: of the target, as for `debias`.
        revision: of the target, as for `debias`.
        batch_tokens: tokens in a scoring batch (default: as in the run's recipe).
        benchmarks: more benchmarks to measure before and after, as {name: data}.
        skip_invalid: leave out rows that cannot be used; they are counted and listed. Otherwise they are an error.
        trust_remote_code: run code that the repository of the model contains.
        resume: continue an interrupted run in `out`.
        options: how the benchmarks are measured, as for `debias`.
        progress: called with (what, done, of).
        say: called with every message, one line each.
        on_step: called with the row of metrics.jsonl of every optimizer step.
    Returns:
        The results, as stored in results.json.
    Raises:
        RequestError: no such run, a target that cannot work or is doubtful, data that is no longer there.
        WriteError: the disk is full or the like; call again with resume=True.
    """
    learned = read_adapter_run(run)
    target = replace(
        learned.base(device=device, trust_remote_code=trust_remote_code),
        model=to, revision=revision, dtype=dtype or learned.recipe.dtype,
        batch_tokens=batch_tokens or learned.recipe.batch_tokens,
    )  # fmt: skip
    plan = EvalPlan({"stereoset": report, **(benchmarks or {})}, skip_invalid, options or EvalOptions())
    request = TransferJob(
        run=str(run), target=target, plan=validate_plan(plan, out), force=force, also_train=also_train,
        scales=None if scales is None else check_scales(scales),
    )  # fmt: skip
    with run_context(out, request.to_dict(), resume=resume, callbacks=Callbacks(progress, say, on_step)) as context:
        return context.stored if context.stored is not None else _transfer(context, learned, request)


def _transfer(context: RunContext, learned: DebiasRun, request: TransferJob) -> Results:
    """Checks the target, measures it, finds the scale, measures again, and writes the results."""
    from biasunlearn.models.adapter_target import DEBIASING, debiased, open_target
    from biasunlearn.models.quantization import facts as quantised
    from biasunlearn.scoring.chat import protocol

    plan, folder, callbacks, to = with_data(request.plan), context.folder, context.callbacks, request.target.model
    stop = stop_split(learned) if request.scales is None or len(request.scales) > 1 else ()
    target = open_target(request.target)
    if request.also_train and target.kind != "full":
        raise RequestError(f"--also-train: {to} is an adapter ({target.kind}); merge it and give the merged model")
    loaded = apply_protocol(target.loaded, plan.options)
    found = _compare(learned, target.loaded, request)
    require(found, to, force=request.force)
    for line in (*found.doubts, *found.notes):
        callbacks.message(line)
    context.begin()
    manifest = read_manifest(learned.folder.adapter)
    plan = replace(plan, trained_words=manifest.all_words if manifest else None)
    loaded = loaded.with_model(debiased(target, learned.folder.adapter).model)
    with scaled(loaded.model, 0.0, DEBIASING):
        first = evaluate_before_judging(loaded.with_cache(context.cache), plan, callbacks, "before: ")
    evaluated, scale = _scale(loaded, stop, request.scales, learned.recipe, context)
    with scaled(loaded.model, scale, DEBIASING):
        last = evaluate_before_judging(loaded.with_cache(context.cache), plan, callbacks, "after: ")
    judged = judge_together((first, last), plan, callbacks, loaded.device)
    (items_before, before), (items_after, after) = judged
    after = mark_contamination(after, plan, manifest)
    _save_adapter(learned.folder.adapter, folder.adapter, scale, target.base)
    facts: dict[str, Any] = {"target_kind": target.kind, "own_adapter": target.own_adapter, "scale": scale}
    used = ScoringProtocol(
        **protocol(loaded), dtype=request.target.dtype, masked=loaded.masked, **quantised(loaded.model)
    )
    del loaded, target  # the model that is trained for comparison is loaded again
    direct = _train_directly(context, learned, request)
    results = Results(
        schema=SCHEMA,
        model=to,
        adapter=str(folder.adapter),
        transferred=Transferred(
            run=request.run, base=learned.request.model, **facts,
            scales=[Scale(**asdict(one)) for one in evaluated],
            compatibility=CompatibilityFacts.model_validate(found.to_dict()), forced=bool(found.doubts),
            effect=_effect(learned, items_before, items_after, used.text),
            change=_change(before, after),
        ),
        protocol=used,
        before=before,
        benchmarks=after,
        **only_given(
            partial=partial_facts(plan), direct=direct, association=association_change(items_before, items_after)
        ),
        data=learned.results.data.with_values(report=_report_facts(str(plan.benchmarks["stereoset"]), after)),
        config=Recipe.model_validate(to_dict(learned.recipe)),
        environment=environment(),
    )  # fmt: skip
    return context.finish(results, {"before": items_before, "after": items_after}, plan.source("stereoset"))


def read_adapter_run(run: str | Path) -> DebiasRun:
    """RequestError where the folder is no finished `debias` run, or one without an adapter."""
    learned = read_run(run)
    if not (learned.folder.adapter / "adapter_config.json").exists():
        raise RequestError(f"{run}: has no adapter (it changed all weights, or none): there is nothing to transfer")
    check_adapter(learned.folder.adapter)
    return learned


def read_run(run: str | Path) -> DebiasRun:
    """RequestError where the folder is no finished `debias` run."""
    folder = RunFolder(Path(run))
    results = folder.read_results()
    config = folder.read_config()
    if config.debias is None or config.recipe is None:
        raise RequestError(f"{run}: not a debias run; give the folder that `debias` wrote")
    return DebiasRun(folder, config.debias, config_from(as_it_was_split(config.recipe), f"{run}/config.yaml"), results)


def stop_split(learned: DebiasRun) -> tuple[Triplet, ...]:
    """The stop split of a run, made again from its data. RequestError where the data is gone or has changed."""
    try:
        return prepared_again(learned, "stop").stop
    except RequestError as error:
        advice = "its stop split cannot be made again; give one --scale (1 is as it was learned)"
        raise RequestError(f"{learned.folder.path}: {advice}: {error}") from None


def prepared_again(learned: DebiasRun, part: str) -> Prepared:
    """The sets and splits of a run, made again. RequestError: the data is gone, or `part` (train, stop) differs."""
    asked = learned.request
    prepared = prepare(asked.train, asked.report, asked.unrelated, learned.recipe, skip_invalid=asked.skip_invalid)
    stored = learned.results.data.split(part)
    again = prepared.facts.split(part)
    if stored is None or again is None or stored.sha256 != again.sha256:
        raise RequestError(f"{asked.train} has changed since the run")
    return prepared


def _compare(learned: DebiasRun, target: Any, request: TransferJob) -> Any:
    """The compatibility of target and base. The base is loaded for this alone, and released afterwards."""
    from biasunlearn.models.load import load

    spec = learned.base(device=request.target.device, trust_remote_code=request.target.trust_remote_code)
    try:
        base = load(spec)
    except RequestError as error:
        return compatibility(None, target, learned.folder.adapter, why_no_base=str(error))
    return compatibility(base, target, learned.folder.adapter)


def _scale(
    loaded: Any, stop: Sequence[Triplet], scales: Sequence[float] | None, recipe: DebiasConfig, context: RunContext
) -> tuple[list[ScaleScores], float]:
    """The stop split at the requested scales, or at those of the search, and the best scale.

    Without a stop split there are no scores, and the scale is the requested one.
    """
    from biasunlearn.benchmarks.stereoset import score_triplets
    from biasunlearn.models.adapter_target import DEBIASING

    def evaluate_stop(scale: float) -> ScaleScores:
        with scaled(loaded.model, scale, DEBIASING):
            here = loaded.with_cache(context.cache)
            counter = context.callbacks.counter(f"stop split at scale {scale:g}")
            items = score_triplets(here.with_progress(counter), stop)
        scores = stereoset_scores(comparisons(items), seed=recipe.seed).overall
        far = scores.ss_distance.value if scores.ss_distance else 0.0
        return ScaleScores(scale, scores.ss.value, far, scores.lms.value if scores.lms else None)

    if not stop:
        return [], (scales or (1.0,))[0]
    if scales is None:
        evaluated = search(evaluate_stop, recipe.lms_floor)
    else:
        evaluated = [evaluate_stop(scale) for scale in dict.fromkeys((0.0, *scales))]  # 0: LMS is compared with it
    return evaluated, nearest(evaluated, recipe.lms_floor, scales).scale


def _train_directly(context: RunContext, learned: DebiasRun, request: TransferJob) -> Direct | None:
    """The run's recipe and data on the target itself, loaded as it was measured; None unless requested."""
    if not request.also_train:
        return None
    asked, out = learned.request, context.folder.path / DIRECT
    dtype: Any = request.target.dtype
    direct = DebiasJob(
        model=request.target,
        train=asked.train,
        unrelated=asked.unrelated,
        plan=request.plan,
        config=replace(learned.recipe, dtype=dtype),
    )
    resume = context.resume and (out / "config.yaml").exists()
    results = run_debias(direct, out, resume=resume, callbacks=context.callbacks)
    before = results.before or Measured()
    return Direct(run=str(out), before=before, benchmarks=results.benchmarks, **only_given(stopped=results.stopped))


def _save_adapter(source: Path, folder: Path, scale: float, base: ModelSpec) -> None:
    manifest = source / MANIFEST

    def beside(place: Path) -> None:
        if manifest.exists():
            (place / MANIFEST).write_bytes(manifest.read_bytes())

    save_scaled(source, folder, scale, base, beside)


def _effect(learned: DebiasRun, before: Sequence[Item], after: Sequence[Item], protocol: str) -> Effect:
    """The share of the run's improvement that remains, item by item: only items of both measurements count."""
    stages = [read_stage(f"{learned.folder.path}:{when}") for when in ("before", "after")]
    base = [outcomes_by_score(stage, "stereoset").get("ss", []) for stage in stages]
    found = effect_kept([*base, *(_ss(items) for items in (before, after))])
    protocols = {"base": learned.results.protocol.text, "target": protocol}
    return Effect.of(found, states=list(STATES), protocols=protocols)


def _ss(items: Sequence[Item]) -> list[Outcome]:
    from biasunlearn.benchmarks.stereoset import outcomes

    chosen = outcomes([item for item in items if item.benchmark == "stereoset"])
    return [outcome for outcome in chosen if outcome.score == "ss"]


def _report_facts(path: str, after: Measured) -> FileFacts:
    entry = after.stereoset or BenchmarkResult()
    return FileFacts(path=path, sha256=entry.sha256, skipped=list(entry.skipped_rows))


def _change(before: Measured, after: Measured) -> Change:
    """SS and LMS in points, after less before: what a table shows in one line."""
    if before.stereoset is None or after.stereoset is None:
        return Change()
    first, last = before.stereoset.overall, after.stereoset.overall
    lms = last.lms.value - first.lms.value if first.lms and last.lms else None
    return Change(ss=last.ss.value - first.ss.value, lms=lms)
