"""Attention of packed lines by torch's FlexAttention, in which blocks of a line that no token attends to are skipped.

The mask of a line of n tokens has n^2 numbers, and with a mask `scaled_dot_product_attention` computes every pair of
tokens. A BlockMask has one entry for each 128 x 128 tokens instead, and a function that says which tokens of a block
attend to which (arXiv 2412.05496). It is used for scores on a GPU, in lines of more than 512 tokens
(`feature_checks.takes_block_mask`). Gradients are computed with the mask of all pairs: torch has no FlexAttention with
gradients on a CPU, so that they cannot be tested there, and errors of those on a GPU have been reported
(perf/README.md).
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

LONGEST_DENSE = 512
"""Tokens of the longest line whose attention is computed with a mask of all pairs on every device."""

DEVICES = frozenset({"cuda"})
"""Devices on which longer lines are computed in blocks. The tests add the CPU, where it has no advantage."""

BLOCK = 128
"""Tokens of a side of a block: torch's default. Lines have whole blocks, since errors of FlexAttention for other widths
have been reported (pytorch/pytorch#153799)."""

NAME = "biasunlearn_blocks"
"""Under which transformers knows `_attend`."""

UNSUPPORTED = ("softcap", "s_aux", "position_bias")
"""What some families pass to their attention besides the mask: a cap (Gemma 2), sinks (gpt-oss), a bias (T5). A window
is ignored, as with a mask of all pairs: rows in packed lines are not longer than the window."""

_mask: "ContextVar[BlockMask]" = ContextVar("block mask")


def whole_blocks(width: int) -> int:
    """The width of a line that has so many tokens and ends with a block."""
    return -(-width // BLOCK) * BLOCK


def block_mask(sees: Callable[[slice], Tensor], one_sees: Callable[..., Tensor], shape: tuple[int, int]) -> "BlockMask":
    """The mask in blocks. No more than `BLOCK` rows of the mask of all pairs are in memory at a time.

    Args:
        sees: which tokens those of a slice attend to, in each line: [lines, tokens of the slice, width], boolean.
        one_sees: the same for (line, head, token, other token), which are scalar tensors.
        shape: lines and width, a multiple of `BLOCK`.
    """
    from torch.nn.attention.flex_attention import BlockMask

    some, every = [], []
    for begin in range(0, shape[1], BLOCK):
        blocks = sees(slice(begin, begin + BLOCK)).unflatten(2, (-1, BLOCK))
        some.append(blocks.any(3).any(1))
        every.append(blocks.all(3).all(1))
    full = torch.stack(every, 1)
    partial = torch.stack(some, 1) & ~full
    counts, indices = zip(*(_ordered(table[:, None]) for table in (partial, full)), strict=True)
    return BlockMask.from_kv_blocks(
        counts[0], indices[0], counts[1], indices[1],
        BLOCK_SIZE=BLOCK, mask_mod=one_sees, seq_lengths=(shape[1], shape[1]),
    )  # fmt: skip


def _ordered(table: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks each row of a table has, and all block numbers with those first: [..., rows, columns]."""
    numbers = table.int().argsort(dim=-1, descending=True, stable=True)
    return table.sum(-1).int(), numbers.int().contiguous()


@contextlib.contextmanager
def attending(model: Any, mask: "BlockMask") -> Iterator[None]:
    """Inside the block the attention of a model is FlexAttention with this mask; afterwards what it was before.

    The attention mask that the model is given must have four dimensions: transformers passes it on as it is, and it is
    ignored. A family that computes its attention by itself is not changed.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, _attend)
    configs = {"": model.config} | {
        name: part for name in getattr(model.config, "sub_configs", {}) if (part := getattr(model.config, name, None))
    }
    before = {name: config._attn_implementation for name, config in configs.items()}
    token = _mask.set(mask)
    try:
        model.set_attn_implementation(NAME)
        yield
    finally:
        model.set_attn_implementation(before)
        _mask.reset(token)


def _attend(
    _module: Any, query: Tensor, key: Tensor, value: Tensor, _given: Any, *, dropout: float = 0.0,
    scaling: float | None = None, **others: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """As transformers calls an attention function: [lines, heads, width, size] -> [lines, width, heads, size].

    Raises:
        NotImplementedError: for what FlexAttention does not do, or what is not done with it here.
    """
    wanted = [name for name in UNSUPPORTED if others.get(name) is not None] + ["dropout"] * bool(dropout)
    if wanted:
        raise NotImplementedError(f"attention in blocks has no {', '.join(wanted)}")
    usual = query.shape[-1] ** -0.5
    if scaling is not None and abs(scaling / usual - 1) > 1e-6:
        query = query * (scaling / usual)  # not as an argument: with dynamic shapes it would be a symbol
    grouped = query.shape[1] != key.shape[1]
    found = _flex(query.device.type)(query, key, value, block_mask=_mask.get(), enable_gqa=grouped)
    return found.transpose(1, 2).contiguous(), None


@functools.cache
def _flex(device: str) -> Callable[..., Tensor]:
    """FlexAttention, on a GPU compiled. Without that it is slow, and has the scores of all pairs in memory.

    It is compiled once for all numbers of lines and widths (`dynamic=True`), which differ from batch to batch, as far
    as torch can treat them as variables. Beyond a limit of compilations it would continue without compiling and without
    a message: `fullgraph` makes that an error, which `takes_block_mask` catches.
    """
    from torch.nn.attention.flex_attention import flex_attention

    if device == "cpu":
        return flex_attention
    compiled: Callable[..., Tensor] = torch.compile(flex_attention, dynamic=True, fullgraph=True)
    return compiled
