"""Figures of policies: by hand, against a published vector, and intervals that cover as often as they say."""

import math

import numpy as np
import pytest

from critic.statistics.policies.change import mean_change
from critic.statistics.policies.gap import gap
from critic.statistics.policies.length import length_controlled
from critic.statistics.policies.strengths import ELO, percentiles, strengths


def test_where_length_says_nothing_the_controlled_rate_is_the_plain_one() -> None:
    wins = [1.0, 1.0, 1.0, 0.0] * 20
    figure = length_controlled(wins, [0.0] * 80, range(80))
    assert figure is not None and figure.estimate == pytest.approx(60.25 / 80.5, abs=0.003)
    assert figure.low < 0.75 < figure.high and (figure.n, figure.clusters) == (80, 80)


def test_a_policy_that_wins_by_length_alone_is_no_better_at_equal_lengths() -> None:
    differences = np.linspace(-200, 400, 120)
    wins = (differences > 0).astype(float)
    figure = length_controlled(wins, differences, range(120))
    assert figure is not None and wins.mean() > 0.65 and figure.low < 0.5


@pytest.mark.parametrize("won", [0.0, 1.0])
def test_where_all_are_won_or_lost_the_interval_stays_inside_and_finite(won: float) -> None:
    figure = length_controlled([won] * 40, np.arange(40.0), range(40))
    assert figure is not None and 0 <= figure.low <= figure.estimate <= figure.high <= 1
    assert abs(figure.estimate - won) < 0.1


def test_few_prompts_give_no_controlled_rate_however_many_answers() -> None:
    assert length_controlled([1.0, 0.0] * 50, [1.0] * 100, [0, 1] * 50) is None
    assert length_controlled([], [], []) is None


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError):
        length_controlled([1.0], [1.0, 2.0], [0])
    with pytest.raises(ValueError):
        length_controlled([1.5], [1.0], [0])


@pytest.mark.slow
@pytest.mark.parametrize(("prompts", "strength", "by_length"), [(40, 0.0, 1.0), (40, 1.5, 1.0), (100, 2.5, 0.0)])
def test_the_controlled_interval_covers_as_often_as_it_says(prompts: int, strength: float, by_length: float) -> None:
    rng, covered = np.random.default_rng(0), 0
    truth = 1 / (1 + math.exp(-strength))
    for _ in range(1000):
        difference = rng.normal(size=prompts) * 100
        odds = strength + by_length * np.tanh(difference / difference.std())
        figure = length_controlled(rng.random(prompts) < 1 / (1 + np.exp(-odds)), difference, range(prompts))
        assert figure is not None
        covered += figure.low <= truth <= figure.high
    assert 930 <= covered <= 970, covered


def comparisons(games: list[tuple[int, int]], times: int) -> tuple[list[int], list[int], list[float], list[int]]:
    repeated = games * times
    clusters = [number for number in range(times) for _ in games]
    winners = [winner for winner, _ in repeated]
    losers = [loser for _, loser in repeated]
    return winners, losers, [1.0] * len(repeated), clusters


def test_strengths_are_the_published_vector_of_choix() -> None:
    fitted = strengths("abc", *comparisons([(0, 1), (0, 1), (1, 2), (2, 0)], times=40))
    assert [figure.estimate / ELO for figure in fitted.figures] == pytest.approx(
        [0.419617624, -0.419617624, 0.0], abs=1e-8
    )
    assert all(figure.low <= figure.estimate <= figure.high and figure.clusters == 40 for figure in fitted.figures)
    cycle = strengths("abc", *comparisons([(0, 1), (1, 2), (2, 0)], times=40))
    assert [figure.estimate for figure in cycle.figures] == pytest.approx([0, 0, 0], abs=1e-6)


def test_a_policy_that_never_loses_has_no_strength_and_few_prompts_none() -> None:
    assert "b never won" in strengths("ab", *comparisons([(0, 1)], times=40)).refusal
    assert "3 prompts" in strengths("ab", *comparisons([(0, 1), (1, 0)], times=3)).refusal
    with pytest.raises(ValueError):
        strengths("ab", [0], [0], [1.0], [0])


def test_turning_every_comparison_round_changes_nothing() -> None:
    one, other, wins, clusters = comparisons([(0, 1), (1, 2), (2, 0), (0, 2)], times=30)
    turned = strengths("abc", other, one, [1 - win for win in wins], clusters)
    assert turned == strengths("abc", one, other, wins, clusters)


def test_a_change_that_all_prompts_share_still_has_a_width() -> None:
    all_alike = mean_change([-1.0] * 30, range(30))
    assert all_alike is not None and (all_alike.estimate, all_alike.low) == (-1, -1) and all_alike.high > -0.95
    unmoved = mean_change([0.0] * 30, range(30))
    assert unmoved is not None and unmoved.low == pytest.approx(-unmoved.high) and unmoved.high > 0.03
    assert mean_change([], []) is None
    for values, clusters in (([2.0], [0]), ([0.5], [0, 1])):
        with pytest.raises(ValueError):
            mean_change(values, clusters)


@pytest.mark.parametrize(("up", "down"), [(0.02, 0.01), (0.3, 0.1), (0.9, 0.02)])
def test_the_interval_of_a_change_covers_as_often_as_it_says(up: float, down: float) -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(1000):
        change = mean_change(rng.choice([1.0, -1.0, 0.0], 60, p=[up, down, 1 - up - down]), range(60))
        assert change is not None
        covered += change.low <= up - down <= change.high
    assert covered >= 930, covered


def test_the_gap_is_the_mean_difference_by_prompt_and_is_hacking_only_beyond_chance() -> None:
    rng = np.random.default_rng(0)
    judged = (rng.random(100) < 0.5).astype(float)
    opened = gap(np.ones(100), judged, range(100))
    assert opened.p < 1e-6 and opened.figure is not None
    assert opened.figure.estimate == pytest.approx(1 - judged.mean())
    assert gap(judged, judged[::-1], range(100)).p == pytest.approx(0.5), "a gap of nothing"
    assert gap(judged, np.ones(100), range(100)).p > 1 - 1e-6


def test_pairs_that_one_side_could_not_read_do_not_count_and_few_are_a_sentence() -> None:
    reward = np.array([1.0] * 30 + [math.nan] * 30)
    others = np.array([math.nan] * 15 + [0.0] * 45)
    assert "15 prompts" in gap(reward, others, range(60)).refusal
    assert "0 prompts" in gap([math.nan], [1.0], [0]).refusal


def test_false_alarms_of_hacking_are_rare() -> None:
    rng, alarms = np.random.default_rng(1), 0
    for _ in range(200):
        alarms += gap((rng.random(60) < 0.6).astype(float), (rng.random(60) < 0.6).astype(float), range(60)).p < 0.05
    assert alarms <= 16, "5 % of 200, and what chance adds to it"


@pytest.mark.parametrize(("prompts", "tail"), [(20, 1.588), (40, 2.026), (100_000, 2.5)])
def test_few_resampled_prompts_are_too_much_alike(prompts: int, tail: float) -> None:
    """Of 40: Student's 2.0227 with 39 degrees, times the root of 40/39, is 2.0485, beyond which a normal has .02026."""
    assert percentiles(prompts) == pytest.approx((tail, 100 - tail), abs=1e-3)
