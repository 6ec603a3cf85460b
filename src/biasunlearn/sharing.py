"""Rows that begin alike are read once: the shared tokens, then each row's own as a branch that sees no other branch.

The three sentences of a StereoSet cluster share all that stands before the BLANK. In one group with a tree mask that
part is computed once, and so are its logits; every token has the position and the context that it has on its own.
Several groups stand in one line, none of which sees another: so hardly anything of a batch is padding.
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

LINE = 64
"""Tokens of a line that groups are packed into: attention looks at a whole line, so that it should be short."""


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


def packed(chosen: Sequence[Group], length: int = LINE) -> list[list[Group]]:
    """Groups -> as few lines of about `length` tokens as hold them, and those as short as that number allows.

    A group that is longer than that sets the length.
    """
    total = sum(group.length for group in chosen)
    number = -(-total // length)
    width = max(-(-total // number), max(group.length for group in chosen))
    while len(lines := _first_fit(chosen, width)) > number:
        width += 1
    return lines


def _first_fit(chosen: Sequence[Group], width: int) -> list[list[Group]]:
    """The longest group first, each into the first line that has room for it."""
    lines: list[list[Group]] = []
    room: list[int] = []
    for group in sorted(chosen, key=lambda group: group.length, reverse=True):
        place = next((i for i, left in enumerate(room) if left >= group.length), None)
        if place is None:
            lines.append([])
            room.append(width)
            place = len(room) - 1
        lines[place].append(group)
        room[place] -= group.length
    return lines


def collate_groups(
    rows: Sequence[Row],
    lines: Sequence[Sequence[Group]],
    *,
    dtype: torch.dtype,
    pad: int = 0,
    device: torch.device | str = "cpu",
) -> Batch:
    """One padded line per list of groups, with a mask [lines, 1, width, width] added to the attention, and positions.

    `owners` counts the rows of the groups, in order. A token that several rows share is predicted once: `reads`
    says which of the predictions each of them takes.
    """
    width = max(sum(group.length for group in line) for line in lines)
    input_ids = torch.full((len(lines), width), pad, dtype=torch.long)
    places = torch.zeros((len(lines), width), dtype=torch.long)
    tree = torch.full((len(lines), width), -1, dtype=torch.long)  # which group of the line; -1: padding
    branch = torch.zeros((len(lines), width), dtype=torch.long)  # 0: shared, from 1: a row's own
    predictions: dict[tuple[int, int], int] = {}
    reads: list[int] = []
    owners: list[int] = []
    owner = 0
    for number, line in enumerate(lines):
        begin = 0
        for root, group in enumerate(line):
            at = begin + group.shared
            input_ids[number, begin:at] = torch.tensor(rows[group.rows[0]].ids[: group.shared], dtype=torch.long)
            places[number, begin:at] = torch.arange(group.shared)
            for order, member in enumerate(group.rows, 1):
                ids = rows[member].ids
                end = at + len(ids) - group.shared
                input_ids[number, at:end] = torch.tensor(ids[group.shared :], dtype=torch.long)
                places[number, at:end] = torch.arange(group.shared, len(ids))
                branch[number, at:end] = order
                stands = [*range(begin, begin + group.shared), *range(at, end)]  # each token of the row in the line
                for place in range(rows[member].first_scored, len(ids)):
                    asked = (number * width + stands[place - 1], ids[place])
                    reads.append(predictions.setdefault(asked, len(predictions)))
                    owners.append(owner)
                at, owner = end, owner + 1
            tree[number, begin:at] = root
            begin = at
    positions, targets = zip(*predictions, strict=True)
    index = [torch.tensor(column, dtype=torch.long).to(device) for column in (positions, targets, owners, reads)]
    return Batch(
        input_ids.to(device), _forest_mask(tree, branch, dtype).to(device), index[0], index[1], index[2],
        rows=owner, position_ids=places.to(device), reads=index[3],
    )  # fmt: skip


def _forest_mask(tree: Tensor, branch: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a token may look: back, into the shared part of its group or its own branch; elsewhere the lowest number.

    Padding sees itself, so that its attention is a number, and is seen by nobody.
    """
    width = tree.shape[1]
    same_branch = (branch[:, None, :] == 0) | (branch[:, None, :] == branch[:, :, None])
    seen = (tree[:, None, :] == tree[:, :, None]) & same_branch & (tree[:, None, :] >= 0)
    seen = seen & torch.ones(width, width, dtype=torch.bool).tril() | torch.eye(width, dtype=torch.bool)
    return torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)[:, None]


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
