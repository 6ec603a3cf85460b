"""What measuring commands share: a checked plan, the model under its protocol, benchmarks and tasks, contamination."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from biasunlearn.benchmarks import BENCHMARKS, GENERATED, JUDGED, NAMES
from biasunlearn.benchmarks.common import only_scorable
from biasunlearn.benchmarks.judged import Answered, JudgedBenchmark, answer_questions, judge_arms
from biasunlearn.commands.run_context import Callbacks
from biasunlearn.data.checks import contamination
from biasunlearn.data.sample import limited
from biasunlearn.data.subgroups import term_lists
from biasunlearn.errors import RequestError
from biasunlearn.runs.benchmark_results import Capability, Contamination, Measured
from biasunlearn.runs.run_files import Manifest
from biasunlearn.runs.schema import read_as, read_json
from biasunlearn.runs.sections import Partial, PartialBenchmark
from biasunlearn.scoring.protocol import EvalOptions, EvalPlan
from biasunlearn.stats.stereoset import Item

CONTINUATIONS = "generations"
"""Folder of a run: the texts that a model generated, so that it need not generate them again."""

UNLIMITED = ("seat", "perplexity")
"""Benchmarks that a limit on the items does not cut: tests of whole sets of sentences, and a text."""

MANIFEST = "training_data.json"
"""File in an adapter's folder: hashes of the pairs that it was trained on."""


def check_benchmark_names(names: Iterable[str], known: tuple[str, ...] = NAMES) -> None:
    """RequestError for a name that is not known."""
    for name in names:
        if name not in known:
            raise RequestError(f"--benchmark {name}: unknown here; known: {', '.join(known)}")


def validate_plan(plan: EvalPlan, out: str | Path | None) -> EvalPlan:
    """The plan with the run's own folder for continuations, where it names none.

    Raises:
        RequestError: an unknown benchmark, an option that no benchmark uses, a wrong term list, nothing to measure.
    """
    options = plan.options
    check_benchmark_names(plan.benchmarks)
    if options.classifiers and not set(plan.benchmarks) & set(GENERATED):
        names = " and ".join(GENERATED)
        raise RequestError(f"--classifier: only {names} use one; add --benchmark {GENERATED[0]}=PATH")
    if options.judges and not set(plan.benchmarks) & set(JUDGED):
        raise RequestError(f"--judge: only {', '.join(JUDGED)} use one; add --benchmark {JUDGED[0]}=PATH")
    if options.prompting is not None and not set(plan.benchmarks) & set(JUDGED):
        raise RequestError(f"--prompting: only {', '.join(JUDGED)} use it; add --benchmark {JUDGED[0]}=PATH")
    if options.replacements < 0:
        raise RequestError(f"--replacements {options.replacements}: must be 0 (none are scored) or more")
    term_lists(options.term_lists)  # a wrong list is reported before a model is loaded
    if not plan.benchmarks and not options.lm_eval:
        raise RequestError("nothing to measure: give --benchmark NAME=PATH or --lm-eval TASK")
    cache = options.cache or (Path(out) / CONTINUATIONS if out is not None else None)
    return replace(plan, options=replace(options, cache=cache))


def with_data(plan: EvalPlan) -> EvalPlan:
    """The plan with the data of every benchmark: each file is read once in a run, and before a model is loaded.

    Raises:
        RequestError: data that cannot be read, or has wrong rows and `plan.skip_invalid` is off.
    """
    read = {
        name: BENCHMARKS[name].read(plan.whole(name), skip_invalid=plan.skip_invalid) for name in plan.benchmarks
    }
    if plan.options.limit is None:
        return replace(plan, data=read)
    cut = {
        name: limited(data, plan.options.limit, seed=plan.options.seed)
        for name, data in read.items() if name not in UNLIMITED
    }  # fmt: skip
    shorter = {name: data for name, (data, of) in cut.items() if len(data.records) < of}
    return replace(plan, data={**read, **shorter}, unlimited={name: read[name] for name in shorter})


def with_limit(options: EvalOptions | None, limit: int | None) -> EvalOptions:
    """The options with a limit on the items of each benchmark. RequestError for a limit below 1."""
    options = options or EvalOptions()
    if limit is None:
        return options
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise RequestError(f"limit: {limit}; must be a whole number, at least 1")
    return replace(options, limit=limit)


def partial_facts(plan: EvalPlan) -> Partial | None:
    """The part of results.json about a run that left out items on request; None where it measured all of them."""
    if not plan.unlimited:
        return None
    parts = {
        name: PartialBenchmark(n=len(plan.data[name].records), of=len(read.records))
        for name, read in plan.unlimited.items()
    }
    return Partial(limit=plan.options.limit, seed=plan.options.seed, benchmarks=parts)


def apply_protocol(loaded: Any, options: EvalOptions) -> Any:
    """The model under the protocol of the options (raw text or its chat template).

    Raises:
        RequestError: no chat template. Also a classifier that cannot be used and a task of lm-eval that does not exist:
            they are looked for here, before hours of work.
    """
    if options.lm_eval:
        from biasunlearn.scoring.lm_eval import find_tasks

        find_tasks(options.lm_eval, loaded)
    for name, given in options.classifiers.items():
        from biasunlearn.scoring.classify import open_classifier

        open_classifier(name, given, loaded.device)
    if not options.chat_template:
        return loaded
    from biasunlearn.scoring.chat import with_chat_template

    return with_chat_template(loaded)


