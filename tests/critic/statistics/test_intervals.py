"""Intervals: known values, a second implementation, and what clusters do to them."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from critic.statistics.intervals import FEW, Mean, Share, exact, paired, student


def share(*clusters: tuple[int, int]) -> Share:
    """A share of clusters of (hits, observations)."""
    counted = Share()
    for hits, n in clusters:
        for i in range(n):
            counted.count(i < hits)
        counted.end_cluster()
    return counted


def test_the_exact_interval_by_hand() -> None:
    # Of 2 in 2: p^2 = 0.025 at the lower end. Of 0 in 30: (1 - p)^30 = 0.025 at the upper one.
    assert exact(2, 2) == pytest.approx((math.sqrt(0.025), 1.0))
    assert exact(0, 30) == pytest.approx((0.0, 1 - 0.025 ** (1 / 30)))


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (0, 30), (1, 7), (15, 30), (30, 30), (499, 1000)])
def test_the_exact_interval_equals_scipys(hits: int, n: int) -> None:
    interval = binomtest(hits, n).proportion_ci(method="exact")
    assert exact(hits, n) == pytest.approx((interval.low, interval.high), abs=1e-9)


def test_clusters_of_one_are_independent_observations() -> None:
    figure = share(*[(1, 1)] * 7, *[(0, 1)] * 3).figure()
    assert figure is not None
    assert (figure.estimate, figure.n, figure.clusters) == (0.7, 10, 10)
    assert (figure.low, figure.high) == pytest.approx(exact(7, 10))


def test_clusters_that_say_one_thing_count_once() -> None:
    figure = share((4, 4), (4, 4), (0, 4)).figure()
    assert figure is not None and figure.n == 12
    assert (figure.low, figure.high) == pytest.approx(exact(2, 3))
    always = share((4, 4), (4, 4), (4, 4)).figure()
    assert always is not None and (always.low, always.high) == pytest.approx(exact(3, 3))


def test_one_cluster_is_one_observation() -> None:
    figure = share((3, 6)).figure()
    assert figure is not None and (figure.low, figure.high) == pytest.approx(exact(0.5, 1))


def test_half_hits_make_an_interval_that_is_no_narrower_than_whole_ones() -> None:
    halves, wholes = Share(), Share()
    for i in range(10):
        halves.count(0.5)
        halves.end_cluster()
        wholes.count(i % 2)
        wholes.end_cluster()
    assert halves.figure() == wholes.figure(), "twice 5 of 10"


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (2, 0), (6, 0), (5, 1), (40, 60), (3, 3)])
def test_the_paired_test_is_the_exact_sign_test(wins: int, losses: int) -> None:
    expected = binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert paired(wins, losses).p == pytest.approx(expected)


def test_nothing_observed_is_no_figure() -> None:
    empty = share((0, 0), (0, 0))
    assert empty.figure() is None and empty.clusters == 0
    assert Mean().figure() is None


def test_mean_by_hand() -> None:
    mean = Mean()
    for cluster in ([1.0, 3.0], [5.0]):
        for value in cluster:
            mean.count(value)
        mean.end_cluster()
    figure = mean.figure()
    assert figure is not None and figure.estimate == 3
    # Residuals of the clusters' totals: 4 - 3*2 = -2 and 5 - 3 = 2; variance (4 + 4) / 3^2 * 2 / (2 - 1) = 16 / 9.
    # Student's t with one degree of freedom is 12.706.
    assert figure.high - 3 == pytest.approx(12.7062 * 4 / 3, rel=1e-5)


def test_one_cluster_says_nothing_of_a_means_spread() -> None:
    mean = Mean()
    mean.count(2.0)
    mean.end_cluster()
    figure = mean.figure()
    assert figure is not None and (figure.low, figure.high) == (-math.inf, math.inf)


def test_a_few_clusters_that_say_the_very_same_say_nothing_of_a_means_spread() -> None:
    for clusters, known in ((2, False), (FEW - 1, False), (FEW, True)):
        mean = Mean()
        for _ in range(clusters):
            mean.count(0.1)
            mean.end_cluster()
        figure = mean.figure()
        assert figure is not None and math.isfinite(figure.low) == known


def test_means_of_a_few_are_covered_as_often_as_their_intervals_say() -> None:
    """1,000 samples of 4 normal values: a normal interval covers about 86 %."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        mean = Mean()
        for value in rng.normal(3.0, 2.0, size=4):
            mean.count(float(value))
            mean.end_cluster()
        figure = mean.figure()
        assert figure is not None
        covered += figure.low <= 3.0 <= figure.high
    assert 0.935 < covered / 1000 < 0.965
    assert student(3) == pytest.approx(3.18245, abs=1e-5)


@pytest.mark.parametrize("truth", [0.5, 0.8, 0.97])
def test_shares_of_a_few_are_covered_at_least_as_often_as_their_intervals_say(truth: float) -> None:
    rng = np.random.default_rng(0)
    for n in (2, 5, 20):
        figures = []
        for _ in range(300):
            hits = [(int(hit), 1) for hit in rng.random(n) < truth]
            figures.append(share(*hits).figure())
        assert sum(figure.low <= truth <= figure.high for figure in figures if figure) / 300 > 0.93


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """300 samples of 60 clusters whose 8 votes lean together: 95 % intervals. Naive ones cover about 60 %."""
    rng = np.random.default_rng(0)
    covered = naive = 0
    for _ in range(300):
        leaning = rng.beta(0.7, 0.7, size=60)
        counted = share(*[(int(rng.binomial(8, p)), 8) for p in leaning])
        figure = counted.figure()
        assert figure is not None
        covered += figure.low <= 0.5 <= figure.high
        low, high = exact(figure.estimate * figure.n, figure.n)
        naive += low <= 0.5 <= high
    assert 0.91 < covered / 300 < 0.985
    assert naive / 300 < 0.75
