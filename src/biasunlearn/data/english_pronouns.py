"""The counterparts of his, her, him and hers, which the words around them decide, or else nothing does."""

import re
from typing import Literal

from biasunlearn.data.term_lists import PRONOUNS
from biasunlearn.data.term_matches import CannotSwap, TermMatch
from biasunlearn.data.word_forms import starts_sentence

Role = Literal["determiner", "alone", "unsure"]
"""What a pronoun is: before its noun ("her book"), standing alone ("saw her"), or not decidable."""

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


def counterpart_pronoun(sentence: str, one: TermMatch) -> str:
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


def _her_role(sentence: str, one: TermMatch) -> Role:
    role = _role_by_next(sentence[one.end :])
    if role != "determiner" or starts_sentence(sentence, one.start):
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
        return "unsure" if others[0] in PRONOUNS else "alone"
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


def _around(sentence: str, one: TermMatch) -> str:
    before = sentence[: one.start].split()[-1:]
    return " ".join([*before, *sentence[one.start :].split()[:2]])
