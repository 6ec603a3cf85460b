"""Listed terms in a sentence: what is found, where, and on which side of the list it is."""

import re
from dataclasses import dataclass
from functools import lru_cache

from biasunlearn.data.term_lists import APOSTROPHE, PRONOUN_SIDES, PRONOUNS, TermList, term_key
from biasunlearn.data.words import whole_words


class CannotSwap(Exception):
    """A sentence has no coherent counterfactual under this list. Its text is the reason."""


@dataclass(frozen=True, slots=True)
class ListedTerm:
    """One listed term. `couple` is equal for terms that are counterparts, `side` is 0 (left) or 1 (right)."""

    term: str
    new: str = ""
    couple: str = ""
    side: int = 0
    group: int = -1
    forms: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TermLookup:
    """A term list, ready to be searched for: terms by their `term_key`, and expressions that find them."""

    entries: dict[str, ListedTerm]
    pattern: re.Pattern[str]
    neutral: re.Pattern[str]
    clashes: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class TermMatch:
    """A listed term in a sentence. `text` is how the sentence writes it."""

    start: int
    end: int
    text: str
    entry: ListedTerm


@lru_cache(maxsize=16)
def lookup_of(terms: TermList) -> TermLookup:
    """What a list looks for in a sentence."""
    entries: dict[str, ListedTerm] = {}
    for left, right in terms.pairs:
        couple = "pronoun" if term_key(left) in PRONOUNS else left
        entries[term_key(left)] = ListedTerm(left, right, couple, 0)
        entries[term_key(right)] = ListedTerm(right, left, couple, 1)
    for old, new in terms.one_way:
        other = entries.get(term_key(new), ListedTerm(new, couple=new, side=0))
        entries[term_key(old)] = ListedTerm(old, new, other.couple, 1 - other.side)
    if terms.pronouns:
        entries["himself"] = ListedTerm("himself", "herself", "pronoun", entries["he"].side)
        entries["herself"] = ListedTerm("herself", "himself", "pronoun", entries["she"].side)
        he = entries["he"].side
        entries |= {word: ListedTerm(word, "", "pronoun", he ^ side) for word, side in PRONOUN_SIDES.items()}
    for number, group in enumerate(terms.groups):
        for _, term in group.forms:
            fills = frozenset(name for name, other_term in group.forms if term_key(other_term) == term_key(term))
            entries[term_key(term)] = ListedTerm(term, group=number, forms=fills)
    # A clash in small letters is a word ("pregnant", "Pregnant"); one with a capital is a name ("Will", not "will").
    clashes = {word: f"(?i:{_regex(word)})" for word in terms.clashes if word.islower()}
    clashes |= {
        case: _regex(case) for word in terms.clashes if not word.islower() for case in (word, word.upper())
    }
    longest_first = sorted(entries, key=lambda term: len(_regex(term)), reverse=True)
    return TermLookup(
        entries,
        re.compile(whole_words({term: _regex(term) for term in longest_first}), re.IGNORECASE),
        re.compile(whole_words({phrase: _regex(phrase) for phrase in terms.neutral})),
        re.compile(whole_words(clashes)),
    )


def _regex(term: str) -> str:
    return re.escape(term).replace(r"\ ", r"\s+").replace("'", APOSTROPHE)


def find_terms(sentence: str, lookup: TermLookup) -> list[TermMatch]:
    """The listed terms from left to right, without those inside a neutral phrase. Raises CannotSwap on a clash."""
    masked = [match.span() for match in lookup.neutral.finditer(sentence)]
    found = []
    for match in lookup.pattern.finditer(sentence):
        # None where the pattern takes a Turkish dotted capital I for an i.
        entry = lookup.entries.get(term_key(match.group()))
        if entry is not None and not any(start < match.end() and match.start() < end for start, end in masked):
            found.append(TermMatch(match.start(), match.end(), match.group(), entry))
    held = [*masked, *((one.start, one.end) for one in found)]
    for clash in lookup.clashes.finditer(sentence):
        inside = any(start <= clash.start() and clash.end() <= end for start, end in held)  # part of a listed phrase
        if found and not inside:
            swap = f"would clash with the swap of {found[0].text!r}"
            raise CannotSwap(f"{clash.group()!r} has no counterpart in the list and {swap}")
    return found
