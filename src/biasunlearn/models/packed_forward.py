"""One forward pass over the sentences of a step: without padding, and with shared beginnings computed once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from biasunlearn.data.records import Passage
from biasunlearn.models.batches import Batch, TokenRow, collate, encode
from biasunlearn.models.feature_checks import Abilities, abilities, made_up
from biasunlearn.models.forward import logits_at, states_at, unwrapped
from biasunlearn.models.lm_head import OutputLayer, PairLoss, TargetLoss
from biasunlearn.models.logprobs import sum_by_row
from biasunlearn.models.masked import MaskedTokens, is_masked, longest_row, masked_copies
from biasunlearn.models.prefix_sharing import collate_groups, groups, opening, packed

WIDTHS = 4
"""Forward passes that the sentences are divided into, by length, where the model takes no packed lines."""


@dataclass(frozen=True, slots=True)
class Read:
    """The output of a forward pass over passages: the state that predicts each supervised token, and the token's row.
    """

    states: Tensor  # [tokens, hidden]; logits where the output layer cannot be run by itself
    targets: Tensor  # [tokens]
    owners: Tensor  # [tokens], ascending
    rows: int
    output: OutputLayer
    tokens_read: int = 0
    """Tokens that the model read, without padding, and with what rows share counted in each of them."""

    @property
    def device(self) -> torch.device:
        return self.states.device

    @property
    def logits(self) -> Tensor:
        """[tokens, vocabulary], all at once: for callers that need more than `log_probs` and `compared` give."""
        return self.output.logits(self.states)

    @property
    def log_probs(self) -> Tensor:
        """log p(y | x) of each passage: [rows]."""
        return sum_by_row(self.token_log_probs, self.owners, self.rows)

    @property
    def token_log_probs(self) -> Tensor:
        """log p of each supervised token: [tokens]."""
        return self.output.log_probs(self.states, self.targets)

    def token_losses(self, loss: TargetLoss, reference: Tensor | None = None) -> Tensor:
        """A loss of the logits at each supervised token: [tokens].

        Args:
            reference: states of a reference at the same tokens, of which the loss gets the logits.
        """
        return self.output.token_losses(self.states, self.targets, loss, reference)

    def sums(self, values: Tensor) -> Tensor:
        """Sums over the supervised tokens of each passage, [rows], of values [tokens]."""
        return sum_by_row(values, self.owners, self.rows)

    def compared(self, reference: Tensor, loss: PairLoss) -> Tensor:
        """A loss between these logits and those of the reference's states at the same tokens: [tokens]."""
        return self.output.compared(self.states, reference, loss)

    @property
    def tokens(self) -> Tensor:
        """Supervised tokens of each passage: [rows]."""
        return sum_by_row(torch.ones_like(self.targets, dtype=torch.float32), self.owners, self.rows)

    def part(self, first: int, last: int) -> "Read":
        """The passages first..last-1, without copying a state: the rows are in order."""
        begin, end = torch.searchsorted(self.owners, torch.tensor([first, last], device=self.device)).tolist()
        kept = slice(begin, end)
        return Read(self.states[kept], self.targets[kept], self.owners[kept] - first, last - first, self.output)


def read(model: Any, tokenizer: Any, passages: Sequence[Passage]) -> Read:
    """One forward pass over all passages. Raises RequestError for a passage that is too long or has no token."""
    return read_rows(model, RowCache(tokenizer, model).rows(passages))


class RowCache:
    """Token rows of passages that are read many times, as in training: each passage is tokenised once.

    Args:
        masked_tokens: how the supervised tokens are hidden from a masked model.
    """

    def __init__(self, tokenizer: Any, model: Any, masked_tokens: MaskedTokens = "in_turn"):
        self._tokenizer = tokenizer
        self._masked = is_masked(model)
        self._masked_tokens: MaskedTokens = masked_tokens
        self._max_tokens = longest_row(model, tokenizer, masked=self._masked)
        self._rows: dict[Passage, TokenRow] = {}

    def seen(self, passages: Sequence[Passage | TokenRow]) -> list[Passage | TokenRow]:
        """The passages as the model sees them: a causal model does not see what follows the text."""
        if self._masked:
            return list(passages)
        return [Passage(p.prefix, p.text) if isinstance(p, Passage) and p.suffix else p for p in passages]

    def rows(self, passages: Sequence[Passage | TokenRow]) -> list[TokenRow]:
        """As `encode`, in the order given. What is tokenised already is returned as it is."""
        seen = self.seen(passages)
        new = list(dict.fromkeys(one for one in seen if isinstance(one, Passage) and one not in self._rows))
        rows = encode(self._tokenizer, new, max_tokens=self._max_tokens, suffixes=self._masked)
        if self._masked:
            hidden = masked_copies(self._tokenizer, rows, self._masked_tokens)
            rows = [replace(row, copies=copies) for row, copies in zip(rows, hidden, strict=True)]
        self._rows |= zip(new, rows, strict=True)
        return [self._rows[one] if isinstance(one, Passage) else one for one in seen]


