"""A whole run, as the terminal shows it: every benchmark, before and after where the run has both."""

from collections.abc import Mapping

from biasunlearn.report.table import Line, Part, Tone
from biasunlearn.report.tables.association import association_tables
from biasunlearn.report.tables.benchmarks import benchmark_tables, capability_table, perplexity_line
from biasunlearn.report.tables.stereoset import stereoset_tables
from biasunlearn.report.warnings import run_warnings
from biasunlearn.runs.association_results import AssociationChange
from biasunlearn.runs.benchmark_results import Capability, Measured, PanelResult
from biasunlearn.runs.results import Results
from biasunlearn.stats.equivalence import MARGIN

STOP_MARGIN = 2.0
"""Points around 50 at which training stops where a run does not say otherwise."""

VERDICT_TONES: Mapping[str, Tone] = {
    "fair": "good", "improved": "good", "no evidence": "caution", "worse": "bad", "failed": "bad",
}  # fmt: skip


def run_tables(results: Results) -> list[Part]:
    """That it is partial, if it is; the verdict; then every benchmark of a run."""
    return [*partial_lines(results), *verdict_lines(results), *score_tables(results)]


def partial_lines(results: Results) -> list[Line]:
    """The first line of a run that measured a sample of the items."""
    return [Line(f"{results.partial.headline}.", "caution")] if results.partial else []


def score_tables(results: Results) -> list[Part]:
    """Warnings about a run as a whole, then every benchmark."""
    warnings = [Line(warning, "bad") for warning in run_warnings(results)]
    margin, change = fair_margin_of(results), results.association
    tables = measured_tables(results.benchmarks, results.before, results.capability, margin, change)
    return [*warnings, *tables]


def verdict_lines(results: Results) -> list[Line]:
    """The first line of a run with a before: its verdict and the reason."""
    found = results.shown_verdict
    return [] if found is None else [Line(f"{found.headline}: {found.reason}.", VERDICT_TONES[found.value])]


def measured_tables(
    after: Measured,
    before: Measured | None,
    capability: Capability | None = None,
    margin: float = MARGIN,
    change: AssociationChange | None = None,
) -> list[Part]:
    """Every benchmark of one or two measurements: StereoSet first, then the others, then what it cost in ability."""
    parts: list[Part] = []
    if after.stereoset:
        first = before.stereoset if before else None
        parts += stereoset_tables(after.stereoset, first, margin)
        parts += association_tables(after.stereoset, first, change)
    for name, entry in after.entries.items():
        if isinstance(entry, PanelResult):
            parts += benchmark_tables(name, entry, before.entries.get(name) if before else None)
    if capability:
        parts.append(capability_table(capability))
    if after.perplexity:
        parts.append(perplexity_line(after.perplexity, before.perplexity if before else None))
    return parts


def stop_margin_of(results: Results) -> float:
    """How near to 50, in points, every SS of the stop split must be for training to stop."""
    return (results.config.margin if results.config else None) or STOP_MARGIN


def fair_margin_of(results: Results) -> float:
    """How near to 50, in points, counts as fair in a run."""
    return (results.config.fair_margin if results.config else None) or MARGIN
