"""The layers of a model, and the output of one of them in a forward pass."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from biasunlearn.errors import RequestError
from biasunlearn.models.batches import Batch
from biasunlearn.models.forward import hidden_states, text_config


def blocks(model: Any) -> torch.nn.ModuleList:
    """The layers of a model: its list of modules that is as long as the configuration says.

    Raises:
        RequestError: there is none, or more than one.
    """
    count = text_config(model).num_hidden_layers
    found = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == count]
    if len(found) != 1:
        raise RequestError(
            f"the layers of {type(model).__name__} are not known, and this needs the output of one of them; choose "
            "another model or method"
        )
    return found[0]


def block_output(model: Any, batch: Batch, block: int) -> Tensor:
    """The output of a layer, counted from 0: [lines, width, hidden], float64.

    It is read before the final norm, which `hidden_states` has applied to the last layer.
    """
    return block_outputs(model, batch, [block])[0]


def block_outputs(model: Any, batch: Batch, numbers: Sequence[int]) -> list[Tensor]:
    """The outputs of several layers in one forward pass, in this order, as `block_output` has them."""
    seen: dict[int, Tensor] = {}

    def take(number: int, _module: Any, _args: Any, output: Any) -> None:
        seen[number] = output[0] if isinstance(output, tuple) else output

    layers = blocks(model)
    handles = [layers[number].register_forward_hook(partial(take, number)) for number in numbers]
    try:
        hidden_states(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return [seen[number].double() for number in numbers]
