"""Losses against arithmetic that is written out, invariances, and numerical gradients."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trainers import losses
from trainers.losses import bradley_terry, dpo, ipo, kto, plackett_luce, unary
from trainers.trainer import accuracies

NUMBERS = st.floats(-20, 20)
SHARES = st.floats(0, 1)


def one(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def approx(expected: float) -> object:
    return pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_bradley_terry_by_hand() -> None:
    """Rewards 2 and 1, p = 0.8: sigma(1) = 0.731059, so -(0.8 ln 0.731059 + 0.2 ln 0.268941) = 0.513262."""
    [loss] = bradley_terry(one(1.0), one(0.8)).tolist()
    assert loss == pytest.approx(0.513262, abs=1e-6)
    assert loss == approx(-(0.8 * math.log(sigma(1)) + 0.2 * math.log(sigma(-1))))


def test_a_margin_has_to_be_exceeded() -> None:
    """Difference 1, margin 1, p = 1: -ln sigma(0) = ln 2. For p = 0 the rejected one must lead by 1: -ln sigma(-2)."""
    first, second = bradley_terry(one(1.0, 1.0), one(1.0, 0.0), 1.0).tolist()
    assert first == approx(math.log(2))
    assert second == approx(-math.log(sigma(-2)))
    assert second == pytest.approx(2.126928, abs=1e-6)


def test_a_tie_costs_least_where_rewards_are_equal() -> None:
    difference = one(0.5, 0.0, -0.5).requires_grad_()
    losses = bradley_terry(difference, torch.full_like(difference, 0.5))
    assert losses.argmin() == 1 and losses[1].item() == approx(math.log(2))
    losses.sum().backward()
    assert difference.grad is not None
    assert difference.grad.tolist() == [approx(sigma(0.5) - 0.5), 0, approx(sigma(-0.5) - 0.5)]


def test_plackett_luce_by_hand() -> None:
    """Strengths e^r of 1, 2, 3; the second is best, then the third: P = 2/6 x 3/4 x 1, so -ln(1/4) = 1.386294."""
    loss = plackett_luce(one(1.0, 2.0, 3.0).log(), torch.tensor([3, 1, 2])).item()
    assert loss == approx(math.log(4))


def test_ranks_that_are_tied_by_hand() -> None:
    """Strengths 1, 2, 3, the first two tied at the top: each is chosen among all three, 1/6 x 2/6; the third last."""
    loss = plackett_luce(one(1.0, 2.0, 3.0).log(), torch.tensor([1, 1, 2])).item()
    assert loss == approx(-math.log(1 / 6 * 2 / 6))


def test_unary_by_hand() -> None:
    """Reward ln 3 means 3 of 4 are good. A thumb up costs -ln 0.75, one down -ln 0.25; a rating of 0.5 the mean."""
    up, down, between = unary(one(*[math.log(3)] * 3), one(1.0, 0.0, 0.5)).tolist()
    assert (up, down) == (approx(-math.log(0.75)), approx(-math.log(0.25)))
    assert between == approx((up + down) / 2)


# Log-probabilities of chosen and rejected, under policy and reference: beta 0.1 times log-ratios 0, 10, 20 is 0, 1, 2.
POLICY, REFERENCE = ([-0.5, -10.0, -1.0], [-0.1, -30.0, -21.0]), ([-0.5, -10.1, -0.1], [-0.1, -20.1, -0.1])
EXPECTED = [0.693147, 0.313262, 0.126928]


def test_dpo_by_hand() -> None:
    (chosen, rejected), (chosen_before, rejected_before) = POLICY, REFERENCE
    ratios = one(*chosen) - one(*chosen_before) - (one(*rejected) - one(*rejected_before))
    assert ratios.tolist() == pytest.approx([0, 10, 20])
    assert dpo(ratios, torch.ones_like(ratios), 0.1).tolist() == pytest.approx(EXPECTED, abs=1e-6)


def test_dpo_is_the_published_one(cai_data: Path) -> None:
    """GOLDEN.json, `losses`: the case above, computed elsewhere."""
    cases = json.loads((cai_data / "GOLDEN.json").read_text())["losses"]
    [case] = [case for case in cases if case["what"].startswith("DPO sigmoid loss beta=0.1")]
    assert dpo(one(0, 10, 20), one(1, 1, 1), 0.1).tolist() == pytest.approx(case["value"], rel=1e-12)
    assert case["value"] == pytest.approx(EXPECTED, abs=1e-6)


def test_ipo_by_hand() -> None:
    """beta 0.1: the target is 5. Ratio 3, p = 1: (3 - 5)^2 = 4. p = 0.75: 0.75 x 4 + 0.25 x (3 + 5)^2 = 19."""
    assert ipo(one(3.0, 3.0, 5.0), one(1.0, 0.75, 1.0), 0.1).tolist() == pytest.approx([4, 19, 0])


def test_kto_by_hand() -> None:
    """beta 0.1, ratio 12, reference 2: sigma(1) = 0.731059. Desirable 0.268941, undesirable 0.731059, half: 0.5."""
    losses = kto(one(12.0, 12.0, 12.0), one(1.0, 0.0, 0.5), torch.tensor(2.0), 0.1).tolist()
    assert losses == pytest.approx([0.268941, 0.731059, 0.5], abs=1e-6)


def test_ktos_reference_takes_no_gradient() -> None:
    reference = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    ratio = one(12.0).requires_grad_()
    kto(ratio, one(1.0), reference, 0.1).sum().backward()
    assert reference.grad is None
    assert ratio.grad is not None and ratio.grad.item() == approx(-0.1 * sigma(1) * sigma(-1))


@given(NUMBERS, NUMBERS)
def test_a_ranking_of_two_is_a_pair(first: float, second: float) -> None:
    ranked = plackett_luce(one(first, second), torch.tensor([1, 2]))
    assert ranked.item() == approx(bradley_terry(one(first - second), one(1.0)).item())


@given(st.lists(st.tuples(NUMBERS, st.integers(1, 4)), min_size=2, max_size=6), NUMBERS)
def test_a_ranking_knows_no_level_and_no_order_of_its_answers(answers: list[tuple[float, int]], shift: float) -> None:
    """The same number is added to all rewards; the answers come in another order; the ranks have other numbers."""
    before = plackett_luce(*_ranking(answers)).item()
    shuffled = answers[::-1]
    assert plackett_luce(*_ranking([(r + shift, rank * 3 + 1) for r, rank in shuffled])).item() == pytest.approx(
        before, rel=1e-9, abs=1e-9
    )


def _ranking(answers: list[tuple[float, int]]) -> tuple[Tensor, Tensor]:
    rewards, ranks = zip(*answers, strict=True)
    return one(*rewards), torch.tensor(ranks)


@given(NUMBERS, SHARES, st.floats(0, 5))
def test_a_soft_label_is_the_expected_hard_one(ratio: float, p: float, margin: float) -> None:
    """L(p) = p L(1) + (1 - p) L(0), of each loss that takes one."""
    losses: list[Callable[[float], Tensor]] = [
        lambda label: bradley_terry(one(ratio), one(label), margin),
        lambda label: dpo(one(ratio), one(label), 0.1),
        lambda label: ipo(one(ratio), one(label), 0.1),
        lambda label: unary(one(ratio), one(label)),
        lambda label: kto(one(ratio), one(label), torch.tensor(1.0), 0.1),
    ]
    for loss in losses:
        soft, yes, no = (loss(label).item() for label in (p, 1.0, 0.0))
        assert soft == pytest.approx(p * yes + (1 - p) * no, rel=1e-9, abs=1e-9)


@given(NUMBERS, SHARES, st.floats(0, 5))
def test_a_pair_the_other_way_round_is_the_same_pair(difference: float, p: float, margin: float) -> None:
    forth, back = bradley_terry(one(difference, -difference), one(p, 1 - p), margin).tolist()
    assert forth == approx(back)
    forth, back = ipo(one(difference, -difference), one(p, 1 - p), 0.1).tolist()
    assert forth == approx(back)


def test_gradients_are_those_of_the_functions() -> None:
    """Numerically, in float64."""
    x = torch.tensor([-3.0, -0.2, 0.0, 1.5], dtype=torch.float64, requires_grad=True)
    p, ranks = one(0.0, 0.3, 0.5, 1.0), torch.tensor([2, 1, 2, 3])
    for loss in (
        lambda x: bradley_terry(x, p, 0.5),
        lambda x: plackett_luce(x, ranks),
        lambda x: unary(x, p),
        lambda x: dpo(x, p, 0.1),
        lambda x: ipo(x, p, 0.1),
        lambda x: kto(x, p, torch.tensor(0.3), 0.1),
    ):
        assert torch.autograd.gradcheck(loss, (x,))


def test_large_numbers_stay_numbers() -> None:
    """In float32, as trainers have them."""
    x = torch.tensor([-1e4, 1e4], requires_grad=True)
    p = torch.tensor([1.0, 0.0])
    total = bradley_terry(x, p).sum() + unary(x, p).sum() + plackett_luce(x, torch.tensor([1, 2])) + dpo(x, p, 1).sum()
    total.backward()
    assert total.item() == pytest.approx(1e4 * 2 + 1e4 * 2 + 2e4 + 1e4 * 2)
    assert x.grad is not None and x.grad.isfinite().all()


def test_orpo_and_simpo_by_hand() -> None:
    """Geometric mean probabilities 1/2 and 1/4: odds of 1 and 1/3, so an odds ratio of 3."""
    means = torch.tensor([[math.log(1 / 2), math.log(1 / 4)]])
    sure = torch.tensor([1.0])
    expected = math.log(2) + 0.1 * math.log(1 + 1 / 3)
    assert float(losses.orpo(means, sure, 0.1)) == pytest.approx(expected, rel=1e-5)
    both = [float(losses.orpo(x, sure, 0.1)) for x in (means, means.flip(1))]
    assert float(losses.orpo(means, torch.tensor([0.5]), 0.1)) == pytest.approx(sum(both) / 2, rel=1e-5)
    simpo = losses.bradley_terry(2.0 * (means[:, 0] - means[:, 1]), sure, 0.5)
    assert float(simpo) == pytest.approx(math.log(1 + math.exp(-(2 * math.log(2) - 0.5))), rel=1e-5)


def test_accuracy_is_of_the_side_that_the_label_prefers() -> None:
    """A tie prefers none, and a probability below 0.5 the rejected answer."""
    leads, labels = torch.tensor([1.0, -1.0, 2.0, -2.0, 0.0, 3.0]), torch.tensor([1.0, 0.9, 0.2, 0.0, 1.0, 0.5])
    assert accuracies(leads, labels).tolist() == [1, 0, 0, 1, 0.5]
