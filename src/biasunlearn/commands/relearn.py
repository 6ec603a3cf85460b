"""`relearn`: does a debiasing last? The debiased model learns on, its base beside it, and both are measured on the way.

The adapter is merged and all weights learn: whoever takes a debiased model and goes on training has just that, and an
adapter that stayed frozen beside what is learned would last by construction. Ordinary text asks whether further use
wears the debiasing off; the stereotypes that were forgotten ask how fast somebody who wants them back has them.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from biasunlearn.commands.debias import Say
from biasunlearn.commands.measure import Progress, finish, known_benchmarks, read_manifest, run_benchmarks, stamp
from biasunlearn.commands.relearn_scores import BASE, DEBIASED, MODELS, Look, kept, points, stage_of
from biasunlearn.commands.transfer import Learned, prepared_again, read_run
from biasunlearn.data.records import Passage
from biasunlearn.data.tables import read_text
from biasunlearn.errors import RequestError
from biasunlearn.models.spec import ModelSpec
from biasunlearn.runs.folder import SCHEMA, RunFolder, environment, finished, new_run
from biasunlearn.runs.lock import releasing_locks
from biasunlearn.runs.results import DataFile, Measured, Relearned, Results, ScoringProtocol, TextFacts
from biasunlearn.runs.score_cache import CachedJob, ScoreCache
from biasunlearn.scoring.protocol import Asking
from biasunlearn.stats.stereoset import Item

STEPS = (0, 25, 50, 100, 200)
STEREOTYPES = "stereotypes"
"""In place of a file: the stereotypes that the run was trained to forget, whole sentences."""


@dataclass(frozen=True, slots=True)
class Taught:
    """What is learned from: running text, or sentences that are rows of their own."""

    text: str
    sentences: tuple[str, ...]
    facts: Mapping[str, Any]


@releasing_locks()
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
    benchmarks: Mapping[str, str] | None = None,
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
        report: StereoSet clusters or pairs to measure on (default: those that the run reported on).
        steps: when to measure; 0 is always among them.
        seeds: of the order of the text, a course for each.
        rate: learning rate of AdamW, constant after ten steps; `batch`: rows of a step; `length`: tokens of a row.
        benchmarks: more to measure each time, as {"perplexity": "other.txt"}.
    Returns:
        The results; `before` and `benchmarks` are the debiased model's first and last evaluation.
    Raises:
        RequestError: no such run or one with nothing to merge, bad steps, data that is not there any more.
        WriteError: the disk is full or the like; call again with resume=True.
    """
    learned = read_run(run)
    _check_mergeable(learned)
    steps, seeds = _sound_steps(steps), tuple(dict.fromkeys(seeds))
    taught = _taught(learned, on)
    request = {
        "run": str(run), "on": on, "sha256": taught.facts["sha256"], "report": report or learned.request.report,
        "steps": list(steps), "seeds": list(seeds), "rate": rate, "batch": batch, "length": length,
        "benchmarks": dict(benchmarks or {}), "skip_invalid": skip_invalid, "trust_remote_code": trust_remote_code,
    }  # fmt: skip
    known_benchmarks(_measured(request))
    _lesson(request)
    if resume and (stored := finished(out, {"relearn": request})) is not None:
        return stored
    folder = new_run(out, resume=resume)
    known = ScoreCache(folder.scored, {"relearn": request}).job("looks")
    folder.write_yaml("config.yaml", {"relearn": request})  # from here on there is a run
    looks: list[Look] = []
    for model in MODELS:
        for seed in seeds:
            looks += _looks(_Course(learned, model, seed, taught, request, known, folder, progress))
    facts = {**taught.facts, "rows": (rows := int(known.known["rows"])), "passes": round(steps[-1] * batch / rows, 2)}
    if say:
        say(f"{rows} rows of {facts['path']}, read {facts['passes']:g} times in {steps[-1]} steps")
    results = _results(learned, looks, request, facts)
    stages = {stage_of(look, seeds[0], steps[-1]): list(look.items) for look in looks}
    last = stages.pop("after", stages["before"])  # the last stage is what everybody shows
    finish(folder, results, {"relearn": request}, {**stages, "after": last})
    return results


