"""Gradients of several processes, added up many in one message."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainers.online import optimizer


class Twice:
    """In place of two processes with the same gradients: notes how many numbers each message has.

    ``lacking`` is the number of a weight that this process has no gradient of, and the other one has zeros.
    """

    device = torch.device("cpu")
    lacking: int | None = None

    def __init__(self) -> None:
        self.sent: list[int] = []

    def reduce(self, tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():  # of how many processes a weight has a gradient
            counts = 2 * tensor
            if self.lacking is not None:
                counts[self.lacking] = 1
            return counts
        self.sent.append(tensor.numel())
        return 2 * tensor


def test_buckets_hold_weights_in_their_order_and_every_gradient_is_the_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 6, 4, 6, 12 and 1 numbers, ten a message: the one that is larger goes alone, and so does another type."""
    monkeypatch.setattr(optimizer, "BUCKET", 10)
    torch.manual_seed(0)
    weights = [nn.Parameter(torch.zeros(shape)) for shape in ((2, 3), (4,), (3, 2), (12,), (1,))]
    weights.append(nn.Parameter(torch.zeros(2, dtype=torch.bfloat16)))
    for weight in weights:
        weight.grad = torch.randn(weight.shape).to(weight.dtype)
    weights[1].grad = None  # a process without a group in this minibatch
    before = [torch.zeros_like(w) if w.grad is None else w.grad.clone() for w in weights]
    processes: Any = Twice()
    processes.lacking = 1
    optimizer.add_up_gradients(processes, weights)
    assert processes.sent == [10, 6, 12, 1, 2]
    for weight, grad in zip(weights, before, strict=True):
        assert weight.grad is not None and torch.equal(weight.grad, 2 * grad) and weight.grad.dtype == weight.dtype


def test_a_weight_without_a_gradient_in_any_process_is_left_without() -> None:
    """With zeros in its place, AdamW would decay it, and go on with what it remembers."""
    used, unused = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    used.grad = torch.ones(3)
    processes: Any = Twice()
    optimizer.add_up_gradients(processes, [used, unused])
    assert used.grad is not None and torch.equal(used.grad, torch.full((3,), 2.0))
    assert unused.grad is None
