"""Hidden states of one layer in a step, of the model that learns and of the reference, for RMU (arXiv 2403.03218)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from biasunlearn.data.records import Passage
from biasunlearn.models.adapters import reference
from biasunlearn.models.batches import TokenRow, collate
from biasunlearn.models.forward import hidden_states, text_config, unwrapped
from biasunlearn.models.logprobs import sum_by_row
from biasunlearn.models.packed_forward import RowCache

DEPTH = 7 / 32
"""Which layer is read, as a share of all layers: the 7th of 32 in the paper."""


@dataclass(frozen=True, slots=True)
class LayerStates:
    """The states of the sentences of one role at all their tokens but the first."""

    states: Tensor  # [tokens, hidden]
    reference: Tensor  # [tokens, hidden], the same of the reference model
    owners: Tensor  # [tokens] the sentence of each
    rows: int

    def means(self, values: Tensor) -> Tensor:
        """Means over the tokens of each sentence, [sentences], of values [tokens]."""
        counts = sum_by_row(torch.ones_like(values), self.owners, self.rows)
        return sum_by_row(values, self.owners, self.rows) / counts.clamp(min=1)


def layer_states(model: Any, cache: RowCache, passages: Sequence[Passage | TokenRow]) -> LayerStates:
    """Two forward passes, one of them with the adapter off. The first token of a row is its start token: left out."""
    inner = unwrapped(model)
    layer = max(1, round(DEPTH * text_config(inner).num_hidden_layers))
    rows = cache.rows(passages)
    if not rows:
        nothing = torch.zeros(0, text_config(inner).hidden_size, device=inner.device)
        return LayerStates(nothing, nothing, torch.zeros(0, dtype=torch.long, device=inner.device), 0)
    batch = collate(rows, device=inner.device)
    own = batch.attention_mask.bool().clone()
    own[:, 0] = False
    with reference(inner):
        before = hidden_states(inner, batch)[layer][own]
    return LayerStates(hidden_states(model, batch)[layer][own], before, own.nonzero()[:, 0], len(rows))


def control_direction(size: int, seed: int) -> Tensor:
    """The random unit vector u of RMU: coordinates uniform on [0, 1), then scaled to length 1. Returns [size]."""
    drawn = torch.rand(size, generator=torch.Generator().manual_seed(seed))
    return drawn / drawn.norm()