@dataclass(frozen=True, slots=True)
class _Course:
    """One model's course with one seed: all that it needs."""

    learned: Learned
    model: Literal["debiased", "base"]
    seed: int
    taught: Taught
    request: Mapping[str, Any]
    known: CachedJob
    """Looks by name, and how many rows there are to learn from."""
    folder: RunFolder
    progress: Progress | None

    def name(self, step: int) -> str:
        return f"{self.model}, seed {self.seed}, step {step}" if step else f"{self.model}, step 0"

    def keep(self, part: str, found: Any) -> None:
        self.known.known[part] = found
        self.known.store(part, found)


def _looks(course: _Course) -> list[Look]:
    """What a course comes to; what is known of it already is not done again. Step 0 counts for the first seed."""
    steps = [step for step in course.request["steps"] if step or course.seed == course.request["seeds"][0]]
    if left := [step for step in steps if course.name(step) not in course.known.known]:
        _go(course, left)
    found = [(step, course.known.known[course.name(step)]) for step in steps]
    return [
        Look(
            course.model, course.seed, step, look["loss"], [Item(*row) for row in look["items"]],
            Measured.model_validate(look["entries"]),
        )
        for step, look in found
    ]


def _go(course: _Course, left: Sequence[int]) -> None:
    """Takes the steps up to those that are left, and measures there; each look is stored, then a checkpoint."""
    from biasunlearn.models.distributed import count
    from biasunlearn.models.weights_hash import weights_hash
    from biasunlearn.unlearn.finetune import FineTuning

    loaded = _open(course.learned, course.model, course.request)
    if count() > 1:
        raise RequestError("relearn runs in one process; start it without a launcher")
    rows = _rows(loaded, course.taught, course.request["length"])
    if "rows" not in course.known.known:
        course.keep("rows", len(rows))
    what = json.dumps([weights_hash(loaded.model), course.request, course.model, course.seed], sort_keys=True)
    identity = hashlib.sha256(what.encode()).hexdigest()
    tuning = FineTuning(loaded.model, rows, _lesson(course.request), course.seed)
    tuning.restore(course.folder.checkpoint, identity)
    last = course.request["steps"][-1]
    for step in left:
        losses: dict[int, float] = {}
        while tuning.step < step:
            loss = tuning.take()
            losses[tuning.step] = loss
            if course.progress:
                course.progress(f"{course.model}, seed {course.seed}: fine-tuning", tuning.step, last)
        items, measured = run_benchmarks(
            loaded, _measured(course.request), batch_tokens=course.learned.recipe.batch_tokens,
            skip_invalid=course.request["skip_invalid"], asking=Asking(), progress=course.progress,
            label=f"{course.name(step)}: ",
        )  # fmt: skip
        before = max((earlier for earlier in course.request["steps"] if earlier < step), default=0)
        since = [loss for at, loss in losses.items() if at > before]
        mean = sum(since) / len(since) if since else None
        found = {"loss": mean, "items": [astuple(i) for i in items], "entries": measured.to_dict()}
        course.keep(course.name(step), found)
        if step < last:
            tuning.save(course.folder.checkpoint, identity)


def _lesson(request: Mapping[str, Any]) -> Any:
    from biasunlearn.unlearn.finetune import Lesson

    return Lesson(request["rate"], request["batch"], request["length"])


def _measured(request: Mapping[str, Any]) -> dict[str, str]:
    return {"stereoset": request["report"], **request["benchmarks"]}


def _open(learned: Learned, model: str, request: Mapping[str, Any]) -> Any:
    """The base, or the debiased model as one piece of weights; in float32, since half precision loses small steps."""
    from biasunlearn.models.load import load

    base, trust = learned.request.model, bool(request["trust_remote_code"])
    if model == BASE:
        return load(ModelSpec(base, trust_remote_code=trust))
    if not _has_adapter(learned):
        return load(ModelSpec(str(learned.folder.model), trust_remote_code=trust))
    adapted = load(ModelSpec(base, adapter=learned.folder.adapter, trust_remote_code=trust))
    return adapted.with_model(adapted.model.merge_and_unload())


