"""Belief bias: is a syllogism judged by its form, or by whether its conclusion is believable?

Paper          Itzhak et al. 2024, Instructed to Bias (TACL; arXiv 2308.00225); the human effect: Evans, Barston,
               Pollard 1983. Items of our own: data/syllogisms.py
Data           a table with the columns text, premise_1, premise_2, conclusion, is_valid, is_believable and with_bias
               (true: real terms, false: nonsense terms), or the folder of belief_treatment and belief_control (.jsonl)
Formulation    the likeliest of yes, true, valid, correct and no, false, invalid, incorrect after the prompt. With
               --written-answers also greedy decoding and a reader
Scores         effect, in points: of valid arguments acceptance(nonsense) - acceptance(real, unbelievable); of invalid
               ones acceptance(real, believable) - acceptance(nonsense). Acceptance: % answered "valid". Positive as in
               people. effect_margin: the same of the log odds of "valid", in nats
               plausibility_effect: acceptance(believable) - acceptance(unbelievable) of real arguments, in points,
               which does not depend on how nonsense terms are judged
               accuracy_real, accuracy_nonsense: % of right verdicts. says_valid: % of verdicts "valid"
Averaging      over arguments in all their wordings; the bootstrap draws whole arguments (premises and conclusion)
Ideal          effects 0, accuracies 100; says_valid has none (50 are valid in a balanced file). A model that always
               says "valid" has effects of 0 and accuracies of 50: the accuracies belong beside every effect
Deviations     undecided answers leave the scores, as published. Malformed rows (their conclusion names a term that is
               in neither premise, a third of the published invalid ones) are left out of all scores and counted; the
               group "items" has the scores with them. The published reader takes "is not logically valid" for valid;
               ours does not. The published interval draws rows; ours draws arguments
Version        1
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from biasunlearn.benchmarks.answer_options import LIKELIHOOD, UNDECIDED, Answer, Question, answers, ask, margin
from biasunlearn.benchmarks.cognitive import arm_of, cognitive_entry, effects, flag, question_id, read_arms, single
from biasunlearn.data.rows import Place, Row, text_of
from biasunlearn.data.syllogisms import is_malformed
from biasunlearn.data.tables import Source, Table
from biasunlearn.runs.results import CognitiveResult
from biasunlearn.scoring.protocol import EvalPlan
from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.stereoset import Item

if TYPE_CHECKING:
    from biasunlearn.models.load import Loaded

VERSION = 1
IDEAL = {
    "effect": 0.0, "effect_margin": 0.0, "plausibility_effect": 0.0, "accuracy_real": 100.0, "accuracy_nonsense": 100.0,
    "says_valid": None,
}  # fmt: skip
VALID, INVALID = "valid", "invalid"
ANSWERS = {VALID: ("yes", "true", "valid", "correct"), INVALID: ("no", "false", "invalid", "incorrect")}
MALFORMED = "malformed"

REFUSALS = (
    "cannot be determined", "can't be determined", "cannot determine", "not enough information", "i'm sorry",
    "i am sorry", "it depends", "as an ai", "i don't know", "i do not know",
)  # fmt: skip
DENIED = re.compile(
    r"\b(not|n't|never|cannot be|can't be)\s+((a|an|necessarily|logically|strictly|be|considered)\s+)*"
    r"(valid|true|correct|follow|stem)"
)
"""Ways to write "invalid" with the word valid in them."""
AFFIRMED = re.compile(r"\b(follows|stems) (logically |necessarily )?from\b")


def run(loaded: "Loaded", source: Source | Table[Question], plan: EvalPlan) -> tuple[list[Item], CognitiveResult]:
    """Asks for a verdict on every argument. Returns the items and the results."""
    table = read(source, skip_invalid=plan.skip_invalid)
    table, items = ask("belief_bias", loaded, table, plan, lambda _, text: written_verdict(text))
    return items, entry(items).with_values(**table.facts)


def read(source: Source | Table[Question], *, skip_invalid: bool = False) -> Table[Question]:
    """The arguments of a table or a folder. Raises as `data.tables.read_table`."""
    return read_arms(source, "belief", _question, skip_invalid=skip_invalid)


def outcomes(items: Sequence[Item]) -> list[Outcome]:
    """Of the answers by likelihood: the values of the effects (stats/treatment.py) and right verdicts (100 or 0)."""
    return _outcomes([answer for answer in answers(items) if not _is_malformed(answer)])


def entry(items: Sequence[Item]) -> CognitiveResult:
    """By validity. Groups: with the malformed items, and the written answers where there are any."""
    malformed = len({item.cluster_id for item in items if item.condition.endswith(MALFORMED)})
    everything = list(answers(items, LIKELIHOOD))
    groups = {}
    if malformed:
        both = {"well formed": [a for a in everything if not _is_malformed(a)], "with malformed": everything}
        groups["items"] = [replace(o, bias_type=name) for name, given in both.items() for o in _outcomes(given)]
    found = cognitive_entry(
        [item for item in items if not item.condition.endswith(MALFORMED)], _outcomes, version=VERSION, ideal=IDEAL,
        formulation="the likeliest of the listed words for valid and invalid after the prompt, summed", groups=groups,
    )  # fmt: skip
    notes = [f"{malformed} malformed arguments are left out: their conclusion names a term of neither premise"]
    return found.with_values(malformed=malformed, notes=[*found.notes, *(notes if malformed else [])])


def written_verdict(text: str) -> str:
    """valid, invalid or undecided. A denial ("is not logically valid") is read before single words.

    The published reader takes the first of the words, so that "not logically valid" is valid there.
    """
    lowered = text.casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    if any(phrase in lowered for phrase in REFUSALS):
        return UNDECIDED
    first = re.search(rf"\b({'|'.join((*ANSWERS[VALID], *ANSWERS[INVALID]))})\b", lowered)
    denied = DENIED.search(lowered.replace("n't", " n't"))
    if denied and (first is None or first.group() not in ("no", "false", "invalid", "incorrect", "yes")):
        return INVALID
    if first:
        return VALID if first.group() in ANSWERS[VALID] else INVALID
    return VALID if AFFIRMED.search(lowered) else UNDECIDED


def _outcomes(given: Sequence[Answer]) -> list[Outcome]:
    decided = [answer for answer in given if answer.chosen != UNDECIDED]
    accepted = {answer.question: (answer, 100.0 * (answer.chosen == VALID)) for answer in decided}
    odds = {
        answer.question: (answer, value) for answer in decided
        if (value := margin(answer, VALID, INVALID)) is not None
    }  # fmt: skip
    found = [*effects("effect", accepted, _arm), *effects("effect_margin", odds, _arm)]
    found += effects("plausibility_effect", accepted, _plausible)
    for answer in decided:
        arm = "nonsense" if answer.condition.startswith("control") else "real"
        found.append(single(answer, f"accuracy_{arm}", 100.0 * (answer.chosen == answer.bias_type)))
        found.append(single(answer, "says_valid", 100.0 * (answer.chosen == VALID)))
    # The effect of valid arguments is control minus treatment: positive where disbelief lowers acceptance.
    turned = ("effect", "effect_margin")
    return [replace(o, value=-o.value) if o.score in turned and o.bias_type == VALID else o for o in found]


def _arm(answer: Answer) -> str | None:
    """The arms of the effect: nonsense against the real arguments in which belief and form disagree."""
    if answer.condition.startswith("control"):
        return "control"
    misleading = "believable" if answer.bias_type == INVALID else "unbelievable"
    return "treatment" if answer.condition.split(" ")[1] == misleading else None


def _plausible(answer: Answer) -> str | None:
    """The arms of the effect of plausibility: real arguments alone."""
    if answer.condition.startswith("control"):
        return None
    return "treatment" if answer.condition.split(" ")[1] == "believable" else "control"


def _is_malformed(answer: Answer) -> bool:
    return answer.condition.endswith(MALFORMED)


def _question(row: Row, place: Place) -> Question:
    premises, conclusion = [text_of(row, "premise_1"), text_of(row, "premise_2")], text_of(row, "conclusion")
    words = [arm_of(row), "believable" if flag(row, "is_believable") else "unbelievable"]
    if is_malformed(premises[0], premises[1], conclusion):
        words.append(MALFORMED)
    return Question(
        id=question_id(row, place),
        bias_type=VALID if flag(row, "is_valid") else INVALID,
        cluster=" | ".join([*sorted(premises), conclusion]),
        prompt=text_of(row, "text"),
        answers=ANSWERS,
        condition=" ".join(words),
    )
