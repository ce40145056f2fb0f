"""Votes to a probability: by hand."""

import math
from collections.abc import Sequence
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from constitution import Principle
from critic.judging.aggregate import CLIP, aggregate, principle_log_odds
from critic.judging.base import MAX_LOG_ODDS, log_odds
from critic.records import Vote
from critic.settings.judging import Method, Pooling
from tests.factories import both_orders, vote


def principle(id: str, weight: float = 1.0, priority: int = 1) -> Principle:
    return Principle(
        id=id, title=id, statement="s", critique="c", revision="r", compare="w?", weight=weight, priority=priority
    )


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_weighted_mean_of_log_odds() -> None:
    # Principle a: (2 + 0) / 2 = 1, weight 3. Principle b: (-1 + -1) / 2 = -1, weight 1. Pooled: (3 - 1) / 4 = 0.5.
    votes = [*both_orders("a", 2.0, 0.0), *both_orders("b", -1.0, -1.0)]
    verdict = aggregate(votes, [principle("a", weight=3), principle("b")], Pooling())
    assert verdict.outcome == "preference"
    assert verdict.probability == pytest.approx(logistic(0.5), abs=1e-15)


def test_each_vote_is_clipped_before_the_mean() -> None:
    assert principle_log_odds(both_orders("a", 50.0, -1.0)) == {"a": (CLIP - 1.0) / 2}


def test_an_always_first_judge_is_exactly_one_half() -> None:
    verdict = aggregate(both_orders("a", 2.2, -2.2), [principle("a")], Pooling(tie_band=0.0))
    assert (verdict.outcome, verdict.probability) == ("tie", 0.5)


def test_a_principle_counts_only_if_every_read_was_readable() -> None:
    votes = [*both_orders("a", 3.0, None), *both_orders("b", -1.0, -1.0)]
    assert aggregate(votes, [principle("a"), principle("b")], Pooling()).probability == pytest.approx(logistic(-1.0))
    assert aggregate(votes[:2], [principle("a")], Pooling()).outcome == "unreadable"


def test_the_highest_class_outside_the_tie_band_decides() -> None:
    principles = [principle("low", priority=2), principle("high", priority=1)]
    low_says_first = both_orders("low", 3.0, 3.0)
    decided = aggregate([*low_says_first, *both_orders("high", -1.0, -1.0)], principles, Pooling())
    assert decided.probability == pytest.approx(logistic(-1.0))
    # 0.04 log-odds is a probability of 0.51: inside the band, so the next class decides.
    undecided = aggregate([*low_says_first, *both_orders("high", 0.04, 0.04)], principles, Pooling())
    assert undecided.probability == pytest.approx(logistic(3.0))


def test_no_principle_is_its_own_outcome() -> None:
    assert aggregate([], [], Pooling()).outcome == "no_principle"


def test_votes_of_other_principles_do_not_count() -> None:
    votes = [*both_orders("a", 1.0, 1.0), *both_orders("b", -9.0, -9.0)]
    assert aggregate(votes, [principle("a")], Pooling()).probability == pytest.approx(logistic(1.0))


def flipped(votes: Sequence[Vote]) -> list[Vote]:
    return [v.model_copy(update={"log_odds": -v.log_odds if v.log_odds is not None else None}) for v in votes]


@given(
    st.lists(st.tuples(st.floats(-20, 20), st.floats(-20, 20), st.floats(0.1, 9), st.integers(1, 3)), min_size=1),
    st.floats(0, 0.3),
)
def test_swapping_the_responses_mirrors_the_probability(
    reads: list[tuple[float, float, float, int]], tie_band: float
) -> None:
    principles = [principle(f"p{i}", weight, priority) for i, (_, _, weight, priority) in enumerate(reads)]
    votes = [v for i, (a, b, _, _) in enumerate(reads) for v in both_orders(f"p{i}", a, b)]
    one, other = (aggregate(side, principles, Pooling(tie_band=tie_band)) for side in (votes, flipped(votes)))
    assert one.outcome == other.outcome
    assert one.probability is not None and other.probability is not None
    assert one.probability + other.probability == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (-1.0, -3.0, 2.0),
        # What was not listed may have all that is left: at .9 the odds are at least 9 to 1, at 1/e nothing is known.
        (math.log(0.9), -math.inf, pytest.approx(math.log(9))),
        (-math.inf, math.log(0.9), pytest.approx(-math.log(9))),
        (-1.0, -math.inf, None),
        (-math.inf, -23.5, None),
        (0.0, -math.inf, MAX_LOG_ODDS),
        (-math.inf, -math.inf, None),
        (math.nan, -1.0, None),
        (-1.0, math.nan, None),
    ],
)
def test_log_odds_of_two_choices(a: float, b: float, expected: float | None) -> None:
    assert log_odds(a, b) == expected


