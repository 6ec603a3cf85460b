"""Counterfactual pairs: from a stereotypical sentence and a term list, the same sentence about another group.

What cannot be swapped coherently is refused with a reason, never guessed.

A term list is YAML. This is a complete one:

    bias_type: gender
    pairs:                      # swapped in both directions; the order (left, right) tells the two sides
      - [he, she]               # this pair stands for all pronouns: him, his, her, hers, himself, herself
      - [uncle, aunt]
    one_way:                    # swapped in this direction only
      - [auntie, uncle]
    neutral: [mother tongue]    # where a term means something else; matched in exactly this letter case
    clashes: [pregnant, Mary]   # a sentence with one of these cannot be swapped

or, where a term has several counterparts, `groups` in place of (or beside) `pairs`:

    bias_type: race
    groups:                     # the names of the forms (adjective, person, ...) are free
      - {family: Americas, adjective: Mexican, person: Mexican, people: Mexicans, place: Mexico}
      - {family: Americas, adjective: Canadian, person: Canadian, people: Canadians, place: Canada}
      - {family: Europe, adjective: Spanish, person: Spaniard, people: Spaniards, place: Spain}

A CSV file gives pairs only: a header `term,counterpart`, one pair per row; its bias type is the file's name.

The rules:

- Pairs: every listed word of the sentence is swapped, whoever it is about. Who a pronoun refers to cannot be
  decided from the words, so "He loves his mother" becomes "She loves her father": the whole scene changes side.
- Groups: all terms of the sentence must belong to one group. Its counterpart is drawn by `seed` and sentence from
  the groups of other families that have every form needed. A word that is several forms of its group ("Mexican":
  adjective and person) is only replaced by a word that is all of them too ("Canadian", never "Spanish").
- "her" becomes "his" or "him", "his" becomes "her" or "hers", by the word that follows. Where that does not
  decide ("gave her flowers", "hurt her back"), the sentence is refused.
- Terms match whole words in any letter case. A compound with "-" or "/" is swapped only if it is listed itself.
- Lower, Capitalised and UPPER case, possessive "'s" and contractions are kept; "a" and "an" follow the new sound.
- Personal names are known only as far as `clashes` lists them: "Xavier lost his keys" gets "her keys" if the list
  does not have Xavier.
"""

import csv
import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import yaml

from biasunlearn.data.records import Sentence, Triplet
from biasunlearn.errors import RequestError

LISTS = Path(__file__).parent / "lists"
SHIPPED = ("gender", "profession", "race", "religion")
"""The term lists of this package."""

KEYS = ("bias_type", "pairs", "one_way", "groups", "neutral", "clashes")

Role = Literal["determiner", "alone", "unsure"]
"""What a pronoun is: before its noun ("her book"), standing alone ("saw her"), or not decidable."""


class CannotSwap(Exception):
    """A sentence has no coherent counterfactual under this list. Its text is the reason."""


@dataclass(frozen=True, slots=True)
class Group:
    """One social group: its terms by form, e.g. ("adjective", "Mexican"), ("place", "Mexico")."""

    forms: tuple[tuple[str, str], ...]
    family: str = ""
    """Counterparts come from another family. Groups without a family swap with all others."""


@dataclass(frozen=True, slots=True)
class TermList:
    """What may be swapped for what. Raises RequestError if a term is given two meanings."""

    bias_type: str
    pairs: tuple[tuple[str, str], ...] = ()
    one_way: tuple[tuple[str, str], ...] = ()
    groups: tuple[Group, ...] = ()
    neutral: tuple[str, ...] = ()
    clashes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _refuse_contradiction(self)

    @property
    def pronouns(self) -> bool:
        """Whether the list swaps the pronouns: it has the pair he, she."""
        return any({_key(a), _key(b)} == {"he", "she"} for a, b in self.pairs)


