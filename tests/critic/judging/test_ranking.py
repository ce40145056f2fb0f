"""Bradley-Terry: by hand, against another optimiser, under exchanges; and the ranks that it gives."""

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit

from critic.judging.ranking import Array, bradley_terry, rank
from critic.records import Ranking
from critic.settings.judging import Pooling
from tests.factories import judgement, response

Compared = dict[tuple[int, int], float]  # the probability that the first is better


def wins(responses: int, compared: Compared) -> Array:
    wins_KK = np.zeros((responses, responses))
    for (first, second), probability in compared.items():
        wins_KK[first, second] += probability
        wins_KK[second, first] += 1 - probability
    return wins_KK


def strengths(wins_KK: Array) -> Array:
    fitted = bradley_terry(wins_KK)
    assert fitted is not None
    return fitted


def ranking(compared: Compared, texts: str = "abcdefgh", tie_band: float = 0.02) -> Ranking | None:
    responses = 1 + max(map(max, compared))
    judged = [judgement((), p, first=first, second=second) for (first, second), p in compared.items()]
    return rank([response(text) for text in texts[:responses]], judged, Pooling(tie_band=tie_band))


def test_two_responses_by_hand() -> None:
    # Three wins to one: log 3 apart, around 0.
    assert strengths(np.array([[0.0, 3], [1, 0]])) == pytest.approx([math.log(3) / 2, -math.log(3) / 2], abs=1e-12)


def test_three_responses_by_hand() -> None:
    # Odds 4 : 2 : 1 give exactly these probabilities, so they are their likeliest strengths.
    fitted = strengths(wins(3, {(0, 1): 4 / 6, (0, 2): 4 / 5, (1, 2): 2 / 3}))
    assert fitted == pytest.approx([math.log(2), 0, -math.log(2)], abs=1e-12)
    # Each beats the next as surely: nobody is better.
    assert strengths(wins(3, {(0, 1): 0.8, (1, 2): 0.8, (0, 2): 0.2})) == pytest.approx([0, 0, 0], abs=1e-12)
    # Without the third comparison the other two are met exactly: log 3 and log 9 apart.
    apart = np.diff(strengths(wins(3, {(0, 1): 3 / 4, (1, 2): 9 / 10})))
    assert apart == pytest.approx([-math.log(3), -math.log(9)], abs=1e-12)


def test_the_surest_judge_is_met_far_from_the_start() -> None:
    apart = np.diff(strengths(wins(12, {(i, i + 1): float(expit(6)) for i in range(11)})))
    assert apart == pytest.approx([-6] * 11, abs=1e-9)


@pytest.mark.parametrize(
    "wins_KK",
    [
        [[0, 1], [0, 0]],  # the first never loses
        [[0, 1, 0], [1, 0, 0], [0, 0, 0]],  # the third never plays
        [[0, 1, 1], [1, 0, 1], [0, 0, 0]],  # the third never wins
        [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]],  # two pairs that never meet
    ],
)
def test_no_strengths_where_none_are_finite(wins_KK: Sequence[Sequence[float]]) -> None:
    assert bradley_terry(np.array(wins_KK, dtype=float)) is None


@st.composite
def comparisons(draw: st.DrawFn, most: int = 6) -> tuple[int, Compared]:
    """Responses and their comparisons: a chain, so that all are connected, and some others."""
    responses = draw(st.integers(2, most))
    pairs = combinations(range(responses), 2)
    compared = [(a, b) for a, b in pairs if b == a + 1 or draw(st.booleans())]
    return responses, {pair: draw(st.floats(0.003, 0.997)) for pair in compared}


@given(comparisons())
def test_an_independent_optimiser_finds_no_better_strengths(case: tuple[int, Compared]) -> None:
    wins_KK = wins(*case)

    def loss(strengths_K: Array) -> tuple[float, Array]:
        apart_KK = strengths_K[:, None] - strengths_K[None, :]
        lost_KK = wins_KK * expit(-apart_KK)
        return -float((wins_KK * log_expit(apart_KK)).sum()), lost_KK.sum(axis=0) - lost_KK.sum(axis=1)

    optimum = minimize(loss, np.zeros(case[0]), jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 10_000}).x
    assert strengths(wins_KK) == pytest.approx(optimum - optimum.mean(), abs=1e-5)


