"""What an adapter can be taken to, and the message where it cannot."""

import json

import pytest
import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from biasunlearn.config import DebiasConfig
from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import with_lora
from biasunlearn.models.compatibility import DOUBTFUL, compatibility, distances, require
from tests import tiny


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    model = with_lora(tiny.gpt2().model, DebiasConfig())
    tiny.perturb(model)
    folder = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(folder)
    return folder


def moved(loaded, share, *, seed=3):
    """The model with noise of that relative size on every weight."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in loaded.model.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight += share * weight.norm() / noise.norm() * noise
    return loaded


def test_the_same_model_is_at_distance_0_and_noise_at_its_own_size(adapter):
    found = compatibility(tiny.gpt2(), tiny.gpt2(), adapter)
    assert not (found.refusals or found.doubts or found.notes)
    assert set(found.distances.values()) == {0.0}
    assert list(found.distances)[:2] == ["layer 0", "layer 1"]
    found = compatibility(tiny.gpt2(), moved(tiny.gpt2(), 0.09), adapter)  # as much as rounding to 4 bits
    assert all(value == pytest.approx(0.09, abs=1e-5) for value in found.distances.values())
    assert not (found.doubts or found.notes)
    found = compatibility(tiny.gpt2(), moved(tiny.gpt2(), 0.15), adapter)
    assert "are far from the adapter's base" in found.notes[0] and "0.15 of their norm" in found.notes[0]
    require(found, "target", force=False)
    assert compatibility(tiny.gpt2(), moved(tiny.gpt2(), 0.3), adapter).doubts


def test_another_training_is_doubtful_and_may_be_forced(adapter):
    found = compatibility(tiny.gpt2(), tiny.gpt2(seed=5), adapter)
    assert found.distances["adapted"] == pytest.approx(2**0.5, rel=0.05)  # two independent draws of the same spread
    with pytest.raises(RequestError, match="doubtful.*are far from the adapter's base.*--force"):
        require(found, "target", force=False)
    require(found, "target", force=True)
    assert DOUBTFUL < 1.4


def unmerged():
    """The same tokens with the same ids, and no rule that joins bytes into words."""
    content = json.loads(tiny.byte_level().backend_tokenizer.to_str())
    content["model"]["merges"] = []
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(content)), **special)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: tiny.causal("llama"), r"another family \(llama; its base is gpt2\)"),
        (lambda: tiny.gpt2(n_embd=16), r"another size \(hidden_size 16; its base has 32\)"),
        (lambda: tiny.gpt2(n_layer=1), r"another size \(num_hidden_layers 1; its base has 2\)"),
        (lambda: tiny.gpt2(n_inner=40), r"another size \(intermediate_size|changes transformer.h.0.mlp.c_fc"),
        (lambda: tiny.gpt2(tiny.word_piece()), r"another tokenizer \(\d+ of \d+ tokens"),
    ],
)
def test_what_cannot_work_is_refused_even_if_forced(adapter, build, message):
    found = compatibility(tiny.gpt2(), build(), adapter)
    with pytest.raises(RequestError, match=f"the adapter cannot work there: .*({message})"):
        require(found, "target", force=True)


def test_more_tokens_are_a_note_and_other_cuts_a_doubt(adapter):
    added = tiny.gpt2(vocab_size=tiny.VOCABULARY + 2)
    found = compatibility(tiny.gpt2(), added, adapter)
    assert not found.refusals and "292 embeddings, the base 290" in found.notes[0]
    other = tiny.gpt2(unmerged())
    assert "splits sentences differently" in compatibility(tiny.gpt2(), other, adapter).doubts[0]


def test_without_the_base_shapes_are_still_checked(adapter):
    found = compatibility(None, tiny.gpt2(), adapter, why_no_base="base: no such folder")
    assert found.doubts[0].endswith("is not known (base: no such folder)") and not found.distances
    assert compatibility(None, tiny.gpt2(n_embd=16), adapter).refusals[0].startswith("the adapter changes transformer")


def test_a_lora_of_the_target_s_own_counts_in_the_distance():
    base, tuned = tiny.gpt2(), tiny.gpt2()
    lora = with_lora(tuned.model, DebiasConfig(lora_targets=("c_attn",)))
    assert set(distances(base.model, lora).values()) == {0.0}
    tiny.perturb(lora)
    apart = distances(base.model, lora)
    assert apart["layer 0"] > 0 and apart["embeddings and head"] == 0
    assert apart == pytest.approx(distances(base.model, lora.merge_and_unload()), rel=1e-4)
