"""A model with a concept erased from its hidden states at every token: x -> x - P (x - c).

SentenceDebias, INLP and LEACE differ in how they compute P and c (unlearn/methods/projection.py, stats/leace.py); the
projection is applied and stored in the same way. It acts on the last hidden states, before the output layer, or on the
output of one layer, so that all later layers compute with the erased states. Sentence embeddings are made of the same
hidden states, so that benchmarks of probabilities and of embeddings both measure the erased model.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from biasunlearn.errors import RequestError
from biasunlearn.models.blocks import blocks
from biasunlearn.models.forward import text_config

FILE = "erasure.safetensors"


class Erased(torch.nn.Module):
    """A causal model with a concept erased. Every other attribute is that of the model inside."""

    def __init__(self, model: Any, projection: Tensor, center: Tensor, block: int | None = None):
        """projection P [hidden, hidden]; center c [hidden]; the layer behind which it acts, from 0 (None: the last
        hidden states, after the final norm).
        """
        super().__init__()
        self.model = model
        self.block = block
        like = next(model.parameters())
        # Parameters, although they are never trained: they must count as weights where two models are compared.
        self.projection = torch.nn.Parameter(projection.to(like.device, like.dtype), requires_grad=False)
        self.center = torch.nn.Parameter(center.to(like.device, like.dtype), requires_grad=False)
        self._on = True
        if block is None:
            backbone(model).register_forward_hook(self._erase_last)
        else:
            blocks(model)[block].register_forward_hook(self._erase_block)
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

    @contextlib.contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """The base model, as with an adapter that is off."""
        self._on = False
        try:
            yield
        finally:
            self._on = True

    def save_pretrained(self, folder: str | Path, **_: Any) -> None:
        """Saves the projection, its center and its layer only."""
        write_erasure(Path(folder), self.projection.data, self.center.data, self.block)

    def _erased(self, states: Tensor) -> Tensor:
        return states - (states - self.center) @ self.projection.T

    def _erase_block(self, _module: Any, _args: Any, output: Any) -> Any:
        if not self._on:
            return output
        return (self._erased(output[0]), *output[1:]) if isinstance(output, tuple) else self._erased(output)

    def _erase_last(self, _module: Any, _args: Any, output: Any) -> Any:
        if self._on:
            erased = self._erased(output.last_hidden_state)
            output.last_hidden_state = erased
            if getattr(output, "hidden_states", None):
                output.hidden_states = (*output.hidden_states[:-1], erased)
        return output


def backbone(model: Any) -> Any:
    """The module whose last hidden state is the input of the output layer. In OPT it is the decoder inside."""
    return getattr(model.base_model, "decoder", model.base_model)


def write_erasure(folder: Path, projection: Tensor, center: Tensor, block: int | None = None) -> None:
    """Stores an erasure as the file of an adapter folder, which exists."""
    tensors = {"projection": projection, "center": center}
    if block is not None:
        tensors["block"] = torch.tensor([block])
    save_file({name: value.contiguous().cpu() for name, value in tensors.items()}, folder / FILE)


def attached(model: Any, folder: Path) -> Erased:
    """The model with a saved erasure.

    Raises:
        RequestError: the file cannot be read, or was made for a model of another width or number of layers.
    """
    try:
        saved = load_file(folder / FILE)
        projection, center = saved["projection"], saved["center"]
        block = int(saved["block"].item()) if "block" in saved else None
    except (OSError, KeyError, RuntimeError, SafetensorError) as error:
        raise RequestError(f"{folder / FILE}: cannot be read: {str(error).splitlines()[0]}") from None
    last = model.get_output_embeddings().weight.shape[1]
    width = last if block is None else text_config(model).hidden_size
    if projection.shape != (width, width):
        raise RequestError(
            f"{folder / FILE}: made for hidden states of {projection.shape[0]} numbers, the model has {width}; "
            "use the model that it was made for"
        )
    if block is not None and not 0 <= block < len(blocks(model)):
        raise RequestError(
            f"{folder / FILE}: made for layer {block}, the model has {len(blocks(model))} layers; use the model that "
            "it was made for"
        )
    return Erased(model, projection, center, block)
