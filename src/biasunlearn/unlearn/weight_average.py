"""The running average of the trainable weights: what is evaluated and what a run ends with."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from biasunlearn.models.adapters import trainable


class WeightAverage:
    """An exponential moving average of the trainable weights."""

    def __init__(self, model: torch.nn.Module, decay: float):
        self.decay = decay
        self.steps = 0
        self.weights = copy_weights(model)

    def update(self, model: torch.nn.Module) -> None:
        """Takes in the weights after a step. The decay rises from 0, so that the average does not lag at the start."""
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 10))
        for name, parameter in model.named_parameters():
            if name in self.weights:
                self.weights[name].lerp_(parameter.detach().to(self.weights[name].dtype), 1 - decay)

    @contextlib.contextmanager
    def applied(self, model: torch.nn.Module) -> Iterator[None]:
        """Inside the block the model has the averaged weights, afterwards its own again."""
        own = {name: p.detach().clone() for name, p in model.named_parameters() if name in self.weights}
        assign_weights(model, self.weights)
        try:
            yield
        finally:
            assign_weights(model, own)


def copy_weights(model: torch.nn.Module) -> dict[str, Tensor]:
    """A copy of the trainable weights, by name."""
    return {name: parameter.detach().clone() for name, parameter in trainable(model).items()}


def assign_weights(model: torch.nn.Module, weights: dict[str, Tensor]) -> None:
    """Copies weights into the parameters of these names; others stay as they are."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in weights:
                parameter.copy_(weights[name])
