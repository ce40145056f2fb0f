"""A log that clients can't fill: of one message so many lines a minute are kept, and how many were left out is said.

A line a bad request is gigabytes a day from one client with a loop. What is wrong can be read from the first lines.
"""

import logging
import time
from dataclasses import dataclass

KEPT, WINDOW_SECONDS = 10, 60.0
CHARACTERS = 4000  # of one line: messages may quote what a client sent


@dataclass(slots=True)
class _Seen:
    since: float
    count: int = 0


class Quiet(logging.Filter):
    """A handler's filter. Messages are told apart by the line of code that says them: of those there are few."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, int], _Seen] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is kept; of the first one after a pause the text says how many were not."""
        at = time.monotonic()
        seen = self._seen.setdefault((record.pathname, record.lineno), _Seen(at))
        left_out = 0
        if at - seen.since > WINDOW_SECONDS:
            left_out = max(0, seen.count - KEPT)
            seen.since, seen.count = at, 0
        seen.count += 1
        if seen.count > KEPT:
            return False
        text = record.getMessage()
        if len(text) > CHARACTERS or left_out:
            more = f" (and {left_out:,} more like it before)" if left_out else ""
            record.msg, record.args = text[:CHARACTERS] + more, None
        return True


def quieten(level: str) -> None:
    """Log to standard error from ``level`` on, by handlers that have the filter: our own, and uvicorn's."""
    logging.basicConfig(level=level.upper(), format="%(levelname)s %(name)s: %(message)s")
    quiet = Quiet()
    loggers = [logging.getLogger(name) for name in ("", "uvicorn", "uvicorn.error")]
    for handler in {handler for logger in loggers for handler in logger.handlers}:
        handler.addFilter(quiet)
