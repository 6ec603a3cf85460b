"""Adapters for llama.cpp and mlx-lm: the same changes of the weights there, and nothing that would be left out."""

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

from biasunlearn.errors import RequestError
from biasunlearn.models.adapter_formats import check_portable, write_gguf, write_mlx
from tests import tiny

needs_mlx = pytest.mark.skipif(find_spec("mlx_lm") is None, reason="mlx-lm is not installed (extra: mlx)")


def adapter(place, family="llama", **options):
    """A base model and a LoRA of it, both saved; the adapted model."""
    place.mkdir(exist_ok=True)
    base = tiny.gpt2(n_ctx=tiny.LONGEST) if family == "gpt2" else tiny.causal(family)
    tiny.save(base, place / "model")
    chosen = {"r": 4, "lora_alpha": 6, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **options}
    adapted = get_peft_model(base.model, LoraConfig(**chosen))
    tiny.perturb(adapted)
    adapted.save_pretrained(place / "adapter")
    return adapted.eval(), base.tokenizer


def changes(folder, scale):
    """{layer: the change of its weight, B A times the factor} of a PEFT adapter."""
    tensors = load_file(folder / "adapter_model.safetensors")
    layers = {name.partition(".lora_")[0] for name in tensors}
    return {
        layer.removeprefix("base_model.model."):
            scale * tensors[f"{layer}.lora_B.weight"] @ tensors[f"{layer}.lora_A.weight"]
        for layer in layers
    }  # fmt: skip


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize(("rslora", "scale"), [(False, 1.5), (True, 3.0)])
def test_the_mlx_adapter_changes_the_weights_as_the_peft_adapter_does(tmp_path, family, rslora, scale):
    adapter(tmp_path, family, use_rslora=rslora)
    write_mlx(tmp_path / "adapter", tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["num_layers"] == 2 and config["lora_parameters"]["scale"] == pytest.approx(scale)
    tensors = load_file(tmp_path / "adapters.safetensors")
    for layer, expected in changes(tmp_path / "adapter", scale).items():
        there = layer.replace("transformer.h.", "model.h.")
        made = config["lora_parameters"]["scale"] * tensors[f"{there}.lora_a"] @ tensors[f"{there}.lora_b"]
        assert torch.allclose(made.T, expected, atol=1e-6)  # x A B: the change of the weight is its transpose
        assert there.split(".", 3)[3] in config["lora_parameters"]["keys"]


@needs_mlx
def test_mlx_lm_gives_the_logits_of_the_adapted_model(tmp_path):
    import mlx.core as mx
    from mlx_lm.utils import load_model

    from mlx_lm.tuner.utils import load_adapters  # isort: skip

    mx.set_default_device(mx.cpu)
    adapted, tokenizer = adapter(tmp_path)
    (tmp_path / "mlx").mkdir()
    write_mlx(tmp_path / "adapter", tmp_path / "mlx")
    model, _ = load_model(tmp_path / "model")
    ids = tokenizer(tiny.TEXTS[0])["input_ids"]
    with torch.no_grad():
        expected = adapted(torch.tensor([ids])).logits[0].log_softmax(-1)
        with adapted.disable_adapter():
            base = adapted(torch.tensor([ids])).logits[0].log_softmax(-1)

    def log_probs(there):
        return torch.tensor(there(mx.array([ids]))[0].tolist()).log_softmax(-1)

    assert (log_probs(model) - base).abs().max() < 1e-3
    load_adapters(model, str(tmp_path / "mlx"))
    model.eval()
    assert (log_probs(model) - expected).abs().max() < 1e-3
    assert (base - expected).abs().max() > 0.1  # the control: the adapter does something


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"use_dora": True}, "cannot load DoRA"),
        ({"modules_to_save": ["lm_head"]}, "trained completely"),
        ({"bias": "all"}, "trained biases"),
        ({"rank_pattern": {"q_proj": 2}}, "different ranks"),
        ({"target_modules": ["q_proj", "lm_head"]}, "output layer"),
        ({"target_modules": ["q_proj", "embed_tokens"]}, "embed_tokens"),
    ],
)
def test_what_other_programs_would_leave_out_is_refused_in_one_line(tmp_path, options, reason):
    adapter(tmp_path, **options)
    for refused in (
        lambda: check_portable(tmp_path / "adapter", "llama.cpp"),
        lambda: write_mlx(tmp_path / "adapter", tmp_path),
        lambda: write_gguf(tmp_path / "adapter", tmp_path, "base", Path("unused")),
    ):
        with pytest.raises(RequestError, match=reason) as error:
            refused()
        assert "\n" not in str(error.value) and "--format merged" in str(error.value)


