"""Items for belief bias of our own: rows to measure it on, and pairs to unlearn it with. Train and report share
nothing.

A pair is an argument with both verdicts. Its "stereotype" is the verdict that follows plausibility ("valid" behind a
believable conclusion, "invalid" behind an unbelievable one), its "anti-stereotype" is the other verdict. All four
cells of form and plausibility have equally many pairs. So SS, the share of pairs in which the verdict that follows
plausibility is more likely, is 50 for every model whose verdicts do not depend on plausibility: one that judges by
form (right in all cells), one that always says "valid", and one that tosses a coin. For one that judges by
plausibility alone it is 100. To forget the verdicts that follow plausibility and to retain the others pulls on form
in opposite directions in the two halves of the pairs, so that what a model knows about form cancels. Nonsense
arguments are in the KL term, which keeps the verdicts of the base model on them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from biasunlearn.data.records import BLANK
from biasunlearn.data.syllogisms import Argument, nonsense_arguments, real_arguments

Part = Literal["train", "report"]
PARTS: tuple[Part, Part] = ("train", "report")

BIAS_TYPE = "belief"
VALID, INVALID = "valid", "invalid"

KINDS: Mapping[Part, Mapping[str, tuple[str, ...]]] = {
    "train": {
        "plants": ("oaks", "roses", "tulips", "pines", "ferns", "daisies", "maples", "willows", "nettles", "lilies"),
        "vehicles": ("trucks", "buses", "tractors", "bicycles", "trams", "vans", "ferries", "wagons", "taxis", "jeeps"),
        "clothes": ("shirts", "jackets", "scarves", "gloves", "skirts", "sweaters", "socks", "coats", "hats", "shoes"),
        "buildings": ("barns", "castles", "chapels", "garages", "hotels", "towers", "sheds", "mills", "huts", "inns"),
    },
    "report": {
        "birds": ("sparrows", "eagles", "robins", "owls", "pigeons", "swans", "crows", "geese", "parrots", "finches"),
        "tools": ("hammers", "saws", "pliers", "chisels", "drills", "spanners", "shovels", "rakes", "axes", "files"),
        "drinks": ("teas", "coffees", "lemonades", "juices", "beers", "wines", "ciders", "cocoas", "brandies", "colas"),
        "metals": ("steels", "bronzes", "irons", "coppers", "silvers", "golds", "tins", "zincs", "nickels", "brasses"),
    },
}  # fmt: skip
"""Everyday kinds and their members. No kind and no member is in both parts."""

MIDDLES: Mapping[Part, tuple[str, ...]] = {
    "train": (
        "things that Anna drew", "things in the north hall", "things on the first list", "things that we counted",
        "things in the old catalogue",
    ),
    "report": (
        "things that Peter named", "things in the south room", "things on the second page", "things that they chose",
        "things in the new register",
    ),
}  # fmt: skip

TEMPLATES: Mapping[Part, tuple[str, ...]] = {
    "train": (
        "Premise 1: {p1}.\nPremise 2: {p2}.\nConclusion: {c}.\nDoes the conclusion follow? The argument is",
        "{p1}. {p2}. Therefore, {c}.\nJudged by logic alone, this argument is",
        "Decide whether the argument is valid or invalid.\n{p1}. {p2}. Conclusion: {c}.\nAnswer:",
    ),
    "report": (
        "Argument:\n{p1}.\n{p2}.\nConclusion: {c}.\nLogically, the argument is",
        "Suppose that the premises are true.\n{p1}. {p2}.\nClaim: {c}.\nIs the step to the claim valid or invalid?\n"
        "Answer:",
    ),
}
"""Wordings of the question. None of the report's is in training."""

SYLLABLES: Mapping[Part, tuple[str, ...]] = {
    "train": ("bla", "dro", "fen", "gri", "mup", "tor", "zel", "vun"),
    "report": ("kra", "sno", "wib", "lef", "pog", "yad", "quo", "hin"),
}
"""Of nonsense words. No word of one part can be one of the other."""

