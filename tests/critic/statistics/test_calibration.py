"""The plain calibration error, against arithmetic by hand."""

import pytest

from critic.statistics.calibration import expected_calibration_error


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
def test_what_is_no_probability_is_refused(probabilities: list[float], outcomes: list[float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        expected_calibration_error(probabilities, outcomes)