@given(comparisons(), st.permutations(range(6)))
def test_another_order_of_candidates_gives_the_same_ranking(case: tuple[int, Compared], order: list[int]) -> None:
    responses, compared = case
    moved = [place for place in order if place < responses]
    elsewhere = {(moved[a], moved[b]): p for (a, b), p in compared.items()}
    before, after = ranking(compared, tie_band=0.0217), ranking(elsewhere, tie_band=0.0217)
    assert before is not None and after is not None
    assert tuple(after.ranks[place] for place in moved) == before.ranks
    assert [after.strengths[moved[i]] for i in range(responses)] == pytest.approx(before.strengths, abs=1e-9)


@given(comparisons())
def test_exchanged_sides_mirror(case: tuple[int, Compared]) -> None:
    responses, compared = case
    fitted = strengths(wins(responses, compared))
    told_the_other_way = {(second, first): 1 - p for (first, second), p in compared.items()}
    assert strengths(wins(responses, told_the_other_way)) == pytest.approx(fitted, abs=1e-9)
    lost = {pair: 1 - p for pair, p in compared.items()}
    assert strengths(wins(responses, lost)) == pytest.approx(-fitted, abs=1e-9)


@given(st.floats(0.003, 0.997))
def test_a_ranking_of_two_is_their_comparison(probability: float) -> None:
    ranked = ranking({(0, 1): probability})
    assert ranked is not None and ranked.probability(0, 1) == pytest.approx(probability, abs=1e-12)


def test_neighbours_inside_the_tie_band_share_a_rank() -> None:
    # 0.51 apart, neighbour by neighbour; the fourth is far behind. Ranks go on without a gap.
    close = {(0, 1): 0.49, (1, 2): 0.51, (0, 2): 0.5, (0, 3): 0.9, (1, 3): 0.9, (2, 3): 0.9}
    tied, apart = ranking(close), ranking(close, tie_band=0.0)
    assert tied is not None and tied.ranks == (1, 1, 1, 2)
    assert apart is not None and apart.ranks == (2, 1, 2, 3)


def test_equal_texts_are_one_response() -> None:
    ranked = ranking({(0, 1): 0.9, (1, 2): 0.3}, texts="aba")
    assert ranked is not None and ranked.ranks == (1, 2, 1) and ranked.strengths[0] == ranked.strengths[2]
    # 0.9 and 0.7 for a: twice compared, 0.8 on the mean.
    assert ranked.probability(0, 1) == pytest.approx(0.8)


def test_an_unreadable_comparison_is_left_out() -> None:
    judged = [judgement((), 0.8), judgement((), None, first=0, second=2), judgement((), 0.6, first=1, second=2)]
    ranked = rank([response(text) for text in "abc"], judged, Pooling())
    assert ranked is not None and ranked.ranks == (1, 2, 3)
    assert ranked.strengths[0] - ranked.strengths[2] == pytest.approx(logit(0.8) + logit(0.6))
    assert rank([response(text) for text in "abc"], judged[:2], Pooling()) is None


def test_unanimous_comparisons_have_finite_strengths() -> None:
    ranked = ranking({(0, 1): 1.0, (0, 2): 1.0, (1, 2): 1.0})
    assert ranked is not None and ranked.ranks == (1, 2, 3) and all(map(math.isfinite, ranked.strengths))


@pytest.mark.parametrize(
    ("ranks", "strengths"),
    [((), ()), ((2, 3), (1.0, 0.0)), ((1, 3), (1.0, 0.0)), ((2, 1), (1.0, 0.0)), ((1, 2), (1.0,)), ((1,), (math.inf,))],
)
def test_ranks_that_do_not_follow_the_strengths_are_refused(ranks: Sequence[int], strengths: Sequence[float]) -> None:
    with pytest.raises(ValueError, match=r"ranks go 1, 2, 3|zip|finite"):
        Ranking(ranks=tuple(ranks), strengths=tuple(strengths))
