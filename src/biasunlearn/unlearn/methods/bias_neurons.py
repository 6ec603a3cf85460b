"""Bias neurons: neurons of the MLPs that make the gap of the pairs are suppressed, or those that close it amplified.

Source: Liu et al., The Devil is in the Neurons (ICLR 2024, arXiv 2406.10130). Their integrated gap gradients (IG^2)
attribute to the neuron j of a layer, with w its activation, the share

    IG^2(w_j) = w_j  int_0^1  d|P(d_1 | a w) - P(d_2 | a w)| / d w_j  da

of the gap between two words; the integral is a sum over m steps, in which the activations of the whole layer are
multiplied by a. Bias neuron suppression (BNS) sets the activation of neurons with an attribution of at least a share
(their threshold) of the largest one to 0. Differences:

- P(d) is the mean log-probability per token of the supervised part, d_1 the stereotype, d_2 the anti-stereotype of a
  pair: attribute words have several tokens, and SS compares these means. There they are demographic words at one mask;
- activations are scaled at every token, and attributions added up over tokens; there at the mask;
- m is `STEPS`, and `MOST_PAIRS` pairs of each bias type are read, the first ones: every layer costs m forward and
  backward passes. Bias types count equally;
- amplification is not part of that paper. Neurons whose attribution is as far below 0 close the gap; their activation
  is doubled, as knowledge neurons are in Dai et al. (arXiv 2104.08696);
- whether to suppress or to amplify, and the threshold, are searched on the stop split.

Multiplying the inputs of a matrix by fixed numbers is what an (IA)^3 adapter does: the result is a plain PEFT adapter.
"""

import contextlib
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from biasunlearn.data.records import Passage
from biasunlearn.models.adapters import with_scaled_inputs
from biasunlearn.models.batches import collate, encode
from biasunlearn.models.forward import evaluating, logits_at, max_tokens
from biasunlearn.models.load import Loaded
from biasunlearn.models.logprobs import sum_by_row, token_log_probs
from biasunlearn.models.mlp import mlp_outputs
from biasunlearn.unlearn.methods.task import MethodResult, Task, nearest, search_outcome

STEPS = 5
"""m, steps of the integral; the paper has 20."""

MOST_PAIRS = 24
"""Pairs of each bias type."""

AT_ONCE = 32
"""Pairs of a forward and backward pass."""

THRESHOLDS = (0.1, 0.2, 0.4)
"""Shares of the largest attribution that are tried; 0.2 in the paper."""

FACTORS = {"suppress": 0.0, "amplify": 2.0}
"""What the activation of a chosen neuron is multiplied by."""

Pair = tuple[Passage, Passage]


def run(task: Task) -> MethodResult:
    """Attributes the gaps to neurons, then searches what to do with which of them.

    Raises:
        RequestError: no MLP of a known kind.
    """
    names = mlp_outputs(task.loaded.model, "bias_neurons")
    groups = [[p for p in task.sets.pairs[b] if p[0] != p[1]][:MOST_PAIRS] for b in task.sets.bias_types]
    attributed = [
        torch.stack([attributions(task.loaded, name, pairs) for pairs in groups if pairs]).mean(0) for name in names
    ]
    adapter, factors = with_scaled_inputs(task.loaded.model, names)

    def state(candidate: tuple[str, float] | None) -> Any:
        chosen = [torch.ones_like(one) for one in attributed] if candidate is None else scales(attributed, *candidate)
        with torch.no_grad():
            for factor, values in zip(factors, chosen, strict=True):
                factor.copy_(values.reshape(factor.shape))
        return adapter

    candidate, rows = nearest(task, list(product(FACTORS, THRESHOLDS)), state)
    count = 0 if candidate is None else sum(int((s != 1).sum()) for s in scales(attributed, *candidate))
    return MethodResult(state(candidate), search_outcome(f"{count} neurons, threshold", candidate, rows), rows)


def scales(attributed: Sequence[Tensor], what: str, threshold: float) -> list[Tensor]:
    """What the activations of each layer are multiplied by: 1, but for the chosen neurons.

    By hand, attributions 4, 1, 0.5, -2: suppress at 0.2: those from 0.8 on, 0, 0, 1, 1. amplify at 0.2: those of -0.8
    or less, 1, 1, 1, 2.

    Args:
        attributed: of each layer [neurons].
    """
    largest = max(float(one.max()) for one in attributed)
    limit = threshold * max(largest, 0.0)
    chosen = [one >= limit if what == "suppress" else one <= -limit for one in attributed]
    if limit == 0:  # no neuron makes the gap
        chosen = [torch.zeros_like(mask) for mask in chosen]
    return [torch.where(mask, FACTORS[what], 1.0) for mask in chosen]


def attributions(loaded: Loaded, name: str, pairs: Sequence[Pair]) -> Tensor:
    """IG^2 of the neurons of one layer, the mean over pairs: [neurons], float64.

    Args:
        name: of the output matrix of its MLP.
    """
    total: Tensor | None = None
    for first in range(0, len(pairs), AT_ONCE):
        passages = [side for pair in pairs[first : first + AT_ONCE] for side in pair]
        rows = encode(loaded.tokenizer, passages, max_tokens=max_tokens(loaded.model), chat=loaded.chat)
        batch = collate(rows, device=loaded.model.device)
        tokens = torch.tensor([row.scored for row in rows], device=loaded.model.device)
        for step in range(1, STEPS + 1):
            with evaluating(loaded.model), torch.enable_grad(), _scaled(loaded.model, name, step / STEPS) as seen:
                log_probs = token_log_probs(logits_at(loaded.model, batch), batch.targets)
                means = sum_by_row(log_probs, batch.owners, batch.rows) / tokens
                gap = (means[0::2] - means[1::2]).abs().sum()
                (gradient,) = torch.autograd.grad(gap, seen["scaled"])
            part = (seen["own"].double() * gradient.double()).flatten(0, -2).sum(0) / STEPS
            total = part if total is None else total + part
    assert total is not None, "there is at least one pair"
    return total / len(pairs)


@contextlib.contextmanager
def _scaled(model: Any, name: str, share: float) -> Iterator[dict[str, Tensor]]:
    """Multiplies the inputs of a matrix by a number, and records them before and after; gradients are computed for the
    latter."""
    seen: dict[str, Tensor] = {}

    def scale(_module: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        seen["own"] = args[0].detach()
        seen["scaled"] = (share * seen["own"]).requires_grad_()
        return (seen["scaled"], *args[1:])

    handle = model.get_submodule(name).register_forward_pre_hook(scale)
    try:
        yield seen
    finally:
        handle.remove()
