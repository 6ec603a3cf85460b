"""A penalty on the change of hidden states along the bias directions of other bias types. Developed in this project.

Unlearning one bias type is meant to leave the others alone. The directions of a bias type at a layer are the mean
difference of the hidden states of its pairs, stereotype less anti-stereotype, and the first principal components of the
differences less this mean: the span that `disentangle --erase` erases. They are read from the base model before
training. With B an orthonormal basis of the directions of the other bias types, and h_ref the state of the reference at
the same token, the penalty of a sentence is the mean over its tokens and over the layers of

    |B^T (h - h_ref)|^2 / s^2,

s^2 the mean of |B^T d|^2 over the pairs of those bias types, d the difference of a pair: 1 means that a state moved as
far along them as a stereotype lies from its anti-stereotype. Other bias types are all but that of the sentence. Of bias
types that are not trained on (`trained_types`), sentences are read as well: for these, all such bias types count,
their own among them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from biasunlearn.config import DebiasConfig
from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import reference
from biasunlearn.models.batches import TokenRow, collate, scored_places
from biasunlearn.models.forward import hidden_states, text_config, unwrapped
from biasunlearn.models.logprobs import sum_by_row
from biasunlearn.models.masked import is_masked
from biasunlearn.models.packed_forward import RowCache
from biasunlearn.unlearn.sampler import StepBatch
from biasunlearn.unlearn.sets import TrainingSets

DIRECTIONS = 3
"""Of each bias type: the mean difference, and two principal components of the rest."""

DEPTHS = (1 / 2, 1.0)
"""Layers that are read, as shares of all layers. The last one is read after the final norm, before the output layer."""

MOST_PAIRS = 500
"""Pairs of a bias type from which its directions are computed, the first ones."""

AT_ONCE = 32
"""Pairs of a forward pass."""


@dataclass(frozen=True, slots=True)
class Subspace:
    """An orthonormal basis of the directions of some bias types at one layer."""

    basis: Tensor  # [hidden, k]
    scale: Tensor  # [] s^2


class DirectionPenalty:
    """The penalty of the sentences of a step. The directions are computed once, from the base model.

    Raises:
        RequestError: a masked model.
    """

    def __init__(self, model: Any, cache: RowCache, sets: TrainingSets):
        inner = unwrapped(model)
        if is_masked(inner):
            raise RequestError("orthogonal_weight: a masked model, for which it is not defined; set it to 0")
        pairs = {**sets.pairs, **sets.protected}
        self._cache = cache
        count = text_config(inner).num_hidden_layers
        self._layers = tuple(max(1, round(depth * count)) for depth in DEPTHS)
        self._differences = {
            name: pair_differences(inner, cache, [p for p in own if p[0] != p[1]][:MOST_PAIRS], self._layers)
            for name, own in pairs.items()
        }
        self._protected = tuple(sets.protected)
        self._owner = {p: name for name, own in sets.protected.items() for pair in own for p in pair}
        self._owner |= {p: name for side in (sets.forget, sets.retain) for name, own in side.items() for p in own}
        self._subspaces: dict[tuple[str, ...], list[Subspace]] = {}

    def __call__(self, model: Any, batch: StepBatch) -> Tensor:
        """The penalty of every sentence of the step: [sentences]. Two forward passes, one with the adapter off."""
        passages = (*batch.forget, *batch.retain, *batch.protected)
        rows = self._cache.rows(passages)
        inner = unwrapped(model)
        if not rows:
            return torch.zeros(0, device=inner.device)
        tokens = collate(rows, device=inner.device)
        own = tokens.attention_mask.bool().clone()
        own[:, 0] = False  # the start token, which no text precedes
        with reference(inner):
            before = hidden_states(inner, tokens)
        after = hidden_states(model, tokens)
        owners = own.nonzero()[:, 0]
        parts = [self.others(passage) for passage in passages]
        found = torch.zeros(len(rows), device=inner.device)
        for names in dict.fromkeys(parts):
            chosen = torch.tensor([part == names for part in parts], device=inner.device)[owners]
            for place, subspace in enumerate(self._subspace(names)):
                layer = self._layers[place]
                change = (after[layer][own] - before[layer][own])[chosen]
                values = projected_change(change, subspace)
                found = found + sum_by_row(values, owners[chosen], len(rows)) / len(self._layers)
        return found / own.sum(1).clamp(min=1)

    def others(self, passage: Passage | TokenRow) -> tuple[str, ...]:
        """The bias types along whose directions the states of a sentence are not to move."""
        assert isinstance(passage, Passage), "the batches of a Trainer are refused"
        owner = self._owner[passage]
        return self._protected if owner in self._protected else tuple(n for n in self._differences if n != owner)

    def _subspace(self, names: tuple[str, ...]) -> list[Subspace]:
        if names not in self._subspaces:
            layers = range(len(self._layers))
            self._subspaces[names] = [subspace([self._differences[n][place] for n in names]) for place in layers]
        return self._subspaces[names]


def projected_change(change: Tensor, subspace: Subspace) -> Tensor:
    """|B^T (h - h_ref)|^2 / s^2 of every token: [tokens].

    By hand: B the first axis, s^2 = 2, change (3, 4) -> 9 / 2 = 4.5.

    Args:
        change: [tokens, hidden] h - h_ref; the reference carries no gradient.
    """
    return (change.float() @ subspace.basis).square().sum(-1) / subspace.scale


def subspace(differences: Sequence[Tensor]) -> Subspace:
    """The directions of some bias types together.

    By hand, one bias type with the differences (2, 0) and (2, 0): the first axis, s^2 = 4.

    Args:
        differences: of each bias type, [pairs, hidden].
    """
    columns = []
    for own in differences:
        mean = own.mean(0)
        rest = torch.linalg.svd(own - mean, full_matrices=False)
        size = rest.S[: DIRECTIONS - 1]
        kept = rest.Vh[: DIRECTIONS - 1][size > 1e-6 * own.norm()]
        columns += [mean / mean.norm().clamp(min=1e-12), *kept]
    left, values, _ = torch.linalg.svd(torch.stack(columns, dim=1), full_matrices=False)
    basis = left[:, values > 1e-6]
    along = torch.cat([(own @ basis).square().sum(1) for own in differences])
    return Subspace(basis.float(), along.mean().clamp(min=1e-12).float())


def pair_differences(
    model: Any, cache: RowCache, pairs: Sequence[tuple[Passage, Passage]], layers: Sequence[int]
) -> list[Tensor]:
    """Of each layer [pairs, hidden], float64: mean states of the supervised tokens, stereotype less anti-stereotype.

    The pairs of a bias type whose sets are exchanged have the opposite sign, which changes no subspace.
    """
    found: list[list[Tensor]] = [[] for _ in layers]
    with reference(model):
        for first in range(0, len(pairs), AT_ONCE):
            rows = cache.rows([side for pair in pairs[first : first + AT_ONCE] for side in pair])
            batch = collate(rows, device=model.device)
            every = hidden_states(model, batch)
            own = scored_places(batch, rows).double()
            for place, layer in enumerate(layers):
                means = (own[:, None] @ every[layer].double())[:, 0] / own.sum(1, keepdim=True)
                found[place].append(means[0::2] - means[1::2])
    return [torch.cat(parts) for parts in found]


def direction_penalty(model: Any, cache: RowCache, sets: TrainingSets, config: DebiasConfig) -> DirectionPenalty | None:
    """The penalty of a training; None where it has no weight."""
    return DirectionPenalty(model, cache, sets) if config.orthogonal_weight else None
