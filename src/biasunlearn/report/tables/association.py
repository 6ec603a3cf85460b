"""What SS alone does not tell: group part and wording part, seen and unseen wording, target terms and subgroups."""

from collections.abc import Iterator, Mapping

from biasunlearn.report.formatting import number, p_value
from biasunlearn.report.table import (
    ALWAYS,
    EXTRA,
    LAST,
    MISSING,
    USUAL,
    Cell,
    Column,
    NumberCell,
    Row,
    Table,
    TextCell,
    count_cell,
    name_cell,
    score_cell,
)  # fmt: skip
from biasunlearn.runs.association_results import AssociationChange, MeanChange, ReplacedFacts
from biasunlearn.runs.benchmark_results import StereoSetPart, StereoSetResult
from biasunlearn.runs.scores import CountedScore, Interval, StereoSetScores, hides_polarisation

Entry = StereoSetResult | StereoSetPart

NATS = 3
"""Decimals of a margin, in nats a token."""

PARTS_NOTE = (
    "Margin = group part + wording part, in nats a token. The wording part is the mean margin of the same pair about "
    "other groups and neutral referents; the group part is what is left, and 0 if the group makes no difference."
)
WORDING_NOTE = (
    "Pairs by how many of their attribute words (those in which the two sentences differ) were among those of the "
    "training pairs."
)
POLARISED_NOTE = (
    "Polarised: SS is near 50 as a mean, but target terms differ by more than chance explains, or subgroups lie on "
    "both sides of 50."
)


def association_tables(
    entry: StereoSetResult, before: StereoSetResult | None, change: AssociationChange | None
) -> list[Table]:
    """The tables of what a run has; none of a run that measured SS alone.

    Args:
        before: the same entry of the base model.
        change: the same pairs before and after.
    """
    made = (_parts_table(entry, before, change), _wording_table(entry, before, change), _spread_table(entry, before))
    return [table for table in made if table is not None]


def polarised_mark(row: StereoSetScores) -> str:
    """ "polarised" beside an SS near 50 that hides differences between target terms or subgroups; else ""."""
    return "polarised" if hides_polarisation(row) else ""


def remaining_line(change: AssociationChange | None) -> str:
    """The mean group part before and after, in a sentence; "" where it is not known."""
    if change is None or change.overall is None:
        return ""
    found = change.overall
    left = f" ({_percent(found.remaining)} remain)" if found.remaining else ""
    ends = f"{number(found.difference.low, NATS, signed=True)} to {number(found.difference.high, NATS, signed=True)}"
    p = p_value(found.p).replace("<", "< ")
    return (
        f"Group part of the margin: {number(found.before.value, NATS)} before, {number(found.after.value, NATS)} "
        f"after{left}; difference {number(found.difference.value, NATS, signed=True)} ({ends}), p {p}."
    )


# --- the two parts of the margin -------------------------------------------------------------------------------------


def _parts_table(
    entry: StereoSetResult, before: StereoSetResult | None, change: AssociationChange | None
) -> Table | None:
    """A row for each bias type: SS of the group part, its mean, and the wording part's."""
    if entry.overall.margin_group is None:
        return None
    with_before = before is not None and before.overall.margin_group is not None
    firsts = {**before.bias_types, "overall": before.overall} if before and with_before else {}
    changes: Mapping[str, MeanChange] = change.bias_types if change else {}
    columns = [Column("bias type", "text", ALWAYS)]
    columns += _columns("SS of the group part", with_before)
    columns += _columns("group part", with_before)
    if with_before:
        columns += [Column("difference"), Column("p", priority=EXTRA), Column("remaining", priority=EXTRA)]
    columns += [Column("wording part", priority=EXTRA), Column("pairs", priority=LAST)]

    def cells(name: Cell, row: StereoSetScores, first: StereoSetScores | None, one: MeanChange | None) -> Row:
        made = [name]
        for score, digits in (("ss_group", 1), ("margin_group", NATS)):
            earlier = [score_cell(getattr(first, score) if first else None, digits)] if with_before else []
            made += [*earlier, score_cell(getattr(row, score), digits)]
        if with_before:
            made += [*_difference(one), _share(one.remaining if one else None)]
        wording = score_cell(row.margin_wording, NATS, before=first.margin_wording if first else None)
        return Row((*made, wording, count_cell(row.n_group or 0)))

    rows = tuple(cells(name_cell(name), row, firsts.get(name), changes.get(name))
                 for name, row in entry.bias_types.items())  # fmt: skip
    total = cells(TextCell("overall"), entry.overall, firsts.get("overall"), change.overall if change else None)
    notes = (PARTS_NOTE, *_left_out(entry.replaced))
    return Table(
        "StereoSet: group part and wording part (ideal: SS of the group part 50, group part 0)", tuple(columns), rows,
        Row(total.cells, tone="strong"), notes=notes,
    )  # fmt: skip


def _left_out(facts: ReplacedFacts | None) -> Iterator[str]:
    if facts is None:
        return
    missing = len(facts.left_out)
    also = f" {missing} pairs have none; results.json lists them." if missing else ""
    yield (
        f"Up to {facts.count} versions about others of each of {facts.pairs} pairs "
        f"({facts.sentences:,} sentences more to score).{also}"
    )


# --- seen and unseen wording -----------------------------------------------------------------------------------------


