"""Packed lines with FlexAttention, on the CPU: the mask by hand, scores beside those with a mask of all pairs."""

import random
import warnings

import pytest
import torch
from torch.nn.attention import flex_attention

from biasunlearn.data.records import Passage
from biasunlearn.models import block_attention, feature_checks, prefix_sharing
from biasunlearn.models.batch_log_probs import batch_log_probs
from biasunlearn.models.batches import Batch, TokenRow
from biasunlearn.models.feature_checks import takes_block_mask
from biasunlearn.models.forward import evaluating
from biasunlearn.models.load import Loaded
from biasunlearn.models.prefix_sharing import Group, alone, collate_groups, groups, opening, packed
from biasunlearn.models.prompted import Prompted
from biasunlearn.scoring.log_prob import score
from tests import tiny

PASSAGES = [
    Passage(prefix, text)
    for prefix, texts in (
        ("The nurse said that", (" she was tired.", " he was kind and quiet.", " the town rains.")),
        ("My neighbour is a poet, and my neighbour is", (" kind.", " loud.", " a doctor of the town.")),
        ("", ("It rains.", "Green ideas sleep furiously on the table.")),
    )
    for text in texts
]
"""Two groups with a shared beginning, and rows of unequal length."""


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch):
    """Call it, and lines of more than 8 tokens are computed in blocks of 8 on the CPU.

    It returns a list that has the shape of the queries of each call of the attention in blocks.
    """

    def force(longest: int = 8, block: int = 8, *, traced: bool = False) -> list[tuple[int, ...]]:
        monkeypatch.setattr(block_attention, "DEVICES", {"cpu"})
        monkeypatch.setattr(block_attention, "LONGEST_DENSE", longest)
        monkeypatch.setattr(block_attention, "BLOCK", block)
        if not traced:  # torch traces every new shape, which takes longer than computing it
            monkeypatch.setattr(flex_attention, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)
        calls, attend = [], block_attention._attend

        def counted(module, query, *args, **others):
            calls.append(tuple(query.shape))
            return attend(module, query, *args, **others)

        monkeypatch.setattr(block_attention, "_attend", counted)
        return calls

    return force


def wide(family: str) -> Loaded:
    """A tiny model whose window, if it has one, is wider than its rows."""
    loaded = tiny.causal(family)
    if getattr(loaded.model.config, "sliding_window", None):
        loaded.model.config.sliding_window = tiny.LONGEST
    return loaded


def both(rows: list[TokenRow], **options) -> tuple[Batch, Batch]:
    shared = opening(rows)
    lines = packed(groups(rows), **options, shared=shared)
    return tuple(
        collate_groups(rows, lines, dtype=torch.float32, shared=shared, blocks=blocks) for blocks in (False, True)
    )


# --- the mask ---------------------------------------------------------------------------------------------------------


def test_the_blocks_by_hand(monkeypatch):
    """Rows 5 6 1 and 5 6 2 3 in blocks of two: [5 6] [1 2] [3 -]. 1 and 2 attend to all of [5 6]: a full block.

    5 does not attend to 6, nor 1 to 2, nor padding to anything but itself: the other blocks need the function.
    """
    monkeypatch.setattr(block_attention, "BLOCK", 2)
    rows = [TokenRow((5, 6, 1), 1), TokenRow((5, 6, 2, 3), 1)]
    batch = collate_groups(rows, [[Group((0, 1), 2, 5)]], dtype=torch.float32, blocks=True)
    assert batch.input_ids.tolist() == [[5, 6, 1, 2, 3, 0]]
    mask = batch.block_mask
    assert mask is not None and mask.shape == (1, 1, 6, 6)
    assert mask.kv_num_blocks.tolist() == [[[1, 1, 3]]] and mask.full_kv_num_blocks.tolist() == [[[0, 1, 0]]]
    assert mask.kv_indices[0, 0, :2, 0].tolist() == [0, 1] and mask.full_kv_indices[0, 0, 1, 0] == 0
    sees = [[1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0], [1, 1, 0, 1, 0, 0], [1, 1, 0, 1, 1, 0]]
    found = flex_attention.create_mask(mask.mask_mod, 1, 1, 6, 6, device="cpu")[0, 0]
    assert found.int().tolist() == [*sees, [0, 0, 0, 0, 0, 1]]


