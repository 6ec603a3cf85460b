"""Adapters for other programs: which ones they can load, and the file formats of llama.cpp and mlx-lm.

Both load a LoRA of linear layers and nothing else. A part of an adapter that a program cannot load would be missing
there without a word, so that such an adapter is refused here.
"""

import json
import math
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from biasunlearn.errors import RequestError
from biasunlearn.models.adapter_files import CONFIG, WEIGHTS, check_adapter
from biasunlearn.runs.run_files import AdapterConfig

GGUF_CONVERTER = "convert_lora_to_gguf.py"
"""llama.cpp's converter of adapters."""

GGUF_FILE, MLX_FILE = "adapter.gguf", "adapters.safetensors"

PREFIX = "base_model.model."
"""How PEFT begins the name of every tensor; the name of the layer in the model follows."""

MLX_NAMES = {"model.layers.": "model.layers.", "transformer.h.": "model.h."}
"""The beginnings of the names of layers that mlx-lm also has, and what they are called there."""


def check_portable(folder: Path, program: str) -> AdapterConfig:
    """The content of adapter_config.json of an adapter that other programs load completely.

    Raises:
        RequestError: it is not only a LoRA of linear layers; says why, and what can be exported instead.
    """
    config = check_adapter(folder)
    if reason := _not_portable(folder, config):
        raise RequestError(f"{folder}: {program} cannot load {reason}; export the complete model: --format merged")
    return config


def _not_portable(folder: Path, config: AdapterConfig) -> str:
    """What of an adapter other programs cannot load; "" where there is nothing."""
    more = config.model_extra or {}
    found = {
        f"a {config.peft_type} adapter, only LoRA": config.peft_type != "LORA",
        "DoRA": more.get("use_dora"),
        "layers that were trained completely (modules_to_save)": more.get("modules_to_save"),
        "trained biases": more.get("bias", "none") != "none" or more.get("lora_bias"),
        "trained tokens (trainable_token_indices)": more.get("trainable_token_indices"),
        "repeated layers (layer_replication)": more.get("layer_replication"),
        "layers of different ranks or strengths": config.rank_pattern or config.alpha_pattern,
    }
    if reason := next((text for text, holds in found.items() if holds), ""):
        return reason
    if not (folder / WEIGHTS).exists():
        return f"weights that are not in {WEIGHTS}"
    names = _names(folder)
    if outside := [name for name in names if not any(part.isdigit() for part in name.split("."))]:
        return f"a LoRA of the output layer or the embeddings ({outside[0]})"
    odd = [name for name in names if not name.endswith((".lora_A.weight", ".lora_B.weight"))]
    return f"{odd[0]}, which is no LoRA of a linear layer" if odd else ""


def _names(folder: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(folder / WEIGHTS, "numpy") as tensors:
        return sorted(tensors.keys())


def strength(config: AdapterConfig) -> float:
    """The factor of B A: lora_alpha / r, or lora_alpha / sqrt(r) of rank-stabilised LoRA (arXiv 2312.03732)."""
    rank, alpha = config.r or 1, config.lora_alpha or 0.0
    return alpha / math.sqrt(rank) if (config.model_extra or {}).get("use_rslora") else alpha / rank


def write_mlx(adapter: Path, place: Path) -> None:
    """Writes adapters.safetensors and adapter_config.json as mlx-lm reads them (`mlx_lm --adapter-path`).

    mlx-lm computes x A B with A of shape (in, r) and B of shape (r, out), both transposed with respect to PEFT, and
    stores the factor as `scale`.

    Raises:
        RequestError: as `check_portable`; the layers have other names in mlx-lm.
    """
    from safetensors.torch import load_file, save_file

    config = check_portable(adapter, "mlx-lm")
    tensors: dict[str, Any] = {}
    keys, layers = set(), set()
    for name, values in load_file(adapter / WEIGHTS).items():
        layer, _, part = _mlx_name(adapter, name).rpartition(".lora_")
        block, _, key = layer.split("layers." if ".layers." in layer else "h.", 1)[1].partition(".")
        tensors[f"{layer}.lora_{part[0].lower()}"] = values.T.contiguous()
        keys.add(key)
        layers.add(int(block))
    if len(tensors) != 2 * len(keys) * (max(layers) + 1):  # mlx-lm adapts the last N layers, each in the same way
        raise RequestError(
            f"{adapter}: mlx-lm cannot load an adapter of some layers only; export the complete model: --format merged"
        )
    content = {
        "fine_tune_type": "lora",
        "num_layers": max(layers) + 1,
        "lora_parameters": {"rank": config.r, "scale": strength(config), "dropout": 0.0, "keys": sorted(keys)},
    }
    save_file(tensors, place / MLX_FILE, metadata={"format": "mlx"})
    (place / CONFIG).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _mlx_name(adapter: Path, name: str) -> str:
    own = name.removeprefix(PREFIX)
    for here, there in MLX_NAMES.items():
        if own.startswith(here):
            return there + own.removeprefix(here)
    raise RequestError(f"{adapter}: mlx-lm has no layer {own}; export the complete model: --format merged")


def write_gguf(adapter: Path, place: Path, base: str, converter: Path) -> None:
    """Writes adapter.gguf with llama.cpp's converter, in float32.

    The converter knows the names and the order of the weights in llama.cpp for every architecture. It reads the
    configuration of the base model, and not its weights.

    Args:
        base: folder of the base model, or its name on the hub.
        converter: path of `GGUF_CONVERTER`.
    Raises:
        RequestError: as `check_portable`; the converter fails, or leaves tensors out.
    """
    config = check_portable(adapter, "llama.cpp")
    made = place / GGUF_FILE
    with tempfile.TemporaryDirectory() as folder:
        plain = config.with_values(lora_alpha=strength(config) * (config.r or 1), use_rslora=False)
        Path(folder, CONFIG).write_text(json.dumps(plain.to_dict()), encoding="utf-8")
        shutil.copyfile(adapter / WEIGHTS, Path(folder, WEIGHTS))
        source = ["--base" if Path(base).is_dir() else "--base-model-id", base]
        command = [sys.executable, str(converter), folder, "--outfile", str(made), "--outtype", "f32", *source]
        run_converter(command, made, "--format gguf-lora")
    expected, found = len(_names(adapter)), _gguf_tensors(made)
    if found < expected:
        raise RequestError(f"--format gguf-lora: {converter} wrote {found} of the adapter's {expected} tensors")


def run_converter(command: list[str], made: Path, option: str) -> None:
    """Runs a converter of llama.cpp. RequestError with its last line where it fails or writes no file."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode or not made.is_file():
        reason = (done.stderr.strip() or done.stdout.strip() or "it wrote no file").splitlines()[-1]
        raise RequestError(f"{option}: {command[1]} failed: {reason[:300]}")


def _gguf_tensors(path: Path) -> int:
    """The number of tensors in a GGUF file.

    Format: the magic bytes, a 32-bit version, the 64-bit number of tensors.
    Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
    """
    with path.open("rb") as handle:
        header = handle.read(16)
    if len(header) < 16 or header[:4] != b"GGUF":
        raise RequestError(f"--format gguf-lora: {path.name}: the converter wrote no GGUF file")
    return int(struct.unpack("<Q", header[8:])[0])
