"""A study of two training objectives as a page: scores, budget, relearning, hidden states, transfer."""

from typing import Any

from biasunlearn.report.formatting import short
from biasunlearn.report.html import name_of, tag
from biasunlearn.report.html_table import html_notes, html_table
from biasunlearn.report.model_name import model_name
from biasunlearn.report.page import Section, facts, page, section, warning
from biasunlearn.report.provenance import HEADING, unbroken
from biasunlearn.report.table import Table
from biasunlearn.report.tables.objective_study import (
    bias_type_table,
    budget_table,
    hidden_table,
    relearning_table,
    score_table,
    transfer_lines,
)  # fmt: skip
from biasunlearn.runs.objective_study import ObjectiveStudy


def objective_page(study: ObjectiveStudy) -> str:
    """The page of one study, as stored in objective.json."""
    causal, masked = (model_name(study.sides[kind].model) for kind in ("causal", "masked"))
    head = tag(
        "header", tag("p", "A causal and a masked model under one budget", class_="eyebrow"),
        tag("h1", name_of(causal), " and ", name_of(masked)),
    )  # fmt: skip
    relearned = any(side.relearned for side in study.sides.values())
    hidden = any(side.hidden for side in study.sides.values())
    return page(
        causal, head, _section("Scores", score_table(study)), _section("Stereotype score", bias_type_table(study)),
        _section("Steps and tokens", budget_table(study)),
        _section("Relearning", relearning_table(study)) if relearned else None,
        _section("Hidden states", hidden_table(study)) if hidden else None,
        section("Transfer", [tag("p", short(line, 400)) for line in transfer_lines(study)]),
        section("Left out", [warning(short(line, 300)) for line in study.left_out]) if study.left_out else None,
        _provenance(study),
    )  # fmt: skip


def _section(heading: str, table: Table) -> Section:
    return section(heading, html_notes(table), html_table(table, kind="close"))


def _provenance(study: ObjectiveStudy) -> Section:
    rows: dict[str, Any] = {
        "causal model": name_of(study.sides["causal"].model, 200),
        "masked model": name_of(study.sides["masked"].model, 200), "training pairs": short(study.train, 200),
        "report": short(study.report, 200), "seeds": ", ".join(map(str, study.seeds)),
        "command": tag("code", unbroken(short(study.environment.command or "", 2000))),
    }  # fmt: skip
    return section(HEADING, facts(rows))
