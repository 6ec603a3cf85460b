"""`probe`: what can be read from a model's hidden states by a linear classifier, before and after debiasing, and the
angles between the bias types.

What debiasing acts on is read where it acts: at the tokens from the BLANK on in which the two sentences of a pair
differ.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from biasunlearn.commands.measure import Progress, finish
from biasunlearn.commands.probe_questions import questions
from biasunlearn.data.counterfactual import TermList, load_term_list
from biasunlearn.data.readers import read_triplets
from biasunlearn.data.records import Triplet
from biasunlearn.data.splits import group_of
from biasunlearn.errors import RequestError
from biasunlearn.models.spec import ModelSpec
from biasunlearn.runs.folder import SCHEMA, environment, new_run
from biasunlearn.runs.lock import releasing_locks
from biasunlearn.runs.results import Measured, Probes, Results
from biasunlearn.stats.linear_probe import DRAWS, FOLDS, STRENGTH, Question, read, scores
from biasunlearn.stats.subspaces import COMPONENTS, SPLITS, angles, turned

POOLINGS = ("mean", "last")

SEVERAL = 7
"""Layers that are read where none are named: evenly from the embeddings to the last."""

LISTS = ("gender", "race")
"""Shipped term lists that tell groups: he and she, parts of the world."""


@releasing_locks()
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
    batch_tokens: int = 4096,
    skip_invalid: bool = False,
    trust_remote_code: bool = False,
    progress: Progress | None = None,
) -> Results:
    """Asks linear probes of the hidden states of pairs, with the adapter off and on if one is given.

    Args:
        data: triplets; intrasentence ones are read where there are any. Best those of the report split: probes are
            trained here, by cross-validation, and nothing of what they find goes back into training.
        layers: 0 is the embeddings, 1 the first layer; default: up to seven, evenly.
        pooling: mean over the tokens in which the sentences of a pair differ, or the last of them.
        groups: term lists, by name or file, that tell which group a target term belongs to (default: gender, race).
        seed: of the folds, of the controls and of the intervals.
    Returns:
        The results, with `probes`; written with report.html where `out` is given.
    Raises:
        RequestError: as `measure`; scikit-learn is not installed; a layer that the model does not have.
    """
    if pooling not in POOLINGS:
        raise RequestError(f"--pool {pooling}: unknown; known: {', '.join(POOLINGS)}")
    found = read_triplets(data, skip_invalid=skip_invalid)
    triplets = [c for c in found.triplets if c.kind == "intrasentence"] or list(found.triplets)
    asked, left_out = questions(triplets, _lists(groups, triplets))
    if other := len(found.triplets) - len(triplets):
        left_out.insert(0, f"{other} intersentence pairs left out")
    request = {"model": model, "adapter": adapter, "data": data, "layers": layers and [*layers], "pooling": pooling,
               "groups": groups and [*groups], "seed": seed, "dtype": dtype}  # fmt: skip
    run = new_run(out) if out is not None else None
    spec = ModelSpec(model, adapter=adapter, dtype=dtype, trust_remote_code=trust_remote_code)
    chosen, states = _states(spec, triplets, layers, pooling, batch_tokens, progress)
    probes = {
        "layers": chosen,
        "stages": list(states),
        "pooling": pooling,
        "data": found.facts,
        "pairs": len(triplets),
        "left_out": left_out,
        "settings": {"C": STRENGTH, "folds": FOLDS, "draws": DRAWS, "components": COMPONENTS, "splits": SPLITS,
                     "seed": seed},
        "questions": _answers(asked, chosen, list(states.values()), seed, progress),
        "angles": _angles(triplets, chosen, states, seed, progress),
    }  # fmt: skip
    results = Results(
        schema=SCHEMA, model=model, adapter=adapter, benchmarks=Measured(), probes=Probes.model_validate(probes),
        environment=environment(),
    )  # fmt: skip
    if run is not None:
        finish(run, results, {"probe": request}, {"": []})
    return results


def _lists(groups: Sequence[str] | None, triplets: Sequence[Triplet]) -> dict[str, TermList]:
    """Bias type -> its list. A list that was asked for and fits no pair is a RequestError."""
    lists = {found.bias_type: found for found in map(load_term_list, groups or LISTS)}
    types = {triplet.bias_type for triplet in triplets}
    if groups and (odd := sorted(set(lists) - types)):
        raise RequestError(f"--groups: a list of bias type {odd[0]!r}, of which the data has no pairs")
    return lists


def _states(
    spec: ModelSpec,
    triplets: Sequence[Triplet],
    layers: Sequence[int] | None,
    pooling: str,
    batch_tokens: int,
    progress: Progress | None,
) -> tuple[list[int], dict[str, Any]]:
    """The layers, and for each stage of the model [layers, 2 * pairs, hidden]."""
    from biasunlearn.models.adapters import reference
    from biasunlearn.models.forward import text_config
    from biasunlearn.models.load import load
    from biasunlearn.scoring.embed import embed_layers

    loaded = load(spec)
    count = text_config(loaded.model).num_hidden_layers
    chosen = sorted(set(layers)) if layers else _evenly(count)
    if chosen[0] < 0 or chosen[-1] > count:
        raise RequestError(f"--layers {chosen[0] if chosen[0] < 0 else chosen[-1]}: the model has layers 0 to {count}")
    # A masked model also reads what follows; its mean goes to the end, as training does where nothing else is said.
    to: Literal["end", "difference"] = "end" if loaded.masked else "difference"
    passages = [c.supervised(side, to) for c in triplets for side in (c.stereotype, c.anti_stereotype)]

    def look(stage: str) -> Any:
        return embed_layers(loaded, passages, chosen, pooling=pooling, batch_tokens=batch_tokens,
                            progress=_telling(progress, f"states {stage}".strip()))  # fmt: skip

    if spec.adapter is None:
        return chosen, {"": look("")}
    with reference(loaded.model):
        before = look("before")
    return chosen, {"before": before, "after": look("after")}


def _evenly(count: int) -> list[int]:
    """By hand: 6 -> 0, 1, ..., 6; 12 -> 0, 2, ..., 12"""
    return sorted({round(place * count / (SEVERAL - 1)) for place in range(SEVERAL)})


def _answers(
    asked: Sequence[Question], layers: Sequence[int], stages: Sequence[Any], seed: int, progress: Progress | None
) -> list[dict[str, Any]]:
    tell, done, of = _telling(progress, "probes"), 0, len(asked) * len(layers)
    found = []
    for question in asked:
        rows = {"asks": question.asks, "bias_type": question.bias_type, "classes": list(question.classes),
                "chance": question.chance, "sentences": len(question.rows),
                "clusters": len(set(zip(question.strata, question.clusters, strict=True)))}  # fmt: skip
        answers = {}
        for place, layer in enumerate(layers):
            answers[str(layer)] = scores(question, [read(s[place], question, seed=seed) for s in stages], seed=seed)
            done += 1
            tell(done, of)
        found.append({**rows, "layers": answers})
    return found


def _angles(
    triplets: Sequence[Triplet], layers: Sequence[int], states: Mapping[str, Any], seed: int, progress: Progress | None
) -> dict[str, Any]:
    """{layer: {"stages": [angles.angles of each], "turned": {type: degrees}}}; types with a single term have none."""
    places: dict[str, list[int]] = {}
    for place, triplet in enumerate(triplets):
        places.setdefault(triplet.bias_type, []).append(place)
    terms = {name: [group_of(triplets[place])[1] for place in own] for name, own in sorted(places.items())}
    terms = {name: own for name, own in terms.items() if len(set(own)) > 1}
    tell, found = _telling(progress, "angles"), {}
    for number, layer in enumerate(layers) if terms else ():
        # In the units of the probes: hidden states have a few numbers that outweigh all others.
        spread = next(iter(states.values()))[number].std(0)
        scale = np.where(spread > 1e-8, spread, 1.0)
        differences = [
            {name: (own[0::2] - own[1::2])[places[name]] for name in terms}
            for own in (np.asarray(stage[number], np.float64) / scale for stage in states.values())
        ]
        first, last = differences[0], differences[-1]
        found[str(layer)] = {
            "stages": [angles(each, terms, seed=seed) for each in differences],
            "turned": {name: turned(first[name], last[name]) for name in terms} if len(states) > 1 else {},
        }
        tell(number + 1, len(layers))
    return found


def _telling(progress: Progress | None, what: str) -> Callable[[int, int], None]:
    return lambda done, of: progress(what, done, of) if progress else None
