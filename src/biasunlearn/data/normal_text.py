"""One normal form for comparing texts. What is scored and trained on is always the text as it was read."""

import re
import unicodedata

_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
"""Soft hyphen, zero-width spaces and joiners, marks of the writing direction, word joiner, byte order mark."""

_SAME_SIGN = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "“": '"', "”": '"', "„": '"', "‐": "-", "‑": "-"})

_FULL_STOPS = " .。．｡।۔"


def normal_text(text: str) -> str:
    """The form in which two spellings of the same text are equal.

    Letter case, composed or decomposed accents (NFC, NFD), curly or straight quotation marks, no-break and doubled
    spaces, invisible characters and the full stop at the end do not count.

    By hand: "The  Café is shut" and "the cafe\u0301 is\u00a0shut." -> "the café is shut"
    """
    if text.isascii():
        return " ".join(text.casefold().split()).rstrip(". ")
    folded = tidy(text).translate(_SAME_SIGN).casefold()
    return " ".join(unicodedata.normalize("NFC", folded).split()).rstrip(_FULL_STOPS)


def tidy(text: str) -> str:
    """The text with composed accents and single spaces, and without invisible characters; nothing else is changed."""
    if text.isascii():
        return " ".join(text.split())
    return " ".join(_INVISIBLE.sub("", unicodedata.normalize("NFC", text)).split())


def bias_type_name(text: str) -> str:
    """The name under which a bias type is reported: small letters, NFC, single spaces. "Gender " -> "gender"."""
    return unicodedata.normalize("NFC", tidy(text).lower())


def is_blank(text: str) -> bool:
    """Nothing that can be seen: white space and invisible characters only."""
    return not text or (not text.isascii() and not _INVISIBLE.sub("", text).strip())
