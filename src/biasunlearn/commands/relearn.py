"""`relearn`: does a debiasing last? The debiased model and its base are trained further, and measured on the way.

The adapter is merged and all weights are trained: this is what happens when somebody fine-tunes a debiased model. An
adapter that stayed frozen beside the trained weights would last by construction. Training on ordinary text shows
whether further use undoes the debiasing; training on the forgotten stereotypes shows how fast they can be relearned.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from biasunlearn.benchmarks import JUDGED
from biasunlearn.commands.evaluation import (
    evaluate,
    mark_contamination,
    partial_facts,
    read_manifest,
    validate_plan,
    with_data,
    with_limit,
    without_judged,
)
from biasunlearn.commands.relearn_scores import BASE, DEBIASED, MODELS, Measurement, kept, points, stage_of
from biasunlearn.commands.run_context import Callbacks, Progress, RunContext, Say, run_context
from biasunlearn.commands.transfer import DebiasRun, prepared_again, read_run
from biasunlearn.data.files import read_text
from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.models.spec import ModelSpec
from biasunlearn.runs.benchmark_results import Measured
from biasunlearn.runs.folder import SCHEMA, environment
from biasunlearn.runs.results import Results, only_given
from biasunlearn.runs.score_cache import CachedJob
from biasunlearn.runs.sections import FileFacts, Relearned, ScoringProtocol, TextFacts
from biasunlearn.scoring.protocol import EvalOptions, EvalPlan
from biasunlearn.stats.stereoset import Item

STEPS = (0, 25, 50, 100, 200)
STEREOTYPES = "stereotypes"
"""In place of a file: the stereotypes that the run was trained to forget, as whole sentences."""


@dataclass(frozen=True, slots=True)
class TrainingText:
    """What is learned: running text, or sentences that are rows of their own."""

    text: str
    sentences: tuple[str, ...]
    facts: TextFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class RelearnJob:
    """Everything that the run depends on, except its folder."""

    run: str
    on: str
    text: TrainingText
    plan: EvalPlan
    """Its benchmark stereoset is the report file."""
    steps: tuple[int, ...]
    seeds: tuple[int, ...]
    rate: float
    batch: int
    length: int
    base: ModelSpec
    """In float32, since training in half precision loses small steps."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for config.yaml."""
        benchmarks = dict(self.plan.benchmarks)
        report = benchmarks.pop("stereoset")
        request = {
            "run": self.run, "on": self.on, "sha256": self.text.facts.sha256, "report": report,
            "steps": list(self.steps), "seeds": list(self.seeds), "rate": self.rate, "batch": self.batch,
            "length": self.length, "benchmarks": benchmarks, "skip_invalid": self.plan.skip_invalid,
            "trust_remote_code": self.base.trust_remote_code, **only_given(limit=self.plan.options.limit),
        }  # fmt: skip
        if set(benchmarks) & set(JUDGED):
            request["options"] = self.plan.options.to_dict()
        return {"relearn": request}

    def lesson(self) -> Any:
        """How to fine-tune. RequestError where a value makes no sense."""
        from biasunlearn.unlearn.finetune import FineTuningConfig

        return FineTuningConfig(self.rate, self.batch, self.length)


