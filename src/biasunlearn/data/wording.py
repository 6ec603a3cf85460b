"""The words in which the two sentences of a pair differ, and whether training pairs had them.

Training on pairs can teach a model single words instead of the association: a word that was always on the stereotype's
side becomes less likely behind everybody. Report pairs whose attribute words were in training are therefore reported
apart from those whose words were not.
"""

import hashlib
from collections.abc import Iterable, Set
from functools import lru_cache
from typing import Literal

from biasunlearn.data.normal_text import normal_text
from biasunlearn.data.records import BLANK, Triplet
from biasunlearn.data.words import shared_prefix, shared_suffix, words

Seen = Literal["both", "one", "neither"]

SEEN: tuple[Seen, ...] = ("both", "one", "neither")


def attribute_words(triplet: Triplet) -> tuple[frozenset[str], frozenset[str]]:
    """The words of the stereotype that its anti-stereotype lacks, and the reverse, between what both share.

    By hand: "He is a very good nurse." and "He is a good pilot." -> {very, nurse}, {pilot}. A side that only lacks
    words of the other ("not poor", "poor") has none.
    """
    first, second = triplet.stereotype.text, triplet.anti_stereotype.text
    begin = triplet.context.partition(BLANK)[0]
    if begin.endswith(" ") and first.startswith(begin) and second.startswith(begin):
        first, second = first[len(begin) :], second[len(begin) :]  # a word begins here, so that nothing else changes
    return _differing_words(first, second)


def word_hashes(triplets: Iterable[Triplet]) -> frozenset[str]:
    """Hashes of the attribute words of pairs, as an adapter folder stores them (training_data.json)."""
    found: set[str] = set()
    for triplet in triplets:
        found.update(*attribute_words(triplet))
    return frozenset(map(_hash, found))


def seen_wording(triplet: Triplet, trained: Set[str]) -> Seen:
    """Of how many of a pair's sides every attribute word is among those of the training pairs.

    A side without words of its own counts as the other side does.

    Args:
        trained: `word_hashes` of the training pairs.
    """
    sides = [side for side in attribute_words(triplet) if side]
    seen = sum(all(_hash(word) in trained for word in side) for side in sides)
    if seen == len(sides):
        return "both" if sides else "neither"
    return "one" if seen else "neither"


@lru_cache(maxsize=2**16)  # a large file is made of templates, and what follows the BLANK recurs in it
def _differing_words(first: str, second: str) -> tuple[frozenset[str], frozenset[str]]:
    head = shared_prefix(first, second)
    sides = [first[head:], second[head:]]
    tail = shared_suffix(*sides)
    return _own_words(*(side[: len(side) - tail] for side in sides))


@lru_cache(maxsize=2**16)  # a file has the same words in many pairs
def _own_words(first: str, second: str) -> tuple[frozenset[str], frozenset[str]]:
    own, other = _words(first), _words(second)
    return own - other, other - own


def _words(text: str) -> frozenset[str]:
    return frozenset(word for word, _ in words(normal_text(text)) if any(c.isalnum() for c in word))


def _hash(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()[:10]