@dataclass(frozen=True, slots=True)
class Unswapped:
    """A sentence that has no counterfactual, and why."""

    sentence: str
    source: str
    reason: str


# ---- the public functions ----


def load_term_list(path_or_name: str | Path) -> TermList:
    """A shipped list by name (gender, race, religion, profession) or a user's YAML or CSV file.

    Raises RequestError that names file, line and fix.
    """
    path = LISTS / f"{path_or_name}.yaml" if str(path_or_name) in SHIPPED else Path(path_or_name)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise RequestError(
            f"no term list {str(path_or_name)!r}: it is not a file, nor a shipped list ({', '.join(SHIPPED)})"
        ) from None
    except UnicodeDecodeError as error:
        raise RequestError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise RequestError(f"{path}: cannot be read ({error.strerror}); give a YAML or CSV file") from None
    if path.suffix.lower() == ".csv":
        return _from_csv(path, text)
    return _from_yaml(path, text)


def counterfactual(sentence: str, terms: TermList, *, seed: int = 0) -> str:
    """The sentence with every listed term swapped. Raises CannotSwap with the reason."""
    return _swapped(sentence, terms, seed)[0]


def counterfactual_pairs(
    sentences: Iterable[tuple[str, str]], terms: TermList, *, seed: int = 0
) -> tuple[list[Triplet], list[Unswapped]]:
    """Clusters from (source, stereotypical sentence) rows, and the sentences left out with the reason.

    Raises RequestError if two rows have the same source, since it names the triplet.
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
    entry = _lookup(terms).entries.get(_key(term))
    if entry is None:
        return None
    return (terms.groups[entry.group].family or None) if entry.group >= 0 else terms.pairs[0][entry.side]


# ---- finding the terms ----

# The three-way knot his/her/him/hers is cut in `_pronoun`; the value here only tells the side.
_KNOT = {"him": 0, "his": 0, "her": 1, "hers": 1}
_PRONOUNS = {"he", "she", "himself", "herself", *_KNOT}


@dataclass(frozen=True, slots=True)
class _Entry:
    """One listed term. `couple` is equal for terms that are counterparts, `side` is 0 (left) or 1 (right)."""

    term: str
    new: str = ""
    couple: str = ""
    side: int = 0
    group: int = -1
    forms: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Lookup:
    entries: dict[str, _Entry]
    pattern: re.Pattern[str]
    neutral: re.Pattern[str]
    clashes: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class _Found:
    """A listed term in a sentence. `text` is how the sentence writes it."""

    start: int
    end: int
    text: str
    entry: _Entry


@lru_cache(maxsize=16)
def _lookup(terms: TermList) -> _Lookup:
    entries: dict[str, _Entry] = {}
    for left, right in terms.pairs:
        couple = "pronoun" if _key(left) in _PRONOUNS else left
        entries[_key(left)] = _Entry(left, right, couple, 0)
        entries[_key(right)] = _Entry(right, left, couple, 1)
    for old, new in terms.one_way:
        other = entries.get(_key(new), _Entry(new, couple=new, side=0))
        entries[_key(old)] = _Entry(old, new, other.couple, 1 - other.side)
    if terms.pronouns:
        entries["himself"] = _Entry("himself", "herself", "pronoun", entries["he"].side)
        entries["herself"] = _Entry("herself", "himself", "pronoun", entries["she"].side)
        entries |= {word: _Entry(word, "", "pronoun", entries["he"].side ^ side) for word, side in _KNOT.items()}
    for number, group in enumerate(terms.groups):
        for _, term in group.forms:
            fills = frozenset(name for name, other_term in group.forms if _key(other_term) == _key(term))
            entries[_key(term)] = _Entry(term, group=number, forms=fills)
    # A clash in small letters is a word ("pregnant", "Pregnant"); one with a capital is a name ("Will", not "will").
    words = [f"(?i:{_regex(word)})" for word in terms.clashes if word.islower()]
    names = [_regex(case) for word in terms.clashes if not word.islower() for case in (word, word.upper())]
    return _Lookup(
        entries,
        _any_of(sorted(map(_regex, entries), key=len, reverse=True), re.IGNORECASE),
        _any_of([_regex(phrase) for phrase in terms.neutral]),
        _any_of(words + names),
    )


def _regex(term: str) -> str:
    return re.escape(term).replace(r"\ ", r"\s+").replace("'", "['’]")


def _any_of(patterns: list[str], flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    """Whole words only: "the" does not hold "he". Without a pattern, one that never matches."""
    return re.compile(rf"(?<!\w)(?:{'|'.join(patterns)})(?!\w)" if patterns else r"(?!)", flags)


def _key(text: str) -> str:
    return " ".join(text.casefold().replace("’", "'").split())


def _find(sentence: str, lookup: _Lookup) -> list[_Found]:
    """The listed terms from left to right, without those inside a neutral phrase. Raises CannotSwap on a clash."""
    masked = [match.span() for match in lookup.neutral.finditer(sentence)]
    found = []
    for match in lookup.pattern.finditer(sentence):
        entry = lookup.entries.get(_key(match.group()))  # none: the pattern takes a Turkish dotted capital I for an i
        if entry is not None and not any(start < match.end() and match.start() < end for start, end in masked):
            found.append(_Found(match.start(), match.end(), match.group(), entry))
    held = [*masked, *((one.start, one.end) for one in found)]
    for clash in lookup.clashes.finditer(sentence):
        inside = any(start <= clash.start() and clash.end() <= end for start, end in held)  # part of a listed phrase
        if found and not inside:
            swap = f"would clash with the swap of {found[0].text!r}"
            raise CannotSwap(f"{clash.group()!r} has no counterpart in the list and {swap}")
    return found


# ---- swapping ----


def _swapped(sentence: str, terms: TermList, seed: int) -> tuple[str, str]:
    """The swapped sentence and the first term of the list in it. Raises CannotSwap."""
    lookup = _lookup(terms)
    found = _find(sentence, lookup)
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
        new = [one.entry.new or _pronoun(sentence, one) for one in found]
    return _rebuilt(sentence, found, new), found[0].entry.term


def _refuse_compound(sentence: str, one: _Found) -> None:
    """What the parts of "man-eating", "he/she" or "(s)he" mean together is not known unless it is listed."""
    before = re.search(r"[\w'’]+[)/-]$", sentence[: one.start])
    after = re.match(r"[(/-][\w'’]+", sentence[one.end :])
    if before or after:
        whole = f"{before.group() if before else ''}{one.text}{after.group() if after else ''}"
        raise CannotSwap(f"{whole!r} is a compound that is not in the list")


def _refuse_both_sides(sentence: str, found: list[_Found]) -> None:
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


def _group_terms(sentence: str, found: list[_Found], terms: TermList, seed: int) -> list[str]:
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


def _rebuilt(sentence: str, found: list[_Found], new: list[str]) -> str:
    pieces: list[str] = []
    done = 0
    for one, word in zip(found, new, strict=True):
        head = _with_article(sentence[done : one.start], one, word)
        suffix, used = _possessive(sentence, one, word)
        pieces += [head, _in_case_of(one, word, _starts_sentence(sentence, one.start)), suffix]
        done = one.end + used
    return "".join([*pieces, sentence[done:]])


# ---- letter case, articles, possessives ----


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _title(text: str) -> str:
    return re.sub(r"(?<![\w'’])\w", lambda letter: letter.group().upper(), text)


def _starts_sentence(sentence: str, position: int) -> bool:
    before = sentence[:position].rstrip(" \t\n\"'“‘([")
    return not before or before[-1] in ".!?"


def _in_case_of(one: _Found, new: str, starts_sentence: bool) -> str:
    """`new` in the letter case in which the sentence writes its term. Raises CannotSwap on mixed case."""
    found, term = " ".join(one.text.replace("’", "'").split()), one.entry.term
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


def _with_article(head: str, one: _Found, new: str) -> str:
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


def _possessive(sentence: str, one: _Found, new: str) -> tuple[str, int]:
    """The ending that replaces the possessive after a term, and how many characters it replaces."""
    rest, old = sentence[one.end : one.end + 3], one.entry.term.lower()
    mark = rest[:1]
    if mark not in ("'", "’"):
        return "", 0
    upper = one.text.isupper()
    if re.match(r"s(?!\w)", rest[1:], re.IGNORECASE):
        plural = old.endswith(("men", "people", "children", "folk"))  # gentlemen's, but ladies'
        return (mark, 2) if plural and new.lower().endswith("s") else ("", 0)
    if re.match(r"\w", rest[1:]) or not old.endswith("s") or new.lower().endswith("s"):
        return "", 0
    if re.search(r"(?<!\w)['‘’]\w", sentence[: one.end]):
        raise CannotSwap(f"{one.text + mark!r} may end a quotation or be a possessive")
    return mark + ("S" if upper else "s"), 1


# ---- his, her, him, hers ----

_CLOSED = frozenset(
    """a an the this that these those every each some any no another my your our their its his i he she it they we you
    him them us me and or but nor because since although though while when whenever where wherever if unless until
    till before after as than to for from in into on onto at by with without within of off about against among
    around between through throughout toward towards under upon over up down out along across behind beside beyond
    during despite is was were are be been am has had have does did do would could should must shall not isn't
    wasn't doesn't didn't hadn't hasn't won't wouldn't can't couldn't who whom which what why how whether like
    everyone everything anything something nothing nobody""".split()
)
"""Words that no possessive stands before."""

_ADVERBS = frozenset(
    """never always often sometimes again too yesterday today tomorrow tonight once twice there here soon later instead
    away apart together forever anymore also even ever just alone so well very much now then either anyway""".split()
)
_NOT_ADVERBS = frozenset(
    """family only lovely elderly friendly lonely ugly silly belly daily weekly monthly reply lively deadly curly early
    costly homely fly ally jelly bully assembly supply""".split()
)
_NOUN_OR_VERB = frozenset("will can might".split())
_NOUN_OR_ADVERB = frozenset(
    """back home right left best most more less first last little still all past inside outside opposite round better
    worse worst straight close long hard fast late early enough half both upstairs downstairs next self""".split()
)
_UNITS = frozenset("year years month months week weeks day days hour hours minute minutes times dollars".split())
_NUMBER = re.compile(r"\d|(one|two|three|four|five|six|seven|eight|nine|ten|several|many|few)$")
_SURE_NOUNS = frozenset(
    """mother father mom mum dad mommy daddy sister brother son daughter husband wife boyfriend girlfriend uncle aunt
    niece nephew cousin grandmother grandfather grandma grandpa parent child baby friend boss neighbor neighbour
    teacher doctor fiancé fiancée ex-husband ex-wife family face hair head hand arm leg eye nose mouth heart body
    mind life name job career office desk car house room bed kitchen phone purse bag dress shirt dog cat computer
    salary birthday wedding clothing feeling painting own""".split()
)
"""Singular nouns that need an article or a possessive, so that "her" before them is not an object."""

_DOUBTFUL_BEFORE = frozenset(
    """give gives gave given giving offer offers offered offering tell tells told telling show shows showed shown
    showing buy buys bought buying send sends sent sending bring brings brought bringing teach teaches taught
    teaching make makes made making ask asks asked asking lend lends lent pay pays paid paying cost costs wish
    wishes wished promise promises promised hand hands handed pass passes passed get gets got getting find finds
    found finding leave leaves left leaving keep keeps kept keeping win wins won feed feeds fed owe owes owed cook
    cooks cooked serve serves served let lets letting help helps helped helping see sees saw seen seeing watch
    watches watched watching hear hears heard hearing feel feels felt feeling notice notices noticed have has had
    having bid dare deny denied denies envy spare save saved cause caused like than as near
    behind beside around""".split()
)
"""Words after which "her" may be an object although a noun, adjective or verb follows: "made her cry"."""

_NAMING = frozenset(
    """call calls called calling name names named naming consider considers considered considering think thinks thought
    elect elected appoint appointed label labelled labeled declare declared""".split()
)
"""After these even a singular noun does not decide: "They call her mother"."""


def _pronoun(sentence: str, one: _Found) -> str:
    """The counterpart of him, his, her or hers. Raises CannotSwap."""
    word = one.entry.term
    if word in ("him", "hers"):
        return {"him": "her", "hers": "his"}[word]
    role = _her_role(sentence, one) if word == "her" else _role_by_next(sentence[one.end :])
    if role == "unsure":
        fits = "'his' or 'him'" if word == "her" else "'her' or 'hers'"
        raise CannotSwap(f"ambiguous {one.text!r}: {fits} is not decided by {_around(sentence, one)!r}")
    if word == "her":
        return "his" if role == "determiner" else "him"
    return "her" if role == "determiner" else "hers"


def _her_role(sentence: str, one: _Found) -> Role:
    role = _role_by_next(sentence[one.end :])
    if role != "determiner" or _starts_sentence(sentence, one.start):
        return role
    if re.match(r"\s+[\"“‘'(]", sentence[one.end :]):  # 'called her "bossy"' against 'met her "friend"'
        return "unsure"
    first, second, *_ = _next_words(sentence[one.end :])
    previous = re.search(r"([\w'’-]+)\s+$", sentence[: one.start])
    before = previous.group(1).lower() if previous else ""
    if before in _NAMING:
        return "unsure"
    if first in _SURE_NOUNS:
        return "determiner"
    verb_like = len(first) > 4 and first.endswith(("ed", "ing"))  # "saw her crying", "beside her smiled"
    counted = _NUMBER.match(first) is not None and second in _UNITS  # "met her two years ago"
    if before in _DOUBTFUL_BEFORE or first in _NOUN_OR_ADVERB or verb_like or counted:
        return "unsure"
    return "determiner"


def _role_by_next(rest: str) -> Role:
    """What the next word or two after a possessive or object pronoun make of it."""
    if re.match(r"['’]\w", rest):  # "her's" is a slip for one of two words
        return "unsure"
    first, *others = _next_words(rest)
    if first == "and":  # "her and I" stands alone; "his and her parents" does not
        return "unsure" if others[0] in _PRONOUNS else "alone"
    if not first or first in _CLOSED:
        return "alone"
    if _is_adverb(first):  # "loved her very much." against "loved her very old dog"
        after = next(word for word in others if not _is_adverb(word))
        return "alone" if not after or after in _CLOSED else "unsure"
    return "unsure" if first in _NOUN_OR_VERB else "determiner"


def _is_adverb(word: str) -> bool:
    return word in _ADVERBS or (word.endswith("ly") and word not in _NOT_ADVERBS)


def _next_words(rest: str) -> list[str]:
    """The words up to the first punctuation mark (an opening quote does not count), in small letters, then two ""."""
    match = re.match(r"\s+[\"“‘'(]*(\w[\w'’-]*(?:\s+\w[\w'’-]*)*)", rest)
    words = match.group(1).lower().replace("’", "'").split() if match else []
    return [*words, "", ""]


def _around(sentence: str, one: _Found) -> str:
    before = sentence[: one.start].split()[-1:]
    return " ".join([*before, *sentence[one.start :].split()[:2]])


# ---- reading the lists ----


class _Contradiction(RequestError):
    """A list gives `term` two meanings. The loader adds the line."""

    def __init__(self, term: str, message: str):
        self.term = term
        super().__init__(message)


def _refuse_contradiction(terms: TermList) -> None:
    """Raises _Contradiction for the first term that the list gives two meanings."""
    seen: dict[str, str] = {}
    claims = [(old, f"{old} -> {new}") for a, b in terms.pairs for old, new in ((a, b), (b, a))]
    claims += [(old, f"{old} -> {new}") for old, new in terms.one_way]
    for number, group in enumerate(terms.groups, start=1):
        own = {_key(term): term for _, term in group.forms}  # one word may be several forms of its own group
        claims += [(term, f"{term} (group {number})") for term in own.values()]
    claims += [(word, f"{word} (clashes)") for word in terms.clashes]
    for term, claim in claims:
        key = _key(term)
        if key in _PRONOUNS and (key not in ("he", "she") or not terms.pronouns):
            message = f"{term!r} is a pronoun; list only the pair [he, she]: the other pronouns follow from it"
            raise _Contradiction(term, message)
        if key in seen:
            raise _Contradiction(term, f"{term!r} is listed twice: {seen[key]!r} and {claim!r}; keep one of them")
        seen[key] = claim


def _from_csv(path: Path, text: str) -> TermList:
    try:
        rows = list(csv.reader(text.splitlines()))
    except csv.Error as error:
        raise RequestError(f"{path}: not CSV ({error}); save it as plain comma-separated text") from None
    if not rows or [cell.strip() for cell in rows[0]] != ["term", "counterpart"]:
        raise RequestError(f"{path}:1: the first line of a CSV term list must be 'term,counterpart'")
    pairs: list[tuple[str, str]] = []
    lines: dict[str, int] = {}
    for number, row in enumerate(rows[1:], start=2):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        where = f"{path}:{number}"
        if len(cells) != 2:
            raise RequestError(f"{where}: {len(cells)} cells; a row has two, the term and its counterpart")
        pairs.append(_two_terms(where, "pair", [" ".join(cell.split()) for cell in cells]))
        lines |= {_key(cell): number for cell in cells}
    if not pairs:
        raise RequestError(f"{path}: no pairs below the first line; add rows such as 'uncle,aunt'")
    return _checked(path, lines, lambda: TermList(path.stem, tuple(pairs)))


def _from_yaml(path: Path, text: str) -> TermList:
    """Read from the nodes, not the values: they know their line, and a bare `no` stays a word."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise RequestError(f"{path}:{line}: not YAML ({error.problem}); fix this line") from None
    except yaml.YAMLError as error:
        raise RequestError(f"{path}: not YAML ({str(error).splitlines()[0]}); save it as plain text") from None
    if not isinstance(root, yaml.MappingNode):
        raise RequestError(f"{path}:1: a term list is a mapping with the keys {', '.join(KEYS)}")
    fields = _fields(path, root)
    for key, _ in root.value:
        if key.value not in KEYS:
            raise RequestError(f"{_at(path, key)}: unknown key {key.value!r}; the keys are {', '.join(KEYS)}")
    if "bias_type" not in fields:
        raise RequestError(f"{path}:1: bias_type is missing; add a line such as 'bias_type: gender'")
    if not {"pairs", "groups"} & set(fields):
        raise RequestError(f"{path}:1: neither pairs nor groups; add at least one of them")
    lines: dict[str, int] = {}
    neutral = _phrases(path, fields.get("neutral"), "neutral", {})
    bias_type = _word(path, fields["bias_type"], "bias_type")
    pairs, one_way = (_pairs(path, fields.get(name), name, lines) for name in ("pairs", "one_way"))
    groups = _groups(path, fields.get("groups"), lines)
    clashes = _phrases(path, fields.get("clashes"), "clashes", lines)
    if not pairs and not groups:
        raise RequestError(f"{path}:1: pairs and groups are empty; add at least one pair or two groups")
    return _checked(path, lines, lambda: TermList(bias_type, pairs, one_way, groups, neutral, clashes))


