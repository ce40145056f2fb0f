"""How late the event loop comes to what is due, so that long work in threads can give way to it.

All threads share one interpreter. Python gives each that asks for it a like share, so a thread that computes takes
half of it from all clients together. While somebody looks, the loop is asked every `TICK_SECONDS` to say that it is
there; how late it says so is how far it is behind.
"""

import asyncio
import math
import time

TICK_SECONDS = 0.002


class Behind:
    """The lateness of one event loop, in ``seconds``. It is looked at within a ``with``, in the loop's own thread."""

    def __init__(self) -> None:
        self._lookers = 0
        self._due, self._late = math.inf, 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._lookers += 1
        if self._timer is None:
            self._wait(asyncio.get_running_loop())

    def __exit__(self, *_: object) -> None:
        self._lookers -= 1
        if self._lookers == 0 and self._timer is not None:
            self._timer.cancel()
            self._timer, self._due, self._late = None, math.inf, 0.0

    @property
    def seconds(self) -> float:
        """How late the loop was the last time, or is by now if that is more; from any thread."""
        return max(self._late, time.monotonic() - self._due)

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = time.monotonic() + TICK_SECONDS
        self._timer = loop.call_later(TICK_SECONDS, self._come, loop)

    def _come(self, loop: asyncio.AbstractEventLoop) -> None:
        self._late = time.monotonic() - self._due
        self._wait(loop)
