"""`disentangle`: the effect of debiasing one bias type on the others, and on one that is never trained on.

There is an ordinary `debias` run for each bias type, trained on that type alone (or on all others) and reported on all
of them: a matrix of SS, each cell with its interval. With `orthogonal_weight` a run also has the pairs of the other
bias types, to keep their directions. Finished runs are not repeated.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from biasunlearn.commands.repeated_runs import Common, Experiment, experiment_of
from biasunlearn.commands.shared_queue import run_when_free
from biasunlearn.config import DebiasConfig, to_dict
from biasunlearn.data.readers import fingerprint, read_triplets, write_pairs
from biasunlearn.data.records import Triplet
from biasunlearn.errors import RequestError
from biasunlearn.runs.atomic import whole_file
from biasunlearn.runs.first_process import is_first
from biasunlearn.runs.folder import RunFolder
from biasunlearn.runs.results import Measured, Metric, Results, only_given
from biasunlearn.runs.series import Disentanglement, SpillOverMatrix, mean_over_seeds
from biasunlearn.stats.remaining_bias import main_comparisons
from biasunlearn.stats.spill_over import Stages, spill_over


def disentangle(
    model: str,
    *,
    train: str,
    out: str | Path,
    config: DebiasConfig | None = None,
    seeds: Sequence[int] = (),
    leave_out: bool = False,
    **common: Unpack[Common],
) -> Disentanglement:
    """Runs in `out`/only-TYPE/seed-N, or with `leave_out` in `out`/without-TYPE/seed-N, beside their training pairs.

    Args:
        model: a folder, or a name on the hub.
        train: pairs to learn from, as for `debias`.
        out: folder to write; every run has a folder of its own in it.
        config: the recipe (default: the default recipe).
        seeds: every row is trained with each of them (default: the recipe's seed alone).
        leave_out: train on all bias types but one, to test the effect on the one that is missing.
        common: report, unrelated, benchmarks and so on, as for `debias` (commands/repeated_runs.py).
    Returns:
        SS of every bias type, before and after training on each, as in `out`/matrix.json. With several seeds, SS in
        `after` is their mean, and its interval covers those of all seeds.
    Raises:
        RequestError: as `debias`; a single bias type; a folder made of other training pairs.
        Interrupted: Ctrl-C; call again to continue.
    """
    config = config or DebiasConfig()
    experiment = experiment_of(model, common)
    triplets = read_triplets(train, skip_invalid=experiment.plan.skip_invalid).triplets
    types = check_types(train, triplets)
    seeds = [*seeds] or [config.seed]
    experiment = replace(experiment, unrelated=experiment.unrelated or _own_unrelated(triplets, Path(out)))
    trained_on, tasks = {}, []
    for bias_type in types:
        name = f"{'without' if leave_out else 'only'}-{file_name(bias_type)}"
        chosen = [triplet for triplet in triplets if (triplet.bias_type == bias_type) != leave_out]
        trained_on[name] = sorted({triplet.bias_type for triplet in chosen})
        row = config
        if config.orthogonal_weight:  # the directions of the other bias types are read from their pairs
            chosen, row = [*triplets], replace(config, trained_types=tuple(trained_on[name]))
        pairs = str(_stored(chosen, Path(out) / f"{name}.jsonl"))
        tasks += [(name, replace(row, seed=seed), pairs, len(chosen)) for seed in seeds]
    found = _run_all(experiment, tasks, Path(out))
    by_seed = {name: [_scores(results.benchmarks) for results in runs] for name, runs in found.items()}
    stages = {name: [_stages(results) for results in runs] for name, runs in found.items()}
    ss, group = (spill_over(stages, trained_on, group=group) for group in (False, True))
    result = Disentanglement(
        model=model,
        leave_out=leave_out,
        seeds=seeds,
        before=_scores(next(iter(found.values()))[0].before),
        after={name: mean_over_seeds(rows) for name, rows in by_seed.items()},
        by_seed=by_seed,
        **only_given(
            spill_over=SpillOverMatrix.of(ss) if ss else None,
            spill_over_group=SpillOverMatrix.of(group) if group else None,
        ),
        trained_on=trained_on,
        recipe=to_dict(config),
    )
    RunFolder(Path(out)).write_json("matrix.json", result.to_dict())
    return result


def _run_all(
    experiment: Experiment, tasks: Sequence[tuple[str, DebiasConfig, str, int]], out: Path
) -> dict[str, list[Results]]:
    """The results of every training set by seed.

    Args:
        tasks: the name of a training set, the recipe with its seed, the file of the pairs, and their number.
    """
    found: dict[tuple[str, int], Results] = {}

    def run(task: tuple[str, DebiasConfig, str, int]) -> None:
        name, config, pairs, number = task
        what = f"{name}, seed {config.seed}, {number} training pairs"
        found[name, config.seed] = experiment.run(what, out / name / f"seed-{config.seed}", config, train=pairs)

    run_when_free(tasks, run, experiment.callbacks)
    names = dict.fromkeys(task[0] for task in tasks)
    return {name: [found[one, config.seed] for one, config, *_ in tasks if one == name] for name in names}


def check_types(train: str, triplets: Sequence[Triplet]) -> list[str]:
    """The bias types of the training pairs. RequestError for a single one, or two that would share a folder."""
    types = sorted({triplet.bias_type for triplet in triplets})
    if len(types) < 2:
        raise RequestError(f"{train}: only the bias type {types[0]}; disentangle needs pairs of two or more")
    if len({file_name(bias_type) for bias_type in types}) < len(types):
        raise RequestError(f"{train}: two bias types would share a folder; rename one of them")
    return types


def _scores(measured: Measured | None) -> dict[str, Metric]:
    rows = measured.stereoset.bias_types if measured and measured.stereoset else {}
    return {bias_type: Metric.model_validate(row.ss.to_dict()) for bias_type, row in rows.items()}


def _stages(results: Results) -> Stages:
    """The comparisons of the report file before and after; none where it is no StereoSet file."""
    items = results.items
    return main_comparisons(items.get("before", ())), main_comparisons(items.get("after", ()))


def _stored(chosen: Sequence[Triplet], path: Path) -> Path:
    """Stores the training pairs of a run in a file, so that it is an ordinary run that can be started again."""
    if path.exists():
        if read_triplets(path).sha256 != fingerprint(chosen):
            raise RequestError(f"{path}: made of other training pairs; choose another --out or remove it")
    elif is_first():
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:  # another process sees all of it or none
            temporary.unlink(missing_ok=True)  # of a process that was killed, and had the same number
            write_pairs(chosen, temporary)
    return path


def _own_unrelated(triplets: Sequence[Triplet], out: Path) -> str | None:
    """A file with the unrelated sentences of all training pairs, the same for every run; None where there are none."""
    sentences = [triplet.unrelated.text for triplet in triplets if triplet.unrelated]
    if not sentences:
        return None
    if is_first() and not (out / "unrelated.txt").exists():
        out.mkdir(parents=True, exist_ok=True)
        RunFolder(out).write_text("unrelated.txt", "".join(f"{sentence}\n" for sentence in dict.fromkeys(sentences)))
    return str(out / "unrelated.txt")


def file_name(bias_type: str) -> str:
    """The name of a bias type in characters that every file system accepts."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in bias_type)
