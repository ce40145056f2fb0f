"""Signing in, by an API key or by a link that works once, and signing out."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from service.context import Parts
from service.keys.auth import Caller
from service.labels import annotators
from service.refusals import Unauthorized
from service.web.rendering import render
from service.web.visit import (
    SESSION,
    SIGN_OUT,
    Form,
    PageRoute,
    Visit,
    clear_cookie,
    local,
    set_cookie,
    signed_in,
    text_of,
)

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/sign-in")
async def page(request: Request, to: str = "/") -> Response:
    """Ask for a key."""
    return render(request, "sign_in.html.j2", to=local(to), refused="")


@router.post("/sign-in")
async def by_key(request: Request, form: Form, parts: Parts) -> Response:
    """Sign in with a key."""
    to = local(text_of(form, "to") or "/")
    try:
        caller = await parts.keys.caller(text_of(form, "key").strip())
    except Unauthorized as refusal:
        return render(request, "sign_in.html.j2", status=401, to=to, refused=refusal.detail)
    parts.pace.take(caller.key)  # each session is a row
    return _entered(request, await parts.sessions.begin(caller.key), to)


@router.get("/sign-in/{token}")
async def link(request: Request, token: str, parts: Parts, to: str = "/") -> Response:
    """Show whose link it is. It is used by the button: what looks at addresses in messages uses none up."""
    try:
        caller = await parts.sessions.peek(token)
    except Unauthorized as refusal:
        return render(request, "sign_in.html.j2", status=401, to=local(to), refused=refusal.detail)
    name = await _name(parts, caller)
    return render(request, "sign_in_link.html.j2", token=token, to=local(to), name=name)


@router.post("/sign-in/{token}")
async def by_link(request: Request, token: str, form: Form, parts: Parts) -> Response:
    """Sign in with a link."""
    to = local(text_of(form, "to") or "/")
    try:
        session = await parts.sessions.use(token)
    except Unauthorized as refusal:
        return render(request, "sign_in.html.j2", status=401, to=to, refused=refusal.detail)
    return _entered(request, session, to)


@router.post(SIGN_OUT)
async def sign_out(visit: Annotated[Visit, signed_in()], form: Form, parts: Parts) -> Response:
    """End this session."""
    await parts.sessions.end(visit.session)
    response = RedirectResponse("/sign-in", 303)
    clear_cookie(response, SESSION)
    return response


def _entered(request: Request, session: str, to: str) -> Response:
    response = RedirectResponse(to, 303)
    set_cookie(request, response, SESSION, session)
    return response


async def _name(parts: Parts, caller: Caller) -> str:
    """What to call who the key belongs to."""
    if caller.annotator is None:
        return caller.name
    return await annotators.name(parts.database, caller.annotator) or caller.name
