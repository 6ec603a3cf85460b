"""The same pair of sentences about somebody else: a target term replaced by other groups and by neutral referents.

The difference between a pair's margin and its mean margin under these replacements is what the model ties to the group
(stats/association.py). A replacement keeps number, article, letter case and possessive; a sentence about *she* or
*himself* is swapped as a whole, so that all its pronouns agree. What cannot be replaced coherently has no replacement,
and is counted by the caller.
"""

import difflib
import hashlib
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import yaml

from biasunlearn.data.counterfactual import counterfactual
from biasunlearn.data.families import Families, family_of, shipped_families
from biasunlearn.data.normal_text import bias_type_name
from biasunlearn.data.records import Kind, Passage, Triplet, main_kind
from biasunlearn.data.subgroups import term_lists
from biasunlearn.data.term_lists import TermList
from biasunlearn.data.term_matches import CannotSwap

REFERENTS = Path(__file__).with_name("referents.yaml")

DEFAULT_COUNT = 4
"""Replacements of each pair."""

_PRONOUNS = {"he", "she", "him", "her", "his", "hers", "himself", "herself"}
_WORD = re.compile(r"[\w-]+")
_PEOPLE = re.compile(r"^(.*\S) (people|person)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Replacement:
    """One version of a pair that is about somebody else."""

    term: str
    """What stands in place of the target term."""
    neutral: bool
    """Whether that names no group of the bias type."""
    stereotype: str
    anti_stereotype: str
    context: str | None = None
    """The sentence before both, of an intersentence pair."""

    def passages(self) -> tuple[Passage, Passage]:
        """What is scored of both sentences, as `Triplet.whole` has it."""
        given, space = ("", "") if self.context is None else (self.context, " ")
        return Passage(given, space + self.stereotype), Passage(given, space + self.anti_stereotype)


@dataclass(frozen=True, slots=True)
class ReferentPool:
    """Terms that may stand for each other: by bias type and form, with the forms of every term.

    Attributes:
        by_form: {bias type: {form: terms}}.
        forms: {bias type: {term in lower case: its forms}}.
        neutral: {form: neutral referents}.
        swaps: {bias type: the term list that swaps whole sentences}, for lists of pairs.
    """

    by_form: Mapping[str, Mapping[str, Sequence[str]]]
    forms: Mapping[str, Mapping[str, frozenset[str]]]
    neutral: Mapping[str, Sequence[str]]
    swaps: Mapping[str, TermList]


@lru_cache(maxsize=1)
def shipped_pool() -> ReferentPool:
    """The pool of the shipped term lists and of referents.yaml."""
    return referent_pool(term_lists())


def referent_pool(lists: Iterable[TermList]) -> ReferentPool:
    """The pool of term lists and of referents.yaml.

    A list of pairs without the pronouns tells no forms: its terms may all stand for each other. The pool has no forms
    of a bias type without a list; its terms are replaced by others of the same data.
    """
    content = yaml.safe_load(REFERENTS.read_text(encoding="utf-8"))
    by_form: dict[str, dict[str, list[str]]] = {}
    swaps = {}
    for listed in lists:
        bias_type = bias_type_name(listed.bias_type)
        forms = by_form.setdefault(bias_type, {})
        claims = [(form, term) for group in listed.groups for form, term in group.forms]
        if listed.pronouns:
            swaps[bias_type] = listed
            own = content["forms"].get(bias_type, {})
            claims = [*((form, term) for form, terms in own.items() for term in terms), *claims]
        elif not listed.groups:
            claims += [("term", term) for pair in listed.pairs for term in pair]
        for form, term in claims:
            known = forms.setdefault(form, [])
            if term not in known:
                known.append(term)
    forms_of: dict[str, dict[str, frozenset[str]]] = {}
    for bias_type, forms in by_form.items():
        found: dict[str, set[str]] = {}
        for form, terms in forms.items():
            for term in terms:
                found.setdefault(term.casefold(), set()).add(form)
        forms_of[bias_type] = {term: frozenset(names) for term, names in found.items()}
    return ReferentPool(by_form, forms_of, content["neutral"], swaps)


@dataclass(frozen=True, slots=True)
class ReplacedPairs:
    """Versions of pairs about others, and the pairs that have none."""

    versions: Mapping[str, tuple[Replacement, ...]]
    """By the id of the pair."""
    left_out: tuple[str, ...]
    """"ID: why" of every other pair."""
    kind: Kind = "intrasentence"
    """Of these pairs. Those of the other kind have no versions."""


def replaced_pairs(
    triplets: Sequence[Triplet], *, count: int = DEFAULT_COUNT, seed: int = 0, pool: ReferentPool | None = None
) -> ReplacedPairs:
    """Versions of all intrasentence pairs of a file, or of its intersentence pairs where it has no others.

    They depend on the file and the seed, not on a model.

    Args:
        triplets: of one file.
        count, seed, pool: as in `replacements`.
    """
    kind = main_kind(triplets)
    pairs = [triplet for triplet in triplets if triplet.kind == kind]
    terms: dict[str, dict[str, None]] = {}
    for pair in pairs:
        if pair.target:
            terms.setdefault(pair.bias_type, {})[pair.target] = None
    versions, left_out = {}, []
    for pair in pairs:
        made = replacements(pair, count=count, seed=seed, others=terms.get(pair.bias_type, ()), pool=pool)
        if made:
            versions[pair.id] = tuple(made)
        else:
            left_out.append(f"{pair.id}: {_why_not(pair)}")
    return ReplacedPairs(versions, tuple(left_out), kind)


def _why_not(triplet: Triplet) -> str:
    """Why a pair has no replacement."""
    if not triplet.target:
        return "names no target term"
    if not _in_lines(triplet):
        return "a sentence has more than one line"
    if not all(_find(triplet.target, text) for text in _texts(triplet)):
        where = "the context" if triplet.kind == "intersentence" else "both sentences"
        return f"the target term {triplet.target!r} is not in {where}"
    return f"no other term fits in the place of {triplet.target!r}"


def _in_lines(triplet: Triplet) -> bool:
    """Whether `_version` can divide the texts of `_texts` again: an intersentence pair has a line for each sentence."""
    sides = (triplet.stereotype.text, triplet.anti_stereotype.text)
    return triplet.kind == "intrasentence" or not any("\n" in text for text in (triplet.context, *sides))


def _texts(triplet: Triplet) -> tuple[str, str]:
    """The two texts in which the target term is replaced; the context of an intersentence pair is a line before."""
    before = f"{triplet.context}\n" if triplet.kind == "intersentence" else ""
    return before + triplet.stereotype.text, before + triplet.anti_stereotype.text


def _version(triplet: Triplet, term: str, neutral: bool, texts: Sequence[str]) -> Replacement | None:
    """The version with these two texts, of the form of `_texts`; None where their contexts differ."""
    if triplet.kind == "intrasentence":
        return Replacement(term, neutral, *texts)
    (context, _, stereotype), (other, _, anti_stereotype) = (text.partition("\n") for text in texts)
    return Replacement(term, neutral, stereotype, anti_stereotype, context) if context == other else None


def replacements(
    triplet: Triplet,
    *,
    count: int = DEFAULT_COUNT,
    seed: int = 0,
    others: Iterable[str] = (),
    without: frozenset[tuple[str, str]] = frozenset(),
    pool: ReferentPool | None = None,
    families: Families | None = None,
) -> list[Replacement]:
    """Up to `count` versions of a pair about other groups, one of them about a neutral referent where there is one.

    The choice is seeded by `seed` and the pair's own texts, so that it does not depend on the rest of the file.

    Args:
        triplet: a pair with a target term.
        count: how many versions at most.
        seed: of the choice.
        others: target terms of the same bias type in the user's data: used where no list knows the bias type.
        without: (bias type, family) of terms that must not be used (those of the report split, in training).
        pool: terms by form; the shipped one by default.
        families: families of terms; the shipped ones by default.
    Returns:
        An empty list where the pair names no target term, the term is not found as whole words in both sentences (or in
        the context of an intersentence pair), or nothing can replace it coherently.
    """
    if not triplet.target or count < 1:
        return []
    if not _in_lines(triplet):
        return []
    pool = pool or shipped_pool()
    families = shipped_families() if families is None else families
    texts = _texts(triplet)
    chosen = random.Random(_digest(seed, *texts))
    swapped = _whole_swap(triplet, texts, pool)
    made = [swapped] if swapped is not None else []
    if triplet.target.casefold() in _PRONOUNS:
        return made[:count]
    spans = [_find(triplet.target, text) for text in texts]
    if not all(spans) or (triplet.bias_type in pool.swaps and swapped is None and _has_pronoun(texts)):
        return made[:count]
    plural = spans[0][0].plural
    groups, neutral = _candidates(triplet, plural, others, pool, families, without)
    if triplet.bias_type in pool.swaps and _has_pronoun(texts):
        groups, neutral = [], []  # only the whole swap keeps the pronouns right
    kept = chosen.sample(neutral, min(1, len(neutral)))
    room = max(0, count - len(made) - len(kept))
    for term in [*chosen.sample(groups, min(room, len(groups))), *kept]:
        versions = [_replaced(text, found, term) for text, found in zip(texts, spans, strict=True)]
        if one := _version(triplet, term, term in neutral, versions):
            made.append(one)
    return made[:count]


def _digest(seed: int, *texts: str) -> int:
    return int.from_bytes(hashlib.sha256("\n".join((str(seed), *texts)).encode()).digest()[:8], "big")


def _whole_swap(triplet: Triplet, texts: tuple[str, str], pool: ReferentPool) -> Replacement | None:
    """Both sentences with every term of a list of pairs swapped; None where one of them cannot be."""
    if triplet.bias_type not in pool.swaps:
        return None
    try:
        swapped = [counterfactual(text, pool.swaps[triplet.bias_type]) for text in texts]
    except CannotSwap:
        return None
    return _version(triplet, "(swapped)", False, swapped)


def _has_pronoun(texts: Iterable[str]) -> bool:
    return any(word in _PRONOUNS for text in texts for word in re.findall(r"\w+", text.casefold()))


class _Occurrence(NamedTuple):
    """A target term in a sentence, from `start` to `end`, with the plural ending that it may have there."""

    start: int
    end: int
    plural: bool


def _find(term: str, text: str) -> list[_Occurrence]:
    """Occurrences of a term as whole words, in any letter case, with a plural ending that it may take."""
    if term.isascii() and text.isascii() and _WORD.fullmatch(term):
        return _find_word(term.lower(), text)
    spaced = r"\s+".join(map(re.escape, term.split()))
    found = re.finditer(rf"(?<![\w-]){spaced}(?P<plural>e?s)?(?![\w-])", text, re.IGNORECASE)
    return [_Occurrence(*match.span(), match.group("plural") is not None) for match in found]


def _find_word(term: str, text: str) -> list[_Occurrence]:
    """The same for a term that is one word, without an expression of its own for each term of the data."""
    forms = {term: False, term + "s": True, term + "es": True}
    matches = ((match, forms.get(match.group().lower())) for match in _WORD.finditer(text))
    return [_Occurrence(*match.span(), plural) for match, plural in matches if plural is not None]


def _candidates(
    triplet: Triplet,
    plural: bool,
    others: Iterable[str],
    pool: ReferentPool,
    families: Families,
    without: frozenset[tuple[str, str]],
) -> tuple[list[str], list[str]]:
    """Terms of other groups and neutral referents that fill every form that the target term has here."""
    bias_type, target = triplet.bias_type, str(triplet.target)
    forms = _forms(bias_type, target, plural, pool, families)
    known = pool.forms.get(bias_type, {})
    if forms:
        listed = [term for form in sorted(forms) for term in pool.by_form[bias_type].get(form, ())]
        listed = [term for term in dict.fromkeys(listed) if forms <= known[term.casefold()]]
        people = _PEOPLE.match(target)
        if people:
            listed = [f"{term} {people.group(2).lower()}" for term in listed]
    else:
        listed = [term + ("s" if plural else "") for term in dict.fromkeys(others)]
    own = family_of(bias_type, target, families)
    groups = [
        term
        for term in listed
        if (family := family_of(bias_type, term, families)) != own and (bias_type, family) not in without
    ]
    wanted = sorted(forms or {"people" if plural else "person"})
    neutral = [term for form in wanted for term in pool.neutral.get(form, ())]
    return groups, neutral if len(forms) <= 1 or forms == {"adjective", "person"} else neutral[:1]


def _forms(bias_type: str, target: str, plural: bool, pool: ReferentPool, families: Families) -> frozenset[str]:
    """The forms of a term in its list; of an unlisted one those of the nearest spelling in its family, else a guess."""
    known = pool.forms.get(bias_type)
    if known is None:
        return frozenset()
    people = _PEOPLE.match(target)
    key = (people.group(1) if people else target).casefold()
    forms = known.get(key)
    if forms is None:
        own = family_of(bias_type, target, families)
        twins = [term for term in known if family_of(bias_type, term, families) == own]
        near = difflib.get_close_matches(key, twins, n=1, cutoff=0.8)
        forms = known[near[0]] if near else frozenset({"person"})
    if people:
        return frozenset({"adjective"})
    if plural:
        return frozenset({"people"})
    return forms


def _replaced(text: str, found: Sequence[_Occurrence], term: str) -> str:
    """The text with every occurrence replaced, from the last to the first, articles and first capital adjusted."""
    for one in reversed(found):
        begins = one.start == 0 or text[one.start - 1] == "\n"
        new = term[:1].upper() + term[1:] if begins else term
        head = text[: one.start]
        if article := re.search(r"\b(an?)(\s+)$", head, re.IGNORECASE):
            letter = "n" if re.match(r"[aeiou]", new, re.IGNORECASE) else ""
            head = head[: article.start()] + article.group(1)[0] + letter + article.group(2)
        text = head + new + text[one.end :]
    return text
