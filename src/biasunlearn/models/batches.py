"""Passages -> token rows -> one padded batch, with the positions whose logits are used.

This is the only place that decides which token positions are scored or trained on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from biasunlearn.data.records import Passage
from biasunlearn.errors import UnscorableError
from biasunlearn.models.logprobs import sum_by_row

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

PASSAGES_AT_ONCE = 4096
"""Passages that are tokenised at a time: a tokenizer returns a few hundred bytes for each token, of which a row needs
eight."""


@dataclass(frozen=True, slots=True)
class TokenRow:
    """Token ids of one passage, the start token first, and where its scored part begins."""

    ids: tuple[int, ...]
    first_scored: int
    after: tuple[int, ...] = ()
    """What follows the scored part; only a masked model is given it."""
    copies: "tuple[TokenRow, ...]" = ()
    """Of a masked model: what it reads, one row for each scored token, with a mask in its place (`first_scored`)."""

    @property
    def scored(self) -> int:
        """Number of scored tokens."""
        return len(self.ids) - self.first_scored


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded rows. The logits at `positions` predict `targets`; `owners` holds the row of each scored token."""

    input_ids: Tensor  # [lines, width]; a line is a row, or a group of rows that share their beginning
    attention_mask: Tensor  # [lines, width], or [lines, 1, width, width] to add to the attention (or `block_mask`)
    positions: Tensor  # [predicted] indices into the flattened [lines * width]
    targets: Tensor  # [predicted] token ids
    owners: Tensor  # [scored] row numbers, ascending
    rows: int
    position_ids: Tensor | None = None  # [lines, width]; None: 0, 1, 2, ...
    reads: Tensor | None = None  # [scored] the prediction of each scored token; None: in order
    block_mask: "BlockMask | None" = None  # of packed lines that are computed in blocks (block_attention.py)

    def sums(self, per_token: Tensor) -> Tensor:
        """Sums of the values of each row's predictions: [predicted] -> [rows]."""
        return sum_by_row(per_token if self.reads is None else per_token[self.reads], self.owners, self.rows)


def start_token(tokenizer: Any) -> int | None:
    """The first token of every row: BOS, else EOS, else CLS. It is prepended once and never scored.

    Scoring a start token would add a length-dependent constant to every mean. Without any of the three (which is rare)
    the first real token cannot be predicted and is not scored.
    """
    for token_id in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.cls_token_id):
        if token_id is not None:
            return int(token_id)
    return None


def encode(
    tokenizer: Any,
    passages: Sequence[Passage],
    *,
    max_tokens: int | None = None,
    chat: str = "",
    suffixes: bool = False,
) -> list[TokenRow]:
    """Tokenises prefix + text as one string and finds the first token that reaches into the text.

    Since the whole string is tokenised at once, a word in the middle keeps its leading space. A token that crosses the
    boundary counts as text. The tokenizer adds no special tokens.

    Args:
        max_tokens: the longest row that the model takes.
        chat: text of a chat template before every passage; it has its own start token, so that none is added.
        suffixes: tokenise what follows the text as well, for a masked model. A token that crosses the end of the text
            counts as text.
    Raises:
        UnscorableError: passages that have no scored token, or are longer than `max_tokens` (nothing is truncated).
    """
    start = None if chat else start_token(tokenizer)
    opening = () if start is None else (start,)
    whole = [Passage(chat + p.prefix, p.text, p.suffix if suffixes else "") for p in passages]
    rows = [
        TokenRow(opening + ids[:end], max(1, first + len(opening)), ids[end:])
        for begin in range(0, len(whole), PASSAGES_AT_ONCE)
        for ids, first, end in _tokenise(tokenizer, whole[begin : begin + PASSAGES_AT_ONCE])
    ]
    reasons = {}
    for passage, row in zip(passages, rows, strict=True):
        if row.scored < 1:
            reasons[passage] = "nothing to score: the tokenizer gives the text no token"
        elif max_tokens is not None and (length := len(row.ids) + len(row.after)) > max_tokens:
            reasons[passage] = f"{length:,} tokens, but the model takes {max_tokens:,}; shorten the text"
    if reasons:
        raise UnscorableError(reasons)
    return rows


