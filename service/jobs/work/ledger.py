"""The ledger in the service's database, and the rows of one job: what `critic.run.folder.store` is to a folder.

A worker has a job for one **epoch**: a number in the job's row that goes up whenever a worker takes the job or loses
it. Every commit checks it in its own transaction. So a worker that was thought dead and still lives, or whose job was
cancelled, can store nothing any more: it hears `Moved` and stops.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from base.backoff import BackOff, Silence
from base.digest import canonical_json
from critic.calls.ledger import Answer, Claims
from critic.records import Provenance, Quarantined, Row
from critic.run.folder.writer import Writer
from service.store.connecting import WRITES, thread_engine
from service.store.tables import calls, job_events, job_rows, jobs, now

T = TypeVar("T")
Write = Callable[[Connection], None]

# SQLite has one writer, and a waiting one is not woken but looks again: so long the others have between our commits.
BREATH = 0.005
AGAIN = BackOff(first=0.05, longest=2.0, tries=None)  # a database that is away: a job outlives it
CONNECT_SECONDS = 5
NOBODYS = -1  # an epoch that no job is in
PAGE = 16  # results that are in memory at once: each holds every text of its row

log = logging.getLogger("cai.jobs")


class Moved(Exception):
    """The job is no longer this worker's: it was cancelled, or another worker has it."""


def connect(url: URL, idle_seconds: float = 60.0) -> Engine:
    """A synchronous engine on the service's database, for the threads of a worker.

    A machine that hangs in the middle of a transaction keeps its job's row locked; PostgreSQL ends it after
    ``idle_seconds`` without a word.
    """
    patience = f"-c idle_in_transaction_session_timeout={max(1, round(idle_seconds * 1000))}"
    options = {"connect_timeout": CONNECT_SECONDS, "options": patience}
    return thread_engine(url, WRITES, connect_args=options, pool_size=10, max_overflow=20)


def is_away(error: DBAPIError) -> bool:
    """Whether the database may answer later: it is restarted, unreachable, locked, or its disk is full."""
    return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)


def patiently(ask: Callable[[], T], given_up: threading.Event | None = None) -> T:
    """Call ``ask`` until the database answers, or until nobody wants to know any more."""
    silence = Silence(log)
    for wait in AGAIN.waits():
        try:
            return ask()
        except DBAPIError as error:
            if not is_away(error) or (given_up is not None and given_up.is_set()):
                raise
            silence.wait(f"the database is away: {str(error.orig).strip()}", wait)
        time.sleep(wait)
    raise AssertionError("it is asked until it answers")


def transact(engine: Engine, write: Callable[[Connection], T]) -> T:
    """Do ``write`` in one transaction; patiently, so it must bear to be done again."""

    def once() -> T:
        with engine.begin() as connection:
            return write(connection)

    return patiently(once)


def read(engine: Engine, ask: Callable[[Connection], T]) -> T:
    """Do ``ask``, which writes nothing; patiently."""

    def once() -> T:
        with engine.connect() as connection, connection.execution_options(write=False).begin():
            return ask(connection)

    return patiently(once)


