"""A worker: takes jobs from the queue, says that it lives, and moves the jobs of workers that don't.

Each worker has a row in ``workers`` that it writes again with every beat. One that was not heard of for `BEATS` beats
is dead to the others: they put its jobs back into the queue. How long is measured by their own clocks from when they
last saw the row change, so that clocks of machines need not agree. If it does live, it can store nothing any more once
another has taken the job: see `service.jobs.work.ledger`.
"""

import asyncio
import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime

from dbos import DBOS, DBOSClient
from sqlalchemy import Engine, delete, insert, select, update
from sqlalchemy.exc import DBAPIError

from service.engines import Engines
from service.jobs.inputs.artifacts import Artifacts, swept
from service.jobs.work import durable
from service.jobs.work.ledger import connect, is_away, transact
from service.jobs.work.work import Parts
from service.jobs.worker.link import BEATS
from service.jobs.worker.workflow import Running
from service.settings import Settings
from service.store import migrations
from service.store.constitutions import Constitutions
from service.store.database import Database, database_url
from service.store.disk.synced import make_folder
from service.store.tables import jobs, now, workers

JOBS_AT_ONCE = 4  # on one worker
END_SECONDS = 5.0  # for jobs to stop where they are, when their worker ends
LOOK_SECONDS = 0.5  # how often a worker looks whether its jobs are still its own, at least

log = logging.getLogger("cai.jobs")

OpenEngines = Callable[[Settings, Database], Engines]


class Heart(threading.Thread):
    """Writes the worker's row, looks after its own jobs, and moves those of the dead."""

    def __init__(self, worker: str, database: Engine, client: DBOSClient, running: Running, seconds: float) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._client = client
        self._worker, self._database, self._running = worker, database, running
        self._seconds, self._end = seconds, threading.Event()
        self._seen: dict[str, tuple[datetime, float]] = {}
        self._looked = time.monotonic()

    def beat(self) -> None:
        """Say that the worker lives."""
        with self._database.begin() as connection:
            change = update(workers).where(workers.c.id == self._worker).values(seen_at=now())
            if not connection.execute(change).rowcount:  # at the start, or after others thought it dead
                row = {"id": self._worker, "host": socket.gethostname(), "started_at": now(), "seen_at": now()}
                connection.execute(insert(workers).values(row))

    def stop(self) -> None:
        """Take the worker's row away: others may have its jobs at once."""
        self._end.set()
        self.join()
        with self._database.begin() as connection:
            connection.execute(delete(workers).where(workers.c.id == self._worker))
        self._client.destroy()

    def run(self) -> None:
        """The thread's loop."""
        next_beat = time.monotonic()
        while not self._end.wait(min(LOOK_SECONDS, self._seconds)):
            try:
                self._look()
                if time.monotonic() >= next_beat:
                    next_beat = time.monotonic() + self._seconds
                    self.beat()
                    self._sweep()
            except DBAPIError as error:
                if not is_away(error):
                    raise
                log.warning("no heartbeat, the database is away: %s", str(error.orig).strip())

    def _look(self) -> None:
        """Stop the jobs that were cancelled, or that another worker has taken."""
        mine = self._running.epochs()
        if not mine:
            return
        with self._database.connect() as connection:
            epochs = connection.execute(select(jobs.c.id, jobs.c.epoch).where(jobs.c.id.in_(mine))).all()
        for id, epoch in epochs:
            if epoch != mine[id]:
                self._running.stop(id, mine[id])

    def _sweep(self) -> None:
        """Put the jobs of dead workers back into the queue. One worker does it for all: the first of the living."""
        # In this order: whoever has a job had a row before.
        pending = self._client.list_workflows(
            status="PENDING", queue_name=durable.QUEUE, load_input=False, load_output=False
        )
        living = self._living()
        if min(living, default=self._worker) != self._worker:
            return
        for workflow in pending:
            if workflow.executor_id not in living:
                log.warning("the worker %s is gone: %s goes on elsewhere", workflow.executor_id, workflow.workflow_id)
                self._waits_again(workflow.executor_id)
                self._client.resume_workflow(workflow.workflow_id, queue_name=durable.QUEUE)
        with self._database.begin() as connection:
            dead = [worker for worker in self._seen if worker not in living]
            connection.execute(delete(workers).where(workers.c.id.in_(dead)))

    def _waits_again(self, worker: str | None) -> None:
        """Say of a dead worker's jobs that they wait; if it lives all the same, it can store nothing of them."""
        theirs = (jobs.c.worker == worker) & (jobs.c.state == "running")
        values = {"state": "queued", "worker": None, "epoch": jobs.c.epoch + 1}
        with self._database.begin() as connection:
            connection.execute(update(jobs).where(theirs).values(values))

    def _living(self) -> set[str]:
        """The workers whose row has changed lately."""
        with self._database.connect() as connection:
            beats = dict(connection.execute(select(workers.c.id, workers.c.seen_at)).tuples().all())
        at = time.monotonic()
        if at - self._looked > 2 * self._seconds:  # the database was away, for the others too
            self._seen.clear()
        self._looked = at
        self._seen = {
            id: self._seen[id] if id in self._seen and self._seen[id][0] == beat else (beat, at)
            for id, beat in beats.items()
        }
        return {id for id, (_, since) in self._seen.items() if at - since <= BEATS * self._seconds} | {self._worker}


