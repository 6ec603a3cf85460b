"""A study of two training objectives: scores, budget, relearning, hidden states and transfer of both models."""

from collections.abc import Iterator, Mapping, Sequence

from biasunlearn.report.formatting import number
from biasunlearn.report.table import (
    ALWAYS,
    EXTRA,
    MISSING,
    USUAL,
    Cell,
    Column,
    Line,
    NumberCell,
    Part,
    Row,
    Table,
    TextCell,
    count_cell,
    rows_of,
    score_cell,
)  # fmt: skip
from biasunlearn.runs.objective_study import AngleMeans, ObjectiveRun, ObjectiveSide, ObjectiveStudy
from biasunlearn.runs.series import SeedScore

OF_TYPE = "ss "
"""Prefix of the names under which SS of single bias types is stored."""

SHOWN: Mapping[str, tuple[str, int]] = {
    "distance": ("mean |SS − 50|", 1), "margin_group": ("group part", 3), "ss_group": ("group part above 0, %", 1),
    "lms": ("LMS", 1), "perplexity": ("perplexity", 2),
}  # fmt: skip
"""Score -> its heading and decimals."""

PSEUDO = (
    "Perplexity of the masked model is a pseudo-perplexity: a token is predicted from both sides, so that it cannot be "
    "compared with the perplexity of the causal model, only with itself before debiasing."
)
SCORED = "Scores of the masked model are pseudo-log-likelihoods, with one token masked at a time."
NOT_REACHED = "not reached"


def objective_tables(study: ObjectiveStudy) -> list[Part]:
    """All tables in their order, then what could not be measured."""
    hidden = [hidden_table(study)] if any(side.hidden for side in study.sides.values()) else []
    relearned = [relearning_table(study)] if any(side.relearned for side in study.sides.values()) else []
    return [
        score_table(study), bias_type_table(study), budget_table(study), *relearned, *hidden,
        *(Line(text) for text in transfer_lines(study)), *(Line(text, "caution") for text in study.left_out),
    ]  # fmt: skip


def score_table(study: ObjectiveStudy) -> Table:
    """Both models before and after debiasing."""
    known = [name for name in SHOWN if any(name in side.before for side in study.sides.values())]
    columns = (
        Column("model", "text", ALWAYS), Column("", "text", ALWAYS), Column("SS", priority=ALWAYS),
        *(Column(SHOWN[name][0], priority=EXTRA if name == "ss_group" else USUAL) for name in known),
    )  # fmt: skip
    rows = [
        Row((*_named(kind, side, stage), score_cell(scores.get("ss")),
             *(score_cell(scores.get(name), SHOWN[name][1]) for name in known)), ends_section=stage == "after")
        for kind, side in study.sides.items() for stage, scores in _stages(side)
    ]  # fmt: skip
    notes = (SCORED, PSEUDO) if "perplexity" in known else (SCORED,)
    return Table(f"Two objectives under one budget{_seeds(study)}", columns, tuple(rows), notes=notes)


def bias_type_table(study: ObjectiveStudy) -> Table:
    """SS of both models by bias type."""
    names = [name for name in next(iter(study.sides.values())).before if name.startswith(OF_TYPE)]
    columns = (
        Column("model", "text", ALWAYS), Column("", "text", ALWAYS),
        *(Column(name.removeprefix(OF_TYPE), is_name=True) for name in names),
    )  # fmt: skip
    rows = [
        Row((*_named(kind, side, stage), *(score_cell(scores.get(name)) for name in names)),
            ends_section=stage == "after")
        for kind, side in study.sides.items() for stage, scores in _stages(side)
    ]  # fmt: skip
    return Table(f"SS by bias type (ideal 50){_seeds(study)}", columns, tuple(rows))


def budget_table(study: ObjectiveStudy) -> Table:
    """Steps and tokens of every run, and those until the stop split was fair for the first time."""
    margin = f"{study.fair_margin:g}"
    columns = (
        Column("model", "text", ALWAYS), Column("seed", priority=EXTRA), Column("steps"), Column("tokens"),
        Column(f"steps to ±{margin}", priority=ALWAYS), Column(f"tokens to ±{margin}"), Column("seconds"),
        Column("verdict", "text"),
    )  # fmt: skip
    rows = [[TextCell(kind), *_budget(run)] for kind, side in study.sides.items() for run in side.runs]
    note = (
        f"±{margin}: the first evaluation of the stop split at which every SS lies within {margin} points of 50. "
        "Tokens are those that the model reads in training: a masked model reads a sentence once for each of its "
        "supervised tokens. The verdict is that of the report split."
    )
    return Table("Training of both models", columns, rows_of(rows), notes=(note,))


