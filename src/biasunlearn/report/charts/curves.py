"""Curves over training steps as small panels: one line each, so that they need no legend and no colours."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from biasunlearn.report.charts.axis import Axis, Span, covering, tick_label
from biasunlearn.report.charts.chart import Mark, chart
from biasunlearn.report.formatting import ARROW, digits_for, number, short
from biasunlearn.report.html import Markup, name_of, tag

WIDTH, HEIGHT = 250, 150
LEFT, RIGHT, TOP, BOTTOM = 30, 246, 8, 128
MOST_POINTS = 240
"""Points of a line. A longer run is drawn as the means of equally many stretches."""

APART = 2.5
"""Between the intervals of two models at one step."""

Points = Sequence[tuple[float, float]]
"""(step, value)"""


@dataclass(frozen=True, slots=True)
class Events:
    """The steps that are marked in every panel."""

    checkpoint: int | None = None
    """Step of the checkpoint that was kept: a dashed line."""
    stopped: int | None = None
    """Last step: a full line."""


@dataclass(frozen=True, slots=True)
class Curve:
    """What one panel shows."""

    title: str
    points: Points
    is_name: bool = False
    """The title was written by somebody else."""
    level: float | None = None
    """A horizontal line: the ideal, or the value that the curve begins with."""
    band: float = 0.0
    """Half the height of a band around the level."""
    smooth: bool = False
    """Single steps are noise: they are drawn thin, and their running mean strong."""
    swaps: Sequence[int] = ()
    """Steps at which the sets of this bias type were exchanged: triangles."""


def step_axis(steps: Sequence[int], events: Events) -> Axis:
    """From 0 to the last step."""
    return Axis(0.0, float(max(1, *steps, events.stopped or 0)), LEFT, RIGHT)


def score_axis(curves: Sequence[Curve], level: float, margin: float) -> Axis:
    """One axis for the scores of all bias types, with the ideal in the middle."""
    values = [value for curve in curves for _, value in curve.points if math.isfinite(value)]
    reach = max([6.0, margin, *(abs(value - level) for value in values)]) * 1.1
    return Axis(level - reach, level + reach, BOTTOM, TOP)


def own_axis(curve: Curve, least: float = 0.0) -> Axis:
    """An axis for one curve alone, at least `least` to either side of its middle."""
    values = [value for _, value in curve.points] + ([curve.level] if curve.level is not None else [])
    middle = (min(values) + max(values)) / 2
    around = [middle - least, min(100.0, middle + least)] if least else []
    return covering([*values, *around], start=BOTTOM, end=TOP)


def curve_panel(curve: Curve, steps: Axis, axis: Axis, events: Events) -> Markup:
    """One curve with its title and its first and last value."""
    points = curve.points
    digits = digits_for(value for _, value in points)
    first, last = (number(points[end][1], digits) for end in (0, -1))
    ends = f"from {first} at step {points[0][0]:.0f} to {last} at step {points[-1][0]:.0f}"
    exchanged = f"; sets exchanged at step {', '.join(map(str, curve.swaps))}" if curve.swaps else ""
    picture = tag(
        "svg", panel_grid(steps, axis), _body(curve, steps, axis), _events(steps, events, curve.swaps),
        viewbox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=f"{short(curve.title, 40)}: {ends}{exchanged}",
    )  # fmt: skip
    title = name_of(curve.title, 40) if curve.is_name else tag("span", curve.title)
    caption = tag("figcaption", title, " ", tag("span", f"{first} {ARROW} {last}", class_="soft"))
    marks = [Mark(steps.at(x), axis.at(y), (x, y)) for x, y in _thinned(points)]
    columns = ("step", short(curve.title, 40))
    return tag("figure", caption, chart(picture, f"training-{short(curve.title, 40)}", columns, marks))


def panel_grid(steps: Axis, axis: Axis, strong: float | None = None) -> list[Markup]:
    """Lines and numbers of both axes; the label of one tick may be set in bold."""
    grid = []
    for tick in axis.ticks(4 if strong is None else 6):
        y = axis.at(tick)
        grid.append(tag("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, class_="grid"))
        grid.append(tag("text", tick_label(tick), x=LEFT - 6, y=y + 3.5, class_="end strong" if tick == strong
                        else "end"))  # fmt: skip
    grid += [tag("text", tick_label(tick), x=steps.at(tick), y=HEIGHT - 6, class_="mid") for tick in steps.ticks(4)]
    return grid


def level_line(axis: Axis, value: float) -> Markup:
    """A horizontal line at an ideal."""
    return tag("line", x1=LEFT, x2=RIGHT, y1=axis.at(value), y2=axis.at(value), class_="ideal")


def interval_curve(
    points: Sequence[tuple[int, Span]], steps: Axis, axis: Axis, kind: str, shift: float
) -> list[Markup]:
    """A line through values with their intervals. `kind`: before or after, as on every page; `shift`: to the right."""
    x = [round(steps.at(step) + shift, 2) for step, _ in points]
    found = [one for _, one in points]
    bars = [
        tag("line", x1=at, x2=at, y1=axis.at(one.low), y2=axis.at(one.high), class_=f"interval {kind}", stroke_width=4)
        for at, one in zip(x, found, strict=True)
    ]
    places = " ".join(f"{at:.1f},{axis.at(one.value):.1f}" for at, one in zip(x, found, strict=True))
    dots = [tag("circle", cx=at, cy=axis.at(one.value), r=3, class_=kind) for at, one in zip(x, found, strict=True)]
    return [*bars, tag("polyline", points=places, class_=f"curve {kind}"), *dots]


def _body(curve: Curve, steps: Axis, axis: Axis) -> list[Any]:
    parts: list[Any] = []
    if curve.level is not None:
        if curve.band:
            low, high = axis.at(curve.level - curve.band), axis.at(curve.level + curve.band)
            parts.append(tag("rect", x=LEFT, width=RIGHT - LEFT, y=high, height=round(low - high, 2), class_="band"))
        parts.append(level_line(axis, curve.level))
    if curve.smooth:
        smooth = _running_mean(curve.points, max(1, len(curve.points) // 25))
        return [*parts, _line(steps, axis, curve.points, "thin"), _line(steps, axis, smooth, "curve")]
    return [*parts, _line(steps, axis, curve.points, "curve"), _dots(steps, axis, curve.points)]


def _events(steps: Axis, events: Events, swaps: Sequence[int]) -> list[Markup]:
    found = []
    for step, kind in ((events.stopped, "stop"), (events.checkpoint, "kept")):
        if step is not None:
            x = steps.at(step)
            found.append(tag("line", x1=x, x2=x, y1=TOP, y2=BOTTOM, class_=kind))
    for step in swaps:
        x = steps.at(step)
        found.append(tag("path", d=f"M{x - 5} {BOTTOM - 1} L{x + 5} {BOTTOM - 1} L{x} {BOTTOM - 10} z", class_="swap"))
    return found


def _line(steps: Axis, axis: Axis, points: Points, kind: str) -> Markup:
    places = " ".join(f"{steps.at(x):.1f},{axis.at(y):.1f}" for x, y in _thinned(points))
    return tag("polyline", points=places, class_=kind)


def _dots(steps: Axis, axis: Axis, points: Points) -> list[Markup]:
    return [tag("circle", cx=steps.at(x), cy=axis.at(y), r=2.4, class_="dot") for x, y in _thinned(points)]


def _thinned(points: Points) -> Points:
    """Long lines as the means of equal stretches; the last point stays."""
    size = math.ceil(len(points) / MOST_POINTS)
    if size <= 1:
        return points
    chunks = [points[at : at + size] for at in range(0, len(points), size)]
    return [(chunk[len(chunk) // 2][0], sum(y for _, y in chunk) / len(chunk)) for chunk in chunks] + [points[-1]]


def _running_mean(points: Points, width: int) -> Points:
    """Each point with the mean of the `width` points to either side of it."""
    found = []
    for at, (x, _) in enumerate(points):
        near = points[max(0, at - width) : at + width + 1]
        found.append((x, sum(y for _, y in near) / len(near)))
    return found
