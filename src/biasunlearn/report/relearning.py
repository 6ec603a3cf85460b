"""Further training of a debiased model and of its base as a part of a page: SS over the steps, by bias type."""

from collections.abc import Sequence

from biasunlearn.report.charts.axis import Axis, around
from biasunlearn.report.charts.chart import Mark, chart
from biasunlearn.report.charts.curves import (
    APART,
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    interval_curve,
    level_line,
    panel_grid,
)  # fmt: skip
from biasunlearn.report.formatting import number, short
from biasunlearn.report.html import Markup, name_of, tag
from biasunlearn.report.html_table import html_notes, html_table
from biasunlearn.report.page import Section, section, warning
from biasunlearn.report.tables.relearning import kept_line, kept_table, relearning_warnings, steps_table
from biasunlearn.runs.results import Results
from biasunlearn.runs.scores import Interval
from biasunlearn.runs.sections import Point, Relearned

KINDS = {"base": "before", "debiased": "after"}
"""Model -> how it is drawn: as before and after debiasing are on every page."""


def relearning_sections(results: Results) -> list[Section]:
    """The section, or nothing where the run is no relearning."""
    found = results.relearned
    if found is None:
        return []
    warnings = [warning(line) for line in relearning_warnings(results)]
    kept, steps = kept_table(found), steps_table(found.points)
    parts = [
        tag("p", kept_line(found.kept[-1]), class_="lede"), warnings,
        tag("div", _panels(found.points), class_="panels wide"),
        tag("h3", "Share of the debiasing that is kept"), html_notes(kept), html_table(kept, kind="close"),
        tag("h3", "Scores at each step"), html_table(steps, kind="close"),
    ]  # fmt: skip
    return [section("Persistence under further training", parts, note=_note(found))]


def _note(found: Relearned) -> str:
    note = (
        f"All weights of the debiased model of {short(found.run, 80)} were fine-tuned on {short(found.on, 80)}; its "
        "base model was fine-tuned on the same rows in the same order. Filled and blue: debiased model; hollow and "
        "grey: base model. Bars are 95 % intervals."
    )
    orders = len(found.seeds)
    return f"{note} Values and ends of intervals are means over {orders} orders of the text." if orders > 1 else note


def _panels(points: Sequence[Point]) -> list[Markup]:
    """All bias types together first, then each; all on one axis with 50 in the middle."""
    names = ["", *points[0].bias_types]
    found = [_ss(point, name) for point in points for name in names]
    wide = around(50.0, [end for one in found for end in (one.low, one.high)], 6.0)
    axis = Axis(wide.low, wide.high, BOTTOM, TOP)
    steps = Axis(0.0, float(max(1, *(point.step for point in points))), LEFT + 6, RIGHT - 6)
    return [_panel(name, points, steps, axis) for name in names]


def _panel(name: str, points: Sequence[Point], steps: Axis, axis: Axis) -> Markup:
    drawn, spoken, marks = [], [], []
    for place, (model, kind) in enumerate(KINDS.items()):
        own = [(point.step, _ss(point, name)) for point in points if point.model == model]
        drawn += interval_curve(own, steps, axis, kind, (place - 0.5) * APART)
        marks += [Mark(steps.at(step) + (place - 0.5) * APART, axis.at(one.value),
                       (float(step), model, one.value, one.low, one.high)) for step, one in own]  # fmt: skip
        spoken.append(f"{model} model from {number(own[0][1].value)} to {number(own[-1][1].value)}")
    title = name_of(name, 40) if name else tag("span", "overall")
    label = f"{short(name, 40) or 'overall'}: SS over {points[-1].step} steps, {', '.join(spoken)}"
    picture = tag("svg", panel_grid(steps, axis, strong=50), level_line(axis, 50.0), drawn,
                  viewbox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=label)  # fmt: skip
    file, columns = f"relearning-{short(name, 40) or 'overall'}", ("step", "model", "SS", "low", "high")
    return tag("figure", tag("figcaption", title), chart(picture, file, columns, marks))


def _ss(point: Point, name: str) -> Interval:
    return (point.bias_types[name] if name else point.overall).ss
