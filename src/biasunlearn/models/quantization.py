"""A frozen base in 4 or 8 bits (bitsandbytes): how it is loaded, and how it differs from one in full precision.

The linear layers are quantised (GPT-2's Conv1D among them), except the output layer. What is added to them later, such
as an adapter, has its own precision.
"""

import importlib.util
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from biasunlearn.errors import RequestError
from biasunlearn.models.libraries import on_cpu
from biasunlearn.models.spec import ModelSpec

BITS = {"8bit": 8, "4bit": 4}
"""Values of `dtype` that are not the name of a precision."""

_KINDS = {"Linear8bitLt": "8bit", "Linear4bit": "4bit"}
"""bitsandbytes' layers, by class name: it need not be installed to see that a model has none of them."""


def check_request(spec: ModelSpec, saved: Any = None, *, split: bool = False) -> None:
    """Checks what can be checked before the weights are read.

    Args:
        saved: the `quantization_config` of the model's own configuration, if it has one.
        split: whether the model is to be split over processes.
    Raises:
        RequestError: bitsandbytes is missing; the model is to be split, or placed on another device than the first; it
            was saved quantised in another way.
    """
    name, dtype = spec.model, spec.dtype
    method = _setting(saved, "quant_method")
    if dtype not in BITS and saved is None:
        return
    if split:
        raise RequestError(f"{name}: a quantised base cannot be split over processes; leave out FSDP")
    if not on_cpu() and spec.device is not None and (spec.device == "cpu" or torch.device(spec.device).index):
        raise RequestError(
            f"--device {spec.device}: bitsandbytes places a quantised model on the first accelerator; leave --device "
            "out, or choose the first one with CUDA_VISIBLE_DEVICES"
        )
    if dtype in BITS and method and not (method.startswith("bitsandbytes") and _setting(saved, f"load_in_{dtype}")):
        raise RequestError(f"{name}: dtype: {dtype}, but it was saved quantised ({method}); leave dtype out")
    needed = dtype in BITS or method.startswith("bitsandbytes")
    if needed and importlib.util.find_spec("bitsandbytes") is None:
        what = f"dtype: {dtype}" if dtype in BITS else "saved quantised, which"
        raise RequestError(f"{name}: {what} needs bitsandbytes: pip install 'biasunlearn[quantised]'")


def loading_options(dtype: str, configuration: Any, device: torch.device) -> dict[str, Any]:
    """The arguments of `from_pretrained` that set the precision.

    Args:
        configuration: transformers' BitsAndBytesConfig.
    """
    if dtype not in BITS:
        return {"dtype": getattr(torch, dtype)}
    quantised = configuration(
        load_in_4bit=dtype == "4bit",
        load_in_8bit=dtype == "8bit",
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=_other_precision(device),
    )
    return {"dtype": _other_precision(device), "quantization_config": quantised}


def check_loaded(model: Any, spec: ModelSpec) -> None:
    """Checks that a loaded model is quantised as requested, and lets it compute the same with and without gradients.

    On some processors bitsandbytes repacks a layer's 4-bit weights when it first gets an input without a gradient, for
    a kernel that rounds to bfloat16 and has no backward pass: a training step after a measurement would then fail.

    Raises:
        RequestError: the model has no layers to quantise.
    """
    layers = list(_layers(model))
    if spec.dtype in BITS and not layers:
        raise RequestError(
            f"{spec.model}: dtype: {spec.dtype}, but it has no linear layers that could be quantised; leave it out"
        )
    for _, layer in layers:
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False


def kind(model: Any) -> str | None:
    """4bit, 8bit; None for a model in full precision, or quantised by another library."""
    return next((_KINDS[type(layer).__name__] for _, layer in _layers(model)), None)


def exact(model: Any) -> bool:
    """Whether the score of a row is independent of the rows in its batch, up to the last digits of float32.

    It is not in half precision, nor in 8 bits, which also round the inputs, except for columns with a large value
    anywhere in the batch (LLM.int8, arXiv 2208.07339).
    """
    return bool(model.dtype == torch.float32) and kind(model) != "8bit"


def facts(model: Any) -> dict[str, Any]:
    """For results.json: the layers and bytes of a quantised base; empty for one in full precision."""
    if (found := kind(model)) is None:
        return {}
    own = [p for name, p in model.named_parameters() if "lora_" not in name]
    size = sum(p.nbytes for p in own) + sum(scale.nbytes for _, scale in scales(model))
    layers = sum(1 for _ in _layers(model))
    rest = str(model.dtype).removeprefix("torch.")
    return {"quantised": {"kind": found, "layers": layers, "rest": rest, "bytes": size}}


def scales(model: Any) -> Iterator[tuple[str, Tensor]]:
    """(layer, the factors of its integers). They are not parameters: bitsandbytes stores them beside these."""
    for name, layer in _layers(model):
        if (state := getattr(layer.weight, "quant_state", None)) is not None:
            yield name, state.absmax
            if state.state2 is not None:  # the factors are quantised in turn
                yield name, state.state2.absmax
        elif (scale := _scale(layer)) is not None:
            yield name, scale


def dequantised(weight: Any, layer: Any) -> Tensor:
    """The values that a layer's integers stand for; any other weight as it is."""
    if getattr(weight, "quant_state", None) is not None:
        from bitsandbytes.functional import dequantize_4bit

        return dequantize_4bit(weight.data, weight.quant_state)
    if weight.dtype == torch.int8 and (scale := _scale(layer)) is not None:
        return weight.data * scale[:, None] / 127
    return weight if weight.is_floating_point() else weight.float()


def _scale(layer: Any) -> Tensor | None:
    """The factors of an 8-bit layer, which move from the weight to the layer at the first forward pass."""
    on_weight = getattr(layer.weight, "SCB", None)
    return on_weight if on_weight is not None else getattr(getattr(layer, "state", None), "SCB", None)


def _layers(model: Any) -> Iterator[tuple[str, Any]]:
    """The quantised layers. PEFT's layers around them have the same class names."""
    for name, module in model.named_modules():
        if type(module).__name__ in _KINDS and not hasattr(module, "base_layer"):
            yield name, module


def _other_precision(device: torch.device) -> torch.dtype:
    """The precision in which everything else is stored and computed."""
    if device.type == "cpu":
        return torch.float32
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float16
    return torch.bfloat16


def _setting(saved: Any, key: str) -> str:
    """A configuration's value as text, "" where it has none. It is a plain dict until the model is loaded."""
    value = saved.get(key) if isinstance(saved, dict) else getattr(saved, key, None)
    return str(getattr(value, "value", value) or "")
