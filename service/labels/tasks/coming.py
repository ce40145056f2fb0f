"""An annotator who comes to a page: for the next task, back to one, or to leave a draft. Each is one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo

from sqlalchemy import Connection, RowMapping, bindparam, select

from service.keys import access
from service.keys.auth import Caller
from service.labels.tasks import drafts, handing, own_work, practising, task_rows, tasking
from service.labels.tasks.handing import HandedOut, SeenTask
from service.labels.tasks.own_work import Before, OwnPace
from service.labels.tasks.task_rows import Own
from service.refusals import not_found
from service.store.tables import projects, tasks


@dataclass(frozen=True, slots=True)
class Next:
    """What somebody who comes for a task gets: practice where they stand ``at`` it, else what was handed out."""

    project: RowMapping
    at: practising.PracticeStanding | None = None
    out: HandedOut | None = None
    before: Before | None = None
    pace: OwnPace | None = None


@dataclass(frozen=True, slots=True)
class Again:
    """A task that its annotator comes back to."""

    project: RowMapping
    own: Own
    before: Before
    pace: OwnPace


def for_next(connection: Connection, project: str, caller: Caller, seconds: float, zone: tzinfo) -> Next:
    """Hand out the next task for so many ``seconds``: practice, where that comes first. Raises `Refusal`."""
    annotator = tasking.require_annotator(caller.annotator)
    row = _seen(connection, project, caller)
    at = practising.standing(connection, row, annotator)
    if not at.passed:
        return Next(row, at)
    got = ahead(connection, project, annotator, seconds)
    return replace(got, pace=own_work.pace_of(connection, annotator, zone))


def ahead(connection: Connection, project: str, annotator: str, seconds: float, beside: Sequence[str] = ()) -> Next:
    """Hand out the next task beside those that are being answered. Raises `Refusal`."""
    out = handing.hand_out(connection, project, annotator, seconds, beside)
    if out.task is None:
        return Next(out.project, out=out)
    before = own_work.before(connection, project, out.task["id"], annotator)
    return Next(out.project, out=out, before=before)


def back_to(connection: Connection, project: str, task: str, caller: Caller, zone: tzinfo) -> Again:
    """Return a task that the caller had before. Raises `Refusal`."""
    annotator = tasking.require_annotator(caller.annotator)
    row = _seen(connection, project, caller)
    own = task_rows.own(connection, task, annotator)
    if own.seen.project["id"] != project:
        raise not_found("task", task, "Ask for the next one.")
    pace = own_work.pace_of(connection, annotator, zone)
    return Again(row, own, own_work.before(connection, project, task, annotator), pace)


def to_answer(connection: Connection, project: str, task: str, caller: Caller) -> SeenTask:
    """Return a task of a project as the caller may answer it. Raises `NotFound`."""
    seen = handing.seen(connection, task, tasking.require_annotator(caller.annotator))
    if seen.project["id"] != project or not access.sees(caller, seen.project):
        raise not_found("task", task, "Ask for the next one.")
    return seen


def leave(
    connection: Connection, project: str, task: str, caller: Caller, draft: drafts.Fields, replaces: str | None
) -> None:
    """Keep what the caller began to say of a task, or of a correction of a label. Raises `NotFound`."""
    _seen(connection, project, caller)
    if connection.execute(_OF_PROJECT, {"id": task, "of_project": project}).first() is None:
        raise not_found("task", task, "Ask for the next one.")
    drafts.save(connection, task, tasking.require_annotator(caller.annotator), draft, replaces)


_PROJECT = select(projects).where(projects.c.id == bindparam("id"))
_OF_PROJECT = select(tasks.c.id).where(tasks.c.id == bindparam("id"), tasks.c.project == bindparam("of_project"))


def _seen(connection: Connection, id: str, caller: Caller) -> RowMapping:
    """Return a project that the caller may see. Raises `NotFound`."""
    row = connection.execute(_PROJECT, {"id": id}).mappings().one_or_none()
    if row is None or not access.sees(caller, row):
        raise not_found("project", id, "Look at your projects again.")
    return row
