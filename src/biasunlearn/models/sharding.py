"""A model split over the processes (FSDP2): each holds a part of the base's weights, and the whole adapter.

Asked for by the launcher: `accelerate launch --config_file configs/fsdp2.yaml`, or ACCELERATE_USE_FSDP=true before
torchrun. The base is split as it is loaded, block by block, so that no device ever holds more than its part and one
block. The adapter is put on afterwards and is no business of FSDP's: a few million weights, the same in every process,
whose gradients are averaged here. So whatever is saved is a plain adapter.
"""

import os
from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from biasunlearn.errors import RequestError
from biasunlearn.models.distributed import count


def asked() -> bool:
    """Has the launcher asked for a split model, and are there several processes to split it over?"""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true" and count() > 1


def refuse_deepspeed() -> None:
    """RequestError where the launcher has asked for DeepSpeed: on a CPU accelerate would ignore it without a word."""
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true":
        raise RequestError("DeepSpeed does not work yet (docs/scale.md); split the model by configs/fsdp2-8-gpus.yaml")


def split(model: Any, device: torch.device) -> Any:
    """Splits a loaded model's weights, each block of layers on its own, and moves this process's part to its device.

    Raises:
        RequestError: the model does not say what its blocks are.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    named = os.environ.get("FSDP_TRANSFORMER_CLS_TO_WRAP", "")
    blocks = set(named.split(",") if named else getattr(model, "_no_split_modules", None) or ())
    layers = [module for module in model.modules() if type(module).__name__ in blocks]
    if not layers:
        raise RequestError(
            f"{type(model).__name__}: cannot be split, none of its modules is named {sorted(blocks)}; name its blocks "
            "in fsdp_transformer_layer_cls_to_wrap"
        )
    mesh = init_device_mesh(device.type, (count(),))
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def is_split(model: torch.nn.Module) -> bool:
    """Must every process take part in every forward? Weights do not tell: for a while after one they stand whole."""
    return torch.distributed.is_initialized() and any(hasattr(module, "unshard") for module in model.modules())


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """What the engine does for a model that is whole in every process."""
    for parameter in parameters:
        if parameter.grad is not None:
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= count()
