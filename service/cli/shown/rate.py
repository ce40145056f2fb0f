"""How fast something goes, over the last minute: what a run did in its first hour says little of its next."""

import time
from collections import deque
from collections.abc import Callable

WINDOW = 60.0  # seconds
_STEP = 0.5  # of two marks, in seconds: finer ones would only take memory


class Rate:
    """Counts what is done, and tells how much of it a second, and how long the rest takes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._marks: deque[tuple[float, int]] = deque([(clock(), 0)])
        self._done = 0

    def mark(self, done: int) -> None:
        """Say how much is done by now, of what this process does."""
        now, self._done = self._clock(), done
        if now - self._marks[-1][0] >= _STEP:
            self._marks.append((now, done))
        while len(self._marks) > 1 and self._marks[1][0] <= now - WINDOW:
            self._marks.popleft()

    def per_second(self) -> float:
        """Return how much was done a second, over the last minute or since the beginning."""
        began, before = self._marks[0]
        seconds = self._clock() - began
        return (self._done - before) / seconds if seconds > 0 else 0.0

    def left(self, rest: int) -> str:
        """Say how long the rest takes, as in ``about 3 min left``; nothing where that can't be said."""
        rate = self.per_second()
        return f"about {duration(rest / rate)} left" if rate > 0 and rest >= 0 else ""


def duration(seconds: float) -> str:
    """Say a time in the unit in which a person would."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
