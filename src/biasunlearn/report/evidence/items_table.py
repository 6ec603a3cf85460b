"""The scored sentences of a run as CSV, safe to open in a spreadsheet."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from biasunlearn.report.formatting import clean
from biasunlearn.stats.stereoset import Item

FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
"""Spreadsheets take a text that begins with one of these, except the last, for a formula. An apostrophe is put
before it. A text that begins with an apostrophe gets one more, so that taking one away restores every text."""


def items_csv(stages: Mapping[str, Sequence[Item]]) -> str:
    """One row for each scored sentence, with the stage in front. Numbers are written as they are."""
    names = [field.name for field in fields(Item)]
    written = io.StringIO()
    rows = csv.writer(written, lineterminator="\n")
    rows.writerow(["stage", *names])
    for stage, items in stages.items():
        for item in items:
            rows.writerow([stage, *(cell(getattr(item, name)) for name in names)])
    return written.getvalue()


def cell(value: Any) -> Any:
    """A value that is shown as it is. By hand: "=1+1" -> "'=1+1"; -1.5 -> -1.5; None -> ""."""
    if not isinstance(value, str):
        return "" if value is None else value
    text = clean(value)
    return f"'{text}" if text.startswith(FORMULA) else text
