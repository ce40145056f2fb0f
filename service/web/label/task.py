"""A task's page: shown, answered, skipped, gone back to. Labels are stored by the API's own routes."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from sqlalchemy import RowMapping
from starlette.datastructures import FormData

from critic.feedback import Flag
from service import problems
from service.api.labels import tasks
from service.api.labels.tasks import SkipRequest
from service.context import Parts, Service
from service.keys.auth import Caller
from service.labels.tasks import drafts, practising, tasking
from service.labels.tasks.answering import AnswerRequest
from service.refusals import Conflict, Invalid, TooLarge
from service.store.repeats.idempotency import Once, Replay
from service.web.label import practice
from service.web.label.fields import Fields, one
from service.web.label.pace import pace_of, zone_of
from service.web.label.sheet import Sheet, asked_of, page_of, project_of, sheet_of
from service.web.once import only_once
from service.web.rendering import render
from service.web.visit import Form, PageRoute, Visit, signed_in, text_of

router = APIRouter(include_in_schema=False, route_class=PageRoute)

Labeller = Annotated[Visit, signed_in("label")]

MOST_SECONDS = 86_400.0  # of work on one label
DRAFT_BYTES = 2 * 2**20
MOST_FIELDS = 5000
OWN = ("csrf", "once", "do")  # fields that say nothing of the label


@router.get("/label/{project}")
async def next_task(project: str, request: Request, visit: Labeller, parts: Parts, again: bool = False) -> Response:
    """The next task: practice, where that comes first."""
    annotator = tasking.require_annotator(visit.caller.annotator)
    async with parts.database.read() as connection:
        row = await project_of(connection, project, visit.caller)
        where = await practising.standing(connection, row, annotator)
    if not where.passed:
        return await practice.page(request, parts, row, annotator, where, again)
    task = (await tasks.next_task(project, visit.caller, parts)).task
    sheet = None if task is None else await sheet_of(parts, row, task, visit.caller)
    return await whole(request, visit, parts, row, sheet)


@router.post("/label/{project}/next")
async def ahead(project: str, request: Request, visit: Labeller, form: Form, parts: Parts) -> Response:
    """The sheet of the next task beside those that are being answered: for scripts, which have it ready."""
    beside = [value for value in form.getlist("beside") if isinstance(value, str)][: tasking.HELD_AT_ONCE]
    task = (await tasks.next_task(project, visit.caller, parts, beside)).task
    async with parts.database.read() as connection:
        row = await project_of(connection, project, visit.caller)
    sheet = None if task is None else await sheet_of(parts, row, task, visit.caller)
    return render(request, "label/sheet.html.j2", sheet=sheet, error=None)


@router.get("/label/{project}/{task}")
async def one_task(project: str, task: str, request: Request, visit: Labeller, parts: Parts) -> Response:
    """A task that somebody had before, with their answer: to look at it again, or to change it."""
    async with parts.database.read() as connection:
        row = await project_of(connection, project, visit.caller)
    own = await tasks.own(task, visit.caller, parts)
    sheet = await sheet_of(parts, row, own, visit.caller)
    if request.headers.get("x-part") == "sheet":
        return render(request, "label/sheet.html.j2", sheet=sheet, error=None)
    return await whole(request, visit, parts, row, sheet)


@router.post("/label/{project}/{task}")
async def answer(project: str, task: str, request: Request, visit: Labeller, form: Form, parts: Parts) -> Response:
    """Answer, skip, or take back that one skipped: whatever button was pressed."""
    fields = fields_of(form)
    annotator = tasking.require_annotator(visit.caller.annotator)
    async with parts.database.read() as connection:
        row = await project_of(connection, project, visit.caller)
        where = await practising.standing(connection, row, annotator)
    if task in where.tasks:
        return await practice.answered(request, parts, row, task, visit.caller, fields)
    try:
        done = await _done(parts, row, task, visit.caller, form, fields)
    except (Conflict, Invalid) as refusal:
        if wants_json(request):
            raise
        return await _again(request, visit, parts, row, task, fields, problems.of(refusal))
    return JSONResponse(done) if wants_json(request) else RedirectResponse(_after(form, project, task), 303)


@router.post("/label/{project}/{task}/draft", status_code=204)
async def draft(project: str, task: str, visit: Labeller, form: Form, parts: Parts) -> Response:
    """Keep what was begun."""
    annotator = tasking.require_annotator(visit.caller.annotator)
    text = text_of(form, "fields")
    if len(text.encode()) > DRAFT_BYTES:
        raise TooLarge("the draft is too long to be kept", "It stays in the browser.")
    fields = _parsed(text)
    async with parts.database.transaction() as connection:
        await project_of(connection, project, visit.caller)
        await drafts.save(connection, task, annotator, fields)
    return Response(status_code=204)


async def whole(
    request: Request,
    visit: Visit,
    parts: Service,
    project: RowMapping,
    sheet: Sheet | None,
    *,
    status: int = 200,
    error: Any = None,
) -> HTMLResponse:
    """The whole page around a sheet."""
    bound = None if project["constitution"] is None else await parts.constitutions.get(project["constitution"])
    async with parts.database.read() as connection:
        pace = await pace_of(connection, tasking.require_annotator(visit.caller.annotator), zone_of(request))
    minutes = project["settings"].get("break_minutes")
    about = {"project": dict(project) | {"break_minutes": minutes}, "constitution": bound, "pace": pace}
    return render(request, "label/task.html.j2", status, sheet=sheet, error=error, **about)


def fields_of(form: FormData) -> Fields:
    """A form's fields, with lines ended as people write them."""
    pairs = [(name, value) for name, value in form.multi_items() if isinstance(value, str) and name not in OWN]
    return [(name, value.replace("\r\n", "\n")) for name, value in pairs]


