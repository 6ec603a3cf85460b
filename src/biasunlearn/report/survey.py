"""A survey of methods as a page: remaining bias against ability in one chart, all numbers, bias type by bias type."""

from collections.abc import Sequence
from typing import Any

from biasunlearn.report.formatting import short
from biasunlearn.report.html import name_of, tag
from biasunlearn.report.html_table import html_notes, html_table
from biasunlearn.report.model_name import model_name
from biasunlearn.report.page import Section, facts, page, section, warning
from biasunlearn.report.pareto_figure import PARETO_NOTE, pareto_figure
from biasunlearn.report.provenance import HEADING, unbroken
from biasunlearn.report.tables.survey import (
    SurveyLine,
    bias_type_table,
    cost_table,
    headline_table,
    nearest_methods,
    point_of,
    prompting_table,
    survey_lines,
    survey_remarks,
)  # fmt: skip
from biasunlearn.runs.series import Survey

NOTE = PARETO_NOTE.format(points="methods") + (
    " Both axes are measured on the report split. Values are means over seeds; an interval, in small print and as a "
    "thin line, covers the 95 % intervals of all seeds. This chart cannot separate methods whose intervals overlap; "
    "the command compare tests one run against another."
)


def survey_page(survey: Survey) -> str:
    """The page of one survey, as stored in survey.json."""
    lines, model = survey_lines(survey), model_name(survey.model)
    seeds = len(survey.seeds)
    under = f"{len(survey.methods)} methods under one budget, {seeds} seed{'s' if seeds > 1 else ''}"
    head = tag("header", tag("p", under, class_="eyebrow"), tag("h1", name_of(model)),
               tag("p", nearest_methods(survey), class_="lede"))  # fmt: skip
    return page(model, head, _pareto_section(survey, lines), _bias_type_section(lines), _cost_section(lines),
                _prompting_section(survey), _remarks_section(survey), _provenance_section(survey))  # fmt: skip


def _pareto_section(survey: Survey, lines: Sequence[SurveyLine]) -> Section:
    points = [point for line in lines if (point := point_of(line.letter, line.scores))]
    names = {line.letter: name_of(line.name, 40) for line in lines}
    letters = {line.name: line.letter for line in lines}
    nearer = [(letters[one.nearer], letters[one.farther]) for one in survey.nearer]
    figure, table = pareto_figure(points, names, nearer), headline_table(lines)
    return section("Remaining bias and ability", figure, html_notes(table), html_table(table), note=NOTE)


def _bias_type_section(lines: Sequence[SurveyLine]) -> Section:
    return section("Stereotype score by bias type", html_table(bias_type_table(lines), kind="close"))


def _prompting_section(survey: Survey) -> Section | None:
    if not survey.prompting:
        return None
    table = prompting_table(survey)
    return section("Prompting baselines", html_notes(table), html_table(table, kind="close"))


def _cost_section(lines: Sequence[SurveyLine]) -> Section:
    table = cost_table(lines)
    others = len(table.columns) > 3
    heading = "Other benchmarks and cost" if others else "Cost"
    return section(heading, html_notes(table), html_table(table, kind="close"))


def _remarks_section(survey: Survey) -> Section | None:
    remarks = [warning(short(line, 300)) for line in survey_remarks(survey)]
    return section("Remarks on single methods", remarks) if remarks else None


def _provenance_section(survey: Survey) -> Section:
    rows: dict[str, Any] = {
        "model": name_of(survey.model, 200), "seeds": ", ".join(map(str, survey.seeds)),
        "changes to the recipe": short(", ".join(survey.changes) or "none", 400),
        "command": tag("code", unbroken(short(survey.environment.command or "", 2000))),
    }  # fmt: skip
    return section(HEADING, facts(rows))
