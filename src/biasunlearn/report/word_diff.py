"""Two texts with the words marked in which they differ."""

import re
from difflib import SequenceMatcher

from biasunlearn.report.html import Markup, join, tag

WORDS = re.compile(r"\s+|[^\s\w]|\w+")
LONGEST = 4_000_000
"""Product of the numbers of words beyond which two texts are not compared: the time grows with it."""


def marked(before: str, after: str) -> tuple[Markup, Markup]:
    """Both texts in HTML, with the words of the first that are gone as `del`, and those that are new as `ins`.

    By hand: "He is late." and "She is late." -> <del>He</del> is late. and <ins>She</ins> is late.
    """
    one, other = WORDS.findall(before), WORDS.findall(after)
    if len(one) * len(other) > LONGEST:
        return join([before]), join([after])
    left, right = [], []
    for what, a, b, c, d in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        gone, new = "".join(one[a:b]), "".join(other[c:d])
        left.append(gone if what == "equal" else tag("del", gone) if gone else None)
        right.append(new if what == "equal" else tag("ins", new) if new else None)
    return join(left), join(right)
