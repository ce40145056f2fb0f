"""A task's page: shown, answered, skipped, gone back to. Labels are stored by the API's own routes."""

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from starlette.datastructures import FormData

from service import problems
from service.answers.tasks import OwnTask
from service.api.body import parse
from service.api.labels import tasks
from service.api.labels.tasks import SkipRequest
from service.context import Parts, Service
from service.keys.auth import Caller
from service.labels.tasks import coming, handing, roles, tasking
from service.labels.tasks.answering import AnswerRequest
from service.labels.tasks.coming import Again, Next
from service.labels.tasks.handing import SeenTask
from service.labels.tasks.own_work import OwnPace
from service.labels.tasks.shown import order
from service.refusals import Conflict, Invalid, Refusal, TooLarge, not_found
from service.store.database import Row
from service.store.repeats.idempotency import Once, Replay
from service.web.forms import once_of, requested
from service.web.label import practice
from service.web.label.fields import Fields, one
from service.web.label.sheet import Sheet, asked_of, page_of, sheet_of
from service.web.label.zone import zone_of
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
    seconds, zone = parts.settings.lease_seconds, zone_of(request)

    got = await parts.database.change(
        lambda connection: coming.for_next(connection, project, visit.caller, seconds, zone)
    )
    if got.at is not None:
        return await practice.page(request, parts, got.project, annotator, got.at, again)
    return await whole(request, parts, got.project, await _sheet(parts, got, annotator), got.pace)


@router.post("/label/{project}/next")
async def ahead(project: str, request: Request, visit: Labeller, form: Form, parts: Parts) -> Response:
    """The sheet of the next task beside those that are being answered: for scripts, which have it ready."""
    beside = [value for value in form.getlist("beside") if isinstance(value, str)][: tasking.HELD_AT_ONCE]
    annotator, seconds = tasking.require_annotator(visit.caller.annotator), parts.settings.lease_seconds
    got = await parts.database.change(lambda connection: coming.ahead(connection, project, annotator, seconds, beside))
    return render(request, "label/sheet.html.j2", sheet=await _sheet(parts, got, annotator), error=None)


@router.get("/label/{project}/{task}")
async def one_task(project: str, task: str, request: Request, visit: Labeller, parts: Parts) -> Response:
    """A task that somebody had before, with their answer: to look at it again, or to change it."""
    got = await _back_to(request, visit, parts, project, task)
    sheet = await sheet_of(parts, got.project, _own(got, visit), got.before)
    if request.headers.get("x-part") == "sheet":
        return render(request, "label/sheet.html.j2", sheet=sheet, error=None)
    return await whole(request, parts, got.project, sheet, got.pace)


@router.post("/label/{project}/{task}")
async def answer(project: str, task: str, request: Request, visit: Labeller, form: Form, parts: Parts) -> Response:
    """Answer, skip, or take back that one skipped: whatever button was pressed."""
    fields = fields_of(form)
    seen = await parts.database.look(lambda connection: coming.to_answer(connection, project, task, visit.caller))
    if seen.task["role"] == roles.PRACTICE:
        return await practice.answered(request, parts, seen.project, task, visit.caller, fields)
    try:
        done = await _done(parts, seen, visit.caller, form, fields)
    except (Conflict, Invalid) as refusal:
        if wants_json(request):
            raise
        return await _again(request, visit, parts, seen, fields, problems.of(refusal))
    return JSONResponse(done) if wants_json(request) else RedirectResponse(_after(form, project, task), 303)


@router.post("/label/{project}/{task}/draft", status_code=204)
async def draft(project: str, task: str, visit: Labeller, form: Form, parts: Parts) -> Response:
    """Keep what was begun."""
    text = text_of(form, "fields")
    if len(text.encode()) > DRAFT_BYTES:
        raise TooLarge("the draft is too long to be kept", "It stays in the browser.")
    fields, replaces = _parsed(text), text_of(form, "replaces") or None

    await parts.database.change(
        lambda connection: coming.leave(connection, project, task, visit.caller, fields, replaces)
    )
    return Response(status_code=204)


async def whole(
    request: Request,
    parts: Service,
    project: Row,
    sheet: Sheet | None,
    pace: OwnPace | None,
    *,
    status: int = 200,
    error: Any = None,
) -> HTMLResponse:
    """The whole page around a sheet."""
    bound = None if project["constitution"] is None else await parts.constitutions.get(project["constitution"])
    minutes = project["settings"].get("break_minutes")
    about = {"project": dict(project) | {"break_minutes": minutes}, "constitution": bound, "pace": pace}
    return render(request, "label/task.html.j2", status, sheet=sheet, error=error, **about)


