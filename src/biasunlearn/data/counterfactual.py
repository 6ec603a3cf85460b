"""Counterfactual pairs: from a stereotypical sentence and a term list, the same sentence about another group.

What cannot be swapped coherently is refused with a reason, never guessed. Term lists: data/term_lists.py.

The rules:

- Pairs: every listed word of the sentence is swapped, whoever it is about. Who a pronoun refers to cannot be
  decided from the words, so "He loves his mother" becomes "She loves her father": the whole scene changes side.
- Groups: all terms of the sentence must belong to one group. Its counterpart is drawn by `seed` and sentence from
  the groups of other families that have every form needed. A word that is several forms of its group ("Mexican":
  adjective and person) is only replaced by a word that is all of them too ("Canadian", never "Spanish").
- "her" becomes "his" or "him", "his" becomes "her" or "hers", by the word that follows. Where that does not
  decide ("gave her flowers", "hurt her back"), the sentence is refused.
- Terms match whole words in any letter case. A compound with "-" or "/" is swapped only if it is listed itself.
- Lower, Capitalised and UPPER case, possessives and contractions are kept; "a" and "an" follow the new sound.
- Personal names are known only as far as `clashes` lists them: "Xavier lost his keys" gets "her keys" if the list
  does not have Xavier.
"""

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass

from biasunlearn.data.english_pronouns import counterpart_pronoun
from biasunlearn.data.records import Sentence, Triplet
from biasunlearn.data.term_lists import TermList, term_key
from biasunlearn.data.term_matches import CannotSwap, TermMatch, find_terms, lookup_of
from biasunlearn.data.word_forms import in_case_of, possessive_ending, starts_sentence, with_article
from biasunlearn.errors import RequestError


@dataclass(frozen=True, slots=True)
class Unswapped:
    """A sentence that has no counterfactual, and why."""

    sentence: str
    source: str
    reason: str


def counterfactual(sentence: str, terms: TermList, *, seed: int = 0) -> str:
    """The sentence with every listed term swapped. Raises CannotSwap with the reason."""
    return _swapped(sentence, terms, seed)[0]


def counterfactual_pairs(
    sentences: Iterable[tuple[str, str]], terms: TermList, *, seed: int = 0
) -> tuple[list[Triplet], list[Unswapped]]:
    """Triplets from (source, stereotypical sentence) rows, and the sentences left out with the reason.

    Raises RequestError if two rows have the same source, since it names the triplet.

    Args:
        sentences: (id, text) of each sentence.
        terms: the term list, as `load_term_list` returns it.
        seed: for terms that have several counterparts.
    """
    triplets: list[Triplet] = []
    unswapped: list[Unswapped] = []
    seen: set[str] = set()
    for source, text in sentences:
        if source in seen:
            raise RequestError(f"{source}: this source names two sentences; give each sentence its own")
        seen.add(source)
        try:
            other, target = _swapped(text, terms, seed)
        except CannotSwap as reason:
            unswapped.append(Unswapped(text, source, str(reason)))
            continue
        triplets.append(
            Triplet(
                id=source,
                bias_type=terms.bias_type,
                kind="intrasentence",
                context="",
                stereotype=Sentence(f"{source}-stereotype", text),
                anti_stereotype=Sentence(f"{source}-anti-stereotype", other),
                target=target,
                source=source,
            )
        )
    return triplets, unswapped


def side_of(term: str, terms: TermList) -> str | None:
    """The group that a term belongs to: the family of its group, or the side of its pair, named by the first pair.

    By hand, with the list gender: "schoolgirl" -> "she", "himself" -> "he", "table" -> None.
    """
    entry = lookup_of(terms).entries.get(term_key(term))
    if entry is None:
        return None
    return (terms.groups[entry.group].family or None) if entry.group >= 0 else terms.pairs[0][entry.side]


def _swapped(sentence: str, terms: TermList, seed: int) -> tuple[str, str]:
    """The swapped sentence and the first term of the list in it. Raises CannotSwap."""
    lookup = lookup_of(terms)
    found = find_terms(sentence, lookup)
    if not found:
        raise CannotSwap(f"no term of the {terms.bias_type} list found")
    for one in found:
        _refuse_compound(sentence, one)
    grouped = [one for one in found if one.entry.group >= 0]
    if grouped and len(grouped) < len(found):
        other = next(one for one in found if one.entry.group < 0)
        raise CannotSwap(f"two kinds of terms, {grouped[0].text!r} and {other.text!r}, pull apart")
    if grouped:
        new = _group_terms(sentence, found, terms, seed)
    else:
        _refuse_both_sides(sentence, found)
        new = [one.entry.new or counterpart_pronoun(sentence, one) for one in found]
    return _rebuilt(sentence, found, new), found[0].entry.term


def _refuse_compound(sentence: str, one: TermMatch) -> None:
    """What the parts of "man-eating", "he/she" or "(s)he" mean together is not known unless it is listed."""
    before = re.search(r"[\w'’]+[)/-]$", sentence[: one.start])
    after = re.match(r"[(/-][\w'’]+", sentence[one.end :])
    if before or after:
        whole = f"{before.group() if before else ''}{one.text}{after.group() if after else ''}"
        raise CannotSwap(f"{whole!r} is a compound that is not in the list")


def _refuse_both_sides(sentence: str, found: list[TermMatch]) -> None:
    """Either is meant by "he or she"; "men and women", with nothing else, swaps into the same statement."""
    coupled: set[int] = set()
    for number, (first, second) in enumerate(zip(found, found[1:], strict=False)):
        link = re.fullmatch(r",?\s+(and|or|nor|and/or|&)\s+((the|a|an)\s+)?", sentence[first.end : second.start])
        same = first.entry.couple == second.entry.couple and first.entry.side != second.entry.side
        if link is None or not same:
            continue
        coupled |= {number, number + 1}
        if link.group(1) not in ("and", "&") or len(coupled) == len(found):
            both = sentence[first.start : second.end]
            raise CannotSwap(f"{both!r} names both sides at once, so the terms pull apart")


def _group_terms(sentence: str, found: list[TermMatch], terms: TermList, seed: int) -> list[str]:
    """One replacement per found term, all from one other group. Raises CannotSwap."""
    own = found[0].entry.group
    for one in found:
        if one.entry.group != own:
            raise CannotSwap(f"two groups, {found[0].text!r} and {one.text!r}, pull apart")
    candidates = []
    for group in terms.groups:
        if group is terms.groups[own] or (group.family and group.family == terms.groups[own].family):
            continue
        forms = dict(group.forms)
        options = [{forms.get(form, "") for form in one.entry.forms} for one in found]
        if all(len(option) == 1 and "" not in option for option in options):
            candidates.append([option.pop() for option in options])
    if not candidates:
        word = ", ".join(sorted({repr(one.entry.term) for one in found}))
        raise CannotSwap(f"no other group of the list has every form that {word} may be here")
    # The sentence is part of the seed: a data set spreads over the groups, and a row does not depend on its neighbours.
    return random.Random(f"{seed}\n{sentence}").choice(candidates)


def _rebuilt(sentence: str, found: list[TermMatch], new: list[str]) -> str:
    pieces: list[str] = []
    done = 0
    for one, word in zip(found, new, strict=True):
        head = with_article(sentence[done : one.start], one, word)
        suffix, used = possessive_ending(sentence, one, word)
        pieces += [head, in_case_of(one, word, starts_sentence(sentence, one.start)), suffix]
        done = one.end + used
    return "".join([*pieces, sentence[done:]])
