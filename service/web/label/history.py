"""What one has done: one's own labels, the latest first, and how many a day. Nobody else's."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response

from critic.feedback.base import FormField
from critic.pages.strips import Bars
from service.api.paging import Cursor, decode, encode, unknown
from service.context import Parts, Service
from service.labels.label_query import StoredFeedback
from service.labels.tasks import own_work, roles, tasking
from service.refusals import not_found
from service.store.database import Row
from service.web.label.kinds import PAGES, Asked
from service.web.label.zone import zone_of
from service.web.rendering import csv, render, texts
from service.web.visit import PageRoute, Visit, signed_in

router = APIRouter(include_in_schema=False, route_class=PageRoute)

AT_ONCE = 25
SHORT = 160  # characters of a text that are shown

Labeller = Annotated[Visit, signed_in("label")]


@router.get("/label/history.svg")
async def picture(request: Request, visit: Labeller, parts: Parts) -> Response:
    """The picture of days as a file."""
    drawn = _drawn(await _days(request, visit, parts))
    if drawn is None:
        raise not_found("picture", "history", "You have labelled nothing lately.")
    return Response(str(drawn.file()), media_type="image/svg+xml")


@router.get("/label/history.csv")
async def numbers(request: Request, visit: Labeller, parts: Parts) -> Response:
    """Its numbers."""
    days = await _days(request, visit, parts)
    return csv("labels-by-day", [{"day": day.isoformat(), "labels": count} for day, count in days.items()])


@router.get("/label/history")
async def history(request: Request, visit: Labeller, parts: Parts, cursor: Cursor = None) -> Response:
    """One page of it."""
    annotator, zone = tasking.require_annotator(visit.caller.annotator), zone_of(request)
    after = decode(cursor)
    place = None if after is None else _after(after)
    async with parts.database.read() as connection:
        rows = await own_work.closed(connection, annotator, place, AT_ONCE + 1)
        ids = [row["feedback"] for row in rows[:AT_ONCE] if row["feedback"] is not None]
        labels = await own_work.labels(connection, ids)
        days = await connection.run_sync(own_work.days_of, annotator, zone)
        pace = await connection.run_sync(own_work.pace_of, annotator, zone)
    entries = [_entry(row, labels.get(row["feedback"])) for row in rows[:AT_ONCE]]
    following = encode(_place(rows[AT_ONCE - 1])) if len(rows) > AT_ONCE else None
    drawn = _drawn(days)
    about: dict[str, Any] = {"drawn": None if drawn is None else drawn.draw(), "pace": pace}
    return render(request, "label/history.html.j2", entries=entries, following=following, **about)


async def _days(request: Request, visit: Visit, parts: Service) -> Mapping[date, int]:
    annotator = tasking.require_annotator(visit.caller.annotator)
    async with parts.database.read() as connection:
        return await connection.run_sync(own_work.days_of, annotator, zone_of(request))


def _drawn(days: Mapping[date, int]) -> Bars | None:
    """A bar for each day on which something was labelled, the latest first."""
    rows = tuple((f"{day:%a} {day.day} {day:%b}", count) for day, count in sorted(days.items(), reverse=True) if count)
    return Bars(rows, frozenset()) if rows else None


def _after(place: str) -> tuple[datetime, str]:
    """Return the time and the task of `_place`. Raises `Invalid` for what is none."""
    at, _, task = place.partition(" ")
    try:
        return datetime.fromisoformat(at), task
    except ValueError:
        raise unknown() from None


def _place(row: Row) -> str:
    return f"{row['until'].isoformat()} {row['task']}"


def _entry(row: Row, label: StoredFeedback | None) -> Mapping[str, Any]:
    prompt = row["prompt"]["messages"][-1]["content"]
    return {
        "at": row["until"],
        "task": row["task"],
        "project": row["project"],
        "name": row["project_name"],
        "is_blurred": roles.settings_of(row["settings"]).blur,
        "is_closed": row["closed_at"] is not None,
        "about": _cut(prompt),
        "said": None if label is None else _cut(_said(row, label)),
        "seconds": row["seconds"] if label is None else label.seconds,
    }


def _said(row: Row, label: StoredFeedback) -> str:
    page = PAGES.get(row["kind"])
    if page is None:
        return ""
    own = label.as_its_annotator_saw_it()
    form = {field["name"]: FormField.model_validate(field) for field in row["form"]}
    asked = Asked(form, [response.text for response in own.responses], None, texts())
    return page.said(asked, own.label.model_dump(mode="json"))


def _cut(text: str) -> str:
    return text if len(text) <= SHORT else f"{text[:SHORT]}…"
