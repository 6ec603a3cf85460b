"""`probe`: linear probes of a model's hidden states before and after debiasing, and the angles between bias types.

Hidden states are read where debiasing acts: at the tokens from the BLANK on in which the sentences of a pair differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from biasunlearn.commands.probe_questions import questions
from biasunlearn.commands.run_context import Callbacks, Progress, run_context
from biasunlearn.data.readers import DataFile, read_triplets
from biasunlearn.data.records import Triplet
from biasunlearn.data.sample import limited
from biasunlearn.data.splits import group_of
from biasunlearn.data.term_lists import TermList, load_term_list
from biasunlearn.errors import RequestError
from biasunlearn.models.spec import BATCH_TOKENS, ModelSpec
from biasunlearn.runs.benchmark_results import Measured
from biasunlearn.runs.folder import SCHEMA, environment
from biasunlearn.runs.results import Partial, PartialBenchmark, Results, only_given
from biasunlearn.runs.sections import Angles, LayerAngles, LayerAnswer, ProbeData, ProbeQuestion, Probes, ProbeSettings
from biasunlearn.stats.linear_probe import DRAWS, FOLDS, STRENGTH, Question, read, scores
from biasunlearn.stats.subspaces import COMPONENTS, SPLITS, angles, turned

POOLINGS = ("mean", "last")

SEVERAL = 7
"""Layers that are read by default: evenly spaced from the embeddings to the last."""

Stage = Literal["", "before", "after"]
"""State of the model whose hidden states are read; "" where there is no adapter."""

LISTS = ("gender", "race")
"""Shipped term lists that name groups: gender, parts of the world."""


def probe(
    model: str,
    *,
    data: str,
    out: str | Path | None = None,
    adapter: str | None = None,
    layers: Sequence[int] | None = None,
    pooling: str = "mean",
    groups: Sequence[str] | None = None,
    seed: int = 0,
    dtype: str = "float32",
    device: str | None = None,
    revision: str | None = None,
    batch_tokens: int = BATCH_TOKENS,
    limit: int | None = None,
    skip_invalid: bool = False,
    trust_remote_code: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> Results:
    """Trains linear probes on the hidden states of pairs, with the adapter off and on if one is given.

    Args:
        model: a folder, or a name on the hub.
        data: triplets; intrasentence ones are read where there are any. Those of the report split are best: probes are
            trained here, by cross-validation, and none of their results is used in training.
        out: run folder to write.
        adapter: the folder of an adapter, which is switched off and on.
        layers: 0 is the embeddings, 1 the first layer; default: up to seven, evenly spaced.
        pooling: mean over the tokens in which the sentences of a pair differ, or the last of them.
        groups: term lists, by name or file, that say which group a target term belongs to (default: gender, race).
        seed: of the folds, of the controls and of the intervals.
        dtype: of the weights of the model (default: float32).
        device: cpu, cuda, cuda:1, ... (default: the accelerator if there is one, else the CPU).
        revision: branch, tag or commit of a model on the hub.
        batch_tokens: maximum number of tokens in a scoring batch.
        limit: probe about this many pairs, a random sample with the same share of each bias type.
        skip_invalid: leave out rows that cannot be used; they are counted and listed. Otherwise they are an error.
        trust_remote_code: run code that the repository of the model contains.
        resume: return the results of a finished run of the same request; one that was interrupted begins again.
        progress: called with (what, done, of).
    Returns:
        The results, with `probes`; written with report.html where `out` is given.
    Raises:
        RequestError: as `measure`; scikit-learn is not installed; a layer that the model does not have.
    """
    if pooling not in POOLINGS:
        raise RequestError(f"--pool {pooling}: unknown; known: {', '.join(POOLINGS)}")
    file = read_triplets(data, skip_invalid=skip_invalid)
    file, of = (file, None) if limit is None else limited(file, limit, seed=seed)
    pairs = _pairs_of(file, groups)
    request = {"model": model, "adapter": adapter, "revision": revision, "data": data,
               "layers": layers and [*layers], "pooling": pooling, "groups": groups and [*groups], "seed": seed,
               "dtype": dtype, **only_given(limit=limit)}  # fmt: skip
    spec = ModelSpec(
        model, adapter=adapter, dtype=dtype, device=device, revision=revision, trust_remote_code=trust_remote_code,
        batch_tokens=batch_tokens,
    )  # fmt: skip
    with run_context(out, {"probe": request}, resume=resume, callbacks=Callbacks(progress)) as context:
        if context.stored is not None:
            return context.stored
        probes = _probes(spec, pairs, layers, pooling, seed, context.callbacks)
        results = Results(
            schema=SCHEMA, model=model, adapter=adapter, benchmarks=Measured(), probes=probes,
            **only_given(partial=_partial(limit, seed, len(file.triplets), of)), environment=environment(),
        )  # fmt: skip
        return context.finish(results, {"": []})


@dataclass(frozen=True, slots=True)
class _Pairs:
    """The pairs whose hidden states are probed, and the questions about them."""

    file: DataFile
    triplets: Sequence[Triplet]
    questions: Sequence[Question]
    left_out: Sequence[str]
    """Why other questions and pairs are left out."""


def _partial(limit: int | None, seed: int, kept: int, of: int | None) -> Partial | None:
    """The part of the results about a sample of the pairs; None where all are probed."""
    if of is None or kept == of:
        return None
    return Partial(limit=limit, seed=seed, benchmarks={"probe": PartialBenchmark(n=kept, of=of)})


def _pairs_of(file: DataFile, groups: Sequence[str] | None) -> _Pairs:
    """The intrasentence pairs of a file, or all of them where there are none."""
    triplets = [c for c in file.triplets if c.kind == "intrasentence"] or list(file.triplets)
    asked, left_out = questions(triplets, _lists(groups, triplets))
    if other := len(file.triplets) - len(triplets):
        left_out.insert(0, f"{other} intersentence pairs left out")
    return _Pairs(file, triplets, asked, left_out)


def _probes(
    spec: ModelSpec, pairs: _Pairs, layers: Sequence[int] | None, pooling: str, seed: int, callbacks: Callbacks
) -> Probes:
    """Computes the hidden states, trains the probes, and measures the angles."""
    chosen, states = _states(spec, pairs.triplets, layers, pooling, callbacks)
    return Probes(
        layers=chosen,
        stages=[*states],
        pooling=pooling,
        data=ProbeData.model_validate(pairs.file.facts),
        pairs=len(pairs.triplets),
        left_out=[*pairs.left_out],
        settings=ProbeSettings(C=STRENGTH, folds=FOLDS, draws=DRAWS, components=COMPONENTS, splits=SPLITS, seed=seed),
        questions=_answers(pairs.questions, chosen, list(states.values()), seed, callbacks),
        angles=_angles(pairs.triplets, chosen, states, seed, callbacks),
    )


def _lists(groups: Sequence[str] | None, triplets: Sequence[Triplet]) -> dict[str, TermList]:
    """{bias type: its list}. RequestError for a list that was named and fits no pair."""
    lists = {found.bias_type: found for found in map(load_term_list, groups or LISTS)}
    types = {triplet.bias_type for triplet in triplets}
    if groups and (odd := sorted(set(lists) - types)):
        raise RequestError(f"--groups: a list of bias type {odd[0]!r}, of which the data has no pairs")
    return lists


def _states(
    spec: ModelSpec, triplets: Sequence[Triplet], layers: Sequence[int] | None, pooling: str, callbacks: Callbacks
) -> tuple[list[int], dict[Stage, Any]]:
    """The layers, and for each stage of the model its hidden states [layers, 2 * pairs, hidden]."""
    from biasunlearn.models.adapters import reference
    from biasunlearn.models.forward import text_config
    from biasunlearn.models.load import load
    from biasunlearn.scoring.embed import embed_layers

    loaded = load(spec)
    count = text_config(loaded.model).num_hidden_layers
    chosen = sorted(set(layers)) if layers else _evenly(count)
    if chosen[0] < 0 or chosen[-1] > count:
        raise RequestError(f"--layers {chosen[0] if chosen[0] < 0 else chosen[-1]}: the model has layers 0 to {count}")
    # A masked model also reads what follows: the mean is over the text to its end, which is the default of training.
    to: Literal["end", "difference"] = "end" if loaded.masked else "difference"
    passages = [c.supervised(side, to) for c in triplets for side in (c.stereotype, c.anti_stereotype)]

    def states(stage: str) -> Any:
        counted = loaded.with_progress(callbacks.counter(f"states {stage}".strip()))
        return embed_layers(counted, passages, chosen, pooling=pooling)

    if spec.adapter is None:
        return chosen, {"": states("")}
    with reference(loaded.model):
        before = states("before")
    return chosen, {"before": before, "after": states("after")}


def _evenly(count: int) -> list[int]:
    """By hand: 6 -> 0, 1, ..., 6; 12 -> 0, 2, ..., 12"""
    return sorted({round(place * count / (SEVERAL - 1)) for place in range(SEVERAL)})


def _answers(
    asked: Sequence[Question], layers: Sequence[int], stages: Sequence[Any], seed: int, callbacks: Callbacks
) -> list[ProbeQuestion]:
    counter, done, of = callbacks.counter("probes"), 0, len(asked) * len(layers)
    found = []
    for question in asked:
        answers = {}
        for place, layer in enumerate(layers):
            read_here = [read(stage[place], question, seed=seed) for stage in stages]
            answers[str(layer)] = LayerAnswer.of(scores(question, read_here, seed=seed))
            done += 1
            counter(done, of)
        clusters = len(set(zip(question.strata, question.clusters, strict=True)))
        found.append(ProbeQuestion(
            asks=question.asks, bias_type=question.bias_type, classes=list(question.classes), chance=question.chance,
            sentences=len(question.rows), clusters=clusters, layers=answers,
        ))  # fmt: skip
    return found


def _angles(
    triplets: Sequence[Triplet], layers: Sequence[int], states: Mapping[Stage, Any], seed: int, callbacks: Callbacks
) -> dict[str, LayerAngles]:
    """Layer -> angles of each stage, for bias types of several target terms."""
    places: dict[str, list[int]] = {}
    for place, triplet in enumerate(triplets):
        places.setdefault(triplet.bias_type, []).append(place)
    terms = {name: [group_of(triplets[place])[1] for place in own] for name, own in sorted(places.items())}
    terms = {name: own for name, own in terms.items() if len(set(own)) > 1}
    counter, found = callbacks.counter("angles"), {}
    for number, layer in enumerate(layers) if terms else ():
        # Standardised as for the probes: a few dimensions of hidden states outweigh all others.
        spread = next(iter(states.values()))[number].std(0)
        scale = np.where(spread > 1e-8, spread, 1.0)
        differences = [
            {name: (own[0::2] - own[1::2])[places[name]] for name in terms}
            for own in (np.asarray(stage[number], np.float64) / scale for stage in states.values())
        ]
        first, last = differences[0], differences[-1]
        found[str(layer)] = LayerAngles(
            stages=[Angles.of(angles(each, terms, seed=seed)) for each in differences],
            turned={name: turned(first[name], last[name]) for name in terms} if len(states) > 1 else {},
        )
        counter(number + 1, len(layers))
    return found
