"""Parquet -> rows, within limits: a file of a few hundred kilobytes may say that it holds gigabytes."""

from collections.abc import Sequence
from typing import Any

from biasunlearn.data.files import MAX_BYTES
from biasunlearn.data.rows import Columns, Place, Rows, check_columns
from biasunlearn.errors import RequestError

MAX_VALUES = 200_000_000
"""Most values of a file, over all of its columns."""

ROWS_AT_ONCE = 1024


def parquet_rows(path: str, raw: bytes, columns: Columns) -> Rows:
    """The rows of a Parquet file.

    Raises:
        RequestError: not a Parquet file; lacks columns; more than `MAX_VALUES` values; its texts take more than
            `MAX_BYTES`.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.BufferReader(raw) as buffer:
            names = pyarrow.parquet.read_schema(buffer).names
        check_columns(path, names, columns)
        # Repeated texts stay stored once until they are counted.
        stored = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(raw), read_dictionary=_texts(raw))
        _refuse_many(path, stored.metadata)
        number = size = 0
        for batch in stored.iter_batches(batch_size=ROWS_AT_ONCE):
            size += sum(map(_bytes_of, batch.columns))
            if size > MAX_BYTES:
                raise RequestError(
                    f"{path}: its texts take more than {MAX_BYTES / 2**30:g} GiB once they are unpacked; divide it "
                    "into smaller files"
                )
            for row in batch.to_pylist():
                number += 1
                yield Place(f"{path}: row {number}", number), row
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{path}: not a Parquet file that can be read: {_first_line(error)}") from None


def _texts(raw: bytes) -> Sequence[str]:
    """Columns of text, whose values can be read as numbers into a list of distinct texts."""
    import pyarrow
    import pyarrow.parquet

    kinds = pyarrow.types
    schema = pyarrow.parquet.read_schema(pyarrow.BufferReader(raw))
    return [field.name for field in schema if kinds.is_string(field.type) or kinds.is_binary(field.type)]


def _refuse_many(path: str, metadata: Any) -> None:
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    values = sum(group.column(place).num_values for group in groups for place in range(group.num_columns))
    if values > MAX_VALUES:
        raise RequestError(f"{path}: holds {values:,} values, more than {MAX_VALUES:,}; divide it into smaller files")


def _bytes_of(column: Any) -> int:
    """Bytes that a column takes as Python texts."""
    import pyarrow
    import pyarrow.compute

    if not pyarrow.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = pyarrow.compute.binary_length(column.dictionary)
    return int(pyarrow.compute.sum(lengths.take(column.indices)).as_py() or 0)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
