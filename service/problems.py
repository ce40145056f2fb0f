"""Every error that the API answers: a problem document (RFC 9457) that says what is wrong and what to do.

What the service refuses (`service.refusals`), `InputError`, engines' faults, the database's and the framework's own
errors become the same form here, and nowhere else. What nobody foresaw is logged with a number, and only the number is
told.
"""

import errno
import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnection
from starlette.exceptions import HTTPException
from starlette.routing import Route

from base.disk import DiskFull
from base.errors import InputError
from critic.engine import EngineError, RequestTooLong, RunStopped, Unavailable
from service.outward.public import public
from service.refusals import (
    RETRY_SECONDS,
    Busy,
    Conflict,
    Fault,
    Forbidden,
    Invalid,
    Malformed,
    NoRoom,
    NoSuchMethod,
    NotFound,
    ProblemDocument,
    Refusal,
    TooLarge,
    TooMany,
    TooSlow,
    Unauthorized,
)

MEDIA_TYPE = "application/problem+json"
FAULTS, CHARACTERS = 1000, 2000  # that are told of one request, and of one sentence: messages may quote what was sent

STATUS: dict[type[Refusal], int] = {
    Malformed: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    TooSlow: 408,
    Conflict: 409,
    TooLarge: 413,
    Invalid: 422,
    TooMany: 429,
    NoSuchMethod: 501,
    Busy: 503,
    NoRoom: 507,
}

log = logging.getLogger("cai.service")


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer other than success: the document, and what goes with it in headers."""

    document: ProblemDocument
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.document.status

    def public(self) -> ProblemDocument:
        """What is told of it: nothing that only an administrator may know, whatever raised it."""
        return _public(self.document)

    def response(self) -> JSONResponse:
        """The answer as HTTP."""
        document = self.public()
        return JSONResponse(document.model_dump(), document.status, dict(self.headers), media_type=MEDIA_TYPE)


def _public(document: ProblemDocument) -> ProblemDocument:
    faults = [Fault(where=_cut(fault.where), problem=_said(fault.problem)) for fault in document.faults[:FAULTS]]
    shown = {"detail": _said(document.detail), "fix": _said(document.fix), "faults": faults}
    return document.model_copy(update=shown)


def _said(text: str) -> str:
    return public(_cut(text))


def _cut(text: str) -> str:
    return text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]}... ({len(text):,} characters)"


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route documents beside success: those that any route may give, and ``statuses``."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    every = {400, 401, 403, 413, 422, 429, 500, 503, 507, *statuses}
    told: dict[int | str, dict[str, Any]] = {
        status: {"description": HTTPStatus(status).phrase, "content": content} for status in sorted(every)
    }
    # One of them brings the schema that all refer to. FastAPI makes a field of each, a thousand in all, which is a
    # fifth of a server's start.
    told[500]["model"] = ProblemDocument
    return told


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` with a problem document."""

    async def answered(request: Request, error: Exception) -> JSONResponse:
        return of(error).response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        return (_not_allowed(app, request) if error.status_code == 405 else of(error)).response()

    for kind in _ANSWERED:
        app.add_exception_handler(kind, answered)


def _not_allowed(app: FastAPI, request: Request) -> Problem:
    """The router names only the first route's method; several routes may share an address."""
    path = request.url.path
    routes = [route for route in app.routes if isinstance(route, Route) and route.path_regex.match(path)]
    methods = ", ".join(sorted({method for route in routes for method in route.methods or ()}))
    detail = f"{request.method} is not among what {path} can do: {methods}"
    return _problem(405, "method_not_allowed", detail, "See /docs.", headers={"Allow": methods})


def of(error: Exception) -> Problem:
    """The problem that any error is."""
    match error:
        case Refusal():
            return _of_refusal(error)
        case InputError():
            return _of_refusal(Invalid(error.problem, error.fix, where=public(error.where)))
        case RequestValidationError():
            return _of_refusal(_of_validation(error.errors()))
        case HTTPException(__cause__=Refusal() as refusal):
            return _of_refusal(refusal)  # a body was refused as it was read, which the framework calls its own 400
        case HTTPException():
            slug = HTTPStatus(error.status_code).name.lower()
            return _problem(error.status_code, slug, str(error.detail), headers=error.headers)
        case RequestTooLong():
            return _problem(422, "too_long", str(error), "Shorten the texts: nothing is cut silently.")
        case EngineError() | RunStopped():
            return _of_engine(error)
        case DBAPIError():
            return _of_database(error)
        case NoConnection():
            return _of_refusal(Busy("all connections to the database are in use", slug="database_unavailable"))
        case OSError():
            return _of_machine(error)
    return _of_unforeseen(error)