def _checked(path: Path, lines: dict[str, int], terms: Callable[[], TermList]) -> TermList:
    """The list; a contradiction is reported with the line on which its term stands last."""
    try:
        return terms()
    except _Contradiction as error:
        raise RequestError(f"{path}:{lines[_key(error.term)]}: {error}") from None


def _at(path: Path, node: yaml.Node) -> str:
    return f"{path}:{node.start_mark.line + 1}"


def _fields(path: Path, node: yaml.MappingNode) -> dict[str, yaml.Node]:
    fields: dict[str, yaml.Node] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise RequestError(f"{_at(path, key)}: a key must be a word, not a list or a mapping")
        if key.value in fields:
            raise RequestError(f"{_at(path, key)}: {key.value!r} stands twice; keep one of them")
        fields[key.value] = value
    return fields


def _items(path: Path, node: yaml.Node | None, name: str) -> list[yaml.Node]:
    if node is None:
        return []
    if not isinstance(node, yaml.SequenceNode):
        raise RequestError(f"{_at(path, node)}: {name} must be a list; write its items as '- ...' lines")
    return list(node.value)


def _word(path: Path, node: yaml.Node, name: str) -> str:
    word = " ".join(node.value.split()) if isinstance(node, yaml.ScalarNode) else ""
    if not word:
        raise RequestError(f"{_at(path, node)}: {name} must be a word or a phrase")
    return word


