"""Remaining bias against ability in one chart, with the Pareto front: runs and methods by letter, trials by number.

A point is on the front where no other point is at least as good on both axes and better on one.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from biasunlearn.report.charts.axis import Axis, Span, covering, tick_label
from biasunlearn.report.charts.chart import Mark, chart
from biasunlearn.report.html import Markup, tag

# --- the front -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Point:
    """A run or a method: mean |SS - 50| over bias types, and LMS."""

    letter: str
    distance: Span
    lms: Span
    is_base: bool = False


def dominates(one: Point, other: Point) -> bool:
    """Is it at least as near to 50 and as able, and better in one of the two?"""
    nearer, abler = other.distance.value - one.distance.value, one.lms.value - other.lms.value
    return nearer >= 0 and abler >= 0 and (nearer > 0 or abler > 0)


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other point dominates, nearest to 50 first.

    By hand: (1, 80), (2, 90), (3, 85) -> the first two; (3, 85) is farther from 50 and less able than (2, 90).
    """
    best = [point for point in points if not any(dominates(other, point) for other in points)]
    return sorted(best, key=lambda point: point.distance.value)


# --- runs and methods ------------------------------------------------------------------------------------------------

RUNS_WIDTH, RUNS_HEIGHT = 400, 300

APART = 20.0
"""Distance of the centers of two marks that do not cover each other."""

LEAST_LMS = 5.0
"""Points of LMS that the axis covers at least, so that a difference without meaning does not fill the chart."""


def scatter(points: Sequence[Point]) -> Markup:
    """The chart of runs or methods. The same numbers are in the table below it."""
    across = Axis(0.0, max(1.0, *(point.distance.high for point in points)) * 1.06, 32, 388)
    ends = [end for point in points for end in (point.lms.low, point.lms.high)]
    up = covering([*ends, max(ends) - LEAST_LMS], start=250, end=30)
    best = front(points)
    corners = [(across.at(point.distance.value), up.at(point.lms.value)) for point in best]
    spots = letter_spots(sorted(points, key=lambda point: (point not in best, point.is_base)), across, up)
    values = ", ".join(f"{p.letter}: {p.distance.value:.1f} from 50, LMS {p.lms.value:.1f}" for p in points)
    label = f"Remaining bias against LMS. {values}. On the Pareto front: {', '.join(p.letter for p in best)}."
    picture = tag(
        "svg", _frame(across, up, "← less bias: mean |SS − 50| over bias types", "↑ more ability: LMS"),
        _stairs(corners, across, up), [_whiskers(point, across, up) for point in points],
        [_lettered(point, (across.at(point.distance.value), up.at(point.lms.value)), spots[point.letter], point in best)
         for point in points],
        viewbox=f"0 0 {RUNS_WIDTH} {RUNS_HEIGHT}", role="img", class_="scatter", aria_label=label,
    )  # fmt: skip
    marks = [
        Mark(across.at(far.value), up.at(lms.value),
             (point.letter, *(round(end, 2) for end in (far.value, far.low, far.high, lms.value, lms.low, lms.high))))
        for point in points for far, lms in [(point.distance, point.lms)]
    ]  # fmt: skip
    columns = ("letter", "mean |SS − 50|", "low", "high", "LMS", "LMS low", "LMS high")
    return chart(picture, "bias-and-ability", columns, marks)


def _whiskers(point: Point, across: Axis, up: Axis) -> list[Markup]:
    far, lms = point.distance, point.lms
    x, y = across.at(far.value), up.at(lms.value)
    return [
        tag("line", x1=across.at(far.low), x2=across.at(far.high), y1=y, y2=y, class_="whisker"),
        tag("line", x1=x, x2=x, y1=up.at(lms.low), y2=up.at(lms.high), class_="whisker"),
    ]


def letter_spots(points: Sequence[Point], across: Axis, up: Axis) -> dict[str, tuple[float, float]]:
    """Letter -> where its mark is drawn: at the point, or below it where an earlier mark would cover it.

    By hand: of two equal points the second one is drawn one `APART` below the first one.
    """
    spots: dict[str, tuple[float, float]] = {}
    for point in points:
        x, y = across.at(point.distance.value), up.at(point.lms.value)
        while any(math.hypot(x - a, y - b) < APART - 1 for a, b in spots.values()):
            y += APART
        spots[point.letter] = (x, y)
    return spots


