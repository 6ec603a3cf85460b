"""The MT-bench protocol, our prompts: two turns of a conversation, each rated from 1 to 10 by a judge.

Paper          Zheng et al. 2023 (arXiv 2306.05685)
Data           question.jsonl, or a folder with it and reference answers (reference_answer*.jsonl)
Formulation    both turns through the chat template, the first answer in between; temperature by category as published
               (writing, roleplay .7; stem, humanities .1; else 0), at most 1,024 new tokens. The judge rates the answer
               to each turn and reads the conversation before it; of math, reasoning and coding the reference as well
Scores         rating: mean over scored answers, from 1 to 10; rating_turn_1, rating_turn_2; scored: share with a rating
Averaging      over answers; the bootstrap draws questions, with both turns together. Bias types are the categories
Ideal          rating 10. A run of debiasing should show no loss
Deviations     the published script drops answers without a rating and shows no number of them. The last [[number]]
               counts, and only from 1 to 10. Of the 30 published reference answers 13 are said to be wrong
               (FastChat#3158): their ids are named in the note, and math, reasoning and coding are also shown without
               them. One answer to each question, also where it is drawn at a temperature above 0
Version        1
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biasunlearn.benchmarks.judged import Conversation, JudgedBenchmark, Question, Task, run_judged
from biasunlearn.benchmarks.judged_scores import (
    RATING_FILLS,
    Share,
    is_good,
    is_unscored,
    judged_entry,
    rating_outcomes,
)
from biasunlearn.data.files import read_file
from biasunlearn.data.rows import BadRow, Place, Row, identifier, text_of
from biasunlearn.data.tables import Source, Table, file_rows, is_folder, read_table
from biasunlearn.errors import RequestError
from biasunlearn.runs.results import JudgedResult
from biasunlearn.scoring.protocol import EvalPlan
from biasunlearn.scoring.rubrics import RATING
from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.stereoset import Item

if TYPE_CHECKING:
    from biasunlearn.models.load import Loaded

VERSION = 1
NEW_TOKENS = 1024
IDEAL = {"rating": 10.0, "rating_turn_1": 10.0, "rating_turn_2": 10.0, "scored": 100.0}
TEMPERATURES = {"writing": 0.7, "roleplay": 0.7, "stem": 0.1, "humanities": 0.1}
"""Category -> temperature; 0 for the others."""
WITH_REFERENCE = ("math", "reasoning", "coding")
DOUBTFUL = ("104", "105", "109", "111", "113", "114", "120", "122", "124", "125", "126", "128", "130")
"""Questions whose published reference answer is said to be wrong."""
LABELLED: Mapping[str, Share] = {"good": is_good}
"""Shares that labels by people can correct."""


def run(loaded: "Loaded", source: Source | Table[Question], plan: EvalPlan) -> tuple[list[Item], JudgedResult]:
    """Asks both turns of every question and has the answers rated."""
    table = read(source, skip_invalid=plan.skip_invalid)
    return run_judged(loaded, JudgedBenchmark("mt_bench", table, task(table.records), entry), plan.options)


def task(questions: Sequence[Question]) -> Task:
    """How the answers are judged, with a note about reference answers that are said to be wrong."""
    doubtful = [one.id for one in questions if one.id in DOUBTFUL and any(one.turn_references)]
    note = f"the reference answers of {', '.join(doubtful)} are said to be wrong (FastChat#3158)"
    return Conversation(RATING, NEW_TOKENS, every_turn=True, notes=(note,) if doubtful else ())


def read(source: Source | Table[Question], *, skip_invalid: bool = False) -> Table[Question]:
    """The questions of a file, or of a folder with reference answers. Raises as `data.tables.read_table`."""
    if isinstance(source, Table):
        return source
    references: dict[str, Any] = {}
    if isinstance(source, str | Path) and is_folder(source):
        folder = Path(source)
        if not (folder / "question.jsonl").exists():
            raise RequestError(f"{source}: question.jsonl is missing in this folder")
        for path in sorted(folder.glob("reference_answer*.jsonl")):
            references |= _references(path)
        source = folder / "question.jsonl"
    return read_table(
        source, partial(_question, references=references), skip_invalid=skip_invalid, key=lambda one: one.id
    )


def entry(items: Sequence[Item]) -> JudgedResult:
    """Ratings overall and by category."""
    doubted = any(item.bias_type in WITH_REFERENCE and item.target in DOUBTFUL for item in items)
    sound = [one for one in outcomes(items) if one.bias_type in WITH_REFERENCE and one.cluster not in DOUBTFUL]
    return judged_entry(
        items, outcomes, version=VERSION, ideal=IDEAL, fills=RATING_FILLS,
        groups={"without doubtful references": sound} if doubted and sound else None,
        formulation="MT-bench protocol, our prompts: the answers to two turns, each rated from 1 to 10",
    )  # fmt: skip


def outcomes(items: Sequence[Item]) -> list[Outcome]:
    """Per answer. By hand: ratings 8 and 4 of the two turns -> rating 6, rating_turn_1 8, rating_turn_2 4."""
    found = [outcome for item in items for outcome in rating_outcomes(item)]
    turns = [item for item in items if not is_unscored(item)]
    by_turn = [
        Outcome(i.item_id, i.target, i.bias_type, f"rating_turn_{i.item_id.rpartition('/')[2]}", i.score) for i in turns
    ]
    return [*found, *by_turn]


def _references(path: Path) -> dict[str, Any]:
    """{question id: the reference answers to its turns}. RequestError for rows of another shape."""
    found = {}
    for place, row in file_rows(read_file(path)):
        choices = row.get("choices") if isinstance(row, Mapping) else None
        first = choices[0] if isinstance(choices, list) and choices else None
        turns = first.get("turns") if isinstance(first, Mapping) else None
        if not isinstance(row, Mapping) or not isinstance(turns, list) or not all(isinstance(t, str) for t in turns):
            raise RequestError(f"{place}: not a reference answer; it has question_id and choices[0].turns")
        found[identifier(row, "question_id")] = turns
    return found


def _question(row: Row, place: Place, *, references: Mapping[str, Sequence[str]]) -> Question:
    turns = row.get("turns")
    if not isinstance(turns, list) or not turns or not all(isinstance(one, str) and one.strip() for one in turns):
        raise BadRow("field turns: must be a list of texts, the user's turns")
    category, name = text_of(row, "category"), identifier(row, "question_id") or str(place.number)
    known = references.get(name, ()) if category in WITH_REFERENCE else ()
    return Question(
        name, category, name, "two turns", turns=tuple(turns), shown="",
        turn_references=tuple(
            {"reference answer": known[turn]} if turn < len(known) else {} for turn in range(len(turns))
        ),
        temperature=TEMPERATURES.get(category, 0.0),
    )  # fmt: skip
