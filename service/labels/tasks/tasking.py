"""Tasks of labelling projects: leased to one annotator after the other, and never to more than labels are wanted.

A task is an item of a project. Whoever asks for the next one gets the one with the fewest labels that they have neither
answered nor skipped. A lease that runs out is free again; its holder may still answer while nobody else needed it. Who
has answered may correct the answer, and who has skipped may take that back, until the project is closed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, RowMapping, ScalarSelect, and_, delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from service.labels.tasks import roles
from service.refusals import Conflict, Forbidden, not_found
from service.store.tables import items, leases, now, projects, tasks

LEASED, ANSWERED, SKIPPED = "leased", "answered", "skipped"
SkipReason = Literal["cannot_judge", "harmful", "broken", "language", "other"]
REASONS: tuple[SkipReason, ...] = get_args(SkipReason)
NO_REASON = "no_reason"  # as skips are counted for which none was given
HELD_AT_ONCE = 8  # tasks that one annotator may have: the one on the page, the next, and those on their way
AHEAD = timedelta(minutes=2)  # a lease that begins later than so is of a clock that went back, and holds nothing


@dataclass(frozen=True, slots=True)
class Lease:
    """A task that an annotator has until ``until``."""

    task: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Skip:
    """Why a task is left to others, in one of `REASONS` and in words, and how long its annotator worked on it."""

    reason: str | None = None
    note: str = ""
    seconds: float | None = None


def live(at: datetime) -> tuple[ColumnElement[bool], ...]:
    """What holds of the leases that hold a task at this time."""
    return leases.c.state == LEASED, leases.c.until > at, leases.c.since <= at + AHEAD


async def time_of(connection: AsyncConnection) -> datetime:
    """The time by which leases run: that of the database's machine, the same for all servers."""
    if connection.dialect.name == "sqlite":  # the machine is this one
        return now()
    found: datetime = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
    return found.astimezone(UTC)


async def lock(connection: AsyncConnection, project: str) -> RowMapping:
    """Read a project, and let nobody else lease or answer its tasks until the transaction ends. Raises 404.

    Every change of leases takes this lock first: what is counted afterwards stays true.
    """
    query = select(projects).where(projects.c.id == project).with_for_update(key_share=True)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise not_found("project", project)
    return row


async def next_task(
    connection: AsyncConnection,
    project: RowMapping,
    annotator: str,
    at: datetime,
    seconds: float,
    beside: Sequence[str] = (),
) -> Lease | None:
    """Lease a task of a locked project; the one that the annotator has already, if any; None where none is left.

    ``beside`` are tasks that they are just answering: another one is given, so that it is there when they are done.
    Nobody has more than `HELD_AT_ONCE`.
    """
    held = (await connection.execute(_held(project["id"], annotator, at))).all()
    for one in held:
        if one.task not in beside:
            return Lease(one.task, one.until)
    if len(held) >= HELD_AT_ONCE:
        return None
    id = await _gold(connection, project, annotator, beside) or await _free(connection, project, annotator, at, beside)
    if id is None:
        return None
    until = at + timedelta(seconds=seconds)
    await connection.execute(delete(leases).where(leases.c.task == id, leases.c.annotator == annotator))
    row = {"task": id, "annotator": annotator, "state": LEASED, "since": at, "until": until}
    await connection.execute(leases.insert(), row)
    return Lease(id, until)


async def task(connection: AsyncConnection, id: str) -> RowMapping:
    """A task with its prompt and responses. Raises 404."""
    query = select(tasks, items.c.prompt, items.c.responses).join(items, tasks.c.content == items.c.id)
    row = (await connection.execute(query.where(tasks.c.id == id))).mappings().one_or_none()
    if row is None:
        raise not_found("task", id)
    return row


