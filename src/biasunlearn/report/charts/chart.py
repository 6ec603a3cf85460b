"""A chart with its values: the script of the page (web/charts.js) makes tooltips, keyboard access and downloads.

The picture alone is complete: without the script it is drawn, printed and described all the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from biasunlearn.report.html import Markup, data_block, tag

Value = str | float | None


@dataclass(frozen=True, slots=True)
class Mark:
    """One mark of a chart: its place in the coordinates of the picture, and its row of values."""

    x: float
    y: float
    values: tuple[Value, ...]


def chart(picture: Markup, name: str, columns: Sequence[str], marks: Sequence[Mark]) -> Markup:
    """A picture with the values of its marks.

    Args:
        name: of the files that are downloaded.
        columns: names of the values of a mark, the one that names the mark first.
    """
    at = [[round(mark.x, 1), round(mark.y, 1)] for mark in marks]
    rows = [[round(one, 4) if isinstance(one, float) else one for one in mark.values] for mark in marks]
    values = data_block("marks", {"name": name, "columns": list(columns), "rows": rows, "at": at})
    return tag("div", picture, values, class_="chart")