def test_mlx_lm_adapts_whole_blocks_from_the_last_on(tmp_path):
    adapter(tmp_path, target_modules=["q_proj"], layers_to_transform=[1])
    with pytest.raises(RequestError, match="some layers only"):
        write_mlx(tmp_path / "adapter", tmp_path)
    adapter(tmp_path / "other", "gpt-neox")
    with pytest.raises(RequestError, match="mlx-lm has no layer"):
        write_mlx(tmp_path / "other/adapter", tmp_path)


CONVERTER = """import json, struct, sys
from pathlib import Path
from safetensors import safe_open
folder, out = Path(sys.argv[1]), sys.argv[sys.argv.index("--outfile") + 1]
with safe_open(folder / "adapter_model.safetensors", "numpy") as tensors:
    count = len(tensors.keys()) - LEFT_OUT
config = json.loads((folder / "adapter_config.json").read_text())
Path(out).write_bytes(b"GGUF" + struct.pack("<IQ", 3, count) + json.dumps([config["lora_alpha"], sys.argv]).encode())
"""


@pytest.mark.slow
def test_llama_cpp_s_converter_gets_the_strength_and_must_convert_every_tensor(tmp_path):
    adapter(tmp_path, use_rslora=True)
    for name, left_out in (("whole.py", "0"), ("part.py", "1")):
        (tmp_path / name).write_text(CONVERTER.replace("LEFT_OUT", left_out))
    (tmp_path / "silent.py").write_text("import sys; sys.exit('Model X is not supported')")
    base = str(tmp_path / "model")
    write_gguf(tmp_path / "adapter", tmp_path, base, tmp_path / "whole.py")
    alpha, words = json.loads((tmp_path / "adapter.gguf").read_bytes()[16:])
    assert alpha == 12.0 and words[-2:] == ["--base", base]  # 6 / sqrt(4) = 12 / 4
    with pytest.raises(RequestError, match="wrote 27 of the adapter's 28 tensors"):
        write_gguf(tmp_path / "adapter", tmp_path, base, tmp_path / "part.py")
    (tmp_path / "adapter.gguf").unlink()
    with pytest.raises(RequestError, match="Model X is not supported"):
        write_gguf(tmp_path / "adapter", tmp_path, base, tmp_path / "silent.py")


LLAMA_CPP = Path(os.environ.get("LLAMA_CPP", "missing"))


@pytest.mark.skipif(not (LLAMA_CPP / "convert_lora_to_gguf.py").exists(), reason="no llama.cpp in $LLAMA_CPP")
def test_the_gguf_file_of_llama_cpp_s_own_converter_holds_the_same_numbers(tmp_path):
    adapter(tmp_path)
    write_gguf(tmp_path / "adapter", tmp_path, str(tmp_path / "model"), LLAMA_CPP / "convert_lora_to_gguf.py")
    sys.path.insert(0, str(LLAMA_CPP / "gguf-py"))
    try:
        import gguf
    finally:
        sys.path.pop(0)
    found = {one.name: torch.tensor(one.data) for one in gguf.GGUFReader(tmp_path / "adapter.gguf").tensors}
    ours = load_file(tmp_path / "adapter/adapter_model.safetensors")
    assert len(found) == len(ours)
    prefix = "base_model.model.model.layers.0.mlp.down_proj.lora_"
    for part in "AB":  # the weights of the attention are permuted there, those of the MLP are not
        assert torch.equal(found[f"blk.0.ffn_down.weight.lora_{part.lower()}"], ours[f"{prefix}{part}.weight"])