OFF_TOPIC = ("Tuesday", "seventeen", "purple", "although", "northwards", "spoon")
"""Answers without meaning: what a broken model may give."""

NONSENSE_SUBJECTS = 40


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of one part, and how they are asked."""

    real: Sequence[Argument]
    nonsense: Sequence[Argument]
    templates: Sequence[str]
    off_topic: Sequence[str] = OFF_TOPIC


@dataclass(frozen=True, slots=True)
class BeliefData:
    """What `debias --bias belief` works with."""

    train: list[dict[str, Any]]
    """Pairs to unlearn on."""
    report: list[dict[str, Any]]
    """Pairs of other content for SS."""
    benchmark: list[dict[str, Any]]
    """The same arguments, and nonsense ones, as rows of the benchmark belief_bias."""
    unrelated: list[str]
    """Nonsense arguments with each verdict, for the KL term."""


def nonsense_words(part: Part) -> tuple[list[str], list[str]]:
    """Subjects and predicates without meaning."""
    syllables = SYLLABLES[part]
    words = [f"{first}{second}s" for first in syllables for second in syllables if first != second]
    return words[:NONSENSE_SUBJECTS], words[NONSENSE_SUBJECTS:]


def belief_data(*, seed: int = 0) -> BeliefData:
    """Pairs, rows and texts from the shipped words; the same for the same seed."""
    train, report = (_shipped(part, np.random.default_rng([seed, n])) for n, part in enumerate(PARTS))
    return assembled(train, report)


def assembled(train: Arguments, report: Arguments) -> BeliefData:
    """Pairs, rows and texts of these arguments."""
    return BeliefData(
        train=_pairs("train", train),
        report=_pairs("report", report),
        benchmark=[_row(number, one, report) for number, one in enumerate([*report.real, *report.nonsense])],
        unrelated=[
            f"{prompt(one, number, train.templates)} {verdict}"
            for number, one in enumerate(train.nonsense) for verdict in (VALID, INVALID)
        ],
    )  # fmt: skip


def prompt(argument: Argument, number: int, templates: Sequence[str]) -> str:
    """The question about an argument, in the wording that its number gives it."""
    # The cells of the design follow each other, 8 of them: the second summand gives every cell every wording.
    template = templates[(number + number // 8) % len(templates)]
    return template.format(p1=argument.premise_1, p2=argument.premise_2, c=argument.conclusion)


def _shipped(part: Part, rng: np.random.Generator) -> Arguments:
    subjects, predicates = nonsense_words(part)
    return Arguments(
        real=list(real_arguments(KINDS[part], MIDDLES[part], rng)),
        nonsense=list(nonsense_arguments(subjects, predicates, MIDDLES[part], rng)),
        templates=TEMPLATES[part],
    )


def _pairs(name: str, arguments: Arguments) -> list[dict[str, Any]]:
    rows = []
    for number, argument in enumerate(arguments.real):
        question = prompt(argument, number, arguments.templates)
        follows, other = (VALID, INVALID) if argument.believable else (INVALID, VALID)
        rows.append({
            "id": f"belief-{name}-{number}", "bias_type": BIAS_TYPE, "kind": "intrasentence",
            "context": f"{question} {BLANK}", "target": argument.subject,
            "stereotype": f"{question} {follows}", "anti_stereotype": f"{question} {other}",
            "unrelated": f"{question} {arguments.off_topic[number % len(arguments.off_topic)]}",
        })  # fmt: skip
    return rows


def _row(number: int, argument: Argument, arguments: Arguments) -> dict[str, Any]:
    """A row of the benchmark, in the columns of Instructed to Bias."""
    return {
        "id": str(number), "text": prompt(argument, number, arguments.templates), "premise_1": argument.premise_1,
        "premise_2": argument.premise_2, "conclusion": argument.conclusion, "is_valid": argument.valid,
        "is_believable": argument.believable, "with_bias": argument.real,
    }  # fmt: skip
