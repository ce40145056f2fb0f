"""Tasks: an annotator gets the next item of a project, and answers, skips or gives it back.

What is shown doesn't say which model wrote which response, and each annotator sees the responses in an order of their
own. It is turned back when the answer is stored.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import RowMapping, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from base.errors import InputError
from critic.feedback import ComparisonLabel, Feedback, Kind, RatingLabel
from critic.feedback.base import FormField
from critic.records import Message, Prompt, Response
from service.api.body import StrictRoute
from service.api.labels.feedback import Given
from service.api.paging import Cursor, Limit, Page, decode, encode
from service.context import OnlyOnce, Parts, allowed
from service.keys import access
from service.keys.auth import Caller, audited
from service.labels import labels, tasking
from service.labels.label_form import MOST_RESPONSES, faults_of, label_of
from service.labels.shown import Order, order, turned_back
from service.problems import Problem, conflict, invalid, not_found, responses
from service.store.tables import feedback, projects, tasks

router = APIRouter(prefix="/v1", tags=["tasks"], route_class=StrictRoute, responses=responses())

Labeller = Annotated[Caller, allowed("label")]
Reader = Annotated[Caller, allowed(*access.LABELS)]


class AnswerRequest(BaseModel):
    """A label in the order in which the responses were shown; in short: ``"first"``, ``[2, 1, 3]``, ``"up"``, ``4``."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"label": "first"}, {"label": {"value": 4, "response": 0}}]}
    )

    label: dict[str, Any] | str | Annotated[list[int], Field(max_length=MOST_RESPONSES)] | float


class Task(BaseModel):
    """What an annotator is asked until ``until``. Answers have this ``form``, and count responses as they are here."""

    id: str
    project: str
    kind: Kind
    guidelines: str
    constitution: str | None
    form: list[FormField]
    prompt: list[Message]
    responses: list[str]
    until: datetime


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
        if not rows and (await connection.execute(select(projects.c.id).where(projects.c.id == id))).first() is None:
            raise not_found("project", id, "GET /v1/projects lists them.")
    found = [TaskState(id=row.id, item=row.item, answers=row.answers) for row in rows[:limit]]
    return Page(items=found, next=encode(found[-1].item) if len(rows) > limit else None)


@router.post("/projects/{id}/tasks/next", responses=responses(404, 409))
async def next_task(id: str, caller: Labeller, parts: Parts) -> NextTask:
    """Lease the next task to the key's annotator: one with the fewest labels, that they neither answered nor skipped.

    Who has a task gets it again. The lease runs out by itself.
    """
    annotator = tasking.require_annotator(caller.annotator)
    async with parts.database.transaction() as connection:
        project = await tasking.lock(connection, id)
        if project["closed_at"] is not None:
            raise conflict("the project is closed", "Nothing is left to do here.")
        _must_label(project, annotator)
        at = await tasking.time_of(connection)
        lease = await tasking.next_task(connection, project, annotator, at, parts.settings.lease_seconds)
        if lease is None:
            return NextTask(task=None)
        found = await tasking.task(connection, lease.task)
    return NextTask(task=_shown(project, found, annotator, lease.until))


@router.post("/tasks/{id}/answer", status_code=201, responses=responses(404, 409))
async def answer(id: str, asked: AnswerRequest, caller: Labeller, parts: Parts, once: OnlyOnce) -> Given:
    """Store the answer as feedback, and close the lease: both or neither."""
    annotator = tasking.require_annotator(caller.annotator)
    try:
        async with parts.database.transaction() as connection:
            project, task = await _locked(connection, id, annotator)
            _must_label(project, annotator)
            given, shown = _read(parts, project, task, caller, asked.label)
            await parts.database.take_turn(connection)
            origin = labels.Origin(caller.key, project=project["id"], task=id, shown=shown)
            at = await tasking.time_of(connection)
            [stored], rows = labels.rows([given], origin)
            await tasking.answered(connection, id, annotator, stored, at)
            await _insert(connection, {feedback: rows[feedback], **once.rows(Given(id=stored))})
    except (Problem, IntegrityError):
        await once.replay()  # the same request may have been quicker
        raise
    labels.count([given])
    return Given(id=stored)


