"""Where a value stands on an axis, and which values an axis names."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

MOST_TICKS = 6  # more run into each other on a phone
_STEPS = (1, 2, 5, 10)

Format = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis from ``low`` to ``high``, which differ, with what it measures, its unit included.

    On a logarithmic one both are above 0. ``format`` writes a value for people.
    """

    title: str
    low: float
    high: float
    ticks: tuple[float, ...]
    format: Format
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Return how far along the axis a value stands, from 0 to 1 for what is on it."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def linear(title: str, values: Sequence[float], *, whole: bool = False, zero: bool = False) -> Axis:
    """Return an axis that holds all ``values`` and ends on ticks; ``whole`` numbers have no ticks between them."""
    low, high = min(values), max(values)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        spread = abs(low) / 2 or 1.0
        low, high = (low, low + spread) if zero else (low - spread, low + spread)
    step = _step(high - low, whole)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(number * step for number in range(first, last + 1))
    return Axis(title, ticks[0], ticks[-1], ticks, decimal(step))


def steps(title: str, values: Sequence[float]) -> Axis:
    """Return an axis of steps, which begins and ends where they do."""
    low, high = min(values), max(values)
    high = high if high > low else low + 1
    step = _step(high - low, whole=True)
    ticks = tuple(number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1))
    return Axis(title, low, high, ticks, decimal(step))


def shares(title: str) -> Axis:
    """Return the axis of shares, from 0 to 1, whatever their values are."""
    return Axis(title, 0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0), percent)


def logarithmic(title: str, low: float, high: float) -> Axis:
    """Return an axis of values above 0, with ticks at 1, 3, 10, 30 and so on."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    named = [digit * 10.0**power for power in powers for digit in (1, 3)]
    ticks = [value for value in named if low <= value <= high]
    while len(ticks) > MOST_TICKS:
        ticks = ticks[::2]
    return Axis(title, low, high, tuple(ticks), decimal(1), logarithmic=True)


def percent(share: float) -> str:
    """Write a share as ``12 %``."""
    return f"{100 * share:.0f} %"


def decimal(step: float) -> Format:
    """Return what writes values that are multiples of ``step``: 0.25, 3,000 or 2e-05."""
    if 1e-3 <= step < 1e7:
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        return lambda value: f"{value + 0.0:,.{digits}f}" if abs(value) > step / 2 else "0"
    return lambda value: f"{value:.2g}" if abs(value) > step / 2 else "0"


def _step(span: float, whole: bool) -> float:
    """Return the least of 1, 2, 5, 10 times a power of ten that gives at most `MOST_TICKS` ticks."""
    least = span / (MOST_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(least))
    step = next(factor * power for factor in _STEPS if factor * power >= least * (1 - 1e-9))
    return max(1.0, step) if whole else step
