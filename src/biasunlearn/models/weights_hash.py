"""A hash that tells two states of a model apart."""

import hashlib
from typing import Any

import torch

from biasunlearn.models import quantization
from biasunlearn.models.distributed import from_first


def weights_hash(model: Any) -> str:
    """SHA-256 over the names, shapes and bit sums of the weights, and over the state of the adapters.

    The bit patterns are added up as integers, so that the order of the additions does not matter.
    """
    integer = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    digest = hashlib.sha256()
    for name, weight in model.named_parameters():
        own = weight.to_local() if hasattr(weight, "to_local") else weight  # split model: the local part
        bits = own.detach().contiguous().view(integer[own.element_size()]).sum(dtype=torch.int64)
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype} {int(bits)}\n".encode())
    for name, scale in quantization.scales(model):
        bits = scale.contiguous().view(integer[scale.element_size()]).sum(dtype=torch.int64)
        digest.update(f"{name} {tuple(scale.shape)} {int(bits)}\n".encode())
    for name, module in model.named_modules():  # for adapters also whether they are active, and their scale
        if hasattr(module, "disable_adapters"):
            state = (module.disable_adapters, module.active_adapters, getattr(module, "scaling", None))
            digest.update(f"{name} {state}\n".encode())
    return from_first(digest.hexdigest())
