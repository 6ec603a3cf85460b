"""BBQ in Korean, Spanish and Catalan: the published files of KoBBQ, EsBBQ and CaBBQ as questions of `bbq`.

KoBBQ     Jin et al. 2024 (arXiv 2307.16778): `biased_answer` names the biased answer of every row
EsBBQ,    Ruiz-Fernandez et al. 2025 (arXiv 2507.11216): the group of a person is the last name in answer_info, which
CaBBQ     is compared with stereotyped_groups; in negative questions the stereotyped person is the biased answer

The lists in these files are literals of Python, which are read as data and never run.
"""

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path

from biasunlearn.benchmarks.bbq import Question
from biasunlearn.data.files import FileContent, hash_of, read_file
from biasunlearn.data.rows import BadRow, Place, Row, identifier, one_of, text_of
from biasunlearn.data.tables import Source, Table, file_rows, is_folder, table_of

KOREAN = frozenset(("sample_id", "choices", "biased_answer", "bbq_category"))
SPANISH = frozenset(("instance_id", "template_id", "answer_info.ans0", "stereotyped_groups"))
"""Columns by which the files are recognised; Catalan has the same ones as Spanish."""


def language_questions(source: Source, *, skip_invalid: bool = False) -> Table[Question] | None:
    """The questions of a file of KoBBQ, EsBBQ or CaBBQ, or of a folder of such files; None for any other data.

    Raises:
        DataError: wrong rows, and `skip_invalid` is off. RequestError: it cannot be read.
    """
    if not isinstance(source, str | Path):
        return None
    files = _files(Path(source)) if is_folder(source) else [Path(source)]
    if not files or not all(_is_table(path) for path in files):
        return None
    contents = [read_file(path) for path in files]
    rows = [
        (place, {**row, "_language": _language(content, row)} if isinstance(row, Mapping) else row)
        for content in contents
        for place, row in file_rows(content)
    ]
    first = next((row for _, row in rows if isinstance(row, Mapping)), {})
    if not (KOREAN <= set(first) or SPANISH <= set(first)):
        return None
    return table_of(
        str(source), iter(rows), _question, hash_of(contents), skip_invalid=skip_invalid, key=lambda one: one.id
    )


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _is_table(path))


def _is_table(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith((".csv", ".tsv"))


def _language(content: FileContent, row: Row) -> str:
    """ko, es or ca. The names of the Catalan files begin with ca; otherwise the Catalan words tell."""
    if KOREAN <= set(row):
        return "ko"
    return "ca" if content.plain_name.casefold().startswith(("ca.", "ca_", "cabbq")) else "es"


def _question(row: Row, place: Place) -> Question:
    if row["_language"] == "ko":
        return _korean(row)
    return _spanish(row, str(row["_language"]))


def _korean(row: Row) -> Question:
    choices = _list(row, "choices")
    biased, name = text_of(row, "biased_answer"), text_of(row, "sample_id")
    if len(choices) != 3 or biased not in choices[:2]:
        raise BadRow("field choices: must be three texts, the biased answer among the first two and unknown the third")
    right = text_of(row, "answer")
    roles = tuple("biased" if one == biased else "counter" for one in choices[:2])
    if right == choices[2]:
        condition = "ambiguous"
    elif right in choices:
        condition = "aligned" if right == biased else "conflicting"
    else:
        raise BadRow("field answer: is none of the choices")
    category, _, rest = name.partition("-")  # bbq_category is empty in the rows that are new in Korean
    template = f"{category}-{rest.partition('-')[0].rstrip('abcd')}"
    return Question(
        name, category, template, text_of(row, "context"), text_of(row, "question"),
        tuple(choices), (*roles, "unknown"), condition, "ko",
    )  # fmt: skip


def _spanish(row: Row, language: str) -> Question:
    answers = tuple(text_of(row, name) for name in ("ans0", "ans1", "ans2"))
    groups = {group.casefold() for group in _list(row, "stereotyped_groups")}
    people = [_list(row, f"answer_info.ans{number}")[-1].rpartition(",")[2].strip().casefold() for number in (0, 1)]
    stereotyped = [person in groups for person in people]
    negative = one_of(row, "question_polarity", ("neg", "nonneg")) == "neg"
    label = text_of(row, "label")
    if label not in ("0", "1", "2"):
        raise BadRow(f"field label: {label}; must be 0, 1 or 2, the number of the right answer")
    known = sum(stereotyped) == 1
    roles = tuple(("biased" if mine is negative else "counter") if known else "other" for mine in stereotyped)
    ambiguous = one_of(row, "context_condition", ("ambig", "disambig")) == "ambig"
    condition = "ambiguous" if ambiguous or label == "2" else "disambiguated"
    if known and condition != "ambiguous":
        condition = "aligned" if roles[int(label)] == "biased" else "conflicting"
    category = text_of(row, "category")
    return Question(
        f"{category}-{identifier(row, 'instance_id')}", category, f"{category} {identifier(row, 'template_id')}",
        text_of(row, "context"), text_of(row, "question"), answers, (*roles, "unknown"), condition, language,
    )  # fmt: skip


def _list(row: Row, name: str) -> Sequence[str]:
    """A field that holds a list of texts as Python writes it. BadRow for anything else."""
    text = text_of(row, name)
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        value = None
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise BadRow(f"field {name}: must be a list of texts, as ['one', 'other']")
    return value


