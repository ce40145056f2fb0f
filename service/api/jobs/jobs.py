"""Durable jobs: submit, follow, cancel, try again, and fetch what they leave."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from pydantic_core import to_json

from service.answers.page import Page
from service.api.body import StrictRoute
from service.api.paging import Cursor, Limit, encode, number
from service.context import OnlyOnce, Parts, allowed
from service.jobs import listing
from service.jobs.inputs.artifacts import Artifact, of_job
from service.jobs.job import Job, JobEvent, JobEvents, State
from service.jobs.kinds import Kind, Request
from service.keys import access
from service.keys.auth import Caller
from service.problems import responses
from service.refusals import not_found

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=StrictRoute, responses=responses())

EVENTS = "text/event-stream"
LAST = 2**63 - 1

Submitter = Annotated[Caller, allowed("jobs")]
Reader = Annotated[Caller, allowed(*access.JOBS)]


class JobArtifacts(BaseModel):
    """The files of a job: what it was given (``input/...``), and what it left."""

    items: list[Artifact]


@router.post("", status_code=201, responses=responses(404, 409))
async def submit(asked: Request, caller: Submitter, parts: Parts, once: OnlyOnce) -> Job:
    """Put a job into the queue. A worker takes it from there, and its death does not end it."""
    return await parts.jobs.submit(asked, caller, once)


@router.get("")
async def listed(
    caller: Reader,
    parts: Parts,
    state: State | None = None,
    kind: Kind | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Job]:
    """All jobs, the newest first."""
    rows, before = await listing.page(parts.database, number(cursor), limit, state=state, kind=kind)
    return Page(items=rows, next=None if before is None else encode(before))


@router.get("/{id}", responses=responses(404))
async def one(id: str, caller: Reader, parts: Parts) -> Job:
    """One job: its state and progress."""
    return await parts.jobs.get(id)


_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "Events", "content": {EVENTS: {"schema": {"type": "string"}}}}
}


@router.get("/{id}/events", response_model=JobEvents, responses=responses(404) | _STREAM)
async def events(
    id: str,
    caller: Reader,
    parts: Parts,
    after: Annotated[int, Query(ge=0, le=LAST, description="Only events after this `seq`.")] = 0,
    limit: Limit = 100,
    stream: Annotated[
        bool, Query(description="Send events as they come. So does `Accept: text/event-stream`.")
    ] = False,
    accept: Annotated[str, Header(max_length=1000)] = "",
    last_event_id: Annotated[str, Header(max_length=100)] = "",
) -> Response:
    """What happened to a job; with `Accept: text/event-stream` as events that come as they happen, until it has ended.

    A client that lost its connection sends ``Last-Event-ID``, as browsers do, and misses nothing.
    """
    await parts.jobs.readable(id, caller)
    if EVENTS not in accept:
        page = [JobEvent.model_validate(event) for event in await parts.jobs.events(id, after, limit)]
        return Response(
            JobEvents(items=page, after=page[-1].seq if page else after).model_dump_json(),
            media_type="application/json",
        )
    parts.jobs.must_have_room()
    seen = int(last_event_id) if last_event_id.isascii() and last_event_id.isdigit() else after
    return StreamingResponse(_sent(parts, id, min(seen, LAST)), media_type=EVENTS)


@router.get("/{id}/logs", response_class=Response, responses=responses(404) | {200: {"content": {"text/plain": {}}}})
async def logs(id: str, caller: Reader, parts: Parts) -> Response:
    """Everything that happened to a job, a line each, in plain text."""
    await parts.jobs.readable(id, caller)
    return StreamingResponse(_lines(parts, id), media_type="text/plain")


@router.post("/{id}/cancel", responses=responses(404))
async def cancel(id: str, caller: Submitter, parts: Parts) -> Job:
    """End a job. Its worker stops within seconds; what was answered stays in the ledger."""
    return await parts.jobs.cancel(id, caller)


@router.post("/{id}/retry", responses=responses(404, 409))
async def retry(id: str, caller: Submitter, parts: Parts, once: OnlyOnce) -> Job:
    """Run an ended job again: finished rows stay, and quarantined rows are tried again."""
    return await parts.jobs.retry(id, caller, once)


@router.get("/{id}/artifacts", responses=responses(404))
async def artifacts(id: str, caller: Reader, parts: Parts) -> JobArtifacts:
    """The files of a job."""
    await parts.jobs.readable(id, caller)
    return JobArtifacts(items=await asyncio.to_thread(parts.jobs.artifacts.listing, of_job(id)))


@router.get(
    "/{id}/artifacts/{name:path}",
    response_class=Response,
    responses=responses(404) | {200: {"description": "The file", "content": {"application/octet-stream": {}}}},
)
async def artifact(id: str, name: str, caller: Reader, parts: Parts) -> Response:
    """One file of a job, as it is."""
    await parts.jobs.readable(id, caller)
    file = await asyncio.to_thread(parts.jobs.artifacts.find, of_job(id), name)
    if file is None:
        raise not_found("artifact", name, f"GET /v1/jobs/{id}/artifacts lists them.")
    return StreamingResponse(
        parts.jobs.artifacts.blocks(of_job(id), file.name),
        media_type="application/octet-stream",
        headers={
            "Content-Length": str(file.bytes),
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name.rpartition('/')[2])}",
            "X-Content-Type-Options": "nosniff",
        },
    )


async def _sent(parts: Parts, id: str, after: int) -> AsyncIterator[bytes]:
    async for event in parts.jobs.follow(id, after):
        if event is None:
            yield b": still there\n\n"
            continue
        yield b"id: %d\nevent: %s\ndata: %s\n\n" % (event["seq"], event["kind"].encode(), to_json(event))


async def _lines(parts: Parts, id: str) -> AsyncIterator[str]:
    after = 0
    while page := await parts.jobs.events(id, after, 500):
        yield "".join(JobEvent.model_validate(event).line() for event in page)
        after = page[-1]["seq"]
