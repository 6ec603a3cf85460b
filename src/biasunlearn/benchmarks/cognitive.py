"""What the benchmarks of cognitive biases share: rows of Instructed to Bias, treatment effects, their results."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from biasunlearn.benchmarks.answer_options import LIKELIHOOD, UNDECIDED, WRITTEN, Answer, Question, answers
from biasunlearn.benchmarks.common import panel
from biasunlearn.data.files import hash_of, read_file
from biasunlearn.data.rows import BadRow, Place, Row, identifier, shown
from biasunlearn.data.tables import Source, Table, file_rows, is_folder, read_table, table_of
from biasunlearn.errors import RequestError
from biasunlearn.runs.results import CognitiveResult
from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.stereoset import Item
from biasunlearn.stats.treatment import treatment_values

Outcomes = Callable[[Sequence[Answer]], list[Outcome]]
"""Answers that were given in one way -> outcomes."""

LONG_ANSWER = 100
"""Words beyond which a written answer is read from its end, as in the published reader."""

ORDINALS = (("1", "first", "A"), ("2", "second", "B"), ("3", "third", "C"))
"""Words that name an option by its number."""


def read_arms(
    source: Source | Table[Question], name: str, build: Callable[[Row, Place], Question], *, skip_invalid: bool
) -> Table[Question]:
    """The questions of both arms: one table, or a folder with NAME_treatment and NAME_control (.jsonl, .gz).

    Raises as `data.tables.read_table`.
    """
    if isinstance(source, Table):
        return source
    if not (isinstance(source, str | Path) and is_folder(source)):
        return read_table(source, build, skip_invalid=skip_invalid, key=lambda question: question.id)
    files = sorted(file for end in ("", ".gz") for file in Path(source).glob(f"{name}_*.jsonl{end}"))
    if not files:
        raise RequestError(f"{source}: needs {name}_treatment.jsonl and {name}_control.jsonl (or .jsonl.gz)")
    contents = list(map(read_file, files))
    rows = (row for content in contents for row in file_rows(content))
    return table_of(
        str(source), rows, build, hash_of(contents), skip_invalid=skip_invalid, key=lambda question: question.id
    )


def question_id(row: Row, place: Place) -> str:
    """The id of a row: its own, or its arm and the number that it has in the published file."""
    number = identifier(row, "id") or identifier(row, "source_key") or str(place.number)
    return f"{arm_of(row)}-{number}"


def arm_of(row: Row) -> str:
    """treatment or control, from the field with_bias. BadRow where it is neither true nor false."""
    return "treatment" if flag(row, "with_bias") else "control"


def arm(answer: Answer) -> str:
    """The arm of an answer, with which its condition begins."""
    return answer.condition.split(" ")[0]


def flag(row: Row, name: str) -> bool:
    """A field that must be true or false. BadRow otherwise."""
    value = row.get(name)
    if not isinstance(value, bool):
        raise BadRow(f"field {name}: must be true or false")
    return value


def option_number(row: Row, name: str, largest: int) -> int:
    """A field that must hold the number of an option, from 1. BadRow otherwise."""
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= largest:
        raise BadRow(f"field {name}: {shown(value)}; must be the number of an option, from 1 to {largest}")
    return value


def effects(
    score: str, values: Mapping[str, tuple[Answer, float]], arm: Callable[[Answer], str | None]
) -> Iterator[Outcome]:
    """Treatment minus control within each bias type, in the unit of the values.

    Args:
        values: {question: its answer and its value}
        arm: treatment, control, or None for an answer that belongs to neither.
    """
    arms: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: {"treatment": {}, "control": {}})
    for unit, (answer, value) in values.items():
        if (name := arm(answer)) is not None:
            arms[answer.bias_type][name][unit] = value
    for bias_type, both in arms.items():
        for unit, value in treatment_values(both["treatment"], both["control"]).items():
            yield Outcome(unit, values[unit][0].cluster, bias_type, score, value)


def single(answer: Answer, score: str, value: float) -> Outcome:
    """The outcome of one answer by itself."""
    return Outcome(answer.question, answer.cluster, answer.bias_type, score, value)


def cognitive_entry(
    items: Sequence[Item], found: Outcomes, *, version: int, ideal: Mapping[str, float | None], formulation: str,
    groups: Mapping[str, Sequence[Outcome]] | None = None, shown: Sequence[str] | None = None,
) -> CognitiveResult:
    """Scores by likelihood overall and by bias type; under `groups` the written answers, where there are any."""
    ways = {kind: list(answers(items, kind)) for kind in (LIKELIHOOD, WRITTEN)}
    by_way = {
        name: [replace(one, bias_type=name) for one in found(given)] for name, given in ways.items() if given
    }
    written = Counter(answer.condition.split(" ")[0] for answer in ways[WRITTEN])
    undecided = Counter(answer.condition.split(" ")[0] for answer in ways[WRITTEN] if answer.chosen == UNDECIDED)
    asked = {"asked by": by_way[WRITTEN]} if WRITTEN in by_way else {}
    return panel(
        CognitiveResult, found(ways[LIKELIHOOD]), version=version, formulation=formulation, ideal=ideal,
        groups={**(groups or {}), **asked}, shown=shown,
        undecided={arm: undecided[arm] for arm in sorted(written)},
        notes=[f"written answers, {arm}: {undecided[arm]} of {count} undecided" for arm, count in written.items()],
    )  # fmt: skip


def written_option(text: str, count: int) -> str:
    """Which option a written answer names: "1", "2", "3" or "undecided".

    The text from "Explanation:" on is cut, and an answer of more than 100 words is read from its end, as in the
    published reader. A single capital letter counts only where it is not an article: behind "Option", in front of a
    mark or at the end.
    """
    words = re.split(r"explanation:", text, flags=re.IGNORECASE)[0].split()
    if re.search(r"\bdepends? on\b|\bno (right|correct) answer\b", " ".join(words), re.IGNORECASE):
        return UNDECIDED
    numbered = list(enumerate(words))
    for place, word in reversed(numbered) if len(words) > LONG_ANSWER else numbered:
        bare = word.strip(".,:;!?()[]\"'*")
        for number, names in enumerate(ORDINALS[:count], 1):
            if bare.casefold() in names[:2] or bare == names[2] and _names_option(words, place, word):
                return str(number)
    return UNDECIDED


def _names_option(words: Sequence[str], place: int, word: str) -> bool:
    """Is this single letter the name of an option, and not the article?"""
    behind = place > 0 and words[place - 1].casefold().strip(":") in ("option", "brand", "choice", "answer")
    return behind or len(word) > 1 or place == len(words) - 1