def wants_json(request: Request) -> bool:
    """Whether a script asks."""
    return request.headers.get("accept", "") == "application/json"


async def _done(
    parts: Service, project: RowMapping, task: str, caller: Caller, form: FormData, fields: Fields
) -> dict[str, str]:
    """Do what the button says, once. Raises `Refusal`."""
    does = text_of(form, "do")
    try:
        if does == "skip":
            reason, note = one(fields, "reason") or None, one(fields, "skip_note")
            asked = SkipRequest.model_validate({"reason": reason, "note": note, "seconds": _seconds(fields)})
            await tasks.skip(task, caller, parts, asked)
            done = {"id": task}
        elif does == "unskip":
            await tasks.unskip(task, caller, parts)
            return {"id": task}
        else:
            async with only_once(parts, caller, form, f"{project['id']}/{task}") as once:
                done = {"id": await _answered(parts, project, task, caller, fields, once)}
    except Replay:  # it was stored before, and its answer was lost on the way
        done = {"id": task}
    await _forget_draft(parts, task, tasking.require_annotator(caller.annotator))
    return done


async def _forget_draft(parts: Service, task: str, annotator: str) -> None:
    """Most tasks have none, and are not waited for."""
    async with parts.database.read() as connection:
        if await drafts.read(connection, task, annotator) is None:
            return
    async with parts.database.transaction() as connection:
        await drafts.drop(connection, task, annotator)


async def _answered(parts: Service, project: RowMapping, task: str, caller: Caller, fields: Fields, once: Once) -> str:
    own = await tasks.own(task, caller, parts)
    label = page_of(project["kind"]).label(await asked_of(parts, project, own.responses), fields)
    flag = Flag(note=one(fields, "flag_note")) if one(fields, "flag") == "yes" else None
    replaces = one(fields, "replaces") or None
    asked = AnswerRequest(label=label, seconds=_seconds(fields), flag=flag, replaces=replaces)
    return (await tasks.answer(task, asked, caller, parts, once)).id


async def _again(
    request: Request,
    visit: Visit,
    parts: Service,
    project: RowMapping,
    task: str,
    fields: Fields,
    problem: problems.Problem,
) -> Response:
    """The page with what was given, and what was wrong with it."""
    own = await tasks.own(task, visit.caller, parts)
    sheet = await sheet_of(parts, project, own, visit.caller, fields)
    return await whole(request, visit, parts, project, sheet, status=problem.status, error=problem.public())


def _after(form: FormData, project: str, task: str) -> str:
    """Where a browser without scripts goes next: back to a task that it took back, else to the next one."""
    return f"/label/{project}/{task}" if text_of(form, "do") == "unskip" else f"/label/{project}"


def _seconds(fields: Fields) -> float | None:
    """How long it took, where a script has measured it."""
    try:
        seconds = float(one(fields, "seconds"))
    except ValueError:
        return None
    return min(seconds, MOST_SECONDS) if seconds >= 0 else None


def _parsed(text: str) -> Fields:
    """A draft's fields. Raises `Invalid`."""
    try:
        pairs = json.loads(text)
        fields = [(str(name), str(value)) for name, value in pairs]
    except (ValueError, TypeError):
        raise Invalid("the draft is malformed", "Reload the page.") from None
    if len(fields) > MOST_FIELDS or "\0" in text or "\\u0000" in text:
        raise Invalid("the draft can't be stored", "It stays in the browser.")
    return fields
