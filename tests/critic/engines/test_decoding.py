"""Drawing tokens: by hand, by frequency, and independent of neighbours."""

import random
from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from critic.engine import Sampling
from critic.local.trees.decoding import GrowingAnswer, draw
from critic.local.trees.kv_cache import KeyValueCache


def answer(temperature: float = 1.0, top_p: float = 1.0, seed: int = 0) -> GrowingAnswer:
    return GrowingAnswer((1,), Sampling(8, temperature, top_p), random.Random(seed))


class Uniform(random.Random):
    """Gives the numbers it was made with."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def random(self) -> float:
        return self.values.pop(0)


def drawn_at(uniform: float, probabilities: list[float], temperature: float = 1.0, top_p: float = 1.0) -> int:
    one = GrowingAnswer((1,), Sampling(8, temperature, top_p), Uniform(uniform))
    return draw(torch.tensor([probabilities]).log(), [one])[0]


@pytest.mark.parametrize(
    ("uniform", "token"), [(0.0, 0), (0.0999, 0), (0.1001, 1), (0.5999, 1), (0.6001, 3), (0.99999, 3)]
)
def test_a_uniform_number_is_looked_up_in_the_cumulative_probabilities(uniform: float, token: int) -> None:
    assert drawn_at(uniform, [0.1, 0.5, 0.0, 0.4]) == token


@pytest.mark.parametrize(
    # Likeliest first: 0.5 and 0.4 make 0.9; top_p 0.85 needs both, and cuts the rest off.
    ("uniform", "token"),
    [(0.0, 1), (0.5554, 1), (0.5557, 3), (0.9999, 3)],
)
def test_top_p_keeps_the_likeliest_until_their_sum_reaches_it(uniform: float, token: int) -> None:
    assert drawn_at(uniform, [0.06, 0.5, 0.04, 0.4], top_p=0.85) == token


def test_a_tiny_top_p_is_greedy() -> None:
    assert {drawn_at(u, [0.3, 0.5, 0.2], top_p=1e-6) for u in (0.0, 0.5, 0.999)} == {1}


def test_temperature_sharpens() -> None:
    """At temperature 1/2, probabilities 1/4 and 3/4 become 1/10 and 9/10."""
    assert drawn_at(0.0999, [0.25, 0.75], temperature=0.5) == 0
    assert drawn_at(0.1001, [0.25, 0.75], temperature=0.5) == 1


def test_temperature_zero_takes_the_likeliest_and_no_random_number() -> None:
    one = GrowingAnswer((1,), Sampling(8, 0.0), Uniform())
    assert draw(torch.tensor([[0.0, 2.0, 1.0]]), [one]) == [1]


def test_a_wide_nucleus_is_found_beyond_the_likeliest_thousand() -> None:
    """5,000 equal tokens at top_p 0.9: 4,500 of them remain."""
    logits = torch.zeros(1, 5000)
    drawn = {draw(logits, [GrowingAnswer((1,), Sampling(8, 1.0, 0.9), Uniform(u / 300))])[0] for u in range(300)}
    assert len(drawn) == 300


def test_frequencies_are_the_probabilities() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.2]]).log()
    one = answer(seed=3)
    counts = Counter(draw(logits, [one])[0] for _ in range(4000))
    assert [counts[i] / 4000 for i in range(3)] == pytest.approx([0.5, 0.3, 0.2], abs=0.03)


def test_neighbours_change_nothing() -> None:
    torch.manual_seed(0)
    logits = torch.randn(5, 300)
    kinds = [(1.0, 1.0), (0.0, 1.0), (0.7, 0.9), (1.3, 0.5), (1.0, 1.0)]
    alone = [draw(logits[i : i + 1], [answer(*kind, seed=i)])[0] for i, kind in enumerate(kinds)]
    together = draw(logits, [answer(*kind, seed=i) for i, kind in enumerate(kinds)])
    assert together == alone


def one_by_one(p_V: torch.Tensor, top_p: float, uniform: float) -> int:
    """A token of one answer, drawn by the plainest loop."""
    order = p_V.argsort(descending=True, stable=True).tolist() if top_p < 1 else range(len(p_V))
    kept, reached = [], 0.0
    for token in order:
        reached += float(p_V[token].double())
        kept.append((token, reached))
        if top_p < 1 and reached >= top_p:
            break
    return next((token for token, total in kept if total > uniform * reached), kept[-1][0])


class Fetches(TorchDispatchMode):
    """Counts how often a number of a tensor is asked for, for which a GPU would be waited for."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += "_local_scalar_dense" in str(func)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_answers_drawn_together_are_those_drawn_one_by_one_and_no_answer_is_waited_for(top_p: float) -> None:
    torch.manual_seed(4)
    logits = (
        torch.randn(6, 2000) * torch.tensor([0.01, 1.0, 2.0, 4.0, 1.0, 0.5])[:, None]
    )  # the first has a wide nucleus
    answers = [answer(0.8, top_p, seed) for seed in range(6)]
    for one in answers:
        one.logprobs = []
    with Fetches() as fetches:  # type: ignore[no-untyped-call]  # untyped in torch
        tokens = draw(logits, answers)
    assert fetches.count == 0  # each list of tokens is fetched whole
    p = (logits / 0.8).softmax(-1)
    expected = [one_by_one(p[i], top_p, random.Random(i).random()) for i in range(6)]
    assert tokens == expected
    drawn = [(one.logprobs or [0.0])[0] for one in answers]
    assert drawn == pytest.approx([float(p[i, token].log()) for i, token in enumerate(tokens)], abs=1e-5)


