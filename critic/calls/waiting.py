"""Saying that a server is waited for: which, why and how long, so that nothing waits in silence.

Many calls wait at once, for one reason. So a line is written when something has been waited for `SILENT_SECONDS`, or is
going to be, and then no more often than that. It goes to the log ``cai.engines``, which is standard error where nobody
says otherwise; what merely goes on goes to ``cai.engines.silence``, for displays that show that themselves.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from base.backoff import SILENT_SECONDS, Silence
from critic.calls.bucket import Clock

log = logging.getLogger("cai.engines")
silence = log.getChild("silence")


class Alarm(Protocol):
    """Something that will ring."""

    def cancel(self) -> None:
        """Let it not ring."""
        ...


Timer = Callable[[float, Callable[[], None]], Alarm]


def _later(seconds: float, ring: Callable[[], None]) -> Alarm:
    return asyncio.get_running_loop().call_later(seconds, ring)


class Notices:
    """The lines about one server. For one event loop."""

    def __init__(self, clock: Clock = time.monotonic, timer: Timer = _later) -> None:
        self._clock, self._timer = clock, timer
        self._retries = Silence(log, clock)
        self._waits: dict[object, tuple[str, float]] = {}
        self._alarm: Alarm | None = None
        self._said = self._silent_from = self._left = -math.inf

    def wait(self, why: str, seconds: float) -> None:
        """Say, unless it was said just now, that there is a wait of so many seconds."""
        self._retries.wait(why, seconds)

    def answered(self) -> None:
        """Take back all waits: there was an answer."""
        self._retries.over()

    @contextmanager
    def waiting(self, why: str) -> Iterator[None]:
        """Wait for something. Where nothing that is waited for ends for `SILENT_SECONDS`, the oldest wait is named."""
        key = object()
        self._waits[key] = why, self._clock()
        if self._alarm is None:
            self._begin()
        try:
            yield
            self._said = self._silent_from = self._clock()
        finally:
            del self._waits[key]
            self._left = self._clock()
            if not self._waits and self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None

    def _begin(self) -> None:
        """Set the alarm. A wait that follows at once one that came to nothing goes on with its silence."""
        now = self._clock()
        if now - self._left >= SILENT_SECONDS:
            self._said = self._silent_from = now
        self._set(now)

    def _set(self, now: float) -> None:
        self._alarm = self._timer(max(0.0, self._said + SILENT_SECONDS - now), self._ring)

    def _ring(self) -> None:
        now = self._clock()
        if now - self._said >= SILENT_SECONDS:
            why, since = next(iter(self._waits.values()))
            others = f", with {len(self._waits) - 1} more" if len(self._waits) > 1 else ""
            silence.warning("waiting: %s%s; %.0f s so far", why, others, now - min(since, self._silent_from))
            self._said = now
        self._set(now)
