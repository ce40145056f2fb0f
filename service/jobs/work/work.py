"""One job in a worker's hands: what it has to work with, and how it does a step."""

import asyncio
import logging
import threading
import uuid
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Engine

from base.errors import InputError
from critic.engine import EngineError, RunStopped
from service.engines import Engines
from service.jobs.inputs.artifacts import Artifacts, input_of, of_job
from service.jobs.work.ledger import JobStore, Moved
from service.jobs.work.lives import Lives, WorkerDied
from service.outward.public import public
from service.settings import Settings
from service.store.constitutions import Constitutions

T = TypeVar("T")

log = logging.getLogger("cai.jobs")


class HandedBack(BaseException):
    """The worker ends, and the job goes on elsewhere.

    No `Exception`: DBOS records how steps and workflows end by those, and this one has not come to its end.
    """


class Failed(Exception):
    """The job can't be done, for a reason that its owner can read."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a worker's jobs share. ``loop`` is where engines live; each job has a thread of its own.

    ``stopping`` is set when the worker hands its jobs back.
    """

    settings: Settings
    database: Engine
    constitutions: Constitutions
    engines: Engines
    artifacts: Artifacts
    loop: asyncio.AbstractEventLoop
    stopping: threading.Event


@dataclass(slots=True)
class Work:
    """One job. ``folder`` is on this machine and goes with the worker; ``store`` and ``parts.artifacts`` stay."""

    id: str
    store: JobStore
    parts: Parts
    folder: Path
    lives: Lives
    moved: threading.Event = field(default_factory=threading.Event)
    _stops: list[Callable[[], Any]] = field(default_factory=list)

    def step(self, name: str, do: Callable[[], dict[str, Any]], *, by_row: bool = False) -> dict[str, Any]:
        """Do something once: where it was recorded as done, return what was recorded. Raises `Failed`.

        ``by_row``: what kills the worker is looked for among the rows. Else the step fails after three deaths.
        """

        def lived() -> dict[str, Any]:
            self.lives.enter(None if by_row else name)
            done = do()
            self.lives.leave()
            return done

        def recorded() -> dict[str, Any]:
            try:
                return {"done": self.guarded(lived)}
            except Failed as reason:  # recorded, too: who goes on with the job must not try again
                return {"failed": str(reason)}

        from dbos import DBOS  # slow to import, and a server starts without it

        outcome: dict[str, Any] = DBOS.run_step({"name": name}, recorded)
        if "failed" in outcome:
            raise Failed(outcome["failed"])
        done: dict[str, Any] = outcome["done"]
        return done

    def guarded(self, do: Callable[[], T]) -> T:
        """Turn every error into `Failed`, but `Moved`, which is `HandedBack` where this worker ends.

        Where the job is another worker's, DBOS raises what is no `Exception`.
        """
        try:
            return do()
        except Exception as error:  # the boundary: whatever it is costs one job, not the worker
            if self.parts.stopping.is_set():
                raise HandedBack(self.id) from error
            if isinstance(error, Moved | Failed):
                raise
            raise Failed(self._reason(error)) from error

    def _reason(self, error: Exception) -> str:
        """What the job's owner reads of an error."""
        if isinstance(error, WorkerDied):
            return str(error)
        if isinstance(error, InputError | EngineError | RunStopped | OSError):
            log.warning("job %s failed: %s", self.id, error)
            return public(str(error))
        number = uuid.uuid4().hex[:12]
        log.error("job %s: unforeseen error %s", self.id, number, exc_info=error)
        return f"something went wrong here (number {number}); report the number"

    def call(self, ask: Coroutine[Any, Any, T]) -> T:
        """Wait in the job's thread for something on the engines' loop. Raises `Moved` where the job goes meanwhile."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(ask, self.parts.loop)
        self.on_stop(future.cancel)
        try:
            return future.result()
        except CancelledError:
            raise Moved(self.id) from None
        finally:
            self._stops.remove(future.cancel)

    def on_stop(self, stop: Callable[[], Any]) -> None:
        """Have ``stop`` called when the job is not ours any more; at once, if it is not already."""
        self._stops.append(stop)
        if self.moved.is_set():
            stop()

    def stop(self) -> None:
        """Stop what is under way: the job was cancelled, or is another worker's."""
        self.moved.set()
        for stop in list(self._stops):
            stop()

    def hand_back(self) -> None:
        """Stop, as the worker ends: the job waits for another one, and nothing of it is stored from here any more."""
        self.lives.hand_back()
        self.store.leave()
        self.stop()

    def inputs(self) -> list[Path]:
        """The files that the job was given, here."""
        listed = self.parts.artifacts.listing(input_of(self.id))
        for artifact in listed:
            self.parts.artifacts.fetch(input_of(self.id), artifact.name, self.folder / "input" / artifact.name)
        return [self.folder / "input" / artifact.name for artifact in listed]

    def leave(self, folder: Path) -> None:
        """Put what lies in a folder among the job's artifacts."""
        self.parts.artifacts.put_folder(folder, of_job(self.id))
