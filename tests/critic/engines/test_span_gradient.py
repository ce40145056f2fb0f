"""Attention of spans by plain products, and log-probabilities by blocks, against the formulas that they replace."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from critic.chats.tokens import SegmentSpan
from critic.local.trees import normaliser, span_gradient
from critic.local.trees.attention import CAUSAL, AttentionRule, Mask, TreePlan
from critic.local.trees.span_gradient import SpanPath, attend_spans

HEADS, KEYS, NUMBERS = 6, 2, 16
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


def spans() -> list[SegmentSpan]:
    """Two trees: a prompt with two answers and one without tokens; a prompt with an answer."""
    first, second = (0, 23), (40, 52)
    return [
        SegmentSpan(*first, ()),
        SegmentSpan(23, 31, (first,)),
        SegmentSpan(31, 31, (first,)),
        SegmentSpan(31, 40, (first,)),
        SegmentSpan(*second, ()),
        SegmentSpan(52, 70, (second,)),
    ]


def states(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    query, key, value = (torch.randn(h, 70, NUMBERS, generator=generator).to(dtype) for h in (HEADS, KEYS, KEYS))
    return query.requires_grad_(), key.requires_grad_(), value.requires_grad_()


def written_out(query: Tensor, key: Tensor, value: Tensor, window: int | None) -> Tensor:
    """Return the attention by one mask over the whole row, in float32: ``[N, H, D]``."""
    sees = torch.zeros(70, 70, dtype=torch.bool)
    for span in spans():
        path = [place for start, end in (*span.ancestors, (span.start, span.end)) for place in range(start, end)]
        for own in range(span.start, span.end):
            before = path[: path.index(own) + 1]
            sees[own, before if window is None else before[-window:]] = True
    times = HEADS // KEYS
    keys, values = (x.float().repeat_interleave(times, 0) for x in (key, value))
    scores = (query.float() @ keys.transpose(1, 2)) / math.sqrt(NUMBERS)
    return (scores.masked_fill(~sees, -torch.inf).softmax(-1) @ values).transpose(0, 1)


def relative(mine: Tensor, other: Tensor) -> float:
    return float((mine.detach().float() - other.detach().float()).norm() / other.detach().float().norm())


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("window", [None, 7])
def test_products_give_what_one_mask_over_the_row_gives_with_its_gradient(
    dtype: torch.dtype, window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In blocks of five queries, so that each span has several; and of keys that are seen by a window."""
    monkeypatch.setattr(span_gradient, "_QUERIES", 5)
    mask = CAUSAL if window is None else Mask(lambda _batch, _head, query, key: query - key < window, window)
    plan = TreePlan(spans(), torch.device("cpu"))
    given = states(dtype)
    mine = attend_spans(*given, plan._along(mask, dtype), 1 / math.sqrt(NUMBERS))
    other = written_out(*given, window)
    weights = torch.randn(other.shape, generator=torch.Generator().manual_seed(4))
    gradients = torch.autograd.grad((mine.float() * weights).sum(), given)
    expected = torch.autograd.grad((other * weights).sum(), given)
    for one, two in zip((mine, *gradients), (other, *expected), strict=True):
        assert one.dtype == dtype
        assert relative(one, two) <= TOLERANCE[dtype]


def test_a_plan_takes_products_for_a_gradient_under_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Float32 queries are rounded, as PyTorch's attention rounds them there; without a gradient nothing changes."""
    calls: list[torch.dtype] = []

    def counted(query: Tensor, key: Tensor, value: Tensor, paths: list[SpanPath], scale: float) -> Tensor:
        calls.append(query.dtype)
        return attend_spans(query, key, value, paths, scale)

    monkeypatch.setattr("critic.local.trees.attention.attend_spans", counted)
    plan = TreePlan(spans(), torch.device("cpu"))
    query, key, value = states(torch.float32)
    rule = AttentionRule(1 / math.sqrt(NUMBERS))
    with torch.autocast("cpu", torch.bfloat16):
        mine = plan.attend(0, query, key, value, rule)
        with torch.no_grad():
            plain = plan.attend(0, query.detach(), key.detach(), value.detach(), rule)
    exact = plan.attend(0, query, key, value, rule)
    assert calls == [torch.bfloat16]
    assert torch.equal(mine.float(), plain.float())
    assert relative(mine, exact) <= TOLERANCE[torch.bfloat16]


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_log_probabilities_by_blocks_are_cross_entropy(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of logits as large as models give, two rows a block, and the last block is a row; logits stay as they were."""
    monkeypatch.setattr(normaliser, "_NUMBERS_AT_ONCE", 200)
    generator = torch.Generator().manual_seed(5)
    logits = (30 * torch.randn(9, 97, generator=generator)).to(dtype).requires_grad_()
    before = logits.detach().clone()
    targets = torch.randint(97, (9,), generator=generator)
    weights = torch.linspace(-1, 2, 9)
    mine = normaliser.log_probabilities(logits, targets)
    other = -cross_entropy(logits.float(), targets, reduction="none")
    [gradient] = torch.autograd.grad((mine * weights).sum(), logits)
    [expected] = torch.autograd.grad((other * weights).sum(), logits)
    assert torch.equal(logits.detach(), before)
    assert mine.dtype == torch.float32 and gradient.dtype == dtype
    torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(gradient, expected, rtol=1e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-6)
    torch.testing.assert_close(normaliser.log_sum_exp(before), before.float().logsumexp(-1), rtol=1e-6, atol=1e-5)


def test_log_probabilities_of_no_row_and_of_a_single_possible_token() -> None:
    assert normaliser.log_sum_exp(torch.empty(0, 5)).shape == (0,)
    logits = torch.tensor([[-torch.inf, 3.0, -torch.inf]], requires_grad=True)
    value = normaliser.log_probabilities(logits, torch.tensor([1]))
    [gradient] = torch.autograd.grad(value.sum(), logits)
    assert value.item() == 0.0
    assert gradient.tolist() == [[0.0, 0.0, 0.0]]
