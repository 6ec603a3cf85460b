"""Files that cannot be read as text: each is one line that says what it looks like and what to do."""

import gzip
import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biasunlearn.data import files
from biasunlearn.data.files import hash_of, lines_of, read_file, read_text
from biasunlearn.errors import RequestError

ROWS = "stereotype,anti_stereotype\nLe café est lent.,Le café est vif.\n" * 20


def refused(path: Path | str, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        read_text(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ROWS.encode("utf-16"), "looks like UTF-16; save it as UTF-8"),
        (ROWS.encode("utf-32"), "looks like UTF-32; save it as UTF-8"),
        (ROWS.encode("utf-16-be"), "looks like UTF-16 .every other byte is 0.; save it as UTF-8"),
        (ROWS.encode("ascii", "ignore").decode().encode("utf-16-le"), "looks like UTF-16 .every other byte is 0."),
        (ROWS.encode("cp1252"), r"a\.csv:2: not UTF-8 at byte 33 .0xE9.; it may be Windows-1252, .* 'Le café est"),
        (b"PK\x03\x04rest", "looks like a zip archive or an Excel workbook"),
        (b"PAR1rest", "looks like a Parquet file; give it a name"),
        (gzip.compress(b"text", mtime=0), "looks like a file compressed with gzip; give it a name that ends in .gz"),
        (b"<!DOCTYPE html><p>", "looks like a web page; download the raw file"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer"),
    ],
)
def test_what_it_looks_like(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    refused(path, message)


def test_a_byte_order_mark_and_a_few_nuls_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffone\0 two three four".encode())
    assert read_text(path) == "one\0 two three four"


def test_damaged_gzip(tmp_path: Path) -> None:
    whole = gzip.compress(os.urandom(5000), mtime=0)
    for name, content, message in (
        ("cut.csv.gz", whole[:2000], "compressed file is damaged or cut short"),
        ("bits.csv.gz", whole[:900] + b"\xff" * 50 + whole[950:], "cannot be read: "),
        ("plain.csv.gz", b"stereotype,anti_stereotype\n", "named .gz, but it is not a sound gzip file"),
        ("empty.csv.gz", b"", None),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        if message:
            refused(path, message)
    assert read_text(tmp_path / "empty.csv.gz") == ""


def test_a_small_gzip_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_BYTES", 100_000)
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"0" * 100_001, mtime=0))
    assert path.stat().st_size < 200
    refused(path, "larger than .* GiB once it is unpacked")
    (tmp_path / "b.csv").write_bytes(b"0" * 100_001)
    refused(tmp_path / "b.csv", "larger than")


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    """A pipe that nothing writes to would be waited for without an end."""
    os.mkfifo(tmp_path / "pipe.csv")
    started = time.monotonic()
    refused(tmp_path / "pipe.csv", "it is a pipe or a device")
    refused("/dev/zero", "it is a pipe or a device")
    refused(tmp_path, f"^{tmp_path}: cannot be read: it is a folder; give a file in it$")
    refused(tmp_path / "none.csv", "none.csv: no such file$")
    refused("a\0b.csv", "no such file")
    refused("x" * 5000 + ".csv", "cannot be read: File name too long")
    assert time.monotonic() - started < 5


def test_the_hash_is_of_the_stored_bytes_in_their_order(tmp_path: Path) -> None:
    import hashlib

    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"two")
    contents = [read_file(tmp_path / name) for name in "ab"]
    assert hash_of(contents) == hashlib.sha256(b"onetwo").hexdigest()
    assert hash_of(contents[:1]) == hashlib.sha256(b"one").hexdigest()


def test_lines_end_at_line_ends_only() -> None:
    text = "a\nb\r\nc\rd\u2028e\u0085f\u2029g\x0bh\x1ci\n\nlast"
    assert list(lines_of(text)) == [
        "a\n", "b\r\n", "c\r", "d\u2028e\u0085f\u2029g\x0bh\x1ci\n", "\n", "last",
    ]  # fmt: skip
    assert list(lines_of(text, 2))[0] == "b\r\n" and list(lines_of("")) == []


@given(st.text(st.sampled_from("ab\r\n\u2028é"), max_size=40), st.integers(1, 9), st.integers(0, 5))
def test_lines_are_the_same_wherever_a_piece_ends(text: str, size: int, begin: int) -> None:
    """Pieces of a few characters end within lines, and between CR and LF."""
    expected = [found.group() for found in re.finditer(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+", text[begin:])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CHARACTERS_AT_ONCE", size)
        assert list(lines_of(text, begin)) == expected
