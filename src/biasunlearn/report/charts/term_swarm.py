"""Every target term of a bias type as a dot, before and after, in the shape and color of its subgroup.

A mean of 50 looks alike whether all terms are near it or half of them are at 30 and half at 70; the dots do not.
"""

from collections.abc import Mapping, Sequence

from biasunlearn.report.charts.axis import Axis, tick_label
from biasunlearn.report.charts.chart import Mark, chart
from biasunlearn.report.formatting import interval, number, short
from biasunlearn.report.html import Markup, name_of, tag
from biasunlearn.stats.remaining_bias import Term

WIDTH, LEFT, RIGHT = 460, 50, 452
RADIUS = 4.2
MOST_LINES = 60
"""Terms up to which each has a line from before to after."""
FULL = 100.0
"""Half of the greatest height of a lane; dots beyond it overlap."""

SHAPES = (
    "M-4.2 0a4.2 4.2 0 1 0 8.4 0a4.2 4.2 0 1 0-8.4 0z",  # circle
    "M-4-4h8v8h-8z",  # square
    "M0-5l4.9 8.6h-9.8z",  # triangle
    "M0-5.6L5.2 0 0 5.6-5.2 0z",  # diamond
    "M-1.7-5h3.4v3.3h3.3v3.4h-3.3v3.3h-3.4v-3.3h-3.3v-3.4h3.3z",  # plus
    "M0 5l4.9-8.6h-9.8z",  # triangle, tip down
)
"""One for each subgroup of a bias type, in this order; further ones share the last one."""

COLUMNS = ("target term", "stage", "subgroup", "SS", "pairs", "low", "high")


def subgroup_styles(terms: Sequence[Term]) -> dict[str, int]:
    """Subgroup -> its place in SHAPES, in the order of the names. Terms without a subgroup have the style "none"."""
    names = sorted({term.subgroup for term in terms if term.subgroup})
    return {name: min(place, len(SHAPES) - 1) for place, name in enumerate(names)}


def term_swarm(bias_type: str, terms: Sequence[Term]) -> Markup:
    """The figure of one bias type."""
    terms = sorted(terms, key=lambda term: term.subgroup)  # of terms at one place, those of a subgroup lie together
    styles = subgroup_styles(terms)
    stages = ["before", "after"] if any(term.before is not None for term in terms) else ["after"]
    axis = Axis(0.0, 100.0, LEFT, RIGHT)
    offsets = {stage: _offsets([axis.at(_ss(term, stage)) for term in terms]) for stage in stages}
    reach = {stage: max([12.0, *map(abs, found)]) + 9 for stage, found in offsets.items()}
    middle, height = {}, 0.0
    for stage in stages:
        middle[stage] = height + reach[stage]
        height += 2 * reach[stage] + 4
    drawn, marks = [], []
    for stage in stages:
        for term, offset in zip(terms, offsets[stage], strict=True):
            x, y = axis.at(_ss(term, stage)), round(middle[stage] + offset, 1)
            drawn.append(mark_of(x, y, styles.get(term.subgroup), hollow=stage == "before" and len(stages) > 1))
            marks.append(_mark(x, y, term, stage, len(stages) > 1))
    lines = _lines(terms, axis, offsets, middle) if len(stages) > 1 and len(terms) <= MOST_LINES else []
    names = [tag("text", stage, x=LEFT - 8, y=middle[stage] + 4, class_="end") for stage in stages if len(stages) > 1]
    picture = tag(
        "svg", _frame(axis, height), names, lines, drawn, viewbox=f"0 0 {WIDTH} {height + 22:.0f}", role="img",
        aria_label=_description(bias_type, terms, stages), class_="swarm",
    )  # fmt: skip
    head = tag("figcaption", name_of(bias_type, 40), _legend(styles, any(not term.subgroup for term in terms)))
    return tag("figure", head, chart(picture, f"target-terms-{short(bias_type, 40)}", COLUMNS, marks))