def test_a_vote_read_alone_has_no_order() -> None:
    assert principle_log_odds([vote("a", 1.5, order=None)]) == {"a": 1.5}


POOLED = [*both_orders("a", 2.0, 0.0), *both_orders("b", -3.0, -3.0)]
WEIGHED = [principle("a", weight=3), principle("b")]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("log-odds", logistic((3 * 1.0 + 1 * -3.0) / 4)),
        ("probability", (3 * (logistic(2.0) + logistic(0.0)) / 2 + logistic(-3.0)) / 4),
        ("majority", 3 / 4),
        # The first response's worst principle gives it -3, the second's gives it -1.
        ("minimum", logistic((-3.0 + 1.0) / 2)),
    ],
)
def test_each_method_by_hand(method: Method, expected: float) -> None:
    verdict = aggregate(POOLED, WEIGHED, Pooling(aggregation=method))
    assert verdict.probability == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("method", get_args(Method))
def test_an_always_first_judge_is_one_half_by_every_method(method: Method) -> None:
    verdict = aggregate(both_orders("a", 2.2, -2.2), [principle("a")], Pooling(tie_band=0.0, aggregation=method))
    assert verdict.outcome == "tie" and verdict.probability == pytest.approx(0.5)


@given(
    st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9), st.floats(0.1, 9), st.integers(1, 2)), min_size=1),
    st.sampled_from(get_args(Method)),
)
def test_every_method_mirrors(reads: list[tuple[float, float, float, int]], method: Method) -> None:
    principles = [principle(f"p{i}", weight, priority) for i, (_, _, weight, priority) in enumerate(reads)]
    votes = [v for i, (given, swapped, _, _) in enumerate(reads) for v in both_orders(f"p{i}", given, swapped)]
    pooling = Pooling(tie_band=0.0, aggregation=method, priorities=False)
    one, other = (aggregate(side, principles, pooling).probability for side in (votes, flipped(votes)))
    assert one is not None and other is not None and one == pytest.approx(1 - other, abs=1e-9)


def test_without_priorities_all_principles_are_one_class() -> None:
    principles = [principle("high", priority=1), principle("low", priority=2)]
    votes = [*both_orders("high", 1.0, 1.0), *both_orders("low", -2.0, -2.0)]
    assert aggregate(votes, principles, Pooling()).probability == pytest.approx(logistic(1.0))
    flat = aggregate(votes, principles, Pooling(priorities=False))
    assert flat.probability == pytest.approx(logistic(-0.5))


def by(judge: str, votes: Sequence[Vote], mode: str = "logprob") -> list[Vote]:
    return [vote.model_copy(update={"judge": judge, "mode": mode}) for vote in votes]


def test_a_jury_is_the_mean_of_its_jurors_log_odds() -> None:
    # Juror one: a and b, mean 1. Juror two reads a only: -2; its b is unreadable. Juror three can't read anything.
    votes = [
        *by("one", [*both_orders("a", 2.0, 2.0), *both_orders("b", 0.0, 0.0)]),
        *by("two", [*both_orders("a", -2.0, -2.0), *both_orders("b", 5.0, None)]),
        *by("three", both_orders("a", None, None)),
    ]
    verdict = aggregate(votes, [principle("a"), principle("b")], Pooling())
    assert verdict.probability == pytest.approx(logistic((1.0 - 2.0) / 2))


def test_one_model_in_two_modes_is_two_jurors() -> None:
    votes = [*by("one", both_orders("a", 6.0, 6.0)), *by("one", [vote("a", -1.0, None)], "contrast")]
    assert aggregate(votes, [principle("a")], Pooling()).probability == pytest.approx(logistic((6.0 - 1.0) / 2))


def test_a_judge_that_reads_no_principle_has_one_vote() -> None:
    reward = vote("a", 1.5, None).model_copy(update={"principle": None, "principle_digest": None, "mode": "rm"})
    assert aggregate([reward], [principle("a"), principle("b")], Pooling()).probability == pytest.approx(logistic(1.5))
    both = [reward, *both_orders("a", -0.5, -0.5)]
    assert aggregate(both, [principle("a")], Pooling()).probability == pytest.approx(logistic((1.5 - 0.5) / 2))
    assert aggregate([reward], [], Pooling()).outcome == "no_principle"
    unread = reward.model_copy(update={"log_odds": None, "raw": "nan"})
    assert aggregate([unread], [principle("a")], Pooling()).outcome == "unreadable"
