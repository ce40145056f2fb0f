"""Jobs as the API has them: put into the queue, looked up, cancelled, tried again.

A job is a row of ours; that it has to be done is a workflow of DBOS's in the same database, and both are committed
together. Workers (`service.jobs.worker.worker`) do the rest.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import and_, func, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from base.errors import InputError
from service.engines import Engines
from service.jobs.inputs.artifacts import Artifacts, of_job
from service.jobs.inputs.sources import gather, origins, sources, with_sources
from service.jobs.job import ENDED, Job
from service.jobs.kinds import KINDS
from service.jobs.named import Named
from service.jobs.requests import JobRequest
from service.jobs.work import durable
from service.keys import access
from service.keys.auth import Caller, audited
from service.outward import metrics
from service.refusals import RETRY_SECONDS, Busy, Conflict, Refusal, TooMany, not_found
from service.settings import Settings
from service.store.constitutions import Constitutions
from service.store.database import Database
from service.store.repeats.idempotency import Once
from service.store.tables import job_events, jobs, now

if TYPE_CHECKING:
    from dbos import DBOSClient

GAUGE_SECONDS = 5.0
LOOK_SECONDS = 0.5  # how often those who follow a job look for what is new
FOLLOWERS = 200  # each looks into the database twice a second
PING_LOOKS = 30  # so many looks without news, and those who follow are told that we are still there
COLUMNS = [jobs.c[name] for name in Job.model_fields]


class Jobs:
    """The queue, for one event loop."""

    def __init__(self, settings: Settings, database: Database, constitutions: Constitutions, engines: Engines) -> None:
        self.artifacts = Artifacts.of(settings)
        self._settings = settings
        self._database = database
        self._named = Named(settings, database, constitutions, engines)
        self._client: DBOSClient | None = None
        self._turn = asyncio.Lock()
        self._counting: asyncio.Task[None] | None = None
        self._followers = 0

    async def __aenter__(self) -> Self:
        self._counting = asyncio.create_task(self._count_on(), name="job gauge")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._counting is not None:
            self._counting.cancel()
            await asyncio.gather(self._counting, return_exceptions=True)
        if self._client is not None:
            await asyncio.to_thread(self._client.destroy)

    async def submit(self, request: JobRequest, caller: Caller, once: Once) -> Job:
        """Store a job and enqueue it, in one transaction. Raises `InputError` for what it names and is not there."""
        await self._must_read(request, caller)
        await self._must_have_place(caller)
        request = await self._resolved(request)
        client, id = await self._opened(), secrets.token_hex(8)
        stored, given = False, origins(request)
        try:
            request = await asyncio.to_thread(self._gathered, request, id)
            stored = True
            return await self._store(_row(id, request, caller), given, caller, client, once)
        except BaseException as error:
            # Files stay where the database may have gone away with the job stored, and nowhere else.
            if not stored or isinstance(error, InputError | IntegrityError | Refusal):
                await asyncio.to_thread(self.artifacts.remove, of_job(id))
            if isinstance(error, InputError | IntegrityError):
                await once.replay()
            raise

    def _gathered(self, request: JobRequest, id: str) -> JobRequest:
        """The request that names copies of what it reads."""
        default = KINDS[request.kind].file(request)
        return gather(request, default, id, self.artifacts, self._settings.data)

    async def _store(
        self, row: dict[str, Any], given: list[str], caller: Caller, client: "DBOSClient", once: Once
    ) -> Job:
        id, answer = row["id"], Job.model_validate({column.name: row.get(column.name) for column in COLUMNS})
        async with self._database.transaction() as connection:
            await connection.execute(insert(jobs), row)
            await _tell(connection, id, "queued", {"attempt": 1, "sources": given})
            audit = audited(caller, "job.submitted", id, kind=row["kind"])
            for table, rows in {**audit, **once.rows(answer)}.items():
                await connection.execute(table.insert(), rows)
            await _enqueue(connection, client, id, 1)
        return answer

    async def get(self, id: str) -> Job:
        """One job. Raises `NotFound`."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(*COLUMNS).where(jobs.c.id == id))).mappings().one_or_none()
        if row is None:
            raise not_found("job", id, "GET /v1/jobs lists them.")
        return Job.model_validate(dict(row))

    async def readable(self, id: str, caller: Caller) -> Job:
        """Return a job. Raises `NotFound`, and `Forbidden` where the caller may not read what it holds."""
        job = await self.get(id)
        async with self._database.read() as connection:
            await access.must_read_job(connection, caller, id)
        return job

    async def _must_read(self, request: JobRequest, caller: Caller) -> None:
        """Raise `Forbidden` where the request would show the caller what no other route does."""
        for source in sources(request).values():
            if source.dataset is not None:
                access.must_read_labels(caller, f"the data set {source.dataset!r}")
            if source.job is not None:
                async with self._database.read() as connection:
                    await access.must_read_job(connection, caller, source.job)

    async def _must_have_place(self, caller: Caller) -> None:
        """Raise `TooMany` where too many jobs of the caller wait already: each has files, and is looked at."""
        mine = (jobs.c.key == caller.key, jobs.c.state.not_in(ENDED))
        async with self._database.read() as connection:
            open = (await connection.execute(select(func.count()).where(*mine))).scalar_one()
        if open >= self._settings.open_jobs_per_key:
            fix = "Wait for some to end, or cancel them: POST /v1/jobs/ID/cancel."
            detail = f"{open:,} jobs of the key {caller.name!r} have not ended; that is as many as there may be"
            raise TooMany(detail, fix, slug="too_many_jobs", retry_after=RETRY_SECONDS)

    async def cancel(self, id: str, caller: Caller) -> Job:
        """End a job. Its worker can commit nothing from now on, and stops when it next looks."""
        values = {"state": "cancelled", "ended_at": now(), "worker": None, "epoch": jobs.c.epoch + 1}
        async with self._database.transaction() as connection:
            open = and_(jobs.c.id == id, jobs.c.state.not_in(ENDED))
            if (await connection.execute(update(jobs).where(open).values(values))).rowcount:
                await _tell(connection, id, "cancelled", {})
                for table, rows in audited(caller, "job.cancelled", id).items():
                    await connection.execute(table.insert(), rows)
        return await self.get(id)

    async def retry(self, id: str, caller: Caller, once: Once) -> Job:
        """Enqueue an ended job again: what is done stays, and quarantined rows are tried again.

        Raises `Conflict` where the job has not ended.
        """
        client, before = await self._opened(), await self.get(id)
        attempt = before.attempt + 1
        new = {"state": "queued", "attempt": attempt, "error": None, "ended_at": None, "epoch": jobs.c.epoch + 1}
        answer = before.model_copy(update={"state": "queued", "attempt": attempt, "error": None, "ended_at": None})
        try:
            async with self._database.transaction() as connection:
                ended = and_(jobs.c.id == id, jobs.c.state.in_(ENDED), jobs.c.attempt == attempt - 1)
                if not (await connection.execute(update(jobs).where(ended).values(new))).rowcount:
                    raise Conflict(f"the job has not ended: it is {before.state}", "Wait for it, or cancel it.")
                await _tell(connection, id, "queued", {"attempt": attempt})
                for table, rows in {**audited(caller, "job.retried", id), **once.rows(answer, 200)}.items():
                    await connection.execute(table.insert(), rows)
                await _enqueue(connection, client, id, attempt)
        except IntegrityError:
            await once.replay()
            raise
        return answer

    async def events(self, id: str, after: int, limit: int, kind: str | None = None) -> list[dict[str, Any]]:
        """What happened to a job after the event number ``after``, oldest first."""
        c = job_events.c
        query = select(c.seq, c.at, c.kind, c.body).where(c.job == id, c.seq > after).order_by(c.seq).limit(limit)
        if kind is not None:
            query = query.where(c.kind == kind)
        async with self._database.read() as connection:
            return [dict(row) for row in (await connection.execute(query)).mappings()]

    async def last_events(self, id: str, limit: int) -> list[dict[str, Any]]:
        """The last that happened to a job, oldest first."""
        c = job_events.c
        query = select(c.seq, c.at, c.kind, c.body).where(c.job == id).order_by(c.seq.desc()).limit(limit)
        async with self._database.read() as connection:
            return [dict(row) for row in (await connection.execute(query)).mappings()][::-1]

    def must_have_room(self) -> None:
        """Raise `Busy` where too many follow jobs already."""
        if self._followers >= FOLLOWERS:
            raise Busy(f"{self._followers} others follow jobs already")

    async def follow(self, id: str, after: int) -> AsyncIterator[dict[str, Any] | None]:
        """Events as they come, until the job has ended; None where nothing has happened for a while."""
        self._followers += 1
        try:
            async for event in self._follow(id, after):
                yield event
        finally:
            self._followers -= 1

    async def _follow(self, id: str, after: int) -> AsyncIterator[dict[str, Any] | None]:
        quiet = 0
        while True:
            ended = (await self.get(id)).state in ENDED  # asked first: an event may come between
            while page := await self.events(id, after, 500):
                quiet = 0
                for event in page:
                    yield event
                after = page[-1]["seq"]
            if ended:
                return
            await asyncio.sleep(LOOK_SECONDS)
            quiet += 1
            if quiet % PING_LOOKS == 0:
                yield None

    async def _opened(self) -> "DBOSClient":
        async with self._turn:
            if self._client is None:
                self._client = await asyncio.to_thread(durable.client, self._database.url)
            return self._client

    async def _resolved(self, request: JobRequest) -> JobRequest:
        """The request with every name checked, and the versions of its constitution and data sets fixed."""
        await KINDS[request.kind].check(request, self._named)
        versions = {name: await self._named.version(source) for name, source in sources(request).items()}
        request = with_sources(request, versions)
        ref = getattr(request, "constitution", None)
        if ref is None:
            return request
        return request.model_copy(update={"constitution": await self._named.constitution(ref)})

    async def _count_on(self) -> None:
        while True:
            with suppress(DBAPIError):  # a database that is away is no reason to stop counting
                await self._count()
            await asyncio.sleep(GAUGE_SECONDS)

    async def _count(self) -> None:
        query = select(jobs.c.kind, jobs.c.state, func.count()).group_by(jobs.c.kind, jobs.c.state)
        async with self._database.read() as connection:
            counts = (await connection.execute(query)).all()
        metrics.JOBS.clear()
        for kind, state, count in counts:
            metrics.JOBS.labels(kind, state).set(count)


def _row(id: str, request: JobRequest, caller: Caller) -> dict[str, Any]:
    return {
        "id": id,
        "kind": request.kind,
        "request": request.model_dump(mode="json", exclude_none=True),
        "state": "queued",
        "attempt": 1,
        "epoch": 0,
        "progress": {},
        "key": caller.key,
        "created_at": now(),
    }


async def _tell(connection: AsyncConnection, id: str, kind: str, body: Mapping[str, Any]) -> None:
    await connection.execute(insert(job_events), {"job": id, "at": now(), "kind": kind, "body": dict(body)})


async def _enqueue(connection: AsyncConnection, client: "DBOSClient", id: str, attempt: int) -> None:
    options = durable.options(id, attempt)
    await connection.run_sync(lambda sync: client.enqueue_in_transaction(sync, options, id, attempt))
