"""Readers: any of the supported files -> triplets. Every wrong row is named by file, line, field and mend.

Formats, told apart by name and content:
  StereoSet JSON     {"data": {"intrasentence": [...], "intersentence": [...]}}, `labels` may be empty
  hub data set       owner/name or a local copy with the layout of McGill-NLP/stereoset
  pairs              .jsonl / .csv / .tsv / .parquet with the columns below; .gz is read through
  preference rows    the same files with prompt / chosen / rejected (chosen = anti-stereotype), as TRL has them
  plain text         .txt, one sentence a line: unrelated sentences only

Columns of pairs: stereotype, anti_stereotype (required); bias_type (default "unnamed"); context (template with
BLANK, or the sentence before); kind (default: intersentence if there is a context without BLANK); target;
unrelated; id. Any other column is left alone.
"""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from biasunlearn.data.records import BLANK, Kind, Sentence, Triplet
from biasunlearn.data.tables import BadRow, Row, data_facts, read_text, text_of
from biasunlearn.errors import DataError, RequestError

GOLD_LABELS = ("anti-stereotype", "stereotype", "unrelated")
"""In the order of the hub data set's class labels."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """What was read: the triplets, and every row that was not, with its reason."""

    path: str
    triplets: tuple[Triplet, ...]
    skipped: tuple[str, ...]
    sha256: str

    @property
    def facts(self) -> dict[str, Any]:
        """What an entry of results.json says about its data."""
        return data_facts(self.path, self.sha256, self.skipped)


def read_triplets(path: str | Path, *, skip_invalid: bool = False) -> DataFile:
    """Reads benchmark triplets or training pairs from a file, a folder or the hub.

    Raises:
        DataError: some rows are wrong and `skip_invalid` is off; holds all of them.
        RequestError: there is no such file, or it has another shape.
    """
    path = str(path)
    parse = _parser(path)
    triplets: list[Triplet] = []
    problems: list[str] = []
    for where, build in parse():
        try:
            triplets.append(build())
        except BadRow as problem:
            problems.append(f"{where}: {problem}")
    if problems and not skip_invalid:
        raise DataError(problems)
    if not triplets:
        raise RequestError(f"{path}: no usable rows ({len(problems)} wrong ones)")
    return DataFile(path, tuple(triplets), tuple(problems), fingerprint(triplets))


def read_unrelated(path: str | Path, *, skip_invalid: bool = False) -> tuple[tuple[str, ...], str]:
    """Unrelated sentences for the KL term: lines of a .txt file, or the unrelated sentences of triplets.

    Returns the sentences and the SHA-256 of their text.
    """
    path = str(path)
    if path.removesuffix(".gz").endswith(".txt"):
        sentences = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    else:
        data = read_triplets(path, skip_invalid=skip_invalid)
        sentences = tuple(c.unrelated.text for c in data.triplets if c.unrelated is not None)
    if not sentences:
        raise RequestError(f"{path}: no unrelated sentences in it; give triplets that have them, or a .txt file")
    return sentences, hashlib.sha256("\n".join(sentences).encode()).hexdigest()


def read_sentences(path: str | Path) -> list[tuple[str, str]]:
    """The lines of a text file with their places: (file:line, sentence). RequestError where there are none."""
    lines = read_text(str(path)).splitlines()
    sentences = [(f"{path}:{number}", line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if not sentences:
        raise RequestError(f"{path}: no sentences in it; one a line")
    return sentences


def write_pairs(triplets: Iterable[Triplet], path: str | Path) -> None:
    """Writes triplets as the pairs that `read_triplets` reads. RequestError if the file is there or not writable."""
    path = Path(path)
    if path.exists():
        raise RequestError(f"{path}: is there already; choose another --out or remove it")
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


def fingerprint(triplets: Iterable[Triplet]) -> str:
    """SHA-256 over the sentences of the triplets, whatever their order: tells whether two sets are the same."""
    return hashlib.sha256("\n".join(sorted(triplet_hash(c) for c in triplets)).encode()).hexdigest()


def triplet_hash(triplet: Triplet) -> str:
    """A short hash of the pair's texts: equal for the same pair wherever it was read from, in any letter case."""
    context = triplet.context if triplet.kind == "intersentence" else ""
    texts = (context, triplet.stereotype.text, triplet.anti_stereotype.text)
    return hashlib.sha256("\n".join(t.casefold().strip() for t in texts).encode()).hexdigest()[:16]


