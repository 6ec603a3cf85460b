"""Files as bytes and as text: what can be opened, how large it may become, and in which encoding it is.

The hash and the text of a file come from the same bytes. (A run opens its data once before, to recognise the request.)
"""

import gzip
import hashlib
import io
import itertools
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from biasunlearn.errors import RequestError
from biasunlearn.regular_file import read_regular

MAX_BYTES = 2**30
"""Largest size of a data file in bytes, as stored and after unpacking: a small .gz may hide gigabytes."""

MANY_NULS = 0.1
"""From this share of NUL characters on a text is taken for UTF-16 that was read as UTF-8."""

CHARACTERS_AT_ONCE = 2**20
"""Characters that are divided into lines at a time."""

_LINE_END = re.compile(r"\r\n|\n|\r")

_SIGNATURES = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook; save the table as CSV in UTF-8"),
    (b"PAR1", "a Parquet file; give it a name that ends in .parquet"),
    (b"\x1f\x8b", "a file compressed with gzip; give it a name that ends in .gz"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file itself with `git lfs pull`"),
    (b"<!doctype html", "a web page; download the raw file"),
    (b"<html", "a web page; download the raw file"),
)

_BYTE_ORDER_MARKS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file that was read: its path and its bytes as they are stored."""

    path: Path
    raw: bytes = field(repr=False)

    @property
    def plain_name(self) -> str:
        """The name without .gz, which tells the format."""
        return self.path.stem if self._packed else self.path.name

    @property
    def _packed(self) -> bool:
        return self.path.suffix.lower() == ".gz"

    def unpacked(self) -> bytes:
        """The bytes, decompressed where the name ends in .gz.

        Raises:
            RequestError: the compressed file is damaged, or larger than `MAX_BYTES` once it is unpacked.
        """
        if not self._packed:
            return self.raw
        try:
            content = gzip.GzipFile(fileobj=io.BytesIO(self.raw)).read(MAX_BYTES + 1)
        except gzip.BadGzipFile as error:
            raise RequestError(
                f"{self.path}: cannot be read: named .gz, but it is not a sound gzip file ({error}); "
                "compress it again, or remove .gz from its name if it is not compressed"
            ) from None
        except (OSError, EOFError, zlib.error) as error:
            raise RequestError(
                f"{self.path}: cannot be read: the compressed file is damaged or cut short ({error}); "
                "copy or download it again"
            ) from None
        if len(content) > MAX_BYTES:
            raise RequestError(f"{self.path}: {_too_large(' once it is unpacked')}")
        return content

    def text(self) -> str:
        """The file as text. RequestError where it is no UTF-8 text; the message says what it looks like instead."""
        raw = self.unpacked()
        for mark, name in _BYTE_ORDER_MARKS:
            if raw.startswith(mark):
                raise RequestError(f"{self.path}: looks like {name}; save it as UTF-8")
        for signature, what in _SIGNATURES:
            if raw[: len(signature)].lower() == signature.lower():
                raise RequestError(f"{self.path}: looks like {what}")
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise RequestError(f"{self.path}{_undecodable(raw, error.start)}; save it as UTF-8") from None
        if text.count("\0") > MANY_NULS * len(text):
            raise RequestError(f"{self.path}: looks like UTF-16 (every other byte is 0); save it as UTF-8")
        return text


def read_file(path: str | Path) -> FileContent:
    """Opens a regular file and reads it.

    Raises:
        RequestError: no such file; a folder, a pipe or a device; no permission; larger than `MAX_BYTES`.
    """
    return FileContent(Path(path), read_regular(path, most=MAX_BYTES, too_large=_too_large("")))


def read_text(path: str | Path) -> str:
    """A file as text, .gz read through. Raises as `read_file` and `FileContent.text`."""
    return read_file(path).text()


def hash_of(contents: Sequence[FileContent]) -> str:
    """SHA-256 of the stored bytes of files, one after the other."""
    digest = hashlib.sha256()
    for content in contents:
        digest.update(content.raw)
    return digest.hexdigest()


def lines_of(text: str, begin: int = 0) -> Iterator[str]:
    """Every line with its end, from the offset `begin` on.

    Lines end at LF, CR LF or CR. U+2028, U+2029 and U+0085, which `str.splitlines` also splits at, may occur inside
    a sentence.
    """
    return itertools.chain.from_iterable(_pieces(text, begin))


def _pieces(text: str, begin: int) -> Iterator[Iterable[str]]:
    """The lines of one piece of a text after the other. StringIO divides a piece without Python code for each line, but
    needs four bytes for each character: too much for the whole text, and for a single line of any length."""
    while begin < len(text):
        limit = begin + CHARACTERS_AT_ONCE
        # A CR that is the last character of a piece may belong to a CR LF.
        end = 1 + max(text.rfind("\n", begin, limit), text.rfind("\r", begin, limit - 1))
        if end > 0:
            yield io.StringIO(text[begin:end], newline="")
        else:
            found = _LINE_END.search(text, begin)
            end = found.end() if found else len(text)
            yield (text[begin:end],)
        begin = end


def _too_large(when: str) -> str:
    return f"larger than {MAX_BYTES / 2**30:g} GiB{when}; divide it into smaller files"


def _undecodable(raw: bytes, place: int) -> str:
    """Line and byte that are not UTF-8, and how the place reads in Windows-1252."""
    line = raw.count(b"\n", 0, place) + 1
    begin = max(raw.rfind(b"\n", 0, place) + 1, place - 20)
    excerpt = raw[begin : place + 20].split(b"\n")[0].decode("cp1252", errors="replace").strip()
    if raw.count(b"\0") > MANY_NULS * len(raw):
        return ": looks like UTF-16 (every other byte is 0)"
    return (
        f":{line}: not UTF-8 at byte {place} (0x{raw[place]:02X}); it may be Windows-1252, in which it would read "
        f"{excerpt!r}"
    )
