"""The shipped sentences that hold by meaning: two disjoint parts, and pairs that differ in who they are about."""

import difflib

import pytest

from biasunlearn.data.definitional import definitional_pairs


def test_the_parts_are_disjoint_and_cover_the_four_bias_types() -> None:
    guard, control = definitional_pairs("guard"), definitional_pairs("control")
    texts = [{text for pair in part for text in (pair.holds, pair.does_not)} for part in (guard, control)]
    assert not texts[0] & texts[1]
    for part in (guard, control):
        assert {pair.bias_type for pair in part} == {"gender", "religion", "race", "profession"}
        assert len({pair.holds for pair in part}) == len(part)


@pytest.mark.parametrize("pair", [*definitional_pairs("guard"), *definitional_pairs("control")], ids=lambda p: p.holds)
def test_the_sentences_of_a_pair_differ_in_a_few_words(pair) -> None:
    first, second = pair.holds.split(), pair.does_not.split()
    assert pair.holds != pair.does_not and pair.holds.endswith(".") and pair.does_not.endswith(".")
    blocks = difflib.SequenceMatcher(None, first, second, autojunk=False).get_matching_blocks()
    assert sum(block.size for block in blocks) >= len(first) - 3
