"""Alarms: p-values of intervals against another implementation, and how often clean tests ring together."""

import numpy as np
import pytest
from scipy import stats

from critic.statistics.alarms import OF_PROJECT, OF_REPORT, REPORTS, beyond_nothing, faults
from critic.statistics.intervals import student


def test_a_report_has_its_share_of_a_project_s_false_alarms() -> None:
    assert OF_REPORT * len(REPORTS) == pytest.approx(OF_PROJECT) == 0.05


def test_the_p_value_of_an_interval_is_that_of_the_t_test() -> None:
    values = np.random.default_rng(0).normal(0.4, 1.0, 30)
    mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(30))
    low, high = mean - student(29) * error, mean + student(29) * error
    above = stats.ttest_1samp(values, 0, alternative="greater").pvalue
    assert beyond_nothing(low, high, 30, 1) == pytest.approx(above)
    assert beyond_nothing(low, high, 30, -1) == pytest.approx(1 - above)


def test_intervals_without_an_end_or_a_width_are_told_apart() -> None:
    assert beyond_nothing(-np.inf, np.inf, 30, 1) == 1 and beyond_nothing(0.1, 0.2, 1, 1) == 1
    assert beyond_nothing(0.1, 0.1, 30, 1) == 0 and beyond_nothing(0.0, 0.0, 30, 1) == 1


def test_of_reports_without_a_fault_few_name_any_however_many_tests_they_hold() -> None:
    rng = np.random.default_rng(1)
    for tests in (1, 10, 200):
        rung = 0
        for _ in range(2000):
            chances = {str(i): p for i, p in enumerate(rng.random(tests))}
            rung += bool(faults(chances))
        assert rung / 2000 <= OF_REPORT + 0.007, "1 %, and what chance adds to it"
