"""The queue: the projects that somebody may label, and how much is left for them in each."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Request, Response
from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from service.api.labels import projects
from service.context import Parts
from service.labels.tasks import roles, tasking
from service.store.tables import leases, practice, tasks
from service.store.tables import projects as projects_table
from service.web.label.pace import pace_of, zone_of
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
        done = await _done(connection, ids, annotator)
        left = await _left(connection, ids, annotator)
        practising = await _practising(connection, ids, annotator)
        pace = await connection.run_sync(pace_of, annotator, zone_of(request))
    cards = [
        {
            "project": project,
            "done": done.get(project.id, 0),
            "left": left.get(project.id, 0),
            "about": left.get(project.id, 0) // ABOUT * ABOUT,
            "practises": project.id in practising,
        }
        for project in open_ones
    ]
    cards.sort(key=lambda card: card["left"] == 0)
    return render(request, "label/queue.html.j2", cards=cards, pace=pace)


async def _done(connection: AsyncConnection, ids: Sequence[str], annotator: str) -> Mapping[str, int]:
    """How many tasks of each project the annotator answered."""
    query = select(tasks.c.project, func.count().label("n")).join(leases, leases.c.task == tasks.c.id)
    query = query.where(leases.c.annotator == annotator, leases.c.state == tasking.ANSWERED)
    query = query.where(tasks.c.project.in_(ids)).group_by(tasks.c.project)
    return {row.project: row.n for row in await connection.execute(query)}


async def _left(connection: AsyncConnection, ids: Sequence[str], annotator: str) -> Mapping[str, int]:
    """How many tasks of each project still want a label that this annotator can give."""
    mine = leases.alias()
    is_mine = (mine.c.task == tasks.c.id) & (mine.c.annotator == annotator) & (mine.c.state != tasking.LEASED)
    wanted = case((mine.c.task.is_(None) & (tasks.c.answers < projects_table.c.labels_per_item), 1), else_=0)
    query = select(tasks.c.project, func.sum(wanted).label("n")).join(mine, is_mine, isouter=True)
    query = query.join(projects_table, projects_table.c.id == tasks.c.project)
    query = query.where(tasks.c.project.in_(ids), tasks.c.role == roles.WORK).group_by(tasks.c.project)
    return {row.project: row.n for row in await connection.execute(query)}


async def _practising(connection: AsyncConnection, ids: Sequence[str], annotator: str) -> set[str]:
    """Those that have practice which the annotator never began."""
    begun = select(practice.c.task).where(practice.c.annotator == annotator)
    began = select(tasks.c.project).where(tasks.c.id.in_(begun))
    query = select(tasks.c.project).where(tasks.c.project.in_(ids), tasks.c.role == roles.PRACTICE)
    return set((await connection.execute(query.where(tasks.c.project.not_in(began)))).scalars())
