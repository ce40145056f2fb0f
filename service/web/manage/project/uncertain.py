"""What the judge is least sure of, one click from being assigned to people."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from service.answers.projects import ItemsAdded
from service.api.labels import projects as api
from service.api.review.items import uncertain as sought
from service.context import Parts
from service.labels.projects.project_items import ItemsRequest
from service.review.uncertain import UncertainQuery
from service.web.forms import requested
from service.web.manage.asking import Maker, Reader, new_number, only_once
from service.web.rendering import render
from service.web.visit import Form, PageRoute, text_of

router = APIRouter(include_in_schema=False, route_class=PageRoute)

MOST_PROJECTS = 200


@router.get("/uncertain")
async def page(request: Request, query: Annotated[UncertainQuery, Query()], visit: Reader, parts: Parts) -> Response:
    """The comparisons that are nearest to even odds, and the projects that they can be given to."""
    results = await sought(query, request, visit.caller, parts)
    listed = await api.listed(visit.caller, parts, limit=MOST_PROJECTS)
    return render(
        request,
        "manage/uncertain.html.j2",
        items=results.items,
        projects=[project for project in listed.items if project.kind == "comparison" and project.closed_at is None],
        query=query,
        number=new_number(),
    )


@router.post("/uncertain")
async def assign(visit: Maker, parts: Parts, form: Form) -> Response:
    """Give the chosen items to a project."""
    asked = requested(ItemsRequest, {"stored": [str(item) for item in form.getlist("item")]})
    project = text_of(form, "project")
    await only_once(parts, visit, form, ItemsAdded, lambda once: api.add(project, asked, visit.caller, parts, once))
    return RedirectResponse(f"/projects/{project}", 303)
