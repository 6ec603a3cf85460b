"""A search in one picture: bias that is left against LMS that is lost, a mark a trial, the front and its knee."""

from collections.abc import Mapping, Sequence
from typing import Any

from .axes import Axis, shown
from .markup import Markup, tag

WIDE, HIGH = 460, 340
LEFT, RIGHT, TOP, BOTTOM = 36, 448, 34, 290

BEYOND = 1.5
"""The picture reaches this many times the front's own extent behind its ends; what lies beyond sits on the edge."""

LEAST = 2.0
"""Points of either axis that are shown in any case."""

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
    way = f"M{places[0][0]} {BOTTOM} V{places[0][1]}" + "".join(f" H{x} V{y}" for x, y in places[1:]) + f" H{RIGHT}"
    said = ", ".join(f"trial {p['trial']}: {p['bias']:.1f} from 50, {p['lms_lost']:.1f} LMS lost" for p in front)
    marked = "" if knee is None else f" The knee is trial {knee}."
    label = f"Bias left against LMS lost. On the front {said}.{marked} {len(beaten)} trials are beaten, \
{len(given_up)} were given up."
    return tag(
        "svg", _frame(across, down), tag("path", d=way, class_="front"), [_cross(p, across, down) for p in given_up],
        [_beaten(p, across, down, p["trial"] == recipe) for p in beaten],
        [_best(p, across, down, p["trial"] == knee, p["trial"] == recipe) for p in front],
        viewbox=f"0 0 {WIDE} {HIGH}", role="img", class_="scatter trials", aria_label=label,
    )  # fmt: skip


def axes(front: Sequence[Point]) -> tuple[Axis, Axis]:
    """From 0 (or the least LMS lost) to well behind the front's ends; of the second, less is above.

    By hand: a front from (1, 4) to (3, 0) -> 0 to 6, and 0 to 10.
    """
    bias, lost = ([point[key] for point in front] for key in ("bias", "lms_lost"))
    wide, high = max(max(bias) - min(bias), LEAST), max(max(lost) - min(lost), LEAST)
    low = min(0.0, *lost)
    return (Axis(0.0, max(bias) + BEYOND * wide, LEFT, RIGHT), Axis(low, max(lost) + BEYOND * high, TOP, BOTTOM))


def outside(points: Sequence[Point], front: Sequence[Point]) -> int:
    """How many of the points sit on the edge because they lie beyond it."""
    across, down = axes(front)
    return sum(p["bias"] > across.high or not down.low <= p["lms_lost"] <= down.high for p in points)


def _frame(across: Axis, down: Axis) -> list[Markup]:
    parts = []
    for tick in across.ticks(5):
        x = across.at(tick)
        parts.append(tag("line", x1=x, x2=x, y1=TOP, y2=BOTTOM, class_="grid"))
        parts.append(tag("text", shown(tick), x=x, y=BOTTOM + 16, class_="mid"))
    for tick in down.ticks(4):
        y = down.at(tick)
        parts.append(tag("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", shown(tick), x=LEFT - 7, y=y + 4, class_="end"))
    parts.append(tag("text", "← less bias: mean |SS − 50| on the stop split", x=LEFT, y=BOTTOM + 36, class_="name"))
    parts.append(tag("text", "↑ fewer points of LMS lost", x=0, y=13, class_="name"))
    return parts


def _title(point: Point, what: str) -> Markup:
    """What a pointer that rests on the mark is told."""
    figures = f"{point['bias']:.2f} from 50, {point['lms_lost']:.2f} LMS lost"
    return tag("title", f"trial {point['trial']}, {what}: {figures}")


def _best(point: Point, across: Axis, down: Axis, at_knee: bool, recipe: bool) -> Markup:
    x, y = across.at(point["bias"]), down.at(point["lms_lost"])
    ring = tag("circle", cx=x, cy=y, r=13, class_="knee") if at_knee else None
    said = " and ".join(word for word, there in (("knee", at_knee), ("recipe", recipe)) if there)
    name = tag("text", said, x=x + 17, y=y - 8, class_="name strong") if said else None
    number = tag("text", str(point["trial"]), x=x, y=y + 4, class_="mid")
    return tag("g", _title(point, "on the front"), ring, tag("circle", cx=x, cy=y, r=9), number, name, class_="best")


def _beaten(point: Point, across: Axis, down: Axis, recipe: bool) -> Markup:
    x, y = across.at(point["bias"]), down.at(point["lms_lost"])
    name = tag("text", "recipe", x=x + 8, y=y - 6, class_="name") if recipe else None
    return tag("g", _title(point, "beaten"), tag("circle", cx=x, cy=y, r=4.5), name, class_="beaten")


def _cross(point: Point, across: Axis, down: Axis) -> Markup:
    x, y = across.at(point["bias"]), down.at(point["lms_lost"])
    path = tag("path", d=f"M{x - 3.5} {y - 3.5} l7 7 M{x + 3.5} {y - 3.5} l-7 7")
    return tag("g", _title(point, "given up"), path, class_="given-up")
