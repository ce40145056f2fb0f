"""Judges: planted leanings are found, few are where none is, and maps mend what they were fitted to mend."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom

from critic.statistics.alarms import faults
from critic.statistics.calibration import expected_calibration_error
from critic.statistics.intervals import FEW
from critic.statistics.judges.calibration_error import brier_score, calibration_error, event_calibration_error
from critic.statistics.judges.ceiling import ceiling
from critic.statistics.judges.leanings import controlled_accuracy, first_position, leaning
from critic.statistics.judges.maps import MAPS, Isotonic, Temperature, curve, isotonic, mended, temperature
from critic.statistics.reliability.ratings import Floats, Ratings


def test_a_longer_wins_judge_has_no_accuracy_of_its_own() -> None:
    rng = np.random.default_rng(0)
    longer = rng.normal(size=400)
    people = (rng.random(400) < np.where(longer > 0, 0.75, 0.25)).astype(float)
    judge = (longer > 0).astype(float)
    right = (judge == people).astype(float)
    assert right.mean() > 0.7, "it looks good"
    controlled = controlled_accuracy(right, people, longer)
    assert controlled is not None and controlled.estimate == pytest.approx(0.5)
    lean = leaning(judge, people, longer)
    assert lean is not None and lean.judge.estimate == 1 and lean.excess.low > 0.15 and lean.p < 1e-6


def test_leanings_by_hand() -> None:
    lean = leaning([1, 0, 0.5, 1], [1, 1, 0.5, 0], [2.0, 3.0, -1.0, 0.0])
    assert lean is not None
    assert lean.judge.estimate == pytest.approx(0.5) and lean.people.estimate == pytest.approx(2.5 / 3)
    assert (lean.excess.low, lean.excess.high) == (-1, 1), "three pairs"
    assert leaning([1, 0], [1, 0], [0, 0]) is None
    assert controlled_accuracy([1, 1], [1, 1], [1.0, 2.0]) is None, "people always prefer the longer"


def test_positions() -> None:
    always_first = first_position([1.0] * 40, [1.0] * 40)
    assert always_first is not None and always_first.judge.estimate == 1 and always_first.p < 1e-9
    fair = first_position([1.0, 0.0] * 20, [0.0, 1.0] * 20)
    assert fair is not None and fair.judge.estimate == 0.5 and fair.p == 1
    assert first_position([], []) is None


def test_few_clean_judges_are_accused() -> None:
    alarms = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        people = (rng.random(120) < 0.5).astype(float)
        judge = np.where(rng.random(120) < 0.75, people, 1 - people)
        tests = {}
        for name in "abcdef":
            lean = leaning(judge, people, rng.normal(size=120))
            assert lean is not None
            tests[name] = lean.p
        alarms += bool(faults(tests))
    assert alarms <= 10, "5 % of 200"


def test_holms_procedure() -> None:
    assert faults({"a": 0.01, "b": 0.04, "c": 0.03}, 0.05) == ("a",)
    assert faults({"a": 0.01, "b": 0.02, "c": 0.03}, 0.05) == ("a", "b", "c")
    assert faults({"a": 0.01, "b": 0.02, "c": 0.03}) == (), "a report has a fifth of that"
    assert faults({}) == ()


def sure(seed: int, n: int, times: float) -> tuple[Floats, Floats]:
    """A judge whose log-odds are ``times`` too large."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(0, 1.5, n)
    people = (rng.random(n) < 1 / (1 + np.exp(-odds))).astype(float)
    return 1 / (1 + np.exp(-times * odds)), people


def test_maps_mend_a_judge_that_is_too_sure() -> None:
    judge, people = sure(1, 200, 3.0)
    p, share = sure(2, 800, 3.0)
    before = calibration_error(p, share)
    assert before is not None
    map = temperature(judge, people)
    assert map.temperature == pytest.approx(3.0, rel=0.35)
    for fitted in (map, isotonic(judge, people)):
        after = calibration_error(mended(fitted, p), share)
        assert after is not None and after.estimate < 0.6 * before.estimate
        assert after.high < before.estimate


def test_maps_prefer_no_order_and_keep_sides() -> None:
    judge, people = sure(3, 300, 2.0)
    for map in (temperature(judge, people), isotonic(judge, people)):
        for p in np.linspace(0, 1, 41):
            assert map(float(p)) == pytest.approx(1 - map(float(1 - p)), abs=1e-9)
        values = mended(map, np.linspace(0, 1, 101))
        assert (np.diff(values) >= -1e-12).all() and values[50] == pytest.approx(0.5)
        assert MAPS.validate_json(map.model_dump_json()) == map


def test_isotonic_by_hand() -> None:
    # In both orders: 0.2 and 0.4 are 0 and 1, 0.6 and 0.8 are 0 and 1: the middle two violate, and are pooled.
    map = isotonic([0.2, 0.4], [0.0, 1.0])
    assert [map(p) for p in (0.1, 0.2, 0.4, 0.5, 0.6, 0.8)] == pytest.approx([0, 0, 0.5, 0.5, 0.5, 1])


