"""Commands that train once: debias, and the demonstration of it."""

import json
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from biasunlearn.cli.app import command
from biasunlearn.cli.benchmark_paths import benchmark_paths
from biasunlearn.cli.exit_codes import DONE, INTERRUPTED, REFUSED
from biasunlearn.cli.kernels import use_common_instructions
from biasunlearn.cli.options import (
    DATA,
    OUTPUT,
    TRAINING,
    Evaluation,
    Execution,
    File,
    Folder,
    Loading,
    Model,
    Output,
    Rows,
    Training,
    with_responses,
)
from biasunlearn.cli.output import emit, note, progress, running, show_results
from biasunlearn.commands.tracking import Tracker
from biasunlearn.errors import RequestError


@command
def demo(
    *,
    bias: Annotated[Literal["social", "belief"], Parameter(metavar="BIAS", group=DATA)] = "social",
    out: Annotated[Folder | None, Parameter(group=OUTPUT)] = None,
    output: Output = Output(),
) -> None:
    """Debias a small model of a toy world whose bias is known.

    No data and no network are needed. The table sets the known bias beside the measured one.

    Args:
        bias: Bias of the world: social (stereotypes about groups), or belief (docs/cognitive.md).
        out: Run folder to write (default: demo-run, or the first free one of demo-run-2, ...).

    Examples:
        biasunlearn demo
        biasunlearn demo --out runs/demo
    """
    use_common_instructions()
    from biasunlearn.commands.demo import belief_demo, demo
    from biasunlearn.report.tables.demo import demo_tables

    with progress() as (on_progress, on_step):
        results = {"social": demo, "belief": belief_demo}[bias](out, progress=on_progress, say=note, on_step=on_step)
    show_results(results, output, results.out, demo_tables)


@command
def debias(
    model: Model,
    /,
    *,
    training: Training,
    rows: Rows = Rows(),
    loading: Loading = Loading(),
    method: Annotated[str | None, Parameter(metavar="NAME", group=TRAINING)] = None,
    bias: Annotated[Literal["belief"] | None, Parameter(metavar="BIAS", group=DATA)] = None,
    families: Annotated[File | None, Parameter(group=DATA)] = None,
    responses: Annotated[tuple[str, ...], Parameter(name="--responses", metavar="[NAME=]PATH", group=DATA)] = (),
    track: Annotated[tuple[Tracker, ...], Parameter(name="--track", metavar="TRACKER", group=TRAINING)] = (),
    execution: Execution = Execution(),
    evaluation: Evaluation = Evaluation(),
    strict: Annotated[bool, Parameter(group=OUTPUT)] = False,
    output: Output = Output(),
) -> int:
    """Unlearn the bias of a model with a small adapter, and report the results before and after.

    The run folder gets the adapter, report.html, results.json, metrics.jsonl and items.parquet.

    Args:
        model: Folder of a causal or masked language model, or its name on the Hugging Face hub.
        method: Method of debiasing: biasunlearn (default), dpo, equalize, ... (docs/methods.md lists them).
        bias: Cognitive bias to unlearn with generated syllogisms, in place of --train, --report and --unrelated.
            belief: the verdict follows whether the conclusion is believable.
        families: YAML file of target terms that name the same group, added to the shipped list
            (--set term_families=FILE; docs/data.md).
        responses: Judged benchmark to measure before and after, as in mt_bench=DIR, or a file of your own prompts. The
            answers of both models are shuffled together and judged in one pass. May be repeated.
        track: Experiment tracker to log training to. TensorBoard writes to logs/ in --out. May be repeated.
        strict: End with exit code 1 unless the verdict is fair or improved. Everything is stored in any case.

    Examples:
        biasunlearn debias MODEL --train train_pairs.jsonl --report dev.json \\
            --unrelated unrelated.json --out runs/mine
        biasunlearn debias MODEL --train train_pairs.jsonl --report dev.json \\
            --method dpo --set learning_rate=1e-5 --out runs/dpo
        biasunlearn debias MODEL --train train_pairs.jsonl --report dev.json \\
            --out runs/mine --resume
        biasunlearn debias MODEL --bias belief --out runs/belief
    """
    from biasunlearn.commands.debias import Interrupted, debias
    from biasunlearn.commands.tracking import tracked
    from biasunlearn.config import load_config, to_dict

    given = {"method": method, "term_families": families}
    changes = [f"{key}={json.dumps(value)}" for key, value in given.items() if value]
    train, report, unrelated, benchmarks, settings = _data(training, bias, responses)
    config = load_config(training.config, [*changes, *settings, *execution.settings(training.set)])
    try:
        with (
            running(execution, training.out) as (on_progress, shown),
            tracked(track, training.out, to_dict(config), shown) as on_step,
        ):
            results = debias(
                model, train=train, unrelated=unrelated, report=report, out=training.out,
                config=config, benchmarks=benchmarks, skip_invalid=rows.skip_invalid,
                device=execution.device, revision=execution.revision, trust_remote_code=loading.trust_remote_code,
                resume=execution.resume, options=evaluation.to_options(execution), progress=on_progress, say=note,
                on_step=on_step,
            )  # fmt: skip
    except Interrupted as stop:
        emit(f"biasunlearn: {stop}", stderr=True)
        return INTERRUPTED
    show_results(results, output, training.out)
    succeeded = results.verdict is not None and results.verdict.succeeded
    return REFUSED if strict and not succeeded else DONE


def _data(
    training: Training, bias: str | None, responses: tuple[str, ...]
) -> tuple[Any, Any, Any, dict[str, Any], tuple[str, ...]]:
    """Training pairs, report, unrelated sentences, benchmarks, and changes of the recipe that go with them."""
    benchmarks = benchmark_paths(with_responses(training.benchmark, responses))
    if bias is None:
        return *training.files, training.unrelated_files, benchmarks, ()
    from biasunlearn.commands.belief import SETTINGS, bias_inputs

    given = {"--train": training.train, "--report": training.report, "--unrelated": training.unrelated_files}
    if also := next((name for name, value in given.items() if value is not None), None):
        raise RequestError(f"{also}: --bias {bias} generates its own data; leave one of the two out")
    made = bias_inputs(benchmarks)
    return made.train, made.report, made.unrelated, dict(made.benchmarks), SETTINGS
