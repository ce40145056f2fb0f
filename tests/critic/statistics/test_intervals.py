"""Intervals: known values, a second implementation, and what clusters do to them."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from critic.statistics.intervals import Mean, Share, Z, wilson


def share(*clusters: tuple[int, int]) -> Share:
    """A share of clusters of (hits, observations)."""
    found = Share()
    for hits, n in clusters:
        for i in range(n):
            found.count(i < hits)
        found.end_cluster()
    return found


def test_wilson_of_eight_in_ten() -> None:
    # z^2 = 3.8415; centre (0.8 + 0.19207) / 1.38415 = 0.71674;
    # half width 1.95996 / 1.38415 * sqrt(0.016 + 0.0096037) = 0.22658.
    assert wilson(0.8, 10) == pytest.approx((0.49016, 0.94332), abs=1e-5)


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (0, 30), (1, 7), (15, 30), (30, 30), (499, 1000)])
def test_wilson_equals_scipys(hits: int, n: int) -> None:
    interval = binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits / n, n) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_clusters_of_one_are_independent_observations() -> None:
    figure = share(*[(1, 1)] * 7, *[(0, 1)] * 3).figure()
    assert figure is not None
    assert (figure.estimate, figure.n, figure.clusters) == (0.7, 10, 10)
    assert (figure.low, figure.high) == pytest.approx(wilson(0.7, 10))


def test_clusters_that_say_one_thing_count_once() -> None:
    figure = share((4, 4), (4, 4), (0, 4)).figure()
    assert figure is not None and figure.n == 12
    assert (figure.low, figure.high) == pytest.approx(wilson(2 / 3, 3))
    always = share((4, 4), (4, 4), (4, 4)).figure()
    assert always is not None and (always.low, always.high) == pytest.approx(wilson(1, 3))


def test_one_cluster_is_one_observation() -> None:
    figure = share((3, 6)).figure()
    assert figure is not None and (figure.low, figure.high) == pytest.approx(wilson(0.5, 1))


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
    assert figure.high - 3 == pytest.approx(Z * 4 / 3)


def test_one_cluster_says_nothing_of_a_means_spread() -> None:
    mean = Mean()
    mean.count(2.0)
    mean.end_cluster()
    figure = mean.figure()
    assert figure is not None and (figure.low, figure.high) == (-math.inf, math.inf)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """300 samples of 60 clusters whose 8 votes lean together: 95 % intervals. Naive ones cover about 60 %."""
    rng = np.random.default_rng(0)
    covered = naive = 0
    for _ in range(300):
        leaning = rng.beta(0.7, 0.7, size=60)
        found = share(*[(int(rng.binomial(8, p)), 8) for p in leaning])
        figure = found.figure()
        assert figure is not None
        covered += figure.low <= 0.5 <= figure.high
        low, high = wilson(figure.estimate, figure.n)
        naive += low <= 0.5 <= high
    assert 0.91 < covered / 300 < 0.985
    assert naive / 300 < 0.75
