"""Several runs next to each other: overall, and bias type by bias type on one axis."""

from collections.abc import Sequence
from dataclasses import dataclass

from biasunlearn.report.charts.pareto import Point
from biasunlearn.report.formatting import short
from biasunlearn.report.table import (
    MISSING,
    Cell,
    Column,
    NumberCell,
    StripCell,
    Table,
    TextCell,
    rows_of,
    score_cell,
)  # fmt: skip
from biasunlearn.report.tables.association import polarised_mark
from biasunlearn.report.tables.stereoset import ss_scale
from biasunlearn.runs.benchmark_results import Measured, StereoSetResult
from biasunlearn.runs.scores import Interval
from biasunlearn.stats.equivalence import MARGIN

BASE = "0"
"""The letter of the base model."""


@dataclass(frozen=True, slots=True)
class RunLine:
    """The base model or a run, by the letter that it has in charts and tables."""

    letter: str
    name: str
    """Folder of the run."""
    small: str
    """What distinguishes it where the folder does not: method and seed."""
    measured: Measured
    before: StereoSetResult | None = None
    """StereoSet of the run's own base model."""

    @property
    def is_base(self) -> bool:
        return self.letter == BASE

    @property
    def point(self) -> Point | None:
        """Its position in the chart; None without StereoSet or without unrelated sentences."""
        entry = self.measured.stereoset
        if entry is None or entry.overall.ss_distance is None or entry.overall.lms is None:
            return None
        return Point(self.letter, entry.overall.ss_distance, entry.overall.lms, is_base=self.is_base)


def runs_table(lines: Sequence[RunLine]) -> Table:
    """SS, mean distance from 50 and ability of every run that was measured on StereoSet."""
    measured = _with_stereoset(lines)
    scale = ss_scale((entry.overall.ss for _, entry in measured), MARGIN)
    read = any(line.measured.perplexity for line, _ in measured)
    parts = any(entry.overall.margin_group for _, entry in measured)
    columns = (
        Column("run", "text"), Column("SS", "picture", scale=scale), Column("SS"), Column("mean |SS − 50|"),
        *([Column("group part")] if parts else []), Column("LMS"), Column("ICAT"),
        *([Column("perplexity")] if read else []),
    )  # fmt: skip
    rows = []
    for line, entry in measured:
        found, text = entry.overall, line.measured.perplexity
        perplexity = [NumberCell(text.per_token, 2) if text else MISSING] if read else []
        group = [score_cell(found.margin_group, 3)] if parts else []
        values = [score_cell(found.ss, mark=polarised_mark(found)), score_cell(found.ss_distance), *group]
        rows.append([_label(line), _strip(line, found.ss), *values, *map(score_cell, (found.lms, found.icat)),
                     *perplexity])  # fmt: skip
    return Table("Every run: SS, mean distance from 50, and ability", columns, rows_of(rows))


def bias_type_tables(lines: Sequence[RunLine]) -> list[Table]:
    """A table for each bias type, all on one axis."""
    measured = _with_stereoset(lines)
    names = list(dict.fromkeys(name for _, entry in measured for name in entry.bias_types))
    scale = ss_scale((row.ss for _, entry in measured for row in entry.bias_types.values()), MARGIN)
    found = []
    for name in names:
        rows = [
            [_label(line), _strip(line, row.ss), score_cell(row.ss, mark=polarised_mark(row)), score_cell(row.lms)]
            for line, entry in measured if (row := entry.bias_types.get(name))
        ]  # fmt: skip
        columns = (
            Column(name, "text", is_name=True, sortable=False), Column("SS", "picture", scale=scale), Column("SS"),
            Column("LMS"),
        )  # fmt: skip
        found.append(Table(f"{short(name, 40)}: SS of every run", columns, rows_of(rows)))
    return found


def _with_stereoset(lines: Sequence[RunLine]) -> list[tuple[RunLine, StereoSetResult]]:
    return [(line, line.measured.stereoset) for line in lines if line.measured.stereoset]


def _label(line: RunLine) -> Cell:
    return TextCell(line.name, is_name=True, key=line.letter, small=line.small, limit=48)


def _strip(line: RunLine, ss: Interval) -> StripCell:
    return StripCell(None, ss) if line.is_base else StripCell(ss)
