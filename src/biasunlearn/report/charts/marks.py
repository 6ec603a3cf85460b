"""Small pictures beside numbers: intervals as strips of a table, shares as bars, and a grid of shaded cells.

No picture says anything by colour alone: the numbers stand in the same row, or in the cell itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from biasunlearn.report.charts.axis import Axis, Scale, Span, tick_label
from biasunlearn.report.charts.chart import Mark, chart
from biasunlearn.report.formatting import short
from biasunlearn.report.html import Markup, tag

# --- strips ----------------------------------------------------------------------------------------------------------

SHORTEST = 4.0
"""Shortest arrow from before to after, in percent of the axis. Between closer dots there is no room for one."""


def strip(scale: Scale, after: Span | None, before: Span | None = None) -> Markup:
    """One row of a table as a picture: before and after with their intervals, and an arrow between them.

    Positions are percentages, so that a strip fills its cell while its strokes keep their width. Hidden from screen
    readers, since the same numbers are in the row.
    """
    parts: list[Markup] = [*_grid(scale)]
    upper, lower = ("32%", "68%") if before and after else ("50%", "50%")
    at = scale.axis.at
    if before:
        parts.append(_interval(scale.axis, before, upper, "before"))
    if after:
        parts.append(_interval(scale.axis, after, lower, "after"))
    if before and after and abs(at(after.value) - at(before.value)) > SHORTEST:
        parts.append(
            tag("line", x1=f"{at(before.value)}%", y1=upper, x2=f"{at(after.value)}%", y2=lower, class_="arrow",
                marker_end="url(#tip)")  # fmt: skip
        )
    if before:
        parts.append(tag("circle", cx=f"{at(before.value)}%", cy=upper, r=4.5, class_="before"))
    if after:
        parts.append(tag("circle", cx=f"{at(after.value)}%", cy=lower, r=5.5, class_="after"))
    return tag("svg", parts, class_="strip", aria_hidden="true")


def tick_labels(scale: Scale) -> Markup:
    """The numbers of the axis, for the heading of the column."""
    labels = [
        tag("text", tick_label(tick), x=f"{scale.axis.at(tick)}%", y=12,
            class_="mid strong" if tick == scale.ideal else "mid")  # fmt: skip
        for tick in scale.axis.ticks()
        if 2 < scale.axis.at(tick) < 98
    ]
    return tag("svg", labels, class_="scale", aria_hidden="true")


def arrow_tip() -> Markup:
    """The arrow head that every strip refers to: once a page."""
    head = tag("path", d="M0 0 L8 4 L0 8 z")
    marker = tag("marker", head, id="tip", viewbox="0 0 8 8", refX=13, refY=4, markerWidth=8, markerHeight=8,
                 markerUnits="userSpaceOnUse", orient="auto")  # fmt: skip
    return tag("svg", tag("defs", marker), class_="defs", aria_hidden="true")


def before_and_after_key() -> list[Markup]:
    """What the two marks of a strip mean: items of a list."""
    before = tag("svg", tag("line", x1=3, x2=31, y1=7, y2=7, class_="interval before", stroke_width=7),
                 tag("circle", cx=17, cy=7, r=4.5, class_="before"), class_="strip", aria_hidden="true")  # fmt: skip
    after = tag("svg", tag("line", x1=3, x2=31, y1=7, y2=7, class_="interval after"),
                tag("circle", cx=17, cy=7, r=5.5, class_="after"), class_="strip", aria_hidden="true")  # fmt: skip
    return [tag("li", before, "before"), tag("li", after, "after")]


@lru_cache(maxsize=64)
def _grid(scale: Scale) -> tuple[Markup, ...]:
    """The band around the ideal, thin lines at the ticks, a stronger one at the ideal: the same in every row."""
    axis, ideal = scale.axis, scale.ideal
    parts = [tag("line", x1=f"{at}%", x2=f"{at}%", y1=0, y2="100%", class_="grid") for at in map(axis.at, axis.ticks())]
    if ideal is None or not axis.low <= ideal <= axis.high:
        return tuple(parts)
    middle = axis.at(ideal)
    if scale.margin:
        low, high = axis.at(ideal - scale.margin), axis.at(ideal + scale.margin)
        parts.insert(0, tag("rect", x=f"{low}%", width=f"{high - low:.2f}%", y=0, height="100%", class_="band"))
    return (*parts, tag("line", x1=f"{middle}%", x2=f"{middle}%", y1=0, y2="100%", class_="ideal"))


def _interval(axis: Axis, found: Span, y: str, kind: str) -> Markup:
    low, high = axis.at(found.low), axis.at(found.high)
    return tag("line", x1=f"{low}%", x2=f"{high}%", y1=y, y2=y, class_=f"interval {kind}")


# --- bars ------------------------------------------------------------------------------------------------------------

LINE, BAR_NAMES, LONGEST = 24, 128, 190
"""A line's height, the room for names, and the length of a bar of 100 percent."""


