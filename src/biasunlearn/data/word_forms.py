"""English word forms: letter case, a and an, possessives, so that one word may take the place of another."""

import re

from biasunlearn.data.term_lists import APOSTROPHE
from biasunlearn.data.term_matches import CannotSwap, TermMatch


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _title(text: str) -> str:
    return re.sub(r"(?<![\w'’])\w", lambda letter: letter.group().upper(), text)


def starts_sentence(sentence: str, position: int) -> bool:
    before = sentence[:position].rstrip(" \t\n\"'“‘([")
    return not before or before[-1] in ".!?"


def in_case_of(one: TermMatch, new: str, starts_sentence: bool) -> str:
    """`new` in the letter case in which the sentence writes its term. Raises CannotSwap on mixed case."""
    found, term = " ".join(re.sub(APOSTROPHE, "'", one.text).split()), one.entry.term
    if found == term:
        cased = new
    elif found.isupper():
        cased = new.upper()
    elif found.islower():
        cased = new.lower()
    elif found == _capitalised(term):
        cased = _capitalised(new)
    elif found == _title(term):
        cased = _title(new)
    else:
        raise CannotSwap(f"{one.text!r} is in mixed letter case, which has no counterpart")
    return _capitalised(cased) if starts_sentence and found[0].isupper() else cased


_SILENT_H = re.compile(r"(hour|honest|honou?r|heir)", re.IGNORECASE)
# Vowel letters that sound like "y" or "w": university (not uninteresting), user (not usher), European, one.
_CONSONANT_SOUND = re.compile(
    r"(uni(?![nmd])|unanim|us[aeiu]|ut[eio]|ur[aeio]|urug|ubi|uk|ufo|ugan|ui|uy|u\b|eu|ewe|once|one(?![a-z]))",
    re.IGNORECASE,
)
_READ_AS_WORDS = {"NASA", "NATO", "NAFTA", "FEMA", "LASER", "RADAR", "SCUBA", "SWAT", "UNESCO", "UNICEF"}


def article(word: str) -> str:
    """The "a" or "an" of a word, by its sound: an hour, a university, an MRI. Best effort: English has no rule."""
    first = re.split(r"[\s-]", word, maxsplit=1)[0]
    if first[:1].isdigit():
        return "an" if re.match(r"8|11(?!\d)|18(?!\d)", first) else "a"
    if first.isupper() and first not in _READ_AS_WORDS:
        return "an" if first[0] in "AEFHILMNORSX" else "a"
    if _CONSONANT_SOUND.match(word):
        return "a"
    return "an" if first[:1].lower() in "aeiouáéíóúàèêîôäëïöåø" or _SILENT_H.match(word) else "a"


def with_article(head: str, one: TermMatch, new: str) -> str:
    """`head`, the text before a term; an "a" or "an" at its end is fitted to the new word."""
    match = re.search(r"(?<![\w'’])(an?)(\s+[\"'“‘(]?)$", head, re.IGNORECASE)
    if match is None:
        return head
    old, wanted = match.group(1), article(new)
    if old.lower() == wanted:
        return head
    shouted = old == "AN" or (old == "A" and one.text.isupper() and not one.entry.term.isupper())
    wanted = wanted.upper() if shouted else _capitalised(wanted) if old[0].isupper() else wanted
    return head[: match.start()] + wanted + match.group(2)


_IRREGULAR_PLURAL = re.compile(r"(?:men|people|children|brethren|folk|police|alumni|alumnae)$", re.IGNORECASE)
"""Plurals that do not end in s, so that their possessive is 's: gentlemen's, but ladies'."""

_PLURAL_FORMS = {"people", "plural", "persons"}
"""Names of forms in a term list that hold plurals."""


def possessive_ending(sentence: str, one: TermMatch, new: str) -> tuple[str, int]:
    """The ending that replaces the possessive after a term, and how many characters of the sentence it replaces.

    By hand: the ladies' club <-> the gentlemen's club; the actress's part <-> the actor's part; James' or James's
    hat -> Jane's hat -> James's hat. The apostrophe keeps its form, straight or curly.

    Raises:
        CannotSwap: a mark after a word in s may close a quotation as well; "ladies's" is no form of the word.
    """
    ending = re.match(rf"({APOSTROPHE})(s)?(?!\w)", sentence[one.end :], re.IGNORECASE)
    old, old_in_s, new_in_s = one.entry.term, one.entry.term.lower().endswith("s"), new.lower().endswith("s")
    if ending is None or old_in_s == new_in_s:
        return "", 0
    plural = bool(_IRREGULAR_PLURAL.search(old) or _IRREGULAR_PLURAL.search(new) or _PLURAL_FORMS & one.entry.forms)
    mark, letter = ending.groups()
    if new_in_s:  # a mark without s after the man closes a quotation
        return (mark, 2) if letter and plural else ("", 0)
    if letter and plural:
        raise CannotSwap(f"{one.text + ending.group()!r} is not a form of the plural {old!r}")
    if letter:
        return "", 0
    if re.search(r"(?<!\w)['‘’]\w", sentence[: one.end]):
        raise CannotSwap(f"{one.text + mark!r} may end a quotation or be a possessive")
    return mark + ("S" if one.text.isupper() else "s"), 1
