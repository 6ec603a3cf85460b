"""`debias`: the main job. Measures a model, unlearns its bias, measures it again, and stores both."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from biasunlearn.benchmarks.association import association_change
from biasunlearn.commands.evaluation import (
    MANIFEST,
    apply_protocol,
    capability,
    evaluate_before_judging,
    judge_together,
    mark_contamination,
    partial_facts,
    validate_plan,
    with_data,
    with_limit,
)
from biasunlearn.commands.inputs import named_in_request, names_of, tables_given
from biasunlearn.commands.run_context import Callbacks, OnStep, Progress, RunContext, Say, run_context
from biasunlearn.config import DebiasConfig, to_dict
from biasunlearn.data.checks import check_labels
from biasunlearn.data.readers import read_triplets
from biasunlearn.data.records import Passage
from biasunlearn.data.tables import MemoryTable, table_given
from biasunlearn.data.unrelated import Unrelated, stored, unrelated_given
from biasunlearn.errors import RequestError, UnscorableError
from biasunlearn.models.spec import ModelSpec, model_given
from biasunlearn.runs.atomic import whole_folder
from biasunlearn.runs.benchmark_results import Capability
from biasunlearn.runs.cost import measure_cost
from biasunlearn.runs.folder import SCHEMA, RunFolder, environment
from biasunlearn.runs.results import Measured, Results, only_given
from biasunlearn.runs.run_files import Manifest
from biasunlearn.runs.score_cache import ScoreCache
from biasunlearn.runs.sections import Cost, DataFacts, Recipe, ScoringProtocol, Stopped
from biasunlearn.scoring.protocol import EvalOptions, EvalPlan
from biasunlearn.stats.stereoset import Comparison, comparisons
from biasunlearn.unlearn.base_model import ReportedScore, base_findings
from biasunlearn.unlearn.evaluation import BaseAnswers, StopScores, base_pairs, stop_scores
from biasunlearn.unlearn.learning_rate import rate_finding, with_rate
from biasunlearn.unlearn.prepare import Prepared, prepare
from biasunlearn.unlearn.sequential import SequentialEvaluator
from biasunlearn.unlearn.small_data import small_data_finding
from biasunlearn.unlearn.swap import knows_noise

CAUSAL_ONLY = ("mlp_edit", "bias_neurons", "sentence_debias", "inlp", "leace", "self_debias", "debiasing_prompt")
"""Methods without a gradient, which change or prompt a model that reads from left to right."""


class Interrupted(Exception):
    """Training was stopped with Ctrl-C: the state is saved, and the message says how to continue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DebiasJob:
    """Everything that a `debias` run depends on, except its folder."""

    model: ModelSpec
    """Its precision and batch size are those of `config`, unless it was given as an object."""
    train: str | MemoryTable
    unrelated: Unrelated | None
    """Sentences for the KL term. Of several paths, each has the same share of a step."""
    plan: EvalPlan
    """Its benchmark stereoset is the report file."""
    config: DebiasConfig

    @property
    def spec(self) -> ModelSpec:
        """The model as it is loaded."""
        trains: Literal["adapter", "weights"] = "adapter" if self.config.lora_rank else "weights"
        return replace(
            self.model, dtype=self.config.dtype, batch_tokens=self.config.batch_tokens, trains=trains
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for config.yaml."""
        benchmarks = names_of(self.plan.benchmarks)
        report = benchmarks.pop("stereoset")
        request = {
            **named_in_request(self.model), "revision": self.model.revision, "train": str(self.train),
            "unrelated": stored(self.unrelated), "report": report,
            "benchmarks": benchmarks,
            "skip_invalid": self.plan.skip_invalid, "trust_remote_code": self.model.trust_remote_code,
            "options": self.plan.options.to_dict(),
        }  # fmt: skip
        return {"debias": request, "recipe": to_dict(self.config)}


def debias(
    model: Any,
    *,
    train: Any,
    report: Any,
    tokenizer: Any = None,
    unrelated: Any = None,
    out: str | Path | None = None,
    config: DebiasConfig | None = None,
    limit: int | None = None,
    device: str | None = None,
    revision: str | None = None,
    benchmarks: Mapping[str, Any] | None = None,
    skip_invalid: bool = False,
    trust_remote_code: bool = False,
    resume: bool = False,
    options: EvalOptions | None = None,
    progress: Progress | None = None,
    say: Say | None = None,
    on_step: OnStep | None = None,
) -> Results:
    """Unlearns a language model's social bias with an adapter, and reports before and after on the report data.

    Of a masked model, every log-probability is a pseudo-log-likelihood (docs/method.md).

    Data are a path, a list of dicts, a pandas or Polars DataFrame, or a datasets.Dataset.

    Args:
        model: a folder, a name on the hub, or a transformers model, which is left exactly as it is: a copy that shares
            its weights gets the adapter. Its own precision takes the place of `config.dtype`. The adapters of a PEFT
            model are merged into a copy of its weights first.
        train: pairs to learn from; a part of them, by target term, is held out for swap and stop.
        report: StereoSet triplets or pairs that neither training nor the stop rule uses.
        tokenizer: of the model (default: the one that is stored with it).
        unrelated: triplets with unrelated sentences, or sentences (a .txt file or a list of texts), for the KL term.
            Also a list of `Path`: each file has the same share of a step.
        out: run folder. None: nothing is kept but the results, and the adapter is lost.
        config: the recipe (default: the default recipe).
        limit: measure about this many items of the report and of each benchmark (see `measure`). Training is the same.
        device: cpu, cuda, cuda:1, ... (default: the accelerator if there is one, else the CPU).
        revision: branch, tag or commit of a model on the hub.
        benchmarks: more benchmarks to measure before and after, as {name: data}.
        skip_invalid: leave out rows that cannot be used; they are counted and listed. Otherwise they are an error.
        trust_remote_code: run code that the repository of the model contains.
        resume: continue an interrupted run in `out`.
        options: how they are measured (chat template, classifiers, ...), and tasks of lm-eval to run before and after.
        progress: called with (what, done, of).
        say: called with every message, one line each.
        on_step: called with the row of metrics.jsonl of every optimizer step.
    Returns:
        The results, as stored in results.json.
    Raises:
        RequestError: anything in the request that the caller can fix.
        WriteError: the disk is full or the like; call again with resume=True.
        Interrupted: Ctrl-C; call again with resume=True.
    """
    spec = model_given(
        model, tokenizer=tokenizer, device=device, revision=revision, trust_remote_code=trust_remote_code
    )
    config = config or DebiasConfig()
    others = tables_given({} if benchmarks is None else benchmarks)
    request = DebiasJob(
        model=spec,
        train=table_given(train, "train"),
        unrelated=unrelated_given(unrelated, "unrelated"),
        plan=EvalPlan(
            {"stereoset": table_given(report, "report"), **others}, skip_invalid, with_limit(options, limit)
        ),
        config=config if spec.given is None else replace(config, dtype=spec.dtype),  # type: ignore[arg-type]
    )
    callbacks = Callbacks(progress, say, on_step)
    if out is not None:
        return run_debias(request, out, resume=resume, callbacks=callbacks)
    if resume:
        raise RequestError("resume: there is nothing to resume without a run folder; give out")
    return _debias_unstored(request, callbacks)


def _debias_unstored(request: DebiasJob, callbacks: Callbacks) -> Results:
    """The same in a folder that is removed at the end, with its adapter."""
    with tempfile.TemporaryDirectory(prefix="biasunlearn-") as folder:
        try:
            results = run_debias(request, Path(folder) / "run", resume=False, callbacks=callbacks)
        except Interrupted:
            raise Interrupted("interrupted, and nothing is kept; give out=FOLDER to be able to continue") from None
        return results.with_values(adapter=None, trained_model=None).with_items(results.items)


def run_debias(
    request: DebiasJob,
    out: str | Path,
    *,
    resume: bool,
    callbacks: Callbacks,
    base_scores: ScoreCache | None = None,
) -> Results:
    """`debias`, for a command that calls it as a part of its own work.

    Args:
        base_scores: scores of the base model, shared by several runs of this process (commands/repeated_runs.py).
    """
    request = replace(request, plan=validate_plan(request.plan, out))
    with run_context(out, request.to_dict(), resume=resume, callbacks=callbacks) as context:
        return context.stored if context.stored is not None else _debias(context, request, base_scores)


def _debias(context: RunContext, request: DebiasJob, base_scores: ScoreCache | None) -> Results:
    """Measures, trains, measures again, and writes the results."""
    from biasunlearn.models.quantization import facts
    from biasunlearn.scoring.chat import protocol

    plan, config, run = with_data(request.plan), request.config, context.folder
    pairs = read_triplets(request.train, skip_invalid=plan.skip_invalid)
    prepared_for = partial(
        prepare, pairs, plan.whole("stereoset"), request.unrelated, config,
        skip_invalid=plan.skip_invalid, term_lists=plan.options.term_lists,
    )  # fmt: skip
    prepared = prepared_for()  # wrong data is reported before the model is loaded
    loaded = apply_protocol(_load(request.spec, config.method), plan.options)
    _check_lora_targets(loaded.model, config)
    if unscorable := _unscorable(loaded, prepared):
        prepared = prepared_for(unscorable=unscorable)
    context.begin()
    plan = replace(plan, trained_words=prepared.manifest.all_words)
    base = loaded.with_cache(context.cache if base_scores is None else base_scores)
    first = evaluate_before_judging(base, plan, context.callbacks, "before: ")
    capability_before = capability(loaded, plan.options)
    resumed = run.checkpoint.exists()
    done, cost, data = _unlearn(base, prepared, config, context, first.measured)
    loaded, outcome = loaded.with_model(done.model), done.outcome
    whole_model = not hasattr(done.model, "disable_adapter")
    trained = save_trained(loaded, run, prepared.manifest, adapter=not whole_model, revision=request.model.revision)
    last = evaluate_before_judging(loaded.with_cache(context.cache), plan, context.callbacks, "after: ")
    judged = judge_together((first, last), plan, context.callbacks, loaded.device)
    (items_before, before), (items_after, after) = judged
    after = mark_contamination(after, plan, prepared.manifest)
    results = Results(
        schema=SCHEMA,
        model=request.model.model,
        **only_given(model_source=request.model.source),
        method=config.method,
        adapter=None if whole_model else str(trained),
        trained_model=str(trained) if whole_model else None,
        protocol=ScoringProtocol(**protocol(loaded), dtype=config.dtype, masked=loaded.masked, **facts(loaded.model)),
        before=before,
        benchmarks=after,
        **only_given(
            capability=_with_before(capability_before, capability(loaded, plan.options)),
            search=done.search or None,
            association=association_change(items_before, items_after),
            partial=partial_facts(plan),
        ),
        stopped=Stopped(step=outcome.step, reason=outcome.reason, best_step=outcome.best_step),
        collapsed=outcome.collapsed,
        cost=Cost(**cost, resumed=resumed),
        data=data,
        config=Recipe.model_validate(to_dict(config)),
        environment=environment(),
    )
    return context.finish(results, {"before": items_before, "after": items_after}, plan.source("stereoset"))


def _load(spec: ModelSpec, method: str) -> Any:
    """The model. RequestError for a masked model and a method that is not defined for one."""
    from biasunlearn.models.load import load
    from biasunlearn.models.masked import is_masked

    loaded = load(spec)
    if loaded.masked and not is_masked(loaded.model):
        kind = type(loaded.model).__name__
        raise RequestError(f"{spec.model}: a {kind}; masked models of this kind can be measured, but not debiased")
    if loaded.masked and method in CAUSAL_ONLY:
        raise RequestError(
            f"{spec.model}: a masked model, for which the method {method} is not defined; a method with a gradient is "
            "(docs/methods.md), such as biasunlearn"
        )
    return loaded


def _check_lora_targets(model: Any, config: DebiasConfig) -> None:
    """RequestError, before anything is measured, for names in `lora_targets` that the model does not have."""
    from biasunlearn.models.adapters import lora_targets

    if config.lora_rank:
        lora_targets(model, config)


def _with_before(before: Capability | None, after: Capability | None) -> Capability | None:
    """The tasks after, with those before beside them; None where no task was requested."""
    return after.with_values(before=before.tasks) if before and after else None


def _unscorable(loaded: Any, prepared: Prepared) -> Mapping[Passage, str]:
    """Passages of the training sets and of the stop split that the model cannot score, and why."""
    from biasunlearn.models.batches import encode
    from biasunlearn.models.masked import longest_row

    sets = prepared.sets
    passages = [one for per_type in (sets.forget, sets.retain) for group in per_type.values() for one in group]
    passages += [one for compared in sets.compared.values() for one in compared]
    passages += [side for pairs in sets.protected.values() for pair in pairs for side in pair]
    passages += [c.whole(sentence) for c in prepared.stop for _, sentence in c.sentences()]
    try:
        longest = longest_row(loaded.model, loaded.tokenizer, masked=loaded.masked)
        encode(loaded.tokenizer, passages, max_tokens=longest, chat=loaded.chat, suffixes=loaded.masked)
    except UnscorableError as error:
        return error.reasons
    return {}


def save_trained(
    loaded: Any, run: RunFolder, manifest: Manifest, *, adapter: bool, revision: str | None = None
) -> Path:
    """Saves the result of a method, with the hashes of its training data beside it. Returns its folder.

    Args:
        adapter: a plain PEFT adapter, an erasure or prompts; else the complete model of full fine-tuning.
        revision: of the base model, which a PEFT adapter names.
    """
    with whole_folder(run.adapter if adapter else run.model) as folder:
        if revision is not None and "default" in (known := getattr(loaded.model, "peft_config", {})):
            known["default"].revision = revision
        loaded.model.save_pretrained(folder, safe_serialization=True)
        if not adapter:
            loaded.tokenizer.save_pretrained(folder)
        (folder / MANIFEST).write_text(json.dumps(manifest.to_dict(), indent=1) + "\n", encoding="utf-8")
    return run.adapter if adapter else run.model


def _unlearn(
    base: Any, prepared: Prepared, config: DebiasConfig, context: RunContext, before: Measured
) -> tuple[Any, dict[str, Any], DataFacts]:
    """Evaluates the base model on the stop split and runs the method: its result, its cost, and the data with findings.

    Args:
        base: the base model with the cache of its scores.
        before: its scores on the report file, with which those on the stop split are compared for the user.
    """
    from biasunlearn.benchmarks.stereoset import score_triplets
    from biasunlearn.unlearn.checkpoint import Checkpointer
    from biasunlearn.unlearn.methods import METHODS, Task
    from biasunlearn.unlearn.objectives import OBJECTIVES

    callbacks, run = context.callbacks, context.folder
    loaded = base.with_cache(None)
    identity = _identity(loaded, prepared, config)
    keep = Checkpointer(run.checkpoint, identity, resume=context.resume, say=callbacks.message)

    def compare(scorer: Any) -> list[Comparison]:
        return comparisons(score_triplets(scorer, prepared.stop))

    compared = compare(base)
    answers = _base_answers(base, compared, prepared, config)

    scored = partial(stop_scores, seed=config.seed, base=answers, parts=prepared.parts)

    def evaluate_stop(model: Any) -> StopScores:
        return scored(compare(loaded.in_training(model)))

    first = scored(compared)
    rated = with_rate(config, loaded.model)
    gradient = config.method in OBJECTIVES
    known = rate_finding(config, loaded.model) + small_data_finding(rated, prepared.sets) if gradient else []
    known += base_findings(first, {} if config.stop_on == "report" else _reported(before), config)
    facts = prepared.facts.with_values(findings=[*prepared.facts.findings, *check_labels(compared), *known])
    for finding in facts.findings:
        callbacks.message(finding)
    with measure_cost(loaded.device.type) as cost:
        sequential = None
        if config.evaluation == "sequential":
            sequential = partial(_sequential, loaded, prepared, compared, scored)
        task = Task(
            loaded, prepared.sets, config, keep, evaluate_stop, first, callbacks.message, callbacks.on_step, sequential
        )
        done = METHODS[config.method](task)
    if done.outcome.interrupted:
        raise Interrupted(
            f"stopped at step {done.outcome.step}, everything is saved; continue with the same command and --resume"
        )
    return done, cost, facts


def _sequential(
    loaded: Any,
    prepared: Prepared,
    base: Sequence[Comparison],
    summarise: Callable[[Sequence[Comparison]], StopScores],
    model: Any,
) -> SequentialEvaluator:
    """How a model in training is evaluated on parts of the stop split."""
    from biasunlearn.benchmarks.stereoset import score_triplets

    triplets = {one.id: one for one in prepared.stop}

    def compare(clusters: Sequence[str]) -> list[Comparison]:
        return comparisons(score_triplets(loaded.in_training(model), [triplets[name] for name in clusters]))

    if prepared.parts is None:
        return SequentialEvaluator(base, compare, summarise)
    return SequentialEvaluator(base, compare, summarise, prepared.parts.of)


def _base_answers(
    base: Any, compared: Sequence[Comparison], prepared: Prepared, config: DebiasConfig
) -> BaseAnswers | None:
    """The base model's answers to stop and training pairs, for a swap rule that has to know the noise of SS."""
    from biasunlearn.benchmarks.stereoset import score_triplets

    if not knows_noise(config) or config.stop_on == "report":
        return None
    pairs = base_pairs(prepared.train, prepared.stop, config.stop_items)
    return BaseAnswers(compared, comparisons(score_triplets(base, pairs)))


def _reported(before: Measured) -> dict[str, ReportedScore]:
    """SS of the base model on the report file by bias type, the pairs pooled."""
    rows = before.stereoset.bias_types.items() if before.stereoset else ()
    return {
        name: ReportedScore(row.ss_micro, row.ss_micro_low, row.ss_micro_high, row.n)
        for name, row in rows
        if row.ss_micro is not None and row.ss_micro_low is not None and row.ss_micro_high is not None
    }


def _identity(loaded: Any, prepared: Prepared, config: DebiasConfig) -> str:
    """What a checkpoint belongs to: the same recipe on the same sets, with the same base model and tokenizer."""
    from biasunlearn.models.batches import encode
    from biasunlearn.models.weights_hash import weights_hash

    sets = prepared.sets
    digest = hashlib.sha256(json.dumps([weights_hash(loaded.model), to_dict(config)], sort_keys=True).encode())
    for name, per_type in (("forget", sets.forget), ("retain", sets.retain), ("", sets.compared)):
        for bias_type, passages in per_type.items():
            rows = encode(loaded.tokenizer, list(passages), suffixes=loaded.masked)
            known = [(row.ids, row.first_scored, *([row.after] if row.after else [])) for row in rows]
            digest.update(f"{name} {bias_type} {known}\n".encode())
    stop = prepared.facts.split("stop")
    digest.update(str(stop.sha256 if stop else None).encode())
    return digest.hexdigest()
