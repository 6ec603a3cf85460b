"""The table in which people label answers: a CSV file for a spreadsheet, and the same file filled in.

The answers come from models and the questions from data files of others. A cell that a spreadsheet would run as a
formula begins with an apostrophe in the file.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from biasunlearn.data.rows import Place, Row, optional_text, text_of
from biasunlearn.data.tables import Table, read_table

COLUMNS = ("id", "benchmark", "question", "answer", "choices", "label", "comment")

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""A cell that begins so is taken for a formula, or is split, by some spreadsheets."""


@dataclass(frozen=True, slots=True)
class AnswerToLabel:
    """One answer as people see it: neither a verdict nor the model that gave it."""

    id: str
    benchmark: str
    question: str
    answer: str
    choices: str


@dataclass(frozen=True, slots=True)
class GivenLabel:
    """What was written into the column `label` of an answer; "" where nothing was."""

    id: str
    label: str
    place: str


def write_label_table(path: Path, answers: Iterable[AnswerToLabel]) -> None:
    """Writes the table, with empty columns `label` and `comment`."""
    with path.open("w", encoding="utf-8-sig", newline="") as handle:  # the mark tells a spreadsheet the encoding
        writer = csv.writer(handle)
        writer.writerow(COLUMNS)
        for one in answers:
            cells = (one.id, one.benchmark, one.question, one.answer, one.choices)
            writer.writerow([*map(spreadsheet_text, cells), "", ""])


def spreadsheet_text(text: str) -> str:
    """A text that no spreadsheet runs as a formula. By hand: "=1+1" -> "'=1+1"."""
    plain = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return f"'{plain}" if plain.startswith(FORMULA) or plain.lstrip().startswith(FORMULA) else plain


def read_label_table(path: str) -> Table[GivenLabel]:
    """The labels of a table that people filled in. Raises as `data.tables.read_table`."""
    return read_table(path, _given, columns=(("id", "label"),), key=lambda one: one.id)


def _given(row: Row, place: Place) -> GivenLabel:
    return GivenLabel(text_of(row, "id"), optional_text(row, "label"), str(place))
