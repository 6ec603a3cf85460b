"""One reader for every table: formats, sources, and every kind of value that a text column may hold by mistake."""

import gc
import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest

from biasunlearn.data import parquet, tables
from biasunlearn.data.rows import BadRow, Place, Row, identifier, is_missing, optional_text, shown, text_of
from biasunlearn.data.tables import read_rows, read_table, table_of
from biasunlearn.errors import DataError, RequestError

ROWS = [{"a": "one", "b": "x"}, {"a": "two", "b": "y"}]


def build(row: Row, place: Place) -> tuple[str, str]:
    return text_of(row, "a"), optional_text(row, "b")


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    import pyarrow
    import pyarrow.parquet

    plain = path.name.removesuffix(".gz")
    lines = "\n".join(map(json.dumps, rows))
    texts = {
        "t.jsonl": lines, "t.json": json.dumps(rows),
        "t.csv": "a,b\n" + "".join(f"{row['a']},{row['b']}\n" for row in rows),
        "t.tsv": "a\tb\n" + "".join(f"{row['a']}\t{row['b']}\n" for row in rows),
    }  # fmt: skip
    if plain == "t.parquet":
        sink = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
        content = sink.getvalue().to_pybytes()
    else:
        content = texts[plain].encode()
    path.write_bytes(gzip.compress(content, mtime=0) if path.name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("name", ["t.jsonl", "t.json", "t.csv", "t.tsv", "t.parquet"])
def test_every_format_gives_the_same_records(tmp_path: Path, name: str, packed: str) -> None:
    table = read_table(str(write(tmp_path / (name + packed), ROWS)), build)
    assert table.records == (("one", "x"), ("two", "y")) and table.skipped == ()
    assert table.facts["data"].endswith(name + packed) and len(table.sha256) == 64


def test_the_letter_case_of_an_ending_does_not_count(tmp_path: Path) -> None:
    for name, content in (("A.CSV", b"a,b\none,x\n"), ("A.NDJSON.GZ", gzip.compress(b'{"a": "one", "b": "x"}'))):
        (tmp_path / name).write_bytes(content)
        assert read_table(str(tmp_path / name), build).records == (("one", "x"),)


def test_rows_in_memory_and_of_libraries() -> None:
    import datasets
    import pandas

    sources = [ROWS, tuple(ROWS), pandas.DataFrame(ROWS), datasets.Dataset.from_list(ROWS), iter(ROWS)]
    found = [read_table(source, build) for source in sources]
    assert {table.records for table in found} == {(("one", "x"), ("two", "y"))}
    assert len({table.sha256 for table in found}) == 1
    assert read_table(found[0], build) is found[0]  # what is read already


def test_a_polars_frame_is_read_by_its_own_method() -> None:
    class Frame:  # polars itself is not a dependency
        columns = ("a", "b")

        def to_dicts(self) -> list[dict[str, str]]:
            return ROWS

    assert read_table(Frame(), build, columns=[("a",)]).records == (("one", "x"), ("two", "y"))
    with pytest.raises(RequestError, match="the rows: needs the columns c; lacks c, has a, b"):
        read_table(Frame(), build, columns=[("c",)])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"a": ["one"]}, "must be a path, a list of dicts, a DataFrame or a Dataset, is dict"),
        (3, "is int"),
        ([], "no usable rows"),
        (["one"], "row 1 of the list: must be an object, is str"),
    ],
)
def test_what_is_no_table(source: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        read_table(source, build)


def test_a_data_set_with_splits_in_memory() -> None:
    import datasets

    whole = datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)})
    with pytest.raises(RequestError, match="a data set with the splits train; give one of them"):
        read_table(whole, build)


