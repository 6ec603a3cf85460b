"""Several processes (accelerate launch, torchrun): how the work is shared, and how a model is split over them (FSDP2).

Sharing: each process takes every n-th piece of a step or of a scoring job. Every decision is made from sums over all
processes, so that all of them decide the same. One process does all the work, and the sums are what it has.

Splitting: each process holds a part of the base's weights and the whole adapter. The launcher asks for it: `accelerate
launch --config_file configs/fsdp2.yaml`, or ACCELERATE_USE_FSDP=true before torchrun. The base is split block by block
while it is loaded, so that no device ever holds more than its part and one block. The adapter is added afterwards, and
FSDP does not manage it: it has a few million weights, identical in every process, whose gradients are averaged here.
What is saved is therefore an ordinary adapter.
"""

import os
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed
from torch import Tensor

from biasunlearn.errors import RequestError

T = TypeVar("T")


def count() -> int:
    """How many processes share the work; 1 until accelerate has joined them."""
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def leave() -> None:
    """Takes this process out of the group, so that the others do not wait for it at the end."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def mine(pieces: Sequence[T]) -> list[T]:
    """Every n-th piece, this process's share: together the processes have each piece once."""
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
    return list(pieces[rank :: count()])


def from_first(value: T) -> T:
    """The first process's value, in every process: for what only the first process has read from a file."""
    if count() == 1:
        return value
    values = [value]
    torch.distributed.broadcast_object_list(values)
    return values[0]


def summed(values: Tensor) -> Tensor:
    """The sum over all processes, identical in each of them. It carries no gradient."""
    total = values.detach().clone()
    if count() > 1:
        torch.distributed.all_reduce(total)
    return total


def mean(values: Tensor) -> Tensor:
    """This process's part of the mean over all processes' values: the parts and their gradients add up to the mean.

    A process without values contributes 0. Without any values at all the mean is 0.
    """
    number = summed(torch.tensor(float(values.numel()), device=values.device))
    return values.sum() / number.clamp(min=1)


def splits_model() -> bool:
    """Whether the launcher asks for a split model and there are several processes to split it over."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true" and count() > 1


def refuse_deepspeed() -> None:
    """RequestError where the launcher asks for DeepSpeed, which accelerate would silently ignore on a CPU."""
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true":
        raise RequestError("DeepSpeed does not work yet (docs/scale.md); use configs/fsdp2-8-gpus.yaml")


def split(model: Any, device: torch.device) -> Any:
    """Splits the weights of a loaded model block by block, and moves this process's part to its device.

    Raises:
        RequestError: the model does not name its blocks.
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
    """Whether every process must take part in every forward pass.

    The weights do not show it: for a while after a forward pass they are complete in every process.
    """
    return torch.distributed.is_initialized() and any(hasattr(module, "unshard") for module in model.modules())


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Averages the gradients over the processes, as accelerate does for a model that every process holds completely."""
    for parameter in parameters:
        if parameter.grad is not None:
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= count()