def _tokenise(tokenizer: Any, passages: Sequence[Passage]) -> list[tuple[tuple[int, ...], int, int]]:
    """Token ids of each passage, the index of its first token that ends beyond the prefix, and where the text ends."""
    whole = [passage.prefix + passage.text + passage.suffix for passage in passages]
    if tokenizer.is_fast:
        coded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return [
            (tuple(ids), _first_beyond(offsets, len(passage.prefix)), _end(offsets, passage))
            for ids, offsets, passage in zip(coded["input_ids"], coded["offset_mapping"], passages, strict=True)
        ]
    # Without character offsets: a boundary is where the tokens up to it and those of the whole text begin to differ.
    found = []
    for passage, text in zip(passages, whole, strict=True):
        ids = tokenizer.encode(text, add_special_tokens=False)
        head = tokenizer.encode(passage.prefix, add_special_tokens=False) if passage.prefix else []
        end = len(ids)
        if passage.suffix:
            own = tokenizer.encode(passage.prefix + passage.text, add_special_tokens=False)
            end = min(len(ids), (shared := _shared(ids, own)) + (shared < len(own)))
        found.append((tuple(ids), _shared(ids, head), end))
    return found


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Number of tokens that both begin with."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _first_beyond(offsets: Sequence[tuple[int, int]], boundary: int) -> int:
    if boundary == 0:  # some tokenizers begin with a token of no width
        return 0
    return next((i for i, (_, end) in enumerate(offsets) if end > boundary), len(offsets))


def _end(offsets: Sequence[tuple[int, int]], passage: Passage) -> int:
    """Where the tokens of the text end: the first one that begins in the suffix. The space before a word is its own."""
    if not passage.suffix:
        return len(offsets)
    boundary = len(passage.prefix) + len(passage.text)
    return next((i for i, (begin, end) in enumerate(offsets) if begin >= boundary and end > boundary), len(offsets))


def collate(
    rows: Sequence[TokenRow], *, at_token: bool = False, pad: int = 0, device: torch.device | str = "cpu"
) -> Batch:
    """Pads rows on the right to the longest. Padding is masked, and its logits are never computed.

    Args:
        at_token: for masked models, which predict a token at its own position: only the row's `first_scored` token is
            predicted. Otherwise the logits before a token predict it.
    """
    width = max(len(row.ids) for row in rows)
    input_ids = torch.full((len(rows), width), pad, dtype=torch.long)
    attention_mask = torch.zeros((len(rows), width), dtype=torch.long)
    positions: list[int] = []
    targets: list[int] = []
    owners: list[int] = []
    for number, row in enumerate(rows):
        input_ids[number, : len(row.ids)] = torch.tensor(row.ids)
        attention_mask[number, : len(row.ids)] = 1
        places = [row.first_scored] if at_token else range(row.first_scored, len(row.ids))
        positions.extend(number * width + place - (0 if at_token else 1) for place in places)
        targets.extend(row.ids[place] for place in places)
        owners.extend([number] * len(places))
    index = [torch.tensor(column, dtype=torch.long).to(device) for column in (positions, targets, owners)]
    return Batch(input_ids.to(device), attention_mask.to(device), index[0], index[1], index[2], rows=len(rows))


def scored_places(batch: Batch, rows: Sequence[TokenRow]) -> Tensor:
    """[rows, width], true at the scored tokens of each row: from its `first_scored` to its end.

    Args:
        batch: `collate(rows)`.
    """
    places = torch.arange(batch.input_ids.shape[1], device=batch.input_ids.device)
    begins = torch.tensor([row.first_scored for row in rows], device=batch.input_ids.device)
    return batch.attention_mask.bool() & (places >= begins[:, None])
