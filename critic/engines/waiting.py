"""Saying that a server is waited for: which, why and how long, so that nothing waits in silence.

Many calls wait at once, for one reason. So a line is written when something has been waited for `SILENT_SECONDS`, or is
going to be, and then no more often than that. It goes to the log ``cai.engines``, which is standard error where nobody
says otherwise.
"""

import logging
import time

from critic.engines.bucket import Clock

# Whoever watches a console takes a longer silence for a stop.
SILENT_SECONDS = 5.0
log = logging.getLogger("cai.engines")


class Notices:
    """The lines about one server."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._silent_since: float | None = None

    def wait(self, why: str, seconds: float) -> None:
        """Say, unless it was said just now, that there is a wait of so many seconds."""
        now = self._clock()
        if self._silent_since is None:
            self._silent_since = now
        if now + seconds - self._silent_since >= SILENT_SECONDS:
            log.warning("waiting: %s; next try in %.0f s", why, seconds)
            self._silent_since = now + seconds

    def answered(self) -> None:
        """Take back all waits: there was an answer."""
        self._silent_since = None
