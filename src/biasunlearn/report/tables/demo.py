"""The demonstration: the bias that its toy world was built with, beside what was measured."""

from biasunlearn.report.table import ALWAYS, Cell, Column, NumberCell, Part, Table, TextCell, rows_of, score_cell
from biasunlearn.report.tables.association import polarised_mark
from biasunlearn.report.tables.run import score_tables, verdict_lines
from biasunlearn.runs.results import Results, StereoSetScores

NOTE = "In this world every target term has the same share of stereotyped pairs, which is why the intervals before \
debiasing are narrow."


def demo_tables(results: Results) -> list[Part]:
    """The known SS beside the measured one, then the tables of any run."""
    before = results.before.stereoset if results.before else None
    after = results.benchmarks.stereoset
    if before is None or after is None or results.known_skew is None:
        return [*verdict_lines(results), *score_tables(results)]
    columns = (Column("bias type", "text", ALWAYS), Column("true SS"), Column("measured SS"), Column("SS after"))
    measured = (before.bias_types, after.bias_types)
    rows = [[TextCell(name), NumberCell(skew), *(_ss_cell(types[name]) for types in measured)]
            for name, skew in results.known_skew.items()]  # fmt: skip
    title = "SS that the toy world was built with, and what was measured"
    known = Table(title, columns, rows_of(rows), notes=(NOTE,))
    return [*verdict_lines(results), known, *score_tables(results)]


def _ss_cell(row: StereoSetScores) -> Cell:
    return score_cell(row.ss, mark=polarised_mark(row))
