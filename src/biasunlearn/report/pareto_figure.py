"""The chart of remaining bias against ability with the list of its letters, for runs and for methods."""

from collections.abc import Mapping, Sequence

from biasunlearn.report.charts.pareto import Point, dominates, front, scatter
from biasunlearn.report.html import Markup, tag

PARETO_NOTE = (
    "Less bias to the left, more ability at the top. The dotted line is the Pareto front; {points} below and to the "
    "right of it are worse on both axes."
)


def pareto_figure(points: Sequence[Point], names: Mapping[str, Markup]) -> Markup | None:
    """The chart and its letters; nothing for a single point.

    Args:
        names: letter -> what it stands for.
    """
    if len(points) < 2:
        return None
    return tag("div", scatter(points), _letters(points, names), class_="beside")


def _letters(points: Sequence[Point], names: Mapping[str, Markup]) -> Markup:
    """Every letter, nearest to 50 first, with the points of the front that dominate it."""
    best, rows = front(points), []
    for point in sorted(points, key=lambda one: one.distance.value):
        better = [other.letter for other in best if dominates(other, point)]
        status = "on the front" if point in best else f"dominated by {', '.join(better)}"
        label = tag("span", tag("span", point.letter, class_="letter"), names[point.letter])
        rows.append(tag("li", label, tag("small", status)))
    return tag("ul", rows, class_="who")
