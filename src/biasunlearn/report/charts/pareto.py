"""A search in one picture: bias that is left against LMS that is lost, a mark a trial, the front and its knee."""

from collections.abc import Mapping, Sequence
from typing import Any

from biasunlearn.report.charts.axis import Axis
from biasunlearn.report.charts.scatter import frame, stairs
from biasunlearn.report.html import Markup, tag

WIDE, HIGH = 460, 340
LEFT, RIGHT, TOP, BOTTOM = 36, 448, 34, 290

BEYOND = 0.6
"""The picture reaches this many times the front's own extent behind its ends; what lies beyond sits on the edge."""

LEAST = 2.0
"""Points of either axis that are shown in any case."""

LETTER, LINE = 7.0, 13.0
"""About as much as a letter takes."""

Point = Mapping[str, Any]
"""{"trial", "bias", "lms_lost"}"""


def trials(complete: Sequence[Point], front: Sequence[Point], knee: int | None, given_up: Sequence[Point],
           recipe: int | None = None) -> Markup:  # fmt: skip
    """The picture; the numbers of the front stand in a table beside it.

    Args:
        knee, recipe: trials that are marked, by their number.
    """
    across, down = axes(front)
    best = {point["trial"] for point in front}
    beaten = [point for point in complete if point["trial"] not in best]
    places = [(across.at(p["bias"]), down.at(p["lms_lost"])) for p in sorted(front, key=lambda p: p["bias"])]
    said = ", ".join(f"trial {p['trial']}: {p['bias']:.1f} from 50, {p['lms_lost']:.1f} LMS lost" for p in front)
    marked = "" if knee is None else f" The knee is trial {knee}."
    label = f"Bias left against LMS lost. On the front {said}.{marked} {len(beaten)} trials are beaten, \
{len(given_up)} were given up."
    return tag(
        "svg", frame(across, down, "← less bias: mean |SS − 50| on the stop split", "↑ fewer points of LMS lost"),
        stairs(places, across, down), [_cross(p, across, down) for p in given_up],
        [_dot(p, across, down, "beaten", "beaten", 4.5) for p in beaten],
        [_dot(p, across, down, "best", "on the front", 5.5) for p in front],
        [_ring(p, across, down) for p in front if p["trial"] == knee],
        _names([*front, *beaten], across, down, best, knee, recipe),
        viewbox=f"0 0 {WIDE} {HIGH}", role="img", class_="scatter trials", aria_label=label,
    )  # fmt: skip


def axes(front: Sequence[Point]) -> tuple[Axis, Axis]:
    """From 0 (or the least LMS lost) to well behind the front's ends; of the second, less is above.

    By hand: a front from (1, 5) to (6, 0) -> 0 to 9, and 0 to 8.
    """
    bias, lost = ([point[key] for point in front] for key in ("bias", "lms_lost"))
    wide, high = max(max(bias) - min(bias), LEAST), max(max(lost) - min(lost), LEAST)
    low = min(0.0, *lost)
    return (Axis(0.0, max(bias) + BEYOND * wide, LEFT, RIGHT), Axis(low, max(lost) + BEYOND * high, TOP, BOTTOM))


def outside(points: Sequence[Point], front: Sequence[Point]) -> int:
    """How many of the points sit on the edge because they lie beyond it."""
    across, down = axes(front)
    return sum(p["bias"] > across.high or not down.low <= p["lms_lost"] <= down.high for p in points)


def _title(point: Point, what: str) -> Markup:
    """What a pointer that rests on the mark is told."""
    figures = f"{point['bias']:.2f} from 50, {point['lms_lost']:.2f} LMS lost"
    return tag("title", f"trial {point['trial']}, {what}: {figures}")


def _dot(point: Point, across: Axis, down: Axis, kind: str, said: str, radius: float) -> Markup:
    x, y = across.at(point["bias"]), down.at(point["lms_lost"])
    return tag("g", _title(point, said), tag("circle", cx=x, cy=y, r=radius), class_=kind)


def _ring(point: Point, across: Axis, down: Axis) -> Markup:
    return tag("circle", cx=across.at(point["bias"]), cy=down.at(point["lms_lost"]), r=9.5, class_="knee")


def _names(points: Sequence[Point], across: Axis, down: Axis, best: set[int], knee: int | None, recipe: int | None
           ) -> list[Markup]:  # fmt: skip
    """The knee, the recipe, and the number of every other trial of the front that has room for it."""
    said = {p["trial"]: str(p["trial"]) for p in points if p["trial"] in best}
    if recipe is not None:
        said[recipe] = f"{recipe}, the recipe"
    if knee is not None:
        said[knee] = f"{knee}, the knee" + (" and the recipe" if knee == recipe else "")
    taken: list[tuple[float, float, float]] = []  # from, to, height
    found = []
    for point in sorted(points, key=lambda p: (p["trial"] != knee, p["trial"] != recipe, p["bias"])):
        if (name := said.get(point["trial"])) is None:
            continue
        x, y, long = across.at(point["bias"]), down.at(point["lms_lost"]), LETTER * len(name)
        marked = point["trial"] in (knee, recipe)
        # The numbers stand to the upper left: nothing lies there, or it would beat the front.
        begin, height = (x + 9, y - 11) if marked else (x - 7 - long, y - 5)
        near = [one for one in taken if begin < one[1] and one[0] < begin + long and abs(height - one[2]) < LINE]
        if marked or (not near and begin > LEFT):
            found.append(tag("text", name, x=round(begin, 1), y=round(height, 1),
                             class_="name strong" if marked else "name"))  # fmt: skip
            taken.append((begin, begin + long, height))
    return found


def _cross(point: Point, across: Axis, down: Axis) -> Markup:
    x, y = across.at(point["bias"]), down.at(point["lms_lost"])
    path = tag("path", d=f"M{x - 3.5} {y - 3.5} l7 7 M{x + 3.5} {y - 3.5} l-7 7")
    return tag("g", _title(point, "given up"), path, class_="given-up")
