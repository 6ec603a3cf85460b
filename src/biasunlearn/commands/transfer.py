"""`transfer`: a debiasing that was learned on one model, on another one: checked, scaled, measured, saved for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from biasunlearn.commands.debias import Say, debias
from biasunlearn.commands.measure import (
    MANIFEST,
    Progress,
    finish,
    known_benchmarks,
    plain,
    read_manifest,
    ready,
    run_benchmarks,
    sound,
    stamp,
)
from biasunlearn.commands.run_stages import outcomes_by_score, read_stage
from biasunlearn.config import DebiasConfig, config_from, to_dict
from biasunlearn.data.records import Triplet
from biasunlearn.errors import RequestError
from biasunlearn.models.adapter_files import check_adapter
from biasunlearn.models.adapter_scale import Look, checked, nearest, save_scaled, scaled, search
from biasunlearn.models.compatibility import compatibility, demand
from biasunlearn.models.spec import ModelSpec
from biasunlearn.runs.folder import SCHEMA, RunFolder, environment, finished, new_run
from biasunlearn.runs.lock import releasing_locks
from biasunlearn.runs.results import (
    BenchmarkResult,
    Change,
    CompatibilityFacts,
    DataFile,
    DebiasRequest,
    Direct,
    Effect,
    Measured,
    Recipe,
    Results,
    Scale,
    ScoringProtocol,
    Transferred,
    only_given,
)
from biasunlearn.runs.score_cache import ScoreCache
from biasunlearn.scoring.protocol import Asking
from biasunlearn.stats.effect import STATES, effect_kept
from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.stereoset import Item, comparisons, stereoset_scores
from biasunlearn.unlearn.prepare import Prepared, prepare

DIRECT = "direct"
"""Folder of a transfer: the run that was trained on the target itself, beside it."""

Request = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Learned:
    """A finished `debias` run that has an adapter: what it was asked for, how, and what came of it."""

    folder: RunFolder
    request: DebiasRequest
    recipe: DebiasConfig
    results: Results


@releasing_locks()
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
    benchmarks: Mapping[str, str] | None = None,
    skip_invalid: bool = False,
    trust_remote_code: bool = False,
    resume: bool = False,
    asking: Asking | None = None,
    progress: Progress | None = None,
    say: Say | None = None,
    on_step: Callable[[dict[str, Any]], None] | None = None,
) -> Results:
    """Takes the adapter of a run to another model, and reports before and after there.

    Args:
        run: a finished `debias` run with an adapter.
        to: the target: a whole model, or an adapter (LoRA, prefix or prompt tuning) that names its base; folder or hub.
        report: StereoSet triplets or pairs, as for `debias`.
        scales: how strongly to apply it. None: searched on the run's stop split; several: the best of them there; one:
            that one, and no stop split is needed.
        force: go on although the target looks doubtful. What cannot work is refused all the same.
        also_train: debias the target itself as well, by the run's recipe, in OUT/direct.
        dtype: of the target's weights (default: as in the run's recipe); 4bit, 8bit: quantised while loading.
    Returns:
        The results, as stored in results.json.
    Raises:
        RequestError: no such run, a target that cannot work or looks doubtful, data that is not there any more.
        WriteError: the disk is full or the like; call again with resume=True.
    """
    learned = read_learned(run)
    say = say or (lambda line: None)
    chosen = None if scales is None else checked(scales)
    measured = {"stereoset": report, **(benchmarks or {})}
    known_benchmarks(measured)
    asking = sound(asking or Asking(), measured, out)
    dtype = dtype or learned.recipe.dtype
    request = {
        "run": str(run), "to": to, "report": report, "scales": None if chosen is None else list(chosen),
        "force": force, "also_train": also_train, "dtype": dtype, "benchmarks": dict(benchmarks or {}),
        "skip_invalid": skip_invalid, "trust_remote_code": trust_remote_code, "asking": plain(asking),
    }  # fmt: skip
    if resume and (stored := finished(out, {"transfer": request})) is not None:
        return stored
    stop = stop_split(learned) if chosen is None or len(chosen) > 1 else ()
    folder = new_run(out, resume=resume)
    from biasunlearn.models.adapter_target import DEBIASING, debiased, open_target
    from biasunlearn.models.quantization import facts as quantised
    from biasunlearn.scoring.chat import protocol

    target = open_target(ModelSpec(to, dtype=dtype, trust_remote_code=trust_remote_code))
    if also_train and target.kind != "full":
        raise RequestError(f"--also-train: {to} is an adapter ({target.kind}); merge it and give the merged model")
    loaded = ready(target.loaded, asking)
    found = _compare(learned, target.loaded, trust_remote_code)
    demand(found, to, force=force)
    for line in (*found.doubts, *found.notes):
        say(line)
    folder.write_yaml("config.yaml", {"transfer": request})  # from here on there is a run
    memory = ScoreCache(folder.scored, {"transfer": request})
    loaded = loaded.with_model(debiased(target, learned.folder.adapter).model)
    arguments: dict[str, Any] = {
        "batch_tokens": learned.recipe.batch_tokens, "skip_invalid": skip_invalid, "asking": asking,
        "progress": progress,
    }  # fmt: skip
    with scaled(loaded.model, 0.0, DEBIASING):
        items_before, before = run_benchmarks(loaded.with_cache(memory), measured, label="before: ", **arguments)
    looks = _scan(loaded, stop, chosen, learned.recipe, memory, progress)
    scale = nearest(looks, learned.recipe.lms_floor, chosen).scale if looks else (chosen or (1.0,))[0]
    with scaled(loaded.model, scale, DEBIASING):
        items_after, after = run_benchmarks(loaded.with_cache(memory), measured, label="after: ", **arguments)
    after = stamp(after, measured, read_manifest(learned.folder.adapter), skip_invalid=skip_invalid)
    _save_adapter(learned.folder.adapter, folder.adapter, scale, target.base)
    facts: dict[str, Any] = {"target_kind": target.kind, "own_adapter": target.own_adapter, "scale": scale}
    said = ScoringProtocol(**protocol(loaded), dtype=dtype, masked=False, **quantised(loaded.model))
    del loaded, target  # the one trained beside it is loaded anew
    direct = _train_beside(to, learned, folder, measured, request, asking, resume, progress, say, on_step)
    results = Results(
        schema=SCHEMA,
        model=to,
        adapter=str(folder.adapter),
        transferred=Transferred(
            run=str(run), base=learned.request.model, **facts,
            scales=[Scale(**asdict(look)) for look in looks],
            compatibility=CompatibilityFacts.model_validate(found.to_dict()), forced=bool(found.doubts),
            effect=_effect(learned, items_before, items_after, said.text),
            change=_change(before, after),
        ),
        protocol=said,
        before=before,
        benchmarks=after,
        **only_given(direct=direct),
        data=learned.results.data.with_values(report=_report_facts(report, after)),
        config=Recipe.model_validate(to_dict(learned.recipe)),
        environment=environment(),
    )  # fmt: skip
    finish(folder, results, {"transfer": request}, {"before": items_before, "after": items_after})
    return results


def read_learned(run: str | Path) -> Learned:
    """RequestError where the folder is no finished `debias` run, or one without an adapter."""
    learned = read_run(run)
    if not (learned.folder.adapter / "adapter_config.json").exists():
        raise RequestError(f"{run}: has no adapter (it changed all weights, or no weights): there is nothing to take")
    check_adapter(learned.folder.adapter)
    return learned


def read_run(run: str | Path) -> Learned:
    """RequestError where the folder is no finished `debias` run."""
    folder = RunFolder(Path(run))
    results = folder.read_results()
    config = folder.read_config()
    if config.debias is None or config.recipe is None:
        raise RequestError(f"{run}: not a debias run; give the folder that `debias` wrote")
    return Learned(folder, config.debias, config_from(dict(config.recipe), f"{run}/config.yaml"), results)


def stop_split(learned: Learned) -> tuple[Triplet, ...]:
    """The stop split of a run, made again from its data. RequestError where the data is gone or has changed."""
    try:
        return prepared_again(learned, "stop").stop
    except RequestError as error:
        mend = "its stop split cannot be made again; give one --scale (1 is as it was learned)"
        raise RequestError(f"{learned.folder.path}: {mend}: {error}") from None


def prepared_again(learned: Learned, part: str) -> Prepared:
    """The sets and splits of a run, made again. RequestError: the data is gone, or `part` (train, stop) differs."""
    asked = learned.request
    prepared = prepare(asked.train, asked.report, asked.unrelated, learned.recipe, skip_invalid=asked.skip_invalid)
    stored = learned.results.data.split(part)
    if stored is None or stored.sha256 != prepared.facts["splits"][part]["sha256"]:
        raise RequestError(f"{asked.train} is not what it was")
    return prepared


def _compare(learned: Learned, target: Any, trust_remote_code: bool) -> Any:
    """The base, as the run had it, is loaded for this alone, and gone afterwards."""
    from biasunlearn.models.load import load

    spec = ModelSpec(learned.request.model, dtype=learned.recipe.dtype, trust_remote_code=trust_remote_code)
    try:
        base = load(spec)
    except RequestError as error:
        return compatibility(None, target, learned.folder.adapter, why_no_base=str(error))
    return compatibility(base, target, learned.folder.adapter)


def _scan(
    loaded: Any,
    stop: Sequence[Triplet],
    scales: Sequence[float] | None,
    recipe: DebiasConfig,
    memory: ScoreCache,
    progress: Progress | None,
) -> list[Look]:
    """The stop split at the scales that were asked for, or where the search looks. Nothing without a stop split."""
    from biasunlearn.benchmarks.stereoset import score_triplets
    from biasunlearn.models.adapter_target import DEBIASING

    def look(scale: float) -> Look:
        def tell(done: int, of: int) -> None:
            if progress:
                progress(f"stop split at scale {scale:g}", done, of)

        with scaled(loaded.model, scale, DEBIASING):
            here = loaded.with_cache(memory)
            items = score_triplets(here, stop, batch_tokens=recipe.batch_tokens, progress=tell)
        scores = stereoset_scores(comparisons(items), seed=recipe.seed)["overall"]
        lms = scores["lms"]
        return Look(scale, scores["ss"]["value"], scores["ss_distance"]["value"], lms["value"] if lms else None)

    if not stop:
        return []
    if scales is None:
        return search(look, recipe.lms_floor)
    return [look(scale) for scale in dict.fromkeys((0.0, *scales))]  # 0: what LMS may fall from


def _train_beside(
    to: str,
    learned: Learned,
    folder: RunFolder,
    measured: Mapping[str, str],
    request: Request,
    asking: Asking,
    resume: bool,
    progress: Progress | None,
    say: Say,
    on_step: Callable[[dict[str, Any]], None] | None,
) -> Direct | None:
    """The run's own recipe and data on the target itself, loaded as measured; None where that was not asked for."""
    if not request["also_train"]:
        return None
    asked, out = learned.request, folder.path / DIRECT
    results = debias(
        to,
        train=asked.train,
        unrelated=asked.unrelated,
        report=measured["stereoset"],
        out=out,
        config=replace(learned.recipe, dtype=request["dtype"]),
        benchmarks={name: path for name, path in measured.items() if name != "stereoset"},
        skip_invalid=request["skip_invalid"],
        trust_remote_code=request["trust_remote_code"],
        resume=resume and (out / "config.yaml").exists(),
        asking=asking,
        progress=progress,
        say=say,
        on_step=on_step,
    )
    before = results.before or Measured()
    return Direct(run=str(out), before=before, benchmarks=results.benchmarks, **only_given(stopped=results.stopped))


