"""Commands that train several times: survey, ablate, disentangle, sweep."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from biasunlearn.cli.app import command
from biasunlearn.cli.benchmark_paths import benchmark_paths
from biasunlearn.cli.exit_codes import DONE, INTERRUPTED
from biasunlearn.cli.options import (
    DATA,
    SETTINGS,
    Evaluation,
    Execution,
    File,
    Integer,
    Integers,
    Loading,
    Model,
    Names,
    Output,
    Rows,
    Training,
    limit_of,
    with_responses,
)
from biasunlearn.cli.output import emit, note, running, show
from biasunlearn.errors import RequestError


@dataclass(frozen=True, slots=True)
class Request:
    """What every command of several runs takes besides its own options."""

    model: str
    training: Training
    rows: Rows
    loading: Loading
    execution: Execution
    output: Output

    def run(
        self, experiment: Callable[..., Any], table: Callable[[Any], Any], stored: str, **own: Any
    ) -> int:
        """Run an experiment and print its result.

        Args:
            stored: the files of its folder.
            own: what this experiment alone takes.
        Returns:
            The exit code.
        """
        from biasunlearn.commands.debias import Interrupted

        training = self.training
        train, report = training.files
        try:
            with self._running() as (on_progress, on_step):
                result = experiment(
                    self.model, train=train, unrelated=training.unrelated_files, report=report,
                    out=training.out, benchmarks=benchmark_paths(training.benchmark),
                    skip_invalid=self.rows.skip_invalid,
                    device=self.execution.device, revision=self.execution.revision, limit=limit_of(self.execution),
                    trust_remote_code=self.loading.trust_remote_code, progress=on_progress, say=note, on_step=on_step,
                    **own,
                )  # fmt: skip
        except Interrupted:
            finished = "finished runs are stored, and the same command continues with the others"
            emit(f"biasunlearn: interrupted; {finished}", stderr=True)
            return INTERRUPTED
        show(result, self.output, table, where=f"stored in {training.out} ({stored})")
        return DONE

    def _running(self) -> Any:
        """The progress of the runs. --resume needs a folder; without it a series continues as well."""
        if self.execution.resume and not Path(self.training.out).is_dir():
            raise RequestError(f"--resume: {self.training.out}: there is no such folder; leave the option out")
        return running(self.execution, self.training.out)


@command
def survey(
    model: Model,
    /,
    *,
    training: Training,
    text: Annotated[File | None, Parameter(group=DATA)] = None,
    rows: Rows = Rows(),
    loading: Loading = Loading(),
    execution: Execution = Execution(),
    methods: Annotated[Names, Parameter(group=SETTINGS)] = (),
    seeds: Annotated[Integers | None, Parameter(group=SETTINGS)] = None,
    responses: Annotated[tuple[str, ...], Parameter(name="--responses", metavar="[NAME=]PATH", group=DATA)] = (),
    baselines: Annotated[Names, Parameter(group=SETTINGS)] = (),
    evaluation: Evaluation = Evaluation(),
    output: Output = Output(),
) -> int:
    """Train with every method under the same budget, and compare the methods in one table.

    Repeat the command to continue an interrupted survey: finished runs are not trained again. Several processes, also
    on several machines with a common folder, can share a survey: start the same command in each of them.

    Args:
        model: Folder of a causal or masked language model, or its name on the Hugging Face hub.
        text: Ordinary sentences for the methods cda and dropout (default: --unrelated).
        methods: Methods to train (default: all but trl:dpo, trl:orpo and trl:kto, the trainers of TRL).
        seeds: Random seeds; every method is trained with each of them (default: 0 1 2).
        responses: Judged benchmark to measure before and after, as in mt_bench=DIR, or a file of your own prompts. May
            be repeated.
        baselines: Prompting baselines to measure on the judged benchmarks without training: instruction,
            self_reflection, chain_of_thought.

    Examples:
        biasunlearn survey MODEL --train train_pairs.jsonl --report dev.json \\
            --unrelated unrelated.json --text sentences.txt --out runs/survey
        biasunlearn survey MODEL --train train_pairs.jsonl --report dev.json \\
            --methods biasunlearn dpo cda --seeds 0 --out runs/three
    """
    from biasunlearn.commands.survey import METHODS, survey
    from biasunlearn.report.tables.survey import survey_tables

    own = {
        "methods": methods or METHODS, "seeds": execution.seeds(seeds, (0, 1, 2)), "text": text,
        "baselines": baselines, "options": evaluation.to_options(execution),
    }  # fmt: skip
    training = replace(training, benchmark=with_responses(training.benchmark, responses))
    return Request(model, training, rows, loading, execution, output).run(
        survey,
        survey_tables,
        "survey.json, report.html, one run folder a method and seed",
        config=training.config,
        changes=replace(execution, seed=None).settings(training.set),
        **own,
    )


@command
def ablate(
    model: Model,
    /,
    *,
    training: Training,
    rows: Rows = Rows(),
    loading: Loading = Loading(),
    execution: Execution = Execution(),
    variants: Annotated[Names, Parameter(group=SETTINGS)] = (),
    seeds: Annotated[Integers | None, Parameter(group=SETTINGS)] = None,
    output: Output = Output(),
) -> int:
    """Train the default method without one of its parts at a time.

    Repeat the command to continue an interrupted ablation: finished runs are not trained again.

    Args:
        model: Folder of a causal or masked language model, or its name on the Hugging Face hub.
        variants: Variants to train, as in without-kl (default: all that change the recipe).
        seeds: Random seeds; every variant is trained with each of them (default: 0 1 2).

    Examples:
        biasunlearn ablate MODEL --train train_pairs.jsonl --report dev.json \\
            --unrelated unrelated.json --out runs/ablation
        biasunlearn ablate MODEL --train train_pairs.jsonl --report dev.json \\
            --variants full without-kl --seeds 0 1 --out runs/kl
    """
    from biasunlearn.commands.ablate import ablate
    from biasunlearn.config import load_config
    from biasunlearn.report.tables.ablation import ablation_tables

    config = load_config(training.config, execution.settings(training.set))
    return Request(model, training, rows, loading, execution, output).run(
        ablate,
        ablation_tables,
        "ablation.json, one run folder a seed",
        config=config,
        seeds=execution.seeds(seeds, (0, 1, 2)),
        variants=variants,
    )


@command
def disentangle(
    model: Model,
    /,
    *,
    training: Training,
    rows: Rows = Rows(),
    loading: Loading = Loading(),
    execution: Execution = Execution(),
    leave_out: Annotated[bool, Parameter(group=SETTINGS)] = False,
    seeds: Annotated[Integers | None, Parameter(group=SETTINGS)] = None,
    erase: Annotated[bool, Parameter(group=SETTINGS)] = False,
    layer: Annotated[Integer | None, Parameter(group=SETTINGS)] = None,
    rank: Annotated[Integer | None, Parameter(group=SETTINGS)] = None,
    draws: Annotated[Integer | None, Parameter(group=SETTINGS)] = None,
    output: Output = Output(),
) -> int:
    """Train on one bias type at a time, and report on all of them.

    With --erase nothing is trained: the subspace of one bias type at a time is erased from the hidden states of a layer
    (LEACE), beside random erasures of the same rank. Repeat the command to continue an interrupted series: finished
    runs are not repeated.

    Args:
        model: Folder of a causal or masked language model, or its name on the Hugging Face hub.
        leave_out: Train on all bias types but one instead, to test whether debiasing generalizes to an unseen type.
        seeds: Random seeds; every row is trained with each of them (default: the seed of the recipe).
        erase: Erase the subspace of one bias type at a time instead of training. Causal models only.
        layer: With --erase: layer behind which states are erased, 1 is the first (default: the middle one).
        rank: With --erase: directions that are erased of every bias type (default: 4).
        draws: With --erase: random erasures of the same rank (default: 10).

    Examples:
        biasunlearn disentangle MODEL --train train_pairs.jsonl \\
            --unrelated unrelated.json --report dev.json --out runs/matrix
        biasunlearn disentangle MODEL --train train_pairs.jsonl --report dev.json \\
            --leave-out --seeds 0 1 --out runs/unseen
        biasunlearn disentangle MODEL --train train_pairs.jsonl --report dev.json \\
            --erase --draws 10 --out runs/erased
    """
    request = Request(model, training, rows, loading, execution, output)
    if erase:
        if leave_out or seeds is not None:
            raise RequestError("--erase: trains nothing; leave --leave-out and --seeds out")
        return _erase(request, layer, rank, draws)
    given = {"layer": layer, "rank": rank, "draws": draws}
    if alone := next((name for name, value in given.items() if value is not None), None):
        raise RequestError(f"--{alone}: only has a meaning with --erase; add it, or leave --{alone} out")
    from biasunlearn.commands.disentangle import disentangle
    from biasunlearn.config import load_config
    from biasunlearn.report.tables.disentangle import disentangle_tables

    config = load_config(training.config, execution.settings(training.set))
    return request.run(
        disentangle,
        disentangle_tables,
        "matrix.json, one run folder a row and seed",
        config=config,
        seeds=execution.seeds(seeds, ()),
        leave_out=leave_out,
    )


def _erase(request: Request, layer: int | None, rank: int | None, draws: int | None) -> int:
    """`disentangle --erase`."""
    from biasunlearn.commands.disentangle_erasure import DRAWS, RANK, Erasing, disentangle_by_erasure
    from biasunlearn.report.tables.disentangle import erasure_tables

    training, execution = request.training, request.execution
    execution.refuse("has no meaning with --erase", "dtype", "batch_tokens")
    if training.config is not None or training.set:
        raise RequestError("--erase: trains nothing and has no recipe; leave --config and --set out")
    if training.benchmark or training.unrelated:
        raise RequestError("--erase: only reads --train and --report; leave --benchmark and --unrelated out")
    erasing = Erasing(
        layer=layer, rank=RANK if rank is None else rank, draws=DRAWS if draws is None else draws,
        seed=execution.seed or 0,
    )  # fmt: skip
    return request.run(
        disentangle_by_erasure, erasure_tables, "erasure.json, one run folder an erasure", erasing=erasing
    )


@command
def sweep(
    model: Model,
    /,
    *,
    training: Training,
    rows: Rows = Rows(),
    loading: Loading = Loading(),
    execution: Execution = Execution(),
    trials: Annotated[Integer, Parameter(group=SETTINGS)] = 30,
    seeds: Annotated[Integers | None, Parameter(group=SETTINGS)] = None,
    storage: Annotated[str | None, Parameter(metavar="URL", group=SETTINGS)] = None,
    search_only: Annotated[bool, Parameter(group=SETTINGS)] = False,
    output: Output = Output(),
) -> int:
    """Search the settings of a recipe with Optuna, on the stop split of the training pairs.

    Repeat the command to continue an interrupted search.

    Args:
        model: Folder of a causal or masked language model, or its name on the Hugging Face hub.
        trials: Trials of the whole study.
        seeds: Random seeds; every trial is trained with each of them (default: 0).
        storage: Database of Optuna (default: a journal file in --out).
        search_only: Add trials and evaluate nothing on the report split. For further machines.

    Examples:
        biasunlearn sweep MODEL --train train_pairs.jsonl --report dev.json \\
            --unrelated unrelated.json --trials 30 --out runs/sweep
        biasunlearn sweep MODEL --train train_pairs.jsonl --report dev.json \\
            --storage sqlite:///study.db --search-only --out runs/sweep
    """
    from biasunlearn.commands.sweep import sweep
    from biasunlearn.config import load_config
    from biasunlearn.report.tables.sweep import sweep_tables

    config = load_config(training.config, execution.settings(training.set))
    return Request(model, training, rows, loading, execution, output).run(
        sweep,
        sweep_tables,
        "sweep.json",
        config=config,
        trials=trials,
        seeds=execution.seeds(seeds, (0,)),
        storage=storage,
        search_only=search_only,
    )
