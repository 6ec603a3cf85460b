"""Certainty effect: is a sure prize chosen more often than the same prize at the same odds ratio without certainty?

Paper          Itzhak et al. 2024, Instructed to Bias (TACL; arXiv 2308.00225); the human effect: Kahneman, Tversky 1979
Data           the folder of certainty_treatment and certainty_control (.jsonl, .gz), or one table with both: text,
               with_bias, target and better_expected_value (option numbers), bias_type, subtemplates.vals_index
Formulation    the likeliest of 1, first, A and 2, second, B after the prompt. With --written-answers also greedy
               decoding and a reader ("it depends on" is undecided)
Scores         effect: % that choose the target, treatment (a sure prize) less control (its risky analogue), in points.
               effect_margin: the same of the log odds of the target, in nats. better_value: % that choose the option of
               the higher expected value. first: % that choose the option that stands first
Averaging      over questions; undecided ones stay in the denominator, as published. The bootstrap draws whole value
               sets
Ideal          effects 0; better_value and first have none: both orders of the options are in the data, so that a model
               that always takes the first has a first of 100 and effects of 0
Deviations     the published interval draws rows; ours draws value sets, whose questions share their numbers
Version        1
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from biasunlearn.benchmarks.answer_options import Answer, Question, answers, ask, margin
from biasunlearn.benchmarks.cognitive import (
    ORDINALS,
    arm,
    arm_of,
    cognitive_entry,
    effects,
    option_number,
    question_id,
    read_arms,
    single,
    written_option,
)
from biasunlearn.data.rows import BadRow, Place, Row, text_of
from biasunlearn.data.tables import Source, Table
from biasunlearn.runs.results import CognitiveResult
from biasunlearn.scoring.protocol import EvalPlan
from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.stereoset import Item

if TYPE_CHECKING:
    from biasunlearn.models.load import Loaded

VERSION = 1
IDEAL = {"effect": 0.0, "effect_margin": 0.0, "better_value": None, "first": None}


def run(loaded: "Loaded", source: Source | Table[Question], plan: EvalPlan) -> tuple[list[Item], CognitiveResult]:
    """Lets the model choose between two prizes. Returns the items and the results."""
    table = read(source, skip_invalid=plan.skip_invalid)
    table, items = ask("certainty_effect", loaded, table, plan, lambda _, text: written_option(text, 2))
    return items, entry(items).with_values(**table.facts)


def read(source: Source | Table[Question], *, skip_invalid: bool = False) -> Table[Question]:
    """The choices of a table or a folder. Raises as `data.tables.read_table`."""
    return read_arms(source, "certainty", _question, skip_invalid=skip_invalid)


def outcomes(items: Sequence[Item]) -> list[Outcome]:
    """Of the answers by likelihood: the values of the effects (stats/treatment.py) and of each choice (100 or 0)."""
    return _outcomes(list(answers(items)))


def entry(items: Sequence[Item]) -> CognitiveResult:
    """By the number of outcomes of the risky option; the written answers are a group."""
    return cognitive_entry(
        items, _outcomes, version=VERSION, ideal=IDEAL,
        formulation="the likeliest of the listed words for each option after the prompt, summed",
    )  # fmt: skip


def _outcomes(given: Sequence[Answer]) -> list[Outcome]:
    def numbers(answer: Answer) -> tuple[str, str]:
        _, target, better = answer.condition.split(" ")
        return target, better

    chosen = {answer.question: (answer, 100.0 * (answer.chosen == numbers(answer)[0])) for answer in given}
    odds = {}
    for answer in given:
        target = numbers(answer)[0]
        value = margin(answer, target, "2" if target == "1" else "1")
        if value is not None:
            odds[answer.question] = (answer, value)
    found = [*effects("effect", chosen, arm), *effects("effect_margin", odds, arm)]
    for answer in given:
        found.append(single(answer, "better_value", 100.0 * (answer.chosen == numbers(answer)[1])))
        found.append(single(answer, "first", 100.0 * (answer.chosen == "1")))
    return found


def _question(row: Row, place: Place) -> Question:
    values = row.get("subtemplates")
    number = values.get("vals_index") if isinstance(values, dict) else None
    if number is None:
        raise BadRow("field subtemplates: must hold vals_index, the number of the value set")
    target, better = (option_number(row, name, 2) for name in ("target", "better_expected_value"))
    kind = "three outcomes" if "THREE" in text_of(row, "bias_type") else "two outcomes"
    return Question(
        id=question_id(row, place), bias_type=kind, cluster=f"{kind}, values {number}", prompt=text_of(row, "text"),
        answers={str(n): names for n, names in enumerate(ORDINALS[:2], 1)},
        condition=f"{arm_of(row)} {target} {better}",
    )  # fmt: skip
