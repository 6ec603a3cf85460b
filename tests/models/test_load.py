"""A model's states and the way back from each; loading, and what is said when it cannot be done."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from biasunlearn.config import DebiasConfig
from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import adapter_dropout, reference, trainable, with_lora
from biasunlearn.models.batches import Batch, collate, encode
from biasunlearn.models.cpu_kernels import fuse_activations
from biasunlearn.models.forward import evaluating, logits_at, max_tokens
from biasunlearn.models.load import load
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


# --- states --------------------------------------------------------------------------------------------------------


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
    model = load(base, adapter=tmp_path / "adapter").model
    assert trainable(model) == {}
    with reference(model):
        pass
    assert set(trainable(model)) == set()


# --- LoRA ----------------------------------------------------------------------------------------------------------


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
    with pytest.raises(RequestError, match="lora_targets: q_proj"):
        with_lora(tiny.gpt2().model, DebiasConfig(lora_targets=("q_proj",)))


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


# --- logits --------------------------------------------------------------------------------------------------------


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


# --- loading -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny GPT-2; tests that break it take a copy."""
    folder = tmp_path_factory.mktemp("saved") / "gpt2"
    tiny.save(tiny.gpt2(), folder)
    return folder


def test_load_gives_back_what_was_saved(saved: Path) -> None:
    loaded = load(str(saved))
    batch = batch_of(loaded.tokenizer)
    assert not loaded.masked and not loaded.model.training
    expected = tiny.gpt2().model
    ours, its = loaded.model.state_dict(), expected.state_dict()
    assert ours.keys() == its.keys() and all(torch.equal(ours[name], its[name]) for name in its)
    fuse_activations(expected)  # as `load` does; without it the last bits differ
    assert torch.equal(full_logits(loaded.model, batch), full_logits(expected, batch_of(tiny.byte_level())))


@pytest.mark.parametrize("family", ["llama", "gemma2", "bert-decoder"])
def test_load_other_families(family: str, tmp_path: Path) -> None:
    made = tiny.causal(family)
    loaded = load(tiny.save(made, tmp_path / "model"))
    assert not loaded.masked and type(loaded.model) is type(made.model)
    batch = batch_of(made.tokenizer)
    assert torch.equal(batch_of(loaded.tokenizer).input_ids, batch.input_ids)
    assert torch.allclose(full_logits(loaded.model, batch), full_logits(made.model, batch), atol=1e-5)


def test_load_tells_a_masked_model_from_a_causal_one(tmp_path: Path) -> None:
    loaded = load(tiny.save(tiny.masked(), tmp_path / "model"))
    assert loaded.masked
    assert type(loaded.model).__name__ == "BertForMaskedLM"


def test_load_in_half_precision(saved: Path) -> None:
    assert load(str(saved), dtype="bfloat16").model.dtype == torch.bfloat16


def test_load_with_an_adapter(saved: Path, tmp_path: Path) -> None:
    made = with_lora(tiny.gpt2().model, CONFIG)
    tiny.perturb(made)
    made.save_pretrained(tmp_path / "adapter")
    loaded = load(str(saved), adapter=tmp_path / "adapter")
    batch = batch_of(loaded.tokenizer)
    assert torch.allclose(full_logits(loaded.model, batch), full_logits(made, batch), atol=1e-5)


def fails(name: Path | str, *, adapter: Path | None = None) -> str:
    """The message of a load that the caller can mend: one line that names what is wrong."""
    with pytest.raises(RequestError) as caught:
        load(str(name), adapter=adapter)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500
    return message


def test_no_such_folder(tmp_path: Path) -> None:
    assert "no such folder" in fails(tmp_path / "nothing")


def test_an_empty_folder(tmp_path: Path) -> None:
    assert str(tmp_path) in fails(tmp_path)


def test_a_folder_without_weights_and_one_with_pickles_only(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(saved, folder)
    (folder / "model.safetensors").unlink()
    assert "no weights in this folder" in fails(folder)
    torch.save({}, folder / "pytorch_model.bin")
    message = fails(folder)
    assert "only pytorch_model.bin" in message and "safetensors" in message


def test_broken_weights(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(saved, folder)
    (folder / "model.safetensors").write_bytes((saved / "model.safetensors").read_bytes()[:200])
    assert "the model cannot be loaded" in fails(folder)


def test_a_broken_and_an_unknown_configuration(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(saved, folder)
    (folder / "config.json").write_text("{")
    assert str(folder) in fails(folder)
    (folder / "config.json").write_text('{"model_type": "of my own"}')
    assert str(folder) in fails(folder)


def test_a_folder_without_a_tokenizer(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(saved, folder)
    for path in folder.glob("token*"):
        path.unlink()
    assert "the tokenizer cannot be loaded" in fails(folder)


def test_a_tokenizer_of_another_model(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(saved, folder)
    tiny.byte_level(extra=20).save_pretrained(folder)
    message = fails(folder)
    assert "the tokenizer does not fit the model" in message and "290 embeddings" in message


def test_weights_that_lack_a_layer_are_not_made_up(tmp_path: Path) -> None:
    """A checkpoint of the bare body has no output layer; transformers would draw one at random and only warn."""
    made = tiny.causal("llama")
    folder = tmp_path / "body"
    made.model.model.save_pretrained(folder)
    made.tokenizer.save_pretrained(folder)
    assert "lm_head" in fails(folder)


def test_a_bidirectional_body_is_not_scored_as_a_causal_model(tmp_path: Path) -> None:
    """A BERT whose configuration names no head would load as a decoder that sees the words it should predict."""
    made = tiny.masked()
    folder = tmp_path / "body"
    tiny.save(made, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["BertModel"]}))
    try:
        loaded = load(str(folder))
    except RequestError:
        return
    assert loaded.masked


def test_an_encoder_decoder(tmp_path: Path) -> None:
    config = transformers.T5Config(vocab_size=290, d_model=32, d_ff=32, num_layers=1, num_heads=2, d_kv=16)
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    tiny.byte_level().save_pretrained(tmp_path / "t5")
    assert "encoder-decoder" in fails(tmp_path / "t5")


def test_no_adapter_in_the_folder(saved: Path, tmp_path: Path) -> None:
    assert "adapter_config.json is missing" in fails(saved, adapter=tmp_path)
    assert "adapter_config.json is missing" in fails(saved, adapter=tmp_path / "nothing")


@pytest.mark.parametrize("changes", [{"n_embd": 16}, {"n_layer": 1}, {"n_layer": 3}], ids=["width", "less", "more"])
def test_an_adapter_of_another_model(changes: dict[str, int], saved: Path, tmp_path: Path) -> None:
    """Other widths cannot be loaded; with another number of layers a part of the adapter would silently be left out."""
    config = DebiasConfig(lora_targets=("attn.c_attn",))
    with_lora(tiny.gpt2(**changes).model, config).save_pretrained(tmp_path / "adapter")
    assert "the adapter does not fit the model" in fails(saved, adapter=tmp_path / "adapter")


def test_an_adapter_of_another_family(saved: Path, tmp_path: Path) -> None:
    with_lora(tiny.causal("llama").model, CONFIG).save_pretrained(tmp_path / "adapter")
    assert "the adapter does not fit the model" in fails(saved, adapter=tmp_path / "adapter")


def test_an_adapter_without_its_weights(saved: Path, tmp_path: Path) -> None:
    with_lora(tiny.gpt2().model, CONFIG).save_pretrained(tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_model.safetensors").unlink()
    assert str(tmp_path / "adapter") in fails(saved, adapter=tmp_path / "adapter")
