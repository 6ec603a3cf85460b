"""Rows that begin alike are read once: the shared tokens, then each row's own as a branch that sees no other branch.

The three sentences of a StereoSet cluster share all that stands before the BLANK. In one group with a tree mask that
part is computed once, and so are its logits; every token has the position and the context that it has on its own.
Several groups stand in one line, none of which sees another: so hardly anything of a batch is padding. What all rows
begin with (the start token, a chat template's opening) is read once a line: of sentences of ten tokens that is a tenth.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from biasunlearn.models.batches import Batch, Row

LEAST_SHARED = 3
"""Tokens that rows must share, the start token among them: fewer do not pay for the mask."""

MOST_BRANCHES = 8
"""Rows in a group, so that one mask stays small."""

LINE = 64
"""Tokens of a line that groups are packed into, besides its opening: attention looks at a whole line, so that it should
be short."""


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


def opening(rows: Sequence[Row]) -> int:
    """Tokens that all rows begin with."""
    return min((_common(rows[0].ids, row.ids) for row in rows), default=0)


def packed(chosen: Sequence[Group], length: int = LINE, *, shared: int = 0) -> list[list[Group]]:
    """Groups -> as few lines of about `length` tokens as hold them, and those as short as that number allows.

    A group that is longer than that sets the length. `shared`: the opening, which is not counted.
    """
    lengths = [group.length - shared for group in chosen]
    number = max(1, -(-sum(lengths) // length))
    width = max(-(-sum(lengths) // number), *lengths)
    while len(lines := _first_fit(chosen, width + shared, shared)) > number:
        width += 1
    return lines


def _first_fit(chosen: Sequence[Group], width: int, shared: int) -> list[list[Group]]:
    """The longest group first, each into the first line that has room for it."""
    lines: list[list[Group]] = []
    room: list[int] = []
    for group in sorted(chosen, key=lambda group: group.length, reverse=True):
        place = next((i for i, left in enumerate(room) if left >= group.length - shared), None)
        if place is None:
            lines.append([])
            room.append(width - shared)
            place = len(room) - 1
        lines[place].append(group)
        room[place] -= group.length - shared
    return lines


def collate_groups(
    rows: Sequence[Row],
    lines: Sequence[Sequence[Group]],
    *,
    dtype: torch.dtype,
    shared: int = 0,
    pad: int = 0,
    device: torch.device | str = "cpu",
) -> Batch:
    """One padded line per list of groups, with a mask [lines, 1, width, width] added to the attention, and positions.

    `owners` counts the rows of the groups, in order. A token that several rows share is predicted once: `reads`
    says which of the predictions each of them takes. `shared`: the opening of all rows, at the begin of each line.
    """
    width = shared + max(sum(group.length - shared for group in line) for line in lines)
    input_ids = torch.full((len(lines), width), pad, dtype=torch.long)
    places = torch.zeros((len(lines), width), dtype=torch.long)
    tree = torch.full((len(lines), width), -1, dtype=torch.long)  # which group; 0: the opening; -1: padding
    branch = torch.zeros((len(lines), width), dtype=torch.long)  # 0: shared, from 1: a row's own
    predictions: dict[tuple[int, int], int] = {}
    reads: list[int] = []
    owners: list[int] = []
    owner = 0
    for number, line in enumerate(lines):
        input_ids[number, :shared] = torch.tensor(rows[line[0].rows[0]].ids[:shared], dtype=torch.long)
        places[number, :shared] = torch.arange(shared)
        tree[number, :shared] = 0
        begin = shared
        for root, group in enumerate(line, 1):
            common = max(group.shared, shared)
            at = begin + common - shared
            input_ids[number, begin:at] = torch.tensor(rows[group.rows[0]].ids[shared:common], dtype=torch.long)
            places[number, begin:at] = torch.arange(shared, common)
            stem = [*range(shared), *range(begin, at)]
            for order, member in enumerate(group.rows, 1):
                ids = rows[member].ids
                end = at + len(ids) - common
                input_ids[number, at:end] = torch.tensor(ids[common:], dtype=torch.long)
                places[number, at:end] = torch.arange(common, len(ids))
                branch[number, at:end] = order
                stands = [*stem, *range(at, end)]  # each token of the row in the line
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
    """0 where a token may look: back, into the opening, the shared part of its group or its own branch.

    Elsewhere the lowest number. Padding sees itself, so that its attention is a number, and is seen by nobody.
    """
    width = tree.shape[1]
    same_branch = (branch[:, None, :] == 0) | (branch[:, None, :] == branch[:, :, None])
    same_tree = (tree[:, None, :] == tree[:, :, None]) | (tree[:, None, :] == 0)
    seen = same_tree & same_branch & (tree[:, None, :] >= 0)
    seen = seen & torch.ones(width, width, dtype=torch.bool).tril() | torch.eye(width, dtype=torch.bool)
    return torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)[:, None]


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
