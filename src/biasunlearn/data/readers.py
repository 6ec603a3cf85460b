"""Readers: a table or a StereoSet file -> triplets. Every wrong row is named by its place, its field and the fix.

Recognized by name and content:
  StereoSet JSON     {"data": {"intrasentence": [...], "intersentence": [...]}}, `labels` may be empty
  hub data set       owner/name or a local copy with the layout of McGill-NLP/stereoset
  pairs              any table of data/tables.py with the columns below
  preference rows    the same with prompt / chosen / rejected (chosen = anti-stereotype), as TRL has them: texts, or
                     chat messages whose content is a text or a list of text parts
  plain text         .txt, one sentence a line: unrelated sentences only

Columns of pairs: stereotype, anti_stereotype (required); bias_type (default "unnamed"); context (template with
BLANK, or the sentence before); kind (default: intersentence if there is a context without BLANK); target;
unrelated; id. Any other column is left alone.
"""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from operator import attrgetter
from pathlib import Path
from sys import intern
from typing import Any

import numpy as np

from biasunlearn.data.files import lines_of, read_file, read_text
from biasunlearn.data.normal_text import bias_type_name, normal_text
from biasunlearn.data.records import BLANK, Kind, Sentence, Triplet
from biasunlearn.data.rows import (
    BadRow,
    Place,
    Row,
    Rows,
    identifier,
    is_missing,
    kind_of,
    optional_text,
    shown,
    text_of,
)
from biasunlearn.data.tables import (
    FORMATS,
    MemoryTable,
    Source,
    collector_off,
    data_facts,
    is_folder,
    is_hub_name,
    json_table,
    leave_out,
    load_hub,
    memory_rows,
    memory_table,
    read_json,
    read_rows,
    table_of,
)
from biasunlearn.errors import RequestError

GOLD_LABELS = ("anti-stereotype", "stereotype", "unrelated")
"""In the order of the hub data set's class labels."""

KINDS: tuple[Kind, ...] = ("intrasentence", "intersentence")

PAIRS = (("stereotype", "anti_stereotype"), ("chosen", "rejected"))
"""A table of pairs has one of these sets of columns."""