# --- which format ----------------------------------------------------------------------------------------------


def _parser(path: str) -> Callable[[], Iterator[tuple[str, Callable[[], Triplet]]]]:
    plain = path.removesuffix(".gz")
    if not Path(path).exists():
        if path.count("/") == 1 and not path.startswith((".", "/")) and not Path(plain).suffix:
            return lambda: _hub_rows(path)
        raise RequestError(f"{path}: no such file; give a path, or a hub data set as owner/name")
    if Path(path).is_dir():
        return lambda: _hub_rows(path)
    if plain.endswith(".json"):
        return lambda: _stereoset_rows(path)
    readers: dict[str, Callable[[str], Iterator[tuple[str, Row]]]] = {
        ".jsonl": _jsonl_rows,
        ".csv": _csv_rows,
        ".tsv": _csv_rows,
        ".parquet": _parquet_rows,
    }
    for suffix, rows in readers.items():
        if plain.endswith(suffix):
            return lambda: ((where, partial(_pair, row, where)) for where, row in rows(path))
    raise RequestError(f"{path}: unknown kind of file; known: .json (StereoSet), {', '.join(readers)}")


# --- StereoSet ---------------------------------------------------------------------------------------------------


def _stereoset_rows(path: str) -> Iterator[tuple[str, Callable[[], Triplet]]]:
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise RequestError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    data = content.get("data") if isinstance(content, dict) else None
    if not isinstance(data, dict) or not {"intrasentence", "intersentence"} & data.keys():
        raise RequestError(
            f'{path}: JSON of another shape; StereoSet has {{"data": {{"intrasentence": [...]}}}} '
            f"(for rows of pairs use .jsonl)"
        )
    kinds: tuple[Kind, ...] = ("intrasentence", "intersentence")
    for kind in kinds:
        rows = data.get(kind, [])
        if not isinstance(rows, list):
            raise RequestError(f"{path}: data.{kind} must be a list of clusters")
        for number, row in enumerate(rows):
            where = f"{path}: data.{kind}[{number}]"
            yield where, partial(_stereoset_cluster, row, kind, where)


def _stereoset_cluster(row: Any, kind: Kind, where: str) -> Triplet:
    if not isinstance(row, dict):
        raise BadRow("a triplet must be an object with id, target, bias_type, context, sentences")
    by_label: dict[str, Sentence] = {}
    if not isinstance(row.get("sentences"), list):
        raise BadRow("field sentences: must be a list of sentence objects")
    for sentence in row["sentences"]:
        label = sentence.get("gold_label") if isinstance(sentence, dict) else None
        if label not in GOLD_LABELS:
            raise BadRow(f"field gold_label: {label!r}; must be one of {', '.join(GOLD_LABELS)}")
        if label in by_label:
            raise BadRow(f"field gold_label: two sentences are labelled {label}; keep one")
        by_label[label] = Sentence(text_of(sentence, "id"), text_of(sentence, "sentence"))
    for label in ("stereotype", "anti-stereotype"):
        if label not in by_label:
            raise BadRow(f"field sentences: no {label} sentence; add it")
    return Triplet(
        id=text_of(row, "id"),
        bias_type=text_of(row, "bias_type"),
        kind=kind,
        context=str(row.get("context") or ""),
        stereotype=by_label["stereotype"],
        anti_stereotype=by_label["anti-stereotype"],
        unrelated=by_label.get("unrelated"),
        target=row.get("target") or None,
        source=where,
    )


