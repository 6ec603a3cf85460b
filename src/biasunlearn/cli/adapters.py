"""Commands about the adapter that a run has trained: transfer, relearn, combine, export, playground."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from biasunlearn.cli.app import command
from biasunlearn.cli.benchmark_paths import benchmark_paths
from biasunlearn.cli.options import (
    DATA,
    EVALUATION,
    MODEL,
    OUTPUT,
    SETTINGS,
    Benchmarks,
    DataPath,
    Evaluation,
    Execution,
    Folder,
    Integer,
    Integers,
    Loading,
    Output,
    Rows,
    Run,
    limit_of,
    named_paths,
    with_responses,
)
from biasunlearn.cli.output import note, running, show, show_results
from biasunlearn.errors import RequestError


@command
def transfer(
    run: Run,
    /,
    *,
    report: Annotated[DataPath, Parameter(group=DATA)],
    benchmark: Benchmarks = (),
    rows: Rows = Rows(),
    to: Annotated[str, Parameter(metavar="MODEL", group=MODEL)],
    loading: Loading = Loading(),
    execution: Execution = Execution(),
    scale: Annotated[
        tuple[str, ...], Parameter(name="--scale", metavar="S...", consume_multiple=(1, None), group=SETTINGS)
    ] = ("search",),
    force: Annotated[bool, Parameter(group=SETTINGS)] = False,
    also_train: Annotated[bool, Parameter(group=SETTINGS)] = False,
    evaluation: Evaluation = Evaluation(),
    out: Annotated[Folder, Parameter(group=OUTPUT)],
    output: Output = Output(),
) -> None:
    """Apply the adapter of a run to a variant of its base model, and report the results before and after.

    Args:
        run: Folder of a debias run.
        report: Triplets or pairs to report on, as for debias.
        benchmark: Further benchmark to measure before and after. May be repeated.
        to: Target: a variant of the run's base model, or an adapter of it (LoRA, prefix or prompt tuning).
        scale: Factors of the adapter's strength; the best one is used. search looks for it on the run's stop split.
        force: Continue although the compatibility check doubts the target.
        also_train: Also debias the target itself, for comparison.
        out: Run folder to write.

    Examples:
        biasunlearn transfer runs/mine --to owner/instruct-variant \\
            --report dev.json --out runs/mine-instruct
        biasunlearn transfer runs/mine --to owner/instruct-variant --scale 0.5 1 \\
            --report dev.json --chat-template --out runs/mine-chat
    """
    from biasunlearn.commands.transfer import transfer
    from biasunlearn.report.tables.transfer import transfer_tables

    with running(execution, out) as (on_progress, on_step):
        results = transfer(
            run, to=to, report=report, out=out, scales=_scales(scale), force=force, also_train=also_train,
            dtype=execution.dtype, device=execution.device, revision=execution.revision,
            batch_tokens=execution.batch_tokens, benchmarks=benchmark_paths(benchmark), skip_invalid=rows.skip_invalid,
            trust_remote_code=loading.trust_remote_code, resume=execution.resume,
            options=evaluation.to_options(execution), progress=on_progress, say=note, on_step=on_step,
        )  # fmt: skip
    show_results(results, output, out, transfer_tables)


def _scales(given: Sequence[str]) -> list[float] | None:
    """None where they are to be searched."""
    if list(given) == ["search"]:
        return None
    try:
        return [float(text) for text in given]
    except ValueError:
        raise RequestError(f"--scale {' '.join(given)}: write numbers, as in --scale 0.5 1, or search") from None


@command
def relearn(
    run: Run,
    /,
    *,
    on: Annotated[str, Parameter(metavar="FILE|stereotypes", group=DATA)],
    report: Annotated[DataPath | None, Parameter(group=DATA)] = None,
    benchmark: Benchmarks = (),
    rows: Rows = Rows(),
    loading: Loading = Loading(),
    execution: Execution = Execution(),
    responses: Annotated[tuple[str, ...], Parameter(name="--responses", metavar="[NAME=]PATH", group=DATA)] = (),
    judge: Annotated[tuple[str, ...], Parameter(name="--judge", metavar="JUDGE", group=EVALUATION)] = (),
    minimum_kappa: Annotated[float, Parameter(metavar="X", group=EVALUATION)] = 0.6,
    judge_tokens: Annotated[Integer | None, Parameter(group=EVALUATION)] = None,
    new_tokens: Annotated[Integer | None, Parameter(group=EVALUATION)] = None,
    steps: Annotated[Integers, Parameter(group=SETTINGS)] = (0, 25, 50, 100, 200),
    seeds: Annotated[Integers | None, Parameter(group=SETTINGS)] = None,
    rate: Annotated[float, Parameter(metavar="R", group=SETTINGS)] = 5e-5,
    batch: Annotated[Integer, Parameter(group=SETTINGS)] = 16,
    length: Annotated[Integer, Parameter(group=SETTINGS)] = 64,
    out: Annotated[Folder, Parameter(group=OUTPUT)],
    output: Output = Output(),
) -> None:
    """Measure how long debiasing lasts while the debiased model is fine-tuned further.

    The base model is fine-tuned beside it, on the same text in the same order.

    Args:
        run: Folder of a debias run.
        on: Text file to fine-tune on, or stereotypes: those that the run was trained to forget.
        report: Triplets or pairs to measure on (default: those of the run).
        benchmark: Further benchmark to measure, as in perplexity=other.txt. May be repeated.
        responses: Judged benchmark, as in mt_bench=DIR, or a file of your own prompts. The debiased model answers
            before the first and after the last step. May be repeated.
        judge: Judge of these answers, as for measure (default: rule). May be repeated.
        minimum_kappa: Agreement with the gold set beyond chance that the judges need; below it they are not used.
        judge_tokens: Maximum number of tokens of a judge's reply.
        new_tokens: Maximum number of tokens of an answer.
        steps: Training steps after which the models are measured.
        seeds: Random seeds of the order of the text (default: 0).
        rate: Learning rate.
        batch: Rows of a training step.
        length: Tokens of a row of text.
        out: Run folder to write.

    Examples:
        biasunlearn relearn runs/mine --on text.txt \\
            --benchmark perplexity=other.txt --out runs/mine-relearned
        biasunlearn relearn runs/mine --on stereotypes --steps 0 50 --seeds 0 1 \\
            --out runs/mine-attacked
    """
    from biasunlearn.commands.relearn import relearn
    from biasunlearn.report.tables.relearning import relearning_tables
    from biasunlearn.scoring.protocol import EvalOptions

    options = EvalOptions(
        judges=judge, minimum_kappa=minimum_kappa, judge_tokens=judge_tokens, new_tokens=new_tokens
    )
    benchmark = with_responses(benchmark, responses)
    execution.refuse("both models are those of the run", "revision")
    if execution.dtype != "float32":
        execution.refuse("training in half precision loses small steps, so that it is always float32", "dtype")
    with running(execution, out) as (on_progress, _):
        results = relearn(
            run, on=on, report=report, out=out, steps=steps, seeds=execution.seeds(seeds, (0,)), rate=rate, batch=batch,
            length=length, device=execution.device, batch_tokens=execution.batch_tokens, limit=limit_of(execution),
            benchmarks=benchmark_paths(benchmark), options=options, skip_invalid=rows.skip_invalid,
            trust_remote_code=loading.trust_remote_code, resume=execution.resume, progress=on_progress, say=note,
        )  # fmt: skip
    show_results(results, output, out, relearning_tables)


@command
def combine(
    runs: Annotated[tuple[str, ...], Parameter(name="RUN=WEIGHT", consume_multiple=(1, None))],
    /,
    *,
    report: Annotated[DataPath, Parameter(group=DATA)],
    benchmark: Benchmarks = (),
    rows: Rows = Rows(),
    loading: Loading = Loading(),
    execution: Execution = Execution(),
    how: Annotated[Literal["cat", "svd", "linear"], Parameter(metavar="HOW", group=SETTINGS)] = "cat",
    evaluation: Evaluation = Evaluation(),
    out: Annotated[Folder, Parameter(group=OUTPUT)],
    output: Output = Output(),
) -> None:
    """Combine the adapters of several runs on one base model into one adapter.

    Args:
        runs: Folders of debias runs, each with the weight of its adapter (default: 1).
        report: Triplets or pairs to report on, as for debias.
        benchmark: Further benchmark to measure before and after. May be repeated.
        how: How the adapters are added: cat gives the exact sum, and its rank is the sum of the ranks.
        out: Run folder to write.

    Examples:
        biasunlearn combine runs/gender runs/race --report dev.json --out runs/both
        biasunlearn combine runs/gender=1 runs/race=0.5 --how svd \\
            --report dev.json --out runs/weighted
    """
    from biasunlearn.commands.combine import combine
    from biasunlearn.report.tables.transfer import combination_tables

    execution.refuse("the base is that of the runs", "revision")
    with running(execution, out) as (on_progress, _):
        results = combine(
            _weights(runs), report=report, out=out, how=how, device=execution.device, dtype=execution.dtype,
            batch_tokens=execution.batch_tokens, benchmarks=benchmark_paths(benchmark), skip_invalid=rows.skip_invalid,
            trust_remote_code=loading.trust_remote_code, resume=execution.resume,
            options=evaluation.to_options(execution), progress=on_progress,
        )  # fmt: skip
    show_results(results, output, out, combination_tables)


def _weights(given: Sequence[str]) -> dict[str, float]:
    """RUN=WEIGHT, or RUN for a weight of 1."""
    weights: dict[str, float] = {}
    for text in given:
        run, equals, weight = text.rpartition("=")
        run, weight = (run, weight) if equals else (text, "1")
        try:
            value = float(weight)
        except ValueError:
            raise RequestError(f"{text}: write RUN=WEIGHT, as in runs/gender=0.5") from None
        if run in weights:
            raise RequestError(f"{run}: given twice")
        weights[run] = value
    return weights


@command
def export(
    run: Run,
    /,
    *,
    format: Annotated[
        Literal["peft", "merged", "gguf-lora", "mlx"] | None, Parameter(metavar="FORMAT", group=SETTINGS)
    ] = None,
    merge: Annotated[bool, Parameter(group=SETTINGS)] = False,
    gguf: Annotated[
        tuple[str, ...] | None,
        Parameter(name="--gguf", metavar="[LLAMA_CPP]", consume_multiple=(0, 1), group=SETTINGS),
    ] = None,
    base_name: Annotated[str | None, Parameter(metavar="OWNER/NAME", group=SETTINGS)] = None,
    license: Annotated[str | None, Parameter(metavar="ID", group=SETTINGS)] = None,
    control_vector: Annotated[bool, Parameter(group=SETTINGS)] = False,
    evidence: Annotated[bool, Parameter(group=SETTINGS)] = False,
    name: Annotated[str | None, Parameter(metavar="OWNER/NAME", group=SETTINGS)] = None,
    organization: Annotated[str, Parameter(metavar="NAME", group=SETTINGS)] = "not stated",
    hub_dataset: Annotated[
        tuple[str, ...], Parameter(name="--hub-dataset", metavar="BENCHMARK=OWNER/NAME", group=SETTINGS)
    ] = (),
    push: Annotated[str | None, Parameter(metavar="OWNER/NAME", group=OUTPUT)] = None,
    public: Annotated[bool, Parameter(group=OUTPUT)] = False,
    execution: Execution = Execution(),
    out: Annotated[Folder, Parameter(group=OUTPUT)],
    output: Output = Output(),
) -> None:
    """Export a run as a repository with a model card: its adapter, or a complete model.

    Args:
        run: Folder of a debias, transfer or combine run.
        format: What to write: peft, an adapter for PEFT, transformers and vLLM; merged, a complete model; gguf-lora, an
            adapter for llama.cpp; mlx, an adapter for mlx-lm (default: peft).
        merge: The same as --format merged: a complete model, in the precision of the base model unless --dtype is
            given.
        gguf: Folder of llama.cpp, whose converters write GGUF. With --merge, the complete model is also converted.
        base_name: Name of the base model on the hub, if the run knows it as a folder.
        license: License for the model card, in the hub's spelling (apache-2.0, ...).
        control_vector: Write the vector of a run with --method steering as a GGUF control vector for llama.cpp instead.
        evidence: Write the results as files for other tools instead: an audit summary, Every Eval Ever, CycloneDX
            ML-BOM, metadata for the hub, and the scored items as CSV. Any run that measured something will do.
        name: Evidence: name of the measured model (default: made from the base model's name).
        organization: Evidence: who provides the results.
        hub_dataset: Evidence: also write .eval_results/ for a benchmark that the hub lists, as in
            stereoset=owner/name or stereoset=owner/name:task. May be repeated.
        push: Upload to this hub repository. It is created as a private one if it does not exist.
        public: Make the hub repository public.
        out: Folder to write. It must not exist yet, unless --overwrite is given and it holds an earlier export.

    Examples:
        biasunlearn export runs/mine --base-name owner/base --license apache-2.0 \\
            --out mine-adapter
        biasunlearn export runs/mine --merge --gguf path/to/llama.cpp --out mine-model
        biasunlearn export runs/mine --format gguf-lora --gguf path/to/llama.cpp \\
            --out mine-gguf
        biasunlearn export runs/mine --push owner/mine-adapter --out mine-adapter
        biasunlearn export runs/steered --control-vector --out mine-vector
        biasunlearn export runs/mine --evidence --name owner/mine --out evidence
    """
    execution.refuse("an exported run was measured before, and nothing is drawn", "limit", "resume", "seed")
    publishing = {"--format": format, "--merge": merge, "--gguf": gguf is not None, "--license": license,
                  "--push": push, "--public": public}  # fmt: skip
    if control_vector:
        _alone("--control-vector: writes one file", {"--evidence": evidence, **publishing})
        from biasunlearn.commands.export_control_vector import export_control_vector

        show(export_control_vector(run, out=out), output, _control_vector_lines)
        return
    if evidence:
        _alone("--evidence: writes no repository", publishing)
        execution.refuse("no model is loaded for --evidence", "device", "dtype", "batch_tokens", "revision")
        from biasunlearn.commands.export_evidence import export_evidence

        datasets = named_paths(hub_dataset, "--hub-dataset", "stereoset=owner/name")
        written = export_evidence(
            run, out=out, name=name, base_name=base_name, organization=organization, hub_datasets=datasets,
            overwrite=execution.overwrite,
        )  # fmt: skip
        show(written, output, _evidence_lines)
        return
    from biasunlearn.commands.export import export

    done = export(
        run, out=out, format=format, merge=merge, base_name=base_name, license_id=license,
        gguf=None if gguf is None else "".join(gguf), push=push, public=public, overwrite=execution.overwrite,
        **execution.loading(), say=None if execution.quiet else note,
    )  # fmt: skip
    show(done, output, _export_lines)


def _alone(reason: str, others: Mapping[str, Any]) -> None:
    """RequestError for the first of the other options that is given."""
    if wrong := next((option for option, value in others.items() if value), None):
        raise RequestError(f"{reason}, so that {wrong} has no meaning; leave it out")


def _control_vector_lines(done: dict[str, Any]) -> str:
    return f"control vector of length {done['norm']:.3g} for layer {done['layer']}: {done['file']}"


def _evidence_lines(done: dict[str, Any]) -> str:
    without = [f"without a value, and in none of them: {score}" for score in done["undefined"]]
    return "\n".join((f"{len(done['files'])} evidence files in {done['out']}:", *done["files"], *without))


def _export_lines(done: dict[str, Any]) -> str:
    kind = "complete model" if done["merged"] else "adapter"
    return "\n".join(
        (
            f"{kind} with its model card in {done['out']}",
            *(f"{key}: {done[key]}" for key in ("gguf", "url") if done[key]),
        )
    )


@command
def playground(
    run: Run,
    /,
    *,
    execution: Execution = Execution(),
    port: Annotated[Integer, Parameter(group=SETTINGS)] = 7860,
    output: Output = Output(),
) -> None:
    """Open a local web page that compares base model and debiased model on prompts.

    Args:
        run: Folder of a debias, transfer or combine run.
        port: Port on 127.0.0.1.

    Examples:
        biasunlearn playground runs/mine
        biasunlearn playground runs/mine --port 8000
    """
    from biasunlearn.commands.playground import Loading, playground

    execution.refuse("the playground stores nothing and measures nothing", "limit", "resume", "overwrite")
    if not execution.quiet:
        note(f"the page opens at http://127.0.0.1:{port}, on this machine only; Ctrl-C closes it")
    playground(run, port=port, loading=Loading(**execution.loading()), seed=execution.seed or 0)
