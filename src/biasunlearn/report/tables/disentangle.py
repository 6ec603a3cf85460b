"""A disentanglement: SS of every bias type after training on each of them, or after erasing each of them."""

from collections.abc import Sequence

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
from biasunlearn.runs.erasure_matrix import ErasureCell, ErasureMatrix
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


def erasure_tables(found: ErasureMatrix) -> list[Part]:
    """A table for each score, with a row for each erased and each measured bias type."""
    columns = (Column("bias type", "text", ALWAYS), Column("SS", "number", ALWAYS), Column("pairs"),
               Column("directions erased"))  # fmt: skip
    base = rows_of(
        (name_cell(name), score_cell(found.before.get(name)), NumberCell(found.pairs[name], 0),
         NumberCell(rank, 0))
        for name, rank in found.ranks.items()
    )  # fmt: skip
    parts = (found.group,) if found.group else ()
    group = [_effects("Change of the group part, in nats per token", part, 3, found.draws) for part in parts]
    first = Table(f"Base model; states are erased behind layer {found.layer}", columns, base)
    return [
        first,
        _effects("Change of SS, in points", found.ss, 1, found.draws),
        _effects("Mean absolute change of the margins, in nats per token", found.moved, 3, found.draws),
        *group,
    ]


def _effects(title: str, cells: Sequence[ErasureCell], digits: int, draws: int) -> Table:
    """The own bias type of an erasure is in bold."""
    columns = (Column("erased", "text", ALWAYS), Column("bias type", "text", ALWAYS), Column("change"),
               Column("random erasures"), Column("p"), Column("p (Holm)"))  # fmt: skip
    rows = rows_of(
        (name_cell(cell.erased), name_cell(cell.bias_type),
         score_cell(cell.change, digits, signed=True, tone="strong" if cell.erased == cell.bias_type else ""),
         score_cell(cell.random, digits, signed=True), NumberCell(cell.p, 3), NumberCell(cell.p_holm, 3))
        for cell in cells
    )  # fmt: skip
    note = (
        f"Random erasures: the mean of {draws} of the same rank, and the interval of a further one. p: that the "
        "erasure is one of them. Bold: the erased bias type itself."
    )
    return Table(title, columns, rows, notes=(note,))
