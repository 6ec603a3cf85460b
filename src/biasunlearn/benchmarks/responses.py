"""Your own prompts: the model answers prompts of your own, and a judge reads the answers.

Paper          none
Data           a table (CSV, JSONL, ...) with `prompt`. Optional columns: `id`; `group`, by which results are reported;
               `pair`, which names prompts that differ in the group only and are drawn together; `system`; `prejudice`,
               an opinion with which an answer may agree; `rubric`, what a good answer to this prompt does
Formulation    greedy, at most 256 new tokens, through the chat template where the model has one. With a prejudice the
               judge says whether the answer agrees with it; without one it rates the answer from 1 to 10
Scores         with a prejudice: biased, biased_answered, unrelated, refused, in percent (see fairmt); without: rating.
               scored: share of answers with a verdict
Averaging      over prompts; the bootstrap draws pairs. Bias types are the groups
Ideal          biased 0, rating 10, scored 100
Deviations     none
Version        1
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from biasunlearn.benchmarks.judged import Conversation, JudgedBenchmark, Question, Task, run_judged
from biasunlearn.benchmarks.judged_scores import (
    OPINION_FILLS,
    OPINION_IDEAL,
    RATING_FILLS,
    RATING_IDEAL,
    Share,
    is_biased,
    is_good,
    judged_entry,
    opinion_outcomes,
    rating_outcomes,
)
from biasunlearn.data.rows import Place, Row, identifier, optional_text, text_of
from biasunlearn.data.tables import Source, Table, read_table
from biasunlearn.errors import RequestError
from biasunlearn.runs.results import JudgedResult
from biasunlearn.scoring.protocol import EvalPlan
from biasunlearn.scoring.rubrics import OPINION, RATING
from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.stereoset import Item

if TYPE_CHECKING:
    from biasunlearn.models.load import Loaded

VERSION = 1
NEW_TOKENS = 256
IDEAL = {**OPINION_IDEAL, **RATING_IDEAL}
ALL = "all prompts"
"""Bias type of prompts without a group."""
LABELLED: Mapping[str, Share] = {
    "biased": lambda item: is_biased(item) if item.kind == "opinion" else None,
    "good": lambda item: is_good(item) if item.kind == "rating" else None,
}
"""Shares that labels by people can correct."""


def run(loaded: "Loaded", source: Source | Table[Question], plan: EvalPlan) -> tuple[list[Item], JudgedResult]:
    """Asks the prompts of a file and has the answers judged."""
    table = read(source, skip_invalid=plan.skip_invalid)
    return run_judged(loaded, JudgedBenchmark("responses", table, task(table.records), entry), plan.options)


def task(questions: Sequence[Question]) -> Task:
    """How the answers are judged."""
    return Conversation(OPINION if questions[0].kind == "opinion" else RATING, NEW_TOKENS)


def read(source: Source | Table[Question], *, skip_invalid: bool = False) -> Table[Question]:
    """The prompts of a table.

    Raises:
        RequestError: some rows have a prejudice and others none; they would be judged by different questions.
    """
    table = read_table(
        source, _question, columns=(("prompt",),), skip_invalid=skip_invalid, key=lambda question: question.id
    )
    without = [place for place, one in zip(table.places, table.records, strict=True) if one.kind == "rating"]
    if without and len(without) < len(table.records):
        raise RequestError(
            f"{without[0]}: no prejudice, while other rows have one; fill it in, or make a file of its own for prompts "
            "that are rated"
        )
    return table


def entry(items: Sequence[Item]) -> JudgedResult:
    """Scores overall and by group."""
    rated = bool(items) and items[0].kind == "rating"
    task = "rated from 1 to 10" if rated else "judged by whether it agrees with a prejudice"
    return judged_entry(
        items, outcomes, version=VERSION, ideal=RATING_IDEAL if rated else OPINION_IDEAL,
        fills=RATING_FILLS if rated else OPINION_FILLS, formulation=f"own prompts; the answer is {task}",
    )  # fmt: skip


def outcomes(items: Sequence[Item]) -> list[Outcome]:
    """Per prompt."""
    return [
        outcome
        for item in items
        for outcome in (rating_outcomes(item) if item.kind == "rating" else opinion_outcomes(item))
    ]


def _question(row: Row, place: Place) -> Question:
    prompt, prejudice = text_of(row, "prompt"), optional_text(row, "prejudice")
    name = identifier(row) or f"prompt-{place.number}"
    group, pair, criteria = (optional_text(row, column) for column in ("group", "pair", "rubric"))
    found = Question(
        name, group or ALL, pair or name, "rating", turns=(prompt,), shown=prompt, system=optional_text(row, "system"),
        references={"what a good answer does": criteria} if criteria else {},
    )  # fmt: skip
    return replace(found, kind="opinion", references={"prejudice": prejudice}) if prejudice else found
