"""Several runs on one page: who is on the Pareto front, bias type by bias type, tests against the base, each run."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from string import ascii_uppercase
from typing import Any

from biasunlearn.report.charts.axis import around
from biasunlearn.report.charts.marks import Field, strip
from biasunlearn.report.charts.scatter import Point, beats, front, scatter
from biasunlearn.report.html import Markup, join, name_of, short, tag
from biasunlearn.report.html_table import Cell, Head, estimate, number, places_of, table
from biasunlearn.report.page import folded, page, section, warning
from biasunlearn.report.run import Shown, report_page, run_sections
from biasunlearn.stats.stereoset import over_debiased

Results = Mapping[str, Any]
Line = tuple[str, Markup, Results]
"""One line of a comparison: letter, name, entries."""


def runs_page(runs: Sequence[Shown], comparison: Results | None = None, refused: str | None = None) -> str:
    """The page of one run, or of several with a comparison (comparing.compare) or the reason why there is none."""
    if len(runs) == 1:
        return report_page(runs[0])
    lines = _lines(runs)
    models = list(dict.fromkeys(run.model for run in runs))
    title = models[0] if len(models) == 1 else f"{len(runs)} runs"
    head = tag(
        "header", tag("p", f"Social bias, {len(runs)} runs compared", class_="eyebrow"), tag("h1", name_of(title)),
        tag("p", _lede(lines), class_="lede"),
    )  # fmt: skip
    each = [
        tag("article", tag("h2", f"{letter} ", _label(run)), folded("Show this run in full", run_sections(run)),
            class_="run")  # fmt: skip
        for letter, run in zip(_letters(len(runs)), runs, strict=True)
    ]
    return page(title, head, _overview(lines), _bias_types(lines), _tests(comparison, lines, refused), each)


def _lines(runs: Sequence[Shown]) -> list[Line]:
    """The base that the first run began with, where it has one, then every run."""
    lines: list[Line] = []
    if runs[0].before:
        lines.append(("0", Markup("base model"), runs[0].before))
    return lines + [(letter, _label(run), run.after) for letter, run in zip(_letters(len(runs)), runs, strict=True)]


def _letters(count: int) -> list[str]:
    return [ascii_uppercase[n] if n < 26 else str(n + 1) for n in range(count)]


def _label(run: Shown) -> Markup:
    """What tells a run from the others: its folder, and its method and seed where they say more."""
    seed = (run.results.get("config") or {}).get("seed")
    folder, method = PurePath(run.name).name or run.name, run.results.get("method")
    more = [short(method, 40)] if isinstance(method, str) and method != folder else []
    more += [] if seed is None else [f"seed {seed}"]
    return join([name_of(folder, 48), " ", tag("small", ", ".join(more)) if more else None])


def _point(line: Line) -> Point | None:
    overall = (line[2].get("stereoset") or {}).get("overall") or {}
    far, lms = overall.get("ss_distance"), overall.get("lms")
    if not far or not lms:
        return None
    ends = [tuple(float(one[end]) for end in ("value", "low", "high")) for one in (far, lms)]
    return Point(line[0], ends[0], ends[1], base=line[0] == "0")  # type: ignore[arg-type]


def _lede(lines: Sequence[Line]) -> str:
    points = [point for line in lines if (point := _point(line))]
    if not points:
        return "No run was measured on StereoSet with unrelated sentences; what was measured stands below."
    best = [point.letter for point in front(points)]
    nearest = min(points, key=lambda point: point.distance[0])
    told = f"{nearest.letter} comes nearest to 50, {nearest.distance[0]:.1f} points off on average over bias types"
    return f"{told}. {'On' if len(best) > 1 else 'Alone on'} the Pareto front of bias and ability: {', '.join(best)}."


def _overview(lines: Sequence[Line]) -> Markup:
    entries = [(line, line[2]["stereoset"]) for line in lines if line[2].get("stereoset")]
    if not entries:
        return Markup("")
    shown = [entry["overall"]["ss"] for _, entry in entries]
    lane = Field(around(50.0, [one[end] for one in shown for end in ("low", "high")], 10.0), 50.0, 2.0)
    heads = [Head("run", kind="word"), Head("SS", sorts=False, kind="picture", below=lane.scale()), Head("SS"),
             Head("mean |SS − 50|"), Head("LMS"), Head("ICAT")]  # fmt: skip
    read = any("perplexity" in all_entries for (_, _, all_entries), _ in entries)
    heads += [Head("perplexity")] * read
    rows = []
    for (letter, name, all_entries), entry in entries:
        overall, text = entry["overall"], all_entries.get("perplexity")
        far = overall.get("ss_distance")
        values = [estimate(overall["ss"]), estimate(far), *(estimate(overall.get(key)) for key in ("lms", "icat"))]
        values += [estimate({"value": text["per_token"]}, 2) if text else estimate(None)] * read
        label = join([tag("span", letter, class_="letter"), name])
        picture = strip(lane, None, overall["ss"]) if letter == "0" else strip(lane, overall["ss"])
        rows.append([Cell(label, letter), Cell(picture), *values])
    note = "Less bias to the left, more ability to the top. The dotted line is the Pareto front: whoever is below and \
to the right of it is beaten in both by somebody. Thin lines are 95 % intervals; runs whose intervals overlap are \
not told apart by this picture, the tests below are for that."
    points = [point for line, _ in entries if (point := _point(line))]
    drawn = tag("div", scatter(points), _who(lines, points), class_="beside") if len(points) > 1 else None
    listed = table("Every run: SS, mean distance from 50 and ability", heads, rows, kind="lanes")
    return section("Bias left against ability kept", drawn, listed, note=note)


def _who(lines: Sequence[Line], points: Sequence[Point]) -> Markup:
    """The letters of the picture, and by whom each run is beaten."""
    best, names, rows = front(points), {letter: name for letter, name, _ in lines}, []
    for point in sorted(points, key=lambda p: p.distance[0]):
        beaten_by = [other.letter for other in best if beats(other, point)]
        said = "on the front" if point in best else f"beaten by {', '.join(beaten_by)}"
        name = [tag("span", point.letter, class_="letter"), names[point.letter]]
        rows.append(tag("li", tag("span", name), tag("small", said)))
    return tag("ul", rows, class_="who")


def _bias_types(lines: Sequence[Line]) -> Markup:
    entries = [(line, line[2]["stereoset"]["bias_types"]) for line in lines if line[2].get("stereoset")]
    names = list(dict.fromkeys(name for _, types in entries for name in types))
    if not names:
        return Markup("")
    shown = [row["ss"] for _, types in entries for row in types.values()]
    lane = Field(around(50.0, [one[end] for one in shown for end in ("low", "high")], 10.0), 50.0, 2.0)
    parts = []
    for name in names:
        heads = [Head(name_of(name, 40), sorts=False, kind="word")]
        heads += [Head("SS", sorts=False, kind="picture", below=lane.scale()), Head("SS"), Head("LMS")]
        rows = []
        for (letter, label, _), types in entries:
            if name not in types:
                continue
            ss, base = types[name]["ss"], letter == "0"
            picture = strip(lane, None if base else ss, ss if base else None)
            cells = [Cell(join([tag("span", letter, class_="letter"), label])), Cell(picture)]
            rows.append([*cells, estimate(ss), estimate(types[name].get("lms"))])
        parts.append(table(f"{short(name, 40)}: SS of every run", heads, rows, kind="lanes several"))
    over = [
        warning(f"{letter}: over-debiased, the whole interval lies below 50: {short(', '.join(found), 200)}.")
        for letter, _, line_entries in lines
        if letter != "0" and (found := over_debiased(line_entries.get("stereoset") or {}))
    ]
    return section("Stereotype score by bias type", over, parts, note="Hollow: the base model. All on one axis.")


def _tests(comparison: Results | None, lines: Sequence[Line], refused: str | None) -> Markup | None:
    """Every benchmark's own scores against the first line, with the verdict in words."""
    if comparison is None:
        return section("Tests", warning(short(refused, 500))) if refused else None
    names = [run["name"] for run in comparison["runs"]]
    letters = dict(zip(names, [line[0] for line in lines], strict=False))
    heads = [Head("run", kind="word"), Head("benchmark", kind="word"), Head("score", kind="word"), Head("base"),
             Head("run’s value"), Head("difference"), Head("p"), Head("verdict", kind="word")]  # fmt: skip
    rows = []
    for line in comparison["overview"]:
        places = places_of([line["a"], line["b"]])
        moved = line.get("difference") or {}
        change = estimate(moved, places) if moved else _percent(line.get("change_percent"))
        rows.append([
            Cell(letters[line["run"]]), Cell(name_of(line["benchmark"], 40)), Cell(name_of(line["score"], 60)),
            estimate(line["a"], places), estimate(line["b"], places), change, _p(line.get("p")),
            Cell(_verdict(line)),
        ])  # fmt: skip
    note = f"Every run against {letters[names[0]] if names else ''} ({short(names[0], 80)}), item by item. A verdict \
asks for two things: a test that finds a difference, and an interval of the change of the distance from the ideal that \
lies on one side of 0. “Too few items” means that these data could not have shown ten points."
    listed = table("Tests of every run against the base", heads, rows, kind="close")
    return section("Tests against the base", listed, note=note)


def _verdict(line: Results) -> str:
    said = short(line.get("verdict") or "one value, not tested", 60)
    return f"{said}, over-debiased" if line.get("over_debiased") else said


def _percent(change: float | None) -> Cell:
    return Cell("–") if change is None else Cell(f"{number(change, 2, signed=True)} %", change)


def _p(p: float | None) -> Cell:
    return Cell("–", 2.0) if p is None else Cell("<0.0001" if p < 0.0001 else f"{p:.4f}", p)