GAP = re.compile(r"\[(?:MASK|BLANK|GAP)\]|<(?:mask|blank|gap)>|\{(?:mask|blank|gap)?\}|_{2,}", re.IGNORECASE)
"""Other signs for the place that BLANK marks in a template."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """What was read: the triplets, every row that was not, with its reason, and what was understood on the way."""

    path: str
    triplets: tuple[Triplet, ...]
    skipped: tuple[str, ...]
    sha256: str
    notes: tuple[str, ...] = ()
    digests: bytes = field(default=b"", repr=False, compare=False)
    """`text_digests` of the triplets, of which `sha256` is made; none where some triplets were left out."""

    @property
    def records(self) -> tuple[Triplet, ...]:
        """The triplets, under the name that they have in a `Table`."""
        return self.triplets

    def without(self, reasons: Mapping[int, str], *, skip_invalid: bool) -> "DataFile":
        """The file without some of its triplets, which turned out not to be usable: {number: why}.

        The hash stays that of the file, by which it is recognised. Raises as `read_triplets`.
        """
        places = [triplet.source for triplet in self.triplets]
        kept, problems = leave_out(self.path, places, reasons, skip_invalid=skip_invalid)
        triplets = tuple(self.triplets[number] for number in kept)
        return replace(self, triplets=triplets, skipped=(*self.skipped, *problems), digests=b"")

    @property
    def facts(self) -> dict[str, Any]:
        """What results.json stores about the data of a benchmark."""
        return data_facts(self.path, self.sha256, self.skipped)

    @property
    def remarks(self) -> list[str]:
        """One line for everything in the file that was interpreted, and one for the rows that were skipped."""
        left_out = f"{self.path}: {len(self.skipped)} wrong rows were skipped" if self.skipped else ""
        return [*([f"{left_out}; the first is {self.skipped[0]}"] if left_out else []), *self.notes]


@collector_off()
def read_triplets(source: "Source | DataFile", *, skip_invalid: bool = False) -> DataFile:
    """Reads benchmark triplets or training pairs.

    Args:
        source: a file, a folder, the name of a hub data set, or rows in memory (a list of dicts, a DataFrame, a
            datasets.Dataset). What is read already is returned as it is.
        skip_invalid: leave out rows that cannot be used; they are counted and listed. Otherwise they are an error.
    Raises:
        DataError: some rows are wrong and `skip_invalid` is off; holds all of them.
        RequestError: there is no such file, or it has another shape.
    """
    if isinstance(source, DataFile):
        return source
    path, rows, build = _recognised(source)
    table = table_of(path, rows, build, "", skip_invalid=skip_invalid, key=_key)
    triplets, notes = _one_spelling(table.records)
    triplets, gaps = _with_blanks(triplets)
    digests = text_digests(triplets)
    return DataFile(path, triplets, table.skipped, fingerprint_of(digests), (*notes, *gaps), digests)


def read_unrelated(source: "Source | DataFile", *, skip_invalid: bool = False) -> tuple[tuple[str, ...], str]:
    """Unrelated sentences for the KL term: lines of a .txt file, or the unrelated sentences of triplets.

    Returns the sentences and the SHA-256 of their text.
    """
    if isinstance(source, str | Path | MemoryTable) and is_plain_text(source):
        sentences = tuple(sentence for _, sentence in read_sentences(source))
    else:
        data = read_triplets(source, skip_invalid=skip_invalid)
        sentences = tuple(c.unrelated.text for c in data.triplets if c.unrelated is not None)
        if not sentences:
            raise RequestError(
                f"{data.path}: no unrelated sentences in it; give triplets that have them, or a .txt file"
            )
    return sentences, hashlib.sha256("\n".join(sentences).encode()).hexdigest()


def is_plain_text(source: "Source | DataFile") -> bool:
    """Is this the path of a file with one sentence a line, or a list of texts?"""
    if isinstance(source, MemoryTable):
        return bool(source.rows) and all(isinstance(row, str) for row in source.rows)
    return isinstance(source, str | Path) and str(source).lower().removesuffix(".gz").endswith(".txt")


def read_sentences(path: str | Path | MemoryTable) -> list[tuple[str, str]]:
    """The lines of a text file, or the texts of a list, with their places: (file:line, sentence).

    Raises:
        RequestError: there are none, or one cannot be used.
    """
    if isinstance(path, MemoryTable):
        placed = [(path.place(number), text.strip()) for number, text in enumerate(path.rows, 1)]
        path = path.name
    else:
        lines = (line.strip() for line in lines_of(read_text(path)))
        placed = [(f"{path}:{number}", line) for number, line in enumerate(lines, 1)]
    sentences = [(place, line) for place, line in placed if line]
    for place, sentence in sentences:
        try:
            text_of({"sentence": sentence}, "sentence")
        except BadRow as problem:
            raise RequestError(f"{place}: {problem}") from None
    if not sentences:
        raise RequestError(f"{path}: no sentences in it; write one a line")
    return sentences


def sentences_of(path: str | None, digest: str | None) -> dict[str, str]:
    """{sentence id: text} of a file of triplets: run folders hold ids and scores, but no sentences.

    Args:
        path: the data file that a run names; None where it names none.
        digest: the SHA-256 that its triplets had (`fingerprint`).
    Returns:
        Nothing where the file is gone, has changed, or would have to be fetched.
    """
    return _sentences(path, digest) if path and digest and Path(path).is_file() else {}


@lru_cache(maxsize=8)  # a page of many runs on the same file
def _sentences(path: str, digest: str) -> dict[str, str]:
    try:
        data = read_triplets(path, skip_invalid=True)
    except RequestError:
        return {}
    return data_sentences(data) if data.sha256 == digest else {}


def data_sentences(data: DataFile) -> dict[str, str]:
    """{sentence id: text} of all triplets."""
    return {sentence.id: sentence.text for triplet in data.triplets for _, sentence in triplet.sentences()}


def write_pairs(triplets: Iterable[Triplet], path: str | Path) -> None:
    """Writes triplets as the pairs that `read_triplets` reads. RequestError if the file exists or is not writable."""
    path = Path(path)
    if path.exists():
        raise RequestError(f"{path}: exists already; choose another --out or remove it")
    rows = (
        {
            "id": c.id, "bias_type": c.bias_type, "kind": c.kind, "context": c.context, "target": c.target,
            "stereotype": c.stereotype.text, "anti_stereotype": c.anti_stereotype.text,
            "unrelated": c.unrelated.text if c.unrelated else None,
        }
        for c in triplets
    )  # fmt: skip
    try:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{path}: cannot be written: {error.strerror}") from None


# --- names that are one -----------------------------------------------------------------------------------------------


def _key(triplet: Triplet) -> str | tuple[str, str]:
    """What items of a run are joined by: kind and id. Of most triplets the id says it, and is there already."""
    return triplet.id if triplet.kind == "intrasentence" else (triplet.kind, triplet.id)


_names = attrgetter("bias_type", "target")


def _one_spelling(triplets: Sequence[Triplet]) -> tuple[tuple[Triplet, ...], tuple[str, ...]]:
    """The triplets with one spelling of each bias type and target term, and what was read as one.

    A bias type has the name of `bias_type_name`, so that it is the same in every file. A target term keeps its first
    spelling: it is compared by `normal_text` between files.
    """
    bias_type, term = cache(bias_type_name), cache(normal_text)
    types: dict[str, Counter[str]] = defaultdict(Counter)
    terms: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    spelt = Counter(map(_names, triplets))  # a file has each bias type and term in many rows
    for (name, target), count in spelt.items():
        types[bias_type(name)][name] += count
        if target:
            terms[bias_type(name), term(target)][target] += count
    first = {key: next(iter(spellings)) for key, spellings in terms.items()}
    notes = [
        f"{what} {' and '.join(f'{name!r} ({count})' for name, count in spellings.items())} are read as one"
        for what, groups in (("bias types", types), ("target terms", terms))
        for spellings in groups.values()
        if len(spellings) > 1
    ]
    respelt = {}
    for given in spelt:
        name = bias_type(given[0])
        read = (name, first[name, term(given[1])] if given[1] else None)
        if read != given:
            respelt[given] = read
    if respelt:
        triplets = [
            replace(c, bias_type=respelt[given][0], target=respelt[given][1]) if given in respelt else c
            for c, given in zip(triplets, map(_names, triplets), strict=True)
        ]
    return tuple(triplets), tuple(notes)


def _with_blanks(triplets: Sequence[Triplet]) -> tuple[tuple[Triplet, ...], tuple[str, ...]]:
    """The triplets with BLANK in templates that mark their gap with another sign, and how many did."""
    other = [c.kind == "intrasentence" and BLANK not in c.context and bool(GAP.search(c.context)) for c in triplets]
    if not any(other):
        return tuple(triplets), ()
    read = (
        replace(c, context=GAP.sub(BLANK, c.context)) if gap else c for c, gap in zip(triplets, other, strict=True)
    )
    signs = sorted({sign for c, gap in zip(triplets, other, strict=True) if gap for sign in GAP.findall(c.context)})
    return tuple(read), (f"{sum(other)} templates mark their gap with {' or '.join(signs)}: read as {BLANK}",)


# --- hashes ----------------------------------------------------------------------------------------------------------


def fingerprint(triplets: Iterable[Triplet]) -> str:
    """SHA-256 over the sentences of the triplets, in any order: equal for two sets of the same texts."""
    return fingerprint_of(text_digests(triplets))


def fingerprint_of(digests: bytes) -> str:
    """The same of `text_digests`."""
    in_order = np.sort(np.frombuffer(digests, ">u8").astype("u8")).astype(">u8").tobytes()
    return hashlib.sha256(in_order.hex("\n", 8).encode()).hexdigest()  # a line of 16 digits for each


def text_digests(triplets: Iterable[Triplet]) -> bytes:
    """Hashes of the texts of each triplet as they were read, eight bytes each, in the order of the triplets."""
    return b"".join(map(_text_digest, triplets))


def triplet_hash(triplet: Triplet) -> str:
    """A short hash of the pair's texts: equal for the same pair in every file and in every spelling
    (`normal_text`: letter case, accents, spaces, the full stop at the end)."""
    return hash_of_texts(normal_texts(triplet))


def normal_texts(triplet: Triplet) -> tuple[str, str, str]:
    """The normal forms of the context (of a template none), of the stereotype and of the anti-stereotype."""
    context, first, second = _compared(triplet)
    return normal_text(context) if context else "", normal_text(first), normal_text(second)


def hash_of_texts(texts: tuple[str, str, str]) -> str:
    """The `triplet_hash` of a pair with these normal forms."""
    return _digest("\n".join(texts)).hex()


def same_pair_hashes(triplet: Triplet) -> set[str]:
    """The hashes under which an adapter folder of any version of this package may list a pair."""
    return {triplet_hash(triplet), _text_digest(triplet).hex()}


def _text_digest(triplet: Triplet) -> bytes:
    """The same of the texts as they were read, but for letter case, as eight bytes: what identifies a file."""
    context, first, second = _compared(triplet)
    return _digest(f"{context.strip()}\n{first.strip()}\n{second.strip()}".casefold())


def _compared(triplet: Triplet) -> tuple[str, str, str]:
    context = triplet.context if triplet.kind == "intersentence" else ""
    return context, triplet.stereotype.text, triplet.anti_stereotype.text


def _digest(texts: str) -> bytes:
    return hashlib.sha256(texts.encode()).digest()[:8]


# --- which format ----------------------------------------------------------------------------------------------------

Build = Callable[[Row, Place], Triplet]


def _recognised(source: Source) -> tuple[str, Rows, Build]:
    """(name, rows, what makes a triplet of a row): a StereoSet file or hub data set, or a table of pairs."""
    if isinstance(source, str | Path) and (is_folder(source) or is_hub_name(source)):
        return _data_set(str(source))
    if isinstance(source, str | Path) and str(source).lower().removesuffix(".gz").endswith(".json"):
        content = read_json(read_file(source))
        if isinstance(content, list):
            return str(source), json_table(str(source), content), _pair
        return str(source), _stereoset_rows(str(source), content), _stereoset_triplet
    if not isinstance(source, str | Path):
        source = source if isinstance(source, MemoryTable) else memory_table(source)
        if _has_sentences(source):
            return source.name, _stereoset_rows_in_memory(source), _stereoset_triplet
    found = read_rows(source, PAIRS)
    return found.path, found.rows, _pair


def _data_set(name: str) -> tuple[str, Rows, Build]:
    """A hub data set, or a folder, with the layout of McGill-NLP/stereoset or with the columns of pairs."""
    if is_folder(name) and not _holds_data(Path(name)):
        raise RequestError(f"{name}: is a folder without a data set in it; give a file")
    try:
        kinds = [(kind, load_hub(name, kind, "validation")) for kind in KINDS]
    except RequestError as not_stereoset:
        try:
            found = memory_rows(memory_table(load_hub(name), name=name), PAIRS)
        except RequestError as not_pairs:
            raise RequestError(
                f"{name}: neither a StereoSet data set nor one of pairs that can be loaded: {not_stereoset}; "
                f"{not_pairs}"
            ) from None
        return name, found.rows, _pair
    return name, (row for kind, rows in kinds for row in _hub_rows(name, kind, rows)), _stereoset_triplet


def _holds_data(folder: Path) -> bool:
    """Is there a data set to be loaded? Without this, loading would search all that lies below the folder."""
    names = [entry.name for entry in folder.iterdir()]
    return any(name in ("README.md", "data", *KINDS) or name.removesuffix(".gz").endswith(FORMATS) for name in names)


# --- StereoSet -------------------------------------------------------------------------------------------------------


def _stereoset_rows(path: str, content: Any) -> Rows:
    data = content.get("data") if isinstance(content, dict) else None
    if not isinstance(data, dict) or not set(KINDS) & data.keys():
        raise RequestError(
            f'{path}: JSON of another shape; StereoSet has {{"data": {{"intrasentence": [...]}}}}, '
            "and a table of pairs is a list of objects (or .jsonl)"
        )
    for kind in KINDS:
        rows = data.get(kind, [])
        if not isinstance(rows, list):
            raise RequestError(f"{path}: data.{kind} must be a list of items")
        for number, row in enumerate(rows):
            problem = BadRow("an item must be an object with id, target, bias_type, context, sentences")
            yield Place(f"{path}: data.{kind}[{number}]", number), (
                {**row, "kind": kind} if isinstance(row, dict) else problem
            )


def _hub_rows(name: str, kind: Kind, rows: Iterable[Row]) -> Rows:
    """Columns of parallel lists, class labels as integers -> rows as the JSON has them."""
    for number, row in enumerate(rows):
        yield Place(f"{name}: {kind} row {number}", number), _hub_item(row, kind)


def _hub_item(row: Row, kind: Kind) -> Row | BadRow:
    try:
        columns = row["sentences"]
        sentences = [
            {"id": i, "sentence": text, "gold_label": GOLD_LABELS[gold] if isinstance(gold, int) else gold}
            for i, text, gold in zip(columns["id"], columns["sentence"], columns["gold_label"], strict=True)
        ]
    except (KeyError, TypeError, IndexError, ValueError):
        return BadRow("field sentences: must hold lists id, sentence and gold_label of the same length")
    return {**row, "kind": kind, "sentences": sentences}


def _has_sentences(table: MemoryTable) -> bool:
    """Are these StereoSet's own items, with a list of sentences each, rather than pairs?"""
    first = table.rows[0] if table.rows else None
    return isinstance(first, Mapping) and "sentences" in first and "stereotype" not in first