def _lettered(point: Point, at: tuple[float, float], spot: tuple[float, float], best: bool) -> Markup:
    """The mark; one that is not at its point is joined to it by a line."""
    (x, y), (left, top) = at, spot
    kind = "base" if point.is_base else "best" if best else "dominated"
    moved = (
        [tag("line", x1=x, x2=left, y1=y, y2=top, class_="moved"), tag("circle", cx=x, cy=y, r=2.5)]
        if spot != at else None
    )  # fmt: skip
    mark = tag("circle", cx=left, cy=top, r=9)
    return tag("g", moved, mark, tag("text", point.letter, x=left, y=top + 4, class_="mid"), class_=kind)


# --- trials of a sweep -----------------------------------------------------------------------------------------------

TRIALS_WIDTH, TRIALS_HEIGHT = 460, 340
LEFT, RIGHT, TOP, BOTTOM = 36, 448, 34, 290

BEYOND = 0.6
"""The chart extends beyond the ends of the front by this share of the front's extent; points farther out are drawn on
its edge."""

LEAST = 2.0
"""Smallest extent of the front, in points, that is assumed for this."""

LETTER, LINE = 7.0, 13.0
"""Approximate width of a letter and height of a line."""


@dataclass(frozen=True, slots=True)
class TrialPoint:
    """A trial: mean |SS - 50| and points of LMS lost, both on the stop split."""

    trial: int
    bias: float
    lms_lost: float


@dataclass(frozen=True, slots=True)
class Trials:
    """All trials of a sweep, by how they ended, and those that are marked by name."""

    front: Sequence[TrialPoint]
    complete: Sequence[TrialPoint] = ()
    """All that ran to their end, the front among them."""
    pruned: Sequence[TrialPoint] = ()
    knee: int | None = None
    recipe: int | None = None
    """The trial that has the settings of the recipe."""

    @property
    def dominated(self) -> list[TrialPoint]:
        best = {point.trial for point in self.front}
        return [point for point in self.complete if point.trial not in best]


def trials_chart(trials: Trials) -> Markup:
    """The chart of a sweep. The numbers of the front are in a table beside it."""
    axes = trial_axes(trials.front)
    dominated = trials.dominated
    corners = [_position(point, axes) for point in sorted(trials.front, key=lambda point: point.bias)]
    values = ", ".join(f"trial {p.trial}: {p.bias:.1f} from 50, {p.lms_lost:.1f} LMS lost" for p in trials.front)
    marked = "" if trials.knee is None else f" The knee is trial {trials.knee}."
    label = (
        f"Remaining bias against LMS lost. On the Pareto front: {values}.{marked} {len(dominated)} trials are "
        f"dominated, {len(trials.pruned)} were pruned."
    )
    picture = tag(
        "svg", _frame(*axes, "← less bias: mean |SS − 50| on the stop split", "↑ fewer points of LMS lost"),
        _stairs(corners, *axes), [_cross(point, axes) for point in trials.pruned],
        [_dot(point, axes, "dominated", "dominated", 4.5) for point in dominated],
        [_dot(point, axes, "best", "on the front", 5.5) for point in trials.front],
        [_ring(point, axes) for point in trials.front if point.trial == trials.knee],
        _labels(trials, axes),
        viewbox=f"0 0 {TRIALS_WIDTH} {TRIALS_HEIGHT}", role="img", class_="scatter trials", aria_label=label,
    )  # fmt: skip
    groups = {"on the front": trials.front, "dominated": dominated, "pruned": trials.pruned}
    marks = [
        Mark(*_position(point, axes), (f"trial {point.trial}", status, round(point.bias, 2), round(point.lms_lost, 2)))
        for status, points in groups.items() for point in points
    ]  # fmt: skip
    return chart(picture, "trials", ("trial", "status", "mean |SS − 50|", "LMS lost"), marks)


def trial_axes(front: Sequence[TrialPoint]) -> tuple[Axis, Axis]:
    """Bias from 0, LMS lost from 0 or its smallest value, both to beyond the ends of the front. Less loss is higher up.

    By hand: a front from (1, 5) to (6, 0) -> 0 to 9, and 0 to 8.
    """
    bias, lost = [point.bias for point in front], [point.lms_lost for point in front]
    wide, high = max(max(bias) - min(bias), LEAST), max(max(lost) - min(lost), LEAST)
    low = min(0.0, *lost)
    return (Axis(0.0, max(bias) + BEYOND * wide, LEFT, RIGHT), Axis(low, max(lost) + BEYOND * high, TOP, BOTTOM))


