"""`disentangle --erase`: the subspace of one bias type is erased from the hidden states, and all types are measured.

Nothing is trained. A bias type that depends on the directions of another one changes when these are erased, and it
changes more than when random directions of the same number are. The base model, every erasure and every random erasure
are ordinary `measure` runs with an adapter, in folders of their own; finished ones are not repeated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from biasunlearn.commands.disentangle import check_types, file_name
from biasunlearn.commands.measure import measure
from biasunlearn.commands.repeated_runs import Common, experiment_of
from biasunlearn.commands.run_context import Callbacks
from biasunlearn.data.readers import read_triplets
from biasunlearn.data.records import Triplet
from biasunlearn.errors import RequestError
from biasunlearn.models.spec import ModelSpec
from biasunlearn.runs.erasure_matrix import ErasureCell, ErasureMatrix
from biasunlearn.runs.folder import RunFolder
from biasunlearn.runs.places import check_out
from biasunlearn.runs.results import Results
from biasunlearn.stats.erasure_effects import Score, erasure_effects
from biasunlearn.stats.leace import erasure, random_erasure, rank_of
from biasunlearn.stats.remaining_bias import main_comparisons

RANK = 4
"""Directions of a bias type: the side of the pair, and three principal components of the differences."""

DRAWS = 10
"""Random erasures beside each rank."""

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasing:
    """What is erased.

    Args:
        layer: the layer behind which states are erased, 1 is the first (None: the middle one).
        rank: directions that are erased of every bias type.
        draws: random erasures of the same rank.
        seed: of the random erasures and of the intervals.
    """

    layer: int | None = None
    rank: int = RANK
    draws: int = DRAWS
    seed: int = 0


def disentangle_by_erasure(
    model: str, *, train: str, out: str | Path, erasing: Erasing | None = None, **common: Unpack[Common]
) -> ErasureMatrix:
    """Runs in `out`/base, `out`/erase-TYPE and `out`/random-RANK-N, each with its erasure as an adapter.

    Args:
        model: a folder, or a name on the hub, of a causal model.
        train: pairs from which the subspaces are computed.
        out: folder to write; every run has a folder of its own in it.
        erasing: layer, rank, number of random erasures, seed.
        common: report, skip_invalid, options and so on, as for `debias` (commands/repeated_runs.py).
    Returns:
        The effects on every bias type of the report file, as in `out`/erasure.json.
    Raises:
        RequestError: as `measure`; a masked model; a layer that the model does not have; a single bias type; fewer than
            two random erasures; a folder made of other pairs.
    """
    erasing = erasing or Erasing()
    _check(erasing)
    experiment = experiment_of(model, common)
    triplets = read_triplets(train, skip_invalid=experiment.plan.skip_invalid).triplets
    groups = {name: _main_kind([t for t in triplets if t.bias_type == name]) for name in check_types(train, triplets)}
    check_out(out, model)
    layer, projections, center = _projections(experiment.model, groups, erasing, experiment.callbacks)
    runs = {"base": _measured(Path(out) / "base", None, model, common, experiment.callbacks)}
    for name, projection in projections.items():
        adapter = _stored(Path(out) / name / "adapter", projection, center, layer - 1)
        runs[name] = _measured(Path(out) / name, adapter, model, common, experiment.callbacks)
    found = {name: main_comparisons(results.items.get("", ())) for name, results in runs.items()}
    ranks = {name: rank_of(projections[f"erase-{file_name(name)}"]) for name in groups}
    erased = {name: found[f"erase-{file_name(name)}"] for name in groups}
    random = {name: [found[_random(rank, n)] for n in range(erasing.draws)] for name, rank in ranks.items()}

    def cells(score: Score) -> list[ErasureCell]:
        return [ErasureCell.of(e) for e in erasure_effects(found["base"], erased, random, score, seed=erasing.seed)]

    stereoset = runs["base"].benchmarks.stereoset
    result = ErasureMatrix(
        model=model, layer=layer, ranks=ranks, draws=erasing.draws, seed=erasing.seed,
        pairs={name: len(group) for name, group in groups.items()},
        before={name: row.ss for name, row in stereoset.bias_types.items()} if stereoset else {},
        ss=cells("ss"), moved=cells("moved"), group=cells("group"),
    )  # fmt: skip
    RunFolder(Path(out)).write_json("erasure.json", result.to_dict())
    return result


def _check(erasing: Erasing) -> None:
    if erasing.rank < 1:
        raise RequestError(f"--rank {erasing.rank}: must be at least 1")
    if erasing.draws < 2:
        raise RequestError(f"--draws {erasing.draws}: needs at least 2 random erasures, whose spread is the comparison")


def _main_kind(group: Sequence[Triplet]) -> list[Triplet]:
    """The intrasentence pairs, or all where there are none: the others do not share the words before a BLANK."""
    return [triplet for triplet in group if triplet.kind == "intrasentence"] or list(group)


def _projections(
    spec: ModelSpec, groups: Mapping[str, Sequence[Triplet]], erasing: Erasing, callbacks: Callbacks
) -> tuple[int, dict[str, Floats], Floats]:
    """The layer, the projection of every erasure by the name of its run, and the center of all of them."""
    from biasunlearn.models.forward import text_config
    from biasunlearn.models.load import load
    from biasunlearn.scoring.state_moments import state_moments

    loaded = load(spec).with_progress(callbacks.counter("states"))
    if loaded.masked:
        raise RequestError(f"{spec.model}: a masked model; --erase needs a causal one")
    count = text_config(loaded.model).num_hidden_layers
    layer = (count + 1) // 2 if erasing.layer is None else erasing.layer
    if not 1 <= layer <= count:
        raise RequestError(f"--layer {layer}: the model has layers 1 to {count}")
    moments = state_moments(loaded, groups, layer - 1, dict.fromkeys(groups, erasing.rank))
    cov = moments.covariance
    projections = {f"erase-{file_name(name)}": erasure(cov, cross) for name, cross in moments.cross.items()}
    for rank in sorted({rank_of(one) for one in projections.values()}):
        for n in range(erasing.draws):
            rng = np.random.default_rng([erasing.seed, rank, n])
            projections[_random(rank, n)] = random_erasure(cov, rank, rng)
    return layer, projections, moments.mean


def _random(rank: int, number: int) -> str:
    return f"random-{rank}-{number}"


def _stored(folder: Path, projection: Floats, center: Floats, block: int) -> Path:
    """Stores an erasure as an adapter; one that is there must be the same."""
    import torch
    from safetensors.torch import load_file

    from biasunlearn.models.erased import FILE, write_erasure

    matrix, middle = (torch.from_numpy(value).float() for value in (projection, center))
    if (folder / FILE).exists():
        saved = load_file(folder / FILE)
        same = saved["block"].item() == block and saved["projection"].shape == matrix.shape
        if not same or not torch.allclose(saved["projection"], matrix, atol=1e-4):
            raise RequestError(f"{folder}: made of other pairs or another layer; choose another --out or remove it")
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    write_erasure(folder, matrix, middle, block)
    return folder


def _measured(folder: Path, adapter: Path | None, model: str, common: Common, callbacks: Callbacks) -> Results:
    """One run of `measure` on the report file; a finished one is read."""
    callbacks.message(f"{folder.name}: {folder}")
    run = folder / "run"
    return measure(
        model, {"stereoset": common["report"]}, adapter=adapter, out=run, resume=run.exists(),
        limit=common.get("limit"), device=common.get("device"), revision=common.get("revision"),
        skip_invalid=common.get("skip_invalid", False), trust_remote_code=common.get("trust_remote_code", False),
        options=common.get("options"), progress=common.get("progress"),
    )  # fmt: skip
