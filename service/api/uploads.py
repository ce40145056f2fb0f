"""Files for jobs to read. An upload is known by its content's SHA-256, and never changes."""

import asyncio
import io
from hashlib import sha256
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from service.api.body import StrictRoute
from service.auth import Caller
from service.context import OnlyOnce, Parts, allowed, audited
from service.jobs.artifacts import UPLOADS
from service.problems import responses

router = APIRouter(prefix="/v1/uploads", tags=["jobs"], route_class=StrictRoute, responses=responses())

Submitter = Annotated[Caller, allowed("jobs")]
Ending = Literal["jsonl", "json", "csv", "parquet", "txt"]

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {
                "schema": {"type": "string", "format": "binary"},
                "example": '{"prompt": "How do I keep bread fresh?"}',
            }
        },
    }
}


class Upload(BaseModel):
    """A file that jobs can name by its ``id``."""

    id: str
    format: Ending
    bytes: int


@router.post("", status_code=201, openapi_extra=_BODY, responses=responses(408, 409))
async def upload(
    request: Request,
    caller: Submitter,
    parts: Parts,
    once: OnlyOnce,
    format: Annotated[Ending, Query(description="How the file is to be read.")] = "jsonl",
) -> Upload:
    """Store a file: the body as it is."""
    content = await request.body()
    made = Upload(id=sha256(content).hexdigest(), format=format, bytes=len(content))
    store = parts.jobs.artifacts
    await asyncio.to_thread(store.write, io.BytesIO(content), UPLOADS, f"{made.id}.{format}")
    await once.insert(audited(caller, "upload.stored", made.id, bytes=made.bytes), made)
    return made
