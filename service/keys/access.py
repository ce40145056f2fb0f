"""What a key may read, in one place. Routes and jobs ask here; `tests/service/api/test_access.py` tries every route.

| what | scopes |
|---|---|
| labels, tasks' standing, agreement, data sets and what is made of those | ``read``, ``feedback`` |
| jobs: that they are there, and how they stand | ``read``, ``jobs`` |
| a job's files, log and events, and rows taken from them | ``read``; ``jobs`` where this key submitted the job |
| projects | ``read``, ``feedback``; ``label``: those that the key's annotator may label |
| constitutions | ``read``; ``label``: those that these projects name |
"""

from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Text, cast, false, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from service.keys.auth import Caller, Scope
from service.refusals import Forbidden
from service.store.tables import jobs, projects

LABELS: tuple[Scope, ...] = ("read", "feedback")
JOBS: tuple[Scope, ...] = ("read", "jobs")
PROJECTS: tuple[Scope, ...] = ("read", "feedback", "label")
CONSTITUTIONS: tuple[Scope, ...] = ("read", "label")


def reads_labels(caller: Caller) -> bool:
    """Whether the caller may read all labels, with who wrote which response."""
    return any(caller.may(scope) for scope in LABELS)


def must_read_labels(caller: Caller, what: str) -> None:
    """Raise `Forbidden` where the caller may not read labels, which are in ``what``."""
    if not reads_labels(caller):
        raise _refused(f"{what} holds labels, which the key {caller.name!r} may not read")


async def must_read_job(connection: AsyncConnection, caller: Caller, job: str) -> None:
    """Raise `Forbidden` where the caller may not read what a job was given and what it left.

    A job that is not there is for others to tell.
    """
    if caller.may("read"):
        return
    row = (await connection.execute(select(jobs.c.key).where(jobs.c.id == job))).first()
    if row is not None and row.key != caller.key:
        raise _refused(f"the job {job} is another key's")


def may_label(project: RowMapping, annotator: str | None) -> bool:
    """Whether the annotator may label in a project, unless they are paused there."""
    return annotator is not None and (not project["assigned"] or annotator in project["assigned"])


def is_paused(project: RowMapping, annotator: str | None) -> bool:
    """Whether the annotator gets no tasks of a project for now."""
    return annotator in project["paused"]


def sees(caller: Caller, project: RowMapping) -> bool:
    """Whether the caller may see a project: as `projects_of` says of all."""
    return reads_labels(caller) or may_label(project, caller.annotator)


def projects_of(caller: Caller) -> list[ColumnElement[bool]]:
    """The condition of the projects that the caller may see: none for who sees all."""
    if reads_labels(caller):
        return []
    if caller.annotator is None:
        return [false()]
    assigned: Any = cast(projects.c.assigned, Text)
    return [or_(assigned == "[]", assigned.contains(f'"{caller.annotator}"', autoescape=True))]


async def reads_constitution(connection: AsyncConnection, caller: Caller, ref: str) -> bool:
    """Whether the caller may read the constitution ``NAME@VERSION``."""
    if caller.may("read"):
        return True
    named = select(projects.c.id).where(projects.c.constitution == ref, *projects_of(caller)).limit(1)
    return (await connection.execute(named)).first() is not None


def _refused(detail: str) -> Forbidden:
    return Forbidden(detail, "Use a key with the scope read.")
