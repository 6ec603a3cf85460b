"""When a prompt is flagged: every reason by hand, on both sides of its threshold."""

import pytest

from biasunlearn.stats.prompt_change import (
    PromptChange,
    changed_strongly,
    prompt_change,
    repeats_itself,
    total_variation,
)


def test_total_variation_by_hand():
    assert total_variation((0.5, 0.5), (0.9, 0.1)) == pytest.approx(0.4)
    assert total_variation((1.0, 0.0), (0.0, 1.0)) == 1 and total_variation((0.3, 0.7), (0.3, 0.7)) == 0


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [(0.1, 0.01, True), (0.01, 0.1, True), (0.1, 0.011, False), (0.009, 0.0, False), (0.01, 0.0, True), (0, 0, False)],
)
def test_a_word_is_flagged_from_a_factor_of_ten_if_it_is_likely_in_one_of_the_models(first, second, expected):
    assert changed_strongly(first, second) is expected


def test_a_text_repeats_itself_if_a_third_of_its_words_differ():
    assert repeats_itself("no no no No no no") and repeats_itself("a b a b a b")
    assert not repeats_itself("a b c a b c") and not repeats_itself("no no no no no") and not repeats_itself("")


def test_each_reason_alone_and_none():
    words = [("he", 0.5, 0.01), ("she", 0.2, 0.3)]
    found = prompt_change(words, 0.5, ("a b c d e f", "no no no no no no"), 2.0)
    assert found.words == (("he", 0.5, 0.01),) and found.repeats
    first, second, third, fourth = found.reasons
    assert first.startswith("50 %") and "“he” went from 50.0 % to 1.0 %" == second
    assert "2.0 nats" in third and "repeats itself" in fourth
    both = ("no no no no no no", "no no no no no no")  # the base model does the same: no change
    assert prompt_change(words[1:], 0.49, both, 1.9).reasons == []
    assert PromptChange(0.0).reasons == []
    assert "below 0.1 %" in PromptChange(0.0, (("he", 0.5, 0.0),)).reasons[0]
