"""Which principles are drawn: uniformly, purely, and with as little movement as can be."""

from collections import Counter
from itertools import combinations

import pytest
from scipy.stats import chisquare

from base.digest import unit_interval
from constitution import InputError, sample
from constitution.schema import Principle
from tests.constitution.samples import make_principles, principle

SIXTEEN = make_principles(*(f"p{i}" for i in range(16)))


def drawn(
    principles: tuple[Principle, ...], prompt: str, k: int | None = 1, seed: int = 0, round: int = 0
) -> list[str]:
    return [p.id for p in sample(principles, seed=seed, prompt=prompt, round=round, k=k)]


def test_the_draw_is_the_lowest_hash() -> None:
    """By hand: each principle's own number, and the lowest two, in file order."""
    lots = {p.id: unit_interval("principle", 3, "key", 1, p.id) for p in SIXTEEN}
    lowest = sorted(sorted(lots, key=lambda id: lots[id])[:2], key=lambda id: int(id[1:]))
    assert drawn(SIXTEEN, "key", 2, seed=3, round=1) == lowest


def test_single_draws_are_uniform() -> None:
    counts = Counter(drawn(SIXTEEN, f"prompt {i}")[0] for i in range(16_000))
    assert len(counts) == 16
    assert chisquare(list(counts.values())).pvalue > 0.001


def test_draws_of_two_are_uniform_over_pairs() -> None:
    five = SIXTEEN[:5]
    counts = Counter(tuple(drawn(five, f"prompt {i}", 2)) for i in range(5_000))
    assert set(counts) == set(combinations([p.id for p in five], 2))
    assert chisquare(list(counts.values())).pvalue > 0.001


@pytest.mark.parametrize("other", [{"seed": 1}, {"round": 1}])
def test_seed_and_round_draw_independently(other: dict[str, int]) -> None:
    same = sum(drawn(SIXTEEN, f"prompt {i}") == drawn(SIXTEEN, f"prompt {i}", **other) for i in range(1_600))
    assert 60 < same < 145  # 1 in 16 by chance: 100, and 4.6 standard deviations around it


def test_the_same_arguments_draw_the_same() -> None:
    assert drawn(SIXTEEN, "x", 5) == drawn(SIXTEEN, "x", 5)


def test_all_in_file_order() -> None:
    everything = [p.id for p in SIXTEEN]
    assert drawn(SIXTEEN, "x", None) == drawn(SIXTEEN, "x", 16) == drawn(SIXTEEN, "x", 99) == everything
    assert drawn((), "x") == []


def test_the_order_of_the_file_moves_no_draw() -> None:
    for i in range(100):
        assert set(drawn(SIXTEEN, str(i), 3)) == set(drawn(SIXTEEN[::-1], str(i), 3))


def test_rewording_and_reweighting_move_no_draw() -> None:
    changed = tuple(Principle.model_validate(principle(p.id, critique="Other.", weight=9)) for p in SIXTEEN)
    assert all(drawn(SIXTEEN, str(i)) == drawn(changed, str(i)) for i in range(500))


def test_removing_a_principle_moves_only_the_draws_that_it_had() -> None:
    fifteen = SIXTEEN[1:]
    moved = [i for i in range(1_000) if drawn(SIXTEEN, str(i)) != drawn(fifteen, str(i))]
    assert moved == [i for i in range(1_000) if drawn(SIXTEEN, str(i)) == ["p0"]]
    assert 30 < len(moved) < 100


def test_removing_one_of_several_drawn_keeps_the_others() -> None:
    for i in range(200):
        before, after = set(drawn(SIXTEEN, str(i), 4)), set(drawn(SIXTEEN[1:], str(i), 4))
        assert before - {"p0"} <= after


@pytest.mark.parametrize("k", [0, -1])
def test_fewer_than_one_is_refused(k: int) -> None:
    with pytest.raises(InputError, match="cannot draw"):
        sample(SIXTEEN, seed=0, prompt="x", round=0, k=k)