def read_rows(model: Any, rows: Sequence[TokenRow]) -> Read:
    """One forward pass over all rows. Equal rows and shared beginnings are computed once.

    A process without rows still runs a made-up one and discards it: in a split model the others wait for it.
    """
    unique = list(dict.fromkeys(rows)) or [made_up(2)]
    able = abilities(model)
    output = able.output(unwrapped(model))
    if unique[0].copies:
        places, states, targets = _masked_forwards(model, unique, output)
    else:
        places, states, targets = _forwards(model, unique, able, output)
    number = {row: place for place, row in enumerate(unique)}
    where = [places[number[row]] for row in rows]
    index = torch.cat(where) if where else torch.zeros(0, dtype=torch.long, device=states.device)
    owners = torch.repeat_interleave(torch.tensor([len(found) for found in where], dtype=torch.long)).to(states.device)
    tokens = sum(len(one.ids) for row in unique for one in row.copies or (row,)) if rows else 0
    return Read(states.index_select(0, index), targets[index], owners, len(rows), output, tokens)


def _forwards(
    model: Any, rows: Sequence[TokenRow], able: Abilities, output: OutputLayer
) -> tuple[list[Tensor], Tensor, Tensor]:
    """The positions of each row's tokens among all predictions, and the states and targets of the predictions."""
    device = unwrapped(model).device
    if able.packs and max(len(row.ids) for row in rows) <= able.window:
        shared = opening(rows)
        lines = packed(groups(rows), shared=shared)
        members = [[number for line in lines for group in line for number in group.rows]]
        batches = [collate_groups(rows, lines, dtype=unwrapped(model).dtype, shared=shared, device=device)]
    else:
        order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
        size = -(-len(rows) // WIDTHS)
        members = [order[first : first + size] for first in range(0, len(order), size)]
        batches = [collate([rows[i] for i in chosen], device=device) for chosen in members]
    places: list[Tensor] = [torch.zeros(0)] * len(rows)
    states, begin = [], 0
    for chosen, batch in zip(members, batches, strict=True):
        states.append(_states(model, batch, output))
        reads = torch.arange(len(batch.targets), device=device) if batch.reads is None else batch.reads
        for member, found in zip(chosen, (reads + begin).split([rows[i].scored for i in chosen]), strict=True):
            places[member] = found
        begin += len(batch.targets)
    return places, torch.cat(states), torch.cat([batch.targets for batch in batches])


def _masked_forwards(
    model: Any, rows: Sequence[TokenRow], output: OutputLayer
) -> tuple[list[Tensor], Tensor, Tensor]:
    """The same of a masked model. A copy that several rows have is read once: "a [MASK] nurse" of both sentences."""
    device = unwrapped(model).device
    copies = sorted(dict.fromkeys(copy for row in rows for copy in row.copies), key=lambda copy: len(copy.ids))
    number = {copy: place for place, copy in enumerate(copies)}
    size = -(-len(copies) // WIDTHS)
    batches = [
        collate(copies[first : first + size], at_token=True, device=device) for first in range(0, len(copies), size)
    ]
    states = torch.cat([_states(model, batch, output) for batch in batches])
    predictions: dict[tuple[int, int], int] = {}  # (copy, target) -> its number
    places = []
    for row in rows:
        tokens = zip(row.copies, row.ids[row.first_scored :], strict=True)
        found = [predictions.setdefault((number[copy], token), len(predictions)) for copy, token in tokens]
        places.append(torch.tensor(found, dtype=torch.long, device=device))
    read_at, targets = (torch.tensor(column, device=device) for column in zip(*predictions, strict=True))
    return places, states.index_select(0, read_at), targets


def _states(model: Any, batch: Batch, output: OutputLayer) -> Tensor:
    return logits_at(model, batch) if output.layer is None else states_at(model, batch)
