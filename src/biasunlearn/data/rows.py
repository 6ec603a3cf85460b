"""A row of a table: its place, why it cannot be used, and its fields as checked text.

Nothing here knows a file format (delimited.py, tables.py) or what a row means (readers.py, the benchmarks).
"""

import numbers
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from biasunlearn.data.normal_text import is_blank
from biasunlearn.errors import RequestError

Row = Mapping[str, Any]

LONGEST_SHOWN = 60
"""Characters of a value that a message shows."""

LARGEST_ID = 2**63
"""Whole numbers of this size and larger are no ids: a table of numbers cannot hold them."""

MISSING_AS_TEXT = frozenset(("nan", "NaN", "None", "null", "NULL", "<NA>", "NaT"))
"""How a missing value looks when a program wrote it as text."""

_SURROGATE = re.compile("[\ud800-\udfff]")


class BadRow(Exception):
    """A row that cannot be used. The text names the field, what is wrong and the fix."""


class Place(NamedTuple):
    """The place of a row: `text` for messages ("pairs.csv:12"), and its number within the file."""

    text: str
    number: int

    def __str__(self) -> str:
        return self.text


Rows = Iterator[tuple[Place, Row | BadRow]]
"""Rows with their places; a row that cannot be read at all is the reason for it."""

Columns = Sequence[Sequence[str]]
"""Sets of column names. A table must have all columns of at least one of them; empty: any columns will do."""


def check_columns(path: str, names: Iterable[str], columns: Columns, hint: str = "") -> None:
    """RequestError where a name occurs twice, or none of the sets of `columns` is complete among the names.

    Args:
        hint: what the table looks like instead, appended to the message.
    """
    names = list(names)
    seen: set[str] = set()
    for name in filter(None, names):  # an index column that pandas wrote has no name
        if name in seen:
            raise RequestError(f"{path}: the column {name!r} occurs twice in the header; rename or remove one of them")
        seen.add(name)
    if not columns or any(seen.issuperset(group) for group in columns):
        return
    needed = " (or ".join(", ".join(group) for group in columns) + ")" * (len(columns) > 1)
    missing = ", ".join(name for name in columns[0] if name not in seen)
    if any({name.casefold() for name in seen}.issuperset(group) for group in columns):
        hint = "; the letter case of the names counts"
    has = shown(", ".join(sorted(seen)) or "none", quotes=False)
    raise RequestError(f"{path}: needs the columns {needed}; lacks {missing}, has {has}{hint}")


def text_of(row: Row, name: str) -> str:
    """A field that must hold text, without the white space around it.

    Raises:
        BadRow: it is missing, empty, not a text, or a text that cannot be used (see `optional_text`).
    """
    value = optional_text(row, name)
    if not value:
        raise BadRow(f"field {name}: {'missing' if is_missing(row.get(name)) else 'empty'}; fill it in")
    return value


def optional_text(row: Row, name: str) -> str:
    """A field that may hold text, without the white space around it; "" where it is missing or empty.

    Raises:
        BadRow: not a text (a number, a list, ...); a text with a NUL character or half of a surrogate pair, which no
            tokenizer takes; a missing value that was written as the word "nan" or "None".
    """
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        if is_missing(value):
            return ""
        raise BadRow(f"field {name}: must be a text, is {kind_of(value)} ({shown(value)}); write it as text")
    if "\0" in value:
        raise BadRow(f"field {name}: holds a NUL character (code 0); remove it")
    if not value.isascii() and (half := _SURROGATE.search(value)):
        raise BadRow(
            f"field {name}: holds half of a character (the surrogate \\u{ord(half.group()):x}), as a text that was cut "
            "inside an emoji; remove it"
        )
    text = value.strip()
    if text in MISSING_AS_TEXT:
        raise BadRow(f"field {name}: the word {text!r}, as a program writes a missing value; leave the field empty")
    return text if text.isascii() or not is_blank(text) else ""


def identifier(row: Row, name: str = "id") -> str:
    """An id as text: a text, or a whole number (3 or 3.0, as pandas stores it); "" where it is missing. BadRow else."""
    value = row.get(name)
    if value is None or isinstance(value, str):
        return optional_text(row, name)
    if isinstance(value, bool):
        return optional_text(row, name)
    whole = None
    if isinstance(value, numbers.Integral):
        whole = int(value)
    elif isinstance(value, numbers.Real) and float(value).is_integer():
        whole = int(float(value))
    return str(whole) if whole is not None and abs(whole) < LARGEST_ID else optional_text(row, name)


def one_of(row: Row, name: str, known: Sequence[str]) -> str:
    """A field that must hold one of these words, in any letter case. BadRow otherwise."""
    value = text_of(row, name).casefold()
    if value not in known:
        raise BadRow(f"field {name}: {shown(row[name])}; must be one of {', '.join(known)}")
    return value


def is_missing(value: Any) -> bool:
    """None, and NaN in all its forms (float, NumPy, pandas.NA, pandas.NaT)."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, str | list | dict | tuple | set):
        return False
    try:
        return bool(value != value)  # only NaN is not equal to itself
    except (TypeError, ValueError):  # an array
        return False


def shown(value: Any, *, quotes: bool = True) -> str:
    """A value for a message, cut to `LONGEST_SHOWN` characters."""
    text = repr(value) if quotes else str(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def kind_of(value: Any) -> str:
    """What a value is, in words."""
    kinds = ((bool, "true or false"), (numbers.Number, "a number"), (list | tuple, "a list"), (Mapping, "an object"))
    return next((name for kind, name in kinds if isinstance(value, kind)), type(value).__name__)

