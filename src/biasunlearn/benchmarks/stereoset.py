"""StereoSet: how often the stereotype is more likely (SS), how often a meaningful sentence is (LMS), and ICAT.

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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from biasunlearn.benchmarks.association import association_fields
from biasunlearn.benchmarks.common import score_usable
from biasunlearn.data.readers import DataFile, read_triplets
from biasunlearn.data.records import Kind, Passage, Triplet
from biasunlearn.data.referents import ReplacedPairs, referent_pool, replaced_pairs
from biasunlearn.data.subgroups import load_subgroups, subgroup_of, term_lists
from biasunlearn.data.tables import Source
from biasunlearn.data.wording import seen_wording
from biasunlearn.errors import UnscorableError
from biasunlearn.runs.association_results import ReplacedFacts
from biasunlearn.runs.results import StereoSetPart, StereoSetResult, StereoSetScores
from biasunlearn.scoring.protocol import EvalPlan
from biasunlearn.scoring.triplets import role_sentences, sentence_items
from biasunlearn.stats.association import margin_parts
from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.stereoset import FORMULATIONS, Item, comparisons, stereoset_scores

if TYPE_CHECKING:
    from biasunlearn.models.load import Loaded

VERSION = 1
IDEAL = {"ss": 50.0, "lms": 100.0, "icat": 100.0}
MORE_COMPARED = {"ss_group": 50.0, "margin_group": 0.0, "ss_unseen": 50.0}
"""Scores beside these that `compare` tests, with their ideals: the group part of the margin, and SS of pairs of whose
attribute words not both were in training."""
OVER_CLUSTERS = ("ss", "lms", "ss_unseen")
"""Scores that are means over target terms; others are means over triplets of sentences."""


def read(source: Source | DataFile, *, skip_invalid: bool = False) -> DataFile:
    """The triplets of a file, a hub data set or rows in memory. Raises as `data.readers.read_triplets`."""
    return read_triplets(source, skip_invalid=skip_invalid)


def run(loaded: "Loaded", source: Source | DataFile, plan: EvalPlan) -> tuple[list[Item], StereoSetResult]:
    """Scores a file of triplets, and the same pairs about others in one batch with them. Returns items and results."""
    data = read(source, skip_invalid=plan.skip_invalid)
    options = plan.options
    replaced = _replaced(data, options.replacements, tuple(options.term_lists))
    data, items = score_usable(
        data, lambda usable: score_triplets(loaded, usable.triplets, replaced),
        partial(passages, masked=loaded.masked), plan,
    )  # fmt: skip
    items = _labelled(items, data.triplets, plan)
    result = entry(items).with_values(**data.facts, **({"notes": data.notes} if data.notes else {}))
    if options.replacements:
        result = result.with_values(replaced=_facts(options.replacements, data.triplets, items, replaced))
    return items, result


def passages(triplet: Triplet, *, masked: bool) -> Iterator[Passage]:
    """What is scored of a triplet, also by a masked model. Pairs about others are left out where they are too long."""
    yield from (triplet.whole(sentence) for _, sentence in triplet.sentences())


@lru_cache(maxsize=2)  # a run measures the same file before and after
def _replaced(data: DataFile, count: int, lists: tuple[str, ...]) -> ReplacedPairs:
    if not count:
        return ReplacedPairs({}, ())
    pool = referent_pool(term_lists(lists)) if lists else None
    return replaced_pairs(data.triplets, count=count, pool=pool)


def _labelled(items: Sequence[Item], triplets: Sequence[Triplet], plan: EvalPlan) -> list[Item]:
    """The items with the subgroup of their target term, and whether their attribute words were in training."""
    known, trained = load_subgroups(plan.options.term_lists), plan.trained_words
    seen: dict[tuple[str, str], str] = {}
    if trained is not None:
        seen = {(c.kind, c.id): seen_wording(c, trained) for c in triplets}
    subgroup = {
        key: subgroup_of(*key, known) for key in {(triplet.bias_type, triplet.target or "") for triplet in triplets}
    }
    return [
        replace(
            item, subgroup=subgroup.get((item.bias_type, item.target), ""),
            seen_wording=seen.get((item.kind, item.cluster_id), ""),
        )
        for item in items
    ]  # fmt: skip


def _facts(
    count: int, triplets: Sequence[Triplet], items: Sequence[Item], replaced: ReplacedPairs
) -> ReplacedFacts:
    """How many pairs have versions, and which have none; a version that the model cannot score counts as none."""
    scored = {item.cluster_id for item in items if item.group_part is not None}
    pairs = [c.id for c in triplets if c.kind == replaced.kind]
    known = {line.partition(": ")[0]: line for line in replaced.left_out}
    left_out = [known.get(one, f"{one}: the model cannot score its versions") for one in pairs if one not in scored]
    sentences = 2 * sum(len(replaced.versions[one]) for one in pairs if one in scored)
    return ReplacedFacts(count=count, pairs=len(pairs) - len(left_out), sentences=sentences, left_out=left_out)


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
    rows = comparisons(items)
    scores = stereoset_scores(rows)
    by_type = {name: [row for row in rows if row.bias_type == name] for name in scores.bias_types}
    return {
        "formulation": FORMULATIONS[kind],
        "n": scores.n,
        "overall": StereoSetScores.of_pairs(scores.overall).with_values(**association_fields(rows)),
        "bias_types": {
            name: StereoSetScores.of_pairs(row).with_values(**association_fields(by_type[name]))
            for name, row in scores.bias_types.items()
        },
    }


def outcomes(items: Sequence[Item]) -> list[Outcome]:
    """Per triplet, in percent: `ss` (100: the stereotype is likelier), `lms` (0, 50 or 100); and `margin`, the
    stereotype's mean log-probability less the anti-stereotype's. Intersentence only where there is nothing else.

    Of a pair that has a group part: its sign as `ss_group` (100, 50 or 0) and itself as `margin_group`. Of a pair of
    whose attribute words not both were in training: `ss_unseen`.
    """
    kind = next((kind for kind in FORMULATIONS if any(item.kind == kind for item in items)), None)
    rows = comparisons(item for item in items if item.kind == kind)
    found = []
    for row in rows:
        values = {"ss": 100 * row.stereotyped, "margin": row.margin}
        if row.meaningful is not None:
            values["lms"] = 100 * row.meaningful
        if row.group is not None:
            values |= {"ss_group": 50.0 * (1 + (row.group > 0) - (row.group < 0)), "margin_group": row.group}
        if row.seen in ("one", "neither"):
            values["ss_unseen"] = values["ss"]
        found += [Outcome(row.cluster, row.target, row.bias_type, name, value) for name, value in values.items()]
    return found


def score_triplets(
    loaded: "Loaded", triplets: Sequence[Triplet], replaced: ReplacedPairs | None = None
) -> list[Item]:
    """Scores every sentence of every triplet. The stop rule uses this same function.

    Args:
        replaced: versions of pairs about others, scored in the same batches. The two parts of a pair's margin
            (stats/association.py) are noted on its items.
    """
    from biasunlearn.scoring.log_prob import score

    asked = role_sentences(triplets)
    passages = [triplet.whole(sentence) for triplet, _, sentence in asked]
    about_others = replaced.versions if replaced else {}
    others = {
        c.id: [version.passages() for version in about_others[c.id]]
        for c in triplets if replaced and c.kind == replaced.kind and c.id in about_others
    }  # fmt: skip
    try:
        found = score(loaded, [*passages, *_flat(others)])
    except UnscorableError as error:  # a longer term can make a sentence too long for the model
        others = {
            name: usable for name, pairs in others.items()
            if (usable := [two for two in pairs if not any(one in error.reasons for one in two)])
        }  # fmt: skip
        found = score(loaded, [*passages, *_flat(others)])
    means = [one.mean for one in found]
    margins = iter(zip(*[iter(means[len(passages) :])] * 2, strict=True))
    of_versions = {
        name: [one - other for one, other in (next(margins) for _ in pairs)] for name, pairs in others.items()
    }
    items = sentence_items(asked, found[: len(asked)])
    return _with_parts(items, of_versions, replaced.kind) if replaced and of_versions else items


def _flat(pairs: Mapping[str, Sequence[tuple[Passage, Passage]]]) -> list[Passage]:
    return [passage for versions in pairs.values() for two in versions for passage in two]


def _with_parts(items: Sequence[Item], margins: Mapping[str, Sequence[float]], kind: Kind) -> list[Item]:
    """The items of a kind with the two parts of their pair's margin. `margins`: those of the pair's versions."""
    parts = {}
    for row in comparisons(item for item in items if item.kind == kind):
        if row.cluster in margins:
            parts[row.cluster] = margin_parts(row.cluster, row.bias_type, row.target, row.margin, margins[row.cluster])
    return [
        replace(item, group_part=part.group, wording_part=part.wording)
        if item.kind == kind and (part := parts.get(item.cluster_id))
        else item
        for item in items
    ]
