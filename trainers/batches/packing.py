"""Batches: trees in one row without padding, or the plain way, answer by answer in padded rows.

Both say the same: which tokens go through the model, and where what is read lies. M answer tokens are read, of A
answers, of E examples. ``targets[m]`` is the m-th token, read after the token at ``places[m]``; it belongs to answer
``answer[m]``; answer a belongs to example ``example[a]`` and ends at ``ends[a]``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor

from critic.chats.tokens import SegmentSpan, TokenTree, pack


@dataclass(frozen=True, eq=False)
class Batch:
    """What is read of a batch's tokens: see the module's docstring."""

    ids: Tensor
    positions: Tensor
    places: Tensor
    targets: Tensor
    answer: Tensor
    example: Tensor
    ends: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Return the batch with its tensors on ``device``."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        moved = {k: v.to(device, non_blocking=non_blocking) for k, v in values.items() if isinstance(v, Tensor)}
        return replace(self, **moved)

    @property
    def answers(self) -> int:
        """A, the number of answers."""
        return len(self.ends)

    @property
    def lengths(self) -> Tensor:
        """How many tokens each answer has: ``[A]``."""
        return torch.bincount(self.answer, minlength=self.answers)

    def sums(self, values_M: Tensor) -> Tensor:
        """Add up the values of each answer's tokens: ``[A]``."""
        return values_M.new_zeros(self.answers).index_add(0, self.answer, values_M)


@dataclass(frozen=True, eq=False)
class Packed(Batch):
    """All trees in one row: ``ids [N]``; places count along it. ``spans`` say who sees whom."""

    spans: tuple[SegmentSpan, ...]


@dataclass(frozen=True, eq=False)
class Padded(Batch):
    """A row an answer, its prompt before it, filled up on the right: ``ids [A, T]``; places count along all rows."""

    visible: Tensor
    """1 where a token stands, 0 where a row is filled up: ``[A, T]``."""
    apart: bool = False
    """Whether each row goes through the model by itself: for models whose rows change each other."""


def packed(trees: Sequence[TokenTree]) -> Packed:
    """Put trees (a prompt and its answers) into one row."""
    row = pack(trees)
    places: list[int] = []
    targets: list[int] = []
    answer: list[int] = []
    example: list[int] = []
    ends: list[int] = []
    first = 0
    for number, tree in enumerate(trees):
        root = row.spans[first]
        for span in row.spans[first + 1 : first + len(tree.segments)]:
            places += [root.end - 1, *range(span.start, span.end - 1)]
            targets += row.ids[span.start : span.end]
            answer += [len(ends)] * (span.end - span.start)
            example.append(number)
            ends.append(span.end - 1)
        first += len(tree.segments)
    return Packed(
        ids=torch.tensor(row.ids),
        positions=torch.tensor(row.positions),
        places=torch.tensor(places),
        targets=torch.tensor(targets),
        answer=torch.tensor(answer),
        example=torch.tensor(example),
        ends=torch.tensor(ends),
        spans=tuple(row.spans),
    )


def padded(trees: Sequence[TokenTree], padding: int = 0, apart: bool = False) -> Padded:
    """Put each answer, with its prompt before it, into a row of its own, filled up with ``padding``."""
    chats = [(tree.segments[0].ids, branch.ids) for tree in trees for branch in tree.segments[1:]]
    width = max(len(root) + len(branch) for root, branch in chats)
    rows: list[list[int]] = []
    visible: list[list[int]] = []
    places: list[int] = []
    targets: list[int] = []
    answer: list[int] = []
    ends: list[int] = []
    for number, (root, branch) in enumerate(chats):
        length = len(root) + len(branch)
        rows.append([*root, *branch, *[padding] * (width - length)])
        visible.append([1] * length + [0] * (width - length))
        start = number * width + len(root)
        places += range(start - 1, start + len(branch) - 1)
        targets += branch
        answer += [number] * len(branch)
        ends.append(start + len(branch) - 1)
    example = [number for number, tree in enumerate(trees) for _ in tree.segments[1:]]
    positions = [list(range(width))] * len(rows)
    return Padded(
        ids=torch.tensor(rows),
        positions=torch.tensor(positions),
        places=torch.tensor(places),
        targets=torch.tensor(targets),
        answer=torch.tensor(answer),
        example=torch.tensor(example),
        ends=torch.tensor(ends),
        visible=torch.tensor(visible),
        apart=apart,
    )
