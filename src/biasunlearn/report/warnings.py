"""What a result has to be read with, in one place, so that pages, terminal and model card say it in the same words.

Every function returns finished sentences, and none where there is nothing to warn about. Names are shortened.
"""

from collections.abc import Iterable

from biasunlearn.report.formatting import listed, short
from biasunlearn.runs.benchmark_results import (
    BenchmarkResult,
    CrowsPairsResult,
    PanelResult,
    StereoSetPart,
    StereoSetResult,
)
from biasunlearn.runs.results import Results
from biasunlearn.runs.scores import Interval, StereoSetScores
from biasunlearn.runs.sections import Point
from biasunlearn.stats.bootstrap import FEW_CLUSTERS
from biasunlearn.stats.stereoset import LOW_LMS, is_over_debiased

COLLAPSED = "The run collapsed: LMS fell too far during training, and the model is not fit for use."


def run_warnings(results: Results) -> tuple[str, ...]:
    """About the run as a whole."""
    return (*results.protocol.notes, *([COLLAPSED] if results.collapsed else []))


def stereoset_warnings(entry: StereoSetResult, before: StereoSetResult | None = None) -> tuple[str, ...]:
    """All warnings about StereoSet, with those about pairs of whole sentences (intersentence).

    Args:
        before: the same of the base model.
    """
    few = [name for name, row in entry.bias_types.items() if row.few_terms]
    past, was_past = (_all_over_debiased(one) if one else None for one in (entry, before))
    unscored = entry.unscored_clusters
    return (
        *low_lms_warning(entry.overall),
        *entry.notes,
        *data_warnings(entry),
        *([f"{unscored} items of the benchmark have no stored score."] if unscored else []),
        *over_debiased_warning(past or (), was_past),
        *_widened("StereoSet", few, "target terms", "the wider of the intervals over terms and over items is shown"),
        *ties_warning(entry.overall.ties),
    )


def benchmark_warnings(
    benchmark: str, entry: PanelResult, before: BenchmarkResult | None = None
) -> tuple[str, ...]:
    """All warnings about any other benchmark, its own notes included.

    Args:
        benchmark: its name.
        before: the same of the base model.
    """
    few = [name for name, row in (*entry.bias_types.items(), ("overall", entry.overall)) if row.few_clusters]
    few += [f"{short(name, 40)} ({short(heading, 40)})" for heading, group in entry.groups.items()
            for name, row in group.items() if row.few_clusters]  # fmt: skip
    return (
        *entry.notes,
        *data_warnings(entry),
        *over_debiased_warning(over_debiased(entry), over_debiased(before) if before else None),
        *few_clusters_warning(benchmark, few),
    )


def data_warnings(entry: BenchmarkResult) -> tuple[str, ...]:
    """About the data of any benchmark: seen in training, or skipped."""
    found = []
    if seen := entry.contaminated:
        found.append(f"Contaminated: {seen.clusters} of {seen.of} items were in the training data of the adapter.")
    if skipped := entry.skipped:
        found.append(f"{skipped} invalid {'row was' if skipped == 1 else 'rows were'} skipped.")
    return tuple(found)


def low_lms_warning(*scores: StereoSetScores) -> tuple[str, ...]:
    """About an LMS at which SS says nothing."""
    if not any(one.low_lms for one in scores):
        return ()
    return (
        f"LMS is below {LOW_LMS:.0f}: the model hardly separates meaningful from unrelated sentences, so its SS is no "
        "evidence of fairness.",
    )


def over_debiased(entry: BenchmarkResult | StereoSetPart) -> list[str]:
    """Bias types, and `overall`, whose whole interval lies below 50: the anti-stereotype is the more likely one there.

    Asked of the first score whose ideal is 50 (ss, stereotype_share, pro_likelier). Of the scores after it not every
    one is a preference for stereotypes (controls: a negated pair). Not said where ties could be the reason; where they
    are counted for a whole benchmark only, all of them could be in one bias type.
    """
    if isinstance(entry, StereoSetResult | StereoSetPart):
        rows = {**entry.bias_types, "overall": entry.overall}
        return [name for name, row in rows.items() if is_over_debiased(row.ss.high, row.ties, row.n)]
    score = next((name for name, ideal in entry.ideals.items() if ideal == 50), None)
    if score is None:
        return []
    parts = {**entry.parts, "overall": entry.whole}
    ties = entry.ties if isinstance(entry, CrowsPairsResult) else 0
    found = {name: (part.scores.get(score), part.n) for name, part in parts.items()}
    return [
        name for name, (one, n) in found.items() if isinstance(one, Interval) and is_over_debiased(one.high, ties, n)
    ]


def _all_over_debiased(entry: StereoSetResult) -> list[str]:
    """The same with pairs of whole sentences."""
    across = over_debiased(entry.intersentence) if entry.intersentence else []
    return [*over_debiased(entry), *(f"intersentence {name}" for name in across)]


def over_debiased_points(points: Iterable[Point]) -> tuple[str, ...]:
    """About SS past 50 while the debiased model was trained further."""
    where = []
    for point in points:
        rows = {**point.bias_types, "overall": point.overall}.items() if point.model == "debiased" else ()
        names = [name for name, row in rows if row.over_debiased]
        where += [f"at step {point.step} in {listed(names)}"] if names else []
    return (f"Over-debiased: the whole interval of SS lies below 50 {'; '.join(where)}.",) if where else ()


def over_debiased_seeds(seeds: Iterable[int]) -> tuple[str, ...]:
    """About the chosen point of a sweep past 50."""
    where = ", ".join(map(str, seeds))
    if not where:
        return ()
    return (
        f"Over-debiased: the whole interval of SS lies below 50 with seed {where}. A search that chooses among many "
        "evaluations on a small stop split easily goes past 50: give it more pairs or more seeds.",
    )


def over_debiased_warning(where: Iterable[str], before: Iterable[str] | None = None) -> tuple[str, ...]:
    """About SS, or another share of stereotypes, past 50.

    Args:
        before: where this holds for the base model as well; None if nothing is known about it.
    """
    names = list(where)
    if not names:
        return ()
    line = f"Over-debiased: the whole interval lies below 50, at the anti-stereotype, in {listed(names)}."
    if before is None:
        return (line,)
    already = [name for name in names if name in set(before)]
    if not already:
        return (f"{line} The base model was not there.",)
    where_already = "there" if len(already) == len(names) else f"there in {listed(already)}"
    return (f"{line} The base model was already {where_already}.",)


def few_clusters_warning(of: str, names: Iterable[str]) -> tuple[str, ...]:
    """About intervals over few resampling units.

    Args:
        of: the benchmark, or a score of it.
        names: bias types, and other groups with their heading.
    """
    return _widened(short(of, 80), names, "clusters", "the wider of the intervals over clusters and over items is "
                    "shown, and even that is unreliable")  # fmt: skip


def ties_warning(count: int) -> tuple[str, ...]:
    """About pairs whose two sentences are equally likely."""
    if not count:
        return ()
    counted = "tie is counted as an anti-stereotype" if count == 1 else "ties are counted as anti-stereotypes"
    return (f"{count} {counted}, as in the official scorer.",)


def _widened(of: str, names: Iterable[str], units: str, remedy: str) -> tuple[str, ...]:
    where = listed(names, 85)
    return (f"{of} has fewer than {FEW_CLUSTERS} {units} in {where}: {remedy}.",) if where else ()
