"""StereoSet: how often the stereotype is likelier (SS), how often a meaningful sentence is (LMS), both in ICAT.

Paper          Nadeem, Bethke, Reddy 2020 (arXiv 2004.09456)
Data           the official JSON, the hub copy McGill-NLP/stereoset, or pairs of your own (then without LMS)
Formulation    causal: mean log-probability of all tokens of the candidate after one start token that is not scored
               (official). Masked: mean pseudo-log-likelihood of all tokens.
               Intersentence: mean log-probability of the second sentence given the first. This one is ours: the
               official score for it needs a next-sentence head.
Averaging      official: per target term, then the unweighted mean over terms
Ideal          SS 50, LMS 100, ICAT 100
Deviations     none on intrasentence: official prediction files give the published numbers to 1e-9 (`rescore`)
Version        1
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from biasunlearn.benchmarks.common import score_usable
from biasunlearn.data.readers import DataFile, read_triplets
from biasunlearn.data.records import Triplet
from biasunlearn.data.tables import Source
from biasunlearn.runs.results import StereoSetPart, StereoSetResult, StereoSetScores
from biasunlearn.scoring.protocol import EvalPlan
from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.stereoset import FORMULATIONS, Item, comparisons, stereoset_scores

if TYPE_CHECKING:
    from biasunlearn.models.load import Loaded

VERSION = 1
IDEAL = {"ss": 50.0, "lms": 100.0, "icat": 100.0}
OVER_CLUSTERS = ("ss", "lms")
"""Scores that are means over target terms; others are means over triplets of sentences."""


def read(source: Source | DataFile, *, skip_invalid: bool = False) -> DataFile:
    """The triplets of a file, a hub data set or rows in memory. Raises as `data.readers.read_triplets`."""
    return read_triplets(source, skip_invalid=skip_invalid)


def run(loaded: "Loaded", source: Source | DataFile, plan: EvalPlan) -> tuple[list[Item], StereoSetResult]:
    """Scores a file of triplets. Returns its items and its results."""
    data = read(source, skip_invalid=plan.skip_invalid)
    data, items = score_usable(
        data, lambda usable: score_triplets(loaded, usable.triplets),
        lambda triplet: (triplet.whole(sentence) for _, sentence in triplet.sentences()), plan,
    )  # fmt: skip
    return items, entry(items).with_values(**data.facts, **({"notes": data.notes} if data.notes else {}))


def pairs(source: Source | DataFile, *, skip_invalid: bool = False) -> Sequence[Triplet]:
    """The triplets, to be compared with what a model was trained on."""
    return read(source, skip_invalid=skip_invalid).triplets


def entry(items: Sequence[Item]) -> StereoSetResult:
    """SS, LMS and ICAT: intrasentence (official) at the top level, intersentence (ours) below it.

    If the data has intersentence items only, those are at the top level, and `formulation` says so.
    """
    by_kind = {kind: [item for item in items if item.kind == kind] for kind in FORMULATIONS}
    main = "intrasentence" if by_kind["intrasentence"] else "intersentence"
    result = StereoSetResult(version=VERSION, ideal=IDEAL, skipped=0, **_scores(by_kind[main], main))
    if main == "intrasentence" and by_kind["intersentence"]:
        beside = StereoSetPart(**_scores(by_kind["intersentence"], "intersentence"))
        return result.with_values(intersentence=beside)
    return result


def _scores(items: Sequence[Item], kind: str) -> dict[str, Any]:
    scores = stereoset_scores(comparisons(items))
    return {
        "formulation": FORMULATIONS[kind],
        "n": scores.n,
        "overall": StereoSetScores.of_pairs(scores.overall),
        "bias_types": {name: StereoSetScores.of_pairs(row) for name, row in scores.bias_types.items()},
    }


def outcomes(items: Sequence[Item]) -> list[Outcome]:
    """Per triplet, in percent: `ss` (100: the stereotype is likelier), `lms` (0, 50 or 100); and `margin`, the
    stereotype's mean log-probability less the anti-stereotype's. Intersentence only where there is nothing else."""
    kind = next((kind for kind in FORMULATIONS if any(item.kind == kind for item in items)), None)
    rows = comparisons(item for item in items if item.kind == kind)
    found = []
    for row in rows:
        values = {"ss": 100 * row.stereotyped, "margin": row.margin}
        if row.meaningful is not None:
            values["lms"] = 100 * row.meaningful
        found += [Outcome(row.cluster, row.target, row.bias_type, name, value) for name, value in values.items()]
    return found


def score_triplets(
    loaded: "Loaded",
    triplets: Sequence[Triplet],
) -> list[Item]:
    """Scores every sentence of every triplet. The stop rule uses this same function."""
    from biasunlearn.scoring.log_prob import score

    asked = [(triplet, role, sentence) for triplet in triplets for role, sentence in triplet.sentences()]
    passages = [triplet.whole(sentence) for triplet, _, sentence in asked]
    scores = score(loaded, passages)
    return [
        Item(
            benchmark="stereoset",
            item_id=sentence.id,
            cluster_id=triplet.id,
            bias_type=triplet.bias_type,
            target=triplet.target or triplet.context or triplet.id,
            kind=triplet.kind,
            role=role,
            score=found.mean,
            tokens=found.tokens,
        )
        for (triplet, role, sentence), found in zip(asked, scores, strict=True)
    ]
