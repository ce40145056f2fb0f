"""Few human labels: another implementation, arithmetic by hand, published limits, and what is refused."""

import math

import numpy as np
import pytest

from critic.statistics.intervals import NORMAL, student
from critic.statistics.prediction import ppi
from critic.statistics.prediction.planner import plan
from critic.statistics.prediction.rogan_gladen import adjusted, prevalence
from critic.statistics.prediction.routing import (
    EVEN,
    SURE,
    Round,
    doubt,
    drawn,
    expected_errors,
    probabilities,
    rounds_mean,
    routed_mean,
)
from critic.statistics.prediction.verdicts import slips, verdicts
from critic.statistics.reliability.ratings import Floats


def sampled(seed: int, n: int, more: int, accuracy: float = 0.8) -> tuple[Floats, Floats, Floats]:
    rng = np.random.default_rng(seed)
    human = (rng.random(n + more) < 0.6).astype(float)
    judge = np.where(rng.random(n + more) < accuracy, human, 1 - human)
    return human[:n], judge[:n], judge[n:]


def doubting(seed: int, n: int, more: int) -> tuple[Floats, Floats, Floats]:
    """A judge of accuracy 0.8 that knows when it is unsure: right on 98 of 100, or on 62 of 100."""
    rng = np.random.default_rng(seed)
    human = (rng.random(n + more) < 0.5).astype(float)
    sure = np.where(rng.random(n + more) < 0.5, 0.98, 0.62)
    judge = np.where((rng.random(n + more) < sure) == (human == 1), sure, 1 - sure)
    return human[:n], judge[:n], judge[n:]


def test_ppi_is_that_of_another_implementation() -> None:
    y, f, rest = sampled(0, 400, 4000)
    mean = ppi.mean(y, f, rest, share=False)
    # ppi-python 0.2.3 of these numbers: ppi_mean_pointestimate and ppi_mean_ci, with lam=.4892461740702434. Its wheel
    # has a package `tests` that hides this one, so it can't be installed beside them.
    assert mean.weight == pytest.approx(0.4892461740702434, abs=1e-12)
    assert mean.figure.estimate == pytest.approx(0.566658592479597, abs=1e-12)
    low, high = 0.5249688942706331, 0.608348290688561
    scale = student(399) / NORMAL * math.sqrt(400 / 399)
    assert mean.figure.high - mean.figure.low == pytest.approx((high - low) * scale, rel=1e-4)


def test_a_useless_judge_costs_nothing_and_a_perfect_one_leaves_the_rest() -> None:
    rng = np.random.default_rng(1)
    useless = ppi.mean(rng.integers(2, size=200), rng.integers(2, size=200), rng.integers(2, size=2000))
    assert useless.saved > -0.01 and useless.weight < 0.3
    y, f, rest = sampled(2, 200, 2000, accuracy=1.0)
    assert ppi.mean(y, f, rest).saved > 0.6


def test_at_accuracy_080_intervals_are_a_quarter_narrower() -> None:
    saved = [ppi.mean(*doubting(seed, 300, 6000)).saved for seed in range(50)]
    assert np.mean(saved) >= 0.25
    right = []
    for seed in range(50):
        y, f, _ = doubting(seed, 300, 0)
        right.append(((f > 0.5) == (y > 0.5)).mean())
    assert np.mean(right) == pytest.approx(0.8, abs=0.01)


def test_differences_are_paired() -> None:
    rng = np.random.default_rng(3)
    a = rng.random(2000)
    b = a - 0.1 + rng.normal(0, 0.01, 2000)
    difference = ppi.difference((a[:100], b[:100]), (a[:100], b[:100]), (a[100:], b[100:])).figure
    assert difference.low < 0.1 < difference.high and difference.high - difference.low < 0.01


def test_few_prompts_have_no_interval_and_ties_no_error() -> None:
    mean = ppi.mean([0.5] * 10, [0.5] * 10, [0.5] * 100).figure
    assert (mean.estimate, mean.low, mean.high) == (0.5, 0, 1)
    tied = ppi.mean([0.5] * 60, [0.5] * 60, [0.5] * 100).figure
    assert tied.low < 0.5 < tied.high
    with pytest.raises(ValueError, match="no item has a human label"):
        ppi.mean([], [], [1.0])
    with pytest.raises(ValueError, match="no number"):
        ppi.mean([np.nan] * 30, [1.0] * 30, [1.0])
    with pytest.raises(ValueError, match="outside 0 to 1"):
        ppi.mean([2.0] * 30, [1.0] * 30, [1.0])


