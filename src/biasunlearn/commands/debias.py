"""`debias`: the main job. Measure, unlearn, measure again, and store what proves it."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from biasunlearn.commands.measure import (
    MANIFEST,
    Progress,
    capability,
    finish,
    known_benchmarks,
    plain,
    ready,
    run_benchmarks,
    sound,
    stamp,
)
from biasunlearn.config import DebiasConfig, to_dict
from biasunlearn.data.checks import check_labels
from biasunlearn.errors import RequestError
from biasunlearn.models.spec import ModelSpec
from biasunlearn.runs.atomic import whole_folder
from biasunlearn.runs.cost import measure_cost
from biasunlearn.runs.folder import SCHEMA, RunFolder, environment, finished, new_run
from biasunlearn.runs.lock import releasing_locks
from biasunlearn.runs.results import (
    Candidate,
    Capability,
    Cost,
    Manifest,
    Recipe,
    Results,
    RunData,
    ScoringProtocol,
    Stopped,
    only_given,
)
from biasunlearn.runs.score_cache import ScoreCache
from biasunlearn.scoring.protocol import Asking
from biasunlearn.stats.stereoset import Comparison, comparisons
from biasunlearn.unlearn.evaluation import StopScores, stop_scores
from biasunlearn.unlearn.prepare import Prepared, prepare

Say = Callable[[str], None]


class Interrupted(Exception):
    """Ctrl-C during training: the state is saved, and the message says how to go on."""


@releasing_locks()
def debias(
    model: str,
    *,
    train: str,
    report: str,
    out: str | Path,
    unrelated: str | None = None,
    config: DebiasConfig | None = None,
    benchmarks: Mapping[str, str] | None = None,
    skip_invalid: bool = False,
    trust_remote_code: bool = False,
    resume: bool = False,
    asking: Asking | None = None,
    progress: Progress | None = None,
    say: Say | None = None,
    on_step: Callable[[dict[str, Any]], None] | None = None,
    untrained: ScoreCache | None = None,
) -> Results:
    """Unlearns a causal model's social bias with an adapter, and reports before and after on the report file.

    Args:
        train: pairs to learn from; a part of them, by target term, is held out for swap and stop.
        report: StereoSet triplets or pairs that neither training nor stopping looks at.
        unrelated: triplets with unrelated sentences, or a .txt of sentences, for the KL term.
        benchmarks: more benchmarks to measure before and after, as {name: path}.
        asking: how they are asked (chat template, classifiers, ...), and tasks of lm-eval to run before and after.
        say: called with every finding, one line each.
        untrained: what other runs of this process found of the untrained model, and this one adds to
            (commands/repeated_runs.py).
    Returns:
        The results, as stored in results.json.
    Raises:
        RequestError: anything in the request that the caller can mend.
        WriteError: the disk is full or the like; call again with resume=True.
        Interrupted: Ctrl-C; call again with resume=True.
    """
    config = config or DebiasConfig()
    say = say or (lambda line: None)
    measured = {"stereoset": report, **(benchmarks or {})}
    known_benchmarks(measured)
    asking = sound(asking or Asking(), measured, out)
    request = {
        "model": model, "train": train, "unrelated": unrelated, "report": report,
        "benchmarks": dict(benchmarks or {}), "skip_invalid": skip_invalid, "trust_remote_code": trust_remote_code,
        "asking": plain(asking),
    }  # fmt: skip
    whole = {"debias": request, "recipe": to_dict(config)}
    if resume and (stored := finished(out, whole)) is not None:
        return stored
    prepared = prepare(train, report, unrelated, config, skip_invalid=skip_invalid)
    run = new_run(out, resume=resume)
    memory = ScoreCache(run.scored, whole)
    from biasunlearn.models.load import load
    from biasunlearn.models.quantization import facts
    from biasunlearn.scoring.chat import protocol
    from biasunlearn.unlearn.checkpoint import Keeper

    loaded = load(ModelSpec(model, dtype=config.dtype, trust_remote_code=trust_remote_code))
    if loaded.masked:
        raise RequestError(f"{model}: a masked model; debias needs a causal one (measure takes both)")
    loaded = ready(loaded, asking)
    run.write_yaml("config.yaml", whole)  # from here on there is a run
    arguments: dict[str, Any] = {
        "batch_tokens": config.batch_tokens, "skip_invalid": skip_invalid, "asking": asking, "progress": progress,
    }  # fmt: skip
    as_it_came = loaded.with_cache(memory if untrained is None else untrained)
    items_before, before = run_benchmarks(as_it_came, measured, label="before: ", **arguments)
    capability_before = capability(loaded, asking)
    resumed = run.checkpoint.exists()
    keep = Keeper(run.checkpoint, _identity(loaded, prepared, config), resume=resume, say=say)
    done, cost = _unlearn(loaded, as_it_came, prepared, config, keep, say=say, on_step=on_step)
    loaded, outcome = loaded.with_model(done.model), done.outcome
    whole_model = not hasattr(done.model, "disable_adapter")
    trained = save_trained(loaded, run, prepared.manifest, adapter=not whole_model)
    items_after, after = run_benchmarks(loaded.with_cache(memory), measured, label="after: ", **arguments)
    after = stamp(after, measured, Manifest.model_validate(prepared.manifest), skip_invalid=skip_invalid)
    results = Results(
        schema=SCHEMA,
        model=model,
        method=config.method,
        adapter=None if whole_model else str(trained),
        trained_model=str(trained) if whole_model else None,
        protocol=ScoringProtocol(**protocol(loaded), dtype=config.dtype, masked=False, **facts(loaded.model)),
        before=before,
        benchmarks=after,
        **only_given(
            capability=_with_before(capability_before, capability(loaded, asking)),
            search=[Candidate.model_validate(row) for row in done.search] or None,
        ),
        stopped=Stopped(step=outcome.step, reason=outcome.reason, best_step=outcome.best_step),
        collapsed=outcome.collapsed,
        cost=Cost(**cost, resumed=resumed),
        data=RunData.model_validate(prepared.facts),
        config=Recipe.model_validate(to_dict(config)),
        environment=environment(),
    )
    finish(run, results, whole, {"before": items_before, "after": items_after})
    return results


def _with_before(before: Capability | None, after: Capability | None) -> Capability | None:
    """The tasks after, with those before beside them; None where no task was asked for."""
    return after.with_values(before=before.tasks) if before and after else None


def save_trained(loaded: Any, run: RunFolder, manifest: Mapping[str, Any], *, adapter: bool) -> Path:
    """What the method gives: a plain PEFT adapter, an erasure or prompts, or with full fine-tuning a whole model;
    beside it the hashes of what it was trained on."""
    with whole_folder(run.adapter if adapter else run.model) as folder:
        loaded.model.save_pretrained(folder, safe_serialization=True)
        if not adapter:
            loaded.tokenizer.save_pretrained(folder)
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return run.adapter if adapter else run.model


def _unlearn(
    loaded: Any,
    as_it_came: Any,
    prepared: Prepared,
    config: DebiasConfig,
    keep: Any,
    *,
    say: Say,
    on_step: Callable[[dict[str, Any]], None] | None,
) -> tuple[Any, dict[str, Any]]:
    """Looks at the untrained model, then leaves it to the method: what that gives, and what it cost.

    Args:
        as_it_came: the untrained model with a memory of what is known of it.
    """
    from biasunlearn.benchmarks.stereoset import score_triplets
    from biasunlearn.unlearn.methods import METHODS, Task

    def compare(scorer: Any) -> list[Comparison]:
        return comparisons(score_triplets(scorer, prepared.stop, batch_tokens=config.batch_tokens))

    def look(model: Any) -> StopScores:
        return stop_scores(compare(loaded.with_model(model)), seed=config.seed)

    untrained = compare(as_it_came)
    prepared.facts["findings"] += check_labels(untrained)
    first = stop_scores(untrained, seed=config.seed)
    for finding in prepared.facts["findings"]:
        say(finding)
    with measure_cost() as cost:
        done = METHODS[config.method](Task(loaded, prepared.sets, config, keep, look, first, say, on_step))
    if done.outcome.interrupted:
        raise Interrupted(
            f"stopped at step {done.outcome.step}, everything is saved; go on with the same command and --resume"
        )
    return done, cost


def _identity(loaded: Any, prepared: Prepared, config: DebiasConfig) -> str:
    """What a checkpoint belongs to: the same recipe on the same pairs and the same untrained model."""
    from biasunlearn.models.weights_hash import weights_hash

    splits = prepared.facts["splits"]
    parts = [weights_hash(loaded.model), to_dict(config), splits["train"]["sha256"], splits["stop"]["sha256"]]
    what = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(what.encode()).hexdigest()