async def work(settings: Settings, open_engines: OpenEngines = Engines, ended: asyncio.Event | None = None) -> None:
    """Do jobs until the process is told to end, or ``ended`` is set."""
    ended = ended or asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    make_folder(settings.data.absolute())
    await asyncio.to_thread(swept, settings)
    engine = connect(database_url(settings.url), BEATS * settings.heartbeat_seconds)
    await asyncio.to_thread(transact, engine, lambda connection: None)  # waits for the database
    await migrations.upgrade(settings.url)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database(settings.url))
        parts = Parts(
            settings=settings,
            database=engine,
            constitutions=await stack.enter_async_context(Constitutions(database)),
            engines=await stack.enter_async_context(open_engines(settings, database)),
            artifacts=Artifacts.of(settings),
            loop=asyncio.get_running_loop(),
            stopping=threading.Event(),
        )
        running, heart = await asyncio.to_thread(_launch, parts)
        await ended.wait()
        await asyncio.to_thread(_end, running, heart)


def _end(running: Running, heart: Heart) -> None:
    """Hand all jobs back. From here on nothing may be stored: what is under way goes on elsewhere."""
    running.hand_back()
    left = running.left(END_SECONDS)
    heart.stop()
    if left:  # in the middle of what can't be interrupted; Python would wait for its thread
        log.warning("ends in the middle of %s, which did not stop within %.0f s", ", ".join(left), END_SECONDS)
        os._exit(1)
    DBOS.destroy()


def _launch(parts: Parts) -> tuple[Running, Heart]:
    url = database_url(parts.settings.url)
    id = f"{socket.gethostname()[:100]}-{os.getpid()}-{secrets.token_hex(4)}"
    DBOS(config=durable.config(url, id, BEATS * parts.settings.heartbeat_seconds))
    client = durable.client(url)
    running = Running(id, parts)

    @DBOS.workflow(name=durable.WORKFLOW, max_recovery_attempts=None)
    def job(id: str, attempt: int) -> None:
        running.run(id, attempt)

    heart = Heart(id, parts.database, client, running, parts.settings.heartbeat_seconds)
    heart.beat()
    DBOS.launch()
    seconds = min(1.0, parts.settings.heartbeat_seconds)
    DBOS.register_queue(durable.QUEUE, worker_concurrency=JOBS_AT_ONCE, polling_interval_sec=seconds)
    heart.start()
    log.info("worker %s takes jobs", id)
    return running, heart
