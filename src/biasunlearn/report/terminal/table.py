"""A table on the terminal, as wide as the terminal is. No number is ever cut.

Where a table is too wide, intervals move below their values; if that does not do, whole columns are left out, those
with the largest priority number first, and a line below the table names them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich import table as rich_table
from rich.box import Box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.text import Text

from biasunlearn.report.formatting import clean, interval, number, short
from biasunlearn.report.table import Cell, Column, IntervalCell, Line, NumberCell, Part, Row, Table, TextCell

STYLES = {"": "", "good": "green", "caution": "yellow", "bad": "red", "soft": "dim", "strong": "bold"}

LINES = Box("    \n    \n \u2500\u2500 \n    \n \u2500\u2500 \n    \n    \n    \n")
"""A line below the head and below each section, and no other."""

GAP = 2
"""Spaces between two columns."""

LONGEST_WORD = 24
"""A longer word of a text column is broken rather than a column left out."""

LONGEST_HEADING = 40

PLAIN = str.maketrans({"\u2212": "-", "\u2013": "-", "\u2192": "->", "\u00a0": " ", "\u2019": "'", "\u2026": "..."})
"""Typographic marks of the pages, in ASCII: not every terminal has them."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns of a table are shown, how wide each is, and whether intervals stand below their values."""

    shown: tuple[int, ...]
    widths: tuple[int, ...]
    stacked: bool


def printed(parts: Iterable[Part]) -> RenderableType:
    """Tables and sentences for a rich console."""
    shown: list[RenderableType] = []
    for part in parts:
        if isinstance(part, Table):
            shown += [*([Text("")] if shown else []), _Printed(part)]
        else:
            shown.append(_line(part))
    return Group(*shown)


def fit(table: Table, width: int) -> Layout:
    """The layout that leaves out as few columns as possible and breaks as few lines as possible."""
    shown = [place for place, column in enumerate(table.columns) if column.kind != "picture"]
    while True:
        for stacked, wraps in ((False, False), (True, False), (True, True)):
            widths = _widths(table, shown, width, stacked, wraps)
            if widths or (len(shown) == 1 and wraps):
                return Layout(tuple(shown), widths or (width,), stacked)
        # Of columns with the same priority the last one goes first; the first column says what a row is, and stays.
        shown.remove(max(shown[1:], key=lambda place: (table.columns[place].priority, place)))


@dataclass(frozen=True, slots=True)
class _Printed:
    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        table, width = self.table, options.max_width
        layout = fit(table, width)
        yield _text(table.title, "bold")
        yield _grid(table, layout)
        left_out = [_heading(column) for place, column in enumerate(table.columns)
                    if place not in layout.shown and column.kind != "picture"]  # fmt: skip
        if left_out:
            yield _text(f"not shown at {width} columns: {', '.join(left_out)}; widen the terminal or use --json", "dim")
        yield from (_text(warning, "yellow") for warning in table.warnings)
        yield from (_text(note, "dim") for note in table.notes)


def _grid(table: Table, layout: Layout) -> rich_table.Table:
    grid = rich_table.Table(box=LINES, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0))
    for place, width in zip(layout.shown, layout.widths, strict=True):
        column = table.columns[place]
        justify = "left" if column.kind == "text" else "right"
        grid.add_column(_text(_heading(column)), width=width, justify=justify, overflow="fold")  # type: ignore[arg-type]
    rows = list(_in_order(table))
    for place, row in enumerate(rows):
        cells = [_written(row.cells[place], layout.stacked) for place in layout.shown]
        before_total = table.total is not None and place == len(rows) - 2
        grid.add_row(*cells, style=STYLES[row.tone], end_section=row.ends_section or before_total)
    return grid


def _in_order(table: Table) -> Iterator[Row]:
    yield from table.rows
    if table.total:
        yield table.total


def _widths(table: Table, shown: Sequence[int], width: int, stacked: bool, wraps: bool) -> tuple[int, ...] | None:
    """Widths that fit, or None. Headings may always break between words; texts only where `wraps`."""
    least, wanted = [], []
    for place in shown:
        column = table.columns[place]
        cells = [_written(row.cells[place], stacked).plain for row in _in_order(table)]
        widest = max((cell_len(line) for cell in cells for line in cell.split("\n")), default=0)
        breaks = wraps and column.kind == "text"
        least.append(max(_longest_word(_heading(column)), _shortest(cells) if breaks else widest, 1))
        wanted.append(max(least[-1], widest, cell_len(_heading(column))))
    room = width - GAP * (len(shown) - 1) - sum(least)
    if room < 0:
        return None
    found = []
    for one, most in zip(least, wanted, strict=True):
        more = min(room, most - one)
        room -= more
        found.append(one + more)
    return tuple(found)


def _shortest(cells: Sequence[str]) -> int:
    return max((_longest_word(cell) for cell in cells), default=0)


def _longest_word(text: str) -> int:
    return min(LONGEST_WORD, max((cell_len(word) for word in _plain(text).split()), default=0))


def _written(cell: Cell, stacked: bool) -> Text:
    between = "\n" if stacked else " "
    match cell:
        case TextCell():
            key = f"{cell.key}  " if cell.key else ""
            small = f" ({cell.small})" if cell.small else ""
            words = _one_line(short(cell.text, cell.limit)) if cell.is_name else cell.text
            return _text(key + words + small, STYLES[cell.tone])
        case NumberCell():
            if cell.value is None:
                return _text("-", "dim")
            small = f"{between}({cell.small})" if cell.small else ""
            shown = cell.text or number(cell.value, cell.digits, signed=cell.signed)
            return _text(_was(cell) + shown + small, STYLES[cell.tone])
        case IntervalCell():
            found = cell.found
            value = _was(cell) + number(found.value, cell.digits, signed=cell.signed)
            mark = f"{between}{cell.mark}" if cell.mark else ""
            return _text(f"{value}{between}({interval(found.low, found.high, cell.digits)}){mark}", STYLES[cell.tone])
        case _:
            return Text("")


def _was(cell: NumberCell | IntervalCell) -> str:
    return "" if cell.before is None else f"{number(cell.before, cell.digits)} -> "


def _line(line: Line) -> Text:
    return _text(line.text, STYLES[line.tone])


def _text(text: str, style: str = "") -> Text:
    return Text(_plain(text), style=style)


def _plain(text: str) -> str:
    return clean(text).translate(PLAIN)


def _heading(column: Column) -> str:
    return _plain(_one_line(short(column.label, LONGEST_HEADING)))


def _one_line(name: str) -> str:
    return " ".join(name.split())
