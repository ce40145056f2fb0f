"""Who visits a page, and the one door that every page stands behind: `PageRoute`.

There the browser's session is found, its requests are counted as those of its key, a form's token is checked before
anything is done, every error becomes a page, and every answer has the site's policy.
"""

import re
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, cast
from urllib.parse import quote, urlsplit

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException

from critic.feedback.base import storable
from critic.pages import markdown
from service import problems
from service.context import Service
from service.keys.auth import Caller, Scope, require
from service.keys.sessions import csrf
from service.refusals import Forbidden, Malformed, Refusal, TooLarge, Unauthorized, not_found
from service.web.policy import secure
from service.web.rendering import render
from service.web.sent.form_body import form_of

SESSION = "cai_session"
VISITOR = "cai_visitor"  # of who isn't signed in yet: what the sign-in form is bound to
SIGN_OUT = "/sign-out"
SAFE = ("GET", "HEAD")
MARKDOWN_CHARACTERS = 32_000  # of one page, which takes a third of a second at most: nobody else is answered then
STRANGERS_BYTES = 16 * 1024  # of a body whose sender isn't signed in, and who waits for no turn
LONGEST_OF_STRANGERS = 8 * 2**20  # bytes of one that does: the longest label, with each of its bytes escaped in three
SECRET = ("csrf", "key", "once")  # fields that are never shown again

LONGEST_ID = 64  # characters

_WORDLESS = re.compile(r"[!-~]*")  # an id, a choice, a number: ASCII without a space


@dataclass(frozen=True, slots=True)
class Visit:
    """A request of somebody who is signed in."""

    session: str
    caller: Caller
    csrf: str

    def may(self, *scopes: Scope) -> bool:
        """Whether the visitor has one of ``scopes``."""
        return any(self.caller.may(scope) for scope in scopes)


class PageRoute(APIRoute):
    """A page, or the answer to a form."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See `APIRoute`."""
        handler = super().get_route_handler()

        async def page(request: Request) -> Response:
            request.state.visit, request.state.csrf, visitor = None, "", None
            markdown.at_most(MARKDOWN_CHARACTERS)
            try:
                visitor = await _recognised(request)
                response = await _counted(request, handler)
            except Exception as error:  # whatever it is, a person reads it on a page
                response = _failed(request, error)
            if visitor is not None:
                set_cookie(request, response, VISITOR, visitor)
            secure(response.headers)
            return response

        return page


