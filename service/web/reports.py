"""What browsers refused of our pages. Nothing should ever be reported: a line in the log says where to look."""

import logging
from collections import deque

from fastapi import APIRouter, Request, Response

from service.refusals import TooLarge
from service.web.policy import REPORTS
from service.web.visit import STRANGERS_BYTES, said_length

router = APIRouter(include_in_schema=False)

LONGEST = 4000  # bytes of a report that are read: anyone can send one
REMEMBERED = 100

reported: deque[str] = deque(maxlen=REMEMBERED)
log = logging.getLogger("cai.service")


@router.post(REPORTS, status_code=204)
async def report(request: Request) -> Response:
    """Take one report."""
    size = said_length(request)
    if size is None or size > STRANGERS_BYTES:
        raise TooLarge(f"a report has at most {STRANGERS_BYTES:,} bytes", "Send less.")
    said = b""
    async for part in request.stream():
        said += part
        if len(said) > LONGEST:
            break
    text = said[:LONGEST].decode("utf-8", "replace")
    reported.append(text)
    log.warning("a page broke its own policy: %r", text)
    return Response(status_code=204)


@router.get(REPORTS)
async def reports() -> dict[str, int]:
    """How many reports there were since the start."""
    return {"reports": len(reported)}