def test_the_curve_has_both_orders() -> None:
    points = curve([0.9, 0.9, 0.9], [1, 1, 0])
    assert np.array(points) == pytest.approx(np.array([[0.1, 1 / 3, 3], [0.9, 2 / 3, 3]]))


def test_the_error_of_one_bin_has_the_limits_of_its_frequency() -> None:
    """Where the judge always says .8, its error is .8 minus how often it is right, whose mid-p limits are known."""
    error = calibration_error([0.8] * 100, [1.0] * 60 + [0.0] * 40)
    assert error is not None and error.estimate == pytest.approx(0.2, abs=0.01)

    def above(rate: float, tail: float) -> float:
        return float(binom.cdf(60, 100, rate) - binom.pmf(60, 100, rate) / 2 - tail)

    most, least = (brentq(above, 0.3, 0.9, (tail,)) for tail in (0.025, 0.975))
    assert (error.low, error.high) == pytest.approx((0.8 - most, 0.8 - least), abs=0.015)


def test_a_judge_that_was_never_wrong_may_yet_be() -> None:
    """All of 40 sure pairs right: with .058 wrong that has a chance of 5 %, of which mid-p takes half."""
    error = calibration_error([1.0] * 40, [1.0] * 40)
    assert error is not None and (error.estimate, error.low) == (0, 0)
    assert error.high == pytest.approx(1 - 0.05 ** (1 / 40), abs=0.01)


def test_a_judge_that_is_right_about_itself_has_no_error() -> None:
    p, y = sure(4, 300, 1.0)
    error = calibration_error(p, y)
    plain = expected_calibration_error(np.maximum(p, 1 - p), np.where(p > 0.5, y, 1 - y))
    assert error is not None and error.low == 0 and error.estimate < plain < error.high
    assert calibration_error(1 - p, 1 - y) == error, "whichever response stands first"


def test_labels_of_one_prompt_are_not_worth_more_for_being_many() -> None:
    p, y = sure(5, 100, 2.0)
    alone, often = calibration_error(p, y), calibration_error(np.repeat(p, 5), np.repeat(y, 5), np.arange(500) // 5)
    assert alone is not None and often is not None and often.clusters == 100
    assert often.high - often.low == pytest.approx(alone.high - alone.low, rel=0.15)
    agreed = calibration_error(p, np.full(100, y.mean()))
    assert agreed is not None and agreed.high - agreed.low < 0.7 * (alone.high - alone.low), "shares vary less"


def test_brier_score_by_hand() -> None:
    score = brier_score([0.75, 0.5, 0.0], [1, 0, 1])
    assert score is not None and score.estimate == pytest.approx((0.0625 + 0.25 + 1) / 3)
    assert (score.low, score.high) == (0, 1), "three events"
    # Scores of 0 and 1 alike often: a share of one half, whose interval at n = 40 is about .35 to .65.
    half = brier_score([0.0, 1.0] * 20, [0.0] * 40)
    assert half is not None and (half.low, half.high) == pytest.approx((0.35, 0.65), abs=0.02)
    clustered = brier_score([0.0] * 40 + [1.0] * 40, [0.0] * 80, np.arange(80) // 2)
    assert clustered is not None and clustered.high - clustered.low == pytest.approx(half.high - half.low, rel=0.1)
    assert brier_score([], []) is None


def test_nothing_to_measure_is_said() -> None:
    assert calibration_error([], []) is None
    assert event_calibration_error([], []) is None
    for probabilities, outcomes in (([1.5], [1.0]), ([0.5], [-1.0]), ([float("nan")], [1.0])):
        with pytest.raises(ValueError, match=r"between 0 and 1|no number"):
            event_calibration_error(probabilities, outcomes)
    few = calibration_error([0.9] * 5, [1.0] * 5)
    assert few is not None and few.clusters < FEW and (few.low, few.high) == (0, 1)
    with pytest.raises(ValueError, match="no side"):
        temperature([0.5, 0.5], [1, 0])
    with pytest.raises(ValueError, match="between 0 and 1"):
        isotonic([1.5], [1])
    with pytest.raises(ValueError, match="greater than 0"):
        Temperature(temperature=0)
    assert Isotonic(at=(0.5,), value=(0.5,))(0.9) == 0.5


def test_the_ceiling_is_one_person_against_the_others() -> None:
    # Three people; the third differs from two that agree in one of two items.
    ratings = Ratings.of_matrix([[1, 0], [1, 0], [0, 0]])
    highest = ceiling(ratings)
    # Person 3 of item 1 is wrong; persons 1 and 2 there meet a tie of the others, and are half right.
    assert highest.agreement is not None and highest.agreement.estimate == pytest.approx((0.5 + 0.5 + 0 + 3) / 6)
    assert ceiling(Ratings.of([0, 1], ["a", "b"], [1, 0])).agreement is None
