"""One reading of a step's sentences: logits at every supervised position, in the order of the sentences."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .batches import collate, encode
from .losses import sum_by_row, token_log_probs
from .models import bare, logits_at, max_tokens
from .records import Passage

WIDTHS = 4
"""Forwards that one reading of a step's sentences is cut into, by length."""


@dataclass(frozen=True, slots=True)
class Read:
    """Passages as the model sees them: logits at every supervised position, and which row owns it."""

    logits: Tensor  # [tokens, vocabulary]
    targets: Tensor  # [tokens]
    owners: Tensor  # [tokens], ascending
    rows: int

    @property
    def log_probs(self) -> Tensor:
        """log p(y | x) of each passage: [rows]."""
        return sum_by_row(token_log_probs(self.logits, self.targets), self.owners, self.rows)

    @property
    def tokens(self) -> Tensor:
        """Supervised tokens of each passage: [rows]."""
        return sum_by_row(torch.ones_like(self.targets, dtype=torch.float32), self.owners, self.rows)

    def part(self, first: int, last: int) -> "Read":
        """The passages first..last-1, without copying a logit: the rows stand in order."""
        begin, end = torch.searchsorted(self.owners, torch.tensor([first, last], device=self.owners.device)).tolist()
        return Read(self.logits[begin:end], self.targets[begin:end], self.owners[begin:end] - first, last - first)


def read(model: Any, tokenizer: Any, passages: Sequence[Passage]) -> Read:
    """One reading of all passages, sorted by length into a few forwards so that little of it is padding."""
    rows = encode(tokenizer, passages, max_tokens=max_tokens(bare(model)))
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
    size = max(1, -(-len(rows) // WIDTHS))
    logits, targets, owners = [], [], []
    for chosen in (order[first : first + size] for first in range(0, len(order), size)):
        batch = collate([rows[i] for i in chosen], device=bare(model).device)
        logits.append(logits_at(model, batch))
        targets.append(batch.targets)
        owners.append(torch.tensor(chosen, device=bare(model).device)[batch.owners])
    owner, index = torch.cat(owners).sort(stable=True)
    return Read(torch.cat(logits)[index], torch.cat(targets)[index], owner, len(rows))