def test_logits_that_are_no_numbers_are_reported_and_cost_the_others_nothing() -> None:
    logits = torch.tensor([[0.0, 1.0], [float("nan"), 1.0], [2.0, 1.0]])
    assert draw(logits, [answer(0), answer(1.0), answer(0)]) == [1, -1, 0]


def test_the_cache_keeps_what_it_holds_when_it_grows_or_moves() -> None:
    cache = KeyValueCache(slots=3)
    cache.reserve(100, in_use=0)
    stored = {slot: torch.randn(2, 5, 4) for slot in range(3)}
    for slot, key in stored.items():
        cache.store(0, slot, key, -key)
    cache.reserve(1000, in_use=3)
    cache.move(2, 0, tokens=5)
    keys, values = cache.layer(0, stored[0], stored[0])
    assert cache.capacity >= 1000
    for slot, expected in ((0, stored[2]), (1, stored[1])):
        assert torch.equal(keys[slot, :, :5], expected)
        assert torch.equal(values[slot, :, :5], -expected)


def test_the_cache_shrinks_when_nothing_is_in_use() -> None:
    cache = KeyValueCache(slots=2)
    cache.reserve(5000, in_use=0)
    cache.layer(0, torch.zeros(2, 1, 4), torch.zeros(2, 1, 6))
    cache.reserve(50, in_use=0)
    assert cache.capacity < 5000
    assert cache.layer(0, torch.zeros(2, 1, 4), torch.zeros(2, 1, 6))[0].shape == (2, 2, cache.capacity, 4)


def test_the_cache_counts_the_bytes_of_a_token() -> None:
    """Two layers of unlike sizes, keys wider than values: 2 (4 + 6) and 1 (3 + 3) numbers of 4 bytes."""
    cache = KeyValueCache(slots=2)
    cache.reserve(50, in_use=0)
    cache.layer(0, torch.zeros(2, 1, 4), torch.zeros(2, 1, 6))
    cache.layer(1, torch.zeros(1, 1, 3), torch.zeros(1, 1, 3))
    assert cache.bytes_per_token == 4 * (2 * 10 + 6)


def test_a_cache_that_memory_ends_for_half_way_holds_what_it_held_and_can_grow_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = KeyValueCache(slots=2)
    cache.reserve(100, in_use=0)
    key = torch.randn(2, 5, 4)
    for layer in range(2):
        cache.store(layer, 0, key, -key)
    before = cache.capacity
    room = iter([True, True, True])  # both tensors of the first layer, one of the second
    zeros = torch.Tensor.new_zeros

    def new_zeros(like: torch.Tensor, *shape: int) -> torch.Tensor:
        if next(room, False):
            return zeros(like, *shape)
        raise torch.OutOfMemoryError

    with monkeypatch.context() as patched:
        patched.setattr(torch.Tensor, "new_zeros", new_zeros)
        with pytest.raises(torch.OutOfMemoryError):
            cache.reserve(1000, in_use=1)
    assert cache.capacity == before
    cache.reserve(500, in_use=1)
    for layer in range(2):
        for kept, expected in zip(cache.layer(layer, key, key), (key, -key), strict=True):
            assert kept.shape[2] >= cache.capacity >= 500
            assert torch.equal(kept[0, :, :5], expected)
