"""How far a run is, on a console: what is done, how fast, who is waited for, and what engines say of their waits."""

import logging
import sys
import threading
import time

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from critic.calls import waiting
from critic.run.execute import Progress as Standing
from service.cli.shown.display import clean
from service.cli.shown.progress import FIRST_PLAIN_LINE, PLAIN_LINE_EVERY
from service.cli.shown.rate import Rate
from service.cli.shown.voice import is_quiet

OPENING = "opening the engines"
SHOWN_A_SECOND = 4


class RunDisplay:
    """A bar with two lines under it in a terminal; a plain line now and then where standard error is none.

    It has a thread of its own for those lines: while an engine is opened, nothing else runs that could write one.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )
        self._task: TaskID = self._bar.add_task(OPENING, total=None)
        self._shows_bar = console.is_terminal and not is_quiet()
        self._began = time.monotonic()
        self._rate = Rate()
        self._counts, self._servers, self._line = "", "", OPENING
        self._live = Live(
            get_renderable=self._render, console=console, transient=True, refresh_per_second=SHOWN_A_SECOND
        )
        self._ended = threading.Event()
        self._lines = threading.Thread(target=self._write_lines, daemon=True)
        self._handler = _Above(console)

    def __enter__(self) -> "RunDisplay":
        waiting.log.addHandler(self._handler)
        if self._shows_bar:
            self._live.start()
        elif not is_quiet():
            self._lines.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        waiting.log.removeHandler(self._handler)
        if self._shows_bar:
            self._live.stop()

    def update(self, standing: Standing, answers: int, total: int | None) -> None:
        """Show where the run stands."""
        self._handler.shows_silence = False  # from now on it stands in the line who is waited for
        done = standing.rows + standing.skipped + standing.quarantined
        self._rate.mark(standing.rows + standing.quarantined)
        told = [f"{answers:,} answers", f"{standing.pairs:,} pairs"]
        if standing.quarantined:
            told.append(f"{standing.quarantined:,} quarantined")
        told.append(f"{self._rate.per_second():.2g} prompts/s")
        if total is not None and (left := self._rate.left(total - done)):
            told.append(left)
        self._counts = ", ".join(told)
        self._servers = clean(standing.engines)
        self._bar.update(self._task, description="prompts", completed=done, total=total)
        of = f" of {total:,}" if total is not None else ""
        self._line = ", ".join(part for part in (f"{done:,}{of} prompts", self._counts, self._servers) if part)

    def _render(self) -> Group:
        lines = (Text(line, "dim") for line in (self._counts, self._servers) if line)
        return Group(self._bar.get_renderable(), *lines)

    def _write_lines(self) -> None:
        wait = FIRST_PLAIN_LINE
        while not self._ended.wait(wait):
            since = f", since {time.monotonic() - self._began:.0f} s" if self._line == OPENING else ""
            print(self._line + since, file=sys.stderr, flush=True)
            wait = PLAIN_LINE_EVERY


class _Above(logging.Handler):
    """Writes what engines say of their waits above the bar."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._out = console
        self.shows_silence = True

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        if record.name == waiting.silence.name and not self.shows_silence:
            return
        self._out.print(record.getMessage(), markup=False, highlight=False, soft_wrap=True)