def evaluate(loaded: Any, plan: EvalPlan, callbacks: Callbacks, label: str = "") -> tuple[list[Item], Measured]:
    """Runs every benchmark of a plan: all items, and the results of each benchmark.

    Args:
        label: precedes the benchmark's name in progress reports.
    Raises:
        DataError: data of any benchmark that the model cannot score, before anything is scored.
    """
    plan = _only_scorable(loaded, plan)
    items: list[Item] = []
    entries: dict[str, Any] = {}
    for name in plan.benchmarks:
        reporting = loaded.with_progress(callbacks.counter(f"{label}{name}"))
        scored, entries[name] = BENCHMARKS[name].run(reporting, plan.source(name), plan)
        items += scored
    return items, Measured.model_validate(entries)


def _only_scorable(loaded: Any, plan: EvalPlan) -> EvalPlan:
    """The plan without rows that the model cannot score. The first benchmark is left alone: it is scored at once."""
    from biasunlearn.scoring.log_prob import check_scorable

    data = dict(plan.data)
    for name in list(plan.benchmarks)[1:]:
        passages = getattr(BENCHMARKS[name], "passages", None)
        if passages is not None:
            read = BENCHMARKS[name].read(plan.source(name), skip_invalid=plan.skip_invalid)
            scored = partial(passages, masked=loaded.masked)
            data[name] = only_scorable(read, partial(check_scorable, loaded), scored, plan)
    return replace(plan, data=data)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One model on a plan; its answers to judged benchmarks are not judged yet."""

    items: tuple[Item, ...]
    measured: Measured
    answers: Mapping[str, Answered]


def evaluate_before_judging(loaded: Any, plan: EvalPlan, callbacks: Callbacks, label: str = "") -> Evaluated:
    """Runs the benchmarks of a plan; judged ones are answered only, for `judge_together`."""
    items, measured = evaluate(loaded, without_judged(plan), callbacks, label)
    answers = {}
    for name in _judged(plan):
        reporting = loaded.with_progress(callbacks.counter(f"{label}{name}"))
        answers[name] = answer_questions(reporting, _benchmark(plan, name), plan.options)
    return Evaluated(tuple(items), measured, answers)


def judge_together(
    arms: Sequence[Evaluated], plan: EvalPlan, callbacks: Callbacks, device: Any = None
) -> list[tuple[list[Item], Measured]]:
    """Has the judges read the answers of several models, shuffled together: all items and results of each model."""
    items = [list(arm.items) for arm in arms]
    entries: list[dict[str, Any]] = [dict(arm.measured.entries) for arm in arms]
    for name in _judged(plan):
        made = judge_arms(
            [arm.answers[name] for arm in arms], _benchmark(plan, name), plan.options, device=device,
            progress=callbacks.counter(f"{name}: judging"),
        )  # fmt: skip
        for place, (scored, entry) in enumerate(made):
            items[place] += scored
            entries[place][name] = entry
    return [
        (own, Measured.model_validate({name: found[name] for name in plan.benchmarks}))
        for own, found in zip(items, entries, strict=True)
    ]


def _judged(plan: EvalPlan) -> list[str]:
    return [name for name in plan.benchmarks if name in JUDGED]


def without_judged(plan: EvalPlan) -> EvalPlan:
    """The plan without the benchmarks whose answers judges read."""
    return replace(plan, benchmarks={name: path for name, path in plan.benchmarks.items() if name not in JUDGED})


def _benchmark(plan: EvalPlan, name: str) -> JudgedBenchmark:
    module = BENCHMARKS[name]
    table = module.read(plan.source(name), skip_invalid=plan.skip_invalid)
    return JudgedBenchmark(name, table, module.task(table.records), module.entry)


def judged_paths(given: Iterable[str]) -> dict[str, str]:
    """{benchmark: path} of --responses: NAME=PATH of a judged benchmark, or the path of own prompts alone.

    Raises:
        RequestError: a benchmark is given twice.
    """
    found: dict[str, str] = {}
    for one in given:
        name, equals, path = one.partition("=")
        if not (equals and name in JUDGED):
            name, path = "responses", one
        if name in found:
            raise RequestError(f"--responses {name}: given twice")
        found[name] = path
    return found


def capability(loaded: Any, options: EvalOptions) -> Capability | None:
    """The results of lm-eval's tasks; None where the options name no task."""
    if not options.lm_eval:
        return None
    from biasunlearn.scoring.lm_eval import run_tasks

    return run_tasks(loaded, options.lm_eval, limit=options.lm_eval_limit)


def mark_contamination(measured: Measured, plan: EvalPlan, manifest: Manifest | None) -> Measured:
    """The same, with every benchmark of pairs marked as contaminated if the adapter was trained on some of them."""
    return measured.marked(seen_pairs(plan, manifest))


def seen_pairs(plan: EvalPlan, manifest: Manifest | None) -> dict[str, Contamination]:
    """The number of pairs of each benchmark that the adapter was trained on, for benchmarks with such pairs."""
    seen = {}
    for name in plan.benchmarks:
        pairs = getattr(BENCHMARKS[name], "pairs", None)
        if not manifest or not pairs:
            continue
        triplets = pairs(plan.source(name), skip_invalid=plan.skip_invalid)
        if found := contamination(triplets, manifest.pairs):
            seen[name] = Contamination(**found)
    return seen


def read_manifest(adapter: str | Path | None) -> Manifest | None:
    """What an adapter was trained on; None where its folder does not say. RequestError for a wrong file."""
    path = None if adapter is None else Path(adapter) / MANIFEST
    if path is None or not path.exists():
        return None
    return read_as(Manifest, read_json(path), str(path))
