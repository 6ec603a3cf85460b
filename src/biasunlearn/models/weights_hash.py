"""A hash that tells two states of a model apart."""

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from biasunlearn.models import quantization
from biasunlearn.models.distributed import from_first

CHUNK = 2**18
"""Numbers that are added up at a time."""

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def weights_hash(model: Any) -> str:
    """SHA-256 over the names, shapes and bits of the weights in their order, and over the state of the adapters.

    The bit patterns are added up as integers, each times a number that depends on its place, so that the result is the
    same on every device and another one for the same weights in another order.
    """
    digest = hashlib.sha256()
    for name, weight in model.named_parameters():
        own = weight.to_local() if hasattr(weight, "to_local") else weight  # split model: the local part
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype} {list(_sums(own))}\n".encode())
    for name, scale in quantization.scales(model):
        digest.update(f"{name} {tuple(scale.shape)} {list(_sums(scale))}\n".encode())
    for name, module in model.named_modules():  # for adapters also whether they are active, and their scale
        if hasattr(module, "disable_adapters"):
            state = (module.disable_adapters, module.active_adapters, getattr(module, "scaling", None))
            digest.update(f"{name} {state}\n".encode())
    return from_first(digest.hexdigest())


def _sums(weight: Tensor) -> Iterator[int]:
    """The sum of each `CHUNK` of a tensor's bit patterns, each times a number of its place, modulo 2**64."""
    flat = weight.detach().contiguous().flatten()
    bits = flat.view(_INTEGERS[weight.element_size()])
    places = _factors(min(CHUNK, len(bits)), bits.device)
    for begin in range(0, len(bits), CHUNK):
        part = bits[begin : begin + CHUNK]
        yield int((part.long() * places[: len(part)]).sum())


def _factors(count: int, device: torch.device) -> Tensor:
    """Odd 64-bit integers, a different one for each place: the finaliser of SplitMix64 (Steele et al. 2014)."""
    mixed = torch.arange(1, count + 1, dtype=torch.int64, device=device) * -7046029254386353131
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
        mixed = (mixed ^ ((mixed >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return mixed | 1
