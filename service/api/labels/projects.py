"""Labelling projects: which items, which kind of feedback, under which guidelines, how many labels an item, by whom."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement, RowMapping, and_, case, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from critic.feedback import Kind
from critic.feedback.feedback import Name
from service.answers.page import Page
from service.answers.projects import ItemsAdded, Progress, Project
from service.api.body import StrictRoute
from service.api.paging import Cursor, Limit, decode, encode
from service.context import OnlyOnce, Parts, allowed
from service.keys import access
from service.keys.auth import Caller, audited
from service.labels.labels import new_id
from service.labels.tasks import roles, tasking
from service.labels.tasks.project_items import ItemsRequest, gathered, new_rows
from service.labels.tasks.project_options import form_of, with_options
from service.labels.tasks.roles import PageChange, PageSettings
from service.labels.tasks.tasking import REASONS, SkipReason
from service.problems import responses
from service.refusals import Conflict, Invalid, not_found
from service.store.tables import adjudications, annotators, leases, now, practice, projects, routed, routings, tasks

router = APIRouter(prefix="/v1/projects", tags=["projects"], route_class=StrictRoute, responses=responses())

Maker = Annotated[Caller, allowed("feedback")]
Reader = Annotated[Caller, allowed(*access.PROJECTS)]

Labels = Annotated[int, Field(ge=1, le=1000, strict=True)]
Reasons = Annotated[list[SkipReason], Field(max_length=len(REASONS))]
Assigned = Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=1000)]


class _ProjectRequest(ItemsRequest):
    """A project. ``guidelines`` are words, ``constitution`` is ``NAME@VERSION``, which labels are then bound to.

    ``assigned`` are annotators' ids; with none, everyone may label. ``skip_reasons`` are those that annotators may give
    for leaving a task to others: all where it is left out; ``settings`` say how its pages are. ``scale`` is for ratings
    (1 to 5 by default), ``levels`` says how many strengths a comparison's preference has, and ``by_principle`` asks for
    comparisons and ratings by each principle of the constitution, too. A project that is made ``closed`` can be looked
    at before it is opened.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "rivers",
                    "kind": "comparison",
                    "guidelines": "Prefer the answer that a child understands.",
                    "labels_per_item": 2,
                    "items": [{"prompt": "Name a river.", "responses": ["The Po.", "The Nile, of course."]}],
                }
            ]
        },
    )

    name: str = Field(min_length=1, max_length=200)
    kind: Kind
    constitution: Name | None = None
    guidelines: str = Field(default="", max_length=50_000)
    labels_per_item: Labels = 1
    assigned: Assigned = Field(default_factory=list)
    skip_reasons: Reasons | None = None
    closed: bool = Field(default=False, strict=True)
    settings: PageSettings = PageSettings()


if TYPE_CHECKING:
    ProjectRequest = _ProjectRequest
else:
    ProjectRequest = with_options(_ProjectRequest)


