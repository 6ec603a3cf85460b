"""What is changed in a sound file. Each mutation says why a file with it may be accepted; without a reason, it may not.

Every function takes a seeded random.Random and the content, and returns the changed content, or None where it does not
apply to this file.
"""

import gzip
import io
import json
import math
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow
import pyarrow.parquet

Change = Callable[[random.Random, bytes], "bytes | None"]


@dataclass(frozen=True, slots=True)
class Mutation:
    """One way to damage a file."""

    name: str
    forms: tuple[str, ...]
    """Endings of the files that it is for; "" for all."""
    change: Change
    accepted: str = ""
    """Why a file with it may be accepted. Empty: it must be refused."""

    def fits(self, name: str) -> bool:
        return any(name.endswith(form) for form in self.forms)


@dataclass(frozen=True, slots=True)
class Mutated:
    """A damaged input and the verdicts that are right for it."""

    content: bytes
    must_refuse: bool


TEXTS = (".csv", ".tsv", ".jsonl", ".json", ".txt", ".yaml", ".dev")
TABLES = (".csv", ".tsv")
PACKABLE = (".csv", ".json", ".jsonl", ".tsv", ".txt")

# --- bytes ------------------------------------------------------------------------------------------------------------


def _place(rng: random.Random, raw: bytes) -> int:
    return rng.randrange(len(raw)) if raw else 0


def _flip(rng: random.Random, raw: bytes) -> bytes:
    place = _place(rng, raw)
    return raw[:place] + bytes([rng.randrange(256)]) + raw[place + 1 :]


def _cut_out(rng: random.Random, raw: bytes) -> bytes:
    place = _place(rng, raw)
    return raw[:place] + raw[place + rng.randrange(1, 60) :]


def _doubled(rng: random.Random, raw: bytes) -> bytes:
    place, size = _place(rng, raw), rng.randrange(1, 60)
    return raw[: place + size] + raw[place:]


def _noise(rng: random.Random, raw: bytes) -> bytes:
    place = _place(rng, raw)
    return raw[:place] + rng.randbytes(rng.randrange(1, 30)) + raw[place:]


def _sign(rng: random.Random, raw: bytes) -> bytes:
    place = _place(rng, raw)
    return (
        raw[:place]
        + rng.choice([b'"', b"'", b",", b"\t", b"{", b"]", b"\\", b"\r", b":", b"#", b"&", b"*", b"%"])
        + raw[place:]
    )


def _truncated(rng: random.Random, raw: bytes) -> bytes:
    return raw[: _place(rng, raw)]


def _encoded(encoding: str) -> Change:
    def change(rng: random.Random, raw: bytes) -> bytes | None:
        text = raw.decode()
        return None if encoding == "cp1252" and text.isascii() else text.encode(encoding, errors="replace")

    return change


def _latin(rng: random.Random, raw: bytes) -> bytes | None:
    """As Windows-1252, where the text has a letter for which that differs from UTF-8."""
    return raw.decode().encode("cp1252", errors="replace") if "\u00e9" in raw.decode() else None


BYTES = [
    Mutation("a byte is another one", ("",), _flip, "another text, or a byte that no reader needs, is as good a file"),
    Mutation("bytes are missing", ("",), _cut_out, "what is left is a shorter text, or fewer whole rows"),
    Mutation("bytes occur twice", ("",), _doubled, "a longer text, or a repeated row without an id of its own"),
    Mutation("random bytes", ("",), _noise, "by chance bytes that are UTF-8 inside a text, or behind the content"),
    Mutation("a sign of the syntax", ("",), _sign, "the sign belongs to a text, or ends a row where one may end"),
    Mutation("cut short", ("",), _truncated, "cut at the end of a row, or inside a text that may be shorter"),
    Mutation("empty", TEXTS, lambda rng, raw: b""),
    Mutation("white space alone", TEXTS, lambda rng, raw: b" \n\t\r\n \n"),
    Mutation("UTF-16", TEXTS, _encoded("utf-16")),
    Mutation("UTF-16 without its mark", TEXTS, _encoded("utf-16-le")),
    Mutation("UTF-32", TEXTS, _encoded("utf-32")),
    Mutation("Windows-1252", TEXTS, _latin),
    Mutation(
        "a byte order mark", TEXTS, lambda rng, raw: b"\xef\xbb\xbf" + raw, "a UTF-8 file may begin with its mark"
    ),
    Mutation("an Excel workbook", ("",), lambda rng, raw: b"PK\x03\x04" + raw),
    Mutation("a web page", TEXTS, lambda rng, raw: b"<!DOCTYPE html><html>" + raw),
    Mutation("a Git LFS pointer", TEXTS, lambda rng, raw: b"version https://git-lfs.github.com/spec/v1\n"),
    Mutation("zeros", ("",), lambda rng, raw: bytes(5000)),
    Mutation(
        "line ends are CR",
        (".csv", ".tsv", ".jsonl", ".txt", ".dev"),
        lambda rng, raw: raw.replace(b"\r\n", b"\r").replace(b"\n", b"\r"),
        "CR ends a line, as Excel for the Macintosh writes it",
    ),
    Mutation(
        "line ends are CR LF",
        TEXTS,
        lambda rng, raw: raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
        "CR LF ends a line",
    ),
    Mutation("gzip, not named so", PACKABLE, lambda rng, raw: gzip.compress(raw, mtime=0)),
    Mutation("not gzip, though named so", (".gz",), lambda rng, raw: gzip.decompress(raw)),
    Mutation("gzip cut short", (".gz",), lambda rng, raw: raw[: rng.randrange(2, len(raw) - 8)]),
    Mutation("gzip, its check sum is wrong", (".gz",), lambda rng, raw: raw[:-8] + bytes([raw[-8] ^ 1]) + raw[-7:]),
]

