"""Tasks on their way to an annotator and back: each way is one transaction, in which what is checked stays true.

Both the API and the pages hand out and take back here, in the thread of `Database.change`. An answer is read before,
beside the transaction: what nobody else can change doesn't keep other writers waiting.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, select
from sqlalchemy.exc import IntegrityError

from base.errors import InputError
from critic.feedback import Feedback
from service.keys import access
from service.keys.auth import Caller, audited
from service.labels import labels
from service.labels.tasks import answering, drafts, practising, tasking
from service.labels.tasks.answering import AnswerRequest
from service.labels.tasks.shown import Order
from service.refusals import Conflict, Forbidden, Invalid, Refusal
from service.store.database import Database, insert_rows, take_turn
from service.store.repeats.idempotency import Once
from service.store.tables import feedback, projects


@dataclass(frozen=True, slots=True)
class SeenTask:
    """A task with its project, and what one annotator has of it: None where they never got it."""

    project: RowMapping
    task: RowMapping
    lease: RowMapping | None


@dataclass(frozen=True, slots=True)
class HandedOut:
    """What somebody who asked for a task gets of a project; no task where none is left."""

    project: RowMapping
    task: RowMapping | None = None
    lease: tasking.Lease | None = None


@dataclass(frozen=True, slots=True)
class TaskAnswer:
    """An answer to a task that was seen. ``read`` is the label that it means, or why it means none."""

    seen: SeenTask
    asked: AnswerRequest
    annotator: str
    read: tuple[Feedback, Order] | Refusal | InputError


_PROJECT = select(projects).where(projects.c.id == bindparam("id"))
_NUMBER = select(feedback.c.seq).where(feedback.c.id == bindparam("id"))


def seen(connection: Connection, id: str, annotator: str) -> SeenTask:
    """A task as an annotator may look at it. Raises `NotFound` where there is none."""
    task = tasking.task(connection, id)
    project = connection.execute(_PROJECT, {"id": task["project"]}).mappings().one()
    return SeenTask(project, task, tasking.lease(connection, id, annotator))


def hand_out(connection: Connection, id: str, annotator: str, seconds: float, beside: Sequence[str] = ()) -> HandedOut:
    """Lease the next task of a project for so many ``seconds``: see `tasking.next_task`.

    Raises `Forbidden`, `NotFound` and `Conflict`.
    """
    project = tasking.lock(connection, id)
    if project["closed_at"] is not None:
        raise Conflict("the project is closed", "Nothing is left to do here.")
    must_label(project, annotator)
    practising.must_be_done(connection, project, annotator)
    at = tasking.time_of(connection)
    lease = tasking.next_task(connection, project, annotator, at, seconds, beside)
    if lease is None:
        return HandedOut(project)
    return HandedOut(project, tasking.task(connection, lease.task), lease)


async def read(known: labels.Labels, one: SeenTask, caller: Caller, asked: AnswerRequest) -> TaskAnswer:
    """Read an answer. What is wrong with it is told when it is stored, if it may be given at all."""
    annotator = tasking.require_annotator(caller.annotator)
    try:
        given = await answering.read(known, one.project, one.task, caller, asked)
    except (Refusal, InputError) as fault:
        return TaskAnswer(one, asked, annotator, fault)
    return TaskAnswer(one, asked, annotator, given)


async def answered(
    database: Database, known: labels.Labels, one: SeenTask, asked: AnswerRequest, caller: Caller, once: Once
) -> str:
    """Store the answer to a task that was seen, for whoever takes answers; return the label's id. Raises `Refusal`."""
    answer = await read(known, one, caller, asked)
    try:
        stored = await database.change(lambda connection: take_back(connection, answer, caller, once))
    except (Refusal, InputError, IntegrityError):
        await once.replay()  # the same request was quicker, or came before
        raise
    if not isinstance(answer.read, Exception):
        labels.count([answer.read[0]])
    return stored