_ANSWERED = (
    *(Refusal, InputError, RequestValidationError, RequestTooLong, EngineError, RunStopped),
    *(DBAPIError, NoConnection, OSError),
)


def _problem(
    status: int,
    slug: str,
    detail: str,
    fix: str = "",
    *,
    faults: Sequence[Fault] = (),
    headers: Mapping[str, str] | None = None,
    retry_after: float | None = None,
) -> Problem:
    wait = {} if retry_after is None else {"Retry-After": str(round(retry_after))}
    who = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {}
    title = HTTPStatus(status).phrase
    document = ProblemDocument(type=slug, title=title, status=status, detail=detail, fix=fix, faults=list(faults))
    return Problem(document, dict(headers or {}) | wait | who)


def _of_refusal(refusal: Refusal) -> Problem:
    return _problem(
        STATUS[type(refusal)],
        refusal.slug,
        refusal.detail,
        refusal.fix,
        faults=refusal.faults,
        retry_after=refusal.retry_after,
    )


def _of_validation(errors: Sequence[Mapping[str, Any]]) -> Refusal:
    """Name every fault of a request's body and parameters."""
    faults = [Fault(where=_pointer(error["loc"]), problem=str(error["msg"])) for error in errors]
    detail = "; ".join(f"{fault.where}: {fault.problem}" for fault in faults[:3])
    if len(faults) > 3:
        detail += f"; and {len(faults) - 3} more"
    kind = Malformed if any(error["type"] == "json_invalid" for error in errors) else Invalid
    return kind(detail, "See /docs for what this call takes.", faults=faults)


def _of_engine(error: EngineError | RunStopped) -> Problem:
    """An engine that could not answer: 503 where it may later, else 502."""
    if isinstance(error, Unavailable):
        wait = error.retry_after or RETRY_SECONDS
        return _problem(503, "engine_unavailable", str(error), "Try again later.", retry_after=wait)
    if isinstance(error, RunStopped):
        fix = "An administrator has to look after the engine."
        return _problem(503, "engine_down", str(error), fix, retry_after=RETRY_SECONDS)
    return _problem(502, "engine_error", str(error), "Try again, or name another engine: GET /v1/engines lists them.")


# SQLITE_FULL; PostgreSQL's disk_full (class 53, insufficient resources)
_FULL = frozenset(("SQLITE_FULL", "53100"))


def _of_database(error: DBAPIError) -> Problem:
    """A database that can't be written or reached. What was acknowledged before is safe."""
    if _code(error.orig) in _FULL:
        return _problem(507, "disk_full", "the database's disk is full; nothing was stored", "Make room, then repeat.")
    log.warning("database: %s", error.orig)
    fix = "Try again in a few seconds, with the same Idempotency-Key if you sent one."
    return _problem(
        503, "database_unavailable", "the database can't be reached at the moment", fix, retry_after=RETRY_SECONDS
    )


def _code(error: BaseException | None) -> str:
    """The driver's own code of a fault: SQLite's name of it, or PostgreSQL's SQLSTATE."""
    return str(getattr(error, "sqlite_errorname", None) or getattr(error, "sqlstate", None) or "")


def _of_machine(error: OSError) -> Problem:
    """A file that can't be written: 507 where the disk is full."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        detail = str(error.strerror) if isinstance(error, DiskFull) else "the disk is full; nothing was kept"
        return _problem(507, "disk_full", detail, "Make room, then repeat.")
    return _of_unforeseen(error)


def _of_unforeseen(error: Exception) -> Problem:
    """A fault of ours: logged with a number."""
    number = uuid.uuid4().hex[:12]
    log.error("unforeseen error %s", number, exc_info=error)
    return _problem(500, "internal", f"something went wrong here (number {number})", "Report the number.")


def _pointer(location: Sequence[str | int]) -> str:
    head, *rest = location or ("",)
    if head == "body":
        return "/" + "/".join(str(part) for part in rest)
    return ".".join(str(part) for part in location)
