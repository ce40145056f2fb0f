"""Labelling projects in the database: made, looked up with their progress, changed, discarded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, and_, case, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from service.keys import access
from service.keys.auth import Caller, audited
from service.labels import annotators
from service.labels.labels import new_id
from service.labels.tasks import roles, tasking
from service.refusals import Conflict, Invalid, not_found
from service.store.database import Database, Rows, insert_rows
from service.store.repeats.idempotency import Once
from service.store.tables import adjudications, audit, leases, now, practice, projects, routed, routings, tasks

_DISCARDED = "project.discarded"


@dataclass(frozen=True, slots=True)
class ProjectState:
    """A project's row, and how far it is, as `service.answers.projects.ProjectStanding` says it."""

    row: Mapping[str, Any]
    progress: Mapping[str, Any]


def new(values: Mapping[str, Any], *, closed: bool) -> dict[str, Any]:
    """Draw the row of a new project."""
    return {
        "id": new_id(),
        **values,
        "paused": [],
        "closed_at": now() if closed else None,
        "created_at": now(),
    }


async def add(once: Once, row: Mapping[str, Any], items: Rows, answer: Any, caller: Caller, count: int) -> None:
    """Store a project with its ``items``, of which ``count`` are work. Raises `Conflict` where the name is taken."""
    entry = audited(caller, "project.made", row["id"], name=row["name"], items=count)
    try:
        await once.insert({projects: [row], **items, **entry}, answer)
    except IntegrityError:
        raise Conflict(f"there is a project {row['name']!r} already", "Use another name.") from None


async def add_items(once: Once, id: str, items: Rows, answer: Any, caller: Caller, count: int) -> None:
    """Store ``count`` more items of a project. Raises `Conflict`."""
    try:
        await once.insert({**items, **audited(caller, "project.items_added", id, items=count)}, answer)
    except IntegrityError:
        raise Conflict("some of the items were added by someone else at the same time", "Send it again.") from None


async def page(database: Database, after: str, limit: int, caller: Caller) -> tuple[list[ProjectState], bool]:
    """Return the projects behind the id ``after`` that the caller may see, by id; and whether there are more."""
    query = select(projects).order_by(projects.c.id).limit(limit + 1).where(projects.c.id > after)
    query = query.where(*access.projects_of(caller))
    async with database.read() as connection:
        rows = (await connection.execute(query)).mappings().all()
        return await _with_progress(connection, rows[:limit]), len(rows) > limit


async def get(database: Database, id: str, caller: Caller) -> ProjectState:
    """Return a project that the caller may see. Raises `NotFound`."""
    async with database.read() as connection:
        return await _one(connection, id, *access.projects_of(caller))


async def name(database: Database, id: str) -> str | None:
    """What a project is called; None where there is none any more."""
    async with database.read() as connection:
        called: str | None = (await connection.execute(select(projects.c.name).where(projects.c.id == id))).scalar()
    return called


async def asked(connection: AsyncConnection, id: str) -> RowMapping:
    """Return what a project asks, for who may change it. Raises `NotFound`."""
    row = (await connection.execute(select(projects).where(projects.c.id == id))).mappings().one_or_none()
    if row is None:
        raise not_found("project", id, "GET /v1/projects lists them.")
    return row


async def must_be_there(connection: AsyncConnection, id: str) -> None:
    """Raise `NotFound` where there is no such project."""
    if (await connection.execute(select(projects.c.id).where(projects.c.id == id))).first() is None:
        raise not_found("project", id, "GET /v1/projects lists them.")


async def of_comparisons(database: Database, id: str) -> RowMapping:
    """Return a project that asks for comparisons. Raises `NotFound`, and `Invalid` for one of another kind."""
    async with database.read() as connection:
        row = await asked(connection, id)
    if row["kind"] != "comparison":
        raise Invalid(
            f"the project asks for labels of the kind {row['kind']}, and what judges compared is routed",
            "Name a project of comparisons.",
        )
    return row


async def change(
    database: Database,
    id: str,
    changes: Mapping[str, Any],
    caller: Caller,
    *,
    closed: bool | None,
    settings: Callable[[Any], dict[str, Any]] | None,
) -> ProjectState:
    """Change a project, and return it. ``settings`` makes the new settings of those that it has.

    Raises `NotFound`, and `Invalid` where it is assigned to somebody who is no annotator.
    """
    wanted: dict[str, Any] = dict(changes)
    if closed is not None:
        wanted["closed_at"] = now() if closed else None
    async with database.transaction() as connection:
        await annotators.must_be_there(connection, wanted.get("assigned", ()), "/assigned")
        if settings is not None:
            wanted |= await _changed_settings(connection, id, settings)
        if wanted:
            await connection.execute(update(projects).where(projects.c.id == id).values(**wanted))
        changed = await _one(connection, id)
        if wanted:
            rows = audited(caller, "project.changed", id, changed=sorted(wanted))
            await connection.run_sync(insert_rows, rows)
    return changed


