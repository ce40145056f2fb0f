"""A search over labels and what they are about: a text that occurs in a prompt, a response or a label."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field
from pydantic_core import to_json
from sqlalchemy import ColumnElement, Connection, RowMapping, Text, cast, or_, select

from critic.feedback import Flag, Kind, Source
from service.bounds.text_bounds import TextBounds
from service.labels.label_query import RETRACTED, FeedbackFilter, Time
from service.labels.label_text import PAGE_BYTES
from service.store.tables import feedback, items, retractions

MOST = 200
ROWS_READ = 8  # that are in memory at once
SHOWN_CHARACTERS = 240  # of each text, in a list


class SearchQuery(FeedbackFilter):
    """Labels in whose prompt, responses or own words ``text`` occurs, and which the filters choose.

    Upper and lower case are the same (on SQLite those of A to Z alone). ``before`` is the ``next`` of the page before.
    """

    text: Annotated[str, Field(max_length=500)] = ""
    since: Time | None = None
    until: Time | None = None
    limit: Annotated[int, Field(ge=1, le=MOST)] = 50
    before: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None


class Hit(BaseModel):
    """A label that was looked for, in short."""

    id: str
    item: str
    kind: Kind
    source: Source
    annotator: str | None
    group: str | None
    project: str | None
    created_at: datetime
    retracted: bool
    prompt: str
    responses: list[str]
    label: dict[str, Any]
    flag: Flag | None = None


class Hits(BaseModel):
    """Labels, the newest first. ``next`` continues where this page ends; null where it is the last."""

    items: list[Hit]
    next: int | None


def search(connection: Connection, asked: SearchQuery) -> Hits:
    """Return the labels that are looked for. It reads every text that the filters leave: for the lane of figures."""
    columns = ("seq", "id", "item", "kind", "source", "annotator", "group", "project", "created_at", "label", "flag")
    query = (
        select(
            *(feedback.c[name] for name in columns),
            items.c.prompt,
            items.c.responses,
            RETRACTED.label("retracted"),
        )
        .join(items, items.c.id == feedback.c.content)
        .join(retractions, retractions.c.seq == feedback.c.seq, isouter=True)
        .where(*asked.conditions())
        .order_by(feedback.c.seq.desc())
        .limit(asked.limit + 1)
    )
    if asked.text.strip():
        query = query.where(_occurs(asked.text.strip()))
    if asked.before is not None:
        query = query.where(feedback.c.seq < asked.before)
    # A few at a time: each may have megabytes, of which little is shown.
    with connection.execute(query, execution_options={"yield_per": ROWS_READ}) as rows:
        return _page(rows.mappings(), asked.limit)


def _page(rows: Iterable[RowMapping], most: int) -> Hits:
    hits: list[Hit] = []
    last = size = 0
    for row in rows:
        size += TextBounds.size(row["label"])
        if len(hits) == most or (hits and size > PAGE_BYTES):
            return Hits(items=hits, next=last)
        hits.append(_hit(dict(row)))
        last = row["seq"]
    return Hits(items=hits, next=None)


def _occurs(text: str) -> ColumnElement[bool]:
    """Whether the text is in one of the columns, which hold JSON: there it has escapes."""
    escaped = to_json(text).decode()[1:-1]
    pattern = "%" + escaped.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    columns = (items.c.prompt, items.c.responses, feedback.c.label)
    return or_(*(cast(column, Text).ilike(pattern, escape="\\") for column in columns))


def _hit(row: dict[str, Any]) -> Hit:
    return Hit.model_validate(
        row
        | {
            "prompt": row["prompt"]["messages"][-1]["content"][:SHOWN_CHARACTERS],
            "responses": [response["text"][:SHOWN_CHARACTERS] for response in row["responses"]],
        }
    )