@router.post("/tasks/{id}/skip", responses=responses(404, 409))
async def skip(id: str, caller: Labeller, parts: Parts) -> Done:
    """Leave the task to others: it is not given to this annotator again."""
    annotator = tasking.require_annotator(caller.annotator)
    async with parts.database.transaction() as connection:
        await _locked(connection, id, annotator)
        await tasking.skipped(connection, id, annotator, await tasking.time_of(connection))
        await _insert(connection, audited(caller, "task.skipped", id))
    return Done(id=id)


@router.post("/tasks/{id}/release", responses=responses(404, 409))
async def release(id: str, caller: Labeller, parts: Parts) -> Done:
    """Give the task back: anyone may get it again."""
    annotator = tasking.require_annotator(caller.annotator)
    async with parts.database.transaction() as connection:
        await _locked(connection, id, annotator)
        await tasking.released(connection, id, annotator)
        await _insert(connection, audited(caller, "task.released", id))
    return Done(id=id)


async def _locked(connection: AsyncConnection, id: str, annotator: str) -> tuple[RowMapping, RowMapping]:
    """The project, locked, and the task, which the annotator may now close. Raises 404 and 409."""
    project = await tasking.lock(connection, (await tasking.task(connection, id))["project"])
    task = await tasking.task(connection, id)  # again: it may have changed before the lock
    await tasking.held(connection, project, task, annotator, await tasking.time_of(connection))
    return project, task


def _must_label(project: RowMapping, annotator: str) -> None:
    if not access.may_label(project, annotator):
        fix = "Someone with the scope feedback can assign you: PATCH /v1/projects/ID."
        raise Problem(403, "forbidden", "the project is assigned to others", fix)
    if access.is_paused(project, annotator):
        raise Problem(403, "paused", "your work in this project is paused", "Ask those who run it when it goes on.")


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
        until=until,
    )


def _read(parts: Parts, project: RowMapping, task: RowMapping, caller: Caller, label: Any) -> tuple[Feedback, Order]:
    """The feedback that an answer means, in the item's own order, and the order that was shown."""
    found = tuple(Response.model_validate(response) for response in task["responses"])
    shown = order(task["id"], tasking.require_annotator(caller.annotator), len(found))
    parts.labels.texts.check(label, "/label")
    try:
        as_shown = Feedback(
            kind=project["kind"],
            prompt=Prompt.model_validate(task["prompt"]),
            responses=tuple(found[position] for position in shown),
            label=_completed(project, label),
            source="human",
            annotator=caller.annotator,
            group=caller.group,
            constitution=project["constitution"],
            constitution_hash=project["constitution_hash"],
        )
    except ValidationError as error:
        faults = faults_of(error)
        raise invalid(f"{faults[0].where}: {faults[0].problem}", "The task's form says what is asked.") from None
    _fits_form(project, as_shown)
    own = {"responses": found, "label": turned_back(as_shown.label, shown)}
    return as_shown.model_copy(update=own), shown


def _completed(project: RowMapping, label: Any) -> Any:
    """The label with what the project says for all of its labels."""
    kind, fields = project["kind"], {field["name"]: field for field in project["form"]}
    if kind == "rating":
        asked = fields["value"]
        scale = {name: asked[name] for name in ("min", "max", "min_means", "max_means")}
        return {"scale": scale} | (label if isinstance(label, dict) else {"value": label})
    if kind == "comparison" and isinstance(label, dict) and label.get("strength") is not None and "strength" in fields:
        return {"levels": int(fields["strength"]["max"])} | label
    return label_of(kind, label)


def _fits_form(project: RowMapping, given: Feedback) -> None:
    fields = {field["name"]: field for field in project["form"]}
    match given.label:
        case RatingLabel(scale=scale) if (scale.min, scale.max) != (fields["value"]["min"], fields["value"]["max"]):
            raise InputError("the scale is not the project's", where="/label/scale", fix="Leave it out.")
        case ComparisonLabel(levels=int(levels)) if levels != fields.get("strength", {}).get("max"):
            raise InputError("the levels are not the project's", where="/label/levels", fix="Leave them out.")
