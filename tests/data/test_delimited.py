"""CSV and TSV: a row that does not fit is named, and never read as another one."""

import csv
import io
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biasunlearn.data import files
from biasunlearn.data.delimited import MAX_MISQUOTED, delimited_rows
from biasunlearn.data.readers import read_triplets
from biasunlearn.data.rows import BadRow
from biasunlearn.errors import DataError, RequestError

NEEDED = [("a", "b")]


def rows(text: str) -> list[tuple[int, Any]]:
    """(line, its fields, or why it has none)"""
    found = delimited_rows("f.csv", text, NEEDED)
    return [
        (place.number, str(row) if isinstance(row, BadRow) else tuple(cell for name, cell in row.items() if name))
        for place, row in found
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n1,2\n3,4\n", [(2, ("1", "2")), (3, ("3", "4"))]),
        ("a,b\r1,2\r3,4\r", [(2, ("1", "2")), (3, ("3", "4"))]),  # Excel for Mac
        ("a,b\r\n1,2\n3,4\r5,6", [(2, ("1", "2")), (3, ("3", "4")), (4, ("5", "6"))]),
        ('a,b\n"two\nlines",2\n3,4\n', [(2, ("two\nlines", "2")), (4, ("3", "4"))]),
        ("a,b\n1,2\n\n  \n3,4\n", [(2, ("1", "2")), (5, ("3", "4"))]),  # blank lines hold nothing
        ("a,b\n1\u20282,3\u0085\n", [(2, ("1\u20282", "3\u0085"))]),
        (",a,b\n0,1,2\n", [(2, ("1", "2"))]),  # the index that pandas writes has no name
        ("a, b \n1,2\n", [(2, ("1", "2"))]),
        ('a,b\n"He said ""no"".",2\n', [(2, ('He said "no".', "2"))]),
    ],
)
def test_rows_and_their_lines(text: str, expected: list[Any]) -> None:
    assert rows(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\nThe man, tired, slept.,The man, awake, sang.\n", "6 fields where the header has 2; put a sentence"),
        ("a,b,c\n1,2\n", "2 fields where the header has 3; a column is missing"),
        ("a\tb\n1\t2\tstray\n", "3 fields where the header has 2"),
        ('a,b\n"Go," he said.,2\n', "a quotation mark inside a quoted field"),
    ],
)
def test_a_row_of_another_width_is_a_wrong_row(text: str, message: str) -> None:
    line, reason = rows(text + "x\ty\n" if "\t" in text else text)[0]
    assert line == 2 and reason.startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,a,b\n1,2,3\n", "the column 'a' occurs twice in the header"),
        ("a;b\n1;2\n", "needs the columns a, b; lacks a, b, has a;b; it looks separated by semicolons: save it"),
        ("a|b\n1|2\n", "separated by vertical bars"),
        ("sep=,\na,b\n1,2\n", "has sep=; its first line tells a spreadsheet the delimiter"),
        ("sep=;\na;b\n1;2\n", "has sep=;; its first line tells a spreadsheet the delimiter"),
        ("a\n1\n", "needs the columns a, b; lacks b, has a$"),
        ("A,B\n1,2\n", "has A, B; the letter case of the names counts$"),
        ("", "has none$"),
    ],
)
def test_a_table_without_its_columns(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        rows(text)


def test_a_mark_that_is_never_closed_costs_its_own_row_only() -> None:
    """Whether the rest of the file is short or longer than the longest field."""
    for after in (3, 20_000):
        found = rows('a,b\nA man.,"A woman.\n' + "The boy ran.,The girl ran.\n" * after)
        assert len(found) == after + 1
        assert found[0][0] == 2 and "a quotation mark is not closed" in found[0][1]
        assert found[1:] == [(3 + n, ("The boy ran.", "The girl ran.")) for n in range(after)]


LINES = st.sampled_from(["1,2", '"a\nb",3', "", "x,'y", 'A man.,"A woman', "4,5,6"])


@given(st.lists(LINES, max_size=12), st.integers(1, 9))
def test_rows_and_lines_do_not_depend_on_how_the_text_is_divided(lines: list[str], size: int) -> None:
    text = "\n".join(["a,b", *lines, ""])
    whole = rows(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CHARACTERS_AT_ONCE", size)
        assert rows(text) == whole


def test_a_row_behind_a_wrong_mark_has_the_line_it_stands_on() -> None:
    """Two wrong marks, a quoted line end between them, and a blank line."""
    found = rows('a,b\n"x\ny",1\nA man.,"A woman.\n\n"p\nq",2\nB,"C\nlast,3\n')
    assert [line for line, _ in found] == [2, 4, 6, 8, 9]
    assert found[-1] == (9, ("last", "3")) and found[2] == (6, ("p\nq", "2"))
    assert "a quotation mark" in found[1][1] and "a quotation mark" in found[3][1]


def test_many_marks_that_are_never_closed_end_soon() -> None:
    text = "a,b\n" + 'x,"y\n\n' * 1 + "".join(f'A man {n}.,"A woman" {n}.\n' for n in range(100_000))
    started = time.monotonic()
    with pytest.raises(RequestError, match=f"more than {MAX_MISQUOTED} rows have wrong quotation marks"):
        rows(text)
    assert time.monotonic() - started < 10


def test_a_field_longer_than_the_csv_module_takes_is_a_wrong_row(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(f"stereotype,anti_stereotype\n{'x' * 140_000},b\nHe ran.,She ran.\n")
    with pytest.raises(DataError, match=r"p\.csv:2: field 1 of this row has 140,000 characters, and a field of a CSV"):
        read_triplets(path)
    data = read_triplets(path, skip_invalid=True)
    assert [c.stereotype.text for c in data.triplets] == ["He ran."] and len(data.skipped) == 1


LONG = "x" * 131_073


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (f"{LONG},b", 1),
        (f'"a, ""b""","{LONG}"', 2),
        (f"a,{LONG}", 2),
        (f'"{LONG[:-1]}""",', 1),  # a doubled mark is one character
        (f"{LONG}\tb", 1),
    ],
)
def test_a_field_that_is_only_too_long_is_told_from_a_mark_that_is_not_closed(row: str, field: int) -> None:
    delimiter = "\t" if "\t" in row else ","
    found = rows(f"a{delimiter}b\n1{delimiter}2\n{row}\n3{delimiter}4\n")
    assert found[1][0] == 3 and found[1][1].startswith(f"field {field} of this row has 131,073 characters")
    assert [found[0], found[2:]] == [(2, ("1", "2")), [(4, ("3", "4"))]]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f'a,"{LONG}', "a quotation mark is not closed"),
        (f'a,"{LONG}"" b', "a quotation mark is not closed"),
        (f'a,"{LONG}" b', "a quotation mark is not closed"),
        (f"{LONG[:-1]},2", None),
        (f'"{LONG[:-2]}""",2', None),
    ],
)
def test_a_long_field_with_a_wrong_mark_is_no_field_that_is_only_too_long(row: str, reason: str | None) -> None:
    line, found = rows(f"a,b\n{row}\n3,4\n")[0]
    assert line == 2 and (len(found) == 2 if reason is None else reason in found)


