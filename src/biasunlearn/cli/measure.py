"""Commands that load a model and evaluate it: measure, probe."""

from typing import Annotated, Literal

from cyclopts import Parameter

from biasunlearn.cli.app import command
from biasunlearn.cli.benchmark_paths import benchmark_paths
from biasunlearn.cli.options import (
    DATA,
    MODEL,
    OUTPUT,
    SETTINGS,
    Benchmarks,
    DataPath,
    Evaluation,
    Execution,
    Folder,
    Integers,
    Loading,
    Model,
    Output,
    Rows,
    limit_of,
)
from biasunlearn.cli.output import running, show, show_results


@command
def measure(
    model: Model,
    /,
    *,
    benchmark: Benchmarks = (),
    rows: Rows = Rows(),
    adapter: Annotated[Folder | None, Parameter(group=MODEL)] = None,
    served_model: Annotated[str | None, Parameter(name="--model", metavar="NAME", group=MODEL)] = None,
    loading: Loading = Loading(),
    execution: Execution = Execution(),
    evaluation: Evaluation = Evaluation(),
    out: Annotated[Folder, Parameter(group=OUTPUT)],
    dry_run: Annotated[bool, Parameter(group=OUTPUT)] = False,
    output: Output = Output(),
) -> None:
    """Measure the bias of a model on one or more benchmarks.

    The run folder gets report.html, results.json and items.parquet (the score of every sentence). A benchmark that
    overlaps with the training data of the adapter is marked as contaminated.

    Args:
        model: Folder of a model, its name on the Hugging Face hub, or the address of an OpenAI-compatible endpoint as
            http://HOST:PORT/v1, which can be measured on judged benchmarks.
        benchmark: Benchmark and its data file, as in stereoset=dev.json. stereoset or realtoxicityprompts alone reads
            the copy on the hub, at a fixed revision. May be repeated.
        adapter: Folder of a PEFT adapter to measure the model with.
        served_model: Name of the model behind an endpoint (default: the only one that it lists).
        out: Run folder to write.
        dry_run: Print the number of calls and tokens that judged benchmarks need at most, and measure nothing.

    Examples:
        biasunlearn measure MODEL --benchmark stereoset=dev.json --out runs/base
        biasunlearn measure MODEL --adapter runs/mine/adapter \\
            --benchmark stereoset=dev.json --benchmark perplexity=text.txt \\
            --out runs/mine-again
    """
    from biasunlearn.commands.estimate import estimate
    from biasunlearn.commands.measure import BATCH_TOKENS, measure
    from biasunlearn.report.tables.judged import estimate_tables

    if dry_run:
        found = estimate(model, benchmark_paths(benchmark), rows.skip_invalid, evaluation.to_options(execution))
        show(found, output, estimate_tables)
        return
    with running(execution, out) as (on_progress, _):
        results = measure(
            model, benchmark_paths(benchmark), adapter=adapter, out=out, dtype=execution.dtype, device=execution.device,
            revision=execution.revision, batch_tokens=execution.batch_tokens or BATCH_TOKENS,
            skip_invalid=rows.skip_invalid, trust_remote_code=loading.trust_remote_code, resume=execution.resume,
            options=evaluation.to_options(execution), served_model=served_model, progress=on_progress,
        )  # fmt: skip
    show_results(results, output, out)


@command
def probe(
    model: Model,
    /,
    *,
    data: Annotated[DataPath, Parameter(group=DATA)],
    groups: Annotated[tuple[str, ...], Parameter(name="--groups", metavar="LIST", group=DATA)] = (),
    rows: Rows = Rows(),
    adapter: Annotated[Folder | None, Parameter(group=MODEL)] = None,
    loading: Loading = Loading(),
    execution: Execution = Execution(),
    layers: Annotated[Integers | None, Parameter(group=SETTINGS)] = None,
    pool: Annotated[Literal["mean", "last"], Parameter(metavar="HOW", group=SETTINGS)] = "mean",
    out: Annotated[Folder, Parameter(group=OUTPUT)],
    output: Output = Output(),
) -> None:
    """Train linear probes on the hidden states of sentence pairs.

    A probe shows whether a hidden state still tells a stereotype from an anti-stereotype, or one social group from
    another. With an adapter, the model is probed with the adapter off and on.

    Args:
        model: Folder of a model, or its name on the Hugging Face hub.
        data: Pairs whose hidden states are probed, in a format that --report accepts.
        groups: Term list that names social groups, by name or file. May be repeated (default: gender and race).
        adapter: Folder of a PEFT adapter; the model is probed with it off and on.
        layers: Layers to probe; 0 is the embeddings (default: up to seven, evenly spaced).
        pool: How the tokens in which the sentences of a pair differ become one vector.
        out: Run folder to write.

    Examples:
        biasunlearn probe MODEL --data dev.json --out runs/probed
        biasunlearn probe MODEL --adapter runs/mine/adapter --data dev.json \\
            --layers 0 6 12 --out runs/mine-probed
    """
    from biasunlearn.commands.probe import BATCH_TOKENS, probe
    from biasunlearn.report.tables.probes import probe_tables

    if execution.dtype in ("8bit", "4bit"):
        execution.refuse("hidden states of a quantized model are not probed", "dtype")
    with running(execution, out) as (on_progress, _):
        results = probe(
            model, data=data, out=out, adapter=adapter, layers=layers, pooling=pool, groups=groups or None,
            seed=execution.seed or 0, dtype=execution.dtype or "float32", device=execution.device,
            revision=execution.revision, batch_tokens=execution.batch_tokens or BATCH_TOKENS,
            limit=limit_of(execution), resume=execution.resume, skip_invalid=rows.skip_invalid,
            trust_remote_code=loading.trust_remote_code, progress=on_progress,
        )  # fmt: skip
    show_results(results, output, out, probe_tables)
