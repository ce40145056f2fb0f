"""The mathematics of PPO: by hand, against published cases, and against plain loops."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from trainers.online.mathematics import policy_gradient as pg


def everything(rows: Tensor) -> Tensor:
    return torch.ones_like(rows, dtype=torch.bool)


def ragged(lengths: list[int]) -> Tensor:
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


@pytest.fixture(scope="module")
def golden(cai_data: Path) -> dict[str, Any]:
    cases = json.loads((cai_data / "GOLDEN.json").read_text())["losses"]
    return {case["what"].split(" values")[0].split(": ")[0]: case["value"] for case in cases}


def test_returns_are_those_of_torchtune(golden: dict[str, Any]) -> None:
    line = torch.tensor([[0.0, 0.0, 0.0, 1.0]], dtype=torch.float64)
    returns = pg.advantages(line, line, everything(line), gamma=0.9, lam=0.95) + line
    assert returns[0].tolist() == pytest.approx(golden["GAE returns gamma .9 lambda .95"], abs=1e-12)


def test_advantages_are_those_of_nemo(golden: dict[str, Any]) -> None:
    values, rewards = torch.tensor([[0.0, 1.0, 2.0, 3.0]]), torch.tensor([[0.0, 0.0, 1.0, 0.0]])
    advantages = pg.advantages(rewards, values, everything(values), gamma=0.5, lam=0.0)
    assert advantages[0].tolist() == pytest.approx(golden["GAE lambda 0 gamma .5"])
    values, rewards = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.0, 0.0, 5.0]])
    advantages = pg.advantages(rewards, values, everything(values), gamma=1.0, lam=0.0)
    assert advantages[0].tolist() == pytest.approx(golden["GAE lambda 0 gamma 1"])


def test_shaped_rewards_are_those_of_torchtune(golden: dict[str, Any]) -> None:
    kl = torch.tensor([[-0.1] * 3, [-0.2] * 3, [-0.3] * 3])
    shaped = pg.shaped_rewards(torch.tensor([1.0, 2.0, 3.0]), kl, everything(kl), 0.5)
    assert shaped.flatten().tolist() == pytest.approx([x for row in golden["PPO KL-shaped rewards"] for x in row])


def test_the_score_is_on_the_last_token_and_nothing_stands_after_it() -> None:
    mask = ragged([1, 3])
    kl = torch.full((2, 3), 0.5)
    shaped = pg.shaped_rewards(torch.tensor([4.0, -1.0]), kl, mask, coefficient=0.2)
    assert shaped.tolist() == [pytest.approx([3.9, 0, 0]), pytest.approx([-0.1, -0.1, -1.1])]


def plain_advantages(rewards: list[float], values: list[float], gamma: float, lam: float) -> list[float]:
    """The sum of equation 16, term by term."""
    values = [*values, 0.0]
    deltas = [rewards[t] + gamma * values[t + 1] - values[t] for t in range(len(rewards))]
    sums = []
    for t in range(len(rewards)):
        sums.append(sum((gamma * lam) ** (k - t) * deltas[k] for k in range(t, len(rewards))))
    return sums


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (0.7, 0.0)])
def test_advantages_are_the_sum_of_the_paper_whatever_stands_beside(gamma: float, lam: float) -> None:
    torch.manual_seed(1)
    lengths = [5, 1, 3]
    rewards, values = torch.randn(2, 3, 5, dtype=torch.float64)
    advantages = pg.advantages(rewards, values, ragged(lengths), gamma, lam)
    for i, n in enumerate(lengths):
        expected = plain_advantages(rewards[i, :n].tolist(), values[i, :n].tolist(), gamma, lam)
        assert advantages[i, :n].tolist() == pytest.approx(expected, abs=1e-12)
        assert not advantages[i, n:].any()


def test_with_lambda_and_gamma_1_returns_are_the_rewards_still_to_come() -> None:
    rewards, values = torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([[9.0, -5.0, 0.3]])
    returns = pg.advantages(rewards, values, everything(values), 1.0, 1.0) + values
    assert returns[0].tolist() == pytest.approx([7.0, 6.0, 4.0])


def test_kl_estimators_by_hand() -> None:
    """log pi = log 1/2, log q = log 1/4: x = log 2; k3 = 1/2 - 1 + log 2."""
    policy, reference = torch.tensor([0.5]).log(), torch.tensor([0.25]).log()
    estimates = [float(pg.kl(policy, reference, k)) for k in ("k1", "k2", "k3")]
    assert estimates == pytest.approx([math.log(2), math.log(2) ** 2 / 2, math.log(2) - 0.5])


def test_kl_estimators_have_the_mean_that_they_estimate() -> None:
    """Over all tokens, weighted by the policy: k1 and k3 are the KL; k2 is near it for near distributions."""
    torch.manual_seed(0)
    policy, reference = (0.2 * torch.randn(2, 50)).log_softmax(-1)
    exact = float((policy.exp() * (policy - reference)).sum())
    for estimator, slack in (("k1", 1e-6), ("k3", 1e-6), ("k2", 0.1 * exact)):
        mean = float((policy.exp() * pg.kl(policy, reference, estimator)).sum())  # type: ignore[arg-type]  # one of three
        assert mean == pytest.approx(exact, abs=slack)
    assert (pg.kl(policy, reference, "k3") >= 0).all()


def test_whitening_is_by_the_whole_batch() -> None:
    whitened = pg.whiten(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 2.0, 4.0]))
    assert whitened.tolist() == pytest.approx([-1 / math.sqrt(8 / 3), 1 / math.sqrt(8 / 3)])


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped"),
    [
        (1.0, 2.0, -2.0, False),
        (1.5, 2.0, -2.4, True),  # a good token may not become likelier than 1.2 times
        (1.5, -2.0, 3.0, False),  # a bad one that became likelier is pushed back with all force
        (0.5, -2.0, 1.6, True),
        (0.5, 2.0, -1.0, False),
    ],
)
def test_the_policy_s_loss_by_hand(ratio: float, advantage: float, loss: float, clipped: bool) -> None:
    old = torch.tensor([-1.0])
    new = (old + math.log(ratio)).requires_grad_()
    losses, at = pg.policy_loss(new, old, torch.tensor([advantage]), clip=0.2)
    assert losses.tolist() == pytest.approx([loss]) and at.tolist() == [clipped]
    losses.sum().backward()
    assert new.grad is not None
    assert new.grad.tolist() == pytest.approx([0.0 if clipped else -ratio * advantage])


def test_the_value_s_loss_by_hand() -> None:
    """From 1 to 2 with clip 0.2 counts as 1.2: the return 3 is then 1.8 away, which is more than 1."""
    new, old, returns = torch.tensor([2.0]), torch.tensor([1.0]), torch.tensor([3.0])
    assert float(pg.value_loss(new, old, returns, 0.2)) == pytest.approx(1.8**2 / 2)
    assert float(pg.value_loss(new, old, returns, None)) == pytest.approx(0.5)
    assert float(pg.value_loss(new, old, torch.tensor([1.1]), 0.2)) == pytest.approx(0.9**2 / 2)


def test_explained_variance() -> None:
    returns = torch.tensor([1.0, 2.0, 3.0])
    assert pg.explained_variance(returns, returns) == 1
    assert pg.explained_variance(torch.zeros(3), returns) == pytest.approx(0)
    assert math.isnan(pg.explained_variance(returns, torch.ones(3)))


@pytest.mark.parametrize(("kl", "factor"), [(6.0, 1.0), (6.6, 1.01), (60.0, 1.02), (0.0, 0.98), (5.4, 0.99)])
def test_the_coefficient_follows_its_target(kl: float, factor: float) -> None:
    assert pg.next_coefficient(0.5, kl, target=6.0) == pytest.approx(0.5 * factor)
    assert pg.next_coefficient(0.5, kl, target=None) == 0.5
