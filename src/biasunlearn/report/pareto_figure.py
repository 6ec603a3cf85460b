"""The chart of remaining bias against ability with the list of its letters, for runs and for methods."""

from collections.abc import Collection, Mapping, Sequence

from biasunlearn.report.charts.pareto import Point, dominates, front, scatter
from biasunlearn.report.html import Markup, tag
from biasunlearn.report.tables.ranking import Nearer

PARETO_NOTE = (
    "Less bias to the left, more ability at the top. The dotted line is the Pareto front: {points} below it and to its "
    "right are better on neither axis than one on the line."
)


def pareto_figure(
    points: Sequence[Point], names: Mapping[str, Markup], nearer: Sequence[Nearer] = (), failed: Collection[str] = ()
) -> Markup | None:
    """The chart and its letters; nothing for a single point.

    Args:
        names: letter -> what it stands for.
        nearer: every two letters of which the first is nearer to 50 by a test.
        failed: letters of runs whose scores are no evidence.
    """
    if len(points) < 2:
        return None
    return tag("div", scatter(points), _letters(points, names, set(nearer), failed), class_="beside")


def _letters(
    points: Sequence[Point], names: Mapping[str, Markup], nearer: Collection[Nearer], failed: Collection[str]
) -> Markup:
    """Every letter, with the points of the front that dominate it and are nearer to 50 by a test."""
    best, rows = front(points), []
    for point in points:
        better = [one.letter for one in best if dominates(one, point) and (one.letter, point.letter) in nearer]
        dominated = f"better than {', '.join(better)} on neither axis" if better else "not distinguished from the front"
        status = "failed" if point.letter in failed else "on the front" if point in best else dominated
        label = tag("span", tag("span", point.letter, class_="letter"), names[point.letter])
        rows.append(tag("li", label, tag("small", status)))
    return tag("ul", rows, class_="who")
