"""A relearning as pictures: SS of the debiased model and of its base over the steps, a panel for each bias type."""

from collections.abc import Mapping, Sequence
from typing import Any

from biasunlearn.report.charts.axis import Axis, around, shown
from biasunlearn.report.charts.curves import BOTTOM, HIGH, LEFT, RIGHT, TOP, WIDE
from biasunlearn.report.html import Markup, name_of, short, tag
from biasunlearn.report.html_table import Cell, Head, estimate, interval, number, table
from biasunlearn.report.page import section, warning

Results = Mapping[str, Any]

APART = 2.5
"""Between the bars of the two models at one step."""

KINDS = {"base": "before", "debiased": "after"}
"""Model -> how it is drawn: as before and after debiasing are on every page."""


def lasting(results: Results) -> list[Markup]:
    """The section, or nothing where the run is no relearning."""
    told = results.get("relearned")
    if not told:
        return []
    many = len(told["seeds"])
    note = (
        f"All weights of the debiased model of {short(told['run'], 80)} were fine-tuned on {short(told['on'], 80)}; "
        "its base learned the same rows in the same order. Filled and blue: debiased; hollow and grey: base. "
        "Bars are 95 % intervals."
    )
    if many > 1:
        note += f" Values and ends of intervals are means over {many} orders of the text."
    notes = [warning(line) for line in _warnings(told)]
    panels = tag("div", _panels(told["points"]), class_="panels wide")
    parts = [_told(told["kept"][-1]), panels, _kept_table(told), _steps_table(told["points"])]
    return [section("Does it last?", notes, parts, note=note)]


def _told(last: Results) -> Markup | None:
    """The result in words."""
    if not last["kept"]:
        return None
    share = {end: 100 * value for end, value in last["kept"].items()}
    left = f"{number(share['value'], 0)} % ({interval(share, 0)}) of the debiasing is left"
    return tag("p", f"After {last['step']} steps {left}.", class_="lede")


def _warnings(told: Results) -> list[str]:
    last = told["kept"][-1]
    lines = []
    if not last["kept"]:
        lines.append(f"The share kept is not defined: {short(last['reason'], 200)}.")
    over = [f"{short(name, 40)} at step {point['step']}" for point in told["points"] if point["model"] == "debiased"
            for name, row in point["bias_types"].items() if row["over_debiased"]]  # fmt: skip
    return [*lines, *([f"Over-debiased, the whole interval lies below 50: {', '.join(over)}."] if over else [])]


def _panels(points: Sequence[Results]) -> list[Markup]:
    """All bias types together first, then each; all on one axis with 50 in the middle."""
    names = ["", *points[0]["bias_types"]]
    values = [_of(point, name)[end] for point in points for name in names for end in ("low", "high")]
    wide = around(50.0, values, 6.0)
    axis = Axis(wide.low, wide.high, BOTTOM, TOP)
    steps = Axis(0.0, float(max(1, *(point["step"] for point in points))), LEFT + 6, RIGHT - 6)
    return [_panel(name, points, steps, axis) for name in names]


def _panel(name: str, points: Sequence[Results], steps: Axis, axis: Axis) -> Markup:
    grid = []
    for tick in axis.ticks():
        y = axis.at(tick)
        grid.append(tag("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, class_="grid"))
        kind = "end strong" if tick == 50 else "end"
        grid.append(tag("text", shown(tick), x=LEFT - 6, y=y + 3.5, class_=kind))
    for tick in steps.ticks(4):
        grid.append(tag("text", shown(tick), x=steps.at(tick), y=HIGH - 6, class_="mid"))
    middle = axis.at(50.0)
    grid.append(tag("line", x1=LEFT, x2=RIGHT, y1=middle, y2=middle, class_="ideal"))
    drawn, said = [], []
    for place, (model, kind) in enumerate(KINDS.items()):
        own = [(point["step"], _of(point, name)) for point in points if point["model"] == model]
        drawn += _line(own, steps, axis, kind, (place - 0.5) * APART)
        said.append(f"{model} from {number(own[0][1]['value'])} to {number(own[-1][1]['value'])}")
    title, last = name_of(name, 40) if name else tag("span", "all together"), points[-1]["step"]
    label = f"{short(name, 40) or 'all together'}: SS over {last} steps, {', '.join(said)}"
    picture = tag("svg", grid, drawn, viewbox=f"0 0 {WIDE} {HIGH}", role="img", aria_label=label)
    return tag("figure", tag("figcaption", title), picture)


def _line(points: Sequence[tuple[int, Results]], steps: Axis, axis: Axis, kind: str, shift: float) -> list[Markup]:
    """Whiskers, the line, a dot at each look."""
    x = [round(steps.at(step) + shift, 2) for step, _ in points]
    bars = [
        tag("line", x1=at, x2=at, y1=axis.at(found["low"]), y2=axis.at(found["high"]), class_=f"interval {kind}",
            stroke_width=4)  # fmt: skip
        for at, (_, found) in zip(x, points, strict=True)
    ]
    places = " ".join(f"{at:.1f},{axis.at(found['value']):.1f}" for at, (_, found) in zip(x, points, strict=True))
    line = tag("polyline", points=places, class_=f"curve {kind}")
    dots = [tag("circle", cx=at, cy=axis.at(found["value"]), r=3, class_=kind)
            for at, (_, found) in zip(x, points, strict=True)]  # fmt: skip
    return [*bars, line, *dots]


def _of(point: Results, name: str) -> Results:
    found: Results = (point["bias_types"][name] if name else point["overall"])["ss"]
    return found


def _kept_table(told: Results) -> Markup:
    heads = [Head("step", kind="word"), Head("gap in SS"), Head("% kept"), Head("lead"), Head("% of lead")]
    heads += [Head("debiased moved"), Head("base moved")]
    rows = []
    for row in told["kept"]:
        gap, lead = row, row["distance"]
        cells = [_signed(gap["target"]), _percent(gap["kept"]), _signed(lead["target"]), _percent(lead["kept"])]
        rows.append([Cell(row["step"]), *cells, _signed(row["returned"]), _signed(row["drift"])])
    listed = table("What is kept of the debiasing at each step", heads, rows, kind="close")
    note = (
        "The gap is SS of the base less SS of the debiased model at the same step, toward the side that the base leant "
        "to, mean over bias types; the share kept is that gap over the one at step 0. The lead is how much nearer to "
        "50 the debiased model is: a step past 50 widens the gap and not the lead, but noise near 50 narrows the lead. "
        "Moved: points of mean |SS − 50| since step 0."
    )
    return tag("div", tag("h3", "What is kept"), tag("p", note, class_="note"), listed)


def _signed(found: Results) -> Cell:
    cell = estimate(found)
    return Cell(cell.shown, found["value"])


def _percent(share: Results | None) -> Cell:
    return estimate(share and {end: 100 * value for end, value in share.items()}, 0)


def _steps_table(points: Sequence[Results]) -> Markup:
    heads = [Head("step", kind="word"), Head("model", kind="word"), Head("SS"), Head("LMS"), Head("perplexity")]
    rows = []
    for point in sorted(points, key=lambda one: one["step"]):
        text, loss = point["perplexity"], point["loss"]
        cells = [estimate(point["overall"]["ss"]), estimate(point["overall"]["lms"])]
        cells += [estimate(one and {"value": one}, places) for one, places in ((text, 2), (loss, 3))]
        rows.append([Cell(point["step"]), Cell(point["model"]), *cells])
    listed = table("SS, LMS, perplexity and loss at each step", [*heads, Head("loss")], rows, kind="close")
    return tag("div", tag("h3", "Ability on the way"), listed)
