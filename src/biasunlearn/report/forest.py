"""Every benchmark of a run on axes with its ideal: a forest plot, one axis for the scores that share one."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from biasunlearn.report.charts.axis import Axis, around
from biasunlearn.report.charts.marks import Field, strip
from biasunlearn.report.html import Markup, name_of, short, tag
from biasunlearn.report.html_table import Cell, Head, estimate, places_of, table
from biasunlearn.report.page import folded, section, warning
from biasunlearn.stats.stereoset import over_debiased

Results = Mapping[str, Any]
Estimate = Mapping[str, float]
Row = tuple[str, str, Estimate, Estimate | None]
"""Benchmark, score, after, before."""

SMALL = 1.0
"""Scores up to this, and scores beyond it, do not share an axis."""


def forest(after: Results, before: Results, capability: Results | None = None) -> list[Markup]:
    """The section, or nothing where there is no benchmark but StereoSet's headline."""
    groups: dict[tuple[float | None, bool], list[Row]] = defaultdict(list)
    rows = [*_rows(after, before), *_tasks(capability or {})]
    if not [row for row in rows if row[0] != "stereoset"]:
        return []
    ideals = _ideals(after)
    for row in rows:
        ideal = ideals.get(row[:2])
        groups[ideal, _reach(row, ideal or 0.0) <= SMALL].append(row)
    order = sorted(groups, key=lambda key: (key[0] is None, key[0] != 50, key[0] or 0.0, key[1]))
    parts = [_group(_title(ideal, small), ideal, groups[ideal, small]) for ideal, small in order]
    note = (
        "One line a score, with its 95 % interval; the strong line is the ideal. Scores share an axis only where they "
        "share an ideal, and no number joins them."
    )
    return [section("All benchmarks", parts, _by_bias_type(after, before), note=note)]


def _rows(after: Results, before: Results) -> Iterator[Row]:
    """Every score that has an ideal and a value."""
    for name, entry in after.items():
        for score in entry.get("ideal") or {}:
            found = (entry.get("overall") or {}).get(score)
            if isinstance(found, Mapping) and "value" in found:
                first = ((before.get(name) or {}).get("overall") or {}).get(score)
                yield name, score, found, first if isinstance(first, Mapping) else None


def _tasks(capability: Results) -> Iterator[Row]:
    """lm-eval's tasks: shares of right answers, without an ideal."""
    first = capability.get("before") or {}
    for task, metrics in (capability.get("tasks") or {}).items():
        for metric, found in metrics.items():
            if isinstance(found, Mapping) and 0 <= found.get("value", -1) <= 1:
                yield task, metric, found, (first.get(task) or {}).get(metric)


def _ideals(after: Results) -> dict[tuple[str, str], float]:
    return {
        (name, score): float(ideal)
        for name, entry in after.items()
        for score, ideal in (entry.get("ideal") or {}).items()
        if ideal is not None
    }


def _title(ideal: float | None, small: bool) -> str:
    if ideal is None:
        return "Shares without an ideal" if small else "Scores without an ideal"
    return f"Ideal {ideal:g}, on a scale of 1" if small else f"Ideal {ideal:g}"


def _group(title: str, ideal: float | None, rows: list[Row]) -> Markup:
    lane = Field(_axis(ideal, rows), ideal)
    both = any(row[3] for row in rows)
    places = places_of([row[2] for row in rows])
    heads = [Head("benchmark", kind="word"), Head("score", kind="word")]
    heads.append(Head(tag("span", "interval", class_="unseen"), sorts=False, kind="picture", below=lane.scale()))
    heads += [Head("before"), Head("after")] if both else [Head("value")]
    cells = []
    for benchmark, score, after, before in rows:
        values = [estimate(before, places), estimate(after, places)] if both else [estimate(after, places)]
        names = [Cell(name_of(benchmark, 40)), Cell(name_of(score, 40))]
        cells.append([*names, Cell(strip(lane, after, before)), *values])
    return Markup(tag("h3", title) + table(f"Scores, {title.lower()}", heads, cells, kind="lanes"))


def _axis(ideal: float | None, rows: list[Row]) -> Axis:
    ends = [one.get(end, one["value"]) for row in rows for one in row[2:] if one for end in ("low", "high")]
    if ideal is None:
        return Axis(min(0.0, *ends), max(1.0, *ends) * 1.04)
    if ideal == 100:
        return Axis(max(0.0, min([90.0, *ends]) - 2), 101.0)
    return around(ideal, ends, 10.0 if max(map(abs, ends)) > SMALL else 0.1)


def _reach(row: Row, ideal: float) -> float:
    return max(abs(one.get(end, one["value"]) - ideal) for one in row[2:] if one for end in ("value", "low", "high"))


def _by_bias_type(after: Results, before: Results) -> list[Markup]:
    """Each benchmark's bias types, folded away, with what it has to say for itself."""
    parts = []
    for name, entry in after.items():
        scores = [score for score in entry.get("shown", entry.get("ideal") or {})]
        types = entry.get("bias_types") or {}
        if name == "stereoset" or not types or not scores:
            continue
        first = (before.get(name) or {}).get("bias_types") or {}
        heads = [Head("bias type", kind="word"), Head("n")]
        whens = (" before", " after") if first else ("",)
        heads += [Head(f"{short(score, 40)}{when}") for score in scores for when in whens]
        rows = []
        for bias_type, row in types.items():
            both = ((first.get(bias_type) or {}), row) if first else (row,)
            cells = [estimate(_known(one.get(score)), _places(types, score)) for score in scores for one in both]
            rows.append([Cell(name_of(bias_type, 40)), Cell(row.get("n", "")), *cells])
        notes = [warning(short(line, 600)) for line in entry.get("notes") or ()]
        if over := over_debiased(entry):
            said = ", ".join(short(one, 40) for one in over)
            notes.append(warning(f"Over-debiased, the whole interval lies below 50: {said}."))
        title = f"{short(name, 40)} by bias type"
        parts.append(folded(title, notes, table(title, heads, rows)))
    return parts


def _places(types: Results, score: str) -> int:
    return places_of([_known(row.get(score)) for row in types.values()])


def _known(found: Any) -> Estimate | None:
    return found if isinstance(found, Mapping) and found.get("value") is not None else None
