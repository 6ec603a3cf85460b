"""`combine`: adapters of several runs on one base (one per bias type, say) added up to one adapter, and its results."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from biasunlearn.benchmarks.association import association_change
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
from biasunlearn.commands.run_context import Callbacks, Progress, RunContext, run_context
from biasunlearn.commands.transfer import DebiasRun, read_adapter_run
from biasunlearn.errors import RequestError
from biasunlearn.models.spec import ModelSpec
from biasunlearn.runs.atomic import whole_folder
from biasunlearn.runs.folder import SCHEMA, environment
from biasunlearn.runs.results import Results, only_given
from biasunlearn.runs.run_files import Manifest
from biasunlearn.runs.sections import Combined, DataFacts, FileFacts, Part, ScoringProtocol
from biasunlearn.scoring.protocol import EvalOptions, EvalPlan

How = Literal["cat", "svd", "linear"]
"""cat: the weighted sum itself, with the ranks added up. svd: its best approximation of the largest rank. linear: the
factors are added instead of their products, which is a rough approximation."""

COMBINED = "combined"


def combine(
    weights: Mapping[str, float],
    *,
    report: str,
    out: str | Path,
    how: How = "cat",
    device: str | None = None,
    dtype: str | None = None,
    batch_tokens: int | None = None,
    benchmarks: Mapping[str, str] | None = None,
    skip_invalid: bool = False,
    trust_remote_code: bool = False,
    resume: bool = False,
    options: EvalOptions | None = None,
    progress: Progress | None = None,
) -> Results:
    """Adds up the adapters of debias runs, each with a weight, and reports before (the base) and after.

    Args:
        weights: {run folder: weight}; 1 is as it was learned, and the weights need not sum to anything.
        report: StereoSet triplets or pairs to report on, as for `debias`.
        out: run folder to write.
        how: how peft's add_weighted_adapter joins them.
        device: cpu, cuda, cuda:1, ... (default: the accelerator if there is one, else the CPU).
        dtype: of the weights of the base model (default: as in the recipe of the first run).
        batch_tokens: maximum number of tokens in a scoring batch (default: as in the recipe of the first run).
        benchmarks: more benchmarks to measure before and after, as {name: data}.
        skip_invalid: leave out rows that cannot be used; they are counted and listed. Otherwise they are an error.
        trust_remote_code: run code that the repository of the model contains.
        resume: return the results of a finished run of the same request; one that was interrupted begins again.
        options: how the benchmarks are measured, as for `debias`.
        progress: called with (what, done, of).
    Returns:
        The results, as stored in results.json.
    Raises:
        RequestError: runs on different bases, a run without an adapter, a folder that holds a run.
    """
    runs = _on_one_base(list(weights))
    plan = EvalPlan({"stereoset": report, **(benchmarks or {})}, skip_invalid, options or EvalOptions())
    plan = validate_plan(plan, out)
    spec = runs[0].base(device=device, trust_remote_code=trust_remote_code)
    spec = replace(spec, dtype=dtype or spec.dtype, batch_tokens=batch_tokens or spec.batch_tokens)
    parts = [Part(run=name, weight=weight) for name, weight in weights.items()]
    request = {
        "parts": [part.to_dict() for part in parts], "how": how, "revision": spec.revision, "report": report,
        "benchmarks": dict(benchmarks or {}), "skip_invalid": skip_invalid, "trust_remote_code": trust_remote_code,
        "options": plan.options.to_dict(), **only_given(dtype=dtype),
    }  # fmt: skip
    with run_context(out, {"combine": request}, resume=resume, callbacks=Callbacks(progress)) as context:
        if context.stored is not None:
            return context.stored
        return _combine(context, runs, parts, how, spec, plan)


def _combine(
    context: RunContext,
    runs: Sequence[DebiasRun],
    parts: Sequence[Part],
    how: How,
    spec: ModelSpec,
    plan: EvalPlan,
) -> Results:
    """Measures the base, adds the adapters up, measures again, and writes the results."""
    from biasunlearn.models.load import load
    from biasunlearn.models.quantization import facts
    from biasunlearn.scoring.chat import protocol

    folder, plan = context.folder, with_data(plan)
    loaded = apply_protocol(load(spec), plan.options)
    context.begin()
    manifest = _manifest(runs)
    plan = replace(plan, trained_words=manifest.all_words)
    first = evaluate_before_judging(loaded, plan, context.callbacks, "before: ")
    loaded = loaded.with_model(_added_up(loaded.model, runs, [part.weight for part in parts], how))
    last = evaluate_before_judging(loaded, plan, context.callbacks, "after: ")
    judged = judge_together((first, last), plan, context.callbacks, loaded.device)
    (items_before, before), (items_after, after) = judged
    after = mark_contamination(after, plan, manifest)
    _save(loaded.model, folder.adapter, manifest, spec.revision)
    digest = after.stereoset.sha256 if after.stereoset else None
    report = FileFacts(path=str(plan.benchmarks["stereoset"]), sha256=digest)
    results = Results(
        schema=SCHEMA,
        model=spec.model,
        adapter=str(folder.adapter),
        combined=Combined(parts=list(parts), how=how),
        protocol=ScoringProtocol(**protocol(loaded), dtype=spec.dtype, masked=loaded.masked, **facts(loaded.model)),
        before=before,
        benchmarks=after,
        data=DataFacts(report=report),
        **only_given(partial=partial_facts(plan), association=association_change(items_before, items_after)),
        environment=environment(),
    )
    return context.finish(results, {"before": items_before, "after": items_after}, plan.source("stereoset"))


def _on_one_base(names: Sequence[str]) -> list[DebiasRun]:
    runs = [read_adapter_run(name) for name in names]
    if len(runs) < 2:
        raise RequestError("combine needs two runs or more; for one run at another strength: transfer --scale")
    bases = [(run.base().model, run.base().revision) for run in runs]
    for name, base in zip(names, bases, strict=True):
        if base != bases[0]:
            own, first = (" at revision ".join(filter(None, one)) for one in (base, bases[0]))
            raise RequestError(
                f"{name}: its base is {own}, that of {names[0]} is {first}; only adapters on one base can be added up"
            )
    return runs


def _added_up(model: Any, runs: Sequence[DebiasRun], weights: Sequence[float], how: How) -> Any:
    """The model with all adapters on it and only their sum active."""
    from biasunlearn.models.adapters import with_adapter

    names = [f"part-{number}" for number in range(len(runs))]
    for name, run in zip(names, runs, strict=True):
        model = with_adapter(model, run.folder.adapter, name=name)
    try:
        model.add_weighted_adapter(names, list(weights), COMBINED, combination_type=how)
    except ValueError as error:
        raise RequestError(f"--how {how}: {str(error).splitlines()[0]}") from None
    model.set_adapter(COMBINED)
    return model.eval()


def _manifest(runs: Sequence[DebiasRun]) -> Manifest:
    """The training data of all adapters together."""
    seen = [read_manifest(run.folder.adapter) or Manifest() for run in runs]
    return Manifest(parts=seen, pairs=sorted({pair for manifest in seen for pair in manifest.pairs}))


def _save(model: Any, folder: Path, manifest: Manifest, revision: str | None) -> None:
    """Saves a plain PEFT adapter. PEFT puts an adapter that is not named "default" into a folder of its own."""
    model.peft_config[COMBINED].revision = revision
    with whole_folder(folder) as place:
        model.save_pretrained(place, selected_adapters=[COMBINED], safe_serialization=True)
        for path in (place / COMBINED).iterdir():
            path.replace(place / path.name)
        shutil.rmtree(place / COMBINED)
        (place / MANIFEST).write_text(json.dumps(manifest.to_dict(), indent=1) + "\n", encoding="utf-8")
