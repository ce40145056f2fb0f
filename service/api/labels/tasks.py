"""Tasks: an annotator gets the next item of a project, and answers, skips or gives it back.

What is shown doesn't say which model wrote which response, and each annotator sees the responses in an order of their
own. It is turned back when the answer is stored.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints
from sqlalchemy import RowMapping, select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from critic.feedback import Flag, Kind
from critic.feedback.base import FormField, storable
from critic.feedback.feedback import Note, Seconds
from critic.records import Message
from service.api.body import StrictRoute
from service.api.labels.feedback import Given
from service.api.paging import Cursor, Limit, Page, decode, encode
from service.context import OnlyOnce, Parts, allowed
from service.keys import access
from service.keys.auth import Caller, audited
from service.labels import labels
from service.labels.label_query import selected, stored
from service.labels.tasks import practising, tasking
from service.labels.tasks.answering import AnswerRequest, read
from service.labels.tasks.shown import order
from service.labels.tasks.tasking import SkipReason
from service.problems import responses
from service.refusals import Conflict, Forbidden, Invalid, Refusal, not_found
from service.store.database import take_turn
from service.store.tables import feedback, leases, projects, retractions, tasks

router = APIRouter(prefix="/v1", tags=["tasks"], route_class=StrictRoute, responses=responses())

Labeller = Annotated[Caller, allowed("label")]
Reader = Annotated[Caller, allowed(*access.LABELS)]


Beside = Annotated[
    Sequence[Annotated[str, StringConstraints(max_length=64)]],
    Query(max_length=tasking.HELD_AT_ONCE, description="Tasks that are being answered."),
]


def _storable(text: str) -> str:
    storable(text)
    return text


class SkipRequest(BaseModel):
    """Why a task is left to others: one of the project's reasons, and words for those who run it.

    ``seconds`` is how long its annotator worked on it, without pauses.
    """

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "language", "note": "Both answers are in Czech."}]}
    )

    reason: SkipReason | None = None
    note: Annotated[Note, AfterValidator(_storable)] = ""
    seconds: Seconds | None = None


class Task(BaseModel):
    """What an annotator is asked until ``until``. Answers have this ``form``, and count responses as they are here.

    ``skip_reasons`` are those that may be given for skipping it.
    """

    id: str
    project: str
    kind: Kind
    guidelines: str
    constitution: str | None
    form: list[FormField]
    prompt: list[Message]
    responses: list[str]
    skip_reasons: list[SkipReason]
    until: datetime


class OwnAnswer(BaseModel):
    """What an annotator answered, for the responses in the order in which they were shown."""

    id: str
    label: dict[str, Any]
    seconds: float | None
    flag: Flag | None


class OwnTask(Task):
    """A task that the key's annotator has, had or skipped, and the answer that stands, if any.

    ``state`` is ``leased``, ``answered`` or ``skipped``; of the latter two ``until`` is when that was.
    """

    state: str
    answer: OwnAnswer | None


class Skipped(BaseModel):
    """That an annotator left a task to others, and why. ``item`` is that of feedback."""

    task: str
    item: str
    annotator: str
    reason: SkipReason | None
    note: str
    seconds: float | None
    at: datetime


class NextTask(BaseModel):
    """The next task; null where none is left for this annotator now."""

    task: Task | None


class TaskState(BaseModel):
    """How many labels a task has. ``item`` is that of feedback."""

    id: str
    item: str
    answers: int


class Done(BaseModel):
    """The task is closed for this annotator."""

    id: str


@router.get("/projects/{id}/tasks", responses=responses(404))
async def listed(id: str, caller: Reader, parts: Parts, limit: Limit = 50, cursor: Cursor = None) -> Page[TaskState]:
    """A project's tasks, by item."""
    query = select(tasks).where(tasks.c.project == id, tasks.c.item > (decode(cursor) or ""))
    async with parts.database.read() as connection:
        rows = (await connection.execute(query.order_by(tasks.c.item).limit(limit + 1))).all()
        await _must_be(connection, id)
    found = [TaskState(id=row.id, item=row.item, answers=row.answers) for row in rows[:limit]]
    return Page(items=found, next=encode(found[-1].item) if len(rows) > limit else None)


