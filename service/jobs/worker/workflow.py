"""One job, from its worker's taking it to its end.

DBOS calls `run` for every job in the queue, and again wherever a worker went away in the middle. What was recorded as a
step is not done again; whatever was under way is, and there the ledger answers what was answered before.
"""

import threading
from contextlib import closing
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, RowMapping, update

from critic.files.row_prompt import readable
from service.jobs.kinds import KINDS
from service.jobs.work.ledger import JobStore, Moved, add_event, transact
from service.jobs.work.lives import Lives
from service.jobs.work.work import Failed, HandedBack, Parts, Work
from service.store.disk.scratch import scratch, temporary
from service.store.tables import jobs, now


class Running:
    """The jobs that a worker has."""

    def __init__(self, worker: str, parts: Parts) -> None:
        self._worker, self._parts = worker, parts
        self._works: dict[str, Work] = {}
        self._turn = threading.Condition()

    def epochs(self) -> dict[str, int]:
        """The jobs that are under way here, and the epoch that each was taken in."""
        with self._turn:
            return {id: work.store.epoch for id, work in self._works.items()}

    def stop(self, id: str, epoch: int) -> None:
        """Stop a job that is not ours any more."""
        with self._turn:
            work = self._works.get(id)
        if work is not None and work.store.epoch == epoch:
            work.stop()

    def hand_back(self) -> None:
        """Hand all jobs back, as the worker ends, and take none any more."""
        with self._turn:
            self._parts.stopping.set()
            for work in self._works.values():
                work.hand_back()

    def left(self, seconds: float) -> list[str]:
        """Wait until no job is under way here; return those that still are after so many seconds."""
        with self._turn:
            self._turn.wait_for(lambda: not self._works, seconds)
            return list(self._works)

    def run(self, id: str, attempt: int) -> None:
        """Do a job, or what is left of it. Raises `HandedBack` where the worker ends before."""
        if self._parts.stopping.is_set():
            raise HandedBack(id)
        job = transact(self._parts.database, lambda connection: _take(connection, id, attempt, self._worker))
        if job is None:  # it has ended, or is tried again by another workflow
            return
        with (
            scratch(temporary()) as folder,
            closing(JobStore(self._parts.database, id, job["epoch"])) as store,
        ):
            work = Work(id, store, self._parts, folder, Lives(store, attempt))
            with self._turn:
                self._works[id] = work
                if self._parts.stopping.is_set():  # since it was taken
                    work.hand_back()
            try:
                self._do(work, job)
            except Exception as error:  # whatever it is: DBOS would record it as the job's end, though the worker ends
                if self._parts.stopping.is_set():
                    raise HandedBack(id) from error
                if not isinstance(error, Moved):  # else whoever has it now says how it ends
                    raise
            finally:
                with self._turn:
                    if self._works.get(id) is work:
                        del self._works[id]
                        self._turn.notify_all()

    def _do(self, work: Work, job: RowMapping) -> None:
        store = work.store
        store.tell("running", worker=self._worker, attempt=job["attempt"])
        try:
            work.guarded(lambda: work.lives.begin(job["deaths"]))
            result = work.guarded(lambda: _done(work, job))
        except Failed as reason:
            error = str(reason)
            store.now(lambda connection: _end(connection, work.id, "failed", error=error))
        else:
            store.now(lambda connection: _end(connection, work.id, "done", result=result))


def _done(work: Work, job: RowMapping) -> dict[str, Any]:
    """Do the job as its kind does it, and return its result. Raises `Failed` where this worker does not know how."""
    kind = KINDS.get(job["kind"])
    if kind is None:
        known = ", ".join(KINDS)
        raise Failed(f"this worker knows no kind of job {job['kind']!r}; it knows {known}. Is it of another version?")
    try:
        asked = kind.request.model_validate(job["request"])
    except ValidationError as error:
        raise Failed(f"its request is no longer one of the kind {kind.name}: {readable(error)}") from error
    return kind.run(work, asked)


def _take(connection: Connection, id: str, attempt: int, worker: str) -> RowMapping | None:
    """Make the job this worker's: whoever had it before can store nothing any more."""
    wanted = (jobs.c.id == id) & (jobs.c.attempt == attempt) & jobs.c.state.in_(("queued", "running"))
    values = {"epoch": jobs.c.epoch + 1, "worker": worker, "state": "running", "started_at": now()}
    return connection.execute(update(jobs).where(wanted).values(values).returning(jobs)).mappings().one_or_none()


def _end(connection: Connection, id: str, state: str, **values: Any) -> None:
    change = update(jobs).where(jobs.c.id == id).values(state=state, ended_at=now(), worker=None, **values)
    connection.execute(change)
    add_event(connection, id, state, values)
