"""Every error that the API answers: a problem document (RFC 9457) that says what is wrong and what to do.

A route raises `Problem`, or lets `InputError` and the framework's own errors through; this file turns all of them into
the same form. What nobody foresaw is logged with a number, and only the number is told.
"""

import errno
import logging
import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException
from starlette.routing import Route

from base.disk import DiskFull
from base.errors import InputError
from critic.engine import EngineError, RequestTooLong, RunStopped, Unavailable
from service.public import public

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5  # what a client is asked to wait where something is away for a while
FAULTS, CHARACTERS = 1000, 2000  # that are told of one request, and of one sentence: messages may quote what was sent

log = logging.getLogger("cai.service")


class Fault(BaseModel):
    """One thing that is wrong with a request: where it stands (a JSON pointer, or a parameter), and what it is."""

    where: str
    problem: str


class ProblemDocument(BaseModel):
    """RFC 9457. ``type`` is a slug that programs can compare; ``fix`` says what to do next."""

    type: str
    title: str
    status: int
    detail: str
    fix: str = ""
    faults: list[Fault] = Field(default_factory=list)


class Problem(HTTPException):
    """An answer other than success. ``type`` is a slug, ``detail`` one sentence, ``fix`` what to do next."""

    def __init__(
        self,
        status: int,
        type: str,
        detail: str,
        fix: str = "",
        *,
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.document = ProblemDocument(
            type=type, title=HTTPStatus(status).phrase, status=status, detail=detail, fix=fix, faults=list(faults)
        )

    def public(self) -> ProblemDocument:
        """What is told of it: nothing that only an administrator may know, whatever raised it."""
        return _public(self.document)

    def response(self) -> JSONResponse:
        """The answer as HTTP."""
        document = self.public()
        return JSONResponse(document.model_dump(), document.status, dict(self.headers or {}), media_type=MEDIA_TYPE)


def _public(document: ProblemDocument) -> ProblemDocument:
    faults = [Fault(where=_cut(fault.where), problem=_said(fault.problem)) for fault in document.faults[:FAULTS]]
    shown = {"detail": _said(document.detail), "fix": _said(document.fix), "faults": faults}
    return document.model_copy(update=shown)


def _said(text: str) -> str:
    return public(_cut(text))


def _cut(text: str) -> str:
    return text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]}... ({len(text):,} characters)"


def not_found(what: str, name: str, fix: str = "") -> Problem:
    """There is no such thing, or none that the caller may see."""
    return Problem(404, "not_found", f"there is no {what} {name!r}", fix)


def conflict(detail: str, fix: str = "") -> Problem:
    """What is asked for goes against what is there."""
    return Problem(409, "conflict", detail, fix)


def invalid(detail: str, fix: str = "", *, where: str = "") -> Problem:
    """The request is well formed, and can't be done as it stands."""
    faults = [Fault(where=where, problem=detail)] if where else []
    return Problem(422, "invalid", detail, fix, faults=faults)