class ProjectChange(BaseModel):
    """What changes; what is left out stays. A closed project gives no tasks and takes no answers."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"assigned": []}, {"closed": True}]})

    assigned: Assigned | None = None
    labels_per_item: Labels | None = None
    skip_reasons: Reasons | None = None
    settings: PageChange | None = None
    closed: bool | None = Field(default=None, strict=True)


@router.post("", status_code=201, responses=responses(409))
async def make(asked: ProjectRequest, caller: Maker, parts: Parts, once: OnlyOnce) -> Project:
    """Make a project, with items given here or taken from stored feedback, each once. More can be added later."""
    form = form_of(asked.kind, asked, asked.constitution)
    bound = None if asked.constitution is None else await parts.constitutions.get(asked.constitution)
    row = {
        "id": new_id(),
        **asked.model_dump(include={"name", "kind", "guidelines", "labels_per_item", "assigned", "skip_reasons"}),
        "settings": asked.settings.model_dump(mode="json"),
        "constitution": bound and bound.ref,
        "constitution_hash": bound and bound.digest,
        "form": [field.model_dump(mode="json") for field in form],
        "paused": [],
        "closed_at": now() if asked.closed else None,
        "created_at": now(),
    }
    async with parts.database.read() as connection:
        await _must_exist(connection, asked.assigned)
        by_name = {field.name: field for field in form}
        chosen = await gathered(connection, asked, asked.kind, by_name, parts.labels.texts)
        rows = await new_rows(connection, row["id"], chosen)
    work = [task for task in rows.get(tasks, ()) if task["role"] == roles.WORK]
    made = _project(row, Progress(items=len(work)))
    entry = audited(caller, "project.made", made.id, name=made.name, items=made.progress.items)
    try:
        await once.insert({projects: [row], **rows, **entry}, made)
    except IntegrityError:
        raise Conflict(f"there is a project {asked.name!r} already", "Use another name.") from None
    return made


@router.get("")
async def listed(caller: Reader, parts: Parts, limit: Limit = 50, cursor: Cursor = None) -> Page[Project]:
    """All projects, by id; a key with the scope `label` sees those that its annotator may label."""
    query = select(projects).order_by(projects.c.id).limit(limit + 1).where(projects.c.id > (decode(cursor) or ""))
    query = query.where(*access.projects_of(caller))
    async with parts.database.read() as connection:
        rows = (await connection.execute(query)).mappings().all()
        found = await _with_progress(connection, rows[:limit])
    return Page(items=found, next=encode(found[-1].id) if len(rows) > limit else None)


@router.get("/{id}", responses=responses(404))
async def get(id: str, caller: Reader, parts: Parts) -> Project:
    """One project, with its progress."""
    async with parts.database.read() as connection:
        return await _found(connection, id, *access.projects_of(caller))


@router.patch("/{id}", responses=responses(404))
async def change(id: str, asked: ProjectChange, caller: Maker, parts: Parts) -> Project:
    """Assign a project to others, ask for more or fewer labels an item, close it or open it again."""
    changes: dict[str, Any] = asked.model_dump(
        include={"assigned", "labels_per_item", "skip_reasons"}, exclude_none=True
    )
    if asked.closed is not None:
        changes["closed_at"] = now() if asked.closed else None
    async with parts.database.transaction() as connection:
        await _must_exist(connection, asked.assigned or ())
        if asked.settings is not None:
            changes |= await _page_changes(connection, id, asked.settings)
        if changes:
            await connection.execute(update(projects).where(projects.c.id == id).values(**changes))
        changed = await _found(connection, id)
        if changes:
            for table, rows in audited(caller, "project.changed", id, changed=sorted(changes)).items():
                await connection.execute(table.insert(), rows)
    return changed


@router.delete("/{id}", status_code=204, responses=responses(404, 409))
async def discard(id: str, caller: Maker, parts: Parts) -> None:
    """Discard a project that nobody has labelled, skipped or begun anything in."""
    async with parts.database.transaction() as connection:
        await connection.run_sync(tasking.lock, id)
        mine = select(tasks.c.id).where(tasks.c.project == id)
        begun = await connection.execute(select(leases.c.task).where(leases.c.task.in_(mine)).limit(1))
        decided = await connection.execute(select(adjudications.c.item).where(adjudications.c.project == id).limit(1))
        practised = await connection.execute(select(practice.c.task).where(practice.c.task.in_(mine)).limit(1))
        if any(found.first() is not None for found in (begun, decided, practised)):
            raise Conflict("somebody has worked in the project", "Close it: PATCH /v1/projects/ID.")
        drawn = select(routings.c.id).where(routings.c.project == id)
        await connection.execute(delete(routed).where(routed.c.routing.in_(drawn)))
        await connection.execute(delete(routings).where(routings.c.project == id))
        await connection.execute(delete(tasks).where(tasks.c.project == id))
        await connection.execute(delete(projects).where(projects.c.id == id))
        for table, rows in audited(caller, "project.discarded", id).items():
            await connection.execute(table.insert(), rows)


@router.post("/{id}/items", status_code=201, responses=responses(404, 409))
async def add(id: str, asked: ItemsRequest, caller: Maker, parts: Parts, once: OnlyOnce) -> ItemsAdded:
    """Add items to a project."""
    async with parts.database.read() as connection:
        project = await _found(connection, id)
        by_name = {field.name: field for field in project.form}
        chosen = await gathered(connection, asked, project.kind, by_name, parts.labels.texts)
        rows = await new_rows(connection, id, chosen)
    added = ItemsAdded(added=len(rows.get(tasks, ())))
    try:
        await once.insert({**rows, **audited(caller, "project.items_added", id, items=added.added)}, added)
    except IntegrityError:
        raise Conflict("some of the items were added by someone else at the same time", "Send it again.") from None
    return added


async def _page_changes(connection: AsyncConnection, id: str, asked: PageChange) -> dict[str, Any]:
    """What changes of how a project's pages are."""
    query = select(projects.c.settings).where(projects.c.id == id).with_for_update()
    stored = (await connection.execute(query)).scalar_one_or_none()
    if stored is None or (changed := asked.changed(stored)) == stored:
        return {}
    return {"settings": changed}


async def _must_exist(connection: AsyncConnection, assigned: Sequence[str]) -> None:
    query = select(annotators.c.id).where(annotators.c.id.in_(assigned), annotators.c.erased_at.is_(None))
    known = set((await connection.execute(query)).scalars()) if assigned else set()
    if unknown := [id for id in assigned if id not in known]:
        raise Invalid(f"there is no annotator {unknown[0]!r}", "POST /v1/annotators makes one.", where="/assigned")


async def _found(connection: AsyncConnection, id: str, *seen: ColumnElement[bool]) -> Project:
    rows = (await connection.execute(select(projects).where(projects.c.id == id, *seen))).mappings().all()
    if not rows:
        raise not_found("project", id, "GET /v1/projects lists them.")
    return (await _with_progress(connection, rows))[0]


async def _with_progress(connection: AsyncConnection, rows: Sequence[RowMapping]) -> list[Project]:
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
        row.project: Progress(
            items=row.items,
            done=row.done,
            labels=row.n,
            leased=leased.get(row.project, 0),
            skips=skips.get(row.project, {}),
        )
        for row in await connection.execute(counts)
    }
    return [_project(dict(row), progress.get(row["id"], Progress())) for row in rows]


async def _skips(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """How often tasks of projects were skipped, by project and reason."""
    query = select(tasks.c.project, leases.c.reason, func.count().label("n"))
    query = query.join(leases, leases.c.task == tasks.c.id).where(tasks.c.project.in_(ids))
    query = query.where(leases.c.state == tasking.SKIPPED).group_by(tasks.c.project, leases.c.reason)
    by_project: dict[str, dict[str, int]] = {}
    for row in await connection.execute(query):
        by_project.setdefault(row.project, {})[row.reason or tasking.NO_REASON] = row.n
    return by_project


def _project(row: Mapping[str, Any], progress: Progress) -> Project:
    reasons = tasking.reasons_of(row)
    return Project.model_validate(dict(row) | {"progress": progress, "skip_reasons": reasons})
