"""Whether the server lives, whether it can work, and its figures."""

import asyncio
from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from sqlalchemy import text

from service.context import Parts
from service.metrics import REGISTRY
from service.problems import responses

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """The server answers."""

    status: Literal["ok"] = "ok"


@router.get("/healthz")
async def healthz() -> Health:
    """The process lives."""
    return Health()


@router.get("/readyz", responses=responses())
async def readyz(parts: Parts) -> Health:
    """The process can work: its database answers."""
    async with parts.database.read() as connection:
        await connection.execute(text("SELECT 1"))
    return Health()


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(parts: Parts) -> Response:
    """Figures for Prometheus."""
    # In a thread, one at a time: however many figures there are, and whoever asks, other requests go on.
    async with parts.rendering:
        content = await asyncio.to_thread(generate_latest, REGISTRY)
    return Response(content, media_type=CONTENT_TYPE_LATEST)
