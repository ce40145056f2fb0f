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
from critic.engines import kinds
from critic.judging.base import Mode
from service.engines import TRAINED, Engines
from service.jobs.inputs.artifacts import Artifacts, of_job
from service.jobs.inputs.sources import gather, origins, sources
from service.jobs.job import ENDED, Job
from service.jobs.requests import (
    AlignRequest,
    AnyRequest,
    EvaluateRequest,
    ExportRequest,
    GenerateRequest,
    JudgeRequest,
    Source,
    TrainRequest,
)
from service.jobs.work import durable
from service.keys import access
from service.keys.auth import Caller, audited
from service.outward import metrics
from service.refusals import RETRY_SECONDS, Busy, Conflict, Invalid, Refusal, TooMany, not_found
from service.settings import Settings
from service.store.constitutions import Constitutions
from service.store.database import Database
from service.store.repeats.idempotency import Once
from service.store.tables import datasets, job_events, jobs, models, now
from trainers import catalogue

if TYPE_CHECKING:
    from dbos import DBOSClient

GAUGE_SECONDS = 5.0
TRAINABLE = ("embedded", "hf", "vllm")
LOOK_SECONDS = 0.5  # how often those who follow a job look for what is new
FOLLOWERS = 200  # each looks into the database twice a second
PING_LOOKS = 30  # so many looks without news, and those who follow are told that we are still there
COLUMNS = [jobs.c[name] for name in Job.model_fields]


