"""The queue: the projects that somebody may label, and how much is left for them in each."""

from typing import Annotated

from fastapi import APIRouter, Request, Response

from service.api.labels import projects
from service.context import Parts
from service.labels.tasks import own_work, tasking
from service.web.label.zone import zone_of
from service.web.rendering import render
from service.web.visit import PageRoute, Visit, signed_in

# What is left is told in steps: an exact number stands still after a gold item, and so would tell which they are.
ABOUT = 5

router = APIRouter(include_in_schema=False, route_class=PageRoute)

MOST = 200  # projects that one annotator is shown

Labeller = Annotated[Visit, signed_in("label")]


@router.get("/label")
async def queue(request: Request, visit: Labeller, parts: Parts) -> Response:
    """The projects that wait for this annotator: those with something left first."""
    annotator = tasking.require_annotator(visit.caller.annotator)
    page = await projects.listed(visit.caller, parts, limit=MOST)
    mine = [project for project in page.items if not project.assigned or annotator in project.assigned]
    open_ones = [project for project in mine if project.closed_at is None]
    ids = [project.id for project in open_ones]
    async with parts.database.read() as connection:
        work = await own_work.left(connection, ids, annotator)
        pace = await connection.run_sync(own_work.pace_of, annotator, zone_of(request))
    cards = [
        {
            "project": project,
            "done": work.done.get(project.id, 0),
            "left": work.left.get(project.id, 0),
            "about": work.left.get(project.id, 0) // ABOUT * ABOUT,
            "practises": project.id in work.practising,
        }
        for project in open_ones
    ]
    cards.sort(key=lambda card: card["left"] == 0)
    return render(request, "label/queue.html.j2", cards=cards, pace=pace)