def busy(detail: str) -> Problem:
    """There is too much to do already. What was asked for can be asked for again."""
    fix = f"Try again in {RETRY_SECONDS} seconds."
    return Problem(503, "busy", detail, fix, headers={"Retry-After": str(RETRY_SECONDS)})


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route documents beside success: those that any route may give, and ``statuses``."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    every = {400, 401, 403, 413, 422, 429, 500, 503, 507, *statuses}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content, "model": ProblemDocument}
        for status in sorted(every)
    }


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` with a problem document."""

    @app.exception_handler(Problem)
    async def known(request: Request, error: Problem) -> JSONResponse:
        return error.response()

    @app.exception_handler(InputError)
    async def input_error(request: Request, error: InputError) -> JSONResponse:
        return invalid(error.problem, error.fix, where=public(error.where)).response()

    @app.exception_handler(RequestValidationError)
    async def validation(request: Request, error: RequestValidationError) -> JSONResponse:
        return of_validation(error.errors()).response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 405:
            return _not_allowed(app, request).response()
        slug = HTTPStatus(error.status_code).name.lower()
        return Problem(error.status_code, slug, str(error.detail), headers=error.headers).response()

    @app.exception_handler(RequestTooLong)
    async def too_long(request: Request, error: RequestTooLong) -> JSONResponse:
        return Problem(422, "too_long", str(error), "Shorten the texts: nothing is cut silently.").response()

    @app.exception_handler(EngineError)
    async def engine(request: Request, error: EngineError) -> JSONResponse:
        return of_engine(error).response()

    @app.exception_handler(RunStopped)
    async def engine_down(request: Request, error: RunStopped) -> JSONResponse:
        return of_engine(error).response()

    @app.exception_handler(DBAPIError)
    async def database(request: Request, error: DBAPIError) -> JSONResponse:
        return of_database(error).response()

    @app.exception_handler(OSError)
    async def machine(request: Request, error: OSError) -> JSONResponse:
        return of_machine(error).response()

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> JSONResponse:
        return of_unforeseen(error).response()


def _not_allowed(app: FastAPI, request: Request) -> Problem:
    """The router names only the first route's method; several routes may share an address."""
    path = request.url.path
    routes = [route for route in app.routes if isinstance(route, Route) and route.path_regex.match(path)]
    methods = ", ".join(sorted({method for route in routes for method in route.methods or ()}))
    detail = f"{request.method} is not among what {path} can do: {methods}"
    return Problem(405, "method_not_allowed", detail, "See /docs.", headers={"Allow": methods})


def of(error: Exception) -> Problem:
    """The problem that any error is: for who answers in another form than JSON."""
    match error:
        case Problem():
            return error
        case InputError():
            return invalid(error.problem, error.fix, where=public(error.where))
        case RequestValidationError():
            return of_validation(error.errors())
        case HTTPException():
            slug = HTTPStatus(error.status_code).name.lower()
            return Problem(error.status_code, slug, str(error.detail), headers=error.headers)
        case RequestTooLong():
            return Problem(422, "too_long", str(error), "Shorten the texts: nothing is cut silently.")
        case EngineError() | RunStopped():
            return of_engine(error)
        case DBAPIError():
            return of_database(error)
        case OSError():
            return of_machine(error)
    return of_unforeseen(error)


def of_validation(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """Name every fault of a request's body and parameters."""
    faults = [Fault(where=_pointer(error["loc"]), problem=str(error["msg"])) for error in errors]
    malformed = any(error["type"] == "json_invalid" for error in errors)
    detail = "; ".join(f"{fault.where}: {fault.problem}" for fault in faults[:3])
    if len(faults) > 3:
        detail += f"; and {len(faults) - 3} more"
    fix = "See /docs for what this call takes."
    return Problem(400 if malformed else 422, "malformed" if malformed else "invalid", detail, fix, faults=faults)


def of_engine(error: Exception) -> Problem:
    """An engine that could not answer: 503 where it may later, else 502."""
    if isinstance(error, Unavailable):
        wait = str(round(error.retry_after or RETRY_SECONDS))
        return Problem(503, "engine_unavailable", str(error), "Try again later.", headers={"Retry-After": wait})
    if isinstance(error, RunStopped):
        fix, wait = "An administrator has to look after the engine.", str(RETRY_SECONDS)
        return Problem(503, "engine_down", str(error), fix, headers={"Retry-After": wait})
    return Problem(502, "engine_error", str(error), "Try again, or name another engine: GET /v1/engines lists them.")


def of_database(error: DBAPIError) -> Problem:
    """A database that can't be written or reached. What was acknowledged before is safe."""
    text = str(error.orig)
    if "full" in text or "No space left" in text:
        return Problem(507, "disk_full", "the database's disk is full; nothing was stored", "Make room, then repeat.")
    log.warning("database: %s", text)
    fix = "Try again in a few seconds, with the same Idempotency-Key if you sent one."
    headers = {"Retry-After": str(RETRY_SECONDS)}
    return Problem(503, "database_unavailable", "the database can't be reached at the moment", fix, headers=headers)


def of_machine(error: OSError) -> Problem:
    """A file that can't be written: 507 where the disk is full."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        detail = str(error.strerror) if isinstance(error, DiskFull) else "the disk is full; nothing was kept"
        return Problem(507, "disk_full", detail, "Make room, then repeat.")
    return of_unforeseen(error)


def of_unforeseen(error: Exception) -> Problem:
    """A fault of ours: logged with a number."""
    number = uuid.uuid4().hex[:12]
    log.error("unforeseen error %s", number, exc_info=error)
    return Problem(500, "internal", f"something went wrong here (number {number})", "Report the number.")


def _pointer(location: Sequence[str | int]) -> str:
    head, *rest = location or ("",)
    if head == "body":
        return "/" + "/".join(str(part) for part in rest)
    return ".".join(str(part) for part in location)