def relearn(
    run: str | Path,
    *,
    on: str,
    out: str | Path,
    report: str | None = None,
    steps: Sequence[int] = STEPS,
    seeds: Sequence[int] = (0,),
    rate: float = 5e-5,
    batch: int = 16,
    length: int = 64,
    device: str | None = None,
    batch_tokens: int | None = None,
    limit: int | None = None,
    benchmarks: Mapping[str, str] | None = None,
    options: EvalOptions | None = None,
    skip_invalid: bool = False,
    trust_remote_code: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Results:
    """Fine-tunes the debiased model of a run, and its base on the same text in the same order, and measures both.

    Args:
        run: a finished `debias` run: with a LoRA adapter, which is merged, or with all weights changed.
        on: a text file, or `STEREOTYPES`.
        out: run folder to write.
        report: StereoSet triplets or pairs to measure on (default: those that the run reported on).
        steps: when to measure; 0 is always among them.
        seeds: of the order of the text; both models are trained once for each.
        rate: learning rate of AdamW, constant after ten steps; `batch`: rows of a step; `length`: tokens of a row.
        batch: sequences in a training step.
        length: tokens of a sequence.
        device: cpu, cuda, cuda:1, ... (default: the accelerator if there is one, else the CPU).
        batch_tokens: tokens in a scoring batch (default: as in the run's recipe).
        limit: measure about this many items of each benchmark (see `measure`).
        benchmarks: more benchmarks to measure each time, as {"perplexity": "other.txt"}. Benchmarks of judged answers
            are measured at the first and the last step of the debiased model alone.
        options: judges and limits of the answers that they read.
        skip_invalid: leave out rows that cannot be used; they are counted and listed. Otherwise they are an error.
        trust_remote_code: run code that the repository of the model contains.
        resume: continue an interrupted run in `out`.
        progress: called with (what, done, of).
        say: called with every message, one line each.
    Returns:
        The results; `before` and `benchmarks` are the debiased model at its first and last step.
    Raises:
        RequestError: no such run or one with nothing to merge, bad steps, data that is no longer there.
        WriteError: the disk is full or the like; call again with resume=True.
    """
    learned = read_run(run)
    _check_mergeable(learned)
    few = with_limit(replace(options or EvalOptions(), replacements=0), limit)  # it measures often
    plan = EvalPlan({"stereoset": report or learned.request.report, **(benchmarks or {})}, skip_invalid, few)
    own_folder = out if set(plan.benchmarks) & set(JUDGED) else None  # of the answers
    base = learned.base(device=device, trust_remote_code=trust_remote_code)
    request = RelearnJob(
        run=str(run), on=on, text=_training_text(learned, on), plan=validate_plan(plan, own_folder),
        steps=_check_steps(steps), seeds=tuple(dict.fromkeys(seeds)), rate=rate, batch=batch, length=length,
        base=replace(base, dtype="float32", batch_tokens=batch_tokens or base.batch_tokens),
    )  # fmt: skip
    request.lesson()
    callbacks = Callbacks(progress, say)
    with run_context(out, request.to_dict(), resume=resume, callbacks=callbacks) as context:
        if context.stored is not None:
            return context.stored
        return _relearn(context, learned, replace(request, plan=with_data(request.plan)))


def _relearn(context: RunContext, learned: DebiasRun, request: RelearnJob) -> Results:
    """Trains both models with every seed, and writes the results."""
    assert context.cache is not None
    known = context.cache.job("evaluations")
    context.begin()
    evaluations: list[Measurement] = []
    for model in MODELS:
        for seed in request.seeds:
            evaluations += _evaluations(_Course(learned, model, seed, request, known, context))
    last_step, rows = request.steps[-1], int(known.known["rows"])
    passes = round(last_step * request.batch / rows, 2)
    facts = request.text.facts.with_values(rows=rows, passes=passes)
    context.callbacks.message(f"{rows} rows of {facts.path}, read {passes:g} times in {last_step} steps")
    results = _results(learned, evaluations, request, facts)
    stages = {stage_of(evaluation, request.seeds[0], last_step): list(evaluation.items) for evaluation in evaluations}
    last = stages.pop("after", stages["before"])  # readers show the last stage
    return context.finish(results, {**stages, "after": last}, request.plan.source("stereoset"))


@dataclass(frozen=True, slots=True)
class _Course:
    """The training of one model with one seed."""

    learned: DebiasRun
    model: Literal["debiased", "base"]
    seed: int
    request: RelearnJob
    known: CachedJob
    """Evaluations by name, and the number of rows to learn from."""
    context: RunContext

    def name(self, step: int) -> str:
        return f"{self.model}, seed {self.seed}, step {step}" if step else f"{self.model}, step 0"

    def judges_at(self, step: int) -> bool:
        """Whether answers are judged there: those of the debiased model before and after, with the first seed."""
        steps, first = self.request.steps, self.request.seeds[0]
        return self.model == DEBIASED and self.seed == first and step in (steps[0], steps[-1])

    def store(self, part: str, value: Any) -> None:
        self.known.known[part] = value
        self.known.store(part, value)


def _evaluations(course: _Course) -> list[Measurement]:
    """All evaluations of a course; those known from before are not done again. Step 0 belongs to the first seed."""
    steps = [step for step in course.request.steps if step or course.seed == course.request.seeds[0]]
    if left := [step for step in steps if course.name(step) not in course.known.known]:
        _train(course, left)
    found = [(step, course.known.known[course.name(step)]) for step in steps]
    return [
        Measurement(
            course.model, course.seed, step, evaluation["loss"], [Item(*row) for row in evaluation["items"]],
            Measured.model_validate(evaluation["entries"]),
        )
        for step, evaluation in found
    ]  # fmt: skip


def _train(course: _Course, left: Sequence[int]) -> None:
    """Trains up to each of the steps that are left and measures there; stores each result, then a checkpoint."""
    from biasunlearn.models.distributed import count
    from biasunlearn.models.weights_hash import weights_hash
    from biasunlearn.unlearn.finetune import FineTuning

    request, context = course.request, course.context
    loaded = _load(course)
    if count() > 1:
        raise RequestError("relearn runs in one process; start it without a launcher")
    rows = _rows(loaded, request.text, request.length)
    if "rows" not in course.known.known:
        course.store("rows", len(rows))
    parts = [weights_hash(loaded.model), request.to_dict()["relearn"], course.model, course.seed]
    identity = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    tuning = FineTuning(loaded.model, loaded.tokenizer, rows, request.lesson(), course.seed)
    tuning.restore(context.folder.checkpoint, identity)
    last = request.steps[-1]
    counter = context.callbacks.counter(f"{course.model}, seed {course.seed}: fine-tuning")
    for step in left:
        losses: dict[int, float] = {}
        while tuning.step < step:
            loss = tuning.take()
            losses[tuning.step] = loss
            counter(tuning.step, last)
        plan = request.plan if course.judges_at(step) else without_judged(request.plan)
        items, measured = evaluate(loaded, plan, context.callbacks, f"{course.name(step)}: ")
        before = max((earlier for earlier in request.steps if earlier < step), default=0)
        since = [loss for at, loss in losses.items() if at > before]
        mean = sum(since) / len(since) if since else None
        found = {"loss": mean, "items": [astuple(i) for i in items], "entries": measured.to_dict()}
        course.store(course.name(step), found)
        if step < last:
            tuning.save(context.folder.checkpoint, identity)


def _load(course: _Course) -> Any:
    """The base, or the debiased model with its adapter merged."""
    from biasunlearn.models.load import load

    base, folder = course.request.base, course.learned.folder
    if course.model == BASE:
        return load(base)
    if not _has_adapter(course.learned):
        return load(replace(base, model=str(folder.model), revision=None))
    adapted = load(replace(base, adapter=folder.adapter))
    return adapted.with_model(adapted.model.merge_and_unload())


def _has_adapter(run: DebiasRun) -> bool:
    return (run.folder.adapter / "adapter_config.json").exists()


def _check_mergeable(run: DebiasRun) -> None:
    """RequestError for a run whose result is no change of weights."""
    if _has_adapter(run) or run.folder.model.is_dir():
        return
    raise RequestError(
        f"{run.folder.path}: its result (an erasure or a prompt) is no change of weights, so "
        "there is nothing that further training could undo"
    )


def _rows(loaded: Any, source: TrainingText, length: int) -> list[Any]:
    """The text as rows of tokens: sentences are rows of their own, running text is cut into rows."""
    from biasunlearn.models.batches import encode
    from biasunlearn.models.masked import longest_row
    from biasunlearn.unlearn.finetune import blocks

    longest = longest_row(loaded.model, loaded.tokenizer, masked=loaded.masked)
    if source.sentences:
        return encode(loaded.tokenizer, [Passage("", one) for one in source.sentences], max_tokens=longest)
    if longest is not None and length >= longest:
        raise RequestError(f"--length {length}: the model takes {longest} tokens, and one of them is the start token")
    return blocks(loaded.tokenizer, source.text, length)


def _training_text(run: DebiasRun, on: str) -> TrainingText:
    """The text of a file, or the stereotypes of the run. RequestError where they are missing or have changed."""
    if on != STEREOTYPES:
        text = read_text(on)
        if not text.strip():
            raise RequestError(f"{on}: empty; give a text to learn from")
        return TrainingText(text, (), TextFacts(path=on, sha256=hashlib.sha256(text.encode()).hexdigest()))
    whole = replace(run, recipe=replace(run.recipe, supervised_to="end"))
    try:
        sets = prepared_again(whole, "train").sets
    except RequestError as error:
        raise RequestError(f"{run.folder.path}: its stereotypes cannot be read again: {error}") from None
    # The forget set of a bias type holds its stereotypes, as many as its anti-stereotypes, then the adversarial part.
    chosen = [one for name, passages in sets.forget.items() for one in passages[: len(sets.retain[name])]]
    sentences = tuple(passage.prefix + passage.text for passage in chosen)
    digest = hashlib.sha256("\n".join(sentences).encode()).hexdigest()
    return TrainingText("", sentences, TextFacts(path=STEREOTYPES, sha256=digest))


def _check_steps(steps: Sequence[int]) -> tuple[int, ...]:
    if any(step < 0 for step in steps):
        raise RequestError(f"--steps {' '.join(map(str, steps))}: must not be negative")
    return tuple(sorted({0, *steps}))


def _results(
    learned: DebiasRun, evaluations: Sequence[Measurement], request: RelearnJob, facts: TextFacts
) -> Results:
    debiased = [one for one in evaluations if one.model == DEBIASED and one.seed == request.seeds[0]]
    seen = read_manifest(learned.folder.adapter if _has_adapter(learned) else learned.folder.model)
    before, after = (
        mark_contamination(evaluation.measured, request.plan, seen) for evaluation in (debiased[0], debiased[-1])
    )
    sha256 = after.stereoset.sha256 if after.stereoset else None
    report = FileFacts(path=str(request.plan.benchmarks["stereoset"]), sha256=sha256)
    return Results(
        schema=SCHEMA,
        model=learned.request.model,
        method="relearning",
        adapter=None,  # the trained weights are not stored
        protocol=ScoringProtocol(text="raw", dtype="float32", masked=bool(learned.results.protocol.masked)),
        relearned=Relearned(
            run=request.run, on=request.on, steps=list(request.steps), seeds=list(request.seeds), rate=request.rate,
            batch=request.batch, length=request.length, text=facts,
            points=points(evaluations), kept=kept(evaluations),
        ),
        before=before,
        benchmarks=after,
        data=learned.results.data.with_values(report=report),
        **only_given(partial=partial_facts(request.plan)), environment=environment(),
    )  # fmt: skip
