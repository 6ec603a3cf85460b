"""A transfer and a combination of adapters."""

from collections.abc import Iterator

from biasunlearn.report.formatting import interval, number
from biasunlearn.report.table import (
    ALWAYS,
    EXTRA,
    Column,
    Line,
    NumberCell,
    Part,
    Row,
    Table,
    TextCell,
    name_cell,
)  # fmt: skip
from biasunlearn.report.tables.run import measured_tables, run_tables, score_tables, verdict_lines
from biasunlearn.runs.results import Results
from biasunlearn.runs.scores import Interval
from biasunlearn.runs.sections import Combined, Effect, Transferred


def transfer_tables(results: Results) -> list[Part]:
    """The target, the scales that were tried, before and after, and the share of the effect that is kept."""
    moved = results.transferred
    if moved is None:
        return run_tables(results)
    parts = [*verdict_lines(results), Line(_target(moved)), *_scales(moved), *score_tables(results)]
    if direct := results.direct:
        parts += [Line("Trained on the target itself:", "strong")]
        parts += measured_tables(direct.benchmarks, direct.before)
    return [*parts, Line(effect_line(moved.effect))]


def combination_tables(results: Results) -> list[Part]:
    """Which adapters with which weights, then before and after."""
    parts = [_weights(results.combined)] if results.combined else []
    return [*verdict_lines(results), *parts, *score_tables(results)]


def effect_line(effect: Effect) -> str:
    """The share of the debiasing effect that is kept on the target."""
    if effect.kept is None or effect.target is None or effect.base is None:
        return f"Effect transferred: not defined ({effect.reason})."
    here, there = number(effect.target.value), number(effect.base.value)
    falls = f"mean |SS − 50| falls by {here} points here, by {there} on the base model"
    limit = ""
    if effect.most is not None and effect.most < 1:
        limit = f" The target is less biased to begin with: at most {number(100 * effect.most, 0)} % is possible."
    return f"Effect transferred: {share(effect.kept)}; {falls}.{limit}"


def share(found: Interval) -> str:
    """By hand: 0.853 (0.601 to 1.1) -> 85 % (60–110)"""
    return f"{number(100 * found.value, 0)} % ({interval(100 * found.low, 100 * found.high, 0)})"


def _target(moved: Transferred) -> str:
    where = f"Target: {moved.target_kind}, from {moved.base}"
    distances = moved.compatibility.distances
    if not distances:
        return f"{where}; its distance from the base model is not known."
    listed = ", ".join(f"{name} {number(value, 3)}" for name, value in distances.items())
    return f"{where}; relative distance of its weights: {listed}."


def _scales(moved: Transferred) -> Iterator[Part]:
    if not moved.scales:
        yield Line(f"Scale: {moved.scale:g}, as given.")
        return
    columns = (
        Column("scale", priority=ALWAYS), Column("SS", priority=ALWAYS), Column("mean |SS − 50|"), Column("LMS"),
        Column("choice", "text", EXTRA),
    )  # fmt: skip
    rows = []
    for one in moved.scales:
        chosen = one.scale == moved.scale
        scale = NumberCell(one.scale, text=f"{one.scale:g}")
        cells = (scale, NumberCell(one.ss), NumberCell(one.distance), NumberCell(one.lms))
        rows.append(Row((*cells, TextCell("chosen" if chosen else "")), "strong" if chosen else ""))
    yield Table("Scales of the adapter, on the stop split", columns, tuple(rows))


def _weights(combined: Combined) -> Table:
    columns = (Column("run", "text", ALWAYS), Column("weight", priority=ALWAYS))
    rows = [Row((name_cell(part.run, limit=80), NumberCell(part.weight, text=f"{part.weight:g}")))
            for part in combined.parts]  # fmt: skip
    return Table("Combined adapters", columns, tuple(rows))
