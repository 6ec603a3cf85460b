"""`measure` and `rescore`: a model, or stored scores, against benchmarks -> results, without any training."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from biasunlearn.benchmarks import BENCHMARKS, JUDGED, NAMES
from biasunlearn.benchmarks.association import association_change
from biasunlearn.commands.evaluation import (
    apply_protocol,
    capability,
    check_benchmark_names,
    evaluate,
    mark_contamination,
    partial_facts,
    read_manifest,
    validate_plan,
    with_data,
    with_limit,
)
from biasunlearn.commands.inputs import named_in_request, names_of, tables_given
from biasunlearn.commands.run_context import Callbacks, Progress, RunContext, run_context
from biasunlearn.data.files import read_file
from biasunlearn.data.readers import read_triplets
from biasunlearn.data.records import Kind, Triplet
from biasunlearn.data.tables import read_json
from biasunlearn.errors import RequestError
from biasunlearn.models.spec import BATCH_TOKENS, ModelSpec, model_given
from biasunlearn.runs.benchmark_results import BenchmarkResult, Measured
from biasunlearn.runs.folder import SCHEMA, RunFolder, environment
from biasunlearn.runs.items import read_items
from biasunlearn.runs.responses import CallStore
from biasunlearn.runs.results import Results, only_given
from biasunlearn.runs.schema import read_as
from biasunlearn.runs.sections import ScoringProtocol
from biasunlearn.scoring.endpoint import check_address, endpoint, is_endpoint
from biasunlearn.scoring.protocol import EvalOptions, EvalPlan
from biasunlearn.stats.stereoset import Item

DATA_FACTS = ("data", "sha256", "skipped", "skipped_rows", "replaced")
"""What an entry says about its data file, which is not in the items."""


def measure(
    model: Any,
    benchmarks: Mapping[str, Any],
    *,
    tokenizer: Any = None,
    adapter: str | Path | None = None,
    out: str | Path | None = None,
    limit: int | None = None,
    dtype: str | None = None,
    device: str | None = None,
    revision: str | None = None,
    batch_tokens: int = BATCH_TOKENS,
    skip_invalid: bool = False,
    trust_remote_code: bool = False,
    resume: bool = False,
    options: EvalOptions | None = None,
    served_model: str | None = None,
    progress: Progress | None = None,
) -> Results:
    """Measures a model, with its adapter if one is given, on benchmarks given as {name: data}.

    A benchmark that shares pairs with the adapter's training data is marked `contaminated`, with their number.

    Args:
        model: a folder, a name on the hub, the address of an endpoint, or a transformers model (PEFT or plain), which
            is measured on its device and in its precision and is left exactly as it is.
        benchmarks: the data of each is a path, or where the benchmark is one table also a list of dicts, a pandas or
            Polars DataFrame, or a datasets.Dataset.
        tokenizer: of the model (default: the one that is stored with it).
        adapter: the folder of an adapter, which is applied to the model.
        out: run folder to write. None: only the results are returned.
        limit: measure about this many items of each benchmark, a random sample with the same share of each bias type.
            The results are marked as partial.
        dtype: of the weights of a model that is loaded (default: float32).
        device: cpu, cuda, cuda:1, ... (default: the accelerator if there is one, else the CPU).
        revision: branch, tag or commit of a model on the hub.
        batch_tokens: maximum number of tokens in a scoring batch.
        skip_invalid: leave out rows that cannot be used; they are counted and listed. Otherwise they are an error.
        trust_remote_code: run code that the repository of the model contains.
        resume: continue a run in `out` that was killed; what it has scored is not scored again.
        options: chat template, classifiers, prompts and continuations, tasks of lm-eval, judges.
        served_model: name of the model where `model` is the address of an OpenAI-compatible endpoint.
        progress: called with (what, done, of).
    Returns:
        The results; written as results.json, with items.parquet and config.yaml, where `out` is given.
    Raises:
        RequestError: an unknown benchmark, bad data, a model that cannot be loaded, a folder that holds a run.
        WriteError: the disk is full or the like; call again with resume=True.
    """
    spec = model_given(
        model, tokenizer=tokenizer, adapter=adapter, dtype=dtype, device=device, revision=revision,
        trust_remote_code=trust_remote_code, batch_tokens=batch_tokens,
    )  # fmt: skip
    options = with_limit(options, limit)
    plan = validate_plan(EvalPlan(tables_given(benchmarks), skip_invalid, options), out)
    if served_model is not None and not is_endpoint(spec.model):
        raise RequestError(f"--model {served_model}: {spec.model} is no endpoint (http://...); leave the option out")
    request = {
        **named_in_request(spec, stored=out is not None), "adapter": None if adapter is None else str(adapter),
        "revision": revision,
        "benchmarks": names_of(plan.benchmarks), "dtype": spec.dtype, "skip_invalid": skip_invalid,
        "options": plan.options.to_dict(), **only_given(served_model=served_model),
    }  # fmt: skip
    if is_endpoint(spec.model):
        check_endpoint(spec, plan)
    with run_context(out, {"measure": request}, resume=resume, callbacks=Callbacks(progress)) as context:
        if context.stored is not None:
            return context.stored
        if is_endpoint(spec.model):
            return _measure_endpoint(context, spec, with_data(plan), served_model)
        return _measure(context, spec, with_data(plan))


def _measure(context: RunContext, spec: ModelSpec, plan: EvalPlan) -> Results:
    """Loads the model, runs the benchmarks, and writes the results."""
    from biasunlearn.models.load import load
    from biasunlearn.models.quantization import facts
    from biasunlearn.scoring.chat import protocol

    loaded = apply_protocol(load(spec), plan.options).with_cache(context.cache)
    manifest = read_manifest(spec.adapter or spec.model)
    plan = replace(plan, trained_words=manifest.all_words if manifest else None)
    items, measured = evaluate(loaded, plan, context.callbacks)
    measured = mark_contamination(measured, plan, manifest)
    results = Results(
        schema=SCHEMA,
        model=spec.model,
        **only_given(model_source=spec.source),
        adapter=None if spec.adapter is None else str(spec.adapter),
        protocol=ScoringProtocol(**protocol(loaded), dtype=spec.dtype, masked=loaded.masked, **facts(loaded.model)),
        benchmarks=measured,
        **only_given(capability=capability(loaded, plan.options), partial=partial_facts(plan)),
        environment=environment(),
    )
    return context.finish(results, {"": items}, plan.data.get("stereoset"))


def check_endpoint(spec: ModelSpec, plan: EvalPlan) -> None:
    """RequestError for what needs the weights of a model, where there is an endpoint."""
    check_address(spec.model, "MODEL")
    if spec.adapter is not None:
        raise RequestError(f"--adapter: {spec.model} is an endpoint; start its server with the adapter")
    if others := [name for name in plan.benchmarks if name not in JUDGED]:
        raise RequestError(
            f"--benchmark {others[0]}: needs the probabilities of a model; an endpoint can be measured on "
            f"{', '.join(JUDGED)}"
        )
    if plan.options.lm_eval:
        raise RequestError("--lm-eval: needs the weights of a model, and this is an endpoint; leave it out")


def _measure_endpoint(context: RunContext, spec: ModelSpec, plan: EvalPlan, served_model: str | None) -> Results:
    """Puts the questions to a served model, and writes the results."""
    from biasunlearn.scoring.respond import EndpointSubject, call_limits

    given = spec.model if served_model is None else f"{spec.model}#{served_model}"
    subject = EndpointSubject(endpoint(given, CallStore(plan.options.cache), call_limits(plan.options), "MODEL"))
    context.begin()  # from here on calls are made, which a resumed run finds
    items, measured = evaluate(subject, plan, context.callbacks)
    results = Results(
        schema=SCHEMA,
        model=subject.endpoint.name,
        model_source="endpoint",
        adapter=None,
        protocol=ScoringProtocol(text="endpoint", dtype=None),
        benchmarks=measured,
        **only_given(partial=partial_facts(plan)),
        environment=environment(),
    )
    return context.finish(results, {"": items})


def rescore(
    benchmark: Mapping[str, str], scores: str, *, out: str | Path | None = None, skip_invalid: bool = False
) -> Results:
    """The results of benchmarks from stored scores, without a model.

    Args:
        benchmark: {"stereoset": path of the official triplets}; not needed for an items.parquet of this package.
        scores: an official prediction file ({"intrasentence": [{"id", "score"}], ...}, may be gzipped), or the
            items.parquet of a run, with all its benchmarks and stages. What is not in the items (data file, hash,
            skipped rows) is taken from the run's results.json, if it is beside them.
        out: run folder to write.
        skip_invalid: leave out rows that cannot be used; they are counted and listed. Otherwise they are an error.
    Raises:
        RequestError: a file that cannot be read or does not fit, a folder that holds a run.
    """
    check_benchmark_names(benchmark, known=("stereoset",))
    request = {"rescore": {"benchmark": dict(benchmark), "scores": scores}}
    with run_context(out, request) as context:
        if scores.endswith(".parquet"):
            stages = read_items(Path(scores))
            tables = _tables_of(stages, Path(scores).parent)
        else:
            stages, tables = _official_tables(benchmark, scores, skip_invalid)
        content = {"schema": SCHEMA, "model": None, "adapter": None, "scores": scores, **tables}
        results = read_as(Results, {**content, "environment": environment()}, scores)
        return context.finish(results, stages)


def _official_tables(
    benchmark: Mapping[str, str], scores: str, skip_invalid: bool
) -> tuple[dict[str, list[Item]], dict[str, Measured]]:
    """The items of an official prediction file, and {"benchmarks": its results}."""
    if "stereoset" not in benchmark:
        raise RequestError(f"{scores}: a prediction file holds ids and scores only: add --benchmark stereoset=PATH")
    data = read_triplets(benchmark["stereoset"], skip_invalid=skip_invalid)
    items, unscored = _official_items(data.triplets, read_predictions(scores), scores)
    entry = _entry("stereoset", items).with_values(**data.facts, unscored_clusters=unscored)
    return {"": items}, {"benchmarks": Measured.model_validate({"stereoset": entry})}


def _tables_of(stages: Mapping[str, Sequence[Item]], folder: Path) -> dict[str, Any]:
    """{"benchmarks": results of the last stage}, with "before" and "association" if there are two."""
    if not stages:
        raise RequestError(f"{folder}: its items.parquet is empty: there are no scores to compute tables from")
    stored = RunFolder(folder).read_results() if (folder / "results.json").exists() else None
    last = list(stages)[-1]
    tables: dict[str, Any] = {"benchmarks": _measured_again(stages[last], stored.benchmarks if stored else None)}
    if "before" in stages and last != "before":
        tables["before"] = _measured_again(stages["before"], stored.before if stored else None)
        tables |= only_given(association=association_change(stages["before"], stages[last]))
    return tables


def _measured_again(items: Sequence[Item], stored: Measured | None) -> Measured:
    """The results of items, with the facts about the data files that `stored` has."""
    entries = {}
    for name in dict.fromkeys(item.benchmark for item in items):
        known = stored.entries.get(name) if stored else None
        facts = {fact: value for fact, value in (known.given if known else {}).items() if fact in DATA_FACTS}
        entries[name] = _entry(name, [item for item in items if item.benchmark == name]).with_values(**facts)
    return Measured.model_validate(entries)


def _entry(name: str, items: Sequence[Item]) -> BenchmarkResult:
    if name not in BENCHMARKS:
        raise RequestError(f"items of {name}: this version has no such benchmark; known: {', '.join(NAMES)}")
    entry: BenchmarkResult = BENCHMARKS[name].entry(items)
    return entry


def read_predictions(path: str) -> dict[str, dict[str, float]]:
    """{kind: {sentence id: score}} of an official prediction file. RequestError where it has another shape."""
    content = read_json(read_file(path))
    kinds: tuple[Kind, ...] = ("intrasentence", "intersentence")
    if not isinstance(content, dict) or not any(isinstance(content.get(kind), list) for kind in kinds):
        raise RequestError(f'{path}: not a prediction file: needs {{"intrasentence": [{{"id", "score"}}, ...]}}')
    return {kind: _scores_by_id(content[kind], f"{path}: {kind}") for kind in kinds if kind in content}


def _scores_by_id(rows: Any, where: str) -> dict[str, float]:
    """{sentence id: score}. RequestError for a row without them, a score that is no number, or a repeated id."""
    found: dict[str, float] = {}
    for number, row in enumerate(rows if isinstance(rows, list) else [rows]):
        name, score = (row.get("id"), _number(row.get("score"))) if isinstance(row, dict) else (None, None)
        if not isinstance(name, str) or not name or score is None:
            raise RequestError(f"{where}[{number}]: needs an id and a score that is a number; the id is a text")
        repeated = name in found
        if repeated or not math.isfinite(score):
            reason = f"the id {name!r} occurs twice" if repeated else f"the score is {score}"
            raise RequestError(f"{where}[{number}]: {reason}; write the predictions again")
        found[name] = score
    return found


def _number(value: Any) -> float | None:
    """A JSON number; None where it is none, or larger than a float can be."""
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except OverflowError:
        return None


def _official_items(
    triplets: Iterable[Triplet], predictions: Mapping[str, Mapping[str, float]], path: str
) -> tuple[list[Item], int]:
    """Items of every triplet whose sentences all have a prediction, and the number of triplets without any."""
    items: list[Item] = []
    unscored = 0
    for triplet in triplets:
        known = predictions.get(triplet.kind, {})
        found = [(role, sentence) for role, sentence in triplet.sentences() if sentence.id in known]
        if not found:
            unscored += 1
            continue
        if len(found) < len(triplet.sentences()):
            raise RequestError(f"{path}: only {len(found)} sentences of triplet {triplet.id}; the file is incomplete")
        items += [
            Item(
                "stereoset", sentence.id, triplet.id, triplet.bias_type, triplet.target or triplet.context,
                triplet.kind, role, known[sentence.id], 0,
            )
            for role, sentence in found
        ]  # fmt: skip
    if not items:
        raise RequestError(f"{path}: none of its ids is in the benchmark file")
    return items, unscored