# --- tables -----------------------------------------------------------------------------------------------------------


def _lines(raw: bytes) -> list[str]:
    return re.split(r"(?<=\n)", raw.decode())


def _row(edit: Callable[[random.Random, str, str], str | None]) -> Change:
    """Changes one line below the header."""

    def change(rng: random.Random, raw: bytes) -> bytes | None:
        lines = [line for line in _lines(raw) if line]
        delimiter = "\t" if "\t" in lines[0] else ","
        if len(lines) < 2 or (len(lines[0].split(delimiter)) < 2):
            return None
        place = rng.randrange(1, len(lines))
        edited = edit(rng, lines[place], delimiter)
        return None if edited is None else "".join([*lines[:place], edited, *lines[place + 1 :]]).encode()

    return change


def _header(edit: Callable[[list[str]], list[str] | None]) -> Change:
    def change(rng: random.Random, raw: bytes) -> bytes | None:
        lines = _lines(raw)
        delimiter = "\t" if "\t" in lines[0] else ","
        edited = edit(lines[0].rstrip("\r\n").split(delimiter))
        return None if edited is None else "".join([delimiter.join(edited) + "\n", *lines[1:]]).encode()

    return change


def _ended(line: str, more: str) -> str:
    return line.rstrip("\r\n") + more + "\r\n"


def _unquoted(edit: Callable[[str, str], str]) -> Change:
    """Changes one line that has no quotation marks: (line, delimiter) -> line."""
    return _row(lambda rng, line, sign: edit(line, sign) if '"' not in line else None)


def _nan(line: str, sign: str) -> str:
    return sign.join("nan" for _ in line.split(sign)) + "\n"


def _with_nul(line: str, sign: str) -> str:
    return sign.join(part + "\0" for part in line.rstrip("\r\n").split(sign)) + "\n"


def _huge(line: str, sign: str) -> str:
    return f'"{"x" * 140_000}"{sign}{line.partition(sign)[2]}'


AGAIN = "a repeated row without an id is a pair that occurs twice, which is counted"
INSIDE = "U+2028, U+2029 and U+0085 may occur inside a text"

CSV = [
    Mutation("a field too many", TABLES, _row(lambda rng, line, sign: _ended(line, f"{sign}more"))),
    Mutation("a field too few", TABLES, _unquoted(lambda line, sign: _ended(line.rpartition(sign)[0], ""))),
    Mutation("a quotation mark that is not closed", (".csv",), _unquoted(lambda line, sign: '"' + line)),
    Mutation("a field of 140,000 characters", (".csv",), _unquoted(_huge)),
    Mutation("the same row again", TABLES, _row(lambda rng, line, sign: line + line), AGAIN),
    Mutation("a column twice", TABLES, _header(lambda names: [names[1], *names[1:]] if len(names) > 1 else None)),
    Mutation("columns in capitals", TABLES, _header(lambda names: [name.upper() for name in names])),
    Mutation("no header", TABLES, lambda rng, raw: "".join(_lines(raw)[1:]).encode()),
    Mutation("a header alone", TABLES, lambda rng, raw: _lines(raw)[0].encode()),
    Mutation("semicolons", (".csv",), lambda rng, raw: raw.replace(b",", b";")),
    Mutation("a line for spreadsheets", (".csv",), lambda rng, raw: b"sep=,\n" + raw),
    Mutation("NUL in a field", TABLES, _unquoted(_with_nul)),
    Mutation("every field is nan", TABLES, _unquoted(_nan)),
    Mutation("signs that end no line", TABLES, _unquoted(lambda line, sign: _ended(line, "\u2028\x85 x")), INSIDE),
    Mutation(
        "a blank line",
        (".csv", ".tsv", ".jsonl", ".txt"),
        lambda rng, raw: raw.rstrip() + b"\n\n \n",
        "blank lines are no rows",
    ),
]

