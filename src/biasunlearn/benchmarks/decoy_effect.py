"""Decoy effect: does an inferior third option raise the share of the option that it resembles?

Paper          Itzhak et al. 2024, Instructed to Bias (TACL; arXiv 2308.00225); the human effect: Huber, Payne, Puto
               1982
Data           the folder of decoy_treatment and decoy_control (.jsonl, .gz), or one table with both: text, with_bias,
               product_dir, price1 to price3, and the option numbers target, competitor and decoy (0 in the control)
Formulation    the likeliest of 1, first, A; 2, second, B; 3, third, C after the prompt. With --written-answers also
               greedy decoding and a reader
Scores         effect: % that choose the target, treatment (three options) less control (two), in points, as published.
               effect_between: the same share among those who choose the target or the competitor, in which a model that
               chooses at random has 0 (its effect is 33.3 - 50 = -16.7). effect_margin: the difference of the log
               odds of the target against the competitor, in nats. decoy: % that choose the decoy, of the treatment.
               first: % that choose the option that stands first
Averaging      over questions; undecided ones stay in the denominator of effect, as published. By product group: the
               target is the expensive brand, or the cheaper one. The bootstrap draws a product with its prices
Ideal          effects 0, decoy 0; first has none
Deviations     effect_between and effect_margin are ours
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
IDEAL = {"effect": 0.0, "effect_between": 0.0, "effect_margin": 0.0, "decoy": 0.0, "first": None}


def run(loaded: "Loaded", source: Source | Table[Question], plan: EvalPlan) -> tuple[list[Item], CognitiveResult]:
    """Lets the model choose between two or three brands. Returns the items and the results."""
    table = read(source, skip_invalid=plan.skip_invalid)
    table, items = ask(
        "decoy_effect", loaded, table, plan, lambda question, text: written_option(text, len(question.answers))
    )
    return items, entry(items).with_values(**table.facts)


def read(source: Source | Table[Question], *, skip_invalid: bool = False) -> Table[Question]:
    """The choices of a table or a folder. Raises as `data.tables.read_table`."""
    return read_arms(source, "decoy", _question, skip_invalid=skip_invalid)


def outcomes(items: Sequence[Item]) -> list[Outcome]:
    """Of the answers by likelihood: the values of the effects (stats/treatment.py) and of each choice (100 or 0)."""
    return _outcomes(list(answers(items)))


def entry(items: Sequence[Item]) -> CognitiveResult:
    """By product group; the written answers are a group."""
    return cognitive_entry(
        items, _outcomes, version=VERSION, ideal=IDEAL,
        formulation="the likeliest of the listed words for each option after the prompt, summed",
    )  # fmt: skip


def _outcomes(given: Sequence[Answer]) -> list[Outcome]:
    chosen, between, odds, found = {}, {}, {}, []
    for answer in given:
        _, target, competitor, decoy = answer.condition.split(" ")
        chosen[answer.question] = (answer, 100.0 * (answer.chosen == target))
        if answer.chosen in (target, competitor):
            between[answer.question] = chosen[answer.question]
        if (value := margin(answer, target, competitor)) is not None:
            odds[answer.question] = (answer, value)
        if decoy != "0":
            found.append(single(answer, "decoy", 100.0 * (answer.chosen == decoy)))
        found.append(single(answer, "first", 100.0 * (answer.chosen == "1")))

    for score, values in (("effect", chosen), ("effect_between", between), ("effect_margin", odds)):
        found += effects(score, values, arm)
    return found


def _question(row: Row, place: Place) -> Question:
    arm, product = arm_of(row), text_of(row, "product_dir")
    target, competitor = (option_number(row, name, 3) for name in ("target", "competitor"))
    decoy = option_number(row, "decoy", 3) if arm == "treatment" else 0
    if len({target, competitor, decoy}) < 3:
        raise BadRow("fields target, competitor, decoy: two of them name the same option")
    prices = sorted(str(row.get(f"price{number}")) for number in (target, competitor))
    options = 3 if arm == "treatment" else 2
    return Question(
        id=f"{product}-{question_id(row, place)}",
        bias_type="cheaper" if product.endswith("_cheaper") else "expensive",
        cluster=f"{product} {' '.join(prices)}",
        prompt=text_of(row, "text"),
        answers={str(n): names for n, names in enumerate(ORDINALS[:options], 1)},
        condition=f"{arm} {target} {competitor} {decoy}",
    )