def tell_browsers(app: FastAPI) -> None:
    """Answer browsers with a page where ``app`` has no such address; all else is answered as before."""
    before = cast(Callable[[Request, Exception], Awaitable[Response]], app.exception_handlers[HTTPException])

    @app.exception_handler(HTTPException)
    async def answered(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404 and "text/html" in request.headers.get("accept", ""):
            return await _nowhere(request)
        return await before(request, error)


async def _nowhere(request: Request) -> Response:
    """Say on a page that there is none; nothing is asked of who comes, as nothing is shown."""
    request.state.visit, request.state.csrf = None, ""
    told: Exception = not_found("page", request.url.path, "Look at its address again.")
    try:
        await _recognised(request)
    except Exception as error:  # as in `PageRoute`: a database that is away, perhaps
        told = error
    response = _failed(request, told)
    secure(response.headers)
    return response


async def _recognised(request: Request) -> str | None:
    """Find out who visits; return a new visitor's name, where the browser has none."""
    token = request.cookies.get(SESSION)
    if token:
        try:
            session = await _service(request).sessions.find(token)
        except Unauthorized:
            pass  # as if there were no cookie
        else:
            request.state.visit = Visit(session.id, session.caller, session.csrf)
            request.state.csrf = session.csrf
            return None
    visitor = request.cookies.get(VISITOR)
    new = None if visitor else secrets.token_urlsafe(24)
    request.state.csrf = csrf(visitor or new or "")
    return new


async def _counted(request: Request, handler: Callable[[Request], Coroutine[Any, Any, Response]]) -> Response:
    visit: Visit | None = request.state.visit
    if visit is None:  # strangers are not counted: one of them could keep all others from signing in
        return await _of_stranger(request, handler)
    pace = _service(request).pace
    pace.take(visit.caller.key)
    with pace.under_way(visit.caller.key):
        return await _handled(request, handler)


async def _of_stranger(request: Request, handler: Callable[[Request], Coroutine[Any, Any, Response]]) -> Response:
    """Answer somebody who isn't signed in: whose session has ended in mid-answer, perhaps, with a long text.

    Of such a text all that is done is that it is given back. It takes a turn in room of its own, so that strangers
    keep up only each other.
    """
    size, room = said_length(request), _service(request).strangers
    if size is not None and size <= STRANGERS_BYTES:
        return await _handled(request, handler)
    if size is None or size > LONGEST_OF_STRANGERS:
        if request.cookies.get(SESSION):  # a script that hears so keeps what it has sent
            raise _ended()
        raise TooLarge(f"without signing in, {LONGEST_OF_STRANGERS:,} bytes can be sent", "Sign in first.")
    await room.take(size)
    try:
        return await _handled(request, handler)
    finally:
        room.give_back(size)


async def _handled(request: Request, handler: Callable[[Request], Coroutine[Any, Any, Response]]) -> Response:
    if request.method in SAFE:
        return await handler(request)
    _must_be_ours(request)
    async with form_of(request) as request.state.form:
        _must_be_storable(request.state.form)
        given = request.state.form.get("csrf", "")
        if not isinstance(given, str) or not secrets.compare_digest(given.encode(), request.state.csrf.encode()):
            raise _stale(request)
        return await handler(request)


def said_length(request: Request) -> int | None:
    """How long a request says that its body is; None where it doesn't say. Nothing of the body is read before."""
    length = request.headers.get("content-length", "0")
    return int(length) if length.isdecimal() and "transfer-encoding" not in request.headers else None


def _must_be_storable(form: FormData) -> None:
    """Raise `Malformed` for what no database can store, as `service.api.body` does for programs."""
    for name, value in form.multi_items():
        try:
            storable(name)
            storable(value if isinstance(value, str) else value.filename or "")
        except ValueError as error:
            raise Malformed(str(error), "Leave the character out.") from None


def _must_be_ours(request: Request) -> None:
    """Raise `Forbidden` for what another site sent: browsers say so, beside the form's token."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Forbidden("the form was sent by another site", "Open the page here, and send it again.")


def _stale(request: Request) -> Refusal:
    if request.state.visit is None and request.cookies.get(SESSION):
        return _ended()
    detail = "the form was made for another session"
    return Forbidden(detail, "Open the page again, and send it again.", slug="stale_form")


def _ended() -> Refusal:
    return Unauthorized("your session has ended", "Sign in again.")


def _failed(request: Request, error: Exception) -> Response:
    problem = problems.of(error)
    if problem.status == 401 and request.method in SAFE and request.state.visit is None:
        return RedirectResponse(sign_in_address(request), 303)
    if problem.status in (401, 403) and request.url.path == SIGN_OUT and request.state.visit is None:
        return RedirectResponse("/sign-in", 303)  # a second click, or a session that had ended before: they are out
    if request.headers.get("accept") == "application/json":
        return problem.response()
    document = problem.public()
    back, written = _came_from(request), _written(request)
    response = render(request, "problem.html.j2", status=document.status, problem=document, back=back, written=written)
    response.headers.update(problem.headers)
    return response


def _written(request: Request) -> list[str]:
    """What somebody wrote into a form that was refused: it is given back, whatever the reason.

    Words, that is: several, or of letters other than ASCII's, or one that is longer than any id. Ids, choices and
    numbers have none, and keys stay out.
    """
    form: FormData = getattr(request.state, "form", FormData())
    texts = [value for name, value in form.multi_items() if name not in SECRET and isinstance(value, str)]
    written = [text for text in texts if text.strip() and (len(text) > LONGEST_ID or not _WORDLESS.fullmatch(text))]
    return [text.encode(errors="replace").decode() for text in written]  # half a character can't be sent


def _came_from(request: Request) -> str:
    """The page of ours that a form stood on; the first page where the browser doesn't say."""
    try:
        came = urlsplit(request.headers.get("referer", ""))
    except ValueError:  # no browser says such a thing
        return "/"
    address = came.path + (f"?{came.query}" if came.query else "")
    return local(address) if came.netloc == request.url.netloc else "/"


def sign_in_address(request: Request) -> str:
    """Where to sign in, and come back from."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return "/sign-in" if here == "/" else f"/sign-in?to={quote(here, safe='/')}"


def signed_in(*scopes: Scope) -> Any:
    """A page's parameter: the `Visit`, whose key must have one of ``scopes``; with none, any key will do."""

    async def check(request: Request) -> Visit:
        visit: Visit | None = request.state.visit
        if visit is None:
            raise Unauthorized("you are not signed in", "Sign in again.")
        if scopes:
            require(visit.caller, scopes)
        return visit

    return Depends(check)


async def _form(request: Request) -> FormData:
    form: FormData = request.state.form
    return form


Form = Annotated[FormData, Depends(_form)]
"""What was sent, which was checked to come from one of our pages."""


def text_of(form: FormData, name: str) -> str:
    """A field's text, as people write it: browsers end lines in two characters. Empty where there is none."""
    value = form.get(name, "")
    return value.replace("\r\n", "\n") if isinstance(value, str) else ""


def set_cookie(request: Request, response: Response, name: str, value: str) -> None:
    """Give the browser something to keep until it is closed or the session is over."""
    secure_only = request.url.scheme == "https"
    response.set_cookie(name, value, httponly=True, samesite="lax", secure=secure_only, path="/")


def clear_cookie(response: Response, name: str) -> None:
    """Let the browser forget it."""
    response.delete_cookie(name, path="/", httponly=True, samesite="lax")


def local(address: str) -> str:
    """An address of this site to go to: what leads elsewhere is the first page."""
    is_local = address.startswith("/") and not address.startswith(("//", "/\\"))
    return address if is_local and not any(character < " " for character in address) else "/"


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
