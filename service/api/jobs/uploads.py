"""Files for jobs to read. An upload is known by its content's SHA-256, and never changes."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from service.answers.page import Page
from service.api.body import StrictRoute
from service.api.paging import Cursor, Limit, decode, encode
from service.context import OnlyOnce, Parts, allowed
from service.jobs.inputs.uploads import Ending, Upload
from service.keys.auth import Caller
from service.problems import responses
from service.store.database import AlreadyThere

router = APIRouter(prefix="/v1/uploads", tags=["jobs"], route_class=StrictRoute, responses=responses())

Submitter = Annotated[Caller, allowed("jobs")]

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


class UploadPage(Page[Upload]):
    """Part of the list, with the bytes of all uploads of the key, and of everybody's."""

    used: int
    used_by_all: int


@router.post("", status_code=201, openapi_extra=_BODY, responses=responses(408, 409))
async def upload(
    request: Request,
    caller: Submitter,
    parts: Parts,
    once: OnlyOnce,
    format: Annotated[Ending, Query(description="How the file is to be read.")] = "jsonl",
) -> Upload:
    """Store a file: the body as it is.

    Where the key's uploads would become too many bytes the answer is 413, where everybody's would, 507; then nothing is
    stored.
    """
    try:
        return await parts.uploads.store(await request.body(), format, caller, once)
    except AlreadyThere:  # the same request, sent at the same time, was quicker
        await once.replay()
        raise


@router.get("")
async def listed(caller: Submitter, parts: Parts, limit: Limit = 50, cursor: Cursor = None) -> UploadPage:
    """The key's uploads, by id; an administrator sees everybody's."""
    id, _, format = (decode(cursor) or "").partition(".")
    uploads = await parts.uploads.listed(caller, (id, format), limit + 1)
    used, used_by_all = await parts.uploads.used(caller)
    more = encode(f"{uploads[limit - 1].id}.{uploads[limit - 1].format}") if len(uploads) > limit else None
    return UploadPage(items=uploads[:limit], next=more, used=used, used_by_all=used_by_all)


@router.delete("/{id}", status_code=204, responses=responses(404))
async def delete(id: str, caller: Submitter, parts: Parts) -> None:
    """Delete an upload of the key's, or as an administrator everybody's. Jobs that were submitted with it keep it."""
    await parts.uploads.delete(id, caller)