def test_clusters_are_respected() -> None:
    y, f, rest = sampled(4, 60, 600)
    alone = ppi.mean(np.repeat(y, 5), np.repeat(f, 5), np.repeat(rest, 5)).figure
    of, others = np.repeat(np.arange(60), 5), np.repeat(np.arange(600), 5)
    together = ppi.mean(np.repeat(y, 5), np.repeat(f, 5), np.repeat(rest, 5), of, others).figure
    assert (together.high - together.low) / (alone.high - alone.low) == pytest.approx(math.sqrt(5), rel=0.05)


def test_the_plan_reaches_its_width() -> None:
    y, f, _ = sampled(5, 300, 0)
    made = plan(y, f, 20_000, 0.08)
    assert made.with_judge is not None and made.without_judge is not None and made.with_judge < made.without_judge
    widths = []
    for seed in range(20):
        mean = ppi.mean(*sampled(seed, made.with_judge, 20_000)).figure
        widths.append(mean.high - mean.low)
    assert np.mean(widths) == pytest.approx(0.08, rel=0.08)
    assert made.more == made.with_judge - 300
    with pytest.raises(ValueError, match="at least 20 prompts"):
        plan(y[:10], f[:10], 100, 0.1)
    with pytest.raises(ValueError, match="above 0"):
        plan(y, f, 100, 0)


def test_rogan_and_gladen_by_hand() -> None:
    # Of 100 diseased 90 test positive, of 100 healthy 20; 48 % of 1,000 do: (0.48 + 0.8 - 1) / (0.9 + 0.8 - 1) = 0.4.
    assert adjusted(480, 1000, 90, 100, 80, 100).estimate == pytest.approx(0.4, rel=1e-12)
    human, judge = [1.0] * 100 + [0.0] * 100, [1.0] * 90 + [0.0] * 10 + [1.0] * 20 + [0.0] * 80
    share = prevalence(human, judge, [1.0] * 480 + [0.0] * 520)
    assert share.estimate == pytest.approx(0.4) and 0.25 < share.low < 0.4 < share.high < 0.55
    with pytest.raises(ValueError, match="nothing follows"):
        adjusted(50, 100, 40, 100, 60, 100)
    with pytest.raises(ValueError, match="both a yes and a no"):
        prevalence([1.0] * 30, [1.0] * 30, [1.0])


def test_chances_add_up_to_the_budget_and_are_kept() -> None:
    rng = np.random.default_rng(6)
    doubts = rng.random(500)
    chances = probabilities(doubts, 60)
    assert chances.sum() == pytest.approx(60) and (chances > 0).all() and (chances <= 1).all()
    times = np.zeros(500)
    for seed in range(3000):
        shown = drawn(chances, seed)
        assert shown.size == 60
        times[shown] += 1
    assert np.abs(times / 3000 - chances).max() < 0.04
    assert probabilities(doubts, 500).tolist() == [1.0] * 500
    assert probabilities(np.zeros(10), 5).tolist() == pytest.approx([0.5] * 10), "nothing is doubted: an even draw"
    extreme = np.concatenate(([1e6], np.ones(99)))
    assert probabilities(extreme, 10).max() == 1


def test_routed_figures_are_unbiased_and_narrower_than_an_even_draw_s() -> None:
    rng = np.random.default_rng(7)
    hard = rng.random(1000) < 0.3
    judge = (rng.random(1000) < 0.5).astype(float)
    human = np.where(rng.random(1000) < np.where(hard, 0.5, 0.01), 1 - judge, judge)
    pilot = rng.choice(1000, 150, replace=False)
    sizes = expected_errors({"margin": hard.astype(float)}, pilot, (human - judge)[pilot])
    squares = {}
    for name, chances in (("routed", probabilities(sizes, 120)), ("even", np.full(1000, 0.12))):
        means = []
        for seed in range(500):
            shown = drawn(chances, seed)
            means.append(routed_mean(human[shown], judge[shown], chances[shown], judge))
        estimates = np.array([one.estimate for one in means])
        assert abs(estimates.mean() - human.mean()) < 3 * estimates.std() / math.sqrt(500), "unbiased over 500"
        held = np.mean([one.low <= human.mean() <= one.high for one in means])
        assert 0.93 <= held <= 0.97
        squares[name] = estimates.var()
    assert squares["routed"] < 0.7 * squares["even"], "30 % fewer labels for the same width"


