"""Tables on the terminal: at every width each number is whole, or its column is left out and named."""

import io
import re

import pytest
from rich.console import Console

from biasunlearn.report.table import (
    ALWAYS,
    EXTRA,
    LAST,
    Column,
    Line,
    NumberCell,
    Part,
    Row,
    StripCell,
    Table,
    TextCell,
    count_cell,
    name_cell,
    rows_of,
    score_cell,
)  # fmt: skip
from biasunlearn.report.terminal.table import fit, printed
from biasunlearn.runs.scores import Interval, estimate_of
from tests.report import made_results

WIDTHS = (60, 80, 120, 200)
NUMBER = re.compile(r"[-+<]?\d[\d,]*(?:\.\d+)?")


def on_terminal(parts: list[Part], width: int) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(printed(parts))
    return console.export_text()


def interval(value: float) -> Interval:
    return Interval(value=value, low=value - 1.25, high=value + 1.25)


def table(columns: int, *, label: str = "score") -> Table:
    """A column of names, and columns of which the later ones are less important."""
    heads = [Column("bias type", "text", ALWAYS)]
    heads += [Column(f"{label} {n}", priority=ALWAYS if n == 0 else EXTRA + (n > 2)) for n in range(columns)]
    scores = [score_cell(interval(50.0 + n)) for n in range(columns)]
    rows = [[name_cell(name), *scores] for name in ("age", "religion")]
    return Table("A table", tuple(heads), rows_of(rows))


KINDS = made_results.parts()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_number_is_whole_or_its_column_is_named(kind: str, width: int) -> None:
    for part in KINDS[kind]:
        if not isinstance(part, Table):
            continue
        shown = on_terminal([part], width)
        assert "\u2026" not in shown
        assert all(len(line) <= width for line in shown.splitlines()), shown
        layout = fit(part, width)
        printed_numbers = NUMBER.findall(shown)
        wide = on_terminal([part], 500)
        assert "not shown" not in wide
        if len(layout.shown) == sum(column.kind != "picture" for column in part.columns):
            assert sorted(NUMBER.findall(wide)) == sorted(printed_numbers), shown
            assert "not shown" not in shown
        else:
            named = " ".join(shown.split("not shown at")[1].split())
            left_out = [c.label for n, c in enumerate(part.columns) if n not in layout.shown and c.kind != "picture"]
            assert left_out and all(label in named for label in left_out) and f"{width} columns" in named
            kept = Table(part.title, tuple(part.columns[n] for n in layout.shown),
                         rows_of([row.cells[n] for n in layout.shown] for row in part.rows),
                         part.total and Row(tuple(part.total.cells[n] for n in layout.shown)))  # fmt: skip
            rest = NUMBER.findall(shown.split("not shown at")[0])
            assert sorted(NUMBER.findall(on_terminal([kept], 500))) == sorted(rest), shown


def test_intervals_move_below_their_values_before_a_column_is_left_out() -> None:
    # Names of 8, six columns of "50.0 (48.8-51.2)" (16), gaps of 2: 8 + 6 * 18 = 116. In two lines: 8 + 6 * 13 = 86.
    wide, narrow = fit(table(6), 116), fit(table(6), 115)
    assert not wide.stacked and wide.widths == (8, 16, 16, 16, 16, 16, 16)
    assert narrow.stacked and len(narrow.shown) == 7
    assert len(fit(table(6), 86).shown) == 7 and len(fit(table(6), 85).shown) == 6
    assert "50.0 (48.8-51.2)" in on_terminal([table(6)], 116)
    lines = on_terminal([table(6)], 86).splitlines()
    assert any("50.0" in line and "(48.8-51.2)" in after for line, after in zip(lines, lines[1:], strict=False))


def test_the_least_important_columns_go_first_and_the_first_column_stays() -> None:
    # Scores 3 to 5 have the largest number, scores 1 and 2 a smaller one: they go from the right, 13 columns each.
    assert fit(table(6), 60).shown == (0, 1, 2, 3, 4)
    assert fit(table(6), 59).shown == (0, 1, 2, 3)
    assert fit(table(6), 24).shown == (0, 1)
    assert fit(table(6), 5).shown == (0,)
    words = " ".join(on_terminal([table(6)], 24).split())
    assert "not shown at 24 columns: score 1, score 2, score 3" in words


def test_pictures_are_for_pages_only() -> None:
    columns = (Column("bias type", "text"), Column("a picture", "picture"), Column("SS"))
    made = Table("t", columns, rows_of([[TextCell("age"), StripCell(estimate_of(50.0)), NumberCell(50.0)]]))
    for width in (20, 200):
        assert "picture" not in on_terminal([made], width) and "50.0" in on_terminal([made], width)


def test_names_of_others_cannot_steer_the_terminal() -> None:
    name = "\x1b[31mred\x07\r\nnext \u202eline"
    columns = (Column(name, "text", is_name=True), Column("b"))
    shown = on_terminal([Table(name, columns, rows_of([[name_cell(name), count_cell(1)]]))], 80)
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(shown)
    assert "\ufffd[31mred\ufffd next line" in shown  # one row
    assert "[red]" in on_terminal([Line("[red]not markup[/red]")], 80)


def test_a_row_has_as_many_cells_as_there_are_columns() -> None:
    with pytest.raises(ValueError, match="1 cells in a row, 2 columns"):
        Table("t", (Column("a"), Column("b")), rows_of([[count_cell(1)]]))


def test_warnings_and_notes_stand_below_the_table() -> None:
    rows = rows_of([[count_cell(12_345)]])
    made = Table("t", (Column("a", priority=LAST),), rows, warnings=("Careful.",), notes=("N.",))
    lines = [line.strip() for line in on_terminal([made], 80).splitlines()]
    assert lines == ["t", "a", "\u2500" * 6, "12,345", "Careful.", "N."]
