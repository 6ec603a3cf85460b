"""Log-probabilities of a batch's targets without gradients: the hidden states first, then the output layer in blocks.

The forward pass of the transformer body is fastest for many tokens at once, while the logits of many tokens with a
large vocabulary need gigabytes. Where the output layer can be run by itself, the two are therefore separated: the size
of a batch no longer depends on the vocabulary. Several targets of one position (the three words of a StereoSet item in
the BLANK) need its logits once.
"""

import weakref
from typing import Any

import torch
from torch import Tensor

from biasunlearn.models.batches import Batch
from biasunlearn.models.feature_checks import SAME, SAME_HALF, plain_head, soft_cap
from biasunlearn.models.forward import logits_at, states_and_first_logits, unwrapped
from biasunlearn.models.lm_head import OutputLayer
from biasunlearn.models.logprobs import token_log_probs
from biasunlearn.models.quantization import exact

_separable: "weakref.WeakKeyDictionary[torch.nn.Module, bool]" = weakref.WeakKeyDictionary()
"""Whether the output layer of a model gives the model's own logits when it is run by itself: tried once, on a batch."""


def separable(model: Any) -> bool:
    """Whether the output layer is run by itself, as far as is known before the first batch.

    On a GPU it is not: there the logits of a batch fit into memory, and small blocks would leave the card idle.
    """
    inner = unwrapped(model)
    return plain_head(inner) is not None and inner.device.type == "cpu" and _separable.get(inner, True)


def batch_log_probs(model: Any, batch: Batch) -> Tensor:
    """log p(target) at each of the batch's positions, in float32 and without gradients: [predicted]."""
    if separable(model):
        inner = unwrapped(model)
        positions, places = batch.positions.unique(return_inverse=True)
        states, first, logits = states_and_first_logits(model, batch, positions)
        output = OutputLayer(inner.get_output_embeddings(), soft_cap(inner))
        if inner not in _separable:
            _separable[inner] = _agree(output.logits(first), logits, SAME if exact(inner) else SAME_HALF)
        if _separable[inner]:
            return output.log_probs_of_places(states, places, batch.targets)
    return token_log_probs(logits_at(model, batch), batch.targets)


def _agree(one: Tensor, other: Tensor, tolerance: float) -> bool:
    """Whether two computations of the same logits agree: [positions, vocabulary]. Logits that are no number agree."""
    if one.shape != other.shape:
        return False
    difference = (one.float().log_softmax(-1) - other.float().log_softmax(-1)).abs().nan_to_num(0.0)
    return bool(difference.max() <= tolerance)