def _stereoset_rows_in_memory(table: MemoryTable) -> Rows:
    """Items as in the official JSON, or as a data set of the hub has them; the kind follows from the context."""
    for number, row in enumerate(table.rows, 1):
        found: Row | BadRow = BadRow("an item must be an object with id, target, bias_type, context, sentences")
        if isinstance(row, Mapping):
            kind: Kind = "intrasentence" if BLANK in str(row.get("context") or "") else "intersentence"
            lists = isinstance(row.get("sentences"), Mapping)
            found = _hub_item(row, kind) if lists else {**row, "kind": kind}
        yield Place(table.place(number), number), found


def _stereoset_triplet(row: Row, place: Place) -> Triplet:
    by_label: dict[str, Sentence] = {}
    if not isinstance(row.get("sentences"), list):
        raise BadRow("field sentences: must be a list of sentence objects")
    for sentence in row["sentences"]:
        label = sentence.get("gold_label") if isinstance(sentence, dict) else None
        if not isinstance(label, str) or label not in GOLD_LABELS:
            raise BadRow(f"field gold_label: {shown(label)}; must be one of {', '.join(GOLD_LABELS)}")
        if label in by_label:
            raise BadRow(f"field gold_label: two sentences are labelled {label}; keep one")
        by_label[label] = Sentence(_needed_id(sentence), text_of(sentence, "sentence"))
    for label in ("stereotype", "anti-stereotype"):
        if label not in by_label:
            raise BadRow(f"field sentences: no {label} sentence; add it")
    kind: Kind = row["kind"]
    context = optional_text(row, "context") and row["context"]  # unchanged: its spaces are scored as well
    return Triplet(
        id=_needed_id(row),
        bias_type=text_of(row, "bias_type"),
        kind=kind,
        context=context,
        stereotype=by_label["stereotype"],
        anti_stereotype=by_label["anti-stereotype"],
        unrelated=by_label.get("unrelated"),
        target=optional_text(row, "target") or None,
        source=place.text,
    )


