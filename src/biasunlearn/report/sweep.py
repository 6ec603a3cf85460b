"""A sweep as a page: the trials in one picture, the front in numbers, what mattered, and the chosen point's runs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from biasunlearn.report.charts.bars import bars
from biasunlearn.report.charts.pareto import outside, trials
from biasunlearn.report.html import Markup, join, name_of, short, tag
from biasunlearn.report.html_table import Cell, Head, estimate, number, table
from biasunlearn.report.page import facts, folded, page, section, warning

Results = Mapping[str, Any]


def sweep_page(result: Results) -> str:
    """The page of one sweep, as stored in sweep.json."""
    model = str(result["request"]["model"])
    head = tag("header", tag("p", "A search on the stop split", class_="eyebrow"), tag("h1", name_of(model)),
               tag("p", _lede(result), class_="lede"))  # fmt: skip
    return page(model, head, _front(result), _importance(result), _chosen(result), _provenance(result))


def _lede(result: Results) -> str:
    counted = f"{result['complete']} trials ran to their end, {result['pruned']} were given up."
    if not result["knee"]:
        return counted
    point = result["front"][result["knee"]["place"]]
    lost = point["lms_lost"]
    aims = f"mean |SS\u00a0−\u00a050| {number(point['bias'], 2)}, {number(abs(lost), 2)} points of LMS "
    aims += "lost" if lost >= 0 else "gained"
    return f"{counted} Trial {point['trial']} is the knee of the front: {aims}."


def _front(result: Results) -> Markup | None:
    if not result["front"]:
        return section("Bias left against LMS lost", warning("No trial has come to its end yet."))
    knee, recipe = result["knee"]["trial"], _recipe(result)
    drawn = trials(result["trials"], result["front"], knee, result["given_up"], recipe)
    beyond = outside([*result["trials"], *result["given_up"]], result["front"])
    key = [("best", "on the front"), ("beaten", "beaten in both by another"), ("given-up", "given up")]
    parts = tag("ul", [tag("li", _sign(kind), said) for kind, said in key], class_="key")
    edge = f" Beyond the edge, and drawn on it: {beyond}." if beyond else ""
    note = (
        "Every mark is a trial; less bias to the left, less LMS lost to the top, both on the stop split. Whoever is "
        "below and to the right of the dotted line is beaten in both. A cross stands where a trial was when it was "
        f"given up.{edge} The chosen trial's figures here are flattering, since they chose it."
    )
    reason = tag("p", f"The knee: {short(result['knee']['reason'], 200)}.", class_="note")
    return section("Bias left against LMS lost", drawn, parts, tag("h3", "The front"), _listed(result), reason,
                   folded("All trials", _all(result)), note=note)  # fmt: skip


def _sign(kind: str) -> Markup:
    mark = tag("path", d="M13.5 3.5 l7 7 M20.5 3.5 l-7 7") if kind == "given-up" else tag("circle", cx=17, cy=7, r=5)
    return tag("svg", tag("g", mark, class_=kind), class_="trials scatter", aria_hidden="true")


def _recipe(result: Results) -> int | None:
    """The trial that is the recipe itself."""
    recipe = result["request"]["recipe"]
    same = (point for point in result["trials"] if all(recipe.get(key) == v for key, v in point["params"].items()))
    return next((point["trial"] for point in same), None)


def _listed(result: Results) -> Markup:
    knee, recipe = result["knee"]["trial"], _recipe(result)
    rows = []
    for point in result["front"]:
        said = ", ".join(word for word, trial in (("knee", knee), ("recipe", recipe)) if trial == point["trial"])
        label = [*([tag("small", said), " "] if said else []), str(point["trial"])]
        rows.append([Cell(join(label), point["trial"]), *_values(point)])
    return table("The front: bias, LMS lost and the settings of each trial", _heads(result), rows, kind="close")


def _all(result: Results) -> Markup:
    ended = [(point, "complete") for point in result["trials"]]
    ended += [(point, f"given up at look {point['look']}") for point in result["given_up"]]
    rows = [[Cell(point["trial"]), Cell(said), *_values(point)] for point, said in ended]
    heads = _heads(result)
    return table("All trials", [heads[0], Head("ended", kind="word"), *heads[1:]], rows, kind="close", tall=True)


def _heads(result: Results) -> list[Head]:
    keys = result["front"][0]["params"]
    return [Head("trial"), Head("mean |SS − 50|"), Head("LMS lost"), *(Head(short(key, 40)) for key in keys)]


def _values(point: Results) -> list[Cell]:
    far, lost = point["bias"], point["lms_lost"]
    shown = [Cell(number(far, 2), far), Cell(number(lost, 2, signed=True), lost)]
    return shown + [Cell(f"{value:.3g}", float(value)) for value in point["params"].values()]


def _importance(result: Results) -> Markup | None:
    found = result["importance"]
    titles = {"bias": "For mean |SS − 50|", "lms_lost": "For LMS lost"}
    pictures = [
        tag("figure", tag("figcaption", title),
            bars(title, sorted(found[what].items(), key=lambda item: -item[1])))
        for what, title in titles.items() if found.get(what)
    ]  # fmt: skip
    if not pictures:
        return None
    note = (
        "PED-ANOVA: how differently a setting is spread among the good trials and among all, as shares that add up to "
        "100 %. It says what to look at and not in which direction, and from few trials little."
    )
    return section("What mattered", tag("div", pictures, class_="maps"), note=note)


def _chosen(result: Results) -> Markup | None:
    runs: Sequence[Results] = result.get("chosen") or ()
    if not runs:
        return None
    rows = [
        [Cell(run["seed"]), estimate(run["ss"]), estimate(run.get("ss_distance")), estimate(run.get("lms")),
         Cell(name_of(run["run"], 120))]
        for run in runs
    ]  # fmt: skip
    heads = [Head("seed"), Head("SS"), Head("mean |SS − 50|"), Head("LMS"), Head("run", kind="word")]
    over = [str(run["seed"]) for run in runs if run.get("over_debiased")]
    said = f"Over-debiased, the whole interval of SS lies below 50: seed {', '.join(over)}. A search that chooses \
among so many looks at a small stop split overshoots easily: give it more pairs or more seeds."
    return section("The chosen point on the report split", warning(said) if over else None,
                   table("The chosen point, seed by seed", heads, rows),
                   note="The first and only time that the report split is scored.")  # fmt: skip


def _provenance(result: Results) -> Markup:
    request = result["request"]
    rows: dict[str, Any] = {"model": name_of(request["model"], 200), "seeds": ", ".join(map(str, request["seeds"]))}
    rows |= {f"{short(name, 20)} split": tag("span", f"sha256 {str(digest)[:16]}", class_="hash")
             for name, digest in request["splits"].items()}  # fmt: skip
    recipe = json.dumps(request["recipe"], indent=1, ensure_ascii=False)
    drawn_into = folded("The recipe that the settings are drawn into", tag("pre", short(recipe, 20_000)))
    return section("How this was made", facts(rows), drawn_into)
