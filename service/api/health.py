"""Whether the server lives, whether it can work, and its figures."""

import asyncio
import time
from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from service.context import Parts
from service.outward.metrics import REGISTRY
from service.problems import responses
from service.refusals import Busy

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """The server answers."""

    status: Literal["ok"] = "ok"


class Ready(Health):
    """The server can work.

    ``workers`` is how many do jobs, here and elsewhere, and ``heartbeat_age`` the seconds since the one was heard of
    that was silent for the longest; null without any.
    """

    workers: int
    heartbeat_age: float | None


@router.get("/healthz")
async def healthz() -> Health:
    """The process lives."""
    return Health()


@router.get("/readyz", responses=responses())
async def readyz(parts: Parts) -> Ready:
    """The process can work: its database answers. It is told within a second that it doesn't (503).

    Workers that are silent don't make the server unready, since labels need none: they are told beside it.
    """
    if not await parts.pulse.answers():
        raise Busy("the database does not answer", "Look after the database.", slug="database_unavailable")
    age = parts.pulse.age()
    return Ready(workers=parts.pulse.workers, heartbeat_age=None if age is None else round(age, 3))


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(parts: Parts) -> Response:
    """Figures for Prometheus."""
    # In a thread, one at a time: however many figures there are, and whoever asks, other requests go on. Those who
    # waited meanwhile share the next rendering, which begins after all of them have come.
    came = time.monotonic()
    async with parts.rendering:
        begun, content = parts.rendered
        if begun <= came:
            begun = time.monotonic()
            content = await asyncio.to_thread(generate_latest, REGISTRY)
            parts.rendered = begun, content
    return Response(content, media_type=CONTENT_TYPE_LATEST)