def _listed(where: str, name: str, word: str) -> str:
    """A term as it can be found in a sentence: between two word boundaries."""
    if not re.fullmatch(r"\w(.*\w)?", word):
        raise RequestError(f"{where}: {name}: {word!r} must begin and end with a letter or digit ('Mr', not 'Mr.')")
    return word


def _two_terms(where: str, name: str, words: list[str]) -> tuple[str, str]:
    first, second = (_listed(where, name, word) for word in words)
    if _key(first) == _key(second):
        raise RequestError(f"{where}: {name}: {first!r} is its own counterpart; give two different words")
    return first, second


def _pairs(path: Path, node: yaml.Node | None, name: str, lines: dict[str, int]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for item in _items(path, node, name):
        words = [_word(path, word, name) for word in item.value] if isinstance(item, yaml.SequenceNode) else []
        if len(words) != 2:
            raise RequestError(f"{_at(path, item)}: each item of {name} holds two terms, as in [uncle, aunt]")
        pairs.append(_two_terms(_at(path, item), name, words))
        lines |= {_key(word): item.start_mark.line + 1 for word in words}
    return tuple(pairs)


def _groups(path: Path, node: yaml.Node | None, lines: dict[str, int]) -> tuple[Group, ...]:
    groups = []
    for item in _items(path, node, "groups"):
        if not isinstance(item, yaml.MappingNode):
            raise RequestError(f"{_at(path, item)}: each group is a mapping, as in {{person: nurse, people: nurses}}")
        fields = {name: _word(path, value, f"groups: {name}") for name, value in _fields(path, item).items()}
        family = fields.pop("family", "")
        if not fields:
            raise RequestError(f"{_at(path, item)}: a group has no terms; add one, as in {{person: nurse}}")
        for name, word in fields.items():
            _listed(_at(path, item), f"groups: {name}", word)
            lines[_key(word)] = item.start_mark.line + 1
        groups.append(Group(tuple(fields.items()), family))
    if len(groups) == 1:
        raise RequestError(f"{_at(path, item)}: only one group; add another to swap it with")
    return tuple(groups)


def _phrases(path: Path, node: yaml.Node | None, name: str, lines: dict[str, int]) -> tuple[str, ...]:
    phrases = []
    for item in _items(path, node, name):
        phrases.append(_listed(_at(path, item), name, _word(path, item, name)))
        lines[_key(phrases[-1])] = item.start_mark.line + 1
    return tuple(phrases)
