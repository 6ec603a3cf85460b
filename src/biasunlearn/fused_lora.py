"""LoRA layers of PEFT with a shorter way through them: the same adapter, the same numbers, fewer passes over memory.

PEFT computes W x, then B (A x), scales it and adds it: three passes over an output that is hundreds of times wider than
the rank. Here the product with B is added to the output where it stands, and in the backward pass the two products
with a rank as their smallest side are put so that the long side is the inner one.
"""

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor


@contextlib.contextmanager
def fused_lora(model: torch.nn.Module) -> Iterator[None]:
    """Inside, plain LoRA layers take the short way. A layer that is anything else keeps its own."""
    layers = [module for module in model.modules() if _is_plain(module)]
    for layer in layers:
        layer.forward = partial(_forward, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _is_plain(module: Any) -> bool:
    """One float adapter of the plain kind on a layer of matrix and bias, not merged into it."""
    if type(module).__name__ != "Linear" or not hasattr(module, "lora_A") or "forward" in vars(module):
        return False
    active = list(module.active_adapters)
    if module.merged or len(active) != 1 or active[0] not in module.lora_A or module.lora_variant:
        return False
    one, other = module.lora_A[active[0]], module.lora_B[active[0]]
    return type(one) is type(other) is torch.nn.Linear and one.bias is other.bias is None


def _forward(layer: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    kind = type(layer)
    if layer.disable_adapters or args or kwargs or torch.is_autocast_enabled(x.device.type):
        plain: Tensor = kind.forward(layer, x, *args, **kwargs)
        return plain
    name = layer.active_adapters[0]
    down, up = layer.lora_A[name].weight, layer.lora_B[name].weight
    if x.dtype != down.dtype:
        plain = kind.forward(layer, x)
        return plain
    found: Tensor = _Added.apply(layer.base_layer(x), layer.lora_dropout[name](x), down, up, layer.scaling[name])
    return found


class _Added(torch.autograd.Function):
    """base + scaling (x A^T) B^T, written over `base`, which nobody else holds."""

    @staticmethod
    def forward(ctx: Any, base: Tensor, x: Tensor, down: Tensor, up: Tensor, scaling: float) -> Tensor:
        inner = x.reshape(-1, x.shape[-1])
        low = inner @ down.t()  # [tokens, rank]
        ctx.save_for_backward(inner, low, down, up)
        ctx.scaling, ctx.shape = scaling, x.shape
        ctx.mark_dirty(base)
        base.view(-1, base.shape[-1]).addmm_(low, up.t(), alpha=scaling)
        return base

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inner, low, down, up = ctx.saved_tensors
        outer = gradients[0].reshape(-1, gradients[0].shape[-1])
        low_slope = (outer @ up).mul_(ctx.scaling)  # [tokens, rank]
        x_slope = (low_slope @ down).view(ctx.shape) if ctx.needs_input_grad[1] else None
        up_slope = (low.t() @ outer).mul_(ctx.scaling).t()
        return gradients[0], x_slope, low_slope.t() @ inner, up_slope, None