async def held(
    connection: AsyncConnection, project: RowMapping, task: RowMapping, annotator: str, at: datetime
) -> None:
    """Raise 409 unless the annotator may answer, skip or release the task now. The project must be locked."""
    again = f"Ask for a task: POST /v1/projects/{project['id']}/tasks/next."
    mine = await lease(connection, task["id"], annotator)
    if project["closed_at"] is not None:
        raise Conflict("the project is closed", "Nothing is left to do here.")
    if mine is None:
        raise Conflict("the task is not leased to you", again)
    if mine["state"] == ANSWERED:
        id = mine["feedback"]
        correct = f'Correct it by an answer with "replaces": "{id}"; or withdraw it: POST /v1/feedback/{id}/retract.'
        raise Conflict("you have answered this task", correct)
    if mine["state"] == SKIPPED:
        raise Conflict("you have skipped this task", f"POST /v1/tasks/{task['id']}/unskip takes that back.")
    over = mine["until"] <= at or mine["since"] > at + AHEAD
    if over and not await _is_wanted(connection, project, task, at):
        raise Conflict(f"your lease ran out at {mine['until']:%H:%M:%S} UTC, and the task was given to others", again)


async def correctable(
    connection: AsyncConnection, project: RowMapping, task: RowMapping, annotator: str, replaces: str
) -> None:
    """Raise 409 unless ``replaces`` is the annotator's answer to the task, which may be corrected."""
    if project["closed_at"] is not None:
        raise Conflict("the project is closed", "Its answers stay as they are.")
    mine = await lease(connection, task["id"], annotator)
    if mine is None or mine["state"] != ANSWERED:
        raise Conflict("you have not answered this task", "Send the answer without replaces.")
    if mine["feedback"] != replaces:
        fix = f"The answer that stands is {mine['feedback']}: name that one."
        raise Conflict(f"{replaces!r} is not your answer to this task, or was corrected already", fix)


async def answered(connection: AsyncConnection, task: str, annotator: str, feedback: str, at: datetime) -> None:
    """Close the annotator's lease: ``feedback`` is the answer."""
    await connection.execute(update(tasks).where(tasks.c.id == task).values(answers=tasks.c.answers + 1))
    await _close(connection, task, annotator, {"state": ANSWERED, "until": at, "feedback": feedback})


async def corrected(connection: AsyncConnection, task: str, annotator: str, feedback: str) -> None:
    """The label ``feedback`` takes the place of the annotator's answer."""
    await _close(connection, task, annotator, {"feedback": feedback})


async def skipped(connection: AsyncConnection, task: str, annotator: str, at: datetime, why: Skip) -> None:
    """Close the annotator's lease: this annotator will not get the task again."""
    said = {"reason": why.reason, "note": why.note, "seconds": why.seconds}
    await _close(connection, task, annotator, {"state": SKIPPED, "until": at, **said})


async def unskipped(
    connection: AsyncConnection, project: RowMapping, task: RowMapping, annotator: str, at: datetime, seconds: float
) -> Lease:
    """Lease a task again to the annotator who skipped it. The project must be locked. Raises 409."""
    again = f"Ask for a task: POST /v1/projects/{project['id']}/tasks/next."
    if project["closed_at"] is not None:
        raise Conflict("the project is closed", "Nothing is left to do here.")
    mine = await lease(connection, task["id"], annotator)
    if mine is None or mine["state"] != SKIPPED:
        raise Conflict("you have not skipped this task", again)
    if not await _is_wanted(connection, project, task, at):
        raise Conflict("others have the task, or have answered it", again)
    until = at + timedelta(seconds=seconds)
    change = {"state": LEASED, "since": at, "until": until, "reason": None, "note": None, "seconds": None}
    await _close(connection, task["id"], annotator, change)
    return Lease(task["id"], until)


async def released(connection: AsyncConnection, task: str, annotator: str) -> None:
    """Give the task back: anyone may get it again."""
    await connection.execute(delete(leases).where(leases.c.task == task, leases.c.annotator == annotator))


async def reopen(connection: AsyncConnection, task: str, feedback: str) -> None:
    """The answer ``feedback`` was withdrawn: one more is wanted, which may come from anyone."""
    await connection.execute(update(tasks).where(tasks.c.id == task).values(answers=tasks.c.answers - 1))
    await connection.execute(delete(leases).where(leases.c.task == task, leases.c.feedback == feedback))


