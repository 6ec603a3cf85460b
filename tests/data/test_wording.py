"""Attribute words of a pair, and whether the training pairs had them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biasunlearn.data.records import Sentence, Triplet
from biasunlearn.data.wording import attribute_words, seen_wording, word_hashes


def pair(stereotype: str, anti: str) -> Triplet:
    return Triplet("1", "race", "intrasentence", "", Sentence("s", stereotype), Sentence("a", anti), target="x")


def test_the_words_in_which_two_sentences_differ_by_hand() -> None:
    made = pair("He is a very good nurse.", "He is a good pilot.")
    assert attribute_words(made) == ({"very", "nurse"}, {"pilot"})
    assert attribute_words(pair("They are Poor.", "They are not poor.")) == (frozenset(), {"not"})
    assert attribute_words(pair("Same.", "Same.")) == (frozenset(), frozenset())


PARTS = ["The ", "cafe", "café ", "is ", "good", "Good ", "人", "不 ", ". ", "-", "e\u0301"]
TEXTS = st.lists(st.sampled_from(PARTS), max_size=7)


@given(TEXTS, TEXTS, TEXTS)
def test_a_template_does_not_change_which_words_differ(begin: list[str], one: list[str], other: list[str]) -> None:
    """What both sentences have before the BLANK is left out before they are compared."""
    head, first, second = ("".join(parts) for parts in (begin, one, other))
    plain = pair(head + first, head + second)
    for context in (f"{head}BLANK.", f"{head} BLANK", f"{head.upper()}BLANK", head):
        assert attribute_words(replace(plain, context=context)) == attribute_words(plain)


@pytest.mark.parametrize(
    ("stereotype", "anti", "seen"),
    [
        ("The Syrian was Violent.", "The Syrian was calm.", "both"),  # letter case does not count
        ("The Syrian was calm.", "The Syrian was violent.", "both"),  # nor does the side
        ("The Syrian was violent.", "The Syrian was kind.", "one"),
        ("The Syrian was rude.", "The Syrian was kind.", "neither"),
        ("The Syrian was very violent.", "The Syrian was kind.", "neither"),  # every word of a side has to be known
        ("The Syrian was violent.", "The Syrian was.", "both"),  # a side without words of its own
    ],
)
def test_both_one_or_neither_of_the_words_was_in_training(stereotype: str, anti: str, seen: str) -> None:
    trained = word_hashes([pair("A Greek is violent.", "A Greek is calm.")])
    assert seen_wording(pair(stereotype, anti), trained) == seen


def test_words_that_both_sentences_share_are_not_learned() -> None:
    assert len(word_hashes([pair("A Greek is violent.", "A Greek is calm.")])) == 2
    trained = word_hashes([pair("A Greek is b.", "A Greek is c.")])
    assert seen_wording(pair("X is greek.", "X is a."), trained) == "neither"
