"""A concept taken out of what the last layer says, as a model: x -> x - P (x - c), before the output layer reads it.

SentenceDebias, INLP and LEACE differ in how they find P and c (unlearn/methods/projection.py); how they are applied
and stored is the same. What the output layer reads is also what a sentence embedding is made of, so benchmarks of
either kind see it.
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
    """A causal model with a concept erased. Everything that is not said here is the model's own."""

    def __init__(self, model: Any, projection: Tensor, center: Tensor):
        """projection P [hidden, hidden]; center c [hidden]."""
        super().__init__()
        self.model = model
        like = next(model.parameters())
        # Parameters, though nothing learns them: so they count as weights wherever two models are told apart.
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
        """The model as it came, as with an adapter."""
        self._on = False
        try:
            yield
        finally:
            self._on = True

    def save_pretrained(self, folder: str | Path, **_: Any) -> None:
        """The projection and its center alone."""
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
    """The module whose last hidden state the output layer reads. OPT's output layer asks the decoder inside."""
    return getattr(model.base_model, "decoder", model.base_model)


def attached(model: Any, folder: Path) -> Erased:
    """The model with a saved erasure.

    Raises:
        RequestError: the file cannot be read, or is of a model of another width.
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
