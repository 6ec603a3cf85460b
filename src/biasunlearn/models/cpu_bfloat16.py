"""bfloat16 on a CPU: the instructions of the processor, and how far the first batch of scores is from float32.

Recent processors compute bfloat16 products in hardware (AMX, AVX-512 BF16; on ARM BF16), several times as fast as
float32. On all others PyTorch emulates them, several times as slowly. Rounding changes scores either way, so that the
first batch of a model in bfloat16 is also computed with float32 arithmetic, and the difference is shown.
"""

import contextlib
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from biasunlearn.models.distributed import is_split
from biasunlearn.models.forward import unwrapped

INSTRUCTIONS = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 BF16", "sve_bf16": "SVE BF16", "bf16": "NEON BF16"}
"""Capabilities of `torch.cpu.get_capabilities` with which bfloat16 products are computed in hardware."""

COMPARED = 16
"""Sentences of the first batch that are computed again in float32."""

SUPPORTED = "bfloat16 is computed with the {name} instructions of this processor."

EMULATED = (
    "This processor has no bfloat16 instructions (AMX, AVX-512 BF16): bfloat16 needs half the memory of float32 here, "
    "but is slower."
)


@dataclass(frozen=True, slots=True)
class Difference:
    """How far scores in bfloat16 are from those in float32, in nats per token."""

    sentences: int
    mean: float
    largest: float

    def __str__(self) -> str:
        many = "1 sentence" if self.sentences == 1 else f"{self.sentences} sentences"
        return (
            f"In {many} of the first batch, scores in bfloat16 differ from float32 by {self.mean:.4f} nats per token "
            f"on average and by {self.largest:.4f} at most (the weights are the same)."
        )


_differences: "weakref.WeakKeyDictionary[torch.nn.Module, Difference | None]" = weakref.WeakKeyDictionary()
"""Of every model in bfloat16 that has scored a batch on a CPU; None where its family cannot be computed in float32."""


def support_note(capabilities: Mapping[str, Any] | None = None) -> str:
    """What bfloat16 means on this processor, one line.

    Args:
        capabilities: as `torch.cpu.get_capabilities` returns them (default: those of this processor).
    """
    found = torch.cpu.get_capabilities() if capabilities is None else capabilities
    name = next((name for key, name in INSTRUCTIONS.items() if found.get(key)), None)
    return EMULATED if name is None else SUPPORTED.format(name=name)


def difference_note(model: Any) -> str:
    """The difference of the first batch in words; "" where none has been compared."""
    found = _differences.get(_base(model))
    return "" if found is None else str(found)


def unchecked(model: Any) -> bool:
    """Whether the next batch of a model is to be compared with float32: the first one in bfloat16 on a CPU.

    A model with an adapter is the same model as without, so that a resumed run, which scores other batches with its
    adapter, compares the same ones.
    """
    base = _base(model)
    is_half = base.dtype == torch.bfloat16 and base.device.type == "cpu"
    return is_half and base not in _differences and not is_split(base)


def compare(model: Any, score: Callable[[], Tensor], tokens: Sequence[int]) -> None:
    """Scores the first sentences of a batch as they are and in float32, and notes how far the two are apart.

    Args:
        score: computes their sums of log-probabilities.
        tokens: the number of tokens in each of them.
    """
    base = _base(model)
    _differences[base] = None
    found = score().double()
    with contextlib.suppress(RuntimeError), in_float32(base):  # of a family that mixes precisions by itself
        apart = (found - score().double()).abs() / torch.tensor(tokens)
        _differences[base] = Difference(len(tokens), float(apart.mean()), float(apart.max()))


def _base(model: Any) -> Any:
    inner = unwrapped(model)
    return inner.get_base_model() if hasattr(inner, "get_base_model") else inner


@contextlib.contextmanager
def in_float32(model: torch.nn.Module) -> Iterator[None]:
    """Inside the block the model computes in float32. Only the weights of the module that is running are converted, so
    that the memory grows by the largest of them alone."""
    stored: dict[torch.nn.Parameter, Tensor] = {}

    def widen(module: torch.nn.Module, _args: Any) -> None:
        for parameter in module.parameters(recurse=False):
            if parameter.dtype == torch.bfloat16:
                stored[parameter], parameter.data = parameter.data, parameter.data.float()

    def restore(module: torch.nn.Module, _args: Any, _output: Any) -> None:
        for parameter in module.parameters(recurse=False):
            if parameter in stored:
                parameter.data = stored.pop(parameter)

    handles = []
    for module in model.modules():
        if any(True for _ in module.parameters(recurse=False)):
            handles += [module.register_forward_pre_hook(widen), module.register_forward_hook(restore)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for parameter, data in stored.items():  # of modules that an error ended
            parameter.data = data
