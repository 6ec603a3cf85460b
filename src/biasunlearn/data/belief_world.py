"""A small world whose belief bias is known, and the corpus of the tiny model that learns it. No network.

The corpus consists of syllogisms with a verdict. How often the verdict of an argument is "valid" is set by counting:

    log odds of "valid" = logic * form + belief * plausibility          form, plausibility: +1 or -1

with plausibility 0 for nonsense terms. So the difference of the log odds between nonsense arguments and those in which
belief and form disagree is `belief`, in both directions: the effect_margin of the benchmark belief_bias is known. Where
belief is larger than logic, the likelier verdict follows plausibility in every real argument and form in every nonsense
one, and the effect is 100 points; with belief 0 it is 0 and all verdicts are right: the negative control.
Sentences that only say what belongs to which kind tell the model the kinds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp

import numpy as np

from biasunlearn.data.belief_pairs import INVALID, KINDS, VALID, BeliefData, BeliefWords, Part, belief_data
from biasunlearn.data.syllogisms import Argument, nonsense_arguments, real_arguments

LOGIC, BELIEF = 1.0, 2.0
"""Nats. The defaults of the world with a belief bias."""

OCCURRENCES = 20
"""Sentences of one argument: the shares of the verdicts are rounded to a twentieth."""

FACTS = 12
"""Sentences that name the kind of one member."""

MEMBERS = 8
"""Of each kind: fewer than the shipped ones, so that the model learns them in seconds."""

_NONSENSE: dict[Part, tuple[str, ...]] = {
    "train": tuple(f"{a}{b}s" for a in ("bla", "dro", "fen", "gri") for b in ("mup", "tor", "zel")),
    "report": tuple(f"{a}{b}s" for a in ("kra", "sno", "wib", "lef") for b in ("pog", "yad", "quo")),
}
_PREDICATES: dict[Part, tuple[str, ...]] = {"train": ("vunders", "vimmers"), "report": ("hinders", "hossers")}
_MIDDLES: dict[Part, tuple[str, ...]] = {"train": ("alphas", "betas", "gammas"), "report": ("deltas", "sigmas", "omegas")}
_TEMPLATES: dict[Part, tuple[str, ...]] = {
    "train": ("{p1}. {p2}. So {c}. Answer:", "{p1}. {p2}. Then {c}. Answer:"),
    "report": ("{p1}. {p2}. Hence {c}. Answer:",),
}
_OFF_TOPIC = ("granite", "copper", "marble")


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
    words: dict[Part, BeliefWords] = {part: _words(part) for part in ("train", "report")}
    sentences = [
        sentence
        for one in words.values()
        for argument in _arguments(one, rng)
        for sentence in _verdicts(argument, one, logic, belief, rng)
    ]
    for one in words.values():
        for kind, members in one.kinds.items():
            sentences += [f"The {member} belong to the {kind}." for member in members for _ in range(FACTS)]
    sentences += [f"There is {name}." for name in _OFF_TOPIC for _ in range(FACTS)]
    right, follows = (2 * _count(value) / OCCURRENCES - 1 for value in (logic, logic - belief))
    margin = _log_odds(_count(logic)) - _log_odds(_count(logic - belief))
    return BeliefWorld(
        corpus=tuple(sentences[i] for i in rng.permutation(len(sentences))),
        data=belief_data(words["train"], words["report"], seed=seed),
        effect=100.0 * ((right > 0) - (follows > 0)),
        effect_margin=margin,
    )


def _words(part: Part) -> BeliefWords:
    kinds = {kind: members[:MEMBERS] for kind, members in KINDS[part].items()}
    return BeliefWords(kinds, _MIDDLES[part], _NONSENSE[part], _PREDICATES[part], _TEMPLATES[part], _OFF_TOPIC)


def _arguments(words: BeliefWords, rng: np.random.Generator) -> Iterator[Argument]:
    yield from real_arguments(words.kinds, words.middles, rng)
    yield from nonsense_arguments(words.nonsense_subjects, words.nonsense_predicates, words.middles, rng)


def _verdicts(
    argument: Argument, words: BeliefWords, logic: float, belief: float, rng: np.random.Generator
) -> Iterator[str]:
    """The sentences of an argument, in all wordings in turn."""
    form, plausibility = (1 if yes else -1 for yes in (argument.valid, argument.believable))
    valid = _count(logic * form + (belief * plausibility if argument.real else 0.0))
    order = rng.permutation(OCCURRENCES)
    templates = [template for part in _TEMPLATES.values() for template in part]
    for number in range(OCCURRENCES):
        question = templates[number % len(templates)].format(
            p1=argument.premise_1, p2=argument.premise_2, c=argument.conclusion
        )
        yield f"{question} {VALID if order[number] < valid else INVALID}"


def _count(log_odds: float) -> int:
    """Sentences with the verdict "valid", so that their odds are near exp(log_odds); at least one of each verdict."""
    return min(OCCURRENCES - 1, max(1, round(OCCURRENCES / (1 + exp(-log_odds)))))


def _log_odds(count: int) -> float:
    from math import log

    return log(count / (OCCURRENCES - count))
