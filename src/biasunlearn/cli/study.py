"""The command `study`, which answers an open question of the paper with several measurements."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from biasunlearn.cli.app import command
from biasunlearn.cli.benchmark_paths import benchmark_paths
from biasunlearn.cli.exit_codes import DONE, INTERRUPTED
from biasunlearn.cli.options import (
    SETTINGS,
    Evaluation,
    Execution,
    Integers,
    Loading,
    Output,
    Rows,
    Training,
    limit_of,
)
from biasunlearn.cli.output import emit, note, running, show
from biasunlearn.errors import RequestError


@command
def study(
    what: Annotated[Literal["objective"], Parameter(name="WHAT")],
    causal: Annotated[str, Parameter(name="CAUSAL")],
    masked: Annotated[str, Parameter(name="MASKED")],
    /,
    *,
    training: Training,
    rows: Rows = Rows(),
    loading: Loading = Loading(),
    execution: Execution = Execution(),
    seeds: Annotated[Integers | None, Parameter(group=SETTINGS)] = None,
    relearn_on: Annotated[str, Parameter(metavar="FILE|stereotypes", group=SETTINGS)] = "stereotypes",
    relearn_steps: Annotated[Integers, Parameter(group=SETTINGS)] = (0, 10, 25),
    layers: Annotated[Integers | None, Parameter(group=SETTINGS)] = None,
    across: Annotated[bool, Parameter(group=SETTINGS)] = False,
    evaluation: Evaluation = Evaluation(),
    output: Output = Output(),
) -> int:
    """Debias a causal and a masked model of the same origin under one budget, and compare the two.

    Reports SS, group part, LMS and perplexity before and after, steps and tokens until the stop split is fair,
    relearning, probes, angles between bias directions, and transfer. Repeat the command to continue an interrupted
    study: finished parts are not repeated.

    Args:
        what: What to study: objective (of pre-training).
        causal: Folder of the causal model, or its name on the Hugging Face hub.
        masked: Folder of the masked model, or its name on the Hugging Face hub.
        seeds: Random seeds; both models are trained with each of them (default: the seed of the recipe).
        relearn_on: Text file to fine-tune both debiased models on, or stereotypes: those that were forgotten.
        relearn_steps: Steps of this fine-tuning after which the models are measured.
        layers: Layers whose hidden states are probed; the last one is reported (default: up to seven).
        across: Apply the adapter of each model to the other although their objectives differ.

    Examples:
        biasunlearn study objective runs/causal-model runs/masked-model \\
            --train train_pairs.jsonl --unrelated unrelated.json \\
            --report dev.json --benchmark perplexity=text.txt \\
            --seeds 0 1 2 --out runs/objectives
    """
    from biasunlearn.commands.debias import Interrupted
    from biasunlearn.commands.study_objective import After, study_objective
    from biasunlearn.config import load_config
    from biasunlearn.report.tables.objective_study import objective_tables

    execution.refuse("two models are studied; give the folder of a revision", "revision")
    if execution.resume and not Path(training.out).is_dir():
        raise RequestError(f"--resume: {training.out}: there is no such folder; leave the option out")
    config = load_config(training.config, execution.settings(training.set))
    after = After(relearn_on=relearn_on, relearn_steps=relearn_steps, layers=layers, transfer=across)
    train, report = training.files
    try:
        with running(execution, training.out) as (on_progress, on_step):
            found = study_objective(
                causal, masked, train=train, unrelated=training.unrelated_files, report=report,
                out=training.out, config=config, seeds=execution.seeds(seeds, (config.seed,)), after=after,
                benchmarks=benchmark_paths(training.benchmark), skip_invalid=rows.skip_invalid, device=execution.device,
                trust_remote_code=loading.trust_remote_code, options=evaluation.to_options(execution),
                limit=limit_of(execution), progress=on_progress, say=note, on_step=on_step,
            )  # fmt: skip
    except Interrupted:
        emit("biasunlearn: interrupted; finished parts are stored, and the same command continues", stderr=True)
        return INTERRUPTED
    show(found, output, objective_tables,
         where=f"stored in {training.out} (objective.json, report.html, one run folder a model and seed)")  # fmt: skip
    return DONE
