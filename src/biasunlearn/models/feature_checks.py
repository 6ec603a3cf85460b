"""What a model supports, found by trying it: packed lines (also in blocks), and the output layer run by itself."""

import warnings
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from biasunlearn.models import block_attention
from biasunlearn.models.batches import Batch, TokenRow, collate
from biasunlearn.models.distributed import is_split
from biasunlearn.models.forward import evaluating, logits_at, max_tokens, states_at, text_config, unwrapped
from biasunlearn.models.lm_head import OutputLayer
from biasunlearn.models.masked import is_masked
from biasunlearn.models.prefix_sharing import Group, alone, collate_groups, line_width, opening
from biasunlearn.models.prompted import Prompted
from biasunlearn.models.quantization import exact

TRIED = ((40, 1), (28, 1), (33, 2))
"""Length and kind of the made-up rows; rows of a kind have a shared beginning, and all begin with the same token."""

SHARED = 20
"""Number of tokens in the shared beginning."""

SAME = 1e-4
"""Nats by which a token's log-probability may differ between two ways of computing it, in float32."""

SAME_HALF = 0.1
"""The same in half precision and in 8 bits; a wrong mask or a missing cap is off by whole nats."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a model supports."""

    packs: bool
    """It takes a given attention mask, and attends to nothing else."""
    window: int
    """The longest row in a packed line: with a narrower attention window the model's own mask is needed."""
    split_off: bool
    """The output layer can be run by itself. It cannot where a family does more to logits than capping them."""

    def output(self, model: Any) -> OutputLayer:
        """The output layer to run by itself; none where it is currently trainable or split over processes."""
        if not self.split_off or is_split(model) or not _whole(model.get_output_embeddings(), frozen=True):
            return OutputLayer()
        return OutputLayer(model.get_output_embeddings(), soft_cap(model))


_known: "weakref.WeakKeyDictionary[torch.nn.Module, Abilities]" = weakref.WeakKeyDictionary()
"""Results for each model: they are tried once."""


def abilities(model: Any) -> Abilities:
    """What a model supports, tried with made-up rows, the same in every process. A missing feature is reported once."""
    inner = unwrapped(model)
    if inner not in _known:
        with evaluating(inner):
            _known[inner] = _tried(inner)
        if not _known[inner].packs and not is_masked(inner):
            warnings.warn(
                f"{type(inner).__name__} does not support packed lines: sentences are padded, one to a line",
                stacklevel=3,
            )
    return _known[inner]


_in_blocks: "weakref.WeakKeyDictionary[torch.nn.Module, dict[tuple[int, int], bool]]" = weakref.WeakKeyDictionary()
"""Whether a model has given the same in blocks, for each number of lines and width that was tried."""


def takes_block_mask(model: Any, rows: Sequence[TokenRow], lines: Sequence[Sequence[Group]], shared: int) -> bool:
    """Whether the attention of these packed lines is computed in blocks, which only long lines on a GPU are.

    The first batch of every shape is computed in both ways: a compiled kernel can be wrong for one shape and right for
    another. After a difference, or an error, everything is computed with a mask of all pairs, which is reported once.
    """
    inner, width = unwrapped(model), line_width(lines, shared)
    if width <= block_attention.LONGEST_DENSE or inner.device.type not in block_attention.DEVICES:
        return False
    # The processes of a split model must make the same forward passes, and not each of them has a long line.
    if torch.is_grad_enabled() or is_split(inner) or isinstance(inner, Prompted):
        return False
    known, shape = _in_blocks.setdefault(inner, {}), (len(lines), block_attention.whole_blocks(width))
    if shape not in known and all(known.values()):
        known[shape] = _same_in_blocks(inner, rows, lines, shared)
        if not known[shape]:
            warnings.warn(
                f"{type(inner).__name__}: FlexAttention fails or gives other scores than ordinary attention here; it "
                "is not used for long lines",
                stacklevel=3,
            )
    return all(known.values())


def _same_in_blocks(model: Any, rows: Sequence[TokenRow], lines: Sequence[Sequence[Group]], shared: int) -> bool:
    """Whether both ways give the same log-probabilities: each of them in float32, their mean in half precision."""
    found = []
    try:
        for blocks in (False, True):
            batch = collate_groups(
                rows, lines, dtype=model.dtype, shared=shared, blocks=blocks, device=model.device
            )
            found.append(_log_probs(logits_at(model, batch), batch))
    except Exception:  # whatever a family raises for such a mask, and torch where it cannot compile
        return False
    gaps = (found[0] - found[1]).abs()
    return bool(gaps.max() <= SAME if exact(model) else gaps.mean() <= SAME_HALF)


def made_up(length: int, kind: int = 0) -> TokenRow:
    """A row of token ids that are in any vocabulary."""
    return TokenRow((0, *(((i if i < SHARED else i + length) * 7 + 11 * kind) % 97 for i in range(1, length))), 1)


def _tried(model: Any) -> Abilities:
    longest = min(max_tokens(model) or 10**9, max(length for length, _ in TRIED))
    words = max(2, int(getattr(text_config(model), "vocab_size", 0) or 2))
    rows = [TokenRow(tuple(token % words for token in made_up(*how).ids[:longest]), 1) for how in TRIED]
    one_by_one = [collate([row], device=model.device) for row in rows]
    apart = torch.cat([_log_probs(logits_at(model, batch), batch) for batch in one_by_one])

    def agrees(other: Tensor) -> bool:
        return bool((other - apart).abs().max() <= (SAME if exact(model) else SAME_HALF))

    try:  # a mask that hides what follows says nothing about a masked model, whose copies are padded
        pair = Group((0, 1), SHARED, len(rows[0].ids) + len(rows[1].ids) - SHARED)
        line = [pair, alone(2, rows[2])]
        batch = collate_groups(rows, [line], dtype=model.dtype, shared=opening(rows), device=model.device)
        packs = not is_masked(model) and agrees(_log_probs(logits_at(model, batch), batch)[batch.reads])
    except Exception:  # whatever a family raises for a mask that it does not support
        packs = False
    head, split_off = plain_head(model), False
    if head is not None:
        output = OutputLayer(head, soft_cap(model))
        split_off = agrees(torch.cat([_log_probs(output.logits(states_at(model, b)), b) for b in one_by_one]))
    return Abilities(packs, getattr(text_config(model), "sliding_window", None) or 10**9, split_off)


def plain_head(model: Any) -> torch.nn.Linear | None:
    """The output layer of a model if it is one matrix product that can be tried by itself, else None.

    It is not where its weights are spread over processes, and where something else changes what it is given, as a tuned
    prompt does, which cuts off the states of its virtual tokens.
    """
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    if type(head) is not torch.nn.Linear or head._forward_pre_hooks:
        return None
    return head if _whole(head) and not is_split(model) else None


def soft_cap(model: Any) -> float | None:
    """The soft cap on the logits of a model (Gemma 2), None where it has none."""
    return getattr(text_config(model), "final_logit_softcapping", None)


def _whole(layer: torch.nn.Module, *, frozen: bool = False) -> bool:
    """Whether all of its weights are in this process. DeepSpeed gathers them only for a forward pass."""
    weights = list(layer.parameters())
    split = any(hasattr(weight, "to_local") or hasattr(weight, "ds_id") for weight in weights)
    return not split and not (frozen and any(weight.requires_grad for weight in weights))


def _log_probs(logits: Tensor, batch: Batch) -> Tensor:
    return logits.float().log_softmax(-1).gather(1, batch.targets[:, None])[:, 0]