async def discard(database: Database, id: str, caller: Caller) -> None:
    """Discard a project. Raises `NotFound`, and `Conflict` where somebody has worked in it."""
    async with database.transaction() as connection:
        await connection.run_sync(tasking.lock, id)
        mine = select(tasks.c.id).where(tasks.c.project == id)
        begun = await connection.execute(select(leases.c.task).where(leases.c.task.in_(mine)).limit(1))
        decided = await connection.execute(select(adjudications.c.item).where(adjudications.c.project == id).limit(1))
        practised = await connection.execute(select(practice.c.task).where(practice.c.task.in_(mine)).limit(1))
        if any(work.first() is not None for work in (begun, decided, practised)):
            raise Conflict("somebody has worked in the project", "Close it: PATCH /v1/projects/ID.")
        drawn = select(routings.c.id).where(routings.c.project == id)
        await connection.execute(delete(routed).where(routed.c.routing.in_(drawn)))
        await connection.execute(delete(routings).where(routings.c.project == id))
        await connection.execute(delete(tasks).where(tasks.c.project == id))
        await connection.execute(delete(projects).where(projects.c.id == id))
        await connection.run_sync(insert_rows, audited(caller, _DISCARDED, id))


async def is_discarded(database: Database, id: str) -> bool:
    """Whether there was a project, and somebody discarded it."""
    entry = select(audit.c.seq).where(audit.c.target == id, audit.c.action == _DISCARDED).limit(1)
    async with database.read() as connection:
        return (await connection.execute(entry)).first() is not None


async def _changed_settings(
    connection: AsyncConnection, id: str, change: Callable[[Any], dict[str, Any]]
) -> dict[str, Any]:
    """What changes of how a project's pages are."""
    query = select(projects.c.settings).where(projects.c.id == id).with_for_update()
    stored = (await connection.execute(query)).scalar_one_or_none()
    if stored is None or (changed := change(stored)) == stored:
        return {}
    return {"settings": changed}


async def _one(connection: AsyncConnection, id: str, *seen: ColumnElement[bool]) -> ProjectState:
    rows = (await connection.execute(select(projects).where(projects.c.id == id, *seen))).mappings().all()
    if not rows:
        raise not_found("project", id, "GET /v1/projects lists them.")
    return (await _with_progress(connection, rows))[0]


async def _with_progress(connection: AsyncConnection, rows: Sequence[RowMapping]) -> list[ProjectState]:
    ids = [row["id"] for row in rows]
    done = func.sum(case((tasks.c.answers >= projects.c.labels_per_item, 1), else_=0))
    counts = (
        select(tasks.c.project, func.count().label("items"), done.label("done"), func.sum(tasks.c.answers).label("n"))
        .join(projects, projects.c.id == tasks.c.project)
        .where(tasks.c.project.in_(ids), tasks.c.role == roles.WORK)
        .group_by(tasks.c.project)
    )
    live = and_(*tasking.live(await connection.run_sync(tasking.time_of)), tasks.c.project.in_(ids))
    held = select(tasks.c.project, func.count().label("n")).join(leases, leases.c.task == tasks.c.id)
    leased = {row.project: row.n for row in await connection.execute(held.where(live).group_by(tasks.c.project))}
    skips = await _skips(connection, ids)
    progress = {
        row.project: {
            "items": row.items,
            "done": row.done,
            "labels": row.n,
            "leased": leased.get(row.project, 0),
            "skips": skips.get(row.project, {}),
        }
        for row in await connection.execute(counts)
    }
    return [ProjectState(dict(row), progress.get(row["id"], {})) for row in rows]


async def _skips(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """How often tasks of projects were skipped, by project and reason."""
    query = select(tasks.c.project, leases.c.reason, func.count().label("n"))
    query = query.join(leases, leases.c.task == tasks.c.id).where(tasks.c.project.in_(ids))
    query = query.where(leases.c.state == tasking.SKIPPED).group_by(tasks.c.project, leases.c.reason)
    by_project: dict[str, dict[str, int]] = {}
    for row in await connection.execute(query):
        by_project.setdefault(row.project, {})[row.reason or tasking.NO_REASON] = row.n
    return by_project