class Jobs:
    """The queue, for one event loop."""

    def __init__(self, settings: Settings, database: Database, constitutions: Constitutions, engines: Engines) -> None:
        self.artifacts = Artifacts.of(settings)
        self._settings = settings
        self._database, self._constitutions, self._engines = database, constitutions, engines
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

    async def submit(self, request: AnyRequest, caller: Caller, once: Once) -> Job:
        """Store a job and enqueue it, in one transaction. Raises `InputError` for what it names and is not there."""
        await self._must_read(request, caller)
        await self._must_have_place(caller)
        request = await self._resolved(request)
        client, id = await self._opened(), secrets.token_hex(8)
        stored, given = False, origins(request)
        try:
            request = await asyncio.to_thread(gather, request, id, self.artifacts, self._settings.data)
            stored = True
            return await self._store(_row(id, request, caller), given, caller, client, once)
        except BaseException as error:
            # Files stay where the database may have gone away with the job stored, and nowhere else.
            if not stored or isinstance(error, InputError | IntegrityError | Refusal):
                await asyncio.to_thread(self.artifacts.remove, of_job(id))
            if isinstance(error, InputError | IntegrityError):
                await once.replay()
            raise

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

    async def readable(self, id: str, caller: Caller) -> None:
        """Raise `NotFound` where there is no such job, and `Forbidden` where the caller may not read what it holds."""
        await self.get(id)
        async with self._database.read() as connection:
            await access.must_read_job(connection, caller, id)

    async def _must_read(self, request: AnyRequest, caller: Caller) -> None:
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
            while found := await self.events(id, after, 500):
                quiet = 0
                for event in found:
                    yield event
                after = found[-1]["seq"]
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

    async def _resolved(self, request: AnyRequest) -> AnyRequest:
        """The request with every name checked, and the constitution's version fixed."""
        match request:
            case GenerateRequest() | JudgeRequest():
                self.judges(request.judges, request.modes)
                if isinstance(request, GenerateRequest):
                    self._writes(request.policy)
                if request.cluster is not None:
                    self._runs_on(request.cluster, request.judges)
            case AlignRequest():
                self.judges(request.judges, request.modes)
                self._writes(request.policy)
            case EvaluateRequest():
                self._engines.mode(request.judge)
                for mode in request.modes:
                    self._engines.mode(request.judge, mode)
            case TrainRequest():
                await self._trainable(request)
            case ExportRequest():
                pass
        if isinstance(request, AlignRequest):
            await self._new_name(request.name)
        request = await self._versioned(request)
        ref = getattr(request, "constitution", None)
        if ref is None:
            return request
        constitution = await self._constitutions.get(ref)
        return request.model_copy(update={"constitution": constitution.ref})

    def judges(self, names: list[str], asked: list[str]) -> list[Mode]:
        """The mode of each judge. Raises `InputError`."""
        judges: list[str | None] = [*names] or [None]
        if len(asked) not in (0, 1, len(judges)):
            raise InputError(f"{len(asked)} modes for {len(judges)} judges", where="modes", fix="Give one for each.")
        modes: list[str | None] = [*asked] * (len(judges) // len(asked)) if asked else [None] * len(judges)
        return [self._engines.mode(judge, mode) for judge, mode in zip(judges, modes, strict=True)]

    def _writes(self, name: str | None) -> None:
        if name is not None and name.startswith(TRAINED):
            raise InputError(f"{name} gives rewards and answers nothing", where="policy")
        self._engines.mode(name)
        if name is not None and (gives := kinds()[self._engines.kind(name)].gives) != "text":
            raise InputError(f"{name} gives {gives} and answers nothing", where="policy")

    def _runs_on(self, cluster: str, judges: list[str]) -> None:
        if cluster not in (known := self._settings.clusters):
            fix = f"Configured: {', '.join(known) or 'none'}."
            raise InputError(f"there is no cluster {cluster[:100]!r}", where="cluster", fix=fix)
        if trained := [name for name in judges if name.startswith(TRAINED)]:
            raise InputError(
                f"{trained[0]} lies in the data folder, which a cluster's nodes need not have",
                where="judges",
                fix="Leave cluster out, or have an administrator configure the model as an engine that nodes can open.",
            )

    async def _trainable(self, request: TrainRequest) -> None:
        await self._new_name(request.name)
        if request.model is not None and await self._trained(request.model) is None:
            if request.model not in self._engines.names:
                raise Invalid(f"there is no model and no engine {request.model[:100]!r}", where="model")
            if self._engines.kind(request.model) not in TRAINABLE:
                raise Invalid(f"the weights of {request.model} are not here to be trained", where="model")
        if request.reward is not None:
            if (trainer := await self._trained(request.reward)) is None:
                self._engines.mode(request.reward)
            elif not catalogue.gives_rewards(trainer):
                raise Invalid(f"{request.reward} was trained by {trainer}, and gives no rewards", where="reward")

    async def _trained(self, name: str) -> str | None:
        """What trained the model of this name, if it was trained here."""
        query = select(models.c.trainer).where(models.c.name == name.removeprefix(TRAINED))
        async with self._database.read() as connection:
            return (await connection.execute(query)).scalar_one_or_none()

    async def _versioned(self, request: AnyRequest) -> AnyRequest:
        """The request with the version of every data set fixed."""
        if isinstance(request, TrainRequest):
            return request.model_copy(update={"data": [await self._version(source) for source in request.data]})
        return request.model_copy(update={"input": await self._version(request.input)})

    async def _version(self, source: Source) -> Source:
        if source.dataset is None:
            return source
        c = datasets.c
        query = select(c.version).where(c.name == source.dataset).order_by(c.version.desc()).limit(1)
        if source.version is not None:
            query = query.where(c.version == source.version)
        async with self._database.read() as connection:
            version = (await connection.execute(query)).scalar_one_or_none()
        if version is None:
            wanted = source.dataset if source.version is None else f"{source.dataset}, version {source.version}"
            raise Invalid(f"there is no data set {wanted!r}", "GET /v1/datasets lists them.", where="dataset")
        return source.model_copy(update={"version": version})

    async def _new_name(self, name: str) -> None:
        async with self._database.read() as connection:
            if (await connection.execute(select(models.c.id).where(models.c.name == name))).first() is not None:
                raise Conflict(f"there is a model {name!r} already", "Choose another name.")

    async def _count_on(self) -> None:
        while True:
            with suppress(DBAPIError):  # a database that is away is no reason to stop counting
                await self._count()
            await asyncio.sleep(GAUGE_SECONDS)

    async def _count(self) -> None:
        query = select(jobs.c.kind, jobs.c.state, func.count()).group_by(jobs.c.kind, jobs.c.state)
        async with self._database.read() as connection:
            found = (await connection.execute(query)).all()
        metrics.JOBS.clear()
        for kind, state, count in found:
            metrics.JOBS.labels(kind, state).set(count)


def _row(id: str, request: AnyRequest, caller: Caller) -> dict[str, Any]:
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
