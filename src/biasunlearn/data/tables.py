"""One reader for every table: a path, a data set of the hub, or rows in memory -> rows with their places -> records.

    .csv .tsv .jsonl .json .parquet      a file; .gz of each is read through (.ndjson is .jsonl)
    owner/name[@revision][:configuration[:split]]   a data set of the hub, where there is no such path
    [{...}, ...]                         rows in memory: a list of dicts, a DataFrame, a datasets.Dataset

A row that cannot be used is named by its place, its field and the fix. Either it is an error, or (`skip_invalid`) it is
dropped, counted and listed.
"""

import contextlib
import gc
import hashlib
import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from biasunlearn.data.delimited import delimited_rows
from biasunlearn.data.files import FileContent, hash_of, lines_of, read_file
from biasunlearn.data.parquet import parquet_rows
from biasunlearn.data.rows import BadRow, Columns, Place, Row, Rows, check_columns, kind_of
from biasunlearn.data.strict_json import BadJSON, parse_json
from biasunlearn.errors import DataError, RequestError

Record = TypeVar("Record")

Source = Any
"""str | Path, MemoryTable, Iterable[Mapping], or an object that is duck-typed as a DataFrame or a datasets.Dataset."""

FORMATS = (".jsonl", ".csv", ".tsv", ".parquet", ".json")
IN_MEMORY = "rows in memory"
"""The name of a table that was not read from a file."""

SPLITS = ("test", "validation", "dev", "train")
"""Which split of a hub data set is read where none is named: the first of these that it has."""


@dataclass(frozen=True, slots=True)
class Table(Generic[Record]):
    """What was read: the records, and every row that was not, with its reason."""

    path: str
    records: tuple[Record, ...]
    skipped: tuple[str, ...]
    sha256: str
    places: tuple[str, ...]
    """The place of each record."""

    def without(self, reasons: Mapping[int, str], *, skip_invalid: bool) -> "Table[Record]":
        """The table without some of its records, which turned out not to be usable: {number: why}.

        Raises as `read_table`.
        """
        kept, problems = leave_out(self.path, self.places, reasons, skip_invalid=skip_invalid)
        return replace(
            self, records=tuple(self.records[number] for number in kept), skipped=(*self.skipped, *problems),
            places=tuple(self.places[number] for number in kept),
        )  # fmt: skip

    @property
    def facts(self) -> dict[str, Any]:
        """What results.json stores about the data of a benchmark."""
        return data_facts(self.path, self.sha256, self.skipped)


def data_facts(path: str, sha256: str, skipped: Sequence[str]) -> dict[str, Any]:
    """{"data", "sha256", "skipped", "skipped_rows"}"""
    return {"data": path, "sha256": sha256, "skipped": len(skipped), "skipped_rows": list(skipped)}


@dataclass(frozen=True, slots=True)
class MemoryTable:
    """Rows that the caller has in memory, taken over once: a run reads them as often as it likes."""

    name: str
    """What errors and results call it, as in "the DataFrame given as train"."""
    rows: tuple[Any, ...]
    columns: tuple[str, ...] | None
    """None where rows are single objects, which may have different keys."""
    sha256: str
    """Of the rows as JSON."""
    named: bool = False
    """`name` is that of a data set, not of a variable."""

    def place(self, number: int) -> str:
        """The place of a row, counted from 1, for messages."""
        return f"{self.name}: row {number}" if self.named else f"row {number} of {self.name}"

    def __str__(self) -> str:
        return f"{self.name} ({len(self.rows)} rows, sha256 {self.sha256})"


@dataclass(frozen=True, slots=True)
class RowSet:
    """A table before its rows are made into records."""

    path: str
    rows: Rows
    sha256: str
    """Of the file's bytes; of rows in memory and of the hub, of their JSON."""


def read_table(
    source: "Source | Table[Record]",
    build: Callable[[Row, Place], Record],
    *,
    columns: Columns = (),
    skip_invalid: bool = False,
    key: Callable[[Record], Hashable] | None = None,
) -> Table[Record]:
    """Reads a table and builds a record of every row. A table that is read already is returned as it is.

    Args:
        build: makes a record of a row; raises BadRow where it cannot.
        columns: sets of columns, one of which the table must have.
        key: of a record, what no other record may have; see `table_of`.
    Raises:
        DataError: some rows are wrong and `skip_invalid` is off; holds all of them.
        RequestError: no row is usable, or the table cannot be read.
    """
    if isinstance(source, Table):
        return source
    found = read_rows(source, columns)
    return table_of(found.path, found.rows, build, found.sha256, skip_invalid=skip_invalid, key=key)


