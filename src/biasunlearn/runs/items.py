"""items.parquet: one row for every scored sentence, by stage."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from itertools import compress
from pathlib import Path
from sys import intern
from typing import Any

import numpy as np

from biasunlearn.errors import RequestError
from biasunlearn.runs.atomic import whole_file
from biasunlearn.runs.schema import FIX, LARGEST
from biasunlearn.stats.stereoset import Item

ITEMS = "items.parquet"


def write_items(path: Path, stages: dict[str, list[Item]]) -> None:
    """One row per scored sentence; with more than one stage, a `stage` column tells them apart."""
    import pyarrow
    import pyarrow.parquet

    rows = [item for items in stages.values() for item in items]
    columns = {field.name: [getattr(item, field.name) for item in rows] for field in fields(Item)}
    for field in fields(Item):
        if field.default is None and all(value is None for value in columns[field.name]):
            del columns[field.name]
    if any(stages):
        columns["stage"] = [stage or None for stage, items in stages.items() for _ in items]
    with whole_file(path) as temporary:
        pyarrow.parquet.write_table(pyarrow.table(columns), temporary)


Columns = dict[str, tuple[Any, list[Any]]]
"""Name -> a column of a file, and its values."""

Keep = Callable[[str, str, str], bool]
"""Whether the items of a stage, a benchmark and a role are needed."""


def read_items(
    path: Path, known: Columns | None = None, keep: Keep | None = None
) -> dict[str, list[Item]]:
    """items.parquet back into items, by stage ("" where there is only one).

    Args:
        known: the columns of the file that was read before, and afterwards those of this one. Runs on the same data
            have the same texts in the same order, of which all items then share one copy.
        keep: which items are needed; None: all of them. All rows are checked in any case.
    Raises:
        RequestError: it is no Parquet file, a column is missing or of another type, a value is missing or not finite.
    """
    import pyarrow.parquet

    known = {} if known is None else known
    try:
        table = pyarrow.parquet.read_table(path)
        table.validate(full=True)  # a text that is no UTF-8 would only be found when it is used
    except Exception as error:
        raise RequestError(f"{path}: not our items: {str(error).splitlines()[0]}") from None
    if not table.num_rows:  # a run whose benchmarks have no items
        return {}
    needed = {field.name for field in fields(Item) if field.default is MISSING}
    missing = sorted(needed - set(table.column_names))
    if missing:
        raise RequestError(f"{path}: not our items: the columns {', '.join(missing)} are missing")
    _check_columns(table, path)

    def column(name: str, default: Any) -> list[Any]:  # older runs have fewer
        if name not in table.column_names:
            return [default] * table.num_rows
        stored = table.column(name)
        if name not in known or not stored.equals(known[name][0]):
            known[name] = stored, _values(stored)
        return known[name][1]

    columns = {field.name: column(field.name, field.default) for field in fields(Item)}
    labels = column("stage", "")
    if keep is not None:
        rows = _wanted(labels, columns, keep)
        columns = {name: list(compress(values, rows)) for name, values in columns.items()}
        labels = list(compress(labels, rows))
    stages: dict[str, list[Item]] = {}
    for label, item in zip(labels, _items(columns, len(labels)), strict=True):
        stages.setdefault(label or "", []).append(item)
    return stages


def _wanted(labels: Sequence[Any], columns: Mapping[str, Sequence[Any]], keep: Keep) -> list[bool]:
    """Whether each row is kept; every kind of rows is asked about once."""
    kinds = list(zip([label or "" for label in labels], columns["benchmark"], columns["role"], strict=True))
    found = {kind: keep(*kind) for kind in set(kinds)}
    return [found[kind] for kind in kinds]


def _items(columns: Mapping[str, Sequence[Any]], count: int) -> list[Item]:
    """Items of whole columns, a field of all of them at a time. To make them one by one would take three times as long:
    a frozen dataclass sets each field by a call of its own."""
    made = [object.__new__(Item) for _ in range(count)]
    for name, values in columns.items():
        deque(map(getattr(Item, name).__set__, made, values), maxlen=0)
    return made


def _values(column: Any) -> list[Any]:
    """The values of a checked column, as `to_pylist` has them in ten times the time.

    Each text is one object, also among the runs of a page, whose items have the same ids.
    """
    from pyarrow import types

    kind = column.type
    found: list[Any] = []
    for chunk in column.chunks:
        if types.is_floating(kind):
            numbers = chunk.cast("float64").to_numpy(zero_copy_only=False).tolist()
            found += [None if number != number else number for number in numbers] if chunk.null_count else numbers
        elif types.is_integer(kind) and not chunk.null_count:
            found += chunk.to_numpy().tolist()
        elif (types.is_string(kind) or types.is_large_string(kind)) and not chunk.null_count:
            encoded = chunk.dictionary_encode()
            texts = [intern(text) for text in encoded.dictionary.to_pylist()]
            found += [texts[place] for place in encoded.indices.to_numpy().tolist()]
        else:
            found += chunk.to_pylist()
    return found


def _check_columns(table: Any, path: Path) -> None:
    """RequestError for a column of another type, and for the first row without a value or with a score that is none."""
    from pyarrow import types

    kinds: dict[Any, tuple[str, Callable[[Any], bool]]] = {
        str: ("text", lambda kind: types.is_string(kind) or types.is_large_string(kind)),
        float: ("numbers", types.is_floating),
        int: ("whole numbers", types.is_integer),
        float | None: ("numbers", types.is_floating),
    }
    for field in fields(Item):
        if field.name not in table.column_names:
            continue
        column, (words, fits) = table.column(field.name), kinds[field.type]
        if not fits(column.type):
            raise RequestError(f"{path}: column {field.name}: must hold {words}, holds {column.type}; {FIX}")
        if column.null_count and field.default is not None:
            row = column.is_null().to_pylist().index(True) + 1
            raise RequestError(f"{path}: row {row}: {field.name} is missing; {FIX}")
    for name in ("score", *(field.name for field in fields(Item) if field.default is None)):
        if name not in table.column_names:
            continue
        column = table.column(name)
        usable = np.abs(column.cast("float64").to_numpy()) <= LARGEST  # false for nan, and for a value that is missing
        wrong = ~usable & ~column.is_null().to_numpy()
        if wrong.any():
            row = int(wrong.argmax())
            score = column[row].as_py()
            raise RequestError(f"{path}: row {row + 1}: {name} is {score}; must be a finite number; {FIX}")
