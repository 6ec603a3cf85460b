"""The share of the work that falls to this process, and sums over all of them.

One process does everything and adds nothing up. Several (accelerate launch, torchrun) each take every n-th piece of a
step or of a scoring job; whatever is decided from then on is decided from the same sums in all of them.
"""

from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.distributed
from torch import Tensor

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
    """What the first process has, in all of them: whatever only it has read from a file."""
    if count() == 1:
        return value
    held = [value]
    torch.distributed.broadcast_object_list(held)
    return held[0]


def summed(values: Tensor) -> Tensor:
    """The sum over all processes, the same in each of them. Carries no gradient."""
    total = values.detach().clone()
    if count() > 1:
        torch.distributed.all_reduce(total)
    return total


def mean(values: Tensor) -> Tensor:
    """This process's part of the mean over all processes' values: the parts add up to the mean, as do their gradients.

    An empty share is a part like any other; no values at all make a mean of 0.
    """
    number = summed(torch.tensor(float(values.numel()), device=values.device))
    return values.sum() / number.clamp(min=1)
