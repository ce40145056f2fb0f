"""The HTTP application: the only place where the service's parts are wired together."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from importlib.metadata import version

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from service import problems
from service.api.routers import ROUTERS
from service.bounds.lanes import Lane
from service.bounds.limits import Limits, TokenBuckets
from service.context import Service
from service.engines import Engines
from service.jobs.inputs.artifacts import swept
from service.jobs.inputs.uploads import Uploads
from service.jobs.queue import Jobs
from service.jobs.worker.inside import Inside
from service.keys.auth import Keys
from service.keys.retention import Retention
from service.keys.sessions import Sessions
from service.labels.labels import Labels
from service.labels.snapshot import Snapshots
from service.outward import metrics
from service.settings import Settings
from service.store import migrations
from service.store.constitutions import Constitutions
from service.store.database import Database
from service.store.disk.scratch import HIDDEN
from service.store.disk.synced import close_to_others, make_folder
from service.store.pulse import Pulse
from service.store.repeats.idempotency import Replay
from service.store.repeats.under_way import RequestsUnderWay
from service.web import PAGES
from service.web.visit import tell_browsers

FOLDERS = ("artifacts", "datasets", "runs", HIDDEN)  # of the data folder: what rows of the database point to

SWITCH_SECONDS = 0.001
"""How long a thread that computes may keep the others waiting. The event loop lets go at each of its many calls of the
system, and would wait for the usual 5 ms at each of them. While figures are computed it is shorter still
(`service.bounds.lanes`): always so, it would cost a batch of labels a quarter of its speed."""

GARBAGE = 20_000
"""New objects after which circles among them are looked for: some megabytes. At Python's usual 700 the collector has a
tenth of a batch's processor time, and hardly anything here goes round in a circle."""

IMPORTS_WAITING = 32  # batches that look for labels which are stored already: nobody waits for a data set to do so

DESCRIPTION = """
Critiques, comparisons and human labels under versioned constitutions, and what is made of them.

Every call takes an API key: `Authorization: Bearer cai_...`. Every POST that creates takes an `Idempotency-Key`, so
that it can be repeated safely. Lists are paged: pass `cursor` the `next` of the page before. Every error is a problem
document (RFC 9457) whose `fix` says what to do.
"""


def create_app(settings: Settings) -> FastAPI:
    """Make the application. Nothing is opened before it starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with opened(settings) as service:
            app.state.service = service
            gc.collect()
            gc.freeze()  # what is loaded by now stays, and no collection has to look at it again
            gc.set_threshold(GARBAGE, 10, 10)
            sys.setswitchinterval(SWITCH_SECONDS)
            yield

    app = FastAPI(
        title="cai-feedback",
        version=version("cai-feedback"),
        description=DESCRIPTION,
        lifespan=lifespan,
        openapi_url=None,  # and these, too, stand in service.api.docs: FastAPI would write all of it anew each time
        docs_url=None,  # FastAPI's own page loads its scripts from another site
        redoc_url=None,
        redirect_slashes=False,  # it would look through all routes once more, and answer with the client's own Host
    )
    problems.install(app)

    @app.exception_handler(Replay)
    async def replay(request: Request, before: Replay) -> JSONResponse:
        return JSONResponse(before.body, before.status, {"Idempotency-Replayed": "true"})

    for router in (*ROUTERS, *(PAGES if settings.pages else ())):
        app.include_router(router)
    if settings.pages:
        tell_browsers(app)
    app.add_middleware(
        Limits,
        max_body_bytes=settings.max_body_bytes,
        bodies_bytes=settings.bodies_bytes,
        body_seconds=settings.body_seconds,
    )
    app.add_middleware(metrics.Metered)
    return app


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Service]:
    """Open the parts, and close them in the opposite order."""
    async with AsyncExitStack() as stack:
        make_folder(settings.data.absolute())
        close_to_others(settings.data, FOLDERS)
        await asyncio.to_thread(swept, settings)
        await migrations.upgrade(settings.url)
        database = await stack.enter_async_context(Database(settings.url))
        await stack.enter_async_context(Retention(settings, database))
        constitutions = await stack.enter_async_context(Constitutions(database))
        engines = await stack.enter_async_context(Engines(settings, database))
        jobs = await stack.enter_async_context(Jobs(settings, database, constitutions, engines))
        under_way = await stack.enter_async_context(RequestsUnderWay(database))
        pulse = await stack.enter_async_context(Pulse(database, settings.heartbeat_seconds))
        if settings.runs_jobs:
            await stack.enter_async_context(Inside(settings, engines))
        snapshots = stack.enter_context(closing(Snapshots(database.url)))
        figures = Lane("figures", settings.figures_at_once, settings.figures_waiting, settings.figures_seconds)
        builds = Lane("data sets", settings.builds_at_once, settings.builds_waiting, settings.builds_seconds)
        imports = Lane("imports", 1, IMPORTS_WAITING, settings.figures_seconds)
        keys = Keys(database)
        yield Service(
            settings,
            database,
            keys,
            TokenBuckets(settings.requests_per_minute, settings.requests_at_once),
            constitutions,
            engines,
            Labels(database, constitutions, settings.texts),
            jobs,
            under_way,
            pulse,
            snapshots,
            await stack.enter_async_context(figures),
            await stack.enter_async_context(builds),
            await stack.enter_async_context(imports),
            Uploads(settings, database, jobs.artifacts),
            Sessions(database, keys, settings.session_hours),
        )