def test_names_of_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import datasets

    asked = []

    def load(name: str, configuration: str | None, split: str | None = None) -> Any:
        asked.append((name, configuration, split))
        one = datasets.Dataset.from_list(ROWS)
        return one if split else {"extra": one, "validation": one} if name == "me/usual" else {"x": one, "y": one}

    monkeypatch.setattr(datasets, "load_dataset", load)
    for name in ("me/usual", "me/usual:small", "me/usual:small:extra", "me/usual::extra"):
        assert read_table(name, build).records == (("one", "x"), ("two", "y"))
    assert asked == [
        ("me/usual", None, None), ("me/usual", "small", None), ("me/usual", "small", "extra"),
        ("me/usual", None, "extra"),
    ]  # fmt: skip
    with pytest.raises(RequestError, match="me/odd: has the splits x, y; name one, as in me/odd:default:x"):
        read_rows("me/odd")
    for path in ("me/data.jsonl", "./me", "/me/too", "a/b/c", "me/x.csv.gz"):
        assert not tables.is_hub_name(path)
    (tmp_path / "me").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "me/usual").write_text("a file of this name")
    assert not tables.is_hub_name("me/usual")


# --- JSON lines ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"a": "half \\ud83d"}', r"field a: holds half of a character .the surrogate \\ud83d."),
        ('{"a": "x\\u0000y"}', "field a: holds a NUL character"),
        ('{"a": "one", "a": "two"}', "the key 'a' occurs twice in one object; keep one of them"),
        ('{"a": {"b": 1, "b": 2}}', "the key 'b' occurs twice"),
        ('{"a": ' + "1" * 5000 + "}", "not usable JSON: Exceeds the limit"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "not usable JSON: nested too deeply"),
        ('{"a": NaN}', "field a: missing; fill it in"),
        ('{"a": null}', "field a: missing; fill it in"),
        ('{"a": "nan"}', "field a: the word 'nan', as a program writes a missing value"),
        ('{"a": ["one"]}', r"field a: must be a text, is a list .\['one'\].; write it as text"),
        ('{"a": {"text": "one"}}', "field a: must be a text, is an object"),
        ('{"a": 3}', "field a: must be a text, is a number .3."),
        ('{"a": true}', "field a: must be a text, is true or false"),
        ('{"a": "  \\u200b "}', "field a: empty; fill it in"),
        ("{'a': 'one'}", "not JSON: Expecting property name"),
        ("[1]", "must be an object, is a list; one object per line"),
        ('"text"', "must be an object, is str"),
        ('{"a": "one"} {"a": "two"}', "not JSON: Extra data"),
    ],
)
def test_a_wrong_line_is_named_and_dropped_alone(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(f'{{"a": "one"}}\n\n{line}\n{{"a": "two"}}\n')
    started = time.process_time()
    with pytest.raises(DataError, match=rf"t\.jsonl:3: {message}"):
        read_table(str(path), build)
    table = read_table(str(path), build, skip_invalid=True)
    assert table.records == (("one", ""), ("two", "")) and len(table.skipped) == 1
    assert len(table.skipped[0]) < 400 and time.process_time() - started < 10


def test_separators_that_are_no_line_ends_stay_inside(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes('{"a": "one\u2028two\u2029three\u0085four"}\r{"a": "five"}\r\n'.encode())
    assert read_table(str(path), build).records == (("one\u2028two\u2029three\u0085four", ""), ("five", ""))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": "one"}\n{"a": "two"}\n', r"t\.json:2: not JSON: Extra data; it looks like JSON lines"),
        ('{"rows": []}', "must be a list of objects, one a row, is an object"),
        ("[" * 100_000, "not usable JSON: nested too deeply"),
        ('[{"a": "one", "a": "x"}]', "the key 'a' occurs twice"),
    ],
)
def test_a_wrong_json_file(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(RequestError, match=message):
        read_table(str(tmp_path / "t.json"), build)


# --- Parquet ---------------------------------------------------------------------------------------------------------


def parquet_file(path: Path, **columns: Any) -> str:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return str(path)


def test_values_that_parquet_holds(tmp_path: Path) -> None:
    columns = {"a": ["one", "two", None], "b": ["x", None, "z"], "extra": [1.5, float("nan"), 0]}
    path = parquet_file(tmp_path / "t.parquet", **columns)
    table = read_table(path, build, skip_invalid=True)
    assert table.records == (("one", "x"), ("two", "")) and "t.parquet: row 3: field a: missing" in table.skipped[0]
    with pytest.raises(DataError, match="field b: must be a text, is a number"):
        read_table(parquet_file(tmp_path / "n.parquet", a=["one"], b=[1]), build)
    with pytest.raises(DataError, match="field b: must be a text, is bytes"):
        read_table(parquet_file(tmp_path / "b.parquet", a=["one"], b=[b"\xff"]), build)
    with pytest.raises(RequestError, match="needs the columns c"):
        read_table(path, build, columns=[("c",)])


@pytest.mark.slow
def test_a_small_parquet_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    import pyarrow

    text = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 2_000_000, pyarrow.int32()), ["x" * 4000])
    path = parquet_file(tmp_path / "bomb.parquet", a=text)
    assert Path(path).stat().st_size < 1_000_000  # 8 GB as texts
    started = time.process_time()
    with pytest.raises(RequestError, match="its texts take more than 1 GiB once they are unpacked"):
        read_table(path, lambda row, place: None)
    assert time.process_time() - started < 10


