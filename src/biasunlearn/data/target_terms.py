"""What one file knows about the pairs of another: their target terms and their unrelated sentences.

Training pairs often name no target term. A split by context alone would leave the same term on both sides,
and the stop split would then say nothing about terms that were never trained on.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache

from biasunlearn.data.normal_text import normal_text, tidy
from biasunlearn.data.records import BLANK, Triplet
from biasunlearn.data.words import whole_words

RECURS = 8
"""A word is a candidate for a target term when this many contexts of one bias type hold it."""

CONTRAST = 4.0
"""... and when it is this many times as frequent in the contexts of that bias type as in those of the others."""

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


def with_targets(triplets: Sequence[Triplet], named: Iterable[Triplet] = ()) -> list[Triplet]:
    """Fills in `target` where it is missing; a pair whose target is not found keeps None.

    1. A triplet of `named` (or of `triplets` itself) with the same context names its target.
    2. Else the longest target term of the same bias type that occurs in the context as whole words.
    3. Else a triplet as in 1 whose context is another spelling of this one.
    4. Else the word that recurs most tellingly in the contexts of this bias type (`RECURS`, `CONTRAST`):
       annotators wrote many contexts for each term, so a recurring word that other bias types lack is one.
    """
    if all(c.target for c in triplets):
        return list(triplets)
    knowing = [c for c in (*named, *triplets) if c.target]
    by_context = {(c.bias_type, c.context): c.target for c in knowing if c.context}
    by_spelling = {_key(c): c.target for c in knowing if c.context}
    terms: dict[str, dict[str, str]] = defaultdict(dict)  # normal form -> as its data spells it
    for triplet in knowing:
        terms[triplet.bias_type].setdefault(normal_text(str(triplet.target)), str(triplet.target))
    pattern = cache(lambda bias_type: _any_of(terms[bias_type]))  # of those bias types that need one
    recurring = _recurring_words(triplets)

    def target_of(triplet: Triplet) -> str | None:
        if triplet.target or (triplet.bias_type, triplet.context) in by_context:
            return triplet.target or by_context[triplet.bias_type, triplet.context]
        text = normal_text(_context(triplet))
        if triplet.bias_type in terms and (found := pattern(triplet.bias_type).search(text)):
            return _term_of(found.group(), terms[triplet.bias_type])
        if _key(triplet) in by_spelling:
            return by_spelling[_key(triplet)]
        candidates = recurring.get(triplet.bias_type, {})
        words = sorted(_words(text) & candidates.keys())
        return max(words, key=lambda word: candidates[word]) if words else None

    found = map(target_of, triplets)
    return [c if c.target == target else replace(c, target=target) for c, target in zip(triplets, found, strict=True)]


def with_unrelated(triplets: Sequence[Triplet], named: Iterable[Triplet]) -> list[Triplet]:
    """Gives a pair the unrelated sentence that a triplet of the same bias type and context has in another file. Letter
    case and full stop count here, since the sentence takes the place of one of the pair."""
    by_context = {(c.bias_type, tidy(c.context)): c.unrelated for c in named if c.unrelated and c.context}
    if not by_context:
        return list(triplets)
    return [
        c if c.unrelated else replace(c, unrelated=by_context.get((c.bias_type, tidy(c.context)))) for c in triplets
    ]


def _key(triplet: Triplet) -> tuple[str, str]:
    """Bias type and context, whose other spellings are the same context."""
    return triplet.bias_type, normal_text(triplet.context)


def _context(triplet: Triplet) -> str:
    if triplet.context:
        return triplet.context.replace(BLANK, " ")
    return triplet.supervised(triplet.stereotype).prefix


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))


def _any_of(terms: Iterable[str]) -> re.Pattern[str]:
    """Any of the terms, or its regular plural, as whole words; of two that begin alike the longer one."""
    longest_first = sorted(filter(None, terms), key=lambda term: (-len(term), term))
    return re.compile(whole_words({term: f"{re.escape(term)}(?:s|es)?" for term in longest_first}))


def _term_of(found: str, terms: Mapping[str, str]) -> str:
    """The term, as its data spells it, of which `found` is the singular or the plural."""
    return next(terms[text] for text in (found, found[:-1], found[:-2]) if text in terms)


def _recurring_words(triplets: Sequence[Triplet]) -> dict[str, dict[str, float]]:
    """Per bias type: word -> how telling it is (contexts that hold it, times the log of the contrast)."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    contexts: Counter[str] = Counter()
    for triplet in triplets:
        contexts[triplet.bias_type] += 1
        counts[triplet.bias_type].update(_words(_context(triplet)))
    everywhere: Counter[str] = Counter()
    for counter in counts.values():
        everywhere.update(counter)
    telling: dict[str, dict[str, float]] = {}
    for bias_type, counter in counts.items():
        others = contexts.total() - contexts[bias_type]
        if not others:  # one bias type alone: nothing to set its words against
            continue
        telling[bias_type] = {}
        for word, here in counter.items():
            contrast = (here / contexts[bias_type]) / ((everywhere[word] - here + 1) / others)
            if here >= RECURS and contrast >= CONTRAST:
                telling[bias_type][word] = here * math.log(contrast)
    return telling
