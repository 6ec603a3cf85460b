"""The batches of `BiasUnlearnTrainer`: rows with a role, their collator, and the step's sentences again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from biasunlearn.errors import RequestError
from biasunlearn.models.batches import TokenRow
from biasunlearn.models.packed_forward import RowCache
from biasunlearn.unlearn.contexts import aligned
from biasunlearn.unlearn.sampler import BatchSampler, StepBatch

ROLES = ("forget", "retain", "unrelated", "context")
"""What the numbers 0, 1, 2 and 3 in the column `role` mean."""

COLUMNS = ("input_ids", "first_target", "role")
"""Columns that a row must have."""

Shares = tuple[float, float, float, float]
"""Of each role, the part of its items in the whole optimizer step that a batch has; 1 without accumulation."""


class StepDataset(IterableDataset[list[dict[str, Any]]]):
    """The batches of all steps, without end. Each is a list of rows, and a step consists of `parts` of them.

    The step is drawn when its first batch is requested, with the swap weights of the last evaluation. Every process
    draws the whole step and has every n-th sentence of it.
    """

    def __init__(
        self, sampler: BatchSampler, cache: RowCache, swap_weights: Callable[[], Mapping[str, float]], *,
        parts: int, kl_by_token: bool,
    ):  # fmt: skip
        """`kl_by_token`: the KL term is a mean over tokens, otherwise over sentences."""
        self._sampler = sampler
        self._cache = cache
        self._swap_weights = swap_weights
        self._parts = parts
        self._kl_by_token = kl_by_token

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        while True:
            whole = self._sampler.next(self._swap_weights())
            for first in range(self._parts):
                part = StepBatch(*(getattr(whole, field.name)[first :: self._parts] for field in fields(whole)))
                yield self._rows(part.share(), self._shares(part, whole))

    def _shares(self, part: StepBatch, whole: StepBatch) -> Shares:
        sizes = [
            (len(one.forget), len(one.retain), self._kl_items(one), self._comparable(one)) for one in (part, whole)
        ]
        forget, retain, unrelated, context = (mine / max(1, of) for mine, of in zip(*sizes, strict=True))
        return forget, retain, unrelated, context

    def _comparable(self, batch: StepBatch) -> int:
        """Contexts that have an invariance loss: their members have tokens in common."""
        return sum(bool(aligned(tuple(self._cache.rows(context)))) for context in batch.contexts)

    def _kl_items(self, batch: StepBatch) -> int:
        if not self._kl_by_token:
            return len(batch.unrelated)
        return sum(row.scored for row in self._cache.rows(batch.unrelated))

    def _rows(self, batch: StepBatch, shares: Shares) -> list[dict[str, Any]]:
        found = []
        weights = (batch.forget_weights, batch.retain_weights, (1.0,) * len(batch.unrelated))
        for role, passages in enumerate((batch.forget, batch.retain, batch.unrelated)):
            rows = zip(self._cache.rows(passages), weights[role], strict=True)
            found += [
                {
                    "input_ids": list(row.ids), "first_target": row.first_scored, "role": role,
                    "pair": -1 if ROLES[role] == "unrelated" else number, "weight": weight, "share": shares[role],
                }
                for number, (row, weight) in enumerate(rows)
            ]  # fmt: skip
        for number, context in enumerate(batch.contexts):
            found += [
                {"input_ids": list(row.ids), "first_target": row.first_scored, "role": 3, "pair": number,
                 "share": shares[3]}
                for row in self._cache.rows(context)
            ]  # fmt: skip
        return found


@dataclass
class RoleCollator:
    """Rows of all roles -> one padded batch.

    A row has the columns `input_ids`, `first_target` (place of the first token of y) and `role` (0 forget, 1 retain,
    2 unrelated, 3 context). It may have `pair` (number of its pair or context in the batch, -1 for none), `weight`
    (absolute swap weight of its bias type, default 1) and `share` (part of the items of its role in the whole optimizer
    step, default 1).

    The batch has `input_ids`, `attention_mask`, `target_mask` (1 for the tokens of y) [rows, width], and `role`,
    `pair`, `weight` and `share` [rows]. Padding is on the side that the tokenizer has; it changes no loss.
    """

    tokenizer: Any

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Raises RequestError for a row without a column, with another role, or without a token of y."""
        for number, row in enumerate(rows, 1):
            _check_row(number, row)
        width = max(len(row["input_ids"]) for row in rows)
        left = getattr(self.tokenizer, "padding_side", "right") == "left"
        pad = getattr(self.tokenizer, "pad_token_id", None) or 0
        batch = {name: torch.zeros(len(rows), width, dtype=torch.long) for name in ("attention_mask", "target_mask")}
        ids = torch.full((len(rows), width), pad, dtype=torch.long)
        for number, row in enumerate(rows):
            length = len(row["input_ids"])
            begin = width - length if left else 0
            ids[number, begin : begin + length] = torch.tensor(row["input_ids"])
            batch["attention_mask"][number, begin : begin + length] = 1
            batch["target_mask"][number, begin + row["first_target"] : begin + length] = 1
        return {
            "input_ids": ids, **batch,
            "role": torch.tensor([row["role"] for row in rows]),
            "pair": torch.tensor([row.get("pair", -1) for row in rows]),
            "weight": torch.tensor([float(row.get("weight", 1.0)) for row in rows]),
            "share": torch.tensor([float(row.get("share", 1.0)) for row in rows]),
        }  # fmt: skip


