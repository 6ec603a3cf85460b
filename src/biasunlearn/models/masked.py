"""Masked models (BERT, RoBERTa, ModernBERT): what they read for the pseudo-log-likelihood of a passage.

A causal model predicts every token of a row in one pass. A masked one predicts a token from both sides, so that each
scored token needs a copy of the row in which a mask stands in its place. What is above this package asks for the
log-probability of passages, and does not know which kind of model answers.

Pseudo-log-likelihood: Salazar et al., Masked Language Model Scoring (arXiv 1910.14659). One mask: the official
scoring of StereoSet (arXiv 2004.09456).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from biasunlearn.errors import RequestError
from biasunlearn.models.batches import Batch, TokenRow, collate, start_token
from biasunlearn.models.forward import max_tokens, unwrapped

MaskedTokens = Literal["in_turn", "one_mask"]
"""in_turn: a mask in the place of each scored token alone, all others are seen. one_mask: the scored tokens are
predicted from left to right, and one mask stands for a token and for the scored tokens behind it."""

HIDDEN_SHARE = 0.15
"""Share of the tokens that are hidden at random when a masked model is trained on text, as in BERT (arXiv 1810.04805).
Each of them becomes a mask; BERT leaves a tenth as it is and draws another tenth at random."""


def is_masked(model: Any) -> bool:
    """Whether a model, inside an adapter or not, is a masked one."""
    inner = unwrapped(model)
    inner = inner.get_base_model() if hasattr(inner, "get_base_model") else inner
    return type(inner).__name__.endswith("ForMaskedLM")


@dataclass(frozen=True, slots=True)
class Frame:
    """The special tokens that a tokenizer puts around a text ([CLS] ... [SEP]); they take the place of the start token.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    start: int
    """How many start tokens a row has: 0 or 1."""

    @property
    def moved(self) -> int:
        """By how many places the tokens of a row are moved."""
        return len(self.before) - self.start

    def around(self, row: TokenRow) -> tuple[int, ...]:
        """A row as a masked model reads it."""
        return (*self.before, *row.ids[self.start :], *row.after, *self.after)


def frame(tokenizer: Any) -> Frame:
    """The frame of a tokenizer, found by encoding a text with and without it."""
    bare = tokenizer.encode("a", add_special_tokens=False)
    framed = tokenizer.encode("a")
    at = next(i for i in range(len(framed)) if framed[i : i + len(bare)] == bare)
    start = 0 if start_token(tokenizer) is None else 1
    return Frame(tuple(framed[:at]), tuple(framed[at + len(bare) :]), start)


def longest_row(model: Any, tokenizer: Any, *, masked: bool) -> int | None:
    """The longest row that the model takes; the special token at the end of a masked model's takes a position too."""
    longest = max_tokens(unwrapped(model))
    return longest - len(frame(tokenizer).after) if masked and longest is not None else longest


def masked_copies(
    tokenizer: Any, rows: Sequence[TokenRow], how: MaskedTokens = "in_turn"
) -> list[tuple[TokenRow, ...]]:
    """For each row a copy for each of its scored tokens, with a mask at `first_scored`.

    By hand, [CLS] the nurse was tired [SEP] with "was tired" scored: in turn, "the nurse [MASK] tired" and "the nurse
    was [MASK]"; with one mask, "the nurse [MASK]" and "the nurse was [MASK]".

    Raises:
        RequestError: the tokenizer has no mask token.
    """
    if not rows:
        return []
    mask, around = mask_of(tokenizer), frame(tokenizer)

    def copies(row: TokenRow) -> tuple[TokenRow, ...]:
        whole, end = around.around(row), len(row.ids) + around.moved
        return tuple(
            TokenRow((*whole[:place], mask, *whole[(place + 1 if how == "in_turn" else end) :]), place)
            for place in range(row.first_scored + around.moved, end)
        )

    return list(map(copies, rows))


def mask_of(tokenizer: Any) -> int:
    """The id of the mask token. RequestError where the tokenizer has none."""
    if tokenizer.mask_token_id is None:
        raise RequestError("the tokenizer of this masked model has no mask token; set mask_token and save it")
    return int(tokenizer.mask_token_id)


def hidden_at_random(
    tokenizer: Any, rows: Sequence[TokenRow], rng: np.random.Generator, device: torch.device | str = "cpu"
) -> Batch:
    """The batch of a step of masked language modelling: a share of each row's scored tokens, and at least one, hidden.
    """
    mask, around = mask_of(tokenizer), frame(tokenizer)
    read, chosen = [], []
    for row in rows:
        whole = around.around(row)
        drawn = rng.random(row.scored)
        places = np.flatnonzero(drawn <= max(HIDDEN_SHARE, float(drawn.min()))) + row.first_scored + around.moved
        read.append(TokenRow(tuple(mask if place in places else token for place, token in enumerate(whole)), 0))
        chosen.append([(int(place), whole[place]) for place in places])
    batch = collate(read, at_token=True, device=device)
    width = batch.input_ids.shape[1]
    hidden = [(n * width + place, token, n) for n, row_hidden in enumerate(chosen) for place, token in row_hidden]
    columns = [torch.tensor(column, dtype=torch.long, device=device) for column in zip(*hidden, strict=True)]
    return replace(batch, positions=columns[0], targets=columns[1], owners=columns[2])
