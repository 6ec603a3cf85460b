"""A frozen base in 4 or 8 bits (bitsandbytes): how it is asked for, and in what it differs from a whole one.

Quantised are the linear layers (GPT-2's Conv1D among them), but not the output layer. What is put on them later, an
adapter above all, has a precision of its own.
"""

import importlib.util
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from biasunlearn.errors import RequestError

BITS = {"8bit": 8, "4bit": 4}
"""What `dtype` may say besides the name of a precision."""

_KINDS = {"Linear8bitLt": "8bit", "Linear4bit": "4bit"}
"""bitsandbytes' layers, by their names: it need not be here to see that a model has none of them."""


def demand(name: str, dtype: str, saved: Any = None, *, split: bool = False) -> None:
    """Can a model be loaded so, as far as can be said before its weights are read?

    Args:
        saved: the `quantization_config` that its own configuration has.
        split: over several processes.
    Raises:
        RequestError: bitsandbytes is missing; the model is to be split; it was saved quantised in another way.
    """
    method = _said(saved, "quant_method")
    if dtype not in BITS and saved is None:
        return
    if split:
        raise RequestError(f"{name}: a quantised base cannot be split over processes; leave out FSDP")
    if dtype in BITS and method and not (method.startswith("bitsandbytes") and _said(saved, f"load_in_{dtype}")):
        raise RequestError(f"{name}: dtype: {dtype}, but it was saved quantised ({method}); leave dtype out")
    wanted = dtype in BITS or method.startswith("bitsandbytes")
    if wanted and importlib.util.find_spec("bitsandbytes") is None:
        what = f"dtype: {dtype}" if dtype in BITS else "saved quantised, which"
        raise RequestError(f"{name}: {what} needs bitsandbytes: pip install 'biasunlearn[quantised]'")


def options(dtype: str, configuration: Any, device: torch.device) -> dict[str, Any]:
    """What `from_pretrained` is to be told of the precision.

    Args:
        configuration: transformers' BitsAndBytesConfig.
    """
    if dtype not in BITS:
        return {"dtype": getattr(torch, dtype)}
    asked = configuration(
        load_in_4bit=dtype == "4bit",
        load_in_8bit=dtype == "8bit",
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=_rest(device),
    )
    return {"dtype": _rest(device), "quantization_config": asked}


def settle(model: Any, name: str, dtype: str) -> None:
    """Sees to it that a model just loaded is quantised as was asked, and computes the same with and without gradients.

    On some processors bitsandbytes packs a layer's 4-bit weights anew when it first meets an input without a gradient,
    for a kernel that rounds to bfloat16 and has no backward pass: a step after a measurement then fails.
    """
    layers = list(_layers(model))
    if dtype in BITS and not layers:
        raise RequestError(f"{name}: dtype: {dtype}, but it has no linear layers that could be quantised; leave it out")
    for _, layer in layers:
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False


def kind(model: Any) -> str | None:
    """4bit, 8bit; None for a model that is whole, or quantised by another library."""
    return next((_KINDS[type(layer).__name__] for _, layer in _layers(model)), None)


def exact(model: Any) -> bool:
    """Is a row's score the same, but for the last digits of float32, whatever is read beside it?

    Not in half precision; nor in 8 bits, which round the inputs too, and keep from it those columns that have a large
    value anywhere in the batch (LLM.int8, arXiv 2208.07339).
    """
    return bool(model.dtype == torch.float32) and kind(model) != "8bit"


def facts(model: Any) -> dict[str, Any]:
    """For results.json, what a quantised base consists of; nothing for a whole one."""
    if (found := kind(model)) is None:
        return {}
    own = [p for name, p in model.named_parameters() if "lora_" not in name]
    size = sum(p.nbytes for p in own) + sum(scale.nbytes for _, scale in scales(model))
    layers = sum(1 for _ in _layers(model))
    rest = str(model.dtype).removeprefix("torch.")
    return {"quantised": {"kind": found, "layers": layers, "rest": rest, "bytes": size}}


def scales(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Layer -> what its whole numbers are multiplied by. No parameters: bitsandbytes keeps them beside these."""
    for name, layer in _layers(model):
        if (state := getattr(layer.weight, "quant_state", None)) is not None:
            yield name, state.absmax
            if state.state2 is not None:  # the scales are quantised in turn
                yield name, state.state2.absmax
        elif (scale := _scale(layer)) is not None:
            yield name, scale


def dequantised(weight: Any, layer: Any) -> Tensor:
    """What a layer's whole numbers stand for; any other weight as it is."""
    if getattr(weight, "quant_state", None) is not None:
        from bitsandbytes.functional import dequantize_4bit

        return dequantize_4bit(weight.data, weight.quant_state)
    if weight.dtype == torch.int8 and (scale := _scale(layer)) is not None:
        return weight.data * scale[:, None] / 127
    return weight if weight.is_floating_point() else weight.float()


def _scale(layer: Any) -> Tensor | None:
    """Of 8 bits: it moves from the weight to the layer at the first forward."""
    on_weight = getattr(layer.weight, "SCB", None)
    return on_weight if on_weight is not None else getattr(getattr(layer, "state", None), "SCB", None)


def _layers(model: Any) -> Iterator[tuple[str, Any]]:
    """PEFT's layers around them have the same names."""
    for name, module in model.named_modules():
        if type(module).__name__ in _KINDS and not hasattr(module, "base_layer"):
            yield name, module


def _rest(device: torch.device) -> torch.dtype:
    """What everything else is held and computed in."""
    if device.type == "cpu":
        return torch.float32
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float16
    return torch.bfloat16


def _said(saved: Any, key: str) -> str:
    """A configuration's value as text: it is a plain dict as long as the model is not loaded. "" where it says none."""
    value = saved.get(key) if isinstance(saved, dict) else getattr(saved, key, None)
    return str(getattr(value, "value", value) or "")
