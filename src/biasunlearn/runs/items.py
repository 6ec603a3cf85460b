"""items.parquet: one row for every scored sentence, by stage."""

from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

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


def read_items(path: Path) -> dict[str, list[Item]]:
    """items.parquet back into items, by stage ("" where there is only one).

    Raises:
        RequestError: it is no Parquet file, a column is missing or of another type, a value is missing or not finite.
    """
    import pyarrow.parquet

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
        return table.column(name).to_pylist() if name in table.column_names else [default] * table.num_rows

    columns = [column(field.name, field.default) for field in fields(Item)]  # whole columns: rows are slow
    labels = column("stage", "")
    stages: dict[str, list[Item]] = {}
    for label, values in zip(labels, zip(*columns, strict=True), strict=True):
        stages.setdefault(label or "", []).append(Item(*values))
    return stages


def _check_columns(table: Any, path: Path) -> None:
    """RequestError for a column of another type, and for the first row without a value or with a score that is none."""
    from pyarrow import compute, types

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
        usable = compute.less_equal(compute.abs(table.column(name).cast("float64")), LARGEST)  # also false for nan
        if not compute.all(usable).as_py():
            row = usable.to_pylist().index(False)
            score = table.column(name)[row].as_py()
            raise RequestError(f"{path}: row {row + 1}: {name} is {score}; must be a finite number; {FIX}")