@pytest.mark.parametrize("seed", range(3))
def test_the_blocks_are_those_of_the_mask_of_all_pairs(monkeypatch, seed):
    """Of random rows: the function gives the same mask; no block is missing, and none is full that is not."""
    monkeypatch.setattr(block_attention, "BLOCK", 4)
    rng = random.Random(seed)
    rows = [TokenRow((0, *(rng.randrange(2) for _ in range(rng.randrange(4, 20)))), 1) for _ in range(14)]
    pairs, blocks = both(list(dict.fromkeys(rows)), length=24)
    sees = pairs.attention_mask[:, 0] == 0
    lines, width = sees.shape[:2]
    assert lines > 1 and blocks.input_ids.shape[1] == -(-width // 4) * 4
    mask = blocks.block_mask
    assert mask is not None
    given = flex_attention.create_mask(mask.mask_mod, lines, 1, *mask.shape[2:], device="cpu")[:, 0]
    assert torch.equal(given[:, :width, :width], sees)
    assert not given[:, :width, width:].any()  # nobody attends to the padding that makes whole blocks
    expected = flex_attention.create_block_mask(mask.mask_mod, lines, 1, *mask.shape[2:], device="cpu", BLOCK_SIZE=4)
    assert torch.equal(mask.to_dense(), expected.to_dense())
    for name in ("kv_num_blocks", "full_kv_num_blocks", "q_num_blocks", "full_q_num_blocks"):
        assert torch.equal(getattr(mask, name), getattr(expected, name))
    assert expected.full_kv_num_blocks.any() and (mask.to_dense() == 0).any()  # the control: there are all three kinds


def test_a_model_outside_the_context_refuses_a_batch_in_blocks(forced):
    """Its empty mask fits no shape, so that no token can attend to what it must not."""
    forced()
    _, batch = both([TokenRow(tuple(range(20)), 1), TokenRow((*range(15), 40, 41), 1)])
    model = tiny.causal("llama").model
    with torch.no_grad(), pytest.raises((RuntimeError, ValueError)):
        model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, position_ids=batch.position_ids)


# --- scores -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3", "gemma3"])
def test_scores_in_blocks_are_those_with_a_mask_of_all_pairs(forced, family):
    loaded = wide(family)
    before = loaded.model.config._attn_implementation
    expected = [one.log_prob for one in score(loaded, PASSAGES)]
    apart = [score(loaded, [one])[0].log_prob for one in PASSAGES]
    calls = forced()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [one.log_prob for one in score(loaded, PASSAGES)]
    assert found == pytest.approx(expected, abs=1e-4) and found == pytest.approx(apart, abs=1e-4)
    assert len(calls) == 4 and calls[0][2] % 8 == 0 and calls[0][2] > 8  # two layers: tried once, then used
    assert loaded.model.config._attn_implementation == before
    calls.clear()
    score(loaded, PASSAGES)
    assert len(calls) == 2  # a shape that is known is not tried again


def test_a_line_of_more_than_512_tokens_with_the_blocks_of_a_card(forced):
    """8 sentences after one context, and 2 after another; 128 tokens to a block."""
    rng = random.Random(0)
    contexts = [" ".join(rng.choice(("nurse", "poet", "the", "rains", "is")) for _ in range(n)) for n in (230, 100)]
    ends = (" kind.", " loud.", " quiet and tired.", " a doctor.", " he.", " she.", " gone.", " the town.")
    passages = [Passage(c, e) for c, some in zip(contexts, (ends, ends[:2]), strict=True) for e in some]
    loaded = tiny.gpt2(n_positions=900)
    expected = [one.log_prob for one in score(loaded, passages)]
    calls = forced(block_attention.LONGEST_DENSE, block_attention.BLOCK)
    found = [one.log_prob for one in score(loaded, passages)]
    assert found == pytest.approx(expected, abs=1e-4)
    assert calls and all(shape[2] > 512 and shape[2] % 128 == 0 for shape in calls)


def test_negative_control_a_wrong_mask_changes_scores_and_is_found(forced, monkeypatch):
    """With a mask that is only causal, a branch attends to the branch before it. The check says so, and scores stay."""
    loaded = tiny.causal("llama")
    expected = [one.log_prob for one in score(loaded, PASSAGES)]
    calls, made = forced(), prefix_sharing.block_mask

    def causal(sees, one_sees, shape):
        return made(sees, lambda line, head, place, other: other <= place, shape)

    monkeypatch.setattr(prefix_sharing, "block_mask", causal)
    with pytest.warns(UserWarning, match="not used for long lines"):
        found = [one.log_prob for one in score(loaded, PASSAGES)]
    assert found == expected and len(calls) == 2
    with warnings.catch_warnings():  # once
        warnings.simplefilter("error")
        assert [one.log_prob for one in score(loaded, PASSAGES)] == expected
    rows = [TokenRow((3, 4, 5, 6, 7, 8, 9, 10), 3), TokenRow((3, 4, 5, 11, 12, 13, 14, 15), 3)]
    with evaluating(loaded.model):
        pairs, wrong = (batch_log_probs(loaded.model, batch) for batch in both(rows))
        monkeypatch.setattr(prefix_sharing, "block_mask", made)
        right = batch_log_probs(loaded.model, both(rows)[1])
    assert (pairs - right).abs().max() < 1e-4 < 1e-2 < (pairs - wrong).abs().max()


