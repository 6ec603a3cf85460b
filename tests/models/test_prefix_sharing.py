"""Rows that begin alike, read once: by hand on small integers, and on every family against one row at a time."""

import random
import warnings
from dataclasses import replace

import pytest
import torch

from biasunlearn.data.records import Passage
from biasunlearn.models.batches import TokenRow, encode
from biasunlearn.models.load import Loaded
from biasunlearn.models.prefix_sharing import Group, alone, collate_groups, groups, opening, packed
from biasunlearn.scoring.log_prob import score
from tests import tiny

SHARED = [
    Passage("", f"The nurse said that {rest}")
    for rest in ("she was tired.", "he was kind and quiet.", "the town rains.", "she was loud.")
] + [Passage("My neighbour is a", rest) for rest in (" poet.", " doctor, and kind.")]
"""Two groups of sentences that begin alike, one of them scored from its beginning and one from behind it."""

WITHOUT = {"mistral", "gemma2", "gemma3"}
"""The tiny ones of these have a window of 8 tokens, which a mask of ours would not keep: they are read row by row."""


def row(*ids: int, first: int = 1) -> TokenRow:
    return TokenRow(ids, first)


def test_groups_by_hand():
    """1 2 3 is shared by three rows: 3 + 1 + 1 + 2 tokens in place of 13. 1 2 alone is too little to share."""
    rows = [row(1, 2, 3, 9), row(1, 2, 8, 8), row(1, 2, 3, 4), row(1, 2, 3, 5, 6), row(7, 7)]
    assert groups(rows) == [Group((2, 3, 0), 3, 7), Group((1,), 0, 4), Group((4,), 0, 2)]


def test_a_row_that_is_the_beginning_of_another_has_no_branch_of_its_own():
    assert groups([row(1, 2, 3), row(1, 2, 3, 4)]) == [Group((0, 1), 3, 4)]


def test_a_longer_shared_part_is_not_given_up_for_one_row_more():
    """Two rows that share 6 save 6; with a third that shares only 3 all three would save 6: it stays apart."""
    rows = [row(1, 2, 3, 4, 5, 6, 7), row(1, 2, 3, 4, 5, 6, 8), row(1, 2, 3, 9, 9)]
    assert [(group.rows, group.shared) for group in groups(rows)] == [((0, 1), 6), ((2,), 0)]


def test_no_tokens_are_lost_or_read_twice():
    rng = random.Random(0)
    rows = [row(*(rng.randrange(2) for _ in range(rng.randrange(2, 12)))) for _ in range(200)]
    found = groups(rows)
    assert sorted(number for group in found for number in group.rows) == list(range(200))
    for group in found:
        assert len({rows[number].ids[: group.shared] for number in group.rows}) == 1
        assert group.length == group.shared + sum(len(rows[number].ids) - group.shared for number in group.rows)


def test_the_tree_by_hand():
    """Rows 5 6 1 and 5 6 2 3, scored from their second token: 6 is predicted once, and both rows read it."""
    rows = [row(5, 6, 1), row(5, 6, 2, 3)]
    batch = collate_groups(rows, [[Group((0, 1), 2, 5)]], dtype=torch.float32)
    assert batch.input_ids.tolist() == [[5, 6, 1, 2, 3]]
    assert batch.position_ids is not None and batch.position_ids.tolist() == [[0, 1, 2, 2, 3]]
    sees = [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 0, 1, 0], [1, 1, 0, 1, 1]]
    assert (batch.attention_mask[0, 0] == 0).int().tolist() == sees
    # 6 from 5, 1 from 6, 2 from 6, 3 from 2
    assert list(zip(batch.positions.tolist(), batch.targets.tolist(), strict=True)) == [(0, 6), (1, 1), (1, 2), (3, 3)]
    assert batch.sums(torch.tensor([0.5, 1.0, 2.0, 4.0])).tolist() == [1.5, 6.5]


def test_padding_of_a_group_is_seen_by_nobody():
    rows = [row(5, 6, 7, 1), row(5, 6, 7, 2, 3, 4), row(8, 9, 1), row(8, 9, 2)]
    chosen = [Group((0, 1), 3, 7), Group((2, 3), 2, 4)]
    seen = collate_groups(rows, [[group] for group in chosen], dtype=torch.float32).attention_mask[1, 0] == 0
    assert not seen[:4, 4:].any()


