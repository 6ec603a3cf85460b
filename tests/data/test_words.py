"""Words and their boundaries, with and without spaces between them."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biasunlearn.benchmarks.crows_pairs import shared_spans
from biasunlearn.data.records import Passage, Sentence, Triplet
from biasunlearn.data.words import _equal_characters, shared_prefix, shared_suffix, whole_words, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He ran, didn't he?", ["He", "ran", ",", "didn", "'", "t", "he", "?"]),
        ("他跑了。", ["他", "跑", "了", "。"]),
        ("カタカナは字", ["カタカナ", "は", "字"]),
        ("ดีมาก", ["ดี", "ม", "า", "ก"]),  # a vowel sign above stays with its letter
        ("कहानी नमस्ते", ["कहानी", "नमस्ते"]),
        ("Cafe\u0301s de\u0301ja\u0300", ["Cafe\u0301s", "de\u0301ja\u0300"]),  # decomposed
        ("这是MRI技师", ["这", "是", "MRI", "技", "师"]),
        ("그는 의사다", ["그는", "의사다"]),
        ("", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    found = words(text)
    assert [word for word, _ in found] == expected
    assert all(text[:end].endswith(word) for word, end in found)


@given(st.text(st.characters(codec="ascii"), max_size=30))
def test_in_plain_english_words_are_what_they_were(text: str) -> None:
    expected = [(match.group(), match.end()) for match in re.finditer(r"\w+|[^\w\s]", text)]
    assert words(text) == expected


@pytest.mark.parametrize(
    ("first", "second", "prefix", "suffix"),
    [
        ("She is kind.", "She is king.", "She is ", ""),
        ("He is slow today.", "He is quick today.", "He is ", " today."),
        ("老人很慢。", "老人很快。", "老人很", "。"),
        ("女人是坏司机。", "男人是坏司机。", "", "人是坏司机。"),
        ("彼は医者です。", "彼女は医者です。", "彼", "は医者です。"),
        ("ผู้ชายดี", "ผู้หญิงดี", "ผู้", "ดี"),
        ("他是A。", "他是B。", "他是", "。"),
        ("same", "same", "same", "same"),
        ("poor", "not poor", "", "poor"),
    ],
)
def test_shared_ends(first: str, second: str, prefix: str, suffix: str) -> None:
    assert first[: shared_prefix(first, second)] == prefix
    assert first[len(first) - shared_suffix(first, second) :] == suffix


WORDLIKE = st.text(st.sampled_from("ab .é他是。ี"), max_size=10)


@given(WORDLIKE, WORDLIKE)
def test_shared_ends_are_shared_and_whole(first: str, second: str) -> None:
    length = shared_prefix(first, second)
    assert first[:length] == second[:length]
    assert length == len(first) or not first[length:].startswith("ี") or length == 0
    length = shared_suffix(first, second)
    assert first[len(first) - length :] == second[len(second) - length :]


ODD = st.text(st.sampled_from("ab .é他\U0001f600\ud800"), max_size=12)


@given(ODD, ODD, ODD)
def test_characters_that_two_texts_share_are_counted_as_one_by_one(middle: str, first: str, second: str) -> None:
    shorter = min(len(first), len(second))
    one, other = first[:shorter], second[:shorter]
    same = [a == b for a, b in zip(one, other, strict=True)]
    assert _equal_characters(one, other, "little") == (same.index(False) if False in same else shorter)
    same = same[::-1]
    assert _equal_characters(one, other, "big") == (same.index(False) if False in same else shorter)
    assert _equal_characters(middle, middle, "little") == _equal_characters(middle, middle, "big") == len(middle)


def test_the_shared_ends_of_very_long_sentences_are_found_at_once() -> None:
    long = "word " * 200_000
    started = time.process_time()
    assert shared_prefix(f"{long}bad end.", f"{long}good end.") == len(long)
    assert shared_suffix(f"bad {long}end.", f"good {long}end.") == len(long) + 5
    assert time.process_time() - started < 1


def test_what_training_supervises_begins_at_the_differing_word() -> None:
    pair = Triplet("c", "x", "intrasentence", "", Sentence("s", "老人很慢。"), Sentence("a", "老人很快。"))
    assert pair.supervised(pair.stereotype) == Passage("老人很", "慢。")
    assert pair.supervised(pair.anti_stereotype, "difference") == Passage("老人很", "快", "。")


def test_what_two_sentences_share_in_writing_without_spaces() -> None:
    """The whole sentence but for one character; by words between spaces it would be the full stop alone."""
    text, other = "她在家做饭。", "他在家做饭。"
    assert [text[begin:end] for begin, end in shared_spans(text, other)] == ["在家做饭。"]
    text, other = "女人是坏司机。", "男人是好司机。"
    assert [text[begin:end] for begin, end in shared_spans(text, other)] == ["人是", "司机。"]


def test_whole_words() -> None:
    pattern = re.compile(whole_words({"he": "he", "他": "他", "MRI": "MRI"}))
    text = "the he, he's heat 看见他了 这是MRI技师 XMRI"
    assert [match.group() for match in pattern.finditer(text)] == ["he", "he", "他", "MRI"]
    assert re.compile(whole_words({})).search("anything") is None


@given(st.text("ab .", max_size=12), st.text("ab .", max_size=12))
def test_in_ascii_the_shared_end_is_that_of_the_general_rule(first: str, second: str) -> None:
    """A full-width sign in front of both takes them through the general rule, and changes nothing at their ends."""
    general = shared_suffix(f"\uff11 {first}", f"\uff12 {second}")
    assert shared_suffix(f"1 {first}", f"2 {second}") == general
