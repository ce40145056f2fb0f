"""The mask of a long row in blocks, against the one that PyTorch builds at once."""

import random

import pytest
import torch
from torch.nn.attention.flex_attention import create_block_mask

from critic.chats.tokens import pack
from critic.local.trees.blocks import BLOCK, block_mask
from critic.local.trees.flex import relation

from .test_flex import forest

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [1, 127, 128, 700])
@pytest.mark.parametrize("at_once", [1, 2 * 6 * BLOCK * BLOCK, 1 << 26])
def test_it_is_the_mask_that_is_built_at_once(size: int, at_once: int) -> None:
    """Windows, and a stretch that sees nothing: blocks that are full, empty, and neither, the last one cut."""

    def sees(batch: object, head: object, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return (key <= query) & ((query - key < 300) | (key < 60)) & ((query < 256) | (query >= 384))

    mask, wanted = block_mask(sees, size, CPU, at_once), create_block_mask(sees, None, None, size, size, device="cpu")
    assert mask.seq_lengths == wanted.seq_lengths and mask.BLOCK_SIZE == wanted.BLOCK_SIZE
    for name in ("kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices", "q_num_blocks", "q_indices"):
        torch.testing.assert_close(getattr(mask, name), getattr(wanted, name), rtol=0, atol=0, msg=name)


def test_trees_of_spans_are_seen_as_they_are() -> None:
    row = pack(forest(random.Random(3)))
    node_N, sees_SS = relation(row.spans, CPU)

    def sees(batch: object, head: object, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return sees_SS[node_N[query], node_N[key]] & (key <= query)

    size = len(row.ids)
    wanted = create_block_mask(sees, None, None, size, size, device="cpu")
    assert torch.equal(block_mask(sees, size, CPU).to_dense(), wanted.to_dense())