# --- JSON -------------------------------------------------------------------------------------------------------------

DIGITS, DEEP, TWICE = "@digits@", "@deep@", "@twice@"
RAW = {f'"{DIGITS}"': "9" * 5000, f'"{DEEP}"': "[" * 100_000 + "]" * 100_000}
"""Written into the text in place of a marker."""

VALUES: dict[str, Any] = {
    "null": None, "a number": 7, "a negative number": -1, "true": True, "NaN": math.nan, "infinity": math.inf,
    "an empty list": [], "a list": ["a b"], "an object": {}, "a number of 400 digits": 10**400,
    "a number of 5,000 digits": DIGITS, "100,000 lists inside each other": DEEP,
    "half of a character": "\ud83d", "NUL": "a\0b", "the word nan": "nan", "the word None": "None",
    "white space": " \u00a0", "invisible characters": "\u200b\u2060", "an empty text": "",
    "200,000 characters": "word " * 40_000, "line separators": "one\u2028two\x85three",
    "another text": "Cafe\u0301 \u8001",
}  # fmt: skip

BAD_TEXTS = {"half of a character", "NUL", "the word nan", "the word None"}
EMPTY_TEXTS = {"white space", "invisible characters", "an empty text"}
GOOD_TEXTS = {"200,000 characters", "line separators", "another text"}
MISSING = {"null", "NaN"}
UNREADABLE = {"a number of 5,000 digits", "100,000 lists inside each other"}

REQUIRED = {
    "pairs": {"stereotype", "anti_stereotype", "sentence"},
    "crows_pairs": {"sent_more", "sent_less", "bias_type"},
    "bbq": {"ans0", "ans1", "ans2", "context", "question", "category"},
    "realtoxicityprompts": {"text"},
}
"""Fields that must hold a text, by kind."""

OPTIONAL = {"pairs": {"bias_type", "unrelated", "target", "context"}}
"""Fields that may hold a text, or be missing."""


def places(content: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value of a JSON document."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield (*way, key)
        yield from places(value, (*way, key))


def change_json(rng: random.Random, kind: str, name: str, raw: bytes) -> tuple[str, Mutated] | None:
    """(name of the mutation, input): one value of a JSON or JSON lines file is replaced, removed or repeated."""
    try:
        whole = not name.endswith(".jsonl") or raw.lstrip()[:2] == b"{\n"
        documents = [json.loads(raw)] if whole else [json.loads(line) for line in raw.splitlines()]
    except ValueError:
        return None
    number = rng.randrange(len(documents))
    ways = list(places(documents[number]))
    if not ways:
        return None
    way = rng.choice(ways)
    documents[number] = json.loads(json.dumps(documents[number]))
    parent = documents[number]
    for key in way[:-1]:
        parent = parent[key]
    what, must_refuse = _edit(rng, kind, parent, way[-1], documents[number])
    lines = [json.dumps(document) for document in documents]
    text = "\n".join(lines) + "\n"
    for marker, written in RAW.items():
        text = text.replace(marker, written)
    return f"JSON: {what}", Mutated(text.replace(TWICE, "").encode(), must_refuse)


def _edit(rng: random.Random, kind: str, parent: Any, key: Any, document: Any) -> tuple[str, bool]:
    action = rng.randrange(10)
    required, optional = key in REQUIRED.get(kind, ()), key in OPTIONAL.get(kind, ())
    if kind == "pairs" and isinstance(document, dict) and "chosen" in document:
        required = optional = False  # a preference row: other rules
    if kind == "bbq" and parent is not document:
        required = False  # answer_info has the same keys; an answer without a tag is one whose group is not known
    if action == 0 and isinstance(parent, dict):
        del parent[key]
        return "a key is missing", required
    if action == 1 and isinstance(parent, dict):
        parent[f"{key}{TWICE}"] = parent[key]  # the marker goes, and the key stands there twice
        return "a key occurs twice", True
    if action == 2 and isinstance(parent, list):
        parent.append(json.loads(json.dumps(parent[key])))
        return "an element of a list occurs twice", False
    what = rng.choice(list(VALUES))
    parent[key] = VALUES[what]
    if what in UNREADABLE:
        return f"{what} in place of a value", True
    wrong_text = what in BAD_TEXTS or (what in EMPTY_TEXTS and required)
    no_text = what not in BAD_TEXTS | EMPTY_TEXTS | GOOD_TEXTS and not (what in MISSING and optional)
    return f"{what} in place of a value", (required or optional) and (wrong_text or no_text)


JSON_ACCEPTED = "the key is one that the reader leaves alone, an optional field, or one that may hold such a value"

# --- YAML -------------------------------------------------------------------------------------------------------------

SCALARS = (
    ".inf", "-.inf", ".nan", "-5", "null", "[]", "{}", "yes", "2026-02-31", "1e400", "9" * 5000, "!!int x", "'\\0'",
    "!!python/object/apply:os.getcwd []", "*nowhere", "&a [*a]", "[a, b]", "{a: b}", "1_000", "0x1F", '"\\ud83d"', "~",
)  # fmt: skip
HARMFUL = {"2026-02-31", "9" * 5000, "!!int x", "!!python/object/apply:os.getcwd []", "*nowhere", "&a [*a]"}
NOT_FINITE = {".inf", "-.inf", ".nan"}
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{'abcdefghi'[n]}: &{'abcdefghi'[n]} [{','.join(['*' + 'abcdefghi'[n - 1]] * 9)}]\n" for n in range(1, 9)
)
YAML_ACCEPTED = "the value fits the field, or is a word where any word may stand"


