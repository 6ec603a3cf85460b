"""A whole run, as the terminal shows it: every benchmark, before and after where the run has both."""

from biasunlearn.report.table import Line, Part
from biasunlearn.report.tables.association import association_tables
from biasunlearn.report.tables.benchmarks import benchmark_tables, capability_table, perplexity_line
from biasunlearn.report.tables.stereoset import stereoset_tables
from biasunlearn.report.warnings import run_warnings
from biasunlearn.runs.association_results import AssociationChange
from biasunlearn.runs.benchmark_results import Capability, Measured, PanelResult
from biasunlearn.runs.results import Results

MARGIN = 2.0
"""Points around 50 that count as reached where a run does not say otherwise."""


def run_tables(results: Results) -> list[Part]:
    """Every benchmark of a run."""
    warnings = [Line(warning, "bad") for warning in run_warnings(results)]
    margin, change = margin_of(results), results.association
    tables = measured_tables(results.benchmarks, results.before, results.capability, margin, change)
    return [*warnings, *tables]


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


def margin_of(results: Results) -> float:
    """How near to 50 counts as reached in a run."""
    return (results.config.margin if results.config else None) or MARGIN
