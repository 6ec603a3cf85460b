"""Numbers in a grid, each on a ground that is the stronger the farther it lies from chance.

The number is written in every cell, so that the picture says nothing by colour alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from biasunlearn.report.html import Markup, short, tag

WIDE, ROW, TOP = 52, 26, 20
"""A cell's width, a row's height, and the room for the names of the columns."""

NAMES = 158
"""Room for the names of the rows."""

LETTERS = 24
"""Of a row's name."""

STRONGEST = 0.5
"""Opacity of the strongest ground: light or dark, the number on it stays legible."""


@dataclass(frozen=True, slots=True)
class Square:
    """One cell: what is written, how strong its ground is (0 to 1), and whether it has a frame."""

    shown: str
    strength: float
    framed: bool = False


def heatmap(
    said: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[Square | None]]], *, wide: int = WIDE
) -> Markup:
    """A picture of rows, each with its name; None leaves a cell empty.

    Args:
        said: what the picture shows, for those who cannot see it; the numbers stand in a table beside it.
        wide: of a cell; wider where the names of the columns are words.
    """
    parts: list[Markup] = [
        tag("text", short(name, wide // 6), x=NAMES + wide * place + wide / 2, y=TOP - 7, class_="mid")
        for place, name in enumerate(columns)
    ]
    for line, (name, squares) in enumerate(rows):
        y = TOP + ROW * line
        parts.append(tag("text", short(name, LETTERS), x=NAMES - 9, y=y + ROW / 2 + 4, class_="end"))
        parts += [_square(one, NAMES + wide * place, y, wide) for place, one in enumerate(squares) if one]
    width, height = NAMES + wide * len(columns), TOP + ROW * len(rows)
    return tag("svg", parts, viewbox=f"0 0 {width} {height}", role="img", class_="heatmap", aria_label=said,
               style=f"width: {width}px")  # fmt: skip


def _square(one: Square, x: float, y: float, wide: int) -> Markup:
    opacity = round(STRONGEST * min(1.0, max(0.0, one.strength)), 3)
    ground = tag("rect", x=x + 1, y=y + 1, width=wide - 2, height=ROW - 2, rx=3, class_="ground")
    filled = tag("rect", x=x + 1, y=y + 1, width=wide - 2, height=ROW - 2, rx=3, class_="heat", fill_opacity=opacity)
    frame = tag("rect", x=x + 1, y=y + 1, width=wide - 2, height=ROW - 2, rx=3, class_="frame") if one.framed else None
    written = tag("text", one.shown, x=x + wide / 2, y=y + ROW / 2 + 4, class_="mid")
    return tag("g", ground, filled, frame, written)
