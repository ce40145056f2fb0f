"""The queue: the projects that somebody may label, and how much is left for them in each."""

from typing import Annotated

from fastapi import APIRouter, Request, Response

from service.api.labels import projects
from service.context import Parts
from service.web.rendering import render
from service.web.visit import PageRoute, Visit, signed_in

router = APIRouter(include_in_schema=False, route_class=PageRoute)

MOST = 200  # projects that one annotator is shown

Labeller = Annotated[Visit, signed_in("label")]


@router.get("/label")
async def queue(request: Request, visit: Labeller, parts: Parts) -> Response:
    """The projects that wait for this annotator."""
    page = await projects.listed(visit.caller, parts, limit=MOST)
    open_ones = [project for project in page.items if project.closed_at is None]
    return render(request, "label/queue.html.j2", projects=open_ones)
