"""Trying again what fails for a while: after which waits, how often, and that nobody waits in silence."""

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

Clock = Callable[[], float]
Chance = Callable[[], float]

# Whoever watches a console takes a longer silence for a stop. In seconds.
SILENT_SECONDS = 5.0
_MOST_DOUBLINGS = 64  # beyond every sensible `longest`; a float ends at 1,024


@dataclass(frozen=True, slots=True, kw_only=True)
class BackOff:
    """A policy, in seconds: ``first`` is waited after a failure, then twice as long each time, up to ``longest``.

    ``tries`` is how often it is tried again after the first time; None: until it works. All waits together last no more
    than ``within``. With ``jitter`` each is between half of its length and the whole: for many that fail at once and
    should not come back at once.
    """

    first: float
    longest: float = math.inf
    tries: int | None
    within: float = math.inf
    jitter: bool = False

    def waits(self, *, chance: Chance = random.random, clock: Clock = time.monotonic) -> Iterator[float]:
        """Yield how long to wait after each failure; it ends where nothing is tried again any more."""
        until = clock() + self.within
        number = 0
        while self.tries is None or number < self.tries:
            left = until - clock()
            if left <= 0:
                return
            wait = min(self.longest, self.first * 2.0 ** min(number, _MOST_DOUBLINGS))
            if self.jitter:
                wait *= (1 + chance()) / 2
            yield min(wait, left)
            number += 1


class Silence:
    """Says in a log that something is waited for: once for all of `SILENT_SECONDS` in which nothing was said."""

    def __init__(self, log: logging.Logger, clock: Clock = time.monotonic) -> None:
        self._log, self._clock = log, clock
        self._since: float | None = None

    def wait(self, why: str, seconds: float) -> None:
        """Say, unless it was said just now, that there is a wait of so many seconds before the next try."""
        now = self._clock()
        if self._since is None:
            self._since = now
        if now + seconds - self._since >= SILENT_SECONDS:
            self._log.warning("waiting: %s; next try in %.0f s", why, seconds)
            self._since = now + seconds

    def over(self) -> None:
        """Take back all waits: what was waited for is there."""
        self._since = None


@contextmanager
def told(log: logging.Logger, why: str) -> Iterator[None]:
    """Say in a log what is waited for, where the block takes longer than `SILENT_SECONDS`: for waits that block."""
    timer = threading.Timer(SILENT_SECONDS, log.warning, ("waiting: %s", why))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
