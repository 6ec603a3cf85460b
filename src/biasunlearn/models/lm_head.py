"""From the last hidden states to per-token values, a few positions at a time: never all logits at once.

The output layer of a small model is its widest matrix, and logits are by far its largest tensors. Where the layer is
frozen, the gradient of a token's value with respect to its hidden state is computed together with its logits: nothing
of the size of the vocabulary is stored for the backward pass, and nothing is computed twice. The matrix product is
fastest for many positions, the steps after it for so few that they fit into a core's cache; the gradient with respect
to the logits overwrites them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from biasunlearn.models.cpu_kernels import Products
from biasunlearn.models.logprobs import token_log_probs

LOGITS_AT_ONCE = 7_500_000
"""Logit values in memory at a time. In float32 just below 32 MiB, the largest block that the C library reuses: a larger
one is mapped again each time, and its pages are filled with zeros."""

LEAST_POSITIONS = 128
"""Positions of a matrix product at the least, whatever the vocabulary: for fewer, the weights are read from memory more
slowly than they are multiplied. With a vocabulary of 262,144 these are 128 MiB of logits."""

CACHED = 500_000
"""Logit values that a loss processes together, 2 MB: several passes over them stay in the cache."""

PairLoss = Callable[[Tensor, Tensor], Tensor]
"""(logits, reference logits) [tokens, vocabulary] -> [tokens]"""

TargetLoss = Callable[[Tensor, Any, Tensor], Tensor]
"""(logits [tokens, vocabulary], reference logits or None, targets [tokens]) -> [tokens]"""

Value = Callable[[Tensor, Any, slice], Tensor]
"""(logits, reference logits or None, their positions) -> a value for each position"""


@dataclass(frozen=True, slots=True)
class OutputLayer:
    """hidden states -> logits. Without a layer the states are logits: of a model that must be run as a whole."""

    layer: Any = None
    cap: float | None = None
    """Soft cap on the logits (Gemma 2): cap tanh(logits / cap)."""

    def logits(self, states: Tensor) -> Tensor:
        """[positions, hidden] -> [positions, vocabulary]"""
        return states if self.layer is None else self.capped(self.product(states))

    def product(self, states: Tensor) -> Tensor:
        """The logits before the cap."""
        with Products():
            logits: Tensor = self.layer(states)
        return logits

    def capped(self, logits: Tensor) -> Tensor:
        """The logits after the cap."""
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)

    def log_probs(self, states: Tensor, targets: Tensor) -> Tensor:
        """log p(target) at each position, in float32: [positions]."""
        return self._values(states, None, lambda logits, _, part: token_log_probs(logits, targets[part]))

    def log_probs_of_places(self, states: Tensor, places: Tensor, targets: Tensor) -> Tensor:
        """log p(target) where a position may have several targets, in float32 and without gradients: [predicted].

        Args:
            states: [positions, hidden]
            places: [predicted] the position of each target.
            targets: [predicted]
        """
        found = torch.empty(len(targets), device=states.device)
        order = places.argsort(stable=True)
        bounds = torch.searchsorted(places[order], torch.arange(len(states) + 1, device=states.device)).tolist()
        wide = len(self.layer.weight)
        for part in _parts(0, len(states), _at_once(wide)):
            logits = self.product(states[part])
            for few in _parts(part.start, part.stop, CACHED // wide):
                log_p = self.capped(logits[few.start - part.start : few.stop - part.start]).float().log_softmax(-1)
                chosen = order[bounds[few.start] : bounds[few.stop]]
                found[chosen] = log_p[places[chosen] - few.start, targets[chosen]]
        return found

    def compared(self, states: Tensor, reference: Tensor, loss: PairLoss) -> Tensor:
        """A loss between the logits of two models at the same positions; the reference has no gradient: [positions]."""
        return self._values(states, reference, lambda logits, other, _: loss(logits, other))

    def token_losses(
        self, states: Tensor, targets: Tensor, loss: TargetLoss, reference: Tensor | None = None
    ) -> Tensor:
        """A loss of the logits, those of a reference (or None) and the target at each position: [positions]."""
        return self._values(states, reference, lambda logits, other, part: loss(logits, other, targets[part]))

    def _values(self, states: Tensor, reference: Tensor | None, value: Value) -> Tensor:
        if not len(states):
            return states.sum(-1).float()
        if self.layer is None:
            return value(states, reference, slice(None))
        found: Tensor = _ByParts.apply(states, reference, self, value)
        return found


class _ByParts(torch.autograd.Function):
    """A value for each position, from its hidden state alone; the gradients are computed in the forward pass."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, reference: Tensor | None, output: OutputLayer, value: Value) -> Tensor:
        weight, learns = output.layer.weight, states.requires_grad
        found, slopes = [], torch.empty_like(states)
        for part in _parts(0, len(states), _at_once(len(weight))):
            logits = output.product(states[part])
            others = None if reference is None else output.logits(reference[part])
            for few in _parts(part.start, part.stop, CACHED // len(weight)):
                here = slice(few.start - part.start, few.stop - part.start)
                with torch.set_grad_enabled(learns):
                    own = logits[here].detach().requires_grad_(learns)
                    values = value(output.capped(own), None if others is None else others[here], few)
                    total = values.sum()
                if learns:
                    logits[here] = torch.autograd.grad(total, own)[0]
                found.append(values.detach())
            if learns:
                with Products():
                    slopes[part] = torch.nn.functional.linear(logits, weight.t())
        ctx.save_for_backward(slopes)
        return torch.cat(found)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (slopes,) = ctx.saved_tensors
        return (slopes * gradients[0][:, None]).to(slopes.dtype), None, None, None


def _at_once(vocabulary: int) -> int:
    """Positions whose logits are computed by one matrix product."""
    return max(LEAST_POSITIONS, LOGITS_AT_ONCE // vocabulary)


def _parts(begin: int, end: int, size: int) -> Iterator[slice]:
    """[begin, end) in slices of at most `size` positions, and at least one."""
    step = max(1, size)
    yield from (slice(first, min(first + step, end)) for first in range(begin, end, step))