async def _sheet(parts: Service, got: Next, annotator: str) -> Sheet | None:
    task = None if got.out is None else tasks.task_of(got.out, annotator)
    return None if task is None or got.before is None else await sheet_of(parts, got.project, task, got.before)


async def _back_to(request: Request, visit: Visit, parts: Service, project: str, task: str) -> Again:
    zone = zone_of(request)
    return await parts.database.look(lambda connection: coming.back_to(connection, project, task, visit.caller, zone))


def _own(got: Again, visit: Visit) -> OwnTask:
    return tasks.own_task(got.own, tasking.require_annotator(visit.caller.annotator))


def fields_of(form: FormData) -> Fields:
    """A form's fields, with lines ended as people write them."""
    pairs = [(name, value) for name, value in form.multi_items() if isinstance(value, str) and name not in OWN]
    return [(name, value.replace("\r\n", "\n")) for name, value in pairs]


def wants_json(request: Request) -> bool:
    """Whether a script asks."""
    return request.headers.get("accept", "") == "application/json"


async def _done(parts: Service, seen: SeenTask, caller: Caller, form: FormData, fields: Fields) -> dict[str, str]:
    """Do what the button says, once. Raises `Refusal`."""
    does, task = text_of(form, "do"), seen.task["id"]
    if does in _LEAVES:
        try:
            await _left(parts, task, caller, fields, does)
        except Conflict:
            if not await _is_so(parts, seen, caller, _LEAVES[does]):
                raise
        return {"id": task}
    once = once_of(parts, caller, form, f"{seen.project['id']}/{task}")
    try:
        if seen.lease is None:
            await once.replay()
            raise not_found("task", task, "Ask for the next one.")
        return {"id": await _answered(parts, seen, caller, fields, once)}
    except Replay:  # it was stored before, and its answer was lost on the way
        return {"id": task}


_LEAVES = {"skip": tasking.SKIPPED, "unskip": tasking.LEASED}
"""Which state a button leaves a task in."""


async def _left(parts: Service, task: str, caller: Caller, fields: Fields, does: str) -> None:
    """Leave a task to others, or take that back."""
    if does == "unskip":
        await tasks.unskip(task, caller, parts)
        return
    reason, note = one(fields, "reason") or None, one(fields, "skip_note")
    asked = requested(SkipRequest, {"reason": reason, "note": note, "seconds": _seconds(fields)})
    await tasks.skip(task, caller, parts, asked)


async def _is_so(parts: Service, seen: SeenTask, caller: Caller, state: str) -> bool:
    """Whether a task is in a state already: a second click finds what the first one did."""
    project, task = seen.project["id"], seen.task["id"]
    now = await parts.database.look(lambda connection: coming.to_answer(connection, project, task, caller))
    return now.lease is not None and now.lease["state"] == state


async def _answered(parts: Service, seen: SeenTask, caller: Caller, fields: Fields, once: Once) -> str:
    place = order(seen.task["id"], tasking.require_annotator(caller.annotator), len(seen.task["responses"]))
    responses = [seen.task["responses"][position]["text"] for position in place]
    label = page_of(seen.project["kind"]).label(await asked_of(parts, seen.project, responses), fields)
    flag = {"note": one(fields, "flag_note")} if one(fields, "flag") == "yes" else None
    replaces = one(fields, "replaces") or None
    values = {"label": label, "seconds": _seconds(fields), "flag": flag, "replaces": replaces}
    asked = requested(AnswerRequest, values)
    return await handing.answered(parts.database, parts.labels, seen, asked, caller, once)


async def _again(
    request: Request, visit: Visit, parts: Service, seen: SeenTask, fields: Fields, problem: problems.Problem
) -> Response:
    """The page with what was given, and what was wrong with it."""
    project, task = seen.project["id"], seen.task["id"]
    got = await _back_to(request, visit, parts, project, task)
    sheet = await sheet_of(parts, got.project, _own(got, visit), got.before, fields)
    status = problem.status
    return await whole(request, parts, got.project, sheet, got.pace, status=status, error=problem.public())


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
        fields = [(str(name), str(value)) for name, value in parse(text.encode())]
    except (Refusal, ValueError, TypeError):
        raise Invalid("the draft is malformed", "It stays in the browser.") from None
    if len(fields) > MOST_FIELDS:
        raise Invalid("the draft has too many fields", "It stays in the browser.")
    return fields
