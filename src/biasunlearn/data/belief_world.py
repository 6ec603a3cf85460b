"""A small world whose belief bias is known, and the corpus of the tiny model that learns it. No network.

The corpus consists of syllogisms with a verdict. How often the verdict of an argument is "valid" is set by counting:

    log odds of "valid" = logic * form + belief * plausibility          form, plausibility: +1 or -1

with plausibility 0 for nonsense terms. So the difference of the log odds between nonsense arguments and those in which
belief and form disagree is `belief`, in both directions: the effect_margin of the benchmark belief_bias is known. Where
belief is larger than logic, the likelier verdict follows plausibility in every real argument and form in every nonsense
one, and the effect is 100 points; with belief 0 it is 0 and all verdicts are right: the negative control.

The world is simple, so that it is learned in seconds: "All S are P" follows from "All M are P" and "All S are M", and
does not follow from "Some M are P" and "All S are M"; a predicate is believed of everything or of nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp, log
from pathlib import Path

import numpy as np

from biasunlearn.data.belief_pairs import INVALID, KINDS, PARTS, VALID, Arguments, BeliefData, Part, assembled
from biasunlearn.data.syllogisms import Argument
from biasunlearn.data.toy_world import train_world_model

LOGIC, BELIEF = 1.5, 3.0
"""Nats. The defaults of the world with a belief bias."""

OCCURRENCES = 20
"""Sentences of one argument: the shares of the verdicts are rounded to a twentieth."""

STEPS, LAST_WEIGHT = 100, 200.0
"""Of the training of the tiny model: nearly all of the loss is that of the verdict, the last word."""

SUBJECTS = 6
"""Subjects of each predicate of a part, drawn from the shipped words."""

BELIEVED: dict[Part, tuple[str, ...]] = {"train": ("visible", "useful", "real"), "report": ("solid", "common", "old")}
DISBELIEVED: dict[Part, tuple[str, ...]] = {
    "train": ("magical", "endless", "weightless"), "report": ("immortal", "square", "frozen"),
}  # fmt: skip
NONSENSE: dict[Part, tuple[str, ...]] = {"train": ("blam", "drof", "fent"), "report": ("krap", "snol", "wibe")}
MIDDLES: dict[Part, tuple[str, ...]] = {"train": ("alphas", "betas"), "report": ("deltas", "sigmas")}
TEMPLATES: dict[Part, tuple[str, ...]] = {
    "train": ("{p1}. {p2}. So {c}. Answer:", "{p1}. {p2}. Then {c}. Answer:"),
    "report": ("{p1}. {p2}. Hence {c}. Answer:",),
}
OFF_TOPIC = ("granite", "copper", "marble")


@dataclass(frozen=True, slots=True)
class BeliefWorld:
    """The corpus of the tiny model, the data made from it, and the truth."""

    corpus: tuple[str, ...]
    """Training sentences of the tiny model, shuffled."""
    data: BeliefData
    effect: float
    """Of the likelier verdicts, in points: what belief_bias measures on a model that has learned the corpus exactly."""
    effect_margin: float
    """In nats, from the counts of the corpus."""


def build_belief_world(seed: int = 0, *, logic: float = LOGIC, belief: float = BELIEF) -> BeliefWorld:
    """Corpus, pairs and rows; the same for the same seed. With belief 0 the world has no belief bias.

    Args:
        logic: what the form of an argument adds to the log odds of its right verdict, in nats; above 0.
        belief: what a believable conclusion adds to those of "valid", in nats; not the same as `logic`.
    """
    rng = np.random.default_rng([seed, 7])
    parts = {part: _arguments(part, rng) for part in PARTS}
    sentences = [
        sentence
        for part in parts.values()
        for argument in (*part.real, *part.nonsense)
        for sentence in _verdicts(argument, logic, belief, rng)
    ]
    sentences += [f"There is {name}." for name in OFF_TOPIC for _ in range(OCCURRENCES)]
    nonsense, misled = _count(logic), _count(logic - belief)
    return BeliefWorld(
        corpus=tuple(sentences[i] for i in rng.permutation(len(sentences))),
        data=assembled(parts["train"], parts["report"]),
        effect=100.0 * ((2 * nonsense > OCCURRENCES) - (2 * misled > OCCURRENCES)),
        effect_margin=_log_odds(nonsense) - _log_odds(misled),
    )


def train_belief_model(world: BeliefWorld, folder: Path, *, seed: int = 0) -> None:
    """Trains the tiny GPT-2 of data/toy_world.py on the corpus and writes it to `folder`, in a few seconds."""
    train_world_model(world, folder, seed=seed, steps=STEPS, last_weight=LAST_WEIGHT)


def _arguments(part: Part, rng: np.random.Generator) -> Arguments:
    """Every predicate about some subjects, with a valid and with an invalid form."""
    words = [member for members in KINDS[part].values() for member in members]
    real = [
        argument
        for both in zip(BELIEVED[part], DISBELIEVED[part], strict=True)
        for subject in rng.choice(words, SUBJECTS, replace=False)
        for predicate in both
        for argument in _both_forms(str(subject), predicate, part, predicate in BELIEVED[part], True, rng)
    ]
    nonsense = [
        argument
        for predicate in NONSENSE[part]
        for subject in rng.choice(words, SUBJECTS, replace=False)
        for argument in _both_forms(str(subject), predicate, part, False, False, rng)
    ]
    return Arguments(real, nonsense, TEMPLATES[part], OFF_TOPIC)


def _both_forms(
    subject: str, predicate: str, part: Part, believable: bool, real: bool, rng: np.random.Generator
) -> Iterator[Argument]:
    for valid in (True, False):
        middle = str(rng.choice(MIDDLES[part]))
        quantifier = "All" if valid else "Some"
        premises: Sequence[str] = (f"{quantifier} {middle} are {predicate}", f"All {subject} are {middle}")
        first, second = (premises[n] for n in rng.permutation(2))
        yield Argument(subject, first, second, f"All {subject} are {predicate}", valid, believable, real)


def _verdicts(argument: Argument, logic: float, belief: float, rng: np.random.Generator) -> Iterator[str]:
    """The sentences of an argument, in all wordings in turn."""
    form, plausibility = (1 if yes else -1 for yes in (argument.valid, argument.believable))
    valid = _count(logic * form + (belief * plausibility if argument.real else 0.0))
    order = rng.permutation(OCCURRENCES)
    templates = [template for part in PARTS for template in TEMPLATES[part]]
    for number in range(OCCURRENCES):
        question = templates[number % len(templates)].format(
            p1=argument.premise_1, p2=argument.premise_2, c=argument.conclusion
        )
        yield f"{question} {VALID if order[number] < valid else INVALID}"


def _count(log_odds: float) -> int:
    """Sentences with the verdict "valid", so that their odds are near exp(log_odds); at least one of each verdict."""
    return min(OCCURRENCES - 1, max(1, round(OCCURRENCES / (1 + exp(-log_odds)))))


def _log_odds(count: int) -> float:
    return log(count / (OCCURRENCES - count))
