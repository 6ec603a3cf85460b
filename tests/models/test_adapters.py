"""Adapters: the reference with the adapter off, new LoRA adapters, dropout; every state is restored."""

from pathlib import Path

import pytest
import torch
import transformers

from biasunlearn.config import DebiasConfig
from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import adapter_dropout, lora_targets, reference, trainable, with_lora
from biasunlearn.models.forward import evaluating, logits_at
from biasunlearn.models.load import load
from biasunlearn.models.spec import ModelSpec
from tests import tiny
from tests.models.test_forward import CONFIG, batch_of, full_logits


def test_reference_is_the_model_without_its_adapter_and_gives_the_adapter_back() -> None:
    loaded = tiny.gpt2()
    batch = batch_of(loaded.tokenizer)
    base = full_logits(loaded.model, batch)
    model = with_lora(loaded.model, CONFIG)
    assert torch.equal(full_logits(model, batch), base)  # B begins at zero
    tiny.perturb(model)
    adapted = full_logits(model, batch)
    assert (adapted - base).abs().max() > 0.01
    learning = set(trainable(model))
    with reference(model):
        assert torch.equal(full_logits(model, batch), base)
        assert not torch.is_grad_enabled()
    assert torch.equal(full_logits(model, batch), adapted)
    assert set(trainable(model)) == learning and learning


def test_reference_restores_after_an_error_and_inside_evaluating() -> None:
    loaded = tiny.gpt2()
    batch = batch_of(loaded.tokenizer)
    model = with_lora(loaded.model, CONFIG)
    tiny.perturb(model)
    adapted = full_logits(model, batch)
    with pytest.raises(KeyError), reference(model):
        raise KeyError
    assert torch.equal(full_logits(model, batch), adapted)
    with evaluating(model), reference(model):
        pass
    assert torch.equal(full_logits(model, batch), adapted)


def test_reference_runs_without_dropout_and_restores_the_adapters() -> None:
    loaded = tiny.gpt2()
    batch = batch_of(loaded.tokenizer)
    base = full_logits(loaded.model, batch)
    model = with_lora(loaded.model, DebiasConfig(lora_rank=4, lora_dropout=0.5))
    with adapter_dropout(model):
        with reference(model):
            assert torch.equal(full_logits(model, batch), base)
        assert any(module.training for module in model.modules())


def test_reference_needs_an_adapter() -> None:
    with pytest.raises(RequestError, match="no adapter"), reference(tiny.gpt2().model):
        pass


def test_reference_leaves_a_loaded_adapter_as_untrainable_as_it_was(tmp_path: Path) -> None:
    base = tiny.save(tiny.gpt2(), tmp_path / "base")
    with_lora(tiny.gpt2().model, CONFIG).save_pretrained(tmp_path / "adapter")
    model = load(ModelSpec(base, adapter=tmp_path / "adapter")).model
    assert trainable(model) == {}
    with reference(model):
        pass
    assert set(trainable(model)) == set()


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_step_changes_the_adapter_and_nothing_else(family: str) -> None:
    loaded = tiny.causal(family)
    batch = batch_of(loaded.tokenizer)
    base = full_logits(loaded.model, batch)
    untouched = {name: p.detach().clone() for name, p in loaded.model.named_parameters()}
    model = with_lora(loaded.model, CONFIG)
    assert trainable(model) and all("lora_" in name for name in trainable(model))
    assert not any("lm_head" in name or "embed" in name for name in trainable(model))
    before = {name: p.detach().clone() for name, p in trainable(model).items()}
    optimizer = torch.optim.AdamW(trainable(model).values(), lr=1e-2)
    for _ in range(2):  # in the first step only B moves: A's gradient goes through B, which begins at zero
        loss = torch.nn.functional.cross_entropy(logits_at(model, batch), batch.targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    for name, parameter in trainable(model).items():
        assert not torch.equal(parameter, before[name]), name
    after = {name.replace(".base_layer", ""): parameter for name, parameter in model.named_parameters()}
    for name, parameter in untouched.items():
        assert torch.equal(after[f"base_model.model.{name}"], parameter), name
    assert not torch.equal(full_logits(model, batch), base)
    with reference(model):
        assert torch.equal(full_logits(model, batch), base)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_all_linear_finds_every_linear_layer_but_the_output(family: str) -> None:
    loaded = tiny.causal(family)
    head = loaded.model.get_output_embeddings()
    kinds = (torch.nn.Linear, transformers.pytorch_utils.Conv1D)
    wanted = {name for name, module in loaded.model.named_modules() if isinstance(module, kinds) and module is not head}
    model = with_lora(loaded.model, CONFIG)
    found = {name.split(".lora_")[0].replace("base_model.model.", "") for name in trainable(model)}
    assert found == wanted


def test_lora_targets_by_name_and_a_name_that_is_nowhere() -> None:
    model = with_lora(tiny.gpt2().model, DebiasConfig(lora_targets=("attn.c_attn",)))
    assert all("attn.c_attn" in name for name in trainable(model))
    with pytest.raises(RequestError, match=r"lora_targets: q_proj: .*layers: attn.c_attn, attn.c_proj, mlp.c_fc"):
        with_lora(tiny.gpt2().model, DebiasConfig(lora_targets=("attn.c_attn", "q_proj")))


@pytest.mark.parametrize(
    ("family", "names"),
    [
        ("gpt2", {"attn.c_attn", "attn.c_proj"}),
        ("llama", {f"self_attn.{part}_proj" for part in "qkvo"}),
    ],
)
def test_attention_names_the_layers_that_the_released_code_adapts(family: str, names: set[str]) -> None:
    """GPT-2: attn.c_attn and attn.c_proj; Llama: q, k, v and o."""
    model = with_lora(tiny.causal(family).model, DebiasConfig(lora_targets=("attention",)))
    found = {".".join(name.split(".lora_")[0].split(".")[-2:]) for name in trainable(model)}
    assert found == names


def test_attention_of_a_model_that_has_none() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    with pytest.raises(RequestError, match="lora_targets: attention: no linear layer"):
        lora_targets(model, DebiasConfig(lora_targets=("attention",)))


def test_the_seed_decides_where_the_adapter_begins() -> None:
    def first(seed: int) -> torch.Tensor:
        model = with_lora(tiny.gpt2().model, DebiasConfig(seed=seed))
        return next(p for name, p in model.named_parameters() if "lora_A" in name)

    assert torch.equal(first(0), first(0))
    assert not torch.equal(first(0), first(1))


def test_adapter_dropout_is_the_only_dropout() -> None:
    loaded = tiny.gpt2(embd_pdrop=0.5, attn_pdrop=0.5, resid_pdrop=0.5)
    batch = batch_of(loaded.tokenizer)
    model = with_lora(loaded.model, DebiasConfig(lora_rank=4, lora_dropout=0.5))
    base = full_logits(model, batch)
    with adapter_dropout(model):
        on = [name for name, module in model.named_modules() if module.training]
        assert on and all("lora_dropout" in name for name in on)
        assert torch.equal(full_logits(model, batch), base)  # B is zero: a base without dropout
        tiny.perturb(model)
        assert not torch.equal(full_logits(model, batch), full_logits(model, batch))
    assert not any(module.training for module in model.modules())
    assert torch.equal(full_logits(model, batch), full_logits(model, batch))


def test_adapter_dropout_ends_with_an_error() -> None:
    model = with_lora(tiny.gpt2().model, DebiasConfig(lora_dropout=0.5))
    with pytest.raises(KeyError), adapter_dropout(model):
        raise KeyError
    assert not any(module.training for module in model.modules())
