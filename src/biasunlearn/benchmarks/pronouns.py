"""What WinoBias and Winogender ask a model: how likely a sentence is with each pronoun, and who the pronoun is.

Items of one unit (a sentence in its versions: pro and anti, or male, female and neutral) have one cluster_id and
    kind "sentence",         role <version>: the whole sentence with that pronoun
    kind "refers <version>", role referent, other: who the pronoun is said to refer to, given the sentence
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..metrics import Item
from ..records import Passage

if TYPE_CHECKING:
    from ..models import Loaded

GENDERS = {
    **dict.fromkeys(("he", "him", "his", "himself"), "male"),
    **dict.fromkeys(("she", "her", "hers", "herself"), "female"),
    **dict.fromkeys(("they", "them", "their", "theirs", "themself", "themselves"), "neutral"),
}
"""The gender that a pronoun has in these data sets."""

RESOLUTION = 'log p(the referent) against log p(the other), summed, given: <sentence> "<pronoun>" refers to'


def refers(sentence: str, pronoun: str, candidate: str) -> Passage:
    """Scores a candidate as the one that the pronoun refers to."""
    return Passage(f'{sentence} "{pronoun.capitalize()}" refers to', f" {candidate}")


def score_units(
    loaded: "Loaded",
    asked: Sequence[tuple[Item, Passage]],
    *,
    batch_tokens: int,
    progress: Callable[[int, int], None] | None,
) -> list[Item]:
    """Items that lack their score (nan, 0 tokens), and what is to be scored -> items with their score."""
    from ..scoring import score

    found = score(loaded, [passage for _, passage in asked], batch_tokens=batch_tokens, progress=progress)
    return [replace(item, score=one.mean, tokens=one.tokens) for (item, _), one in zip(asked, found, strict=True)]


def units(items: Iterable[Item]) -> Iterator[dict[tuple[str, str], Item]]:
    """The items of each unit by (kind, role)."""
    grouped: dict[str, dict[tuple[str, str], Item]] = defaultdict(dict)
    for item in items:
        grouped[item.cluster_id][item.kind, item.role] = item
    yield from grouped.values()


def margin(unit: dict[tuple[str, str], Item], pro: str, anti: str) -> float | None:
    """log p(the pro version) - log p(the anti version); None where the sentences were not scored."""
    if ("sentence", pro) not in unit or ("sentence", anti) not in unit:
        return None
    return unit["sentence", pro].log_prob - unit["sentence", anti].log_prob


def resolved(unit: dict[tuple[str, str], Item], version: str) -> float:
    """100 where the referent is likelier than the other, else 0 (a tie counts as wrong)."""
    kind = f"refers {version}"
    return 100.0 * (unit[kind, "referent"].log_prob > unit[kind, "other"].log_prob)