def _budget(run: ObjectiveRun) -> Sequence[Cell]:
    fair: Sequence[Cell] = [TextCell(NOT_REACHED), TextCell(NOT_REACHED)]
    if run.fair_step is not None and run.fair_tokens is not None:
        fair = [count_cell(run.fair_step), NumberCell(run.fair_tokens, 0)]
    seconds = MISSING if run.seconds is None else NumberCell(run.seconds, 0)
    return [count_cell(run.seed), count_cell(run.steps), NumberCell(run.tokens, 0), *fair, seconds,
            TextCell(run.verdict or "")]  # fmt: skip


def relearning_table(study: ObjectiveStudy) -> Table:
    """What further training leaves of the debiasing."""
    columns = (
        Column("model", "text", ALWAYS), Column("steps", priority=ALWAYS), Column("SS of the debiased model"),
        Column("SS of its base"), Column("share kept"),
    )  # fmt: skip
    rows = [
        [TextCell(kind), count_cell(one.step), NumberCell(one.debiased), NumberCell(one.base), score_cell(one.kept, 2)]
        for kind, side in study.sides.items() for one in side.relearned
    ]  # fmt: skip
    note = "The run of the first seed; a causal model learns by next tokens, a masked one by tokens hidden at random."
    return Table(f"Further training on {study.relearned_on}", columns, rows_of(rows), notes=(note,))


def hidden_table(study: ObjectiveStudy) -> Table:
    """Probes and angles of the last layer that was read."""
    columns = (Column("model", "text", ALWAYS), Column("what", "text", ALWAYS), Column("chance", priority=EXTRA),
               Column("before"), Column("after"))  # fmt: skip
    rows = [row for kind, side in study.sides.items() for row in _hidden_rows(kind, side)]
    note = (
        "The run of the first seed. Probes: balanced accuracy in percent. Angles: degrees between the bias directions "
        "of halves of the pairs; two bias types share a direction where the angle between them is as small as within."
    )
    return Table("Hidden states: linear probes and bias directions", columns, rows_of(rows), notes=(note,))


def _hidden_rows(kind: str, side: ObjectiveSide) -> Iterator[Sequence[Cell]]:
    found = side.hidden
    if found is None:
        return
    for one in found.probes:
        what = f"{one.asks} ({one.bias_type})" if one.bias_type else one.asks
        yield [TextCell(kind), TextCell(what, is_name=True), NumberCell(one.chance), score_cell(one.before),
               score_cell(one.after)]  # fmt: skip
    stages = [found.before, found.after]
    if (chance := found.before.chance if found.before else None) is not None:
        for what in ("between", "within"):
            yield [TextCell(kind), TextCell(f"angle {what} bias types"), NumberCell(chance),
                   *(NumberCell(_angle(stage, what)) for stage in stages)]  # fmt: skip
    for name, degrees in found.turned.items():
        yield [TextCell(kind), TextCell(f"direction of {name} turned by", is_name=True), MISSING, MISSING,
               NumberCell(degrees)]  # fmt: skip


def _angle(found: AngleMeans | None, what: str) -> float | None:
    return None if found is None else found.between if what == "between" else found.within


def transfer_lines(study: ObjectiveStudy) -> list[str]:
    """What the adapter of each model does on the other, or why that was left out."""
    lines = []
    for one in study.transfers:
        other = "masked" if one.of == "causal" else "causal"
        begin = f"Transfer of the {one.of} model's adapter to the {other} model"
        if one.left_out:
            lines.append(f"{begin}: left out; {one.left_out}.")
            continue
        kept = "not defined" if one.kept is None else number(one.kept.value, 2)
        before, after = ("not measured" if value is None else number(value, 1) for value in (one.before, one.after))
        change = f"SS {before} before, {after} after"
        lines.append(f"{begin}: {change}; share of the effect kept: {kept}.")
    return lines


def _stages(side: ObjectiveSide) -> list[tuple[str, Mapping[str, SeedScore | None]]]:
    return [("base", side.before), ("after", side.after)]


def _named(kind: str, side: ObjectiveSide, stage: str) -> tuple[TextCell, TextCell]:
    return TextCell(kind, small=side.model if stage == "base" else ""), TextCell(stage)


def _seeds(study: ObjectiveStudy) -> str:
    return f", mean of {len(study.seeds)} seeds" if len(study.seeds) > 1 else ""
