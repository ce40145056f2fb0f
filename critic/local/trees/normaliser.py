"""The vocabulary's log-sum-exp, and log-probabilities with their gradient, a few rows of logits at a time.

A few rows in float32 stay in a processor's cache, and in memory that is there already; the whole of them takes several
times as long to be written and read as its exponentials take to be computed.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

_NUMBERS_AT_ONCE = 1 << 20
"""Numbers in one block of float32 on CPUs: 4 MiB, which second-level caches come near to."""


def log_sum_exp(logits_RV: Tensor) -> Tensor:
    """Return the logarithm of each row's summed exponentials, ``[R]``, in float32."""
    sums_R = logits_RV.new_empty(len(logits_RV), dtype=torch.float32)
    for block, widened_RV in _widened(logits_RV):
        greatest_R1 = widened_RV.amax(-1, keepdim=True)
        sums_R[block] = widened_RV.sub_(greatest_R1).exp_().sum(-1).log_() + greatest_R1[:, 0]
    return sums_R


def log_probabilities(logits_MV: Tensor, targets_M: Tensor) -> Tensor:
    """Return the log-probability of each target, ``[M]``, in float32. The gradient has the type of the logits."""
    logprobs_M: Tensor = _LogProbabilities.apply(logits_MV, targets_M)  # type: ignore[no-untyped-call]  # untyped in torch
    return logprobs_M


class _LogProbabilities(torch.autograd.Function):
    """See `log_probabilities`. Of the logits nothing is kept but themselves."""

    @staticmethod
    def forward(ctx: Any, logits_MV: Tensor, targets_M: Tensor) -> Tensor:
        """Take the normaliser off the target's logit."""
        normaliser_M = log_sum_exp(logits_MV)
        ctx.save_for_backward(logits_MV, targets_M, normaliser_M)
        return logits_MV.gather(1, targets_M[:, None])[:, 0].float() - normaliser_M

    @staticmethod
    def backward(ctx: Any, grad_M: Tensor) -> tuple[Tensor, None]:
        """Return ``g (onehot - p)`` for each row."""
        logits_MV, targets_M, normaliser_M = ctx.saved_tensors
        grads_MV = torch.empty_like(logits_MV)
        for block, widened_RV in _widened(logits_MV):
            grad_R1 = grad_M[block, None]
            shares_RV = widened_RV.sub_(normaliser_M[block, None]).exp_().mul_(-grad_R1)
            grads_MV[block] = shares_RV.scatter_add_(1, targets_M[block, None], grad_R1)
        return grads_MV, None


def _widened(logits_RV: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield the rows of each block, and their logits in float32, which may be overwritten until the next block.

    All blocks are written to the same memory: on a CPU, fresh memory costs more than what is computed in it. On other
    devices there is one block, which their memory is fast enough for.
    """
    rows, numbers = logits_RV.shape
    size = min(rows, max(1, _NUMBERS_AT_ONCE // numbers)) if logits_RV.device.type == "cpu" else rows
    memory_RV = logits_RV.new_empty(size, numbers, dtype=torch.float32)
    for start in range(0, rows, max(1, size)):
        block = slice(start, start + size)
        yield block, memory_RV[: min(size, rows - start)].copy_(logits_RV[block])