def outside(points: Iterable[TrialPoint], front: Sequence[TrialPoint]) -> int:
    """How many of the points are drawn on the edge because they lie beyond it."""
    across, down = trial_axes(front)
    return sum(point.bias > across.high or not down.low <= point.lms_lost <= down.high for point in points)


def _position(point: TrialPoint, axes: tuple[Axis, Axis]) -> tuple[float, float]:
    return axes[0].at(point.bias), axes[1].at(point.lms_lost)


def _hover_title(point: TrialPoint, status: str) -> Markup:
    return tag("title", f"trial {point.trial}, {status}: {point.bias:.2f} from 50, {point.lms_lost:.2f} LMS lost")


def _dot(point: TrialPoint, axes: tuple[Axis, Axis], kind: str, status: str, radius: float) -> Markup:
    x, y = _position(point, axes)
    return tag("g", _hover_title(point, status), tag("circle", cx=x, cy=y, r=radius), class_=kind)


def _ring(point: TrialPoint, axes: tuple[Axis, Axis]) -> Markup:
    x, y = _position(point, axes)
    return tag("circle", cx=x, cy=y, r=9.5, class_="knee")


def _cross(point: TrialPoint, axes: tuple[Axis, Axis]) -> Markup:
    x, y = _position(point, axes)
    path = tag("path", d=f"M{x - 3.5} {y - 3.5} l7 7 M{x + 3.5} {y - 3.5} l-7 7")
    return tag("g", _hover_title(point, "pruned"), path, class_="pruned")


def _label_texts(trials: Trials) -> dict[int, str]:
    """Trial -> its label: numbers on the front, words for the knee and the recipe."""
    texts = {point.trial: str(point.trial) for point in trials.front}
    if trials.recipe is not None:
        texts[trials.recipe] = f"{trials.recipe}, the recipe"
    if trials.knee is not None:
        texts[trials.knee] = f"{trials.knee}, the knee" + (" and the recipe" if trials.knee == trials.recipe else "")
    return texts


def _labels(trials: Trials, axes: tuple[Axis, Axis]) -> list[Markup]:
    """The knee, the recipe, and the number of every other trial of the front that has room for it."""
    texts, marked = _label_texts(trials), (trials.knee, trials.recipe)
    labelled = [point for point in (*trials.front, *trials.dominated) if point.trial in texts]
    taken: list[tuple[float, float, float]] = []  # from, to, height
    found = []
    for point in sorted(labelled, key=lambda p: (p.trial != trials.knee, p.trial != trials.recipe, p.bias)):
        text, strong = texts[point.trial], point.trial in marked
        (x, y), width = _position(point, axes), LETTER * len(text)
        # Numbers stand to the upper left: a point there would dominate this one, so there is none.
        begin, height = (x + 9, y - 11) if strong else (x - 7 - width, y - 5)
        near = [one for one in taken if begin < one[1] and one[0] < begin + width and abs(height - one[2]) < LINE]
        if strong or (not near and begin > LEFT):
            kind = "name strong" if strong else "name"
            found.append(tag("text", text, x=round(begin, 1), y=round(height, 1), class_=kind))
            taken.append((begin, begin + width, height))
    return found


# --- what both charts have -------------------------------------------------------------------------------------------


def _frame(across: Axis, up: Axis, below: str, above: str) -> list[Markup]:
    """Grid, ticks, and the names of both axes: below the chart, and above its upper left corner."""
    left, right = across.start, across.end
    top, bottom = sorted((up.start, up.end))
    parts = []
    for tick in across.ticks(5):
        x = across.at(tick)
        parts.append(tag("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"))
        parts.append(tag("text", tick_label(tick), x=x, y=bottom + 16, class_="mid"))
    for tick in up.ticks(4):
        y = up.at(tick)
        parts.append(tag("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", tick_label(tick), x=left - 7, y=y + 4, class_="end"))
    parts.append(tag("text", below, x=left, y=bottom + 36, class_="name"))
    parts.append(tag("text", above, x=0, y=13, class_="name"))
    return parts


def _stairs(corners: Sequence[tuple[float, float]], across: Axis, up: Axis) -> Markup:
    """The front as steps through its corners, from the nearest to 50 on."""
    (x, y), *rest = corners
    way = f"M{x} {max(up.start, up.end)} V{y}" + "".join(f" H{x} V{y}" for x, y in rest) + f" H{across.end}"
    return tag("path", d=way, class_="front")
