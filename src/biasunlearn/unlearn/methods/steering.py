"""Activation steering: a vector is added to the hidden states of one layer (models/steered.py).

- steering: contrastive activation addition (Rimsky et al., arXiv 2312.06681, section 3): the vector is the mean over
  the pairs of the hidden state of the anti-stereotype minus that of the stereotype.
- steering_gated: the same vector, added only where a linear probe of the hidden state says stereotype. Conditional
  activation steering (Lee et al., arXiv 2409.05907) has such a condition; there it is a cosine with a direction, here
  it is a ridge regression of the same states.

A sentence is represented by the mean of the states of its supervised tokens, where the sentences of a pair differ; the
paper uses the token of the answer. Bias types count equally. Layer and strength are searched on the stop split. As in
StereoSet the words before the attribute are the same in both sentences of a pair, the vector must make words of the
anti-stereotype more likely before they are read. Nothing in its definition says that it does, and not its opposite:
strengths of both signs are tried.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor

from biasunlearn.data.records import Passage
from biasunlearn.models.blocks import block_outputs, blocks
from biasunlearn.models.load import Loaded
from biasunlearn.models.steered import Steered, Steering
from biasunlearn.unlearn.methods.projection import classifier_direction, mean_states
from biasunlearn.unlearn.methods.task import MethodResult, Task, nearest, search_outcome

DEPTHS = (1 / 2, 3 / 4)
"""Layers that are tried, as shares of all layers."""

STRENGTHS = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)
"""Multiples of the vector that are tried."""

Sides = tuple[Tensor, Tensor]
"""The states of the stereotypes and of the anti-stereotypes of a bias type, [pairs, hidden] each."""


def steering(task: Task) -> MethodResult:
    """The vector everywhere."""
    return _searched(task, gated=False)


def steering_gated(task: Task) -> MethodResult:
    """The vector where the probe finds the stereotype."""
    return _searched(task, gated=True)


def _searched(task: Task, *, gated: bool) -> MethodResult:
    count = len(blocks(task.loaded.model))
    # Layer 0 is left out: a control vector of llama.cpp cannot be added there.
    layers = sorted({min(count - 1, max(1, round(depth * count) - 1)) for depth in DEPTHS})
    found = _fitted(task, layers, gated)
    model: Any = task.loaded.model

    def state(candidate: tuple[int, float] | None) -> Any:
        nonlocal model
        if isinstance(model, Steered):
            model = model.detach_steering()
        block, strength = candidate or (layers[0], 0.0)
        model = Steered(model, replace(found[block], vector=strength * found[block].vector))
        return model

    chosen, rows = nearest(task, list(product(layers, STRENGTHS)), state)
    return MethodResult(state(chosen), search_outcome("layer and strength", chosen, rows), rows)


def _fitted(task: Task, layers: Sequence[int], gated: bool) -> dict[int, Steering]:
    """The steering of each layer."""
    pairs = [[p for p in task.sets.pairs[b] if p[0] != p[1]] for b in task.sets.bias_types]
    sides = [
        [states_of(task.loaded, [pair[side] for pair in group], layers) for side in (0, 1)]
        for group in pairs if group
    ]  # fmt: skip
    return {
        block: _steering(block, [(one[place], other[place]) for one, other in sides], gated)
        for place, block in enumerate(layers)
    }


def _steering(block: int, sides: Sequence[Sides], gated: bool) -> Steering:
    vector = mean_difference(sides)
    if not gated:
        return Steering(block, vector.float())
    weight, bias = stereotype_probe(sides)
    return Steering(block, vector.float(), weight.float(), bias.float().reshape(1))


def mean_difference(sides: Sequence[Sides]) -> Tensor:
    """The mean of anti-stereotype minus stereotype, of each bias type and then over bias types: [hidden].

    By hand, one type of two pairs in one dimension: stereotypes 1 and 3, anti-stereotypes 2 and 6 -> (1 + 3) / 2 = 2.
    """
    return torch.stack([(other - one).mean(0) for one, other in sides]).mean(0)


def stereotype_probe(sides: Sequence[Sides]) -> tuple[Tensor, Tensor]:
    """A linear probe: w h + b is above 0 on the side of the stereotypes. Returns w [hidden] and b [].

    By hand in one dimension: stereotypes at 3, anti-stereotypes at 1: w > 0 and b = -2 w.
    """
    stereotypes, others = (torch.cat(side) for side in zip(*sides, strict=True))
    rows = torch.cat([stereotypes, others])
    weight = classifier_direction(rows, len(stereotypes))
    return weight, -(rows.mean(0) @ weight)


def states_of(loaded: Loaded, passages: Sequence[Passage], layers: Sequence[int]) -> list[Tensor]:
    """The mean output of each of some layers over the supervised tokens of each sentence: [sentences, hidden]."""
    return mean_states(loaded, passages, partial(block_outputs, loaded.model, numbers=layers))
