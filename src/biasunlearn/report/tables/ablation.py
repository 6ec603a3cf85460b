"""An ablation: variants of the method without one of its parts, beside the table of the paper."""

from collections.abc import Mapping

from biasunlearn.report.table import (
    ALWAYS,
    EXTRA,
    LAST,
    Cell,
    Column,
    Line,
    NumberCell,
    Part,
    Table,
    TextCell,
    rows_of,
)  # fmt: skip
from biasunlearn.runs.series import AblatedVariant, Ablation

MEANS: Mapping[str, tuple[str, int]] = {
    "ss_before": ("SS before", LAST), "ss": ("SS", ALWAYS), "distance": ("mean |SS − 50|", 2),
    "lms": ("change of LMS", ALWAYS), "last_ss": ("SS, last evaluation", EXTRA),
    "last_lms": ("change of LMS, last evaluation", EXTRA),
}  # fmt: skip
"""Key of a mean over seeds -> heading, priority."""

NOTE = (
    "SS, mean |SS − 50| and change of LMS: the checkpoint that was kept, on the report file. Last evaluation: on the "
    "stop split, when training ended. Paper: Table 5, on StereoSet's development split, on which it also stops; with "
    "all parts, LMS changes by 0.2 to 1.42."
)


def ablation_tables(ablation: Ablation) -> list[Part]:
    """The measured means beside those of the paper, and whether they agree."""
    columns = (
        Column("variant", "text", ALWAYS), *(Column(label, priority=priority) for label, priority in MEANS.values()),
        Column("steps", priority=LAST), Column("SS in the paper"), Column("change of LMS in the paper"),
    )  # fmt: skip
    rows = [[TextCell(name), *_cells(row)] for name, row in ablation.variants.items()]
    seeds = len(ablation.seeds)
    table = Table(f"Ablation, mean of {seeds} seed{'s' if seeds > 1 else ''}", columns, rows_of(rows), notes=(NOTE,))
    return [table, *(Line(f"{name}: {row.verdict}") for name, row in ablation.variants.items() if row.verdict)]


def _cells(row: AblatedVariant) -> list[Cell]:
    means = [NumberCell(row.mean.get(key), 2, signed=key.endswith("lms")) for key in MEANS]
    collapsed = f"{row.collapsed} collapsed" if row.collapsed else ""
    paper = [NumberCell(row.paper.get("ss"), 2), NumberCell(row.paper.get("lms"), 2, signed=True)]
    return [*means, NumberCell(row.mean.get("steps"), 0, small=collapsed), *paper]