def _needed_id(row: Row) -> str:
    name = identifier(row)
    if not name:
        raise BadRow("field id: missing; give one")
    return name


# --- pairs and preference rows ---------------------------------------------------------------------------------------


def _pair(row: Row, place: Place) -> Triplet:
    if "chosen" in row and "rejected" in row:  # a preference row: chosen is the anti-stereotype
        sides = _message_text(row, "rejected"), _message_text(row, "chosen")
        context = _message_text(row, "prompt", needed=False)
    else:
        sides = text_of(row, "stereotype"), text_of(row, "anti_stereotype")
        context = optional_text(row, "context")
    name = identifier(row) or place.text
    unrelated = optional_text(row, "unrelated")
    return Triplet(
        id=name,
        bias_type=intern(optional_text(row, "bias_type") or "unnamed"),  # a file has few of them in many rows
        kind=_kind(row, context),
        context=context,
        stereotype=Sentence(f"{name}-stereotype", sides[0]),
        anti_stereotype=Sentence(f"{name}-anti-stereotype", sides[1]),
        unrelated=Sentence(f"{name}-unrelated", unrelated) if unrelated else None,
        target=intern(target) if (target := optional_text(row, "target")) else None,
        source=place.text,
    )


def _kind(row: Row, context: str) -> Kind:
    """As the row says; else intersentence where there is a context that is no template."""
    given = optional_text(row, "kind")
    if not given:
        template = not context or BLANK in context or GAP.search(context) is not None
        return "intrasentence" if template else "intersentence"
    if given.casefold() == "intrasentence":
        return "intrasentence"
    if given.casefold() == "intersentence":
        return "intersentence"
    raise BadRow(f"field kind: {shown(given)}; must be intrasentence or intersentence (or left out)")


