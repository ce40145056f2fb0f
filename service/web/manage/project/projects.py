"""Projects: the list, and the first page of one, with its progress by annotator and pool and what can be done there."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from service.answers.projects import ItemsAdded
from service.api.labels import projects as api
from service.api.labels import tasks
from service.api.paging import Cursor
from service.api.review.figures import paused
from service.context import Parts
from service.labels import annotators
from service.labels.projects.project_items import ItemsRequest
from service.labels.projects.projects import is_discarded
from service.labels.tasks import task_rows
from service.refusals import Invalid, NotFound
from service.review.item_files import items_of
from service.review.pausing import PauseRequest
from service.review.progress import progress_of
from service.web.forms import requested
from service.web.manage.asking import Maker, Reader, new_number, only_once
from service.web.manage.project.making import of_upload
from service.web.manage.project.pools import pools_of
from service.web.manage.project.preview import first_sheet
from service.web.rendering import csv, render
from service.web.visit import Form, PageRoute, text_of

router = APIRouter(include_in_schema=False, route_class=PageRoute)

LeftOut = Annotated[int, Query(ge=0, le=10**9)]

PAGE = 50
SKIPS = 50  # that are told of on a project's page


@router.get("/projects")
async def listed(request: Request, visit: Reader, parts: Parts, cursor: Cursor = None) -> Response:
    """All projects, with how far each is."""
    page = await api.listed(visit.caller, parts, limit=PAGE, cursor=cursor)
    return render(request, "manage/projects.html.j2", projects=page.items, next=page.next)


@router.get("/projects/{id}")
async def one(request: Request, id: str, visit: Reader, parts: Parts, left_out: LeftOut = 0) -> Response:
    """A project: how far it is, by annotator and pool. ``left_out`` rows of its file could not be used."""
    project = await api.get(id, visit.caller, parts)
    skips = await tasks.skips(id, visit.caller, parts, limit=SKIPS)
    async with parts.database.read() as connection:
        progress = await progress_of(connection, id)
    bound = None if project.constitution is None else await parts.constitutions.get(project.constitution)
    prompts = await task_rows.prompts(parts.database, id, [one.item for one in skips.items])
    return render(
        request,
        "manage/project.html.j2",
        tab="progress",
        project=project,
        progress=progress,
        sheet=await first_sheet(parts, id),
        constitution=bound,
        left_out=left_out,
        skips=skips.items,
        prompts=prompts,
        pools=await pools_of(parts, project.assigned) if visit.may("feedback") else [],
        number=new_number(),
        names=await annotators.names(parts.database, [*project.assigned, *(one.annotator for one in skips.items)]),
    )


@router.get("/projects/{id}/progress.csv")
async def progress_csv(id: str, visit: Reader, parts: Parts) -> Response:
    """The numbers of the table of annotators."""
    async with parts.database.read() as connection:
        progress = await progress_of(connection, id)
    return csv(f"progress-{id}", [one.model_dump(mode="json") for one in progress.annotators])


@router.post("/projects/{id}/pause")
async def pause(id: str, visit: Maker, parts: Parts, form: Form) -> Response:
    """Pause an annotator, or let them go on."""
    asked = requested(
        PauseRequest,
        {
            "annotator": text_of(form, "annotator"),
            "paused": text_of(form, "paused") == "yes",
            "reason": text_of(form, "reason"),
            "put_back_labels": text_of(form, "put_back") == "yes",
        },
    )
    await paused(id, asked, visit.caller, parts)
    return RedirectResponse(f"/projects/{id}#annotators", 303)


@router.post("/projects/{id}/change")
async def change(id: str, visit: Maker, parts: Parts, form: Form) -> Response:
    """Open or close a project, assign it, ask for more or fewer labels an item."""
    values: dict[str, object] = {}
    if text_of(form, "closed"):
        values["closed"] = text_of(form, "closed") == "yes"
    if labels := text_of(form, "labels_per_item").strip():
        values["labels_per_item"] = int(labels) if labels.isascii() and labels.isdigit() else labels
    if text_of(form, "asks_assigned"):
        values["assigned"] = [str(id) for id in form.getlist("assigned")]
    await api.change(id, requested(api.ProjectChange, values), visit.caller, parts)
    return RedirectResponse(f"/projects/{id}", 303)


@router.post("/projects/{id}/items")
async def add(id: str, request: Request, visit: Maker, parts: Parts, form: Form) -> Response:
    """Add the items of a file."""
    project = await api.get(id, visit.caller, parts)
    read = await of_upload(request, parts, form, "file", project.kind, items_of)
    if read is None:
        raise Invalid("which file?", "Choose one with a row for each item.", where="/file")
    asked = requested(ItemsRequest, {"items": [item.model_dump() for item in read.items]})
    await only_once(parts, visit, form, ItemsAdded, lambda once: api.add(id, asked, visit.caller, parts, once))
    left_out = f"?left_out={read.left_out_count}" if read.left_out_count else ""
    return RedirectResponse(f"/projects/{id}{left_out}", 303)


@router.post("/projects/{id}/discard")
async def discard(id: str, visit: Maker, parts: Parts, form: Form) -> Response:
    """Discard a project that nobody has labelled in. A second click finds it gone, which is what was wanted."""
    try:
        await api.discard(id, visit.caller, parts)
    except NotFound:
        if not await is_discarded(parts.database, id):
            raise
    return RedirectResponse("/projects", 303)
