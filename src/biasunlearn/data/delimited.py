"""CSV and TSV -> rows with their lines. A row that does not fit its header is a wrong row, never a shifted one.

CSV is read with the usual quoting rules. A tab in the first line means TSV, which most publishers write without any
quoting; a TSV that was written with quotes (by pandas or a spreadsheet) is recognised, see `_is_quoted`.
"""

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Literal

from biasunlearn.data.files import lines_of
from biasunlearn.data.rows import BadRow, Columns, Place, Rows, check_columns
from biasunlearn.errors import RequestError

MAX_MISQUOTED = 50
"""Rows with wrong quotation marks before the file as a whole is refused: each costs a read of up to 131,072 characters,
in which the mark could be closed."""

_DOUBLED_MARK = re.compile(r'(?:^|\t)"(?:[^"\t\r\n]|"")*""(?:[^"\t\r\n]|"")*"(?=\t|\r|\n|\Z)', re.MULTILINE)


class _LongField(BadRow):
    """A row that follows the quoting rules, with a field that is longer than the csv module reads."""


def delimited_rows(path: str, text: str, columns: Columns) -> Rows:
    """The rows below the header of a CSV or TSV text.

    Args:
        path: for messages and places.
        columns: those that the header must have.
    Raises:
        RequestError: a column is missing or occurs twice; more than `MAX_MISQUOTED` rows have wrong quotation marks.
    """
    tabs = "\t" in next(lines_of(text), "")
    quoted = not tabs or _is_quoted(text)
    rows = _cells(path, text, "\t" if tabs else ",", quoted)
    _, first = next(rows, (0, []))
    if isinstance(first, BadRow):
        raise RequestError(f"{path}:1: {first}")
    header = [name.strip() for name in first]
    check_columns(path, header, columns, hint=_other_delimiter(header))
    return _under(path, header, rows)


def _under(path: str, header: Sequence[str], rows: Iterator[tuple[int, list[str] | BadRow]]) -> Rows:
    width = len(header)
    for line, cells in rows:
        place = tuple.__new__(Place, (f"{path}:{line}", line))  # half of the time of `Place(...)`, for every row
        if isinstance(cells, BadRow):
            yield place, cells
        elif len(cells) != width:
            yield place, BadRow(_width_problem(len(cells), width))
        else:
            yield place, dict(zip(header, cells, strict=True))


def _cells(path: str, text: str, delimiter: str, quoted: bool) -> Iterator[tuple[int, list[str] | BadRow]]:
    """(line on which a row begins, its fields) of every row that is not blank.

    A quotation mark that is never closed swallows the rest of the file: its row is a wrong one, and reading goes on
    with the next line, as it does behind a field that is too long.
    """
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    offset, first, misquoted = 0, 1, 0
    while True:
        reader = csv.reader(lines_of(text, offset), delimiter=delimiter, quoting=quoting, strict=True)
        read = 0  # lines of the rows before this one
        try:
            for cells in reader:
                if cells and (len(cells) > 1 or cells[0].strip()):
                    yield first + read, cells
                read = reader.line_num
            return
        except csv.Error as error:
            offset += sum(map(len, itertools.islice(lines_of(text, offset), read)))
            line = next(lines_of(text, offset))
            problem = _long_field(line, delimiter, quoted) or BadRow(_quoting_problem(str(error)))
            yield first + read, problem
        misquoted += not isinstance(problem, _LongField)
        if misquoted > MAX_MISQUOTED:
            raise RequestError(
                f"{path}:{first + read}: more than {MAX_MISQUOTED} rows have wrong quotation marks; write the file "
                "again with CSV quoting, or separate it by tabs"
            )
        offset += len(line)
        first += read + 1


def _long_field(line: str, delimiter: str, quoted: bool) -> _LongField | None:
    """Why a row on a single line cannot be read if one of its fields is too long; None if that is not the reason.

    Where a field goes on behind its line, nothing tells a long one from a quotation mark that is not closed: a mark
    that closes it may belong to another row.
    """
    most = csv.field_size_limit()
    line = line.rstrip("\r\n")
    if len(line) <= most:
        return None
    field = re.compile(rf'"(?:[^"]|"")*+"|(?!")[^{delimiter}]*+' if quoted else f"[^{delimiter}]*+")
    lengths: list[int] = []
    end = -1
    while end < len(line):
        found = field.match(line, end + 1)
        if found is None or line[found.end() : found.end() + 1] not in ("", delimiter):
            return None
        value, end = found.group(), found.end()
        lengths.append(len(value[1:-1].replace('""', '"') if quoted and value[:1] == '"' else value))
    longest = max(lengths)
    if longest <= most:
        return None
    return _LongField(
        f"field {lengths.index(longest) + 1} of this row has {longest:,} characters, and a field of a CSV or TSV file "
        f"may have {most:,}; shorten it, or write the rows as .jsonl"
    )


def _width_problem(fields: int, columns: int) -> str:
    fix = (
        "put a sentence that contains the delimiter between quotation marks"
        if fields > columns
        else "a column is missing; leave its field empty, but keep the delimiter"
    )
    return f"{fields} fields where the header has {columns}; {fix}"


def _quoting_problem(error: str) -> str:
    if "field limit" in error or "unexpected end" in error:
        return (
            f"a field that begins here does not end within {csv.field_size_limit():,} characters: a quotation mark is "
            "not closed; close it, or write marks that belong to the text twice between quotation marks"
        )
    return (
        f"a quotation mark inside a quoted field ({error}); write marks that belong to the text twice, and the whole "
        "field between quotation marks"
    )


def _is_quoted(text: str) -> bool:
    """Was this TSV written with quoting rules? Only where that explains the whole file, and something speaks for it.

    Every field that begins with a quotation mark must also end with one; and a field holds doubled marks, or the whole
    header is quoted, or a quoted field holds a tab or a line end. Else marks belong to the text, as in
    `"Hello," he said.`
    """
    if '"' not in text:
        return False
    counts = set()
    for number, (_, cells) in enumerate(_cells("", text, "\t", quoted=True)):
        if isinstance(cells, _LongField) and number:  # its marks are right
            continue
        if isinstance(cells, BadRow):
            return False
        if number == 0:
            width = len(cells)
        counts.add(len(cells))
    if counts != {width}:
        return False
    head = next(lines_of(text)).strip("\r\n").split("\t")
    if all(len(name) > 1 and name[0] == name[-1] == '"' for name in head):
        return True
    if _DOUBLED_MARK.search(text):
        return True
    return any(line.count("\t") + 1 != width for line in lines_of(text) if line.strip())


def _other_delimiter(header: Sequence[str]) -> str:
    """What a header of one column looks like instead."""
    if header and header[0].lower().startswith("sep="):
        return "; its first line tells a spreadsheet the delimiter: remove that line, and separate by commas or tabs"
    for sign, name in ((";", "semicolons"), ("|", "vertical bars")):
        if len(header) == 1 and sign in header[0]:
            return f"; it looks separated by {name}: save it separated by commas or tabs"
    return ""
