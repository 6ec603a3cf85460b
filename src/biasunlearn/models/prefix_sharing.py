"""Shared beginnings of rows are computed once: the shared tokens, then the rest of each row as a separate branch.

The three sentences of a StereoSet triplet share everything before the BLANK. In one group with a tree mask that part
and its logits are computed once; every token has the position and the context that it has in its row alone. Several
groups are packed into one line, and none of them sees another: hardly any of a batch is padding. The beginning that all
rows share (the start token, a chat template) is computed once a line: in sentences of ten tokens that saves a tenth.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from biasunlearn.models.batches import Batch, TokenRow
from biasunlearn.models.block_attention import block_mask, whole_blocks

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

LEAST_SHARED = 3
"""Tokens that rows must share, including the start token: sharing fewer costs more than it saves."""

MOST_BRANCHES = 8
"""Rows in a group, so that one mask stays small."""

LINE = 64
"""Tokens of a line that groups are packed into, besides its shared beginning. Attention covers a whole line, so that it
should be short."""

LONGEST_LINE = 2048
"""Tokens of the longest group. The mask of a line grows with the square of its length: for a sentence of 50,000 tokens
to 10 GB, and to more than twice that while it is made."""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows, by number, whose first `shared` tokens are equal; 0 for a single row."""

    rows: tuple[int, ...]
    shared: int
    length: int
    """Tokens of the group: the shared ones, then those of each row."""


def alone(number: int, row: TokenRow) -> Group:
    """A group of one row."""
    return Group((number,), 0, len(row.ids))


def groups(rows: Sequence[TokenRow]) -> list[Group]:
    """Groups of rows that share enough tokens. Sorted by their tokens, rows with a shared beginning are neighbours.

    A row joins the previous group while that saves more tokens: k rows that share s tokens save s (k - 1). Only a row
    alone is longer than `LONGEST_LINE`.
    """
    found: list[tuple[list[int], int]] = []
    for number in sorted(range(len(rows)), key=lambda i: rows[i].ids):
        if found:
            members, shared = found[-1]
            common = _common(rows[members[-1]].ids, rows[number].ids)
            common = common if len(members) == 1 else min(common, shared)
            pays = common * len(members) > shared * (len(members) - 1)
            length = sum(len(rows[i].ids) for i in (*members, number)) - common * len(members)
            if common >= LEAST_SHARED and pays and len(members) < MOST_BRANCHES and length <= LONGEST_LINE:
                found[-1] = [*members, number], common
                continue
        found.append(([number], 0))
    return [
        Group(tuple(members), shared, shared + sum(len(rows[i].ids) - shared for i in members))
        for members, shared in found
    ]


def opening(rows: Sequence[TokenRow]) -> int:
    """Number of tokens that all rows begin with."""
    return min((_common(rows[0].ids, row.ids) for row in rows), default=0)


