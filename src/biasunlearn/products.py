"""Matrix products in float32 on a CPU through oneDNN in place of MKL: a tenth faster, and up to three times where one
side is narrow (LoRA) or very wide (the output layer).

torch asks oneDNN for lower precisions only, though it brings it along. The mode catches the products of whatever model
runs inside (`Linear`, GPT-2's `Conv1D`, LoRA's two factors) and asks for the same sums. On a GPU, in another precision,
with weights that are split or quantised, or with a torch that lacks the operation, it steps aside.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

PLAIN = {torch.Tensor, torch.nn.Parameter}
"""A weight of any other type is split over processes, quantised or the like."""


class Products(TorchFunctionMode):
    """Inside, x W^T + b is asked of oneDNN where it can be; everything else is as it was."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.nn.functional.linear and not kwargs and _suits(*args):
            return _Product.apply(*args) if len(args) == 3 else _Product.apply(*args, None)
        if func is torch.addmm and not kwargs and len(args) == 3 and _suits(args[1], args[2], args[0]):
            return _Product.apply(args[1], args[2].t(), args[0])
        return func(*args, **(kwargs or {}))


def _suits(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    """Plain float32 matrices in main memory, and something to multiply."""
    return (
        _AVAILABLE
        and all(type(t) in PLAIN and t.dtype == torch.float32 and t.device.type == "cpu" for t in (x, weight))
        and (bias is None or (type(bias) in PLAIN and bias.dtype == torch.float32 and bias.dim() == 1))
        and weight.dim() == 2
        and x.dim() >= 2
        and x.numel() > 0
        and not torch.is_autocast_enabled("cpu")
    )


class _Product(torch.autograd.Function):
    """x W^T + b, and its gradients as three more products: of them a frozen weight needs one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x if weight.requires_grad else None, weight)
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        slope = gradients[0].reshape(-1, gradients[0].shape[-1])
        for_x = _product(gradients[0], weight.t()) if ctx.needs_input_grad[0] else None
        for_weight = None
        if ctx.needs_input_grad[1]:
            rows = x.reshape(-1, x.shape[-1])
            narrow = weight.shape[1] < weight.shape[0]  # the narrow side first: the other way takes ten times as long
            for_weight = _product(rows.t(), slope.t()).t() if narrow else _product(slope.t(), rows.t())
        return for_x, for_weight, slope.sum(0) if ctx.needs_input_grad[2] else None


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return found


_AVAILABLE = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
