"""A closed-form edit of the output matrix of one MLP, which sets the margins of the pairs to zero at the BLANK.

The matrix is regarded as a memory of keys (its inputs) and values (its outputs), as in ROME (arXiv 2202.05262) and
MEMIT (arXiv 2210.07229). The update is that of MEMIT (eq. 14),

    Delta = R K^T (cov + K K^T)^-1,

a least-squares solution that adds the residuals R at the keys K and preserves other keys, of covariance cov.
Differences from both, and from FAST (arXiv 2402.11764), which trains an added layer in the same place:

- the residual is not optimised by gradient descent. It is the smallest change of the value that sets the margin m of
  the pair (mean log-probability per token, stereotype minus anti-stereotype) to zero to first order: -m g / |g|^2, with
  g the gradient of m with respect to the value;
- it is added at the last token before the BLANK, which both sentences of a pair share, and not at the subject;
- one layer, in the middle; cov comes from the unrelated set; the strength is searched on the stop split.

The update is truncated to `RANK` singular values and stored as a LoRA adapter: a plain PEFT adapter.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from biasunlearn.config import DebiasConfig
from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import with_lora
from biasunlearn.models.batches import collate, encode
from biasunlearn.models.forward import evaluating, logits_at, max_tokens
from biasunlearn.models.load import Loaded
from biasunlearn.models.logprobs import sum_by_row, token_log_probs
from biasunlearn.models.mlp import mlp_outputs
from biasunlearn.unlearn.methods.task import MethodResult, Task, nearest, search_outcome

STRENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0)

RANK = 64

PRESERVED = 10.0
"""Weight of the covariance of other keys relative to the edited keys, in units of their number."""

LONGEST_STEP = 1.0
"""Largest norm of a residual, in norms of the value: the margin is approximately linear only for small changes."""

AT_ONCE = 16
"""Pairs of a forward and backward pass."""


def run(task: Task) -> MethodResult:
    """Solves for the update, then searches its strength.

    Raises:
        RequestError: no MLP of a known kind; no pair has words before its BLANK; no unrelated sentences.
    """
    if not task.sets.unrelated:
        raise RequestError("method: mlp_edit: needs unrelated sentences, whose keys it preserves; give --unrelated")
    model = task.loaded.model
    name = edited_module(model)
    pairs = [pair for b in task.sets.bias_types for pair in task.sets.pairs[b] if pair[0] != pair[1]]
    keys, residuals = written(task.loaded, name, [pair for pair in pairs if pair[0].prefix])
    others = keys_of(task.loaded, name, task.sets.unrelated)
    delta = solved(keys, residuals, others)
    left, values, right = torch.linalg.svd(delta, full_matrices=False)
    rank = min(RANK, len(values))
    adapter = _adapter(model, task.config, name, rank)
    up, down = _factors(adapter)

    def state(strength: float | None) -> Any:
        with torch.no_grad():
            up.copy_((strength or 0.0) * left[:, :rank] * values[:rank])
            down.copy_(right[:rank])
        return adapter

    strength, rows = nearest(task, STRENGTHS, state)
    return MethodResult(state(strength), search_outcome(f"{name}, strength", strength, rows), rows)


def edited_module(model: Any) -> str:
    """The output matrix of the MLP in the middle layer."""
    found = mlp_outputs(model, "mlp_edit")
    return found[len(found) // 2]


def written(loaded: Loaded, name: str, pairs: Sequence[tuple[Passage, Passage]]) -> tuple[Tensor, Tensor]:
    """Keys and residuals at the last token before the BLANK: [inner, pairs] and [outer, pairs], float64."""
    if not pairs:
        raise RequestError("method: mlp_edit: no training pair has words before its BLANK; choose another method")
    parts = [_read_pairs(loaded, name, pairs[first : first + AT_ONCE]) for first in range(0, len(pairs), AT_ONCE)]
    keys, residuals = zip(*parts, strict=True)
    return torch.cat(keys, 1), torch.cat(residuals, 1)


def _read_pairs(loaded: Loaded, name: str, pairs: Sequence[tuple[Passage, Passage]]) -> tuple[Tensor, Tensor]:
    passages = [passage for pair in pairs for passage in pair]
    rows = encode(loaded.tokenizer, passages, max_tokens=max_tokens(loaded.model), chat=loaded.chat)
    batch = collate(rows, device=loaded.model.device)
    with evaluating(loaded.model), torch.enable_grad(), _opened(loaded.model, name) as seen:
        log_probs = token_log_probs(logits_at(loaded.model, batch), batch.targets)
        sums = sum_by_row(log_probs, batch.owners, batch.rows)
        means = sums / torch.tensor([row.scored for row in rows], device=sums.device)
        margins = means[0::2] - means[1::2]
        (gradient,) = torch.autograd.grad(margins.sum(), seen["shift"])
    lines = torch.arange(len(rows), device=gradient.device)
    places = torch.tensor([row.first_scored - 1 for row in rows], device=gradient.device)
    key, value, slope = (part[lines, places].double() for part in (seen["key"], seen["value"], gradient))
    slope = slope[0::2] + slope[1::2]  # the value is shared by both sentences
    step = -margins.detach().double()[:, None] * slope / slope.square().sum(1, keepdim=True).clamp(min=1e-12)
    longest = LONGEST_STEP * value[0::2].norm(dim=1, keepdim=True)
    step = step * (longest / step.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
    return key[0::2].T, step.T


def keys_of(loaded: Loaded, name: str, passages: Sequence[Passage]) -> Tensor:
    """The inputs of the matrix at every token of ordinary sentences: [inner, tokens], float64."""
    rows = encode(loaded.tokenizer, passages[:1000], max_tokens=max_tokens(loaded.model))
    found = []
    with evaluating(loaded.model), _opened(loaded.model, name) as seen:
        for first in range(0, len(rows), 4 * AT_ONCE):
            batch = collate(rows[first : first + 4 * AT_ONCE], device=loaded.model.device)
            logits_at(loaded.model, batch)
            found.append(seen["key"][batch.attention_mask.bool()].double())
    return torch.cat(found).T


def solved(keys: Tensor, residuals: Tensor, others: Tensor) -> Tensor:
    """R K^T (cov + K K^T)^-1: [outer, inner]. With no other keys and independent ones, Delta K = R exactly."""
    size = keys.shape[0]
    gram = keys @ keys.T
    cov = PRESERVED * keys.shape[1] * (others @ others.T) / max(1, others.shape[1])
    ridge = 1e-8 * (gram + cov).diagonal().mean() * torch.eye(size, dtype=keys.dtype, device=keys.device)
    return torch.linalg.solve(gram + cov + ridge, keys @ residuals.T).T


@contextlib.contextmanager
def _opened(model: Any, name: str) -> Iterator[dict[str, Tensor]]:
    """Records the input and output of a module, with a shift added to its output for which gradients are computed."""
    seen: dict[str, Tensor] = {}

    def show(_module: Any, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        seen["key"], seen["value"] = args[0].detach(), output.detach()
        seen["shift"] = torch.zeros_like(output, requires_grad=True)
        return output + seen["shift"]

    handle = model.get_submodule(name).register_forward_hook(show)
    try:
        yield seen
    finally:
        handle.remove()


def _adapter(model: Any, config: DebiasConfig, name: str, rank: int) -> Any:
    """A LoRA adapter on this module alone, whose update is up @ down, not scaled."""
    return with_lora(model, replace(config, lora_rank=rank, lora_alpha=rank, lora_dropout=0.0, lora_targets=(name,)))


def _factors(adapter: Any) -> tuple[Tensor, Tensor]:
    weights = {key.split(".")[-3]: p for key, p in adapter.named_parameters() if p.requires_grad and "lora_" in key}
    return weights["lora_B"], weights["lora_A"]
