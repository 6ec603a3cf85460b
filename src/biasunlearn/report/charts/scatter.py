"""Bias that is left against ability that is kept, one point a run, with the Pareto front: no run on it is beaten in
one of the two without being better in the other."""

from collections.abc import Sequence
from dataclasses import dataclass

from biasunlearn.report.charts.axis import Axis, covering, shown
from biasunlearn.report.html import Markup, tag

WIDE, HIGH = 400, 300
LEFT, RIGHT, TOP, BOTTOM = 32, 388, 30, 250


@dataclass(frozen=True, slots=True)
class Point:
    """One run: mean |SS - 50| over bias types, and LMS, each as (value, low, high)."""

    letter: str
    distance: tuple[float, float, float]
    lms: tuple[float, float, float]
    base: bool = False


def beats(one: Point, other: Point) -> bool:
    """Is it no farther off and no less able, and better in one of the two?"""
    nearer, abler = other.distance[0] - one.distance[0], one.lms[0] - other.lms[0]
    return nearer >= 0 and abler >= 0 and (nearer > 0 or abler > 0)


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other one beats, from the nearest to 50 on.

    By hand: (1, 80), (2, 90), (3, 85) -> the first two; (3, 85) is farther off and less able than (2, 90).
    """
    best = [point for point in points if not any(beats(other, point) for other in points)]
    return sorted(best, key=lambda point: point.distance[0])


def scatter(points: Sequence[Point]) -> Markup:
    """The picture; the same numbers stand in the table of runs."""
    across = Axis(0.0, max(1.0, *(p.distance[2] for p in points)) * 1.06, LEFT, RIGHT)
    up = covering([end for p in points for end in p.lms], start=BOTTOM, end=TOP)
    best = front(points)
    corners = [(across.at(p.distance[0]), up.at(p.lms[0])) for p in best]
    above = sorted(points, key=lambda p: (p in best, p.base))  # where marks collide, the front lies on top
    said = ", ".join(f"{p.letter}: {p.distance[0]:.1f} from 50, LMS {p.lms[0]:.1f}" for p in points)
    on_front = f"On the front: {', '.join(p.letter for p in best)}"
    return tag(
        "svg", frame(across, up, "← less bias: mean |SS − 50| over bias types", "↑ more ability: LMS"),
        stairs(corners, across, up), [_cross(p, across, up) for p in points],
        [_dot(p, across, up, p in best) for p in above], viewbox=f"0 0 {WIDE} {HIGH}", role="img",
        class_="scatter", aria_label=f"Bias left against LMS. {said}. {on_front}.",
    )  # fmt: skip


def frame(across: Axis, up: Axis, below: str, above: str) -> list[Markup]:
    """Grid, ticks, and the names of both axes: of the one below the picture, and of the one above its upper left."""
    left, right = across.start, across.end
    top, bottom = sorted((up.start, up.end))
    parts = []
    for tick in across.ticks(5):
        x = across.at(tick)
        parts.append(tag("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"))
        parts.append(tag("text", shown(tick), x=x, y=bottom + 16, class_="mid"))
    for tick in up.ticks(4):
        y = up.at(tick)
        parts.append(tag("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", shown(tick), x=left - 7, y=y + 4, class_="end"))
    parts.append(tag("text", below, x=left, y=bottom + 36, class_="name"))
    parts.append(tag("text", above, x=0, y=13, class_="name"))
    return parts


def stairs(corners: Sequence[tuple[float, float]], across: Axis, up: Axis) -> Markup:
    """The front through its corners, from the nearest to 50 on."""
    (x, y), *rest = corners
    way = f"M{x} {max(up.start, up.end)} V{y}" + "".join(f" H{x} V{y}" for x, y in rest) + f" H{across.end}"
    return tag("path", d=way, class_="front")


def _cross(point: Point, across: Axis, up: Axis) -> list[Markup]:
    x, y = across.at(point.distance[0]), up.at(point.lms[0])
    return [
        tag("line", x1=across.at(point.distance[1]), x2=across.at(point.distance[2]), y1=y, y2=y, class_="whisker"),
        tag("line", x1=x, x2=x, y1=up.at(point.lms[1]), y2=up.at(point.lms[2]), class_="whisker"),
    ]


def _dot(point: Point, across: Axis, up: Axis, best: bool) -> Markup:
    x, y = across.at(point.distance[0]), up.at(point.lms[0])
    kind = "base" if point.base else "best" if best else "beaten"
    return tag("g", tag("circle", cx=x, cy=y, r=9), tag("text", point.letter, x=x, y=y + 4, class_="mid"), class_=kind)