@router.post("/projects/{id}/tasks/next", responses=responses(404, 409))
async def next_task(id: str, caller: Labeller, parts: Parts, beside: Beside = ()) -> NextTask:
    """Lease the next task to the key's annotator: one with the fewest labels, that they neither answered nor skipped.

    Who has a task gets it again; with `beside`, the tasks that are just being answered, another. The lease runs out by
    itself. Where a project has practice, that comes first: on its page.
    """
    annotator = tasking.require_annotator(caller.annotator)
    async with parts.database.transaction() as connection:
        project = await tasking.lock(connection, id)
        if project["closed_at"] is not None:
            raise Conflict("the project is closed", "Nothing is left to do here.")
        _must_label(project, annotator)
        await practising.must_be_done(connection, project, annotator)
        at, seconds = await tasking.time_of(connection), parts.settings.lease_seconds
        lease = await tasking.next_task(connection, project, annotator, at, seconds, beside)
        if lease is None:
            return NextTask(task=None)
        found = await tasking.task(connection, lease.task)
    return NextTask(task=_shown(project, found, annotator, lease.until))


@router.get("/tasks/{id}", responses=responses(404))
async def own(id: str, caller: Labeller, parts: Parts) -> OwnTask:
    """A task as the key's annotator sees it, with their answer: to go back to it, and to correct it.

    A task that the annotator never got is not found.
    """
    annotator = tasking.require_annotator(caller.annotator)
    async with parts.database.read() as connection:
        mine = await tasking.lease(connection, id, annotator)
        if mine is None:
            raise not_found("task", id, "POST /v1/projects/ID/tasks/next gives one.")
        task = await tasking.task(connection, id)
        query = select(projects).where(projects.c.id == task["project"])
        project = (await connection.execute(query)).mappings().one()
        answer = None if mine["feedback"] is None else await _own_answer(connection, mine["feedback"])
    shown = _shown(project, task, annotator, mine["until"])
    return OwnTask(**dict(shown), state=mine["state"], answer=answer)


@router.post("/tasks/{id}/answer", status_code=201, responses=responses(404, 409))
async def answer(id: str, asked: AnswerRequest, caller: Labeller, parts: Parts, once: OnlyOnce) -> Given:
    """Store the answer as feedback, and close the lease: both or neither.

    With `replaces` it corrects one's own answer, which is kept as it was and plays no part any more.
    """
    annotator = tasking.require_annotator(caller.annotator)
    try:
        async with parts.database.transaction() as connection:
            project, task = await _of(connection, id)
            if asked.replaces is None:
                await tasking.held(connection, project, task, annotator, await tasking.time_of(connection))
            else:
                await tasking.correctable(connection, project, task, annotator, asked.replaces)
            _must_label(project, annotator)
            given, shown = await read(parts.labels, project, task, caller, asked)
            await connection.run_sync(take_turn)
            origin = labels.Origin(caller.key, project=project["id"], task=id, shown=shown)
            at = await tasking.time_of(connection)
            before = await _replaced(connection, asked.replaces)
            [stored], rows = labels.rows([given], origin, replaced=[before])
            if before is None:
                await tasking.answered(connection, id, annotator, stored, at)
            else:
                await tasking.corrected(connection, id, annotator, stored)
            # The item is stored, by whatever version of this service, and so under whatever id its content had then.
            records = [{**record, "content": task["content"]} for record in rows[feedback]]
            withdrawn = {retractions: rows[retractions]} if retractions in rows else {}
            await _insert(connection, {feedback: records, **withdrawn, **once.rows(Given(id=stored))})
    except (Refusal, IntegrityError):
        await once.replay()  # the same request may have been quicker
        raise
    labels.count([given])
    return Given(id=stored)


@router.post("/tasks/{id}/skip", responses=responses(404, 409))
async def skip(id: str, caller: Labeller, parts: Parts, asked: SkipRequest | None = None) -> Done:
    """Leave the task to others: it is not given to this annotator again. Those who run the project see why."""
    annotator = tasking.require_annotator(caller.annotator)
    async with parts.database.transaction() as connection:
        project, _ = await _locked(connection, id, annotator)
        asked = asked or SkipRequest()
        offered = tasking.reasons_of(dict(project))
        if asked.reason is not None and asked.reason not in offered:
            fix = f"It offers {', '.join(offered) or 'none'}."
            raise Invalid(f"the project doesn't offer the reason {asked.reason!r}", fix, where="/reason")
        why = tasking.Skip(asked.reason, asked.note, asked.seconds)
        await tasking.skipped(connection, id, annotator, await tasking.time_of(connection), why)
        await _insert(connection, audited(caller, "task.skipped", id))
    return Done(id=id)


@router.post("/tasks/{id}/unskip", responses=responses(404, 409))
async def unskip(id: str, caller: Labeller, parts: Parts) -> NextTask:
    """Take back that one skipped a task: it is leased again, unless others have taken all of its labels over."""
    annotator = tasking.require_annotator(caller.annotator)
    async with parts.database.transaction() as connection:
        project, task = await _of(connection, id)
        _must_label(project, annotator)
        at, seconds = await tasking.time_of(connection), parts.settings.lease_seconds
        lease = await tasking.unskipped(connection, project, task, annotator, at, seconds)
        await _insert(connection, audited(caller, "task.unskipped", id))
    return NextTask(task=_shown(project, task, annotator, lease.until))


