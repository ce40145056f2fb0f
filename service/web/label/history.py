"""What one has done: one's own labels, the latest first, and how many a day. Nobody else's."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response

from critic.feedback.base import FormField
from service.api.paging import Cursor, decode, encode, unknown
from service.context import Parts
from service.labels.label_query import StoredFeedback
from service.labels.tasks import own_work, tasking
from service.store.database import Row
from service.web.label.kinds import PAGES, Asked
from service.web.label.zone import zone_of
from service.web.rendering import render, texts
from service.web.visit import PageRoute, Visit, signed_in

router = APIRouter(include_in_schema=False, route_class=PageRoute)

AT_ONCE = 25
SHORT = 160  # characters of a text that are shown

Labeller = Annotated[Visit, signed_in("label")]


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
    about: dict[str, Any] = {"days": days, "most": max(days.values()) or 1, "pace": pace}
    return render(request, "label/history.html.j2", entries=entries, following=following, **about)


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
