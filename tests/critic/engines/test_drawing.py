"""The next tokens of answers, drawn together, against each drawn alone by sorting; and memory that is kept."""

import math
import random

import pytest
import torch

from critic.engine import Sampling
from critic.local import allocator
from critic.local.trees.decoding import GrowingAnswer, draw

HOW = [(0.0, 1.0), (1.0, 1.0), (0.7, 0.9), (1.0, 0.5), (1.3, 0.999), (1.0, 1.0)]


def answers() -> list[GrowingAnswer]:
    return [GrowingAnswer((1,), Sampling(5, *how), random.Random(seed), []) for seed, how in enumerate(HOW)]


def by_sorting(logits: torch.Tensor, answer: GrowingAnswer) -> int:
    """Return the token that ``answer`` draws, by plain sums."""
    values: list[float] = logits.tolist()
    heat, top_p = answer.sampling.temperature, answer.sampling.top_p
    if heat == 0:
        return values.index(max(values))
    weights = [math.exp((value - max(values)) / heat) for value in values]
    shares = [weight / sum(weights) for weight in weights]
    order = list(range(len(values)))
    if top_p < 1:
        order.sort(key=lambda token: -shares[token])
        total = 0.0
        for count, token in enumerate(order, 1):
            total += shares[token]
            if total >= top_p:
                order = order[:count]
                break
    wanted = answer.rng.random() * sum(shares[token] for token in order)
    reached = 0.0
    for token in order:
        reached += shares[token]
        if reached > wanted:
            return token
    return order[-1]


@pytest.mark.parametrize("spread", [0.1, 3.0])  # a nucleus of most tokens, and one of a few
def test_answers_draw_together_what_each_draws_alone(spread: float) -> None:
    logits = spread * torch.randn(len(HOW), 1500, generator=torch.Generator().manual_seed(2))
    together = answers()
    tokens = draw(logits, together)
    assert tokens == [by_sorting(row, answer) for row, answer in zip(logits, answers(), strict=True)]
    assert tokens == [draw(row[None], [answer])[0] for row, answer in zip(logits, answers(), strict=True)]
    for row, token, answer in zip(logits, tokens, together, strict=True):
        heat = answer.sampling.temperature
        told = [] if heat == 0 else [float((row / heat).log_softmax(-1)[token])]
        assert answer.logprobs == pytest.approx(told, rel=1e-5)


def test_a_row_that_is_no_number_is_told_and_costs_no_other() -> None:
    logits = torch.randn(len(HOW), 40, generator=torch.Generator().manual_seed(2))
    expected = draw(logits, answers())
    logits[1] = torch.nan
    broken = answers()
    assert draw(logits, broken) == [expected[0], -1, *expected[2:]]
    assert broken[1].logprobs == []


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"])
def test_what_the_environment_says_of_memory_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "131072")
    monkeypatch.setattr("ctypes.CDLL", lambda _: pytest.fail("the C library was asked"))
    assert not allocator.keep_freed_memory()
