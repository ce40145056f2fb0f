"""Calibration figures, against arithmetic by hand."""

from collections.abc import Callable

import pytest

from critic.statistics.calibration import bootstrapped, brier, expected_calibration_error


def test_expected_calibration_error_by_hand() -> None:
    """Bin (.7, .8] holds .75 and .79, of which one came true: off by .27. Bin (.2, .3] holds .25, which did: .75.

    Weighted by 2 of 3 and 1 of 3: (2 x .27 + .75) / 3 = .43.
    """
    assert expected_calibration_error([0.75, 0.79, 0.25], [1, 0, 1]) == pytest.approx(0.43)


def test_probabilities_that_keep_their_word_have_no_error() -> None:
    assert expected_calibration_error([0.75] * 4 + [0, 1], [True, True, True, False, False, True]) == 0
    assert expected_calibration_error([0.5] * 2, [1, 0]) == 0


def test_bins_are_closed_on_the_right() -> None:
    """.2 and .15 share a bin, where .2 too much and .85 too little come to .65 too little; .21 is in the next."""
    assert expected_calibration_error([0.2, 0.15], [0, 1]) == pytest.approx(0.65 / 2)
    assert expected_calibration_error([0.21, 0.15], [0, 1]) == pytest.approx((0.21 + 0.85) / 2)
    assert expected_calibration_error([0.2, 0.9], [0, 1], bins=1) == pytest.approx(0.05)


def test_brier_by_hand() -> None:
    assert brier([0.75, 0.5, 0.0], [1, 0, 1]) == pytest.approx((0.0625 + 0.25 + 1) / 3)


@pytest.mark.parametrize("statistic", [expected_calibration_error, brier])
@pytest.mark.parametrize(
    ("probabilities", "outcomes", "problem"),
    [
        ([], [], "at least one"),
        ([0.5], [1, 0], "as many"),
        ([1.5], [1], "between 0 and 1"),
        ([float("nan")], [1], "between 0 and 1"),
        ([0.5], [0.5], "0 or 1"),
    ],
)
def test_what_is_no_probability_is_refused(
    statistic: Callable[..., float], probabilities: list[float], outcomes: list[float], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        statistic(probabilities, outcomes)


def test_the_interval_holds_the_estimate_and_widens_where_observations_come_in_clusters() -> None:
    """Brier scores of 0 and 1 alike often: a share of one half, whose interval at n = 40 is about .34 to .66."""
    probabilities, outcomes = [0.0, 1.0] * 20, [False] * 40
    alone = bootstrapped(brier, probabilities, outcomes, range(40))
    assert (alone.estimate, alone.n, alone.clusters) == (0.5, 40, 40)
    assert alone.low == pytest.approx(0.34, abs=0.03) and alone.high == pytest.approx(0.66, abs=0.03)
    clustered = bootstrapped(brier, sorted(probabilities), outcomes, [i // 4 for i in range(40)])
    assert clustered.high - clustered.low > 1.5 * (alone.high - alone.low)
    assert bootstrapped(brier, probabilities, outcomes, range(40)) == alone


def test_one_cluster_says_nothing_of_others() -> None:
    figure = bootstrapped(brier, [0.5, 0.5], [True, False], [7, 7])
    assert (figure.estimate, figure.low, figure.high, figure.clusters) == (0.25, 0.0, 1.0, 1)
