"""Terms of the field, explained where they stand: a text on hover and on focus, and a footnote that is also printed."""

from collections.abc import Iterable
from dataclasses import dataclass

from biasunlearn.report.html import Markup, tag
from biasunlearn.report.page import Section, section


@dataclass(frozen=True, slots=True)
class Term:
    """A term and what it means, for a reader who does not know it."""

    name: str
    meaning: str


TERMS = {
    "ss": Term(
        "SS", "Stereotype score: the share of pairs of sentences in which the model finds the stereotype more likely "
        "than the anti-stereotype, as the mean over target terms. 50 % means no preference on average.",
    ),
    "interval": Term(
        "95 % interval", "The range of values that the data are compatible with. Another sample of target terms would "
        "give another value, which would usually lie in this range.",
    ),
    "equivalence": Term(
        "Shown to lie near 50", "Equivalence: two one-sided tests at 5 % exclude a score farther from 50 than the "
        "margin. This is stronger than an interval that contains 50, which a small number of pairs gives as well.",
    ),
    "polarised": Term(
        "Polarised", "The mean is near 50 because some groups are above 50 and others below. Such a model still treats "
        "groups differently.",
    ),
    "group": Term(
        "Group part", "What remains of the preference when the same wording about other groups is subtracted: the part "
        "that is due to which group the sentence names. Here: the share of the pairs in which it favors the "
        "stereotype. 50 % means that the named group makes no difference on average.",
    ),
    "unseen": Term(
        "Unseen wording", "SS of only those pairs in which no distinguishing word was in the training pairs. If only "
        "pairs with words from training improve, the model learned words and not the association.",
    ),
    "lms": Term(
        "LMS", "Language modeling score: the share of comparisons in which a meaningful sentence is more likely than "
        "an unrelated one. 100 % is best. It shows whether the model still models language.",
    ),
    "perplexity": Term(
        "Perplexity", "How uncertain the model is about the next token of ordinary text. Lower is better; a rise means "
        "that the model became worse at language.",
    ),
    "pseudo-perplexity": Term(
        "Pseudo-perplexity",
        "How uncertain a masked model is about a hidden token of ordinary text, of which it sees both "
        "sides. Lower is better; it cannot be compared with the perplexity of a causal model.",
    ),
}  # fmt: skip
"""By their keys, in the order of the footnotes."""


def explained(key: str, label: str = "", *, place: str) -> Markup:
    """A term that shows its meaning on hover and on focus, and leads to its footnote.

    Args:
        label: how it is written here, if not by its name.
        place: where it stands; a term may stand in several places of a page.
    """
    term, number = TERMS[key], list(TERMS).index(key) + 1
    tip = f"tip-{place}-{key}"
    link = tag("a", label or term.name, tag("sup", str(number)), href=f"#term-{key}", aria_describedby=tip)
    return tag("span", link, tag("span", term.meaning, role="tooltip", id=tip), class_="term")


def footnotes(keys: Iterable[str]) -> Section:
    """The footnotes of the terms that a page uses."""
    used = set(keys)
    notes = [
        tag("li", tag("b", term.name), ": ", term.meaning, id=f"term-{key}", value=str(number))
        for number, (key, term) in enumerate(TERMS.items(), 1) if key in used
    ]  # fmt: skip
    return section("Terms used on this page", tag("ol", notes, class_="footnotes"))
