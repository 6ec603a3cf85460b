"""What StereoSet's scores say about the association itself, beside SS: its two parts, wording, polarisation.

Everything here is computed from the comparisons of items, so that `rescore` and `compare` have it as well.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from biasunlearn.data.wording import SEEN
from biasunlearn.runs.association_results import AssociationChange, MeanChange, WordingChange
from biasunlearn.runs.scores import CountedScore, Interval, Unseen
from biasunlearn.stats.association import association_scores, part_change, parts_of, ss_change
from biasunlearn.stats.stereoset import FORMULATIONS, Comparison, Item, comparisons, ss_with_interval
from biasunlearn.stats.subgroup_scores import SubgroupScore, polarisation


def association_fields(rows: Sequence[Comparison]) -> dict[str, Any]:
    """Fields of StereoSetScores for some comparisons: parts of the margin, SS by seen wording, polarisation."""
    fields: dict[str, Any] = {}
    if parts := association_scores(parts_of(rows)):
        fields |= {
            "n_group": parts.n, "ss_group": Interval.of(parts.ss_group),
            "margin_group": Interval.of(parts.margin_group), "margin_wording": Interval.of(parts.margin_wording),
        }  # fmt: skip
    if any(row.seen for row in rows):
        by_seen = {seen: _counted([row for row in rows if row.seen == seen]) for seen in SEEN}
        fields["unseen_wording"] = Unseen(**by_seen)
    found = polarisation(rows)
    fields["polarised"] = found.polarised
    if found.spread:
        fields |= {"spread": Interval.of(found.spread.estimate), "spread_p": found.spread.p}
    if found.subgroups:
        fields["subgroups"] = {name: _subgroup(one) for name, one in found.subgroups.items()}
    if found.difference:
        fields["subgroups_p"] = found.difference.p
    return fields


def association_change(before: Iterable[Item], after: Iterable[Item]) -> AssociationChange | None:
    """The change of the group part and of SS by seen wording; None where neither is known both times."""
    first, last = _main(before), _main(after)
    names = sorted({row.bias_type for row in last})
    overall = part_change(first, last)
    by_type = {name: part_change(*([row for row in rows if row.bias_type == name] for rows in (first, last)))
               for name in names}  # fmt: skip
    wording: dict[str, WordingChange] = {}
    for seen in SEEN:
        both = [[row for row in rows if row.seen == seen] for rows in (first, last)]
        if change := ss_change(*both):
            group = part_change(*both)
            beside = {} if group is None else {"margin_group": MeanChange.of(group)}
            wording[seen] = WordingChange(ss=MeanChange.of(change), **beside)
    if overall is None and not wording:
        return None
    return AssociationChange(
        bias_types={name: MeanChange.of(one) for name, one in by_type.items() if one is not None},
        wording=wording,
        **({} if overall is None else {"overall": MeanChange.of(overall)}),
    )


def _counted(rows: Sequence[Comparison]) -> CountedScore:
    if not rows:
        return CountedScore(n=0)
    group = association_scores(parts_of(rows))
    beside = {} if group is None else {"margin_group": Interval.of(group.margin_group)}
    terms, ss = ss_with_interval(rows)
    return CountedScore(n=len(rows), terms=terms, ss=Interval.of(ss), **beside)


def _subgroup(found: SubgroupScore) -> CountedScore:
    return CountedScore(n=found.n, terms=found.terms, ss=Interval.of(found.ss))


def _main(items: Iterable[Item]) -> list[Comparison]:
    """The comparisons of the main kind: intrasentence, or intersentence where there is nothing else."""
    chosen = [item for item in items if item.benchmark == "stereoset"]
    kind = next((kind for kind in FORMULATIONS if any(item.kind == kind for item in chosen)), None)
    return comparisons(item for item in chosen if item.kind == kind)