def packed(chosen: Sequence[Group], length: int = LINE, *, shared: int = 0) -> list[list[Group]]:
    """Packs groups into as few lines of about `length` tokens as possible, each as short as their number allows.

    A longer group sets the length.

    Args:
        shared: tokens of the beginning that all rows share, which are not counted.
    """
    lengths = [group.length - shared for group in chosen]
    number = max(1, -(-sum(lengths) // length))
    width = max(-(-sum(lengths) // number), *lengths)
    while len(lines := _first_fit(chosen, width + shared, shared)) > number:
        width += 1
    return lines


def _first_fit(chosen: Sequence[Group], width: int, shared: int) -> list[list[Group]]:
    """First-fit decreasing: the longest group first, each into the first line that has room for it."""
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


def line_width(lines: Sequence[Sequence[Group]], shared: int) -> int:
    """Tokens of the longest line, with the beginning that all rows share."""
    return shared + max(sum(group.length - shared for group in line) for line in lines)


def collate_groups(
    rows: Sequence[TokenRow],
    lines: Sequence[Sequence[Group]],
    *,
    dtype: torch.dtype,
    shared: int = 0,
    pad: int = 0,
    blocks: bool = False,
    device: torch.device | str = "cpu",
) -> Batch:
    """One padded line per list of groups, with positions, and a mask [lines, 1, width, width] to add to the attention.

    `owners` numbers the rows of the groups, in order. A token that several rows share is predicted once: `reads` says
    which prediction belongs to each scored token.

    Args:
        shared: tokens of the beginning that all rows share, which is put at the beginning of each line.
        blocks: whether the mask is a BlockMask (block_attention.py), for which lines are padded to whole blocks.
    """
    width = line_width(lines, shared)
    layout = _Layout(len(lines), whole_blocks(width) if blocks else width, pad)
    for number, line in enumerate(lines):
        layout.write(number, 0, rows[line[0].rows[0]].ids[:shared], 0)
        layout.tree[number, :shared] = 0
        begin = shared
        for root, group in enumerate(line, 1):
            end = layout.add_group(number, begin, group, rows, shared)
            layout.tree[number, begin:end] = root
            begin = end
    return layout.batch(dtype, device, blocks=blocks)


class _Layout:
    """Packed lines while they are filled."""

    def __init__(self, lines: int, width: int, pad: int):
        self.width = width
        self.input_ids = torch.full((lines, width), pad, dtype=torch.long)
        self.places = torch.zeros((lines, width), dtype=torch.long)
        self.tree = torch.full(
            (lines, width), -1, dtype=torch.long
        )  # number of the group; 0: shared by all; -1: padding
        self.branch = torch.zeros((lines, width), dtype=torch.long)  # 0: shared in the group; from 1: number of the row
        self.predictions: dict[tuple[int, int], int] = {}
        self.reads: list[int] = []
        self.owners: list[int] = []
        self.rows = 0

    def write(self, line: int, begin: int, ids: Sequence[int], first: int) -> int:
        """Puts tokens into a line, the first of them at position `first` of its row. Returns where they end."""
        end = begin + len(ids)
        self.input_ids[line, begin:end] = torch.tensor(ids, dtype=torch.long)
        self.places[line, begin:end] = torch.arange(first, first + len(ids))
        return end

    def add_group(self, line: int, begin: int, group: Group, rows: Sequence[TokenRow], shared: int) -> int:
        """Puts a group into a line: what its rows share, then the rest of each row. Returns where it ends."""
        common = max(group.shared, shared)
        at = self.write(line, begin, rows[group.rows[0]].ids[shared:common], shared)
        stem = [*range(shared), *range(begin, at)]
        for order, member in enumerate(group.rows, 1):
            row = rows[member]
            end = self.write(line, at, row.ids[common:], common)
            self.branch[line, at:end] = order
            columns = [*stem, *range(at, end)]  # of each token of the row in the line
            for place in range(row.first_scored, len(row.ids)):
                prediction = (line * self.width + columns[place - 1], row.ids[place])
                self.reads.append(self.predictions.setdefault(prediction, len(self.predictions)))
                self.owners.append(self.rows)
            at, self.rows = end, self.rows + 1
        return at

    def batch(self, dtype: torch.dtype, device: torch.device | str, *, blocks: bool) -> Batch:
        """The filled lines."""
        positions, targets = zip(*self.predictions, strict=True)
        columns = (positions, targets, self.owners, self.reads)
        index = [torch.tensor(column, dtype=torch.long).to(device) for column in columns]
        if blocks:
            mask = torch.zeros(len(self.tree), 1, 0, 0)  # whoever reads it finds that the shapes do not fit
        else:
            mask = _forest_mask(self.tree, self.branch, dtype)
        in_blocks = _forest_blocks(self.tree.to(device), self.branch.to(device)) if blocks else None
        return Batch(
            self.input_ids.to(device), mask.to(device), index[0], index[1], index[2],
            rows=self.rows, position_ids=self.places.to(device), reads=index[3], block_mask=in_blocks,
        )  # fmt: skip


_Token = tuple[Tensor, Tensor, Tensor]
"""The tree, the branch and the place in its line of a token, or of several."""


def _sees(token: _Token, other: _Token) -> Tensor:
    """Whether a token attends to another: an earlier one of what all rows share, of what its group shares, or of its
    branch. Padding attends to itself, so that its attention is a number; no other token attends to it.
    """
    (tree, branch, place), (other_tree, other_branch, other_place) = token, other
    same_branch = (other_branch == 0) | (other_branch == branch)
    same_tree = (other_tree == tree) | (other_tree == 0)
    seen = same_tree & same_branch & (other_tree >= 0)
    return seen & (other_place <= place) | (other_place == place)


def _line_sees(tree: Tensor, branch: Tensor, part: slice) -> Tensor:
    """Which tokens of its line each token of a part attends to: [lines, tokens of the part, width]."""
    places = torch.arange(tree.shape[1], device=tree.device)
    tokens = tree[:, part, None], branch[:, part, None], places[part, None]
    return _sees(tokens, (tree[:, None], branch[:, None], places))


def _forest_mask(tree: Tensor, branch: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a token attends, elsewhere the lowest number: [lines, 1, width, width]."""
    seen = _line_sees(tree, branch, slice(None))
    return torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)[:, None]


def _forest_blocks(tree: Tensor, branch: Tensor) -> "BlockMask":
    """The same in blocks, on the device of the arguments [lines, width]."""

    def one_sees(line: Tensor, _head: Tensor, place: Tensor, other: Tensor) -> Tensor:
        return _sees((tree[line, place], branch[line, place], place), (tree[line, other], branch[line, other], other))

    return block_mask(lambda part: _line_sees(tree, branch, part), one_sees, (tree.shape[0], tree.shape[1]))


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
