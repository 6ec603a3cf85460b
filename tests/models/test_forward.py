"""Evaluation mode, and logits at chosen positions."""

from typing import Any

import pytest
import torch
import transformers

from biasunlearn.config import DebiasConfig
from biasunlearn.data.records import Passage
from biasunlearn.models.adapters import trainable, with_lora
from biasunlearn.models.batches import Batch, collate, encode
from biasunlearn.models.forward import evaluating, logits_at, max_tokens
from tests import tiny

PASSAGES = [
    Passage("The nurse", " said that she was tired."),
    Passage("", "It rains."),
    Passage("My neighbour is a", " poet, and my neighbour is kind."),
]
CONFIG = DebiasConfig(lora_rank=4, lora_alpha=8)


def batch_of(tokenizer: Any) -> Batch:
    return collate(encode(tokenizer, PASSAGES))


def full_logits(model: Any, batch: Batch) -> torch.Tensor:
    with torch.no_grad():
        logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    return logits.reshape(-1, logits.shape[-1])


def test_evaluating_restores_every_module_by_itself() -> None:
    model = tiny.gpt2(embd_pdrop=0.5, resid_pdrop=0.5).model.train()
    for number, module in enumerate(model.modules()):
        module.training = number % 3 == 0  # a mixture that no train() or eval() makes
    before = [module.training for module in model.modules()]
    assert any(before) and not all(before)
    with evaluating(model):
        assert not any(module.training for module in model.modules())
        assert not torch.is_grad_enabled()
    assert [module.training for module in model.modules()] == before
    assert torch.is_grad_enabled()


def test_evaluating_restores_after_an_error() -> None:
    model = tiny.gpt2().model.train()
    with pytest.raises(KeyError), evaluating(model):
        raise KeyError
    assert all(module.training for module in model.modules())
    assert torch.is_grad_enabled()


def test_evaluating_within_evaluating() -> None:
    model = tiny.gpt2().model.train()
    with evaluating(model):
        with evaluating(model):
            pass
        assert not model.training and not torch.is_grad_enabled()
    assert model.training


@pytest.mark.by_day("True-gpt2", "False-llama", "True-opt", "False-gemma3")
@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("adapted", [False, True])
def test_logits_at_are_the_full_logits_indexed(family: str, adapted: bool) -> None:
    loaded = tiny.causal(family)
    batch = batch_of(loaded.tokenizer)
    model = with_lora(loaded.model, CONFIG) if adapted else loaded.model
    if adapted:
        tiny.perturb(model)
    expected = full_logits(model, batch)[batch.positions]
    with torch.no_grad():
        found = logits_at(model, batch)
    assert found.shape == (len(batch.positions), tiny.VOCABULARY)
    assert torch.allclose(found, expected, atol=1e-4)
    assert torch.allclose(full_logits(model, batch)[batch.positions], expected)  # the hook is gone


@pytest.mark.by_day("gpt2", "llama", "opt", "gemma3")
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_gradient_through_logits_at_is_that_of_the_full_logits(family: str) -> None:
    loaded = tiny.causal(family)
    batch = batch_of(loaded.tokenizer)
    model = with_lora(loaded.model, CONFIG)
    tiny.perturb(model)
    weights = torch.randn(len(batch.positions), tiny.VOCABULARY, generator=torch.Generator().manual_seed(0))

    def gradients(logits: torch.Tensor) -> list[torch.Tensor]:
        return list(torch.autograd.grad((logits * weights).sum(), list(trainable(model).values())))

    whole = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    expected = gradients(whole.reshape(-1, whole.shape[-1])[batch.positions])
    for one, other in zip(gradients(logits_at(model, batch)), expected, strict=True):
        assert torch.allclose(one, other, atol=1e-3, rtol=1e-4)


def test_logits_at_on_a_masked_model_and_on_a_single_row() -> None:
    loaded = tiny.masked()
    batch = collate(encode(loaded.tokenizer, PASSAGES), at_token=True)
    with torch.no_grad():
        found = logits_at(loaded.model, batch)
    assert torch.allclose(found, full_logits(loaded.model, batch)[batch.positions], atol=1e-4)
    loaded = tiny.gpt2()
    batch = collate(encode(loaded.tokenizer, PASSAGES[1:2]))
    with torch.no_grad():
        found = logits_at(loaded.model, batch)
    assert torch.allclose(found, full_logits(loaded.model, batch)[batch.positions], atol=1e-4)


def test_logits_at_where_the_output_layer_is_not_to_be_found() -> None:
    loaded = tiny.gpt2()
    batch = batch_of(loaded.tokenizer)
    hidden = torch.nn.Module()
    hidden.forward = loaded.model.forward  # type: ignore[method-assign]
    with torch.no_grad():
        assert torch.allclose(logits_at(hidden, batch), logits_at(loaded.model, batch), atol=1e-4)


def test_max_tokens() -> None:
    assert max_tokens(tiny.gpt2(n_positions=16).model) == 16
    assert max_tokens(with_lora(tiny.gpt2(n_positions=16).model, CONFIG)) == 16
    config = transformers.BloomConfig(vocab_size=tiny.VOCABULARY, hidden_size=tiny.WIDTH, n_layer=1, n_head=4)
    assert max_tokens(transformers.BloomForCausalLM(config)) is None  # no learned positions
