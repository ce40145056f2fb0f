"""How far a measurement is: a bar with the time left in a terminal, a plain line now and then elsewhere."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from service.cli.shown.rate import Rate
from service.cli.shown.voice import is_quiet

FIRST_PLAIN_LINE = 5.0  # seconds: whoever watches takes a longer silence for a stop
PLAIN_LINE_EVERY = 30.0  # seconds, in a log


class Bar:
    """A context manager; ``advance`` counts one more of ``total``."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        console = Console(stderr=True)
        self._shows_bar = console.is_terminal and not is_quiet()
        self._writes_lines = not console.is_terminal and not is_quiet()
        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
        self._bar = Progress(
            TextColumn("{task.description}"), *columns, console=console, disable=not self._shows_bar, transient=True
        )
        self._task = self._bar.add_task(what, total=total, left="")
        self._rate = Rate()
        self._next_line = time.monotonic() + FIRST_PLAIN_LINE

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def advance(self) -> None:
        """Count one, and show it."""
        self._done += 1
        self._rate.mark(self._done)
        left = self._rate.left(self._total - self._done)
        self._bar.update(self._task, completed=self._done, left=left)
        now = time.monotonic()
        if self._writes_lines and now >= self._next_line:
            self._next_line = now + PLAIN_LINE_EVERY
            rest = f", {left}" if left else ""
            line = f"{self._done} of {self._total} {self._what}, {self._rate.per_second():.2g} a second{rest}"
            print(line, file=sys.stderr, flush=True)
