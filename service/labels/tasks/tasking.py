"""Tasks of labelling projects: leased to one annotator after the other, and never to more than labels are wanted.

A task is an item of a project. Whoever asks for the next one gets the one with the fewest labels that they have neither
answered nor skipped. A lease that runs out is free again; its holder may still answer while nobody else needed it. Who
has answered may correct the answer, and who has skipped may take that back, until the project is closed.

All of it runs in a thread, within one transaction: see `Database.change`. The questions of each answer and each next
task are made once, with names in the places of values: making them anew costs more than SQLite takes to answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    RowMapping,
    ScalarSelect,
    and_,
    bindparam,
    delete,
    exists,
    func,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

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


_LIVE = (leases.c.state == LEASED, leases.c.until > bindparam("at"), leases.c.since <= bindparam("soon"))
_MINE = (leases.c.task == bindparam("of_task"), leases.c.annotator == bindparam("of_annotator"))


def _times(at: datetime) -> dict[str, datetime]:
    """The values in `_LIVE`: as `live` has them."""
    return {"at": at, "soon": at + AHEAD}


def time_of(connection: Connection) -> datetime:
    """The time by which leases run: that of the database's machine, the same for all servers."""
    if connection.dialect.name == "sqlite":  # the machine is this one
        return now()
    told: datetime = (connection.execute(select(func.clock_timestamp()))).scalar_one()
    return told.astimezone(UTC)


def lock(connection: Connection, project: str) -> RowMapping:
    """Read a project, and let nobody else lease or answer its tasks until the transaction ends. Raises `NotFound`.

    Every change of leases takes this lock first: what is counted afterwards stays true.
    """
    row = connection.execute(_LOCKED, {"id": project}).mappings().one_or_none()
    if row is None:
        raise not_found("project", project)
    return row


_LOCKED = select(projects).where(projects.c.id == bindparam("id")).with_for_update(key_share=True)


