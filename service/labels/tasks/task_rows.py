"""Tasks in lists: a project's, those that were left to others, and what one annotator may look at again."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from service.labels.label_query import StoredFeedback, selected, stored
from service.labels.tasks import handing, roles, tasking
from service.labels.tasks.handing import SeenTask
from service.refusals import not_found
from service.store.database import Database
from service.store.tables import feedback, items, leases, projects, tasks

ROWS_READ = 4  # whose texts are in memory at once: each may have megabytes, of which little is shown
SHOWN_CHARACTERS = 240


@dataclass(frozen=True, slots=True)
class Own:
    """A task that an annotator has, had or skipped, and their label as they saw it; None where they gave none."""

    seen: SeenTask
    lease: RowMapping
    answer: StoredFeedback | None


async def of_project(database: Database, project: str, after: str, limit: int) -> Sequence[RowMapping]:
    """Return a project's tasks behind the item ``after``, by item. Raises `NotFound`."""
    query = select(tasks).where(tasks.c.project == project, tasks.c.item > after)
    async with database.read() as connection:
        rows = (await connection.execute(query.order_by(tasks.c.item).limit(limit))).mappings().all()
        await _must_be(connection, project)
    return rows


async def skipped(database: Database, project: str, after: tuple[str, str] | None, limit: int) -> Sequence[RowMapping]:
    """Return who left which of a project's tasks to others, behind a task and annotator. Raises `NotFound`."""
    place = tuple_(leases.c.task, leases.c.annotator)
    query = select(leases, tasks.c.item).join(tasks, leases.c.task == tasks.c.id)
    query = query.where(tasks.c.project == project, leases.c.state == tasking.SKIPPED)
    if after is not None:
        query = query.where(place > tuple_(*after))
    async with database.read() as connection:
        rows = (await connection.execute(query.order_by(*place).limit(limit))).mappings().all()
        await _must_be(connection, project)
    return rows


def own(connection: Connection, id: str, annotator: str) -> Own:
    """Return a task as its annotator may look at it again. Raises `NotFound` for one that they never got."""
    seen = handing.seen(connection, id, annotator)
    if seen.lease is None:
        raise not_found("task", id, "POST /v1/projects/ID/tasks/next gives one.")
    label = seen.lease["feedback"]
    return Own(seen, seen.lease, None if label is None else _answer(connection, label))


async def first(database: Database, project: str) -> tuple[RowMapping, RowMapping | None]:
    """Return a project, and the first task of its work with prompt and responses; None where it has none."""
    query = select(tasks.c.id, items.c.prompt, items.c.responses).join(items, tasks.c.content == items.c.id)
    query = query.where(tasks.c.project == project, tasks.c.role == roles.WORK).order_by(tasks.c.position).limit(1)
    async with database.read() as connection:
        row = (await connection.execute(query)).mappings().one_or_none()
        asked = (await connection.execute(select(projects).where(projects.c.id == project))).mappings().one()
    return asked, row


def _answer(connection: Connection, id: str) -> StoredFeedback:
    row = connection.execute(selected().where(feedback.c.id == id)).mappings().one()
    return stored(row).as_its_annotator_saw_it()


async def _must_be(connection: AsyncConnection, project: str) -> None:
    if (await connection.execute(select(projects.c.id).where(projects.c.id == project))).first() is None:
        raise not_found("project", project, "GET /v1/projects lists them.")


async def prompts(database: Database, project: str, ids: Sequence[str]) -> dict[str, str]:
    """Return what the prompts of some of a project's items say last, in short, by the items' ids."""
    query = select(tasks.c.item, items.c.prompt).join(items, tasks.c.content == items.c.id)
    query = query.where(tasks.c.project == project, tasks.c.item.in_(ids))

    def read(connection: Connection) -> dict[str, str]:
        with connection.execute(query, execution_options={"yield_per": ROWS_READ}) as rows:
            return {row.item: str(row.prompt["messages"][-1]["content"])[:SHOWN_CHARACTERS] for row in rows}

    return await database.look(read)
