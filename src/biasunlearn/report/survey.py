"""A survey of methods as a page: bias left against ability kept in one picture, all numbers, bias type by bias type."""

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from biasunlearn.report.charts.axis import around
from biasunlearn.report.charts.marks import Field, strip
from biasunlearn.report.charts.scatter import Point, beats, front, scatter
from biasunlearn.report.html import Markup, join, name_of, short, tag
from biasunlearn.report.html_table import Cell, Head, estimate, number, table
from biasunlearn.report.page import facts, page, section, warning

Results = Mapping[str, Any]
Line = tuple[str, str, Mapping[str, Any]]
"""Letter, name, scores."""

KNOWN = {"ss": "SS", "distance": "mean |SS − 50|", "lms": "LMS", "icat": "ICAT"}

OF_TYPE = "ss "
"""What the scores of single bias types begin with."""


def survey_page(result: Results) -> str:
    """The page of one survey, as stored in survey.json."""
    model = str(result["model"])
    lines = _lines(result)
    seeds = result["seeds"]
    under = f"{len(result['methods'])} methods under one budget, {len(seeds)} seed{'s' * (len(seeds) > 1)}"
    head = tag("header", tag("p", under, class_="eyebrow"), tag("h1", name_of(model)),
               tag("p", _lede(lines, result), class_="lede"))  # fmt: skip
    return page(model, head, _overview(lines), _bias_types(lines), _elsewhere(lines, result), _remarks(result),
                _provenance(result))  # fmt: skip


def _lines(result: Results) -> list[Line]:
    """The base, then every method, nearest to 50 first."""
    letters = [*ascii_uppercase, *map(str, range(27, 27 + len(result["methods"])))]
    named = [
        (letter, name, row["scores"]) for letter, (name, row) in zip(letters, result["methods"].items(), strict=False)
    ]
    return [("0", "base model", result["base"]), *named]


def point_of(letter: str, scores: Mapping[str, Any]) -> Point | None:
    """Its place in the picture; None where the report file has no unrelated sentences."""
    far, lms = scores["distance"], scores["lms"]
    if not far or not lms:
        return None
    ends = [(one["value"], one["low"], one["high"]) for one in (far, lms)]
    return Point(letter, ends[0], ends[1], base=letter == "0")


def _lede(lines: Sequence[Line], result: Results) -> str:
    methods = list(result["methods"].items())
    name, row = methods[0]
    far = row["scores"]["distance"]
    if not far:
        return "The report file has too little to say how far from 50 a method is."
    told = f"{name} comes nearest to 50, {number(far['value'])} points off on average over bias types"
    best = ", ".join(result["front"])
    return f"{told}. On the Pareto front of bias and ability: {best}." if best else f"{told}."


def _overview(lines: Sequence[Line]) -> Markup:
    shown = [scores["ss"] for _, _, scores in lines if scores["ss"]]
    lane = Field(around(50.0, [one[end] for one in shown for end in ("low", "high")], 10.0), 50.0, 2.0)
    heads = [Head("method", kind="word"), Head("SS", sorts=False, kind="picture", below=lane.scale()),
             *map(Head, KNOWN.values())]  # fmt: skip
    rows = []
    for letter, name, scores in lines:
        ss, base = scores["ss"], letter == "0"
        picture = strip(lane, None if base else ss, ss if base else None)
        rows.append([_label(letter, name), Cell(picture), *(estimate(scores[score]) for score in KNOWN)])
    points = [point for line in lines if (point := point_of(line[0], line[2]))]
    drawn = tag("div", scatter(points), _who(lines, points), class_="beside") if len(points) > 1 else None
    note = (
        "Less bias to the left, more ability to the top, both on the report split. The dotted line is the Pareto "
        "front: whoever is below and to the right of it is beaten in both by somebody. Values are means over seeds; "
        "intervals, in small print and as thin lines, reach as far as the 95 % intervals of the seeds do. Methods "
        "whose intervals overlap are not told apart here; compare tests run against run."
    )
    return section("Bias left against ability kept", drawn, table("Every method", heads, rows, kind="lanes"), note=note)


def _bias_types(lines: Sequence[Line]) -> Markup:
    kinds = [name for name in lines[0][2] if name.startswith(OF_TYPE)]
    heads = [Head("method", kind="word"), *(Head(name_of(kind.removeprefix(OF_TYPE), 40)) for kind in kinds)]
    rows = [[_label(letter, name), *(estimate(scores[kind]) for kind in kinds)] for letter, name, scores in lines]
    return section("Stereotype score by bias type", table("SS of every method by bias type", heads, rows, kind="close"))


def _elsewhere(lines: Sequence[Line], result: Results) -> Markup:
    """What the other benchmarks say, and what it cost."""
    others = [name for name in result["base"] if name not in KNOWN and not name.startswith(OF_TYPE)]
    heads = [Head("method", kind="word"), *(Head(short(name, 40)) for name in others), Head("seconds"), Head("MiB")]
    rows = []
    for letter, name, scores in lines:
        cost = None if letter == "0" else result["methods"][name]["cost"]
        spent = [{"value": cost["seconds"]}, {"value": cost["memory"] / 2**20}] if cost else [None, None]
        values = [estimate(scores[other], 1) for other in others]
        rows.append([_label(letter, name), *values, *(estimate(one, 0) for one in spent)])
    title = "Other benchmarks, and the cost" if others else "The cost"
    note = "Seconds and peak memory of training and choosing, with the looks at the stop split; the mean of the seeds."
    return section(title, table(title, heads, rows, kind="close"), note=note)


def _label(letter: str, name: str) -> Cell:
    return Cell(join([tag("span", letter, class_="letter"), name_of(name, 40)]), letter)


def _who(lines: Sequence[Line], points: Sequence[Point]) -> Markup:
    """The letters of the picture, and by whom each method is beaten."""
    best, names, rows = front(points), {letter: name for letter, name, _ in lines}, []
    for point in sorted(points, key=lambda p: p.distance[0]):
        beaten_by = [other.letter for other in best if beats(other, point)]
        said = "on the front" if point in best else f"beaten by {', '.join(beaten_by)}"
        label = [tag("span", point.letter, class_="letter"), name_of(names[point.letter], 40)]
        rows.append(tag("li", tag("span", label), tag("small", said)))
    return tag("ul", rows, class_="who")


def remarks(result: Results) -> list[str]:
    """Methods that changed nothing, collapsed or could not run: what the numbers do not say by themselves."""
    said, of = [], len(result["seeds"])
    for method, row in result["methods"].items():
        if row["unchanged"]:
            said.append(f"{method} kept the base with {row['unchanged']} of {of} seeds: nothing it tried came nearer "
                        "to 50 within the loss of LMS that is allowed.")  # fmt: skip
        if row["collapsed"]:
            said.append(f"{method} collapsed with {row['collapsed']} of {of} seeds; shown is what it kept from before.")
    return said + [f"{method} is left out: {reason}" for method, reason in result["refused"].items()]


def _remarks(result: Results) -> Markup | None:
    said = [warning(short(line, 300)) for line in remarks(result)]
    return section("What the numbers do not say", said) if said else None


def _provenance(result: Results) -> Markup:
    rows: dict[str, Any] = {
        "model": name_of(result["model"], 200), "seeds": ", ".join(map(str, result["seeds"])),
        "changes to the recipe": short(", ".join(result["changes"]) or "none", 400),
        "command": tag("code", short(result["environment"]["command"], 2000)),
    }  # fmt: skip
    return section("How this was made", facts(rows))