def mark_of(x: float, y: float, style: int | None, *, hollow: bool) -> Markup:
    """One dot. `style`: the subgroup's place in SHAPES, or None for no subgroup."""
    kind = "s-none" if style is None else f"s-{style}"
    return tag("path", d=SHAPES[style or 0], transform=f"translate({x} {y})",
               class_=f"{kind} hollow" if hollow else kind)  # fmt: skip


def _legend(styles: Mapping[str, int], others: bool) -> Markup | None:
    if not styles:
        return None
    entries: list[tuple[Markup | str, int | None]] = [(name_of(name, 24), place) for name, place in styles.items()]
    entries += [("no subgroup", None)] if others else []
    shown = [
        tag("li", tag("svg", mark_of(7, 7, place, hollow=False), viewbox="0 0 14 14", aria_hidden="true"), name)
        for name, place in entries
    ]
    return tag("ul", shown, class_="key")


def _mark(x: float, y: float, term: Term, stage: str, both: bool) -> Mark:
    span = term.interval_before if stage == "before" else term.interval
    found = span or term.interval
    values = (short(term.target, 80), stage if both else "", short(term.subgroup, 40), round(found.value, 1),
              term.pairs, round(found.low, 1), round(found.high, 1))  # fmt: skip
    return Mark(x, y, values)


def _ss(term: Term, stage: str) -> float:
    return term.before if stage == "before" and term.before is not None else term.after


def _offsets(places: Sequence[float]) -> list[float]:
    """How far each dot is moved up or down so that it does not cover another one.

    By hand: two dots at the same place -> 0 and one diameter.
    """
    step, found = 2 * RADIUS + 0.8, [0.0] * len(places)
    taken: list[tuple[float, float]] = []
    for number_, x in sorted(enumerate(places), key=lambda one: one[1]):
        near = [(other, y) for other, y in taken[-200:] if x - other < step]
        offset, tries = 0.0, 0
        while any((x - other) ** 2 + (offset - y) ** 2 < step * step - 0.01 for other, y in near) and tries < 60:
            tries += 1
            offset = (tries + 1) // 2 * step * (1 if tries % 2 else -1)
        found[number_] = max(-FULL, min(FULL, offset))
        taken.append((x, found[number_]))
    for x in set(places):  # those at the very same place stand in the order in which they are given
        same = [n for n, other in enumerate(places) if other == x]
        for n, offset in zip(same, sorted(found[n] for n in same), strict=True):
            found[n] = offset
    return found


def _lines(
    terms: Sequence[Term], axis: Axis, offsets: Mapping[str, Sequence[float]], middle: Mapping[str, float]
) -> list[Markup]:
    """Each term's way from before to after."""
    return [
        tag("line", x1=axis.at(_ss(term, "before")), y1=round(middle["before"] + offsets["before"][n], 1),
            x2=axis.at(term.after), y2=round(middle["after"] + offsets["after"][n], 1), class_="way")
        for n, term in enumerate(terms)
    ]  # fmt: skip


def _frame(axis: Axis, height: float) -> list[Markup]:
    """Grid, the line at 50, and the numbers below."""
    bottom = round(height, 1)
    parts = []
    for tick in (0, 25, 50, 75, 100):
        x = axis.at(tick)
        kind = "ideal" if tick == 50 else "grid"
        parts.append(tag("line", x1=x, x2=x, y1=0, y2=bottom, class_=kind))
        parts.append(tag("text", tick_label(tick), x=x, y=bottom + 16, class_="mid strong" if tick == 50 else "mid"))
    return parts


def _description(bias_type: str, terms: Sequence[Term], stages: Sequence[str]) -> str:
    """For those who do not see it: how far the terms are spread, in all and by subgroup."""
    parts = []
    for stage in stages:
        groups: dict[str, list[float]] = {}
        for term in terms:
            groups.setdefault(term.subgroup or "other terms", []).append(_ss(term, stage))
        spans = [f"{short(name, 40)} {interval(min(values), max(values), 0)}, mean {number(sum(values) / len(values))}"
                 for name, values in sorted(groups.items())]  # fmt: skip
        parts.append(f"{stage}: {'; '.join(spans)}")
    return f"SS of {len(terms)} target terms of {short(bias_type, 40)}. {'. '.join(parts)}."
