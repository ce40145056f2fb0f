"""How far a project is: by annotator, and by the group (the pool) that annotators belong to."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from sqlalchemy import RowMapping, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from service.keys import access
from service.labels.tasks import tasking
from service.labels.tasks.roles import WORK
from service.labels.tasks.tasking import ANSWERED, SKIPPED
from service.refusals import not_found
from service.store.tables import annotators, feedback, leases, projects, retractions, tasks


class AnnotatorProgress(BaseModel):
    """One annotator in a project. ``name`` is null once erased; ``leased`` are the tasks that they have right now."""

    annotator: str
    name: str | None
    group: str | None
    labels: int
    skipped: int
    leased: int
    last_at: datetime | None
    paused: bool


class PoolProgress(BaseModel):
    """The annotators of one group: how many they are, what they have labelled, and of how many items.

    Who has no group is in the pool without a name.
    """

    group: str | None
    annotators: int
    labels: int
    items: int


class ProjectProgress(BaseModel):
    """A project's progress. ``wanted`` is how many labels it will have."""

    project: str
    items: int
    done: int
    labels: int
    wanted: int
    leased: int
    annotators: list[AnnotatorProgress]
    pools: list[PoolProgress]


async def progress_of(connection: AsyncConnection, project: str) -> ProjectProgress:
    """Return a project's progress. Raises `NotFound`."""
    row = (await connection.execute(select(projects).where(projects.c.id == project))).mappings().one_or_none()
    if row is None:
        raise not_found("project", project, "GET /v1/projects lists them.")
    counts = (await connection.execute(_counts(project, row["labels_per_item"]))).one()
    people = await _annotators(connection, row)
    return ProjectProgress(
        project=project,
        items=counts.items,
        done=counts.done or 0,
        labels=counts.labels or 0,
        wanted=counts.items * row["labels_per_item"],
        leased=sum(one.leased for one in people),
        annotators=people,
        pools=await _pools(connection, project, people),
    )


def _counts(project: str, wanted: int) -> Any:
    done = func.sum(case((tasks.c.answers >= wanted, 1), else_=0)).label("done")
    labels = func.sum(tasks.c.answers).label("labels")
    return select(func.count().label("items"), done, labels).where(tasks.c.project == project, tasks.c.role == WORK)


async def _annotators(connection: AsyncConnection, project: RowMapping) -> list[AnnotatorProgress]:
    """All who have done something in the project, are assigned to it or are paused in it, by name."""
    live = tasking.live(await connection.run_sync(tasking.time_of))
    answered, skipped = (leases.c.state == state for state in (ANSWERED, SKIPPED))
    query = (
        select(
            leases.c.annotator,
            func.sum(case((answered, 1), else_=0)).label("labels"),
            func.sum(case((skipped, 1), else_=0)).label("skipped"),
            func.sum(case((live[0] & live[1] & live[2], 1), else_=0)).label("leased"),
            func.max(case((answered, leases.c.until))).label("last_at"),
        )
        .join(tasks, leases.c.task == tasks.c.id)
        .where(tasks.c.project == project["id"])
        .group_by(leases.c.annotator)
    )
    done = {row.annotator: row for row in await connection.execute(query)}
    ids = {*done, *project["assigned"], *project["paused"]}
    known = await _named(connection, sorted(ids))
    return [
        AnnotatorProgress(
            annotator=who.id,
            name=who.name,
            group=who.group,
            labels=done[who.id].labels if who.id in done else 0,
            skipped=done[who.id].skipped if who.id in done else 0,
            leased=done[who.id].leased if who.id in done else 0,
            last_at=done[who.id].last_at if who.id in done else None,
            paused=access.is_paused(project, who.id),
        )
        for who in known
    ]


async def _named(connection: AsyncConnection, ids: Sequence[str]) -> Sequence[Any]:
    query = select(annotators.c.id, annotators.c.name, annotators.c.group).where(annotators.c.id.in_(ids))
    return (await connection.execute(query.order_by(annotators.c.name, annotators.c.id))).all()


async def _pools(connection: AsyncConnection, project: str, people: Sequence[AnnotatorProgress]) -> list[PoolProgress]:
    """Labels by the group that they were given for: whoever has changed theirs counts for both."""
    standing = retractions.c.seq.is_(None)
    query = (
        select(feedback.c.group, func.count().label("labels"), func.count(feedback.c.item.distinct()).label("items"))
        .join(retractions, retractions.c.seq == feedback.c.seq, isouter=True)
        .where(feedback.c.project == project, feedback.c.task.is_not(None), standing)
        .group_by(feedback.c.group)
    )
    given = {row.group: row for row in await connection.execute(query)}
    groups = {*given, *(one.group for one in people)}
    sizes = Counter(one.group for one in people)
    return [
        PoolProgress(
            group=group,
            annotators=sizes[group],
            labels=given[group].labels if group in given else 0,
            items=given[group].items if group in given else 0,
        )
        for group in sorted(groups, key=lambda group: (group is None, group or ""))
    ]