async def lease(connection: AsyncConnection, task: str, annotator: str) -> RowMapping | None:
    """What the annotator has, had or skipped of a task; None where they never got it."""
    query = select(leases).where(leases.c.task == task, leases.c.annotator == annotator)
    return (await connection.execute(query)).mappings().one_or_none()


def reasons_of(project: Mapping[str, Any]) -> list[SkipReason]:
    """The reasons for skipping that a project offers: all, where it doesn't say."""
    return list(REASONS) if project["skip_reasons"] is None else project["skip_reasons"]


def require_annotator(annotator: str | None) -> str:
    """The annotator of a key. Raises 403 where it has none."""
    if annotator is None:
        fix = "Use a key that was made with an annotator: POST /v1/keys."
        raise Forbidden("the key belongs to no annotator", fix)
    return annotator


def _held(project: str, annotator: str, at: datetime) -> Any:
    mine = and_(leases.c.annotator == annotator, *live(at))
    query = select(leases.c.task, leases.c.until).join(tasks, leases.c.task == tasks.c.id)
    return query.where(mine, tasks.c.project == project).order_by(leases.c.since)


def _not_done_by(annotator: str) -> ColumnElement[bool]:
    """That the annotator neither answered nor skipped the task of the query around it."""
    mine = leases.alias()
    return ~exists().where(mine.c.task == tasks.c.id, mine.c.annotator == annotator, mine.c.state != LEASED)


async def _gold(connection: AsyncConnection, project: RowMapping, annotator: str, beside: Sequence[str]) -> str | None:
    """A gold task, where it is its turn. Everyone gets each, however many labels it has."""
    every = roles.settings_of(project["settings"]).gold_every
    if every is None:
        return None
    of_project = (tasks.c.project == project["id"], leases.c.annotator == annotator)
    query = select(func.count()).select_from(leases).join(tasks, leases.c.task == tasks.c.id)
    done = (await connection.execute(query.where(*of_project, leases.c.state != LEASED))).scalar_one()
    if not roles.is_golds_turn(project["id"], annotator, done + len(beside), every):
        return None
    gold = select(tasks.c.id).where(tasks.c.project == project["id"], tasks.c.role == roles.GOLD)
    gold = gold.where(_not_done_by(annotator), tasks.c.id.not_in(beside))
    id: str | None = (await connection.execute(gold.order_by(tasks.c.position).limit(1))).scalar_one_or_none()
    return id


async def _free(
    connection: AsyncConnection, project: RowMapping, annotator: str, at: datetime, beside: Sequence[str]
) -> str | None:
    wanted = project["labels_per_item"]
    query = select(tasks.c.id).where(tasks.c.project == project["id"], tasks.c.role == roles.WORK)
    query = query.where(tasks.c.answers < wanted, _not_done_by(annotator), tasks.c.id.not_in(beside))
    query = query.where(tasks.c.answers + _leases_of(at) < wanted)
    query = query.order_by(tasks.c.answers, tasks.c.position).limit(1)
    id: str | None = (await connection.execute(query)).scalar_one_or_none()
    return id


def _leases_of(at: datetime) -> ScalarSelect[int]:
    """How many have the task of the query around it."""
    there = and_(leases.c.task == tasks.c.id, *live(at))
    return select(func.count()).select_from(leases).where(there).correlate(tasks).scalar_subquery()


async def _is_wanted(connection: AsyncConnection, project: RowMapping, task: RowMapping, at: datetime) -> bool:
    """Whether one more may have the task: of gold everyone gives a label."""
    if task["role"] == roles.GOLD:
        return True
    return bool(task["answers"] + await _live(connection, task["id"], at) < project["labels_per_item"])


async def _live(connection: AsyncConnection, task: str, at: datetime) -> int:
    there = and_(leases.c.task == task, *live(at))
    return int((await connection.execute(select(func.count()).select_from(leases).where(there))).scalar_one())


async def _close(connection: AsyncConnection, task: str, annotator: str, change: dict[str, Any]) -> None:
    mine = and_(leases.c.task == task, leases.c.annotator == annotator)
    await connection.execute(update(leases).where(mine).values(**change))
