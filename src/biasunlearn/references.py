"""What the reference says of a batch: the model with its adapter off, or values stored before the first step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .errors import RequestError
from .feed import StepBatch
from .models import evaluating, reference
from .reading import read
from .records import Passage
from .sets import TrainingSets

CACHE_LIMIT = 4 * 2**30
"""Bytes that stored reference logits may take."""

AT_ONCE = 32
"""Sentences read at a time when reference values are stored."""


@dataclass(frozen=True, slots=True)
class Referred:
    """log p_ref(y|x) of the forget sentences, [sentences]; logits of the unrelated ones, [tokens, vocabulary]."""

    forget: Tensor
    unrelated: Tensor


Reference = Callable[[StepBatch], Referred]


def adapter_off(model: Any, tokenizer: Any) -> Reference:
    """The reference as the same model with its adapter off: one more forward, no memory."""

    def refer(batch: StepBatch) -> Referred:
        with reference(model):
            found = read(model, tokenizer, (*batch.forget, *batch.unrelated))
        n_forget = len(batch.forget)
        return Referred(found.part(0, n_forget).log_probs, found.part(n_forget, found.rows).logits)

    return refer


def cached(model: Any, tokenizer: Any, sets: TrainingSets) -> Reference:
    """For full fine-tuning, where no adapter can be switched off: everything is computed once, before training.

    One number per sentence that can ever be forgotten (a swap makes that both sets), and half-precision logits
    for every token of the unrelated set.

    Raises:
        RequestError: the logits would not fit into `CACHE_LIMIT`.
    """
    forgettable = list(
        dict.fromkeys(p for side in (sets.forget, sets.retain) for group in side.values() for p in group)
    )
    log_probs: dict[Passage, float] = {}
    logits: dict[Passage, Tensor] = {}
    stored = 0
    with evaluating(model):
        for first in range(0, len(forgettable), AT_ONCE):
            chosen = forgettable[first : first + AT_ONCE]
            log_probs |= dict(zip(chosen, read(model, tokenizer, chosen).log_probs.tolist(), strict=True))
        for passage in dict.fromkeys(sets.unrelated):
            logits[passage] = read(model, tokenizer, [passage]).logits.to("cpu", torch.float16)
            stored += logits[passage].nbytes
            if stored > CACHE_LIMIT:
                raise RequestError(
                    f"full fine-tuning stores reference logits; {len(sets.unrelated)} unrelated sentences need more "
                    f"than {CACHE_LIMIT // 2**30} GiB: give fewer, or use an adapter (lora_rank above 0)"
                )

    def refer(batch: StepBatch) -> Referred:
        known = torch.tensor([log_probs[p] for p in batch.forget], device=model.device)
        parts = [logits[p] for p in batch.unrelated]
        return Referred(known, torch.cat(parts).to(model.device) if parts else torch.empty(0, device=model.device))

    return refer
