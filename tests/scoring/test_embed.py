"""Sentence vectors against one sentence a forward, without padding, and what the output layer itself reads."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from biasunlearn.errors import RequestError
from biasunlearn.models.batches import start_token
from biasunlearn.scoring.embed import embed
from tests import tiny

SENTENCES = ["The nurse said that she was tired.", "It rains.", "My neighbour is a poet", "It rains.", "A doctor"]


def alone(loaded, sentence):
    """(mean, last) of one sentence: its own tokens behind the start token, or within the frame."""
    tokenizer = loaded.tokenizer
    own = tokenizer.encode(sentence, add_special_tokens=False)
    if loaded.masked:
        ids, begin = [tokenizer.cls_token_id, *own, tokenizer.sep_token_id], 1
    else:
        opening = start_token(tokenizer)
        ids, begin = ([opening, *own], 1) if opening is not None else (own, 0)
    with torch.no_grad():
        hidden = loaded.model(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0].double()
    return hidden[begin : begin + len(own)].mean(0).numpy(), hidden[begin + len(own) - 1].numpy()


@pytest.mark.by_day("1-gpt2", "4096-llama", "4096-opt", "4096-gemma3", "4096-bert", "1-roberta")
@pytest.mark.parametrize("family", [*tiny.FAMILIES, "bert", "roberta"])
@pytest.mark.parametrize("batch_tokens", [1, 4096])
def test_vectors_are_those_of_one_sentence_at_a_time(family, batch_tokens):
    loaded = {"bert": tiny.masked, "roberta": tiny.masked_roberta}.get(family, lambda: tiny.causal(family))()
    found = embed(replace(loaded, batch_tokens=batch_tokens), SENTENCES)
    for number, sentence in enumerate(SENTENCES):
        mean, last = alone(loaded, sentence)
        np.testing.assert_allclose(found["mean"][number], mean, atol=1e-4)
        np.testing.assert_allclose(found["last"][number], last, atol=1e-4)
    np.testing.assert_array_equal(found["mean"][1], found["mean"][3])  # equal sentences, equal vectors
    assert np.abs(found["mean"][0] - found["mean"][1]).max() > 0.01 < np.abs(found["mean"] - found["last"]).max()


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt-neox", "qwen3", "mistral"])
def test_the_last_hidden_state_is_what_the_output_layer_reads(family):
    """Not the one before the final norm: the logits come out of it again."""
    loaded = tiny.causal(family)
    vector = embed(loaded, ["It rains."])["last"][0]
    ids = loaded.tokenizer.encode("It rains.", add_special_tokens=False)
    start = start_token(loaded.tokenizer)
    with torch.no_grad():
        logits = loaded.model(torch.tensor([[start, *ids]])).logits[0, -1]
        again = loaded.model.get_output_embeddings()(torch.tensor(vector, dtype=torch.float32))
    torch.testing.assert_close(again, logits, atol=1e-3, rtol=1e-3)


def test_a_sentence_that_is_too_long_is_named():
    with pytest.raises(RequestError, match="the model takes 8"):
        embed(tiny.gpt2(n_positions=8), ["It rains, and it rains, and it rains."])


def test_progress_ends_where_it_says():
    told = []
    embed(replace(tiny.gpt2(), batch_tokens=20, progress=lambda done, of: told.append((done, of))), SENTENCES)
    assert told[-1] == (4, 4) and len(told) > 1