def _has_adapter(learned: Learned) -> bool:
    return (learned.folder.adapter / "adapter_config.json").exists()


def _check_mergeable(learned: Learned) -> None:
    """RequestError for a run whose result is no change of weights."""
    if _has_adapter(learned) or learned.folder.model.is_dir():
        return
    raise RequestError(
        f"{learned.folder.path}: what this run has learned (an erasure or a prompt) is no change of weights, so "
        "there is nothing that further training could wear off"
    )


def _rows(loaded: Any, taught: Taught, length: int) -> list[Any]:
    """As the tokenizer has it. Sentences are rows of their own, running text is cut into rows."""
    from biasunlearn.models.batches import encode
    from biasunlearn.models.forward import max_tokens
    from biasunlearn.unlearn.finetune import blocks

    longest = max_tokens(loaded.model)
    if taught.sentences:
        return encode(loaded.tokenizer, [Passage("", one) for one in taught.sentences], max_tokens=longest)
    if longest is not None and length >= longest:
        raise RequestError(f"--length {length}: the model takes {longest} tokens, and one of them opens a row")
    return blocks(loaded.tokenizer, taught.text, length)


def _taught(learned: Learned, on: str) -> Taught:
    """RequestError where there is no such file, or the run's training pairs are not what they were."""
    if on != STEREOTYPES:
        text = read_text(on)
        if not text.strip():
            raise RequestError(f"{on}: empty; give a text to learn from")
        return Taught(text, (), {"path": on, "sha256": hashlib.sha256(text.encode()).hexdigest()})
    whole = replace(learned, recipe=replace(learned.recipe, supervised_to="end"))
    try:
        sets = prepared_again(whole, "train").sets
    except RequestError as error:
        raise RequestError(f"{learned.folder.path}: its stereotypes cannot be had again: {error}") from None
    # Behind a bias type's stereotypes, as many as its anti-stereotypes, stands the adversarial part of its forget set.
    chosen = [one for name, passages in sets.forget.items() for one in passages[: len(sets.retain[name])]]
    sentences = tuple(passage.prefix + passage.text for passage in chosen)
    digest = hashlib.sha256("\n".join(sentences).encode()).hexdigest()
    return Taught("", sentences, {"path": STEREOTYPES, "sha256": digest})


def _sound_steps(steps: Sequence[int]) -> tuple[int, ...]:
    if any(step < 0 for step in steps):
        raise RequestError(f"--steps {' '.join(map(str, steps))}: must not be negative")
    return tuple(sorted({0, *steps}))


def _results(
    learned: Learned, looks: Sequence[Look], request: Mapping[str, Any], facts: Mapping[str, Any]
) -> Results:
    debiased = [look for look in looks if look.model == DEBIASED and look.seed == request["seeds"][0]]
    seen = read_manifest(learned.folder.adapter if _has_adapter(learned) else learned.folder.model)
    before, after = (
        stamp(look.measured, _measured(request), seen, skip_invalid=request["skip_invalid"])
        for look in (debiased[0], debiased[-1])
    )
    asked = {key: request[key] for key in ("run", "on", "steps", "seeds", "rate", "batch", "length")}
    report = DataFile(path=request["report"], sha256=after.stereoset.sha256 if after.stereoset else None)
    return Results(
        schema=SCHEMA,
        model=learned.request.model,
        method="relearning",
        adapter=None,  # the weights that were learned on are not kept
        protocol=ScoringProtocol(text="raw", dtype="float32", masked=False),
        relearned=Relearned(
            **asked, text=TextFacts.model_validate(dict(facts)), points=points(looks), kept=kept(looks)
        ),
        before=before,
        benchmarks=after,
        data=learned.results.data.with_values(report=report),
        environment=environment(),
    )  # fmt: skip