def change_yaml(rng: random.Random, kind: str, raw: bytes) -> tuple[str, Mutated]:
    """(name of the mutation, input): one scalar, line or key of a YAML file is changed."""
    text = raw.decode()
    lines = text.splitlines(keepends=True)
    place = rng.randrange(len(lines))
    action = rng.randrange(12)
    whole: dict[int, tuple[str, str]] = {
        0: ("aliases that multiply", BOMB + text),
        1: ("100,000 lists inside each other", text + "x: " + "[" * 100_000 + "\n"),
        2: ("another document", text + "---\na: 1\n"),
        3: ("tabs for indentation", text.replace("  ", "\t") if "  " in text else "a:\n\t- b\n"),
    }
    if action in whole:
        what, changed = whole[action]
        return f"YAML: {what}", Mutated(changed.encode(), True)
    if action == 4:
        return "YAML: a line is missing", Mutated("".join(lines[:place] + lines[place + 1 :]).encode(), False)
    if action == 5:
        key = lines[place].lstrip()[:1] not in ("-", "") and ":" in lines[place] and not lines[place].startswith(" ")
        again = "".join([*lines, lines[place]]) if key else text + lines[place]
        return "YAML: a line occurs twice", Mutated(again.encode(), key)
    scalars = list(re.finditer(r"(?<=: )[\w.-]+|(?<=\[)[\w.-]+(?=[\],])|(?<=, )[\w.-]+(?=[\],])", text))
    chosen = rng.choice(scalars)
    value = rng.choice(SCALARS)
    changed = text[: chosen.start()] + value + text[chosen.end() :]
    numbers = kind in ("policy", "recipe") and re.fullmatch(r"[\d.e-]+", chosen.group())
    # A term list is read as words, for which no value is built.
    harmful = value in HARMFUL - ({"2026-02-31", "9" * 5000, "!!int x"} if kind == "terms" else set())
    must_refuse = harmful or bool(numbers and value in NOT_FINITE)
    shown = value if len(value) < 40 else "5,000 digits"
    return f"YAML: {shown} in place of a value", Mutated(changed.encode(), must_refuse)


# --- Parquet ----------------------------------------------------------------------------------------------------------


def change_parquet(rng: random.Random, raw: bytes) -> tuple[str, Mutated] | None:
    """(name of the mutation, input): one column has another type or values, or the table another shape."""
    table = pyarrow.parquet.read_table(io.BytesIO(raw))
    if "stereotype" not in table.column_names:
        return None
    size, column = table.num_rows, rng.choice(table.column_names)
    required = column in REQUIRED["pairs"]
    kinds: dict[str, tuple[Any, bool]] = {
        "numbers": (pyarrow.array(range(size)), column != "id"),
        "nulls": (pyarrow.nulls(size, pyarrow.string()), required),
        "untyped nulls": (pyarrow.nulls(size), required),
        "lists": (pyarrow.array([["a b"]] * size), True),
        "binary": (pyarrow.array([b"\xff\xfe"] * size), True),
        "a dictionary": (table[column].combine_chunks().dictionary_encode(), False),
        "large texts": (table[column].cast(pyarrow.large_string()), False),
        "dates": (pyarrow.array([0] * size, pyarrow.timestamp("us")), True),
        "structures": (pyarrow.array([{"a": 1}] * size), True),
    }
    action = rng.choice([*kinds, "no rows", "no such column", "a column twice"])
    if action == "no rows":
        changed, must_refuse = table.slice(0, 0), True
    elif action == "no such column":
        changed, must_refuse = table.drop_columns([column]), required
    elif action == "a column twice":
        changed, must_refuse = table.append_column(column, table[column]), True
    else:
        values, must_refuse = kinds[action]
        changed = table.set_column(table.column_names.index(column), column, values)
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(changed, buffer)
    return f"Parquet: {action}", Mutated(buffer.getvalue(), must_refuse)


PARQUET_ACCEPTED = "the column is optional or may hold whole numbers (id), or the same texts are stored in another way"
