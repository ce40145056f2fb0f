"""What one has done: one's own labels, the latest first, and how many a day. Nobody else's."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import RowMapping, select, tuple_

from critic.feedback.base import FormField
from critic.pages.strips import Bars
from service.api.paging import Cursor, decode, encode, unknown
from service.context import Parts, Service
from service.labels.label_query import selected, stored
from service.labels.tasks import tasking
from service.store.tables import feedback, items, leases, projects, tasks
from service.web.label.kinds import PAGES, Asked
from service.web.label.pace import days_of, pace_of, zone_of
from service.web.manage.tables import csv
from service.web.rendering import render, texts
from service.web.visit import PageRoute, Visit, signed_in

router = APIRouter(include_in_schema=False, route_class=PageRoute)

AT_ONCE = 25
SHORT = 160  # characters of a text that are shown

Labeller = Annotated[Visit, signed_in("label")]


@router.get("/label/history.svg")
async def picture(request: Request, visit: Labeller, parts: Parts) -> Response:
    """The picture of days as a file."""
    return Response(str(_drawn(await _days(request, visit, parts)).file()), media_type="image/svg+xml")


@router.get("/label/history.csv")
async def numbers(request: Request, visit: Labeller, parts: Parts) -> Response:
    """Its numbers."""
    days = await _days(request, visit, parts)
    return csv("labels-by-day", [{"day": day.isoformat(), "labels": count} for day, count in days.items()])


@router.get("/label/history")
async def history(request: Request, visit: Labeller, parts: Parts, cursor: Cursor = None) -> Response:
    """One page of it."""
    annotator, zone = tasking.require_annotator(visit.caller.annotator), zone_of(request)
    async with parts.database.read() as connection:
        rows = (await connection.execute(_closed(annotator, decode(cursor)))).mappings().all()
        ids = [row["feedback"] for row in rows[:AT_ONCE] if row["feedback"] is not None]
        given = (await connection.execute(selected().where(feedback.c.id.in_(ids)))).mappings().all()
        days = await connection.run_sync(days_of, annotator, zone)
        pace = await connection.run_sync(pace_of, annotator, zone)
    labels = {row["id"]: row for row in given}
    entries = [_entry(row, labels.get(row["feedback"])) for row in rows[:AT_ONCE]]
    following = encode(_place(rows[AT_ONCE - 1])) if len(rows) > AT_ONCE else None
    about: dict[str, Any] = {"drawn": _drawn(days).draw(), "pace": pace}
    return render(request, "label/history.html.j2", entries=entries, following=following, **about)


async def _days(request: Request, visit: Visit, parts: Service) -> Mapping[date, int]:
    annotator = tasking.require_annotator(visit.caller.annotator)
    async with parts.database.read() as connection:
        return await connection.run_sync(days_of, annotator, zone_of(request))


def _drawn(days: Mapping[date, int]) -> Bars:
    """A bar for each day, the latest first."""
    return Bars(tuple((day.isoformat(), days[day]) for day in reversed(days)), frozenset())


def _closed(annotator: str, after: str | None) -> Any:
    """The tasks that somebody answered or skipped, the latest first."""
    name = projects.c.name.label("project_name")
    query = select(
        leases, tasks.c.project, name, projects.c.form, projects.c.kind, projects.c.closed_at, items.c.prompt
    )
    query = query.join(tasks, leases.c.task == tasks.c.id).join(projects, tasks.c.project == projects.c.id)
    query = query.join(items, tasks.c.content == items.c.id)
    query = query.where(leases.c.annotator == annotator, leases.c.state != tasking.LEASED)
    if after is not None:
        query = query.where(tuple_(leases.c.until, leases.c.task) < tuple_(*_after(after)))
    return query.order_by(leases.c.until.desc(), leases.c.task.desc()).limit(AT_ONCE + 1)


def _after(place: str) -> tuple[datetime, str]:
    """Return the time and the task of `_place`. Raises `Invalid` for what is none."""
    at, _, task = place.partition(" ")
    try:
        return datetime.fromisoformat(at), task
    except ValueError:
        raise unknown() from None


def _place(row: RowMapping) -> str:
    return f"{row['until'].isoformat()} {row['task']}"


def _entry(row: RowMapping, label: RowMapping | None) -> Mapping[str, Any]:
    prompt = row["prompt"]["messages"][-1]["content"]
    return {
        "at": row["until"],
        "task": row["task"],
        "project": row["project"],
        "name": row["project_name"],
        "is_closed": row["closed_at"] is not None,
        "about": _cut(prompt),
        "said": None if label is None else _cut(_said(row, label)),
        "seconds": row["seconds"] if label is None else label["seconds"],
    }


def _said(row: RowMapping, label: RowMapping) -> str:
    page = PAGES.get(row["kind"])
    if page is None:
        return ""
    own = stored(label).as_its_annotator_saw_it()
    form = {field["name"]: FormField.model_validate(field) for field in row["form"]}
    asked = Asked(form, [response.text for response in own.responses], None, texts())
    return page.said(asked, own.label.model_dump(mode="json"))


def _cut(text: str) -> str:
    return text if len(text) <= SHORT else f"{text[:SHORT]}…"