def test_more_values_than_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "MAX_VALUES", 5)
    with pytest.raises(RequestError, match="holds 6 values, more than 5"):
        read_table(parquet_file(tmp_path / "t.parquet", a=["one"] * 3, b=["x"] * 3), build)


# --- fields and identities -------------------------------------------------------------------------------------------


def test_missing_in_all_its_forms() -> None:
    import numpy
    import pandas

    for value in (None, float("nan"), numpy.float32("nan"), numpy.nan, pandas.NA, pandas.NaT):
        assert is_missing(value) and optional_text({"a": value}, "a") == "" == identifier({"id": value})
    for value in ("", "nan", 0, False, [], numpy.array([1, 2])):
        assert not is_missing(value)


def test_ids_may_be_whole_numbers() -> None:
    import numpy

    ids = [3, 3.0, numpy.int64(3), "3", " 3 "]
    assert [identifier({"id": value}) for value in ids] == ["3"] * 5
    assert identifier({"id": 0}) == "0"
    for value in (3.5, True, [3], float("inf")):
        with pytest.raises(BadRow, match="field id: must be a text"):
            identifier({"id": value})


def test_two_records_with_one_key() -> None:
    rows = [{"a": name} for name in ("one", "two", "one", "one")]
    placed = [(Place(f"f:{number}", number), row) for number, row in enumerate(rows, 1)]

    def key(record: tuple[str, str]) -> str:
        return record[0]

    with pytest.raises(DataError) as error:
        table_of("f", iter(placed), build, "", key=key)
    assert [problem.partition(",")[0] for problem in error.value.problems] == [
        "f:3: field id: the same as in f:1", "f:4: field id: the same as in f:1",
    ]  # fmt: skip
    table = table_of("f", iter(placed), build, "", key=key, skip_invalid=True)
    assert table.records == (("one", ""), ("two", "")) and len(table.skipped) == 2
    assert table.places == ("f:1", "f:2")
    with pytest.raises(DataError, match="f:2: too long"):
        table.without({1: "too long"}, skip_invalid=False)
    assert table.without({1: "too long"}, skip_invalid=True).records == (("one", ""),)
    with pytest.raises(RequestError, match="f: no usable rows .2 wrong ones; the first is f:1: too long"):
        table.without({0: "too long", 1: "too long"}, skip_invalid=True)


def test_the_collector_is_as_it_was_when_a_table_is_read_or_refused() -> None:
    during: list[bool] = []

    def noting(row: Row, place: Place) -> Row:
        during.append(gc.isenabled())
        return row

    placed = [(Place("f:1", 1), {"a": "one"}), (Place("f:2", 2), BadRow("wrong"))]
    assert gc.isenabled()
    table_of("f", iter(placed[:1]), noting, "")
    with pytest.raises(DataError):
        table_of("f", iter(placed), noting, "")
    assert during == [False, False] and gc.isenabled()


def test_a_long_value_is_cut_in_messages() -> None:
    assert shown("x" * 1000) == "'" + "x" * 59 + "..." and shown([1]) == "[1]"
