"""People who label: who there is, and links by which they come in. For administrators."""

import uuid
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response

from base.errors import InputError
from service import problems
from service.answers.annotators import Annotator
from service.api import keys as key_routes
from service.api.keys import KeyRequest, LinkRequest
from service.api.labels import annotators as annotator_routes
from service.api.labels.annotators import AnnotatorRequest
from service.api.paging import Cursor
from service.context import Parts, Service
from service.keys import key_rows
from service.keys.auth import Caller
from service.refusals import ProblemDocument, Refusal, not_found
from service.store.repeats.idempotency import Once
from service.web.forms import requested
from service.web.manage.asking import new_number, only_once, typed
from service.web.rendering import render
from service.web.visit import Form, PageRoute, Visit, signed_in, text_of

router = APIRouter(include_in_schema=False, route_class=PageRoute)

AT_ONCE = 100

Admin = Annotated[Visit, signed_in("admin")]


@router.get("/people")
async def people(request: Request, visit: Admin, parts: Parts, cursor: Cursor = None) -> Response:
    """Everyone, and a form to invite one more."""
    return await _listed(request, visit, parts, cursor=cursor)


@router.post("/people")
async def invite(request: Request, visit: Admin, form: Form, parts: Parts) -> Response:
    """Make an annotator, and a link for them.

    A form that comes twice, as by a double click, makes one annotator and shows a link each time: the browser shows the
    last answer alone, and what the first one said is told to nobody a second time.
    """
    values = {"name": text_of(form, "name").strip(), "group": text_of(form, "group").strip() or None}
    try:
        asked = requested(AnnotatorRequest, values)
        annotator = await only_once(
            parts, visit, form, Annotator, lambda once: annotator_routes.make(asked, visit.caller, parts, once)
        )
    except (InputError, Refusal) as error:
        return await _listed(request, visit, parts, given=values, problem=problems.of(error).public())
    return await _with_link(request, visit, parts, annotator)


@router.post("/people/{id}/link")
async def again(id: str, request: Request, visit: Admin, form: Form, parts: Parts) -> Response:
    """Make another link for an annotator who is there."""
    annotator = await annotator_routes.get(id, visit.caller, parts)
    if annotator.erased_at is not None:
        raise not_found("annotator", id, "They were erased.")
    return await _with_link(request, visit, parts, annotator)


async def _with_link(request: Request, visit: Visit, parts: Service, annotator: Annotator) -> Response:
    key = await _key_of(parts, annotator, visit.caller)
    link = await key_routes.link(key, LinkRequest(), visit.caller, parts, _once(parts, visit.caller))
    address = f"{request.url.scheme}://{request.url.netloc}{link.path}"
    made = {"name": annotator.name, "address": address, "expires_at": link.expires_at}
    return await _listed(request, visit, parts, made=made)


async def _listed(
    request: Request,
    visit: Visit,
    parts: Service,
    *,
    cursor: str | None = None,
    made: Mapping[str, Any] | None = None,
    given: Mapping[str, str | None] | None = None,
    problem: ProblemDocument | None = None,
) -> Response:
    page = await annotator_routes.listed(visit.caller, parts, limit=AT_ONCE, cursor=cursor)
    return render(
        request,
        "people.html.j2",
        status=200 if problem is None else problem.status,
        people=page.items,
        following=page.next,
        made=made,
        given=typed(given or {}),
        problem=problem,
        number=new_number(),
    )


async def _key_of(parts: Service, annotator: Annotator, caller: Caller) -> str:
    """The id of a key by which an annotator may label and nothing else: one that is there, or a new one."""
    async with parts.under_way.alone(annotator.id, "a key to label with"):  # two forms at once make one key
        known = await key_rows.for_labelling(parts.database, annotator.id)
        if known is not None:
            return known
        asked = KeyRequest(name=annotator.name or annotator.id, scopes=frozenset(["label"]), annotator=annotator.id)
        return (await key_routes.make(asked, caller, parts, _once(parts, caller))).id


def _once(parts: Service, caller: Caller) -> Once:
    """A request of its own: keys and links are told only once."""
    return Once(parts.database, caller.key, None, uuid.uuid4().hex)
