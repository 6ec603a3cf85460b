"""Rows that begin alike are read once: the shared tokens, then each row's own as a branch that sees no other branch.

The three sentences of a StereoSet cluster share all that stands before the BLANK. In one row with a tree mask that
part is computed once, and so are its logits; every token has the position and the context that it has on its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .batches import Batch, Row

LEAST_SHARED = 3
"""Tokens that rows must share, the start token among them: fewer do not pay for the mask."""

MOST_BRANCHES = 8
"""Rows in a group, so that one mask stays small."""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows, by number, whose first `shared` tokens are the same; of one row alone nothing is shared."""

    rows: tuple[int, ...]
    shared: int
    length: int
    """Tokens of the group: the shared ones, then each row's own."""


def alone(number: int, row: Row) -> Group:
    """One row as a group of its own."""
    return Group((number,), 0, len(row.ids))


def groups(rows: Sequence[Row]) -> list[Group]:
    """Puts rows that share enough into groups. In alphabetical order the rows that begin alike are neighbours.

    A row joins the group before it while the tokens saved grow: k rows that share s tokens save s (k - 1).
    """
    found: list[tuple[list[int], int]] = []
    for number in sorted(range(len(rows)), key=lambda i: rows[i].ids):
        if found:
            members, shared = found[-1]
            common = _common(rows[members[-1]].ids, rows[number].ids)
            common = common if len(members) == 1 else min(common, shared)
            pays = common * len(members) > shared * (len(members) - 1)
            if common >= LEAST_SHARED and pays and len(members) < MOST_BRANCHES:
                found[-1] = [*members, number], common
                continue
        found.append(([number], 0))
    return [
        Group(tuple(members), shared, shared + sum(len(rows[i].ids) - shared for i in members))
        for members, shared in found
    ]


def collate_groups(
    rows: Sequence[Row],
    chosen: Sequence[Group],
    *,
    dtype: torch.dtype,
    pad: int = 0,
    device: torch.device | str = "cpu",
) -> Batch:
    """One padded row per group, with a tree mask [groups, 1, width, width] added to the attention and the positions.

    `owners` counts the rows of the groups, in order. A token that several rows share is predicted once: `reads`
    says which of the predictions each of them takes.
    """
    width = max(group.length for group in chosen)
    input_ids = torch.full((len(chosen), width), pad, dtype=torch.long)
    places = torch.zeros((len(chosen), width), dtype=torch.long)
    branch = torch.full((len(chosen), width), -1, dtype=torch.long)  # -1: padding, 0: shared, from 1: a row's own
    predictions: dict[tuple[int, int], int] = {}
    reads: list[int] = []
    owners: list[int] = []
    owner = 0
    for line, group in enumerate(chosen):
        at = group.shared
        opening = rows[group.rows[0]].ids[:at]
        input_ids[line, :at] = torch.tensor(opening)
        places[line, :at] = torch.arange(at)
        branch[line, :at] = 0
        for order, number in enumerate(group.rows, 1):
            ids, first = rows[number].ids, rows[number].first_scored
            end = at + len(ids) - group.shared
            input_ids[line, at:end] = torch.tensor(ids[group.shared :], dtype=torch.long)
            places[line, at:end] = torch.arange(group.shared, len(ids))
            branch[line, at:end] = order
            stands = [*range(group.shared), *range(at, end)]  # where each token of this row stands in the group
            for place in range(first, len(ids)):
                asked = (line * width + stands[place - 1], ids[place])
                reads.append(predictions.setdefault(asked, len(predictions)))
                owners.append(owner)
            at, owner = end, owner + 1
    positions, targets = zip(*predictions, strict=True)
    index = [torch.tensor(column, dtype=torch.long).to(device) for column in (positions, targets, owners, reads)]
    return Batch(
        input_ids.to(device), _tree_mask(branch, dtype).to(device), index[0], index[1], index[2],
        rows=owner, position_ids=places.to(device), reads=index[3],
    )  # fmt: skip


def _tree_mask(branch: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a token may look: back, into the shared part or its own branch; the lowest number elsewhere."""
    width = branch.shape[1]
    looked_at, looking = branch[:, None, :], branch[:, :, None]
    seen = ((looked_at == 0) | (looked_at == looking)) & (looked_at >= 0)
    seen = seen & torch.ones(width, width, dtype=torch.bool).tril() | torch.eye(width, dtype=torch.bool)
    return torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)[:, None]


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