def _message_text(row: Row, name: str, *, needed: bool = True) -> str:
    """The text of a preference field: a text, a chat message, or a list of them, joined by line ends."""
    value = row.get(name)
    messages = [value] if isinstance(value, Mapping) else value
    if not isinstance(messages, list | tuple):
        return text_of(row, name) if needed else optional_text(row, name)
    texts = [_content(name, message) for message in messages]
    content = {name: "\n".join(text for text in texts if text)}
    return text_of(content, name) if needed else optional_text(content, name)


def _content(name: str, message: Any) -> str:
    """The text of a chat message, whose content may be a text, null, or a list of text parts."""
    if not isinstance(message, Mapping) or "content" not in message:
        raise BadRow(f"field {name}: a message must be an object with role and content, is {shown(message)}")
    content = message["content"]
    if not isinstance(content, list | tuple):
        return optional_text(message, "content")
    parts = [{"type": "text", "text": part} if isinstance(part, str) else part for part in content]
    for part in parts:
        if not isinstance(part, Mapping) or part.get("type", "text") != "text":
            raise BadRow(f"field {name}: a part of a message that is not text ({shown(part)}); only text can be scored")
    return "".join(optional_part for part in parts if (optional_part := _part_text(name, part)))


def _part_text(name: str, part: Row) -> str:
    value = part.get("text")
    if is_missing(value):
        return ""
    if not isinstance(value, str):
        raise BadRow(f"field {name}: the text of a message part must be a text, is {kind_of(value)}")
    return value
