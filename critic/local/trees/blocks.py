"""FlexAttention's mask of a long row, built some rows of blocks at a time.

`create_block_mask` evaluates the mask for all pairs of tokens at once, several times over: 31 GB for a row of 65,536.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

BLOCK = 128
"""Tokens: FlexAttention's own default."""
PAIRS_AT_ONCE = 1 << 26
"""Pairs of tokens that are looked at together: a byte each."""

Sees = Callable[[Any, Any, Tensor, Tensor], Tensor]
"""Of batch, head, queries ``[Q, 1]`` and keys ``[1, K]``: whether a query sees a key, ``[Q, K]``."""


def block_mask(sees: Sees, size: int, device: torch.device, at_once: int = PAIRS_AT_ONCE) -> BlockMask:
    """Return what ``create_block_mask(sees, None, None, size, size)`` returns, in a part of its memory."""
    blocks = -(-size // BLOCK)
    rows = max(1, at_once // (BLOCK * BLOCK * blocks))
    parts = [_counted(sees, first, min(first + rows, blocks), size, device) for first in range(0, blocks, rows)]
    seen_BB = torch.cat(parts)
    full_BB = seen_BB == BLOCK * BLOCK
    return BlockMask.from_kv_blocks(
        *_ordered((seen_BB > 0) & ~full_BB),
        *_ordered(full_BB),
        BLOCK_SIZE=BLOCK,
        mask_mod=sees,
        seq_lengths=(size, size),
    )


def _counted(sees: Sees, first: int, last: int, size: int, device: torch.device) -> Tensor:
    """Return how many pairs of tokens see each other in each block, of rows ``first`` to ``last`` of blocks."""
    blocks = -(-size // BLOCK)
    queries = torch.arange(first * BLOCK, last * BLOCK, device=device)[:, None]
    keys = torch.arange(blocks * BLOCK, device=device)[None]
    end = size - 1  # beyond it there are no tokens, and nothing is seen
    seen = sees(0, 0, queries.clamp(max=end), keys.clamp(max=end)) & (queries <= end) & (keys <= end)
    return seen.view(last - first, BLOCK, blocks, BLOCK).sum((1, 3))


def _ordered(some_BB: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many blocks each row of blocks has to look at, and those first, in their order."""
    counts = some_BB.sum(-1, dtype=torch.int32)
    order = some_BB.int().argsort(dim=-1, descending=True, stable=True).int()
    return counts[None, None], order[None, None].contiguous()
