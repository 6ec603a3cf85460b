"""Rows of text files: JSON lines, CSV and TSV, read through .gz -> records, every wrong row named.

A wrong row is named by file, line, field and mend. Either it is an error, or it is dropped, counted and listed.
"""

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from biasunlearn.errors import DataError, RequestError

Row = dict[str, Any]
Record = TypeVar("Record")
Source = Iterable[tuple[str, Callable[[], Row]]]
"""Where each row stands, as `file:line`, and the row; asking for a row that cannot be read raises BadRow."""


class BadRow(Exception):
    """A row that cannot be used: field, what is wrong, mend."""


@dataclass(frozen=True, slots=True)
class Table(Generic[Record]):
    """What was read: the records, and every row that was not, with its reason."""

    path: str
    records: tuple[Record, ...]
    skipped: tuple[str, ...]
    sha256: str

    @property
    def facts(self) -> dict[str, Any]:
        """What an entry of results.json says about its data."""
        return data_facts(self.path, self.sha256, self.skipped)


def data_facts(path: str, sha256: str, skipped: Sequence[str]) -> dict[str, Any]:
    """{"data", "sha256", "skipped", "skipped_rows"}"""
    return {"data": path, "sha256": sha256, "skipped": len(skipped), "skipped_rows": list(skipped)}


def read_table(
    path: str, files: Sequence[Path], source: Source, build: Callable[[Row, str], Record], *, skip_invalid: bool
) -> Table[Record]:
    """Builds a record of every row; `files` are what the rows come from, for the hash.

    Raises:
        DataError: some rows are wrong and `skip_invalid` is off; holds all of them.
        RequestError: no row is usable, or a file cannot be read.
    """
    records: list[Record] = []
    problems: list[str] = []
    for where, row in source:
        try:
            records.append(build(row(), where))
        except BadRow as problem:
            problems.append(f"{where}: {problem}")
    if problems and not skip_invalid:
        raise DataError(problems)
    if not records:
        raise RequestError(f"{path}: no usable rows ({len(problems)} wrong ones)")
    return Table(path, tuple(records), tuple(problems), file_hash(files))


def json_rows(path: Path) -> Iterator[tuple[str, Callable[[], Row]]]:
    """One object a line; empty lines do not count."""
    for number, line in enumerate(read_text(str(path)).splitlines(), 1):
        if line.strip():
            yield f"{path}:{number}", partial(_object, line)


def csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, Callable[[], Row]]]:
    """Rows under a header that must have these columns. A tab in the header means tabs and no quoting rules.

    Raises:
        RequestError: a column is missing.
    """
    text = read_text(str(path))
    tabs = "\t" in text.partition("\n")[0]
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else csv.reader(lines)
    header = [name.strip() for name in next(reader, [])]
    if missing := [name for name in columns if name not in header]:
        has = ", ".join(filter(None, header)) or "none"
        raise RequestError(f"{path}: needs the columns {', '.join(columns)}; lacks {', '.join(missing)}, has {has}")
    line = reader.line_num + 1  # a quoted field may hold line ends, so a row starts after where the one before it ended
    for cells in reader:
        if cells:
            yield f"{path}:{line}", partial(_under, header, cells)
        line = reader.line_num + 1


def text_of(row: Mapping[str, Any], name: str) -> str:
    """A field that must hold text, without the white space around it. BadRow otherwise."""
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise BadRow(f"field {name}: {'missing' if value is None else 'empty or not a text'}; fill it in")
    return value.strip()


def one_of(row: Mapping[str, Any], name: str, known: Sequence[str]) -> str:
    """A field that must hold one of these words, in any letter case. BadRow otherwise."""
    value = text_of(row, name).casefold()
    if value not in known:
        raise BadRow(f"field {name}: {row[name]!r}; must be one of {', '.join(known)}")
    return value


def read_text(path: str) -> str:
    """A UTF-8 file, or a gzipped one, as text. RequestError where it cannot be read."""
    try:
        raw = Path(path).read_bytes()
        return (gzip.decompress(raw) if path.endswith(".gz") else raw).decode("utf-8-sig")
    except FileNotFoundError:
        raise RequestError(f"{path}: no such file") from None
    except (OSError, EOFError) as error:
        raise RequestError(f"{path}: cannot be read: {error}") from None
    except UnicodeDecodeError as error:
        raise RequestError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None


def file_hash(files: Sequence[Path]) -> str:
    """SHA-256 of the files' bytes, one after the other."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _object(line: str) -> Row:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise BadRow(f"not JSON: {error.msg}; one object per line") from None
    if not isinstance(row, dict):
        raise BadRow(f"must be an object, is {type(row).__name__}; one object per line")
    return row


def _under(header: Sequence[str], cells: Sequence[str]) -> Row:
    if len(cells) != len(header):
        raise BadRow(f"{len(cells)} fields where the header has {len(header)}; a column is missing or shifted")
    return dict(zip(header, cells, strict=True))
