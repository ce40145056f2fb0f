"""Annotators: the people who label. Labels name them by an id that says nothing; name and attributes can be erased."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from critic.feedback.feedback import Name
from service.answers.annotators import Annotator
from service.answers.page import Page
from service.api.body import StrictRoute
from service.api.paging import Cursor, Limit, decode, encode
from service.context import OnlyOnce, Parts, allowed
from service.keys import administrators, retention
from service.keys.auth import Caller, audited
from service.labels.labels import new_id
from service.problems import responses
from service.refusals import Conflict, not_found
from service.store.tables import annotators, now

router = APIRouter(prefix="/v1/annotators", tags=["annotators"], route_class=StrictRoute, responses=responses())

Maker = Annotated[Caller, allowed("feedback")]
Reader = Annotated[Caller, allowed("read", "feedback")]
Admin = Annotated[Caller, allowed("admin")]

Attributes = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=50)], Annotated[str, Field(max_length=200)]],
    Field(max_length=20),
]


class AnnotatorRequest(BaseModel):
    """A person who labels. ``group`` is whose values they speak for: labels of groups are never averaged unasked.

    Attributes are optional, and better left out: what is not stored need not be erased.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "Ada", "group": "nurses", "attributes": {"language": "en"}}]},
    )

    name: str = Field(min_length=1, max_length=200)
    group: Name | None = None
    attributes: Attributes = {}


class AnnotatorChange(BaseModel):
    """What changes; what is left out stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"group": "nurses"}]})

    group: Name | None = None
    attributes: Attributes = {}


@router.post("", status_code=201, responses=responses(409))
async def make(asked: AnnotatorRequest, caller: Maker, parts: Parts, once: OnlyOnce) -> Annotator:
    """Make an annotator. A key for them is made with `POST /v1/keys` and the id."""
    row = {"id": new_id(), **asked.model_dump(), "created_at": now(), "erased_at": None}
    made = Annotator.model_validate(row)
    try:
        await once.insert({annotators: [row], **audited(caller, "annotator.made", made.id)}, made)
    except IntegrityError:
        raise Conflict(
            f"there is an annotator {asked.name!r} already", "GET /v1/annotators?name= finds them; or use another name."
        ) from None
    return made


@router.get("")
async def listed(
    caller: Reader,
    parts: Parts,
    name: Annotated[str | None, Query(max_length=200, description="Only the one with this name.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Annotator]:
    """All annotators, by id."""
    query = (
        select(annotators).order_by(annotators.c.id).limit(limit + 1).where(annotators.c.id > (decode(cursor) or ""))
    )
    if name is not None:
        query = query.where(annotators.c.name == name)
    async with parts.database.read() as connection:
        rows = (await connection.execute(query)).mappings().all()
    found = [Annotator.model_validate(dict(row)) for row in rows[:limit]]
    return Page(items=found, next=encode(found[-1].id) if len(rows) > limit else None)


@router.get("/{id}", responses=responses(404))
async def get(id: str, caller: Reader, parts: Parts) -> Annotator:
    """One annotator."""
    async with parts.database.read() as connection:
        return await _found(connection, id)


@router.patch("/{id}", responses=responses(404, 409))
async def change(id: str, asked: AnnotatorChange, caller: Maker, parts: Parts) -> Annotator:
    """Change group or attributes. Labels that were given keep the group that they were given for."""
    changes = asked.model_dump(include=asked.model_fields_set)
    async with parts.database.transaction() as connection:
        before = await _found(connection, id)
        if before.erased_at is not None:
            raise Conflict("the annotator was erased", "Make a new one: POST /v1/annotators.")
        if changes:
            await connection.execute(update(annotators).where(annotators.c.id == id).values(**changes))
            await _audit(connection, audited(caller, "annotator.changed", id, changed=sorted(changes)))
        changed = await _found(connection, id)
    parts.labels.forget(id)
    return changed


@router.delete("/{id}", responses=responses(404, 409))
async def erase(id: str, caller: Admin, parts: Parts) -> Annotator:
    """Erase who the annotator is: name and attributes go, keys are revoked. Labels, their group and the id stay.

    Whoever has the last administrator's key that never expires can't be erased.
    """
    async with parts.database.transaction() as connection:
        await administrators.in_turn(connection)
        await administrators.must_still_be(connection, caller.key)
        administrating = await administrators.left(connection)
        before = await _found(connection, id)
        mine = []
        if before.erased_at is None:
            mine = await retention.erase(connection, id)
            await administrators.one_left(connection, administrating)
            await _audit(connection, audited(caller, "annotator.erased", id))
        erased = await _found(connection, id)
    parts.labels.forget(id)
    for key in mine:
        parts.keys.forget(key)
    return erased


async def _audit(connection: AsyncConnection, rows: Mapping[Any, list[dict[str, Any]]]) -> None:
    for table, entries in rows.items():
        await connection.execute(table.insert(), entries)


async def _found(connection: AsyncConnection, id: str) -> Annotator:
    row = (await connection.execute(select(annotators).where(annotators.c.id == id))).mappings().one_or_none()
    if row is None:
        raise not_found("annotator", id, "GET /v1/annotators lists them.")
    return Annotator.model_validate(dict(row))
