"""An erasure behind one layer: later layers compute with it, it is stored and attached, and off it is the base."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import reference, with_adapter
from biasunlearn.models.blocks import blocks
from biasunlearn.models.erased import FILE, Erased, write_erasure
from biasunlearn.scoring.log_prob import score
from tests import tiny

PASSAGES = [Passage("The nurse is", " tired."), Passage("It", " rains.")]


def log_probs(model: Any) -> list[float]:
    return [found.log_prob for found in score(tiny.gpt2().with_model(model), PASSAGES)]


@pytest.mark.by_day("gpt2", "llama", "opt", "gemma3")
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_next_layer_reads_erased_states(family: str) -> None:
    loaded = tiny.causal(family)
    ids = torch.tensor([loaded.tokenizer("The nurse is tired.").input_ids])
    width, entering = loaded.model.config.hidden_size, []

    def take(_module: Any, args: Any, kwargs: Any) -> None:
        entering.append(args[0] if args else kwargs["hidden_states"])

    blocks(loaded.model)[1].register_forward_pre_hook(take, with_kwargs=True)
    projection, center = torch.zeros(width, width), torch.full((width,), 0.5)
    projection[0, 0] = 1.0
    with torch.no_grad():
        plain = loaded.model(ids).logits
        erased = Erased(loaded.model, projection, center, block=0)
        changed = erased(ids).logits
        with reference(erased):
            off = erased(ids).logits
    assert torch.equal(off, plain) and not torch.allclose(changed, plain)
    assert torch.allclose(entering[1][..., 0], center[0], atol=1e-6)
    assert torch.equal(entering[1][..., 1:], entering[0][..., 1:]) and torch.equal(entering[2], entering[0])


def test_it_is_stored_with_its_layer_and_attached_as_it_was(tmp_path: Path) -> None:
    projection, center = torch.eye(tiny.WIDTH) / 2, torch.ones(tiny.WIDTH)
    plain, model = log_probs(tiny.gpt2().model), Erased(tiny.gpt2().model, projection, center, block=1)
    model.save_pretrained(tmp_path)
    assert set(load_file(tmp_path / FILE)) == {"projection", "center", "block"}
    assert log_probs(with_adapter(tiny.gpt2().model, tmp_path)) == log_probs(model) != plain
    write_erasure(tmp_path, projection, center, 2)
    with pytest.raises(RequestError, match="made for layer 2, the model has 2 layers"):
        with_adapter(tiny.gpt2().model, tmp_path)


def test_a_projection_of_zeros_leaves_the_model_bit_for_bit() -> None:
    """The negative control."""
    plain = log_probs(tiny.gpt2().model)
    nothing = torch.zeros(tiny.WIDTH, tiny.WIDTH)
    assert log_probs(Erased(tiny.gpt2().model, nothing, torch.ones(tiny.WIDTH), block=0)) == plain
