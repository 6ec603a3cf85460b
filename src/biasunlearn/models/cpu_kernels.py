"""Faster operations on a CPU: float32 matrix products by oneDNN, and GPT-2's activation as one operation.

oneDNN in place of MKL is a tenth faster, and two to five times as fast where one side is narrow (LoRA) or very wide
(the output layer). torch ships oneDNN but uses it for lower precisions only. Inside the mode `Products` all matrix
products of a model (`Linear`, GPT-2's `Conv1D`, the two factors of LoRA) are computed by it. Nothing changes on a GPU,
in another precision, for weights that are split or quantised, or with a torch that lacks the operation.
"""

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

PLAIN = {torch.Tensor, torch.nn.Parameter}
"""A tensor of another type is split over processes, quantised or the like."""

NARROW = 64
"""Rows or columns below which oneDNN is faster in any layout: the factors of LoRA."""

KEPT = "32"
"""Compiled products that oneDNN caches, 2 to 3 MB each. It compiles one for every number of rows, in a third of a
millisecond, and no two steps have the same number: of 1,024, its default, most would never be used again. A layer has
20."""


class Products(TorchFunctionMode):
    """Inside this mode x W^T + b is computed by oneDNN where that is possible."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.nn.functional.linear and not kwargs and _suits(*args):
            return _Product.apply(*args, *[None] * (3 - len(args)))
        if func is torch.addmm and not kwargs and _suits(args[1], args[2], args[0]):
            return _Product.apply(args[1], args[2].t(), args[0])
        return func(*args, **(kwargs or {}))


def _suits(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    """Whether the operands are plain float32 tensors on the CPU, of the right shapes and not empty."""
    given = (x, weight) if bias is None else (x, weight, bias)
    plain = all(type(t) in PLAIN and t.dtype == torch.float32 and t.device.type == "cpu" for t in given)
    shapes = plain and x.dim() >= 2 and weight.dim() == 2 and (bias is None or bias.dim() == 1)
    return shapes and x.numel() > 0 and not torch.is_autocast_enabled("cpu") and available()


class _Product(torch.autograd.Function):
    """x W^T + b; its gradients are up to two more products, one where the weight is frozen."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        flat = slope.reshape(-1, slope.shape[-1])
        for_weight = None
        if ctx.needs_input_grad[1]:
            rows = x.reshape(-1, x.shape[-1])
            narrow = rows.shape[1] < flat.shape[1]  # the narrow side first: the other order takes ten times as long
            for_weight = _product(rows.t(), flat.t()).t() if narrow else _product(flat.t(), rows.t())
        return (
            _product(slope, weight.t()) if ctx.needs_input_grad[0] else None,
            for_weight,
            flat.sum(0) if ctx.needs_input_grad[2] else None,
        )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if _stored_transposed(weight) and min(weight.shape) >= NARROW and _prefers_mkl():
        product: Tensor = x @ weight.t()
        return product if bias is None else product.add_(bias)
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return found


def _stored_transposed(weight: Tensor) -> bool:
    """Whether the columns of a matrix are contiguous, and not its rows: a gradient, or the forward pass of a Conv1D."""
    return weight.t().is_contiguous() and not weight.is_contiguous()


@functools.cache
def _prefers_mkl() -> bool:
    """Whether this processor multiplies with transposed weights faster by MKL: without AVX-512, up to twice as fast."""
    return torch.backends.cpu.get_cpu_capability() == "AVX2"


@functools.cache
def available() -> bool:
    """Whether torch has the operation, which is internal and may go: tried once."""
    if not torch.backends.mkldnn.is_available():
        return False
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):  # of oneDNN and of torch; read at first use
        os.environ.setdefault(name, KEPT)
    x, weight, bias = torch.arange(6.0).view(3, 2), torch.arange(8.0).view(4, 2), torch.arange(4.0)
    try:
        return torch.equal(_product(x, weight, bias), x @ weight.t() + bias)
    except (AttributeError, RuntimeError, TypeError):
        return False


WRITTEN_OUT = {"NewGELUActivation"}
"""Activations that transformers computes in eight operations and torch in one: GPT-2's GELU,
0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))."""


def fuse_activations(model: torch.nn.Module) -> None:
    """Replaces them by torch's operation. They have no weights, so that a saved model does not change."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child).__name__ in WRITTEN_OUT:
                setattr(module, name, torch.nn.GELU(approximate="tanh"))
