"""What every route is handed: the service's parts, and who asks.

The parts are wired in `service.app` and nowhere else. Routes take them as parameters, so that their signatures say what
they touch.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Security
from fastapi.security import HTTPBearer

from service.bounds.kept import Kept
from service.bounds.lanes import Lane
from service.bounds.limits import Room, TokenBuckets
from service.bounds.turns import Turns
from service.engines import Engines
from service.jobs.inputs.uploads import Uploads
from service.jobs.queue import Jobs
from service.keys.auth import Caller, Keys, Scope, require
from service.keys.sessions import Sessions
from service.labels.labels import Labels
from service.labels.snapshot import Snapshots
from service.settings import Settings
from service.store.constitutions import Constitutions
from service.store.database import Database
from service.store.pulse import Pulse
from service.store.repeats.idempotency import MAX_NAME, Once
from service.store.repeats.under_way import RequestsUnderWay

STRANGERS_BYTES = 24 * 2**20
"""Of long bodies, all together, whose senders are not signed in: an answer's, say, whose session ended meanwhile."""


@dataclass(slots=True)
class Service:
    """The parts of one running server."""

    settings: Settings
    database: Database
    keys: Keys
    pace: TokenBuckets
    constitutions: Constitutions
    engines: Engines
    labels: Labels
    jobs: Jobs
    under_way: RequestsUnderWay
    pulse: Pulse
    snapshots: Snapshots
    figures: Lane
    builds: Lane
    imports: Lane
    uploads: Uploads
    sessions: Sessions
    turns: Turns = field(default_factory=Turns)
    strangers: Room = field(default_factory=lambda: Room(STRANGERS_BYTES))  # for what they send to the pages
    reviewed: Kept[Any] = field(default_factory=Kept)  # figures by project: see service.review.agreement.figures
    rendering: asyncio.Semaphore = field(default_factory=asyncio.Semaphore)  # of figures, one scrape at a time
    rendered: tuple[float, bytes] = (float("-inf"), b"")  # when the last rendering began, and what came out
    closing: list[Callable[[], Coroutine[Any, Any, None]]] = field(default_factory=list)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _parts(request: Request) -> Service:
    return _service(request)  # what is not async, FastAPI sends to a thread


class _Documented(HTTPBearer):
    """How a request says its key, for the documentation: the key was looked up at the door, by `entered`."""

    async def __call__(self, request: Request) -> None:
        """Leave it as it is."""


_BEARER = _Documented(auto_error=False, description="An API key: `cai_...`", bearerFormat="cai_...")


@asynccontextmanager
async def entered(request: Request) -> AsyncIterator[None]:
    """Find out who asks, before anything of the body is read, and count the request while it is worked on.

    Raises `Unauthorized` and 429.
    """
    service = _service(request)
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    caller = await service.keys.caller(text if scheme.lower() == "bearer" else None)
    service.pace.take(caller.key)
    with service.pace.under_way(caller.key):
        request.state.caller = caller
        yield


def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller  # known since the door
    return caller


def allowed(*scopes: Scope) -> Any:
    """A route's parameter: the caller, who must have one of ``scopes``."""

    async def check(request: Request, documented: Annotated[None, Security(_BEARER)]) -> Caller:
        caller = _caller(request)
        require(caller, scopes)
        return caller

    return Depends(check)


async def _named(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=MAX_NAME,
            description="Repeat a request with the same key, and it has one effect and one answer.",
        ),
    ] = None,
) -> Once:
    body = await request.body() if idempotency_key is not None else b""
    address = f"{request.method} {request.scope['path']}?".encode() + request.scope["query_string"]
    asked = hashlib.sha256(address + b"\n" + body).hexdigest()
    return Once(_service(request).database, _caller(request).key, idempotency_key, asked)


async def _once(request: Request, once: Annotated[Once, Depends(_named)]) -> AsyncIterator[Once]:
    if once.name is None:
        yield once
        return
    async with _service(request).under_way.alone(once.key, once.name):
        await once.replay()
        yield once


Parts = Annotated[Service, Depends(_parts)]
OnlyOnce = Annotated[Once, Depends(_once)]  # until the answer is sent: one that is streamed is made meanwhile
# For the busiest route: the database is asked for an earlier answer only where storing the new one fails.
LateOnce = Annotated[Once, Depends(_named)]
