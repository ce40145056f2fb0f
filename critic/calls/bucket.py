"""A token bucket: how much of something may be spent now, so that it is not more than so much a minute."""

from collections.abc import Callable

Clock = Callable[[], float]

# A rate is kept over seconds: what was not used before is not made up for in a burst.
BURST_SECONDS = 1.0


class Bucket:
    """What may be spent in a minute: it fills evenly, and holds `BURST_SECONDS` of it.

    What is larger than the bucket goes when it is full, and leaves a debt that is paid off before anything else goes.
    """

    def __init__(self, a_minute: int, clock: Clock) -> None:
        self._rate, self._clock = a_minute / 60, clock
        self._full = self._level = self._rate * BURST_SECONDS
        self._filled = clock()

    def wait(self, amount: float) -> float:
        """How many seconds from now ``amount`` may be taken."""
        now = self._clock()
        self._level = min(self._full, self._level + (now - self._filled) * self._rate)
        self._filled = now
        return max(0.0, (min(amount, self._full) - self._level) / self._rate)

    def take(self, amount: float) -> None:
        """Take ``amount``; a negative one gives back."""
        self._level -= amount