def _wording_table(
    entry: StereoSetResult, before: StereoSetResult | None, change: AssociationChange | None
) -> Table | None:
    """SS and the group part of pairs whose attribute words were in training: both, one, neither."""
    found = entry.overall.unseen_wording
    if found is None:
        return None
    earlier = before.overall.unseen_wording if before else None
    changes = change.wording if change else {}
    columns = (
        Column("attribute words in training", "text", ALWAYS), *_columns("SS", earlier is not None),
        *([Column("difference"), Column("p")] if earlier else []), *_columns("group part", earlier is not None, EXTRA),
        *([Column("p of the group part", priority=EXTRA)] if earlier else []), Column("pairs", priority=USUAL),
    )  # fmt: skip
    rows = []
    for name in ("both", "one", "neither"):
        now, was = getattr(found, name) or CountedScore(n=0), getattr(earlier, name, None) or CountedScore(n=0)
        one = changes.get(name)
        cells: list[Cell] = [TextCell(name)]
        cells += [*([score_cell(was.ss)] if earlier else []), score_cell(now.ss)]
        cells += _difference(one.ss if one else None, 1) if earlier else []
        group = one.margin_group if one else None
        cells += [*([score_cell(was.margin_group, NATS)] if earlier else []), score_cell(now.margin_group, NATS)]
        cells += [_p(group.p if group else None)] if earlier else []
        rows.append(Row((*cells, count_cell(now.n))))
    return Table("StereoSet: wording seen in training (ideal: SS 50)", columns, tuple(rows), notes=(WORDING_NOTE,))


# --- target terms and subgroups --------------------------------------------------------------------------------------


def _spread_table(entry: Entry, before: Entry | None) -> Table | None:
    """A row for each bias type with the spread between its target terms, and below it a row for each subgroup."""
    if entry.overall.polarised is None:
        return None
    columns = (
        Column("bias type or subgroup", "text", ALWAYS), *_columns("SS", before is not None),
        *_columns("sd between terms", before is not None), Column("p"), Column("terms", priority=EXTRA),
        Column("pairs", priority=LAST), Column("mark", "text", ALWAYS),
    )  # fmt: skip
    rows = []
    for name, row in entry.bias_types.items():
        first = before.bias_types.get(name) if before else None
        rows.append(Row(_spread_cells(name_cell(name), row, first, both=before is not None)))
        for subgroup, one in (row.subgroups or {}).items():
            was = (first.subgroups or {}).get(subgroup) if first else None
            rows.append(Row(_subgroup_cells(subgroup, one, was, both=before is not None), tone="soft"))
        if row.subgroups_p is not None:
            rows.append(Row(_test_cells(row, len(columns), both=before is not None), tone="soft"))
    total = Row(
        _spread_cells(TextCell("overall"), entry.overall, before.overall if before else None, both=before is not None),
        tone="strong",
    )
    marks = any(polarised_mark(row) for row in (*entry.bias_types.values(), entry.overall))
    return Table(
        "StereoSet: target terms and subgroups (ideal: SS 50 in each, no spread beyond chance)", columns, tuple(rows),
        total, notes=(POLARISED_NOTE,) if marks else (),
    )  # fmt: skip


def _spread_cells(
    name: Cell, row: StereoSetScores, first: StereoSetScores | None, *, both: bool
) -> tuple[Cell, ...]:
    ss = [score_cell(first.ss if first else None)] if both else []
    spread = [score_cell(first.spread if first else None)] if both else []
    mark = polarised_mark(row)
    return (
        name, *ss, score_cell(row.ss), *spread, score_cell(row.spread), _p(row.spread_p), _count(row.terms),
        count_cell(row.n), TextCell(mark, tone="caution"),
    )  # fmt: skip


def _subgroup_cells(name: str, now: CountedScore, was: CountedScore | None, *, both: bool) -> tuple[Cell, ...]:
    ss = [score_cell(was.ss if was else None)] if both else []
    gap = [MISSING] * (2 if both else 1)
    return (
        name_cell(f"– {name}"), *ss, score_cell(now.ss), *gap, MISSING, _count(now.terms), count_cell(now.n),
        TextCell(""),
    )  # fmt: skip


def _test_cells(row: StereoSetScores, width: int, *, both: bool) -> tuple[Cell, ...]:
    """The p-value of the subgroups having one mean."""
    before_p = [MISSING] * (4 if both else 2)
    after_p = [MISSING] * (width - len(before_p) - 3)
    return (TextCell("– difference of subgroups"), *before_p, _p(row.subgroups_p), *after_p, TextCell(""))


# --- cells -----------------------------------------------------------------------------------------------------------


def _columns(label: str, with_before: bool, priority: int = USUAL) -> list[Column]:
    if not with_before:
        return [Column(label, priority=min(priority, USUAL))]
    return [Column(f"{label} before", priority=EXTRA), Column(f"{label} after", priority=priority)]


def _difference(change: MeanChange | None, digits: int = NATS) -> list[Cell]:
    if change is None:
        return [MISSING, MISSING]
    return [score_cell(change.difference, digits, signed=True), _p(change.p)]


def _p(p: float | None) -> Cell:
    return MISSING if p is None else NumberCell(p, text=p_value(p))


def _count(count: int | None) -> Cell:
    return MISSING if count is None else count_cell(count)


def _share(found: Interval | None) -> Cell:
    if found is None:
        return MISSING
    low, high = (number(100 * end, 0) for end in (found.low, found.high))
    return NumberCell(found.value, text=f"{number(100 * found.value, 0)} %", small=f"{low} to {high}")


def _percent(found: Interval) -> str:
    low, high = (number(100 * end, 0) for end in (found.low, found.high))
    return f"{number(100 * found.value, 0)} %, {low} to {high},"
