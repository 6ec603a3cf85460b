"""Words of a text and where they begin and end, also in scripts that put no spaces between words.

Chinese, Japanese, Thai, Lao, Khmer and Burmese are divided by character, as the default word breaks of Unicode (UAX 29)
divide them where no dictionary is at hand. A sign that combines with a letter stays with it.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Literal

UNSPACED = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u1000-\u103f\u1050-\u109d\u1780-\u17d3\u17dc\u17dd"  # Thai to Khmer
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303b\u3041-\u309f"  # radicals, kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"  # ideographs
)
"""Characters of scripts without spaces between words, for a set in a regular expression. Katakana is not among them:
by Unicode's rules its runs are words."""

BEFORE_WORD = rf"(?:(?<!\w)|(?<=[{UNSPACED}]))"
AFTER_WORD = rf"(?:(?!\w)|(?=[{UNSPACED}]))"
"""Assertions of a regular expression: a word may begin, or end, here."""

_UNSPACED = re.compile(f"[{UNSPACED}]")
_EDGE = re.compile(f"[{UNSPACED}\u3001-\u3003\u3008-\u3011\u3014-\u301f\uff01-\uff0f\uff1a-\uff20]")
"""The same and the punctuation of these scripts: between such a character and another a word may end."""

_WORD = re.compile(rf"[{UNSPACED}]|(?:(?![{UNSPACED}])\w)+|[^\w\s]")


def words(text: str) -> list[tuple[str, int]]:
    """(word, where it ends) of every word and punctuation mark, in order.

    By hand: "He ran." -> ("He", 2), ("ran", 6), (".", 7); "他跑了。" -> four words of one character.
    """
    found: list[tuple[str, int]] = []
    for match in _WORD.finditer(text):
        if found and found[-1][1] == match.start() and _continues(found[-1][0], match.group()):
            found[-1] = found[-1][0] + match.group(), match.end()
        else:
            found.append((match.group(), match.end()))
    return found


def _continues(word: str, rest: str) -> bool:
    """Does `rest` belong to the word before it: a combining sign, or the letters after one within a word?"""
    if _combines(rest[0]):
        return True
    inside = _combines(word[-1]) and (word[0].isalnum() or word[0] == "_")
    return inside and rest[0].isalnum() and not _UNSPACED.match(word) and not _UNSPACED.match(rest)


def whole_words(patterns: Mapping[str, str]) -> str:
    """A regular expression for any of some terms as a whole word: "the" does not hold "he". Within a script without
    spaces a term may be anywhere. Without terms, an expression that never matches.

    Args:
        patterns: {term: regular expression for its text}; earlier ones are tried first.
    """
    spaced = [pattern for term, pattern in patterns.items() if not _UNSPACED.search(term[:1] + term[-1:])]
    parts = [f"{BEFORE_WORD}(?:{'|'.join(spaced)}){AFTER_WORD}"] if spaced else []
    for term, pattern in patterns.items():
        before, after = (bool(_UNSPACED.match(edge)) for edge in (term[:1], term[-1:]))
        if before or after:
            parts.append(f"{'' if before else BEFORE_WORD}{pattern}{'' if after else AFTER_WORD}")
    return "|".join(parts) or "(?!)"


def shared_prefix(first: str, second: str) -> int:
    """Number of leading characters that two sentences share, cut back to a word boundary."""
    shortest = min(len(first), len(second))
    length = _equal_characters(first[:shortest], second[:shortest], "little")
    if length == shortest:
        return length
    plain = first.isascii() and second.isascii()
    if plain or not (_EDGE.search(first, 0, length + 1) or _EDGE.match(second, length)):
        return first.rfind(" ", 0, length) + 1
    cuts = range(length, 0, -1)
    return next((c for c in cuts if first[c - 1] == " " or (_breaks(first, c) and _breaks(second, c))), 0)


def shared_suffix(first: str, second: str) -> int:
    """Number of trailing characters that two texts share, cut back to a word boundary, the space before it included."""
    shortest = min(len(first), len(second))
    length = _equal_characters(first[len(first) - shortest :], second[len(second) - shortest :], "big")
    if length == shortest:
        return length
    if first.isascii() and second.isascii():  # only spaces divide words, and the first of them begins the tail
        space = first.find(" ", len(first) - length)
        return len(first) - space if space >= 0 else 0

    def begins(count: int) -> bool:
        places = ((text, len(text) - count) for text in (first, second))
        return first[-count] == " " or all(_breaks(text, place) for text, place in places)

    return next((count for count in range(length, 0, -1) if begins(count)), 0)


def _equal_characters(first: str, second: str, order: Literal["little", "big"]) -> int:
    """Number of characters that two texts of the same length have in common at their beginning ("little") or at their
    end ("big"). As two large numbers, read in this order of bytes, they are compared all at once."""
    bits, codec = 32, "utf-32-le" if order == "little" else "utf-32-be"
    if first.isascii() and second.isascii():
        bits, codec = 8, "ascii"
    one = int.from_bytes(first.encode(codec, "surrogatepass"), order)
    differing = one ^ int.from_bytes(second.encode(codec, "surrogatepass"), order)
    lowest = (differing & -differing).bit_length() - 1  # the first bit that is not the same
    return lowest // bits if differing else len(first)


def _breaks(text: str, cut: int) -> bool:
    """Is there a word boundary before this character that no space marks?"""
    sides = text[cut - 1 : cut + 1]
    return len(sides) == 2 and bool(_EDGE.search(sides)) and not _combines(sides[1])


def _combines(character: str) -> bool:
    return unicodedata.category(character).startswith("M")