def read_files(
    path: str,
    contents: Sequence[FileContent],
    rows: Rows,
    build: Callable[[Row, Place], Record],
    *,
    skip_invalid: bool = False,
    key: Callable[[Record], Hashable] | None = None,
) -> Table[Record]:
    """The same for a benchmark of several files, or of a layout of its own: `rows` were made of `contents`."""
    return table_of(path, rows, build, hash_of(contents), skip_invalid=skip_invalid, key=key)


@contextlib.contextmanager
def collector_off() -> Iterator[None]:
    """Records hold no cycles, and the collector would look through a million of them again and again while they are
    made and used, which takes a fifth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@collector_off()
def table_of(
    path: str,
    rows: Rows,
    build: Callable[[Row, Place], Record],
    sha256: str,
    *,
    skip_invalid: bool = False,
    key: Callable[[Record], Hashable] | None = None,
) -> Table[Record]:
    """A table of rows that are read already.

    Items of a run are joined by their ids, so that of two records with the same id one would be lost. With `key`, the
    second of them is a wrong row, which names the place of the first.
    """
    records: list[Record] = []
    places: list[str] = []
    problems: list[str] = []
    taken: dict[Hashable, str] = {}
    for place, row in rows:
        try:
            if isinstance(row, BadRow):
                raise row
            record = build(row, place)
            if key is not None:
                first = taken.setdefault(key(record), place.text)
                if first is not place.text:
                    raise BadRow(
                        f"field id: the same as in {first}, so that one of the two would be lost; give every row an id "
                        "of its own, or leave the ids out"
                    )
            records.append(record)
            places.append(place.text)
        except BadRow as problem:
            problems.append(f"{place}: {problem}")
    _check(path, len(records), problems, skip_invalid)
    return Table(path, tuple(records), tuple(problems), sha256, tuple(places))


def leave_out(
    path: str, places: Sequence[str], reasons: Mapping[int, str], *, skip_invalid: bool
) -> tuple[list[int], list[str]]:
    """(numbers of the records that are left, a line for each that is not). Raises as `read_table`."""
    problems = [f"{places[number]}: {reason}" for number, reason in sorted(reasons.items())]
    kept = [number for number in range(len(places)) if number not in reasons]
    _check(path, len(kept), problems, skip_invalid)
    return kept, problems


def _check(path: str, records: int, problems: Sequence[str], skip_invalid: bool) -> None:
    if problems and not skip_invalid:
        raise DataError(list(problems))
    if not records:
        first = f"; the first is {problems[0]}" if problems else ""
        raise RequestError(f"{path}: no usable rows ({len(problems)} wrong ones{first})")


def read_rows(source: Source, columns: Columns = ()) -> RowSet:
    """The rows of any table. RequestError where it cannot be read, or lacks columns."""
    if not isinstance(source, str | Path):
        return memory_rows(source if isinstance(source, MemoryTable) else memory_table(source), columns)
    if is_hub_name(source):
        return memory_rows(memory_table(load_hub(str(source)), name=str(source)), columns)
    content = read_file(source)
    return RowSet(str(source), file_rows(content, columns), hash_of([content]))


def file_rows(content: FileContent, columns: Columns = ()) -> Rows:
    """The rows of a file, by the format that its name ends in. RequestError for a file of another format."""
    path, name = str(content.path), content.plain_name.lower()
    if name.endswith((".jsonl", ".ndjson")):
        return json_lines(path, content.text())
    if name.endswith((".csv", ".tsv")):
        return delimited_rows(path, content.text(), columns)
    if name.endswith(".parquet"):
        return parquet_rows(path, content.unpacked(), columns)
    if name.endswith(".json"):
        return json_table(path, read_json(content))
    raise RequestError(f"{path}: unknown kind of file; known: {', '.join(FORMATS)}, and .gz of each")


def json_lines(path: str, text: str) -> Rows:
    """One object a line; blank lines do not count."""
    for number, line in enumerate(lines_of(text), 1):
        if line.strip():
            yield Place(f"{path}:{number}", number), _object(line)


def read_json(content: FileContent) -> Any:
    """The value of a JSON file. RequestError, with the line, where it is none."""
    text = content.text()
    try:
        return parse_json(text)
    except BadJSON as error:
        lines = "; it looks like JSON lines, one object a line: name it .jsonl" if "Extra data" in str(error) else ""
        raise RequestError(f"{content.path}:{error.line}: {error}{lines}") from None


def is_hub_name(source: str | Path) -> bool:
    """Is this owner/name[@revision][:configuration[:split]], a data set of the hub, rather than a path?"""
    name = str(source)
    if name.count("/") != 1 or name.startswith((".", "/", "~")) or _exists(name):
        return False
    return not name.removesuffix(".gz").endswith((*FORMATS, ".txt")) and "." not in name.rpartition("/")[2]


def load_hub(name: str, configuration: str | None = None, split: str | None = None) -> Any:
    """A split of a data set of the hub, or of a local folder with a data set, through `datasets.load_dataset`.

    Args:
        name: a folder, or owner/name, which @ and a branch, tag or commit may follow; the name may end in
            :configuration and :split where these are not given.
    Raises:
        RequestError: there is no such data set, it needs a configuration or a split to be named, or the hub cannot be
            reached.
    """
    import datasets

    revision = None
    if not Path(name).is_dir():
        if configuration is None:
            name, _, rest = name.partition(":")
            configuration, _, named = rest.partition(":")
            configuration, split = configuration or None, split or named or None
        name, _, revision = name.partition("@")
    try:
        found = datasets.load_dataset(name, configuration, split=split, **({"revision": revision} if revision else {}))
    except Exception as error:  # the library raises many kinds, all of which mean the same to the user
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        which = f" ({configuration})" if configuration else ""
        if isinstance(error, ConnectionError):
            raise RequestError(
                f"{name}{which}: the hub cannot be reached, and its cache does not have this data set; give a file "
                f"instead ({reason})"
            ) from None
        raise RequestError(f"{name}: not a data set that can be loaded{which}: {reason}") from None
    if split is not None:
        return found
    usual = [known for known in SPLITS if known in found]
    if not usual and len(found) != 1:
        example = f"{name}:{configuration or 'default'}:{next(iter(found))}"
        raise RequestError(f"{name}: has the splits {', '.join(found)}; name one, as in {example}")
    return found[usual[0] if usual else next(iter(found))]


def is_folder(source: str | Path) -> bool:
    """Is there a folder of this name?"""
    try:
        return Path(source).is_dir()
    except (OSError, ValueError):
        return False


def _exists(name: str) -> bool:
    try:
        return Path(name).exists()
    except (OSError, ValueError):  # a name that is too long, or holds a NUL character
        return False


def json_table(path: str, content: Any) -> Rows:
    if not isinstance(content, list):
        raise RequestError(f"{path}: must be a list of objects, one a row, is {kind_of(content)}; or use .jsonl")
    for number, row in enumerate(content, 1):
        yield Place(f"{path}: row {number}", number), _checked(row)


def memory_rows(table: MemoryTable, columns: Columns) -> RowSet:
    """The rows of a table in memory with their places. RequestError where it lacks columns."""
    if table.columns is not None:
        check_columns(table.name, table.columns, columns)
    placed = ((Place(table.place(number), number), _checked(row)) for number, row in enumerate(table.rows, 1))
    return RowSet(table.name, placed, table.sha256)


def memory_table(source: Any, *, name: str = "", argument: str = "") -> MemoryTable:
    """Takes over a list of dicts, a pandas or Polars DataFrame, or a datasets.Dataset.

    Args:
        name: of a data set that was loaded by its name.
        argument: of the function that the table was given to, for messages.
    Raises:
        RequestError: it is no table, or a data set of several splits.
    """
    kind = next((word for word in KINDS_IN_MEMORY if type(source).__name__.casefold() == word.casefold()), "rows")
    what = name or f"the {kind}" + (f" given as {argument}" if argument else "")
    names = getattr(source, "columns", None)
    if names is None:
        names = getattr(source, "column_names", None)
    if isinstance(names, Mapping):
        raise RequestError(f"{what}: a data set with the splits {', '.join(names)}; give one of them")
    rows: Iterable[Any] = source
    if hasattr(source, "to_dicts"):
        rows = source.to_dicts()
    elif hasattr(source, "to_dict") and hasattr(source, "iloc"):
        rows = source.to_dict("records")
    if isinstance(rows, Mapping | str | bytes) or not isinstance(rows, Iterable):
        odd = argument or name or IN_MEMORY
        raise RequestError(
            f"{odd}: must be a path, a list of dicts, a DataFrame or a Dataset, is {type(source).__name__}"
        )
    rows = tuple(rows)
    content = json.dumps(rows, sort_keys=True, default=str)
    digest = hashlib.sha256(content.encode(errors="replace")).hexdigest()
    return MemoryTable(what, rows, None if names is None else tuple(map(str, names)), digest, bool(name))


def table_given(source: Source, argument: str) -> "str | MemoryTable":
    """An argument of a function: a path or hub name as text, or the rows in memory under the argument's name."""
    return str(source) if isinstance(source, str | Path) else memory_table(source, argument=argument)


KINDS_IN_MEMORY = ("list", "tuple", "DataFrame", "Dataset")
"""Classes of tables by which messages call them; others are called rows."""


def _object(line: str) -> Row | BadRow:
    try:
        row = parse_json(line)
    except BadJSON as error:
        return BadRow(f"{error}; one object per line")
    return row if isinstance(row, dict) else BadRow(f"must be an object, is {kind_of(row)}; one object per line")


def _checked(row: Any) -> Row | BadRow:
    return row if isinstance(row, Mapping) else BadRow(f"must be an object, is {kind_of(row)}")

