"""Axes hold their values, end on ticks, and write them for people."""

import pytest

from critic.pages.scales import MOST_TICKS, decimal, linear, logarithmic, shares, steps


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ((0.0, 1.0), (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        ((-3.0, 47.0), (-10.0, 0.0, 10.0, 20.0, 30.0, 40.0, 50.0)),
        ((1e-6, 9e-6), (0.0, 2e-6, 4e-6, 6e-6, 8e-6, 1e-5)),
    ],
)
def test_ticks_are_round_and_hold_all_values(values: tuple[float, ...], ticks: tuple[float, ...]) -> None:
    axis = linear("x", values)
    assert axis.ticks == pytest.approx(ticks)
    assert axis.low <= min(values) and max(values) <= axis.high


@pytest.mark.parametrize("value", [0.0, 3.0, -0.5])
def test_one_value_alone_stands_on_an_axis(value: float) -> None:
    axis = linear("x", [value])
    assert axis.low < value < axis.high and 0 < axis.place(value) < 1


def test_counts_have_no_ticks_between_whole_numbers() -> None:
    assert linear("pairs", [0, 1, 2], whole=True, zero=True).ticks == (0, 1, 2)
    assert steps("step", [1, 3]).ticks == (1, 2, 3)
    assert steps("step", [7]).low == 7


def test_shares_have_the_same_axis_whatever_they_are() -> None:
    axis = shares("share")
    assert (axis.low, axis.high, axis.format(0.125)) == (0, 1, "12 %")


def test_a_logarithmic_axis_has_decades_at_equal_distances() -> None:
    axis = logarithmic("characters", 1, 10_000)
    assert [axis.place(value) for value in (1, 10, 100, 10_000)] == pytest.approx([0, 0.25, 0.5, 1])
    assert len(axis.ticks) <= MOST_TICKS and set(axis.ticks) <= {1, 3, 10, 30, 100, 300, 1000, 3000, 10_000}


@pytest.mark.parametrize(
    ("step", "value", "said"),
    [
        (0.05, 0.5, "0.50"),
        (0.1, 0.30000000000000004, "0.3"),
        (1000, 3000, "3,000"),
        (2e-6, 4e-6, "4e-06"),
        (1, -0.0, "0"),
    ],
)
def test_values_are_written_as_exactly_as_their_ticks_stand_apart(step: float, value: float, said: str) -> None:
    assert decimal(step)(value) == said