def _hub_rows(name: str) -> Iterator[tuple[str, Callable[[], Triplet]]]:
    """McGill-NLP/stereoset: a configuration per kind, columns of parallel lists, class labels as integers."""
    import datasets

    kinds: tuple[Kind, ...] = ("intrasentence", "intersentence")
    for kind in kinds:
        try:
            rows = datasets.load_dataset(name, kind, split="validation")
        except Exception as error:  # the library raises many kinds, all of which mean the same to the user
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RequestError(f"{name}: not a StereoSet data set that can be loaded ({kind}): {reason}") from None
        for number, row in enumerate(rows):
            where = f"{name}: {kind} row {number}"
            yield where, partial(_stereoset_cluster, _from_columns(row), kind, where)


def _from_columns(row: Row) -> Row:
    columns = row["sentences"]
    sentences = [
        {"id": i, "sentence": text, "gold_label": GOLD_LABELS[gold] if isinstance(gold, int) else gold}
        for i, text, gold in zip(columns["id"], columns["sentence"], columns["gold_label"], strict=True)
    ]
    return {**row, "sentences": sentences}


# --- pairs and preference rows -------------------------------------------------------------------------------------


def _jsonl_rows(path: str) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise RequestError(f"{path}:{number}: not JSON: {error.msg}; one object per line") from None
        if not isinstance(row, dict):
            raise RequestError(f"{path}:{number}: must be an object, is {type(row).__name__}; one object per line")
        yield f"{path}:{number}", row


def _csv_rows(path: str) -> Iterator[tuple[str, Row]]:
    reader = csv.DictReader(io.StringIO(read_text(path)), delimiter="\t" if ".tsv" in path else ",")
    _need_columns(path, reader.fieldnames or ())
    line = 2  # a quoted field may hold line ends, so a row starts after where the one before it ended
    for row in reader:
        yield f"{path}:{line}", row
        line = reader.line_num + 1


def _parquet_rows(path: str) -> Iterator[tuple[str, Row]]:
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except Exception as error:
        raise RequestError(f"{path}: not a Parquet file: {str(error).splitlines()[0]}") from None
    _need_columns(path, table.column_names)
    for number, row in enumerate(table.to_pylist(), 1):
        yield f"{path}: row {number}", row


def _need_columns(path: str, names: Iterable[str]) -> None:
    names = set(names)
    if not ({"stereotype", "anti_stereotype"} <= names or {"chosen", "rejected"} <= names):
        raise RequestError(
            f"{path}: needs the columns stereotype and anti_stereotype (or chosen and rejected); "
            f"has {', '.join(sorted(map(str, names))) or 'none'}"
        )


def _pair(row: Row, where: str) -> Triplet:
    if "chosen" in row and "rejected" in row:  # a preference row: chosen is the anti-stereotype
        row = {
            **row,
            "context": _content(row.get("prompt")),
            "stereotype": _content(row["rejected"]),
            "anti_stereotype": _content(row["chosen"]),
        }
    stereotype, anti_stereotype = text_of(row, "stereotype"), text_of(row, "anti_stereotype")
    context = str(row.get("context") or "").strip()
    name = str(row.get("id") or where)
    unrelated = str(row.get("unrelated") or "").strip()
    return Triplet(
        id=name,
        bias_type=str(row.get("bias_type") or "unnamed").strip(),
        kind=_kind(row.get("kind"), context),
        context=context,
        stereotype=Sentence(f"{name}-stereotype", stereotype),
        anti_stereotype=Sentence(f"{name}-anti-stereotype", anti_stereotype),
        unrelated=Sentence(f"{name}-unrelated", unrelated) if unrelated else None,
        target=str(row.get("target") or "").strip() or None,
        source=where,
    )


def _kind(given: Any, context: str) -> Kind:
    if given in ("intrasentence", "intersentence"):
        kind: Kind = given
        return kind
    if given:
        raise BadRow(f"field kind: {given!r}; must be intrasentence or intersentence (or left out)")
    return "intersentence" if context and BLANK not in context else "intrasentence"


def _content(value: Any) -> str:
    """The text of a preference field: a string, or a list of chat messages."""
    if isinstance(value, list):
        return "\n".join(str(message.get("content", "")) for message in value if isinstance(message, dict))
    return str(value or "")