@pytest.mark.slow
def test_scores_with_flex_attention_as_users_call_it(forced):
    """As the other tests, but with the tracing that torch does on every device."""
    loaded = tiny.causal("llama")
    expected = [one.log_prob for one in score(loaded, PASSAGES)]
    calls = forced(traced=True)
    assert [one.log_prob for one in score(loaded, PASSAGES)] == pytest.approx(expected, abs=1e-4)
    assert len(calls) == 4


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_every_family_has_the_same_scores_whether_it_can_be_computed_in_blocks_or_not(forced, family):
    loaded = wide(family)
    expected = [one.log_prob for one in score(loaded, PASSAGES)]
    calls = forced()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = [one.log_prob for one in score(loaded, PASSAGES)]
    assert found == pytest.approx(expected, abs=1e-4)
    refused = any("not used for long lines" in str(entry.message) for entry in told)
    assert refused == (family in WITHOUT) and (family in WITHOUT or calls)


WITHOUT = {"gemma2"}
"""It caps its attention scores."""


# --- when it is used --------------------------------------------------------------------------------------------------


def test_it_is_not_used_on_a_cpu_with_gradients_or_with_prompts(forced):
    rows = [TokenRow(tuple(i % 97 for i in range(600)), 1)]
    lines = [[alone(0, rows[0])]]
    model = tiny.gpt2(n_positions=700).model
    with torch.no_grad():
        assert not takes_block_mask(model, rows, lines, 0)  # by default only on a GPU
        forced(512, 128)
        assert takes_block_mask(model, rows, lines, 0)  # the control
        assert not takes_block_mask(model, [TokenRow(rows[0].ids[:512], 1)], [[Group((0,), 0, 512)]], 0)
        prompts = [{"text": "Be fair.", "ids": [1, 2]}]
        assert not takes_block_mask(Prompted(model, "prompt", prompts, None), rows, lines, 0)
    assert not takes_block_mask(model, rows, lines, 0)


def test_after_one_shape_that_differs_no_other_is_tried(forced, monkeypatch):
    """A model that was right for lines of 16 tokens and is wrong for those of 24 is not used for those of 16 either."""
    forced()
    model = tiny.gpt2().model
    tried = []

    def same(model, rows, lines, shared):
        tried.append(len(rows[0].ids))
        return len(rows[0].ids) <= 16

    monkeypatch.setattr(feature_checks, "_same_in_blocks", same)
    found = []
    with torch.no_grad(), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for length in (12, 16, 20, 12, 30):
            row = TokenRow(tuple(range(length)), 1)
            found.append(takes_block_mask(model, [row], [[alone(0, row)]], 0))
    assert found == [True, True, False, False, False] and tried == [12, 20] and len(told) == 1


def test_what_it_does_not_do_is_refused_and_the_attention_is_what_it_was(forced):
    forced()
    model = tiny.causal("llama").model
    _, batch = both([TokenRow(tuple(range(20)), 1)])
    model.config._attn_implementation = "eager"
    query = torch.ones(1, 4, 24, 8)
    for given in ({"dropout": 0.1}, {"softcap": 50.0}, {"s_aux": torch.ones(4)}):
        name = next(iter(given))
        with (
            pytest.raises(NotImplementedError, match=name),
            block_attention.attending(model, batch.block_mask),
        ):
            assert model.config._attn_implementation == block_attention.NAME
            block_attention._attend(model, query, query, query, None, **given)
        assert model.config._attn_implementation == "eager"


def test_grouped_keys_and_a_scale_of_the_family_by_hand(forced):
    """One line of two tokens that see each other or not: the second attends to the first with e^(s q k) : 1."""
    forced(0, 2)
    mask = collate_groups([TokenRow((1, 2), 1)], [[Group((0,), 0, 2)]], dtype=torch.float32, blocks=True).block_mask
    query = torch.tensor([[[[0.0], [1.0]], [[0.0], [2.0]]]])  # two heads of size 1
    key, value = torch.tensor([[[[1.0], [0.0]]]]), torch.tensor([[[[1.0], [0.0]]]])
    model = tiny.causal("llama").model
    with block_attention.attending(model, mask):
        found, _ = block_attention._attend(model, query, key, value, None, scaling=0.5)
    weights = [1 / (1 + 2.718281828 ** -(0.5 * q)) for q in (1, 2)]
    assert found.shape == (1, 2, 2, 1) and found[0, 1, :, 0].tolist() == pytest.approx(weights, abs=1e-6)
    assert found[0, 0, :, 0].tolist() == [1, 1]
