"""A sweep as a page: all trials in one chart, the front in numbers, importance of the settings, the chosen runs."""

from collections.abc import Sequence
from typing import Any

from biasunlearn.report.charts.marks import bars
from biasunlearn.report.charts.pareto import TrialPoint, Trials, outside, trials_chart
from biasunlearn.report.formatting import number, short
from biasunlearn.report.html import Markup, name_of, tag
from biasunlearn.report.html_table import html_table, html_warnings
from biasunlearn.report.model_name import model_name
from biasunlearn.report.page import Section, facts, folded, page, section, warning
from biasunlearn.report.provenance import HEADING, hash_mark, recipe_fold
from biasunlearn.report.tables.sweep import AIMS, chosen_table, front_table, recipe_trial, trials_table
from biasunlearn.runs.series import Sweep, Trial

HEADLINE = "Remaining bias against LMS lost"

KEY = {"best": "on the front", "dominated": "dominated", "pruned": "pruned"}
"""Class of a mark -> what it means."""


def sweep_page(sweep: Sweep) -> str:
    """The page of one sweep, as stored in sweep.json."""
    model = model_name(sweep.request.model)
    head = tag(
        "header", tag("p", "A search of settings on the stop split", class_="eyebrow"), tag("h1", name_of(model)),
        tag("p", _summary(sweep), class_="lede"),
    )  # fmt: skip
    return page(model, head, _front_section(sweep), _importance_section(sweep), _chosen_section(sweep),
                _provenance_section(sweep))  # fmt: skip


def _summary(sweep: Sweep) -> str:
    counted = f"{sweep.complete} trials were completed, {sweep.pruned} were pruned."
    if sweep.knee is None:
        return counted
    point = sweep.front[sweep.knee.place]
    change = f"{number(abs(point.lms_lost), 2)} points of LMS {'lost' if point.lms_lost >= 0 else 'gained'}"
    aims = f"mean |SS\u00a0−\u00a050| {number(point.bias, 2)}, {change}"
    return f"{counted} Trial {point.trial} is the knee of the Pareto front: {aims}."


def _front_section(sweep: Sweep) -> Section:
    if not sweep.front:
        return section(HEADLINE, warning("No trial has been completed yet."))
    trials = Trials(_points(sweep.front), _points(sweep.trials), _points(sweep.given_up),
                    sweep.knee.trial if sweep.knee else None, recipe_trial(sweep))  # fmt: skip
    beyond = outside([*trials.complete, *trials.pruned], trials.front)
    edge = f" Outside the axes and drawn on their edge: {beyond}." if beyond else ""
    note = (
        "Every mark is a trial: less bias to the left, less LMS lost at the top, both on the stop split. The dotted "
        "line is the Pareto front; trials below and to the right of it are worse on both axes. A cross is the last "
        f"evaluation of a pruned trial.{edge} The scores of the chosen trial are optimistic here, because it was "
        "chosen by them."
    )
    reason = tag("p", f"Knee: {short(sweep.knee.reason, 200)}.", class_="note") if sweep.knee else None
    key = tag("ul", [tag("li", _sign(kind), meaning) for kind, meaning in KEY.items()], class_="key")
    everything = folded("All trials", html_table(trials_table(sweep), kind="close", tall=True))
    return section(HEADLINE, trials_chart(trials), key, tag("h3", "Pareto front"),
                   html_table(front_table(sweep), kind="close"), reason, everything, note=note)  # fmt: skip


def _points(trials: Sequence[Trial]) -> list[TrialPoint]:
    return [TrialPoint(trial.trial, trial.bias, trial.lms_lost) for trial in trials]


def _sign(kind: str) -> Markup:
    mark = tag("path", d="M13.5 3.5 l7 7 M20.5 3.5 l-7 7") if kind == "pruned" else tag("circle", cx=17, cy=7, r=5)
    return tag("svg", tag("g", mark, class_=kind), class_="trials scatter", aria_hidden="true")


def _importance_section(sweep: Sweep) -> Section | None:
    pictures = []
    for aim, label in AIMS.items():
        if shares := sweep.importance.get(aim):
            title = f"For {label}"
            drawn = bars(title, sorted(shares.items(), key=lambda item: -item[1]))
            pictures.append(tag("figure", tag("figcaption", title), drawn))
    if not pictures:
        return None
    note = (
        "PED-ANOVA: how much the distribution of a setting among the good trials differs from that among all trials, "
        "as shares that add up to 100 %. It tells which settings matter, not in which direction, and is unreliable "
        "with few trials."
    )
    return section("Importance of the settings", tag("div", pictures, class_="maps"), note=note)


def _chosen_section(sweep: Sweep) -> Section | None:
    if not sweep.chosen:
        return None
    table = chosen_table(sweep.chosen)
    return section("The chosen point on the report split", html_warnings(table), html_table(table),
                   note="The report split is scored here for the first and only time.")  # fmt: skip


def _provenance_section(sweep: Sweep) -> Section:
    request = sweep.request
    rows: dict[str, Any] = {"model": name_of(request.model, 200), "seeds": ", ".join(map(str, request.seeds))}
    rows |= {f"{short(name, 20)} split": hash_mark(digest) for name, digest in request.splits.items()}
    return section(HEADING, facts(rows), recipe_fold("The recipe whose settings were varied", request.recipe))