def _check_row(number: int, row: Mapping[str, Any]) -> None:
    for name in COLUMNS:
        if name not in row:
            raise RequestError(f"RoleCollator: row {number} has no column {name!r}; it needs {', '.join(COLUMNS)}")
    if row["role"] not in range(len(ROLES)):
        known = ", ".join(f"{number} {name}" for number, name in enumerate(ROLES))
        raise RequestError(f"RoleCollator: row {number} has role {row['role']!r}; must be one of {known}")
    if not 1 <= row["first_target"] < len(row["input_ids"]):
        raise RequestError(
            f"RoleCollator: row {number}: first_target {row['first_target']!r} of {len(row['input_ids'])} tokens; must "
            "be at least 1 and leave a token to train on"
        )


def step_batch(inputs: Mapping[str, Tensor], *, paired: bool) -> tuple[StepBatch, Shares]:
    """The sentences of a collated batch by role, as tokens, and their shares of the step.

    Args:
        paired: the i-th forget and the i-th retain sentence must belong together.
    Raises:
        RequestError: the batch was not made by `RoleCollator` or one like it; its pairs are not complete.
    """
    needed = ("input_ids", "attention_mask", "target_mask", "role", "pair", "weight", "share")
    if missing := [name for name in needed if name not in inputs]:
        raise RequestError(f"data_collator: the batch has no {missing[0]!r}; use RoleCollator, or return what it does")
    columns = {name: inputs[name].tolist() for name in needed}
    rows = [
        TokenRow(tuple(token for token, is_real in zip(ids, real, strict=True) if is_real), sum(real) - sum(target))
        for ids, real, target in zip(*(columns[name] for name in needed[:3]), strict=True)
    ]
    places = [[i for i, found in enumerate(columns["role"]) if found == role] for role in range(len(ROLES))]
    forget, retain, unrelated = (tuple(rows[i] for i in chosen) for chosen in places[:3])
    numbers = dict.fromkeys(columns["pair"][i] for i in places[3])
    contexts = tuple(tuple(rows[i] for i in places[3] if columns["pair"][i] == number) for number in numbers)
    pairs = [[columns["pair"][i] for i in places[role]] for role in (0, 1)]
    if paired and pairs[0] != pairs[1]:
        raise RequestError("data_collator: this method compares the sentences of a pair, and a pair is not complete")
    weights = [tuple(columns["weight"][i] for i in places[role]) for role in (0, 1)]
    shares = [columns["share"][chosen[0]] if chosen else 1.0 for chosen in places]
    batch = StepBatch(forget, retain, unrelated, weights[0], weights[1], contexts)
    return batch, (shares[0], shares[1], shares[2], shares[3])
