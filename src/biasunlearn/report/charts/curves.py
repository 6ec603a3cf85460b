"""Training as small panels, one line each: no legend, no colours to tell apart, and as many as there are."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from biasunlearn.report.charts.axis import Axis, covering, shown
from biasunlearn.report.html import Markup, name_of, short, tag
from biasunlearn.report.html_table import number, places_of

WIDE, HIGH = 250, 150
LEFT, RIGHT, TOP, BOTTOM = 30, 246, 8, 128
MOST_POINTS = 240
"""Of a line; a longer run is shown by the means of as many stretches."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Marks:
    """What happened at which step."""

    kept: int | None = None
    stopped: int | None = None
    swapped: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Bias type -> steps at which its sets were exchanged."""


def loss_panels(rows: Sequence[Mapping[str, Any]], beta: float | None, marks: Marks) -> list[Markup]:
    """The three losses, unweighted: single steps thin, their running mean strong."""
    start = None if not beta else 2 / beta * math.log(2)
    named = {
        "loss_forget": ("forget", start),
        "loss_retain": ("retention", None),
        "loss_kl": ("KL", 0.0),
    }
    panels, steps = [], _steps(rows, marks)
    for key, (title, line) in named.items():
        points = [(float(row["step"]), float(row[key])) for row in rows if math.isfinite(row.get(key, math.nan))]
        if len(points) < 2:
            continue
        axis = covering([y for _, y in points] + ([line] if line is not None else []), start=BOTTOM, end=TOP)
        smooth = _running_mean(points, max(1, len(points) // 25))
        body = [_level(axis, line), _line(steps, axis, points, "thin"), _line(steps, axis, smooth, "curve")]
        panels.append(_panel(tag("span", title), title, steps, axis, points, body, marks, ()))
    return panels


def score_panels(checks: Sequence[Mapping[str, Any]], margin: float, marks: Marks) -> list[Markup]:
    """SS of each bias type on the stop split, at every look, all on the same axis."""
    names = list(checks[0]["ss"])
    values = [value for row in checks for value in row["ss"].values() if math.isfinite(value)]
    reach = max([6.0, margin, *(abs(value - 50) for value in values)]) * 1.1
    axis = Axis(50 - reach, 50 + reach, BOTTOM, TOP)
    panels, steps = [], _steps(checks, marks)
    for name in names:
        points = [(float(row["step"]), float(row["ss"][name])) for row in checks if name in row["ss"]]
        low, high = axis.at(50 - margin), axis.at(50 + margin)
        band = tag("rect", x=LEFT, width=RIGHT - LEFT, y=high, height=round(low - high, 2), class_="band")
        body = [band, _level(axis, 50.0), _line(steps, axis, points, "curve"), _dots(steps, axis, points)]
        swaps = marks.swapped.get(name, ())
        panels.append(_panel(name_of(name, 40), short(name, 40), steps, axis, points, body, marks, swaps))
    return panels


def lms_panel(checks: Sequence[Mapping[str, Any]], marks: Marks) -> list[Markup]:
    """LMS on the stop split at every look: what ability was left."""
    points = [(float(row["step"]), float(row["lms"])) for row in checks if row.get("lms") is not None]
    if len(points) < 2:
        return []
    steps, values = _steps(checks, marks), [value for _, value in points]
    middle = (min(values) + max(values)) / 2
    axis = covering([*values, middle - 2, min(100.0, middle + 2)], start=BOTTOM, end=TOP)
    body = [_line(steps, axis, points, "curve"), _dots(steps, axis, points)]
    return [_panel(tag("span", "LMS"), "LMS on the stop split", steps, axis, points, body, marks, ())]


def _panel(
    title: Markup,
    said: str,
    steps: Axis,
    axis: Axis,
    points: Points,
    body: Sequence[Any],
    marks: Marks,
    swaps: Sequence[int],
) -> Markup:
    grid = []
    for tick in axis.ticks(4):
        y = axis.at(tick)
        grid.append(tag("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, class_="grid"))
        grid.append(tag("text", shown(tick), x=LEFT - 6, y=y + 3.5, class_="end"))
    for tick in steps.ticks(4):
        grid.append(tag("text", shown(tick), x=steps.at(tick), y=HIGH - 6, class_="mid"))
    places = places_of({"value": y} for _, y in points)
    first, last = (number(points[end][1], places) for end in (0, -1))
    ends = f"from {first} at step {points[0][0]:.0f} to {last} at step {points[-1][0]:.0f}"
    happened = f"; sets exchanged at step {', '.join(map(str, swaps))}" if swaps else ""
    picture = tag(
        "svg", grid, body, _events(steps, marks, swaps), viewbox=f"0 0 {WIDE} {HIGH}", role="img",
        aria_label=f"{said}: {ends}{happened}",
    )  # fmt: skip
    change = tag("span", f"{first} → {last}", class_="soft")
    return tag("figure", tag("figcaption", title, " ", change), picture)


def _steps(rows: Sequence[Mapping[str, Any]], marks: Marks) -> Axis:
    return Axis(0.0, float(max(rows[-1]["step"], marks.stopped or 0, 1)), LEFT, RIGHT)


def _events(steps: Axis, marks: Marks, swaps: Sequence[int]) -> list[Markup]:
    """The kept step as a dashed line, the stop as a full one, exchanges of the sets as small triangles."""
    found = []
    for step, kind in ((marks.stopped, "stop"), (marks.kept, "kept")):
        if step is not None:
            x = steps.at(step)
            found.append(tag("line", x1=x, x2=x, y1=TOP, y2=BOTTOM, class_=kind))
    for step in swaps:
        x = steps.at(step)
        found.append(tag("path", d=f"M{x - 5} {BOTTOM - 1} L{x + 5} {BOTTOM - 1} L{x} {BOTTOM - 10} z", class_="swap"))
    return found


def _level(axis: Axis, value: float | None) -> Markup | None:
    if value is None:
        return None
    return tag("line", x1=LEFT, x2=RIGHT, y1=axis.at(value), y2=axis.at(value), class_="ideal")


def _line(steps: Axis, axis: Axis, points: Points, kind: str) -> Markup:
    places = " ".join(f"{steps.at(x):.1f},{axis.at(y):.1f}" for x, y in _thinned(points))
    return tag("polyline", points=places, class_=kind)


def _dots(steps: Axis, axis: Axis, points: Points) -> list[Markup]:
    return [tag("circle", cx=steps.at(x), cy=axis.at(y), r=2.4, class_="dot") for x, y in _thinned(points)]


def _thinned(points: Points) -> Points:
    """Long lines by the means of equal stretches; the last point stays."""
    size = math.ceil(len(points) / MOST_POINTS)
    if size <= 1:
        return points
    chunks = [points[at : at + size] for at in range(0, len(points), size)]
    return [(chunk[len(chunk) // 2][0], sum(y for _, y in chunk) / len(chunk)) for chunk in chunks] + [points[-1]]


def _running_mean(points: Points, width: int) -> Points:
    """Each point with the mean of the `width` points around it."""
    found = []
    for at, (x, _) in enumerate(points):
        near = points[max(0, at - width) : at + width + 1]
        found.append((x, sum(y for _, y in near) / len(near)))
    return found
