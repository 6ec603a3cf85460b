"""A disentanglement: SS of every bias type after training on each of them alone, or on all others."""

from biasunlearn.report.table import (
    ALWAYS,
    Cell,
    Column,
    Part,
    Row,
    Table,
    TextCell,
    name_cell,
    score_cell,
)  # fmt: skip
from biasunlearn.runs.scores import Metric
from biasunlearn.runs.series import Disentanglement


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
    return [Table(f"SS by bias type (ideal 50), {intervals}", columns, tuple(rows), notes=(note,))]


def _cell(ss: Metric | None, trained: bool) -> Cell:
    return score_cell(ss, tone="strong" if trained else "")
