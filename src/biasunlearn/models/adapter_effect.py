"""Whether an adapter changes what the model says: the proof that a run measures it, and not the base again."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from biasunlearn.models.adapter_scale import scaled
from biasunlearn.models.adapter_target import DEBIASING
from biasunlearn.models.forward import evaluating, max_tokens
from biasunlearn.models.lm_head import LOGITS_AT_ONCE

WIDTH = 32
"""Tokens of a row that is tried."""

TRIED = 4096
"""Tokens from all over the vocabulary that are tried at most, before an adapter is said to change nothing."""

CHANGED = 1e-5
"""Nats by which a log-probability must change with the adapter."""

NO_EFFECT = (
    "THE ADAPTER CHANGES NOTHING: with it, the log-probabilities of all {tokens:,} tokens tried are those of the base "
    "model. The results are the base's."
)


def effect_note(model: Any, tokenizer: Any) -> str:
    """A warning where the model's outputs are the same with its adapter off; "" where it has an effect, or none is on.

    Tokens from all over the vocabulary are tried, some rows at a time, until the first one whose predictions change.
    """
    if not hasattr(model, "disable_adapter"):
        return ""
    rows = model.get_input_embeddings().weight.shape[0]
    ids = sorted(number for number in set(tokenizer.get_vocab().values()) if number < rows)
    ids = ids[:: max(1, len(ids) // TRIED)]
    width = min(WIDTH, max_tokens(model) or WIDTH)
    with evaluating(model):
        for batch in _batches([ids[begin : begin + width] for begin in range(0, len(ids), width)], rows):
            if _changes(model, batch):
                return ""
    return NO_EFFECT.format(tokens=len(ids))


def _batches(lines: list[list[int]], vocabulary: int) -> Iterator[list[list[int]]]:
    """The first line by itself, which nearly always is enough; then as many of one length as have few enough logits."""
    yield lines[:1]
    at_once = max(1, LOGITS_AT_ONCE // (vocabulary * len(lines[0])))
    full = [line for line in lines[1:] if len(line) == len(lines[0])]
    yield from (full[begin : begin + at_once] for begin in range(0, len(full), at_once))
    yield from ([line] for line in lines[1:] if len(line) < len(lines[0]))


def _changes(model: Any, lines: list[list[int]]) -> bool:
    batch = torch.tensor(lines, device=next(model.parameters()).device)
    found = []
    for state in (contextlib.nullcontext(), _off(model)):
        with state:
            logits = model(input_ids=batch, attention_mask=torch.ones_like(batch)).logits
        found.append(logits[:, -len(lines[0]) :].float().log_softmax(-1))
    return not bool((found[0] - found[1]).abs().max() <= CHANGED)  # also where one of them is no number


@contextlib.contextmanager
def _off(model: Any) -> Iterator[None]:
    """The model without the adapter that is meant: beside a LoRA of its own, a target keeps that one."""
    with scaled(model, 0.0, DEBIASING) if DEBIASING in getattr(model, "peft_config", {}) else model.disable_adapter():
        yield
