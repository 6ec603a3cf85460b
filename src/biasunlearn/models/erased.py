"""A model with a concept erased from its last hidden states: x -> x - P (x - c), before the output layer.

SentenceDebias, INLP and LEACE differ in how they compute P and c (unlearn/methods/projection.py); the projection is
applied and stored in the same way. Sentence embeddings are made of the same hidden states, so that benchmarks of
probabilities and of embeddings both measure the erased model.
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

FILE = "erasure.safetensors"


class Erased(torch.nn.Module):
    """A causal model with a concept erased. Every other attribute is that of the model inside."""

    def __init__(self, model: Any, projection: Tensor, center: Tensor):
        """projection P [hidden, hidden]; center c [hidden]."""
        super().__init__()
        self.model = model
        like = next(model.parameters())
        # Parameters, although they are never trained: they must count as weights where two models are compared.
        self.projection = torch.nn.Parameter(projection.to(like.device, like.dtype), requires_grad=False)
        self.center = torch.nn.Parameter(center.to(like.device, like.dtype), requires_grad=False)
        self._on = True
        backbone(model).register_forward_hook(self._erase)
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
        """Saves the projection and its center only."""
        tensors = {"projection": self.projection.data, "center": self.center.data}
        save_file({name: value.contiguous().cpu() for name, value in tensors.items()}, Path(folder) / FILE)

    def _erase(self, _module: Any, _args: Any, output: Any) -> Any:
        if self._on:
            erased = output.last_hidden_state - (output.last_hidden_state - self.center) @ self.projection.T
            output.last_hidden_state = erased
            if getattr(output, "hidden_states", None):
                output.hidden_states = (*output.hidden_states[:-1], erased)
        return output


def backbone(model: Any) -> Any:
    """The module whose last hidden state is the input of the output layer. In OPT it is the decoder inside."""
    return getattr(model.base_model, "decoder", model.base_model)


def attached(model: Any, folder: Path) -> Erased:
    """The model with a saved erasure.

    Raises:
        RequestError: the file cannot be read, or was made for a model of another width.
    """
    try:
        saved = load_file(folder / FILE)
        projection, center = saved["projection"], saved["center"]
    except (OSError, KeyError, SafetensorError) as error:
        raise RequestError(f"{folder / FILE}: cannot be read: {str(error).splitlines()[0]}") from None
    width = model.get_output_embeddings().weight.shape[1]
    if projection.shape != (width, width):
        raise RequestError(
            f"{folder / FILE}: made for hidden states of {projection.shape[0]} numbers, the model has {width}; "
            "use the model that it was made for"
        )
    return Erased(model, projection, center)
