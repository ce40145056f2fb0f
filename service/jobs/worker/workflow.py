"""One job, from its worker's taking it to its end.

DBOS calls `run` for every job in the queue, and again wherever a worker went away in the middle. What was recorded as a
step is not done again; whatever was under way is, and there the ledger answers what was answered before.
"""

import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, cast

from pydantic import TypeAdapter
from sqlalchemy import Connection, RowMapping, update

from service.jobs.job import Kind
from service.jobs.kinds import cluster_rows, commands, exports, rows
from service.jobs.requests import AnyRequest, GenerateRequest, JudgeRequest, Request
from service.jobs.work.ledger import JobStore, Moved, add_event, transact
from service.jobs.work.lives import Lives
from service.jobs.work.work import Failed, Parts, Work
from service.store.disk.scratch import scratch, temporary
from service.store.tables import jobs, now

Doing = Callable[[Work], dict[str, Any]]


def _rows(work: Work) -> dict[str, Any]:
    asked = cast(GenerateRequest | JudgeRequest, work.request)
    return rows.run(work) if asked.cluster is None else cluster_rows.run(work)


KINDS: Mapping[Kind, Doing] = {
    "generate": _rows,
    "judge": _rows,
    "train": commands.train,
    "align": commands.align,
    "evaluate": commands.evaluate,
    "export": exports.export,
}

_REQUEST: TypeAdapter[AnyRequest] = TypeAdapter(Request)


class Running:
    """The jobs that a worker has."""

    def __init__(self, worker: str, parts: Parts) -> None:
        self._worker, self._parts = worker, parts
        self._works: dict[str, Work] = {}
        self._turn = threading.Lock()

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

    def freeze(self) -> None:
        """Hand all jobs back, and let nothing be stored any more."""
        with self._turn:
            for work in self._works.values():
                work.lives.hand_back()
                work.store.epoch = -1

    def run(self, id: str, attempt: int) -> None:
        """Do a job, or what is left of it."""
        job = transact(self._parts.database, lambda connection: _take(connection, id, attempt, self._worker))
        if job is None:  # it has ended, or is tried again by another workflow
            return
        with (
            scratch(temporary()) as folder,
            closing(JobStore(self._parts.database, id, job["epoch"])) as store,
        ):
            work = Work(id, _REQUEST.validate_python(job["request"]), store, self._parts, folder, Lives(store, attempt))
            with self._turn:
                self._works[id] = work
            try:
                self._do(work, job)
            except Moved:
                pass  # whoever has it now says how it ends
            finally:
                with self._turn:
                    if self._works.get(id) is work:
                        del self._works[id]

    def _do(self, work: Work, job: RowMapping) -> None:
        store = work.store
        store.tell("running", worker=self._worker, attempt=job["attempt"])
        try:
            work.guarded(lambda: work.lives.begin(job["deaths"]))
            result = work.guarded(lambda: KINDS[job["kind"]](work))
        except Failed as reason:
            error = str(reason)
            store.now(lambda connection: _end(connection, work.id, "failed", error=error))
        else:
            store.now(lambda connection: _end(connection, work.id, "done", result=result))


def _take(connection: Connection, id: str, attempt: int, worker: str) -> RowMapping | None:
    """Make the job this worker's: whoever had it before can store nothing any more."""
    wanted = (jobs.c.id == id) & (jobs.c.attempt == attempt) & jobs.c.state.in_(("queued", "running"))
    values = {"epoch": jobs.c.epoch + 1, "worker": worker, "state": "running", "started_at": now()}
    return connection.execute(update(jobs).where(wanted).values(values).returning(jobs)).mappings().one_or_none()


def _end(connection: Connection, id: str, state: str, **values: Any) -> None:
    change = update(jobs).where(jobs.c.id == id).values(state=state, ended_at=now(), worker=None, **values)
    connection.execute(change)
    add_event(connection, id, state, values)