def test_rows_with_long_fields_are_all_named_and_a_quoted_tsv_keeps_its_marks_apart() -> None:
    many = rows("a,b\n" + f"{LONG},x\n" * (MAX_MISQUOTED + 2) + "1,2\n")
    assert [line for line, _ in many] == list(range(2, MAX_MISQUOTED + 5)) and many[-1][1] == ("1", "2")
    assert rows(f'"a"\t"b"\n"one"\t"{LONG}"\n"two"\t"three"\n')[1] == (3, ("two", "three"))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # Without quoting rules, as publishers write it: marks belong to the text.
        (['"Hello," he said.\tx', "He ran.\ty"], ('"Hello," he said.', "x")),
        (['"Hello."\tx', "He ran.\ty"], ('"Hello."', "x")),
        (['He said "no\tx', 'He said "yes\ty'], ('He said "no', "x")),
        # With quotes, as pandas writes it: doubled inside.
        (['"""Hello,"" he said."\tx', "He ran.\ty"], ('"Hello," he said.', "x")),
        (['"a tab\there"\tx', "He ran.\ty"], ("a tab\there", "x")),
        # One mark that does not fit the rules, and the file has none.
        (['"""Hello,"" he said."\tx', '"He ran\ty'], ('"""Hello,"" he said."', "x")),
    ],
)
def test_tabs_with_and_without_quoting(lines: list[str], expected: tuple[str, str]) -> None:
    assert rows("\n".join(["a\tb", *lines, ""]))[0] == (2, expected)


def test_a_tsv_whose_header_is_quoted_is_quoted() -> None:
    assert rows('"a"\t"b"\n"one"\t"two"\n') == [(2, ("one", "two"))]


FIELD = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=12)


@pytest.mark.slow
@given(st.lists(st.tuples(FIELD, FIELD), min_size=1, max_size=8), st.sampled_from(",\t"))
def test_what_the_csv_module_wrote_is_read_back(table: list[tuple[str, str]], delimiter: str) -> None:
    written = io.StringIO()
    csv.writer(written, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *table])
    assert [row for _, row in rows(written.getvalue())] == table


@given(st.text(max_size=300))
def test_any_text_is_rows_or_one_line(text: str) -> None:
    try:
        for _, row in rows(text):
            assert isinstance(row, str) or len(row) >= 2
    except RequestError as refused:
        assert "\n" not in str(refused)
