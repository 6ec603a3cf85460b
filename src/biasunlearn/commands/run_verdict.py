"""The verdict of a run with a before: what its items and the record of its training show."""

from collections.abc import Mapping, Sequence

from biasunlearn.benchmarks import stereoset
from biasunlearn.runs.benchmark_results import Measured, StereoSetResult
from biasunlearn.runs.results import Results
from biasunlearn.runs.scores import Interval, StereoSetScores
from biasunlearn.runs.verdict_results import Verdict, failure
from biasunlearn.stats.bootstrap import Estimate
from biasunlearn.stats.effect import distance_change, mean_change
from biasunlearn.stats.equivalence import MARGIN, Equivalence, decided
from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.remaining_bias import main_comparisons
from biasunlearn.stats.stereoset import Item
from biasunlearn.stats.subgroup_scores import polarised_types
from biasunlearn.stats.verdict import Evidence, verdict

SAME_SCORE = 1e-5
"""Nats per token: an adapter that does nothing changes scores by rounding only."""


def with_verdict(results: Results, stages: Mapping[str, Sequence[Item]]) -> Results:
    """The results with their verdict, and with equivalence decided at the margin of the recipe.

    A run without a before, without StereoSet, or of further training (`relearn`) has no verdict of this kind.

    Args:
        stages: {"before": items, "after": items}.
    """
    margin = (results.config.fair_margin if results.config else None) or MARGIN
    results = results.with_values(benchmarks=_at_margin(results.benchmarks, margin))
    if results.before is None or results.relearned is not None or results.benchmarks.stereoset is None:
        return results
    results = results.with_values(before=_at_margin(results.before, margin))
    first, last = ([i for i in stages[stage] if i.benchmark == "stereoset"] for stage in ("before", "after"))
    return results.with_values(verdict=_verdict(results, first, last, margin))


def _verdict(results: Results, first: Sequence[Item], last: Sequence[Item], margin: float) -> Verdict:
    entry = results.benchmarks.stereoset
    before, after = _by_score(first), _by_score(last)
    failed = failure(results.collapsed, results.stopped)
    change = distance_change(before["ss"], [after["ss"]])
    lms = mean_change(before.get("lms", []), after.get("lms", []))
    polarised = polarised_types(main_comparisons(last))
    rows = {**entry.bias_types, "overall": entry.overall} if entry else {}
    found = verdict(
        Evidence(
            collapsed=results.collapsed,
            base_kept=failed is not None and not results.collapsed or _unchanged(first, last),
            equivalence={name: one for name, row in rows.items() if (one := _equivalence(row, margin))},
            polarised=polarised,
            distance_change=change,
            lms_change=lms,
        )
    )
    return Verdict(
        value=found.value, reason=found.reason, margin=margin, distance_change=Interval.of(change),
        lms_change=None if lms is None else Interval.of(lms), polarised=list(polarised),
    )  # fmt: skip


def _equivalence(row: StereoSetScores, margin: float) -> Equivalence | None:
    known = row.equivalence
    if known is None or known.low is None or known.high is None:
        return None
    return decided(Estimate(row.ss.value, known.low, known.high), margin=margin)


def _at_margin(measured: Measured, margin: float) -> Measured:
    """The same results with the equivalence of StereoSet decided at a margin, in points."""
    entry = measured.stereoset
    if entry is None:
        return measured
    types = {name: row.at_margin(margin) for name, row in entry.bias_types.items()}
    changed: StereoSetResult = entry.with_values(overall=entry.overall.at_margin(margin), bias_types=types)
    return Measured.model_validate({**measured.entries, "stereoset": changed})


def _by_score(items: Sequence[Item]) -> dict[str, list[Outcome]]:
    found: dict[str, list[Outcome]] = {}
    for outcome in stereoset.outcomes(items):
        found.setdefault(outcome.score, []).append(outcome)
    return found


def _unchanged(first: Sequence[Item], last: Sequence[Item]) -> bool:
    """Whether every sentence has the same score as before: the base model was kept."""
    before = {(item.item_id, item.cluster_id): item.score for item in first}
    return all(abs(before.get((i.item_id, i.cluster_id), i.score) - i.score) <= SAME_SCORE for i in last)
