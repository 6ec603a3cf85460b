"""The table that people label: no cell that a spreadsheet runs, and the same ids read back."""

import csv

import pytest

from biasunlearn.data.label_table import AnswerToLabel, read_label_table, spreadsheet_text, write_label_table


@pytest.mark.parametrize("text", ["=1+1", "+1", "-2", "@SUM(A1)", "\t=1", "\r=1", " =HYPERLINK(1)", "＝1", "\n-x"])
def test_no_cell_is_a_formula(text):
    assert spreadsheet_text(text) == f"'{text}"


def test_other_texts_stay_as_they_are():
    assert spreadsheet_text('He said "no", twice - so = no') == 'He said "no", twice - so = no'
    assert spreadsheet_text("a\0b") == "a\N{REPLACEMENT CHARACTER}b"


def test_a_filled_in_table_is_read_back(tmp_path):
    path = tmp_path / "to_label.csv"
    answers = [AnswerToLabel(f"id{n}", "fairmt", "Why?\nWhy, then?", text, "A. x\nB. y") for n, text in
               enumerate(('=cmd|" /C calc"!A0', "plain; with, marks", "two\nlines"))]  # fmt: skip
    write_label_table(path, answers)
    with path.open(encoding="utf-8-sig", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert rows[0]["answer"].startswith("'=cmd") and rows[2]["answer"] == "two\nlines"
    for row, label in zip(rows, ("A", "", "b"), strict=True):
        row["label"] = label
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    found = read_label_table(str(path)).records
    assert [(one.id, one.label) for one in found] == [("id0", "A"), ("id1", ""), ("id2", "b")]
