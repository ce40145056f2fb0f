"""One annotator's own work: what is left for them in each project, what they closed, how much and how fast."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from statistics import median

from sqlalchemy import Connection, RowMapping, bindparam, case, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from service.labels.label_query import RETRACTED, StoredFeedback, selected, stored
from service.labels.tasks import drafts, roles, tasking
from service.store.tables import feedback, items, leases, now, practice, projects, retractions, tasks

LATEST = 50  # labels of which the median time is told
DAYS = 14
MOST_OF_DAYS = 20_000  # labels that are counted by day


@dataclass(frozen=True, slots=True)
class Left:
    """What an annotator has done in projects and what is left there, by project; and where practice comes first."""

    done: Mapping[str, int]
    left: Mapping[str, int]
    practising: set[str]


@dataclass(frozen=True, slots=True)
class OwnPace:
    """Labels ``today``, and the ``median`` seconds of the latest; None where none were measured."""

    today: int
    median: int | None


@dataclass(frozen=True, slots=True)
class Before:
    """What goes before a task: what its annotator began to say of it, and the task that they closed last."""

    draft: drafts.Draft | None
    previous: str | None


async def left(connection: AsyncConnection, ids: Sequence[str], annotator: str) -> Left:
    """Return what an annotator did and has left in the projects of these ids."""
    return Left(
        await _done(connection, ids, annotator),
        await _left(connection, ids, annotator),
        await _practising(connection, ids, annotator),
    )


async def _done(connection: AsyncConnection, ids: Sequence[str], annotator: str) -> Mapping[str, int]:
    """How many tasks of each project the annotator answered."""
    query = select(tasks.c.project, func.count().label("n")).join(leases, leases.c.task == tasks.c.id)
    query = query.where(leases.c.annotator == annotator, leases.c.state == tasking.ANSWERED)
    query = query.where(tasks.c.project.in_(ids)).group_by(tasks.c.project)
    return {row.project: row.n for row in await connection.execute(query)}


async def _left(connection: AsyncConnection, ids: Sequence[str], annotator: str) -> Mapping[str, int]:
    """How many tasks of each project still want a label that this annotator can give."""
    mine = leases.alias()
    is_mine = (mine.c.task == tasks.c.id) & (mine.c.annotator == annotator) & (mine.c.state != tasking.LEASED)
    wanted = case((mine.c.task.is_(None) & (tasks.c.answers < projects.c.labels_per_item), 1), else_=0)
    query = select(tasks.c.project, func.sum(wanted).label("n")).join(mine, is_mine, isouter=True)
    query = query.join(projects, projects.c.id == tasks.c.project)
    query = query.where(tasks.c.project.in_(ids), tasks.c.role == roles.WORK).group_by(tasks.c.project)
    return {row.project: row.n for row in await connection.execute(query)}


async def _practising(connection: AsyncConnection, ids: Sequence[str], annotator: str) -> set[str]:
    """Those that have practice which the annotator never began."""
    begun = select(practice.c.task).where(practice.c.annotator == annotator)
    began = select(tasks.c.project).where(tasks.c.id.in_(begun))
    query = select(tasks.c.project).where(tasks.c.project.in_(ids), tasks.c.role == roles.PRACTICE)
    return set((await connection.execute(query.where(tasks.c.project.not_in(began)))).scalars())


async def closed(
    connection: AsyncConnection, annotator: str, after: tuple[datetime, str] | None, limit: int
) -> Sequence[RowMapping]:
    """Return the tasks that somebody answered or skipped, the latest first, behind a time and task."""
    name = projects.c.name.label("project_name")
    of_project = [projects.c[column] for column in ("form", "kind", "settings", "closed_at")]
    query = select(leases, tasks.c.project, name, *of_project, items.c.prompt)
    query = query.join(tasks, leases.c.task == tasks.c.id).join(projects, tasks.c.project == projects.c.id)
    query = query.join(items, tasks.c.content == items.c.id)
    query = query.where(leases.c.annotator == annotator, leases.c.state != tasking.LEASED)
    if after is not None:
        query = query.where(tuple_(leases.c.until, leases.c.task) < tuple_(*after))
    query = query.order_by(leases.c.until.desc(), leases.c.task.desc()).limit(limit)
    return (await connection.execute(query)).mappings().all()


async def labels(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, StoredFeedback]:
    """Return labels by their ids."""
    rows = (await connection.execute(selected().where(feedback.c.id.in_(ids)))).mappings().all()
    return {row["id"]: stored(row) for row in rows}


_PREVIOUS = (
    select(leases.c.task)
    .join(tasks, leases.c.task == tasks.c.id)
    .where(leases.c.annotator == bindparam("of_annotator"), leases.c.state != tasking.LEASED)
    .where(tasks.c.project == bindparam("project"), leases.c.task != bindparam("beside"))
    .order_by(leases.c.until.desc())
    .limit(1)
)


def before(connection: Connection, project: str, task: str, annotator: str) -> Before:
    """What goes before a task of a project."""
    asked = {"of_annotator": annotator, "project": project, "beside": task}
    previous: str | None = connection.execute(_PREVIOUS, asked).scalar_one_or_none()
    return Before(drafts.read(connection, task, annotator), previous)


def pace_of(connection: Connection, annotator: str, zone: tzinfo) -> OwnPace:
    """An annotator's pace. A label that was corrected counts once."""
    midnight = datetime.now(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    mine = (
        select(func.count()).select_from(feedback).join(retractions, retractions.c.seq == feedback.c.seq, isouter=True)
    )
    mine = mine.where(feedback.c.annotator == annotator, feedback.c.created_at >= midnight, ~RETRACTED)
    today = (connection.execute(mine)).scalar_one()
    latest = select(feedback.c.seconds).where(feedback.c.annotator == annotator, feedback.c.seconds.is_not(None))
    seconds = (connection.execute(latest.order_by(feedback.c.seq.desc()).limit(LATEST))).scalars().all()
    return OwnPace(today, round(median(seconds)) if seconds else None)


def days_of(connection: Connection, annotator: str, zone: tzinfo) -> Mapping[date, int]:
    """Labels by day, of the last `DAYS` days, from the earliest."""
    since = now() - timedelta(days=DAYS)
    query = select(feedback.c.created_at).join(retractions, retractions.c.seq == feedback.c.seq, isouter=True)
    query = query.where(feedback.c.annotator == annotator, feedback.c.created_at >= since, ~RETRACTED)
    times = (connection.execute(query.order_by(feedback.c.seq.desc()).limit(MOST_OF_DAYS))).scalars()
    counts = Counter(at.astimezone(zone).date() for at in times)
    last = datetime.now(zone).date()
    days = [last - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    return {day: counts[day] for day in days}
