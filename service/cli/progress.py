"""How far a measurement is: a bar with the time left in a terminal, a plain line now and then elsewhere."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_LINE_EVERY = 10.0  # seconds


class Bar:
    """A context manager; ``advance`` counts one more of ``total``."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        console = Console(stderr=True)
        self._terminal = console.is_terminal
        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self._bar = Progress(
            TextColumn("{task.description}"), *columns, console=console, disable=not self._terminal, transient=True
        )
        self._task = self._bar.add_task(what, total=total)
        self._said = self._began = time.monotonic()

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def advance(self) -> None:
        """Count one, and show it."""
        self._done += 1
        self._bar.advance(self._task)
        now = time.monotonic()
        if not self._terminal and now - self._said >= PLAIN_LINE_EVERY:
            self._said = now
            left = (self._total - self._done) * (now - self._began) / self._done
            print(f"{self._done} of {self._total} {self._what}, about {left:.0f} s left", file=sys.stderr, flush=True)