def bars(description: str, rows: Sequence[tuple[str, float]]) -> Markup:
    """A bar for each name; shares from 0 to 1."""
    parts = []
    for line, (name, share) in enumerate(rows):
        y, length = LINE * line, round(LONGEST * min(1.0, max(0.0, share)), 1)
        parts.append(tag("text", short(name, 20), x=BAR_NAMES - 9, y=y + 16, class_="end"))
        parts.append(tag("rect", x=BAR_NAMES, y=y + 4, width=LONGEST, height=LINE - 8, rx=2, class_="ground"))
        parts.append(tag("rect", x=BAR_NAMES, y=y + 4, width=length, height=LINE - 8, rx=2, class_="bar"))
        parts.append(tag("text", f"{100 * share:.0f} %", x=BAR_NAMES + LONGEST + 8, y=y + 16))
    numbers = ", ".join(f"{short(name, 40)} {100 * share:.0f} %" for name, share in rows)
    width = BAR_NAMES + LONGEST + 44
    picture = tag("svg", parts, viewbox=f"0 0 {width} {LINE * len(rows)}", role="img", class_="bars",
                  aria_label=f"{description}: {numbers}", width=width, height=LINE * len(rows))  # fmt: skip
    marks = [Mark(BAR_NAMES + LONGEST / 2, LINE * line + LINE / 2, (short(name, 40), round(100 * share, 1)))
             for line, (name, share) in enumerate(rows)]  # fmt: skip
    return chart(picture, description, ("name", "percent"), marks)


# --- heat maps -------------------------------------------------------------------------------------------------------

CELL, ROW, TOP, ROW_NAMES = 52, 26, 20, 158
"""A cell's width, a row's height, and the room for the names of columns and of rows."""

LETTERS = 24
"""Of a row's name."""

STRONGEST = 0.5
"""Opacity of the strongest shade: the number on it stays legible on a light and on a dark page."""


@dataclass(frozen=True, slots=True)
class Square:
    """One cell: its number as text, its shade (0 to 1), and whether it has a frame."""

    text: str
    shade: float
    framed: bool = False


def heatmap(
    description: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[Square | None]]], *, cell: int = CELL
) -> Markup:
    """A grid of numbers, shaded more strongly where they are farther from chance; None leaves a cell empty.

    Args:
        description: what the picture shows, for those who cannot see it. The numbers are in a table beside it.
        rows: the name of each row and its cells.
        cell: width of a cell, larger where the names of the columns are words.
    """
    parts: list[Markup] = [
        tag("text", short(name, cell // 6), x=ROW_NAMES + cell * place + cell / 2, y=TOP - 7, class_="mid")
        for place, name in enumerate(columns)
    ]
    for line, (name, squares) in enumerate(rows):
        y = TOP + ROW * line
        parts.append(tag("text", short(name, LETTERS), x=ROW_NAMES - 9, y=y + ROW / 2 + 4, class_="end"))
        parts += [_square(one, ROW_NAMES + cell * place, y, cell) for place, one in enumerate(squares) if one]
    width, height = ROW_NAMES + cell * len(columns), TOP + ROW * len(rows)
    picture = tag("svg", parts, viewbox=f"0 0 {width} {height}", role="img", class_="heatmap",
                  aria_label=description, width=width, height=height)  # fmt: skip
    marks = [
        Mark(ROW_NAMES + cell * (place + 0.5), TOP + ROW * (line + 0.5), (short(name, 80), short(column, 80), one.text))
        for line, (name, squares) in enumerate(rows)
        for place, (column, one) in enumerate(zip(columns, squares, strict=False)) if one
    ]  # fmt: skip
    return chart(picture, short(description, 60), ("row", "column", "value"), marks)


def _square(one: Square, x: float, y: float, cell: int) -> Markup:
    opacity = round(STRONGEST * min(1.0, max(0.0, one.shade)), 3)
    ground = tag("rect", x=x + 1, y=y + 1, width=cell - 2, height=ROW - 2, rx=3, class_="ground")
    shade = tag("rect", x=x + 1, y=y + 1, width=cell - 2, height=ROW - 2, rx=3, class_="heat", fill_opacity=opacity)
    frame = tag("rect", x=x + 1, y=y + 1, width=cell - 2, height=ROW - 2, rx=3, class_="frame") if one.framed else None
    number = tag("text", one.text, x=x + cell / 2, y=y + ROW / 2 + 4, class_="mid")
    return tag("g", ground, shade, frame, number)