def test_an_opening_is_read_once_a_line_by_hand():
    """5 begins all three rows; the first two share 6 as well. From 5 both 6 and 9 are predicted, at one place."""
    rows = [row(5, 6, 1), row(5, 6, 2), row(5, 9)]
    shared = opening(rows)
    assert shared == 1 and opening([*rows, row(6, 5)]) == 0 and opening([]) == 0
    chosen = [Group((0, 1), 2, 4), alone(2, rows[2])]
    batch = collate_groups(rows, [chosen], dtype=torch.float32, shared=shared)
    assert batch.input_ids.tolist() == [[5, 6, 1, 2, 9]]
    assert batch.position_ids is not None and batch.position_ids.tolist() == [[0, 1, 2, 2, 1]]
    sees = [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 0, 1, 0], [1, 0, 0, 0, 1]]
    assert (batch.attention_mask[0, 0] == 0).int().tolist() == sees
    # 6 from 5, 1 from 6, 2 from 6, 9 from 5
    assert list(zip(batch.positions.tolist(), batch.targets.tolist(), strict=True)) == [(0, 6), (1, 1), (1, 2), (0, 9)]
    assert batch.sums(torch.tensor([0.5, 1.0, 2.0, 4.0])).tolist() == [1.5, 2.5, 4.0]


def test_an_opening_takes_no_room_from_what_is_packed():
    """Six rows of 3 tokens of their own behind an opening of 100: lines of 106 tokens, three of them."""
    rows = [row(*range(100), *(200 + 3 * number + i for i in range(3))) for number in range(6)]
    lines = packed([alone(number, row) for number, row in enumerate(rows)], 6, shared=opening(rows))
    assert [len(line) for line in lines] == [2, 2, 2]
    batch = collate_groups(rows, lines, dtype=torch.float32, shared=100)
    assert batch.input_ids.shape == (3, 106)
    assert packed([alone(0, rows[0])], shared=103) == [[alone(0, rows[0])]]  # one row begins like itself


def one_by_one(loaded: Loaded) -> list[float]:
    return [score(loaded, [passage])[0].log_prob for passage in SHARED]


@pytest.mark.by_day("1-gpt2", "60-llama", "60-phi", "4096-gemma3", "4096-mistral", "4096-bert-decoder")
@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("batch_tokens", [1, 60, 4096])
def test_sharing_never_changes_a_score(family: str, batch_tokens: int) -> None:
    loaded = tiny.causal(family)
    order = random.Random(1).sample(range(len(SHARED)), len(SHARED))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = score(replace(loaded, batch_tokens=batch_tokens), [SHARED[i] for i in order])
    alone_scores = one_by_one(loaded)
    for index, value in zip(order, found, strict=True):
        assert value.log_prob == pytest.approx(alone_scores[index], abs=1e-4)
    assert any("does not support a tree mask" in str(warning.message) for warning in told) == (family in WITHOUT)


@pytest.mark.by_day("gpt2", "llama", "opt")
@pytest.mark.parametrize("family", sorted(set(tiny.FAMILIES) - WITHOUT))
def test_the_model_really_reads_fewer_tokens(family: str) -> None:
    """The last forward holds all groups, with each shared token once (the probe comes before it)."""
    loaded, read = tiny.causal(family), []
    handle = loaded.model.register_forward_pre_hook(
        lambda _module, _args, given: read.append(tuple(given["attention_mask"].shape)), with_kwargs=True
    )
    score(loaded, SHARED)
    handle.remove()
    rows = list(dict.fromkeys(encode(loaded.tokenizer, SHARED)))
    assert len(read[-1]) == 4 and read[-1][0] * read[-1][-1] < sum(len(row.ids) for row in rows)


def test_a_second_scoring_tries_nothing_that_was_tried() -> None:
    """An evaluation during training has the same sentences as the one before; a longer row is tried again."""
    loaded, forwards = tiny.causal("llama"), []
    loaded.model.register_forward_pre_hook(lambda *_: forwards.append(1))

    def count(passages: list[Passage]) -> int:
        forwards.clear()
        score(loaded, passages)
        return len(forwards)

    longer = [Passage("", one.prefix + one.text + " The nurse rains on the quiet town.") for one in SHARED[:2]]
    assert [count(SHARED), count(SHARED), count(longer), count(longer)] == [3, 1, 3, 1]


def test_negative_control_branches_that_see_each_other_do_change_the_score() -> None:
    """Were the tree mask an ordinary causal one, the second branch would read the first."""
    loaded = tiny.causal("gpt2")
    rows = [row(3, 4, 5, 6, 7), row(3, 4, 5, 8, 9)]
    batch = collate_groups(rows, [[Group((0, 1), 3, 7)]], dtype=torch.float32)
    with torch.no_grad():
        apart = loaded.model(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, position_ids=batch.position_ids
        ).logits[0, -1]
        mixed = loaded.model(input_ids=batch.input_ids, position_ids=batch.position_ids).logits[0, -1]
        right = loaded.model(input_ids=torch.tensor([rows[1].ids])).logits[0, -1]
    assert (apart - right).abs().max() < 1e-4 < 1e-2 < (mixed - right).abs().max()


def test_a_row_alone_shares_nothing() -> None:
    assert alone(4, row(1, 2, 3)) == Group((4,), 0, 3)
