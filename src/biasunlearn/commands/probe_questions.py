"""What probes predict from pairs: four questions, each with what must be unseen in training for a meaningful answer.

- stereotype, for each bias type: which of the two sentences of a pair is it? On unseen target terms. This is the
  difference that debiasing acts on.
- group, for each bias type with a term list: which group (gender, a part of the world) is the sentence about? On unseen
  target terms, so that recognising a term is not enough.
- target term, for each bias type: which of its terms is the sentence about? On unseen pairs; an unseen term has no
  label.
- bias type: which one is the sentence about? On unseen target terms.

Rows 2 i and 2 i + 1 of the states are the stereotype and the anti-stereotype of pair i.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from biasunlearn.data.counterfactual import side_of
from biasunlearn.data.records import Triplet
from biasunlearn.data.splits import group_of
from biasunlearn.data.term_lists import TermList
from biasunlearn.stats.linear_probe import Question

ORDER = ("stereotype", "group", "target term", "bias type")

FEWEST = 5
"""Smallest number of pairs of a target term that is predicted: with fewer, some fold would hardly train on it."""

Labels = Mapping[int, str]
"""{pair: its label}, without pairs that have none."""


def wording(triplet: Triplet, side: int) -> str:
    """The words that distinguish the sentence, in lower case, without a full stop: the control task labels them."""
    sentence = (triplet.stereotype, triplet.anti_stereotype)[side]
    return triplet.supervised(sentence, "difference").text.casefold().strip(" .,;:!?\"'")


def questions(triplets: Sequence[Triplet], lists: Mapping[str, TermList]) -> tuple[list[Question], list[str]]:
    """Every question that the pairs can answer, and why others are left out.

    Args:
        lists: {bias type: the term list that names the groups of its target terms}.
    """
    found: list[Question] = []
    left_out: list[str] = []
    types = sorted({triplet.bias_type for triplet in triplets})
    for name in types:
        own = [place for place, triplet in enumerate(triplets) if triplet.bias_type == name]
        terms = {place: group_of(triplets[place])[1] for place in own}
        _ask(found, left_out, triplets, "stereotype", name, dict.fromkeys(own, name), terms)
        if name in lists:
            sides = {place: side for place in own if (side := side_of(triplets[place].target or "", lists[name]))}
            _ask(found, left_out, triplets, "group", name, _of_two_clusters(sides, terms), terms)
        counts = Counter(terms.values())
        often = {place: term for place, term in terms.items() if counts[term] >= FEWEST}
        _ask(found, left_out, triplets, "target term", name, often, {place: str(place) for place in own})
    terms = {place: group_of(triplet)[1] for place, triplet in enumerate(triplets)}
    kinds = _of_two_clusters({place: triplet.bias_type for place, triplet in enumerate(triplets)}, terms)
    _ask(found, left_out, triplets, "bias type", "", kinds, terms)
    return sorted(found, key=lambda one: ORDER.index(one.asks)), left_out


def _ask(
    found: list[Question], left_out: list[str], triplets: Sequence[Triplet], asks: str, bias_type: str,
    labels: Labels, together: Mapping[int, str],
) -> None:  # fmt: skip
    """Adds the question, or why it is left out. For `stereotype` the label is the side, and `labels` are strata."""
    about = f"{asks} ({bias_type})" if bias_type else asks
    of = len(together)
    by_side = asks == "stereotype"
    groups = {(labels[place], together[place]) for place in labels}
    if not labels or (not by_side and len(set(labels.values())) < 2):
        left_out.append(f"{about}: fewer than two classes")
        return
    if min(Counter(label for label, _ in groups).values()) < 2:
        left_out.append(f"{about}: only one target term, so that none is unseen")
        return
    if len(labels) < of:
        left_out.append(f"{about}: {of - len(labels)} of {of} pairs left out, their label is unknown or too rare")
    pairs = [(place, side) for place in sorted(labels) for side in (0, 1)]
    sides = ("stereotype", "anti-stereotype")

    def column(value: Callable[[int, int], str]) -> tuple[str, ...]:
        return tuple(value(place, side) for place, side in pairs)

    found.append(
        Question(
            asks, bias_type, np.array([2 * place + side for place, side in pairs]),
            np.array(column(lambda place, side: sides[side] if by_side else labels[place])),
            column(lambda place, _: together[place]), column(lambda place, _: labels[place]),
            column(lambda place, side: wording(triplets[place], side)),
        )
    )  # fmt: skip


def _of_two_clusters(labels: Labels, together: Mapping[int, str]) -> Labels:
    """Without classes of a single target term, which cannot be in both training and test data."""
    groups = Counter(label for label, _ in {(labels[place], together[place]) for place in labels})
    return {place: label for place, label in labels.items() if groups[label] > 1}
