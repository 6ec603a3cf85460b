"""A disentanglement: SS of every bias type after training on each of them alone, or on all others."""

from biasunlearn.report.table import (
    ALWAYS,
    Cell,
    Column,
    NumberCell,
    Part,
    Row,
    Table,
    TextCell,
    name_cell,
    rows_of,
    score_cell,
)  # fmt: skip
from biasunlearn.runs.scores import Metric
from biasunlearn.runs.series import Disentanglement, SpillOverMatrix


def disentangle_tables(found: Disentanglement) -> list[Part]:
    """A row for each run and a column for each bias type; the bias types that were trained on are in bold."""
    columns = (Column("trained on", "text", ALWAYS), *(Column(name, is_name=True) for name in found.before))
    rows = [Row((TextCell("nothing"), *(score_cell(ss) for ss in found.before.values())), ends_section=True)]
    for name, row in found.after.items():
        trained = found.trained_on[name]
        rows.append(Row((name_cell(name), *(_cell(ss, bias_type in trained) for bias_type, ss in row.items()))))
    seeds = len(found.seeds)
    intervals = f"mean of {seeds} seeds with the widest interval" if seeds > 1 else "95 % intervals"
    note = "Bold: bias types that were trained on."
    matrix = Table(f"SS by bias type (ideal 50), {intervals}", columns, tuple(rows), notes=(note,))
    parts = [
        _spill_over("Spill-over: change of SS, in points", found.spill_over, 1),
        _spill_over("Spill-over: change of the group part, in nats per token", found.spill_over_group, 3),
    ]
    return [matrix, *(part for part in parts if part)]


def _spill_over(title: str, found: SpillOverMatrix | None, digits: int) -> Table | None:
    """A row for each run and bias type that it was not trained on."""
    if found is None:
        return None
    columns = (Column("trained on", "text", ALWAYS), Column("bias type", "text", ALWAYS), Column("change"),
               Column("p"), Column("p (Holm)"))  # fmt: skip
    rows = rows_of(
        (name_cell(cell.run), name_cell(cell.bias_type), score_cell(cell.change, digits, signed=True),
         NumberCell(cell.p, 3), NumberCell(cell.p_holm, 3))
        for cell in found.cells
    )  # fmt: skip
    return Table(title, columns, rows, notes=(f"No change in any of them: p = {found.p:.3g}.",))


def _cell(ss: Metric | None, trained: bool) -> Cell:
    return score_cell(ss, tone="strong" if trained else "")