def test_how_far_a_judge_is_off_is_first_thought_and_then_learnt() -> None:
    signals = {"margin": [0.0, 1.0, 0.5], "orders": [0.0, 1.0, np.nan], "unlike": [np.nan] * 3}
    thought = expected_errors(signals)
    assert thought.tolist() == pytest.approx([SURE, EVEN, math.sqrt(SURE**2 + (EVEN**2 - SURE**2) / 4)])
    few = expected_errors(signals, [1] * 19, [0.0] * 19)
    assert few.tolist() == pytest.approx(thought.tolist()), "nineteen labels move nothing"
    # Four hundred labels say that the order tells where the judge is off, and the margin doesn't.
    rng = np.random.default_rng(0)
    both = {"margin": rng.random(400), "orders": rng.random(400)}
    off = (rng.random(400) < 0.5 * both["orders"] ** 2).astype(float)
    places = np.arange(400)
    learnt = expected_errors(both, places, off)
    certain = expected_errors(
        {"margin": [*both["margin"], 1.0, 0.0], "orders": [*both["orders"], 0.0, 1.0]}, places, off
    )
    assert certain[-1] > 2 * certain[-2] and certain[-1] == pytest.approx(math.sqrt(0.5), abs=0.1)
    assert learnt.tolist() == pytest.approx(certain[:-2].tolist()), "others' signals change nothing"
    with pytest.raises(ValueError, match="no signal"):
        expected_errors({})


def test_rounds_that_learn_from_each_other_stay_unbiased_and_cover() -> None:
    trial = np.random.default_rng(3)
    off, held, alone = [], 0, []
    for _ in range(300):
        signals = {"margin": trial.random(300), "orders": trial.random(300)}
        judge = (trial.random(300) < 0.5).astype(float)
        human = np.where(trial.random(300) < 0.02 + 0.4 * signals["orders"] ** 4, 1 - judge, judge)
        labelled = np.zeros(300, bool)
        rounds = []
        for budget in (30, 40):
            left, known = np.flatnonzero(~labelled), np.flatnonzero(labelled)
            chances = np.ones(300)
            chances[left] = probabilities(expected_errors(signals, known, (human - judge)[known])[left], budget)
            labelled[left[drawn(chances[left], int(trial.integers(2**31)))]] = True
            shown = np.flatnonzero(labelled)
            rounds.append(Round(human[shown], judge[shown], chances[shown], judge))
        mean = rounds_mean(rounds)
        assert mean.n == 70
        off.append(mean.estimate - human.mean())
        held += mean.low <= human.mean() <= mean.high
        alone.append(rounds_mean(rounds[1:]).estimate - human.mean())
    assert abs(np.mean(off)) < 3 * np.std(off) / math.sqrt(300) and 0.91 <= held / 300 <= 0.99
    assert np.var(off) < np.var(alone), "what the first round says is not thrown away"
    with pytest.raises(ValueError, match="expected a round"):
        rounds_mean([])


def test_signals_that_are_missing_are_left_out() -> None:
    doubts = doubt({"margin": [0.0, 1.0, np.nan], "split": [np.nan, 0.0, np.nan]})
    assert doubts.tolist() == pytest.approx([0.0, math.sqrt(0.5), 1.0])
    with pytest.raises(ValueError, match="no signal"):
        doubt({})
    with pytest.raises(ValueError, match="outside 0 to 1"):
        doubt({"margin": [2.0]})


def test_verdicts_of_slips_and_of_people_who_differ() -> None:
    given = verdicts([5, 5, 2, 1, 0, 8], [0, 5, 1, 1, 6, 4], 0.1)
    assert given == [
        "settled",
        "people differ, keep the share",
        "collect more",
        "collect more",
        "settled",
        "people differ, keep the share",
    ]
    # 1 label of 10 is a slip: of two labels of an item 18 % differ.
    assert slips([9.0] * 82 + [1.0] * 18, [0.0] * 82 + [1.0] * 18) == pytest.approx(0.003, abs=0.005)
    with pytest.raises(ValueError, match="two labels"):
        slips([1.0, 0.0], [0.0, 1.0])


def test_slips_are_estimated_from_pairs_of_labels() -> None:
    rng = np.random.default_rng(8)
    slipped = (rng.random((4000, 3)) < 0.1).sum(axis=1)
    assert slips(slipped, 3 - slipped) == pytest.approx(0.1, abs=0.01)
