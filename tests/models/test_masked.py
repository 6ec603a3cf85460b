"""What a masked model reads: frames, suffixes, adapters of three shapes, and tokens hidden at random."""

import numpy as np
import pytest
import torch

from biasunlearn.config import DebiasConfig
from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError, UnscorableError
from biasunlearn.models.adapters import with_adapter, with_lora
from biasunlearn.models.batches import encode
from biasunlearn.models.feature_checks import abilities
from biasunlearn.models.masked import frame, hidden_at_random, is_masked, longest_row, masked_copies
from biasunlearn.models.packed_forward import RowCache, read_rows
from biasunlearn.scoring.log_prob import score
from tests import tiny

LAYERS = {
    "bert": {"query", "key", "value", "dense"},
    "roberta": {"query", "key", "value", "dense"},
    "modernbert": {"Wqkv", "Wo", "Wi", "dense"},
}
"""The last part of the names of the layers that all-linear finds; the output layer is none of them."""


@pytest.mark.slow
@pytest.mark.parametrize("shape", sorted(tiny.MASKED))
def test_the_adapter_of_a_masked_model_is_one_that_peft_loads(shape, tmp_path):
    base = tiny.MASKED[shape]()
    adapted = with_lora(base.model, DebiasConfig(lora_rank=2))
    targets = adapted.peft_config["default"].target_modules
    assert {name.rpartition(".")[2] for name in targets} == LAYERS[shape]
    assert is_masked(adapted) and not any("decoder" in name for name in targets)
    tiny.perturb(adapted)
    adapted.save_pretrained(tmp_path)
    again = with_adapter(tiny.MASKED[shape]().model, tmp_path)
    rows = RowCache(base.tokenizer, adapted).rows([Passage("It", " rains.")])
    with torch.no_grad():
        found = [read_rows(model, rows).log_probs for model in (adapted, again, tiny.MASKED[shape]().model)]
    assert torch.allclose(found[0], found[1]) and not torch.allclose(found[0], found[2])
    assert abilities(adapted).split_off and not abilities(adapted).packs


def test_the_causal_half_of_an_ettin_pair_is_scored_in_training_as_it_is_measured():
    loaded = tiny.modernbert_decoder()
    adapted = with_lora(loaded.model, DebiasConfig(lora_rank=2))
    tiny.perturb(adapted)
    passages = [Passage("The nurse said", " that she was tired."), Passage("", "It rains.")]
    with torch.no_grad():
        trained = read_rows(adapted, RowCache(loaded.tokenizer, adapted).rows(passages)).log_probs.tolist()
    measured = [one.log_prob for one in score(loaded.with_model(adapted), passages)]
    assert trained == pytest.approx(measured, abs=1e-4) and not is_masked(adapted)


def test_what_follows_is_tokenised_only_for_masked_models():
    loaded = tiny.masked()
    whole = loaded.tokenizer.encode("The nurse said that she was tired.", add_special_tokens=False)
    passage = Passage("The nurse", " said that she", " was tired.")
    (seen,) = encode(loaded.tokenizer, [passage], suffixes=True)
    (unseen,) = encode(loaded.tokenizer, [passage])
    assert [*seen.ids[1:], *seen.after] == whole and unseen.after == () and seen.ids == unseen.ids
    bytes_ = tiny.byte_level()
    (row,) = encode(bytes_, [passage], suffixes=True)
    assert bytes_.decode(row.after) == " was tired."  # the space before a word is its own
    with pytest.raises(UnscorableError, match="tokens, but the model takes"):
        encode(loaded.tokenizer, [passage], max_tokens=len(seen.ids), suffixes=True)


def test_a_row_with_its_frame_is_as_long_as_the_model_takes():
    loaded = tiny.masked()
    longest = longest_row(loaded.model, loaded.tokenizer, masked=True)
    assert longest == tiny.LONGEST - 1  # [SEP] takes a position
    assert longest_row(loaded.model, loaded.tokenizer, masked=False) == tiny.LONGEST


def test_a_tokenizer_without_a_mask_is_refused():
    loaded = tiny.masked()
    (row,) = encode(loaded.tokenizer, [Passage("It", " rains.")])
    loaded.tokenizer.mask_token = None
    with pytest.raises(RequestError, match="has no mask token"):
        masked_copies(loaded.tokenizer, [row])


def test_tokens_hidden_at_random():
    loaded = tiny.masked()
    rows = encode(loaded.tokenizer, [Passage("", text) for text in tiny.TEXTS])
    batch = hidden_at_random(loaded.tokenizer, rows, np.random.default_rng(0))
    again = hidden_at_random(loaded.tokenizer, rows, np.random.default_rng(0))
    assert torch.equal(batch.input_ids, again.input_ids)
    flat, width = batch.input_ids.reshape(-1), batch.input_ids.shape[1]
    assert set(flat[batch.positions].tolist()) == {loaded.tokenizer.mask_token_id}
    assert set(batch.owners.tolist()) == set(range(len(rows)))  # at least one in each row
    assert len(batch.positions) < sum(row.scored for row in rows) / 3
    for place, target, owner in zip(*(c.tolist() for c in (batch.positions, batch.targets, batch.owners)), strict=True):
        assert frame(loaded.tokenizer).around(rows[owner])[place - owner * width] == target
