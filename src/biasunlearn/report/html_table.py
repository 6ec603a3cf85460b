"""A table as HTML: it sorts by click and by keyboard (web/sort.js), and becomes cards on a phone (web/style.css)."""

from biasunlearn.report.charts.marks import strip, tick_labels
from biasunlearn.report.formatting import ARROW, DASH, interval, number, short
from biasunlearn.report.html import Markup, name_of, tag
from biasunlearn.report.table import Cell, Column, IntervalCell, NumberCell, Row, StripCell, Table, TextCell

MISSING_SORTS_AS = -1e9
LABEL = 40
"""Characters of a column's heading."""


def html_table(table: Table, *, kind: str = "", tall: bool = False) -> Markup:
    """The table in a region that scrolls sideways rather than the page. Its title is read to those who cannot see it.

    Args:
        kind: classes of web/style.css: `close` for low rows, `several` for tables below each other.
        tall: scrolls up and down too, where it is longer than a screen.
    """
    pictures = any(column.kind == "picture" for column in table.columns)
    classes = " ".join(filter(None, ("sortable", "lanes" if pictures else "", kind)))
    top = [tag("tbody", _row(table, table.total), class_="total")] if table.total else []
    body = tag("tbody", [_row(table, row) for row in table.rows])
    head = tag("thead", tag("tr", map(_heading, table.columns)))
    whole = tag("table", tag("caption", table.title, class_="unseen"), head, top, body, class_=classes)
    window = "scroll tall" if tall else "scroll"
    return tag("div", whole, class_=window, tabindex="0", role="group", aria_label=table.title)


def html_warnings(table: Table) -> list[Markup]:
    """The table's warnings, a paragraph each."""
    return [tag("p", line, class_="warning") for line in table.warnings]


def html_notes(table: Table) -> list[Markup]:
    """The table's notes, a paragraph each."""
    return [tag("p", line, class_="note") for line in table.notes]


def estimate(cell: IntervalCell) -> list[Markup]:
    """A value with its interval in small print, and what it was before it."""
    found = cell.found
    value = number(found.value, cell.digits, signed=cell.signed)
    shown = _with_small(tag("b", _was(cell), value), interval(found.low, found.high, cell.digits))
    return [*shown, Markup(" "), tag("em", cell.mark)] if cell.mark else shown


def _was(cell: NumberCell | IntervalCell) -> Markup | None:
    if cell.before is None:
        return None
    return tag("span", f"{number(cell.before, cell.digits)} {ARROW} ", class_="was")


def _with_small(value: Markup, small: str) -> list[Markup]:
    return [value, Markup(" "), tag("small", small)] if small else [value]


def _heading(column: Column) -> Markup:
    if column.sides:
        left, right = (tag("span", side) for side in column.sides)
        label: Markup | str = tag("span", left, right, class_="sides")
    else:
        label = name_of(column.label, LABEL) if column.is_name else column.label
    sorts = column.sortable and column.kind != "picture" and bool(column.label or column.sides)
    button = tag("button", label, type="button") if sorts else tag("span", label)
    below = tick_labels(column.scale) if column.scale else None
    return tag("th", button, below, scope="col", class_=_class(column))


def _class(column: Column) -> str:
    return "word" if column.kind == "text" else column.kind


def _row(table: Table, row: Row) -> Markup:
    made = []
    for place, (column, cell) in enumerate(zip(table.columns, row.cells, strict=True)):
        name, scope = ("th", "row") if place == 0 else ("td", None)
        label = None if column.kind == "picture" else short(column.label, LABEL)
        made.append(tag(name, _shown(column, cell), scope=scope, class_=_class(column), data_value=_sorts_by(cell),
                        data_label=label))  # fmt: skip
    return tag("tr", made)


def _shown(column: Column, cell: Cell) -> list[Markup] | Markup | str:
    match cell:
        case TextCell():
            key = [tag("span", cell.key, class_="letter")] if cell.key else []
            text = name_of(cell.text, cell.limit) if cell.is_name else tag("span", cell.text)
            small = [Markup(" "), tag("small", cell.small)] if cell.small else []
            return [*key, text, *small]
        case NumberCell():
            if cell.value is None:
                return tag("span", DASH, class_="soft")
            shown = cell.text or number(cell.value, cell.digits, signed=cell.signed)
            return _with_small(tag("b", _was(cell), shown), cell.small)
        case IntervalCell():
            return estimate(cell)
        case StripCell():
            return strip(column.scale, cell.after, cell.before) if column.scale else []


def _sorts_by(cell: Cell) -> float | str | None:
    match cell:
        case TextCell():
            return cell.key or None
        case NumberCell():
            return MISSING_SORTS_AS if cell.value is None else cell.value
        case IntervalCell():
            return cell.found.value
        case StripCell():
            return None
