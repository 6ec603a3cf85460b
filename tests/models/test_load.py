"""Loading: what comes back, on which device, and the message where it cannot be done."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers

from biasunlearn.config import DebiasConfig
from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import with_lora
from biasunlearn.models.cpu_kernels import fuse_activations
from biasunlearn.models.load import load
from biasunlearn.models.spec import ModelSpec
from tests import tiny
from tests.models.test_forward import CONFIG, batch_of, full_logits


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
    assert load(ModelSpec(str(saved), dtype="bfloat16")).model.dtype == torch.bfloat16


def test_load_with_an_adapter(saved: Path, tmp_path: Path) -> None:
    made = with_lora(tiny.gpt2().model, CONFIG)
    tiny.perturb(made)
    made.save_pretrained(tmp_path / "adapter")
    loaded = load(ModelSpec(str(saved), adapter=tmp_path / "adapter"))
    batch = batch_of(loaded.tokenizer)
    assert torch.allclose(full_logits(loaded.model, batch), full_logits(made, batch), atol=1e-5)


def fails(name: Path | str, *, adapter: Path | None = None) -> str:
    """The message of a load that the caller can mend: one line that names what is wrong."""
    with pytest.raises(RequestError) as caught:
        load(ModelSpec(str(name), adapter=adapter))
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


# --- device and revision -------------------------------------------------------------------------------------------


def test_a_device_is_chosen_by_name(saved: Path) -> None:
    assert load(ModelSpec(str(saved), device="cpu")).device == torch.device("cpu")


@pytest.mark.parametrize("device", ["cuda:97", "gpu", "meta", ""])
def test_a_device_that_this_machine_does_not_have(device: str, saved: Path) -> None:
    with pytest.raises(RequestError, match=f"^--device {device}: no such device here; there are: cpu"):
        load(ModelSpec(str(saved), device=device))


def test_several_processes_have_their_own_devices(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("biasunlearn.models.distributed.count", lambda: 2)
    with pytest.raises(RequestError, match="--device cpu: several processes have a device each"):
        load(ModelSpec(str(saved), device="cpu"))


def test_a_folder_has_no_revisions(saved: Path) -> None:
    with pytest.raises(RequestError, match="--revision v2: .* is a folder, and only models on the hub have revisions"):
        load(ModelSpec(str(saved), revision="v2"))


@pytest.mark.slow
def test_a_revision_of_a_hub_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two revisions of one repository in the hub's cache, which differ in their number of layers."""
    repository = tmp_path / "hub" / "models--owner--name"
    for revision, commit, layers in (("main", "a" * 40, 1), ("v2", "b" * 40, 3)):
        tiny.save(tiny.gpt2(n_layer=layers), repository / "snapshots" / commit)
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / revision).write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))  # what $HF_HUB_CACHE sets
    for known, layers in ((None, 1), ("v2", 3)):
        assert load(ModelSpec("owner/name", revision=known)).model.config.n_layer == layers
    with pytest.raises(RequestError, match="owner/name: the model cannot be loaded"):
        load(ModelSpec("owner/name", revision="v3"))
