"""From the last hidden states to per-token values, a few positions at a time: never all logits at once.

The output layer of a small model is its widest matrix, and logits are by far its largest tensors. Where the layer is
frozen, the gradient of a token's value on its hidden state is found while its logits are at hand: nothing of the size
of the vocabulary is kept for the backward pass, and nothing is computed twice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .losses import token_log_probs
from .products import Products

LOGITS_AT_ONCE = 7_500_000
"""Logit values held at a time. In float32 just below 32 MiB, the largest block that the C library reuses: a larger one
is mapped anew each time, and its pages are filled with zeros."""

PairLoss = Callable[[Tensor, Tensor], Tensor]
"""(logits, reference logits) [tokens, vocabulary] -> [tokens]"""


@dataclass(frozen=True, slots=True)
class OutputLayer:
    """hidden states -> logits. Without a layer the states are logits: of a model that must be asked as a whole."""

    layer: Any = None
    cap: float | None = None
    """Soft cap on the logits (Gemma 2): cap tanh(logits / cap)."""

    def logits(self, states: Tensor) -> Tensor:
        """[positions, hidden] -> [positions, vocabulary]"""
        if self.layer is None:
            return states
        with Products():
            logits: Tensor = self.layer(states)
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)

    def log_probs(self, states: Tensor, targets: Tensor) -> Tensor:
        """log p(target) at each position, in float32: [positions]."""
        return self._values(states, lambda logits, part: token_log_probs(logits, targets[part]))

    def compared(self, states: Tensor, reference: Tensor, loss: PairLoss) -> Tensor:
        """A loss between two readings of the same positions; the reference carries no gradient: [positions]."""

        def value(logits: Tensor, part: slice) -> Tensor:
            with torch.no_grad():
                other = self.logits(reference[part])
            return loss(logits, other)

        return self._values(states, value)

    def _values(self, states: Tensor, value: Callable[[Tensor, slice], Tensor]) -> Tensor:
        if self.layer is None or not len(states):
            return value(self.logits(states), slice(None)) if len(states) else states.sum(-1).float()
        size = max(1, LOGITS_AT_ONCE // self.layer.weight.shape[0])
        if states.requires_grad:
            found: Tensor = _ByParts.apply(states, lambda part: value(self.logits(part[0]), part[1]), size)
            return found
        parts = [slice(first, first + size) for first in range(0, len(states), size)]
        return torch.cat([value(self.logits(states[part]), part) for part in parts])


class _ByParts(torch.autograd.Function):
    """A value per position of its hidden state alone; each position's gradient is found in the forward pass."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, value: Callable[[tuple[Tensor, slice]], Tensor], size: int) -> Tensor:
        found, slopes = [], torch.empty_like(states)
        for first in range(0, len(states), size):
            part = slice(first, first + size)
            with torch.enable_grad():
                own = states[part].detach().requires_grad_()
                values = value((own, part))
                slopes[part] = torch.autograd.grad(values.sum(), own)[0]
            found.append(values.detach())
        ctx.save_for_backward(slopes)
        return torch.cat(found)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (slopes,) = ctx.saved_tensors
        return (slopes * gradients[0][:, None]).to(slopes.dtype), None, None