def _save_adapter(source: Path, folder: Path, scale: float, base: str) -> None:
    manifest = source / MANIFEST

    def beside(place: Path) -> None:
        if manifest.exists():
            (place / MANIFEST).write_bytes(manifest.read_bytes())

    save_scaled(source, folder, scale, base, beside)


def _effect(learned: Learned, before: Sequence[Item], after: Sequence[Item], protocol: str) -> Effect:
    """How much of the run's improvement arrived. Item by item, so only what both were measured on counts."""
    stages = [read_stage(f"{learned.folder.path}:{when}") for when in ("before", "after")]
    base = [outcomes_by_score(stage, "stereoset").get("ss", []) for stage in stages]
    found = effect_kept([*base, *(_ss(items) for items in (before, after))])
    protocols = {"base": learned.results.protocol.text, "target": protocol}
    return Effect.model_validate({"states": list(STATES), **found, "protocols": protocols})


def _ss(items: Sequence[Item]) -> list[Outcome]:
    from biasunlearn.benchmarks.stereoset import outcomes

    chosen = outcomes([item for item in items if item.benchmark == "stereoset"])
    return [outcome for outcome in chosen if outcome.score == "ss"]


def _report_facts(path: str, after: Measured) -> DataFile:
    entry = after.stereoset or BenchmarkResult()
    return DataFile(path=path, sha256=entry.sha256, skipped=list(entry.skipped_rows))


def _change(before: Measured, after: Measured) -> Change:
    """SS and LMS in points, after less before: what a table shows in one line."""
    if before.stereoset is None or after.stereoset is None:
        return Change()
    first, last = before.stereoset.overall, after.stereoset.overall
    lms = last.lms.value - first.lms.value if first.lms and last.lms else None
    return Change(ss=last.ss.value - first.ss.value, lms=lms)
