"""A job that takes its worker down again and again fails, whatever it is doing.

Deaths are counted by step, in the job's row. A worker that ends in order hands its jobs back, which is no death; a step
that comes to its end is progress, and all counts begin anew. Rows that are run in chunks look after themselves: there
one row may be at fault, and is found (`service.jobs.running.poison`).
"""

from contextlib import suppress
from typing import Any

from sqlalchemy import update
from sqlalchemy.exc import DBAPIError

from service.jobs.work.ledger import JobStore, Moved
from service.store.tables import jobs

LIVES = 3
START = "start"  # what is done before the first step, and between steps


class WorkerDied(Exception):
    """The job's worker died too often in one step."""


class Lives:
    """The deaths of one job's workers, in one attempt."""

    def __init__(self, store: JobStore, attempt: int) -> None:
        self._store, self._attempt = store, attempt
        self._deaths: dict[str, int] = {}
        self._handed_back = False

    def begin(self, before: dict[str, Any] | None) -> None:
        """A worker took the job, of which ``before`` was known. Raises `WorkerDied`."""
        if before is not None and before["attempt"] == self._attempt:
            self._deaths = dict(before["deaths"])
            if (step := before["step"]) is not None:
                self._deaths[step] = self._deaths.get(step, 0) + 1
        self.enter(START)

    def enter(self, step: str | None) -> None:
        """What comes now is ``step``; None where deaths are counted elsewhere. Raises `WorkerDied`."""
        if step is not None and self._deaths.get(step, 0) >= LIVES:
            raise WorkerDied(f"its worker died {LIVES} times in the step {step!r}; what it was given may be too large")
        self._note(step)

    def leave(self) -> None:
        """A step came to its end."""
        self._deaths = {}
        self._note(START)

    def hand_back(self) -> None:
        """The worker ends in order: the job waits again. With the database away it can't be said, and is a death."""
        self._handed_back = True
        with suppress(DBAPIError, Moved):
            self._store.once(self._change(None, state="queued", worker=None))

    def _note(self, step: str | None) -> None:
        if not self._handed_back:
            self._store.now(self._change(step))

    def _change(self, step: str | None, **more: Any) -> Any:
        deaths = {"attempt": self._attempt, "step": step, "deaths": self._deaths}
        change = update(jobs).where(jobs.c.id == self._store.job).values(deaths=deaths, **more)
        return lambda connection: connection.execute(change)
