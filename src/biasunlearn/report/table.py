"""One table, described once and rendered twice: `html_table.py` makes HTML of it, `terminal/table.py` prints it.

Cells hold values, not finished strings, so that each renderer decides how an interval is set and what a column is
sorted by. Words of warnings come from `warnings.py`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from biasunlearn.report.charts.axis import Scale, Span
from biasunlearn.report.formatting import digits_for
from biasunlearn.runs.scores import Interval, Metric, Score
from biasunlearn.stats.bootstrap import Estimate

Tone = Literal["", "good", "caution", "bad", "soft", "strong"]
"""How a text is meant. Colour on the terminal; the words say the same, so that nothing depends on colour."""

ALWAYS, USUAL, EXTRA, LAST = 1, 2, 3, 4
"""Priorities of columns, from those that are dropped last to those that are dropped first."""


@dataclass(frozen=True, slots=True)
class TextCell:
    """Words."""

    text: str
    is_name: bool = False
    """Written by somebody else (a model, a file, a bias type): shortened, and kept from its neighbours on a page."""
    tone: Tone = ""
    key: str = ""
    """The letter by which the row is known in a chart beside the table."""
    small: str = ""
    """What qualifies the text, in small print."""
    limit: int = 60
    """Characters after which a name is shortened."""


@dataclass(frozen=True, slots=True)
class NumberCell:
    """A number, or a dash where it is not known."""

    value: float | None
    digits: int = 1
    signed: bool = False
    text: str = ""
    """What is written in place of the digits (a p-value, a count with a unit). The column is sorted by the value."""
    small: str = ""
    tone: Tone = ""
    before: float | None = None
    """What it was before, where both share a column."""


@dataclass(frozen=True, slots=True)
class IntervalCell:
    """A value with its interval, and what it was before where both share a column."""

    found: Span
    digits: int = 1
    signed: bool = False
    before: float | None = None
    tone: Tone = ""
    mark: str = ""
    """A word that qualifies the value."""


@dataclass(frozen=True, slots=True)
class StripCell:
    """A picture of one or two intervals on the scale of the column. Pages only; the numbers are in other columns."""

    after: Span | None
    before: Span | None = None


Cell = TextCell | NumberCell | IntervalCell | StripCell

MISSING = NumberCell(None)


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, what it holds, and how soon it is dropped from a narrow terminal."""

    label: str
    kind: Literal["number", "text", "picture"] = "number"
    priority: int = USUAL
    """Columns with the largest number are dropped first."""
    is_name: bool = False
    """The heading was written by somebody else."""
    scale: Scale | None = None
    """Of a picture: the axis that all its strips share."""
    sides: tuple[str, str] | None = None
    """Of a picture: what the two sides of its ideal mean."""
    sortable: bool = True


@dataclass(frozen=True, slots=True)
class Row:
    """A row: as many cells as the table has columns."""

    cells: tuple[Cell, ...]
    tone: Tone = ""
    ends_section: bool = False
    """A line is drawn below it on the terminal."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with the warnings and notes that it has to be read with.

    Raises:
        ValueError: a row has not as many cells as there are columns.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    total: Row | None = None
    """All rows together: above the others on a page, whatever they are sorted by; below them on the terminal."""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in (*self.rows, *([self.total] if self.total else [])):
            if len(row.cells) != len(self.columns):
                raise ValueError(f"{self.title}: {len(row.cells)} cells in a row, {len(self.columns)} columns")


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence between tables."""

    text: str
    tone: Tone = ""


Part = Table | Line
"""What a result is printed as, in order."""


def score_cell(
    score: Score, digits: int = 1, *, signed: bool = False, before: Score = None, tone: Tone = "", mark: str = ""
) -> Cell:
    """A score with its interval where it has one; a dash where it is not defined.

    Args:
        before: the score of the base model, where both share a column.
        mark: a word that qualifies a score with an interval.
    """
    if score is None:
        return MISSING
    was = None if before is None else value_of(before)
    if isinstance(score, float) or score.low is None or score.high is None:
        return NumberCell(value_of(score), digits, signed, tone=tone, before=was)
    return IntervalCell(Estimate(score.value, score.low, score.high), digits, signed, was, tone, mark)


def value_of(score: Interval | Metric | float) -> float:
    """The score itself, without its interval."""
    return score if isinstance(score, float) else score.value


def digits_of(scores: Iterable[Score]) -> int:
    """Decimals for a column of scores."""
    return digits_for(None if score is None else value_of(score) for score in scores)


def name_cell(name: object, *, limit: int = 40, tone: Tone = "") -> TextCell:
    """A name that somebody else gave."""
    return TextCell(str(name), is_name=True, limit=limit, tone=tone)


def count_cell(count: int) -> NumberCell:
    return NumberCell(count, digits=0)


def rows_of(rows: Iterable[Sequence[Cell]]) -> tuple[Row, ...]:
    """Plain rows of cells."""
    return tuple(Row(tuple(cells)) for cells in rows)