class JobStore(Claims):
    """What one job has done so far, for the worker that has it in ``epoch``.

    The calls are those of all jobs. Two jobs that ask the same at the same time on two workers may both make a call;
    the first answer stands.
    """

    def __init__(self, engine: Engine, job: str, epoch: int) -> None:
        super().__init__()
        self.job, self.epoch = job, epoch
        self._engine, self._sqlite = engine, engine.dialect.name == "sqlite"
        self._insert = sqlite.insert if self._sqlite else postgresql.insert
        self._given_up = threading.Event()
        self._writer = Writer[Write](f"writer of job {job[:8]}", self._commit)
        self._writer.start()
        self._config: dict[str, Any] = {}
        self._provenance: Provenance | None = None

    def leave(self) -> None:
        """Store nothing any more, and wait for no database: every write is `Moved` from now on."""
        self.epoch = NOBODYS
        self._given_up.set()

    def close(self) -> None:
        """Commit what waits; not any longer where the database is away."""
        self._given_up.set()
        self._writer.stop()

    # The ledger.

    def get(self, key: str) -> Answer | None:
        """See `critic.calls.ledger.Ledger.get`."""
        stored = self._read(select(calls.c.answer).where(calls.c.key == key))
        answer: Answer | None = json.loads(stored[0][0]) if stored else None
        return answer

    async def commit(self, key: str, answer: Answer, cost: float) -> None:
        """See `critic.calls.ledger.Ledger.commit`. What is paid a second time for one answer counts, too."""
        query = self._insert(calls).values(key=key, answer=canonical_json(answer), cost=cost, job=self.job)
        paid = query.on_conflict_do_update(index_elements=["key"], set_={"cost": calls.c.cost + query.excluded.cost})
        await self.write(lambda connection: connection.execute(paid))
        self.release(key)

    def calls(self) -> int:
        """How many answers the job was the first to ask for."""
        return int(self._read(select(func.count()).select_from(calls).where(calls.c.job == self.job))[0][0])

    def cost(self) -> float:
        """What these have cost, in US dollars."""
        total = func.coalesce(func.sum(calls.c.cost), 0.0)
        return float(self._read(select(total).where(calls.c.job == self.job))[0][0])

    # The rows.

    def is_done(self, row: int, item: str, plan: str) -> bool:
        """See `critic.run.execute.RowStore.is_done`. Quarantined rows are tried again."""
        c = job_rows.c
        return bool(
            self._read(
                select(c.row).where(
                    c.job == self.job, c.row == row, c.item == item, c.plan == plan, c.result.is_not(None)
                )
            )
        )

    async def finish(self, result: Row | Quarantined, item: str, plan: str) -> None:
        """See `critic.run.execute.RowStore.finish`."""
        text = result.model_dump_json()
        values: dict[str, Any] = {"item": item, "plan": plan, "result": None, "quarantined": None, "pairs": 0}
        if isinstance(result, Row):
            values |= {"result": text, "pairs": len(result.pairs)}
        else:
            values |= {"quarantined": text}
        query = self._insert(job_rows).values(job=self.job, row=result.row, **values)
        replaced = query.on_conflict_do_update(index_elements=["job", "row"], set_=values)
        await self.write(lambda connection: connection.execute(replaced))

    async def trim(self, rows: int) -> None:
        """See `critic.run.execute.RowStore.trim`."""
        query = delete(job_rows).where(job_rows.c.job == self.job, job_rows.c.row >= rows)
        await self.write(lambda connection: connection.execute(query))

    def row(self, row: int) -> Row | None:
        """The result at one position of the input; None where there is none."""
        c = job_rows.c
        stored = self._read(select(c.result).where(c.job == self.job, c.row == row, c.result.is_not(None)))
        return Row.model_validate_json(stored[0][0]) if stored else None

    def rows(self) -> Iterator[Row]:
        """Every result, in the order of the input."""
        return map(Row.model_validate_json, self._texts(job_rows.c.result))

    def quarantined(self) -> Iterator[Quarantined]:
        """Every row without a result, in the order of the input."""
        return map(Quarantined.model_validate_json, self._texts(job_rows.c.quarantined))

    def trying(self) -> dict[str, Any]:
        """What was begun last: see `service.jobs.running.poison`."""
        trying: dict[str, Any] | None = self._read(select(jobs.c.trying).where(jobs.c.id == self.job))[0][0]
        return trying or {}

    def counts(self, first: int, last: int) -> dict[str, int]:
        """Rows done, rows quarantined and pairs of the rows from ``first`` to ``last``."""
        c = job_rows.c
        query = select(func.count(c.result), func.count(c.quarantined), func.coalesce(func.sum(c.pairs), 0))
        sums = self._read(query.where(c.job == self.job, c.row >= first, c.row <= last))[0]
        return dict(zip(("rows", "quarantined", "pairs"), map(int, sums), strict=True))

    # What the job is.

    def agree(self, config: Mapping[str, Any], provenance: Provenance) -> list[str]:
        """Keep what the results depend on; return what differs from before, where a worker has begun already."""
        self._config, self._provenance = dict(config), provenance
        before = self._read(select(jobs.c.config).where(jobs.c.id == self.job))[0][0]
        if before is None:
            self.set(config=self._config)
            return []
        return [f"{k}: {before.get(k)!r} before, {v!r} now" for k, v in config.items() if before.get(k) != v]

    def config(self) -> dict[str, Any]:
        """See `critic.run.run.Finished.config`."""
        return self._config

    def provenance(self) -> Provenance:
        """See `critic.run.run.Finished.provenance`."""
        if self._provenance is None:
            raise AssertionError("the job's engines were not opened")
        return self._provenance

    # Fenced writes.

    async def write(self, change: Callable[[Connection], Any]) -> None:
        """Do ``change`` in the next commit. Raises `Moved` where the job is not ours any more."""
        await self._writer.write(change)

    def set(self, **values: Any) -> None:
        """Change columns of the job, at once."""
        self.now(lambda connection: connection.execute(update(jobs).where(jobs.c.id == self.job).values(**values)))

    def tell(self, kind: str, **body: Any) -> None:
        """Add an event, at once."""
        self.now(lambda connection: add_event(connection, self.job, kind, body))

    def now(self, change: Callable[[Connection], Any]) -> None:
        """Do ``change`` in a transaction of its own, from any thread. Raises `Moved`."""
        patiently(lambda: self._transaction([change]), self._given_up)

    def once(self, change: Callable[[Connection], Any]) -> None:
        """As `now`, but not patiently: raises `DBAPIError` where the database doesn't answer."""
        self._transaction([change])

    def _commit(self, batch: Sequence[Write]) -> None:
        patiently(lambda: self._transaction(batch), self._given_up)
        if self._sqlite:
            time.sleep(BREATH)

    def _transaction(self, batch: Sequence[Write]) -> None:
        with self._engine.begin() as connection:
            # For the length of this transaction nobody can raise the epoch.
            query = select(jobs.c.epoch).where(jobs.c.id == self.job).with_for_update(key_share=True)
            if connection.execute(query).scalar_one() != self.epoch:
                raise Moved(self.job)
            for change in batch:
                change(connection)

    def _read(self, query: Any) -> list[Any]:
        def ask() -> list[Any]:
            with self._engine.connect() as connection, connection.execution_options(write=False).begin():
                return list(connection.execute(query).all())

        return patiently(ask, self._given_up)

    def _texts(self, column: Any) -> Iterator[str]:
        """One column of the job's rows, a page at a time: memory does not grow with them."""
        after = -1
        while True:
            where = (job_rows.c.job == self.job) & (job_rows.c.row > after) & column.is_not(None)
            page = self._read(select(job_rows.c.row, column).where(where).order_by(job_rows.c.row).limit(PAGE))
            if not page:
                return
            yield from (text for _, text in page)
            after = page[-1][0]


def add_event(connection: Connection, job: str, kind: str, body: Mapping[str, Any]) -> None:
    """Say what happened to a job, for those who follow it."""
    connection.execute(insert(job_events).values(job=job, at=now(), kind=kind, body=dict(body)))
