"""What the reference says of a batch: the model with its adapter off, or values stored before the first step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import reference
from biasunlearn.models.distributed import summed
from biasunlearn.models.forward import evaluating
from biasunlearn.models.packed_forward import read
from biasunlearn.unlearn.reference_store import ReferenceStore
from biasunlearn.unlearn.sampler import StepBatch
from biasunlearn.unlearn.sets import TrainingSets

CACHE_LIMIT = 4 * 2**30
"""Bytes that stored reference logits may take."""

AT_ONCE = 32
"""Sentences read at a time when reference values are stored."""


@dataclass(frozen=True, slots=True)
class Referred:
    """log p_ref(y|x) of the forget sentences, [sentences]; the states of the unrelated ones, as `Read` has them."""

    forget: Tensor
    unrelated: Tensor
    unrelated_tokens: tuple[int, ...] = ()
    """Supervised tokens of each unrelated sentence."""


Reference = Callable[[StepBatch], Referred]


def adapter_off(model: Any, tokenizer: Any) -> Reference:
    """The reference as the same model with its adapter off: one more forward, no memory."""

    def refer(batch: StepBatch) -> Referred:
        with reference(model):
            found = read(model, tokenizer, (*batch.forget, *batch.unrelated))
            forget, unrelated = found.part(0, len(batch.forget)), found.part(len(batch.forget), found.rows)
            return Referred(forget.log_probs, unrelated.states, tuple(map(int, unrelated.tokens.tolist())))

    return refer


def remembered(model: Any, tokenizer: Any, store: ReferenceStore) -> Reference:
    """The same, but a sentence is asked for once: what the reference says of it never changes.

    Of several processes each asks for its own share, and all of them ask where one must: a model may be split.
    """
    live = adapter_off(model, tokenizer)

    def refer(batch: StepBatch) -> Referred:
        unknown = replace(
            batch,
            forget=tuple(dict.fromkeys(p for p in batch.forget if not store.knows("forget", p))),
            unrelated=tuple(dict.fromkeys(p for p in batch.unrelated if not store.knows("unrelated", p))),
        )
        found: dict[tuple[str, Passage], Tensor] = {}
        if summed(torch.tensor(float(len(unknown.forget) + len(unknown.unrelated)), device=model.device)) > 0:
            found = _by_sentence(live(unknown), unknown)
            for (role, passage), value in found.items():
                store.put(role, passage, value)

        def values(role: str, passages: Sequence[Passage]) -> list[Tensor]:
            known = [found.get((role, p)) for p in passages]
            return [store.get(role, p) if v is None else v for p, v in zip(passages, known, strict=True)]

        log_probs, states = values("forget", batch.forget), values("unrelated", batch.unrelated)
        empty = torch.zeros(0)
        return Referred(
            (torch.stack(log_probs) if log_probs else empty).to(model.device),
            (torch.cat(states) if states else empty).to(model.device),
        )

    return refer


def _by_sentence(found: Referred, batch: StepBatch) -> dict[tuple[str, Passage], Tensor]:
    values = {("forget", p): v for p, v in zip(batch.forget, found.forget, strict=True)}
    states = found.unrelated.split(found.unrelated_tokens)
    return values | {("unrelated", p): v for p, v in zip(batch.unrelated, states, strict=True)}


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