@router.get("/projects/{id}/skips", responses=responses(404))
async def skips(id: str, caller: Reader, parts: Parts, limit: Limit = 50, cursor: Cursor = None) -> Page[Skipped]:
    """Who left which of a project's tasks to others, and why; by task and annotator."""
    after = (decode(cursor) or "").split(" ")
    place = tuple_(leases.c.task, leases.c.annotator)
    query = select(leases, tasks.c.item).join(tasks, leases.c.task == tasks.c.id)
    query = query.where(tasks.c.project == id, leases.c.state == tasking.SKIPPED)
    if len(after) == 2:
        query = query.where(place > tuple_(*after))
    async with parts.database.read() as connection:
        rows = (await connection.execute(query.order_by(*place).limit(limit + 1))).mappings().all()
        await _must_be(connection, id)
    items = [_skipped(row) for row in rows[:limit]]
    following = encode(f"{items[-1].task} {items[-1].annotator}") if len(rows) > limit else None
    return Page(items=items, next=following)


@router.post("/tasks/{id}/release", responses=responses(404, 409))
async def release(id: str, caller: Labeller, parts: Parts) -> Done:
    """Give the task back: anyone may get it again."""
    annotator = tasking.require_annotator(caller.annotator)
    async with parts.database.transaction() as connection:
        await _locked(connection, id, annotator)
        await tasking.released(connection, id, annotator)
        await _insert(connection, audited(caller, "task.released", id))
    return Done(id=id)


async def _must_be(connection: AsyncConnection, project: str) -> None:
    if (await connection.execute(select(projects.c.id).where(projects.c.id == project))).first() is None:
        raise not_found("project", project, "GET /v1/projects lists them.")


async def _of(connection: AsyncConnection, id: str) -> tuple[RowMapping, RowMapping]:
    """The project, locked, and the task. Raises 404."""
    project = await tasking.lock(connection, (await tasking.task(connection, id))["project"])
    return project, await tasking.task(connection, id)  # again: it may have changed before the lock


async def _locked(connection: AsyncConnection, id: str, annotator: str) -> tuple[RowMapping, RowMapping]:
    """The project, locked, and the task, which the annotator may now close. Raises 404 and 409."""
    project, task = await _of(connection, id)
    await tasking.held(connection, project, task, annotator, await tasking.time_of(connection))
    return project, task


async def _replaced(connection: AsyncConnection, id: str | None) -> labels.Replaced | None:
    """The label that an answer corrects."""
    if id is None:
        return None
    seq = (await connection.execute(select(feedback.c.seq).where(feedback.c.id == id))).scalar_one()
    return labels.Replaced(id, seq)


async def _own_answer(connection: AsyncConnection, id: str) -> OwnAnswer:
    row = (await connection.execute(selected().where(feedback.c.id == id))).mappings().one()
    given = stored(row).as_its_annotator_saw_it()
    label = given.label.model_dump(mode="json", exclude_defaults=True)
    return OwnAnswer(id=id, label=label, seconds=given.seconds, flag=given.flag)


def _skipped(row: RowMapping) -> Skipped:
    said = {name: row[name] for name in ("task", "item", "annotator", "reason", "seconds")}
    return Skipped(**said, note=row["note"] or "", at=row["until"])


def _must_label(project: RowMapping, annotator: str) -> None:
    if not access.may_label(project, annotator):
        fix = "Someone with the scope feedback can assign you: PATCH /v1/projects/ID."
        raise Forbidden("the project is assigned to others", fix)
    if access.is_paused(project, annotator):
        raise Forbidden("your work in this project is paused", "Ask those who run it when it goes on.", slug="paused")


async def _insert(connection: AsyncConnection, rows: Mapping[Any, Sequence[Mapping[str, Any]]]) -> None:
    for table, entries in rows.items():
        await connection.execute(table.insert(), entries)


def _shown(project: RowMapping, task: RowMapping, annotator: str, until: datetime) -> Task:
    place = order(task["id"], annotator, len(task["responses"]))
    return Task(
        id=task["id"],
        project=project["id"],
        kind=project["kind"],
        guidelines=project["guidelines"],
        constitution=project["constitution"],
        form=project["form"],
        prompt=task["prompt"]["messages"],
        responses=[task["responses"][position]["text"] for position in place],
        skip_reasons=tasking.reasons_of(dict(project)),
        until=until,
    )
