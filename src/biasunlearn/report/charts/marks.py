"""A score on an axis as a strip, one line high: before and after with their intervals and an arrow between them.

Places are percentages, so that a strip fills its cell and its strokes stay as they are. All
strips of a table share one axis: together they are the picture, and the numbers stand in the same row.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from biasunlearn.report.charts.axis import Axis, shown
from biasunlearn.report.html import Markup, tag

Estimate = Mapping[str, float]

SHORTEST = 4.0
"""An arrow, in percent of the axis: between nearer dots there is no room for one."""


@dataclass(frozen=True, slots=True)
class Field:
    """What all strips of a table have in common."""

    axis: Axis
    ideal: float | None = None
    margin: float = 0.0
    """Half the width of the band around the ideal that counts as reached."""

    def grid(self) -> list[Markup]:
        """The band, thin lines at the ticks, a stronger one at the ideal."""
        parts = [
            tag("line", x1=f"{at}%", x2=f"{at}%", y1=0, y2="100%", class_="grid")
            for at in map(self.axis.at, self.axis.ticks())
        ]
        if self.ideal is None or not self.axis.low <= self.ideal <= self.axis.high:
            return parts
        middle = self.axis.at(self.ideal)
        if self.margin:
            low, high = self.axis.at(self.ideal - self.margin), self.axis.at(self.ideal + self.margin)
            parts.insert(0, tag("rect", x=f"{low}%", width=f"{high - low:.2f}%", y=0, height="100%", class_="band"))
        return [*parts, tag("line", x1=f"{middle}%", x2=f"{middle}%", y1=0, y2="100%", class_="ideal")]

    def scale(self) -> Markup:
        """The numbers of the axis, for the head of the column."""
        labels = [
            tag("text", shown(tick), x=f"{self.axis.at(tick)}%", y=12, class_="mid strong" if tick == self.ideal
                else "mid")  # fmt: skip
            for tick in self.axis.ticks()
            if 2 < self.axis.at(tick) < 98
        ]
        return tag("svg", labels, class_="scale", aria_hidden="true")


def strip(field: Field, after: Estimate | None, before: Estimate | None = None) -> Markup:
    """The picture of one row, as high as the row. Hidden from screen readers: the same numbers stand beside it."""
    parts: list[Markup] = field.grid()
    upper, lower = ("32%", "68%") if before and after else ("50%", "50%")
    at = field.axis.at
    if before:
        parts.append(_interval(field, before, upper, "before"))
    if after:
        parts.append(_interval(field, after, lower, "after"))
    if before and after and abs(at(after["value"]) - at(before["value"])) > SHORTEST:
        parts.append(
            tag("line", x1=f"{at(before['value'])}%", y1=upper, x2=f"{at(after['value'])}%", y2=lower,
                class_="arrow", marker_end="url(#tip)")  # fmt: skip
        )
    if before:
        parts.append(tag("circle", cx=f"{at(before['value'])}%", cy=upper, r=4.5, class_="before"))
    if after:
        parts.append(tag("circle", cx=f"{at(after['value'])}%", cy=lower, r=5.5, class_="after"))
    return tag("svg", parts, class_="strip", aria_hidden="true")


def arrow_tip() -> Markup:
    """The arrow head that every strip refers to: once a page."""
    head = tag("path", d="M0 0 L8 4 L0 8 z")
    marker = tag("marker", head, id="tip", viewbox="0 0 8 8", refX=13, refY=4, markerWidth=8, markerHeight=8,
                 markerUnits="userSpaceOnUse", orient="auto")  # fmt: skip
    return tag("svg", tag("defs", marker), class_="defs", aria_hidden="true")


def _interval(field: Field, estimate: Estimate, y: str, kind: str) -> Markup:
    low, high = (field.axis.at(estimate.get(end, estimate["value"])) for end in ("low", "high"))
    return tag("line", x1=f"{low}%", x2=f"{high}%", y1=y, y2=y, class_=f"interval {kind}")
