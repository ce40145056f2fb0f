"""Tasks: an annotator gets the next item of a project, and answers, skips or gives it back.

What is shown doesn't say which model wrote which response, and each annotator sees the responses in an order of their
own. It is turned back when the answer is stored.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from critic.feedback.base import storable
from critic.feedback.feedback import Note, Seconds
from service.answers.feedback import Given
from service.answers.page import Page
from service.answers.tasks import Done, NextTask, OwnAnswer, OwnTask, Skipped, Task
from service.api.body import StrictRoute
from service.api.paging import Cursor, Limit, decode, encode
from service.context import LateOnce, Parts, allowed
from service.keys import access
from service.keys.auth import Caller
from service.labels.label_query import StoredFeedback
from service.labels.tasks import handing, task_rows, tasking
from service.labels.tasks.answering import AnswerRequest
from service.labels.tasks.handing import HandedOut
from service.labels.tasks.shown import order
from service.labels.tasks.task_rows import Own
from service.labels.tasks.tasking import SkipReason
from service.problems import responses
from service.store.database import Row

router = APIRouter(prefix="/v1", tags=["tasks"], route_class=StrictRoute, responses=responses())
IS_BUSY = True

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


class TaskState(BaseModel):
    """How many labels a task has. ``item`` is that of feedback."""

    id: str
    item: str
    answers: int


@router.get("/projects/{id}/tasks", responses=responses(404))
async def listed(id: str, caller: Reader, parts: Parts, limit: Limit = 50, cursor: Cursor = None) -> Page[TaskState]:
    """A project's tasks, by item."""
    rows = await task_rows.of_project(parts.database, id, decode(cursor) or "", limit + 1)
    states = [TaskState(id=row["id"], item=row["item"], answers=row["answers"]) for row in rows[:limit]]
    return Page(items=states, next=encode(states[-1].item) if len(rows) > limit else None)


@router.post("/projects/{id}/tasks/next", responses=responses(404, 409))
async def next_task(id: str, caller: Labeller, parts: Parts, beside: Beside = ()) -> NextTask:
    """Lease the next task to the key's annotator: one with the fewest labels, that they neither answered nor skipped.

    Who has a task gets it again; with `beside`, the tasks that are just being answered, another. The lease runs out by
    itself. Where a project has practice, that comes first: on its page.
    """
    annotator = tasking.require_annotator(caller.annotator)
    seconds = parts.settings.lease_seconds
    out = await parts.database.change(lambda connection: handing.hand_out(connection, id, annotator, seconds, beside))
    return NextTask(task=task_of(out, annotator))


@router.get("/tasks/{id}", responses=responses(404))
async def own(id: str, caller: Labeller, parts: Parts) -> OwnTask:
    """A task as the key's annotator sees it, with their answer: to go back to it, and to correct it.

    A task that the annotator never got is not found.
    """
    annotator = tasking.require_annotator(caller.annotator)
    return own_task(await parts.database.look(lambda connection: task_rows.own(connection, id, annotator)), annotator)


@router.post("/tasks/{id}/answer", status_code=201, responses=responses(404, 409))
async def answer(id: str, asked: AnswerRequest, caller: Labeller, parts: Parts, once: LateOnce) -> Given:
    """Store the answer as feedback, and close the lease: both or neither.

    With `replaces` it corrects one's own answer, which is kept as it was and plays no part any more.
    """
    annotator = tasking.require_annotator(caller.annotator)
    seen = await parts.database.look(lambda connection: handing.seen(connection, id, annotator))
    return Given(id=await handing.answered(parts.database, parts.labels, seen, asked, caller, once))


@router.post("/tasks/{id}/skip", responses=responses(404, 409))
async def skip(id: str, caller: Labeller, parts: Parts, asked: SkipRequest | None = None) -> Done:
    """Leave the task to others: it is not given to this annotator again. Those who run the project see why."""
    asked = asked or SkipRequest()
    why = tasking.Skip(asked.reason, asked.note, asked.seconds)
    await parts.database.change(lambda connection: handing.skip(connection, id, caller, why))
    return Done(id=id)


@router.post("/tasks/{id}/unskip", responses=responses(404, 409))
async def unskip(id: str, caller: Labeller, parts: Parts) -> NextTask:
    """Take back that one skipped a task: it is leased again, unless others have taken all of its labels over."""
    seconds = parts.settings.lease_seconds
    out = await parts.database.change(lambda connection: handing.unskip(connection, id, caller, seconds))
    return NextTask(task=task_of(out, tasking.require_annotator(caller.annotator)))


@router.get("/projects/{id}/skips", responses=responses(404))
async def skips(id: str, caller: Reader, parts: Parts, limit: Limit = 50, cursor: Cursor = None) -> Page[Skipped]:
    """Who left which of a project's tasks to others, and why; by task and annotator."""
    after = (decode(cursor) or "").split(" ")
    place = (after[0], after[1]) if len(after) == 2 else None
    rows = await task_rows.skipped(parts.database, id, place, limit + 1)
    items = [_skipped(row) for row in rows[:limit]]
    following = encode(f"{items[-1].task} {items[-1].annotator}") if len(rows) > limit else None
    return Page(items=items, next=following)


@router.post("/tasks/{id}/release", responses=responses(404, 409))
async def release(id: str, caller: Labeller, parts: Parts) -> Done:
    """Give the task back: anyone may get it again."""
    await parts.database.change(lambda connection: handing.release(connection, id, caller))
    return Done(id=id)


def own_task(own: Own, annotator: str) -> OwnTask:
    """A task as its annotator sees it again."""
    shown = _shown(own.seen.project, own.seen.task, annotator, own.lease["until"])
    answer = None if own.answer is None else _own_answer(own.answer)
    return OwnTask(**dict(shown), state=own.lease["state"], answer=answer)


def task_of(out: HandedOut, annotator: str) -> Task | None:
    """What was handed out, as its annotator sees it."""
    if out.task is None or out.lease is None:
        return None
    return _shown(out.project, out.task, annotator, out.lease.until)


def _own_answer(given: StoredFeedback) -> OwnAnswer:
    label = given.label.model_dump(mode="json", exclude_defaults=True)
    return OwnAnswer(id=given.id, label=label, seconds=given.seconds, flag=given.flag)


def _skipped(row: Row) -> Skipped:
    said = {name: row[name] for name in ("task", "item", "annotator", "reason", "seconds")}
    return Skipped(**said, note=row["note"] or "", at=row["until"])


def _shown(project: Row, task: Row, annotator: str, until: datetime) -> Task:
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
