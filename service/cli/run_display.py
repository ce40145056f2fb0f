"""How far a run is, on a console: what is done, who is waited for, and what engines say of their waits."""

import logging
import sys
import threading
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from critic.engines import waiting

if TYPE_CHECKING:
    from critic.run.execute import Progress as Standing

OPENING = "opening the engines"
PLAIN_LINE_EVERY = 5.0  # seconds between lines where no terminal shows a bar: longer silence looks like a stop


class RunDisplay:
    """A progress bar in a terminal; a plain line now and then where standard error is a file or a pipe.

    It has a thread of its own for those lines: while an engine is opened, nothing else runs that could write one.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task: TaskID = self._bar.add_task(OPENING, total=None, note="")
        self._began = time.monotonic()
        self._line = OPENING
        self._ended = threading.Event()
        self._lines = threading.Thread(target=self._write_lines, daemon=True)
        self._handler = _Above(console)

    def __enter__(self) -> "RunDisplay":
        self._bar.start()
        waiting.log.addHandler(self._handler)
        if not self._console.is_terminal:
            self._lines.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        waiting.log.removeHandler(self._handler)
        self._bar.stop()

    def update(self, standing: "Standing", answers: int, total: int | None) -> None:
        """Show where the run stands."""
        self._handler.shows_silence = False  # from now on it stands in the line who is waited for
        done = standing.rows + standing.skipped + standing.quarantined
        note = f"{answers} answers, {standing.pairs} pairs"
        if standing.quarantined:
            note += f", {standing.quarantined} quarantined"
        if standing.asked:
            note += f", {standing.asked} asked"
        if standing.waiting:
            note += f", waiting for {standing.waiting}"
        self._bar.update(self._task, description="prompts", completed=done, total=total, note=note)
        rate = (standing.rows + standing.quarantined) / (time.monotonic() - self._began)
        left = f", about {(total - done) / rate:.0f} s left" if total is not None and rate else ""
        of = f" of {total}" if total is not None else ""
        self._line = f"{done}{of} prompts, {note}, {rate:.2g} prompts/s{left}"

    def _write_lines(self) -> None:
        while not self._ended.wait(PLAIN_LINE_EVERY):
            since = f", since {time.monotonic() - self._began:.0f} s" if self._line == OPENING else ""
            print(self._line + since, file=sys.stderr, flush=True)


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