def next_task(
    connection: Connection,
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
    mine = {"project": project["id"], "of_annotator": annotator, **_times(at)}
    held = connection.execute(_HELD, mine).all()
    for one in held:
        if one.task not in beside:
            return Lease(one.task, one.until)
    if len(held) >= HELD_AT_ONCE:
        return None
    id = _gold(connection, project, annotator, beside) or _free(connection, project, annotator, at, beside)
    if id is None:
        return None
    until = at + timedelta(seconds=seconds)
    row = {"task": id, "annotator": annotator, "state": LEASED, "since": at, "until": until}
    connection.execute(_LEASED[connection.dialect.name], row)
    return Lease(id, until)


_HELD = (
    select(leases.c.task, leases.c.until)
    .join(tasks, leases.c.task == tasks.c.id)
    .where(leases.c.annotator == bindparam("of_annotator"), *_LIVE, tasks.c.project == bindparam("project"))
    .order_by(leases.c.since)
)


def _leased(insert: Any) -> Insert:
    """Lease a task, in the place of a lease of the same annotator's that ran out."""
    anew = {name: insert.excluded[name] for name in ("state", "since", "until")}
    nothing = dict.fromkeys(("feedback", "reason", "note", "seconds"))
    made: Insert = insert.on_conflict_do_update(index_elements=["task", "annotator"], set_=anew | nothing)
    return made


_LEASED = {"sqlite": _leased(sqlite.insert(leases)), "postgresql": _leased(postgresql.insert(leases))}


def task(connection: Connection, id: str) -> RowMapping:
    """A task with its prompt and responses. Raises `NotFound`."""
    row = connection.execute(_TASK, {"id": id}).mappings().one_or_none()
    if row is None:
        raise not_found("task", id)
    return row


_TASK = (
    select(tasks, items.c.prompt, items.c.responses)
    .join(items, tasks.c.content == items.c.id)
    .where(tasks.c.id == bindparam("id"))
)


def held(connection: Connection, project: RowMapping, task: RowMapping, annotator: str, at: datetime) -> None:
    """Raise `Conflict` unless the annotator may answer, skip or release the task now. The project must be locked."""
    again = f"Ask for a task: POST /v1/projects/{project['id']}/tasks/next."
    mine = lease(connection, task["id"], annotator)
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
    if over and not _is_wanted(connection, project, task, at):
        raise Conflict(f"your lease ran out at {mine['until']:%H:%M:%S} UTC, and the task was given to others", again)


def correctable(connection: Connection, project: RowMapping, task: RowMapping, annotator: str, replaces: str) -> None:
    """Raise `Conflict` unless ``replaces`` is the annotator's answer to the task, which may be corrected."""
    if project["closed_at"] is not None:
        raise Conflict("the project is closed", "Its answers stay as they are.")
    mine = lease(connection, task["id"], annotator)
    if mine is None or mine["state"] != ANSWERED:
        raise Conflict("you have not answered this task", "Send the answer without replaces.")
    if mine["feedback"] != replaces:
        fix = f"The answer that stands is {mine['feedback']}: name that one."
        raise Conflict(f"{replaces!r} is not your answer to this task, or was corrected already", fix)


def answered(connection: Connection, task: str, annotator: str, feedback: str, at: datetime) -> None:
    """Close the annotator's lease: ``feedback`` is the answer."""
    connection.execute(_ONE_MORE, {"id_of_task": task})
    mine = {"of_task": task, "of_annotator": annotator}
    connection.execute(_ANSWERED, {**mine, "now_until": at, "now_feedback": feedback})


_ONE_MORE = update(tasks).where(tasks.c.id == bindparam("id_of_task")).values(answers=tasks.c.answers + 1)
_ANSWERED = (
    update(leases)
    .where(*_MINE)
    .values(state=ANSWERED, until=bindparam("now_until"), feedback=bindparam("now_feedback"))
)


def corrected(connection: Connection, task: str, annotator: str, feedback: str) -> None:
    """The label ``feedback`` takes the place of the annotator's answer."""
    _close(connection, task, annotator, {"feedback": feedback})


def skipped(connection: Connection, task: str, annotator: str, at: datetime, why: Skip) -> None:
    """Close the annotator's lease: this annotator will not get the task again."""
    said = {"reason": why.reason, "note": why.note, "seconds": why.seconds}
    _close(connection, task, annotator, {"state": SKIPPED, "until": at, **said})


def unskipped(
    connection: Connection, project: RowMapping, task: RowMapping, annotator: str, at: datetime, seconds: float
) -> Lease:
    """Lease a task again to the annotator who skipped it. The project must be locked. Raises `Conflict`."""
    again = f"Ask for a task: POST /v1/projects/{project['id']}/tasks/next."
    if project["closed_at"] is not None:
        raise Conflict("the project is closed", "Nothing is left to do here.")
    mine = lease(connection, task["id"], annotator)
    if mine is None or mine["state"] != SKIPPED:
        raise Conflict("you have not skipped this task", again)
    if not _is_wanted(connection, project, task, at):
        raise Conflict("others have the task, or have answered it", again)
    until = at + timedelta(seconds=seconds)
    change = {"state": LEASED, "since": at, "until": until, "reason": None, "note": None, "seconds": None}
    _close(connection, task["id"], annotator, change)
    return Lease(task["id"], until)


def released(connection: Connection, task: str, annotator: str) -> None:
    """Give the task back: anyone may get it again."""
    connection.execute(delete(leases).where(leases.c.task == task, leases.c.annotator == annotator))


def reopen(connection: Connection, task: str, feedback: str) -> None:
    """The answer ``feedback`` was withdrawn: one more is wanted, which may come from anyone."""
    connection.execute(update(tasks).where(tasks.c.id == task).values(answers=tasks.c.answers - 1))
    connection.execute(delete(leases).where(leases.c.task == task, leases.c.feedback == feedback))


def lease(connection: Connection, task: str, annotator: str) -> RowMapping | None:
    """What the annotator has, had or skipped of a task; None where they never got it."""
    return connection.execute(_LEASE, {"of_task": task, "of_annotator": annotator}).mappings().one_or_none()


_LEASE = select(leases).where(*_MINE)


def reasons_of(project: Mapping[str, Any]) -> list[SkipReason]:
    """The reasons for skipping that a project offers: all, where it doesn't say."""
    return list(REASONS) if project["skip_reasons"] is None else project["skip_reasons"]


def require_annotator(annotator: str | None) -> str:
    """The annotator of a key. Raises `Forbidden` where it has none."""
    if annotator is None:
        fix = "Use a key that was made with an annotator: POST /v1/keys."
        raise Forbidden("the key belongs to no annotator", fix)
    return annotator


def _not_done() -> ColumnElement[bool]:
    """That the annotator neither answered nor skipped the task of the query around it."""
    mine = leases.alias()
    of_annotator = mine.c.annotator == bindparam("of_annotator")
    return ~exists().where(mine.c.task == tasks.c.id, of_annotator, mine.c.state != LEASED)


_OTHERS = tasks.c.id.not_in(bindparam("beside", expanding=True))


def _gold(connection: Connection, project: RowMapping, annotator: str, beside: Sequence[str]) -> str | None:
    """A gold task, where it is its turn. Everyone gets each, however many labels it has."""
    every = roles.settings_of(project["settings"]).gold_every
    if every is None:
        return None
    mine = {"project": project["id"], "of_annotator": annotator}
    done = connection.execute(_DONE, mine).scalar_one()
    if not roles.is_golds_turn(project["id"], annotator, done + len(beside), every):
        return None
    id: str | None = connection.execute(_GOLD, {**mine, "beside": list(beside)}).scalar_one_or_none()
    return id


_DONE = (
    select(func.count())
    .select_from(leases)
    .join(tasks, leases.c.task == tasks.c.id)
    .where(tasks.c.project == bindparam("project"), leases.c.annotator == bindparam("of_annotator"))
    .where(leases.c.state != LEASED)
)
_GOLD = (
    select(tasks.c.id)
    .where(tasks.c.project == bindparam("project"), tasks.c.role == roles.GOLD, _not_done(), _OTHERS)
    .order_by(tasks.c.position)
    .limit(1)
)


def _free(
    connection: Connection, project: RowMapping, annotator: str, at: datetime, beside: Sequence[str]
) -> str | None:
    asked = {"project": project["id"], "wanted": project["labels_per_item"], "of_annotator": annotator}
    query = {**asked, "beside": list(beside), **_times(at)}
    id: str | None = connection.execute(_FREE, query).scalar_one_or_none()
    return id


def _has_task() -> ScalarSelect[int]:
    """How many have the task of the query around it."""
    there = and_(leases.c.task == tasks.c.id, *_LIVE)
    return select(func.count()).select_from(leases).where(there).correlate(tasks).scalar_subquery()


_FREE = (
    select(tasks.c.id)
    .where(tasks.c.project == bindparam("project"), tasks.c.role == roles.WORK)
    .where(tasks.c.answers < bindparam("wanted"), _not_done(), _OTHERS)
    .where(tasks.c.answers + _has_task() < bindparam("wanted"))
    .order_by(tasks.c.answers, tasks.c.position)
    .limit(1)
)
_TAKEN = select(tasks.c.answers + _has_task()).where(tasks.c.id == bindparam("id"))


def _is_wanted(connection: Connection, project: RowMapping, task: RowMapping, at: datetime) -> bool:
    """Whether one more may have the task: of gold everyone gives a label."""
    if task["role"] == roles.GOLD:
        return True
    taken = connection.execute(_TAKEN, {"id": task["id"], **_times(at)}).scalar_one()
    return bool(taken < project["labels_per_item"])


def _close(connection: Connection, task: str, annotator: str, change: dict[str, Any]) -> None:
    mine = {"of_task": task, "of_annotator": annotator}
    connection.execute(update(leases).where(*_MINE).values(**change), mine)
