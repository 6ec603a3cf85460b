"""A model with a steering vector: it is added to the output of one layer at every token.

How the vector is computed is up to the method (unlearn/methods/steering.py); it is applied and stored in the same way.
With a gate it is added only where a linear probe of the same hidden state finds the stereotype. Weights do not change,
and every forward pass is steered: of scoring, of generation, of embeddings. `disable_adapter` is the context manager in
which the model is the base model. The hidden states that transformers records for the steered layer itself may be those
before the vector is added; all later ones are steered.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from biasunlearn.errors import RequestError
from biasunlearn.models.blocks import blocks
from biasunlearn.models.forward import text_config

FILE = "steering.safetensors"


@dataclass(frozen=True, slots=True)
class Steering:
    """A steering vector, and where it is added."""

    block: int
    """The layer behind which the vector is added, counted from 0."""
    vector: Tensor  # [hidden]
    gate_weight: Tensor | None = None  # [hidden] w of the probe: the vector is added where w h + b > 0
    gate_bias: Tensor | None = None  # [1] b

    def tensors(self) -> dict[str, Tensor]:
        """What the file stores."""
        gate = {"gate_weight": self.gate_weight, "gate_bias": self.gate_bias}
        return {"block": torch.tensor([self.block]), "vector": self.vector} | {
            name: value for name, value in gate.items() if value is not None
        }


class Steered(torch.nn.Module):
    """A causal model with a steering vector. Every other attribute is that of the model inside.

    Raises:
        RequestError: the layers of the model are not known; the vector was made for another layer count or width.
    """

    def __init__(self, model: Any, steering: Steering):
        super().__init__()
        self.model = model
        layers, width = blocks(model), text_config(model).hidden_size
        if not 0 <= steering.block < len(layers) or steering.vector.shape != (width,):
            raise RequestError(
                f"steering: made for layer {steering.block} and hidden states of {len(steering.vector)} numbers; the "
                f"model has {len(layers)} layers and {width}; use the model that it was made for"
            )
        like = next(model.parameters())
        self.block = steering.block
        # Parameters, although they are never trained: they must count as weights where two models are compared.
        for name in ("vector", "gate_weight", "gate_bias"):
            value = getattr(steering, name)
            kept = None if value is None else torch.nn.Parameter(value.to(like.device, like.dtype), requires_grad=False)
            self.register_parameter(name, kept)
        self._on = True
        self._handle = layers[steering.block].register_forward_hook(self._steer)
        self.eval()

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("model"), name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.model(*args, **kwargs)

    def get_base_model(self) -> Any:
        """The model inside."""
        return self.model

    def detach_steering(self) -> Any:
        """The model inside, without the vector for good: for a search that tries several."""
        self._handle.remove()
        return self.model

    @contextlib.contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """The base model, as with an adapter that is off."""
        self._on = False
        try:
            yield
        finally:
            self._on = True

    def save_pretrained(self, folder: str | Path, **_: Any) -> None:
        """Saves the vector, its layer and its gate only."""
        tensors = Steering(self.block, self.vector, self.gate_weight, self.gate_bias).tensors()
        save_file({name: value.detach().contiguous().cpu() for name, value in tensors.items()}, Path(folder) / FILE)

    def _steer(self, _module: Any, _args: Any, output: Any) -> Any:
        if not self._on:
            return output
        states = output[0] if isinstance(output, tuple) else output
        added = self.vector
        if self.gate_weight is not None:
            added = added * (states @ self.gate_weight + self.gate_bias > 0)[..., None]
        states = states + added
        return (states, *output[1:]) if isinstance(output, tuple) else states


def read_steering(folder: Path) -> Steering:
    """The steering vector that a run has saved.

    Raises:
        RequestError: the file cannot be read.
    """
    try:
        saved: Mapping[str, Tensor] = load_file(folder / FILE)
        block, vector = int(saved["block"].item()), saved["vector"]
        if vector.dim() != 1:
            raise ValueError("the vector has more than one dimension")
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise RequestError(f"{folder / FILE}: cannot be read: {str(error).splitlines()[0]}") from None
    return Steering(block, vector, saved.get("gate_weight"), saved.get("gate_bias"))


def attached(model: Any, folder: Path) -> Steered:
    """The model with a saved steering vector.

    Raises:
        RequestError: the file cannot be read, or was made for another model.
    """
    return Steered(model, read_steering(folder))
