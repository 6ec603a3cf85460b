"""All benchmarks of a run on axes with their ideal: a forest plot, one axis for the scores that share an ideal."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from biasunlearn.report.charts.axis import Axis, Scale, around
from biasunlearn.report.formatting import short
from biasunlearn.report.html import Markup, tag
from biasunlearn.report.html_table import html_notes, html_table, html_warnings
from biasunlearn.report.page import Section, folded, section
from biasunlearn.report.score_names import SCORES
from biasunlearn.report.tables.benchmarks import ScoreRow, benchmark_tables, shared_ideal_table
from biasunlearn.runs.benchmark_results import Capability, Measured, PanelResult
from biasunlearn.runs.scores import Interval, Metric, estimate_of
from biasunlearn.stats.bootstrap import Estimate

SMALL = 1.0
"""Scores up to this, and scores beyond it, do not share an axis."""

NOTE = (
    "Each row is a score with its 95 % interval; the strong line is the ideal. Only scores with the same ideal share "
    "an axis, and scores of different benchmarks are not combined into one number."
)

Key = tuple[float | None, bool]
"""Ideal, and whether the scores are small."""


def forest_sections(after: Measured, before: Measured | None, capability: Capability | None) -> list[Section]:
    """The section, or nothing where there is no benchmark but StereoSet."""
    rows = [*_rows(after, before), *_tasks(capability)]
    if all(benchmark == "stereoset" for benchmark, *_ in rows):
        return []
    groups: dict[Key, list[ScoreRow]] = defaultdict(list)
    ideals = {(name, score): ideal for name, entry in after.entries.items() for score, ideal in entry.ideals.items()}
    for row in rows:
        ideal = ideals.get(row[:2])
        groups[ideal, _is_small(row, ideal)].append(row)
    parts = [_group(key, groups[key]) for key in sorted(groups, key=_order)]
    return [section("All benchmarks", parts, _by_bias_type(after, before), note=NOTE)]


def _order(key: Key) -> tuple[bool, bool, float, bool]:
    """Ideal 50 first, then the other ideals, then scores without one."""
    ideal, small = key
    return (ideal is None, ideal != 50, ideal or 0.0, small)


def _rows(after: Measured, before: Measured | None) -> Iterator[ScoreRow]:
    """Every score that is declared with an ideal, or as having none, and that was measured."""
    firsts = before.entries if before else {}
    for name, entry in after.entries.items():
        first = firsts[name].whole.scores if name in firsts else {}
        for score in entry.ideals:
            found = entry.whole.scores.get(score)
            if isinstance(found, Interval | Metric):
                yield name, score, found, first.get(score)


def _tasks(capability: Capability | None) -> Iterator[ScoreRow]:
    """Tasks of lm-eval: shares of right answers, without an ideal."""
    if capability is None:
        return
    firsts = capability.before or {}
    for task, row in capability.tasks.items():
        first = firsts[task].metrics if task in firsts else {}
        for metric, found in row.metrics.items():
            if 0 <= found.value <= 1:
                yield task, metric, found, first.get(metric)


def _group(key: Key, rows: list[ScoreRow]) -> Markup:
    title = _title(*key)
    table = shared_ideal_table(title, Scale(_axis(key[0], rows), key[0]), rows)
    return Markup(tag("h3", title) + html_table(table))


def _title(ideal: float | None, small: bool) -> str:
    if ideal is None:
        return "Scores without an ideal, values up to 1" if small else "Scores without an ideal"
    return f"Ideal {ideal:g}, values up to 1" if small else f"Ideal {ideal:g}"


def _intervals(row: ScoreRow) -> list[Estimate]:
    return [found for score in row[2:] if (found := estimate_of(score))]


def _axis(ideal: float | None, rows: list[ScoreRow]) -> Axis:
    ends = [end for row in rows for one in _intervals(row) for end in (one.low, one.high)]
    if ideal is None:
        return Axis(min(0.0, *ends), max(1.0, *ends) * 1.04)
    if ideal == 100:
        return Axis(max(0.0, min([90.0, *ends]) - 2), 101.0)
    return around(ideal, ends, 10.0 if max(map(abs, ends)) > SMALL else 0.1)


def _is_small(row: ScoreRow, ideal: float | None) -> bool:
    """Whether a score has an axis of values up to 1. Percentages never do, even if all of them are 0 or 100."""
    reach = max(abs(end - (ideal or 0.0)) for one in _intervals(row) for end in (one.value, one.low, one.high))
    return reach <= SMALL and not SCORES.get(row[1], "").startswith("percent")


def _by_bias_type(after: Measured, before: Measured | None) -> list[Markup]:
    """Each benchmark's tables, folded away, with their warnings."""
    firsts: Mapping[str, object] = before.entries if before else {}
    parts = []
    for name, entry in after.entries.items():
        if not isinstance(entry, PanelResult) or not entry.shown_scores:
            continue
        first = firsts.get(name)
        tables = benchmark_tables(name, entry, first if isinstance(first, PanelResult) else None)
        shown = [[tag("h3", table.title), html_warnings(table), html_table(table), html_notes(table)]
                 for table in tables]  # fmt: skip
        parts.append(folded(f"{short(name, 40)} by bias type", shown))
    return parts