def take_back(connection: Connection, answer: TaskAnswer, caller: Caller, once: Once) -> str:
    """Store an answer as feedback, and close its lease: both or neither. Return the label's id.

    Raises `Forbidden` and `Conflict` where the task isn't the annotator's to answer, and then what is wrong with the
    answer itself.
    """
    id, annotator, replaces = answer.seen.task["id"], answer.annotator, answer.asked.replaces
    project, at = _locked(connection, answer.seen, annotator, replaces)
    must_label(project, annotator)
    if isinstance(answer.read, Exception):
        raise answer.read
    given, shown = answer.read
    take_turn(connection)
    origin = labels.Origin(caller.key, project=project["id"], task=id, shown=shown)
    before = None if replaces is None else labels.Replaced(replaces, _number(connection, replaces))
    # The item is stored, by whatever version of this service, and so under whatever id its content had then.
    stored, rows = labels.rows_of_answer(given, answer.seen.task["content"], origin, before)
    if before is None:
        tasking.answered(connection, id, annotator, stored, at)
    else:
        tasking.corrected(connection, id, annotator, stored)
    drafts.drop(connection, id, annotator)
    insert_rows(connection, rows | once.rows({"id": stored}))
    return stored


def skip(connection: Connection, id: str, caller: Caller, why: tasking.Skip) -> None:
    """Leave a task to others. Raises `NotFound`, `Conflict`, and `Invalid` for a reason that isn't offered."""
    annotator = tasking.require_annotator(caller.annotator)
    project, at = _locked(connection, seen(connection, id, annotator), annotator)
    offered = tasking.reasons_of(dict(project))
    if why.reason is not None and why.reason not in offered:
        fix = f"It offers {', '.join(offered) or 'none'}."
        raise Invalid(f"the project doesn't offer the reason {why.reason!r}", fix, where="/reason")
    tasking.skipped(connection, id, annotator, at, why)
    drafts.drop(connection, id, annotator)
    insert_rows(connection, audited(caller, "task.skipped", id))


def unskip(connection: Connection, id: str, caller: Caller, seconds: float) -> HandedOut:
    """Take back that a task was left to others. Raises `Forbidden`, `NotFound` and `Conflict`."""
    annotator = tasking.require_annotator(caller.annotator)
    task = tasking.task(connection, id)
    project = tasking.lock(connection, task["project"])
    must_label(project, annotator)
    lease = tasking.unskipped(connection, project, task, annotator, tasking.time_of(connection), seconds)
    insert_rows(connection, audited(caller, "task.unskipped", id))
    return HandedOut(project, task, lease)


def release(connection: Connection, id: str, caller: Caller) -> None:
    """Give a task back: anyone may get it again. Raises `NotFound` and `Conflict`."""
    annotator = tasking.require_annotator(caller.annotator)
    _locked(connection, seen(connection, id, annotator), annotator)
    tasking.released(connection, id, annotator)
    insert_rows(connection, audited(caller, "task.released", id))


def must_label(project: RowMapping, annotator: str) -> None:
    """Raise `Forbidden` where the annotator may not label in a project now."""
    if not access.may_label(project, annotator):
        fix = "Someone with the scope feedback can assign you: PATCH /v1/projects/ID."
        raise Forbidden("the project is assigned to others", fix)
    if access.is_paused(project, annotator):
        raise Forbidden("your work in this project is paused", "Ask those who run it when it goes on.", slug="paused")


def _locked(
    connection: Connection, one: SeenTask, annotator: str, replaces: str | None = None
) -> tuple[RowMapping, Any]:
    """The project, locked, whose task the annotator may now close or correct, and the time.

    Raises `NotFound` and `Conflict`.
    """
    project = tasking.lock(connection, one.project["id"])
    at = tasking.time_of(connection)
    if replaces is None:
        tasking.held(connection, project, one.task, annotator, at)
    else:
        tasking.correctable(connection, project, one.task, annotator, replaces)
    return project, at


def _number(connection: Connection, id: str) -> int:
    return int(connection.execute(_NUMBER, {"id": id}).scalar_one())
